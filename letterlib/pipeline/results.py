"""Finished runs, and what can be said of them: one table, one comparison, one file format.

A run is one system on one data set with one seed: a row of settings and metrics, and the rank of
every test case's target. `letterlib table`, `results show`, `compare`, `best` and `export`, the
report, and lessons 10 and 11 all read this.

    runs = load_results("experiments/results/movielens-ablation.parquet")
    print(summary(runs))
    print(compare(select(runs, ["tokenizer=letter", "tau=1"]), select(runs, ["tokenizer=plain"])))
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from letterlib.errors import LetterError
from letterlib.evaluation.bootstrap import Interval, interval, paired_difference, verdict
from letterlib.evaluation.case_kinds import is_kind
from letterlib.evaluation.metrics import GROUPS, gains_at, hits_at
from letterlib.pipeline.systems import find_system, position
from letterlib.store import atomic_write, digest, expanded, files_below, load_table, save_table

METRICS = ("R@5", "R@10", "N@5", "N@10")

SETTINGS = (
    "dataset",
    "tokenizer",
    "generator",
    "alpha",
    "beta",
    "levels",
    "codes",
    "clusters",
    "tau",
    "beams",
    "seed",
    "profile",
    "device",
    "options",
)
"""What identifies a run. None where it plays no part; options: other overrides of the profile."""

RESAMPLING_SEED = 0
"""Intervals are drawn with a seed of their own, so that they do not move with the run's."""

ARRAYS = {
    "case": "int32",
    "user": "int32",
    "group": "int8",
    "kind": "int8",
    "rank_in": "int16",
    "rank_out": "int16",
}
"""Columns with a value for each test case, and their types."""


@dataclass(frozen=True, eq=False)
class Run:
    """One system on one data set with one seed.

    record: settings, metrics, cost and provenance, as JSON has them.
    cases, users, groups, kinds: int [n], of each answered test case: its number in the split, its
        user, the popularity group of its target (an index into GROUPS), and what kind of case it is
        (see `case_kinds`).
    ranks: history ("in" or "out") -> int [n], the target's place in the list from 0; -1 if it is
        not in the list.
    """

    record: dict[str, Any]
    cases: np.ndarray
    users: np.ndarray
    groups: np.ndarray
    kinds: np.ndarray
    ranks: dict[str, np.ndarray]

    @property
    def key(self) -> str:
        return self.record["key"]

    @property
    def parameters(self) -> dict[str, Any]:
        return self.record["parameters"]

    @property
    def system(self) -> str:
        return self.record["system"]

    @property
    def label(self) -> str:
        return self.record["label"]

    @property
    def dataset(self) -> str:
        return self.parameters["dataset"]

    @property
    def seed(self) -> int:
        return self.parameters["seed"]

    @property
    def setting(self) -> tuple[str, ...]:
        """All settings but the seed, to group by."""
        return tuple(str(self.parameters[name]) for name in SETTINGS if name != "seed")

    @property
    def depth(self) -> int:
        """Places of each ranked list: ranks, and so metrics, are known up to this K."""
        return self.record["depth"]

    @property
    def seconds(self) -> float:
        """Wall time of training and evaluating the system, when that was really done."""
        own = (self.system, f"evaluation-{self.system}")
        return sum(stage["seconds"] for stage in self.record["stages"] if stage["name"] in own)

    @property
    def devices(self) -> set[str]:
        """What computed it; several where stages came from a shared cache."""
        return set(filter(None, (self.record.get("device") or "").split("; ")))

    def values(self, metric: str = "R@10", history: str = "in") -> np.ndarray:
        """A metric case by case: float64 [n].

        metric: R@K, N@K (NDCG) or MRR@K, with K up to `depth`.
        history: left "in" the ranking, or filtered "out".
        """
        kind, _, k = metric.partition("@")
        if kind not in ("R", "N", "MRR") or not k.isdigit() or not 1 <= int(k) <= self.depth:
            raise LetterError(
                f'metric "{metric}": choose R@K, N@K or MRR@K, K from 1 to {self.depth}'
            )
        if history not in self.ranks:
            raise LetterError(
                f'history "{history}": it is left "in" the ranking, or filtered "out"'
            )
        ranks = self.ranks[history]
        if kind == "MRR":
            return hits_at(ranks, int(k)) / (np.maximum(ranks, 0) + 1)
        return (hits_at if kind == "R" else gains_at)(ranks, int(k))

    def metrics(self, history: str = "in") -> dict[str, float]:
        """Means over all cases, of every metric that was computed."""
        return self.record["metrics"][f"history {history}"]


