"""P-values from intervals, and Holm's correction against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from letterlib.evaluation.bootstrap import Interval
from letterlib.evaluation.multiple_comparisons import holm, p_value

families = st.lists(st.floats(0, 1), min_size=1, max_size=25).map(np.array)


@pytest.mark.parametrize("z", [0.0, 0.5, 1.959964, 3.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_p_value_is_the_normal_one_of_the_interval(z, sign):
    one = Interval(
        sign * z * 0.01, sign * z * 0.01 - 1.959964 * 0.01, sign * z * 0.01 + 1.959964 * 0.01
    )
    assert p_value(one) == pytest.approx(2 * norm.sf(z), rel=1e-6)


def test_an_interval_without_width():
    assert p_value(Interval(0.0, 0.0, 0.0)) == 1
    assert p_value(Interval(0.1, 0.1, 0.1)) == 1


def test_holms_own_arithmetic():
    """Sorted: .005 x 4, .01 x 3, .03 x 2, .04 x 1 = .02, .03, .06, .04; the last may not fall below
    .06.
    """
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([])).shape == (0,)


@given(families)
def test_what_is_found_is_what_the_step_down_rule_rejects(p):
    """The rule as Holm states it: go up as long as p is at most level / (those left), and stop at
    the first failure.
    """
    adjusted = holm(p)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for k, i in enumerate(np.argsort(p, kind="stable")):
            if p[i] * (len(p) - k) > level:
                break
            rejected.add(int(i))
        assert set(np.flatnonzero(adjusted <= level).tolist()) == rejected


@given(families)
def test_holm_lies_between_the_p_value_and_bonferroni(p):
    adjusted = holm(p)
    assert (adjusted >= p).all() and (adjusted <= np.minimum(1, len(p) * p)).all()
    assert holm(p[::-1])[::-1] == pytest.approx(adjusted)


@pytest.mark.parametrize("wrong", [np.nan, 1.2, -0.1])
def test_what_is_no_p_value_is_refused(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(np.array([0.01, wrong]))


def test_the_risk_of_any_false_alarm_is_five_per_cent():
    """Ten true nulls, 4,000 times: without a correction 40% of families have a false alarm, with it
    5%.
    """
    p = np.random.default_rng(0).random((4000, 10))
    alone = (p < 0.05).any(axis=1).mean()
    together = np.mean([(holm(row) < 0.05).any() for row in p])
    assert 0.37 < alone < 0.43 and 0.035 < together < 0.065
