"""Answers to lesson 08: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import itertools
from collections import defaultdict

import numpy as np
import torch

NAMES = {"np": np, "torch": torch}
"""What the notebook has imported by the time it reaches its exercises."""

# 8.1 a trie of dictionaries


def trie_by_if(names):
    root = {}
    for name in names:
        node = root
        for token in name:
            if token not in node:
                node[token] = {}
            node = node[token]
    return root


def trie_by_recursion(names):
    first = {name[0] for name in names if name}
    return {
        token: trie_by_recursion([name[1:] for name in names if name and name[0] == token])
        for token in first
    }


def overwriting(names):
    root = {}
    for name in names:
        node = root
        for token in name:
            node[token] = {}
            node = node[token]
    return root


def never_back_to_the_root(names):
    root = {}
    node = root
    for name in names:
        for token in name:
            node = node.setdefault(token, {})
    return root


def the_leaf(names):
    node = {}
    for name in names:
        for token in name:
            node = node.setdefault(token, {})
    return node


def of_prefixes(names):
    table = {}
    for name in names:
        for place in range(len(name)):
            table.setdefault(tuple(name[:place]), []).append(name[place])
    return table


def with_none(names):
    root = {}
    for name in names:
        node = root
        for token in name[:-1]:
            node = node.setdefault(token, {})
        node[name[-1]] = None
    return root


def pops(names):
    for name in names:
        name.pop()
    return trie_by_if(names)


def with_the_item(names):
    root = {}
    for item, name in enumerate(names):
        node = root
        for token in name[:-1]:
            node = node.setdefault(token, {})
        node[name[-1]] = item
    return root


def never_put_in(names):
    root = {}
    for name in names:
        node = root
        for token in name:
            node = node.get(token, {})
    return root


def one_for_all(names):
    root, empty = {}, {}
    for name in names:
        node = root
        for token in name:
            node = node.setdefault(token, empty)
    return root


def trie_by_defaultdict(names):
    def new():
        return defaultdict(new)

    root = new()
    for name in names:
        node = root
        for token in name:
            node = node[token]
    return root


def as_long_as_the_first(names):
    root = {}
    for name in names:
        node = root
        for place in range(min(len(names[0]), len(name))):
            node = node.setdefault(name[place], {})
    return root


def grouped_as_they_stand(names):
    groups = itertools.groupby([name for name in names if name], key=lambda name: name[0])
    return {token: grouped_as_they_stand([name[1:] for name in group]) for token, group in groups}


def by_position(names):
    return {place: sorted({name[place] for name in names}) for place in range(len(names[0]))}


# 8.2 one step of masked beam search


def step_by_sort(scores, log_probs, allowed, beam):
    table = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf)
    values, index = table.flatten().sort(descending=True, stable=True)
    values, index = values[:beam], index[:beam]
    index = index[values > -torch.inf]
    return values[values > -torch.inf], index // table.shape[1], index % table.shape[1]


def step_by_loop(scores, log_probs, allowed, beam):
    children = []
    for parent in range(len(scores)):
        for token in range(log_probs.shape[1]):
            score = (scores[parent] + log_probs[parent, token]).item()
            if allowed[parent, token] and score > -float("inf"):
                children.append((-score, parent, token))
    best = sorted(children)[:beam]
    columns = list(zip(*best, strict=True))
    return -torch.tensor(columns[0]), torch.tensor(columns[1]), torch.tensor(columns[2])


def step_by_nonzero(scores, log_probs, allowed, beam):
    parents, tokens = (allowed & torch.isfinite(scores)[:, None]).nonzero(as_tuple=True)
    found = scores[parents] + log_probs[parents, tokens]
    order = torch.argsort(found, descending=True, stable=True)[:beam]
    return found[order], parents[order], tokens[order]


def step_with(table=None, forbidden=-torch.inf, keep=True, divisor=None, last=lambda *found: found):
    """The step with one of its parts replaced."""

    def answer(scores, log_probs, allowed, beam):
        summed = scores[:, None] + log_probs if table is None else table(scores, log_probs, allowed)
        values, index = (
            summed.masked_fill(~allowed, forbidden).flatten().sort(descending=True, stable=True)
        )
        values, index = values[:beam], index[:beam]
        if keep:
            index, values = index[values > -torch.inf], values[values > -torch.inf]
        by = log_probs.shape[1] if divisor is None else divisor(scores, log_probs)
        return last(values, index // by, index % by)

    return answer


def step_by_numpy(scores, log_probs, allowed, beam):
    table = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf).numpy().ravel()
    order = np.argsort(-table, kind="stable")[:beam]
    order = order[np.isfinite(table[order])]
    n_tokens = log_probs.shape[1]
    return tuple(
        torch.from_numpy(one) for one in (table[order], order // n_tokens, order % n_tokens)
    )


def step_without(dropped):
    """Beams that are `dropped` leave the table first, and so the others get other numbers."""

    def answer(scores, log_probs, allowed, beam):
        left = ~dropped(scores, allowed)
        return step_by_sort(scores[left], log_probs[left], allowed[left], beam)

    return answer


def all_of_them(scores, log_probs, allowed, beam):
    return step_by_sort(scores, log_probs, allowed, log_probs.numel())


def cut_before_the_mask(scores, log_probs, allowed, beam):
    values, index = (scores[:, None] + log_probs).flatten().sort(descending=True, stable=True)
    real = allowed.flatten()[index[:beam]]
    values, index = values[:beam][real], index[:beam][real]
    return values, index // log_probs.shape[1], index % log_probs.shape[1]


def of_every_beam(scores, log_probs, allowed, beam):
    values, tokens = (
        (scores[:, None] + log_probs)
        .masked_fill(~allowed, -torch.inf)
        .topk(min(beam, len(log_probs[0])))
    )
    return values, torch.arange(len(scores))[:, None].expand_as(tokens), tokens


def zeros_for_a_mask(scores, log_probs, allowed, beam):
    return step_by_sort(scores, log_probs * allowed, torch.ones_like(allowed), beam)


def sums_times_the_mask(scores, log_probs, allowed, beam):
    return step_by_sort(
        torch.zeros_like(scores),
        (scores[:, None] + log_probs) * allowed,
        torch.ones_like(allowed),
        beam,
    )


def renormalised(scores, log_probs, allowed):
    return scores[:, None] + log_probs.masked_fill(~allowed, -torch.inf).log_softmax(1)


def normalised_again(scores, log_probs, allowed):
    return scores[:, None] + log_probs.log_softmax(1)


def later_first(scores, log_probs, allowed, beam):
    """Equal scores in the opposite order, as `topk` may have it."""
    table = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf).flatten()
    values, index = table.flip(0).sort(descending=True, stable=True)
    index = (len(table) - 1 - index)[:beam][values[:beam] > -torch.inf]
    return table[index], index // log_probs.shape[1], index % log_probs.shape[1]


def turned(scores, log_probs, allowed, beam):
    table = (scores + log_probs.T).masked_fill(~allowed.T, -torch.inf).flatten()
    values, index = table.sort(descending=True, stable=True)
    index = index[:beam][values[:beam] > -torch.inf]
    return table[index], index // log_probs.shape[1], index % log_probs.shape[1]


def in_order_of_the_table(scores, log_probs, allowed, beam):
    table = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf)
    best = table.flatten().sort(descending=True, stable=True).indices[:beam].sort().values
    best = best[table.flatten()[best] > -torch.inf]
    return table.flatten()[best], best // table.shape[1], best % table.shape[1]


def all_above_the_last(scores, log_probs, allowed, beam):
    table = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf)
    last = table.flatten().sort(descending=True).values[:beam][-1]
    parents, tokens = ((table >= last) & (table > -torch.inf)).nonzero(as_tuple=True)
    return table[parents, tokens][:beam], parents[:beam], tokens[:beam]


def allowed_below_a_dead_beam(scores, log_probs, allowed, beam):
    table = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf)
    values, index = table.flatten().sort(descending=True, stable=True)
    kept = allowed.flatten()[index[:beam]]
    values, index = values[:beam][kept], index[:beam][kept]
    return values, index // table.shape[1], index % table.shape[1]


def as_many_as_forbidden(counted):
    """counted: (table, allowed) -> what was taken for the continuations that are left."""

    def answer(scores, log_probs, allowed, beam):
        table = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf)
        kept = min(beam, int(counted(table, allowed).sum()))
        values, index = table.flatten().sort(descending=True, stable=True)
        return values[:kept], index[:kept] // table.shape[1], index[:kept] % table.shape[1]

    return answer


def best_of_each_beam(scores, log_probs, allowed, beam):
    values, tokens = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf).max(dim=1)
    values, parents = values.sort(descending=True, stable=True)
    kept = (values > -torch.inf).sum().clamp(max=beam)
    return values[:kept], parents[:kept], tokens[parents][:kept]


def in_a_loop_over_the_beam(scores, log_probs, allowed, beam):
    table = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf)
    values, index = table.flatten().sort(descending=True, stable=True)
    places = [j for j in range(beam) if values[j] > -torch.inf]
    return values[places], index[places] // table.shape[1], index[places] % table.shape[1]


# 8.3 children as ranges


def sizes_and_total(ranges):
    return np.append(np.diff(ranges), ranges[-1])


def prefix_starts(codes, length):
    rows = codes[:, :length]
    return np.flatnonzero(np.append(True, (rows[1:] != rows[:-1]).any(axis=1)))


def ranges_by_search(codes, level):
    below = prefix_starts(codes, level + 1)
    return np.append(np.searchsorted(below, prefix_starts(codes, level)), len(below))


def ranges_by_sets(codes, level):
    nodes = sorted({tuple(row[:level]) for row in codes.tolist()})
    children = sorted({tuple(row[: level + 1]) for row in codes.tolist()})
    return np.cumsum([0] + [sum(child[:level] == node for child in children) for node in nodes])


def ranges_by_counting(codes, level):
    children = np.unique(codes[:, : level + 1], axis=0)
    if level == 0:
        return np.array([0, len(children)])
    return np.append(0, np.unique(children[:, :level], axis=0, return_counts=True)[1].cumsum())


def joined_to_a_number(base_of):
    """The right ranges, of beginnings written as numbers. base_of: codes -> base; in 10, 0, 10 and
    1, 0 are one.
    """

    def answer(codes, level):
        numbers = [
            codes[:, :length] @ base_of(codes) ** np.arange(length)[::-1]
            for length in (level, level + 1)
        ]
        starts, below = (np.flatnonzero(np.diff(one, prepend=-1)) for one in numbers)
        return np.append(np.searchsorted(below, starts), len(below))

    return answer


def searched_by_number(base):
    def answer(codes, level):
        nodes, below = (
            np.unique(codes[:, :n] @ base ** np.arange(n)[::-1]) for n in (level, level + 1)
        )
        return np.append(np.searchsorted(below, nodes * base), len(below))

    return answer


def joined_to_a_text(codes, level):
    """The same with texts: 1, 11 and 11, 1 are one."""
    children = {}
    for row in codes.tolist():
        children.setdefault("".join(map(str, row[:level])), set()).add(row[level])
    return np.cumsum([0, *map(len, children.values())])


def column_starts(codes, column):
    return np.flatnonzero(np.append(True, codes[1:, column] != codes[:-1, column]))


def nodes_by_one_column(codes, level):
    starts = column_starts(codes, level - 1) if level else np.array([0])
    below = prefix_starts(codes, level + 1)
    return np.append(np.searchsorted(below, starts), len(below))


def children_by_two_columns(codes, level):
    below = prefix_starts(codes[:, max(level - 1, 0) :], min(level, 1) + 1)
    return np.append(np.searchsorted(below, prefix_starts(codes, level)), len(below))


def last_column_alone(codes, level):
    below = column_starts(codes, level)
    return np.append(np.searchsorted(below, prefix_starts(codes, level)), len(below))


def without_row_0(codes, level):
    rows, below = (prefix_starts(codes, length)[1:] for length in (level, level + 1))
    return np.append(np.searchsorted(below, rows), len(below))


def ranges_of(starts, below=prefix_starts):
    """The ranges from functions of (codes, length) -> the rows at which beginnings of this length
    start.
    """

    def answer(codes, level):
        children = below(codes, level + 1)
        return np.append(np.searchsorted(children, starts(codes, level)), len(children))

    return answer


def starts_one_too_small(codes, length):
    rows = codes[:, :length]
    return np.append(0, np.flatnonzero((rows[1:] != rows[:-1]).any(axis=1)))


def starts_where_all_differ(codes, length):
    rows = codes[:, :length]
    return np.append(0, np.flatnonzero((rows[1:] != rows[:-1]).all(axis=1)) + 1)


def searched_to_the_right(codes, level):
    below = prefix_starts(codes, level + 1)
    return np.append(np.searchsorted(below, prefix_starts(codes, level), side="right"), len(below))


def exchanged(codes, level):
    below = prefix_starts(codes, level + 1)
    return np.append(np.searchsorted(prefix_starts(codes, level), below), len(below))


def grouped_by_last_code(codes, level):
    children = {}
    for row in codes.tolist():
        children.setdefault(row[level - 1] if level else None, set()).add(row[level])
    return np.cumsum([0] + [len(one) for one in children.values()])


# 8.4 dead nodes


def dead_by_reduceat(first_child, dead):
    return np.logical_and.reduceat(dead, first_child[:-1])


def dead_by_counting(first_child, dead):
    before = np.append(0, dead.cumsum())
    return np.diff(before[first_child]) == np.diff(first_child)


def dead_by_loop(first_child, dead):
    return np.array(
        [bool(dead[a:b].all()) for a, b in zip(first_child, first_child[1:], strict=False)]
    )


def dead_with(one, more=0):
    def answer(first_child, dead):
        return np.array(
            [one(dead[a : b + more]) for a, b in zip(first_child, first_child[1:], strict=False)]
        )

    return answer


RIGHT = {
    "8.1": [trie_by_if, trie_by_recursion, trie_by_defaultdict],
    "8.2": [step_by_sort, step_by_loop, step_by_nonzero, step_by_numpy],
    "8.3": [
        ranges_by_search,
        ranges_by_sets,
        ranges_by_counting,
        joined_to_a_number(lambda codes: codes.max() + 1),
    ],
    "8.4": [dead_by_reduceat, dead_by_counting, dead_by_loop],
}

WRONG = [
    ("8.1", overwriting, "setdefault"),
    ("8.1", never_back_to_the_root, "Go back to the root"),
    ("8.1", the_leaf, "last node returned"),
    ("8.1", of_prefixes, "whole beginnings as keys"),
    ("8.1", with_none, "None after the end token"),
    ("8.1", lambda names: trie_by_if([name[:-1] for name in names]), "end token is missing"),
    ("8.1", lambda names: trie_by_if([name[::-1] for name in names]), "backwards"),
    ("8.1", lambda names: trie_by_if(names[:1]), "only the first name"),
    ("8.1", lambda names: trie_by_if(names[-1:]), "only the last name"),
    ("8.1", lambda names: [trie_by_if(names)], "should be a dictionary"),
    ("8.1", pops, "in place"),
    ("8.1", with_the_item, "not a dictionary after the end token"),
    ("8.1", never_put_in, "never put under their token"),
    ("8.1", one_for_all, "the same dictionary in several places"),
    (
        "8.1",
        lambda names: trie_by_if([[str(token) for token in name] for name in names]),
        "not whole numbers",
    ),
    ("8.1", lambda names: {0: trie_by_if(names)}, "start token in front"),
    ("8.1", as_long_as_the_first, ""),
    ("8.1", grouped_as_they_stand, ""),
    ("8.1", by_position, "from the next token to the next node"),
    (
        "8.2",
        step_with(table=lambda scores, log_probs, allowed: log_probs),
        "own score is not added",
    ),
    (
        "8.2",
        lambda s, p, allowed, beam: step_by_sort(s, p, torch.ones_like(allowed), beam),
        "not allowed",
    ),
    ("8.2", zeros_for_a_mask, "0 is the *highest*"),
    ("8.2", sums_times_the_mask, "a mask of zeros: 0 is the *highest*"),
    ("8.2", step_with(table=renormalised), "renormalised over the allowed"),
    ("8.2", step_with(table=normalised_again), "another `log_softmax`"),
    ("8.2", step_with(keep=False), "Return fewer than `beam`"),
    ("8.2", of_every_beam, "of *every* beam"),
    ("8.2", step_with(forbidden=-1e9), "Return fewer than `beam`"),
    ("8.2", all_of_them, "more than `beam`"),
    (
        "8.2",
        as_many_as_forbidden(lambda table, allowed: table == -torch.inf),
        "what is not allowed was counted",
    ),
    (
        "8.2",
        as_many_as_forbidden(lambda table, allowed: ~allowed),
        "what is not allowed was counted",
    ),
    ("8.2", best_of_each_beam, "the best continuation of each beam"),
    (
        "8.2",
        step_with(last=lambda *found: tuple(one[:-1] for one in found)),
        "the last one is missing",
    ),
    ("8.2", in_a_loop_over_the_beam, "stopped with IndexError"),
    ("8.2", cut_before_the_mask, "cut to `beam` before the mask"),
    (
        "8.2",
        step_with(table=lambda scores, log_probs, allowed: scores[:, None] * log_probs),
        "a product",
    ),
    (
        "8.2",
        step_with(table=lambda s, p, allowed: s.exp()[:, None] + p.exp()),
        "a sum of probabilities",
    ),
    ("8.2", lambda *given: (lambda v, p, t: (p, t, v))(*step_by_sort(*given)), "scores come first"),
    ("8.2", lambda *given: (lambda v, p, t: (v, p / 1, t))(*step_by_sort(*given)), "parents"),
    (
        "8.2",
        lambda s, p, a, beam: step_by_sort(s, p.masked_fill_(~a, -torch.inf), a, beam),
        "in place",
    ),
    ("8.2", step_without(lambda scores, allowed: scores.isinf()), "numbered among all beams"),
    ("8.2", step_without(lambda scores, allowed: ~allowed.any(1)), "numbered among all beams"),
    (
        "8.2",
        step_without(lambda scores, allowed: scores.isinf() | ~allowed.any(1)),
        "numbered among all beams",
    ),
    ("8.2", later_first, "leaves ties to chance"),
    ("8.2", in_order_of_the_table, "the order of the table"),
    ("8.2", all_above_the_last, "the order of the table"),
    ("8.2", allowed_below_a_dead_beam, "Return fewer than `beam`"),
    (
        "8.2",
        step_with(last=lambda values, parents, tokens: (values, parents * 0, tokens)),
        "parents",
    ),
    ("8.2", lambda s, p, a, beam: step_by_sort(s, p, ~a, beam), "with the `~`"),
    (
        "8.2",
        lambda s, p, a, beam: (s[step_by_sort(s, p, a, beam)[1]], *step_by_sort(s, p, a, beam)[1:]),
        "continued",
    ),
    ("8.2", turned, "one row a token"),
    (
        "8.2",
        step_with(divisor=lambda scores, log_probs: len(scores)),
        "divided by the number of beams",
    ),
    ("8.2", step_with(last=lambda values, parents, tokens: (values, tokens, parents)), "exchanged"),
    (
        "8.2",
        step_with(last=lambda values, parents, tokens: (values.flip(0), parents, tokens)),
        "worst of the chosen",
    ),
    (
        "8.2",
        step_with(last=lambda values, parents, tokens: (values.exp(), parents, tokens)),
        "probabilities",
    ),
    (
        "8.2",
        step_with(last=lambda values, parents, tokens: (values, tokens)),
        "return three tensors",
    ),
    (
        "8.2",
        step_with(last=lambda values, parents, tokens: (values, parents.int(), tokens)),
        "should be int64",
    ),
    ("8.3", lambda codes, level: ranges_by_search(codes, level)[:-1], "last entry is missing"),
    ("8.3", lambda codes, level: ranges_by_search(codes, level)[1:], "first entry is missing"),
    (
        "8.3",
        lambda codes, level: np.append(prefix_starts(codes, level), len(codes)),
        "rows of `codes`",
    ),
    ("8.3", lambda codes, level: np.diff(ranges_by_search(codes, level)), "how many children"),
    ("8.3", lambda codes, level: ranges_by_search(codes, level) + 1, "counted from 1"),
    ("8.3", lambda codes, level: sizes_and_total(ranges_by_search(codes, level)), "and the total"),
    (
        "8.3",
        lambda codes, level: ranges_by_search(np.pad(codes, ((0, 0), (0, 1))), level + 1),
        "the next level",
    ),
    (
        "8.3",
        lambda codes, level: np.append(ranges_by_search(codes, level)[:-1], len(codes)),
        "in the last entry",
    ),
    ("8.3", without_row_0, "row 0 left out"),
    *(
        ("8.3", joined_to_a_number(lambda codes, base=base: base), "made into numbers")
        for base in (8, 10, 16, 32, 100, 256)
    ),
    ("8.3", joined_to_a_number(len), "made into numbers"),
    ("8.3", joined_to_a_number(lambda codes: len(np.unique(codes))), "made into numbers"),
    ("8.3", joined_to_a_number(np.max), ""),
    ("8.3", searched_by_number(64), "made into numbers"),
    ("8.3", joined_to_a_text, ""),
    ("8.3", ranges_of(starts_one_too_small, starts_one_too_small), "speaks of row `i + 1`"),
    ("8.3", ranges_of(prefix_starts, starts_one_too_small), "speaks of row `i + 1`"),
    ("8.3", ranges_of(starts_one_too_small), "speaks of row `i + 1`"),
    (
        "8.3",
        ranges_of(starts_where_all_differ, starts_where_all_differ),
        "when *any* of their codes does",
    ),
    ("8.3", ranges_of(prefix_starts, starts_where_all_differ), "when *any* of their codes does"),
    ("8.3", ranges_of(starts_where_all_differ), "when *any* of their codes does"),
    ("8.3", searched_to_the_right, "one too large"),
    ("8.3", exchanged, "exchanged in `searchsorted`"),
    (
        "8.3",
        lambda codes, level: np.lib.stride_tricks.sliding_window_view(
            ranges_by_search(codes, level), 2
        ),
        "both ends",
    ),
    ("8.3", last_column_alone, "`level + 1` codes"),
    ("8.3", nodes_by_one_column, "one column compared"),
    ("8.3", children_by_two_columns, ""),
    ("8.3", grouped_by_last_code, "end in the same code"),
    (
        "8.3",
        lambda codes, level: np.append(prefix_starts(codes, level + 1), len(codes)),
        "begin among the rows",
    ),
    ("8.3", lambda codes, level: ranges_by_search(codes, level).tolist(), "should be an array"),
    ("8.3", lambda codes, level: ranges_by_search(codes, level).astype(float), "is fractions"),
    (
        "8.3",
        lambda codes, level: np.repeat(
            np.arange(len(prefix_starts(codes, level))), np.diff(ranges_by_search(codes, level))
        ),
        "parent of every child",
    ),
    (
        "8.3",
        lambda codes, level: ranges_by_search(codes, min(level + 1, codes.shape[1] - 1)),
        "first_child",
    ),
    ("8.4", dead_with(np.any), "as soon as *one* child"),
    ("8.4", dead_with(lambda children: children.mean() >= 0.5), "half of its children"),
    ("8.4", dead_with(lambda children: False), ""),
    ("8.4", lambda first_child, dead: ~dead_by_loop(first_child, dead), "alive"),
    ("8.4", lambda first_child, dead: dead[first_child[:-1]], "only the first child"),
    ("8.4", dead_with(np.all, 1), "one too long"),
    ("8.4", dead_with(np.all, -1), "one too short"),
    ("8.4", lambda first_child, dead: dead[first_child[1:] - 1], "only the last child"),
    ("8.4", dead_with(lambda children: children[:2].all()), "only the first two"),
    ("8.4", dead_with(lambda children: children[-2:].all()), "only the last two"),
    ("8.4", lambda first_child, dead: dead_by_loop(first_child, dead)[:-1], "last node is missing"),
    (
        "8.4",
        lambda first_child, dead: np.flatnonzero(dead_by_loop(first_child, dead)),
        "numbers of the dead nodes",
    ),
    (
        "8.4",
        lambda first_child, dead: ~dead_with(np.any)(first_child, dead),
        "none of whose children",
    ),
    ("8.4", dead_with(np.sum), "how many children are dead"),
    ("8.4", lambda first_child, dead: dead, "the children themselves"),
    ("8.4", dead_with(np.mean), "share of dead children"),
    (
        "8.4",
        lambda first_child, dead: dead_by_loop(first_child, dead).tolist(),
        "`the dead nodes` should be an array",
    ),
]

HALF_RIGHT = {
    "beam-step": """
def my_beam_step(scores, log_probs, allowed, beam):
    table = log_probs.masked_fill(~allowed, -torch.inf)
    values, index = table.flatten().sort(descending=True, stable=True)
    return values[:beam], index[:beam] // table.shape[1], index[:beam] % table.shape[1]
""",
    "dead-nodes": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
