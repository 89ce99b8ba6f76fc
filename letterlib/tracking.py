"""Learning curves in TensorBoard or Weights & Biases while training runs. Off, unless somebody asks
(`--track`).

Accelerate's own trackers write them, in the main process. They are no part of a result, so no stage
depends on them.
"""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from letterlib.distributed import is_main
from letterlib.errors import LetterError

if TYPE_CHECKING:
    from accelerate import Accelerator

TRACKERS = ("tensorboard", "wandb")

_wanted: ContextVar[tuple[str, Path] | None] = ContextVar("wanted", default=None)


def check_tracker(name: str | None) -> None:
    """LetterError for a tracker that is unknown or not installed. None, which is no tracker, is
    right.
    """
    if name is None:
        return
    if name not in TRACKERS:
        raise LetterError(f'--track: no tracker "{name}"; choose one of {", ".join(TRACKERS)}')
    found = importlib.util.find_spec(name)
    if (
        found is None or found.origin is None
    ):  # the latter is a mere folder, such as wandb leaves behind
        raise LetterError(
            f"--track {name}: the package {name} is not installed; run: pip install {name}"
        )


@contextmanager
def tracked(name: str | None, folder: Path) -> Iterator[None]:
    """Let what is trained in the block log its curves to `folder`, whose last two parts name the
    run; None: nothing.
    """
    before = _wanted.set((name, folder) if name and is_main() else None)
    try:
        yield
    finally:
        _wanted.reset(before)


def accelerator_options() -> dict[str, Any]:
    """What `Accelerator` must be told, so that `curves` can start what was asked for."""
    wanted = _wanted.get()
    return {} if wanted is None else {"log_with": wanted[0], "project_dir": wanted[1].parent}


@contextmanager
def curves(accelerator: "Accelerator") -> Iterator[None]:
    """Start the tracker that was asked for, if any, and end it however the block ends;
    `accelerator.log` logs to it.
    """
    if (wanted := _wanted.get()) is not None:
        name, folder = wanted
        run = {"name": "/".join(folder.parts[-2:]), "dir": str(folder)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            accelerator.init_trackers(
                "letterlib" if name == "wandb" else folder.name, init_kwargs={"wandb": run}
            )
        except OSError as error:
            what = f"--track {name} could not start ({error.strerror or error})"
            raise LetterError(
                f"{folder}: {what}; see that it can be written, or leave out --track"
            ) from error
    try:
        yield
    finally:
        for tracker in accelerator.trackers:
            tracker.finish()
