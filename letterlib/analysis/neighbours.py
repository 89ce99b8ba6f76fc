"""Which items lie close to which, in one space and in another."""

import numpy as np
import torch

from letterlib.errors import LetterError
from letterlib.evaluation.ranking import top_k

_ROWS = 1024  # compared with the catalogue at a time


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their length, float64. vectors: float [n, d].

    A zero row stays zero, and a row shorter than 1e-12 does not reach length 1.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if vectors.ndim != 2:
        raise LetterError(
            f"vectors: neighbours need a table [items, dimensions], not {vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise LetterError(
            f"vectors: row {row} holds NaN or infinity; neighbours need vectors without NaN"
        )
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest(vectors: np.ndarray, k: int) -> np.ndarray:
    """The k other items with the highest cosine, best first, ties by the lower id: int64 [n, k].

    vectors: float [n, d], with more than k rows. Cosines that agree in twelve decimals are a tie.
    """
    unit = unit_rows(vectors)
    if not 1 <= k < len(unit):
        raise LetterError(
            f"k={k}: between 1 and {len(unit) - 1} neighbours can be asked for among {len(unit)} items"
        )
    found = np.empty((len(unit), k), dtype=np.int64)
    for start in range(0, len(unit), _ROWS):
        cosines = unit[start : start + _ROWS] @ unit.T
        np.round(
            cosines, 12, out=cosines
        )  # the product of equal rows may differ in the last bit from place to place
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        found[start : start + _ROWS] = top_k(torch.from_numpy(cosines), k)[1]
    return found


def neighbour_overlap(first: np.ndarray, second: np.ndarray, k: int) -> np.ndarray:
    """Share of each item's k nearest neighbours that two spaces agree on: float64 [n].

    first, second: float [n, d1] and [n, d2], the same items in the same order. By chance it is k /
    (n - 1).
    """
    if len(first) != len(second):
        raise LetterError(
            f"{len(first):,} items in one space, {len(second):,} in the other: give the same items"
        )
    a, b = nearest(first, k), nearest(second, k)
    return (a[:, :, None] == b[:, None, :]).any(axis=2).mean(axis=1)
