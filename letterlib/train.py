"""The one training loop: schedule, early stopping, checkpoints with exact resume, processes.

Every trained model hands `train` a module, batches and a loss. Each epoch seeds all its randomness
from (seed, epoch), so a run that is interrupted and resumed at an epoch boundary sees the same
batches and the same dropout as one that was not, and ends with the same weights (on a GPU, as far
as its kernels repeat themselves). Checkpoints and models are safetensors files: no pickle.
"""

import importlib.util
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from letterlib.distributed import (
    averaged,
    broadcast,
    is_main,
    join,
    n_processes,
    process_index,
)
from letterlib.errors import LetterError
from letterlib.hardware import fast_float32, keep_freed_memory, multiplies_bfloat16
from letterlib.progress import progress
from letterlib.store import digest, load_tensors, save_tensors

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
        description=(
            "of AdamW: the share, times the rate, that a step takes off every trained weight"
        ),
    ),
]
Schedule = Literal["cosine", "constant"]


class Settings(BaseModel):
    """What a model or a run is asked for: checked, never changed; a misspelt name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _countable(cls, value: Any) -> Any:
        """Refuse epochs=10**30 here, and not hours later where torch counts in 64 bits."""
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and abs(number) > 2**31:
                raise PydanticCustomError("countable", "must be below 2,147,483,648")
        return value

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
    """Where to compute: "auto" is a GPU if there is one, else the CPU.

    Of several processes each gets a GPU. On a GPU, products of float32 stay float32: beams and
    nearest codes differ by little, and some containers switch TF32 on by an environment variable.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise LetterError(f'device "{device}": choose auto, cpu, cuda or cuda:NUMBER')
    if device != "cpu":
        n, number = torch.cuda.device_count(), device.partition(":")[2]
        if number and n_processes() > 1:
            raise LetterError(
                f'device "{device}": each of several processes takes its own GPU; choose cuda or '
                "auto"
            )
        if int(number or 0) >= n:
            raise LetterError(
                f'device "{device}": torch sees {n} GPU(s); choose cpu or auto (letterlib doctor)'
            )
        if number:
            torch.cuda.set_device(int(number))  # Accelerate trains on the current one
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False  # of convolutions (Caser); on by default
    if n_processes() > 1:
        join(on_cpu=device == "cpu")
    return torch.device(device)


