"""What a generator writes: which first codes it favours."""

import numpy as np
import pandas as pd

from letterlib.analysis.code_usage import code_loads


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
