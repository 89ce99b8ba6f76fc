"""Lesson 00: writing a name held to a trie, recall, holding out, NDCG."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch
from torch import Generator

from letterlib.course.comparing import Case
from letterlib.course.exercise import Clue, Exercise
from letterlib.course.values import same
from letterlib.data.dataset import NO_ITEM

Array = np.ndarray
Parts = tuple[Array, Array, Array]


def drawn(generator: Generator, n_items: int, length: int) -> Array:
    """Different items in random order, int64 [length]."""
    return torch.randperm(n_items, generator=generator)[:length].numpy()


# 0.3 Holding out the end of a list: items int64 [length], n -> train, valid, test


def hold_out(items: Array, n: int) -> Parts:
    if len(items) < 2 * n + 1:
        return items, items[:0], items[:0]
    return items[: -2 * n], items[-2 * n : -n], items[-n:]


def hold_out_cases(generator: Generator) -> list[Case]:
    """(length, n). Lists of 2n items and fewer are too short, those of 2n + 1 are not.

    The last n is not the lesson's 5, which some write into the function. In the last case but one
    items occur twice, so that some that are held out stand in the training part, too.
    """
    shapes = [(3, 1), (4, 2), (3, 2), (5, 2), (7, 1), (3, 3), (30, 4)]
    *cases, longest = [{"items": drawn(generator, 40, length), "n": n} for length, n in shapes]
    return [*cases, {"items": np.array([4, 7, 4, 5, 7, 4]), "n": 1}, longest]


def cutter(
    train: Callable = lambda x, n: x[: -2 * n],
    valid: Callable = lambda x, n: x[-2 * n : -n],
    test: Callable = lambda x, n: x[-n:],
    short: Callable = lambda length, n: length < 2 * n + 1,
    nothing: Callable = lambda x: x[:0],
) -> Callable:
    """Hold out the end of a list, with one of the steps replaced."""

    def answer(x, n):
        if short(len(x), n):
            return x, nothing(x), nothing(x)
        return train(x, n), valid(x, n), test(x, n)

    return answer


def changed(change: Callable) -> Callable:
    """Right parts, each of which is changed in the same way."""
    return lambda x, n: tuple(change(x, part) for part in hold_out(x, n))


def never(length: int, n: int) -> bool:
    return False


def split_by_place(items, n):
    first, last = len(items) - 2 * n, len(items) - n
    if first < 1:
        return items.copy(), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return tuple(np.split(items, [first, last]))


FIVE = "5 written into the function; use its argument n."
TOO_SHORT = (
    "a list that is too short. With fewer than 2n + 1 items all are training, and nothing is held "
    "out."
)
BY_ID = "items taken out by their id: an item may stand in both parts. Cut by place."
SORTED = "a sorted part (`np.sort`, `np.unique`, `np.setdiff1d`, a set). Its order is time."
SWAPPED = "validation and test swapped. The last n are the test: it must lie latest in time."

HOLD_OUT = Exercise(
    reference=hold_out,
    cases=hold_out_cases,
    returns=["train", "valid", "test"],
    right=[
        split_by_place,
        lambda x, n: [np.array(part.tolist(), dtype=np.int32) for part in hold_out(x, n)],
    ],
    mistakes=[
        (cutter(short=never), TOO_SHORT),
        (cutter(lambda x, n: x[: len(x) - 2 * n], short=never), TOO_SHORT),
        (cutter(short=lambda length, n: length < 2 * n), TOO_SHORT),
        (
            cutter(short=lambda length, n: length < 2 * n + 2),
            "a list taken for too short that is not. Of 2n + 1 items one is left for training.",
        ),
        (cutter(valid=lambda x, n: x[-n:], test=lambda x, n: x[-2 * n : -n]), SWAPPED),
        (
            cutter(lambda x, n: x[:-n]),
            "validation items left in the training part. Both held-out parts go: 2n items.",
        ),
        (
            cutter(lambda x, n: x),
            "nothing taken away from the training part: training would see the answers.",
        ),
        (
            cutter(lambda x, n: x[2 * n :], lambda x, n: x[n : 2 * n], lambda x, n: x[:n]),
            "the first items held out. The list is oldest first; hold out its end.",
        ),
        (
            cutter(lambda x, n: x[n:-n], lambda x, n: x[:n]),
            "validation taken from the beginning. It is the n items just before the test items.",
        ),
        (
            cutter(lambda x, n: x[: -2 * n - 1]),
            "one item too many taken from the training part: 2n go, not 2n + 1.",
        ),
        (
            cutter(lambda x, n: x[:-2], lambda x, n: x[-2:-1], lambda x, n: x[-1:]),
            "two items held out whatever n is. Both parts have n items.",
        ),
        (
            lambda x, n: (x[:-2], x[-2], x[-1]),
            "a place instead of a slice, and two items held out whatever n is: `items[-1]` is a "
            "number, `items[-n:]` is an array.",
        ),
        (
            cutter(valid=lambda x, n: x[-2 * n :]),
            "a slice that runs to the end. It stops where the test begins: `[-2 * n:-n]`.",
        ),
        (
            cutter(valid=lambda x, n: x[-2 * n : -n - 1]),
            "a slice that stops one too early. Its end is left out already: `[-2 * n:-n]`.",
        ),
        (
            cutter(valid=lambda x, n: x[-2 * n - 1 : -n - 1]),
            "a slice that is one place too far to the left. It is `[-2 * n:-n]`.",
        ),
        (
            cutter(valid=lambda x, n: x[-2 * n : n]),
            "a slice that stops at n from the front; a minus is missing: `[-2 * n:-n]`.",
        ),
        (
            cutter(test=lambda x, n: x[-2 * n :]),
            "validation items in the test part. The test is the last n alone.",
        ),
        (
            cutter(test=lambda x, n: x[-1:]),
            "the last item alone. This is right for n = 1; here n is larger.",
        ),
        (
            cutter(test=lambda x, n: x[-n:-1]),
            "the last item left out. A slice that runs to the end has no stop: `items[-n:]`.",
        ),
        (lambda x, n: hold_out(x, 5), FIVE),
        (cutter(lambda x, n: x[:-10], lambda x, n: x[-10:-5], lambda x, n: x[-5:]), FIVE),
        (lambda x, n: (x[:-10], x[-10:-5], x[-5:]), FIVE),
        (cutter(valid=lambda x, n: x[-10:-5]), FIVE),
        (cutter(test=lambda x, n: x[-5:]), FIVE),
        (lambda x, n: hold_out(x, n)[::-1], "parts in another order. Return train, valid, test."),
        (cutter(lambda x, n: x[~np.isin(x, x[-2 * n :])]), BY_ID),
        (
            cutter(
                lambda x, n: x[~np.isin(x, x[-n:])][:-n], lambda x, n: x[~np.isin(x, x[-n:])][-n:]
            ),
            BY_ID,
        ),
        (
            lambda x, n: hold_out(np.sort(x), n),
            "a sorted list. Its order is time; sorting by number destroys it.",
        ),
        (changed(lambda x, part: np.sort(part)), SORTED),
        (changed(lambda x, part: np.unique(part)), SORTED),
        (cutter(valid=lambda x, n: np.unique(x[-2 * n : -n])), SORTED),
        (
            cutter(
                lambda x, n: np.setdiff1d(x, x[-2 * n :]),
                lambda x, n: np.unique(x[-2 * n : -n]),
                lambda x, n: np.unique(x[-n:]),
            ),
            SORTED,
        ),
        (
            changed(lambda x, part: part[::-1]),
            "a part read backwards. Every part keeps its order, oldest first.",
        ),
        (
            lambda x, n: hold_out(np.arange(len(x)), n),
            "places in the list instead of items: `items[places]`.",
        ),
        (
            changed(lambda x, part: np.isin(x, part)),
            "a mask. `items[mask]` gives the items where it is true.",
        ),
        (
            cutter(nothing=lambda x: np.array([])),
            "`np.array([])`, which is made for fractions. `items[:0]` is empty and of the right "
            "type.",
        ),
    ],
    clues=[
        (
            lambda found, right, case: found is None or found == [],
            "`None` or an empty list for an empty part. `items[:0]` is an empty array.",
            cutter(nothing=lambda x: []),
        ),
        (
            lambda found, right, case: len(case["items"]) <= 2 * case["n"],
            TOO_SHORT,
            cutter(short=lambda length, n: length < 2 * n, nothing=lambda x: x[1:1]),
        ),
        (
            lambda found, right, case: isinstance(found, Array) and found.dtype.kind in "iu",
            "a part that begins or stops in the wrong place. Number the items above and mark the "
            "three parts.",
            cutter(valid=lambda x, n: x[-2 * n - 2 : -n]),
        ),
    ],
)

# 0.2 and 0.4: ranked int64 [n_cases, K], targets int64 [n_cases], k -> number


def list_cases(generator: Generator) -> list[Case]:
    """Ranked lists with the target at chosen places: the last that counts, the first that does not,
    nowhere. In the last case no two mistakes give the same number.
    """
    found = [12, None, 9, 4, 19, 0, 3, 10, None, None, 8, 9, 1, 11, 4, None, 15, None, 12, None, 0]
    shapes = [
        (1, 1, [0]),
        (2, 1, [1]),
        (3, 2, [1]),
        (3, 2, [0, 1, 2, None]),
        (6, 2, [1, 2, 0, 3, 5, 4, None]),
        (20, 10, [*found, 2, 15, None, 7, None]),
    ]
    return [_lists(generator, length, k, places) for length, k, places in shapes]


def _lists(generator: Generator, length: int, k: int, places: Sequence[int | None]) -> Case:
    """One ranked list per place, its target there (None: not in it). A list may end in NO_ITEM, or
    be nothing else.
    """
    n_items = 3 * length + 2
    ranked = np.stack([drawn(generator, n_items, length) for _ in places])
    targets = [
        np.setdiff1d(np.arange(n_items), row)[0] if place is None else row[place]
        for row, place in zip(ranked, places, strict=True)
    ]
    if places[1:2] == [None]:
        ranked[1] = NO_ITEM
    if places[-1] is None:
        ranked[-1, -length // 2 :] = NO_ITEM
        targets[-1] = n_items  # in nobody's list
    return {"ranked": ranked, "targets": np.array(targets), "k": k}


def found_at(ranked: Array, targets: Array) -> Array:
    """Where each list holds its target: bool [n_cases, K]."""
    return ranked == targets[:, None]


def hits(ranked: Array, targets: Array, k: int) -> Array:
    return found_at(ranked, targets)[:, :k].any(axis=1)


def recall(ranked: Array, targets: Array, k: int) -> float:
    return hits(ranked, targets, k).mean()


def table_of_gains(ranked: Array, targets: Array, k: int) -> Array:
    """What each place is worth where the target stands there, else 0: [n_cases, k]."""
    found = found_at(ranked, targets)[:, :k]
    return found / np.log2(np.arange(found.shape[1]) + 2)


def gains(ranked: Array, targets: Array, k: int) -> Array:
    return table_of_gains(ranked, targets, k).sum(axis=1)


def ndcg(ranked: Array, targets: Array, k: int) -> float:
    return gains(ranked, targets, k).mean()


def in_torch(measure: Callable) -> Callable:
    return lambda r, t, k: measure(torch.from_numpy(r), torch.from_numpy(t), k)


def of_some(measure: Callable, kept: Callable) -> Callable:
    """A measure of some of the lists: kept(ranked, k) -> bool [n_cases]."""

    def answer(ranked, targets, k):
        some = kept(ranked, k)
        return measure(ranked[some], targets[some], k)

    return answer


def wrong_cuts(measure: Callable) -> list[tuple[Callable, str]]:
    return [
        (lambda r, t, k: measure(r, t, 10), "10 written into the function; use its argument k."),
        (
            lambda r, t, k: measure(r[:, 1:], t, k),
            "places 1 to k. Python counts from 0: `[:, :k]`.",
        ),
        (
            lambda r, t, k: measure(r, t, k + 1),
            "one place too many. The first k places have ranks 0 to k - 1.",
        ),
        (
            lambda r, t, k: measure(r, t, k - 1),
            "one place too few. The first k places are `ranked[:, :k]`.",
        ),
        (
            lambda r, t, k: measure(r, t, r.shape[1]),
            "the whole list read. Only the first k places count.",
        ),
        (
            lambda r, t, k: measure(r[:, -k:], t, k),
            "the last k places. The first k are `ranked[:, :k]`.",
        ),
        (
            lambda r, t, k: measure(r[:k], t[:k], r.shape[1]),
            "`ranked[:k]`, the first k cases. The first k places are `ranked[:, :k]`.",
        ),
        (lambda r, t, k: 100 * measure(r, t, k), "a percentage. A share lies between 0 and 1."),
        (
            lambda r, t, k: measure(r, t, k) * len(t),
            "a sum over cases; take the mean.",
        ),
        (
            lambda r, t, k: measure(r, t, k) / k,
            "a division by k, as a mean over k places makes one: that is precision. Take the sum "
            "over places, or `.any(axis=1)`.",
        ),
        (
            lambda r, t, k: measure(r, t, k) * len(t) / k,
            "a sum over cases divided by k, or a mean over places. Sum along each list, `axis=1`, "
            "and divide by the number of cases.",
        ),
        (
            lambda r, t, k: measure(r[:1], t[:1], k),
            "the first list alone: a `return` inside the loop.",
        ),
    ]


def several_numbers(per_place: Callable) -> list[Clue]:
    """The shape of what came says what the numbers are numbers of.

    per_place: a table of numbers [n_cases, k], for the examples.
    """

    def places(case: Case) -> tuple[int, int]:
        return case["k"], case["ranked"].shape[1]

    return [
        (
            lambda found, right, case: np.shape(found) == case["targets"].shape,
            "a value per case; take the mean over cases.",
            lambda r, t, k: per_place(r, t, k).sum(axis=1).tolist(),
        ),
        (
            lambda found, right, case: len(np.shape(found)) == 1 and len(found) in places(case),
            "a value per place: `axis=0` goes over the cases. First make one value of every row, "
            "with `axis=1`.",
            lambda r, t, k: per_place(r, t, k).mean(axis=0),
        ),
        (
            lambda found, right, case: (
                len(np.shape(found)) == 2
                and len(found) == len(case["targets"])
                and len(found[0]) in places(case)
            ),
            "a value per case and place. First make one value of every row, with `axis=1`, and "
            "then take the mean.",
            per_place,
        ),
    ]


COLUMN = "`targets` needs to be a column: `targets[:, None]`."
EMPTY_LISTS = "lists with a -1 left out. They are cases, too."
WHOSE_LIST = (
    "each target looked for in everybody's list, not in its own row, or each list searched for "
    "anybody's target. `targets[:, None]` compares row by row."
)
WRONG_AXIS = "`any` along the wrong axis. One list is a row: `.any(axis=1)`."
NOT_FOUND = "a mean over the targets that were found. A miss counts as 0, and counts."


def recall_by_loop(ranked, targets, k):
    return sum(t in row[:k].tolist() for row, t in zip(ranked, targets)) / len(targets)


# Not written as lambdas in the list: the line that stops is shown, and might hold the hint's words.


def one_row_of_targets(r, t, k):
    return (r[:, :k] == t).any(1).sum() / len(t)


def one_row_of_targets_first(r, t, k):
    return (t == r[:, :k]).any(1).sum() / len(t)


def mean_of_one_row(r, t, k):
    return (r[:, :k] == t).mean()


RECALL = Exercise(
    reference=recall,
    cases=list_cases,
    returns=["recall"],
    right=[
        recall_by_loop,
        lambda r, t, k: found_at(r, t)[:, :k].sum() / len(r),
        in_torch(lambda r, t, k: (r[:, :k] == t[:, None]).any(dim=1).float().mean()),
        lambda r, t, k: np.longdouble(recall(r, t, k)),
    ],
    mistakes=[
        *wrong_cuts(recall),
        *(
            (of_some(recall, kept), EMPTY_LISTS)
            for kept in (
                lambda r, k: (r != NO_ITEM).all(axis=1),
                lambda r, k: (r != NO_ITEM).any(axis=1),
                lambda r, k: (r[:, :k] != NO_ITEM).all(axis=1),
            )
        ),
        (
            lambda r, t, k: found_at(r, t)[:, :k].sum() / r.shape[1],
            "the hits divided by the length of a list. Divide by the number of cases.",
        ),
        (lambda r, t, k: float(hits(r, t, k).any()), "one `any` for the whole table: `axis=1`."),
        (lambda r, t, k: np.isin(t, r[:, :k]).mean(), WHOSE_LIST),
        (lambda r, t, k: np.isin(t, r).mean(), WHOSE_LIST),
        (lambda r, t, k: found_at(r, t)[:, :k].any(axis=0).mean(), WRONG_AXIS),
        (lambda r, t, k: found_at(r, t)[:, :k].any(axis=0).sum() / len(t), WRONG_AXIS),
        (
            lambda r, t, k: found_at(r, t).mean(),
            "a mean over all places. First ask of every row whether its target is there: "
            "`.any(axis=1)`.",
        ),
        (
            lambda r, t, k: (found_at(r, t).argmax(axis=1) < k).mean(),
            "a miss becomes a hit: `argmax` gives it 0, and -1 is below k.",
        ),
        (lambda r, t, k: hits(r, t, k).sum() / max(1, found_at(r, t).any(axis=1).sum()), NOT_FOUND),
        (lambda r, t, k: np.isin(r[:, :k], t).any(axis=1).mean(), WHOSE_LIST),
        (
            lambda r, t, k: (r[:, 0] == t).mean(),
            "the first place alone; the first k count.",
        ),
        (
            lambda r, t, k: (r[:, k - 1] == t).mean(),
            "place k alone: `ranked[:, k - 1]`. The first k are `ranked[:, :k]`.",
        ),
        (mean_of_one_row, f"a mean over all places, and {COLUMN}"),
        (lambda r, t, k: 1 - recall(r, t, k), "the misses counted."),
        (
            ndcg,
            "a discount by rank. Recall does not ask where in the first k the target stands.",
        ),
        (one_row_of_targets, COLUMN),
        (one_row_of_targets_first, COLUMN),
        (in_torch(one_row_of_targets), COLUMN),
        (in_torch(one_row_of_targets_first), COLUMN),
    ],
    clues=several_numbers(lambda r, t, k: found_at(r, t)[:, :k]),
)


def ndcg_with(worth: Callable, join: Callable = lambda gains, k: gains.mean()) -> Callable:
    """NDCG with another worth of a rank, or another number made of the cases' gains."""

    def answer(ranked, targets, k):
        found = found_at(ranked, targets)[:, :k]
        with np.errstate(all="ignore"):
            return join(np.where(found, worth(np.arange(k)), 0.0).sum(axis=1), k)

    return answer


