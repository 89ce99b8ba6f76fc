"""Sinkhorn-Knopp and what it does to shared identifiers."""

import numpy as np
import pytest

from letterlib.tokenizer.collisions import (
    centre_distances,
    identifiers_with_unseen,
    repair_collisions,
    sinkhorn,
)
from letterlib.tokenizer.identifiers import Identifiers


@pytest.mark.parametrize("shape", [(40, 8), (3, 20, 16), (2, 256)])
def test_marginals(shape):
    distances = np.random.default_rng(0).normal(size=shape)
    q = sinkhorn(distances, epsilon=0.5, iterations=200)
    np.testing.assert_allclose(q.sum(axis=-2), shape[-2] / shape[-1], rtol=1e-9)
    np.testing.assert_allclose(q.sum(axis=-1), 1.0, rtol=1e-6)
    assert (q >= 0).all()


def test_it_is_the_scaled_kernel_of_the_plain_algorithm():
    distances = np.random.default_rng(1).uniform(-1, 1, size=(6, 4))
    q = np.exp(-distances / 0.3)
    for _ in range(7):
        q = q / q.sum(axis=1, keepdims=True) / 6
        q = q / q.sum(axis=0, keepdims=True) / 4
    np.testing.assert_allclose(sinkhorn(distances, epsilon=0.3, iterations=7), q * 6, rtol=1e-9)


def test_it_stays_finite_where_the_plain_kernel_would_not():
    distances = centre_distances(np.random.default_rng(2).normal(size=(50, 16)))
    assert distances.min() == pytest.approx(-1, abs=1e-4)
    assert distances.max() == pytest.approx(1, abs=1e-4)
    q = sinkhorn(distances, epsilon=0.0005, iterations=50)
    assert np.isfinite(q).all()
    np.testing.assert_allclose(q.sum(axis=0), 50 / 16, rtol=1e-9)


def test_it_shares_rows_out_evenly_where_the_nearest_code_would_not():
    rng = np.random.default_rng(3)
    distances = (
        rng.uniform(size=(64, 8)) + np.arange(8) * 0.3
    )  # code 0 is the nearest of nearly all
    nearest = np.bincount(distances.argmin(axis=1), minlength=8)
    shared = np.bincount(
        sinkhorn(centre_distances(distances), 0.01, 200).argmax(axis=1), minlength=8
    )
    assert nearest.max() > 40 and shared.max() <= 12


def catalogue(seed: int, n_items: int = 300, n_codes: int = 8):
    """Items with three levels of codes, the last the nearest code of a random residual."""
    rng = np.random.default_rng(seed)
    codebook, residuals = rng.normal(size=(n_codes, 4)), rng.normal(size=(n_items, 4))
    last = ((residuals[:, None] - codebook) ** 2).sum(-1).argmin(1)
    codes = np.column_stack([rng.integers(0, 6, n_items), rng.integers(0, 6, n_items), last])
    return Identifiers(codes, (6, 6, n_codes)), residuals, codebook


@pytest.mark.parametrize("seed", range(3))
def test_the_repair_moves_last_codes_only_and_never_makes_it_worse(seed):
    before, residuals, codebook = catalogue(seed)
    after, report = repair_collisions(before, residuals, codebook)
    np.testing.assert_array_equal(after.codes[:, :-1], before.codes[:, :-1])
    assert after.n_colliding < before.n_colliding and after.n_distinct > before.n_distinct
    assert (report.colliding_before, report.colliding_after) == (
        before.n_colliding,
        after.n_colliding,
    )
    assert (report.rate_before, report.rate_after) == (before.collision_rate, after.collision_rate)
    assert report.moved == (after.codes[:, -1] != before.codes[:, -1]).sum()
    assert 1 <= report.rounds <= 20


def test_the_report_says_what_uniqueness_costs():
    before, residuals, codebook = catalogue(0)
    after, report = repair_collisions(before, residuals, codebook)
    moved = before.codes[:, -1] != after.codes[:, -1]
    for one, distance in ((before, report.distance_before), (after, report.distance_after)):
        assert distance == pytest.approx(
            np.square(residuals - codebook[one.codes[:, -1]])[moved].sum(axis=1).mean()
        )


