"""Lesson 11: differences seed by seed, main effects, Holm's correction, choosing on validation."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Generator

from letterlib.course import experiments
from letterlib.course.comparing import Case
from letterlib.course.exercise import Exercise
from letterlib.evaluation import bootstrap

# 11.1 Seed by seed: a [n_a, n_cases], b [n_b, n_cases], seeds_a [n_a], seeds_b [n_b] -> the
# differences [n_common], their mean, its standard error


def by_seed_cases(generator: Generator) -> list[Case]:
    """Two seeds in order; three, of which one is on one side only; five and six in any order.

    a is better at one common seed and b at another. In the second case b is better in the mean.
    Seeds of 10 and more have another order as texts, and in a set. No seed of the first two cases
    is the number of a row.
    """
    cases = []
    sides = (
        ([4, 6], [4, 6], 4),
        ([7, 0, 4], [4, 7], 7),
        ([4, 1, 16, 3, 10], [3, 16, 9, 4, 10, 8], 40),
    )
    for seeds_a, seeds_b, n_cases in sides:
        fits = False
        while not fits:
            a = hits(generator, len(seeds_a), n_cases, 0.8)
            b = hits(generator, len(seeds_b), n_cases, 0.6)
            case = {"a": a, "b": b, "seeds_a": np.array(seeds_a), "seeds_b": np.array(seeds_b)}
            differences, mean, _ = by_seed(**case)
            fits = differences.min() < 0 < differences.max() and (len(cases) != 1 or mean < 0)
            if len(cases) == 2:
                middles = sorted([mean, np.median(differences), a.mean() - b.mean()])
                fits &= np.diff(middles).min() > 1e-3
        cases.append(case)
    return cases


def hits(generator: Generator, n_runs: int, n_cases: int, best: float) -> np.ndarray:
    """Runs with different numbers of hits, in any order: every pairing has another difference."""
    n_hits = torch.linspace(0.1, best, n_runs)[torch.randperm(n_runs, generator=generator)]
    places = torch.rand(n_runs, n_cases, generator=generator).argsort(dim=1)
    return (places < (n_hits * n_cases).round()[:, None]).double().numpy()


def standard_error(differences: np.ndarray) -> float:
    return differences.std(ddof=1) / np.sqrt(len(differences))


def by_seed(a, b, seeds_a, seeds_b):
    _, rows_a, rows_b = np.intersect1d(seeds_a, seeds_b, return_indices=True)
    differences = (a[rows_a] - b[rows_b]).mean(axis=1)
    return differences, differences.mean(), standard_error(differences)


def with_differences(differences: Callable) -> Callable:
    """The differences as `differences(a, b, seeds_a, seeds_b)` has them, and what follows."""

    def answer(*case):
        found = differences(*case)
        return found, found.mean(), standard_error(found)

    return answer


def with_mean(mean: Callable) -> Callable:
    """The mean as `mean(differences, a, b)` has it."""

    def answer(a, b, seeds_a, seeds_b):
        differences, _, error = by_seed(a, b, seeds_a, seeds_b)
        return differences, mean(differences, a, b), error

    return answer


def with_error(error: Callable) -> Callable:
    """The error as `error(differences, a, b)` has it, of the runs with common seeds."""

    def answer(a, b, seeds_a, seeds_b):
        _, rows_a, rows_b = np.intersect1d(seeds_a, seeds_b, return_indices=True)
        differences, mean, _ = by_seed(a, b, seeds_a, seeds_b)
        return differences, mean, error(differences, a[rows_a], b[rows_b])

    return answer


def in_order(seeds: Callable) -> Callable:
    """The differences at `seeds(seeds_a, seeds_b)`, in this order."""

    def differences(a, b, seeds_a, seeds_b):
        found = [
            a[seeds_a == seed].mean() - b[seeds_b == seed].mean()
            for seed in seeds(seeds_a.tolist(), seeds_b.tolist())
        ]
        return np.array(found)

    return with_differences(differences)


def by_loop(a, b, seeds_a, seeds_b):
    found = []
    for seed in sorted(set(seeds_a.tolist()) & set(seeds_b.tolist())):
        found.append(a[seeds_a == seed].mean() - b[seeds_b == seed].mean())
    mean = sum(found) / len(found)
    variance = sum((one - mean) ** 2 for one in found) / (len(found) - 1)
    return np.array(found), mean, (variance / len(found)) ** 0.5


def by_series(a, b, seeds_a, seeds_b):
    differences = pd.Series(a.mean(1), seeds_a) - pd.Series(b.mean(1), seeds_b)
    differences = differences.dropna().sort_index()
    return [differences.to_numpy(), differences.mean(), differences.sem()]


def by_position(a, b, *_):
    n = min(len(a), len(b))
    return a[:n].mean(1) - b[:n].mean(1)


def first_rows(a, b, seeds_a, seeds_b):
    n = len(np.intersect1d(seeds_a, seeds_b))
    return by_position(a[:n], b[:n])


def at_row(shift: int) -> Callable:
    def differences(a, b, seeds_a, seeds_b):
        rows = np.intersect1d(seeds_a, seeds_b) - shift
        return a[rows].mean(1) - b[rows].mean(1)

    return with_differences(differences)


def missing_as(value: float | None) -> Callable:
    def differences(a, b, seeds_a, seeds_b):
        first, second = pd.Series(a.mean(1), seeds_a), pd.Series(b.mean(1), seeds_b)
        return first.sub(second, fill_value=value).sort_index().to_numpy()

    return with_differences(differences)


@with_differences
def rows_of_a_in_any_order(a, b, seeds_a, seeds_b):
    _, _, rows_b = np.intersect1d(seeds_a, seeds_b, return_indices=True)
    return (a[np.isin(seeds_a, seeds_b)] - b[rows_b]).mean(axis=1)


@with_differences
def rows_exchanged(a, b, seeds_a, seeds_b):
    _, rows_a, rows_b = np.intersect1d(seeds_a, seeds_b, return_indices=True)
    return (a[rows_b] - b[rows_a]).mean(axis=1)


def over_all_cases(a, b, seeds_a, seeds_b):
    _, rows_a, rows_b = np.intersect1d(seeds_a, seeds_b, return_indices=True)
    return a[rows_a] - b[rows_b]


def divided_by_all(side: int) -> Callable:
    def answer(*case):
        differences, mean, _ = by_seed(*case)
        return differences, mean, differences.std(ddof=1) / np.sqrt(len(case[side]))

    return answer


def unpaired(differences, a, b):
    return np.sqrt((a.mean(1).var(ddof=1) + b.mean(1).var(ddof=1)) / len(a))


BY_SEED = Exercise(
    reference=by_seed,
    cases=by_seed_cases,
    returns=["differences", "mean", "error"],
    right=[by_loop, by_series],
    mistakes=[
        (
            lambda a, b, seeds_a, seeds_b: by_seed(b, a, seeds_b, seeds_a),
            "b - a. A positive number should say that a is better.",
        ),
        (
            in_order(lambda a, b: [seed for seed in a if seed in b]),
            "in the order of `seeds_a`. Sort by seed.",
        ),
        (
            in_order(lambda a, b: [seed for seed in b if seed in a]),
            "in the order of `seeds_b`. Sort by seed.",
        ),
        (
            in_order(lambda a, b: set(a) & set(b)),
            "in the order of a `set`, which can be any. Sort by seed.",
        ),
        (
            in_order(lambda a, b: sorted(set(a) & set(b), reverse=True)),
            "the highest seed first. Sort upwards.",
        ),
        (
            in_order(lambda a, b: sorted(set(a) & set(b), key=str)),
            "seeds sorted as texts, where 10 comes before 3. Sort numbers.",
        ),
        (
            in_order(lambda a, b: [seed for seed in range(len(a)) if seed in a and seed in b]),
            "seeds from `range(...)`. They can be any numbers: `np.intersect1d` finds those in "
            "common.",
        ),
        (
            with_differences(lambda *case: np.sort(by_seed(*case)[0])),
            "sorted by value. Sort by seed.",
        ),
        (
            with_differences(
                lambda a, b, seeds_a, seeds_b: (
                    a[np.isin(seeds_a, seeds_b)] - b[np.isin(seeds_b, seeds_a)]
                ).mean(1)
            ),
            "the common seeds of each side, paired by position. They stand in another order in a "
            "than in b.",
        ),
        (
            rows_of_a_in_any_order,
            "a in the order of its rows, and b in the order of seeds.",
        ),
        (
            rows_exchanged,
            "rows of a and b exchanged: `np.intersect1d` returns the seeds, rows of a, rows of b.",
        ),
        *(
            (
                with_differences(pair),
                "paired by position. Row i of a and row i of b may have different seeds.",
            )
            for pair in (by_position, first_rows)
        ),
        (
            with_differences(
                lambda a, b, seeds_a, seeds_b: by_position(
                    a[seeds_a.argsort()], b[seeds_b.argsort()]
                )
            ),
            "each side sorted, then paired by position. Some seeds are on one side only: "
            "`np.intersect1d` finds those in common.",
        ),
        (
            missing_as(0),
            "a run that is missing counts as 0. `np.intersect1d` finds the seeds that both have.",
        ),
        (
            missing_as(None),
            "NaN, for seeds that only one side has. `np.intersect1d` finds those in common.",
        ),
        *(
            (
                at_row(shift),
                "seeds used as row numbers: where they stand is what `return_indices=True` says.",
            )
            for shift in (0, 1)
        ),
        (
            lambda *case: (by_seed(*case)[0] * case[0].shape[1], *by_seed(*case)[1:]),
            "sums; take the mean over cases.",
        ),
        (
            with_differences(over_all_cases),
            "every case by itself. Take the mean over cases, `axis=1`.",
        ),
        (
            with_differences(lambda *case: abs(by_seed(*case)[0])),
            "absolute differences. Where b is better, a difference is negative.",
        ),
        (
            with_differences(
                lambda a, b, seeds_a, seeds_b: (
                    a[np.isin(seeds_a, seeds_b)].mean(0) - b[np.isin(seeds_b, seeds_a)].mean(0)
                )
            ),
            "the mean over seeds, one per case. Take the mean over cases, `axis=1`.",
        ),
        (
            with_differences(lambda a, b, *seeds: np.intersect1d(*seeds)),
            "the seeds themselves. Return the difference at each.",
        ),
        (
            with_mean(lambda d, a, b: abs(d.mean())),
            "an absolute value. Where b is better, the mean is negative.",
        ),
        (
            with_mean(lambda d, a, b: a.mean() - b.mean()),
            "the means of all runs. A seed that only one side has is no pair.",
        ),
        (with_mean(lambda d, a, b: np.median(d)), "the median."),
        (
            lambda *case: (by_seed(*case)[0], *by_seed(*case)[:0:-1]),
            "the standard error. The mean comes before it.",
        ),
        (
            with_error(lambda d, a, b: d.std(ddof=1)),
            "the spread of single seeds. The mean of n of them moves less: divide by the root of "
            "n.",
        ),
        (
            with_error(lambda d, a, b: d.std() / np.sqrt(len(d))),
            "`std` without `ddof=1`: it divides by n, and few seeds look more alike than they are.",
        ),
        (
            with_error(lambda d, a, b: d.std()),
            "`std` with neither `ddof=1` nor the root of n.",
        ),
        (
            with_error(lambda d, a, b: d.std(ddof=1) / len(d)),
            "divided by n; it is the root of n.",
        ),
        (
            with_error(lambda d, a, b: d.std(ddof=1) / np.sqrt(len(d) - 1)),
            "the root of n - 1, and `ddof=1` as well. Less one is right once: divide by the root "
            "of n.",
        ),
        *(
            (
                with_error(lambda d, a, b, size=size: d.std(ddof=1) / np.sqrt(size(a))),
                "divided by the root of the number of cases. Here the seeds are the sample.",
            )
            for size in (lambda a: a.shape[1], np.size)
        ),
        *(
            (
                divided_by_all(side),
                "divided by the root of all runs of one side. Only common seeds were used.",
            )
            for side in (0, 1)
        ),
        (with_error(lambda d, a, b: d.var(ddof=1) / len(d)), "a variance. Take its root."),
        (
            with_error(lambda d, a, b: 1.96 * standard_error(d)),
            "half an interval. Return the standard error itself.",
        ),
        (
            with_error(unpaired),
            "the spreads of a and of b, added. What the two share at a seed cancels: take the "
            "spread of the differences.",
        ),
        *(
            (
                with_error(lambda d, a, b, side=side: standard_error((a, b)[side].mean(1))),
                "the spread of one side. Take the spread of the differences.",
            )
            for side in (0, 1)
        ),
        (
            with_error(lambda d, a, b: standard_error((a - b).mean(0))),
            "the spread over cases. Here the seeds are the sample.",
        ),
        *(
            (
                with_error(lambda d, a, b, size=size: (a - b).std(ddof=1) / np.sqrt(size(a))),
                "the spread of the whole table. Take each seed's mean first: the seeds are the "
                "sample.",
            )
            for size in (len, np.size)
        ),
    ],
)

# 11.2 The square: plain, cf, div, both [n_seeds, n_cases] -> the main effects of CF and of Div, and
# their interaction, [n_seeds, n_cases]


def square_cases(generator: Generator) -> list[Case]:
    """One seed and one case; two and three; four and thirty."""
    names = ("plain", "cf", "div", "both")
    return [
        {
            name: (torch.rand(shape, generator=generator) * 10).round(decimals=1).double().numpy()
            for name in names
        }
        for shape in ((1, 1), (2, 3), (4, 30))
    ]


def square(plain, cf, div, both):
    return squared()(plain, cf, div, both)


def squared(
    of_cf: Callable = lambda plain, cf, div, both: ((cf - plain) + (both - div)) / 2,
    of_div: Callable = lambda plain, cf, div, both: ((div - plain) + (both - cf)) / 2,
    together: Callable = lambda plain, cf, div, both: (both - cf) - (div - plain),
) -> Callable:
    """The three, one of which may be replaced."""

    def answer(*corners):
        return of_cf(*corners), of_div(*corners), together(*corners)

    return answer


def square_by_contrasts(plain, cf, div, both):
    corners = np.stack([plain, cf, div, both])
    signs = np.array([[-0.5, 0.5, -0.5, 0.5], [-0.5, -0.5, 0.5, 0.5], [1, -1, -1, 1]])
    return list(np.tensordot(signs, corners, axes=1))


def square_by_sides(plain, cf, div, both):
    with_cf, without = (cf + both) / 2, (plain + div) / 2
    with_div, no_div = (div + both) / 2, (plain + cf) / 2
    return with_cf - without, with_div - no_div, both + plain - cf - div


SQUARE = Exercise(
    reference=square,
    cases=square_cases,
    returns=["CF", "Div", "the interaction"],
    right=[square_by_contrasts, square_by_sides],
    mistakes=[
        (
            squared(
                lambda plain, cf, div, both: cf - plain,
                lambda plain, cf, div, both: div - plain,
            ),
            "what each part adds alone. A main effect is the mean of that and of what it adds "
            "beside the other part.",
        ),
        (
            squared(
                lambda plain, cf, div, both: both - div,
                lambda plain, cf, div, both: both - cf,
            ),
            "what each part adds beside the other. A main effect is the mean of that and of what "
            "it adds alone.",
        ),
        (
            squared(
                lambda plain, cf, div, both: cf - plain + both - div,
                lambda plain, cf, div, both: div - plain + both - cf,
            ),
            "the sum of the two steps. A main effect is their mean: divide by 2.",
        ),
        (
            squared(
                lambda plain, cf, div, both: (cf + both - plain - div) / 4,
                lambda plain, cf, div, both: (div + both - plain - cf) / 4,
            ),
            "divided by 4. A main effect is the mean of two steps: divide by 2.",
        ),
        (
            squared(
                lambda plain, cf, div, both: (cf + both) / 2 - plain - div,
                lambda plain, cf, div, both: (div + both) / 2 - plain - cf,
            ),
            "the mean of two settings minus the sum of two. Halve both sides: "
            "(cf + both) / 2 - (plain + div) / 2.",
        ),
        (
            squared(
                lambda plain, cf, div, both: both - plain,
                lambda plain, cf, div, both: both - plain,
            ),
            "both parts at once, against none. A main effect changes one part.",
        ),
        (
            squared(
                lambda plain, cf, div, both: cf - div,
                lambda plain, cf, div, both: div - cf,
            ),
            "one part against the other. A step adds one part to what is there.",
        ),
        (
            squared(
                lambda plain, cf, div, both: (cf + both) / 2,
                lambda plain, cf, div, both: (div + both) / 2,
            ),
            "the mean of the settings with the part. Subtract that of the settings without it.",
        ),
        (
            squared(
                lambda plain, cf, div, both: (both - cf + div - plain) / 2,
                lambda plain, cf, div, both: (both - div + cf - plain) / 2,
            ),
            "the two main effects exchanged: `both - cf` adds Div.",
        ),
        (
            squared(
                lambda plain, cf, div, both: (plain - cf + div - both) / 2,
                lambda plain, cf, div, both: (plain - div + cf - both) / 2,
            ),
            "main effects with the sign turned round: with the part minus without it.",
        ),
        (
            squared(together=lambda plain, cf, div, both: (div - plain) - (both - cf)),
            "the interaction with its sign turned round: what Div adds beside CF, minus what it "
            "adds alone.",
        ),
        (
            squared(together=lambda plain, cf, div, both: ((both - cf) - (div - plain)) / 2),
            "half of the interaction. It is the difference of the two steps, and no mean.",
        ),
        (
            squared(together=lambda plain, cf, div, both: both - cf - div),
            "the plain setting is missing from the interaction: (both - cf) - (div - plain).",
        ),
        (
            squared(together=lambda plain, cf, div, both: both - cf - div - plain),
            "a sign in the interaction: minus (div - plain) is minus div *plus* plain.",
        ),
        (
            squared(together=lambda plain, cf, div, both: both - plain),
            "both parts at once as the interaction. It is what is left when each part's own step "
            "has been taken away.",
        ),
        (
            squared(together=lambda plain, cf, div, both: (both - cf) + (div - plain)),
            "the sum of the two steps as the interaction. It is their difference.",
        ),
        (
            squared(together=lambda plain, cf, div, both: (cf - plain) * (div - plain)),
            "a product. The interaction is a difference of differences.",
        ),
        (
            squared(
                lambda plain, cf, div, both: (cf + both) / 2 - plain,
                lambda plain, cf, div, both: (div + both) / 2 - plain,
            ),
            "the plain setting subtracted from both. What has CF and Div is compared with what has "
            "Div alone.",
        ),
        (
            squared(
                together=lambda plain, cf, div, both: (
                    both - plain - ((cf - plain) + (div - plain)) / 2
                )
            ),
            "half of the two steps taken from the whole. Take both steps in full: "
            "(both - cf) - (div - plain).",
        ),
        (
            squared(lambda plain, cf, div, both: ((cf - plain) + (both - cf)) / 2),
            "in the main effect of CF, `both - cf` is a step of Div. CF's second step is "
            "`both - div`.",
        ),
        (
            squared(of_div=lambda plain, cf, div, both: ((div - plain) + (both - div)) / 2),
            "in the main effect of Div, `both - div` is a step of CF. Div's second step is "
            "`both - cf`.",
        ),
        (
            squared(together=lambda plain, cf, div, both: abs((both - cf) - (div - plain))),
            "the interaction without its sign. Below 0 it says that the parts replace each other.",
        ),
        (
            lambda *corners: [square(*corners)[i] for i in (2, 0, 1)],
            "the interaction first. CF, Div, and then the interaction.",
        ),
        (
            lambda *corners: tuple(one.mean(axis=1) for one in square(*corners)),
            "means over cases. Keep seeds and cases: an interval is drawn from them.",
        ),
        (
            lambda *corners: tuple(one.mean(axis=0) for one in square(*corners)),
            "means over seeds. Keep seeds and cases: an interval is drawn from them.",
        ),
        (
            lambda *corners: tuple(one.mean() for one in square(*corners)),
            "one number each. Keep seeds and cases: an interval is drawn from them.",
        ),
    ],
)

# 11.3 Holm's correction: p_values [m] -> adjusted [m], in the same order


def holm_cases(generator: Generator) -> list[Case]:
    """One; four, one of whose steps is above 1; three whose steps fall twice; a tie, whose step
    would fall; many.
    """
    few = [[0.04], [0.03, 0.6, 0.02, 0.7], [0.022, 0.02, 0.021], [0.01, 0.04, 0.01, 0.3]]
    many = (torch.rand(12, generator=generator).double() ** 3).numpy()
    many[:4] = many[:4] / 20
    many[4:9] = [0.011, 0.0105, 0.0107, 0.9, 0.85]
    return [*({"p_values": np.array(p)} for p in few), {"p_values": many}]


def holm(p_values):
    order = np.argsort(p_values)
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def holm_with(
    factors: Callable = lambda m: np.arange(m, 0, -1),
    keep: Callable = np.maximum.accumulate,
    times: Callable = np.multiply,
    most: float = 1.0,
    back: Callable = np.argsort,
    sort: Callable = np.argsort,
) -> Callable:
    """Holm's correction, one of whose steps may be replaced."""

    def answer(p_values):
        order = sort(p_values)
        steps = keep(times(p_values[order], factors(len(p_values))))
        return np.minimum(most, steps)[back(order)]

    return answer


