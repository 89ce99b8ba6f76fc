"""The loss that trains the generative recommender."""

import torch
import torch.nn.functional as F
from torch import Tensor


def ranking_guided_loss(logits: Tensor, targets: Tensor, tau: float = 1.0) -> Tensor:
    """Token cross-entropy with the logits divided by a temperature; mean over the targets that
    count.

    logits: [..., V] float; targets: [...] int64, -100 (torch's own number) where nothing is to be
    predicted.

        L = - mean_t log( exp(p(y_t) / tau) / sum_v exp(p(v) / tau) )

    A tau below 1 weighs the tokens that the model takes for likely, the hard negatives, more in the
    gradient; at tau = 1 this is plain cross-entropy. LETTER section 3.2.1. NaN where no target
    counts.
    """
    if not tau > 0:
        raise ValueError(f"tau divides the logits and has to be above 0, not {tau}")
    flat = logits.reshape(-1, logits.shape[-1])
    flat = (
        flat.to(torch.promote_types(flat.dtype, torch.float32)) / tau
    )  # bfloat16 is too coarse for a softmax
    return F.cross_entropy(flat, targets.reshape(-1))
