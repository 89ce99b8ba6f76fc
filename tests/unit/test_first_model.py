"""The trained model that lies beside lesson 00."""

import numpy as np
import pytest
import torch

import letterlib as ll
from letterlib.course import first_model
from letterlib.data.dataset import Cases
from letterlib.generators.tiger import history_tokens


@pytest.fixture(scope="module")
def model():
    return ll.load(first_model.FILE, device="cpu")


def test_it_names_the_films_of_movielens(model, tmp_path):
    films = ll.data.load_dataset("movielens", cache_dir=tmp_path)
    assert len(model.identifiers) == films.n_items
    titles = ll.recommend(model, films, ["Toy Story (1995)", "Alien (1979)"], k=10)
    assert len(set(titles)) == 10 and not {"Toy Story (1995)", "Alien (1979)"} & set(titles)


def test_the_chances_of_a_name_are_those_that_the_network_gives_its_tokens(model):
    history, item = [5, 900, 17, 33, 2000], 1429
    chances = first_model.next_code(model, history)
    codes = model.identifiers.codes[item].tolist()
    found = [chances(codes[:level])[code] for level, code in enumerate(codes)]

    tokens = torch.from_numpy(model.item_tokens[item])[None, None]
    read, mask = history_tokens(
        Cases.from_histories([history]), model.config.history, model.item_tokens
    )
    with torch.no_grad():
        p = model.network(read, mask, tokens)[0, 0].softmax(dim=1)
    expected = p[torch.arange(len(codes)), tokens[0, 0]]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_nothing_comes_after_a_whole_name_and_what_was_returned_may_be_changed(model):
    chances = first_model.next_code(model, [1, 2])
    chances([])[:] = 0
    assert chances([]).sum() == pytest.approx(1, abs=0.05)
    with pytest.raises(ValueError, match="whole name"):
        chances(model.identifiers.codes[0])
