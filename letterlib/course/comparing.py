"""How an answer is called, and how what it returns is compared with the reference."""

import contextlib
import inspect
import io
import signal
import sysconfig
import threading
import traceback
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from letterlib.course.values import (
    alike,
    cause_of_dtype,
    cause_of_kind,
    cause_of_shape,
    cause_of_values,
    close,
    copied,
    dtype_of,
    effect_on,
    in_words,
    kind_of,
    remembered,
    wider,
)

Case = dict[str, Any]
"""The inputs of an answer: name -> value, in the order of its arguments."""


_STOPPED = "Your function stopped with"
_UNKNOWN = (
    "none that we know. Work the input above out by hand, and print each step of your "
    "function beside it."
)


class Incorrect(Exception):
    """The answer is wrong: what differs, on which input, expected against actual, and the likely
    cause.

    """

    def __init__(
        self,
        message: str,
        case: Case,
        *,
        expected: Any = None,
        actual: Any = None,
        cause: str = "",
    ):
        super().__init__(message)
        self.message, self.case, self.cause = message, case, cause
        self.part = ""  # the name of the result that differs
        self.expected, self.actual = expected, actual

    @property
    def stopped(self) -> bool:
        """Whether the answer raised an error, and returned nothing that could be wrong."""
        return self.message.startswith(_STOPPED)

    @property
    def lines(self) -> list[str]:
        found = [self.message, "Input:"]
        found += [f"    {name} = {in_words(value)}" for name, value in self.case.items()]
        if self.expected is not None:
            found += [f"Expected: {in_words(self.expected)}", f"Actual:   {in_words(self.actual)}"]
        cause = self.cause or ("" if self.stopped else _UNKNOWN)
        return [*found, f"Likely cause: {cause}"] if cause else found


class NotAttempted(Exception):
    """The answer is still the stub, or calls a function that is one, which is then named."""


_NOT_LEARNERS = (str(Path(__file__).parent.parent), sysconfig.get_path("stdlib"), "<frozen")


def other_stub(answer: Any, error: BaseException) -> str:
    """In words, which function was reached that is still to be written; empty where it is the
    answer itself.
    """
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    called = frame.f_code
    if called is getattr(inspect.unwrap(answer), "__code__", called):
        return ""
    return (
        f"`{called.co_name}`, which is still to be written, was reached: run its cell with "
        "your answer first."
    )


def where(error: BaseException) -> str:
    """The last line of the learner's own code that the error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        f
        for f in frames
        if "site-packages" not in f.filename and not f.filename.startswith(_NOT_LEARNERS)
    ]
    return f"line {own[-1].lineno} of your code, `{own[-1].line}`." if own and own[-1].line else ""


LIMIT = 20
"""Seconds for one call of an answer. After a call that takes longer there is no other."""


class NeverReturned(Incorrect):
    """An answer ran longer than LIMIT."""


class OutOfTime(BaseException):
    """An answer ran longer than LIMIT. Not an Exception, so that the answer does not catch it."""


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise OutOfTime inside after this long. Without effect on Windows and in threads, which have
    no alarm.
    """

    def ring(*_: Any) -> None:
        raise OutOfTime

    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def call(answer: Any, case: Case) -> Any:
    """Call the learner's function on copies of a case's values, and turn whatever goes wrong into a
    finding.

    A function that changes a tensor, array or list it was given, or what becomes of a tensor's
    gradient, is reported: the caller still needs it.
    """
    if not callable(answer):
        cause = "pass the function itself, without calling it."
        raise Incorrect(
            f"This exercise asks for a function, and got {in_words(answer)}.", case, cause=cause
        )
    given = {name: copied(value) for name, value in case.items()}
    before = {name: remembered(value) for name, value in case.items()}
    try:
        # nbgrader gives no points to a cell that writes to stderr, as every warning does.
        with contextlib.redirect_stderr(io.StringIO()), time_limit(LIMIT):
            returned = answer(*given.values())
    except OutOfTime as error:
        what = f"Your function did not return within {LIMIT} seconds."
        cause = f"a loop that never ends: it was at {where(error) or 'a line that is not yours.'}"
        raise NeverReturned(what, case, cause=cause) from None
    except Incorrect as problem:  # from what the exercise put around the answer
        problem.case = problem.case or case
        raise
    except (Exception, SystemExit) as error:
        if (
            isinstance(error, NotImplementedError) and not error.args
        ):  # torch raises it, too, and says for what
            raise NotAttempted(other_stub(answer, error)) from None
        what = f"{_STOPPED} {type(error).__name__}: {error}"
        raise Incorrect(what, case, cause=where(error)) from None
    if returned is Ellipsis:
        raise NotAttempted
    if returned is None:
        raise Incorrect(
            "Your function returned None.",
            case,
            cause="a missing `return`, or one with nothing after it.",
        )
    parts = returned if isinstance(returned, (tuple, list)) else [returned]
    if any(isinstance(one, torch.Tensor) and one.layout != torch.strided for one in parts):
        raise Incorrect(
            "Your function returned a sparse tensor.",
            case,
            cause="`.to_dense()` is missing at the end.",
        )
    for name, value in before.items():
        if effect := effect_on(name, value, given[name]):
            raise Incorrect(effect[0], before, cause=effect[1])
    return returned


