"""Lesson 10: a grid written out, the key of a run, where the noise of a difference comes from."""

import hashlib
import itertools
import json
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
import torch
from torch import Generator

from letterlib.course import experiments
from letterlib.course.comparing import Case, Incorrect, call
from letterlib.course.exercise import Exercise
from letterlib.course.other_processes import elsewhere

Entry = dict[str, Any]

# 10.1 A grid written out: entry -> a list of dictionaries, one for each combination of its lists


def grid_cases(generator: Generator) -> list[Case]:
    """One choice of everything; one list; lists and single values; an empty list; three lists. A
    seed is 0.
    """
    seeds = [0, *(1 + torch.randperm(99, generator=generator)[:3]).tolist()]
    tau = round(0.6 + 0.6 * torch.rand(1, generator=generator).item(), 2)
    singles = {"options": ("a", "b"), "device": None}
    systems = ["plain", "letter"]
    entries = [
        {"seed": seeds[0]},
        {"seed": seeds[:2]},
        {"tokenizer": "letter", "seed": seeds[:3], "tau": tau, **singles},
        {"tokenizer": systems, "seed": []},
        {"profile": "smoke", "tau": [tau, 1.5, 1.3], "tokenizer": systems, "seed": seeds[:2]},
    ]
    return [{"entry": entry} for entry in entries]


def all_combinations(entry: Entry) -> list[OrderedDict]:
    """In an OrderedDict, the order of the names counts."""
    choices = [value if isinstance(value, list) else [value] for value in entry.values()]
    return [OrderedDict(zip(entry, chosen)) for chosen in itertools.product(*choices)]


def as_list(value):
    return value if isinstance(value, list) else [value]


def grid_with(
    choices: Callable = as_list,
    combine: Callable = itertools.product,
    entry: Callable = lambda entry: entry,
    run: Callable = lambda run: run,
    runs: Callable = list,
) -> Callable:
    """A grid, one of whose steps may be replaced."""

    def answer(given):
        changed = entry(given)
        combined = combine(*[choices(value) for value in changed.values()])
        return runs(run(dict(zip(changed, chosen))) for chosen in combined)

    return answer


def values_with(change: Callable) -> Callable:
    """A grid whose lists are changed before."""
    return grid_with(lambda value: change(value) if isinstance(value, list) else [value])


def only(keep: Callable) -> Callable:
    """A grid of the values that are kept."""
    return grid_with(entry=lambda entry: {name: v for name, v in entry.items() if keep(v)})


def grid_by_growing(entry):
    runs = [{}]
    for name, value in entry.items():
        runs = [{**run, name: one} for run in runs for one in as_list(value)]
    return runs


def grid_by_recursion(entry):
    if not entry:
        return [{}]
    name = list(entry)[-1]
    shorter = {key: value for key, value in entry.items() if key != name}
    return [run | {name: one} for run in grid_by_recursion(shorter) for one in as_list(entry[name])]


def lists_side_by_side(entry):
    lists = {name: value for name, value in entry.items() if isinstance(value, list)}
    rows = zip(*lists.values()) if lists else [()]
    return [dict(entry) | dict(zip(lists, row)) for row in rows]


def first_fastest(*choices):
    return [chosen[::-1] for chosen in itertools.product(*choices[::-1])]


def one_at_a_time(entry):
    first = {name: as_list(value)[0] for name, value in entry.items() if value != []}
    lists = {name: value for name, value in entry.items() if isinstance(value, list)}
    return [first | {name: one} for name, value in lists.items() for one in value] or [first]


def one_dictionary(runs):
    run, found = {}, []
    for one in runs:
        run.update(one)
        found.append(run)
    return found


def singles_first(entry):
    return dict(sorted(entry.items(), key=lambda item: isinstance(item[1], list)))


def names_of_everything(entry):
    lists = [value for value in entry.values() if isinstance(value, list)]
    return [dict(zip(entry, chosen)) for chosen in itertools.product(*lists)]


