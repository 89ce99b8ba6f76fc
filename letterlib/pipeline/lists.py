"""Recommendations for the users of a data set, by the data's own ids: `letterlib recommend`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from letterlib.data.dataset import NO_ITEM, Cases
from letterlib.errors import LetterError, did_you_mean
from letterlib.pipeline.pipeline import Pipeline
from letterlib.store import atomic_write


def recommend(
    pipeline: Pipeline,
    system: str,
    users: Sequence[str] = (),
    liked: Sequence[str] = (),
    k: int = 10,
    again: bool = False,
) -> pd.DataFrame:
    """The k best items for each user after all that the user has, a row an item.

    users: labels of the data; all users if empty.
    liked: titles of a newcomer's items, oldest first, in place of users; the user is then "".
    again: rank items of the history as well.
    Returns columns user, rank (from 1), item, title, score. An item without a label of its own has
    its number. Raises LetterError for an unknown user or title.
    """
    data = pipeline.dataset
    if liked:
        labels, cases = [""], Cases.from_histories([data.find_items(liked)])
    else:
        rows = _rows(data.name, list(data.user_labels), users)
        labels = [data.user_labels[row] for row in rows]
        starts, ends = data.sequences.offsets[:-1][rows], data.sequences.offsets[1:][rows]
        cases = Cases(rows, data.sequences.values, starts, ends)
    pipeline.check_systems([system])
    ranking = pipeline.system(system).recommend(cases, k, exclude_history=not again)
    case, place = np.nonzero(ranking.items != NO_ITEM)
    items = ranking.items[case, place]
    names = np.array(data.item_labels or range(data.n_items), dtype=str)
    return pd.DataFrame(
        {
            "user": np.array(labels, dtype=object)[case],
            "rank": place + 1,
            "item": names[items],
            "title": np.array(data.titles(), dtype=object)[items],
            "score": ranking.scores[case, place],
        }
    )


def _rows(name: str, labels: list[str], users: Sequence[str]) -> np.ndarray:
    """The numbers of users; all if none is named."""
    if not users:
        return np.arange(len(labels))
    number = {label: row for row, label in enumerate(labels)}
    for user in users:
        if user not in number:
            guess = did_you_mean(user, labels)
            raise LetterError(
                f'{name}: no user "{user}"; {guess}there are {len(labels):,}, such as "{labels[0]}"'
            )
    return np.array([number[user] for user in users])


def write_lists(lists: Callable[[], pd.DataFrame], path: Path) -> None:
    """Make a table and write it to a new .csv or .parquet file; the path is checked first."""
    if path.suffix not in (".csv", ".parquet"):
        raise LetterError(f"{path}: choose a name that ends in .csv or .parquet")
    if path.exists():
        raise LetterError(f"{path}: is there already; choose another name, or move it away")
    table = lists()
    with atomic_write(path) as temporary:
        if path.suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)
