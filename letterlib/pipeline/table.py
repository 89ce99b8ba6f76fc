"""The table of systems: what `letterlib run`, `table` and `evaluate` print and write."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from letterlib.data.dataset import Dataset, Split
from letterlib.distributed import is_main, n_processes
from letterlib.errors import LetterError, Unavailable
from letterlib.evaluation.case_kinds import KINDS, is_kind
from letterlib.evaluation.metrics import GROUPS
from letterlib.pipeline.config import SEEDS, changes
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.results import (
    Run,
    as_json,
    by_setting,
    compare,
    mean_interval,
    metrics_in_latex,
    provenance,
    summary,
    to_latex,
    write_runs,
)
from letterlib.pipeline.runs import finished_run
from letterlib.pipeline.systems import FLOOR, FLOORS, LABELS, QUICK, find_system
from letterlib.pipeline.tokenizer_analysis import TIGERS, analyse_tokenizers, effects
from letterlib.store import atomic_write, digest, write_text
from letterlib.tokenizer.letter import LetterTokenizer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAIRS = [
    ("sasrec-tuned", "popularity"),
    ("letter-tiger", "popularity"),
    ("letter-tiger", "markov"),
    ("sasrec-tuned", "markov"),
    ("sasrec-tuned", "sasrec"),
    ("letter-tiger", "tiger"),
    ("letter-tiger", "sasrec-tuned"),
    ("letter-tiger", "p5-cid"),
    ("tiger", "tiger-kmeans"),
    ("tiger", "tiger-random"),
    ("bigrec", "popularity"),
    ("letter-lc-rec", "popularity"),
    ("letter-lc-rec", "bigrec"),
    ("letter-lc-rec", "lc-rec"),
    ("letter-lc-rec", "letter-tiger"),
]
"""The comparisons that a reader asks for first."""

LISTS = (
    "R@10 by kind of case, history left in. Seen: one of the last six items came before the "
    "target, within six places, in somebody's training part. Repeat: the target is in the "
    "history. Tied: the target has the time of the item before it, and their order is random. "
    "Head, middle, tail: how popular the target was in training, a third of the interactions "
    "each; cold has none. Then R@10 counting every item that has the target's identifier, and the "
    "Gini coefficient of how often each item is shown."
)


def gather(
    pipelines: Sequence[Pipeline], systems: Sequence[str], *, skip_failed: bool = False
) -> tuple[list[Run], dict[str, LetterError]]:
    """Train and evaluate every system under every pipeline, or find it in the cache.

    pipelines: the same configuration with several seeds.
    skip_failed: go on with the other systems where one fails.
    Returns the runs, and why systems have none. A system that needs what the data set does not
    have (Unavailable) never stops the others. Raises the first reason where nothing succeeded.
    """
    runs, reasons = [], {}
    pipelines[0].check_systems(systems)
    for name in systems:
        try:
            runs += [finished_run(pipeline, name) for pipeline in pipelines]
        except LetterError as reason:
            fatal = not skip_failed or n_processes() > 1  # the others are still in this system
            if fatal and not isinstance(reason, Unavailable):
                raise
            reasons[name] = reason
    if not runs:
        raise min(reasons.values(), key=lambda reason: isinstance(reason, Unavailable))
    return runs, reasons


def with_floors(pipelines: Sequence[Pipeline], runs: list[Run]) -> list[Run]:
    """The same runs, with those of the floors that are not among them in front.

    The repeat floor is one where users come back to items.
    """
    floors = [*FLOORS] + ["repeat"] * bool(pipelines[0].dataset.repeats.any())
    lacking = [name for name in floors if name not in {run.system for run in runs}]
    return (gather(pipelines, lacking)[0] if lacking else []) + runs


def by_system(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each system, one for every seed."""
    return {own[0].system: own for own in by_setting(runs)}


