"""Released files: the facts of the real ones, round trips, and one clear line for each way to break
them.
"""

import json
from pathlib import Path

import pandas as pd
import pytest

from letterlib.data import DATASETS, load_dataset
from letterlib.data.dataset import Dataset, Sequences
from letterlib.data.released import load_released, write_released
from letterlib.errors import LetterError

INTER = {"7": [0, 1, 2], "9": [2, 1, 0, 3]}
ITEMS = {
    "0": {"title": "A", "description": "first letter", "brand": "b", "categories": "x, y"},
    "1": {"title": "B", "description": ["one ", "two"], "categories": ""},
    "2": {"title": " C ", "categories": None},
    "3": {"title": "", "description": None, "categories": ["z", "a|b"]},
}


def put(folder: Path, inter=INTER, items=ITEMS, stem="Made") -> Path:
    for kind, value in (("inter", inter), ("item", items)):
        if value is not None:
            text = value if isinstance(value, str) else json.dumps(value)
            (folder / f"{stem}.{kind}.json").write_text(text)
    return folder


def made(lists, items, **options) -> Dataset:
    labels = options.pop("labels", [f"u{i}" for i in range(len(lists))])
    return Dataset("m", Sequences.from_lists(lists), items, "", labels, **options)


# The real files


@pytest.mark.parametrize(
    ("name", "fingerprint", "counts", "examples", "never_seen", "targets_never_seen"),
    [
        ("beauty", "e22efa73356bd717", (22_363, 12_101, 198_502), 131_413, 33, 138),
        ("instruments", "27eeb7b6888224d0", (24_772, 9_922, 206_153), 131_837, 9, 35),
    ],
)
def test_facts_of_the_real_files(
    shared_data, tmp_path, name, fingerprint, counts, examples, never_seen, targets_never_seen
):
    dataset = load_dataset(name, shared_data / name)
    assert dataset.name == name and DATASETS[name] == 1 and dataset.fingerprint == fingerprint
    assert (dataset.n_users, dataset.n_items, dataset.n_interactions) == counts
    split = dataset.split()
    assert len(split.cases("train")) == examples
    assert (split.train_counts == 0).sum() == never_seen
    assert (split.train_counts[split.cases("test").targets] == 0).sum() == targets_never_seen
    write_released(dataset, tmp_path)
    assert load_dataset(name, tmp_path).fingerprint == fingerprint


def test_beauty_has_text_with_one_empty_title_and_instruments_none(shared_data):
    beauty = load_dataset("beauty", shared_data / "beauty")
    assert beauty.texts()[0] == beauty.titles()[0] == "nail lacquer simmer and shimmer"
    empty = [i for i, text in enumerate(beauty.texts()) if not text]
    assert empty == [10_204] and beauty.titles()[10_204] == "item 10204"
    with pytest.raises(LetterError, match="no item text"):
        load_dataset("instruments", shared_data / "instruments").texts()


# What is read, and written


def test_fields(tmp_path):
    released = load_released(put(tmp_path))
    assert released.name == "made" and released.user_labels == ["7", "9"]
    assert [row.tolist() for row in released.sequences] == [[0, 1, 2], [2, 1, 0, 3]]
    assert released.titles() == ["A", "B", "C", "item 3"]
    assert released.texts() == ["A. first letter", "B. one  two", "C", ""]
    assert released.items["genres"].tolist() == ["x|y", "", "", "z|a/b"]
    assert "Made.inter.json" in released.source
    write_released(released, tmp_path / "copy")
    again = load_released(tmp_path / "copy")
    assert again.items.equals(released.items) and again.fingerprint == released.fingerprint
    assert again.source == released.source


def test_round_trip_of_movielens(tmp_path):
    films = load_dataset("movielens", cache_dir=tmp_path)
    write_released(films, tmp_path / "out")
    back = load_released(tmp_path / "out")
    assert back.fingerprint == films.fingerprint and back.user_labels == films.user_labels
    assert back.item_labels == films.item_labels


@pytest.mark.parametrize("text", [". of few words", "item 0 is red", "item 0. red", "item 0.", ""])
def test_an_item_without_a_title_may_have_any_description(tmp_path, text):
    items = pd.DataFrame({"title": [""], "text": [text], "genres": ["x, y|z"]})
    write_released(made([[0]], items), tmp_path)
    back = load_released(tmp_path)
    assert (back.titles(), back.texts()) == (["item 0"], [text])
    assert back.items["genres"].tolist() == ["x, y|z"]


def test_without_text_only_interactions_are_written_and_no_earlier_items_stay(tmp_path):
    write_released(made([[0]], pd.DataFrame({"title": ["A"], "text": ["A"]})), tmp_path)
    write_released(made([[1, 0, 2]], pd.DataFrame(index=range(3))), tmp_path)
    back = load_released(tmp_path)
    assert back.titles()[0] == "item 0" and back.sequences[0].tolist() == [1, 0, 2]


TWO = pd.DataFrame({"title": ["A", "B"], "text": ["A", "B"]})


