"""Lesson 05: similarity experiment, rank of a target, shared identifiers, the release format.

Vectors are of very different lengths, so that cosine and dot product disagree. Scores are whole
numbers, or these divided by a power of 2, so that equal scores are equal in every order of adding.
"""

import json
from collections import Counter
from collections.abc import Callable
from string import ascii_lowercase

import numpy as np
import torch
from torch import Generator

from letterlib.analysis.collaborative_signal import target_ranks
from letterlib.course.comparing import Case
from letterlib.course.exercise import Exercise


def whole(generator: Generator, shape: tuple[int, ...], size: int) -> np.ndarray:
    """Whole numbers below `size`."""
    return torch.randint(size, shape, generator=generator).numpy()


# 5.1 The similarity experiment: codes int64 [n, L], cf_vectors [n, d] -> shares [L]


def similarity_cases(generator: Generator) -> list[Case]:
    """Two items in opposite directions, which are neighbours all the same; twins, either of which
    may be the first of its own list; then more, at random: (n, dim, levels, codes).
    """
    opposite = np.array([[3.0, 4.0], [-6.0, -8.0]])  # a cosine of -1: only -infinity is lower
    twins = np.array([[2.0, 0.0], [-1.0, 3.0], [2.0, 0.0], [-2.0, 5.0]])
    cases = [
        {"codes": np.array([[0, 1], [1, 1]]), "cf_vectors": opposite},
        {"codes": np.array([[0, 1], [2, 0], [1, 1], [2, 1]]), "cf_vectors": twins},
    ]
    for n, dim, levels, size in [(4, 2, 2, 2), (60, 3, 3, 3)]:
        directions = torch.randn(n, dim, generator=generator, dtype=torch.float64).numpy()
        lengths = 10 ** torch.rand(n, 1, generator=generator, dtype=torch.float64).numpy()
        vectors = np.round(directions * lengths, 3)
        cases.append({"codes": whole(generator, (n, levels), size), "cf_vectors": vectors})
    return cases


def cosines(vectors: np.ndarray) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def similarity(codes: np.ndarray, cf_vectors: np.ndarray) -> np.ndarray:
    cosine = cosines(cf_vectors)
    np.fill_diagonal(cosine, -np.inf)
    neighbour = cosine.argmax(axis=1)
    return (codes == codes[neighbour]).mean(axis=0)


def similarity_with(
    table: Callable = cosines,
    itself: float | None = -np.inf,
    choose: Callable = lambda table: table.argmax(axis=1),
    share: Callable = lambda equal: equal.mean(axis=0),
) -> Callable:
    """The similarity experiment, one of whose steps may be replaced."""

    def answer(codes, cf_vectors):
        scores = table(cf_vectors)
        if itself is not None:
            np.fill_diagonal(scores, itself)
        return share(codes == codes[choose(scores)])

    return answer


def similarity_by_loop(codes, cf_vectors):
    counts = np.zeros(codes.shape[1])
    for i, vector in enumerate(cf_vectors):
        others = [j for j in range(len(codes)) if j != i]
        scores = [vector @ cf_vectors[j] / np.linalg.norm(cf_vectors[j]) for j in others]
        counts += codes[i] == codes[others[int(np.argmax(scores))]]
    return counts / len(codes)


def similarity_in_torch(codes, cf_vectors):
    unit = torch.nn.functional.normalize(torch.from_numpy(cf_vectors), dim=1)
    neighbour = (unit @ unit.T).fill_diagonal_(-2).argmax(1).numpy()
    return np.equal(codes, codes[neighbour]).astype(float).mean(0)


def first_that_is_another(codes, cf_vectors):
    order = np.argsort(-cosines(cf_vectors), axis=1).tolist()
    return (codes == codes[[[j for j in row if j != i][0] for i, row in enumerate(order)]]).mean(0)


def with_neighbours(share):
    """share: (codes, the neighbour's number) -> the result."""

    def answer(codes, cf_vectors):
        cosine = cosines(cf_vectors)
        np.fill_diagonal(cosine, -np.inf)
        return share(codes, cosine.argmax(axis=1)).mean(axis=0)

    return answer


