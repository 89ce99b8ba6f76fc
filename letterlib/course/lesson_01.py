"""The exercises of lesson 01. Vectors have lengths that differ, so that a cosine is never a dot
product by luck.
"""

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from letterlib.analysis import geometry
from letterlib.analysis.geometry import unit_rows
from letterlib.course.checks import Case, Exercise, Incorrect, call, compare
from letterlib.course.nearest_01 import drawn_rows, nearest, nearest_cases
from letterlib.course.scale_01 import standardize_cases, standardized
from letterlib.course.values import close, tenths
from letterlib.text import mean_pool


def masked_mean_cases(generator: Generator) -> list[Case]:
    """A single real token, then padding on the right, a mask of bools, and padding on either side."""
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
        0.5  # with a padded state of 0, a mean over the dimensions looks like a mask that is missing
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
    as_places = "a mask of 0 and 1 as an index: it picks positions 0 and 1. `mask.bool()` picks where it is true."
    return [
        (right[:, None], "`keepdim=True`, or a stray dimension; one vector per text is enough."),
        (
            right.squeeze(),
            "`.squeeze()`, which drops a batch or a dimension of one, too. Name the one to drop: `.squeeze(1)`.",
        ),
        (states.mean(1), "a plain mean: padding is averaged in as if it were text. Use the mask."),
        (
            total / states.shape[1],
            "division by the padded length; divide by each text's own number of real tokens.",
        ),
        (
            across,
            "`keepdim=True` is missing below the line, so that each column, not each text, got a number.",
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
            "the first n positions. Padding may stand in front, as it does for decoders: use the mask itself.",
        ),
        (lowest, "the largest value instead of the mean."),
        (states.amax(1), "the largest value instead of the mean, and over padding too."),
        ((states * real).amax(1), "the largest value instead of the mean, with padding as zeros."),
        (states[mask.bool()].mean(0), "one mean for the whole batch; each text needs its own."),
        (states.mean(2), "a mean over the dimensions; average over the tokens, dim=1."),
        *(
            (
                value,
                "a sum over the dimensions, in which every token becomes a number. Add up over the tokens, dim=1.",
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
    orthogonal = "pairs with cosine 0 left out. They count: pick the pairs by their place, `np.triu_indices(n, 1)`."
    unequal = "pairs with cosine 1 left out. Leave out the diagonal by its place: two equal rows are a pair too."
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


EXERCISES = {
    "1.1": Exercise(masked_mean_cases, masked_mean),
    "1.2": Exercise(nearest_cases, nearest),
    "1.3": Exercise(mean_cosine_cases, mean_cosine),
    "1.4": Exercise(standardize_cases, standardized),
}
