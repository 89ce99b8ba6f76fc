"""Data sets from raw reviews and metadata: counts, order, text, bad lines, names, the prepared
copy.
"""

import gzip
import json
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
    FILES,
    NAMES,
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
from letterlib.data.amazon import CATEGORIES, amazon_source, item_2014, item_2018, item_2023, slug
from letterlib.data.raw import ItemText, Tally, clean, item_row, labels_of
from letterlib.data.yelp import business
from letterlib.errors import LetterError

BEAUTY, INSTRUMENTS, NEW, YELP = NAMES


@pytest.fixture
def load(tmp_path):
    def load(name, reviews=None, items=None):
        folder = write_raw(tmp_path / name, name, reviews or block(), items or block_items(name))
        return load_dataset(name, folder, tmp_path / "cache")

    return load


def histories(dataset):
    names = [title.removeprefix("Thing ") for title in dataset.titles()]
    rows = zip(dataset.user_labels, dataset.sequences, strict=True)
    return {user: "".join(names[i] for i in items) for user, items in rows}


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
    assert histories(dataset) == {f"U{u}": "012345" for u in range(6)}
    assert list(dataset.item_labels) == [f"B{i}" for i in range(6)]
    description = "Beauty, Hair Care, Gifts" if name == YELP else "It is number 3"
    row = ["Thing 3", f"Thing 3. {description}", "Beauty|Hair Care|Gifts"]
    assert dataset.items.loc[3].tolist() == row
    assert "5-core" in dataset.source and all(file in dataset.source for file in FILES[name])


@pytest.mark.parametrize("name", NAMES)
def test_of_repeated_reviews_the_first_counts_and_equal_times_go_by_item_id(load, name):
    others = [review for review in block() if review[0] != "U1"]
    own = [("U1", "B4", 50), ("U1", "B0", 60), ("U1", "B4", 90), ("U1", "B5", 60), ("U1", "B0", 10)]
    own += [("U1", "B3", 60), ("U1", "B1", 60), ("U1", "B4", 50)]
    twice = [("U7", f"B{i}", i) for i in (0, 1, 2, 2, 3, 3)]  # no core
    dataset = load(name, others + own + twice)
    assert histories(dataset)["U1"] == "04135" and "U7" not in dataset.user_labels
    assert "repeated reviews left out: 5;" in dataset.source


def test_times_of_2023_are_milliseconds(tmp_path):
    lines = [review_line(NEW, *review) for review in block()]
    lines[:2] = (
        review_line(NEW, "U0", item, 0).replace("000, ", f"{ms:03}, ")
        for item, ms in (("B0", 2), ("B1", 1))
    )
    dataset = load_dataset(NEW, with_reviews(tmp_path, NEW, lines), tmp_path / "cache")
    assert histories(dataset)["U0"].startswith("10")
    assert raw.time_of({"t": 1_546_300_800}, "t", 1) == 1_546_300_800_000
    assert raw.time_of({"t": 1_546_300_800_123}, "t", 1000) == 1_546_300_800_123


def test_yelp_is_the_year_2019(tmp_path):
    def users(*dates):
        lines = [review_line(YELP, *review) for review in block()]
        eighth = [review_line(YELP, "U8", f"B{i}", 0) for i in range(6)]
        for date in dates:
            lines += [line.replace("2019-01-01 00:00:00", date) for line in eighth]
        return load_dataset(YELP, with_reviews(tmp_path, YELP, lines), tmp_path / "c").user_labels

    assert "U8" not in users("2018-12-31 23:59:59", "2019-12-31 00:00:01", "2022-01-19 19:48:45")
    assert "U8" in users("2019-12-31 00:00:00")
    early = [review_line(YELP, *review).replace("2019", "2018") for review in block()]
    with pytest.raises(LetterError, match="reviews outside these rules: 36"):
        load_dataset(YELP, with_reviews(tmp_path, YELP, early), tmp_path / "c")


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


