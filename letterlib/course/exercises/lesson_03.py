"""Lesson 03: next-item pairs, SASRec's loss, overlap of neighbours, L_CF, the step with it."""

from collections.abc import Callable
from functools import wraps

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from letterlib.course.comparing import Case
from letterlib.course.exercise import Exercise
from letterlib.course.exercises.lesson_02 import (
    Tiny,
    linear,
    nearest,
    rq_loss,
    step_cases,
    straight_through,
)
from letterlib.course.values import tenths
from letterlib.tokenizer import losses

# 3.1 The next item: history int64 [n], held_out, window -> inputs and labels, int64 [<= window]


def next_items_cases(generator: Generator) -> list[Case]:
    """(items of the user, held out, window). A training part may have one item only.

    No item twice, but in the last case but one: there held-out items are training items as well.
    """
    shapes = [(4, 1, 3), (5, 1, 1), (5, 1, 3), (3, 1, 4), (12, 3, 5), (12, 2, 9), (24, 2, 7)]
    histories = [torch.randperm(90, generator=generator)[:n] for n, _, _ in shapes]
    *cases, longest = [
        {"history": history, "held_out": held_out, "window": window}
        for history, (_, held_out, window) in zip(histories, shapes)
    ]
    again = torch.tensor([4, 7, 4, 5, 7, 4])
    return [*cases, {"history": again, "held_out": 1, "window": 3}, longest]


def next_items(history: Tensor, held_out: int, window: int) -> tuple[Tensor, Tensor]:
    train = history[: len(history) - 2 * held_out]
    return train[:-1][-window:], train[1:][-window:]


def right_inputs(train: Tensor, history: Tensor, window: int) -> Tensor:
    return train[:-1][-window:]


def right_labels(train: Tensor, history: Tensor, window: int) -> Tensor:
    return train[1:][-window:]


def pairs(
    inputs: Callable = right_inputs,
    labels: Callable = right_labels,
    train: Callable = lambda history, n: history[: len(history) - 2 * n],
) -> Callable:
    """Next-item pairs, a part of which may be replaced."""

    def answer(history, held_out, window):
        part = train(history, held_out)
        return inputs(part, history, window), labels(part, history, window)

    return answer


def zipped(history, held_out, window):
    train = history.tolist()[: len(history) - 2 * held_out]
    kept = list(zip(train, train[1:]))[-window:]
    inputs, labels = [a for a, _ in kept], [b for _, b in kept]
    return torch.tensor(inputs, dtype=torch.int64), torch.tensor(labels, dtype=torch.int64)


def by_places(history, held_out, window):
    last = len(history) - 2 * held_out - 1
    places = torch.arange(max(0, last - window), last)
    return history[places], history[places + 1]


def by_negative_places(history, held_out, window):
    last = len(history) - 2 * held_out - 1
    places = range(last - window, last)
    return torch.stack([history[i] for i in places]), torch.stack([history[i + 1] for i in places])


def window_first(extra: int) -> Callable:
    def answer(history, held_out, window):
        train = history[-(window + extra) :][: -2 * held_out]
        return train[:-1], train[1:]

    return answer


def labels_by_id(train, history, window):
    items = history.tolist()
    inputs = right_inputs(train, history, window).tolist()
    return torch.tensor([items[items.index(item) + 1] for item in inputs], dtype=torch.int64)


def padded(items: Tensor, window: int) -> Tensor:
    return F.pad(items, (window - len(items), 0))


LAST_LABEL = "the last label alone. Every input has one."
HELD_OUT_LABELS = "held-out items among the labels. Take away 2 * held_out items first."
WINDOW_FIRST = (
    "the window cut before the held-out items were. Take 2 * held_out items away first, and then "
    "cut."
)
NEWEST_FIRST = "the newest first; histories run from the oldest to the newest."
ONE_SHORT = "a window one too short: `window` inputs and as many labels."

