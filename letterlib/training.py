"""The one training loop: epochs, schedule, early stopping, checkpoints, exact resume, progress.

SASRec, LightGCN, LETTER's tokenizer and TIGER hand it a module, batches and a loss. Every epoch seeds
all its randomness from (seed, epoch). So a run that is interrupted and resumed at an epoch
boundary sees the same batches and the same dropout as one that was not, and ends with the same weights.
"""

import ctypes
import json
import math
import platform
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from letterlib.files import written_beside
from letterlib.progress import progress

Dtype = Literal["float32", "bfloat16", "auto"]
Schedule = Literal["cosine", "constant"]


@dataclass
class TrainingLog:
    """What happened, epoch by epoch.

    losses: mean of every reported part per epoch. validations: (epoch, score), higher is better.
    """

    losses: list[dict[str, float]] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)
    best_epoch: int = -1

    @property
    def best_score(self) -> float:
        return max((score for _, score in self.validations), default=-math.inf)


def resolve_device(device: str = "auto") -> torch.device:
    """"auto" is a GPU where there is one, else the CPU."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def resolve_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """"auto" asks the processor what it supports; it never times anything, so the answer is repeatable."""
    if dtype != "auto":
        return getattr(torch, dtype)
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else multiplies_bfloat16()
    return torch.bfloat16 if fast else torch.float32


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16: AMX or AVX-512 BF16."""
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def autocast(dtype: torch.dtype, device: torch.device):
    """Mixed precision where `dtype` is bfloat16, nothing otherwise. Weights stay float32."""
    return torch.autocast(device.type, dtype=dtype) if dtype == torch.bfloat16 else nullcontext()


