"""The figures and tables of lesson 07. Each takes data and draws; figures return Axes, tables
return HTML.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from letterlib.generators.language_model import Vocabulary
from letterlib.generators.prompts import TASKS, Example
from letterlib.plots import GREY, MARKERS, PALETTE, spanned

_RESPONSE = "background:#0072B2;color:white;border-radius:3px;padding:1px 3px 3px"
_CELL = "text-align:left;vertical-align:top;padding:4px 10px 4px 0"


def items_in(tokens: Sequence[int], vocabulary: Vocabulary) -> list[int]:
    """The items whose identifiers stand in a row of tokens."""
    levels = vocabulary.item_tokens.shape[1]
    of = {tuple(row): item for item, row in enumerate(vocabulary.item_tokens.tolist())}
    windows = (tuple(tokens[i : i + levels]) for i in range(len(tokens) - levels + 1))
    return [of[window] for window in windows if window in of]


def prompts_and_responses(
    examples: Sequence[Example], vocabulary: Vocabulary, titles: Sequence[str]
) -> str:
    """One example a row: the prompt plain, the response on blue, and the titles of the identifiers
    in both.
    """
    rows = []
    for one in examples:
        said = vocabulary.tokenizer.decode(one.tokens[~one.response])
        answer = vocabulary.tokenizer.decode(one.tokens[one.response])
        films = ", ".join(titles[item] for item in items_in(one.tokens.tolist(), vocabulary))
        text = html.escape(said).replace("\n", " &#9166; ")
        rows.append(
            f'<tr><td style="{_CELL}"><b>{TASKS[one.task]}</b></td><td style="{_CELL}">{text}'
            "<span "
            f'style="{_RESPONSE}">{html.escape(answer)}</span><br><i>{html.escape(films)}</i></td></tr>'
        )
    return f"<table>{''.join(rows)}</table>"


def learnt_tokens(one: Example, losses: Sequence[float], vocabulary: Vocabulary) -> str:
    """Every token of an example: those that are only read plain, those that are learnt on blue with
    their loss.
    """
    left, cells = iter(losses), []
    for token, response in zip(one.tokens.tolist(), one.response, strict=True):
        text = html.escape(repr(vocabulary.tokenizer.decode([token]))[1:-1])
        below = f"{next(left):.1f}" if response else "&nbsp;"
        style = (
            _RESPONSE if response else "background:#eeeeee;border-radius:3px;padding:1px 3px 3px"
        )
        cells.append(
            f'<span style="display:inline-block;text-align:center;margin:2px">'
            "<code "
            f'style="display:inline-block;{style}">{text}</code><br><small>{below}</small></span>'
        )
    return f'<div style="line-height:1.5">{"".join(cells)}</div>'


def lists_side_by_side(rows: Sequence[Mapping[str, Any]]) -> str:
    """One user a row: columns "history", "came next" (titles) and one column of titles per system.

    A title that came next is bold in a list.
    """
    head = "".join(f'<th style="{_CELL}">{html.escape(name)}</th>' for name in rows[0])
    body = ""
    for row in rows:
        body += "<tr>"
        for name, films in row.items():
            right = () if name in ("history", "came next") else row["came next"]
            lines = [
                f"<b>{html.escape(film)}</b>" if film in right else html.escape(film)
                for film in films
            ]
            body += f'<td style="{_CELL};border-top:1px solid #ccc">{"<br>".join(lines)}</td>'
        body += "</tr>"
    return f'<table style="font-size:85%"><tr>{head}</tr>{body}</table>'


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


def loss_curves(curves: Mapping[str, Sequence[float]], floor: tuple[str, float]) -> Axes:
    """Loss by step, one line each, and a dotted line at the loss of an even guess."""
    ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")[1]
    for i, (name, losses) in enumerate(curves.items()):
        ax.plot(
            range(1, len(losses) + 1),
            losses,
            color=PALETTE[i],
            linestyle=("-", "--")[i % 2],
            label=name,
        )
        ax.annotate(
            f"{losses[-1]:.2f}",
            (len(losses), losses[-1]),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=PALETTE[i],
            fontsize=9,
        )
    ax.axhline(floor[1], color=GREY, linestyle=":", linewidth=1.2, label=floor[0])
    last = {name: losses[-1] for name, losses in curves.items()}
    best, worst = min(last, key=last.get), max(last, key=last.get)
    ax.legend(frameon=False)
    ax.set_title(
        f"After equal steps: {best} {last[best]:.2f}, {worst} {last[worst]:.2f}",
        loc="left",
        fontsize=11,
    )
    return _finish(ax, "step", "loss of a response token")


def before_and_after(before: Mapping[str, float], after: Mapping[str, float], steps: int) -> Axes:
    """An arrow for every task, from the loss before to the loss after."""
    ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")[1]
    for row, task in enumerate(before):
        colour = PALETTE[0] if after[task] < before[task] else PALETTE[3]
        arrow = {"arrowstyle": "->", "color": colour, "lw": 2}
        ax.annotate("", (after[task], row), (before[task], row), arrowprops=arrow)
        ax.plot(before[task], row, "o", color=GREY, markersize=6)
        ax.annotate(
            f"{after[task]:.1f}",
            (after[task], row),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=9,
            color=colour,
        )
    fell = sum(after[task] < before[task] for task in before)
    tasks = f"{fell} task{'s' * (fell != 1)} of {len(before)}"
    ax.set_title(f"{steps} steps: the loss of {tasks} has fallen", loc="left", fontsize=11)
    ax.set_yticks(range(len(before)), list(before))
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    return _finish(ax, "mean loss of a response token", "")


def valid_mass(steps: Sequence[int], mass: np.ndarray) -> np.ndarray:
    """The probability of valid tokens by step; mass [steps, 3, L + 1] as
    `letterlib.analysis.generation` gives it.
    """
    axes = plt.subplots(1, 3, figsize=(11.5, 3.5), layout="constrained", sharey=True)[1]
    levels = mass.shape[2] - 1
    kinds = ("a code of any level", "a code of the level due", "a code that continues some film")
    for row, (ax, kind) in enumerate(zip(axes, kinds, strict=True)):
        for place in range(levels + 1):
            label = f"code {place + 1}" if place < levels else "end token"
            ax.plot(
                steps,
                mass[:, row, place],
                f"{MARKERS[place]}-",
                color=PALETTE[place],
                markersize=4,
                label=label,
            )
        ax.set_title(
            f"{kind}:\ncodes {spanned(mass[-1, row, :levels], '.2f')} at the end",
            loc="left",
            fontsize=10.5,
        )
        ax.set_ylim(-0.03, 1.03)
        _finish(ax, "step", "mean probability" if row == 0 else "")
    axes[-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return axes


def losses_by_epoch(losses: Mapping[str, np.ndarray]) -> Axes:
    """Loss by task and epoch; losses: task -> [seeds, epochs]. Lines are means, bands reach from
    least to most.
    """
    ax = plt.subplots(figsize=(8, 3.8), layout="constrained")[1]
    for i, (task, values) in enumerate(losses.items()):
        epochs = np.arange(1, values.shape[1] + 1)
        ax.plot(
            epochs,
            values.mean(axis=0),
            f"{MARKERS[i]}-",
            color=PALETTE[i],
            markersize=5,
            label=task,
        )
        ax.fill_between(
            epochs,
            values.min(axis=0),
            values.max(axis=0),
            color=PALETTE[i],
            alpha=0.15,
            linewidth=0,
        )
    mean = {task: values.mean(axis=0) for task, values in losses.items()}
    low = min(mean, key=lambda task: mean[task][-1])
    high = max(mean, key=lambda task: mean[task][-1])
    ax.set_title(
        f"Lowest in the end: {low} ({mean[low][-1]:.1f}); highest: {high} ({mean[high][-1]:.1f})",
        loc="left",
        fontsize=11,
    )
    ax.set_xticks(epochs)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return _finish(ax, "epoch", "mean loss of a response token")


def _finish(ax: Axes, x: str, y: str) -> Axes:
    ax.set(xlabel=x, ylabel=y)
    ax.grid(color="#e3e3e3", linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
