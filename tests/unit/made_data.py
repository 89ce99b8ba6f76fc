"""Data sets made by hand, for tests."""

from pathlib import Path

import numpy as np
import pandas as pd

from letterlib.data.dataset import Dataset, Sequences
from letterlib.data.released import write_released


def made(sequences: list[list[int]], n_items: int) -> Dataset:
    """A data set of these sequences, whose items have no text."""
    labels = [f"user {i}" for i in range(len(sequences))]
    return Dataset(
        "made", Sequences.from_lists(sequences), pd.DataFrame(index=range(n_items)), "made", labels
    )


def write_made_data(folder: Path, shortest: int = 6) -> Path:
    """A data set of 60 users and 30 items, in the released format. The last user has had
    everything.
    """
    random = np.random.default_rng(0)
    lists = [random.permutation(30)[: shortest + u % 9] for u in range(59)] + [np.arange(30)]
    titles = [f"thing number {i}" for i in range(30)]
    items = pd.DataFrame({"title": titles, "text": titles})
    write_released(
        Dataset("made", Sequences.from_lists(lists), items, "made", [str(u) for u in range(60)]),
        folder,
    )
    return folder
