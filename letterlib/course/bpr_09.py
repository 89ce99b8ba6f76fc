"""Exercise 9.1: the BPR loss. Users end in a 1, films in b, as in the library. Leads are large in
both directions, so that a logarithm of 0 shows.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from letterlib.baselines.neural import bpr_loss
from letterlib.course.checks import Case, Incorrect, call, compare
from letterlib.course.returned import gradients
from letterlib.course.values import telling

SMALL = (1e-20, 1e-15, 1e-12, 1e-10, 1e-9, 1e-8, torch.finfo(torch.float32).eps, 1e-7, 1e-6, 1e-5)
"""What people add so that a logarithm has something to stand on."""
BOUNDS = (1, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 88, 200)
"""Where people cut a lead off, so that its exponential is no infinity; 88 is about the last that
float32 has.
"""


def bpr_cases(generator: Generator) -> list[Case]:
    """One row; a few; leads so large that a sigmoid rounds to 0; many."""
    cases = [_triple(generator, n, 2, 1.0) for n in (1, 3)]
    far = {
        "user": torch.tensor([[20.0, 1.0], [1.0, 1.0]]),
        "liked": torch.tensor([[-8.0, 0.2], [0.5, 0.3]]),
        "other": torch.tensor([[3.0, 0.5], [0.1, 0.1]]),
    }
    return [*cases, far, _triple(generator, 40, 6, 2.0)]


def _triple(generator: Generator, n: int, d: int, size: float) -> Case:
    """No lead is 0, where the two parts of the usual stable form have a corner each."""
    while True:
        user, liked, other = (
            torch.round(size * torch.randn(3, n, d, generator=generator), decimals=1) + 0.05
        )
        user[:, -1] = 1
        if ((user * (liked - other)).sum(dim=1).abs() > 0.01).all():
            return {"user": user, "liked": liked, "other": other}


def bpr(answer: Any, case: Case) -> None:
    """9.1: user, liked, other [n, d] -> mean of -log sigmoid(user . liked - user . other), a
    scalar.
    """
    given = {name: value.clone().requires_grad_() for name, value in case.items()}
    returned = call(answer, given)
    expected = bpr_loss(**case)
    if isinstance(returned, Tensor) and not torch.isfinite(returned).all():
        cause = (
            "the logarithm of a sigmoid that was rounded to 0, or an `exp` too large for float32. `F.logsigmoid` "
            "has neither."
        )
        raise Incorrect(
            "The loss is not finite.", case, expected=expected, actual=returned, cause=cause
        )
    mistakes = telling(_causes_of_loss(**case), expected)
    compare("the loss", returned, expected, case, _nearest_first(mistakes, returned))
    if not returned.requires_grad:
        cause = "`detach()`, `.item()` or a new tensor on the way."
        raise Incorrect(
            "The loss has no gradient, so nothing can be learned from it.", case, cause=cause
        )
    found = _without_ones(gradients(returned, list(given.values()), case))
    names = ("`user` (its last column left out)", "`liked`", "`other`")
    for name, mine, wanted in zip(names, found, _gradients_of(bpr_loss, case), strict=True):
        if not _equal(mine, wanted):
            what = f"The value is right, and the gradient of {name} is not."
            raise Incorrect(
                what, case, expected=wanted, actual=mine, cause=_cause_of_gradient(found, case)
            )


def _nearest_first(causes: list[tuple[Tensor, str]], returned: Any) -> list[tuple[Tensor, str]]:
    """A small number and another mistake may be so near each other that a comparison with a
    tolerance takes both.
    """
    if not isinstance(returned, Tensor) or returned.shape != ():
        return causes
    return sorted(
        causes, key=lambda cause: (cause[0] - returned.detach().double()).abs().max().item()
    )


def _gradients_of(loss: Callable[..., Tensor], case: Case) -> list[Tensor]:
    again = [value.clone().requires_grad_() for value in case.values()]
    return _without_ones(torch.autograd.grad(loss(*again), again))


def _without_ones(found: Sequence[Tensor]) -> list[Tensor]:
    """Gradients without those of the users' ones, for a right answer may add b by itself."""
    return [found[0][:, :-1], *found[1:]]


