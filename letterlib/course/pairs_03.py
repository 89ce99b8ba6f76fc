"""Exercise 3.2: inputs and labels of the next item, from a history whose end is held out."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from letterlib.course.checks import Case, call, compare
from letterlib.course.returned import several
from letterlib.course.values import close


def next_items_cases(generator: Generator) -> list[Case]:
    """(items of the user, held out, window). Ids differ within a history; a training part may have one item only."""
    shapes = [(4, 1, 3), (5, 1, 1), (3, 1, 4), (12, 3, 5), (12, 2, 9), (24, 2, 7)]
    return [{"history": torch.randperm(90, generator=generator)[:n], "held_out": held_out, "window": window}
            for n, held_out, window in shapes]  # fmt: skip


def next_items(answer: Any, case: Case) -> None:
    """3.2: history int64 [n], held_out, window -> inputs and labels, int64 [at most window]."""
    history, held_out, window = case.values()
    inputs, labels = several(call(answer, case), ["inputs", "labels"], case)
    train, seen = history[: -2 * held_out], history[:-held_out]
    right_inputs, right_labels = train[:-1][-window:], train[1:][-window:]
    places = torch.arange(window) + len(train) - 1 - window
    wrapped = "a negative place, which counts from the end: here the training part is shorter than the window."
    padded = "padding. A training part shorter than the window simply gives fewer inputs and labels."
    no_label = "the last training item among the inputs. What follows it is held out, so it has no label."
    swapped = "inputs and labels in the other order."
    turned = isinstance(labels, Tensor) and close(labels, right_inputs)
    one_too_many = "2 * held_out + 1 items taken away. Of the training part only the last item is no input."
    of_fractions = "fractions: `torch.tensor([])` of an empty list, or a conversion. Items are `torch.int64`."
    first_cut = "the window cut before the held-out items were. Take 2 * held_out items away first, and then cut."
    causes = [
        (right_inputs, of_fractions),
        *((history[-n:][: -2 * held_out][:-1], first_cut) for n in (window, window + 1)),
        (train[:-2][-window:], one_too_many),
        (history[:-1][-window:], "held-out items. The last 2 * held_out items are for validation and test."),
        (seen[:-1][-window:], "validation items. Take away 2 * held_out items, not held_out."),
        (train[-window:], swapped if turned else no_label),
        (train[:-1][:window], "the oldest items. The window holds the most recent ones."),
        (right_labels, swapped),
        (history[2 * held_out :][:-1][-window:], "the oldest items taken away. Held out are the most recent ones."),
        (train[:-1], "no window: at most `window` inputs, the most recent ones."),
        (right_inputs.flip(0), "the newest first; histories run from the oldest to the newest."),
        (train[:-1][-window + 1 :], "a window one too short: `window` inputs and as many labels."),
        (history[places % len(history)], wrapped),
        (_zeros_before(right_inputs, window), padded),
    ]
    compare("inputs", inputs, right_inputs, case, causes)
    causes = [
        (right_labels, of_fractions),
        (right_inputs, "no shift: the label of an item is the item after it."),
        (history[-2 * held_out - window + 1 :][:window], "labels that reach into the held-out part."),
        (train[-window:], "the last `window` items: in a short history the first has nothing before it."),
        (train[:-2][-window:], "a shift in the wrong direction: the label is the item after, not before."),
        (train[-1:], "the last label alone. Every position has one."),
        (train[-1], "the last label alone. Every position has one."),
        (train[1:], "no window: as many labels as inputs, the most recent ones."),
        (seen[1:][-window:], "validation items among the labels. Take away 2 * held_out items first."),
        (history[1:][-window:], "held-out items among the labels. Take away 2 * held_out items first."),
        (history[(places + 1) % len(history)], wrapped),
        (_zeros_before(right_labels, window), padded),
        (right_labels.flip(0), "the newest first; histories run from the oldest to the newest."),
    ]
    compare("labels", labels, right_labels, case, causes)


def _zeros_before(items: Tensor, length: int) -> Tensor:
    return F.pad(items, (length - len(items), 0))
