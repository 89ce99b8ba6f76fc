"""The two inputs of the tokenizer: what is checked, and how they are scaled. Pure functions."""

import numpy as np

from letterlib.errors import LetterError


def check_item_vectors(semantic: np.ndarray, collaborative: np.ndarray | None, dim: int) -> None:
    """Refuse vectors that are not finite or do not match.

    semantic: [n_items, d]; collaborative: [n_items, dim] or None, row = item id in both.
    """
    _check_rows("semantic embeddings", semantic)
    if collaborative is None:
        return
    _check_rows("collaborative embeddings", collaborative)
    if len(collaborative) != len(semantic):
        raise LetterError(
            f"{len(collaborative):,} rows of collaborative embeddings, but {len(semantic):,} of semantic ones; "
            "both need one row per item of the same data set"
        )
    if collaborative.shape[1] != dim:
        raise LetterError(
            f"collaborative embeddings have {collaborative.shape[1]} dimensions, but the codes have {dim}; "
            f"train the collaborative model with {dim}"
        )


def _check_rows(what: str, x: np.ndarray) -> None:
    if x.ndim != 2 or not x.size:
        raise LetterError(f"{what}: expected numbers [n_items, dimensions], not {x.shape}")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise LetterError(
            f"{what}: row {bad[0]} has NaN or infinite numbers ({len(bad):,} such rows); make the embeddings again"
        )


def standardize(x: np.ndarray) -> np.ndarray:
    """Centre the columns, then divide by one global standard deviation: float32, same shape.

    One for all, because columns of their own scale would weigh noise as much as meaning. Without it unit-norm
    rows of 384 numbers would make L_Recon about .0026 beside an L_CF near ln 1024, and alpha would mean nothing.
    """
    return standardize_like(x, x)


def standardize_like(x: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """`standardize`, with the mean and the standard deviation of other rows, those that a model was fitted on.

    x: float [n, d]; fitted: float [n_fitted, d]. Returns float32 [n, d].
    """
    mean = fitted.mean(axis=0, dtype=np.float64)
    scale = (fitted.astype(np.float64) - mean).std()
    if scale < 1e-12:
        raise LetterError("semantic embeddings: all rows are equal, there is nothing to tell items apart by")
    return ((x.astype(np.float64) - mean) / scale).astype(np.float32)


def to_unit_mean_norm(x: np.ndarray) -> np.ndarray:
    """Divide all rows by their mean Euclidean norm: float32, same shape.

    The logits of L_CF are dot products, so the scale of a CF model would act as a temperature. With this alpha means
    the same for every CF model. (The authors use SASRec's vectors as they are; theirs have a mean norm of 0.78.)
    """
    norm = float(np.linalg.norm(x.astype(np.float64), axis=1).mean())
    if norm < 1e-12:
        raise LetterError("collaborative embeddings: all rows are zero; train the collaborative model first")
    return (x / norm).astype(np.float32)