GRID = Exercise(
    reference=all_combinations,
    cases=grid_cases,
    returns=["runs"],
    right=[grid_by_growing, grid_by_recursion, grid_with()],
    mistakes=[
        (
            lambda entry: (
                grid_by_growing(entry)
                if any(isinstance(value, list) for value in entry.values())
                else []
            ),
            "no run at all. Without lists there is one choice of everything, so one run.",
        ),
        (
            grid_with(runs=lambda runs: list(runs)[:1]),
            "the first combination alone: a `return` inside the loop.",
        ),
        (
            grid_with(choices=lambda value: value),
            "single values are no lists yet: `value if isinstance(value, list) else [value]`.",
        ),
        (
            names_of_everything,
            "combinations of the lists alone, with the names of the whole entry. A single value is "
            "a list of one.",
        ),
        (
            lambda entry: [{name: one} for name, value in entry.items() for one in as_list(value)],
            "one value per run. Each run has all names.",
        ),
        (
            lambda entry: [{v: name for name, v in run.items()} for run in grid_by_growing(entry)],
            "names and values exchanged: `dict(zip(entry, chosen))`.",
        ),
        *(
            (
                answer,
                "the lists side by side (`zip`): first with first, second with second. All "
                "combinations are asked for.",
            )
            for answer in (lists_side_by_side, grid_with(combine=zip))
        ),
        (
            grid_with(lambda value: list(value) if isinstance(value, (list, tuple)) else [value]),
            "a tuple was taken apart. Only a list is several choices.",
        ),
        (
            grid_with(lambda value: list(value) if isinstance(value, (list, str)) else [value]),
            "a text was taken apart into its letters. Only a list is several choices.",
        ),
        (
            values_with(lambda value: value or [None]),
            "an empty list became None. No choice for a name means that there is no run.",
        ),
        (
            only(lambda value: value != []),
            "an empty list was left out. No choice for a name means that there is no run.",
        ),
        (
            only(lambda value: value is not None),
            "a value None was left out. Every run has all names.",
        ),
        (
            only(lambda value: isinstance(value, list)),
            "values that are no list are left out. Every run has all names.",
        ),
        (
            values_with(lambda value: [one for one in value if one]),
            "a 0 in a list was left out. It is a value like any other.",
        ),
        (
            grid_with(combine=first_fastest),
            "the first name changes fastest. It should be the last, as the last digit of a counter "
            "does.",
        ),
        *(
            (
                values_with(order),
                "the values of a list in another order, such as sorted or backwards. They keep the "
                "order of their list.",
            )
            for order in (sorted, lambda values: values[::-1])
        ),
        (
            grid_with(combine=lambda *choices: set(itertools.product(*choices))),
            "a `set`, which has any order. Keep a list.",
        ),
        *(
            (
                grid_with(entry=order),
                "names sorted, or put together from two groups. Go through the entry once, in its "
                "own order.",
            )
            for order in (lambda entry: dict(sorted(entry.items())), singles_first)
        ),
        (
            one_at_a_time,
            "one list at a time, the others at their first value. That is a sweep; a grid has all "
            "combinations.",
        ),
        (
            grid_with(runs=one_dictionary),
            "one dictionary in all places. Make a new one for each run.",
        ),
        (
            lambda entry: [dict(entry)],
            "the entry itself. Its lists are choices, and each combination of them is a run.",
        ),
        (
            grid_with(run=lambda run: tuple(run.values())),
            "a tuple of values. `dict(zip(entry, chosen))` puts the names back.",
        ),
        (
            grid_with(run=lambda run: {name: str(value) for name, value in run.items()}),
            "values as text. Keep them as they are.",
        ),
        (
            grid_with(run=lambda run: {name: [value] for name, value in run.items()}),
            "lists of one value. A run has the value itself.",
        ),
    ],
)

# 10.2 The key of a run: given, defaults, folders -> 16 hexadecimal digits, equal for equal runs and
# different for others. Any hash will do, so keys are compared with each other, and not with a
# right one.

DEFAULTS = {"alpha": 0.1, "beta": 0.0001, "levels": 4, "seed": 0, "tokenizer": "letter"}


def key_cases(generator: Generator) -> list[Case]:
    """Nothing given; one value; several, with a folder."""
    seed = int(torch.randint(1, 100, (1,), generator=generator))
    several = {"beta": 0.01, "alpha": 1.0, "seed": seed, "out_dir": "here"}
    return [
        {"given": given, "defaults": dict(DEFAULTS), "folders": folders}
        for given, folders in (
            ({}, ["here", "there"]),
            ({"seed": seed}, ["cache_dir", "out_dir"]),
            (several, ["cache_dir", "out_dir"]),
        )
    ]


