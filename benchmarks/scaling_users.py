"""Training and decoding against the number of users: a thousand to a million synthetic ones."""

from dataclasses import replace

import numpy as np

from benchmarks.beauty import BATCH, Beauty, nothing_held_out
from benchmarks.common import Row, Settings, Spread, peak_memory, timed
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
    most, shared = points[-1], {"threads": settings.threads}
    sample = (
        "synthetic users with Beauty's lengths and popularities, the paper's TIGER, "
        "Beauty's identifiers; no peer."
    )

    def told(key: str) -> str:
        return "; ".join(f"{p['users']:,}: {p[key]:.3g}" for p in points)

    def row(what: str, unit: str, key: str, better: str, note: str) -> Row:
        dtype = "auto" if key == "examples_per_s" else "float32"
        return Row(
            f"{what}, {most['users']:,} users",
            unit,
            Spread((most[key],)),
            better=better,
            dtype=dtype,
            note=f"{sample} {note}",
            check=told(key),
            series=points if key == "examples_per_s" else [],
            **shared,
        )

    measured = (
        f"Tiger.fit on {n_examples:,} of the cases; an epoch's seconds in the curve are "
        "scaled from it."
    )
    decoded = (
        f"Tiger.recommend (10 items, beam 20) for {n_decoded} users; the curve is scaled from it."
    )
    return [
        row("Training", "examples/s", "examples_per_s", "more", measured),
        row("Decoding", "users/s", "users_per_s", "more", decoded),
        row("Split and cases", "s", "prepare_s", "less", "All users, nothing sampled."),
        row(
            "Peak memory",
            "GB",
            "peak_memory_gb",
            "less",
            "Of the whole process, all sizes up to this one.",
        ),
    ]
