"""Fetching raw files from a server that misbehaves: each fault ends in the right bytes, or in one
clear line.
"""

import errno
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
from faulty_server import faulty_server
from made_raw import FILES, NAMES, block, block_items, review_line, write_lines, write_raw
from typer.testing import CliRunner

from letterlib.cli import app
from letterlib.data import download, load_dataset, raw_source
from letterlib.data.fetch import RECORD, fetch
from letterlib.data.raw import possible_names
from letterlib.errors import LetterError
from letterlib.store import locked

NAME = "amazon-2014-beauty"
REVIEWS, METADATA = FILES[NAME]
REVIEWS_AT, MIRROR = f"/first/{REVIEWS}", f"/second/{REVIEWS}"
LINES = [
    review_line(NAME, *one) + " " * random.Random(k).randrange(9)
    for k, one in enumerate(block(40, 40))
]
CONTENT = gzip.compress("\n".join(LINES).encode(), 1, mtime=0)
OTHER = gzip.compress(b"quite another file", mtime=0)
LOCK = f".{RECORD}.lock"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with faulty_server() as one:
        one.files = {REVIEWS_AT: CONTENT, MIRROR: CONTENT}
        one.files[f"/first/{METADATA}"] = gzip.compress(
            "\n".join(block_items(NAME, 40)).encode(), mtime=0
        )
        yield one


@pytest.fixture
def source(server):
    addresses = tuple(
        tuple(f"{server.address}/{at}/{file}" for at in ("first", "second")) for file in FILES[NAME]
    )
    return replace(raw_source(NAME), addresses=addresses)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def finished(folder):
    """Nothing but the two files, their record and its lock, and the reviews as they were sent."""
    assert sorted(one.name for one in folder.iterdir()) == sorted([REVIEWS, METADATA, RECORD, LOCK])
    return (folder / REVIEWS).read_bytes() == CONTENT


def refused(source, folder):
    """The one line; and there is no review file, nor anything that is not meant to go on from."""
    with pytest.raises(LetterError) as caught:
        fetch(NAME, source, folder, [])
    assert "\n" not in str(caught.value)
    assert not (folder / REVIEWS).exists()
    names = {one.name for one in folder.iterdir()}
    assert names <= {f"{REVIEWS}.part", f"{REVIEWS}.part.json", RECORD, LOCK}
    return str(caught.value)


def test_both_files_come_whole_and_can_be_loaded(server, source, tmp_path):
    lines = fetch(NAME, source, tmp_path / "new" / "raw", [])
    folder = tmp_path / "new" / "raw"
    assert finished(folder)
    assert (
        f"SHA-256 {sha256(CONTENT)}, now recorded in fetched.json; no published hash is known"
        in lines[0]
    )
    entry = json.loads((folder / RECORD).read_text())[REVIEWS]
    assert entry["sha256"] == sha256(CONTENT) and entry["bytes"] == len(CONTENT)
    assert entry["origin"] == server.address + REVIEWS_AT
    assert load_dataset(NAME, folder, tmp_path / "cache").n_users == 40


# Faults that end well: at the first address, or at the second


@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        ([{"drop"}, set()], 2),
        ([{"drop"}, {"drop"}, {"drop"}, {"drop"}, {"drop"}, {"drop"}, {"drop"}, set()], 8),
        ([{"drop at once"}, {"drop"}, {"drop at once"}, {"503"}, set()], 5),
        ([{"503"}, {"429"}, {"500"}, {"408"}, set()], 5),
        ([{"drop"}, {"no range"}], 2),
        ([{"drop", "no tag"}, {"no tag"}], 2),
        ([{"too long"}, set()], 2),
        ([{"encoded"}], 1),
        ([{"encoded", "drop"}, {"encoded"}], 2),
    ],
    ids=lambda value: (
        str(value)
        if isinstance(value, int)
        else "-".join("+".join(sorted(one)) or "ok" for one in value)
    ),
)
def test_it_goes_on_or_begins_anew_at_the_first_address(server, source, tmp_path, faults, requests):
    server.faults[REVIEWS_AT] = faults
    fetch(NAME, source, tmp_path, [])
    assert finished(tmp_path)
    assert len(server.requests[REVIEWS_AT]) == requests and not server.requests[MIRROR]


