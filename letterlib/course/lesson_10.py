"""The exercises of lesson 10: a grid written out, a run's key, where the noise of a difference
comes from.

The second cannot compare a key with a right one, for any hash will do: it asks whether equal runs
have equal keys, and other runs others.
"""

import itertools
import math
import re
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Generator

from letterlib.course.checks import Case, Exercise, Incorrect, call, compare, several
from letterlib.course.experiments import (
    variance_parts,
)
from letterlib.course.other_processes import elsewhere
from letterlib.course.values import kind_of

# 10.1 A grid written out: every combination of an entry's lists

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
        cause = (
            "names sorted, or put together from two groups. Go through the entry once, in "
            "its own order."
        )
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
        return (
            "the values of a list in another order, such as sorted or backwards. They keep "
            "the order of their list."
        )
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
            "the first combination alone: a `return` inside the loop, or the lists side by side "
            "(`zip`).",
        ),
        (
            [
                single | dict(zip(lists, chosen, strict=True))
                for chosen in zip(*lists.values(), strict=False)
            ],
            "the lists side by side (`zip`): first with first, second with second. All "
            "combinations are asked for.",
        ),
        (
            [dict(zip(entry, chosen, strict=True)) for chosen in zip(*wrapped, strict=False)],
            "the lists side by side (`zip`): first with first, second with second. All "
            "combinations are asked for.",
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
            "the first name changes fastest. It should be the last, as the last digit of a "
            "counter does.",
        ),
        (
            all_combinations({name: value for name, value in entry.items() if value != []}),
            "an empty list was left out. No choice for a name means that there is no run.",
        ),
        (
            [first | {name: one} for name, value in lists.items() for one in value],
            "one list at a time, the others at their first value. That is a sweep; a grid has all "
            "combinations.",
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
        cause = (
            "nothing of what was given is in the key. Of two dictionaries the right one "
            "wins: `defaults | given`."
        )
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
        cause = (
            "only what differs from the defaults is in the key. Where a default changes, so "
            "does the run."
        )
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
            "Python's own `hash` of a text, or the order of a `set`. Both differ from process to "
            "process; "
            "`hashlib.sha256` and sorted names do not."
        )
        raise Incorrect(
            "The key is another one tomorrow.", case, expected=mine, actual=other, cause=cause
        )


def _look_at_key(returned: Any, case: Case) -> None:
    if not isinstance(returned, str) or not re.fullmatch("[0-9a-fA-F]{16}", returned):
        cause = (
            "`hexdigest()` gives 64 hexadecimal digits, as text; the first 16 of them, "
            "`[:16]`, are enough."
        )
        if isinstance(returned, bytes):
            cause = "bytes. `hexdigest()` gives text, `digest()` does not."
        elif isinstance(returned, str) and re.fullmatch("[0-9a-fA-F]{1,15}", returned):
            cause = (
                "a slice that is too short, or a number, which loses zeros in front: "
                "`f'{number:016x}'` has them."
            )
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


# 10.3 Where the noise of a difference between two systems comes from

NAMES = ("seeds", "users", "rest")


def power_cases(generator: Generator) -> list[Case]:
    """Two seeds and two users; equal seeds, whose estimate would fall below 0; equal users; then a
    real size.
    """
    random = np.random.default_rng(generator.initial_seed() + 1)
    small = np.round(random.normal(size=(2, 2)), 1) + np.array([[0.0, 2.0], [4.0, 8.5]])
    noise = random.normal(size=(4, 6))
    no_seeds = noise - noise.mean(axis=1, keepdims=True) + random.normal(size=6)
    no_users = noise - noise.mean(axis=0, keepdims=True) + random.normal(size=(4, 1))
    real = (
        random.normal(0.3, 1.0, size=(5, 60))
        + 2 * random.normal(size=(5, 1))
        + 1.5 * random.normal(size=60)
    )
    return [{"d": one} for one in (small, no_seeds, no_users, real)]


