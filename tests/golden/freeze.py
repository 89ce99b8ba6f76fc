"""Writes published.json: every figure of the records, and of the claims, as the library gives it.

    python tests/golden/freeze.py

It was run once, before the records moved. Run again it would freeze what it should hold against.
"""

import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import figures
import numpy as np
import records

from letterlib.pipeline.results import Run

HERE = Path(__file__).parent
PUBLISHED = HERE / "published.json"
CLAIMS = HERE / "published_claims.json"

BY_TARGETS = (
    "beauty",
    "beauty-epochs",
    "beauty-rates",
    "complete-journey",
    "movielens-ablation",
    "movielens-rates",
    "movielens-replication",
)
"""Folders whose comparisons are also made by the popularity of the target."""

COMPARED = [(metric, history) for metric in ("R@10", "N@10") for history in ("in", "out")]

WHOLE = {
    "interval-coverage.json": ("rows",),
    "movielens-conventional-parity.json": ("systems",),
    "beauty-dtype/summary.json": (),
    "beauty-released-identifiers/result.json": ("test", "raw"),
    "beauty-tokenizer-comparison/comparison.json": ("rows",),
    "movielens-lc-rec/summary.json": (),
}
"""Other JSON files, and where in them the figures stand."""

TABLES = ("beauty-table", "movielens-fourteen-systems", "movielens-language-models")

SWEEPS = {
    "movielens-tau-sweep": (("tau", "decoded"), ("R@10", "N@10", "top_share")),
    "movielens-tokenizer-sweep": (
        ("alpha", "beta"),
        (
            "error",
            "perplexity_1",
            "in_use_1",
            "collaborative_overlap",
            "semantic_overlap",
            "colliding_before",
            "colliding_after",
            "similarity",
        ),
    ),
    "movielens-generation-bias": (
        ("beta",),
        ("KL from catalogue", "KL from targets", "perplexity", "R@10", "coverage"),
    ),
}
"""CSV files of one row a seed: what makes a setting, and the columns of which the mean is kept."""


def summary(one: records.Setting) -> dict[str, Any]:
    """One setting's figures. Means are over seeds."""
    both = {}
    for history in ("in", "out"):
        means = {name: float(one.values(name, history).mean()) for name in records.METRICS}
        interval = records.mean_interval(one, "R@10", history)[1:]
        both[f"history {history}"] = means | {"R@10 interval": interval}
    found = {"seeds": list(one.seeds), "cases": len(one.cases), **both}
    if not isinstance(one.runs[0], Run):  # a table of ranks
        return found
    told = {name: value for name, value in one.parameters.items() if value not in (None, [])}
    found |= {"parameters": told, "validation N@10": records.validation(one)}
    found["seconds"] = records.seconds(one)
    if measures := records.identifiers(one):
        found["identifiers"] = measures
    return found


def comparisons(folder: str) -> dict[str, dict[str, list[float]]]:
    """All pairs: "first | second" -> "R@10 in" or "R@10 in tail" -> difference, low, high."""
    found = {}
    for one, other in records.pairs(folder):
        asked = [(metric, history, None) for metric, history in COMPARED]
        if folder in BY_TARGETS:
            asked += [(*pair, group) for pair in COMPARED for group in records.GROUPS]
        found[f"{one.name} | {other.name}"] = {
            " ".join(filter(None, those)): records.compare(one, other, *those) for those in asked
        }
    return found


def other_files() -> dict[str, Any]:
    """Figures of the files that are no records of runs."""
    found: dict[str, Any] = {}
    for path, pointer in WHOLE.items():
        value = json.loads((records.RESULTS / path).read_text())
        for one in pointer:
            value = value[one]
        found[" | ".join((path, *pointer))] = value
    for folder in TABLES:
        table = json.loads((records.RESULTS / folder / "table.json").read_text())
        found[f"{folder}/table.json"] = {
            "sentences": table["sentences"],
            "systems": {name: _of_table(one) for name, one in table["systems"].items()},
        }
    for folder, (names, columns) in SWEEPS.items():
        groups = defaultdict(list)
        with open(records.RESULTS / folder / "runs.csv", newline="") as file:
            for row in csv.DictReader(file):
                groups[" ".join(f"{name}={row[name]}" for name in names)].append(row)
        found[f"{folder}/runs.csv"] = {
            what: {name: float(np.mean([float(row[name]) for row in rows])) for name in columns}
            for what, rows in groups.items()
        }
    return found


def _of_table(one: dict[str, Any]) -> dict[str, Any]:
    """Means over seeds."""
    found = {"seconds": one["seconds"], "parameters": one["parameters"]}
    for history in ("history in", "history out"):
        seeds = one[history]
        found[history] = {name: float(np.mean([seed[name] for seed in seeds])) for name in seeds[0]}
    return found


def claims() -> list[dict[str, Any]]:
    return json.loads(CLAIMS.read_text())


def main() -> None:
    """Write the file anew."""
    keys = dict.fromkeys(one["from"] for one in claims() if "from" in one)
    frozen = {
        "settings": {
            folder: {name: summary(one) for name, one in records.settings(folder).items()}
            for folder in (*records.RUNS, *records.RANKS)
        },
        "comparisons": {folder: comparisons(folder) for folder in records.RUNS},
        "files": other_files(),
        "figures": {key: figures.figure(key) for key in keys},
    }
    PUBLISHED.write_text(json.dumps(frozen, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
