"""What a function returned where more is asked of it than a value: several things, or a gradient;
and what to do where it stopped as many do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from letterlib.course.checks import Case, Incorrect, call
from letterlib.course.values import kind_of


def called(answer: Any, case: Case, stops: Mapping[str, str]) -> Any:
    """What the answer returns. Where it stops as many do, what to do is said after the line.

    stops: what stands in the message of an error, and what to do then.
    """
    try:
        return call(answer, case)
    except Incorrect as found:
        advice = [text for words, text in stops.items() if found.stopped and words in found.message]
        found.cause = " ".join([found.cause, *dict.fromkeys(advice)]).strip()
        raise


def several(returned: Any, names: Sequence[str], case: Case, what: str = "things") -> tuple:
    """The parts, where an exercise asks for more than one. Numbers may come in an array, which
    unpacks like a tuple.
    """
    if (_is_row(returned) or isinstance(returned, (tuple, list))) and len(returned) == len(names):
        return tuple(returned)
    count, listed = (
        {2: "two", 3: "three"}[len(names)],
        " and ".join([", ".join(names[:-1]), names[-1]]),
    )
    parts = returned if isinstance(returned, (tuple, list)) else [returned]
    cause = f"a return statement other than `return {', '.join(names)}`."
    if parts and len(parts) < len(names):
        cause += f" What came is {' and '.join(map(kind_of, parts))}"
        in_one_row = what == "numbers" and sum(
            len(one) if _is_row(one) else 1 for one in parts
        ) == len(names)
        cause += "; a `*` before the array takes it apart." if in_one_row else "."
    raise Incorrect(f"Your function should return {count} {what}: {listed}.", case, cause=cause)


def _is_row(value: Any) -> bool:
    return isinstance(value, (np.ndarray, Tensor)) and value.ndim == 1


def gradients(value: Tensor, inputs: Sequence[Tensor], case: Case) -> list[Tensor]:
    """The gradients of a scalar, zero where none arrives. That torch cannot compute them, of which
    it only tells when it is asked for them, is a finding.
    """
    if not value.requires_grad:
        return [torch.zeros_like(one) for one in inputs]
    try:
        found = torch.autograd.grad(value, inputs, allow_unused=True, retain_graph=True)
    except RuntimeError as error:
        cause = "an operation in place, such as `p /= ...` or `x[...] = 0`, on a tensor that the gradient needs as it "
        cause += (
            "was: `p = p / ...` makes a new one. Or a function without a gradient, such as `//`."
        )
        if "a second time" in str(error):
            cause = "a gradient was computed inside. Return the value; who calls your function asks for the gradient."
        what = f"The value is right, and its gradient cannot be computed: {str(error).partition(': ')[0]}."
        raise Incorrect(what, case, cause=cause) from None
    return [torch.zeros_like(one) if g is None else g for g, one in zip(found, inputs, strict=True)]
