"""A trained model as one safetensors file: its tensors, and a JSON header that says how it was made."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from letterlib.errors import LetterError
from letterlib.files import written_beside
from letterlib.training import TrainingLog


def save_model(
    path: str | Path, kind: str, tensors: dict[str, Tensor], config: BaseModel, seed: int, log: TrainingLog
) -> None:
    """Write `tensors`, and beside them what made them. kind: the class that reads the file again."""
    header = {"config": config.model_dump(), "seed": seed, "log": asdict(log)}
    metadata = {"kind": kind, "header": json.dumps(header)}
    with written_beside(path) as beside:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, beside, metadata=metadata)


def load_model(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any], int, TrainingLog]:
    """Tensors, configuration, seed and log that `save_model` wrote.

    A missing, broken or foreign file is a LetterError.
    """
    path = Path(path)
    if not path.is_file():
        raise LetterError(f"{path}: no such file; train the model first, or check the path")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise LetterError(
            f"{path}: not a readable safetensors file ({error}); train the model again"
        ) from error
    if metadata.get("kind") != kind:
        raise LetterError(f"{path}: holds no {kind} model; choose the file that {kind}.save wrote")
    header = json.loads(metadata["header"])
    log = TrainingLog(**header["log"])
    log.validations = [tuple(pair) for pair in log.validations]  # JSON knows no tuples
    return tensors, header["config"], header["seed"], log
