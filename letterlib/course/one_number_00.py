"""What an answer to 0.2 or 0.3 returns of ranked lists: one number, and what to say where it stops
or returns more.
"""

from typing import Any

import numpy as np
import torch

from letterlib.course.checks import Case, Incorrect
from letterlib.course.returned import called
from letterlib.course.values import kind_of


def _stops(case: Case) -> dict[str, str]:
    """What NumPy and torch say of the row of all targets beside a table of lists; other rows have
    other lengths.
    """
    said = [
        words.format(len(case["targets"]))
        for words in ("({},)", "tensor a ({}) must", "tensor b ({}) at")
    ]
    return dict.fromkeys(said, "`targets` needs to be a column: `targets[:, None]`.")


def one_number(answer: Any, case: Case) -> Any:
    """What came, unless it is several numbers. Their shape says what they are numbers of."""
    returned = called(answer, case, _stops(case))
    listed = isinstance(returned, list)
    if not listed and not (isinstance(returned, (np.ndarray, torch.Tensor)) and returned.ndim):
        return returned
    shape = (len(returned),) if listed else tuple(returned.shape)
    if listed and returned and isinstance(returned[0], list):
        shape += (len(returned[0]),)
    n_cases, places = len(case["targets"]), (case["k"], case["ranked"].shape[1])
    cause = "a reduction that is missing, or `keepdims=True`."
    if shape == (n_cases,):
        cause = "a value per case; take the mean over cases."
    elif len(shape) == 1 and shape[0] in places:
        cause = "a value per place: `axis=0` goes over the cases. First make one value of every row, with `axis=1`."
    elif len(shape) == 2 and shape[0] == n_cases and shape[1] in places:
        cause = "a value per case and place. First make one value of every row, with `axis=1`, and then take the mean."
    what = "a list" if listed else f"{kind_of(returned)} of shape {shape}"
    raise Incorrect(f"One number is asked for, and {what} came.", case, cause=cause)
