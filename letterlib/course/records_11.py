"""The records of finished runs as lesson 11 reads them: one change at a time, and what has not been
run.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, product
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd

from letterlib.course.results import RESULTS
from letterlib.pipeline.config import REPOSITORY
from letterlib.pipeline.results import Run, by_setting, load_results
from letterlib.pipeline.runs import RunParameters, load_grid
from letterlib.pipeline.systems import find_system, position
from letterlib.store import expanded

REPLICATION = RESULTS / "movielens-replication.parquet"
"""Ten seeds that were to answer the questions written down for them (lesson 10), and no others.
Beside the seeds in which those questions were found they would be a part of what they are held
against.
"""

PLAIN, CF, DIV, LETTER, RANKING = VARIANTS = (
    "plain RQ-VAE",
    "+ CF",
    "+ Div",
    "+ CF + Div",
    "+ CF + Div, tau 0.8",
)
"""The paper's five variants (table 3), each with TIGER."""

_ASKED: dict[str, dict[str, Any]] = {
    PLAIN: {"tokenizer": "plain"},
    CF: {"tokenizer": "cf"},
    DIV: {"tokenizer": "div"},
    LETTER: {"tokenizer": "letter"},
    RANKING: {"tokenizer": "letter", "tau": 0.8},
}

AGAINST_PLAIN = {name: (name, PLAIN) for name in VARIANTS[1:]}
"""Rows of the paper's table: each variant, and what it is compared with."""

ONE_STEP = {
    "CF, beside Div": (LETTER, DIV),
    "Div, beside CF": (LETTER, CF),
    "tau 0.8, beside both": (RANKING, LETTER),
}
"""One part more than the other. CF and Div beside nothing are in `AGAINST_PLAIN`."""

SWEPT = {
    "levels": "L, codes per item",
    "codes": "N, codes per level",
    "alpha": "alpha, weight of L_CF",
    "beta": "beta, weight of L_Div",
    "clusters": "K, groups of codes",
    "tau": "tau, temperature",
}
"""The six parameters of the sweeps, in the paper's order, and what a figure calls them."""


RECIPES = {
    "an hour": {
        "tiger.n_layers=2",
        "tiger.d_ff=512",
        "tiger.dropout=0.1",
        "tiger.history=20",
        "tiger.targets=1",
        "tiger.batch_size=128",
        "tiger.warmup=0.02",
        "tiger.epochs=24",
    },
    "the paper's size": {
        "tiger.n_layers=4",
        "tiger.d_ff=1024",
        "tiger.n_heads=6",
        "tiger.d_head=64",
        "tiger.dropout=0.1",
        "tiger.history=20",
        "tiger.targets=1",
        "tiger.batch_size=256",
        "tiger.warmup=0.02",
    },
}
"""What the grids call many options together. They also take all examples, and validate less often.
"""

_OF_RECIPES = ("tiger.examples=", "tiger.validate_every=")

LONGEST = 60
"""Characters of options that may stand in the name of a league."""


def folders(results_dir: str = "") -> list[Path]:
    """What to read: `results_dir`, or all committed runs but those of REPLICATION."""
    if results_dir:
        return [expanded(results_dir)]
    return sorted({*RESULTS.glob("*.parquet")} - {REPLICATION})


