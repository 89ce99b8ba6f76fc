"""The residual-quantised variational autoencoder: MLP in, L codes, MLP back."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from letterlib.tokenizer.clustering import kmeans_codebook
from letterlib.tokenizer.residual_quantizer import (
    nearest_codes,
    residual_quantize,
    straight_through,
)
from letterlib.train import autocast

StraightThrough = Literal["final", "per-level"]


@dataclass
class RQVAEOutput:
    """What one forward pass gives; `losses.py` says what is done with it.

    reconstruction: [batch, input_dim]. z: the encoder's output [batch, code_dim].
    quantised: z^ [batch, code_dim], the sum of the code vectors in value, z in gradient.
    codes: int64 [batch, L]. vectors: the code vectors, L tensors [batch, code_dim] with gradient to
    the codebooks.
    residuals: what each level had to code, L tensors [batch, code_dim] with gradient to the
    encoder.
    """

    reconstruction: Tensor
    z: Tensor
    quantised: Tensor
    codes: Tensor
    vectors: list[Tensor]
    residuals: list[Tensor]


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them (none after the last), Xavier-normal weights, zero
    biases.
    """
    layers: list[nn.Module] = []
    for width, next_width in pairwise(sizes):
        linear = nn.Linear(width, next_width)
        nn.init.xavier_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class RQVAE(nn.Module):
    """RQ-VAE as TIGER and LETTER use it. LETTER section 3.1; Lee et al. 2022.

    straight_through: where the gradient passes the quantiser. "final" passes it once, around the
    whole quantiser (r_l = r_(l-1) - sg[e_l]), and every level's commitment term trains the encoder.
    "per-level" is the authors' code: each level passes it on, subtracting the level's output then
    cancels the residual's gradient, and only level 1's commitment term trains the encoder.

    In training the authors' code also deals the last level's codes out evenly over a batch, by
    Sinkhorn-Knopp. Here an item has the nearest code at every level.

    dtype: of the matrix products of encoder and decoder while training. Codes are always found in
    float32.
    """

    def __init__(
        self,
        input_dim: int,
        hidden: Sequence[int],
        code_dim: int,
        n_levels: int,
        n_codes: int,
        straight_through: StraightThrough = "final",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.encoder = mlp([input_dim, *hidden, code_dim])
        self.decoder = mlp([code_dim, *reversed(hidden), input_dim])
        self.codebooks = nn.ParameterList(
            nn.Parameter(torch.randn(n_codes, code_dim) / code_dim**0.5) for _ in range(n_levels)
        )
        self.straight_through = straight_through

    @torch.no_grad()
    def initialise_codebooks(self, x: Tensor, seed: int) -> None:
        """Start every codebook from plain k-means of the residuals it will code, on the full
        catalogue.

        x: [n_items, input_dim]. Fewer items than codes is a LetterError.
        """
        residual = self.encoder(x)
        for level, codebook in enumerate(self.codebooks):
            centres = kmeans_codebook(residual.cpu().numpy(), len(codebook), seed + level)
            codebook.copy_(torch.from_numpy(centres))
            residual = residual - F.embedding(nearest_codes(residual, codebook), codebook)

    def forward(self, x: Tensor) -> RQVAEOutput:
        """x: [batch, input_dim]."""
        with autocast(self.dtype, x.device):
            z = self.encoder(x)
        z = z.to(self.codebooks[0].dtype)
        with torch.no_grad():
            codes, _ = residual_quantize(z, list(self.codebooks))
        vectors = [
            F.embedding(code, book) for code, book in zip(codes.T, self.codebooks, strict=True)
        ]
        residuals, residual = [], z
        for vector in vectors:
            residuals.append(residual)
            passed = (
                vector.detach()
                if self.straight_through == "final"
                else straight_through(residual, vector)
            )
            residual = residual - passed
        quantised = straight_through(z, torch.stack(vectors).sum(dim=0))
        with autocast(self.dtype, x.device):
            reconstruction = self.decoder(quantised)
        return RQVAEOutput(reconstruction.to(z.dtype), z, quantised, codes, vectors, residuals)

    @torch.no_grad()
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes int64 [n, L] of the rows of x, and the residual that the last level coded, [n,
        code_dim].
        """
        z = self.encoder(x)
        codes, _ = residual_quantize(z, list(self.codebooks))
        return codes, z - self.vectors_of(codes, self.n_levels - 1)

    @torch.no_grad()
    def vectors_of(self, codes: Tensor, n_levels: int) -> Tensor:
        """Sum of the code vectors of the first `n_levels` levels: [n, code_dim]."""
        total = self.codebooks[0].new_zeros(len(codes), self.codebooks[0].shape[1])
        for level in range(n_levels):
            total = total + self.codebooks[level][codes[:, level]]
        return total

    @property
    def n_levels(self) -> int:
        return len(self.codebooks)
