"""Random codes and residual k-means: the identifiers that nothing was trained for."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from letterlib.errors import LetterError
from letterlib.tokenizer import untrained_identifiers
from letterlib.tokenizer.item_vectors import standardize
from letterlib.tokenizer.untrained_identifiers import (
    random_identifiers,
    residual_kmeans_identifiers,
)


def test_random_identifiers_are_distinct_in_range_and_the_seeds():
    first, again, other = (random_identifiers(3000, seed) for seed in (0, 0, 1))
    assert (
        first.codes.shape == (3000, 4)
        and first.level_sizes == (256,) * 4
        and first.n_colliding == 0
    )
    assert np.array_equal(first.codes, again.codes) and not np.array_equal(first.codes, other.codes)
    # Every level is spread over all codes; drawing 3,000 of 256 leaves none out but by a chance of
    # 1 in 500.
    assert first.dead_codes == (0, 0, 0, 0)


def test_random_identifiers_of_more_codes_than_can_be_numbered():
    made, again = (random_identifiers(500, 1, 8, 256) for _ in range(2))
    assert (
        made.n_distinct == 500
        and made.codes.shape == (500, 8)
        and (made.codes == again.codes).all()
    )
    assert (
        made.codes.min() >= 0 and made.codes.max() < 256 and len(np.unique(made.codes[:, 0])) > 150
    )


def test_random_identifiers_use_up_all_that_there_are_and_not_more():
    """Drawing with replacement, as one would at first, would have to share some."""
    assert random_identifiers(27, 0, 3, 3).n_distinct == 27
    with pytest.raises(LetterError, match="28 items, but 3 levels of 3 codes make 27 identifiers"):
        random_identifiers(28, 0, 3, 3)


def coarse_and_fine(n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors that are a large step in one of 4 directions, a small one in one of 4 others, and a
    little noise.
    """
    generator = np.random.default_rng(0)
    coarse, fine = generator.integers(0, 4, (2, n))
    vectors = (
        10 * np.eye(8)[coarse] + 2 * np.eye(8)[4 + fine] + 0.05 * generator.standard_normal((n, 8))
    )
    return vectors.astype(np.float32), coarse, fine


def test_each_level_codes_what_the_levels_before_it_left_over():
    vectors, coarse, fine = coarse_and_fine()
    identifiers = residual_kmeans_identifiers(vectors, 0, 3, 4)
    assert adjusted_rand_score(coarse, identifiers.codes[:, 0]) == 1
    assert (
        adjusted_rand_score(fine, identifiers.codes[:, 1]) == 1
    )  # k-means on the vectors again would find `coarse`


def test_levels_before_the_last_are_scikit_learns_clusters():
    vectors = np.random.default_rng(1).standard_normal((300, 6)).astype(np.float32)
    identifiers = residual_kmeans_identifiers(vectors, 3, 3, 8)
    left = standardize(vectors)
    for level in range(2):
        model = KMeans(8, n_init=1, random_state=3 + level).fit(left)
        assert (
            adjusted_rand_score(model.labels_, identifiers.codes[:, level]) > 0.97
        )  # k-means stops a step earlier
        left = left - model.cluster_centers_[model.labels_]


def test_collisions_are_repaired_except_of_equal_items(monkeypatch):
    vectors = np.random.default_rng(2).standard_normal((400, 5)).astype(np.float32)
    repaired = residual_kmeans_identifiers(vectors, 0, 2, 32)
    with monkeypatch.context() as without:
        without.setattr(
            untrained_identifiers, "repair_collisions", lambda identifiers, *_: (identifiers, None)
        )
        assert repaired.n_colliding < residual_kmeans_identifiers(vectors, 0, 2, 32).n_colliding / 3
    vectors[:3] = vectors[3]
    twins = residual_kmeans_identifiers(vectors, 0, 4, 16)
    assert len(np.unique(twins.codes[:4], axis=0)) == 1
    again = residual_kmeans_identifiers(vectors, 0, 4, 16)
    assert np.array_equal(twins.codes, again.codes)


def test_fewer_items_than_codes_or_broken_vectors_are_refused():
    with pytest.raises(LetterError, match="codebook of 256"):
        residual_kmeans_identifiers(np.random.default_rng(0).standard_normal((100, 4)))
    with pytest.raises(LetterError, match="row 2 has NaN"):
        residual_kmeans_identifiers(np.where(np.arange(4)[:, None] == 2, np.nan, np.ones((4, 3))))


@pytest.mark.parametrize("sizes", [(0, 4), (2, 0), (2, -4)])
def test_an_identifier_without_levels_or_codes_is_refused(sizes):
    with pytest.raises(LetterError, match=f"{sizes[0]} levels of {sizes[1]} codes"):
        random_identifiers(1, 0, *sizes)
    with pytest.raises(LetterError, match=f"{sizes[0]} levels of {sizes[1]} codes"):
        residual_kmeans_identifiers(np.random.default_rng(0).standard_normal((10, 4)), 0, *sizes)


def test_sizes_may_be_numbers_of_numpy():
    assert (
        random_identifiers(5, 0, np.int32(4), np.int32(256)).codes.tolist()
        == random_identifiers(5).codes.tolist()
    )


def test_collisions_are_repaired_by_what_the_last_level_codes(monkeypatch):
    """And not by what it leaves over, to which its codes are no nearer than others."""
    given, repair = [], untrained_identifiers.repair_collisions
    monkeypatch.setattr(
        untrained_identifiers, "repair_collisions", lambda *all: given.extend(all) or repair(*all)
    )
    residual_kmeans_identifiers(np.random.default_rng(0).standard_normal((100, 5)), 0, 3, 8)
    before, residuals, codebook = given
    nearest = np.square(residuals[:, None] - codebook).sum(axis=2).argmin(axis=1)
    assert np.array_equal(nearest, before.codes[:, -1])
