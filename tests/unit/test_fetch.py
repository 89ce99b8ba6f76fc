"""Fetching raw files from a server that misbehaves: the right bytes in the end, or one clear
error.
"""

import gzip
import hashlib
import json
import os
import random
import threading
from collections import defaultdict
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from made_raw import FILES, NAMES, block, block_items, review_line, write_lines, write_raw
from typer.testing import CliRunner

from letterlib.cli import app
from letterlib.data import load_dataset, raw_source
from letterlib.data.fetch import RECORD, fetch
from letterlib.errors import LetterError

NAME = "amazon-2014-beauty"
REVIEWS, METADATA = FILES[NAME]
FIRST, MIRROR = f"/first/{REVIEWS}", f"/second/{REVIEWS}"
LINES = [
    review_line(NAME, *review) + " " * random.Random(k).randrange(9)
    for k, review in enumerate(block(40, 40))
]
CONTENT = gzip.compress("\n".join(LINES).encode(), 1, mtime=0)
OTHER = gzip.compress(b"quite another file", mtime=0)


class Server(ThreadingHTTPServer):
    """files: {path: bytes}. faults: {path: [fault of the first request, ...]}, the last one lasts.

    "drop" closes the connection half-way through what is left, "whole" ignores Range, "encoded"
    claims Content-Encoding; a number is a status.
    """

    files: dict[str, bytes]
    faults: dict[str, list[str]]

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.asked = {}, {}, defaultdict(list)
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        plan = self.server.faults.get(self.path, [""])
        asked = self.headers.get("Range", "")
        self.server.asked[self.path].append(asked)
        fault = plan[min(len(self.server.asked[self.path]), len(plan)) - 1]
        content = self.server.files.get(self.path)
        if content is None or fault.isdecimal():
            self.send_error(int(fault or 404))
            return
        start = int(asked.removeprefix("bytes=")[:-1]) if asked and fault != "whole" else 0
        self.send_response(416 if start >= len(content) else 206 if start else 200)
        if fault == "encoded":
            self.send_header("Content-Encoding", "gzip")
        body = content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if fault == "drop" else body)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with Server() as server:
        server.files = {FIRST: CONTENT, MIRROR: CONTENT}
        metadata = "\n".join(block_items(NAME, 40)).encode()
        server.files[f"/first/{METADATA}"] = gzip.compress(metadata, mtime=0)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def source(server):
    addresses = tuple(
        tuple(f"{server.address}/{at}/{file}" for at in ("first", "second")) for file in FILES[NAME]
    )
    return replace(raw_source(NAME), addresses=addresses)


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def finished(folder):
    """The two files and their record, nothing half, and the reviews as they were sent."""
    names = [file.name for file in folder.iterdir() if not file.name.endswith(".lock")]
    assert sorted(names) == sorted([REVIEWS, METADATA, RECORD])
    return (folder / REVIEWS).read_bytes() == CONTENT


def refused(source, folder):
    with pytest.raises(LetterError) as caught:
        fetch(NAME, source, folder, [])
    assert not (folder / REVIEWS).exists()
    return str(caught.value)


def test_both_files_come_whole_and_can_be_loaded(server, source, tmp_path):
    folder = tmp_path / "new" / "raw"
    lines = fetch(NAME, source, folder, [])
    assert finished(folder) and sha256(CONTENT) in lines[0]
    entry = json.loads((folder / RECORD).read_text())[REVIEWS]
    assert entry["sha256"] == sha256(CONTENT) and entry["bytes"] == len(CONTENT)
    assert entry["origin"] == server.address + FIRST
    assert load_dataset(NAME, folder, tmp_path / "cache").n_users == 40


@pytest.mark.parametrize(
    ("faults", "requests"),
    [(["drop", ""], 2), (["drop", "503", "drop", ""], 4), (["drop", "whole"], 2), (["encoded"], 1)],
)
def test_it_goes_on_where_the_connection_broke(server, source, tmp_path, faults, requests):
    server.faults[FIRST] = faults
    fetch(NAME, source, tmp_path, [])
    assert finished(tmp_path)
    assert len(server.asked[FIRST]) == requests and not server.asked[MIRROR]
    if faults[0] == "drop":
        assert server.asked[FIRST][:2] == ["", f"bytes={len(CONTENT) // 2}-"]


def test_bytes_of_two_versions_are_never_mixed(server, source, tmp_path):
    (tmp_path / f"{REVIEWS}.part").write_bytes(gzip.compress("\n".join(LINES[::-1]).encode())[:999])
    fetch(NAME, source, tmp_path, [])
    assert finished(tmp_path) and server.asked[FIRST] == ["bytes=999-", ""]


def test_a_mirror_helps(server, source, tmp_path):
    server.faults[FIRST] = ["404"]
    fetch(NAME, source, tmp_path, [])
    origin = json.loads((tmp_path / RECORD).read_text())[REVIEWS]["origin"]
    assert finished(tmp_path) and origin == server.address + MIRROR


def test_where_no_address_gives_it_each_is_named_and_the_next_command_goes_on(
    server, source, tmp_path
):
    server.faults = {FIRST: ["drop"] + 5 * ["503"] + [""], MIRROR: ["404"]}
    reported = refused(source, tmp_path)
    assert "503" in reported and "404" in reported and f"{REVIEWS}.part" in reported
    assert "--from" in reported and source.page in reported
    fetch(NAME, source, tmp_path, [])
    assert finished(tmp_path) and server.asked[FIRST][-1] == f"bytes={len(CONTENT) // 2}-"


