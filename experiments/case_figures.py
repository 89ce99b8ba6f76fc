"""Draw the figures of docs/findings.md that tell kinds of cases apart, from the committed records.

    python experiments/case_figures.py

seen_and_unseen.svg: systems minus the tuned SASRec where a count can find the target, and where
none can. repetition.svg: how much of each system's figure comes from items that the user had
before. docs/figures/case_figures.yaml lists data sets and systems; to draw another, add it there.
"""

import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import typer  # noqa: E402
import yaml  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import FancyBboxPatch  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

from letterlib.cli import run_script  # noqa: E402
from letterlib.evaluation.case_kinds import is_kind  # noqa: E402
from letterlib.pipeline.results import Comparison, Run, compare, load_results, select  # noqa: E402
from letterlib.pipeline.systems import FLOOR, find_system  # noqa: E402
from letterlib.plots import GREY, PALETTE, plain  # noqa: E402
from letterlib.store import atomic_write  # noqa: E402

HERE = Path(__file__).resolve().parent
AHEAD, BEHIND, BAND = PALETTE[0], PALETTE[3], "#ededed"
PARTS = ((PALETTE[1], "black"), (PALETTE[0], "white"))  # of a bar: its colour, and its number's
WIDTH, ROW, NAMES, EDGE = 9.4, 0.29, 3.4, 0.2
"""Inches: a page on GitHub, the height of a row, the column of names, the margin."""
STYLE = {
    "font.size": 10.5,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "letterlib",  # the same records give the same file
}


# What is drawn


@dataclass(frozen=True)
class Row:
    """One system on one data set.

    note: how long it was trained, or who published it.
    runs: one for every seed; none where the figure is quoted.
    """

    name: str
    note: str = ""
    runs: tuple[Run, ...] = ()
    quoted: float | None = None

    @property
    def is_floor(self) -> bool:
        return bool(self.runs) and find_system(self.runs[0].system).family == FLOOR

    @property
    def is_generator(self) -> bool:
        return bool(self.runs) and find_system(self.runs[0].system).identifiers is not None


@dataclass(frozen=True)
class Group:
    """The systems of one data set.

    first: the place of its heading, in rows from the top; the systems follow.
    reference: what they are compared with, if with anything.
    """

    name: str
    rows: tuple[Row, ...]
    first: float
    reference: Row | None

    def places(self) -> np.ndarray:
        """The place of each system: float [n_rows]."""
        return self.first + 1 + np.arange(len(self.rows))

    def n_cases(self, kind: str) -> int:
        return int(is_kind(next(row.runs[0].kinds for row in self.rows if row.runs), kind).sum())


def groups(settings: Mapping[str, Any], records: Path) -> list[Group]:
    """The data sets of a section of the YAML file. LetterError for a system without runs."""
    found, first = [], 0.0
    for entry in settings["data"]:
        path = records / f"{entry['records']}.parquet"
        rows = tuple(_row(path, system) for system in entry["systems"])
        reference = _row(path, settings["reference"]) if "reference" in settings else None
        found.append(Group(entry["name"], rows, first, reference))
        first += len(rows) + 1.4
    return found


def _row(path: Path, system: Mapping[str, Any]) -> Row:
    conditions = {"options": []} | system
    name, note = conditions.pop("name"), conditions.pop("note", "")
    if "quoted" in system:
        return Row(name, note, quoted=system["quoted"])
    conditions["options"] = " ".join(conditions["options"])
    runs = select(_load(path), [f"{setting}={value}" for setting, value in conditions.items()])
    return Row(name, note, tuple(runs))


_load = cache(load_results)


def difference(row: Row, reference: Row, metric: str, kind: str) -> Comparison:
    """A system minus the reference on cases of a kind, over the seeds that both have.

    A floor has one result whatever the seed, so its run stands for each of the reference's.
    """
    runs = row.runs
    if row.is_floor:
        record, seeds = runs[0].record, [run.seed for run in reference.runs]
        given = [record | {"parameters": record["parameters"] | {"seed": seed}} for seed in seeds]
        runs = [replace(runs[0], record=one) for one in given]
    return compare(runs, reference.runs, metric, cases=kind)


def parts(row: Row, metric: str, kinds: Sequence[str]) -> list[float]:
    """What the cases of each kind bring to the mean over all cases; a quoted figure is whole."""
    if row.quoted is not None:
        return [row.quoted]
    values = np.mean([run.values(metric) for run in row.runs], axis=0)
    return [float((values * is_kind(row.runs[0].kinds, kind)).mean()) for kind in kinds]


# The figures


