"""The released identifier files, and every way in which such a file can be wrong."""

import json

import numpy as np
import pytest

from letterlib.errors import LetterError
from letterlib.tokenizer.identifiers import MOST_CODES, Identifiers

GOOD = {"0": ["<a_0>", "<b_7>"], "1": ["<a_2>", "<b_7>"], "2": ["<a_0>", "<b_7>"]}


def written(tmp_path, table):
    path = tmp_path / "Name.index.json"
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    return path


@pytest.mark.parametrize(
    "name, n_items, distinct, used",
    [("beauty/Beauty", 12101, 12088, 197), ("instruments/Instruments", 9922, 9897, 150)],
)
def test_the_authors_identifiers_are_read_and_written_back_without_their_spaces(
    shared_data, tmp_path, name, n_items, distinct, used
):
    source = shared_data / f"{name}.index.json"
    released = Identifiers.load(source, n_items=n_items, level_sizes=(256,) * 4)
    assert (released.n_items, released.n_distinct) == (n_items, distinct)
    assert released.dead_codes == (256 - used, 0, 0, 0)
    released.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == source.read_bytes().replace(b" ", b"")


def test_a_small_file_by_hand(tmp_path):
    one = Identifiers.load(written(tmp_path, GOOD))
    np.testing.assert_array_equal(one.codes, [[0, 7], [2, 7], [0, 7]])
    assert one.level_sizes == (3, 8)
    assert (one.n_distinct, one.n_colliding, one.dead_codes) == (2, 2, (1, 7))
    assert one.collision_rate == pytest.approx(1 / 3)
    assert one.tokens(1) == ["<a_2>", "<b_7>"]
    np.testing.assert_array_equal(one.identifier_of_item, [0, 1, 0])
    one.save(tmp_path / "again.json")
    expected = b'{"0":["<a_0>","<b_7>"],"1":["<a_2>","<b_7>"],"2":["<a_0>","<b_7>"]}'
    assert (tmp_path / "again.json").read_bytes() == expected


@pytest.mark.parametrize(
    "table, options, words",
    [
        (GOOD, {"n_items": 4}, ["3 identifiers", "4 items"]),
        (GOOD, {"level_sizes": (3, 7)}, ["item 0", "level 2", "code 7", "0-6"]),
        (GOOD, {"level_sizes": (3, 8, 8)}, ["2 levels", "3 sizes"]),
        ({**GOOD, "1": ["<a_2>", "<c_7>"]}, {}, ['item "1"', '"<c_7>"', '"b"']),
        ({**GOOD, "1": ["<b_7>", "<a_2>"]}, {}, ['item "1"', "order"]),
        ({**GOOD, "1": ["<a_2>", "<b_-1>"]}, {}, ['item "1"', "<b_-1>", "not a token"]),
        ({**GOOD, "1": ["<a_2>", "b_7"]}, {}, ['item "1"', "not a token"]),
        ({**GOOD, "1": ["<a_02>", "<b_7>"]}, {}, ['item "1"', "not a token"]),
        ({**GOOD, "1": ["<a_2>", 7]}, {}, ['item "1"', "not a token"]),
        ({**GOOD, "1": ["<a_2>"]}, {}, ['item "1"', "1 codes", "2"]),
        (
            {**GOOD, "1": ["<a_2>", "<b_100000000>"]},
            {},
            ['item "1"', "<b_100000000>", "100,000,001 tokens", "3 items"],
        ),
        ({**GOOD, "1": "<a_2><b_7>"}, {}, ['item "1"', "list"]),
        ({**GOOD, "1": []}, {}, ['item "1"', "list"]),
        ({"0": GOOD["0"], "2": GOOD["2"]}, {}, ['"1" is missing']),
        ({}, {}, ["expected a table"]),
        ([], {}, ["expected a table"]),
        ('{"0": ["<a_0>"], "0": ["<a_1>"]}', {}, ['"0" appears twice']),
        ('{"0": ["<a_0>"', {}, ["not valid JSON"]),
    ],
)
def test_a_wrong_file_gives_one_clear_line(tmp_path, table, options, words):
    path = written(tmp_path, table)
    with pytest.raises(LetterError) as error:
        Identifiers.load(path, **options)
    message = str(error.value)
    assert "\n" not in message
    for word in ["Name.index.json", *words]:
        assert word in message


