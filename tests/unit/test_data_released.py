"""Released files: the facts of the real ones, round trips, and one clear line for each way to break
them.
"""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from letterlib.data import DATASETS, load_dataset, released
from letterlib.data.dataset import Dataset, Sequences
from letterlib.data.released import load_released, write_released
from letterlib.errors import LetterError

INTER = {"7": [0, 1, 2], "9": [2, 1, 0, 3]}
ITEMS = {
    "0": {"title": "A", "description": "first letter", "brand": "b", "categories": "x, y"},
    "1": {"title": "B", "description": "", "categories": ""},
    "2": {"title": " C "},
    "3": {"title": "", "description": None, "categories": ["z", "a|b"]},
}


def put(folder: Path, inter=INTER, items=ITEMS, stem="Made") -> Path:
    for kind, value in (("inter", inter), ("item", items)):
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            (folder / f"{stem}.{kind}.json").write_text(text)
    return folder


def complaint(folder: Path) -> str:
    with pytest.raises(LetterError) as error:
        load_released(folder).split()
    assert "\n" not in str(error.value)
    return str(error.value)


# The real files


@pytest.mark.parametrize(
    ("name", "counts", "examples", "never_seen", "targets_never_seen"),
    [
        ("beauty", (22_363, 12_101, 198_502), 131_413, 33, 138),
        ("instruments", (24_772, 9_922, 206_153), 131_837, 9, 35),
    ],
)
def test_facts_of_the_real_files(
    shared_data, name, counts, examples, never_seen, targets_never_seen
):
    dataset = load_dataset(name, shared_data / name)
    assert dataset.name == name and DATASETS[name] == 1
    assert (dataset.n_users, dataset.n_items, dataset.n_interactions) == counts
    split = dataset.split()
    assert len(split.cases("train")) == examples
    assert (split.train_counts == 0).sum() == never_seen
    assert (split.train_counts[split.cases("test").targets] == 0).sum() == targets_never_seen


def test_beauty_has_text_with_one_empty_title_and_instruments_none(shared_data):
    beauty = load_dataset("beauty", shared_data / "beauty")
    assert beauty.texts()[0] == beauty.titles()[0] == "nail lacquer simmer and shimmer"
    empty = [i for i, text in enumerate(beauty.texts()) if not text]
    assert empty == [10_204] and beauty.titles()[10_204] == "item 10204"
    with pytest.raises(LetterError, match="no item text"):
        load_dataset("instruments", shared_data / "instruments").texts()


@pytest.mark.parametrize("name", ["beauty", "instruments"])
def test_real_files_survive_a_round_trip(shared_data, tmp_path, name):
    dataset = load_dataset(name, shared_data / name)
    write_released(dataset, tmp_path)
    assert load_dataset(name, tmp_path).fingerprint == dataset.fingerprint
    original = json.loads((shared_data / name / f"{name.capitalize()}.inter.json").read_text())
    assert json.loads((tmp_path / f"{name}.inter.json").read_text()) == original


# What is read


def test_fields(tmp_path):
    made = load_released(put(tmp_path))
    assert made.name == "made" and made.user_labels == ["7", "9"]
    assert [one.tolist() for one in made.sequences] == [[0, 1, 2], [2, 1, 0, 3]]
    assert made.titles() == ["A", "B", "C", "item 3"]
    assert made.texts() == ["A. first letter", "B", "C", ""]
    assert made.items["genres"].tolist() == ["x|y", "", "", "z|a/b"]
    assert "Made.inter.json" in made.source


def test_a_file_of_items_may_be_written_in_other_capital_letters(tmp_path):
    (put(tmp_path) / "Made.item.json").rename(tmp_path / "made.ITEM.json")
    assert load_released(tmp_path).titles()[0] == "A"


def test_an_item_that_nobody_has_is_still_in_the_catalogue(tmp_path):
    assert load_released(put(tmp_path, {"1": [0, 1, 2]})).n_items == 4


def test_round_trip_of_text_descriptions_and_genres(tmp_path):
    first = load_released(put(tmp_path))
    write_released(first, tmp_path / "copy")
    second = load_released(tmp_path / "copy")
    assert second.items.equals(first.items) and second.fingerprint == first.fingerprint


def test_round_trip_of_movielens(tmp_path):
    films = load_dataset("movielens", cache_dir=tmp_path)
    write_released(films, tmp_path / "out")
    back = load_released(tmp_path / "out")
    assert back.fingerprint == films.fingerprint and back.user_labels == films.user_labels