def slow(reviews):
    """{user: items in order}, by the definitions: first review, 5-core, time then item id."""
    first = {}
    for user, item, minutes in reviews:
        first[user, item] = min(minutes, first.get((user, item), minutes))
    while True:
        users, items = Counter(u for u, _ in first), Counter(i for _, i in first)
        kept = {(u, i): t for (u, i), t in first.items() if users[u] >= 5 and items[i] >= 5}
        if kept == first:
            break
        first = kept
    return {
        u: sorted((i for v, i in first if v == u), key=lambda i: (first[u, i], i))
        for u in {u for u, _ in first}
    }


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
    dataset, expected = assembled(name, reviews, items), slow(reviews)
    if dataset is None:
        assert expected == {}
        return
    assert as_dictionary(dataset) == expected
    assert dataset.user_labels == sorted(expected) and dataset.titles() == sorted(dataset.titles())
    random.shuffle(reviews)
    random.shuffle(items)
    assert assembled(name, reviews, items).fingerprint == dataset.fingerprint
    again = [(u, item, place) for u, row in expected.items() for place, item in enumerate(row)]
    assert as_dictionary(assembled(name, again, items)) == expected  # made from its own result


# Item text


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("Salt &amp;amp; Pepper", "Salt & Pepper"),
        ("L&#39;Or&eacute;al&nbsp;&nbsp;Paris", "L'Oréal Paris"),
        ("<b>Soft</b>brush<br />for\n\thair", "Soft brush for hair"),
        ("&lt;b&gt;Soft&lt;/b&gt;", "Soft"),
        ("a<!-- not -->b<script type='x'>var a = 1 < 2;</script>c<style>p {}</style>", "a b c"),
        ("a<SCRIPT>\nvar a = 1;\n</SCRIPT>b<!-- over\nlines -->c", "a b c"),
        ("5 < 6 and 7 > 3, I <3 you", "5 < 6 and 7 > 3, I <3 you"),
        (["First <i>part</i>", "", None, ["second ", "third"]], "First part second third"),
        ({"a": "b"}, ""),
        (None, ""),
        ("half a smile \ud83d", "half a smile ?"),
    ],
)
def test_clean(value, cleaned):
    assert clean(value) == cleaned


pieces = "& amp; lt; gt; < > b / <br> &nbsp; &#39; !-- -->".split() + [" ", "\n"]


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(st.sampled_from(pieces)).map("".join)))
def test_cleaning_twice_is_cleaning_once(text):
    once = clean(text)
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
    assert item_row("B7", None) == {"title": "item B7", "text": "item B7", "genres": ""}


def test_fields_of_each_release():
    paths = [["Beauty", "Hair"], ["Beauty", "Gifts"]]
    fields = {"title": "A &amp; B", "description": "<p>C</p>", "categories": paths}
    assert item_2014(fields) == ItemText("A & B", "C", ("Beauty", "Hair", "Gifts"))
    assert item_2014({"title": None, "categories": "Beauty"}) == ItemText("", "", ())
    fields = {"title": "Comb", "description": ["Of", "wood"], "feature": ["Soft"]}
    assert item_2018(fields) == ItemText("Comb", "Of wood", ())
    assert item_2018(fields | {"description": []}).description == "Soft"
    assert item_2018(fields | {"title": "var a = (new Date()).getTime();"}).title == ""
    spilled = ["Beauty", "Hair", "</span></span></span>\nSoft", "Not a category"]
    assert item_2018(fields | {"category": spilled}).labels == ("Beauty", "Hair")
    fields = {"title": None, "description": [], "features": ["Soft", "Wood"], "categories": None}
    assert item_2023(fields) == ItemText("", "Soft Wood", ())
    fields |= {"description": ["A", "B"], "categories": ["X"]}
    assert item_2023(fields) == ItemText("", "A B", ("X",))
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


