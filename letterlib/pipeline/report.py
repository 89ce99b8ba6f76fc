"""A run's report: one HTML file that needs no other."""

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from letterlib import plots
from letterlib.analysis.code_usage import code_loads
from letterlib.analysis.geometry import sphere_projection
from letterlib.analysis.purity import genre_purity
from letterlib.errors import optional
from letterlib.pipeline.cache import versions
from letterlib.pipeline.pipeline import EXACT_CASES, Pipeline
from letterlib.pipeline.results import Run, summary, write_runs
from letterlib.pipeline.systems import FIRST_RUN, LABELS, SYSTEMS
from letterlib.pipeline.table import (
    as_text,
    by_system,
    comparisons,
    floor_sentence,
    folder_name,
    forest,
    gather,
    heading,
)
from letterlib.pipeline.tokenizer_analysis import (
    TIGERS,
    VARIANT_NAMES,
    TokenizerAnalysis,
    analyse_tokenizers,
    bias_frame,
    effects,
    tokenizer_frame,
)
from letterlib.store import write_text

with optional("plots"):
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes


@dataclass
class Figure:
    png: str
    caption: str


@dataclass
class Section:
    title: str
    paragraphs: list[str] = field(default_factory=list)
    table: str = ""
    figures: list[Figure] = field(default_factory=list)


def run_all(pipeline: Pipeline, systems: list[str]) -> None:
    """Train and evaluate `systems`, or find them; print the table, and write a report."""
    pipeline.dataset.texts()  # raises, before hours of training, where items have no text
    runs, _ = gather([pipeline], systems)
    pipeline.cache.say(f"\n{as_text(pipeline, runs, [floor_sentence(runs)])}\n")
    page = render(pipeline, runs, analyse_tokenizers(pipeline))
    name = folder_name(pipeline, f"seed{pipeline.config.seed}", systems, FIRST_RUN)
    folder = pipeline.cache.folder / "reports" / name
    write_runs(folder / "runs.parquet", runs)
    write_text(folder / "report.html", page)
    pipeline.cache.say(f"Report: {folder / 'report.html'}")


def render(pipeline: Pipeline, runs: Sequence[Run], analysis: TokenizerAnalysis) -> str:
    """The page."""
    template = jinja2.Environment(autoescape=False, undefined=jinja2.StrictUndefined).from_string(
        Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    )
    sections = [
        systems_section(pipeline, runs),
        tokenizer_section(analysis, pipeline),
        training_section(pipeline),
    ]
    return template.render(
        dataset=html.escape(pipeline.dataset.name),
        heading=html.escape(heading(pipeline, runs)),
        source=html.escape(pipeline.dataset.source),
        table=to_html(summary(runs)),
        floor=html.escape(floor_sentence(runs)),
        comparisons=[html.escape(sentence) for sentence in comparisons(runs)],
        sections=sections,
        device=html.escape(pipeline.cache.devices()),
        seed=pipeline.config.seed,
        stages=to_html(stages_frame(pipeline)),
        versions=html.escape(json.dumps(versions(), indent=1)),
        configuration=html.escape(pipeline.config.model_dump_json(indent=1)),
    )


def systems_section(pipeline: Pipeline, runs: Sequence[Run]) -> Section:
    width, n_cases = pipeline.config.tiger.beam, min(EXACT_CASES, len(pipeline.split.cases("test")))
    decoding = {LABELS[name]: pipeline.decoding(name) for name in TIGERS}
    found = [f"{name} finds {shares['top 10']:.1%}" for name, shares in decoding.items()]
    valid = [f"{name} {shares['valid without the trie']:.1%}" for name, shares in decoding.items()]
    metrics = {own[0].label: own[0].metrics() for own in by_system(runs).values()}
    return Section(
        "Every system on one axis",
        [
            f"Beams of {width} against exact scoring of the whole catalogue, {n_cases} test cases. "
            f"Of the ten best items, {html.escape('; '.join(found))}.",
            "Of the ten best sequences without the trie, so many are an item's identifier: "
            f"{html.escape('; '.join(valid))}.",
        ],
        figures=[
            picture(
                forest(runs), "R@10 with 95% intervals over users, history left in. Grey: floors."
            ),
            picture(
                plots.recall_by_popularity(metrics),
                "R@10 by how popular the target was in training. Head, middle and tail have a "
                "third "
                "of the training interactions each.",
            ),
        ],
    )


