"""Codes of items, and the released files that hold them."""

import json
from string import ascii_lowercase

import numpy as np
import pytest

from letterlib.errors import LetterError
from letterlib.tokenizer.identifiers import Identifiers

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
    "table, options, facts",
    [
        (GOOD, {"n_items": 4}, ["3 identifiers", "4 items"]),
        (GOOD, {"level_sizes": (3, 7)}, ["item 0", "level 2", "code 7", "0-6"]),
        ({**GOOD, "1": ["<b_7>", "<a_2>"]}, {}, ['item "1"', '"<b_7>"']),
        ({**GOOD, "1": ["<a_2>"]}, {}, ['item "1"', "1 codes", "2"]),
        ({"0": GOOD["0"], "2": GOOD["2"]}, {}, ['"1" is missing']),
        ([GOOD["0"]], {}, []),
        ({}, {}, []),
        ({"0": "<a_0>"}, {}, ['item "0"']),
        ({"0": []}, {}, ['item "0"']),
        ({"0": ["<a_0>"] * 27}, {}, ['item "0"']),
    ],
)
def test_a_wrong_file_is_named_with_the_item(tmp_path, table, options, facts):
    with pytest.raises(LetterError) as error:
        Identifiers.load(written(tmp_path, table), **options)
    assert all(fact in str(error.value) for fact in ["Name.index.json", *facts])


def test_an_identifier_has_up_to_26_levels(tmp_path):
    tokens = [f"<{letter}_1>" for letter in ascii_lowercase]
    one = Identifiers.load(written(tmp_path, {"0": tokens}))
    assert one.level_sizes == (2,) * 26 and one.tokens(0) == tokens


def test_codes_out_of_range_name_the_item_the_level_and_the_range():
    with pytest.raises(LetterError, match=r"item 1, level 2 \(b\): code -1 .* 0-3"):
        Identifiers(np.array([[0, 1], [0, -1]]), (2, 4))


@pytest.mark.parametrize(
    ("codes", "sizes", "shared"),
    [
        ([0, 1], (2,), False),
        ([[0.0, 1.0]], (2, 2), False),
        (np.zeros((0, 2), dtype=int), (2, 2), False),
        ([[0, 1]], (2,), False),
        ([[0, 1]], (2, 3), True),
    ],
)
def test_codes_and_sizes_that_do_not_fit_are_refused(codes, sizes, shared):
    with pytest.raises(LetterError):
        Identifiers(np.array(codes), sizes, shared)


def test_codes_are_copied_and_read_only():
    """What is derived from them is computed once."""
    given = np.array([[0, 1], [1, 0]])
    one = Identifiers(given, (2, 2))
    given[:] = 0
    assert one.codes.tolist() == [[0, 1], [1, 0]]
    for array in (one.codes, one.distinct, one.identifier_of_item):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