def test_a_code_may_be_as_large_as_a_vocabulary_or_the_catalogue_is(tmp_path, monkeypatch):
    big = written(tmp_path, {**GOOD, "1": ["<a_2>", f"<b_{MOST_CODES - 1}>"]})
    assert Identifiers.load(big).level_sizes == (3, MOST_CODES)
    monkeypatch.setattr("letterlib.tokenizer.identifiers.MOST_CODES", 2)
    numbers = {str(i): ["<a_0>", f"<b_{i}>"] for i in range(8)}
    assert Identifiers.load(written(tmp_path, numbers)).level_sizes == (1, 8), (
        "as many codes as items"
    )
    with pytest.raises(
        LetterError, match="8 tokens, for 3 items; number the codes of each level from 0"
    ):
        Identifiers.load(written(tmp_path, GOOD))
    assert Identifiers.load(written(tmp_path, GOOD), level_sizes=(3, 8)).level_sizes == (3, 8), (
        "asked for by size"
    )


def test_a_running_number_makes_paths_distinct():
    paths = np.array([[1, 0], [2, 1], [1, 0], [1, 2], [0, 0], [1, 0]])
    numbered = Identifiers.numbered(paths)
    assert numbered.codes.tolist() == [
        [1, 0, 0],
        [2, 1, 0],
        [1, 0, 1],
        [1, 2, 0],
        [0, 0, 0],
        [1, 0, 2],
    ]
    assert numbered.level_sizes == (3, 3, 3) and numbered.n_colliding == 0


def test_a_running_number_has_as_many_digits_of_256_as_the_largest_path_asks_for():
    assert Identifiers.numbered(np.ones((256, 1), dtype=np.int64)).codes[-1].tolist() == [1, 255]
    numbered = Identifiers.numbered(np.ones((600, 1), dtype=np.int64))
    assert numbered.codes[[255, 256, 599]].tolist() == [[1, 0, 255], [1, 1, 0], [1, 2, 87]]
    assert numbered.level_sizes == (2, 3, 256)


def test_without_filled_paths_one_identifier_would_begin_another():
    paths = np.array([[1, 0], [1, 0], [1, 0], [1, 2], [1, 2]])
    numbered = Identifiers.numbered(paths).codes.tolist()
    naive = [(*(code for code in row[:-1] if code), row[-1]) for row in numbered]
    assert naive[2] == (1, 2) == naive[3][:2]  # having written 1, 2, is one done?
    assert not any(
        one[:n] == other for one in numbered for other in numbered for n in range(len(one))
    )


def test_levels_that_share_a_vocabulary_have_one_size():
    assert Identifiers(np.array([[0, 1], [2, 0]]), (3, 3), shared_vocabulary=True).shared_vocabulary
    with pytest.raises(LetterError, match=r"same size, not \(3, 2\)"):
        Identifiers(np.array([[0, 1], [2, 0]]), (3, 2), shared_vocabulary=True)


def test_codes_out_of_range_name_the_item_the_level_and_the_range():
    with pytest.raises(LetterError, match=r"item 1, level 2 \(b\): code -1 .* 0-3"):
        Identifiers(np.array([[0, 1], [0, -1]]), (2, 4))
    with pytest.raises(LetterError, match="letters for 26 only"):
        Identifiers(np.zeros((1, 27), dtype=int), (1,) * 27)
    for codes in (np.zeros((2, 2)), np.zeros(2, dtype=int), np.zeros((0, 2), dtype=int)):
        with pytest.raises(LetterError, match="integers"):
            Identifiers(codes, (2, 2))


def test_codes_are_the_identifiers_own_and_nobody_changes_them():
    """What is derived from them is computed once."""
    given = np.array([[0, 1], [1, 0]])
    one = Identifiers(given, (2, 2))
    given[:] = 0
    assert one.codes.tolist() == [[0, 1], [1, 0]]
    for array in (one.codes, one.distinct, one.identifier_of_item):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