def test_bytes_of_two_versions_are_never_mixed(server, source, tmp_path):
    server.newer[REVIEWS_AT] = CONTENT
    server.files[REVIEWS_AT] = gzip.compress("\n".join(LINES[::-1]).encode(), 1, mtime=0)
    server.faults[REVIEWS_AT] = [{"drop"}, {"new version"}]
    fetch(NAME, source, tmp_path, [])
    assert finished(tmp_path)
    assert len(server.requests[REVIEWS_AT]) == 2 and not server.requests[MIRROR]


def test_of_two_downloads_at_once_one_waits_and_takes_what_the_other_has_fetched(
    server, source, tmp_path, capsys
):
    with ThreadPoolExecutor() as threads:
        with locked(tmp_path / RECORD):  # as a first process does, with half a file
            (tmp_path / f"{REVIEWS}.part").write_bytes(CONTENT[:100])
            second = threads.submit(fetch, NAME, source, tmp_path, [])
            said = ""
            while "waiting until that is done" not in said and not second.done():
                time.sleep(0.01)
                said += capsys.readouterr().out
            assert not second.done() and not server.requests
            (tmp_path / f"{REVIEWS}.part").rename(tmp_path / REVIEWS)
            (tmp_path / REVIEWS).write_bytes(CONTENT)
        second.result()
    assert finished(tmp_path)
    assert not any(REVIEWS in str(one) for one in server.requests)


def test_a_weak_tag_does_not_mark_a_version():
    answer = SimpleNamespace(headers={"ETag": 'W/"x"', "Last-Modified": "Mon"})
    assert download._version(answer) == "Mon"


def test_a_file_that_became_shorter_than_what_is_there(server, source, tmp_path):
    server.newer[REVIEWS_AT] = CONTENT
    server.files[REVIEWS_AT] = gzip.compress("\n".join(LINES).encode(), 0)
    assert len(server.files[REVIEWS_AT]) > 2 * len(CONTENT)
    server.faults[REVIEWS_AT] = [{"drop"}, {"new version", "same tag"}]
    fetch(NAME, source, tmp_path, [])
    assert finished(tmp_path)
    assert len(server.requests[REVIEWS_AT]) == 3 and not server.requests[MIRROR]


def test_no_byte_is_sent_twice_when_a_connection_drops(server, source, tmp_path):
    server.faults[REVIEWS_AT] = [{"drop"}, {"drop"}, {"drop"}, set()]
    fetch(NAME, source, tmp_path, [])
    assert finished(tmp_path)
    metadata = len(server.files[f"/first/{METADATA}"])
    assert server.sent == len(CONTENT) + metadata
    half = len(CONTENT) // 2
    assert server.requests[REVIEWS_AT][:2] == ["", f"bytes={half}-"]


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        ({"404"}, 1),
        ({"410"}, 1),
        ({"403"}, 1),
        ({"503"}, 5),
        ({"drop at once"}, 5),
        ({"drop", "no range"}, 6),
        ({"too short"}, 1),
        ({"too long", "no range"}, 6),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "+".join(sorted(value)),
)
def test_a_mirror_helps(server, source, tmp_path, fault, requests):
    server.faults[REVIEWS_AT] = [fault]
    fetch(NAME, source, tmp_path, [])
    assert finished(tmp_path)
    assert len(server.requests[REVIEWS_AT]) == requests and len(server.requests[MIRROR]) == 1
    assert json.loads((tmp_path / RECORD).read_text())[REVIEWS]["origin"] == server.address + MIRROR


def fetched_before(folder, content: bytes) -> None:
    """The record of an earlier fetch, whose file is gone."""
    (folder / RECORD).write_text(
        json.dumps({REVIEWS: {"sha256": sha256(content), "first seen": "2026-01-01"}})
    )


def test_a_mirror_helps_where_the_bytes_are_wrong(server, source, tmp_path):
    fetched_before(tmp_path, CONTENT)
    server.files[REVIEWS_AT] = OTHER
    lines = fetch(NAME, source, tmp_path, [])
    assert finished(tmp_path) and lines[0].endswith(
        f"SHA-256 {sha256(CONTENT)}, as recorded in {RECORD}"
    )


def test_a_mirror_helps_where_a_host_is_gone(server, source, tmp_path):
    gone = "http://127.0.0.1:9/" + REVIEWS
    moved = replace(source, addresses=((gone, source.addresses[0][0]), source.addresses[1]))
    fetch(NAME, moved, tmp_path, [])
    assert finished(tmp_path)


