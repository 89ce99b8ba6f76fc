"""Do every published run again, and compare what is published with what comes out.

    make reproduce PLAN=1                        what there is to do, and how long it takes
    make reproduce                               all of it; interrupted, it goes on
    make reproduce ONLY="movielens-overall seed=0 seed=1"

Runs are those of experiments/results, cheapest experiment first; then the scripts, the benchmarks,
and the figures. `comparison.md` has a row for each figure of the pages and each speed ratio:

identical  what is computed without training must be equal
inside     the new mean lies in the 95% interval of the same runs as published; without an interval,
           the new value is within a quarter of the published one, the band of tests/golden between
           machines
outside    it does not. With 95% intervals a few of hundreds may.

Exits with 1 if something is outside or failed.
"""

import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
import yaml
from older_order import FINGERPRINTS, older_order

from letterlib.cli import run_script
from letterlib.errors import LetterError
from letterlib.evaluation.metrics import hits_at
from letterlib.pipeline.config import REPOSITORY, data_dir_under, default_data_dir, make_config
from letterlib.pipeline.results import read_runs, select, write_runs
from letterlib.pipeline.runs import RunParameters, do_run, finished, run_path
from letterlib.pipeline.systems import FLOOR, find_system
from letterlib.store import atomic_write, read_json, write_text

sys.path.insert(0, str(REPOSITORY / "tests" / "golden"))
import figures  # noqa: E402
from test_published import ROUNDING, numbers  # noqa: E402

RESULTS = REPOSITORY / "experiments" / "results"
PEERS = REPOSITORY / ".venv-peers" / "bin" / "python"
OLDER = "experiments/older_order.py"

TABLES = {
    "movielens-fourteen-systems": [],
    "movielens-language-models": ["language_model_cases=300"],
}
"""Tables of systems, which keep ranks alone: what differs from profile laptop."""

SCRIPTS = {
    "interval-coverage.json": (10, "experiments/interval_coverage.py"),
    "beauty-tokenizer-comparison/comparison.json": (
        15,
        "experiments/released_tokenizer_comparison.py --data-dir {beauty} --cache-dir {today}",
    ),
    "movielens-generation-bias/sweep.json": (
        15,
        f"{OLDER} experiments/generation_bias.py --cache-dir {{older}}",
    ),
    "movielens-tokenizer-sweep/sweep.json": (
        30,
        f"{OLDER} experiments/tokenizer_sweep.py --cache-dir {{older}}",
    ),
    "movielens-tau-sweep/sweep.json": (
        45,
        f"{OLDER} experiments/tau_sweep.py --cache-dir {{older}}",
    ),
    "yelp-codes-in-use.json": (
        60,
        "experiments/codes_in_use.py --dataset yelp --data-dir {yelp} --cache-dir {today}",
    ),
    "movielens-lc-rec/summary.json": (
        180,
        f"{OLDER} experiments/language_model.py --cache-dir {{older}}",
    ),
}
"""The last file that a script writes: minutes on one core, and the command without --out."""

BENCHMARKS = "benchmarks/scaling_items.json"
"""The last file that `python -m benchmarks` writes."""

WITH_INTERVAL = ("mean", "difference", "stacked", "t", "components", "sum", "sum, t", "csv, t")
"""Kinds of figures that are a mean and both ends of its interval."""

NOT_JUDGED = ("by seed", "part left", "relative", "seeds' share", "identifiers, t")
"""Kinds that are differences without an interval: a quarter of one says nothing."""

BAND = 0.25

DOCS = REPOSITORY / "docs" / "figures"
CLAIMS = REPOSITORY / "tests" / "golden" / "published_claims.json"


