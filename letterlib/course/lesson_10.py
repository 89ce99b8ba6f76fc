"""The exercises of lesson 10: a grid written out, a run's key, where the noise of a difference comes from.

The first compares lists of dictionaries. The second cannot compare a key with a right one, for any hash will do: it
asks whether equal runs have equal keys, and other runs others. The third is in `power_10`.
"""

import itertools
import math
import re
from types import FunctionType
from typing import Any

import torch
from torch import Generator

from letterlib.course.checks import Case, Exercise, Incorrect, call
from letterlib.course.elsewhere_10 import elsewhere
from letterlib.course.power_10 import power, power_cases

Entry = dict[str, Any]


def grid_cases(generator: Generator) -> list[Case]:
    """One choice of everything; one list; lists and single values; an empty list; three lists. A seed is 0."""
    seeds = [0, *(1 + torch.randperm(99, generator=generator)[:3]).tolist()]
    tau = round(0.6 + 0.6 * torch.rand(1, generator=generator).item(), 2)
    return [
        {"entry": {"seed": seeds[0]}},
        {"entry": {"seed": seeds[:2]}},
        {"entry": {"tokenizer": "letter", "seed": seeds[:3], "tau": tau, "options": ("a", "b"), "device": None}},
        {"entry": {"tokenizer": ["plain", "letter"], "seed": []}},
        {"entry": {"profile": "smoke", "tokenizer": ["plain", "letter"], "tau": [tau, 1.5, 1.3], "seed": seeds[:2]}},
    ]


def all_combinations(entry: Entry) -> list[Entry]:
    """Every combination of an entry's lists, the last name changing fastest; what is no list is its only choice."""
    choices = [value if isinstance(value, list) else [value] for value in entry.values()]
    return [dict(zip(entry, chosen, strict=True)) for chosen in itertools.product(*choices)]


def grid(answer: Any, case: Case) -> None:
    """10.1: entry -> a list of dictionaries, one a run."""
    returned, expected = call(answer, case), all_combinations(case["entry"])
    if not isinstance(returned, list) or any(not isinstance(one, dict) for one in returned):
        what = type(returned).__name__
        held = next((type(one).__name__ for one in returned if not isinstance(one, dict)), "") \
            if isinstance(returned, list) else ""  # fmt: skip
        cause = "a run is a dictionary from names to values, and an answer is a list of runs."
        if what in ("generator", "product", "map", "zip"):
            cause = "something that makes runs when it is asked. `list(...)` around it makes them now."
        raise Incorrect(f"Your function should return a list of dictionaries and returned a {what}"
                        + (f" with a {held} in it." if held else "."), case, cause=cause)  # fmt: skip
    same_runs = _sorted(returned) == _sorted(expected)
    if same_runs and any(list(one) != list(case["entry"]) for one in returned):
        cause = "names sorted, or put together from two groups. Go through the entry once, in its own order."
        what = "The runs are right, and their names stand in another order than the entry's."
        raise Incorrect(what, case, expected=expected, actual=returned, cause=cause)
    if returned == expected:
        return
    cause = next((text for value, text in _wrong_grids(case["entry"]) if value == returned), "")
    if not cause and same_runs:
        cause = _cause_of_order(returned, case["entry"])
    runs = f"{len(expected)} run" + ("" if len(expected) == 1 else "s")
    what = f"There should be {runs}, and your list has {len(returned)}." \
        if len(returned) != len(expected) else "The right number of runs, and other runs."  # fmt: skip
    raise Incorrect(what, case, expected=expected, actual=returned, cause=cause)


def _cause_of_order(returned: list[Entry], entry: Entry) -> str:
    """Why the right runs stand in a wrong order."""
    found = {
        name: list(dict.fromkeys(one[name] for one in returned)) for name in entry if isinstance(entry[name], list)
    }
    if all_combinations(entry | found) == returned:
        return "the values of a list in another order, such as sorted or backwards. They keep the order of their list."
    return "another order. The last name changes fastest, as the last digit of a counter does."


