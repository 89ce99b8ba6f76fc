"""Where data comes from: one schema (`dataset`), one file per source, `load_dataset` for all."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from letterlib.data.amazon import amazon_source
from letterlib.data.dataset import Dataset
from letterlib.data.groceries import load_complete_journey
from letterlib.data.movielens import load_movielens
from letterlib.data.raw import RawSource, compare_with_paper, load_raw
from letterlib.data.released import load_released, released_identifiers
from letterlib.data.yelp import YELP
from letterlib.errors import LetterError, did_you_mean
from letterlib.store import expanded

Repeats = Literal["keep", "drop"]

SAME_AS = {
    "beauty": "amazon-2014-beauty",
    "instruments": "amazon-2018-musical-instruments",
    "yelp": "yelp",
}
"""A released data set, and what the same is called when it is made from raw files."""

DATASETS = {"movielens": 5, "complete-journey": 5, "beauty": 1, "instruments": 1}
"""The data sets that have a name here: items that a user gives to test, and as many to validation.
"""

PACKAGED = {"movielens": load_movielens, "complete-journey": load_complete_journey}


def load_dataset(
    name: str,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    repeats: Repeats = "keep",
) -> Dataset:
    """Load a data set by name.

    name: one of DATASETS; amazon-<year>-<category> or yelp, made from raw files; or with `data_dir`
        any name for the one released data set in that folder.
    data_dir: folder with <Name>.inter.json, or with raw files. "movielens" and "complete-journey"
        come with the installation and need none.
    cache_dir: where all but released files are kept as Parquet; $LETTERLIB_CACHE/data, else
        runs/data.
    repeats: "drop" leaves only the first of a user's interactions with an item.
    """
    if repeats not in get_args(Repeats):
        raise LetterError(f'repeats="{repeats}": choose keep or drop')
    dataset = _load(name, data_dir, cache_dir)
    return dataset.first_visits() if repeats == "drop" else dataset


def _load(name: str, data_dir: str | Path | None, cache_dir: str | Path | None) -> Dataset:
    kept = expanded(cache_dir or Path(os.environ.get("LETTERLIB_CACHE", "runs")) / "data")
    data_dir = data_dir and expanded(data_dir)
    if is_raw(name, data_dir):
        source = raw_source(name)
        if data_dir is None:
            raise LetterError(
                f"no folder for data set {name!r}: letterlib data fetch {name} puts its raw files "
                f"into data/{name}; name another folder with --data-dir"
            )
        return load_raw(name, source, data_dir, kept)
    if data_dir is not None:
        return replace(load_released(data_dir, _file_name(name, data_dir)), name=name)
    if name in PACKAGED:
        return PACKAGED[name](kept)
    folders = Path("data").iterdir() if Path("data").is_dir() else []
    known = [*DATASETS, *SAME_AS.values(), *(f.name for f in folders if f.is_dir())]
    guess = did_you_mean(name, known)
    raise LetterError(
        f"no folder for data set {name!r}; {guess}{' and '.join(PACKAGED)} come with the "
        "installation; a released one, such as beauty or instruments, needs its folder in "
        "--data-dir; "
        "amazon-<year>-<category> and yelp are made from raw files (letterlib data fetch --help), "
        "and others from two tables of your own (letterlib data import --help)"
    )


def identifiers_file(name: str, data_dir: str | Path | None) -> Path | None:
    """The identifiers that were released with a data set; None where there are none."""
    if data_dir is None or is_raw(name, data_dir):
        return None
    path = released_identifiers(data_dir, _file_name(name, data_dir))
    return path if path.exists() else None


def is_raw(name: str, data_dir: str | Path | None) -> bool:
    """Whether the name asks for raw files: Amazon's and Yelp's do, unless the folder holds a
    released data set of that name.
    """
    files = [] if data_dir is None else Path(data_dir).glob("*.inter.json")
    released = any(file.name.lower() == f"{name.lower()}.inter.json" for file in files)
    return (name == "yelp" or name.startswith("amazon-")) and not released


def raw_source(name: str) -> RawSource:
    """What the raw files of a data set are called and how they are read."""
    if name in DATASETS:
        where = "comes with the installation" if name in PACKAGED else "is a release of files"
        raise LetterError(f"{name} {where}: there is nothing to fetch; data/README.md says more")
    return YELP if name == "yelp" else amazon_source(name)


def paper_counts(dataset: Dataset, data_dir: str | Path | None) -> str:
    """Counts of a released data set, or of one from raw files, next to those of LETTER's paper.

    Empty for data sets that are neither.
    """
    if is_raw(dataset.name, data_dir):
        return compare_with_paper(dataset, raw_source(dataset.name))
    if raw_name := SAME_AS.get(dataset.name):
        return compare_with_paper(dataset, replace(raw_source(raw_name), caution=""))
    return ""


def _file_name(name: str, data_dir: Path) -> str | None:
    """What <Name> in the released files has to be; None where the folder's one data set may be
    called anything.
    """
    several = len(list(Path(data_dir).glob("*.inter.json"))) > 1
    return name if name in DATASETS or several or is_raw(name, None) else None
