"""Figures that others published about Amazon data, each with its source; and which of them a record
may stand beside.

A figure compares only with one for the same data and the same kind of identifiers. Amazon 2014,
2018 and 2023 are different data sets.
"""

import re
from typing import Any

import pandas as pd

from letterlib.data import raw_source
from letterlib.pipeline.runs import RunParameters

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
            f"no published figure for {record['label']} on {name} is known here: nothing to hold it against",
        )
    if here["held out"] != 1:
        return (
            found[:0],
            f"another split: the last {here['held out']} items of a user are held out, in the paper one",
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
            "the same data, another budget: the gap says how far this budget goes, and nothing about the paper",
        )
    if changed := _changed(record["parameters"]):
        return (
            both,
            f"the same data, other settings than the paper's ({', '.join(changed)}): the gap may be theirs",
        )
    reads_text = "tokenizer" in record["config"]
    encoder = (
        f" (text read by {record['config']['encoder']}, by LLaMA-7B in the paper)"
        if reads_text
        else ""
    )
    return (
        both,
        f"the same data and size{encoder}, one seed beside one: a gap within either interval says nothing",
    )
