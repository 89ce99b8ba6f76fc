"""Our identifiers beside released ones: one measure for all, and clear words where files are
missing.
"""

import numpy as np

from letterlib.analysis.collaborative_signal import nearest_neighbours
from letterlib.pipeline.released_comparison import (
    measures,
)
from letterlib.tokenizer.identifiers import Identifiers


def test_measures_of_identifiers_that_follow_one_of_two_spaces():
    """Items in two blocks of one space, and pairs across the blocks in the other: codes follow the
    blocks.
    """
    block = np.repeat([0, 1], 4)
    meaning = nearest_neighbours(np.stack([1 - block, block, np.arange(8) / 100], axis=1))
    audience = nearest_neighbours(np.eye(4)[np.arange(8) % 4])
    row = measures(Identifiers(np.stack([block, np.arange(8)], axis=1), (2, 8)), meaning, audience)
    assert row["semantic"] == [1.0, 0.0] and row["collaborative"] == [0.0, 0.0]
    assert row["in_use"] == [2, 8] and row["perplexity"] == [2.0, 8.0]
    assert (row["items"], row["distinct"]) == (8, 8)
    assert row["random_pair"] == round((2 * 4 * 3 / (8 * 7) + 0) / 2, 4)