def same_runs(given: Entry, defaults: Entry, folders: list[str]) -> list[tuple[Entry, str]]:
    """Other words for the same run, and what the key holds if it differs."""
    left_out = next(name for name in defaults if name not in given)
    twins = [
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
                "a folder. It says where something goes and does not change it: leave out all "
                "names in `folders`.",
            )
            for folder in folders
        ),
        (
            given | {left_out: defaults[left_out]},
            "a default that was written out. Lay what was given over the defaults first; then the "
            "key sees every parameter.",
        ),
        (given | {left_out: None}, "None. It means: as the default has it."),
    ]
    if "seed" in given:
        twins.append(
            (
                given | {"seed": float(given["seed"])},
                "1 and 1.0 are written differently and are one number. Make every number a float "
                "first.",
            )
        )
    return twins


def other_runs(given: Entry, defaults: Entry) -> list[tuple[Entry, Entry, str]]:
    """Pairs of different runs, and what is wrong if they have one key."""
    full, plain = defaults | given, given | {"tokenizer": "plain"}
    without_alpha = {name: value for name, value in given.items() if name != "alpha"}
    return [
        (
            given,
            given | {"seed": full["seed"] + 1},
            "the seed is left out. Another seed is another run, with another result.",
        ),
        (given, plain, "a text is left out of the key; only numbers are in it."),
        (plain, given | {"tokenizer": "plane"}, "only a part of a text is in the key."),
        (
            plain,
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
            without_alpha,
            "0 was taken for 'not given'. Only None means the default: test `is not None`.",
        ),
        (
            given | {"alpha": 1.0, "beta": 11.0},
            given | {"alpha": 1.01, "beta": 1.0},
            "values joined without a sign between them: 1.0 and 11.0 look like 1.01 and 1.0.",
        ),
    ]


def examine_key(answer: Any, case: Case) -> None:
    given, defaults = case["given"], case["defaults"]

    def key(given: Entry, defaults: Entry = defaults) -> Any:
        return call(answer, case | {"given": given, "defaults": defaults})

    def wrong(what: str, shown: Case, expected: Any, actual: Any, cause: str) -> Incorrect:
        return Incorrect(what, shown, expected=expected, actual=actual, cause=cause)

    def shown(given: Entry, again: Entry) -> Case:
        return {"given": given, "given, again": again, "defaults": defaults}

    mine = key(given)
    examine_form(mine, case)
    for twin, cause in same_runs(**case):
        if (theirs := key(twin)) != mine:
            raise wrong("One run has two keys.", shown(given, twin), mine, theirs, cause)
    if len(given) > 1 and isinstance(answer, FunctionType):  # a process takes long: in one case
        theirs = [one for one in elsewhere(answer, list(case.values())) if one != mine]
        if theirs:
            cause = (
                "Python's own `hash` of a text, or the order of a `set`. Both differ from process "
                "to process; `hashlib.sha256` and sorted names do not."
            )
            raise wrong("The key is another one tomorrow.", case, mine, theirs[0], cause)
    if (theirs := key(given, dict(reversed(defaults.items())))) != mine:
        again = case | {"defaults, again": "the same, in another order"}
        cause = "the order of the names in `defaults`. Sort all names: `sort_keys=True`."
        raise wrong("One run has two keys.", again, mine, theirs, cause)
    others = other_runs(given, defaults)
    equal = [(pair, cause) for *pair, cause in others if key(pair[0]) == key(pair[1])]
    if equal:
        pair, cause = equal[0]
        if len(equal) == len(others):
            cause = (
                "nothing of what was given is in the key. Of two dictionaries the right one wins: "
                "`defaults | given`."
            )
        raise wrong("Two runs have one key.", shown(*pair), "two keys", key(pair[0]), cause)
    left_out = next(name for name in defaults if name not in given)
    changed = defaults | {left_out: defaults[left_out] + 1}
    if key(given, changed) == mine:
        cause = (
            "only what differs from the defaults is in the key. If a default changes, so does the "
            "run."
        )
        again = case | {"defaults, again": changed}
        raise wrong("Two runs have one key.", again, "two keys", mine, cause)


