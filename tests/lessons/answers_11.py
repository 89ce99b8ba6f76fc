"""Answers to lesson 11: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import numpy as np
import pandas as pd
import torch

NAMES = {"np": np, "pd": pd}
"""What the notebook has imported by the time it reaches its exercises."""

# 11.1 seed by seed


def seeds_by_loop(a, b, seeds_a, seeds_b):
    found = []
    for seed in sorted(set(seeds_a.tolist()) & set(seeds_b.tolist())):
        found.append(a[seeds_a == seed].mean() - b[seeds_b == seed].mean())
    n = len(found)
    mean = sum(found) / n
    variance = sum((one - mean) ** 2 for one in found) / (n - 1)
    return np.array(found), mean, (variance / n) ** 0.5


def seeds_by_series(a, b, seeds_a, seeds_b):
    first, second = pd.Series(a.mean(1), seeds_a), pd.Series(b.mean(1), seeds_b)
    d = (first - second).dropna().sort_index()
    return [d.to_numpy(), d.mean(), d.sem()]


def common_rows(seeds_a, seeds_b):
    return np.intersect1d(seeds_a, seeds_b, return_indices=True)[1:]


def seeds_with(differences=None, mean=None, error=None):
    """The right answer with one part exchanged. differences(a, b, seeds_a, seeds_b); mean, error(d,
    a, b).
    """

    def answer(a, b, seeds_a, seeds_b):
        rows_a, rows_b = common_rows(seeds_a, seeds_b)
        d = (a[rows_a] - b[rows_b]).mean(axis=1)
        shown = differences(a, b, seeds_a, seeds_b) if differences else d
        middle = mean(d, a, b) if mean else d.mean()
        spread = error(d, a[rows_a], b[rows_b]) if error else d.std(ddof=1) / np.sqrt(len(d))
        return shown, middle, spread

    return answer


def error_with_runs_of_b(a, b, seeds_a, seeds_b):
    d, mean, error = seeds_with()(a, b, seeds_a, seeds_b)
    return d, mean, error * np.sqrt(len(d) / len(b))


def by_position(a, b, seeds_a, seeds_b):
    n = min(len(a), len(b))
    return a[:n].mean(1) - b[:n].mean(1)


def both_sorted(a, b, seeds_a, seeds_b):
    return by_position(a[seeds_a.argsort()], b[seeds_b.argsort()], None, None)


def in_order_of_a(a, b, seeds_a, seeds_b):
    return np.array(
        [a[i].mean() - b[seeds_b == s].mean() for i, s in enumerate(seeds_a) if s in seeds_b]
    )


def in_order_of_b(a, b, seeds_a, seeds_b):
    return np.array(
        [a[seeds_a == s].mean() - b[i].mean() for i, s in enumerate(seeds_b) if s in seeds_a]
    )


def common_ones_by_position(a, b, seeds_a, seeds_b):
    return a[np.isin(seeds_a, seeds_b)].mean(1) - b[np.isin(seeds_b, seeds_a)].mean(1)


def in_this_order(order):
    """order: two arrays of seeds -> the common ones, in some order."""

    def answer(a, b, seeds_a, seeds_b):
        return np.array(
            [a[seeds_a == s].mean() - b[seeds_b == s].mean() for s in order(seeds_a, seeds_b)]
        )

    return answer


def common_as_texts(seeds_a, seeds_b):
    return [int(seed) for seed in sorted({*map(str, seeds_a)} & {*map(str, seeds_b)})]


def common_below_10(seeds_a, seeds_b):
    return [seed for seed in range(10) if seed in seeds_a and seed in seeds_b]


def seeds_as_rows(before=0):
    def answer(a, b, seeds_a, seeds_b):
        rows = np.intersect1d(seeds_a, seeds_b) - before
        return a[rows].mean(1) - b[rows].mean(1)

    return answer


def missing_as_zero(a, b, seeds_a, seeds_b):
    first, second = pd.Series(a.mean(1), seeds_a), pd.Series(b.mean(1), seeds_b)
    return first.sub(second, fill_value=0).sort_index().to_numpy()


def mean_of_everything(a, b, seeds_a, seeds_b):
    rows_a, rows_b = common_rows(seeds_a, seeds_b)
    return (a[rows_a] - b[rows_b]).mean()


def root_of_all_runs(a, b, seeds_a, seeds_b):
    d = seeds_by_loop(a, b, seeds_a, seeds_b)[0]
    return d, d.mean(), d.std(ddof=1) / np.sqrt(len(seeds_a))


def the_other_way(a, b, seeds_a, seeds_b):
    return seeds_by_loop(b, a, seeds_b, seeds_a)[0]


def over_cases(a, b, seeds_a, seeds_b):
    rows_a, rows_b = common_rows(seeds_a, seeds_b)
    return (a[rows_a] - b[rows_b]).mean(axis=0)


def unpaired(d, a, b):
    n = len(d)
    return np.sqrt(a.mean(1).var(ddof=1) / n + b.mean(1).var(ddof=1) / n)


# 11.2 Holm


def holm_by_loop(p_values):
    m = len(p_values)
    adjusted, highest = np.zeros(m), 0.0
    for k, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        highest = max(highest, (m - k) * p_values[i])
        adjusted[i] = min(1.0, highest)
    return adjusted


def holm_by_rank(p_values):
    order = p_values.argsort()
    back = order.argsort()
    steps = np.sort(p_values) * (len(p_values) - np.arange(len(p_values)))
    return np.maximum.accumulate(steps).clip(max=1)[back]


def holm_with(factors=None, keep=np.maximum.accumulate, most=1.0, back=True):
    def answer(p_values):
        m, order = len(p_values), np.argsort(p_values)
        steps = keep(p_values[order] * (factors(m) if factors else np.arange(m, 0, -1))).clip(
            max=most
        )
        adjusted = np.empty(m)
        adjusted[order] = steps
        return adjusted if back else steps

    return answer


def the_step_before(steps):
    return np.maximum(steps, np.append(0, steps[:-1]))


def holm_with_sidaks_steps(p):
    order = np.argsort(p)
    steps = 1 - (1 - p[order]) ** np.arange(len(p), 0, -1)
    return np.maximum.accumulate(steps)[np.argsort(order)]


def different_ones_only(p_values):
    distinct = np.unique(p_values)
    adjusted = np.maximum.accumulate(distinct * np.arange(len(distinct), 0, -1)).clip(max=1)
    return adjusted[np.searchsorted(distinct, p_values)]


def holm_of_ranks(method, distinct=False):
    """method: what `rank` does with equal p-values."""

    def answer(p_values):
        ranks = pd.Series(p_values).rank(method=method).to_numpy()
        m = len(np.unique(p_values)) if distinct else len(p_values)
        steps = p_values * (m - ranks + 1)
        return np.array([steps[p_values <= one].max() for one in p_values]).clip(max=1)

    return answer


def from_the_largest(steps):
    return np.minimum.accumulate(steps[::-1])[::-1]


# 11.3 choosing


def choices_by_loop(truth, in_validation, in_test):
    honest, flattering, true = [], [], []
    for v, t in zip(in_validation, in_test, strict=True):
        chosen = int(np.argmax(truth + v))
        honest.append((truth + t)[chosen])
        flattering.append(max(truth + t))
        true.append(truth[chosen])
    return np.mean(honest), np.mean(flattering), np.mean(true)


def choices_by_take(truth, in_validation, in_test):
    chosen = (truth + in_validation).argmax(1, keepdims=True)
    test = truth + in_test
    return [np.take_along_axis(test, chosen, 1).mean(), test.max(1).mean(), truth[chosen].mean()]


def choices_with(by_validation=None, by_test=None, true=None):
    """The right answer with one number exchanged: a function of truth, validation, test."""

    def answer(truth, in_validation, in_test):
        numbers = list(choices_by_loop(truth, in_validation, in_test))
        for place, other in enumerate((by_validation, by_test, true)):
            if other:
                numbers[place] = other(truth, truth + in_validation, truth + in_test)
        return tuple(numbers)

    return answer


def picked(values, chosen):
    return values[np.arange(len(values)), chosen].mean()


def from_the_largest_p(p):
    order = np.argsort(-p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted


RIGHT = {
    "11.1": [seeds_by_loop, seeds_by_series],
    "11.2": [holm_by_loop, holm_by_rank, holm_of_ranks("first"), holm_of_ranks("min")],
    "11.3": [choices_by_loop, choices_by_take, lambda *given: np.array(choices_by_loop(*given))],
}

WRONG = [
    ("11.1", seeds_with(by_position), "paired by position"),
    ("11.1", seeds_with(both_sorted), "each side sorted"),
    ("11.1", seeds_with(in_order_of_a), "in the order of `seeds_a`"),
    ("11.1", seeds_with(in_order_of_b), "in the order of `seeds_b`"),
    ("11.1", seeds_with(common_ones_by_position), "the common seeds of each side"),
    (
        "11.1",
        seeds_with(seeds_as_rows()),
        "Seeds used as row numbers: where they stand in `seeds_a` is what",
    ),
    ("11.1", seeds_with(seeds_as_rows(before=1)), "Seeds used as row numbers"),
    ("11.1", seeds_with(missing_as_zero), "seeds that only one side has, or common ones left out"),
    (
        "11.1",
        seeds_with(in_this_order(lambda a, b: {*a.tolist()} & {*b.tolist()})),
        "such as that of a `set`",
    ),
    ("11.1", seeds_with(in_this_order(common_as_texts)), "sorted as texts"),
    ("11.1", seeds_with(in_this_order(common_below_10)), "or common ones left"),
    (
        "11.1",
        seeds_with(mean=lambda d, a, b: abs(d.mean())),
        "Where b is better the mean is negative",
    ),
    ("11.1", seeds_with(mean_of_everything), "several numbers are asked for"),
    ("11.1", seeds_with(the_other_way), "b - a"),
    ("11.1", seeds_with(over_cases), "one a case"),
    ("11.1", seeds_with(lambda *given: abs(seeds_by_loop(*given)[0])), "absolute differences"),
    ("11.1", seeds_with(mean=lambda d, a, b: a.mean() - b.mean()), "the means of all runs"),
    ("11.1", seeds_with(mean=lambda d, a, b: np.median(d)), "the median"),
    ("11.1", seeds_with(error=lambda d, a, b: d.std(ddof=1)), "divide by the root of n"),
    ("11.1", seeds_with(error=lambda d, a, b: d.std() / np.sqrt(len(d))), "without `ddof=1`"),
    ("11.1", seeds_with(error=lambda d, a, b: d.std(ddof=1) / len(d)), "it is the root of n"),
    (
        "11.1",
        seeds_with(error=lambda d, a, b: d.std(ddof=1) / np.sqrt(a.shape[1])),
        "root of the number of cases",
    ),
    ("11.1", root_of_all_runs, "root of all runs of one side"),
    ("11.1", seeds_with(error=lambda d, a, b: d.var(ddof=1) / len(d)), "a variance"),
    (
        "11.1",
        seeds_with(error=lambda d, a, b: 1.96 * d.std(ddof=1) / np.sqrt(len(d))),
        "half an interval",
    ),
    ("11.1", seeds_with(error=unpaired), "take the spread of the differences"),
    ("11.1", lambda *given: seeds_by_loop(*given)[0], "return three things"),
    (
        "11.1",
        seeds_with(lambda *given: pd.Series(seeds_by_loop(*given)[0])),
        "`.to_numpy()` makes an array",
    ),
    (
        "11.1",
        seeds_with(lambda *given: torch.from_numpy(seeds_by_loop(*given)[0])),
        "`.numpy()` leads back",
    ),
    (
        "11.1",
        seeds_with(error=lambda d, a, b: (a - b).std(ddof=1) / np.sqrt(len(d))),
        "the whole table",
    ),
    (
        "11.1",
        seeds_with(error=lambda d, a, b: (a - b).std(ddof=1) / np.sqrt(a.size)),
        "the whole table",
    ),
    ("11.1", error_with_runs_of_b, "all runs of one side"),
    (
        "11.1",
        lambda *given: [seeds_by_loop(*given)[i] for i in (0, 2, 1)],
        "The mean comes before it",
    ),
    ("11.2", lambda p: np.minimum(1, p * len(p)), "Bonferroni: every p-value times m"),
    ("11.2", holm_with(keep=lambda steps: steps), "running maximum is missing"),
    ("11.2", lambda p: 1 - (1 - p) ** len(p), "Šidák's correction"),
    ("11.2", holm_with_sidaks_steps, "Šidák's formula"),
    ("11.2", holm_with(keep=the_step_before), "only the step before"),
    ("11.2", holm_with(most=np.inf), "values above 1"),
    ("11.2", holm_with(back=False), "sorted by size"),
    ("11.2", from_the_largest_p, "sorted from the largest"),
    ("11.2", holm_with(keep=np.max), "one maximum for all"),
    ("11.2", lambda p: np.minimum(1, p * (len(p) - np.argsort(p))), "`np.argsort` taken for ranks"),
    ("11.2", lambda p: holm_by_rank(p)[p.argsort()][p.argsort()], "not the way back"),
    ("11.2", holm_with(factors=lambda m: np.arange(1, m + 1)), "the wrong way round"),
    ("11.2", holm_with(factors=lambda m: np.arange(m - 1, -1, -1)), "from m - 1 to 0"),
    (
        "11.2",
        holm_with(factors=lambda m: m / np.arange(1, m + 1), keep=from_the_largest),
        "Benjamini and Hochberg",
    ),
    ("11.2", holm_with(keep=from_the_largest), "(Hochberg)"),
    ("11.2", different_ones_only, "taken for one"),
    ("11.2", holm_of_ranks("max"), "taken for one"),
    ("11.2", holm_of_ranks("dense", distinct=True), "taken for one"),
    ("11.2", holm_of_ranks("average"), "a mean rank"),
    ("11.2", lambda p: holm_by_rank(p) < 0.05, "return the adjusted values"),
    ("11.2", lambda p: p.copy(), "as they were"),
    ("11.2", lambda p: holm_by_rank(p).tolist(), "should be an array"),
    ("11.3", choices_with(lambda truth, v, t: v.max(1).mean()), "the same figure cannot do both"),
    ("11.3", choices_with(lambda truth, v, t: t.max(1).mean()), "chosen on test as well"),
    (
        "11.3",
        choices_with(lambda truth, v, t: picked(t, (v - truth).argmax(1))),
        "chosen by the noise alone",
    ),
    (
        "11.3",
        choices_with(lambda truth, v, t: t[:, v.mean(0).argmax()].mean()),
        "one choice for all repeats",
    ),
    ("11.3", choices_with(lambda truth, v, t: t[:, v.argmax(1)].mean()), "Pair them"),
    ("11.3", choices_with(lambda truth, v, t: t[v.argmax(1)].mean()), "takes whole rows"),
    (
        "11.3",
        choices_with(lambda truth, v, t: picked(t - truth, (v - truth).argmax(1))),
        "`truth` plus noise",
    ),
    (
        "11.3",
        lambda *given: [choices_by_loop(*given)[i] for i in (1, 0, 2)],
        "the first two in the other order",
    ),
    ("11.3", lambda *given: [choices_by_loop(*given)[i] for i in (0, 2, 1)], "It comes third"),
    (
        "11.3",
        choices_with(by_test=lambda truth, v, t: t.max()),
        "the highest figure of all repeats",
    ),
    (
        "11.3",
        choices_with(by_test=lambda truth, v, t: t.max(axis=0).mean()),
        "the best repeat of each setting",
    ),
    (
        "11.3",
        choices_with(by_test=lambda truth, v, t: t.max(axis=0)),
        "a sweep is a row: `axis=1`.",
    ),
    (
        "11.3",
        choices_with(by_test=lambda truth, v, t: t.mean(0).max()),
        "the mean over repeats first",
    ),
    (
        "11.3",
        choices_with(by_test=lambda truth, v, t: truth[t.argmax(1)].mean()),
        "the truth of what test chose",
    ),
    ("11.3", choices_with(true=lambda truth, v, t: truth.max()), "the truth of the best setting"),
    (
        "11.3",
        choices_with(true=lambda truth, v, t: truth[t.argmax(1)].mean()),
        "goes with the first",
    ),
    ("11.3", choices_with(true=lambda truth, v, t: truth.mean()), "the mean of all settings"),
    ("11.3", lambda *given: choices_by_loop(*given)[:2], "return three numbers"),
    ("11.3", lambda *given: np.array(choices_by_loop(*given))[:2], "return three numbers"),
    (
        "11.3",
        lambda *given: np.array(choices_by_loop(*given))[[1, 0, 2]],
        "the first two in the other order",
    ),
]

HALF_RIGHT = {
    "holm": """
def my_holm(p_values):
    return np.minimum(1, p_values * len(p_values))
""",
    "choice": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 8, "half": 2, "untouched": 0}