# Reading and writing


def write_runs(path: str | Path, runs: Sequence[Run]) -> None:
    """Write runs as one Parquet file, a row each. pandas reads it, too."""
    rows = [_row(run) for run in runs]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    types = {name: pa.list_(pa.from_numpy_dtype(dtype)) for name, dtype in ARRAYS.items()}
    table = pa.table({k: pa.array(v, type=types.get(k)) for k, v in columns.items()})
    encoding = {f"{name}.list.element": "DELTA_BINARY_PACKED" for name in ("case", "user")}
    save_table(
        path,
        table,
        compression="zstd",
        compression_level=19,
        use_dictionary=[f"{n}.list.element" for n in ("group", "kind", "rank_in", "rank_out")],
        column_encoding=encoding,
    )


def _row(run: Run) -> dict[str, Any]:
    text = json.dumps(run.record, ensure_ascii=False, sort_keys=True)
    arrays = _arrays(run)
    row = {"key": run.key, "system": run.system, "label": run.label}
    row |= run.parameters | {"options": " ".join(run.parameters["options"])}
    for history in ("in", "out"):
        row |= {f"{metric}, {history}": run.metrics(history)[metric] for metric in METRICS}
    row |= {"validation N@10": run.record["validation N@10"], "seconds": run.seconds}
    return row | arrays | {"record": text, "hash": digest(text, *arrays.values())}


def _arrays(run: Run) -> dict[str, np.ndarray]:
    values = (run.cases, run.users, run.groups, run.kinds, run.ranks["in"], run.ranks["out"])
    return {n: v.astype(dtype) for (n, dtype), v in zip(ARRAYS.items(), values, strict=True)}


def read_runs(path: str | Path) -> list[Run]:
    """Read what `write_runs` wrote. Raises LetterError for a file that was damaged or changed."""
    table = load_table(path)[0].combine_chunks()
    if not _has_runs(table.schema):
        raise LetterError(f"{path}: not a file of runs; letterlib grid FILE --run makes some")
    columns = {name: _lists(table[name].chunk(0), dtype) for name, dtype in ARRAYS.items()}
    runs = []
    for row, (text, known) in enumerate(zip(table["record"], table["hash"], strict=True)):
        arrays = [lists[row] for lists in columns.values()]
        if known.as_py() != digest(text.as_py(), *arrays):
            raise LetterError(f"{path}: run {row} has changed since it was written; run it again")
        cases, users, groups, kinds, *ranks = (array.astype(np.int64) for array in arrays)
        record = json.loads(text.as_py())
        record["parameters"] = {name: record["parameters"][name] for name in SETTINGS}
        by_history = dict(zip(("in", "out"), ranks, strict=True))
        runs.append(Run(record, cases, users, groups, kinds, by_history))
    return runs


def _has_runs(schema: pa.Schema) -> bool:
    """Whether the columns are there, with the types that `write_runs` gives them."""
    kinds, types = dict(zip(schema.names, schema.types, strict=True)), pa.types
    texts = ("record", "hash")
    return (
        {*ARRAYS, *texts} <= {*kinds}
        and all(types.is_string(kinds[n]) or types.is_large_string(kinds[n]) for n in texts)
        and all(types.is_list(kinds[n]) and types.is_integer(kinds[n].value_type) for n in ARRAYS)
    )


