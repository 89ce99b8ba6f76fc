"""The one training loop: epochs, schedule, early stopping, checkpoints, exact resume, progress,
several processes.

Whatever is trained here hands it a module, batches and a loss. Every epoch seeds all its randomness
from (seed, epoch). So a run that is interrupted and resumed at an epoch boundary sees the same
batches and the same dropout as one that was not, and ends with the same weights; on a GPU, as near
as its kernels repeat themselves.
"""

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from letterlib.checkpoint import Run, TrainingLog
from letterlib.distributed import broadcast, is_main, join, n_processes, process_index
from letterlib.errors import LetterError
from letterlib.hardware import fast_float32, keep_freed_memory, multiplies_bfloat16
from letterlib.progress import progress
from letterlib.store import digest
from letterlib.tracking import accelerator_options, curves

Dtype = Annotated[
    Literal["float32", "bfloat16", "auto"],
    Field(description="number format of matrix products; auto asks the processor or GPU"),
]
Epochs = Annotated[
    int, Field(ge=1, description="passes over the training examples, or over those drawn for each")
]
LearningRate = Annotated[
    float,
    Field(
        gt=0,
        description="of AdamW, at its highest: it rises to this, then falls to 0 along a cosine",
    ),
]
WeightDecay = Annotated[
    float,
    Field(
        ge=0,
        description="of AdamW: the share, times the rate, that a step takes off every trained weight",
    ),
]
Schedule = Literal["cosine", "constant"]


class Settings(BaseModel):
    """What a model or a run is asked for: checked, never changed; a misspelt name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def resolve(cls, config: Self | None, settings: Mapping[str, Any]) -> Self:
        """`config`, or the defaults where it is None, with `settings` in place of its fields.

        What `SASRec(config, **settings)` and every other trained model does with its keywords.
        """
        if not settings:
            return cls() if config is None else config
        fields = {} if config is None else config.model_dump()
        return (cls if config is None else type(config))(**{**fields, **settings})


def resolve_device(device: str = "auto") -> torch.device:
    """Where to compute: "auto" is a GPU where there is one, else the CPU. Several processes get a
    GPU each.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise LetterError(f'device "{device}": choose auto, cpu, cuda or cuda:NUMBER')
    if device != "cpu":
        _take_gpu(device)
    join(on_cpu=device == "cpu")
    return torch.device(device)


def _take_gpu(device: str) -> None:
    """LetterError without that GPU. With a number it becomes the current one, which is where
    Accelerate trains.

    Products of float32 stay float32 on it: beams and nearest codes are told apart by small
    differences. Some containers ask torch for TF32, with ten bits after the point, in an
    environment variable.
    """
    n, (_, _, number) = torch.cuda.device_count(), device.partition(":")
    if number and n_processes() > 1:
        raise LetterError(
            f'device "{device}": of several processes each takes a GPU of its own; choose cuda or auto'
        )
    if int(number or 0) >= n:
        raise LetterError(
            f'device "{device}": torch sees {n} GPU(s) here; choose cpu or auto (letterlib doctor)'
        )
    if number:
        torch.cuda.set_device(int(number))
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False  # of convolutions (Caser), for which torch has it on


