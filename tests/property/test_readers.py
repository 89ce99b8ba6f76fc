"""Readers of other people's files, on valid files that are broken in a few places.

A reader returns a value that holds what it promises, or raises LetterError, or OSError, with one
line. It never raises anything else, hangs, takes memory in proportion to a number in the file, or
leaves half a file behind. `make fuzz` reads 100,000 files with each reader, and
`make fuzz READER=tables` with one.
"""

import csv
import gzip
import io
import json
import os
import shutil
import signal
import tempfile
import warnings
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from letterlib.baselines.lightgcn import LightGCNConfig
from letterlib.data import load_dataset, raw, raw_source
from letterlib.data.dataset import Dataset, Sequences
from letterlib.data.released import load_released, write_released
from letterlib.data.tables import read_own_tables
from letterlib.errors import LetterError
from letterlib.generators.prompts import Intentions
from letterlib.pipeline.config import RunConfig, changes, make_config
from letterlib.pipeline.results import load_results, read_runs, write_runs
from letterlib.pipeline.runs import load_grid
from letterlib.store import save_tensors
from letterlib.text import read_item_vectors
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.train import Run, TrainingLog, load_model

if not Path("/proc/self/statm").exists():
    pytest.skip("the limit of memory needs Linux", allow_module_level=True)
import resource  # noqa: E402

FUZZ = int(os.environ.get("FUZZ", 0))
RESULTS = Path(__file__).resolve().parents[2] / "experiments/results"


def reader(files: int = 2000, **strategies):
    """A test on so many files, always the same; with FUZZ on that many, drawn anew every time."""
    chosen = settings(
        max_examples=FUZZ or files,
        derandomize=not FUZZ,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        print_blob=True,
    )
    return lambda test: chosen(given(**strategies)(test))


@pytest.fixture(autouse=True)
def limits():
    """4 GiB more than now, and a stop for a reader that takes 20 seconds of one file."""

    def stop(*_):
        raise TimeoutError("20 seconds for one file")

    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**32, before[1]))
    handler = signal.signal(signal.SIGALRM, stop)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def folder():
    """In memory where the system has such a folder."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as path:
        yield Path(path)


@pytest.fixture(scope="module")
def lenient():
    """A few bad lines are many in a small file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "MAX_BAD_SHARE", 0.5)
        yield


def put(folder, **files):
    """The folder with these files alone; "__" in a name stands for a dot."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def read(call):
    """What the reader returns; None where it refuses in one line."""
    signal.alarm(20)
    try:
        with warnings.catch_warnings(action="ignore"):
            return call()
    except (LetterError, OSError) as error:
        assert len(str(error).splitlines()) == 1, str(error)
    finally:
        signal.alarm(0)


def check_dataset(dataset):
    """Ids in range, texts that can be written, a hash, and a split or one line."""
    values = dataset.sequences.values
    assert values.dtype == np.int64 and 0 <= values.min() <= values.max() < dataset.n_items
    assert (dataset.sequences.lengths > 0).all() and dataset.sequences.offsets[-1] == len(values)
    labels = [*dataset.user_labels], [*dataset.item_labels]
    for texts in (*labels, dataset.source.splitlines(), *map(list, dataset.items.to_numpy())):
        "".join(texts).encode()
    assert all(len({*own}) == len(own) for own in labels)
    assert all(dataset.titles()) and dataset.fingerprint
    if split := read(dataset.split):
        for part in ("train", "valid", "test"):
            cases = split.cases(part)
            assert (cases.starts < cases.ends).all() and (cases.ends <= len(values)).all()


# What files are broken with


class Raw(str):
    """JSON as it stands. Equal only to itself, so that a table can have a key twice."""

    __hash__, __eq__ = object.__hash__, object.__eq__


NUMBERS = ["NaN", "-Infinity", "1e38", "1e999", "1" + "0" * 30, "9" * 5000, "-1", "-0.0", "1.5"]
NUMBERS += ["010", "0x10", "1_0", "3", "2147483647", "2147483648", "9223372036854775807", "1e18"]
ODD = [*NUMBERS, "true", "null", "[]", "{}", "[0]", "[1, 2]", "[[0], [1]]", '{"a": 1, "a": 2}']
ODD += ['""', '" "', '"\\u0000"', '"\\ud800"', '"a\\nb\\u2028c"', '"7"', '"007"', '"\\uff17"']
ODD += ["[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000, "", ",", "'", "\x00", '"a']


def dumped(tree) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{dumped(key)}: {dumped(v)}" for key, v in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(dumped, tree)) + "]"
    return tree if isinstance(tree, Raw) else json.dumps(tree)


def places(tree):
    """Every (table or list, key or index) of a tree."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in [*pairs]:
        yield tree, key
        if isinstance(value, dict | list):
            yield from places(value)


