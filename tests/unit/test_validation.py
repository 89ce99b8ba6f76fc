"""What chooses a model's best weights: NDCG@10 on validation, the history as the class is used to
it.
"""

import numpy as np
import pytest
from made_data import made

from letterlib.data.dataset import Cases
from letterlib.errors import LetterError
from letterlib.evaluation import validation
from letterlib.evaluation.ranking import Ranking, check_histories
from letterlib.evaluation.validation import validation_ndcg


def test_it_is_ndcg_at_10_of_the_validation_targets():
    split, asked = (
        made([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], 12).split(),
        [],
    )  # targets 2, 6 and 10

    def recommend(cases, k):
        asked.append((k, cases.targets))
        return Ranking.of_items(np.array([[2, 0, 1], [0, 1, 6], [0, 1, 2]]), np.zeros((3, 3)))

    assert validation_ndcg(split, recommend)() == pytest.approx((1 + 1 / np.log2(4)) / 3)
    assert asked == [(10, None)]


def test_places_six_to_ten_count_as_well_and_no_later_ones():
    split = made([[0, 1, 2, 3], [4, 5, 6, 7]], 40).split()  # targets 2 and 6
    lists = np.array([np.arange(20, 32), np.arange(20, 32)])
    lists[0, 9], lists[1, 10] = 2, 6
    recommend = lambda cases, k: Ranking.of_items(lists[:, :k], np.zeros((2, k)))  # noqa: E731
    assert validation_ndcg(split, recommend)() == pytest.approx((1 / np.log2(11)) / 2)


def test_every_model_is_asked_for_the_same_few_of_many_cases(monkeypatch):
    monkeypatch.setattr(validation, "N_CASES", 5)
    split, asked = made([[i, i + 1, i + 2] for i in range(30)], 40).split(), []

    def recommend(cases, k):
        asked.append(cases.users.tolist())
        return Ranking.of_items(np.zeros((len(cases), k), dtype=int), np.zeros((len(cases), k)))

    validation_ndcg(split, recommend)(), validation_ndcg(split, recommend)()
    assert asked == [split.cases("valid").sample(5, seed=0).users.tolist()] * 2


@pytest.mark.parametrize("item", [-1, 5])
def test_a_history_with_an_item_outside_the_catalogue_is_refused(item):
    check_histories(Cases.from_histories([[0, 4], []]), 5)
    with pytest.raises(LetterError, match=f"item {item} is not in the catalogue"):
        check_histories(Cases.from_histories([[0, 4], [2, item]]), 5)
