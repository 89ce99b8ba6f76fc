"""Several processes at one training: what each of them takes, and how their parts become one again.

`accelerate launch` and torchrun start the same command several times and number the processes in
the environment. All of them draw the same batches, and each takes its `share` of every one.
Gradients are averaged, so a loss that is a mean must be `weighed` by how many terms the share has.
What only one should do (writing, printing, validating) is done by the main process, and the others
get by `broadcast`. Alone, every function here gives back what it is given.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if (
    TYPE_CHECKING
):  # torch and Accelerate take seconds, which a progress bar alone should not wait for
    from torch import Tensor

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""How long a process waits for another: the main one may validate for long, or wait for a stage of
another run.
"""


def n_processes() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_index() -> int:
    """Which of them this is, from 0. Alone it is 0, whatever RANK a job array has set for purposes
    of its own.
    """
    return int(os.environ.get("RANK", "0")) if n_processes() > 1 else 0


def is_main() -> bool:
    """Whether this is the one that writes and prints."""
    return process_index() == 0


def leave(code: int) -> NoReturn:
    """End this process without waiting for its threads.

    transformers loads weights in some. One that an interruption has caught may hold a lock that the
    others wait for.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # full, closed, or none
            stream.flush()
    os._exit(code)


def join(on_cpu: bool) -> None:
    """Meet the other processes, and take this one's GPU as the current device. Alone, nothing
    happens.
    """
    if n_processes() > 1:
        from accelerate import PartialState

        PartialState(cpu=on_cpu, timeout=PATIENCE)


def share(rows: T) -> T:
    """This process's part of a batch: every n-th row of an array, a tensor or a list.

    Neighbours go to different processes, so of a batch that is sorted by length all get short and
    long rows. A batch of fewer rows than processes is taken whole by each: nobody is without a row,
    and the average is still right.
    """
    n = n_processes()
    return rows if n == 1 or len(rows) < n else rows[process_index() :: n]


def weighed(means: dict[str, "Tensor"], n_terms: "int | Tensor") -> dict[str, "Tensor"]:
    """Means over this process's `n_terms` terms, weighed: their average over processes is the mean
    over all terms.

    Shares differ in size (the last batch, sequences of several lengths); a plain average of their
    means would count a term of a small share for more than one of a large share. n_terms: at least
    1.
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
    """What `compute` returns in the main process, in every process. The others wait, and do not
    compute.
    """
    if n_processes() == 1:
        return compute()
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([compute() if is_main() else None])[0]
