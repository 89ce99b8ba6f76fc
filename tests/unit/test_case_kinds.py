"""Seen and unseen, repeats, ties: against loops, and on what is known of Beauty and Yelp."""

import numpy as np
import pandas as pd
import pytest
from made_runs import made_run

from letterlib.data import load_dataset
from letterlib.data.dataset import Dataset, Sequences
from letterlib.errors import LetterError
from letterlib.evaluation.case_kinds import KINDS, case_kinds, is_kind
from letterlib.pipeline.results import compare


def made(held_out: int):
    """80 users with up to 20 of 60 items, some of them again, in moments of two."""
    random = np.random.default_rng(0)
    lists = [random.integers(60, size=n) for n in random.integers(3, 21, 80)]
    flat = Sequences.from_lists(lists)
    sequences = Sequences(flat.values, flat.offsets, random.random(len(flat.values)) < 0.5)
    items = pd.DataFrame(index=range(60))
    return Dataset("made", sequences, items, "made", list("u" * 80)).split(held_out)


@pytest.mark.parametrize("held_out", [1, 5])
def test_kinds_are_those_of_a_loop(held_out):
    split = made(held_out)
    cases = split.cases("test")
    kinds = case_kinds(split, cases)
    train = [split.train[user].tolist() for user in range(split.n_users)]
    pairs = {(a, b) for s in train for i, a in enumerate(s) for b in s[i + 1 : i + 7]}
    for number, target in enumerate(cases.targets.tolist()):
        history = cases.history(number).tolist()
        expected = {
            "seen": any((item, target) in pairs for item in history[-6:]),
            "repeat": target in history,
            "tied": split.dataset.sequences.tied[cases.ends[number]],
        }
        for name, wanted in expected.items():
            assert is_kind(kinds, name)[number] == wanted, (name, number)
    some = np.array([3, 7, 11])
    assert np.array_equal(case_kinds(split, cases[some]), kinds[some])
    assert all(0 < is_kind(kinds, name).sum() < len(cases) for name in KINDS)


def test_a_comparison_of_one_kind_counts_its_cases_alone():
    first, second = made_run(luck=1), made_run(luck=2)
    chosen = is_kind(first.kinds, "unseen")
    found = compare([first], [second], cases="unseen")
    assert found.n_cases == chosen.sum() and "unseen cases" in str(found)
    assert found.first == first.values()[chosen].mean()
    with pytest.raises(LetterError, match='"often": choose seen, unseen'):
        compare([first], [second], cases="often")


def test_beauty_has_the_seen_cases_that_were_counted(shared_data):
    split = load_dataset("beauty", shared_data / "beauty").split()
    kinds = case_kinds(split, split.cases("test"))
    assert is_kind(kinds, "seen").sum() == 6_726 and is_kind(kinds, "unseen").sum() == 15_637


def test_yelp_has_repeats_and_goes_without_them(shared_data):
    yelp = load_dataset("yelp", shared_data / "yelp")
    assert (yelp.n_users, yelp.n_items, yelp.n_interactions) == (30_431, 20_033, 316_354)
    split = yelp.split()
    assert is_kind(case_kinds(split, split.cases("test")), "repeat").sum() == 2_027
    once = load_dataset("yelp", shared_data / "yelp", repeats="drop")
    assert not once.repeats.any() and once.n_items == yelp.n_items
    assert yelp.n_users - once.n_users == 80 and "80 users" in once.source
    assert list(dict.fromkeys(yelp.sequences[0].tolist())) == once.sequences[0].tolist()
