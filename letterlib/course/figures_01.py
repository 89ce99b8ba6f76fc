"""The figures of lesson 01. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from scipy.spatial import cKDTree

from letterlib.plots import GREY, PALETTE

COLOURS = [*PALETTE[:6], PALETTE[9], "#000000"]
PALE = "#d0d0d0"


def cone_by_layer(cosines: Mapping[str, Sequence[float]]) -> Axes:
    """Mean cosine of pairs after each layer, one line for each kind of text. cosines: kind ->
    [n_layers + 1].
    """
    ax = plt.subplots(figsize=(8.5, 3.8), layout="constrained")[1]
    for i, (kind, values) in enumerate(cosines.items()):
        ax.plot(range(len(values)), values, "osD^"[i] + "-", color=PALETTE[i], linewidth=2)
        ax.annotate(
            f"{kind}: {values[-1]:.2f}",
            (len(values) - 1, values[-1]),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            color=PALETTE[i],
        )
    last = len(values) - 1
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set_xticks(range(last + 1), ["input", *map(str, range(1, last + 1))])
    ax.set(
        xlabel="layer", ylabel="mean cosine of two texts", ylim=(-0.05, 1), xlim=(-0.2, last * 1.42)
    )
    falls = all(values[-1] < values[-2] - 0.2 for values in cosines.values())
    ax.set_title(
        "The last layer opens the cone" if falls else "The last layer does not open the cone",
        loc="left",
    )
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def cosine_histograms(cosines: Mapping[str, np.ndarray]) -> Axes:
    """The cosines of many pairs, before and after. cosines: name -> [n_pairs]."""
    ax = plt.subplots(figsize=(8, 3.4), layout="constrained")[1]
    for i, (name, values) in enumerate(cosines.items()):
        ax.hist(
            values,
            bins=np.linspace(-0.6, 1, 81),
            density=True,
            color=PALETTE[i],
            alpha=0.55,
            label=name,
        )
        ax.axvline(values.mean(), color=PALETTE[i], linewidth=1.5, linestyle="--")
    means = " to ".join(f"{values.mean():.2f}" for values in cosines.values())
    ax.set_title(
        f"Centring moves the mean cosine from {means}".replace("-0.00", "0.00"), loc="left"
    )
    ax.set(xlabel="cosine of two films (dashed: the mean)", yticks=[], xlim=(-0.6, 1))
    ax.legend(frameon=False)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return ax


def hubs(counts: Mapping[str, np.ndarray], k: int, titles: Sequence[str]) -> Axes:
    """In how many lists of k neighbours every item stands, most frequent first. counts: name ->
    [n_items].
    """
    ax = plt.subplots(figsize=(8, 3.6), layout="constrained")[1]
    most = {}
    for i, (name, times) in enumerate(counts.items()):
        ordered = np.sort(times)[::-1]
        top, none = int(times.argmax()), int((times == 0).sum())
        most[name] = int(times[top])
        ax.plot(
            range(1, len(times) + 1),
            ordered,
            color=PALETTE[i],
            linewidth=2,
            label=f"{name}: {none} film{'s' * (none != 1)} in no list",
        )
        ax.annotate(
            titles[top],
            (1, ordered[0]),
            xytext=(6, 3),
            textcoords="offset points",
            color=PALETTE[i],
            fontsize=9,
        )
    ax.axhline(k, color=GREY, linewidth=1, linestyle=":", label=f"equal for all: {k}")
    ax.set(
        xscale="log",
        xlabel="films, most frequent neighbour first (logarithmic)",
        ylabel=f"lists of {k} neighbours\nthat the film is in",
    )
    ax.set_ylim(bottom=0)
    words = ", ".join(f"{times} {name}" for name, times in most.items())
    ax.set_title(f"In how many lists the largest hub stands: {words}", loc="left")
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def film_map(
    points: np.ndarray, kind: np.ndarray, kinds: Sequence[str], names: Mapping[int, str]
) -> Axes:
    """Films in two dimensions in the colour of one genre each, some of them named.

    points: [n, 2]; kind: int [n], position in `kinds`, -1 for none of them (grey); names: row ->
    title.
    """
    ax = plt.subplots(figsize=(10, 6), layout="constrained")[1]
    grey = kind < 0
    ax.scatter(
        *points[grey].T, s=6, color=PALE, linewidths=0, label="none of these", rasterized=True
    )
    for i, name in enumerate(kinds):
        ax.scatter(
            *points[kind == i].T, s=14, color=COLOURS[i], linewidths=0, label=name, rasterized=True
        )
    for number, (row, title) in enumerate(names.items(), start=1):
        box = {"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": "black"}
        ax.scatter(*points[row], s=22, facecolors="none", edgecolors="black", zorder=3)
        ax.annotate(
            str(number),
            points[row],
            xytext=(9, 9),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8.5,
            bbox=box,
            zorder=4,
        )
        ax.text(
            1.03, 0.5 - 0.045 * number, f"{number}  {title}", transform=ax.transAxes, fontsize=9
        )
    same, chance = _same_kind(points, kind)
    ax.set_title(
        f"Of a coloured film's ten nearest on the map, {same:.0%} have its colour; by chance "
        f"{chance:.0%}",
        loc="left",
        fontsize=11,
    )
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), markerscale=2)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def _same_kind(points: np.ndarray, kind: np.ndarray) -> tuple[float, float]:
    """Share of the ten nearest rows that have a coloured row's kind, and the share that chance
    would give.
    """
    coloured = kind >= 0
    neighbours = cKDTree(points).query(points[coloured], 11)[1][
        :, 1:
    ]  # the nearest is the row itself
    same = (kind[neighbours] == kind[coloured, None]).mean()
    shares = np.bincount(kind[coloured]) / len(kind)
    return float(same), float(shares[kind[coloured]].mean())