@st.composite
def broken(draw, trees, odd=ODD, most=2):
    """JSON of a tree, broken in up to `most` places."""
    tree = json.loads(json.dumps(draw(trees)))
    for _ in range(draw(st.integers(0, most))):
        found = [*places(tree)]
        parent, key = found[draw(st.integers(0, len(found) - 1))] if found else (tree, "new")
        value, way = Raw(draw(st.sampled_from(odd))), draw(st.integers(0, 5))
        if isinstance(parent, dict):
            if way == 0:
                parent.pop(key, None)
            elif way == 1:
                parent[value] = parent.pop(key, Raw("0"))
            elif way == 2:
                parent[Raw(dumped(key))] = value
            else:
                parent[key] = value
        elif way == 0:
            del parent[key]
        elif way == 1:
            parent.insert(key, value)
        else:
            parent[key] = value
    return draw(damaged(st.just(dumped(tree).encode("utf-8", "surrogatepass"))))


@st.composite
def damaged(draw, contents, often=5):
    """Bytes, one time in `often` with a fault of a disk, a download or an editor."""
    content = draw(contents)
    if draw(st.integers(1, often)) > 1:
        return content
    way, at = draw(st.integers(0, 8)), draw(st.integers(0, len(content)))
    byte = bytes([draw(st.integers(0, 255))])
    return [
        content[:at],
        content[at:],
        content[:at] + byte + content[at + 1 :],
        content[:at] + byte + content[at:],
        content[:at] + content[at + 7 :],
        b"\xef\xbb\xbf" + content,
        content * 2,
        content.decode("latin-1").encode("utf-16"),
        gzip.compress(content, mtime=0),
    ][way]


# Tables of one's own

CELLS = [*NUMBERS, "", " ", '"', '""', '"a', "a,b", "a\tb", "a\nb", "a\rb", "\x00", "\ud800", "|"]
CELLS += ["NA", "NaN", "inf", "0", "1", "valid", "test", "user", "item", "time", "title", "a\u2028"]
CELLS += ["2024-03-31", "2024-03-31T18:20:00+09:00", "0000-00-00", "9999-12-31", "12:30", "a" * 999]
CELLS += ["[" * 3000, "=1+1", "\\N", "'", "true"]
COLUMNS = [
    lambda n: [*range(n)],
    lambda n: [i / 2 for i in range(n)],
    lambda n: [float("nan"), None, *[1e38] * n][:n],
    lambda n: [date(2024, 1, 1 + i % 20) for i in range(n)],
    lambda n: np.datetime64("2024-01-01") + np.arange(n),
    lambda n: pa.array([2**62 + i for i in range(n)], pa.timestamp("us")),
    lambda n: pa.array([10**18 + i for i in range(n)], pa.timestamp("ns", "Asia/Seoul")),
    lambda n: pa.array([i % 3 for i in range(n)], pa.time32("s")),
    lambda n: pa.array([*range(n)], pa.duration("s")),
    lambda n: pa.array([str(i % 4) for i in range(n)]).dictionary_encode(),
    lambda n: [["a", "b"][: i % 3] for i in range(n)],
    lambda n: [{"a": i} for i in range(n)],
    lambda n: [b"\xff%d" % i for i in range(n)],
    lambda n: [i % 2 == 0 for i in range(n)],
    lambda n: pa.nulls(n),
    lambda n: pa.array([str(i) for i in range(n)], pa.large_string()),
    lambda n: pa.array([i for i in range(n)]).cast(pa.decimal128(30, 2)),
    lambda n: [f"a\n{i}" for i in range(n)],
    lambda n: ["\x00"] * n,
]


