"""Exercise 10.3: where the noise of a difference between two systems comes from, and what an
experiment could see.
"""

from typing import Any

import numpy as np
from torch import Generator

from letterlib.course.checks import Case, call, compare
from letterlib.course.returned import several

NAMES = ("seeds", "users", "rest")
SEEN_IN_FOUR_OF_FIVE = 1.96 + 0.84
"""A true difference of so many standard errors is told from 0 (95% interval) in 80% of all
experiments.
"""


def variance_parts(d: np.ndarray) -> tuple[float, float, float]:
    """The variances of what a seed, a user, and the two together add to a difference; none below 0.

    d: float [n_seeds, n_users], both at least 2, the difference of two systems for every seed and
    user. Two-way analysis of variance with random effects, one value a cell, by the method of
    moments.
    """
    n_seeds, n_users = d.shape
    by_seed, by_user = d.mean(axis=1), d.mean(axis=0)
    left = d - by_seed[:, None] - by_user + d.mean()
    rest = (left**2).sum() / ((n_seeds - 1) * (n_users - 1))
    seeds = max(0.0, by_seed.var(ddof=1) - rest / n_users)
    users = max(0.0, by_user.var(ddof=1) - rest / n_seeds)
    return float(seeds), float(users), float(rest)


def standard_error(parts: tuple[float, float, float], n_seeds: Any, n_users: Any) -> Any:
    """Of the mean over so many seeds and users, from their `variance_parts`. Numbers, or arrays."""
    seeds, users, rest = parts
    return np.sqrt(seeds / n_seeds + users / n_users + rest / (n_seeds * n_users))


def smallest_seen(parts: tuple[float, float, float], n_seeds: Any, n_users: Any) -> Any:
    """The true difference that so many seeds and users tell from 0 in four of five experiments.
    Numbers, or arrays.
    """
    return SEEN_IN_FOUR_OF_FIVE * standard_error(parts, n_seeds, n_users)


def power_cases(generator: Generator) -> list[Case]:
    """Two seeds and two users; equal seeds, whose estimate would fall below 0; equal users; then a
    real size.
    """
    random = np.random.default_rng(generator.initial_seed() + 1)
    small = np.round(random.normal(size=(2, 2)), 1) + np.array([[0.0, 2.0], [4.0, 8.5]])
    noise = random.normal(size=(4, 6))
    no_seeds = noise - noise.mean(axis=1, keepdims=True) + random.normal(size=6)
    no_users = noise - noise.mean(axis=0, keepdims=True) + random.normal(size=(4, 1))
    real = (
        random.normal(0.3, 1.0, size=(5, 60))
        + 2 * random.normal(size=(5, 1))
        + 1.5 * random.normal(size=60)
    )
    return [{"d": one} for one in (small, no_seeds, no_users, real)]


def power(answer: Any, case: Case) -> None:
    """10.3: d [n_seeds, n_users] -> the variances of seeds, users and the rest."""
    d = case["d"]
    n_seeds, n_users = d.shape
    returned = dict(zip(NAMES, several(call(answer, case), NAMES, case, "numbers"), strict=True))
    seeds, users, rest = variance_parts(d)
    left = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    raw_seeds, raw_users = d.mean(axis=1).var(ddof=1), d.mean(axis=0).var(ddof=1)
    compare(
        "rest",
        returned["rest"],
        rest,
        case,
        [
            (
                (left**2).mean(),
                "a mean of squares. Divide by `(n_seeds - 1) * (n_users - 1)`: what is left has so many "
                "free numbers.",
            ),
            (
                left.var(ddof=1),
                "divided by all values less one. Seeds and users have used up more: divide by "
                "`(n_seeds - 1) * (n_users - 1)`.",
            ),
            (
                ((left - d.mean()) ** 2).sum() / ((n_seeds - 1) * (n_users - 1)),
                "the mean was taken away twice, once with "
                "the seed and once with the user. Add it back.",
            ),
            (
                d.var(ddof=1),
                "the variance of all values. Take away each row's and each column's mean first.",
            ),
            (
                d.var(),
                "the variance of all values. Take away each row's and each column's mean first.",
            ),
            (seeds, "another order. Return seeds, users, rest."),
            (users, "another order. Return seeds, users, rest."),
            (np.sqrt(rest), "a standard deviation. Return variances."),
            *_without_keepdims(d),
        ],
    )
    compare(
        "seeds",
        returned["seeds"],
        seeds,
        case,
        [
            (
                users,
                "seeds and users exchanged. A row of `d` is a seed: its mean is `d.mean(axis=1)`.",
            ),
            (
                raw_seeds,
                "part of what rows' means differ by comes from the rest. Take `rest / n_users` away.",
            ),
            (
                raw_seeds - rest / n_users,
                "a variance below 0. Such an estimate means: none seen. Return 0.",
            ),
            (
                d.mean(axis=1).var() - rest / n_users,
                "`var()` divides by the number of rows. `var(ddof=1)` divides by one "
                "less, because the mean was estimated from the same rows.",
            ),
            (
                max(0.0, d.mean(axis=1).var() - rest / n_users),
                "`var()` divides by the number of rows. `var(ddof=1)` "
                "divides by one less, because the mean was estimated from the same rows.",
            ),
            (
                max(0.0, raw_seeds - rest),
                "`rest` taken away whole. A row's mean is over `n_users` values.",
            ),
            (
                max(0.0, raw_seeds - rest / n_seeds),
                "`rest / n_seeds` taken away; a row's mean is over `n_users` values.",
            ),
            (
                max(0.0, raw_users - rest / n_users),
                "seeds and users exchanged. A row of `d` is a seed: its mean is `d.mean(axis=1)`.",
            ),
            (
                abs(raw_seeds - rest / n_users),
                "an absolute value. An estimate below 0 means: none seen. Return 0.",
            ),
            (np.sqrt(seeds), "a standard deviation. Return variances."),
        ],
    )
    compare(
        "users",
        returned["users"],
        users,
        case,
        [
            (
                raw_users,
                "part of what columns' means differ by comes from the rest. Take `rest / n_seeds` away.",
            ),
            (
                raw_users - rest / n_seeds,
                "a variance below 0. Such an estimate means: none seen. Return 0.",
            ),
            (
                max(0.0, d.mean(axis=0).var() - rest / n_seeds),
                "`var()` divides by the number of columns. Use `var(ddof=1)`.",
            ),
            (
                max(0.0, raw_users - rest / n_users),
                "`rest / n_users` taken away. A column's mean is over `n_seeds` values.",
            ),
            (
                max(0.0, raw_users - rest),
                "`rest` taken away whole. A column's mean is over `n_seeds` values.",
            ),
            (
                abs(raw_users - rest / n_seeds),
                "an absolute value. An estimate below 0 means: none seen. Return 0.",
            ),
            (np.sqrt(users), "a standard deviation. Return variances."),
        ],
    )


def _without_keepdims(d: np.ndarray) -> list[tuple[float, str]]:
    """A square table lets rows' means be taken from columns; another one stops."""
    n_seeds, n_users = d.shape
    if n_seeds != n_users:
        return []
    left = d - d.mean(axis=1) - d.mean(axis=0) + d.mean()
    text = "rows' means taken from columns: `d.mean(axis=1, keepdims=True)` stands beside its row."
    return [((left**2).sum() / (n_seeds - 1) ** 2, text)]
