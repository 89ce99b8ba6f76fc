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
from letterlib.store import digest

PREPARATION = 3
"""Raise it when the same raw files would give another data set."""

CORE = 5
MAX_BAD_SHARE = 0.01
"""Of a file's lines. Real files have a handful of bad ones in millions; more means the wrong file.
"""

T = TypeVar("T")


class BadLine(ValueError):
    """A line that cannot be used; the message says why."""


class Review(NamedTuple):
    user: str
    item: str
    time: int  # since 1970, in the release's own unit


class ItemText(NamedTuple):
    """What a raw file says of an item, cleaned; empty where it says nothing."""

    title: str = ""
    description: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawSource:
    """Where a data set's raw files are and how their lines are read.

    release: for people, such as "Amazon 2014, Beauty".
    reviews, metadata: file names without ".gz", best first; the first of each is fetched.
    review: a line's fields to a Review, or None where a rule of the data set leaves it out.
    item_id: the field of the metadata that names the item.
    item: fields of the metadata to text.
    rules: for reports.
    page: where the files are described, or their terms accepted.
    addresses: of reviews and metadata, mirrors in order; none where a person has to accept terms.
    repeats: every review of a user and item counts; otherwise only the first one.
    only_described: items that the metadata do not name are left out before the 5-core.
    paper: users, items and interactions in LETTER's paper.
    caution: why today's files may give other counts.
    """

    release: str
    reviews: tuple[str, ...]
    metadata: tuple[str, ...]
    review: Callable[[dict[str, Any]], Review | None]
    item_id: str
    item: Callable[[dict[str, Any]], ItemText]
    rules: str
    page: str
    addresses: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    repeats: bool = False
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
    reviews, metadata = (first_of(names, data_dir) for names in (source.reviews, source.metadata))
    if reviews and metadata:
        return reviews, metadata
    kind, names = ("metadata", source.metadata) if reviews else ("reviews", source.reviews)
    raise LetterError(
        f"{data_dir}: the {kind} of {source.release} are missing, {names[0]}.gz; letterlib data "
        f"fetch {name} --data-dir {shlex.quote(str(data_dir))} puts them there"
    )


def first_of(names: tuple[str, ...], folder: Path) -> Path | None:
    """The first of the files that is in the folder; None where there is none."""
    return next((folder / name for name in with_gz(names) if (folder / name).is_file()), None)


def with_gz(names: tuple[str, ...]) -> list[str]:
    """Each name as it is fetched and as it is after unpacking, best first."""
    return [name + ending for name in names for ending in (".gz", "")]


def assemble(name: str, source: RawSource, reviews_file: Path, metadata_file: Path) -> Dataset:
    """Both files to a `Dataset`: repeated reviews, 5-core, order, text."""
    reviews, users, items, notes = read_reviews(reviews_file, source)
    first = reviews.sort_values("time").drop_duplicates(["user", "item"])
    if source.repeats:
        notes.append(f"repeated reviews: {len(reviews) - len(first):,}")
        first = reviews
    else:
        notes.append(f"repeated reviews left out: {len(reviews) - len(first):,}")
    if source.only_described:
        described = described_items(metadata_file, source)
        known = np.array([item in described for item in items], dtype=bool)
        notes.append(f"items that the metadata do not name, left out: {(~known).sum():,}")
        first = first[known[first["item"]]]
    kept = k_core(first, CORE).copy()
    if not len(kept):
        raise LetterError(
            f"{reviews_file}: nothing is left of the {CORE}-core of {len(reviews):,} reviews "
            f"({'; '.join(notes)}); is it the whole file, and {metadata_file.name} the metadata of "
            "these reviews?"
        )
    kept["user"], users = _renumbered(kept["user"], users)
    kept["item"], items = _renumbered(kept["item"], items)
    texts, bad = read_items(metadata_file, source, set(items))
    silent = sum(not any(texts.get(item, ItemText())[:2]) for item in items)
    if silent == len(items):
        raise LetterError(
            f"{metadata_file}: has no title and no description of any of the {silent:,} items of "
            f"the {CORE}-core, such as {items[0]}; is it the metadata of these reviews?"
        )
    notes += bad
    notes.append(
        "items without title and description, which go by their labels or id: "
        f"{silent:,} of {len(items):,}"
    )
    rows = [item_row(item, texts.get(item, ItemText())) for item in items]
    files = f"{source.release} ({reviews_file.name}, {metadata_file.name})"
    report = "; ".join([files, source.rules, *notes])
    dataset = build_dataset(name, kept, pd.DataFrame(rows), report)
    return replace(dataset, user_labels=users, item_labels=items)


