"""Several seeds in one table: what `letterlib table` prints and writes."""

from pathlib import Path

import matplotlib.pyplot as plt

from letterlib import plots
from letterlib.experiments.analysis_run import analyse_tokenizers, effects
from letterlib.experiments.cache import device_in_words, versions
from letterlib.experiments.pipeline import FLOORS, SYSTEMS, Pipeline
from letterlib.experiments.tables import comparisons, floor_sentence, gather, heading, results_frame
from letterlib.files import write_json, written_beside


def seeds_table(pipeline: Pipeline, n_seeds: int, systems: list[str]) -> tuple[str, Path]:
    """Run or find every stage of `systems` for `n_seeds` seeds beginning with the pipeline's own.

    Returns the table with its sentences as text, and the folder that holds it as Markdown, CSV, JSON and a figure.
    """
    first = pipeline.config.seed
    pipelines = [pipeline.with_seed(first + i) for i in range(n_seeds)]
    results = gather(pipelines, systems)
    sentences = [floor_sentence(results), *comparisons(results), *effects([analyse_tokenizers(p) for p in pipelines])]
    frame, title = results_frame(results), heading(pipeline, results, n_seeds)
    config = pipeline.config
    folder = pipeline.cache.folder / "tables" / f"{pipeline.dataset.name}-{config.profile}-{n_seeds}seeds"
    markdown = "\n".join([f"{title}.\n", frame.to_markdown(), "", *(f"- {one}" for one in sentences), ""])
    with written_beside(folder / "table.md") as beside:
        beside.write_text(markdown, encoding="utf-8")
    with written_beside(folder / "table.csv") as beside:
        frame.to_csv(beside)
    axes = plots.system_forest(
        {SYSTEMS[name]: one.interval() for name, one in results.items()}, floors=[SYSTEMS[name] for name in FLOORS]
    )
    with written_beside(folder / "systems.png") as beside:
        axes.figure.savefig(beside, dpi=130)
    plt.close(axes.figure)
    write_json(
        folder / "table.json",
        {
            "heading": title,
            "config": config.model_dump(mode="json"),
            "seeds": [p.config.seed for p in pipelines],
            "device": device_in_words(pipeline.device),
            "versions": versions(),
            "sentences": sentences,
            "systems": {
                name: {
                    "history in": [one.metrics() for one in result.history_in],
                    "history out": [one.metrics() for one in result.history_out],
                }
                for name, result in results.items()
            },
        },
    )
    return "\n".join([title, "", frame.to_string(), "", *sentences]), folder
