"""Neighbours in one space and their overlap with those of another."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from letterlib.analysis.neighbours import nearest, neighbour_overlap, unit_rows
from letterlib.errors import LetterError


def test_nearest_agrees_with_scikit_learn():
    vectors = np.random.default_rng(0).normal(size=(1500, 8))
    peer = (
        NearestNeighbors(n_neighbors=6, metric="cosine")
        .fit(vectors)
        .kneighbors(vectors, return_distance=False)
    )
    assert (nearest(vectors, 5) == peer[:, 1:]).all()


def test_ties_go_to_the_lower_id():
    vectors = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1], [2, 0]])
    assert nearest(vectors, 2)[0].tolist() == [1, 2] and nearest(vectors, 2)[4].tolist() == [0, 1]


def test_equal_rows_are_ties_wherever_they_stand():
    for seed in range(20):  # the products of equal rows differ in the last bit in some of these
        row = np.random.default_rng(seed).normal(size=(1, 3))
        assert nearest(np.tile(row, (14, 1)), 1)[:, 0].tolist() == [1] + [0] * 13


def test_all_other_items_can_be_asked_for():
    found = nearest(np.array([[1.0, 0], [1, 3], [1, 1], [1, 2]]), 3)
    assert found.tolist() == [[2, 3, 1], [3, 2, 0], [3, 1, 0], [1, 2, 0]]


def test_overlap_is_one_with_itself_none_with_its_opposite_and_chance_with_noise():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(800, 16))
    assert (neighbour_overlap(vectors, 3 * vectors, 10) == 1).all()
    chance = neighbour_overlap(vectors, random.normal(size=(800, 4)), 10).mean()
    assert abs(chance - 10 / 799) < 0.004
    line = np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    assert neighbour_overlap(line, line[[0, 2, 1, 3]], 1).tolist() == [0, 0, 0, 0]


def test_length_does_not_count_and_a_zero_row_is_near_nobody():
    assert unit_rows(np.array([[0.0, 0], [0, 5]])).tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    "vectors,k,words",
    [
        (np.ones((3, 2)), 3, "between 1 and 2"),
        (np.ones((3, 2)), 0, "between 1 and 2"),
        (np.array([[1.0, 0], [np.nan, 1]]), 1, "row 1 holds NaN"),
        (np.ones(3), 1, r"table .*not \(3,\)"),
    ],
)
def test_what_cannot_be_asked_is_said(vectors, k, words):
    with pytest.raises(LetterError, match=words):
        nearest(vectors, k)


def test_two_spaces_need_the_same_items():
    with pytest.raises(LetterError, match="the same items"):
        neighbour_overlap(np.ones((3, 2)), np.ones((4, 2)), 1)
