"""Fetching raw files through pooch: mirrors in order, resumed, checked, never half a file under a
good name.
"""

import os
import re
import shlex
import shutil
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pooch

from letterlib.data.download import NotGiven, resuming
from letterlib.data.raw import RawSource, possible_names
from letterlib.data.raw_lines import read_lines
from letterlib.data.raw_release import check_metadata, check_reviews
from letterlib.errors import LetterError
from letterlib.store import atomic_write, locked, read_json, sha256_of, write_json

RECORD = "fetched.json"
"""Hashes of what was fetched first, which later copies are held against. No published hash is known
to us.
"""


def fetch(name: str, source: RawSource, data_dir: Path, given: list[Path]) -> list[str]:
    """Have both raw files of a data set in `data_dir`, whole and checked; a line about each.

    given: files that are on this machine already; they are linked into `data_dir`, or copied where
    it
        is on another disk. What is neither given nor there is downloaded. A file whose bytes are
        not those expected is a LetterError, and is never overwritten.
    """
    data_dir = Path(data_dir)
    pooch.get_logger().setLevel("WARNING")
    roles = list(zip((source.reviews, source.metadata), source.addresses, strict=True))
    known = [one for names, _ in roles for one in possible_names(names)]
    for file in given:
        if file.name not in known:
            raise LetterError(f"{file}: not a file of {name}; those are called {', '.join(known)}")
    lines = []
    for names, addresses in roles:
        possible = possible_names(names)
        mine = [file for file in given if file.name in possible]
        there = next((data_dir / one for one in possible if (data_dir / one).is_file()), None)
        if len(mine) > 1:
            raise LetterError(f"{mine[0]} and {mine[1]}: only one of them would be read; give one")
        if mine and there and possible.index(there.name) < possible.index(mine[0].name):
            raise LetterError(
                f"{there}: is read before {mine[0].name}; move it away, or leave the other out"
            )
        if mine:
            lines.append(_take(mine[0], data_dir, source, reviews=names == source.reviews))
        elif there is not None:
            lines.append(_keep(there, source, reviews=names == source.reviews))
        elif not addresses:
            raise LetterError(_by_hand(name, source, data_dir))
        else:
            _make_folder(data_dir)
            with locked(data_dir / RECORD):  # two downloads would write into one .part
                lines.append(_download(names[0] + ".gz", addresses, source, data_dir))
    return lines


def _by_hand(name: str, source: RawSource, data_dir: Path) -> str:
    options = " ".join(f"--from {names[0]}" for names in (source.reviews, source.metadata))
    where = shlex.quote(str(data_dir))
    return (
        f"{name} cannot be fetched by a program, because its terms must be accepted by you: open {source.page}, accept "
        f"them, download and unpack the JSON files, then: letterlib data fetch {name} --data-dir {where} {options}"
    )


def _take(file: Path, data_dir: Path, source: RawSource, *, reviews: bool) -> str:
    """Link or copy a file of the user's into the folder, once it has been found right."""
    sha256 = _check(file, source, reviews)
    _compare(file, sha256, data_dir)
    target = data_dir / file.name
    if not target.exists():
        _make_folder(data_dir)
        try:
            # At once: `atomic_write` sets permissions, and a link has those of the user's own
            # file.
            os.link(file.resolve(), target)
        except OSError:
            with atomic_write(target) as temporary:
                shutil.copyfile(file, temporary)
    elif not target.samefile(file) and sha256_of(target) != sha256:
        raise LetterError(
            f"{target}: another file is there already; move it away, or choose another --data-dir"
        )
    return _record(target, sha256, f"given as {file}")


def _keep(file: Path, source: RawSource, *, reviews: bool) -> str:
    sha256 = _check(file, source, reviews)
    _compare(file, sha256, file.parent)
    return _record(file, sha256, "found in the folder")


def _check(file: Path, source: RawSource, reviews: bool) -> str:
    """Read a file to its end, as gzip's own checksum asks, and its first lines for what they are;
    its SHA-256.
    """
    if not file.is_file():
        raise LetterError(f"{file}: no such file; check the path")
    if not sum(1 for _ in read_lines(file)):
        raise LetterError(f"{file}: is empty; download it again")
    (check_reviews if reviews else check_metadata)(file, source.release)
    return sha256_of(file)


def _compare(file: Path, sha256: str, data_dir: Path) -> None:
    expected = _expected(file.name, data_dir)
    if expected not in (None, sha256):
        raise LetterError(
            f"{file}: SHA-256 is {sha256}, expected {expected}; {_mend(file.name, data_dir)}"
        )


def _expected(file: str, data_dir: Path) -> str | None:
    return _read_record(data_dir).get(file, {}).get("sha256")


def _mend(file: str, data_dir: Path) -> str:
    when = _read_record(data_dir)[file].get("first seen", "a day that it does not say")
    return (
        f"it is not the file that was recorded on {when}: to take this one, delete its entry in {data_dir / RECORD}; "
        "to have that one, fetch it again"
    )


def _download(file: str, addresses: tuple[str, ...], source: RawSource, data_dir: Path) -> str:
    """The file from the first address that gives it whole, with the expected bytes, unless it has
    come by now.
    """
    part = data_dir / f"{file}.part"
    expected = _expected(file, data_dir)
    reasons = []
    for url in addresses:
        try:
            pooch.retrieve(url, expected, fname=file, path=data_dir, downloader=resuming(part))
        except NotGiven as error:
            reasons.append(f"{urlsplit(url).netloc}: {error}")
        except ValueError as error:  # pooch's word for a wrong hash; it has deleted the download
            got = re.search("got ([0-9a-f]{64})", str(error))
            reasons.append(
                f"{urlsplit(url).netloc}: SHA-256 is {got[1] if got else 'another'}, expected {expected}; "
                + _mend(file, data_dir)
            )
        except OSError as error:
            kept = f"; the same command goes on from {part.name}" if part.exists() else ""
            raise LetterError(
                f"{part}: cannot be written ({error.strerror}); free some disk space{kept}"
            ) from error
        else:
            return _record(data_dir / file, sha256_of(data_dir / file), url)
    kept = (
        f"; {part.stat().st_size:,} bytes are in {part.name}, try again later"
        if part.exists()
        else ""
    )
    raise LetterError(
        f"{file}: no address gave it ({'; '.join(reasons)}){kept}; or get it by hand, {source.page} says where, "
        f"and name it with --from"
    )


def _record(file: Path, sha256: str, origin: str) -> str:
    record, compared = _read_record(file.parent), f"as recorded in {RECORD}"
    if file.name not in record:
        entry = {
            "sha256": sha256,
            "bytes": file.stat().st_size,
            "origin": origin,
            "first seen": str(date.today()),
        }
        write_json(file.parent / RECORD, record | {file.name: entry})
        compared = f"now recorded in {RECORD}; no published hash is known to hold it against"
    return f"{file}: {file.stat().st_size:,} bytes, SHA-256 {sha256}, {compared}"


def _read_record(data_dir: Path) -> dict[str, dict[str, str]]:
    path = data_dir / RECORD
    record = read_json(path) if path.exists() else {}
    if not isinstance(record, dict) or not all(isinstance(one, dict) for one in record.values()):
        raise LetterError(
            f'{path}: is no record of files, {{"FILE": {{"sha256": "..."}}}}; mend it, or delete it'
        )
    return record


def _make_folder(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LetterError(
            f"{data_dir}: cannot be made ({error.strerror}); choose another --data-dir"
        ) from error
