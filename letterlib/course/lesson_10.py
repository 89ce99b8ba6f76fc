"""The exercises of lesson 10: a grid written out, a run's key, where the noise of a difference
comes from.

The second cannot compare a key with a right one, for any hash will do: it asks whether equal runs
have equal keys, and other runs others. The first is in `grid_10`, the third in `power_10`.
"""

import math
import re
from types import FunctionType
from typing import Any

import torch
from torch import Generator

from letterlib.course.checks import Case, Exercise, Incorrect, call
from letterlib.course.elsewhere_10 import elsewhere
from letterlib.course.grid_10 import Entry, grid, grid_cases
from letterlib.course.power_10 import power, power_cases

DEFAULTS = {"alpha": 0.1, "beta": 0.0001, "levels": 4, "seed": 0, "tokenizer": "letter"}
FOLDERS = ["cache_dir", "out_dir"]


def key_cases(generator: Generator) -> list[Case]:
    """Nothing given; one value; several, with a folder."""
    seed = int(torch.randint(1, 100, (1,), generator=generator))
    return [
        {"given": given, "defaults": dict(DEFAULTS), "folders": folders}
        for given, folders in (
            ({}, ["here", "there"]),
            ({"seed": seed}, list(FOLDERS)),
            ({"beta": 0.01, "alpha": 1.0, "seed": seed, "out_dir": "here"}, list(FOLDERS)),
        )
    ]


def key(answer: Any, case: Case) -> None:
    """10.2: given, defaults, folders -> 16 hex digits, equal for equal runs and different for
    others.
    """
    mine = call(answer, case)
    _look_at_key(mine, case)
    for given, cause in _same_runs(case):
        theirs = call(answer, case | {"given": given})
        if theirs != mine:
            _differ("One run has two keys.", case, case["given"], given, mine, theirs, cause)
        if given == case["given"]:  # what differs from call to call says nothing of processes
            _look_elsewhere(answer, mine, case)
    theirs = call(answer, case | {"defaults": dict(reversed(case["defaults"].items()))})
    if theirs != mine:
        cause = "the order of the names in `defaults`. Sort all names: `sort_keys=True`."
        raise Incorrect(
            "One run has two keys.",
            case | {"defaults, again": "the same, in another order"},
            expected=mine,
            actual=theirs,
            cause=cause,
        )
    others = [
        (
            given,
            other,
            call(answer, case | {"given": given}),
            call(answer, case | {"given": other}),
            cause,
        )
        for given, other, cause in _other_runs(case)
    ]
    if all(first == second for _, _, first, second, _ in others):
        given, other, first, *_ = others[0]
        cause = "nothing of what was given is in the key. Of two dictionaries the right one wins: `defaults | given`."
        _differ("Two runs have one key.", case, given, other, "two keys", first, cause)
    for given, other, first, second, cause in others:
        if first == second:
            _differ("Two runs have one key.", case, given, other, "two keys", first, cause)
    _look_at_defaults(answer, mine, case)


def _look_at_defaults(answer: Any, mine: str, case: Case) -> None:
    """A default that changes is another run for all who did not give the parameter."""
    left_out = _left_out(case)
    changed = case["defaults"] | {left_out: case["defaults"][left_out] + 1}
    if call(answer, case | {"defaults": changed}) == mine:
        cause = "only what differs from the defaults is in the key. Where a default changes, so does the run."
        raise Incorrect(
            "Two runs have one key.",
            case | {"defaults, again": changed},
            expected="two keys",
            actual=mine,
            cause=cause,
        )


def _left_out(case: Case) -> str:
    """A parameter that was not given; these are numbers in every case."""
    return next(name for name in case["defaults"] if name not in case["given"])


def _look_elsewhere(answer: Any, mine: str, case: Case) -> None:
    if len(case["given"]) < 2 or not isinstance(answer, FunctionType):
        return  # a process costs more than a call, and one case tells
    other = next(
        (theirs for theirs in elsewhere(answer, list(case.values())) if theirs != mine), None
    )
    if other is not None:
        cause = (
            "Python's own `hash` of a text, or the order of a `set`. Both differ from process to process; "
            "`hashlib.sha256` and sorted names do not."
        )
        raise Incorrect(
            "The key is another one tomorrow.", case, expected=mine, actual=other, cause=cause
        )


