"""RQ-VAE: an MLP encodes a text vector, codebooks quantise it coarse to fine, an MLP decodes it.

    z = encoder(s)
    r_0 = z, and for each level l:  c_l = argmin_j |r_(l-1) - e_j|^2,  r_l = r_(l-1) - e_(c_l)
    z^ = sum of the e_(c_l),  s^ = decoder(z^)

The codes c_1 ... c_L are the item's identifier. LETTER section 3.1; Lee et al. 2022.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from letterlib.errors import LetterError
from letterlib.tokenizer.collisions import EPSILON, ITERATIONS
from letterlib.tokenizer.grouping import constrained_kmeans
from letterlib.train import autocast

Start = Literal["kmeans", "constrained"]
StraightThrough = Literal["final", "per-level"]

BLOCK = 65_536
"""Items that pass the network together outside training: 0.5 GB at the paper's widths."""


# Residual quantisation


def nearest_codes(x: Tensor, codebook: Tensor) -> Tensor:
    """The nearest code of every row by squared Euclidean distance.

    x: [batch, dim]; codebook: [n_codes, dim]. Returns int64 [batch].
    |x - e|^2 = |x|^2 - 2 x.e + |e|^2, and |x|^2 is the same for every code, so it is left out.
    (If rows are a thousand times as far from the origin as from their codes, the rest cancels in
    float32: centre first.)
    """
    x, codebook = x.detach(), codebook.detach()
    return torch.addmm(codebook.square().sum(dim=1), x, codebook.T, alpha=-2).argmin(dim=1)


@torch.no_grad()
def balanced_codes(x: Tensor, codebook: Tensor) -> Tensor:
    """A near code of every row, with all codes about equally often: by Sinkhorn's algorithm.

    x: [batch, dim]; codebook: [n_codes, dim]. Returns int64 [batch].
    The codes are those of `collisions.sinkhorn` on centred distances, forty times as fast: the
    scales of rows and columns are kept, and the table itself is not written again.
    """
    distances = torch.cdist(x.double(), codebook.double()).square()
    amplitude = (distances.max() - distances.min()) / 2 + 1e-5
    # Less each row's least, so that no row of exp() is all zeros; Sinkhorn scales rows anyway.
    distances = distances - distances.amin(dim=1, keepdim=True)
    table = torch.exp(-distances / (amplitude * EPSILON))
    columns = table.new_ones(len(codebook))
    for _ in range(ITERATIONS):
        rows = 1 / (table @ columns)
        columns = (len(x) / len(codebook)) / (rows @ table)
    return (table * columns).argmax(dim=1)  # a row's own scale does not change its largest


