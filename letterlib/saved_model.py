"""A trained model as one safetensors file: its tensors, and a JSON header that says how it was
made.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from letterlib.checkpoint import content_of
from letterlib.errors import LetterError
from letterlib.store import atomic_write
from letterlib.train import TrainingLog


@dataclass(frozen=True)
class SavedModel:
    """What `save_model` wrote. report: what else is known of the model, as JSON has it."""

    tensors: dict[str, Tensor]
    config: Any
    seed: int
    log: TrainingLog
    report: dict[str, Any]


def save_model(
    path: str | Path,
    kind: str,
    tensors: dict[str, Tensor],
    config: BaseModel,
    seed: int,
    log: TrainingLog,
    report: dict[str, Any] | None = None,
) -> None:
    """Write `tensors`, and beside them what made them. kind: the name of the model, which
    `load_model` asks for.

    The same model gives the same bytes: the header is one entry, because safetensors writes several
    in any order.
    """
    header = {
        "kind": kind,
        "config": config.model_dump(mode="json"),
        "seed": seed,
        "log": asdict(log),
    }
    header["report"] = report
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header["content"] = content_of(json.dumps(header), contiguous)
    with atomic_write(path) as temporary:
        save_file(contiguous, temporary, metadata={"letterlib": json.dumps(header)})


def load_model(path: str | Path, kind: str, config_class: type[BaseModel]) -> SavedModel:
    """Read what `save_model` wrote. A missing, broken or foreign file, or one of another version,
    is a LetterError.
    """
    path = Path(path)
    if not path.is_file():
        raise LetterError(f"{path}: no such file; train the model first, or check the path")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("letterlib", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, ValueError) as error:
        raise LetterError(
            f"{path}: not a readable safetensors file ({error}); train the model again"
        ) from error
    except OSError as error:  # safetensors says "no such file" of all that it may not open
        raise LetterError(f"{path}: cannot be read; check its permissions and its disk") from error
    if not isinstance(header, dict) or header.get("kind") != kind:
        raise LetterError(f"{path}: holds no {kind} model; choose the file that its `save` wrote")
    if header.pop("content", None) not in (
        None,
        content_of(json.dumps(header), tensors),
    ):  # files had none at first
        raise LetterError(
            f"{path}: damaged, its content is not what was saved; get it again, or train the model again"
        )
    try:
        config, log = (
            config_class.model_validate(header["config"]),
            TrainingLog.from_json(header["log"]),
        )
        seed, report = header["seed"], header["report"] or {}
    except (ValidationError, KeyError, TypeError) as error:
        reason = str(error).replace("\n", " ")
        raise LetterError(
            f"{path}: written by another version of letterlib ({reason}); train it again"
        ) from error
    return SavedModel(tensors, config, seed, log, report)