def power(answer: Any, case: Case) -> None:
    """10.3: d [n_seeds, n_users] -> the variances of seeds, users and the rest."""
    d = case["d"]
    n_seeds, n_users = d.shape
    returned = dict(zip(NAMES, several(call(answer, case), NAMES, case, "numbers"), strict=True))
    seeds, users, rest = variance_parts(d)
    left = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    raw_seeds, raw_users = d.mean(axis=1).var(ddof=1), d.mean(axis=0).var(ddof=1)
    compare(
        "rest",
        returned["rest"],
        rest,
        case,
        [
            (
                (left**2).mean(),
                "a mean of squares. Divide by `(n_seeds - 1) * (n_users - 1)`: what is left has "
                "so many "
                "free numbers.",
            ),
            (
                left.var(ddof=1),
                "divided by all values less one. Seeds and users have used up more: divide by "
                "`(n_seeds - 1) * (n_users - 1)`.",
            ),
            (
                ((left - d.mean()) ** 2).sum() / ((n_seeds - 1) * (n_users - 1)),
                "the mean was taken away twice, once with "
                "the seed and once with the user. Add it back.",
            ),
            (
                d.var(ddof=1),
                "the variance of all values. Take away each row's and each column's mean first.",
            ),
            (
                d.var(),
                "the variance of all values. Take away each row's and each column's mean first.",
            ),
            (seeds, "another order. Return seeds, users, rest."),
            (users, "another order. Return seeds, users, rest."),
            (np.sqrt(rest), "a standard deviation. Return variances."),
            *_without_keepdims(d),
        ],
    )
    compare(
        "seeds",
        returned["seeds"],
        seeds,
        case,
        [
            (
                users,
                "seeds and users exchanged. A row of `d` is a seed: its mean is `d.mean(axis=1)`.",
            ),
            (
                raw_seeds,
                "part of what rows' means differ by comes from the rest. Take `rest / n_users` "
                "away.",
            ),
            (
                raw_seeds - rest / n_users,
                "a variance below 0. Such an estimate means: none seen. Return 0.",
            ),
            (
                d.mean(axis=1).var() - rest / n_users,
                "`var()` divides by the number of rows. `var(ddof=1)` divides by one "
                "less, because the mean was estimated from the same rows.",
            ),
            (
                max(0.0, d.mean(axis=1).var() - rest / n_users),
                "`var()` divides by the number of rows. `var(ddof=1)` "
                "divides by one less, because the mean was estimated from the same rows.",
            ),
            (
                max(0.0, raw_seeds - rest),
                "`rest` taken away whole. A row's mean is over `n_users` values.",
            ),
            (
                max(0.0, raw_seeds - rest / n_seeds),
                "`rest / n_seeds` taken away; a row's mean is over `n_users` values.",
            ),
            (
                max(0.0, raw_users - rest / n_users),
                "seeds and users exchanged. A row of `d` is a seed: its mean is `d.mean(axis=1)`.",
            ),
            (
                abs(raw_seeds - rest / n_users),
                "an absolute value. An estimate below 0 means: none seen. Return 0.",
            ),
            (np.sqrt(seeds), "a standard deviation. Return variances."),
        ],
    )
    compare(
        "users",
        returned["users"],
        users,
        case,
        [
            (
                raw_users,
                "part of what columns' means differ by comes from the rest. Take `rest / n_seeds` "
                "away.",
            ),
            (
                raw_users - rest / n_seeds,
                "a variance below 0. Such an estimate means: none seen. Return 0.",
            ),
            (
                max(0.0, d.mean(axis=0).var() - rest / n_seeds),
                "`var()` divides by the number of columns. Use `var(ddof=1)`.",
            ),
            (
                max(0.0, raw_users - rest / n_users),
                "`rest / n_users` taken away. A column's mean is over `n_seeds` values.",
            ),
            (
                max(0.0, raw_users - rest),
                "`rest` taken away whole. A column's mean is over `n_seeds` values.",
            ),
            (
                abs(raw_users - rest / n_seeds),
                "an absolute value. An estimate below 0 means: none seen. Return 0.",
            ),
            (np.sqrt(users), "a standard deviation. Return variances."),
        ],
    )


def _without_keepdims(d: np.ndarray) -> list[tuple[float, str]]:
    """A square table lets rows' means be taken from columns; another one stops."""
    n_seeds, n_users = d.shape
    if n_seeds != n_users:
        return []
    left = d - d.mean(axis=1) - d.mean(axis=0) + d.mean()
    text = "rows' means taken from columns: `d.mean(axis=1, keepdims=True)` stands beside its row."
    return [((left**2).sum() / (n_seeds - 1) ** 2, text)]


EXERCISES = {
    "10.1": Exercise(grid_cases, grid),
    "10.2": Exercise(key_cases, key),
    "10.3": Exercise(power_cases, power),
}
