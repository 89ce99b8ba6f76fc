"""Data sets from raw reviews and metadata: what is kept, order, text, bad lines, names."""

import gzip
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_raw import (
    BEAUTY,
    FILES,
    INSTRUMENTS,
    NAMES,
    NEW,
    YELP,
    block,
    block_items,
    item_line,
    review_line,
    write_lines,
    write_raw,
)
from typer.testing import CliRunner

from letterlib.cli import app
from letterlib.data import amazon, identifiers_file, load_dataset, paper_counts, raw, raw_source
from letterlib.data.raw import ItemText, clean, item_row, labels_of
from letterlib.data.yelp import business
from letterlib.errors import LetterError


@pytest.fixture
def load(tmp_path):
    def load(name, reviews=None, items=None):
        folder = write_raw(tmp_path / name, name, reviews or block(), items or block_items(name))
        return load_dataset(name, folder, tmp_path / "cache")

    return load


def with_reviews(tmp_path, name, lines):
    folder = write_raw(tmp_path / "raw", name, [], block_items(name))
    write_lines(folder / FILES[name][0], lines)
    return folder


# What is kept, in which order


@pytest.mark.parametrize("name", NAMES)
def test_a_small_file_by_hand(load, name):
    reviews = block() + [("U9", "B0", 1), ("U0", "B9", 2)]  # too few for a 5-core
    reviews.reverse()
    dataset = load(name, reviews)
    counts = dataset.n_users, dataset.n_items, dataset.n_interactions
    assert (dataset.name, counts) == (name, (6, 6, 36))
    assert as_dictionary(dataset) == {f"U{u}": [f"Thing {i}" for i in range(6)] for u in range(6)}
    assert list(dataset.item_labels) == [f"B{i}" for i in range(6)]
    description = "Beauty, Hair Care, Gifts" if name == YELP else "It is number 3"
    row = ["Thing 3", f"Thing 3. {description}", "Beauty|Hair Care|Gifts"]
    assert dataset.items.loc[3].tolist() == row
    assert "5-core" in dataset.source and all(file in dataset.source for file in FILES[name])


def test_yelp_is_the_year_2019(tmp_path):
    def users(*dates):
        lines = [review_line(YELP, *review) for review in block()]
        eighth = [review_line(YELP, "U8", f"B{i}", 0) for i in range(6)]
        for date in dates:
            lines += [line.replace("2019-01-01 00:00:00", date) for line in eighth]
        return load_dataset(YELP, with_reviews(tmp_path, YELP, lines), tmp_path / "c").user_labels

    assert "U8" not in users("2018-12-31 23:59:59", "2019-12-31 00:00:01", "2022-01-19 19:48:45")
    assert "U8" in users("2019-12-31 00:00:00")


@pytest.mark.parametrize("name", NAMES)
def test_an_item_without_entry_stays_except_in_2018(load, name):
    """LC-Rec leaves such items of 2018 out before the 5-core; users with only five then fall
    out.
    """
    reviews = block(6, 5) + [(f"U{u}", "B5", 900) for u in range(5)]
    reviews += [("V", f"B{i}", i) for i in (0, 1, 2, 3, 5)]
    dataset = load(name, reviews, block_items(name, 5))
    if name == INSTRUMENTS:
        assert (dataset.n_users, dataset.n_items) == (6, 5)
        assert "items that the metadata do not name, left out: 1;" in dataset.source
    else:
        assert (dataset.n_users, dataset.n_items) == (7, 6)
        assert dataset.items.loc[5].tolist() == ["item B5", "item B5", ""]
        assert dataset.source.endswith("their labels or id: 1 of 6")


# Random reviews against a slow reference

N_ITEMS = 8
rows = st.tuples(st.integers(0, 8), st.integers(0, N_ITEMS - 1), st.integers(0, 30))


def slow(reviews, repeats):
    """{user: [(time, item), ...]}, by the definitions: first review unless repeats, 5-core."""
    kept = sorted((t, u, i) for u, i, t in reviews)
    if not repeats:
        first = {(u, i): t for t, u, i in reversed(kept)}
        kept = sorted((t, u, i) for (u, i), t in first.items())
    while True:
        users, items = Counter(u for _, u, _ in kept), Counter(i for *_, i in kept)
        fewer = [(t, u, i) for t, u, i in kept if users[u] >= 5 and items[i] >= 5]
        if fewer == kept:
            return {u: [(t, i) for t, v, i in kept if v == u] for u in users}
        kept = fewer


