"""The figures of lesson 00. Each takes data, draws, and returns the Axes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from letterlib.evaluation.metrics import HEAD, popularity_groups
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
    """When every user rated, and how long since their previous rating. ratings: user, time
    (seconds), in order.
    """
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


def long_tail(counts: np.ndarray, titles: Sequence[str]) -> Axes:
    """Ratings of every film, most popular first, five named; those that hold a third are shaded.
    counts: [n_items].
    """
    ax = plt.subplots(figsize=(8.5, 3.8), layout="constrained")[1]
    order = np.argsort(-counts, kind="stable")
    n_head = int((popularity_groups(counts) == HEAD).sum())
    ax.plot(range(1, len(counts) + 1), counts[order], color=PALETTE[0])
    ax.axvspan(0, n_head, color=PALETTE[1], alpha=0.25, linewidth=0)
    for place, item in enumerate(order[:5]):
        y = 0.93 - 0.085 * place
        ax.annotate(
            titles[item],
            (place + 1, counts[item]),
            xytext=(0.2, y),
            textcoords="axes fraction",
            fontsize=9,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": GREY,
                "linewidth": 0.7,
                "shrinkA": 0,
                "relpos": (0, 0.5),
            },
        )
    ax.set(
        xlabel="films, the one with most ratings first",
        ylabel="ratings in the training part",
        ylim=(0, None),
        xlim=(-20, len(counts)),
    )
    title = (
        f"{n_head} of {len(counts):,} films {'has' if n_head == 1 else 'have'} a third of "
        "the ratings"
    )
    ax.set_title(
        f"{title}; half of the films have at most {np.median(counts):.0f}", loc="left", fontsize=11
    )
    ax.spines[["top", "right"]].set_visible(False)
    return ax


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


def sharing_a_genre(shares: Mapping[str, float], chance: float) -> Axes:
    """Of all pairs of films that look alike in one way, the share with a genre in common; a line at
    any two films.
    """
    ax = plt.subplots(figsize=(8, 0.5 * len(shares) + 1.2), layout="constrained")[1]
    bars = ax.barh(list(shares), list(shares.values()), color=PALETTE[0], height=0.62)
    ax.bar_label(bars, [f"{share:.2f}" for share in shares.values()], padding=4)
    ax.axvline(chance, color="black", linestyle=":", linewidth=1)
    ax.text(chance + 0.01, -0.62, f"any two films: {chance:.2f}", fontsize=9, va="center")
    ax.invert_yaxis()
    ax.set(
        xlim=(0, 1.08),
        ylim=(len(shares) - 0.4, -0.9),
        xlabel="share of pairs with a genre in common",
    )
    best = max(shares, key=shares.__getitem__)
    ax.set_title(f"Genres agree most often between films with {best}", loc="left", fontsize=11)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def writing(
    steps: Sequence[Sequence[tuple[str, float, bool]]], chosen: Sequence[str], title: str
) -> Sequence[Axes]:
    """One panel a token: the likeliest candidates (token, probability, whether a film goes on so),
    best on top.
    """
    axes = plt.subplots(1, len(steps), figsize=(11, 2.9), layout="constrained")[1]
    names = {"chosen": PALETTE[0], "an unseen film goes on so": PALETTE[9], "none does": "#cccccc"}
    for place, (ax, step, token) in enumerate(zip(axes, steps, chosen, strict=True)):
        kinds = [
            "chosen" if one == token else list(names)[1 if real else 2] for one, _, real in step
        ]
        shares = [share for _, share, _ in step]
        bars = ax.barh([one for one, _, _ in step], shares, color=[names[kind] for kind in kinds])
        ax.bar_label(bars, [f"{share:.1%}" for share in shares], padding=3, fontsize=8)
        ax.invert_yaxis()
        ax.set(xlabel="probability", xlim=(0, max(shares) * 1.35 + 1e-9))
        ax.set_title(f"token {place + 1}", loc="left", fontsize=10)
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in names.values()]
    axes[0].figure.legend(
        handles, list(names), loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    axes[0].figure.suptitle(title, fontsize=10)
    return axes
