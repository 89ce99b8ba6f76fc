"""Exercise 8.1: a trie of dictionaries. Many containers nest, so what is wrong with one is looked
for in turn.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator

from letterlib.course.checks import Case, Incorrect, call
from letterlib.course.values import kind_of
from letterlib.decoding.trie import EOS, PAD


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
            "the last node returned (it is a leaf, {}), or new nodes that are never put under their token, as with "
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
        unknown = "names are missing, or hang in the wrong place. Follow one name from the root, token by token."
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