NEXT_ITEMS = Exercise(
    reference=next_items,
    cases=next_items_cases,
    returns=["inputs", "labels"],
    right=[
        zipped,
        by_places,
        lambda h, n, w: (h[:-n][:-n][-w - 1 : -1], h[:-n][:-n][1:][-w:]),
    ],
    mistakes=[
        (pairs(train=lambda h, n: h), "held-out items: the last 2 * held_out are for testing."),
        (pairs(train=lambda h, n: h[:-n]), "validation items. Take away 2 * held_out."),
        (
            pairs(train=lambda h, n: h[: len(h) - n - 1]),
            "held_out + 1 items taken away. Validation and test have `held_out` items each: take "
            "away 2 * held_out.",
        ),
        (
            pairs(train=lambda h, n: h[: len(h) - 2 * n - 1]),
            "2 * held_out + 1 items taken away. Of the training part only the last is no input.",
        ),
        (
            pairs(train=lambda h, n: h[-2 * n :]),
            "the held-out items kept, and the others thrown away.",
        ),
        (
            pairs(lambda t, h, w: t[-w - 1 :], lambda t, h, w: t[-w:]),
            "inputs and labels of different lengths. The last training item is no input.",
        ),
        (pairs(train=lambda h, n: h[2 * n :]), "the oldest items taken away, not the most recent."),
        (
            pairs(train=lambda h, n: h[~torch.isin(h, h[-2 * n :])]),
            "items taken out by their id: an item may stand in both parts. Cut by place.",
        ),
        (window_first(0), WINDOW_FIRST),
        (window_first(1), WINDOW_FIRST),
        (lambda h, n, w: next_items(h, n, w)[::-1], "inputs and labels in the other order."),
        (
            pairs(inputs=lambda t, h, w: t[-w:]),
            "the last training item among the inputs. What follows it is held out, so it has no "
            "label.",
        ),
        (
            pairs(lambda t, h, w: t[:-1][:w], lambda t, h, w: t[1:][:w]),
            "the oldest items. The window holds the most recent ones.",
        ),
        (
            pairs(lambda t, h, w: t[:w], lambda t, h, w: t[1 : w + 1]),
            "the oldest items. The window holds the most recent ones.",
        ),
        (pairs(labels=lambda t, h, w: t[1:][:w]), "the oldest labels. Keep the most recent."),
        (
            pairs(lambda t, h, w: t[1:-1][-w:], lambda t, h, w: t[2:][-w:]),
            "the first training item left out; it is an input.",
        ),
        (
            pairs(lambda t, h, w: t[:-1], lambda t, h, w: t[1:]),
            "no window: at most `window` inputs and labels, the most recent ones.",
        ),
        (pairs(labels=lambda t, h, w: t[1:]), "no window: as many labels as inputs, the last."),
        (pairs(lambda t, h, w: t[:-1][-w + 1 :], lambda t, h, w: t[1:][-w + 1 :]), ONE_SHORT),
        (pairs(lambda t, h, w: t[-w:][:-1], lambda t, h, w: t[-w:][1:]), ONE_SHORT),
        (lambda h, n, w: tuple(items.flip(0) for items in next_items(h, n, w)), NEWEST_FIRST),
        (pairs(labels=lambda t, h, w: t[1:][-w:].flip(0)), NEWEST_FIRST),
        (pairs(labels=right_inputs), "no shift: the label of an item is the item after it."),
        (
            pairs(labels=lambda t, h, w: t[:-2][-w:]),
            "a shift in the wrong direction: the label is the item after, not before.",
        ),
        (
            pairs(labels=lambda t, h, w: t[-w:]),
            "the last `window` items as labels: in a short history the first of them has nothing "
            "before it.",
        ),
        (
            pairs(labels=lambda t, h, w: h[2:][: len(t) - 1][-w:]),
            "labels that reach into the held-out part. The last label is the last training item.",
        ),
        (
            pairs(labels=lambda t, h, w: h[1:][: len(t)][-w:]),
            "labels that reach into the held-out part. The last label is the last training item.",
        ),
        (pairs(labels=lambda t, h, w: t[-1:]), LAST_LABEL),
        (pairs(labels=lambda t, h, w: t[-1]), LAST_LABEL),
        (
            lambda h, n, w: (next_items(h, n, w)[0], h[:-n][1:][-w:]),
            "validation items among the labels. Take away 2 * held_out items first.",
        ),
        (lambda h, n, w: (next_items(h, n, w)[0], h[1:][-w:]), HELD_OUT_LABELS),
        (pairs(labels=labels_by_id), "labels looked up by id, and an item may occur twice."),
        (
            by_negative_places,
            "a negative place, which counts from the end: here the training part is shorter than "
            "the window.",
        ),
        (
            lambda h, n, w: tuple(padded(items, w) for items in next_items(h, n, w)),
            "padding. A training part shorter than the window simply gives fewer inputs and "
            "labels.",
        ),
        (
            lambda h, n, w: tuple(torch.tensor(x.tolist()) for x in next_items(h, n, w)),
            "`torch.tensor([])` of an empty list, which holds fractions. Items are `torch.int64`.",
        ),
    ],
)

# 3.2 SASRec's loss: x [batch, length, dim], query, key, value, items, labels -> scalar, and the
# states [batch, length, dim]


def sasrec_cases(generator: Generator) -> list[Case]:
    """(batch, length, dim, items, whether the first history is shorter, its end padded)."""
    cases = []
    for rows, length, dim, n_items, padded_end in [
        (1, 1, 1, 2, False),
        (1, 2, 1, 2, False),
        (1, 3, 2, 3, False),
        (2, 3, 2, 4, True),
        (6, 5, 4, 12, True),
    ]:
        labels = torch.randint(n_items, (rows, length), generator=generator)
        if padded_end:
            labels[0, -1] = IGNORED
        x = tenths(torch.randn(rows, length, dim, generator=generator))
        items = tenths(torch.randn(n_items, dim, generator=generator))
        names = ("query", "key", "value")
        layers = {name: linear(dim, dim, generator) for name in names}
        x, items = x.requires_grad_(), items.requires_grad_()
        cases.append({"x": x, **layers, "items": items, "labels": labels})
    return cases