@pytest.mark.parametrize(
    ("dataset", "fact"),
    [
        (made([[]], TWO), r'user "u0": .*\[\]'),
        (made([[0], [0]], TWO, labels=["7", "7"]), "two users have the same label"),
        (made([[0]], TWO.assign(text=["quite another thing", "B"])), "m, item 0: its text"),
        (made([[0]], TWO[["text"]]), "no title"),
        (made([[0, 1]], pd.DataFrame({"genres": ["a", "b"]})), "no text and no title"),
        (made([[0, 1]], pd.DataFrame(index=range(3))), "items have no interactions"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, dataset, fact):
    with pytest.raises(LetterError, match=fact):
        write_released(dataset, tmp_path)
    assert list(tmp_path.iterdir()) == []


# Names and folders


def test_known_names_must_match_the_file_and_free_names_need_not(tmp_path):
    put(tmp_path, stem="Beauty")
    assert load_dataset("beauty", tmp_path).name == "beauty"
    assert load_dataset("mine", tmp_path).name == "mine"
    with pytest.raises(LetterError, match=r"instruments\.inter\.json .*Beauty\.inter\.json"):
        load_dataset("instruments", tmp_path)
    put(tmp_path, stem="Second")
    assert load_dataset("second", tmp_path).name == "second"
    with pytest.raises(LetterError, match=r"Beauty\.inter\.json, Second\.inter\.json"):
        load_released(tmp_path)


# Broken files


@pytest.mark.parametrize(
    ("inter", "fact"),
    [
        ('{"7": [0, 1, 2], "9": [2, 1', "Made.inter.json: .*line 1"),
        ('{"7": [0, 1, 2], "7": [2, 1, 0]}', 'the key "7"'),
        ({"7": {"0": 1}}, 'Made.inter.json, user "7": expected a list'),
        ({"7": [0, 1.5, 2]}, 'user "7": 1.5 is not'),
        ('{"7": ' + "[" * 3000 + "]" * 3000 + "}", "Made.inter.json: "),
        ({"7": [0, 1, 2], "5": [3, 4, 0], "6": [0]}, 'user "5": item 4 is not in Made.item.json'),
        ({"7": [0, 1, 2], "8": [3, 0]}, 'user "8": 2 item'),
    ],
)
def test_broken_interactions(tmp_path, inter, fact):
    with pytest.raises(LetterError, match=fact):
        load_released(put(tmp_path, inter)).split()


@pytest.mark.parametrize(
    ("items", "fact"),
    [
        ('{"0": {"title": "A"}, ', "Made.item.json"),
        ({"0": ITEMS["0"], "2": ITEMS["2"]}, 'Made.item.json: .*"1" is missing'),
        ({"0": {"name": "A"}}, 'Made.item.json, item "0": expected {"title"'),
        *(({"0": {"title": t}}, 'item "0": its title') for t in (5, 0, False, [], ["A"], {})),
        ({"0": {"title": "A", "description": 0}}, 'item "0": its description .* 0'),
        ({"0": {"title": "A", "categories": 0}}, 'item "0": categories .* 0'),
    ],
)
def test_broken_item_files(tmp_path, items, fact):
    with pytest.raises(LetterError, match=fact):
        load_released(put(tmp_path, items=items))


@pytest.mark.parametrize(
    "counts",
    ["null", "[1]", "[1, 1, 1]", '["1", 1]', "[true, 1]", "[0.5, 1]", "[-1, 1]"]
    + [f"[1, {10**30}]", f"[{2**62}, {2**62}]"],
)
def test_a_split_is_two_whole_numbers_of_items(tmp_path, counts):
    (put(tmp_path) / "Made.split.json").write_text(f'{{"7": [1, 1], "9": {counts}}}')
    with pytest.raises(LetterError, match='Made.split.json, user "9"'):
        load_released(tmp_path)


def test_a_source_that_is_not_utf8_is_read_as_far_as_it_goes(tmp_path):
    (put(tmp_path) / "Made.source.txt").write_bytes("Café".encode("latin-1"))
    assert load_released(tmp_path).source.startswith("Caf")


def test_half_of_a_letter_is_refused_in_a_user_and_replaced_in_an_item(tmp_path):
    items = {item: entry | {"id": f"\ud800{item}"} for item, entry in ITEMS.items()}
    assert load_released(put(tmp_path, items=items)).item_labels == ["?0", "?1", "?2", "?3"]
    with pytest.raises(LetterError, match="half of a letter"):
        load_released(put(tmp_path, inter={"\ud800": [0, 1, 2]}))


def test_ids_that_two_items_share_are_no_labels(tmp_path):
    items = {item: entry | {"id": "B1"} for item, entry in ITEMS.items()}
    assert load_released(put(tmp_path, items=items)).item_labels == []


def test_a_name_of_several_lines_is_an_error_of_one(tmp_path):
    with pytest.raises(LetterError) as caught:
        load_released(put(tmp_path, inter={"7\n\u2028": [0, 1, 9]}))
    assert len(str(caught.value).splitlines()) == 1


def test_missing_folder_and_empty_folder(tmp_path):
    with pytest.raises(LetterError, match="gone: no such folder.*--data-dir"):
        load_released(tmp_path / "gone")
    with pytest.raises(LetterError, match="there is none"):
        load_released(tmp_path)
