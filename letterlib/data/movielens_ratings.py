"""What MovieLens's users thought of the films: the stars beside each interaction, which the data
set leaves out.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from letterlib.data.dataset import Dataset
from letterlib.data.movielens import PREPARATION, read_ratings
from letterlib.data.preprocessing import k_core
from letterlib.errors import LetterError
from letterlib.store import atomic_write, digest, expanded


def load_ratings(films: Dataset, cache_dir: Path) -> np.ndarray:
    """Stars, 0.5 to 5 in steps of a half: float32 [n_interactions], in the order of
    `films.sequences.values`.

    films: MovieLens as `load_movielens` gives it. cache_dir: where the stars are kept as Parquet,
    so that the package's file is opened once.
    """
    path = expanded(cache_dir) / f"movielens-{PREPARATION}.ratings.parquet"
    try:
        kept = pq.read_table(path)
        table = kept.to_pandas()
        whole = kept.schema.metadata[b"content"].decode() == _content(table)
    except (
        OSError,
        pa.ArrowException,
        KeyError,
        TypeError,
        ValueError,
    ):  # TypeError: there are no metadata
        whole = False
    if not whole:
        table = aligned(read_ratings())
        kept = pa.table(
            {name: table[name].to_numpy() for name in table}, metadata={"content": _content(table)}
        )
        with atomic_write(path) as temporary:
            pq.write_table(kept, temporary)
    if not np.array_equal(table["item"], films.sequences.values):
        raise LetterError(
            f"{films.name}: its interactions are not those of MovieLens as it is prepared here, so its stars are not "
            "known; give the data set that load_dataset returns"
        )
    return table["stars"].to_numpy()


def _content(table: pd.DataFrame) -> str:
    return digest(table["item"].to_numpy(), table["stars"].to_numpy())


def aligned(ratings: pd.DataFrame) -> pd.DataFrame:
    """One row per interaction, in the order in which `movielens.prepare` numbers and sorts: `item`,
    `stars`.
    """
    ratings = ratings.dropna(subset="title")
    kept = k_core(ratings.rename(columns={"userId": "user", "movieId": "item"}), 5)
    kept = kept.sort_values(["user", "timestamp", "item"], kind="stable")
    items = np.searchsorted(np.unique(kept["item"]), kept["item"]).astype(np.int64)
    return pd.DataFrame({"item": items, "stars": kept["rating"].to_numpy(np.float32)})
