"""Every figure of the pipeline's report, one function each: data in, the Axes out.

Each title states what the data show and is computed from them. Colours are seaborn's
colour-blind-safe palette, in the order of the mapping that a function is given, so give the arms of
a comparison in the same order everywhere.
"""

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.ticker import MaxNLocator, PercentFormatter

from letterlib.alternative_text import store_words
from letterlib.analysis.collaborative_signal import SimilarityResult
from letterlib.evaluation.bootstrap import Interval
from letterlib.evaluation.metrics import GROUPS

PALETTE = sns.color_palette("colorblind").as_hex()
GREY = "#6b6b6b"
MARKERS = "osD^vP"  # a second cue beside the colour
store_words()  # every lesson draws with this module


def system_forest(intervals: Mapping[str, Interval], floors: Collection[str] = ()) -> Axes:
    """Recall@10 of every system, a dot and its 95% interval, first on top.

    floors: the names that a trained system has to clear; grey, with a dotted line at the highest of
    them. Over what the intervals are (users, or seeds as well) is for the text beside it to say.
    """
    ax = _new(height=1.3 + 0.42 * len(intervals))
    widest = max(one.high for one in intervals.values())
    for row, (name, one) in enumerate(intervals.items()):
        colour = GREY if name in floors else PALETTE[0]
        side = (
            "left" if one.mean < widest / 20 else "center"
        )  # beside the axis there is no room to its left
        ax.plot([one.low, one.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        ax.plot(one.mean, row, "o", color=colour, markersize=7)
        ax.annotate(
            f"{one.mean:.4f}",
            (one.mean, row),
            xytext=(0, 6),
            textcoords="offset points",
            ha=side,
            fontsize=8.5,
            color=colour,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    best = max(intervals, key=lambda name: intervals[name].mean)
    title = f"{best} has the highest Recall@10: {intervals[best].mean:.4f}"
    if floors:
        floor = max(floors, key=lambda name: intervals[name].mean)
        others = [name for name in intervals if name not in floors]
        above = sum(intervals[name].mean > intervals[floor].mean for name in others)
        if len(others) == 1:
            if intervals[others[0]].mean == intervals[floor].mean:
                title += f", level with {others[0] if best == floor else floor}"
            else:
                title += (
                    "; the trained system lies below it" if best in floors else f", above {floor}"
                )
        elif others:
            title += f"; {above} of {len(others)} trained systems lie above {floor}"
        ax.axvline(intervals[floor].mean, color=GREY, linewidth=1, linestyle=":", zorder=0)
    ax.set_yticks(range(len(intervals)), list(intervals))
    ax.set(ylim=(len(intervals) - 0.5, -0.7), xlabel="Recall@10 (bar: 95% bootstrap interval)")
    ax.set_xlim(left=0)
    longest = max(
        map(len, intervals)
    )  # long names leave the axes, and what stands above them, less room
    return _finish(ax, title, grid="x", width=min(74, 86 - longest))


def first_code_frequency(loads: Mapping[str, np.ndarray], of: str = "items") -> Axes:
    """Share of items that have each first code, codes sorted by it.

    loads: arm -> count per code [n_codes]; of: what was counted, in words (items, recommendations).
    """
    ax = _new()
    for i, (name, counts) in enumerate(loads.items()):
        ordered = np.sort(counts)[::-1] / counts.sum()
        used = ordered[ordered > 0]
        label = f"{name} ({len(used)} code{'s' * (len(used) > 1)} in use)"
        ax.plot(range(1, len(used) + 1), used, color=PALETTE[i % 10], linewidth=2, label=label)
        ax.plot(len(used), used[-1], MARKERS[i % 6], color=PALETTE[i % 10], markersize=6)
    size = max(len(counts) for counts in loads.values())
    ax.axhline(
        1 / size, color=GREY, linestyle=":", linewidth=1, label=f"all {size} codes used equally"
    )
    ax.set(xlabel="first codes, most frequent first", ylabel=f"share of {of}", xlim=(0, None))
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    ax.legend(frameon=False)
    top = _listed({name: f"{counts.max() / counts.sum():.1%}" for name, counts in loads.items()})
    return _finish(ax, f"Share of {of} with the most frequent first code: {top}", grid="y")


def code_sphere(points: np.ndarray, loads: np.ndarray, name: str) -> Axes:
    """Code embeddings on a sphere; a dot's area is its items, dead codes are crosses.

    points: [n_codes, 3], from `analysis.geometry.sphere_projection`; loads: items per code
    [n_codes].
    """
    ax = plt.figure(figsize=(7, 5.5), layout="constrained").add_subplot(projection="3d")
    turn, rise = np.mgrid[0 : 2 * np.pi : 25j, 0 : np.pi : 13j]
    sphere = np.cos(turn) * np.sin(rise), np.sin(turn) * np.sin(rise), np.cos(rise)
    ax.plot_wireframe(*sphere, color="#c8c8c8", linewidth=0.4)
    used, share = loads > 0, loads / loads.sum()
    dots = ax.scatter(
        *points[used].T,
        s=8 + 3500 * share[used],
        c=100 * share[used],
        cmap="viridis_r",
        alpha=0.85,
        edgecolors="black",
        linewidths=0.4,
    )
    if not used.all():
        ax.scatter(
            *points[~used].T, s=14, c=GREY, marker="x", linewidths=0.8, label="no item has the code"
        )
        ax.legend(frameon=False, loc="upper left")
    ax.figure.colorbar(dots, ax=ax, shrink=0.6, pad=0.02, label="items with the code (% of all)")
    ax.set_box_aspect((1, 1, 1), zoom=1.45)
    ax.set_axis_off()
    title = f"{name}: {used.sum()} of {len(loads)} codes in use, the largest has {share.max():.1%} of the items"
    ax.set_title(_wrapped(title), fontsize=11)
    return ax


def genre_purity_by_prefix(purity: Mapping[str, pd.DataFrame]) -> Axes:
    """Probability that two items with the same first codes share a genre. purity: arm ->
    `genre_purity`'s frame.
    """
    ax = _new()
    for i, (name, frame) in enumerate(purity.items()):
        ax.plot(
            frame.index,
            frame["purity"],
            f"{MARKERS[i % 6]}-",
            color=PALETTE[i % 10],
            linewidth=2,
            label=name,
        )
    chance = pd.concat(purity.values()).groupby(level=0)
    low, high = chance["shuffled_low"].min().dropna(), chance["shuffled_high"].max().dropna()
    ax.fill_between(
        low.index,
        low,
        high,
        color=GREY,
        alpha=0.3,
        linewidth=0,
        label="shuffled identifiers (95% range)",
    )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(
        xlabel="first codes that the two items have in common (0: any two items)",
        ylabel="probability of a common genre",
        ylim=(0, 1),
    )
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(frameon=False, loc="lower right")
    shares = {name: frame["purity"][1] for name, frame in purity.items()}
    shares["shuffled identifiers"] = chance["shuffled"].mean()[1]
    said = {
        name: "no two such items" if np.isnan(one) else f"{one:.0%}" for name, one in shares.items()
    }
    return _finish(
        ax, f"Items with the same first code that share a genre: {_listed(said)}", grid="y"
    )


def training_curves(
    curves: Mapping[str, Sequence[tuple[int, float]]], measure: str, higher_is_better: bool
) -> Axes:
    """A measure by epoch, each curve's best epoch marked. curves: name -> (epoch, value) pairs, as
    in `TrainingLog`.
    """
    ax = _new()
    said = {}
    for i, (name, pairs) in enumerate(curves.items()):
        epochs, values = np.array(pairs, dtype=float).T
        best = int(values.argmax() if higher_is_better else values.argmin())
        ax.plot(epochs, values, color=PALETTE[i % 10], linewidth=2, label=name)
        ax.plot(epochs[best], values[best], MARKERS[i % 6], color=PALETTE[i % 10], markersize=8)
        said[name] = f"{values[best]:.3g} (epoch {epochs[best]:.0f})"
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch (mark: the best)", ylabel=measure)
    ax.legend(frameon=False)
    return _finish(
        ax, f"{'Highest' if higher_is_better else 'Lowest'} {measure}: {_listed(said)}", grid="y"
    )


def code_usage_by_level(usage: Mapping[str, pd.DataFrame]) -> Axes:
    """Bars of perplexity, from the frames of `analysis.code_usage.code_usage`, by level and arm."""
    values = {name: frame["perplexity"].to_numpy() for name, frame in usage.items()}
    ax = _bars_by_level(values, "{:.0f}")
    size = max(int(frame["codes"].max()) for frame in usage.values())
    ax.axhline(size, color=GREY, linestyle=":", linewidth=1)
    ax.set_ylabel(f"perplexity (of {size} codes)")
    ax.legend(frameon=False, ncols=len(usage), loc="upper left")
    firsts = _listed({name: f"{one[0]:.0f}" for name, one in values.items()})
    return _finish(ax, f"Perplexity at level 1: {firsts}", grid="y")


def collaborative_signal_by_level(results: Mapping[str, SimilarityResult]) -> Axes:
    """Share of items whose code equals that of their collaborative nearest neighbour, by level and
    arm.
    """
    values = {name: np.array(one.by_level) for name, one in results.items()}
    ax = _bars_by_level(values, "{:.3f}")
    chance = float(np.mean([one.random_pair for one in results.values()]))
    ax.axhline(
        chance, color="black", linestyle=":", linewidth=1, label=f"two random items ({chance:.3f})"
    )
    ax.set_ylabel("share of items whose code equals\ntheir nearest neighbour's (CF cosine)")
    ax.legend(frameon=False, loc="upper right")
    means = _listed({name: f"{one.mean:.3f}" for name, one in results.items()})
    return _finish(
        ax, f"Codes shared with the collaborative neighbour, mean of levels: {means}", grid="y"
    )


def recall_by_popularity(metrics: Mapping[str, Mapping[str, float]]) -> Axes:
    """Recall@10 by popularity group of the target. metrics: system -> `Evaluation.metrics()`.

    The numbers of cases below are the largest of any system; a language model answers a sample, in
    which a group may have no case and so no bar.
    """
    ax = _new(height=4.2)
    cases = {group: max(one[f"cases {group}"] for one in metrics.values()) for group in GROUPS}
    groups = [group for group, n in cases.items() if n]
    recall = {
        name: [one.get(f"R@10 {group}", np.nan) for group in groups]
        for name, one in metrics.items()
    }
    _grouped_bars(ax, recall)
    ax.set_xticks(range(len(groups)), [f"{group}\n{cases[group]:,} cases" for group in groups])
    ax.set(
        xlabel="target item's popularity in training (head, middle, tail: a third of interactions each)",
        ylabel="Recall@10",
    )
    ax.legend(frameon=False, ncols=1 + len(metrics) // 4, loc="upper right")
    said = {}
    for i, group in enumerate(groups):
        written = {
            name: f"{values[i]:.3f}" for name, values in recall.items() if values[i] > 0
        }  # NaN is not above 0
        best = [name for name in written if written[name] == max(written.values())]
        if best:
            said[group] = f"{best[0] if len(best) == 1 else 'several'} {written[best[0]]}"
    return _finish(
        ax, f"Highest Recall@10 by group: {_listed(said) or 'none above zero'}", grid="y"
    )


def _grouped_bars(ax: Axes, values: Mapping[str, Sequence[float]]) -> list[BarContainer]:
    """For each name its bars, one in each group."""
    width, middle = 0.84 / len(values), (len(values) - 1) / 2
    return [
        ax.bar(
            np.arange(len(heights)) + (i - middle) * width,
            heights,
            width * 0.92,
            color=PALETTE[i % 10],
            label=name,
        )
        for i, (name, heights) in enumerate(values.items())
    ]


def _bars_by_level(values: Mapping[str, np.ndarray], form: str) -> Axes:
    """Grouped bars with their values, one group a level."""
    ax = _new()
    for bars, heights in zip(_grouped_bars(ax, values), values.values(), strict=True):
        ax.bar_label(
            bars,
            [form.format(height) for height in heights],
            fontsize=8,
            padding=2,
            rotation=90 if len(values) > 2 else 0,
        )
    n_levels = max(map(len, values.values()))
    ax.set_xticks(range(n_levels), [str(level + 1) for level in range(n_levels)])
    ax.set_xlabel("level of the identifier")
    ax.margins(y=0.25)
    return ax


def _new(height: float = 3.8) -> Axes:
    return plt.subplots(figsize=(7, height), layout="constrained")[1]


def _listed(values: Mapping[str, str]) -> str:
    """ "plain 72, LETTER 83", with no-break spaces inside each part."""
    return listed(
        f"{name} {value}".replace(" ", "\N{NO-BREAK SPACE}") for name, value in values.items()
    )


def listed(parts: Iterable[str]) -> str:
    """With commas between them, or semicolons where a part has a comma of its own."""
    parts = list(parts)
    return ("; " if any("," in part for part in parts) else ", ").join(parts)


def spanned(values: np.ndarray, form: str) -> str:
    """ "0.52 to 0.88", or one number where the two are written alike."""
    low, high = (format(end(values), form) for end in (np.min, np.max))
    return low if low == high else f"{low} to {high}"


def _wrapped(title: str, width: int = 74) -> str:
    return textwrap.fill(title, width, break_on_hyphens=False)


def _finish(ax: Axes, title: str, grid: str, width: int = 74) -> Axes:
    return titled(ax, _wrapped(title, width), grid)


def titled(ax: Axes, title: str, grid: str, size: float = 11) -> Axes:
    """A title on the left over a `plain` frame. size: of the title, in points."""
    ax.set_title(title, loc="left", fontsize=size)
    return plain(ax, grid)


def plain(ax: Axes, grid: str) -> Axes:
    """A frame without top and right, and light lines behind the data across an axis, "x" or "y", or
    "both".
    """
    ax.grid(axis=grid, color="#e3e3e3", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
