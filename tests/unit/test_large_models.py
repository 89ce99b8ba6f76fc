"""The DeepSpeed configuration that ships for LLaMA-7B, as accelerate reads it. DeepSpeed itself
need not be there.
"""

import json
from pathlib import Path

from accelerate.commands import launch
from accelerate.utils import DeepSpeedPlugin, patch_environment
from accelerate.utils.launch import prepare_deepspeed_cmd_env

from letterlib.pipeline.config import make_config

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "experiments" / "deepspeed"


def dry_run(config_file: Path) -> tuple[dict[str, str], DeepSpeedPlugin]:
    """What `accelerate launch` would put into the environment of every process, and what each would
    make of it.
    """
    words = [
        "--config_file",
        str(config_file),
        "--main_process_port",
        "0",
        "letterlib",
        "train",
        "letter-lc-rec",
    ]
    args, defaults, _ = launch._validate_launch_command(
        launch.launch_command_parser().parse_args(words)
    )
    assert args.use_deepspeed
    args.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
    _, environment = prepare_deepspeed_cmd_env(args)
    with patch_environment(
        **{name: value for name, value in environment.items() if name.startswith("ACCELERATE_")}
    ):
        return environment | {"processes": args.nproc_per_node}, DeepSpeedPlugin()


def test_accelerate_takes_the_deepspeed_configuration_and_it_says_what_the_paper_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    environment, plugin = dry_run(FOLDER / "accelerate.yaml")
    assert (
        environment["ACCELERATE_USE_DEEPSPEED"] == "true"
        and environment["ACCELERATE_MIXED_PRECISION"] == "no"
    )
    settings, config = plugin.deepspeed_config, make_config("beauty", "paper").lcrec
    assert (
        settings["train_micro_batch_size_per_gpu"] * int(environment["processes"])
        == config.batch_size
    )
    assert settings["gradient_clipping"] == plugin.gradient_clipping == 1.0
    assert settings["gradient_accumulation_steps"] == plugin.gradient_accumulation_steps == 1
    assert (
        settings["bf16"]["enabled"]
        and settings["zero_optimization"]["stage"] == plugin.zero_stage == 2
    )
    written = json.loads((FOLDER / "zero2.json").read_text())
    assert (
        written.items() <= (settings | {"zero_optimization": written["zero_optimization"]}).items()
    )
