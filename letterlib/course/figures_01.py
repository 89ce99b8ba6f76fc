"""The figures of lesson 01. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.spatial import cKDTree
from sklearn.manifold import TSNE

from letterlib.plots import PALETTE

COLOURS = [*PALETTE[:6], PALETTE[9], "#000000"]
PALE = "#d0d0d0"


COLOURED = ["Western", "Documentary", "War", "Animation", "Horror", "Sci-Fi", "Crime", "Romance"]


def map_of_films(
    vectors: np.ndarray,
    genres: pd.DataFrame,
    titles: Mapping[int, str],
    films: np.ndarray,
    seed: int,
) -> Axes:
    """Films on a plane by t-SNE, in the colour of the rarest of their genres.

    vectors: [n, d]. genres: 0 or 1 [n, n_genres]. titles: of the films to be named, by number.
    films: int [n], the number of every row's film.
    """
    points = TSNE(metric="cosine", init="pca", random_state=seed).fit_transform(vectors)
    flags = genres[COLOURED].to_numpy(dtype=bool)
    kind = np.where(flags.any(axis=1), flags.argmax(axis=1), -1)
    row = {int(film): i for i, film in enumerate(films)}
    return film_map(points, kind, COLOURED, {row[film]: name for film, name in titles.items()})


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
