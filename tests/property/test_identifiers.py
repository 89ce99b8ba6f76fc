"""Identifiers survive their file format, and their counts agree with plain Python."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlib.tokenizer.identifiers import Identifiers


@st.composite
def identifiers(draw) -> Identifiers:
    sizes = draw(st.lists(st.integers(1, 300), min_size=1, max_size=8))
    row = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    # Few distinct rows, so that shared identifiers are common.
    rows = draw(st.lists(row, min_size=1, max_size=6))
    picks = draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=20))
    return Identifiers(np.array([rows[i] for i in picks], dtype=np.int64), tuple(sizes))


@given(one=identifiers())
@settings(max_examples=60, deadline=None)
def test_a_round_trip_changes_nothing(tmp_path_factory, one):
    path = tmp_path_factory.mktemp("identifiers") / "Name.index.json"
    one.save(path)
    again = Identifiers.load(path, n_items=one.n_items, level_sizes=one.level_sizes)
    np.testing.assert_array_equal(again.codes, one.codes)
    assert again.level_sizes == one.level_sizes
    assert again.codes.dtype == np.int64


@given(one=identifiers())
@settings(max_examples=60, deadline=None)
def test_counts_agree_with_a_counter_of_token_lists(one):
    counts = Counter(tuple(one.tokens(item)) for item in range(len(one)))
    assert one.n_distinct == len(counts)
    assert one.n_colliding == sum(n for n in counts.values() if n > 1)
    assert one.collision_rate == 1 - len(counts) / len(one)
    np.testing.assert_array_equal(one.distinct[one.identifier_of_item], one.codes)
    assert set(one.identifier_of_item) == set(range(one.n_distinct))
    for level, size in enumerate(one.level_sizes):
        assert one.dead_codes[level] == size - len(
            {one.tokens(item)[level] for item in range(len(one))}
        )
