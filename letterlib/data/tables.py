"""Two tables of one's own, interactions and items, to a data set: what `letterlib data import`
does.
"""

import warnings
import zlib
from lzma import LZMAError
from pathlib import Path
from tarfile import TarError
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from pandas.errors import EmptyDataError, ParserError, ParserWarning

from letterlib.data.dataset import Dataset
from letterlib.data.preprocessing import build_dataset, k_core
from letterlib.data.raw_text import genres_of, text_of
from letterlib.errors import LetterError

MISSING = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>", r"\N")
"""How tools write that there is none: R has NA, pandas nan, a database \\N."""

SEPARATORS = "columns are separated by commas, or by tabs in a .tsv"


def read_own_tables(
    name: str, interactions: Path, items: Path, k: int = 5
) -> tuple[Dataset, list[str]]:
    """A data set from two files, and what became of their rows, a line each.

    interactions: columns `user`, `item` and `time`, numbers or dates (ISO 8601). Of several rows of
    a user with an
        item the first in time is kept; then users and items with fewer than `k` rows are left out,
        again and again.
    items: columns `item` and `title`, and where there are any `description` and `genres` (separated
    by "|"). Both are CSV in UTF-8, or tab-separated where the name says .tsv, perhaps compressed.
    Ids are text: 007 is not 7; but spaces around them do not count. Whatever is wrong is a
    LetterError that names the file.
    """
    rows, table = _read(interactions, ("user", "item", "time")), _read(items, ("item", "title"))
    for column in ("user", "item"):
        rows[column] = rows[column].str.strip()
        if len(without := np.flatnonzero(rows[column].isin(MISSING))):
            where = f"{interactions}, data row {without[0] + 1}"  # not a line: rows may take several, or be empty
            what = (
                f'the {column} is "{there}", as for a missing one'
                if (there := rows[column].iloc[without[0]])
                else f"no {column}"
            )
            raise LetterError(
                f"{where}: {what} ({len(without):,} such rows); leave them out, they are nobody's"
            )
    table["item"] = table["item"].str.strip()
    rows["time"] = _times(rows["time"], interactions)
    # A stable sort: of two rows of the same time the first in the file is kept.
    once = rows.sort_values("time", kind="stable").drop_duplicates(["user", "item"])
    core = k_core(once, k)
    if not len(core):
        raise LetterError(
            f"{interactions}: nothing is left of the {k}-core; a smaller --k leaves more"
        )
    table = table.set_index("item").rename_axis(None)
    known = table.index.isin(core["item"].unique())
    if not known.any():
        theirs, own = core["item"].iloc[0], table.index[0]
        raise LetterError(
            f'{items}: none of its items, such as "{own}", is in {interactions}, which has "{theirs}"'
        )
    if (untitled := table.loc[known, "title"].str.strip().eq("")).all():
        raise LetterError(f"{items}: no item has a title; there would be nothing to read")
    texts = _texts(
        table[[column for column in ("title", "description", "genres") if column in table]]
    )
    source = f"{interactions.name} and {items.name}: the first interaction of a user with an item, {k}-core"
    try:
        dataset = build_dataset(name, core, texts, source)
    except LetterError as error:  # the interactions have been looked at
        raise LetterError(f"{items}: {error}") from error
    users, products = rows["user"].nunique(), rows["item"].nunique()
    lines = [
        f"{len(rows):,} interactions of {users:,} users with {products:,} items were read",
        f"{len(rows) - len(once):,} repeated an earlier one of the same user and item, and were left out",
        f"{k}-core: {users - dataset.n_users:,} users and {products - dataset.n_items:,} items had too few, and were "
        f"left out with {len(once) - len(core):,} interactions",
        f"{dataset.n_interactions:,} interactions of {dataset.n_users:,} users with {dataset.n_items:,} items are left",
        f"{int(core.duplicated(['user', 'time'], keep=False).sum()):,} of them share user and time with another; such "
        "interactions are in the order of their item ids",
        f"times are from {core['time'].min()} to {core['time'].max()}",
    ]
    if untitled.any():
        lines.append(f"items without a title: {int(untitled.sum()):,}")
    return dataset, lines + _doubts(dataset, core["time"]) + _renumbered(dataset)


def _doubts(dataset: Dataset, times: pd.Series) -> list[str]:
    """What may be right and is most often a mistake, a line each."""
    lines, first, last = [], times.min(), times.max()
    if broken := [title for title in dataset.items["title"] if "\n" in title]:
        such = f"{len(broken):,} titles go over several lines, such as {broken[0]!r:.60}"
        lines.append(f"{such}: is a quotation mark missing?")
    # Not of dates; and as float, for an int64 of nanoseconds has no room for 300 times itself.
    if times.dtype.kind in "iuf" and float(last) > 300 * float(first) > 3e10:
        lines.append(
            f"the last time is over 300 times the first: are some, such as {first}, in seconds, others not?"
        )
    return lines