def _wrong_grids(entry: Entry) -> list[tuple[list[Entry], str]]:
    lists = {name: value for name, value in entry.items() if isinstance(value, list)}
    single = {name: value for name, value in entry.items() if name not in lists}
    every = all_combinations(entry)
    first = single | {name: value[0] for name, value in lists.items() if value}
    backwards = [dict(zip(entry, chosen[::-1], strict=True)) for chosen in itertools.product(
        *[value if isinstance(value, list) else [value] for value in reversed(entry.values())])]  # fmt: skip
    wrapped = [value if isinstance(value, list) else [value] for value in entry.values()]
    letters = [dict(zip(entry, chosen, strict=True)) for chosen in itertools.product(
        *[value if isinstance(value, list | str) else [value] for value in entry.values()])]  # fmt: skip
    without_lists = [([], "no run at all. Without lists there is one choice of everything, so one run.")]
    return [
        *([] if lists else without_lists),
        (every[:1], "the first combination alone: a `return` inside the loop, or the lists side by side (`zip`)."),
        ([single | dict(zip(lists, chosen, strict=True)) for chosen in zip(*lists.values(), strict=False)],
         "the lists side by side (`zip`): first with first, second with second. All combinations are asked for."),
        ([dict(zip(entry, chosen, strict=True)) for chosen in zip(*wrapped, strict=False)],
         "the lists side by side (`zip`): first with first, second with second. All combinations are asked for."),
        (all_combinations({name: list(value) if isinstance(value, tuple) else value for name, value in entry.items()}),
         "a tuple was taken apart. Only a list is several choices."),
        (all_combinations({name: [None] if value == [] else value for name, value in entry.items()}),
         "an empty list became None. No choice for a name means that there is no run."),
        ([{name: value for name, value in one.items() if value is not None} for one in every],
         "a value None was left out. Every run has all names."),
        (all_combinations(lists), "values that are no list are left out. Every run has all names."),
        (letters, "a text was taken apart into its letters. Only a list is several choices."),
        (backwards, "the first name changes fastest. It should be the last, as the last digit of a counter does."),
        (all_combinations({name: value for name, value in entry.items() if value != []}),
         "an empty list was left out. No choice for a name means that there is no run."),
        ([first | {name: one} for name, value in lists.items() for one in value],
         "one list at a time, the others at their first value. That is a sweep; a grid has all combinations."),
        (every[-1:] * len(every), "one dictionary in all places. Make a new one for each run."),
        (all_combinations(single | {name: [one for one in value if one] for name, value in lists.items()}),
         "a 0 in a list was left out. It is a value like any other."),
        ([entry], "the entry itself. Its lists are choices, and each combination of them is a run."),
    ]  # fmt: skip


def _sorted(runs: list[Entry]) -> list[str]:
    return sorted(repr(sorted(one.items(), key=lambda pair: pair[0])) for one in runs)


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
    """10.2: given, defaults, folders -> 16 hex digits, equal for equal runs and different for others."""
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
        raise Incorrect("One run has two keys.", case | {"defaults, again": "the same, in another order"},
                        expected=mine, actual=theirs, cause=cause)  # fmt: skip
    others = [(given, other, call(answer, case | {"given": given}), call(answer, case | {"given": other}), cause)
              for given, other, cause in _other_runs(case)]  # fmt: skip
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
        raise Incorrect("Two runs have one key.", case | {"defaults, again": changed}, expected="two keys",
                        actual=mine, cause=cause)  # fmt: skip


def _left_out(case: Case) -> str:
    """A parameter that was not given; these are numbers in every case."""
    return next(name for name in case["defaults"] if name not in case["given"])


