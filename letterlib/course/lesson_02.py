"""The exercises of lesson 02: nearest code, residual quantisation, straight-through gradient,
RQ-VAE loss.

Rows whose two nearest codes are almost equally far are left out: there the answer would hang on
rounding.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from letterlib.course.checks import Case, Exercise, Incorrect, call, compare, gradients, several
from letterlib.course.values import tenths
from letterlib.tokenizer import losses, rqvae

CLEAR = 0.02  # least difference of squared distance between the nearest code and the next


def nearest_code_cases(generator: Generator) -> list[Case]:
    """(rows, dim, n_codes). A codebook of one code has a nearest one too."""
    shapes = [(1, 1, 2), (1, 1, 3), (2, 2, 3), (3, 4, 1), (64, 8, 32)]
    drawn = [_draw(generator, rows, dim, [n_codes]) for rows, dim, n_codes in shapes]
    return [{"z": z, "codebook": codebooks[0]} for z, codebooks in drawn]


def nearest_code(answer: Any, case: Case) -> None:
    """2.1: z [batch, dim], codebook [n_codes, dim] -> int64 [batch]."""
    z, codebook = case["z"], case["codebook"]
    distances = (z[:, None] - codebook).square().sum(dim=2)
    nearest = distances.argmin(dim=1)
    returned = call(answer, case)
    if isinstance(returned, torch.return_types.min):
        cause = "`min(dim=1)`, which gives values and `.indices`; the code is the second of them."
        raise Incorrect(
            "Your function should return one tensor, and returned two.", case, cause=cause
        )
    distance_itself = "the distance itself. Return the position of the least one, `argmin`."
    causes = [
        (
            distances.argmax(dim=1),
            "`argmax`, which takes the farthest code; the least distance is `argmin`.",
        ),
        (
            (z @ codebook.T).argmax(dim=1),
            "the largest dot product: it prefers long vectors. Use distances.",
        ),
        ((z @ codebook.T).argmin(dim=1), "the smallest dot product; compare distances."),
        (
            (codebook.square().sum(1) - z @ codebook.T).argmin(1),
            "the dot product without its 2: the squared distance is |z|^2 - 2 z e + |e|^2.",
        ),
        (
            (z[:, None] - codebook).square().sum(1).argmin(1),
            "squares summed over the codes. The numbers of a vector are in the last dimension: "
            "`sum(dim=2)`.",
        ),
        (
            (z[:, None] - codebook).sum(2).argmin(1),
            "differences summed without squaring: they cancel.",
        ),
        (
            distances.argmin(dim=0),
            "`argmin` over the items: `dim=0`, or the two in each other's place in `cdist`. An "
            "item looks at codes.",
        ),
        (nearest[:, None], "`keepdim=True`, or a stray dimension; one number per row is enough."),
        (
            nearest.float(),
            "a table made without `dtype=torch.int64`, or a conversion. Codes are counted: int64.",
        ),
        (nearest + 1, "codes counted from 1. The first row of the codebook is code 0."),
        (
            distances.argmin(),
            "`argmin()` without `dim`, or `.squeeze()`, which drops a batch of one. One place a "
            "row: `argmin(dim=1)`.",
        ),
        (
            torch.cosine_similarity(z[:, None], codebook, dim=2).argmax(1),
            "cosines, which look at directions only.",
        ),
        (
            (z[:, None] - codebook).abs().sum(2).argmin(1),
            "absolute differences; square them before summing.",
        ),
        (distances.min(dim=1).values, distance_itself),
        (distances.min(dim=1).values.sqrt(), distance_itself),
        *(
            (one, "a `return` inside the loop, after the first row.")
            for one in (nearest[:1], nearest[0])
        ),
        (codebook[nearest], "the code vector itself. Return its row number in the codebook."),
    ]
    compare("codes", returned, nearest, case, causes)


def residual_quantize_cases(generator: Generator) -> list[Case]:
    """(rows, dim, codes of each level), one level first."""
    shapes = [(1, 1, [2]), (1, 1, [2, 2]), (2, 1, [2, 2]), (2, 2, [3, 2, 4]), (64, 8, [16] * 4)]
    drawn = [_draw(generator, *shape) for shape in shapes]
    return [{"z": z, "codebooks": codebooks} for z, codebooks in drawn]


def residual_quantize(answer: Any, case: Case) -> None:
    """2.2: z [batch, dim], L codebooks -> codes int64 [batch, L] and quantised [batch, dim]."""
    z, codebooks = case["z"], case["codebooks"]
    returned = call(answer, case)
    returned = several(returned, ["codes", "quantised"], case)
    codes, quantised = rqvae.residual_quantize(z, codebooks)
    causes = [
        (
            codes.T,
            "codes stacked along the first dimension; one row per item is `torch.stack(..., "
            "dim=1)`.",
        ),
        (
            codes.T.reshape(codes.shape),
            "a table of one row per level, cut anew: its rows mix items. `torch.stack(codes, "
            "dim=1)` makes columns.",
        ),
        (
            torch.cat(list(codes.T)),
            "`torch.cat`, which makes one long row; `torch.stack(codes, dim=1)` makes columns.",
        ),
        (codes[:, :1], "a `return` inside the loop, after the first level."),
        (
            codes.float(),
            "a table made without `dtype=torch.int64`, or a conversion. Codes are int64.",
        ),
        (quantised, "the two results in the other order."),
    ]
    compare("codes", returned[0], codes, case, [*_wrong_residuals(z, codebooks), *causes])
    causes = [
        (
            codebooks[-1][codes[:, -1]],
            "the last level's vector alone. Quantised is the sum over all levels.",
        ),
        (
            codebooks[0][codes[:, 0]],
            "the first level's vector alone. Quantised is the sum over all levels.",
        ),
        (
            quantised - codebooks[-1][codes[:, -1]],
            "the last level's vector is missing. `z - residual` is the whole sum only after the "
            "last subtraction.",
        ),
        (z - quantised, "the last residual. Quantised is what was taken away, not what is left."),
        (quantised / len(codebooks), "a mean over levels; the levels add up."),
        (z + quantised, "a sum that starts from z. Start from zeros."),
        (-quantised, "code vectors subtracted; add them up."),
    ]
    compare("quantised", returned[1], quantised, case, causes)


def _wrong_residuals(z: Tensor, codebooks: Sequence[Tensor]) -> Iterator[tuple[Tensor, str]]:
    """The codes that typical mistakes would give, each with its cause.

    r: what the level coded, v: the vector of the code it chose.
    """
    updates = [
        (
            lambda r, v: r,
            "every level codes z. From the second level on, code the residual: what is left.",
        ),
        (
            lambda r, v: z - v,
            "the residual is z minus this level's vector. Subtract all levels so far.",
        ),
        (lambda r, v: r + v, "the residual adds the code's vector. Subtract it."),
        (
            lambda r, v: v - r,
            "the residual has the wrong sign: it is the input minus the code's vector.",
        ),
        (
            lambda r, v: v,
            "the next level codes the code's vector. It should code input minus vector.",
        ),
    ]
    for update, text in updates:
        residual, codes = z, []
        for codebook in codebooks:
            codes.append(torch.cdist(residual, codebook).argmin(dim=1))
            residual = update(residual, codebook[codes[-1]])
        yield torch.stack(codes, dim=1), text
    residual, total, codes = z, torch.zeros_like(z), []
    for codebook in codebooks:
        codes.append(torch.cdist(residual, codebook).argmin(dim=1))
        total = total + codebook[codes[-1]]
        residual = residual - total
    yield (
        torch.stack(codes, dim=1),
        "the sum so far taken from the residual; earlier vectors are out of it already.",
    )
    codes, _ = rqvae.residual_quantize(z, [codebooks[0]] * len(codebooks))
    yield codes, "the first codebook at every level; each level has its own."


def _draw(
    generator: Generator, rows: int, dim: int, sizes: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """Rows and codebooks in which the nearest code is nearest by at least CLEAR, at every level.

    Few rows are to be read and are in tenths. Many are not: in tenths a wrong answer's distances
    would often be equal.
    """
    shown = tenths if rows < 10 else torch.clone
    while True:
        codebooks = [
            shown(torch.randn(n, dim, generator=generator) * 0.7**i) for i, n in enumerate(sizes)
        ]
        z = shown(torch.randn(8 * rows, dim, generator=generator) * 1.5)
        clear, residual = torch.ones(len(z), dtype=torch.bool), z
        for codebook in codebooks:
            distances = (residual[:, None] - codebook).square().sum(dim=2)
            if len(codebook) > 1:
                least = distances.topk(2, dim=1, largest=False).values
                clear &= least[:, 1] - least[:, 0] >= CLEAR
            residual = residual - codebook[distances.argmin(dim=1)]
        if clear.sum() >= rows:
            return z[clear][:rows], codebooks


# 2.3 and 2.4 The straight-through gradient and the RQ-VAE loss: value and gradients


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
            "the value of z: z itself, or the two in each other's place. The decoder must see the "
            "quantised vector.",
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
            cause = (
                "`quantised` returned as it is, or no `detach()`: then z cancels, in the "
                "gradient too."
            )
        elif returned.requires_grad and not returned.is_leaf:
            cause = (
                "z stands outside `detach()` with a plus and with a minus, and cancels. "
                "Detach the whole step."
            )
        else:
            cause = "everything is detached. z must stand once outside `detach()`."
        raise Incorrect(what, case, expected=weight, actual=of_z, cause=cause)
    if of_quantised.any():
        what = (
            "The value is right and the gradient passes to z, but it reaches `quantised` as well."
        )
        cause = (
            "`detach()` on z only. Detach the whole step `quantised - z`: codebooks have "
            "their own loss."
        )
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
            "no gradient arrives, so the loss teaches nothing: `detach()` on both sides, "
            "`torch.no_grad()` or "
            "`torch.tensor(...)`."
        )
    elif _all_close(found, whole):
        cause = "no `detach()`: each term moves both sides. The formula's sg[.] is `detach()`."
    elif _all_close(found, swapped):
        cause = (
            "`detach()` on the wrong side of each term, or mu at the other: the term with mu "
            "moves the residual."
        )
    else:
        cause = "one `detach()` is missing, or stands on another tensor than the formula's sg[.]."
    what = (
        "The value is right, and the gradients are not. (Of the first residual, and of the "
        "first vector:)"
    )
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


EXERCISES = {
    "2.1": Exercise(nearest_code_cases, nearest_code),
    "2.2": Exercise(residual_quantize_cases, residual_quantize),
    "2.3": Exercise(straight_through_cases, straight_through),
    "2.4": Exercise(rq_loss_cases, rq_loss),
}
