"""The exercises of lesson 11: differences seed by seed, Holm's correction, choosing on validation.

Seeds are out of order and not all in common, so that pairing by position shows; p-values have ties,
large ones, and steps that would fall.
"""

from typing import Any

import numpy as np
import torch
from torch import Generator

from letterlib.course.checks import Case, Exercise, Incorrect, call, called, compare, several
from letterlib.course.experiments import choices
from letterlib.course.values import close, kind_of
from letterlib.evaluation.bootstrap import holm


def seeds_cases(generator: Generator) -> list[Case]:
    """Two seeds in order; three in another order, one of them missing on one side; five and six,
    out of order.

    At one common seed a is better, at another b, so that a sign that is lost is not taken for one
    that is turned. In the second case b is better in the mean. Seeds of 10 and more have another
    order as texts, and in a set. The seeds of the first two are beyond their rows by two and more,
    so that a seed used as a row's number is seen to be one.
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
            a, b = (
                _hits(generator, len(seeds_a), n_cases, 0.8),
                _hits(generator, len(seeds_b), n_cases, 0.6),
            )
            case = {"a": a, "b": b, "seeds_a": np.array(seeds_a), "seeds_b": np.array(seeds_b)}
            by_seed = _by_seed(**case)
            fits = by_seed.min() < 0 < by_seed.max() and (len(cases) != 1 or by_seed.mean() < 0)
            if len(cases) == 2:  # the case that tells mistakes apart
                middles = sorted([by_seed.mean(), np.median(by_seed), a.mean() - b.mean()])
                fits &= np.diff(middles).min() > 1e-3
        cases.append(case)
    return cases


def _hits(generator: Generator, n_runs: int, n_cases: int, best: float) -> np.ndarray:
    """Runs with different numbers of hits, in no order, so that every pairing has a difference of
    its own.
    """
    hits = torch.linspace(0.1, best, n_runs)[torch.randperm(n_runs, generator=generator)] * n_cases
    places = torch.rand(n_runs, n_cases, generator=generator).argsort(dim=1)
    return (places < hits.round()[:, None]).double().numpy()


def _by_seed(a: np.ndarray, b: np.ndarray, seeds_a: np.ndarray, seeds_b: np.ndarray) -> np.ndarray:
    _, of_a, of_b = np.intersect1d(seeds_a, seeds_b, return_indices=True)
    return a[of_a].mean(axis=1) - b[of_b].mean(axis=1)


def seeds(answer: Any, case: Case) -> None:
    """11.1: a [n_a, n_cases], b [n_b, n_cases] and their seeds -> differences by seed, their mean,
    standard error.
    """
    a, b, seeds_a, seeds_b = case.values()
    names = ["differences", "mean", "error"]
    returned = several(called(answer, case, _stops(case)), names, case)
    means_a, means_b = a.mean(axis=1), b.mean(axis=1)
    common = np.intersect1d(seeds_a, seeds_b)
    of_a, of_b = ([list(own).index(seed) for seed in common] for own in (seeds_a, seeds_b))
    expected = means_a[of_a] - means_b[of_b]
    unsorted = np.array([seed for seed in seeds_a if seed in common])
    order = np.searchsorted(common, unsorted)
    order_b = np.searchsorted(common, np.array([seed for seed in seeds_b if seed in common]))
    n, m = len(common), min(len(a), len(b))
    sorted_a, sorted_b = means_a[np.argsort(seeds_a)], means_b[np.argsort(seeds_b)]
    causes = [
        (-expected, "b - a. A positive number should say that a is better."),
        (expected[order], "in the order of `seeds_a`. Sort by seed."),
        (expected[order_b], "in the order of `seeds_b`. Sort by seed."),
        (
            means_a[np.isin(seeds_a, common)] - means_b[np.isin(seeds_b, common)],
            "the common seeds of each side, paired "
            "by position. They stand in another order in a than in b.",
        ),
        (expected[::-1], "the highest seed first. Sort upwards."),
        (
            expected[np.argsort(common.astype(str))],
            "seeds sorted as texts, where 10 comes before 3. Sort numbers.",
        ),
        (
            means_a[:m] - means_b[:m],
            "paired by position. Row i of a and row i of b may have different seeds.",
        ),
        (
            sorted_a[:m] - sorted_b[:m],
            "each side sorted, then paired by position. Some seeds are on one side only: "
            "`np.intersect1d` finds those in common.",
        ),
        ((a[of_a] - b[of_b]).sum(axis=1), "sums; take the mean over cases."),
        (np.abs(expected), "absolute differences: where b is better it is negative."),
        (
            (a[of_a] - b[of_b]).mean(axis=0),
            "the mean over seeds, one a case. Take the mean over cases, `axis=1`.",
        ),
        (common, "the seeds themselves; asked for is the difference at each."),
    ]
    one = returned[0]
    unknown = not any(close(one, value) for value, _ in causes if isinstance(one, np.ndarray))
    if unknown and isinstance(one, np.ndarray) and one.ndim == 1 and len(one) != n:
        cause = (
            "seeds that only one side has, or common ones left out. `np.intersect1d` finds "
            "those in common."
        )
        what = f"There are {n} seeds in common, and `differences` has {len(one)} values."
        raise Incorrect(what, case, expected=expected, actual=one, cause=cause)
    if isinstance(one, np.ndarray) and one.shape == (n,) and close(np.sort(one), np.sort(expected)):
        causes.append(
            (one, "another order, such as that of a `set`, which has none. Sort by seed.")
        )
    compare("differences", one, expected, case, causes)
    causes = [
        (abs(expected.mean()), "an absolute value. Where b is better the mean is negative."),
        (
            means_a.mean() - means_b.mean(),
            "the means of all runs. A seed that only one side has is no pair.",
        ),
        (np.median(expected), "the median."),
        (
            error := float(expected.std(ddof=1) / np.sqrt(n)),
            "the standard error. The mean comes before it.",
        ),
    ]
    compare("mean", returned[1], float(expected.mean()), case, causes)
    compare("error", returned[2], error, case, _wrong_errors(a[of_a], b[of_b], (len(a), len(b))))


def _stops(case: Case) -> dict[str, str]:
    """What NumPy says where a seed is no row's number, or the one before it is none."""
    advice = (
        "Seeds used as row numbers: where they stand in `seeds_a` is what "
        "`return_indices=True` says."
    )
    seeds = np.union1d(case["seeds_a"], case["seeds_b"])
    return {f"index {one} is out of bounds for axis 0": advice for one in (*seeds, *(seeds - 1))}


