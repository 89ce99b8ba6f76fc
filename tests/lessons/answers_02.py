"""Answers to lesson 02: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import torch
import torch.nn.functional as F

from letterlib.tokenizer.rqvae import nearest_codes

NAMES = {"torch": torch, "F": F, "nearest_codes": nearest_codes}
"""What the notebook has imported by the time it reaches its exercises."""

# 2.1 nearest code


def by_expansion(z, codebook):
    return (codebook.square().sum(1) - 2 * z @ codebook.T).argmin(1)


def by_loop(z, codebook):
    return torch.tensor(
        [min(range(len(codebook)), key=lambda k: float((row - codebook[k]).norm())) for row in z]
    )


def by_broadcast(z, codebook):
    return ((z.unsqueeze(1) - codebook.unsqueeze(0)) ** 2).sum(-1).min(-1).indices


def by_expansion_without_two(z, codebook):
    return (codebook.square().sum(1) - z @ codebook.T).argmin(1)


# 2.2 residual quantisation


def residual_by_index(z, codebooks):
    codes = torch.empty(len(z), len(codebooks), dtype=torch.int64)
    left = z.clone()
    for level in range(len(codebooks)):
        codes[:, level] = torch.cdist(left, codebooks[level]).argmin(1)
        left -= codebooks[level][codes[:, level]]
    return codes, z - left


def residual_recursive(z, codebooks):
    if not codebooks:
        return torch.zeros(len(z), 0, dtype=torch.int64), torch.zeros_like(z)
    code = nearest_codes(z, codebooks[0])
    vector = F.embedding(code, codebooks[0])
    rest, below = residual_recursive(z - vector, codebooks[1:])
    return torch.cat([code[:, None], rest], dim=1), vector + below


def residual_with(
    update,
    total=lambda quantised, vector: quantised + vector,
    book=lambda books, level: books[level],
    table=lambda codes: torch.stack(codes, 1),
):
    """A residual quantiser with one of its steps replaced."""

    def answer(z, codebooks):
        left, quantised, codes = z, torch.zeros_like(z), []
        for level in range(len(codebooks)):
            codebook = book(codebooks, level)
            codes.append(nearest_codes(left, codebook))
            vector = codebook[codes[-1]]
            quantised, left = total(quantised, vector), update(left, vector, z)
        return table(codes), quantised

    return answer


def residual_first_level_only(z, codebooks):
    code = nearest_codes(z, codebooks[0])
    return code[:, None], codebooks[0][code]


def residual_in_place(z, codebooks):
    codes, quantised = [], torch.zeros_like(z)
    for codebook in codebooks:
        codes.append(nearest_codes(z, codebook))
        quantised += codebook[codes[-1]]
        z -= codebook[codes[-1]]
    return torch.stack(codes, 1), quantised


def residual_minus_all_so_far(z, codebooks):
    left, quantised, codes = z, torch.zeros_like(z), []
    for codebook in codebooks:
        codes.append(nearest_codes(left, codebook))
        quantised = quantised + codebook[codes[-1]]
        left = left - quantised
    return torch.stack(codes, 1), quantised


def residual_before_the_last_step(z, codebooks):
    left, codes = z, []
    for codebook in codebooks:
        quantised = z - left
        codes.append(nearest_codes(left, codebook))
        left = left - codebook[codes[-1]]
    return torch.stack(codes, 1), quantised


def right_residual(left, vector, z):
    return left - vector


# 2.3 straight-through


class PassThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, quantised):
        return quantised.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def without_gradient(z, quantised):
    with torch.no_grad():
        step = quantised - z
    return z + step


def values_written_into_z(z, quantised):
    z.data = quantised.data.clone()
    return z


def copied_into_z(z, quantised):
    with torch.no_grad():
        z.copy_(quantised)
    return z


def detached_for_good(z, quantised):
    quantised.detach_()
    return z + (quantised - z.detach())


def asks_for_no_gradient(z, quantised):
    return z + (quantised.requires_grad_(False) - z.detach())


def steps_back_itself(z, quantised):
    passed = z + (quantised - z).detach()
    passed.sum().backward()
    return passed


# 2.4 the RQ-VAE loss


def loss_stacked(residuals, vectors, mu):
    r, e = torch.stack(residuals), torch.stack(vectors)
    return ((r.detach() - e) ** 2).mean() + mu * ((r - e.detach()) ** 2).mean()


def loss_by_level(residuals, vectors, mu):
    total = torch.zeros(())
    for level, residual in enumerate(residuals):
        total += (vectors[level] - residual.detach()).pow(2).mean()
        total += (residual - vectors[level].detach()).pow(2).mean() * mu
    return total / len(residuals)


def loss_with(codes_term, encoder_term, over_levels=lambda parts: parts.mean()):
    def answer(residuals, vectors, mu):
        parts = [
            codes_term(r, e) + mu * encoder_term(r, e)
            for r, e in zip(residuals, vectors, strict=True)
        ]
        return over_levels(torch.stack(parts))

    return answer


def right_codes_term(r, e):
    return F.mse_loss(e, r.detach())


def right_encoder_term(r, e):
    return F.mse_loss(r, e.detach())


def loss_of_steps(size):
    return loss_with(lambda r, e: size(e - r.detach()), lambda r, e: size(r - e.detach()))


def loss_that_steps_back(residuals, vectors, mu):
    loss = loss_stacked(residuals, vectors, mu)
    loss.backward(retain_graph=True)
    return loss


def loss_with_a_gradient_of_its_own(residuals, vectors, mu):
    loss = loss_stacked(residuals, vectors, mu)
    torch.autograd.grad(loss, vectors)
    return loss


def loss_that_detaches_for_good(residuals, vectors, mu):
    r, e = torch.stack(residuals), torch.stack(vectors)
    terms = ((r.detach() - e) ** 2).mean() + mu * ((r - e.detach()) ** 2).mean()
    for one in vectors:
        one.detach_()
    return terms


def loss_squared_in_place(residuals, vectors, mu):
    total = torch.zeros(())
    for r, e in zip(residuals, vectors, strict=True):
        for step, weight in [(e - r.detach(), 1), (r - e.detach(), mu)]:
            step *= step
            total = total + weight * step.mean()
    return total / len(residuals)


RIGHT = {
    "2.1": [by_expansion, by_loop, by_broadcast],
    "2.2": [residual_by_index, residual_recursive],
    "2.3": [PassThrough.apply, lambda z, q: q.detach() + z - z.detach(), without_gradient],
    "2.4": [loss_stacked, loss_by_level],
}

WRONG = [
    ("2.1", lambda z, e: torch.cdist(z, e).argmax(1), "argmax"),
    ("2.1", lambda z, e: (z @ e.T).argmax(1), "largest dot product"),
    ("2.1", lambda z, e: (z[:, None] - e).sum(2).argmin(1), "without squaring"),
    ("2.1", lambda z, e: torch.cdist(z, e).argmin(0), "over the items"),
    ("2.1", lambda z, e: torch.cdist(e, z).argmin(1), "in each other's place in `cdist`"),
    ("2.1", lambda z, e: torch.cdist(z, e).argmin(1).numpy(), "a NumPy function on the way"),
    ("2.1", lambda z, e: torch.cdist(z, e).argmin(1, keepdim=True), "keepdim"),
    ("2.1", lambda z, e: torch.cdist(z, e).argmin(1).float(), "int64"),
    ("2.1", lambda z, e: torch.cdist(z, e).min(1).values, "distance itself"),
    ("2.1", lambda z, e: e[torch.cdist(z, e).argmin(1)], "code vector itself"),
    ("2.1", lambda z, e: torch.cdist(z, e).argmin(1).tolist(), "should be a tensor"),
    ("2.1", lambda z, e: torch.cdist(z, e).argmin(), "without `dim`"),
    ("2.1", lambda z, e: torch.cdist(z, e).min(1), "gives values and `.indices`"),
    ("2.1", lambda z, e: torch.cdist(z, e).argmin(1).int(), "int64"),
    ("2.1", lambda z, e: torch.cdist(z, e).argmin(1) + 1, "counted from 1"),
    (
        "2.1",
        lambda z, e: torch.stack([(row - e).square().sum(1).argmin() for row in z[:1]]),
        "a `return` inside",
    ),
    ("2.1", lambda z, e: F.cosine_similarity(z[:, None], e, dim=-1).argmax(1), "directions only"),
    ("2.1", lambda z, e: torch.cdist(z, e, p=1).argmin(1), "absolute differences"),
    (
        "2.1",
        lambda z, e: (z[:, None] - e).square().sum(1).argmin(1),
        "squares summed over the codes",
    ),
    ("2.1", by_expansion_without_two, "the dot product without its 2"),
    ("2.1", lambda z, e: z @ e, "stopped with RuntimeError"),
    ("2.1", lambda z, e: None, "missing `return`"),
    ("2.1", torch.zeros(3), "asks for a function"),
    ("2.2", residual_with(lambda left, vector, z: left), "every level codes z"),
    ("2.2", residual_with(lambda left, vector, z: z - vector), "Subtract all levels so far"),
    ("2.2", residual_minus_all_so_far, "the sum so far taken from the residual"),
    ("2.2", residual_with(lambda left, vector, z: left + vector), "adds the code's vector"),
    ("2.2", residual_with(lambda left, vector, z: vector - left), "wrong sign"),
    ("2.2", residual_with(lambda left, vector, z: vector), "codes the code's vector"),
    (
        "2.2",
        residual_with(right_residual, total=lambda quantised, vector: vector),
        "last level's vector alone",
    ),
    ("2.2", residual_in_place, "changed `z` in place"),
    ("2.2", lambda z, e: tuple(reversed(residual_recursive(z, e))), "other order"),
    (
        "2.2",
        lambda z, e: (residual_recursive(z, e)[0].T, residual_recursive(z, e)[1]),
        "first dimension",
    ),
    (
        "2.2",
        residual_with(
            right_residual, table=lambda codes: torch.stack(codes).reshape(len(codes[0]), -1)
        ),
        "cut anew",
    ),
    (
        "2.2",
        residual_with(right_residual, table=lambda codes: torch.cat(codes).view(-1, len(codes))),
        "`torch.stack(codes, dim=1)`",
    ),
    (
        "2.2",
        lambda z, e: (residual_recursive(z, e)[0], z - residual_recursive(z, e)[1]),
        "last residual",
    ),
    ("2.2", lambda z, e: residual_recursive(z, e)[0], "return two things"),
    (
        "2.2",
        residual_with(right_residual, book=lambda books, level: books[0]),
        "first codebook at every level",
    ),
    ("2.2", residual_first_level_only, "inside the loop"),
    (
        "2.2",
        lambda z, e: (torch.cat(list(residual_recursive(z, e)[0].T)), residual_recursive(z, e)[1]),
        "one long row",
    ),
    (
        "2.2",
        lambda z, e: (residual_recursive(z, e)[0].float(), residual_recursive(z, e)[1]),
        "dtype=torch.int64",
    ),
    (
        "2.2",
        lambda z, e: (residual_recursive(z, e)[0].int(), residual_recursive(z, e)[1]),
        "or a conversion",
    ),
    (
        "2.2",
        lambda z, e: (residual_recursive(z, e)[0].numpy(), residual_recursive(z, e)[1]),
        "a NumPy function",
    ),
    (
        "2.2",
        lambda z, e: (residual_recursive(z, e)[0], z + residual_recursive(z, e)[1]),
        "Start from zeros",
    ),
    (
        "2.2",
        residual_with(right_residual, total=lambda quantised, vector: quantised - vector),
        "add them up",
    ),
    ("2.2", residual_before_the_last_step, "only after the last subtraction"),
    ("2.3", lambda z, q: q, "returned as it is"),
    ("2.3", values_written_into_z, "changed `z` in place"),
    ("2.3", copied_into_z, "changed `z` in place"),
    ("2.3", lambda z, q: z + (z - q).detach(), "the wrong way round"),
    ("2.3", lambda z, q: z.detach() + (q - z), "with a minus"),
    ("2.3", lambda z, q: z, "z itself"),
    ("2.3", lambda z, q: q + (z - q).detach(), "in each other's place"),
    ("2.3", lambda z, q: z + (q - z), "no `detach()`"),
    ("2.3", lambda z, q: z + (q.detach() - z), "with a plus and with a minus"),
    ("2.3", lambda z, q: q + (z - z.detach()), "`detach()` on z only"),
    ("2.3", lambda z, q: q.detach(), "everything is detached"),
    ("2.3", lambda z, q: 2 * z + (q - 2 * z).detach(), "more than once, or scaled"),
    ("2.3", detached_for_good, "`quantised` no longer asks for a gradient"),
    ("2.3", asks_for_no_gradient, "`quantised` no longer asks for a gradient"),
    ("2.3", steps_back_itself, "`backward` was called inside"),
    ("2.4", loss_that_steps_back, "`backward` was called inside"),
    ("2.4", loss_with_a_gradient_of_its_own, "a gradient was computed inside"),
    ("2.4", loss_that_detaches_for_good, "`vectors` no longer asks for a gradient"),
    ("2.4", loss_with(F.mse_loss, F.mse_loss), "no `detach()`"),
    ("2.4", loss_with(right_encoder_term, right_codes_term), "mu at the other"),
    ("2.4", lambda r, e, mu: torch.zeros(1) + loss_stacked(r, e, mu), "torch.zeros(1)"),
    ("2.4", lambda r, e, mu: [loss_stacked(r[:1], e[:1], mu)], "keeps the gradient"),
    ("2.4", lambda r, e, mu: torch.tensor(loss_stacked(r, e, mu).item()), "`torch.tensor(...)`"),
    ("2.4", lambda r, e, mu: loss_stacked(r[:1], e[:1], mu), "the first level alone"),
    (
        "2.4",
        lambda r, e, mu: loss_stacked(r[-1:], e[-1:], mu) / len(r),
        "overwrites the one before",
    ),
    (
        "2.4",
        loss_with(right_codes_term, right_encoder_term, lambda parts: parts.sum()),
        "sum over levels",
    ),
    (
        "2.4",
        loss_with(right_codes_term, right_encoder_term, lambda parts: parts),
        "one loss per level",
    ),
    ("2.4", loss_with(right_codes_term, lambda r, e: 0 * r.mean()), "term with mu is missing"),
    ("2.4", lambda r, e, mu: mu * loss_stacked(r, e, 0), "term without mu is missing"),
    (
        "2.4",
        lambda r, e, mu: loss_stacked(r, e, mu) - mu * loss_stacked(r, e, 0),
        "weighted by 1 - mu",
    ),
    ("2.4", lambda r, e, mu: mu * loss_stacked(r, e, 1), "mu multiplies both terms"),
    ("2.4", lambda r, e, mu: loss_stacked(r, e, 1), "mu is missing"),
    ("2.4", loss_with(right_codes_term, F.mse_loss), "one `detach()` is missing"),
    ("2.4", loss_of_steps(lambda step: step.square().sum(dim=0).mean()), "over the films"),
    ("2.4", loss_of_steps(lambda step: step.square().sum()), "over films and dimensions"),
    ("2.4", loss_of_steps(lambda step: step.abs().mean()), "square them"),
    ("2.4", loss_of_steps(lambda step: step.norm(dim=1).mean()), "not squared"),
    (
        "2.4",
        lambda r, e, mu: loss_stacked(r, e, 0) * (len(r) - 1) + loss_stacked(r, e, mu),
        "one of the two terms",
    ),
    ("2.4", lambda r, e, mu: loss_stacked(r, e, 0.25), "its argument mu"),
    ("2.4", lambda r, e, mu: loss_stacked(r[:1], e[:1], mu) / len(r), "inside the loop"),
    ("2.4", loss_squared_in_place, "an operation in place"),
    ("2.4", lambda r, e, mu: loss_stacked(r, e, mu).item(), "should be a tensor"),
    ("2.4", lambda r, e, mu: loss_stacked(r, e, mu).detach(), "teaches nothing"),
]

HALF_RIGHT = {
    "residual-quantize": """
def my_residual_quantize(z, codebooks):
    codes = torch.stack([nearest_codes(z, codebook) for codebook in codebooks], dim=1)
    return codes, sum(codebook[code] for codebook, code in zip(codebooks, codes.T))
""",
    "straight-through": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
