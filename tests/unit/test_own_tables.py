"""A user's own two tables become a data set, or one clear line tells why not."""

import ast
import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from letterlib.baselines.popularity import Popularity
from letterlib.cli import app
from letterlib.data.released import load_released, write_released
from letterlib.data.tables import read_own_tables
from letterlib.errors import LetterError
from letterlib.tokenizer.identifiers import Identifiers

USERS, ITEMS = 12, 9
EXPECTED = {f"0{u}": [f"{(u + t) % ITEMS:03}" for t in range(ITEMS)] for u in range(USERS)}
IMPORTS = (
    "from letterlib.data.released import write_released; from letterlib.data.tables import "
    "read_own_tables"
)


def written(folder, rows=None, items=None, *, name="i.csv", **options):
    """Two files; by default user u has all items, from item u on."""
    if rows is None:
        pairs = [(u, t) for t in range(ITEMS) for u in range(USERS)]
        rows = [(f"0{u}", f"{(u + t) % ITEMS:03}", str(100 * t + u)) for u, t in pairs]
    if items is None:
        items = [(f"{i:03}", f" Thing {i}", "fine, blue" * (i % 2)) for i in range(ITEMS + 2)]
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    frame.to_csv(folder / name, index=False, **options)
    frame = pd.DataFrame(items, columns=["item", "title", "description"])
    frame.to_csv(folder / "p.csv", index=False)
    return folder / name, folder / "p.csv"


def histories(dataset):
    rows = zip(dataset.user_labels, dataset.sequences, strict=True)
    return {user: [dataset.item_labels[i] for i in items] for user, items in rows}


def test_rows_in_any_order_become_histories_in_the_order_of_time(tmp_path):
    paths = written(tmp_path)
    shuffled = pd.read_csv(paths[0], dtype=str).sample(frac=1, random_state=0)
    again = shuffled.iloc[:5].assign(time="5000")  # later rows of what they have already
    rare = pd.DataFrame({"user": "rare", "item": ["001", "009"], "time": "1"})
    pd.concat([again, shuffled, rare]).to_csv(paths[0], index=False)
    dataset, lines = read_own_tables("shop", *paths, repeats="drop")
    assert histories(dataset) == EXPECTED
    assert dataset.item_labels == [f"{i:03}" for i in range(ITEMS)]
    assert dataset.items["text"].tolist()[:2] == ["Thing 0", "Thing 1. fine, blue"]
    assert "115 interactions of 13 users with 10 items" in lines[0] and lines[1].startswith("5 ")
    assert "1 users and 1 items" in lines[2] and "2 interactions" in lines[2]
    with pytest.raises(LetterError, match="i.csv: .* 20-core.*--k"):
        read_own_tables("shop", *paths, k=20)


def test_parquet_gives_the_same_data_set_as_csv(tmp_path):
    paths = written(tmp_path)
    expected, _ = read_own_tables("shop", *paths)
    rows = pd.read_csv(paths[0], dtype=str)
    typed = rows.assign(time=pd.to_datetime(rows["time"].astype(int), unit="h"))
    typed = typed.rename(columns={"user": "customer_id"})
    typed.to_parquet(tmp_path / "i.parquet")
    items = pd.read_csv(paths[1], dtype=str).assign(genres=[["a", "b"]] * (ITEMS + 2))
    items.to_parquet(tmp_path / "p.parquet")
    both = tmp_path / "i.parquet", tmp_path / "p.parquet"
    found, _ = read_own_tables("shop", *both, names={"user": "customer_id"})
    assert histories(found) == histories(expected) == EXPECTED
    assert found.items["text"].equals(expected.items["text"])
    assert found.items["genres"].tolist() == ["a|b"] * ITEMS


@pytest.mark.parametrize("title", [1917, [], ["A", "B"]], ids=str)
def test_a_title_in_parquet_is_text(tmp_path, title):
    interactions, items = written(tmp_path)
    table = pd.read_csv(items, dtype=str).assign(title=[title] * (ITEMS + 2))
    table.to_parquet(tmp_path / "p.parquet")
    with pytest.raises(LetterError, match="p.parquet, data row 1: title"):
        read_own_tables("shop", interactions, tmp_path / "p.parquet")


def parts_of(dataset):
    """User -> part -> targets, by their labels; histories end where the target stands."""
    split, found = dataset.split(), {}
    for part in ("train", "valid", "test"):
        cases = split.cases(part)
        for user, target, start, end in zip(
            cases.users, cases.targets, cases.starts, cases.ends, strict=True
        ):
            assert cases.values[end] == target and start < end
            mine = found.setdefault(dataset.user_labels[user], {})
            mine.setdefault(part, []).append(dataset.item_labels[target])
    return found


