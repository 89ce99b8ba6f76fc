"""A training run's state: its log, its best weights, and the checkpoint from which it goes on.

A checkpoint is one safetensors file with JSON in its header: no pickle.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from letterlib.distributed import averaged
from letterlib.errors import LetterError
from letterlib.store import atomic_write, digest


@dataclass
class TrainingLog:
    """What happened, epoch by epoch.

    losses: mean of every reported part per epoch. validations: (epoch, counted from 1, and score,
    higher is better).
    """

    losses: list[dict[str, float]] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.validations = [tuple(pair) for pair in self.validations]  # JSON knows no tuples

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Of what `asdict` made; older files say the best epoch as well."""
        known = dict(value)  # or a TypeError: no table at all
        return cls(known.get("losses", []), known.get("validations", []))

    @property
    def best_score(self) -> float:
        """-inf where nothing was validated."""
        return max((score for _, score in self.validations), default=-math.inf)

    @property
    def best_epoch(self) -> int:
        """That of the best score, the first among equals; -1 where nothing was validated."""
        return max(self.validations, key=lambda one: one[1], default=(-1, -math.inf))[0]


@dataclass
class Run:
    """A training run's state, and how it is kept.

    Of a module that is trained in part (LoRA), only that part is kept. path: of the checkpoint,
    None for none.
    settings: what tells this training from others, in a word or a hash; it does not go on from a
    checkpoint of other settings, or of a module of other shapes. epoch: how many are done. best:
    the weights of the best score, on the CPU.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    log: TrainingLog
    path: Path | None
    settings: str = ""
    epoch: int = 0
    best: dict[str, Tensor] | None = None

    def weights(self) -> dict[str, Tensor]:
        """The module's state without the weights that are frozen."""
        frozen = {
            name
            for name, p in self.module.named_parameters(remove_duplicate=False)
            if not p.requires_grad
        }
        return {
            name: v.detach() for name, v in self.module.state_dict().items() if name not in frozen
        }

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Load what `weights` gave; what is frozen stays."""
        self.module.load_state_dict(self.module.state_dict() | weights)

    def is_over(self, patience: int | None) -> bool:
        """Whether `patience` validations have passed without a new best score; never where it is
        None.
        """
        since_best = sum(epoch > self.log.best_epoch for epoch, _ in self.log.validations)
        return patience is not None and since_best >= patience

    def end_epoch(self, steps: list[dict[str, Tensor]]) -> None:
        """Count the epoch, and log the mean of every part of the loss over its steps and the
        processes.

        A loss or a weight that is no finite number is a LetterError: no later epoch would mend it.
        The loss alone does
        not tell: it is from before the last step.
        """
        self.epoch += 1
        means = {
            k: float(averaged(torch.stack([one[k] for one in steps]).mean())) for k in steps[0]
        }
        if not math.isfinite(means["loss"]):
            raise LetterError(
                f"training diverged: the loss of epoch {self.epoch} is {means['loss']}; lower the rate"
            )
        if not all(
            weight.isfinite().all() for weight in self.module.parameters() if weight.requires_grad
        ):
            raise LetterError(
                f"training diverged: a weight is not finite after epoch {self.epoch}; lower the rate"
            )
        self.log.losses.append(means)

    def record(self, score: float) -> None:
        """Log a validation, and keep a copy of the weights where its score is a new best. NaN is a
        LetterError.
        """
        if math.isnan(score):  # no later score would be greater
            raise LetterError(
                f"the validation after epoch {self.epoch} is NaN, which is no score; see what `validate` returns"
            )
        if score > self.log.best_score:
            self.best = {k: v.cpu().clone() for k, v in self.weights().items()}
        self.log.validations.append((self.epoch, score))

    def last(self) -> dict[str, float]:
        """The last epoch's losses and, where it was validated, its score."""
        scores = [score for epoch, score in self.log.validations if epoch == self.epoch]
        return self.log.losses[-1] | ({"validation": scores[0]} if scores else {})

    def finish(self) -> None:
        """Put the best weights back, where anything was validated, and the module into evaluation
        mode.
        """
        if self.best is not None:
            self.restore(self.best)
        self.module.eval()

    def save(self) -> None:
        tensors = {f"module.{k}": v for k, v in self.weights().items()}
        tensors |= {f"best.{k}": v for k, v in (self.best or {}).items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors = {k: v.contiguous().clone() for k, v in tensors.items()}
        header = {"log": json.dumps(asdict(self.log)), "of": self._identity()}
        with atomic_write(self.path) as temporary:
            save_file(
                tensors,
                temporary,
                metadata=header | {"content": content_of(header["log"], tensors)},
            )

    def _identity(self) -> str:
        return digest(
            self.settings, {name: list(weight.shape) for name, weight in self.weights().items()}
        )

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one. Of another training's, or a damaged one, it
        only says so.
        """
        if self.path is None or not self.path.exists():
            return
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
                if header.get("of") != self._identity():
                    print(
                        f"{self.path.name}: the checkpoint of another training; this one starts from the beginning"
                    )
                    return
                # Copies: a tensor is else the mapped file itself, which Windows lets nobody
                # replace.
                tensors = {k: file.get_tensor(k).clone() for k in file.keys()}
                if header.get("content") != content_of(header.get("log", ""), tensors):
                    raise SafetensorError("a bit has changed")
        except SafetensorError:
            print(
                f"{self.path.name}: the checkpoint cannot be read; training starts from the beginning"
            )
            return
        except OSError as error:  # a network file system that is away for a moment must not cost the night's work
            advice = "check its permissions and its disk and try again, or delete it to start again"
            raise LetterError(f"{self.path}: cannot be read; {advice}") from error
        self.restore(strip_prefix("module.", tensors))
        self.best = strip_prefix("best.", tensors) or None
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in strip_prefix("optimizer.", tensors).items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.log = TrainingLog.from_json(json.loads(header["log"]))
        self.epoch = len(self.log.losses)


def content_of(log: str, tensors: dict[str, Tensor]) -> str:
    """A hash of the log and all bytes: a file with a flipped bit would else be gone on from like
    any other.
    """
    raw = {
        name: one.cpu().reshape(-1).view(torch.uint8).numpy()
        for name, one in sorted(tensors.items())
    }
    return digest(log, *(part for pair in raw.items() for part in pair))


def strip_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, called by the rest of their names."""
    return {
        name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)
    }
