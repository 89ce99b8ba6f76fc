"""Lesson 01: masked mean pooling, nearest neighbours, mean cosine, standardising.

Vectors have unequal lengths, so that a cosine is never a dot product by coincidence.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from letterlib import text
from letterlib.analysis import geometry
from letterlib.course.comparing import Case
from letterlib.course.exercise import Exercise
from letterlib.course.values import tenths
from letterlib.tokenizer import letter

Array = np.ndarray

# 1.1 Masked mean: states [batch, tokens, dim], mask [batch, tokens] -> [batch, dim]


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def masked_mean_cases(generator: Generator) -> list[Case]:
    """A single real token, then padding on the right, a mask of bools and states in float64, and
    padding on either side.
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
    # With a padded state of 0, a mean over the dimensions looks like a missing mask.
    first = cases[0]["states"]
    first[first == 0] = 0.5
    cases[2]["states"] = cases[2]["states"].double()
    largest = cases[3]["states"]
    largest[..., 0] = -largest[..., 0].abs()  # so that a zero would be the largest value
    return cases


def pooler(
    above: Callable = lambda s, m: (s * m).sum(1),
    below: Callable = lambda s, m: m.sum(1),
) -> Callable:
    """A masked mean with one side of the fraction line replaced. m: mask [batch, tokens, 1]."""

    def answer(states, mask):
        m = mask.unsqueeze(-1).to(states.dtype)
        return above(states, m) / below(states, m)

    return answer


def by_text(pick: Callable) -> Callable:
    """A mean of what is picked of each text's states."""
    return lambda s, m: torch.stack([pick(row, one).mean(0) for row, one in zip(s, m)])


def largest(states, mask, padding):
    return states.masked_fill(~mask.bool()[..., None], padding).amax(1)


def no_last_dimension(below: Callable) -> Callable:
    return lambda s, m: (s * m).sum(1) / below(m)


def unsqueezed_before(states, mask):
    m = mask.unsqueeze(1).to(states.dtype)
    return (states * m).sum(1) / m.sum(1)


UPSIDE_DOWN = "the mask is upside down: 1 is real, 0 is padding."
PADDED_LENGTH = "division by the padded length; divide by each text's own number of real tokens."
LARGEST = "the largest value instead of the mean"
OVER_DIMENSIONS = (
    "a sum over the dimensions, in which every token becomes a number. Add up over the tokens, "
    "dim=1."
)
NO_LAST_DIMENSION = (
    "the mask lacks a last dimension, so that it met the dimensions of the vectors in the place of "
    "the tokens: `mask.unsqueeze(-1)`."
)
STATES_DTYPE = "a conversion; return the type of the states, `states.dtype`."

