"""What a key of the frozen figures stands for: `figure(key)` computes it again from the records.

A key is a kind and its arguments, with " | " between them:

    mean | movielens-ablation: letter-tiger | N@10 | out
    difference | movielens-ablation: letter-tiger | movielens-ablation: tiger | tail

A setting is "folder: name"; "one & another" are the runs of both, and "one @ 3" its first three
seeds. The metric is R@10 where none
is given, the history is left in, and all targets count. KINDS says what each kind computes.
"""

import csv
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import records
from records import CASE_KINDS, GROUPS, METRICS, Setting
from scipy.stats import t


def read_from(folder: Path) -> None:
    """From now on compute figures from the results in this folder."""
    records.RESULTS = folder
    for cached in (records.settings, _json, _rows):
        cached.cache_clear()


def figure(key: str) -> list[float]:
    """The numbers of a key, at full precision."""
    kind, *arguments = key.split(" | ")
    return [float(one) for one in KINDS[kind](*arguments)]


def setting(name: str) -> Setting:
    """One setting, its first seeds, or the runs of several as those of one."""
    name, _, first_seeds = name.partition(" @ ")
    parts = [
        records.settings(one.partition(": ")[0])[one.partition(": ")[2]]
        for one in name.split(" & ")
    ]
    first = parts[0]
    if len(parts) == 1:
        n = int(first_seeds or len(first.seeds))
        return replace(first, seeds=first.seeds[:n], runs=first.runs[:n])
    assert all((one.cases == first.cases).all() for one in parts)
    seeds = tuple(seed for one in parts for seed in one.seeds)
    runs = tuple(run for one in parts for run in one.runs)
    return Setting(
        name, first.dataset, first.parameters, seeds, first.cases, first.users, runs, first.groups
    )


def _read(arguments: tuple[str, ...]) -> tuple[list[str], str, str, str | None]:
    """Settings (or other words), metric, history and targets."""
    metric, history, targets, others = "R@10", "in", None, []
    for one in arguments:
        if one in METRICS:
            metric = one
        elif one in ("in", "out"):
            history = one
        elif one in (*GROUPS, *CASE_KINDS):
            targets = one
        else:
            others.append(one)
    return others, metric, history, targets


def _mean(*arguments: str) -> list[float]:
    """Mean, low, high of one setting."""
    (name,), metric, history, targets = _read(arguments)
    one = setting(name)
    if targets is None:
        return records.mean_interval(one, metric, history)
    kept = one.in_group(targets)
    return records.interval(one.values(metric, history)[:, kept], one.users[kept])


def _mean_shared(first: str, second: str, *arguments: str) -> list[float]:
    """Mean of the first on the cases that both answered."""
    one, other = setting(first), setting(second)
    _, metric, history, _ = _read(arguments)
    return [one.values(metric, history)[:, np.isin(one.cases, other.cases)].mean()]


def _cases(*arguments: str) -> list[float]:
    """How many cases a setting has with these targets."""
    (name,), _, _, targets = _read(arguments)
    return [setting(name).in_group(targets).sum()]


def _of_seed(*arguments: str) -> list[float]:
    """A setting's metric, seed by seed."""
    (name,), metric, history, targets = _read(arguments)
    one = setting(name)
    return list(one.values(metric, history)[:, one.in_group(targets)].mean(axis=1))


def _difference(*arguments: str) -> list[float]:
    """Mean, low, high of the first minus the second, paired."""
    (first, second), metric, history, targets = _read(arguments)
    return records.compare(setting(first), setting(second), metric, history, targets)


