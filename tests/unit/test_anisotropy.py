"""Cones, their mean direction, and hubs."""

import numpy as np
import pytest

from letterlib.analysis.anisotropy import mean_cosine, mean_share, times_neighbour
from letterlib.analysis.neighbours import nearest, unit_rows
from letterlib.errors import LetterError


def vectors(n=30, d=5, lean=1.0):
    return np.random.default_rng(0).normal(size=(n, d)) + lean


def test_the_mean_cosine_is_that_of_all_pairs():
    unit = unit_rows(vectors())
    cosines = unit @ unit.T
    assert mean_cosine(vectors()) == pytest.approx(cosines[np.triu_indices(30, 1)].mean())


def test_length_does_not_change_a_cosine():
    lengths = np.linspace(0.1, 9, 30)[:, None]
    assert mean_cosine(vectors() * lengths) == pytest.approx(mean_cosine(vectors()))


def test_two_opposite_rows_and_a_zero_row():
    assert mean_cosine(np.array([[1.0, 0.0], [-2.0, 0.0]])) == pytest.approx(-1)
    assert mean_cosine(np.array([[1.0, 0.0], [0.0, 0.0]])) == pytest.approx(0)


def test_one_row_has_no_pairs():
    with pytest.raises(LetterError, match="at least 2 rows"):
        mean_cosine(np.ones((1, 3)))


def test_the_mean_holds_all_of_equal_rows_and_nothing_of_centred_ones():
    x = vectors()
    assert mean_share(np.ones((4, 3))) == pytest.approx(1)
    assert mean_share(x - x.mean(axis=0)) == pytest.approx(0)
    assert mean_share(x) == pytest.approx(np.square(x.mean(0)).sum() / np.square(x).sum(1).mean())


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_rows_without_any_length_are_refused(bad):
    with pytest.raises(LetterError, match="zero or some hold NaN"):
        mean_share(np.full((3, 2), bad))


def test_every_list_is_counted():
    found = nearest(vectors(), 4)
    counts = times_neighbour(found)
    assert counts.shape == (30,) and counts.sum() == 30 * 4
    assert counts[found[0, 0]] == (found == found[0, 0]).sum()
