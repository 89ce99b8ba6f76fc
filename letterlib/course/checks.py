"""Exercise checks with three outcomes: correct, incorrect (with the likely cause), not attempted.

`check` is what learners call: it returns a `Result` and never raises, but for nbgrader's button
"Validate". `require` is what nbgrader's hidden tests call: it shows nothing and raises unless the
answer is correct.

An exercise is data, in `exercises/lesson_NN.py`: a reference answer, inputs of growing size, and
mistakes, which are wrong answers with a hint each. An answer is compared with the reference. Where
it differs, the mistake that gives the same results is the likely cause.
"""

import contextlib
import html
import importlib
import inspect
import io
import os
import random
import secrets
import signal
import sysconfig
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

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
    likeliest,
    remembered,
    wider,
)
from letterlib.errors import LetterError
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


Outcome = Literal["correct", "incorrect", "not attempted"]
Case = dict[str, Any]

GRADING_SEED = 2024
"""`require` draws the same inputs every time, so that grading a submission twice gives the same
mark.
"""

_STUB = (
    "Replace `raise NotImplementedError()`, which was reached, by your answer. Run that "
    "cell, and then this one."
)
_STOPPED = "Your function stopped with"
_UNKNOWN = (
    "none that we know. Work the input above out by hand, and print each step of your "
    "function beside it."
)
_COLOURS = {"correct": "#0072B2", "incorrect": "#D55E00", "not attempted": "#888888"}


class Incorrect(Exception):
    """The answer is wrong: what differs, on which input, expected against actual, and the likely
    cause.

    sure: the cause is plain on this input, and no larger one has to confirm it.
    """

    def __init__(
        self,
        message: str,
        case: Case,
        *,
        expected: Any = None,
        actual: Any = None,
        cause: str = "",
        sure: bool = False,
    ):
        super().__init__(message)
        self.message, self.case, self.cause, self.sure = message, case, cause, sure
        self.part = ""  # the name of the result that differs
        self.expected, self.actual = expected, actual

    @property
    def stopped(self) -> bool:
        """Whether the answer raised an error, and returned nothing that could be wrong."""
        return self.message.startswith(_STOPPED)

    @property
    def about(self) -> str:
        """The name of the value that is wrong, where one is named, and in two words what is."""
        if not self.message.startswith(("`", "Your function changed `")):
            return ""
        _, name, rest = self.message.split("`", 2)
        return " ".join([name, *rest.split()[:2]])

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


@dataclass(frozen=True)
class Exercise:
    """cases: inputs drawn from a generator, smallest first.

    examine: looks at an answer on one case, and raises Incorrect or NotAttempted, or returns.
    """

    cases: Callable[[torch.Generator], list[Case]]
    examine: Callable[[Any, Case], None]


@dataclass(frozen=True)
class Result:
    """What a check found. It displays itself in Jupyter and in a terminal."""

    exercise: str
    outcome: Outcome
    lines: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return "\n".join(
            [f"{self.exercise}: {self.outcome}", *(f"    {line}" for line in self.lines)]
        )

    def _repr_html_(self) -> str:
        colour = _COLOURS[self.outcome]
        # In the theme's own colour, which may be a dark one's.
        head = f"<b>{html.escape(self.exercise)}: {self.outcome}</b>"
        body = html.escape("\n".join(self.lines))
        details = (
            f'<pre style="margin:4px 0 0 0;font-family:monospace;word-break:normal">{body}</pre>'
            if body
            else ""
        )
        return f'<div style="border-left:4px solid {colour};padding:4px 10px">{head}{details}</div>'


_seeds: dict[str, int] = {}
"""The seed of each exercise that is not solved yet."""


def check(exercise: str, answer: Any, seed: int | None = None) -> Result:
    """Check an answer, as in `check("2.1", nearest_code)`.

    The inputs are those of `seed`, or random ones. These stay the same until an answer passes, so
    that one can be worked out by hand.
    """
    if (
        os.environ.get("NBGRADER_VALIDATING") == "1"
    ):  # its button "Validate" takes a cell without an error for solved
        require(exercise, answer)
    drawn = _seeds.setdefault(str(exercise), secrets.randbits(32)) if seed is None else seed
    try:
        _examine(exercise, answer, drawn)
    except NotAttempted as found:
        return Result(exercise, "not attempted", [str(found) or _STUB])
    except Incorrect as found:
        return Result(exercise, "incorrect", found.lines)
    except LetterError as error:
        return Result(exercise, "not attempted", [str(error)])
    except Exception as error:  # a fault of ours must not stop a learner's notebook
        return Result(
            exercise, "not attempted", [f"The check itself failed, please report it: {error!r}"]
        )
    _seeds.pop(str(exercise), None)
    return Result(exercise, "correct")


