"""The figures of lesson 08. Each takes data, draws, and returns the Axes.

Here is also what the lesson needs and its reader would skip: titles for beginnings of names, and a
recommender that decodes with the learner's search.
"""

import copy
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from letterlib.course.masking_cost import ARRAYS, BEAM, HISTORIES, Cost
from letterlib.decoding.trie import EOS, Trie
from letterlib.evaluation.bootstrap import Interval
from letterlib.generators.tiger import Tiger
from letterlib.plots import GREY, MARKERS, PALETTE, listed, plain, titled
from letterlib.tokenizer.identifiers import token

FAINT = "#b9b9b9"


def short(title: str) -> str:
    """The title without its second name: "Raiders of the Lost Ark (1981)"."""
    return re.sub(r" \(.*\)(?= \(\d{4}\))", "", title)


class Names:
    """Names of films and their beginnings, in words.

    tiger: whose tokens they are. titles: of all films. watched: how often each was rated.
    """

    def __init__(self, tiger: Tiger, titles: Sequence[str], watched: np.ndarray):
        self.tokens, self.titles, self.watched = tiger.item_tokens, titles, watched
        self.sizes = tiger.identifiers.level_sizes
        self.starts = 2 + np.cumsum([0, *self.sizes])

    def begun(self, tokens: Sequence[int]) -> np.ndarray:
        """The films whose names begin with these tokens, best known first."""
        below = np.flatnonzero((self.tokens[:, : len(tokens)] == tokens).all(axis=1))
        return below[np.argsort(-self.watched[below], kind="stable")]

    def token(self, number: int) -> str:
        """A token in words, such as <a_72>."""
        level = int(np.searchsorted(self.starts, number, side="right")) - 1
        return token(level, number - self.starts[level])

    def label(self, tokens: Sequence[int]) -> str:
        """What stands next to a beginning: the film, or how many and the best known."""
        below = self.begun(tokens)
        best = short(self.titles[below[0]])
        best = best if len(best) <= 50 else best[:48].rstrip(" (") + "..."
        return best if len(below) == 1 else f"{len(below)} films: {best}"

    def invented(
        self, sequences: Sequence[Sequence[int]], books: Sequence[np.ndarray], quantised: np.ndarray
    ) -> pd.DataFrame:
        """Sequences that are no names and have the form of one.

        books: the codebooks. quantised: [n_items, dim], every film's sum of code vectors.
        """
        rows = []
        for sequence in sequences:
            n_levels = len(self.sizes)
            codes = np.array(sequence[:n_levels]) - self.starts[:-1]
            if (codes < 0).any() or (codes >= self.sizes).any() or sequence[n_levels] != EOS:
                continue
            real = next(n for n in range(n_levels, -1, -1) if len(self.begun(sequence[:n])))
            vector = sum(book[code] for book, code in zip(books, codes, strict=True))
            near = np.linalg.norm(quantised - vector, axis=1).argmin()
            name = "".join(token(level, code) for level, code in enumerate(codes))
            like = short(self.titles[self.begun(sequence[:real])[0]])
            rows.append((name, real, like, short(self.titles[near])))
        columns = ["written", "real codes", "begins like", "nearest film"]
        return pd.DataFrame(rows, columns=columns)


def lost_at(tokens: Sequence[int], steps: Sequence[Sequence[tuple]]) -> str:
    """After how many codes the beginning of a name is no longer among the beams of a search."""
    for n, beams in enumerate(steps[: len(tokens)], start=1):
        if tuple(tokens[:n]) not in {tuple(beam[1][1:]) for beam in beams}:
            return f"lost at code {n}"
    return "found"


def recommender(tiger: Tiger, search: Callable) -> Tiger:
    """The same network with another search. search: (network, memory, beam) -> leaves, scores, best
    first. Films to leave out are struck out afterwards.
    """
    own = copy.copy(tiger)
    own._search = lambda part, memory, beam, tau, dead: search(own.network, memory, beam)
    return own


def histories_per_second(ways: Mapping[str, Callable], n: int) -> pd.DataFrame:
    """How many histories each way writes for in a second. ways: name -> a function without
    arguments that writes for n histories; it is called twice, and the second call is timed.
    """
    rows = {}
    for name, work in ways.items():
        work()
        started = time.perf_counter()
        work()
        rows[name] = n / (time.perf_counter() - started)
    return pd.DataFrame({"histories a second": rows}).round(0).astype(int)


