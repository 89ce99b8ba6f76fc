"""95% intervals by resampling users, never cases: a user's five cases are not five independent
witnesses.
"""

from dataclasses import dataclass

import numpy as np

from letterlib.data.dataset import UNKNOWN_USER

RESAMPLES = 2000
DIGITS = 12
"""Ends of intervals are rounded to so many places: sums of floats would make 2e-17 of a 0, which
then excludes 0.
"""
CHUNK = 2_000_000  # weights drawn at a time


@dataclass(frozen=True)
class Interval:
    """A mean and the 2.5% and 97.5% quantiles of its bootstrap distribution."""

    mean: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """The mean, then both ends, each in the format that is given: ".4f" makes "0.0521 [0.0463,
        0.0581]".
        """
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]" if spec else str(self)

    @property
    def excludes_zero(self) -> bool:
        """Never without a width: of one user, or of a few who are all alike, resampling says
        nothing of others.
        """
        return self.low < self.high and (self.low > 0 or self.high < 0)


def interval(values: np.ndarray, users: np.ndarray, seed: int) -> Interval:
    """Interval of the mean over cases.

    values: float [n_cases] of one run, or [n_runs, n_cases] of several over the same cases, whose
    runs are then resampled as well. users: int64 [n_cases], whose case each is; of UNKNOWN_USER
    every case is another person's.
    seed: of the resampling. ValueError without cases or runs, where `users` are fewer or more, or
    for NaN, whose interval would seem to hold 0.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if not values.size:
        raise ValueError(
            f"no cases, or no runs: an interval needs at least one of each, not {values.shape}"
        )
    if len(users) != values.shape[1]:
        raise ValueError(
            f"{values.shape[1]:,} cases of {len(users):,} users: give the user of each case"
        )
    if not np.isfinite(values).all():
        raise ValueError("some values are NaN or infinite, so they have no mean")
    _, owner = np.unique(users, return_inverse=True)
    unknown = np.flatnonzero(np.asarray(users) == UNKNOWN_USER)
    if len(unknown):
        owner[unknown] = len(owner) + unknown
        _, owner = np.unique(owner, return_inverse=True)
    n_runs, n_users = len(values), int(owner.max()) + 1
    sums = [np.bincount(owner, weights=row, minlength=n_users) for row in values]
    # Users with equal results are exchangeable, so drawing how often each kind of user comes up is
    # the same bootstrap as drawing users, and with one case a user there are a handful of kinds.
    kinds, n_of_kind = _distinct_rows([np.bincount(owner), *sums])
    sizes, sums = kinds[:, 0], kinds[:, 1:]
    random = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    step = max(1, CHUNK // len(kinds))
    for start in range(0, RESAMPLES, step):
        n = min(step, RESAMPLES - start)
        weights = random.multinomial(n_users, n_of_kind / n_users, size=n)
        runs = random.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=n) / n_runs
        means[start : start + n] = ((weights @ sums) * runs).sum(axis=1) / (weights @ sizes)
    low, high = np.quantile(means, [0.025, 0.975]).round(DIGITS)
    return Interval(float(values.mean()), float(low), float(high))


def _distinct_rows(columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """As `np.unique(np.column_stack(columns), axis=0, return_counts=True)`, but faster where values
    repeat.
    """
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:  # rows that are equal so far have one number, in the order of the rows
        values, place = np.unique(column, return_inverse=True)
        _, code = np.unique(code * len(values) + place, return_inverse=True)
    one_of = np.empty(code.max() + 1, dtype=np.int64)
    one_of[code] = np.arange(len(code))
    return np.column_stack([column[one_of] for column in columns]), np.bincount(code)


def paired_difference(a: np.ndarray, b: np.ndarray, users: np.ndarray, seed: int) -> Interval:
    """Interval of the mean of a - b over the same cases (and, where there are several, the same
    seeds).
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values must have one shape, not {a.shape} and {b.shape}")
    return interval(a - b, users, seed)


def verdict(difference: Interval, n_seeds: int) -> str:
    """What may be said of a paired difference: "better" and "worse" only from five seeds on."""
    if not difference.excludes_zero:
        return "no difference seen"
    if n_seeds >= 5:
        return "better" if difference.mean > 0 else "worse"
    number = "one" if n_seeds == 1 else str(n_seeds)
    return f"{number}-seed difference ({'higher' if difference.mean > 0 else 'lower'})"
