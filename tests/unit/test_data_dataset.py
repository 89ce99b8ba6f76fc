"""`Sequences`, `Dataset`, `Split` and `Cases` on small examples worked out by hand."""

import os
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from letterlib.data.dataset import NO_ITEM, UNKNOWN_USER, Cases, Dataset, Sequences, sampled_rows
from letterlib.errors import LetterError


def make(lists, n_items=30, **fields) -> Dataset:
    items = pd.DataFrame(fields, index=range(n_items))
    return Dataset(
        "made", Sequences.from_lists(lists), items, "by hand", [f"u{i}" for i in range(len(lists))]
    )


def as_lists(cases: Cases) -> list[tuple[int, list[int], int]]:
    return [
        (int(cases.users[i]), cases.history(i).tolist(), int(cases.targets[i]))
        for i in range(len(cases))
    ]


def test_sequences_index_like_a_list():
    sequences = Sequences.from_lists([[3, 1], [], [7]])
    assert [one.tolist() for one in sequences] == [[3, 1], [], [7]]
    assert sequences[-1].tolist() == [7] and sequences[-3].tolist() == [3, 1]
    assert sequences.lengths.tolist() == [2, 0, 1]
    with pytest.raises(IndexError):
        sequences[3]


def test_no_sequences_at_all():
    assert len(Sequences.from_lists([])) == 0
    assert Cases.from_histories([]).recent(3).shape == (0, 3)
    assert Cases.from_histories([[]]).recent(3).tolist() == [[NO_ITEM] * 3]


def test_leave_one_out_by_hand():
    split = make([[4, 5, 6, 7], [8, 9, 10]]).split()
    assert [one.tolist() for one in split.train] == [[4, 5], [8]]
    assert as_lists(split.cases("train")) == [(0, [4], 5)]
    assert as_lists(split.cases("valid")) == [(0, [4, 5], 6), (1, [8], 9)]
    assert as_lists(split.cases("test")) == [(0, [4, 5, 6], 7), (1, [8, 9], 10)]


def test_leave_two_out_slides_and_leaves_short_users_to_training():
    split = make([[0, 1, 2, 3, 4], [5, 6, 7, 8]]).split(2)
    assert split.users_without_cases == 1
    assert [one.tolist() for one in split.train] == [[0], [5, 6, 7, 8]]
    assert as_lists(split.cases("valid")) == [(0, [0], 1), (0, [0, 1], 2)]
    assert as_lists(split.cases("test")) == [(0, [0, 1, 2], 3), (0, [0, 1, 2, 3], 4)]
    assert as_lists(split.cases("train")) == [(1, [5], 6), (1, [5, 6], 7), (1, [5, 6, 7], 8)]
    assert split.train_counts[:9].tolist() == [1, 0, 0, 0, 0, 1, 1, 1, 1]


def test_a_user_with_two_items_is_an_error_that_names_the_user():
    with pytest.raises(
        LetterError, match=r'made, user "u1": 2 item\(s\), but a user needs at least 3'
    ) as error:
        make([[0, 1, 2], [3, 4]]).split()
    assert "\n" not in str(error.value)


def test_held_out_must_be_positive():
    with pytest.raises(LetterError, match="at least 1, not 0"):
        make([[0, 1, 2]]).split(0)


def test_recent_is_right_aligned():
    cases = Cases.from_histories([[1, 2, 3], [4], []])
    assert cases.recent(2).tolist() == [[2, 3], [NO_ITEM, 4], [NO_ITEM, NO_ITEM]]
    assert cases.users.tolist() == [UNKNOWN_USER] * 3 and cases.targets is None


def test_without_targets_holds_no_item_later_than_a_case():
    cases = make([[0, 1, 2, 3, 4]]).split().cases("test")
    blind = cases.without_targets()
    assert blind.targets is None
    assert blind.values.tolist() == [0, 1, 2, 3], (
        "item 4, the target, must not travel with the case"
    )


def test_sample_is_fixed_by_its_seed_and_keeps_the_order():
    cases = make([[i, i + 1, i + 2] for i in range(20)]).split().cases("test")
    a, b, other = cases.sample(8, seed=1), cases.sample(8, seed=1), cases.sample(8, seed=2)
    assert a.users.tolist() == b.users.tolist() == sorted(a.users.tolist())
    assert a.users.tolist() != other.users.tolist() and len(set(a.users.tolist())) == 8
    assert cases.sample(99, seed=0) is cases


def test_a_sample_draws_no_row_twice():
    assert len(set(sampled_rows(50, 40, seed=0).tolist())) == 40
    assert sampled_rows(3, 40, seed=0).tolist() == [0, 1, 2]


def test_texts_and_titles():
    with_text = make([[0, 1, 0]], n_items=2, title=["A", "B"], text=["A. x", "B. y"])
    assert with_text.texts() == ["A. x", "B. y"] and with_text.titles() == ["A", "B"]
    without = make([[0, 1, 0]], n_items=2)
    assert without.titles() == ["item 0", "item 1"]
    assert make([[0, 1, 0]], n_items=2, title=["", "B"]).titles() == ["item 0", "B"]
    with pytest.raises(LetterError, match="made: this release has no item text"):
        without.texts()