def write_table(
    pipeline: Pipeline,
    n_seeds: int,
    systems: list[str],
    metrics: Sequence[str] = (),
    json: bool = False,
) -> None:
    """Compare systems over several seeds, beginning with the pipeline's own.

    Prints the table and what can be said of it, and writes it to a folder of the cache: Markdown,
    CSV, LaTeX, a figure, and `runs.parquet`, from which all of it can be computed again.
    metrics, json: as in `shown`.
    Raises LetterError at the end if a system failed.
    """
    pipelines, say = with_seeds(pipeline, n_seeds), pipeline.cache.say
    runs, reasons = gather(pipelines, systems, skip_failed=True)
    runs = with_floors(pipelines, runs)
    sentences = [floor_sentence(runs), *comparisons(runs)]
    sentences += [f"Without {LABELS.get(name, name)}. {why}." for name, why in reasons.items()]
    if {*TIGERS} <= {run.system for run in runs}:
        sentences += effects([analyse_tokenizers(own) for own in pipelines])
    print_result(shown(pipeline, runs, sentences, metrics, json))
    first = pipeline.config.seed
    seeds = f"{n_seeds}seeds" if first == 0 else f"seeds{first}to{first + n_seeds - 1}"
    folder = pipeline.cache.folder / "tables" / folder_name(pipeline, seeds, systems, QUICK)
    _write(folder, pipeline, runs, sentences, metrics)
    say(f"Written to {folder}")
    failed = [name for name, reason in reasons.items() if not isinstance(reason, Unavailable)]
    if failed:
        raise LetterError(f"{len(failed)} of {len(systems)} systems failed (see above): {failed}")


def _write(
    folder: Path,
    pipeline: Pipeline,
    runs: list[Run],
    sentences: list[str],
    metrics: Sequence[str],
) -> None:
    title = heading(pipeline, runs)
    table, lists = summary(runs), lists_frame(runs)
    write_text(folder / "table.md", as_markdown(title, runs, sentences))
    write_runs(folder / "runs.parquet", runs)
    with atomic_write(folder / "table.csv") as path:
        table.merge(lists, on="system").to_csv(path, index=False)
    caption, label = " ".join([f"{title}.", *provenance(runs)]), f"tab:{folder.name}"
    first = metrics_in_latex(runs, metrics, caption, label)
    write_text(folder / "table.tex", f"{first}\n{to_latex(lists, LISTS, f'{label}-lists')}")
    from matplotlib.pyplot import close

    with atomic_write(folder / "systems.png") as path:
        axes = forest(runs)
        axes.figure.savefig(path, dpi=130)
        close(axes.figure)


def forest(runs: Sequence[Run]) -> "Axes":
    """R@10 of every system with its interval."""
    from letterlib import plots  # of an extra

    systems = by_system(runs)
    floors = [own[0].label for name, own in systems.items() if find_system(name).family == FLOOR]
    return plots.system_forest({o[0].label: mean_interval(o) for o in systems.values()}, floors)


def as_markdown(title: str, runs: Sequence[Run], sentences: Sequence[str]) -> str:
    """Both tables, and what can be said of them."""
    options = dict(index=False, disable_numparse=True)
    rows, others = summary(runs).to_markdown(**options), lists_frame(runs).to_markdown(**options)
    said = [f"- {sentence}" for sentence in sentences if sentence]
    about = f"{LISTS} {_counted(runs)}"
    parts = [f"{title}.", " ".join(provenance(runs)), rows, "\n".join(said), about, others]
    return "\n\n".join(parts) + "\n"


def shown(
    pipeline: Pipeline,
    runs: Sequence[Run],
    sentences: Sequence[str],
    metrics: Sequence[str] = (),
    json: bool = False,
) -> str:
    """What a command prints: `as_text`, or `results.as_json`.

    metrics: the columns, such as "MRR@20"; the usual ones if empty.
    """
    return as_json(runs, metrics) if json else as_text(pipeline, runs, sentences, metrics)


def print_result(text: str) -> None:
    """On stdout, by the main process alone."""
    if is_main():
        print(text, flush=True)


