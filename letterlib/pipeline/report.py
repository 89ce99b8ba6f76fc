"""The report of a run, or of finished runs such as those of a grid: one HTML file."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from letterlib import plots
from letterlib.analysis.code_usage import code_loads
from letterlib.analysis.geometry import sphere_projection
from letterlib.analysis.purity import genre_purity
from letterlib.data.dataset import NO_ITEM
from letterlib.errors import optional
from letterlib.evaluation.evaluate import LISTED
from letterlib.pipeline.cache import versions
from letterlib.pipeline.pipeline import EXACT_CASES, Pipeline
from letterlib.pipeline.results import (
    Run,
    by_setting,
    mean_interval,
    provenance,
    setting_text,
    summary,
    told_apart,
    write_runs,
)
from letterlib.pipeline.systems import FIRST_RUN, LABELS, SYSTEMS
from letterlib.pipeline.table import (
    by_system,
    comparisons,
    floor_sentence,
    folder_name,
    forest,
    gather,
    heading,
    print_result,
    shown,
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
    svg: str
    caption: str


@dataclass
class Section:
    title: str
    paragraphs: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    folded: dict[str, str] = field(default_factory=dict)


def run_all(
    pipeline: Pipeline, systems: list[str], metrics: Sequence[str] = (), json: bool = False
) -> None:
    """Train and evaluate `systems`, or find them; print the table, and write a report.

    metrics, json: as in `table.shown`.
    """
    pipeline.dataset.texts()  # raises, before hours of training, where items have no text
    runs, _ = gather([pipeline], systems)
    print_result(shown(pipeline, runs, [floor_sentence(runs)], metrics, json))
    page = render(pipeline, runs, analyse_tokenizers(pipeline))
    name = folder_name(pipeline, f"seed{pipeline.config.seed}", systems, FIRST_RUN)
    folder = pipeline.cache.folder / "reports" / name
    write_runs(folder / "runs.parquet", runs)
    write_text(folder / "report.html", page)
    pipeline.cache.say(f"Report: {folder / 'report.html'}")


def render(pipeline: Pipeline, runs: Sequence[Run], analysis: TokenizerAnalysis) -> str:
    """The page of a run."""
    sections = [
        results_section(runs),
        example_section(pipeline),
        systems_section(pipeline, runs),
        tokenizer_section(analysis, pipeline),
        training_section(pipeline),
        making_section(pipeline),
    ]
    title = f"LETTER on {pipeline.dataset.name}"
    return _page(title, heading(pipeline, runs), pipeline.dataset.source, sections)


def render_results(runs: Sequence[Run], about: str = "") -> str:
    """The page of finished runs, such as those of a grid: their table and figure by data set.

    about: what they were made for.
    """
    sections = []
    for name in dict.fromkeys(run.dataset for run in runs):
        own = [run for run in runs if run.dataset == name]
        settings = by_setting(own)
        told = told_apart(settings)
        labels = [_label(setting[0], told) for setting in settings]
        intervals = dict(zip(labels, map(mean_interval, settings), strict=True))
        section = Section(name, tables=[to_html(summary(own, brief=True))])
        section.paragraphs = provenance(own)
        if len(intervals) == len(settings):
            figure = plots.system_forest(intervals)
            section.figures = [picture(figure, "R@10, history left in; 95% intervals.")]
        sections.append(section)
    seeds = len({run.seed for run in runs})
    counted = f"{len(runs)} runs of {len(by_setting(runs))} settings, up to {seeds} seeds"
    return _page("Finished runs", counted, about, sections)


def _label(run: Run, told: Sequence[str]) -> str:
    values = {name: run.parameters[name] for name in told}
    words = (f"{name}={setting_text(value)}" for name, value in values.items() if value)
    return " ".join([run.label, *words])


def _page(title: str, heading: str, source: str, sections: Sequence[Section]) -> str:
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    )
    return template.render(title=title, heading=heading, source=source, sections=sections)


def results_section(runs: Sequence[Run]) -> Section:
    return Section(
        "What was recommended, and how well",
        [
            Markup(
                "R is recall, N is NDCG; a hit is the item itself. In brackets: 95% bootstrap "
                "interval over users. “History out” leaves the items of a user's own history out "
                "of the list; the paper leaves them in. “Last case” is each user's last item "
                "alone; with <code>--set held_out=1</code> there is no other case, and systems "
                "train on what the others held out. Coverage is the share of the catalogue that "
                "appears in any top 10. Seconds are training and evaluation, interrupted attempts "
                "included."
            ),
            Markup("<strong>{}</strong>").format(floor_sentence(runs)),
        ],
        tables=[to_html(summary(runs))],
        points=comparisons(runs),
    )


def example_section(pipeline: Pipeline) -> Section:
    """One item with its tokens, and one user with history, list and target.

    The first test case whose target LETTER-TIGER lists among the first ten; else the first case.
    """
    titles, identifiers = pipeline.dataset.titles(), pipeline.identifiers("letter")
    cases, ranking = pipeline.test_cases("letter-tiger"), pipeline.ranking("letter-tiger")
    listed = ranking.items[:, :LISTED]
    found = np.flatnonzero((listed == cases.targets[:, None]).any(axis=1))
    case = int(found[0]) if len(found) else 0
    target, codes = int(cases.targets[case]), identifiers.codes
    shared = np.cumprod(codes == codes[target], axis=1).sum(axis=1)
    shared[target] = -1
    near = np.argsort(-shared, kind="stable")[:3]

    def rows(items: Sequence[int], **columns: Sequence[str]) -> str:
        frame = pd.DataFrame(columns | {"item": [titles[i] for i in items]})
        frame["tokens"] = [" ".join(identifiers.tokens(int(i))) for i in items]
        return to_html(frame, classes="words")

    history, ten = cases.history(case)[-10:], [i for i in listed[case] if i != NO_ITEM]
    user = str(pipeline.dataset.user_labels[cases.users[case]])
    marks = [f"{n}, the target" if i == target else str(n) for n, i in enumerate(ten, start=1)]
    rank = f"at place {ten.index(target) + 1}" if target in ten else "not among the first ten"
    return Section(
        "One item, one user",
        [
            f"First, an item and those whose tokens begin like its own. Then user {user}: the last "
            f"{len(history)} items of the history, oldest first, and LETTER-TIGER's list. The "
            f"next item was “{titles[target]}”, {rank}.",
        ],
        [
            rows([target, *near], **{"shared tokens": ["all", *(str(shared[i]) for i in near)]}),
            rows(history, history=[str(n) for n in range(len(history), 0, -1)]),
            rows(ten, place=marks),
        ],
    )


def making_section(pipeline: Pipeline) -> Section:
    return Section(
        "How it was made",
        [
            f"Computed on {pipeline.cache.devices()}. Seed {pipeline.config.seed}. Stages that "
            "were found in the cache show the seconds of the run that made them. Peak memory "
            "is that of the whole process up to the end of the stage."
        ],
        [to_html(stages_frame(pipeline))],
        folded={
            "Versions": json.dumps(versions(), indent=1),
            "Configuration": pipeline.config.model_dump_json(indent=1),
        },
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
            f"Of the ten best items, {'; '.join(found)}.",
            "Of the ten best sequences without the trie, so many are an item's identifier: "
            f"{'; '.join(valid)}.",
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
            *effects([analysis]),
            f"Generation bias, first codes of the generated lists, in nats. {bias_words}.",
        ],
        [to_html(tokenizer_frame(analysis).reset_index())],
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
    axes.figure.savefig(buffer, format="svg")
    plt.close(axes.figure)
    return Figure(base64.b64encode(buffer.getvalue()).decode(), caption)


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


def to_html(frame: pd.DataFrame, classes: str | None = None) -> Markup:
    table = frame.to_html(index=False, border=0, escape=True, classes=classes)
    return Markup(table)  # pandas escaped it  # nosec B704
