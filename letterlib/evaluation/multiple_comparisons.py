"""Many comparisons at once: what each is worth when the others are remembered. Holm, Scand. J.
Statist. 1979.
"""

import math

import numpy as np

from letterlib.evaluation.bootstrap import Interval


def p_value(difference: Interval) -> float:
    """Two-sided p-value of "there is no difference", read from a 95% interval as if it were
    bell-shaped.

    Below .05 where the interval excludes 0, but for its skewness. 1 where the interval has no
    width, as of one user.
    """
    error = (difference.high - difference.low) / (2 * 1.959964)
    if error == 0:
        return 1.0
    return math.erfc(abs(difference.mean) / error / math.sqrt(2))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment: float64 [m], in the order of `p_values`, at most 1.

    Those below .05 may be called found, all together at a risk of 5% that any of them is chance. It
    needs no independence. p_values: float [m]; one outside of [0, 1] is a ValueError.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if not ((p_values >= 0) & (p_values <= 1)).all():  # nor is NaN inside
        raise ValueError(f"p-values lie between 0 and 1, not {p_values}")
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.maximum.accumulate(steps).clip(max=1) if len(steps) else steps
    return adjusted