def _look_elsewhere(answer: Any, mine: str, case: Case) -> None:
    if len(case["given"]) < 2 or not isinstance(answer, FunctionType):
        return  # a process costs more than a call, and one case tells
    other = next((theirs for theirs in elsewhere(answer, list(case.values())) if theirs != mine), None)
    if other is not None:
        cause = "Python's own `hash` of a text, or the order of a `set`. Both differ from process to process; " \
                "`hashlib.sha256` and sorted names do not."  # fmt: skip
        raise Incorrect("The key is another one tomorrow.", case, expected=mine, actual=other, cause=cause)


def _look_at_key(returned: Any, case: Case) -> None:
    if not isinstance(returned, str) or not re.fullmatch("[0-9a-fA-F]{16}", returned):
        cause = "`hexdigest()` gives 64 hexadecimal digits, as text; the first 16 of them, `[:16]`, are enough."
        if isinstance(returned, bytes):
            cause = "bytes. `hexdigest()` gives text, `digest()` does not."
        raise Incorrect("A key is a text of 16 hexadecimal digits.", case, expected="like 'b5bb9d8014a0f9b1'",
                        actual=returned, cause=cause)  # fmt: skip


def _differ(what: str, case: Case, given: Entry, again: Entry, expected: Any, actual: Any, cause: str) -> None:
    shown = {"given": given, "given, again": again, "defaults": case["defaults"]}
    raise Incorrect(what, shown, expected=expected, actual=actual, cause=cause)


def _same_runs(case: Case) -> list[tuple[Entry, str]]:
    """Other words for the same run."""
    given, defaults = case["given"], case["defaults"]
    left_out = _left_out(case)
    whole = next((name for name, value in given.items() if value == _whole(value)), None)
    found = [
        (dict(given), "the same call gave another key: does it hold a time, a random number or an address?"),
        (dict(reversed(given.items())), "the order in which parameters were given. Sort the names first."),
        *((given | {folder: "elsewhere"}, "a folder. It says where something goes and does not change it: leave out "
           "all names in `folders`.") for folder in case["folders"]),
        (given | {left_out: defaults[left_out]}, "a default that was written out. Lay what was given over the defaults "
         "first; then the key sees every parameter."),
        (given | {left_out: None}, "None. It means: as the default has it."),
    ]  # fmt: skip
    if whole is not None:
        other = float(given[whole]) if isinstance(given[whole], int) else int(given[whole])
        found.append((given | {whole: other}, "1 and 1.0 are written differently and are one number. Make every number "
                      "a float first."))  # fmt: skip
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
        (given, given | {"seed": full["seed"] + 1}, "the seed is left out. Another seed is another run, with another "
         "result."),
        (given, given | {"tokenizer": "plain"}, "a text is left out of the key; only numbers are in it."),
        (given | {"tokenizer": "plain"}, given | {"tokenizer": "plane"}, "only a part of a text is in the key."),
        (given | {"tokenizer": "plain"}, given | {"tokenizer": "Plain"}, "capitals are made small. A folder may be "
         "called the one or the other."),
        *((given, given | {name: full[name] + 1}, "a parameter is left out of the key.")
          for name in ("levels", "alpha", "beta")),
        (given, given | {"alpha": full["beta"], "beta": full["alpha"]}, "values without their names, or sorted: alpha "
         "and beta have changed places."),
        (given, given | {"beta": math.nextafter(full["beta"], 1)}, "a rounded number. `repr` and `json.dumps` keep all "
         "its digits."),
        (given | {"alpha": 0.0}, {name: value for name, value in given.items() if name != "alpha"}, "0 was taken for "
         "'not given'. Only None means the default: test `is not None`."),
        (given | {"alpha": 1.0, "beta": 11.0}, given | {"alpha": 1.01, "beta": 1.0}, "values joined without a sign "
         "between them: 1.0 and 11.0 look like 1.01 and 1.0."),
    ]  # fmt: skip


EXERCISES = {
    "10.1": Exercise(grid_cases, grid),
    "10.2": Exercise(key_cases, key),
    "10.3": Exercise(power_cases, power),
}
