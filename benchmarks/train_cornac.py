"""Training TIGER on the authors' identifiers: examples per second, and cornac's LETTER
generator.
"""

import time

import numpy as np
from cornac.data import FeatureModality, SequentialDataset
from cornac.models import LETTER
from cornac.models.letter import LETTER_BEAUTY_CONFIG

from benchmarks.beauty import BATCH, Beauty
from benchmarks.common import Row, Settings, alone, alternate, rows_by_dtype, timed
from letterlib.data.dataset import Sequences
from letterlib.data.flat_arrays import places_within
from letterlib.generators.tiger import Tiger, TigerConfig


class SampledLetter(LETTER):
    """cornac's LETTER, trained by its own code on a fixed number of its own training rows.

    `started` is when the rows were ready and the model was built: what follows in `fit` is training
    alone.
    """

    n_rows = BATCH
    started = 0.0

    def _training_rows(self):
        rows = super()._training_rows()
        chosen = np.random.default_rng(self.seed).choice(len(rows), self.n_rows, replace=False)
        rows = [rows[i] for i in chosen]
        self.started = time.perf_counter()
        return rows


def cornac_sessions(train: Sequences, n_items: int) -> SequentialDataset:
    """Every user's training part as one session; cornac's item numbers are ours."""
    users, within = train.owners, places_within(train.lengths)
    rows = list(
        zip(users.tolist(), users.tolist(), train.values.tolist(), within.tolist(), strict=True)
    )
    return SequentialDataset.build(
        rows, fmt="USIT", global_iid_map={item: item for item in range(n_items)}
    )


def cornac_speed(settings: Settings, n: int) -> float:
    """cornac's examples per second on n of them; without --quick a first batch, not counted, comes
    before.
    """
    beauty = Beauty.load(settings)
    split = beauty.training_part()
    sessions = cornac_sessions(split.train, split.n_items)
    # With identifiers given, cornac reads no features, but asks for some.
    sessions.item_feature = FeatureModality(features=np.zeros((split.n_items, 1), np.float32))
    changed = {
        "gradient_accumulation_steps": 1,
        "batch_size": BATCH,
        "n_epochs": 1,
        "seed": settings.seed,
    }
    codes = beauty.identifiers.codes
    for n_rows in settings.pick((BATCH, n), (n,)):
        model = SampledLetter(
            **{**LETTER_BEAUTY_CONFIG, **changed}, precomputed_semantic_ids=codes, device="cpu"
        )
        model.n_rows = n_rows
        model.fit(sessions)
        seconds = time.perf_counter() - model.started
    return n / seconds


def measure(settings: Settings) -> list[Row]:
    beauty = Beauty.load(settings)
    split = beauty.training_part()
    batches = {
        "auto": settings.pick(32, 2),
        "float32": settings.pick(8, 1),
        "peer": settings.pick(4, 1),
    }

    def ours(dtype: str, n: int) -> float:
        config = TigerConfig(epochs=1, examples=n, batch_size=BATCH, dtype=dtype)
        tiger = Tiger(beauty.identifiers, config, settings.seed, device="cpu")
        return n / timed(lambda: tiger.fit(split))

    ours("auto", BATCH), ours("float32", BATCH)  # a first pass allocates memory and chooses kernels
    runs = {
        "auto": lambda: ours("auto", batches["auto"] * BATCH),
        "float32": lambda: ours("float32", batches["float32"] * BATCH),
        "peer": lambda: alone(cornac_speed, settings, batches["peer"] * BATCH),
    }
    return rows_by_dtype(
        alternate(runs, settings.pick(3, 1)),
        what="TIGER training, Beauty, authors' identifiers",
        unit="examples/s",
        goal=12.0,
        peer="cornac LETTER",
        note=lambda dtype: (
            "both: 4+4 layers, d 128, ff 1024, 6 heads of 64, dropout .1, a step per batch of "
            f"{BATCH}, cases drawn from the 131,413 of training. Ours: Tiger.fit on "
            f"{batches[dtype]} batches, set-up included (cases of like length share a batch; "
            "dropout masks are shared by a sequence's positions). cornac: its own fit with its "
            "Beauty defaults (vocabulary of 32,100 words and the codes; one step per batch instead "
            f"of per four) on {batches['peer']} batch(es) padded to their longest history, set-up "
            "left out, in a process of its own."
        ),
        check=lambda dtype: "same architecture, identifiers and cases; train_t5 compares losses",
    )