def resolve_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """In what to compute: "auto" asks the processor what it supports. It times nothing, so the
    answer is repeatable.
    """
    if dtype != "auto":
        return getattr(torch, dtype)
    fast = (
        torch.cuda.is_bf16_supported(including_emulation=False)
        if device.type == "cuda"
        else multiplies_bfloat16()
    )
    return torch.bfloat16 if fast else torch.float32


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch draws from `seed`, on the CPU and the GPU; afterwards the caller's draws go on
    as before.
    """
    with torch.random.fork_rng(
        devices=[torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    ):
        torch.manual_seed(seed)
        yield


def autocast(dtype: torch.dtype, device: torch.device):
    """Mixed precision where `dtype` is bfloat16, nothing otherwise. Weights stay float32."""
    return torch.autocast(device.type, dtype=dtype) if dtype == torch.bfloat16 else nullcontext()


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype of matrix products: bfloat16 inside `autocast`, else that of x."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def first_size(weights: Tensor) -> float:
    """The root mean square of a tensor before training, at least 0.001, so that one of zeros can
    move as well.

    Adam moves every weight by about the learning rate, whatever its size. A T5 starts with
    embeddings of size 1 and queries of size 0.01, so one rate for both is too low for the first or
    too high for the second. T5 was trained with Adafactor (Shazeer and Stern, 2018, section 8),
    whose rates are relative to the size of each tensor. (Queries that share a tensor with keys and
    values, as in TIGER's self-attention, share its rate.)
    """
    return max(float(weights.detach().float().square().mean().sqrt()), 1e-3)


def learning_rate_factor(step: int, total: int, warmup: int, schedule: Schedule) -> float:
    """Linear warm-up to 1 over `warmup` steps, then constant, or half a cosine down to 0 at
    `total`.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def train(
    module: nn.Module,
    batches: Callable[[np.random.Generator], Iterable[Any]],
    loss: Callable[[nn.Module, Any], dict[str, Tensor]],
    *,
    epochs: int,
    steps_per_epoch: int,
    learning_rate: float,
    seed: int,
    what: str,
    config: BaseModel | None = None,
    data: str = "",
    weight_decay: float = 0.0,
    warmup: float = 0.0,
    schedule: Schedule = "constant",
    relative_rate: bool = False,
    clip_norm: float | None = None,
    dtype: torch.dtype = torch.float32,
    start_epoch: Callable[[int], None] | None = None,
    validate: Callable[[], float] | None = None,
    validate_every: int = 1,
    validate_from: int = 0,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 20.0,
) -> TrainingLog:
    """Train `module` in place with AdamW and leave it with its best weights (its last without
    `validate`).

    module: on the device it is to be trained on.
    batches: called once an epoch with that epoch's random generator; yields `steps_per_epoch`
    batches.
    loss: (module, batch) -> named parts; the part called "loss" is minimised, all are logged. With
    several processes
        a batch holds this one's share (`distributed.share`), and means are weighed by its size
        (`distributed.weighed`).
    warmup: share of all steps. patience: validations without a new best before stopping.
    relative_rate: multiply the rate of every tensor by its `first_size`.
    validate_from: epochs before the first validation; what comes earlier cannot be the best.
    start_epoch: called with the epoch's number before its first batch (LETTER regroups its
    codebooks).
    config: the settings of the model that is trained, such as tau and dropout; data: a hash of what
    it learns from.
        Both tell its checkpoint from others.
    checkpoint: a file to resume from and to write at most every `checkpoint_seconds`; removed by
    the caller. One of a
        training with another name, seed, length, schedule, rate, config or data, or of a module of
        other shapes, is not gone on from.
        Under DeepSpeed there is none: its optimizer is in parts, one a process, and one file would
        lack the others.
    The progress bar counts steps: a language model's epoch takes ten minutes, in which epochs would
    say nothing.
    """
    keep_freed_memory()
    accelerator = _accelerator(next(module.parameters()).device)
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [{"params": [p], "size": first_size(p)} for p in trained] if relative_rate else trained
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)
    module.to(accelerator.device)
    loop = (
        what,
        seed,
        epochs,
        steps_per_epoch,
        learning_rate,
        weight_decay,
        warmup,
        schedule,
        relative_rate,
        clip_norm,
    )
    kept = (
        None
        if checkpoint is None or accelerator.distributed_type == "DEEPSPEED"
        else Path(checkpoint)
    )
    run = Run(
        module,
        optimizer,
        TrainingLog(),
        kept,
        digest(loop, config and config.model_dump(mode="json"), data),
    )
    run.resume()
    loss_of, stepper = accelerator.prepare(_Loss(module, loss), optimizer)
    total = epochs * steps_per_epoch

    def one_step(step: int, batch: Any) -> dict[str, Tensor]:
        rate = learning_rate * learning_rate_factor(step, total, int(warmup * total), schedule)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("size", 1.0)
        with autocast(dtype, accelerator.device):
            parts = loss_of(batch)
        accelerator.backward(parts["loss"])
        if clip_norm is not None:
            accelerator.clip_grad_norm_(trained, clip_norm)
        stepper.step()
        stepper.zero_grad(set_to_none=True)
        bar.update()
        return {name: value.detach() for name, value in parts.items()}

    saved, done = time.perf_counter(), run.epoch * steps_per_epoch
    bar = progress(what=what, total=total, initial=done, unit="step")
    with seeded(seed), fast_float32(), curves(accelerator), bar:
        while run.epoch < epochs and not run.is_over(patience):
            # Batches are the same in every process, dropout is its own.
            torch.manual_seed(epoch_seed(seed, run.epoch) + 100_003 * process_index())
            if start_epoch is not None:
                start_epoch(run.epoch)
            module.train()
            steps = enumerate(
                batches(np.random.default_rng([seed, run.epoch])), start=run.epoch * steps_per_epoch
            )
            run.end_epoch([one_step(step, batch) for step, batch in steps])
            due = run.epoch >= validate_from and run.epoch % validate_every == 0
            if validate is not None and (due or run.epoch == epochs):
                module.eval()
                with torch.no_grad():
                    run.record(broadcast(validate))
            accelerator.log(run.last(), step=run.epoch)
            _show(bar, f"{run.epoch}/{epochs}", run.log.losses[-1])
            if (
                run.path is not None
                and is_main()
                and time.perf_counter() - saved > checkpoint_seconds
            ):
                run.save()
                saved = time.perf_counter()
    run.finish()
    return run.log


def epoch_seed(seed: int, epoch: int) -> int:
    """What torch's generator starts from in one epoch of one run."""
    return seed * 1_000_003 + epoch


def _accelerator(device: torch.device) -> Accelerator:
    """Accelerate for one training. Whatever the environment says, it rounds nothing, which is for
    `dtype` to say, compiles nothing, and divides no loss by a number of steps to be accumulated.
    """
    if n_processes() == 1:
        # Accelerate keeps one state for the whole process: a second training would get the device
        # of the first.
        AcceleratorState._reset_state(reset_partial_state=True)
        if (
            device.type == "cuda"
        ):  # it trains on the current one, which may be that of a model made later
            torch.cuda.set_device(device)
    options = {
        "gradient_accumulation_plugin": GradientAccumulationPlugin(num_steps=1),
        **accelerator_options(),
    }
    return Accelerator(
        cpu=device.type == "cpu", mixed_precision="no", dynamo_backend="no", **options
    )


class _Loss(nn.Module):
    """Module and loss as one module. Whatever of `module` the loss uses is used inside `forward`,
    where DistributedDataParallel and DeepSpeed see it and average its gradients.
    """

    def __init__(self, module: nn.Module, loss: Callable[[nn.Module, Any], dict[str, Tensor]]):
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return self.loss(self.module, batch)

    def named_buffers(self, *_: Any, **__: Any) -> Iterator[tuple[str, Tensor]]:
        """None to be sent to other processes: here buffers are constants, and LightGCN's sparse one
        cannot be sent.
        """
        return iter(())


def _show(bar: Any, epoch: str, parts: dict[str, float]) -> None:
    """The epoch that ended and its loss, on the progress bar. The parts of the loss would leave it
    no room.
    """
    bar.set_postfix({"epoch": epoch, "loss": f"{parts['loss']:.4g}"}, refresh=False)