def _lists(column: pa.ListArray, dtype: str) -> list[np.ndarray]:
    values, offsets = column.values.to_numpy(zero_copy_only=False), column.offsets.to_numpy()
    return [values[a:b].astype(dtype) for a, b in zip(offsets[:-1], offsets[1:], strict=True)]


def load_results(*paths: str | Path) -> list[Run]:
    """Every run in these files, and in these folders and below, in the order of the table.

    A run that is in two files counts once. Raises LetterError where there is none, or where two
    files disagree about one run.
    """
    found: dict[tuple[str, str], tuple[Run, Path]] = {}
    for path in map(expanded, paths):
        if not path.exists():
            raise LetterError(f"{path}: no such file or folder of results")
        for file in run_files(path):
            for run in read_runs(file):
                content = run.record["dataset"]["fingerprint"]  # data may be prepared in new ways
                known, where = found.setdefault((run.key, content), (run, file))
                if any(not np.array_equal(known.ranks[h], run.ranks[h]) for h in run.ranks):
                    raise LetterError(
                        f"{where} and {file}: two results of one run; keep one of them"
                    )
    if not found:
        where = ", ".join(map(str, paths))
        raise LetterError(f"{where}: no finished run here; letterlib grid FILE --run makes some")
    runs = [run for run, _ in found.values()]
    return sorted(runs, key=lambda r: (r.dataset, position(r.system), r.setting, r.seed))


def run_files(path: Path) -> list[Path]:
    """The files of runs at a path, or in a folder and below."""
    if path.is_file():
        return [path]
    return [file for file in files_below(path, ".parquet") if _may_hold_runs(file)]


def _may_hold_runs(file: Path) -> bool:
    """Also for a damaged file: `read_runs` then says so."""
    try:
        return "rank_in" in pq.read_schema(file).names
    except (OSError, ValueError, pa.ArrowException):
        return True


# Choosing among runs


def select(runs: Iterable[Run], conditions: Sequence[str]) -> list[Run]:
    """The runs that meet every condition, such as "tokenizer=letter" or "tau=0.8".

    Raises LetterError for a setting that does not exist, or a condition that no run meets.
    """
    chosen = list(runs)
    for condition in conditions:
        name, equals, wanted = condition.partition("=")
        if not equals or name not in SETTINGS:
            raise LetterError(
                f'"{condition}": write setting=value; settings: {", ".join(SETTINGS)}'
            )
        there = sorted({setting_text(run.parameters[name]) or '""' for run in chosen})
        chosen = [run for run in chosen if _is(run.parameters[name], wanted)]
        if not chosen:
            raise LetterError(f'no finished run has "{condition}"; {name} is {" or ".join(there)}')
    return chosen


def setting_text(value: Any) -> str:
    """A setting's value as `select` takes it."""
    if value is None:
        return "-"
    if isinstance(value, list):
        return " ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is(value: Any, wanted: str) -> bool:
    if isinstance(value, int | float):
        try:
            return float(value) == float(wanted)
        except ValueError:
            return False
    return wanted == setting_text(value)


