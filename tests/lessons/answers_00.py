"""Answers to lesson 00: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import numpy as np
import pandas as pd
import torch

NAMES = {"np": np}
"""What the notebook has imported by the time it reaches its exercises."""

EMPTY = np.zeros(0, dtype=np.int64)

# 0.1 hold out the last n


def hold_out_by_parts(items, n):
    if len(items) < 2 * n + 1:
        return items, items[:0], items[:0]
    train, valid, test = np.split(items, [len(items) - 2 * n, len(items) - n])
    return train, valid, test


def hold_out_by_position(items, n):
    first, last = len(items) - 2 * n, len(items) - n
    if first < 1:
        return items.copy(), EMPTY, EMPTY
    return items[:first], items[first:last], items[last:]


def hold_out_with(too_short, nothing=lambda items: items[:0]):
    """Right but for the lists that it takes for too short, or for what it returns of them."""

    def answer(items, n):
        if too_short(len(items), n):
            return items, nothing(items), nothing(items)
        return items[: -2 * n], items[-2 * n : -n], items[-n:]

    return answer


def right_length(length, n):
    return length < 2 * n + 1


def long_enough(cut):
    """A mistake that is made on lists of sufficient length only."""

    def answer(items, n):
        return cut(items, n) if len(items) > 2 * n else (items, items[:0], items[:0])

    return answer


def hold_out_by_id(items, n):
    return items[~np.isin(items, items[-2 * n :])], items[-2 * n : -n], items[-n:]


def hold_out_by_id_twice(items, n):
    rest = items[~np.isin(items, items[-n:])]
    return rest[:-n], rest[-n:], items[-n:]


def hold_out_by_sets(items, n):
    rest = np.setdiff1d(items, items[-n:])
    return (
        np.setdiff1d(rest, items[-2 * n : -n]),
        np.unique(items[-2 * n : -n]),
        np.unique(items[-n:]),
    )


# 0.2 recall


def recall_by_loop(ranked, targets, k):
    hits = 0
    for row, target in zip(ranked, targets, strict=True):
        hits += target in row[:k].tolist()
    return hits / len(targets)


def recall_by_comparison(ranked, targets, k):
    return (ranked == targets[:, None])[:, :k].sum() / len(ranked)


def recall_in_torch(ranked, targets, k):
    return (
        (torch.from_numpy(ranked)[:, :k] == torch.from_numpy(targets)[:, None])
        .any(dim=1)
        .float()
        .mean()
    )


def recall_by_argmax(ranked, targets, k):
    return ((ranked == targets[:, None]).argmax(axis=1) < k).mean()


def recall_by_index(ranked, targets, k):
    ranks = [
        row.index(target) if target in row else -1
        for row, target in zip(ranked.tolist(), targets, strict=True)
    ]
    return (np.array(ranks) < k).mean()


def of_whole_lists(ranked, targets, k):
    whole = (ranked != -1).all(axis=1)
    return (ranked[whole, :k] == targets[whole, None]).any(axis=1).mean() if whole.any() else 0.0


def of_lists_filled_to_k(ranked, targets, k):
    return of_whole_lists(ranked[:, :k], targets, k)


def of_answered_lists(measure):
    def answer(ranked, targets, k):
        answered = (ranked != -1).any(axis=1)
        return measure(ranked[answered], targets[answered], k) if answered.any() else 0.0

    return answer


def recall_of_the_first(ranked, targets, k):
    for row, target in zip(ranked, targets, strict=True):
        return float(target in row[:k])


# Not written where they are listed: what stops is shown with its line, which would hold the words
# that are looked for.


def recall_without_a_column(ranked, targets, k):
    return (ranked[:, :k] == targets).any(axis=1).sum() / len(targets)


def recall_with_the_row_first(ranked, targets, k):
    return (targets == ranked[:, :k]).any(axis=1).sum() / len(targets)


def in_torch(measure):
    return lambda ranked, targets, k: measure(
        torch.from_numpy(ranked), torch.from_numpy(targets), k
    )


# 0.3 NDCG


def ndcg_by_discounts(ranked, targets, k):
    discounts = 1 / np.log2(np.arange(2, k + 2))
    return float(
        ((ranked[:, :k] == targets.reshape(-1, 1)) * discounts[: ranked.shape[1]])
        .sum(axis=1)
        .mean()
    )


def ndcg_without_a_column(ranked, targets, k):
    discounts = 1 / np.log2(np.arange(2, k + 2))
    return ((ranked[:, :k] == targets) * discounts).sum(axis=1).mean()


def ndcg_by_loop(ranked, targets, k):
    total = 0.0
    for row, target in zip(ranked.tolist(), targets.tolist(), strict=True):
        if target in row[:k]:
            total += 1 / np.log2(row.index(target) + 2)
    return total / len(ranked)


def ndcg_with(discount, cut=lambda k: k, over=lambda gains, k: gains.mean()):
    """The first k places, each worth discount(rank), then one number of the cases' gains."""

    def answer(ranked, targets, k):
        found = (ranked == targets[:, None])[:, : cut(k)]
        with np.errstate(divide="ignore"):
            worth = discount(np.arange(found.shape[1]))
        return float(over(np.where(found, worth, 0.0).sum(axis=1), k))

    return answer