def right_worth(rank: Array) -> Array:
    return 1 / np.log2(rank + 2)


def ndcg_by_loop(ranked, targets, k):
    total = 0.0
    for row, target in zip(ranked.tolist(), targets.tolist()):
        if target in row[:k]:
            total += right_worth(row.index(target))
    return total / len(ranked)


def times_infinity(r, t, k):
    with np.errstate(all="ignore"):
        return (found_at(r, t)[:, :k] * (1 / np.log2(np.arange(k) + 1))).sum(axis=1).mean()


def misses_at_minus_one(r, t, k):
    rank = np.where(hits(r, t, k), found_at(r, t).argmax(axis=1), -1)
    with np.errstate(all="ignore"):
        return (1 / np.log2(rank + 2)).mean()


def log_and_two(r, t, k):
    with np.errstate(all="ignore"):
        return (found_at(r, t)[:, :k] / np.log2(np.arange(k)) + 2).sum(axis=1).mean()


def one_row_for_gains(r, t, k):
    return ((r[:, :k] == t) * right_worth(np.arange(k))).sum(axis=1).mean()


FIRST_IS_INFINITE = "log2(rank + 1) with ranks from 0: the first place divides by log2(1) = 0."
MISS_IS_FIRST = "`argmax`, which is 0 for a row without the target: a miss becomes a first place."
BRACKETS = (
    "brackets around the comparison are missing: Python computes `/` and `*` before `==`. Write "
    "`(ranked[:, :k] == targets[:, None]) * worth`."
)
LOG_BRACKETS = "brackets: the discount is `log2(rank + 2)`, not `log2(rank) + 2`."

