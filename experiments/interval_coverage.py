"""How often does a 95% interval over users and seeds hold the true difference, and how often does
it exclude zero where there is none?

    python experiments/interval_coverage.py --out experiments/results/interval-coverage.json

Differences of known size are drawn, and `paired_difference` is asked for their interval. Next to it
stand Student's t over the seeds' means, and the wider of the two, which excludes zero if both do.

`rows`: a difference is what a seed, a user and the two together add, all normal with mean 0 (an A/A
comparison; with another mean every interval moves along). `share` is the part of the variance of
the mean that the seeds bring. Of the rest, what neither explains has 13 times the variance of
users, as it has in R@10 of LETTER-TIGER against TIGER on MovieLens (`variance_parts`, lesson 10).

`hits`: two systems answer five cases of each of 400 users. User u is hit with probability p_u,
drawn from a Beta distribution with mean .065. A trained model multiplies it by its own luck, normal
with mean 1 and deviation `spread`, and the second system by 1 + `effect` as well, so the true
difference is .065 times `effect`.

Intervals have 2,000 resamples instead of the library's 20,000, which is ten times as fast and moves
a rate by less than .001.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy import stats

from letterlib.cli import run_script
from letterlib.evaluation import bootstrap
from letterlib.evaluation.bootstrap import Interval, paired_difference
from letterlib.progress import progress
from letterlib.store import write_json

USERS, REST = 200, 13.0
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
HIT_USERS, CASES = 400, 5
RESAMPLES = 2000
RATE = (0.65, 9.35)
"""Of the Beta distribution of the users' rates; its mean is .065."""
SPREADS, EFFECTS = (0.0, 0.1), (0.0, 0.3)


def drawn(random: np.random.Generator, n_seeds: int, share: float) -> np.ndarray:
    """A difference for every seed and user, [n_seeds, USERS], whose mean has variance 1 and
    expectation 0.
    """
    user = (1 - share) * USERS / (1 + REST / n_seeds)
    seeds = random.normal(0, np.sqrt(share * n_seeds), (n_seeds, 1))
    users = random.normal(0, np.sqrt(user), USERS)
    return seeds + users + random.normal(0, np.sqrt(REST * user), (n_seeds, USERS))


def drawn_hits(
    random: np.random.Generator, n_seeds: int, spread: float, effect: float
) -> tuple[np.ndarray, np.ndarray]:
    """Hits of the second and of the first system: two arrays [n_seeds, HIT_USERS * CASES]."""
    rate = np.repeat(random.beta(*RATE, HIT_USERS), CASES)
    luck = random.normal(1, spread, (2, n_seeds, 1)) * np.array([1 + effect, 1])[:, None, None]
    hits = random.random((2, n_seeds, len(rate))) < (rate * luck).clip(0, 1)
    return hits[0].astype(float), hits[1].astype(float)


def students(difference: np.ndarray) -> Interval:
    """The 95% interval of Student's t over the seeds. difference: float [n_seeds >= 2, n_cases]."""
    means = difference.mean(axis=1)
    half = stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return Interval(means.mean(), means.mean() - half, means.mean() + half)


def rates(pairs: Any, users: np.ndarray, true: float) -> dict[str, float]:
    """How often intervals hold the true difference, and how often they exclude zero.

    pairs: of each drawing, the values of both systems, float [n_seeds, n_cases] each.
    users: int64 [n_cases].
    """
    found: dict[str, list[bool]] = {}
    for a, b in pairs:
        intervals = {"": paired_difference(a, b, users, 0)}  # resampled with the library's seed
        if len(a) > 1:
            t, own = students(a - b), intervals[""]
            wider = Interval(own.mean, min(t.low, own.low), max(t.high, own.high))
            intervals |= {", Student's t": t, ", wider of both": wider}
        for name, one in intervals.items():
            found.setdefault(f"holds the truth{name}", []).append(one.low <= true <= one.high)
            found.setdefault(f"zero left out{name}", []).append(one.excludes_zero)
    return {name: float(np.mean(answers)) for name, answers in found.items()}


def main(
    out: Annotated[Path, typer.Option(help="the JSON file to write")],
    drawings: Annotated[int, typer.Option(min=1, help="for each row")] = 2000,
) -> None:
    bootstrap.RESAMPLES = RESAMPLES
    users = np.arange(USERS)
    rows = []
    for n_seeds in (3, 5, 10):
        for share in progress(SHARES, what=f"{n_seeds} seeds"):
            random = np.random.default_rng([n_seeds, int(100 * share)])
            zeros = np.zeros((n_seeds, USERS))
            pairs = ((drawn(random, n_seeds, share), zeros) for _ in range(drawings))
            rows.append({"seeds": n_seeds, "share": share} | rates(pairs, users, 0.0))
    hits = []
    users = np.repeat(np.arange(HIT_USERS), CASES)
    for n_seeds in (1, 3, 5):
        for spread in progress(SPREADS, what=f"hits, {n_seeds} seeds"):
            for effect in EFFECTS:
                random = np.random.default_rng([n_seeds, int(100 * spread), int(100 * effect)])
                pairs = (drawn_hits(random, n_seeds, spread, effect) for _ in range(drawings))
                true = effect * RATE[0] / sum(RATE)
                row = {"seeds": n_seeds, "spread": spread, "effect": effect}
                hits.append(row | rates(pairs, users, true))
    sizes = {"users": USERS, "rest": REST, "hit users": HIT_USERS, "cases": CASES}
    sizes |= {"drawings": drawings, "resamples": RESAMPLES}
    write_json(out, sizes | {"rows": rows, "hits": hits})


if __name__ == "__main__":
    run_script(main)
