"""The figures of lesson 11. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from letterlib.course.experiments import VARIANTS
from letterlib.evaluation.bootstrap import Interval
from letterlib.plots import GREY, PALETTE, listed, titled

DPI = 80  # so that the notebook stays small
BLUE, ORANGE = PALETTE[0], PALETTE[3]
Row = tuple[Interval, Sequence[float]]
"""A paired difference, and the same difference seed by seed."""


def forests(leagues: Mapping[str, tuple[Mapping[str, Row], int]], metric: str) -> np.ndarray:
    """Paired differences with their intervals, filled where 0 is outside; small marks are single
    seeds.

    One panel a league, below each other and to one scale. leagues: name -> (rows, how many of them
    stand above a line).
    """
    sizes = [
        len(rows) + 1.6 for rows, _ in leagues.values()
    ]  # the rest is a title and the numbers of the axis
    figure, axes = plt.subplots(
        len(leagues),
        figsize=(8, 0.46 * sum(sizes) + 0.4),
        layout="constrained",
        dpi=DPI,
        sharex=True,
        squeeze=False,
        height_ratios=sizes,
    )
    for ax, (where, (rows, above)) in zip(axes[:, 0], leagues.items(), strict=True):
        _forest(ax, rows, above, where)
    axes[-1, 0].set_xlabel(
        f"difference of {metric} (bar: 95% over seeds, where several, and users; |: one seed)"
    )
    return axes[:, 0]


def _forest(ax: Axes, rows: Mapping[str, Row], above: int, where: str) -> None:
    for place, (one, seeds) in enumerate(rows.values()):
        _bar(ax, one, place)
        ax.plot(seeds, np.full(len(seeds), place + 0.22), "|", color=GREY, markersize=7)
    if 0 < above < len(rows):
        ax.axhline(above - 0.5, color="#c8c8c8", linewidth=0.8)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.tick_params(labelbottom=True)
    clear = [name for name, (one, _) in rows.items() if one.excludes_zero]
    said = f"clear of 0: {listed(clear)}" if clear else "no difference is clear of 0"
    titled(
        ax,
        f"{where}: {len(clear)} of {len(rows)} differences clear of 0"
        if len(said) > 60
        else f"{where}: {said}",
        "x",
    )


def _bar(ax: Axes, one: Interval, place: float, colour: str = BLUE, upright: bool = False) -> None:
    """An interval and its mean: filled where 0 is outside."""
    ends, at = [one.low, one.high], [place, place]
    ax.plot(*((at, ends) if upright else (ends, at)), color=colour, linewidth=2)
    face = colour if one.excludes_zero else "white"
    ax.plot(
        *((place, one.mean) if upright else (one.mean, place)),
        "o",
        color=colour,
        markerfacecolor=face,
        ms=6.5,
    )


def criteria(table: pd.DataFrame, where: str) -> np.ndarray:
    """One panel a column: every run a dot, its variant's mean a line.

    table: index variant, one row a run; the last column is the metric, the one before it is better
    when low.
    """
    names = list(dict.fromkeys(table.index))
    size = (2.6 * table.shape[1] + 1.2, 0.42 * len(names) + 1.5)
    axes = plt.subplots(
        1, table.shape[1], figsize=size, layout="constrained", dpi=DPI, sharey=True
    )[1]
    leaders = []
    for ax, column in zip(axes, table.columns, strict=True):
        for place, name in enumerate(names):
            values = table.loc[[name], column].to_numpy()
            color = PALETTE[
                VARIANTS.index(name) if name in VARIANTS else place
            ]  # the same in figures of fewer
            ax.plot(values, np.full(len(values), place), "o", color=color, alpha=0.55, markersize=6)
            ax.plot([values.mean()] * 2, [place - 0.28, place + 0.28], color=color, linewidth=2)
        means = table.groupby(level=0)[column].mean()
        leaders.append(means.idxmax() if (means == means.max()).sum() == 1 else "several")
        titled(ax, column + (" (low is good)" if column == table.columns[-2] else ""), "x", 9.5)
        ax.ticklabel_format(axis="x", useOffset=False)
        ax.locator_params(axis="x", nbins=4)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    highest = dict(zip(table.columns, leaders, strict=True))
    said = "; ".join(f"{name}: {highest[name]}" for name in table.columns[[-1, 0, 1]])
    axes[0].figure.suptitle(f"{where}: highest {said}", fontsize=11, x=0.01, ha="left")
    return axes


def sweeps(
    panels: Mapping[str, Mapping[float, Row | None]],
    labels: Mapping[str, str],
    chosen: Mapping[str, float | None],
    metric: str,
    where: str,
) -> np.ndarray:
    """One panel a parameter: the difference from the profile's own value (None, drawn as a square),
    with intervals.

    chosen: the paper's value of each parameter, a dotted line; None where there is no one value.
    """
    rows, columns = -(-len(panels) // 3), min(3, len(panels))
    axes = plt.subplots(
        rows,
        columns,
        figsize=(3.2 * columns + 0.4, 2.7 * rows + 0.5),
        layout="constrained",
        dpi=DPI,
        sharey=True,
        squeeze=False,
    )[1]
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (name, by_value) in zip(axes.flat, panels.items(), strict=False):
        _sweep(ax, by_value, chosen.get(name))
        ax.set_xlabel(labels[name])
        low, high = (_named(by_value, sign) for sign in (-1, 1))
        said = [
            f"{word} the profile's at {values}"
            for word, values in (("below", low), ("above", high))
            if values
        ]
        titled(ax, "; ".join(said) or "no value clear of the profile's", "y", 9.5)
    for ax in axes[:, 0]:
        ax.set_ylabel(f"difference of {metric}")
    differences = [row[0] for by_value in panels.values() for row in by_value.values() if row]
    clear = sum(one.excludes_zero for one in differences)
    marks = [
        Line2D([], [], marker="s", color="black", linestyle="", label="profile's own value"),
        Line2D([], [], marker="o", color=BLUE, label="95% over users, and seeds if several"),
        Line2D([], [], marker="_", color=GREY, linestyle="", label="one seed"),
        Line2D([], [], color=ORANGE, linestyle=":", label="the paper's value"),
    ]
    figure = axes.flat[0].figure
    figure.legend(handles=marks, frameon=False, loc="outside lower center", ncols=4, fontsize=9)
    figure.suptitle(
        f"{where}: {clear} of {len(differences)} values clear of the profile's own",
        fontsize=11,
        x=0.01,
        ha="left",
    )
    return axes


def _sweep(ax: Axes, by_value: Mapping[float, Row | None], chosen: float | None) -> None:
    for place, row in enumerate(by_value.values()):
        if row is None:
            ax.plot(place, 0, "s", color="black", markersize=6)
            continue
        _bar(ax, row[0], place, upright=True)
        ax.plot(np.full(len(row[1]), place + 0.18), row[1], "_", color=GREY, markersize=7)
    ax.axhline(0, color="black", linewidth=0.8)
    if chosen in by_value:
        ax.axvline(
            list(by_value).index(chosen), color=ORANGE, linestyle=":", linewidth=1.6, zorder=0
        )
    ax.set_xticks(range(len(by_value)), [f"{value:g}" for value in by_value])
    ax.set_xlim(-0.5, len(by_value) - 0.5)


def _named(by_value: Mapping[float, Row | None], sign: int) -> str:
    clear = [
        f"{value:g}"
        for value, row in by_value.items()
        if row and row[0].excludes_zero and np.sign(row[0].mean) == sign
    ]
    return ", ".join(clear)


def staircase(family: pd.DataFrame) -> Axes:
    """Sorted p-values beside the bounds that Holm asks for. family: a row a comparison, columns "p"
    and "Holm".
    """
    ax = plt.subplots(figsize=(7.8, 3.6), layout="constrained", dpi=DPI)[1]
    family = family.sort_values("p", kind="stable")
    ordered = family["p"].clip(lower=1e-5)
    ranks, bounds = np.arange(1, len(ordered) + 1), 0.05 / np.arange(len(ordered), 0, -1)
    edges = np.arange(0.5, len(ranks) + 1).repeat(2)[
        1:-1
    ]  # `step` would draw nothing for one comparison
    ax.plot(
        edges,
        bounds.repeat(2),
        color=ORANGE,
        linewidth=1.6,
        label="Holm's bound: .05 / those not yet passed",
    )
    ax.axhline(
        0.05, color=GREY, linestyle=":", linewidth=1.3, label=".05, as if it were the only one"
    )
    found = (family["Holm"] < 0.05).to_numpy()
    for some, face, text in ((found, BLUE, "found"), (~found, "white", "not found")):
        if some.any():
            ax.plot(
                ranks[some],
                ordered[some],
                "o",
                color=BLUE,
                markerfacecolor=face,
                linestyle="",
                label=text,
            )
    for rank, (name, value) in enumerate(ordered[ordered < 0.05].items(), start=1):
        below = value <= bounds[rank - 1]  # its name goes where the bound is not
        ax.annotate(
            str(name),
            (rank, value),
            xytext=(0, -6) if below else (-3, 6),
            textcoords="offset points",
            fontsize=8,
            rotation=70,
            va="top" if below else "bottom",
        )
    ax.set_yscale("log")
    ax.set_ylim(ordered.min() / 20, 2 * max(0.05, ordered.max()))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel="comparisons, smallest p-value first", ylabel="p-value (logarithmic)")
    ax.figure.legend(frameon=False, fontsize=9, loc="outside lower center", ncols=2)
    alone = int((family["p"] < 0.05).sum())
    return titled(
        ax, f"{alone} of {len(ordered)} below .05 by themselves, {int(found.sum())} after Holm", "y"
    )


def optimism(curves: pd.DataFrame, mark: int) -> Axes:
    """What a sweep of equal settings reports, against their number (index).

    curves: three columns, the second "chosen on test"; mark: the number of settings that the title
    quotes.
    """
    ax = plt.subplots(figsize=(7.4, 3.3), layout="constrained", dpi=DPI)[1]
    for name, colour, style in zip(
        curves.columns, (BLUE, ORANGE, "black"), ("-", "-", ":"), strict=True
    ):
        ax.plot(curves.index, curves[name], color=colour, linestyle=style, linewidth=2, label=name)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="settings tried, all equally good", ylabel="reported, minus the truth")
    ax.legend(frameon=False)
    top = curves.columns[1]
    said = (
        f"The best of {mark} equal settings, {top}, looks {curves.loc[mark, top]:.4f} better "
        "than it is"
    )
    return titled(ax, said, "y")