def moments(rows):
    """The items of each moment in a list of (time, item), in any order within it."""
    return [sorted(i for t, i in rows if t == time) for time in sorted({t for t, _ in rows})]


def assembled(name, reviews, items):
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / file for file in FILES[name]]
        write_lines(files[0], [review_line(name, *review) for review in reviews])
        write_lines(files[1], items)
        try:
            return raw.assemble(name, raw_source(name), *files)
        except LetterError as error:
            assert "nothing is left" in str(error)
            return None


def as_dictionary(dataset):
    titles = dataset.titles()
    return {u: [titles[i] for i in dataset.sequences[k]] for k, u in enumerate(dataset.user_labels)}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.lists(rows, min_size=30, max_size=110),
    st.randoms(use_true_random=False),
)
def test_random_reviews_against_the_reference(name, table, random):
    # Ids whose alphabetical order is not their numbers' order, so that a mix-up shows.
    reviews = [(f"U{97 - 7 * u}", f"B{(5 * i + 3) % N_ITEMS}", t) for u, i, t in table]
    items = [item_line(name, f"B{i}", f"B{i}") for i in range(N_ITEMS)]
    dataset, expected = assembled(name, reviews, items), slow(reviews, name == YELP)
    if dataset is None:
        assert expected == {}
        return
    found = as_dictionary(dataset)
    assert found.keys() == expected.keys()
    for user, rows in expected.items():  # the order within a moment is random
        timed = zip((t for t, _ in rows), found[user], strict=True)
        assert moments(list(timed)) == moments(rows)
    assert dataset.user_labels == sorted(expected) and dataset.titles() == sorted(dataset.titles())
    random.shuffle(reviews)
    random.shuffle(items)
    assert assembled(name, reviews, items).fingerprint == dataset.fingerprint
    again = [(u, item, place) for u, row in found.items() for place, item in enumerate(row)]
    assert as_dictionary(assembled(name, again, items)) == found  # made from its own result


# Item text


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("Salt &amp;amp; Pepper", "Salt & Pepper"),
        ("<b>Soft</b>brush<br />for\n\thair", "Soft brush for hair"),
        ("&lt;b&gt;Soft&lt;/b&gt;", "Soft"),
        ("a<!-- not -->b<script type='x'>var a = 1 < 2;</script>c<style>p {}</style>", "a b c"),
        ("a<SCRIPT>\nvar a = 1;\n</SCRIPT>b<!-- over\nlines -->c", "a b c"),
        ("5 < 6 and 7 > 3, I <3 you", "5 < 6 and 7 > 3, I <3 you"),
        (["First <i>part</i>", "", None, ["second ", "third"]], "First part second third"),
        (None, ""),
        ("half a smile \ud83d", "half a smile ?"),
    ],
)
def test_clean(value, cleaned):
    assert clean(value) == cleaned


@settings(deadline=None)
@given(st.lists(st.sampled_from([*"&<>b/ \n", "amp;", "lt;", "<br>", "&nbsp;", "<!--", "-->"])))
def test_cleaning_twice_is_cleaning_once(pieces):
    once = clean("".join(pieces))
    assert clean(once) == once == " ".join(once.split())
    assert not any(tag in once for tag in ("<b>", "<br>", "&amp;", "&lt;"))


def test_rows_and_what_stands_in():
    labels = labels_of(["A &amp; B", "C|D", "", None, "A & B", " <b> "])
    assert labels == ("A & B", "C/D")
    full = {"title": "Comb", "text": "Comb. Of wood", "genres": "A & B|C/D"}
    assert item_row("B7", ItemText("Comb", "Of wood", labels)) == full
    untitled = item_row("B7", ItemText("", "Of wood", ()))
    assert untitled == {"title": "item B7", "text": "Of wood", "genres": ""}
    assert item_row("B7", ItemText("", "", labels))["text"] == "A & B, C/D"
    assert item_row("B7", ItemText()) == {"title": "item B7", "text": "item B7", "genres": ""}


def test_fields_of_each_release():
    paths = [["Beauty", "Hair"], ["Beauty", "Gifts"]]
    fields = {"title": "A &amp; B", "description": "<p>C</p>", "categories": paths}
    assert amazon.item(fields) == ItemText("A & B", "C", ("Beauty", "Hair", "Gifts"))
    fields = {"title": "Comb", "description": ["Of", "wood"], "feature": ["Soft"]}
    assert amazon.item(fields) == ItemText("Comb", "Of wood", ())
    assert amazon.item(fields | {"description": []}).description == "Soft"
    assert amazon.item(fields | {"title": "var a = (new Date()).getTime();"}).title == ""
    spilled = ["Beauty", "Hair", "</span></span></span>\nSoft", "Not a category"]
    assert amazon.item(fields | {"category": spilled}).labels == ("Beauty", "Hair")
    fields = {"title": None, "description": [], "features": ["Soft", "Wood"], "categories": None}
    assert amazon.item(fields) == ItemText("", "Soft Wood", ())
    fields = {"name": "Joe&#39;s", "categories": "Food, Pizza, Food", "city": "Tampa"}
    assert business(fields) == ItemText("Joe's", "Food, Pizza, Food", ("Food", "Pizza"))
    assert business({"name": "Joe", "categories": None}) == ItemText("Joe", "", ())


