"""The exercises of lesson 08: a trie of dictionaries, one step of masked beam search, children as
ranges, dead nodes.

Log-probabilities are eighths, which add up without rounding, so that equal scores are equal in
every order.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from letterlib.course.checks import Case, Exercise, Incorrect, call, compare, several
from letterlib.course.values import kind_of, telling
from letterlib.decoding.trie import EOS, PAD, Trie
from letterlib.evaluation.ranking import top_k

# 8.1 A trie of dictionaries


def trie_cases(generator: Generator) -> list[Case]:
    """One name; two that part at their second token; a name of two items; unequal lengths; then
    many, at random.
    """
    random = 2 + torch.randint(3, (14, 3), generator=generator) + torch.tensor([0, 3, 6])
    random[-1, 0] = 2 + (random[0, 0] - 1) % 3  # not the first name once more
    many = [[*row, EOS] for row in random.tolist()]
    return [
        {"names": [[4, EOS]]},
        {"names": [[2, 5, EOS], [2, 6, EOS]]},
        {"names": [[2, 5, EOS], [3, 5, EOS], [2, 5, EOS], [2, 4, EOS]]},
        {"names": [[2, EOS], [2, 5, EOS], [3, EOS]]},
        {"names": many},
    ]


def trie(answer: Any, case: Case) -> None:
    """8.1: names, lists of tokens that end with EOS -> nested dictionaries, {} after EOS."""
    names, returned = case["names"], call(answer, case)
    wanted = _nested(names)
    if not isinstance(returned, dict):
        what = f"The trie should be a dictionary and is {kind_of(returned)}."
        raise Incorrect(
            what,
            case,
            cause="another kind of container. A node is a dictionary: token -> next node.",
        )
    if returned == wanted:
        return
    causes = [
        (
            _nested(names, overwrite=True),
            "a new node although one was there: what earlier names had put below it is "
            "lost. `setdefault(token, {})` keeps it.",
        ),
        (
            {},
            "the last node returned (it is a leaf, {}), or new nodes that are never put under "
            "their token, as with "
            "`get`. Keep the root under a name of its own, and use `setdefault`.",
        ),
        (
            _nested(names, from_root=False),
            "every name is hung below the one before. Go back to the root for each.",
        ),
        (
            _nested([name[:-1] for name in names]),
            "the end token is missing: it is a token like the others.",
        ),
        (_nested([name[::-1] for name in names]), "names are read backwards."),
        ({PAD: wanted}, "the start token in front. The names are all that belongs into the trie."),
        (_nested([name[1:] for name in names]), "the first token of every name is missing."),
        (
            _nested(names[:1]),
            "only the first name is in it. Does the `return` stand inside the loop?",
        ),
        (_nested(names[-1:]), "only the last name is in it. Make the root once, before the loop."),
    ]
    if any(isinstance(key, tuple) for key in returned):
        cause = (
            "whole beginnings as keys. Here each node is a dictionary with single tokens as keys."
        )
    elif not all(isinstance(key, (int, np.integer)) for key in returned):
        cause = "keys that are not whole numbers. Use the tokens as they stand in the names."
    elif _shared(returned, set()):
        cause = (
            "one and the same dictionary in several places. Make a new one, `{}`, for every node."
        )
    elif _emptied(returned) == wanted:
        what = (
            "None"
            if set(map(id, _ends(returned))) == {id(None)}
            else "something that is not a dictionary"
        )
        cause = f"{what} after the end token, and {{}} is asked for."
    else:
        unknown = (
            "names are missing, or hang in the wrong place. Follow one name from the root, "
            "token by token."
        )
        if _ends(returned):
            unknown = "a node is not a dictionary from the next token to the next node."
        cause = next((text for wrong, text in causes if returned == wrong), unknown)
    raise Incorrect("The trie is another one.", case, cause=cause, expected=wanted, actual=returned)


def _shared(node: Any, seen: set[int]) -> bool:
    """Whether a dictionary stands in two places of a nest of dictionaries, or inside itself."""
    if not isinstance(node, dict):
        return False
    if id(node) in seen:
        return True
    seen.add(id(node))
    return any(_shared(child, seen) for child in node.values())


def _ends(node: Any) -> list:
    """What a nest of dictionaries has at its ends and is not a dictionary."""
    return (
        [end for child in node.values() for end in _ends(child)]
        if isinstance(node, dict)
        else [node]
    )


def _emptied(node: Any) -> dict:
    """The nest with {} for whatever is not a dictionary."""
    return {key: _emptied(child) for key, child in node.items()} if isinstance(node, dict) else {}


def _nested(
    names: Sequence[Sequence[int]], overwrite: bool = False, from_root: bool = True
) -> dict:
    """The trie, or what a mistake makes of it."""
    root: dict = {}
    node = root
    for name in names:
        node = root if from_root else node
        for token in name:
            if overwrite or token not in node:
                node[token] = {}
            node = node[token]
    return root


def step_cases(generator: Generator) -> list[Case]:
    """One beam; two with a tie; a beam wider than the whole table; two beams of which nothing is
    left, and one behind them; then many, with ties.

    In the third and the last case the best of all continues a later beam: the order of the table is
    not that of scores.
    """
    inf = float("inf")
    first = _step([-1.0], [[-0.5, -0.25, -2.0]], [[1, 0, 1]], 1)
    tied = _step(
        [-0.5, -1.0], [[-1.0, -0.5, -2.0], [-0.5, -0.75, -0.25]], [[1, 0, 1], [1, 1, 0]], 3
    )
    few = _step([-1.0, -0.25], [[-1.0, -0.5], [-0.5, -0.75]], [[0, 1], [0, 1]], 5)
    dead = _step(
        [-inf, -0.5, -0.25],
        [[-1.0, -0.5, -0.25, -3.0], [-0.5, -0.75, -0.25, -4.0], [-0.75, -2.0, -0.25, -0.5]],
        [[1, 1, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]],
        5,
    )
    n, v, beam = 5, 100, 16  # so many children that a sort which is not stable is seen to be none
    log_probs = torch.randint(6, (n, v), generator=generator) / -4 - 0.75
    allowed = torch.rand(n, v, generator=generator) < 0.6
    allowed[:2, 3:15], log_probs[0, 3:15], log_probs[1, 3:15] = (
        True,
        -0.5,
        -0.375,
    )  # 24 that tie, in two beams
    allowed[1, 2], log_probs[1, 2] = True, -0.125
    log_probs[~allowed] = -0.125  # what is not allowed is what the model likes best
    many = _step([-1.0, -1.125, -1.25, -1.5, -2.0], log_probs.tolist(), allowed.tolist(), beam)
    return [first, tied, few, dead, many]


def _step(scores: list, log_probs: list, allowed: list, beam: int) -> Case:
    return {
        "scores": torch.tensor(scores),
        "log_probs": torch.tensor(log_probs),
        "allowed": torch.tensor(allowed).bool(),
        "beam": beam,
    }


def _chosen(table: Tensor, beam: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best finite entries of a table [n, V], ties by the lower index: values, rows, columns."""
    values, index = top_k(table.flatten()[None], beam)
    real = values[0].isfinite()
    index = index[0][real]
    return values[0][real], index // table.shape[1], index % table.shape[1]