def as_text(
    pipeline: Pipeline,
    runs: Sequence[Run],
    sentences: Sequence[str],
    metrics: Sequence[str] = (),
) -> str:
    """The table for a terminal."""
    origin = textwrap.fill(" ".join(provenance(runs)), 120)
    table = summary(runs, metrics=metrics).set_index("system").to_string()
    lists = lists_frame(runs).set_index("system").to_string()
    about = textwrap.fill(f"R@10 by kind of case, history left in. {_counted(runs)}", 120)
    tables = [table, "", about, "", lists, ""]
    return "\n".join([heading(pipeline, runs), origin, "", *tables, *filter(None, sentences)])


def _counted(runs: Sequence[Run]) -> str:
    counts = [f"{n:,} {kind}" for kind, n in case_counts(runs).items()]
    return f"Cases: {', '.join(counts)}." if counts else ""


def evaluated(
    pipeline: Pipeline, system: str, metrics: Sequence[str] = (), json: bool = False
) -> str:
    """The table of one system below the two floors. metrics, json: as in `shown`."""
    runs = with_floors([pipeline], gather([pipeline], [system])[0])
    return shown(pipeline, runs, [floor_sentence(runs)], metrics, json)


def with_seeds(pipeline: Pipeline, n_seeds: int) -> list[Pipeline]:
    """The pipeline under `n_seeds` seeds, beginning with its own."""
    first = pipeline.config.seed
    if first + n_seeds > SEEDS:
        raise LetterError(f"{n_seeds} seeds from {first} on: the last one is {SEEDS - 1}")
    return [pipeline.with_seed(first + i) for i in range(n_seeds)]


def lists_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """What the lists find and show, one row a system; see LISTS.

    A pair of kinds is left out where all cases are of one.
    """
    kinds, rows = case_counts(runs), []
    for own in by_setting(runs):
        metrics = [run.metrics() for run in own]
        means = {n: f"{np.mean([one[n] for one in metrics]):.4f}" for n in metrics[0]}
        row = {"system": own[0].label}
        for kind in kinds:
            of_kind = [run.values()[is_kind(run.kinds, kind)] for run in own]
            row[kind] = f"{np.mean(of_kind):.4f}" if of_kind[0].size else "-"
        for group in GROUPS:
            row[group] = means.get(f"R@10 {group}", "-")
        row["identifiers"] = means.get("identifier R@10", "-")
        rows.append(row | {"exposure Gini": means["exposure Gini"]})
    return pd.DataFrame(rows)


def case_counts(runs: Sequence[Run]) -> dict[str, int]:
    """Kind of case -> how many there are; without the kinds of which no case, or every case, is."""
    kinds = max((run.kinds for run in runs), key=len)  # a language model answers a sample
    counts = {name: int(is_kind(kinds, name).sum()) for name in KINDS}
    return {name: n for name, n in counts.items() if 0 < n < len(kinds)}


def comparisons(runs: Sequence[Run]) -> list[str]:
    """A sentence for each of PAIRS: R@10, history left in, then filtered out."""
    systems, sentences = by_system(runs), []
    for a, b in PAIRS:
        if a not in systems or b not in systems:
            continue
        found = [compare(systems[a], systems[b], history=history) for history in ("in", "out")]
        parts = [f"history {c.history}: {c.difference:+.4f}, {c.verdict}" for c in found]
        n_cases = found[0].n_cases
        most = max(len(own[0].cases) for own in (systems[a], systems[b]))
        where = f" on {n_cases:,} cases" if n_cases < most else ""
        sentences.append(f"{LABELS[a]} against {LABELS[b]}, R@10{where}. {'; '.join(parts)}.")
    return sentences


