"""A finished run's record: the hits and the users of its cases as short texts, and read back as
arrays.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from letterlib.data.dataset import sampled_rows
from letterlib.errors import LetterError
from letterlib.evaluation.metrics import ABSENT, gains_at, hits_at
from letterlib.pipeline.parameters import RunParameters
from letterlib.store import digest

METRICS = ("R@5", "R@10", "N@5", "N@10")
PARAMETERS = tuple(RunParameters.model_fields)
RECORD_NAME = re.compile(r"[0-9a-f]{16}\.json")
NO_RECORD = "not the record of a run; runs are in a folder of their own, such as runs/results"


def hits_in_brief(ranks: np.ndarray) -> str:
    """ "3:0 17:4": case 3 has its target in the first place, case 17 in the fifth, all others
    missed it.

    ranks: int64 [n_cases], as in `Evaluation`.
    """
    return " ".join(f"{case}:{ranks[case]}" for case in np.flatnonzero(ranks != ABSENT))


def ranks_at_length(brief: str, n_cases: int) -> np.ndarray:
    """The inverse of `hits_in_brief`."""
    ranks = np.full(n_cases, ABSENT)
    for pair in brief.split():
        case, rank = map(int, pair.split(":"))
        if case < 0 or rank < 0:
            raise ValueError(f"{pair} is below 0")
        ranks[case] = rank
    return ranks


def users_in_brief(users: np.ndarray) -> str:
    """ "0-670x5 672-672x4": users 0 to 670 have five cases each, user 672 has four.

    users: int64 [n_cases], at least one, ascending, whose the cases are.
    """
    if (np.diff(users) < 0).any():
        raise ValueError("cases must be in the order of their users")
    who, cases = np.unique(users, return_counts=True)
    new = np.flatnonzero((np.diff(who) != 1) | (np.diff(cases) != 0)) + 1
    stretches = zip(np.split(who, new), np.split(cases, new), strict=True)
    return " ".join(f"{part[0]}-{part[-1]}x{n[0]}" for part, n in stretches)


def users_at_length(brief: str) -> np.ndarray:
    """The inverse of `users_in_brief`: int64 [n_cases]."""
    parts = [tuple(map(int, re.split("[-x]", part))) for part in brief.split()]
    return np.concatenate([np.repeat(np.arange(first, last + 1), n) for first, last, n in parts])


def in_a_word(value: Any) -> str:
    """A parameter's value as `run_results.select` takes it."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return " ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def signed(record: dict[str, Any]) -> dict[str, Any]:
    """With a hash of its content, by which `fault` notices that something has changed."""
    return record | {"digest": _digest(record)}


def _digest(record: dict[str, Any]) -> str:
    return digest({name: value for name, value in record.items() if name != "digest"})


def fault(record: Any, parameters: Iterable[str]) -> str:
    """What is wrong with a record, in words; empty where it has all that is read of one, for as
    many users as cases.
    """
    if not isinstance(record, dict) or not {
        "parameters",
        "metrics",
        "hits",
        "cases",
        "dataset",
    } <= set(record):
        return NO_RECORD
    try:
        lacking = [
            name
            for name in ("system", "label", "validation N@10", "seconds", "stages")
            if name not in record
        ]
        lacking += [name for name in parameters if name not in record["parameters"]]
        n_cases = record["cases"]["answered"]
        if lacking:
            return f"a record without {', '.join(lacking)}, of another version; run it again"
        if not all(
            isinstance(one["name"], str) and one["seconds"] >= 0 for one in record["stages"]
        ):
            return "a damaged record (a stage without a name or its seconds); delete it, and run it again"
        if not all(
            isinstance(one.get("code", ""), str | None) for one in (record, *record["stages"])
        ):
            return "a damaged record (a code that is no text); delete it, and run it again"
        if type(record["parameters"]["seed"]) is not int:
            return f"a damaged record (seed {record['parameters']['seed']!r}); delete it, and run it again"
        for history in ("history in", "history out"):
            ranks = ranks_at_length(record["hits"][history], n_cases)
            for metric, mean in means(ranks).items():
                if not math.isclose(mean, record["metrics"][history][metric], abs_tol=1e-9):
                    return f"a damaged record (its {metric}, {history}, is not that of its hits); run it again"
        if record["cases"]["total"] < n_cases or not record["dataset"]["fingerprint"]:
            return "a damaged record (fewer cases than answers, or no data set); delete it, and run it again"
        if "held out" not in record["dataset"] or not isinstance(record.get("config", {}), dict):
            return "a damaged record (no split, or no configuration); delete it, and run it again"
        if record.get("digest") not in (None, _digest(record)):  # the first records have none
            return "a damaged record (something in it has changed); delete it, and run it again"
        n_users = len(users_at_length(record["cases"]["users"]))
        return (
            ""
            if n_users == n_cases
            else f"{n_cases} cases and users for {n_users}; delete it, and run it again"
        )
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        return f"a damaged record ({error!r}); delete it, and run it again"


