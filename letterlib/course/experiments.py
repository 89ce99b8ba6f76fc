"""What lessons read of long experiments, and what lessons 10 and 11 compute from it.

Committed runs; figures that others published about Amazon data; runs that may be compared, one
change at a time; where the noise of a difference comes from; what choosing on test does.
"""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd

from letterlib.data import raw_source
from letterlib.errors import LetterError
from letterlib.pipeline.config import REPOSITORY
from letterlib.pipeline.results import SETTINGS, Run, load_results
from letterlib.pipeline.runs import RunParameters, load_grid
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

_PUBLISHED = {
    "beauty": """
SASRec|LETTER paper|sasrec|0.0380|0.0588|0.0246|0.0313
TIGER|LETTER paper|tiger|0.0395|0.0610|0.0262|0.0331
LETTER-TIGER|LETTER paper|letter-tiger|0.0431|0.0672|0.0286|0.0364
released code, authors' identifiers|cornac, beam 20|tiger-released|0.0413|0.0645|0.0268|0.0343
cornac's generator, authors' identifiers|cornac, beam 20|tiger-released|0.0420|0.0656|0.0279|0.0354
cornac's generator, authors' identifiers|cornac, beam 50|tiger-released|0.0429|0.0670|0.0282|0.0360
cornac's LETTER, end to end|cornac, beam 50|letter-tiger|0.0356|0.0560|0.0241|0.0307
cornac's TIGER, best recipe|cornac, beam 50|tiger|0.0419|0.0634|0.0270|0.0338
TIGER|TIGER paper|tiger|0.0454|0.0648|0.0321|0.0384
SASRec, tuned|cornac|sasrec-tuned|0.0508|0.0740|0.0348|0.0423
LC-Rec|LETTER paper|lc-rec||||0.0374
LETTER-LC-Rec|LETTER paper|letter-lc-rec||||0.0418
""",
    "instruments": """
TIGER|LETTER paper|tiger||||0.0797
LETTER-TIGER|LETTER paper|letter-tiger||||0.0831
LC-Rec|LETTER paper|lc-rec||||0.0772
LETTER-LC-Rec|LETTER paper|letter-lc-rec||||0.0854
""",
    "yelp": """
TIGER|LETTER paper|tiger||||0.0213
LETTER-TIGER|LETTER paper|letter-tiger||||0.0231
LC-Rec|LETTER paper|lc-rec||||0.0199
LETTER-LC-Rec|LETTER paper|letter-lc-rec||||0.0211
""",
}
"""By data set: label, source, our name of the system, COLUMNS. All are 5-core, with the history
left in, one seed each.
"""

FIRST_CODES = {"Instruments": (150, 71.6), "Beauty": (197, 82.7)}
"""Of 256 first codes, how many the authors' released identifiers use, and their perplexity; counted
in their files.
"""


def published(dataset: str = "beauty") -> pd.DataFrame:
    """The rows for one data set: system, source, ours (its name among our systems), COLUMNS; NaN
    where not known.
    """
    names = ["system", "source", "ours", *COLUMNS]
    return pd.read_csv(io.StringIO(_PUBLISHED.get(dataset, "\n")), sep="|", names=names)


def _changed(asked: dict[str, Any]) -> list[str]:
    """What a run's parameters change in their profile, but for models and number formats."""
    named = {name: asked[name] for name in ("dataset", "tokenizer", "generator", "profile")}
    usual = RunParameters.checked(**named).settings
    names = [name for name in usual if name not in ("options", "seed", "device")]
    no_setting = re.compile(r"encoder=|\w+\.(language_model|dtype|gradient_checkpointing)=")
    return [
        *(f"{name}={asked[name]}" for name in names if asked[name] != usual[name]),
        *(option for option in asked["options"] if not no_setting.match(option)),
    ]


