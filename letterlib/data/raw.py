"""Raw reviews and metadata to a `Dataset`: what Amazon's releases and Yelp's have in common.

Reviews are read once, line by line. Of each, two numbers and a time are kept (16 bytes); user and
item ids are kept once. Text is kept for the items of the 5-core alone. So memory grows with the
number of users, items and reviews, never with the length of what people wrote.
"""

import re
import shlex
import warnings
from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from letterlib.data.dataset import Dataset
from letterlib.data.prepared import prepared
from letterlib.data.preprocessing import build_dataset, k_core
from letterlib.data.raw_lines import BadLine, Tally, json_object, parsed_lines, read_lines
from letterlib.data.raw_release import check_metadata, check_reviews
from letterlib.data.raw_text import ItemText, item_row, whole_letters
from letterlib.errors import LetterError
from letterlib.store import digest, sha256_of

PREPARATION = 2
"""Raise it when the same raw files would give another data set."""

CORE = 5
EARLIEST, LATEST = (
    int(pd.Timestamp(day).timestamp() * 1000) for day in ("1990-01-01", "2100-01-01")
)


class Review(NamedTuple):
    user: str
    item: str
    time: int  # milliseconds since 1970, UTC


@dataclass(frozen=True)
class RawSource:
    """Where a data set's raw files are and how their lines are read.

    release: for people, such as "Amazon 2014, Beauty"; the words before the comma are a key of
    `raw_release.MARKS`.
    reviews, metadata: file names without ".gz", best first; the first of each is what `fetch`
    fetches.
    review: a JSON object to a Review, or None where a rule of the data set leaves it out.
    item_id: the field of the metadata that names the item. parse_item, item: a line to its fields,
    and those
        to text. Both raise BadLine.
    only_described: items that the metadata do not name are left out before the 5-core.
    rules: in words, for reports. addresses: per file, where to fetch it, mirrors in order; none
        where somebody has to accept a licence on `page`.
    paper: users, items and interactions in LETTER's paper. caution: why today's files may give
    others.
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

    The copy is found by the name, size and time of change of both files: another file, or a changed
    one, is read anew.
    """
    files = raw_files(name, source, data_dir)
    stamps = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    key = f"{name}-{digest(*stamps)}"
    return replace(
        prepared(key, PREPARATION, cache_dir, lambda: assemble(key, source, *files)), name=name
    )


def raw_files(name: str, source: RawSource, data_dir: Path) -> tuple[Path, Path]:
    """The review file and the metadata file in a folder, plain or gzipped. LetterError where one is
    missing.
    """
    folder = Path(data_dir)
    mend = f"letterlib data fetch {name} --data-dir {shlex.quote(str(folder))} puts it there"
    if not folder.is_dir():
        is_file = "is a file, not a folder; name the folder of the raw files with --data-dir"
        raise LetterError(f"{folder}: {is_file if folder.exists() else f'no such folder; {mend}'}")
    found, other = [], next(iter(sorted(folder.glob("*.inter.json"))), None)
    for kind, names in (("reviews", source.reviews), ("metadata", source.metadata)):
        file = next(
            (folder / one for one in possible_names(names) if (folder / one).is_file()), None
        )
        if file is None:
            beside = f" ({other.name} is another data set; --dataset names it)" if other else ""
            raise LetterError(
                f"{folder}: the {kind} of {source.release} are missing, {names[0]}.gz{beside}; {mend}"
            )
        found.append(file)
    return found[0], found[1]


def possible_names(names: tuple[str, ...]) -> list[str]:
    """Each name as it is fetched and as it is after unpacking, best first."""
    return [name + ending for name in names for ending in (".gz", "")]