def test_items_that_only_mention_another_are_not_mistaken_for_it(load):
    other = json.loads(item_line(INSTRUMENTS, "X1", "Wrong", 'He said "asin": "B3", much longer'))
    other |= {"also_buy": ["B3"], "details": {"asin": "B3"}}
    dataset = load(INSTRUMENTS, block(), block_items(INSTRUMENTS) + [json.dumps(other)])
    assert dataset.titles() == [f"Thing {i}" for i in range(6)]


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
        ('{"reviewerID": "U1", "asin": ', "JSON"),
        ("[1, 2]", "JSON object"),
        ('{"asin": "B1", "unixReviewTime": 1400000000}', '"reviewerID" is None'),
        ('{"reviewerID": "", "asin": "B1", "unixReviewTime": 1400000000}', "\"reviewerID\" is ''"),
        ('{"reviewerID": "U\\ud83d", "asin": "B1", "unixReviewTime": 1400000000}', '"reviewerID"'),
        ('{"reviewerID": "U1", "asin": 7, "unixReviewTime": 1400000000}', '"asin" is 7'),
        ('{"reviewerID": "U1", "asin": "B1", "unixReviewTime": 1400000000000}', "1400000000000"),
        ('{"reviewerID": "U1", "asin": "B1", "unixReviewTime": true}', '"unixReviewTime" is True'),
        ('{"reviewerID": "U1", "asin": "B1"}', '"unixReviewTime" is None'),
    ],
)
def test_a_few_bad_lines_are_counted_and_the_first_is_named(tmp_path, bad, fact):
    folder = damaged(tmp_path, BEAUTY, {17: bad, 40: "nonsense", 41: ""})
    source = load_dataset(BEAUTY, folder, tmp_path / "cache").source
    assert "2 unusable lines of reviews_Beauty_5.json.gz left out (first: line 17: " in source
    assert fact in source


@pytest.mark.parametrize("date", ["2019-02-30 00:00:00", "2019-02-03", "2019-02-03 10:00:00+01:00"])
def test_bad_dates_are_bad_lines(tmp_path, date):
    line = review_line(YELP, "U0", "B0", 0).replace("2019-01-01 00:00:00", date)
    source = load_dataset(YELP, damaged(tmp_path, YELP, {3: line}), tmp_path / "cache").source
    assert f"line 3: \"date\" is '{date}'" in source


def test_more_than_one_in_a_hundred_is_refused(tmp_path):
    bad = {number: "nonsense" for number in (9, 20, 30, 40)}
    load_dataset(BEAUTY, damaged(tmp_path, BEAUTY, bad, 396), tmp_path / "cache")
    with pytest.raises(LetterError, match=r"4 of 399 lines .* 1% \(line 9: "):
        load_dataset(BEAUTY, damaged(tmp_path, BEAUTY, bad, 395), tmp_path / "cache")
    folder = with_reviews(tmp_path, BEAUTY, ["nonsense"] * 50_000)
    with pytest.raises(LetterError, match="1,000 of 1,000 lines"):  # not read to its end
        load_dataset(BEAUTY, folder, tmp_path / "cache")
    tally = Tally(tmp_path / "reviews.json", lines=1_000_000)
    for number in range(1500):
        tally.add_bad(number, "odd")
    tally.check()


