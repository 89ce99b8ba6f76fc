"""The figures and tables of lesson 07. Each takes data and draws; figures return Axes, tables
return HTML.
"""

import html
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter, NullLocator, ScalarFormatter

from letterlib.generators.language_model import Vocabulary
from letterlib.plots import GREY, MARKERS, PALETTE

_RESPONSE = "background:#0072B2;color:white;border-radius:3px;padding:1px 3px 3px"
_CELL = "text-align:left;vertical-align:top;padding:4px 10px 4px 0"


def items_in(tokens: Sequence[int], vocabulary: Vocabulary) -> list[int]:
    """The items whose identifiers stand in a row of tokens."""
    levels = vocabulary.item_tokens.shape[1]
    of = {tuple(row): item for item, row in enumerate(vocabulary.item_tokens.tolist())}
    windows = (tuple(tokens[i : i + levels]) for i in range(len(tokens) - levels + 1))
    return [of[window] for window in windows if window in of]


Pair = tuple[Sequence[int], Sequence[int]]
"""The tokens of a prompt and of its response."""


def prompts_and_responses(
    pairs: Sequence[Pair], vocabulary: Vocabulary, titles: Sequence[str]
) -> str:
    """One example a row: the prompt plain, the response on blue, and the titles of the identifiers
    in both.
    """
    rows = []
    for prompt, response in pairs:
        read, answer = (vocabulary.tokenizer.decode(part) for part in (prompt, response))
        items = dict.fromkeys(items_in([*prompt, *response], vocabulary))
        films = ", ".join(titles[item] for item in items)
        text = html.escape(read).replace("\n", " &#9166; ")
        rows.append(
            f'<tr><td style="{_CELL}">{text} <span style="{_RESPONSE}">{html.escape(answer)}</span>'
            f"<br><i>{html.escape(films)}</i></td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def learnt_tokens(pair: Pair, losses: Sequence[float], vocabulary: Vocabulary) -> str:
    """Every token of an example: those that are only read plain, those that are learnt on blue with
    their loss.
    """
    prompt, response = pair
    cells = []
    for i, token in enumerate([*prompt, *response]):
        text = html.escape(repr(vocabulary.tokenizer.decode([token]))[1:-1])
        learnt = i >= len(prompt)
        below = f"{losses[i - len(prompt)]:.1f}" if learnt else "&nbsp;"
        style = _RESPONSE if learnt else "background:#eeeeee;border-radius:3px;padding:1px 3px 3px"
        cells.append(
            f'<span style="display:inline-block;text-align:center;margin:2px">'
            "<code "
            f'style="display:inline-block;{style}">{text}</code><br><small>{below}</small></span>'
        )
    return f'<div style="line-height:1.5">{"".join(cells)}</div>'


def adapter_to_scale(d_out: int, d_in: int, rank: int) -> Axes:
    """W, A and B as rectangles to scale, with what each holds."""
    ax = plt.subplots(figsize=(8, 3.4), layout="constrained")[1]
    gap, thick = 0.35 * d_in, max(rank, 0.012 * d_in)
    boxes = [
        (0, 0, d_in, d_out, "#d9d9d9", f"W, frozen\n{d_out} x {d_in} = {d_out * d_in:,}"),
        (d_in + gap, 0, thick, d_out, PALETTE[1], f"B\n{d_out} x {rank}"),
        (d_in + 1.5 * gap, d_out - thick, d_in, thick, PALETTE[0], f"A: {rank} x {d_in}"),
    ]
    for x, y, width, height, colour, _ in boxes:
        ax.add_patch(Rectangle((x, y), width, height, color=colour))
    ax.text(d_in / 2, d_out / 2, boxes[0][5], ha="center", va="center")
    ax.text(
        d_in + gap + thick + 0.02 * d_in,
        d_out * 0.3,
        boxes[1][5],
        ha="left",
        va="center",
        color=PALETTE[1],
    )
    ax.text(
        2 * d_in + 1.5 * gap,
        d_out - thick - 0.07 * d_out,
        boxes[2][5],
        ha="right",
        va="center",
        color=PALETTE[0],
    )
    ax.text(d_in + gap / 2, d_out / 2, "+", ha="center", va="center", fontsize=20)
    share = rank * (d_in + d_out) / (d_in * d_out)
    ax.set_title(f"The adapter has {share:.1%} of the matrix's numbers", loc="left", fontsize=11)
    ax.set(
        xlim=(-0.02 * d_in, 2.1 * d_in + 1.5 * gap),
        ylim=(-0.02 * d_out, 1.02 * d_out),
        aspect="equal",
    )
    ax.axis("off")
    return ax


def loss_curves(losses: Mapping[str, np.ndarray]) -> np.ndarray:
    """Loss by step in two panels, one line a model; losses: model -> [steps, 2], the questions and
    the wishes. Each point is the mean of up to ten steps around it.
    """
    axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")[1]
    names = ("kinds asked for by identifier", "identifiers asked for by wish or list")
    for column, (ax, name) in enumerate(zip(axes, names, strict=True)):
        last = {}
        for i, (model, values) in enumerate(losses.items()):
            size = min(10, len(values))
            smooth = np.convolve(values[:, column], np.full(size, 1 / size), mode="valid")
            steps = np.arange(len(smooth)) + (size + 1) / 2
            ax.plot(steps, smooth, color=PALETTE[i], linestyle=("-", "--")[i % 2], label=model)
            last[model] = smooth[-1]
        said = ", ".join(f"{model} {value:.2f}" for model, value in last.items())
        ax.set_title(f"{name}:\nat the end {said}", loc="left", fontsize=10)
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_yticks([1, 2, 4, 8, 16, 32])
        _finish(ax, "step", "loss of a response token" if column == 0 else "")
    axes[-1].legend(frameon=False)
    return axes


def wishes_heard(lifts: Mapping[str, Mapping[str, np.ndarray]], kinds: Sequence[str]) -> np.ndarray:
    """One panel a model, one row a kind, one dot a wish; lifts: model -> "taught" and "never
    taught" -> [kinds, wishes]. The titles give geometric means.
    """
    size = (5 * len(lifts) + 1, 0.3 * len(kinds) + 1.3)
    axes = plt.subplots(
        1, len(lifts), figsize=size, layout="constrained", sharex=True, sharey=True, squeeze=False
    )[1][0]
    for ax, (model, found) in zip(axes, lifts.items(), strict=True):
        means = []
        for i, (what, values) in enumerate(found.items()):
            rows = np.repeat(np.arange(len(kinds)), values.shape[1])
            style = {"color": PALETTE[i], "marker": MARKERS[i], "linestyle": "none"}
            fill = PALETTE[i] if i == 0 else "none"
            ax.plot(values.ravel(), rows, markerfacecolor=fill, label=f"{what} words", **style)
            means.append(f"{what} {np.exp(np.log(values).mean()):.2f}")
        ax.axvline(1, color=GREY, linestyle=":", linewidth=1.2)
        ax.set_title(f"{model}\non average: {', '.join(means)}", loc="left", fontsize=10.5)
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticks([0.25, 0.5, 1, 2, 4, 8], ["1/4", "1/2", "1", "2", "4", "8"])
        ax.set_yticks(range(len(kinds)), kinds)
        _finish(ax, "own wishes over other wishes", "")
    axes[0].invert_yaxis()
    axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


def _finish(ax: Axes, x: str, y: str) -> Axes:
    ax.set(xlabel=x, ylabel=y)
    ax.grid(color="#e3e3e3", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