def require(exercise: str, answer: Any, seed: int = GRADING_SEED) -> None:
    """Raise AssertionError unless the answer is correct. For hidden tests: shows and returns
    nothing.
    """
    try:
        with drawing_from(seed):
            _examine(exercise, answer, seed)
    except NotAttempted:
        raise AssertionError(f"{exercise}: not attempted") from None
    except Incorrect as found:
        raise AssertionError("\n".join([f"{exercise}: incorrect", *found.lines])) from None


def _examine(name: str, answer: Any, seed: int) -> None:
    exercise = find_exercise(name)
    if answer is None or answer is Ellipsis:
        raise NotAttempted
    if hasattr(exercise, "reference"):  # as data; the others follow
        from letterlib.course.exercise import examine

        return examine(exercise, answer, seed)
    cases = exercise.cases(torch.Generator().manual_seed(seed))
    for case in cases:
        try:
            exercise.examine(answer, case)
        except Incorrect as found:
            # The smallest failing input is the one to show. It may fit several mistakes by
            # coincidence; the largest tells, also where it tells that the mistake is none that we
            # know. What stops a function on one of them says nothing of what happens on the other.
            largest = found if case is cases[-1] else _found_on(exercise, answer, cases[-1])
            if largest is None or largest.stopped or found.stopped or found.sure:
                raise
            # Its cause would speak of another value than the message, unless it is the same one.
            # Where it has none, nothing speaks for a large input, which nobody works out by hand.
            if largest.about != found.about and largest.cause not in ("", found.cause):
                raise largest from None
            found.cause = largest.cause
            raise


def _found_on(exercise: Exercise, answer: Any, case: Case) -> Incorrect | None:
    try:
        exercise.examine(answer, case)
    except Incorrect as found:
        return found
    return None


def module_of(lesson: str) -> Any:
    """The module of a lesson's exercises, such as "lesson_02"."""
    try:
        return importlib.import_module(f"letterlib.course.exercises.{lesson}")
    except ModuleNotFoundError:
        return importlib.import_module(f"letterlib.course.{lesson}")


def find_exercise(name: str) -> Any:
    """The exercise of a name such as "2.1". Raises LetterError if there is none."""
    name = str(name)  # 2.1 without quotes is meant as well
    lesson = name.split(".")[0]
    try:
        module = module_of(f"lesson_{int(lesson):02d}")
    except (ValueError, ModuleNotFoundError) as error:
        raise LetterError(
            f'there is no exercise "{name}"; exercises are named like "2.1"'
        ) from error
    if name not in module.EXERCISES:
        known = ", ".join(module.EXERCISES)
        raise LetterError(f'there is no exercise "{name}"; lesson {int(lesson):02d} has {known}')
    return module.EXERCISES[name]


LIMIT = 20
"""Seconds for one call of an answer."""


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
        raise Incorrect(what, case, cause=cause) from None
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
    causes: Sequence[tuple[Any, str]] = (),
    exact_dtype: bool = False,
) -> None:
    """Type, shape, dtype and values of one tensor, array or number, in this order; the first
    difference is the finding. Of a list or a dictionary its length or keys, and then each entry.

    expected decides what is asked for. Of an array only the kind of dtype counts (whole numbers, or
    fractions), and a tensor of fractions may be wider than asked for: what was computed in float64
    is no mistake unless exact_dtype asks for the very same.
    causes: pairs (value that a typical mistake gives, what the mistake is).
    """
    wrong = partial(Incorrect, case=case, expected=expected, actual=actual)
    kind = kind_of(expected)
    if kind not in ("a tensor", "an array", "a number"):
        return _compare_structure(name, actual, expected, case)
    comparable = (
        kind_of(actual) in ("a tensor", "an array", "a number")
        or getattr(actual, "shape", None) == ()
    )
    likely = likeliest(actual, causes) if comparable else ""
    if kind_of(actual) != kind and not (
        kind == "a number" and getattr(actual, "shape", None) == ()
    ):
        what = f"`{name}` should be {kind} and is {kind_of(actual)}."
        if comparable and close(
            actual, expected
        ):  # so no mistake that gives these values is the cause
            likely = ""
        raise wrong(what, cause=likely or cause_of_kind(actual, expected))
    if kind != "a number":
        if actual.shape != expected.shape:
            what = (
                f"`{name}` should have shape {tuple(expected.shape)} and has {tuple(actual.shape)}."
            )
            raise wrong(what, cause=likely or cause_of_shape(actual, expected))
        enough = wider(actual, expected) and not exact_dtype
        if dtype_of(actual) != dtype_of(expected) and not enough:
            what = f"`{name}` should be {dtype_of(expected)} and is {dtype_of(actual)}."
            raise wrong(what, cause=likely or cause_of_dtype(actual, expected))
    if not close(actual, expected):
        shaped = (
            "the wrong value"
            if getattr(expected, "shape", ()) == ()
            else "the right shape, and wrong values"
        )
        raise wrong(f"`{name}` has {shaped}.", cause=likely or cause_of_values(actual, expected))


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
