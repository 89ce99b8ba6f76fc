"""The exercises of lesson 03: LightGCN's propagation, next-item pairs, overlap of neighbours, the
loss L_CF.

The largest input of each exercise tells the typical mistakes apart; the corner cases stand before
it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Generator, Tensor

from letterlib.baselines.lightgcn import normalized_adjacency
from letterlib.course.checks import Case, Exercise, Incorrect, call, compare, gradients, several
from letterlib.course.values import close, kind_of, tenths
from letterlib.tokenizer.losses import collaborative_loss

Causes = Iterator[tuple[Any, str]]


def propagate_cases(generator: Generator) -> list[Case]:
    """(users, items, dim, whether someone has nothing). An item that nobody has hears nothing."""
    shapes = [
        (1, 1, 1, False),
        (2, 1, 1, False),
        (2, 3, 2, False),
        (1, 2, 2, True),
        (3, 2, 1, True),
        (8, 12, 4, False),
    ]
    return [_graph(generator, *shape) for shape in shapes]


def _graph(generator: Generator, n_users: int, n_items: int, dim: int, lonely: bool) -> Case:
    """Everyone has an edge, or (lonely) the last item and, where there are several, the last user
    have none.
    """
    interactions = torch.zeros(n_users, n_items)
    while not (interactions.any(dim=0).all() and interactions.any(dim=1).all()):
        interactions = (torch.rand(n_users, n_items, generator=generator) < 0.6).float()
    if lonely:
        interactions[:, -1] = 0
        interactions[1:][-1:] = 0
    users, items = (tenths(torch.randn(n, dim, generator=generator)) for n in (n_users, n_items))
    return {"interactions": interactions, "users": users, "items": items}


def propagate(answer: Any, case: Case) -> None:
    """3.1: interactions [n_users, n_items], users and items [n, dim] -> both after one round."""
    interactions, users, items = case.values()
    new_users, new_items = several(call(answer, case), ["new_users", "new_items"], case)
    nodes = torch.cat([users, items]).numpy()
    expected = torch.from_numpy(
        normalized_adjacency(sparse.csr_matrix(interactions.numpy())) @ nodes
    )
    right_users, right_items = expected.split([len(users), len(items)])
    sides = [
        ("new_users", new_users, right_users, interactions, users, items, right_items),
        ("new_items", new_items, right_items, interactions.T, items, users, right_users),
    ]
    for name, actual, right, edges, own, others, heard in sides:
        if isinstance(actual, Tensor) and not actual.isfinite().all():
            cause = (
                "a division by zero: somebody without an edge. Their sum is zero; divide it "
                "by at least 1."
            )
            what = (
                f"`{name}` has values that are not finite numbers, where somebody has no edge "
                "at all."
            )
            if interactions.any(dim=0).all() and interactions.any(dim=1).all():
                cause = (
                    "a division by `interactions`, which are 0 for a pair without an edge. "
                    "Divide the interactions."
                )
                what = f"`{name}` has values that are not finite numbers."
            raise Incorrect(what, case, expected=right, actual=actual, cause=cause)
        causes = _wrong_rounds(edges, own, others, heard, right)
        compare(
            name,
            actual,
            right,
            case,
            [(value, text) for value, text in causes if not close(value, right)],
        )


def _wrong_rounds(
    edges: Tensor, own: Tensor, others: Tensor, heard: Tensor, right: Tensor
) -> Causes:
    """edges: [own, others]; heard: the others after the round."""
    mine, theirs = (edges.sum(dim=dim).clamp(min=1)[:, None] for dim in (1, 0))
    yield edges @ others, "a plain sum: neither degree divides it."
    yield (
        edges @ others / mine,
        "a mean over neighbours. Divide by the square roots of both degrees.",
    )
    yield edges @ (others / theirs), "the neighbours' degrees alone, and without a square root."
    yield edges @ (others / theirs) / mine, "the square roots are missing: divide by sqrt(n_u n_i)."
    yield (
        edges @ others / mine.sqrt(),
        "only the receiver's degree divides; the neighbours' belong there too.",
    )
    yield (
        edges @ (others / theirs.sqrt()),
        "only the neighbours' degrees divide; the receiver's belongs there too.",
    )
    yield heard, "the two results in the other order."
    yield own, "this side is handed back as it came: users hear items, and items hear users."
    yield (
        (edges / (mine + theirs.T).sqrt()) @ others,
        "the two degrees are added under the root. Multiply them.",
    )
    yield (
        right.where(edges.any(dim=1)[:, None], own),
        "who has no edge keeps the old vector. Nothing is heard: zero.",
    )
    yield (
        (right + own) / 2,
        "the mean with the old vector. One round hands back what was heard, and nothing else.",
    )
    yield (
        right + own,
        "the node's own vector is added. In LightGCN a node hears its neighbours alone.",
    )
    again = edges @ (heard / theirs.sqrt()) / mine.sqrt()
    yield again, "the other side's new vectors are heard. Both sides hear the old ones."


def overlap_cases(generator: Generator) -> list[Case]:
    """(items, neighbours, ids they are drawn from). No id twice in a row, as in lists of
    neighbours.

    In the second the larger id is in the second list, in the last in the first: neither tells how
    many ids there are. In the last a row has the same ids in another order: sets agree there, and
    places do not.
    """

    def lists(n: int, k: int, ids: int) -> np.ndarray:
        return torch.stack([torch.randperm(ids, generator=generator)[:k] for _ in range(n)]).numpy()

    shapes = [(1, 1, 1), (1, 1, 2), (1, 2, 2), (3, 2, 3), (4, 3, 5), (24, 6, 30)]
    cases = [{"first": lists(*shape), "second": lists(*shape)} for shape in shapes]
    cases[1] = {"first": np.array([[0]]), "second": np.array([[1]])}
    cases[-1]["first"][1, 0] = 30
    cases[-1]["second"][0] = np.roll(cases[-1]["first"][0], 1)
    return cases


def overlap(answer: Any, case: Case) -> None:
    """3.3: first, second int [n, k], no id twice in a row -> share of common ids, float [n]."""
    first, second = case["first"], case["second"]
    k = first.shape[1]
    common = np.array(
        [len(set(a) & set(b)) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    )
    share, union = common / k, 2 * k - common
    same_place = (first == second).mean(axis=1)
    causes = [
        (
            same_place,
            "the order counts: rank 1 is compared with rank 1 only. Two lists are compared as "
            "sets.",
        ),
        (common / union, "the union in the denominator (the Jaccard index). Divide by k."),
        (common, "a count. Divide it by k, so that 1 means the same neighbours."),
        (common / len(first), "a division by the number of items; each list has k entries."),
        (
            np.isin(first, second).mean(axis=1),
            "`isin` on whole tables: an id counts if any item's list has it.",
        ),
        (1 - share, "the share of neighbours that differ."),
        (
            (common > 0).astype(float),
            "whether there is any common neighbour; we want how many of the k.",
        ),
        (
            common // k,
            "a division by `//`, which cuts fractions off; a table of whole numbers, such as "
            "`np.zeros_like(first)`; or whole sets compared: count what is in both.",
        ),
        (
            common / k**2,
            "a mean over all pairs of neighbours. First ask of each whether it is in the other "
            "list.",
        ),
        (common / (2 * k), "both lists in the denominator. Each has k entries; divide by k."),
        (common / 10, "a division by 10. Here k is the length of a row."),
        (100 * share, "a percentage. We want fractions from 0 to 1."),
        (
            (np.sort(first) == np.sort(second)).mean(axis=1),
            "sorted lists compared place by place; compare as sets.",
        ),
        (
            (first[:, :, None] == second[:, None, :]).any(axis=2),
            "which neighbours are in both: now take their mean.",
        ),
    ]
    returned = call(answer, case)
    if kind_of(returned) == "a number" or getattr(returned, "shape", None) == ():
        what = "`overlap` should have one share for every row, and is one number."
        cause = "a mean over all rows (use `axis=1`), or a `return` inside the loop."
        raise Incorrect(what, case, expected=share, actual=returned, cause=cause)
    compare("overlap", returned, share, case, causes)


def cf_loss_cases(generator: Generator) -> list[Case]:
    """(batch, dim). With one item in the batch there is nothing to choose from, and the loss is
    0.
    """
    cases = []
    for shape in [(1, 1), (2, 1), (2, 2), (13, 5)]:
        quantised, collaborative = (
            tenths(torch.randn(shape, generator=generator)) for _ in range(2)
        )
        if (
            len(quantised) > 2
        ):  # one row's own vector is so improbable that anything added to its probability shows
            row = int(
                collaborative.norm(dim=1).argmax()
            )  # the longest: no logit is beyond 30, and exp holds them all
            quantised[row] = tenths(-30 * collaborative[row] / collaborative[row].square().sum())
        cases.append({"quantised": quantised.requires_grad_(), "collaborative": collaborative})
    return cases


def cf_loss(answer: Any, case: Case) -> None:
    """3.4: quantised, collaborative [batch, dim] -> scalar with a gradient to quantised."""
    z, h = case.values()
    returned, reference = call(answer, case), collaborative_loss(z, h)
    compare("the loss", returned, reference.detach(), case, _wrong_cf_losses(z.detach(), h))
    (wanted,) = torch.autograd.grad(reference, z)
    (found,) = gradients(returned, [z], case)
    if torch.allclose(found, wanted, rtol=1e-4, atol=1e-6):
        return
    if not found.any():
        cause = (
            "`detach()`, `torch.no_grad()` or a conversion on the way, so that the loss "
            "teaches nothing."
        )
    elif torch.allclose(found, -h / len(h), atol=1e-6):
        cause = "the sum over the batch is detached: own vectors pull, and the others do not push."
    elif torch.allclose(found, wanted, rtol=0.05, atol=1e-3):
        cause = (
            "a small number inside the logarithm, or a rounding on the way; "
            "`F.cross_entropy` needs neither."
        )
    else:
        cause = "a part of the loss is detached."
    what = "The value is right, and the gradient of `quantised` is not."
    raise Incorrect(what, case, expected=wanted, actual=found, cause=cause)


def _wrong_cf_losses(z: Tensor, h: Tensor) -> Causes:
    logits, own = z @ h.T, torch.arange(len(z))
    off = logits.masked_fill(torch.eye(len(z), dtype=torch.bool), -torch.inf)
    unit = F.normalize(z, dim=1) @ F.normalize(h, dim=1).T
    forward, backward = F.cross_entropy(logits, own), F.cross_entropy(logits.T, own)
    yield (
        (off.logsumexp(dim=1) - logits.diag()).mean(),
        "the item's own h is left out; j runs over all of the batch.",
    )
    yield backward, "transposed logits: each h looks for its z^. Rows are z^, columns are h."
    yield forward + backward, "both directions. The paper's loss has one: each z^ looks for its h."
    yield (
        (forward + backward) / 2,
        "both directions. The paper's loss has one: each z^ looks for its h.",
    )
    yield forward * len(z), "a sum over the batch; take the mean."
    yield -forward, "the minus sign is missing."
    yield F.cross_entropy(unit, own), "cosines. The paper's logits are plain dot products."
    for one_side in (F.normalize(z, dim=1) @ h.T, z @ F.normalize(h, dim=1).T):
        yield (
            F.cross_entropy(one_side, own),
            "vectors scaled to length 1. The paper's logits are plain dot products.",
        )
    for scale in (z.shape[1] ** -0.5, 1 / 0.07, 10.0, 5.0, 2.0, 0.5):
        yield (
            F.cross_entropy(logits * scale, own),
            "a temperature. The paper's loss divides the logits by nothing.",
        )
    yield (
        F.cross_entropy(logits, torch.zeros_like(own)),
        "target 0 for every row. The target of row i is i.",
    )
    for distance in (torch.cdist(z, h), torch.cdist(z, h) ** 2):
        yield F.cross_entropy(-distance, own), "distances as logits; use dot products."
    yield -logits.diag().mean(), "the item's own dot product alone: nothing pushes from the others."
    yield logits.softmax(dim=1).diag().mean(), "the probability itself. Take minus its logarithm."
    yield -logits.log_softmax(dim=1).mean(), "the mean over all columns: the target is missing."
    yield (
        logits.logsumexp(dim=1).mean(),
        "the item's own logit is not subtracted: the target is missing.",
    )
    yield F.cross_entropy(logits, own, reduction="none"), "one loss per item; take their mean."
    yield F.mse_loss(z, h), "a distance to the item's own vector, without the others."
    yield (
        F.cross_entropy(-logits, own),
        "logits of the wrong sign: the item's own dot product should be the largest.",
    )
    yield (
        F.cross_entropy(logits.softmax(dim=1), own),
        "a softmax too many: `F.cross_entropy` takes one itself.",
    )
    yield F.cross_entropy(z @ z.T, own), "`quantised` on both sides. The columns are the h."
    yield F.cross_entropy(h @ h.T, own), "`collaborative` on both sides. The rows are the z^."
    yes_or_no = F.binary_cross_entropy_with_logits(logits, torch.eye(len(z)))
    yield yes_or_no, "a yes or no for every pair. Each row is one question with B possible answers."
    yield (
        -logits.softmax(dim=1).diag().mean().log(),
        "the logarithm of a mean. Take the mean of logarithms.",
    )
    yield (
        -logits.softmax(dim=1).diag().mean(),
        "the logarithm is missing; `F.nll_loss` wants `log_softmax`.",
    )
    for small in (1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6):
        yield (
            -(logits.softmax(dim=1).diag() + small).log().mean(),
            "a small number inside the logarithm. It cuts large losses off; `F.cross_entropy` "
            "needs none.",
        )


# 3.2 Inputs and labels of the next item, from a history whose end is held out


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
_WRAPPED = (
    "a negative place, which counts from the end: here the training part is shorter than "
    "the window."
)
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
    first_cut = (
        "the window cut before the held-out items were. Take 2 * held_out items away "
        "first, and then cut."
    )
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


EXERCISES = {
    "3.1": Exercise(propagate_cases, propagate),
    "3.2": Exercise(next_items_cases, next_items),
    "3.3": Exercise(overlap_cases, overlap),
    "3.4": Exercise(cf_loss_cases, cf_loss),
}
