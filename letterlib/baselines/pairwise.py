"""Learning from pairs, what a user took and what he did not: the loss of BPR, and how its negatives
are drawn.
"""

import numpy as np
import torch.nn.functional as F
from torch import Tensor


def bpr_loss(user: Tensor, liked: Tensor, other: Tensor) -> Tensor:
    """Mean of -log sigmoid(user . liked - user . other); each [n, dimensions]. Rendle et al. 2009."""
    return F.softplus((user * (other - liked)).sum(dim=1)).mean()


def sample_negatives(
    users: np.ndarray, pairs: np.ndarray, n_items: int, generator: np.random.Generator
) -> np.ndarray:
    """For each user an item drawn evenly, drawn again (up to 20 times) while it is one of the
    user's own.

    pairs: user * n_items + item of every training interaction, sorted. Returns int64 [n].
    """
    items = generator.integers(0, n_items, len(users))
    redo = np.arange(len(users))
    for _ in range(20):
        keys = users[redo] * n_items + items[redo]
        redo = redo[pairs[np.minimum(np.searchsorted(pairs, keys), len(pairs) - 1)] == keys]
        if not len(redo):
            break
        items[redo] = generator.integers(0, n_items, len(redo))
    return items
