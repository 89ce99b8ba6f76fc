"""The figures of lesson 04. Each takes data, draws, and returns what it drew on."""

from collections.abc import Mapping, Sequence
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import PIL.Image
from IPython.display import Image
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from letterlib.analysis.geometry import sphere_projection
from letterlib.evaluation.metrics import gini
from letterlib.plots import GREY, MARKERS, PALETTE, alternative_text, listed


def lorenz(loads: Mapping[str, np.ndarray]) -> Axes:
    """Share of the items that the emptiest share of codes has; the diagonal is even use. loads: arm
    -> [n_codes].
    """
    ax = plt.subplots(figsize=(6.2, 4.4), layout="constrained")[1]
    ax.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="all codes used equally")
    halves = {}
    for i, (name, counts) in enumerate(loads.items()):
        held = np.concatenate([[0], np.sort(counts).cumsum() / counts.sum()])
        codes = np.linspace(0, 1, len(held))
        ax.plot(
            codes, held, color=PALETTE[i], linewidth=2, label=f"{name}: Gini {gini(counts):.2f}"
        )
        halves[name] = np.interp(0.5, codes, held)
        ax.plot(0.5, halves[name], MARKERS[i], color=PALETTE[i], markersize=6)
    words = listed(f"{name} {half:.0%}" for name, half in halves.items())
    ax.set(
        xlabel="share of first codes, emptiest first",
        ylabel="share of films that they hold together",
    )
    ax.set_title(f"Films held by the emptier half of the codes:\n{words}", loc="left", fontsize=11)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(frameon=False, loc="upper left")
    return _plain(ax)


def grouped_codes(points: np.ndarray, groups: Mapping[str, np.ndarray]) -> Sequence[Axes]:
    """Code vectors in two dimensions [n_codes, 2] in the colours of their groups, one panel a way
    of grouping.
    """
    axes = plt.subplots(
        1, len(groups), figsize=(9.5, 3.7), layout="constrained", sharex=True, sharey=True
    )[1]
    for ax, (name, of_code) in zip(axes, groups.items(), strict=True):
        sizes = np.bincount(of_code)
        for group in np.argsort(-sizes, kind="stable"):
            mine = points[of_code == group]
            rank = int((sizes > sizes[group]).sum() + (sizes[:group] == sizes[group]).sum())
            ax.scatter(
                *mine.T,
                s=34,
                color=PALETTE[rank % 10],
                marker=MARKERS[rank % 6],
                edgecolors="white",
                linewidths=0.5,
                label=f"{len(mine)} {'code' if len(mine) == 1 else 'codes'}",
            )
        alone = int((sizes == 1).sum())
        ax.set_title(
            f"{name}: {alone or 'no'} {'group' if alone == 1 else 'groups'} of one code",
            fontsize=11,
        )
        ax.legend(frameon=False, fontsize=9, loc="upper right")
        _plain(ax)
    return axes


def descent(
    before: np.ndarray, after: np.ndarray, groups: np.ndarray, history: pd.DataFrame
) -> Sequence[Axes]:
    """The way of every code under L_Div alone, and distances and lengths by step.

    before, after: [n_codes, 2]; groups: the last groups [n_codes]; history: one row a step, one
    column a measure.
    """
    axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained", width_ratios=[1, 1.25])[1]
    for group in range(groups.max() + 1):
        mine, colour = groups == group, PALETTE[group % 10]
        for start, end in zip(before[mine], after[mine], strict=True):
            axes[0].plot(*zip(start, end, strict=True), color=colour, linewidth=0.8, alpha=0.6)
        axes[0].scatter(*before[mine].T, s=22, facecolors="white", edgecolors=colour, zorder=3)
        axes[0].scatter(
            *after[mine].T,
            s=42,
            color=colour,
            marker=MARKERS[group % 6],
            zorder=4,
            edgecolors="white",
        )
    axes[0].plot(0, 0, "+", color="black", markersize=10)
    axes[0].set_aspect("equal", adjustable="datalim")
    axes[0].set_title("Hollow: at the start. Filled: after L_Div.\nCross: the origin", fontsize=11)
    for colour, style, (name, values) in zip(
        (4, 5, 7, 9), ("-", "--", "-.", ":"), history.items(), strict=True
    ):
        axes[1].plot(values, color=PALETTE[colour], linestyle=style, linewidth=2.2, label=name)
    last = history.iloc[-1] / history.iloc[0]
    words = ", ".join(f"{name} {ratio:.1f}" for name, ratio in last.items())
    axes[1].set_title(f"At the end, as a multiple of the start:\n{words}", fontsize=10.5)
    axes[1].set(xlabel="step", ylabel="distance")
    axes[1].legend(frameon=False, loc="upper left")
    for ax in axes:
        _plain(ax)
    return axes


