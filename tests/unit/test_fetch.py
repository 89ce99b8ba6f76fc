"""Fetching raw files: the right bytes in the end, from a mirror if need be, or one clear error."""

import gzip
import hashlib
import json
import os
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from made_raw import BEAUTY, FILES, NAMES, block, block_items, review_line, write_raw
from typer.testing import CliRunner

from letterlib.cli import app
from letterlib.data import load_dataset, raw_source
from letterlib.data.fetch import RECORD, fetch
from letterlib.errors import LetterError

REVIEWS, METADATA = FILES[BEAUTY]
FIRST, MIRROR = f"/first/{REVIEWS}", f"/second/{REVIEWS}"
CONTENT = gzip.compress("\n".join(review_line(BEAUTY, *row) for row in block()).encode())
OTHER = gzip.compress(b'{"quite": "another file"}')
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`. `server.faults` {path: fault}: "drop" closes the connection half-way,
    "encoded" claims Content-Encoding, "unsized" is half a file without its length.
    """

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked.append(self.path)
        content, fault = self.server.files.get(self.path), self.server.faults.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        if fault == "encoded":
            self.send_header("Content-Encoding", "gzip")
        if fault != "unsized":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = fault in ("drop", "unsized")
        self.wfile.write(content[: len(content) // 2] if half else content)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files = {FIRST: CONTENT, MIRROR: CONTENT}
        server.files[f"/first/{METADATA}"] = gzip.compress("\n".join(block_items(BEAUTY)).encode())
        server.faults, server.asked = {}, []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def source(server):
    base = f"http://127.0.0.1:{server.server_port}"
    addresses = [[f"{base}/{at}/{file}" for at in ("first", "second")] for file in FILES[BEAUTY]]
    return replace(raw_source(BEAUTY), addresses=addresses)


def refused(source, folder):
    with pytest.raises(LetterError) as caught:
        fetch(BEAUTY, source, folder, [])
    assert not (folder / REVIEWS).exists()
    return str(caught.value)


def test_both_files_come_whole_and_can_be_loaded(source, tmp_path):
    lines = fetch(BEAUTY, source, tmp_path / "raw", [])
    assert sorted(os.listdir(tmp_path / "raw")) == sorted([REVIEWS, METADATA, RECORD])
    assert (tmp_path / "raw" / REVIEWS).read_bytes() == CONTENT and SHA256 in lines[0]
    assert json.loads((tmp_path / "raw" / RECORD).read_text())[REVIEWS] == SHA256
    assert load_dataset(BEAUTY, tmp_path / "raw", tmp_path / "cache").n_users == 6


@pytest.mark.parametrize("fault", ["drop", "unsized", "missing", "page"])
def test_a_mirror_helps_and_half_a_file_never_passes_for_a_whole_one(
    server, source, tmp_path, fault
):
    server.faults[FIRST] = fault
    if fault == "missing":
        del server.files[FIRST]
    if fault == "page":
        server.files[FIRST] = b"<!DOCTYPE html><p>We have moved</p>\n"
    both = dict(server.files)
    del server.files[MIRROR]
    reported = refused(source, tmp_path)
    assert "--from" in reported and source.page in reported and "404" in reported
    assert os.listdir(tmp_path) == []
    server.files = both
    fetch(BEAUTY, source, tmp_path, [])
    assert (tmp_path / REVIEWS).read_bytes() == CONTENT


def test_what_a_server_calls_a_gzipped_answer_can_be_loaded(server, source, tmp_path):
    server.faults[FIRST] = "encoded"
    fetch(BEAUTY, source, tmp_path, [])
    assert load_dataset(BEAUTY, tmp_path, tmp_path / "cache").n_users == 6


def test_the_hash_of_the_first_download_is_compared_with_the_second(server, source, tmp_path):
    fetch(BEAUTY, source, tmp_path, [])
    (tmp_path / REVIEWS).unlink()
    server.files[FIRST] = server.files[MIRROR] = OTHER
    assert SHA256 in refused(source, tmp_path)
    server.files[MIRROR] = CONTENT
    fetch(BEAUTY, source, tmp_path, [])
    assert (tmp_path / REVIEWS).read_bytes() == CONTENT


def test_what_is_there_is_checked_and_not_fetched_again(server, source, tmp_path):
    fetch(BEAUTY, source, tmp_path, [])
    server.asked.clear()
    assert SHA256 in fetch(BEAUTY, source, tmp_path, [])[0] and not server.asked
    for content in (OTHER, CONTENT[:-20], b""):
        (tmp_path / REVIEWS).write_bytes(content)
        with pytest.raises(LetterError, match=f"{REVIEWS}: "):
            fetch(BEAUTY, source, tmp_path, [])
        assert (tmp_path / REVIEWS).read_bytes() == content  # a user's file is never overwritten


# Files that the user has already


def given(tmp_path, name=BEAUTY):
    folder = write_raw(tmp_path / "mine", name, block(), block_items(name))
    return [folder / file for file in FILES[name]]


@pytest.mark.parametrize("name", NAMES)
def test_given_files_are_linked(tmp_path, name):
    files = given(tmp_path, name)
    for _ in range(2):
        fetch(name, raw_source(name), tmp_path / "raw", files)
    assert load_dataset(name, tmp_path / "raw", tmp_path / "cache").n_users == 6
    assert all((tmp_path / "raw" / file.name).samefile(file) for file in files)


def test_given_files_that_are_wrong(tmp_path, source):
    reviews, metadata = given(tmp_path)

    def complaint(*files):
        with pytest.raises(LetterError) as caught:
            fetch(BEAUTY, source, tmp_path / "raw", list(files))
        return str(caught.value)

    assert REVIEWS in complaint(tmp_path / "Beauty.json")
    assert "no such file" in complaint(tmp_path / REVIEWS)
    whole = reviews.read_bytes()
    reviews.write_bytes(whole[:-9])
    assert str(reviews) in complaint(reviews, metadata)
    assert not (tmp_path / "raw" / REVIEWS).exists()
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / REVIEWS).write_bytes(OTHER)
    reviews.write_bytes(whole)
    assert "another file is there" in complaint(reviews, metadata)
    assert (tmp_path / "raw" / REVIEWS).read_bytes() == OTHER


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
        ([], [], f"data/{BEAUTY}"),
        (["--data-dir", "there"], [], "there"),
    ):
        done = CliRunner().invoke(app, ["data", *before, "fetch", BEAUTY, *options, *after])
        assert done.exit_code == 0 and done.stdout.count("SHA-256") == 2
        assert (tmp_path / folder / REVIEWS).exists()
