"""The exercises of lesson 09: the BPR loss, BERT4Rec's masking, BIGRec's grounding, a paired
comparison.

Histories are short and long, so that filling shows; coordinates are whole numbers where a tie
matters. The first and the last are in `bpr_09` and `paired_09`.
"""

from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from letterlib.course.bpr_09 import bpr, bpr_cases
from letterlib.course.checks import Case, Exercise, Incorrect, call, compare
from letterlib.course.paired_09 import paired, paired_cases
from letterlib.course.returned import several

IGNORED = -100


def masking_cases(generator: Generator) -> list[Case]:
    """One film, never masked by chance; a short history; then many of all lengths, some left alone
    by chance.

    float32 holds the shares exactly, so that a draw equals them also where it was made a Python
    number.
    """
    one = {
        "histories": torch.tensor([[3]]),
        "draws": torch.tensor([[0.9]]),
        "share": 0.25,
        "mask": 10,
    }
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
        (
            torch.where(hidden, histories, mask),
            "the mask item where nothing is masked, and films where it should be.",
        ),
        (torch.where(hidden, -1, histories), "the filling (-1) in the place of the mask item."),
        (
            torch.where(hidden, IGNORED, histories),
            "-100 in the inputs; there the id of the mask item stands.",
        ),
        (
            torch.where(hidden | ~real, mask, histories),
            "the filling became the mask item too. It stays -1.",
        ),
        (hidden, "true and false; return the films, with the mask item at these places."),
    ]
    compare("inputs", returned[0], inputs, case, causes)
    causes = [
        (
            histories,
            "labels everywhere: the network would be asked for films that it can read. -100 where nothing is "
            "masked.",
        ),
        (
            torch.where(real, histories, IGNORED),
            "labels for every film. Only where it is masked; else -100.",
        ),
        (
            torch.where(hidden, IGNORED, histories),
            "labels where nothing is masked, and none where something is.",
        ),
        (
            torch.where(hidden, histories, -1),
            "-1 where nothing is masked. `F.cross_entropy` leaves out -100.",
        ),
        (
            torch.where(hidden, histories, 0),
            "0 where nothing is masked: that is film 0. -100 is left out of the loss.",
        ),
        (
            torch.where(hidden, mask, IGNORED),
            "the mask item as the label; the label is the film that stood there.",
        ),
        (inputs, "the inputs once more."),
        (
            histories[hidden],
            "the masked films alone. Labels have the shape of `histories`: `torch.where(hidden, ..., "
            "-100)`.",
        ),
        (torch.where(real, labels, -1), "-1 at the filling. `F.cross_entropy` leaves out -100."),
        *((torch.where(one, histories, IGNORED), text) for one, text in wrong),
    ]
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
        (
            low & real,
            "a history of which chance masks nothing teaches nothing. Mask its last film. "
            "`hidden[rows][:, -1] = True` changes a copy: write `hidden[rows, -1] = True`, with `any(dim=1)`.",
        ),
        (_kept_busy(low), "the filling is masked too. Only where `histories != -1`."),
        (_kept_busy(low & (histories > 0)), "film 0 taken for filling. Filling is -1."),
        (low, "the filling is masked, and a history without a mask is left as it is."),
        (
            _kept_busy(low) & real,
            "the check for rows without a mask came before the filling was taken out: "
            "a row whose only mask was on filling has none.",
        ),
        (always, "the last film is masked in every row. Only where chance masked none."),
        (first, "the *first* film of an unmasked history; its last one is asked for."),
        (
            in_front,
            "the *first* place of an unmasked history, which may be filling; its last film is asked for.",
        ),
        (
            low & real | empty[:, None],
            "the whole row is masked where chance masked none, filling and all. Only its "
            "last film.",
        ),
        *(
            (
                _kept_busy(high & real),
                "the comparison the other way round: masked is where `draws < share`.",
            )
            for high in (draws >= share, draws > share)
        ),
        (_kept_busy((draws <= share) & real), "`<=`: a draw equal to the share does not mask."),
        (
            low & real | real & empty[:, None],
            "the whole history is masked where chance masked none. Only its last film.",
        ),
        (real, "every film is masked."),
    ]


def _kept_busy(hidden: Tensor) -> Tensor:
    hidden = hidden.clone()
    hidden[~hidden.any(dim=1), -1] = True
    return hidden


