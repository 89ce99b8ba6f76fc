"""What lessons read of long experiments, and what lessons 10 and 11 compute from it.

Committed runs; figures that others published about Amazon data; runs that may be compared, one
change at a time; where the noise of a difference comes from; what choosing on test does.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, product
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd

from letterlib.data import raw_source
from letterlib.errors import LetterError
from letterlib.pipeline.config import REPOSITORY
from letterlib.pipeline.results import SETTINGS, Run, by_setting, load_results
from letterlib.pipeline.runs import RunParameters, load_grid
from letterlib.pipeline.systems import find_system, position
from letterlib.store import expanded

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"


def committed(name: str) -> Path:
    """An experiment's committed runs (a Parquet file), or the folder of its other results."""
    for path in (RESULTS / f"{name}.parquet", RESULTS / name):
        if path.exists():
            return path
    known = ", ".join(sorted({path.stem for path in RESULTS.glob("*")})) or "none"
    raise LetterError(
        f'no committed results "{name}"; there are: {known}. They come with a clone of the '
        "repository: install letterlib from it with pip install -e"
    )


PAPER = "LETTER paper"

_SAME_DATA = {
    "amazon-2014-beauty": "beauty",
    "amazon-2018-musical-instruments": "instruments",
    "yelp": "yelp",
}
"""Made from raw files, and the same data where the counts agree."""

COUNTS = {
    name: dict(zip(("users", "items", "interactions"), raw_source(raw).paper, strict=True))
    for raw, name in _SAME_DATA.items()
}
"""The paper's data sets: Amazon Beauty (2014), Amazon Musical Instruments (2018), Yelp; 5-core,
leave-one-out.
"""

COLUMNS = ("R@5", "R@10", "N@5", "N@10")

_BEAUTY = [
    ("SASRec", PAPER, "sasrec", 0.0380, 0.0588, 0.0246, 0.0313),
    ("TIGER", PAPER, "tiger", 0.0395, 0.0610, 0.0262, 0.0331),
    ("LETTER-TIGER", PAPER, "letter-tiger", 0.0431, 0.0672, 0.0286, 0.0364),
    (
        "released code, authors' identifiers",
        "cornac, beam 20",
        "tiger-released",
        0.0413,
        0.0645,
        0.0268,
        0.0343,
    ),
    (
        "cornac's generator, authors' identifiers",
        "cornac, beam 20",
        "tiger-released",
        0.0420,
        0.0656,
        0.0279,
        0.0354,
    ),
    (
        "cornac's generator, authors' identifiers",
        "cornac, beam 50",
        "tiger-released",
        0.0429,
        0.0670,
        0.0282,
        0.0360,
    ),
    (
        "cornac's LETTER, end to end",
        "cornac, beam 50",
        "letter-tiger",
        0.0356,
        0.0560,
        0.0241,
        0.0307,
    ),
    ("cornac's TIGER, best recipe", "cornac, beam 50", "tiger", 0.0419, 0.0634, 0.0270, 0.0338),
    ("TIGER", "TIGER paper", "tiger", 0.0454, 0.0648, 0.0321, 0.0384),
    ("SASRec, tuned", "cornac", "sasrec-tuned", 0.0508, 0.0740, 0.0348, 0.0423),
]
"""Amazon Beauty 2014, 5-core, history left in, one seed each: label, source, our name of the
system, COLUMNS.
"""

_N10 = {
    ("instruments", "tiger"): 0.0797,
    ("instruments", "letter-tiger"): 0.0831,
    ("yelp", "tiger"): 0.0213,
    ("yelp", "letter-tiger"): 0.0231,
    ("instruments", "lc-rec"): 0.0772,
    ("instruments", "letter-lc-rec"): 0.0854,
    ("beauty", "lc-rec"): 0.0374,
    ("beauty", "letter-lc-rec"): 0.0418,
    ("yelp", "lc-rec"): 0.0199,
    ("yelp", "letter-lc-rec"): 0.0211,
}
"""The LETTER paper's N@10 where this repository has no other figure of its row."""

FIRST_CODES = {"Instruments": (150, 71.6), "Beauty": (197, 82.7)}
"""Of 256 first codes, how many the authors' released identifiers use, and their perplexity; counted
in their files.
"""


def published(dataset: str = "beauty") -> pd.DataFrame:
    """The rows for one data set: system, source, ours (its name among our systems), COLUMNS; NaN
    where not known.
    """
    labels = {
        "tiger": "TIGER",
        "letter-tiger": "LETTER-TIGER",
        "lc-rec": "LC-Rec",
        "letter-lc-rec": "LETTER-LC-Rec",
    }
    rows = [
        dict(zip(("system", "source", "ours", *COLUMNS), row, strict=True))
        for row in _BEAUTY
        if dataset == "beauty"
    ]
    rows += [
        {"system": labels[name], "source": PAPER, "ours": name, "N@10": value}
        for (where, name), value in _N10.items()
        if where == dataset
    ]
    return pd.DataFrame(rows, columns=["system", "source", "ours", *COLUMNS])