def _wrong_errors(a: np.ndarray, b: np.ndarray, runs: tuple[int, int]) -> list[tuple[Any, str]]:
    """a, b: the runs of common seeds, float [n, n_cases]. runs: how many there are of each side in
    all.
    """
    expected, cells, n = (a - b).mean(axis=1), (a - b).mean(axis=0), len(a)
    spread = expected.std(ddof=1)
    unpaired = np.sqrt(a.mean(axis=1).var(ddof=1) / n + b.mean(axis=1).var(ddof=1) / n)
    return [
        (
            spread,
            "the spread of single seeds. The mean of n of them moves less: divide by the root of "
            "n.",
        ),
        (
            expected.std() / np.sqrt(n),
            "`std` without `ddof=1`: it divides by n, and few seeds look more alike than they are.",
        ),
        (expected.std(), "`std` with neither `ddof=1` nor the root of n."),
        (spread / n, "divided by n; it is the root of n."),
        (
            spread / np.sqrt(a.shape[1]),
            "divided by the root of the number of cases. Here the seeds are the sample.",
        ),
        *(
            (
                spread / np.sqrt(one),
                "divided by the root of all runs of one side. Only common seeds were used.",
            )
            for one in runs
            if one != n
        ),
        (spread**2 / n, "a variance. Take its root."),
        (1.96 * spread / np.sqrt(n), "half an interval. The standard error itself is asked for."),
        (
            unpaired,
            "the spreads of a and of b, added. What the two share at a seed cancels: take the "
            "spread of the "
            "differences.",
        ),
        (
            cells.std(ddof=1) / np.sqrt(len(cells)),
            "the spread over cases. Here the seeds are the sample.",
        ),
        *(
            (
                (a - b).std(ddof=1) / np.sqrt(one),
                "the spread of the whole table. Take each seed's mean first: the seeds "
                "are the sample.",
            )
            for one in (a.size, n)
        ),
    ]


def holm_cases(generator: Generator) -> list[Case]:
    """One; four, one of whose steps is above 1; three whose steps fall twice; a tie, whose step
    would fall; many.
    """
    few = [[0.04], [0.03, 0.6, 0.02, 0.7], [0.022, 0.02, 0.021], [0.01, 0.04, 0.01, 0.3]]
    many = (torch.rand(12, generator=generator).double() ** 3).numpy()
    many[:4] = many[:4] / 20
    many[4:9] = [0.011, 0.0105, 0.0107, 0.9, 0.85]
    return [*({"p_values": np.array(one)} for one in few), {"p_values": many}]