def test_an_export_that_is_stopped_leaves_no_items_of_an_earlier_one_beside_its_interactions(
    tmp_path, monkeypatch
):
    """They would be as many, and be taken for its own."""
    write_released(first := load_released(put(tmp_path)), tmp_path / "out")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(released, "_write_source", Mock(side_effect=KeyboardInterrupt))
        write_released(first, tmp_path / "out")
    assert "text" not in load_released(tmp_path / "out").items
    write_released(first, tmp_path / "out")
    assert load_released(tmp_path / "out").fingerprint == first.fingerprint


def test_white_space_around_words_is_not_kept_and_a_title_is_needed(tmp_path):
    items = pd.DataFrame({"title": ["A "], "text": ["A . first "], "genres": [" x|y "]})
    made = Dataset("made", Sequences.from_lists([[0]]), items, "made", ["u"])
    with pytest.raises(LetterError, match="its text is not its title"):
        write_released(made, tmp_path)
    write_released(replace(made, items=items.assign(text="A. first ")), tmp_path)
    assert load_released(tmp_path).items.to_dict("records") == [
        {"title": "A", "text": "A. first", "genres": "x|y"}
    ]
    with pytest.raises(LetterError, match="a title or a text, and the released format needs both"):
        write_released(replace(made, items=items.drop(columns="title")), tmp_path)


def test_genres_with_a_comma_survive(tmp_path):
    items = pd.DataFrame({"title": ["A"], "text": ["A"], "genres": ["x, y|z"]})
    write_released(Dataset("m", Sequences.from_lists([[0]]), items, "", ["u"]), tmp_path)
    assert load_released(tmp_path).items["genres"].tolist() == ["x, y|z"]


