"""The ranking-guided loss of the generative recommenders. LETTER section 3.2.1."""

import torch
import torch.nn.functional as F
from torch import Tensor


def ranking_guided_loss(logits: Tensor, targets: Tensor, tau: float = 1.0) -> Tensor:
    """Cross-entropy of the targets with the logits divided by a temperature.

        L = - mean_t log( exp(p(y_t) / tau) / sum_v exp(p(v) / tau) )

    tau below 1 gives tokens that the model takes for likely, the hard negatives, more weight in the
    gradient; tau = 1 is plain cross-entropy.

    logits: [..., V] float.
    targets: [...] int64, -100 where nothing is to be predicted.
    Returns the mean over the other targets; NaN where there is none.
    """
    if not tau > 0:
        raise ValueError(f"tau divides the logits and has to be above 0, not {tau}")
    flat = logits.reshape(-1, logits.shape[-1])
    wide = torch.promote_types(flat.dtype, torch.float32)  # bfloat16 is too coarse for a softmax
    return F.cross_entropy(flat.to(wide) / tau, targets.reshape(-1))