def gains_at_places(ranked, targets, k):
    return (ranked[:, :k] == targets[:, None]) / np.log2(np.arange(k) + 2)


def ndcg_by_maximum(ranked, targets, k):
    return gains_at_places(ranked, targets, k).max(axis=1).mean()


def ndcg_by_argmax(ranked, targets, k):
    rank = (ranked[:, :k] == targets[:, None]).argmax(axis=1)
    return (1 / np.log2(rank + 2)).mean()


def ndcg_by_table_of_discounts(ranked, targets, k):
    with np.errstate(divide="ignore", invalid="ignore"):
        discounts = 1 / np.log2(np.arange(k) + 1)
        return ((ranked[:, :k] == targets[:, None]) * discounts).sum(axis=1).mean()


def ndcg_of_the_first(ranked, targets, k):
    for row, target in zip(ranked, targets, strict=True):
        places = np.flatnonzero(row[:k] == target)
        return 1 / np.log2(places[0] + 2) if len(places) else 0.0


def right_discount(rank):
    return 1 / np.log2(rank + 2)


# 0.4 popularity


def popularity_by_loop(sequences, n, n_items):
    counts = [0] * n_items
    for items in sequences:
        kept = len(items) - 2 * n if len(items) >= 2 * n + 1 else len(items)
        for item in items[:kept]:
            counts[item] += 1
    return np.array(sorted(range(n_items), key=lambda item: (-counts[item], item)))


def popularity_by_sort(sequences, n, n_items):
    train = np.concatenate([one[: -2 * n] if len(one) > 2 * n else one for one in sequences])
    return np.lexsort((np.arange(n_items), -np.bincount(train, minlength=n_items)))


def popularity_in_pandas(sequences, n, n_items):
    counts = pd.Series(training_counts(sequences, n, n_items))
    return counts.sort_values(ascending=False, kind="stable").index.to_numpy()


def training_counts(sequences, n, n_items):
    train = [one[: -2 * n] if len(one) > 2 * n else one for one in sequences]
    return np.bincount(np.concatenate(train), minlength=n_items)


def ranked_by(parts):
    """Popularity counted on something else than the training part."""

    def answer(sequences, n, n_items):
        kept = np.concatenate([parts(one, n) for one in sequences])
        return np.argsort(-np.bincount(kept, minlength=n_items), kind="stable")

    return answer


def marked_by(parts):
    """`+=` at a list of places adds 1 once, however often a place is in it."""

    def answer(sequences, n, n_items):
        counts = np.zeros(n_items, dtype=np.int64)
        counts[np.concatenate([parts(one, n) for one in sequences])] += 1
        return np.argsort(-counts, kind="stable")

    return answer


def popularity_by_add_at(sequences, n, n_items):
    counts = np.zeros(n_items)
    for one in sequences:
        np.add.at(counts, one[: -2 * n] if len(one) > 2 * n else one, 1)
    return np.argsort(-counts, kind="stable")


