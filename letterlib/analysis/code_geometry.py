"""Where the codes of one level lie: the picture of LETTER's figure on code embeddings, with and
without L_Div.
"""

import numpy as np

from letterlib.errors import LetterError


def sphere_projection(codebook: np.ndarray) -> np.ndarray:
    """Project code embeddings to their first three principal components and from there to the unit
    sphere.

    codebook: float [n_codes, d], d >= 3. Returns points [n_codes, 3] of length 1 (a code at the
    very centre stays there).
    """
    codebook = np.asarray(codebook)
    rounding = 4 * np.finfo(np.result_type(codebook, np.float32)).eps
    codebook = codebook.astype(np.float64)
    if codebook.ndim != 2 or min(codebook.shape) < 3:
        raise LetterError(
            f"codebook: a projection to a sphere needs at least 3 codes of 3 dimensions, not {codebook.shape}"
        )
    if not np.isfinite(codebook).all():
        row = int(np.argmin(np.isfinite(codebook).all(axis=1)))
        raise LetterError(
            f"codebook: code {row} holds NaN or infinity; a projection to a sphere needs finite numbers"
        )
    centred = codebook - codebook.mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2]
    # A singular vector's sign is arbitrary; fixing it keeps the picture the same on every machine.
    largest = np.abs(directions).argmax(axis=1)
    directions = directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]
    points = centred @ directions[:3].T
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    lengths[lengths <= rounding * np.abs(codebook).max()] = np.inf  # the centre, but for rounding
    return points / lengths