@pytest.mark.parametrize("name", NAMES)
def test_from_file_to_row_with_missing_and_repeated_entries(tmp_path, name):
    """B0 has no title, B1 nothing but labels, B2 comes four times, B3 has HTML."""
    items = [item_line(name, "B0", None, "Of &lt;i&gt;horn"), item_line(name, "B1")]
    items += [item_line(name, "B2"), item_line(name, "B2", "Comb", "Of wood")]
    items += [item_line(name, "B2", "Comb", ""), item_line(name, "B2", "Oil", "")]
    items += [item_line(name, "B3", "Oil &amp; <b>Wax</b>", "a<br>b"), *block_items(name)[4:]]
    tables = []
    for k, lines in enumerate((items, items[::-1])):  # the order of entries must not matter
        folder = write_raw(tmp_path / str(k), name, block(), lines)
        tables.append(load_dataset(name, folder, tmp_path / "cache").items)
    assert tables[0].equals(tables[1])
    titles = ["item B0", "item B1", "Comb", "Oil & Wax", "Thing 4", "Thing 5"]
    assert tables[0]["title"].tolist() == titles
    labels = "Beauty, Hair Care, Gifts"
    expected = ["Of horn", labels, "Comb. Of wood", "Oil & Wax. a b"]
    if name == YELP:
        expected = [labels, labels, f"Comb. {labels}", f"Oil & Wax. {labels}"]
    assert tables[0]["text"].tolist()[:4] == expected


# Bad lines and bad files


