"""Training SASRec on Beauty: examples per second beside cornac's."""

from dataclasses import replace

import numpy as np
from cornac.models import SASRec as CornacSASRec

from benchmarks.beauty import Beauty, nothing_held_out
from benchmarks.common import Row, Settings, alternate, named, timed
from benchmarks.train_cornac import cornac_sessions
from letterlib.baselines.sasrec import SASRec, SASRecConfig
from letterlib.data.dataset import Sequences
from letterlib.train import resolve_device, resolve_dtype

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
    spreads = alternate(runs, settings.pick(3, 1))
    counts = (n_examples, n_sample, len(sample))
    return [_row(settings, dtype, spreads, *counts) for dtype in runs if dtype != "peer"]


def _row(
    settings: Settings, dtype: str, spreads: dict, n_ours: int, n_peer: int, n_users: int
) -> Row:
    used = str(resolve_dtype(dtype, resolve_device("cpu"))).removeprefix("torch.")
    return Row(
        what="SASRec training, Beauty" + ("" if dtype == "auto" else ", ours in float32"),
        unit="examples/s",
        ours=spreads[dtype],
        peer=spreads["peer"],
        peer_name=named("cornac") + " SASRec",
        goal=3.0 if dtype == "auto" else None,
        threads=settings.threads,
        dtype=f"ours {used} ({dtype}), cornac float32",
        note=f"an example is one predicted item; d {WIDTH}, {LAYERS} layers, {HEADS} heads, "
        f"dropout {DROPOUT}, history "
        f"{LENGTH}, {BATCH} examples per step, softmax cross-entropy. Ours: SASRec.fit, one epoch "
        f"({n_ours:,} "
        "examples), softmax over all 12,101 items, every position of a history learnt in one "
        "pass, feed-forward four "
        f"times as wide. cornac: fit on {n_users:,} users ({n_peer:,} examples), loss 'ce' over "
        "the batch's "
        "targets and 2,048 sampled items (its default), a padded row of 50 places for every "
        "example, feed-forward as "
        "wide as the model.",
        check=(
            "not comparable number by number: the losses have different denominators, ours the "
            "harder one"
        ),
    )
