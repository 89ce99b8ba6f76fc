"""Lesson 09: the BPR loss, BERT4Rec's masking, BIGRec's grounding, a paired comparison."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from letterlib.baselines import neural
from letterlib.course.comparing import Case
from letterlib.course.exercise import Exercise

# 9.1 The BPR loss: user, liked, other [n, d] -> the mean of -log sigmoid(user . liked - user .
# other). A film's last number is b, and a user's is 1.

SMALL = (1e-20, 1e-15, 1e-12, 1e-10, 1e-9, 1e-8, torch.finfo(torch.float32).eps, 1e-7, 1e-6, 1e-5)
"""What people add so that they take no logarithm of 0."""
BOUNDS = (10, 15, 20, 30, 50, 80, 88)
"""Where people cut a lead off so that its exponential is not infinite."""


def bpr_cases(generator: Generator) -> list[Case]:
    """One row; a few; many; leads so large that a sigmoid rounds to 0."""
    far = [
        torch.tensor([[20.0, 1.0], [1.0, 1.0]]),
        torch.tensor([[-8.0, 0.2], [0.5, 0.3]]),
        torch.tensor([[3.0, 0.5], [0.1, 0.1]]),
    ]
    cases = []
    for tensors in [*(triple(generator, *shape) for shape in ((1, 2), (3, 2), (40, 6))), far]:
        user, liked, other = (x.clone().requires_grad_() for x in tensors)
        user.register_hook(without_last_column)
        cases.append({"user": user, "liked": liked, "other": other})
    return cases


def triple(generator: Generator, n: int, d: int) -> list[Tensor]:
    """No lead is 0, where the usual stable form has a corner."""
    while True:
        user, liked, other = tensors = torch.round(
            torch.randn(3, n, d, generator=generator), decimals=1
        )
        user[:, -1] = 1
        if ((user * (liked - other)).sum(dim=1).abs() > 0.01).all():
            return list(tensors)


def without_last_column(gradient: Tensor) -> Tensor:
    """The gradient without that of the user's 1: a right answer may add b by itself."""
    return torch.cat([gradient[:, :-1], torch.zeros(len(gradient), 1)], dim=1)


def bpr(user: Tensor, liked: Tensor, other: Tensor) -> Tensor:
    lead = (user * liked).sum(dim=1) - (user * other).sum(dim=1)
    return -F.logsigmoid(lead).mean()


def of_lead(loss: Callable) -> Callable:
    return lambda user, liked, other: loss((user * (liked - other)).sum(1))


def bpr_by_loop(user, liked, other):
    total = 0
    for u, i, j in zip(user, liked, other):
        total = total - F.logsigmoid(u @ i - u @ j)
    return total / len(user)


def b_by_itself(user, liked, other):
    ahead = liked - other
    return -F.logsigmoid((user[:, :-1] * ahead[:, :-1]).sum(1) + ahead[:, -1]).mean()


CUT = "It cuts large leads off. `F.logsigmoid` needs none."

