"""experiments/gpu.py at profile smoke on a CPU."""

import json
import os
import subprocess
import sys

import pytest

from letterlib.pipeline.config import REPOSITORY


@pytest.mark.slow
def test_the_script_for_a_gpu_runs_at_profile_smoke(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, REPOSITORY / "experiments/gpu.py", "--profile", "smoke"]
    command += ["--dataset", "movielens", "--device", "cpu", "--out", out]
    done = subprocess.run(
        [*map(str, command), "--cache-dir", str(tmp_path / "runs")],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "TQDM_DISABLE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    steps = json.loads((out / "gpu.json").read_text())["steps"]
    states = {name: step["state"] for name, step in steps.items()}
    assert states.pop("parity tests") == "skipped" and set(states.values()) == {"done"}
    assert "not done: parity tests" in done.stdout
    assert steps["the same lists on CPU and device"]["result"].popitem()[1] == 1.0
    assert len(steps["tokenizers"]["result"]) == 4
    assert len(list((out / "results").glob("*.parquet"))) == 1
