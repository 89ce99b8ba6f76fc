"""Exercise 10.1: a grid written out, every combination of an entry's lists. Lists of dictionaries
are compared.
"""

import itertools
from typing import Any

import torch
from torch import Generator

from letterlib.course.checks import Case, Incorrect, call
from letterlib.course.values import kind_of

Entry = dict[str, Any]


def grid_cases(generator: Generator) -> list[Case]:
    """One choice of everything; one list; lists and single values; an empty list; three lists. A
    seed is 0.
    """
    seeds = [0, *(1 + torch.randperm(99, generator=generator)[:3]).tolist()]
    tau = round(0.6 + 0.6 * torch.rand(1, generator=generator).item(), 2)
    return [
        {"entry": {"seed": seeds[0]}},
        {"entry": {"seed": seeds[:2]}},
        {
            "entry": {
                "tokenizer": "letter",
                "seed": seeds[:3],
                "tau": tau,
                "options": ("a", "b"),
                "device": None,
            }
        },
        {"entry": {"tokenizer": ["plain", "letter"], "seed": []}},
        {
            "entry": {
                "profile": "smoke",
                "tokenizer": ["plain", "letter"],
                "tau": [tau, 1.5, 1.3],
                "seed": seeds[:2],
            }
        },
    ]


def all_combinations(entry: Entry) -> list[Entry]:
    """Every combination of an entry's lists, the last name changing fastest; what is no list is its
    only choice.
    """
    choices = [value if isinstance(value, list) else [value] for value in entry.values()]
    return [dict(zip(entry, chosen, strict=True)) for chosen in itertools.product(*choices)]


def grid(answer: Any, case: Case) -> None:
    """10.1: entry -> a list of dictionaries, one a run."""
    returned, expected = call(answer, case), all_combinations(case["entry"])
    if not isinstance(returned, list) or any(not isinstance(one, dict) for one in returned):
        held = (
            [kind_of(one) for one in returned if not isinstance(one, dict)]
            if isinstance(returned, list)
            else []
        )
        cause = "a run is a dictionary from names to values, and an answer is a list of runs."
        if type(returned).__name__ in ("generator", "product", "map", "zip"):
            cause = (
                "something that makes runs when it is asked. `list(...)` around it makes them now."
            )
        raise Incorrect(
            f"Your function should return a list of dictionaries and returned {kind_of(returned)}"
            + (f" with {held[0]} in it." if held else "."),
            case,
            cause=cause,
        )
    if any(getattr(value, "shape", ()) for one in returned for value in one.values()):
        cause = "a whole list as a value. A run has one value of each list."
        raise Incorrect("A value of a run is an array or a tensor.", case, cause=cause)
    same_runs = len(returned) == len(expected) and all(one in returned for one in expected)
    if same_runs and any(list(one) != list(case["entry"]) for one in returned):
        cause = "names sorted, or put together from two groups. Go through the entry once, in its own order."
        what = "The runs are right, and their names stand in another order than the entry's."
        raise Incorrect(what, case, expected=expected, actual=returned, cause=cause)
    if returned == expected:
        return
    cause = next((text for value, text in _wrong_grids(case["entry"]) if value == returned), "")
    if not cause and same_runs:
        cause = _cause_of_order(returned, case["entry"])
    if len(returned) != len(expected):
        runs = f"{len(expected)} run" + ("" if len(expected) == 1 else "s")
        what = f"There should be {runs}, and your list has {len(returned)}."
        raise Incorrect(what, case, expected=expected, actual=returned, cause=cause)
    what = (
        "The right runs, in another order."
        if same_runs
        else "The right number of runs, and other runs."
    )
    wanted, found = next(
        pair for pair in zip(expected, returned, strict=True) if pair[0] != pair[1]
    )
    expected, actual = (
        {name: value for name, value in one.items() if (name, value) not in other.items()}
        for one, other in ((wanted, found), (found, wanted))
    )
    raise Incorrect(
        f"{what} The first that differs:", case, expected=expected, actual=actual, cause=cause
    )


def _cause_of_order(returned: list[Entry], entry: Entry) -> str:
    """Why the right runs stand in a wrong order."""
    found = {
        name: list(dict.fromkeys(one[name] for one in returned))
        for name in entry
        if isinstance(entry[name], list)
    }
    if all_combinations(entry | found) == returned:
        return "the values of a list in another order, such as sorted or backwards. They keep the order of their list."
    return "another order. The last name changes fastest, as the last digit of a counter does."


def _wrong_grids(entry: Entry) -> list[tuple[list[Entry], str]]:
    lists = {name: value for name, value in entry.items() if isinstance(value, list)}
    single = {name: value for name, value in entry.items() if name not in lists}
    every = all_combinations(entry)
    first = single | {name: value[0] for name, value in lists.items() if value}
    backwards = [
        dict(zip(entry, chosen[::-1], strict=True))
        for chosen in itertools.product(
            *[value if isinstance(value, list) else [value] for value in reversed(entry.values())]
        )
    ]
    wrapped = [value if isinstance(value, list) else [value] for value in entry.values()]
    letters = [
        dict(zip(entry, chosen, strict=True))
        for chosen in itertools.product(
            *[value if isinstance(value, list | str) else [value] for value in entry.values()]
        )
    ]
    without_lists = [
        ([], "no run at all. Without lists there is one choice of everything, so one run.")
    ]
    return [
        *([] if lists else without_lists),
        (
            every[:1],
            "the first combination alone: a `return` inside the loop, or the lists side by side (`zip`).",
        ),
        (
            [
                single | dict(zip(lists, chosen, strict=True))
                for chosen in zip(*lists.values(), strict=False)
            ],
            "the lists side by side (`zip`): first with first, second with second. All combinations are asked for.",
        ),
        (
            [dict(zip(entry, chosen, strict=True)) for chosen in zip(*wrapped, strict=False)],
            "the lists side by side (`zip`): first with first, second with second. All combinations are asked for.",
        ),
        (
            all_combinations(
                {
                    name: list(value) if isinstance(value, tuple) else value
                    for name, value in entry.items()
                }
            ),
            "a tuple was taken apart. Only a list is several choices.",
        ),
        (
            all_combinations(
                {name: [None] if value == [] else value for name, value in entry.items()}
            ),
            "an empty list became None. No choice for a name means that there is no run.",
        ),
        (
            [{name: value for name, value in one.items() if value is not None} for one in every],
            "a value None was left out. Every run has all names.",
        ),
        (all_combinations(lists), "values that are no list are left out. Every run has all names."),
        (letters, "a text was taken apart into its letters. Only a list is several choices."),
        (
            backwards,
            "the first name changes fastest. It should be the last, as the last digit of a counter does.",
        ),
        (
            all_combinations({name: value for name, value in entry.items() if value != []}),
            "an empty list was left out. No choice for a name means that there is no run.",
        ),
        (
            [first | {name: one} for name, value in lists.items() for one in value],
            "one list at a time, the others at their first value. That is a sweep; a grid has all combinations.",
        ),
        (every[-1:] * len(every), "one dictionary in all places. Make a new one for each run."),
        (
            all_combinations(
                single | {name: [one for one in value if one] for name, value in lists.items()}
            ),
            "a 0 in a list was left out. It is a value like any other.",
        ),
        (
            [entry],
            "the entry itself. Its lists are choices, and each combination of them is a run.",
        ),
    ]