BPR = Exercise(
    reference=bpr,
    library=neural.bpr_loss,
    cases=bpr_cases,
    returns=["the loss"],
    right=[
        bpr_by_loop,
        b_by_itself,
        of_lead(lambda lead: F.softplus(-lead).mean()),
        of_lead(lambda lead: -lead.double().sigmoid().log().mean()),
        of_lead(lambda lead: (F.relu(-lead) + torch.log1p(torch.exp(-lead.abs()))).mean()),
    ],
    mistakes=[
        *(
            (
                of_lead(loss),
                "the logarithm of a sigmoid that was rounded to 0, or an `exp` too large for "
                "float32. `F.logsigmoid` has neither.",
            )
            for loss in (
                lambda lead: -torch.sigmoid(lead).log().mean(),
                lambda lead: torch.log(1 + torch.exp(-lead)).mean(),
            )
        ),
        (of_lead(lambda lead: F.softplus(-lead).sum()), "a sum; the loss is the mean over rows."),
        (
            of_lead(lambda lead: F.softplus(lead).mean()),
            "the difference the other way round: the user's own film should score *higher*.",
        ),
        (
            of_lead(lambda lead: F.logsigmoid(lead).mean()),
            "the sign: the logarithm of a probability is negative, the loss is minus it.",
        ),
        *(
            (of_lead(loss), "one loss per row; take the mean.")
            for loss in (
                lambda lead: F.softplus(-lead),
                lambda lead: F.softplus(-lead) / len(lead),
            )
        ),
        (
            of_lead(lambda lead: -torch.sigmoid(lead).mean()),
            "minus the probability; the loss is minus its *logarithm*.",
        ),
        (
            of_lead(lambda lead: (1 - torch.sigmoid(lead)).mean()),
            "one minus the probability; the loss is minus its *logarithm*.",
        ),
        (
            of_lead(lambda lead: F.softplus(-lead.mean())),
            "the mean of the leads, and then one loss. Take the loss of each row first.",
        ),
        (
            of_lead(lambda lead: -torch.sigmoid(lead).mean().log()),
            "the logarithm of the mean. Take the logarithm of each row first.",
        ),
        (
            of_lead(lambda lead: -torch.log2(torch.sigmoid(lead)).mean()),
            "`log2`; the loss has the natural logarithm.",
        ),
        (
            of_lead(lambda lead: -lead.mean()),
            "the lead without sigmoid and logarithm. It would fall without end.",
        ),
        *(
            (
                of_lead(lambda lead, margin=margin: F.relu(margin - lead).mean()),
                "a hinge (`relu`) in place of -log sigmoid.",
            )
            for margin in (0, 1)
        ),
        (
            lambda user, liked, other: bpr(user[:, :-1], liked[:, :-1], other[:, :-1]),
            "b is left out. It is the last number of a film, and the user's is a 1.",
        ),
        (
            lambda user, liked, other: F.softplus(
                -(user * (liked - other)).sum(1) - (liked - other)[:, -1]
            ).mean(),
            "b is added twice: the user's 1 at the end brings it in already.",
        ),
        (
            lambda user, liked, other: F.softplus(-user * (liked - other)).mean(),
            "the sigmoid of every coordinate. Add the products up over the last dimension first: a "
            "score is one number.",
        ),
        (
            lambda user, liked, other: (
                F.softplus(-(user * liked).sum(1)) + F.softplus((user * other).sum(1))
            ).mean(),
            "two losses, one for each film: that is binary cross-entropy. BPR looks at the "
            "difference of the scores.",
        ),
        *(
            (
                lambda user, liked, other, log=log: (
                    log((user * other).sum(1)) - log((user * liked).sum(1))
                ).mean(),
                "the sigmoid of each score by itself; it belongs around the difference.",
            )
            for log in (F.logsigmoid, lambda score: torch.sigmoid(score).log())
        ),
        (
            lambda user, liked, other: F.softplus(-(user * liked).sum(1)).mean(),
            "the other film is left out.",
        ),
        (
            lambda user, liked, other: F.softplus(-(user @ liked.T - user @ other.T)).mean(),
            "every user with every film (`@`). Row n belongs to row n: multiply elementwise and "
            "add up.",
        ),
        (
            lambda user, liked, other: F.softplus(-(user * (liked - other)).mean(1)).mean(),
            "the mean of the products. A dot product is their sum.",
        ),
        (
            lambda user, liked, other: F.softplus(-(user * (liked - other)).sum(0)).mean(),
            "added up over rows (`dim=0`). A score adds up a row's numbers: `dim=1`.",
        ),
        (
            lambda user, liked, other: F.softplus(
                F.cosine_similarity(user, other) - F.cosine_similarity(user, liked)
            ).mean(),
            "cosines. A score is a dot product.",
        ),
        *(
            (
                of_lead(lambda lead, small=small: -(torch.sigmoid(lead) + small).log().mean()),
                f"a small number inside the logarithm, or a `clamp`. {CUT}",
            )
            for small in SMALL
        ),
        *(
            (
                of_lead(lambda lead, most=most: F.softplus(-lead.clamp(-most, most)).mean()),
                "large leads cut off by `clamp`. `F.logsigmoid` takes any lead.",
            )
            for most in (1, 5, *BOUNDS)
        ),
        (
            of_lead(lambda lead: F.softplus(-lead.clamp(min=-100)).mean()),
            "large leads cut off at -100, by `clamp` or as in `binary_cross_entropy`. "
            "`F.logsigmoid` takes any lead.",
        ),
        (
            of_lead(lambda lead: -torch.where(lead < -50, lead, torch.sigmoid(lead).log()).mean()),
            "infinity times 0. `torch.where` computes both branches, and takes the gradient of "
            "both. `F.logsigmoid` needs no branches.",
        ),
        *(
            (
                answer,
                "a `detach()`, or `torch.no_grad()`, on one side. All three vectors learn.",
            )
            for answer in (
                lambda user, liked, other: bpr(user.detach(), liked, other),
                lambda user, liked, other: bpr(user, liked.detach(), other),
                lambda user, liked, other: bpr(user, liked, other.detach()),
                lambda user, liked, other: F.softplus(
                    (user * other).sum(1).detach() - (user * liked).sum(1)
                ).mean(),
            )
        ),
        (
            of_lead(lambda lead: F.softplus(-lead).mean().detach()),
            "no gradient arrives, so nothing can be learned from the loss: `detach()`, "
            "`torch.no_grad()` or a new tensor on the way.",
        ),
    ],
)

