"""Raw files line by line: gzip or plain, of any size; a few bad lines are counted, many are
refused.
"""

import ast
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from letterlib.errors import LetterError
from letterlib.progress import progress

MAX_BAD_SHARE = 0.01
"""Of a file's lines. Real files have a handful of bad ones in millions; more means the wrong file,
or a damaged one.
"""

LONGEST_LINE = 2**24
"""Bytes. The longest real lines have some hundred thousand; without a limit one line could fill the
memory.
"""

T = TypeVar("T")


class BadLine(ValueError):
    """A line that cannot be used; the words say why."""


@dataclass
class Tally:
    """How many lines a file had, how many were bad, and where the first of those is."""

    path: Path
    lines: int = 0
    bad: int = 0
    first: str = ""

    def add_bad(self, number: int, reason: str) -> None:
        """Count a bad line. Gives up early, before gigabytes are read, on a file that is mostly
        bad.
        """
        self.bad += 1
        self.first = self.first or f"line {number:,}: {reason}"
        if self.bad >= 1000 and self.bad > self.lines / 2:
            raise self._refusal(f"most of its first {self.lines:,} lines")

    def check(self) -> None:
        """LetterError if the file had no lines, or too many bad ones."""
        if not self.lines:
            raise LetterError(f"{self.path}: is empty; download it again")
        if self.bad > MAX_BAD_SHARE * self.lines:
            raise self._refusal(f"{self.bad:,} of its {self.lines:,} lines")

    def _refusal(self, how_many: str) -> LetterError:
        return LetterError(
            f"{self.path}: {how_many} cannot be used, more than {MAX_BAD_SHARE:.0%} ({self.first}); "
            "is it the right file? If so, download it again"
        )

    def in_words(self) -> str:
        """For reports; empty where no line was bad."""
        if not self.bad:
            return ""
        lines = "1 unusable line" if self.bad == 1 else f"{self.bad:,} unusable lines"
        return f"{lines} of {self.path.name} left out (first: {self.first})"


def read_lines(path: Path, **options: Any) -> Iterator[bytes]:
    """The lines of a file, decompressed where its first bytes are gzip's, whatever its name.

    The progress bar counts bytes on disk; options go to it. A file that cannot be read, ends in the
    middle of its compressed data, or has no lines but one endless one, is a LetterError.
    """
    try:
        with open(path, "rb") as file:
            packed = file.peek(2)[:2] == b"\x1f\x8b"
            lines = gzip.GzipFile(fileobj=file) if packed else file
            units = dict(unit="B", unit_scale=True, unit_divisor=1024)
            with progress(
                what=f"Reading {path.name}", total=path.stat().st_size, **units, **options
            ) as bar:
                number = 0
                while line := lines.readline(LONGEST_LINE):
                    number += 1
                    if len(line) == LONGEST_LINE:
                        raise LetterError(
                            f"{path}, line {number:,}: longer than {LONGEST_LINE:,} bytes; "
                            "a file with one JSON object per line is expected, is it the right one?"
                        )
                    yield line
                    if number % 1000 == 0:
                        bar.update(file.tell() - bar.n)
                bar.update(file.tell() - bar.n)
    except EOFError as error:
        raise LetterError(
            f"{path}: ends in the middle of its compressed data; download it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise LetterError(
            f"{path}: its compressed data are damaged ({error}); download it again"
        ) from error
    except OSError as error:
        raise LetterError(
            f"{path}: cannot be read ({error.strerror}); check the path, or --data-dir"
        ) from error


def parsed_lines(tally: Tally, parse: Callable[[bytes], T]) -> Iterator[T]:
    """What `parse` makes of each line of `tally.path` that is not blank.

    Lines on which it raises BadLine are counted in `tally`, which is checked at the end. A last
    line without its end and its closing brace is a LetterError: of a file that was cut, more than
    that line is missing.
    """
    for number, line in enumerate(read_lines(tally.path), start=1):
        if line.isspace():
            continue
        tally.lines += 1
        try:
            value = parse(line)
        except BadLine as error:
            if not line.endswith(b"\n") and not line.rstrip().endswith(b"}"):
                cut = f"{tally.path}: ends in the middle of line {number:,} ({error}); download it again"
                raise LetterError(cut) from error
            tally.add_bad(number, str(error))
        else:
            yield value
    tally.check()


def json_object(line: bytes) -> dict[str, Any]:
    """A line that is one JSON object."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not JSON, {_excerpt(line)}") from error
    if not isinstance(value, dict):
        raise BadLine(f"not a JSON object, {_excerpt(line)}")
    return value


def python_dict(line: bytes) -> dict[str, Any]:
    """A line that is one Python dictionary of literals, as in Amazon's metadata of 2014. Nothing in
    it is executed.
    """
    try:
        value = ast.literal_eval(line.decode("utf-8-sig").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise BadLine(f"not a Python dictionary, {_excerpt(line)}") from error
    if not isinstance(value, dict):
        raise BadLine(f"not a Python dictionary, {_excerpt(line)}")
    return value


def _excerpt(line: bytes) -> str:
    return f"it begins {line[:40].decode(errors='replace').strip()!r}"