def beam_step(answer: Any, case: Case) -> None:
    """8.2: scores [n], log_probs [n, V], allowed bool [n, V], beam -> scores, parents, tokens of
    the best children.
    """
    scores, log_probs, allowed, beam = case.values()
    table = (scores[:, None] + log_probs).masked_fill(~allowed, -torch.inf)
    right = _chosen(table, beam)
    returned = several(call(answer, case), ["scores", "parents", "tokens"], case, "tensors")
    compare(
        "scores", returned[0], right[0], case, _causes_of_scores(case, table, right, returned[0])
    )
    n_tokens = table.shape[1]
    flat = right[1] * n_tokens + right[2]
    turned = table.T.flatten().sort(descending=True, stable=True).indices[: len(flat)]
    lefts = [scores.isfinite(), allowed.any(1), table.isfinite().any(1)]
    for place, name in ((1, "parents"), (2, "tokens")):
        causes = [
            (right[3 - place], f"parents and tokens exchanged: these are not the {name}."),
            (
                flat,
                "places in the flattened table: divide by the number of tokens; the remainder is "
                "the token.",
            ),
            (
                flat // len(scores) if place == 1 else flat % len(scores),
                "divided by the number of beams. A row has as many entries as there are tokens.",
            ),
            (
                turned // n_tokens if place == 1 else turned % n_tokens,
                "the table is turned: one row a token. A row is to be a beam.",
            ),
            (
                flat / n_tokens,
                "a division by `/`, which gives fractions: `//` gives whole numbers.",
            ),
            *(
                (
                    _renumbered(right[1], left),
                    "beams of which nothing is left were dropped, and the others numbered "
                    "anew. Parents are numbered among all beams.",
                )
                for left in lefts
                if place == 1
            ),
        ]
        if _same_up_to_ties(returned, table):
            causes = [
                (
                    returned[place],
                    "the order among equal scores: lower beam first, then lower token. `topk` "
                    "leaves ties to chance; `sort(descending=True, stable=True)` does not.",
                )
            ]
        compare(name, returned[place], right[place], case, telling(causes, right[place]))