def holm_by_loop(p_values):
    m = len(p_values)
    adjusted, highest = np.zeros(m), 0.0
    for k, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, (m - k) * p_values[i])
        adjusted[i] = min(1.0, highest)
    return adjusted


def holm_by_rank(method: str, distinct: bool = False) -> Callable:
    """method: what `rank` does with equal p-values."""

    def answer(p_values):
        ranks = pd.Series(p_values).rank(method=method).to_numpy()
        m = len(np.unique(p_values)) if distinct else len(p_values)
        steps = p_values * (m - ranks + 1)
        return np.array([steps[p_values <= p].max() for p in p_values]).clip(max=1)

    return answer


def minimum_from_the_largest(steps):
    return np.minimum.accumulate(steps[::-1])[::-1]


def maximum_with_the_row_before(p_values):
    adjusted = np.zeros(len(p_values))
    for k, i in enumerate(np.argsort(p_values)):
        adjusted[i] = (len(p_values) - k) * p_values[i]
        if k > 0:
            adjusted[i] = max(adjusted[i], adjusted[i - 1])
    return adjusted.clip(max=1)


def sidak(p, left):
    return 1 - (1 - p) ** left


TIES = (
    "Of two equal ones the first gets the larger factor, and the running maximum gives it to both."
)

HOLM = Exercise(
    reference=holm,
    library=bootstrap.holm,
    cases=holm_cases,
    returns=["adjusted"],
    right=[holm_by_loop, holm_with(), holm_by_rank("first"), holm_by_rank("min")],
    mistakes=[
        (
            lambda p: np.minimum(1, np.sort(p) * np.arange(len(p), 0, -1)),
            "sorted, and neither kept in order nor put back: `np.maximum.accumulate`, and "
            "`adjusted[order] = ...`.",
        ),
        (
            lambda p: np.minimum(1, p * len(p)),
            "Bonferroni: every p-value times m. Holm's factor falls from m to 1 as p grows.",
        ),
        (lambda p: p * len(p), "Bonferroni, and not cut at 1."),
        (
            holm_with(keep=np.copy),
            "the running maximum is missing: a larger p-value may not come out smaller than the "
            "one before it.",
        ),
        (holm_with(keep=np.copy, most=np.inf), "neither the running maximum nor the cut at 1."),
        (holm_with(most=np.inf), "values above 1. Cut them at 1: they are probabilities."),
        (
            holm_with(keep=lambda steps: np.maximum(steps, np.append(0, steps[:-1]))),
            "only the step before is looked at. The maximum runs over *all* smaller p-values: "
            "`np.maximum.accumulate`.",
        ),
        (
            maximum_with_the_row_before,
            "compared with the p-value that stands before it. The running maximum goes from the "
            "smallest p-value to the largest.",
        ),
        (
            lambda p: np.maximum.accumulate(holm_with(keep=np.copy)(p)),
            "the running maximum in the order given. It goes from the smallest p-value to the "
            "largest: take it before you put the values back.",
        ),
        (holm_with(keep=np.minimum.accumulate), "a running minimum; it is the running maximum."),
        (holm_with(keep=np.cumsum), "a running sum; it is the running maximum."),
        (
            holm_with(keep=lambda steps: np.where(np.cumsum(steps > 0.05) > 0, 1.0, steps)),
            "1 for all from the first step above 5% on. An adjusted p-value knows no limit: take "
            "the running maximum.",
        ),
        (
            lambda p: np.maximum(1, holm_with(most=np.inf)(p)),
            "`np.maximum(1, ...)`, or `clip(min=1)`, which makes all at least 1. At most 1 is "
            "`np.minimum(1, ...)`.",
        ),
        (
            holm_with(back=lambda order: np.arange(len(order))),
            "sorted by size. Put every adjusted value back to the place of its p-value.",
        ),
        (
            holm_with(back=lambda order: order),
            "put back by `[order]` once more; that is not the way back. Use `adjusted[order] = "
            "steps`.",
        ),
        (
            holm_with(factors=lambda m: np.arange(1, m + 1)),
            "the factors the wrong way round: the smallest p-value gets m, the largest 1.",
        ),
        (
            holm_with(factors=lambda m: np.arange(m - 1, -1, -1)),
            "factors from m - 1 to 0. They go from m to 1.",
        ),
        (
            holm_with(factors=lambda m: np.arange(m + 1, 1, -1)),
            "factors from m + 1 to 2. They go from m to 1.",
        ),
        (
            holm_with(times=np.divide),
            "p-values divided by the factors. The limit 5% would be divided; p-values are "
            "multiplied.",
        ),
        (
            holm_with(factors=lambda m: m / np.arange(1, m + 1), keep=minimum_from_the_largest),
            "Benjamini and Hochberg: m over the rank. It bounds the share of false findings, not "
            "the risk of any.",
        ),
        (
            lambda p: sidak(p, len(p)),
            "Šidák's correction, for independent questions, and with one factor for all.",
        ),
        (
            holm_with(times=sidak),
            "Holm's steps with Šidák's formula, which asks for independence. Multiply instead.",
        ),
        *(
            (answer, f"equal p-values are taken for one. {TIES}")
            for answer in (holm_by_rank("max"), holm_by_rank("dense", distinct=True))
        ),
        (
            holm_by_rank("average"),
            f"equal p-values share a mean rank, as `rank()` gives it. {TIES}",
        ),
        (
            holm_with(keep=minimum_from_the_largest),
            "a running minimum from the largest (Hochberg). Holm takes the running maximum from "
            "the smallest.",
        ),
        (
            holm_with(sort=lambda p: np.arange(len(p))),
            "the p-values were not sorted first.",
        ),
        (
            holm_with(keep=lambda steps: np.full(len(steps), np.max(steps))),
            "one maximum for all: `np.max`. The running one is `np.maximum.accumulate`.",
        ),
        (
            holm_with(sort=lambda p: np.argsort(-p)),
            "sorted from the largest. Sort upwards, then `np.maximum.accumulate`.",
        ),
        (
            holm_with(sort=lambda p: np.argsort(-p), factors=lambda m: np.arange(1, m + 1)),
            "the running maximum from the largest. Start from the smallest, with the factor m.",
        ),
        (
            lambda p: np.minimum(1, p * (len(p) - np.argsort(p))),
            "`np.argsort` taken for ranks. `order[k]` says *which* p-value is the k-th: sort with "
            "`p_values[order]`.",
        ),
        (lambda p: p.copy(), "the p-values as they were."),
        (lambda p: holm(p) < 0.05, "true and false; return the adjusted values."),
    ],
)