def floor_sentence(runs: Sequence[Run]) -> str:
    """Which trained systems are below the Markov floor, and which do not differ from it.

    The protocol asks for it: a system below has not yet learned the sequence. "" without a
    trained system.
    """
    systems, below, near = by_system(runs), [], []
    trained = {name: own for name, own in systems.items() if find_system(name).family != FLOOR}
    if not trained:
        return ""
    for own in trained.values():
        difference = compare(own, systems["markov"], "N@10", "out").difference
        if not difference.excludes_zero:
            near.append(own[0].label)
        elif difference.mean < 0:
            below.append(own[0].label)
    level = np.mean([run.values("N@10", "out").mean() for run in systems["markov"]])
    where = f"the Markov floor (N@10 {level:.4f}, history out)"
    same = f" No significant difference: {'; '.join(near)}." if near else ""
    if below:
        what = "These have not yet learned more of the sequence than counting does."
        return f"Below {where}: {'; '.join(below)}. {what}{same}"
    if near:
        return f"No trained system is below {where}.{same}"
    return f"Every trained system clears {where}."


def heading(pipeline: Pipeline, runs: Sequence[Run]) -> str:
    """Data set, profile, seeds, split and cases, in a line."""
    config, changed = pipeline.config, changes(pipeline.config)
    most = max(runs, key=lambda run: len(run.cases))  # a language model answers a sample
    n_seeds, seed = len({run.seed for run in runs}), config.seed
    seeds = f"seeds {seed}-{seed + n_seeds - 1}" if seed else f"{n_seeds} seeds"
    split = "its own split" if pipeline.dataset.held is not None else None
    split = split or ("leave-one-out" if config.held_out == 1 else f"last {config.held_out} items")
    profile = f"profile {config.profile}" + (f" with {', '.join(changed)}" if changed else "")
    return (
        f"{pipeline.dataset.name}, {profile}, {f'seed {seed}' if n_seeds == 1 else seeds}: "
        f"test = {split}, {len(most.cases):,} cases of {len(np.unique(most.users)):,} users, "
        f"full ranking of {pipeline.dataset.n_items:,} items"
    )


def folder_name(
    pipeline: Pipeline, seeds: str, systems: Sequence[str], usual: Sequence[str]
) -> str:
    """What the folder of a table or a report is called.

    A changed profile, or other systems than `usual`, end in a hash of both.
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
        f"  {dataset.n_users:,} users, {dataset.n_items:,} items, {dataset.n_interactions:,} "
        "interactions",
        f"  items per user: mean {lengths.mean():.1f}, median {np.median(lengths):.0f}, longest "
        f"{lengths.max():,}",
        "  split: its own"
        if dataset.held is not None
        else f"  last {split.held_out} item(s) test, {split.held_out} before them validation, the "
        "rest training",
    ]
    lines += [f"  {part}: {len(split.cases(part)):,} cases" for part in ("train", "valid", "test")]
    lines.append(
        f"  items never seen in training: {unseen:,}; users without a case: "
        f"{split.users_without_cases:,}"
    )
    return "\n".join(lines)


def describe_tokenizer(tokenizer: LetterTokenizer) -> str:
    """Collisions and their repair, dead codes and reconstruction error of a trained tokenizer."""
    report, identifiers = tokenizer.report, tokenizer.identifiers()
    repair = report.collisions
    many = identifiers.n_items / 20
    note = " (many: lists order these by chance)" if repair.colliding_after > many else ""
    lines = [
        f"{identifiers.n_items:,} items, {identifiers.n_levels} levels of "
        f"{identifiers.level_sizes[0]} codes",
        f"  items that share an identifier: {repair.colliding_before:,} before the repair, "
        f"{repair.colliding_after:,} after it{note}",
    ]
    if repair.moved:
        lines.append(
            f"  the repair gave {repair.moved:,} items another last code; squared distance "
            f"{repair.distance_before:.2f} -> {repair.distance_after:.2f}"
        )
    errors = ", ".join(f"{error:.3f}" for error in report.reconstruction_error)
    return "\n".join(
        [
            *lines,
            f"  dead codes per level: {', '.join(map(str, report.dead_codes))}",
            f"  variance left unexplained by 1, 2, ... codes: {errors}",
            f"  item 0 is {' '.join(identifiers.tokens(0))}",
        ]
    )
