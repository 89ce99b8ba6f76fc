"""Two kinds of k-means: plain, to start a codebook, and size-constrained, to group its codes."""

import math
import warnings

import numpy as np
from threadpoolctl import threadpool_limits

from letterlib.errors import LetterError


def check_codes(n_items: int, n_codes: int) -> None:
    """LetterError where a catalogue has fewer items than a level has codes."""
    if n_items < n_codes:
        raise LetterError(
            f"{n_items:,} items cannot start a codebook of {n_codes} codes; "
            f"choose at most {n_items} codes per level (tokenizer.n_codes={n_items})"
        )


def check_groups(n_codes: int, n_groups: int) -> None:
    """LetterError where a level has too few codes for groups of two or more."""
    if not 1 <= n_groups <= n_codes // 2:
        raise LetterError(
            f"{n_codes} codes cannot form {n_groups} groups of at least two (tokenizer.n_groups={n_groups}); "
            f"choose n_groups between 1 and {n_codes // 2}, at most half of n_codes"
        )


def kmeans_codebook(x: np.ndarray, n_codes: int, seed: int) -> np.ndarray:
    """Centres of plain k-means, to start a codebook from: float32 [n_codes, dim].

    x: float [n, dim], the residuals of the whole catalogue. Fewer rows than codes is a LetterError.
    """
    from sklearn.cluster import (
        KMeans,
    )  # scikit-learn takes a second, for which no command line should wait
    from sklearn.exceptions import ConvergenceWarning

    check_codes(len(x), n_codes)
    # One thread: several add up the centres in the order they finish, and the last bits follow.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # equal rows; they show up as dead codes
        model = KMeans(n_codes, n_init=1, random_state=seed).fit(x)
    return model.cluster_centers_.astype(np.float32)


def group_size_bounds(n_codes: int, n_groups: int) -> tuple[int, int]:
    """Smallest and largest size of a group of codes: max(2, floor(.4 N/K)) and ceil(2.4 N/K).

    At least two codes, because the positive of L_Div is another code of the group. Feasible for
    every N >= 2K. The paper gives no bounds; the released code has min(10, floor(N/2K)) and 6K,
    which hold no 256 codes in five groups.
    """
    even = n_codes / n_groups
    return max(2, math.floor(0.4 * even)), math.ceil(2.4 * even)


def constrained_kmeans_groups(codebook: np.ndarray, n_groups: int, seed: int) -> np.ndarray:
    """Group the codes of one level so that no group is tiny and none swallows the level.

    codebook: float [N, dim]. Returns int64 [N], group numbers 0..n_groups-1, each of a size within
    `group_size_bounds`. LETTER section 3.1, diversity regularization; Bradley et al. 2000.
    """
    from k_means_constrained import KMeansConstrained

    n_codes = len(codebook)
    check_groups(n_codes, n_groups)
    smallest, largest = group_size_bounds(n_codes, n_groups)
    model = KMeansConstrained(
        n_groups,
        size_min=smallest,
        size_max=min(largest, n_codes),
        n_init=1,
        max_iter=10,
        n_jobs=1,
        random_state=seed,
    )
    # A copy: the package can fail on read-only memory, and it wants doubles.
    return model.fit_predict(np.array(codebook, dtype=np.float64)).astype(np.int64)
