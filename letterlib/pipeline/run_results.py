"""Records of finished runs, gathered: a table, a paired comparison, the best by validation. For
instance,

    results = load_results("runs/results") print(summary(results), compare(select(results,
    ["tokenizer=letter"]), select(results, ["tokenizer=plain"])))

holds LETTER's runs against those of the plain tokenizer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from letterlib.data import PACKAGED, load_dataset
from letterlib.errors import LetterError
from letterlib.evaluation.bootstrap import Interval, interval, paired_difference, verdict
from letterlib.evaluation.metrics import GROUPS, popularity_groups
from letterlib.pipeline.brief import (
    METRICS,
    PARAMETERS,
    RunResult,
    fault,
    in_a_word,
    no_record,
    origins_in_words,
)
from letterlib.pipeline.config import DATA_ROOT, data_dir_under, default_data_dir
from letterlib.pipeline.systems import find_system, place
from letterlib.pipeline.tables import RESAMPLING_SEED
from letterlib.store import expanded, files_below, read_json


def load_results(*folders: str | Path) -> list[RunResult]:
    """Every record in these folders and below, in the order of the table of systems. A run that is
    in two counts once.

    A folder that does not exist or holds no record, a damaged record, or a second one of a run that
    differs from the first is a LetterError. Other JSON files beside records are passed over.
    """
    found: dict[str, RunResult] = {}
    paths: dict[tuple[Any, ...], Path] = {}
    others: list[str] = []
    for folder in map(expanded, folders):
        if not folder.is_dir():
            raise LetterError(
                f"{folder}: no such folder of results; letterlib grid and papermill write there"
            )
        for path in files_below(folder, ".json"):
            if wrong := fault(record := read_json(path), PARAMETERS):
                if no_record(path.name, wrong):  # a table or a summary, as in experiments/results
                    others.append(f"{path}: {wrong}")
                    continue
                raise LetterError(f"{path}: {wrong}")
            one = found.setdefault(path.name, RunResult(record))
            other = paths.setdefault((one.setting, one.seed), path)
            if any(one.record[part] != record[part] for part in ("dataset", "hits")):
                raise LetterError(
                    f"{path} and {other}: the same run with two results; keep one of them"
                )
            if other.name != path.name:
                raise LetterError(
                    f"{path} and {other}: two records of the same run; keep what `letterlib grid` names"
                )
    if not found:
        none = f"{', '.join(map(str, folders))}: no finished run here; letterlib grid FILE --run makes some"
        raise LetterError(others[0] if others else none)
    return sorted(
        found.values(),
        key=lambda one: (one.dataset, place(one.record["system"]), one.setting, one.seed),
    )


def select(results: Iterable[RunResult], conditions: Sequence[str]) -> list[RunResult]:
    """Those that meet every condition, each "parameter=value", as in "tokenizer=letter" or
    "tau=0.8".
    """
    chosen = list(results)
    for condition in conditions:
        name, sign, wanted = condition.partition("=")
        if not sign or name not in PARAMETERS:
            what = f"{name} is no parameter" if sign else "write it as parameter=value"
            if name == "system":
                what += (
                    ", but generator and tokenizer are, as in generator=tiger and tokenizer=letter"
                )
            raise LetterError(f'"{condition}": {what}; the parameters are {", ".join(PARAMETERS)}')
        there = sorted({in_a_word(one.parameters[name]) or '""' for one in chosen})
        chosen = [one for one in chosen if _equal(one.parameters[name], wanted)]
        if not chosen:
            raise LetterError(
                f'no finished run has "{condition}"; {name} is {" or ".join(there) or "nowhere"} here'
            )
    return chosen


def _equal(value: Any, wanted: str) -> bool:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value) == float(wanted)
        except ValueError:
            return False
    return wanted in (in_a_word(value), str(value))


def by_setting(results: Iterable[RunResult]) -> list[list[RunResult]]:
    """The runs of each setting together, one for every seed."""
    groups: dict[tuple[str, ...], list[RunResult]] = {}
    for one in results:
        groups.setdefault(one.setting, []).append(one)
    return list(groups.values())


def mean_interval(runs: Sequence[RunResult], metric: str = "R@10", history: str = "in") -> Interval:
    """The mean of one setting's runs, with its 95% interval over users and seeds.

    Runs of two data sets that bear one name are a LetterError.
    """
    _check_one_data_set(runs)
    values = np.stack([one.values(metric, history) for one in runs])
    return interval(values, runs[0].users, RESAMPLING_SEED)


def summary(results: Iterable[RunResult]) -> pd.DataFrame:
    """One row a setting: what distinguishes it from the others, its seeds, and its figures with
    intervals.

    Without any run, a LetterError.
    """
    results = list(results)
    if not results:
        raise LetterError("no runs to sum up; what chose among them left none")
    told_apart, rows = _differing(results), []
    contents = {
        (one.parameters["dataset"], one.record["dataset"]["fingerprint"]) for one in results
    }
    several = len(contents) > len({name for name, _ in contents})  # of other content under one name
    for runs in by_setting(results):
        inside, outside = mean_interval(runs), mean_interval(runs, history="out")
        figures = {
            name: f"{np.mean([one.values(name).mean() for one in runs]):.4f}" for name in METRICS
        }
        figures["R@10"] = f"{inside:.4f}"
        rows.append(
            {"system": runs[0].record["label"]}
            | {name: in_a_word(runs[0].parameters[name]) for name in told_apart}
            | ({"data": runs[0].record["dataset"]["fingerprint"][:8]} if several else {})
            | {"seeds": len(runs)}
            | {"R@10 [95%]" if name == "R@10" else name: figure for name, figure in figures.items()}
            | {"R@10, history out [95%]": f"{outside:.4f}"}
            | {
                "cases": len(runs[0].cases),
                "seconds": f"{np.mean([one.seconds for one in runs]):.0f}",
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Comparison:
    """Two settings on the cases and seeds that both have. difference: first minus second, paired."""

    metric: str
    history: str
    first: float
    second: float
    difference: Interval
    seeds: tuple[int, ...]
    n_cases: int
    n_users: int
    targets: str | None = None
    origins: str = ""
    """`origins_in_words` of both. It is no part of the sentence, which often stands beside others
    of the same runs.
    """

    @property
    def verdict(self) -> str:
        return verdict(self.difference, len(self.seeds))

    def __str__(self) -> str:
        return (
            f"{self.metric}, history {self.history}{f', {self.targets} targets' if self.targets else ''}: "
            f"{self.first:.4f} against {self.second:.4f}, difference {self.difference:+.4f}, "
            f"{len(self.seeds)} seed(s), {self.n_cases:,} cases of {self.n_users:,} users: {self.verdict}"
        )


def compare(
    first: Sequence[RunResult],
    second: Sequence[RunResult],
    metric: str = "R@10",
    history: str = "in",
    *,
    targets: str | None = None,
    data_root: Path = DATA_ROOT,
    cache_dir: Path = Path("runs"),
) -> Comparison:
    """Paired bootstrap over users and seeds of the difference between two settings.

    Each side must be one setting: all parameters but the seed alike. Cases that only one side
    answered, and seeds that only one side has, are left out; no seed or no case in common, or two
    data sets, is a LetterError.
    targets: only cases whose target is in this group of `evaluation.metrics.popularity_groups`; for
    this the data set
        is read, below data_root if it is no packaged one, else through cache_dir.
    """
    if targets not in (None, *GROUPS):
        raise LetterError(f'targets "{targets}": choose {", ".join(GROUPS)}')
    one, other = _by_seed(first, "first"), _by_seed(second, "second")
    seeds = tuple(sorted(set(one) & set(other)))
    if not seeds:
        raise LetterError(
            f"no seed in common: the first has {sorted(one)}, the second {sorted(other)}"
        )
    _check_one_data_set([*one.values(), *other.values()])
    a, b = one[seeds[0]], other[seeds[0]]
    common, mine, theirs = np.intersect1d(a.cases, b.cases, return_indices=True)
    if not len(mine):
        raise LetterError(
            "no case in common: each side answered another sample; give both one language_model_cases"
        )
    if targets is not None:
        kept = target_groups(a, data_root, cache_dir)[common] == targets
        if not kept.any():
            raise LetterError(
                f"no case has a target in the group {targets}; choose another of {', '.join(GROUPS)}"
            )
        mine, theirs = mine[kept], theirs[kept]
    left = np.stack([one[seed].values(metric, history)[mine] for seed in seeds])
    right = np.stack([other[seed].values(metric, history)[theirs] for seed in seeds])
    difference = paired_difference(left, right, users := a.users[mine], RESAMPLING_SEED)
    return Comparison(
        metric,
        history,
        float(left.mean()),
        float(right.mean()),
        difference,
        seeds,
        len(users),
        len(np.unique(users)),
        targets,
        origins_in_words(*([side[seed] for seed in seeds] for side in (one, other))),
    )


def target_groups(run: RunResult, data_root: Path, cache_dir: Path) -> np.ndarray:
    """How popular in training the target of each of the split's test cases is, str [n]; records do
    not say it.
    """
    name, known = run.parameters["dataset"], run.record["dataset"]
    folder = data_dir_under(data_root, name) or default_data_dir(name)
    if folder is None and name not in PACKAGED:  # load_dataset would speak of --data-dir
        raise LetterError(
            f"{data_root / name}: no such folder; put its files there, or name another --data-root"
        )
    dataset = load_dataset(name, folder, cache_dir / "data")
    if dataset.fingerprint != known["fingerprint"]:
        raise LetterError(
            f"{name}: the runs are of other data ({known['fingerprint']}) than is here "
            f"({dataset.fingerprint}); name the folder that holds theirs with --data-root"
        )
    split = dataset.split(known["held out"])
    return popularity_groups(split.train_counts)[split.cases("test").targets]


def _check_one_data_set(runs: Sequence[RunResult]) -> None:
    for name in ("fingerprint", "held out"):
        found = {str(one.record["dataset"][name]): one for one in runs}
        if len(found) > 1:
            data = " and ".join(
                f"{key} ({one.parameters['dataset']}, seed {one.seed})"
                for key, one in found.items()
            )
            raise LetterError(
                f"runs of different data: the {name} is {data}, so their cases cannot be compared"
            )


def _by_seed(results: Sequence[RunResult], side: str) -> dict[int, RunResult]:
    settings = by_setting(results)
    if len(settings) != 1:
        differ = ", ".join(
            f"{name} ({', '.join(values)})" for name, values in _differing(results).items()
        )
        mend = f"choose one value with --where NAME=VALUE of what they differ in: {differ}"
        raise LetterError(f"the {side} side has {len(settings)} settings, not one; {mend}")
    return {one.seed: one for one in results}


def _differing(results: Sequence[RunResult]) -> dict[str, list[str]]:
    """The parameters, beside the seed, that these runs do not share, with their values."""
    values = {
        name: sorted({str(one.parameters[name]) for one in results})
        for name in PARAMETERS
        if name != "seed"
    }
    return {name: found for name, found in values.items() if len(found) > 1}


def best(results: Iterable[RunResult]) -> list[RunResult]:
    """The runs of the setting with the highest mean validation N@10. Test figures are not looked
    at.

    Settings are compared on the seeds that all of them have, because one lucky seed is easily above
    an average of five. Runs without a validation are left out. None left, no seed in common or
    several data sets is a LetterError. So are systems that were validated with the history left in
    beside others with it filtered out: two scales.
    """
    results = list(results)
    datasets = sorted({str(one.parameters["dataset"]) for one in results})
    if len(datasets) > 1:
        raise LetterError(
            f"one data set has nothing to say of another; choose --where dataset={' or '.join(datasets)}"
        )
    judged = [
        runs
        for runs in by_setting(results)
        if all(one.record["validation N@10"] is not None for one in runs)
    ]
    if not judged:
        raise LetterError("none of these runs was validated during training, so none can be chosen")
    _check_one_data_set([one for runs in judged for one in runs])
    apart = {
        find_system(runs[0].record["system"]).leaves_out_history: runs[0].record["label"]
        for runs in judged
    }
    if len(apart) > 1:
        raise LetterError(
            f"{apart[True]} was validated with the history filtered out and {apart[False]} with it left in, which are "
            "two scales; choose among the systems of one kind (--where generator=...)"
        )
    shared = set.intersection(*({one.seed for one in runs} for runs in judged))
    if not shared:
        raise LetterError(
            "these settings have no seed in common, and different seeds would decide; run those missing"
        )
    return max(
        judged,
        key=lambda runs: np.mean(
            [one.record["validation N@10"] for one in runs if one.seed in shared]
        ),
    )