def validity(table: pd.DataFrame) -> Axes:
    """Shares by training steps. table: index steps, one column a way to write, values from 0 to
    1.
    """
    ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")[1]
    places = np.arange(len(table))
    for i, (name, values) in enumerate(table.items()):
        ax.plot(
            places,
            values,
            f"{MARKERS[i]}-",
            color=PALETTE[i],
            linewidth=2,
            label=name,
            clip_on=False,
        )
    for place, value in zip(places, table.iloc[:, -1], strict=True):
        ax.annotate(
            f"{value:.0%}",
            (place, value),
            xytext=(5, -14),
            textcoords="offset points",
            fontsize=8.5,
            color=PALETTE[table.shape[1] - 1],
        )
    ax.set_xticks(places, [f"{steps:,}" for steps in table.index])
    ax.set(
        xlabel="training steps",
        ylabel="share that are films",
        ylim=(-0.14, 1.04),
        xlim=(-0.1, len(table) - 0.7),
    )
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    last = table.iloc[-1]
    said = ", ".join(f"{name} {value:.0%}" for name, value in last.items())
    return titled(ax, f"Films among what the trained model writes freely:\n{said}", "y")


@dataclass
class _Node:
    """A kept prefix in the drawing. first: which first code it comes from, counted in the beam's
    order.
    """

    tokens: tuple[int, ...]
    score: float
    first: int
    y: float = 0.0
    children: list["_Node"] = field(default_factory=list)


Beams = Sequence[tuple[float, tuple[int, ...]]]


def unfolding(
    steps: Sequence[Beams],
    choices: Callable[[tuple[int, ...]], int],
    name_of: Callable[[int], str],
    label: Callable,
) -> np.ndarray:
    """A beam search of four levels, one panel each: what is kept, what it came from, what was given
    up.

    steps: per level the beams that were kept, best first, each (log-probability, tokens so far);
    the scores of the last step include the end token. choices: how many tokens may follow a prefix.
    name_of: a token in words.
    label: what stands beside a prefix, from its tokens.
    """
    axes = plt.subplots(2, 2, figsize=(12.6, 7.2), layout="constrained")[1]
    levels = _grow(steps)
    for depth, ax in enumerate(axes.flat, start=1):
        _edges(ax, levels, depth, choices)
        _names(ax, levels[depth], depth, name_of, label, ranked=depth == len(levels) - 1)
        kept, considered = (
            len(levels[depth]),
            sum(choices(node.tokens) for node in levels[depth - 1]),
        )
        what = f"{depth} code{'s' * (depth > 1)}{' and the end token' * (depth == len(levels) - 1)}"
        ax.set_title(f"{what}: {kept} of {considered:,} kept", loc="left", fontsize=10.5)
        ax.set(xlim=(-0.3, 8.6), ylim=(len(steps[-1]) - 0.45, -0.6))
        ax.axis("off")
    firsts, last = {node.first for node in levels[-1]}, len(levels[-1])
    title = (
        f"The {last} films come from {len(firsts)} of the {len(levels[1])} first codes that "
        "were kept"
    )
    if 0 not in firsts:
        title += ", and not from the likeliest"
    axes[0, 0].figure.suptitle(title, fontsize=12)
    return axes


def _grow(steps: Sequence[Beams]) -> list[list[_Node]]:
    """The kept prefixes by level, each level in the order of its parents, so that no two edges
    cross.
    """
    root = _Node((), 0.0, 0, (len(steps[0]) - 1) / 2)
    levels = [[root]]
    for beams in steps:
        above = {node.tokens: node for node in levels[-1]}
        nodes = [_Node(tokens, score, place) for place, (score, tokens) in enumerate(beams)]
        for node in nodes:
            parent = above[node.tokens[:-1]]
            node.first = node.first if parent is root else parent.first
            parent.children.append(node)
        nodes.sort(key=lambda node: (above[node.tokens[:-1]].y, -node.score))
        for y, node in enumerate(nodes):
            node.y = float(y)
        levels.append(nodes)
    return levels


