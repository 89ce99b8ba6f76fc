"""Raw reviews and metadata to a `Dataset`: what Amazon's releases and Yelp's have in common.

Reviews are read once, line by line. Of each, two numbers and a time are kept (16 bytes); user and
item ids are kept once. Text is kept for the items of the 5-core alone. So memory grows with the
number of users, items and reviews, never with the length of what people wrote.
"""

import ast
import gzip
import html
import json
import re
import shlex
import warnings
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from letterlib.data.dataset import (
    Dataset,
    build_dataset,
    genres_of,
    k_core,
    text_of,
    whole_letters,
)
from letterlib.data.prepared import prepared
from letterlib.errors import LetterError
from letterlib.progress import progress
from letterlib.store import digest, sha256_of

PREPARATION = 2
"""Raise it when the same raw files would give another data set."""

CORE = 5
MAX_BAD_SHARE = 0.01
"""Of a file's lines. Real files have a handful of bad ones in millions; more means the wrong file,
or a damaged one.
"""

EARLIEST, LATEST = (
    int(pd.Timestamp(day).timestamp() * 1000) for day in ("1990-01-01", "2100-01-01")
)
MARKS = {
    "Amazon 2014": {"reviewerID", "helpful"},
    "Amazon 2018": {"reviewerID", "verified"},
    "Amazon 2023": {"user_id", "parent_asin"},
    "Yelp": {"user_id", "business_id", "stars"},
}
"""The fields by which a review shows the release that it is from."""

T = TypeVar("T")


class BadLine(ValueError):
    """A line that cannot be used; the message says why."""


class Review(NamedTuple):
    user: str
    item: str
    time: int  # milliseconds since 1970, UTC


class ItemText(NamedTuple):
    """What a raw file says of an item, cleaned; empty where it says nothing."""

    title: str
    description: str
    labels: tuple[str, ...]

    @property
    def preference(self) -> tuple:
        """Of several entries for one item the largest is kept: one with a title, then the longest,
        then by alphabet.
        """
        return bool(self.title), len(self.title) + len(self.description), self


@dataclass(frozen=True)
class RawSource:
    """Where a data set's raw files are and how their lines are read.

    release: for people, such as "Amazon 2014, Beauty"; the words before the comma are a key of
        MARKS.
    reviews, metadata: file names without ".gz", best first; the first of each is what `fetch`
        fetches.
    review: a JSON object to a Review, or None where a rule of the data set leaves it out.
    item_id: the field of the metadata that names the item.
    parse_item: a line of the metadata to its fields; may raise BadLine.
    item: those fields to text.
    rules: for reports.
    page: where the files are described, or their terms accepted.
    addresses: per file, where to fetch it, mirrors in order; none where somebody has to accept the
        terms.
    only_described: items that the metadata do not name are left out before the 5-core.
    paper: users, items and interactions in LETTER's paper.
    caution: why today's files may give other counts.
    """

    release: str
    reviews: tuple[str, ...]
    metadata: tuple[str, ...]
    review: Callable[[dict[str, Any]], Review | None]
    item_id: str
    parse_item: Callable[[bytes], dict[str, Any]]
    item: Callable[[dict[str, Any]], ItemText]
    rules: str
    page: str
    addresses: tuple[tuple[str, ...], tuple[str, ...]]
    only_described: bool = False
    paper: tuple[int, int, int] | None = None
    caution: str = ""


def load_raw(name: str, source: RawSource, data_dir: Path, cache_dir: Path) -> Dataset:
    """The data set made from the raw files in `data_dir`, kept as Parquet in `cache_dir`.

    The copy is found by the name, size and time of change of both files.
    """
    files = raw_files(name, source, data_dir)
    stamps = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    key = f"{name}-{digest(*stamps)}"
    dataset = prepared(key, PREPARATION, cache_dir, lambda: assemble(key, source, *files))
    return replace(dataset, name=name)


def raw_files(name: str, source: RawSource, data_dir: Path) -> tuple[Path, Path]:
    """The review file and the metadata file in a folder, plain or gzipped."""
    folder, found = Path(data_dir), []
    for kind, names in (("reviews", source.reviews), ("metadata", source.metadata)):
        there = [folder / file for file in possible_names(names) if (folder / file).is_file()]
        if not there:
            released = [
                f"; {file.name} is another data set" for file in folder.glob("*.inter.json")
            ]
            raise LetterError(
                f"{folder}: the {kind} of {source.release} are missing, {names[0]}.gz"
                f"{''.join(released[:1])}; letterlib data fetch {name} --data-dir "
                f"{shlex.quote(str(folder))} puts them there"
            )
        found.append(there[0])
    return found[0], found[1]


