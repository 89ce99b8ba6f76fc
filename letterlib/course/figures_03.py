"""The figures of lesson 03. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from letterlib.plots import GREY, MARKERS, PALETTE

COVERING = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.8}


def alike_map(
    text: np.ndarray, audience: np.ndarray, groups: Mapping[str, np.ndarray], n_known: int
) -> Axes:
    """Every pair of films by likeness of texts and of audiences; groups: name -> pairs to number,
    first is 1.
    """
    ax = plt.subplots(figsize=(7.5, 4.6), layout="constrained")[1]
    ax.hexbin(text, audience, gridsize=60, bins="log", cmap="Greys", linewidths=0, alpha=0.7)
    for i, (name, pairs) in enumerate(groups.items()):
        colour = (PALETTE[0], PALETTE[3])[i]
        ax.plot(text[pairs], audience[pairs], MARKERS[i], color=colour, markersize=6, label=name)
        ax.annotate(
            "1",
            (text[pairs[0]], audience[pairs[0]]),
            xytext=(0, -14),
            textcoords="offset points",
            color=colour,
            ha="center",
        )
    ax.set(xlabel="likeness of texts (cosine)", ylabel="likeness of audiences (correlation)")
    r = np.corrcoef(text, audience)[0, 1]
    ax.set_title(
        f"{len(text):,} pairs of {n_known} films: the two kinds of likeness correlate at {r:.2f}",
        loc="left",
        fontsize=11,
    )
    ax.legend(frameon=False, loc="upper right", title="pairs of the tables", alignment="left")
    return _bare(ax)


def graph(interactions: np.ndarray, users: Sequence[str], items: Sequence[str]) -> Axes:
    """Users on the left, items on the right, every edge with its weight 1 / sqrt(n_u n_i)."""
    ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")[1]
    n_u, n_i = interactions.sum(axis=1), interactions.sum(axis=0)
    left, right = (np.linspace(1, 0, len(names)) for names in (users, items))
    for u, i in zip(*np.nonzero(interactions), strict=True):
        weight = 1 / np.sqrt(n_u[u] * n_i[i])
        ax.plot(
            [0, 1], [left[u], right[i]], color=PALETTE[0], linewidth=5 * weight, alpha=0.5, zorder=1
        )
        place = 0.2 + 0.6 * weight
        ax.text(
            place,
            left[u] + place * (right[i] - left[u]),
            f"{weight:.2f}",
            fontsize=9,
            ha="center",
            va="center",
            bbox=COVERING,
        )
    for x, ys, names, counts, side in (
        (0, left, users, n_u, "right"),
        (1, right, items, n_i, "left"),
    ):
        ax.scatter([x] * len(ys), ys, s=90, color=GREY, zorder=2)
        for y, name, count in zip(ys, names, counts, strict=True):
            ax.text(
                x + (0.03 if x else -0.03),
                y,
                f"{name} ({count:.0f})",
                ha=side,
                va="center",
                fontsize=10,
            )
    ax.set(xlim=(-0.35, 1.4), ylim=(-0.15, 1.15))
    ax.set_title("An edge weighs 1 / sqrt(edges of its user times edges of its film)", fontsize=11)
    ax.axis("off")
    return ax


def causal(titles: Sequence[str]) -> Axes:
    """Which films SASRec may read (columns) when it predicts each next one (rows)."""
    n = len(titles) - 1
    ax = plt.subplots(figsize=(7.5, 0.42 * n + 2.2), layout="constrained")[1]
    seen = np.tril(np.ones((n, n)))
    ax.imshow(seen, cmap="Blues", vmin=0, vmax=1.8, aspect="auto")
    for row in range(n):
        for column in range(n):
            ax.text(
                column,
                row,
                "read" if seen[row, column] else "hidden",
                ha="center",
                va="center",
                fontsize=8,
                color="black" if seen[row, column] else GREY,
            )
    ax.set_xticks(range(n), titles[:-1], rotation=25, ha="right", fontsize=9)
    ax.set_yticks(range(n), titles[1:], fontsize=9)
    ax.set(xlabel="history, oldest first", ylabel="to be predicted")
    ax.set_title(
        f"{n + 1} films make {n} questions, each answered from the films before",
        loc="left",
        fontsize=11,
    )
    ax.tick_params(length=0)
    return ax


def overlaps(table: pd.DataFrame, chance: float) -> Axes:
    """table: index = group of items, columns = pair of spaces, values = overlap of neighbours."""
    ax = plt.subplots(figsize=(7.5, 4), layout="constrained")[1]
    for i, (name, values) in enumerate(table.items()):
        ax.plot(
            range(len(values)), values, f"{MARKERS[i]}-", color=PALETTE[i], linewidth=2, label=name
        )
    ax.axhline(chance, color=GREY, linestyle=":", label=f"chance ({chance:.3f})")
    ax.set_xticks(range(len(table)), table.index)
    ax.set(xlabel="users who rated the film in training", ylabel="neighbours in common")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, loc="upper left")
    last = table.columns[-1]
    first, end = table[last].iloc[0], table[last].iloc[-1]
    ax.set_title(
        f"{last}: {first:.0%} of neighbours in common for rare films, {end:.0%} for popular ones",
        loc="left",
        fontsize=11,
    )
    return _bare(ax)


def pull_and_push(z: np.ndarray, h: np.ndarray, own: int, paths: np.ndarray):
    """Left: the two parts of one z's step. Right: where every z goes from the origin. paths:
    [steps, n, 2].
    """
    axes = plt.subplots(1, 2, figsize=(9.5, 4.6), layout="constrained")[1]
    p = np.exp(h @ z) / np.exp(h @ z).sum()
    steps = {"own h pulls": (1 - p[own]) * h[own], "others push": -(p @ h - p[own] * h[own])}
    steps["together"] = sum(steps.values())
    style = {"head_width": 0.06, "length_includes_head": True, "linewidth": 1.8}
    for (label, step), colour in zip(steps.items(), (PALETTE[2], PALETTE[3], "black"), strict=True):
        axes[0].arrow(*z, *step, color=colour, label=label, **style)
    axes[0].plot(*z, "ko", markersize=7)
    axes[0].annotate("z", z, xytext=(6, -12), textcoords="offset points")
    axes[0].legend(frameon=False, loc="lower right")
    axes[0].set_title(f"One step: its own h has p = {p[own]:.2f}", fontsize=11, loc="left")
    for i, path in enumerate(paths.transpose(1, 0, 2)):
        axes[1].plot(*path.T, color=PALETTE[0], linewidth=1.5)
        axes[1].plot(*path[-1], "o", color=PALETTE[0])
        outside = 12 * path[-1] / np.linalg.norm(path[-1])
        axes[1].annotate(
            f"z{i}",
            path[-1],
            xytext=outside,
            textcoords="offset points",
            color=PALETTE[0],
            ha="center",
            va="center",
        )
    before, after = _angle(h[0], h[1]), _angle(*paths[-1, :2])
    axes[1].set_title(
        f"h0 and h1 are {before:.0f}° apart; their z end {after:.0f}° apart",
        fontsize=11,
        loc="left",
    )
    for ax in axes:
        for i, vector in enumerate(h):
            ax.plot(*vector, "s", color=GREY, markersize=8)
            ax.annotate(
                f"h{i}", vector, xytext=(-16, 5), textcoords="offset points", color="#444444"
            )
        ax.set_aspect("equal")
        ax.margins(0.12)
        ax.axhline(0, color="#dddddd", zorder=0)
        ax.axvline(0, color="#dddddd", zorder=0)
        _bare(ax)
    axes[0].set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
    return axes


def batches_and_epochs(curves: Mapping[int, pd.DataFrame]):
    """curves: batch size -> frame by epoch with columns "loss" and "overlap"."""
    axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")[1]
    labels = {"loss": "L_CF over the whole catalogue", "overlap": "neighbours in common with h"}
    for ax, (column, label) in zip(axes, labels.items(), strict=True):
        for i, (batch, frame) in enumerate(curves.items()):
            ax.plot(
                frame.index,
                frame[column],
                f"{MARKERS[i]}-",
                color=PALETTE[i],
                label=f"batch of {batch}",
            )
        ax.set(xlabel="epoch", title=label)
        ax.set_ylim(bottom=0)
        _bare(ax)
    axes[0].legend(frameon=False, loc="lower left")
    large = curves[max(curves)]
    best, most, last = (
        large["overlap"].idxmax(),
        f"{large['overlap'].max():.2f}",
        f"{large['overlap'].iloc[-1]:.2f}",
    )
    title = f"Batch of {max(curves)}: most neighbours in common after epoch {best} ({most})"
    if last != most:
        title += f", fewer after {large.index[-1]} ({last})"
    axes[0].figure.suptitle(title, fontsize=11)
    return axes


def losses(logs: Mapping[str, Sequence[Mapping[str, float]]], chance: float):
    """Three losses by epoch, one line an arm; an arm without L_CF has no line in the third
    panel.
    """
    axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")[1]
    panels = {"reconstruction": "L_Recon", "rq": "L_RQ-VAE", "collaborative": "L_CF"}
    for ax, (key, label) in zip(axes, panels.items(), strict=True):
        for i, (arm, log) in enumerate(logs.items()):
            if key in log[0]:
                ax.plot(
                    range(1, len(log) + 1),
                    [epoch[key] for epoch in log],
                    color=PALETTE[i],
                    label=arm,
                )
        ax.set(xlabel="epoch", title=label)
        ax.set_ylim(bottom=0)
        _bare(ax)
    axes[0].legend(frameon=False, loc="lower left")
    axes[2].axhline(chance, color=GREY, linestyle=":")
    axes[2].annotate(
        "chance", (1, chance), xytext=(0, 3), textcoords="offset points", color=GREY, fontsize=9
    )
    last = next(log[-1]["collaborative"] for log in logs.values() if "collaborative" in log[0])
    first, second = (f"{log[-1]['reconstruction']:.3f}" for log in logs.values())
    said = f"{second} instead of {first}" if first != second else f"{second} with and without it"
    title = f"With L_CF at {last:.2f} (chance {chance:.2f}), L_Recon ends at {said}"
    axes[0].figure.suptitle(title, fontsize=11)
    return axes


def before_and_after(table: pd.DataFrame, labels: Sequence[str], told: Sequence[Sequence[str]]):
    """table: two blocks of columns (overlaps, pairs) side by side, index = the two tokenizers.

    labels: what is measured in each block. told: the columns of each that its title speaks of.
    """
    axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")[1]
    blocks = [
        table[[column for column in table if column[0] == block]] for block in dict(table.columns)
    ]
    for ax, block, label, chosen in zip(axes, blocks, labels, told, strict=True):
        names = [name for _, name in block.columns]
        for i, (arm, values) in enumerate(block.iterrows()):
            bars = ax.bar(
                np.arange(len(names)) + (i - 0.5) * 0.4, values, 0.38, color=PALETTE[i], label=arm
            )
            ax.bar_label(bars, fmt="%.3f", fontsize=8, padding=2)
        ax.set_xticks(range(len(names)), names, fontsize=9)
        moves = [
            f"{name}: from {first:.3f} to {second:.3f}"
            for (_, name), (first, second) in block.items()
            if name in chosen
        ]
        ax.set_title("; ".join(moves), loc="left", fontsize=11)
        ax.set_ylabel(label)
        ax.margins(y=0.2)
        _bare(ax)
    axes[1].legend(frameon=False, loc="upper right")
    return axes


def against_alpha(mean: pd.DataFrame, half: pd.DataFrame, panels: Mapping[str, str]):
    """Means by alpha with their half intervals, one panel a column. panels: column -> words."""
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 6), layout="constrained", sharex=True)
    places = np.arange(len(mean))
    for ax, (column, words) in zip(axes.flat, panels.items(), strict=True):
        ax.errorbar(
            places, mean[column], yerr=half[column].fillna(0), fmt="o-", color=PALETTE[0], capsize=4
        )
        ax.set_title(words, loc="left", fontsize=10.5)
        ax.set_xticks(places, [f"{alpha:g}" for alpha in mean.index])
        ax.set_ylim(0, 1.15 * (mean[column] + half[column].fillna(0)).max())
        _bare(ax)
    for ax in axes[-1]:
        ax.set_xlabel("alpha")
    text, audience = (mean[column] for column in ("semantic_overlap", "collaborative_overlap"))
    figure.suptitle(
        f"From alpha 0 to {mean.index[-1]:g}, neighbours in common with the texts go from "
        f"{text.iloc[0]:.2f} to {text.iloc[-1]:.2f},\nwith the audiences from "
        f"{audience.iloc[0]:.3f} to "
        f"{audience.iloc[-1]:.3f}",
        fontsize=11,
    )
    return axes


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(
        np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))
    )


def _bare(ax: Axes) -> Axes:
    ax.spines[["top", "right"]].set_visible(False)
    return ax
