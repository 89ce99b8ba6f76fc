"""Data sets from raw reviews and metadata: counts, order, text, bad lines, names, the prepared
copy.
"""

import gzip
import os
import subprocess
import sys

import pytest
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
from letterlib.data import identifiers_file, load_dataset, paper_counts, raw, raw_source
from letterlib.data.amazon import CATEGORIES, amazon_source, slug
from letterlib.data.raw_lines import LONGEST_LINE, Tally
from letterlib.errors import LetterError


@pytest.fixture
def load(tmp_path):
    def load(name, reviews=None, items=None):
        folder = write_raw(tmp_path / name, name, reviews or block(), items or block_items(name))
        return load_dataset(name, folder, tmp_path / "cache")

    return load


def histories(dataset):
    names = [title.removeprefix("Thing ") for title in dataset.titles()]
    return {
        user: "".join(names[i] for i in dataset.sequences[u])
        for u, user in enumerate(dataset.user_labels)
    }


def complaint(name, folder, tmp_path):
    with pytest.raises(LetterError) as caught:
        load_dataset(name, folder, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    left = [
        one for one in (tmp_path / "cache").iterdir() if one.suffix != ".lock" or one.stat().st_size
    ]
    assert not left, "nothing is kept of what could not be read, but an empty lock"
    return str(caught.value)


# What is kept, in which order


@pytest.mark.parametrize("name", NAMES)
def test_a_small_file_by_hand(load, name):
    reviews = block() + [("U9", "B0", 1), ("U0", "B9", 2)]  # too few for a 5-core
    reviews.reverse()
    dataset = load(name, reviews)
    assert (dataset.name, dataset.n_users, dataset.n_items, dataset.n_interactions) == (
        name,
        6,
        6,
        36,
    )
    assert histories(dataset) == {f"U{u}": "012345" for u in range(6)}
    assert dataset.titles() == [f"Thing {i}" for i in range(6)]
    assert list(dataset.user_labels) == [f"U{u}" for u in range(6)]
    assert list(dataset.item_labels) == [f"B{i}" for i in range(6)]
    description = "Beauty, Hair Care, Gifts" if name == "yelp" else "It is number 3"
    assert dataset.items.loc[3].tolist() == [
        "Thing 3",
        f"Thing 3. {description}",
        "Beauty|Hair Care|Gifts",
    ]
    assert "5-core" in dataset.source and all(file in dataset.source for file in FILES[name])
    assert "unusable" not in dataset.source


@pytest.mark.parametrize("name", NAMES)
def test_of_repeated_reviews_the_first_counts_and_equal_times_go_by_item_id(load, name):
    others = [one for one in block() if one[0] != "U1"]
    own = [("U1", "B4", 50), ("U1", "B0", 60), ("U1", "B4", 90), ("U1", "B5", 60), ("U1", "B0", 10)]
    own += [("U1", "B3", 60), ("U1", "B1", 60), ("U1", "B4", 50)]
    dataset = load(name, others + own)
    assert histories(dataset)["U1"] == "04135"
    assert "repeated reviews left out: 3;" in dataset.source


def test_repeated_reviews_do_not_make_a_core(load):
    twice = [("U7", f"B{i}", i) for i in (0, 1, 2, 2, 3, 3)]
    assert "U7" not in load(NAMES[0], block() + twice).user_labels


def test_times_of_2023_are_milliseconds(tmp_path):
    name = NAMES[2]
    lines = [review_line(name, *one) for one in block()]
    lines[0], lines[1] = (
        line.replace("000, ", f"{ms:03}, ")
        for line, ms in zip((lines[0], lines[0]), (2, 1), strict=True)
    )
    lines[1] = lines[1].replace('"B0', '"B1')
    folder = write_raw(tmp_path / "raw", name, [], block_items(name))
    write_lines(folder / FILES[name][0], lines)
    assert histories(load_dataset(name, folder, tmp_path / "cache"))["U0"].startswith("10")


def test_times_are_kept_in_milliseconds_whatever_the_release_has():
    assert raw.time_of({"t": 1_546_300_800}, "t", 1) == 1_546_300_800_000
    assert raw.time_of({"t": 1_546_300_800_123}, "t", 1000) == 1_546_300_800_123


def test_yelp_is_the_year_2019(tmp_path):
    lines = [review_line("yelp", *one) for one in block()]
    for date in ("2018-12-31 23:59:59", "2019-12-31 00:00:01", "2022-01-19 19:48:45"):
        lines += [
            review_line("yelp", "U8", f"B{i}", 0).replace("2019-01-01 00:00:00", date)
            for i in range(6)
        ]
    folder = write_raw(tmp_path / "raw", "yelp", [], block_items("yelp"))
    write_lines(folder / FILES["yelp"][0], lines)
    assert load_dataset("yelp", folder, tmp_path / "cache").user_labels == [
        f"U{u}" for u in range(6)
    ]
    more = [line.replace("2019-12-31 00:00:01", "2019-12-31 00:00:00") for line in lines]
    write_lines(folder / FILES["yelp"][0], more)
    assert "U8" in load_dataset("yelp", folder, tmp_path / "cache").user_labels


@pytest.mark.parametrize("name", NAMES)
def test_an_item_without_entry_stays_except_in_2018(load, name):
    """LC-Rec leaves such items of 2018 out before the 5-core; whose users had five with it alone
    then fall out, too.
    """
    reviews = (
        block(6, 5)
        + [(f"U{u}", "B5", 900) for u in range(5)]
        + [("V", f"B{i}", i) for i in (0, 1, 2, 3, 5)]
    )
    dataset = load(name, reviews, block_items(name, 5))
    if "2018" in name:
        assert (dataset.n_users, dataset.n_items) == (6, 5)
        assert "items that the metadata do not name, left out: 1;" in dataset.source
    else:
        assert (dataset.n_users, dataset.n_items) == (7, 6)
        assert dataset.items.loc[5].tolist() == ["item B5", "item B5", ""]
        assert dataset.source.endswith(
            "items without title and description, which go by their labels or id: 1 of 6"
        )


@pytest.mark.parametrize("name", NAMES)
def test_reviews_in_the_place_of_the_metadata_are_refused(tmp_path, name):
    """Headlines of reviews would become titles (2023), or every item would go by its id."""
    reviews = [review_line(name, *one) for one in block()]
    folder = write_raw(tmp_path / "raw", name, block(), [])
    write_lines(folder / FILES[name][1], reviews)
    with pytest.raises(LetterError, match=r"holds reviews of .*, and should hold the metadata of"):
        load_dataset(name, folder, tmp_path / "cache")


@pytest.mark.parametrize("name", [name for name in NAMES if "2018" not in name])
def test_metadata_of_other_items_are_refused(load, name):
    others = [line.replace("B", "C") for line in block_items(name)]
    with pytest.raises(
        LetterError,
        match="no title and no description of any of the 6 items .* such as B0; is it the",
    ):
        load(name, block(), others)


def test_where_all_reviews_are_of_other_years_the_rule_is_named(tmp_path):
    lines = [review_line("yelp", *one).replace("2019-01-01", "2018-01-01") for one in block()]
    folder = write_raw(tmp_path / "raw", "yelp", [], block_items("yelp"))
    write_lines(folder / FILES["yelp"][0], lines)
    with pytest.raises(
        LetterError,
        match="36 of them are no reviews from 2019-01-01 00:00:00 to 2019-12-31 00:00:00",
    ):
        load_dataset("yelp", folder, tmp_path / "cache")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("which", [0, 1])
def test_a_plain_file_that_was_cut_is_refused_and_one_without_a_last_line_end_is_not(
    tmp_path, name, which
):
    folder = write_raw(tmp_path / "raw", name, block(), block_items(name))
    file = folder / FILES[name][which]
    text = file.read_bytes()
    text = (gzip.decompress(text) if file.suffix == ".gz" else text).rstrip(b"\n")
    file.write_bytes(text)
    assert load_dataset(name, folder, tmp_path / "cache").n_users == 6
    odd = b'{"asin": 7, "business_id": 7}' if which else b'{"user_id": 7}'
    file.write_bytes(
        text + b"\n" + odd
    )  # a last line that is whole, and of no use, is one of a hundred
    with pytest.raises(LetterError, match=r"1 of its \d+ lines cannot be used"):
        load_dataset(name, folder, tmp_path / "cache")
    file.write_bytes(text[:-3])
    with pytest.raises(LetterError, match=r"ends in the middle of line \d+ .*; download it again"):
        load_dataset(name, folder, tmp_path / "cache")


# Bad lines and bad files


def damaged(tmp_path, name, bad, count=400):
    """A folder whose review file has `bad` ({line number: line}) among `count` good ones."""
    folder = write_raw(tmp_path / "raw", name, [], block_items(name))
    lines = [review_line(name, *one) for one in (block() * (count // 36 + 1))[:count]]
    for number, line in sorted(bad.items()):
        lines.insert(number - 1, line)
    write_lines(folder / FILES[name][0], lines)
    return folder


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"reviewerID": "U1", "asin": ', "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ('{"asin": "B1", "unixReviewTime": 1400000000}', 'no "reviewerID", only asin'),
        ('{"reviewerID": "", "asin": "B1", "unixReviewTime": 1400000000}', 'no "reviewerID"'),
        (
            '{"reviewerID": "U\\ud83d", "asin": "B1", "unixReviewTime": 1400000000}',
            "half of a letter",
        ),
        ('{"reviewerID": "U1", "asin": 7, "unixReviewTime": 1400000000}', 'no "asin"'),
        (
            '{"reviewerID": "U1", "asin": "B1", "unixReviewTime": 1400000000000}',
            "1400000000000, not a time in seconds",
        ),
        (
            '{"reviewerID": "U1", "asin": "B1", "unixReviewTime": "yesterday"}',
            "not a time in seconds",
        ),
        ('{"reviewerID": "U1", "asin": "B1", "unixReviewTime": true}', "not a time"),
        ('{"reviewerID": "U1", "asin": "B1"}', '"unixReviewTime" is None'),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_few_bad_lines_are_counted_and_the_first_is_named(tmp_path, bad, reason):
    folder = damaged(tmp_path, NAMES[0], {17: bad, 40: "nonsense", 41: ""})
    source = load_dataset(NAMES[0], folder, tmp_path / "cache").source
    assert (
        "2 unusable lines of reviews_Beauty_5.json.gz left out (first: line 17: " in source
        and reason in source
    )


def test_more_than_one_in_a_hundred_is_refused(tmp_path):
    folder = damaged(tmp_path, NAMES[0], {number: "nonsense" for number in (9, 20, 30, 40)}, 396)
    load_dataset(NAMES[0], folder, tmp_path / "just")  # exactly one in a hundred
    folder = damaged(tmp_path, NAMES[0], {number: "nonsense" for number in (9, 20, 30, 40)}, 395)
    said = complaint(NAMES[0], folder, tmp_path)
    assert (
        "4 of its 399 lines cannot be used, more than 1% (line 9: not JSON" in said
        and "right file" in said
    )


def test_a_file_of_nonsense_is_given_up_early(tmp_path):
    folder = damaged(tmp_path, NAMES[0], {})
    write_lines(folder / FILES[NAMES[0]][0], ["nonsense"] * 50_000)
    assert "most of its first 1,000 lines" in complaint(NAMES[0], folder, tmp_path)


def test_a_thousand_bad_lines_of_a_million_are_no_reason_to_give_up(tmp_path):
    tally = Tally(tmp_path / "reviews.json", lines=1_000_000)
    for number in range(1500):
        tally.add_bad(number, "odd")
    tally.check()


@pytest.mark.parametrize("time", [1_400_000_000, "1400000000000"])
def test_seconds_in_2023_are_bad_lines(tmp_path, time):
    line = review_line(NAMES[2], "U0", "B0", 0).replace(
        "1546300800000", repr(time).replace("'", '"')
    )
    folder = damaged(tmp_path, NAMES[2], {3: line})
    assert "line 3: " in load_dataset(NAMES[2], folder, tmp_path / "cache").source


@pytest.mark.parametrize(
    "date", ["2019-02-30 00:00:00", "2019-02-03", "yesterday", "2019-02-03 10:00:00+01:00"]
)
def test_bad_dates_are_bad_lines(tmp_path, date):
    line = review_line("yelp", "U0", "B0", 0).replace("2019-01-01 00:00:00", date)
    source = load_dataset("yelp", damaged(tmp_path, "yelp", {3: line}), tmp_path / "cache").source
    assert f"line 3: \"date\" is '{date}', not YYYY" in source


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_empty_files(tmp_path, name, which):
    folder = damaged(tmp_path, name, {})
    write_lines(folder / FILES[name][which], [])
    if which == 1 and "2018" in name:  # which is read for what items it names
        assert f"{FILES[name][1]}: has none of the 6 items" in complaint(name, folder, tmp_path)
    else:
        assert f"{FILES[name][which]}: is empty; download it again" in complaint(
            name, folder, tmp_path
        )


@pytest.mark.parametrize("which", [0, 1])
def test_truncated_and_damaged_gzip(tmp_path, which):
    name = NAMES[0]
    file = damaged(tmp_path, name, {}) / FILES[name][which]
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    said = complaint(name, file.parent, tmp_path)
    assert (
        file.name in said and "ends in the middle of its compressed data; download it again" in said
    )
    file.write_bytes(whole[:-8] + bytes(8))
    assert "damaged" in complaint(name, file.parent, tmp_path)


def test_plain_files_and_plain_text_under_a_gzip_name(tmp_path, load):
    name = NAMES[1]
    expected = load(name)
    folder = tmp_path / name
    for file in FILES[name]:
        (folder / file.removesuffix(".gz")).write_bytes(
            gzip.decompress((folder / file).read_bytes())
        )
        (folder / file).unlink()
    assert load_dataset(name, folder, tmp_path / "cache").fingerprint == expected.fingerprint
    for file in FILES[name]:
        (folder / file.removesuffix(".gz")).rename(folder / file)
    assert load_dataset(name, folder, tmp_path / "cache").fingerprint == expected.fingerprint


def test_without_the_small_file_the_whole_one_is_read(tmp_path):
    folder = write_raw(tmp_path, NAMES[0], block(), block_items(NAMES[0]))
    (folder / "reviews_Beauty_5.json.gz").rename(folder / "reviews_Beauty.json.gz")
    assert "(reviews_Beauty.json.gz, " in load_dataset(NAMES[0], folder, tmp_path / "cache").source


def test_an_endless_line_is_refused(tmp_path):
    folder = damaged(tmp_path, NAMES[0], {})
    (folder / FILES[NAMES[0]][0]).write_bytes(gzip.compress(b"[" + b" " * LONGEST_LINE, 1))
    assert "line 1: longer than" in complaint(NAMES[0], folder, tmp_path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", NAMES)
def test_reviews_of_another_release_are_refused(tmp_path, name, other):
    if name == other:
        return
    folder = write_raw(tmp_path / "raw", name, [], block_items(name))
    write_lines(
        folder / FILES[name][0], ["nonsense", *(review_line(other, *one) for one in block())]
    )
    family = "Yelp" if other == "yelp" else f"Amazon {other[7:11]}"
    assert f"holds reviews of {family}, not of " in complaint(name, folder, tmp_path)


def test_metadata_of_another_kind_are_refused(tmp_path):
    folder = write_raw(
        tmp_path / "raw", NAMES[2], block(), [item_line(NAMES[1], f"B{i}") for i in range(6)]
    )
    assert 'no "parent_asin", only category, asin' in complaint(NAMES[2], folder, tmp_path)
    page = ["<!DOCTYPE html>", "<p>Moved</p>"]
    folder = write_raw(tmp_path / "raw", NAMES[0], block(), page)
    assert "line 1: not a Python dictionary, it begins '<!DOCTYPE html>'" in complaint(
        NAMES[0], folder, tmp_path
    )


def test_odd_metadata_of_2014_are_counted_or_read_without_a_warning(tmp_path, recwarn):
    rest = [item_line(NAMES[0], f"X{i}", "x") for i in range(200)]
    odd = "{'asin': 'B0', 'title': 'Wave \\d'}"  # Python's literals of 2014 knew no warning for \d
    folder = write_raw(
        tmp_path / "raw",
        NAMES[0],
        block(),
        ["['asin', 'B1']", odd, *block_items(NAMES[0])[1:], *rest],
    )
    dataset = load_dataset(NAMES[0], folder, tmp_path / "cache")
    assert dataset.titles()[0] == r"Wave \d" and not recwarn.list
    assert (
        "1 unusable line of meta_Beauty.json.gz left out (first: line 1: not a Python dictionary"
        in dataset.source
    )


def test_metadata_that_name_no_item_of_2018_are_named_and_not_the_reviews(tmp_path):
    (name,) = (one for one in NAMES if "2018" in one)
    folder = write_raw(
        tmp_path / "raw", name, block(), [item_line(name, f"C{i}") for i in range(6)]
    )
    said = complaint(name, folder, tmp_path)
    assert "has none of the 6 items of the reviews" in said and FILES[name][1] in said


def test_nothing_in_the_metadata_of_2014_is_executed(tmp_path):
    trap = tmp_path / "trap"
    evil = f"{{'asin': 'B1', 'title': __import__('pathlib').Path({str(trap)!r}).touch()}}"
    items = block_items(NAMES[0]) + [item_line(NAMES[0], f"X{i}", "x") for i in range(200)] + [evil]
    folder = write_raw(tmp_path / "raw", NAMES[0], block(), items)
    source = load_dataset(NAMES[0], folder, tmp_path / "cache").source
    assert (
        not trap.exists()
        and "1 unusable line of meta_Beauty.json.gz left out (first: line 207: " in source
    )


def test_too_few_reviews_for_a_core(tmp_path):
    folder = write_raw(tmp_path / "raw", NAMES[0], block(4, 9), block_items(NAMES[0], 9))
    said = complaint(NAMES[0], folder, tmp_path)
    assert "nobody is left of 4 users and 36 lines in the 5-core" in said


# The prepared copy


def test_raw_files_are_read_once_and_again_when_changed(tmp_path, load, monkeypatch):
    name = NAMES[0]
    first = load(name)
    with monkeypatch.context() as patch:
        patch.setattr(raw, "assemble", lambda *_: pytest.fail("read the raw files again"))
        again = load_dataset(name, tmp_path / name, tmp_path / "cache")
    assert (again.name, again.fingerprint, again.source) == (name, first.fingerprint, first.source)
    assert list(again.user_labels) == list(first.user_labels)
    folder = write_raw(tmp_path / name, name, block(7), block_items(name))
    assert load_dataset(name, folder, tmp_path / "cache").n_users == 7
    items = [
        line.replace("number 3", "number X") for line in block_items(name)
    ]  # as many bytes as before
    metadata = write_lines(folder / FILES[name][1], items)
    os.utime(metadata, ns=(0, metadata.stat().st_mtime_ns + 1))
    assert "number X" in load_dataset(name, folder, tmp_path / "cache").items["text"][3]


def test_another_file_of_the_same_time_is_read_anew(tmp_path, load):
    name = NAMES[0]
    first = load(name)
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / name).iterdir()}
    folder = write_raw(tmp_path / name, name, block(7), block_items(name))
    for file, time in times.items():
        os.utime(file, ns=(time, time))
    assert load_dataset(name, folder, tmp_path / "cache").n_users == first.n_users + 1


def test_the_copy_on_disk_gives_what_was_assembled(tmp_path):
    for name in NAMES:
        folder = write_raw(tmp_path / name, name, block(), block_items(name))
        source = raw_source(name)
        fresh = raw.assemble(name, source, *raw.raw_files(name, source, folder))
        assert load_dataset(name, folder, tmp_path / "cache").fingerprint == fresh.fingerprint


# Names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "amazon-2014",
            ["amazon-2014 needs a category", "amazon-2014-<category>", "beauty, books"],
        ),
        (
            "amazon-2014-beuty",
            ["no category 'beuty'", "did you mean amazon-2014-beauty?", "musical-instruments"],
        ),
        ("amazon-2018-instruments", ["did you mean amazon-2018-musical-instruments?"]),
        ("amazon-2018-Beauty", ["no category 'Beauty'", "all-beauty"]),
        ("amazon-2016-beauty", ["amazon-<year>-<category>", "2014, 2018 or 2023"]),
        ("amazon-beauty", ["amazon-<year>-<category>"]),
    ],
)
def test_a_wrong_name_lists_what_is_possible(tmp_path, name, words):
    for folder in (None, tmp_path):
        with pytest.raises(LetterError) as caught:
            load_dataset(name, folder)
        assert all(word in str(caught.value) for word in words), caught.value


