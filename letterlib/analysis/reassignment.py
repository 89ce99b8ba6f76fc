"""What it costs to give items other first codes than their nearest ones."""

from dataclasses import dataclass

import numpy as np
import torch

from letterlib.tokenizer.letter import LetterTokenizer
from letterlib.tokenizer.losses import reconstruction_loss
from letterlib.tokenizer.rqvae import residual_quantize


@dataclass(frozen=True)
class Reassignment:
    """Codes and errors of a tokenizer with given first codes.

    codes: int64 [n_items, L], the given first codes and the nearest later ones.
    distance: mean squared Euclidean distance of an item's z to the vector of its first code.
    error: L_Recon from all levels.
    """

    codes: np.ndarray
    distance: float
    error: float


def with_first_codes(
    tokenizer: LetterTokenizer, semantic: np.ndarray, first: np.ndarray
) -> Reassignment:
    """Give every item the first code in `first`, and later codes as usual.

    tokenizer: trained; semantic: float [n_items, d], as given to `fit`; first: int64 [n_items].
    """
    first_book, *books = (torch.from_numpy(book) for book in tokenizer.codebooks())
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