def _renumbered(parents: Tensor, left: Tensor) -> Tensor:
    """The parents' numbers among the beams that are `left`, bool [n]."""
    return (left.cumsum(0) - 1)[parents]


def _same_up_to_ties(returned: tuple, table: Tensor) -> bool:
    """Whether the children are different ones that have the scores they are said to have."""
    scores, parents, tokens = returned
    whole = all(
        isinstance(one, Tensor) and one.dtype == torch.int64 and one.shape == scores.shape
        for one in (parents, tokens)
    )
    if not whole or (parents >= table.shape[0]).any() or (tokens >= table.shape[1]).any():
        return False
    different = len(torch.unique(torch.stack([parents, tokens]), dim=1).T) == len(parents)
    return (
        different
        and min(parents.min(), tokens.min()) >= 0
        and torch.equal(table[parents, tokens], scores)
    )


def _causes_of_scores(
    case: Case, table: Tensor, found: tuple, returned: Any
) -> list[tuple[Any, str]]:
    scores, log_probs, allowed, beam = case.values()
    right, parents, tokens = found
    summed, forbidden = scores[:, None] + log_probs, -torch.inf
    inside = log_probs.masked_fill(~allowed, forbidden)
    renormalised = torch.nan_to_num(inside.log_softmax(1), nan=forbidden) + scores[:, None]
    zeroed = scores[:, None] + log_probs * allowed
    first, index = summed.flatten().sort(descending=True, stable=True)
    twice = (scores[:, None] + log_probs.log_softmax(1)).masked_fill(~allowed, forbidden)
    multiplied = torch.nan_to_num(summed * allowed, neginf=-torch.inf)  # -inf * 0 is NaN
    cut_first = first[:beam][allowed.flatten()[index[:beam]]]
    causes = [
        (
            _chosen(summed, beam)[0],
            "continuations that are not allowed. Set their scores to -inf first: "
            "`masked_fill(~allowed, ...)`, with the `~`.",
        ),
        *(
            (
                _chosen(one, beam)[0],
                "a mask of zeros: 0 is the *highest* log-probability there is. Mask with -inf.",
            )
            for one in (zeroed, multiplied)
        ),
        (
            _chosen(log_probs * allowed + 0 * summed, beam)[0],
            "a mask of zeros, and the beam's score is not added.",
        ),
        (
            _chosen(inside, beam)[0],
            "the beam's own score is not added: a continuation's score is that of the whole way.",
        ),
        (
            _chosen(renormalised.masked_fill(~allowed, forbidden), beam)[0],
            "renormalised over the allowed tokens. The "
            "log-probabilities are to stay those of the whole vocabulary.",
        ),
        (
            _chosen(twice, beam)[0],
            "another `log_softmax`. These are log-probabilities already: add them as they are.",
        ),
        (
            _chosen((scores[:, None] * log_probs).masked_fill(~allowed, forbidden), beam)[0],
            "a product. Logarithms are added.",
        ),
        (
            _chosen(
                (scores.exp()[:, None] + log_probs.exp()).masked_fill(~allowed, forbidden), beam
            )[0],
            "a sum of probabilities. Add their logarithms, which you are given.",
        ),
        (right.flip(0), "the worst of the chosen comes first."),
        (
            -_chosen(-table.masked_fill(table.isinf(), torch.inf), beam)[0],
            "those with the *lowest* scores.",
        ),
        *(
            (
                right[: int(counted.sum())],
                "what is not allowed was counted, and so many returned. Count what is left.",
            )
            for counted in (table.isinf(), ~allowed)
        ),
        (
            _per_beam(table, beam),
            "the best `beam` of *every* beam. They compete with each other: flatten first.",
        ),
        (
            _per_beam(table, 1),
            "the best continuation of each beam. A good beam may go on in several ways.",
        ),
        (right.exp(), "probabilities; log-probabilities are asked for."),
        (
            cut_first,
            "cut to `beam` before the mask: what is not allowed has taken places. Mask first.",
        ),
        (right[:-1], "the last one is missing."),
        (
            right[(parents * table.shape[1] + tokens).argsort()],
            "the order of the table. The best comes first.",
        ),
        (
            scores[parents],
            "the scores of the beams that are continued. Add the log-probability of the token.",
        ),
    ]
    causes = telling(causes, right)
    if isinstance(returned, Tensor) and any(
        torch.equal(returned, one) for one in (parents, tokens)
    ):
        return [
            (returned, "another order. The scores come first: `return scores, parents, tokens`.")
        ]
    if isinstance(returned, Tensor) and returned.dim() == 1 and len(returned) > len(right):
        if len(returned) > beam:
            return [
                *causes,
                (returned, "more than `beam` continuations. Keep the best `beam` of all together."),
            ]
        return [
            (
                returned,
                "continuations that are not allowed, or whose beam has the score -inf. Return "
                "fewer than "
                "`beam` instead.",
            ),
            *causes,
        ]
    return causes


