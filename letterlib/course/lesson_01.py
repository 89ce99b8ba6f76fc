"""The exercises of lesson 01. Vectors have lengths that differ, so that a cosine is never a dot
product by luck.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from letterlib.analysis import geometry
from letterlib.analysis.geometry import unit_rows
from letterlib.course.checks import Case, Exercise, Incorrect, call, compare
from letterlib.course.values import close, tenths
from letterlib.text import mean_pool
from letterlib.tokenizer.letter import standardize


def masked_mean_cases(generator: Generator) -> list[Case]:
    """A single real token, then padding on the right, a mask of bools, and padding on either
    side.
    """
    masks = [
        torch.tensor([[1, 0]]),
        torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]]),
        torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]], dtype=torch.bool),
        torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1]]),
    ]
    cases = [
        {"states": tenths(torch.randn(*mask.shape, dim, generator=generator)), "mask": mask}
        for mask, dim in zip(masks, [1, 2, 2, 8], strict=True)
    ]
    first = cases[0]["states"]
    first[first == 0] = (
        0.5  # with a padded state of 0, a mean over the dimensions looks like a missing mask
    )
    return cases


def masked_mean(answer: Any, case: Case) -> None:
    """1.1: states [batch, tokens, dim], mask [batch, tokens] -> [batch, dim]."""
    states, mask = case["states"], case["mask"]
    returned, causes = call(answer, case), _wrong_pools(states, mask)
    # With vectors of more than one dimension, a mask that lacks one stops with an error.
    if getattr(returned, "shape", None) == mask.shape != states.shape[::2] and states.shape[2] == 1:
        causes.append(
            (
                returned,
                "the mask lacks a last dimension, so that it met the dimensions of the vectors in "
                "the place of the tokens: `mask.unsqueeze(-1)`.",
            )
        )
    right = mean_pool(states, mask)
    compare("vectors", returned, right, case, causes)
    if returned.dtype != states.dtype:
        raise Incorrect(
            "`vectors` has another type of number than `states`.",
            case,
            expected=right,
            actual=returned,
            cause=f"a conversion; return {states.dtype}, the type of the states.",
        )


def _wrong_pools(states: Tensor, mask: Tensor) -> list[tuple[Tensor, str]]:
    real = mask.bool().unsqueeze(-1)
    total = (states * real).sum(1)
    first = torch.stack([row[: int(n)].mean(0) for row, n in zip(states, mask.sum(1), strict=True)])
    lowest = states.masked_fill(~real, -torch.inf).amax(1)
    n_real = mask.sum(1)
    across = (
        total / n_real if total.shape[0] == total.shape[1] else torch.full_like(total, torch.nan)
    )
    by_place = torch.stack([row[one.long()].mean(0) for row, one in zip(states, mask, strict=True)])
    right, upside_down = (
        mean_pool(states, mask),
        "the mask is upside down: 1 is real, 0 is padding.",
    )
    one_a_token, kept = (states * real).sum(2), real.sum(2)
    as_places = (
        "a mask of 0 and 1 as an index: it picks positions 0 and 1. `mask.bool()` picks "
        "where it is true."
    )
    return [
        (right[:, None], "`keepdim=True`, or a stray dimension; one vector per text is enough."),
        (
            right.squeeze(),
            "`.squeeze()`, which drops a batch or a dimension of one, too. Name the one to drop: "
            "`.squeeze(1)`.",
        ),
        (states.mean(1), "a plain mean: padding is averaged in as if it were text. Use the mask."),
        (
            total / states.shape[1],
            "division by the padded length; divide by each text's own number of real tokens.",
        ),
        (
            across,
            "`keepdim=True` is missing below the line, so that each column, not each text, got a "
            "number.",
        ),
        (
            states.sum(1) / n_real[:, None],
            "padding is in the sum above the line: multiply by the mask first.",
        ),
        (
            total / mask.sum(),
            "division by the real tokens of the whole batch; each text has its own number.",
        ),
        (
            total / len(mask),
            "division by the number of texts; divide by each text's own number of real tokens.",
        ),
        (
            total,
            "a sum. Divide by each text's number of real tokens, or long texts get long vectors.",
        ),
        ((states * ~real).sum(1) / (~real).sum(1).clamp(min=1), upside_down),
        ((states * ~real).sum(1) / (~real).sum(1), upside_down),
        (by_place, as_places),
        (states[:, 0], "the first token's vector ([CLS]) alone. Average over all real tokens."),
        (states[:, -1], "the last position's vector alone. Average over all real tokens."),
        (
            first,
            "the first n positions. Padding may stand in front, as it does for decoders: use the "
            "mask itself.",
        ),
        (lowest, "the largest value instead of the mean."),
        (states.amax(1), "the largest value instead of the mean, and over padding too."),
        ((states * real).amax(1), "the largest value instead of the mean, with padding as zeros."),
        (states[mask.bool()].mean(0), "one mean for the whole batch; each text needs its own."),
        (states.mean(2), "a mean over the dimensions; average over the tokens, dim=1."),
        *(
            (
                value,
                "a sum over the dimensions, in which every token becomes a number. Add up over "
                "the tokens, dim=1.",
            )
            for value in (
                one_a_token,
                one_a_token / n_real[:, None],
                one_a_token / kept,
                states.sum(2),
            )
        ),
        (
            (states * real).mean(2),
            "a mean over the dimensions. Add up over the tokens, dim=1, and divide by how many.",
        ),
    ]


def mean_cosine_cases(generator: Generator) -> list[Case]:
    """Two rows, and three of which two have cosine 0; then rows that lean in one direction, as text
    embeddings do, the first two of them equal.
    """
    cases = [
        {"vectors": drawn_rows(generator, *shape, lean=0.5)} for shape in [(2, 2), (3, 2), (10, 4)]
    ]
    for case in cases[1:]:
        case["vectors"][1] = case["vectors"][0]
    return [cases[0], {"vectors": np.array([[2, 0], [0, 1], [3, 4]], dtype=np.float32)}, *cases[1:]]


def mean_cosine(answer: Any, case: Case) -> None:
    """1.3: vectors [n, d] -> the mean over pairs of different rows, a number."""
    vectors = case["vectors"]
    right, returned = geometry.mean_cosine(vectors), call(answer, case)
    if isinstance(returned, (np.ndarray, Tensor)) and returned.ndim > 0:
        what = f"`mean cosine` should be one number and has shape {tuple(returned.shape)}."
        cause = "a mean over one axis, or none yet; take it over all pairs."
        if close(returned.reshape(-1), np.array([right])):
            cause = (
                "the right number in a box: `keepdims=True`, or a sum that began as `np.zeros(1)`."
            )
        raise Incorrect(what, case, expected=right, actual=returned, cause=cause)
    compare("mean cosine", returned, right, case, _wrong_means(vectors))


def _wrong_means(vectors: np.ndarray) -> list[tuple[Any, str]]:
    n, cosines, dots = len(vectors), unit_rows(vectors) @ unit_rows(vectors).T, vectors @ vectors.T
    different, once = ~np.eye(n, dtype=bool), np.triu_indices(n, 1)
    columns = vectors / np.maximum(np.linalg.norm(vectors, axis=0), 1e-12)
    to_mean = unit_rows(vectors) @ unit_rows(vectors.mean(axis=0, keepdims=True))[0]
    pairs, length = n * (n - 1), np.linalg.norm
    twice = "both halves of the table summed, but divided by n * (n - 1) / 2: twice too large."
    own = "divide each row by its own length first."
    orthogonal = (
        "pairs with cosine 0 left out. They count: pick the pairs by their place, "
        "`np.triu_indices(n, 1)`."
    )
    unequal = (
        "pairs with cosine 1 left out. Leave out the diagonal by its place: two equal rows "
        "are a pair too."
    )
    return [
        (
            cosines.mean(),
            "the diagonal is counted: every item has cosine 1 with itself. Leave it out.",
        ),
        (
            cosines.sum() / pairs,
            "the diagonal is in the sum and not in the number. Take n out of the sum as well.",
        ),
        (dots[different].mean(), "dot products, not cosines: divide each row by its length first."),
        (dots.mean(), "dot products, not cosines, and the diagonal is counted."),
        (
            cosines[different].sum() / n**2,
            "division by n * n; without the diagonal there are n * (n - 1) cosines.",
        ),
        (
            cosines[once].sum() / (n * (n - 1)),
            "each pair summed once, but divided by n * (n - 1): half too small.",
        ),
        (
            np.triu(cosines, 1).mean(),
            "each pair summed once, but divided by n * n: zeros are averaged in.",
        ),
        (cosines[np.triu_indices(n)].mean(), "the diagonal is counted: `triu` needs k=1."),
        (cosines[different].sum() / (pairs / 2), twice),
        (
            cosines[different].sum() / n,
            "division by n; without the diagonal there are n * (n - 1) cosines.",
        ),
        (
            cosines[different].sum() / (n - 1),
            "division by n - 1; without the diagonal there are n * (n - 1) cosines.",
        ),
        (np.median(cosines[once]), "the median; the mean is asked for."),
        (cosines[different].sum(), "a sum; divide by the number of pairs."),
        (cosines[once].sum(), "a sum; divide by the number of pairs."),
        (
            np.abs(cosines[different]).mean(),
            "absolute values: a cosine may be negative, and counts as it is.",
        ),
        (to_mean.mean(), "cosines with the mean vector; pairs of items are asked for."),
        (
            (columns @ columns.T)[different].mean(),
            "columns divided by their length; divide the rows (axis=1).",
        ),
        (dots[different].mean() / length(vectors) ** 2, f"one length for the whole table; {own}"),
        (
            (length(unit_rows(vectors).sum(axis=0)) - n) / pairs,
            "the length of the sum, without its square.",
        ),
        ((length(vectors.sum(axis=0)) ** 2 - n) / pairs, f"a sum of rows of any length; {own}"),
        (cosines[once].sum() / max((cosines[once] != 0).sum(), 1), orthogonal),
        (cosines[cosines < 1 - 1e-5].sum() / max((cosines < 1 - 1e-5).sum(), 1), unequal),
    ]


# 1.2 The nearest others by cosine

MANY = 400
UNSORTED = "the right neighbours in the wrong order: sort them, best first."
ROUNDED = (
    "rounded cosines, or numbers of too small a type, such as `float16`: of many cosines "
    "some lie close together."
)
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
    dropped = (
        "the first of the list is dropped. With two equal films it may be the other one: "
        "exclude the film itself."
    )
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
    by_column = (
        "columns divided by their length; a cosine divides every row by its own (axis=1, "
        "keepdims=True)."
    )
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


# 1.4 Columns of mean 0; over the whole table a mean square of 1


def standardize_cases(generator: Generator) -> list[Case]:
    """Columns of unequal spread around unequal means; in the third, one column is constant."""
    cases = []
    for rows, dim in [(2, 1), (3, 2), (4, 3), (16, 5)]:
        spread = torch.linspace(0.5, 3, dim)
        if (rows, dim) == (4, 3):
            spread[1] = 0
        x = torch.randn(rows, dim, generator=generator) * spread + torch.linspace(2, -1, dim)
        x[0] = x[1] + spread  # so that not all rows are equal
        cases.append({"x": tenths(x).numpy()})
    return cases


def standardized(answer: Any, case: Case) -> None:
    """1.4: x [n, d] -> [n, d], columns with mean 0, the whole table with mean square 1."""
    x, returned = case["x"], call(answer, case)
    with np.errstate(all="ignore"):
        compare("the table", returned, standardize(x), case, _wrong_scales(x.astype(np.float64)))


def _wrong_scales(x: np.ndarray) -> list[tuple[np.ndarray, str]]:
    centred, spread = x - x.mean(axis=0), x.std(axis=0)
    whole = (
        "division by the length of the whole table: then the squares add up to 1. Their mean "
        "should be 1."
    )
    lengths, by_row = (
        np.linalg.norm(centred, axis=1, keepdims=True),
        x - x.mean(axis=1, keepdims=True),
    )
    each_column = (
        "a standard deviation for every column; one number for the whole table is asked for."
    )
    return [
        (centred / np.linalg.norm(centred), whole),
        (centred / spread, each_column),
        (centred / centred.std(axis=0, ddof=1), each_column),
        (centred / np.where(spread > 0, spread, 1), each_column),
        (
            centred / lengths,
            "every row divided by its own length; one number for the whole table is asked for.",
        ),
        (
            centred / centred.std(axis=1, keepdims=True),
            "a standard deviation for every row; one number for all.",
        ),
        (centred, "centred and not scaled."),
        (
            (x - x.mean()) / spread,
            "the two axes swapped: one mean per column, one deviation for the whole table.",
        ),
        (
            by_row / x.std(axis=1, keepdims=True),
            "mean and standard deviation of every row; the mean is per column.",
        ),
        (
            centred / spread.mean(),
            "the mean of the columns' deviations; take one deviation of the whole table.",
        ),
        (
            x / np.sqrt(np.square(x).mean()),
            "scaled and not centred: take the mean of every column away first.",
        ),
        (x / x.std(), "scaled and not centred: take the mean of every column away first."),
        (x / centred.std(), "scaled and not centred: take the mean of every column away."),
        (
            (x - x.mean()) / x.std(),
            "one mean for the whole table; every column has its own, `mean(axis=0)`.",
        ),
        (
            by_row / by_row.std(),
            "the mean of every row is taken away (axis=1); take that of every column (axis=0).",
        ),
        (
            centred / np.sqrt(np.square(x).mean()),
            "the mean square of the table before centring; measure it after.",
        ),
        (
            centred / x.std(),
            "the standard deviation of the table before centring; measure it after.",
        ),
        (
            centred / centred.std(ddof=1),
            "`ddof=1`; NumPy's own default, 0, makes the mean square exactly 1.",
        ),
        (
            centred / centred.var(),
            "division by the variance; its square root is the standard deviation.",
        ),
        (centred * centred.std(), "multiplication by the standard deviation; divide."),
    ]


EXERCISES = {
    "1.1": Exercise(masked_mean_cases, masked_mean),
    "1.2": Exercise(nearest_cases, nearest),
    "1.3": Exercise(mean_cosine_cases, mean_cosine),
    "1.4": Exercise(standardize_cases, standardized),
}
