"""LC-Rec on several processes, and the DeepSpeed configuration that ships for LLaMA-7B."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from safetensors.torch import load_file

from letterlib.experiments.configuration import make_config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "experiments" / "deepspeed"
REFUSED = {
    "gradient_accumulation_steps",
    "gradient_clipping",
    "zero_stage",
    "offload_optimizer_device",
    "offload_param_device",
    "zero3_save_16bit_model",
}
"""Accelerate stops when these stand beside a deepspeed_config_file; mixed_precision, too, one level higher."""

WORKER = """
import sys
sys.path.insert(0, "tests/unit")
from accelerate import PartialState
from safetensors.torch import save_file
from test_lcrec import circle, fresh
model = fresh(alignment=0.0, epochs=2).fit(circle().split(1))
kept = {n: p.detach().clone() for n, p in model.network.named_parameters() if p.requires_grad}
save_file(kept, f"{sys.argv[1]}/{PartialState().num_processes}-{PartialState().process_index}.safetensors")
"""


def test_the_deepspeed_configuration_is_one_that_accelerate_takes_and_says_what_the_paper_says():
    launch = yaml.safe_load((FOLDER / "accelerate.yaml").read_text())
    assert launch["distributed_type"] == "DEEPSPEED" and "mixed_precision" not in launch
    assert not REFUSED & launch["deepspeed_config"].keys()
    settings = json.loads((ROOT / launch["deepspeed_config"]["deepspeed_config_file"]).read_text())
    config = make_config("beauty", "paper").lcrec
    assert settings["train_micro_batch_size_per_gpu"] * launch["num_processes"] == config.batch_size
    assert settings["gradient_clipping"] == 1.0 and settings["gradient_accumulation_steps"] == 1
    assert settings["bf16"]["enabled"] and settings["zero_optimization"]["stage"] == 2


def test_two_processes_share_the_batches_and_end_with_one_model(tmp_path):
    """Each takes half of every batch; with averaged gradients both end with the same weights, near those of one."""
    (tmp_path / "worker.py").write_text(WORKER)
    for launcher in ([sys.executable], [sys.executable, "-m", "torch.distributed.run", "--standalone",
                                        "--nproc_per_node", "2"]):  # fmt: skip
        command = [*launcher, str(tmp_path / "worker.py"), str(tmp_path)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    alone, first, second = (load_file(tmp_path / f"{name}.safetensors") for name in ("1-0", "2-0", "2-1"))
    for name in alone:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    distance = sum(float((first[n] - alone[n]).norm() ** 2) for n in alone) ** 0.5
    start = sum(float((alone[n] - alone[n].mean()).norm() ** 2) for n in alone) ** 0.5
    assert distance < 0.2 * start