# 9.2 Masking: histories, draws [n, length], share, mask -> inputs, labels, int64 [n, length]


def masking_cases(generator: Generator) -> list[Case]:
    """One film, not masked by chance; three short histories; many of all lengths.

    float32 holds the shares exactly, so that a draw can equal the share.
    """
    histories, draws = torch.tensor([[3]]), torch.tensor([[0.9]])
    cases = [{"histories": histories, "draws": draws, "share": 0.25, "mask": 10}]
    for n, length, share in ((3, 4, 0.5), (60, 8, 0.25)):
        histories = torch.randint(50, (n, length), generator=generator)
        histories[0, 0] = 0  # film 0 is a film, and masked by its draw
        sizes = torch.randint(1, length + 1, (n,), generator=generator)
        sizes[0] = sizes[-1] = length
        sizes[1] = 1
        histories[torch.arange(length) < length - sizes[:, None]] = -1
        draws = 0.001 + 0.998 * torch.rand(n, length, generator=generator)
        draws[:2] = torch.linspace(0.01, 0.99, length)
        draws[-1] = share + (1 - share) * draws[-1]
        draws[-1, -2] = share  # not masked: it is not below the share
        cases.append({"histories": histories, "draws": draws, "share": share, "mask": 50})
    return cases


def masking(histories, draws, share, mask):
    real = histories != -1
    hidden = (draws < share) & real
    hidden[~hidden.any(dim=1), -1] = True
    inputs = torch.where(hidden, mask, histories)
    labels = torch.where(hidden, histories, -100)
    return inputs, labels


def last_if_none(hidden: Tensor) -> Tensor:
    hidden = hidden.clone()
    hidden[~hidden.any(dim=1), -1] = True
    return hidden


def at_empty(place: Callable) -> Callable:
    """Also hides `place(hidden, real, empty)`, where empty [n] says which rows have no mask."""

    def hide(low, real):
        hidden = low & real
        hidden[place(hidden, real, ~hidden.any(dim=1))] = True
        return hidden

    return hide


def masking_with(
    hide: Callable = lambda low, real: last_if_none(low & real),
    inputs: Callable = lambda hidden, films, mask: torch.where(hidden, mask, films),
    labels: Callable = lambda hidden, films, mask: torch.where(hidden, films, -100),
    low: Callable = torch.lt,
    real: Callable = lambda films: films != -1,
) -> Callable:
    """A masking, one of whose steps may be replaced."""

    def answer(histories, draws, share, mask):
        hidden = hide(low(draws, share), real(histories))
        return inputs(hidden, histories, mask), labels(hidden, histories, mask)

    return answer


def masking_by_loop(histories, draws, share, mask):
    inputs, labels = histories.clone(), torch.full_like(histories, -100)
    for row in range(len(histories)):
        films = [p for p in range(histories.shape[1]) if histories[row, p] != -1]
        for place in [p for p in films if draws[row, p] < share] or [films[-1]]:
            labels[row, place] = histories[row, place]
            inputs[row, place] = mask
    return inputs, labels


def masking_by_lists(histories, draws, share, mask):
    inputs, labels = [], []
    for films, row in zip(histories.tolist(), draws.tolist()):
        hidden = [film != -1 and draw < share for film, draw in zip(films, row)]
        hidden[-1] = hidden[-1] or not any(hidden)
        inputs.append([mask if hide else film for film, hide in zip(films, hidden)])
        labels.append([film if hide else -100 for film, hide in zip(films, hidden)])
    return torch.tensor(inputs), torch.tensor(labels)