@st.composite
def tables(draw, header, rows):
    """(ending, content) of a CSV, TSV or Parquet file, broken in up to two cells or columns."""
    rows, ending = [list(row) for row in rows], draw(st.sampled_from(["csv", "tsv", "parquet"]))
    header, faults = list(header), range(draw(st.integers(0, 2)))
    if ending == "parquet":
        columns = [list(column) for column in zip(*rows, strict=True)]
        for _ in faults:
            at = draw(st.integers(0, len(header) - 1))
            way = draw(st.integers(0, len(COLUMNS) + 2))
            if way < len(COLUMNS):
                columns[at] = COLUMNS[way](len(rows))
            elif way == len(COLUMNS):
                header[at] = draw(st.sampled_from(["user", "item", "time", "title", "", "a\nb"]))
            else:
                row = draw(st.integers(0, len(rows) - 1))
                cell = draw(st.sampled_from(CELLS)).replace("\ud800", "")
                columns[at] = [*map(str, columns[at])]
                columns[at][row] = draw(st.sampled_from([cell, None]))
        made = io.BytesIO()
        pq.write_table(pa.Table.from_arrays([*map(pa.array, columns)], names=header), made)
        return ending, draw(damaged(st.just(made.getvalue()), often=8))
    lines = [header, *rows]
    for _ in faults:
        line = lines[draw(st.integers(0, 1) | st.integers(0, len(lines) - 1))]
        at, way = draw(st.integers(0, len(line) - 1)), draw(st.integers(0, 5))
        cell = draw(st.sampled_from(CELLS))
        if way == 0:
            line.insert(at, cell)
        elif way == 1 and len(line) > 1:
            del line[at]
        else:
            line[at] = cell
    separator = "," if ending == "csv" else "\t"
    content = "".join(separator.join(line) + "\n" for line in lines)
    return ending, draw(damaged(st.just(content.encode("utf-8", "surrogatepass"))))


PAIRS = [(u, t) for t in range(5) for u in range(3)]
INTERACTIONS = [
    (f"0{u}", f"i{(u + t) % 4}", str(t), ("train", "valid", "test")[max(0, t - 2)])
    for u, t in PAIRS
]
PRODUCTS = [(f"i{i}", f"Thing {i}", "fine" * (i % 2), "a|b" * (i % 3)) for i in range(5)]


@reader(
    250,  # 30 ms each, of pandas
    interactions=tables(("user", "item", "time", "part"), INTERACTIONS),
    items=tables(("item", "title", "description", "genres"), PRODUCTS),
    k=st.integers(1, 3),
    repeats=st.sampled_from(["keep", "drop"]),
    way=st.sampled_from([{}, {"names": {"split": "part"}}, {"cuts": ("2", "4")}]),
)
def test_tables(folder, interactions, items, k, repeats, way):
    (one, rows), (two, texts) = interactions, items
    put(folder, **{f"i__{one}": rows, f"p__{two}": texts})
    paths = folder / f"i.{one}", folder / f"p.{two}"
    if found := read(lambda: read_own_tables("shop", *paths, k, repeats, **way)):
        dataset, lines = found
        check_dataset(dataset)
        assert dataset.user_labels == sorted(dataset.user_labels)
        assert all(label.strip() == label != "" for label in dataset.user_labels)
        if b'"' not in rows and one == "csv" and "names" not in way:
            check_times(dataset, rows.decode("utf-8-sig"))
        read(lambda: write_released(dataset, folder / "out"))
        if (folder / "out" / "shop.source.txt").exists():
            again = load_released(folder / "out")
            assert again.sequences.values.tolist() == dataset.sequences.values.tolist()
            assert again.titles() == dataset.titles() and again.texts() == dataset.texts()