def no_record(name: str, wrong: str) -> bool:
    """Whether a file with this `fault` is another kind of file, and not called as a run's record
    is.
    """
    return wrong == NO_RECORD and not RECORD_NAME.fullmatch(name)


def _by_case(metric: str, ranks: np.ndarray) -> np.ndarray:
    kind, k = metric.split("@")
    return (hits_at if kind == "R" else gains_at)(ranks, int(k))


def means(ranks: np.ndarray) -> dict[str, float]:
    """Each of METRICS over all cases. ranks: int64 [n_cases]."""
    return {metric: float(_by_case(metric, ranks).mean()) for metric in METRICS}


@dataclass(frozen=True)
class RunResult:
    """One record of `runs.run`. Two are of one setting when they differ in their seed alone."""

    record: dict[str, Any]

    @property
    def parameters(self) -> dict[str, Any]:
        return self.record["parameters"]

    @property
    def dataset(self) -> str:
        return self.parameters["dataset"]

    @property
    def seed(self) -> int:
        return self.parameters["seed"]

    @property
    def setting(self) -> tuple[str, ...]:
        """All parameters but the seed, to group by."""
        return tuple(str(self.parameters[name]) for name in PARAMETERS if name != "seed")

    @property
    def seconds(self) -> float:
        """Wall time of training and evaluating the system when that was really done, also where it
        was found.
        """
        own = (self.record["system"], f"evaluation-{self.record['system']}")
        return sum(one["seconds"] for one in self.record["stages"] if one["name"] in own)

    @property
    def code(self) -> set[str | None]:
        """Hashes of the library's code (`cache.code`) that made the run and its stages; None for
        what does not say.
        """
        return {one.get("code") for one in (self.record, *self.record["stages"])}

    @property
    def devices(self) -> set[str]:
        """What computed it, in words; several where stages came from a cache. Empty where the
        record does not say.
        """
        return {one for one in (self.record.get("device") or "").split("; ") if one}

    @cached_property
    def cases(self) -> np.ndarray:
        """Which of the split's test cases were answered: int64 [n]. A language model answers a
        fixed sample.
        """
        return sampled_rows(self.record["cases"]["total"], self.record["cases"]["answered"], seed=0)

    @cached_property
    def users(self) -> np.ndarray:
        """Whose each answered case is: int64 [n]."""
        return users_at_length(self.record["cases"]["users"])

    def values(self, metric: str = "R@10", history: str = "in") -> np.ndarray:
        """A metric case by case: float64 [n]. metric: one of METRICS; history: left "in", or
        filtered "out".
        """
        if metric not in METRICS:
            raise LetterError(
                f'metric "{metric}": only {", ".join(METRICS)} are known case by case'
            )
        if history not in ("in", "out"):
            raise LetterError(
                f'history "{history}": it is left "in" the ranking, or filtered "out"'
            )
        return _by_case(
            metric, ranks_at_length(self.record["hits"][f"history {history}"], len(self.cases))
        )


def origins_in_words(first: Sequence[RunResult], second: Sequence[RunResult]) -> str:
    """Where two sides may differ by more than their settings: in code or devices. "" where nothing
    is known of it.
    """
    sides = [set().union(*(run.devices for run in side)) for side in (first, second)]
    one, other = ("; ".join(sorted(side)) for side in sides)
    told = f"The first was computed on {one}, the second on {other}: a difference may come from the devices."
    return "\n".join(
        filter(
            None, [code_in_words([*first, *second]), told if all(sides) and one != other else ""]
        )
    )


def code_in_words(runs: Iterable[RunResult]) -> str:
    """A sentence where not all runs and their stages come from the same code; "" where they do, or
    where none says.
    """
    if len(set().union(*(one.code for one in runs))) < 2:
        return ""
    return "Not all of these runs and their stages are known to be by the same code: a difference may be the code's."
