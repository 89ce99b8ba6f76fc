"""The figures of lesson 02. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from torch import Tensor

from letterlib.plots import GREY, PALETTE

EIGHT = [*PALETTE[:6], PALETTE[9], PALETTE[7]]
"""Colours that can also be written with: the two palest of the palette are left out."""


def quantised_map(
    points: np.ndarray, codes: np.ndarray, codebook: np.ndarray, names: Mapping[int, str]
) -> Axes:
    """Films in two dimensions, in the colour of their code; every code a square, some films named
    beside the map.

    points: [n_items, 2]; codes: int [n_items]; codebook: [n_codes, 2]; names: item -> title, one
    for each code.
    """
    ax = plt.subplots(figsize=(8.5, 4.8), layout="constrained")[1]
    for code, centre in enumerate(codebook):
        colour = EIGHT[code % 8]
        mine = points[codes == code]
        ax.scatter(*mine.T, s=5, color=colour, alpha=0.35, linewidths=0, rasterized=True)
        ax.scatter(
            *centre, s=170, color=colour, marker="s", edgecolors="white", linewidths=1.5, zorder=3
        )
        ax.annotate(
            str(code), centre, ha="center", va="center", color="white", fontsize=9, zorder=4
        )
    for item, name in names.items():
        code = codes[item]
        ax.plot(
            *zip(points[item], codebook[code], strict=True), color="black", linewidth=1, zorder=2
        )
        ax.scatter(*points[item], s=22, color="black", zorder=3)
        ax.text(
            1.02,
            0.88 - 0.09 * code,
            f"{code}  {name}",
            color=EIGHT[code % 8],
            transform=ax.transAxes,
            fontsize=9,
        )
    ax.text(1.02, 0.97, "code and the film of its black dot", transform=ax.transAxes, fontsize=9)
    ax.set(xlabel="first principal component", ylabel="second principal component")
    ax.set_title(
        f"{len(points):,} films, {len(codebook)} codes: each film is replaced by its square"
    )
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def residuals_in_the_plane(
    points: np.ndarray, codebooks: Sequence[Tensor], item: int, title: str
) -> Axes:
    """How one film is coded level by level in two dimensions.

    points: [n_items, 2]; codebooks: L tensors [n_codes, 2]; item: the film, of this title.
    """
    ax = plt.subplots(figsize=(5.5, 4.6), layout="constrained")[1]
    ax.scatter(*points.T, s=4, color=GREY, alpha=0.25, linewidths=0, rasterized=True)
    film, here = points[item], np.zeros(2)
    for level, codebook in enumerate(codebooks):
        book, colour = codebook.numpy(), PALETTE[level]
        vector = book[((film - here - book) ** 2).sum(axis=1).argmin()]
        ax.scatter(*(here + book).T, s=40 / (level + 1), marker="s", color=colour, zorder=3)
        ax.annotate(
            "",
            xy=here + vector,
            xytext=here,
            arrowprops={"arrowstyle": "->", "color": colour, "lw": 2, "shrinkA": 0, "shrinkB": 0},
        )
        label = f"level {level + 1}"
        ax.plot([], [], color=colour, lw=2, label=f"{label}: {len(book)} code vectors, one chosen")
        here = here + vector
    ax.plot(*np.stack([here, film]).T, ":", color="black", label="what is left")
    ax.scatter(*film, s=45, color="black", zorder=4, label=title)
    ax.set(xlabel="first principal component", ylabel="second principal component")
    ax.set_aspect("equal")
    ax.legend(fontsize=8)
    return ax


def error_by_vectors(single: Mapping[int, float], levels: Sequence[float], per_level: int) -> Axes:
    """Reconstruction error of one codebook by its size, and of residual levels by the vectors they
    store together.

    single: number of codes -> mean squared error; levels: error after 1, 2, ... levels of
    `per_level` codes.
    """
    ax = plt.subplots(figsize=(7.5, 4))[1]
    stored = [per_level * (level + 1) for level in range(len(levels))]
    ax.plot(list(single), list(single.values()), "o-", color=GREY)
    ax.plot(stored, levels, "s-", color=PALETTE[0])
    ax.annotate(
        "one codebook",
        (min(single), single[min(single)]),
        xytext=(8, 4),
        textcoords="offset points",
        color="#555555",
    )
    label = f"{len(levels)} levels of {per_level}"
    ax.annotate(
        label,
        (stored[-1], levels[-1]),
        xytext=(-8, -14),
        textcoords="offset points",
        ha="right",
        color=PALETTE[0],
    )
    ticks = sorted({*single, *stored})
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, [str(tick) if tick != 3 * per_level else "" for tick in ticks])
    ax.minorticks_off()
    ax.set(
        xlabel="code vectors stored",
        ylabel="mean squared error\n(1 = nothing explained)",
        ylim=(0, 1.02),
    )
    gain = np.interp(np.log2(stored[-1]), np.log2(list(single)), list(single.values())) - levels[-1]
    verdict = "leaves less error than" if gain > 0 else "does not beat"
    ax.set_title(f"With {stored[-1]:,} vectors, coding what is left over {verdict} one codebook")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


@dataclass(frozen=True)
class Branch:
    """A code of the tree: its label, what hangs below it."""

    label: str
    below: Sequence["Branch"] = ()


def film_tree(branches: Sequence[Branch], title: str) -> Axes:
    """First codes, second codes, films, from left to right. Leaves are Branches with nothing
    below.
    """
    leaves = sum(max(1, len(second.below)) for first in branches for second in first.below)
    ax = plt.subplots(figsize=(9.5, 0.27 * leaves + 0.6), layout="constrained")[1]
    columns, y = (0.0, 0.32, 0.62), 0.0
    covering = {
        "facecolor": "white",
        "edgecolor": "none",
        "pad": 2,
    }  # a label covers the start of its lines

    def write(x: float, y: float, label: str, **style) -> None:
        ax.text(x, y, label, va="center", bbox=covering, zorder=3, **style)

    def join(x0: float, y0: float, x1: float, y1: float, colour: str) -> None:
        ax.plot([x0, x1 - 0.03, x1 - 0.03, x1], [y0, y0, y1, y1], color=colour, linewidth=1)

    for i, first in enumerate(branches):
        colour, middles = PALETTE[i], []
        for second in first.below:
            rows = [y - row for row in range(len(second.below))]
            middles.append(float(np.mean(rows)))
            for row, leaf in zip(rows, second.below, strict=True):
                join(columns[1], middles[-1], columns[2], row, colour)
                write(
                    columns[2],
                    row,
                    leaf.label if len(leaf.label) <= 45 else leaf.label[:44] + "…",
                    fontsize=9,
                )
            write(columns[1], middles[-1], second.label, fontsize=9)
            y = rows[-1] - 1.35
        middle = float(np.mean(middles))
        for row in middles:
            join(columns[0], middle, columns[1], row, colour)
        write(columns[0], middle, first.label, fontsize=10, color=colour, fontweight="bold")
        y -= 0.6
    ax.set(xlim=(0, 1), ylim=(y + 1.2, 0.7))
    ax.set_title(title, loc="left")
    ax.axis("off")
    return ax


def codebook_maps(
    moments: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> Sequence[Axes]:
    """Films and code vectors, each moment along the first two principal components of its films.

    moments: title -> (films [n_items, dim], codebook [n_codes, dim], the codes in use, int [k]).
    """
    figure, axes = plt.subplots(
        -(-len(moments) // 2), 2, figsize=(8.2, 6.4), dpi=80, layout="constrained"
    )
    figure.supxlabel("first principal component of the films", fontsize=10)
    figure.supylabel("second principal component", fontsize=10)
    for ax, (name, (films, codebook, used)) in zip(axes.flat, moments.items(), strict=True):
        centre = films.mean(axis=0)
        directions = np.linalg.svd(films - centre, full_matrices=False)[2][:2].T
        dead = np.setdiff1d(np.arange(len(codebook)), used)
        vectors = (codebook - centre) @ directions
        ax.scatter(
            *((films - centre) @ directions).T,
            s=4,
            color=GREY,
            alpha=0.35,
            linewidths=0,
            rasterized=True,
        )
        ax.scatter(
            *vectors[used].T, s=18, color=PALETTE[0], edgecolors="white", linewidths=0.4, zorder=3
        )
        ax.scatter(*vectors[dead].T, s=30, color=PALETTE[3], marker="x", linewidths=1.2, zorder=4)
        ax.set_title(f"{name}:\n{len(used)} of {len(codebook)} first codes in use", fontsize=10)
        ax.set_aspect("equal", "datalim")
        ax.spines[["top", "right"]].set_visible(False)
    return axes.flat


def training_arms(
    histories: Mapping[str, Sequence[Mapping[str, float]]], n_codes: int
) -> Sequence[Axes]:
    """Both losses, the spread of the films and the codes in use at level 1, by epoch, one line an
    arm.
    """
    axes = list(plt.subplots(2, 2, figsize=(8.2, 5), layout="constrained")[1].flat)
    panels = {
        "reconstruction": "L_Recon",
        "rq": "L_RQ-VAE",
        "spread": "distance of films from their centre",
        "in use": f"first codes in use, of {n_codes}",
    }
    for ax, (key, label) in zip(axes, panels.items(), strict=True):
        for i, (arm, history) in enumerate(histories.items()):
            values = [epoch[key] for epoch in history]
            ax.plot(range(1, len(values) + 1), values, color=PALETTE[i], label=arm)
        ax.set_title(label, fontsize=10)
        ax.set_ylim(bottom=0)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[2:]:
        ax.set_xlabel("epoch")
    axes[-1].set_ylim(0, n_codes * 1.04)
    axes[-1].axhline(n_codes, color=GREY, linewidth=0.8, linestyle=":")
    axes[0].legend(frameon=False, loc="lower left")
    last = {arm: int(history[-1]["in use"]) for arm, history in histories.items()}
    words = ", ".join(f"{n} with {arm}" for arm, n in last.items())
    axes[0].figure.suptitle(f"First codes in use at the end, of {n_codes}: {words}")
    return axes


def error_by_level(arms: Mapping[str, Sequence[float]]) -> Axes:
    """Reconstruction error when the decoder gets the first 1, 2, ..., L code vectors only."""
    ax = plt.subplots(figsize=(7.5, 3.6))[1]
    width = 0.8 / len(arms)
    for i, (arm, errors) in enumerate(arms.items()):
        places = np.arange(len(errors)) + (i - (len(arms) - 1) / 2) * width
        bars = ax.bar(places, errors, width * 0.94, color=PALETTE[i], label=arm)
        ax.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
    n_levels = len(next(iter(arms.values())))
    ax.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
    ax.set_xticks(range(n_levels), [f"{level + 1}" for level in range(n_levels)])
    ax.set(
        xlabel="levels that the decoder is given",
        ylabel="mean squared error\n(1 = nothing explained)",
    )
    falls = all(
        a > b for errors in arms.values() for a, b in zip([1, *errors], errors, strict=False)
    )
    ax.set_title(
        "Every level takes away some error" if falls else "Not every level takes away error"
    )
    ax.set_ylim(0, max(1, *(error for errors in arms.values() for error in errors)) * 1.25)
    ax.legend(frameon=False, ncols=len(arms), loc="upper right")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
