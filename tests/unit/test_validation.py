"""What chooses a model's best weights: NDCG@10 on validation, the history as the class is used to it."""

import numpy as np
import pytest
from made_data import made

from letterlib.evaluation.ranking import Ranking
from letterlib.evaluation.validation import validation_ndcg


def test_it_is_ndcg_at_10_of_the_validation_targets():
    split, asked = made([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], 12).split(), []  # targets 2, 6 and 10

    def recommend(cases, k):
        asked.append((k, cases.targets))
        return Ranking.of_items(np.array([[2, 0, 1], [0, 1, 6], [0, 1, 2]]), np.zeros((3, 3)))

    assert validation_ndcg(split, recommend)() == pytest.approx((1 + 1 / np.log2(4)) / 3)
    assert asked == [(10, None)]


def test_places_six_to_ten_count_as_well_and_no_later_ones():
    split = made([[0, 1, 2, 3], [4, 5, 6, 7]], 40).split()  # targets 2 and 6
    lists = np.array([np.arange(20, 32), np.arange(20, 32)])
    lists[0, 7], lists[1, 10] = 2, 6
    recommend = lambda cases, k: Ranking.of_items(lists[:, :k], np.zeros((2, k)))  # noqa: E731
    assert validation_ndcg(split, recommend)() == pytest.approx((1 / np.log2(9)) / 2)
