"""Flat arrays with offsets: `Sequences`, ids from lists, the positions of slices, and a lock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from letterlib.errors import LetterError


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


def ids_of(one: Sequence[int], row: int) -> np.ndarray:
    """List `row` as int64. LetterError for other than whole numbers: NumPy alone would cut 3.7 to
    3, and read "7" as 7, and of a table of who has what, all True and False, it would make items 1
    and 0.
    """
    try:
        array = np.asarray(one)
    except ValueError:  # lists of several lengths in it
        array = np.zeros((0, 0))
    if array.ndim != 1:
        raise LetterError(
            f"list {row}: {one!r:.40} is no list of ids; one list alone is [[7, 2, 9]]"
        )
    unsure = (
        () if array.dtype.kind in "iu" and np.can_cast(array.dtype, np.int64) else array.tolist()
    )
    if odd := [x for x in unsure if not _is_whole(x)]:
        raise LetterError(f"list {row}: {odd[0]!r:.40} is not an id; ids are whole numbers from 0")
    return array.astype(np.int64, copy=False)


def _is_whole(x: object) -> bool:
    if isinstance(x, bool | np.bool_) or not isinstance(x, int | float | np.integer):
        return False
    return not x % 1 and abs(x) < 2**63


@dataclass(frozen=True, eq=False)
class Sequences:
    """Variable-length integer sequences in one array: sequence i is
    `values[offsets[i]:offsets[i+1]]`, to be read only.

    A split, its cases and every model share the array, and the cache is keyed by what it held at
    first.
    """

    values: np.ndarray  # int64 [total length]
    offsets: np.ndarray  # int64 [n + 1]

    def __post_init__(self) -> None:
        for name in ("values", "offsets"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int]]) -> "Sequences":
        """LetterError for what is no list of whole numbers, as `ids_of` has it."""
        arrays = [ids_of(one, row) for row, one in enumerate(lists)]
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