def possible_names(names: tuple[str, ...]) -> list[str]:
    """Each name as it is fetched and as it is after unpacking, best first."""
    return [name + ending for name in names for ending in (".gz", "")]


def assemble(name: str, source: RawSource, reviews_file: Path, metadata_file: Path) -> Dataset:
    """Both files to a `Dataset`: first review of a user and item alone, 5-core, order, text."""
    check_release(reviews_file, source.release, reviews=True)
    check_release(metadata_file, source.release, reviews=False)
    reviews = read_reviews(reviews_file, source)
    first = reviews.table.sort_values(["user", "item", "time"]).drop_duplicates(["user", "item"])
    outside = reviews.tally.lines - reviews.tally.bad - len(reviews.table)
    notes = [str(reviews.tally), f"repeated reviews left out: {len(reviews.table) - len(first):,}"]
    notes += [f"reviews outside these rules: {outside:,}"] * bool(outside)
    if source.only_described:
        described = described_items(metadata_file, source)
        known = np.array([item in described for item in reviews.items], dtype=bool)
        notes.append(f"items that the metadata do not name, left out: {int((~known).sum()):,}")
        first = first[known[first["item"]]]
    kept = k_core(first, CORE)
    if not len(kept):
        raise LetterError(
            f"{reviews_file}: nothing is left of the {CORE}-core of {reviews.tally.lines:,} "
            f"reviews ({'; '.join(filter(None, notes))}); is it the whole file, and "
            f"{metadata_file.name} the metadata of these reviews?"
        )
    users, user_labels = _ranked(kept["user"], reviews.users)
    items, item_labels = _ranked(kept["item"], reviews.items)
    texts, tally = read_items(metadata_file, source, set(item_labels))
    silent = sum(
        item not in texts or not (texts[item].title or texts[item].description)
        for item in item_labels
    )
    if silent == len(item_labels):
        raise LetterError(
            f"{metadata_file}: has no title and no description of any of the {silent:,} items of "
            f"the {CORE}-core, such as {item_labels[0]}; is it the metadata of these reviews?"
        )
    notes += [
        str(tally),
        "items without title and description, which go by their labels or id: "
        f"{silent:,} of {len(item_labels):,}",
    ]
    table = pd.DataFrame([item_row(item, texts.get(item)) for item in item_labels])
    interactions = pd.DataFrame({"user": users, "item": items, "time": kept["time"].to_numpy()})
    what = f"{source.release} ({reviews_file.name}, {metadata_file.name})"
    report = "; ".join([what, source.rules, *filter(None, notes)])
    dataset = build_dataset(name, interactions, table, report)
    return replace(dataset, user_labels=user_labels, item_labels=item_labels)


def compare_with_paper(dataset: Dataset, source: RawSource, files: tuple[Path, Path]) -> str:
    """Counts next to those of LETTER's paper; where they differ, why they may, and the hash of each
    file.
    """
    found = dataset.n_users, dataset.n_items, dataset.n_interactions
    if source.paper is None:
        return "  LETTER's paper does not use this data set, so there are no counts to compare"
    if found == source.paper:
        return "  users, items and interactions are as many as in LETTER's paper"
    lines = ["  LETTER's paper has other counts"]
    kinds = ("users", "items", "interactions")
    for kind, expected, here in zip(kinds, source.paper, found, strict=True):
        lines.append(f"    {kind}: expected {expected:,}, found {here:,} ({here - expected:+,})")
    lines += [f"    {source.caution}"] if source.caution else []
    return "\n".join(lines + [f"    {file.name}: SHA-256 {sha256_of(file)}" for file in files])


def check_release(file: Path, release: str, *, reviews: bool) -> None:
    """LetterError where a file's first line of JSON is a review of another release, or a review in
    the place of metadata. release: see `RawSource`.
    """
    for line in islice(read_lines(file, disable=True), 100):
        try:
            fields = json_object(line).keys()
        except BadLine:
            continue
        shown = [release for release, marks in MARKS.items() if marks <= fields]
        if shown and not (reviews and release.partition(",")[0] in shown):
            wanted = "reviews" if reviews else "metadata"
            raise LetterError(
                f"{file}: holds reviews of {shown[0]}, not {wanted} of {release}; check --dataset "
                "and the file"
            )
        return