def beside_published(record: dict[str, Any]) -> tuple[pd.DataFrame, str]:
    """A run's record above the published figures for its data and system, and what that is worth.

    The table has no rows where nothing published is about the same data (by name and counts) and
    the same system.
    """
    asked, system, here = record["parameters"], record["system"], record["dataset"]
    name = _SAME_DATA.get(asked["dataset"], asked["dataset"])
    found = published(name)
    mine = found["ours"] == system
    if system == "tiger-released":  # the authors' identifiers are LETTER's
        mine |= (found["ours"] == "letter-tiger") & (found["source"] == PAPER)
    found = found[mine].drop(columns="ours")
    counts = "{users:,} users and {items:,} items"
    expected = COUNTS.get(name, {})
    other = ""
    if found.empty:
        other = f"no published figure for {record['label']} on {name} is known here: nothing to "
        other += "hold it against"
    elif here["held out"] != 1:
        other = f"another split: the last {here['held out']} items of a user are held out, in the "
        other += "paper one"
    elif any(here[what] != expected[what] for what in ("users", "items")):
        other = f"other data: {counts.format(**here)}, where the paper has "
        other += counts.format(**expected)
    if other:
        return found[:0], other
    metrics = {metric: record["metrics"]["history in"][metric] for metric in COLUMNS}
    ours = {"system": record["label"], "source": f"this run, seed {asked['seed']}"} | metrics
    both = pd.concat([pd.DataFrame([ours]), found], ignore_index=True)
    if asked["profile"] != "paper":
        worth = "the same data, another budget: the gap says how far this budget goes, and nothing "
        return both, worth + "about the paper"
    if changed := ", ".join(_changed(asked)):
        worth = f"the same data, other settings than the paper's ({changed}): the gap may be theirs"
        return both, worth
    encoder = ""
    if "tokenizer" in record["config"]:
        encoder = f" (text read by {record['config']['encoder']}, by LLaMA-7B in the paper)"
    worth = f"the same data and size{encoder}, one seed beside one: a gap within either interval "
    return both, worth + "says nothing"


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
    """What to read: `results_dir`, or all committed runs but REPLICATION."""
    if results_dir:
        return [expanded(results_dir)]
    return sorted({*RESULTS.glob("*.parquet")} - {REPLICATION})


def leagues(results: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs that may be compared with each other: one data set, one profile, the same options. Most
    runs first.

    "movielens, laptop" -> its runs. Options are in the name, "movielens, laptop,
    tokenizer.epochs=2000", or a letter if they are long or the name is taken, "movielens, laptop,
    options A". Other data of the same name are "movielens, laptop, data A".
    """
    found: dict[tuple, list[Run]] = {}
    for run in results:
        asked = run.parameters
        names = [asked["dataset"], asked["profile"]]
        names += [asked["device"]] if asked["device"] != "auto" else []
        key = (", ".join(names), tuple(asked["options"]), run.record["dataset"]["fingerprint"])
        found.setdefault(key, []).append(run)
    named: dict[str, list[Run]] = {}
    for (name, options, _), runs in sorted(found.items(), key=lambda pair: -len(pair[1])):
        words, what = in_words(options), "options" if options else "data"
        possible = [f"{name}, {words}" if options else name] if len(words) <= LONGEST else []
        possible += [f"{name}, {what} {letter}" for letter in ascii_uppercase]
        named[next(one for one in possible if one not in named)] = runs
    return named


def in_words(options: Sequence[str]) -> str:
    """Options as a league's name has them, those of RECIPES together."""
    words, rest = [], list(options)
    for name, recipe in RECIPES.items():
        if recipe <= set(rest):
            words = [name]
            rest = [one for one in rest if one not in recipe and not one.startswith(_OF_RECIPES)]
    rates = [one for one in rest if one.startswith("tiger.learning_rate=")]
    if rates and "tiger.relative_rate=false" in rest:
        words.append(f"one rate of {rates[0].partition('=')[2]}")
        rest = [one for one in rest if one not in (*rates, "tiger.relative_rate=false")]
    return ", ".join(words + rest)


def runs_of(league: Sequence[Run], **asked: Any) -> list[Run]:
    """The runs with what is `asked`, as in `tokenizer="letter"`, and the profile's own values for
    all else.

    Another generator or tokenizer may know nothing of a league's options: then no run is found.
    """
    wanted = {"generator": "tiger", "tokenizer": "letter"}
    wanted |= {name: asked[name] for name in wanted if name in asked}
    same = _having(wanted, league)
    found = _having(_resolved(league, **asked), same) if same else []
    return sorted(found, key=lambda run: run.seed)


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
    """The repository's grids: how many runs each has, how many of them are in `read_folders`, and
    the parameters of those that are missing.
    """
    there = {run.key for run in load_results(*read_folders)}
    rows = {}
    for path in sorted((REPOSITORY / "experiments").glob("*.yaml")):
        runs = load_grid(path).runs
        missing = [run for run in runs if run.key not in there]
        rows[path.stem] = [len(runs), len(runs) - len(missing), missing]
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