def examine_form(key: Any, case: Case) -> None:
    if isinstance(key, str) and re.fullmatch("[0-9a-fA-F]{16}", key):
        return
    cause = (
        "`hexdigest()` gives 64 hexadecimal digits, as text; the first 16 of them, `[:16]`, are "
        "enough."
    )
    if isinstance(key, bytes):
        cause = "bytes. `hexdigest()` gives text, `digest()` does not."
    elif isinstance(key, str) and re.fullmatch("[0-9a-fA-F]{1,15}", key):
        cause = (
            "a slice that is too short, or a number, which loses zeros in front: "
            "`f'{number:016x}'` has them."
        )
    what, example = "A key is a text of 16 hexadecimal digits.", "like 'b5bb9d8014a0f9b1'"
    raise Incorrect(what, case, expected=example, actual=key, cause=cause)


def key(given, defaults, folders):
    asked = {name: v for name, v in given.items() if v is not None and name not in folders}
    settings = defaults | asked
    numbers = {name: float(v) for name, v in settings.items() if isinstance(v, (int, float))}
    text = json.dumps(settings | numbers, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def number(value):
    return float(value) if isinstance(value, (int, float)) else value


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def key_with(
    asked=lambda name, value, folders: value is not None and name not in folders,
    merge=lambda asked, defaults: defaults | asked,
    value=number,
    order=sorted,
    text=json.dumps,
    digest=sha,
):
    """A key, one of whose steps may be replaced."""

    def answer(given, defaults, folders):
        kept = {name: v for name, v in given.items() if asked(name, v, folders)}
        settings = merge(kept, defaults)
        return digest(text({name: value(settings[name]) for name in order(settings)}))

    return answer


def key_by_loop(given, defaults, folders):
    text = ""
    for name in sorted(defaults):
        value = given.get(name)
        value = defaults[name] if value is None else value
        text += f"{name}={number(value)!r};"
    return hashlib.md5(text.encode()).hexdigest()[:16]


def upper(text):
    return sha(text).upper()


def by_a_sorted_set(settings):
    print("what is printed is no part of the answer")
    return ";".join(f"{name}={settings[name]!r}" for name in sorted({*settings}))


class Hasher:
    def hash(self, text):
        return sha(text)


def key_by_a_method_called_hash(given, defaults, folders):
    return Hasher().hash(json.dumps({"key": key(given, defaults, folders)}))


def key_that_empties(given, defaults, folders):
    for folder in folders:
        given.pop(folder, None)
    return key(given, defaults, folders)


own_hash = hash


def hash_of_this_process(text):
    return f"{own_hash(text) & (2**64 - 1):016x}"


def without(*names):
    return key_with(order=lambda settings: sorted({*settings} - {*names}))


def rounded(form):
    return key_with(value=lambda v: format(v, form) if isinstance(v, (int, float)) else v)


KEY = Exercise(
    reference=key,
    cases=key_cases,
    returns=["the key"],
    examine=examine_key,
    stops={"could not convert string to float": "Only numbers become floats; a text stays."},
    right=[
        key_by_loop,
        key_with(),
        key_with(text=lambda settings: repr(list(settings.items())), digest=upper),
        key_with(text=by_a_sorted_set),
        key_by_a_method_called_hash,
    ],
    # With a custom examination, a hint is what it should say.
    mistakes=[
        (
            key_with(merge=lambda asked, defaults: asked | defaults),
            "nothing of what was given is in the key",
        ),
        (
            key_with(
                merge=lambda asked, defaults: asked | dict(sorted(defaults.items())) | asked,
                order=list,
            ),
            "the order in which parameters were given",
        ),
        (
            key_with(merge=lambda asked, defaults: asked | defaults | asked, order=list),
            "Sort all names",
        ),
        (key_with(order=list), "the order of the names in `defaults`"),
        (key_with(merge=lambda asked, defaults: asked), "a default that was written out"),
        (
            key_with(
                merge=lambda asked, defaults: dict(asked.items() - defaults.items()),
            ),
            "only what differs from the defaults",
        ),
        (key_with(lambda name, value, folders: value is not None), "a folder. It says"),
        (
            key_with(lambda name, value, folders: value is not None and name != "out_dir"),
            "a folder. It says",
        ),
        (
            key_with(
                lambda name, value, folders: (
                    value is not None and name not in ("cache_dir", "out_dir")
                )
            ),
            "a folder. It says",
        ),
        (key_with(lambda name, value, folders: name not in folders), "None. It means"),
        (
            key_with(lambda name, value, folders: value and name not in folders),
            "0 was taken for 'not given'",
        ),
        (key_with(value=lambda value: value), "1 and 1.0 are written differently"),
        (key_with(value=float), "Only numbers become floats"),
        (rounded(".4f"), "a rounded number"),
        (rounded("g"), "a rounded number"),
        (rounded(".10g"), "a rounded number"),
        (
            key_with(value=lambda v: int(v) if isinstance(v, (int, float)) else v),
            "numbers cut to whole ones by `int`",
        ),
        (key_with(text=lambda settings: json.dumps(settings).lower()), "capitals are made small"),
        (
            key_with(value=lambda v: v[:1] if isinstance(v, str) else float(v)),
            "only a part of a text",
        ),
        (without("seed"), "the seed is left out"),
        *((without(name), "a parameter is left out") for name in ("alpha", "beta", "levels")),
        (without("tokenizer"), "only numbers are in it"),
        (
            key_with(text=lambda settings: json.dumps(sorted(map(str, settings.values())))),
            "values without their names",
        ),
        (
            key_with(text=lambda settings: "".join(map(str, settings.values()))),
            "values joined without a sign between them",
        ),
        (key_with(digest=hash_of_this_process), "differ from process to process"),
        (
            key_with(text=lambda settings: str(set(settings.items()))),
            "differ from process to process",
        ),
        (
            key_with(digest=lambda text: sha(text + str(time.perf_counter_ns()))),
            "a time, a random number",
        ),
        (
            key_with(digest=lambda text: hashlib.sha256(text.encode()).hexdigest()),
            "gives 64 hexadecimal digits",
        ),
        (
            key_with(digest=lambda text: hashlib.sha256(text.encode()).digest()),
            "`hexdigest()` gives text",
        ),
        (
            key_with(digest=lambda text: f"{int(sha(text), 16) % 16**15:x}"),
            "loses zeros in front",
        ),
        (key_that_empties, "`dict(x)` at the start"),
    ],
)

# 10.3 Where the noise of a difference comes from: d [n_seeds, n_users] -> the variances of seeds,
# of users, of the rest


def variances_cases(generator: Generator) -> list[Case]:
    """Two seeds and two users; seeds whose estimate falls below 0; users; then a real size."""
    random = np.random.default_rng(generator.initial_seed() + 1)
    small = np.round(random.normal(size=(2, 2)), 1) + np.array([[0.0, 2.0], [4.0, 8.5]])
    noise = random.normal(size=(4, 6))
    no_seeds = noise - noise.mean(axis=1, keepdims=True) + random.normal(size=6)
    no_users = noise - noise.mean(axis=0, keepdims=True) + random.normal(size=(4, 1))
    real = random.normal(0.3, 1.0, size=(5, 60))
    real += 2 * random.normal(size=(5, 1)) + 1.5 * random.normal(size=60)
    return [{"d": d} for d in (small, no_seeds, no_users, real)]


def what_is_left(d: np.ndarray) -> np.ndarray:
    return d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()


def variances(d):
    n_seeds, n_users = d.shape
    left = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    rest = (left**2).sum() / ((n_seeds - 1) * (n_users - 1))
    seeds = d.mean(axis=1).var(ddof=1) - rest / n_users
    users = d.mean(axis=0).var(ddof=1) - rest / n_seeds
    return max(0.0, seeds), max(0.0, users), rest


def variances_with(
    rest: Callable = lambda d: variances(d)[2],
    seeds: Callable = lambda rows, columns, rest, s, u: max(0.0, rows.var(ddof=1) - rest / u),
    users: Callable = lambda rows, columns, rest, s, u: max(0.0, columns.var(ddof=1) - rest / s),
) -> Callable:
    """The variances, one of which may be replaced. rows, columns: their means."""

    def answer(d):
        given = d.mean(axis=1), d.mean(axis=0), rest(d), *d.shape
        return seeds(*given), users(*given), rest(d)

    return answer


def parts_by_sums_of_squares(d):
    n, m = d.shape
    grand = d.sum() / d.size
    of_seeds = m * ((d.mean(1) - grand) ** 2).sum()
    of_users = n * ((d.mean(0) - grand) ** 2).sum()
    rest = (((d - grand) ** 2).sum() - of_seeds - of_users) / ((n - 1) * (m - 1))
    return max((of_seeds / (n - 1) - rest) / m, 0), max((of_users / (m - 1) - rest) / n, 0), rest


def parts_by_loop(d):
    n, m = d.shape
    left = [d[s, u] - d[s].mean() - d[:, u].mean() + d.mean() for s in range(n) for u in range(m)]
    rest = sum(x * x for x in left) / (n - 1) / (m - 1)
    seeds = np.var([row.mean() for row in d], ddof=1) - rest / m
    users = np.var([column.mean() for column in d.T], ddof=1) - rest / n
    return [np.maximum(seeds, 0), np.maximum(users, 0), rest]


def without_keepdims(d):
    left = d - d.mean(axis=1) - d.mean(axis=0) + d.mean()
    return (left**2).sum() / ((d.shape[0] - 1) * (d.shape[1] - 1))


def variance_within(d):
    n_seeds, n_users = d.shape
    rest = variances(d)[2]
    seeds = d.var(axis=1, ddof=1).mean() - rest / n_users
    users = d.var(axis=0, ddof=1).mean() - rest / n_seeds
    return max(0.0, seeds), max(0.0, users), rest


BELOW_0 = "An estimate below 0 means: none seen. Return 0."
DDOF = "`var(ddof=1)` divides by one less, because the mean was estimated from the same numbers."

VARIANCES = Exercise(
    reference=variances,
    library=experiments.variance_parts,
    cases=variances_cases,
    returns=["seeds", "users", "rest"],
    right=[parts_by_sums_of_squares, parts_by_loop, lambda d: np.array(variances(d))],
    mistakes=[
        (
            variances_with(lambda d: (what_is_left(d) ** 2).mean()),
            "the rest is a mean of squares. Divide by `(n_seeds - 1) * (n_users - 1)`: what is "
            "left has so many free numbers.",
        ),
        (
            variances_with(lambda d: what_is_left(d).var(ddof=1)),
            "the rest is divided by all values less one. Seeds and users have used up more: divide "
            "by `(n_seeds - 1) * (n_users - 1)`.",
        ),
        (
            variances_with(
                lambda d: ((what_is_left(d) - d.mean()) ** 2).sum() / np.prod(np.array(d.shape) - 1)
            ),
            "in the rest, the mean was taken away twice, once with the seed and once with the "
            "user. Add it back.",
        ),
        *(
            (
                variances_with(lambda d, ddof=ddof: d.var(ddof=ddof)),
                "the rest is the variance of all values. Take away each row's and each column's "
                "mean first.",
            )
            for ddof in (0, 1)
        ),
        (
            variances_with(without_keepdims),
            "rows' means taken from columns: `d.mean(axis=1, keepdims=True)` stands next to its "
            "row.",
        ),
        (
            variances_with(lambda d: ((d - d.mean()) ** 2).sum() / np.prod(np.array(d.shape) - 1)),
            "the rest has only the mean of all taken away. Take away each row's and each column's "
            "mean, and add the mean of all.",
        ),
        (
            variances_with(lambda d: what_is_left(d).sum() ** 2),
            "the rest is the square of a sum. Square what is left first, then add up.",
        ),
        (
            variances_with(
                lambda d: (what_is_left(d) ** 2).mean(),
                lambda rows, columns, r, s, u: max(0.0, rows.var() - r / u),
                lambda rows, columns, r, s, u: max(0.0, columns.var() - r / s),
            ),
            "divided by all numbers, of the rest and of the means. Means take one away each: "
            "`(n_seeds - 1) * (n_users - 1)`, and `var(ddof=1)`.",
        ),
        (
            variances_with(
                seeds=lambda rows, columns, r, s, u: max(0.0, rows.std(ddof=1) - r / u),
                users=lambda rows, columns, r, s, u: max(0.0, columns.std(ddof=1) - r / s),
            ),
            "the standard deviation of the means. Take their variance, `var(ddof=1)`.",
        ),
        (
            variance_within,
            "the mean of variances. Take the variance of means: `d.mean(axis=1).var(ddof=1)`.",
        ),
        (
            variances_with(
                seeds=lambda rows, columns, r, s, u: max(0.0, rows.var(ddof=1) - r / s),
                users=lambda rows, columns, r, s, u: max(0.0, columns.var(ddof=1) - r / u),
            ),
            "`n_seeds` and `n_users` exchanged. A row's mean is over `n_users` values.",
        ),
        (
            variances_with(
                seeds=lambda rows, columns, r, s, u: min(0.0, rows.var(ddof=1) - r / u),
                users=lambda rows, columns, r, s, u: min(0.0, columns.var(ddof=1) - r / s),
            ),
            "`min(0, ...)`, which keeps what is below 0. `max(0, ...)` keeps what is above.",
        ),
        *(
            (
                lambda d, order=order: tuple(variances(d)[i] for i in order),
                "another order. Return seeds, users, rest.",
            )
            for order in ((2, 1, 0), (2, 0, 1), (0, 2, 1), (1, 2, 0))
        ),
        *(
            (
                answer,
                "seeds and users exchanged. A row of `d` is a seed: its mean is `d.mean(axis=1)`.",
            )
            for answer in (
                lambda d: tuple(variances(d)[i] for i in (1, 0, 2)),
                variances_with(
                    seeds=lambda rows, columns, r, s, u: max(0.0, columns.var(ddof=1) - r / u),
                    users=lambda rows, columns, r, s, u: max(0.0, rows.var(ddof=1) - r / s),
                ),
            )
        ),
        (
            lambda d: tuple(np.sqrt(variances(d))),
            "standard deviations, one `sqrt` too many. Return variances.",
        ),
        (
            variances_with(seeds=lambda rows, columns, r, s, u: rows.var(ddof=1)),
            "part of what rows' means differ by comes from the rest. Take `rest / n_users` away.",
        ),
        (
            variances_with(users=lambda rows, columns, r, s, u: columns.var(ddof=1)),
            "part of what columns' means differ by comes from the rest. Take `rest / n_seeds` "
            "away.",
        ),
        (
            variances_with(seeds=lambda rows, columns, r, s, u: rows.var(ddof=1) - r / u),
            f"a variance of seeds below 0. {BELOW_0}",
        ),
        (
            variances_with(users=lambda rows, columns, r, s, u: columns.var(ddof=1) - r / s),
            f"a variance of users below 0. {BELOW_0}",
        ),
        (
            variances_with(seeds=lambda rows, columns, r, s, u: abs(rows.var(ddof=1) - r / u)),
            f"an absolute value for seeds. {BELOW_0}",
        ),
        (
            variances_with(users=lambda rows, columns, r, s, u: abs(columns.var(ddof=1) - r / s)),
            f"an absolute value for users. {BELOW_0}",
        ),
        *(
            (
                variances_with(
                    seeds=lambda rows, columns, r, s, u, least=least: max(least, rows.var() - r / u)
                ),
                f"`var()` divides by the number of rows. {DDOF}",
            )
            for least in (0.0, -np.inf)
        ),
        *(
            (
                variances_with(
                    users=lambda rows, columns, r, s, u, least=least: max(
                        least, columns.var() - r / s
                    )
                ),
                f"`var()` divides by the number of columns. {DDOF}",
            )
            for least in (0.0, -np.inf)
        ),
        (
            variances_with(seeds=lambda rows, columns, r, s, u: max(0.0, rows.var(ddof=1) - r)),
            "`rest` taken away whole. A row's mean is over `n_users` values.",
        ),
        (
            variances_with(users=lambda rows, columns, r, s, u: max(0.0, columns.var(ddof=1) - r)),
            "`rest` taken away whole. A column's mean is over `n_seeds` values.",
        ),
        (
            variances_with(seeds=lambda rows, columns, r, s, u: max(0.0, rows.var(ddof=1) - r / s)),
            "`rest / n_seeds` taken away from rows. A row's mean is over `n_users` values.",
        ),
        (
            variances_with(
                users=lambda rows, columns, r, s, u: max(0.0, columns.var(ddof=1) - r / u)
            ),
            "`rest / n_users` taken away from columns. A column's mean is over `n_seeds` values.",
        ),
    ],
)

EXERCISES = {"10.1": GRID, "10.2": KEY, "10.3": VARIANCES}
