"""Whether vectors spread out in all directions or crowd into a cone, and which items are
everybody's neighbours.
"""

import numpy as np

from letterlib.analysis.neighbours import unit_rows
from letterlib.errors import LetterError


def mean_cosine(vectors: np.ndarray) -> float:
    """Mean cosine over all pairs of different rows, in one pass: 0 where directions are spread
    evenly.

    vectors: float [n, d], n >= 2. The squared length of the sum of the unit rows is the sum of all
    n * n cosines, and the n cosines of a row with itself are 1 (a zero row has none).
    """
    unit = unit_rows(vectors)
    n = len(unit)
    if n < 2:
        raise LetterError(f"vectors: a mean over pairs needs at least 2 rows, not {n}")
    return float((np.square(unit.sum(axis=0)).sum() - np.square(unit).sum()) / (n * (n - 1)))


def mean_share(vectors: np.ndarray) -> float:
    """How much of the rows' mean squared length lies in their mean vector: between 0 (centred) and
    1 (all equal).

    vectors: float [n, d]. Nothing but zeros, or a NaN or infinity among them, is a LetterError.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    energy = np.square(vectors).sum(axis=1).mean()
    if not 0 < energy < np.inf:
        raise LetterError(
            "vectors: all rows are zero or some hold NaN or infinity, so nothing can be shared out"
        )
    return float(np.square(vectors.mean(axis=0)).sum() / energy)


def times_neighbour(neighbours: np.ndarray) -> np.ndarray:
    """In how many items' lists each item stands: int64 [n]. neighbours: int64 [n, k], as `nearest`
    returns them.
    """
    return np.bincount(neighbours.ravel(), minlength=len(neighbours))
