"""Decoding against the size of the catalogue: a thousand to a million items with random
identifiers.
"""

from functools import partial
from statistics import median

import numpy as np

from benchmarks.beauty import LEVEL_SIZES
from benchmarks.common import Row, Settings, peak_memory, row_of_curve, timed
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
    row = partial(row_of_curve, points, "items")
    sample = (
        "the paper's TIGER, untrained, random identifiers of 4 x 256 codes, "
        f"{n_users} users, 10 items, beam 20. No peer."
    )
    setup = {"better": "less", "note": "Tiger(Identifiers(...), ...)."}
    memory = {"better": "less", "note": "Of the whole process, all sizes up to this one."}
    return [
        row("users_per_s", "Decoding", "users/s", note=sample),
        row("setup_s", "Setting up (checks and trie)", "s", **setup),
        row("peak_memory_gb", "Peak memory", "GB", **memory),
    ]


def _point(n: int, n_users: int, settings: Settings) -> dict[str, float]:
    codes, made = random_codes(n, LEVEL_SIZES, settings.seed), []

    def set_up() -> None:
        identifiers = Identifiers(codes, LEVEL_SIZES)
        made.append(Tiger(identifiers, TigerConfig(), settings.seed, "cpu"))

    setup = timed(set_up)
    tiger, cases = made[0], random_cases(n_users, n, settings.seed)
    tiger.recommend(cases[:16], K, beam=BEAM)
    repeats = range(settings.pick(3, 1))
    seconds = median(timed(lambda: tiger.recommend(cases, K, beam=BEAM)) for _ in repeats)
    return {
        "items": n,
        "setup_s": setup,
        "users_per_s": n_users / seconds,
        "peak_memory_gb": peak_memory(),
    }
