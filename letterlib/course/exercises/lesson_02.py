"""Lesson 02: nearest code, residual quantisation, straight-through gradient, RQ-VAE loss."""

from collections.abc import Callable, Sequence
from functools import wraps

import torch
from torch import Generator, Tensor, nn

from letterlib.course.comparing import Case
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
    return torch.cdist(z, codebook).argmin(dim=1)


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
        lambda z, e: squared(z, e).argmin(1),
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
            quantiser(lambda r, v, z: z - v, total=lambda quantised, vector: vector),
            "each level replaces the sum by its own vector. Add to the sum, and take all of it "
            "from z.",
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
    library=rqvae.straight_through,
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
        (with_distance(lambda step: step.norm()), "a length; take the mean of the squares."),
        (with_distance(lambda step: step.abs().mean()), "absolute differences; square them."),
        (
            level_loss(first=lambda r, v: mse(r, v.detach())),
            "both terms detach the vector: the codes do not move. Each term detaches the other "
            "side.",
        ),
        (
            level_loss(second=lambda r, v: mse(r.detach(), v)),
            "both terms detach the residual: the encoder does not move. Each term detaches the "
            "other side.",
        ),
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
        (level_loss(weight=lambda mu: -mu), "the term with mu is subtracted; add it."),
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

# 2.5 The forward pass: encoder, decoder, codebooks, s [batch, dim] -> s^, residuals, vectors


def forward_cases(generator: Generator) -> list[Case]:
    """(rows, dim, code dim, codes of each level). Encoder and decoder are linear, in tenths."""
    cases = []
    for rows, dim, code_dim, sizes in [
        (1, 1, 1, [2]),
        (1, 2, 1, [2, 2]),
        (3, 2, 2, [3, 3]),
        (32, 12, 6, [8] * 4),
    ]:
        z, codebooks = _draw(generator, rows, code_dim, sizes)
        encoder, decoder = linear(dim, code_dim, generator), linear(code_dim, dim, generator)
        # Vectors whose place in the encoder's space is z, so that the nearest codes are clear.
        s = z @ torch.linalg.pinv(encoder.weight.detach()).T
        cases.append(
            {
                "encoder": encoder,
                "decoder": decoder,
                "codebooks": [book.requires_grad_() for book in codebooks],
                "s": s.requires_grad_(),
            }
        )
    return cases


def linear(inputs: int, outputs: int, generator: Generator) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    weight = torch.randn(outputs, inputs, generator=generator)
    layer.weight.data = tenths(weight) + 0.05 * weight.sign()
    return layer


def passing(
    subtract: Callable = lambda residual, vector: residual - vector.detach(),
    step: Callable = straight_through,
    decoded: Callable = lambda quantised, vectors, z: quantised,
    coded: Callable = lambda z, s: z,
    kept: Callable = lambda before, after: before,
    total: Callable = sum,
    order: Callable = lambda *results: results,
) -> Callable:
    """A forward pass, one of whose steps may be replaced."""

    def answer(encoder, decoder, codebooks, s):
        z = encoder(s)
        residual, residuals, vectors = coded(z, s), [], []
        for codebook in codebooks:
            vector = codebook[nearest(residual, codebook)]
            vectors.append(vector)
            after = subtract(residual, vector)
            residuals.append(kept(residual, after))
            residual = after
        quantised = decoded(step(z, total(vectors)), vectors, z)
        return order(decoder(quantised), residuals, vectors)

    return answer


def forward(encoder, decoder, codebooks, s):
    return passing()(encoder, decoder, codebooks, s)


def without_recursion(encoder, decoder, codebooks, s):
    z = encoder(s)
    residuals, vectors = [z], []
    for codebook in codebooks:
        vectors.append(codebook[torch.cdist(residuals[-1], codebook).argmin(1)])
        residuals.append(residuals[-1] - vectors[-1].detach())
    step = (torch.stack(vectors).sum(0) - z).detach()
    return decoder(z + step), residuals[:-1], vectors