NDCG = Exercise(
    reference=ndcg,
    cases=list_cases,
    returns=["ndcg"],
    right=[
        ndcg_by_loop,
        ndcg_with(right_worth),
        lambda r, t, k: table_of_gains(r, t, k).max(axis=1).mean(),
    ],
    mistakes=[
        *wrong_cuts(ndcg),
        (
            lambda r, t, k: (found_at(r[:, :10], t) * right_worth(np.arange(10))).sum(1).mean(),
            "10 written into the function; use its argument k.",
        ),
        (
            ndcg_with(lambda rank: 1 / np.log(rank + 2)),
            "the natural logarithm; the discount is `np.log2`. The first place is worth 1.",
        ),
        (
            ndcg_with(lambda rank: 1 / np.log10(rank + 2)),
            "the logarithm to base 10; the discount is `np.log2`.",
        ),
        (ndcg_with(lambda rank: 1 / np.log2(rank + 1)), FIRST_IS_INFINITE),
        (times_infinity, FIRST_IS_INFINITE),
        (
            ndcg_with(lambda rank: 1 / np.log2(rank + 3)),
            "a rank that is one too high: the first place is worth 1 / log2(2) = 1.",
        ),
        (
            ndcg_with(lambda rank: 1 / (rank + 1)),
            "1 / (rank + 1), the reciprocal rank; the logarithm is missing.",
        ),
        (
            ndcg_with(lambda rank: 1 / (rank + 2)),
            "1 / (rank + 2); the logarithm is missing.",
        ),
        (
            ndcg_with(lambda rank: np.log2(rank + 2)),
            "log2(rank + 2) as it is. Divide by it, so that lower places count less.",
        ),
        (
            ndcg_with(lambda rank: 1 / np.log2(rank + 2) ** 2),
            "the discount applied twice.",
        ),
        (
            lambda r, t, k: (r[:, :k] == t[:, None] * right_worth(np.arange(k))).sum(1).mean(),
            BRACKETS,
        ),
        (
            ndcg_with(lambda rank: right_worth(rank[::-1])),
            "places counted from the end: the first place is worth most.",
        ),
        (
            lambda r, t, k: recall(r, t, k) / np.log2(k + 2),
            "k in place of the rank: how much a hit is worth depends on where it is.",
        ),
        (
            ndcg_with(lambda rank: 1 / (1 + np.log2(rank + 1))),
            "1 / (1 + log2(rank + 1)), another discount; here it is 1 / log2(rank + 2).",
        ),
        (
            lambda r, t, k: (np.isin(r[:, :k], t) * right_worth(np.arange(k))).sum(1).mean(),
            WHOSE_LIST,
        ),
        (ndcg_with(lambda rank: 1 / (np.log2(rank) + 2)), LOG_BRACKETS),
        (ndcg_with(lambda rank: 1 / np.log2(rank) + 2), LOG_BRACKETS),
        (log_and_two, LOG_BRACKETS),
        (lambda r, t, k: right_worth(found_at(r, t)[:, :k].argmax(axis=1)).mean(), MISS_IS_FIRST),
        (
            lambda r, t, k: (
                right_worth(found_at(r, t).argmax(1)) * (found_at(r, t).argmax(1) < k)
            ).mean(),
            MISS_IS_FIRST,
        ),
        (
            misses_at_minus_one,
            "a miss with rank -1 is worth 1 / log2(1), which is infinite. A miss is worth 0.",
        ),
        (
            ndcg_with(right_worth, lambda gains, k: gains.mean() / right_worth(np.arange(k)).sum()),
            "the ideal list of k targets. With one target it is worth 1.",
        ),
        (
            recall,
            "no discount: this is recall. A target far down should count for less.",
        ),
        (
            ndcg_with(right_worth, lambda gains, k: gains.sum() / max(1, (gains > 0).sum())),
            NOT_FOUND,
        ),
        (ndcg_with(right_worth, lambda gains, k: gains.sum() / (gains > 0).sum()), NOT_FOUND),
        *(
            (of_some(ndcg, kept), EMPTY_LISTS)
            for kept in (
                lambda r, k: (r != NO_ITEM).all(axis=1),
                lambda r, k: (r != NO_ITEM).any(axis=1),
                lambda r, k: (r[:, :k] != NO_ITEM).all(axis=1),
            )
        ),
        (one_row_for_gains, COLUMN),
        (in_torch(one_row_of_targets), COLUMN),
        (in_torch(one_row_of_targets_first), COLUMN),
    ],
    clues=several_numbers(table_of_gains),
)

