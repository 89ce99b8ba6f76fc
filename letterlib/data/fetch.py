"""Fetching raw files with pooch: mirrors in order, and never half a file under a good name."""

import filecmp
import os
import shlex
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

from letterlib.data.raw import RawSource, first_of, read_lines, with_gz
from letterlib.errors import LetterError, optional
from letterlib.store import atomic_write, read_json, sha256_of, write_json

with optional("data"):
    import pooch
    import requests

RECORD = "fetched.json"
"""SHA-256 of each file as it was first seen; later copies must have the same. No published hash is
known to us.
"""


def fetch(name: str, source: RawSource, data_dir: Path, given: list[Path]) -> list[str]:
    """Put both raw files of a data set into `data_dir`, whole and checked; a line about each.

    A file that is there is checked; one that is given is checked and linked into `data_dir` (copied
    to another disk); else it is downloaded. No file is ever overwritten.

    given: files that are on this machine already.
    """
    known = with_gz(source.reviews + source.metadata)
    for file in given:
        if file.name not in known:
            raise LetterError(f"{file}: not a file of {name}; those are called {', '.join(known)}")
    lines = []
    for names, urls in zip((source.reviews, source.metadata), source.addresses, strict=True):
        there = first_of(names, data_dir)
        if mine := [file for file in given if file.name in with_gz(names)]:
            file = _take(mine[0], data_dir / mine[0].name)
        elif there:
            file = _checked(there)
        elif urls:
            file = _download(data_dir / f"{names[0]}.gz", urls, source.page)
        else:
            files = f"--from {source.reviews[0]} --from {source.metadata[0]}"
            raise LetterError(
                f"the terms of {name} must be accepted by you: open {source.page}, accept them, "
                f"download and unpack the JSON files, then: letterlib data fetch {name} --data-dir "
                f"{shlex.quote(str(data_dir))} {files}"
            )
        lines.append(_compared_with_record(file))
    return lines


def _checked(file: Path) -> Path:
    """The file, read to its end; LetterError where it is damaged, cut short or something else."""
    for _ in read_lines(file):
        pass
    return file


def _take(file: Path, target: Path) -> Path:
    """Link a given file to its place, or copy it to another disk."""
    if not file.is_file():
        raise LetterError(f"{file}: no such file; check the path")
    _checked(file)
    if not target.exists():
        with atomic_write(target) as temporary:
            try:
                os.link(file.resolve(), temporary)
            except OSError:  # another disk
                shutil.copyfile(file, temporary)
    elif not filecmp.cmp(file, target, shallow=False):
        raise LetterError(f"{target}: another file is there already; move it away")
    return target


def _download(target: Path, urls: tuple[str, ...], page: str) -> Path:
    """The file from the first mirror that gives it whole, and with the recorded hash if any."""
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=2**20)
    expected = _record(target).get(target.name)
    reasons = []
    for url in urls:
        try:
            with atomic_write(target) as temporary:
                pooch.retrieve(url, expected, temporary.name, temporary.parent, None, downloader)
                _checked(temporary)
            return target
        except (requests.RequestException, ValueError, LetterError) as error:
            reasons.append(f"{urlsplit(url).netloc}: {error}")
    raise LetterError(
        f"{target.name}: no address gave it ({'; '.join(reasons)}); try again, or get it by hand, "
        f"{page} says where, and name it with --from"
    )


def _record(file: Path) -> dict[str, str]:
    """{file name: SHA-256} of the files that were fetched into the folder of `file`."""
    path = file.parent / RECORD
    return read_json(path) if path.exists() else {}


def _compared_with_record(file: Path) -> str:
    """Note the file's hash where there is none yet; a line about the file."""
    record, sha256 = _record(file), sha256_of(file)
    if record.get(file.name, sha256) != sha256:
        raise LetterError(
            f"{file}: SHA-256 is {sha256}, expected {record[file.name]} as recorded when it was "
            f"fetched first; to use this one, delete its entry in {RECORD}; to have that one, move "
            "this one away and fetch it again"
        )
    write_json(file.parent / RECORD, record | {file.name: sha256})
    return f"{file}: {file.stat().st_size:,} bytes, SHA-256 {sha256}, recorded in {RECORD}"