MASKED_MEAN = Exercise(
    reference=masked_mean,
    library=text.mean_pool,
    cases=masked_mean_cases,
    returns=["vectors"],
    exact_dtype=True,
    right=[
        by_text(lambda row, one: row[one.bool()]),
        lambda s, m: torch.einsum("btd,bt->bd", s, (m / m.sum(1, keepdim=True)).to(s.dtype)),
        lambda s, m: s.masked_fill(~m.bool()[..., None], torch.nan).nanmean(1),
        lambda s, m: (m.to(s)[:, None] @ s)[:, 0] / m.sum(1, keepdim=True),
    ],
    mistakes=[
        (
            lambda s, m: masked_mean(s, m)[:, None],
            "`keepdim=True`, or a stray dimension; one vector per text is enough.",
        ),
        (
            lambda s, m: masked_mean(s, m).squeeze(),
            "`.squeeze()`, which drops a batch or a dimension of one, too. Name the one to drop: "
            "`.squeeze(1)`.",
        ),
        (
            lambda s, m: s.mean(1),
            "a plain mean: padding is averaged in as if it were text. Use the mask.",
        ),
        (pooler(below=lambda s, m: s.shape[1]), PADDED_LENGTH),
        (
            lambda s, m: masked_mean(s, m) * m.sum(1, keepdim=True) / m.sum(1),
            "`keepdim=True` is missing below the line, so that each column, not each text, got a "
            "number.",
        ),
        (
            pooler(above=lambda s, m: s.sum(1)),
            "padding is in the sum above the line: multiply by the mask first.",
        ),
        (
            pooler(below=lambda s, m: m.sum()),
            "division by the real tokens of the whole batch; each text has its own number.",
        ),
        (
            pooler(below=lambda s, m: len(m)),
            "division by the number of texts; divide by each text's own number of real tokens.",
        ),
        (
            pooler(below=lambda s, m: 1),
            "a sum. Divide by each text's number of real tokens, or long texts get long vectors.",
        ),
        (
            pooler(below=lambda s, m: s.shape[2]),
            "division by the number of dimensions; divide by each text's number of real tokens.",
        ),
        (lambda s, m: masked_mean(s, ~m.bool()), UPSIDE_DOWN),
        (lambda s, m: pooler(below=lambda s, m: m.sum(1).clamp(min=1))(s, ~m.bool()), UPSIDE_DOWN),
        (
            pooler(below=lambda s, m: (1 - m).sum(1)),
            "division by the number of padding tokens; divide by that of real ones.",
        ),
        (
            by_text(lambda row, one: row[one.long()]),
            "a mask of 0 and 1 as an index: it picks positions 0 and 1. `mask.bool()` picks where "
            "it is true.",
        ),
        (
            by_text(lambda row, one: row[one]),
            "a mask of 0 and 1 as an index: it picks positions 0 and 1. `mask.bool()` picks where "
            "it is true.",
        ),
        (
            lambda s, m: s[:, 0],
            "the first token's vector ([CLS]) alone. Average over all real tokens.",
        ),
        (
            lambda s, m: s[:, -1],
            "the last position's vector alone. Average over all real tokens.",
        ),
        (
            by_text(lambda row, one: row[: int(one.sum())]),
            "the first n positions. Padding may stand in front, as it does for decoders: use the "
            "mask itself.",
        ),
        (lambda s, m: largest(s, m, -torch.inf), f"{LARGEST}."),
        (lambda s, m: s.amax(1), f"{LARGEST}, and over padding too."),
        (lambda s, m: largest(s, m, 0), f"{LARGEST}, with padding as zeros."),
        (
            lambda s, m: s.masked_fill(~m.bool()[..., None], -torch.inf).mean(1),
            "-inf in the place of padding. That is for a softmax or a maximum; for a sum it is 0.",
        ),
        (
            lambda s, m: s[m.bool()].mean(0),
            "one mean for the whole batch; each text needs its own.",
        ),
        (
            lambda s, m: s.mean(2),
            "a mean over the dimensions; average over the tokens, dim=1.",
        ),
        (
            lambda s, m: (s * m[..., None]).mean(2),
            "a mean over the dimensions. Add up over the tokens, dim=1, and divide by how many.",
        ),
        (lambda s, m: s.sum(2), OVER_DIMENSIONS),
        (lambda s, m: (s * m[..., None]).sum(2), OVER_DIMENSIONS),
        (lambda s, m: (s * m[..., None]).sum(2) / m.sum(1, keepdim=True), OVER_DIMENSIONS),
        (lambda s, m: (s * m[..., None]).sum(2) / m[..., None].sum(2), OVER_DIMENSIONS),
        (no_last_dimension(lambda m: m.sum(1)), NO_LAST_DIMENSION),
        (no_last_dimension(lambda m: m.sum()), NO_LAST_DIMENSION),
        (no_last_dimension(lambda m: m.shape[1]), NO_LAST_DIMENSION),
        (unsqueezed_before, NO_LAST_DIMENSION),
        (
            pooler(above=lambda s, m: (s * m).mean(1)),
            "a mean above the line, which divides by the padded length as well. It is a sum there.",
        ),
        (
            pooler(lambda s, m: (s * m)[:, 1:].sum(1), lambda s, m: m[:, 1:].sum(1)),
            "the first token is left out. It is a real token like the others.",
        ),
        (
            pooler(lambda s, m: (s * m)[:, 1:].sum(1)),
            "the first token is left out. It is a real token like the others.",
        ),
        (
            by_text(lambda row, one: row[one.bool()][-1:]),
            "the last real token's vector alone. Average over all real tokens.",
        ),
        (
            lambda s, m: masked_mean(s, m).transpose(0, 1),
            "the table is transposed; one row per text.",
        ),
        (lambda s, m: masked_mean(s, m).double(), STATES_DTYPE),
        (lambda s, m: masked_mean(s, m).float(), STATES_DTYPE),
        (lambda s, m: masked_mean(s, m).half(), STATES_DTYPE),
    ],
)