def _look_at_key(returned: Any, case: Case) -> None:
    if not isinstance(returned, str) or not re.fullmatch("[0-9a-fA-F]{16}", returned):
        cause = "`hexdigest()` gives 64 hexadecimal digits, as text; the first 16 of them, `[:16]`, are enough."
        if isinstance(returned, bytes):
            cause = "bytes. `hexdigest()` gives text, `digest()` does not."
        elif isinstance(returned, str) and re.fullmatch("[0-9a-fA-F]{1,15}", returned):
            cause = "a slice that is too short, or a number, which loses zeros in front: `f'{number:016x}'` has them."
        raise Incorrect(
            "A key is a text of 16 hexadecimal digits.",
            case,
            expected="like 'b5bb9d8014a0f9b1'",
            actual=returned,
            cause=cause,
        )


def _differ(
    what: str, case: Case, given: Entry, again: Entry, expected: Any, actual: Any, cause: str
) -> None:
    shown = {"given": given, "given, again": again, "defaults": case["defaults"]}
    raise Incorrect(what, shown, expected=expected, actual=actual, cause=cause)


def _same_runs(case: Case) -> list[tuple[Entry, str]]:
    """Other words for the same run."""
    given, defaults = case["given"], case["defaults"]
    left_out = _left_out(case)
    whole = next((name for name, value in given.items() if value == _whole(value)), None)
    found = [
        (
            dict(given),
            "the same call gave another key: does it hold a time, a random number or an address?",
        ),
        (
            dict(reversed(given.items())),
            "the order in which parameters were given. Sort the names first.",
        ),
        *(
            (
                given | {folder: "elsewhere"},
                "a folder. It says where something goes and does not change it: leave out "
                "all names in `folders`.",
            )
            for folder in case["folders"]
        ),
        (
            given | {left_out: defaults[left_out]},
            "a default that was written out. Lay what was given over the defaults "
            "first; then the key sees every parameter.",
        ),
        (given | {left_out: None}, "None. It means: as the default has it."),
    ]
    if whole is not None:
        other = float(given[whole]) if isinstance(given[whole], int) else int(given[whole])
        found.append(
            (
                given | {whole: other},
                "1 and 1.0 are written differently and are one number. Make every number "
                "a float first.",
            )
        )
    return found


def _whole(value: Any) -> int | None:
    """The whole number that a number is, or None."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and value == int(value) else None


def _other_runs(case: Case) -> list[tuple[Entry, Entry, str]]:
    """Pairs of runs that are like each other and are not the same."""
    given = case["given"]
    full = case["defaults"] | given
    return [
        (
            given,
            given | {"seed": full["seed"] + 1},
            "the seed is left out. Another seed is another run, with another result.",
        ),
        (
            given,
            given | {"tokenizer": "plain"},
            "a text is left out of the key; only numbers are in it.",
        ),
        (
            given | {"tokenizer": "plain"},
            given | {"tokenizer": "plane"},
            "only a part of a text is in the key.",
        ),
        (
            given | {"tokenizer": "plain"},
            given | {"tokenizer": "Plain"},
            "capitals are made small. A folder may be called the one or the other.",
        ),
        *(
            (given, given | {name: full[name] + 1}, "a parameter is left out of the key.")
            for name in ("levels", "alpha", "beta")
        ),
        (
            given | {"alpha": 0.1},
            given | {"alpha": 0.9},
            "numbers cut to whole ones by `int`; `float` keeps 0.1.",
        ),
        (
            given,
            given | {"alpha": full["beta"], "beta": full["alpha"]},
            "values without their names, or sorted: alpha and beta have changed places.",
        ),
        (
            given,
            given | {"beta": math.nextafter(full["beta"], 1)},
            "a rounded number. `repr` and `json.dumps` keep all its digits.",
        ),
        (
            given | {"alpha": 0.0},
            {name: value for name, value in given.items() if name != "alpha"},
            "0 was taken for 'not given'. Only None means the default: test `is not None`.",
        ),
        (
            given | {"alpha": 1.0, "beta": 11.0},
            given | {"alpha": 1.01, "beta": 1.0},
            "values joined without a sign between them: 1.0 and 11.0 look like 1.01 and 1.0.",
        ),
    ]


EXERCISES = {
    "10.1": Exercise(grid_cases, grid),
    "10.2": Exercise(key_cases, key),
    "10.3": Exercise(power_cases, power),
}
