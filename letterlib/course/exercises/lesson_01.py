"""Lesson 01: masked mean pooling, embedding in batches, nearest neighbours, standardising.

Vectors have unequal lengths, so that a cosine is never a dot product by coincidence.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial, wraps
from typing import Any

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

# 1.2 All texts: texts, lengths int [n], encode, batch_size -> [n, dim]


class Encoder:
    """In the place of a language model: a vector for each word, the same wherever it stands, and
    others at the padding. It counts its batches, and the positions in them.
    """

    def __init__(self, table: Tensor):
        self.table, self.batches, self.positions = table, 0, 0

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        words = [[int(word[1:]) for word in text.split()] for text in texts]
        longest = max(len(row) for row in words)
        mask = torch.tensor([[int(i < len(row)) for i in range(longest)] for row in words])
        rows = [[*row, *[len(self.table) - 1] * (longest - len(row))] for row in words]
        self.batches += 1
        self.positions += mask.numel()
        return self.table[torch.tensor(rows)], mask

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encoder) and torch.equal(self.table, other.table)

    def __repr__(self) -> str:
        return "a function from texts to states and mask"


def embed_cases(generator: Generator) -> list[Case]:
    """Texts of different lengths, not in their order; the last batch is not full."""
    cases = []
    for lengths, dim, batch_size in [
        ([3, 1, 2], 1, 2),
        ([4, 1, 5, 2, 3], 2, 2),
        ([2, 9, 1, 7, 3, 8, 4, 6, 11, 5, 10], 3, 4),
        ((torch.randperm(70, generator=generator) + 1).tolist(), 4, 8),
    ]:
        table = tenths(torch.randn(11, dim, generator=generator)) + 0.05
        words = [torch.randint(10, (n,), generator=generator).tolist() for n in lengths]
        texts = [" ".join(f"w{word}" for word in row) for row in words]
        cases.append(
            {
                "texts": texts,
                "lengths": np.array(lengths),
                "encode": Encoder(table),
                "batch_size": batch_size,
            }
        )
    return cases


def with_its_cost(answer: Callable) -> Callable:
    """The vectors, the positions that were computed, and the number of batches."""

    @wraps(answer)
    def use(texts, lengths, encode, batch_size):
        encode.batches = encode.positions = 0
        return answer(texts, lengths, encode, batch_size), encode.positions, encode.batches

    return use


def embedder(
    order: Callable = lambda lengths, texts: np.argsort(lengths, kind="stable"),
    batches: Callable = lambda n, size: [(start, start + size) for start in range(0, n, size)],
    pool: Callable = masked_mean,
    back: Callable = lambda joined, order: joined[np.argsort(order)],
) -> Callable:
    """Texts embedded in batches of like length, with one of the steps replaced."""

    def answer(texts, lengths, encode, batch_size):
        places = order(lengths, texts)
        parts = []
        for start, end in batches(len(texts), batch_size):
            parts.append(pool(*encode([texts[i] for i in places[start:end]])))
        return back(torch.cat(parts), places)

    return answer


def embed_all(texts, lengths, encode, batch_size):
    return embedder()(texts, lengths, encode, batch_size)


def embed_into_place(texts, lengths, encode, batch_size):
    order, vectors = sorted(range(len(texts)), key=lambda i: -lengths[i]), [None] * len(texts)
    while order:
        now, order = order[:batch_size], order[batch_size:]
        states, mask = encode([texts[i] for i in now])
        for i, vector in zip(now, masked_mean(states, mask)):
            vectors[i] = vector
    return torch.stack(vectors)


def embed_to_zeros(texts, lengths, encode, batch_size):
    order, vectors = torch.tensor(lengths).argsort(), None
    for part in order.split(batch_size):
        states, mask = encode([texts[i] for i in part])
        vectors = torch.zeros(len(texts), states.shape[2]) if vectors is None else vectors
        vectors[part] = masked_mean(states, mask)
    return vectors


def unsorted_and_put_back(texts, lengths, encode, batch_size):
    starts = range(0, len(texts), batch_size)
    joined = torch.cat([masked_mean(*encode(texts[i : i + batch_size])) for i in starts])
    result = torch.empty_like(joined)
    result[np.argsort(lengths, kind="stable")] = joined
    return result


def in_so_many_parts(texts, lengths, encode, batch_size):
    order = np.argsort(lengths, kind="stable")
    parts = [part for part in np.array_split(order, batch_size) if len(part)]
    joined = torch.cat([masked_mean(*encode([texts[i] for i in part])) for part in parts])
    return joined[np.argsort(order)]


def no_more_positions(found: Any, right: Any, case: Case) -> bool:
    """Whether a number of positions is that of either order, shortest or longest first."""
    if not isinstance(found, int):
        return False
    orders = (lambda lengths, _: np.argsort(lengths), lambda lengths, _: np.argsort(-lengths))
    costs = [with_its_cost(embedder(order))(*map(deepcopy, case.values())) for order in orders]
    return any(found == cost[1] and right in (cost[1], costs[0][1]) for cost in costs)


LEFT_SORTED = (
    "the vectors stand in the order of the lengths, not in that of the texts: everybody gets "
    "somebody else's. Put row i of the sorted table to place `order[i]`."
)
NOT_SORTED = (
    "the texts are not sorted by length before they are cut into batches, so that short ones are "
    "padded to the length of long ones."
)

EMBED = Exercise(
    reference=embed_all,
    cases=embed_cases,
    returns=["the vectors", "positions computed", "batches"],
    use=with_its_cost,
    accepts=no_more_positions,
    right=[embed_into_place, embed_to_zeros],
    mistakes=[
        (embedder(back=lambda joined, order: joined), LEFT_SORTED),
        (
            embedder(back=lambda joined, order: joined[order]),
            "`vectors[order]`, which sorts a second time. The other way round: "
            "`result[order] = vectors`, or `vectors[np.argsort(order)]`.",
        ),
        (embedder(order=lambda lengths, texts: np.arange(len(texts))), NOT_SORTED),
        (
            embedder(
                order=lambda lengths, texts: np.array(
                    sorted(range(len(texts)), key=texts.__getitem__)
                )
            ),
            "texts sorted by the alphabet; sort them by `lengths`.",
        ),
        (
            unsorted_and_put_back,
            "`order` is used to put the vectors back, and not to make the batches: "
            "`encode([texts[i] for i in order[start:end]])`.",
        ),
        (
            in_so_many_parts,
            "`batch_size` parts. It is the number of texts in a batch.",
        ),
        (
            embedder(pool=lambda states, mask: states.mean(dim=1)),
            "a mean that takes in the padding: use `masked_mean(states, mask)`.",
        ),
        (
            embedder(pool=lambda states, mask: (states * mask[..., None]).sum(dim=1)),
            "a sum; use `masked_mean(states, mask)`.",
        ),
        (
            embedder(pool=lambda states, mask: states[:, 0]),
            "the state of the first token; use `masked_mean(states, mask)`.",
        ),
        (
            embedder(batches=lambda n, size: [(i, i + 1) for i in range(n)]),
            "one text at a time. Cut them into batches of `batch_size`.",
        ),
        (
            embedder(batches=lambda n, size: [(0, n)]),
            "all texts in one batch. Cut them into batches of `batch_size`.",
        ),
        (
            embedder(
                batches=lambda n, size: [(i, i + 64) for i in range(0, n, 64)],
            ),
            "64 written into the function; use its argument batch_size.",
        ),
        (
            embedder(
                batches=lambda n, size: [(i * size, (i + 1) * size) for i in range(n // size)],
                back=lambda joined, order: joined,
            ),
            "the last batch is left out, which is not full: `range(0, n, batch_size)`. And the "
            "vectors stand in the order of the lengths.",
        ),
        (
            embedder(
                batches=lambda n, size: [(i * size, (i + 1) * size) for i in range(n // size)],
                back=lambda joined, order: joined[np.argsort(order[: len(joined)])],
            ),
            "the last batch is left out, which is not full: `range(0, n, batch_size)`.",
        ),
        (
            embedder(
                batches=lambda n, size: [(i, i + size) for i in range(n)],
                back=lambda joined, order: joined,
            ),
            "batches that overlap: the range goes in steps of batch_size, "
            "`range(0, n, batch_size)`.",
        ),
        (
            embedder(
                batches=lambda n, size: [(n - size if n > size else 0, n)],
                back=lambda joined, order: joined,
            ),
            "the last batch alone. Collect the vectors of every batch in a list, and join them "
            "with `torch.cat`.",
        ),
        (
            embedder(
                batches=lambda n, size: [(0, size)],
                back=lambda joined, order: joined,
            ),
            "the first batch alone: a `return` inside the loop.",
        ),
    ],
    stops={
        "only integer tensors": "A list is indexed by one number at a time: "
        "`[texts[i] for i in order[start:end]]`.",
        "only integer scalar": "A list is indexed by one number at a time: "
        "`[texts[i] for i in order[start:end]]`.",
        "list indices must be": "A list is indexed by one number at a time: "
        "`[texts[i] for i in order[start:end]]`.",
        "stack expects each": "The last batch may be smaller: join them with `torch.cat`.",
        "index is out of bounds": "The last batch was left out: `range(0, n, batch_size)`.",
    },
)

# 1.3 The nearest others by cosine: vectors [n, d], k -> int64 [n, k], best first


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
        (
            lambda v, k: np.argsort(cosines_of(v), axis=1)[:, -k - 1 : -1],
            "`argsort` sorts upwards, so the best come last; turn the order round. And the last of "
            "all need not be the film itself: exclude it by its place.",
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

EXERCISES = {"1.1": MASKED_MEAN, "1.2": EMBED, "1.3": NEAREST, "1.4": STANDARDIZE}
