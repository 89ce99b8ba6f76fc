"""What the sweeps on MovieLens share: their options, and the three files of a result."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from letterlib.pipeline.cache import Stage
from letterlib.pipeline.pipeline import Pipeline
from letterlib.store import atomic_write, digest, save_tensors, write_json

Out = Annotated[Path, typer.Option(help="an empty folder for the three files of the result")]
Seeds = Annotated[int, typer.Option(min=1, help="seeds 0, 1, ...")]
CacheDir = Annotated[Path, typer.Option(help="where finished stages are kept")]


def stage_after_training(
    pipeline: Pipeline, name: str, version: int, settings: dict[str, Any], work: Callable
) -> Stage:
    """A cached stage about LETTER-TIGER as this pipeline trains it."""
    # The model's key stands for all that it was made of: data, identifiers, settings, versions.
    return pipeline._stage(name, version, settings, [pipeline._model("letter-tiger").key], work)


def write_sweep(
    out: Path,
    pipeline: Pipeline,
    rows: list[dict[str, Any]],
    tensors: tuple[str, Mapping[str, Any]],
    about: dict[str, Any],
) -> None:
    """Write runs.csv (rows), <name>.safetensors (tensors: name and arrays) and sweep.json."""
    with atomic_write(out / "runs.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.5g")
    save_tensors(out / f"{tensors[0]}.safetensors", tensors[1])
    data, device = pipeline.dataset, pipeline.device
    what = {"dataset": data.name, "fingerprint": data.fingerprint, "device": device}
    what["titles"] = digest(data.titles())
    write_json(out / "sweep.json", what | about)
