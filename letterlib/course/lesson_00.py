"""The exercises of lesson 00: holding out, recall, NDCG, popularity."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator

from letterlib.baselines.popularity import Popularity
from letterlib.course.checks import Case, Exercise, Incorrect, call, called, compare, several
from letterlib.course.values import dtype_of, kind_of
from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences, Split
from letterlib.evaluation.metrics import ABSENT, gains_at, hits_at, ranks_of

# 0.1 Holding out the end of a list: three arrays come back, each with mistakes of its own

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
                "the first items held out. The list is oldest first, and the end is what we ask "
                "for.",
            ),
            (
                items[n:-n],
                "validation taken from the beginning. It is the n items just before the test "
                "items.",
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
            cause = (
                "a list that is too short. With fewer than 2n + 1 items all are training, "
                "and nothing is held out."
            )
            likely.append((actual, cause))
        elif len(items) == 2 * n + 1:
            likely.append(
                (
                    items,
                    "a list taken for too short that is not. Of 2n + 1 items one is left for "
                    "training.",
                )
            )
        in_order = (
            np.sort(expected),
            "a sorted part (`np.unique`, `np.setdiff1d`, a set). Its order is time.",
        )
        wrong_slice = (
            "a part that begins or stops in the wrong place. Number the items above "
            "and mark the three parts."
        )
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
            cause = (
                "`np.array([])`, which is made for fractions. `items[:0]` is empty and of "
                "the right type."
            )
    else:
        what, cause = (
            f"an array and is {kind_of(actual)}",
            "a conversion. A slice of an array is an array.",
        )
        if isinstance(actual, (list, tuple)):
            cause = (
                "`np.array(part, dtype=np.int64)` makes an array of it; a slice of an array "
                "is one already."
            )
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


# 0.2 and 0.3 return one number of ranked lists


def _stops(case: Case) -> dict[str, str]:
    """What NumPy and torch say of the row of all targets beside a table of lists; other rows have
    other lengths.
    """
    said = [
        words.format(len(case["targets"]))
        for words in ("({},)", "tensor a ({}) must", "tensor b ({}) at")
    ]
    return dict.fromkeys(said, "`targets` needs to be a column: `targets[:, None]`.")


def one_number(answer: Any, case: Case) -> Any:
    """What came, unless it is several numbers. Their shape says what they are numbers of."""
    returned = called(answer, case, _stops(case))
    listed = isinstance(returned, list)
    if not listed and not (isinstance(returned, (np.ndarray, torch.Tensor)) and returned.ndim):
        return returned
    shape = (len(returned),) if listed else tuple(returned.shape)
    if listed and returned and isinstance(returned[0], list):
        shape += (len(returned[0]),)
    n_cases, places = len(case["targets"]), (case["k"], case["ranked"].shape[1])
    cause = "a reduction that is missing, or `keepdims=True`."
    if shape == (n_cases,):
        cause = "a value per case; take the mean over cases."
    elif len(shape) == 1 and shape[0] in places:
        cause = (
            "a value per place: `axis=0` goes over the cases. First make one value of every "
            "row, with `axis=1`."
        )
    elif len(shape) == 2 and shape[0] == n_cases and shape[1] in places:
        cause = (
            "a value per case and place. First make one value of every row, with `axis=1`, "
            "and then take the mean."
        )
    what = "a list" if listed else f"{kind_of(returned)} of shape {shape}"
    raise Incorrect(f"One number is asked for, and {what} came.", case, cause=cause)


def list_cases(generator: Generator) -> list[Case]:
    """Ranked lists with the target at chosen places: the last that counts, the first that does not,
    nowhere.
    """
    small = [
        _lists(generator, length, k, places)
        for length, k, places in [(1, 1, [0]), (2, 1, [1]), (3, 2, [1])]
    ]
    middle = [
        _lists(generator, 3, 2, [0, 1, 2, None]),
        _lists(generator, 6, 2, [1, 2, 0, 3, 5, 4, None]),
    ]
    found = [
        2,
        None,
        9,
        4,
        19,
        0,
        3,
        10,
        None,
        None,
        8,
        9,
        1,
        11,
        4,
        None,
        15,
        None,
        12,
        None,
        0,
        12,
        15,
    ]
    return [
        *small,
        *middle,
        _lists(generator, 20, 10, [*found, None, 7, None]),
    ]  # no two mistakes have one figure


def recall(answer: Any, case: Case) -> None:
    """0.2: ranked int64 [n_cases, K], targets int64 [n_cases], k -> number."""
    ranked, targets, k = case.values()
    returned = one_number(answer, case)
    ranks = ranks_of(ranked, targets)
    hits, found = hits_at(ranks, k), ranked == targets[:, None]
    everybody = "each target looked for in everybody's list, not in its own row."
    causes = [
        *_wrong_cuts(hits_at, ranks, k, ranked.shape[1]),
        (
            hits.mean() / k,
            "a division by k, as a mean over k places makes one. That is precision; use "
            "`.any(axis=1)`.",
        ),
        (hits.sum() / k, "the hits divided by k. Divide by the number of cases."),
        *(
            (hits.sum() / max(1, answered.sum()), "lists with a -1 left out. They are cases, too.")
            for part in (ranked != NO_ITEM, ranked[:, :k] != NO_ITEM)
            for answered in (part.all(axis=1), part.any(axis=1))
        ),
        (
            hits.sum() / ranked.shape[1],
            "the hits divided by the length of a list. Divide by the number of cases.",
        ),
        (
            1.0,
            "the first list alone (a `return` inside the loop), the hits alone, or one `any` for "
            "the whole table.",
        ),
        (hits.sum(), "a sum over cases; take the mean."),
        (
            found[:k].any(axis=1).mean(),
            "`ranked[:k]`, the first k cases. The first k places are `ranked[:, :k]`.",
        ),
        (np.isin(targets, ranked[:, :k]).mean(), everybody),
        (np.isin(targets, ranked).mean(), everybody),
        *(
            (
                found[:, :k].any(axis=0).sum() / n,
                "`any` along the wrong axis. One list is a row: `.any(axis=1)`.",
            )
            for n in (k, len(targets))
        ),
        (
            found.mean(),
            "a mean over all places. First ask of every row whether its target is there: "
            "`.any(axis=1)`.",
        ),
        (found[:, -k:].any(axis=1).mean(), "the last k places. The first k are `ranked[:, :k]`."),
        (
            (found.argmax(axis=1) < k).mean(),
            "a miss becomes a hit: `argmax` gives it 0, and -1 is below k.",
        ),
        (
            hits.sum() / max(1, found.any(axis=1).sum()),
            "a mean over the targets in the lists. A miss counts as 0.",
        ),
        (hits.mean() * 100, "a percentage. A share lies between 0 and 1."),
        (1 - hits.mean(), "the misses counted."),
        (
            gains_at(ranks, k).mean(),
            "a discount by rank. Recall does not ask where in the first k the target stands.",
        ),
    ]
    compare("recall", returned, float(hits.mean()), case, causes)


def ndcg(answer: Any, case: Case) -> None:
    """0.3: ranked int64 [n_cases, K], targets int64 [n_cases], k -> number."""
    ranked, targets, k = case.values()
    returned = one_number(answer, case)
    ranks = ranks_of(ranked, targets)
    gains, hits = gains_at(ranks, k), hits_at(ranks, k)
    place = np.maximum(ranks, 0)
    first_is_infinite = np.divide(
        hits, np.log2(place + 1), out=np.zeros_like(hits), where=place > 0
    )
    first_is_infinite[(place == 0) & (hits > 0)] = np.inf
    found = ranked == targets[:, None]
    argmax, argmax_of_k = found.argmax(axis=1), found[:, :k].argmax(axis=1)
    no_rank = "`argmax`, which is 0 for a row without the target: a miss becomes a first place."
    causes = [
        (
            (gains / np.log(2)).mean(),
            "the natural logarithm; the discount is `np.log2`. The first place is worth 1.",
        ),
        ((gains / np.log10(2)).mean(), "the logarithm to base 10; the discount is `np.log2`."),
        *(
            (value, "log2(rank + 1) with ranks from 0: the first place divides by log2(1) = 0.")
            for value in (first_is_infinite.mean(), np.nan)
        ),
        (
            (hits / np.log2(place + 3)).mean(),
            "a rank that is one too high: the first place is worth 1 / log2(2) = 1.",
        ),
        (
            (hits / (place + 1)).mean(),
            "1 / (rank + 1), the reciprocal rank; the logarithm is missing.",
        ),
        *_wrong_cuts(gains_at, ranks, k, ranked.shape[1]),
        (
            (hits * np.log2(place + 2)).mean(),
            "log2(rank + 2) as it is. Divide by it, so that lower places count less.",
        ),
        (np.where(argmax < k, 1 / np.log2(argmax + 2), 0).mean(), no_rank),
        ((1 / np.log2(argmax_of_k + 2)).mean(), no_rank),
        (
            gains.mean() / k,
            "a division by k, as a mean over k places makes one. Take the sum over places instead.",
        ),
        (
            gains.sum() / k,
            "a sum over cases and a mean over places. Sum along each list: `.sum(axis=1)`.",
        ),
        (
            gains.mean() / (1 / np.log2(np.arange(k) + 2)).sum(),
            "the ideal list of k targets. With one it is worth 1.",
        ),
        (hits.mean(), "no discount: this is recall. A target far down should count for less."),
        (
            gains.sum() / max(1, hits.sum()),
            "a mean over the cases that were found. A miss counts as 0, and counts.",
        ),
        (
            gains.sum() / max(1, (ranked != NO_ITEM).any(axis=1).sum()),
            "empty lists left out. They are cases, too.",
        ),
        (gains.sum(), "a sum over cases; take the mean."),
        (float(gains[0]), "the first list alone: a `return` inside the loop."),
    ]
    compare("ndcg", returned, float(gains.mean()), case, causes)


def popularity_cases(generator: Generator) -> list[Case]:
    """(lengths, n, n_items). Lists of 2n and of 2n + 1, shorter and longer; many items tie, and
    nobody has the last.

    In the last but one a user has an item three times.
    """
    longer = [_between(generator, 6, 14) for _ in range(8)]
    shapes = [([3], 1, 4), ([3, 4], 1, 5), ([5, 4, 3], 2, 6), ([6, 7, 5, 14, *longer], 3, 40)]
    *few, many = [
        {
            "sequences": [_skewed(generator, n_items - 1, length) for length in lengths],
            "n": n,
            "n_items": n_items,
        }
        for lengths, n, n_items in shapes
    ]
    again = [np.array([0, 2, 2, 2, 1, 0]), np.array([0, 1, 0, 2]), np.array([0, 3, 1])]
    return [*few, {"sequences": again, "n": 1, "n_items": 5}, many]


def popularity(answer: Any, case: Case) -> None:
    """0.4: list of int64 arrays, n, n_items -> int64 [n_items], most popular first."""
    sequences, n, n_items = case.values()
    split = split_of(sequences, n, n_items)
    wanted = Popularity().fit(split).recommend(Cases.from_histories([[]]), n_items).items[0]
    train, returned = split.train_counts, call(answer, case)
    an_array = isinstance(returned, np.ndarray)
    whole = an_array and returned.dtype.kind in "iu"
    whole = whole and np.array_equal(np.sort(returned, axis=None), np.arange(n_items))
    upwards, everything = np.argsort(train, kind="stable"), _counts(sequences, n_items)
    causes = [
        *_wrong_parts(sequences, n, n_items),
        *(
            (order, "the least popular first.")
            for order in (upwards, np.argsort(train), wanted[::-1])
        ),
        *(
            (order[::-1], "ties by the higher item id: `[::-1]` turns ties round too.")
            for order in (upwards, np.argsort(train))
        ),
        (np.argsort(-train), '`np.argsort` leaves the order of ties open. Use `kind="stable"`.'),
        *(
            (
                counts,
                "the counts themselves. Return item ids, the most popular first: `np.argsort` "
                "gives ids.",
            )
            for counts in (train, np.sort(train)[::-1])
        ),
        (
            np.argsort(wanted),
            "the place of every item. Return the items in the order of their places.",
        ),
        (
            _ranked(np.trim_zeros(train, "b")),
            "a count that stops at the highest id in the lists: `minlength=n_items`.",
        ),
        (
            wanted[train[wanted] > 0],
            "items without an interaction left out. They come last, by their id.",
        ),
        *(
            (
                _ranked(counts > 0),
                "items marked as seen or not; `counts[items] += 1` adds 1 once. Use `np.bincount`.",
            )
            for counts in (train, everything)
        ),
        (
            wanted.astype(np.float64),
            "`np.zeros` without `dtype=int`, or a conversion to fractions. Item ids are whole "
            "numbers.",
        ),
    ]
    if whole and np.array_equal(train[returned], train[wanted]):
        causes.append(
            (
                returned,
                "ties in another order. Of films with equal counts the lower id comes first.",
            )
        )
    if an_array and returned.size < n_items:
        causes.append(
            (
                returned,
                "items left out. All n_items are asked for; those that nobody has come last.",
            )
        )
    if an_array and returned.size > n_items:
        causes.append(
            (
                returned,
                "more than n_items entries. Each of the items 0 to n_items - 1 stands there once.",
            )
        )
    compare("ranking", returned, wanted, case, causes)


def _wrong_parts(sequences: Sequence[np.ndarray], n: int, n_items: int) -> Causes:
    """The rankings that come of counting something else than every list's training part."""

    def train(one: np.ndarray) -> np.ndarray:
        return one[: -2 * n] if len(one) > 2 * n else one

    too_many = "counting the validation items too. Training ends 2n before the end, not n."
    parts: list[tuple[Callable[[np.ndarray], np.ndarray], str]] = [
        (
            lambda one: one,
            "counting on all interactions: the held-out items have helped to rank themselves.",
        ),
        (lambda one: one[:-n] if len(one) > 2 * n else one, too_many),
        (lambda one: one[:-n], too_many),
        (
            lambda one: one[: -2 * n],
            "forgetting the short lists. A list with fewer than 2n + 1 items is training as a "
            "whole.",
        ),
        (
            lambda one: one[: -2 * n] if len(one) >= 2 * n else one,
            "a list of 2n items cut to nothing. With fewer than 2n + 1 items all are training.",
        ),
        (
            lambda one: one[: -2 * n] if len(one) > 2 * n + 1 else one,
            "a list of 2n + 1 items taken for too short. One item is left for training.",
        ),
        (
            lambda one: one[: len(one) - 2 * n],
            "a list with fewer than 2n items cut as well: `len(items) - 2 * n` is "
            "below 0 there, and counts from the end. With fewer than 2n + 1 items all are "
            "training.",
        ),
        (
            lambda one: one[len(train(one)) :],
            "counting the held-out items instead of the training part.",
        ),
        (
            lambda one: one[2 * n :] if len(one) > 2 * n else one,
            "the first items held out. The lists are oldest first, and the end is what we ask for.",
        ),
        (
            lambda one: one[:-10] if len(one) > 10 else one,
            "5 written into the function; use its argument n.",
        ),
    ]
    if any(len(np.unique(one)) < len(one) for one in sequences):
        text = (
            "an item counted once that a list has twice: `counts[items] += 1` adds 1 once. "
            "Use `np.bincount`."
        )
        by_id = "items taken out by their id: an item may stand in both parts. Cut by place."
        rest = [
            lambda one: one[~np.isin(one, one[-2 * n :])],
            lambda one: one[~np.isin(one, one[len(train(one)) :])],
        ]
        parts = [
            (lambda one: np.unique(train(one)), text),
            *((part, by_id) for part in rest),
            *parts,
        ]
    return [
        (_ranked(_counts([part(one) for one in sequences], n_items)), text) for part, text in parts
    ]