# Faults that end in one line


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"404"}, "the file is not there any more (404)"),
        ({"403"}, "the host refuses (403)"),
        ({"503"}, "the host is in trouble (503)"),
        ({"too short"}, "not whole gzip"),
    ],
    ids=lambda value: "-".join(sorted(value)) if isinstance(value, set) else "",
)
def test_no_address_gives_it(server, source, tmp_path, faults, words):
    server.faults = {REVIEWS_AT: [faults], MIRROR: [{"404"}]}
    said = refused(source, tmp_path)
    assert f"{REVIEWS}: no address gave it (127.0.0.1:" in said and words in said
    assert "; 127.0.0.1:" in said and "(404)" in said, "each address is named"
    assert "--from" in said and source.page in said
    assert not list(tmp_path.glob("*.part*"))


def test_a_page_instead_of_the_file(server, source, tmp_path):
    server.files[REVIEWS_AT] = server.files[MIRROR] = b"<!DOCTYPE html><p>We have moved</p>" * 9
    assert "not whole gzip" in (said := refused(source, tmp_path)) and "<!DOCTYPE html>" in said
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize("record", [[], {REVIEWS: "abc"}])
def test_a_record_that_was_edited_into_something_else_is_named(source, tmp_path, record):
    (tmp_path / RECORD).write_text(json.dumps(record))
    assert f"{RECORD}: is no record of files" in refused(source, tmp_path)


def test_a_hash_that_was_entered_by_hand_has_no_day(server, source, tmp_path):
    (tmp_path / RECORD).write_text(json.dumps({REVIEWS: {"sha256": "abc"}}))
    server.files[REVIEWS_AT] = server.files[MIRROR] = CONTENT
    assert "recorded on a day that it does not say" in refused(source, tmp_path)


def test_no_host_at_all(source, tmp_path):
    gone = replace(source, addresses=(("http://127.0.0.1:9/" + REVIEWS,), source.addresses[1]))
    assert "127.0.0.1:9: the host cannot be reached" in refused(gone, tmp_path)


def test_what_came_is_kept_and_the_next_command_goes_on(server, source, tmp_path):
    server.faults = {REVIEWS_AT: [{"drop"}] + 5 * [{"503"}] + [set()], MIRROR: [{"404"}]}
    half = len(CONTENT) // 2
    said = refused(source, tmp_path)
    assert f"{half:,} bytes are in {REVIEWS}.part, try again later" in said
    fetch(NAME, source, tmp_path, [])
    assert finished(tmp_path) and server.requests[REVIEWS_AT][-1] == f"bytes={half}-"


def test_the_mirror_does_not_go_on_from_the_bytes_of_another_address(server, source, tmp_path):
    server.faults[REVIEWS_AT] = [{"drop"}, {"404"}]
    server.files[REVIEWS_AT] = gzip.compress(CONTENT, mtime=0)
    fetch(NAME, source, tmp_path, [])
    assert finished(tmp_path) and server.requests[MIRROR] == [""]


def test_wrong_bytes_everywhere(server, source, tmp_path):
    fetched_before(tmp_path, CONTENT)
    server.files[REVIEWS_AT] = server.files[MIRROR] = OTHER
    said = refused(source, tmp_path)
    assert said.count(sha256(CONTENT)) == 2 and said.count(sha256(OTHER)) == 2
    assert not list(tmp_path.glob("*.part*"))


def test_the_hash_of_the_first_download_is_held_against_the_second(server, source, tmp_path):
    fetch(NAME, source, tmp_path, [])
    (tmp_path / REVIEWS).unlink()
    (tmp_path / METADATA).unlink()
    server.files[REVIEWS_AT] = server.files[MIRROR] = OTHER
    said = refused(source, tmp_path)
    assert (
        "it is not the file that was recorded on" in said
        and f"delete its entry in {tmp_path / RECORD}" in said
    )
    server.files[MIRROR] = CONTENT
    assert "as recorded in fetched.json" in fetch(NAME, source, tmp_path, [])[0]
    assert finished(tmp_path)


# Files that are there already