def resolve_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """The dtype of matrix products: "auto" is bfloat16 where the processor or GPU multiplies it."""
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
    """Inside, torch draws from `seed`; afterwards the caller's draws go on as before."""
    with torch.random.fork_rng(
        devices=[torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    ):
        torch.manual_seed(seed)
        yield


def autocast(dtype: torch.dtype, device: torch.device):
    """Mixed precision if `dtype` is bfloat16, else nothing. Weights stay float32."""
    return torch.autocast(device.type, dtype=dtype) if dtype == torch.bfloat16 else nullcontext()


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype of matrix products: bfloat16 inside `autocast`, else that of x."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def first_size(weights: Tensor) -> float:
    """The root mean square of a tensor before training, at least 0.001.

    Adam moves every weight by about the learning rate, whatever its size. A T5 starts with
    embeddings of size 1 and queries of size 0.01, so one rate for both is too low for the first or
    too high for the second. T5 was trained with Adafactor (Shazeer and Stern, 2018, section 8),
    whose rates are relative to the size of each tensor.
    """
    return max(float(weights.detach().float().square().mean().sqrt()), 1e-3)


def learning_rate_factor(step: int, total: int, warmup: int, schedule: Schedule) -> float:
    """Linear warm-up to 1 over `warmup` steps, then constant, or half a cosine to 0 at `total`."""
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def epoch_seed(seed: int, epoch: int) -> int:
    """What torch's generator starts from in one epoch of one run."""
    return seed * 1_000_003 + epoch


def strip_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, under the rest of their names."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


@dataclass
class TrainingLog:
    """What happened, epoch by epoch.

    losses: of every epoch, the mean of every part of the loss.
    validations: (epoch, counted from 1, and score, higher is better).
    """

    losses: list[dict[str, float]] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The log in what `asdict` made of it, after a way through JSON."""
        return cls(value["losses"], [tuple(pair) for pair in value["validations"]])

    @property
    def best_score(self) -> float:
        """-inf if nothing was validated."""
        return max((score for _, score in self.validations), default=-math.inf)

    @property
    def best_epoch(self) -> int:
        """The epoch of the best score, the first among equals; -1 if nothing was validated."""
        return max(self.validations, key=lambda pair: pair[1], default=(-1, -math.inf))[0]


@dataclass
class Run:
    """A training run's state and its checkpoint.

    module: if only a part of it is trained (LoRA), only that part is kept.
    path: of the checkpoint; None keeps none.
    settings: a hash of what is trained on what. A checkpoint of other settings, or of a module of
        other shapes, is not resumed.
    epoch: how many are done.
    best: the weights of the best score, on the CPU.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    log: TrainingLog
    path: Path | None
    settings: str = ""
    epoch: int = 0
    best: dict[str, Tensor] | None = None

    def weights(self) -> dict[str, Tensor]:
        """The module's state without frozen weights."""
        parameters = self.module.named_parameters(remove_duplicate=False)
        frozen = {name for name, p in parameters if not p.requires_grad}
        state = self.module.state_dict()
        return {name: value.detach() for name, value in state.items() if name not in frozen}

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Load what `weights` gave; frozen weights stay."""
        self.module.load_state_dict(self.module.state_dict() | weights)

    def is_over(self, patience: int | None) -> bool:
        """Whether `patience` validations have passed without a new best score."""
        since_best = sum(epoch > self.log.best_epoch for epoch, _ in self.log.validations)
        return patience is not None and since_best >= patience

    def end_epoch(self, steps: list[dict[str, Tensor]]) -> None:
        """Log the mean of every part of the loss over the epoch's steps and the processes.

        A loss or a weight that is not finite is a LetterError. The loss alone does not show it: it
        was computed before the last step.
        """
        self.epoch += 1
        means = {
            part: float(averaged(torch.stack([step[part] for step in steps]).mean()))
            for part in steps[0]
        }
        if not math.isfinite(means["loss"]):
            raise LetterError(
                f"training diverged: the loss of epoch {self.epoch} is {means['loss']}; "
                "lower the rate"
            )
        if not all(p.isfinite().all() for p in self.module.parameters() if p.requires_grad):
            raise LetterError(
                f"training diverged: a weight is not finite after epoch {self.epoch}; "
                "lower the rate"
            )
        self.log.losses.append(means)

    def record(self, score: float) -> None:
        """Log a validation, and keep a copy of the weights if its score is a new best."""
        if math.isnan(score):
            raise LetterError(
                f"the validation after epoch {self.epoch} is NaN; see what `validate` returns"
            )
        if score > self.log.best_score:
            self.best = {name: value.cpu().clone() for name, value in self.weights().items()}
        self.log.validations.append((self.epoch, score))

    def last(self) -> dict[str, float]:
        """The last epoch's losses and, if it was validated, its score."""
        scores = [score for epoch, score in self.log.validations if epoch == self.epoch]
        return self.log.losses[-1] | ({"validation": scores[0]} if scores else {})

    def finish(self) -> None:
        """Put the best weights back, if anything was validated; switch to evaluation mode."""
        if self.best is not None:
            self.restore(self.best)
        self.module.eval()

    def save(self) -> None:
        """Write the checkpoint."""
        tensors = {f"module.{name}": value for name, value in self.weights().items()}
        tensors |= {f"best.{name}": value for name, value in (self.best or {}).items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            for name, value in state.items():
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
        save_tensors(self.path, tensors, {"log": asdict(self.log), "of": self._identity()})

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one. One printed line if it cannot be used."""
        if self.path is None or not self.path.exists():
            return
        again = "training starts from the beginning"
        try:
            tensors, header = load_tensors(self.path)
        except LetterError as error:
            return print(f"{error}; {again}")
        if header.get("of") != self._identity():
            return print(f"{self.path.name}: the checkpoint of another training; {again}")
        self.restore(strip_prefix("module.", tensors))
        self.best = strip_prefix("best.", tensors) or None
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in strip_prefix("optimizer.", tensors).items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.log = TrainingLog.from_json(header["log"])
        self.epoch = len(self.log.losses)

    def _identity(self) -> str:
        shapes = {name: list(weight.shape) for name, weight in self.weights().items()}
        return digest(self.settings, shapes)


@dataclass(frozen=True)
class SavedModel:
    """What `save_model` wrote."""

    tensors: dict[str, Tensor]
    config: Any
    seed: int
    log: TrainingLog
    report: dict[str, Any]


def save_model(
    path: str | Path,
    kind: str,
    tensors: Mapping[str, Tensor],
    config: BaseModel,
    seed: int,
    log: TrainingLog,
    report: dict[str, Any] | None = None,
) -> None:
    """Write a trained model as one safetensors file.

    kind: the name of the model, which `load_model` asks for. report: other JSON values.
    """
    header = {
        "kind": kind,
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "log": asdict(log),
        "report": report or {},
    }
    save_tensors(path, tensors, header)


def load_model(path: str | Path, kind: str, config_class: type[BaseModel]) -> SavedModel:
    """Read what `save_model` wrote. A file that is missing, damaged or of another kind is a
    LetterError.
    """
    tensors, header = load_tensors(path)
    if header.get("kind") != kind:
        raise LetterError(f"{path}: holds no {kind} model; choose the file that its `save` wrote")
    try:
        config, log = config_class.model_validate(header["config"]), header["log"]
        log = TrainingLog.from_json(log)
        return SavedModel(tensors, config, header["seed"], log, header["report"] or {})
    except (KeyError, TypeError, ValueError) as error:
        raise LetterError(
            f"{path}: not a {kind} model as this version saves it ({error}); train it again"
        ) from error


TRACKERS = ("tensorboard", "wandb")

_tracker: ContextVar[tuple[str, Path] | None] = ContextVar("tracker", default=None)


def check_tracker(name: str | None) -> None:
    """LetterError for a tracker that is unknown or not installed; Accelerate would log nothing."""
    if name is not None and name not in TRACKERS:
        raise LetterError(f'--track: no tracker "{name}"; choose one of {", ".join(TRACKERS)}')
    if name is not None and importlib.util.find_spec(name) is None:
        raise LetterError(f"--track {name}: not installed; run: pip install {name}")


@contextmanager
def tracked(name: str | None, folder: Path) -> Iterator[None]:
    """Let what is trained in the block log its curves with a tracker of Accelerate's.

    name: "tensorboard" or "wandb"; None logs nothing. folder: its last two parts name the run.
    """
    before = _tracker.set((name, folder) if name and is_main() else None)
    try:
        yield
    finally:
        _tracker.reset(before)


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
    """Train `module` in place with AdamW; leave it with its best weights (without `validate`, its
    last).

    module: on the device on which it is trained.
    batches: called once an epoch with its random generator; yields `steps_per_epoch` batches.
    loss: (module, batch) -> named parts; "loss" is minimised, all are logged. Of several processes
        each takes its share of a batch (`distributed.share`) and weighs its means
        (`distributed.weighed`).
    what: a name for the progress bar.
    config: the settings of the model; data: a hash of what it learns from. Both belong to the
        identity of a checkpoint.
    warmup: share of all steps.
    relative_rate: multiply the rate of every tensor by its `first_size`.
    start_epoch: called with the epoch's number before its first batch.
    validate: returns a score, higher is better.
    validate_every, validate_from: in epochs; what comes before `validate_from` cannot be the best.
    patience: validations without a new best before stopping.
    checkpoint: a file to resume from and to write at most every `checkpoint_seconds`; the caller
        removes it. Under DeepSpeed there is none: each process has a part of the optimizer.
    """
    keep_freed_memory()
    accelerator = _accelerator(next(module.parameters()).device)
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [{"params": [p], "size": first_size(p)} for p in trained] if relative_rate else trained
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)
    module.to(accelerator.device)
    loop = (what, seed, epochs, steps_per_epoch, learning_rate, weight_decay, warmup, schedule)
    loop = (*loop, relative_rate, clip_norm)
    settings = digest(loop, config and config.model_dump(mode="json"), data)
    if checkpoint is not None and accelerator.distributed_type != "DEEPSPEED":
        path = Path(checkpoint)
    else:
        path = None
    run = Run(module, optimizer, TrainingLog(), path, settings)
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

    saved = time.perf_counter()
    bar = progress(what=what, total=total, initial=run.epoch * steps_per_epoch, unit="step")
    with seeded(seed), fast_float32(), _trackers(accelerator), bar:
        while run.epoch < epochs and not run.is_over(patience):
            # Batches are the same in every process, dropout is not.
            torch.manual_seed(epoch_seed(seed, run.epoch) + 100_003 * process_index())
            if start_epoch is not None:
                start_epoch(run.epoch)
            module.train()
            generator, first = np.random.default_rng([seed, run.epoch]), run.epoch * steps_per_epoch
            run.end_epoch([one_step(*step) for step in enumerate(batches(generator), start=first)])
            due = run.epoch >= validate_from and run.epoch % validate_every == 0
            if validate is not None and (due or run.epoch == epochs):
                module.eval()
                with torch.no_grad():
                    run.record(broadcast(validate))
            accelerator.log(run.last(), step=run.epoch)
            shown = {"epoch": f"{run.epoch}/{epochs}", "loss": f"{run.log.losses[-1]['loss']:.4g}"}
            bar.set_postfix(shown, refresh=False)
            due = time.perf_counter() - saved > checkpoint_seconds
            if run.path is not None and is_main() and due:
                run.save()
                saved = time.perf_counter()
    run.finish()
    return run.log


def _accelerator(device: torch.device) -> Accelerator:
    """Accelerate for one training, whatever the environment asks for: it neither rounds (`dtype`
    does), nor compiles, nor accumulates gradients.
    """
    if n_processes() == 1:
        # Accelerate keeps one state for the process; a second training may be on another device.
        AcceleratorState._reset_state(reset_partial_state=True)
        if device.type == "cuda":
            torch.cuda.set_device(device)
    tracker = _tracker.get()
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="no",
        dynamo_backend="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        log_with=tracker and tracker[0],
        project_dir=tracker and tracker[1].parent,
    )


@contextmanager
def _trackers(accelerator: Accelerator) -> Iterator[None]:
    """Start the tracker that `tracked` asked for, if any, and end it after the block."""
    if (tracker := _tracker.get()) is not None:
        name, folder = tracker
        folder.mkdir(parents=True, exist_ok=True)
        options = {"wandb": {"name": "/".join(folder.parts[-2:]), "dir": str(folder)}}
        accelerator.init_trackers("letterlib" if name == "wandb" else folder.name, None, options)
    try:
        yield
    finally:
        for started in accelerator.trackers:  # `end_training` would part several processes
            started.finish()


class _Loss(nn.Module):
    """Module and loss as one module, so that DistributedDataParallel and DeepSpeed see every use of
    `module` in `forward` and average its gradients.
    """

    def __init__(self, module: nn.Module, loss: Callable[[nn.Module, Any], dict[str, Tensor]]):
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, batch: Any) -> dict[str, Tensor]:
        return self.loss(self.module, batch)

    def named_buffers(self, *_: Any, **__: Any) -> Iterator[tuple[str, Tensor]]:
        """None: buffers here are constants, and LightGCN's sparse one cannot be broadcast."""
        return iter(())