def _wrong_cuts(measure: Any, ranks: np.ndarray, k: int, length: int) -> Causes:
    return [
        (measure(ranks, 10).mean(), "10 written into the function; use its argument k."),
        (
            measure(np.where(ranks > 0, ranks - 1, ABSENT), k).mean(),
            "places 1 to k. Python counts from 0: `[:, :k]`.",
        ),
        (
            measure(ranks, k + 1).mean(),
            "one place too many. The first k places have ranks 0 to k - 1.",
        ),
        (
            measure(ranks, k - 1).mean(),
            "one place too few. The first k places are `ranked[:, :k]`.",
        ),
        (measure(ranks, length).mean(), "the whole list read. Only the first k places count."),
    ]


def _between(generator: Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator))


def _skewed(generator: Generator, n_items: int, length: int) -> np.ndarray:
    """Different items, high ids more often than low ones, so that no order by id looks right."""
    weights = torch.arange(1, n_items + 1, dtype=torch.float64)
    return torch.multinomial(weights, length, generator=generator).numpy()


def _lists(generator: Generator, length: int, k: int, places: Sequence[int | None]) -> Case:
    """One ranked list per place, its target there (None: not in it). A list may end in NO_ITEM, or
    be nothing else.
    """
    n_items = 3 * length + 2
    ranked = np.stack([drawn(generator, n_items, length) for _ in places])
    targets = [
        _absent(row, n_items) if place is None else int(row[place])
        for row, place in zip(ranked, places, strict=True)
    ]
    if places[1:2] == [None]:
        ranked[1] = NO_ITEM
    if places[-1] is None:
        ranked[-1, -length // 2 :] = NO_ITEM
        targets[-1] = n_items  # in nobody's list
    return {"ranked": ranked, "targets": np.array(targets), "k": k}


def _absent(row: np.ndarray, n_items: int) -> int:
    return next(item for item in range(n_items) if item not in row)


def _counts(sequences: Sequence[np.ndarray], n_items: int) -> np.ndarray:
    return np.bincount(np.concatenate(sequences), minlength=n_items)


def _ranked(counts: np.ndarray) -> np.ndarray:
    return np.argsort(-counts.astype(np.int64), kind="stable")


EXERCISES = {
    "0.1": Exercise(hold_out_cases, hold_out),
    "0.2": Exercise(list_cases, recall),
    "0.3": Exercise(list_cases, ndcg),
    "0.4": Exercise(popularity_cases, popularity),
}