def _renumbered(dataset: Dataset) -> list[str]:
    """A line where ids look like our numbers and are others: lists and identifiers of other tools
    may bear those.
    """
    for what, labels in (("item", dataset.item_labels), ("user", dataset.user_labels)):
        for number, label in enumerate(labels):
            if label.isdecimal() and label != str(number):
                return [
                    f'numbers are given anew, in the order of ids as text: {what} {number} is your "{label}"'
                ]
    return []


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    plain = (
        path.with_suffix("")
        if path.suffix.lower() in (".gz", ".bz2", ".xz", ".zip", ".zst")
        else path
    )
    tabs = plain.suffix.lower() in (".tsv", ".tab")
    # Objects at first: where every line ends in an empty field, pandas 3 would report lost data for
    # `str`.
    as_written = dict(dtype=object, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    try:
        with warnings.catch_warnings(
            action="error", category=ParserWarning
        ):  # fields that no column is named for
            table = pd.read_csv(path, sep="\t" if tabs else ",", **as_written).infer_objects()
            table.columns = table.columns.str.strip()
    except FileNotFoundError as error:
        raise LetterError(f"{path}: no such file; check the path") from error
    except EmptyDataError as error:
        raise LetterError(
            f"{path}: is empty; the first line should name the columns {', '.join(columns)}"
        ) from error
    except UnicodeDecodeError as error:
        raise LetterError(
            f"{path}: is not text in UTF-8 (byte {error.start}); save it so"
        ) from error
    except (ParserError, ParserWarning, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        hint = f"; {SEPARATORS}" if "fields" in reason else ""
        hint = (
            "; a quotation mark that begins a field is not closed"
            if "inside string" in reason
            else hint
        )
        raise LetterError(f"{path}: cannot be read as a table ({reason}){hint}") from error
    except OSError as error:
        raise LetterError(
            f"{path}: cannot be read ({error.strerror or error}); check the file"
        ) from error
    except (EOFError, ImportError, zlib.error, LZMAError, BadZipFile, TarError) as error:
        what = "it ends in the middle, is damaged, or is not what its name says"
        raise LetterError(
            f"{path}: cannot be unpacked ({str(error).splitlines()[0]}); {what}"
        ) from error
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()][0]
        raise LetterError(f"{path}: two columns are called {twice}; leave one out, or rename it")
    for column in columns:
        if column not in table:
            found = ", ".join(map(str, table.columns))
            hint = f"; {SEPARATORS}" if len(table.columns) == 1 else ""
            raise LetterError(f"{path}: no column {column}; its first line names {found:.80}{hint}")
    if not len(table):
        raise LetterError(f"{path}: has no rows, only the names of columns")
    _check_marks(
        path, table, ("user", "item", "time", *(("title", "description", "genres") if tabs else ()))
    )
    return table


def _check_marks(path: Path, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    """A quotation mark that begins a field, as some titles and names do, opens it until the next
    mark, rows later.

    A field with a tab in it is taken for that, and a field of several lines, unless it is a
    description. In a CSV ids
    and times alone are looked at: a title of several lines may be meant so.
    """
    for column in table.columns.intersection(columns):
        odd = (
            table[column]
            .astype(str)
            .str.contains(r"\t" if column == "description" else r"[\t\r\n]")
        )
        if odd.any():
            raise LetterError(
                f"{path}, data row {int(np.argmax(odd)) + 1}: its {column} holds a tab or a line end. Does it begin "
                'with a quotation mark? Put it in such marks and double its own, """Heroes"" (1977)"; else in one line'
            )


def _times(written: pd.Series, path: Path) -> pd.Series:
    """Times as numbers, or as dates in UTC; all of one kind."""
    numbers = pd.to_numeric(written, errors="coerce")
    if np.isfinite(numbers).all():
        if (
            numbers.dtype.kind == "f" and numbers.abs().max() > 2**53
        ):  # where neighbours would become one
            raise LetterError(
                f"{path}: some times are above 2**53; such times must all be whole numbers below 2**63, without a point"
            )
        return numbers
    dates = pd.to_datetime(written, errors="coerce", format="ISO8601", utc=True)
    # Where none is a date, it is the numbers that have a hole.
    neither = dates.isna() | (
        numbers.notna() & ~written.str.strip().str.fullmatch(r"\d{8}")
    )  # 1999 is no date
    wrong = ~np.isfinite(numbers) if dates.isna().all() else neither
    if wrong.any():
        place = int(np.argmax(wrong))
        raise LetterError(
            f"{path}, data row {place + 1}: the time is {written.iloc[place]!r:.40} ({int(wrong.sum()):,} such rows); "
            "all times must be numbers, or all dates such as 2024-03-31 or 2024-03-31T18:20:00"
        )
    return dates


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    """`Dataset.items` of a table of titles and descriptions: the text is the title, then ". " and
    the description.
    """
    words = table.apply(lambda column: column.str.strip())
    if "genres" in words:
        words["genres"] = words["genres"].str.split("|").map(genres_of)
    if "description" not in words:
        return words.assign(text=words["title"])
    return words.assign(text=list(map(text_of, words["title"], words["description"]))).drop(
        columns="description"
    )
