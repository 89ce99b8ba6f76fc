"""Answers to lesson 05: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import json
from collections import Counter

import numpy as np
import torch

from letterlib.analysis.collaborative_signal import target_ranks
from letterlib.tokenizer.identifiers import Identifiers

NAMES = {"np": np, "torch": torch, "Identifiers": Identifiers}
"""What the notebook has imported by the time it reaches its exercises."""

# 5.1 the similarity experiment


def similarity_with(scores=None, shares=lambda equal: equal.mean(axis=0), itself=-np.inf):
    """The similarity experiment with one of its steps replaced."""

    def answer(codes, cf_vectors):
        unit = cf_vectors / np.linalg.norm(cf_vectors, axis=1, keepdims=True)
        table = unit @ unit.T if scores is None else scores(cf_vectors)
        if itself is not None:
            np.fill_diagonal(table, itself)
        return shares(codes == codes[table.argmax(axis=1)])

    return answer


def without_all_that_are_equal(codes, cf_vectors):
    def others(vectors):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.where(np.isclose(unit @ unit.T, 1), -np.inf, unit @ unit.T)

    return similarity_with(others, itself=None)(codes, cf_vectors)


def cosines_by_column(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=0, keepdims=True)
    return unit @ unit.T


def similarity_by_loop(codes, cf_vectors):
    counts = np.zeros(codes.shape[1])
    for i, vector in enumerate(cf_vectors):
        others = [j for j in range(len(codes)) if j != i]
        best = max(others, key=lambda j: vector @ cf_vectors[j] / np.linalg.norm(cf_vectors[j]))  # noqa: B023
        counts += codes[i] == codes[best]
    return counts / len(codes)


def similarity_in_torch(codes, cf_vectors):
    unit = torch.nn.functional.normalize(torch.from_numpy(cf_vectors), dim=1)
    neighbour = (unit @ unit.T).fill_diagonal_(-2).argmax(1).numpy()
    return np.equal(codes, codes[neighbour]).astype(float).mean(0)


def second_of_the_list(codes, cf_vectors):
    unit = cf_vectors / np.linalg.norm(cf_vectors, axis=1, keepdims=True)
    return (codes == codes[np.argsort(-(unit @ unit.T), axis=1)[:, 1]]).mean(axis=0)


def first_of_the_list_but_itself(codes, cf_vectors):
    unit = cf_vectors / np.linalg.norm(cf_vectors, axis=1, keepdims=True)
    nearest = [
        [j for j in row if j != i][0]
        for i, row in enumerate(np.argsort(-(unit @ unit.T), axis=1).tolist())
    ]
    return (codes == codes[nearest]).mean(axis=0)


def changes_its_input(codes, cf_vectors):
    cf_vectors /= np.linalg.norm(cf_vectors, axis=1, keepdims=True)
    return similarity_with()(codes, cf_vectors)


# 5.2 the rank of the target


def rank_by_cosines(states, vectors, targets):
    lengths = np.linalg.norm(states, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
    with np.errstate(invalid="ignore"):
        scores = states @ vectors.T / lengths
    own, ids = scores[np.arange(len(targets)), targets][:, None], np.arange(len(vectors))
    return ((scores > own) | ((scores == own) & (ids < targets[:, None]))).sum(axis=1)


def rank_by_counting(states, vectors, targets):
    scores = states @ vectors.T
    own = scores[np.arange(len(targets)), targets][:, None]
    before = (scores > own) | ((scores == own) & (np.arange(len(vectors)) < targets[:, None]))
    return before.sum(axis=1)


def rank_by_loop(states, vectors, targets):
    ranks = []
    for state, target in zip(states, targets, strict=True):
        keys = sorted((-float(state @ vector), item) for item, vector in enumerate(vectors))
        ranks.append([item for _, item in keys].index(target))
    return np.array(ranks)


def rank_with(count):
    def answer(states, vectors, targets):
        scores = states @ vectors.T
        own = scores[np.arange(len(targets)), targets][:, None]
        return count(scores, own, np.arange(len(vectors)), targets[:, None])

    return answer


def without_a_new_axis(states, vectors, targets):
    scores = states @ vectors.T
    return (scores > scores[np.arange(len(targets)), targets]).sum(axis=1)


def rank_in(order):
    """The target's place in a ranking of the items, best first."""

    def answer(states, vectors, targets):
        return (order(states @ vectors.T) == targets[:, None]).argmax(axis=1)

    return answer


