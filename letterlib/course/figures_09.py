"""The figures of lesson 09. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from letterlib.evaluation.bootstrap import Interval
from letterlib.pipeline.systems import FAMILIES, FLOOR, LABELS, SYSTEMS
from letterlib.plots import GREY, PALETTE, titled

COLOUR_OF = dict(zip(FAMILIES, (GREY, *(PALETTE[i] for i in (0, 1, 2, 3, 4))), strict=True))
MARKOV = LABELS["markov"]
SOURCES = [
    "order of\nthe history",
    "who else\nliked it",
    "words of\nthe item",
    "popularity",
    "pre-trained\nlanguage",
    "the user",
]
KNOWS = {
    "random":        [0, 0, 0, 0, 0, 0],
    "popularity":    [0, 0, 0, 1, 0, 0],
    "markov":        [1, .5, 0, 1, 0, 0],
    "mf":            [0, 1, 0, 1, 0, 1],
    "caser":         [1, 1, 0, 1, 0, 1],
    "hgn":           [.5, 1, 0, 1, 0, 1],
    "bert4rec":      [1, 1, 0, 1, 0, 0],
    "lightgcn":      [0, 1, 0, .5, 0, 1],
    "sasrec":        [1, 1, 0, .5, 0, 0],
    "sasrec-tuned":  [1, 1, 0, .5, 0, 0],
    "bigrec":        [1, .5, 1, .5, 1, 0],
    "p5-tid":        [1, .5, 1, .5, 0, 0],
    "p5-semid":      [1, .5, .5, .5, 0, 0],
    "p5-cid":        [1, 1, 0, .5, 0, 0],
    "tiger":         [1, .5, 1, .5, .5, 0],
    "letter-tiger":  [1, 1, 1, .5, .5, 0],
    "lc-rec":        [1, .5, 1, .5, 1, 0],
    "letter-lc-rec": [1, 1, 1, .5, 1, 0],
    "tiger-random":  [1, .5, 0, .5, 0, 0],
    "tiger-kmeans":  [1, .5, 1, .5, .5, 0],
}  # fmt: skip
"""What reaches our version of each system: 1 yes, 0 no, a half in part."""


def what_it_knows() -> Axes:
    """KNOWS as a table of systems by sources, a line between families."""
    table = pd.DataFrame(KNOWS, index=SOURCES).T
    families = [SYSTEMS[name].family for name in table.index]
    table = table.rename(index=lambda name: SYSTEMS[name].label)
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


def gates(titles: Sequence[str], features: np.ndarray, places: np.ndarray) -> Axes:
    """HGN's gates for one case.

    features: float [W, d], of every film's numbers; places: float [W], of the films.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(8.6, 0.42 * len(titles) + 1.3), layout="constrained", width_ratios=[4, 1]
    )
    image = left.imshow(features, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    left.set_yticks(range(len(titles)), titles)
    left.set_xlabel("first gate: each of the film's numbers")
    left.set_title("What HGN lets through of the last films", loc="left", fontsize=11)
    figure.colorbar(image, ax=left, pad=0.01)
    right.barh(range(len(titles)), places, color=PALETTE[0])
    right.set(ylim=(len(titles) - 0.5, -0.5), xlim=(0, 1), yticks=[])
    right.set_xlabel("second gate: the film")
    return left


def seen_and_unseen(rows: Mapping[str, Mapping[str, Interval]], n_cases: Mapping[str, str]) -> Axes:
    """Differences on seen and on unseen cases: filled where the interval excludes 0.

    rows: name -> kind -> interval; n_cases: name -> how many cases of each kind, in words.
    """
    kinds = list(next(iter(rows.values())))
    figure, axes = plt.subplots(
        1, len(kinds), figsize=(9.4, 0.5 * len(rows) + 1.3), layout="constrained", sharey=True
    )
    for ax, kind in zip(axes, kinds, strict=True):
        for place, by_kind in enumerate(rows.values()):
            one = by_kind[kind]
            colour = (PALETTE[0] if one.mean > 0 else PALETTE[3]) if one.excludes_zero else GREY
            ax.plot([one.low, one.high], [place, place], color=colour, linewidth=2)
            face = colour if one.excludes_zero else "white"
            ax.plot(one.mean, place, "o", color=colour, markerfacecolor=face, markersize=7)
        ax.axvline(0, color="black", linewidth=1)
        ahead = sum(
            by_kind[kind].mean > 0 for by_kind in rows.values() if by_kind[kind].excludes_zero
        )
        ax.set_title(f"{kind} cases: {ahead} of {len(rows)} ahead", loc="left", fontsize=11)
        ax.set_xlabel("R@10 minus that of the tuned SASRec")
        ax.margins(x=0.1)
        ax.xaxis.set_major_locator(MaxNLocator(5))
    names = [f"{name}\n{n_cases[name]}" for name in rows]
    axes[0].set_yticks(range(len(rows)), names, fontsize=9)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    return axes[0]


def weights(by_weight: Mapping[float, float], floors: Mapping[str, float]) -> Axes:
    """NDCG@10 on validation by the weight of the counts; dashed: systems without a mixture."""
    ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")[1]
    best = max(by_weight, key=by_weight.get)
    ax.plot(list(by_weight), list(by_weight.values()), "o-", color=PALETTE[0])
    ax.plot(best, by_weight[best], "o", color=PALETTE[1], markersize=10)
    for name, value in floors.items():
        ax.axhline(value, color=GREY, linestyle="--", linewidth=1)
        ax.annotate(name, (0, value), (2, 3), textcoords="offset points", color=GREY, fontsize=9)
    ax.set(xlabel="w, the weight of the counts", ylabel="NDCG@10, validation")
    return titled(ax, f"Best on validation: w = {best:g}", "both")


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