FORWARD = Exercise(
    reference=forward,
    cases=forward_cases,
    returns=["the reconstruction", "residuals", "vectors"],
    all_gradients=True,
    right=[without_recursion],
    mistakes=[
        (
            passing(step=lambda z, quantised: quantised),
            "the decoder is given the sum of code vectors itself: no gradient reaches the encoder, "
            "and the codebooks get one that is not theirs. The straight-through step is missing.",
        ),
        (
            passing(decoded=lambda quantised, vectors, z: z),
            "the decoder is given z. It must rebuild the film from its codes.",
        ),
        (
            passing(step=lambda z, quantised: straight_through(quantised, z)),
            "the two arguments of `straight_through` in each other's place.",
        ),
        (
            passing(total=lambda vectors: vectors[-1]),
            "the decoder is given the last level's vector alone. Add up all levels.",
        ),
        (
            passing(total=lambda vectors: sum(vectors) / len(vectors)),
            "a mean over levels; the levels add up.",
        ),
        (
            passing(subtract=lambda residual, vector: residual - vector),
            "the vector is subtracted without `detach()`: the losses of later levels would move "
            "the codes of this one.",
        ),
        (
            passing(subtract=lambda residual, vector: (residual - vector).detach()),
            "the whole residual is detached: from the second level on no commitment reaches the "
            "encoder. Detach the vector alone.",
        ),
        (
            passing(subtract=lambda residual, vector: residual),
            "every level codes z: subtract the vector from the residual.",
        ),
        (
            passing(kept=lambda before, after: after),
            "`residuals` holds what each level left over. It should hold what each had to code: "
            "append before subtracting.",
        ),
        (
            passing(coded=lambda z, s: z.detach()),
            "z is detached before it is coded: no commitment reaches the encoder.",
        ),
        (
            passing(order=lambda out, residuals, vectors: (out, vectors, residuals)),
            "residuals and vectors in the other order.",
        ),
    ],
    stops={
        "mat1 and mat2": "The quantiser works in the encoder's space: code `encoder(s)`, not `s`.",
    },
)

# 2.6 The training step: model, optimizer, s, mu -> both losses, as numbers; the model has moved


