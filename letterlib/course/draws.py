"""Random numbers while an answer is graded."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from letterlib.train import seeded


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Inside, what draws with torch, `np.random` or `random` draws the same each time; afterwards
    as if nothing was.

    So grading twice gives the same marks. An answer with a generator of its own is its own affair.
    """
    before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        with seeded(seed):
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
