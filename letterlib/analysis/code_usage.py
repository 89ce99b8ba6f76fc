"""How evenly a tokenizer uses its codes, which L_Div makes more even (LETTER section 3.1.3)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import entr

from letterlib.errors import LetterError
from letterlib.evaluation.bootstrap import CHUNK, DIGITS, RESAMPLES, Interval
from letterlib.evaluation.metrics import gini


def code_loads(codes: np.ndarray, level: int, size: int) -> np.ndarray:
    """How many items have each code of a level (0 first): int64 [size].

    codes: int64 [n_items, L]. A code of `size` or more is a LetterError.
    """
    column = codes[:, level]
    if column.size and (column.min() < 0 or column.max() >= size):
        raise LetterError(
            f"codes, level {level + 1}: found {column.min()}-{column.max()}, but the level has "
            f"codes 0-{size - 1}; give the level sizes of these codes"
        )
    return np.bincount(column, minlength=size)


def perplexity(loads: np.ndarray) -> np.ndarray:
    """exp(entropy) of loads: the number of codes that, used equally, have the same entropy.

    loads: [..., n_codes], not negative, no row all zero. Returns float64 [...].
    """
    return np.exp(entr(loads / loads.sum(axis=-1, keepdims=True)).sum(axis=-1))


def code_usage(codes: np.ndarray, level_sizes: Sequence[int]) -> pd.DataFrame:
    """One row a level (index "level", 1 first).

    codes: int64 [n_items, L]; level_sizes: L numbers of codes.

    Columns: codes, their number; in_use, those some item has; perplexity; gini of all loads;
    max_share, the share of items with the most frequent code.
    """
    rows = []
    for level, size in enumerate(level_sizes):
        loads = code_loads(codes, level, size)
        rows.append(
            {
                "level": level + 1,
                "codes": size,
                "in_use": int((loads > 0).sum()),
                "perplexity": float(perplexity(loads)),
                "gini": gini(loads),
                "max_share": float(loads.max() / loads.sum()),
            }
        )
    return pd.DataFrame(rows).set_index("level")


def perplexity_difference(first: np.ndarray, second: np.ndarray, seed: int) -> Interval:
    """Interval of perplexity(first) - perplexity(second) at one level, over items and runs.

    first, second: int64 [n_runs, n_items], codes of the same items by two tokenizers, row r with
    the same seed. seed: of the resampling. Resamples give the spread, not the centre: they leave
    rare codes out, so their perplexity is too low.
    """
    n_runs, n_items = first.shape
    random = np.random.default_rng(seed)
    everything = np.ones((1, n_items), dtype=np.float32)

    def differences(of_items: np.ndarray) -> np.ndarray:
        pairs = zip(first, second, strict=True)
        columns = [_perplexities(a, of_items) - _perplexities(b, of_items) for a, b in pairs]
        return np.stack(columns, axis=1)

    observed = float(differences(everything).mean())
    of_runs = np.empty((RESAMPLES, n_runs))
    step = max(1, CHUNK // n_items)
    for start in range(0, RESAMPLES, step):
        n = min(step, RESAMPLES - start)
        weights = random.multinomial(n_items, np.full(n_items, 1 / n_items), size=n)
        of_runs[start : start + n] = differences(weights.astype(np.float32))
    runs = random.multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=RESAMPLES) / n_runs
    resampled = (of_runs * runs).sum(axis=1)
    ends = observed + np.quantile(resampled - resampled.mean(), [0.025, 0.975])
    low, high = ends.round(DIGITS - 3)  # perplexities are in the hundreds
    return Interval(observed, float(low), float(high))


def _perplexities(codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Perplexity of codes [n_items] under each row of item weights [n, n_items]: [n]."""
    member = (codes[:, None] == np.unique(codes)).astype(np.float32)
    return perplexity((weights @ member).astype(np.float64))
