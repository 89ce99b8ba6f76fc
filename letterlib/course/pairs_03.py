"""Exercise 3.2: inputs and labels of the next item, from a history whose end is held out."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from letterlib.course.checks import Case, call, compare
from letterlib.course.returned import several
from letterlib.course.values import close

Causes = Iterator[tuple[Any, str]]


def next_items_cases(generator: Generator) -> list[Case]:
    """(items of the user, held out, window). A training part may have one item only, or as many as
    the window.

    Ids differ within a history but in the last but one, where items that are held out stand in the
    training part, too.
    """
    shapes = [(4, 1, 3), (5, 1, 1), (5, 1, 3), (3, 1, 4), (12, 3, 5), (12, 2, 9), (24, 2, 7)]
    *cases, longest = [
        {
            "history": torch.randperm(90, generator=generator)[:n],
            "held_out": held_out,
            "window": window,
        }
        for n, held_out, window in shapes
    ]
    again = torch.tensor([4, 7, 4, 5, 7, 4])
    return [*cases, {"history": again, "held_out": 1, "window": 3}, longest]


def next_items(answer: Any, case: Case) -> None:
    """3.2: history int64 [n], held_out, window -> inputs and labels, int64 [at most window]."""
    history, held_out, window = case.values()
    inputs, labels = several(call(answer, case), ["inputs", "labels"], case)
    train = history[: -2 * held_out]
    right_inputs, right_labels = train[:-1][-window:], train[1:][-window:]
    turned = isinstance(labels, Tensor) and close(labels, right_inputs)
    compare("inputs", inputs, right_inputs, case, _wrong_inputs(history, held_out, window, turned))
    compare("labels", labels, right_labels, case, _wrong_labels(history, held_out, window))


_OF_FRACTIONS = (
    "fractions: `torch.tensor([])` of an empty list, or a conversion. Items are `torch.int64`."
)
_WRAPPED = "a negative place, which counts from the end: here the training part is shorter than the window."
_PADDED = "padding. A training part shorter than the window simply gives fewer inputs and labels."
_NEWEST_FIRST = "the newest first; histories run from the oldest to the newest."


def _wrong_inputs(history: Tensor, held_out: int, window: int, turned: bool) -> Causes:
    """turned: whether the right inputs came as labels."""
    train, seen = history[: -2 * held_out], history[:-held_out]
    right = train[:-1][-window:]
    places = torch.arange(window) + len(train) - 1 - window
    by_id = history[~torch.isin(history, history[-2 * held_out :])]
    no_label = (
        "the last training item among the inputs. What follows it is held out, so it has no label."
    )
    swapped = "inputs and labels in the other order."
    first_cut = "the window cut before the held-out items were. Take 2 * held_out items away first, and then cut."
    yield right, _OF_FRACTIONS
    for n in (window, window + 1):
        if len(
            value := history[-n:][: -2 * held_out][:-1]
        ):  # many mistakes leave nothing of a short history
            yield value, first_cut
    yield (
        by_id[:-1][-window:],
        "items taken out by their id: an item may stand in both parts. Cut by place.",
    )
    yield train[1:-1][-window:], "the first training item left out; it is an input."
    yield (
        train[:-2][-window:],
        "2 * held_out + 1 items taken away. Of the training part only the last is no input.",
    )
    yield (
        history[:-1][-window:],
        "held-out items. The last 2 * held_out items are for validation and test.",
    )
    yield seen[:-1][-window:], "validation items. Take away 2 * held_out items, not held_out."
    yield train[-window:], swapped if turned else no_label
    yield train[:-1][:window], "the oldest items. The window holds the most recent ones."
    yield train[1:][-window:], swapped
    yield (
        history[2 * held_out :][:-1][-window:],
        "the oldest items taken away. Held out are the most recent ones.",
    )
    yield train[:-1], "no window: at most `window` inputs, the most recent ones."
    yield right.flip(0), _NEWEST_FIRST
    yield train[:-1][-window + 1 :], "a window one too short: `window` inputs and as many labels."
    yield history[places % len(history)], _WRAPPED
    yield _zeros_before(right, window), _PADDED


def _wrong_labels(history: Tensor, held_out: int, window: int) -> Causes:
    train, seen = history[: -2 * held_out], history[:-held_out]
    inputs, right = train[:-1][-window:], train[1:][-window:]
    places = torch.arange(window) + len(train) - window
    items = history.tolist()
    after_first = torch.tensor(
        [items[items.index(item) + 1] for item in inputs.tolist()], dtype=torch.int64
    )
    yield right, _OF_FRACTIONS
    yield inputs, "no shift: the label of an item is the item after it."
    yield (
        after_first,
        "labels looked up by id, such as by `.index`: an item may occur twice. Go by place.",
    )
    yield (
        history[-2 * held_out - window + 1 :][:window],
        "labels that reach into the held-out part.",
    )
    yield (
        train[-window:],
        "the last `window` items: in a short history the first has nothing before it.",
    )
    yield (
        train[:-2][-window:],
        "a shift in the wrong direction: the label is the item after, not before.",
    )
    yield train[-1:], "the last label alone. Every position has one."
    yield train[-1], "the last label alone. Every position has one."
    yield train[1:], "no window: as many labels as inputs, the most recent ones."
    yield (
        seen[1:][-window:],
        "validation items among the labels. Take away 2 * held_out items first.",
    )
    yield (
        history[1:][-window:],
        "held-out items among the labels. Take away 2 * held_out items first.",
    )
    yield history[places % len(history)], _WRAPPED
    yield _zeros_before(right, window), _PADDED
    yield right.flip(0), _NEWEST_FIRST


def _zeros_before(items: Tensor, length: int) -> Tensor:
    return F.pad(items, (length - len(items), 0))
