"""Lesson 08: a trie of dictionaries, one step of beam search, children as ranges, dead nodes."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from letterlib.course.comparing import Case
from letterlib.course.exercise import Exercise
from letterlib.decoding.trie import EOS, PAD

# 8.1 A trie: names, lists of tokens that end with EOS -> nested dictionaries, {} after EOS


def trie_cases(generator: Generator) -> list[Case]:
    """One name; two that part at their second token; a name of two items; unequal lengths; then
    many, at random.
    """
    random = 2 + torch.randint(3, (14, 3), generator=generator) + torch.tensor([0, 3, 6])
    random[-1, 0] = 2 + (random[0, 0] - 1) % 3  # not the first name once more
    return [
        {"names": [[4, EOS]]},
        {"names": [[2, 5, EOS], [2, 6, EOS]]},
        {"names": [[2, 5, EOS], [3, 5, EOS], [2, 5, EOS], [2, 4, EOS]]},
        {"names": [[2, EOS], [2, 5, EOS], [3, EOS]]},
        {"names": [[*row, EOS] for row in random.tolist()]},
    ]


def trie(names: Sequence[Sequence[int]]) -> dict:
    root: dict = {}
    for name in names:
        node = root
        for token in name:
            node = node.setdefault(token, {})
    return root


def trie_with(
    step: Callable = lambda node, token, root: node.setdefault(token, {}),
    start: Callable = lambda node, root: root,
    result: Callable = lambda root, node: root,
) -> Callable:
    """A trie, one of whose steps may be replaced: (node, token, root) -> the next node;
    (last node, root) -> where a name starts; (root, last node) -> what is returned.
    """

    def answer(names):
        root: dict = {}
        node = root
        for name in names:
            node = start(node, root)
            for token in name:
                node = step(node, token, root)
        return result(root, node)

    return answer


def of(change: Callable) -> Callable:
    """The trie of changed names."""
    return lambda names: trie([change(name) for name in names])


def ending_with(end: Callable) -> Callable:
    """end: (item number, name) -> what stands after the end token."""

    def answer(names):
        root: dict = {}
        for item, name in enumerate(names):
            node = root
            for token in name[:-1]:
                node = node.setdefault(token, {})
            node[name[-1]] = end(item, name)
        return root

    return answer


def new_node(node: dict, token: int, root: dict) -> dict:
    node[token] = {}
    return node[token]


def stays_at_new(node: dict, token: int, root: dict) -> dict:
    if token not in node:
        node[token] = {}
        return node
    return node[token]


def stops_at_new(names):
    root: dict = {}
    for name in names:
        node = root
        for token in name:
            if token not in node:
                node[token] = {}
                break
            node = node[token]
    return root


def of_pairs(names):
    root: dict = {}
    for name in names:
        for token, following in zip(name, name[1:]):
            root.setdefault(token, {}).setdefault(following, {})
    return root


def always_the_same() -> Callable:
    def answer(names):
        empty: dict = {}
        return trie_with(lambda node, token, root: node.setdefault(token, empty))(names)

    return answer


def trie_by_recursion(names):
    first = {name[0] for name in names if name}
    return {
        token: trie_by_recursion([name[1:] for name in names if name and name[0] == token])
        for token in first
    }


def trie_by_defaultdict(names):
    def new():
        return defaultdict(new)

    root = new()
    for name in names:
        node = root
        for token in name:
            node = node[token]
    return root


def grouped_as_they_stand(names):
    groups = groupby([name for name in names if name], key=lambda name: name[0])
    return {token: grouped_as_they_stand([name[1:] for name in group]) for token, group in groups}


def of_prefixes(names):
    table: dict = {}
    for name in names:
        for place in range(len(name)):
            table.setdefault(tuple(name[:place]), []).append(name[place])
    return table


PREFIXES = "whole beginnings as keys. Here each node is a dictionary with single tokens as keys."


def not_a_node(actual, expected, case):
    return expected == {} and not isinstance(actual, dict)


def odd_keys(actual, expected, case):
    return not all(isinstance(key, int) for key in actual)


TRIE = Exercise(
    reference=trie,
    cases=trie_cases,
    returns=["the trie"],
    right=[trie_by_recursion, trie_by_defaultdict],
    stops={"KeyError": "`node.setdefault(token, {})` makes the next node if there is none."},
    mistakes=[
        (
            trie_with(new_node),
            "a new node although there was one: what earlier names had put below it is lost. "
            "`setdefault(token, {})` keeps it.",
        ),
        (
            trie_with(result=lambda root, node: node),
            "the last node returned, which is a leaf, {}: keep the root under a name of its own. "
            "Or new nodes that are never put under their token, as with `get`: use `setdefault`.",
        ),
        (
            trie_with(lambda node, token, root: root.setdefault(token, {})),
            "every token hangs from the root. Go down one node at each token.",
        ),
        (
            trie_with(stays_at_new),
            "a new node is made, and the name does not go down to it.",
        ),
        (stops_at_new, "a name ends at its first new token. Go on below the new node."),
        (of_pairs, "pairs of neighbours, all below the root. A name goes down token by token."),
        (
            always_the_same(),
            "the same dictionary in several places. Make a new one, `{}`, for every node.",
        ),
        (
            trie_with(start=lambda node, root: node),
            "every name is hung below the one before. Go back to the root for each.",
        ),
        (
            lambda names: [trie([name]) for name in names],
            "a trie for each name. All names share one root.",
        ),
        (lambda names: [trie(names)], "a list around the trie. Return the root itself."),
        (of(lambda name: name[:-1]), "the end token is missing: it is a token like the others."),
        (of(lambda name: name[::-1]), "names are read backwards."),
        (of(lambda name: name[1:]), "the first token of every name is missing."),
        (of(lambda name: [*name, EOS]), "the end token twice: names have theirs already."),
        (
            of(lambda name: [PAD, *name]),
            "the start token in front. The names are all that belongs into the trie.",
        ),
        (
            lambda names: trie(names[:1]),
            "only the first name is in it. Does the `return` stand inside the loop?",
        ),
        (
            lambda names: trie(names[-1:]),
            "only the last name is in it. Make the root once, before the loop.",
        ),
        (
            lambda names: trie([name[: len(names[0])] for name in names]),
            "names cut to the length of the first. Follow each to its own end.",
        ),
        (
            grouped_as_they_stand,
            "`groupby` joins only neighbours: a name that comes later replaces those that begin "
            "alike. Sort the names first.",
        ),
        (
            lambda names: {i: sorted({name[i] for name in names}) for i in range(len(names[0]))},
            "places as keys. A node is a dictionary from the next token to the next node.",
        ),
        (of_prefixes, PREFIXES),
    ],
    clues=[
        (
            not_a_node,
            "something else than a dictionary after the end token. It leads to {}, an empty one.",
            ending_with(lambda item, name: item),
        ),
        (
            odd_keys,
            "keys that are not tokens. Use the tokens as they stand in the names, and no others.",
            of(lambda name: map(str, name)),
        ),
    ],
)

# 8.2 A step: scores [n], log_probs [n, V], allowed bool [n, V], beam -> scores, parents, tokens

HALF = 2839 / 4096
"""ln 2, cut to 12 bits, so that sums of its multiples have no rounding: equal scores are equal in
every order of adding. Log-probabilities are multiples of it, and those of a row add up to 1 within
0.0005.
"""


def step_cases(generator: Generator) -> list[Case]:
    """One beam; two with a tie; a beam wider than the whole table; two beams of which nothing is
    left, and one behind them; then many, with ties.

    In the third and the last case the best of all continues a later beam: the order of the table is
    not that of scores.
    """
    inf = float("inf")
    # Exponents of 1/2: 1, 2, 2 are the probabilities 1/2, 1/4, 1/4.
    one = _step([1], [[1, 2, 2]], [[1, 0, 1]], 1)
    tied = _step([1, 2], [[2, 2, 2, 2], [1, 2, 3, 3]], [[1, 1, 0, 0], [1, 0, 1, 0]], 3)
    few = _step([3, 1], [[1, 1], [1, 1]], [[0, 1], [0, 1]], 5)
    exponents = [[2, 1, 3, 3], [1, 2, 3, 3], [3, 2, 3, 1]]
    dead = _step([inf, 2, 1], exponents, [[0, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]], 5)
    rows, allowed = [], torch.rand(5, 64, generator=generator) < 0.6
    for row in allowed:  # the model likes best what is not allowed
        order = (row + torch.rand(64, generator=generator)).argsort()
        rows.append(_split(64, generator)[order.argsort()].tolist())
    many = _step([2, 2, 3, 4, 1], rows, allowed.tolist(), 16)
    return [one, tied, few, dead, many]


def _split(n: int, generator: Generator) -> Tensor:
    """Exponents of n powers of 1/2 that add up to 1, ascending: the leaves of a random tree."""
    leaves = [0]
    while len(leaves) < n:
        # One of the larger half, so that many are equal.
        place = int(torch.randint(1 + len(leaves) // 2, (1,), generator=generator))
        leaf = leaves.pop(place)
        leaves = sorted([*leaves, leaf + 1, leaf + 1])
    return torch.tensor(leaves)


def _step(scores: list, exponents: list, allowed: list, beam: int) -> Case:
    return {
        "scores": -HALF * torch.tensor(scores),
        "log_probs": -HALF * torch.tensor(exponents),
        "allowed": torch.tensor(allowed).bool(),
        "beam": beam,
    }


def beam_step(
    scores: Tensor, log_probs: Tensor, allowed: Tensor, beam: int
) -> tuple[Tensor, Tensor, Tensor]:
    table = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf)
    best, index = table.flatten().sort(descending=True, stable=True)
    kept = (best > -torch.inf).sum().clamp(max=beam)
    best, index = best[:kept], index[:kept]
    return best, index // table.shape[1], index % table.shape[1]


def masked(scores: Tensor, log_probs: Tensor, allowed: Tensor) -> Tensor:
    return (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf)


def stable(flat: Tensor) -> Tensor:
    return flat.sort(descending=True, stable=True).indices


def finite(index: Tensor, flat: Tensor, beam: int) -> Tensor:
    return index[:beam][flat[index[:beam]] > -torch.inf]


def step_with(
    table: Callable = lambda s, p, a: s[:, None] + p,
    mask: Callable = lambda table, a: table.masked_fill(~a, -torch.inf),
    order: Callable = stable,
    keep: Callable = lambda index, flat, a, beam: finite(index, flat, beam),
    divisor: Callable = lambda s, p, beam: p.shape[1],
) -> Callable:
    """A step of beam search, one of whose parts may be replaced: functions of scores s, log_probs
    p, allowed a.

    order: flat table -> places, best first. keep: (those, flat table, flat a, beam) -> the chosen
    ones. divisor: what makes parents and tokens of a place.
    """

    def answer(scores, log_probs, allowed, beam):
        flat = mask(table(scores, log_probs, allowed), allowed).flatten()
        index = keep(order(flat), flat, allowed.flatten(), beam)
        by = divisor(scores, log_probs, beam)
        return flat[index], index // by, index % by

    return answer


def with_results(change: Callable) -> Callable:
    """The right values v, parents p and tokens t, changed: (v, p, t, scores, number of tokens)."""
    return lambda s, p, a, beam: change(*beam_step(s, p, a, beam), s, p.shape[1])


def step_by_loop(scores, log_probs, allowed, beam):
    children = []
    for parent in range(len(scores)):
        for token in range(log_probs.shape[1]):
            score = (scores[parent] + log_probs[parent, token]).item()
            if allowed[parent, token] and score > -float("inf"):
                children.append((-score, parent, token))
    values, parents, tokens = zip(*sorted(children)[:beam])
    return -torch.tensor(values), torch.tensor(parents), torch.tensor(tokens)


def step_by_nonzero(scores, log_probs, allowed, beam):
    parents, tokens = (allowed & torch.isfinite(scores)[:, None]).nonzero(as_tuple=True)
    found = scores[parents] + log_probs[parents, tokens]
    order = torch.argsort(found, descending=True, stable=True)[:beam]
    return found[order], parents[order], tokens[order]


def step_by_numpy(scores, log_probs, allowed, beam):
    table = masked(scores, log_probs, allowed).numpy().ravel()
    order = np.argsort(-table, kind="stable")[:beam]
    order = order[np.isfinite(table[order])]
    parts = table[order], order // log_probs.shape[1], order % log_probs.shape[1]
    return tuple(torch.from_numpy(part) for part in parts)


def without(dropped: Callable) -> Callable:
    """Beams that are `dropped` leave the table first, and the others get other numbers."""

    def answer(scores, log_probs, allowed, beam):
        left = ~dropped(scores, allowed)
        return beam_step(scores[left], log_probs[left], allowed[left], beam)

    return answer


def best_of(flat: Tensor, n_tokens: int, beam: int) -> tuple[Tensor, Tensor, Tensor]:
    index = finite(stable(flat), flat, beam)
    return flat[index], index // n_tokens, index % n_tokens


def best_of_every_beam(flattened: bool) -> Callable:
    def answer(scores, log_probs, allowed, beam):
        table = masked(scores, log_probs, allowed)
        values, tokens = table.topk(min(beam, table.shape[1]))
        parents = torch.arange(len(scores))[:, None].expand_as(tokens)
        found = values, parents, tokens
        return tuple(part.flatten() for part in found) if flattened else found

    return answer


def best_of_rows(scores, log_probs, allowed, beam):
    table = masked(scores, log_probs, allowed)
    values, tokens = table.topk(min(beam, table.shape[1]))
    index = finite(stable(values.flatten()), values.flatten(), beam)
    return values.flatten()[index], index // values.shape[1], tokens.flatten()[index]


def rows_sorted_first(scores, log_probs, allowed, beam):
    rows = masked(scores, log_probs, allowed).sort(dim=1, descending=True, stable=True).values
    return best_of(rows[:, :beam].flatten(), log_probs.shape[1], beam)


def best_of_each_beam(scores, log_probs, allowed, beam):
    values, tokens = masked(scores, log_probs, allowed).max(dim=1)
    values, parents = values.sort(descending=True, stable=True)
    kept = (values > -torch.inf).sum().clamp(max=beam)
    return values[:kept], parents[:kept], tokens[parents][:kept]


def places_among_the_allowed(scores, log_probs, allowed, beam):
    return best_of((scores[:, None] + log_probs)[allowed], log_probs.shape[1], beam)


def turned(scores, log_probs, allowed, beam):
    return best_of(masked(scores, log_probs, allowed).T.flatten(), log_probs.shape[1], beam)


def all_above_the_last(scores, log_probs, allowed, beam):
    table = masked(scores, log_probs, allowed)
    last = table.flatten().sort(descending=True).values[:beam][-1]
    parents, tokens = ((table >= last) & (table > -torch.inf)).nonzero(as_tuple=True)
    return table[parents, tokens][:beam], parents[:beam], tokens[:beam]


def proportional(actual, expected, case):
    return actual.is_floating_point() and torch.allclose(actual * expected[0], expected * actual[0])


def tied(actual, expected, case):
    """Whether each parent, or each token, has a continuation of the right score."""
    (values, parents, _), table = beam_step(*case.values()), masked(*list(case.values())[:3])
    rows = table if torch.equal(expected, parents) else table.T
    return bool((rows[actual] == values[:, None]).any(dim=1).all())


NOT_STABLE = (
    "the order among equal scores: lower beam first, then lower token. `topk` leaves ties to "
    "chance; `sort(descending=True, stable=True)` does not."
)
ZEROS = "a mask of zeros: 0 is the *highest* log-probability there is. Mask with -inf."
RENUMBERED = (
    "beams of which nothing is left were dropped, and the others renumbered. Parents are numbered "
    "among all beams."
)
UNMASKED = (
    "continuations that are not allowed. Set their scores to -inf first: `masked_fill(~allowed, "
    "...)`, with the `~`."
)
COUNTED = "what is not allowed was counted, and so many returned. Count what is left."
OF_EVERY_BEAM = "the best `beam` of *every* beam. They compete with each other: flatten first."
TABLE_ORDER = "the order of the table. The best comes first."
OTHER_ORDER = "another order. The scores come first: `return scores, parents, tokens`."
FLAT_PLACES = (
    "places in the flattened table: divide by the number of tokens; the remainder is the token."
)
FRACTIONS = "a division by `/`, which gives fractions, also after rounding: use `//`."
PROBABILITY_ADDED = "a probability is added to a log-probability."
WRONG_TABLES = [
    (lambda s, p, a: s[:, None] * p, "a product. Logarithms are added."),
    (lambda s, p, a: s[:, None] - p, "the log-probability is subtracted. Add it."),
    (
        lambda s, p, a: p,
        "the beam's own score is not added: a continuation's score is that of the whole way.",
    ),
    (
        lambda s, p, a: s[:, None].exp() + p.exp(),
        "a sum of probabilities. Add their logarithms, which you are given.",
    ),
    (
        lambda s, p, a: s[:, None] + p.log_softmax(1),
        "another `log_softmax`. These are log-probabilities already, and its rounding parts equal "
        "scores.",
    ),
    (
        lambda s, p, a: s[:, None] + p.masked_fill(~a, -torch.inf).log_softmax(1),
        "renormalised over the allowed tokens. The log-probabilities are to stay those of the "
        "whole vocabulary.",
    ),
    (lambda s, p, a: s[:, None] + p.exp(), PROBABILITY_ADDED),
]
WRONG_MASKS = [
    (lambda table, a: table, UNMASKED),
    (lambda table, a: table.masked_fill(a, -torch.inf), UNMASKED),
    (lambda table, a: table * a, ZEROS),
    (lambda table, a: table.masked_fill(~a, 0), ZEROS),
]
WRONG_ORDERS = [
    (lambda flat: len(flat) - 1 - stable(flat.flip(0)), NOT_STABLE),
    (lambda flat: flat.topk(len(flat)).indices, NOT_STABLE),
    (
        lambda flat: stable(-flat.masked_fill(flat.isinf(), torch.inf)),
        "those with the *lowest* scores.",
    ),
]
WRONG_CHOICES = [
    (lambda index, flat, a, beam: index[: min(beam, int(flat.isinf().sum()))], COUNTED),
    (lambda index, flat, a, beam: index[: min(beam, int((~a).sum()))], COUNTED),
    (lambda index, flat, a, beam: finite(index, flat, beam).sort().values, TABLE_ORDER),
    (lambda index, flat, a, beam: finite(index, flat, beam)[:-1], "the last one is missing."),
    (lambda index, flat, a, beam: finite(index, flat, beam)[:1], "the best one alone."),
    (
        lambda index, flat, a, beam: finite(index, flat, beam).flip(0),
        "the worst of the chosen comes first.",
    ),
]
WRONG_RESULTS = [
    (lambda v, p, t, s, n: (v.exp(), p, t), "probabilities; log-probabilities are asked for."),
    (lambda v, p, t, s, n: (v.flip(0), p, t), "the worst of the chosen scores comes first."),
    (lambda v, p, t, s, n: (v, t, p), "parents and tokens exchanged."),
    (lambda v, p, t, s, n: (v, p * 0, t), "parents that are all 0."),
    (lambda v, p, t, s, n: (p, t, v), OTHER_ORDER),
    (lambda v, p, t, s, n: (t, p, v), OTHER_ORDER),
    (lambda v, p, t, s, n: (v, p * n + t, t), FLAT_PLACES),
    (lambda v, p, t, s, n: (v, p, p * n + t), FLAT_PLACES),
    (lambda v, p, t, s, n: (v, p + t / n, t), FRACTIONS),
    (lambda v, p, t, s, n: (v, p.float(), t), FRACTIONS),
    (
        lambda v, p, t, s, n: (s[p], p, t),
        "the scores of the beams that are continued. Add the log-probability of the token.",
    ),
]

BEAM_STEP = Exercise(
    reference=beam_step,
    cases=step_cases,
    returns=["scores", "parents", "tokens"],
    right=[step_by_loop, step_by_nonzero, step_by_numpy],
    stops={
        "out of range": "There may be fewer continuations than `beam`: `min(beam, ...)`.",
        "out of bounds": "There may be fewer continuations than `beam`: `min(beam, ...)`.",
        "must match the size": "`scores[:, None]` has a row for each beam, as `log_probs` has.",
    },
    mistakes=[
        *((step_with(table), hint) for table, hint in WRONG_TABLES),
        *((step_with(mask=mask), hint) for mask, hint in WRONG_MASKS),
        *((step_with(order=order), hint) for order, hint in WRONG_ORDERS),
        *((step_with(keep=keep), hint) for keep, hint in WRONG_CHOICES),
        *((with_results(change), hint) for change, hint in WRONG_RESULTS),
        (step_with(lambda s, p, a: s[:, None] + p * a, lambda table, a: table), ZEROS),
        (
            step_with(lambda s, p, a: 0 * s[:, None] + p * a, lambda table, a: table),
            "a mask of zeros, and the beam's score is not added.",
        ),
        (
            step_with(
                mask=lambda table, a: table,
                keep=lambda index, flat, a, beam: index[:beam][a[index[:beam]]],
            ),
            "cut to `beam` before the mask: what is not allowed has taken places. Mask first.",
        ),
        (
            step_with(divisor=lambda s, p, beam: len(s)),
            "divided by the number of beams. A row has as many entries as there are tokens.",
        ),
        (
            step_with(divisor=lambda s, p, beam: beam),
            "divided by the width of the beam. A row has as many entries as there are tokens.",
        ),
        (turned, "the table is turned: one row a token. A row is to be a beam."),
        (
            places_among_the_allowed,
            "places among what is allowed, as after `table[allowed]`, taken for places in the "
            "whole table. `masked_fill` keeps the places.",
        ),
        (best_of_every_beam(flattened=False), OF_EVERY_BEAM),
        (best_of_every_beam(flattened=True), OF_EVERY_BEAM),
        (
            rows_sorted_first,
            "rows sorted before the table is flattened: places are no tokens any more. Flatten "
            "the table as it is.",
        ),
        (
            best_of_each_beam,
            "the best continuation of each beam. A good beam may go on in several ways.",
        ),
        (all_above_the_last, TABLE_ORDER),
        (without(lambda s, a: s.isinf()), RENUMBERED),
        (without(lambda s, a: ~a.any(1)), RENUMBERED),
        (without(lambda s, a: s.isinf() | ~a.any(1)), RENUMBERED),
    ],
    clues=[
        (
            lambda actual, expected, case: len(actual) > case["beam"],
            "more than `beam` continuations. Keep the best `beam` of all together.",
            step_with(keep=lambda index, flat, a, beam: finite(index, flat, len(flat))),
        ),
        (
            lambda actual, expected, case: len(actual) > len(expected),
            "continuations that are not allowed, or whose beam has the score -inf. Return fewer "
            "than `beam` instead.",
            step_with(keep=lambda index, flat, a, beam: index[:beam]),
        ),
        (
            proportional,
            "scores divided by a length. All beams are equally long here, and a score is the plain "
            "sum of its log-probabilities.",
            step_with(lambda s, p, a: (s[:, None] + p) / 2),
        ),
        (tied, NOT_STABLE, best_of_rows),
    ],
)

# 8.3 Ranges: codes int64 [n_items, L], sorted, level -> first_child int64 [n_nodes(level) + 1]

BASES = (2, 3, 4, 5, 8, 10, 11, 12, 16, 32, 64, 100, 128, 256, 512, 1000, 1024)
"""In which people write a beginning as one number. Right is only a base that no code reaches."""


def ranges_cases(generator: Generator) -> list[Case]:
    """The root; second levels whose codes return below other codes, with gaps, and with items that
    share; two names that are one number, in each base; third levels; then many.
    """
    many = np.unique(_whole(generator, (60, 3), 4), axis=0)
    many = np.repeat(many, 1 + (_whole(generator, (len(many),), 4) == 0), axis=0)
    small = np.array([[0, 1], [0, 2], [1, 2], [2, 0], [2, 2]])
    return [
        {"codes": np.array([[0, 1], [0, 2], [1, 0]]), "level": 0},
        {"codes": small, "level": 1},
        {"codes": np.array([[1, 0], [1, 3], [4, 0]]), "level": 1},
        {"codes": np.repeat(small, [1, 2, 1, 3, 1], axis=0), "level": 1},
        *({"codes": np.array([[0, base], [1, 0]]), "level": 1} for base in BASES),
        {"codes": np.array([[0, 10], [1, 0], [1, 10], [11, 0]]), "level": 1},
        {"codes": np.array([[0, 1, 2], [1, 1, 2], [1, 2, 0]]), "level": 2},
        {"codes": np.array([[1, 11, 0], [1, 11, 2], [11, 1, 0]]), "level": 2},
        {"codes": many, "level": 2},
        {"codes": many, "level": 1},
    ]


def _whole(generator: Generator, shape: tuple[int, ...], size: int) -> np.ndarray:
    return torch.randint(size, shape, generator=generator).numpy()


def starts(codes: np.ndarray, length: int) -> np.ndarray:
    """The rows at which a new beginning of this length starts."""
    prefixes = codes[:, :length]
    new = (prefixes[1:] != prefixes[:-1]).any(axis=1)
    return np.flatnonzero(np.append(True, new))


def first_child(codes: np.ndarray, level: int) -> np.ndarray:
    children = starts(codes, level + 1)
    return np.append(np.searchsorted(children, starts(codes, level)), len(children))


def ranges_with(nodes: Callable = starts, children: Callable = starts, side: str = "left"):
    """Ranges from other rows at which nodes or children start: functions of (codes, length)."""

    def answer(codes, level):
        below = children(codes, level + 1)
        return np.append(np.searchsorted(below, nodes(codes, level), side=side), len(below))

    return answer


def from_rows(change: Callable) -> Callable:
    """change: (codes, rows where nodes start, rows where children start) -> the result."""
    return lambda codes, level: change(codes, starts(codes, level), starts(codes, level + 1))


def from_right(change: Callable) -> Callable:
    """change: (right result, codes) -> the result."""
    return lambda codes, level: change(first_child(codes, level), codes)


def ranges_by_sets(codes, level):
    nodes = sorted({tuple(row[:level]) for row in codes.tolist()})
    children = sorted({tuple(row[: level + 1]) for row in codes.tolist()})
    return np.cumsum([0] + [sum(child[:level] == node for child in children) for node in nodes])


def ranges_by_counting(codes, level):
    children = np.unique(codes[:, : level + 1], axis=0)
    counts = (
        np.unique(children[:, :level], axis=0, return_counts=True)[1] if level else [len(children)]
    )
    return np.append(0, np.cumsum(counts))


def numbers(codes: np.ndarray, length: int, base: int) -> np.ndarray:
    return codes[:, :length] @ base ** np.arange(length)[::-1]


def changes(base_of: Callable) -> Callable:
    """Ranges from the rows at which a beginning, written as one number, changes."""

    def rows(codes, length):
        return np.flatnonzero(np.diff(numbers(codes, length, base_of(codes)), prepend=-1))

    return ranges_with(rows, rows)


def looked_up(base: int) -> Callable:
    """Ranges from different numbers, each of which is a beginning."""

    def answer(codes, level):
        nodes, below = (np.unique(numbers(codes, length, base)) for length in (level, level + 1))
        return np.append(np.searchsorted(below, nodes * base), len(below))

    return answer


def in_groups(group: Callable) -> Callable:
    """Ranges from children by groups: (row, level) -> what a node is taken for."""

    def answer(codes, level):
        children: dict[Any, set] = {}
        for row in codes.tolist():
            children.setdefault(group(row, level), set()).add(row[level])
        return np.cumsum([0, *map(len, children.values())])

    return answer


def bincounts(rows: Callable, column: int = -1, gaps: bool = True) -> Callable:
    """rows: (codes, length) -> what is counted. column: counted from `level`."""

    def answer(codes, level):
        counted, place = rows(codes, level + 1), level + column
        counts = np.bincount(counted[:, place]) if place >= 0 else np.array([len(counted)])
        return np.append(0, counts[gaps | (counts > 0)].cumsum())

    return answer


def beginnings(codes: np.ndarray, length: int) -> np.ndarray:
    return np.unique(codes[:, :length], axis=0)


def single_codes(codes, level):
    nodes, children = np.unique(codes[:, :level]), np.unique(codes[:, : level + 1])
    return np.append(np.searchsorted(children, nodes), len(children))


def of_column(codes: np.ndarray, length: int) -> np.ndarray:
    return starts(codes[:, max(length - 1, 0) :], min(length, 1))


def of_two_columns(codes: np.ndarray, length: int) -> np.ndarray:
    return starts(codes[:, max(length - 2, 0) :], min(length, 2))


def one_too_small(codes: np.ndarray, length: int) -> np.ndarray:
    return np.maximum(starts(codes, length) - 1, 0)


def last_rows(codes: np.ndarray, length: int) -> np.ndarray:
    return np.append(starts(codes, length)[1:] - 1, len(codes) - 1)


def all_differ(codes: np.ndarray, length: int) -> np.ndarray:
    prefixes = codes[:, :length]
    return np.flatnonzero(np.append(True, (prefixes[1:] != prefixes[:-1]).all(axis=1)))


AS_NUMBERS = (
    "beginnings made into numbers or texts, of which two are the same one. Compare the codes, not "
    "a number."
)
TOO_SMALL = (
    "row numbers one too small: entry `i` of `codes[1:] != codes[:-1]` speaks of row `i + 1`."
)
ALL_DIFFER = "`.all`: two beginnings differ when *any* of their codes does."
AMONG_ROWS = (
    "where the children begin among the rows. Look up the nodes' rows among these: `searchsorted`."
)
BINCOUNT = (
    "`np.bincount`, which counts every number up to the largest, also those that no node has, and "
    "takes nodes that end in the same code for one."
)
SAME_LAST_CODE = (
    "nodes that end in the same code are taken for one. A node is a whole beginning: compare all "
    "of its codes."
)
COUNTS_OF_CODES = "how often each code occurs. Count the children of each node."
NEXT_LEVEL = "the ranges of the next level. Level 0 is the root, and has no code."

WRONG_RANGES = [
    (
        lambda right, codes: right[:-1],
        "the last entry is missing: how many children there are in all.",
    ),
    (
        lambda right, codes: right[1:],
        "the first entry is missing: 0, where the first node's children begin.",
    ),
    (lambda right, codes: right + 1, "counted from 1."),
    (
        lambda right, codes: np.append(right[:-1], len(codes)),
        "rows of `codes` in the last entry. Count nodes of the next level.",
    ),
    (
        lambda right, codes: np.append(right[:-1], len(right) - 1),
        "the last entry counts the nodes of `level`, not their children.",
    ),
    (
        lambda right, codes: np.append(np.diff(right), right[-1]),
        "how many children every node has, and the total. Add these up, beginning with 0.",
    ),
    (
        lambda right, codes: np.diff(right),
        "how many children every node has. Add these up, beginning with 0.",
    ),
    (
        lambda right, codes: np.stack([right[:-1], right[1:]], axis=1),
        "both ends of every range. The next range begins where this one ends, so one list is "
        "enough.",
    ),
    (
        lambda right, codes: np.append(0, right[1:] - 1),
        "the last child of every range, and the one after it is asked for.",
    ),
    (
        lambda right, codes: np.repeat(np.arange(len(right) - 1), np.diff(right)),
        "the parent of every child; asked for is the other way.",
    ),
]

RANGES = Exercise(
    reference=first_child,
    cases=ranges_cases,
    returns=["first_child"],
    right=[ranges_by_sets, ranges_by_counting, changes(lambda codes: codes.max() + 1)],
    mistakes=[
        *((from_right(change), hint) for change, hint in WRONG_RANGES),
        *((changes(lambda codes, base=base: base), AS_NUMBERS) for base in BASES),
        *((looked_up(base), AS_NUMBERS) for base in BASES),
        *((changes(base), AS_NUMBERS) for base in (len, np.max, lambda c: len(np.unique(c)))),
        (in_groups(lambda row, level: "".join(map(str, row[:level]))), AS_NUMBERS),
        (bincounts(lambda codes, length: codes), f"{BINCOUNT} And rows are no children."),
        (bincounts(beginnings), BINCOUNT),
        (bincounts(beginnings, gaps=False), SAME_LAST_CODE),
        (bincounts(lambda codes, length: codes, column=0), COUNTS_OF_CODES),
        (bincounts(beginnings, column=0), COUNTS_OF_CODES),
        (
            single_codes,
            "`np.unique` without `axis=0`, which looks at single codes, not at beginnings.",
        ),
        (
            ranges_with(*[last_rows] * 2),
            "the last row of each beginning: `np.append(True, new)` has the first row in front.",
        ),
        (in_groups(lambda row, level: row[level - 1] if level else None), SAME_LAST_CODE),
        (
            from_rows(lambda codes, nodes, children: np.append(nodes, len(codes))),
            "rows of `codes`. A range counts nodes of the next level: rows with the same first "
            "codes are one node.",
        ),
        (
            from_rows(lambda codes, nodes, children: np.append(nodes, len(children))),
            "rows of `codes` (but for the last entry). Count nodes of the next level.",
        ),
        (
            ranges_with(nodes=of_column),
            "one column compared. A node is a whole beginning: two with the same last code and "
            "different codes before are two nodes.",
        ),
        (
            ranges_with(children=of_column),
            "children told apart by their last column alone. Compare all of the first `level + 1` "
            "codes.",
        ),
        (
            ranges_with(children=of_two_columns),
            "children told apart by their last two columns alone. Compare all of the first `level "
            "+ 1` codes.",
        ),
        (ranges_with(of_column, of_column), "single columns compared, not beginnings."),
        (ranges_with(side="right"), "all starts one too large: `side='right'` in `searchsorted`."),
        (
            ranges_with(*[lambda codes, length: starts(codes, length)[1:]] * 2),
            "row 0 left out, where a node begins.",
        ),
        *(
            (ranges_with(*rows), hint)
            for wrong, hint in ((one_too_small, TOO_SMALL), (all_differ, ALL_DIFFER))
            for rows in ((wrong, wrong), (starts, wrong), (wrong, starts))
        ),
        (
            from_rows(
                lambda c, nodes, children: np.append(
                    np.searchsorted(nodes, children), len(children)
                )
            ),
            "the two lists of rows exchanged in `searchsorted`.",
        ),
        (from_rows(lambda codes, nodes, children: np.append(children, len(codes))), AMONG_ROWS),
        (from_rows(lambda c, nodes, children: np.append(children, len(children))), AMONG_ROWS),
        (lambda codes, level: first_child(codes, min(level + 1, codes.shape[1] - 1)), NEXT_LEVEL),
        (
            lambda codes, level: first_child(np.pad(codes, ((0, 0), (0, 1))), level + 1),
            NEXT_LEVEL,
        ),
        (
            ranges_with(*[lambda codes, length: starts(codes, max(length - 1, 0))] * 2),
            "the ranges of the level above: one code too few.",
        ),
    ],
)

# 8.4 Dead nodes: first_child int64 [n + 1], dead bool [n_children] -> bool [n]


def dead_cases(generator: Generator) -> list[Case]:
    """One node; three, one of them dead; then many.

    Among the many are nodes two of whose three children are dead: the first two, the last two, the
    outer two.
    """
    counts = 1 + _whole(generator, (12,), 3)
    counts[:8] = [1, 3, 2, 2, 2, 3, 3, 3]
    many = _whole(generator, (int(counts.sum()),), 4) > 0
    first = [[1], [1, 0, 1], [0, 1], [1, 0], [0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 0]]
    many[:19] = np.concatenate(first).astype(bool)
    return [
        {"first_child": np.array([0, 2]), "dead": np.array([True, False])},
        {"first_child": np.array([0, 2, 3, 5]), "dead": np.array([True, True, False, False, True])},
        {"first_child": np.append(0, counts.cumsum()), "dead": many},
    ]


def dead_nodes(first_child: np.ndarray, dead: np.ndarray) -> np.ndarray:
    return np.logical_and.reduceat(dead, first_child[:-1])


def dead_with(one: Callable = np.all, more: int = 0) -> Callable:
    """Dead nodes by a loop. one: a node's children -> whether it is dead. more: children too many
    in each range.
    """

    def answer(first_child, dead):
        spans = zip(first_child, first_child[1:])
        return np.array([one(dead[start : end + more]) for start, end in spans])

    return answer


def dead_by_counting(first_child, dead):
    before = np.append(0, dead.cumsum())
    return np.diff(before[first_child]) == np.diff(first_child)


def split_at(places: Callable) -> Callable:
    return lambda first, dead: np.array([part.all() for part in np.split(dead, places(first))])


SPLIT = "`np.split` with 0 among its places. The cuts are `first_child[1:-1]`."
WRONG_CHILDREN = [
    (lambda children: ~children.all(), "the nodes that are alive."),
    (lambda children: ~children.any(), "the nodes none of whose children is dead."),
    (lambda children: children[0], "only the first child is looked at."),
    (lambda children: children[-1], "only the last child is looked at."),
    (lambda children: children[:2].all(), "only the first two children are looked at."),
    (lambda children: children[-2:].all(), "only the last two children are looked at."),
    (lambda children: children.sum() % 2 == 1, "`^` or `!=`, which is true for odd numbers: `&`."),
    (lambda children: children[0] & children[-1], "only the first and last child are looked at."),
    (lambda children: children[1:].all(), "the first child of each node is left out."),
    (lambda children: (~children).sum(), "how many children are alive. Are there none?"),
    (np.sum, "how many children are dead. Are all of them?"),
    (np.mean, "the share of dead children. Are all of them dead?"),
    (lambda children: False, "no node is dead. One is, if all of its children are."),
    (lambda children: True, "every node is dead. One is, if all of its children are."),
    (
        np.any,
        "a node is dead as soon as *one* child is. It is dead when all are: something may be left.",
    ),
    (
        lambda children: children.mean() >= 0.5,
        "a node is dead when half of its children are. All of them have to be.",
    ),
    (
        lambda children: children.mean() > 0.5,
        "a node is dead when most of its children are. All of them have to be.",
    ),
]

DEAD_NODES = Exercise(
    reference=dead_nodes,
    cases=dead_cases,
    returns=["the dead nodes"],
    right=[dead_with(), dead_by_counting],
    stops=dict.fromkeys(
        ["out of bounds", "out-of-bounds"],
        "There are `len(first_child) - 1` nodes: the last entry is where the last range ends.",
    ),
    mistakes=[
        *((dead_with(one), hint) for one, hint in WRONG_CHILDREN),
        (
            dead_with(more=-1),
            "ranges that are one too short. A slice already leaves out its end.",
        ),
        (
            dead_with(more=1),
            "ranges that are one too long. `first_child[i + 1]` belongs to the next node.",
        ),
        (
            lambda first, dead: dead_nodes(first, dead)[:-1],
            "the last node is missing. There are `len(first_child) - 1` nodes.",
        ),
        (
            lambda first, dead: np.append(dead_nodes(first, dead), True),
            "one entry too many. The last range ends at `first_child[-1]`; the cuts of `np.split` "
            "are `first_child[1:-1]`.",
        ),
        (
            lambda first, dead: np.flatnonzero(dead_nodes(first, dead)),
            "the numbers of the dead nodes; true or false for every node is asked for.",
        ),
        (lambda first, dead: dead.copy(), "the children themselves."),
        (
            lambda first, dead: dead[: len(first) - 1],
            "child i looked at for node i. Its children are `dead[first_child[i] : first_child[i + "
            "1]]`.",
        ),
        (split_at(lambda first: first), SPLIT),
        (split_at(lambda first: first[:-1]), SPLIT),
        (
            lambda first, dead: np.repeat(dead_nodes(first, dead), np.diff(first)),
            "one entry for each child; one for each node is asked for.",
        ),
        (
            lambda first, dead: np.bool_(dead.all()),
            "one answer for all nodes together. Look at each node's own children.",
        ),
    ],
)

EXERCISES = {
    "8.1": TRIE,
    "8.2": BEAM_STEP,
    "8.3": RANGES,
    "8.4": DEAD_NODES,
}