@pytest.mark.parametrize("name", [REVIEWS, METADATA])
@pytest.mark.parametrize("empty", [True, False])
def test_an_empty_file_and_reviews_in_the_place_of_the_metadata_are_not_taken(
    server, source, tmp_path, name, empty
):
    """Recorded, they would have the right files refused afterwards."""
    mine, words = tmp_path / "mine" / name, "is empty; download it again"
    mine.parent.mkdir()
    mine.write_bytes(b"" if empty or name == REVIEWS else CONTENT)
    if mine.stat().st_size:
        words = "holds reviews of Amazon 2014, and should hold the metadata of Amazon 2014, Beauty"
    with pytest.raises(LetterError, match=words):
        fetch(NAME, source, tmp_path / "raw", [mine])
    record = tmp_path / "raw" / RECORD
    assert not (tmp_path / "raw" / name).exists() and (
        not record.exists() or name not in record.read_text()
    )


def test_what_is_there_is_checked_and_not_fetched_again(server, source, tmp_path):
    fetch(NAME, source, tmp_path, [])
    server.requests.clear()
    record = (tmp_path / RECORD).read_text()
    assert all("as recorded" in line for line in fetch(NAME, source, tmp_path, []))
    assert (tmp_path / RECORD).read_text() == record, "where and when it was first seen stays"
    assert not server.requests
    (tmp_path / REVIEWS).write_bytes(gzip.compress("\n".join(LINES[:-1]).encode()))
    with pytest.raises(
        LetterError,
        match=f"{REVIEWS}: SHA-256 is .*, expected {sha256(CONTENT)}; it is not the file that",
    ):
        fetch(NAME, source, tmp_path, [])
    assert (tmp_path / REVIEWS).exists(), "what the user has is never overwritten"
    (tmp_path / REVIEWS).write_bytes(CONTENT[:-20])
    with pytest.raises(LetterError, match="ends in the middle of its compressed data"):
        fetch(NAME, source, tmp_path, [])


def given(tmp_path, name=NAME):
    """A folder of the user's with both files, and their paths."""
    folder = write_raw(tmp_path / "mine", name, block(), block_items(name))
    return [folder / file for file in FILES[name]]


@pytest.mark.parametrize("name", NAMES)
def test_given_files_are_taken(tmp_path, name):
    files = given(tmp_path, name)
    lines = fetch(name, raw_source(name), tmp_path / "raw", files)
    assert [line.partition(":")[0] for line in lines] == [
        str(tmp_path / "raw" / file) for file in FILES[name]
    ]
    assert load_dataset(name, tmp_path / "raw", tmp_path / "cache").n_users == 6
    assert all((tmp_path / "raw" / file.name).samefile(file) for file in files), (
        "linked, not copied"
    )
    again = fetch(name, raw_source(name), tmp_path / "raw", files)
    assert all("as recorded" in line for line in again)
    files[0].unlink()
    assert load_dataset(name, tmp_path / "raw", tmp_path / "elsewhere").n_users == 6


def test_a_given_file_keeps_its_permissions(tmp_path):
    files = given(tmp_path)
    for file in files:
        file.chmod(0o600)
    fetch(NAME, raw_source(NAME), tmp_path / "raw", files)
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]


