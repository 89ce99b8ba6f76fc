"""Several seeds in one table: what `letterlib table` prints and writes."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from letterlib import plots
from letterlib.data.dataset import sampled_rows
from letterlib.errors import LetterError, Unavailable
from letterlib.pipeline.analysis_run import TIGERS, analyse_tokenizers, effects
from letterlib.pipeline.cache import ELSEWHERE, versions
from letterlib.pipeline.config import SEEDS
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.sentences import as_text, comparisons, floor_sentence
from letterlib.pipeline.systems import FLOOR, QUICK, find_system
from letterlib.pipeline.tables import (
    IN_LATEX,
    SystemResult,
    folder_name,
    gather,
    heading,
    lists_frame,
    of_other_data,
    provenance,
    results_frame,
    with_floors,
)
from letterlib.store import atomic_write, write_json, write_text

LISTS = (
    "Whom the lists find, and what they show, history left in: R@10 by how popular the target was in training (head, "
    "middle and tail have a third of the interactions each; unseen has none), R@10 counting every item that has the "
    "target's identifier, and the Gini coefficient of how often each item is shown."
)


def seeds_table(pipeline: Pipeline, n_seeds: int, systems: list[str]) -> None:
    """Run or find every stage of `systems` and of the floors, for `n_seeds` seeds beginning with
    the pipeline's own.

    The table with its sentences is said, and then written in a folder of the cache: as Markdown,
    CSV, LaTeX, JSON and a figure, with the rank of every target in every list, from which all of it
    can be computed again. Where a system fails, the table of the others is said and written all the
    same, and then a LetterError is raised.
    """
    pipelines, say = with_seeds(pipeline, n_seeds), pipeline.cache.say
    results, reasons = gather(pipelines, systems, go_on=True)
    results = with_floors(pipelines, results)
    left_out = [f"Without {find_system(name).label}. {reason}." for name, reason in reasons.items()]
    sentences = [*filter(None, [floor_sentence(results)]), *comparisons(results), *left_out]
    if set(TIGERS) <= set(results):
        sentences += effects([analyse_tokenizers(p) for p in pipelines])
    frame = results_frame(results)
    say(f"\n{as_text(pipeline, results, frame, sentences)}\n")
    first = pipeline.config.seed
    seeds = f"{n_seeds}seeds" if first == 0 else f"seeds{first}to{first + n_seeds - 1}"
    folder = pipeline.cache.folder / "tables" / folder_name(pipeline, seeds, systems, QUICK)
    if of_other_data(folder / "table.json", pipeline):
        say(f"{folder}: held the table of other data of this name, which is replaced")
    try:
        _write(folder, results, frame, sentences, pipelines)
    except LetterError as error:
        raise LetterError(f"{error} ({ELSEWHERE})") from error
    say(f"Written to {folder}")
    failed = [
        find_system(name).label
        for name, reason in reasons.items()
        if not isinstance(reason, Unavailable)
    ]
    if failed:
        raise LetterError(
            f"{len(failed)} of {len(systems)} systems failed, why is said above: {'; '.join(failed)}"
        )


def _write(
    folder: Path,
    results: dict[str, SystemResult],
    frame: pd.DataFrame,
    sentences: list[str],
    pipelines: list[Pipeline],
) -> None:
    title = heading(pipelines[0], results, len(pipelines))
    lists = lists_frame(
        {name: [seed.metrics() for seed in one.history_in] for name, one in results.items()}
    )
    write_text(
        folder / "table.md",
        as_markdown(title, provenance(pipelines[0], results), frame, lists, sentences),
    )
    with atomic_write(folder / "table.csv") as temporary:
        frame.join(lists).to_csv(temporary)
    with atomic_write(folder / "ranks.parquet") as temporary:
        ranks_frame(pipelines[0], results).to_parquet(temporary, index=False)
    captions = {"": f"{title}. {provenance(pipelines[0], results)}", "-lists": LISTS}
    in_latex = [
        one.to_latex(
            escape=True, caption=caption.translate(IN_LATEX), label=f"tab:{folder.name}{end}"
        )
        for one, (end, caption) in zip((frame, lists), captions.items(), strict=True)
    ]
    write_text(folder / "table.tex", "\n".join(in_latex))
    floors = [find_system(name).label for name in results if find_system(name).family == FLOOR]
    axes = plots.system_forest(
        {find_system(name).label: one.interval() for name, one in results.items()}, floors
    )
    with atomic_write(folder / "systems.png") as temporary:
        axes.figure.savefig(temporary, dpi=130)
    plt.close(axes.figure)
    write_json(
        folder / "table.json",
        {
            "heading": title,
            "dataset": {
                "source": pipelines[0].dataset.source,
                "fingerprint": pipelines[0].dataset.fingerprint,
            },
            "config": pipelines[0].config.model_dump(mode="json"),
            "seeds": [p.config.seed for p in pipelines],
            "device": pipelines[0].cache.devices(),
            "versions": versions(),
            "sentences": sentences,
            "systems": {name: _for_json(one) for name, one in results.items()},
        },
    )


def as_markdown(
    title: str, origin: str, frame: pd.DataFrame, lists: pd.DataFrame, sentences: list[str]
) -> str:
    """Both tables, of `results_frame` and `lists_frame`, and what can be said of them."""
    rows, others = (
        one.to_markdown(disable_numparse=True) for one in (frame, lists)
    )  # or it would write 0.032
    parts = [
        f"{title}.",
        "",
        origin,
        "",
        rows,
        "",
        *(f"- {one}" for one in sentences),
        "",
        LISTS,
        "",
        others,
        "",
    ]
    return "\n".join(parts)


def with_seeds(pipeline: Pipeline, n_seeds: int) -> list[Pipeline]:
    """The pipeline under `n_seeds` seeds beginning with its own. LetterError where these go beyond
    the last one.
    """
    first = pipeline.config.seed
    if first + n_seeds > SEEDS:
        raise LetterError(
            f"{n_seeds} seeds from {first} on: the last one is {SEEDS - 1}; choose a lower --seed"
        )
    return [pipeline.with_seed(first + i) for i in range(n_seeds)]


def _for_json(result: SystemResult) -> dict:
    return {
        "history in": [one.metrics() for one in result.history_in],
        "history out": [one.metrics() for one in result.history_out],
        "seconds": result.seconds,
        "parameters": result.parameters,
    }


def ranks_frame(pipeline: Pipeline, results: dict[str, SystemResult]) -> pd.DataFrame:
    """Where each target stands in each list: one row a system, seed and test case.

    case: which of the split's test cases. user, history (its length), group (of the target's
    popularity): of the case. rank, "rank, history out": the target's place in the list, from 0;
    that of a missing target is what `ranks_of` says.
    """
    cases = pipeline.split.cases("test")
    parts = []
    for name, one in results.items():
        rows = sampled_rows(len(cases), one.n_cases, seed=0)
        for i, (inside, outside) in enumerate(zip(one.history_in, one.history_out, strict=True)):
            parts.append(
                pd.DataFrame(
                    {
                        "system": name,
                        "seed": np.int64(pipeline.config.seed + i),
                        "case": rows.astype(np.int32),
                        "user": inside.users.astype(np.int32),
                        "history": cases.lengths[rows].astype(np.int32),
                        "group": inside.groups,
                        "rank": inside.ranks.astype(np.int32),
                        "rank, history out": outside.ranks.astype(np.int32),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True).astype({"system": "category", "group": "category"})