# 0.1 Writing a name: chances, a function of the codes so far; trie, dictionaries -> codes


class Chances:
    """Drawn probabilities in the place of a model: of every code after every beginning of a name.

    Those after one beginning are all different, hundredths that need not add up to 1.
    """

    def __init__(self, generator: Generator, n_codes: int, depth: int):
        beginnings = [b for n in range(depth) for b in product(range(n_codes), repeat=n)]
        self.depth = depth
        self.table = {
            beginning: (torch.randperm(60, generator=generator)[:n_codes] + 1).numpy() / 100
            for beginning in beginnings
        }

    def __call__(self, written: Sequence[int]) -> Array:
        codes = tuple(int(code) for code in written)
        if len(codes) >= self.depth:
            raise ValueError(f"{list(codes)} is a whole name: nothing comes after it")
        return self.table[codes].copy()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chances) and same(self.table, other.table)

    def __repr__(self) -> str:
        return ", ".join(f"{list(b)}: {row.tolist()}" for b, row in self.table.items())


def trie_of(names: Sequence[Sequence[int]]) -> dict:
    trie: dict = {}
    for name in names:
        node = trie
        for code in name:
            node = node.setdefault(code, {})
    return trie


def names_in(trie: dict, before: Sequence[int] = ()) -> list[list[int]]:
    """All names of a trie."""
    if not trie:
        return [list(before)]
    return [name for code, node in trie.items() for name in names_in(node, [*before, code])]