# Reviews and metadata


@dataclass(frozen=True)
class Reviews:
    """The usable reviews of a file.

    table: one row per review, columns user, item (numbers of `users` and `items`), time (ms).
    """

    table: pd.DataFrame
    users: list[str]
    items: list[str]
    tally: "Tally"


def read_reviews(file: Path, source: RawSource) -> Reviews:
    """One pass over a review file; 16 bytes a review, and every id once."""
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    columns = {"user": array("i"), "item": array("i"), "time": array("q")}
    tally = Tally(file)
    for review in parsed_lines(tally, lambda line: source.review(json_object(line))):
        if review is not None:
            columns["user"].append(users.setdefault(review.user, len(users)))
            columns["item"].append(items.setdefault(review.item, len(items)))
            columns["time"].append(review.time)
    table = pd.DataFrame({name: np.array(column) for name, column in columns.items()})
    return Reviews(table, list(users), list(items), tally)


def described_items(file: Path, source: RawSource) -> set[str]:
    """The ids of all items that a metadata file has a line for."""
    named = _naming(source)
    return {
        item.decode(errors="replace") for line in read_lines(file) for item in named.findall(line)
    }


def read_items(
    file: Path, source: RawSource, wanted: set[str]
) -> tuple[dict[str, ItemText], "Tally"]:
    """One pass over a metadata file: the text of the wanted items, the fullest where a file has
    several.

    Lines that name other items alone are not parsed: Amazon's files describe twenty times as many
    items as the 5-core has, and a Python literal takes ten times as long to parse as to skip.
    """
    named = _naming(source)

    def parse(line: bytes) -> tuple[str, ItemText] | None:
        names = named.findall(line)
        if names and not any(name.decode(errors="replace") in wanted for name in names):
            return None
        fields = source.parse_item(line)
        return text_field(fields, source.item_id), source.item(fields)

    texts: dict[str, ItemText] = {}
    tally = Tally(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of odd backslashes in its literals of 2014
        for entry in parsed_lines(tally, parse):
            if entry is not None and entry[0] in wanted:
                item, text = entry
                texts[item] = max(text, texts.get(item, text), key=lambda text: text.preference)
    return texts, tally


def _naming(source: RawSource) -> re.Pattern[bytes]:
    """Finds `"asin": "B000..."` in a line, in JSON's quotes or Python's."""
    return re.compile(rb"""["']%s["']\s*:\s*["']([^"']+)["']""" % source.item_id.encode())


def _ranked(numbers: pd.Series, labels: list[str]) -> tuple[np.ndarray, list[str]]:
    """Numbers in the order of the labels instead of first appearance, so that the order of lines
    decides nothing.

    Returns the new numbers, one per row, and the labels that occur, in order.
    """
    present, rows = np.unique(numbers.to_numpy(), return_inverse=True)
    found = [labels[number] for number in present]
    order = sorted(range(len(found)), key=found.__getitem__)
    ranks = np.empty(len(found), dtype=np.int64)
    ranks[order] = np.arange(len(found))
    return ranks[rows], [found[i] for i in order]


# Lines


@dataclass
class Tally:
    """How many lines a file had, how many were bad, and where the first of those is."""

    path: Path
    lines: int = 0
    bad: int = 0
    first: str = ""

    def add_bad(self, number: int, reason: str) -> None:
        """Count a bad line; give up early on a file that is mostly bad."""
        self.bad += 1
        self.first = self.first or f"line {number:,}: {reason}"
        if self.bad >= 1000 and self.bad > self.lines / 2:
            self.check()

    def check(self) -> None:
        """LetterError if the file had no lines, or too many bad ones."""
        if not self.lines:
            raise LetterError(f"{self.path}: is empty; download it again")
        if self.bad > MAX_BAD_SHARE * self.lines:
            raise LetterError(
                f"{self.path}: {self.bad:,} of {self.lines:,} lines cannot be used, more than "
                f"{MAX_BAD_SHARE:.0%} ({self.first}); is it the right file? If so, download it "
                "again"
            )

    def __str__(self) -> str:
        """For reports; empty where no line was bad."""
        if not self.bad:
            return ""
        lines = "1 unusable line" if self.bad == 1 else f"{self.bad:,} unusable lines"
        return f"{lines} of {self.path.name} left out (first: {self.first})"


def read_lines(path: Path, **options: Any) -> Iterator[bytes]:
    """The lines of a file, decompressed where its first bytes are gzip's, whatever its name.

    options: of the progress bar, which counts bytes on disk.
    """
    units = dict(unit="B", unit_scale=True, unit_divisor=1024, total=path.stat().st_size)
    with (
        open(path, "rb") as file,
        progress(what=f"Reading {path.name}", **units, **options) as bar,
    ):
        packed = file.peek(2)[:2] == b"\x1f\x8b"
        try:
            for number, line in enumerate(gzip.GzipFile(fileobj=file) if packed else file):
                yield line
                if number % 1000 == 0 and packed:
                    bar.update(file.tell() - bar.n)
                elif not packed:
                    bar.update(len(line))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise LetterError(
                f"{path}: its compressed data are damaged or not whole ({error}); download it again"
            ) from error


def parsed_lines(tally: Tally, parse: Callable[[bytes], T]) -> Iterator[T]:
    """What `parse` makes of each line of `tally.path` that is not blank.

    Lines on which it raises BadLine are counted in `tally`, which is checked at the end. A bad last
    line without its end is a LetterError: the file was cut, and more than that line is missing.
    """
    for number, line in enumerate(read_lines(tally.path), start=1):
        if line.isspace():
            continue
        tally.lines += 1
        try:
            value = parse(line)
        except BadLine as error:
            if not line.endswith((b"\n", b"}")):
                raise LetterError(
                    f"{tally.path}: ends in the middle of line {number:,}; download it again"
                ) from error
            tally.add_bad(number, str(error))
        else:
            yield value
    tally.check()


def json_object(line: bytes) -> dict[str, Any]:
    """A line that is one JSON object."""
    return _object(line, "JSON object", json.loads)


def python_dict(line: bytes) -> dict[str, Any]:
    """A line that is one Python dictionary of literals, as in Amazon's metadata of 2014. Nothing in
    it is executed.
    """
    return _object(
        line, "Python dictionary", lambda line: ast.literal_eval(line.decode("utf-8-sig").strip())
    )


def _object(line: bytes, kind: str, read: Callable[[bytes], Any]) -> dict[str, Any]:
    try:
        value = read(line)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadLine(f"no {kind}, it begins {line[:40].decode(errors='replace').strip()!r}")
    return value


def text_field(fields: dict[str, Any], name: str) -> str:
    """A field that must be text and not empty."""
    value = fields.get(name)
    if not isinstance(value, str) or not value or whole_letters(value) != value:
        raise BadLine(f'"{name}" is {value!r:.40}; fields: {", ".join(map(str, list(fields)[:6]))}')
    return value


def time_of(fields: dict[str, Any], name: str, per_second: int) -> int:
    """A field that must be a time of 1990 to 2099, `per_second` ticks a second since 1970; in
    milliseconds.
    """
    value = fields.get(name)
    if not isinstance(value, int) or not EARLIEST <= value * 1000 // per_second < LATEST:
        unit = {1: "seconds", 1000: "milliseconds"}[per_second]
        raise BadLine(f'"{name}" is {value!r:.40}, not a time in {unit} since 1970, from 1990 on')
    return value * 1000 // per_second


# Item text

HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


def clean(value: Any) -> str:
    """Text without HTML tags and entities, white space single; a list's parts are joined; anything
    else is empty.

    Entities can hide tags and further entities ("&amp;lt;b&amp;gt;"), so it goes on until nothing
    changes.
    """
    if isinstance(value, list):
        value = " ".join(filter(None, map(clean, value)))
    if not isinstance(value, str):
        return ""
    value = whole_letters(value)
    while True:
        cleaner = TAG.sub(" ", HIDDEN.sub(" ", html.unescape(value)))
        cleaner = " ".join(cleaner.split())
        if cleaner == value:
            return value
        value = cleaner


def labels_of(values: Iterable[Any]) -> tuple[str, ...]:
    """Clean labels, each once, in order. "|" separates them in `Dataset.items`, so inside one it
    becomes "/".
    """
    return tuple(filter(None, dict.fromkeys(clean(value).replace("|", "/") for value in values)))


def item_row(item: str, text: ItemText | None) -> dict[str, str]:
    """The item's row of `Dataset.items`.

    An item without a title is called "item B00..."; one without title and description is described
    to the encoder by its labels, and where it has none, by that same name.
    """
    title, description, labels = text or ("", "", ())
    name = title or f"item {item}"
    words = text_of(title, description) or ", ".join(labels) or name
    return {"title": name, "text": words, "genres": genres_of(labels)}
