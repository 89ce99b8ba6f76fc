"""The one training loop: exact resume, early stopping, schedule, dtype, trackers."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from pydantic import ValidationError

import letterlib.train as training
from letterlib.baselines.lightgcn import LightGCNConfig
from letterlib.errors import LetterError
from letterlib.generators.tiger import TigerConfig
from letterlib.pipeline.cache import Cache
from letterlib.train import (
    TrainingLog,
    epoch_seed,
    first_size,
    learning_rate_factor,
    load_model,
    resolve_device,
    resolve_dtype,
    save_model,
    seeded,
    tracked,
    train,
)

X = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
Y = X.sum(dim=1, keepdim=True)


class Killed(Exception):
    pass


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 16), torch.nn.Dropout(0.3), torch.nn.Linear(16, 1)
    )


def batches(generator):
    for rows in np.array_split(generator.permutation(256), 8):
        yield X[rows], Y[rows]


def loss(module, batch):
    return {"loss": (module(batch[0]) - batch[1]).square().mean()}


def fit(module, **options):
    settings = dict(
        epochs=10, steps_per_epoch=8, learning_rate=1e-2, seed=3, what="test", schedule="cosine"
    )
    return train(module, batches, options.pop("loss", loss), **settings | options)


def score_of(module):
    return lambda: -float((module(X) - Y).square().mean())


def same_weights(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


# Checkpoints


@pytest.mark.parametrize(
    ("killed_in", "relative_rate"), [(1, False), (4, False), (9, False), (4, True)]
)
def test_a_resumed_run_ends_with_the_same_weights_as_an_undisturbed_one(
    tmp_path, killed_in, relative_rate
):
    undisturbed, options = network(), dict(relative_rate=relative_rate)
    expected = fit(undisturbed, validate=score_of(undisturbed), **options)

    def kill(epoch):
        if epoch == killed_in:
            raise Killed

    options["checkpoint"] = tmp_path / "checkpoint.safetensors"
    first, second = network(), network()
    with pytest.raises(Killed):
        fit(first, validate=score_of(first), checkpoint_seconds=0, start_epoch=kill, **options)
    log = fit(second, validate=score_of(second), **options)
    assert same_weights(undisturbed, second) and log == expected


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
import torch
from test_train import fit, network, score_of
from letterlib.train import save_model
from letterlib.generators.tiger import TigerConfig

module, epochs = network(), int(sys.argv[3])
log = fit(module, validate=score_of(module), epochs=epochs, checkpoint=sys.argv[2],
          checkpoint_seconds=0, start_epoch=lambda epoch: time.sleep(float(sys.argv[4])))
save_model(sys.argv[2] + ".model", "test", module.state_dict(), TigerConfig(), 0, log)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_bytes(tmp_path):
    """SIGKILL at any moment of writing checkpoints, twice."""

    def start(name, pause):
        command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path / name)]
        environment = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen([*command, "60", str(pause)], env=environment)

    assert start("undisturbed", 0).wait(120) == 0
    for _ in range(2):
        process, checkpoint = start("killed", 0.05), tmp_path / "killed"
        deadline, before = (
            time.monotonic() + 120,
            checkpoint.exists() and checkpoint.stat().st_mtime,
        )
        while not checkpoint.exists() or checkpoint.stat().st_mtime == before:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    assert start("killed", 0).wait(120) == 0
    models = [(tmp_path / f"{name}.model").read_bytes() for name in ("undisturbed", "killed")]
    assert models[0] == models[1]


def test_a_damaged_checkpoint_is_said_and_training_starts_again(tmp_path, capsys):
    checkpoint, plain = tmp_path / "checkpoint.safetensors", network()
    expected = fit(plain, epochs=4)
    fit(network(), epochs=4, checkpoint=checkpoint, checkpoint_seconds=0)
    whole = bytearray(checkpoint.read_bytes())
    whole[-1] ^= 4
    for content in (bytes(whole), b"broken"):
        checkpoint.write_bytes(content)
        module = network()
        assert fit(module, epochs=4, checkpoint=checkpoint).losses == expected.losses
        assert "checkpoint.safetensors: damaged" in capsys.readouterr().out
        assert same_weights(module, plain)


def test_a_checkpoint_of_another_training_is_said_and_not_resumed(tmp_path, capsys):
    """It outlives its training where the caller does not remove it."""
    checkpoint = tmp_path / "checkpoint.safetensors"
    fit(network(), epochs=2, checkpoint=checkpoint, checkpoint_seconds=0)
    assert len(fit(network(), epochs=2, checkpoint=checkpoint).losses) == 2
    assert capsys.readouterr().out == ""
    small = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(4, 1))
    for other in (
        dict(module=small),
        dict(seed=4),
        dict(config=TigerConfig(tau=0.5)),
        dict(data="other"),
        dict(what="other"),
        dict(epochs=1),
        dict(steps_per_epoch=9),
        dict(learning_rate=2e-2),
        dict(weight_decay=0.1),
        dict(warmup=0.5),
        dict(schedule="constant"),
        dict(relative_rate=True),
        dict(clip_norm=1.0),
    ):
        fit(**dict(module=network(), epochs=2, checkpoint=checkpoint) | other)
        assert "the checkpoint of another training" in capsys.readouterr().out, other


def test_a_saved_model_comes_back_and_one_of_another_kind_is_refused(tmp_path):
    path, module, log = tmp_path / "model", network(), TrainingLog([{"loss": 0.5}], [(1, 0.25)])
    save_model(path, "test", module.state_dict(), TigerConfig(tau=0.5), 7, log, {"users": 3})
    saved = load_model(path, "test", TigerConfig)
    assert (saved.config, saved.seed, saved.log) == (TigerConfig(tau=0.5), 7, log)
    assert saved.report == {"users": 3}
    assert all(torch.equal(value, saved.tensors[k]) for k, value in module.state_dict().items())
    with pytest.raises(LetterError, match="model: holds no TIGER model"):
        load_model(path, "TIGER", TigerConfig)
    with pytest.raises(LetterError, match="model: .*tau"):  # as of another version
        load_model(path, "test", LightGCNConfig)


# Validation


def test_early_stopping_counts_validations_and_the_best_weights_come_back():
    module, kept = network(), {}
    scores = iter([1.0, 3.0, 2.0, 2.5, 0.0, 9.0])

    def validate():
        score = next(scores)
        if score == 3.0:
            kept.update({k: v.clone() for k, v in module.state_dict().items()})
        return score

    log = fit(module, validate=validate, patience=3)
    assert [epoch for epoch, _ in log.validations] == [1, 2, 3, 4, 5]
    assert (log.best_epoch, log.best_score) == (2, 3.0)
    assert TrainingLog.from_json(json.loads(json.dumps(asdict(log)))) == log
    assert TrainingLog().best_epoch == -1
    assert all(torch.equal(kept[k], v) for k, v in module.state_dict().items())


def test_of_equal_scores_the_first_one_s_weights_come_back():
    module, kept = network(), []

    def validate():
        kept.append({k: v.clone() for k, v in module.state_dict().items()})
        return 1.0

    log = fit(module, validate=validate, epochs=3)
    assert log.best_epoch == 1 and not torch.equal(kept[0]["0.weight"], kept[2]["0.weight"])
    assert all(torch.equal(kept[0][k], v) for k, v in module.state_dict().items())


def test_validation_and_the_callback_run_when_they_should():
    epochs = []
    log = fit(network(), start_epoch=epochs.append, validate=lambda: 0.0, validate_every=4)
    assert epochs == list(range(10))
    assert [epoch for epoch, _ in log.validations] == [4, 8, 10]


def test_a_validation_that_is_not_a_number_is_an_error():
    with pytest.raises(LetterError, match="validation after epoch 1 is NaN"):
        fit(network(), validate=lambda: float("nan"))


def test_weights_that_the_last_step_spoils_are_an_error():
    """The loss of a step is from before it: with one step an epoch, training would end well."""
    with pytest.raises(LetterError, match="a weight is not finite after epoch 1"):
        options = dict(epochs=1, steps_per_epoch=1, learning_rate=1e39, seed=0, what="test")
        train(network(), lambda generator: [(X, Y)], loss, **options)


def test_dropout_is_for_training_and_not_for_validation():
    module, trained, validated = network(), set(), set()

    def noting(module, batch):
        trained.add(module.training)
        return loss(module, batch)

    def validate():
        validated.add(module.training)
        return 0.0

    fit(module, loss=noting, validate=validate, epochs=2)
    assert (trained, validated, module.training) == ({True}, {False}, False)


# Random numbers


def test_training_leaves_the_caller_s_random_numbers_alone():
    torch.manual_seed(11)
    expected, module = torch.rand(2), network()
    torch.manual_seed(11)
    fit(module, epochs=1)
    assert torch.equal(torch.rand(2), expected)


def test_seeded_draws_leave_the_caller_s_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(0):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(0):
        assert torch.equal(torch.rand(3), first) and not torch.equal(first, expected)


def test_every_seed_and_every_epoch_has_its_own_random_numbers():
    drawn = []

    def noting(module, batch):
        drawn.append(float(torch.rand(1)))
        return loss(module, batch)

    one, same, other = network(), network(), network()
    fit(one, loss=noting, epochs=2), fit(same, epochs=2), fit(other, seed=4, epochs=2)
    assert drawn[0] != drawn[8]
    assert not same_weights(same, other)
    assert len({epoch_seed(seed, epoch) for seed in range(5) for epoch in range(20_000)}) == 100_000


# The optimizer


def test_the_schedule_warms_up_linearly_and_ends_at_zero():
    factors = [learning_rate_factor(step, 100, 10, "cosine") for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert [factors[i] for i in (10, 55, 100)] == pytest.approx([1.0, 0.5, 0.0])
    assert learning_rate_factor(77, 100, 10, "constant") == 1.0
    assert learning_rate_factor(0, 100, 0, "cosine") == 1.0


def test_the_loop_is_adamw_with_warm_up_cosine_and_clipping():
    def straight():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 1))

    options = dict(epochs=3, warmup=0.25, weight_decay=0.1)
    ours, unclipped, plain = straight(), straight(), straight()
    fit(ours, clip_norm=0.05, **options)
    fit(unclipped, **options)
    optimizer, step = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=0.1), 0
    for epoch in range(3):
        for batch in batches(np.random.default_rng([3, epoch])):
            factor = (step + 1) / 6 if step < 6 else 0.5 * (1 + np.cos(np.pi * (step - 6) / 18))
            optimizer.param_groups[0]["lr"] = 1e-2 * factor
            loss(plain, batch)["loss"].backward()
            torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.05)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(unclipped[0].weight, plain[0].weight, atol=1e-4)


def test_a_relative_rate_moves_every_tensor_by_a_like_share_of_its_size():
    def shares(**options):
        """How far the first step moves each tensor, in units of its first size."""
        module = network()
        with torch.no_grad():
            module[0].weight.mul_(100)
            module[2].bias.zero_()
        before = {name: (p.clone(), first_size(p)) for name, p in module.named_parameters()}
        settings = dict(epochs=1, steps_per_epoch=1, learning_rate=1e-2, seed=3, what="test")
        train(module, lambda generator: [(X, Y)], loss, **settings, **options)
        moved = {
            name: (p - before[name][0]).abs().max().item() for name, p in module.named_parameters()
        }
        return {name: moved[name] / before[name][1] for name in moved}

    relative, one_rate = shares(relative_rate=True), shares()
    assert list(relative.values()) == pytest.approx([1e-2] * len(relative), rel=0.01)
    assert one_rate["2.weight"] > 20 * one_rate["0.weight"]
    assert first_size(torch.tensor([[3.0, -4.0], [4.0, 3.0]])) == pytest.approx(12.5**0.5)
    assert first_size(torch.zeros(3)) == 1e-3, "what starts at zero must be able to move"


def test_what_is_logged_of_an_epoch_is_the_mean_of_its_steps():
    def given(module, value):
        constant = 0 * module.weight.sum() + value
        return {"loss": constant, "half": constant / 2}

    settings = dict(epochs=2, steps_per_epoch=3, learning_rate=0.1, seed=0, what="test")
    log = train(torch.nn.Linear(1, 1), lambda generator: [1.0, 2.0, 6.0], given, **settings)
    assert log.losses == [{"loss": 3.0, "half": 1.5}] * 2


# Device and dtype


@pytest.mark.parametrize("multiplies", [True, False])
def test_dtype_auto_is_bfloat16_where_it_is_multiplied_and_not_emulated(monkeypatch, multiplies):
    def supported(including_emulation=True):  # a T4 emulates it
        return including_emulation or multiplies

    expected, cpu = torch.bfloat16 if multiplies else torch.float32, torch.device("cpu")
    monkeypatch.setattr(training, "multiplies_bfloat16", lambda: multiplies)
    assert resolve_dtype("auto", cpu) == expected
    assert resolve_dtype("float32", cpu) == torch.float32
    assert resolve_dtype("bfloat16", cpu) == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert resolve_dtype("auto", resolve_device()) == expected


def test_products_are_computed_in_the_dtype_that_is_asked_for(monkeypatch):
    """Not in one that `accelerate launch` puts into the environment, nor compiled, nor divided."""
    AcceleratorState._reset_state(reset_partial_state=True)
    expected = fit(network(), epochs=1).losses
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "64")
    AcceleratorState._reset_state(reset_partial_state=True)
    seen = []

    def watched(module, batch):
        seen.append(module[0](batch[0]).dtype)
        return loss(module, batch)

    assert fit(network(), loss=watched, epochs=1).losses == expected
    fit(network(), loss=watched, epochs=1, dtype=torch.bfloat16)
    assert (set(seen[:8]), set(seen[8:])) == ({torch.float32}, {torch.bfloat16})


def test_a_gpu_with_a_number_becomes_the_current_one_and_float32_is_not_rounded(monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    torch.set_float32_matmul_precision("high")  # as TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 has it
    try:
        resolve_device("cuda:1"), resolve_device("cuda")
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32, "Caser's convolutions"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert current == [1]
    for wrong in ("cuda:2", "gpu"):
        with pytest.raises(LetterError, match=f'device "{wrong}"'):
            resolve_device(wrong)
    monkeypatch.setattr(training, "n_processes", lambda: 2)
    with pytest.raises(LetterError, match='"cuda:1": each of several processes'):
        resolve_device("cuda:1")


def test_a_model_is_trained_on_its_own_device_whatever_was_trained_before(monkeypatch):
    """Accelerate keeps one device for a whole process; here it remembers another."""
    expected = fit(network(), epochs=1).losses
    for state in (PartialState._shared_state, AcceleratorState._shared_state):
        state["device"], state["_cpu"] = torch.device("cuda"), False
    assert fit(network(), epochs=1).losses == expected
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(training, "Accelerator", lambda **options: options)
    assert not training._accelerator(torch.device("cuda", 1))["cpu"]
    assert current == [torch.device("cuda", 1)]


def test_settings_are_not_changed_unchecked():
    settings = TigerConfig()
    with pytest.raises(ValidationError, match="frozen"):
        settings.learning_rate = -1.0


# Trackers


def test_curves_go_to_the_tracker_that_is_asked_for_and_change_nothing(tmp_path, monkeypatch):
    plain, module, logged = network(), network(), []

    class Tracker(training.Accelerator):
        def __init__(self, log_with, project_dir, **options):
            logged.append((log_with, project_dir))
            super().__init__(**options)

        def init_trackers(self, project, config, options):
            logged.append((project, options["wandb"]["name"]))

        def log(self, values, step):
            logged.append((step, values))

    expected = fit(plain, epochs=2)
    monkeypatch.setattr(training, "Accelerator", Tracker)
    with tracked("wandb", tmp_path / "tracking" / "demo" / "key"):
        log = fit(module, epochs=2, validate=lambda: 0.5, validate_every=2)
    assert logged[:2] == [("wandb", tmp_path / "tracking" / "demo"), ("letterlib", "demo/key")]
    assert logged[2:] == [(1, log.losses[0]), (2, log.losses[1] | {"validation": 0.5})]
    assert log.losses == expected.losses and same_weights(module, plain)


def test_curves_go_to_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra `tracking` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tracked("tensorboard", tmp_path / "demo" / "key"):
        fit(network(), epochs=3, validate=lambda: 0.5, validate_every=2)
    events = EventAccumulator(str(tmp_path / "demo" / "key")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]
    assert [event.step for event in events.Scalars("validation")] == [2, 3]


def test_a_tracker_that_is_unknown_or_not_installed_is_refused_before_any_work(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LetterError, match="wandb: not installed; run: pip install wandb"):
        Cache(tmp_path / "runs", track="wandb")
    with pytest.raises(LetterError, match='"tensorbord"; choose one of tensorboard, wandb'):
        Cache(tmp_path / "runs", track="tensorbord")
    assert not (tmp_path / "runs").exists()