@pytest.mark.parametrize("which", [0, 1])
def test_empty_cut_and_damaged_files_are_named(tmp_path, which):
    folder = write_raw(tmp_path / "raw", BEAUTY, block(), block_items(BEAUTY))
    file = folder / FILES[BEAUTY][which]
    whole = file.read_bytes()
    plain = gzip.decompress(whole).rstrip(b"\n")
    for content, fact in (
        (gzip.compress(b""), "is empty"),
        (whole[: len(whole) // 2], "not whole"),
        (whole[:-8] + bytes(8), "damaged"),
        (plain[:-3], r"middle of line \d+"),
    ):
        file.write_bytes(content)
        with pytest.raises(LetterError, match=f"{file.name}: .*{fact}"):
            load_dataset(BEAUTY, folder, tmp_path / "cache")
    file.write_bytes(plain)  # plain text under a gzip name, without a last line end
    assert load_dataset(BEAUTY, folder, tmp_path / "cache").n_users == 6
    file.rename(file.with_suffix(""))
    assert load_dataset(BEAUTY, folder, tmp_path / "cache").n_users == 6


@pytest.mark.parametrize("name", NAMES)
def test_files_of_another_release_or_kind_are_refused(tmp_path, name):
    for other in NAMES:
        if other != name:
            lines = ["nonsense", *(review_line(other, *review) for review in block())]
            family = "Yelp" if other == YELP else f"Amazon {other[7:11]}"
            with pytest.raises(LetterError, match=f"reviews of {family}, not reviews of "):
                load_dataset(name, with_reviews(tmp_path, name, lines), tmp_path / "cache")
    reviews = [review_line(name, *review) for review in block()]
    folder = write_raw(tmp_path / "raw", name, block(), [])
    write_lines(folder / FILES[name][1], reviews)
    with pytest.raises(LetterError, match=f"{FILES[name][1]}: .* not metadata of"):
        load_dataset(name, folder, tmp_path / "cache")
    write_lines(folder / FILES[name][1], [line.replace("B", "C") for line in block_items(name)])
    with pytest.raises(LetterError, match=FILES[name][1]):  # metadata of other items
        load_dataset(name, folder, tmp_path / "cache")


def test_metadata_of_2014_are_literals_and_nothing_in_them_is_executed(tmp_path, load, recwarn):
    trap = tmp_path / "trap"
    evil = f"{{'asin': 'B1', 'title': __import__('pathlib').Path({str(trap)!r}).touch()}}"
    odd = "{'asin': 'B0', 'title': 'Wave \\d'}"  # Python's literals of 2014 knew no warning for \d
    rest = [item_line(BEAUTY, f"X{i}", "x") for i in range(200)]
    dataset = load(BEAUTY, block(), [odd, *block_items(BEAUTY)[1:], *rest, evil])
    assert not trap.exists() and dataset.titles()[0] == r"Wave \d" and not recwarn.list
    assert "1 unusable line of meta_Beauty.json.gz left out (first: line 207: " in dataset.source


def test_too_few_reviews_for_a_core(load):
    with pytest.raises(LetterError, match="nothing is left of the 5-core of 36 reviews"):
        load(BEAUTY, block(4, 9), block_items(BEAUTY, 9))


# The prepared copy


def test_raw_files_are_read_once_and_again_when_changed(tmp_path, load, monkeypatch):
    first = load(BEAUTY)
    with monkeypatch.context() as patch:
        patch.setattr(raw, "assemble", lambda *_: pytest.fail("read the raw files again"))
        again = load_dataset(BEAUTY, tmp_path / BEAUTY, tmp_path / "cache")
    assert (again.name, again.fingerprint, again.source) == (
        BEAUTY,
        first.fingerprint,
        first.source,
    )
    folder = write_raw(tmp_path / BEAUTY, BEAUTY, block(7), block_items(BEAUTY))
    assert load_dataset(BEAUTY, folder, tmp_path / "cache").n_users == 7
    items = [line.replace("number 3", "number X") for line in block_items(BEAUTY)]  # as many bytes
    metadata = write_lines(folder / FILES[BEAUTY][1], items)
    os.utime(metadata, ns=(0, metadata.stat().st_mtime_ns + 1))
    assert "number X" in load_dataset(BEAUTY, folder, tmp_path / "cache").items["text"][3]


# Names


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("amazon-2014", "amazon-2014-<category>.*beauty, books"),
        ("amazon-2014-beuty", "amazon-2014-beauty"),
        ("amazon-2018-instruments", "amazon-2018-musical-instruments"),
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
    with pytest.raises(LetterError, match="gone: .*letterlib data fetch amazon-2014-beauty"):
        load_dataset(BEAUTY, tmp_path / "gone")
    folder = write_raw(tmp_path / "raw", BEAUTY, block(), block_items(BEAUTY))
    (folder / FILES[BEAUTY][1]).unlink()
    with pytest.raises(LetterError, match=r"metadata of Amazon 2014.*meta_Beauty\.json\.gz"):
        load_dataset(BEAUTY, folder)


def test_every_category_has_one_name_and_addresses():
    for year, categories in CATEGORIES.items():
        names = [slug(category) for category in categories]
        assert len(set(names)) == len(names) == {2014: 24, 2018: 29, 2023: 34}[year]
        for category, name in zip(categories, names, strict=True):
            source = amazon_source(f"amazon-{year}-{name}")
            files = (source.reviews[0], source.metadata[0])
            for urls, file in zip(source.addresses, files, strict=True):
                assert all(url.startswith("https://") for url in urls) and category in file
                assert all(url.endswith(f"/{file}.gz") for url in urls)
    urls = [urls[0] for urls in amazon_source(INSTRUMENTS).addresses]
    assert urls[0].endswith("amazon_v2/categoryFilesSmall/Musical_Instruments_5.json.gz")
    assert urls[1].endswith("amazon_v2/metaFiles2/meta_Musical_Instruments.json.gz")


@pytest.mark.parametrize("name", NAMES)
def test_another_data_set_s_files_are_not_loaded_under_a_raw_name(name, tmp_path, load):
    (tmp_path / "toy.inter.json").write_text('{"7": [0, 1, 2]}')
    with pytest.raises(LetterError, match=r"toy\.inter\.json is another data set"):
        load_dataset(name, tmp_path)
    assert identifiers_file(name, tmp_path) is None and load_dataset("toy", tmp_path).n_items == 3
    raw_content = load(name).fingerprint
    (tmp_path / name / "toy.inter.json").write_text('{"7": [0, 1, 2]}')
    assert load_dataset(name, tmp_path / name, tmp_path / "cache").fingerprint == raw_content
    own = tmp_path / name / f"{name}.inter.json"
    own.write_text('{"7": [0, 1]}')
    released = load_dataset(name, own.parent)
    assert released.n_items == 2 and paper_counts(released, own.parent) == ""
    (index := own.with_name(f"{name}.index.json")).touch()
    assert identifiers_file(name, own.parent) == index


# The paper's counts, and the command


def test_the_papers_counts_are_compared(tmp_path, load, monkeypatch):
    dataset = load(BEAUTY)
    shown = paper_counts(dataset, tmp_path / BEAUTY)
    assert "users: expected 22,363, found 6" in shown and "items: expected 12,101" in shown
    for file in FILES[BEAUTY]:
        assert f"{file}: SHA-256 {raw.sha256_of(tmp_path / BEAUTY / file)}" in shown
    assert raw_source(INSTRUMENTS).paper == (24_772, 9_922, 206_153)
    assert raw_source(YELP).paper == (30_431, 20_033, 316_354) and raw_source(NEW).paper is None
    assert paper_counts(load(NEW), tmp_path / NEW) and paper_counts(dataset, None) == ""
    options = ["--dataset", BEAUTY, "--data-dir", str(tmp_path / BEAUTY)]
    done = CliRunner().invoke(app, ["data", *options, "--cache-dir", str(tmp_path / "runs")])
    assert "6 users, 6 items, 36 interactions" in done.stdout and "expected 22,363" in done.stdout
    monkeypatch.setitem(amazon.PAPER, BEAUTY, (6, 6, 36))
    assert "expected" not in paper_counts(dataset, tmp_path / BEAUTY)


def test_memory_does_not_grow_with_the_length_of_reviews(tmp_path):
    """300,000 reviews of 800 characters, 300 MB of text; beyond the libraries, a quarter of that is
    allowed.
    """
    name, count = NAMES[0], 300_000
    write_lines(
        tmp_path / FILES[name][1], [item_line(name, f"B{i}", f"Thing {i}") for i in range(1000)]
    )
    line = review_line(name, "U%d", "B%d", 0).replace("Twice!", "x" * 800)
    with gzip.open(tmp_path / FILES[name][0], "wt", 1) as file:
        file.writelines(
            line % (k % 30_000, (k * 7919 + k // 30_000) % 1000) + "\n" for k in range(count)
        )
    code = """if True:
        import sys, threading, time
        from pathlib import Path
        import psutil
        from letterlib.data import raw, raw_source
        source = raw_source(sys.argv[1])
        files = raw.raw_files(sys.argv[1], source, Path(sys.argv[2]))
        process, sizes = psutil.Process(), []
        def watch():
            while True:
                sizes.append(process.memory_info().rss)
                time.sleep(0.005)
        threading.Thread(target=watch, daemon=True).start()
        before = process.memory_info().rss
        dataset = raw.assemble(sys.argv[1], source, *files)
        print(dataset.n_interactions, max(sizes) - before)"""
    command = [sys.executable, "-c", code, name, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"TQDM_DISABLE": "1"}
    )
    interactions, peak = map(int, done.stdout.split())
    text = count * len(line)
    assert interactions > 250_000
    assert peak < text / 4, f"{peak / 2**20:.0f} MiB for {text / 2**20:.0f} MiB of reviews"