def compare_with_paper(dataset: Dataset, source: RawSource) -> str:
    """Counts next to those of LETTER's paper; where they differ, why they may."""
    found = dataset.n_users, dataset.n_items, dataset.n_interactions
    if source.paper is None:
        return "  LETTER's paper does not use this data set, so there are no counts to compare"
    if found == source.paper:
        return "  users, items and interactions are as many as in LETTER's paper"
    lines = ["  LETTER's paper has other counts"]
    kinds = ("users", "items", "interactions")
    for kind, expected, here in zip(kinds, source.paper, found, strict=True):
        lines.append(f"    {kind}: expected {expected:,}, found {here:,} ({here - expected:+,})")
    return "\n".join(lines + [f"    {source.caution}"] * bool(source.caution))


# Reviews and metadata


def read_reviews(
    file: Path, source: RawSource
) -> tuple[pd.DataFrame, list[str], list[str], list[str]]:
    """One pass over a review file; 16 bytes a review, and every id once.

    Returns a table with a row per review and columns user, item (numbers) and time; the users' and
    the items' ids; and notes for the report.
    """
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    columns = {"user": array("i"), "item": array("i"), "time": array("q")}
    notes: list[str] = []
    outside = 0
    for review in parsed_lines(file, source.review, notes):
        if review is None:
            outside += 1
            continue
        columns["user"].append(users.setdefault(review.user, len(users)))
        columns["item"].append(items.setdefault(review.item, len(items)))
        columns["time"].append(review.time)
    notes += [f"reviews outside these rules: {outside:,}"] * bool(outside)
    table = pd.DataFrame({name: np.array(column) for name, column in columns.items()})
    return table, list(users), list(items), notes


def described_items(file: Path, source: RawSource) -> set[str]:
    """The ids of all items that a metadata file has a line for."""
    named = _naming(source)
    return {
        item.decode(errors="replace") for line in read_lines(file) for item in named.findall(line)
    }


def read_items(
    file: Path, source: RawSource, wanted: set[str]
) -> tuple[dict[str, ItemText], list[str]]:
    """One pass over a metadata file: the text of the wanted items, and notes for the report.

    Of several entries for an item the fullest is kept: one with a title, then the longest, then by
    alphabet. Lines that name other items alone are not parsed: Amazon's files describe twenty times
    as many items as the 5-core has, and a Python literal takes ten times as long to parse as to
    skip.
    """
    named = _naming(source)
    wanted_bytes = {item.encode() for item in wanted}

    def skip(line: bytes) -> bool:
        names = named.findall(line)
        return bool(names) and wanted_bytes.isdisjoint(names)

    def parse(fields: dict[str, Any]) -> tuple[str, ItemText]:
        return text_field(fields, source.item_id), source.item(fields)

    texts: dict[str, ItemText] = {}
    notes: list[str] = []
    for item, text in parsed_lines(file, parse, notes, skip):
        if item in wanted:
            texts[item] = max(text, texts.get(item, text), key=_fullness)
    return texts, notes


def _fullness(text: ItemText) -> tuple[bool, int, ItemText]:
    return bool(text.title), len(text.title) + len(text.description), text


def _renumbered(numbers: pd.Series, labels: list[str]) -> tuple[np.ndarray, list[str]]:
    """Numbers in the order of the labels instead of first appearance, and the labels that occur."""
    present, rows = np.unique(numbers, return_inverse=True)
    found = np.array([labels[number] for number in present], dtype=object)
    order = np.argsort(found)
    return np.argsort(order)[rows], found[order].tolist()


