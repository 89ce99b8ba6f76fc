"""The exercises of lesson 09: the BPR loss, BERT4Rec's masking, BIGRec's grounding, a paired
comparison.

Histories are short and long, so that filling shows; coordinates are whole numbers where a tie
matters.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from letterlib.baselines.neural import bpr_loss
from letterlib.course.checks import Case, Exercise, Incorrect, call, compare, gradients, several
from letterlib.course.values import telling

# 9.1 The BPR loss. Users end in a 1, films in b, as in the library. Leads are large in both
# directions, so that a logarithm of 0 shows

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
            "the logarithm of a sigmoid that was rounded to 0, or an `exp` too large for float32. "
            "`F.logsigmoid` "
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
            "infinity times 0. `torch.where` computes both branches, and takes the gradient of "
            "both. `F.logsigmoid` "
            "needs no branches."
        )
    if all(map(_equal, found, _gradients_of(_cross_entropy, case))):
        return (
            "`binary_cross_entropy`. Its gradient fades where the sigmoid is all but 0; "
            "`F.logsigmoid` has it right."
        )
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
            "labels everywhere: the network would be asked for films that it can read. -100 where "
            "nothing is "
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
            "the masked films alone. Labels have the shape of `histories`: `torch.where(hidden, "
            "..., "
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
            "`hidden[rows][:, -1] = True` changes a copy: write `hidden[rows, -1] = True`, with "
            "`any(dim=1)`.",
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
            "the *first* place of an unmasked history, which may be filling; its last film is "
            "asked for.",
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
            "the farthest films. Sort upwards: the least distance comes first (`topk` with "
            "`largest=False`).",
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
            "ties: of films at equal distances, the lower id comes first. `topk` and plain `sort` "
            "leave it to "
            "chance; `sort(stable=True)` does not, and `flip` turns ties round."
        )
        shifted = [
            F.pairwise_distance(one, torch.zeros_like(one)) for one in (difference, -difference)
        ]
        if any(
            torch.equal(returned, one.sort(dim=1, stable=True).indices[:, : returned.shape[1]])
            for one in shifted
        ):
            cause = (
                "`F.pairwise_distance`. It adds 1e-6 to every difference, and equal "
                "distances come out different."
            )
        wrong = {"expected": expected, "actual": returned}
        raise Incorrect(
            "The distances are right, and the films are not.", case, cause=cause, **wrong
        )


# 9.4 A paired comparison by resampling users, who have one case or several


def paired_cases(generator: Generator) -> list[Case]:
    """Two users with one and three cases; then more, with numbers of cases from 1 to 8, not in
    order.
    """
    cases = []
    for n_users, resamples, most in ((2, 5, 3), (4, 20, 4), (30, 300, 8)):
        sizes = torch.randint(1, most + 1, (n_users,), generator=generator).numpy()
        sizes[:2] = [1, most]
        users = np.repeat(np.arange(n_users), sizes)
        users = users[torch.randperm(len(users), generator=generator).numpy()]
        easy = torch.rand(n_users, generator=generator).numpy()[users]
        drawn = torch.rand(2, len(users), generator=generator).numpy()
        a, b = (
            (drawn[0] < 0.3 + 0.6 * easy).astype(float),
            (drawn[1] < 0.1 + 0.6 * easy).astype(float),
        )
        a[users == 0], b[users == 0] = 1.0, 0.0
        draws = torch.randint(n_users, (resamples, n_users), generator=generator).numpy()
        draws[0] = 0
        cases.append({"a": a, "b": b, "users": users, "draws": draws})
    return cases


def paired(answer: Any, case: Case) -> None:
    """9.4: a, b, users [n_cases], draws [n_resamples, n_users] -> mean difference and its
    interval.
    """
    a, b, users, draws = case.values()
    d, counts = a - b, np.bincount(users)
    sums = np.bincount(users, weights=d)
    names = ["mean", "low", "high"]
    returned = several(call(answer, case), names, case, "numbers")
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    per_user = sums / counts
    expected = (d.mean(), *np.quantile(means, [0.025, 0.975]))
    variants = [
        (-d.mean(), -means, "b - a. A positive number should say that a is better."),
        (
            d.mean(),
            per_user[draws].mean(axis=1),
            "the resamples average users' means. Divide the sum of all "
            "differences of a resample by the number of its cases.",
        ),
        (
            per_user.mean(),
            per_user[draws].mean(axis=1),
            "the mean of users' means. A user with five cases counts "
            "five times: divide the sum of all differences by the number of all cases.",
        ),
        (
            d.mean(),
            d[draws].mean(axis=1),
            "`draws` taken for cases. They are users: `sums[draws]`, and not `(a - b)[draws]`.",
        ),
        (
            d.mean(),
            sums[draws].sum(axis=1) / len(d),
            "every resample divided by the number of real cases. A resample "
            "has as many cases as its users bring: `counts[draws].sum(axis=1)`.",
        ),
        (
            d.mean(),
            sums[draws].mean(axis=1),
            "the sum of a user's differences, averaged over users. Divide by cases.",
        ),
        (
            d.mean(),
            sums[draws].sum(axis=0) / counts[draws].sum(axis=0),
            "added up over resamples. A *row* is one.",
        ),
        (
            d.mean(),
            _once(draws, sums) / _once(draws, counts),
            "a user drawn twice counts once, and should count twice.",
        ),
        (a.mean(), _over(a, users, draws), "system a alone. Take the difference of the two first."),
        (
            np.abs(d).mean(),
            _over(np.abs(d), users, draws),
            "absolute differences: where b is better one is negative.",
        ),
    ]
    intervals = [(np.quantile(one, [0.025, 0.975]), text) for _, one, text in variants]
    intervals += _wrong_limits(case, means)
    causes = [(one, text) for one, _, text in variants if not np.isclose(one, d.mean())]
    causes += [
        (means.mean(), "the mean of the resamples. Of the real cases it can be had exactly.")
    ]
    causes += [(expected[1], "the lower end. The mean comes first, then low and high.")]
    compare("mean", returned[0], float(d.mean()), case, causes)
    for i, name in ((0, "low"), (1, "high")):
        both = [(one, text) for one, text in intervals if _is_like(returned[1:], one)]
        compare(
            name,
            returned[1 + i],
            float(expected[1 + i]),
            case,
            [(one[i], text) for one, text in both],
        )


def _wrong_limits(case: Case, means: np.ndarray) -> list[tuple[Any, str]]:
    """Other ends of an interval than the quantiles of the resamples' means [n_resamples]."""
    a, b, users, draws = case.values()
    middle, low, high = (a - b).mean(), *np.quantile(means, [0.025, 0.975])
    (low_a, high_a), (low_b, high_b) = (
        np.quantile(_over(one, users, draws), [0.025, 0.975]) for one in (a, b)
    )
    apart = np.array([low_a - high_b, high_a - low_b])
    return [
        (
            np.quantile(means, [0.05, 0.95]),
            "5% and 95% quantiles, an interval of 90%. Use 2.5% and 97.5%.",
        ),
        ((means.min(), means.max()), "the least and the greatest resample. Take quantiles."),
        (
            middle + np.array([-1.96, 1.96]) * means.std(),
            "mean plus and minus 1.96 standard deviations. "
            "Take the quantiles themselves; they need no bell shape.",
        ),
        (
            middle + np.array([-1.96, 1.96]) * means.std(ddof=1),
            "mean plus and minus 1.96 standard deviations. "
            "Take the quantiles themselves; they need no bell shape.",
        ),
        (
            means.mean() + np.array([-1.96, 1.96]) * means.std(),
            "mean plus and minus 1.96 standard deviations. "
            "Take the quantiles themselves; they need no bell shape.",
        ),
        ([high, low], "low and high exchanged."),
        (
            np.array([low, high]) - middle,
            "distances from the mean. Return the quantiles themselves.",
        ),
        (np.percentile(means, [0.025, 0.975]), "`np.percentile` counts to 100: 2.5 and 97.5."),
        (
            (low_a - low_b, high_a - high_b),
            "two separate intervals subtracted. Resample the difference: both systems "
            "face the same users.",
        ),
        (
            apart,
            "two separate intervals subtracted. Resample the difference: both systems face the "
            "same users.",
        ),
    ]


def _is_like(pair: tuple, limits: Any) -> bool:
    try:
        return bool(
            np.allclose(
                np.array([float(one) for one in pair]), np.array(limits, dtype=float), atol=1e-5
            )
        )
    except (TypeError, ValueError):
        return False


def _over(values: np.ndarray, users: np.ndarray, draws: np.ndarray) -> np.ndarray:
    sums, counts = np.bincount(users, weights=values), np.bincount(users)
    return sums[draws].sum(axis=1) / counts[draws].sum(axis=1)


def _once(draws: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.array([values[np.unique(row)].sum() for row in draws])


EXERCISES = {
    "9.1": Exercise(bpr_cases, bpr),
    "9.2": Exercise(masking_cases, masking),
    "9.3": Exercise(grounding_cases, grounding),
    "9.4": Exercise(paired_cases, paired),
}