def leagues(results: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs that may be compared with each other: one data set, one profile, the same options. Most
    runs first.

    "movielens, laptop" -> its runs. Options are in the name, "movielens, laptop,
    tokenizer.epochs=2000", or a letter where they are many, "movielens, laptop, options A". So have
    other data of the same name: "..., data A".
    """
    found: dict[tuple, list[Run]] = {}
    for one in results:
        said = one.parameters
        name = ", ".join(
            [
                said["dataset"],
                said["profile"],
                *([said["device"]] if said["device"] != "auto" else []),
            ]
        )
        found.setdefault(
            (name, tuple(said["options"]), one.record["dataset"]["fingerprint"]), []
        ).append(one)
    named: dict[str, list[Run]] = {}
    called: dict[str, dict[tuple, str]] = {}  # of the options that go with each name
    for (name, options, _), runs in sorted(found.items(), key=lambda pair: -len(pair[1])):
        if options:
            known, words = called.setdefault(name, {}), in_words(options)
            if options not in known and (len(words) > LONGEST or words in known.values()):
                words = next(
                    one
                    for letter in _letters()
                    if (one := f"options {letter}") not in known.values()
                )
            name += f", {known.setdefault(options, words)}"
        names = chain([name], (f"{name}, data {letter}" for letter in _letters()))
        named[next(one for one in names if one not in named)] = runs
    return named


def in_words(options: Sequence[str]) -> str:
    """Options as a league's name has them, those of RECIPES together."""
    words, rest = [], list(options)
    for name, recipe in RECIPES.items():
        if recipe <= set(rest):
            words = [name]
            rest = [one for one in rest if one not in recipe and not one.startswith(_OF_RECIPES)]
    rate = next(
        (one.partition("=")[2] for one in rest if one.startswith("tiger.learning_rate=")), ""
    )
    if rate and "tiger.relative_rate=false" in rest:
        words.append(f"one rate of {rate}")
        rest = [
            one
            for one in rest
            if not one.startswith(("tiger.learning_rate=", "tiger.relative_rate="))
        ]
    return ", ".join(words + rest)


def _letters() -> Iterator[str]:
    """A, B, ..., Z, AA, AB, ..."""
    return (
        "".join(some) for length in count(1) for some in product(ascii_uppercase, repeat=length)
    )


def runs_of(league: Sequence[Run], **asked: Any) -> list[Run]:
    """The runs with what is `asked`, as in `tokenizer="letter"`, and the profile's own values for
    all else.

    A league has options, and some mean nothing to another generator or tokenizer: what nobody ran
    is not resolved.
    """
    named = {"generator": asked.get("generator", "tiger")}
    named["tokenizer"] = asked.get("tokenizer", "letter")
    same = _having(named, league)
    return (
        sorted(_having(_resolved(league, **asked), same), key=lambda one: one.seed) if same else []
    )


def _having(wanted: dict[str, Any], runs: Iterable[Run]) -> list[Run]:
    return [
        one for one in runs if all(one.parameters[name] == value for name, value in wanted.items())
    ]


def _resolved(league: Sequence[Run], **asked: Any) -> dict[str, Any]:
    said = league[0].parameters
    # No option is a parameter, so none changes another's value; one may name a folder that is on
    # another machine.
    common = {name: said[name] for name in ("dataset", "profile", "device")}
    values = RunParameters.checked(**common | asked).settings | {"options": said["options"]}
    return {name: value for name, value in values.items() if name != "seed"}


def variants(league: Sequence[Run]) -> dict[str, list[Run]]:
    """Those of the five variants that have been run: name -> runs."""
    found = {name: runs_of(league, **asked) for name, asked in _ASKED.items()}
    return {name: runs for name, runs in found.items() if runs}


def changes(runs: Sequence[Run], others: Sequence[Run]) -> dict[str, str]:
    """What two settings differ in: parameter -> "before → after", `others` being what was before."""
    after, before = runs[0].parameters, others[0].parameters
    differing = [name for name in after if name != "seed" and before[name] != after[name]]
    return {name: f"{before[name]} → {after[name]}" for name in differing}


def sweeps(league: Sequence[Run]) -> dict[str, dict[float, list[Run]]]:
    """LETTER-TIGER with one parameter changed: parameter -> value -> runs, the profile's own value
    among them.

    Empty where the profile's own LETTER-TIGER has not been run: there is nothing to compare with.
    """
    middle = runs_of(league, tokenizer="letter")
    found: dict[str, dict[float, list[Run]]] = {}
    for one in league if middle else []:
        changed = set(changes([one], middle))
        if len(changed) == 1 and changed <= set(SWEPT):
            name = changed.pop()
            found.setdefault(name, {}).setdefault(one.parameters[name], []).append(one)
    for name, by_value in found.items():
        by_value[own_value(league, name)] = middle
    return {name: dict(sorted(found[name].items())) for name in SWEPT if name in found}


def own_value(league: Sequence[Run], parameter: str) -> float:
    """What the profile's LETTER-TIGER has for a parameter."""
    return _resolved(league, tokenizer="letter")[parameter]


def at_own_settings(league: Sequence[Run]) -> dict[str, list[Run]]:
    """Every system with the profile's own settings: label -> runs, in the order of the course's
    table.
    """
    found = {}
    for runs in by_setting(league):
        said = runs[0].parameters
        wanted = _resolved(league, generator=said["generator"], tokenizer=said["tokenizer"])
        if all(said[name] == value for name, value in wanted.items()):
            found[runs[0].record["system"]] = runs
    order = sorted(found, key=position)
    return {find_system(name).label: found[name] for name in order}


def by_case(runs: Sequence[Run], metric: str, history: str) -> pd.DataFrame:
    """A metric case by case: one row a seed, one column a test case."""
    values = np.stack(
        [one.values(metric, history) for one in runs]
    )  # of a list pandas would look at every number
    return pd.DataFrame(values, index=[one.seed for one in runs], columns=runs[0].cases)


def by_seed(runs: Sequence[Run], others: Sequence[Run], metric: str, history: str) -> pd.Series:
    """Mean difference, first minus second, seed by seed, over the seeds and cases that both have."""
    first, second = by_case(runs, metric, history).align(
        by_case(others, metric, history), join="inner"
    )
    return (first - second).mean(axis=1)


def grids(read_folders: Iterable[Path]) -> pd.DataFrame:
    """The repository's grids: how many runs each has, how many are done, and what does the others.

    read_folders: where records are looked for. Column "missing" holds the parameters of the runs
    that are not there.
    """
    there = {run.key for run in load_results(*read_folders)}
    rows = {}
    for path in sorted((REPOSITORY / "experiments").glob("*.yaml")):
        grid = load_grid(path)
        missing = [one for one in grid.runs if one.key not in there]
        rows[path.stem] = {
            "runs": len(grid.runs),
            "done": len(grid.runs) - len(missing),
            "missing": missing,
        }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["runs", "done", "missing"])


def not_run(what: str, grid: str) -> str:
    """The line that stands where a section has nothing to read."""
    return f"not run: {what}. letterlib grid FILE --run does it, with a FILE like experiments/{grid}.yaml."