def by_setting(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs of each setting together, one for every seed."""
    found: dict[tuple, list[Run]] = {}
    for run in runs:
        found.setdefault((run.record["dataset"]["fingerprint"], *run.setting), []).append(run)
    return list(found.values())


def differing(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The settings that these runs do not share, but for the seed, with their values."""
    values = {n: sorted({str(run.parameters[n]) for run in runs}) for n in SETTINGS if n != "seed"}
    return {name: found for name, found in values.items() if len(found) > 1}


def best(runs: Iterable[Run]) -> list[Run]:
    """The runs of the setting with the highest mean validation N@10; test figures are not read.

    Settings are compared on the seeds that all of them have: one lucky seed is easily above an
    average of five. Raises LetterError where validations cannot be compared: none, several data
    sets, no common seed, or systems validated with and without the history.
    """
    runs = list(runs)
    _check_one_data_set(runs)
    judged = [own for own in by_setting(runs) if all(_validation(run) is not None for run in own)]
    if not judged:
        raise LetterError("none of these runs was validated during training")
    apart = {find_system(own[0].system).leaves_out_history: own[0].label for own in judged}
    if len(apart) > 1:
        raise LetterError(
            f"{apart[True]} was validated with the history filtered out and {apart[False]} with it "
            "left in: two scales; choose systems of one kind (--where generator=...)"
        )
    seeds = set.intersection(*({run.seed for run in own} for own in judged))
    if not seeds:
        raise LetterError("these settings have no seed in common; run those that are missing")
    return max(judged, key=lambda o: np.mean([_validation(run) for run in o if run.seed in seeds]))


def _validation(run: Run) -> float | None:
    return run.record["validation N@10"]


# What runs say


def mean_interval(runs: Sequence[Run], metric: str = "R@10", history: str = "in") -> Interval:
    """The mean over the seeds of one setting, with its 95% interval over users and seeds."""
    values = np.stack([run.values(metric, history) for run in runs])
    return interval(values, runs[0].users, RESAMPLING_SEED)


def last_case_recall(runs: Sequence[Run]) -> float | None:
    """R@10 on each user's last case alone; None on a sample of the cases, which lacks most.

    Not quite the figure of a leave-one-out split: the user's other cases are not in training.
    """
    first = runs[0]
    if len(first.cases) < first.record["cases"]["total"]:
        return None
    last = np.append(first.users[1:] != first.users[:-1], True)
    return float(np.mean([run.values()[last].mean() for run in runs]))


def summary(
    runs: Iterable[Run], *, brief: bool = False, metrics: Sequence[str] = ()
) -> pd.DataFrame:
    """One row a setting: its system, what tells it from other settings, and its figures.

    R@10 has a 95% interval over users and seeds. brief: without the columns that describe the
    lists. metrics: columns such as "MRR@20" in place of the usual ones, each with its interval.
    Raises LetterError without any run.
    """
    runs = list(runs)
    if not runs:
        raise LetterError("no runs to sum up")
    settings = by_setting(runs)
    told = told_apart(settings)
    contents = {run.record["dataset"]["fingerprint"] for run in runs}
    several = len(contents) > len({run.dataset for run in runs})
    rows = []
    for own in settings:
        first = own[0]
        row = {"system": first.label}
        row |= {name: setting_text(first.parameters[name]) for name in told}
        row |= {"data": first.record["dataset"]["fingerprint"][:8]} if several else {}
        row |= {"seeds": len(own)} if brief else {}
        if metrics:
            row |= {f"{name} [95%]": f"{mean_interval(own, name):.4f}" for name in metrics}
            rows.append(row | {"cases": f"{len(first.cases):,}"})
            continue
        last = last_case_recall(own)
        row |= {
            "R@5": f"{_mean(own, 'R@5'):.4f}",
            "R@10 [95%]": f"{mean_interval(own):.4f}",
            "N@5": f"{_mean(own, 'N@5'):.4f}",
            "N@10": f"{_mean(own, 'N@10'):.4f}",
            "R@10, history out": f"{mean_interval(own, history='out'):.4f}",
        }
        if not brief:
            weights = first.record["weights"]
            row |= {
                "R@10, last case": "-" if last is None else f"{last:.4f}",
                "coverage": f"{_mean(own, 'coverage'):.2f}",
                "valid": f"{_mean(own, 'validity'):.0%}",
                "parameters": f"{weights / 1e6:.2f}M" if weights else "-",
            }
        row |= {"seconds": f"{np.mean([run.seconds for run in own]):.0f}"}
        rows.append(row | {"cases": f"{len(first.cases):,}"})
    return pd.DataFrame(rows)


def _mean(runs: Sequence[Run], metric: str) -> float:
    return float(np.mean([run.metrics()[metric] for run in runs]))


def told_apart(settings: list[list[Run]]) -> list[str]:
    """The settings of which some system has several values here."""
    told = []
    for name in differing([own[0] for own in settings]):
        values: dict[str, set[str]] = {}
        for own in settings:
            values.setdefault(own[0].label, set()).add(str(own[0].parameters[name]))
        if any(len(found) > 1 for found in values.values()):
            told.append(name)
    return told


def provenance(runs: Iterable[Run]) -> list[str]:
    """A sentence each for the releases of the data, the text encoders and the devices."""
    runs = list(runs)
    known = {
        "Data:": {run.record["dataset"].get("source") for run in runs},
        "Item text is read by": {run.record["config"].get("encoder") for run in runs},
        "Computed on": set().union(*(run.devices for run in runs)),
    }
    return [
        f"{what} {'; '.join(sorted(found))}." for what, v in known.items() if (found := v - {None})
    ]


@dataclass(frozen=True)
class Comparison:
    """Two settings on their common cases and seeds. difference: first minus second, paired."""

    metric: str
    history: str
    first: float
    second: float
    difference: Interval
    seeds: tuple[int, ...]
    n_cases: int
    n_users: int
    targets: str | None = None
    cases: str | None = None
    devices: str = ""
    """Where the two sides were computed on different devices: which."""

    @property
    def verdict(self) -> str:
        return verdict(self.difference, len(self.seeds))

    def __str__(self) -> str:
        targets = f", {self.targets} targets" if self.targets else ""
        cases = f", {self.cases} cases" if self.cases else ""
        return (
            f"{self.metric}, history {self.history}{targets}{cases}: "
            f"{self.first:.4f} against {self.second:.4f}, difference {self.difference:+.4f}, "
            f"{len(self.seeds)} seed(s), {self.n_cases:,} cases of {self.n_users:,} users: "
            f"{self.verdict}"
        )


def compare(
    first: Sequence[Run],
    second: Sequence[Run],
    metric: str = "R@10",
    history: str = "in",
    *,
    targets: str | None = None,
    cases: str | None = None,
) -> Comparison:
    """The difference between two settings, with a paired bootstrap over users and seeds.

    first, second: the runs of one setting each. Seeds and cases that only one side has are left
        out.
    targets: only cases whose target is in this popularity group: head, middle, tail or cold.
    cases: only cases of this kind: seen, unseen, repeat, new, tied or untied (see `case_kinds`).
    Raises LetterError for several settings on one side, two data sets, or nothing in common.
    """
    if targets not in (None, *GROUPS):
        raise LetterError(f'targets "{targets}": choose {", ".join(GROUPS)}')
    one, other = _by_seed(first, "first"), _by_seed(second, "second")
    _check_one_data_set([*first, *second])
    seeds = tuple(sorted(set(one) & set(other)))
    if not seeds:
        raise LetterError(f"no seed in common: {sorted(one)} and {sorted(other)}")
    a, b = one[seeds[0]], other[seeds[0]]
    _, mine, theirs = np.intersect1d(a.cases, b.cases, return_indices=True)
    if targets is not None:
        kept = a.groups[mine] == GROUPS.index(targets)
        mine, theirs = mine[kept], theirs[kept]
    if cases is not None:
        kept = is_kind(a.kinds[mine], cases)
        mine, theirs = mine[kept], theirs[kept]
    if not len(mine):
        of = f" with {targets} targets" if targets else ""
        of += f" that is {cases}" if cases else ""
        raise LetterError(f"no case{of} in common; language models answer a sample of the cases")
    left = np.stack([one[seed].values(metric, history)[mine] for seed in seeds])
    right = np.stack([other[seed].values(metric, history)[theirs] for seed in seeds])
    users = a.users[mine]
    devices = ["; ".join(sorted(set().union(*(r.devices for r in s)))) for s in (first, second)]
    return Comparison(
        metric,
        history,
        float(left.mean()),
        float(right.mean()),
        paired_difference(left, right, users, RESAMPLING_SEED),
        seeds,
        len(users),
        len(np.unique(users)),
        targets,
        cases,
        " against ".join(devices) if all(devices) and devices[0] != devices[1] else "",
    )


def _check_one_data_set(runs: Sequence[Run]) -> None:
    for name in ("fingerprint", "held out"):
        found = {str(run.record["dataset"][name]): run.dataset for run in runs}
        if len(found) > 1:
            data = " and ".join(f"{value} ({dataset})" for value, dataset in found.items())
            raise LetterError(f"runs of different data, whose {name} is {data}, cannot be compared")


def _by_seed(runs: Sequence[Run], side: str) -> dict[int, Run]:
    if len(settings := by_setting(runs)) != 1:
        found = ", ".join(f"{name} ({', '.join(v)})" for name, v in differing(runs).items())
        raise LetterError(
            f"the {side} side has {len(settings)} settings, not one; choose with NAME=VALUE: "
            f"{found}"
        )
    return {run.seed: run for run in runs}


# Runs elsewhere: a terminal, or a file


def as_json(runs: Sequence[Run], metrics: Sequence[str] = ()) -> str:
    """An array with an object a setting, for another program.

    metrics: such as "MRR@20"; METRICS if empty. Each has its mean and the ends of its 95% interval
    over users and seeds, with the history left "in" the ranking and filtered "out".
    """
    rows = []
    for own in by_setting(runs):
        first = own[0]
        row = {"system": first.system, "label": first.label, "seeds": [run.seed for run in own]}
        row |= {n: v for n, v in first.parameters.items() if n != "seed"}
        row |= {"cases": len(first.cases), "seconds": round(np.mean([r.seconds for r in own]), 1)}
        row["metrics"] = {
            f"history {history}": {
                name: asdict(mean_interval(own, name, history)) for name in metrics or METRICS
            }
            for history in ("in", "out")
        }
        rows.append(row)
    return json.dumps(rows, indent=1, ensure_ascii=False)


def as_text(runs: Sequence[Run], metrics: Sequence[str] = ()) -> str:
    """`summary` for a terminal: what all rows share stands above it, provenance below it."""
    table = summary(runs, brief=True, metrics=metrics)
    if "options" in table:  # long: spelt out below
        texts = [text for text in table["options"].unique() if text]
        table["options"] = [
            f"({texts.index(text) + 1})" if text else "" for text in table["options"]
        ]
        notes = [f"({number}) {text}" for number, text in enumerate(texts, start=1)]
    else:
        notes = []
    parts = [_shared(runs), "", table.to_string(index=False), "", *notes, *provenance(runs)]
    return "\n".join(parts).rstrip()


def _shared(runs: Sequence[Run]) -> str:
    apart = differing(runs)
    same = {n: setting_text(runs[0].parameters[n]) for n in SETTINGS if n not in {*apart, "seed"}}
    return f"In every row: {' '.join(f'{n}={v}' for n, v in same.items() if v not in ('', '-'))}."


def export(
    runs: Sequence[Run],
    path: str | Path,
    metrics: Sequence[str] = (),
    against: str | None = None,
) -> Path:
    """Write runs to a new file, by its ending.

    .parquet: everything, to be read by `load_results`. .csv: a row a run, without the ranks. .md:
    `summary`. .tex: `metrics_in_latex`. metrics, against: as there.
    Raises LetterError for another ending, or a file that is there already.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet", ".md", ".tex"):
        raise LetterError(f"{path}: choose a name that ends in .csv, .parquet, .md or .tex")
    if path.exists():
        raise LetterError(f"{path}: is there already; choose another name, or move it away")
    if path.suffix == ".parquet":
        write_runs(path, runs)
        return path
    caption = " ".join([_shared(runs), *provenance(runs)])
    with atomic_write(path) as temporary:
        if path.suffix == ".csv":
            rows = [
                {k: v for k, v in _row(r).items() if k not in (*ARRAYS, "record")} for r in runs
            ]
            pd.DataFrame(rows).to_csv(temporary, index=False)
        elif path.suffix == ".md":
            rows = summary(runs, brief=True, metrics=metrics)
            table = rows.to_markdown(index=False, disable_numparse=True)
            temporary.write_text(f"{table}\n\n{caption}\n", encoding="utf-8")
        else:
            text = metrics_in_latex(runs, metrics, caption, None, against)
            temporary.write_text(text, encoding="utf-8")
    return path


IN_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "_%&#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)
WIDEST = 8  # columns of a LaTeX table that is not shrunk to the width of the text


def metrics_in_latex(
    runs: Sequence[Run],
    metrics: Sequence[str] = (),
    caption: str = "",
    label: str | None = None,
    against: str | None = None,
) -> str:
    """A LaTeX table: a row a setting, its mean metrics with the history left in, the best in bold.

    metrics: the columns, such as "MRR@20"; METRICS if empty.
    against: a condition such as "tokenizer=plain" that one setting meets: a star marks what differs
        from it (95% interval over users and seeds, paired). Without it a star marks a best value
        that differs from the second best. Where runs cannot be paired (several data sets), no star.
    """
    settings, metrics = by_setting(runs), list(metrics or METRICS)
    told = told_apart(settings)
    other = _one_setting(select(runs, [against]), against) if against else None
    cells, bold = [], []
    means = {
        name: [np.mean([r.values(name).mean() for r in o]) for o in settings] for name in metrics
    }
    order = {name: np.argsort(means[name])[::-1] for name in metrics}
    for row, own in enumerate(settings):
        names = [own[0].label, *(setting_text(own[0].parameters[name]) for name in told)]
        values, marks = [], []
        for name in metrics:
            best = row == order[name][0]
            rival = other or (settings[order[name][1]] if best and len(settings) > 1 else None)
            star = r"\rlap{$^*$}" if rival and _differ(own, rival, name) else ""
            values.append(f"{means[name][row]:.4f}".removeprefix("0") + star)
            marks.append(best)
        cells.append(names + values)
        bold.append([False] * len(names) + marks)
    table = pd.DataFrame(cells, columns=["system", *told, *metrics])
    marked = against or "the second best"
    note = f"Best in bold; * differs from {marked} (95% interval over users and seeds)."
    return to_latex(table, f"{caption} {note}".strip(), label, np.array(bold), metrics)


def _one_setting(runs: list[Run], condition: str) -> list[Run]:
    if len(by_setting(runs)) != 1:
        raise LetterError(f'--against "{condition}": is not one setting; add to --where')
    return runs


def _differ(own: Sequence[Run], other: Sequence[Run], metric: str) -> bool:
    if own[0].setting == other[0].setting:
        return False
    try:
        return compare(own, other, metric).difference.excludes_zero
    except LetterError:  # no seed or case in common, or other data
        return False


def to_latex(
    table: pd.DataFrame,
    caption: str,
    label: str | None = None,
    bold: np.ndarray | None = None,
    in_latex: Sequence[str] = (),
) -> str:
    """A table environment with booktabs' rules; a wide table is shrunk to the width of the text.

    bold: bool, of the table's shape. in_latex: columns whose cells are LaTeX already.
    """
    texts = [column for column in table if column not in in_latex]
    style = table.style.hide(axis="index").format(escape="latex", subset=texts)
    style = style.format_index(escape="latex", axis=1)
    if bold is not None:
        style = style.apply(lambda _: np.where(bold, "textbf:--rwrap;", ""), axis=None)
    columns = "l" + "r" * (len(table.columns) - 1)
    tabular = style.to_latex(hrules=True, column_format=columns).rstrip()
    if len(table.columns) > WIDEST:
        tabular = f"\\resizebox{{\\textwidth}}{{!}}{{%\n{tabular}}}"
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{caption.translate(IN_LATEX)}}}"]
    lines += [rf"\label{{{label}}}"] if label else []
    return "\n".join([*lines, tabular, r"\end{table}", ""])
