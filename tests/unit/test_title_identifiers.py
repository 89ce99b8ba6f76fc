"""P5-TID: titles as identifiers, and codes that are the same token at every place."""

from functools import cache

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from letterlib.data import load_dataset
from letterlib.decoding.trie import EOS, Trie, tokens_of
from letterlib.errors import LetterError
from letterlib.text import find_encoder
from letterlib.tokenizer.title_identifiers import NO_PIECE, title_identifiers

TITLES = [
    "Toy Story",
    "Toy Story 2",
    "The Story",
    "Toy Story",
    "Heat of the Toy, a very long story of a toy 2",
    "",
]


@cache
def tokenizer():
    return AutoTokenizer.from_pretrained(find_encoder())


def words(text: str) -> list[int]:
    return tokenizer().encode(text, add_special_tokens=False)


@pytest.mark.parametrize("length", [1, 2, 5, 26])
def test_an_identifier_read_back_is_its_title(length):
    titles = title_identifiers(TITLES, length)
    for title, row in zip(TITLES, titles.identifiers.codes, strict=True):
        said = titles.pieces[row].tolist()
        used = len([piece for piece in said if piece != NO_PIECE])
        assert said[:used] == words(title)[:length] and set(said[used:]) <= {NO_PIECE}
    assert (
        len(set(titles.pieces.tolist())) == len(titles.pieces) and titles.pieces[0] == NO_PIECE < 0
    )
    assert titles.cut == np.mean([len(words(title)) > length for title in TITLES])


def test_only_pieces_that_occur_before_the_cut_have_codes():
    titles = title_identifiers(TITLES, 3)
    occurring = {piece for title in TITLES for piece in words(title)[:3]}
    assert set(titles.pieces.tolist()) == occurring | {NO_PIECE}
    assert titles.identifiers.level_sizes == (len(occurring) + 1,) * 3


def test_a_word_is_the_same_token_at_every_place():
    identifiers = title_identifiers(TITLES, 3).identifiers
    assert identifiers.shared_vocabulary
    tokens = tokens_of(identifiers.codes, identifiers.level_sizes, True)
    assert tokens[0, 1] == tokens[2, 1]  # "story"
    assert tokens[2, 0] == tokens[4, 2]  # "the" as a first and as a third word
    trie = Trie.build(identifiers.codes, identifiers.level_sizes, shared_vocabulary=True)
    assert (
        trie.vocabulary_size == identifiers.level_sizes[0] + 2
        and tokens.max() < trie.vocabulary_size
    )
    assert np.array_equal(trie.walk(torch.from_numpy(tokens)).numpy(), trie.leaf_of_item)


def test_a_title_is_not_the_beginning_of_another():
    """Without a code for the end, "Toy Story" would stand at an inner node of the trie, above "Toy
    Story 2".
    """
    identifiers = title_identifiers(TITLES, 3).identifiers
    trie = Trie.build(identifiers.codes, identifiers.level_sizes, shared_vocabulary=True)
    toy, story, end = tokens_of(identifiers.codes[0], identifiers.level_sizes, True).tolist()
    two = int(tokens_of(identifiers.codes[1], identifiers.level_sizes, True)[2])
    assert trie.allowed([toy, story]) == sorted([end, two]) and end == 2
    assert trie.allowed([toy, story, end]) == trie.allowed([toy, story, two]) == [EOS]


def test_equal_titles_share_an_identifier_and_others_where_the_cut_makes_them_equal():
    assert title_identifiers(TITLES, 3).identifiers.n_colliding == 2
    assert title_identifiers(TITLES, 2).identifiers.n_colliding == 3


def test_movielens_is_as_the_docstring_says(tmp_path):
    found = title_identifiers(load_dataset("movielens", cache_dir=tmp_path).titles())
    assert found.identifiers.n_colliding == 6 and round(found.cut, 2) == 0.24


def test_beauty_is_as_the_docstring_says(shared_data):
    found = title_identifiers(load_dataset("beauty", shared_data / "beauty").titles())
    assert found.identifiers.n_colliding == 429 and round(found.cut, 2) == 0.36


def test_what_cannot_be_made_is_refused(tmp_path):
    with pytest.raises(LetterError, match="length must be at least 1"):
        title_identifiers(TITLES, 0)
    with pytest.raises(LetterError, match="no title has a word"):
        title_identifiers(["", " "])
    with pytest.raises(LetterError, match="no title has a word"):
        title_identifiers([])
    with pytest.raises(LetterError, match="cannot be loaded"):
        title_identifiers(TITLES, tokenizer=str(tmp_path))
