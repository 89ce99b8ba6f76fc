"""What changes when items are given other first codes than their nearest: distance, later codes,
reconstruction.
"""

from dataclasses import dataclass

import numpy as np
import torch

from letterlib.errors import LetterError
from letterlib.tokenizer.letter import LetterTokenizer
from letterlib.tokenizer.losses import reconstruction_loss
from letterlib.tokenizer.rqvae import residual_quantize


@dataclass(frozen=True)
class Reassignment:
    """codes: int64 [n_items, L], the given first codes and the nearest later ones.

    distance: squared Euclidean distance between an item's z and the vector of its first code, mean
    over items.
    error: L_Recon from all levels.
    """

    codes: np.ndarray
    distance: float
    error: float


def with_first_codes(
    tokenizer: LetterTokenizer, semantic: np.ndarray, first: np.ndarray
) -> Reassignment:
    """Keep a trained tokenizer as it is, give every item the first code in `first`, and code the
    rest as usual.

    semantic: float [n_items, d], as `fit` got them; first: int64 [n_items].
    """
    first_book, *books = (torch.from_numpy(book) for book in tokenizer.codebooks())
    if first.shape != (len(semantic),) or first.min() < 0 or first.max() >= len(first_book):
        raise LetterError(
            f"first codes: {len(semantic):,} items need one code of 0-{len(first_book) - 1} each, "
            f"not {first.shape} of {first.min()}-{first.max()}"
        )
    chosen = torch.from_numpy(first)
    vector = first_book[chosen]
    residual = torch.from_numpy(tokenizer.latent(semantic)) - vector
    columns, quantised = [chosen[:, None]], vector
    if books:
        later, rest = residual_quantize(residual, books)
        columns, quantised = [*columns, later], vector + rest
    decoded = torch.from_numpy(tokenizer.decoded(quantised.numpy()))
    return Reassignment(
        torch.cat(columns, dim=1).numpy(),
        float(residual.square().sum(dim=1).mean()),
        float(reconstruction_loss(decoded, torch.from_numpy(tokenizer.standardize(semantic)))),
    )
