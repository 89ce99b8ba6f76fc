"""Exercise checks with three outcomes: correct, incorrect (with the likely cause), not attempted.

`check` is what learners call: it returns a `Result` and never raises, but for nbgrader's button
"Validate". `require` is what nbgrader's hidden tests call: it shows nothing and raises unless the
answer is correct.

An exercise is data, in `exercises/lesson_NN.py`: a reference answer, inputs of growing size, and
mistakes, which are wrong answers with a hint each. An answer is compared with the reference. Where
it differs, the mistake that gives the same results is the likely cause.
"""

import html
import importlib
import os
import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from letterlib.course.comparing import Incorrect, NotAttempted
from letterlib.course.exercise import Exercise, examine
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


Outcome = Literal["correct", "incorrect", "not attempted"]

GRADING_SEED = 2024
"""`require` draws the same inputs every time, so that grading a submission twice gives the same
mark.
"""

_STUB = (
    "Replace `raise NotImplementedError()`, which was reached, by your answer. Run that "
    "cell, and then this one."
)
_COLOURS = {"correct": "#0072B2", "incorrect": "#D55E00", "not attempted": "#888888"}


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
    examine(exercise, answer, seed)


def module_of(lesson: str) -> Any:
    """The module of a lesson's exercises, such as "lesson_02"."""
    return importlib.import_module(f"letterlib.course.exercises.{lesson}")


def find_exercise(name: str) -> Exercise:
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
