"""Where data comes from: one schema (`dataset`), one file per source, `load_dataset` for all of them."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from letterlib.data.complete_journey import load_complete_journey
from letterlib.data.dataset import Dataset
from letterlib.data.movielens import load_movielens
from letterlib.data.released import load_released
from letterlib.errors import LetterError


@dataclass(frozen=True)
class KnownDataset:
    """A data set that has a name here.

    description: one line for lists. held_out: items a user gives to test, and as many to validation.
    """

    description: str
    held_out: int


DATASETS = {
    "movielens": KnownDataset("MovieLens latest-small 2016: 671 users, 3,496 films, 90,072 ratings", 5),
    "complete-journey": KnownDataset(
        "grocery purchases of 2017: 2,448 households, 3,039 kinds of product, 483,893 first purchases", 5
    ),
    "beauty": KnownDataset("Amazon Beauty 2014, released files: 22,363 users, 12,101 items", 1),
    "instruments": KnownDataset("Amazon Musical Instruments 2018, released files: 24,772 users, 9,922 items", 1),
}

PACKAGED = {"movielens": load_movielens, "complete-journey": load_complete_journey}


def load_dataset(name: str, data_dir: Path | None = None, cache_dir: Path | None = None) -> Dataset:
    """Load a data set by name.

    name: one of DATASETS, or with `data_dir` any name for the one released data set in that folder.
    data_dir: folder with <Name>.inter.json. "movielens" and "complete-journey" come with the
        installation and need none.
    cache_dir: where those two are kept as Parquet; $LETTERLIB_CACHE/data, else runs/data.
    """
    if data_dir is not None:
        dataset = load_released(data_dir, name if name in DATASETS or _several(data_dir) else None)
        return replace(dataset, name=name)
    if name in PACKAGED:
        return PACKAGED[name](cache_dir or Path(os.environ.get("LETTERLIB_CACHE", "runs")) / "data")
    what = f"no folder for data set {name!r}" if name in DATASETS else f"unknown data set {name!r}"
    raise LetterError(
        f"{what}: {' and '.join(PACKAGED)} come with the installation; a released one, such as beauty or "
        "instruments, needs its folder in --data-dir (data/README.md says where to get the files)"
    )


def _several(data_dir: Path) -> bool:
    return len(list(Path(data_dir).glob("*.inter.json"))) > 1