def _naming(source: RawSource) -> re.Pattern[bytes]:
    """Finds `"asin": "B000..."` in a line, in JSON's quotes or Python's."""
    return re.compile(rb"""["']%s["']\s*:\s*["']([^"']+)["']""" % source.item_id.encode())


# Lines


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file that are not blank, decompressed where its first bytes are gzip's,
    whatever its name.

    LetterError at the end of a file that is empty, damaged or cut short, or whose last line does
    not end an object (a web page, say).
    """
    last = b""
    units = dict(unit="B", unit_scale=True, unit_divisor=1024, total=path.stat().st_size)
    with open(path, "rb") as file, progress(what=f"Reading {path.name}", **units) as bar:
        packed = file.peek(2)[:2] == b"\x1f\x8b"
        try:
            for number, line in enumerate(gzip.GzipFile(fileobj=file) if packed else file):
                if not line.isspace():
                    last = line
                    yield line
                if number % 1000 == 0:
                    bar.update(file.tell() - bar.n)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise LetterError(
                f"{path}: its compressed data are damaged or cut short ({error}); download it again"
            ) from error
    if not last.rstrip().endswith(b"}"):
        raise LetterError(
            f'{path}: empty, cut short or another file: it ends with "{_shown(last[-40:])}" and '
            "not with a whole object; download it again"
        )


def parsed_lines(
    path: Path,
    parse: Callable[[dict[str, Any]], T],
    notes: list[str],
    skip: Callable[[bytes], bool] = lambda line: False,
) -> Iterator[T]:
    """What `parse` makes of the fields of each line, without the lines that `skip` names.

    Lines on which it raises BadLine are left out, and a note counts them; more than MAX_BAD_SHARE
    of all lines are a LetterError.
    """
    bad, first, number = 0, "", 0
    for number, line in enumerate(read_lines(path), start=1):
        if skip(line):
            continue
        try:
            value = parse(fields_of(line))
        except BadLine as error:
            bad += 1
            first = first or whole_letters(f"line {number:,}: {error}")
        else:
            yield value
    if bad > MAX_BAD_SHARE * number:
        raise LetterError(
            f"{path}: {bad:,} of {number:,} lines cannot be used, more than {MAX_BAD_SHARE:.0%} "
            f"({first}); is it the right file?"
        )
    if bad:
        notes.append(f"unusable lines of {path.name} left out: {bad:,} (first: {first})")


def fields_of(line: bytes) -> dict[str, Any]:
    """A line's object: JSON, or as in Amazon's metadata of 2014 a Python dictionary of literals,
    which is parsed and never executed.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        try:
            with warnings.catch_warnings(action="ignore"):  # odd backslashes in the literals
                value = ast.literal_eval(line.decode().strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise BadLine(f'no object, it begins "{_shown(line[:40])}"')
    return value


def _shown(line: bytes) -> str:
    return line.decode(errors="replace").strip()


def text_field(fields: dict[str, Any], name: str) -> str:
    """A field that must be text that UTF-8 can hold, and not empty."""
    value = fields.get(name)
    if not isinstance(value, str) or not value or whole_letters(value) != value:
        raise BadLine(f'"{name}" is {value!r:.40}; fields: {", ".join(map(str, [*fields][:6]))}')
    return value


def time_field(fields: dict[str, Any], name: str) -> int:
    """A field that must be a whole number."""
    value = fields.get(name)
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise BadLine(f'"{name}" is {value!r:.40}, not a time')
    return value


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


def item_row(item: str, text: ItemText) -> dict[str, str]:
    """The item's row of `Dataset.items`.

    An item without a title is called "item B00..."; one without title and description is described
    to the encoder by its labels, and where it has none, by that same name.
    """
    name = text.title or f"item {item}"
    words = text_of(text.title, text.description) or ", ".join(text.labels) or name
    return {"title": name, "text": words, "genres": genres_of(text.labels)}
