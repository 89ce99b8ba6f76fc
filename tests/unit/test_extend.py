"""Systems, identifiers, tokenizers and data sets that are registered from outside the package."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from made_data import write_made_data

from letterlib.errors import LetterError
from letterlib.pipeline.register import (
    load_plugin,
    register_dataset,
    register_identifiers,
    register_system,
)

ROOT = Path(__file__).resolve().parents[2]
FSQ = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "extend.md").read_text(), re.DOTALL)[1]
SMALL = ["tokenizer.n_codes=16", "tokenizer.n_groups=4"]

PLUGIN = """
import numpy as np
import pandas as pd
import torch
from pydantic import Field

import letterlib as ll
from letterlib.baselines.caser import Caser, CaserConfig
from letterlib.data.dataset import Sequences
from letterlib.tokenizer.letter import TokenizerConfig
from letterlib.tokenizer.rqvae import RQVAE


class Own(ll.Popularity):
    pass


class OwnCaserConfig(CaserConfig):
    horizontal: int = Field(3, ge=1, description="filters")


class OwnCaser(Caser):
    pass


class PQ(RQVAE):
    # Each level codes a part of the coordinates.
    def __init__(self, *sizes):
        super().__init__(*sizes)
        parts = torch.arange(self.codebooks[0].shape[1]).chunk(self.n_levels)
        self.parts = [torch.zeros(self.codebooks[0].shape[1]).index_fill(0, p, 1) for p in parts]

    def initialise_codebooks(self, x, seed, start="kmeans"):
        super().initialise_codebooks(x, seed, start)
        for book, part in zip(self.codebooks, self.parts):
            book.data *= part.to(book)
            book.register_hook(lambda gradient, part=part: gradient * part.to(gradient))


class CentredConfig(TokenizerConfig):
    gamma: float = Field(1.0, ge=0, description="weight of the centring loss")


class Centred(ll.LetterTokenizer):
    Config, Network = CentredConfig, PQ

    def training_losses(self, module, batch):
        found = super().training_losses(module, batch)
        found["centring"] = sum(book.mean(0).square().sum() for book in module.codebooks)
        return found | {"loss": found["loss"] + self.config.gamma * found["centring"]}


def in_order(pipeline):
    codes = np.stack(np.unravel_index(np.arange(pipeline.split.n_items), (16, 16, 16)), axis=1)
    return ll.Identifiers(codes, (16, 16, 16))


def made():
    random = np.random.default_rng(0)
    walks = [(random.integers(50) + np.arange(9)) % 50 for _ in range(40)]
    items = pd.DataFrame({"title": [f"item {i}" for i in range(50)]})
    items["text"] = items["title"]
    users = [f"user {i}" for i in range(40)]
    return ll.Dataset("other", Sequences.from_lists(walks), items, "made up", users)


ll.register_system("own", Own, "My own")
ll.register_system("own-caser", OwnCaser, config=OwnCaserConfig, profiles={"smoke": {"epochs": 1}})
ll.register_identifiers("centred", Centred)
ll.register_identifiers("in-order", in_order)
ll.register_dataset("made-up", made, held_out=2)
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    write_made_data(folder / "made")
    (folder / "mine.py").write_text(PLUGIN)
    (folder / "fsq.py").write_text(FSQ)
    return folder


def python(folder: Path, code: str) -> str:
    """What the code prints in a process of its own: registrations last as long as a process."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def command(folder: Path, *words: str) -> str:
    code = f"import sys; sys.argv = {['letterlib', *words]!r}; from letterlib.cli import main"
    return python(folder, f"{code}; main()")


def test_fsq_is_one_class_that_everything_knows(plugin):
    """The example of docs/extend.md: settings, cache keys, analysis, generators, saved files."""
    code = f"""
import json
import numpy as np
import letterlib as ll
from letterlib.pipeline.runs import finished_run
from letterlib.pipeline.tokenizer_analysis import analyse_tokenizers, tokenizer_frame
ll.load_plugin("fsq.py")
def pipeline(*more):
    config = ll.make_config("made", "smoke", overrides=[*{SMALL!r}, *more])
    return ll.Pipeline(config, data_dir="made", cache="runs", quiet=True)
