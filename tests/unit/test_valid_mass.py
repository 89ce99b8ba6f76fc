"""The probability of valid tokens, on models that know nothing and on one that knows the catalogue."""

import numpy as np
import pytest
import torch

from letterlib.analysis.valid_mass import valid_mass
from letterlib.generators.language_model import TINY, Vocabulary, load_language_model
from letterlib.tokenizer.identifiers import Identifiers

CODES = np.array([[0, 1], [0, 2], [3, 1], [3, 1]])
SIZES = (4, 3)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    tokenizer, model = load_language_model(TINY)
    return Vocabulary.extend(tokenizer, model, Identifiers(CODES, SIZES))


def test_an_even_guess_gives_every_token_its_share(vocabulary):
    size = len(vocabulary.order)
    mass = valid_mass(torch.zeros(4, 3, size), np.arange(4), vocabulary, SIZES)
    np.testing.assert_allclose(mass[0] * size, [7, 7, 1], rtol=1e-5)
    np.testing.assert_allclose(mass[1] * size, [4, 3, 1], rtol=1e-5)
    # First codes 0 and 3; after 0 two codes, after 3 one, and half of the items begin with each.
    np.testing.assert_allclose(mass[2] * size, [2, 1.5, 1], rtol=1e-5)


def test_a_model_that_writes_its_items_puts_everything_on_them(vocabulary):
    logits = torch.zeros(4, 3, len(vocabulary.order))
    for row, tokens in enumerate(vocabulary.item_tokens):
        for place, token in enumerate([*tokens, vocabulary.end]):
            logits[row, place, token] = 100.0
    np.testing.assert_allclose(valid_mass(logits, np.arange(4), vocabulary, SIZES), 1, rtol=1e-5)


def test_a_code_of_the_level_need_not_be_in_the_catalogue(vocabulary):
    logits = torch.zeros(1, 3, len(vocabulary.order))
    logits[0, 1, vocabulary.new_tokens[4 + 2]] = 100.0  # <b_2> after <a_3>
    mass = valid_mass(logits, np.array([2]), vocabulary, SIZES)
    assert mass[1, 1] == pytest.approx(1) and mass[2, 1] == pytest.approx(0, abs=1e-6)


def test_a_code_of_another_level_is_a_code_all_the_same(vocabulary):
    logits = torch.zeros(1, 3, len(vocabulary.order))
    logits[0, 1, vocabulary.new_tokens[1]] = 100.0  # <a_1> where a second code is due
    mass = valid_mass(logits, np.array([0]), vocabulary, SIZES)
    assert mass[0, 1] == pytest.approx(1) and mass[1, 1] == pytest.approx(0, abs=1e-6)