LONG_WIN = (
    "dot products of vectors as they are, or all divided by one number: long vectors win. Divide "
    "each row by its own length (`np.linalg.norm` without `axis=1` is one number for the table)."
)
BY_PLACE = (
    "all with cosine 1 are left out. Leave out the item by its place: two items may be equal, and "
    "rounding may put its own cosine a little below 1."
)
BY_COLUMN = "columns divided by their lengths. Every *row* is a vector: `axis=1`."
SHARE = " Take their mean."

SIMILARITY = Exercise(
    reference=similarity,
    cases=similarity_cases,
    returns=["the shares"],
    right=[similarity_by_loop, similarity_in_torch, first_that_is_another],
    mistakes=[
        (
            similarity_with(itself=None),
            "every item is its own nearest neighbour. Leave it out before looking for the best, "
            "which is `argmax`.",
        ),
        *(
            (similarity_with(itself=low), "a diagonal that is not low enough. Use `-np.inf`.")
            for low in (0, -1)  # a cosine may be as low as -1
        ),
        (
            similarity_with(itself=None, choose=lambda t: np.argsort(-t, axis=1)[:, 1]),
            "the second of the sorted list. With two equal items that may be the item itself: "
            "leave it out by its place, on the diagonal.",
        ),
        *(
            (similarity_with(lambda v, f=f: np.where(f(v), -2, cosines(v)), None), BY_PLACE)
            for f in (
                lambda v: np.isclose(cosines(v), 1),
                lambda v: cosines(v) >= 1,
                lambda v: cosines(v) == cosines(v).max(axis=1, keepdims=True),
            )
        ),
        (similarity_with(lambda v: v @ v.T), LONG_WIN),
        (similarity_with(lambda v: v @ v.T / np.linalg.norm(v) ** 2, itself=None), LONG_WIN),
        *(
            (
                similarity_with(lambda v, p=p: -np.linalg.norm(v[:, None] - v, ord=p, axis=2)),
                "distances. The experiment compares directions, by cosine.",
            )
            for p in (1, 2)
        ),
        *(
            (similarity_with(lambda v, p=p: v / np.linalg.norm(v, axis=0) ** p @ v.T), BY_COLUMN)
            for p in (1, 2)
        ),
        (
            similarity_with(lambda v: (v / np.linalg.norm(v, axis=1)) @ v.T),
            "`keepdims=True` is missing: the lengths have to stand in a column.",
        ),
        (similarity_with(lambda v: -cosines(v)), "the *lowest* cosine. Take the highest."),
        *(
            (similarity_with(table), "a mean taken away. Here the vectors stay as they are.")
            for table in (lambda v: cosines(v - v.mean(axis=0)), np.corrcoef)
        ),
        (
            similarity_with(lambda v: np.fill_diagonal(cosines(v), -np.inf), itself=None),
            "`np.fill_diagonal` changes the table it is given and returns None.",
        ),
        (
            similarity_with(choose=lambda t: t.max(axis=1).astype(int)),
            "the highest cosine itself, `max`. You need its place, `argmax`.",
        ),
        (
            with_neighbours(lambda codes, neighbour: codes == neighbour[:, None]),
            "codes compared with the neighbour's number. Its codes are `codes[neighbour]`.",
        ),
        (
            with_neighbours(lambda codes, neighbour: np.abs(codes - codes[neighbour])),
            "a difference of codes. They are names: equal or not.",
        ),
        (similarity_with(share=lambda e: 1 - e.mean(axis=0)), "the share of *different* codes."),
        (
            similarity_with(share=lambda e: e.mean(axis=1)),
            "a mean over levels, one number per item. Average over items: one number per level.",
        ),
        (
            similarity_with(share=lambda e: e.mean()),
            "a mean over items *and* levels. Keep the levels apart: `mean(axis=0)`.",
        ),
        (
            similarity_with(share=lambda e: e.all(axis=1).mean()),
            "whole identifiers compared. Each level counts by itself: one number per level.",
        ),
        (
            similarity_with(share=lambda e: e.mean(axis=0)[0]),
            "a `return` in the loop, after one level.",
        ),
        (similarity_with(share=lambda e: e.sum(axis=0)), "a sum." + SHARE),
        (
            similarity_with(share=lambda e: e.any(axis=0)),
            "`any` asks whether, not how often." + SHARE,
        ),
        (
            similarity_with(share=lambda e: e.all(axis=0)),
            "`all` asks whether, not how often." + SHARE,
        ),
        (similarity_with(share=lambda e: e), "true or false for each item and level." + SHARE),
        (
            similarity_with(share=lambda e: np.cumprod(e, axis=1).mean(axis=0)),
            "prefixes: this level *and all before it* agree. Here each level counts by itself.",
        ),
    ],
)

