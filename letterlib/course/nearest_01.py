"""Exercise 1.2: the nearest others by cosine. Rows have lengths that differ, so that a cosine is
never a dot product by luck.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator

from letterlib.analysis import geometry
from letterlib.analysis.geometry import unit_rows
from letterlib.course.checks import Case, Incorrect, call, compare
from letterlib.course.values import close, tenths

MANY = 400
UNSORTED = "the right neighbours in the wrong order: sort them, best first."
ROUNDED = "rounded cosines, or numbers of too small a type, such as `float16`: of many cosines some lie close together."
CLEAR = 1e-3  # least difference between the cosines of two neighbours that follow each other


def nearest_cases(generator: Generator) -> list[Case]:
    """Twins first: the item itself need not be the first of its own list. Then opposites: a cosine
    may be -1.

    Beside the twins are two items, each the other's nearest. The twins lie on an axis, where no
    rounding parts them.
    """
    size = tenths(torch.rand(1, generator=generator) + 0.5)
    twins = size * torch.tensor([[1, 0], [1, 0], [-1, 2], [-1, 3]])
    opposites = tenths(
        torch.tensor([[0, 1], [0, -1]]) * (torch.rand(2, 1, generator=generator) + 0.5)
    )
    cases = [{"vectors": tenths(twins).numpy(), "k": 1}, {"vectors": opposites.numpy(), "k": 1}]
    sizes = [(3, 2, 1), (4, 2, 2), (16, 5, 6)]
    cases += [{"vectors": _clear_rows(generator, *shape), "k": k} for *shape, k in sizes]
    return [*cases[:-1], {"vectors": drawn_rows(generator, MANY, 20), "k": 300}, cases[-1]]


def nearest(answer: Any, case: Case) -> None:
    """1.2: vectors [n, d], k -> int64 [n, k], best first, never the item itself."""
    vectors, k = case["vectors"], case["k"]
    if len(vectors) == MANY:
        return _look_at_many(call(answer, case), case)
    found, returned = geometry.nearest(vectors, k), call(answer, case)
    with np.errstate(all="ignore"):
        similarities = list(_wrong_similarities(vectors))
        causes = _wrong_neighbours(vectors, k, found, similarities)
    if _are_places(returned, len(vectors), k):
        causes += [
            (returned, text)
            for scores, first, text in similarities
            if _best_of(scores, returned, first)
        ]
        if (np.sort(returned, axis=1) == np.sort(found, axis=1)).all():
            causes.append((returned, UNSORTED))
    if isinstance(returned, np.ndarray) and returned.ndim == 2 and returned.shape[1] < k:
        causes.append(
            (
                returned,
                "films with cosine 1 left out. Leave out the film by its place: two may be equal.",
            )
        )
    compare("neighbours", returned, found, case, causes)


def _wrong_neighbours(
    vectors: np.ndarray, k: int, found: np.ndarray, similarities: list[tuple[np.ndarray, int, str]]
) -> list[tuple[np.ndarray, str]]:
    cosines = unit_rows(vectors) @ unit_rows(vectors).T
    by_value = np.where(cosines > 1 - 1e-5, -np.inf, cosines)
    with_itself, farthest = (
        _order(cosines),
        "the farthest ones: the order is upside down. Highest cosine first.",
    )
    dropped = "the first of the list is dropped. With two equal films it may be the other one: exclude the film itself."
    return [
        (
            found.astype(np.float64),
            "`np.zeros` without `dtype=int`, or a conversion to fractions. Items are counted.",
        ),
        (found.T, "the table is transposed; one row per item."),
        (
            np.argsort(-_without_self(cosines), axis=0)[:, :k],
            "a sort down every column; sort each row, axis=1.",
        ),
        *((_order(scores)[:, first : first + k], text) for scores, first, text in similarities),
        (
            _order(by_value)[:, :k],
            "films with cosine 1 left out. Leave out the film by its place: two may be equal.",
        ),
        (
            with_itself[:, :k],
            "the item itself heads its own list. Set the diagonal to -inf before you sort.",
        ),
        (
            with_itself[:, : k + 1],
            "the item itself heads its own list, and one more than k is returned.",
        ),
        (with_itself[:, 1 : k + 1], dropped),
        (_order(_without_self(cosines))[:, :-1][:, ::-1][:, :k], farthest),
        (
            np.argsort(_without_self(cosines), axis=1)[::-1][:, :k],
            "`[::-1]` turns round the rows; use `[:, ::-1]`.",
        ),
        (_order(-cosines)[:, :k], farthest),
        (
            _order(-_without_self(cosines))[:, :k],
            "ascending order, so that -inf comes first. Highest cosine first.",
        ),
        (found + 1, "places counted from 1; the first row is row 0."),
        *(
            (
                _order(_without_self(cosines))[:, :n],
                "too many: only the first k of each row, `[:, :k]`.",
            )
            for n in (len(vectors), len(vectors) - 1)
            if n > k
        ),
        (
            np.take_along_axis(cosines, found, axis=1),
            "the cosines themselves. Return positions: `argsort`.",
        ),
    ]


def _wrong_similarities(vectors: np.ndarray) -> Iterator[tuple[np.ndarray, int, str]]:
    """Tables of which a typical mistake takes the highest, from which place of its list on, and the
    cause.
    """
    cosines, dots = unit_rows(vectors) @ unit_rows(vectors).T, vectors @ vectors.T
    columns = vectors / np.maximum(np.linalg.norm(vectors, axis=0), 1e-12)
    squares = np.square(vectors[:, None] - vectors).sum(axis=2)
    unnormalised = "dot products without dividing each row by its own length: long vectors win."
    not_lowest = "a diagonal that is not low enough: a cosine may be as low as -1. Set it to -inf."
    no_root = "rows divided by their squared length; divide by the length, its root."
    squared = vectors / np.square(vectors).sum(axis=1, keepdims=True)
    by_column = "columns divided by their length; a cosine divides every row by its own (axis=1, keepdims=True)."
    yield _without_self(squared @ squared.T), 0, no_root
    yield with_diagonal(cosines, 0), 0, not_lowest
    yield with_diagonal(cosines, -1), 0, not_lowest
    yield _without_self(dots), 0, unnormalised
    yield dots, 0, "dot products without dividing by the lengths, and the item itself is left in."
    yield dots, 1, unnormalised
    yield with_diagonal(dots, 0), 0, unnormalised
    yield _without_self(columns @ columns.T), 0, by_column
    yield columns @ columns.T, 1, by_column
    yield _without_self(-squares), 0, "distances; this exercise asks for the angle, the cosine."
    yield (
        _without_self(np.abs(cosines)),
        0,
        "absolute values: a negative cosine means far, not near.",
    )
    for digits in (1, 2, 3):
        yield _without_self(cosines.round(digits)), 0, ROUNDED


def _are_places(returned: Any, n: int, k: int) -> bool:
    whole = (
        isinstance(returned, np.ndarray)
        and returned.shape == (n, k)
        and returned.dtype.kind in "iu"
    )
    return whole and returned.min() >= 0 and returned.max() < n


def _best_of(scores: np.ndarray, places: np.ndarray, first: int) -> bool:
    """Whether the places are those of the highest scores, best first. Compared are scores: of equal
    ones a sort may take either first.
    """
    best = -np.sort(-scores, axis=1)[:, first : first + places.shape[1]]
    return close(np.take_along_axis(scores, places, axis=1), best)


def _look_at_many(returned: Any, case: Case) -> None:
    """Hundreds of neighbours, which no `argpartition` leaves sorted, whatever it does with a few.

    Cosines follow each other so closely here that rounding decides between some; so they are
    compared, and not places.
    """
    vectors, k = case["vectors"], case["k"]
    cosines = _without_self(unit_rows(vectors) @ unit_rows(vectors).T)
    if not _are_places(returned, len(vectors), k):
        compare("neighbours", returned, geometry.nearest(vectors, k), case)
    mine, right = np.take_along_axis(cosines, returned, axis=1), -np.sort(-cosines, axis=1)[:, :k]
    if not np.allclose(mine, right, atol=1e-4):
        found = geometry.nearest(vectors, k)
        nearly_sorted = np.allclose(mine, right, atol=0.02)
        same_ones = np.allclose(-np.sort(-mine, axis=1), right, atol=1e-4)
        cause = ROUNDED if nearly_sorted else UNSORTED if same_ones else ""
        raise Incorrect(
            "`neighbours` has the right shape, and wrong values.",
            case,
            expected=found,
            actual=returned,
            cause=cause,
        )


def _order(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, axis=1, kind="stable")


def with_diagonal(scores: np.ndarray, value: float) -> np.ndarray:
    scores = scores.copy()
    np.fill_diagonal(scores, value)
    return scores


_without_self = partial(with_diagonal, value=-np.inf)


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
