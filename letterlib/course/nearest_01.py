"""Exercise 1.2: the nearest others by cosine. Rows have lengths that differ, so that a cosine is never a dot product
by luck."""

from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Generator

from letterlib.analysis import neighbours
from letterlib.analysis.neighbours import unit_rows
from letterlib.course.checks import Case, call, compare
from letterlib.course.values import tenths

CLEAR = 1e-3  # least difference between the cosines of two neighbours that follow each other


def nearest_cases(generator: Generator) -> list[Case]:
    """Twins first: the item itself need not be the first of its own list. Then opposites: a cosine may be -1.

    Beside the twins are two items, each the other's nearest. The twins lie on an axis, where no rounding parts them.
    """
    size = tenths(torch.rand(1, generator=generator) + 0.5)
    twins = size * torch.tensor([[1, 0], [1, 0], [-1, 2], [-1, 3]])
    opposites = tenths(torch.tensor([[0, 1], [0, -1]]) * (torch.rand(2, 1, generator=generator) + 0.5))
    cases = [{"vectors": tenths(twins).numpy(), "k": 1}, {"vectors": opposites.numpy(), "k": 1}]
    sizes = [(3, 2, 1), (4, 2, 2), (16, 5, 6)]
    return cases + [{"vectors": _clear_rows(generator, *shape), "k": k} for *shape, k in sizes]


def nearest(answer: Any, case: Case) -> None:
    """1.2: vectors [n, d], k -> int64 [n, k], best first, never the item itself."""
    vectors, k = case["vectors"], case["k"]
    found = neighbours.nearest(vectors, k)
    with mock.patch.object(np, "argpartition", _unsorted_argpartition):
        returned = call(answer, case)
    with np.errstate(all="ignore"):
        causes = _wrong_neighbours(vectors, k, found)
    if isinstance(returned, np.ndarray) and returned.shape == found.shape:
        if (np.sort(returned, axis=1) == np.sort(found, axis=1)).all():
            causes.append((returned, "the right neighbours in the wrong order: sort them, best first."))
    if isinstance(returned, np.ndarray) and returned.ndim == 2 and returned.shape[1] < k:
        causes.append((returned, "films with cosine 1 left out. Leave out the film by its place: two may be equal."))
    compare("neighbours", returned, found, case, causes)


def _wrong_neighbours(vectors: np.ndarray, k: int, found: np.ndarray) -> list[tuple[np.ndarray, str]]:
    cosines = unit_rows(vectors) @ unit_rows(vectors).T
    dots = vectors @ vectors.T
    columns = vectors / np.maximum(np.linalg.norm(vectors, axis=0), 1e-12)
    squares = np.square(vectors[:, None] - vectors).sum(axis=2)
    by_value = np.where(cosines > 1 - 1e-5, -np.inf, cosines)
    with_itself, farthest = _order(cosines), "the farthest ones: the order is upside down. Highest cosine first."
    unnormalised = "dot products without dividing by the lengths: long vectors win."
    not_lowest = "a diagonal that is not low enough: a cosine may be as low as -1. Set it to -inf."
    no_root = "rows divided by their squared length; divide by the length, its root."
    squared = vectors / np.square(vectors).sum(axis=1, keepdims=True)
    by_column = "columns divided by their length; a cosine divides every row by its own (axis=1, keepdims=True)."
    dropped = "the first of the list is dropped. With two equal films it may be the other one: exclude the film itself."
    return [
        (found.astype(np.float64), "a conversion to fractions. Item numbers are whole."),
        (found.T, "the table is transposed; one row per item."),
        (np.argsort(-_without_self(cosines), axis=0)[:, :k], "a sort down every column; sort each row, axis=1."),
        (_order(_without_self(squared @ squared.T))[:, :k], no_root),
        (_order(_with_diagonal(cosines, 0))[:, :k], not_lowest),
        (_order(_with_diagonal(cosines, -1))[:, :k], not_lowest),
        (_order(by_value)[:, :k], "films with cosine 1 left out. Leave out the film by its place: two may be equal."),
        (with_itself[:, :k], "the item itself heads its own list. Set the diagonal to -inf before you sort."),
        (with_itself[:, : k + 1], "the item itself heads its own list, and one more than k is returned."),
        (with_itself[:, 1 : k + 1], dropped),
        (_order(_without_self(cosines))[:, :-1][:, ::-1][:, :k], farthest),
        (np.argsort(_without_self(cosines), axis=1)[::-1][:, :k], "`[::-1]` turns round the rows; use `[:, ::-1]`."),
        (_order(-cosines)[:, :k], farthest),
        (_order(-_without_self(cosines))[:, :k], "ascending order, so that -inf comes first. Highest cosine first."),
        (_order(_without_self(dots))[:, :k], unnormalised),
        (_order(dots)[:, :k], "dot products without dividing by the lengths, and the item itself is left in."),
        (_order(dots)[:, 1 : k + 1], unnormalised),
        (_order(_without_self(columns @ columns.T))[:, :k], by_column),
        (_order(columns @ columns.T)[:, 1 : k + 1], by_column),
        (_order(_without_self(-squares))[:, :k], "distances; this exercise asks for the angle, the cosine."),
        (_order(_without_self(np.abs(cosines)))[:, :k], "absolute values: a negative cosine means far, not near."),
        (found + 1, "places counted from 1; the first row is row 0."),
        *(
            (_order(_without_self(cosines))[:, :n], "too many: only the first k of each row, `[:, :k]`.")
            for n in (len(vectors), len(vectors) - 1)
            if n > k
        ),
        (np.take_along_axis(cosines, found, axis=1), "the cosines themselves. Return positions: `argsort`."),
    ]


_argpartition = np.argpartition


def _unsorted_argpartition(
    a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None
) -> np.ndarray:
    """`np.argpartition` with both sides of the place `kth` in descending order.

    What is before it and after it a partition leaves in any order. Some processors sort short rows all the same, so
    that an answer which forgets to sort would be right there and wrong elsewhere. This order is the same everywhere.
    """
    found = _argpartition(a, kth, axis, kind, order)
    if axis is None or np.ndim(kth) or order is not None:
        return found
    ascending = np.moveaxis(np.argsort(a, axis=axis, kind="stable"), axis, -1)
    place = kth % ascending.shape[-1]
    before, at, after = np.split(ascending, [place, place + 1], axis=-1)
    return np.moveaxis(np.concatenate([before[..., ::-1], at, after[..., ::-1]], axis=-1), -1, axis)


def _order(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, axis=1, kind="stable")


def _with_diagonal(scores: np.ndarray, value: float) -> np.ndarray:
    scores = scores.copy()
    np.fill_diagonal(scores, value)
    return scores


_without_self = partial(_with_diagonal, value=-np.inf)


def drawn_rows(generator: Generator, n: int, d: int, lean: float = 0) -> np.ndarray:
    """Rows of unequal length, none of them zero, with `lean` added to every number."""
    while True:
        lengths = torch.rand(n, 1, generator=generator) * 2 + 0.5
        rows = tenths(torch.randn(n, d, generator=generator) * lengths + lean).numpy()
        if np.linalg.norm(rows, axis=1).min() > 0.3:
            return rows


def _clear_rows(generator: Generator, n: int, d: int) -> np.ndarray:
    """Rows whose cosines with any one row differ by at least CLEAR."""
    while True:
        rows = drawn_rows(generator, n, d)
        cosines = unit_rows(rows) @ unit_rows(rows).T
        if np.diff(np.sort(cosines, axis=1), axis=1).min() >= CLEAR:
            return rows
