"""Where vectors lie: nearest neighbours, and a picture of a codebook."""

import numpy as np
import torch

from letterlib.errors import LetterError
from letterlib.evaluation.ranking import top_k

_ROWS = 1024  # compared with the catalogue at a time


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows divided by their length, float64 [n, d]; a row shorter than 1e-12 stays near zero.

    vectors: float [n, d]. NaN or infinity is a LetterError.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if not np.isfinite(vectors).all():
        row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise LetterError(f"vectors: row {row} holds NaN or infinity")
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest(vectors: np.ndarray, k: int) -> np.ndarray:
    """The k other items with the highest cosine, best first, ties by the lower id: int64 [n, k].

    vectors: float [n, d], with more than k rows. Cosines equal in twelve decimals are a tie.
    """
    unit = unit_rows(vectors)
    found = np.empty((len(unit), k), dtype=np.int64)
    for start in range(0, len(unit), _ROWS):
        cosines = unit[start : start + _ROWS] @ unit.T
        np.round(cosines, 12, out=cosines)  # products of equal rows may differ in the last bit
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        found[start : start + _ROWS] = top_k(torch.from_numpy(cosines), k)[1]
    return found


def neighbour_overlap(first: np.ndarray, second: np.ndarray, k: int) -> np.ndarray:
    """Share of each item's k nearest neighbours that two spaces agree on: float64 [n].

    first, second: float [n, d1] and [n, d2], the same items in the same order. By chance it is
    k / (n - 1).
    """
    a, b = nearest(first, k), nearest(second, k)
    return (a[:, :, None] == b[:, None, :]).any(axis=2).mean(axis=1)


def sphere_projection(codebook: np.ndarray) -> np.ndarray:
    """Codes projected to their first three principal components, then to the unit sphere.

    The picture of LETTER's figure on code embeddings, with and without L_Div.
    codebook: float [n_codes, d], both at least 3. Returns float64 [n_codes, 3], rows of length 1.
    """
    codebook = np.asarray(codebook, dtype=np.float64)
    centred = codebook - codebook.mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2]
    # A singular vector's sign is arbitrary; fixing it keeps the picture the same on every machine.
    largest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]
    return unit_rows(centred @ directions[:3].T)
