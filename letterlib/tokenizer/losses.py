"""The four losses of LETTER's tokenizer (section 3.1) and their sum. Tensors in, scalar out.

Distances are means over rows and dimensions, as in the authors' code. The paper writes sums over
the dimensions; its weights alpha and beta go with the means.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

NO_POSITIVE = -1


def reconstruction_loss(reconstruction: Tensor, semantic: Tensor) -> Tensor:
    """L_Recon = |s - s^|^2, both [batch, d]. Section 3.1, semantic regularization."""
    return F.mse_loss(reconstruction, semantic)


def rq_loss(residuals: Sequence[Tensor], vectors: Sequence[Tensor], mu: float) -> Tensor:
    """L_RQ-VAE = |sg[r_(l-1)] - e_l|^2 + mu |r_(l-1) - sg[e_l]|^2, averaged over the levels.

    residuals: what each level had to code, L tensors [batch, dim].
    vectors: the code vectors that it chose, L tensors [batch, dim].
    mu: weight of the second term, which commits the encoder to the codes; the first moves the code
        vectors to the residuals.
    Section 3.1, semantic regularization.
    """
    per_level = [
        F.mse_loss(vector, residual.detach()) + mu * F.mse_loss(residual, vector.detach())
        for residual, vector in zip(residuals, vectors, strict=True)
    ]
    return torch.stack(per_level).mean()


def collaborative_loss(
    quantised: Tensor, collaborative: Tensor, own: Tensor | None = None
) -> Tensor:
    """L_CF = - mean_i log( exp<z^_i, h_i> / sum_j exp<z^_i, h_j> ), j over the batch.

    quantised: z^ [n, dim], gradient to the encoder. collaborative: h [batch, dim].
    own: int64 [n], the row of `collaborative` of each item; by default row i for item i. If several
        processes share a batch, n is the part of one.
    Adding one vector to every h changes nothing.
    Section 3.1, collaborative regularization.
    """
    own = torch.arange(len(quantised), device=quantised.device) if own is None else own
    return F.cross_entropy(quantised @ collaborative.T, own)


def sample_positives(codes: Tensor, groups: Tensor, numbers: Tensor | None = None) -> Tensor:
    """For every code another code of its group, drawn uniformly.

    codes: int64 [batch], of one level. groups: int64 [n_codes], the group of every code.
    numbers: float [batch] in [0, 1), which decide; by default from torch's random generator.
    Returns int64 [batch], NO_POSITIVE where a code is alone in its group.
    """
    order = torch.argsort(groups, stable=True)  # the codes, group after group
    sizes = torch.bincount(groups)
    first = sizes.cumsum(0) - sizes  # where each group starts in `order`
    position = torch.empty_like(order)
    position[order] = torch.arange(len(order), device=order.device) - first[groups[order]]
    group = groups[codes]
    others = sizes[group] - 1
    numbers = torch.rand(len(codes), device=codes.device) if numbers is None else numbers
    # A group is a circle. From any code, 1 to size - 1 steps lead to each of the others once, and
    # never back to itself.
    step = 1 + (numbers * others).long().clamp(max=others - 1)
    partner = order[first[group] + (position[codes] + step) % sizes[group]]
    return torch.where(others > 0, partner, NO_POSITIVE)


def diversity_loss(codes: Tensor, positives: Tensor, codebooks: Sequence[Tensor]) -> Tensor:
    """L_Div = - mean_i log( exp<e_i, e_i+> / sum_(j != i) exp<e_i, e_j> ), averaged over the
    levels.

    codes: int64 [batch, L]; e_i is the vector of an item's code.
    positives: int64 [batch, L] from `sample_positives`; e_i+ is the vector of an item's positive.
    codebooks: L tensors [n_codes, dim], which alone get a gradient; j runs over all codes of the
        level except the item's own.
    Items without a positive are left out; a level without any counts 0.
    Section 3.1, diversity regularization.
    """
    total = codebooks[0].new_zeros(())
    for level, codebook in enumerate(codebooks):
        # The logits of an item depend on its code alone, so one row per code serves all items.
        own = torch.eye(len(codebook), dtype=torch.bool, device=codebook.device)
        log_probability = (codebook @ codebook.T).masked_fill(own, -torch.inf).log_softmax(dim=1)
        kept = positives[:, level] != NO_POSITIVE
        chosen = log_probability[codes[kept, level], positives[kept, level]]
        total = total - chosen.sum() / kept.sum().clamp(min=1)
    return total / len(codebooks)


def letter_loss(
    reconstruction: Tensor,
    rq: Tensor,
    collaborative: Tensor | float,
    diversity: Tensor | float,
    alpha: float,
    beta: float,
) -> Tensor:
    """L_LETTER = L_Recon + L_RQ-VAE + alpha L_CF + beta L_Div. Section 3.1, overall loss.

    A term that is off may be given as 0; alpha = beta = 0 is the tokenizer of TIGER.
    """
    return reconstruction + rq + alpha * collaborative + beta * diversity