# 1.2 The nearest others by cosine: vectors [n, d], k -> int64 [n, k], best first


def unit_rows(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def cosines_of(vectors: Array) -> Array:
    return dots(unit_rows(vectors.astype(np.float64)))


def with_diagonal(scores: Array, value: float) -> Array:
    scores = scores.copy()
    np.fill_diagonal(scores, value)
    return scores


without_self = partial(with_diagonal, value=-np.inf)


def nearest(vectors: Array, k: int) -> Array:
    return np.argsort(-without_self(cosines_of(vectors)), axis=1)[:, :k]


CLEAR = 1e-3
"""Least difference between the cosines of two neighbours that follow each other: a closer order
would depend on rounding.
"""


def drawn_rows(generator: Generator, n: int, d: int, lean: float = 0) -> Array:
    """Rows of unequal length, none of them zero, with `lean` added to every number."""
    while True:
        lengths = torch.rand(n, 1, generator=generator) * 2 + 0.5
        rows = tenths(torch.randn(n, d, generator=generator) * lengths + lean).numpy()
        if np.linalg.norm(rows, axis=1).min() > 0.3:
            return rows


def clear_rows(generator: Generator, n: int, d: int) -> Array:
    while True:
        rows = drawn_rows(generator, n, d)
        if np.diff(np.sort(cosines_of(rows), axis=1), axis=1).min() >= CLEAR:
            return rows


def nearest_cases(generator: Generator) -> list[Case]:
    """Twins first: the item itself need not be the first of its own list. Then opposites: a cosine
    may be -1. Last but one are hundreds, which no `argpartition` leaves sorted, whatever it does
    with a few: rounding decides their order, so that a mistake is recognised by the last case.

    Two more items are each other's nearest, so that twins alone are ambiguous. They lie on an axis,
    where rounding does not separate them.
    """
    size = tenths(torch.rand(1, generator=generator) + 0.5)
    twins = tenths(size * torch.tensor([[1, 0], [1, 0], [-1, 2], [-1, 3]]))
    lengths = torch.rand(2, 1, generator=generator) + 0.5
    opposites = tenths(torch.tensor([[0, 1], [0, -1]]) * lengths)
    shapes = [(3, 2, 1), (4, 2, 2), (16, 5, 6)]
    *few, last = [{"vectors": clear_rows(generator, *shape), "k": k} for *shape, k in shapes]
    return [
        {"vectors": twins.numpy(), "k": 1},
        {"vectors": opposites.numpy(), "k": 1},
        *few,
        {"vectors": drawn_rows(generator, 400, 20), "k": 300},
        last,
    ]


def as_near(found: Array, right: Array, case: Case, apart: float = 1e-6) -> bool:
    """Whether the cosines of two orders of neighbours are the same but for rounding."""
    if not isinstance(found, Array) or found.shape != right.shape or found.dtype.kind not in "iu":
        return False
    if found.min() < 0 or found.max() >= len(case["vectors"]):
        return False
    cosines = without_self(cosines_of(case["vectors"]))
    mine, best = (np.take_along_axis(cosines, places, axis=1) for places in (found, right))
    return np.allclose(mine, best, rtol=0, atol=apart)


def top(scores: Array, k: int) -> Array:
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def top_backwards(scores: Array, k: int) -> Array:
    """Of equal scores the last comes first; in `top` it is the first."""
    return np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :k]


def by(scores: Callable) -> list[Callable]:
    """Neighbours by other scores, with equal ones in either order."""
    return [
        lambda v, k, order=order: order(scores(v), k)
        for order in (top, top_backwards, lambda s, k: top_backwards(s.round(4), k))
    ]


def dots(vectors: Array) -> Array:
    return vectors @ vectors.T


def by_columns(vectors: Array) -> Array:
    with np.errstate(all="ignore"):
        return dots(vectors / np.linalg.norm(vectors, axis=0))


