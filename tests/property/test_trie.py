"""The trie as arrays and as a dictionary accept the same sequences and allow the same next
tokens.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlib.decoding.beam_search import expand_leaves
from letterlib.decoding.logits_processor import TrieLogitsProcessor
from letterlib.decoding.trie import EOS, PAD, DictTrie, Trie, tokens_of, vocabulary_size


@st.composite
def catalogues(draw):
    """(codes [n_items, L], level sizes): few codes per level, so that prefixes and identifiers are
    shared.
    """
    sizes = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=5)))
    row = st.tuples(*(st.sampled_from(sorted({0, size // 2, size - 1})) for size in sizes))
    rows = draw(st.lists(row, min_size=1, max_size=25))
    return np.array(rows, dtype=np.int64), sizes


@settings(max_examples=80, deadline=None)
@given(catalogues(), st.data())
def test_arrays_and_dictionary_agree(catalogue, data):
    codes, sizes = catalogue
    trie, dictionary = Trie.build(codes, sizes), DictTrie(codes, sizes)
    tokens = tokens_of(codes, sizes)
    item = data.draw(st.integers(0, len(codes) - 1))
    for length in range(len(sizes) + 1):
        prefix = tokens[item, :length].tolist()
        assert trie.allowed(prefix) == dictionary.allowed(prefix) != []
    assert trie.allowed([*prefix, EOS]) == dictionary.allowed([*prefix, EOS]) == []
    foreign = data.draw(
        st.lists(st.integers(0, vocabulary_size(sizes) - 1), max_size=len(sizes) + 2)
    )
    assert trie.allowed(foreign) == dictionary.allowed(foreign)


@pytest.mark.parametrize(("sizes", "shared"), [((2, 3), False), ((3, 3), True)])
def test_a_code_that_its_level_does_not_have_is_refused(sizes, shared):
    tokens_of(np.array([[1, 2]]), sizes, shared)
    for code in (
        [-1, 0],
        [3, 0],
        [0, 3],
    ):  # the first would be the end token, the second one of the next level
        with pytest.raises(ValueError, match="level's size"):
            tokens_of(np.array([[0, 0], code]), sizes, shared)


@settings(max_examples=80, deadline=None)
@given(catalogues(), st.integers(0, 3))
def test_the_arrays_are_a_breadth_first_trie(catalogue, seed):
    codes, sizes = catalogue
    trie = Trie.build(codes, sizes, seed)
    tokens = tokens_of(codes, sizes)
    for level in range(len(sizes) + 1):
        prefixes = {tuple(row) for row in tokens[:, :level].tolist()}
        assert trie.n_nodes(level) == len(prefixes)
        if level < len(sizes):
            firsts = trie.first_child[level]
            assert firsts[0] == 0 and firsts[-1] == trie.n_nodes(level + 1)
            assert (firsts.diff() > 0).all()  # every node has a child
        # Following an item's tokens ends at the item's node, and nodes are in lexicographic order.
        walked = trie.walk(torch.from_numpy(tokens[:, :level])).numpy()
        above = trie.path(torch.from_numpy(trie.leaf_of_item))
        assert np.array_equal(walked, above[level])
        assert [one.tolist() for one in trie.path(above[level], level)] == [
            one.tolist() for one in above[: level + 1]
        ]
        rank = {prefix: i for i, prefix in enumerate(sorted(prefixes))}
        assert walked.tolist() == [rank[tuple(row)] for row in tokens[:, :level].tolist()]


@settings(max_examples=80, deadline=None)
@given(catalogues(), st.integers(0, 3))
def test_a_leaf_is_the_range_of_its_items(catalogue, seed):
    codes, sizes = catalogue
    trie = Trie.build(codes, sizes, seed)
    assert sorted(trie.items.tolist()) == list(range(len(codes)))
    for leaf in range(trie.n_nodes(len(sizes))):
        items = trie.items[trie.first_item[leaf] : trie.first_item[leaf + 1]]
        expected = np.flatnonzero(trie.leaf_of_item == leaf)
        assert sorted(items.tolist()) == expected.tolist()
        assert (codes[items] == codes[items[0]]).all()


@settings(max_examples=80, deadline=None)
@given(catalogues(), st.data())
def test_dead_nodes_are_those_without_a_remaining_item(catalogue, data):
    codes, sizes = catalogue
    trie = Trie.build(codes, sizes)
    left_out = [data.draw(st.lists(st.integers(0, len(codes) - 1), max_size=30)) for _ in range(2)]
    rows = np.repeat([0, 1], [len(one) for one in left_out])
    dead = trie.dead_nodes(rows, np.array(left_out[0] + left_out[1], dtype=np.int64), 2)
    for level, nodes in enumerate(trie.path(torch.from_numpy(trie.leaf_of_item))):
        for row, gone in enumerate(left_out):
            alive = {int(node) for item, node in enumerate(nodes.tolist()) if item not in gone}
            assert np.flatnonzero(~dead[level][row]).tolist() == sorted(alive)


def test_items_that_share_an_identifier_are_ordered_by_the_seed_alone():
    codes = np.repeat([[1, 2], [0, 1]], 30, axis=0)
    orders = [Trie.build(codes, (3, 3), seed).items.tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])[30:] + sorted(orders[0])[:30]  # not by item id


def test_tokens_are_numbered_level_by_level_after_pad_and_end():
    codes = np.array([[0, 0, 0], [2, 3, 1]])
    assert tokens_of(codes, (3, 4, 2)).tolist() == [[2, 5, 9], [4, 8, 10]]
    assert vocabulary_size((3, 4, 2)) == 11


@settings(max_examples=40, deadline=None)
@given(catalogues(), st.data())
def test_levels_may_share_one_vocabulary(catalogue, data):
    """Then the trie is that of the same words at any place, and a search finds in it what it
    holds.
    """
    codes, sizes = catalogue
    sizes = (max(sizes),) * len(sizes)
    trie = Trie.build(codes, sizes, shared_vocabulary=True)
    words = (codes + 2).tolist()
    item = data.draw(st.integers(0, len(codes) - 1))
    length = data.draw(st.integers(0, len(sizes) - 1))
    prefix = words[item][:length]
    assert trie.allowed(prefix) == sorted({row[length] for row in words if row[:length] == prefix})
    assert trie.allowed(words[item]) == [EOS] and trie.vocabulary_size == sizes[0] + 2
    assert np.array_equal(trie.leaf_of_item, Trie.build(codes, sizes).leaf_of_item)
    assert (PAD, EOS) == (0, 1)


def test_nothing_is_found_behind_a_foreign_beginning():
    trie = Trie.build(np.array([[0, 0], [1, 1]]), (3, 2))
    tokens = tokens_of(np.array([[2, 0], [0, 0], [1, 1]]), (3, 2))
    assert trie.walk(torch.from_numpy(tokens)).tolist() == [-1, 0, 1]


def test_of_no_prefixes_there_are_no_nodes():
    trie = Trie.build(np.array([[0, 0], [1, 1]]), (2, 2))
    assert trie.walk(torch.zeros(0, 2, dtype=torch.int64)).tolist() == []


def test_a_child_of_the_next_node_is_no_child():
    trie = Trie.build(np.array([[0, 0], [1, 1]]), (2, 2))
    assert trie.walk(torch.tensor([[2, 5]])).tolist() == [-1]


def test_a_vocabulary_of_more_than_int16():
    trie = Trie.build(np.array([[0], [40_000]]), (50_000,))
    assert trie.token[1].tolist() == [2, 40_002]


@pytest.mark.parametrize(
    ("written", "allowed"),
    [
        ([], [2, 3]),
        ([2], [4]),
        ([2, 4], [EOS]),
        ([2, 5], [PAD]),
        ([3, 4], [PAD]),
        ([EOS], [PAD]),
        ([2, 4, EOS], [PAD]),
    ],
)
def test_what_the_processor_allows_at_every_length(written, allowed):
    processor = TrieLogitsProcessor(Trie.build(np.array([[0, 0], [1, 1]]), (2, 2)))
    scores = processor.masked(torch.tensor([written], dtype=torch.int64), torch.zeros(1, 6))
    assert torch.isfinite(scores[0]).nonzero().flatten().tolist() == allowed


@settings(max_examples=80, deadline=None)
@given(catalogues(), st.data())
def test_leaves_become_the_items_that_a_loop_would_write(catalogue, data):
    """Also where rows leave out different items: what one user has had may be new to the next."""
    codes, sizes = catalogue
    trie, n_items = Trie.build(codes, sizes), len(codes)
    n_leaves, batch, k = (
        trie.n_nodes(len(sizes)),
        data.draw(st.integers(1, 4)),
        data.draw(st.integers(1, 12)),
    )
    width = data.draw(st.integers(1, n_leaves))
    leaves = np.array([data.draw(st.permutations(range(n_leaves)))[:width] for _ in range(batch)])
    scores = -np.arange(1.0, width + 1) * np.ones((batch, 1))
    leaves[data.draw(st.integers(0, batch - 1)), -1] = -1
    scores[data.draw(st.integers(0, batch - 1)), -1] = -np.inf
    out = [
        (row, item)
        for row in range(batch)
        for item in data.draw(st.sets(st.integers(0, n_items - 1)))
    ]
    excluded = tuple(np.array(out, dtype=np.int64).reshape(-1, 2).T)
    items, values = expand_leaves(trie, leaves, scores, k, excluded)
    for row in range(batch):
        found = [
            (int(item), score)
            for leaf, score in zip(leaves[row].tolist(), scores[row].tolist(), strict=True)
            if leaf >= 0 and np.isfinite(score)
            for item in trie.items[trie.first_item[leaf] : trie.first_item[leaf + 1]]
            if (row, int(item)) not in out
        ][:k]
        found += [(-1, -np.inf)] * (k - len(found))
        assert list(zip(items[row].tolist(), values[row].tolist(), strict=True)) == found


def test_codes_of_eight_bits_do_not_overflow_as_tokens():
    codes = np.array([[255, 3]])
    for shared in (True, False):
        expected = tokens_of(codes, (256, 256), shared)
        assert (tokens_of(codes.astype(np.uint8), (256, 256), shared) == expected).all()
        assert expected.min() >= 0 and expected.dtype == np.int64
