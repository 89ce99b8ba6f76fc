"""The figures of lesson 00. Each takes data, draws, and returns the Axes."""

import re
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from letterlib.plots import GREY, PALETTE

GAPS = {
    "same second": 0,
    "to 10 s": 10,
    "to 1 min": 60,
    "to 1 h": 3600,
    "to 1 day": 86_400,
    "longer": np.inf,
}


def visits(ratings: pd.DataFrame) -> Sequence[Axes]:
    """When every user rated, and how long since their previous rating.

    ratings: as `read_ratings` returns them, with userId and timestamp.
    """
    ratings = ratings.rename(columns={"userId": "user", "timestamp": "time"})
    ratings = ratings.sort_values(["user", "time"])
    axes = plt.subplots(1, 2, figsize=(11, 4), width_ratios=(1.5, 1), layout="constrained")[1]
    first = ratings.groupby("user")["time"].transform("min").to_numpy()
    row = np.unique(first + ratings["user"].to_numpy() * 1e-6, return_inverse=True)[
        1
    ]  # users by their first rating
    when = pd.to_datetime(ratings["time"], unit="s").to_numpy()
    axes[0].scatter(when, row, s=3, color=PALETTE[0], linewidths=0, alpha=0.5, rasterized=True)
    axes[0].set(xlabel="time of the rating", ylabel="users, in the order of their first rating")
    spans = ratings.groupby("user")["time"].agg(np.ptp)
    day = (spans < 86_400).mean()
    axes[0].set_title(
        f"{day:.0%} of the users gave all their ratings within a day", loc="left", fontsize=11
    )
    gaps = ratings.groupby("user")["time"].diff().dropna()
    shares = pd.cut(gaps, [-1, *GAPS.values()], labels=list(GAPS)).value_counts(
        normalize=True, sort=False
    )
    bars = axes[1].barh(list(GAPS), shares, color=[PALETTE[1], *[PALETTE[0]] * (len(GAPS) - 1)])
    axes[1].bar_label(bars, [f"{share:.0%}" for share in shares], padding=3)
    axes[1].invert_yaxis()
    axes[1].set(
        xlabel="share of ratings",
        ylabel="since the user's previous rating",
        xlim=(0, shares.max() * 1.2),
    )
    axes[1].set_title(
        f"{shares.iloc[0]:.0%} came in the same second as the one before", loc="left", fontsize=11
    )
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return axes


def three_identifiers(films: Mapping[str, Mapping[str, Sequence[str]]]) -> Axes:
    """Films as rows of token boxes, three kinds of identifier each. films: title -> kind -> tokens.

    A token that another film of the figure has at the same place and in the same kind is filled.
    """
    rows = [
        (title, kind, tokens) for title, kinds in films.items() for kind, tokens in kinds.items()
    ]
    ax = plt.subplots(figsize=(10, 0.36 * len(rows) + 0.9), layout="constrained")[1]
    y, right = 0.0, 0.0
    for i, (title, kind, tokens) in enumerate(rows):
        if i and title != rows[i - 1][0]:
            y -= 0.5
        if not i or title != rows[i - 1][0]:
            ax.text(0, y, title, va="center", fontsize=10, fontweight="bold")
        ax.text(3.1, y, kind, va="center", fontsize=9, color=GREY)
        x = 4.2
        for place, token in enumerate(tokens):
            others = [kinds[kind] for other, kinds in films.items() if other != title]
            shared = any(place < len(one) and one[place] == token for one in others)
            width = 0.22 + 0.105 * len(token)
            box = FancyBboxPatch(
                (x, y - 0.3),
                width,
                0.6,
                boxstyle="round,pad=0.02",
                edgecolor=PALETTE[0],
                facecolor="#f2c14e" if shared else "white",
                linewidth=0.8,
            )
            ax.add_patch(box)
            ax.text(
                x + width / 2, y, token, ha="center", va="center", fontsize=8.5, family="monospace"
            )
            x += width + 0.12
            right = max(right, x)
        y -= 1
    ax.set(xlim=(0, max(right, 9.5)), ylim=(y + 0.3, 0.8))
    title = (
        f"The first token is shared with another of these {len(films)} films: "
        f"{_shared_first(films)}"
    )
    ax.set_title(title, loc="left", fontsize=11)
    ax.axis("off")
    return ax


