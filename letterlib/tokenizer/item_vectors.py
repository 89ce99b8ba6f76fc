"""The two inputs of the tokenizer: what is checked, and how they are scaled. Pure functions."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from letterlib.errors import LetterError


def check_item_vectors(semantic: np.ndarray, collaborative: np.ndarray | None, dim: int) -> None:
    """Refuse vectors that are not finite or do not match.

    semantic: [n_items, d]; collaborative: [n_items, dim] or None, row = item id in both.
    """
    check_rows("semantic embeddings", semantic)
    if collaborative is None:
        return
    check_rows("collaborative embeddings", collaborative)
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


def check_rows(what: str, x: np.ndarray) -> None:
    """LetterError unless x is a table of finite numbers [n_items, d]. what: its name in the error."""
    if x.ndim != 2 or not x.size:
        raise LetterError(f"{what}: expected numbers [n_items, dimensions], not {x.shape}")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise LetterError(
            f"{what}: row {bad[0]} has NaN or infinite numbers ({len(bad):,} such rows); make the embeddings again"
        )


@dataclass(frozen=True)
class Standardization:
    """Centring by the mean of each column, and division by one standard deviation of all numbers,
    of some fitted rows.

    One deviation for all, because columns of their own scale would weigh noise as much as meaning.
    Without it unit-norm rows of 384 numbers would make L_Recon about .0026 beside an L_CF near ln
    1024, and alpha would mean nothing. mean: float64 [d].
    """

    mean: np.ndarray
    scale: float

    @classmethod
    def of(cls, fitted: np.ndarray) -> Self:
        """That of float rows [n, d]. Rows that are all equal are a LetterError."""
        mean = fitted.mean(axis=0, dtype=np.float64)
        scale = float((fitted.astype(np.float64) - mean).std())
        if (
            fitted == fitted[0]
        ).all():  # the scale of equal rows is that of rounding, which depends on their size
            raise LetterError(
                "semantic embeddings: all rows are equal, there is nothing to tell items apart by"
            )
        return cls(mean, scale)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Of any rows, fitted or not: float [n, d] -> float32 [n, d]. NaN or another width is a
        LetterError.
        """
        x = np.asarray(x)
        if x.ndim != 2 or x.shape[1] != len(self.mean):
            raise LetterError(
                f"semantic embeddings: expected rows of {len(self.mean)} numbers, as those that the model was fitted "
                f"on, not {x.shape}; use the same encoder"
            )
        if len(x):
            check_rows("semantic embeddings", x)
        return ((x.astype(np.float64) - self.mean) / self.scale).astype(np.float32)


def standardize(x: np.ndarray) -> np.ndarray:
    """Rows in the `Standardization` of their own: float32, same shape."""
    return Standardization.of(x)(x)


def to_unit_mean_norm(x: np.ndarray) -> np.ndarray:
    """Divide all rows by their mean Euclidean norm: float32, same shape.

    The logits of L_CF are dot products, so the scale of a CF model would act as a temperature. With
    this alpha means the same for every CF model. (The authors use SASRec's vectors as they are;
    theirs have a mean norm of 0.78.)
    """
    norm = float(np.linalg.norm(x.astype(np.float64), axis=1).mean())
    if norm < 1e-12:
        raise LetterError(
            "collaborative embeddings: all rows are zero; train the collaborative model first"
        )
    return (x / norm).astype(np.float32)
