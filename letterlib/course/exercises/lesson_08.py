"""Lesson 08: a trie of dictionaries, a step of beam search, children as ranges, a step for many
histories, the search.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import wraps
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


def first_of_each_group(names):
    """Of the names with the same first token only the first."""
    return trie([name for i, name in enumerate(names) if name[0] not in {n[0] for n in names[:i]}])


def skips_what_is_there(names):
    """A token that is there already is passed over, and the node stays."""
    root: dict = {}
    for name in names:
        node = root
        for token in name:
            if token not in node:
                node = node.setdefault(token, {})
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
            of(sorted),
            "the tokens of a name sorted. Their order is the name: go down as they stand.",
        ),
        (
            skips_what_is_there,
            "a token that is there already is passed over. Go down to its node all the same.",
        ),
        (
            first_of_each_group,
            "a name is left out when its first token is there already. Go down to that node, and "
            "on from it.",
        ),
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


def cut_before_sorting(index: Tensor, flat: Tensor, beam: int) -> Tensor:
    first = (flat > -torch.inf).nonzero()[:beam, 0]
    return index[torch.isin(index, first)]


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


def absolute_scores(scores, log_probs, allowed, beam):
    values, parents, tokens = beam_step(scores, log_probs, allowed, beam)
    return -values, parents, tokens


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


def each_token_once(scores, log_probs, allowed, beam):
    values, parents = masked(scores, log_probs, allowed).max(dim=0)
    tokens = finite(stable(values), values, beam)
    return values[tokens], parents[tokens], tokens


def chosen_by_token(scores, log_probs, allowed, beam):
    """Chosen by what the last token adds; the beam's score is added after."""
    _, parents, tokens = beam_step(torch.where(scores.isinf(), scores, 0), log_probs, allowed, beam)
    return scores[parents] + log_probs[parents, tokens], parents, tokens


