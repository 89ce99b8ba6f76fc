"""One-way partial AUC: how often the target beats the hardest negatives. What LETTER's second
proposition speaks of.
"""

import math

import torch
from torch import Tensor

from letterlib.errors import LetterError


def n_hardest(beta: float, n_negatives: int) -> int:
    """How many negatives a share beta of them is: at least one, rounded up."""
    if not 0 < beta <= 1:
        raise LetterError(
            f"beta={beta}: the share of the negatives that count lies above 0 and is at most 1"
        )
    return max(1, math.ceil(round(beta * n_negatives, 6)))


def partial_auc(positive: Tensor, negatives: Tensor, beta: float = 1.0) -> Tensor:
    """OPAUC(beta) of every case: the share of its hardest negatives that score below its positive,
    a tie counting half.

    positive: float [n]; negatives: float [n, m]; the hardest negatives are the ceil(beta * m) with
    the highest scores. Returns float64 [n]. With beta = 1 it is the AUC; with k negatives that
    count, and no ties, 1 - rank / k where the positive's rank (0 first) is below k, and 0
    elsewhere.
    """
    _check(positive, negatives)
    hardest = negatives.topk(n_hardest(beta, negatives.shape[1]), dim=1).values
    own = positive[:, None]
    return ((hardest < own).double() + 0.5 * (hardest == own).double()).mean(dim=1)


def mean_margin(positive: Tensor, negatives: Tensor, beta: float = 1.0) -> Tensor:
    """By how much the hardest negatives score above the positive, on average.

    Shapes as in `partial_auc`. It stands for 1 - OPAUC(beta), which has no gradient, and is the
    worst case over all ways to weigh the negatives in which none has more than 1 / k of the weight,
    where k negatives count.
    """
    _check(positive, negatives)
    hardest = negatives.topk(n_hardest(beta, negatives.shape[1]), dim=1).values
    return (hardest - positive[:, None]).mean(dim=1)


def soft_margin(positive: Tensor, negatives: Tensor, tau: float) -> Tensor:
    """tau * log(mean of exp((negative - positive) / tau)): from the mean margin, at large tau, to
    the greatest one.

    Shapes as in `partial_auc`. It is the worst case over all weights q on the negatives of the mean
    margin under q less tau * KL(q || uniform); `hard_negatives.negative_weights` are the q that
    attain it.
    """
    _check(positive, negatives)
    if not 0 < tau < math.inf:
        raise LetterError(
            f"tau={tau}: the temperature of the soft margin is a finite number above 0"
        )
    margins = (negatives - positive[:, None]).double()  # at large tau two numbers nearly cancel
    soft = tau * (torch.logsumexp(margins / tau, dim=1) - math.log(margins.shape[1]))
    return soft.to(negatives.dtype) if negatives.is_floating_point() else soft


def _check(positive: Tensor, negatives: Tensor) -> None:
    if negatives.ndim != 2 or positive.shape != negatives.shape[:1] or not negatives.shape[1]:
        shapes = f"{tuple(positive.shape)} and {tuple(negatives.shape)}"
        raise LetterError(
            f"partial AUC: one positive a case and a row of negatives for each, not {shapes}"
        )
    if positive.isnan().any() or negatives.isnan().any():
        raise LetterError(
            "partial AUC: some scores are NaN, which is neither above nor below another; make them again"
        )
