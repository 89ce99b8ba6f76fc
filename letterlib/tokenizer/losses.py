"""The four losses of LETTER's tokenizer (section 3.1) and their sum. Tensors in, scalar out.

    s        an item's text vector
    z        encoder(s)
    r_(l-1)  what level l codes: r_0 = z, r_l = r_(l-1) - e_l
    e_l      the code vector of level l that is nearest to r_(l-1)
    z^, s^   the quantised z^ = e_1 + ... + e_L, the reconstruction s^ = decoder(z^)
    h        the item's collaborative vector
    sg[x]    x without its gradient

Distances are means over rows and dimensions, and L_RQ-VAE and L_Div are means over the levels, as
in the authors' code. The paper writes sums; its weights alpha and beta go with the means.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

NO_POSITIVE = -1


def reconstruction_loss(reconstruction: Tensor, semantic: Tensor) -> Tensor:
    """L_Recon = |s - s^|^2, both [batch, d].

    Gradient to the decoder and, straight through the codes, to the encoder; none to the codebooks.
    """
    return F.mse_loss(reconstruction, semantic)


def rq_loss(residuals: Sequence[Tensor], vectors: Sequence[Tensor], mu: float) -> Tensor:
    """L_RQ-VAE = |sg[r_(l-1)] - e_l|^2 + mu |r_(l-1) - sg[e_l]|^2, averaged over the levels.

    residuals: r_0 ... r_(L-1), L tensors [batch, dim].
    vectors: e_1 ... e_L, L tensors [batch, dim].
    mu: weight of the second term.
    The first term moves the code vectors to the residuals. The second, commitment, moves only the
    encoder (with straight_through="per-level" only at level 1).
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
    position = torch.empty_like(order)  # the place of each code within its group
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

    Purpose: items spread evenly over the codes. It pulls the code vectors of a group together and
    pushes all others away, so the groups become diverse, not the codes within one. The paper
    expects items to follow code vectors that are spread out.

    codes: int64 [batch, L]; e_i is the vector of item i's code at the level.
    positives: int64 [batch, L] from `sample_positives`; e_i+ is the vector of item i's positive.
    codebooks: L tensors [n_codes, dim], which alone get a gradient; j runs over all codes of the
        level except the item's own.
    Items without a positive are left out; a level without any counts 0.
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
    """L_LETTER = L_Recon + L_RQ-VAE + alpha L_CF + beta L_Div.

    A term that is off may be given as 0; alpha = beta = 0 is the tokenizer of TIGER.
    """
    return reconstruction + rq + alpha * collaborative + beta * diversity
