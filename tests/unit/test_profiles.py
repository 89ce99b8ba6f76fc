"""Profile `paper` is the paper: its hyper-parameters, and where it is silent those of the authors'
released code.

The profiles are one table in a file, and a slip of the keyboard in it would change every result and
fail nothing else.
"""

import pytest

from letterlib.pipeline.config import make_config

TOKENIZER = {
    "hidden": (2048, 1024, 512, 256, 128, 64),
    "n_levels": 4,
    "n_codes": 256,
    "mu": 0.25,
    "alpha": 0.02,
    "beta": 1e-4,
    "n_groups": 10,
    "straight_through": "final",
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
