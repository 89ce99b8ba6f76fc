"""Several processes in one training: each takes its share, and their results become one.

`accelerate launch` and torchrun start the same command several times and number the processes in
the environment. All draw the same batches, and each takes its `share` of every batch. Gradients are
averaged, so a loss that is a mean is `weighed` by how many terms the share has. The main process
writes, prints and validates; the others get its values by `broadcast`. With one process, these
functions return what they are given.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:  # torch and Accelerate take seconds to import
    from torch import Tensor

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long a process waits for another: the main one may validate, or wait for another run."""


def n_processes() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_index() -> int:
    """Which of them this is, from 0; 0 if it is alone, whatever RANK a job array has set."""
    return int(os.environ.get("RANK", "0")) if n_processes() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes and prints."""
    return process_index() == 0


def leave(code: int) -> NoReturn:
    """End this process without waiting for its threads.

    transformers loads weights in threads; one that Ctrl-C has stopped may hold a lock for ever.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def join(on_cpu: bool) -> None:
    """Meet the other processes, and take this one's GPU as the current device."""
    from accelerate import PartialState

    PartialState(cpu=on_cpu, timeout=PATIENCE)


def share(rows: T) -> T:
    """This process's part of a batch: every n-th row of an array, a tensor or a list.

    Every n-th, so that of rows sorted by length each process gets short and long ones. A batch of
    fewer rows than processes is taken whole by each, which leaves the average right.
    """
    n = n_processes()
    return rows if n == 1 or len(rows) < n else rows[process_index() :: n]


def weighed(means: dict[str, "Tensor"], n_terms: "int | Tensor") -> dict[str, "Tensor"]:
    """Means over this process's terms, weighed so that their average over processes is the mean
    over all terms. Shares differ in size, so a plain average would not be.

    n_terms: how many terms this process has, at least 1.
    """
    if n_processes() == 1:
        return means
    import torch

    first = next(iter(means.values()))
    n = torch.as_tensor(n_terms, dtype=torch.float32, device=first.device)
    weight = n / averaged(n)
    return {name: mean * weight for name, mean in means.items()}


def averaged(x: "Tensor") -> "Tensor":
    """The mean of the processes' tensors, of one shape, without gradient."""
    return _reduced(x, "mean")


def summed(x: "Tensor") -> "Tensor":
    """The sum of the processes' tensors, of one shape, without gradient."""
    return _reduced(x, "sum")


def _reduced(x: "Tensor", how: str) -> "Tensor":
    if n_processes() == 1:
        return x
    from accelerate.utils import reduce

    return reduce(x.detach(), how)


def broadcast(compute: Callable[[], Any]) -> Any:
    """What `compute` returns in the main process, in every process. Only the main one computes."""
    if n_processes() == 1:
        return compute()
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([compute() if is_main() else None])[0]
