"""The figures of lesson 09. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D

from letterlib.evaluation.bootstrap import Interval
from letterlib.pipeline.systems import FAMILIES, FLOOR, LABELS
from letterlib.plots import GREY, PALETTE, titled

COLOUR_OF = dict(zip(FAMILIES, (GREY, *(PALETTE[i] for i in (0, 1, 2, 3, 4))), strict=True))
MARKOV = LABELS["markov"]


def what_it_knows(table: pd.DataFrame, families: Sequence[str]) -> Axes:
    """A table of 0, 0.5 and 1: systems by what reaches them, a line between families."""
    ax = plt.subplots(figsize=(7.8, 0.28 * len(table) + 1), layout="constrained")[1]
    shades = ListedColormap(["#f5f5f5", "#9fc6de", "#0072b2"])
    ax.imshow(table.to_numpy(float), cmap=shades, vmin=0, vmax=1, aspect="auto")
    _cells(ax, table)
    for row, (above, below) in enumerate(zip(families, families[1:], strict=False)):
        if above != below:
            ax.axhline(row + 0.5, color="black", linewidth=1)
    for label, family in zip(ax.get_yticklabels(), families, strict=True):
        label.set_color(COLOUR_OF[family])
    reached = {name.replace("\n", " "): (table[name] > 0).sum() for name in table.columns}
    least = min(reached, key=reached.get)
    title = (
        f"The rarest source is {least}: {reached[least]} of {len(table)} systems, at least in part"
    )
    ax.set_title(title, loc="left", fontsize=11)
    return ax


def _cells(ax: Axes, table: pd.DataFrame) -> None:
    """Names at the sides of a table drawn with imshow, and white lines between its cells."""
    ax.set_xticks(range(table.shape[1]), list(table.columns))
    ax.set_yticks(range(len(table)), list(table.index))
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(table.shape[1] - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(len(table) - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.tick_params(which="minor", length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def forest(both: Mapping[str, tuple[Interval, Interval]], families: Sequence[str]) -> Axes:
    """Recall@10 of every system with the history in the list (filled) and filtered out (hollow)."""
    ax = plt.subplots(figsize=(8, 0.42 * len(both) + 1.4), layout="constrained")[1]
    for row, ((inside, outside), family) in enumerate(zip(both.values(), families, strict=True)):
        for one, place, filled in ((inside, row - 0.14, True), (outside, row + 0.14, False)):
            colour = COLOUR_OF[family]
            ax.plot(
                [one.low, one.high],
                [place, place],
                color=colour,
                linewidth=1.8,
                alpha=1 if filled else 0.6,
            )
            ax.plot(
                one.mean,
                place,
                "o",
                color=colour,
                markersize=6,
                markerfacecolor=colour if filled else "white",
            )
        if row and families[row - 1] != family:
            ax.axhline(row - 0.5, color="#c8c8c8", linewidth=0.8)
    if MARKOV in both:
        for one, shade in zip(both[MARKOV], ("#555555", "#aaaaaa"), strict=True):
            ax.axvline(one.mean, color=shade, linestyle=":", linewidth=1.2, zorder=0)
    ax.set_yticks(range(len(both)), list(both))
    for label, family in zip(ax.get_yticklabels(), families, strict=True):
        label.set_color(COLOUR_OF[family])
    ax.set(
        ylim=(len(both) - 0.4, -0.6),
        xlabel="Recall@10 (bar: 95% bootstrap interval over users and seeds)",
    )
    ax.set_xlim(left=0)
    marks = [
        Line2D([], [], marker="o", color=GREY, markerfacecolor=face, label=text)
        for face, text in ((GREY, "history in"), ("white", "history out"))
    ]
    used = [family for family in FAMILIES if family in families]
    marks += [Line2D([], [], color=COLOUR_OF[family], linewidth=2, label=family) for family in used]
    ax.figure.legend(handles=marks, frameon=False, loc="outside lower center", ncols=4, fontsize=9)
    return titled(ax, _forest_title(both, families), "x")


def _forest_title(both: Mapping[str, tuple[Interval, Interval]], families: Sequence[str]) -> str:
    best = [max(both, key=lambda name: both[name][i].mean) for i in (0, 1)]
    title = f"First with the history in: {best[0]}; out: {best[1]}"
    if MARKOV in both:
        trained = [name for name, family in zip(both, families, strict=True) if family != FLOOR]
        above = [sum(both[name][i].mean > both[MARKOV][i].mean for name in trained) for i in (0, 1)]
        title += f"\n{above[0]} (in) and {above[1]} (out) of {len(trained)} trained rows"
        title += " have a higher mean than the Markov floor"
    return title


def by_part(table: pd.DataFrame) -> Axes:
    """Recall@10 of systems by part of the cases, in figures; each column has its own scale of
    colour.
    """
    ax = plt.subplots(figsize=(7.2, 0.29 * len(table) + 1.2), layout="constrained")[1]
    values = table.to_numpy(float)
    share = values / values.max(axis=0).clip(min=1e-9)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1.25, aspect="auto")
    _cells(ax, table)
    for (row, column), value in np.ndenumerate(values):
        dark = share[row, column] > 0.7
        ax.text(
            column,
            row,
            f"{value:.3f}",
            ha="center",
            va="center",
            fontsize=8.5,
            color="white" if dark else "black",
        )
    ax.axvline(2.5, color="black", linewidth=1.5)
    poor = int((table["tail"] < 0.01).sum())
    verb = "finds" if poor == 1 else "find"
    ax.set_title(
        f"{poor} of {len(table)} systems {verb} less than one tail film in 100",
        loc="left",
        fontsize=11,
    )
    return ax


def differences_by_seed(rows: Mapping[str, Sequence[Interval]]) -> Axes:
    """Paired differences, a dot a seed: filled where the interval over users excludes 0."""
    ax = plt.subplots(figsize=(8, 0.55 * len(rows) + 1.2), layout="constrained")[1]
    for row, one_pair in enumerate(rows.values()):
        for i, one in enumerate(one_pair):
            place = row + (i - (len(one_pair) - 1) / 2) * 0.2
            colour = PALETTE[i % len(PALETTE)]
            ax.plot([one.low, one.high], [place, place], color=colour, linewidth=1.6)
            face = colour if one.excludes_zero else "white"
            ax.plot(one.mean, place, "o", color=colour, markerfacecolor=face, markersize=6)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set(
        ylim=(len(rows) - 0.4, -0.6),
        xlabel="difference of Recall@10 (bar: 95% interval over users)",
    )
    unsure = sum(not all(one.excludes_zero for one in pair) for pair in rows.values())
    turned = sum(
        min(one.mean for one in pair) < 0 < max(one.mean for one in pair) for pair in rows.values()
    )
    most = max(map(len, rows.values()))
    said = (
        f"{unsure} of {len(rows)} contests {'has' if unsure == 1 else 'have'} a seed whose "
        "interval includes 0,\n"
    )
    changed = "1 changes its winner" if turned == 1 else f"{turned} change their winner"
    said += f"{changed} between seeds" if most > 1 else "and there is one seed only"
    return titled(ax, said, "x")
