"""Groups of codes: their sizes, and that the same seed gives the same groups."""

import numpy as np
import pytest

from letterlib.errors import LetterError
from letterlib.tokenizer.clustering import (
    constrained_kmeans_groups,
    group_size_bounds,
    kmeans_codebook,
)


@pytest.mark.parametrize("n_codes, n_groups", [(64, 5), (64, 20), (256, 10), (100, 13), (512, 20)])
def test_group_sizes_stay_within_their_bounds(n_codes, n_groups):
    rng = np.random.default_rng(0)
    # Nine codes in ten lie in one heap: plain k-means would give groups of one and of hundreds.
    codebook = np.where(np.arange(n_codes)[:, None] % 10 > 0, 0.01, 3.0) * rng.normal(
        size=(n_codes, 32)
    )
    groups = constrained_kmeans_groups(codebook.astype(np.float32), n_groups, seed=1)
    smallest, largest = group_size_bounds(n_codes, n_groups)
    sizes = np.bincount(groups, minlength=n_groups)
    assert groups.dtype == np.int64 and len(groups) == n_codes and len(sizes) == n_groups
    assert smallest <= sizes.min() and sizes.max() <= largest
    np.testing.assert_array_equal(
        groups, constrained_kmeans_groups(codebook.astype(np.float32), n_groups, 1)
    )


def test_a_codebook_that_may_not_be_written_to_is_grouped_all_the_same():
    codebook = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    groups = constrained_kmeans_groups(codebook, 4, seed=0)
    codebook.setflags(write=False)  # as numpy sees a tensor that shares its memory
    np.testing.assert_array_equal(constrained_kmeans_groups(codebook, 4, seed=0), groups)


def test_bounds_are_feasible_for_every_size_of_the_sweeps():
    for n_codes in range(64, 513):
        for n_groups in range(5, 21):
            smallest, largest = group_size_bounds(n_codes, n_groups)
            assert 2 <= smallest and smallest * n_groups <= n_codes <= largest * n_groups
    assert group_size_bounds(256, 10) == (10, 62)


def test_groups_are_neighbours_where_the_sizes_allow_it():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 8)
    codebook = np.eye(4)[truth] * 10 + rng.normal(size=(32, 4)) * 0.1
    groups = constrained_kmeans_groups(codebook, 4, seed=0)
    for one in range(4):
        assert len(set(groups[truth == one])) == 1
    assert len(set(groups)) == 4


def test_one_group_and_pairs_are_groups_too():
    codebook = np.random.default_rng(0).normal(size=(16, 4))
    assert constrained_kmeans_groups(codebook, 1, seed=0).tolist() == [0] * 16
    assert np.bincount(constrained_kmeans_groups(codebook, 8, seed=0)).tolist() == [2] * 8


def test_too_many_groups_is_said():
    with pytest.raises(LetterError, match="16 codes .* 9 groups .* between 1 and 8"):
        constrained_kmeans_groups(np.zeros((16, 2)), 9, seed=0)


def test_as_many_items_as_codes_start_a_codebook_and_fewer_do_not():
    x = np.eye(8, dtype=np.float32)
    assert sorted(map(tuple, kmeans_codebook(x, 8, seed=0))) == sorted(map(tuple, x))
    with pytest.raises(LetterError, match="7 items cannot start a codebook of 8 codes"):
        kmeans_codebook(x[:7], 8, seed=0)


def test_kmeans_codebook_is_seeded_and_silent_about_equal_rows(recwarn):
    x = np.repeat(np.random.default_rng(0).normal(size=(5, 3)), 4, axis=0).astype(np.float32)
    codebook = kmeans_codebook(x, 8, seed=0)
    assert codebook.shape == (8, 3) and codebook.dtype == np.float32
    np.testing.assert_array_equal(codebook, kmeans_codebook(x, 8, seed=0))
    assert not recwarn.list


def test_another_seed_gives_other_groups_and_other_centres():
    rows = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    assert not np.array_equal(*(constrained_kmeans_groups(rows, 10, seed) for seed in (0, 1)))
    assert not np.array_equal(*(kmeans_codebook(rows, 16, seed) for seed in (0, 1)))