def test_a_missing_folder_or_file_says_how_to_fetch_it(tmp_path):
    with pytest.raises(
        LetterError, match=r"no folder for data set 'yelp'.*letterlib data fetch yelp.*data/yelp"
    ):
        load_dataset("yelp")
    with pytest.raises(
        LetterError,
        match=r"gone: no such folder; letterlib data fetch amazon-2014-beauty --data-dir",
    ):
        load_dataset(NAMES[0], tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(
        LetterError, match="file: is a file, not a folder; name the folder of the raw files"
    ):
        load_dataset(NAMES[0], tmp_path / "file")
    folder = write_raw(tmp_path / "raw", NAMES[0], block(), block_items(NAMES[0]))
    (folder / FILES[NAMES[0]][1]).unlink()
    with pytest.raises(
        LetterError,
        match=r"the metadata of Amazon 2014, Beauty are missing, meta_Beauty\.json\.gz; lett",
    ):
        load_dataset(NAMES[0], folder)


def test_every_category_has_one_name():
    for year, categories in CATEGORIES.items():
        names = [slug(category) for category in categories]
        assert len(set(names)) == len(names) == {2014: 24, 2018: 29, 2023: 34}[year]
        for category, name in zip(categories, names, strict=True):
            source = amazon_source(f"amazon-{year}-{name}")
            assert all(url.startswith("https://") for urls in source.addresses for url in urls)
            for urls, files in zip(
                source.addresses, (source.reviews, source.metadata), strict=True
            ):
                assert all(url.endswith(files[0] + ".gz") for url in urls)
            assert category in source.metadata[0]


@pytest.mark.parametrize(
    ("name", "first_of_each"),
    [
        (
            "amazon-2014-beauty",
            [
                "snap.stanford.edu/data/amazon/productGraph/categoryFiles/reviews_Beauty_5.json.gz",
                "snap.stanford.edu/data/amazon/productGraph/categoryFiles/meta_Beauty.json.gz",
            ],
        ),
        (
            "amazon-2018-musical-instruments",
            [
                "mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/categoryFilesSmall/Musical_Instruments_5.json.gz",
                "mcauleylab.ucsd.edu/public_datasets/data/amazon_v2/metaFiles2/meta_Musical_Instruments.json.gz",
            ],
        ),
        (
            "amazon-2023-all-beauty",
            [
                "mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/review_categories/All_Beauty.jsonl.gz",
                "mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/raw/meta_categories/meta_All_Beauty.jsonl.gz",
            ],
        ),
    ],
)
def test_a_file_of_each_release_is_fetched_from_where_its_page_has_it(name, first_of_each):
    assert [
        urls[0].removeprefix("https://") for urls in amazon_source(name).addresses
    ] == first_of_each


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("amazon-2014-beauty", (22_363, 12_101, 198_502)),
        ("amazon-2018-musical-instruments", (24_772, 9_922, 206_153)),
        ("yelp", (30_431, 20_033, 316_354)),
        ("amazon-2018-software", None),
    ],
)
def test_the_counts_that_the_paper_names_are_those_of_its_data_sets(name, counts):
    assert raw_source(name).paper == counts


