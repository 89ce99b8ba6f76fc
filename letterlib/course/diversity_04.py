"""Exercise 4.3: the diversity loss of one level; its value and its gradient to the codebook are
checked.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from letterlib.course.checks import Case, Incorrect, call, compare
from letterlib.course.returned import gradients
from letterlib.course.values import close, kind_of
from letterlib.tokenizer import losses
from letterlib.tokenizer.losses import NO_POSITIVE

HIGH_FILL = "a fill that is not low enough, so that the item's own code still counts a little: take `-torch.inf`"
EVERY_POSITIVE = (
    "`[:, positives]`, which takes every item's positive in every row. One entry a row is "
    "`[torch.arange(len(codes)), positives]`."
)


def diversity_cases(generator: Generator) -> list[Case]:
    """(items, codes, dim, rows without a positive), one item first; the fourth has no positive at
    all.

    A code without a positive is neither the first nor the last but in the last case but one. There
    -1, read as a place or turned into 0, picks the entry that is barred, and a product with 0 does
    not undo it. In the case before it the vectors of all other codes point away from the item's: of
    its own code, even exp(-10) would show.
    """
    cases = []
    for rows, n_codes, dim, without in [
        (1, 3, 1, 0),
        (2, 3, 2, 0),
        (3, 4, 2, 1),
        (2, 4, 2, 2),
        (40, 12, 6, 7),
    ]:
        codes = torch.randint(n_codes, (rows,), generator=generator)
        codes[:without] = torch.randint(1, n_codes - 1, (without,), generator=generator)
        positive = (codes + 1 + torch.randint(n_codes - 1, (rows,), generator=generator)) % n_codes
        positive[:without] = NO_POSITIVE
        # Small enough that exponentials of dot products may be added and subtracted in float32, as
        # a formula does it.
        vectors = torch.renorm(0.6 * torch.randn(n_codes, dim, generator=generator), 2, 0, 1.6)
        codebook = torch.round(vectors, decimals=1).requires_grad_()
        cases.append({"codes": codes, "positives": positive, "codebook": codebook})
    ends = {
        "codes": torch.tensor([3, 0, 1]),
        "positives": torch.tensor([NO_POSITIVE, NO_POSITIVE, 2]),
    }
    away = {"codes": torch.tensor([0, 0, 0]), "positives": torch.tensor([1, 2, 1])}
    apart = torch.tensor([[1, 0.5], [-2, -0.5], [-2.5, 0.5]], requires_grad=True)
    four = codebook.detach()[:4, :2].clone().requires_grad_()
    return [*cases[:-1], {**away, "codebook": apart}, {**ends, "codebook": four}, cases[-1]]


def diversity(answer: Any, case: Case) -> None:
    """4.3: codes, positives int64 [batch], codebook [n_codes, dim] -> scalar with its gradient to
    the codebook.
    """
    codes, positive, codebook = case.values()
    returned = call(answer, case)
    reference = losses.diversity_loss(codes[:, None], positive[:, None], [codebook])
    none = bool((positive == NO_POSITIVE).all())
    if (
        none
        and kind_of(returned) in ("a number", "a tensor")
        and np.ndim(returned) == 0
        and not returned
    ):
        return  # whatever kind of zero
    if isinstance(returned, Tensor) and not returned.isfinite().all():
        what, expected = "NaN" if returned.isnan().any() else "infinite", reference.detach()
        cause = _cause_of_infinity(codes, positive, len(codebook), returned)
        cause = EVERY_POSITIVE if _takes_every_positive(answer, codebook) else cause
        raise Incorrect(
            f"The loss is {what}.", case, expected=expected, actual=returned, cause=cause
        )
    causes = list(_wrong_diversity(codes, positive, codebook.detach()))
    near = isinstance(returned, Tensor) and returned.shape == reference.shape
    near = near and torch.allclose(returned.detach().double(), reference.double(), rtol=0.01)
    if near and not close(returned, reference):
        causes.append((returned, f"{HIGH_FILL}, or a rounding on the way."))
    elif not close(returned, reference) and _takes_every_positive(answer, codebook):
        causes.append((returned, EVERY_POSITIVE))
    compare("the loss", returned, reference.detach(), case, causes)
    if none:
        return
    (wanted,) = torch.autograd.grad(reference, codebook)
    (found,) = gradients(returned, [codebook], case)
    if not torch.allclose(found, wanted, rtol=1e-4, atol=1e-6):
        cause = (
            "a `detach()` on one side. Item's code, positive and negatives are all rows that learn."
        )
        if not found.isfinite().all():
            cause = "a logarithm of 0 or a division by 0, set to 0 afterwards: its gradient is 0 times infinity. "
            cause += "Leave out the items without a positive before."
        elif not found.any():
            cause = "everything is detached, as by `torch.no_grad()`, so the loss teaches nothing."
        elif torch.allclose(found, wanted, rtol=0.01, atol=1e-4):
            cause = f"{HIGH_FILL}, or a rounding on the way."
        what = "The value is right, but the gradient with respect to the codebook is not."
        raise Incorrect(what, case, expected=wanted, actual=found, cause=cause)


def _cause_of_infinity(codes: Tensor, positive: Tensor, n_codes: int, returned: Tensor) -> str:
    kept = positive != NO_POSITIVE
    if not kept.any():
        return "no item has a positive, and the mean over none is 0 / 0. Return zero then."
    times_zero = "minus infinity times zero"
    if torch.isin(codes[~kept], torch.tensor([0, n_codes - 1])).any() and returned.isnan().any():
        return f"{times_zero}, of an item without a positive. Leave these items out by index, not by a product with 0."
    cause = "an item's positive is barred, or a whole row. Bar one entry a row: its own code."
    if returned.isnan().any():
        cause = f"the logarithm of a negative number: a dot product without its `exp`? Or {cause}"
    return (
        f"{cause} Or {times_zero}: pick the positives' entries by index."
        if returned.isnan().any()
        else cause
    )


def _takes_every_positive(answer: Any, codebook: Tensor) -> bool:
    """Whether the loss is a mean over every item's positive in every row.

    Where an item's own code is another's positive, that loss is infinite, as others are. So the
    answer is asked again, with items of the first codes, whose positives are among the last.
    """
    half = len(codebook) // 2
    case = {
        "codes": torch.arange(half),
        "positives": torch.arange(half) + half,
        "codebook": codebook,
    }
    table = codebook.detach() @ codebook.detach().T
    every = -table.fill_diagonal_(-torch.inf).log_softmax(dim=1)[:half, half : 2 * half]
    try:
        returned = call(answer, case)
    except Incorrect:
        return False
    return not close(returned, every.diagonal().mean()) and any(
        close(returned, wrong) for wrong in (every.mean(), every.sum(dim=1).mean())
    )


def _wrong_diversity(
    codes: Tensor, positive: Tensor, codebook: Tensor
) -> Iterator[tuple[Tensor, str]]:
    """The values that typical mistakes give, each with its cause."""
    kept = positive != NO_POSITIVE
    own, target = codes[kept], positive[kept]
    if len(own) < 3:  # too few to tell mistakes apart
        return
    table, n = codebook @ codebook.T, torch.arange(len(own))

    def loss(logits: Tensor, barred: Tensor, targets: Tensor, fill: float = -torch.inf) -> Tensor:
        logits = logits.clone()
        logits[torch.arange(len(logits)), barred] = fill
        return F.cross_entropy(logits, targets)

    right = loss(table[own], own, target)
    unit = F.normalize(codebook, dim=1)
    per_item = table.masked_fill(torch.eye(len(table), dtype=torch.bool), -torch.inf).log_softmax(
        dim=1
    )
    first_rows = table[own].clone().fill_diagonal_(-torch.inf)
    yield (
        F.cross_entropy(first_rows, target),
        "`fill_diagonal_` bars code i in row i. Bar one entry a row: its own.",
    )
    yield (
        F.cross_entropy(table[own], target),
        "the item's own code is left among the logits; it has to be barred.",
    )
    yield (
        loss(table[own], own, target, 0.0),
        "the code's own logit is set to 0, and exp(0) = 1 still counts. Use -inf.",
    )
    yield loss(table[own], own, target, -1.0), f"{HIGH_FILL}."
    yield (
        loss((unit @ unit.T)[own], own, target),
        "cosines; the formula has dot products, lengths included.",
    )
    yield (
        loss(-torch.cdist(codebook, codebook)[own], own, target),
        "distances; the formula has dot products.",
    )
    yield (
        loss(-torch.cdist(codebook, codebook).square()[own], own, target),
        "distances; use dot products.",
    )
    yield loss(-table[own], own, target), "the sign of the dot products."
    yield (
        F.cross_entropy(per_item.exp()[own], target),
        "a softmax too many: `F.cross_entropy` has one inside.",
    )
    without = table.index_put((own, own), torch.tensor(-torch.inf))[own].scatter(
        1, target[:, None], -torch.inf
    )
    below = without.logsumexp(dim=1) - table[own, target]
    yield below.mean(), "the positive is missing below the line; it is one of the other codes."
    yield (
        loss(table[target], target, own),
        "the positives' rows of logits: start from the item's own code.",
    )
    yield (
        loss(table[own] / codebook.shape[1] ** 0.5, own, target),
        "dot products divided by sqrt(dim).",
    )
    yield right * len(own), "a sum over items; take the mean."
    yield right * len(own) / len(codes), "items without a positive are counted in the mean."
    yield (
        loss(table[codes], codes, positive % len(table)),
        "row -1 is the last code, so -1 was taken for a positive.",
    )
    yield (
        loss(table[codes], codes, positive.clamp(min=0)),
        "-1 was turned into code 0. Leave these items out.",
    )
    yield -right, "the minus sign is missing, or one too many."
    yield -per_item.exp()[own, target].mean(), "the logarithm is missing."
    yield per_item[own, target].exp().mean(), "the logarithm is missing."
    yield -per_item[own, target], "one loss per item; take their mean."
    yield (
        -table[own, target].mean(),
        "only the positive's dot product; the softmax over the other codes is missing.",
    )
    yield (
        F.cross_entropy(table[own][:, target], n),
        "negatives of the batch; here they are all codes of the level.",
    )