def write_cases(generator: Generator) -> list[Case]:
    """(codes a level, depth, names). The likeliest first code begins no name. From three levels on
    the name is not the likeliest of all, and each step depends on every code before it.
    """
    shapes = [(3, 1, 2), (3, 2, 3), (4, 3, 12), (4, 4, 40), (4, 5, 90)]
    return [_write_case(generator, *shape) for shape in shapes]


def _write_case(generator: Generator, n_codes: int, depth: int, n_names: int) -> Case:
    while True:
        chances = Chances(generator, n_codes, depth)
        best = int(chances([]).argmax())
        every = [n for n in product(range(n_codes), repeat=depth) if n[0] != best]
        chosen = torch.randperm(len(every), generator=generator)[:n_names].tolist()
        trie = trie_of([every[i] for i in chosen])
        others = [likeliest_name, by_last_code, by_turned_codes] if depth > 2 else []
        name = write(chances, trie)
        if len(trie) > 1 and all(other(chances, trie) != name for other in others):
            return {"chances": chances, "trie": trie}


def likeliest(p: Array, node: dict) -> int:
    return max(node, key=lambda code: p[code])


def writer(
    pick: Callable = likeliest,
    ask: Callable = lambda chances, written: chances(written),
    go: Callable = lambda node, code, trie: node[code],
    put: Callable = lambda written, code, p, node: [*written, code],
    going: Callable = lambda node, written: bool(node),
    result: Callable = lambda written: written,
) -> Callable:
    """A name written code by code, one of whose steps may be replaced."""

    def answer(chances, trie):
        node, written, shown = trie, [], []
        while going(node, written):
            p = ask(chances, written)
            code = pick(p, node)
            shown = put(shown, code, p, node)
            written = [*written, code]
            node = go(node, code, trie)
        return result(shown)

    return answer


