"""Results in rows: the table of systems, what it is a table of, and stage reports."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from letterlib.data.dataset import Dataset, Split, sampled_rows
from letterlib.distributed import n_processes
from letterlib.errors import LetterError, Unavailable
from letterlib.evaluation.bootstrap import Interval, interval
from letterlib.evaluation.evaluate import Evaluation
from letterlib.evaluation.metrics import GROUPS
from letterlib.pipeline.config import RunConfig, as_set, make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.readiness import check_first
from letterlib.pipeline.systems import FLOORS, find_system, rooms_of
from letterlib.store import digest, read_json
from letterlib.tokenizer.letter import LetterTokenizer

RESAMPLING_SEED = 0
"""Intervals are drawn with one seed of their own, so that they do not move with the run's."""

IN_LATEX = str.maketrans(
    {sign: f"\\{sign}" for sign in "_%&#${}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)
"""For a caption, in which pandas escapes nothing: settings and paths may be in it."""


@dataclass(frozen=True)
class SystemResult:
    """One system's test results over one or more seeds (the same cases in each)."""

    name: str
    history_in: list[Evaluation]
    history_out: list[Evaluation]
    seconds: float
    parameters: int = 0
    is_sample: bool = False
    """Whether some of the test cases were answered, and not all (see `Pipeline.test_cases`)."""

    @property
    def users(self) -> np.ndarray:
        return self.history_in[0].users

    @property
    def n_cases(self) -> int:
        return len(self.users)

    def on_sample(self, n: int) -> "SystemResult":
        """The same on the `n` cases that a language model answered (see `Pipeline.test_cases`)."""
        rows, is_sample = sampled_rows(self.n_cases, n, seed=0), self.is_sample or n < self.n_cases
        inside, outside = (
            [one[rows] for one in kind] for kind in (self.history_in, self.history_out)
        )
        return SystemResult(self.name, inside, outside, self.seconds, self.parameters, is_sample)

    def recall(self, *, history: str = "in") -> np.ndarray:
        """Per-case R@10, [n_seeds, n_cases]."""
        return np.stack([one.hits(10) for one in self._of(history)])

    def mean(self, metric: str, *, history: str = "in") -> float:
        return float(np.mean([one.metrics()[metric] for one in self._of(history)]))

    def interval(self, *, history: str = "in") -> Interval:
        """Of R@10."""
        return interval(self.recall(history=history), self.users, RESAMPLING_SEED)

    def last_case_recall(self) -> float | None:
        """R@10 on each user's last case alone. None on a sample, which lacks most.

        Not quite a leave-one-out split's figure: what a user's other cases hold out is not in
        training here.
        """
        if self.is_sample:
            return None
        last = np.append(self.users[1:] != self.users[:-1], True)
        return float(self.recall()[:, last].mean())

    def _of(self, history: str) -> list[Evaluation]:
        return {"in": self.history_in, "out": self.history_out}[history]


def gather(
    pipelines: list[Pipeline], systems: list[str], *, go_on: bool = False
) -> tuple[dict[str, SystemResult], dict[str, LetterError]]:
    """Evaluate (or find) every system under every pipeline, which differ in their seed alone.

    Returns the results, and why the other systems have none, both by name: Unavailable where this
    data set lacks what a system needs. With `go_on` also what else ended a system; without it that
    is raised. Where there is no result at all, the first reason is raised, one that is no lack of
    the data's before one that is.
    """
    results, reasons = {}, {}
    check_first(pipelines[0], systems)
    for name in systems:
        try:
            inside = [p.evaluation(name) for p in pipelines]
        except LetterError as reason:
            # Of several processes the others are still in this system.
            over = not go_on or n_processes() > 1
            if over and not isinstance(reason, Unavailable):
                raise
            reasons[name] = reason
            continue
        outside = [p.evaluation(name, history="out") for p in pipelines]
        seconds = float(np.mean([p.seconds(name) for p in pipelines]))
        is_sample = len(inside[0].users) < len(pipelines[0].split.cases("test"))
        results[name] = SystemResult(
            name, inside, outside, seconds, pipelines[0].parameters(name), is_sample
        )
    if not results:
        raise min(reasons.values(), key=lambda one: isinstance(one, Unavailable))
    return results, reasons


def with_floors(
    pipelines: list[Pipeline], results: dict[str, SystemResult]
) -> dict[str, SystemResult]:
    """The same results, and before them those of the floors that are not among them."""
    lacking = [name for name in FLOORS if name not in results]
    return (gather(pipelines, lacking)[0] if lacking else {}) | results


def results_frame(results: dict[str, SystemResult]) -> pd.DataFrame:
    """One row a system. R@10 has its 95% interval over users (and seeds, where there are several)."""
    rows = {}
    for name, one in results.items():
        inside, outside = one.interval(), one.interval(history="out")
        rows[find_system(name).label] = {
            "R@5": f"{one.mean('R@5'):.4f}",
            "R@10 [95%]": f"{inside:.4f}",
            "N@5": f"{one.mean('N@5'):.4f}",
            "N@10": f"{one.mean('N@10'):.4f}",
            "R@10, history out": f"{outside:.4f}",
            "R@10, last case": "-" if (last := one.last_case_recall()) is None else f"{last:.4f}",
            "coverage": f"{one.mean('coverage'):.2f}",
            "valid": f"{one.mean('validity'):.0%}",
            "parameters": f"{one.parameters / 1e6:.2f}M" if one.parameters else "-",
            "seconds": f"{one.seconds:.0f}",
            "cases": f"{one.n_cases:,}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def lists_frame(metrics: Mapping[str, Sequence[Mapping[str, float]]]) -> pd.DataFrame:
    """What the lists are like, one row a system: whom they find, and what they show.

    metrics: a system's `Evaluation.metrics`, a seed each; their means stand in the row, and "-" for
    what is in none.
    """
    columns = {f"R@10, {group}": f"R@10 {group}" for group in GROUPS}
    columns |= {"R@10 of identifiers": "identifier R@10", "exposure Gini": "exposure Gini"}
    rows = {}
    for name, seeds in metrics.items():
        means = {key: f"{np.mean([one[key] for one in seeds]):.4f}" for key in seeds[0]}
        rows[find_system(name).label] = {
            column: means.get(key, "-") for column, key in columns.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def changes(config: RunConfig) -> list[str]:
    """What differs from the profile, each as `--set` takes it."""
    usual = make_config(config.dataset, config.profile, config.seed, config.device).model_dump(
        mode="json"
    )
    found = []
    for room, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            found += [
                f"{room}.{name}={as_set(one)}"
                for name, one in value.items()
                if one != usual[room][name]
            ]
        elif value != usual[room]:
            found.append(f"{room}={as_set(value)}")
    return found


def heading(pipeline: Pipeline, results: dict[str, SystemResult], n_seeds: int) -> str:
    first = max(results.values(), key=lambda one: one.n_cases)  # a language model answers a sample
    split = (
        "leave-one-out"
        if pipeline.config.held_out == 1
        else f"last {pipeline.config.held_out} items"
    )
    seed, changed = pipeline.config.seed, changes(pipeline.config)
    seeds = f"seeds {seed}-{seed + n_seeds - 1}" if seed and n_seeds > 1 else f"{n_seeds} seeds"
    profile = f"profile {pipeline.config.profile}" + (
        f" with {', '.join(changed)}" if changed else ""
    )
    return (
        f"{pipeline.dataset.name}, {profile}, {f'seed {seed}' if n_seeds == 1 else seeds}: test = {split}, "
        f"{len(first.users):,} cases of {len(np.unique(first.users)):,} users, "
        f"full ranking of {pipeline.dataset.n_items:,} items"
    )


def provenance(pipeline: Pipeline, systems: Iterable[str]) -> str:
    """Where the numbers of these systems come from, whose stages the pipeline has made or found."""
    reads_text = any(
        "encoder" in rooms_of(one, one.identifiers) for one in map(find_system, systems)
    )
    encoders = {pipeline.config.encoder} if reads_text else set()
    return " ".join(made_of({pipeline.dataset.source}, encoders, {pipeline.cache.devices()} - {""}))


def made_of(sources: set[str], encoders: set[str], devices: set[str]) -> list[str]:
    """Releases of data, encoders of item text, and devices, a sentence each; none of what is not
    known.
    """
    said = {"Data:": sources, "Item text is read by": encoders, "Computed on": devices}
    return [f"{what} {'; '.join(sorted(names))}." for what, names in said.items() if names]


def of_other_data(path: Path, pipeline: Pipeline) -> bool:
    """Whether the JSON file of a report or a table is there, and tells of other data of the same
    name.
    """
    try:
        return read_json(path)["dataset"]["fingerprint"] != pipeline.dataset.fingerprint
    except (
        LetterError,
        KeyError,
        TypeError,
    ):  # none is there, or an older one, or one that is damaged
        return False


def folder_name(
    pipeline: Pipeline, seeds: str, systems: Sequence[str], usual: Sequence[str]
) -> str:
    """What the folder of a table or a report is called.

    A profile that was changed, or other systems than `usual`, end in a hash of both. A device or a
    --data-dir is not in
    the name: the same run on another one replaces the result.
    """
    config = pipeline.config
    name = f"{pipeline.dataset.name}-{config.profile}-{seeds}"
    if not changes(config) and list(systems) == list(usual):
        return name
    return f"{name}-{digest(config.model_dump(mode='json', exclude={'device'}), list(systems))[:8]}"


def describe_data(dataset: Dataset, split: Split) -> str:
    """Counts, split and cases of a data set."""
    lengths = dataset.sequences.lengths
    unseen = int((split.train_counts == 0).sum())
    lines = [
        f"{dataset.name}: {dataset.source}",
        f"  {dataset.n_users:,} users, {dataset.n_items:,} items, {dataset.n_interactions:,} interactions",
        f"  items per user: mean {lengths.mean():.1f}, median {np.median(lengths):.0f}, longest {lengths.max():,}",
        f"  last {split.held_out} item(s) test, {split.held_out} before them validation, the rest training",
    ]
    for part in ("train", "valid", "test"):
        lines.append(f"  {part}: {len(split.cases(part)):,} cases")
    lines.append(
        f"  items never seen in training: {unseen:,}; users without a case: {split.users_without_cases:,}"
    )
    return "\n".join(lines)


def describe_tokenizer(tokenizer: LetterTokenizer) -> str:
    """Collisions, what their repair costs, dead codes and errors of a trained tokenizer."""
    report, identifiers = tokenizer.report, tokenizer.identifiers()
    repair = report.collisions
    many = (
        " (many: lists tell these apart by chance)"
        if repair.colliding_after > identifiers.n_items / 20
        else ""
    )
    lines = [
        f"{identifiers.n_items:,} items, {identifiers.n_levels} levels of {identifiers.level_sizes[0]} codes",
        f"  items that share an identifier: {repair.colliding_before:,} before the repair, "
        f"{repair.colliding_after:,} after it{many}",
    ]
    if repair.moved:
        lines.append(
            f"  the repair gave {repair.moved:,} items another last code, at a squared distance of "
            f"{repair.distance_after:.2f} instead of {repair.distance_before:.2f}"
        )
    errors = ", ".join(f"{e:.3f}" for e in report.reconstruction_error)
    lines += [
        f"  dead codes per level: {', '.join(map(str, report.dead_codes))}",
        f"  variance left unexplained by 1, 2, ... codes: {errors}",
        f"  item 0 is {' '.join(identifiers.tokens(0))}",
    ]
    return "\n".join(lines)
