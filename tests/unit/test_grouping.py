"""Groups of codes: their sizes, and that neighbours are in one group."""

import numpy as np
import pytest

from letterlib.errors import LetterError
from letterlib.tokenizer.grouping import constrained_kmeans_groups, group_size_bounds, quick_groups

WAYS = pytest.mark.parametrize("group", [constrained_kmeans_groups, quick_groups])


@WAYS
@pytest.mark.parametrize("n_codes, n_groups", [(64, 5), (256, 10), (100, 13), (16, 8)])
def test_group_sizes_stay_within_their_bounds(n_codes, n_groups, group):
    rng = np.random.default_rng(0)
    # Nine codes in ten lie in one heap: plain k-means would give groups of one and of hundreds.
    heap = np.where(np.arange(n_codes)[:, None] % 10 > 0, 0.01, 3.0)
    codebook = (heap * rng.normal(size=(n_codes, 32))).astype(np.float32)
    codebook.setflags(write=False)  # as numpy sees a tensor that shares its memory
    groups = group(codebook, n_groups, seed=1)
    smallest, largest = group_size_bounds(n_codes, n_groups)
    sizes = np.bincount(groups, minlength=n_groups)
    assert groups.dtype == np.int64 and len(groups) == n_codes and len(sizes) == n_groups
    assert smallest <= sizes.min() and sizes.max() <= largest
    assert np.array_equal(groups, group(codebook, n_groups, seed=1))


def test_bounds_are_feasible_for_every_size_of_the_sweeps():
    for n_codes in range(64, 513):
        for n_groups in range(5, 21):
            smallest, largest = group_size_bounds(n_codes, n_groups)
            assert 2 <= smallest and smallest * n_groups <= n_codes <= largest * n_groups
    assert group_size_bounds(256, 10) == (10, 62)


def test_groups_are_neighbours_where_the_sizes_allow_it():
    truth = np.repeat(np.arange(4), 8)
    noise = np.random.default_rng(0).normal(size=(32, 4)) * 0.1
    groups = constrained_kmeans_groups(np.eye(4)[truth] * 10 + noise, 4, seed=0)
    assert len(set(zip(truth, groups, strict=True))) == len(set(groups)) == 4


def test_quick_groups_are_as_tight_as_exact_ones():
    def spread(group):
        total = 0.0
        for seed in range(5):
            x = np.random.default_rng(seed).normal(size=(256, 32))
            groups = group(x, 10, seed)
            total += sum(((x[groups == g] - x[groups == g].mean(0)) ** 2).sum() for g in range(10))
        return total

    assert spread(quick_groups) < 1.03 * spread(constrained_kmeans_groups)


@WAYS
def test_groups_of_one_code_are_refused(group):
    with pytest.raises(LetterError, match="16 codes .* 9 groups .* between 1 and 8"):
        group(np.zeros((16, 2)), 9, seed=0)