# 5.2 The rank of the target: states [n, d], vectors [n_items, d], targets int64 [n] -> int64 [n]


def rank_cases(generator: Generator) -> list[Case]:
    """Two items with equal scores; two with scores that are no whole numbers; then (cases, items,
    dimensions), the last with many scores that differ by a thousandth.
    """
    tied = {
        "states": np.array([[1.0], [-1], [3]]),
        "vectors": np.array([[2.0], [2]]),
        "targets": np.array([1, 0, 1]),
    }
    fractions = {
        "states": np.array([[0.5], [0.25], [2]]),
        "vectors": np.array([[1.0], [1.5]]),
        "targets": np.array([0, 0, 1]),
    }
    drawn = []
    for n, items, dim in [(1, 3, 1), (2, 4, 2), (40, 30, 2)]:
        states = whole(generator, (n, dim), 7) - 3.0
        vectors = whole(generator, (items, dim), 7) - 3.0
        targets = whole(generator, (n,), items)
        drawn.append({"states": states, "vectors": vectors, "targets": targets})
    drawn[-1]["states"] /= 1024
    return [tied, fractions, *drawn]


def ranks(states: np.ndarray, vectors: np.ndarray, targets: np.ndarray) -> np.ndarray:
    scores = states @ vectors.T
    own = scores[np.arange(len(targets)), targets][:, None]
    ids = np.arange(len(vectors))
    before = (scores > own) | ((scores == own) & (ids < targets[:, None]))
    return before.sum(axis=1)


def rank_with(
    before: Callable = lambda s, own, ids, t: (s > own) | ((s == own) & (ids < t)),
    scores: Callable = lambda states, vectors: states @ vectors.T,
    own: Callable = lambda scores, targets: scores[np.arange(len(targets)), targets][:, None],
) -> Callable:
    """The target's rank, one of whose steps may be replaced. before: (scores, the target's score,
    item ids, target) -> which items count.
    """

    def answer(states, vectors, targets):
        table = scores(states, vectors)
        ids = np.arange(len(vectors))
        return before(table, own(table, targets), ids, targets[:, None]).sum(axis=1)

    return answer


def rank_in(order: Callable) -> Callable:
    """The target's place in an order of the items, which is made of the scores."""

    def answer(states, vectors, targets):
        return (order(states @ vectors.T) == targets[:, None]).argmax(axis=1)

    return answer


def downwards(scores):
    return np.argsort(-scores, axis=1, kind="stable")


def rank_by_loop(states, vectors, targets):
    found = []
    for state, target in zip(states, targets):
        keys = sorted((-float(state @ vector), item) for item, vector in enumerate(vectors))
        found.append([item for _, item in keys].index(target))
    return np.array(found)


