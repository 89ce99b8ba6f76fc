"""What flat arrays with offsets need: ids from lists, the positions of their slices, and a lock."""

from collections.abc import Sequence

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
    """List `row` as int64. LetterError for other than whole numbers: NumPy alone would cut 3.7 to 3, and read "7" as 7,
    and of a table of who has what, all True and False, it would make items 1 and 0."""
    try:
        array = np.asarray(one)
    except ValueError:  # lists of several lengths in it
        array = np.zeros((0, 0))
    if array.ndim != 1:
        raise LetterError(f"list {row}: {one!r:.40} is no list of ids; one list alone is [[7, 2, 9]]")
    unsure = () if array.dtype.kind in "iu" and np.can_cast(array.dtype, np.int64) else array.tolist()
    if odd := [x for x in unsure if not _is_whole(x)]:
        raise LetterError(f"list {row}: {odd[0]!r:.40} is not an id; ids are whole numbers from 0")
    return array.astype(np.int64, copy=False)


def _is_whole(x: object) -> bool:
    if isinstance(x, bool | np.bool_) or not isinstance(x, int | float | np.integer):
        return False
    return not x % 1 and abs(x) < 2**63
