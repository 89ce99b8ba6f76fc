"""Two tables of a user's own, interactions and items, to a data set: `letterlib data import`."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from pandas.errors import ParserWarning

from letterlib.data.dataset import (
    PARTS,
    Dataset,
    build_dataset,
    genres_of,
    k_core,
    text_of,
    with_parts,
)
from letterlib.errors import LetterError
from letterlib.store import load_table

COLUMNS = ("user", "item", "time", "split", "title", "description", "genres")

MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>", r"\N")
"""How tools write that there is none: R has NA, pandas nan, a database \\N."""


def read_own_tables(
    name: str,
    interactions: Path,
    items: Path,
    k: int = 5,
    repeats: str = "keep",
    names: Mapping[str, str] | None = None,
    cuts: tuple[str, str] | None = None,
) -> tuple[Dataset, list[str]]:
    """A data set from two files, and lines that report what became of their rows.

    Both files are Parquet, or CSV in UTF-8, tab-separated where the name says .tsv, perhaps
    compressed. Ids
    are text: 007 is not 7; spaces around them do not count. LetterError names the file, the row and
    the column at fault.

    interactions: columns `user`, `item` and `time`, numbers or dates (ISO 8601). Users and items
        with fewer than `k` rows are left out.
    items: columns `item` and `title`, and where there are any `description` and `genres` (separated
        by "|").
    repeats: "drop" keeps only the first of several rows of a user with an item.
    names: what columns are called in the files, such as {"user": "customer_id"}. With "split" in
        it, that column says of each interaction whether it is train, valid or test.
    cuts: times from which on interactions are validation, and test, as the files write times: a
        temporal split, the same for all users.
    """
    if repeats not in ("keep", "drop"):
        raise LetterError(f'repeats="{repeats}": choose keep or drop')
    if unknown := {*(names or {})} - {*COLUMNS}:
        raise LetterError(f"--column {unknown.pop()}=...: choose one of {', '.join(COLUMNS)}")
    if cuts and "split" in (names or {}):
        raise LetterError("--valid-from and --test-from: a column gives the split; leave out one")
    own = ["split"] * ("split" in (names or {}))
    rows = read_columns(interactions, ("user", "item", "time", *own), names or {})
    table = read_columns(items, ("item", "title"), names or {})
    for column in ("user", "item"):
        _refuse(interactions, rows, column, rows[column].isin(MISSING), "leave such rows out")
    if own:
        wrong = ~rows["split"].isin(PARTS)
        _refuse(interactions, rows, "split", wrong, "write train, valid or test")
    rows["time"] = _times(rows["time"], interactions)
    if cuts:
        valid, test = _cuts(cuts, rows["time"])
        after = (rows["time"] >= valid).astype(int) + (rows["time"] >= test)
        rows["split"] = np.array(PARTS)[after]
    _refuse(items, table, "item", table.duplicated("item"), "keep one row of each item")
    # A stable sort: of two rows of the same time the first in the file is kept.
    ordered = rows.sort_values("time", kind="stable")
    once = ordered.drop_duplicates(["user", "item"])
    used = once if repeats == "drop" else ordered
    core = k_core(used, k)
    if not len(core):
        raise LetterError(f"{interactions}: nothing is left of the {k}-core; try a smaller --k")
    ties = int(core.duplicated(["user", "time"], keep=False).sum())
    first, last, n_core, held = core["time"].min(), core["time"].max(), core["user"].nunique(), None
    if "split" in core:
        core, held = with_parts(core.drop(columns="split"), core["split"])
        if not len(core) or not held[:, 1].any():
            raise LetterError(f"{interactions}: no user has both training and test interactions")
    kept = table["item"].isin(core["item"].unique())
    if not kept.any():
        raise LetterError(
            f'{items}: none of its items, such as "{table["item"].iloc[0]}", is in {interactions}, '
            f'which has "{core["item"].iloc[0]}"'
        )
    untitled = kept & (table["title"] == "")
    if untitled.sum() == kept.sum():
        _refuse(items, table, "title", untitled, "no item has a title; there is nothing to read")
    texts = table.set_index("item").assign(text=table["title"].to_numpy())
    if "description" in texts:
        texts["text"] = list(map(text_of, texts["title"], texts.pop("description")))
    if "genres" in texts:
        texts["genres"] = texts["genres"].str.split("|").map(genres_of)
    source = (
        f"{interactions.name} and {items.name}: "
        f"{'the first interaction of a user with an item, ' * (repeats == 'drop')}{k}-core"
    )
    try:
        dataset = build_dataset(name, core, texts, source)
    except LetterError as error:
        raise LetterError(f"{items}: {error}") from error
    users, products = rows["user"].nunique(), rows["item"].nunique()
    lines = []
    if held is not None:
        dataset = replace(dataset, held=held)
        lines = [
            f"split: {held[:, 0].sum():,} interactions are validation and {held[:, 1].sum():,} "
            f"test; {n_core - dataset.n_users:,} users have none in training, and were left out"
        ]
    return dataset, [
        f"{len(rows):,} interactions of {users:,} users with {products:,} items were read",
        f"{len(rows) - len(once):,} repeated an earlier one of the same user and item, and were "
        f"{'left out' if repeats == 'drop' else 'kept'}",
        f"{k}-core: {users - dataset.n_users:,} users and {products - dataset.n_items:,} items had "
        f"too few, and were left out with {len(used) - len(core):,} interactions",
        f"{dataset.n_interactions:,} interactions of {dataset.n_users:,} users with "
        f"{dataset.n_items:,} items are left",
        f"{ties:,} of them share user and time with another; these are in random order",
        f"times are from {first} to {last}",
        *lines,
        f"items without a title: {int(untitled.sum()):,}",
    ]


def read_columns(
    path: Path, columns: tuple[str, ...], names: Mapping[str, str] = MappingProxyType({})
) -> pd.DataFrame:
    """A CSV, TSV or Parquet file as text. It must have `columns`, perhaps under other names."""
    if path.suffix.lower() == ".parquet":
        table = load_table(path)[0].to_pandas()
        return _checked(path, table, columns, names, "columns")
    compressed = path.suffix.lower() in (".gz", ".bz2", ".xz", ".zip", ".zst")
    tabs = (path.with_suffix("") if compressed else path).suffix.lower() in (".tsv", ".tab")
    # As objects: where every line ends in an empty field, pandas 3 reports lost data for `str`.
    options = dict(dtype=object, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    try:
        with warnings.catch_warnings(action="error", category=ParserWarning):
            table = pd.read_csv(path, sep="\t" if tabs else ",", **options).infer_objects()
            # As the file writes them: pandas calls the second of two columns "time" "time.1".
            options |= dict(header=None, nrows=1)
            table.columns = pd.read_csv(path, sep="\t" if tabs else ",", **options).loc[0]
    except (OSError, EOFError, ValueError, ParserWarning) as error:
        raise LetterError(f"{path}: cannot be read as a table ({error})".strip()) from error
    return _checked(path, table, columns, names, "tabs" if tabs else "commas")


def _is_missing(value: Any) -> bool:
    return pd.api.types.is_scalar(value) and bool(pd.isna(value))


def _as_text(value: Any) -> str:
    """A cell of a Parquet file: times in ISO 8601, lists separated by "|", "" for none."""
    if isinstance(value, list | tuple | np.ndarray):
        return "|".join(map(str, value))
    if _is_missing(value):
        return ""
    if isinstance(value, pd.Timestamp | date):
        return value.isoformat()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _checked(
    path: Path,
    table: pd.DataFrame,
    columns: tuple[str, ...],
    names: Mapping[str, str],
    separator: str,
) -> pd.DataFrame:
    """The columns that are used, under our names and stripped; LetterError without one of them."""
    table.columns = table.columns.astype(str).str.strip()
    wanted = {*COLUMNS, *names.values()}
    if len(twice := table.columns[table.columns.duplicated() & table.columns.isin(wanted)]):
        raise LetterError(f"{path}: two columns are called {twice[0]}; rename one, or remove it")
    own = {names[column]: column for column in names if names[column] in table}
    table = table.drop(columns=[c for c in own.values() if c in table and c not in own])
    table = table.rename(columns=own)
    if missing := [column for column in columns if column not in table]:
        raise LetterError(
            f"{path}: no column {missing[0]}; it has {', '.join(table)}, separated by {separator}; "
            "name yours with --column NAME=COLUMN"
        )
    if not len(table):
        raise LetterError(f"{path}: has no rows below its first line")
    table = table[[*columns, *table.columns.intersection(["description", "genres"])]]
    if path.suffix.lower() == ".parquet":
        if "title" in table:
            other = [not isinstance(t, str) and not _is_missing(t) for t in table["title"]]
            _refuse(path, table, "title", pd.Series(other), "write titles as text")
        table = table.map(_as_text).astype(object)
    table = table.apply(lambda column: column.fillna("").str.strip())
    # A quotation mark that begins a field opens it until the next mark, perhaps rows later.
    for column in table.columns.intersection(
        ["user", "item", "time", *["title"] * (separator == "tabs")]
    ):
        broken = table[column].str.contains(r"[\t\r\n]")
        _refuse(path, table, column, broken, "is a quotation mark missing, or one too many?")
    return table


def _refuse(path: Path, table: pd.DataFrame, column: str, bad: pd.Series, advice: str) -> None:
    """LetterError that names the first bad row, counted as a reader counts rows, if any."""
    if len(rows := np.flatnonzero(bad)):
        raise LetterError(
            f'{path}, data row {rows[0] + 1}: {column} is "{str(table[column].iloc[rows[0]]):.40}" '
            f"({len(rows):,} such rows); {advice}"
        )


def _cuts(cuts: tuple[str, str], times: pd.Series) -> list[Any]:
    """Both cuts as the times are: numbers, or dates in UTC."""
    dates = isinstance(times.dtype, pd.DatetimeTZDtype)
    try:
        found = [pd.to_datetime(cut, utc=True) if dates else float(cut) for cut in cuts]
    except ValueError as error:
        kind = "dates, such as 2024-03-31" if dates else "numbers"
        raise LetterError(f"--valid-from, --test-from: times are {kind} ({error})") from error
    if not found[0] < found[1]:
        raise LetterError(f"--valid-from {cuts[0]} must be before --test-from {cuts[1]}")
    return found


def _times(written: pd.Series, path: Path) -> pd.Series:
    """Times as numbers, or as dates in UTC; all of one kind."""
    numbers = pd.to_numeric(written, errors="coerce")
    if np.isfinite(numbers).all():
        return numbers
    dates = pd.to_datetime(written, errors="coerce", format="ISO8601", utc=True)
    wrong = ~np.isfinite(numbers) if numbers.count() > dates.count() else dates.isna()
    advice = "write all times as numbers, or all as dates such as 2024-03-31 or 2024-03-31T18:20:00"
    _refuse(path, written.to_frame("time"), "time", wrong, advice)
    return dates
