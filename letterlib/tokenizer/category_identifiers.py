"""Identifiers from an item's categories: P5-SemID.

Hua et al., SIGIR-AP 2023, "How to Index Item IDs for Recommendation Foundation Models". An item's
identifier is its way through the category tree and a running number among the items that it meets
there. It knows what a person wrote about the item and nothing of who likes it. Where it differs
from the original:

- A category is a code of its place in the path: "Drama" as a first label and "Drama" as a second
  one are two codes.
- Paths are cut at a depth and filled up to it, so that all identifiers have one length (see
  `Identifiers.numbered`).
- MovieLens has no category tree. Its genres stand in alphabetical order (but for IMAX, the last),
  so that its paths
  are the first genres of a film and no way from the general to the special.
"""

import numpy as np

from letterlib.data.dataset import Dataset
from letterlib.errors import LetterError, Unavailable
from letterlib.tokenizer.identifiers import Identifiers

DEPTH = 3
"""Labels of an item that count, the first ones."""


def category_identifiers(dataset: Dataset, depth: int = DEPTH) -> Identifiers:
    """One identifier per item, `depth` levels of labels and one or more of a running number; no two
    items share.

    Code 0 of a label's level is "no further label"; the labels that occur there follow in
    alphabetical order. A data set that has no categories is Unavailable, a LetterError.
    """
    if depth < 1:
        raise LetterError(f"category identifiers: the depth must be at least 1, not {depth}")
    labels = dataset.items["genres"].tolist() if "genres" in dataset.items else []
    if not any(labels):
        raise Unavailable(
            f"{dataset.name}: no item has a category, and P5-SemID is made of them; "
            "use another kind of identifier, or a release whose items have categories"
        )
    paths = [([one for one in text.split("|") if one] + [""] * depth)[:depth] for text in labels]
    # The empty label is the first in alphabetical order, but a level at which no path ends does not
    # have it.
    columns = [
        np.unique(["", *column], return_inverse=True)[1][1:] for column in zip(*paths, strict=True)
    ]
    return Identifiers.numbered(np.stack(columns, axis=1).astype(np.int64))