IGNORED = -100
"""The label of padding, which F.cross_entropy leaves out."""


def later(scores: Tensor) -> Tensor:
    """Which of [..., position that reads, position that is read] come later."""
    return torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)


def masked_softmax(scores: Tensor) -> Tensor:
    return scores.masked_fill(later(scores), -torch.inf).softmax(dim=-1)


def entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def attending(
    weights: Callable = masked_softmax,
    scale: Callable = lambda dim: dim**-0.5,
    scores: Callable = lambda q, k: q @ k.mT,
    read: Callable = lambda x, value: value(x),
    states: Callable = lambda x, mixed: x + mixed,
    loss: Callable = entropy,
) -> Callable:
    """SASRec's loss with one layer, a step of which may be replaced."""

    def answer(x, query, key, value, items, labels):
        mixed = weights(scores(query(x), key(x)) * scale(x.shape[-1])) @ read(x, value)
        state = states(x, mixed)
        return loss(state @ items.T, labels), state

    return answer


def next_item_loss(x, query, key, value, items, labels):
    return attending()(x, query, key, value, items, labels)


without_mask = attending(lambda scores: scores.softmax(dim=-1))
"""SASRec's loss where every position reads the whole history. Lesson 03 trains with it as well."""


def row_by_row(x, query, key, value, items, labels):
    losses, states = [], torch.zeros_like(x)
    for row, (history, wanted) in enumerate(zip(x, labels)):
        for t in range(len(history)):
            past = history[: t + 1]
            shares = (key(past) @ query(history[t]) / x.shape[-1] ** 0.5).softmax(dim=0)
            state = states[row, t] = history[t] + shares @ value(past)
            if wanted[t] != IGNORED:
                losses.append(-(items @ state).log_softmax(dim=0)[wanted[t]])
    return torch.stack(losses).mean(), states


def in_one_call(x, query, key, value, items, labels):
    mixed = F.scaled_dot_product_attention(query(x), key(x), value(x), is_causal=True)
    return entropy((x + mixed) @ items.T, labels), x + mixed


DIAGONAL = (
    "the diagonal is hidden too. A position reads itself, and the first has nothing else: "
    "`triu(1)`."
)
NO_MASK = "no mask: a position reads the film that it has to guess. Hide what comes later."

