"""Residual quantisation: a vector becomes L codes, coarse to fine. Pure functions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def nearest_codes(x: Tensor, codebook: Tensor) -> Tensor:
    """The nearest code of every row by squared Euclidean distance.

    x: [batch, dim]; codebook: [n_codes, dim]. Returns int64 [batch].
    |x - e|^2 = |x|^2 - 2 x.e + |e|^2, and |x|^2 is the same for every code, so it is left out. (Where rows are
    a thousand times as far from the origin as from their codes, the rest cancels in float32: centre first.)
    """
    x, codebook = x.detach(), codebook.detach()
    return torch.addmm(codebook.square().sum(dim=1), x, codebook.T, alpha=-2).argmin(dim=1)


def residual_quantize(z: Tensor, codebooks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Code each row of `z` level by level, each level coding what the last one left over.

    z: [batch, dim] float; codebooks: L tensors [n_codes, dim].
    Returns codes [batch, L] int64 and the quantised rows [batch, dim].
    LETTER section 3.1; RQ-VAE: Lee et al. 2022.
    """
    residual, quantised, codes = z, torch.zeros_like(z), []
    for codebook in codebooks:
        code = nearest_codes(residual, codebook)
        vector = F.embedding(code, codebook)
        residual, quantised = residual - vector, quantised + vector
        codes.append(code)
    return torch.stack(codes, dim=1), quantised


def straight_through(x: Tensor, quantised: Tensor) -> Tensor:
    """`quantised` in value, `x` in gradient: the arg min in between has none of its own."""
    return x + (quantised - x).detach()
