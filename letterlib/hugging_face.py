"""Data sets and ranked lists to and from Hugging Face's `datasets`, and so the hub.

for name, table in to_datasets(films).items():
    table.push_to_hub("me/films", name)
load = datasets.load_dataset
tables = {name: load("me/films", name, split="train") for name in ("users", "items")}
films = from_datasets(tables, "films")
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from letterlib.data.dataset import Dataset, Sequences
from letterlib.errors import LetterError, optional
from letterlib.evaluation.ranking import Ranking

if TYPE_CHECKING:
    import datasets


def to_datasets(dataset: Dataset) -> "datasets.DatasetDict":
    """Two tables: `users` (user, items: ids in order of time) and `items` (row i is item i).

    The data set's source is in the description of both.
    """
    with optional("hub"):
        import datasets

    users = {
        "user": [str(label) for label in dataset.user_labels],
        "items": [dataset.sequences[user].tolist() for user in range(dataset.n_users)],
    }
    items = dataset.items.copy()
    items.insert(0, "item", dataset.item_labels or [str(i) for i in range(dataset.n_items)])
    tables = {"users": pd.DataFrame(users), "items": items}
    info = datasets.DatasetInfo(description=dataset.source)
    return datasets.DatasetDict(
        {
            name: datasets.Dataset.from_pandas(table, info=info, preserve_index=False)
            for name, table in tables.items()
        }
    )


def from_datasets(tables: "Mapping[str, datasets.Dataset]", name: str) -> Dataset:
    """What `to_datasets` made. Raises LetterError for tables or columns that are missing."""
    for table, columns in (("users", {"user", "items"}), ("items", {"item"})):
        if table not in tables or columns - set(tables[table].column_names):
            raise LetterError(
                f"{name}: expected a table `users` (user, items) and a table `items` (item, title, "
                f"text); {table} is missing or has other columns"
            )
    users, items = tables["users"], tables["items"].to_pandas()
    labels = items.pop("item").tolist()
    return Dataset(
        name,
        Sequences.from_lists([np.asarray(row, dtype=np.int64) for row in users["items"]]),
        items,
        tables["users"].info.description or "datasets of Hugging Face",
        list(users["user"]),
        labels,
    )


def lists_to_table(ranking: Ranking, users: Sequence[str]) -> "datasets.Dataset":
    """A row for each case: user, and its list as items, scores and valid.

    users: a label for each case.
    """
    with optional("hub"):
        import datasets

    if len(users) != len(ranking):
        raise LetterError(f"{len(users):,} labels of users for {len(ranking):,} lists")
    columns = {name: list(getattr(ranking, name)) for name in ("items", "scores", "valid")}
    return datasets.Dataset.from_dict({"user": [str(user) for user in users], **columns})


def lists_from_table(table: "datasets.Dataset") -> Ranking:
    """What `lists_to_table` made."""
    kinds = {"items": np.int64, "scores": np.float32, "valid": bool}
    return Ranking(*(np.array(table[name][:], dtype=kind) for name, kind in kinds.items()))
