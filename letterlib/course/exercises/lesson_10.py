"""Lesson 10: metrics from ranks, an interval over users and seeds, where the noise comes from."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator

from letterlib.course import experiments
from letterlib.course.comparing import Case
from letterlib.course.exercise import Exercise

# 10.1 Metrics from ranks: ranks [n_runs, n_cases], k -> hits and gains, float [n_runs, n_cases]


def scores_cases(generator: Generator) -> list[Case]:
    """One run of five cases; two of six; four of eighty. -1 is not in the list; k is a rank."""
    fixed = np.array([[0, 1, 2, -1, 4]])
    cases = [{"ranks": fixed, "k": 2}]
    for n_runs, n, k in ((2, 6, 3), (4, 80, 10)):
        ranks = torch.randint(-1, 2 * k, (n_runs, n), generator=generator)
        ranks[0, :4] = torch.tensor([0, -1, k, k - 1])
        cases.append({"ranks": ranks.numpy(), "k": k})
    return cases


def scores(ranks, k):
    found = (ranks >= 0) & (ranks < k)
    return found.astype(float), np.where(found, 1 / np.log2(np.maximum(ranks, 0) + 2), 0.0)


def scores_with(
    found: Callable = lambda ranks, k: (ranks >= 0) & (ranks < k),
    gain: Callable = lambda ranks, k: 1 / np.log2(np.maximum(ranks, 0) + 2),
    gains: Callable = lambda found, gain: np.where(found, gain, 0.0),
    hits: Callable = lambda found: found.astype(float),
) -> Callable:
    """Metrics, one of whose steps may be replaced."""

    def answer(ranks, k):
        there = found(ranks, k)
        return hits(there), gains(there, gain(ranks, k))

    return answer


def scores_by_loop(ranks, k):
    hits, gains = np.zeros(ranks.shape), np.zeros(ranks.shape)
    for place, rank in np.ndenumerate(ranks):
        if 0 <= rank < k:
            hits[place], gains[place] = 1, 1 / np.log2(rank + 2)
    return hits, gains


def scores_by_table(ranks, k):
    worth = np.append(1 / np.log2(np.arange(k) + 2), 0)
    kept = np.where((ranks < 0) | (ranks >= k), k, ranks)
    return (kept < k).astype(float), worth[kept]


SCORES = Exercise(
    reference=scores,
    cases=scores_cases,
    returns=["hits", "gains"],
    right=[scores_by_loop, scores_by_table],
    mistakes=[
        (
            scores_with(found=lambda ranks, k: ranks < k),
            "-1 counts as a hit: it is below k. It means that the target is not in the list.",
        ),
        (
            scores_with(found=lambda ranks, k: (ranks >= 0) & (ranks <= k)),
            "one place too many: ranks begin with 0, so the first k are those below k.",
        ),
        (
            scores_with(found=lambda ranks, k: (ranks > 0) & (ranks < k)),
            "rank 0 is no hit here. It is the best place.",
        ),
        (
            scores_with(found=lambda ranks, k: (ranks >= 0) & (ranks < k - 1)),
            "one place too few: the first k are those below k.",
        ),
        (
            scores_with(found=lambda ranks, k: ranks >= 0),
            "k is not used: a target far down the list counts.",
        ),
        (
            scores_with(
                gain=lambda ranks, k: 1 / np.log2(np.maximum(ranks, 0) + 1.0 + (ranks <= 0))
            ),
            "`log2(rank + 1)`: for ranks that begin with 0 the formula has rank + 2.",
        ),
        (
            lambda ranks, k: (
                scores(ranks, k)[0],
                np.where(ranks >= 0, 1 / np.log2(np.maximum(ranks, 0) + 2), 0.0),
            ),
            "a gain for a target below the first k. Where there is no hit it is 0.",
        ),
        (
            np.errstate(all="ignore")(scores_with(gain=lambda ranks, k: 1 / np.log2(ranks + 1))),
            "`log2(rank + 1)`: for ranks that begin with 0 the formula has rank + 2.",
        ),
        (
            scores_with(gain=lambda ranks, k: 1 / np.log(np.maximum(ranks, 0) + 2)),
            "the natural logarithm; NDCG has `log2`.",
        ),
        (
            scores_with(gain=lambda ranks, k: 1 / np.log10(np.maximum(ranks, 0) + 2)),
            "`log10`; NDCG has `log2`.",
        ),
        (
            scores_with(gain=lambda ranks, k: 1 / (np.maximum(ranks, 0) + 1)),
            "1 / (rank + 1), which is the reciprocal rank. NDCG divides by `log2(rank + 2)`.",
        ),
        (
            scores_with(gain=lambda ranks, k: 1 / (np.maximum(ranks, 0) + 2)),
            "the logarithm is missing: 1 / log2(rank + 2).",
        ),
        (
            scores_with(
                gains=lambda found, gain: np.where(found, gain, 0.0) / np.maximum(found.sum(), 1)
            ),
            "divided by the number of hits. The mean comes later, over all cases.",
        ),
        (
            scores_with(gain=lambda ranks, k: np.log2(np.maximum(ranks, 0) + 2)),
            "the logarithm itself. A gain is 1 divided by it.",
        ),
        (
            scores_with(gains=lambda found, gain: gain),
            "a gain where there is no hit. It is 0 there.",
        ),
        (
            scores_with(gains=lambda found, gain: found.astype(float)),
            "the hits once more. A gain is smaller the lower the place.",
        ),
        (
            lambda ranks, k: (
                ((ranks >= 1) & (ranks <= k)).astype(float),
                np.where((ranks >= 1) & (ranks <= k), 1 / np.log2(np.maximum(ranks, 1) + 1), 0.0),
            ),
            "ranks taken to begin with 1. They begin with 0: the first k are those below k.",
        ),
        (
            scores_with(gain=lambda ranks, k: np.log2(k + 1) / np.log2(np.maximum(ranks, 0) + 2)),
            "multiplied by the logarithm of k + 1. The best gain is 1.",
        ),
        (
            lambda ranks, k: tuple(one.mean(axis=1) for one in scores(ranks, k)),
            "means over cases. Return a value for every case: cases are compared later.",
        ),
        (
            lambda ranks, k: tuple(one.mean() for one in scores(ranks, k)),
            "one number for everything. Return a value for every run and case.",
        ),
        (
            lambda ranks, k: tuple(one.mean(axis=0) for one in scores(ranks, k)),
            "means over runs. Return a value for every run and case.",
        ),
        (lambda ranks, k: scores(ranks, k)[::-1], "hits and gains in the other order."),
        (
            scores_with(gain=lambda ranks, k: 1 / np.log2(np.maximum(ranks, 0) + 2) / k),
            "divided by k. With one target the best gain is 1 by itself.",
        ),
        (
            scores_with(hits=lambda found: found / found.shape[1]),
            "hits divided by the number of cases.",
        ),
    ],
)

# 10.2 An interval over users and seeds: values [n_runs, n_cases], users [n_cases], user_draws
# [n_resamples, n_users], run_draws [n_resamples, n_runs] -> mean, low, high


def row_cases(generator: Generator) -> list[Case]:
    """Two runs of three users; then more, with 1 to 6 cases a user, in any order."""
    cases = []
    for n_runs, n_users, resamples, most in ((2, 3, 5, 2), (3, 5, 30, 3), (5, 30, 300, 6)):
        sizes = torch.randint(1, most + 1, (n_users,), generator=generator).numpy()
        sizes[:2] = [1, most]
        users = np.repeat(np.arange(n_users), sizes)
        users = users[torch.randperm(len(users), generator=generator).numpy()]
        lucky = torch.linspace(-0.3, 0.3, n_runs).numpy()[:, None]
        drawn = torch.rand(n_runs, len(users), generator=generator).numpy()
        values = (drawn < 0.5 + lucky).astype(float) * (1 + users % 2)
        values[:, users == 0], values[-1, users == 1] = 2.0, 0.0
        cases.append(
            {
                "values": values,
                "users": users,
                "user_draws": torch.randint(
                    n_users, (resamples, n_users), generator=generator
                ).numpy(),
                "run_draws": torch.randint(
                    n_runs, (resamples, n_runs), generator=generator
                ).numpy(),
            }
        )
    return cases


def of_resamples(sums, counts, user_draws, run_draws):
    return np.array(
        [
            sums[runs][:, drawn].sum() / (len(runs) * counts[drawn].sum())
            for drawn, runs in zip(user_draws, run_draws)
        ]
    )


def row_with(
    means: Callable = of_resamples,
    mean: Callable = lambda values, sums, counts, found: values.mean(),
    limits: Callable = lambda found, mean: np.quantile(found, [0.025, 0.975]),
) -> Callable:
    """An interval, one of whose steps may be replaced. sums: [n_runs, n_users]."""

    def answer(values, users, user_draws, run_draws):
        counts = np.bincount(users)
        sums = np.stack([np.bincount(users, weights=run) for run in values])
        found = means(sums, counts, user_draws, run_draws)
        middle = mean(values, sums, counts, found)
        return middle, *limits(found, values.mean())

    return answer


def interval(values, users, user_draws, run_draws):
    return row_with()(values, users, user_draws, run_draws)


def row_by_gather(values, users, user_draws, run_draws):
    counts = np.bincount(users)
    sums = np.stack([np.bincount(users, weights=run) for run in values])
    share = np.stack([np.bincount(one, minlength=len(values)) for one in run_draws]) / len(values)
    totals = np.stack([run[user_draws].sum(axis=1) for run in sums], axis=1)
    found = (totals * share).sum(axis=1) / counts[user_draws].sum(axis=1)
    return values.mean(), np.quantile(found, 0.025), np.quantile(found, 0.975)


def row_by_cases(values, users, user_draws, run_draws):
    found = []
    for drawn, runs in zip(user_draws, run_draws):
        cases = np.concatenate([np.flatnonzero(users == user) for user in drawn])
        found.append(values[np.ix_(runs, cases)].mean())
    return [np.mean(values), *np.percentile(found, (2.5, 97.5))]


BELL = 1.96

ROW = Exercise(
    reference=interval,
    cases=row_cases,
    returns=["mean", "low", "high"],
    right=[row_by_gather, row_by_cases],
    stops={
        "could not be broadcast together": "`sums[runs, drawn]` pairs a run with a user. Take all "
        "drawn users of all drawn runs: `sums[runs][:, drawn]`.",
    },
    mistakes=[
        (
            row_with(
                lambda sums, counts, user_draws, run_draws: (
                    sums.mean(axis=0)[user_draws].sum(axis=1) / counts[user_draws].sum(axis=1)
                )
            ),
            "runs are averaged and not drawn: the doubt that seeds bring is missing.",
        ),
        (
            row_with(
                lambda sums, counts, user_draws, run_draws: (
                    sums.sum(axis=1)[run_draws].mean(axis=1) / counts.sum()
                )
            ),
            "users are not drawn: the doubt that users bring is missing.",
        ),
        (
            row_with(
                lambda sums, counts, user_draws, run_draws: (
                    sums[0][user_draws].sum(axis=1) / counts[user_draws].sum(axis=1)
                )
            ),
            "the first run alone.",
        ),
        (
            row_with(
                lambda sums, counts, user_draws, run_draws: np.array(
                    [
                        sums[runs[0]][drawn].sum() / counts[drawn].sum()
                        for drawn, runs in zip(user_draws, run_draws)
                    ]
                )
            ),
            "one run for each resample. Row r of `run_draws` holds as many runs as there are.",
        ),
        (
            row_with(
                lambda sums, counts, user_draws, run_draws: np.array(
                    [
                        sums[np.unique(runs)][:, drawn].sum()
                        / (len(np.unique(runs)) * counts[drawn].sum())
                        for drawn, runs in zip(user_draws, run_draws)
                    ]
                )
            ),
            "a run drawn twice counts once, and should count twice.",
        ),
        (
            row_with(
                lambda sums, counts, user_draws, run_draws: np.array(
                    [
                        sums[runs][:, np.unique(drawn)].sum()
                        / (len(runs) * counts[np.unique(drawn)].sum())
                        for drawn, runs in zip(user_draws, run_draws)
                    ]
                )
            ),
            "a user drawn twice counts once, and should count twice.",
        ),
        (
            row_with(
                lambda sums, counts, user_draws, run_draws: np.array(
                    [
                        (sums / counts)[runs][:, drawn].mean()
                        for drawn, runs in zip(user_draws, run_draws)
                    ]
                )
            ),
            "users' means averaged, as if each had as many cases. Divide the sum of all values by "
            "the number of cases that came along.",
        ),
        (
            row_with(
                lambda sums, counts, user_draws, run_draws: np.array(
                    [
                        sums[runs][:, drawn].sum() / (len(runs) * counts.sum())
                        for drawn, runs in zip(user_draws, run_draws)
                    ]
                )
            ),
            "every resample divided by the number of real cases. A resample has as many cases as "
            "its users bring.",
        ),
        (
            row_with(
                lambda sums, counts, user_draws, run_draws: np.array(
                    [
                        sums[runs][:, drawn].sum() / counts[drawn].sum()
                        for drawn, runs in zip(user_draws, run_draws)
                    ]
                )
            ),
            "the runs are added up. Divide by their number too.",
        ),
        (
            lambda values, users, user_draws, run_draws: (
                values.mean(),
                *np.quantile(
                    [values[runs][:, d].mean() for d, runs in zip(user_draws, run_draws)],
                    [0.025, 0.975],
                ),
            ),
            "users taken for cases. A user brings all their cases: add them up by "
            "`np.bincount(users, weights=...)` first.",
        ),
        (
            row_with(
                lambda sums, counts, user_draws, run_draws: (
                    sums.mean(axis=0)[user_draws].sum(axis=1) / counts[user_draws].sum(axis=1)
                    + sums.sum(axis=1)[run_draws].mean(axis=1) / counts.sum()
                    - sums.sum() / (len(sums) * counts.sum())
                )
            ),
            "what users change and what runs change are added up. Take the drawn users *in* the "
            "drawn runs: who is served well differs from run to run.",
        ),
        (
            row_with(mean=lambda values, sums, counts, found: found.mean()),
            "the mean of the resamples. Return that of the real runs and cases.",
        ),
        (
            row_with(mean=lambda values, sums, counts, found: values[0].mean()),
            "the mean of the first run. Take all runs.",
        ),
        (
            row_with(mean=lambda values, sums, counts, found: (sums / counts).mean()),
            "the mean of users' means. Take the mean over cases.",
        ),
        (
            row_with(limits=lambda found, mean: np.quantile(found, [0.05, 0.95])),
            "5% and 95% quantiles, an interval of 90%. Use 2.5% and 97.5%.",
        ),
        (
            row_with(limits=lambda found, mean: (found.min(), found.max())),
            "the least and the greatest resample. Take quantiles.",
        ),
        (
            row_with(limits=lambda found, mean: np.quantile(found, [0.975, 0.025])),
            "low and high exchanged.",
        ),
        (
            row_with(limits=lambda found, mean: mean + BELL * np.array([-1, 1]) * found.std()),
            "mean plus and minus 1.96 standard deviations. Take the quantiles themselves.",
        ),
        (
            row_with(limits=lambda found, mean: np.quantile(found, [0.025, 0.975]) - mean),
            "distances from the mean. Return the quantiles themselves.",
        ),
        (
            row_with(limits=lambda found, mean: np.percentile(found, [0.025, 0.975])),
            "`np.percentile` counts to 100: 2.5 and 97.5.",
        ),
        (
            lambda *case: [interval(*case)[i] for i in (1, 0, 2)],
            "the lower end. The mean comes first, then low and high.",
        ),
    ],
)

# 10.3 Where the noise of a difference comes from: d [n_seeds, n_users] -> the variances of seeds,
# of users, of the rest


def variances_cases(generator: Generator) -> list[Case]:
    """Two seeds and two users; seeds whose estimate falls below 0; users; then a real size."""
    random = np.random.default_rng(generator.initial_seed() + 1)
    small = np.round(random.normal(size=(2, 2)), 1) + np.array([[0.0, 2.0], [4.0, 8.5]])
    noise = random.normal(size=(4, 6))
    no_seeds = noise - noise.mean(axis=1, keepdims=True) + random.normal(size=6)
    no_users = noise - noise.mean(axis=0, keepdims=True) + random.normal(size=(4, 1))
    real = random.normal(0.3, 1.0, size=(5, 60))
    real += 2 * random.normal(size=(5, 1)) + 1.5 * random.normal(size=60)
    return [{"d": d} for d in (small, no_seeds, no_users, real)]


def what_is_left(d: np.ndarray) -> np.ndarray:
    return d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()


def variances(d):
    n_seeds, n_users = d.shape
    left = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    rest = (left**2).sum() / ((n_seeds - 1) * (n_users - 1))
    seeds = d.mean(axis=1).var(ddof=1) - rest / n_users
    users = d.mean(axis=0).var(ddof=1) - rest / n_seeds
    return max(0.0, seeds), max(0.0, users), rest


def variances_with(
    rest: Callable = lambda d: variances(d)[2],
    seeds: Callable = lambda rows, columns, rest, s, u: max(0.0, rows.var(ddof=1) - rest / u),
    users: Callable = lambda rows, columns, rest, s, u: max(0.0, columns.var(ddof=1) - rest / s),
) -> Callable:
    """The variances, one of which may be replaced. rows, columns: their means."""

    def answer(d):
        given = d.mean(axis=1), d.mean(axis=0), rest(d), *d.shape
        return seeds(*given), users(*given), rest(d)

    return answer


def parts_by_sums_of_squares(d):
    n, m = d.shape
    grand = d.sum() / d.size
    of_seeds = m * ((d.mean(1) - grand) ** 2).sum()
    of_users = n * ((d.mean(0) - grand) ** 2).sum()
    rest = (((d - grand) ** 2).sum() - of_seeds - of_users) / ((n - 1) * (m - 1))
    return max((of_seeds / (n - 1) - rest) / m, 0), max((of_users / (m - 1) - rest) / n, 0), rest


def parts_by_loop(d):
    n, m = d.shape
    left = [d[s, u] - d[s].mean() - d[:, u].mean() + d.mean() for s in range(n) for u in range(m)]
    rest = sum(x * x for x in left) / (n - 1) / (m - 1)
    seeds = np.var([row.mean() for row in d], ddof=1) - rest / m
    users = np.var([column.mean() for column in d.T], ddof=1) - rest / n
    return [np.maximum(seeds, 0), np.maximum(users, 0), rest]


def without_keepdims(d):
    left = d - d.mean(axis=1) - d.mean(axis=0) + d.mean()
    return (left**2).sum() / ((d.shape[0] - 1) * (d.shape[1] - 1))


def variance_within(d):
    n_seeds, n_users = d.shape
    rest = variances(d)[2]
    seeds = d.var(axis=1, ddof=1).mean() - rest / n_users
    users = d.var(axis=0, ddof=1).mean() - rest / n_seeds
    return max(0.0, seeds), max(0.0, users), rest


BELOW_0 = "An estimate below 0 means: none seen. Return 0."
DDOF = "`var(ddof=1)` divides by one less, because the mean was estimated from the same numbers."

VARIANCES = Exercise(
    reference=variances,
    library=experiments.variance_parts,
    cases=variances_cases,
    returns=["seeds", "users", "rest"],
    right=[parts_by_sums_of_squares, parts_by_loop, lambda d: np.array(variances(d))],
    mistakes=[
        (
            variances_with(lambda d: (what_is_left(d) ** 2).mean()),
            "the rest is a mean of squares. Divide by `(n_seeds - 1) * (n_users - 1)`: what is "
            "left has so many free numbers.",
        ),
        (
            variances_with(lambda d: what_is_left(d).var(ddof=1)),
            "the rest is divided by all values less one. Seeds and users have used up more: divide "
            "by `(n_seeds - 1) * (n_users - 1)`.",
        ),
        (
            variances_with(
                lambda d: ((what_is_left(d) - d.mean()) ** 2).sum() / np.prod(np.array(d.shape) - 1)
            ),
            "in the rest, the mean was taken away twice, once with the seed and once with the "
            "user. Add it back.",
        ),
        *(
            (
                variances_with(lambda d, ddof=ddof: d.var(ddof=ddof)),
                "the rest is the variance of all values. Take away each row's and each column's "
                "mean first.",
            )
            for ddof in (0, 1)
        ),
        (
            variances_with(without_keepdims),
            "rows' means taken from columns: `d.mean(axis=1, keepdims=True)` stands next to its "
            "row.",
        ),
        (
            variances_with(lambda d: ((d - d.mean()) ** 2).sum() / np.prod(np.array(d.shape) - 1)),
            "the rest has only the mean of all taken away. Take away each row's and each column's "
            "mean, and add the mean of all.",
        ),
        (
            variances_with(lambda d: what_is_left(d).sum() ** 2),
            "the rest is the square of a sum. Square what is left first, then add up.",
        ),
        (
            variances_with(
                lambda d: (what_is_left(d) ** 2).mean(),
                lambda rows, columns, r, s, u: max(0.0, rows.var() - r / u),
                lambda rows, columns, r, s, u: max(0.0, columns.var() - r / s),
            ),
            "divided by all numbers, of the rest and of the means. Means take one away each: "
            "`(n_seeds - 1) * (n_users - 1)`, and `var(ddof=1)`.",
        ),
        (
            variances_with(
                seeds=lambda rows, columns, r, s, u: max(0.0, rows.std(ddof=1) - r / u),
                users=lambda rows, columns, r, s, u: max(0.0, columns.std(ddof=1) - r / s),
            ),
            "the standard deviation of the means. Take their variance, `var(ddof=1)`.",
        ),
        (
            variance_within,
            "the mean of variances. Take the variance of means: `d.mean(axis=1).var(ddof=1)`.",
        ),
        (
            variances_with(
                seeds=lambda rows, columns, r, s, u: max(0.0, rows.var(ddof=1) - r / s),
                users=lambda rows, columns, r, s, u: max(0.0, columns.var(ddof=1) - r / u),
            ),
            "`n_seeds` and `n_users` exchanged. A row's mean is over `n_users` values.",
        ),
        (
            variances_with(
                seeds=lambda rows, columns, r, s, u: min(0.0, rows.var(ddof=1) - r / u),
                users=lambda rows, columns, r, s, u: min(0.0, columns.var(ddof=1) - r / s),
            ),
            "`min(0, ...)`, which keeps what is below 0. `max(0, ...)` keeps what is above.",
        ),
        *(
            (
                lambda d, order=order: tuple(variances(d)[i] for i in order),
                "another order. Return seeds, users, rest.",
            )
            for order in ((2, 1, 0), (2, 0, 1), (0, 2, 1), (1, 2, 0))
        ),
        *(
            (
                answer,
                "seeds and users exchanged. A row of `d` is a seed: its mean is `d.mean(axis=1)`.",
            )
            for answer in (
                lambda d: tuple(variances(d)[i] for i in (1, 0, 2)),
                variances_with(
                    seeds=lambda rows, columns, r, s, u: max(0.0, columns.var(ddof=1) - r / u),
                    users=lambda rows, columns, r, s, u: max(0.0, rows.var(ddof=1) - r / s),
                ),
            )
        ),
        (
            lambda d: tuple(np.sqrt(variances(d))),
            "standard deviations, one `sqrt` too many. Return variances.",
        ),
        (
            variances_with(seeds=lambda rows, columns, r, s, u: rows.var(ddof=1)),
            "part of what rows' means differ by comes from the rest. Take `rest / n_users` away.",
        ),
        (
            variances_with(users=lambda rows, columns, r, s, u: columns.var(ddof=1)),
            "part of what columns' means differ by comes from the rest. Take `rest / n_seeds` "
            "away.",
        ),
        (
            variances_with(seeds=lambda rows, columns, r, s, u: rows.var(ddof=1) - r / u),
            f"a variance of seeds below 0. {BELOW_0}",
        ),
        (
            variances_with(users=lambda rows, columns, r, s, u: columns.var(ddof=1) - r / s),
            f"a variance of users below 0. {BELOW_0}",
        ),
        (
            variances_with(seeds=lambda rows, columns, r, s, u: abs(rows.var(ddof=1) - r / u)),
            f"an absolute value for seeds. {BELOW_0}",
        ),
        (
            variances_with(users=lambda rows, columns, r, s, u: abs(columns.var(ddof=1) - r / s)),
            f"an absolute value for users. {BELOW_0}",
        ),
        *(
            (
                variances_with(
                    seeds=lambda rows, columns, r, s, u, least=least: max(least, rows.var() - r / u)
                ),
                f"`var()` divides by the number of rows. {DDOF}",
            )
            for least in (0.0, -np.inf)
        ),
        *(
            (
                variances_with(
                    users=lambda rows, columns, r, s, u, least=least: max(
                        least, columns.var() - r / s
                    )
                ),
                f"`var()` divides by the number of columns. {DDOF}",
            )
            for least in (0.0, -np.inf)
        ),
        (
            variances_with(seeds=lambda rows, columns, r, s, u: max(0.0, rows.var(ddof=1) - r)),
            "`rest` taken away whole. A row's mean is over `n_users` values.",
        ),
        (
            variances_with(users=lambda rows, columns, r, s, u: max(0.0, columns.var(ddof=1) - r)),
            "`rest` taken away whole. A column's mean is over `n_seeds` values.",
        ),
        (
            variances_with(seeds=lambda rows, columns, r, s, u: max(0.0, rows.var(ddof=1) - r / s)),
            "`rest / n_seeds` taken away from rows. A row's mean is over `n_users` values.",
        ),
        (
            variances_with(
                users=lambda rows, columns, r, s, u: max(0.0, columns.var(ddof=1) - r / u)
            ),
            "`rest / n_users` taken away from columns. A column's mean is over `n_seeds` values.",
        ),
    ],
)

EXERCISES = {"10.1": SCORES, "10.2": ROW, "10.3": VARIANCES}