NEXT_ITEM_LOSS = Exercise(
    reference=next_item_loss,
    cases=sasrec_cases,
    returns=["the loss", "the states"],
    right=[row_by_row, in_one_call],
    mistakes=[
        (without_mask, NO_MASK),
        (
            attending(
                lambda s: s.masked_fill(later(s).mT, -torch.inf).softmax(dim=-1),
            ),
            "the mask the wrong way round: the past is hidden, and the future is read.",
        ),
        (
            attending(
                lambda s: s.masked_fill(torch.ones_like(s).triu().bool(), -torch.inf).softmax(-1),
            ),
            DIAGONAL,
        ),
        (
            attending(
                lambda s: s.masked_fill(torch.ones_like(s).triu().bool(), -1e9).softmax(-1),
            ),
            DIAGONAL,
        ),
        (
            attending(
                lambda s: s.masked_fill(torch.ones_like(s).triu(2).bool(), -torch.inf).softmax(-1),
            ),
            "`triu(2)`: the next film can be seen, and it is the answer. Hide it: `triu(1)`.",
        ),
        (
            attending(states=lambda x, mixed: F.normalize(x + mixed, dim=-1)),
            "a normalised state. The score is the plain dot product.",
        ),
        (
            attending(lambda s: s.masked_fill(later(s), 0).softmax(dim=-1)),
            "hidden scores set to 0. The exponential of 0 is 1; fill with minus infinity.",
        ),
        (
            attending(lambda s: s.softmax(dim=-1).masked_fill(later(s), 0)),
            "the mask after the softmax: what is left does not add up to 1. Mask the scores.",
        ),
        (
            attending(lambda s: s.masked_fill(later(s), -torch.inf).softmax(dim=-2)),
            "the softmax over the positions that read. It is over those that are read: `dim=-1`.",
        ),
        (attending(scale=lambda dim: 1.0), "scores are not divided by the root of dim."),
        (
            lambda x, *rest: attending(scale=lambda dim: x.shape[1] ** -0.5)(x, *rest),
            "scores divided by the root of the length of the history. It is the root of dim.",
        ),
        (attending(scale=lambda dim: 1 / dim), "scores divided by dim, not by its root."),
        (attending(scale=lambda dim: dim**0.5), "scores multiplied by the root of dim. Divide."),
        (
            attending(scores=lambda q, k: k @ q.mT),
            "query and key in each other's place. The rows are the positions that read: q @ k.mT.",
        ),
        (
            attending(read=lambda x, value: x),
            "x itself is mixed. What is read from a position is `value(x)`.",
        ),
        (
            attending(states=lambda x, mixed: mixed),
            "x is not added to what attention brings. Without it a state forgets its own film.",
        ),
        (
            attending(loss=lambda logits, labels: entropy(logits[:, :-1], labels[:, 1:])),
            "labels shifted once more. `labels[:, t]` is the film after input t already.",
        ),
        (
            attending(loss=lambda logits, labels: entropy(logits[:, -1:], labels[:, -1:])),
            "the last position alone. Every position is a question.",
        ),
        (
            attending(loss=lambda logits, labels: entropy(logits, labels.clamp(min=0))),
            "padding counts, with film 0 as its label. A label of -100 is left out.",
        ),
        (
            attending(
                loss=lambda logits, labels: F.cross_entropy(
                    logits.mT, labels, reduction="none"
                ).mean()
            ),
            "padding counts in the mean, with a loss of 0. Divide by the number of real labels.",
        ),
        (
            attending(
                loss=lambda logits, labels: torch.stack(
                    [F.cross_entropy(rows, wanted) for rows, wanted in zip(logits, labels)]
                ).mean()
            ),
            "the mean of each history first, then the mean of these. All labels count alike.",
        ),
        (
            attending(
                loss=lambda logits, labels: F.cross_entropy(logits.mT, labels, reduction="sum")
            ),
            "a sum over positions. Take their mean.",
        ),
        (
            attending(loss=lambda logits, labels: entropy(logits.softmax(dim=-1), labels)),
            "a softmax before `F.cross_entropy`, which takes one itself.",
        ),
        (
            attending(
                loss=lambda logits, labels: F.cross_entropy(logits[labels > 0], labels[labels > 0])
            ),
            "labels of 0 are left out. Film 0 is one like any other; only padding has -100.",
        ),
        (
            lambda x, *rest: (
                next_item_loss(x, *rest)[0],
                next_item_loss(x, *rest)[1] - x,
            ),
            "the states are returned without x. Return what the items are compared with.",
        ),
        (
            lambda *given: next_item_loss(*given)[::-1],
            "the states first. Return the loss, then the states.",
        ),
        (
            lambda *given: (lambda loss, states: (loss, states[:, -1]))(*next_item_loss(*given)),
            "the last state alone. Return the states of all positions.",
        ),
        (
            attending(loss=lambda logits, labels: entropy(logits.detach(), labels)),
            "no gradient arrives: `detach()` or `torch.no_grad()` on the way.",
        ),
    ],
)

# 3.3 Overlap: two lists of neighbours, int [n, k], no id twice in a row -> common share, float [n]


def overlap_cases(generator: Generator) -> list[Case]:
    """(rows, neighbours, ids they are drawn from).

    In the second case the larger id is in the second list, in the last case in the first. In the
    last case one row has the same ids in another order.
    """

    def lists(n: int, k: int, ids: int) -> np.ndarray:
        return torch.stack([torch.randperm(ids, generator=generator)[:k] for _ in range(n)]).numpy()

    shapes = [(1, 1, 1), (1, 1, 2), (1, 2, 2), (3, 2, 3), (4, 3, 5), (24, 6, 30)]
    cases = [{"first": lists(*shape), "second": lists(*shape)} for shape in shapes]
    cases[1] = {"first": np.array([[0]]), "second": np.array([[1]])}
    cases[-1]["first"][1, 0] = 30
    cases[-1]["second"][0] = np.roll(cases[-1]["first"][0], 1)
    return cases