def masking_by_numpy(histories, draws, share, mask):
    films, hidden = histories.numpy(), (draws.numpy() < share) & (histories.numpy() >= 0)
    hidden[~hidden.any(axis=1), -1] = True
    inputs, labels = np.where(hidden, mask, films), np.where(hidden, films, -100)
    return torch.from_numpy(inputs), torch.from_numpy(labels)


def masking_with_fill(histories, draws, share, mask):
    hidden = draws.lt(share).logical_and(histories.ge(0))
    hidden[:, -1] |= ~hidden.any(1)
    return histories.masked_fill(hidden, mask), histories.masked_fill(~hidden, -100)


MASKING = Exercise(
    reference=masking,
    cases=masking_cases,
    returns=["inputs", "labels"],
    right=[masking_by_loop, masking_by_lists, masking_by_numpy, masking_with_fill],
    mistakes=[
        (
            masking_with(lambda low, real: low & real),
            "a history of which chance masks nothing teaches nothing. Mask its last film. "
            "`hidden[rows][:, -1] = True` changes a copy: write `hidden[rows, -1] = True`, with "
            "`any(dim=1)`.",
        ),
        (
            masking_with(lambda low, real: last_if_none(low)),
            "the filling is masked too. Only where `histories != -1`.",
        ),
        (
            masking_with(real=lambda films: films > 0),
            "film 0 taken for filling. Filling is -1.",
        ),
        (
            masking_with(lambda low, real: low),
            "the filling is masked, and a history without a mask is left as it is.",
        ),
        (
            masking_with(lambda low, real: last_if_none(low) & real),
            "the check for rows without a mask came before the filling was taken out: a row whose "
            "only mask was on filling has none.",
        ),
        (
            masking_with(at_empty(lambda hidden, real, empty: (slice(None), -1))),
            "the last film is masked in every row. Only where chance masked none.",
        ),
        (
            masking_with(at_empty(lambda hidden, real, empty: (~empty, -1))),
            "the last film of rows that have a mask. `~` is missing: `~hidden.any(dim=1)`.",
        ),
        (
            lambda *case: (masking(*case)[0], masking_with(lambda low, real: low & real)(*case)[1]),
            "the last film of an unmasked history has no label. Change `hidden` first, then make "
            "inputs and labels.",
        ),
        (
            masking_with(inputs=lambda hidden, films, mask: torch.where(hidden, mask, 0)),
            "0 where nothing is masked. There the film stays.",
        ),
        (
            masking_with(
                at_empty(lambda hidden, real, empty: (empty, real.int().argmax(dim=1)[empty]))
            ),
            "the *first* film of an unmasked history; mask its last one.",
        ),
        (
            masking_with(at_empty(lambda hidden, real, empty: (empty, 0))),
            "the *first* place of an unmasked history, which may be filling; mask its last film.",
        ),
        (
            masking_with(at_empty(lambda hidden, real, empty: empty)),
            "the whole row is masked where chance masked none, filling and all. Only its last "
            "film.",
        ),
        (
            masking_with(at_empty(lambda hidden, real, empty: empty[:, None] & real)),
            "the whole history is masked where chance masked none. Only its last film.",
        ),
        *(
            (
                masking_with(low=comparison),
                "the comparison the other way round: masked is where `draws < share`.",
            )
            for comparison in (torch.ge, torch.gt)
        ),
        (masking_with(low=torch.le), "`<=`: a draw equal to the share does not mask."),
        (masking_with(lambda low, real: real), "every film is masked."),
        (lambda *case: masking(*case)[::-1], "inputs and labels in the other order."),
        (
            masking_with(inputs=lambda hidden, films, mask: torch.where(hidden, films, mask)),
            "the mask item where nothing is masked, and films where it should be.",
        ),
        (
            masking_with(inputs=lambda hidden, films, mask: torch.where(hidden, -1, films)),
            "the filling (-1) in place of the mask item.",
        ),
        (
            masking_with(inputs=lambda hidden, films, mask: torch.where(hidden, -100, films)),
            "-100 in the inputs; the id of the mask item belongs there.",
        ),
        (
            masking_with(
                inputs=lambda hidden, films, mask: torch.where(hidden | (films == -1), mask, films)
            ),
            "the filling became the mask item too. It stays -1.",
        ),
        (
            masking_with(inputs=lambda hidden, films, mask: hidden),
            "true and false; return the films, with the mask item at these places.",
        ),
        (
            masking_with(labels=lambda hidden, films, mask: films),
            "labels everywhere: the network would be asked for films that it can read. -100 where "
            "nothing is masked.",
        ),
        (
            masking_with(labels=lambda hidden, films, mask: torch.where(films != -1, films, -100)),
            "labels for every film. Only where it is masked; else -100.",
        ),
        (
            masking_with(labels=lambda hidden, films, mask: torch.where(hidden, -100, films)),
            "labels where nothing is masked, and none where something is.",
        ),
        (
            masking_with(labels=lambda hidden, films, mask: torch.where(hidden, films, -1)),
            "-1 where nothing is masked. `F.cross_entropy` leaves out -100.",
        ),
        (
            masking_with(labels=lambda hidden, films, mask: torch.where(hidden, films, 0)),
            "0 where nothing is masked: that is film 0. -100 is left out of the loss.",
        ),
        (
            masking_with(labels=lambda hidden, films, mask: torch.where(hidden, mask, -100)),
            "the mask item as the label; the label is the film that stood there.",
        ),
        (
            masking_with(labels=lambda hidden, films, mask: torch.where(hidden, mask, films)),
            "the inputs once more.",
        ),
        (
            masking_with(labels=lambda hidden, films, mask: films[hidden]),
            "the masked films alone. Labels have the shape of `histories`: `torch.where(hidden, "
            "..., -100)`.",
        ),
        (
            masking_with(
                labels=lambda hidden, films, mask: torch.where(hidden | (films == -1), films, -100)
            ),
            "-1 at the filling. `F.cross_entropy` leaves out -100.",
        ),
    ],
)