def _paired(arguments: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """First minus second case by case, [seeds, cases], and the users."""
    (first, second), metric, history, targets = _read(arguments)
    one, other = setting(first), setting(second)
    assert (one.cases == other.cases).all()
    if len(set(one.seeds)) < len(one.seeds):  # two machines' models of the same seeds
        assert one.seeds == other.seeds
        rows = [(place, place) for place in range(len(one.seeds))]
    else:
        common = sorted(set(one.seeds) & set(other.seeds))
        rows = [(one.seeds.index(seed), other.seeds.index(seed)) for seed in common]
    mine, theirs = map(list, zip(*rows, strict=True))
    kept = one.in_group(targets)
    values = one.values(metric, history)[mine] - other.values(metric, history)[theirs]
    return values[:, kept], one.users[kept]


def _stacked(*arguments: str) -> list[float]:
    """`difference` where one seed stands for two models: each row is taken for a run of its own."""
    return records.interval(*_paired(arguments))


def _by_seed(*arguments: str) -> list[float]:
    """The difference, seed by seed."""
    return list(_paired(arguments)[0].mean(axis=1))


def _student(values: list[float]) -> list[float]:
    mean, n = np.mean(values), len(values)
    half = t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5
    return [mean, mean - half, mean + half]


def _students_t(*arguments: str) -> list[float]:
    """Mean, low, high of the difference by Student's t over the seeds alone."""
    return _student(_by_seed(*arguments))


def _parts(arguments: tuple[str, ...]) -> tuple[float, np.ndarray]:
    """Mean difference, and the variance of the mean that seeds, users and the rest bring."""
    values, users = _paired(arguments)
    _, owner = np.unique(users, return_inverse=True)
    cases = np.bincount(owner)
    d = np.stack([np.bincount(owner, weights=row) / cases for row in values])
    n_seeds, n_users = d.shape
    by_seed, by_user = d.mean(axis=1), d.mean(axis=0)
    left = d - by_seed[:, None] - by_user + d.mean()
    rest = (left**2).sum() / ((n_seeds - 1) * (n_users - 1))
    seeds = max(0.0, by_seed.var(ddof=1) - rest / n_users)
    user = max(0.0, by_user.var(ddof=1) - rest / n_seeds)
    return values.mean(), np.array([seeds / n_seeds, user / n_users, rest / (n_seeds * n_users)])


def _components(*arguments: str) -> list[float]:
    """Mean, low, high of the difference by components of variance."""
    mean, parts = _parts(arguments)
    half = 1.96 * parts.sum() ** 0.5
    return [mean, mean - half, mean + half]


def _seeds_share(*arguments: str) -> list[float]:
    """The share of the variance of the mean difference that seeds bring."""
    parts = _parts(arguments)[1]
    return [parts[0] / parts.sum()]


def _total(arguments: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A weighted sum of settings case by case, [seeds, cases], and the users.

    It is added up in pairs, pairs of pairs and so on. The order matters: users with equal results
    are one kind to the resampling, and the last bit of a sum decides what is equal.
    """
    terms, metric, history, targets = _read(arguments)
    weights = [float(one.partition("*")[0]) for one in terms]
    those = [setting(one.partition("*")[2]) for one in terms]
    common = sorted(set.intersection(*(set(one.seeds) for one in those)))
    parts = [
        weight * one.values(metric, history)[[one.seeds.index(seed) for seed in common]]
        for weight, one in zip(weights, those, strict=True)
    ]
    while len(parts) > 1:
        parts = [sum(parts[place : place + 2]) for place in range(0, len(parts), 2)]
    kept = those[0].in_group(targets)
    return parts[0][:, kept], those[0].users[kept]


def _sum(*arguments: str) -> list[float]:
    """Mean, low, high of a weighted sum of settings, each "weight*folder: name"."""
    return records.interval(*_total(arguments))


def _sum_t(*arguments: str) -> list[float]:
    """Mean, low, high of `sum` by Student's t over the seeds alone."""
    return _student(list(_total(arguments)[0].mean(axis=1)))


def _relative(*arguments: str) -> list[float]:
    """How much more the first has than the second, in per cent."""
    (first, second), *rest = _read(arguments)
    rest = [one for one in rest if one]
    return [100 * (_mean(first, *rest)[0] / _mean(second, *rest)[0] - 1)]


def _share_of(value: str, *arguments: str) -> list[float]:
    """The mean of a setting in per cent of a figure that was published elsewhere."""
    return [100 * _mean(*arguments)[0] / float(value)]


def _part_left(first: str, second: str, third: str) -> list[float]:
    """(first - second) / (first - third) in per cent: in the mean, then by seed."""
    one, other, before = (np.array(_of_seed(name)) for name in (first, second, third))
    mean = 100 * (one.mean() - other.mean()) / (one.mean() - before.mean())
    return [mean, *(100 * (one - other) / (one - before))]


def _last(*arguments: str) -> list[float]:
    """The metric on each user's last case alone."""
    (name,), metric, history, _ = _read(arguments)
    one = setting(name)
    last = np.append(one.users[1:] != one.users[:-1], True)
    return [one.values(metric, history)[:, last].mean()]


def _validation(name: str) -> list[float]:
    """The best N@10 on validation: its mean, then seed by seed."""
    values = records.validation(setting(name))
    return [float(np.mean(values)), *values]


def _identifier(name: str, measure: str, level: str = "") -> np.ndarray:
    found = [one[measure] for one in records.identifiers(setting(name))]
    return np.array([one[int(level) - 1] if level else one for one in found], dtype=float)


def _identifiers(name: str, measure: str, level: str = "") -> list[float]:
    """A measure of the identifiers, of one level where there are several: mean, then by seed."""
    values = _identifier(name, measure, level)
    return [values.mean(), *values]


def _identifiers_t(first: str, second: str, measure: str, level: str = "") -> list[float]:
    """Mean, low, high of a measure's difference by Student's t, then the differences by seed."""
    one, other = setting(first), setting(second)
    mine, theirs = _identifier(first, measure, level), _identifier(second, measure, level)
    common = sorted(set(one.seeds) & set(other.seeds))
    difference = [mine[one.seeds.index(s)] - theirs[other.seeds.index(s)] for s in common]
    return [*_student(difference), *difference]


def _record(name: str, *pointer: str) -> list[float]:
    """A number in the records of a setting, by names and places: mean, then seed by seed."""
    found = [run.record for run in setting(name).runs]
    for one in pointer:
        found = [value[int(one) if isinstance(value, list) else one] for value in found]
    return [float(np.mean(found)), *found]


@cache
def _json(path: str) -> dict:
    return json.loads((records.RESULTS / path).read_text())


def _file(path: str, *pointer: str) -> list[float]:
    """A number, or a list of them, in a JSON file: by names, and by places in lists."""
    found = _json(path)
    for one in pointer:
        found = found[int(one) if isinstance(found, list) else one]
    found = found if isinstance(found, list) else [found]
    return [one for one in found if not isinstance(one, str)]


def _file_per_cent(path: str, *pointer: str) -> list[float]:
    return [100 * one for one in _file(path, *pointer)]


def _sentence(path: str, place: str) -> list[float]:
    """The numbers of a sentence under a table that have a sign or stand in brackets."""
    text = _json(path)["sentences"][int(place)]
    words = text.replace("[", " ").replace("]", " ").replace(",", " ").replace(":", " ").split()
    return [float(one.rstrip(";")) for one in words if one[0] in "+-" and one[-1].isdigit()]


def _coverage(seeds: str, *shares: str) -> list[float]:
    """How often the interval leaves zero out, in per cent, for these shares of the seeds.

    seeds: "3", or for another interval of the record "3, wider of both".
    """
    seeds, comma, other = seeds.partition(", ")
    rows = [row for row in _json("interval-coverage.json")["rows"] if row["seeds"] == int(seeds)]
    found = {f"{row['share']:g}": row[f"zero left out{comma}{other}"] for row in rows}
    return [100 * found[one] for one in shares]


@cache
def _rows(path: str) -> list[dict[str, str]]:
    with open(records.RESULTS / path, newline="") as file:
        return list(csv.DictReader(file))


def _column(path: str, conditions: str, column: str) -> dict[int, float]:
    """Of a CSV file: a column by seed, in the rows that meet "name=value name=value"."""
    wanted = [one.partition("=")[::2] for one in conditions.split()]
    return {
        int(row["seed"]): float(row[column])
        for row in _rows(path)
        if all(row[name] == value or _equal(row[name], value) for name, value in wanted)
    }


def _equal(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _csv(path: str, conditions: str, column: str) -> list[float]:
    """A column of a CSV file: mean, then seed by seed."""
    values = list(_column(path, conditions, column).values())
    return [float(np.mean(values)), *values]


def _csv_per_cent(path: str, conditions: str, column: str) -> list[float]:
    return [100 * one for one in _csv(path, conditions, column)]


def _csv_t(path: str, first: str, second: str, column: str, seeds: str = "99") -> list[float]:
    """Mean, low, high by Student's t of a column's difference between two settings, first seeds."""
    one, other = (_column(path, conditions, column) for conditions in (first, second))
    common = [seed for seed in sorted(set(one) & set(other)) if seed < int(seeds)]
    return _student([one[seed] - other[seed] for seed in common])


KINDS = {
    "mean": _mean,
    "mean, shared": _mean_shared,
    "cases": _cases,
    "of seed": _of_seed,
    "difference": _difference,
    "stacked": _stacked,
    "by seed": _by_seed,
    "t": _students_t,
    "components": _components,
    "seeds' share": _seeds_share,
    "sum": _sum,
    "sum, t": _sum_t,
    "relative": _relative,
    "share of": _share_of,
    "part left": _part_left,
    "last": _last,
    "validation": _validation,
    "identifiers": _identifiers,
    "identifiers, t": _identifiers_t,
    "record": _record,
    "file": _file,
    "file, per cent": _file_per_cent,
    "sentence": _sentence,
    "coverage": _coverage,
    "csv": _csv,
    "csv, per cent": _csv_per_cent,
    "csv, t": _csv_t,
}