@dataclass(frozen=True)
class Published:
    """A published run. ranks: int [2, n_cases], with the history in and out."""

    asked: RunParameters
    older: bool
    seconds: float
    ranks: np.ndarray

    @property
    def parameters(self) -> dict[str, Any]:
        return self.asked.settings

    def folders(self, out: Path) -> dict[str, Path]:
        """Where it is done again. The two orders of a data set have a cache each."""
        order = "older" if self.older else "today"
        return {"out_dir": out / "runs" / order, "cache_dir": out / "cache" / order}

    def is_done(self, out: Path) -> bool:
        return run_path(self.asked, self.folders(out)["out_dir"]).exists()


def published(name: str, results: Path) -> list[Published]:
    """The runs of `<name>.parquet`, or of the table of systems `<name>/ranks.parquet`."""
    if name not in TABLES:
        return [
            Published(
                RunParameters.of(run),
                run.record["dataset"]["fingerprint"] in FINGERPRINTS,
                max(run.seconds, run.record.get("seconds", 0)),
                first_places(run.ranks["in"], run.ranks["out"]),
            )
            for run in read_runs(results / f"{name}.parquet")
        ]
    costs = pd.read_csv(results / name / "table.csv").set_index("system")["seconds"]
    found = []
    for (system, seed), rows in pd.read_parquet(results / name / "ranks.parquet").groupby(
        ["system", "seed"], observed=True
    ):
        asked = RunParameters(
            system, make_config("movielens", "laptop", seed, overrides=TABLES[name])
        )
        ranks = first_places(rows["rank"], rows["rank, history out"])
        found.append(Published(asked, True, float(costs[asked.label]), ranks))
    return found


def first_places(*ranks: np.ndarray) -> np.ndarray:
    """Ranks within the first 20 places, which all published runs have; -1 elsewhere."""
    stacked = np.stack(ranks)
    return np.where(stacked < 20, stacked, -1)


# What there is to do


def chosen(only: Sequence[str], results: Path) -> dict[str, list[Published]]:
    """The published runs by experiment, of those that `only` names. LetterError if there are none.

    only: parts of an experiment's name, and conditions such as "seed=0".
    """
    names = [word for word in only if "=" not in word]
    conditions = [word for word in only if "=" in word]
    found = {}
    for name in [*TABLES, *(file.stem for file in sorted(results.glob("*.parquet")))]:
        there = (results / name).is_dir() or name not in TABLES
        if there and (not names or any(word in name for word in names)):
            with suppress(LetterError):  # no run meets the conditions
                found[name] = select(published(name, results), conditions)
    return found


def scripts(only: Sequence[str]) -> dict[str, float]:
    """Scripts and benchmarks that `only` names, and their hours. A condition chooses runs alone."""
    hours = {name: minutes / 60 for name, (minutes, _) in SCRIPTS.items()} | {BENCHMARKS: 1 / 3}
    if any("=" in word for word in only):
        return {}
    return {n: h for n, h in hours.items() if not only or any(word in n for word in only)}


def no_data(dataset: str, data_root: Path) -> str:
    """Why a data set cannot be read; empty if it can."""
    try:
        folder = data_dir_under(data_root, dataset)
        RunParameters.checked(dataset=dataset).check_data(folder)
    except LetterError as error:
        return str(error)
    return ""


# Doing it


def do_runs(name: str, runs: Sequence[Published], out: Path, data_root: Path) -> list[str]:
    """Do the runs that are not done; returns what failed."""
    failed = []
    for number, one in enumerate(sorted(runs, key=lambda one: one.seconds), 1):
        print(f"{name} [{number}/{len(runs)}] {one.asked}", flush=True)
        folder = data_dir_under(data_root, one.asked.dataset)
        try:
            with older_order() if one.older else nullcontext():
                do_run(one.asked, data_dir=folder, **one.folders(out))
        except Exception as error:  # the others still run
            print(f"failed: {type(error).__name__}: {error}", flush=True)
            failed.append(f"{name}: {one.asked}: {error}")
    return failed