def holms(answer: Any, case: Case) -> None:
    """11.2: p_values [m] -> adjusted [m], in the same order."""
    p = case["p_values"]
    m, order = len(p), np.argsort(p, kind="stable")
    ordered, left = p[order], np.arange(m, 0, -1)
    steps = ordered * left

    def back(values: np.ndarray) -> np.ndarray:
        found = np.empty(m)
        found[order] = values
        return found

    expected = holm(p)
    upwards = np.minimum.accumulate
    causes = [
        (
            (p * m).clip(max=1),
            "Bonferroni: every p-value times m. Holm's factor falls from m to 1 as p grows.",
        ),
        (p * m, "Bonferroni, and not cut at 1."),
        (
            back(steps).clip(max=1),
            "the running maximum is missing: a larger p-value may not come out smaller than the "
            "one before it.",
        ),
        (back(steps), "neither the running maximum nor the cut at 1."),
        (
            back(np.maximum.accumulate(steps)),
            "values above 1. Cut them at 1: they are probabilities.",
        ),
        (
            back(np.maximum(steps, np.append(0, steps[:-1])).clip(max=1)),
            "only the step before is looked at. The "
            "maximum runs over *all* smaller p-values: `np.maximum.accumulate`.",
        ),
        (
            expected[order],
            "sorted by size. Put every adjusted value back to the place of its p-value.",
        ),
        (
            np.maximum.accumulate(steps).clip(max=1)[order],
            "put back by `[order]` once more; that is not the way back. "
            "Use `adjusted[order] = steps`.",
        ),
        (
            back(np.maximum.accumulate(ordered * np.arange(1, m + 1)).clip(max=1)),
            "the factors the wrong way round: the smallest p-value gets m, the largest 1.",
        ),
        (
            back(np.maximum.accumulate(ordered * (left - 1)).clip(max=1)),
            "factors from m - 1 to 0. They go from m to 1.",
        ),
        (
            back(upwards((ordered * m / np.arange(1, m + 1))[::-1])[::-1].clip(max=1)),
            "Benjamini and Hochberg: m over "
            "the rank. It bounds the share of false findings, not the risk of any.",
        ),
        (
            1 - (1 - p) ** m,
            "Šidák's correction, for independent questions, and with one factor for all.",
        ),
        (
            back(np.maximum.accumulate(1 - (1 - ordered) ** left)),
            "Holm's steps with Šidák's formula, which asks for independence. Multiply instead.",
        ),
        *_with_ties_as_one(p),
        (
            back(upwards(steps[::-1])[::-1].clip(max=1)),
            "a running minimum from the largest (Hochberg). Holm takes the "
            "running maximum from the smallest.",
        ),
        (np.maximum.accumulate(p * left).clip(max=1), "the p-values were not sorted first."),
        (
            np.full(m, min(1.0, steps.max())),
            "one maximum for all: `np.max` in the place of the running one, or sorted "
            "from the largest. Sort upwards, then `np.maximum.accumulate`.",
        ),
        (
            (p * (m - order)).clip(max=1),
            "`np.argsort` taken for ranks. `order[k]` says *which* p-value is the k-th: "
            "sort with `p_values[order]`.",
        ),
        (p, "the p-values as they were."),
        (expected < 0.05, "true and false; return the adjusted values."),
    ]
    compare("adjusted", call(answer, case), expected, case, causes)