def write(chances: Callable, trie: dict) -> list[int]:
    return writer()(chances, trie)


def write_by_recursion(chances, trie, written=()):
    if not trie:
        return list(written)
    code = sorted(trie, key=lambda code: -chances(list(written))[code])[0]
    return write_by_recursion(chances, trie[code], (*written, code))


def write_by_mask(chances, trie):
    node, written = trie, []
    while node:
        p = chances(written)
        held = np.full(len(p), -np.inf)
        held[list(node)] = p[list(node)]
        written.append(held.argmax())
        node = node[written[-1]]
    return written


def likeliest_name(chances, trie):
    """The name whose product is largest."""

    def probability(name):
        return np.prod([chances(name[:i])[code] for i, code in enumerate(name)])

    return max(names_in(trie), key=probability)


by_last_code = writer(ask=lambda chances, written: chances(written[-1:]))
by_turned_codes = writer(ask=lambda chances, written: chances(written[::-1]))


def one_step(chances, trie):
    return [likeliest(chances([]), trie)]


def place(p: Array, node: dict) -> int:
    return int(np.argmax([p[code] for code in node]))


def by_places(chances, trie):
    node, written = trie, []
    while node:
        written.append(place(chances(written), node))
        node = list(node.values())[written[-1]]
    return written


FREE = (
    "the likeliest of all codes, which may lead to no film. Choose among the keys of the "
    "dictionary at which you are."
)
PLACE = (
    "the place of a code among the keys, where the code itself is asked for: `max(node, key=...)` "
    "gives the key."
)
FOUR = "4 written into the function. Go on until the dictionary is empty, `while node:`."
STAYS = "always the first dictionary: after each code go on in its own, `node = node[code]`."