def ties_by_last_digit(scores):
    return np.lexsort((np.broadcast_to(np.arange(scores.shape[1]) % 10, scores.shape), -scores))


def rank_of_scores(change):
    """The rank by the scores after a change of them."""

    def answer(states, vectors, targets):
        return rank_in(lambda scores: np.argsort(-change(scores), axis=1, kind="stable"))(
            states, vectors, targets
        )

    return answer


def order_of(states, vectors):
    return np.argsort(-(states @ vectors.T), axis=1, kind="stable")


# 5.3 items that share


def sharing_by_counter(codes):
    rows = [tuple(row) for row in codes.tolist()]
    count = Counter(rows)
    return sum(count[row] > 1 for row in rows), 1 - len(count) / len(rows)


def sharing_by_comparison(codes):
    equal = (codes[:, None] == codes).all(axis=2)
    return int((equal.sum(axis=1) > 1).sum()), float(1 - (1 / equal.sum(axis=1)).sum() / len(codes))


def sharing_with(number=None, rate=None):
    def answer(codes):
        one = Identifiers(codes, tuple(codes.max(axis=0) + 1))
        sizes = np.unique(codes, axis=0, return_counts=True)[1]
        found = one.n_colliding if number is None else int(number(codes, sizes))
        return found, one.collision_rate if rate is None else float(rate(found, len(codes), sizes))

    return answer


def shared_numbers(codes):
    count = np.unique(codes, return_counts=True)[1]
    return count[count > 1].sum(), 1 - len(count) / len(codes)


def any_code_shared(codes):
    equal = (codes[:, None] == codes).any(axis=2)
    return int((equal.sum(axis=1) > 1).sum()), 1 - len(np.unique(codes, axis=0)) / len(codes)


# 5.4 the release format


def table_by_loop(codes):
    table = {}
    for item in range(len(codes)):
        table[str(item)] = []
        for level in range(codes.shape[1]):
            table[str(item)].append(
                "<" + chr(ord("a") + level) + "_" + str(codes[item, level]) + ">"
            )
    return table


def table_of_library(codes):
    one = Identifiers(codes, (256,) * codes.shape[1])
    return {str(item): one.tokens(item) for item in range(len(one))}


def table_with(token, row=lambda tokens: tokens, key=str, codes_of=lambda codes: codes):
    def answer(codes):
        codes = codes_of(codes)
        return {
            key(i): row([token(chr(97 + k), int(c)) for k, c in enumerate(one)])
            for i, one in enumerate(codes)
        }

    return answer


def table_of_columns(codes):
    """Rows that are lists of arrays, of a letter and a code each."""
    letters = [chr(97 + level) for level in range(codes.shape[1])]
    return {str(i): list(np.column_stack([letters, row])) for i, row in enumerate(codes)}


def table_with_letters_of_items(codes):
    letters = "abcdefghijklmnopqrstuvwxyz"
    return {str(i): [f"<{letters[i]}_{code}>" for code in row] for i, row in enumerate(codes)}


def right_token(letter, code):
    return f"<{letter}_{code}>"


