"""Answers to lesson 10: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import hashlib
import itertools
import json
import time

import numpy as np

NAMES = {"hashlib": hashlib, "itertools": itertools, "json": json, "np": np}
"""What the notebook has imported by the time it reaches its exercises."""

# 10.1 a grid


def as_list(value):
    return value if isinstance(value, list) else [value]


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


def grid_with(choices=as_list, combine=itertools.product):
    def answer(entry):
        return [
            dict(zip(entry, chosen, strict=True))
            for chosen in combine(*[choices(v) for v in entry.values()])
        ]

    return answer


def grid_side_by_side(entry):
    longest = max(
        len(as_list(value))
        for value in entry.values()
        if isinstance(value, list) or len(entry) == 1
    )
    lists = {name: value for name, value in entry.items() if isinstance(value, list)}
    rows = zip(*lists.values()) if lists else [()] * longest  # noqa: B905
    return [
        {name: v for name, v in entry.items() if name not in lists} | dict(zip(lists, row))  # noqa: B905
        for row in rows
    ]


def grid_without_lists_is_none(entry):
    return (
        grid_by_growing(entry) if any(isinstance(value, list) for value in entry.values()) else []
    )


def grid_in_order_of(order):
    return lambda entry: grid_by_growing(
        {k: order(v) if isinstance(v, list) else v for k, v in entry.items()}
    )


def grid_first_fastest(entry):
    found = itertools.product(*[as_list(value) for value in reversed(entry.values())])
    return [dict(zip(entry, chosen[::-1], strict=True)) for chosen in found]


def grid_one_at_a_time(entry):
    first = {name: as_list(value)[0] for name, value in entry.items() if value != []}
    lists = {name: value for name, value in entry.items() if isinstance(value, list)}
    return [first | {name: one} for name, value in lists.items() for one in value] or [first]


def grid_of_one_dictionary(entry):
    run, runs = {}, []
    for chosen in grid_by_growing(entry):
        run.update(chosen)
        runs.append(run)
    return runs


def grid_of_two_groups(entry):
    lists = {name: value for name, value in entry.items() if isinstance(value, list)}
    singles = {name: value for name, value in entry.items() if name not in lists}
    return [singles | one for one in grid_by_growing(lists)]


def grid_of_texts(entry):
    return [{name: str(value) for name, value in run.items()} for run in grid_by_growing(entry)]


def grid_of_lists_only(entry):
    return grid_by_growing(
        {name: value for name, value in entry.items() if isinstance(value, list)}
    )


def grid_without_empty(entry):
    return grid_by_growing({name: value for name, value in entry.items() if value != []})


# 10.2 a key


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def number(value):
    return float(value) if isinstance(value, (int, float)) else value


def key_by_loop(given, defaults, folders):
    text = ""
    for name in sorted(defaults):
        value = given.get(name)
        value = defaults[name] if value is None else value
        text += f"{name}={number(value)!r};"
    return hashlib.md5(text.encode()).hexdigest()[:16]


def settings(given, defaults, folders):
    full = {**defaults, **{k: v for k, v in given.items() if v is not None and k not in folders}}
    return {name: number(full[name]) for name in sorted(full)}


def key_with(text=lambda full: json.dumps(full), of=settings, digest=sha):
    return lambda given, defaults, folders: digest(text(of(given, defaults, folders)))


def in_given_order(given, defaults, folders):
    kept = {k: number(v) for k, v in given.items() if v is not None and k not in folders}
    return kept | {k: number(v) for k, v in defaults.items() if k not in kept}


def only_what_differs(given, defaults, folders):
    return {k: v for k, v in settings(given, defaults, folders).items() if v != defaults[k]}


def only_given(given, defaults, folders):
    return {k: number(v) for k, v in sorted(given.items()) if v is not None and k not in folders}


def folders_too(given, defaults, folders):
    return dict(
        sorted((defaults | {k: number(v) for k, v in given.items() if v is not None}).items())
    )


def zero_is_nothing(given, defaults, folders):
    full = {name: given.get(name) or default for name, default in defaults.items()}
    return {name: number(full[name]) for name in sorted(full)}


def none_stays(given, defaults, folders):
    full = defaults | {k: v for k, v in given.items() if k not in folders}
    return {name: number(full[name]) for name in sorted(full)}


def numbers_as_written(given, defaults, folders):
    return dict(
        sorted(
            (
                defaults | {k: v for k, v in given.items() if v is not None and k not in folders}
            ).items()
        )
    )


def in_order_of_defaults(given, defaults, folders):
    return {
        k: number(given[k]) if given.get(k) is not None else number(v) for k, v in defaults.items()
    }


def defaults_win(given, defaults, folders):
    return settings(given | defaults, defaults, folders)


def key_that_empties(given, defaults, folders):
    for folder in folders:
        given.pop(folder, None)
    return sha(json.dumps(settings(given, defaults, folders)))


def key_of_this_process(given, defaults, folders):
    return f"{hash(json.dumps(settings(given, defaults, folders))) & (2**64 - 1):016x}"


def digest_of_this_process(text):
    return f"{hash(text) & (2**64 - 1):016x}"


def key_through_a_helper(given, defaults, folders):
    return digest_of_this_process(json.dumps(settings(given, defaults, folders)))


own_hash = hash


def key_by_another_name(given, defaults, folders):
    return f"{own_hash(json.dumps(settings(given, defaults, folders))) & (2**64 - 1):016x}"


def key_by_a_set(given, defaults, folders):
    return sha(
        ";".join(
            {f"{name}={value!r}" for name, value in settings(given, defaults, folders).items()}
        )
    )


def key_by_a_sorted_set(given, defaults, folders):
    full = settings(given, defaults, folders)
    print("what is printed is no part of the answer")
    return sha(";".join(f"{name}={full[name]!r}" for name in sorted({*full})))


class Hasher:
    def hash(self, text):
        return sha(text)


def key_by_a_method_called_hash(given, defaults, folders):
    return Hasher().hash(json.dumps(settings(given, defaults, folders)))


def rounded(full):
    return "".join(f"{k}={v:.4f}" if isinstance(v, float) else f"{k}={v}" for k, v in full.items())


def rounded_to_six(full):
    return "".join(f"{k}={v:g};" if isinstance(v, float) else f"{k}={v};" for k, v in full.items())


def rounded_to_ten(full):
    return "".join(
        f"{k}={v:.10g};" if isinstance(v, float) else f"{k}={v};" for k, v in full.items()
    )


def cut_to_whole(full):
    return json.dumps({k: int(v) if isinstance(v, float) else v for k, v in full.items()})


def one_folder_too(given, defaults, folders):
    full = defaults | {k: number(v) for k, v in given.items() if v is not None and k != "out_dir"}
    return {name: number(full[name]) for name in sorted(full)}


def first_letters(full):
    return json.dumps({k: v[:1] if isinstance(v, str) else v for k, v in full.items()})


def without(name):
    return lambda full: json.dumps({k: v for k, v in full.items() if k != name})


def numbers_only(full):
    return json.dumps({k: v for k, v in full.items() if isinstance(v, float)})


# 10.3 where the noise comes from


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


def parts_with(rest=None, seeds=None, users=None, order=(0, 1, 2)):
    """A solution with parts exchanged; each gets d, n, m and, but for the first, the rest."""

    def answer(d):
        n, m = d.shape
        left = d - d.mean(1, keepdims=True) - d.mean(0) + d.mean()
        r = rest(d, left, n, m) if rest else (left**2).sum() / ((n - 1) * (m - 1))
        s = seeds(d, r, n, m) if seeds else max(0.0, d.mean(1).var(ddof=1) - r / m)
        u = users(d, r, n, m) if users else max(0.0, d.mean(0).var(ddof=1) - r / n)
        return tuple((s, u, r)[i] for i in order)

    return answer


def mean_taken_twice(d, left, n, m):
    return ((d - d.mean(1, keepdims=True) - d.mean(0)) ** 2).sum() / ((n - 1) * (m - 1))


def row_means_from_columns(d):
    n, m = d.shape
    rest = ((d - d.mean(axis=1) - d.mean(axis=0) + d.mean()) ** 2).sum() / ((n - 1) * (m - 1))
    return max(0, d.mean(1).var(ddof=1) - rest / m), max(0, d.mean(0).var(ddof=1) - rest / n), rest


RIGHT = {
    "10.1": [grid_by_growing, grid_by_recursion, grid_with()],
    "10.2": [
        key_by_loop,
        key_with(),
        key_with(lambda full: repr(list(full.items())), digest=lambda text: sha(text).upper()),
        key_by_a_sorted_set,
        key_by_a_method_called_hash,
    ],
    "10.3": [parts_by_sums_of_squares, parts_by_loop, lambda d: np.array(parts_by_loop(d))],
}

WRONG = [
    ("10.1", grid_side_by_side, "side by side"),
    ("10.1", grid_with(combine=zip), "side by side"),
    ("10.1", grid_first_fastest, "first name changes fastest"),
    ("10.1", grid_one_at_a_time, "one list at a time"),
    ("10.1", lambda entry: grid_by_growing(entry)[:1] or [entry], "a `return` inside the loop"),
    ("10.1", grid_of_lists_only, "are left out"),
    ("10.1", grid_without_empty, "an empty list"),
    ("10.1", grid_of_two_groups, "another order than the entry's"),
    ("10.1", lambda entry: grid_by_growing(dict(sorted(entry.items()))), "names sorted"),
    (
        "10.1",
        grid_with(choices=lambda v: (v or [None]) if isinstance(v, list) else [v]),
        "an empty list became None",
    ),
    (
        "10.1",
        lambda e: grid_by_growing({k: v for k, v in e.items() if v is not None}),
        "a value None was left out",
    ),
    (
        "10.1",
        grid_with(choices=lambda v: v if isinstance(v, (list, tuple)) else [v]),
        "a tuple was taken apart",
    ),
    (
        "10.1",
        grid_with(choices=lambda v: list(v) if isinstance(v, (list, tuple)) else [v]),
        "There should be",
    ),
    (
        "10.1",
        grid_with(choices=lambda v: v if isinstance(v, (list, str)) else [v]),
        "into its letters",
    ),
    (
        "10.1",
        grid_with(choices=lambda v: [one for one in v if one] if isinstance(v, list) else [v]),
        "a 0 in a list",
    ),
    ("10.1", lambda entry: grid_by_growing(entry)[::-1], "The right runs, in another order"),
    ("10.1", grid_in_order_of(sorted), "They keep the order of their list"),
    ("10.1", grid_in_order_of(lambda values: values[::-1]), "They keep the order of their list"),
    ("10.1", grid_without_lists_is_none, "Without lists there is one choice"),
    ("10.1", grid_without_lists_is_none, "There should be 1 run, and"),
    (
        "10.1",
        lambda entry: [run | {0: 1} for run in grid_by_growing(entry)],
        "The right number of runs, and other runs",
    ),
    (
        "10.1",
        lambda entry: [
            {n: np.array([v]) for n, v in run.items()} for run in grid_by_growing(entry)
        ],
        "an array",
    ),
    ("10.1", grid_of_texts, "The right number of runs, and other runs. The first that differs:"),
    ("10.1", lambda entry: [entry], "the entry itself"),
    ("10.1", grid_of_one_dictionary, "one dictionary in all places"),
    ("10.1", lambda entry: (run for run in grid_by_growing(entry)), "`list(...)` around it"),
    (
        "10.1",
        lambda entry: [tuple(run.values()) for run in grid_by_growing(entry)],
        "with a tuple in it",
    ),
    (
        "10.1",
        lambda entry: grid_by_growing(entry)[0] if grid_by_growing(entry) else {},
        "returned a dict",
    ),
    ("10.2", key_with(of=in_given_order), "order in which parameters were given"),
    ("10.2", key_with(of=in_order_of_defaults), "order of the names in `defaults`"),
    ("10.2", key_with(of=defaults_win), "nothing of what was given"),
    ("10.2", key_with(of=only_given), "default that was written out"),
    ("10.2", key_with(of=only_what_differs), "only what differs from the defaults"),
    ("10.2", key_with(of=folders_too), "a folder"),
    ("10.2", key_with(of=none_stays), "None. It means"),
    ("10.2", key_with(of=zero_is_nothing), "0 was taken for"),
    ("10.2", key_with(of=numbers_as_written), "one number"),
    ("10.2", key_with(rounded), "a rounded number"),
    ("10.2", key_with(rounded_to_six), "a rounded number"),
    ("10.2", key_with(rounded_to_ten), "a rounded number"),
    ("10.2", key_with(cut_to_whole), "numbers cut to whole ones by `int`; `float` keeps 0.1."),
    (
        "10.2",
        key_with(lambda full: json.dumps(full, sort_keys=True).lower()),
        "capitals are made small",
    ),
    ("10.2", key_with(of=one_folder_too), "a folder"),
    ("10.2", key_with(first_letters), "only a part of a text"),
    ("10.2", key_with(without("seed")), "the seed is left out"),
    ("10.2", key_with(without("levels")), "a parameter is left out"),
    ("10.2", key_with(numbers_only), "only numbers"),
    (
        "10.2",
        key_with(lambda full: json.dumps(sorted(map(str, full.values())))),
        "without their names",
    ),
    (
        "10.2",
        key_with(lambda full: "".join(str(v) for v in full.values())),
        "look like 1.01 and 1.0",
    ),
    ("10.2", key_of_this_process, "process to process"),
    ("10.2", key_through_a_helper, "process to process"),
    ("10.2", key_by_another_name, "process to process"),
    ("10.2", key_by_a_set, "process to process"),
    ("10.2", key_with(without("alpha")), "a parameter is left out"),
    ("10.2", key_with(without("beta")), "a parameter is left out"),
    ("10.2", key_with(lambda full: str(set(full.items()))), "process to process"),
    ("10.2", key_with(of=lambda g, d, f: settings(g, d, ["cache_dir", "out_dir"])), "a folder"),
    (
        "10.2",
        key_with(digest=lambda text: sha(text + str(time.perf_counter_ns()))),
        "a time, a random number",
    ),
    (
        "10.2",
        key_with(digest=lambda text: hashlib.sha256(text.encode()).hexdigest()),
        "64 hexadecimal",
    ),
    ("10.2", key_with(digest=lambda text: hashlib.sha256(text.encode()).digest()), "gives text"),
    ("10.2", key_that_empties, "in place"),
    ("10.2", key_that_empties, "`dict(x)` at the start"),
    (
        "10.2",
        key_with(digest=lambda text: f"{int(sha(text), 16) % 16**15:x}"),
        "loses zeros in front",
    ),
    ("10.3", parts_with(rest=lambda d, left, n, m: (left**2).mean()), "a mean of squares"),
    ("10.3", parts_with(rest=lambda d, left, n, m: left.var(ddof=1)), "used up more"),
    ("10.3", parts_with(rest=lambda d, left, n, m: d.var(ddof=1)), "variance of all values"),
    ("10.3", parts_with(rest=mean_taken_twice), "Add it back"),
    ("10.3", parts_with(seeds=lambda d, r, n, m: d.mean(1).var(ddof=1)), "`rest / n_users` away"),
    ("10.3", parts_with(seeds=lambda d, r, n, m: d.mean(1).var(ddof=1) - r / m), "none seen"),
    (
        "10.3",
        parts_with(seeds=lambda d, r, n, m: max(0, d.mean(1).var() - r / m)),
        "by the number of rows",
    ),
    (
        "10.3",
        parts_with(seeds=lambda d, r, n, m: max(0, d.mean(1).var(ddof=1) - r / n)),
        "over `n_users` values",
    ),
    ("10.3", parts_with(users=lambda d, r, n, m: d.mean(0).var(ddof=1)), "`rest / n_seeds` away"),
    (
        "10.3",
        parts_with(users=lambda d, r, n, m: max(0, d.mean(0).var() - r / n)),
        "by the number of columns",
    ),
    (
        "10.3",
        parts_with(users=lambda d, r, n, m: max(0, d.mean(0).var(ddof=1) - r / m)),
        "over `n_seeds` values",
    ),
    ("10.3", parts_with(order=(1, 0, 2)), "exchanged"),
    ("10.3", parts_with(order=(2, 1, 0)), "another order"),
    ("10.3", parts_with(order=(2, 0, 1)), "another order"),
    ("10.3", lambda d: tuple(np.sqrt(parts_by_loop(d))), "a standard deviation"),
    ("10.3", row_means_from_columns, "rows' means taken from columns"),
    (
        "10.3",
        parts_with(
            seeds=lambda d, r, n, m: max(0, d.mean(0).var(ddof=1) - r / m),
            users=lambda d, r, n, m: max(0, d.mean(1).var(ddof=1) - r / n),
        ),
        "seeds and users exchanged",
    ),
    (
        "10.3",
        parts_with(seeds=lambda d, r, n, m: abs(d.mean(1).var(ddof=1) - r / m)),
        "an absolute value",
    ),
    (
        "10.3",
        parts_with(users=lambda d, r, n, m: abs(d.mean(0).var(ddof=1) - r / n)),
        "an absolute value",
    ),
    ("10.3", lambda d: d.var(), "return three numbers"),
    ("10.3", lambda d: np.array(parts_by_loop(d))[:2], "return three numbers"),
    ("10.3", lambda d: np.sqrt(np.array(parts_by_loop(d))), "a standard deviation"),
]

HALF_RIGHT = {
    "key": """
def my_key(given, defaults, folders):
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]
""",
    "variances": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 8, "half": 2, "untouched": 0}