def _edges(ax: Axes, levels: list[list[_Node]], depth: int, choices: Callable) -> None:
    alive = {id(node) for node in levels[depth]}
    for level in range(depth - 1, -1, -1):
        alive |= {
            id(node) for node in levels[level] if any(id(child) in alive for child in node.children)
        }
    for level in range(depth):
        for node in levels[level]:
            if level == depth - 1:  # what else could have followed here, and was not kept
                for slope in np.linspace(
                    -0.34, 0.34, min(choices(node.tokens) - len(node.children), 9) + 2
                )[1:-1]:
                    ax.plot(
                        [level, level + 0.32],
                        [node.y, node.y + slope],
                        color=FAINT,
                        linewidth=0.7,
                        zorder=0,
                    )
            for child in node.children:
                lives = id(child) in alive
                colour, width = (PALETTE[child.first % 10], 2.2) if lives else (FAINT, 1.1)
                ax.plot(
                    [level, level + 1],
                    [node.y, child.y],
                    color=colour,
                    linewidth=width,
                    zorder=1 + lives,
                )
    for level in range(depth + 1):
        for node in levels[level]:
            lives = id(node) in alive
            colour = "black" if level == 0 else PALETTE[node.first % 10] if lives else FAINT
            face = colour if lives else "white"
            size = 9 if level == 0 else _size(node)
            ax.plot(
                level, node.y, "o", color=colour, markerfacecolor=face, markersize=size, zorder=4
            )
    ax.annotate(
        "history",
        (0, levels[0][0].y),
        xytext=(0, 12),
        textcoords="offset points",
        ha="center",
        fontsize=8,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.3, "alpha": 0.85},
        zorder=5,
    )


def _size(node: _Node) -> float:
    """The diameter of a dot in points: its area grows with the probability."""
    return 4.5 + 24 * np.exp(node.score / 2)


def _names(
    ax: Axes, nodes: list[_Node], depth: int, name_of: Callable, label: Callable, ranked: bool
) -> None:
    order = sorted(range(len(nodes)), key=lambda i: -nodes[i].score)
    for i, node in enumerate(nodes):
        place = f"{order.index(i) + 1}. " if ranked else ""
        right = 5 + _size(node) / 2
        ax.annotate(
            name_of(node.tokens[-1]),
            (depth, node.y),
            xytext=(right, 5),
            textcoords="offset points",
            fontsize=8.5,
            color=PALETTE[node.first % 10],
            va="center",
            weight="bold",
        )
        text = f"{place}{label(node.tokens)}   {np.exp(node.score):.1%}"
        ax.annotate(
            text,
            (depth, node.y),
            xytext=(right, -6),
            textcoords="offset points",
            fontsize=8.5,
            va="center",
            weight="bold" if ranked else "normal",
        )