RIGHT = {
    "5.1": [similarity_by_loop, similarity_in_torch, first_of_the_list_but_itself],
    "5.2": [
        rank_by_counting,
        rank_by_loop,
        lambda s, v, t: np.argsort(order_of(s, v), axis=1)[np.arange(len(t)), t],
    ],
    "5.3": [sharing_by_counter, sharing_by_comparison],
    "5.4": [
        table_by_loop,
        table_of_library,
        lambda codes: json.loads(json.dumps(table_by_loop(codes))),
        lambda codes: dict(reversed(table_by_loop(codes).items())),
        table_with(
            right_token, row=lambda tokens: list(np.array(tokens))
        ),  # NumPy's strings are strings, for JSON too
    ],
}

WRONG = [
    ("5.1", similarity_with(itself=None), "own nearest neighbour"),
    ("5.1", similarity_with(lambda v: v @ v.T), "dot products"),
    (
        "5.1",
        similarity_with(lambda v: (v / np.linalg.norm(v)) @ (v / np.linalg.norm(v)).T),
        "without `axis=1` is one number for the whole table",
    ),
    ("5.1", similarity_with(lambda v: -np.linalg.norm(v[:, None] - v, axis=2)), "Euclidean"),
    ("5.1", similarity_with(shares=lambda equal: equal.mean(axis=1)), "mean over levels"),
    ("5.1", similarity_with(shares=lambda equal: equal.mean()), "keep the levels apart"),
    ("5.1", similarity_with(shares=lambda equal: equal.sum(axis=0)), "a sum"),
    (
        "5.1",
        similarity_with(shares=lambda equal: np.cumprod(equal, axis=1).mean(axis=0)),
        "all before it",
    ),
    ("5.1", similarity_with(shares=lambda equal: 1 - equal.mean(axis=0)), "*different* codes"),
    ("5.1", lambda codes, v: torch.from_numpy(similarity_with()(codes, v)), "should be an array"),
    ("5.1", changes_its_input, "in place"),
    ("5.1", second_of_the_list, "With two equal films it may be the other one"),
    ("5.1", similarity_with(itself=0), "not low enough"),
    ("5.1", similarity_with(itself=-1), "not low enough"),
    ("5.1", without_all_that_are_equal, "by its place"),
    (
        "5.1",
        lambda codes, v: np.float64(similarity_with()(codes, v)[0]),
        "a `return` inside the loop",
    ),
    ("5.1", lambda codes, v: similarity_with()(codes, v - v.mean(axis=0)), "their mean taken away"),
    ("5.1", similarity_with(lambda v: cosines_by_column(v)), "Every *row* is a vector"),
    ("5.1", similarity_with(shares=lambda equal: equal.any(axis=0)), "is true or false"),
    (
        "5.2",
        rank_with(lambda scores, own, ids, t: (scores > own).sum(axis=1)),
        "ties all go to the target",
    ),
    ("5.2", lambda *case: target_ranks(*case).astype(float), "a conversion such as `.astype(...)`"),
    (
        "5.2",
        lambda *case: target_ranks(*case).astype(float),
        "hold fractions unless they are given `dtype=int`",
    ),
    (
        "5.2",
        rank_with(lambda scores, own, ids, t: (scores >= own).sum(axis=1) - 1),
        "ties all go against",
    ),
    (
        "5.2",
        rank_with(lambda scores, own, ids, t: (scores >= own).sum(axis=1)),
        "comes after itself",
    ),
    ("5.2", lambda s, v, t: rank_by_counting(s, v, t) + 1, "counting from 1"),
    ("5.2", lambda s, v, t: order_of(s, v)[np.arange(len(t)), t], "which item is at a place"),
    ("5.2", lambda s, v, t: order_of(s, v), "whole ranking"),
    ("5.2", rank_with(lambda scores, own, ids, t: (scores < own).sum(axis=1)), "*lower* score"),
    ("5.2", rank_with(lambda scores, own, ids, t: own[:, 0]), "target's score"),
    ("5.2", lambda s, v, t: rank_by_counting(s, v, t).tolist(), "should be an array"),
    (
        "5.2",
        rank_with(lambda scores, own, ids, t: ((scores > own) | (ids < t)).sum(axis=1)),
        "every lower id counted",
    ),
    ("5.2", lambda s, v, t: rank_by_counting(s, v, t).astype(float), "is fractions"),
    ("5.2", without_a_new_axis, "stopped with"),
    ("5.2", rank_by_cosines, "cosines"),
    ("5.2", rank_in(lambda scores: np.argsort(scores, axis=1)[:, ::-1]), "ties"),
    ("5.2", rank_in(ties_by_last_digit), "ties in another order"),
    (
        "5.2",
        rank_in(lambda scores: torch.from_numpy(scores).topk(scores.shape[1]).indices.numpy()),
        "ties",
    ),
    (
        "5.2",
        rank_with(
            lambda scores, own, ids, t: ((scores > own) | ((scores == own) & (ids > t))).sum(axis=1)
        ),
        "*higher* id",
    ),
    ("5.2", rank_of_scores(lambda scores: scores.astype(int)), "made whole numbers"),
    ("5.2", rank_of_scores(np.round), "made whole numbers"),
    ("5.2", rank_of_scores(lambda scores: scores.round(2)), "scores that are rounded"),
    (
        "5.2",
        rank_of_scores(lambda scores: scores - np.arange(scores.shape[1])),
        "the order of the ids alone",
    ),
    ("5.2", lambda states, vectors, targets: targets, "or the targets themselves"),
    (
        "5.2",
        rank_of_scores(lambda scores: scores - 0.01 * np.arange(scores.shape[1])),
        "a number per id",
    ),
    (
        "5.2",
        rank_of_scores(lambda scores: scores - 1e-4 * np.arange(scores.shape[1])),
        "a number per id",
    ),
    (
        "5.3",
        sharing_with(lambda codes, sizes: (sizes * (sizes - 1) // 2).sum()),
        "pairs and five items",
    ),
    ("5.3", sharing_with(lambda codes, sizes: (sizes * (sizes - 1)).sum()), "each counted twice"),
    ("5.3", sharing_with(lambda codes, sizes: len(codes) - len(sizes)), "beyond the first"),
    ("5.3", sharing_with(lambda codes, sizes: (sizes > 1).sum()), "identifiers that are shared"),
    (
        "5.3",
        lambda codes: sharing_by_counter(np.array([(a, b, c, d) for a, b, c, d in codes])),
        "stopped with",
    ),
    ("5.3", lambda codes: sharing_by_counter(codes[:, :4]), ""),
    ("5.3", sharing_with(lambda codes, sizes: (sizes == 1).sum()), "*alone*"),
    (
        "5.3",
        sharing_with(rate=lambda found, n, sizes: found / n),
        "1 - distinct identifiers / items",
    ),
    ("5.3", sharing_with(rate=lambda found, n, sizes: len(sizes) / n), "Take it from 1"),
    (
        "5.3",
        sharing_with(rate=lambda found, n, sizes: (sizes > 1).sum() / len(sizes)),
        "are shared, divided",
    ),
    (
        "5.3",
        sharing_with(rate=lambda found, n, sizes: (sizes > 1).sum() / n),
        "how many identifiers are shared",
    ),
    ("5.3", shared_numbers, "compares whole rows"),
    ("5.3", any_code_shared, "`all`, not `any`"),
    (
        "5.3",
        lambda codes: (sharing_by_counter(codes)[0], shared_numbers(codes)[1]),
        "compares whole rows",
    ),
    (
        "5.3",
        lambda codes: (sharing_by_counter(codes)[0], 1 - len(np.unique(codes)) / codes.size),
        "whole rows",
    ),
    (
        "5.3",
        lambda codes: sharing_by_counter((codes @ 10 ** np.arange(codes.shape[1])[::-1])[:, None]),
        "",
    ),
    (
        "5.3",
        lambda codes: sharing_by_counter((codes @ 100 ** np.arange(codes.shape[1])[::-1])[:, None]),
        "",
    ),
    ("5.3", sharing_with(lambda codes, sizes: sizes.sum()), "more than one item has"),
    ("5.3", lambda codes: sharing_by_counter(codes)[0], "return two numbers"),
    ("5.3", lambda codes: tuple(reversed(sharing_by_counter(codes))), "other order"),
    (
        "5.3",
        lambda codes: sharing_by_counter(np.array([["".join(map(str, row))] for row in codes])),
        "codes joined",
    ),
    ("5.3", sharing_with(rate=lambda found, n, sizes: 100 * (1 - len(sizes) / n)), "a percentage"),
    ("5.4", table_with(lambda letter, code: f"<{code}>"), "letter is missing"),
    ("5.4", table_with(lambda letter, code: f"<a_{code}>"), "the letter a at every level"),
    ("5.4", table_with_letters_of_items, "the letter of the item's row"),
    (
        "5.4",
        table_with(lambda letter, code: f"<{'_abcdefghijklmnopqrstuvwxyz'.index(letter)}_{code}>"),
        "a number for",
    ),
    ("5.4", table_with(lambda letter, code: str(code)), "codes as strings"),
    ("5.4", table_with(lambda letter, code: code), "the codes themselves"),
    ("5.4", table_with(right_token, row=lambda tokens: tokens[::-1]), "wrong order"),
    ("5.4", table_with(right_token, row=lambda tokens: tokens[:25]), "letters run out"),
    ("5.4", table_with(right_token, row="".join), "one long string"),
    ("5.4", table_with(right_token, row=tuple), "a tuple of tokens"),
    ("5.4", table_with(right_token, row=np.array), "an array of tokens"),
    ("5.4", table_with(right_token, row=lambda tokens: (one for one in tokens)), "square ones"),
    ("5.4", table_with(right_token, row=lambda tokens: tokens[:-1]), "one token a level"),
    ("5.4", table_with(right_token, row=lambda tokens: tokens[:8]), "one token a level"),
    ("5.4", table_with(right_token, key=int), "numbers as keys"),
    ("5.4", lambda codes: {}, "up to the last item"),
    ("5.4", table_of_columns, "a token of another kind: ndarray"),
    (
        "5.4",
        table_with(right_token, row=lambda tokens: list(map(np.array, tokens))),
        "another kind: ndarray",
    ),
    (
        "5.4",
        table_with(right_token, row=lambda tokens: [one.encode() for one in tokens]),
        "another kind: bytes",
    ),
    ("5.4", lambda codes: {str(i): row for i, row in enumerate(codes)}, "the codes themselves"),
    (
        "5.4",
        lambda codes: {str(i): list(row) for i, row in enumerate(codes)},
        "the codes themselves",
    ),
    (
        "5.4",
        lambda codes: {
            str(i): [f"<{a}_{c}>" for a, c in zip("abcd", r, strict=False)]
            for i, r in enumerate(codes)
        },
        "fewer tokens than levels",
    ),
    ("5.4", lambda codes: json.dumps(table_by_loop(codes)), "JSON text"),
    ("5.4", table_with(right_token, key=lambda item: str(item + 1)), "up to the last item"),
    ("5.4", table_with(lambda letter, code: f"<{letter}_{code:03}>"), "zeros in front"),
    ("5.4", table_with(right_token, codes_of=lambda codes: codes + 1), "counted from 1"),
    ("5.4", lambda codes: list(table_by_loop(codes).values()), "should be a dict"),
]

HALF_RIGHT = {
    "similarity": """
def my_similarity(codes, cf_vectors):
    unit = cf_vectors / np.linalg.norm(cf_vectors, axis=1, keepdims=True)
    return (codes == codes[(unit @ unit.T).argmax(axis=1)]).mean(axis=0)
""",
    "shared": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
