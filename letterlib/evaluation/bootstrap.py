"""95% intervals by resampling users, paired differences, and many comparisons at once.

Users are resampled, never cases: a user's five cases are not independent. Over several runs, runs
are resampled as well. Three or five are few: if they bring more than .6 of the noise, the interval
is too narrow (rates: docs/findings.md, "How far to trust an interval").
"""

import functools
import math
from dataclasses import dataclass

import numpy as np

from letterlib.data.dataset import UNKNOWN_USER

RESAMPLES = 20_000
DIGITS = 12
"""Decimals kept of an interval's ends: a sum of floats may be 2e-17 instead of 0."""
CHUNK = 2_000_000  # weights multiplied at a time
FEW_USERS = 4000


@dataclass(frozen=True)
class Interval:
    """A mean and the 2.5% and 97.5% quantiles of its bootstrap distribution."""

    mean: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        """The mean and both ends in the given format: ".4f" makes "0.0521 [0.0463, 0.0581]"."""
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]" if spec else str(self)

    @property
    def excludes_zero(self) -> bool:
        """Never for an interval of no width, as of one user, which says nothing of others."""
        return self.low < self.high and (self.low > 0 or self.high < 0)


def interval(values: np.ndarray, users: np.ndarray, seed: int) -> Interval:
    """Interval of the mean over cases.

    values: float [n_cases] of one run, or [n_runs, n_cases] of several over the same cases; runs
        are then resampled as well.
    users: int64 [n_cases], whose case each is; each case of UNKNOWN_USER is another person's.
    seed: of the resampling.

    ValueError without cases or runs, for another number of users, and for NaN or infinity.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if not values.size:
        raise ValueError(f"values {values.shape}: an interval needs at least one run and one case")
    if len(users) != values.shape[1]:
        raise ValueError(
            f"{values.shape[1]:,} cases, but {len(users):,} users: give the user of each case"
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
    columns, random = [np.bincount(owner), *sums], np.random.default_rng(seed)
    if n_users <= FEW_USERS:
        rows, drawn = np.column_stack(columns), _draws(n_users, seed)
        parts = np.array_split(drawn, max(1, drawn.size // CHUNK))
        totals = np.concatenate([part.astype(np.float64) @ rows for part in parts])
    else:
        # Users with equal results are exchangeable: drawing how often each kind of user comes up is
        # the same bootstrap as drawing users, and with one case a user there are few kinds.
        rows, n_of_kind = _distinct_rows(columns)
        step = max(1, CHUNK // len(rows))
        sizes = [min(step, RESAMPLES - start) for start in range(0, RESAMPLES, step)]
        shares = n_of_kind / n_users
        totals = np.concatenate([random.multinomial(n_users, shares, n) @ rows for n in sizes])
    runs = random.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=RESAMPLES) / n_runs
    means = (totals[:, 1:] * runs).sum(axis=1) / totals[:, 0]
    low, high = np.quantile(means, [0.025, 0.975]).round(DIGITS)
    return Interval(float(values.mean()), float(low), float(high))


@functools.lru_cache(maxsize=2)
def _draws(n_users: int, seed: int) -> np.ndarray:
    """How often each user is drawn in each resample: uint8 [RESAMPLES, n_users].

    Kept, because the intervals of one table are all drawn from the same users.
    """
    random = np.random.default_rng(seed)
    counts = np.empty((RESAMPLES, n_users), dtype=np.uint8)
    for row in counts:
        row[:] = np.bincount(random.integers(n_users, size=n_users), minlength=n_users)
    return counts


def _distinct_rows(columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """`np.unique(np.column_stack(columns), axis=0, return_counts=True)`, faster for few values."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:  # rows that are equal so far have the same code
        values, place = np.unique(column, return_inverse=True)
        _, code = np.unique(code * len(values) + place, return_inverse=True)
    row_of = np.empty(code.max() + 1, dtype=np.int64)
    row_of[code] = np.arange(len(code))
    return np.column_stack([column[row_of] for column in columns]), np.bincount(code)


def paired_difference(a: np.ndarray, b: np.ndarray, users: np.ndarray, seed: int) -> Interval:
    """Interval of the mean of a - b over the same cases and seeds; shapes as in `interval`."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values must have one shape, not {a.shape} and {b.shape}")
    return interval(a - b, users, seed)


def verdict(difference: Interval, n_seeds: int) -> str:
    """A paired difference in words; "better" and "worse" only from five seeds on."""
    if not difference.excludes_zero:
        return "no difference seen"
    if n_seeds >= 5:
        return "better" if difference.mean > 0 else "worse"
    number = "one" if n_seeds == 1 else str(n_seeds)
    return f"{number}-seed difference ({'higher' if difference.mean > 0 else 'lower'})"


def p_value(difference: Interval) -> float:
    """Two-sided p-value of "no difference", from a 95% interval taken as that of a normal.

    Below .05 where the interval excludes 0, skewness aside; 1 where the interval has no width.
    """
    error = (difference.high - difference.low) / (2 * 1.959964)
    if error == 0:
        return 1.0
    return math.erfc(abs(difference.mean) / error / math.sqrt(2))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment for many comparisons: float64 [m], in the order given, at most 1.

    Of those below .05, the risk that any is chance is 5%, whether or not they are independent.
    p_values: float [m]; ValueError outside of [0, 1]. Holm, Scand. J. Statist. 1979.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if not ((p_values >= 0) & (p_values <= 1)).all():  # NaN is not inside either
        raise ValueError(f"p-values lie between 0 and 1, not {p_values}")
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.maximum.accumulate(steps).clip(max=1) if len(steps) else steps
    return adjusted
