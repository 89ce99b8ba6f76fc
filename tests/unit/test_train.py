"""The one training loop: exact resume, early stopping, schedule, dtype."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from pydantic import ValidationError
from safetensors import safe_open

import letterlib.train as training
from letterlib.checkpoint import Run, TrainingLog
from letterlib.errors import LetterError
from letterlib.generators.tiger import TigerConfig
from letterlib.train import (
    epoch_seed,
    first_size,
    learning_rate_factor,
    resolve_device,
    resolve_dtype,
    seeded,
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
    return train(module, batches, loss, **settings | options)


def score_of(module):
    return lambda: -float((module(X) - Y).square().mean())


@pytest.mark.parametrize(
    ("killed_in", "relative_rate"), [(1, False), (4, False), (9, False), (4, True)]
)
def test_a_resumed_run_ends_with_the_same_weights_as_an_undisturbed_one(
    tmp_path, killed_in, relative_rate
):
    undisturbed, same = network(), dict(relative_rate=relative_rate)
    expected = fit(undisturbed, validate=score_of(undisturbed), **same)

    def kill(epoch):
        if epoch == killed_in:
            raise Killed

    checkpoint = tmp_path / "checkpoint.safetensors"
    first = network()
    with pytest.raises(Killed):
        fit(
            first,
            validate=score_of(first),
            checkpoint=checkpoint,
            checkpoint_seconds=0,
            start_epoch=kill,
            **same,
        )
    second = network()
    log = fit(second, validate=score_of(second), checkpoint=checkpoint, **same)
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    assert log.losses == expected.losses
    assert log.validations == expected.validations
    assert log.best_epoch == expected.best_epoch


def test_a_resumed_run_does_not_hold_its_checkpoint(tmp_path):
    """Windows replaces no file that is still mapped, so each later checkpoint would be an error
    there.
    """
    checkpoint, maps = tmp_path / "checkpoint.safetensors", Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux says which files a process has mapped")
    first = network()
    fit(first, epochs=2, validate=score_of(first), checkpoint=checkpoint, checkpoint_seconds=0)
    second = network()
    optimizer = torch.optim.AdamW(second.parameters())
    with safe_open(checkpoint, framework="pt") as file:
        of = file.metadata()["of"]
    run = Run(second, optimizer, TrainingLog(), checkpoint, "")
    run._identity = lambda: of
    run.resume()
    assert run.epoch == 2 and run.best and optimizer.state
    assert str(checkpoint) not in maps.read_text()


def test_a_checkpoint_in_which_a_bit_has_changed_is_not_gone_on_from(tmp_path, capsys):
    """safetensors would read it as numbers like any others, and the model that came of them would
    be kept.
    """
    checkpoint, plain = tmp_path / "checkpoint.safetensors", network()
    expected = fit(plain, epochs=4)
    fit(network(), epochs=4, checkpoint=checkpoint, checkpoint_seconds=0)
    whole = checkpoint.read_bytes()
    for place in (-1, -400):
        raw = bytearray(whole)
        raw[place] ^= 4
        checkpoint.write_bytes(raw)
        capsys.readouterr()
        module = network()
        assert fit(module, epochs=4, checkpoint=checkpoint).losses == expected.losses
        assert "cannot be read; training starts from the beginning" in capsys.readouterr().out
        assert all(
            torch.equal(a, b) for a, b in zip(module.parameters(), plain.parameters(), strict=True)
        )


def test_no_bit_of_a_checkpoint_s_header_says_another_epoch_or_ends_the_run(tmp_path):
    checkpoint, first = tmp_path / "checkpoint.safetensors", network()
    fit(first, epochs=2, checkpoint=checkpoint, checkpoint_seconds=0)
    with safe_open(checkpoint, framework="pt") as file:
        of = file.metadata()["of"]
    whole = checkpoint.read_bytes()
    for place in range(8 + int.from_bytes(whole[:8], "little")):
        checkpoint.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        module = network()
        run = Run(module, torch.optim.AdamW(module.parameters()), TrainingLog(), checkpoint, "")
        run._identity = lambda: of
        run.resume()
        assert (run.epoch, len(run.log.losses)) in [(0, 0), (2, 2)], place


def test_a_broken_checkpoint_is_said_and_training_starts_again(tmp_path, capsys):
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(b"broken")
    module, plain = network(), network()
    assert fit(module, checkpoint=checkpoint).losses == fit(plain).losses
    assert "cannot be read" in capsys.readouterr().out


def test_a_checkpoint_that_may_not_be_opened_ends_the_run_and_is_not_lost(tmp_path):
    """It may be a night's work; a folder in its place is what even an administrator cannot read."""
    (tmp_path / "checkpoint.safetensors").mkdir()
    with pytest.raises(
        LetterError, match="checkpoint.safetensors: cannot be read; check its permissions"
    ):
        fit(network(), checkpoint=tmp_path / "checkpoint.safetensors")


