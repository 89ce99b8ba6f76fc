"""Items that nobody has had before the test part: drawn from a data set, and hidden until then."""

from dataclasses import replace

import numpy as np

from letterlib.data.dataset import SHORTEST, Dataset, Sequences
from letterlib.errors import LetterError


def draw_cold_items(train_counts: np.ndarray, share: float, seed: int) -> np.ndarray:
    """One item of every 1/share, drawn among items of about equal popularity: ids, int64 ascending.

    train_counts: int64 [n_items]. So the drawn items are neither better nor less known than the
    others, and the number of test cases that ask for them varies little from seed to seed.
    """
    if not 0 < share < 1:
        raise LetterError(
            f"share={share}: the share of items to hide must lie between 0 and 1, for instance 0.1"
        )
    order = np.argsort(-train_counts, kind="stable")
    blocks = np.array_split(order, max(1, round(share * len(order))))
    random = np.random.default_rng(seed)
    return np.sort([random.choice(block) for block in blocks])


def hide_until_test(dataset: Dataset, items: np.ndarray, held_out: int) -> Dataset:
    """The data set without `items` in any user's training and validation part; the test part is
    untouched.

    held_out: as in `Dataset.split`. A user who would become too short for a case loses the items
    altogether, since all that a short user has is training; one who is left with fewer than
    SHORTEST items is left out. The catalogue and its numbers stay the same.
    """
    if held_out < 1:
        raise LetterError(f"held_out must be at least 1, not {held_out}")
    hidden = np.zeros(dataset.n_items, dtype=bool)
    hidden[items] = True
    sequences, labels = [], []
    for user in range(dataset.n_users):
        all_items = dataset.sequences[user]
        before = all_items[:-held_out]
        kept = np.concatenate([before[~hidden[before]], all_items[-held_out:]])
        if len(kept) < 2 * held_out + 1:
            kept = all_items[~hidden[all_items]]
        if len(kept) >= SHORTEST:
            sequences.append(kept)
            labels.append(dataset.user_labels[user])
    source = (
        f"{dataset.source}; items hidden before the last {held_out} of every user: {hidden.sum():,}"
    )
    if left_out := dataset.n_users - len(labels):
        source += f"; users left out, who had hardly anything else: {left_out:,}"
    return replace(
        dataset, sequences=Sequences.from_lists(sequences), source=source, user_labels=labels
    )
