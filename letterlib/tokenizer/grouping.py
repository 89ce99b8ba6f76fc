"""K-means whose clusters have bounded sizes: groups of codes for the diversity loss, and a start of
the codebooks.
"""

import math

import numpy as np
from scipy.spatial.distance import cdist

from letterlib.errors import LetterError


def check_groups(n_codes: int, n_groups: int) -> None:
    """LetterError if a level has too few codes for groups of two or more."""
    if not 1 <= n_groups <= n_codes // 2:
        raise LetterError(
            f"{n_codes} codes cannot form {n_groups} groups of at least two "
            f"(tokenizer.n_groups={n_groups}); choose n_groups between 1 and {n_codes // 2}"
        )


def group_size_bounds(n_codes: int, n_groups: int) -> tuple[int, int]:
    """Smallest and largest size of a group of codes: max(2, floor(.4 N/K)) and ceil(2.4 N/K).

    At least two codes, because the positive of L_Div is another code of the group. Feasible for
    every N >= 2K. The paper gives no bounds; the released code has min(10, floor(N/2K)) and 6K,
    which cannot hold 256 codes in five groups.
    """
    even = n_codes / n_groups
    return max(2, math.floor(0.4 * even)), math.ceil(2.4 * even)


def constrained_kmeans_groups(codebook: np.ndarray, n_groups: int, seed: int) -> np.ndarray:
    """Group the codes of one level by nearness, with group sizes within `group_size_bounds`.

    codebook: float [N, dim], the code vectors of the level.
    Returns int64 [N], the group of each code, 0..n_groups-1.
    LETTER section 3.1, diversity regularization.
    """
    n_codes = len(codebook)
    check_groups(n_codes, n_groups)
    smallest, largest = group_size_bounds(n_codes, n_groups)
    _, groups = constrained_kmeans(codebook, n_groups, smallest, min(largest, n_codes), seed)
    return groups


def quick_groups(codebook: np.ndarray, n_groups: int, seed: int) -> np.ndarray:
    """As `constrained_kmeans_groups`, in a tenth of the time: sizes are repaired greedily.

    Starts from random codes. Each of ten iterations takes the nearest centre, then moves codes from
    groups that are too large, and to groups that are too small, by the smallest added distance.
    """
    check_groups(len(codebook), n_groups)
    smallest, largest = group_size_bounds(len(codebook), n_groups)
    x = np.asarray(codebook, dtype=np.float64)
    centres = x[np.random.default_rng(seed).permutation(len(x))[:n_groups]]
    for _ in range(10):
        groups = _nearest_within_bounds(cdist(x, centres), smallest, largest)
        members = groups == np.arange(n_groups)[:, None]
        centres = members @ x / members.sum(axis=1, keepdims=True)
    return groups


def _nearest_within_bounds(distances: np.ndarray, smallest: int, largest: int) -> np.ndarray:
    """The nearest of K centres for each row, repaired: float [n, K] -> int64 [n]."""
    rows = np.arange(len(distances))
    groups = distances.argmin(axis=1)
    sizes = np.bincount(groups, minlength=distances.shape[1])
    added = distances - distances[rows, groups][:, None]
    while True:
        large, small = sizes > largest, sizes < smallest
        if large.any():
            source, target = large, sizes < largest
        elif small.any():
            source, target = sizes > smallest, small
        else:
            return groups
        allowed = source[groups][:, None] & target
        row, to = np.unravel_index(np.where(allowed, added, np.inf).argmin(), added.shape)
        sizes[groups[row]] -= 1
        sizes[to] += 1
        groups[row] = to
        added[row] = distances[row] - distances[row, to]


def constrained_kmeans(
    x: np.ndarray, n_clusters: int, smallest: int, largest: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ten iterations of k-means with `smallest` to `largest` rows per cluster.

    x: float [n, dim].
    Returns the centres float64 [n_clusters, dim], and the cluster of each row int64 [n].
    Bradley et al. 2000.
    """
    from k_means_constrained import KMeansConstrained

    model = KMeansConstrained(
        n_clusters,
        size_min=smallest,
        size_max=largest,
        n_init=1,
        max_iter=10,
        n_jobs=1,
        random_state=seed,
    )
    # A copy, because the package wants doubles in memory that it may write to.
    clusters = model.fit_predict(np.array(x, dtype=np.float64)).astype(np.int64)
    return model.cluster_centers_, clusters
