"""Exercise 0.1: hold out the end of a list. Three arrays come back, and each can be wrong in its
own way.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator

from letterlib.course.checks import Case, Incorrect, call, compare
from letterlib.course.returned import several
from letterlib.course.values import dtype_of, kind_of
from letterlib.data.dataset import Dataset, Sequences, Split

Causes = list[tuple[Any, str]]


def hold_out_cases(generator: Generator) -> list[Case]:
    """(length, n). Lists of 2n and fewer are too short to hold anything out, those of 2n + 1 are
    not.

    In the last n is not the lesson's 5, which some write into the function. In the last but one,
    which alone has items twice, items that are held out stand in the training part, too.
    """
    shapes = [(3, 1), (4, 2), (3, 2), (5, 2), (7, 1), (3, 3), (30, 4)]
    *cases, longest = [{"items": drawn(generator, 40, length), "n": n} for length, n in shapes]
    return [*cases, {"items": np.array([4, 7, 4, 5, 7, 4]), "n": 1}, longest]


def hold_out(answer: Any, case: Case) -> None:
    """0.1: items int64 [length], n -> train, valid, test."""
    items, n = case.values()
    returned = several(call(answer, case), ["train", "valid", "test"], case)
    split = split_of([items], n)
    valid, test = (split.cases(part).targets for part in ("valid", "test"))
    wanted = {"train": split.train[0], "valid": valid, "test": test}
    by_id = "items taken out by their id: an item may stand in both parts. Cut by place."
    five = "5 written into the function; use its argument n."
    causes: dict[str, Causes] = {
        "train": [
            (items[:-10], five),
            (
                items[:-n],
                "validation items left in the training part. Both held-out parts go: 2n items.",
            ),
            (items, "nothing taken away: training would see the answers."),
            (
                items[2 * n :],
                "the first items held out. The list is oldest first, and the end is what we ask for.",
            ),
            (
                items[n:-n],
                "validation taken from the beginning. It is the n items just before the test items.",
            ),
            (items[: -2 * n - 1], "one item too many held out: 2n go, not 2n + 1."),
            (items[:-2], "two items held out whatever n is. Both parts have n items."),
            (test, "parts in another order. Return train, valid, test."),
            (items[~np.isin(items, items[-2 * n :])], by_id),
            (items[~np.isin(items, test)][:-n], by_id),
            (
                np.sort(items)[: -2 * n],
                "a sorted list. Its order is time; sorting by number destroys it.",
            ),
        ],
        "valid": [
            (
                test,
                "validation and test swapped. The last n are the test: it must lie latest in time.",
            ),
            (
                items[-2 * n :],
                "a slice that runs to the end. It stops where the test begins: `[-2 * n:-n]`.",
            ),
            (
                items[-2 * n : -n - 1],
                "a slice that stops one too early. Its end is left out already: `[-2 * n:-n]`.",
            ),
            (
                items[-2 * n - 1 : -n - 1],
                "a slice that is one place too far to the left. It is `[-2 * n:-n]`.",
            ),
            (items[: -2 * n], "parts in another order. Return train, valid, test."),
            (items[-10:-5], five),
        ],
        "test": [
            (valid, "validation and test swapped. The last n are the test."),
            (items[-2 * n :], "validation items in the test part. The test is the last n alone."),
            (items[-1:], "the last item alone. This is right for n = 1; here n is larger."),
            (items[-5:], five),
            (
                items[-n:-1],
                "the last item left out. A slice that runs to the end has no stop: `items[-n:]`.",
            ),
        ],
    }
    for (name, expected), actual in zip(wanted.items(), returned, strict=True):
        _require_items(name, actual, expected, case)
        likely = [
            (expected[::-1], "a part read backwards. Every part keeps its order, oldest first.")
        ]
        if len(items) <= 2 * n:  # whatever else was held out, it should not have been
            cause = "a list that is too short. With fewer than 2n + 1 items all are training, and nothing is held out."
            likely.append((actual, cause))
        elif len(items) == 2 * n + 1:
            likely.append(
                (
                    items,
                    "a list taken for too short that is not. Of 2n + 1 items one is left for training.",
                )
            )
        in_order = (
            np.sort(expected),
            "a sorted part (`np.unique`, `np.setdiff1d`, a set). Its order is time.",
        )
        wrong_slice = "a part that begins or stops in the wrong place. Number the items above and mark the three parts."
        compare(
            name, actual, expected, case, [*likely, *causes[name], in_order, (actual, wrong_slice)]
        )


def _require_items(name: str, actual: Any, expected: np.ndarray, case: Case) -> None:
    """An array of whole numbers, or the reason why it is something else."""
    if isinstance(actual, np.ndarray) and actual.dtype.kind in "iu":
        return
    if isinstance(actual, np.ndarray):
        what, cause = (
            f"whole numbers and is {dtype_of(actual)}",
            "a conversion. Item ids are whole numbers.",
        )
        if actual.dtype.kind == "b":
            cause = "a mask. `items[mask]` gives the items where it is true."
        elif actual.dtype.kind == "f":
            cause = "a conversion to fractions. Item ids are whole numbers."
        if not actual.size and actual.dtype.kind == "f":
            cause = "`np.array([])`, which is made for fractions. `items[:0]` is empty and of the right type."
    else:
        what, cause = (
            f"an array and is {kind_of(actual)}",
            "a conversion. A slice of an array is an array.",
        )
        if isinstance(actual, (list, tuple)):
            cause = "`np.array(part, dtype=np.int64)` makes an array of it; a slice of an array is one already."
        if isinstance(actual, (list, tuple)) and not actual:
            cause = "an empty list. `items[:0]` is an empty array."
        elif actual is None:
            cause = "`None` for an empty part. `items[:0]` is an empty array."
        elif kind_of(actual) == "a number":
            cause = "a place instead of a slice: `items[-1]` is a number, `items[-1:]` is an array."
    raise Incorrect(
        f"`{name}` should be {what}.", case, expected=expected, actual=actual, cause=cause
    )


def drawn(generator: Generator, n_items: int, length: int) -> np.ndarray:
    """Different items in random order, int64 [length]."""
    return torch.randperm(n_items, generator=generator)[:length].numpy()


def split_of(sequences: Sequence[np.ndarray], n: int, n_items: int = 40) -> Split:
    labels = [str(user) for user in range(len(sequences))]
    items = pd.DataFrame(index=range(n_items))
    return Split(Dataset("drawn", Sequences.from_lists(sequences), items, "drawn", labels), n)