def seen_and_unseen(settings: Mapping[str, Any], records: Path) -> Figure:
    """Each system minus the reference, dots with 95% intervals, a panel for each kind of cases."""
    drawn, metric, kinds = groups(settings, records), settings["metric"], settings["kinds"]
    name = settings["reference"]["name"]
    found = {
        kind: [
            [difference(row, group.reference, metric, kind) for row in group.rows]
            for group in drawn
        ]
        for kind in kinds
    }
    figure, axes = _table(drawn, _ahead(drawn, found, name), len(kinds))
    for ax, (kind, meaning) in zip(axes, kinds.items(), strict=True):
        _differences(ax, drawn, found[kind], kind)
        ax.set_xlabel(f"{metric} minus that of {name}")
        _write(ax, (0, -0.6), f"{kind.capitalize()}: {meaning}", (0, 28), weight="bold")
        _write(ax, (0, -0.6), f"← behind {name}", (0, 10), color=BEHIND)
        _write(ax, (1, -0.6), "ahead →", (0, 10), ha="right", color=AHEAD)
    for group, differences in zip(drawn, found[kind], strict=True):
        _names(axes[0], group, {len(one.seeds) for one in differences})
    notes = "dot: mean; bar: 95% interval\nhollow: the interval holds zero\nthe two scales differ"
    figure.text(EDGE / WIDTH, 0.14 / figure.get_figheight(), notes, fontsize=9.5, color=GREY)
    return figure


def _ahead(drawn: Sequence[Group], found: Mapping[str, list], reference: str) -> str:
    """How many generators are ahead on each kind of cases."""
    counts = []
    for kind, by_group in found.items():
        ahead = [
            one.difference.excludes_zero and one.difference.mean > 0
            for group, differences in zip(drawn, by_group, strict=True)
            for row, one in zip(group.rows, differences, strict=True)
            if row.is_generator
        ]
        counts.append(f"{sum(ahead)} of {len(ahead)} on {kind} cases")
    return f"Generators ahead of {reference}: {', '.join(counts)}"


def _differences(
    ax: Axes, drawn: Sequence[Group], found: Sequence[Sequence[Comparison]], kind: str
) -> None:
    """One panel. found: for each group the difference of each of its systems."""
    spans = [one.difference for differences in found for one in differences]
    low, high = min(0, *(span.low for span in spans)), max(0, *(span.high for span in spans))
    room = 0.4 * (high - low)  # for the numbers
    ax.set_xlim(low - room, high + room)
    ax.axvline(0, color=GREY, linewidth=1, zorder=1)
    for group, differences in zip(drawn, found, strict=True):
        reference = f"{group.reference.name} {_short(differences[0].second)}"
        _write(ax, (0, group.first), f"{group.n_cases(kind):,} cases, {reference}", (6, 0))
        for y, one in zip(group.places(), differences, strict=True):
            span, right = one.difference, one.difference.mean > 0
            colour = (AHEAD if right else BEHIND) if span.excludes_zero else GREY
            inside = colour if span.excludes_zero else "white"
            ax.plot([span.low, span.high], [y, y], color=colour, linewidth=2.5)
            ax.plot(span.mean, y, "o", color=colour, ms=7, mew=1.8, markerfacecolor=inside)
            _beside(ax, span.high if right else span.low, y, _short(span.mean, "+"), colour, right)


def repetition(settings: Mapping[str, Any], records: Path) -> Figure:
    """A bar for each system, longest first, made of what each kind of cases brings."""
    metric, kinds = settings["metric"], list(settings["kinds"])
    drawn, titles, longest = [], [], 0.0
    for group in groups(settings, records):
        totals = {row: sum(parts(row, metric, kinds)) for row in group.rows}
        rows = tuple(sorted(totals, key=totals.get, reverse=True))
        floor = next(row for row in rows if row.is_floor)
        trained = next(row for row in rows if row.runs and not row.is_floor)
        best = {floor.name: floor, "best trained system": trained}
        best |= {row.note: row for row in reversed(rows) if row.quoted is not None}
        highest = ", ".join(f"{name} {_short(totals[row])}" for name, row in best.items())
        titles.append(f"{metric} on {group.name}: {highest}")
        longest = max(longest, *totals.values())
        drawn.append(replace(group, rows=rows))
    figure, (ax,) = _table(drawn, "; ".join(titles))
    ax.set(xlim=(0, 1.12 * longest), xlabel=metric)
    for group in drawn:
        _names(ax, group)
        for place, (kind, meaning) in enumerate(settings["kinds"].items()):
            text = f"{group.n_cases(kind):,} {kind} cases: {meaning}"
            _write(ax, (place / len(kinds), group.first), "■", (6, 0), color=PARTS[place][0])
            _write(ax, (place / len(kinds), group.first), text, (20, 0))
        for row, y in zip(group.rows, group.places(), strict=True):
            _bar(ax, y, parts(row, metric, kinds), room=0.08 * longest)
    return figure