def test_early_stopping_counts_validations_and_the_best_weights_come_back():
    module = network()
    scores = iter([1.0, 3.0, 2.0, 2.5, 0.0, 9.0])
    kept = {}

    def validate():
        score = next(scores)
        if score == 3.0:
            kept.update({k: v.clone() for k, v in module.state_dict().items()})
        return score

    log = fit(module, validate=validate, patience=3)
    assert [epoch for epoch, _ in log.validations] == [1, 2, 3, 4, 5]
    assert (log.best_epoch, log.best_score) == (2, 3.0)
    again = TrainingLog.from_json(json.loads(json.dumps(asdict(log))))
    assert again == log and (again.best_epoch, again.best_score) == (2, 3.0)
    assert (
        TrainingLog.from_json({"losses": [], "validations": [[1, 0.5]], "best_epoch": 1}).best_epoch
        == 1
    )
    assert TrainingLog().best_epoch == -1
    assert all(torch.equal(kept[k], v) for k, v in module.state_dict().items())


def test_a_validation_that_is_no_number_is_said():
    with pytest.raises(LetterError, match="validation after epoch 1 is NaN"):
        fit(network(), validate=lambda: float("nan"))


def test_of_equal_scores_the_first_one_s_weights_come_back():
    module, kept = network(), []

    def validate():
        kept.append({k: v.clone() for k, v in module.state_dict().items()})
        return 1.0

    log = fit(module, validate=validate, epochs=3)
    assert log.best_epoch == 1 and not torch.equal(kept[0]["0.weight"], kept[2]["0.weight"])
    assert all(torch.equal(kept[0][k], v) for k, v in module.state_dict().items())


def test_training_leaves_the_caller_s_random_numbers_alone():
    torch.manual_seed(11)
    expected, module = torch.rand(2), network()
    torch.manual_seed(11)
    fit(module, epochs=1)
    assert torch.equal(torch.rand(2), expected)


def test_validation_and_the_callback_run_when_they_should():
    epochs = []
    module = network()
    log = fit(module, start_epoch=epochs.append, validate=lambda: 0.0, validate_every=4)
    assert epochs == list(range(10))
    assert [epoch for epoch, _ in log.validations] == [4, 8, 10]


def test_dropout_is_for_training_and_not_for_validation():
    module, trained, validated = network(), set(), set()

    def noting(module, batch):
        trained.add(module.training)
        return loss(module, batch)

    def validate():
        validated.add(module.training)
        return 0.0

    settings = dict(epochs=2, steps_per_epoch=8, learning_rate=1e-2, seed=0, what="test")
    train(module, batches, noting, validate=validate, **settings)
    assert (trained, validated) == ({True}, {False})