def test_a_page_instead_of_the_file(server, source, tmp_path):
    server.files[FIRST] = server.files[MIRROR] = b"<!DOCTYPE html><p>We have moved</p>" * 9
    assert "<!DOCTYPE html>" in refused(source, tmp_path)
    assert not list(tmp_path.glob("*.part"))


def test_the_hash_of_the_first_download_is_compared_with_the_second(server, source, tmp_path):
    fetch(NAME, source, tmp_path, [])
    (tmp_path / REVIEWS).unlink()
    server.files[FIRST] = server.files[MIRROR] = OTHER
    reported = refused(source, tmp_path)
    assert reported.count(sha256(CONTENT)) == 2 == reported.count(sha256(OTHER))
    assert RECORD in reported and not list(tmp_path.glob("*.part"))
    server.files[MIRROR] = CONTENT
    assert "as recorded in fetched.json" in fetch(NAME, source, tmp_path, [])[0]
    assert finished(tmp_path)


def test_what_is_there_is_checked_and_not_fetched_again(server, source, tmp_path):
    fetch(NAME, source, tmp_path, [])
    server.asked.clear()
    assert all("as recorded" in line for line in fetch(NAME, source, tmp_path, []))
    assert not server.asked
    for content in (OTHER, CONTENT[:-20], b""):
        (tmp_path / REVIEWS).write_bytes(content)
        with pytest.raises(LetterError, match=f"{REVIEWS}: "):
            fetch(NAME, source, tmp_path, [])
        assert (tmp_path / REVIEWS).read_bytes() == content  # a user's file is never overwritten


# Files that the user has already


def given(tmp_path, name=NAME):
    folder = write_raw(tmp_path / "mine", name, block(), block_items(name))
    return [folder / file for file in FILES[name]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("link", [True, False])
def test_given_files_are_linked_or_copied(tmp_path, monkeypatch, name, link):
    files = given(tmp_path, name)
    if not link:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("another disk")))
    fetch(name, raw_source(name), tmp_path / "raw", files)
    assert load_dataset(name, tmp_path / "raw", tmp_path / "cache").n_users == 6
    assert all((tmp_path / "raw" / file.name).samefile(file) == link for file in files)
    again = fetch(name, raw_source(name), tmp_path / "raw", files)
    assert all("as recorded" in line for line in again)


def test_given_files_that_are_wrong(tmp_path, server, source):
    reviews, metadata = given(tmp_path)
    folder = tmp_path / "raw"

    def complaint(*files):
        with pytest.raises(LetterError) as caught:
            fetch(NAME, source, folder, list(files))
        assert not (folder / REVIEWS).exists()
        return str(caught.value)

    assert REVIEWS in complaint(tmp_path / "Beauty.json")
    assert "no such file" in complaint(tmp_path / REVIEWS)
    whole = reviews.read_bytes()
    for content in (b"", whole[:-9]):
        reviews.write_bytes(content)
        assert str(reviews) in complaint(reviews, metadata)
    write_lines(reviews, [review_line(NAMES[2], *review) for review in block()])
    assert "reviews of Amazon 2023, not reviews of Amazon 2014" in complaint(reviews, metadata)
    reviews.write_bytes(whole)
    other = reviews.with_name("reviews_Beauty.json.gz")
    other.write_bytes(whole)
    assert "only one of them would be read" in complaint(reviews, other, metadata)
    fetch(NAME, source, folder, [other, metadata])
    fetch(NAME, source, folder, [reviews, metadata])  # which is read before the other
    with pytest.raises(LetterError, match="only one of them would be read"):
        fetch(NAME, source, folder, [other])
    (folder / REVIEWS).unlink()
    (folder / other.name).unlink()
    reviews.write_bytes(CONTENT)
    assert sha256(CONTENT) in complaint(reviews, metadata) and RECORD in complaint(reviews)


def test_a_given_file_never_replaces_another(tmp_path):
    files = given(tmp_path)
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / REVIEWS).write_bytes(CONTENT)
    with pytest.raises(LetterError, match=f"{REVIEWS}: another file is there"):
        fetch(NAME, raw_source(NAME), folder, files)
    assert (folder / REVIEWS).read_bytes() == CONTENT


# By hand, and the command


def test_yelp_must_be_fetched_by_hand(tmp_path):
    with pytest.raises(LetterError, match="https://www.yelp.com/dataset.*--from yelp_academic_"):
        fetch("yelp", raw_source("yelp"), tmp_path / "yelp", [])
    assert not (tmp_path / "yelp").exists()


@pytest.mark.parametrize("name", ["movielens", "beauty", "yelpp"])
def test_names_without_raw_files(name):
    done = CliRunner().invoke(app, ["data", "fetch", name])
    assert isinstance(done.exception, LetterError) and name in str(done.exception)


def test_the_command_puts_files_where_it_is_told(tmp_path, monkeypatch):
    options = [word for file in given(tmp_path) for word in ("--from", str(file))]
    monkeypatch.chdir(tmp_path)
    for before, after, folder in (
        ([], ["--data-dir", "here"], "here"),
        ([], [], f"data/{NAME}"),
        (["--data-dir", "there"], [], "there"),
    ):
        done = CliRunner().invoke(app, ["data", *before, "fetch", NAME, *options, *after])
        assert done.exit_code == 0 and done.stdout.count("SHA-256") == 2
        assert (tmp_path / folder / REVIEWS).exists()