def _equal(mine: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(mine, wanted, rtol=1e-4, atol=1e-6)


def _cause_of_gradient(found: list[Tensor], case: Case) -> str:
    if any(one.isnan().any() for one in found):
        return (
            "infinity times 0. `torch.where` computes both branches, and takes the gradient of both. `F.logsigmoid` "
            "needs no branches."
        )
    if all(map(_equal, found, _gradients_of(_cross_entropy, case))):
        return "`binary_cross_entropy`. Its gradient fades where the sigmoid is all but 0; `F.logsigmoid` has it right."
    return "a `detach()` on one side, or a small number inside the logarithm."


def _cross_entropy(user: Tensor, liked: Tensor, other: Tensor) -> Tensor:
    """The BPR loss for all leads but those that are far in the wrong direction."""
    return F.binary_cross_entropy(
        torch.sigmoid((user * (liked - other)).sum(dim=1)), torch.ones(len(user))
    )


def _causes_of_loss(user: Tensor, liked: Tensor, other: Tensor) -> list[tuple[Tensor, str]]:
    lead, own = (user * (liked - other)).sum(dim=1), (liked - other)[:, -1]
    each = F.softplus(-lead)
    return [
        (each.sum(), "a sum; the loss is the mean over rows."),
        (
            F.softplus(lead).mean(),
            "the difference the other way round: the user's own film should score *higher*.",
        ),
        (
            -each.mean(),
            "the sign: the logarithm of a probability is negative, the loss is minus it.",
        ),
        (each, "one loss per row; take the mean."),
        (-torch.sigmoid(lead).mean(), "minus the probability; the loss is minus its *logarithm*."),
        (
            (1 - torch.sigmoid(lead)).mean(),
            "one minus the probability; the loss is minus its *logarithm*.",
        ),
        (
            F.softplus(-lead.mean()),
            "the mean of the leads, and then one loss. Take the loss of each row first.",
        ),
        (-lead.mean(), "the lead without sigmoid and logarithm. It would fall without end."),
        (F.relu(-lead).mean(), "a hinge (`relu`) in the place of -log sigmoid."),
        (
            F.softplus(own - lead).mean(),
            "b is left out. It is the last number of a film, and the user's is a 1.",
        ),
        (
            F.softplus(-own - lead).mean(),
            "b is added twice: the user's 1 at the end brings it in already.",
        ),
        *(
            (
                -(torch.sigmoid(lead) + small).log().mean(),
                "a small number inside the logarithm. It hides the infinity "
                "and cuts large leads off. `F.logsigmoid` needs none.",
            )
            for small in SMALL
        ),
        *(
            (
                -torch.sigmoid(lead).clamp(min=small).log().mean(),
                "a small number inside the logarithm, or a `clamp`. It "
                "cuts large leads off. `F.logsigmoid` needs none.",
            )
            for small in SMALL
        ),
        *(
            (
                F.softplus(-lead.clamp(-most, top)).mean(),
                "large leads cut off by `clamp`. `F.logsigmoid` takes any lead.",
            )
            for most in BOUNDS
            for top in (most, None)
        ),
        (
            _cross_entropy(user, liked, other),
            "the logarithm is cut off at -100, as in `binary_cross_entropy`, or a "
            "lead is by `clamp`. `F.logsigmoid` is exact.",
        ),
        (
            F.softplus(-(user * (liked - other))).mean(),
            "the sigmoid of every coordinate. Add the products up over "
            "the last dimension first: a score is one number.",
        ),
        (
            (F.softplus(-(user * liked).sum(1)) + F.softplus((user * other).sum(1))).mean(),
            "two losses, one for each "
            "film: that is binary cross-entropy. BPR looks at the difference of the scores.",
        ),
        (
            (F.softplus(-(user * liked).sum(1)) - F.softplus(-(user * other).sum(1))).mean(),
            "the sigmoid of each score by itself; it belongs around the difference.",
        ),
        (F.softplus(-(user * liked).sum(1)).mean(), "the other film is left out."),
        (
            F.softplus(-(user @ liked.T - user @ other.T)).mean(),
            "every user with every film (`@`). Row n belongs to "
            "row n: multiply elementwise and add up.",
        ),
        (
            F.softplus(-(user * (liked - other)).mean(1)).mean(),
            "the mean of the products. A dot product is their sum.",
        ),
    ]
