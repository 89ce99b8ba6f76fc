"""Two tables of one's own become a data set, or one clear line says why not."""

import ast
import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from letterlib.cli import app
from letterlib.data.dataset import Dataset, Sequences
from letterlib.data.prepared import prepared
from letterlib.data.released import load_released, write_released
from letterlib.data.tables import read_own_tables
from letterlib.errors import LetterError
from letterlib.tokenizer.identifiers import Identifiers

USERS, ITEMS = 12, 9
IMPORTS = "from letterlib.data.released import write_released; from letterlib.data.tables import read_own_tables"


def written(folder, rows=None, items=None, *, name="i.csv", **options):
    """Two files; by default a table in which user u has all items, from item u on, with times as
    said by `rows`.
    """
    if rows is None:
        rows = [
            (f"0{u}", f"{(u + t) % ITEMS:03}", str(100 * t + u))
            for t in range(ITEMS)
            for u in range(USERS)
        ]
    if items is None:
        items = [
            (f"{i:03}", f" Thing {i}", "fine, blue" if i % 2 else "") for i in range(ITEMS + 2)
        ]
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    frame.to_csv(folder / name, index=False, **options)
    pd.DataFrame(items, columns=["item", "title", "description"]).to_csv(
        folder / "p.csv", index=False
    )
    return folder / name, folder / "p.csv"


def histories(dataset):
    rows = zip(
        dataset.user_labels, (dataset.sequences[i] for i in range(dataset.n_users)), strict=True
    )
    return {user: [dataset.item_labels[i] for i in items] for user, items in rows}


def test_spaces_in_the_first_line_make_no_other_columns(tmp_path):
    usual = histories(read_own_tables("shop", *written(tmp_path))[0])
    file = tmp_path / "i.csv"
    file.write_text(file.read_text().replace("user,item,time", "user, item , time"))
    assert histories(read_own_tables("shop", file, tmp_path / "p.csv")[0]) == usual


def test_spaces_around_an_id_make_no_other_id(tmp_path):
    """Otherwise half of a user's rows would be another user's, without a word."""
    usual = histories(read_own_tables("shop", *written(tmp_path))[0])
    rows = [
        (f"0{u}" + " " * (t % 2), f" {(u + t) % ITEMS:03}"[t % 2 :], str(100 * t + u))
        for t in range(ITEMS)
        for u in range(USERS)
    ]
    items = [(f"{i:03} ", f"Thing {i}", "") for i in range(ITEMS + 2)]
    (tmp_path / "spaced").mkdir()
    assert (
        histories(read_own_tables("shop", *written(tmp_path / "spaced", rows, items))[0]) == usual
    )


EXPECTED = {f"0{u}": [f"{(u + t) % ITEMS:03}" for t in range(ITEMS)] for u in range(USERS)}


def test_rows_in_any_order_become_histories_in_the_order_of_time(tmp_path):
    paths = written(tmp_path)
    shuffled = pd.read_csv(paths[0], dtype=str).sample(frac=1, random_state=0)
    again = shuffled.iloc[:5].assign(time="5000")  # later rows of what they have already
    pd.concat([again, shuffled]).to_csv(paths[0], index=False)
    dataset, lines = read_own_tables("shop", *paths)
    assert histories(dataset) == EXPECTED
    assert dataset.item_labels == [f"{i:03}" for i in range(ITEMS)], (
        "two items that nobody has are left out"
    )
    assert dataset.items["text"].tolist()[:2] == ["Thing 0", "Thing 1. fine, blue"]
    assert lines[1].startswith("5 repeated")


def test_an_item_may_have_a_description_and_no_title(tmp_path):
    items = [(f"{i:03}", "" if i == 4 else f"Thing {i}", "fine") for i in range(ITEMS)]
    write_released(read_own_tables("shop", *written(tmp_path, items=items))[0], tmp_path / "out")
    back = load_released(tmp_path / "out")
    assert back.titles()[3:5] == ["Thing 3", "item 4"] and back.texts()[3:5] == [
        "Thing 3. fine",
        "fine",
    ]


