"""Items hidden until the test part."""

from dataclasses import replace

import numpy as np
from made_data import made

from letterlib.pipeline.own_data import draw_cold_items, hide_until_test


def test_blocks_follow_popularity_and_not_numbers():
    counts = np.random.default_rng(0).permutation(100)
    drawn = draw_cold_items(counts, 0.1, seed=0)
    assert sorted((counts[drawn] // 10).tolist()) == list(range(10))


def test_the_same_seed_draws_the_same_items_and_another_seed_others():
    one, same, other = (draw_cold_items(np.arange(100), 0.1, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_hidden_items_are_gone_before_the_test_part_and_stay_in_it():
    labels = [f"B{i}" for i in range(8)]
    whole = replace(
        made([[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0]], 8), item_labels=labels
    )
    hidden = hide_until_test(whole, np.array([2, 6]), held_out=2)
    assert hidden.sequences[0].tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert hidden.sequences[1].tolist() == [7, 5, 4, 3, 1, 0]
    split = hidden.split(2)
    assert not set(split.train.values) & {2, 6}
    assert not set(split.cases("valid").targets) & {2, 6}
    assert split.cases("test").targets.tolist() == [6, 7, 1, 0]
    assert hidden.item_labels == labels and hidden.user_labels == whole.user_labels
    assert hidden.n_items == 8 and hidden.fingerprint != whole.fingerprint


def test_a_user_who_gets_too_short_for_a_case_does_not_bring_hidden_items_into_training():
    hidden = hide_until_test(made([[0, 1, 2, 3, 4, 5]], 6), np.array([1, 2, 5]), held_out=2)
    assert hidden.sequences[0].tolist() == [0, 3, 4]
    assert not set(hidden.split(2).train.values) & {1, 2, 5}


def test_a_user_who_has_hardly_anything_else_is_left_out_and_counted():
    """Leave-one-out data of five items a user: who loses three of them has nothing to be trained
    and tested on.
    """
    whole = made([[0, 1, 2, 3, 4], [1, 2, 5, 0, 3], [5, 4, 3, 0, 1]], 6)
    hidden = hide_until_test(whole, np.array([1, 2, 5]), held_out=1)
    assert (
        list(hidden.user_labels) == ["user 0", "user 2"]
        and "hardly anything else: 1" in hidden.source
    )
    assert [one.tolist() for one in (hidden.sequences[0], hidden.sequences[1])] == [
        [0, 3, 4],
        [4, 3, 0, 1],
    ]
    assert len(hidden.split(1).cases("test")) == 2