def loads_by_group(loads: Mapping[str, np.ndarray]) -> Axes:
    """Share of the items in the fullest eighth of the codes, the next eighth, ..., one bar an
    arm.
    """
    ax = plt.subplots(figsize=(8, 4), layout="constrained")[1]
    n_groups, width = 8, 0.86 / len(loads)
    for i, (name, counts) in enumerate(loads.items()):
        parts = np.array_split(np.sort(counts)[::-1] / counts.sum(), n_groups)
        shares = [part.sum() for part in parts]
        places = np.arange(n_groups) + (i - (len(loads) - 1) / 2) * width
        ax.bar(
            places,
            shares,
            width * 0.92,
            color=PALETTE[i],
            label=f"{name}: {(counts > 0).sum()} in use",
        )
    size = len(next(iter(loads.values())))
    ax.axhline(1 / n_groups, color=GREY, linestyle=":", linewidth=1)
    ax.annotate(
        "even",
        (n_groups - 0.55, 1 / n_groups),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color=GREY,
        fontsize=9,
    )
    edges = np.cumsum([0, *map(len, np.array_split(np.arange(size), n_groups))])
    ax.set_xticks(
        range(n_groups), [f"{a + 1}-{b}" for a, b in zip(edges[:-1], edges[1:], strict=True)]
    )
    ax.set(xlabel="first codes, fullest first", ylabel="share of films")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    top = {name: np.sort(c)[::-1][: edges[1]].sum() / c.sum() for name, c in loads.items()}
    words = listed(f"{name} {share:.0%}" for name, share in top.items())
    ax.set_title(
        f"Films in the fullest {edges[1]} of {size} first codes: {words}", loc="left", fontsize=11
    )
    ax.legend(frameon=False)
    return _plain(ax)


def beta_sweep(summary: pd.DataFrame, shown: float) -> Sequence[Axes]:
    """Perplexity of the first codes and reconstruction error by beta, one line an alpha.

    summary: one row per alpha and beta; columns "perplexity_1", "error" and for both "... half",
    half the width of the interval. shown: the alpha that the titles are about.
    """
    axes = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained")[1]
    alphas, betas = sorted(summary["alpha"].unique()), sorted(summary["beta"].unique())
    labels = {
        "perplexity_1": "perplexity of the first codes",
        "error": "reconstruction error, four levels",
    }
    digits = {"perplexity_1": 0, "error": 3}
    for ax, (column, label) in zip(axes, labels.items(), strict=True):
        for i, alpha in enumerate(alphas):
            rows = summary[summary["alpha"] == alpha].sort_values("beta")
            places = np.arange(len(rows)) + 0.06 * (i - len(alphas) / 2)
            ax.errorbar(
                places,
                rows[column],
                rows[f"{column} half"],
                color=PALETTE[i],
                marker=MARKERS[i % 6],
                linewidth=1.5,
                capsize=3,
                label=f"alpha {alpha:g}",
            )
        ax.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
        ax.set(xlabel="beta, the weight of L_Div", ylabel=label)
        row, none = (_row(summary, shown, beta)[column] for beta in (betas[-1], 0))
        moved = f"{abs(row - none):.{digits[column]}f}"
        verdict = f"adds {moved} to" if row >= none else f"takes {moved} from"
        ax.set_title(
            f"At alpha {shown:g}, beta {betas[-1]:g} {verdict} the {column.split('_')[0]}",
            fontsize=11,
        )
        _plain(ax)
    axes[0].set_ylim(bottom=0)
    axes[0].legend(frameon=False, ncols=2, loc="lower left")
    return axes


def spheres(codebooks: Mapping[str, np.ndarray], loads: Mapping[str, np.ndarray]) -> Sequence[Axes]:
    """Two or more first codebooks [n_codes, dim] on spheres side by side, dots by their loads, in
    one scale.
    """
    figure, axes = plt.subplots(
        1, len(codebooks), figsize=(9.6, 4.2), layout="constrained", subplot_kw={"projection": "3d"}
    )
    turn, rise = np.mgrid[0 : 2 * np.pi : 49j, 0 : np.pi : 25j]
    sphere = np.cos(turn) * np.sin(rise), np.sin(turn) * np.sin(rise), np.cos(rise)
    top = max(one.max() / one.sum() for one in loads.values())
    for ax, (name, codebook) in zip(axes, codebooks.items(), strict=True):
        points = sphere_projection(codebook)
        used, share = loads[name] > 0, loads[name] / loads[name].sum()
        ax.plot_wireframe(*sphere, color="#c8c8c8", linewidth=0.4, rcount=7, ccount=12)
        dots = ax.scatter(
            *points[used].T,
            s=8 + 3500 * share[used],
            c=share[used],
            cmap="viridis_r",
            alpha=0.85,
            edgecolors="black",
            linewidths=0.4,
            vmin=0,
            vmax=top,
        )
        ax.scatter(
            *points[~used].T, s=14, c=GREY, marker="x", linewidths=0.8, label="no film has the code"
        )
        ax.set_box_aspect((1, 1, 1), zoom=1.5)
        ax.set_axis_off()
        in_use = f"{used.sum()} of {len(codebook)} codes in use"
        ax.set_title(f"{name}\n{in_use}, largest {share.max():.1%}", fontsize=11)
    axes[0].legend(frameon=False, loc="upper left")
    figure.colorbar(
        dots,
        ax=axes,
        shrink=0.7,
        pad=0.02,
        label="films with the code",
        format=PercentFormatter(1, decimals=1),
    )
    return axes


def compact(axes: Axes | Sequence[Axes]) -> Image:
    """A drawn figure as a PNG of 256 colours, a third of the usual size: a notebook with many
    figures stays small.
    """
    figure, drawn, small = np.ravel(axes)[0].figure, BytesIO(), BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight")
    plt.close(figure)
    PIL.Image.open(drawn).convert("RGB").quantize(256, kmeans=2, dither=PIL.Image.Dither.NONE).save(
        small, "png"
    )
    return Image(small.getvalue(), alt=alternative_text(figure))


def _row(summary: pd.DataFrame, alpha: float, beta: float) -> pd.Series:
    return summary[(summary["alpha"] == alpha) & (summary["beta"] == beta)].iloc[0]


def _plain(ax: Axes) -> Axes:
    ax.grid(color="#ececec", linewidth=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
