"""`Ranking`, what every recommender returns, and `Recommender`, the face they all share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from letterlib.data.dataset import NO_ITEM, Cases, Split
from letterlib.errors import LetterError, NotRanked
from letterlib.progress import late_bar
from letterlib.store import atomic_write, digest

ROWS = 256
"""Cases scored at a time: with a million items their scores take one or two gigabytes. 1,024 are no
faster.
"""


@dataclass(frozen=True, eq=False)
class Ranking:
    """The best K items of every case, best first.

    items: int64 [n_cases, K]; NO_ITEM where a system had nothing (more) to say.
    scores: float32 [n_cases, K]; -inf where there is no item.
    valid: bool [n_cases, K]; False where a generated identifier belongs to no item, or nothing was
    generated.
    """

    items: np.ndarray
    scores: np.ndarray
    valid: np.ndarray

    @classmethod
    def of_items(cls, items: np.ndarray, scores: np.ndarray) -> "Ranking":
        """Lists of a system that answers with items, so that all are valid. Other shapes or dtypes
        are a ValueError.
        """
        try:
            items, scores = np.asarray(items), np.asarray(scores, dtype=np.float32)
        except ValueError as error:
            advice = (
                f"; fill shorter lists up with {NO_ITEM}" if "inhomogeneous" in str(error) else ""
            )
            raise ValueError(f"{error}{advice}") from error
        if items.ndim != 2 or items.dtype.kind not in "iu" or items.shape != scores.shape:
            found = f"items are {items.dtype} {list(items.shape)}, scores {list(scores.shape)}"
            raise ValueError(f"{found}; items should be whole numbers, and both [n_cases, K]")
        return cls(items, scores, items != NO_ITEM)

    def __len__(self) -> int:
        return len(self.items)

    def save(self, path: str | Path) -> None:
        """One Parquet row per case, three list columns, and a hash of them."""
        columns = {n: pa.array(list(getattr(self, n))) for n in ("items", "scores", "valid")}
        places = str(self.items.shape[1])  # which a table without rows does not show
        content = digest(self.items, self.scores, self.valid)
        table = pa.table(columns, metadata={"content": content, "places": places})
        with atomic_write(path) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def load(cls, path: str | Path) -> "Ranking":
        """Read what `save` wrote. A missing, damaged or foreign file is a LetterError."""
        try:
            table = pq.read_table(path)
            known = table.schema.metadata or {}
            if not len(table):
                nothing = np.zeros((0, int(known[b"places"])), dtype=np.int64)
                return cls.of_items(nothing, nothing)
            items, scores, valid = (
                np.stack(table[n].to_numpy()) for n in ("items", "scores", "valid")
            )
            content = known.get(b"content", b"").decode()
            if content not in ("", digest(items, scores, valid)):  # files had none at first
                raise ValueError("its content is not what was saved")
            found = cls.of_items(items, scores)
            if valid.dtype != bool or valid.shape != found.items.shape:
                raise ValueError(f"valid is {valid.dtype} {list(valid.shape)}")
        except FileNotFoundError as error:
            raise LetterError(f"{path}: no such file; check the path") from error
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise LetterError(
                f"{path}: not readable as a ranking ({reason}); make the ranking again"
            ) from error
        return cls(found.items, found.scores, valid)


class Recommender(Protocol):
    """Every system of the course, conventional or generative."""

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
            f"history: item {outside[0]} is not in the catalogue ({n_items:,} items, ids 0-{n_items - 1}); "
            "use item ids of the data set that the model was trained on"
        )


def refuse_nan(scores: torch.Tensor) -> None:
    """NotRanked, a LetterError and a ValueError, for scores that have no order."""
    if scores.isnan().any():
        raise NotRanked(
            "some scores are NaN and cannot be ranked: the weights gave no number, so the training diverged; lower its "
            "learning rate, or where a score is computed in another way, see that nothing is divided by zero"
        )


def rank_by_score(
    score: Callable[[Cases], torch.Tensor], cases: Cases, k: int, exclude_history: bool
) -> Ranking:
    """Rank the whole catalogue from dense scores.

    score: a function from `Cases` to a float tensor [len(cases), n_items]. Scores of -inf are never
    returned, and NaN, which torch sorts above all numbers, is a ValueError.
    """
    all_items = np.full((len(cases), k), NO_ITEM)
    all_scores = np.full((len(cases), k), -np.inf, dtype=np.float32)
    with late_bar("ranking", len(cases)) as bar:
        for start in range(0, len(cases), ROWS):
            batch = cases[start : start + ROWS]
            scores = score(batch)
            if scores.ndim != 2 or len(scores) != len(batch):
                found = f"scores {list(scores.shape)} of {len(batch)} cases"
                raise ValueError(
                    f"{found}; a row for each case is needed, with the score of every item"
                )
            refuse_nan(scores)
            if exclude_history:
                rows, items = batch.flat_histories()
                scores = scores.clone()
                scores[torch.from_numpy(rows), torch.from_numpy(items)] = -torch.inf
            values, indices = (one.cpu().numpy() for one in top_k(scores, k))
            width = values.shape[1]
            all_items[start : start + len(batch), :width] = np.where(
                np.isneginf(values), NO_ITEM, indices
            )
            all_scores[start : start + len(batch), :width] = values
            bar.update(len(batch))
    return Ranking.of_items(all_items, all_scores)
