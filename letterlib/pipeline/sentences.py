"""Results in words: what can be said of the systems' differences, and the whole of a table as text."""

import textwrap

import numpy as np
import pandas as pd

from letterlib.evaluation.bootstrap import paired_difference, verdict
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.systems import FLOOR, LABELS, find_system
from letterlib.pipeline.tables import (
    RESAMPLING_SEED,
    SystemResult,
    gather,
    heading,
    provenance,
    results_frame,
    with_floors,
)

PAIRS = [
    ("sasrec-tuned", "popularity"),
    ("letter-tiger", "popularity"),
    ("letter-tiger", "markov"),
    ("sasrec-tuned", "markov"),
    ("sasrec-tuned", "sasrec"),
    ("letter-tiger", "tiger"),
    ("letter-tiger", "sasrec-tuned"),
    ("letter-tiger", "p5-cid"),
    ("tiger", "tiger-kmeans"),
    ("tiger", "tiger-random"),
    ("bigrec", "popularity"),
    ("letter-lc-rec", "popularity"),
    ("letter-lc-rec", "bigrec"),
    ("letter-lc-rec", "lc-rec"),
    ("letter-lc-rec", "letter-tiger"),
]
"""The comparisons that a reader asks for first."""


def comparisons(results: dict[str, SystemResult]) -> list[str]:
    """A sentence for each of PAIRS: paired over users, history left in, then filtered out."""
    sentences = []
    for a, b in PAIRS:
        if a not in results or b not in results:
            continue
        parts = []
        shared = min(results[a].n_cases, results[b].n_cases)
        one, other = results[a].on_sample(shared), results[b].on_sample(shared)
        for history, words in (("in", "history in"), ("out", "history out")):
            first, second = one.recall(history=history), other.recall(history=history)
            difference = paired_difference(first, second, one.users, RESAMPLING_SEED)
            said = verdict(difference, len(first))
            parts.append(f"{words}: {difference:+.4f}, {said}")
        where = (
            f" on {shared:,} cases" if shared < max(results[a].n_cases, results[b].n_cases) else ""
        )
        sentences.append(f"{LABELS[a]} against {LABELS[b]}, R@10{where}. {'; '.join(parts)}.")
    return sentences


def floor_sentence(results: dict[str, SystemResult]) -> str:
    """Which trained systems are below the Markov floor, and which are not told from it; the
    protocol wants it said.

    Without a trained system there is nothing to say, "".
    """
    trained = {name: one for name, one in results.items() if find_system(name).family != FLOOR}
    if not trained:
        return ""
    floor, below, near = results["markov"], [], []
    for name, one in trained.items():
        sides = (one, floor.on_sample(one.n_cases))
        first, second = (np.stack([run.gains(10) for run in side.history_out]) for side in sides)
        difference = paired_difference(first, second, one.users, RESAMPLING_SEED)
        if not difference.excludes_zero:
            near.append(find_system(name).label)
        elif difference.mean < 0:
            below.append(find_system(name).label)
    where = f"the Markov floor (N@10 {floor.mean('N@10', history='out'):.4f}, history out)"
    beside = f" Not told from it: {'; '.join(near)}." if near else ""
    if below:
        names = "; ".join(below)
        return f"Below {where}: {names}. These have not yet learned more of the sequence than counting does.{beside}"
    return (
        f"No trained system is below {where}.{beside}"
        if near
        else f"Every trained system clears {where}."
    )


def as_text(
    pipeline: Pipeline, results: dict[str, SystemResult], rows: pd.DataFrame, sentences: list[str]
) -> str:
    """A table for a terminal: its heading and provenance, its rows (`results_frame`), and what is
    said of them.
    """
    origin = textwrap.fill(provenance(pipeline, results), 120)
    n_seeds = len(next(iter(results.values())).history_in)
    return "\n".join(
        [
            heading(pipeline, results, n_seeds),
            origin,
            "",
            rows.to_string(),
            "",
            *filter(None, sentences),
        ]
    )


def evaluated(pipeline: Pipeline, system: str) -> str:
    """The table of one system, below the two floors that everything has to be held against."""
    results = with_floors([pipeline], gather([pipeline], [system])[0])
    return as_text(pipeline, results, results_frame(results), [floor_sentence(results)])