def without_keepdims(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1)


def nearest_by_torch(vectors, k):
    unit = F.normalize(torch.from_numpy(vectors).double(), dim=1)
    return (unit @ unit.T).fill_diagonal_(-torch.inf).topk(k).indices.numpy()


def nearest_by_loop(vectors, k):
    rows = []
    for i, own in enumerate(vectors):
        others = [j for j in range(len(vectors)) if j != i]
        cosines = [
            own @ vectors[j] / np.linalg.norm(own) / np.linalg.norm(vectors[j]) for j in others
        ]
        rows.append([others[place] for place in np.argsort(cosines)[::-1][:k]])
    return np.array(rows)


def nearest_by_partition(vectors, k):
    """The k highest in any order, and then in theirs."""
    cosines = without_self(cosines_of(vectors))
    highest = np.argpartition(cosines, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(cosines, highest, axis=1), axis=1)
    return np.take_along_axis(highest, order, axis=1)


def those_below_one(vectors, k):
    cosines = cosines_of(vectors)
    cosines = np.where(cosines < 1 - 1e-6, cosines, -np.inf)
    return top(cosines, min(k, int((cosines > -np.inf).sum(axis=1).min())))


UNNORMALISED = "dot products without dividing each row by its own length: long vectors win."
NOT_LOWEST = "a diagonal that is not low enough: a cosine may be as low as -1. Set it to -inf."
BY_COLUMN = (
    "columns divided by their length; a cosine divides every row by its own (axis=1, "
    "keepdims=True)."
)
KEEPDIMS = "`keepdims=True` is missing: the lengths should be a column, one for each row."
DISTANCES = "distances; this exercise asks for the angle, the cosine."
COSINE_ONE = "films with cosine 1 left out. Leave out the film by its place: two may be equal."
FARTHEST = "the farthest ones: the order is upside down. Highest cosine first."
TOO_MANY = "too many: only the first k of each row, `[:, :k]`."