def _with_ties_as_one(p: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """What comes out where equal p-values count as one, or all have the last of their ranks, or
    their mean.
    """
    distinct, last = np.unique(p), np.array([(p <= one).sum() for one in p])
    as_one = np.maximum.accumulate(distinct * np.arange(len(distinct), 0, -1))[
        np.searchsorted(distinct, p)
    ]
    mean = last - np.array([(p == one).sum() - 1 for one in p]) / 2
    ranked = [
        np.array([(p * (len(p) - rank + 1))[p <= one].max() for one in p]) for rank in (last, mean)
    ]
    rule = (
        "Of two equal ones the first gets the larger factor, and the running maximum gives it "
        "to both."
    )
    text, between = (
        "equal p-values are taken for one.",
        "equal p-values share a mean rank, as `rank()` gives it.",
    )
    return [
        (found.clip(max=1), f"{words} {rule}")
        for found, words in zip([as_one, *ranked], [text, text, between], strict=True)
    ]


# 11.3 What a sweep reports: its best setting chosen on test, and chosen on validation


def choice_cases(generator: Generator) -> list[Case]:
    """Two settings, two repeats, every choice different; then more, with a truth that matters
    beside the noise.
    """
    small = {
        "truth": np.array([0.5, 0.4]),
        "in_validation": np.array([[0.0, 0.3], [0.1, 0.0]]),
        "in_test": np.array([[0.2, -0.1], [-0.3, 0.1]]),
    }
    cases = [small]
    for n_repeats, n_settings in ((3, 3), (40, 8)):
        drawn = torch.randn(2 * n_repeats + 1, n_settings, generator=generator).double().numpy()
        drawn = np.round(drawn, 2) + 0.001 * np.arange(n_settings)
        cases.append(
            {
                "truth": 2 + drawn[0],
                "in_validation": drawn[1 : n_repeats + 1],
                "in_test": drawn[n_repeats + 1 :],
            }
        )
    return cases


def choice(answer: Any, case: Case) -> None:
    """11.3: truth [n_settings], in_validation and in_test [n_repeats, n_settings] -> three
    means.
    """
    truth, in_validation, in_test = case.values()
    validation, test = truth + in_validation, truth + in_test
    rows, chosen, best = np.arange(len(test)), validation.argmax(axis=1), test.argmax(axis=1)
    names = ["by_validation", "by_test", "true"]
    returned = several(call(answer, case), names, case, "numbers")
    expected = dict(zip(names, choices(*case.values()), strict=True))
    noise_alone = in_validation.argmax(axis=1)
    once = int(validation.mean(axis=0).argmax())
    causes = {
        "by_validation": [
            (
                validation.max(axis=1).mean(),
                "the *validation* figure of the chosen setting. Choose on validation, "
                "report test: the same figure cannot do both.",
            ),
            (
                expected["by_test"],
                "chosen on test as well. The first number chooses with `truth + in_validation`.",
            ),
            (
                test[rows, noise_alone].mean(),
                "chosen by the noise alone. What is seen is `truth + in_validation`.",
            ),
            (in_test[rows, chosen].mean(), "the noise of the chosen setting, without its truth."),
            (
                test[:, once].mean(),
                "one choice for all repeats. Each row is a sweep of its own: `argmax(axis=1)`.",
            ),
            (
                test[rows, validation.argmin(axis=1)].mean(),
                "the worst on validation; take the highest.",
            ),
            (
                test[chosen].mean(),
                "`test[chosen]` takes whole rows, by the numbers of settings. Pair them: "
                "`test[np.arange(len(test)), chosen]`.",
            ),
            (in_test[rows, noise_alone].mean(), "noise alone. What is seen is `truth` plus noise."),
            (test[rows, chosen], "one figure a repeat. Return their mean."),
            (
                test[:, chosen].mean(),
                "`test[:, chosen]` takes every chosen column from every row. Pair them: "
                "`test[np.arange(len(test)), chosen]`.",
            ),
        ],
        "by_test": [
            (
                test.max(),
                "the highest figure of all repeats. Take each row's maximum, then the mean.",
            ),
            (
                test.max(axis=0).mean(),
                of_columns := "the best repeat of each setting; a sweep is a row: `axis=1`.",
            ),
            (test.max(axis=0), of_columns),
            (
                test.mean(axis=0).max(),
                "the mean over repeats first, then the maximum. In every repeat one looks at one "
                "sweep and takes *its* best.",
            ),
            (
                expected["by_validation"],
                "chosen on validation as well. The second number looks at test alone.",
            ),
            (in_test.max(axis=1).mean(), "the largest noise, without the truth."),
            (
                truth[best].mean(),
                "the truth of what test chose. Asked for is the figure that is reported.",
            ),
            (
                validation[rows, best].mean(),
                "the validation figure of what test chose; report its test figure.",
            ),
            (expected["true"], "the truth of what validation chose. It comes third."),
        ],
        "true": [
            (truth.max(), "the truth of the best setting. Noise does not always choose it."),
            (
                truth[best].mean(),
                "the truth of what *test* chose. The third number goes with the first.",
            ),
            (truth.mean(), "the mean of all settings; take those that were chosen."),
            (
                truth[noise_alone].mean(),
                "chosen by the noise alone. What is seen is `truth + in_validation`.",
            ),
            (
                expected["by_validation"],
                "the reported figure once more. `truth` itself has no noise.",
            ),
        ],
    }
    if [kind_of(one) for one in returned[:2]] == ["a number"] * 2 and np.allclose(
        returned[:2], [expected["by_test"], expected["by_validation"]]
    ):
        causes["by_validation"].insert(
            0, (expected["by_test"], "the first two in the other order.")
        )
    for name, value in zip(names, returned, strict=True):
        compare(name, value, expected[name], case, causes[name])


EXERCISES = {
    "11.1": Exercise(seeds_cases, seeds),
    "11.2": Exercise(holm_cases, holms),
    "11.3": Exercise(choice_cases, choice),
}
