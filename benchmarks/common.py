"""What every benchmark shares: settings, alternating measurement, rows, and the JSON that they are
kept in.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from letterlib.hardware import peak_memory_mb
from letterlib.store import write_json


@dataclass(frozen=True)
class Settings:
    """How a benchmark is run. data_dir: the folder with the released Beauty files."""

    data_dir: str
    quick: bool = False
    threads: int = 2
    seed: int = 0

    def pick(self, full: Any, quick: Any) -> Any:
        """The size of something: `full` in a full run, `quick` with --quick."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing, in the order they were made."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        return {
            "median": self.median,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
        }


@dataclass(frozen=True)
class Row:
    """One line of the table.

    what: the task. unit: of `ours` and `peer`. better: which direction of the unit is better.
    ours, peer: the two sides' measurements, value i of one taken beside value i of the other.
    goal: with a peer, the ratio that we want at least; without, the value that `ours` should not
    exceed.
    dtype: what each side computed in. note: what exactly was run, and what differs between the
    sides.
    check: whether the two sides computed the same thing, in words. series: points of a curve, for
    the figures.
    """

    what: str
    unit: str
    ours: Spread
    peer: Spread | None = None
    peer_name: str = ""
    better: Literal["more", "less"] = "more"
    goal: float | None = None
    threads: int = 0
    dtype: str = ""
    note: str = ""
    check: str = ""
    series: list[dict[str, float]] = field(default_factory=list)

    @property
    def ratio(self) -> Spread | None:
        """How many times better ours is, pair by pair; above 1 we are ahead."""
        if self.peer is None:
            return None
        pairs = zip(self.ours.values, self.peer.values, strict=True)
        return Spread(
            tuple(our / their if self.better == "more" else their / our for our, their in pairs)
        )

    @property
    def met(self) -> bool | None:
        """Whether the medians reach the goal; None where there is none."""
        if self.goal is None:
            return None
        return (
            self.ours.median <= self.goal if self.ratio is None else self.ratio.median >= self.goal
        )

    def as_json(self) -> dict[str, Any]:
        spreads = {name: getattr(self, name) for name in ("ours", "peer", "ratio")}
        written = {name: None if one is None else one.as_json() for name, one in spreads.items()}
        plain = {k: v for k, v in asdict(self).items() if k not in written}
        return {**plain, **written, "met": self.met}


def timed(run: Callable[[], Any]) -> float:
    """Seconds that `run` takes."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def alternate(runs: dict[str, Callable[[], float]], repeats: int) -> dict[str, Spread]:
    """Call every run in turn, `repeats` times round, so that a slow minute of the machine meets all
    of them.

    A run returns its own measurement (seconds, or things per second), and so can leave preparation
    out of it.
    """
    values: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            values[name].append(run())
    return {name: Spread(tuple(of_one)) for name, of_one in values.items()}


def compare(
    ours: Callable[[], float], peer: Callable[[], float], repeats: int
) -> tuple[Spread, Spread]:
    """Measure ours, the peer, ours, the peer, ...; each side returns its own measurement."""
    spreads = alternate({"ours": ours, "peer": peer}, repeats)
    return spreads["ours"], spreads["peer"]


def alone(function: Callable[..., Any], settings: Settings, *given: Any) -> Any:
    """What `function(settings, *given)` of a benchmark measures in a process of its own, with as
    many threads.

    For a peer that would gain from the memory that our side keeps, which it keeps for its whole
    process.
    """
    with ProcessPoolExecutor(
        1, get_context("spawn"), torch.set_num_threads, (settings.threads,)
    ) as pool:
        return pool.submit(function, settings, *given).result()


def named(package: str) -> str:
    """A package and its installed version, "cornac 3.0.1"."""
    return f"{package} {version(package)}"


def peak_memory() -> float:
    """The most memory that this process has held so far, in GB."""
    return peak_memory_mb() * 2**20 / 1e9


def machine() -> dict[str, Any]:
    """What the numbers were measured on; nothing that names a person, a host or a folder."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "bfloat16_matrix_unit": torch.cpu._is_amx_tile_supported(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "letterlib": version("letterlib"),
        "load_before": round(psutil.getloadavg()[0], 2),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = (
        line.split(":", 1) for line in info.read_text(encoding="utf-8").splitlines() if ":" in line
    )
    said = {key.strip(): value.strip() for key, value in reversed(list(lines))}
    return (
        f"{said.get('model name', platform.processor())}, family {said.get('cpu family')} "
        f"model {said.get('model')}"
    )


def write_result(
    path: Path, name: str, settings: Settings, about: dict, seconds: float, rows: Sequence[Row]
) -> None:
    """One benchmark's JSON, written beside and renamed. about: `machine()`, taken before the
    measurement.
    """
    chosen = {"quick": settings.quick, "threads": settings.threads, "seed": settings.seed}
    write_json(
        path,
        {
            "benchmark": name,
            "machine": about,
            "settings": chosen,
            "seconds": round(seconds, 1),
            "peak_memory_gb": round(peak_memory(), 2),
            "rows": [row.as_json() for row in rows],
        },
    )