def check_times(dataset, text):
    """A user's items are in the order of their times, whatever the order of rows."""
    time_of = {}
    for row in csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True):
        row = {(name or "").strip(): (cell or "").strip() for name, cell in row.items() if name}
        try:
            time_of.setdefault((row["user"], row["item"]), []).append(float(row["time"]))
        except (ValueError, KeyError):
            return
    for user, items in zip(dataset.user_labels, dataset.sequences, strict=True):
        times = [time_of[user, dataset.item_labels[item]] for item in items]
        latest = -np.inf
        for own in times:
            latest = min(time for time in own if time >= latest)


# Released files


@st.composite
def released(draw):
    """The trees of a released data set."""
    users, items = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    inter = {f"{7 * u}": [(u + i) % items for i in range(3 + u)] for u in range(users)}
    inter["all"] = [*range(items)] * 3
    return {
        "inter": inter,
        "item": {
            str(i): {"title": f"Thing {i}", "description": ["It", "is"], "categories": "a,b"}
            | ({"id": f"B{i}"} if users > 1 else {})
            for i in range(items)
        },
        "split": {user: [1, 1] for user in inter},
        "index": {str(i): [f"<a_{i % 2}>", f"<b_{i}>"] for i in range(items)},
    }


PARTS = ["inter", "item", "split"]


@st.composite
def released_files(draw):
    trees = draw(released())
    one = draw(st.sampled_from(PARTS))
    files = {name: dumped(tree).encode() for name, tree in trees.items() if name in PARTS}
    files[one] = draw(broken(st.just(trees[one])))
    for name in draw(st.sampled_from([[], [], ["item"], ["split"], ["item", "split"]])):
        files.pop(name)
    return files, draw(damaged(st.just(b"Made, in 2024\n"), often=10))


@reader(made=released_files())
def test_released(folder, made):
    files, source = made
    put(folder, Made__source__txt=source, **{f"Made__{n}__json": c for n, c in files.items()})
    if dataset := read(lambda: load_released(folder)):
        check_dataset(dataset)


@reader(
    content=broken(released().map(lambda trees: trees["index"]), [*ODD, '"<a_0>"', '"<b_01>"']),
    sizes=st.sampled_from([None, None, (2, 5), (2, 5, 5), (2, 2)]),
)
def test_identifiers(folder, content, sizes):
    path = put(folder, Made__index__json=content) / "Made.index.json"
    if found := read(lambda: Identifiers.load(path, level_sizes=sizes)):
        codes = json.loads(content.decode("utf-8-sig"))
        assert [found.tokens(item) for item in range(len(codes))] == [
            codes[str(item)] for item in range(len(codes))
        ]
        assert ((found.codes >= 0) & (found.codes < found.level_sizes)).all()
        assert 0 < found.n_distinct <= found.n_items and len(found.dead_codes) == found.n_levels


SEARCHES = {"0": {"item": 3, "querys": ["a film"]}, "1": {"item": "2", "querys": []}}
INTENTIONS = {"user_explicit_preference": {"0": ["films"], "1": "books"}}
INTENTIONS |= {"user_vague_intention": {"train": SEARCHES}}
FOUR = Dataset("m", Sequences.from_lists([[0, 1]] * 4), pd.DataFrame(index=range(4)), "", "0123")


@reader(content=broken(st.just(INTENTIONS)))
def test_intentions(folder, content):
    path = put(folder, Made__user__json=content) / "Made.user.json"
    if found := read(lambda: Intentions.load(path, FOUR)):
        assert all(type(item) is int and 0 <= item < 4 for item, _ in found.searches.values())
        texts = [*found.preferences.values(), *(texts for _, texts in found.searches.values())]
        assert all(isinstance(text, str) for own in texts for text in own)


# Raw reviews and metadata