def cosine_scores(states, vectors):
    lengths = np.linalg.norm(states, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    with np.errstate(invalid="ignore"):  # a vector of zeros has no direction
        return states @ vectors.T / lengths


def unit_scores(states, vectors):
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return states @ (vectors / np.maximum(lengths, 1e-12)).T


def ties_by_last_digit(scores):
    return np.lexsort((np.broadcast_to(np.arange(scores.shape[1]) % 10, scores.shape), -scores))


def only_ties_differ(actual, expected, case):
    first = rank_with(lambda s, own, ids, t: s > own)(**case)
    last = rank_with(lambda s, own, ids, t: s >= own)(**case) - 1
    return actual.dtype.kind == "i" and bool(((first <= actual) & (actual <= last)).all())


ROUNDED = "scores that are rounded or made whole numbers, so that unequal ones tie."
SMALL_NUMBER = (
    "a number per id taken from the scores: it outweighs small differences. Compare ids only where "
    "scores are equal."
)
DOT = " SASRec scores with the dot product, so lengths count."
TIES = (
    "ties broken by the *higher* id, or in no order. The lower id comes first: `np.argsort` of the "
    '*negative* scores, with `kind="stable"`.'
)
UPWARDS = "sorted upwards: the best comes last. Items with a higher score come first."
COLUMN = (
    "a row where a column is needed, one number for each row of scores: `[:, None]` makes one of "
    "`targets` and of `scores[np.arange(len(targets)), targets]`."
)

RANKS = Exercise(
    reference=ranks,
    library=target_ranks,
    cases=rank_cases,
    returns=["the ranks"],
    right=[
        rank_by_loop,
        rank_in(downwards),
        lambda s, v, t: np.argsort(downwards(s @ v.T), axis=1)[np.arange(len(t)), t],
    ],
    mistakes=[
        (
            lambda s, v, t: ranks(s, v, t) + 1,
            "counting from 1, or the target itself counted. The best item has rank 0.",
        ),
        (
            rank_with(lambda s, own, ids, t: s > own),
            "ties all go to the target: count the items with an equal score and a lower id.",
        ),
        (
            lambda s, v, t: rank_with(lambda s, own, ids, t: s >= own)(s, v, t) - 1,
            "ties all go against the target. Only those with a lower id come before it.",
        ),
        (
            rank_with(lambda s, own, ids, t: s >= own),
            "the target itself counted, and all ties with it.",
        ),
        (rank_with(lambda s, own, ids, t: (s > own) | ((s == own) & (ids > t))), TIES),
        (rank_in(lambda s: np.argsort(s, axis=1)[:, ::-1]), TIES),
        (rank_in(lambda s: torch.from_numpy(s).topk(s.shape[1]).indices.numpy()), TIES),
        (rank_in(lambda s: torch.from_numpy(s).argsort(1, descending=True).numpy()), TIES),
        (
            rank_with(lambda s, own, ids, t: (s > own) | (ids < t)),
            "every lower id counted. Only those with an *equal* score come before the target.",
        ),
        (
            rank_with(lambda s, own, ids, t: (s >= own) & (ids < t)),
            "only lower ids counted. A higher score comes first whatever its id.",
        ),
        (rank_with(lambda s, own, ids, t: (s == own) & (ids < t)), "only ties counted."),
        (
            rank_with(lambda s, own, ids, t: s < own),
            "items with a *lower* score counted. Those with a higher one come before the target.",
        ),
        (rank_with(lambda s, own, ids, t: (s < own) | ((s == own) & (ids < t))), UPWARDS),
        (rank_in(lambda s: np.argsort(s, axis=1)), UPWARDS),
        (
            lambda s, v, t: downwards(s @ v.T)[np.arange(len(t)), t],
            "`argsort` says which item is at a place. You need the place of an item.",
        ),
        (lambda s, v, t: downwards(s @ v.T), "the whole ranking. Return the target's place in it."),
        (
            lambda s, v, t: np.where(downwards(s @ v.T) == t[:, None])[0],
            "the rows of `np.where`, `[0]`. The places in the rows are `[1]`.",
        ),
        (lambda s, v, t: t, "the targets themselves."),
        (
            lambda s, v, t: (s @ v.T)[np.arange(len(t)), t],
            "the target's score. Its rank is how many items come before it.",
        ),
        (lambda s, v, t: ranks(s, v, t) / len(v), "a share, such as `mean`. Count: `sum`."),
        (rank_with(scores=cosine_scores), "cosines." + DOT),
        (rank_with(scores=unit_scores), "cosines." + DOT),
        (rank_with(scores=lambda s, v: -np.square(s[:, None] - v).sum(2)), "distances." + DOT),
        *((rank_with(scores=lambda s, v, f=f: f(s @ v.T)), ROUNDED) for f in (np.trunc, np.round)),
        (rank_with(scores=lambda s, v: (s @ v.T).round(2)), ROUNDED),
        *(
            (rank_in(lambda s, x=x: downwards(s - x * np.arange(s.shape[1]))), SMALL_NUMBER)
            for x in (1, 0.1, 0.01, 1e-3, 1e-4)
        ),
        (
            rank_with(lambda s, own, ids, t: s > own | (s == own) & (ids < t)),
            "brackets are missing: `|` and `&` come before `>`. Write `(scores > own) | (...)`.",
        ),
        (rank_with(own=lambda s, t: s[np.arange(len(t)), t]), COLUMN),
        (rank_with(own=lambda s, t: s[:, t]), COLUMN),
        (rank_with(lambda s, own, ids, t: (s > own) | ((s == own) & (ids < t[:, 0]))), COLUMN),
        (
            rank_with(scores=lambda s, v: s @ v),
            "`.T` is missing: `states @ vectors.T` has one row per case, one column per item.",
        ),
    ],
    clues=[(only_ties_differ, TIES, rank_in(ties_by_last_digit))],
)

# 5.3 Shared identifiers: codes int64 [n_items, L] -> (number of items that share, collision rate)


def sharing_cases(generator: Generator) -> list[Case]:
    """No item shares, though some identifiers look alike; two do; then groups of two, three and
    five among many. Each has another number of levels.
    """
    digits = np.array([[0, 1], [1, 0], [0, 10], [10, 0], [0, 100], [100, 0]])
    groups = [[1, 1], [2, 1], [5, 3, 3, 2, *[1] * 20]]
    cases = [{"codes": digits}]
    for n_levels, sizes in zip((3, 4, 5), groups):
        picked = torch.randperm(3**n_levels, generator=generator)[: len(sizes)].numpy()
        distinct = picked[:, None] // 3 ** np.arange(n_levels) % 3
        # Codes of one, two and three digits: joined without a sign between them, two identifiers
        # may look alike.
        names = np.array([1, 11, 111])[distinct]
        names[-1] = 2  # and one, which is alone, may not,
        names[-2, 0] = 3  # nor one that has codes in common with others
        if len(names) > 2:
            names[-3] = [*names[-4][:-1], 4]  # two that differ in the last code alone
        codes = np.repeat(names, sizes, axis=0)
        cases.append({"codes": codes[torch.randperm(len(codes), generator=generator).numpy()]})
    return cases


def shared(codes: np.ndarray) -> tuple[int, float]:
    _, counts = np.unique(codes, axis=0, return_counts=True)
    return int(counts[counts > 1].sum()), 1 - len(counts) / len(codes)


def shared_by_counter(codes):
    rows = [tuple(row) for row in codes.tolist()]
    count = Counter(rows)
    return sum(count[row] > 1 for row in rows), 1 - len(count) / len(rows)


def shared_by_comparison(codes):
    equal = (codes[:, None] == codes).all(axis=2)
    return int((equal.sum(axis=1) > 1).sum()), float(1 - (1 / equal.sum(axis=1)).sum() / len(codes))


def counting(number: Callable) -> Callable:
    """number: how many items have each identifier -> the first result. The second is right."""

    def answer(codes):
        sizes = np.unique(codes, axis=0, return_counts=True)[1]
        return int(number(sizes)), shared(codes)[1]

    return answer


def rating(rate: Callable) -> Callable:
    """rate: (items that share, items, how many have each identifier) -> the second result."""

    def answer(codes):
        sharing, _ = shared(codes)
        return sharing, rate(sharing, len(codes), np.unique(codes, axis=0, return_counts=True)[1])

    return answer


def named(name: Callable) -> Callable:
    """Items compared by a name that is made of their codes."""

    def answer(codes):
        count = Counter(name(row) for row in codes.tolist())
        return sum(n for n in count.values() if n > 1), 1 - len(count) / len(codes)

    return answer


def in_base(base: int) -> Callable:
    return lambda row: sum(code * base**place for place, code in enumerate(row[::-1]))


def any_code_shared(codes):
    equal = (codes[:, None] == codes).any(axis=2)
    return int((equal.sum(axis=1) > 1).sum()), shared(codes)[1]


def single_codes(codes):
    counts = np.unique(codes, return_counts=True)[1]
    return int(counts[counts > 1].sum()), 1 - len(counts) / len(codes)


def levels_compared(codes):
    counts = np.unique(codes, axis=1, return_counts=True)[1]
    return int(counts[counts > 1].sum()), 1 - len(counts) / len(codes)


WHOLE_ROWS = "single codes counted. With `axis=0`, `np.unique` compares whole rows."
RATE = " The rate of the papers is 1 - distinct identifiers / items."
JOINED = "codes joined without a sign between them: 1, 11 and 11, 1 become one. Use a tuple."
UNORDERED = "codes without their order: 0, 1 and 1, 0 are two identifiers."
LEVELS = "a fixed number of levels. There may be more or fewer."
joined = named(lambda row: "".join(map(str, row)))

SHARED = Exercise(
    reference=shared,
    cases=sharing_cases,
    returns=["sharing", "rate"],
    right=[shared_by_counter, shared_by_comparison],
    mistakes=[
        (lambda codes: shared(codes)[::-1], "the two results in the other order."),
        (
            counting(lambda sizes: (sizes * (sizes - 1)).sum() // 2),
            "pairs. Five items with one identifier are ten pairs and five items.",
        ),
        (counting(lambda sizes: (sizes * (sizes - 1)).sum()), "pairs, each twice. Count items."),
        (
            counting(lambda sizes: (sizes - 1).sum()),
            "items beyond the first of each identifier. The first one shares its identifier too.",
        ),
        (counting(lambda sizes: (sizes > 1).sum()), "identifiers that are shared. Count items."),
        (counting(lambda sizes: (sizes == 1).sum()), "items that are *alone*. Count the others."),
        (counting(lambda sizes: sizes[sizes > 2].sum()), "groups of two, which share, left out."),
        (counting(lambda sizes: sizes.max()), "the largest group. Add up all groups."),
        (counting(len), "the number of distinct identifiers."),
        (counting(sum), "all items. Count only those whose identifier more than one item has."),
        (single_codes, WHOLE_ROWS),
        (
            lambda codes: (np.unique(codes, return_counts=True)[1].sum(), shared(codes)[1]),
            WHOLE_ROWS,
        ),
        (lambda codes: (shared(codes)[0], 1 - len(np.unique(codes)) / len(codes)), WHOLE_ROWS),
        (lambda codes: (shared(codes)[0], 1 - len(np.unique(codes)) / codes.size), WHOLE_ROWS),
        (levels_compared, "levels compared, `axis=1`. An item's identifier is a row."),
        (any_code_shared, "items with *one* code in common: `all`, not `any`."),
        (joined, JOINED),
        (lambda codes: (shared(codes)[0], joined(codes)[1]), JOINED),
        *(
            (
                named(in_base(base)),
                "codes joined to one number, in which they overlap. Use a tuple.",
            )
            for base in (10, 100)
        ),
        *((named(name), UNORDERED) for name in (sum, frozenset)),
        *((named(lambda row, n=n: tuple(row[:n])), LEVELS) for n in (3, 4)),
        (lambda codes: shared(np.array([(a, b, c, d) for a, b, c, d in codes])), LEVELS),
        (
            lambda codes: (shared(codes)[0] / len(codes), shared(codes)[1]),
            "a share, not a number of items.",
        ),
        (rating(lambda sharing, n, sizes: sharing), "the two results are the same number."),
        (rating(lambda sharing, n, sizes: sharing / n), "sharing items / items." + RATE),
        (rating(lambda sharing, n, sizes: 1 - sharing / n), "1 - sharing items / items." + RATE),
        (
            rating(lambda sharing, n, sizes: sharing / len(sizes)),
            "sharing items / identifiers." + RATE,
        ),
        *(
            (rating(rate), "identifiers that are shared, divided." + RATE)
            for rate in (
                lambda sharing, n, sizes: (sizes > 1).sum() / len(sizes),
                lambda sharing, n, sizes: (sizes > 1).sum() / n,
            )
        ),
        (rating(lambda sharing, n, sizes: len(sizes) / n), "identifiers / items. Take it from 1."),
        (
            rating(lambda sharing, n, sizes: n / len(sizes) - 1),
            "divided by the number of distinct identifiers. Divide by the number of items.",
        ),
        (rating(lambda sharing, n, sizes: n - len(sizes)), "a count. Divide it by all items."),
        (rating(lambda sharing, n, sizes: 1 - len(sizes) // n), "`//`, which cuts off. Use `/`."),
        (rating(lambda sharing, n, sizes: 100 * (1 - len(sizes) / n)), "a percentage."),
        (rating(lambda sharing, n, sizes: round(1 - len(sizes) / n, 2)), "a rate that is rounded."),
    ],
)

# 5.4 The table of the release format: codes int64 [n_items, L] -> {"0": ["<a_12>", ...], ...}


def table_cases(generator: Generator) -> list[Case]:
    """(items, levels, codes): one code; one item; then more than ten items with codes of one, two
    and three digits.
    """
    shapes = [(1, 1, 10), (1, 3, 100), (3, 2, 256), (1, 9, 256), (2, 26, 256), (12, 4, 256)]
    cases = [{"codes": whole(generator, shape, size)} for *shape, size in shapes]
    for case in cases[2:]:
        case["codes"][0, :2] = [0, 255]
    return cases


def index_table(codes: np.ndarray) -> dict[str, list[str]]:
    letters = "abcdefghijklmnopqrstuvwxyz"
    return {
        str(item): [f"<{letter}_{code}>" for letter, code in zip(letters, row)]
        for item, row in enumerate(codes)
    }


def table_with(
    token: str | Callable = "<{}_{}>",
    row: Callable = list,
    key: Callable = str,
    codes_of: Callable = lambda codes: codes,
) -> Callable:
    """The table, one of whose steps may be replaced. token: of the letter and the code."""
    write = token.format if isinstance(token, str) else token

    def answer(codes):
        return {
            key(item): row([write(letter, code) for letter, code in zip(ascii_lowercase, one)])
            for item, one in enumerate(codes_of(codes))
        }

    return answer


def table_by_loop(codes):
    table = {}
    for item in range(len(codes)):
        table[str(item)] = []
        for level in range(codes.shape[1]):
            letter = chr(ord("a") + level)
            table[str(item)].append("<" + letter + "_" + str(codes[item, level]) + ">")
    return table


def letters_of_items(codes):
    letters = ascii_lowercase
    return {str(i): [f"<{letters[i]}_{code}>" for code in row] for i, row in enumerate(codes)}


def rows_of_levels(codes):
    return {a: [f"<{a}_{code}>" for code in column] for a, column in zip(ascii_lowercase, codes.T)}


def too_few_letters(codes):
    return {
        str(item): [f"<{'abcd'[level]}_{code}>" for level, code in enumerate(row)]
        for item, row in enumerate(codes)
    }


def one_list_for_all(codes):
    table, row = {}, []
    for item, one in enumerate(codes):
        for letter, code in zip(ascii_lowercase, one):
            row.append(f"<{letter}_{code}>")
        table[str(item)] = row
    return table


CODES = 'the codes themselves. A token is a string such as "<a_12>".'
FEWER = "fewer tokens than levels, of which there may be 26. Did the letters run out?"
KEYS = 'keys that are not "0", "1", ... up to the last item.'
LEVEL_NUMBER = "a number for the level. The format has letters."

INDEX_TABLE = Exercise(
    reference=index_table,
    cases=table_cases,
    returns=["the table"],
    right=[
        table_by_loop,
        lambda codes: json.loads(json.dumps(index_table(codes))),
        lambda codes: dict(reversed(index_table(codes).items())),
        table_with(row=lambda tokens: list(np.array(tokens))),  # NumPy's strings are strings too
    ],
    mistakes=[
        (
            lambda codes: list(index_table(codes).values()),
            "the rows alone. In the file every item's row stands under its number.",
        ),
        (lambda codes: json.dumps(index_table(codes)), "JSON text. Return the table, a dict."),
        (rows_of_levels, "a row for each level. Each item has a row, under its number."),
        (table_with(key=int), 'numbers as keys. JSON has only strings as keys: "0", not 0.'),
        (table_with(key=lambda item: str(item + 1)), KEYS),
        *((table_with(key=name.format), KEYS) for name in ("<{}>", "item_{}", "item{}")),
        (lambda codes: {}, KEYS),
        (
            lambda codes: dict([index_table(codes).popitem()]),
            "the last item alone: a new dict in every round of the loop, or one key for all.",
        ),
        (lambda codes: {"0": index_table(codes)["0"]}, "a `return` in the loop, after one item."),
        (one_list_for_all, "one list for all items. Begin a new one for each."),
        (table_with(row=tuple), "a tuple of tokens. JSON would write it as a list: return a list."),
        *(
            (table_with(row=sign.join), "one long string in place of a list of tokens.")
            for sign in ("", " ")
        ),
        (
            table_with(row=lambda tokens: [[token] for token in tokens]),
            "a list around every token. One list for each item is enough.",
        ),
        (table_with("{1}"), "codes as strings. A token has its level's letter too."),
        (table_with(lambda letter, code: code), CODES),
        (lambda codes: {str(i): row for i, row in enumerate(codes)}, CODES),
        (
            table_with(lambda letter, code: (letter, code)),
            "pairs of letter and code. A token is one string.",
        ),
        (table_with("<{1}>"), "the letter is missing: code 7 would be one token at all levels."),
        (table_with("<a_{1}>"), "the letter a at every level."),
        (letters_of_items, "the letter of the item's row. It says the level."),
        (table_with(lambda a, code: f"<{a.upper()}_{code}>"), "capital letters; use small ones."),
        (
            table_with(row=lambda tokens: tokens[::-1]),
            "levels in the wrong order: the coarse one, <a_...>, comes first.",
        ),
        (table_with(codes_of=lambda codes: codes[:, ::-1]), "codes in reverse order."),
        (table_with(lambda a, code: f"<{chr(ord(a) + 1)}_{code}>"), "letters that begin with b."),
        *(
            (table_with(lambda a, code, one=one: f"<{ord(a) - one}_{code}>"), LEVEL_NUMBER)
            for one in (ord("a"), ord("a") - 1)
        ),
        (table_with(codes_of=lambda codes: codes + 1), "codes counted from 1."),
        (
            table_with(codes_of=lambda codes: codes * 1.0),
            "codes with a decimal point: `int(code)`.",
        ),
        (table_with("{}_{}"), "the angle brackets are missing."),
        (table_with("<{}{}>"), "the underscore is missing."),
        (table_with("<{}-{}>"), "a hyphen for the underscore."),
        (table_with("<{}_{:03}>"), "zeros in front: <a_007> is another string than <a_7>."),
        (table_with("<{{letter}}_{{code}}>"), "the `f` in front of the string is missing."),
        (table_with(lambda a, code: f"<{a}_{code}>".encode()), "bytes: leave out `encode`."),
        (too_few_letters, FEWER),
    ],
    clues=[
        (
            lambda actual, expected, case: actual == expected[: len(actual)],
            FEWER,
            table_with(row=lambda tokens: tokens[:9]),
        ),
    ],
)

EXERCISES = {
    "5.1": SIMILARITY,
    "5.2": RANKS,
    "5.3": SHARED,
    "5.4": INDEX_TABLE,
}
