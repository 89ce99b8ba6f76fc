"""The figures of lesson 03. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from letterlib.course.exercises import lesson_03
from letterlib.plots import GREY, MARKERS, PALETTE

without_mask = lesson_03.without_mask
"""SASRec's loss where every position reads the whole history."""


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


def three_tokenizers(overlaps: pd.DataFrame, places: pd.DataFrame, n_films: int):
    """Two tables, a row for each tokenizer. overlaps: of its neighbours with those of each space;
    places: of the other film of a pair, among n_films.
    """
    axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")[1]
    for ax, table, digits in zip(axes, (overlaps, places), ("%.3f", "%.0f"), strict=True):
        width = 0.8 / len(table)
        for i, (name, values) in enumerate(table.iterrows()):
            shift = (i - (len(table) - 1) / 2) * width
            bars = ax.bar(
                np.arange(len(values)) + shift, values, 0.95 * width, color=PALETTE[i], label=name
            )
            ax.bar_label(bars, fmt=digits, fontsize=8, padding=2)
        ax.set_xticks(range(len(values)), table.columns, fontsize=9)
        ax.margins(y=0.15)
        _bare(ax)
    axes[0].set_ylabel("ten nearest in common with")
    axes[1].set_ylabel(f"median place among {n_films} films")
    plain, aligned = overlaps.index[:2]
    axes[0].set_title(
        "; ".join(
            f"{space}: from {overlaps.loc[plain, space]:.3f} to {overlaps.loc[aligned, space]:.3f}"
            for space in overlaps.columns[[0, -1]]
        ),
        loc="left",
        fontsize=11,
    )
    pairs = places.columns[-1]
    axes[1].set_title(
        f"{pairs}: from place {places.loc[plain, pairs]:.0f} to {places.loc[aligned, pairs]:.0f}",
        loc="left",
        fontsize=11,
    )
    axes[0].legend(frameon=False, loc="upper right")
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
