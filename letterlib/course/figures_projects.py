"""The figures of the open projects, one each. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from letterlib.evaluation.bootstrap import Interval
from letterlib.plots import GREY, MARKERS, PALETTE, titled


def survival(curves: Mapping[str, Sequence[Interval]], beam: int) -> Axes:
    """How often the target's first l codes are among the beams, l = 1, 2, ... curves: name -> one
    interval a level.
    """
    ax = plt.subplots(figsize=(7.2, 3.8), layout="constrained")[1]
    for i, (name, levels) in enumerate(curves.items()):
        places = np.arange(1, len(levels) + 1) + (i - (len(curves) - 1) / 2) * 0.06
        for place, one in zip(places, levels, strict=True):
            ax.plot([place, place], [one.low, one.high], color=PALETTE[i], linewidth=1.8)
        means = [one.mean for one in levels]
        ax.plot(places, means, f"{MARKERS[i]}-", color=PALETTE[i], label=name)
        for place, mean in zip(places, means, strict=True):
            ax.annotate(
                f"{mean:.0%}",
                (place, mean),
                xytext=(7, 4),
                textcoords="offset points",
                fontsize=8.5,
                color=PALETTE[i],
            )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set(xlabel="codes written", ylabel=f"target's beginning among {beam} beams", ylim=(0, None))
    ax.legend(frameon=False)
    ends = ", ".join(f"{name} {levels[-1].mean:.1%}" for name, levels in curves.items())
    return titled(ax, f"Targets left after the last code: {ends}", "y")


def by_question(table: Mapping[str, Mapping[str, Interval]]) -> Axes:
    """Recall@10 by what the user thought of the target, a row of dots a question. table: question
    -> target -> R@10.
    """
    ax = plt.subplots(figsize=(7.6, 0.6 * len(table) + 1.4), layout="constrained")[1]
    targets = list(next(iter(table.values())))
    for row, found in enumerate(table.values()):
        for i, target in enumerate(targets):
            one, place = found[target], row + (i - (len(targets) - 1) / 2) * 0.2
            label = f"target {target}" if row == 0 else None
            ax.plot([one.low, one.high], [place, place], color=PALETTE[i], linewidth=2)
            ax.plot(one.mean, place, MARKERS[i], color=PALETTE[i], markersize=7, label=label)
    ax.set_yticks(range(len(table)), list(table))
    ax.set(
        ylim=(len(table) - 0.4, -0.6), xlabel="Recall@10 (bar: 95% bootstrap interval over users)"
    )
    ax.set_xlim(left=0)
    ax.figure.legend(frameon=False, loc="outside lower center", ncols=len(targets))
    best = {
        target: _highest({name: found[target] for name, found in table.items()})
        for target in targets
    }
    said = "; ".join(f"{target}: {name}" for target, name in best.items())
    return titled(ax, f"Highest recall by target: {said}", "x")


def codes_by_domain(loads: Mapping[str, np.ndarray]) -> Axes:
    """First codes in the order of one domain's share of them. loads: domain -> items per code,
    int64 [n_codes].
    """
    ax = plt.subplots(figsize=(8, 3.4), layout="constrained")[1]
    (first, ours), (second, theirs) = loads.items()
    total = ours + theirs
    used = np.flatnonzero(total)
    order = used[np.lexsort((-total[used], -ours[used] / total[used]))]
    places = np.arange(len(order))
    ax.bar(places, ours[order], width=1, color=PALETTE[0], label=first)
    ax.bar(places, theirs[order], width=1, bottom=ours[order], color=PALETTE[1], label=second)
    both = int(((ours > 0) & (theirs > 0)).sum())
    ax.set(xlabel=f"first codes in use, by their share of {first}", ylabel="items with the code")
    ax.set_xlim(-0.5, len(order) - 0.5)
    ax.legend(frameon=False)
    verb = "is" if both == 1 else "are"
    return titled(ax, f"{both} of {len(order)} first codes {verb} used by both domains", "y")


def wishes(measures: Mapping[str, Mapping[str, Interval]]) -> np.ndarray:
    """One panel a measure, a row of dots a way to ask. measures: measure -> way -> interval."""
    ways = list(next(iter(measures.values())))
    size = (4.2 * len(measures) + 1, 0.42 * len(ways) + 1.5)
    axes = plt.subplots(
        1, len(measures), figsize=size, layout="constrained", sharey=True, squeeze=False
    )[1][0]
    for ax, (measure, found) in zip(axes, measures.items(), strict=True):
        for row, one in enumerate(found.values()):
            ax.plot([one.low, one.high], [row, row], color=PALETTE[0], linewidth=2)
            ax.plot(one.mean, row, "o", color=PALETTE[0], markersize=7)
            ax.annotate(
                f"{one.mean:.3f}",
                (one.mean, row),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
                color=GREY,
            )
        ax.set_yticks(range(len(ways)), ways)
        ax.set(ylim=(len(ways) - 0.5, -0.7), xlabel=measure)
        titled(ax, f"highest: {_highest(found)}", "x")
        ax.set_xlim(left=0)
    return axes


def _highest(found: Mapping[str, Interval]) -> str:
    """Whose mean is the highest; how many share it, where their first three digits are the same."""
    written = {name: f"{one.mean:.3f}" for name, one in found.items()}
    best = [name for name, mean in written.items() if mean == max(written.values())]
    return best[0] if len(best) == 1 else f"{len(best)} of {len(found)} alike"