# 11.3 What a sweep reports: truth [n_settings], in_validation, in_test [n_repeats, n_settings] ->
# the mean test figure of the best on validation, of the best on test, the truth of the first


def choices_cases(generator: Generator) -> list[Case]:
    """Two settings, two repeats, every choice different; then more of both."""
    small = {
        "truth": np.array([0.5, 0.4]),
        "in_validation": np.array([[0.0, 0.3], [0.1, 0.0]]),
        "in_test": np.array([[0.2, -0.1], [-0.3, 0.1]]),
    }
    cases = [small]
    for n_repeats, n_settings in ((3, 3), (40, 8)):
        drawn = torch.randn(2 * n_repeats + 1, n_settings, generator=generator).double().numpy()
        drawn = np.round(drawn, 2) + 0.001 * np.arange(n_settings)
        truth, in_validation, in_test = np.split(drawn, [1, n_repeats + 1])
        cases.append({"truth": 2 + truth[0], "in_validation": in_validation, "in_test": in_test})
    return cases


def choices(truth, in_validation, in_test):
    validation, test = truth + in_validation, truth + in_test
    chosen = validation.argmax(axis=1)
    reported = test[np.arange(len(test)), chosen]
    return reported.mean(), test.max(axis=1).mean(), truth[chosen].mean()