def test_labels_are_the_same_however_they_are_spaced(tmp_path):
    paths = written(tmp_path)
    items = pd.read_csv(paths[1], dtype=str)
    spellings = ["Drama|Comedy", " Drama | Comedy ", "Drama||Comedy|", "|Drama |Comedy"]
    items.assign(genres=[spellings[n % 4] for n in range(len(items))]).to_csv(paths[1], index=False)
    assert set(read_own_tables("shop", *paths)[0].items["genres"]) == {"Drama|Comedy"}


def test_users_and_items_with_few_rows_are_left_out_and_counted(tmp_path):
    paths = written(tmp_path)
    with open(paths[0], "a", encoding="utf-8") as file:
        file.write("rare,001,1\nrare,009,2\n")
    dataset, lines = read_own_tables("shop", *paths)
    assert histories(dataset) == EXPECTED
    assert "1 users and 1 items had too few, and were left out with 2 interactions" in lines[2]
    with pytest.raises(LetterError, match="nothing is left of the 20-core; a smaller --k"):
        read_own_tables("shop", *paths, k=20)


@pytest.mark.parametrize(
    "change",
    [
        dict(name="i.tsv", sep="\t"),
        dict(name="i.csv.gz", compression="gzip"),
        dict(encoding="utf-8-sig"),
        dict(lineterminator="\r\n"),
        dict(columns=["time", "item", "user"]),
    ],
    ids=lambda one: str(one),
)
def test_other_ways_to_write_the_same_table(tmp_path, change):
    assert histories(read_own_tables("shop", *written(tmp_path, **change))[0]) == EXPECTED


def test_a_comma_that_ends_every_line_is_no_field(tmp_path):
    """Some spreadsheets write one; of pandas 2 and 3, one said that data were lost."""
    paths = written(tmp_path)
    header, *lines = paths[0].read_text(encoding="utf-8").splitlines()
    paths[0].write_text("\n".join([header, *(f"{line}," for line in lines)]), encoding="utf-8")
    assert histories(read_own_tables("shop", *paths)[0]) == EXPECTED


