"""The figures of reports and lessons, one function each: data in, the Axes out.

Each title states what the data show and is computed from them. Colours are seaborn's
colour-blind-safe palette in the order of the mapping given, so give the variants of a comparison in
the same order everywhere. Notebooks store each figure's alternative text with its picture.
"""

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from letterlib.analysis.collaborative_signal import SimilarityResult
from letterlib.errors import optional
from letterlib.evaluation.bootstrap import Interval
from letterlib.evaluation.metrics import GROUPS

with optional("plots"):
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

PALETTE = sns.color_palette("colorblind").as_hex()
GREY = "#6b6b6b"
MARKERS = "osD^vP"  # a second cue next to the colour


def alternative_text(figure: Figure) -> str:
    """What is written on a figure, for readers who do not see it: titles, axes, legends."""
    panels = figure.axes
    legends = [*figure.legends, *(ax.get_legend() for ax in panels if ax.get_legend())]
    parts = {
        "": [
            figure.get_suptitle(),
            *(ax.get_title(side) for ax in panels for side in ("left", "center", "right")),
        ],
        "Horizontal: ": [figure.get_supxlabel(), *(ax.get_xlabel() for ax in panels)],
        "Vertical: ": [figure.get_supylabel(), *(ax.get_ylabel() for ax in panels)],
        "Legend: ": [text.get_text() for legend in legends for text in legend.get_texts()],
    }
    once = {
        name: dict.fromkeys(" ".join(text.split()) for text in texts if text)
        for name, texts in parts.items()
    }
    return " ".join(f"{name}{'; '.join(texts)}." for name, texts in once.items() if texts)


def _describe(figure: Figure) -> None:
    """Let IPython store the alternative text with the picture; `docs/site/hooks.py` reads it."""
    figure._repr_mimebundle_ = partial(_metadata, figure)


def _metadata(figure: Figure, **_: object) -> tuple[dict, dict]:
    return {}, {"image/png": {"alt": alternative_text(figure)}}


plt.rcParams["figure.hooks"] = [*plt.rcParams["figure.hooks"], f"{__name__}:_describe"]