NEAREST = Exercise(
    reference=nearest,
    library=geometry.nearest,
    cases=nearest_cases,
    returns=["neighbours"],
    accepts=as_near,
    right=[
        nearest_by_torch,
        nearest_by_loop,
        nearest_by_partition,
        lambda v, k: np.argsort(without_self(cosines_of(v)), axis=1)[:, ::-1][:, :k],
        # A row's own length does not change the order of its list.
        lambda v, k: top(without_self(v @ unit_rows(v).T), k).astype(np.int32),
        # Where `kth` names every place, a partition is a sort.
        lambda v, k: np.argpartition(-without_self(cosines_of(v)).T, tuple(range(k)), axis=0)[:k].T,
    ],
    mistakes=[
        (
            lambda v, k: nearest(v, k).astype(np.float64),
            "`np.zeros` without `dtype=int`, or a conversion to fractions. Items are counted.",
        ),
        (lambda v, k: nearest(v, k).T, "the table is transposed; one row per item."),
        (lambda v, k: nearest(v, k) + 1, "places counted from 1; the first row is row 0."),
        (
            lambda v, k: np.argsort(-without_self(cosines_of(v)), axis=0)[:, :k],
            "a sort down every column; sort each row, axis=1.",
        ),
        (
            lambda v, k: np.argsort(-without_self(cosines_of(v)), axis=1)[:k],
            "`[:k]`, the first k rows. The first k of each row are `[:, :k]`.",
        ),
        (
            lambda v, k: top(cosines_of(v), k),
            "the item itself heads its own list. Set the diagonal to -inf before you sort.",
        ),
        (
            lambda v, k: top(cosines_of(v), k + 1),
            "the item itself heads its own list, and one more than k is returned.",
        ),
        *(
            (
                lambda v, k, order=order: order(cosines_of(v), k + 1)[:, 1:],
                "the first of the list is dropped. With two equal films it may be the other one: "
                "exclude the film itself.",
            )
            for order in (top, top_backwards)
        ),
        (
            lambda v, k: top(without_self(cosines_of(v)), k + 1)[:, 1:],
            "the nearest is dropped as if it were the item itself, which is out of the list "
            "already.",
        ),
        *((answer, NOT_LOWEST) for answer in by(lambda v: with_diagonal(cosines_of(v), 0))),
        *((answer, NOT_LOWEST) for answer in by(lambda v: with_diagonal(cosines_of(v), -1))),
        *((answer, UNNORMALISED) for answer in by(lambda v: without_self(dots(v)))),
        *((answer, UNNORMALISED) for answer in by(lambda v: with_diagonal(dots(v), 0))),
        (lambda v, k: top(dots(v), k + 1)[:, 1:], UNNORMALISED),
        *(
            (
                answer,
                "dot products without dividing by the lengths, and the item itself is left in.",
            )
            for answer in by(lambda v: dots(v))
        ),
        (lambda v, k: top(without_self(dots(without_keepdims(v))), k), KEEPDIMS),
        *(
            (answer, UNNORMALISED)
            for answer in by(lambda v: without_self(dots(v) / np.linalg.norm(v)))
        ),
        (lambda v, k: top_backwards(without_self((v / np.linalg.norm(v)) @ v.T), k), UNNORMALISED),
        (
            lambda v, k: np.argsort(np.argsort(-without_self(cosines_of(v)), axis=1), axis=1)[
                :, :k
            ],
            "`argsort` twice, which gives every film's rank. Once gives positions.",
        ),
        (
            lambda v, k: top(with_diagonal(cosines_of(v), np.inf), k),
            "+inf on the diagonal puts every film first in its own list. Use -inf.",
        ),
        *(
            (answer, "rows divided by their sum; divide by their length, `np.linalg.norm`.")
            for answer in by(lambda v: without_self(dots(v / v.sum(axis=1, keepdims=True))))
        ),
        (
            lambda v, k: nearest(v, k)[0],
            "the first row alone: a `return` inside the loop.",
        ),
        *((answer, BY_COLUMN) for answer in by(lambda v: without_self(by_columns(v)))),
        (lambda v, k: top(by_columns(v), k + 1)[:, 1:], BY_COLUMN),
        *(
            (answer, "rows divided by their squared length; divide by the length, its root.")
            for answer in by(
                lambda v: without_self(dots(v / np.square(v).sum(axis=1, keepdims=True)))
            )
        ),
        *(
            (answer, DISTANCES)
            for answer in by(lambda v: without_self(-np.square(v[:, None] - v).sum(axis=2)))
        ),
        *(
            (answer, "absolute values: a negative cosine means far, not near.")
            for answer in by(lambda v: without_self(np.abs(cosines_of(v))))
        ),
        (
            lambda v, k: top(np.where(cosines_of(v) > 1 - 1e-5, -np.inf, cosines_of(v)), k),
            COSINE_ONE,
        ),
        (those_below_one, COSINE_ONE),
        (lambda v, k: np.argsort(without_self(cosines_of(v)), axis=1)[:, 1 : k + 1], FARTHEST),
        (lambda v, k: top(-cosines_of(v), k), FARTHEST),
        (
            lambda v, k: top(-without_self(cosines_of(v)), k),
            "ascending order, so that -inf comes first. Highest cosine first.",
        ),
        (
            lambda v, k: np.argsort(without_self(cosines_of(v)), axis=1)[::-1][:, :k],
            "`[::-1]` turns round the rows; use `[:, ::-1]`.",
        ),
        (lambda v, k: top(without_self(cosines_of(v)), len(v)), TOO_MANY),
        (lambda v, k: top(without_self(cosines_of(v)), len(v) - 1), TOO_MANY),
        (
            lambda v, k: -np.sort(-without_self(cosines_of(v)), axis=1)[:, :k],
            "the cosines themselves. Return positions: `argsort`.",
        ),
    ],
    clues=[
        (
            partial(as_near, apart=0.11),
            "rounded cosines, or numbers of too small a type, such as `float16`: of many cosines "
            "some lie close together.",
            lambda v, k: top(without_self(cosines_of(v).astype(np.float16)), k),
        ),
        (
            lambda found, right, case: (
                isinstance(found, Array)
                and np.array_equal(np.sort(found, axis=1), np.sort(right, axis=1))
            ),
            "the right neighbours in the wrong order: sort them, best first.",
            lambda v, k: np.argpartition(-without_self(cosines_of(v)), k - 1, axis=1)[:, :k],
        ),
    ],
)

