"""What flat arrays with offsets need: the positions of their slices, and a lock."""

import numpy as np


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to: what many share, nobody changes by a `sort()` in place."""
    view = array.view()
    view.flags.writeable = False
    return view


def places_within(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ..., length - 1 for each of the lengths, end to end."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def positions_of(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The indices of the slices [starts[i], ends[i]), end to end."""
    return np.repeat(starts, ends - starts) + places_within(ends - starts)
