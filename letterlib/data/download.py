"""One file from one address, going on where the connection broke: a downloader for pooch, which has
none that does.
"""

import gzip
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from letterlib.progress import progress
from letterlib.store import read_json, replace, write_json

ATTEMPTS = 5
"""Without a byte gained. As long as a connection brings something, it is tried again."""

PAUSE = 1.0
"""Seconds before the next attempt, doubled for every attempt in a row that brought nothing."""

TIMEOUT = 30
CHUNK = 2**16


class NotGiven(Exception):
    """This address does not give the file; the words say why. There may be another."""


def resuming(part: Path) -> Callable[[str, str, Any], None]:
    """A downloader in pooch's sense that collects the bytes in `part` and keeps them when it is
    interrupted.

    Beside it, `<part>.json` notes the address and what marks this version of the file there (ETag
    or Last-Modified): the server is asked to go on only with the same version, else it begins anew.
    What has come whole must also be whole gzip, whose own checksum covers all of its content.
    """

    def download(url: str, output_file: str, _pooch: Any) -> None:
        _complete(url, part)
        _check_gzip(part)
        replace(part, output_file)
        note_of(part).unlink(missing_ok=True)

    return download


def note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    note_of(part).unlink(missing_ok=True)


def _complete(url: str, part: Path) -> None:
    """Ask again until the file is whole, or ATTEMPTS times in a row brought nothing more."""
    most, failures = _size(part), 0
    while True:
        try:
            wanted = _receive(url, part)
            if wanted is None or _size(part) == wanted:
                return
            reason = f"the connection ended after {_size(part):,} of {wanted:,} bytes"
        except (requests.RequestException, HTTPError) as error:
            reason = _in_words(error)
        failures = 0 if _size(part) > most else failures + 1
        most = max(most, _size(part))
        if failures == ATTEMPTS:
            raise NotGiven(reason)
        pause = PAUSE * 2**failures
        print(f"{urlsplit(url).netloc}: {reason}; again in {pause:.0f} s", file=sys.stderr)
        time.sleep(pause)


def _receive(url: str, part: Path) -> int | None:
    """One request, its bytes appended to `part`, or written over it where the server begins anew.

    Returns how many bytes the whole file has; None where the server did not say and ended properly.
    """
    have, note = _size(part), _note(part)
    headers = {"Accept-Encoding": "identity"}
    if have and note.get("url") == url and note.get("version"):
        headers |= {"Range": f"bytes={have}-", "If-Range": note["version"]}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        given = response.headers.get("Content-Range", "")
        if response.status_code == 416:  # nothing after our last byte
            if given != f"bytes */{have}":
                discard(part)
            return have
        if 400 <= response.status_code < 500 and response.status_code not in (408, 429):
            raise NotGiven(_refusal(response.status_code))
        response.raise_for_status()
        goes_on = response.status_code == 206 and given.startswith(f"bytes {have}-")
        length = response.headers.get("Content-Length", "")
        start = have if goes_on else 0
        total = start + int(length) if length.isdecimal() else None
        if not goes_on:
            discard(part)
            write_json(note_of(part), {"url": url, "version": _version(response)})
        units = dict(unit="B", unit_scale=True, unit_divisor=1024, initial=start)
        with open(part, "ab") as file, progress(what=part.stem, total=total, **units) as bar:
            # Not decoded: some servers call a .gz file a gzipped answer, and requests would unpack
            # it.
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
    return total


def _version(response: requests.Response) -> str:
    tag = response.headers.get("ETag", "")
    weak = not tag or tag.startswith("W/")  # says "much the same", not "the same bytes"
    return response.headers.get("Last-Modified", "") if weak else tag


def _note(part: Path) -> dict[str, str]:
    return read_json(note_of(part)) if note_of(part).exists() else {}


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _check_gzip(part: Path) -> None:
    try:
        with gzip.open(part) as file:
            while file.read(2**20):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        with open(part, "rb") as file:
            begins = file.read(40)
        discard(part)
        raise NotGiven(
            f"what came is not whole gzip ({error}); it begins {begins!r:.60}"
        ) from error


def _refusal(status: int) -> str:
    if status in (404, 410):
        return f"the file is not there any more ({status})"
    return f"the host refuses ({status})"


def _in_words(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the host is in trouble ({response.status_code})"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT} seconds"
    if isinstance(error, requests.ConnectionError):
        return "the host cannot be reached"
    return f"the connection broke ({type(error).__name__})"