# 1.3 The mean cosine of two different rows: vectors [n, d] -> number


def mean_cosine(vectors: Array) -> float:
    return different(cosines_of(vectors)).mean()


def mean_cosine_cases(generator: Generator) -> list[Case]:
    """Two rows, and three of which two have cosine 0; then rows that lean in one direction, as text
    embeddings do, the first two of them equal.
    """
    shapes = [(2, 2), (3, 2), (10, 4)]
    first, *others = [drawn_rows(generator, *shape, lean=0.5) for shape in shapes]
    for vectors in others:
        vectors[1] = vectors[0]
    orthogonal = np.array([[2, 0], [0, 1], [3, 4]], dtype=np.float32)
    return [{"vectors": vectors} for vectors in (first, orthogonal, *others)]


def different(scores: Array) -> Array:
    return scores[~np.eye(len(scores), dtype=bool)]


def once(scores: Array) -> Array:
    return scores[np.triu_indices(len(scores), 1)]


def length_of_sum(square: bool, rows: Callable = unit_rows) -> Callable:
    """The mean by the length of the rows' sum, as in the second hint."""

    def answer(v):
        total = (rows(v).sum(axis=0) ** 2).sum()
        return ((total if square else total**0.5) - len(v)) / (len(v) * (len(v) - 1))

    return answer


def mean_by_torch(vectors):
    x = torch.from_numpy(vectors).double()
    cosines = F.cosine_similarity(x[:, None], x[None], dim=2)
    return cosines[~torch.eye(len(x), dtype=torch.bool)].mean()


OWN_LENGTH = "divide each row by its own length first."