def marked_list_by_list(sequences, n, n_items):
    counts = np.zeros(n_items, dtype=np.int64)
    for one in sequences:
        counts[one[: -2 * n] if len(one) > 2 * n else one] += 1
    return np.argsort(-counts, kind="stable")


RIGHT = {
    "0.1": [hold_out_by_parts, hold_out_by_position],
    "0.2": [
        recall_by_loop,
        recall_by_comparison,
        recall_in_torch,
        lambda *given: np.longdouble(recall_by_loop(*given)),
    ],
    "0.3": [ndcg_by_discounts, ndcg_by_loop, ndcg_by_maximum],
    "0.4": [popularity_by_loop, popularity_by_sort, popularity_in_pandas, popularity_by_add_at],
}

WRONG = [
    (
        "0.1",
        lambda items, n: (items[: -2 * n], items[-2 * n : -n], items[-n:]),
        "a list that is too short",
    ),
    (
        "0.1",
        long_enough(lambda x, n: (x[: -2 * n], x[-n:], x[-2 * n : -n])),
        "validation and test swapped",
    ),
    (
        "0.1",
        long_enough(lambda x, n: (x[:-n], x[-2 * n : -n], x[-n:])),
        "left in the training part",
    ),
    ("0.1", long_enough(lambda x, n: (x, x[-2 * n : -n], x[-n:])), "nothing taken away"),
    (
        "0.1",
        long_enough(lambda x, n: (x[2 * n :], x[n : 2 * n], x[:n])),
        "the first items held out",
    ),
    ("0.1", long_enough(lambda x, n: (x[: -2 * n], x[-2 * n :], x[-n:])), "runs to the end"),
    (
        "0.1",
        long_enough(lambda x, n: (x[: -2 * n], x[-2 * n : -n], x[-2 * n :])),
        "validation items in the test part",
    ),
    ("0.1", long_enough(lambda x, n: (x[: -2 * n], x[-2 * n : -n], x[-1:])), "the last item alone"),
    ("0.1", lambda x, n: hold_out_by_parts(np.sort(x), n), "sorted list"),
    ("0.1", lambda x, n: hold_out_by_parts(x, n)[::2], "three things"),
    ("0.1", lambda x, n: (x[:-2], x[-2], x[-1]), "two items held out"),
    (
        "0.1",
        lambda x, n: tuple(part.tolist() for part in hold_out_by_parts(x, n)),
        "should be an array",
    ),
    ("0.1", hold_out_with(lambda length, n: length < 2 * n), "a list that is too short"),
    ("0.1", hold_out_with(lambda length, n: length < 2 * n + 2), "taken for too short"),
    ("0.1", hold_out_with(right_length, lambda items: np.array([])), "made for fractions"),
    ("0.1", hold_out_with(right_length, lambda items: []), "an empty list"),
    (
        "0.1",
        lambda x, n: tuple(np.isin(x, part) for part in hold_out_by_parts(x, n)),
        "where it is true",
    ),
    ("0.1", hold_out_with(right_length, lambda items: None), "`None` for an empty part"),
    (
        "0.1",
        lambda x, n: tuple(part.astype(float) for part in hold_out_by_parts(x, n)),
        "conversion to fractions",
    ),
    ("0.1", lambda x, n: tuple(part[::-1] for part in hold_out_by_parts(x, n)), "read backwards"),
    ("0.1", lambda x, n: hold_out_by_parts(x, n)[::-1], "another order"),
    ("0.1", lambda x, n: hold_out_by_parts(x, 1), "whatever n is"),
    (
        "0.1",
        long_enough(lambda x, n: (x[: -2 * n], x[-2 * n : -n - 1], x[-n:])),
        "stops one too early",
    ),
    (
        "0.1",
        long_enough(lambda x, n: (x[: -2 * n], x[-2 * n - 1 : -n - 1], x[-n:])),
        "one place too far",
    ),
    (
        "0.1",
        long_enough(lambda x, n: (x[: -2 * n], x[-2 * n : -n], x[-n:-1])),
        "the last item left out",
    ),
    ("0.1", long_enough(lambda x, n: (x[: -2 * n], x[-1], x[-n:])), "a place instead of a slice"),
    ("0.1", lambda x, n: hold_out_by_parts(np.arange(len(x)), n), "Number the items"),
    ("0.1", lambda x, n: hold_out_by_parts(x, 5), "5 written into the function"),
    ("0.1", lambda x, n: (x[:-10], x[-10:-5], x[-5:]), "5 written into the function"),
    (
        "0.1",
        long_enough(lambda x, n: (x[: -2 * n], x[-10:-5], x[-n:])),
        "5 written into the function",
    ),
    (
        "0.1",
        long_enough(lambda x, n: (x[: -2 * n], x[-2 * n : -n], x[-5:])),
        "5 written into the function",
    ),
    ("0.1", long_enough(hold_out_by_id), "taken out by their id"),
    ("0.1", long_enough(hold_out_by_id_twice), "taken out by their id"),
    ("0.1", long_enough(hold_out_by_sets), "a sorted part"),
    (
        "0.1",
        long_enough(lambda x, n: (x[: -2 * n], np.unique(x[-2 * n : -n]), x[-n:])),
        "a sorted part",
    ),
    ("0.2", lambda r, t, k: recall_by_loop(r, t, 10), "10 written into the function"),
    ("0.2", of_lists_filled_to_k, "lists with a -1 left out"),
    ("0.2", lambda r, t, k: recall_by_loop(r, t, k + 1), "one place too many"),
    ("0.2", lambda r, t, k: recall_by_loop(r, t, k - 1), "one place too few"),
    (
        "0.2",
        lambda r, t, k: (r[:, 1 : k + 1] == t[:, None]).any(axis=1).mean(),
        "Python counts from 0",
    ),
    ("0.2", of_answered_lists(recall_by_comparison), "lists with a -1 left out"),
    ("0.2", of_whole_lists, "lists with a -1 left out"),
    ("0.2", lambda r, t, k: (r[:, :k] == t[:, None]).any(axis=0).sum() / len(t), "the wrong axis"),
    ("0.2", lambda r, t, k: recall_by_loop(r, t, r.shape[1]), "whole list"),
    ("0.2", lambda r, t, k: recall_by_loop(r, t, k) / k, "precision"),
    ("0.2", lambda r, t, k: recall_by_loop(r, t, k) * len(t), "sum over cases"),
    ("0.2", lambda r, t, k: np.isin(t, r[:, :k]).mean(), "everybody's list"),
    ("0.2", lambda r, t, k: (r[:, :k] == t[:, None]).any(), "one `any` for the whole table"),
    ("0.2", lambda r, t, k: (r[:, :k] == t[:, None]).any(axis=1), "a value per case"),
    ("0.2", lambda r, t, k: (r[:, :k] == t[:, None]).any(axis=1).tolist(), "a value per case"),
    ("0.2", lambda r, t, k: (r[:, :k] == t[:, None]).any(axis=0).mean(), "the wrong axis"),
    ("0.2", lambda r, t, k: (r[:, :k] == t[:, None]).mean(axis=0), "a value per place"),
    ("0.2", lambda r, t, k: (r == t[:, None]).mean(axis=0).tolist(), "a value per place"),
    ("0.2", lambda r, t, k: r[:, :k] == t[:, None], "a value per case and place"),
    ("0.2", lambda r, t, k: (r == t[:, None]).tolist(), "a value per case and place"),
    (
        "0.2",
        lambda r, t, k: np.array([recall_by_loop(r, t, k)]),
        "a reduction that is missing, or `keepdims=True`",
    ),
    (
        "0.2",
        lambda r, t, k: (r[:, :k] == t[:, None]).any(axis=1, keepdims=True),
        "or `keepdims=True`",
    ),
    ("0.2", lambda r, t, k: (r[:k] == t[:k, None]).any(axis=1).mean(), "the first k cases"),
    ("0.2", lambda r, t, k: (r[:, -k:] == t[:, None]).any(axis=1).mean(), "the last k places"),
    ("0.2", lambda r, t, k: (r == t[:, None]).mean(), "a mean over all places"),
    ("0.2", lambda r, t, k: np.mean([one in r for one in t]), "everybody's list"),
    ("0.2", lambda r, t, k: 100 * recall_by_loop(r, t, k), "percentage"),
    ("0.2", recall_by_argmax, "a miss becomes a hit"),
    ("0.2", recall_by_index, "-1 is below k"),
    ("0.2", recall_of_the_first, "a `return` inside the loop"),
    ("0.2", lambda r, t, k: (r[:, :k] == t[:, None]).any().mean(), "one `any` for the whole table"),
    ("0.2", lambda r, t, k: (r[:, :k] == t[:, None]).sum() / k, "the hits divided by k"),
    (
        "0.2",
        lambda r, t, k: (r[:, :k] == t[:, None]).sum() / r.shape[1],
        "divided by the length of a list",
    ),
    ("0.2", lambda r, t, k: int(recall_by_loop(r, t, k)), "none that we know"),
    ("0.2", ndcg_by_loop, "a discount by rank"),
    ("0.2", lambda r, t, k: 1 - recall_by_loop(r, t, k), "the misses counted"),
    ("0.2", recall_without_a_column, "`targets` needs to be a column: `targets[:, None]`."),
    ("0.2", recall_with_the_row_first, "`targets` needs to be a column"),
    ("0.2", in_torch(recall_without_a_column), "`targets` needs to be a column"),
    ("0.2", in_torch(recall_with_the_row_first), "`targets` needs to be a column"),
    ("0.3", ndcg_without_a_column, "`targets` needs to be a column"),
    ("0.3", ndcg_with(lambda rank: 1 / np.log(rank + 2)), "natural logarithm"),
    ("0.3", ndcg_with(lambda rank: 1 / np.log10(rank + 2)), "base 10"),
    ("0.3", ndcg_with(lambda rank: 1 / np.log2(rank + 1)), "log2(1) = 0"),
    ("0.3", ndcg_with(lambda rank: 1 / np.log2(rank + 3)), "one too high"),
    ("0.3", ndcg_with(lambda rank: 1 / (rank + 1)), "reciprocal rank"),
    ("0.3", ndcg_with(right_discount, over=lambda gains, k: gains.mean() / k), "division by k"),
    ("0.3", ndcg_with(right_discount, cut=lambda k: 10**6), "whole list"),
    ("0.3", ndcg_with(right_discount, cut=lambda k: k + 1), "one place too many"),
    ("0.3", ndcg_with(right_discount, over=lambda gains, k: gains.sum()), "sum over cases"),
    (
        "0.3",
        ndcg_with(right_discount, over=lambda g, k: g.sum() / max(1, (g > 0).sum())),
        "A miss counts as 0",
    ),
    (
        "0.3",
        ndcg_with(right_discount, over=lambda g, k: g.mean() / right_discount(np.arange(k)).sum()),
        "ideal list",
    ),
    ("0.3", ndcg_with(lambda rank: np.log2(rank + 2)), "Divide by it"),
    ("0.3", lambda r, t, k: gains_at_places(r, t, k).sum(axis=0).mean(), "along each list"),
    ("0.3", lambda r, t, k: gains_at_places(r, t, k).sum(axis=1), "a value per case"),
    ("0.3", lambda r, t, k: gains_at_places(r, t, k).mean(axis=0), "a value per place"),
    ("0.3", gains_at_places, "a value per case and place"),
    ("0.3", ndcg_by_argmax, "a miss becomes a first place"),
    ("0.3", ndcg_by_table_of_discounts, "log2(1) = 0"),
    ("0.3", of_answered_lists(ndcg_by_loop), "empty lists left out"),
    ("0.3", ndcg_of_the_first, "the first list alone"),
    ("0.3", ndcg_with(lambda rank: 1 - rank / 100), "none that we know"),
    ("0.3", lambda r, t, k: ndcg_by_loop(r, t, 10), "10 written into the function"),
    ("0.3", recall_by_loop, "this is recall"),
    (
        "0.4",
        lambda s, n, m: torch.from_numpy(popularity_by_sort(s, n, m)),
        "a torch function on the way",
    ),
    ("0.4", ranked_by(lambda one, n: one), "counting on all interactions"),
    (
        "0.4",
        ranked_by(lambda one, n: one[:-n] if len(one) > 2 * n else one),
        "validation items too",
    ),
    ("0.4", ranked_by(lambda one, n: one[:-n]), "validation items too"),
    (
        "0.4",
        ranked_by(lambda one, n: one[2 * n :] if len(one) > 2 * n else one),
        "the first items held out",
    ),
    ("0.4", ranked_by(lambda one, n: one if len(one) < 2 * n else one[: -2 * n]), "cut to nothing"),
    (
        "0.4",
        ranked_by(lambda one, n: one if len(one) < 2 * n + 2 else one[: -2 * n]),
        "taken for too short",
    ),
    (
        "0.4",
        lambda s, n, m: np.argsort(-np.trim_zeros(training_counts(s, n, m), "b"), kind="stable"),
        "minlength",
    ),
    ("0.4", lambda s, n, m: popularity_by_sort(s, n, m)[:3], "items left out"),
    ("0.4", lambda s, n, m: np.argsort(popularity_by_sort(s, n, m)), "the place of every item"),
    ("0.4", lambda s, n, m: np.sort(training_counts(s, n, m))[::-1], "counts themselves"),
    ("0.4", lambda s, n, m: np.argsort(training_counts(s, n, m))[::-1], "higher item id"),
    ("0.4", lambda s, n, m: np.append(popularity_by_sort(s, n, m), m), "more than n_items entries"),
    ("0.4", lambda s, n, m: np.roll(popularity_by_sort(s, n, m), 1), "none that we know"),
    ("0.4", lambda s, n, m: popularity_by_sort(s, 5, m), "5 written into the function"),
    ("0.4", marked_list_by_list, "an item counted once that a list has twice"),
    ("0.4", ranked_by(lambda one, n: one[: -2 * n]), "forgetting the short lists"),
    (
        "0.4",
        ranked_by(lambda one, n: one[: len(one) - 2 * n]),
        "With fewer than 2n + 1 items all are training",
    ),
    ("0.4", marked_by(lambda one, n: one[: -2 * n] if len(one) > 2 * n else one), "adds 1 once"),
    ("0.4", marked_by(lambda one, n: one), "adds 1 once"),
    (
        "0.4",
        ranked_by(lambda one, n: one[~np.isin(one, one[-2 * n :])] if len(one) > 2 * n else one),
        "by their id",
    ),
    (
        "0.4",
        ranked_by(lambda one, n: one[~np.isin(one, one[-2 * n :])]),
        "forgetting the short lists",
    ),
    ("0.4", lambda s, n, m: popularity_by_sort(s, n, m).astype(float), "conversion to fractions"),
    (
        "0.4",
        ranked_by(lambda one, n: one[-2 * n :] if len(one) > 2 * n else one[:0]),
        "instead of the training part",
    ),
    ("0.4", lambda s, n, m: popularity_by_sort(s, n, m)[::-1], "least popular first"),
    (
        "0.4",
        lambda s, n, m: np.argsort(training_counts(s, n, m), kind="stable"),
        "least popular first",
    ),
    (
        "0.4",
        lambda s, n, m: np.argsort(training_counts(s, n, m), kind="stable")[::-1],
        "higher item id",
    ),
    ("0.4", lambda s, n, m: np.argsort(-training_counts(s, n, m)), "order of ties open"),
    ("0.4", training_counts, "counts themselves"),
    (
        "0.4",
        lambda s, n, m: np.lexsort((-np.arange(m) % 7, -training_counts(s, n, m))),
        "ties in another order",
    ),
    (
        "0.4",
        lambda s, n, m: [x for x in popularity_by_sort(s, n, m) if training_counts(s, n, m)[x]],
        "be an array",
    ),
    (
        "0.4",
        lambda s, n, m: np.array(
            [x for x in popularity_by_sort(s, n, m) if training_counts(s, n, m)[x]]
        ),
        "without an interaction left out",
    ),
]

HALF_RIGHT = {
    "hold-out": """
def my_hold_out(items, n):
    return items[:-2 * n], items[-n:], items[-2 * n:-n]
""",
    "recall": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