class Tiny(nn.Module):
    """What a training step sees of an RQ-VAE: one linear layer and one codebook."""

    def __init__(self, weight: Tensor, codebook: Tensor):
        super().__init__()
        self.weight, self.codebook = nn.Parameter(weight), nn.Parameter(codebook)

    def forward(self, s: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        z = s @ self.weight
        vector = self.codebook[nearest(z.detach(), self.codebook.detach())]
        return straight_through(z, vector) @ self.weight.T, [z], [vector]


def step_cases(generator: Generator) -> list[Case]:
    """(rows, dim, codes)."""
    cases = []
    for rows, dim, n_codes, mu in [(1, 1, 2, 0.5), (2, 2, 2, 0.25), (32, 6, 8, 0.2)]:
        s = tenths(torch.randn(rows, dim, generator=generator))
        weight = tenths(torch.randn(dim, dim, generator=generator)) + 0.05
        codebook = tenths(torch.randn(n_codes, dim, generator=generator))
        cases.append({"weight": weight, "codebook": codebook, "s": s, "mu": mu})
    return cases


def after_two_steps(answer: Callable) -> Callable:
    """Two steps of plain gradient descent with rate 0.1, and what they make of a model."""

    @wraps(answer)
    def use(weight, codebook, s, mu):
        model = Tiny(weight.clone(), codebook.clone())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        first = answer(model, optimizer, s, mu)
        second = answer(model, optimizer, s, mu)
        if first is None or len(first) != 2:
            return first
        losses = torch.tensor([*map(float, first), *map(float, second)])
        return losses, model.weight.detach(), model.codebook.detach()

    return use


def stepping(
    weigh: Callable = lambda reconstruction, rq: reconstruction + rq,
    mu_of: Callable = lambda mu: mu,
    clear: bool = True,
    order: Sequence[str] = ("backward", "step"),
    result: Callable = lambda reconstruction, rq: (reconstruction.item(), rq.item()),
    target: Callable = lambda model, s: s,
) -> Callable:
    """A training step, one of whose parts may be replaced."""

    def answer(model, optimizer, s, mu):
        out, residuals, vectors = model(s)
        reconstruction = mse(out, target(model, s))
        rq = rq_loss(residuals, vectors, mu_of(mu))
        if clear:
            optimizer.zero_grad()
        for action in order:
            if action == "backward":
                weigh(reconstruction, rq).backward()
            elif action == "step":
                optimizer.step()
            else:
                optimizer.zero_grad()
        return result(reconstruction, rq)

    return answer


def losses_after(model, optimizer, s, mu):
    train_step(model, optimizer, s, mu)
    out, residuals, vectors = model(s)
    return mse(out, s).item(), rq_loss(residuals, vectors, mu).item()


def train_step(model, optimizer, s, mu):
    return stepping()(model, optimizer, s, mu)


TRAIN_STEP = Exercise(
    reference=train_step,
    cases=step_cases,
    returns=["the losses of two steps", "the encoder after two steps", "the codebook after two"],
    use=after_two_steps,
    right=[
        stepping(clear=False, order=("backward", "step", "zero")),
        stepping(result=lambda reconstruction, rq: (float(reconstruction), float(rq))),
    ],
    mistakes=[
        (
            stepping(clear=False),
            "`optimizer.zero_grad()` is missing: the gradients of the step before are added.",
        ),
        (
            stepping(weigh=lambda reconstruction, rq: reconstruction),
            "`backward()` on the reconstruction alone: the codes are not moved.",
        ),
        (
            stepping(weigh=lambda reconstruction, rq: rq),
            "`backward()` on the loss of the quantiser alone: nothing is rebuilt.",
        ),
        (
            stepping(mu_of=lambda mu: 1.0),
            "mu is not used: the commitment has weight 1.",
        ),
        (
            stepping(mu_of=lambda mu: 0.25),
            "0.25 written into the function; use its argument mu.",
        ),
        (
            lambda model, optimizer, s, mu: stepping(weigh=lambda r, rq: r + mu * rq)(
                model, optimizer, s, mu
            ),
            "mu, or 0.25, multiplies the whole loss of the quantiser; it is inside already.",
        ),
        (
            stepping(weigh=lambda reconstruction, rq: reconstruction + 0.25 * rq),
            "mu, or 0.25, multiplies the whole loss of the quantiser; it is inside already.",
        ),
        (
            stepping(order=("step", "backward"), clear=False),
            "`step()` before `backward()`: it goes by the gradients of the step before.",
        ),
        (
            stepping(order=("backward",)),
            "nothing moves: `optimizer.step()` is missing, or comes before `backward()`, or "
            "`zero_grad()` stands between the two.",
        ),
        (
            stepping(result=lambda reconstruction, rq: (rq.item(), reconstruction.item())),
            "the two losses in the other order.",
        ),
        (losses_after, "the losses after the move. Return those from before it."),
        (
            stepping(
                result=lambda reconstruction, rq: ((reconstruction + rq).item(), rq.item()),
            ),
            "their sum in place of the reconstruction's loss. Return the two apart.",
        ),
        (
            stepping(target=lambda model, s: s @ model.weight.detach()),
            "the reconstruction is compared with z. It should be the film's vector s.",
        ),
    ],
)

EXERCISES = {
    "2.1": NEAREST_CODE,
    "2.2": RESIDUAL_QUANTIZE,
    "2.3": STRAIGHT_THROUGH,
    "2.4": RQ_LOSS,
    "2.5": FORWARD,
    "2.6": TRAIN_STEP,
}