def grounding_cases(generator: Generator) -> list[Case]:
    """Two items at equal distance, on either side; then items of very different lengths, some of
    them doubles.
    """
    cases = [
        {
            "written": torch.tensor([[0.0]]),
            "catalogue": torch.tensor([[two], [-two], [1.0]]),
            "k": 3,
        }
        for two in (2.0, -2.0)
    ]
    for n, items, dim, k in ((2, 5, 2, 2), (6, 60, 3, 7)):
        catalogue = torch.randint(-9, 10, (items, dim), generator=generator).float()
        catalogue[items // 2 :] = catalogue[: items - items // 2].flip(0)
        written = torch.randint(-4, 5, (n, dim), generator=generator).float()
        written[0] = catalogue[1]
        cases.append({"written": written, "catalogue": catalogue, "k": k})
    return cases


def grounding(answer: Any, case: Case) -> None:
    """9.3: written [n, d], catalogue [n_items, d], k -> the k nearest, int64 [n, k], ties by lower
    id.
    """
    written, catalogue, k = case.values()
    difference = written[:, None] - catalogue
    distance = difference.square().sum(dim=2).sqrt()
    order = distance.sort(dim=1, stable=True).indices

    def best(score: Tensor) -> Tensor:
        return score.sort(dim=1, stable=True).indices[:, :k]

    n_items = len(catalogue)
    unit = F.normalize(catalogue, dim=1)
    scores = [
        (
            -distance,
            "the farthest films. Sort upwards: the least distance comes first (`topk` with `largest=False`).",
        ),
        (-(written @ catalogue.T), "dot products: long vectors win. Grounding goes by distance."),
        (written @ catalogue.T, "dot products, the least first. Grounding goes by distance."),
        (
            -(F.normalize(written, dim=1) @ unit.T),
            "cosines. Grounding goes by the distance, lengths included.",
        ),
        (
            difference.abs().sum(dim=2),
            "absolute differences added up (L1). Euclidean distance squares them.",
        ),
        (
            difference.abs().amax(dim=2),
            "the largest difference of a coordinate. Add up the squares.",
        ),
        (
            difference.sum(dim=2),
            "differences added up without their squares: those of two coordinates can cancel.",
        ),
        (
            difference.sum(dim=2).square(),
            "the square of the sum. Square each coordinate first, then add up.",
        ),
    ]
    causes = [
        (n_items - 1 - best(distance.flip(1)), "ties broken by the *higher* id."),
        *((best(score), text) for score, text in scores),
        (
            order[:, 1 : k + 1],
            "the nearest film is left out. Here it counts: nothing written is an item already.",
        ),
        *(
            (sign * one, "the distances themselves; `.indices` of the sort are the films.")
            for sign in (1, -1)
            for each in (distance, distance.square())
            for one in (each, each.sort(dim=1).values, each.sort(dim=1).values[:, :k])
        ),
        (catalogue[order[:, :k]], "the films' vectors; return their numbers."),
        (order, "the whole catalogue, sorted; keep the first `k`."),
        (best(distance).T, "rows and columns exchanged. Each written vector has a row."),
        (
            best(distance).sort(dim=1).values,
            "the right films, sorted by id. The nearest comes first.",
        ),
    ]
    returned = call(answer, case)
    if (
        isinstance(returned, Tensor)
        and returned.shape == (len(written), k)
        and returned.dtype == torch.int64
    ):
        _look_at_ties(returned, difference, order[:, :k], case)
        causes += [
            (returned, text) for score, text in scores if _sorted_by(returned, score)
        ]  # ties in any order
    elif _is_order_by_coordinate(returned, difference):
        causes.append((returned, "the squares are not added up: `.sum(dim=-1)`."))
    compare("the nearest", returned, order[:, :k], case, causes)


def _is_order_by_coordinate(returned: Any, difference: Tensor) -> bool:
    """Whether these are whole numbers with a dimension too many, which is that of the coordinates
    [n, n_items, d].
    """
    whole = isinstance(returned, Tensor) and not returned.is_floating_point() and returned.ndim == 3
    return whole and returned.shape[::2] == difference.shape[::2]


def _sorted_by(returned: Tensor, score: Tensor) -> bool:
    """Whether these are the places of the least scores, upwards, whatever became of ties."""
    n_items, k = score.shape[1], returned.shape[1]
    if not ((returned >= 0) & (returned < n_items)).all():
        return False
    return torch.allclose(score.gather(1, returned), score.sort(dim=1).values[:, :k])


def _look_at_ties(returned: Tensor, difference: Tensor, expected: Tensor, case: Case) -> None:
    """Right distances in every place, other films: ties were left to chance, or went to the higher
    id.
    """
    distance = difference.square().sum(dim=2).sqrt()
    inside = ((returned >= 0) & (returned < distance.shape[1])).all()
    if not inside or torch.equal(returned, expected):
        return
    if torch.equal(distance.gather(1, returned), distance.gather(1, expected)):
        cause = (
            "ties: of films at equal distances, the lower id comes first. `topk` and plain `sort` leave it to "
            "chance; `sort(stable=True)` does not, and `flip` turns ties round."
        )
        shifted = [
            F.pairwise_distance(one, torch.zeros_like(one)) for one in (difference, -difference)
        ]
        if any(
            torch.equal(returned, one.sort(dim=1, stable=True).indices[:, : returned.shape[1]])
            for one in shifted
        ):
            cause = "`F.pairwise_distance`. It adds 1e-6 to every difference, and equal distances come out different."
        wrong = {"expected": expected, "actual": returned}
        raise Incorrect(
            "The distances are right, and the films are not.", case, cause=cause, **wrong
        )


EXERCISES = {
    "9.1": Exercise(bpr_cases, bpr),
    "9.2": Exercise(masking_cases, masking),
    "9.3": Exercise(grounding_cases, grounding),
    "9.4": Exercise(paired_cases, paired),
}