def compare(
    name: str,
    actual: Any,
    expected: Any,
    case: Case,
    exact_dtype: bool = False,
) -> None:
    """Type, shape, dtype and values of one tensor, array or number, in this order; the first
    difference is the finding. Of a list or a dictionary its length or keys, and then each entry.

    expected decides what is asked for. Of an array only the kind of dtype counts (whole numbers, or
    fractions), and a tensor of fractions may be wider than asked for: what was computed in float64
    is no mistake unless exact_dtype asks for the very same.
    """
    wrong = partial(Incorrect, case=case, expected=expected, actual=actual)
    kind = kind_of(expected)
    if kind not in ("a tensor", "an array", "a number"):
        return _compare_structure(name, actual, expected, case)
    if kind_of(actual) != kind and not (
        kind == "a number" and getattr(actual, "shape", None) == ()
    ):
        what = f"`{name}` should be {kind} and is {kind_of(actual)}."
        raise wrong(what, cause=cause_of_kind(actual, expected))
    if kind != "a number":
        if actual.shape != expected.shape:
            what = (
                f"`{name}` should have shape {tuple(expected.shape)} and has {tuple(actual.shape)}."
            )
            raise wrong(what, cause=cause_of_shape(actual, expected))
        enough = wider(actual, expected) and not exact_dtype
        if dtype_of(actual) != dtype_of(expected) and not enough:
            what = f"`{name}` should be {dtype_of(expected)} and is {dtype_of(actual)}."
            raise wrong(what, cause=cause_of_dtype(actual, expected))
    if not close(actual, expected):
        shaped = (
            "the wrong value"
            if getattr(expected, "shape", ()) == ()
            else "the right shape, and wrong values"
        )
        raise wrong(f"`{name}` has {shaped}.", cause=cause_of_values(actual, expected))


def _compare_structure(name: str, actual: Any, expected: Any, case: Case) -> None:
    """Compare lists, tuples, dictionaries, texts and None. The order of a dictionary's keys counts
    if an OrderedDict is expected.
    """
    wrong = partial(Incorrect, case=case, expected=expected, actual=actual)
    if kind_of(actual) != kind_of(expected):
        what = f"`{name}` should be {kind_of(expected)} and is {kind_of(actual)}."
        raise wrong(what, cause=cause_of_kind(actual, expected))
    if isinstance(expected, dict):
        if actual.keys() != expected.keys():
            what = f"`{name}` should have the keys {list(expected)} and has {list(actual)}."
            raise wrong(what)
        if isinstance(expected, OrderedDict) and list(actual) != list(expected):
            what = f"`{name}` has the right keys in another order."
            raise wrong(what, expected=list(expected), actual=list(actual))
        places = list(expected)
    elif isinstance(expected, (list, tuple)):
        if len(actual) != len(expected):
            entries = "1 entry" if len(expected) == 1 else f"{len(expected)} entries"
            raise wrong(f"`{name}` should have {entries} and has {len(actual)}.")
        places = [i for i in range(len(expected)) if not alike(actual[i], expected[i])]
        if places and all(any(alike(a, e) for a in actual) for e in expected):
            what = f"`{name}` has the right entries in another order. The first that differs:"
            first = {"expected": expected[places[0]], "actual": actual[places[0]]}
            raise Incorrect(what, case, **first)
        places = range(len(expected))
    elif not alike(actual, expected):
        raise wrong(f"`{name}` has the wrong value.")
    else:
        return
    for place in places:
        if isinstance(expected[place], int) and isinstance(actual[place], float):
            cause = "a division by `/`, or an array of fractions on the way."
            raise wrong(f"`{name}` should hold whole numbers and holds fractions.", cause=cause)
        compare(f"{name}[{place!r}]", actual[place], expected[place], case)


def several(returned: Any, names: Sequence[str], case: Case, what: str = "things") -> tuple:
    """The parts, where an exercise asks for more than one. Numbers may come in an array, which
    unpacks like a tuple.
    """
    if (_is_row(returned) or isinstance(returned, (tuple, list))) and len(returned) == len(names):
        return tuple(returned)
    count, listed = (
        {2: "two", 3: "three", 4: "four"}[len(names)],
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
        cause = (
            "an operation in place, such as `p /= ...` or `x[...] = 0`, on a tensor that the "
            "gradient needs as it "
        )
        cause += (
            "was: `p = p / ...` makes a new one. Or a function without a gradient, such as `//`."
        )
        if "a second time" in str(error):
            cause = (
                "a gradient was computed inside. Return the value; who calls your function "
                "asks for the gradient."
            )
        what = (
            "The value is right, and its gradient cannot be computed: "
            f"{str(error).partition(': ')[0]}."
        )
        raise Incorrect(what, case, cause=cause) from None
    return [torch.zeros_like(one) if g is None else g for g, one in zip(found, inputs, strict=True)]