one, six = pipeline(), pipeline("fsq.n_levels=6")
fsq = one.tokenizer("fsq")
z = fsq.latent(one.semantic().vectors)
grid = np.linspace(-1, 1, 16)
found = {{
    "rounded": bool((fsq.codes_before_repair() == abs(z[:, :, None] - grid).argmin(2)).all()),
    "shape": list(six.identifiers("fsq").codes.shape[1:]),
    "epochs": [fsq.config.epochs, one.tokenizer("plain").config.epochs],
    "loaded": type(ll.load(one._tokenizer("fsq").path("tokenizer.safetensors"))).__name__,
    "moved": one._evaluated("tiger-fsq").key != six._evaluated("tiger-fsq").key,
    "kept": one._evaluated("tiger").key == six._evaluated("tiger").key,
    "frame": list(tokenizer_frame(analyse_tokenizers(one)).index),
}}
run = finished_run(six, "tiger-fsq", full=True)
found["options"] = run.parameters["options"]
found["label"] = run.record["label"]
found["measured"] = sorted(k for k, v in run.record["identifiers"].items() if v is not None)
print(json.dumps(found))
"""
    found = json.loads(python(plugin, code).splitlines()[-1])
    assert found["rounded"] and found["shape"] == [6] and len({*found["epochs"]}) == 1
    assert found["loaded"] == "FSQTokenizer" and found["moved"] and found["kept"]
    assert found["frame"][-1] == "fsq" and len(found["frame"]) == 5
    assert found["options"] == ["fsq.n_levels=6"] and "fsq" in found["label"]
    assert "collaborative signal" in found["measured"]


def test_a_plugin_on_the_command_line_and_in_grids(plugin):
    files = ["--plugin", "mine.py", "--profile", "smoke", "--cache-dir", "runs"]
    where = ["--dataset", "made-up", *(f"--set={one}" for one in SMALL)]
    systems = ("own", "own-caser", "tiger-centred", "tiger-in-order")
    chosen = [f"--system={name}" for name in systems]
    printed = command(plugin, "table", *files, *where, *chosen, "--seeds", "1")
    for label in ("My own", "own-caser", "TIGER, centred", "TIGER, in-order"):
        assert any(line.startswith(label) for line in printed.splitlines()), label
    assert "gamma=1.0" in command(plugin, "settings", "centred", *files)
    command(plugin, "export", "exported", "--system", "tiger-centred", *files, *where)
    assert {"model.safetensors", "tokenizer.json"} <= {
        f.name for f in (plugin / "exported").iterdir()
    }
    grid = "plugins: [mine.py]\nevery: {dataset: made-up, profile: smoke}\nruns:\n"
    grid += (
        "- {generator: own, tokenizer: none}\n- {tokenizer: centred, options: [centred.gamma=2]}\n"
    )
    (plugin / "grid.yaml").write_text(grid)
    listed = json.loads(command(plugin, "grid", "grid.yaml", "--json", "--cache-dir", "runs"))
    mine = str((plugin / "mine.py").resolve())
    assert [one["papermill"][-5:-2] for one in listed if one["shared"]] == [["-r", "plugin", mine]]
    shared = listed[1]["shared"][1]["words"]
    assert "--set=centred.gamma=2.0" in shared
    assert f"--plugin={mine}" in shared
    command(plugin, "grid", "grid.yaml", "--run", "--cache-dir", "runs")
    states = json.loads(command(plugin, "grid", "grid.yaml", "--json", "--cache-dir", "runs"))
    assert {one["state"] for one in states} == {"done"}


def test_names_of_the_library_are_refused(tmp_path):
    for register, name in (
        (register_system, "tiger"),
        (register_identifiers, "letter"),
        (register_identifiers, "random"),
        (register_dataset, "movielens"),
    ):
        with pytest.raises(LetterError, match=f'"{name}"'):
            register(name, lambda: None)
    with pytest.raises(LetterError, match="no such file"):
        load_plugin(tmp_path / "nowhere.py")