def tokenizer_section(analysis: TokenizerAnalysis, pipeline: Pipeline) -> Section:
    names = {variant: VARIANT_NAMES[variant] for variant in analysis.tokenizers}
    loads = {names[variant]: _first_loads(analysis, variant) for variant in names}
    figures = [
        picture(
            plots.first_code_frequency(loads),
            "How the catalogue is spread over the codes of the first level.",
        ),
        picture(
            plots.code_usage_by_level({names[a]: u for a, u in analysis.usage.items()}),
            "Perplexity: how many equally used codes would be as uncertain. Dotted: all codes.",
        ),
        picture(
            plots.collaborative_signal_by_level({names[a]: s for a, s in analysis.signal.items()}),
            "Does an item share its codes with the item that the same people like?",
        ),
        *(
            picture(
                _sphere(analysis, variant),
                f"{names[variant]}: first-level code embeddings, three principal components, "
                "on a sphere.",
            )
            for variant in ("plain", "letter")
        ),
    ]
    if "genres" in pipeline.dataset.items and any(pipeline.dataset.items["genres"]):
        genres = pipeline.dataset.items["genres"].tolist()
        purity = {
            names[a]: genre_purity(analysis.codes[a], genres, seed=0) for a in ("plain", "letter")
        }
        caption = (
            "Do items that share their first codes share a genre? Grey: identifiers dealt "
            "out at random."
        )
        figures.append(picture(plots.genre_purity_by_prefix(purity), caption))
    bias = bias_frame(pipeline)
    bias_words = "; ".join(
        f"{LABELS[system]}: " + ", ".join(f"{name} {value}" for name, value in row.items())
        for system, row in bias.iterrows()
    )
    return Section(
        "The tokenizers, with and without each regularizer",
        [
            *map(html.escape, effects([analysis])),
            html.escape(
                f"Generation bias, first codes of the generated lists, in nats. {bias_words}."
            ),
        ],
        to_html(tokenizer_frame(analysis).reset_index()),
        figures,
    )


def _first_loads(analysis: TokenizerAnalysis, variant: str) -> np.ndarray:
    return code_loads(analysis.codes[variant], 0, analysis.tokenizers[variant].config.n_codes)


def _sphere(analysis: TokenizerAnalysis, variant: str) -> Axes:
    points = sphere_projection(analysis.tokenizers[variant].codebooks()[0])
    return plots.code_sphere(points, _first_loads(analysis, variant), VARIANT_NAMES[variant])


def training_section(pipeline: Pipeline) -> Section:
    curves = {
        _judged(name): pipeline.log(name).validations
        for name in ("sasrec-tuned", "lightgcn", *TIGERS)
    }
    axes = plots.training_curves(curves, "validation NDCG@10", higher_is_better=True)
    return Section(
        "Training", figures=[picture(axes, "The marked epoch is the one whose weights were kept.")]
    )


def _judged(name: str) -> str:
    return LABELS[name] + (", history filtered out" if SYSTEMS[name].leaves_out_history else "")


def picture(axes: Axes, caption: str) -> Figure:
    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="png", dpi=130)
    plt.close(axes.figure)
    return Figure(base64.b64encode(buffer.getvalue()).decode(), html.escape(caption))


def stages_frame(pipeline: Pipeline) -> pd.DataFrame:
    """Every stage of the run: seconds, peak memory, where it lies."""
    rows = {}
    for stage in pipeline.cache.finished:
        rows[stage.name] = {
            "seconds": f"{stage.seconds:.1f}",
            "peak memory, MiB": f"{stage.record['peak_memory_mb']:,}",
            "of a GPU, MiB": f"{stage.record.get('peak_gpu_memory_mb', 0):,}",
            "from cache": "yes" if stage.from_cache else "no",
            "folder": f"{stage.name}/{stage.key}",
        }
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis("stage")
    frame = frame.loc[:, (frame != "0").any()]  # without a GPU there is no memory of one
    return frame.reset_index()


def to_html(frame: pd.DataFrame) -> str:
    return frame.to_html(index=False, border=0, escape=True)
