"""What an exercise is, and how an answer to it is examined.

An answer runs on inputs of growing size, next to a reference. Where they differ, typical mistakes
run as well: the one that gives the learner's results is the likely cause. So a new diagnosis is a
wrong function and a hint, and its test is that this function gets this hint.
"""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import ismodule, unwrap
from typing import Any

import torch
from torch import Tensor

from letterlib.course.comparing import (
    Case,
    Incorrect,
    NeverReturned,
    NotAttempted,
    call,
    compare,
    gradients,
    several,
)
from letterlib.course.values import alike, copied, kind_of

Answer = Callable[..., Any]
Clue = tuple[Callable[[Any, Any, Case], bool], str, Answer]
"""What shows in a wrong result, given the learner's result, the right one and the case; the hint;
a wrong answer that shows it, for the tests.
"""


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    reference: the right answer.
    cases: inputs drawn from a generator, smallest first. For inputs that require a gradient, that
        of the first result is compared as well; all_gradients: that of every result.
    returns: the name of each thing that is returned.
    mistakes: wrong answers, each with its hint. Where two give the same results, the first counts.
    clues: for what no mistake gives: the first clue that shows on every case that is wrong.
    exact_dtype: whether a tensor of fractions may not be wider than the reference's.
    accepts: whether a result that differs from the reference's is right as well, given both and
        the case: for what rounding makes equal.
    right: other right answers, for the tests.
    library: the library's counterpart, which later cells use in place of a missing answer, and
        which is no answer itself. The reference, where there is none.
    same_call: whether the library's counterpart is called as the answer is. If not, later cells
        use the reference.
    use: makes of an answer the function that is compared, where it is not the answer itself: one
        that trains a model with it, say, or for which any kind of zero is the same.
    stops: what stands in the message of an error -> what to do then.
    timing: an input of the size that lessons use, on which an answer is timed before it is used.
        The largest of the cases, where there is none.
    examine: in place of a comparison, for answers that may differ from the reference, such as
        random draws: looks at an answer on one case, and raises Incorrect or returns.
    """

    reference: Answer
    cases: Callable[[torch.Generator], list[Case]]
    returns: Sequence[str]
    mistakes: Sequence[tuple[Answer, str]] = ()
    clues: Sequence[Clue] = ()
    exact_dtype: bool = False
    accepts: Callable[[Any, Any, Case], bool] | None = None
    right: Sequence[Answer] = ()
    library: Answer | None = None
    same_call: bool = True
    all_gradients: bool = False
    use: Callable[[Answer], Answer] = lambda answer: answer
    stops: Mapping[str, str] = field(default_factory=dict)
    timing: Callable[[torch.Generator], Case] | None = None
    examine: Callable[[Any, Case], None] | None = None

    @property
    def stand_in(self) -> Answer:
        """What later cells use in place of a missing answer."""
        return self.library if self.library and self.same_call else self.reference


def examine(exercise: Exercise, answer: Any, seed: int) -> None:
    """Return if the answer is right.

    Raises Incorrect with the smallest input on which it is wrong, or NotAttempted.
    """
    refuse_the_library(exercise, answer)
    cases = exercise.cases(torch.Generator().manual_seed(seed))
    if exercise.examine:
        for case in cases:
            try:
                exercise.examine(answer, case)
            except Incorrect as problem:
                raise _with_advice(exercise, problem) from None
        return
    right = [_results(exercise, exercise.reference, case) for case in cases]
    numbers = all(kind_of(value) == "a number" for _, value in right[0])
    what = "numbers" if numbers else "things"
    found = []
    for case in cases:
        found.append(_outcome(exercise, answer, case, what))
        if isinstance(found[-1], NeverReturned):
            raise _with_advice(exercise, found[-1])
    differences = [_difference(exercise, *one) for one in zip(found, right, cases, strict=True)]
    wrong = [i for i, difference in enumerate(differences) if difference]
    if not wrong:
        return
    first = differences[wrong[0]]
    cause = _likely_cause(exercise, cases, found, right, wrong, first)
    if first.stopped and cause:
        cause = " ".join([first.cause, cause]).strip()
    first.cause = cause or _clue(exercise, [differences[i] for i in wrong]) or first.cause
    raise _with_advice(exercise, first)


def _with_advice(exercise: Exercise, problem: Incorrect) -> Incorrect:
    """If the answer stopped with an error, what to do then."""
    if problem.stopped:
        advice = [text for words, text in exercise.stops.items() if words in problem.message]
        advice = [text for text in dict.fromkeys(advice) if text not in problem.cause]
        problem.cause = " ".join([problem.cause, *advice]).strip()
    return problem


def refuse_the_library(exercise: Exercise, answer: Any) -> None:
    """NotAttempted, if the answer is the library's counterpart, or does nothing but name it."""
    library = exercise.library
    if library is None or not callable(answer):
        return
    name, names = library.__name__, getattr(getattr(answer, "__code__", None), "co_names", ())
    known = getattr(answer, "__globals__", {})
    owners = [known.get(one) for one in names]
    reached = [answer]
    if name in names:
        reached += [known.get(name), *(getattr(o, name, None) for o in owners if ismodule(o))]
    imported = name in names and any(one.startswith("letterlib") for one in names)
    if imported or any(callable(one) and unwrap(one) is unwrap(library) for one in reached):
        raise NotAttempted(
            f"Your answer is the library's `{library.__name__}`, or calls it. Write the steps "
            "yourself: later cells then use yours."
        )