def assemble(name: str, source: RawSource, reviews_file: Path, metadata_file: Path) -> Dataset:
    """Both files to a `Dataset`: first review of a user and item alone, 5-core, order, text."""
    check_reviews(reviews_file, source.release)
    check_metadata(metadata_file, source.release)
    reviews = read_reviews(reviews_file, source)
    first = reviews.table.sort_values(["user", "item", "time"]).drop_duplicates(["user", "item"])
    outside = reviews.tally.lines - reviews.tally.bad - len(reviews.table)
    notes = [
        reviews.tally.in_words(),
        f"repeated reviews left out: {len(reviews.table) - len(first):,}",
    ]
    notes += [f"reviews outside these rules: {outside:,}"] * bool(outside)
    if source.only_described:
        described = described_items(metadata_file, source)
        known = np.array([item in described for item in reviews.items], dtype=bool)
        if not known.any():
            raise LetterError(
                f"{metadata_file}: has none of the {len(known):,} items of the reviews; is it whole?"
            )
        notes.append(f"items that the metadata do not name, left out: {int((~known).sum()):,}")
        first = first[known[first["item"]]]
    kept = k_core(first, CORE)
    if not len(kept):
        only = f"; {outside:,} of them are no {source.rules.partition(';')[0]}" * bool(outside)
        raise LetterError(
            f"{reviews_file}: nobody is left of {len(reviews.users):,} users and {reviews.tally.lines:,} lines in "
            f"the {CORE}-core, in which all have {CORE} reviews{only}; is it the whole file?"
        )
    users, user_labels = _ranked(kept["user"], reviews.users)
    items, item_labels = _ranked(kept["item"], reviews.items)
    texts, tally = read_items(metadata_file, source, set(item_labels))
    silent = sum(
        1
        for item in item_labels
        if item not in texts or not (texts[item].title or texts[item].description)
    )
    if silent == len(item_labels):
        raise LetterError(
            f"{metadata_file}: has no title and no description of any of the {silent:,} items of the {CORE}-core, such "
            f"as {item_labels[0]}; is it the metadata of these reviews?"
        )
    without = f"items without title and description, which go by their labels or id: {silent:,} of {len(item_labels):,}"
    notes += [tally.in_words(), without]
    table = pd.DataFrame([item_row(item, texts.get(item)) for item in item_labels])
    interactions = pd.DataFrame({"user": users, "item": items, "time": kept["time"].to_numpy()})
    what = f"{source.release} ({reviews_file.name}, {metadata_file.name})"
    words = "; ".join([what, source.rules, *filter(None, notes)])
    return replace(
        build_dataset(name, interactions, table, words),
        user_labels=user_labels,
        item_labels=item_labels,
    )


@dataclass(frozen=True)
class Reviews:
    """table: columns user, item (numbers of `users` and `items`), time (ms); one row per usable
    review.
    """

    table: pd.DataFrame
    users: list[str]
    items: list[str]
    tally: Tally


def read_reviews(file: Path, source: RawSource) -> Reviews:
    """One pass over a review file; 16 bytes a review, and every id once."""
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    user_column, item_column, times = array("i"), array("i"), array("q")
    tally = Tally(file)
    for review in parsed_lines(tally, lambda line: source.review(json_object(line))):
        if review is not None:
            user_column.append(users.setdefault(review.user, len(users)))
            item_column.append(items.setdefault(review.item, len(items)))
            times.append(review.time)
    columns = {
        "user": np.array(user_column),
        "item": np.array(item_column),
        "time": np.array(times),
    }
    return Reviews(pd.DataFrame(columns), list(users), list(items), tally)


def described_items(file: Path, source: RawSource) -> set[str]:
    """The ids of all items that a metadata file has a line for."""
    named = _naming(source)
    return {
        item.decode(errors="replace") for line in read_lines(file) for item in named.findall(line)
    }


def read_items(
    file: Path, source: RawSource, wanted: set[str]
) -> tuple[dict[str, ItemText], Tally]:
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
                texts[item] = max(text, texts.get(item, text), key=lambda one: one.preference)
    return texts, tally


def _naming(source: RawSource) -> re.Pattern[bytes]:
    """Finds `"asin": "B000..."` in a line, in JSON's quotes or Python's."""
    return re.compile(rb"""["']%s["']\s*:\s*["']([^"']+)["']""" % source.item_id.encode())


def _ranked(numbers: pd.Series, labels: list[str]) -> tuple[np.ndarray, list[str]]:
    """Numbers by alphabet instead of by first appearance, so that the order of lines decides
    nothing.

    Returns the new numbers, one per row, and the labels that occur, in order.
    """
    present, rows = np.unique(numbers.to_numpy(), return_inverse=True)
    order = sorted(range(len(present)), key=lambda one: labels[present[one]])
    ranks = np.empty(len(present), dtype=np.int64)
    ranks[order] = np.arange(len(present))
    return ranks[rows], [labels[present[one]] for one in order]


def text_field(fields: dict[str, Any], name: str) -> str:
    """A field that must be text and not empty."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise BadLine(f'no "{name}", only {", ".join(map(str, list(fields)[:6]))}')
    if whole_letters(value) != value:
        raise BadLine(f'"{name}" is {value!r:.40}, with half of a letter in it')
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


def compare_with_paper(dataset: Dataset, source: RawSource, files: tuple[Path, Path]) -> str:
    """Counts beside those of LETTER's paper; where they differ, why they may, and the hash of each
    file.
    """
    found = dataset.n_users, dataset.n_items, dataset.n_interactions
    if source.paper is None:
        return "  LETTER's paper does not use this data set, so there are no counts to compare"
    if found == source.paper:
        return "  users, items and interactions are as many as in LETTER's paper"
    lines = ["  LETTER's paper has other counts"]
    for what, expected, here in zip(
        ("users", "items", "interactions"), source.paper, found, strict=True
    ):
        lines.append(f"    {what}: expected {expected:,}, found {here:,} ({here - expected:+,})")
    lines += [f"    {source.caution}"] if source.caution else []
    return "\n".join(lines + [f"    {file.name}: SHA-256 {sha256_of(file)}" for file in files])