WRITE = Exercise(
    reference=write,
    cases=write_cases,
    returns=["the name"],
    right=[
        write_by_recursion,
        write_by_mask,
        writer(put=lambda written, code, p, node: [*written, np.int64(code)]),
    ],
    mistakes=[
        (writer(pick=lambda p, node: int(p.argmax())), FREE),
        (
            writer(
                pick=lambda p, node: int(p.argmax()), go=lambda node, code, trie: node.get(code, {})
            ),
            FREE,
        ),
        (
            writer(
                pick=lambda p, node: int(p.argmax()), going=lambda node, written: len(written) < 4
            ),
            FREE,
        ),
        (
            writer(
                pick=lambda p, node: int(p.argmax()),
                go=lambda node, code, trie: node,
                going=lambda node, written: len(written) < 4,
            ),
            f"{FREE} And {FOUR}",
        ),
        (
            writer(
                pick=lambda p, node: (
                    int(p.argmax()) if int(p.argmax()) in node else next(iter(node))
                )
            ),
            "the first key, where the likeliest code is none. Take the likeliest of the keys.",
        ),
        (
            writer(pick=lambda p, node: min(node, key=lambda code: p[code])),
            "the least likely of the keys: `min` for `max`, or a sort that goes upwards.",
        ),
        (
            writer(pick=lambda p, node: max(node)),
            "the largest code. `max(node)` compares codes; `max(node, key=lambda code: p[code])` "
            "compares their probabilities.",
        ),
        (
            writer(pick=lambda p, node: next(iter(node))),
            "the first key, whatever the probabilities say.",
        ),
        (writer(put=lambda written, code, p, node: [*written, place(p, node)]), PLACE),
        (by_places, PLACE),
        (
            writer(result=lambda written: []),
            "the codes are not collected: `written.append(code)` is missing.",
        ),
        (
            writer(ask=lambda chances, written: chances([])),
            "the chances of the first code at every step. Ask again after each code: "
            "`chances(written)`.",
        ),
        (
            by_last_code,
            "`chances` is given the last code alone. It needs all codes so far.",
        ),
        (
            by_turned_codes,
            "the codes are given to `chances` in the wrong order.",
        ),
        (writer(go=lambda node, code, trie: trie), STAYS),
        (
            writer(go=lambda node, code, trie: trie, going=lambda node, written: len(written) < 4),
            f"{STAYS} And {FOUR}",
        ),
        (writer(going=lambda node, written: len(written) < 4), FOUR),
        (writer(going=lambda node, written: node and len(written) < 4), FOUR),
        (
            writer(going=lambda node, written: len(node) > 1),
            "it stops where only one code is left to choose. That code belongs to the name, too.",
        ),
        (
            writer(going=lambda node, written: any(node.values())),
            "it stops one code too early. The dictionary of the last codes holds empty ones.",
        ),
        (one_step, "the first code alone: a `return` inside the loop."),
        (
            writer(put=lambda written, code, p, node: [code]),
            "the last code alone. Keep all codes: `written.append(code)`.",
        ),
        (
            writer(put=lambda written, code, p, node: [code, *written]),
            "the name read backwards: put every new code at the end.",
        ),
        (
            writer(put=lambda written, code, p, node: [*written, float(p[code])]),
            "probabilities. Return the codes.",
        ),
        (
            likeliest_name,
            "the name whose product of probabilities is largest. That is a better answer than was "
            "asked for, and it takes a look at every film: here take the likeliest code at each "
            "step, and never go back.",
        ),
    ],
    clues=[
        (
            lambda found, right, case: isinstance(found, (int, np.integer)),
            "a code that is not the likeliest of those that may come next. Print `written`, "
            "`chances(written)` and the keys at each step.",
            writer(result=lambda written: [code + 1 for code in written]),
        ),
    ],
    stops={
        "whole name": "The dictionary after the last code is empty: stop there, `while node:`.",
        "KeyError": "The key is not in the dictionary: choose among its keys.",
        "iterable argument is empty": "The dictionary after the last code is empty: stop there.",
        "'>' not supported": "Compare probabilities, not dictionaries: `key=lambda code: p[code]`.",
    },
)

EXERCISES = {"0.1": WRITE, "0.2": RECALL, "0.3": HOLD_OUT, "0.4": NDCG}
