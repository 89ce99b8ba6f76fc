"""What every benchmark shares: settings, alternating measurement, rows, and the JSON they are kept
in.
"""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from letterlib.hardware import peak_memory_mb
from letterlib.store import write_json
from letterlib.train import resolve_device, resolve_dtype


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
        low, high = min(self.values), max(self.values)
        return {"median": self.median, "min": low, "max": high, "values": list(self.values)}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    what: the task. unit: of `ours` and `peer`. better: which direction of the unit is better.
    ours, peer: the two sides' measurements, value i of one taken next to value i of the other.
    goal: with a peer, the ratio that we want at least; without, the value that `ours` should not
    exceed. dtype: what each side computed in. note: what exactly was run, and how the sides differ.
    check: whether both sides computed the same; it contains NOT where they did not. series: points
    of a curve, for the figures.
    """

    what: str
    unit: str
    ours: Spread
    peer: Spread | None = None
    peer_name: str = ""
    better: Literal["more", "less"] = "more"
    goal: float | None = None
    dtype: str = "float32"
    note: str = ""
    check: str = ""
    series: Sequence[dict[str, float]] = field(default=())

    @property
    def ratio(self) -> Spread | None:
        """How many times better ours is, pair by pair; above 1 we are ahead."""
        if self.peer is None:
            return None
        pairs = zip(self.ours.values, self.peer.values, strict=True)
        ratios = [our / their for our, their in pairs]
        return Spread(tuple(r if self.better == "more" else 1 / r for r in ratios))

    @property
    def met(self) -> bool | None:
        """Whether the medians reach the goal; None where there is none."""
        if self.goal is None:
            return None
        return self.ratio.median >= self.goal if self.ratio else self.ours.median <= self.goal

    def as_json(self) -> dict[str, Any]:
        spreads = {name: getattr(self, name) for name in ("ours", "peer", "ratio")}
        written = {name: spread and spread.as_json() for name, spread in spreads.items()}
        return {**asdict(self), **written, "met": self.met}


def rows_by_dtype(
    spreads: dict[str, Spread],
    what: str,
    goal: float,
    peer: str,
    note: Callable[[str], str],
    check: Callable[[str], str],
    **shared: Any,
) -> list[Row]:
    """Our side as "auto" chooses its dtype, and in float32 where that was measured, each against
    the measurements named "peer". The goal is for "auto".

    peer: the package, and what of it. note, check: of a dtype.
    """
    package, _, used = peer.partition(" ")
    rows = []
    for dtype in ("auto", "float32"):
        if dtype in spreads:
            ours = str(resolve_dtype(dtype, resolve_device("cpu"))).removeprefix("torch.")
            row = Row(
                what=what + ("" if dtype == "auto" else ", ours in float32"),
                ours=spreads[dtype],
                peer=spreads["peer"],
                peer_name=f"{named(package)} {used}",
                goal=goal if dtype == "auto" else None,
                dtype=f"ours {ours} ({dtype}), {package} float32",
                note=note(dtype),
                check=check(dtype),
                **shared,
            )
            rows.append(row)
    return rows


def row_of_curve(
    points: list[dict[str, float]], size: str, key: str, what: str, unit: str, **shared: Any
) -> Row:
    """What was measured at the largest of several sizes; `check` lists all.

    points: one for each size, ascending, with the size under `size` and the measurement under
    `key`.
    """
    return Row(
        f"{what}, {points[-1][size]:,} {size}",
        unit,
        Spread((points[-1][key],)),
        check="; ".join(f"{point[size]:,}: {point[key]:.3g}" for point in points),
        series=points,
        **shared,
    )


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
    return {name: Spread(tuple(measured)) for name, measured in values.items()}


def alone(function: Callable[..., Any], settings: Settings, *given: Any) -> Any:
    """What `function(settings, *given)` returns in a process of its own, with as many threads.

    So one benchmark's memory and threads do not touch another's, and a peer does not gain from the
    memory that our side keeps.
    """
    with ProcessPoolExecutor(
        1, get_context("spawn"), torch.set_num_threads, (settings.threads,)
    ) as pool:
        return pool.submit(function, settings, *given).result()


def run_benchmark(settings: Settings, name: str, out: Path) -> None:
    """Measure the benchmark `name` in this process, and write its JSON into `out`."""
    about, started = machine(), time.perf_counter()
    rows = import_module(f"benchmarks.{name}").measure(settings)
    result = {
        "benchmark": name,
        "machine": about,
        "settings": {n: v for n, v in asdict(settings).items() if n != "data_dir"},
        "seconds": round(time.perf_counter() - started, 1),
        "peak_memory_gb": round(peak_memory(), 2),
        "rows": [row.as_json() for row in rows],
    }
    write_json(out / f"{name}.json", result)


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
    first = info.read_text(encoding="utf-8").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    found = {key.strip(): value.strip() for key, _, value in pairs}
    family, model = found.get("cpu family"), found.get("model")
    return f"{found.get('model name', platform.processor())}, family {family} model {model}"