def do_script(name: str, out: Path, data_root: Path) -> list[str]:
    """Run a script or the benchmarks, unless its result is there; returns what failed."""
    target = out / "results" / name
    if name == BENCHMARKS:
        target, python = out / name, PEERS
        words = ["-m", "benchmarks", "--data-dir", "{beauty}", "--out", str(target.parent)]
    else:
        python = Path(sys.executable)
        to = target.parent if "/" in name else target
        words = [*SCRIPTS[name][1].split(), "--out", str(to)]
    if target.exists():
        return []
    known = {"today": out / "cache" / "today", "older": out / "cache" / "older"}
    for dataset in ("beauty", "yelp"):
        if f"{{{dataset}}}" in words:
            if why := no_data(dataset, data_root):
                print(f"{name}: left out: {why}")
                return []
            known[dataset] = data_dir_under(data_root, dataset) or default_data_dir(dataset)
    if not python.exists():
        print(f"{name}: left out: {python} is not there; make bench-quick installs it")
        return []
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [str(python), *(word.format(**known) for word in words)]
    print(f"{name}: {shlex.join(command)}", flush=True)
    code = subprocess.run(command, cwd=REPOSITORY).returncode
    return [f"{name}: exit code {code}"] if code else []


# Comparing it


def gather(name: str, runs: Sequence[Published], out: Path, results: Path) -> str:
    """Write the runs that are done, as published and as done again, to two folders of one layout.

    Returns a line about them; empty if none is done.
    """
    done = [(one, run) for one in runs if (run := finished(one.asked, one.folders(out)["out_dir"]))]
    if not done:
        return ""
    before, after = out / "published", out / "results"
    if name in TABLES:
        table = pd.read_parquet(results / name / "ranks.parquet")
        own = {(one.asked.system, one.asked.seed): run for one, run in done}
        kept = [pair in own for pair in zip(table["system"], table["seed"], strict=True)]
        table = table[kept].reset_index(drop=True)
        _write(table, before / name)
        for pair, rows in table.groupby(["system", "seed"], observed=True).groups.items():
            assert (table.loc[rows, "case"] == own[pair].cases).all()
            table.loc[rows, "rank"] = own[pair].ranks["in"]
            table.loc[rows, "rank, history out"] = own[pair].ranks["out"]
        _write(table, after / name)
    else:
        keys = {one.asked.key for one, _ in done}
        own = [run for run in read_runs(results / f"{name}.parquet") if run.key in keys]
        write_runs(before / f"{name}.parquet", own)
        write_runs(after / f"{name}.parquet", [run for _, run in done])
    ranks = [(one.ranks, first_places(run.ranks["in"], run.ranks["out"])) for one, run in done]
    same = sum(np.array_equal(*both) for both in ranks)
    apart = max(abs(hits_at(b[0], 10).mean() - hits_at(a[0], 10).mean()) for a, b in ranks)
    return (
        f"{name}: {len(done)} of {len(runs)} runs done, {same} with every rank as published; "
        f"R@10 of a run differs by at most {apart:.4f}"
    )


def _write(table: pd.DataFrame, folder: Path) -> None:
    with atomic_write(folder / "ranks.parquet") as path:
        table.to_parquet(path)


def figures_in(folder: Path, keys: Iterable[str]) -> dict[str, list[float]]:
    """The figures that follow from the results in a folder, by key."""
    figures.read_from(folder)
    found = {}
    for key in dict.fromkeys(keys):
        # What a figure needs may be missing: a file, a setting, a seed.
        with suppress(LetterError, OSError, KeyError, ValueError, AssertionError):
            found[key] = figures.figure(key)
    return {key: values for key, values in found.items() if np.isfinite(values).all()}