MEAN_COSINE = Exercise(
    reference=mean_cosine,
    library=geometry.mean_cosine,
    cases=mean_cosine_cases,
    returns=["mean cosine"],
    right=[
        length_of_sum(square=True),
        mean_by_torch,
        lambda v: float(np.mean([cosines_of(v)[i, j] for i in range(len(v)) for j in range(i)])),
        lambda v: np.array(np.nanmean(with_diagonal(cosines_of(v), np.nan))),
    ],
    mistakes=[
        (
            lambda v: cosines_of(v).mean(),
            "the diagonal is counted: every item has cosine 1 with itself. Leave it out.",
        ),
        (
            lambda v: cosines_of(v).sum() / (len(v) * (len(v) - 1)),
            "the diagonal is in the sum and not in the number. Take n out of the sum as well.",
        ),
        (
            lambda v: different(dots(v)).mean(),
            "dot products, not cosines: divide each row by its length first.",
        ),
        (lambda v: dots(v).mean(), "dot products, not cosines, and the diagonal is counted."),
        (
            lambda v: different(cosines_of(v)).sum() / len(v) ** 2,
            "division by n * n; without the diagonal there are n * (n - 1) cosines.",
        ),
        (
            lambda v: once(cosines_of(v)).sum() / (len(v) * (len(v) - 1)),
            "each pair summed once, but divided by n * (n - 1): half too small.",
        ),
        (
            lambda v: np.triu(cosines_of(v), 1).mean(),
            "each pair summed once, but divided by n * n: zeros are averaged in.",
        ),
        (
            lambda v: cosines_of(v)[np.triu_indices(len(v))].mean(),
            "the diagonal is counted: `triu` needs k=1.",
        ),
        (
            lambda v: different(cosines_of(v)).sum() / (len(v) * (len(v) - 1) / 2),
            "both halves of the table summed, but divided by n * (n - 1) / 2: twice too large.",
        ),
        (
            lambda v: different(cosines_of(v)).sum() / len(v),
            "division by n; without the diagonal there are n * (n - 1) cosines.",
        ),
        (
            lambda v: different(cosines_of(v)).sum() / (len(v) - 1),
            "division by n - 1; without the diagonal there are n * (n - 1) cosines.",
        ),
        (lambda v: np.median(different(cosines_of(v))), "the median; the mean is asked for."),
        (lambda v: different(cosines_of(v)).sum(), "a sum; divide by the number of pairs."),
        (lambda v: once(cosines_of(v)).sum(), "a sum; divide by the number of pairs."),
        (
            lambda v: np.abs(different(cosines_of(v))).mean(),
            "absolute values: a cosine may be negative, and counts as it is.",
        ),
        (
            lambda v: (unit_rows(v) @ unit_rows(v.mean(axis=0, keepdims=True))[0]).mean(),
            "cosines with the mean vector; pairs of items are asked for.",
        ),
        (
            lambda v: different(by_columns(v)).mean(),
            "columns divided by their length; divide the rows (axis=1).",
        ),
        (lambda v: different(dots(without_keepdims(v))).mean(), KEEPDIMS),
        (
            lambda v: different(dots(v)).mean() / np.linalg.norm(v) ** 2,
            f"one length for the whole table; {OWN_LENGTH}",
        ),
        (
            lambda v: np.linalg.norm(unit_rows(v).mean(axis=0)),
            "the length of the mean of the unit rows. Its square is the mean of all n * n cosines, "
            "the diagonal among them.",
        ),
        (
            length_of_sum(square=True, rows=lambda v: v / np.linalg.norm(v)),
            f"one length for the whole table; {OWN_LENGTH}",
        ),
        (length_of_sum(square=False), "the length of the sum, without its square."),
        (
            length_of_sum(square=True, rows=lambda v: v),
            f"a sum of rows of any length; {OWN_LENGTH}",
        ),
        (
            lambda v: (unit_rows(v).sum(axis=0) ** 2).sum() / len(v) ** 2,
            "the diagonal is counted: every item has cosine 1 with itself. Leave it out.",
        ),
        (
            lambda v: (cosines_of(v).sum(axis=1) - 1) / (len(v) - 1),
            "a mean for every row; take the mean over all pairs.",
        ),
        (
            lambda v: cosines_of(v)[0, 1:].mean(),
            "the first row's pairs alone: a `return` inside the loop.",
        ),
        (
            lambda v: np.diag(cosines_of(v), 1).mean(),
            "pairs of neighbouring rows alone; all pairs are asked for.",
        ),
        (
            lambda v: once(cosines_of(v))[once(cosines_of(v)) != 0].mean(),
            "pairs with cosine 0 left out. They count: pick the pairs by their place, "
            "`np.triu_indices(n, 1)`.",
        ),
        (
            lambda v: cosines_of(v)[cosines_of(v) < 1 - 1e-5].mean(),
            "pairs with cosine 1 left out. Leave out the diagonal by its place: two equal rows are "
            "a pair too.",
        ),
        (
            lambda v: 1 - mean_cosine(v),
            "the distance, 1 minus the cosine; the cosine is asked for.",
        ),
    ],
)

# 1.4 Columns of mean 0, and a mean square of 1 over the whole table: x [n, d] -> [n, d]


def standardize(x: Array) -> Array:
    return centre(x) / centre(x).std()


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


def centre(x: Array) -> Array:
    return x - x.mean(axis=0)


def by_row(x: Array) -> Array:
    return x - x.mean(axis=1, keepdims=True)


def scaled(scale: Callable, centred: Callable = centre) -> Callable:
    """A table centred and divided by scale(centred table, table)."""

    def answer(x):
        with np.errstate(all="ignore"):
            return centred(x) / scale(centred(x), x)

    return answer


def root_mean_square(x: Array) -> float:
    return np.sqrt(np.square(x).mean())


def same(x: Array) -> Array:
    return x


def minus_its_mean(x: Array) -> Array:
    return x - x.mean()


EACH_COLUMN = "a standard deviation for every column; one number for the whole table is asked for."
NOT_CENTRED = "scaled and not centred: take the mean of every column away first."
OWN_LENGTH_OF_ROW = (
    "every row divided by its own length; one number for the whole table is asked for."
)

