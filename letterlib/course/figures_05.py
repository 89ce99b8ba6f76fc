"""The figures of lesson 05. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from letterlib.analysis.purity import genre_purity
from letterlib.course.exercises import lesson_05
from letterlib.evaluation.bootstrap import Interval, interval
from letterlib.plots import GREY, MARKERS, PALETTE, listed

SUSPECTS = lesson_05.SUSPECTS
"""Functions of model, s, h, groups, mu: the joint losses, right, and without one `detach` each."""


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


def where_losses_pull(reach: pd.DataFrame) -> Axes:
    """Encoder, codebooks and decoder as blocks, and an arrow from each loss to what it moves.

    reach: the length of the gradient, a row for each loss and a column for each block.
    """
    ax = plt.subplots(figsize=(9, 3.4), layout="constrained")[1]
    blocks = {"encoder": (2, "s → z"), "codebooks": (5, "z → ẑ"), "decoder": (8, "ẑ → ŝ")}
    for name, (x, what) in blocks.items():
        ax.text(
            x,
            0,
            f"{name}\n{what}",
            ha="center",
            va="center",
            fontsize=11,
            bbox={"boxstyle": "round,pad=0.7", "facecolor": "white", "edgecolor": "black"},
        )
    for left, right in ((0.2, 1.1), (2.9, 3.9), (6.1, 7.1), (8.9, 9.8)):
        ax.annotate("", (right, 0), (left, 0), arrowprops={"arrowstyle": "->", "color": GREY})
    for i, (loss, lengths) in enumerate(reach.iterrows()):
        start = (1.2 + 2.6 * i, 2.6)
        ax.text(*start, loss, ha="center", va="bottom", fontsize=11, color=PALETTE[i])
        for name, (x, _) in blocks.items():
            if lengths[name] > 0:
                end = (x + 0.22 * (i - 1.5), 0.46)
                style = {"arrowstyle": "-|>", "color": PALETTE[i], "linewidth": 1.8}
                ax.annotate("", end, (start[0], start[1] - 0.05), arrowprops=style)
    ax.set(xlim=(0, 10), ylim=(-0.9, 3.2))
    ax.axis("off")
    moved = {loss: reach.columns[lengths > 0].tolist() for loss, lengths in reach.iterrows()}
    said = "; ".join(f"{loss} {', '.join(parts) or 'nothing'}" for loss, parts in moved.items())
    ax.set_title(f"What each loss moves: {said}", loc="left", fontsize=11)
    return ax


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


def like_the_neighbour(
    neighbour: np.ndarray, watched: np.ndarray, year: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Each film's neighbour, and two films that are like the neighbour in one respect.

    neighbour: int [n_items]. watched, year: a number for every film.
    Returns int [n_items] each: the neighbour, a film watched as often, and one of the same year
    as well.
    """
    by_chance = np.random.default_rng(seed).random(len(neighbour))

    def next_to(*keys: np.ndarray) -> np.ndarray:
        order = np.lexsort((by_chance, *keys))  # equal keys in no order: numbers go by date
        other = np.empty_like(order)
        other[order] = np.roll(order, 1)
        return other[neighbour]

    return {
        "the neighbour": neighbour,
        "one as well known": next_to(watched),
        "one of its year, too": next_to(watched, year),
    }


def six_measures(
    analysis: Any,
    arms: Mapping[str, str],
    recall: Mapping[str, Interval],
    genres: Sequence[Sequence[str]],
    seed: int,
) -> dict[str, list[Measure]]:
    """Two measures for each of the three criteria, of every tokenizer.

    analysis: of `analyse_tokenizers`. arms: the name in the figure for each of its tokenizers.
    recall: of the ranking experiment, by name in the figure. genres: those of every item.
    """
    tokenizers = [analysis.tokenizers[arm] for arm in arms]
    codes = [tokenizer.codes_before_repair() for tokenizer in tokenizers]
    items = np.arange(len(genres))
    usage = [analysis.usage[arm].iloc[0] for arm in arms]
    pair = np.mean([analysis.signal[arm].random_pair for arm in arms])
    shared = [interval(analysis.similarities[arm], items, seed) for arm in arms]
    purity = [genre_purity(c, genres, seed).loc[1, "purity"] for c in codes]
    error = [tokenizer.report.reconstruction_error[-1] for tokenizer in tokenizers]
    ranking = [recall[name] for name in arms.values()]
    return {
        "meaning": [
            Measure("reconstruction error", error, False),
            Measure("genre purity, one shared code", purity, True),
        ],
        "audience": [
            Measure("codes shared with the neighbour", shared, True, chance=pair),
            Measure("ranking, R@10", ranking, True, chance=10 / len(genres)),
        ],
        "balance": [
            Measure("first codes in use", [u["in_use"] for u in usage], True, "{:.0f}"),
            Measure("perplexity of first codes", [u["perplexity"] for u in usage], True, "{:.0f}"),
        ],
    }


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
