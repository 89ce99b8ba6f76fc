"""The figures of lesson 10. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from letterlib.course.experiments import PAPER
from letterlib.evaluation.bootstrap import Interval
from letterlib.plots import GREY, PALETTE, titled


def published_forest(
    table: pd.DataFrame, n_users: int, ours: Mapping[str, Interval] | None = None
) -> Axes:
    """Published Recall@10, one case a user, with the 95% interval that the draw of users alone
    gives; best first.

    table: columns system, source and R@10. ours: name -> interval of a run on the same data, drawn
    as squares.
    """
    rows = [
        (
            f"{one['system']} ({one['source']})",
            _of_users(one["R@10"], n_users),
            one["source"] == PAPER,
        )
        for _, one in table.dropna(subset="R@10").iterrows()
    ]
    rows += [(name, one, None) for name, one in (ours or {}).items()]
    rows.sort(key=lambda row: -row[1].mean)
    ax = plt.subplots(figsize=(7.6, 0.36 * len(rows) + 1.3), layout="constrained")[1]
    colours = {True: PALETTE[3], False: GREY, None: PALETTE[0]}
    for place, (_, one, theirs) in enumerate(rows):
        colour, marker = colours[theirs], "s" if theirs is None else "o"
        ax.plot([one.low, one.high], [place, place], color=colour, linewidth=2)
        ax.plot(one.mean, place, marker, color=colour, markersize=7)
    ax.set_yticks(range(len(rows)), [name for name, *_ in rows])
    for label, (*_, theirs) in zip(ax.get_yticklabels(), rows, strict=True):
        label.set_color(colours[theirs])
    ax.set(
        ylim=(len(rows) - 0.5, -0.5), xlabel="Recall@10 (bar: 95%, from the draw of users alone)"
    )
    letter = next((one.mean for name, one, _ in rows if name == f"LETTER-TIGER ({PAPER})"), None)
    title = f"Highest of {len(rows)}: {rows[0][0]}, {rows[0][1].mean:.4f}"
    if letter is not None:
        above = sum(one.mean > letter for _, one, _ in rows)
        lie = "lies" if above == 1 else "lie"
        title = f"{above} of the {len(rows) - 1} other rows {lie} above the paper's LETTER-TIGER"
    return titled(ax, title, "x")


def _of_users(share: float, n_users: int) -> Interval:
    """A share of independent users, with the interval of the normal approximation."""
    half = 1.96 * np.sqrt(share * (1 - share) / n_users)
    return Interval(share, share - half, share + half)


def smallest_seen_by_seeds(
    curves: Mapping[str, np.ndarray], seeds: Sequence[int], mark: tuple[str, float]
) -> Axes:
    """The smallest difference that an experiment tells from 0, against its seeds.

    curves: one a number of users, [len(seeds)]. mark: what a difference is and how large, to hold
    against them.
    """
    ax = plt.subplots(figsize=(7.4, 4), layout="constrained")[1]
    for i, (name, values) in enumerate(curves.items()):
        ax.plot(
            seeds, values, "osD^"[i] + "-", color=PALETTE[i], linewidth=2, markersize=5, label=name
        )
    ax.axhline(mark[1], color=GREY, linestyle=":", linewidth=1.3)
    ax.annotate(
        mark[0],
        (seeds[len(seeds) // 2], mark[1]),
        xytext=(0, -4),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=9,
        color=GREY,
    )
    ax.set_xscale("log")
    ax.set_xticks(seeds, [str(one) for one in seeds], minor=False)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="x", which="minor", length=0)
    ax.set(
        xlabel="seeds (logarithmic)",
        ylabel="smallest difference of Recall@10\nseen in 4 of 5 experiments",
    )
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    return titled(ax, _seen_in_words(curves, seeds, *mark), "y")


def _seen_in_words(
    curves: Mapping[str, np.ndarray], seeds: Sequence[int], what: str, size: float
) -> str:
    """From how many seeds on each curve lies at or below a difference."""
    said = []
    for name, values in curves.items():
        enough = [number for number, value in zip(seeds, values, strict=True) if value <= size]
        few = (
            f"{enough[0]} {'seed' if enough[0] == 1 else 'seeds'}"
            if enough
            else f"more than {seeds[-1]} seeds"
        )
        said.append(f"{name} need {few}")
    return f"To show a difference of {size:.4f} ({what}),\n{', '.join(said)}"