# 9.3 Grounding: written [n, d], catalogue [n_items, d], k -> the k nearest, int64 [n, k]


def squared(written: Tensor, catalogue: Tensor) -> Tensor:
    return (written[:, None] - catalogue).square().sum(dim=2)


OTHER_SCORES = [
    (
        lambda w, c: -squared(w, c),
        "the farthest films. Sort upwards: the least distance comes first (`topk` with "
        "`largest=False`).",
    ),
    (lambda w, c: -(w @ c.T), "dot products: long vectors win. Grounding goes by distance."),
    (lambda w, c: w @ c.T, "dot products, the least first. Grounding goes by distance."),
    (
        lambda w, c: -(F.normalize(w, dim=1) @ F.normalize(c, dim=1).T),
        "cosines. Grounding goes by the distance, lengths included.",
    ),
    (
        lambda w, c: (w[:, None] - c).abs().sum(2),
        "absolute differences added up (L1). Euclidean distance squares them.",
    ),
    (
        lambda w, c: (w[:, None] - c).abs().amax(2),
        "the largest difference of a coordinate. Add up the squares.",
    ),
    (
        lambda w, c: (w[:, None] - c).sum(2),
        "differences added up without their squares: those of two coordinates can cancel.",
    ),
    (
        lambda w, c: (w[:, None] - c).sum(2).square(),
        "the square of the sum. Square each coordinate first, then add up.",
    ),
]
"""What others sort by, and the hint."""


def grounding_cases(generator: Generator) -> list[Case]:
    """Three items; equal distances on either side; many items, some equal; many, none equal.

    Without equal distances a wrong score has one order, however ties are broken.
    """

    def without_ties(n: int, n_items: int, dim: int, round_to: float) -> tuple[Tensor, Tensor]:
        while True:
            numbers = torch.randn(n + n_items, dim, generator=generator)
            written, catalogue = (numbers / round_to).round().mul(round_to).split([n, n_items])
            scores = [score(written, catalogue) for score, _ in OTHER_SCORES]
            if all((x.sort(dim=1).values.diff(dim=1) > 1e-5).all() for x in scores):
                return written, catalogue

    ties = [[[two], [-two], [1.0]] for two in (2.0, -2.0)]
    whole = torch.randint(-9, 10, (66, 3), generator=generator).float()
    whole[36:] = whole[6:36].flip(0)
    whole[0] = whole[7]
    drawn = [
        (*without_ties(1, 3, 2, 0.5), 2),
        *((torch.zeros(1, 1), torch.tensor(items), 3) for items in ties),
        (whole[:6], whole[6:], 7),
        (*without_ties(8, 30, 3, 1e-3), 5),
    ]
    return [dict(zip(("written", "catalogue", "k"), case)) for case in drawn]