def _changed(asked: dict[str, Any]) -> list[str]:
    """What a run's parameters change in their profile, but for models and number formats, which are
    no settings.
    """
    named = {name: asked[name] for name in ("dataset", "tokenizer", "generator", "profile")}
    usual = RunParameters.checked(**named).settings
    aside = ("options", "seed", "device")
    found = [
        f"{name}={asked[name]}"
        for name in usual
        if name not in aside and asked[name] != usual[name]
    ]
    no_setting = re.compile(r"encoder=|\w+\.(language_model|dtype|gradient_checkpointing)=")
    return found + [one for one in asked["options"] if not no_setting.match(one)]


def beside_published(record: dict[str, Any]) -> tuple[pd.DataFrame, str]:
    """A run's record above the published figures for its data and identifiers, and what that is
    worth.

    The table has no rows where nothing published is about the same data (by name and counts) and
    the same system.
    """
    system, here = record["system"], record["dataset"]
    name = _SAME_DATA.get(record["parameters"]["dataset"], record["parameters"]["dataset"])
    found = published(name)
    mine = found["ours"] == system
    if (
        system == "tiger-released"
    ):  # the authors' identifiers are LETTER's, and their row of the paper LETTER-TIGER
        mine |= (found["ours"] == "letter-tiger") & (found["source"] == PAPER)
    found = found[mine].drop(columns="ours")
    if found.empty:
        return (
            found,
            f"no published figure for {record['label']} on {name} is known here: nothing to hold "
            "it against",
        )
    if here["held out"] != 1:
        return (
            found[:0],
            f"another split: the last {here['held out']} items of a user are held out, in the "
            "paper one",
        )
    expected = {what: COUNTS[name][what] for what in ("users", "items")}
    if any(here[what] != count for what, count in expected.items()):
        counts = "{users:,} users and {items:,} items"
        return found[
            :0
        ], f"other data: {counts.format(**here)}, where the paper has {counts.format(**expected)}"
    metrics = record["metrics"]["history in"]
    row = {"system": record["label"], "source": f"this run, seed {record['parameters']['seed']}"}
    both = pd.concat(
        [pd.DataFrame([row | {name: metrics[name] for name in COLUMNS}]), found], ignore_index=True
    )
    if record["parameters"]["profile"] != "paper":
        return (
            both,
            "the same data, another budget: the gap says how far this budget goes, and nothing "
            "about the paper",
        )
    if changed := _changed(record["parameters"]):
        return (
            both,
            f"the same data, other settings than the paper's ({', '.join(changed)}): the gap may "
            "be theirs",
        )
    reads_text = "tokenizer" in record["config"]
    encoder = (
        f" (text read by {record['config']['encoder']}, by LLaMA-7B in the paper)"
        if reads_text
        else ""
    )
    return (
        both,
        f"the same data and size{encoder}, one seed beside one: a gap within either interval says "
        "nothing",
    )


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
    """What two settings differ in: parameter -> "before → after", `others` being what was
    before.
    """
    after, before = runs[0].parameters, others[0].parameters
    differing = [name for name in SETTINGS if name != "seed" and before[name] != after[name]]
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
    """Mean difference, first minus second, seed by seed, over the seeds and cases that both
    have.
    """
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
    return (
        f"not run: {what}. letterlib grid FILE --run does it, with a FILE like "
        f"experiments/{grid}.yaml."
    )


SEEN_IN_FOUR_OF_FIVE = 1.96 + 0.84
"""A true difference of so many standard errors is told from 0 (95% interval) in 80% of all
experiments.
"""


def variance_parts(d: np.ndarray) -> tuple[float, float, float]:
    """The variances of what a seed, a user, and the two together add to a difference; none below 0.

    d: float [n_seeds, n_users], both at least 2, the difference of two systems for every seed and
    user. Two-way analysis of variance with random effects, one value a cell, by the method of
    moments.
    """
    n_seeds, n_users = d.shape
    by_seed, by_user = d.mean(axis=1), d.mean(axis=0)
    left = d - by_seed[:, None] - by_user + d.mean()
    rest = (left**2).sum() / ((n_seeds - 1) * (n_users - 1))
    seeds = max(0.0, by_seed.var(ddof=1) - rest / n_users)
    users = max(0.0, by_user.var(ddof=1) - rest / n_seeds)
    return float(seeds), float(users), float(rest)


def standard_error(parts: tuple[float, float, float], n_seeds: Any, n_users: Any) -> Any:
    """Of the mean over so many seeds and users, from their `variance_parts`. Numbers, or arrays."""
    seeds, users, rest = parts
    return np.sqrt(seeds / n_seeds + users / n_users + rest / (n_seeds * n_users))


def smallest_seen(parts: tuple[float, float, float], n_seeds: Any, n_users: Any) -> Any:
    """The true difference that so many seeds and users tell from 0 in four of five experiments.
    Numbers, or arrays.
    """
    return SEEN_IN_FOUR_OF_FIVE * standard_error(parts, n_seeds, n_users)


def choices(
    truth: np.ndarray, in_validation: np.ndarray, in_test: np.ndarray
) -> tuple[float, float, float]:
    """Mean figure reported when choosing on validation, when choosing on test, and the truth of the
    honest choice.

    truth: float [n_settings]; in_validation, in_test: noise of each repeat, float [n_repeats,
    n_settings].
    """
    validation, test = truth + in_validation, truth + in_test
    rows, chosen = np.arange(len(test)), validation.argmax(axis=1)
    return (
        float(test[rows, chosen].mean()),
        float(test.max(axis=1).mean()),
        float(truth[chosen].mean()),
    )