def numbered_trie(trie: Trie, names: Sequence[str]) -> Axes:
    """A small trie: a node's number within its level inside the node, its token on the edge, names
    at the leaves.
    """
    ax = plt.subplots(figsize=(8.5, 3.5), layout="constrained")[1]
    n_leaves = trie.n_nodes(trie.n_levels)
    heights = [np.arange(n_leaves, dtype=float)]
    for firsts in reversed(trie.first_child):
        heights.append(
            np.array(
                [heights[-1][a:b].mean() for a, b in zip(firsts[:-1], firsts[1:], strict=True)]
            )
        )
    heights = heights[::-1]
    for level, firsts in enumerate(trie.first_child):
        for node, (a, b) in enumerate(zip(firsts[:-1], firsts[1:], strict=True)):
            for child in range(a, b):
                x, y = (level, level + 1), (heights[level][node], heights[level + 1][child])
                ax.plot(x, y, color=FAINT, linewidth=1.5, zorder=0)
                ax.annotate(
                    int(trie.token[level + 1][child]),
                    (np.mean(x), np.mean(y)),
                    fontsize=8.5,
                    color=GREY,
                    ha="center",
                    va="center",
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
                )
    for level, ys in enumerate(heights):
        ax.plot(np.full(len(ys), level), ys, "o", color=PALETTE[0], markersize=15)
        for node, y in enumerate(ys):
            ax.annotate(
                node, (level, y), color="white", ha="center", va="center", weight="bold", fontsize=9
            )
        ax.annotate(f"level {level}", (level, -0.75), ha="center", fontsize=9, color=GREY)
    for leaf, (a, b) in enumerate(zip(trie.first_item[:-1], trie.first_item[1:], strict=True)):
        text = ", ".join(names[item] for item in trie.items[a:b])
        ax.annotate(
            text,
            (trie.n_levels, leaf),
            xytext=(14, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
        )
    ax.set(xlim=(-0.2, trie.n_levels + 1.6), ylim=(n_leaves - 0.5, -1))
    ax.axis("off")
    counts = " + ".join(str(trie.n_nodes(level)) for level in range(trie.n_levels + 1))
    ax.set_title(f"{len(names)} films, {counts} nodes", loc="left", fontsize=11)
    return ax


def masking_cost(costs: Sequence[Cost]) -> Sequence[Axes]:
    """Milliseconds of a masking step, and seconds to build the trie, against the catalogue; both
    axes logarithmic.
    """
    axes = plt.subplots(1, 2, figsize=(11, 3.9), layout="constrained", width_ratios=[1.35, 1])[1]
    sizes = [cost.n_items for cost in costs]
    step = (
        [cost.seconds for cost in costs],
        1e3,
        f"milliseconds, a step of {HISTORIES * BEAM:,} beams",
    )
    build = [cost.build for cost in costs], 1, "seconds to build the trie"
    for ax, (values, scale, unit) in zip(axes, (step, build), strict=True):
        for i, name in enumerate(sorted(costs[0].seconds, key=lambda one: -costs[-1].seconds[one])):
            if name in values[0]:
                ax.plot(
                    sizes,
                    [scale * one[name] for one in values],
                    f"{MARKERS[i]}-",
                    color=PALETTE[i],
                    linewidth=2,
                    label=name,
                )
        ax.set(xscale="log", yscale="log", xlabel="items in the catalogue", ylabel=unit)
        plain(ax, "both")
    axes[0].legend(frameon=False, fontsize=9)
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(low, high * 6)
    last = costs[-1].seconds
    slower = listed(f"{name} {last[name] / last[ARRAYS]:.0f}" for name in last if name != ARRAYS)
    axes[0].set_title(
        f"At {sizes[-1]:,} items, times as slow as the arrays:\n{slower}", loc="left", fontsize=11
    )
    return axes


def beam_width(
    recall: Mapping[int, Interval], agreement: Mapping[int, tuple[float, float]], n_exact: int
) -> Sequence[Axes]:
    """Recall with intervals, and agreement with exact scoring, by beam width.

    agreement: beam -> (share of cases whose first film is the exact first, share of the exact ten
    that were found).
    """
    axes = plt.subplots(1, 2, figsize=(11, 3.7), layout="constrained")[1]
    places, names = np.arange(len(recall)), [str(beam) for beam in recall]
    for place, one in zip(places, recall.values(), strict=True):
        axes[0].plot([place, place], [one.low, one.high], color=PALETTE[0], linewidth=2)
        axes[0].plot(place, one.mean, "o", color=PALETTE[0], markersize=7)
    axes[0].set(xlabel="beam width", ylabel="R@10 (bar: 95% interval)", ylim=(0, None))
    axes[0].set_xticks(places, names)
    first, last = next(iter(recall)), list(recall)[-1]
    axes[0].set_title(
        f"R@10 {recall[first].mean:.3f} at width {first}, {recall[last].mean:.3f} at {last}",
        loc="left",
        fontsize=11,
    )
    for i, what in enumerate(("the exact first film is first", "exact ten that are found")):
        values = [one[i] for one in agreement.values()]
        axes[1].plot(
            places,
            values,
            f"{MARKERS[i]}-",
            color=PALETTE[i + 1],
            linewidth=2,
            label=what,
            clip_on=False,
        )
    axes[1].set_xticks(places, names)
    axes[1].set(xlabel="beam width", ylabel=f"share, {n_exact} cases", ylim=(0, 1.03))
    axes[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[1].legend(frameon=False, loc="lower right")
    at = 20 if 20 in agreement else last
    axes[1].set_title(
        f"At width {at}, {agreement[at][1]:.0%} of the exact ten are found", loc="left", fontsize=11
    )
    for ax in axes:
        plain(ax, "y")
    return axes
