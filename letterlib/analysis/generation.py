"""What a generator writes: which first codes it favours, and how sure it is of valid ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from letterlib.analysis.code_usage import code_loads

if TYPE_CHECKING:
    from letterlib.generators.language_model import Vocabulary


def first_code_counts(
    codes: np.ndarray, lists: np.ndarray, targets: np.ndarray, n_codes: int
) -> pd.DataFrame:
    """How often each first code occurs: one row per code, columns generated, catalogue, targets.

    codes: int64 [n_items, L]; lists: int64 [n_cases, K], items, negative where there is none;
    targets: int64 [n_cases]; n_codes: of the first level. A column divided by its sum gives shares.
    """
    parts = {"generated": lists[lists >= 0], "catalogue": np.arange(len(codes)), "targets": targets}
    return pd.DataFrame(
        {name: code_loads(codes[items], 0, n_codes) for name, items in parts.items()}
    )


def kl_divergence(counts: np.ndarray, reference: np.ndarray) -> float:
    """KL(p || q) in nats of two tables of counts over the same codes; 0 for equal counts.

    counts, reference: [n_codes], not negative. Half a count is added to every cell, as a code that
    the reference lacks would make it infinite.
    """
    p, q = np.asarray(counts) + 0.5, np.asarray(reference) + 0.5
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())


def generation_bias(counts: pd.DataFrame) -> dict[str, float]:
    """KL divergence in nats of the generated first codes from the catalogue's and the targets'.

    counts: from `first_code_counts`; codes without an item are left out. LETTER section 4.3.2, and
    the reason for L_Div.
    """
    alive = counts[counts["catalogue"] > 0]
    return {
        name: kl_divergence(alive["generated"], alive[name]) for name in ("catalogue", "targets")
    }


def valid_mass(
    logits: Tensor, items: np.ndarray, vocabulary: Vocabulary, level_sizes: tuple[int, ...]
) -> np.ndarray:
    """Mean probability of valid tokens at each place of an identifier: float64 [3, L + 1].

    Of a language model that may write any word, given the right codes before each place.
    logits: float [n, L + 1, V] for the L codes and the end token of `items`, int64 [n].
    level_sizes: L numbers of codes.

    Row 0: codes of any level. Row 1: codes of this level. Row 2: those of row 1 with which some
    item goes on. At the last place all three are the end token's.
    """
    probabilities = logits.float().softmax(dim=-1)
    n, width = len(items), len(level_sizes) + 1
    tokens, mass = vocabulary.item_tokens, np.empty((3, width))
    ends = np.cumsum(level_sizes)
    for level, (start, end) in enumerate(zip(ends - level_sizes, ends, strict=True)):
        here = probabilities[:, level]
        for row, codes in enumerate((vocabulary.new_tokens, vocabulary.new_tokens[start:end])):
            mass[row, level] = float(here[:, torch.from_numpy(codes)].sum(1).mean())
        alike = (tokens[None, :, :level] == tokens[items][:, None, :level]).all(axis=2)
        rows, others = np.nonzero(alike)  # [n, n_items]: same codes up to here
        allowed = torch.zeros_like(here, dtype=torch.bool)
        allowed[torch.from_numpy(rows), torch.from_numpy(tokens[others, level])] = True
        mass[2, level] = float(here[allowed].sum()) / n
    mass[:, -1] = float(probabilities[:, -1, vocabulary.end].mean())
    return mass
