"""`Ranking`, what every recommender returns, and `Recommender`, their common interface."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
import torch

from letterlib.data.dataset import NO_ITEM, Cases, Split
from letterlib.errors import LetterError, NotRanked
from letterlib.progress import progress
from letterlib.store import digest, load_table, save_table

ROWS = 256
"""Cases scored at a time: with a million items their scores take one or two gigabytes."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """The best K items of every case, best first.

    items: int64 [n_cases, K]; NO_ITEM where a system has no (further) item.
    scores: float32 [n_cases, K]; -inf where there is no item.
    valid: bool [n_cases, K]; False without an item: a generated identifier belongs to none, or
        nothing was generated.
    """

    items: np.ndarray
    scores: np.ndarray
    valid: np.ndarray

    @classmethod
    def of_items(cls, items: np.ndarray, scores: np.ndarray) -> "Ranking":
        """Lists of a system that answers with items, all of them valid.

        items: int [n_cases, K], shorter lists filled up with NO_ITEM; scores: float [n_cases, K].
        Other shapes or dtypes are a ValueError.
        """
        items, scores = np.asarray(items), np.asarray(scores, dtype=np.float32)
        if items.ndim != 2 or items.dtype.kind not in "iu" or items.shape != scores.shape:
            found = f"items are {items.dtype} {list(items.shape)}, scores {list(scores.shape)}"
            raise ValueError(f"{found}; items should be whole numbers, and both [n_cases, K]")
        return cls(items, scores, items != NO_ITEM)

    def __len__(self) -> int:
        return len(self.items)

    def save(self, path: str | Path) -> None:
        """One Parquet row per case with three list columns, and a hash of the content."""
        arrays = {"items": self.items, "scores": self.scores, "valid": self.valid}
        columns = {
            name: pa.array(list(array), pa.list_(pa.from_numpy_dtype(array.dtype)))
            for name, array in arrays.items()
        }
        content, places = digest(*arrays.values()), self.items.shape[1]
        save_table(path, pa.table(columns), {"content": content, "places": places})

    @classmethod
    def load(cls, path: str | Path) -> "Ranking":
        """Read what `save` wrote. A missing or damaged file is a LetterError."""
        table, known = load_table(path)
        try:
            shape = len(table), known["places"]
            flat = (table[n].combine_chunks().flatten() for n in ("items", "scores", "valid"))
            items, scores, valid = (
                column.to_numpy(zero_copy_only=False).reshape(shape).copy() for column in flat
            )
            if known["content"] != digest(items, scores, valid):
                raise ValueError("its content is not what was saved")
        except (KeyError, ValueError, TypeError) as error:
            raise LetterError(f"{path}: damaged, or not a ranking; make it again") from error
        return cls(items, scores, valid)


class Recommender(Protocol):
    """The interface of every system, conventional or generative."""

    def fit(self, split: Split) -> Self:
        """Learn from `split.train` (and choose a checkpoint on its validation cases)."""
        ...

    def recommend(self, cases: Cases, k: int, exclude_history: bool = False) -> Ranking:
        """Rank the whole catalogue for every case and return the best k, never an item twice.

        exclude_history: leave out the items of the case's own history.
        """
        ...


def top_k(scores: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Best k of every row, ties by the lower index (torch.topk leaves ties to chance).

    scores: float [rows, n]. Returns (values, indices), both [rows, min(k, n)].
    """
    n = scores.shape[1]
    if k >= n:
        values, indices = torch.sort(scores, dim=1, descending=True, stable=True)
        return values, indices
    values, indices = torch.topk(scores, k + 1, dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1)
    values, indices = values[:, :k].clone(), indices[:, :k].clone()
    if tied.any():
        all_values, all_indices = torch.sort(scores[tied], dim=1, descending=True, stable=True)
        values[tied], indices[tied] = all_values[:, :k], all_indices[:, :k]
    return values, indices


def check_histories(cases: Cases, n_items: int) -> None:
    """LetterError unless every item of every history is in the catalogue."""
    _, items = cases.flat_histories()
    outside = items[(items < 0) | (items >= n_items)]
    if len(outside):
        raise LetterError(
            f"history: item {outside[0]} is not in the catalogue (ids 0-{n_items - 1}); "
            "use item ids of the data set that the model was trained on"
        )


def refuse_nan(scores: torch.Tensor) -> None:
    """NotRanked, a LetterError and a ValueError, for scores that have no order."""
    if scores.isnan().any():
        raise NotRanked(
            "some scores are NaN and cannot be ranked: if training diverged, lower its "
            "learning rate"
        )


def rank_by_score(
    score: Callable[[Cases], torch.Tensor], cases: Cases, k: int, exclude_history: bool
) -> Ranking:
    """Rank the whole catalogue from dense scores.

    score: a function from `Cases` to a float tensor [len(cases), n_items]. Items with a score of
    -inf are left out. NaN, which torch would rank first, is an error.
    """
    all_items = np.full((len(cases), k), NO_ITEM)
    all_scores = np.full((len(cases), k), -np.inf, dtype=np.float32)
    with progress(what="ranking", total=len(cases), delay=2) as bar:
        for start in range(0, len(cases), ROWS):
            batch = cases[start : start + ROWS]
            scores = score(batch)
            if scores.ndim != 2 or len(scores) != len(batch):
                raise ValueError(
                    f"scores {list(scores.shape)} of {len(batch)} cases; they must be [n_cases, "
                    "n_items]"
                )
            refuse_nan(scores)
            if exclude_history:
                rows, items = batch.flat_histories()
                scores = scores.clone()
                scores[torch.from_numpy(rows), torch.from_numpy(items)] = -torch.inf
            values, indices = (best.cpu().numpy() for best in top_k(scores, k))
            width = values.shape[1]
            all_items[start : start + len(batch), :width] = np.where(
                np.isneginf(values), NO_ITEM, indices
            )
            all_scores[start : start + len(batch), :width] = values
            bar.update(len(batch))
    return Ranking.of_items(all_items, all_scores)
