"""Flat arrays with offsets: `Sequences`, and the positions of slices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from letterlib.errors import LetterError


def read_only(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to, for arrays that callers share."""
    view = array.view()
    view.flags.writeable = False
    return view


def places_within(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ..., length - 1 for each of the lengths, end to end."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def positions_of(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The indices of the slices [starts[i], ends[i]), end to end."""
    return np.repeat(starts, ends - starts) + places_within(ends - starts)


def ids_of(values: Sequence[int], row: int) -> np.ndarray:
    """List `row` as int64. LetterError unless it is one list of whole numbers: NumPy alone would
    cut 3.7 to 3, read "7" as 7, and take a table of True and False for items 1 and 0.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise LetterError(f"list {row}: {values!r:.40} is no list of ids; write [[7, 2, 9]]")
    if array.dtype.kind in "iu":
        return array.astype(np.int64, copy=False)
    try:
        with np.errstate(invalid="ignore"):
            ids = array.astype(np.int64)
        whole = array.dtype.kind in "fO" and bool((ids == array).all())
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise LetterError(f"list {row}: {values!r:.40} has other than ids, whole numbers from 0")
    return ids


@dataclass(frozen=True, eq=False)
class Sequences:
    """Integer sequences of different lengths in one read-only array.

    values: int64 [total length].
    offsets: int64 [n + 1]; sequence i is `values[offsets[i]:offsets[i+1]]`.
    tied: bool [total length], whether each value has the same time as the one before it in its
        sequence; None where times are not known.
    """

    values: np.ndarray
    offsets: np.ndarray
    tied: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("values", "offsets"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int]]) -> "Sequences":
        """Sequences from lists of whole numbers; LetterError for anything else."""
        arrays = [ids_of(values, row) for row, values in enumerate(lists)]
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        return cls(np.concatenate([np.zeros(0, np.int64), *arrays]), offsets)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """Which sequence each of the values is in: int64 [total length]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        index = range(len(self))[index]  # -1 is the last sequence; outside is an IndexError
        return self.values[self.offsets[index] : self.offsets[index + 1]]
