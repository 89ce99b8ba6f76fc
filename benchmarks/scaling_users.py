"""Training and decoding against the number of users: a thousand to a million synthetic ones."""

from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.beauty import BATCH, Beauty, nothing_held_out
from benchmarks.common import Row, Settings, peak_memory, row_of_curve, timed
from letterlib.data.dataset import Dataset, Sequences
from letterlib.generators.tiger import Tiger, TigerConfig


def synthetic(beauty: Beauty, n_users: int, seed: int) -> Dataset:
    """n users with as many items as users of Beauty have, the items drawn from its catalogue by
    popularity.
    """
    generator = np.random.default_rng([seed, n_users])
    lengths = generator.choice(beauty.dataset.sequences.lengths, n_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    # An item of a random interaction is an item drawn by popularity.
    values = generator.choice(beauty.dataset.sequences.values, offsets[-1])
    # The labels serve error messages alone, and a range costs nothing.
    return replace(beauty.dataset, sequences=Sequences(values, offsets), user_labels=range(n_users))


def measure(settings: Settings) -> list[Row]:
    beauty = Beauty.load(settings)
    n_examples, n_decoded = settings.pick((8_192, 512), (512, 64))
    config = TigerConfig(epochs=1, examples=n_examples, batch_size=BATCH)
    # The first fit allocates memory and chooses kernels.
    warm = config.model_copy(update={"examples": BATCH})
    Tiger(beauty.identifiers, warm, settings.seed, "cpu").fit(beauty.training_part())
    points = []
    for n in (10**power for power in range(3, settings.pick(7, 5))):
        points.append(_point(beauty, n, config, n_decoded, settings.seed))
    return _rows(points, n_examples, n_decoded, settings)


def _point(
    beauty: Beauty, n: int, config: TigerConfig, n_decoded: int, seed: int
) -> dict[str, float]:
    """Everything about one number of users. Seconds of an epoch and of decoding are scaled from the
    sample.
    """
    dataset = synthetic(beauty, n, seed)
    held: dict[str, object] = {}

    def structures() -> None:
        split = dataset.split()
        held.update(
            split=nothing_held_out(replace(dataset, sequences=split.train)),
            test=split.cases("test"),
        )
        held.update(cases=len(held["split"].cases("train")))

    prepare = timed(structures)
    trained = min(config.examples, held["cases"])
    tiger = Tiger(beauty.identifiers, config, seed, "cpu")
    fit = timed(lambda: tiger.fit(held["split"]))
    cases = held["test"].without_targets().sample(n_decoded, seed)
    decode = timed(lambda: tiger.recommend(cases, 10))
    return {
        "users": n,
        "cases": held["cases"],
        "prepare_s": prepare,
        "examples_per_s": trained / fit,
        "epoch_s": fit * held["cases"] / trained,
        "users_per_s": len(cases) / decode,
        "decode_all_s": decode * n / len(cases),
        "peak_memory_gb": peak_memory(),
    }


def _rows(
    points: list[dict[str, float]], n_examples: int, n_decoded: int, settings: Settings
) -> list[Row]:
    row = partial(row_of_curve, points, "users")
    sample = (
        "synthetic users with Beauty's lengths and popularities, the paper's TIGER, Beauty's "
        "identifiers; no peer."
    )
    trained = f"{sample} Tiger.fit on {n_examples:,} of the cases; an epoch is scaled from it."
    decoded = f"{sample} Tiger.recommend (10 items, beam 20) for {n_decoded} users."
    prepared = {"better": "less", "note": f"{sample} All users, nothing sampled."}
    memory = {"better": "less", "note": "Of the whole process, all sizes up to this one."}
    return [
        row("examples_per_s", "Training", "examples/s", dtype="auto", note=trained),
        row("users_per_s", "Decoding", "users/s", note=decoded),
        row("prepare_s", "Split and cases", "s", **prepared),
        row("peak_memory_gb", "Peak memory", "GB", **memory),
    ]
