"""What LETTER's two propositions on the ranking loss speak of, measured on a trained TIGER.

Which negatives the loss pushes at, and how often the target beats the hardest ones (one-way partial
AUC).
"""

import math

import numpy as np
import torch
from torch import Tensor

from letterlib.data.dataset import Cases
from letterlib.decoding.trie import EOS
from letterlib.generators.tiger import Tiger, history_tokens

_ROWS = 256  # cases scored at a time


@torch.no_grad()
def target_logits(tiger: Tiger, cases: Cases) -> tuple[Tensor, Tensor]:
    """Teacher forcing on cases with targets, in their order.

    Returns logits float32 [n, L + 1, V], each given the tokens before it, and the target tokens
    int64 [n, L + 1].
    """
    tiger.network.eval()
    codes = tiger.item_tokens[cases.targets]
    targets = torch.from_numpy(np.concatenate([codes, np.full((len(codes), 1), EOS)], axis=1))
    logits = []
    for start in range(0, len(cases), _ROWS):
        rows = slice(start, start + _ROWS)
        tokens, mask = history_tokens(cases[rows], tiger.config.history, tiger.item_tokens)
        tokens, mask = tokens.to(tiger.device), None if mask is None else mask.to(tiger.device)
        logits.append(
            tiger.network(tokens, mask, targets[rows, None].to(tiger.device))[:, 0].float().cpu()
        )
    return torch.cat(logits), targets


def negative_weights(logits: Tensor, targets: Tensor, tau: float) -> Tensor:
    """Each negative's share of the gradient of the ranking-guided loss: [..., V], 0 at the target.

    logits: float [..., V]; targets: int64 [...]. The gradient at a negative is p_tau / tau, so its
    share is a softmax of logits / tau over the negatives alone.
    """
    return logits.scatter(-1, targets[..., None], -torch.inf).div(tau).softmax(dim=-1)


def split_scores(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The positive's logit [n] and those of the negatives [n, V - 1], the hardest first.

    logits: float [n, V]; targets: int64 [n].
    """
    without = logits.scatter(1, targets[:, None], -torch.inf)
    negatives = without.sort(dim=1, descending=True).values[:, :-1]
    return logits.gather(1, targets[:, None])[:, 0], negatives


def partial_auc(positive: Tensor, negatives: Tensor, beta: float = 1.0) -> Tensor:
    """OPAUC(beta): the share of the hardest negatives below the positive, a tie counting half.

    positive: float [n]; negatives: float [n, m], of which the ceil(beta * m) highest count, at
    least one. Returns float64 [n]. With beta = 1 it is the AUC; of k negatives, and without ties,
    1 - rank / k where the positive's rank (0 first) is below k, else 0.
    """
    hardest, own = _hardest(negatives, beta), positive[:, None]
    return ((hardest < own).double() + 0.5 * (hardest == own).double()).mean(dim=1)


def mean_margin(positive: Tensor, negatives: Tensor, beta: float = 1.0) -> Tensor:
    """By how much the hardest negatives score above the positive on average: float [n].

    Shapes as in `partial_auc`. It stands for 1 - OPAUC(beta), which has no gradient, and is the
    worst case over weights of the negatives of at most 1 / k, where k negatives count.
    """
    return (_hardest(negatives, beta) - positive[:, None]).mean(dim=1)


def soft_margin(positive: Tensor, negatives: Tensor, tau: float) -> Tensor:
    """tau * log(mean(exp((negative - positive) / tau))), float [n].

    Shapes as in `partial_auc`. It goes from the greatest margin (small tau) to the mean one: the
    worst case over weights q of the negatives of the mean margin less tau * KL(q || uniform),
    attained by `negative_weights`.
    """
    margins = (negatives - positive[:, None]).double()  # at large tau two numbers nearly cancel
    soft = tau * (torch.logsumexp(margins / tau, dim=1) - math.log(margins.shape[1]))
    return soft.to(negatives.dtype)


def _hardest(negatives: Tensor, beta: float) -> Tensor:
    n_hardest = max(1, math.ceil(round(beta * negatives.shape[1], 6)))
    return negatives.topk(n_hardest, dim=1).values
