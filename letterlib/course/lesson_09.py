"""The exercises of lesson 09: the BPR loss, BERT4Rec's masking, BIGRec's grounding, a paired comparison.

Leads are large in both directions, so that a logarithm of 0 shows; histories are short and long, so that filling
shows; coordinates are whole numbers where a tie matters. The paired comparison is in `paired_09`.
"""

from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from letterlib.collaborative.pairwise import bpr_loss
from letterlib.course.checks import Case, Exercise, Incorrect, call, compare
from letterlib.course.paired_09 import paired, paired_cases
from letterlib.course.returned import gradients, several

IGNORED = -100
SMALL = (1e-20, 1e-15, 1e-12, 1e-10, 1e-9, 1e-8, torch.finfo(torch.float32).eps, 1e-7, 1e-6, 1e-5)
"""What people add so that a logarithm has something to stand on."""


def bpr_cases(generator: Generator) -> list[Case]:
    """One pair of numbers; a few vectors; leads so large that a sigmoid rounds to 0; many."""
    cases = [_triple(generator, n, d, 1.0) for n, d in ((1, 1), (3, 2))]
    far = [("user", [[20.0], [1.0]]), ("liked", [[-8.0], [0.5]]), ("other", [[3.0], [0.1]])]
    far = {name: torch.tensor(values) for name, values in far}
    return [*cases, far, _triple(generator, 40, 6, 2.0)]


def _triple(generator: Generator, n: int, d: int, size: float) -> Case:
    """No lead is 0, where the two parts of the usual stable form have a corner each."""
    while True:
        user, liked, other = torch.round(size * torch.randn(3, n, d, generator=generator), decimals=1) + 0.05
        if ((user * (liked - other)).sum(dim=1).abs() > 0.01).all():
            return {"user": user, "liked": liked, "other": other}


def bpr(answer: Any, case: Case) -> None:
    """9.1: user, liked, other [n, d] -> mean of -log sigmoid(user . liked - user . other), a scalar."""
    user, liked, other = case.values()
    given = {name: value.clone().requires_grad_() for name, value in case.items()}
    returned = call(answer, given)
    lead = (user * (liked - other)).sum(dim=1)
    each = F.softplus(-lead)
    if isinstance(returned, Tensor) and not torch.isfinite(returned).all():
        cause = "the logarithm of a sigmoid that was rounded to 0, or an `exp` too large for float32. `F.logsigmoid` " \
                "has neither."  # fmt: skip
        raise Incorrect("The loss is not finite.", case, expected=each.mean(), actual=returned, cause=cause)
    causes = [
        (each.mean(), "`.double()` or `.half()` on the way. The loss has the dtype of the vectors."),
        (each.sum(), "a sum; the loss is the mean over rows."),
        (F.softplus(lead).mean(), "the difference the other way round: the user's own film should score *higher*."),
        (-each.mean(), "the sign: the logarithm of a probability is negative, the loss is minus it."),
        (each, "one loss per row; take the mean."),
        (-torch.sigmoid(lead).mean(), "minus the probability; the loss is minus its *logarithm*."),
        ((1 - torch.sigmoid(lead)).mean(), "one minus the probability; the loss is minus its *logarithm*."),
        (F.softplus(-lead.mean()), "the mean of the leads, and then one loss. Take the loss of each row first."),
        (-lead.mean(), "the lead without sigmoid and logarithm. It would fall without end."),
        (F.relu(-lead).mean(), "a hinge (`relu`) in the place of -log sigmoid."),
        (F.softplus(-(user * (liked - other))).mean(), "the sigmoid of every coordinate. Add the products up over "
         "the last dimension first: a score is one number."),
        ((F.softplus(-(user * liked).sum(1)) + F.softplus((user * other).sum(1))).mean(), "two losses, one for each "
         "film: that is binary cross-entropy. BPR looks at the difference of the scores."),
        (F.softplus(-(user * liked).sum(1)).mean(), "the other film is left out."),
        (F.softplus(-(user @ liked.T - user @ other.T)).mean(), "every user with every film (`@`). Row n belongs to "
         "row n: multiply elementwise and add up."),
        (F.softplus(-(user * (liked - other)).mean(1)).mean(), "the mean of the products. A dot product is their sum."),
        *((-(torch.sigmoid(lead) + small).log().mean(), "a small number inside the logarithm. It hides the infinity "
           "and cuts large leads off. `F.logsigmoid` needs none.") for small in SMALL),
        *((-torch.sigmoid(lead).clamp(min=small).log().mean(), "a small number inside the logarithm, or a `clamp`. It "
           "cuts large leads off. `F.logsigmoid` needs none.") for small in SMALL),
    ]  # fmt: skip
    compare("the loss", returned, bpr_loss(user, liked, other), case, causes)
    if not returned.requires_grad:
        cause = "`detach()`, `.item()` or a new tensor on the way."
        raise Incorrect("The loss has no gradient, so nothing can be learned from it.", case, cause=cause)
    again = [value.clone().requires_grad_() for value in case.values()]
    found = gradients(returned, list(given.values()), case)
    for name, mine, wanted in zip(case, found, torch.autograd.grad(bpr_loss(*again), again), strict=True):
        if not torch.allclose(mine, wanted, rtol=1e-4, atol=1e-6):
            cause = "a `detach()` on one side, or a small number inside the logarithm."
            what = f"The value is right, and the gradient of `{name}` is not."
            raise Incorrect(what, case, expected=wanted, actual=mine, cause=cause)


