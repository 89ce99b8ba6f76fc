"""Identifiers that nothing was trained for: what LETTER's tokenizer has to beat.

Random codes know nothing of an item; what a generator gains with them it owes to the histories
alone. Residual k-means knows what the text encoder knows: RQ-VAE's quantisation without its
encoder, decoder and losses.
"""

from operator import index

import numpy as np
import torch

from letterlib.errors import LetterError
from letterlib.tokenizer.clustering import kmeans_codebook
from letterlib.tokenizer.collisions import repair_collisions
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.item_vectors import check_rows, standardize
from letterlib.tokenizer.residual_quantizer import nearest_codes

LEVELS, CODES = 4, 256


def _check_sizes(n_levels: int, n_codes: int) -> None:
    if n_levels < 1 or n_codes < 1:
        raise LetterError(
            f"{n_levels} levels of {n_codes} codes; an identifier needs at least one of each"
        )


def random_identifiers(
    n_items: int, seed: int = 0, n_levels: int = LEVELS, n_codes: int = CODES
) -> Identifiers:
    """Identifiers drawn from all that there are, without replacement, so that no two items share
    one.
    """
    n_items, n_levels, n_codes = map(
        index, (n_items, n_levels, n_codes)
    )  # powers of NumPy's numbers overflow
    _check_sizes(n_levels, n_codes)
    if n_items > n_codes**n_levels:
        raise LetterError(
            f"{n_items:,} items, but {n_levels} levels of {n_codes} codes make {n_codes**n_levels:,} identifiers; "
            "choose more levels or codes"
        )
    random, sizes = np.random.default_rng(seed), (n_codes,) * n_levels
    if n_codes**n_levels < 2**63:
        numbers = random.choice(n_codes**n_levels, n_items, replace=False)
        return Identifiers(np.stack(np.unravel_index(numbers, sizes), axis=1), sizes)
    codes = random.integers(
        n_codes, size=(n_items, n_levels)
    )  # too many to be numbered; two alike are drawn again
    while len(
        repeated := np.setdiff1d(np.arange(n_items), np.unique(codes, axis=0, return_index=True)[1])
    ):
        codes[repeated] = random.integers(n_codes, size=(len(repeated), n_levels))
    return Identifiers(codes, sizes)


def residual_kmeans_identifiers(
    semantic: np.ndarray, seed: int = 0, n_levels: int = LEVELS, n_codes: int = CODES
) -> Identifiers:
    """Plain k-means on the embeddings, then on what each level leaves over; collisions repaired as
    LETTER does it.

    semantic: float [n_items, d], one row per item. Items with equal rows go on sharing an
    identifier.
    """
    _check_sizes(n_levels, n_codes)
    semantic = np.asarray(semantic)
    check_rows("semantic embeddings", semantic)
    left = standardize(semantic)
    codes = []
    for level in range(n_levels):
        residuals, codebook = left, kmeans_codebook(left, n_codes, seed + level)
        codes.append(nearest_codes(torch.from_numpy(residuals), torch.from_numpy(codebook)).numpy())
        left = residuals - codebook[codes[-1]]
    before = Identifiers(np.stack(codes, axis=1), (n_codes,) * n_levels)
    return repair_collisions(before, residuals, codebook)[0]