def verdict(claim: dict[str, Any], before: list[float], after: list[float]) -> str:
    """ "identical", "inside", "outside" or "not judged", as the top of this file says."""
    kind, *arguments = claim["from"].split(" | ")
    if len(before) == len(after) and np.allclose(before, after, rtol=0, atol=ROUNDING):
        return "identical"
    settings = [figures.setting(one.split("*")[-1]) for one in arguments if ": " in one]
    systems = [one.parameters.get("system") or one.parameters["generator"] for one in settings]
    if kind in ("cases", "coverage") or {find_system(one).family for one in systems} == {FLOOR}:
        return "outside"
    if kind in NOT_JUDGED:
        return "not judged"
    if kind in WITH_INTERVAL:
        return "inside" if before[1] <= after[0] <= before[2] else "outside"
    near = np.isclose(_printed(claim, after), _printed(claim, before), rtol=BAND, atol=0)
    return "inside" if near.all() else "outside"


def _printed(claim: dict[str, Any], values: list[float]) -> list[float]:
    return [values[one] for one in claim.get("places", range(len(numbers(claim["text"]))))]


def compare_claims(
    out: Path, results: Path, claims: Sequence[dict[str, Any]]
) -> list[dict[str, str]]:
    """A row for each claim that the runs and scripts done so far reach."""
    (out / "published").mkdir(parents=True, exist_ok=True)
    for name in SCRIPTS:
        if (out / "results" / name).exists():
            folder, _, file = name.partition("/")
            copy = partial(shutil.copytree, dirs_exist_ok=True) if file else shutil.copy
            copy(results / folder, out / "published" / folder)
    keys = [claim["from"] for claim in claims if "from" in claim]
    before = figures_in(out / "published", keys)
    after = figures_in(out / "results", before)
    return [
        {
            "where": claim["file"],
            "what": key.replace(" | ", ", "),
            "published": claim["text"],
            "the same runs, as published": _text(_printed(claim, before[key])),
            "again": _text(_printed(claim, after[key])),
            "verdict": verdict(claim, before[key], after[key]),
        }
        for claim in claims
        if (key := claim.get("from")) in after
    ]


def _text(values: Sequence[float]) -> str:
    return " ".join(f"{value:.5g}" for value in values)


def compare_speeds(out: Path) -> list[dict[str, str]]:
    """A row for each speed ratio. It is judged if there are published ones of this processor."""
    rows = []
    for file in sorted((out / "benchmarks").glob("*.json")):
        again = read_json(file)
        known = [read_json(one) for one in (REPOSITORY / "benchmarks/results").rglob(file.name)]
        here = [one for one in known if _processor(one) == _processor(again)]
        ratios = {row["what"]: row["ratio"] for one in here or known[:1] for row in one["rows"]}
        for row in again["rows"]:
            if row["ratio"] and (before := ratios.get(row["what"])):
                near = abs(row["ratio"]["median"] / before["median"] - 1) <= BAND
                rows.append(
                    {
                        "where": "docs/performance.md",
                        "what": row["what"],
                        "published": _text([before["median"]]),
                        "again": _text([row["ratio"]["median"]]),
                        "verdict": ("inside" if near else "outside") if here else "not judged",
                    }
                )
    return rows


def _processor(benchmark: dict[str, Any]) -> str:
    return benchmark["machine"]["processor"]


def draw(out: Path) -> list[dict[str, str]]:
    """Draw the figures whose results are there again; a row for each."""
    sections = yaml.safe_load((DOCS / "case_figures.yaml").read_text(encoding="utf-8")).values()
    names = {data["records"] for section in sections for data in section["data"]}
    needed = {
        f"experiments/case_figures.py --records {out}/results --out": [
            out / "results" / f"{name}.parquet" for name in names
        ],
        f"-m benchmarks.figures {out}/benchmarks": [
            out / "benchmarks" / f"scaling_{name}.json" for name in ("users", "items")
        ],
    }
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for words, files in needed.items():
        if all(file.exists() for file in files):
            subprocess.run([sys.executable, *words.split(), str(folder)], cwd=REPOSITORY)
    rows = []
    for file in sorted(folder.iterdir()):
        same = file.read_bytes() == (DOCS / file.name).read_bytes()
        verdict = "identical" if same else "not judged"
        rows.append({"where": "docs/figures", "what": file.name, "verdict": verdict})
    return rows


