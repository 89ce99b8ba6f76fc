"""Data sets and lists to and from Hugging Face's `datasets`; skipped where it is not installed."""

import numpy as np
import pytest

import letterlib as ll
from letterlib.errors import LetterError
from letterlib.evaluation.ranking import Ranking
from letterlib.hugging_face import from_datasets, lists_from_table, lists_to_table, to_datasets

datasets = pytest.importorskip("datasets")


def test_a_data_set_comes_back_as_it_was(tmp_path):
    films = ll.load_dataset("movielens")
    to_datasets(films).save_to_disk(tmp_path / "films")
    tables = datasets.load_from_disk(tmp_path / "films")
    back = from_datasets(tables, films.name)
    np.testing.assert_array_equal(back.sequences.values, films.sequences.values)
    np.testing.assert_array_equal(back.sequences.offsets, films.sequences.offsets)
    assert back.texts() == films.texts() and back.source == films.source
    assert [str(label) for label in films.user_labels] == list(back.user_labels)
    with pytest.raises(LetterError, match="users"):
        from_datasets(datasets.DatasetDict({"items": tables["items"]}), "films")


def test_lists_come_back_as_they_were(tmp_path):
    items, scores = np.array([[3, 1], [2, -1]]), np.array([[-0.5, -1.0], [-0.2, -np.inf]])
    ranking = Ranking.of_items(items, scores)
    lists_to_table(ranking, ["ann", "bob"]).save_to_disk(tmp_path / "lists")
    table = datasets.load_from_disk(tmp_path / "lists")
    assert table["user"][:] == ["ann", "bob"]
    back = lists_from_table(table)
    for name in ("items", "scores", "valid"):
        np.testing.assert_array_equal(getattr(back, name), getattr(ranking, name))