def residual_quantize(z: Tensor, codebooks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Code each row of `z` level by level; each level codes what the one before left over.

    z: float [batch, dim]; codebooks: L tensors [n_codes, dim].
    Returns codes int64 [batch, L] and the quantised rows z^ [batch, dim].
    """
    residual, quantised, codes = z, torch.zeros_like(z), []
    for codebook in codebooks:
        code = nearest_codes(residual, codebook)
        vector = F.embedding(code, codebook)
        residual, quantised = residual - vector, quantised + vector
        codes.append(code)
    return torch.stack(codes, dim=1), quantised


def in_blocks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function(x)`, computed for BLOCK rows at a time."""
    return torch.cat([function(rows) for rows in x.split(BLOCK)])


def straight_through(x: Tensor, quantised: Tensor) -> Tensor:
    """`quantised` in value, `x` in gradient: the arg min between them has no gradient."""
    return x + (quantised - x).detach()


def check_codes(n_items: int, n_codes: int) -> None:
    """LetterError if a catalogue has fewer items than a level has codes."""
    if n_items < n_codes:
        raise LetterError(
            f"{n_items:,} items cannot start a codebook of {n_codes} codes; "
            f"choose at most {n_items} codes per level (tokenizer.n_codes={n_items})"
        )


def kmeans_codebook(x: np.ndarray, n_codes: int, seed: int) -> np.ndarray:
    """Centres of plain k-means, to start a codebook from: float32 [n_codes, dim].

    x: float [n, dim], the residuals of the whole catalogue. Fewer rows than codes is a LetterError.
    """
    from sklearn.cluster import KMeans  # a second to import
    from sklearn.exceptions import ConvergenceWarning

    check_codes(len(x), n_codes)
    # One thread: several add up the centres in the order they finish, and the last bits follow.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal rows: they become dead codes
        model = KMeans(n_codes, n_init=1, random_state=seed).fit(x)
    return model.cluster_centers_.astype(np.float32)


def start_size_bounds(n_items: int, n_codes: int) -> tuple[int, int]:
    """Fewest and most items of a cluster that starts a code: max(1, floor(n/2K)), and 4 times that.

    Those of the released code, but without its cap: at 50 to 200 items, 256 codes have no room for
    more than 51,200.
    """
    smallest = max(1, n_items // (2 * n_codes))
    return smallest, 4 * smallest


def constrained_kmeans_codebook(x: np.ndarray, n_codes: int, seed: int) -> np.ndarray:
    """Centres of k-means with sizes within `start_size_bounds`: float32 [n_codes, dim].

    x: float [n, dim], the residuals of the whole catalogue. Fewer rows than codes is a LetterError.
    Minutes for 20,000 items and four levels. The released code takes the best of ten starts.
    """
    check_codes(len(x), n_codes)
    centres, _ = constrained_kmeans(x, n_codes, *start_size_bounds(len(x), n_codes), seed)
    return centres.astype(np.float32)


# The network


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them, Xavier-normal weights, zero biases."""
    layers: list[nn.Module] = []
    for width, next_width in pairwise(sizes):
        linear = nn.Linear(width, next_width)
        nn.init.xavier_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@dataclass
class RQVAEOutput:
    """What one forward pass gives, and the losses read.

    reconstruction: s^ [batch, input_dim].
    z: the encoder's output [batch, code_dim].
    quantised: z^ [batch, code_dim], the sum of the code vectors in value, z in gradient.
    codes: int64 [batch, L].
    vectors: the chosen code vectors, L tensors [batch, code_dim]; gradient to the codebooks.
    residuals: r_0 ... r_(L-1), what each level had to code, L tensors [batch, code_dim]; gradient
        to the encoder.
    """

    reconstruction: Tensor
    z: Tensor
    quantised: Tensor
    codes: Tensor
    vectors: list[Tensor]
    residuals: list[Tensor]


class RQVAE(nn.Module):
    """RQ-VAE as TIGER and LETTER use it. LETTER section 3.1; Lee et al. 2022.

    input_dim: of the text vectors. hidden: widths of the encoder; the decoder has them reversed.
    code_dim: of z and of the code vectors. n_levels: codebooks. n_codes: vectors in each.
    straight_through: where the gradient passes the quantiser. "final" passes it once, around the
        whole quantiser (r_l = r_(l-1) - sg[e_l]), and every level's commitment term trains the
        encoder. "per-level" is the authors' code: each level passes it on, subtracting the level's
        output then cancels the residual's gradient, and only level 1's commitment term trains the
        encoder.
    dtype: of the matrix products of encoder and decoder in training. Codes are always found in
        float32.
    sinkhorn: in training, the last level's codes are dealt out evenly over a batch (of several
        processes, each its share), as in the authors' code. `encode` takes the nearest code always.
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
        sinkhorn: bool = False,
    ) -> None:
        super().__init__()
        self.dtype, self.sinkhorn = dtype, sinkhorn
        self.encoder = mlp([input_dim, *hidden, code_dim])
        self.decoder = mlp([code_dim, *reversed(hidden), input_dim])
        self.codebooks = nn.ParameterList(
            nn.Parameter(torch.randn(n_codes, code_dim) / code_dim**0.5) for _ in range(n_levels)
        )
        self.straight_through = straight_through

    @property
    def n_levels(self) -> int:
        return len(self.codebooks)

    @torch.no_grad()
    def initialise_codebooks(self, x: Tensor, seed: int, start: Start = "kmeans") -> None:
        """Start every codebook from k-means of the residuals that it will code.

        x: [n_items, input_dim], the full catalogue. Fewer items than codes is a LetterError.
        start: plain k-means, or "constrained" with clusters of similar sizes.
        """
        cluster = kmeans_codebook if start == "kmeans" else constrained_kmeans_codebook
        residual = in_blocks(self.encoder, x)
        for level, codebook in enumerate(self.codebooks):
            centres = cluster(residual.cpu().numpy(), len(codebook), seed + level)
            codebook.copy_(torch.from_numpy(centres))
            codes = in_blocks(lambda rows, book=codebook: nearest_codes(rows, book), residual)
            residual = residual - F.embedding(codes, codebook)

    def quantise(self, z: Tensor) -> Tensor:
        """The codes of z [n, code_dim]: int64 [n, L]. z^ is the sum of their vectors."""
        return residual_quantize(z, list(self.codebooks))[0]

    def forward(self, x: Tensor) -> RQVAEOutput:
        """x: [batch, input_dim]."""
        with autocast(self.dtype, x.device):
            z = self.encoder(x)
        z = z.to(self.codebooks[0].dtype)
        with torch.no_grad():
            codes = self.quantise(z)
            if self.training and self.sinkhorn:
                last_residuals = z - self.sum_of_vectors(codes, self.n_levels - 1)
                codes[:, -1] = balanced_codes(last_residuals, self.codebooks[-1])
        vectors = [
            F.embedding(code, book) for code, book in zip(codes.T, self.codebooks, strict=True)
        ]
        residuals, residual = [], z
        for vector in vectors:
            residuals.append(residual)
            if self.straight_through == "final":
                residual = residual - vector.detach()
            else:
                residual = residual - straight_through(residual, vector)
        quantised = straight_through(z, torch.stack(vectors).sum(dim=0))
        with autocast(self.dtype, x.device):
            reconstruction = self.decoder(quantised)
        return RQVAEOutput(reconstruction.to(z.dtype), z, quantised, codes, vectors, residuals)

    @torch.no_grad()
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes int64 [n, L] of the rows of x, and the last residuals r_(L-1), [n, code_dim]."""
        z = in_blocks(self.encoder, x)
        codes = in_blocks(self.quantise, z)
        return codes, z - self.sum_of_vectors(codes, self.n_levels - 1)

    @torch.no_grad()
    def sum_of_vectors(self, codes: Tensor, n_levels: int) -> Tensor:
        """Sum of the code vectors of the first `n_levels` levels: [n, code_dim]."""
        total = self.codebooks[0].new_zeros(len(codes), self.codebooks[0].shape[1])
        for level in range(n_levels):
            total = total + self.codebooks[level][codes[:, level]]
        return total
