"""The figures of lesson 05. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from letterlib.evaluation.bootstrap import Interval
from letterlib.plots import GREY, MARKERS, PALETTE, listed


def loss_curves(logs: Mapping[str, Sequence[Mapping[str, float]]]) -> Sequence[Axes]:
    """The four losses by epoch, one line for every tokenizer that has the loss in its log."""
    axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")[1]
    panels = {
        "reconstruction": "L_Recon",
        "rq": "L_RQ-VAE",
        "collaborative": "L_CF",
        "diversity": "L_Div",
    }
    for ax, (key, label) in zip(axes, panels.items(), strict=True):
        for i, (arm, log) in enumerate(logs.items()):
            if key in log[-1]:
                values = [epoch[key] for epoch in log]
                ax.plot(
                    range(1, len(values) + 1),
                    values,
                    color=PALETTE[i],
                    label=arm,
                    linestyle=("-", "--", "-.", ":")[i % 4],
                    linewidth=1.8,
                )
        ax.set(xlabel="epoch", title=label)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    said = ", ".join(f"{log[-1]['reconstruction']:.2f} with {arm}" for arm, log in logs.items())
    axes[0].figure.suptitle(f"L_Recon at the end: {said}")
    return axes


@dataclass(frozen=True)
class Measure:
    """One panel: its name, a value for every tokenizer (with an interval where there is one), which
    way is better.
    """

    name: str
    values: Sequence[float | Interval]
    higher_is_better: bool
    form: str = "{:.3f}"
    chance: float | None = None


def three_criteria(arms: Sequence[str], criteria: Mapping[str, Sequence[Measure]]) -> np.ndarray:
    """One column a criterion, its measures below each other, one row of dots a tokenizer."""
    rows = max(map(len, criteria.values()))
    figure, axes = plt.subplots(
        rows, len(criteria), figsize=(11.5, 2.4 * rows + 0.4), layout="constrained", sharey=True
    )
    wins = dict.fromkeys(arms, 0)
    for column, (criterion, measures) in enumerate(criteria.items()):
        for row, measure in enumerate(measures):
            best = _panel(axes[row, column], arms, measure)
            if len(best) == 1:  # who shares the first place has not won
                wins[arms[best[0]]] += 1
            if row == 0:
                axes[row, column].set_title(f"{criterion}\n{measure.name}", fontsize=10)
    total = sum(map(len, criteria.values()))
    all_of_them = next((arm for arm, won in wins.items() if won == total), "No tokenizer")
    said = listed(f"{arm} in {won}" for arm, won in wins.items())
    figure.suptitle(f"{all_of_them} is best in all {total} measures; best alone: {said}")
    return axes


def _panel(ax: Axes, arms: Sequence[str], measure: Measure) -> np.ndarray:
    """Draw one measure; returns which arms have the best value."""
    means = [one.mean if isinstance(one, Interval) else one for one in measure.values]
    for i, (one, mean) in enumerate(zip(measure.values, means, strict=True)):
        if isinstance(one, Interval):
            ax.plot(
                [one.low, one.high], [i, i], color=PALETTE[i], linewidth=2, solid_capstyle="butt"
            )
        ax.plot(mean, i, MARKERS[i], color=PALETTE[i], markersize=7)
        ax.annotate(
            measure.form.format(mean),
            (mean, i),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            color=PALETTE[i],
        )
    if measure.chance is not None:
        ax.axvline(measure.chance, color=GREY, linestyle=":", linewidth=1)
        ax.annotate(
            "chance",
            (measure.chance, len(arms) - 0.55),
            fontsize=8,
            color=GREY,
            xytext=(3, 0),
            textcoords="offset points",
            va="bottom",
        )
    ax.set_title(measure.name, fontsize=10)
    ax.set_yticks(range(len(arms)), arms)
    ax.set_ylim(len(arms) - 0.4, -0.8)
    ax.margins(x=0.16)
    ax.set_xlabel(
        "better to the right" if measure.higher_is_better else "better to the left", fontsize=8.5
    )
    ax.grid(axis="x", color="#e3e3e3", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    return np.flatnonzero(
        np.array(means) == (max(means) if measure.higher_is_better else min(means))
    )


def trade_off(runs: pd.DataFrame) -> Axes:
    """Reconstruction error against collaborative signal, one mark a setting (mean of its seeds).

    runs: columns alpha, beta, seed, error, similarity. Colour: alpha. A cross instead of a dot:
    beta at its largest. Settings with fewer seeds than others are left out.
    """
    ax = plt.subplots(figsize=(8, 4.4), layout="constrained")[1]
    by_setting = runs.groupby(["alpha", "beta"])
    n_seeds = by_setting["seed"].transform("nunique")
    runs = runs[n_seeds == n_seeds.max()]
    mean = runs.groupby(["alpha", "beta"])[["error", "similarity"]].mean().reset_index()
    largest = mean["beta"].max()
    shades = plt.get_cmap("viridis_r")(np.linspace(0.08, 1, mean["alpha"].nunique()))
    for shade, (alpha, mine) in zip(shades, mean.groupby("alpha"), strict=True):
        usual, strong = mine[mine["beta"] < largest], mine[mine["beta"] == largest]
        ax.plot(
            usual["error"],
            usual["similarity"],
            "o",
            color=shade,
            markersize=8,
            alpha=0.8,
            label=f"alpha {alpha:g}",
        )
        ax.plot(
            strong["error"],
            strong["similarity"],
            "X",
            color=shade,
            markersize=9,
            markeredgecolor="black",
            markeredgewidth=0.6,
        )
    ax.plot(
        [], [], "X", color="white", markeredgecolor="black", markersize=9, label=f"beta {largest:g}"
    )
    ax.set(
        xlabel="reconstruction error (better to the left)",
        ylabel="share of codes equal to those of\nthe collaborative neighbour (better up)",
    )
    error, signal = mean["error"].to_numpy(), mean["similarity"].to_numpy()
    order = np.corrcoef(error, signal)[0, 1]
    both = ((error == error.min()) & (signal == signal.max())).any()
    title = (
        "One setting is best at both"
        if both
        else "The best for meaning is not the best for the audience"
    )
    n_seeds = runs["seed"].nunique()
    seeds = f"{n_seeds} seed{'s' * (n_seeds > 1)} each"
    ax.set_title(
        f"{title}\n({len(mean)} settings, {seeds}; correlation {order:+.2f})",
        loc="left",
        fontsize=11,
    )
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    ax.grid(color="#e3e3e3", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def counted_twice(table: pd.DataFrame) -> Axes:
    """Recall by the number of codes that are kept.

    table: index codes kept; columns "identifiers" (how many), "by identifier" and "by film"
    (recall).
    """
    ax = plt.subplots(figsize=(7.5, 3.8), layout="constrained")[1]
    for i, what in enumerate(("identifier", "film")):
        values = table[f"by {what}"]
        ax.plot(
            table.index,
            values,
            f"{MARKERS[i]}-",
            color=PALETTE[i],
            linewidth=2,
            label=f"a hit is the right {what}",
        )
        for level, value in values.items():
            ax.annotate(
                f"{value:.3f}",
                (level, value),
                xytext=(8, 8) if i == 0 else (0, -15),
                color=PALETTE[i],
                textcoords="offset points",
                ha="left" if i == 0 else "center",
                fontsize=8.5,
            )
    most = table["by identifier"].max()
    ax.set_xticks(
        table.index, [f"{level}\n({n:,} identifiers)" for level, n in table["identifiers"].items()]
    )
    ax.set(
        xlabel="codes kept",
        ylabel="R@10",
        ylim=(-0.12 * most, 1.15 * most),
        xlim=(0.6, len(table) + 0.5),
    )
    by_identifier, by_film = table[["by identifier", "by film"]].iloc[0]
    times = by_identifier / by_film if by_film else 0
    said = (
        f"{times:.{int(times < 10)}f} times R@10 by film"
        if by_film
        else f"{by_identifier:.3f}, and 0 by film"
    )
    ax.set_title(f"With one code kept, R@10 by identifier is {said}", loc="left", fontsize=11)
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def beside_released(rows: Mapping[str, Mapping[str, Any]]) -> np.ndarray:
    """Perplexity, share of codes equal to the neighbour's in meaning, and in audience, by level."""
    axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")[1]
    panels = {
        "perplexity": "perplexity of 256 codes",
        "semantic": "codes shared with the nearest\nneighbour in text",
        "collaborative": "codes shared with the nearest\nneighbour in audience",
    }
    width = 0.84 / len(rows)
    for ax, (key, label) in zip(axes, panels.items(), strict=True):
        for i, (name, row) in enumerate(rows.items()):
            places = np.arange(len(row[key])) + (i - (len(rows) - 1) / 2) * width
            ax.bar(places, row[key], width * 0.92, color=PALETTE[i], label=name)
        if key != "perplexity":
            ax.axhline(
                np.mean([row["random_pair"] for row in rows.values()]),
                color="black",
                linestyle=":",
                linewidth=1,
            )
            ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.set_xticks(range(4), ["1", "2", "3", "4"])
        ax.set(xlabel="level", title=label)
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(
        handles, labels, frameon=False, loc="outside lower center", ncols=len(rows)
    )
    said = ", ".join(f"{name} {row['perplexity'][0]:.0f}" for name, row in rows.items())
    axes[0].figure.suptitle(f"Perplexity of first codes: {said}")
    return axes