def test_a_text_that_the_format_cannot_hold_is_refused(tmp_path):
    items = pd.DataFrame({"title": ["A"], "text": ["quite another thing"]})
    with pytest.raises(LetterError, match="m, item 0: its text is not its title"):
        write_released(Dataset("m", Sequences.from_lists([[0]]), items, "", ["u"]), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("items", "words"), [([0, 1, 0], "item 0 appears twice"), ([], "no items at all")]
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, items, words):
    table = pd.DataFrame({"title": ["A", "B"], "text": ["A", "B"]})
    with pytest.raises(LetterError, match=f'^m, user "u": {words}'):
        write_released(Dataset("m", Sequences.from_lists([items]), table, "", ["u"]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_users_who_share_a_label_are_refused(tmp_path):
    items = pd.DataFrame({"title": ["A"], "text": ["A"]})
    with pytest.raises(LetterError, match="m: users share a label"):
        write_released(
            Dataset("m", Sequences.from_lists([[0], [0]]), items, "", ["7", "7"]), tmp_path
        )
    assert list(tmp_path.iterdir()) == []


def test_without_text_an_item_is_known_by_its_interactions_alone(tmp_path):
    """An item that nobody has would be lost, genres too, and an older export's titles would be read
    back.
    """
    (tmp_path / "m.item.json").write_text('{"0": {"title": "another shop\'s"}}', encoding="utf-8")
    for items in (pd.DataFrame(index=range(3)), pd.DataFrame({"genres": ["a", "b"]})):
        with pytest.raises(LetterError, match="^m: items have genres or no interactions"):
            write_released(Dataset("m", Sequences.from_lists([[0, 1]]), items, "", ["u"]), tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["m.item.json"]
    write_released(
        Dataset("m", Sequences.from_lists([[1, 0, 2]]), pd.DataFrame(index=range(3)), "", ["u"]),
        tmp_path,
    )
    back = load_released(tmp_path)
    assert (
        back.n_items == 3 and "title" not in back.items and back.sequences[0].tolist() == [1, 0, 2]
    )


# Names and folders


def test_known_names_must_match_the_file_and_free_names_need_not(tmp_path):
    put(tmp_path, stem="Beauty")
    assert load_dataset("beauty", tmp_path).name == "beauty"
    assert load_dataset("mine", tmp_path).name == "mine"
    with pytest.raises(
        LetterError, match=r"no instruments\.inter\.json here, but Beauty\.inter\.json"
    ):
        load_dataset("instruments", tmp_path)
    put(tmp_path, stem="Second")
    assert load_dataset("second", tmp_path).name == "second"
    with pytest.raises(LetterError, match=r"exactly one.*Beauty\.inter\.json, Second\.inter\.json"):
        load_released(tmp_path)


def test_missing_folder_and_empty_folder(tmp_path):
    with pytest.raises(LetterError, match="gone: no such folder.*--data-dir"):
        load_released(tmp_path / "gone")
    with pytest.raises(LetterError, match=r"there is none"):
        load_released(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(LetterError, match="file: is a file, not a folder.*--data-dir"):
        load_released(tmp_path / "file")


# Broken files


@pytest.mark.parametrize(
    ("inter", "words"),
    [
        ('{"7": [0, 1, 2], "9": [2, 1', "Made.inter.json: not valid JSON at line 1, column"),
        ('{"7": [0, 1, 2], "7": [2, 1, 0]}', 'the key "7" appears twice'),
        ([[0, 1, 2]], "expected a JSON object"),
        ({}, "found an empty object"),
        ({"7": {"0": 1}}, 'Made.inter.json, user "7": expected a list of item ids'),
        ({"7": []}, 'user "7": no items at all'),
        ({"7": [0, 1.5, 2]}, 'user "7": 1.5 is not an item id'),
        ({"7": [0, "1", 2]}, "user \"7\": '1' is not an item id"),
        ({"7": [0, True, 2]}, 'user "7": True is not an item id'),
        ({"7": [0, None, 2]}, 'user "7": None is not an item id'),
        ({"7": [0, -1, 2]}, 'user "7": -1 is not an item id; ids are whole numbers from 0'),
        ({"7": [0, 10**30, 2]}, "is not an item id"),
        ({"7": [0, 1, 2, 1]}, 'user "7": item 1 appears twice'),
        (
            {"7": [0, 1, 2], "17": [3, 0, 4]},
            'user "17": item 4 is not in Made.item.json (4 items, ids 0-3)',
        ),
        ({"7": [0, 1, 2], "8": [3, 0]}, 'user "8": 2 item(s), but a user needs at least 3'),
    ],
)
def test_broken_interactions(tmp_path, inter, words):
    assert words in complaint(put(tmp_path, inter))


def test_the_user_named_is_the_one_at_fault(tmp_path):
    rows = {str(u): [0, 1, 2] for u in range(5)} | {"5": [3, 4, 0], "6": [0, 1, 2]}
    assert 'user "5": item 4' in complaint(put(tmp_path, rows))
    rows = {str(u): [0, 1, 2] for u in range(5)} | {"5": [4, 3, 0], "6": [0, 1, 2]}
    assert 'user "5": item 4' in complaint(put(tmp_path, rows))


def test_ids_with_a_gap_without_item_file(tmp_path):
    said = complaint(put(tmp_path, {"7": [0, 1, 3]}, items=None))
    assert "nobody has item 2, though ids go up to 3" in said and "Made.item.json" in said


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ('{"0": {"title": "A"}, ', "Made.item.json: not valid JSON"),
        ('{"0": {"title": "A"}, "0": {"title": "B"}}', 'the key "0" appears twice'),
        ([{"title": "A"}], "found a list"),
        (
            {"0": ITEMS["0"], "2": ITEMS["2"]},
            'have the ids 0-1, but "1" is missing and "2" is there',
        ),
        ({"0": ITEMS["0"], "x": ITEMS["2"]}, '"1" is missing and "x" is there'),
        ({"0": ITEMS["0"], "01": ITEMS["2"]}, '"1" is missing and "01" is there'),
        ({"0": {"name": "A"}}, 'Made.item.json, item "0": expected {"title": ...}'),
        ({"0": "A"}, 'item "0": expected {"title": ...}'),
        ({"0": {"title": 5}}, 'item "0": its title must be text, found 5'),
        ({"0": {"title": "A", "description": [1]}}, "its description must be text"),
        ({"0": {"title": "A", "categories": 3}}, "categories must be text or a list"),
    ],
)
def test_broken_item_files(tmp_path, items, words):
    assert words in complaint(put(tmp_path, items=items))


def test_reading_changes_no_order(tmp_path):
    order = np.random.default_rng(0).permutation(4).tolist()
    assert load_released(put(tmp_path, {"1": order})).sequences[0].tolist() == order


def test_null_categories_are_none(tmp_path):
    items = ITEMS | {"2": {"title": "C", "categories": None}}
    assert load_released(put(tmp_path, items=items)).items["genres"][2] == ""


def test_a_description_of_several_paragraphs_is_read_whole(tmp_path):
    items = ITEMS | {"1": {"title": "B", "description": ["one ", "two"]}}
    assert load_released(put(tmp_path, items=items)).texts()[1] == "B. one  two"