Parts = list[tuple[str, Any]]
"""What an answer gives on one case: each result, and each gradient, with its name."""


def _outcome(exercise: Exercise, answer: Any, case: Case, what: str) -> Parts | Incorrect:
    """What the learner's answer gives, or what is wrong with calling it. what: "numbers" or
    "things", which it should return.
    """
    try:
        returned = call(exercise.use(answer) if callable(answer) else answer, case)
        names = list(exercise.returns)
        values = several(returned, names, case, what) if len(names) > 1 else (returned,)
        return _parts(exercise, values, case)
    except Incorrect as problem:
        return problem


def _results(exercise: Exercise, answer: Answer, case: Case) -> Parts | Exception:
    """What the reference or a mistake gives. A mistake may stop with an error, or warn."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            returned = exercise.use(answer)(*(copied(value) for value in case.values()))
        names = list(exercise.returns)
        values = tuple(returned) if len(names) > 1 else (returned,)
        return _parts(exercise, values, case)
    except Exception as error:
        return error


def _parts(exercise: Exercise, values: Sequence[Any], case: Case) -> Parts:
    parts = [(name, _detached(x)) for name, x in zip(exercise.returns, values, strict=True)]
    graded = values if exercise.all_gradients else values[:1]
    results = [x for value in graded for x in _tensors(value) if x.is_floating_point()]
    if not results:
        return parts
    # No two weights alike, so that a gradient that lands elsewhere shows.
    size = sum(x.numel() for x in results)
    weights = torch.linspace(-1, 1, size + 1)[1:].split([x.numel() for x in results])
    total = sum((x.flatten() * w).sum() for x, w in zip(results, weights, strict=True))
    for name, given in case.items():
        inputs = _tensors(given)
        if inputs and all(x.requires_grad for x in inputs):
            for i, gradient in enumerate(gradients(total, inputs, case)):
                place = f"[{i}]" if isinstance(given, list) else ""
                parts.append((f"the gradient of {name}{place}", gradient))
    return parts


def _tensors(value: Any) -> list[Tensor]:
    """A value's tensors, if it is one or a list of them."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values if all(isinstance(x, Tensor) for x in values) else []


def _detached(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and _tensors(value):
        return [x.detach() for x in value]
    return value.detach() if isinstance(value, Tensor) else value


def _difference(
    exercise: Exercise, found: Parts | Incorrect, right: Parts, case: Case
) -> Incorrect | None:
    """The first part that differs from the reference."""
    if isinstance(found, Incorrect):
        return found
    for (name, actual), (_, expected) in zip(found, right, strict=True):
        try:
            compare(name, actual, expected, case, exact_dtype=exercise.exact_dtype)
        except Incorrect as problem:
            if exercise.accepts and exercise.accepts(actual, expected, case):
                continue
            problem.part = name
            if name.startswith("the gradient of "):
                problem.message = f"The value is right, and {name} is not."
                if not actual.any():
                    problem.cause = (
                        "no gradient arrives: `detach()`, `torch.no_grad()` or `torch.tensor(...)` "
                        "on the way."
                    )
            return problem
    return None


def _clue(exercise: Exercise, differences: Sequence[Incorrect]) -> str:
    """The hint of the first clue that shows on every case that is wrong."""
    for shows, hint, _ in exercise.clues:
        try:
            if all(d.part and shows(d.actual, d.expected, d.case) for d in differences):
                return hint
        except Exception:  # a clue need not expect every kind and shape of a result  # nosec B112
            continue
    return ""


def _likely_cause(
    exercise: Exercise,
    cases: Sequence[Case],
    found: Sequence[Parts | Incorrect],
    right: Sequence[Parts],
    wrong: Sequence[int],
    first: Incorrect,
) -> str:
    """The hint of the mistake that gives the learner's results on most cases: in everything, or
    at least up to the part that is wrong. It must give them on the smallest and on the largest
    case on which the learner is wrong.
    """
    best, cause = (0, 0), ""
    for mistake, hint in exercise.mistakes:
        if not all(
            _same_fault(found[i], _results(exercise, mistake, cases[i]), first.part)
            for i in (wrong[0], wrong[-1])
        ):
            continue
        made = [_results(exercise, mistake, case) for case in cases]
        pairs = list(zip(found, made, strict=True))
        part = [_same_fault(*pair, first.part) for pair in pairs]
        whole = [_same_fault(*pair, None) for pair in pairs]
        if (sum(whole), sum(part)) > best:
            best, cause = (sum(whole), sum(part)), hint
    return cause


def _worded(message: str) -> str:
    return re.sub(r"-?\d+", "", message)


def _same_fault(found: Parts | Incorrect, made: Parts | Exception, part: str | None) -> bool:
    """Whether a mistake gives what the learner's answer gives, up to one part or in all. Two
    errors are the same if they differ in numbers only, such as sizes.
    """
    if isinstance(made, Exception):
        stopped = f"Your function stopped with {type(made).__name__}: {made}"
        return isinstance(found, Incorrect) and _worded(found.message) == _worded(stopped)
    if isinstance(found, Incorrect):
        return False
    names = [name for name, _ in found]
    end = names.index(part) + 1 if part in names else len(names)
    pairs = zip(found[:end], made[:end], strict=False)
    try:
        return len(made) >= end and all(alike(a, b) for (_, a), (_, b) in pairs)
    except RecursionError:  # both are containers that hold themselves
        return True
