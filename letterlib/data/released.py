"""The format in which LC-Rec and LETTER release data, in a folder.

`<Name>.inter.json`  {"user": [item, item, ...], ...}, a user's items in time order, ids from 0.
                     A user may have an item several times (Yelp).
`<Name>.item.json`   {"item": {"title": ..., "description": ..., "categories": ...}, ...}; some
                     releases come without it. Where we write it, an item has an "id" too: what it
                     was called before it was numbered.
`<Name>.index.json`  identifiers, read by `letterlib.tokenizer.identifiers`.
`<Name>.source.txt`  written by us: what the data set was made of.
`<Name>.split.json`  {"user": [validation, test], ...}, how many of the user's last items are in
                     these parts, where the data set has a split of its own.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from letterlib.data.dataset import Dataset, Sequences, genres_of, text_of, whole_letters
from letterlib.errors import LetterError
from letterlib.store import read_json, write_json, write_text

INTERACTIONS, ITEMS, IDENTIFIERS = ".inter.json", ".item.json", ".index.json"
SOURCE, SPLIT = ".source.txt", ".split.json"


def load_released(data_dir: str | Path, name: str | None = None) -> Dataset:
    """Read `<Name>.inter.json` and, where there is one, `<Name>.item.json` from a folder.

    An item's text is its title, then ". " and its description where it has one. LetterError names
    the file, and the user or item, with what was expected.

    name: <Name> in any case, which the data set is then called; without it the folder must hold
        exactly one data set, which is called by its file's name in lower case.
    """
    path = _find(Path(data_dir), name)
    stem = path.name.removesuffix(INTERACTIONS)
    users = _read_table(path, '{"user": [item, ...], ...}')
    _check_users(path.name, users)
    sequences = Sequences.from_lists(users.values())
    items_path = _next_to(path, ITEMS)
    if items_path.exists():
        items, item_labels = _read_items(items_path)
    else:
        ids = np.unique(sequences.values)
        items, item_labels = pd.DataFrame(index=range(int(ids[-1]) + 1)), []
        if len(gaps := np.flatnonzero(ids != np.arange(len(ids)))):
            raise LetterError(
                f"{path.name}: no user has item {gaps[0]}, but ids go up to {len(items) - 1}; "
                f"number the items without gaps, or add {stem}{ITEMS}"
            )
    if len(outside := np.flatnonzero(sequences.values >= len(items))):
        user = list(users)[sequences.owners[outside[0]]]
        raise LetterError(
            f'{path.name}, user "{user}": item {sequences.values[outside[0]]} is not in '
            f"{items_path.name} ({len(items):,} items, ids 0-{len(items) - 1})"
        )
    source = (
        f"released file {path.name} (format of LC-Rec and LETTER), interactions in the order of "
        "the file"
    )
    if (told := path.with_name(stem + SOURCE)).is_file():
        source = told.read_text(encoding="utf-8", errors="replace").strip()
    labels, held = list(users), None
    if (given := path.with_name(stem + SPLIT)).is_file():
        counts = _read_table(given, '{"user": [validation, test], ...}')
        for user in labels:
            pair = counts.get(user)
            whole = isinstance(pair, list) and [type(n) is int and 0 <= n < 2**31 for n in pair]
            if whole != [True, True]:
                raise LetterError(
                    f'{given.name}, user "{user}": expected two numbers of items, found '
                    f"{pair!r:.40}; make it again with letterlib data import"
                )
        held = np.array([counts[user] for user in labels], dtype=np.int64)
    return Dataset(name or stem.lower(), sequences, items, source, labels, item_labels, held)


def released_identifiers(data_dir: str | Path, name: str | None = None) -> Path:
    """Where `<Name>.index.json` is, or would be, for the data set that `load_released` reads."""
    return _next_to(_find(Path(data_dir), name), IDENTIFIERS)


def write_released(dataset: Dataset, folder: str | Path) -> None:
    """Write the data set's interactions, items and source; `load_released` reads them back.

    LetterError for what the format cannot hold: a user without items, users with the same
    label, a text that is not the title followed by ". " and a description, and without text also
    genres and items that no user has. White space around words is not kept.
    """
    name, folder = dataset.name, Path(folder)
    users = {label: dataset.sequences[i].tolist() for i, label in enumerate(dataset.user_labels)}
    _check_users(name, users)
    if len(users) < dataset.n_users:
        raise LetterError(f"{name}: two users have the same label; give each its own")
    entries = {}
    if len(dataset.items.columns):
        if missing := {"title", "text"} - set(dataset.items):
            raise LetterError(
                f"{name}: the items have no {' and no '.join(sorted(missing))}, and the released "
                "format needs both title and text; where there is no description, they are equal"
            )
        rows = dataset.items.to_dict("records")
        entries = {str(i): _entry(name, i, row) for i, row in enumerate(rows)}
        for entry, label in zip(entries.values(), dataset.item_labels, strict=False):
            entry["id"] = label
    elif len(np.unique(dataset.sequences.values)) < dataset.n_items:
        raise LetterError(
            f"{name}: some items have no interactions, and without a title and a text the released "
            "format would lose them; add these columns"
        )
    # Items of an earlier export go first: interrupted, this one never leaves the old ones there.
    (folder / (name + ITEMS)).unlink(missing_ok=True)
    (folder / (name + SOURCE)).unlink(missing_ok=True)
    (folder / (name + SPLIT)).unlink(missing_ok=True)
    write_json(folder / (name + INTERACTIONS), users)
    if entries:
        write_json(folder / (name + ITEMS), entries)
    if dataset.held is not None:
        counts = zip(dataset.user_labels, dataset.held.tolist(), strict=True)
        write_json(folder / (name + SPLIT), dict(counts))
    if dataset.source:
        write_text(folder / (name + SOURCE), dataset.source + "\n")


def _find(folder: Path, name: str | None) -> Path:
    """The file of interactions in a folder: the one called `name`, or the only one."""
    if not folder.is_dir():
        raise LetterError(
            f"{folder}: no such folder; --data-dir names the one with <Name>{INTERACTIONS}"
        )
    files = sorted(folder.glob("*" + INTERACTIONS))
    fitting = [f for f in files if name is None or f.name.lower() == name.lower() + INTERACTIONS]
    if len(fitting) == 1:
        return fitting[0]
    raise LetterError(
        f"{folder}: one file {name or '<Name>'}{INTERACTIONS} is expected, but there is "
        f"{', '.join(file.name for file in files) or 'none'}; check --dataset and --data-dir"
    )


def _next_to(interactions: Path, ending: str) -> Path:
    """The file of the same <Name>, in any case, with another ending."""
    path = interactions.with_name(interactions.name.removesuffix(INTERACTIONS) + ending)
    others = (file for file in path.parent.iterdir() if file.name.lower() == path.name.lower())
    return path if path.exists() else next(others, path)


def _read_table(path: Path, of: str) -> dict[str, Any]:
    table = read_json(path)
    if not isinstance(table, dict) or not table:
        raise LetterError(f"{path}: expected {of}, found {table!r:.40}; is it the right file?")
    return table


def _check_users(where: str, users: dict[str, Any]) -> None:
    for user, items in users.items():
        fault = None
        if not isinstance(items, list) or not items:
            fault = f"expected a list of item ids, found {items!r:.40}"
        elif odd := [item for item in items if type(item) is not int or not 0 <= item < 2**31]:
            fault = f"{odd[0]!r:.40} is not an item id; ids are whole numbers from 0"
        elif whole_letters(user) != user:
            fault = "its name has half of a letter, which UTF-8 cannot hold"
        if fault:
            raise LetterError(f'{where}, user "{user}": {fault}')


def _read_items(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """`Dataset.items`, and the items' own labels where each has another."""
    table = _read_table(path, '{"item": {"title": ...}, ...}')
    if missing := [str(i) for i in range(len(table)) if str(i) not in table]:
        raise LetterError(
            f"{path.name}: {len(table):,} items must have the ids 0-{len(table) - 1}, but "
            f'"{missing[0]}" is missing'
        )
    entries = [table[str(i)] for i in range(len(table))]
    rows = [_row(path.name, i, entry) for i, entry in enumerate(entries)]
    ids = [entry["id"] for entry in entries if isinstance(entry.get("id"), str | int)]
    labels = [whole_letters(str(own)) for own in ids]
    items = pd.DataFrame(rows).fillna({"genres": ""})
    return items, labels if len({*labels}) == len(entries) else []


