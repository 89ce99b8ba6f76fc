"""Data sets made by hand, for tests."""

import pandas as pd

from letterlib.data.dataset import Dataset, Sequences


def made(sequences: list[list[int]], n_items: int) -> Dataset:
    """A data set of these sequences, whose items have no text."""
    labels = [f"user {i}" for i in range(len(sequences))]
    return Dataset("made", Sequences.from_lists(sequences), pd.DataFrame(index=range(n_items)), "made", labels)
