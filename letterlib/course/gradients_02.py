"""Exercises 2.3 and 2.4: the straight-through gradient and the RQ-VAE loss; value and gradients are
checked.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from letterlib.course.checks import Case, Incorrect, call, compare
from letterlib.course.returned import gradients
from letterlib.course.values import tenths
from letterlib.tokenizer import losses


def straight_through_cases(generator: Generator) -> list[Case]:
    """Both inputs require gradients, so that it can be seen where a gradient arrives."""
    cases = []
    for rows, dim in [(1, 1), (1, 2), (16, 8)]:
        z = tenths(torch.randn(rows, dim, generator=generator))
        quantised = tenths(z + 0.5 + torch.rand(rows, dim, generator=generator))
        cases.append({"z": z.requires_grad_(), "quantised": quantised.requires_grad_()})
    return cases


def straight_through(answer: Any, case: Case) -> None:
    """2.3: z, quantised [batch, dim] -> quantised in value, z in gradient."""
    z, quantised = case["z"], case["quantised"]
    returned = call(answer, case)
    causes = [
        (
            z,
            "the value of z: z itself, or the two in each other's place. The decoder must see the quantised vector.",
        ),
        (quantised - z, "the step from z to the quantised vector; z has to be added back."),
        (z + quantised, "a sum of the two: one z too many."),
        (2 * z - quantised, "the step the wrong way round: it is `quantised - z`."),
    ]
    compare("the result", returned, quantised.detach(), case, causes)
    weight = torch.linspace(-1, 1, z.numel() + 1)[1:].reshape(z.shape)  # no two alike
    of_z, of_quantised = gradients((returned * weight).sum(), [z, quantised], case)
    if not torch.allclose(of_z, weight):
        what = "The value is right, but the gradient does not pass to z unchanged."
        if of_z.any():
            cause = "z stands outside `detach()` more than once, or scaled, or with a minus."
        elif of_quantised.any():
            cause = "`quantised` returned as it is, or no `detach()`: then z cancels, in the gradient too."
        elif returned.requires_grad and not returned.is_leaf:
            cause = "z stands outside `detach()` with a plus and with a minus, and cancels. Detach the whole step."
        else:
            cause = "everything is detached. z must stand once outside `detach()`."
        raise Incorrect(what, case, expected=weight, actual=of_z, cause=cause)
    if of_quantised.any():
        what = (
            "The value is right and the gradient passes to z, but it reaches `quantised` as well."
        )
        cause = "`detach()` on z only. Detach the whole step `quantised - z`: codebooks have their own loss."
        raise Incorrect(
            what, case, expected=torch.zeros_like(weight), actual=of_quantised, cause=cause
        )


def rq_loss_cases(generator: Generator) -> list[Case]:
    """(rows, dim, levels, mu)."""

    def tensors(rows: int, dim: int, levels: int) -> list[Tensor]:
        drawn = [tenths(torch.randn(rows, dim, generator=generator)) for _ in range(levels)]
        return [one.requires_grad_() for one in drawn]

    return [
        {"residuals": tensors(*shape), "vectors": tensors(*shape), "mu": mu}
        for *shape, mu in [(1, 1, 1, 0.5), (1, 2, 2, 0.25), (16, 8, 4, 0.2)]
    ]


def rq_loss(answer: Any, case: Case) -> None:
    """2.4: L residuals and L code vectors [batch, dim], mu -> scalar with the two one-sided
    gradients.
    """
    residuals, vectors, mu = case.values()
    returned = call(answer, case)
    reference = losses.rq_loss(residuals, vectors, mu)
    compare("the loss", returned, reference.detach(), case, _wrong_losses(residuals, vectors, mu))
    wanted = gradients(reference, residuals + vectors, case)
    found = gradients(returned, residuals + vectors, case)
    if _all_close(found, wanted):
        return
    levels = len(residuals)
    whole = [(1 + mu) / mu * g for g in wanted[:levels]] + [(1 + mu) * g for g in wanted[levels:]]
    swapped = [g / mu for g in wanted[:levels]] + [g * mu for g in wanted[levels:]]
    if not any(g.any() for g in found):
        cause = (
            "no gradient arrives, so the loss teaches nothing: `detach()` on both sides, `torch.no_grad()` or "
            "`torch.tensor(...)`."
        )
    elif _all_close(found, whole):
        cause = "no `detach()`: each term moves both sides. The formula's sg[.] is `detach()`."
    elif _all_close(found, swapped):
        cause = "`detach()` on the wrong side of each term, or mu at the other: the term with mu moves the residual."
    else:
        cause = "one `detach()` is missing, or stands on another tensor than the formula's sg[.]."
    what = "The value is right, and the gradients are not. (Of the first residual, and of the first vector:)"
    wanted, found = ([g[0], g[levels]] for g in (wanted, found))
    raise Incorrect(what, case, expected=wanted, actual=found, cause=cause)


def _wrong_losses(
    residuals: list[Tensor], vectors: list[Tensor], mu: float
) -> list[tuple[Tensor, str]]:
    steps = (torch.stack(residuals) - torch.stack(vectors)).detach()
    per_level, (levels, rows, dim) = steps.square().mean(dim=(1, 2)), steps.shape
    mean = per_level.mean()
    lengths, absolute = steps.norm(dim=2).mean(), steps.abs().mean()
    return [
        (per_level.sum() * (1 + mu), "a sum over levels; take the mean."),
        (mean * (1 + mu) * dim, "squares summed over the dimensions; take the mean."),
        (per_level.sum() * (1 + mu) * dim, "sums over levels and over dimensions; take means."),
        (mean * (1 + mu) * rows, "squares summed over the films; take the mean."),
        (mean * (1 + mu) * rows * dim, "squares summed over films and dimensions; take the mean."),
        (mean * (levels + mu), "one of the two terms is summed over levels; both are means."),
        (mean * (1 + levels * mu), "one of the two terms is summed over levels; both are means."),
        (lengths * (1 + mu), "lengths that are not squared."),
        (absolute * (1 + mu), "absolute differences; square them."),
        (mean, "the term with mu is missing, or the other is weighted by 1 - mu."),
        (mean * mu, "the term without mu is missing."),
        (mean * 2 * mu, "mu multiplies both terms; it weighs the second alone."),
        (mean * 2, "mu is missing."),
        (mean * 1.25, "0.25 written into the function; use its argument mu."),
        (per_level[0] * (1 + mu) / levels, "a `return` inside the loop, after the first level."),
        (per_level[0] * (1 + mu), "the first level alone; take the mean over levels."),
        (per_level[-1] * (1 + mu) / levels, "`=` for `+=`: each level overwrites the one before."),
        (per_level[-1] * (1 + mu), "only the last level counts; take the mean over levels."),
        (per_level * (1 + mu), "one loss per level; take their mean."),
    ]


def _all_close(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.allclose(x, y, rtol=1e-4, atol=1e-6) for x, y in zip(a, b, strict=True))
