"""P5-SemID: the way through the labels, then a running number."""

import numpy as np
import pandas as pd
import pytest

from letterlib.data import load_dataset
from letterlib.data.dataset import Dataset, Sequences
from letterlib.errors import LetterError
from letterlib.tokenizer.category_identifiers import category_identifiers


def catalogue(labels: list[str] | None) -> Dataset:
    columns = {"title": [f"item {i}" for i in range(len(labels or "abc"))]} | (
        {"genres": labels} if labels else {}
    )
    return Dataset(
        "made", Sequences.from_lists([[0, 1, 2]]), pd.DataFrame(columns), "made up", ["u"]
    )


def by_hand(labels: list[str], depth: int) -> list[tuple]:
    """A dictionary per level and a counter per path, item after item."""
    paths = [tuple((text.split("|") if text else [])[:depth]) for text in labels]
    known = [sorted({path[level] for path in paths if len(path) > level}) for level in range(depth)]
    met, rows = {}, []
    for path in paths:
        met[path] = met.get(path, -1) + 1
        codes = [known[level].index(label) + 1 for level, label in enumerate(path)]
        rows.append((*codes, *[0] * (depth - len(path)), met[path]))
    return rows


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_against_dictionaries(depth):
    generator = np.random.default_rng(0)
    labels = [
        "|".join(generator.choice(list("zyxwv"), generator.integers(0, 5), replace=False))
        for _ in range(200)
    ]
    identifiers = category_identifiers(catalogue(labels), depth)
    assert [tuple(row) for row in identifiers.codes] == by_hand(labels, depth)
    assert identifiers.n_colliding == 0


def test_by_hand_and_in_the_order_of_item_ids():
    identifiers = category_identifiers(
        catalogue(["Toys|Ball", "Toys", "Ball|Toys", "Toys|Ball", ""]), 2
    )
    assert identifiers.codes.tolist() == [[2, 1, 0], [2, 0, 0], [1, 2, 0], [2, 1, 1], [0, 0, 0]]
    assert identifiers.level_sizes == (3, 3, 2)


def test_a_level_at_which_no_path_ends_keeps_its_code_for_the_end():
    """So that a code means the same in every release: 0 the end, 1 the first label."""
    assert category_identifiers(catalogue(["a", "b", "b"]), 1).codes.tolist() == [
        [1, 0],
        [2, 0],
        [2, 1],
    ]


@pytest.mark.parametrize(("n", "levels"), [(256, (2, 256)), (257, (2, 2, 256)), (700, (2, 3, 256))])
def test_the_running_number_is_two_levels_where_more_than_256_share_a_path(n, levels):
    identifiers = category_identifiers(catalogue(["a"] * n), 1)
    assert identifiers.level_sizes == levels and identifiers.n_colliding == 0
    numbers = identifiers.codes[:, 1:] @ 256 ** np.arange(len(levels) - 1)[::-1]
    assert numbers.tolist() == list(range(n))


def test_without_categories_there_are_no_such_identifiers():
    for labels in (None, ["", "", ""]):
        with pytest.raises(LetterError, match="made: no item has a category"):
            category_identifiers(catalogue(labels))
    with pytest.raises(LetterError, match="depth must be at least 1"):
        category_identifiers(catalogue(["a", "b", "c"]), 0)


def test_movielens(tmp_path):
    films = load_dataset("movielens", cache_dir=tmp_path)
    identifiers = category_identifiers(films)
    assert [tuple(row) for row in identifiers.codes] == [
        (*row[:3], *divmod(row[3], 256)) for row in by_hand(films.items["genres"].tolist(), 3)
    ]
    assert identifiers.level_sizes == (19, 19, 18, 2, 256) and identifiers.n_colliding == 0


def test_released_beauty_has_none(shared_data):
    with pytest.raises(LetterError, match="beauty: no item has a category"):
        category_identifiers(load_dataset("beauty", shared_data / "beauty"))


def test_an_empty_label_is_no_step_of_the_way():
    identifiers = category_identifiers(catalogue(["|a||b|", "a|b", "b"]), 2)
    assert identifiers.codes.tolist() == [[1, 1, 0], [1, 1, 1], [2, 0, 0]]