STANDARDIZE = Exercise(
    reference=standardize,
    library=letter.standardize,
    cases=standardize_cases,
    returns=["the table"],
    right=[
        scaled(lambda c, x: root_mean_square(c)),
        lambda x: centre(x) * (x.size**0.5 / np.linalg.norm(centre(x))),
        scaled(lambda c, x: c.std() + 1e-8, lambda x: centre(x.astype(np.float64))),
        lambda x: standardize(x.astype(np.longdouble)),
    ],
    mistakes=[
        (
            scaled(lambda c, x: np.linalg.norm(c)),
            "division by the length of the whole table: then the squares add up to 1. Their mean "
            "should be 1.",
        ),
        (scaled(lambda c, x: x.std(axis=0)), EACH_COLUMN),
        (scaled(lambda c, x: x.std(axis=0, ddof=1)), EACH_COLUMN),
        (scaled(lambda c, x: x.std(axis=0) + 1e-8), EACH_COLUMN),
        (scaled(lambda c, x: np.where(c.std(axis=0) > 0, c.std(axis=0), 1)), EACH_COLUMN),
        (scaled(lambda c, x: np.linalg.norm(c, axis=1, keepdims=True)), OWN_LENGTH_OF_ROW),
        (
            scaled(lambda c, x: c.std(axis=1, keepdims=True)),
            "a standard deviation for every row; one number for all.",
        ),
        (centre, "centred and not scaled."),
        (
            scaled(lambda c, x: x.std(axis=0), minus_its_mean),
            "the two axes swapped: one mean per column, one deviation for the whole table.",
        ),
        (
            scaled(lambda c, x: x.std(axis=1, keepdims=True), by_row),
            "mean and standard deviation of every row; the mean is per column.",
        ),
        (
            scaled(lambda c, x: x.std(axis=0).mean()),
            "the mean of the columns' deviations; take one deviation of the whole table.",
        ),
        (
            scaled(lambda c, x: np.abs(c).mean()),
            "the mean absolute value; take the root of the mean square.",
        ),
        (
            scaled(lambda c, x: np.linalg.norm(c, axis=1).mean()),
            "the mean length of the rows; take the root of the mean square of all numbers.",
        ),
        (
            scaled(lambda c, x: np.sqrt(np.square(c).sum(axis=1).mean())),
            "the mean square of the rows' lengths; take that of all numbers.",
        ),
        (
            lambda x: (x - np.median(x, axis=0)) / (x - np.median(x, axis=0)).std(),
            "the median of every column; take its mean away.",
        ),
        (
            scaled(lambda c, x: np.abs(c).max()),
            "division by the largest value; take the standard deviation.",
        ),
        (
            scaled(lambda c, x: x.max() - x.min()),
            "division by the range of the values; take the standard deviation.",
        ),
        (scaled(lambda c, x: root_mean_square(x), same), NOT_CENTRED),
        (scaled(lambda c, x: x.std(), same), NOT_CENTRED),
        (scaled(lambda c, x: centre(x).std(), same), NOT_CENTRED),
        (
            scaled(lambda c, x: x.std(), minus_its_mean),
            "one mean for the whole table; every column has its own, `mean(axis=0)`.",
        ),
        (
            scaled(lambda c, x: c.std(), by_row),
            "the mean of every row is taken away (axis=1); take that of every column (axis=0).",
        ),
        (
            scaled(lambda c, x: c.std() + 1e-12, by_row),
            "the mean of every row is taken away (axis=1); take that of every column (axis=0).",
        ),
        (
            scaled(lambda c, x: root_mean_square(x)),
            "the mean square of the table before centring; measure it after.",
        ),
        (
            scaled(lambda c, x: x.std()),
            "the standard deviation of the table before centring; measure it after.",
        ),
        (
            scaled(lambda c, x: c.std(ddof=1)),
            "`ddof=1`, which is torch's default; NumPy's own, 0, makes the mean square exactly 1.",
        ),
        (
            scaled(lambda c, x: c.var()),
            "division by the variance; its square root is the standard deviation.",
        ),
        (
            lambda x: centre(x) * centre(x).std(),
            "multiplication by the standard deviation; divide.",
        ),
        (
            lambda x: (x + x.mean(axis=0)) / centre(x).std(),
            "the mean is added; take it away.",
        ),
        (
            lambda x: x - x.mean(axis=0) / centre(x).std(),
            "brackets: `x - mean / std` divides the mean alone. Write `(x - mean) / std`.",
        ),
    ],
)

EXERCISES = {"1.1": MASKED_MEAN, "1.2": NEAREST, "1.3": MEAN_COSINE, "1.4": STANDARDIZE}
