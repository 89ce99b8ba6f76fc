"""Identifiers for items that a tokenizer was not trained on: from their text alone."""

import numpy as np

from letterlib.errors import LetterError
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.letter import LetterTokenizer


def identifiers_with_unseen(
    tokenizer: LetterTokenizer, semantic: np.ndarray, unseen: np.ndarray
) -> Identifiers:
    """The identifiers of a whole catalogue, of which the tokenizer has seen all items but some.

    semantic: float [n_items, d]; unseen: int64 [n], ids; the tokenizer was fitted on the other
    rows, in their order. An unseen item's text vector is standardised with the mean and the
    deviation of the seen ones, and goes through
    encoder and codebooks: no collaborative loss has ever seen it. Seen items keep their
    identifiers. An unseen one whose identifier is taken gets the nearest last code that is free, in
    the order of ids; where none is free it shares.
    """
    semantic, unseen = np.asarray(semantic), np.unique(unseen)
    if len(unseen) and not 0 <= unseen[0] <= unseen[-1] < len(semantic):
        odd = unseen[0] if unseen[0] < 0 else unseen[-1]
        raise LetterError(
            f"unseen item {odd}: there are rows for items 0-{len(semantic) - 1}; give ids of these"
        )
    seen = np.setdiff1d(np.arange(len(semantic)), unseen)
    known = tokenizer.identifiers()
    if len(known) != len(seen):
        raise LetterError(
            f"the tokenizer was fitted on {len(known):,} items, but {len(seen):,} of {len(semantic):,} are seen; "
            "fit it on the rows of the seen items, in the order of their ids"
        )
    codes = np.empty((len(semantic), known.n_levels), dtype=np.int64)
    codes[seen] = known.codes
    if not len(unseen):
        return Identifiers(codes, known.level_sizes)
    new, residuals = tokenizer.encode(semantic[unseen])
    taken, last_codebook = set(map(tuple, known.codes.tolist())), tokenizer.codebooks()[-1]
    for item, own, residual in zip(unseen, new.tolist(), residuals, strict=True):
        distances = np.square(residual - last_codebook).sum(axis=1)
        last = (int(code) for code in np.argsort(distances, kind="stable"))
        free = next((code for code in last if (*own[:-1], code) not in taken), own[-1])
        codes[item] = [*own[:-1], free]
        taken.add((*own[:-1], free))
    return Identifiers(codes, known.level_sizes)