def test_a_released_folder_may_have_a_raw_name(tmp_path):
    (tmp_path / "Yelp.inter.json").write_text('{"7": [0, 1, 2]}')
    dataset = load_dataset("yelp", tmp_path)
    assert dataset.name == "yelp" and "released file" in dataset.source
    assert paper_counts(dataset, tmp_path) == ""


@pytest.mark.parametrize("name", NAMES)
def test_another_data_set_s_files_are_not_evaluated_under_a_raw_name(name, tmp_path, load):
    """Nor do they hide the raw files beside them; and two are not one."""
    (tmp_path / "toy.inter.json").write_text('{"7": [0, 1, 2]}')
    with pytest.raises(
        LetterError, match=r"reviews of .* are missing.*toy\.inter\.json is another data set"
    ):
        load_dataset(name, tmp_path)
    assert identifiers_file(name, tmp_path) is None and load_dataset("toy", tmp_path).n_items == 3
    raw_content = load(name).fingerprint
    (tmp_path / name / "toy.inter.json").write_text('{"7": [0, 1, 2]}')
    assert load_dataset(name, tmp_path / name, tmp_path / "cache").fingerprint == raw_content
    own = tmp_path / name / f"{name}.inter.json"
    own.write_text('{"7": [0, 1]}')
    assert load_dataset(name, own.parent).n_items == 2
    assert identifiers_file(name, own.parent) is None
    (index := own.with_name(f"{name}.index.json")).touch()
    assert identifiers_file(name, own.parent) == index