def raw_lines(name):
    """Trees of the lines of reviews and metadata, 6 users who have 6 items."""
    day, labels = 86_400, ["Beauty", "Hair Care"]
    yelp, new = name == "yelp", "2023" in name
    reviews, items = [], []
    for u, i in ((u, i) for u in range(6) for i in range(6)):
        if yelp:
            when = f"2019-01-{1 + u:02} 00:{i:02}:00"
            reviews.append({"user_id": f"U{u}", "business_id": f"B{i}", "date": when})
        elif new:
            reviews.append({"user_id": f"U{u}", "parent_asin": f"B{i}", "timestamp": u * day + i})
        else:
            keys = ("reviewerID", "asin", "unixReviewTime")
            reviews.append(dict(zip(keys, (f"U{u}", f"B{i}", u * day + i), strict=True)))
    for i in range(6):
        if yelp:
            items.append({"business_id": f"B{i}", "name": f"Bar {i}", "categories": "Bars, Food"})
        else:
            key = "parent_asin" if new else "asin"
            labelled = {"category": labels} if "2018" in name else {"categories": [labels]}
            items.append({key: f"B{i}", "title": f"Soap {i}", "description": ["Good."]} | labelled)
    return [reviews, items]


SOURCES = {
    "amazon-2014-beauty": ("reviews_Beauty_5.json", "meta_Beauty.json"),
    "amazon-2018-software": ("Software_5.json", "meta_Software.json"),
    "amazon-2023-software": ("Software.jsonl", "meta_Software.jsonl"),
    "yelp": ("yelp_academic_dataset_review.json", "yelp_academic_dataset_business.json"),
}
LINES = {
    name: [[dumped(tree).encode() for tree in part] for part in raw_lines(name)] for name in SOURCES
}
WORDS = ['"<b>a</b>&amp;lt;"', '"<!-- "', '"getTime"', '"2019-02-30 00:00:00"']
WORDS += ["'a'", "u'\\ud800'"]


@st.composite
def raw_files(draw):
    name = draw(st.sampled_from([*SOURCES]))
    parts = [[*lines] for lines in LINES[name]]
    which = draw(st.integers(0, 1))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(parts[which]) - 1))
        tree = json.loads(LINES[name][which][min(at, 5)])
        parts[which][at] = draw(broken(st.just(tree), [*ODD, *WORDS]))
    reviews, items = (b"".join(line + b"\n" for line in lines) for lines in parts)
    files = draw(damaged(st.just(reviews), often=8)), draw(damaged(st.just(items), often=8))
    return name, dict(zip(SOURCES[name], files, strict=True))


@reader(250, made=raw_files(), keep=st.integers(0, 9))
def test_raw(folder, lenient, made, keep):
    name, files = made
    put(folder, **files)
    paths = [folder / file for file in files]
    dataset = read(lambda: raw.assemble(name, raw_source(name), *paths))
    if dataset is not None:
        check_dataset(dataset)
    if keep == 0:
        kept = read(lambda: load_dataset(name, folder, folder / "kept"))
        assert (kept and kept.fingerprint) == (dataset and dataset.fingerprint)
        assert len([*folder.glob("kept/*.parquet")]) == 2 * (dataset is not None)


# Grids and overrides


GRID = {
    "about": "What does it do?",
    "every": {"dataset": "movielens", "profile": "smoke", "generator": "tiger", "seed": [0, 1]},
    "runs": [
        {"tokenizer": ["plain", "letter"], "options": ["tiger.epochs=3"]},
        {"tokenizer": "letter", "tau": 0.8, "device": "cpu"},
    ],
}
SHORT = [odd for odd in ODD if len(odd) < 2500]  # PyYAML takes seconds for 3,000 brackets
YAML = ["&a [*a]", "*a", "!!python/name:os.system", "? [a]\n: b", "<<: 3", "12:30", "on", "~"]
YAML += ["[alpha=0.1]", "[tiger.epochs=1]", "[[]]", "[tokenizer.hidden=[1]]", "none", "[none]"]
YAML += ["2001-01-01", "!!binary aGk=", "[0, 00, 1]", "|\n a\n b", "alpha", "options", "\x85"]