def masking_cases(generator: Generator) -> list[Case]:
    """One film, never masked by chance; a short history; then many of all lengths, some left alone by chance.

    float32 holds the shares exactly, so that a draw equals them also where it was made a Python number.
    """
    one = {"histories": torch.tensor([[3]]), "draws": torch.tensor([[0.9]]), "share": 0.25, "mask": 10}
    cases = [one]
    for n, length, share in ((3, 4, 0.5), (60, 8, 0.25)):
        histories = torch.randint(50, (n, length), generator=generator)
        histories[0, 0] = 0  # film 0 is a film, and masked by its draw
        sizes = torch.randint(1, length + 1, (n,), generator=generator)
        sizes[0] = sizes[-1] = length
        sizes[1] = 1 if n > 1 else length
        histories[torch.arange(length) < length - sizes[:, None]] = -1
        draws = 0.001 + 0.998 * torch.rand(n, length, generator=generator)
        draws[:2] = torch.linspace(0.01, 0.99, length)
        draws[-1] = share + (1 - share) * draws[-1]
        draws[-1, -2] = share  # masked is what is *below* the share
        cases.append({"histories": histories, "draws": draws, "share": share, "mask": 50})
    return cases


def masking(answer: Any, case: Case) -> None:
    """9.2: histories, draws [n, length], share, mask -> inputs and labels, int64 [n, length]."""
    histories, draws, share, mask = case.values()
    real = histories != -1
    hidden = _kept_busy((draws < share) & real)
    returned = several(call(answer, case), ["inputs", "labels"], case)
    wrong = _wrongly_hidden(histories, draws, share)
    inputs, labels = torch.where(hidden, mask, histories), torch.where(hidden, histories, IGNORED)
    causes = [(torch.where(one, mask, histories), text) for one, text in wrong]
    causes += [
        (labels, "inputs and labels in the other order."),
        (torch.where(hidden, histories, mask), "the mask item where nothing is masked, and films where it should be."),
        (torch.where(hidden, -1, histories), "the filling (-1) in the place of the mask item."),
        (torch.where(hidden, IGNORED, histories), "-100 in the inputs; there the id of the mask item stands."),
        (torch.where(hidden | ~real, mask, histories), "the filling became the mask item too. It stays -1."),
        (hidden, "true and false; return the films, with the mask item at these places."),
    ]
    compare("inputs", returned[0], inputs, case, causes)
    causes = [
        (histories, "labels everywhere: the network would be asked for films that it can read. -100 where nothing is "
         "masked."),
        (torch.where(real, histories, IGNORED), "labels for every film. Only where it is masked; else -100."),
        (torch.where(hidden, IGNORED, histories), "labels where nothing is masked, and none where something is."),
        (torch.where(hidden, histories, -1), "-1 where nothing is masked. `F.cross_entropy` leaves out -100."),
        (torch.where(hidden, histories, 0), "0 where nothing is masked: that is film 0. -100 is left out of the loss."),
        (torch.where(hidden, mask, IGNORED), "the mask item as the label; the label is the film that stood there."),
        (inputs, "the inputs once more."),
        (histories[hidden], "the masked films alone. Labels have the shape of `histories`: `torch.where(hidden, ..., "
         "-100)`."),
        (torch.where(real, labels, -1), "-1 at the filling. `F.cross_entropy` leaves out -100."),
        *((torch.where(one, histories, IGNORED), text) for one, text in wrong),
    ]  # fmt: skip
    compare("labels", returned[1], labels, case, causes)


def _wrongly_hidden(histories: Tensor, draws: Tensor, share: float) -> list[tuple[Tensor, str]]:
    """What else may be masked, bool [n, length], and by what mistake."""
    real, low = histories != -1, draws < share
    first, empty = low & real, ~(low & real).any(dim=1)
    first[torch.nonzero(empty)[:, 0], real.int().argmax(dim=1)[empty]] = True
    always = low & real
    always[:, -1] = True
    in_front = low & real
    in_front[empty, 0] = True
    return [
        (low & real, "a history of which chance masks nothing teaches nothing. Mask its last film."),
        (_kept_busy(low), "the filling is masked too. Only where `histories != -1`."),
        (_kept_busy(low & (histories > 0)), "film 0 taken for filling. Filling is -1."),
        (low, "the filling is masked, and a history without a mask is left as it is."),
        (_kept_busy(low) & real, "the check for rows without a mask came before the filling was taken out: "
         "a row whose only mask was on filling has none."),
        (always, "the last film is masked in every row. Only where chance masked none."),
        (first, "the *first* film of an unmasked history; its last one is asked for."),
        (in_front, "the *first* place of an unmasked history, which may be filling; its last film is asked for."),
        (low & real | empty[:, None], "the whole row is masked where chance masked none, filling and all. Only its "
         "last film."),
        *((_kept_busy(high & real), "the comparison the other way round: masked is where `draws < share`.")
          for high in (draws >= share, draws > share)),
        (_kept_busy((draws <= share) & real), "`<=`: a draw equal to the share does not mask."),
        (low & real | real & empty[:, None], "the whole history is masked where chance masked none. Only its last "
         "film."),
        (real, "every film is masked."),
    ]  # fmt: skip


