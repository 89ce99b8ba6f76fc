"""Learning curves for TensorBoard and Weights & Biases: off unless asked for, and no part of a
result.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from letterlib import tracking
from letterlib.errors import LetterError
from letterlib.pipeline.cache import Cache

ROOT = Path(__file__).resolve().parents[2]

STAND_IN = """
import json
from pathlib import Path

class Run:
    def __init__(self, folder):
        self.file = open(Path(folder) / "log.jsonl", "a")
    def log(self, values, step=None):
        self.file.write(json.dumps({"step": step, **values}) + "\\n")
    def finish(self):
        self.file.write(json.dumps("finished") + "\\n")
        self.file.close()

def init(project, name, dir):
    run = Run(dir)
    run.file.write(json.dumps([project, name]) + "\\n")
    return run
"""

WORKER = """
import sys
import torch
from letterlib.pipeline.cache import Cache
from letterlib.train import train

def work(out, partial):
    torch.manual_seed(0)
    module = torch.nn.Linear(1, 1)
    loss = lambda module, batch: {"loss": module(torch.ones(1, 1)).square().sum()}
    log = train(module, lambda generator: range(2), loss, epochs=3, steps_per_epoch=2, learning_rate=1e-2, seed=0,
                what="test", validate=lambda: 0.5, validate_every=2)
    (out / "model.txt").write_text(str(list(module.state_dict().values())))
    return {"losses": log.losses}

for track in sys.argv[2:] or [None]:
    print(Cache(sys.argv[1], track=track).stage(
        "demo", 1, work, config={}, inputs=[], seed=0, device="cpu").key)
"""


@pytest.fixture
def stand_in(tmp_path) -> Path:
    """A folder with a package that calls itself wandb and writes down what it is told."""
    folder = tmp_path / "packages"
    (folder / "wandb").mkdir(parents=True)
    (folder / "wandb" / "__init__.py").write_text(STAND_IN)
    (folder / "wandb-1.0.dist-info").mkdir()
    (folder / "wandb-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: wandb\nVersion: 1.0\n"
    )
    return folder


def run(tmp_path: Path, *arguments: str, packages: Path) -> str:
    (tmp_path / "worker.py").write_text(WORKER)
    path = os.pathsep.join([str(packages), str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "TQDM_DISABLE": "1"}
    command = [sys.executable, str(tmp_path / "worker.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()[-1]


def test_curves_go_to_wandb_and_change_nothing(tmp_path, stand_in):
    tracked, plain = tmp_path / "tracked", tmp_path / "plain"
    key = run(tmp_path, str(tracked), "wandb", packages=stand_in)
    assert run(tmp_path, str(plain), packages=stand_in) == key, (
        "a tracker is no part of what a stage is made from"
    )
    lines = (tracked / "tracking" / "demo" / key / "log.jsonl").read_text().splitlines()
    project, *epochs, end = [json.loads(line) for line in lines]
    assert project == ["letterlib", f"demo/{key}"] and end == "finished"
    record = json.loads((tracked / "demo" / key / "stage.json").read_text())
    expected = [{"step": i + 1, **one} for i, one in enumerate(record["metrics"]["losses"])]
    assert epochs == [
        expected[0],
        expected[1] | {"validation": 0.5},
        expected[2] | {"validation": 0.5},
    ]
    model = [(folder / "demo" / key / "model.txt").read_text() for folder in (tracked, plain)]
    assert model[0] == model[1]
    assert not (plain / "tracking").exists(), "off by default"


def test_curves_go_to_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (the extra `tracking`)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    key = run(tmp_path, str(tmp_path / "runs"), "tensorboard", packages=ROOT)
    events = EventAccumulator(str(tmp_path / "runs" / "tracking" / "demo" / key)).Reload()
    assert [one.step for one in events.Scalars("loss")] == [1, 2, 3]
    assert [(one.step, one.value) for one in events.Scalars("validation")] == [(2, 0.5), (3, 0.5)]


def test_a_tracker_that_is_unknown_or_not_installed_is_said_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LetterError, match="package wandb is not installed; run: pip install wandb"):
        Cache(tmp_path / "runs", track="wandb")
    with pytest.raises(
        LetterError, match='no tracker "tensorbord"; choose one of tensorboard, wandb'
    ):
        Cache(tmp_path / "runs", track="tensorbord")
    monkeypatch.undo()
    (tmp_path / "wandb").mkdir()  # wandb leaves such a folder behind, and Python would import it
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(LetterError, match="package wandb is not installed"):
        Cache(tmp_path / "runs", track="wandb")
    assert not (tmp_path / "runs").exists()


def test_curves_that_cannot_be_written_are_one_clear_error(tmp_path):
    (tmp_path / "tracking").write_text("a file where a folder should be")
    match = "demo/key: --track wandb could not start .*; see that it can be written, or leave out --track"
    with (
        tracking.tracked("wandb", tmp_path / "tracking" / "demo" / "key"),
        pytest.raises(LetterError, match=match),
    ):
        with tracking.curves(Mock()):
            pytest.fail("training began")
