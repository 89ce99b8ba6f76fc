"""Lesson 05: the four losses together, where each one pulls, the similarity experiment, repair.

Vectors of the similarity experiment are of very different lengths, so that cosine and dot product
disagree.
"""

from collections.abc import Callable
from functools import wraps

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from letterlib.course.comparing import Case, several
from letterlib.course.exercise import Exercise
from letterlib.course.exercises.lesson_02 import (
    _draw,
    forward,
    level_loss,
    nearest,
    passing,
    rq_loss,
    straight_through,
)
from letterlib.course.exercises.lesson_04 import diversity
from letterlib.course.values import tenths
from letterlib.tokenizer.losses import collaborative_loss, sample_positives

# 5.1 The four losses together: model, s, h, groups, mu -> L_Recon, L_RQ-VAE, L_CF, L_Div


class Joint(nn.Module):
    """What the losses see of a tokenizer: linear encoder and decoder, and codebooks."""

    def __init__(self, encoder: Tensor, decoder: Tensor, codebooks: list[Tensor]):
        super().__init__()
        self.encoder, self.decoder = nn.Parameter(encoder), nn.Parameter(decoder)
        self.codebooks = nn.ParameterList(codebooks)

    def forward(self, s: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        books = list(self.codebooks)
        return forward(lambda x: x @ self.encoder, lambda z: z @ self.decoder, books, s)


def joint_cases(generator: Generator) -> list[Case]:
    """(rows, dim, code dim, codes of each level). Groups have two codes, or one: so a positive is
    no matter of chance.
    """
    cases = []
    for rows, dim, code_dim, sizes in [
        (2, 1, 1, [2]),
        (2, 2, 2, [2, 3]),
        (3, 2, 2, [4, 5, 4]),
        (24, 6, 4, [8] * 3),
    ]:
        z, codebooks = _draw(generator, rows, code_dim, sizes)
        drawn = torch.randn(dim, code_dim, generator=generator)
        encoder = tenths(drawn) + 0.05 * drawn.sign()
        cases.append(
            {
                "encoder": encoder,
                "decoder": tenths(torch.randn(code_dim, dim, generator=generator)),
                "codebooks": codebooks,
                "s": z @ torch.linalg.pinv(encoder),  # so that the encoder makes z of it
                "h": tenths(torch.randn(rows, code_dim, generator=generator)),
                "groups": [torch.randperm(n, generator=generator) // 2 for n in sizes],
                "mu": 0.5,
            }
        )
    return cases


LOSSES = ["L_Recon", "L_RQ-VAE", "L_CF", "L_Div"]


def with_their_gradients(answer: Callable) -> Callable:
    """The losses that an answer makes of a model, and the gradient of each one."""

    @wraps(answer)
    def use(encoder, decoder, codebooks, s, h, groups, mu):
        model = Joint(encoder, decoder, codebooks)
        returned = answer(model, s, h, groups, mu)
        case = {"s": s, "h": h, "groups": groups, "mu": mu}
        found = [torch.as_tensor(loss) for loss in several(returned, LOSSES, case)]
        if any(loss.ndim for loss in found):
            return found  # no scalars; that is told
        books = list(model.codebooks)
        moved = [(gradient(x, [model.encoder]), gradient(x, books)) for x in found]
        losses = torch.stack([loss.detach().float() for loss in found])
        return losses, *(torch.stack(part) for part in zip(*moved, strict=True))

    return use


def gradient(loss: Tensor, parts: list[Tensor]) -> Tensor:
    """The gradient of a loss in all numbers of some tensors, zero where none arrives."""
    if not loss.requires_grad:
        return torch.zeros(sum(part.numel() for part in parts))
    found = torch.autograd.grad(
        loss, parts, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([g.flatten() for g in found])


def joining(
    quantise: Callable = lambda z, vectors: straight_through(z, sum(vectors)),
    aligned: Callable = lambda quantised, out: quantised,
    coded: Callable = lambda residuals, level: residuals[level],
    grouped: Callable = lambda groups, level: groups[level],
    book: Callable = lambda codebooks, level: codebooks[level],
    total: Callable = lambda terms: sum(terms) / len(terms),
    rebuilt: Callable = lambda out, s: F.mse_loss(out, s),
    weight: Callable = lambda mu: mu,
    quantiser: Callable = rq_loss,
    alignment: Callable = collaborative_loss,
    draw: Callable = sample_positives,
    spread: Callable = diversity,
    order: Callable = lambda *losses: losses,
) -> Callable:
    """The four losses, one of whose steps may be replaced."""

    def answer(model, s, h, groups, mu):
        out, residuals, vectors = model(s)
        quantised = aligned(quantise(residuals[0], vectors), out)
        terms = []
        for level in range(len(groups)):
            codebook = book(model.codebooks, level)
            codes = nearest(coded(residuals, level), codebook)
            positives = draw(codes, grouped(groups, level))
            terms.append(spread(codes, positives, codebook))
        rq = quantiser(residuals, vectors, weight(mu))
        cf = alignment(quantised, h)
        return order(rebuilt(out, s), rq, cf, total(terms))

    return answer


def joint_losses(model, s, h, groups, mu):
    return joining()(model, s, h, groups, mu)


def by_levels(model, s, h, groups, mu):
    out, residuals, vectors = model(s)
    step = torch.stack(vectors).sum(0) - residuals[0]
    spread = []
    for residual, codebook, group in zip(residuals, model.codebooks, groups):
        distances = (residual[:, None] - codebook).square().sum(2)
        codes = distances.argmin(1)
        spread.append(diversity(codes, sample_positives(codes, group), codebook))
    logits = (residuals[0] + step.detach()) @ h.T
    cf = F.cross_entropy(logits, torch.arange(len(h)))
    return [
        (out - s).square().mean(),
        rq_loss(residuals, vectors, mu),
        cf,
        torch.stack(spread).mean(),
    ]


JOINT_LOSSES = Exercise(
    reference=joint_losses,
    cases=joint_cases,
    returns=["the four losses", "their gradients in the encoder", "those in the codebooks"],
    use=with_their_gradients,
    right=[by_levels, joining(total=lambda terms: torch.stack(terms).mean())],
    mistakes=[
        (
            joining(quantise=lambda z, vectors: sum(vectors)),
            "L_CF reads the sum of code vectors itself, so that it moves the codebooks and not "
            "the encoder. Put the straight-through step between.",
        ),
        (
            joining(quantise=lambda z, vectors: sum(vectors).detach()),
            "L_CF reads a detached sum, and moves nothing. Use `straight_through`.",
        ),
        (
            joining(quantise=lambda z, vectors: z),
            "L_CF reads z. It is about the codes: take the sum of their vectors.",
        ),
        (
            joining(quantise=lambda z, vectors: straight_through(sum(vectors), z)),
            "the two arguments of `straight_through` in each other's place.",
        ),
        (
            joining(aligned=lambda quantised, out: out),
            "L_CF reads the reconstruction. It compares the quantised vector with h.",
        ),
        (
            joining(quantise=lambda z, vectors: straight_through(z, vectors[-1])),
            "L_CF reads the last level's vector alone. Add up all levels.",
        ),
        (
            joining(quantise=lambda z, vectors: straight_through(z, vectors[0])),
            "L_CF reads the first level's vector alone. Add up all levels.",
        ),
        (
            joining(quantise=lambda z, vectors: straight_through(z, sum(vectors) / len(vectors))),
            "L_CF reads a mean over levels; the levels add up.",
        ),
        (
            joining(coded=lambda residuals, level: residuals[0]),
            "in L_Div every level looks up the codes of z. Level l codes `residuals[l]`.",
        ),
        (
            joining(grouped=lambda groups, level: groups[0]),
            "the groups of level 1 at every level; each level has its own.",
        ),
        (
            joining(book=lambda codebooks, level: codebooks[0]),
            "in L_Div the first codebook at every level; each level has its own.",
        ),
        (
            joining(book=lambda codebooks, level: codebooks[level].detach()),
            "L_Div is given a detached codebook, the only thing that it could move.",
        ),
        (joining(total=sum), "L_Div summed over levels; take the mean."),
        (
            joining(total=lambda terms: terms[-1]),
            "L_Div of the last level alone: `=` for `+=`, or no list. Take the mean over levels.",
        ),
        (
            joining(total=lambda terms: terms[0]),
            "L_Div of the first level alone. Take the mean over levels.",
        ),
        (
            joining(total=lambda terms: terms[-1] / len(terms)),
            "`=` for `+=`: in L_Div each level overwrites the one before.",
        ),
        (
            joining(rebuilt=lambda out, s: F.mse_loss(out, s, reduction="sum")),
            "L_Recon is a sum of squares; take the mean.",
        ),
        (
            joining(total=lambda terms: -sum(terms) / len(terms)),
            "the sign of L_Div. `diversity_loss` has the minus inside already.",
        ),
        (
            joining(spread=lambda codes, positives, book: diversity(positives, codes, book)),
            "codes and positives in each other's place in L_Div.",
        ),
        (
            joining(
                quantiser=lambda residuals, vectors, mu: rq_loss([residuals[-1]], [vectors[-1]], mu)
            ),
            "L_RQ-VAE of the last level alone. It takes the lists of all levels.",
        ),
        (
            joining(alignment=F.mse_loss),
            "L_CF as a squared difference. It is `cf_loss`: which film's h fits best.",
        ),
        (
            joining(rebuilt=F.l1_loss),
            "absolute differences in L_Recon; it has squares.",
        ),
        (
            joining(rebuilt=lambda out, s: F.mse_loss(out.detach(), s)),
            "the reconstruction is detached: L_Recon moves nothing.",
        ),
        (
            joining(alignment=lambda quantised, h: collaborative_loss(h, quantised)),
            "the quantised vectors and h in each other's place in L_CF.",
        ),
        (
            joining(alignment=lambda x, h: collaborative_loss(F.normalize(x, dim=1), h)),
            "vectors divided by their lengths. L_CF has dot products of vectors as they are.",
        ),
        (
            joining(draw=lambda codes, groups: groups[codes]),
            "the number of the group in place of a positive. `sample_positives` draws a code of "
            "the group.",
        ),
        (
            joining(draw=lambda codes, groups: codes),
            "each code is its own positive. `sample_positives` draws another one of the group.",
        ),
        (
            joining(quantise=lambda z, vectors: straight_through(z, sum(vectors[:-1], 0 * z))),
            "the last level's vector is missing in L_CF. Add up all levels.",
        ),
        (
            joining(quantiser=lambda residuals, vectors, mu: mu * rq_loss(residuals, vectors, mu)),
            "L_RQ-VAE is multiplied by mu once more; `rq_loss` does that inside, where it belongs.",
        ),
        (
            joining(
                quantiser=lambda residuals, vectors, mu: (
                    rq_loss(residuals, vectors, mu) / len(vectors)
                )
            ),
            "L_RQ-VAE divided by the number of levels. `rq_loss` is complete as it is.",
        ),
        (joining(weight=lambda mu: 1.0), "mu is not used: the commitment has weight 1."),
        (
            joining(weight=lambda mu: 0.25),
            "0.25 written into the function; use its argument mu.",
        ),
        (
            joining(quantiser=lambda residuals, vectors, mu: rq_loss(vectors, residuals, mu)),
            "residuals and vectors in each other's place in L_RQ-VAE.",
        ),
        (
            joining(order=lambda recon, rq, cf, div: (recon, rq, div, cf)),
            "L_CF and L_Div in the other order.",
        ),
        (
            joining(order=lambda recon, rq, cf, div: (rq, recon, cf, div)),
            "L_Recon and L_RQ-VAE in the other order.",
        ),
        (
            joining(order=lambda *losses: [loss.item() for loss in losses]),
            "numbers, from which no gradient can be taken. Return the tensors, without `.item()`.",
        ),
    ],
    stops={
        "must match the size": "Is every codebook used with the residuals of its own level?",
    },
)

# 5.2 Where losses pull: losses, parts -> the length of each loss's gradient in each part


def pull_cases(generator: Generator) -> list[Case]:
    """Two tensors of the first part and one of the second; (rows, dim) of each."""
    cases = []
    for rows, dim in [(1, 1), (2, 2), (5, 3)]:
        drawn = [tenths(torch.randn(rows, dim, generator=generator)) for _ in range(3)]
        a, b, c = (x + 0.05 * x.sign() + 0.1 for x in drawn)
        cases.append({"a": a, "b": b, "c": c})
    return cases


def of_three_tensors(answer: Callable) -> Callable:
    """Three losses of two parts, [a, b] and [c]. The second moves only a, the third only c."""

    @wraps(answer)
    def use(a, b, c):
        a, b, c = (x.clone().requires_grad_() for x in (a, b, c))
        between = 3 * a.square()
        losses = [
            (between * b).sum() - (2 * c).sum() + c.square().sum(),
            (between * c.detach()).sum(),
            (c**3).sum(),
        ]
        return answer(losses, [[a, b], [c]])

    return use


def pulls(losses: list[Tensor], parts: list[list[Tensor]]) -> Tensor:
    return pulling()(losses, parts)


def pulling(
    length: Callable = lambda found: sum(g.square().sum() for g in found).sqrt(),
    of_part: Callable = lambda part: part,
    table: Callable = lambda table: table,
    of_loss: Callable = lambda losses, i: losses[i],
    unused: bool = True,
) -> Callable:
    """The table of pulls, one of whose steps may be replaced."""

    def answer(losses, parts):
        rows = torch.zeros(len(losses), len(parts))
        for i in range(len(losses)):
            for j, part in enumerate(parts):
                found = torch.autograd.grad(
                    of_loss(losses, i), of_part(part), retain_graph=True, allow_unused=unused
                )
                found = [g for g in found if g is not None]
                if found:
                    rows[i, j] = length(found)
        return table(rows)

    return answer


def by_backward(losses, parts):
    rows = []
    for loss in losses:
        for part in parts:
            for tensor in part:
                tensor.grad = None
        loss.backward(retain_graph=True)
        zero = torch.zeros(1)
        lengths = [
            torch.cat([zero if x.grad is None else x.grad.flatten() for x in part]).norm()
            for part in parts
        ]
        rows.append(torch.stack(lengths))
    return torch.stack(rows)


def backward_and_no_zero(losses, parts):
    rows = torch.zeros(len(losses), len(parts))
    for i, loss in enumerate(losses):
        loss.backward(retain_graph=True)
        for j, part in enumerate(parts):
            grads = [x.grad for x in part if x.grad is not None]
            rows[i, j] = sum(g.square().sum() for g in grads) ** 0.5
    return rows


def without_retaining(losses, parts):
    rows = torch.zeros(len(losses), len(parts))
    for i, loss in enumerate(losses):
        for j, part in enumerate(parts):
            found = torch.autograd.grad(loss, part, allow_unused=True)
            rows[i, j] = sum(g.square().sum() for g in found if g is not None) ** 0.5
    return rows


def last_overwrites(losses, parts):
    rows = torch.zeros(len(losses), len(parts))
    for i, loss in enumerate(losses):
        for j, part in enumerate(parts):
            for tensor in part:
                found = gradient(loss, [tensor])
                rows[i, j] = found.norm() if found.any() else rows[i, j]
    return rows


def none_included(losses, parts):
    found = [
        torch.autograd.grad(loss, part, retain_graph=True, allow_unused=True)
        for loss in losses
        for part in parts
    ]
    return torch.stack([torch.cat([g.flatten() for g in grads]).norm() for grads in found])


def only_the_first_row(losses, parts):
    table = torch.zeros(len(losses), len(parts))
    table[0] = pulls(losses, parts)[0]
    return table


def of_parameters(losses, parts):
    touched = pulls(losses, parts) > 0
    lengths = [torch.cat([x.detach().flatten() for x in part]).norm() for part in parts]
    return touched * torch.stack(lengths)


DETACHED_LOSS = (
    "A loss that is a number, or detached, has no gradient: no `.item()`, `.detach()` or "
    "`float(...)` before `torch.autograd.grad`."
)

PULLS = Exercise(
    reference=pulls,
    cases=pull_cases,
    returns=["the table"],
    use=of_three_tensors,
    right=[by_backward, pulling(lambda found: torch.cat([g.flatten() for g in found]).norm())],
    stops={
        "have been used in the graph": "Some losses do not touch a part: `allow_unused=True` gives "
        "None for it.",
        "does not require grad": DETACHED_LOSS,
        "second time": "The graph is freed after the first gradient: `retain_graph=True` keeps it.",
        "NoneType": "A tensor that a loss does not touch has None for its gradient. Count it as 0.",
    },
    mistakes=[
        (
            pulling(lambda found: sum(g.square().sum() for g in found)),
            "squares, and no root: the length is the square root of their sum.",
        ),
        (
            pulling(lambda found: sum(g.norm() for g in found)),
            "lengths of the tensors added up. Add their squares, and take one root.",
        ),
        (
            pulling(lambda found: sum(g.abs().sum() for g in found)),
            "absolute values added up; the length has squares and a root.",
        ),
        (
            pulling(lambda found: sum(g.sum() for g in found)),
            "numbers added up as they are: they cancel. Square them.",
        ),
        (
            pulling(lambda found: max(g.abs().max() for g in found)),
            "the largest number of the gradient; the length has squares and a root.",
        ),
        (
            pulling(lambda found: found[0].norm()),
            "the first tensor of each part alone; a part is a list of tensors.",
        ),
        (
            pulling(lambda found: sum(g.norm() for g in found) / len(found)),
            "a mean of the tensors' lengths. Add their squares, and take one root.",
        ),
        (
            pulling(lambda found: max(g.norm() for g in found)),
            "the longest tensor of each part alone. Add the squares of all, and take one root.",
        ),
        (
            pulling(lambda found: sum(g.square().mean() for g in found).sqrt()),
            "a mean of squares within each tensor; take their sum.",
        ),
        (
            only_the_first_row,
            "a `return` in the loop, after one loss.",
        ),
        (
            of_parameters,
            "the lengths of the tensors themselves. Take those of their gradients.",
        ),
        (
            pulling(table=lambda rows: rows / rows.sum(dim=1, keepdim=True)),
            "rows divided by their sums. The lengths stay as they are.",
        ),
        (
            pulling(of_loss=lambda losses, i: losses[i].detach()),
            DETACHED_LOSS,
        ),
        (
            last_overwrites,
            "`=` for `+=`: each tensor of a part overwrites the one before. Add up their squares.",
        ),
        (
            pulling(of_part=lambda part: part[-1:]),
            "the last tensor of each part alone; a part is a list of tensors.",
        ),
        (
            pulling(lambda found: torch.cat([g.flatten() for g in found]).square().mean().sqrt()),
            "a mean of squares; take their sum.",
        ),
        (pulling(table=lambda rows: rows.T), "the table turned over; one row for each loss."),
        (
            pulling(of_loss=lambda losses, i: sum(losses)),
            "the gradient of all losses together, in every row.",
        ),
        (
            pulling(of_loss=lambda losses, i: losses[0]),
            "the first loss in every row.",
        ),
        (
            backward_and_no_zero,
            "gradients of the losses before, which `backward()` adds up in `.grad`. Set it to None "
            "before each loss, or use `torch.autograd.grad`.",
        ),
        (
            pulling(table=lambda rows: rows > 0),
            "whether it moves. Return how strongly: the length.",
        ),
        (
            pulling(unused=False),
            "Some losses do not touch a part: `allow_unused=True` gives None for it.",
        ),
        (
            without_retaining,
            "The graph is freed after the first gradient: `retain_graph=True` keeps it.",
        ),
        (
            none_included,
            "A tensor that a loss does not touch has None for its gradient. Count it as 0.",
        ),
    ],
)


# Three colleagues' programs, each without one `detach()`, for the search after exercise 5.2


def losses_of(steps: Callable, first: Callable, subtract: Callable) -> Callable:
    """The four losses, and L_RQ-VAE of the last level alone, of a model.

    steps: z, quantised -> what the decoder is given. first: a residual and a code vector -> the
    term of L_RQ-VAE without mu. subtract: a residual and a code vector -> the next residual.
    """
    quantisation = level_loss(first=first)
    passes = passing(step=steps, subtract=subtract)

    def answer(model, s, h, groups, mu):
        made = passes(model.encoder, model.decoder, list(model.codebooks), s)
        four = joining(quantiser=quantisation)(_Made(made, model), s, h, groups, mu)
        last = quantisation(made[1][-1:], made[2][-1:], mu)
        return dict(zip([*LOSSES, "L_RQ-VAE, last level"], [*four, last], strict=True))

    return answer


class _Made:
    """A model that has run already."""

    def __init__(self, made: tuple, model: nn.Module):
        self.made, self.codebooks = made, list(model.codebooks)

    def __call__(self, s: Tensor) -> tuple:
        return self.made


def _whole_step(z: Tensor, quantised: Tensor) -> Tensor:
    return z + (quantised - z)


def _first(r: Tensor, v: Tensor) -> Tensor:
    return F.mse_loss(r.detach(), v)


def _without_vector(r: Tensor, v: Tensor) -> Tensor:
    return r - v.detach()


SUSPECTS = {
    "right": losses_of(straight_through, _first, _without_vector),
    "Ann": losses_of(straight_through, F.mse_loss, _without_vector),
    "Bob": losses_of(straight_through, _first, lambda r, v: r - v),
    "Cem": losses_of(_whole_step, _first, _without_vector),
}

# 5.3 The similarity experiment: codes int64 [n, L], cf_vectors [n, d] -> shares [L]


def whole(generator: Generator, shape: tuple[int, ...], size: int) -> np.ndarray:
    """Whole numbers below `size`."""
    return torch.randint(size, shape, generator=generator).numpy()


def similarity_cases(generator: Generator) -> list[Case]:
    """Two items in opposite directions, which are neighbours all the same; twins, either of which
    may be the first of its own list; then more, at random: (n, dim, levels, codes).
    """
    opposite = np.array([[3.0, 4.0], [-6.0, -8.0]])  # a cosine of -1: only -infinity is lower
    twins = np.array([[2.0, 0.0], [-1.0, 3.0], [2.0, 0.0], [-2.0, 5.0]])
    cases = [
        {"codes": np.array([[0, 1], [1, 1]]), "cf_vectors": opposite},
        {"codes": np.array([[0, 1], [2, 0], [1, 1], [2, 1]]), "cf_vectors": twins},
    ]
    for n, dim, levels, size in [(4, 2, 2, 2), (60, 3, 3, 3)]:
        directions = torch.randn(n, dim, generator=generator, dtype=torch.float64).numpy()
        lengths = 10 ** torch.rand(n, 1, generator=generator, dtype=torch.float64).numpy()
        vectors = np.round(directions * lengths, 3)
        cases.append({"codes": whole(generator, (n, levels), size), "cf_vectors": vectors})
    return cases


def cosines(vectors: np.ndarray) -> np.ndarray:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def similarity(codes: np.ndarray, cf_vectors: np.ndarray) -> np.ndarray:
    cosine = cosines(cf_vectors)
    np.fill_diagonal(cosine, -np.inf)
    neighbour = cosine.argmax(axis=1)
    return (codes == codes[neighbour]).mean(axis=0)


def similarity_with(
    table: Callable = cosines,
    itself: float | None = -np.inf,
    choose: Callable = lambda table: table.argmax(axis=1),
    share: Callable = lambda equal: equal.mean(axis=0),
) -> Callable:
    """The similarity experiment, one of whose steps may be replaced."""

    def answer(codes, cf_vectors):
        scores = table(cf_vectors)
        if itself is not None:
            np.fill_diagonal(scores, itself)
        return share(codes == codes[choose(scores)])

    return answer


def similarity_by_loop(codes, cf_vectors):
    counts = np.zeros(codes.shape[1])
    for i, vector in enumerate(cf_vectors):
        others = [j for j in range(len(codes)) if j != i]
        scores = [vector @ cf_vectors[j] / np.linalg.norm(cf_vectors[j]) for j in others]
        counts += codes[i] == codes[others[int(np.argmax(scores))]]
    return counts / len(codes)


def similarity_in_torch(codes, cf_vectors):
    unit = torch.nn.functional.normalize(torch.from_numpy(cf_vectors), dim=1)
    neighbour = (unit @ unit.T).fill_diagonal_(-2).argmax(1).numpy()
    return np.equal(codes, codes[neighbour]).astype(float).mean(0)


def first_that_is_another(codes, cf_vectors):
    order = np.argsort(-cosines(cf_vectors), axis=1).tolist()
    return (codes == codes[[[j for j in row if j != i][0] for i, row in enumerate(order)]]).mean(0)


def one_hot(codes: np.ndarray) -> np.ndarray:
    """Rows whose cosine is the share of levels on which two items have the same code."""
    sizes = codes.max(axis=0) + 1
    columns = [np.eye(n)[c] for n, c in zip(sizes, codes.T, strict=True)]
    return np.concatenate(columns, axis=1)


def with_neighbours(share):
    """share: (codes, the neighbour's number) -> the result."""

    def answer(codes, cf_vectors):
        cosine = cosines(cf_vectors)
        np.fill_diagonal(cosine, -np.inf)
        return share(codes, cosine.argmax(axis=1)).mean(axis=0)

    return answer


LONG_WIN = (
    "dot products of vectors as they are, or all divided by one number: long vectors win. Divide "
    "each row by its own length (`np.linalg.norm` without `axis=1` is one number for the table)."
)
BY_PLACE = (
    "all with cosine 1 are left out. Leave out the item by its place: two items may be equal, and "
    "rounding may put its own cosine a little below 1."
)
BY_COLUMN = "columns divided by their lengths. Every *row* is a vector: `axis=1`."
SHARE = " Take their mean."

SIMILARITY = Exercise(
    reference=similarity,
    cases=similarity_cases,
    returns=["the shares"],
    right=[similarity_by_loop, similarity_in_torch, first_that_is_another],
    mistakes=[
        (
            similarity_with(itself=None),
            "every item is its own nearest neighbour. Leave it out before looking for the best, "
            "which is `argmax`.",
        ),
        *(
            (similarity_with(itself=low), "a diagonal that is not low enough. Use `-np.inf`.")
            for low in (0, -1)  # a cosine may be as low as -1
        ),
        (
            similarity_with(itself=None, choose=lambda t: np.argsort(-t, axis=1)[:, 1]),
            "the second of the sorted list. With two equal items that may be the item itself: "
            "leave it out by its place, on the diagonal.",
        ),
        *(
            (similarity_with(lambda v, f=f: np.where(f(v), -2, cosines(v)), None), BY_PLACE)
            for f in (
                lambda v: np.isclose(cosines(v), 1),
                lambda v: cosines(v) >= 1,
                lambda v: cosines(v) == cosines(v).max(axis=1, keepdims=True),
            )
        ),
        (similarity_with(lambda v: v @ v.T), LONG_WIN),
        (similarity_with(lambda v: v @ v.T / np.linalg.norm(v) ** 2, itself=None), LONG_WIN),
        *(
            (
                similarity_with(lambda v, p=p: -np.linalg.norm(v[:, None] - v, ord=p, axis=2)),
                "distances. The experiment compares directions, by cosine.",
            )
            for p in (1, 2)
        ),
        *(
            (similarity_with(lambda v, p=p: v / np.linalg.norm(v, axis=0) ** p @ v.T), BY_COLUMN)
            for p in (1, 2)
        ),
        (
            similarity_with(lambda v: (v / np.linalg.norm(v, axis=1)) @ v.T),
            "`keepdims=True` is missing: the lengths have to stand in a column.",
        ),
        (similarity_with(lambda v: -cosines(v)), "the *lowest* cosine. Take the highest."),
        *(
            (similarity_with(table), "a mean taken away. Here the vectors stay as they are.")
            for table in (lambda v: cosines(v - v.mean(axis=0)), np.corrcoef)
        ),
        (
            similarity_with(lambda v: np.fill_diagonal(cosines(v), -np.inf), itself=None),
            "`np.fill_diagonal` changes the table it is given and returns None.",
        ),
        (
            similarity_with(choose=lambda t: t.max(axis=1).astype(int)),
            "the highest cosine itself, `max`. You need its place, `argmax`.",
        ),
        (
            with_neighbours(lambda codes, neighbour: codes == neighbour[:, None]),
            "codes compared with the neighbour's number. Its codes are `codes[neighbour]`.",
        ),
        (
            with_neighbours(lambda codes, neighbour: np.abs(codes - codes[neighbour])),
            "a difference of codes. They are names: equal or not.",
        ),
        (
            lambda codes, cf_vectors: similarity(codes, one_hot(codes)),
            "the item with the most codes in common. The neighbour is chosen by `cf_vectors`.",
        ),
        (
            with_neighbours(lambda codes, neighbour: codes == codes[neighbour, :1]),
            "every level is compared with the neighbour's first code.",
        ),
        (
            lambda codes, cf_vectors: (codes == np.roll(codes, 1, axis=0)).mean(axis=0),
            "each row compared with the row before it. The neighbour is the item with the highest "
            "cosine, wherever it stands.",
        ),
        (similarity_with(share=lambda e: 100 * e.mean(axis=0)), "per cent. Return shares of 1."),
        (
            similarity_with(share=lambda e: e.sum(axis=0) / (len(e) - 1)),
            "divided by the number of items less one. Every item has a neighbour, so all count.",
        ),
        (similarity_with(share=lambda e: 1 - e.mean(axis=0)), "the share of *different* codes."),
        (
            similarity_with(share=lambda e: e.mean(axis=1)),
            "a mean over levels, one number per item. Average over items: one number per level.",
        ),
        (
            similarity_with(share=lambda e: e.mean()),
            "a mean over items *and* levels. Keep the levels apart: `mean(axis=0)`.",
        ),
        (
            similarity_with(share=lambda e: e.all(axis=1).mean()),
            "whole identifiers compared. Each level counts by itself: one number per level.",
        ),
        (
            similarity_with(share=lambda e: e.mean(axis=0)[0]),
            "a `return` in the loop, after one level.",
        ),
        (similarity_with(share=lambda e: e.sum(axis=0)), "a sum." + SHARE),
        (
            similarity_with(share=lambda e: e.any(axis=0)),
            "`any` asks whether, not how often." + SHARE,
        ),
        (
            similarity_with(share=lambda e: e.all(axis=0)),
            "`all` asks whether, not how often." + SHARE,
        ),
        (similarity_with(share=lambda e: e), "true or false for each item and level." + SHARE),
        (
            similarity_with(share=lambda e: np.cumprod(e, axis=1).mean(axis=0)),
            "prefixes: this level *and all before it* agree. Here each level counts by itself.",
        ),
    ],
)

# 5.4 Repair: codes int64 [n, L], distances [n, n_codes] of the last level -> codes int64 [n, L]


def repair_cases(generator: Generator) -> list[Case]:
    """(items, codes of level 1, codes of the last level). Two films of one identifier, then three;
    the fourth case has more films than identifiers.
    """
    shapes = [(2, 1, 2), (3, 1, 3), (4, 2, 3), (4, 1, 2), (9, 2, 8), (60, 2, 40)]
    cases = []
    for n, first, size in shapes:
        order = torch.randperm(n * size, generator=generator)  # no two distances are equal
        distances = (order.reshape(n, size).double() / 10 + 0.1).numpy()
        start = torch.randint(first, (n,), generator=generator).numpy()
        favourites = distances[:, : max(2, size // 6)]
        last = favourites.argmin(axis=1) if n > 3 else np.ones(n, dtype=np.int64)
        if n > 4:  # some stand alone, on codes that others would like
            alone = torch.randint(size, (n // 2,), generator=generator).numpy()
            last[: n // 2] = alone
        cases.append({"codes": np.stack([start, last], axis=1), "distances": distances})
    return cases


def repairing(
    order: Callable = lambda own: np.argsort(own, kind="stable").tolist(),
    choose: Callable = lambda row, free: min(free, key=lambda k: row[k]),
    name: Callable = lambda first, k: (*first, k),
    taken_first: Callable = lambda codes: {tuple(row) for row in codes.tolist()},
    keeps: Callable = lambda identifier, kept, shared: identifier not in kept,
    note: bool = True,
    full: Callable = lambda own: own,
) -> Callable:
    """The repair, one of whose steps may be replaced."""

    def answer(codes, distances):
        codes, kept = codes.copy(), set()
        taken = taken_first(codes)
        count = {tuple(row): (codes == row).all(axis=1).sum() for row in codes}
        for i in order(distances[np.arange(len(codes)), codes[:, -1]]):
            first, own = tuple(codes[i, :-1].tolist()), int(codes[i, -1])
            if keeps((*first, own), kept, count[(*first, own)] > 1):
                kept.add((*first, own))
                continue
            free = [k for k in range(distances.shape[1]) if name(first, k) not in taken]
            codes[i, -1] = choose(distances[i], free) if free else full(own)
            if note:
                taken.add(name(first, int(codes[i, -1])))
        return codes

    return answer


def repair(codes: np.ndarray, distances: np.ndarray) -> np.ndarray:
    return repairing()(codes, distances)


def repair_by_sorting(codes, distances):
    codes = codes.copy()
    used, seen = set(map(tuple, codes.tolist())), set()
    for i in sorted(range(len(codes)), key=lambda i: distances[i, codes[i, -1]]):
        identifier = tuple(codes[i].tolist())
        if identifier not in seen:
            seen.add(identifier)
            continue
        for k in distances[i].argsort():
            candidate = (*identifier[:-1], int(k))
            if candidate not in used:
                used.add(candidate)
                codes[i, -1] = k
                break
    return codes


def as_it_goes(codes, distances):
    codes, given = codes.copy(), set()
    for i in np.argsort(distances[np.arange(len(codes)), codes[:, -1]], kind="stable"):
        *first, own = codes[i].tolist()
        places = [own, *distances[i].argsort().tolist()]
        codes[i, -1] = next((k for k in places if (*first, k) not in given), own)
        given.add((*first, int(codes[i, -1])))
    return codes


def all_that_keep(codes, distances):
    codes, taken = codes.copy(), set()
    own = distances[np.arange(len(codes)), codes[:, -1]]
    kept = set()
    for i in np.argsort(own, kind="stable"):
        *first, last = codes[i].tolist()
        if (*first, last) not in kept:
            kept.add((*first, last))
            taken.add((*first, last))
            continue
        free = (k for k in distances[i].argsort().tolist() if (*first, k) not in taken)
        codes[i, -1] = next(free, last)
        taken.add((*first, int(codes[i, -1])))
    return codes


def by_least_distance(codes, distances):
    order = np.argsort(distances.min(axis=1), kind="stable").tolist()
    return repairing(order=lambda own: order)(codes, distances)


def no_default(codes, distances):
    codes, kept = codes.copy(), set()
    taken = {tuple(row) for row in codes.tolist()}
    for i in np.argsort(distances[np.arange(len(codes)), codes[:, -1]], kind="stable"):
        identifier = tuple(codes[i].tolist())
        if identifier in kept:
            places = distances[i].argsort().tolist()
            k = next(k for k in places if (*identifier[:-1], k) not in taken)
            codes[i, -1] = k
            taken.add((*identifier[:-1], k))
        kept.add(identifier)
    return codes


def group_by_group(codes, distances):
    codes, taken = codes.copy(), {tuple(row) for row in codes.tolist()}
    own = distances[np.arange(len(codes)), codes[:, -1]]
    groups: dict[tuple, list[int]] = {}
    for i, row in enumerate(codes.tolist()):
        groups.setdefault(tuple(row), []).append(i)
    for identifier, group in groups.items():
        for i in sorted(group, key=lambda i: own[i])[1:]:
            places = distances[i].argsort().tolist()
            free = (k for k in places if (*identifier[:-1], k) not in taken)
            codes[i, -1] = next(free, identifier[-1])
            taken.add((*identifier[:-1], int(codes[i, -1])))
    return codes


def first_row_keeps(codes, distances):
    rows = list(map(tuple, codes.tolist()))
    own = distances[np.arange(len(codes)), codes[:, -1]]
    firsts = [i for i, row in enumerate(rows) if row not in rows[:i]]
    others = [i for i in range(len(rows)) if i not in firsts]
    order = [*firsts, *sorted(others, key=lambda i: own[i])]
    return repairing(order=lambda own: order)(codes, distances)


def first_column_changed(codes, distances):
    new = repair(codes, distances)
    moved = new[:, -1] != codes[:, -1]
    codes = codes.copy()
    codes[moved, 0] = new[moved, -1]
    return codes


def in_the_row_of_the_code(codes, distances):
    rows = distances[codes[:, -1] % len(codes)].copy()  # a row for each film, but not its own
    own = np.arange(len(codes)), codes[:, -1]
    order = np.argsort(distances[own], kind="stable").tolist()
    return repairing(order=lambda own: order)(codes, rows)


def by_all_distances(codes, distances):
    order = np.argsort(distances.sum(axis=1), kind="stable").tolist()
    return repairing(order=lambda own: order)(codes, distances)


def by_rank(row, free):
    return next(k for k in row.argsort().argsort().tolist() if k in free)


def next_number(codes, distances):
    size = distances.shape[1]
    far = [[(k - own) % size for k in range(size)] for own in codes[:, -1].tolist()]
    order = np.argsort(distances[np.arange(len(codes)), codes[:, -1]], kind="stable").tolist()
    return repairing(order=lambda own: order)(codes, np.array(far, dtype=float))


def second_nearest(codes, distances):
    codes, kept = codes.copy(), set()
    for i in np.argsort(distances[np.arange(len(codes)), codes[:, -1]], kind="stable"):
        identifier = tuple(codes[i].tolist())
        if identifier in kept:
            codes[i, -1] = distances[i].argsort()[1]
        kept.add(identifier)
    return codes


def last_codes(codes):
    return {(row[-1],) for row in codes.tolist()}


SO_FAR = (
    "only identifiers met so far count as taken. A film further down has one too: begin with all."
)

REPAIR = Exercise(
    reference=repair,
    cases=repair_cases,
    returns=["the codes"],
    right=[repair_by_sorting],
    stops={
        "StopIteration": "No code may be free: then the film keeps its own. `next(free, own)` has "
        "a default.",
        "empty": "No code may be free: then the film keeps its own.",
        "unhashable": "A row of an array cannot be in a set: make it a `tuple` of its `tolist()`.",
    },
    mistakes=[
        (
            repairing(order=lambda own: list(range(len(own)))),
            "films in the order of their numbers. The one nearest to its code comes first.",
        ),
        (
            repairing(order=lambda own: np.argsort(-own, kind="stable").tolist()),
            "the farthest film first. The one nearest to its code comes first, and keeps it.",
        ),
        (
            repairing(keeps=lambda identifier, kept, shared: not shared),
            "all films that share are moved. The nearest of them keeps its code.",
        ),
        (
            repairing(keeps=lambda identifier, kept, shared: False),
            "every film is moved. Those that share with none keep theirs, and so does the nearest "
            "of those that share.",
        ),
        (
            repairing(
                keeps=lambda identifier, kept, shared: False,
                order=lambda own: list(range(len(own))),
            ),
            "every film is moved. Those that share with none keep theirs, and so does the nearest "
            "of those that share.",
        ),
        (
            by_least_distance,
            "films in the order of the least distance to any code. What counts is the distance to "
            "the code that the film has.",
        ),
        (
            as_it_goes,
            SO_FAR,
        ),
        (
            all_that_keep,
            SO_FAR,
        ),
        (
            repairing(choose=lambda row, free: free[0]),
            "the free code with the lowest number. Take the nearest.",
        ),
        (
            repairing(choose=lambda row, free: max(free, key=lambda k: row[k])),
            "the farthest of the free codes. Take the nearest.",
        ),
        (
            repairing(note=False),
            "new identifiers are not noted as taken, so that two films get the same.",
        ),
        (
            repairing(taken_first=lambda codes: set()),
            SO_FAR,
        ),
        (
            repairing(name=lambda first, k: (k,), taken_first=last_codes),
            "a last code counts as taken wherever it stands. It is free if no film has it *after "
            "the same first codes*.",
        ),
        (
            repairing(taken_first=lambda codes: set(), note=False),
            "nothing is ever taken. A code is free if no film has it after the same first codes.",
        ),
        (
            repairing(full=lambda own: -1),
            "-1 if no code is free. The film keeps its own then.",
        ),
        (
            lambda codes, distances: codes.copy(),
            "nothing has changed: is the new code written into the table that is returned?",
        ),
        (
            lambda codes, distances: repair(codes, distances)[:, -1],
            "the last codes alone. Return the whole table.",
        ),
        (
            lambda codes, distances: np.column_stack([codes[:, :-1], distances.argmin(axis=1)]),
            "every film gets its nearest code, free or not.",
        ),
        (
            group_by_group,
            "one group of sharers after the other. All films are in one order, by the distance to "
            "their own code: a nearer film of another group chooses first.",
        ),
        (
            first_column_changed,
            "the new code is written into the first column. It belongs in the last one.",
        ),
        (
            in_the_row_of_the_code,
            "the distances of row `code`. Those of film i are in row i.",
        ),
        (
            by_all_distances,
            "films in the order of all their distances. What counts is the distance to the code "
            "that the film has.",
        ),
        (
            first_row_keeps,
            "the first row of each identifier keeps it. The film nearest to the code keeps it.",
        ),
        (
            repairing(choose=by_rank),
            "`argsort` twice gives the place of each code, not the codes in order. Use it once.",
        ),
        (
            next_number,
            "the next free number. Numbers of codes have no order; take the nearest code.",
        ),
        (
            second_nearest,
            "the second nearest code, taken or not. Go on to the first that is free.",
        ),
        (
            no_default,
            "No code may be free: then the film keeps its own. `next(free, own)` has a default.",
        ),
    ],
)

EXERCISES = {
    "5.1": JOINT_LOSSES,
    "5.2": PULLS,
    "5.3": SIMILARITY,
    "5.4": REPAIR,
}