def test_another_seed_gives_other_weights():
    one, same, other = network(), network(), network()
    fit(one), fit(same), fit(other, seed=4)
    assert torch.equal(one[0].weight, same[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)


def test_the_schedule_warms_up_linearly_and_ends_at_zero():
    factors = [learning_rate_factor(step, 100, 10, "cosine") for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert [factors[i] for i in (10, 55, 100)] == pytest.approx([1.0, 0.5, 0.0])
    assert learning_rate_factor(77, 100, 10, "constant") == 1.0
    assert learning_rate_factor(0, 100, 0, "cosine") == 1.0


def test_a_relative_rate_moves_every_tensor_by_a_like_share_of_its_size():
    def shares(**options):
        """How far one step, the first of a constant schedule, moves each tensor, in units of its
        first size.
        """
        module = network()
        with torch.no_grad():
            module[0].weight.mul_(100)
            module[2].bias.zero_()
        before = {name: (p.clone(), first_size(p)) for name, p in module.named_parameters()}
        settings = dict(
            epochs=1, steps_per_epoch=1, learning_rate=1e-2, seed=3, what="test", **options
        )
        train(module, lambda generator: [(X, Y)], loss, **settings)
        moved = {
            name: (p - before[name][0]).abs().max().item() for name, p in module.named_parameters()
        }
        return {name: moved[name] / before[name][1] for name in moved}

    assert all(
        share == pytest.approx(1e-2, rel=0.01) for share in shares(relative_rate=True).values()
    )
    one_rate = shares()
    assert one_rate["2.weight"] > 20 * one_rate["0.weight"], (
        "one rate is little to the large and much to the small"
    )
    assert first_size(torch.tensor([[3.0, -4.0], [4.0, 3.0]])) == pytest.approx(12.5**0.5), (
        "however many weights"
    )
    assert first_size(torch.zeros(3)) == 1e-3, "what starts at zero must be able to move"


@pytest.mark.parametrize("multiplies", [True, False])
def test_dtype_auto_is_what_the_processor_can_do(monkeypatch, multiplies):
    monkeypatch.setattr(training, "multiplies_bfloat16", lambda: multiplies)
    assert resolve_dtype("auto", torch.device("cpu")) == (
        torch.bfloat16 if multiplies else torch.float32
    )


def test_a_gpu_with_a_number_becomes_the_current_one(monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    training._take_gpu("cuda:1"), training._take_gpu("cuda")
    assert current == [1]
    monkeypatch.setattr(training, "n_processes", lambda: 2)
    with pytest.raises(
        LetterError, match='"cuda:1": of several processes each takes a GPU of its own; choose cuda'
    ):
        training._take_gpu("cuda:1")


def test_on_a_gpu_products_of_float32_are_not_rounded_whatever_the_environment_says(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    torch.set_float32_matmul_precision("high")  # as TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1 has it
    try:
        training._take_gpu("cuda")
        assert (
            torch.get_float32_matmul_precision() == "highest"
            and not torch.backends.cuda.matmul.allow_tf32
        )
        assert not torch.backends.cudnn.allow_tf32, "Caser's convolutions"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_a_model_is_trained_on_its_own_gpu_though_another_one_was_made_later(monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(training, "Accelerator", lambda **options: options)
    options = training._accelerator(torch.device("cuda", 1))
    assert current == [torch.device("cuda", 1)] and not options["cpu"]
    assert training._accelerator(torch.device("cpu"))["cpu"] and len(current) == 1


def test_seeded_draws_leave_the_caller_s_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(0):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(0):
        assert torch.equal(torch.rand(3), first) and not torch.equal(first, expected)


def test_no_compiler_comes_from_the_environment(monkeypatch):
    """`accelerate launch --dynamo_backend` sets it; on a GPU Accelerate would then round float32,
    too.
    """
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")
    assert (
        type(training._accelerator(torch.device("cpu")).prepare(torch.nn.Linear(2, 2)))
        is torch.nn.Linear
    )


def test_no_other_dtype_comes_from_the_environment(monkeypatch):
    AcceleratorState._reset_state(
        reset_partial_state=True
    )  # as in a process that has trained nothing yet
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    seen = set()

    def watched(module, batch):
        seen.add(module[0](batch[0]).dtype)
        return loss(module, batch)

    train(
        network(),
        batches,
        watched,
        epochs=1,
        steps_per_epoch=8,
        learning_rate=1e-2,
        seed=3,
        what="test",
    )
    assert seen == {torch.float32}


def test_no_loss_is_divided_because_the_environment_says_so(monkeypatch):
    expected = fit(network()).losses
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "64")
    assert fit(network()).losses == expected


def test_a_process_that_has_trained_on_a_gpu_can_train_on_the_cpu():
    """Accelerate keeps one device for a whole process; here it is made to remember another than the
    module's.
    """
    expected = fit(network()).losses
    for state in (PartialState._shared_state, AcceleratorState._shared_state):
        state["device"], state["_cpu"] = torch.device("cuda"), False
    assert fit(network()).losses == expected
    assert PartialState().device == torch.device("cpu")


def test_dtype_is_what_was_asked_for():
    cpu = torch.device("cpu")
    assert resolve_dtype("float32", cpu) == torch.float32
    assert resolve_dtype("bfloat16", cpu) == torch.bfloat16


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
    assert not torch.allclose(unclipped[0].weight, plain[0].weight, atol=1e-4), (
        "clipping made no difference"
    )


def test_a_checkpoint_of_another_training_is_said_and_not_gone_on_from(tmp_path, capsys):
    """It outlives its training where the caller does not remove it, and would be taken for the end
    of the next one.
    """
    checkpoint, kept = tmp_path / "checkpoint.safetensors", dict(checkpoint_seconds=0)
    fit(network(), checkpoint=checkpoint, **kept)
    again, other = network(), network()
    assert len(fit(again, checkpoint=checkpoint).losses) == 10 and capsys.readouterr().out == ""
    expected = fit(network(), seed=4)
    assert fit(other, seed=4, checkpoint=checkpoint).losses == expected.losses
    assert (
        "the checkpoint of another training; this one starts from the beginning"
        in capsys.readouterr().out
    )
    small = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.Linear(4, 1))
    for given in (
        dict(module=small),
        dict(config=TigerConfig(tau=0.5)),
        dict(clip_norm=1.0),
        dict(data="other"),
    ):
        fit(**dict(module=network(), checkpoint=checkpoint) | given)
        assert "the checkpoint of another training" in capsys.readouterr().out


def test_weights_that_the_last_step_spoils_are_said():
    """The loss of a step is from before it: with one step an epoch, training ended well and ranked
    by item id.
    """

    def one_batch(generator):
        yield X, Y

    with pytest.raises(LetterError, match="a weight is not finite after epoch 1; lower the rate"):
        train(
            network(),
            one_batch,
            loss,
            epochs=1,
            steps_per_epoch=1,
            learning_rate=1e39,
            seed=0,
            what="test",
        )


def test_every_epoch_has_its_own_random_numbers():
    drawn = []

    def noting(module, batch):
        drawn.append(float(torch.rand(1)))
        return loss(module, batch)

    train(
        network(),
        batches,
        noting,
        epochs=2,
        steps_per_epoch=8,
        learning_rate=1e-2,
        seed=0,
        what="test",
    )
    assert drawn[0] != drawn[8]


def test_products_are_computed_in_the_dtype_that_is_asked_for():
    seen = set()

    def watched(module, batch):
        seen.add(module[0](batch[0]).dtype)
        return loss(module, batch)

    options = dict(epochs=1, steps_per_epoch=8, learning_rate=1e-2, seed=3, what="test")
    train(network(), batches, watched, dtype=torch.bfloat16, **options)
    assert seen == {torch.bfloat16}


@pytest.mark.parametrize(
    "other",
    [
        dict(what="other"),
        dict(epochs=2),
        dict(steps_per_epoch=9),
        dict(learning_rate=2e-2),
        dict(weight_decay=0.1),
        dict(warmup=0.5),
        dict(schedule="constant"),
        dict(relative_rate=True),
    ],
)
def test_a_checkpoint_of_other_settings_is_not_gone_on_from(tmp_path, capsys, other):
    checkpoint = tmp_path / "checkpoint.safetensors"
    fit(network(), epochs=1, checkpoint=checkpoint, checkpoint_seconds=0)
    fit(network(), **dict(epochs=1, checkpoint=checkpoint) | other)
    assert "the checkpoint of another training" in capsys.readouterr().out


def test_what_is_logged_of_an_epoch_is_the_mean_of_its_steps():
    def given(module, value):
        constant = 0 * module.weight.sum() + value
        return {"loss": constant, "half": constant / 2}

    settings = dict(epochs=2, steps_per_epoch=3, learning_rate=0.1, seed=0, what="test")
    log = train(torch.nn.Linear(1, 1), lambda generator: [1.0, 2.0, 6.0], given, **settings)
    assert log.losses == [{"loss": 3.0, "half": 1.5}] * 2


def test_a_trained_module_draws_no_dropout_also_where_nothing_was_validated():
    module = network()
    fit(module, epochs=1)
    assert not module.training


@pytest.mark.parametrize("multiplies", [True, False])
def test_a_gpu_is_taken_where_there_is_one_and_its_bfloat16_only_where_it_is_not_emulated(
    monkeypatch, multiplies
):
    def supported(including_emulation=True):  # a T4 emulates it
        return including_emulation or multiplies

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    device = resolve_device()
    assert device == torch.device("cuda")
    assert resolve_dtype("auto", device) == (torch.bfloat16 if multiplies else torch.float32)


def test_no_two_epochs_of_neighbouring_seeds_draw_the_same():
    assert len({epoch_seed(seed, epoch) for seed in range(5) for epoch in range(20_000)}) == 100_000


def test_settings_are_not_changed_unchecked():
    settings = TigerConfig()
    with pytest.raises(ValidationError, match="frozen"):
        settings.learning_rate = -1.0
