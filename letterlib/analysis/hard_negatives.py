"""Which negatives a trained generator's loss pulls at, and how hard. What LETTER's first
proposition speaks of.
"""

import numpy as np
import torch
from torch import Tensor

from letterlib.data.dataset import Cases
from letterlib.decoding.trie import EOS
from letterlib.errors import LetterError
from letterlib.generators.tiger import Tiger, history_tokens

_ROWS = 256  # cases scored at a time


@torch.no_grad()
def target_logits(tiger: Tiger, cases: Cases) -> tuple[Tensor, Tensor]:
    """Teacher forcing on cases with targets, in float32 and in their order.

    Returns logits [n, L + 1, V], each seen from the tokens before it, and the target tokens int64
    [n, L + 1].
    """
    if cases.targets is None:
        raise LetterError("teacher forcing needs cases with targets; these have histories alone")
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
    """How the loss shares its push among the negatives: each one's part of their gradient, [...,
    V], 0 at the target.

    logits: float [..., V]; targets: int64 [...]. The gradient of the ranking-guided loss at a
    negative is p_tau / tau, so its share is a softmax of logits / tau over the negatives alone.
    """
    return logits.scatter(-1, targets[..., None], -torch.inf).div(tau).softmax(dim=-1)


def split_scores(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The positive's logit [n] and those of the negatives [n, V - 1], the hardest first.

    logits: float [n, V]; targets: int64 [n].
    """
    without = logits.scatter(1, targets[:, None], -torch.inf)
    return logits.gather(1, targets[:, None])[:, 0], without.sort(dim=1, descending=True).values[
        :, :-1
    ]
