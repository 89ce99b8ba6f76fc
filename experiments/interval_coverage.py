"""How often does a 95% interval over users and seeds leave zero out, where there is no difference
at all?

    python experiments/interval_coverage.py --out experiments/results/interval-coverage.json

A difference of two systems is drawn as what a seed, a user and the two together add to it, all
normal with mean 0; `paired_difference` is then asked for its interval. A good one leaves 0 out in
5% of the drawings, a cautious one in fewer. `share` is the part of the variance of the mean that
the seeds bring. Of the rest, what neither explains has 13 times the variance of users, as it has in
R@10 of LETTER-TIGER against TIGER on MovieLens (`variance_parts`, lesson 10).
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from letterlib.cli import run_script
from letterlib.evaluation.bootstrap import paired_difference
from letterlib.progress import progress
from letterlib.store import write_json

USERS, REST = 200, 13.0
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def drawn(random: np.random.Generator, n_seeds: int, share: float) -> np.ndarray:
    """A difference for every seed and user, [n_seeds, USERS], whose mean has variance 1 and
    expectation 0.
    """
    user = (1 - share) * USERS / (1 + REST / n_seeds)
    seeds = random.normal(0, np.sqrt(share * n_seeds), (n_seeds, 1))
    users = random.normal(0, np.sqrt(user), USERS)
    return seeds + users + random.normal(0, np.sqrt(REST * user), (n_seeds, USERS))


def main(
    out: Annotated[Path, typer.Option(help="the JSON file to write")],
    drawings: Annotated[int, typer.Option(min=1, help="for each row")] = 1000,
) -> None:
    rows = []
    for n_seeds in (3, 5, 10):
        for share in progress(SHARES, what=f"{n_seeds} seeds"):
            random = np.random.default_rng([n_seeds, int(100 * share)])
            zeros = np.zeros((n_seeds, USERS))
            wrong = sum(
                paired_difference(
                    drawn(random, n_seeds, share), zeros, np.arange(USERS), i
                ).excludes_zero
                for i in range(drawings)
            )
            rows.append({"seeds": n_seeds, "share": share, "zero left out": wrong / drawings})
    write_json(out, {"users": USERS, "drawings": drawings, "rest": REST, "rows": rows})


if __name__ == "__main__":
    run_script(main)