def test_where_nothing_is_shared_nothing_moves():
    before = Identifiers(np.array([[0, 0], [0, 1], [1, 1]]), (2, 2))
    after, report = repair_collisions(before, np.ones((3, 1)), np.array([[0.0], [1.0]]))
    assert np.array_equal(after.codes, before.codes)
    assert (report.moved, report.rounds, report.distance_before, report.distance_after) == (0,) * 4


@pytest.mark.parametrize("size", [1.0, 1e-3])
def test_each_of_two_items_that_share_gets_the_code_that_is_its_own(size):
    before = Identifiers(np.zeros((2, 2), dtype=np.int64), (1, 2))
    residuals, codebook = np.array([[0.9], [0.1]]), np.array([[0.0], [1.0]])
    after, _ = repair_collisions(before, size * residuals, size * codebook)
    assert after.codes.tolist() == [[0, 1], [0, 0]]


def test_a_round_is_sinkhorn_on_the_items_of_every_shared_identifier():
    before, residuals, codebook = catalogue(0)
    wanted = before.codes.copy()
    for group in range(before.n_distinct):
        items = np.flatnonzero(before.identifier_of_item == group)
        if len(items) > 1:
            distances = ((residuals[items][:, None] - codebook) ** 2).sum(-1)
            wanted[items, -1] = sinkhorn(centre_distances(distances)).argmax(1)
    assert Identifiers(wanted, before.level_sizes).n_colliding < before.n_colliding
    assert np.array_equal(repair_collisions(before, residuals, codebook, rounds=1)[0].codes, wanted)


@pytest.mark.parametrize("rounding", [0.0, 5e-7])
def test_equal_items_go_on_sharing_and_the_repair_stops(rounding):
    """A product in float32 may round equal rows differently: these remain equal items."""
    codebook = np.random.default_rng(0).normal(size=(8, 4))
    before = Identifiers(np.array([[0, 1], [0, 1], [1, 1]]), (2, 8))
    equal = np.tile(codebook[1], (3, 1)) + rounding * np.eye(3, 4)
    after, report = repair_collisions(before, equal, codebook)
    assert report.colliding_after == 2 and report.rounds <= 3
    np.testing.assert_array_equal(after.codes[2], before.codes[2])


def test_equal_items_keep_their_code_while_others_are_told_apart():
    """Nothing is gained by moving twins, and they might land on a third item's identifier."""
    book = np.random.default_rng(0).normal(size=(8, 4))
    residuals = np.vstack([book[5], book[5], book[2] + 0.1 * book[3], book[2] + 0.1 * book[6]])
    before = Identifiers(np.array([[0, 5], [0, 5], [1, 2], [1, 2]]), (2, 8))
    after, _ = repair_collisions(before, residuals, book)
    assert after.codes[:2].tolist() == [[0, 5], [0, 5]] and after.n_colliding == 2
    assert after.codes[2].tolist() != after.codes[3].tolist()


class TwoSeen:
    """A tokenizer fitted on two items; `encode` gives what it was made with."""

    def __init__(self, codes, residuals):
        self.encoded = np.array(codes), np.array(residuals)

    def identifiers(self):
        return Identifiers(np.array([[0, 0, 0], [0, 0, 1]]), (2, 2, 2))

    def codebooks(self):
        return [np.array([[0.0], [1.0]])] * 3

    def encode(self, semantic):
        return self.encoded


def test_unseen_items_take_free_codes_in_turn_and_share_if_none_is_left():
    own = [[0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]]
    tokenizer = TwoSeen(own, [[0.9], [0.2], [0.1], [0.0]])
    found = identifiers_with_unseen(tokenizer, np.zeros((6, 1)), np.array([1, 3, 4, 5]))
    wanted = [[0, 0, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0], [1, 0, 1], [1, 0, 0]]
    assert found.codes.tolist() == wanted and found.level_sizes == (2, 2, 2)


def test_without_unseen_items_the_identifiers_are_the_tokenizers():
    tokenizer = TwoSeen([], [])
    found = identifiers_with_unseen(tokenizer, np.zeros((2, 1)), np.array([], dtype=np.int64))
    assert found.codes.tolist() == tokenizer.identifiers().codes.tolist()