@pytest.mark.parametrize("form", ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S+02:00"])
def test_times_may_be_dates(tmp_path, form):
    paths = written(tmp_path)
    rows = pd.read_csv(paths[0], dtype=str)
    days = pd.to_datetime("2019-12-25") + pd.to_timedelta(rows["time"].astype(int), unit="D")
    rows.assign(time=days.dt.strftime(form)).to_csv(paths[0], index=False)
    assert histories(read_own_tables("shop", *paths)[0]) == EXPECTED


def test_days_may_be_written_without_hyphens_and_times_of_nanoseconds_keep_their_order(tmp_path):
    paths = written(tmp_path)
    rows = pd.read_csv(paths[0], dtype=str)
    times = rows["time"].astype(int)
    rows.assign(time=10**18 + times).to_csv(paths[0], index=False)
    assert histories(read_own_tables("shop", *paths)[0]) == EXPECTED
    days = (pd.to_datetime("2019-12-25") + pd.to_timedelta(times, unit="D")).dt.strftime("%Y%m%d")
    days[::2] = pd.to_datetime(days[::2]).dt.strftime("%Y-%m-%d")
    rows.assign(time=days).to_csv(paths[0], index=False)
    assert histories(read_own_tables("shop", *paths)[0]) == EXPECTED


def test_a_row_is_named_as_a_reader_counts_rows(tmp_path):
    """Not by lines, of which a row may take several and an empty one none."""
    paths = written(tmp_path)
    paths[0].write_text(
        'user,item,time,note\n\n\na,b,1,"two\nlines"\na,c,soon,x\n', encoding="utf-8"
    )
    with pytest.raises(LetterError, match="i.csv, data row 2: the time is 'soon'"):
        read_own_tables("shop", *paths)


@pytest.mark.parametrize(
    "name, content",
    [
        ("half.csv.gz", gzip.compress(b"user,item,time\n" * 500, mtime=0)[:40]),
        ("damaged.csv.gz", gzip.compress(b"user,item,time\na,b,1\n", mtime=0)[:10] + b"\xff" * 40),
        ("text.csv.zip", b"user,item,time\na,b,1\n"),
        ("text.csv.xz", b"user,item,time\na,b,1\n"),
        ("text.csv.tar", b"user,item,time\na,b,1\n"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_cannot_be_unpacked_is_one_line(tmp_path, name, content):
    _, items = written(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LetterError, match=f"{name}: cannot be (unpacked|read)") as caught:
        read_own_tables("shop", tmp_path / name, items)
    assert "\n" not in str(caught.value)


BAD = {
    "no such file": lambda i, p: i.unlink(),
    "is empty; the first line": lambda i, p: i.write_text(""),
    "has no rows": lambda i, p: i.write_text("user,item,time\n"),
    "no column time; its first line names user, item": lambda i, p: i.write_text(
        "user,item\na,b\n"
    ),
    "no column user.*columns are separated by commas": lambda i, p: i.write_text(
        "user;item;time\na;b;1\n"
    ),
    "data row 2: no user .1 such rows": lambda i, p: i.write_text("user,item,time\na,b,1\n,b,2\n"),
    "data row 1: no user": lambda i, p: i.write_text("user,item,time\n  ,b,2\n"),
    'data row 2: the user is "NA", as for a missing one .2 such rows': lambda i, p: i.write_text(
        "user,item,time\na,b,1\nNA,b,2\n NaN ,b,3\n"
    ),
    "two columns are called user": lambda i, p: i.write_text("user, user,item,time\na,a,b,1\n"),
    'data row 1: the item is "None"': lambda i, p: i.write_text("user,item,time\na,None,1\n"),
    "data row 1: no item": lambda i, p: i.write_text("user,item,time\na,,1\n"),
    "data row 2: the time is 'soon' .1 such": lambda i, p: i.write_text(
        "user,item,time\na,b,1\na,c,soon\n"
    ),
    "data row 1: the time is '5' .1 such": lambda i, p: i.write_text(
        "user,item,time\na,b,5\na,c,2024-01-01\n"
    ),
    "data row 1: the time is '1999' .1 such": lambda i, p: i.write_text(
        "user,item,time\na,b,1999\na,c,2024-01-01\n"
    ),
    "above 2..53; .* whole numbers": lambda i, p: i.write_text(
        f"user,item,time\na,b,{10**18}\na,c,{10**18 + 1}.0\n"
    ),
    "the time is ''": lambda i, p: i.write_text("user,item,time\na,b,1\na,c,\n"),
    "the time is 'inf'": lambda i, p: i.write_text("user,item,time\na,b,1\na,c,inf\n"),
    "is not text in UTF-8": lambda i, p: i.write_bytes("user,item,time\né,b,1\n".encode("latin-1")),
    "p.csv: is not text in UTF-8": lambda i, p: p.write_bytes(gzip.compress(b"item,title\n")),
    "i.csv: cannot be read as a table": lambda i, p: i.write_text(
        "user,item,time\na,b,1\na,b,1,2,3\n"
    ),
    "i.csv: cannot be read as a table .*header": lambda i, p: i.write_text(
        "user,item,time\na,b,1,x\na,c,2,\n"
    ),
    "no column title": lambda i, p: p.write_text("item,name\n000,a\n"),
    'p.csv: shop: item "003" has interactions and no row .*6 such': lambda i, p: p.write_text(
        "item,title\n000,a\n001,b\n002,c\n"
    ),
    'p.csv: shop: item "000" is there twice .1 such': lambda i, p: p.write_text(
        p.read_text() + "000,again,\n"
    ),
    "no item has a title": lambda i, p: p.write_text(
        "item,title\n" + "".join(f"{i:03},\n" for i in range(ITEMS))
    ),
}


@pytest.mark.parametrize("words", BAD)
def test_what_is_wrong_with_a_table_is_one_line_and_nothing_is_written(
    tmp_path, monkeypatch, words
):
    monkeypatch.chdir(tmp_path)
    paths = written(tmp_path)
    BAD[words](*paths)
    with pytest.raises(LetterError, match=words) as caught:
        read_own_tables("shop", *paths)
    assert "\n" not in str(caught.value)
    assert CliRunner().invoke(app, ["data", "import", "shop", *map(str, paths)]).exit_code != 0
    assert not (tmp_path / "data").exists()


def test_the_command_makes_a_folder_that_the_other_commands_find(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = list(map(str, written(tmp_path)))
    said = CliRunner().invoke(app, ["data", "import", "shop", *paths])
    assert said.exit_code == 0 and "next: letterlib run --dataset shop\n" in said.output, (
        said.output
    )
    assert histories(load_released("data/shop")) == EXPECTED
    assert "12 users, 9 items" in CliRunner().invoke(app, ["data", "--dataset", "shop"]).output
    elsewhere = CliRunner().invoke(app, ["data", "import", "shop", *paths, "--data-dir", "other"])
    assert "letterlib run --dataset shop --data-dir other" in elsewhere.output
    for name, words in (
        ("movielens", "is called so already"),
        ("yelp", "is called so already"),
        ("a b", "letters, dig"),
    ):
        wrong = CliRunner().invoke(app, ["data", "import", name, *paths])
        assert isinstance(wrong.exception, LetterError) and words in str(wrong.exception)
    wrong = CliRunner().invoke(app, ["data", "import", "store", *paths, "--data-dir", "other"])
    assert "shop.inter.json is there already" in str(wrong.exception)
    assert CliRunner().invoke(app, ["data", "import", "shop", *paths]).exit_code == 0, (
        "a newer export of the same tables"
    )
    (tmp_path / "data" / "shop" / "shop.index.json").write_text("{}")
    wrong = CliRunner().invoke(app, ["data", "import", "shop", *paths])
    assert "shop.index.json is there already; move it away" in str(wrong.exception)


def test_own_ids_of_items_survive_export_and_preparation_and_change_no_fingerprint(tmp_path):
    dataset, _ = read_own_tables("shop", *written(tmp_path))
    write_released(dataset, tmp_path / "out")
    back = load_released(tmp_path / "out")
    assert (
        list(back.item_labels) == list(dataset.item_labels)
        and back.fingerprint == dataset.fingerprint
    )
    kept = prepared("shop", 1, tmp_path / "kept", lambda: dataset)
    assert list(kept.item_labels) == list(dataset.item_labels) and kept.items.equals(dataset.items)
    entries = json.loads((tmp_path / "out" / "shop.item.json").read_text(encoding="utf-8"))
    del entries["3"]["id"]
    (tmp_path / "out" / "shop.item.json").write_text(json.dumps(entries), encoding="utf-8")
    assert list(load_released(tmp_path / "out").item_labels) == [], "some are none"


def test_a_failed_export_leaves_the_earlier_one_as_it_was(tmp_path, monkeypatch):
    """Items of one export beside interactions of another would be loaded without a word."""

    def made(word):
        items = pd.DataFrame({"title": [f"{word} {i}" for i in range(4)]})
        lists = Sequences.from_lists([np.arange(4), [3, 2, 1]])
        return Dataset("m", lists, items.assign(text=items["title"]), "", ["a", "b"])

    write_released(made("old"), tmp_path)

    def full(path, value):
        raise LetterError(f"{path}: could not be written")

    monkeypatch.setattr("letterlib.data.released.write_json", full)
    with pytest.raises(LetterError, match="could not be written"):
        write_released(made("new"), tmp_path)
    assert load_released(tmp_path).titles() == [f"old {i}" for i in range(4)]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m.inter.json", "m.item.json"]


def test_what_the_page_on_data_says_of_tables_of_one_s_own(tmp_path, monkeypatch, capsys):
    """Its commands and its code, as they stand there, but for the profile, which would take
    minutes.
    """
    page = (Path(__file__).resolve().parents[2] / "data" / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    rows = [(f"u{u}", f"SKU-{(3 * u + t) % 40:03}", t) for u in range(60) for t in range(8)]
    pd.DataFrame(rows, columns=["user", "item", "time"]).to_csv("interactions.csv", index=False)
    items = pd.DataFrame(
        {"item": [f"SKU-{i:03}" for i in range(40)], "title": [f"thing {i}" for i in range(40)]}
    )
    items.to_csv("items.csv", index=False)
    command = re.search(r"^letterlib (data import .*)$", page, re.MULTILINE)[1]
    assert CliRunner().invoke(app, command.split()).exit_code == 0
    exec(f"from pathlib import Path; {IMPORTS}; {re.search(r'In Python: `(.*?)`', page)[1]}", {})
    one_list, of_films, other_lists, own_vectors = re.findall(
        r"```python\n(.*?)```", page, re.DOTALL
    )[:4]
    assert one_list.count('"laptop"') == of_films.count('"laptop"') == 1
    exec(one_list.replace('"laptop"', '"smoke"'), names := {})
    ids = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])
    assert len(set(ids)) == 10 and set(ids) <= set(items["item"]) - {"SKU-017", "SKU-004"}
    exec(of_films.replace('"laptop"', '"smoke"'), dict(names))
    films = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])
    assert len(set(films)) == 10 and "Toy Story (1995)" not in films
    exec(other_lists, names)
    said, targets = capsys.readouterr().out.splitlines(), names["cases"].targets
    (recall,) = (line for line in said if line.startswith("R@10 "))
    assert float(recall.removeprefix("R@10 ")) == (targets < 10).mean() > 0, (
        "the first ten items, for everybody"
    )
    assert said[-1].startswith("LETTER-TIGER is ahead by ")
    exec(own_vectors, names)
    assert "'identifier R@10': " in capsys.readouterr().out
    assert Identifiers.load("shop.index.json", n_items=40).n_distinct > 20


@pytest.mark.parametrize(
    ("rows", "column"),
    [
        (
            ['003\t"Heroes (1977)\tfine', '004\tB 12" Single\tfine'],
            "title",
        ),  # two rows would become one
        (['003\tHeroes\t"fine', '004\tBlackout\tfine"'], "description"),
    ],
    ids=["a title", "a description"],
)
def test_a_mark_that_begins_a_field_swallows_no_row(tmp_path, rows, column):
    interactions, _ = written(tmp_path)
    lines = ["item\ttitle\tdescription", *(f"{i:03}\tThing {i}\tfine" for i in range(3)), *rows]
    lines += [f"{i:03}\tThing {i}\tfine" for i in range(5, ITEMS)]
    (tmp_path / "p.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(LetterError, match=f"data row 4: its {column} holds a tab or a line end"):
        read_own_tables("shop", interactions, tmp_path / "p.tsv")


@pytest.mark.parametrize("name", ["p.tsv.bz2", "p.csv", "shop.tsv.csv"])
def test_a_title_in_marks_and_a_description_of_two_lines_are_read_as_pandas_writes_them(
    tmp_path, name
):
    interactions, _ = written(tmp_path)
    told = {
        "title": ['"Heroes" (1977)'] * ITEMS,
        "description": ["two\nlines"] * ITEMS,
        "of no use": ["a\tb"] * ITEMS,
    }
    frame = pd.DataFrame({"item": [f"{i:03}" for i in range(ITEMS)], **told})
    frame.to_csv(tmp_path / name, sep="\t" if "bz2" in name else ",", index=False)
    assert read_own_tables("shop", interactions, tmp_path / name)[0].titles() == told["title"]


def test_a_mark_that_begins_an_id_of_a_csv_swallows_no_row(tmp_path):
    interactions, items = written(tmp_path)
    with open(interactions, "a", encoding="utf-8") as file:
        file.write('"Bob,001,1\n' + "carl,002,2\n" * 5 + '"Al,003,3\n')
    with pytest.raises(
        LetterError, match=f"data row {USERS * ITEMS + 1}: its user holds a tab or a line end"
    ):
        read_own_tables("shop", interactions, items)


def test_what_would_be_noticed_late_is_said_at_once(tmp_path):
    """Numbers that become others, items without a title, times in two units: none is an error, all
    are said.
    """
    lines = read_own_tables("shop", *written(tmp_path))[1]
    assert lines[-1].startswith(
        'numbers are given anew, in the order of ids as text: item 0 is your "000"'
    )
    same = [(f"u{u}", str(t % 5), t) for u in range(6) for t in range(5)]
    untitled = [(str(i), "" if i else "Thing", "") for i in range(5)]
    lines = read_own_tables("shop", *written(tmp_path, same, items=untitled))[1]
    assert lines[-2:] == ["times are from 0 to 4", "items without a title: 4"]


def test_what_the_tables_were_made_of_is_known_when_they_are_read_again(tmp_path):
    dataset, _ = read_own_tables("shop", *written(tmp_path))
    write_released(dataset, tmp_path / "out")
    made_of = "i.csv and p.csv: the first interaction of a user with an item, 5-core"
    assert load_released(tmp_path / "out").source == made_of
    assert load_released(tmp_path / "out").fingerprint == dataset.fingerprint
    write_released(replace(dataset, source=""), tmp_path / "out")
    assert load_released(tmp_path / "out").source.startswith("released file shop.inter.json")


@pytest.mark.parametrize(
    "text", [". of few words", "item 4 is red", "item 4. red", "item 4.", "item 4"]
)
def test_an_item_without_a_title_may_have_any_description(tmp_path, text):
    items = [(f"{i:03}", "" if i == 4 else f"Thing {i}", text) for i in range(ITEMS)]
    write_released(read_own_tables("shop", *written(tmp_path, items=items))[0], tmp_path / "out")
    back = load_released(tmp_path / "out")
    assert (back.titles()[4], back.texts()[4]) == ("item 4", text)
    write_released(back, tmp_path / "again")
    assert load_released(tmp_path / "again").texts() == back.texts()


def test_times_of_two_units_and_titles_of_two_lines_are_said(tmp_path):
    pairs = [(u, t) for u in range(USERS) for t in range(ITEMS)]
    rows = [
        (f"0{u}", f"{(u + t) % ITEMS:03}", str((1 + t) * (10**12 if u else 10**9)))
        for u, t in pairs
    ]
    items = [(f"{i:03}", "Big\n003,foo" if i == 2 else f"Thing {i}", "") for i in range(ITEMS)]
    _, lines = read_own_tables("shop", *written(tmp_path, rows, items))
    assert any("1 titles go over several lines, such as 'Big" in line for line in lines)
    assert any("in seconds, others not?" in line for line in lines)
    _, lines = read_own_tables("shop", *written(tmp_path))
    assert not any("lines" in line or "seconds" in line for line in lines)


def test_two_tables_with_no_item_in_common_are_said_to_have_none(tmp_path):
    items = [(f"{i}.0", f"Thing {i}", "fine") for i in range(ITEMS)]
    with pytest.raises(
        LetterError, match=r'p.csv: none of its items, such as "0.0", is in .*i.csv, which has "00'
    ):
        read_own_tables("shop", *written(tmp_path, items=items))


def test_ties_are_counted_and_their_order_is_said(tmp_path):
    rows = [
        (f"0{u}", f"{(u + t) % ITEMS:03}", "2024-03-31") for t in range(ITEMS) for u in range(USERS)
    ]
    dataset, lines = read_own_tables("shop", *written(tmp_path, rows))
    assert (
        lines[4].startswith(f"{USERS * ITEMS} of them share user and time")
        and "order of their item ids" in lines[4]
    )
    assert histories(dataset)["03"] == dataset.item_labels
    assert read_own_tables("shop", *written(tmp_path))[1][4].startswith("0 of them")


def test_a_prepared_copy_in_which_an_item_s_own_id_has_changed_is_made_again(tmp_path, capsys):
    """Recommendations would name another product; the fingerprint does not hold the labels."""
    dataset, _ = read_own_tables("shop", *written(tmp_path))
    prepared("shop", 1, tmp_path / "kept", lambda: dataset)
    (file,) = (tmp_path / "kept").glob("*.items.parquet")
    pd.read_parquet(file).replace({"label": {"003": "008", "008": "003"}}).to_parquet(file)
    assert (
        prepared("shop", 1, tmp_path / "kept", lambda: dataset).item_labels == dataset.item_labels
    )
    assert "its content is not what was written" in capsys.readouterr().out