def _bar(ax: Axes, y: float, lengths: Sequence[float], room: float) -> None:
    """Its parts and their sum; hollow if there is one. room: what the number of a part takes."""
    left = 0.0
    inside = {"ha": "center", "va": "center_baseline", "fontsize": 9.5}
    if len(lengths) == 1:
        ax.barh(y, lengths, 0.66, facecolor="white", edgecolor=GREY, linestyle="--")
        ax.text(lengths[0] / 2, y, "parts not known", color=GREY, **inside)
    else:
        for length, (colour, ink) in zip(lengths, PARTS, strict=True):
            ax.barh(y, length, 0.7, left=left, color=colour)
            if length > room:
                ax.text(left + length / 2, y, _short(length), color=ink, **inside)
            left += length
    _beside(ax, sum(lengths), y, _short(sum(lengths)), "black", right=True)


# The frame of both: a table with a column of names, whose other columns are panels


def _table(drawn: Sequence[Group], title: str, n_panels: int = 1) -> tuple[Figure, np.ndarray]:
    """A white card, so that it is readable on a dark page, with a band behind each heading."""
    last = drawn[-1].places()[-1]
    title = textwrap.fill(title, 84)
    above = 0.35 + 0.22 * (1 + title.count("\n")) + 0.5 * (n_panels > 1)
    below = 0.75
    height = ROW * (last + 1.2) + above + below
    figure, axes = plt.subplots(
        1, n_panels, figsize=(WIDTH, height), squeeze=False, facecolor="none"
    )
    left, right = NAMES / WIDTH, 1 - EDGE / WIDTH
    figure.subplots_adjust(left, below / height, right, 1 - above / height, wspace=0.08)
    style = {"facecolor": "white", "linewidth": 0, "zorder": -2}
    card = FancyBboxPatch((0, 0), WIDTH, height, "round,pad=0,rounding_size=0.12", **style)
    figure.add_artist(card).set_transform(figure.dpi_scale_trans)
    place = (EDGE / WIDTH, 1 - 0.16 / height)
    figure.text(*place, title, va="top", weight="bold", fontsize=13)
    for ax in axes[0]:
        plain(ax, "x").set(ylim=(last + 0.6, -0.6), facecolor="none", yticks=[])
        ax.spines["left"].set_visible(False)
        ax.tick_params(labelsize=9.5)
        ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        sign = "+" if n_panels > 1 else ""
        ax.xaxis.set_major_formatter(lambda x, _, sign=sign: _short(x, sign, 3) if x else "0")
        panel = ax.get_position().width * WIDTH
        start = (EDGE - NAMES) / panel if ax is axes[0, 0] else 0
        for group in drawn:
            ends = group.first - 0.45, group.first + 0.45
            ax.axhspan(*ends, start, 1, color=BAND, linewidth=0, zorder=2, clip_on=False)
    return figure, axes[0]


def _names(ax: Axes, group: Group, n_seeds: Collection[int] = ()) -> None:
    """The column of names: data set and number of seeds, systems and their notes."""
    outer, inner = 72 * (EDGE + 0.1 - NAMES), -12
    seeds = " or ".join("one seed" if n == 1 else f"{n} seeds" for n in sorted(n_seeds))
    _write(ax, (0, group.first), group.name, (outer, 0), weight="bold")
    _write(ax, (0, group.first), seeds, (inner, 0), ha="right", color=GREY)
    for row, y in zip(group.rows, group.places(), strict=True):
        _write(ax, (0, y), row.name, (outer + 10, 0))
        _write(ax, (0, y), row.note, (inner, 0), ha="right", color=GREY)


def _write(
    ax: Axes, place: tuple[float, float], text: str, offset: tuple[float, float], **style: Any
) -> None:
    """Text at a place (x from 0 to 1 across the panel, y a row), moved by an offset in points."""
    where = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}
    ax.annotate(text, place, offset, va="center_baseline", zorder=3, **where, **style)


def _beside(ax: Axes, x: float, y: float, text: str, colour: str, right: bool) -> None:
    """A number next to what it measures."""
    style = {"ha": "left" if right else "right", "va": "center_baseline", "color": colour}
    ax.annotate(text, (x, y), (7 if right else -7, 0), textcoords="offset points", **style)


def _short(value: float, sign: str = "", digits: int = 4) -> str:
    """.0742, as on the pages; sign "+" for differences."""
    return format(value, f"{sign}.{digits}f").replace("0.", ".")


def main(
    out: Annotated[Path, typer.Option(help="folder of the figures")] = HERE.parent / "docs/figures",
    settings: Annotated[Path, typer.Option(help="what is drawn")] = HERE.parent
    / "docs/figures/case_figures.yaml",
    records: Annotated[Path, typer.Option(help="folder of the runs")] = HERE / "results",
) -> None:
    sections = yaml.safe_load(settings.read_text(encoding="utf-8"))
    for draw in (seen_and_unseen, repetition):
        with plt.rc_context(STYLE):
            figure = draw(sections[draw.__name__], records)
            path = out / f"{draw.__name__}.svg"
            with atomic_write(path) as temporary:
                figure.savefig(temporary, format="svg", metadata={"Date": None})
            plt.close(figure)
        print(path)


if __name__ == "__main__":
    run_script(main)
