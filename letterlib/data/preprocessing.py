"""From a table of interactions to a `Dataset`: k-core, order, numbering. Pure functions on pandas
tables.
"""

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype, is_string_dtype

from letterlib.data.dataset import Dataset, Sequences
from letterlib.errors import LetterError


def k_core(interactions: pd.DataFrame, k: int) -> pd.DataFrame:
    """Drop users and items with fewer than `k` rows, again and again, until none is left to drop.

    The result is the largest sub-table in which everybody has `k` rows; it does not depend on the
    order of dropping. It may be empty.

    interactions: columns `user` and `item` (others are kept), one row per interaction. A row
    without a user or
        item is a LetterError.
    """
    interactions = _require(interactions, ("user", "item"))
    users, n_users = _numbered(interactions["user"])
    items, n_items = _numbered(interactions["item"])
    kept = np.arange(len(interactions))
    while len(kept):
        by_user = np.bincount(users[kept], minlength=n_users)
        by_item = np.bincount(items[kept], minlength=n_items)
        enough = (by_user[users[kept]] >= k) & (by_item[items[kept]] >= k)
        if enough.all():
            break
        kept = kept[enough]
    return interactions.iloc[kept]


def _require(interactions: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """The interactions, with ids that sort by themselves: categories would sort in an order of
    their own.
    """
    for column in columns:
        if column not in interactions:
            raise LetterError(
                f"the interactions have no column {column}, but {', '.join(map(str, interactions))}"
            )
        missing = interactions[column].isna()
        if (
            isinstance(kind := interactions[column].dtype, pd.CategoricalDtype)
            and not missing.any()
        ):
            interactions = interactions.astype({column: kind.categories.dtype})
        if is_string_dtype(interactions[column]) or interactions[column].dtype == object:
            missing |= (
                interactions[column].astype(str).str.strip() == ""
            )  # what reads "" as text makes one user of all
        if missing.any():
            raise LetterError(
                f"{int(missing.sum())} of {len(missing)} interactions have no {column}; leave them out"
            )
        if (
            column != "time"
            and len({isinstance(one, str) for one in interactions[column].unique()}) > 1
        ):
            raise LetterError(
                f"the {column}s mix numbers and text, which cannot be sorted; read them with dtype=str"
            )
    return interactions


def _numbered(column: pd.Series) -> tuple[np.ndarray, int]:
    codes, values = pd.factorize(column)
    return codes, len(values)


def build_dataset(
    name: str, interactions: pd.DataFrame, items: pd.DataFrame, source: str
) -> Dataset:
    """Number users and items from 0 in the order of their ids, and put each user's items in order.

    interactions: columns `user`, `item`, `time`, a number or a date. Rows of one user are ordered
    by time; rows of
        the same time, by item id, a rule as arbitrary as any other, but the same in every run.
    items: index = item id, columns `title`, `text`, ... of `Dataset.items`. Items without an
    interaction are left
        out. LetterError for one with interactions that is not there, for one that is there twice,
        which would put other items' titles beside its own, for a time or a title that is no such
        thing, and where there is nothing at all.
    """
    if not len(interactions):
        raise LetterError(
            f"{name}: no interactions; is nothing left of the k-core? A smaller k leaves more"
        )
    interactions = _require(interactions, ("user", "item", "time"))
    time = interactions["time"]
    if not (
        is_numeric_dtype(time)
        or is_datetime64_any_dtype(time)
        or is_string_dtype(time)
        or time.dtype == object
    ):
        raise LetterError(
            f"{name}: the times are {time.dtype}; make numbers of them, or dates (pandas.to_datetime)"
        )
    if not (is_numeric_dtype(time) or is_datetime64_any_dtype(time)):
        odd = np.flatnonzero(pd.to_numeric(time, errors="coerce").isna())
        place = odd[0] if len(odd) else 0
        raise LetterError(
            f"{name}: the times are text or other objects, and would be sorted letter by letter; make numbers of them, "
            f"or dates with pandas.to_datetime ({len(odd):,} of {len(time):,} are no numbers; interaction {place + 1:,}"
            f" has {time.iloc[place]!r:.40})"
        )
    if len(twice := items.index[items.index.duplicated()].unique()):
        raise LetterError(
            f'{name}: item "{twice[0]}" is there twice ({len(twice):,} such items); keep one row of each'
        )
    ordered = interactions.sort_values(["user", "time", "item"], kind="stable")
    ids = np.unique(ordered["item"])
    if (
        foreign := ~pd.Index(ids).isin(items.index)
    ).any():  # np.isin compares text with all of the other
        raise LetterError(
            f'{name}: item "{ids[foreign][0]}" has interactions and no row among the items ({foreign.sum():,} such '
            "items); add their rows, or leave out their interactions"
        )
    users, counts = np.unique(ordered["user"], return_counts=True)
    values = np.searchsorted(ids, ordered["item"]).astype(np.int64)
    table = items.loc[ids].reset_index(drop=True)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    for column in table.columns.intersection(["title", "text", "genres"]):
        if other := [i for i, value in enumerate(table[column]) if not isinstance(value, str)]:
            raise LetterError(
                f'{name}, item "{ids[other[0]]}": its {column} must be text, found {table[column][other[0]]!r:.40}; '
                'where there is none, "" (pandas.read_csv with keep_default_na=False reads it so)'
            )
    return Dataset(
        name, Sequences(values, offsets), table, source, list(map(str, users)), list(map(str, ids))
    )
