"""The format in which LC-Rec and LETTER release data: `<Name>.inter.json` and `<Name>.item.json`.

`<Name>.inter.json` is {"user": [item, item, ...], ...}, a user's items in time order, ids from 0.
`<Name>.item.json` is {"item": {"title": ..., "description": ..., "categories": ...}, ...}; some
releases come without it. Where we write it, an item has an "id", too: what it was called before it
was numbered. The third file, `<Name>.index.json`, holds identifiers: `letterlib.tokenizer`. Where
we write the first two, a line in `<Name>.source.txt` says what they were made of.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from letterlib.data.dataset import Dataset, Sequences
from letterlib.data.raw_text import genres_of, text_of, whole_letters
from letterlib.errors import LetterError
from letterlib.store import as_json, atomic_write, read_json, write_json, write_text

INTERACTIONS, ITEMS, IDENTIFIERS = ".inter.json", ".item.json", ".index.json"
SOURCE = ".source.txt"


def load_released(data_dir: str | Path, name: str | None = None) -> Dataset:
    """Read `<Name>.inter.json` and, where there is one, `<Name>.item.json` from a folder.

    name: <Name> in any case, which the data set is then called; without it the folder must hold
        exactly one data set, which is called by its file's name in lower case.

    An item's text is its title, then ". " and its description where it has one. Whatever is wrong
    with a file is a LetterError that names the file, the user or item, and what was expected.
    """
    path = _find(Path(data_dir), name)
    stem = path.name.removesuffix(INTERACTIONS)
    labels, sequences = _read_interactions(path)
    items_path = _in_any_case(path.with_name(stem + ITEMS))
    if items_path.exists():
        items, item_labels = _read_items(items_path)
        _require_known(sequences, labels, path.name, items_path.name, len(items))
    else:
        items, item_labels = (
            pd.DataFrame(index=range(_count_without_gaps(sequences, path.name))),
            [],
        )
    source = f"released file {path.name} (format of LC-Rec and LETTER), interactions in the order of the file"
    if (told := path.with_name(stem + SOURCE)).is_file():
        source = _read_source(told)
    return Dataset(name or stem.lower(), sequences, items, source, labels, item_labels)


def write_released(dataset: Dataset, folder: str | Path) -> None:
    """Write `<name>.inter.json` and, where there is item text, `<name>.item.json`; `load_released`
    reads both back, and from a third file what they were made of.

    A text that is not the title followed by ". " and a description has no place in the format, nor
    has a user with an item twice or with none, nor, where there is no text, an item without
    interactions or with genres: LetterError. White space around a title, a text or a genre is not
    kept; nor, where there is no text, are items' own ids.
    """
    folder = Path(folder)
    if ("text" in dataset.items) != ("title" in dataset.items):
        raise LetterError(
            f"{dataset.name}: the items have a title or a text, and the released format needs both; "
            "where there is no description, the text is the title"
        )
    if len(set(dataset.user_labels)) < dataset.n_users:
        raise LetterError(
            f"{dataset.name}: users share a label, and the released format knows them by nothing else; "
            "give each a label of its own"
        )
    users = {label: dataset.sequences[i].tolist() for i, label in enumerate(dataset.user_labels)}
    _check_users(dataset.name, users)
    if "text" not in dataset.items:
        if "genres" in dataset.items or len(np.unique(dataset.sequences.values)) < dataset.n_items:
            raise LetterError(
                f"{dataset.name}: items have genres or no interactions, and the released format then "
                "needs a title and a text of each; add these columns"
            )
        _replace_interactions(dataset.name, users, folder)
        _write_source(dataset, folder)
        return
    rows = dataset.items.to_dict("records")
    entries = {str(i): _entry(dataset.name, i, row) for i, row in enumerate(rows)}
    for entry, label in zip(
        entries.values(), dataset.item_labels, strict=False
    ):  # there may be none
        entry["id"] = label
    with atomic_write(
        folder / (dataset.name + ITEMS)
    ) as temporary:  # both are whole before one is put in place
        temporary.write_text(as_json(entries), encoding="utf-8")
        _replace_interactions(dataset.name, users, folder)
        _write_source(dataset, folder)


def _replace_interactions(name: str, users: dict[str, list[int]], folder: Path) -> None:
    """Write them, and take away the items of an earlier export, which beside them would be read as
    theirs.
    """
    with atomic_write(folder / (name + INTERACTIONS)) as temporary:
        write_json(temporary, users)
        (folder / (name + ITEMS)).unlink(missing_ok=True)


def _read_source(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise LetterError(
            f"{path}: cannot be read ({error.strerror}); check its permissions, or delete it"
        ) from error


def _write_source(dataset: Dataset, folder: Path) -> None:
    path = folder / (dataset.name + SOURCE)
    write_text(path, dataset.source + "\n") if dataset.source else path.unlink(missing_ok=True)


def released_identifiers(data_dir: str | Path, name: str | None = None) -> Path:
    """Where the identifiers of the data set lie that `load_released` reads: `<Name>.index.json`, if
    it is there.
    """
    path = _find(Path(data_dir), name)
    return _in_any_case(path.with_name(path.name.removesuffix(INTERACTIONS) + IDENTIFIERS))


def _find(folder: Path, name: str | None) -> Path:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "no such folder"
        raise LetterError(
            f"{folder}: {what}; name the one that holds <Name>{INTERACTIONS} with --data-dir"
        )
    files = sorted(folder.glob("*" + INTERACTIONS))
    wanted = [f for f in files if name is None or f.name.lower() == name.lower() + INTERACTIONS]
    if len(wanted) == 1:
        return wanted[0]
    if name is not None and len(wanted) > 1:
        raise LetterError(
            f"{folder}: {' and '.join(f.name for f in wanted)} both fit {name}; keep one of them"
        )
    there = ", ".join(f.name for f in files)
    if name is None:
        raise LetterError(
            f"{folder}: exactly one *{INTERACTIONS} is expected, but there is {there or 'none'}"
        )
    others = f"but {there}" if there else f"nor any other *{INTERACTIONS}"
    raise LetterError(
        f"{folder}: no {name}{INTERACTIONS} here, {others}; check --dataset and --data-dir"
    )


def _in_any_case(path: Path) -> Path:
    """The file of this name, or one whose name differs in capital letters alone."""
    others = (one for one in sorted(path.parent.iterdir()) if one.name.lower() == path.name.lower())
    return path if path.exists() else next(others, path)


def _read_table(path: Path, of: str) -> dict[str, Any]:
    table = read_json(path)
    if not isinstance(table, dict) or not table:
        found = "an empty object" if table == {} else f"a {type(table).__name__}"
        raise LetterError(
            f"{path}: expected a JSON object {of}, found {found}; is it the right file?"
        )
    return table


def _read_interactions(path: Path) -> tuple[list[str], Sequences]:
    table = _read_table(path, '{"user": [item, ...], ...}')
    _check_users(path.name, table)
    return list(table), Sequences.from_lists(table.values())


def _check_users(where: str, table: dict[str, Any]) -> None:
    for user, items in table.items():
        if wrong := _fault(items):
            raise LetterError(f'{where}, user "{user}": {wrong}')


def _fault(items: Any) -> str | None:
    """What is wrong with one user's items, or None. (True is an int to Python, hence the exact
    type.)
    """
    if not isinstance(items, list):
        return f"expected a list of item ids, found {items!r:.40}"
    if not items:
        return "no items at all; leave this user out"
    for item in items:
        if type(item) is not int or not 0 <= item < 2**31:
            return f"{item!r:.40} is not an item id; ids are whole numbers from 0"
    if len(set(items)) != len(items):
        twice = next(item for k, item in enumerate(items) if item in items[:k])
        return f"item {twice} appears twice; keep one interaction of a user with an item"
    return None


def _count_without_gaps(sequences: Sequences, file: str) -> int:
    """The number of items of a release without item text: its ids must then be exactly those that
    occur.
    """
    n_items = int(sequences.values.max()) + 1
    seen = np.zeros(n_items, dtype=bool)
    seen[sequences.values] = True
    if not seen.all():
        raise LetterError(
            f"{file}: nobody has item {int(np.argmin(seen))}, though ids go up to {n_items - 1}; "
            f"number the items without gaps, or put {file.removesuffix(INTERACTIONS)}{ITEMS} beside it"
        )
    return n_items


def _require_known(
    sequences: Sequences, labels: list[str], inter: str, item_file: str, n_items: int
) -> None:
    outside = np.flatnonzero(sequences.values >= n_items)
    if len(outside):
        user = labels[int(np.searchsorted(sequences.offsets, outside[0], side="right")) - 1]
        raise LetterError(
            f'{inter}, user "{user}": item {sequences.values[outside[0]]} is not in {item_file} '
            f"({n_items:,} items, ids 0-{n_items - 1})"
        )


def _read_items(path: Path) -> tuple[pd.DataFrame, list[str]]:
    table = _read_table(path, '{"item": {"title": ...}, ...}')
    missing = next((i for i in range(len(table)) if str(i) not in table), None)
    if missing is not None:
        strange = next(key for key in table if not _is_id(key, len(table)))
        raise LetterError(
            f'{path.name}: {len(table):,} items must have the ids 0-{len(table) - 1}, but "{missing}" is missing '
            f'and "{strange}" is there'
        )
    entries = [table[str(i)] for i in range(len(table))]
    rows = [_row(path.name, i, entry) for i, entry in enumerate(entries)]
    labels = [str(entry["id"]) for entry in entries if isinstance(entry.get("id"), str | int)]
    return pd.DataFrame(rows).fillna({"genres": ""}), labels if len(labels) == len(entries) else []


def _is_id(key: str, n_items: int) -> bool:
    return key.isdecimal() and key == str(int(key)) and int(key) < n_items


def _row(file: str, item: int, entry: Any) -> dict[str, str]:
    """One row of `Dataset.items`.

    Released files have a few items with an empty title (Beauty has one): people see "item 10204",
    and the encoder gets what there is, which may be nothing.
    """
    if not isinstance(entry, dict) or "title" not in entry:
        raise LetterError(f'{file}, item "{item}": expected {{"title": ...}}, found {entry!r:.60}')
    title, description = (_words(file, item, entry, field) for field in ("title", "description"))
    row = {"title": title or f"item {item}", "text": text_of(title, description)}
    if "categories" in entry:
        labels = entry["categories"] or ""  # null, as it may stand for a title or a description
        labels = labels.split(",") if isinstance(labels, str) else labels
        if not isinstance(labels, list) or not all(isinstance(one, str) for one in labels):
            raise LetterError(
                f'{file}, item "{item}": categories must be text or a list, found {labels!r:.60}'
            )
        labels = map(whole_letters, labels)
        row["genres"] = genres_of(one.replace("|", "/") for one in labels)
    return row


def _words(file: str, item: int, entry: dict[str, Any], field: str) -> str:
    """A text field, stripped; Amazon's metadata gives some descriptions as lists of paragraphs,
    some as null.
    """
    value = entry.get(field) or ""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        value = " ".join(value)
    if not isinstance(value, str):
        raise LetterError(f'{file}, item "{item}": its {field} must be text, found {value!r:.60}')
    return whole_letters(value).strip()


def _entry(name: str, item: int, row: dict[str, str]) -> dict[str, Any]:
    """The entry of `<Name>.item.json` that `_row` turns back into `row`."""
    row = {key: row[key].strip() for key in ("title", "text", "genres") if key in row}
    if "genres" in row:
        row["genres"] = genres_of(row["genres"].split("|"))
    untitled, called = not row["title"], f"item {item}"
    row["title"] = row["title"] or called
    title, text = row["title"], row["text"]
    if untitled or (title == called and text != title and not text.startswith(f"{title}. ")):
        title = ""
    entry: dict[str, Any] = {"title": title}
    if text != title:
        entry["description"] = text.removeprefix(title + ". ") if title else text
    if "genres" in row:
        entry["categories"] = (
            row["genres"].split("|") if "," in row["genres"] else row["genres"].replace("|", ",")
        )
    if _row(name, item, entry) != row:
        raise LetterError(
            f'{name}, item {item}: its text is not its title, then ". " and a description, '
            f"and the released format holds nothing else ({text!r:.60})"
        )
    return entry