def system_forest(intervals: Mapping[str, Interval], floors: Collection[str] = ()) -> Axes:
    """Recall@10 of every system, a dot and its 95% interval, first on top.

    floors: the names that a trained system has to clear; grey, with a dotted line at the highest.
    """
    ax = _new(height=1.3 + 0.42 * len(intervals))
    widest = max(interval.high for interval in intervals.values())
    for row, (name, interval) in enumerate(intervals.items()):
        colour, mean = GREY if name in floors else PALETTE[0], interval.mean
        side = "left" if mean < widest / 20 else "center"  # near the axis there is no room
        ends = [interval.low, interval.high]
        ax.plot(ends, [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        ax.plot(mean, row, "o", color=colour, markersize=7)
        ax.annotate(
            f"{mean:.4f}",
            (mean, row),
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
        if others:
            title += f"; {above} of {len(others)} trained systems lie above {floor}"
        ax.axvline(intervals[floor].mean, color=GREY, linewidth=1, linestyle=":", zorder=0)
    ax.set_yticks(range(len(intervals)), list(intervals))
    ax.set(ylim=(len(intervals) - 0.5, -0.7), xlabel="Recall@10 (bar: 95% bootstrap interval)")
    ax.set_xlim(left=0)
    longest = max(map(len, intervals))  # long names leave the title less room
    return _finish(ax, title, grid="x", width=min(74, 86 - longest))


def first_code_frequency(loads: Mapping[str, np.ndarray], of: str = "items") -> Axes:
    """Share of items that have each first code, codes sorted by it.

    loads: variant -> count per code [n_codes]; of: what was counted (items, recommendations).
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

    points: [n_codes, 3], from `geometry.sphere_projection`; loads: items per code [n_codes].
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
    title = (
        f"{name}: {used.sum()} of {len(loads)} codes in use, the largest has {share.max():.1%} of "
        "the items"
    )
    ax.set_title(_wrapped(title), fontsize=11)
    return ax


def genre_purity_by_prefix(purity: Mapping[str, pd.DataFrame]) -> Axes:
    """Probability that two items with the same first codes share a genre.

    purity: variant -> frame of `analysis.purity.genre_purity`.
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
    written = {
        name: "no two such items" if np.isnan(share) else f"{share:.0%}"
        for name, share in shares.items()
    }
    return _finish(
        ax, f"Items with the same first code that share a genre: {_listed(written)}", grid="y"
    )


def training_curves(
    curves: Mapping[str, Sequence[tuple[int, float]]], measure: str, higher_is_better: bool
) -> Axes:
    """A measure by epoch, each curve's best epoch marked.

    curves: name -> (epoch, value) pairs, as in `TrainingLog`.
    """
    ax = _new()
    written = {}
    for i, (name, pairs) in enumerate(curves.items()):
        epochs, values = np.array(pairs, dtype=float).T
        best = int(values.argmax() if higher_is_better else values.argmin())
        ax.plot(epochs, values, color=PALETTE[i % 10], linewidth=2, label=name)
        ax.plot(epochs[best], values[best], MARKERS[i % 6], color=PALETTE[i % 10], markersize=8)
        written[name] = f"{values[best]:.3g} (epoch {epochs[best]:.0f})"
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch (mark: the best)", ylabel=measure)
    ax.legend(frameon=False)
    extreme = "Highest" if higher_is_better else "Lowest"
    return _finish(ax, f"{extreme} {measure}: {_listed(written)}", grid="y")


def code_usage_by_level(usage: Mapping[str, pd.DataFrame]) -> Axes:
    """Bars of perplexity by level. usage: variant -> frame of `analysis.code_usage.code_usage`."""
    values = {name: frame["perplexity"].to_numpy() for name, frame in usage.items()}
    ax = _bars_by_level(values, "{:.0f}")
    size = max(int(frame["codes"].max()) for frame in usage.values())
    ax.axhline(size, color=GREY, linestyle=":", linewidth=1)
    ax.set_ylabel(f"perplexity (of {size} codes)")
    ax.legend(frameon=False, ncols=len(usage), loc="upper left")
    firsts = _listed({name: f"{levels[0]:.0f}" for name, levels in values.items()})
    return _finish(ax, f"Perplexity at level 1: {firsts}", grid="y")


def collaborative_signal_by_level(results: Mapping[str, SimilarityResult]) -> Axes:
    """Share of items whose code equals their collaborative nearest neighbour's, by level."""
    values = {name: np.array(result.by_level) for name, result in results.items()}
    ax = _bars_by_level(values, "{:.3f}")
    chance = float(np.mean([result.random_pair for result in results.values()]))
    ax.axhline(
        chance, color="black", linestyle=":", linewidth=1, label=f"two random items ({chance:.3f})"
    )
    ax.set_ylabel("share of items whose code equals\ntheir nearest neighbour's (CF cosine)")
    ax.legend(frameon=False, loc="upper right")
    means = _listed({name: f"{result.mean:.3f}" for name, result in results.items()})
    return _finish(
        ax, f"Codes shared with the collaborative neighbour, mean of levels: {means}", grid="y"
    )


def recall_by_popularity(metrics: Mapping[str, Mapping[str, float]]) -> Axes:
    """Recall@10 by popularity group of the target. metrics: system -> `Evaluation.metrics()`.

    Numbers of cases are the largest of any system; a language model answers a sample, and has no
    bar for a group without a case.
    """
    ax = _new(height=4.2)
    cases = {group: max(m[f"cases {group}"] for m in metrics.values()) for group in GROUPS}
    groups = [group for group, n in cases.items() if n]
    recall = {
        name: [values.get(f"R@10 {group}", np.nan) for group in groups]
        for name, values in metrics.items()
    }
    _grouped_bars(ax, recall)
    ax.set_xticks(range(len(groups)), [f"{group}\n{cases[group]:,} cases" for group in groups])
    ax.set(
        xlabel="target's popularity in training (head, middle, tail: a third of interactions each)",
        ylabel="Recall@10",
    )
    ax.legend(frameon=False, ncols=1 + len(metrics) // 4, loc="upper right")
    highest = {}
    for i, group in enumerate(groups):
        above = {name: f"{values[i]:.3f}" for name, values in recall.items() if values[i] > 0}
        best = [name for name in above if above[name] == max(above.values())]
        if best:
            highest[group] = f"{best[0] if len(best) == 1 else 'several'} {above[best[0]]}"
    return _finish(
        ax, f"Highest Recall@10 by group: {_listed(highest) or 'none above zero'}", grid="y"
    )


def _grouped_bars(ax: Axes, values: Mapping[str, Sequence[float]]) -> list[BarContainer]:
    """The bars of each name, one in each group."""
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
    """With commas between them, or semicolons where a part contains a comma."""
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
    """A frame without top and right, and light grid lines of an axis: "x", "y" or "both"."""
    ax.grid(axis=grid, color="#e3e3e3", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
