"""What the frozen figures need of the library: settings of a folder, an interval, a comparison.

Nothing else in tests/golden imports letterlib: when its interface changes, this file follows.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from letterlib.evaluation import bootstrap
from letterlib.evaluation.case_kinds import KINDS, is_kind
from letterlib.evaluation.metrics import GROUPS as GROUP_NAMES
from letterlib.evaluation.metrics import gains_at, hits_at
from letterlib.pipeline import results
from letterlib.pipeline.results import RESAMPLING_SEED

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = REPOSITORY / "experiments" / "results"
"""Where results are read; `figures.read_from` chooses another folder."""

METRICS = ("R@5", "R@10", "N@5", "N@10")
GROUPS = ("head", "middle", "tail")
CASE_KINDS = tuple(KINDS)

RUNS = (
    "beauty",
    "beauty-epochs",
    "beauty-rates",
    "complete-journey",
    "gap-minutes",
    "instruments",
    "leave-one-out",
    "movielens-ablation",
    "movielens-epochs",
    "movielens-names-for-lc-rec",
    "movielens-overall",
    "movielens-random-order",
    "movielens-rates",
    "movielens-replication",
    "movielens-straight-through",
    "movielens-sweeps",
    "movielens-tune",
    "paper-ablation-minutes",
    "yelp",
)
"""Folders that hold records of runs."""

RANKS = (
    "movielens-fourteen-systems",
    "movielens-fourteen-systems-again",
    "movielens-language-models",
)
"""Folders of a table of systems, with the rank of every target (ranks.parquet)."""

SEVERAL = ("counts", "gap-minutes", "leave-one-out", "paper-ablation-minutes")
"""Those in RUNS with several data sets: a setting's name begins with its own."""

OWN = {
    "alpha": 0.1,
    "beta": 0.0001,
    "levels": 4,
    "codes": 256,
    "clusters": 10,
    "tau": 1.0,
    "beams": 20,
    "profile": "laptop",
    "device": "auto",
}
"""Values that a setting's name leaves out, as it does None and 0, which the tokenizer implies."""

HOUR = (
    "tiger.batch_size=128",
    "tiger.d_ff=512",
    "tiger.dropout=0.1",
    "tiger.epochs=24",
    "tiger.history=20",
    "tiger.n_layers=2",
    "tiger.targets=1",
    "tiger.validate_every=3",
    "tiger.warmup=0.02",
)
SIZE = (
    "tiger.batch_size=256",
    "tiger.d_ff=1024",
    "tiger.d_head=64",
    "tiger.dropout=0.1",
    "tiger.history=20",
    "tiger.n_heads=6",
    "tiger.n_layers=4",
    "tiger.targets=1",
    "tiger.warmup=0.02",
)
RECIPES = {"an hour": HOUR, "the paper's size": SIZE}
"""Options that a setting's name says together; with them each takes all examples of its data."""


@dataclass(frozen=True, eq=False)
class Setting:
    """Runs that differ in their seed alone, by seed.

    parameters: what distinguishes it. groups: of each case's target, by popularity.
    """

    name: str
    dataset: str
    parameters: dict[str, Any]
    seeds: tuple[int, ...]
    cases: np.ndarray
    users: np.ndarray
    runs: tuple[Any, ...]
    groups: np.ndarray

    def values(self, metric: str = "R@10", history: str = "in") -> np.ndarray:
        """Float64 [n_seeds, n_cases]."""
        return np.stack([one.values(metric, history) for one in self.runs])

    def in_group(self, targets: str | None) -> np.ndarray:
        """Whether each case's target is in this group of popularity, bool [n_cases]; None: all."""
        if targets is None:
            return np.ones(len(self.cases), dtype=bool)
        if targets in CASE_KINDS:
            return is_kind(self.runs[0].kinds, targets)
        return self.groups == targets


@cache
def settings(folder: str) -> dict[str, Setting]:
    """Those of a folder in RUNS or RANKS, by name."""
    found = _of_ranks(folder) if folder in RANKS else _of_runs(folder)
    return {one.name: one for one in found}


def _of_runs(folder: str) -> list[Setting]:
    found = []
    groups = results.by_setting(results.load_results(RESULTS / f"{folder}.parquet"))
    several = folder in SEVERAL
    for runs in groups:
        runs = sorted(runs, key=lambda one: one.seed)
        first, seeds = runs[0], tuple(one.seed for one in runs)
        said = {name: value for name, value in first.parameters.items() if name != "seed"}
        name = f"{first.dataset} " * several + _name(first.record["system"], said)
        found.append(
            Setting(
                name,
                first.dataset,
                said,
                seeds,
                first.cases,
                first.users,
                tuple(runs),
                np.array(GROUP_NAMES)[first.groups],
            )
        )
    assert max(Counter(one.name for one in found).values()) == 1
    return found