def grounding(written, catalogue, k):
    squares = (written[:, None] - catalogue).square().sum(dim=2)
    return squares.sort(dim=1, stable=True).indices[:, :k]


def sorted_by(score: Callable, keep: Callable = lambda order, k: order[:, :k]) -> Callable:
    def answer(written, catalogue, k):
        return keep(score(written, catalogue).sort(dim=1, stable=True).indices, k)

    return answer


def grounding_by_loop(written, catalogue, k):
    rows = []
    for row in written.tolist():
        squares = [sum((x - y) ** 2 for x, y in zip(row, item)) for item in catalogue.tolist()]
        rows.append(sorted(range(len(squares)), key=lambda i: (squares[i], i))[:k])
    return torch.tensor(rows)


def grounding_with_cdist(written, catalogue, k):
    distance = torch.cdist(written, catalogue, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.argsort(distance, dim=1, stable=True)[:, :k]


def higher_id_first(written, catalogue, k):
    order = squared(written, catalogue).flip(1).sort(dim=1, stable=True).indices
    return len(catalogue) - 1 - order[:, :k]


def same_distances(found: Tensor, right: Tensor, case: Case) -> bool:
    distances = squared(case["written"], case["catalogue"])
    return torch.equal(distances.gather(1, found), distances.gather(1, right))


def same_films(found: Tensor, right: Tensor, case: Case) -> bool:
    return torch.equal(found.sort(dim=1).values, right.sort(dim=1).values)


GROUNDING = Exercise(
    reference=grounding,
    cases=grounding_cases,
    returns=["the nearest"],
    right=[grounding_by_loop, grounding_with_cdist, sorted_by(squared)],
    mistakes=[
        *((sorted_by(score), hint) for score, hint in OTHER_SCORES),
        *(
            (
                sorted_by(distance),
                "`F.pairwise_distance`. It adds 1e-6 to every difference, and equal distances come "
                "out different.",
            )
            for distance in (
                lambda w, c: F.pairwise_distance(w[:, None], c),
                lambda w, c: F.pairwise_distance(c, w[:, None]),
            )
        ),
        (
            sorted_by(squared, lambda order, k: order[:, 1 : k + 1]),
            "the nearest film is left out. Here it counts: nothing written is an item already.",
        ),
        (sorted_by(squared, lambda order, k: order), "the whole catalogue; keep the first `k`."),
        (
            sorted_by(squared, lambda order, k: order[:k]),
            "`[:k]` keeps the first rows. The first columns are `[:, :k]`.",
        ),
        (
            sorted_by(squared, lambda order, k: order[:, :k].T),
            "rows and columns exchanged. Each written vector has a row.",
        ),
        (
            sorted_by(squared, lambda order, k: order[:, -k:]),
            "the last `k`, which are the farthest. Keep the first: `[:, :k]`.",
        ),
        *(
            (answer, "sorted along the wrong dimension. Each row of distances: `dim=1`.")
            for answer in (
                lambda w, c, k: squared(w, c).sort(dim=0, stable=True).indices[:, :k],
                lambda w, c, k: squared(c, w).sort(dim=1, stable=True).indices[:, :k],
            )
        ),
        (
            lambda w, c, k: squared(w, c).argmin(dim=1),
            "the nearest film alone. Sort, and keep the first `k`.",
        ),
        (
            lambda w, c, k: (w - c).square().sum(1).sort(stable=True).indices[:k],
            "`written - catalogue` pairs rows. `written[:, None] - catalogue` takes each with "
            "each.",
        ),
        (
            lambda w, c, k: (w[:, None] - c).square().sum(1).sort(dim=1).indices[:, :k],
            "squares added up over the films. Add up over the last dimension: `.sum(dim=2)`.",
        ),
        *(
            (
                lambda w, c, k, of=of, part=part: part(of(squared(w, c)), k),
                "the distances themselves; `.indices` of the sort are the films.",
            )
            for of in (torch.clone, torch.sqrt, lambda x: -x, lambda x: -x.sqrt())
            for part in (
                lambda x, k: x,
                lambda x, k: x.sort(dim=1).values,
                lambda x, k: x.sort(dim=1).values[:, :k],
                lambda x, k: x.topk(k).values,
            )
        ),
        (
            lambda w, c, k: c[grounding(w, c, k)],
            "the films' vectors; return their numbers.",
        ),
        *(
            (answer, "the squares are not added up: `.sum(dim=-1)`.")
            for answer in (
                sorted_by(lambda w, c: (w[:, None] - c).square()),
                lambda w, c, k: (w[:, None] - c).square().argsort(),
            )
        ),
    ],
    clues=[
        (
            same_distances,
            "ties: of films at equal distances, the lower id comes first. `topk` and plain `sort` "
            "leave it to chance; `sort(stable=True)` does not, and `flip` turns ties round.",
            higher_id_first,
        ),
        (
            same_films,
            "the right films in another order, such as by id. The nearest comes first.",
            sorted_by(squared, lambda order, k: order[:, :k].sort(dim=1).values),
        ),
    ],
)

# 9.4 A paired comparison: a, b, users [n_cases], draws [n_resamples, n_users] -> the mean of a - b,
# and the 2.5% and 97.5% quantiles over resamples of users


def paired_cases(generator: Generator) -> list[Case]:
    """Two users with one and three cases; then more, with 1 to 8 cases, in any order."""
    cases = []
    for n_users, resamples, most in ((2, 5, 3), (4, 20, 4), (30, 300, 8)):
        sizes = torch.randint(1, most + 1, (n_users,), generator=generator).numpy()
        sizes[:2] = [1, most]
        users = np.repeat(np.arange(n_users), sizes)
        users = users[torch.randperm(len(users), generator=generator).numpy()]
        easy = torch.rand(n_users, generator=generator).numpy()[users]
        drawn = torch.rand(2, len(users), generator=generator).numpy()
        a, b = ((drawn[i] < base + 0.6 * easy).astype(float) for i, base in ((0, 0.3), (1, 0.1)))
        a[users == 0], b[users == 0] = 1.0, 0.0
        draws = torch.randint(n_users, (resamples, n_users), generator=generator).numpy()
        draws[0] = 0
        cases.append({"a": a, "b": b, "users": users, "draws": draws})
    return cases


def paired(a, b, users, draws):
    sums, counts = np.bincount(users, weights=a - b), np.bincount(users)
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return (a - b).mean(), low, high


def paired_with(
    means: Callable = lambda d, sums, counts, draws: sums[draws].sum(1) / counts[draws].sum(1),
    mean: Callable = lambda d, of_users, means: d.mean(),
    limits: Callable = lambda means, mean: np.quantile(means, [0.025, 0.975]),
    values: Callable = np.subtract,
) -> Callable:
    """A paired comparison, one of whose steps may be replaced."""

    def answer(a, b, users, draws):
        d = values(a, b)
        sums, counts = np.bincount(users, weights=d), np.bincount(users)
        found = means(d, sums, counts, draws)
        middle = mean(d, sums / counts, found)
        return middle, *limits(found, d.mean())

    return answer


def paired_by_loop(a, b, users, draws):
    cases = {user: np.flatnonzero(users == user) for user in np.unique(users)}
    means = []
    for row in draws:
        rows = np.concatenate([cases[user] for user in row])
        means.append((a[rows] - b[rows]).mean())
    low, high = np.percentile(means, 2.5), np.percentile(means, 97.5)
    return float(np.mean(a) - np.mean(b)), float(low), float(high)


def paired_by_weights(a, b, users, draws):
    times = np.stack([np.bincount(row, minlength=users.max() + 1) for row in draws])[:, users]
    means = (times * (a - b)).sum(1) / times.sum(1)
    return [np.mean(a - b), *np.quantile(means, (0.025, 0.975))]


def each_user_once(d, sums, counts, draws):
    rows = [np.unique(row) for row in draws]
    return np.array([sums[row].sum() / counts[row].sum() for row in rows])


def two_intervals(far: bool) -> Callable:
    """Those of a and of b, subtracted end by end, or each from the other's far end."""

    def answer(a, b, users, draws):
        _, low_a, high_a = paired(a, 0 * a, users, draws)
        _, low_b, high_b = paired(b, 0 * b, users, draws)
        low, high = (high_b, low_b) if far else (low_b, high_b)
        return (a - b).mean(), low_a - low, high_a - high

    return answer


def over_cases(a, b, users, draws):
    d = a - b
    return d.mean(), *(d.mean() + BELL * d.std(ddof=1) / np.sqrt(len(d)))


BELL = np.array([-1.96, 1.96])

PAIRED = Exercise(
    reference=paired,
    cases=paired_cases,
    returns=["mean", "low", "high"],
    right=[paired_by_loop, paired_by_weights, lambda *case: np.array(paired(*case))],
    mistakes=[
        (
            lambda a, b, *rest: paired(b, a, *rest),
            "b - a. A positive number should say that a is better.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: (sums / counts)[draws].mean(1)),
            "the resamples average users' means. Divide the sum of all differences of a resample "
            "by the number of its cases.",
        ),
        (
            paired_with(
                lambda d, sums, counts, draws: (sums / counts)[draws].mean(1),
                lambda d, of_users, means: of_users.mean(),
            ),
            "the mean of users' means. A user with five cases counts five times: divide the sum of "
            "all differences by the number of all cases.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: d[draws].mean(1)),
            "`draws` taken for cases. They are users: `sums[draws]`, and not `(a - b)[draws]`.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: sums[draws].sum(1) / len(d)),
            "every resample divided by the number of real cases. A resample has as many cases as "
            "its users bring: `counts[draws].sum(axis=1)`.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: sums[draws].mean(1)),
            "the sum of a user's differences, averaged over users. Divide by cases.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: sums[draws].sum(0) / counts[draws].sum(0)),
            "added up over resamples. A *row* is one: `sum(axis=1)`.",
        ),
        (
            paired_with(each_user_once),
            "a user drawn twice counts once, and should count twice.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: (sums / counts)[draws].sum(1)),
            "users' means added up. Divide the sum of all differences of a resample by the number "
            "of its cases.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: sums[draws].sum() / counts[draws].sum()),
            "one number for all resamples. Each row is one: `sum(axis=1)`.",
        ),
        (
            lambda a, b, *rest: paired(a, 0 * b, *rest),
            "system a alone. Take the difference of the two first.",
        ),
        (
            paired_with(values=lambda a, b: abs(a - b)),
            "absolute differences. Where b is better, a difference is negative.",
        ),
        (
            paired_with(mean=lambda d, of_users, means: means.mean()),
            "the mean of the resamples. Return that of the real cases.",
        ),
        (
            paired_with(mean=lambda d, of_users, means: d.sum() / len(of_users)),
            "divided by the number of users. Divide by the number of cases.",
        ),
        (paired_with(mean=lambda d, of_users, means: np.median(d)), "the median."),
        (
            lambda *case: [paired(*case)[i] for i in (1, 0, 2)],
            "the lower end. The mean comes first, then low and high.",
        ),
        (
            paired_with(limits=lambda means, mean: np.quantile(means, [0.05, 0.95])),
            "5% and 95% quantiles, an interval of 90%. Use 2.5% and 97.5%.",
        ),
        (
            paired_with(limits=lambda means, mean: (means.min(), means.max())),
            "the least and the greatest resample. Take quantiles.",
        ),
        *(
            (
                paired_with(limits=limits),
                "mean plus and minus 1.96 standard deviations. Take the quantiles themselves; they "
                "need no bell shape.",
            )
            for limits in (
                lambda means, mean: mean + BELL * means.std(),
                lambda means, mean: mean + BELL * means.std(ddof=1),
                lambda means, mean: means.mean() + BELL * means.std(),
                lambda means, mean: means.mean() + BELL * means.std(ddof=1),
            )
        ),
        (
            paired_with(limits=lambda means, mean: mean + BELL * means.std() / np.sqrt(len(means))),
            "divided by the root of the number of resamples. Resamples are no data: take the "
            "quantiles themselves.",
        ),
        (
            over_cases,
            "a standard error over cases, as if they were independent. Take quantiles over the "
            "resamples of users.",
        ),
        (
            paired_with(limits=lambda means, mean: np.quantile(means, [0.975, 0.025])),
            "low and high exchanged.",
        ),
        (
            paired_with(limits=lambda means, mean: np.quantile(means, [0.025, 0.975]) - mean),
            "distances from the mean. Return the quantiles themselves.",
        ),
        (
            paired_with(limits=lambda means, mean: np.percentile(means, [0.025, 0.975])),
            "`np.percentile` counts to 100: 2.5 and 97.5.",
        ),
        *(
            (
                two_intervals(far),
                "two separate intervals subtracted. Resample the difference: both systems face the "
                "same users.",
            )
            for far in (False, True)
        ),
    ],
)

EXERCISES = {"9.1": BPR, "9.2": MASKING, "9.3": GROUNDING, "9.4": PAIRED}
