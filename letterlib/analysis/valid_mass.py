"""How much probability a language model gives to identifiers while it is free to write any word."""

import numpy as np
import torch
from torch import Tensor

from letterlib.generators.language_model import Vocabulary


def valid_mass(
    logits: Tensor, items: np.ndarray, vocabulary: Vocabulary, level_sizes: tuple[int, ...]
) -> np.ndarray:
    """Mean probability of valid tokens at every place of an identifier, the right codes before it
    given: [3, L + 1].

    logits: [n, L + 1, V] for the L codes and the end token of each of `items` [n], in the language
    model's numbers.
    Row 0: codes of any level. Row 1: codes of the level that is due. Row 2: of these only the codes
    with which some item of the catalogue goes on. At the last place all three are the end token's.
    """
    probabilities = logits.float().softmax(dim=-1)
    n, width = len(items), len(level_sizes) + 1
    own, mass = vocabulary.item_tokens[items], np.empty((3, width))
    ends = np.cumsum(level_sizes)
    for level, (start, end) in enumerate(zip(ends - level_sizes, ends, strict=True)):
        here = probabilities[:, level]
        mass[0, level] = float(here[:, torch.from_numpy(vocabulary.new_tokens)].sum(1).mean())
        mass[1, level] = float(
            here[:, torch.from_numpy(vocabulary.new_tokens[start:end])].sum(1).mean()
        )
        like = (vocabulary.item_tokens[None, :, :level] == own[:, None, :level]).all(
            axis=2
        )  # [n, n_items]
        rows, others = np.nonzero(like)
        allowed = torch.zeros_like(here, dtype=torch.bool)
        allowed[torch.from_numpy(rows), torch.from_numpy(vocabulary.item_tokens[others, level])] = (
            True
        )
        mass[2, level] = float(here[allowed].sum()) / n
    mass[:, -1] = float(probabilities[:, -1, vocabulary.end].mean())
    return mass