def _shared_first(films: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    kinds = next(iter(films.values()))
    firsts = {kind: [one[kind][0] for one in films.values()] for kind in kinds}
    return ", ".join(
        f"{kind} {sum(first.count(one) > 1 for one in first)} times"
        for kind, first in firsts.items()
    )


def words_of(title: str) -> list[str]:
    """A title's words as one says them: "Matrix, The (1999)" -> the, matrix."""
    name = re.sub(r" \(\d{4}\)$", "", title)
    name = re.sub(r"^(.*), (The|A|An)$", r"\2 \1", name)
    return re.findall(r"[\w']+", name.lower()) or [name.lower()]


def beginning_alike(kinds: Mapping[str, Sequence], genres: Sequence[str]) -> Axes:
    """Of two films whose names begin alike, how often they have a genre in common.

    kinds: kind of name -> what the name of each film begins with. genres: of each film, divided by
    "|"; films without any are left out.
    """
    table = pd.Series(list(genres)).str.get_dummies("|").to_numpy(dtype=np.float32)
    common, known = table @ table.T > 0, table.any(axis=1)
    pairs = np.triu(known[:, None] & known, 1)
    shares = {}
    for kind, beginnings in kinds.items():
        numbered = pd.factorize(np.asarray(beginnings))[0]
        shares[kind] = common[pairs & (numbered[:, None] == numbered)].mean()
    chance = common[pairs].mean()
    ax = plt.subplots(figsize=(8, 0.5 * len(shares) + 1.2), layout="constrained")[1]
    bars = ax.barh(list(shares), list(shares.values()), color=PALETTE[0], height=0.62)
    ax.bar_label(bars, [f"{share:.0%}" for share in shares.values()], padding=4)
    ax.axvline(chance, color="black", linestyle=":", linewidth=1)
    ax.text(chance + 0.01, -0.62, f"any two films: {chance:.0%}", fontsize=9, va="center")
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.set(
        xlim=(0, 1.08),
        ylim=(len(shares) - 0.4, -0.9),
        xlabel="pairs with a genre in common",
    )
    ax.set_title(
        "Do films whose names begin alike have a genre in common?", loc="left", fontsize=11
    )
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def trie_of_names(names: Mapping[str, Sequence[str]]) -> Axes:
    """A trie as a tree from left to right. names: title -> tokens; films that begin alike share the
    beginning of their path.
    """
    ordered = sorted(names.items(), key=lambda pair: list(pair[1]))
    row = {tuple(tokens): -float(i) for i, (_, tokens) in enumerate(ordered)}
    depth = len(ordered[0][1])
    places: dict[tuple[str, ...], float] = {}
    for length in range(depth, -1, -1):
        for beginning in {name[:length] for name in row}:
            below = [y for name, y in row.items() if name[:length] == beginning]
            places[beginning] = float(np.mean(below))
    ax = plt.subplots(figsize=(9.5, 0.42 * len(row) + 0.5), layout="constrained")[1]
    for beginning, y in places.items():
        x = len(beginning)
        if x:
            ax.plot([x - 1, x], [places[beginning[:-1]], y], color=GREY, linewidth=1, zorder=1)
        box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": PALETTE[0]}
        label = beginning[-1] if x else "start"
        ax.text(
            x,
            y,
            label,
            ha="center",
            va="center",
            fontsize=9,
            family="monospace",
            bbox=box,
            zorder=2,
        )
    for title, tokens in ordered:
        ax.text(depth + 0.35, row[tuple(tokens)], title, va="center", fontsize=9.5)
    ax.set(xlim=(-0.4, depth + 3), ylim=(-len(row) + 0.4, 0.6))
    ax.set_title(f"The names of {len(row)} films as a tree", loc="left", fontsize=11)
    ax.axis("off")
    return ax


def writing(
    chances: Callable[[Sequence[int]], np.ndarray],
    name: Sequence[int],
    trie: Mapping,
    title: str,
    n_shown: int = 6,
) -> Sequence[Axes]:
    """One panel a code: the likeliest candidates, best on top.

    chances: the probabilities of the next code after a list of codes. name: the codes that were
    written. trie: dictionaries of the codes that may come next.
    """
    axes = plt.subplots(1, len(name), figsize=(11, 2.9), layout="constrained")[1]
    colours = {"written": PALETTE[0], "a film goes on so": PALETTE[9], "none does": "#cccccc"}
    node = trie
    for level, (ax, chosen) in enumerate(zip(axes, name, strict=True)):
        p = chances(list(name[:level]))
        codes = [int(code) for code in np.argsort(-p)[:n_shown]]
        if chosen not in codes:
            codes[-1] = chosen
        kinds = [list(colours)[0 if c == chosen else 1 if c in node else 2] for c in codes]
        labels = [f"<{'abcdefgh'[level]}_{code}>" for code in codes]
        bars = ax.barh(labels, p[codes], color=[colours[kind] for kind in kinds])
        ax.bar_label(bars, [f"{p[code]:.1%}" for code in codes], padding=3, fontsize=8)
        ax.invert_yaxis()
        ax.set(xlabel="probability", xlim=(0, p[codes].max() * 1.35 + 1e-9))
        ax.set_title(f"code {level + 1}", loc="left", fontsize=10)
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
        node = node[chosen]
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in colours.values()]
    axes[0].figure.legend(
        handles, list(colours), loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    axes[0].figure.suptitle(title, fontsize=10)
    return axes
