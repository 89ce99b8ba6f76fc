"""Decoding against the size of the catalogue: a thousand to a million items with random
identifiers.
"""

from statistics import median

import numpy as np

from benchmarks.beauty import LEVEL_SIZES
from benchmarks.common import Row, Settings, Spread, peak_memory, timed
from benchmarks.trie import random_codes
from letterlib.data.dataset import Cases
from letterlib.generators.tiger import Tiger, TigerConfig
from letterlib.tokenizer.identifiers import Identifiers

K, BEAM = 10, 20


def random_cases(n: int, n_items: int, seed: int) -> Cases:
    """n histories of random items, geometric lengths with mean 7, as most are in Beauty (mean 6.9,
    median 4).
    """
    generator = np.random.default_rng([seed, n_items])
    lengths = generator.geometric(1 / 7, n)
    return Cases.from_histories(generator.integers(0, n_items, length) for length in lengths)


def measure(settings: Settings) -> list[Row]:
    n_users = settings.pick(512, 64)
    points = [_point(10**power, n_users, settings) for power in range(3, settings.pick(7, 6))]
    most = points[-1]

    def row(what: str, unit: str, key: str, better: str, note: str) -> Row:
        told = "; ".join(f"{p['items']:,}: {p[key]:.3g}" for p in points)
        return Row(
            f"{what}, {most['items']:,} items",
            unit,
            Spread((most[key],)),
            better=better,
            threads=settings.threads,
            dtype="float32",
            note=note,
            check=told,
            series=points if key == "users_per_s" else [],
        )

    sample = (
        f"the paper's TIGER, untrained, random identifiers of 4 x 256 codes, {n_users} "
        "users, 10 items, beam 20."
    )
    return [
        row("Decoding", "users/s", "users_per_s", "more", f"{sample} No peer."),
        row(
            "Setting up (checks and trie)", "s", "setup_s", "less", "Tiger(Identifiers(...), ...)."
        ),
        row(
            "Peak memory",
            "GB",
            "peak_memory_gb",
            "less",
            "Of the whole process, all sizes up to this one.",
        ),
    ]


def _point(n: int, n_users: int, settings: Settings) -> dict[str, float]:
    codes, made = random_codes(n, LEVEL_SIZES, settings.seed), []
    setup = timed(
        lambda: made.append(
            Tiger(Identifiers(codes, LEVEL_SIZES), TigerConfig(), settings.seed, "cpu")
        )
    )
    tiger, cases = made[0], random_cases(n_users, n, settings.seed)
    tiger.recommend(cases[:16], K, beam=BEAM)
    seconds = median(
        timed(lambda: tiger.recommend(cases, K, beam=BEAM)) for _ in range(settings.pick(3, 1))
    )
    return {
        "items": n,
        "setup_s": setup,
        "users_per_s": n_users / seconds,
        "peak_memory_gb": peak_memory(),
    }
