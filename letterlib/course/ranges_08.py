"""Exercises 8.3 and 8.4: the children of a trie's nodes as ranges, and what those ranges say of
dead nodes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Generator

from letterlib.course.checks import Case, call, compare
from letterlib.course.values import telling
from letterlib.decoding.trie import Trie

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
                "beginnings made into numbers, of which two are the same one. Compare the codes, not a number.",
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
            "the last entry is missing: how many children there are in all, where the last range ends.",
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
            "a node is dead as soon as *one* child is. It is dead when all are: something may be left.",
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
