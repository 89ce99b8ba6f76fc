"""Metrics against slow references, over lists with missing items, shared identifiers and targets
anywhere.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlib.errors import LetterError
from letterlib.evaluation import metrics as m

N_ITEMS = 12
IDENTIFIERS = st.lists(st.integers(0, 4), min_size=N_ITEMS, max_size=N_ITEMS).map(np.array)


@st.composite
def lists_and_targets(draw):
    """Lists of distinct items, some places empty (-1), and one target each."""
    k, n = draw(st.integers(1, 8)), draw(st.integers(1, 5))
    rows = []
    for _ in range(n):
        row = draw(st.permutations(range(N_ITEMS)))[:k]
        empty = draw(st.lists(st.booleans(), min_size=k, max_size=k))
        rows.append([-1 if e else item for item, e in zip(row, empty, strict=True)])
    targets = draw(st.lists(st.integers(0, N_ITEMS - 1), min_size=n, max_size=n))
    return np.array(rows), np.array(targets)


def slow_identifier_rank(row, target, identifier_of_item):
    seen = []
    for item in row:
        if item < 0:
            seen.append(object())  # an empty place is a place, and equal to nothing
            continue
        identifier = identifier_of_item[item]
        if identifier == identifier_of_item[target]:
            return len(seen)
        if identifier not in seen:
            seen.append(identifier)
    return m.ABSENT


@given(lists_and_targets(), st.integers(1, 10))
@settings(max_examples=150, deadline=None)
def test_recall_ndcg_and_mrr_equal_a_slow_reference(case, k):
    items, targets = case
    ranks = m.ranks_of(items, targets)
    values = [m.case_values(ranks, f"{name}@{k}", depth=10) for name in ("R", "N", "MRR")]
    for row, target, rank, hit, gain, reciprocal in zip(
        items.tolist(), targets, ranks, *values, strict=True
    ):
        assert rank == (row.index(target) if target in row else m.ABSENT)
        assert hit == (target in row[:k])
        ideal = 1 / math.log2(2)
        wanted = (
            sum(1 / math.log2(place + 2) for place, item in enumerate(row[:k]) if item == target)
            / ideal
        )
        assert gain == np.float64(wanted)
        assert reciprocal == sum(1 / (i + 1) for i, item in enumerate(row[:k]) if item == target)
    assert m.mean_value(ranks, f"N@{k}", depth=10) == float(values[1].mean())


@pytest.mark.parametrize("metric", ["R@11", "N@0", "MAP@5", "R", "R@x"])
def test_a_metric_that_the_ranks_cannot_give_is_refused_by_name(metric):
    with pytest.raises(LetterError, match=metric):
        m.case_values(np.array([0, m.ABSENT]), metric, depth=10)


@given(lists_and_targets(), IDENTIFIERS)
@settings(max_examples=200, deadline=None)
def test_identifier_ranks_equal_a_slow_reference(case, identifier_of_item):
    items, targets = case
    wanted = [
        slow_identifier_rank(r, t, identifier_of_item) for r, t in zip(items, targets, strict=True)
    ]
    assert m.identifier_ranks(items, targets, identifier_of_item).tolist() == wanted


@given(lists_and_targets(), IDENTIFIERS)
@settings(max_examples=100, deadline=None)
def test_sharing_an_identifier_never_hurts(case, identifier_of_item):
    """The reason why the identifier-level figure may not replace the item-level one."""
    items, targets = case
    own, shared = m.ranks_of(items, targets), m.identifier_ranks(items, targets, identifier_of_item)
    assert all(b != m.ABSENT and b <= a for a, b in zip(own, shared, strict=True) if a != m.ABSENT)
    assert m.identifier_ranks(items, targets, np.arange(N_ITEMS)).tolist() == own.tolist()


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_gini_is_half_the_relative_mean_difference(counts):
    n, total = len(counts), sum(counts)
    wanted = sum(abs(a - b) for a in counts for b in counts) / (2 * n * total) if total else 0.0
    assert math.isclose(m.gini(np.array(counts)), wanted, abs_tol=1e-12)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=15))
@settings(max_examples=150, deadline=None)
def test_popularity_groups_hold_a_third_of_the_interactions_each(counts):
    """Walking down from the most popular item, ties by id, an item's group is where it begins."""
    groups, before, total = m.popularity_groups(np.array(counts)), 0, sum(counts)
    for item in sorted(range(len(counts)), key=lambda i: (-counts[i], i)):
        if counts[item] == 0:
            assert groups[item] == m.COLD
            continue
        third = 0 if 3 * before < total else 1 if 3 * before < 2 * total else 2
        assert groups[item] == (m.HEAD, m.MIDDLE, m.TAIL)[third]
        before += counts[item]