def _name(system: str, said: dict[str, Any]) -> str:
    """The system, and what differs from the profile's own values."""
    words = [f"{name}={results.setting_text(said[name])}" for name in OWN if _differs(said, name)]
    options = list(said["options"])
    for recipe, those in RECIPES.items():
        if set(those) <= set(options):
            options = [one for one in options if one not in those]
            options = [one for one in options if not one.startswith("tiger.examples=")]
            words.append(f"({recipe})")
    return " ".join([system, *words, *options])


def _differs(said: dict[str, Any], name: str) -> bool:
    return said[name] not in (None, 0, OWN[name])


@dataclass(frozen=True, eq=False)
class _Ranks:
    """One system and seed of ranks.parquet, with `values` as a run has it."""

    ranks: dict[str, np.ndarray]

    def values(self, metric: str, history: str) -> np.ndarray:
        kind, k = metric.split("@")
        return (hits_at if kind == "R" else gains_at)(self.ranks[history], int(k))


def _of_ranks(folder: str) -> list[Setting]:
    table, found = pd.read_parquet(RESULTS / folder / "ranks.parquet"), []
    for system, rows in table.groupby("system", observed=True):
        runs = {}
        for seed, one in rows.groupby("seed"):
            both = {"in": one["rank"].to_numpy(), "out": one["rank, history out"].to_numpy()}
            runs[int(seed)] = _Ranks(both)
        cases, users = one["case"].to_numpy(), one["user"].to_numpy()
        found.append(
            Setting(
                str(system),
                "movielens",
                {"system": system},
                tuple(runs),
                cases,
                users,
                tuple(runs.values()),
                one["group"].to_numpy().astype(str),
            )
        )
    return found


def interval(values: np.ndarray, users: np.ndarray) -> list[float]:
    """Mean, low and high of values [n_seeds, n_cases], with the library's resampling seed."""
    one = bootstrap.interval(values, users, RESAMPLING_SEED)
    return [one.mean, one.low, one.high]


def mean_interval(one: Setting, metric: str = "R@10", history: str = "in") -> list[float]:
    """Mean, low and high of one setting."""
    if isinstance(one.runs[0], _Ranks):
        return interval(one.values(metric, history), one.users)
    found = results.mean_interval(one.runs, metric, history)
    return [found.mean, found.low, found.high]


def compare(
    first: Setting,
    second: Setting,
    metric: str = "R@10",
    history: str = "in",
    targets: str | None = None,
) -> list[float]:
    """First minus second, paired over the seeds and cases that both have: mean, low and high."""
    if isinstance(first.runs[0], _Ranks):
        assert first.seeds == second.seeds
        _, mine, theirs = np.intersect1d(first.cases, second.cases, return_indices=True)
        kept = first.in_group(targets)[mine]
        mine, theirs = mine[kept], theirs[kept]
        left = first.values(metric, history)[:, mine]
        right = second.values(metric, history)[:, theirs]
        return interval(left - right, first.users[mine])
    chosen = {"cases" if targets in CASE_KINDS else "targets": targets}
    one = results.compare(first.runs, second.runs, metric, history, **chosen).difference
    return [one.mean, one.low, one.high]


def validation(one: Setting) -> list[float | None]:
    """The best N@10 on validation, by seed."""
    return [run.record["validation N@10"] for run in one.runs]


def seconds(one: Setting) -> float:
    """Mean over seeds of training and evaluating the system."""
    return float(np.mean([run.seconds for run in one.runs]))


def identifiers(one: Setting) -> list[dict[str, Any]]:
    """What the records say of the identifiers, by seed; empty for systems without any."""
    return [run.record["identifiers"] for run in one.runs if run.record.get("identifiers")]


def pairs(folder: str) -> list[tuple[Setting, Setting]]:
    """All pairs of a folder's settings that have the data, a seed and a case in common."""
    those = list(settings(folder).values())
    return [
        (one, other)
        for place, one in enumerate(those)
        for other in those[place + 1 :]
        if _data(one) == _data(other) and set(one.seeds) & set(other.seeds)
    ]


def _data(one: Setting) -> tuple[Any, ...]:
    known = one.runs[0].record["dataset"]
    return known["fingerprint"], known["held out"]