def in_both(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether each of one list is each of the other: bool [n, k, k]."""
    return first[:, :, None] == second[:, None, :]


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return in_both(first, second).any(axis=2).mean(axis=1)


def per_row(share: Callable) -> Callable:
    """share: of one row's two lists, as sets."""
    return lambda first, second: np.array(
        [share(set(x), set(y)) for x, y in zip(first.tolist(), second.tolist())]
    )


def one_hot(which: Callable) -> Callable:
    """Every row as 0 and 1, a column per id. which: the lists that say how many ids there are."""

    def answer(first, second):
        size = which(first, second).max() + 1
        one, other = (np.eye(size)[ids].sum(axis=1) for ids in (first, second))
        return (one * other).sum(axis=1) / first.shape[1]

    return answer


TOO_SMALL = (
    "A table that is sized by one of the two lists: the other has a larger id. Use the largest of "
    "both."
)
CUT_OFF = "fractions are cut off: `//`, or a table of whole numbers such as `np.zeros_like(first)`."
WHOLE_SETS = "whole sets are compared with `==`. Count what is in both: `len(x & y)`."

OVERLAP = Exercise(
    reference=overlap,
    cases=overlap_cases,
    returns=["overlap"],
    right=[
        per_row(lambda x, y: len(x & y) / len(x)),
        lambda a, b: np.array([np.isin(x, y).mean() for x, y in zip(a, b)]),
        lambda a, b: 2 - np.array([len({*x, *y}) for x, y in zip(a, b)]) / a.shape[1],
        one_hot(lambda a, b: np.concatenate([a, b])),
        lambda a, b: in_both(a, b).any(1).mean(1),
    ],
    stops={"out of bounds": TOO_SMALL},
    mistakes=[
        (
            lambda a, b: (a == b).mean(axis=1),
            "the order counts: rank 1 is compared with rank 1 only. Compare the lists as sets.",
        ),
        (
            lambda a, b: (np.sort(a) == np.sort(b)).mean(axis=1),
            "sorted lists compared place by place; compare them as sets.",
        ),
        (per_row(lambda x, y: len(x & y) / len(x | y)), "a division by the union. Divide by k."),
        (
            per_row(lambda x, y: len(x | y) / len(x)),
            "what is in either list. Count what is in both: `len(x & y)`.",
        ),
        (lambda a, b: overlap(a, b) * a.shape[1], "a count. Divide it by k."),
        (per_row(lambda x, y: len(x & y)), "a count. Divide it by k."),
        (
            lambda a, b: overlap(a, b) * a.shape[1] / len(a),
            "a division by the number of rows, not by k.",
        ),
        (lambda a, b: overlap(a, b) / 2, "a division by both lists' lengths. Divide by k."),
        (
            lambda a, b: overlap(a, b) * a.shape[1] / 10,
            "a division by 10. k is the length of a row.",
        ),
        (
            lambda a, b: np.isin(a, b).mean(axis=1),
            "`isin` on whole tables: an id counts if any item's list has it. Compare row by row.",
        ),
        (lambda a, b: 1 - overlap(a, b), "the share of neighbours that differ."),
        (lambda a, b: 100 * overlap(a, b), "a percentage. Return fractions from 0 to 1."),
        (
            lambda a, b: in_both(a, b).any(axis=(1, 2)),
            "whether there is any common neighbour; return how many of the k.",
        ),
        (
            lambda a, b: in_both(a, b).any(axis=(1, 2)).astype(float),
            "whether there is any common neighbour; return how many of the k.",
        ),
        (lambda a, b: in_both(a, b).any(axis=2), "which neighbours are in both: take their mean."),
        (
            lambda a, b: in_both(a, b).mean(axis=(1, 2)),
            "a mean over all pairs of neighbours. First ask of each whether it is in the other "
            "list.",
        ),
        (
            lambda a, b: in_both(a, b).all(axis=2).mean(axis=1),
            "`all` in place of `any`: one neighbour equals one place of the other list at most.",
        ),
        (
            lambda a, b: (a[:, None] == b[None]).any(axis=2).mean(axis=1),
            "every row compared with every row, place by place. `first[:, :, None] == second[:, "
            "None, :]` compares each neighbour with each, row by row.",
        ),
        (lambda a, b: in_both(a, b).any(axis=2).mean(axis=0), "a mean over rows: `axis=1`."),
        (lambda a, b: in_both(a, b).sum(axis=(1, 2)) // a.shape[1], CUT_OFF),
        (per_row(lambda x, y: float(x == y)), WHOLE_SETS),
        (per_row(lambda x, y: x == y), WHOLE_SETS),
        (lambda a, b: overlap(a, b).mean(), "a mean over all rows. Use `mean(axis=1)`."),
        (lambda a, b: overlap(a, b)[0], "a `return` inside the loop, after the first row."),
        (one_hot(lambda a, b: a), TOO_SMALL),
        (one_hot(lambda a, b: b), TOO_SMALL),
    ],
)

# 3.4 The collaborative loss: quantised, collaborative [batch, dim] -> scalar, gradient to quantised


def cf_loss_cases(generator: Generator) -> list[Case]:
    """(batch, dim), and logits beyond exp's range in float32, of which two cases suffice.

    With one item in the batch there is nothing to choose from, and the loss is 0.
    """
    drawn = [
        [tenths(torch.randn(shape, generator=generator)) for _ in range(2)]
        for shape in [(1, 1), (2, 1), (2, 2), (13, 5)]
    ]
    large = [
        [torch.tensor([[9.0], [1.0]]), torch.tensor([[10.0], [1.0]])],  # exp(90) is infinite
        [torch.tensor([[9.0], [12.0]]), torch.tensor([[10.0], [1.0]])],  # exp(12 - 120) is 0
    ]
    return [
        {"quantised": quantised.requires_grad_(), "collaborative": collaborative}
        for quantised, collaborative in [*drawn[:-1], *large, drawn[-1]]
    ]


def dots(z: Tensor, h: Tensor) -> Tensor:
    return z @ h.T


def cf_loss(quantised: Tensor, collaborative: Tensor) -> Tensor:
    logits = dots(quantised, collaborative)
    return F.cross_entropy(logits, torch.arange(len(logits)))


def contrast(logits: Callable = dots, target: Callable = torch.arange, **options) -> Callable:
    """A collaborative loss, a step of which may be replaced."""
    return lambda z, h: F.cross_entropy(logits(z, h), target(len(z)), **options)


def own_shares(z: Tensor, h: Tensor) -> Tensor:
    """The probability of each item's own h."""
    return dots(z, h).softmax(dim=1).diag()


def by_subtraction(z, h):
    return (dots(z, h).logsumexp(dim=1) - (z * h).sum(dim=1)).mean()


def others_alone(z, h):
    off = dots(z, h).masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    return (off.logsumexp(1) - dots(z, h).diag()).mean()


def shares_of_powers(z: Tensor, h: Tensor) -> Tensor:
    powers = dots(z, h).exp()
    return powers.diag() / powers.sum(dim=1)


def unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=1)


def scaled(factor: Callable) -> Callable:
    return contrast(lambda z, h: dots(z, h) * factor(z))


OVERFLOW = (
    "`exp` of a large logit is infinite. `F.cross_entropy`, `log_softmax` and `logsumexp` subtract "
    "the largest logit first."
)
BOTH_DIRECTIONS = "both directions. The paper's loss has one: each z^ looks for its h."
SIGN = (
    "the sign: the formula has one minus, and `F.cross_entropy` contains it already. The loss is "
    "never negative."
)
UNIT = "vectors scaled to length 1. The paper's logits are plain dot products."
TARGET = "The target of row i is the number i: `torch.arange(len(logits))`."
TEMPERATURE = "a temperature. The paper's loss divides the logits by nothing."
DISTANCES = "distances as logits; use dot products."
SMALL = (
    "a small number inside the logarithm. It cuts large losses off; `F.cross_entropy` needs none."
)
NO_LOGARITHM = (
    "the logarithm is missing: this is the probability. `F.nll_loss` wants `log_softmax`."
)

CF_LOSS = Exercise(
    reference=cf_loss,
    library=losses.collaborative_loss,
    cases=cf_loss_cases,
    returns=["the loss"],
    right=[
        lambda z, h: -dots(z, h).log_softmax(1).diagonal().mean(),
        by_subtraction,
        contrast(lambda z, h: torch.einsum("id,jd->ij", z, h)),
        contrast(target=torch.eye),
    ],
    stops={"Target ": TARGET, " target": TARGET},
    mistakes=[
        (contrast(reduction="none"), "one loss per item; take their mean."),
        (contrast(reduction="sum"), "a sum over the batch; take the mean."),
        (
            lambda z, h: cf_loss(z, h) / len(z),
            "a division by the batch once more: `F.cross_entropy` and `mean` have divided already.",
        ),
        (lambda z, h: -cf_loss(z, h), SIGN),
        (
            contrast(lambda z, h: -dots(z, h)),
            "logits of the wrong sign: the item's own dot product should be the largest.",
        ),
        (
            contrast(lambda z, h: dots(z, h).T),
            "transposed logits: each h looks for its z^. Rows are z^, columns are h.",
        ),
        (lambda z, h: (cf_loss(z, h) + cf_loss(h, z)) / 2, BOTH_DIRECTIONS),
        (lambda z, h: cf_loss(z, h) + cf_loss(h, z), BOTH_DIRECTIONS),
        (others_alone, "the item's own h is left out; j runs over all of the batch."),
        (contrast(lambda z, h: unit(z) @ unit(h).T), "cosines; use plain dot products."),
        (contrast(lambda z, h: unit(z) @ h.T), UNIT),
        (contrast(lambda z, h: z @ unit(h).T), UNIT),
        (scaled(lambda z: z.shape[1] ** -0.5), TEMPERATURE),
        *((scaled(lambda z, t=t: 1 / t), TEMPERATURE) for t in (0.05, 0.07, 0.1, 0.2, 0.5, 2.0)),
        (
            contrast(target=lambda n: torch.zeros(n, dtype=torch.int64)),
            "target 0 for every row. The target of row i is i.",
        ),
        (contrast(target=torch.ones), TARGET),
        (contrast(target=lambda n: torch.ones(n, dtype=torch.int64)), TARGET),
        (contrast(lambda z, h: -torch.cdist(z, h)), DISTANCES),
        (contrast(lambda z, h: -(torch.cdist(z, h) ** 2)), DISTANCES),
        (
            lambda z, h: -(z * h).sum(1).mean(),
            "the item's own dot product alone: nothing pushes it away from the others.",
        ),
        (F.mse_loss, "a distance to the item's own vector, without the others."),
        (
            lambda z, h: (dots(z, h).amax(dim=1) - (z * h).sum(1)).mean(),
            "the largest logit in place of the logarithm of the sum: `logsumexp`.",
        ),
        (
            lambda z, h: -dots(z, h).log_softmax(1).mean(),
            "the mean over all columns: the target is missing. Take the diagonal.",
        ),
        (
            lambda z, h: dots(z, h).logsumexp(1).mean(),
            "the item's own logit is not subtracted: the target is missing.",
        ),
        (
            contrast(lambda z, h: dots(z, h).softmax(1)),
            "a softmax too many: `F.cross_entropy` has one.",
        ),
        (
            contrast(lambda z, h: dots(z, h).log_softmax(0)),
            "a softmax over the columns, `dim=0`, and then one over the rows in "
            "`F.cross_entropy`. The one inside is enough.",
        ),
        (
            lambda z, h: (dots(z, h).flatten().logsumexp(0) - dots(z, h).diag()).mean(),
            "a sum over the whole table below the line. Each row has its own sum: `dim=1`.",
        ),
        (contrast(lambda z, h: dots(z, z)), "`quantised` on both sides. The columns are the h."),
        (contrast(lambda z, h: dots(h, h)), "`collaborative` on both sides. The rows are the z^."),
        (
            lambda z, h: F.binary_cross_entropy_with_logits(dots(z, h), torch.eye(len(z))),
            "a yes or no for every pair. Each row is one question with B possible answers.",
        ),
        (lambda z, h: own_shares(z, h).mean(), "the probability itself. Take minus its logarithm."),
        (lambda z, h: -own_shares(z, h).mean(), NO_LOGARITHM),
        (
            lambda z, h: -own_shares(z, h).mean().log(),
            "the logarithm of a mean. Take the mean last.",
        ),
        *(
            (lambda z, h, small=10.0**-power: -(own_shares(z, h) + small).log().mean(), SMALL)
            for power in (6, 7, 8, 9, 10, 12)
        ),
        (
            lambda z, h: -own_shares(z, h).log().mean(),
            "the logarithm of a probability that was rounded to 0. `log_softmax` in place of "
            "`softmax` and `log` does not round.",
        ),
        (lambda z, h: -shares_of_powers(z, h).log().mean(), OVERFLOW),
        (lambda z, h: (dots(z, h).exp().sum(1).log() - dots(z, h).diag()).mean(), OVERFLOW),
        (
            lambda z, h: cf_loss(z.detach(), h),
            "no gradient arrives: `detach()`, `torch.no_grad()` or `torch.tensor(...)` on the way.",
        ),
        (
            lambda z, h: (dots(z, h).logsumexp(1).detach() - (z * h).sum(1)).mean(),
            "the sum over the batch is detached: own vectors pull, and the others do not push.",
        ),
        (
            lambda z, h: (dots(z, h).logsumexp(1) - (z * h).sum(1).detach()).mean(),
            "the item's own dot product is detached: others push, and own vectors do not pull.",
        ),
    ],
)

# 3.5 The training step with L_CF: model, optimizer, s, h, mu, alpha -> three losses, as numbers


def cf_step_cases(generator: Generator) -> list[Case]:
    """As in 2.6, with a collaborative vector for every row."""
    weights = [0.5, 0.25, 0.1]
    return [
        {**case, "h": tenths(torch.randn(case["s"].shape, generator=generator)), "alpha": alpha}
        for case, alpha in zip(step_cases(generator), weights, strict=True)
    ]


class TwoLevels(Tiny):
    """As Tiny, with a second level that has the same codebook."""

    def forward(self, s: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        z = s @ self.weight
        first = self.codebook[nearest(z.detach(), self.codebook.detach())]
        left = z - first.detach()
        second = self.codebook[nearest(left.detach(), self.codebook.detach())]
        rebuilt = straight_through(z, first + second) @ self.weight.T
        return rebuilt, [z, left], [first, second]


def after_two_cf_steps(answer: Callable) -> Callable:
    """Two steps of plain gradient descent with rate 0.1, and what they make of a model."""

    @wraps(answer)
    def use(weight, codebook, s, mu, h, alpha):
        model = TwoLevels(weight.clone(), codebook.clone())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        first = answer(model, optimizer, s, h, mu, alpha)
        second = answer(model, optimizer, s, h, mu, alpha)
        if first is None or len(first) != 3:
            return first
        losses_of_both = torch.tensor([*map(float, first), *map(float, second)])
        return losses_of_both, model.weight.detach(), model.codebook.detach()

    return use


def aligned(residuals: list[Tensor], vectors: list[Tensor]) -> Tensor:
    """z^ in value, z in gradient. The first residual is z."""
    return straight_through(residuals[0], sum(vectors))


def cf_stepping(
    quantised: Callable = aligned,
    weigh: Callable = lambda recon, rq, cf, alpha: recon + rq + alpha * cf,
    alignment: Callable = cf_loss,
    mu_of: Callable = lambda mu: mu,
    result: Callable = lambda recon, rq, cf, alpha: (recon.item(), rq.item(), cf.item()),
    clear: bool = True,
    step: bool = True,
) -> Callable:
    """A training step with L_CF, one of whose parts may be replaced."""

    def answer(model, optimizer, s, h, mu, alpha):
        reconstruction, residuals, vectors = model(s)
        recon = F.mse_loss(reconstruction, s)
        rq = rq_loss(residuals, vectors, mu_of(mu))
        cf = alignment(quantised(residuals, vectors), h)
        if clear:
            optimizer.zero_grad()
        weigh(recon, rq, cf, alpha).backward()
        if step:
            optimizer.step()
        return result(recon, rq, cf, alpha)

    return answer


def cf_train_step(model, optimizer, s, h, mu, alpha):
    return cf_stepping()(model, optimizer, s, h, mu, alpha)


CF_TRAIN_STEP = Exercise(
    reference=cf_train_step,
    cases=cf_step_cases,
    returns=["the losses of two steps", "the encoder after two steps", "the codebook after two"],
    use=after_two_cf_steps,
    right=[
        cf_stepping(result=lambda recon, rq, cf, alpha: (float(recon), float(rq), float(cf))),
        cf_stepping(lambda r, v: r[0] + (sum(v) - r[0]).detach()),
        # The same gradient: residuals are z less vectors that are detached.
        cf_stepping(lambda r, v: straight_through(r[-1], sum(v))),
    ],
    mistakes=[
        (
            cf_stepping(lambda residuals, vectors: sum(vectors)),
            "L_CF on `sum(vectors)` as it is: it moves the code vectors, and not the encoder. Put "
            "the sum through `straight_through`.",
        ),
        (
            cf_stepping(lambda residuals, vectors: straight_through(residuals[0], vectors[-1])),
            "the last level's vector alone. The quantised vector is the sum over all levels.",
        ),
        (
            cf_stepping(lambda residuals, vectors: straight_through(residuals[0], vectors[0])),
            "the first level's vector alone. The quantised vector is the sum over all levels.",
        ),
        (
            cf_stepping(lambda residuals, vectors: straight_through(sum(vectors), residuals[0])),
            "the arguments of `straight_through` in the other order: z comes first.",
        ),
        (
            cf_stepping(result=lambda recon, rq, cf, alpha: (cf.item(), rq.item(), recon.item())),
            "the losses in another order: reconstruction, quantisation, L_CF.",
        ),
        (
            cf_stepping(lambda residuals, vectors: residuals[0]),
            "L_CF on z. It should see the quantised vector, which is what the codes say.",
        ),
        (
            cf_stepping(lambda residuals, vectors: sum(vectors).detach()),
            "L_CF moves nothing: it is left out of `backward()`, or the quantised vector is "
            "detached, with no z to carry a gradient.",
        ),
        (
            cf_stepping(weigh=lambda recon, rq, cf, alpha: recon + rq),
            "L_CF moves nothing: it is left out of `backward()`, or the quantised vector is "
            "detached, with no z to carry a gradient.",
        ),
        (
            cf_stepping(weigh=lambda recon, rq, cf, alpha: recon + rq + cf),
            "alpha is not used: L_CF has weight 1.",
        ),
        (
            cf_stepping(weigh=lambda recon, rq, cf, alpha: recon + rq + 0.1 * cf),
            "0.1 written into the function; use its argument alpha.",
        ),
        (
            cf_stepping(weigh=lambda recon, rq, cf, alpha: recon + alpha * (rq + cf)),
            "alpha multiplies the loss of the quantiser too. It is the weight of L_CF alone.",
        ),
        (
            cf_stepping(weigh=lambda recon, rq, cf, alpha: recon + rq - alpha * cf),
            "L_CF is subtracted: films are driven away from their audiences.",
        ),
        (
            cf_stepping(weigh=lambda recon, rq, cf, alpha: recon + alpha * cf),
            "the loss of the quantiser is left out: the codes are not moved.",
        ),
        (
            cf_stepping(weigh=lambda recon, rq, cf, alpha: rq + alpha * cf),
            "the reconstruction is left out: nothing has to be rebuilt.",
        ),
        (
            cf_stepping(alignment=lambda z, h: cf_loss(h, z)),
            "L_CF with its two arguments in the other order. Rows are the quantised vectors.",
        ),
        (cf_stepping(mu_of=lambda mu: 1.0), "mu is not used: the commitment has weight 1."),
        (
            cf_stepping(clear=False),
            "`optimizer.zero_grad()` is missing: the gradients of the step before are added.",
        ),
        (
            cf_stepping(step=False),
            "nothing moves: `optimizer.step()` is missing, or `zero_grad()` stands between "
            "`backward()` and `step()`.",
        ),
        (
            cf_stepping(result=lambda r, rq, cf, alpha: (r.item(), rq.item(), alpha * cf.item())),
            "L_CF returned times alpha. Return the loss itself, so that ln(batch) is chance.",
        ),
    ],
)

EXERCISES = {
    "3.1": NEXT_ITEMS,
    "3.2": NEXT_ITEM_LOSS,
    "3.3": OVERLAP,
    "3.4": CF_LOSS,
    "3.5": CF_TRAIN_STEP,
}
