"""Recommendations for the users of a data set, by the data's own ids: `letterlib recommend`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from letterlib.data.dataset import NO_ITEM, Cases, Dataset
from letterlib.errors import LetterError, did_you_mean
from letterlib.evaluation.ranking import Ranking
from letterlib.pipeline.pipeline import Pipeline
from letterlib.store import atomic_write, digest, read_json, write_json

JOB = "lists.json"
"""What the lists of a folder were made from."""


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
        rows = _rows(data, users)
        labels, cases = _labels(data, rows), _cases(data, rows)
    pipeline.check_systems([system])
    ranking = pipeline.system(system).recommend(cases, k, exclude_history=not again)
    return _table(data, labels, ranking)


def recommend_in_shards(
    pipeline: Pipeline,
    system: str,
    folder: str | Path,
    users: Sequence[str] = (),
    k: int = 10,
    again: bool = False,
    shard: int = 10_000,
) -> list[Path]:
    """Write what `recommend` returns as Parquet files of `shard` users each, in the users' order.

    folder: a new one, or that of an interrupted job, of which finished files are kept.
    users, k, again: as for `recommend`.
    Returns the files. Raises LetterError if the folder holds something else than this job.
    """
    data, folder = pipeline.dataset, Path(folder)
    rows = _rows(data, users)
    pipeline.check_systems([system])
    job = {
        "system": system,
        "key": pipeline.key(system),
        "users": digest(_labels(data, rows)),
        "k": k,
        "again": again,
        "shard": shard,
    }
    if not (folder / JOB).exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise LetterError(f"{folder}: holds something else; choose a new folder")
        write_json(folder / JOB, job)
    found = read_json(folder / JOB)
    if found != job:
        other = ", ".join(name for name in job if found.get(name) != job[name])
        raise LetterError(f"{folder}: holds lists with another {other}; choose a new folder")
    parts = [rows[start : start + shard] for start in range(0, len(rows), shard)]
    files = [folder / f"part-{number:05d}.parquet" for number in range(len(parts))]
    missing = [place for place, file in enumerate(files) if not file.exists()]
    pipeline.cache.say(f"{folder}: {len(missing):,} of {len(files):,} files to make")
    recommender = pipeline.system(system) if missing else None
    for place in missing:
        ranking = recommender.recommend(_cases(data, parts[place]), k, exclude_history=not again)
        with atomic_write(files[place]) as temporary:
            _table(data, _labels(data, parts[place]), ranking).to_parquet(temporary, index=False)
    return files


def _cases(data: Dataset, rows: np.ndarray) -> Cases:
    """Whole histories of the users in these rows."""
    starts, ends = data.sequences.offsets[:-1][rows], data.sequences.offsets[1:][rows]
    return Cases(rows, data.sequences.values, starts, ends)


def _labels(data: Dataset, rows: np.ndarray) -> list[str]:
    return [data.user_labels[row] for row in rows]


def _table(data: Dataset, labels: Sequence[str], ranking: Ranking) -> pd.DataFrame:
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


def _rows(data: Dataset, users: Sequence[str]) -> np.ndarray:
    """The numbers of users; all if none is named."""
    labels = list(data.user_labels)
    if not users:
        return np.arange(len(labels))
    number = {label: row for row, label in enumerate(labels)}
    for user in users:
        if user not in number:
            guess = did_you_mean(user, labels)
            raise LetterError(
                f'{data.name}: no user "{user}"; {guess}there are {len(labels):,}, '
                f'such as "{labels[0]}"'
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