def keep_freed_memory() -> None:
    """Ask glibc to keep memory that tensors give back, instead of returning it to the system.

    Large tensors otherwise come as fresh pages at every step, and clearing these can take longer than
    computing what is written to them. Other systems are left as they are.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt, trim_threshold, mmap_max = ctypes.CDLL(None).mallopt, -1, -4
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)


def learning_rate_factor(step: int, total: int, warmup: int, schedule: Schedule) -> float:
    """Linear warm-up to 1 over `warmup` steps, then constant, or half a cosine down to 0 at `total`."""
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
    weight_decay: float = 0.0,
    warmup: float = 0.0,
    schedule: Schedule = "constant",
    clip_norm: float | None = None,
    dtype: torch.dtype = torch.float32,
    start_epoch: Callable[[int], None] | None = None,
    validate: Callable[[], float] | None = None,
    validate_every: int = 1,
    validate_from: int = 0,
    patience: int | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 20.0,
) -> TrainingLog:
    """Train `module` in place with AdamW and leave it with its best weights (its last without `validate`).

    module: on the device it is to be trained on.
    batches: called once an epoch with that epoch's random generator; yields `steps_per_epoch` batches.
    loss: (module, batch) -> named parts; the part called "loss" is minimised, all are logged.
    warmup: share of all steps. patience: validations without a new best before stopping.
    validate_from: epochs before the first validation; what comes earlier cannot be the best.
    start_epoch: called with the epoch's number before its first batch (LETTER regroups its codebooks).
    checkpoint: a file to resume from and to write at most every `checkpoint_seconds`; removed by the caller.
    """
    keep_freed_memory()
    accelerator = Accelerator(cpu=next(module.parameters()).device.type == "cpu")
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay, fused=True)
    module.to(accelerator.device)
    run = _Run(module, optimizer, TrainingLog(), checkpoint)
    run.resume()
    wrapped, stepper = accelerator.prepare(module, optimizer)
    total = epochs * steps_per_epoch
    warmup_steps = int(warmup * total)

    def one_step(step: int, batch: Any) -> dict[str, Tensor]:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * learning_rate_factor(step, total, warmup_steps, schedule)
        with autocast(dtype, accelerator.device):
            parts = loss(wrapped, batch)
        accelerator.backward(parts["loss"])
        if clip_norm is not None:
            accelerator.clip_grad_norm_(trained, clip_norm)
        stepper.step()
        stepper.zero_grad(set_to_none=True)
        return {name: value.detach() for name, value in parts.items()}

    saved = time.perf_counter()
    bar = progress(what=what, total=epochs, initial=run.epoch)
    while run.epoch < epochs and not run.is_over(patience):
        torch.manual_seed(seed * 1_000_003 + run.epoch)
        generator = np.random.default_rng([seed, run.epoch])
        if start_epoch is not None:
            start_epoch(run.epoch)
        module.train()
        first = run.epoch * steps_per_epoch
        run.end_epoch([one_step(first + i, batch) for i, batch in enumerate(batches(generator))])
        due = run.epoch >= validate_from and run.epoch % validate_every == 0
        if validate is not None and (due or run.epoch == epochs):
            module.eval()
            with torch.no_grad():
                run.record(validate())
        bar.update()
        parts = run.log.losses[-1]
        shown = parts if len(parts) <= 5 else {"loss": parts["loss"]}
        bar.set_postfix({k: f"{v:.4g}" for k, v in shown.items()}, refresh=False)
        if checkpoint is not None and accelerator.is_main_process and time.perf_counter() - saved > checkpoint_seconds:
            run.save()
            saved = time.perf_counter()
    bar.close()
    run.finish()
    return run.log


@dataclass
class _Run:
    """A training run's state, and its checkpoint: one safetensors file with JSON in its header, no pickle.

    Of a module that is trained in part (LoRA), only that part is kept.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    log: TrainingLog
    path: Path | None
    epoch: int = 0
    best: dict[str, Tensor] | None = None

    def weights(self) -> dict[str, Tensor]:
        """The module's state without the weights that are frozen."""
        frozen = {name for name, p in self.module.named_parameters(remove_duplicate=False) if not p.requires_grad}
        return {name: v.detach() for name, v in self.module.state_dict().items() if name not in frozen}

    def restore(self, weights: dict[str, Tensor]) -> None:
        frozen = {name: v for name, v in self.module.state_dict().items() if name not in self.weights()}
        self.module.load_state_dict(frozen | weights)

    def is_over(self, patience: int | None) -> bool:
        since_best = sum(epoch > self.log.best_epoch for epoch, _ in self.log.validations)
        return patience is not None and since_best >= patience

    def end_epoch(self, steps: list[dict[str, Tensor]]) -> None:
        """Count the epoch, and log the mean of every part of the loss over its steps."""
        self.epoch += 1
        self.log.losses.append({k: float(torch.stack([one[k] for one in steps]).mean()) for k in steps[0]})

    def record(self, score: float) -> None:
        if score > self.log.best_score:
            self.log.best_epoch = self.epoch
            self.best = {k: v.cpu().clone() for k, v in self.weights().items()}
        self.log.validations.append((self.epoch, score))

    def finish(self) -> None:
        if self.best is not None:
            self.restore(self.best)
        self.module.eval()

    def save(self) -> None:
        tensors = {f"module.{k}": v for k, v in self.weights().items()}
        tensors |= {f"best.{k}": v for k, v in (self.best or {}).items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        header = {"log": json.dumps(asdict(self.log)), "epoch": str(self.epoch)}
        with written_beside(self.path) as beside:
            save_file({k: v.contiguous().clone() for k, v in tensors.items()}, beside, metadata=header)

    def resume(self) -> None:
        if self.path is None or not self.path.exists():
            return
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata()
                tensors = {k: file.get_tensor(k) for k in file.keys()}
        except (SafetensorError, OSError):
            print(f"{self.path.name}: the checkpoint cannot be read; training starts from the beginning")
            return
        part = {"module": {}, "best": {}, "optimizer": {}}
        for key, value in tensors.items():
            room, name = key.split(".", 1)
            part[room][name] = value
        self.restore(part["module"])
        self.best = part["best"] or None
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in part["optimizer"].items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        log = json.loads(header["log"])
        self.log = TrainingLog(**{**log, "validations": [tuple(v) for v in log["validations"]]})
        self.epoch = int(header["epoch"])
