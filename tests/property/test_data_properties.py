"""Splits, cases and k-core on random data against slow references written with lists."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlib.data.dataset import NO_ITEM, Dataset, Sequences, build_dataset, k_core

N_ITEMS = 12
users = st.lists(
    st.lists(st.integers(0, N_ITEMS - 1), min_size=3, max_size=14), min_size=1, max_size=6
)


def made(lists) -> Dataset:
    labels = [str(i) for i in range(len(lists))]
    return Dataset(
        "made", Sequences.from_lists(lists), pd.DataFrame(index=range(N_ITEMS)), "random", labels
    )


def slow_split(lists, held_out):
    """(training part per user, {part: [(user, history, target), ...]}), straight from the
    definitions.
    """
    train, cases = [], {"train": [], "valid": [], "test": []}
    for user, items in enumerate(lists):
        n = len(items)
        has_cases = n >= 2 * held_out + 1
        cut = n - 2 * held_out if has_cases else n
        train.append(items[:cut])
        for position in range(1, n):
            case = (user, items[:position], items[position])
            if position < cut:
                cases["train"].append(case)
            elif position < n - held_out:
                cases["valid"].append(case)
            else:
                cases["test"].append(case)
    return train, cases


@settings(max_examples=60, deadline=None)
@given(users, st.integers(1, 5), st.integers(1, 16))
def test_split_and_cases_equal_the_slow_reference(lists, held_out, length):
    split = made(lists).split(held_out)
    train, expected = slow_split(lists, held_out)
    assert [one.tolist() for one in split.train] == train
    assert split.train_counts.tolist() == [sum(t.count(i) for t in train) for i in range(N_ITEMS)]
    assert split.users_without_cases == sum(len(items) < 2 * held_out + 1 for items in lists)
    for part in ("train", "valid", "test"):
        cases = split.cases(part)
        assert len(cases) == len(expected[part])
        assert cases.users.tolist() == [user for user, _, _ in expected[part]]
        assert cases.targets.tolist() == [target for _, _, target in expected[part]]
        check_histories(cases, [history for _, history, _ in expected[part]], length)


@settings(max_examples=30, deadline=None)
@given(users, st.integers(1, 3), st.randoms(use_true_random=False))
def test_a_selection_of_cases_keeps_each_ones_history(lists, held_out, random):
    cases = made(lists).split(held_out).cases("test")
    index = np.array(
        [random.randrange(len(cases)) for _ in range(5)] if len(cases) else [], dtype=np.int64
    )
    chosen = cases[index]
    assert chosen.targets.tolist() == cases.targets[index].tolist()
    check_histories(chosen, [cases.history(int(i)).tolist() for i in index], 4)


def check_histories(cases, histories, length):
    """All views of the histories agree; and what recommenders get, `without_targets`, holds nothing
    more.
    """
    assert cases.lengths.tolist() == [len(h) for h in histories]
    padded = [[NO_ITEM] * max(0, length - len(h)) + h[-length:] for h in histories]
    pairs = [(i, item) for i, history in enumerate(histories) for item in history]
    for view in (cases, cases.without_targets()):
        assert [view.history(i).tolist() for i in range(len(view))] == histories
        assert view.recent(length).tolist() == padded
        assert list(zip(*(one.tolist() for one in view.flat_histories()), strict=True)) == pairs
    blind = cases.without_targets()
    assert blind.targets is None and blind.values.tolist() == [item for _, item in pairs]


tables = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), unique=True, max_size=40)


@settings(max_examples=60, deadline=None)
@given(tables, st.integers(1, 4))
def test_k_core_equals_dropping_one_row_owner_at_a_time(rows, k):
    frame = pd.DataFrame(rows, columns=["user", "item"]).astype("int64")
    left = list(rows)
    while True:
        poor = next(
            (
                (c, v)
                for c in (0, 1)
                for v in {r[c] for r in left}
                if sum(r[c] == v for r in left) < k
            ),
            None,
        )
        if poor is None:
            break
        left = [r for r in left if r[poor[0]] != poor[1]]
    assert list(k_core(frame, k).itertuples(index=False, name=None)) == left


timed = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from([31, 5, 200, 17, 90]), st.integers(0, 3)),
    min_size=1,
    max_size=25,
    unique_by=lambda row: row[:2],
)


@settings(max_examples=60, deadline=None)
@given(timed, st.randoms(use_true_random=False))
def test_build_dataset_orders_by_time_whatever_the_order_of_rows(rows, random):
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    items = pd.DataFrame({"title": {i: f"title {i}" for i in (200, 5, 17, 31, 90)}})
    dataset = build_dataset("made", frame, items, "random")
    ids = sorted({item for _, item, _ in rows})
    for row, user in enumerate(sorted({user for user, _, _ in rows})):
        time_of = {ids.index(item): time for u, item, time in rows if u == user}
        mine = dataset.sequences[row].tolist()
        assert dataset.user_labels[row] == str(user) and sorted(mine) == sorted(time_of)
        assert [time_of[item] for item in mine] == sorted(time_of.values())
    assert dataset.titles() == [f"title {i}" for i in ids]
    random.shuffle(rows)
    shuffled = build_dataset(
        "made", pd.DataFrame(rows, columns=["user", "item", "time"]), items, "random"
    )
    assert shuffled.fingerprint == dataset.fingerprint


@settings(max_examples=40, deadline=None)
@given(st.permutations(["b", "a", "c"]), st.permutations(["z", "y", "x"]))
def test_categories_sort_as_the_ids_do_and_not_in_an_order_of_their_own(users, items):
    """Parquet and R keep ids as categories; sorted by these, histories would go to other users."""
    rows = pd.DataFrame({"user": list("bbbbaaac"), "item": list("xyzyxyzx"), "time": range(8)})
    table = pd.DataFrame({"title": list("xyz"), "text": list("xyz")}, index=list("xyz"))
    coded = rows.assign(
        user=pd.Categorical(rows["user"], users), item=pd.Categorical(rows["item"], items)
    )
    plain, dataset = (build_dataset("made", k_core(one, 1), table, "") for one in (rows, coded))
    assert [one.tolist() for one in plain.sequences] == [[0, 1, 2], [0, 1, 2, 1], [0]]
    assert [one.tolist() for one in dataset.sequences] == [one.tolist() for one in plain.sequences]
    assert (
        dataset.user_labels == plain.user_labels == ["a", "b", "c"]
        and dataset.titles() == plain.titles()
    )