def _row(file: str, item: int, entry: Any) -> dict[str, str]:
    """One row of `Dataset.items`. Released files have a few empty titles (Beauty has one): the
    item is called "item 10204", and the encoder gets what there is, which may be nothing.
    """
    where = f'{file}, item "{item}"'
    if not isinstance(entry, dict) or "title" not in entry:
        raise LetterError(f'{where}: expected {{"title": ...}}, found {entry!r:.60}')
    words = {}
    for field in ("title", "description"):
        value = entry.get(field)
        if field == "description" and isinstance(value, list):
            if all(isinstance(part, str) for part in value):
                value = " ".join(value)  # Amazon has descriptions of several paragraphs
        if not isinstance(value, str | None):
            raise LetterError(f"{where}: its {field} must be text, found {value!r:.60}")
        words[field] = whole_letters(value or "").strip()
    row = {"title": words["title"] or f"item {item}", "text": text_of(*words.values())}
    if "categories" in entry:
        labels = "" if entry["categories"] is None else entry["categories"]
        labels = labels.split(",") if isinstance(labels, str) else labels
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise LetterError(f"{where}: categories must be text or a list, found {labels!r:.60}")
        row["genres"] = genres_of(whole_letters(label).replace("|", "/") for label in labels)
    return row


def _entry(name: str, item: int, row: dict[str, str]) -> dict[str, Any]:
    """The entry of `<Name>.item.json` that `_row` turns back into `row`."""
    row = {key: row[key].strip() for key in ("title", "text", "genres") if key in row}
    row["title"] = row["title"] or f"item {item}"
    title, text = row["title"], row["text"]
    if title == f"item {item}" and text != title and not text.startswith(f"{title}. "):
        title = ""
    entry: dict[str, Any] = {"title": title}
    if text != title:
        entry["description"] = text.removeprefix(title + ". ") if title else text
    if "genres" in row:
        row["genres"] = genres_of(row["genres"].split("|"))
        labels = row["genres"].split("|")
        entry["categories"] = labels if "," in row["genres"] else ",".join(labels)
    if _row(name, item, entry) != row:
        raise LetterError(
            f'{name}, item {item}: its text is not its title, then ". " and a description, and the '
            f"released format holds nothing else ({text!r:.60})"
        )
    return entry