def choices_by_loop(truth, in_validation, in_test):
    honest, flattering, true = [], [], []
    for v, t in zip(in_validation, in_test):
        chosen = int(np.argmax(truth + v))
        honest.append((truth + t)[chosen])
        flattering.append(max(truth + t))
        true.append(truth[chosen])
    return np.mean(honest), np.mean(flattering), np.mean(true)


def choices_by_take(truth, in_validation, in_test):
    chosen = (truth + in_validation).argmax(1, keepdims=True)
    test = truth + in_test
    return [np.take_along_axis(test, chosen, 1).mean(), test.max(1).mean(), truth[chosen].mean()]


def choices_with(place: int, number: Callable) -> Callable:
    """The right numbers but for one, which is `number(truth, validation, test)`."""

    def answer(truth, in_validation, in_test):
        numbers = list(choices(truth, in_validation, in_test))
        numbers[place] = number(truth, truth + in_validation, truth + in_test)
        return tuple(numbers)

    return answer


def picked(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return values[np.arange(len(values)), chosen]


PAIR = "Pair them: `test[np.arange(len(test)), chosen]`."

CHOICES = Exercise(
    reference=choices,
    library=experiments.choices,
    cases=choices_cases,
    returns=["by_validation", "by_test", "true"],
    right=[choices_by_loop, choices_by_take, lambda *case: np.array(choices(*case))],
    mistakes=[
        (
            lambda *case: [choices(*case)[i] for i in (1, 0, 2)],
            "the first two in the other order.",
        ),
        (
            choices_with(0, lambda truth, v, t: v.max(1).mean()),
            "the *validation* figure of the chosen setting. Choose on validation, report test: the "
            "same figure cannot do both.",
        ),
        (
            choices_with(0, lambda truth, v, t: t.max(1).mean()),
            "chosen on test as well. The first number chooses with `truth + in_validation`.",
        ),
        (
            choices_with(0, lambda truth, v, t: picked(t, (v - truth).argmax(1)).mean()),
            "chosen by the noise alone. Choose with `truth + in_validation`.",
        ),
        (
            choices_with(0, lambda truth, v, t: picked(t - truth, v.argmax(1)).mean()),
            "the noise of the chosen setting, without its truth.",
        ),
        (
            choices_with(0, lambda truth, v, t: picked(t - truth, (v - truth).argmax(1)).mean()),
            "noise alone. What a sweep sees is `truth` plus noise.",
        ),
        (
            choices_with(0, lambda truth, v, t: t[:, v.mean(0).argmax()].mean()),
            "one choice for all repeats. Each row is a sweep of its own: `argmax(axis=1)`.",
        ),
        (
            choices_with(0, lambda truth, v, t: t[:, v.argmax()].mean()),
            "one choice for all repeats. Each row is a sweep of its own: `argmax(axis=1)`.",
        ),
        (
            choices_with(0, lambda truth, v, t: picked(t.T, v.argmax(0)).mean()),
            "`axis=0`, which chooses a repeat for each setting. A sweep is a row: `axis=1`.",
        ),
        (
            choices_with(0, lambda truth, v, t: truth[v.argmax(1)].mean()),
            "the truth of the chosen setting. It comes third; the first is the test figure.",
        ),
        (
            choices_with(0, lambda truth, v, t: picked(t, v.argmax(1)).max()),
            "the highest of all repeats. Return their mean.",
        ),
        (
            choices_with(0, lambda truth, v, t: picked(t, v.argmin(1)).mean()),
            "the worst on validation; take the highest.",
        ),
        (
            choices_with(0, lambda truth, v, t: t[v.argmax(1)].mean()),
            f"`test[chosen]` takes whole rows, by the numbers of settings. {PAIR}",
        ),
        (
            choices_with(0, lambda truth, v, t: t[:, v.argmax(1)].mean()),
            f"`test[:, chosen]` takes every chosen column from every row. {PAIR}",
        ),
        (
            choices_with(0, lambda truth, v, t: picked(t, v.argmax(1))),
            "one figure per repeat. Return their mean.",
        ),
        (
            choices_with(1, lambda truth, v, t: t.max()),
            "the highest figure of all repeats. Take each row's maximum, then the mean.",
        ),
        *(
            (
                choices_with(1, best),
                "the best repeat of each setting. A sweep is a row: `axis=1`.",
            )
            for best in (
                lambda truth, v, t: t.max(axis=0),
                lambda truth, v, t: t.max(axis=0).mean(),
            )
        ),
        (
            choices_with(1, lambda truth, v, t: t.mean(0).max()),
            "the mean over repeats first, then the maximum. In every repeat one looks at one sweep "
            "and takes *its* best.",
        ),
        (
            choices_with(1, lambda truth, v, t: picked(t, v.argmax(1)).mean()),
            "chosen on validation as well. The second number looks at test alone.",
        ),
        (
            choices_with(1, lambda truth, v, t: (t - truth).max(1).mean()),
            "the largest noise, without the truth.",
        ),
        (
            choices_with(1, lambda truth, v, t: picked(t, (t - truth).argmax(1)).mean()),
            "chosen by the noise on test alone. Choose with `truth + in_test`.",
        ),
        (
            choices_with(1, lambda truth, v, t: truth[t.argmax(1)].mean()),
            "the truth of what test chose. Return the figure that is reported.",
        ),
        (
            choices_with(1, lambda truth, v, t: picked(v, t.argmax(1)).mean()),
            "the validation figure of what test chose; report its test figure.",
        ),
        (
            lambda *case: [choices(*case)[i] for i in (0, 2, 1)],
            "the truth of what validation chose. It comes third.",
        ),
        (
            choices_with(2, lambda truth, v, t: truth.max()),
            "the truth of the best setting. Noise does not always choose it.",
        ),
        (
            choices_with(2, lambda truth, v, t: truth[t.argmax(1)].mean()),
            "the truth of what *test* chose. The third number goes with the first.",
        ),
        (
            choices_with(2, lambda truth, v, t: truth.mean()),
            "the mean of all settings; take those that were chosen.",
        ),
        (
            choices_with(2, lambda truth, v, t: truth[(v - truth).argmax(1)].mean()),
            "the truth of what the noise alone chose. Choose with `truth + in_validation`.",
        ),
        (
            choices_with(2, lambda truth, v, t: picked(t, v.argmax(1)).mean()),
            "the reported figure once more. `truth` itself has no noise.",
        ),
        (
            choices_with(2, lambda truth, v, t: v.max(1).mean()),
            "the validation figure of the chosen setting. `truth` itself has no noise.",
        ),
    ],
)

EXERCISES = {"11.1": BY_SEED, "11.2": SQUARE, "11.3": HOLM, "11.4": CHOICES}