def damaged(tmp_path, name, bad, count=400):
    """A folder whose review file has `bad` ({line number: line}) among `count` good ones."""
    lines = [review_line(name, *review) for review in (block() * (count // 36 + 1))[:count]]
    for number, line in sorted(bad.items()):
        lines.insert(number - 1, line)
    return with_reviews(tmp_path, name, lines)


@pytest.mark.parametrize(
    ("bad", "fact"),
    [
        ('{"reviewerID": "U1", "asin": ', "no object"),
        ("[1, 2]", "no object"),
        ('{"asin": "B1", "unixReviewTime": 1400000000}', '"reviewerID" is None'),
        ('{"reviewerID": "U1", "asin": 7, "unixReviewTime": 1400000000}', '"asin" is 7'),
        ('{"reviewerID": "U1", "asin": "B1"}', '"unixReviewTime" is None'),
        *(
            (f'{{"reviewerID": "U1", "asin": "B1", "unixReviewTime": {time}}}', "not a time")
            for time in ("true", 10**30, "1.5")
        ),
        ('{"reviewerID": "\\ud800", "asin": "B1"}', '"reviewerID" is'),
        ("{'reviewerID': '', 1.5: 0, u'\\ud800': 0}", "1.5, ?"),
        ("[" * 3000 + "]" * 3000, "no object"),
    ],
)
def test_a_few_bad_lines_are_counted_and_the_first_is_named(tmp_path, bad, fact):
    folder = damaged(tmp_path, BEAUTY, {17: bad, 40: "nonsense", 41: ""})
    source = load_dataset(BEAUTY, folder, tmp_path / "cache").source
    assert "reviews_Beauty_5.json.gz left out: 2 (first: line 17: " in source and fact in source


@pytest.mark.parametrize("labels", ["Beauty", 5, float("nan"), {"a": 1}])
def test_categories_that_are_no_list_are_none(labels):
    assert raw_source(BEAUTY).item({"title": "Soap", "categories": labels}).labels == ()


def test_bad_dates_are_bad_lines(tmp_path):
    good = review_line(YELP, "U0", "B0", 0)
    bad = {3: good.replace("01-01", "02-30"), 4: good.replace(" 00:00:00", "")}
    source = load_dataset(YELP, damaged(tmp_path, YELP, bad), tmp_path / "cache").source
    assert 'left out: 2 (first: line 3: "date" is \'2019-02-30' in source


def test_more_than_one_in_a_hundred_is_refused(tmp_path):
    bad = {number: "nonsense" for number in (9, 20, 30, 40)}
    load_dataset(BEAUTY, damaged(tmp_path, BEAUTY, bad, 396), tmp_path / "cache")
    with pytest.raises(LetterError, match=r"4 of 399 lines .* 1% \(line 9: "):
        load_dataset(BEAUTY, damaged(tmp_path, BEAUTY, bad, 395), tmp_path / "cache")


@pytest.mark.parametrize("which", [0, 1])
def test_empty_cut_and_damaged_files_are_named(tmp_path, which):
    folder = write_raw(tmp_path / "raw", BEAUTY, block(), block_items(BEAUTY))
    file = folder / FILES[BEAUTY][which]
    whole = file.read_bytes()
    plain = gzip.decompress(whole).rstrip(b"\n")
    for content, fact in (
        (gzip.compress(b""), "empty"),
        (whole[: len(whole) // 2], "cut short"),
        (whole[:-8] + bytes(8), "damaged"),
        (plain[:-3], "cut short"),
        (b"<html>Not found</html>", "</html>"),
    ):
        file.write_bytes(content)
        with pytest.raises(LetterError, match=f"{file.name}: .*{fact}"):
            load_dataset(BEAUTY, folder, tmp_path / "cache")
    file.write_bytes(plain)  # plain text under a gzip name, without a last line end
    assert load_dataset(BEAUTY, folder, tmp_path / "cache").n_users == 6
    file.rename(file.with_suffix(""))
    assert load_dataset(BEAUTY, folder, tmp_path / "cache").n_users == 6


def test_files_of_another_release_or_of_other_items_are_refused(tmp_path):
    lines = [review_line(NEW, *review) for review in block()]
    with pytest.raises(LetterError, match='"reviewerID" is None; fields: .*parent_asin'):
        load_dataset(BEAUTY, with_reviews(tmp_path, BEAUTY, lines), tmp_path / "cache")
    folder = write_raw(tmp_path / "raw", BEAUTY, block(), [])
    write_lines(folder / FILES[BEAUTY][1], [s.replace("B", "C") for s in block_items(BEAUTY)])
    with pytest.raises(LetterError, match=FILES[BEAUTY][1]):
        load_dataset(BEAUTY, folder, tmp_path / "cache")


def test_metadata_of_2014_are_literals_and_nothing_in_them_is_executed(tmp_path, load, recwarn):
    trap = tmp_path / "trap"
    evil = f"{{'asin': 'B1', 'title': __import__('pathlib').Path({str(trap)!r}).touch()}}"
    odd = "{'asin': 'B0', 'title': 'Wave \\d'}"  # Python's literals of 2014 knew no warning for \d
    rest = [item_line(BEAUTY, f"X{i}", "x") for i in range(200)]
    dataset = load(BEAUTY, block(), [odd, *block_items(BEAUTY)[1:], *rest, evil])
    assert not trap.exists() and dataset.titles()[0] == r"Wave \d" and not recwarn.list
    assert "lines of meta_Beauty.json.gz left out: 1 (first: line 207: " in dataset.source


# The prepared copy


def test_raw_files_are_read_once_and_again_when_changed(tmp_path, load, monkeypatch):
    first = load(BEAUTY)
    with monkeypatch.context() as patch:
        patch.setattr(raw, "assemble", lambda *_: pytest.fail("read the raw files again"))
        again = load_dataset(BEAUTY, tmp_path / BEAUTY, tmp_path / "cache")
    assert again.name == BEAUTY and again.fingerprint == first.fingerprint
    items = [line.replace("number 3", "number X") for line in block_items(BEAUTY)]  # as many bytes
    metadata = write_lines(tmp_path / BEAUTY / FILES[BEAUTY][1], items)
    os.utime(metadata, ns=(0, metadata.stat().st_mtime_ns + 1))
    again = load_dataset(BEAUTY, metadata.parent, tmp_path / "cache")
    assert "number X" in again.items["text"][3]


# Names


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("amazon-2014", "amazon-2014-<category>.*beauty, books"),
        ("amazon-2014-beuty", "amazon-2014-beauty"),
        ("amazon-2018-Beauty", "all-beauty"),
        ("amazon-2016-beauty", "2014, 2018 or 2023"),
    ],
)
def test_a_wrong_name_lists_what_is_possible(tmp_path, name, fact):
    for folder in (None, tmp_path):
        with pytest.raises(LetterError, match=fact):
            load_dataset(name, folder)


def test_a_missing_folder_or_file_shows_how_to_fetch_it(tmp_path):
    with pytest.raises(LetterError, match=r"letterlib data fetch yelp.*data/yelp"):
        load_dataset("yelp")
    folder = write_raw(tmp_path / "raw", BEAUTY, block(), block_items(BEAUTY))
    (folder / FILES[BEAUTY][1]).unlink()
    with pytest.raises(LetterError, match=r"meta_Beauty\.json\.gz; letterlib data fetch"):
        load_dataset(BEAUTY, folder)


def test_every_category_has_one_name_and_addresses():
    for year, categories in amazon.CATEGORIES.items():
        names = {f"amazon-{year}-{amazon.slug(category)}": category for category in categories}
        assert len(names) == len(categories) == {2014: 24, 2018: 29, 2023: 34}[year]
        for name, category in names.items():
            source = raw_source(name)
            files = (source.reviews[0], source.metadata[0])
            for urls, file in zip(source.addresses, files, strict=True):
                assert category in file and all(url.endswith(f"/{file}.gz") for url in urls)
    urls = [urls[0] for urls in raw_source(INSTRUMENTS).addresses]
    assert urls[0].endswith("amazon_v2/categoryFilesSmall/Musical_Instruments_5.json.gz")
    assert urls[1].endswith("amazon_v2/metaFiles2/meta_Musical_Instruments.json.gz")


def test_released_files_of_a_raw_name_are_loaded_as_released(tmp_path, load):
    raw_content = load(YELP).fingerprint
    (tmp_path / YELP / "toy.inter.json").write_text('{"7": [0, 1, 2]}')
    assert load_dataset(YELP, tmp_path / YELP, tmp_path / "cache").fingerprint == raw_content
    assert identifiers_file(YELP, tmp_path / YELP) is None
    own = tmp_path / YELP / "Yelp.inter.json"
    own.write_text('{"7": [0, 1]}')
    released = load_dataset(YELP, own.parent)
    assert released.n_items == 2 and "expected 20,033" in paper_counts(released, own.parent)
    (index := own.with_name("Yelp.index.json")).touch()
    assert identifiers_file(YELP, own.parent) == index


# The paper's counts, and the command


def test_the_papers_counts_are_compared(tmp_path, load, monkeypatch):
    dataset = load(BEAUTY)
    shown = paper_counts(dataset, tmp_path / BEAUTY)
    assert "users: expected 22,363, found 6" in shown and "items: expected 12,101" in shown
    assert "expected" not in paper_counts(load(NEW), tmp_path / NEW)
    options = ["--dataset", BEAUTY, "--data-dir", str(tmp_path / BEAUTY)]
    done = CliRunner().invoke(app, ["data", *options, "--cache-dir", str(tmp_path / "runs")])
    assert "6 users, 6 items, 36 interactions" in done.stdout and "expected 22,363" in done.stdout
    monkeypatch.setitem(amazon.PAPER, BEAUTY, (6, 6, 36))
    assert "expected" not in paper_counts(dataset, tmp_path / BEAUTY)


def test_memory_does_not_grow_with_the_length_of_reviews(tmp_path):
    """300,000 reviews, 300 MB of text; beyond the libraries, a quarter of that is allowed."""
    reviews, metadata = (tmp_path / file for file in FILES[BEAUTY])
    write_lines(metadata, [item_line(BEAUTY, f"B{i}", f"Thing {i}") for i in range(1000)])
    line = review_line(BEAUTY, "U%d", "B%d", 0).replace("Twice!", "x" * 900)
    rows = ((k % 30_000, (k * 7919 + k // 30_000) % 1000) for k in range(300_000))
    with gzip.open(reviews, "wt", 1) as file:
        file.writelines(line % row + "\n" for row in rows)
    code = """if True:
        import sys, threading, time
        from pathlib import Path
        import psutil
        from letterlib.data import raw, raw_source
        process, sizes = psutil.Process(), []
        def watch():
            while True:
                sizes.append(process.memory_info().rss)
                time.sleep(0.005)
        threading.Thread(target=watch, daemon=True).start()
        before = process.memory_info().rss
        name, *files = sys.argv[1:]
        dataset = raw.assemble(name, raw_source(name), *map(Path, files))
        print(dataset.n_interactions, max(sizes) - before)"""
    done = subprocess.run(
        [sys.executable, "-c", code, BEAUTY, reviews, metadata],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"TQDM_DISABLE": "1"},
    )
    interactions, peak = map(int, done.stdout.split())
    assert interactions > 250_000
    assert peak < 300_000 * len(line) / 4