def test_fingerprint_sees_every_change_a_model_could_learn_from():
    first = make([[0, 1, 2], [3, 4]], title="t", text="x")
    assert first.fingerprint == make([[0, 1, 2], [3, 4]], title="t", text="x").fingerprint
    others = [
        make([[0, 2, 1], [3, 4]], title="t", text="x"),
        make([[0, 1], [2, 3, 4]], title="t", text="x"),
        make([[0, 1, 2], [3, 4]], title="t", text="y"),
        make([[0, 1, 2], [3, 4]], n_items=31, title="t", text="x"),
    ]
    assert first.fingerprint not in {one.fingerprint for one in others}


def test_a_part_that_does_not_exist_is_not_taken_for_validation():
    split = make([[0, 1, 2, 3]]).split()
    with pytest.raises(LetterError, match='no part "Test"; there are train, valid, test'):
        split.cases("Test")


def test_every_history_needs_a_user_of_its_own():
    with pytest.raises(LetterError, match="histories: 2, users: 1; give one user per history"):
        Cases.from_histories([[0], [1]], users=[3])


@pytest.mark.parametrize("lists", [[7, 2], [[[7, 2], [9, 4]]], ["7"], [{7, 2}], [None]])
def test_one_list_alone_is_not_taken_for_a_list_of_lists(lists):
    with pytest.raises(
        LetterError, match=r"^list 0: .* is no list of ids; one list alone is \[\[7, 2, 9\]\]$"
    ):
        Cases.from_histories(lists)


@pytest.mark.parametrize("odd", [3.7, "7", float("inf"), 2**63, 1e300, 2**70])
@pytest.mark.filterwarnings("error")
def test_an_id_that_is_no_whole_number_is_refused_and_not_cut(odd):
    words = re.escape(f"{odd!r} is not an id; ids are whole numbers from 0")
    with pytest.raises(LetterError, match=f"^list 1: {words}$"):
        Sequences.from_lists([[0, 1], [odd, odd], []])
    with pytest.raises(LetterError, match=words):
        Cases.from_histories([[0]], users=[odd])
    assert Sequences.from_lists([[3.0], [], range(2)]).values.tolist() == [3, 0, 1], (
        "what pandas writes for whole ones"
    )
    assert Sequences.from_lists([np.array([np.int64(4)], dtype=object)]).values.tolist() == [4], (
        "as in some columns"
    )


def test_what_many_share_cannot_be_changed_in_place():
    """A learner's `sort()` of one history would otherwise change every model's data, under the same
    cache key.
    """
    split = make([[3, 1, 0, 2, 4], [4, 2, 1]]).split()
    case = split.cases("test")
    for shared in (
        split.train[0],
        split.train_counts,
        case.history(0),
        case.values,
        split.dataset.sequences.offsets,
    ):
        with pytest.raises(ValueError, match="read-only"):
            shared.sort()
    assert (
        split.train[0].copy().flags.writeable and case.recent(3).flags.writeable
    )  # copies are the caller's own


def test_a_fingerprint_is_the_same_on_every_system(monkeypatch):
    here = make([[0, 1, 2]], n_items=3)
    there = make([[0, 1, 2]], n_items=3)
    expected = here.fingerprint
    monkeypatch.setattr(os, "linesep", "\r\n")  # as Windows has it
    assert there.fingerprint == expected


def test_a_table_of_who_has_what_is_not_taken_for_ids():
    with pytest.raises(LetterError, match="list 0: True is not an id"):
        Sequences.from_lists(np.array([[True, False], [False, True]]))
    with pytest.raises(LetterError, match="list 1: .* is no list of ids"):
        Sequences.from_lists([[1, 2], [1, [2, 3]]])


def test_other_items_need_interactions_of_their_own():
    made = make([[0, 1, 5]])
    with pytest.raises(
        LetterError, match="items 0-5 are in its sequences, but it has 2 rows of items"
    ):
        replace(made, items=made.items[:2])


@pytest.mark.parametrize("item", [-1, 3], ids=["below the first", "after the last"])
def test_an_item_just_outside_the_catalogue_is_refused(item):
    labels, items = ["a", "b"], pd.DataFrame(index=range(3))
    assert (
        Dataset("x", Sequences.from_lists([[0, 2], [1]]), items, "made", labels).n_interactions == 3
    )
    with pytest.raises(
        LetterError, match=f"items {min(item, 0)}-{max(item, 2)} are in its sequences"
    ):
        Dataset("x", Sequences(np.array([0, 2, item]), np.array([0, 2, 3])), items, "made", labels)


def test_a_table_of_items_in_another_order_is_refused():
    """Row i is item i. An index that says otherwise would put titles on other items, without a
    word.
    """
    made = make([[0, 1, 2]], n_items=3, title=["A", "B", "C"])
    turned = made.items.iloc[[2, 0, 1]]
    with pytest.raises(
        LetterError,
        match=r"made: row i of items is item i, and their index says otherwise; .*reset_",
    ):
        replace(made, items=turned)
    assert replace(made, items=turned.sort_index()).titles() == ["A", "B", "C"]


def test_labels_are_as_many_as_what_they_name():
    made = make([[0, 1, 2], [0, 1, 2]], n_items=3)
    with pytest.raises(LetterError, match="made: 1 user_labels for 2 users; give one for each"):
        replace(made, user_labels=["a"])
    with pytest.raises(LetterError, match="made: 2 item_labels for 3 items; give one for each"):
        replace(made, item_labels=["a", "b"])
    assert not replace(made, item_labels=[]).item_labels
