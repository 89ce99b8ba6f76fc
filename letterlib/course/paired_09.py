"""Exercise 9.4: the paired comparison of two systems, by resampling users. Users have one case or
several.
"""

from typing import Any

import numpy as np
import torch
from torch import Generator

from letterlib.course.checks import Case, call, compare
from letterlib.course.returned import several


def paired_cases(generator: Generator) -> list[Case]:
    """Two users with one and three cases; then more, with numbers of cases from 1 to 8, not in
    order.
    """
    cases = []
    for n_users, resamples, most in ((2, 5, 3), (4, 20, 4), (30, 300, 8)):
        sizes = torch.randint(1, most + 1, (n_users,), generator=generator).numpy()
        sizes[:2] = [1, most]
        users = np.repeat(np.arange(n_users), sizes)
        users = users[torch.randperm(len(users), generator=generator).numpy()]
        easy = torch.rand(n_users, generator=generator).numpy()[users]
        drawn = torch.rand(2, len(users), generator=generator).numpy()
        a, b = (
            (drawn[0] < 0.3 + 0.6 * easy).astype(float),
            (drawn[1] < 0.1 + 0.6 * easy).astype(float),
        )
        a[users == 0], b[users == 0] = 1.0, 0.0
        draws = torch.randint(n_users, (resamples, n_users), generator=generator).numpy()
        draws[0] = 0
        cases.append({"a": a, "b": b, "users": users, "draws": draws})
    return cases


def paired(answer: Any, case: Case) -> None:
    """9.4: a, b, users [n_cases], draws [n_resamples, n_users] -> mean difference and its interval."""
    a, b, users, draws = case.values()
    d, counts = a - b, np.bincount(users)
    sums = np.bincount(users, weights=d)
    names = ["mean", "low", "high"]
    returned = several(call(answer, case), names, case, "numbers")
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    per_user = sums / counts
    expected = (d.mean(), *np.quantile(means, [0.025, 0.975]))
    variants = [
        (-d.mean(), -means, "b - a. A positive number should say that a is better."),
        (
            d.mean(),
            per_user[draws].mean(axis=1),
            "the resamples average users' means. Divide the sum of all "
            "differences of a resample by the number of its cases.",
        ),
        (
            per_user.mean(),
            per_user[draws].mean(axis=1),
            "the mean of users' means. A user with five cases counts "
            "five times: divide the sum of all differences by the number of all cases.",
        ),
        (
            d.mean(),
            d[draws].mean(axis=1),
            "`draws` taken for cases. They are users: `sums[draws]`, and not `(a - b)[draws]`.",
        ),
        (
            d.mean(),
            sums[draws].sum(axis=1) / len(d),
            "every resample divided by the number of real cases. A resample "
            "has as many cases as its users bring: `counts[draws].sum(axis=1)`.",
        ),
        (
            d.mean(),
            sums[draws].mean(axis=1),
            "the sum of a user's differences, averaged over users. Divide by cases.",
        ),
        (
            d.mean(),
            sums[draws].sum(axis=0) / counts[draws].sum(axis=0),
            "added up over resamples. A *row* is one.",
        ),
        (
            d.mean(),
            _once(draws, sums) / _once(draws, counts),
            "a user drawn twice counts once, and should count twice.",
        ),
        (a.mean(), _over(a, users, draws), "system a alone. Take the difference of the two first."),
        (
            np.abs(d).mean(),
            _over(np.abs(d), users, draws),
            "absolute differences: where b is better one is negative.",
        ),
    ]
    intervals = [(np.quantile(one, [0.025, 0.975]), text) for _, one, text in variants]
    intervals += _wrong_limits(case, means)
    causes = [(one, text) for one, _, text in variants if not np.isclose(one, d.mean())]
    causes += [
        (means.mean(), "the mean of the resamples. Of the real cases it can be had exactly.")
    ]
    causes += [(expected[1], "the lower end. The mean comes first, then low and high.")]
    compare("mean", returned[0], float(d.mean()), case, causes)
    for i, name in ((0, "low"), (1, "high")):
        both = [(one, text) for one, text in intervals if _is_like(returned[1:], one)]
        compare(
            name,
            returned[1 + i],
            float(expected[1 + i]),
            case,
            [(one[i], text) for one, text in both],
        )


def _wrong_limits(case: Case, means: np.ndarray) -> list[tuple[Any, str]]:
    """Other ends of an interval than the quantiles of the resamples' means [n_resamples]."""
    a, b, users, draws = case.values()
    middle, low, high = (a - b).mean(), *np.quantile(means, [0.025, 0.975])
    (low_a, high_a), (low_b, high_b) = (
        np.quantile(_over(one, users, draws), [0.025, 0.975]) for one in (a, b)
    )
    apart = np.array([low_a - high_b, high_a - low_b])
    return [
        (
            np.quantile(means, [0.05, 0.95]),
            "5% and 95% quantiles, an interval of 90%. Use 2.5% and 97.5%.",
        ),
        ((means.min(), means.max()), "the least and the greatest resample. Take quantiles."),
        (
            middle + np.array([-1.96, 1.96]) * means.std(),
            "mean plus and minus 1.96 standard deviations. "
            "Take the quantiles themselves; they need no bell shape.",
        ),
        (
            middle + np.array([-1.96, 1.96]) * means.std(ddof=1),
            "mean plus and minus 1.96 standard deviations. "
            "Take the quantiles themselves; they need no bell shape.",
        ),
        (
            means.mean() + np.array([-1.96, 1.96]) * means.std(),
            "mean plus and minus 1.96 standard deviations. "
            "Take the quantiles themselves; they need no bell shape.",
        ),
        ([high, low], "low and high exchanged."),
        (
            np.array([low, high]) - middle,
            "distances from the mean. Return the quantiles themselves.",
        ),
        (np.percentile(means, [0.025, 0.975]), "`np.percentile` counts to 100: 2.5 and 97.5."),
        (
            (low_a - low_b, high_a - high_b),
            "two separate intervals subtracted. Resample the difference: both systems "
            "face the same users.",
        ),
        (
            apart,
            "two separate intervals subtracted. Resample the difference: both systems face the same users.",
        ),
    ]


def _is_like(pair: tuple, limits: Any) -> bool:
    try:
        return bool(
            np.allclose(
                np.array([float(one) for one in pair]), np.array(limits, dtype=float), atol=1e-5
            )
        )
    except (TypeError, ValueError):
        return False


def _over(values: np.ndarray, users: np.ndarray, draws: np.ndarray) -> np.ndarray:
    sums, counts = np.bincount(users, weights=values), np.bincount(users)
    return sums[draws].sum(axis=1) / counts[draws].sum(axis=1)


def _once(draws: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.array([values[np.unique(row)].sum() for row in draws])