def _kept_busy(hidden: Tensor) -> Tensor:
    hidden = hidden.clone()
    hidden[~hidden.any(dim=1), -1] = True
    return hidden


def grounding_cases(generator: Generator) -> list[Case]:
    """Two items at equal distance; then items of very different lengths, some of them doubles."""
    cases = [{"written": torch.tensor([[0.0]]), "catalogue": torch.tensor([[2.0], [-2.0], [1.0]]), "k": 3}]
    for n, items, dim, k in ((2, 5, 2, 2), (6, 60, 3, 7)):
        catalogue = torch.randint(-9, 10, (items, dim), generator=generator).float()
        catalogue[items // 2 :] = catalogue[: items - items // 2].flip(0)
        written = torch.randint(-4, 5, (n, dim), generator=generator).float()
        written[0] = catalogue[1]
        cases.append({"written": written, "catalogue": catalogue, "k": k})
    return cases


def grounding(answer: Any, case: Case) -> None:
    """9.3: written [n, d], catalogue [n_items, d], k -> the k nearest, int64 [n, k], ties by lower id."""
    written, catalogue, k = case.values()
    difference = written[:, None] - catalogue
    distance = difference.square().sum(dim=2).sqrt()
    order = distance.sort(dim=1, stable=True).indices

    def best(score: Tensor) -> Tensor:
        return score.sort(dim=1, stable=True).indices[:, :k]

    n_items = len(catalogue)
    unit = F.normalize(catalogue, dim=1)
    scores = [
        (-distance, "the farthest films. Sort upwards: the least distance comes first (`topk` with `largest=False`)."),
        (-(written @ catalogue.T), "dot products: long vectors win. Grounding goes by distance."),
        (written @ catalogue.T, "dot products, the least first. Grounding goes by distance."),
        (-(F.normalize(written, dim=1) @ unit.T), "cosines. Grounding goes by the distance, lengths included."),
        (difference.abs().sum(dim=2), "absolute differences added up (L1). Euclidean distance squares them."),
        (difference.abs().amax(dim=2), "the largest difference of a coordinate. Add up the squares."),
        (difference.sum(dim=2), "differences added up without their squares: those of two coordinates can cancel."),
        (difference.sum(dim=2).square(), "the square of the sum. Square each coordinate first, then add up."),
    ]
    causes = [
        (n_items - 1 - best(distance.flip(1)), "ties broken by the *higher* id."),
        *((best(score), text) for score, text in scores),
        (order[:, 1 : k + 1], "the nearest film is left out. Here it counts: nothing written is an item already."),
        (distance.sort(dim=1).values[:, :k], "distances; return which films are nearest."),
        (order, "the whole catalogue, sorted; keep the first `k`."),
        (best(distance).T, "rows and columns exchanged. Each written vector has a row."),
        (best(distance).sort(dim=1).values, "the right films, sorted by id. The nearest comes first."),
    ]  # fmt: skip
    returned = call(answer, case)
    if isinstance(returned, Tensor) and returned.shape == (len(written), k) and returned.dtype == torch.int64:
        _look_at_ties(returned, distance, order[:, :k], case)
        causes += [(returned, text) for score, text in scores if _sorted_by(returned, score)]  # ties in any order
    compare("the nearest", returned, order[:, :k], case, causes)


def _sorted_by(returned: Tensor, score: Tensor) -> bool:
    """Whether these are the places of the least scores, upwards, whatever became of ties."""
    n_items, k = score.shape[1], returned.shape[1]
    if not ((returned >= 0) & (returned < n_items)).all():
        return False
    return torch.allclose(score.gather(1, returned), score.sort(dim=1).values[:, :k])


def _look_at_ties(returned: Tensor, distance: Tensor, expected: Tensor, case: Case) -> None:
    """Right distances in every place, other films: ties were left to chance, or went to the higher id."""
    inside = ((returned >= 0) & (returned < distance.shape[1])).all()
    if not inside or torch.equal(returned, expected):
        return
    if torch.equal(distance.gather(1, returned), distance.gather(1, expected)):
        cause = "ties: of films at equal distances, the lower id comes first. `topk` and plain `sort` leave it to " \
                "chance; `sort(stable=True)` does not, and `flip` turns ties round."  # fmt: skip
        wrong = {"expected": expected, "actual": returned}
        raise Incorrect("The distances are right, and the films are not.", case, cause=cause, **wrong)


EXERCISES = {
    "9.1": Exercise(bpr_cases, bpr),
    "9.2": Exercise(masking_cases, masking),
    "9.3": Exercise(grounding_cases, grounding),
    "9.4": Exercise(paired_cases, paired),
}