def test_given_files_are_copied_where_they_cannot_be_linked(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError("another disk")

    monkeypatch.setattr("os.link", no_links)
    files = given(tmp_path)
    fetch(NAME, raw_source(NAME), tmp_path / "raw", files)
    assert all((tmp_path / "raw" / file.name).read_bytes() == file.read_bytes() for file in files)
    assert not any((tmp_path / "raw" / file.name).samefile(file) for file in files)


def test_given_files_that_are_wrong(tmp_path, server, source):
    reviews, metadata = given(tmp_path)
    folder = tmp_path / "raw"

    def complaint(*files):
        with pytest.raises(LetterError) as caught:
            fetch(NAME, source, folder, list(files))
        assert not (folder / REVIEWS).exists()
        return str(caught.value)

    assert f"Beauty.json: not a file of {NAME}; those are called {REVIEWS}, " in complaint(
        tmp_path / "Beauty.json"
    )
    assert f"{REVIEWS}: no such file" in complaint(tmp_path / REVIEWS)
    whole = reviews.read_bytes()
    reviews.write_bytes(whole[:-9])
    assert "ends in the middle" in complaint(reviews, metadata)
    write_lines(reviews, [review_line(NAMES[2], *one) for one in block()])
    assert "holds reviews of Amazon 2023, not of Amazon 2014" in complaint(reviews, metadata)
    reviews.write_bytes(whole)
    fetch(NAME, source, folder, [reviews, metadata])
    (folder / REVIEWS).unlink()
    reviews.write_bytes(CONTENT)
    assert "it is not the file that was recorded" in complaint(reviews, metadata)


def test_a_given_file_never_replaces_another(tmp_path):
    files = given(tmp_path)
    folder = tmp_path / "raw"
    folder.mkdir()
    shutil.copy(files[1], folder)
    (folder / REVIEWS).write_bytes(CONTENT)
    with pytest.raises(LetterError, match="another file is there already; move it away"):
        fetch(NAME, raw_source(NAME), folder, files)
    assert (folder / REVIEWS).read_bytes() == CONTENT


def test_of_two_files_for_one_purpose_none_is_silently_left_out(tmp_path):
    reviews, metadata = given(tmp_path)
    other = reviews.with_name(
        "reviews_Beauty.json.gz" if "_5" in reviews.name else "reviews_Beauty_5.json.gz"
    )
    shutil.copy(reviews, other)
    with pytest.raises(LetterError, match="only one of them would be read"):
        fetch(NAME, raw_source(NAME), tmp_path / "raw", [reviews, other, metadata])
    better, worse = sorted(
        (reviews, other), key=lambda file: possible_names(raw_source(NAME).reviews).index(file.name)
    )
    fetch(NAME, raw_source(NAME), tmp_path / "raw", [better, metadata])
    with pytest.raises(
        LetterError, match=f"{better.name}: is read before {worse.name}; move it away"
    ):
        fetch(NAME, raw_source(NAME), tmp_path / "raw", [worse])


# By hand, and the command


def test_yelp_must_be_fetched_by_hand(tmp_path):
    with pytest.raises(LetterError) as caught:
        fetch("yelp", raw_source("yelp"), tmp_path / "yelp", [])
    said = str(caught.value)
    assert "terms must be accepted by you: open https://www.yelp.com/dataset" in said
    assert (
        "--from yelp_academic_dataset_review.json --from yelp_academic_dataset_business.json"
        in said
    )
    assert not (tmp_path / "yelp").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("movielens", "movielens comes with the installation: there is nothing to fetch"),
        ("beauty", "beauty is a release of files"),
        ("amazon-2014-beuty", "did you mean amazon-2014-beauty?"),
        ("yelpp", "unknown data set 'yelpp'"),
    ],
)
def test_names_without_raw_files(name, words):
    done = CliRunner().invoke(app, ["data", "fetch", name])
    assert isinstance(done.exception, LetterError) and words in str(done.exception)


def test_the_command_puts_files_where_it_is_told(tmp_path, monkeypatch):
    files = given(tmp_path)
    options = [word for file in files for word in ("--from", str(file))]
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    for place in (["--data-dir", "here"], []):
        done = CliRunner().invoke(
            app, ["data", "fetch", NAME, *options, *place], catch_exceptions=False
        )
        assert done.exit_code == 0 and done.stdout.count("SHA-256") == 2
    done = CliRunner().invoke(
        app, ["data", "--data-dir", "there", "fetch", NAME, *options], catch_exceptions=False
    )
    assert done.exit_code == 0
    for folder in ("here", f"data/{NAME}", "there"):
        assert (tmp_path / folder / REVIEWS).exists()
    assert not {"letterlib.pipeline.pipeline"} & (set(sys.modules) - before), (
        "nothing is trained here"
    )


def test_options_that_would_be_dropped_are_refused():
    """Before a command of `data` stands what `data` itself reads, which `fetch` does not."""
    done = CliRunner().invoke(app, ["data", "--cache-dir", "there", "fetch", NAME])
    assert done.exit_code == 2 and "data fetch has no option --cache-dir" in " ".join(
        done.stderr.split()
    )


def test_a_folder_that_cannot_be_made(tmp_path, source):
    (tmp_path / "file").write_text("")
    with pytest.raises(LetterError, match="file/raw: cannot be made .*choose another --data-dir"):
        fetch(NAME, source, tmp_path / "file" / "raw", [])


def test_a_full_disk(server, source, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download, "open", lambda *_: Full(), raising=False)
    said = refused(source, tmp_path)
    assert (
        f"{REVIEWS}.part: cannot be written (No space left on device); free some disk space" in said
    )
