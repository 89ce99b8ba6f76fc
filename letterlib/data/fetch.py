"""Fetching raw files through pooch: mirrors in order, resumed, checked, never half a file under a
good name.
"""

import gzip
import os
import re
import shlex
import shutil
import zlib
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch
import requests
from urllib3.exceptions import HTTPError

from letterlib.data.raw import RawSource, check_release, possible_names, read_lines
from letterlib.errors import LetterError
from letterlib.progress import progress
from letterlib.store import locked, read_json, sha256_of, write_json

RECORD = "fetched.json"
"""SHA-256 of each file as it was fetched first; later copies must have the same. No published hash
is known to us.
"""

RETRIES = 5
TIMEOUT = 30


def fetch(name: str, source: RawSource, data_dir: Path, given: list[Path]) -> list[str]:
    """Put both raw files of a data set into `data_dir`, whole and checked; a line about each.

    A file that is there is checked; one that is given is checked and linked into `data_dir` (copied
    to another disk); else it is downloaded. No file is ever overwritten.

    given: files that are on this machine already.
    """
    data_dir = Path(data_dir)
    roles = list(zip((source.reviews, source.metadata), source.addresses, strict=True))
    known = [file for names, _ in roles for file in possible_names(names)]
    for file in given:
        if file.name not in known:
            raise LetterError(f"{file}: not a file of {name}; those are called {', '.join(known)}")
    lines = []
    for names, addresses in roles:
        possible = possible_names(names)
        mine = [file for file in given if file.name in possible]
        there = [data_dir / file for file in possible if (data_dir / file).is_file()]
        better = possible[: possible.index(mine[0].name)] if mine else []
        if others := [*mine[1:], *(file for file in there if file.name in better)]:
            raise LetterError(
                f"{mine[0]} and {others[0]}: only one of them would be read; leave one out, or "
                "move it away"
            )
        if not mine and not there and not addresses:
            options = " ".join(f"--from {names[0]}" for names, _ in roles)
            raise LetterError(
                f"the terms of {name} must be accepted by you: open {source.page}, accept them, "
                f"download and unpack the JSON files, then: letterlib data fetch {name} --data-dir "
                f"{shlex.quote(str(data_dir))} {options}"
            )
        with locked(data_dir / RECORD):  # two downloads would write into one .part
            if mine or there:
                file, origin = (mine or there)[0], "a file of the user's"
                _check(file, source, reviews=names == source.reviews)
                expected = _read_record(data_dir).get(file.name, {}).get("sha256")
                if expected not in (None, found := sha256_of(file)):
                    raise LetterError(f"{file}: SHA-256 is {found}, expected {expected}; {_MEND}")
                file = _take(file, data_dir)
            else:
                file, origin = _download(names[0] + ".gz", addresses, source, data_dir)
            lines.append(_record(file, origin))
    return lines


_MEND = (
    f"it is not the file that was recorded first: to take this one, delete its entry in {RECORD}; "
    "to have that one, fetch it again"
)


def _check(file: Path, source: RawSource, *, reviews: bool) -> None:
    """Read a file to its end, for gzip's own checksum, and its first lines for what they are."""
    if not file.is_file():
        raise LetterError(f"{file}: no such file; check the path")
    if not sum(1 for _ in read_lines(file)):
        raise LetterError(f"{file}: is empty; download it again")
    check_release(file, source.release, reviews=reviews)


def _take(file: Path, data_dir: Path) -> Path:
    """Link or copy a file into the folder."""
    target = data_dir / file.name
    if not target.exists():
        try:
            os.link(file.resolve(), target)
        except OSError:  # another disk
            shutil.copyfile(file, target)
    elif sha256_of(target) != sha256_of(file):
        raise LetterError(f"{target}: another file is there already; move it away")
    return target


def _download(
    file: str, addresses: tuple[str, ...], source: RawSource, data_dir: Path
) -> tuple[Path, str]:
    """The file from the first address that gives it whole, with the expected bytes; and that
    address.
    """
    pooch.get_logger().setLevel("WARNING")
    part, reasons = data_dir / f"{file}.part", []
    expected = _read_record(data_dir).get(file, {}).get("sha256")
    for url in addresses:
        store = pooch.create(
            path=data_dir,
            base_url="",
            registry={file: expected},
            urls={file: url},
            retry_if_failed=RETRIES,
        )
        try:
            return Path(store.fetch(file, downloader=resuming(part))), url
        except requests.RequestException as error:
            reasons.append(f"{urlsplit(url).netloc}: {error}")
        except ValueError as error:  # another hash than expected, or no gzip
            got = re.search("got ([0-9a-f]{64})", str(error))
            reason = f"SHA-256 is {got[1]}, expected {expected}; {_MEND}" if got else error
            reasons.append(f"{urlsplit(url).netloc}: {reason}")
    kept = f"; the same command goes on from {part.name}" if part.exists() else ""
    raise LetterError(
        f"{file}: no address gave it ({'; '.join(reasons)}){kept}; or get it by hand, "
        f"{source.page} says where, and name it with --from"
    )


def resuming(part: Path) -> Callable[[str, str, Any], None]:
    """A downloader for pooch that collects the bytes in `part` and goes on from its end.

    What has come whole must also be whole gzip, whose own checksum shows bytes of two versions.
    """

    def download(url: str, output_file: str, _pooch: Any) -> None:
        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code != 416:  # nothing after our last byte
                response.raise_for_status()
                _append(response, part)
        try:
            with gzip.open(part) as file:
                while file.read(2**20):
                    pass
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            with open(part, "rb") as file:
                begins = file.read(40)
            part.unlink()
            raise ValueError(f"not whole gzip ({error}); it begins {begins!r}") from error
        os.replace(part, output_file)

    return download


def _append(response: requests.Response, part: Path) -> None:
    goes_on = response.status_code == 206
    start = part.stat().st_size if goes_on else 0
    length = response.headers.get("Content-Length")
    units = dict(unit="B", unit_scale=True, unit_divisor=1024, initial=start)
    total = start + int(length) if length else None
    with (
        open(part, "ab" if goes_on else "wb") as file,
        progress(what=part.stem, total=total, **units) as bar,
    ):
        try:
            # Not decoded: some servers call a .gz file a gzipped answer.
            for chunk in response.raw.stream(2**16, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
        except HTTPError as error:
            raise requests.ConnectionError(f"the connection broke ({error})") from error


def _record(file: Path, origin: str) -> str:
    """Note the file's hash where there is none yet; a line about the file."""
    record, sha256, size = _read_record(file.parent), sha256_of(file), file.stat().st_size
    compared = f"as recorded in {RECORD}"
    if file.name not in record:
        today = str(date.today())
        entry = {"sha256": sha256, "bytes": size, "origin": origin, "first seen": today}
        write_json(file.parent / RECORD, record | {file.name: entry})
        compared = f"now recorded in {RECORD}; no published hash is known to compare it with"
    return f"{file}: {size:,} bytes, SHA-256 {sha256}, {compared}"


def _read_record(data_dir: Path) -> dict[str, dict[str, Any]]:
    path = data_dir / RECORD
    return read_json(path) if path.exists() else {}
