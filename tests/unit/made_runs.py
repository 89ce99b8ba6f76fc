"""Runs that end in a second or two, on a made data set, for tests of records, grids and interruptions."""

from pathlib import Path

import numpy as np
import pandas as pd

from letterlib.data.dataset import Dataset, Sequences
from letterlib.data.released import write_released
from letterlib.experiments.parameters import RunParameters

SMALL = ("tiger.epochs=6", "tiger.examples=400", "tokenizer.epochs=6", "sasrec_32.epochs=2")


def write_made_data(folder: Path) -> Path:
    """A data set of 60 users and 30 items, in the released format. The last user has had everything."""
    random = np.random.default_rng(0)
    lists = [random.permutation(30)[: 6 + u % 9] for u in range(59)] + [np.arange(30)]
    titles = [f"thing number {i}" for i in range(30)]
    items = pd.DataFrame({"title": titles, "text": titles})
    write_released(Dataset("made", Sequences.from_lists(lists), items, "made", [str(u) for u in range(60)]), folder)
    return folder


def small_run(**changes) -> RunParameters:
    """TIGER on the made data set, at its smallest, with these parameters changed."""
    sizes = {"codes": 16} | ({"clusters": 4} if changes.get("tokenizer", "letter") in ("letter", "div") else {})
    given = dict(dataset="made", profile="smoke", device="cpu", options=SMALL) | sizes | changes
    return RunParameters.checked(**given)