# The paper's counts, and the command


def test_the_papers_counts_are_compared(tmp_path, load, monkeypatch):
    name = NAMES[0]
    dataset = load(name)
    said = paper_counts(dataset, tmp_path / name)
    assert (
        "users: expected 22,363, found 6 (-22,357)" in said
        and "items: expected 12,101, found 6" in said
    )
    for file in FILES[name]:
        assert f"{file}: SHA-256 {raw.sha256_of(tmp_path / name / file)}" in said
    monkeypatch.setitem(sys.modules["letterlib.data.amazon"].PAPER, name, (6, 6, 36))
    assert (
        paper_counts(dataset, tmp_path / name)
        == "  users, items and interactions are as many as in LETTER's paper"
    )
    assert "taken out and added" in paper_counts(load("yelp"), tmp_path / "yelp")
    assert "no counts to compare" in paper_counts(load(NAMES[2]), tmp_path / NAMES[2])
    assert paper_counts(dataset, None) == ""


def test_letterlib_data_prints_counts_and_the_comparison(tmp_path):
    folder = write_raw(tmp_path / "raw", NAMES[0], block(), block_items(NAMES[0]))
    options = [
        "--dataset",
        NAMES[0],
        "--data-dir",
        str(folder),
        "--cache-dir",
        str(tmp_path / "runs"),
    ]
    done = CliRunner().invoke(app, ["data", *options], catch_exceptions=False)
    assert done.exit_code == 0
    assert (
        "6 users, 6 items, 36 interactions" in done.stdout
        and "expected 22,363, found 6" in done.stdout
    )


def test_help_of_the_group():
    said = " ".join(CliRunner().invoke(app, ["data", "--help"]).stdout.split())
    assert "--dataset" in said and "fetch" in said and "amazon-<year>-<category>" in said
    said = " ".join(CliRunner().invoke(app, ["data", "fetch", "--help"]).stdout.split())
    assert "--from" in said and "--data-dir" in said


# Memory


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