def test_a_temporal_split_cuts_all_users_at_the_same_times(tmp_path):
    paths = written(tmp_path)  # user u has its t-th item at 100 t + u
    late = pd.DataFrame([("late", f"{i:03}", str(810 + i)) for i in range(ITEMS)])
    late.to_csv(paths[0], mode="a", header=False, index=False)
    dataset, lines = read_own_tables("shop", *paths, cuts=("605", "803"))
    found = parts_of(dataset)
    assert "late" not in dataset.user_labels and "1 users have none in training" in lines[-2]
    for u in range(USERS):
        user = f"0{u}"
        times = dict(enumerate(100 * t + u for t in range(ITEMS)))
        for part, low, high in (("train", 0, 605), ("valid", 605, 803), ("test", 803, 9999)):
            wanted = [EXPECTED[user][t] for t in times if low <= times[t] < high]
            wanted = wanted[1:] if part == "train" else wanted  # the first has no history
            assert found[user].get(part, []) == wanted
    write_released(dataset, tmp_path / "shop")
    again = load_released(tmp_path / "shop")
    assert parts_of(again) == found and again.fingerprint == dataset.fingerprint
    assert Popularity().fit(again.split()).recommend(again.split().cases("test"), 3)
    plain, _ = read_own_tables("shop", *written(tmp_path))
    write_released(plain, tmp_path / "shop")
    assert load_released(tmp_path / "shop").held is None