def main(
    only: Annotated[
        list[str] | None,
        typer.Argument(help="parts of names of results, and conditions on runs such as seed=0"),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="list what there is to do")] = False,
    out: Annotated[Path, typer.Option(help="folder of everything made here")] = Path(
        "runs/reproduce"
    ),
    data_root: Annotated[Path, typer.Option(help="has a folder for each released data set")] = Path(
        "data"
    ),
    results: Annotated[Path, typer.Option(help="the published runs")] = RESULTS,
    claims: Annotated[Path, typer.Option(help="figures of the pages, and what they are")] = CLAIMS,
) -> None:
    out, only = out.resolve(), only or []
    experiments, others = chosen(only, results), scripts(only)
    if not experiments and not others:
        raise LetterError(f"{' '.join(only)}: names no experiment of {results} and no script")
    missing = {}
    for name, runs in experiments.items():
        for dataset in sorted({one.asked.dataset for one in runs}):
            missing.setdefault(dataset, no_data(dataset, data_root))
        experiments[name] = [one for one in runs if not missing[one.asked.dataset]]
    left = {
        name: sum({o.asked.key: o.seconds for o in runs if not o.is_done(out)}.values()) / 3600
        for name, runs in experiments.items()
    }
    left |= {name: 0 if (out / "results" / name).exists() else h for name, h in others.items()}
    order = sorted(left, key=left.get)
    for name in order:
        runs = experiments.get(name)
        about = (
            f"{sum(o.is_done(out) for o in runs)} of {len(runs)} runs done" if runs else "script"
        )
        print(f"{left[name]:6.2f} h  {name}: {about}")
    for dataset in filter(missing.get, missing):
        print(f"left out: runs of {dataset}, not in {data_root} (data/README.md says where it is)")
    print(f"{sum(left.values()):6.1f} h on one core are left; runs in two experiments count twice")
    if plan:
        return
    failed = []
    try:
        for name in order:
            if name in experiments:
                failed += do_runs(name, experiments[name], out, data_root)
            else:
                failed += do_script(name, out, data_root)
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from what is finished.", flush=True)
        raise
    lines = [gather(name, experiments[name], out, results) for name in order if name in experiments]
    report(out, results, lines, failed, read_json(claims))


def report(
    out: Path, results: Path, lines: list[str], failed: list[str], claims: list[dict[str, Any]]
) -> None:
    """Write comparison.md and print its summary. Exits with 1 if something is outside or failed."""
    rows = compare_claims(out, results, claims)
    n_reached = len(rows)
    rows += compare_speeds(out) + draw(out)
    counts = Counter(row["verdict"] for row in rows)
    untied = Counter(claim["reason"] for claim in claims if "reason" in claim)
    n_claims = sum("from" in claim for claim in claims)
    judged = ", ".join(f"{n} {what}" for what, n in counts.items())
    summary = [*filter(None, lines), f"{len(rows)} figures and speed ratios: {judged or 'none'}"]
    summary += [f"figures of the pages that are reached: {n_reached} of {n_claims}"]
    summary += [f"failed: {line}" for line in failed]
    table = pd.DataFrame(sorted(rows, key=lambda row: row["verdict"] != "outside")).fillna("")
    notes = [f"- {n} claims have no record: {reason}" for reason, n in untied.items()]
    text = "\n".join(
        ["# Published, and made again", "", *(f"- {line}" for line in summary), *notes]
    )
    write_text(
        out / "comparison.md",
        f"{text}\n\n{table.to_markdown(index=False, disable_numparse=True)}\n",
    )
    print(*summary, f"Written to {out / 'comparison.md'}", sep="\n")
    if failed or counts["outside"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_script(main)