@reader(content=broken(st.just(GRID), [*SHORT, *YAML]))
def test_grids(folder, content):
    path = put(folder, grid__yaml=content) / "grid.yaml"
    if grid := read(lambda: load_grid(path)):
        keys = [run.key for run in grid.runs]
        assert keys and len({*keys}) == len(keys)
        for run in grid.runs:
            json.dumps(run.settings, allow_nan=False).encode()
            assert 0 <= run.seed < 2**31


NAMES = [
    f"{name}.{option}" if options else name
    for name, field in RunConfig.model_fields.items()
    for options in [getattr(field.annotation, "model_fields", {})]
    for option in options or [""]
]
NAMES += ["alpha", "tau", "beams", "codes", "levels", "", "tiger", "tiger.", "tiger.epoch", "a\nb"]
VALUES = [*ODD, "0.5", "64", "20", "[64]", "[64, 32]", '["seqrec"]', "bfloat16", "inf", "\u2028"]
overrides = st.tuples(
    st.sampled_from(NAMES), st.sampled_from(["=", "=", "=", "", "=="]), st.sampled_from(VALUES)
).map("".join)


@reader(
    chosen=st.lists(overrides, min_size=1, max_size=3),
    profile=st.sampled_from(["smoke", "laptop", "paper", "lap\ntop"]),
)
def test_overrides(chosen, profile):
    if config := read(lambda: make_config("movielens", profile, overrides=chosen)):
        json.dumps(config.model_dump(mode="json"), allow_nan=False)
        assert make_config("movielens", profile, overrides=changes(config)) == config


# Models, vectors, checkpoints and results


@st.composite
def models(draw):
    """(header, tensors) of a model, its content hash right, as another program may write them."""
    header = {"kind": "LightGCN", "config": LightGCNConfig().model_dump(mode="json"), "seed": 0}
    header |= {"log": {"losses": [{"loss": 1.0}], "validations": [[1, 0.5]]}, "report": {}}
    return draw(broken(st.just(header), most=2))


HEADERS = ["[]", "null", "0", '""', "{}", '{"kind": 3}', "[" * 3000, "NaN"]


@reader(
    header=models(), at=st.integers(0, 400), way=st.integers(0, 9), bare=st.sampled_from(HEADERS)
)
def test_models(folder, header, at, way, bare):
    path = put(folder) / "model.safetensors"
    tensors = {"items": torch.ones(3, 2), "users": torch.zeros(2, dtype=torch.bfloat16)}
    try:
        about = json.loads(header)
        save_tensors(path, tensors, about)
    except (ValueError, RecursionError, TypeError, AttributeError):
        return
    content = path.read_bytes()
    if way == 0:
        content = content[:at]
    elif way == 1:
        content = content[:at] + bytes([at % 256]) + content[at + 1 :]
    elif way == 2:
        save_file(tensors, path, metadata={"letterlib": bare})
        content = path.read_bytes()
    path.write_bytes(content)
    if found := read(lambda: load_model(path, "LightGCN", LightGCNConfig)):
        assert isinstance(found.config, LightGCNConfig) and isinstance(found.log, TrainingLog)
        assert {*found.tensors} == {*tensors}
        assert all(torch.equal(found.tensors[name], tensors[name]) for name in tensors)


@st.composite
def arrays(draw):
    """(ending, content) of a file of vectors for four items."""
    dtype = draw(st.sampled_from("f4 f8 >f8 f2 i8 ? U3 c8 M8[s] f4,i4".split()))
    shape = draw(st.sampled_from([(4, 3)] * 3 + [(4, 0), (0, 3), (4,), (), (4, 3, 1), (5, 3)]))
    made, ending = io.BytesIO(), draw(st.sampled_from(["npy", "npy", "safetensors", "npz"]))
    values = np.ones(shape, dtype)
    if values.size and values.dtype.kind == "f":
        odd = np.array(draw(st.sampled_from([1, np.nan, np.inf, 6e4, 1e38, 1e300, -0.0])))
        with np.errstate(over="ignore"):
            values.flat[-1] = odd.astype(dtype)
    if ending == "safetensors" and values.dtype.str[1:] in ("f4", "f8", "f2", "i8", "b1"):
        native = torch.from_numpy(values.astype(values.dtype.newbyteorder("=")))
        names = draw(st.sampled_from([["vectors"], ["x"], ["x", "y"], ["vectors", "x"], []]))
        content = save({name: native.clone() for name in names})
    elif ending == "npz":
        np.savez(made, values)
        ending, content = "npy", made.getvalue()
    else:
        np.save(made, values)
        ending, content = "npy", made.getvalue()
    old = draw(st.sampled_from([b"absent", b"4", b"3", b"f", b" "]))
    new = draw(st.sampled_from([b"9999999999", b"-1", b"[" * 9, b"O"]))
    content = content[:10] + content[10:].replace(old, new, 1)
    return ending, draw(damaged(st.just(content)))


