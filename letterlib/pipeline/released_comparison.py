"""Released identifiers compared with our tokenizers' on the same data set."""

from pathlib import Path
from typing import Any

import numpy as np

from letterlib.analysis.code_usage import code_usage
from letterlib.analysis.collaborative_signal import nearest_neighbours, similarity_experiment
from letterlib.errors import LetterError
from letterlib.pipeline.config import default_data_dir
from letterlib.pipeline.pipeline import Pipeline
from letterlib.store import expanded
from letterlib.tokenizer.identifiers import Identifiers

OURS = {"plain": "our RQ-VAE", "letter": "our LETTER"}
RELEASED = "the authors' LETTER"


def compare_identifiers(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """Our two tokenizers, trained or found, and the `<Name>.index.json` of the pipeline's data
    folder: name -> row.

    The judge of the collaborative signal is a second SASRec with the next seed, which no tokenizer
    here has seen; that of meaning is the text embedding. The share of equal codes with the nearest
    neighbour is the measure of both. All identifiers are taken as they are written, after any
    repair of collisions.
    """
    released = _released(pipeline)
    semantic = pipeline.semantic().vectors
    meaning = nearest_neighbours(semantic - semantic.mean(axis=0))
    audience = nearest_neighbours(
        pipeline.with_seed(pipeline.config.seed + 1).collaborative().vectors
    )
    identifiers = {
        name: pipeline.tokenizer(variant).identifiers() for variant, name in OURS.items()
    }
    return {
        name: measures(one, meaning, audience)
        for name, one in (identifiers | {RELEASED: released}).items()
    }


def measures(identifiers: Identifiers, meaning: np.ndarray, audience: np.ndarray) -> dict[str, Any]:
    """One row. meaning, audience: int64 [n_items], each item's nearest neighbour by text and by who
    likes it.
    """
    usage = code_usage(identifiers.codes, identifiers.level_sizes)
    by_text, by_users = (
        similarity_experiment(identifiers.codes, one) for one in (meaning, audience)
    )
    return {
        "items": identifiers.n_items,
        "distinct": identifiers.n_distinct,
        "in_use": [int(one) for one in usage["in_use"]],
        "perplexity": [round(float(one), 1) for one in usage["perplexity"]],
        "semantic": _rounded(by_text.by_level),
        "collaborative": _rounded(by_users.by_level),
        "random_pair": round(by_users.random_pair, 4),
    }


def distinct_rows(vectors: np.ndarray) -> int:
    """How many rows differ: items beyond that have the same vector as another, and no tokenizer can
    tell them apart.
    """
    return len(np.unique(np.round(vectors, 5), axis=0))


def _rounded(shares: tuple[float, ...]) -> list[float]:
    return [round(share, 4) for share in shares]


def _released(pipeline: Pipeline) -> Identifiers:
    folder = pipeline.data_dir
    files = sorted(folder.glob("*.index.json")) if folder else []
    if len(files) != 1:
        raise LetterError(
            f"{folder}: one *.index.json is expected here, the released identifiers; found "
            f"{len(files)}"
        )
    return Identifiers.load(files[0], pipeline.dataset.n_items)


def released_folder(given: str = "") -> Path | None:
    """The folder of a released data set: `given`, or data/beauty if there is one; None where
    nothing is there.
    """
    folder = expanded(given) if given else default_data_dir("beauty")
    return folder if folder and any(folder.glob("*.index.json")) else None