def rows_exchanged(scores, log_probs, allowed, beam):
    values, index, _ = best_of(masked(scores, log_probs, allowed).flatten(), 1, beam)
    return values, index % len(scores), index // len(scores)


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
    (
        lambda s, p, a: s.max() + p,
        "the best beam's score for all beams. To each row add its own: `scores[:, None]`.",
    ),
    (
        lambda s, p, a: s.sum() + p,
        "the sum of all beams' scores in every row. To each row add its own: `scores[:, None]`.",
    ),
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
    (
        lambda flat: flat.sort(stable=True).indices,
        "those with the *lowest* scores, among them what is not allowed.",
    ),
    (lambda flat: torch.arange(len(flat)), "not sorted: the order of the table."),
]
WRONG_CHOICES = [
    (lambda index, flat, a, beam: index[: min(beam, int(flat.isinf().sum()))], COUNTED),
    (lambda index, flat, a, beam: index[: min(beam, int((~a).sum()))], COUNTED),
    (lambda index, flat, a, beam: finite(index, flat, beam).sort().values, TABLE_ORDER),
    (
        lambda index, flat, a, beam: cut_before_sorting(index, flat, beam),
        "cut to `beam` before the sort: the first of the table, not the best.",
    ),
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
        (
            rows_exchanged,
            "parents and tokens of a table with as many columns as beams. It has a column for each "
            "token: `index // n_tokens` is the parent, `index % n_tokens` the token.",
        ),
        (
            absolute_scores,
            "the sign is lost, as with `abs`. The logarithm of a probability is below 0.",
        ),
        (
            chosen_by_token,
            "chosen by the last token alone, and the beam's score added after. It decides, too: "
            "add before you sort.",
        ),
        (
            lambda s, p, a, beam: beam_step(s[:1], p[:1], a[:1], beam),
            "continuations of the first beam alone. All beams may go on.",
        ),
        (
            lambda s, p, a, beam: beam_step(s, p, a, len(s)),
            "as many as there were beams. From now on there are to be `beam` of them.",
        ),
        (
            each_token_once,
            "every token once, from its best beam. Two beams may go on with the same token.",
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


def all_differ_in_children(codes: np.ndarray, level: int) -> np.ndarray:
    """Where *all* codes of the node differ from those of the child before."""
    children = np.unique(codes[:, : level + 1], axis=0)
    return np.append(all_differ(children, level), len(children))


def children_by_column(codes: np.ndarray, level: int) -> np.ndarray:
    """Children counted along the rows, a new one where the code of `level` changes."""
    child = np.append(0, (codes[1:, level] != codes[:-1, level]).cumsum())
    return np.append(child[starts(codes, level)], child[-1] + 1)


def nodes_by_column(codes: np.ndarray, level: int) -> np.ndarray:
    """Nodes looked up by their last code alone, among the children."""
    children = np.unique(codes[:, : level + 1], axis=0)
    last = children[:, level - 1] if level else np.zeros(len(children))
    return np.append(np.searchsorted(last, np.unique(last)), len(children))


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
        lambda right, codes: np.append(right[:-1], right[-1] - 1),
        "the last entry is one too small: the number of all children, not that of the last one.",
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
        lambda right, codes: np.append(0, np.diff(right)),
        "how many children every node has, with 0 in front. Add these up: `np.cumsum`.",
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
        (
            ranges_with(side="right"),
            "all starts one too large: `side='right'` in `searchsorted`, or a `cumsum` that begins "
            "with 1.",
        ),
        (
            ranges_with(children=lambda codes, length: starts(codes, length + 1)),
            "grandchildren: a child has one code more than its node, `level + 1` in all.",
        ),
        (nodes_by_column, SAME_LAST_CODE),
        (all_differ_in_children, ALL_DIFFER),
        (
            children_by_column,
            "children told apart by their last column alone. Compare all of the first `level + 1` "
            "codes.",
        ),
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

# 8.4 A step for many histories: nodes, scores [batch, n], log_probs [batch, n, V], first_child
# [n_nodes + 1], token [n_children], beam -> scores, parents, nodes [batch, beam]


def batched_cases(generator: Generator) -> list[Case]:
    """The root; two nodes with two children and one, equal scores; two histories, whose best beam
    is not the lowest node; then many, whose likeliest tokens mostly lead nowhere.
    """
    one = _batched([[0]], [[0]], [[[3, 3, 1, 2, 3]]], [0, 2], [2, 4], 1)
    tied = _batched(
        [[1, 0]], [[1, 1]], [[[3, 3, 2, 2, 2], [2, 3, 3, 2, 2]]], [0, 1, 3], [3, 2, 4], 2
    )
    rows = [[[3, 3, 3, 3, 1], [4, 4, 1, 2, 3]], [[2, 2, 2, 3, 3], [3, 1, 3, 3, 3]]]
    two = _batched([[1, 0], [2, 1]], [[1, 3], [2, 2]], rows, [0, 2, 3, 5], [2, 3, 4, 2, 3], 2)
    counts = torch.tensor([2, 3, 2, 5, 2, 4, 3, 2])
    token = torch.cat(
        [2 + torch.randperm(30, generator=generator)[:n].sort().values for n in counts.tolist()]
    )
    nodes = torch.stack([torch.randperm(8, generator=generator)[:4] for _ in range(5)])
    nodes[0, 0], nodes[1, 3] = 7, 0  # the last node; a node with few children, last
    nodes[0, 1:], nodes[1, :3] = torch.tensor([2, 5, 0]), torch.tensor([3, 6, 5])
    scores = torch.randint(1, 5, (5, 4), generator=generator).sort(dim=1).values
    exponents = [[_shuffled(32, generator) for _ in range(4)] for _ in range(5)]
    first_child = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    many = _batched(nodes, scores, exponents, first_child, token, 6)
    return [one, tied, two, many]


def _shuffled(n: int, generator: Generator) -> list[int]:
    return _split(n, generator)[torch.randperm(n, generator=generator)].tolist()


def _batched(nodes, scores, exponents, first_child, token, beam: int) -> Case:
    return {
        "nodes": torch.as_tensor(nodes),
        "scores": -HALF * torch.as_tensor(scores),
        "log_probs": -HALF * torch.tensor(exponents),
        "first_child": torch.as_tensor(first_child),
        "token": torch.as_tensor(token),
        "beam": beam,
    }


def batched_step(
    nodes: Tensor, scores: Tensor, log_probs: Tensor, first_child: Tensor, token: Tensor, beam: int
) -> tuple[Tensor, Tensor, Tensor]:
    first, end = first_child[nodes], first_child[nodes + 1]
    width = int((end - first).max())
    children = first[:, :, None] + torch.arange(width)
    real = children < end[:, :, None]
    children = children.clamp(max=len(token) - 1)
    table = scores[:, :, None] + log_probs.gather(2, token[children])
    flat = table.masked_fill(~real, -torch.inf).flatten(1)
    best, places = flat.sort(dim=1, descending=True, stable=True)
    best, places = best[:, :beam], places[:, :beam]
    return best, places // width, children.flatten(1).gather(1, places)


def batched_with(
    end: Callable = lambda first_child, nodes: first_child[nodes + 1],
    at: Callable = lambda nodes: nodes,
    scores_of: Callable = lambda scores: scores,
    read: Callable = lambda token, children: token[children],
    table: Callable = lambda s, p, real: s + p,
    rows: Callable = lambda log_probs: log_probs,
    mask: Callable = lambda table, real: table.masked_fill(~real, -torch.inf),
    order: Callable = lambda flat: flat.sort(dim=1, descending=True, stable=True).indices,
    divisor: Callable = lambda width, log_probs, beam: width,
    width_of: Callable = lambda counts: counts.max(),
    cut: Callable = lambda beam, n: beam,
) -> Callable:
    """A step for many histories, one of whose parts may be replaced.

    end: where ranges end. at: nodes whose ranges are read. scores_of: the scores to which is added.
    read: the tokens of children. table:
    (beams' scores, tokens', which children are real) -> scores. rows: which log-probabilities.
    order: flat table -> places, best first. divisor: what makes parents of places. width_of: how
    many columns, from the numbers of children. cut: how many are kept, from `beam` and the number
    of beams.
    """

    def answer(nodes, scores, log_probs, first_child, token, beam):
        nodes = at(nodes)
        first, last = first_child[nodes], end(first_child, nodes)
        width = int(width_of(last - first))
        children = first[:, :, None] + torch.arange(width)
        real = children < last[:, :, None]
        children = children.clamp(max=len(token) - 1)
        found = rows(log_probs).gather(2, read(token, children))
        flat = mask(table(scores_of(scores)[:, :, None], found, real), real).flatten(1)
        places = order(flat)[:, : cut(beam, nodes.shape[1])]
        parents = places // divisor(width, log_probs, beam)
        return flat.gather(1, places), parents, children.flatten(1).gather(1, places)

    return answer


def batched_results(change: Callable) -> Callable:
    """The right scores v, parents p and nodes c, changed: (v, p, c, case) -> the results."""

    def answer(*values):
        names = ("nodes", "scores", "log_probs", "first_child", "token", "beam")
        return change(*batched_step(*values), dict(zip(names, values)))

    return answer


def batched_by_loop(nodes, scores, log_probs, first_child, token, beam):
    found = []
    for row in range(len(nodes)):
        children = []
        for parent, node in enumerate(nodes[row].tolist()):
            for child in range(first_child[node], first_child[node + 1]):
                score = scores[row, parent] + log_probs[row, parent, token[child]]
                children.append((-score.item(), parent, child))
        found.append(sorted(children)[:beam])
    values = torch.tensor(found)
    return -values[:, :, 0], values[:, :, 1].long(), values[:, :, 2].long()


def batched_by_steps(nodes, scores, log_probs, first_child, token, beam):
    """With the step for one history, and a mask over all tokens."""
    results = []
    for row in range(len(nodes)):
        allowed = torch.zeros_like(log_probs[row]).bool()
        child = torch.zeros(allowed.shape, dtype=torch.int64)
        for parent, node in enumerate(nodes[row]):
            below = torch.arange(int(first_child[node]), int(first_child[node + 1]))
            allowed[parent, token[below]], child[parent, token[below]] = True, below
        values, parents, tokens = beam_step(scores[row], log_probs[row], allowed, beam)
        results.append((values, parents, child[parents, tokens]))
    return tuple(torch.stack(part) for part in zip(*results))


def batched_by_repeating(nodes, scores, log_probs, first_child, token, beam):
    """All children in one list, history after history, and a cut for each history."""
    n, flat = nodes.shape[1], nodes.flatten()
    counts = first_child[flat + 1] - first_child[flat]
    parents = torch.repeat_interleave(counts)
    begin = counts.cumsum(0) - counts
    child = first_child[flat][parents] + torch.arange(len(parents)) - begin[parents]
    score = scores.flatten()[parents] + log_probs.flatten(0, 1)[parents, token[child]]
    chosen = []
    for row in range(len(nodes)):
        own = (parents // n == row).nonzero()[:, 0]
        chosen.append(own[score[own].sort(descending=True, stable=True).indices[:beam]])
    places = torch.stack(chosen)
    return score[places], parents[places] % n, child[places]


def together(nodes, scores, log_probs, first_child, token, beam):
    """The best of all histories, cut into rows."""
    shape = len(nodes), beam
    parts = batched_step(
        nodes.flatten()[None],
        scores.flatten()[None],
        log_probs.flatten(0, 1)[None],
        first_child,
        token,
        len(nodes) * beam,
    )
    return tuple(part[0].view(shape) for part in parts)


def _places(children: Tensor) -> Tensor:
    """0, 1, 2, ... along the columns."""
    return torch.arange(children.shape[2]).expand_as(children)


def chosen_by_child(nodes, scores, log_probs, first_child, token, beam):
    """Chosen by what the last token adds; the beam's score is added after."""
    case = nodes, 0 * scores, log_probs, first_child, token, beam
    values, parents, children = batched_step(*case)
    return values + scores.gather(1, parents), parents, children


def batched_of_the_first(nodes, scores, log_probs, first_child, token, beam):
    found = batched_step(nodes[:1], scores[:1], log_probs[:1], first_child, token, beam)
    return tuple(part.expand(len(nodes), -1) for part in found)


def nodes_of_the_first(nodes, scores, log_probs, first_child, token, beam):
    """The nodes of all histories from the first history's table of children."""
    case = nodes, scores, log_probs, first_child, token, beam
    values, parents, children = batched_step(*case)
    first = first_child[nodes]
    width = int((first_child[nodes + 1] - first).max())
    place = children - first.gather(1, parents)
    below = (first[:1, :, None] + torch.arange(width)).clamp(max=len(token) - 1).flatten()
    return values, parents, below[parents * width + place]


def clamped_first(nodes, scores, log_probs, first_child, token, beam):
    first, end = first_child[nodes], first_child[nodes + 1]
    width = int((end - first).max())
    children = (first[:, :, None] + torch.arange(width)).clamp(max=len(token) - 1)
    table = scores[:, :, None] + log_probs.gather(2, token[children])
    flat = table.masked_fill(children >= end[:, :, None], -torch.inf).flatten(1)
    best, places = (part[:, :beam] for part in flat.sort(dim=1, descending=True, stable=True))
    return best, places // width, children.flatten(1).gather(1, places)


def remainder_as_parent(nodes, scores, log_probs, first_child, token, beam):
    case = nodes, scores, log_probs, first_child, token, beam
    values, parents, children = batched_step(*case)
    return values, children - first_child[nodes.gather(1, parents)], children


def best_child_of_each(nodes, scores, log_probs, first_child, token, beam):
    """Of every beam its best child, and of these the best."""
    shape = (*nodes.shape, -1)
    alone = batched_step(
        nodes.view(-1, 1),
        scores.view(-1, 1),
        log_probs.flatten(0, 1)[:, None],
        first_child,
        token,
        1,
    )
    values, _, children = (part.view(shape)[:, :, 0] for part in alone)
    values, order = values.sort(dim=1, descending=True, stable=True)
    return values[:, :beam], order[:, :beam], children.gather(1, order)[:, :beam]


def not_as_wide(actual, expected, case):
    return actual.ndim == 2 and len(actual) == len(expected) and actual.shape != expected.shape


def tied_in_batch(actual, expected, case):
    """Whether each parent, or each node, has a continuation of the right score."""
    values, parents, _ = batched_step(**case)
    scores, *ways = batched_step(**{**case, "beam": case["token"].numel() * parents.numel()})
    way = ways[0] if torch.equal(expected, parents) else ways[1]
    fits = (way[:, None] == actual[:, :, None]) & (scores[:, None] == values[:, :, None])
    return bool(fits.any(dim=2).all())


def backwards(flat: Tensor) -> Tensor:
    """Places, best first; of equal scores the last comes first."""
    return flat.shape[1] - 1 - flat.flip(1).sort(dim=1, descending=True, stable=True).indices


SIBLINGS = (
    "children of the next node: ranges differ in length, and what is beyond the end of a shorter "
    "one belongs to another node. Give it the score -inf."
)
NOT_STABLE_IN_BATCH = (
    "the order among equal scores: lower beam first, then lower child. `topk` leaves ties to "
    "chance; `sort(dim=1, descending=True, stable=True)` does not."
)
WRONG_BATCHED_RESULTS = [
    (
        lambda v, p, c, case: (v, p, case["token"][c]),
        "tokens. Return the children themselves, the numbers of nodes of the next level.",
    ),
    (
        lambda v, p, c, case: (v, p, case["nodes"].gather(1, p)),
        "the nodes that are continued. Return their children.",
    ),
    (
        lambda v, p, c, case: (v, p, c - case["first_child"][case["nodes"].gather(1, p)]),
        "children counted from the first of each node. Add `first_child[node]`.",
    ),
    (
        lambda v, p, c, case: (v, case["nodes"].gather(1, p), c),
        "nodes in place of parents. A parent is a place among the beams, from 0 to n - 1.",
    ),
    (
        lambda v, p, c, case: (v, p + torch.arange(len(p))[:, None] * case["nodes"].shape[1], c),
        "beams counted through all histories. Within each history count from 0: `% n`.",
    ),
    (lambda v, p, c, case: (v, c, p), "parents and nodes exchanged."),
    (
        lambda v, p, c, case: (c, p, v),
        "another order. The scores come first: `return scores, parents, nodes`.",
    ),
    (lambda v, p, c, case: (v.exp(), p, c), "probabilities; log-probabilities are asked for."),
    (
        lambda v, p, c, case: (case["scores"].gather(1, p), p, c),
        "the scores of the beams that are continued. Add the log-probability of the token.",
    ),
    (
        lambda v, p, c, case: tuple(part.flip(1) for part in (v, p, c)),
        "the worst of the chosen comes first.",
    ),
    (
        lambda v, p, c, case: tuple(part.gather(1, c.argsort(dim=1)) for part in (v, p, c)),
        "the order of the nodes. The best comes first.",
    ),
    (lambda v, p, c, case: (v, p.float(), c), FRACTIONS),
]

BATCHED_STEP = Exercise(
    reference=batched_step,
    cases=batched_cases,
    returns=["scores", "parents", "nodes"],
    right=[batched_by_loop, batched_by_steps, batched_by_repeating],
    stops={
        "out of bounds": "Beyond the end of a short range there may be no node at all: "
        "`children.clamp(max=len(token) - 1)`, and -inf as its score.",
        "out of range": "`scores`, `nodes` and `log_probs` have a row for each history.",
        "must match the size": "`scores[:, :, None]` has a place for each child of each beam.",
        "Index tensor must have": "`gather(2, ...)` wants as many dimensions as `log_probs` has.",
    },
    mistakes=[
        (
            batched_with(mask=lambda table, real: table),
            SIBLINGS,
        ),
        (
            batched_with(end=lambda first_child, nodes: first_child[nodes + 1] + 1),
            "ranges that are one too long. `first_child[node + 1]` belongs to the next node.",
        ),
        (
            batched_with(
                end=lambda first_child, nodes: first_child[nodes + 1] + 1,
                width_of=lambda counts: counts.max() - 1,
            ),
            "ranges that are one too long. `first_child[node + 1]` belongs to the next node.",
        ),
        (
            batched_with(
                end=lambda first_child, nodes: (first_child[nodes + 1] - 1).maximum(
                    first_child[nodes] + 1
                )
            ),
            "the last child of every range is left out.",
        ),
        (
            batched_with(end=lambda first_child, nodes: first_child[nodes] + 1),
            "only the first child of every node. Its children go on to `first_child[node + 1]`.",
        ),
        (
            batched_with(at=lambda nodes: nodes[:1].expand_as(nodes)),
            "the nodes of the first history for all of them.",
        ),
        (
            batched_with(at=lambda nodes: torch.arange(nodes.shape[1]).expand_as(nodes)),
            "the place of a beam taken for its node. A beam stands at `nodes[row, beam]`.",
        ),
        (
            batched_with(read=lambda token, children: children),
            "the log-probability is looked up by the child's number. Look it up by its token, "
            "`token[child]`.",
        ),
        (
            batched_with(rows=lambda log_probs: log_probs[:, :1].expand_as(log_probs)),
            "the log-probabilities of the first beam for all beams.",
        ),
        (
            batched_with(rows=lambda log_probs: log_probs[:1].expand_as(log_probs)),
            "the log-probabilities of the first history for all of them.",
        ),
        (
            batched_with(table=lambda s, p, real: p + 0 * s),
            "the beam's own score is not added: a continuation's score is that of the whole way.",
        ),
        (batched_with(table=lambda s, p, real: s * p), "a product. Logarithms are added."),
        (
            batched_with(table=lambda s, p, real: s - p),
            "the log-probability is subtracted. Add it.",
        ),
        (batched_with(table=lambda s, p, real: s + p.exp()), PROBABILITY_ADDED),
        (
            batched_with(
                table=lambda s, p, real: s + p.masked_fill(~real, -torch.inf).log_softmax(2)
            ),
            "renormalised over the children. The log-probabilities are to stay those of the "
            "whole vocabulary.",
        ),
        (batched_with(mask=lambda table, real: table.masked_fill(~real, 0)), ZEROS),
        (batched_with(mask=lambda table, real: table * real), ZEROS),
        (
            batched_with(order=lambda flat: flat.sort(dim=1, stable=True).indices),
            "those with the *lowest* scores, among them what is no child.",
        ),
        (
            batched_with(
                order=lambda flat: (
                    flat.masked_fill(flat.isinf(), torch.inf).sort(dim=1, stable=True).indices
                )
            ),
            "those with the *lowest* scores.",
        ),
        (
            batched_with(divisor=lambda width, log_probs, beam: log_probs.shape[2]),
            "parents that are all 0, as after a division by the number of tokens. A row of the "
            "table has a place for each child of one beam: divide by their number.",
        ),
        (
            batched_with(divisor=lambda width, log_probs, beam: beam),
            "divided by the width of the beam. A row of the table has a place for each child.",
        ),
        (
            batched_with(order=backwards),
            NOT_STABLE_IN_BATCH,
        ),
        (
            batched_with(scores_of=lambda scores: scores[:1].expand_as(scores)),
            "the scores of the first history's beams for all histories.",
        ),
        (
            batched_with(scores_of=lambda scores: scores[:, :1].expand_as(scores)),
            "the score of a history's first beam for all of its beams.",
        ),
        (
            batched_with(scores_of=lambda scores: scores.sum(1, keepdim=True).expand_as(scores)),
            "the sum of a history's scores for each of its beams. Each child continues one beam.",
        ),
        (
            batched_with(divisor=lambda width, log_probs, beam: log_probs.shape[1]),
            "divided by the number of beams. A row of the table has a place for each child of one "
            "beam: divide by the width of the table.",
        ),
        (
            batched_with(order=lambda flat: flat.isinf().sort(dim=1, stable=True).indices),
            "not sorted: the first children, not the best.",
        ),
        (
            batched_with(order=lambda flat: torch.arange(flat.shape[1]).expand_as(flat)),
            "not sorted: the first of the table, not the best.",
        ),
        (
            batched_with(at=lambda nodes: (nodes - 1).clamp(min=0)),
            "ranges of the node before. Node `i` has the range from `first_child[i]` up to "
            "`first_child[i + 1]`.",
        ),
        (
            batched_with(at=lambda nodes: nodes[:, :1].expand_as(nodes)),
            "the range of a history's first beam for all of its beams.",
        ),
        (
            batched_with(read=lambda token, children: token[children - 1]),
            "the token of the child before. Child `c` is reached by `token[c]`.",
        ),
        (
            batched_of_the_first,
            "the first history's children for all histories.",
        ),
        (
            chosen_by_child,
            "chosen by the last token alone, and the beam's score added after. It decides, too: "
            "add before you sort.",
        ),
        (
            nodes_of_the_first,
            "nodes are looked up among those of the first history. `gather(1, places)` looks "
            "them up row by row.",
        ),
        (
            clamped_first,
            "clamped before the mask: at the end of the array the last child then stands in the "
            "table several times. Compare with `end` first, and clamp after it.",
        ),
        (
            batched_with(width_of=lambda counts: counts[0, 0]),
            "as many columns as the first range is long. Longer ranges lose children: take the "
            "longest, `.max()`.",
        ),
        (
            batched_with(width_of=lambda counts: counts.min()),
            "as many columns as the shortest range is long. Take the longest, `.max()`.",
        ),
        (
            batched_with(read=lambda token, children: _places(children)),
            "the log-probability is looked up by the place in the range. Look it up by the child's "
            "token, `token[child]`.",
        ),
        (
            remainder_as_parent,
            "the remainder taken for the parent. Place `j` is child `j % width` of beam "
            "`j // width`.",
        ),
        (
            batched_with(cut=lambda beam, n: n),
            "as many as there were beams. From now on there are to be `beam` of them.",
        ),
        (together, "histories compete with each other. Each keeps its own `beam`: `dim=1`."),
        (
            best_child_of_each,
            "the best child of each beam. A good beam may go on in several ways.",
        ),
        *((batched_results(change), hint) for change, hint in WRONG_BATCHED_RESULTS),
    ],
    clues=[
        (
            not_as_wide,
            "not `beam` children for each history: cut with `[:, :beam]`.",
            batched_with(cut=lambda beam, n: 2 * beam),
        ),
        (
            tied_in_batch,
            NOT_STABLE_IN_BATCH,
            batched_with(order=lambda flat: flat.topk(flat.shape[1]).indices),
        ),
    ],
)

# 8.5 The search: network, memory, first_child, token (lists by level), beam -> leaves, scores


class Rows:
    """What a toy network remembers: at which row of its table each sequence is, [batch, n]."""

    def __init__(self, rows: Tensor):
        self.rows = rows

    def follow(self, parents: Tensor) -> None:
        self.rows = self.rows.gather(1, parents)


class Toy:
    """A network that looks its logits up in a table [rows, V]. The row depends on the history and
    on every token so far.
    """

    def __init__(self, logits: Tensor):
        self.logits = logits

    def start(self, memory: Tensor) -> Rows:
        return Rows(memory[:, None])

    def step(self, tokens: Tensor, state: Rows) -> Tensor:
        state.rows = (3 * state.rows + tokens + 1) % len(self.logits)
        return self.logits[state.rows]


def with_a_toy(answer: Callable) -> Callable:
    """The search on a toy network, which is given as its logits."""

    @wraps(answer)
    def use(logits, memory, first_child, token, beam):
        return answer(Toy(logits), memory, first_child, token, beam)

    return use


def search_cases(generator: Generator) -> list[Case]:
    """Names of one token; of two, for two histories; a beam wider than the catalogue; then many."""
    few = [[2, 4], [2, 5], [3, 5], [3, 6], [3, 7]]
    codes = _whole(generator, (60, 3), 4) + np.array([2, 6, 10])
    return [
        _search_case([[2], [3], [4]], [0], 1, generator),
        _search_case(few, [0, 3], 2, generator),
        _search_case(few, [1], 10, generator),
        _search_case(codes, list(range(6)), 5, generator),
    ]


def _search_case(names: Any, memory: list[int], beam: int, generator: Generator) -> Case:
    tokens = np.unique(np.array(names), axis=0)
    levels = range(tokens.shape[1])
    token = [
        [PAD],
        *(np.unique(tokens[:, : level + 1], axis=0)[:, -1] for level in levels),
    ]
    return {
        "logits": 2 * torch.randn(23, int(tokens.max()) + 1, generator=generator),
        "memory": torch.tensor(memory),
        "first_child": [torch.from_numpy(first_child(tokens, level)) for level in levels],
        "token": [torch.tensor(one) for one in token],
        "beam": beam,
    }


def beam_search(
    network: Any, memory: Tensor, first_child: list[Tensor], token: list[Tensor], beam: int
) -> tuple[Tensor, Tensor]:
    state = network.start(memory)
    nodes = torch.zeros(len(memory), 1, dtype=torch.int64)
    scores = torch.zeros(len(memory), 1)
    for level in range(len(first_child)):
        log_probs = network.step(token[level][nodes], state).log_softmax(dim=2)
        kept = min(beam, len(token[level + 1]))
        scores, parents, nodes = batched_step(
            nodes, scores, log_probs, first_child[level], token[level + 1], kept
        )
        state.follow(parents)
    log_probs = network.step(token[-1][nodes], state).log_softmax(dim=2)
    scores, order = (scores + log_probs[:, :, EOS]).sort(dim=1, descending=True, stable=True)
    return nodes.gather(1, order), scores


def search_with(
    n_roots: Callable = lambda beam: 1,
    state_of: Callable = lambda network, memory, state: state,
    heard: Callable = lambda token, level, nodes: token[level][nodes],
    log_probs_of: Callable = lambda logits: logits.log_softmax(dim=2),
    last_log_probs_of: Callable | None = None,
    before: Callable = lambda scores: scores,
    total: Callable = lambda found, scores: found,
    kept: Callable = lambda beam, token, level: min(beam, len(token[level + 1])),
    follow: Callable = lambda state, parents, nodes, left: state.follow(parents),
    end: Callable = lambda scores, log_probs: scores + log_probs[:, :, EOS],
    order: Callable = lambda scores: scores.sort(dim=1, descending=True, stable=True),
    result: Callable = lambda nodes, scores, order, n_levels: (nodes.gather(1, order), scores),
) -> Callable:
    """A search, one of whose parts may be replaced.

    n_roots: how many beams begin at the root. state_of: the state for a level's step. heard: the
    tokens that the network hears. before: the scores handed to a step. total: of a step's scores
    and those of the parents. kept: how many are kept. follow: told with the number of levels left.
    end: scores with the end token.
    """

    def answer(network, memory, first_child, token, beam):
        state, n_levels = network.start(memory), len(first_child)
        nodes = torch.zeros(len(memory), n_roots(beam), dtype=torch.int64)
        state.follow(nodes)
        scores = torch.zeros(nodes.shape)
        for level in range(n_levels):
            state = state_of(network, memory, state)
            log_probs = log_probs_of(network.step(heard(token, level, nodes), state))
            found, parents, nodes = batched_step(
                nodes,
                before(scores),
                log_probs,
                first_child[level],
                token[level + 1],
                kept(beam, token, level),
            )
            scores = total(found, scores.gather(1, parents))
            follow(state, parents, nodes, n_levels - 1 - level)
        last = last_log_probs_of or log_probs_of
        log_probs = last(network.step(heard(token, n_levels, nodes), state))
        scores, places = order(end(scores, log_probs))
        return result(nodes, scores, places, n_levels)

    return answer


def search_one_by_one(network, memory, first_child, token, beam):
    """A history at a time, every beginning scored from its first token on."""
    leaves, scores = [], []
    for row in range(len(memory)):
        beams = [(0.0, [0])]
        for level in range(len(first_child) + 1):
            longer = []
            for _, way in beams:
                state, score = network.start(memory[row : row + 1]), 0.0
                for depth, node in enumerate(way):
                    heard = torch.tensor([[int(token[depth][node])]])
                    log_probs = network.step(heard, state)[0, 0].log_softmax(dim=0)
                    if depth + 1 < len(way):
                        score += float(log_probs[token[depth + 1][way[depth + 1]]])
                if level == len(first_child):
                    longer.append((score + float(log_probs[EOS]), way))
                    continue
                first, end = first_child[level][way[-1] : way[-1] + 2].tolist()
                longer += [
                    (score + float(log_probs[token[level + 1][child]]), [*way, child])
                    for child in range(first, end)
                ]
            beams = sorted(longer, key=lambda one: -one[0])[:beam]
        scores.append([score for score, _ in beams])
        leaves.append([way[-1] for _, way in beams])
    return torch.tensor(leaves), torch.tensor(scores)


def not_followed(state, parents, nodes, left):
    """The cache of a history's first sequence for all: what a toy does that is told nothing."""
    state.rows = state.rows[:, :1].expand_as(parents)


class Forgetful:
    """A network whose state is a new one at each step."""

    def __init__(self, network: Any):
        self.network = network

    def start(self, memory: Tensor) -> Any:
        self.memory = memory
        return self.network.start(memory)

    def step(self, tokens: Tensor, state: Rows) -> Tensor:
        state.rows = self.memory[:, None].expand(tokens.shape)
        return self.network.step(tokens, state)


def by_number(*values):
    leaves, scores = beam_search(*values)
    leaves, order = leaves.sort(dim=1)
    return leaves, scores.gather(1, order)


def in_their_places(state, parents, nodes, left):
    """Each new beam follows the old one in its place, the last of them if there are fewer."""
    places = torch.arange(parents.shape[1]).clamp(max=state.rows.shape[1] - 1)
    state.follow(places.expand_as(parents))


def of_the_first(network, memory, *values):
    found = beam_search(network, memory[:1], *values)
    return tuple(part.expand(len(memory), -1) for part in found)


def started_again(network, *values):
    return beam_search(Forgetful(network), *values)


def last_tokens(network, memory, first_child, token, beam):
    leaves, scores = beam_search(network, memory, first_child, token, beam)
    return token[-1][leaves], scores


def proportional_scores(actual, expected, case):
    return actual.is_floating_point() and torch.allclose(
        actual * expected[:1, :1], expected * actual[:1, :1]
    )


RAW_LOGITS = (
    "raw logits are added up. They are no log-probabilities: `log_softmax` over the tokens first."
)
NOT_FOLLOWED = (
    "the network was not told which sequences go on: `state.follow(parents)` after every step. "
    "Without it a beam is continued with what another one has written."
)

BEAM_SEARCH = Exercise(
    reference=beam_search,
    cases=search_cases,
    returns=["leaves", "scores"],
    use=with_a_toy,
    right=[search_one_by_one],
    stops={
        "out of bounds": "Level by level: `token[level][nodes]` is what the network hears, "
        "`first_child[level]` and `token[level + 1]` are what the step needs.",
        "out of range": "`first_child` has an entry for each level, `token` has one more.",
    },
    mistakes=[
        (search_with(follow=lambda *_: None), NOT_FOLLOWED),
        (search_with(follow=not_followed), NOT_FOLLOWED),
        (
            search_with(follow=lambda state, parents, nodes, left: left and state.follow(parents)),
            "`follow` is missing after the last code: the end token is asked for, too.",
        ),
        (
            search_with(follow=lambda state, parents, nodes, left: state.follow(nodes)),
            "`follow` is told the nodes. It wants the parents, places among the beams.",
        ),
        (
            search_with(end=lambda scores, log_probs: scores),
            "the end token is not scored. It is a token like the others: one more `step`, and "
            "`log_probs[:, :, EOS]`.",
        ),
        (
            search_with(end=lambda scores, log_probs: log_probs[:, :, EOS]),
            "only the end token is scored. Add it to the scores.",
        ),
        (
            search_with(end=lambda scores, log_probs: scores + log_probs[:, :, PAD]),
            "the log-probability of the start token, 0. The end token is 1, `EOS`.",
        ),
        (
            search_with(
                order=lambda scores: (scores, torch.arange(scores.shape[1]).expand_as(scores))
            ),
            "not sorted once more: the end token changes the order.",
        ),
        (
            search_with(result=lambda nodes, scores, order, n: (nodes, scores)),
            "scores are sorted and leaves are not: `nodes.gather(1, order)`.",
        ),
        (
            search_with(result=lambda nodes, scores, order, n: (order, scores)),
            "places among the beams. Leaves are asked for: `nodes.gather(1, order)`.",
        ),
        (
            search_with(result=lambda nodes, scores, order, n: (scores, nodes.gather(1, order))),
            "leaves and scores exchanged.",
        ),
        (
            search_with(
                result=lambda nodes, scores, order, n: (nodes.gather(1, order), scores / (n + 1))
            ),
            "divided by the number of tokens. A score is the plain sum.",
        ),
        (
            search_with(
                result=lambda nodes, scores, order, n: (nodes.gather(1, order), scores.exp())
            ),
            "probabilities; log-probabilities are asked for.",
        ),
        (
            search_with(order=lambda scores: scores.sort(dim=1, stable=True)),
            "the worst comes first.",
        ),
        (search_with(log_probs_of=lambda logits: logits), RAW_LOGITS),
        (
            search_with(log_probs_of=lambda logits: logits.softmax(dim=2)),
            "probabilities are added up. Add their logarithms: `log_softmax`.",
        ),
        (
            search_with(log_probs_of=lambda logits: logits.log_softmax(dim=1)),
            "`log_softmax` over the beams. Over the tokens: `dim=2`.",
        ),
        (
            search_with(log_probs_of=lambda logits: logits.log_softmax(dim=0)),
            "`log_softmax` over the histories. Over the tokens: `dim=2`.",
        ),
        (
            search_with(before=torch.zeros_like),
            "scores begin anew at every level. Hand on those of the step before.",
        ),
        (
            search_with(kept=lambda beam, token, level: beam),
            "more beams than the level has nodes: keep `min(beam, len(token[level + 1]))`.",
        ),
        (
            search_with(kept=lambda beam, token, level: 1),
            "one beam only, which is greedy decoding.",
        ),
        (
            search_with(heard=lambda token, level, nodes: torch.zeros_like(nodes)),
            "the network hears the start token at every step. After it come the tokens of the "
            "nodes: `token[level][nodes]`.",
        ),
        (
            search_with(kept=lambda beam, token, level: min(beam, len(token[level]))),
            "no more beams than this level has nodes. The step keeps nodes of the next level: "
            "`len(token[level + 1])`.",
        ),
        (
            search_with(n_roots=lambda beam: beam),
            "several beams at the root, all alike: each film comes several times. Begin with one "
            "beam for each history.",
        ),
        *(
            (
                again,
                "`start` at every level: the network forgets what was written. Once, before the "
                "loop.",
            )
            for again in (
                started_again,
                search_with(state_of=lambda network, memory, state: network.start(memory)),
            )
        ),
        (
            search_with(follow=in_their_places),
            "`follow` is told the places of the new beams. It wants to know which old one each "
            "continues: `parents`.",
        ),
        (
            search_with(end=lambda scores, log_probs: scores + 2 * log_probs[:, :, EOS]),
            "the end token is scored twice.",
        ),
        (
            search_with(end=lambda scores, log_probs: scores + log_probs.amax(dim=2)),
            "the likeliest token in place of the end token. A name ends here: "
            "`log_probs[:, :, EOS]`.",
        ),
        (
            by_number,
            "the order of the leaves' numbers. The best comes first.",
        ),
        (
            search_with(total=lambda found, scores: found + scores),
            "the scores are added to those of the step before, which they hold already: they are "
            "those of the whole way.",
        ),
        (
            of_the_first,
            "the first history's films for all histories.",
        ),
        (
            lambda network, memory, first_child, token, beam: beam_search(
                network, memory, first_child[:-1], token[:-1], beam
            ),
            "the last level is not walked. There is a step for each entry of `first_child`.",
        ),
        (
            search_with(result=lambda nodes, scores, order, n: (nodes[0][order], scores)),
            "the leaves of the first history for all. `nodes.gather(1, order)` looks them up row "
            "by row.",
        ),
        (
            last_tokens,
            "the last tokens. A leaf is a number of a node of the last level, `nodes`.",
        ),
        (
            search_with(last_log_probs_of=lambda logits: logits),
            "a raw logit of the end token. It needs `log_softmax`, like the codes.",
        ),
        (
            search_with(
                heard=lambda token, level, nodes: (
                    token[level][nodes] if level < len(token) - 1 else torch.full_like(nodes, EOS)
                )
            ),
            "the network hears the end token before it is asked for it. At the last step, too, it "
            "hears the tokens of the nodes: `token[-1][nodes]`.",
        ),
        (
            search_with(
                heard=lambda token, level, nodes: token[min(level + 1, len(token) - 1)][nodes]
            ),
            "tokens of the next level are heard. The beams stand at nodes of this one: "
            "`token[level][nodes]`.",
        ),
        (
            search_with(heard=lambda token, level, nodes: nodes),
            "the network hears the numbers of nodes. It knows tokens: `token[level][nodes]`.",
        ),
    ],
    clues=[
        (
            not_as_wide,
            "fewer films than the beam is wide, or more. At each level keep "
            "`min(beam, len(token[level + 1]))`.",
            search_with(kept=lambda beam, token, level: min(beam, len(token[1]))),
        ),
        (
            proportional_scores,
            "scores divided by a length. A score is the plain sum of its log-probabilities.",
            search_with(
                result=lambda nodes, scores, order, n: (nodes.gather(1, order), scores / 2)
            ),
        ),
    ],
)

EXERCISES = {
    "8.1": TRIE,
    "8.2": BEAM_STEP,
    "8.3": RANGES,
    "8.4": BATCHED_STEP,
    "8.5": BEAM_SEARCH,
}