def _per_beam(table: Tensor, beam: int) -> Tensor:
    best = top_k(table, beam)[0]
    return best if beam > 1 else best[:, 0].sort(descending=True)[0]


# 8.3 and 8.4 A node's children as ranges, and dead nodes

BASES = (2, 3, 4, 5, 8, 10, 11, 12, 16, 32, 64, 100, 128, 256, 1000, 1024)
"""In which people may write a beginning as one number. Right is only one that no code reaches."""


def range_cases(generator: Generator) -> list[Case]:
    """The root; second and third levels whose codes return below other codes; items that share; two
    names that are one number, in each base; then many.
    """
    many = np.unique(_whole(generator, (60, 3), 4), axis=0)
    many = np.repeat(many, 1 + (_whole(generator, (len(many),), 4) == 0), axis=0)
    small = np.array([[0, 1], [0, 2], [1, 2], [2, 0], [2, 2]])
    return [
        {"codes": np.array([[0, 1], [0, 2], [1, 0]]), "level": 0},
        {"codes": small, "level": 1},
        {"codes": np.repeat(small, [1, 2, 1, 3, 1], axis=0), "level": 1},
        *({"codes": np.array([[0, base], [1, 0]]), "level": 1} for base in BASES),
        {"codes": np.array([[0, 10], [1, 0], [1, 10], [11, 0]]), "level": 1},
        {"codes": np.array([[0, 1, 2], [1, 1, 2], [1, 2, 0]]), "level": 2},
        {"codes": np.array([[1, 11, 0], [1, 11, 2], [11, 1, 0]]), "level": 2},
        {"codes": many, "level": 2},
        {"codes": many, "level": 1},
    ]


