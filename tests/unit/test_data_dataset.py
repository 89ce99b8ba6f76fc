"""`Sequences`, `Dataset`, `Split`, `Cases` and `build_dataset` on examples worked out by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from letterlib.data.dataset import (
    NO_ITEM,
    UNKNOWN_USER,
    Cases,
    Dataset,
    Sequences,
    build_dataset,
    sampled_rows,
    with_parts,
)
from letterlib.errors import LetterError

ROWS = pd.DataFrame({"user": ["u", "u", "v"], "item": ["a", "b", "a"], "time": [1, 2, 3]})
ITEMS = pd.DataFrame({"title": ["A", "B"], "text": ["A", "B"]}, index=["a", "b"])


def make(lists, n_items=30, **fields) -> Dataset:
    items = pd.DataFrame(fields, index=range(n_items))
    labels = [f"u{i}" for i in range(len(lists))]
    return Dataset("made", Sequences.from_lists(lists), items, "by hand", labels)


def as_lists(cases: Cases) -> list[tuple[int, list[int], int]]:
    histories = [cases.history(i).tolist() for i in range(len(cases))]
    return list(zip(cases.users.tolist(), histories, cases.targets.tolist(), strict=True))


def test_sequences_index_like_a_list():
    sequences = Sequences.from_lists([[3, 1], [], [7]])
    assert [row.tolist() for row in sequences] == [[3, 1], [], [7]]
    assert sequences[-1].tolist() == [7] and sequences.lengths.tolist() == [2, 0, 1]
    assert sequences.owners.tolist() == [0, 0, 2]
    with pytest.raises(IndexError):
        sequences[3]


@pytest.mark.parametrize("odd", [3.7, "7", float("inf"), 2**70, None])
@pytest.mark.filterwarnings("error")
def test_an_id_that_is_no_whole_number_is_refused_and_not_cut(odd):
    with pytest.raises(LetterError, match="^list 1: .* ids, whole numbers"):
        Sequences.from_lists([[0, 1], [odd, odd], []])
    with pytest.raises(LetterError, match="list 0: .* ids, whole numbers"):
        Sequences.from_lists(np.array([[True, False], [False, True]]))
    assert Sequences.from_lists([[3.0], [], range(2)]).values.tolist() == [3, 0, 1]


@pytest.mark.parametrize("lists", [[7, 2], [[[7, 2], [9, 4]]], ["7"], [{7, 2}]])
def test_one_list_alone_is_not_taken_for_a_list_of_lists(lists):
    with pytest.raises(LetterError, match="^list 0: .* is no list of ids"):
        Cases.from_histories(lists)


def test_leave_one_out_by_hand():
    split = make([[4, 5, 6, 7], [8, 9, 10]]).split()
    assert [row.tolist() for row in split.train] == [[4, 5], [8]]
    assert as_lists(split.cases("train")) == [(0, [4], 5)]
    assert as_lists(split.cases("valid")) == [(0, [4, 5], 6), (1, [8], 9)]
    assert as_lists(split.cases("test")) == [(0, [4, 5, 6], 7), (1, [8, 9], 10)]
    with pytest.raises(LetterError, match='no part "Test"'):
        split.cases("Test")


def test_leave_two_out_slides_and_leaves_short_users_to_training():
    split = make([[0, 1, 2, 3, 4], [5, 6, 7, 8]]).split(2)
    assert split.users_without_cases == 1
    assert [row.tolist() for row in split.train] == [[0], [5, 6, 7, 8]]
    assert as_lists(split.cases("valid")) == [(0, [0], 1), (0, [0, 1], 2)]
    assert as_lists(split.cases("test")) == [(0, [0, 1, 2], 3), (0, [0, 1, 2, 3], 4)]
    assert as_lists(split.cases("train")) == [(1, [5], 6), (1, [5, 6], 7), (1, [5, 6, 7], 8)]
    assert split.train_counts[:9].tolist() == [1, 0, 0, 0, 0, 1, 1, 1, 1]


def test_recent_is_right_aligned():
    cases = Cases.from_histories([[1, 2, 3], [4], []])
    assert cases.recent(2).tolist() == [[2, 3], [NO_ITEM, 4], [NO_ITEM, NO_ITEM]]
    assert cases.users.tolist() == [UNKNOWN_USER] * 3 and cases.targets is None
    assert Cases.from_histories([]).recent(3).shape == (0, 3)
    assert Cases.from_histories([[]]).recent(3).tolist() == [[NO_ITEM] * 3]
    with pytest.raises(LetterError, match="histories: 2, users: 1"):
        Cases.from_histories([[0], [1]], users=[3])


def test_without_targets_holds_no_item_later_than_a_case():
    blind = make([[0, 1, 2, 3, 4]]).split().cases("test").without_targets()
    assert blind.targets is None and blind.values.tolist() == [0, 1, 2, 3]


def test_sample_is_fixed_by_its_seed_and_keeps_the_order():
    cases = make([[i, i + 1, i + 2] for i in range(20)]).split().cases("test")
    a, b, other = cases.sample(8, seed=1), cases.sample(8, seed=1), cases.sample(8, seed=2)
    assert a.users.tolist() == b.users.tolist() == sorted(set(a.users.tolist()))
    assert a.users.tolist() != other.users.tolist() and len(a) == 8
    assert cases.sample(99, seed=0) is cases
    assert sampled_rows(3, 40, seed=0).tolist() == [0, 1, 2]


def test_texts_and_titles():
    with_text = make([[0, 1, 0]], n_items=2, title=["A", ""], text=["A. x", "y"])
    assert with_text.texts() == ["A. x", "y"] and with_text.titles() == ["A", "item 1"]
    assert with_text.split().titles() == with_text.titles()
    without = make([[0, 1, 0]], n_items=2)
    assert without.titles() == ["item 0", "item 1"]
    with pytest.raises(LetterError, match="made: this release has no item text"):
        without.texts()


def test_items_are_found_by_title():
    titles = ["Toy Story (1995)", "Toy Story 2 (1999)", "Alien (1979)", "Twins", "Twins", ""]
    films = make([[0, 1, 2]], n_items=6, title=titles)
    assert films.find_items(["alien (1979)", " TOY STORY (1995)"]) == [2, 0]
    assert films.find_items(["Alien", "Toy Story 2", "item 5"]) == [2, 1, 5]
    assert films.find_items([]) == [] and films.find_items("Alien") == [2]
    with pytest.raises(
        LetterError, match=r"2 items fit \"Toy Story\".*\(1995\) \(item 0\).*item 1"
    ):
        films.find_items(["Toy Story"])
    with pytest.raises(LetterError, match='2 items fit "Twins".*item 3.*item 4'):
        films.find_items(["Twins"])
    with pytest.raises(LetterError, match=r'"Aline \(1979\)"; .*Alien \(1979\)'):
        films.find_items(["Aline (1979)"])
    for nothing in ("", "zzzz"):
        with pytest.raises(LetterError, match=f'no item is called "{nothing}"'):
            films.find_items([nothing])


def test_fingerprint_sees_every_change_a_model_could_learn_from():
    first = make([[0, 1, 2], [3, 4]], title="t", text="x")
    assert first.fingerprint == make([[0, 1, 2], [3, 4]], title="t", text="x").fingerprint
    others = [
        make([[0, 2, 1], [3, 4]], title="t", text="x"),
        make([[0, 1], [2, 3, 4]], title="t", text="x"),
        make([[0, 1, 2], [3, 4]], title="t", text="y"),
        make([[0, 1, 2], [3, 4]], n_items=31, title="t", text="x"),
    ]
    assert first.fingerprint not in {other.fingerprint for other in others}


def test_shared_arrays_cannot_be_changed_in_place():
    split = make([[3, 1, 0, 2, 4], [4, 2, 1]]).split()
    case = split.cases("test")
    for shared in (split.train[0], split.train_counts, case.history(0), case.values):
        with pytest.raises(ValueError, match="read-only"):
            shared.sort()
    assert split.train[0].copy().flags.writeable and case.recent(3).flags.writeable


def test_a_table_of_items_in_another_order_is_refused():
    made = make([[0, 1, 2]], n_items=3, title=["A", "B", "C"])
    turned = made.items.iloc[[2, 0, 1]]
    with pytest.raises(LetterError, match="made: row i of items must be item i"):
        replace(made, items=turned)
    assert replace(made, items=turned.sort_index()).titles() == ["A", "B", "C"]


@pytest.mark.parametrize(
    ("rows", "items", "fact"),
    [
        (ROWS, ITEMS.loc[["a", "b", "a"]], 'item "a" has two rows'),
        (ROWS, ITEMS.loc[["a"]], 'item "b" has interactions and no row'),
        (ROWS.iloc[:0], ITEMS, "no interactions"),
        (ROWS.assign(time=["1", "n/a", "3"]), ITEMS, "column time is .* '1'"),
        (ROWS.assign(time=[1, None, 3]), ITEMS, "1 of 3 interactions have no time"),
        (ROWS.assign(user=["u", None, "v"]), ITEMS, "1 of 3 interactions have no user"),
        (ROWS.drop(columns="time"), ITEMS, "no column time, but user, item"),
        (ROWS, ITEMS.assign(text=["A", np.nan]), 'item "b": column text must be text, found nan'),
    ],
)
def test_tables_that_do_not_fit_each_other_are_refused(rows, items, fact):
    fitting = build_dataset("shop", ROWS, ITEMS, "ours")
    assert fitting.titles() == ["A", "B"] and fitting.source == "ours"
    with pytest.raises(LetterError, match=fact):
        build_dataset("shop", rows, items, "ours")


def test_dates_are_sorted_as_dates_and_numbers_as_numbers():
    dates = pd.to_datetime(["2024-01-01", "2023-02-03", "2023-01-15"])
    rows = ROWS.assign(user="u", item=["b", "a", "b"], time=dates)
    assert build_dataset("shop", rows, ITEMS, "ours").sequences[0].tolist() == [1, 0, 1]
    numbers = ROWS.assign(user=[10, 9, 9])
    assert build_dataset("shop", numbers, ITEMS, "ours").user_labels == ["9", "10"]


def test_first_visits_leave_out_repeats_and_users_who_had_nothing_else():
    dataset = make([[3, 1, 3, 2, 1], [4, 4, 4, 4], [5, 6, 7]])
    assert dataset.repeats.tolist() == [0, 0, 1, 0, 1, 0, 1, 1, 1, 0, 0, 0]
    once = dataset.first_visits()
    assert [row.tolist() for row in once.sequences] == [[3, 1, 2], [5, 6, 7]]
    assert once.user_labels == ["u0", "u2"] and once.n_items == dataset.n_items
    assert "5 repeats left out, and 1 users" in once.source
    tied = np.arange(12) % 2 == 1
    marked = replace(dataset, sequences=replace(dataset.sequences, tied=tied))
    assert marked.first_visits().sequences.tied.tolist() == [0, 1, 1, 1, 0, 1]


def test_items_of_one_moment_are_in_random_order_whatever_the_order_of_the_rows():
    items = pd.DataFrame({"title": map(str, range(50)), "text": map(str, range(50))})
    rows = pd.DataFrame([("u", i, i // 25) for i in range(50)], columns=["user", "item", "time"])
    found = build_dataset("made", rows, items, "made")
    assert sorted(found.sequences[0][:25]) == list(range(25)), "moments are in order"
    assert found.sequences[0].tolist() != list(range(50))
    assert found.sequences.tied.tolist() == [i % 25 > 0 for i in range(50)]
    again = build_dataset("made", rows.sample(frac=1, random_state=1), items, "made")
    assert np.array_equal(found.sequences.values, again.sequences.values)


def test_a_split_of_ones_own_may_have_no_validation():
    rows = pd.DataFrame({"user": ["u", "u", "v"], "item": ["a", "b", "a"], "time": [1, 1, 2]})
    timed, held = with_parts(rows, pd.Series(["test", "train", "train"]))
    assert held.tolist() == [[0, 1], [0, 0]]
    assert timed["time"].tolist() == [1, 0, 2]
