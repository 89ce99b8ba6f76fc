"""Our identifiers beside released ones: one measure for all, and clear words where files are
missing.
"""

from pathlib import Path

import numpy as np
import pytest

from letterlib.analysis.collaborative_signal import nearest_neighbours
from letterlib.errors import LetterError
from letterlib.pipeline import released_comparison
from letterlib.pipeline.released_comparison import (
    compare_identifiers,
    distinct_rows,
    measures,
    released_folder,
)
from letterlib.tokenizer.identifiers import Identifiers


class FakePipeline:
    """What `compare_identifiers` asks of a pipeline, with 40 items and no training."""

    def __init__(self, folder: Path | None, seed: int = 0):
        self.data_dir, self.seed, self.asked = folder, seed, []
        self.random = np.random.default_rng(seed)
        self.config = type("Config", (), {"seed": seed})
        self.dataset = type("Dataset", (), {"n_items": 40})

    def semantic(self):
        return type("Embeddings", (), {"vectors": self.random.normal(size=(40, 5)) + 3})

    collaborative = semantic

    def with_seed(self, seed):
        self.asked.append(seed)
        return FakePipeline(self.data_dir, seed)

    def tokenizer(self, arm):
        codes = self.random.integers(0, 4, (40, 2))
        return type("Tokenizer", (), {"identifiers": lambda self: Identifiers(codes, (4, 4))})()


def test_every_set_of_identifiers_gets_the_same_measures_and_a_judge_of_another_seed(tmp_path):
    Identifiers(np.arange(80).reshape(40, 2) % 8, (8, 8)).save(tmp_path / "Made.index.json")
    pipeline = FakePipeline(tmp_path)
    rows = compare_identifiers(pipeline)
    assert list(rows) == [*released_comparison.OURS.values(), released_comparison.RELEASED]
    assert len({tuple(row) for row in rows.values()}) == 1 and pipeline.asked == [1]
    assert rows[released_comparison.RELEASED]["in_use"] == [4, 4]
    meaning = FakePipeline(tmp_path).semantic().vectors
    judge = FakePipeline(tmp_path, 1).collaborative().vectors
    released = Identifiers.load(tmp_path / "Made.index.json", 40)
    assert rows[released_comparison.RELEASED] == measures(
        released, nearest_neighbours(meaning - meaning.mean(axis=0)), nearest_neighbours(judge)
    )


def test_measures_of_identifiers_that_follow_one_of_two_spaces():
    """Items in two blocks of one space, and pairs across the blocks in the other: codes follow the
    blocks.
    """
    block = np.repeat([0, 1], 4)
    meaning = nearest_neighbours(np.stack([1 - block, block, np.arange(8) / 100], axis=1))
    audience = nearest_neighbours(np.eye(4)[np.arange(8) % 4])
    row = measures(Identifiers(np.stack([block, np.arange(8)], axis=1), (2, 8)), meaning, audience)
    assert row["semantic"] == [1.0, 0.0] and row["collaborative"] == [0.0, 0.0]
    assert row["in_use"] == [2, 8] and row["perplexity"] == [2.0, 8.0]
    assert (row["items"], row["distinct"]) == (8, 8)
    assert row["random_pair"] == round((2 * 4 * 3 / (8 * 7) + 0) / 2, 4)


def test_a_folder_without_released_identifiers_is_one_clear_line(tmp_path):
    for folder in (tmp_path, None):
        with pytest.raises(LetterError, match="one .*index.json is expected"):
            compare_identifiers(FakePipeline(folder))


def test_the_released_folder_is_found_or_none(tmp_path, monkeypatch):
    assert (
        released_folder(str(tmp_path)) is None
        and released_folder(str(tmp_path / "nowhere")) is None
    )
    (tmp_path / "Beauty.index.json").write_text("{}")
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert released_folder(str(tmp_path)) == released_folder(f"~/{tmp_path.name}") == tmp_path


def test_rows_that_differ_in_rounding_only_are_one():
    assert distinct_rows(np.array([[1.0, 2.0], [1.0 + 1e-8, 2.0], [1.0, 2.1]])) == 2