def test_a_split_of_ones_own_is_kept_and_has_to_follow_time(tmp_path):
    paths = written(tmp_path)
    rows = pd.read_csv(paths[0], dtype=str)
    step = rows["time"].astype(int) // 100
    rows["time"] = (step // 2 * 2).astype(str)  # pairs of one moment
    rows["set"] = step.map(lambda t: "train" if t < 5 else "valid" if t == 5 else "test")
    rows.sample(frac=1, random_state=0).to_csv(paths[0], index=False)
    dataset, _ = read_own_tables("shop", *paths, names={"split": "set"})
    found = parts_of(dataset)
    for user, items in EXPECTED.items():
        assert found[user]["valid"] == [items[5]]
        assert sorted(found[user]["test"]) == sorted(items[6:])
        assert len(found[user]["train"]) == 4 and items[4] in found[user]["train"]
    rows.loc[(rows["user"] == "03") & (step == 0), "set"] = "test"
    rows.to_csv(paths[0], index=False)
    with pytest.raises(LetterError, match='user "03": a row of train'):
        read_own_tables("shop", *paths, names={"split": "set"})


@pytest.mark.parametrize(
    "change",
    [
        dict(name="i.tsv", sep="\t"),
        dict(name="i.csv.gz", compression="gzip"),
        dict(encoding="utf-8-sig"),
        dict(lineterminator="\r\n"),
        dict(lineterminator=",\n"),
        dict(columns=["time", "item", "user"], header=["time", " item ", "user "]),
    ],
    ids=str,
)
def test_other_ways_to_write_the_same_table(tmp_path, change):
    paths = written(tmp_path, **change)
    if change.get("lineterminator") == ",\n":  # as some spreadsheets write rows, but not the first
        paths[0].write_text(paths[0].read_text().replace("time,", "time", 1))
    assert histories(read_own_tables("shop", *paths)[0]) == EXPECTED


@pytest.mark.parametrize(
    "form", ["%Y-%m-%d", "%Y%m%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M+02:00"]
)
def test_times_may_be_dates(tmp_path, form):
    paths = written(tmp_path)
    rows = pd.read_csv(paths[0], dtype=str)
    days = pd.to_datetime("2019-12-25") + pd.to_timedelta(rows["time"].astype(int), unit="D")
    rows.assign(time=days.dt.strftime(form)).to_csv(paths[0], index=False)
    assert histories(read_own_tables("shop", *paths)[0]) == EXPECTED


def test_ties_are_counted_and_in_random_order(tmp_path):
    rows = [(user, item, "2024-03-31") for user, items in EXPECTED.items() for item in items]
    dataset, lines = read_own_tables("shop", *written(tmp_path, rows))
    mine = histories(dataset)["03"]
    assert sorted(mine) == dataset.item_labels and mine != dataset.item_labels
    assert dataset.sequences.tied.sum() == USERS * (ITEMS - 1)
    assert lines[4].startswith(f"{USERS * ITEMS} of them")


BAD = {
    "i.csv: .*[Nn]o such file": lambda i, p: i.unlink(),
    "no column time; .*user, item, .*commas": lambda i, p: i.write_text("user,item\na,b\n"),
    'i.csv, data row 2: user is "" .1 such': lambda i, p: i.write_text(
        "user,item,time\n\na,b,1\n  ,b,2\n"
    ),
    'i.csv, data row 2: time is "soon" .1 such': lambda i, p: i.write_text(
        'user,item,time,note\n\na,b,1,"two\nlines"\na,c,soon,x\n'
    ),
    'data row 1: time is "5" .1 such': lambda i, p: i.write_text(
        "user,item,time\na,b,5\na,c,2024-01-01\n"
    ),
    "i.csv: .*utf-8": lambda i, p: i.write_bytes("user,item,time\né,b,1\n".encode("latin-1")),
    "i.csv: cannot be read as a table": lambda i, p: i.write_text(
        "user,item,time\na,b,1\na,b,1,2,3\n"
    ),
    "i.csv: two columns are called time": lambda i, p: i.write_text(
        i.read_text().replace("\n", ",5\n").replace("time,5", "time, time")
    ),
    "no column title": lambda i, p: p.write_text("item,name\n000,a\n"),
    'p.csv: shop: item "003" .*6 such': lambda i, p: p.write_text(
        "item,title\n000,a\n001,b\n002,c\n"
    ),
    'p.csv: none of its items, such as "0.0".*"00': lambda i, p: p.write_text(
        "item,title\n0.0,a\n"
    ),
    'p.csv, data row 1: title is "" .9 such': lambda i, p: p.write_text(
        "item,title\n" + "".join(f"{i:03},\n" for i in range(ITEMS))
    ),
}


@pytest.mark.parametrize("fact", BAD)
def test_what_is_wrong_with_a_table_is_one_error_and_nothing_is_written(
    tmp_path, monkeypatch, fact
):
    monkeypatch.chdir(tmp_path)
    paths = written(tmp_path)
    BAD[fact](*paths)
    with pytest.raises(LetterError, match=fact):
        read_own_tables("shop", *paths)
    assert CliRunner().invoke(app, ["data", "import", "shop", *map(str, paths)]).exit_code != 0
    assert not (tmp_path / "data").exists()


def test_the_command_makes_a_folder_that_the_other_commands_find(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = list(map(str, written(tmp_path)))

    def run(*words):
        return CliRunner().invoke(app, ["data", *words])

    done = run("import", "shop", *paths)
    assert done.exit_code == 0 and "letterlib run --dataset shop\n" in done.output, done.output
    assert histories(load_released("data/shop")) == EXPECTED
    assert "12 users, 9 items" in run("--dataset", "shop").output
    elsewhere = run("import", "shop", *paths, "--data-dir", "other")
    assert "letterlib run --dataset shop --data-dir other" in elsewhere.output
    for name in ("movielens", "yelp", "a b"):
        assert isinstance(run("import", name, *paths).exception, LetterError)
    wrong = run("import", "store", *paths, "--data-dir", "other")
    assert "shop.inter.json" in str(wrong.exception)
    assert run("import", "shop", *paths).exit_code == 0  # the same tables again
    (tmp_path / "data" / "shop" / "shop.index.json").write_text("{}")
    assert "shop.index.json" in str(run("import", "shop", *paths).exception)


def test_what_data_readme_shows_of_own_tables(tmp_path, monkeypatch, capsys):
    """Its commands and its code, as they stand there, but for the profile."""
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


def test_repeats_and_names_of_columns(tmp_path):
    rows = [(u, i, t) for u, items in EXPECTED.items() for t, i in enumerate(items)]
    again = [*rows, ("03", "003", 50)]
    paths = written(tmp_path, again)
    for path in paths:
        first, rest = path.read_text().split("\n", 1)
        path.write_text(first.replace("user", "customer").replace("item", "product") + "\n" + rest)
    names = {"user": "customer", "item": "product"}
    kept, lines = read_own_tables("shop", *paths, names=names)
    assert histories(kept) == EXPECTED | {"03": [*EXPECTED["03"], "003"]}
    assert lines[1].startswith("1 repeated") and lines[1].endswith("kept")
    once, _ = read_own_tables("shop", *paths, repeats="drop", names=names)
    assert histories(once) == EXPECTED
    with pytest.raises(LetterError, match="price.*user, item"):
        read_own_tables("shop", *paths, names={"price": "cost"})
