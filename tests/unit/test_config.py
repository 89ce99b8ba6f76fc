"""Profile `paper` is the paper: its hyper-parameters, and where it is silent those of the authors'
released code.

The profiles are one table in a file, and a slip of the keyboard in it would change every result and
fail nothing else.
"""

import re

import pytest

from letterlib.errors import LetterError
from letterlib.pipeline.config import (
    PROFILES,
    RunConfig,
    changes,
    describe_settings,
    make_config,
)

TOKENIZER = {
    "hidden": (2048, 1024, 512, 256, 128, 64),
    "n_levels": 4,
    "n_codes": 256,
    "mu": 0.25,
    "alpha": 0.02,
    "beta": 1e-4,
    "n_groups": 10,
    "straight_through": "final",
    "start": "kmeans",
    "sinkhorn": False,
    "epochs": 20_000,
    "batch_size": 1024,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
}
TIGER = {
    "n_layers": 4,
    "d_model": 128,
    "d_ff": 1024,
    "n_heads": 6,
    "d_head": 64,
    "dropout": 0.1,
    "history": 20,
    "targets": 1,
    "examples": None,
    "tau": 1.0,
    "epochs": 200,
    "patience": 20,
    "batch_size": 1024,
    "learning_rate": 5e-4,
    "relative_rate": False,
    "weight_decay": 0.01,
    "warmup": 0.01,
    "beam": 20,
}
LCREC = {
    "language_model": "huggyllama/llama-7b",
    "rank": 8,
    "lora_alpha": 32,
    "dropout": 0.05,
    "tasks": (
        "seqrec",
        "item2index",
        "index2item",
        "fusionseqrec",
        "itemsearch",
        "preferenceobtain",
    ),
    "alignment": 0.15,  # ours; it comes near to the original's number of examples
    "lists": None,
    "history": 20,
    "targets": 1,
    "batch_size": 128,
    "tau": 1.0,
    "epochs": 4,
    "learning_rate": 1e-4,
    "beam": 20,
}

BIGREC = {
    "language_model": "huggyllama/llama-7b",
    "rank": 8,
    "lora_alpha": 16,
    "dropout": 0.05,
    "lists": 1024,
    "history": 10,
    "targets": 1,
    "epochs": 50,
    "batch_size": 128,
    "learning_rate": 1e-4,
    "weight_decay": 0.0,
    "warmup": 20 / (50 * 1024 / 128),
    "beam": 4,
    "gammas": (0.0,),
}
"""Of the command in the authors' README, train.py (20 warm-up steps) and inference.py."""


@pytest.mark.parametrize("dataset", ["beauty", "movielens"])
@pytest.mark.parametrize(
    ("room", "stated"),
    [
        ("tokenizer", TOKENIZER),
        ("tiger", TIGER),
        ("lcrec", LCREC),
        ("bigrec", BIGREC),
        ("sasrec_32", {"dimensions": 32}),
    ],
)
def test_profile_paper_has_what_the_paper_states(dataset, room, stated):
    chosen = getattr(make_config(dataset, "paper"), room).model_dump()
    assert {name: chosen[name] for name in stated} == stated


@pytest.mark.parametrize("dataset", ["movielens", "beauty", "complete-journey"])
@pytest.mark.parametrize("profile", PROFILES)
def test_the_list_of_settings_gives_the_profile_back(dataset, profile):
    """Each printed line is an override, and setting all of them changes nothing."""
    config = make_config(dataset, profile, seed=3)
    lines = [line.split("  ")[0] for line in describe_settings(config).splitlines()[1:-2]]
    overrides = [line for line in lines if "=" in line]
    names = {line.partition("=")[0].partition(".")[0] for line in overrides}
    assert names == set(RunConfig.model_fields) - {"dataset", "profile", "seed", "device"}
    # A weight of 0 is another variant's, and SmolLM2 or a file need not be here: all are defaults.
    assert make_config(dataset, profile, seed=3, overrides=overrides) == config
    assert changes(config) == []


def test_overrides_change_what_they_name_and_nothing_else():
    given = [
        "tokenizer.hidden=[64, 32]",
        "tau=0.8",
        "alpha=0.05",
        "held_out=2",
        "sasrec.patience=9",
        "tokenizer.start=constrained",
    ]
    config = make_config(overrides=given)
    assert config.tokenizer.hidden == (64, 32) and config.tokenizer.alpha == 0.05
    assert config.tiger.tau == config.lcrec.tau == 0.8 and config.held_out == 2
    assert changes(config) == [
        "held_out=2",
        "lcrec.tau=0.8",
        "sasrec.patience=9",
        "tiger.tau=0.8",
        "tokenizer.alpha=0.05",
        "tokenizer.hidden=[64, 32]",
        "tokenizer.start=constrained",
    ]


@pytest.mark.parametrize(
    ("override", "fact"),
    [
        ("tiger.epoch=3", 'did you mean "epochs"'),
        ("tigre.epochs=3", 'did you mean "tiger"'),
        ("seed=3", "--seed"),
        ("tiger.epochs", "name=value"),
        ("tiger.epochs=many", "tiger.epochs='many'"),
        ("tiger.beam=5", "20 or more"),
        ("sasrec_32.dimensions=64", "32"),
        (f"tiger.epochs={10**30}", "tiger.epochs='1000"),
        ("tokenizer.hidden=" + "[" * 3000 + "]" * 3000, "not a list"),
        ("tokenizer.hidden=[1" + "0" * 5000 + "]", "not a list"),
    ],
)
def test_a_wrong_override_is_an_error_that_says_what_is_possible(override, fact):
    with pytest.raises(LetterError, match=re.escape(fact)):
        make_config(overrides=[override])


def test_another_data_set_or_profile_is_an_error():
    for given, fact in (
        ({"profile": "labtop"}, "smoke, laptop, paper"),
        ({"dataset": "MovieLens"}, 'did you mean "movielens"'),
        ({"dataset": "../x"}, "a name has"),
        ({"seed": 2**31}, "seed"),
    ):
        with pytest.raises(LetterError, match=fact):
            make_config(**given)
