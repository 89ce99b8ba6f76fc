"""Lesson 02: nearest code, residual quantisation, straight-through gradient, RQ-VAE loss."""

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from letterlib.course.checks import Case
from letterlib.course.exercise import Exercise
from letterlib.course.values import tenths
from letterlib.tokenizer import losses, rqvae

CLEAR = 0.02
"""Least difference of squared distance between the nearest code and the next: a closer choice
would depend on rounding.
"""


def _draw(generator: Generator, rows: int, dim: int, sizes: Sequence[int]) -> tuple:
    """z [rows, dim] and codebooks in which the nearest code is clear at every level.

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
            distances = squared(residual, codebook)
            if len(codebook) > 1:
                least = distances.topk(2, dim=1, largest=False).values
                clear &= least[:, 1] - least[:, 0] >= CLEAR
            residual = residual - codebook[distances.argmin(dim=1)]
        if clear.sum() >= rows:
            return z[clear][:rows], codebooks


# 2.1 The nearest code: z [batch, dim], codebook [n_codes, dim] -> int64 [batch]


def squared(z: Tensor, codebook: Tensor) -> Tensor:
    """Squared distances [batch, n_codes]."""
    return (z[:, None] - codebook).square().sum(dim=2)


def nearest(z: Tensor, codebook: Tensor) -> Tensor:
    return squared(z, codebook).argmin(dim=1)


def nearest_code_cases(generator: Generator) -> list[Case]:
    """(rows, dim, n_codes). A codebook of one code has a nearest one too."""
    shapes = [(1, 1, 2), (1, 1, 3), (2, 2, 3), (3, 4, 1), (64, 8, 32)]
    drawn = [_draw(generator, rows, dim, [n_codes]) for rows, dim, n_codes in shapes]
    return [{"z": z, "codebook": codebooks[0]} for z, codebooks in drawn]


def nearest_by_loop(z, codebook):
    return torch.tensor(
        [min(range(len(codebook)), key=lambda k: float((row - codebook[k]).norm())) for row in z]
    )


NEAREST_CODE = Exercise(
    reference=nearest,
    library=rqvae.nearest_codes,
    cases=nearest_code_cases,
    returns=["codes"],
    right=[
        lambda z, e: torch.cdist(z, e).argmin(1),
        lambda z, e: (e.square().sum(1) - 2 * z @ e.T).argmin(1),
        lambda z, e: squared(z, e).min(-1).indices,
        nearest_by_loop,
    ],
    mistakes=[
        (
            lambda z, e: squared(z, e).argmax(1),
            "`argmax`, which takes the farthest code; the least distance is `argmin`.",
        ),
        (
            lambda z, e: (z @ e.T).argmax(1),
            "the largest dot product: it prefers long vectors. Use distances.",
        ),
        (
            lambda z, e: (z @ e.T).argmin(1),
            "the smallest dot product; compare distances.",
        ),
        (
            lambda z, e: (e.square().sum(1) - z @ e.T).argmin(1),
            "the dot product without its 2: the squared distance is |z|^2 - 2 z e + |e|^2.",
        ),
        (
            lambda z, e: (z[:, None] - e).square().sum(1).argmin(1),
            "squares summed over the codes. The numbers of a vector are in the last dimension: "
            "`sum(dim=2)`.",
        ),
        (
            lambda z, e: (z[:, None] - e).sum(2).argmin(1),
            "differences summed without squaring: they cancel.",
        ),
        (
            lambda z, e: squared(z, e).argmin(0),
            "`argmin` over the items: `dim=0`, or the two in each other's place in `cdist`. An "
            "item looks at codes.",
        ),
        (
            lambda z, e: squared(z, e).argmin(1, keepdim=True),
            "`keepdim=True`, or a stray dimension; one number per row is enough.",
        ),
        (
            lambda z, e: nearest(z, e).float(),
            "a table made without `dtype=torch.int64`, or a conversion. Codes are counted: int64.",
        ),
        (
            lambda z, e: nearest(z, e) + 1,
            "codes counted from 1. The first row of the codebook is code 0.",
        ),
        (
            lambda z, e: squared(z, e).argmin(),
            "`argmin()` without `dim`, which looks for one place in the whole table. One place a "
            "row: `argmin(dim=1)`.",
        ),
        (
            lambda z, e: nearest(z, e).squeeze(),
            "`.squeeze()`, which drops a batch of one. One place a row: `argmin(dim=1)`.",
        ),
        (
            lambda z, e: torch.cosine_similarity(z[:, None], e, dim=2).argmax(1),
            "cosines, which look at directions only.",
        ),
        (
            lambda z, e: (z[:, None] - e).abs().sum(2).argmin(1),
            "absolute differences; square them before summing.",
        ),
        (
            lambda z, e: squared(z, e).min(dim=1).values,
            "the distance itself. Return the position of the least one, `argmin`.",
        ),
        (
            lambda z, e: squared(z, e).sqrt().min(dim=1).values,
            "the distance itself. Return the position of the least one, `argmin`.",
        ),
        (lambda z, e: nearest(z, e)[:1], "a `return` inside the loop, after the first row."),
        (lambda z, e: nearest(z, e)[0], "a `return` inside the loop, after the first row."),
        (
            lambda z, e: e[nearest(z, e)],
            "the code vector itself. Return its row number in the codebook.",
        ),
    ],
)

# 2.2 Residual quantisation: z [batch, dim], L codebooks -> codes int64 [batch, L], z^ [batch, dim]


def residual_quantize_cases(generator: Generator) -> list[Case]:
    """(rows, dim, codes of each level), one level first."""
    shapes = [(1, 1, [2]), (1, 1, [2, 2]), (2, 1, [2, 2]), (2, 2, [3, 2, 4]), (64, 8, [16] * 4)]
    drawn = [_draw(generator, *shape) for shape in shapes]
    return [{"z": z, "codebooks": codebooks} for z, codebooks in drawn]


def residual_quantize(z: Tensor, codebooks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    return quantiser()(z, codebooks)


def quantiser(
    update: Callable = lambda residual, vector, z: residual - vector,
    total: Callable = lambda quantised, vector: quantised + vector,
    codebook: Callable = lambda codebooks, level: codebooks[level],
    table: Callable = lambda codes: torch.stack(codes, dim=1),
    levels: slice = slice(None),
    start: Callable = torch.zeros_like,
) -> Callable:
    """A residual quantiser, one of whose steps may be replaced."""

    def answer(z, codebooks):
        residual, quantised, codes = z, start(z), []
        for level in range(len(codebooks))[levels]:
            book = codebook(codebooks, level)
            code = nearest(residual, book)
            codes.append(code)
            residual = update(residual, book[code], z)
            quantised = total(quantised, book[code])
        return table(codes), quantised

    return answer


def by_index(z, codebooks):
    codes = torch.empty(len(z), len(codebooks), dtype=torch.int64)
    left = z.clone()
    for level in range(len(codebooks)):
        codes[:, level] = torch.cdist(left, codebooks[level]).argmin(1)
        left -= codebooks[level][codes[:, level]]
    return codes, z - left


def recursive(z, codebooks):
    if not codebooks:
        return torch.zeros(len(z), 0, dtype=torch.int64), torch.zeros_like(z)
    code = nearest(z, codebooks[0])
    rest, below = recursive(z - codebooks[0][code], codebooks[1:])
    return torch.cat([code[:, None], rest], dim=1), codebooks[0][code] + below


def all_so_far_subtracted(z, codebooks):
    residual, quantised, codes = z, torch.zeros_like(z), []
    for book in codebooks:
        codes.append(nearest(residual, book))
        quantised = quantised + book[codes[-1]]
        residual = residual - quantised
    return torch.stack(codes, dim=1), quantised


def before_the_last_step(z, codebooks):
    codes, quantised = residual_quantize(z, codebooks)
    return codes, quantised - codebooks[-1][codes[:, -1]]


RESIDUAL_QUANTIZE = Exercise(
    reference=residual_quantize,
    library=rqvae.residual_quantize,
    cases=residual_quantize_cases,
    returns=["codes", "quantised"],
    right=[by_index, recursive],
    mistakes=[
        (
            quantiser(lambda r, v, z: r),
            "every level codes z. From the second level on, code the residual: what is left.",
        ),
        (
            quantiser(lambda r, v, z: z - v),
            "the residual is z minus this level's vector. Subtract all levels so far.",
        ),
        (
            quantiser(lambda r, v, z: r + v),
            "the residual adds the code's vector. Subtract it.",
        ),
        (
            quantiser(lambda r, v, z: v - r),
            "the residual has the wrong sign: it is the input minus the code's vector.",
        ),
        (
            quantiser(lambda r, v, z: v),
            "the next level codes the code's vector. It should code input minus vector.",
        ),
        (
            all_so_far_subtracted,
            "the sum so far taken from the residual; earlier vectors are out of it already.",
        ),
        (
            quantiser(codebook=lambda books, level: books[0]),
            "the first codebook at every level; each level has its own.",
        ),
        (
            quantiser(table=lambda codes: torch.stack(codes)),
            "codes stacked along the first dimension; one row per item is `torch.stack(..., "
            "dim=1)`.",
        ),
        (
            quantiser(table=lambda codes: torch.stack(codes).reshape(len(codes[0]), -1)),
            "a table of one row per level, reshaped: its rows mix items. `torch.stack(codes, "
            "dim=1)` makes columns.",
        ),
        (
            quantiser(table=torch.cat),
            "`torch.cat`, which makes one long row; `torch.stack(codes, dim=1)` makes columns.",
        ),
        (
            quantiser(levels=slice(1)),
            "a `return` inside the loop, after the first level.",
        ),
        (
            quantiser(table=lambda codes: torch.stack(codes, dim=1).float()),
            "a table made without `dtype=torch.int64`, or a conversion. Codes are int64.",
        ),
        (
            lambda z, books: residual_quantize(z, books)[::-1],
            "the two results in the other order.",
        ),
        (
            quantiser(total=lambda quantised, vector: vector),
            "the last level's vector alone. Quantised is the sum over all levels.",
        ),
        (
            lambda z, books: (
                residual_quantize(z, books)[0],
                residual_quantize(z, books[:1])[1],
            ),
            "the first level's vector alone. Quantised is the sum over all levels.",
        ),
        (
            before_the_last_step,
            "the last level's vector is missing. `z - residual` is the whole sum only after the "
            "last subtraction.",
        ),
        (
            lambda z, books: (
                residual_quantize(z, books)[0],
                z - residual_quantize(z, books)[1],
            ),
            "the last residual. Quantised is what was taken away, not what is left.",
        ),
        (
            lambda z, books: (
                residual_quantize(z, books)[0],
                residual_quantize(z, books)[1] / len(books),
            ),
            "a mean over levels; the levels add up.",
        ),
        (quantiser(start=torch.clone), "a sum that starts from z. Start from zeros."),
        (
            quantiser(total=lambda quantised, vector: quantised - vector),
            "code vectors subtracted; add them up.",
        ),
    ],
)

# 2.3 The straight-through step: z, quantised [batch, dim] -> quantised in value, z in gradient


def straight_through_cases(generator: Generator) -> list[Case]:
    """Both inputs require gradients, so that it can be seen where a gradient arrives."""
    cases = []
    for rows, dim in [(1, 1), (1, 2), (16, 8)]:
        z = tenths(torch.randn(rows, dim, generator=generator))
        quantised = tenths(z + 0.5 + torch.rand(rows, dim, generator=generator))
        cases.append({"z": z.requires_grad_(), "quantised": quantised.requires_grad_()})
    return cases


def straight_through(z: Tensor, quantised: Tensor) -> Tensor:
    return z + (quantised - z).detach()


class PassThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, quantised):
        return quantised.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


STRAIGHT_THROUGH = Exercise(
    reference=straight_through,
    cases=straight_through_cases,
    returns=["the result"],
    right=[
        PassThrough.apply,
        lambda z, quantised: quantised.detach() + z - z.detach(),
        lambda z, quantised: z - (z - quantised).detach(),
    ],
    mistakes=[
        (
            lambda z, quantised: z,
            "the value of z. The decoder must see the quantised vector.",
        ),
        (
            lambda z, quantised: quantised + (z - quantised).detach(),
            "z and the quantised vector in each other's place.",
        ),
        (
            lambda z, quantised: (quantised - z).detach(),
            "the step from z to the quantised vector; z has to be added back.",
        ),
        (
            lambda z, quantised: quantised - z,
            "the step from z to the quantised vector; z has to be added back.",
        ),
        (
            lambda z, quantised: z + quantised.detach(),
            "a sum of the two: one z too many.",
        ),
        (
            lambda z, quantised: z + quantised,
            "a sum of the two: one z too many.",
        ),
        (
            lambda z, quantised: z + (z - quantised).detach(),
            "the step the wrong way round: it is `quantised - z`.",
        ),
        (
            lambda z, quantised: quantised,
            "`quantised` returned as it is, or no `detach()`: then z cancels, in the gradient too.",
        ),
        (
            lambda z, quantised: z + quantised.detach() - z,
            "everything is detached, or z stands outside `detach()` with a plus and with a minus, "
            "and cancels. It must stand there once.",
        ),
        (
            lambda z, quantised: 2 * z + (quantised - 2 * z).detach(),
            "z stands outside `detach()` more than once, or scaled, or with a minus.",
        ),
        (
            lambda z, quantised: z + quantised - z.detach(),
            "`detach()` on z only. Detach the whole step `quantised - z`: codebooks have their own "
            "loss.",
        ),
    ],
)

# 2.4 The RQ-VAE loss: L residuals and L code vectors [batch, dim], mu -> scalar


def rq_loss_cases(generator: Generator) -> list[Case]:
    """(rows, dim, levels, mu)."""

    def tensors(rows: int, dim: int, levels: int) -> list[Tensor]:
        drawn = [tenths(torch.randn(rows, dim, generator=generator)) for _ in range(levels)]
        return [x.requires_grad_() for x in drawn]

    return [
        {"residuals": tensors(*shape), "vectors": tensors(*shape), "mu": mu}
        for *shape, mu in [(1, 1, 1, 0.5), (1, 2, 2, 0.25), (16, 8, 4, 0.2)]
    ]


def mse(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean()


def rq_loss(
    residuals: Sequence[Tensor],
    vectors: Sequence[Tensor],
    mu: float,
) -> Tensor:
    terms = [mse(r.detach(), v) + mu * mse(r, v.detach()) for r, v in zip(residuals, vectors)]
    return sum(terms) / len(terms)


def level_loss(
    first: Callable = lambda r, v: mse(r.detach(), v),
    second: Callable = lambda r, v: mse(r, v.detach()),
    weight: Callable = lambda mu: mu,
    join: Callable = lambda terms: sum(terms) / len(terms),
) -> Callable:
    """An RQ-VAE loss, one of whose steps may be replaced."""

    def answer(residuals, vectors, mu):
        terms = [first(r, v) + weight(mu) * second(r, v) for r, v in zip(residuals, vectors)]
        return join(terms)

    return answer


def with_distance(distance: Callable) -> Callable:
    return level_loss(lambda r, v: distance(r.detach() - v), lambda r, v: distance(r - v.detach()))


def one_term_summed(first: float, second: float) -> Callable:
    def answer(residuals, vectors, mu):
        n = len(vectors)
        codes = sum(mse(r.detach(), v) for r, v in zip(residuals, vectors)) / n
        commit = sum(mse(r, v.detach()) for r, v in zip(residuals, vectors)) / n
        return codes * (n if first else 1) + mu * commit * (n if second else 1)

    return answer


def no_gradient(residuals, vectors, mu):
    return rq_loss(residuals, vectors, mu).detach()


def stacked(residuals, vectors, mu):
    r, v = torch.stack(list(residuals)), torch.stack(list(vectors))
    return mse(r.detach(), v) + mu * mse(r, v.detach())


def zero(r: Tensor, v: Tensor) -> float:
    return 0.0


RQ_LOSS = Exercise(
    reference=rq_loss,
    library=losses.rq_loss,
    cases=rq_loss_cases,
    returns=["the loss"],
    right=[stacked, level_loss(join=lambda terms: torch.stack(terms).mean())],
    mistakes=[
        (level_loss(join=sum), "a sum over levels; take the mean."),
        (
            with_distance(lambda step: step.square().sum(dim=1).mean()),
            "squares summed over the dimensions; take the mean.",
        ),
        (
            level_loss(
                lambda r, v: (r.detach() - v).square().sum(dim=1).mean(),
                lambda r, v: (r - v.detach()).square().sum(dim=1).mean(),
                join=sum,
            ),
            "sums over levels and over dimensions; take means.",
        ),
        (
            with_distance(lambda step: step.square().mean(dim=1).sum()),
            "squares summed over the films; take the mean.",
        ),
        (
            with_distance(lambda step: step.square().sum()),
            "squares summed over films and dimensions; take the mean.",
        ),
        (
            one_term_summed(True, False),
            "one of the two terms is summed over levels; both are means.",
        ),
        (
            one_term_summed(False, True),
            "one of the two terms is summed over levels; both are means.",
        ),
        (with_distance(lambda step: step.norm(dim=1).mean()), "lengths that are not squared."),
        (with_distance(lambda step: step.abs().mean()), "absolute differences; square them."),
        (
            level_loss(second=zero),
            "the term with mu is missing, which commits the encoder to its codes.",
        ),
        (
            level_loss(first=zero),
            "the term without mu is missing, which moves the codes.",
        ),
        (
            lambda r, v, mu: mu * level_loss(weight=lambda mu: 1)(r, v, mu),
            "mu multiplies both terms; it weighs the second alone.",
        ),
        (level_loss(weight=lambda mu: 1), "mu is missing."),
        (
            level_loss(weight=lambda mu: 0.25),
            "0.25 written into the function; use its argument mu.",
        ),
        (
            level_loss(join=lambda terms: terms[0] / len(terms)),
            "a `return` inside the loop, after the first level.",
        ),
        (
            level_loss(join=lambda terms: terms[0]),
            "the first level alone; take the mean over levels.",
        ),
        (
            level_loss(join=lambda terms: terms[-1] / len(terms)),
            "`=` for `+=`: each level overwrites the one before.",
        ),
        (
            level_loss(join=lambda terms: terms[-1]),
            "only the last level counts; take the mean over levels.",
        ),
        (
            level_loss(join=torch.stack),
            "one loss per level; take their mean.",
        ),
        (
            no_gradient,
            "no gradient arrives, so the loss teaches nothing: `detach()` on both sides, "
            "`torch.no_grad()` or `torch.tensor(...)`.",
        ),
        (
            level_loss(mse, mse),
            "no `detach()`: each term moves both sides. The formula's sg[.] is `detach()`.",
        ),
        (
            level_loss(lambda r, v: mse(r, v.detach()), lambda r, v: mse(r.detach(), v)),
            "`detach()` on the wrong side of each term, or mu at the other: the term with mu moves "
            "the residual.",
        ),
        (
            level_loss(first=mse),
            "one `detach()` is missing: the term without mu moves the residual as well.",
        ),
        (
            level_loss(second=mse),
            "one `detach()` is missing: the term with mu moves the codes as well.",
        ),
    ],
)

EXERCISES = {
    "2.1": NEAREST_CODE,
    "2.2": RESIDUAL_QUANTIZE,
    "2.3": STRAIGHT_THROUGH,
    "2.4": RQ_LOSS,
}