def ranges(answer: Any, case: Case) -> None:
    """8.3: codes int64 [n, L], sorted; level -> first_child int64 [n_nodes(level) + 1]."""
    codes, level = case.values()
    of_level = Trie.build(codes, (int(codes.max()) + 1,) * codes.shape[1]).first_child
    right, *later = (one.numpy().astype(np.int64) for one in of_level[level:])
    starts, below = (_starts(codes[:, :length]) for length in (level, level + 1))
    without_first = [one[1:] for one in (starts, below)]
    alone = [
        np.flatnonzero(np.diff(codes[:, column], prepend=-1))
        for column in (max(level - 1, 0), level)
    ]
    causes = [
        *(
            (
                one,
                "beginnings made into numbers, of which two are the same one. Compare the codes, "
                "not a number.",
            )
            for base in BASES
            for one in _of_numbers(codes, level, base)
        ),
        (
            _by_last_code(codes, level),
            "nodes that end in the same code are taken for one. A node is a whole beginning: "
            "compare all of its codes.",
        ),
        (
            right[:-1],
            "the last entry is missing: how many children there are in all, where the last range "
            "ends.",
        ),
        (right[1:], "the first entry is missing: 0, where the first node's children begin."),
        (
            np.append(starts, len(codes)),
            "rows of `codes`. A range counts nodes of the next level: rows with the same "
            "first codes are one node.",
        ),
        (
            np.append(right[:-1], len(codes)),
            "rows of `codes` in the last entry. Count nodes of the next level.",
        ),
        (
            np.append(right[:-1], len(starts)),
            "the last entry counts the nodes of `level`, not their children.",
        ),
        (
            np.append(starts, len(below)),
            "rows of `codes` (but for the last entry). Count nodes of the next level.",
        ),
        (
            np.append(np.diff(right), right[-1]),
            "how many children every node has, and the total. Add these up, beginning with 0.",
        ),
        (np.diff(right), "how many children every node has. Add these up, beginning with 0."),
        (right + 1, "counted from 1."),
        (
            np.append(np.searchsorted(below, alone[0]), len(below)),
            "one column compared. A node is a whole beginning: "
            "two with the same last code and different codes before are two nodes.",
        ),
        (
            np.append(np.searchsorted(alone[1], starts), len(alone[1])),
            "children told apart by their last column "
            "alone. Compare all of the first `level + 1` codes.",
        ),
        (
            np.append(np.searchsorted(alone[1], alone[0]), len(alone[1])),
            "single columns compared, not beginnings.",
        ),
        (
            np.append(right[:-1] + 1, right[-1]),
            "all starts one too large: `searchsorted` with `side='right'`?",
        ),
        (
            np.append(np.searchsorted(*without_first[::-1]), len(below) - 1),
            "row 0 left out, where a node begins; or the last child of every range.",
        ),
        *_of_other_rows(codes, level),
        (
            np.append(np.searchsorted(starts, below), len(below)),
            "the two lists of rows exchanged in `searchsorted`.",
        ),
        (
            np.stack([right[:-1], right[1:]], axis=1),
            "both ends of every range. The next range begins where this one "
            "ends, so one list is enough.",
        ),
        (
            np.append(0, right[1:] - 1),
            "the last child of every range, and the one after it is asked for.",
        ),
        *(
            (
                np.append(below, end),
                "where the children begin among the rows. Look up the nodes' rows among these.",
            )
            for end in (len(codes), len(below))
        ),
        (
            np.repeat(np.arange(len(starts)), np.diff(right)),
            "the parent of every child; asked for is the other way.",
        ),
        *(
            (one, "the ranges of the next level. Level 0 is the root, and has no code.")
            for one in later[:1]
        ),
        *(
            (one.numpy(), "the ranges of the level above: one code too few.")
            for one in of_level[:level][-1:]
        ),
    ]
    compare("first_child", call(answer, case), right, case, telling(causes, right))


def _of_other_rows(codes: np.ndarray, level: int) -> list[tuple[np.ndarray, str]]:
    """The ranges, had the rows at which beginnings start been found a little differently: of both
    levels or of one.
    """
    right = [_starts(codes[:, :length]) for length in (level, level + 1)]
    early = [np.maximum(one - 1, 0) for one in right]  # row 0 is put in by itself
    in_all = [_starts(codes[:, :length], np.all) for length in (level, level + 1)]
    too_small = (
        "row numbers one too small: entry `i` of `codes[1:] != codes[:-1]` speaks of row `i + 1`."
    )
    every_code = "`.all`: two beginnings differ when *any* of their codes does."
    return [
        (np.append(np.searchsorted(below, starts), len(below)), text)
        for wrong, text in ((early, too_small), (in_all, every_code))
        for starts, below in (wrong, (right[0], wrong[1]), (wrong[0], right[1]))
    ]


def _by_last_code(codes: np.ndarray, level: int) -> np.ndarray:
    """The ranges, had a node no more than its last code."""
    if level == 0:
        return np.array([0, len(np.unique(codes[:, 0]))])
    pairs = np.unique(codes[:, level - 1 : level + 1], axis=0)
    return np.append(0, np.unique(pairs[:, 0], return_counts=True)[1].cumsum())


