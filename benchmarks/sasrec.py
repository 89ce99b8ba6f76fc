"""Training SASRec on Beauty: examples per second, and cornac's."""

from dataclasses import replace

import numpy as np
from cornac.models import SASRec as CornacSASRec

from benchmarks.beauty import Beauty, nothing_held_out
from benchmarks.common import Row, Settings, alternate, rows_by_dtype, timed
from benchmarks.train_cornac import cornac_sessions
from letterlib.baselines.sasrec import SASRec, SASRecConfig
from letterlib.data.dataset import Sequences

WIDTH, LAYERS, HEADS, DROPOUT, LENGTH, BATCH = 128, 2, 2, 0.2, 50, 512


def some_users(train: Sequences, n: int, seed: int) -> Sequences:
    """The training parts of n users drawn at random."""
    chosen = np.random.default_rng(seed).permutation(len(train))[:n]
    return Sequences.from_lists(train[user] for user in chosen)


def measure(settings: Settings) -> list[Row]:
    beauty = Beauty.load(settings)
    split = beauty.training_part()
    if settings.quick:
        part = some_users(split.train, 2_000, settings.seed)
        few = replace(beauty.dataset, sequences=part, user_labels=range(len(part)))
        split = nothing_held_out(few)
    n_examples = int((split.train.lengths - 1).sum())
    sample = some_users(split.train, settings.pick(1_000, 200), settings.seed)
    sessions, n_sample = cornac_sessions(sample, split.n_items), int((sample.lengths - 1).sum())

    def ours(dtype: str) -> float:
        config = SASRecConfig(
            dimensions=WIDTH,
            n_layers=LAYERS,
            n_heads=HEADS,
            dropout=DROPOUT,
            history=LENGTH,
            batch_size=BATCH,
            epochs=1,
            dtype=dtype,
        )
        model = SASRec(config, settings.seed, "cpu")
        return n_examples / timed(lambda: model.fit(split))

    def peer(loss: str) -> float:
        model = CornacSASRec(
            embedding_dim=WIDTH,
            num_blocks=LAYERS,
            num_heads=HEADS,
            dropout=DROPOUT,
            max_len=LENGTH,
            loss=loss,
            batch_size=BATCH,
            n_epochs=1,
            seed=settings.seed,
        )
        return n_sample / timed(lambda: model.fit(sessions))

    runs = {
        "auto": lambda: ours("auto"),
        "float32": lambda: ours("float32"),
        "peer": lambda: peer("ce"),
    }
    if settings.quick:
        del runs["float32"]
    note = (
        f"an example is one predicted item; d {WIDTH}, {LAYERS} layers, {HEADS} heads, dropout "
        f"{DROPOUT}, history {LENGTH}, {BATCH} examples per step, softmax cross-entropy. Ours: "
        f"SASRec.fit, one epoch ({n_examples:,} examples), softmax over all 12,101 items, every "
        "position of a history learnt in one pass, feed-forward four times as wide. cornac: fit on "
        f"{len(sample):,} users ({n_sample:,} examples), loss 'ce' over the batch's targets and "
        "2,048 sampled items (its default), a padded row of 50 places for every example, "
        "feed-forward as wide as the model."
    )
    check = "not comparable: the losses have different denominators, ours the harder one"
    return rows_by_dtype(
        alternate(runs, settings.pick(3, 1)),
        what="SASRec training, Beauty",
        unit="examples/s",
        goal=3.0,
        peer="cornac SASRec",
        note=lambda dtype: note,
        check=lambda dtype: check,
    )