@reader(made=arrays())
def test_vectors(folder, made):
    ending, content = made
    path = put(folder, **{f"v__{ending}": content}) / f"v.{ending}"
    if found := read(lambda: read_item_vectors(path, 4)):
        vectors = found.vectors
        assert vectors.dtype == np.float32 and len(vectors) == 4 and vectors.shape[1] > 0
        assert np.isfinite(vectors).all()


@reader(content=st.deferred(lambda: damaged(st.just(CHECKPOINT), often=1)))
def test_checkpoints(folder, content):
    """All of it is resumed, or nothing. Another space in its header does no harm."""
    run = trained(put(folder, c__safetensors=content) / "c.safetensors")
    signal.alarm(20)
    run.resume()
    whole = run.epoch == 1
    assert whole or content != CHECKPOINT
    expected = 5.0 if whole else 1.0
    assert all((weight == expected).all() for weight in run.module.parameters())


def trained(path, weight=1.0, epochs=0):
    """A training of a small network."""
    module = torch.nn.Linear(2, 1)
    for parameter in module.parameters():
        torch.nn.init.constant_(parameter, weight)
    optimizer = torch.optim.AdamW(module.parameters())
    return Run(module, optimizer, TrainingLog([{"loss": 1.0}] * epochs), path, "made", epochs)


def bytes_of(write):
    with tempfile.TemporaryDirectory() as scratch:
        write(path := Path(scratch) / "made")
        return path.read_bytes()


CHECKPOINT = bytes_of(lambda path: trained(path, 5.0, 1).save())


def some_runs():
    """Two runs with few cases, as an Arrow table."""
    runs = []
    for run in read_runs(RESULTS / "movielens-names-for-lc-rec.parquet")[:2]:
        few = {name: getattr(run, name)[:3] for name in ("cases", "users", "groups", "kinds")}
        ranks = {history: ranks[:3] for history, ranks in run.ranks.items()}
        runs.append(replace(run, **few, ranks=ranks))
    content = bytes_of(lambda path: write_runs(path, runs))
    return content, pq.read_table(io.BytesIO(content))


RUNS, TABLE = some_runs()


@st.composite
def results(draw):
    way = draw(st.integers(0, 5))
    if way == 0:
        return draw(damaged(st.just(RUNS), often=1))
    table, made = TABLE, io.BytesIO()
    at = draw(st.integers(0, len(table.column_names) - 1))
    if way == 1:
        table = table.slice(draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    elif way == 2:
        table = table.drop_columns(table.column_names[at])
    elif way == 3:
        table = pa.concat_tables([table] * draw(st.integers(1, 3)))
    else:
        column = COLUMNS[draw(st.integers(0, len(COLUMNS) - 1))](len(table))
        table = table.set_column(at, table.column_names[at], pa.array(column))
    pq.write_table(table, made)
    return draw(damaged(st.just(made.getvalue())))


@reader(400, content=results())
def test_results(folder, content):
    put(folder, runs__parquet=content)
    if runs := read(lambda: load_results(folder)):
        for run in runs:
            json.dumps(run.record, allow_nan=False)
            for ranks in run.ranks.values():
                assert ranks.dtype == np.int64 and len(ranks) == len(run.cases)
                assert (ranks >= -1).all()
            assert np.isfinite(run.values("N@10")).all()
