"""The stars beside MovieLens's interactions: the right ones, kept, and refused for other data."""

from dataclasses import replace

import numpy as np
import pytest

from letterlib.data import load_dataset, movielens, movielens_ratings
from letterlib.data.dataset import Sequences
from letterlib.data.movielens_ratings import load_ratings
from letterlib.errors import LetterError


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def films(cache):
    return load_dataset("movielens", cache_dir=cache)


def test_every_interaction_has_its_own_stars(films, cache):
    stars = load_ratings(films, cache)
    assert stars.shape == films.sequences.values.shape and set(stars * 2) <= set(range(1, 11))
    ratings = movielens.read_ratings().dropna(subset="title")
    titles = ratings["title"].str.strip() + " (" + ratings["year"].astype(int).astype(str) + ")"
    given: dict[tuple[str, str], set[float]] = {}
    for user, title, rating in zip(
        ratings["userId"].astype(str), titles, ratings["rating"], strict=True
    ):
        given.setdefault((user, title), set()).add(rating)
    names, offsets = films.titles(), films.sequences.offsets
    for user, label in enumerate(films.user_labels):
        for item, star in zip(
            films.sequences[user], stars[offsets[user] : offsets[user + 1]], strict=True
        ):
            assert star in given[label, names[item]]


def test_stars_are_kept_and_a_damaged_copy_is_made_again(films, cache, monkeypatch):
    stars = load_ratings(films, cache)
    with monkeypatch.context() as m:
        m.setattr(
            movielens_ratings,
            "read_ratings",
            lambda: pytest.fail("the package's file was opened again"),
        )
        assert np.array_equal(load_ratings(films, cache), stars)
    path = next(cache.glob("*.ratings.parquet"))
    whole = path.read_bytes()
    flipped = [
        whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :]
        for place in range(0, len(whole), 9001)
    ]
    for damaged in (b"damaged", *flipped):
        path.write_bytes(damaged)
        assert np.array_equal(load_ratings(films, cache), stars)


def test_stars_of_other_interactions_are_not_known(films, cache):
    other = replace(
        films, sequences=Sequences(films.sequences.values[::-1].copy(), films.sequences.offsets)
    )
    with pytest.raises(LetterError, match="not those of MovieLens"):
        load_ratings(other, cache)