def _of_numbers(codes: np.ndarray, level: int, base: int) -> tuple[np.ndarray, np.ndarray]:
    """The ranges, had beginnings been written as numbers: by the rows at which these change, and by
    the numbers.
    """
    nodes, children = (
        codes[:, :length] @ base ** np.arange(length)[::-1] for length in (level, level + 1)
    )
    rows, below = (_starts(one[:, None]) for one in (nodes, children))
    known = np.unique(children)
    return (
        np.append(np.searchsorted(below, rows), len(below)),
        np.append(np.searchsorted(known, np.unique(nodes) * base), len(known)),
    )


def _starts(prefixes: np.ndarray, differ: Callable[..., np.ndarray] = np.any) -> np.ndarray:
    """The rows at which a new beginning starts."""
    new = differ(prefixes[1:] != prefixes[:-1], axis=1)
    return np.flatnonzero(np.append(True, new))


def dead_cases(generator: Generator) -> list[Case]:
    """One node; three, one of them dead; then many."""
    counts = 1 + _whole(generator, (12,), 3)
    counts[:8] = [1, 3, 2, 2, 2, 3, 3, 3]
    many = _whole(generator, (int(counts.sum()),), 4) > 0
    many[:10] = [True, True, False, True, False, True, True, False, False, False]
    many[10:16] = [
        True,
        True,
        False,
        False,
        True,
        True,
    ]  # so that two children of three are not enough
    many[16:19] = [True, False, False]  # and most are not the same as one
    return [
        {"first_child": np.array([0, 2]), "dead": np.array([True, False])},
        {"first_child": np.array([0, 2, 3, 5]), "dead": np.array([True, True, False, False, True])},
        {"first_child": np.append(0, counts.cumsum()), "dead": many},
    ]


def dead_nodes(answer: Any, case: Case) -> None:
    """8.4: first_child int64 [n + 1], dead bool [n_children] -> bool [n]: are all children of a
    node dead?
    """
    first_child, dead = case.values()
    spans = list(zip(first_child[:-1], first_child[1:], strict=True))

    def of(one: Callable[[np.ndarray], Any], more: int = 0) -> np.ndarray:
        return np.array([one(dead[first : end + more]) for first, end in spans])

    right = of(np.all)
    causes = [
        (
            of(np.any),
            "a node is dead as soon as *one* child is. It is dead when all are: something may be "
            "left.",
        ),
        (
            of(lambda children: children.mean() >= 0.5),
            "a node is dead when half of its children are, or most. All of them have to be.",
        ),
        (~right, "the nodes that are alive."),
        (dead[first_child[:-1]], "only the first child is looked at."),
        (dead[first_child[1:] - 1], "only the last child is looked at."),
        (of(lambda children: children[:2].all()), "only the first two children are looked at."),
        (of(lambda children: children[-2:].all()), "only the last two children are looked at."),
        (~of(np.any), "the nodes none of whose children is dead."),
        (of(np.all, -1), "ranges that are one too short. A slice already leaves out its end."),
        (right[:-1], "the last node is missing. There are `len(first_child) - 1` nodes."),
        (
            np.flatnonzero(right),
            "the numbers of the dead nodes; true or false for every node is asked for.",
        ),
        (
            of(np.all, 1),
            "ranges that are one too long. `first_child[i + 1]` belongs to the next node.",
        ),
        (of(np.sum), "how many children are dead. Are all of them?"),
        (of(np.mean), "the share of dead children. Are all of them dead?"),
        (
            np.append(right, True),
            "one entry too many. The last entry of `first_child` is where the last range ends.",
        ),
        (dead, "the children themselves."),
    ]
    compare("the dead nodes", call(answer, case), right, case, telling(causes, right))


def _whole(generator: Generator, shape: tuple[int, ...], size: int) -> np.ndarray:
    return torch.randint(size, shape, generator=generator).numpy()


EXERCISES = {
    "8.1": Exercise(trie_cases, trie),
    "8.2": Exercise(step_cases, beam_step),
    "8.3": Exercise(range_cases, ranges),
    "8.4": Exercise(dead_cases, dead_nodes),
}
