"""P5-CID: spectral clustering of who has items together, and all that can go wrong with clusters."""

import tracemalloc
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from letterlib.data import load_dataset
from letterlib.data.dataset import Dataset, Sequences, Split
from letterlib.errors import LetterError
from letterlib.tokenizer import cooccurrence_identifiers as module
from letterlib.tokenizer.cooccurrence_identifiers import (
    cooccurrence_degrees,
    cooccurrence_identifiers,
    leading_eigenvectors,
    parts_of,
)


def split_of(histories: list, n_items: int) -> Split:
    """A split whose training part is `histories`; validation and test are items 0 and 1 for
    everybody.
    """
    items = pd.DataFrame({"title": [f"item {i}" for i in range(n_items)]})
    walks = [[*history, 0, 1] for history in histories]
    return Dataset(
        "made", Sequences.from_lists(walks), items, "made up", [str(u) for u in range(len(walks))]
    ).split(1)


def communities(
    n_users: int = 300,
    n_items: int = 120,
    parts: int = 4,
    stray: float = 0.1,
    seed: int = 0,
    skew: float = 0.0,
) -> tuple[list, np.ndarray]:
    """Users who take items of one community, with a few strays. Returns histories and each item's
    community.

    skew: 0 where all items are as popular; else the popularity of rank r, mixed over communities,
    is r^-skew.
    """
    generator = np.random.default_rng(seed)
    community = generator.permutation(np.arange(n_items) % parts)
    popularity = (1 + generator.permutation(n_items)) ** -skew if skew else 1.0
    histories = []
    for _ in range(n_users):
        weight = np.where(community == generator.integers(parts), 1.0, stray / parts) * popularity
        histories.append(generator.choice(n_items, 12, replace=False, p=weight / weight.sum()))
    return histories, community


def table(histories: list, n_items: int) -> csr_array:
    """[n_users, n_items] of 0 and 1."""
    return csr_array(
        [np.bincount(history, minlength=n_items).clip(max=1) for history in histories], dtype=float
    )


def counted(histories: list, n_items: int) -> np.ndarray:
    """The graph as a dense matrix, pair by pair."""
    graph = np.zeros((n_items, n_items))
    for history in histories:
        for i, j in combinations(sorted({int(item) for item in history}), 2):
            graph[i, j] += 1
            graph[j, i] += 1
    return graph


def test_the_eigenvectors_are_those_of_the_graph_written_out():
    histories = [history[: 2 + 10 * (u % 2)] for u, history in enumerate(communities()[0])]
    histories += [[0]] * 200  # item 0 is had alone: no edge to itself
    users, graph = table(histories, 120), counted(histories, 120)
    degrees = cooccurrence_degrees(users)
    assert np.allclose(degrees, graph.sum(axis=1))
    vectors = leading_eigenvectors(users, degrees, 4, 0)
    scale = (graph.sum(axis=1) + graph.sum(axis=1).mean()) ** -0.5
    values, dense = np.linalg.eigh(scale[:, None] * graph * scale)
    assert (
        values[-4] - values[-5] > 0.05
    )  # four communities: the next eigenvector is another matter
    for first in (1, 4):  # the first eigenvector, and the space of all four
        same = np.linalg.svd(vectors[:, :first].T @ dense[:, ::-1][:, :first], compute_uv=False)
        assert np.allclose(same, 1, atol=1e-3)


def test_communities_are_found_as_scikit_learn_finds_them():
    histories, community = communities()
    part = parts_of(table(histories, 120), 4, 0)
    theirs = SpectralClustering(4, affinity="precomputed", random_state=0).fit_predict(
        counted(histories, 120)
    )
    assert adjusted_rand_score(community, part) == adjusted_rand_score(theirs, part) == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_communities_are_found_where_few_items_have_most_of_the_users(seed):
    """Directions are clustered, not vectors, whose lengths say how popular an item is: those would
    find .3 at best.
    """
    histories, community = communities(600, seed=seed, skew=1.5)
    assert adjusted_rand_score(community, parts_of(table(histories, 120), 4, 0)) > 0.9


def test_clusters_are_cut_until_they_fit_a_leaf():
    histories, community = communities()
    identifiers = cooccurrence_identifiers(split_of(histories, 120), n_clusters=4, leaf=10)
    assert identifiers.n_colliding == 0
    *clusters, _ = identifiers.codes.T
    assert len(clusters) >= 2
    assert max(np.unique(np.stack(clusters), axis=1, return_counts=True)[1]) <= 10
    for item, other in combinations(range(120), 2):  # items of one leaf are of one community
        if all(column[item] == column[other] for column in clusters):
            assert community[item] == community[other]
    whole = cooccurrence_identifiers(split_of(histories, 120), n_clusters=4, leaf=40)
    assert whole.n_levels == 2 and adjusted_rand_score(community, whole.codes[:, 0]) == 1


def test_a_cluster_that_is_cut_no_further_keeps_the_length():
    """One small and one large community: the small one is a leaf at once."""
    histories = [np.random.default_rng(u).permutation(20)[:5] for u in range(100)]
    histories += [20 + np.random.default_rng(u).permutation(48)[:12] for u in range(200)]
    identifiers = cooccurrence_identifiers(split_of(histories, 68), n_clusters=2, leaf=20)
    assert np.array_equal(np.flatnonzero(identifiers.codes[:, 1] == 0), np.arange(20))
    assert (
        identifiers.n_levels == 4
        and (identifiers.codes[20:, 1] > 0).all()
        and identifiers.n_distinct == 68
    )


def test_items_without_training_interactions_are_a_part_of_their_own():
    histories, _ = communities()
    lonely = np.arange(120, 165)
    identifiers = cooccurrence_identifiers(split_of(histories, 165), n_clusters=4, leaf=10)
    assert set(identifiers.codes[lonely, 0]) == {5} and 5 not in identifiers.codes[:120, 0]
    assert np.bincount(identifiers.codes[lonely, 1]).tolist() == [0, 12, 11, 11, 11]
    assert (np.diff(identifiers.codes[lonely, 1]) >= 0).all()  # in the order of their ids
    assert identifiers.n_colliding == 0


def test_an_item_alone_in_its_histories_has_no_edge():
    histories, _ = communities()
    part = parts_of(table([*histories, [120], [120]], 121), 4, 0)
    assert part[120] == 4 and part[:120].max() == 3


def test_a_clustering_that_leaves_all_in_one_part_still_ends(monkeypatch):
    """Then neighbours by the second eigenvector stay together, where a cut by item ids would part
    them.
    """
    histories, community = communities(parts=2)
    monkeypatch.setattr(
        module, "kmeans_codebook", lambda x, n_codes, seed: np.zeros((n_codes, x.shape[1]))
    )
    identifiers = cooccurrence_identifiers(split_of(histories, 120), n_clusters=2, leaf=10)
    assert identifiers.n_colliding == 0
    assert adjusted_rand_score(community, identifiers.codes[:, 0]) > 0.9


@pytest.mark.parametrize(
    "histories",
    [
        [list(range(50))] * 5,  # everybody has everything: no structure
        [[item] for item in range(50)],  # no edges at all
        [[2 * pair, 2 * pair + 1] for pair in range(25)],  # many components
        [[0, item] for item in range(1, 50)],  # a star
    ],
    ids=["complete", "empty", "pairs", "star"],
)
@pytest.mark.parametrize(("n_clusters", "leaf"), [(2, 1), (4, 5), (20, 100), (60, 3)])
def test_every_graph_ends_in_leaves(histories, n_clusters, leaf):
    identifiers = cooccurrence_identifiers(
        split_of(histories, 52), n_clusters=n_clusters, leaf=leaf
    )
    assert identifiers.n_colliding == 0 and identifiers.n_levels < 12
    assert max(np.unique(identifiers.codes[:, :-1], axis=0, return_counts=True)[1]) <= leaf


def test_equal_parts_are_cut_along_the_second_eigenvector(monkeypatch):
    """Of a chain that is its length: neighbours stay together."""
    monkeypatch.setattr(module, "LARGEST_SHARE", 0.0)
    chain = np.random.default_rng(0).permutation(12)
    pairs = np.repeat(np.arange(11), 2), np.stack([chain[:-1], chain[1:]], axis=1).ravel()
    parts = parts_of(csr_array((np.ones(22), pairs), shape=(11, 12)), 3, seed=0)[chain].tolist()
    assert sorted([parts, parts[::-1]])[0] == [0] * 4 + [1] * 4 + [2] * 4


def test_components_are_not_mixed_by_the_first_cut():
    generator = np.random.default_rng(0)
    histories = [30 * (u % 3) + generator.choice(30, 8, replace=False) for u in range(150)]
    part = parts_of(table(histories, 90), 3, 0)
    assert adjusted_rand_score(np.arange(90) // 30, part) == 1


def test_nothing_but_the_training_part_counts():
    histories, _ = communities()
    split = split_of(histories, 120)
    values = split.dataset.sequences.values.copy()
    ends = split.dataset.sequences.offsets[1:]
    values[ends - 2], values[ends - 1] = 7, 8  # a planted pair: 300 users have 7 and 8 together
    later = Sequences(values, split.dataset.sequences.offsets)
    leaky = Dataset("made", later, split.dataset.items, "", split.dataset.user_labels).split(1)
    assert np.array_equal(
        cooccurrence_identifiers(leaky).codes, cooccurrence_identifiers(split).codes
    )
    values[ends - 3], values[ends - 4] = 7, 8  # and in the training part it does change them
    planted = Dataset("made", later, split.dataset.items, "", split.dataset.user_labels).split(1)
    assert not np.array_equal(
        cooccurrence_identifiers(planted).codes, cooccurrence_identifiers(split).codes
    )


def test_an_item_counts_once_for_a_user():
    histories, _ = communities()
    twice = [np.concatenate([history, history[:6]]) for history in histories]
    once = cooccurrence_identifiers(split_of(histories, 120)).codes
    assert np.array_equal(cooccurrence_identifiers(split_of(twice, 120)).codes, once)


def test_a_seed_gives_the_same_identifiers_again():
    split = split_of(communities()[0], 120)
    first, again, other = (cooccurrence_identifiers(split, seed, 4, 10).codes for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_graph_of_few_distinct_eigenvalues_gives_the_same_identifiers_again():
    """All have two items, and each of 300 has users of its own: eigsh runs out of directions, and
    draws one.
    """
    split = split_of([[0, 1, item] for item in range(2, 302) for _ in range(5)], 302)
    first, *others = (cooccurrence_identifiers(split).codes for _ in range(3))
    assert all(np.array_equal(first, one) for one in others)


def test_no_table_of_items_by_items_is_made():
    """12,101 items: even at one byte a pair it would be 146 MB. One user has them all, which makes
    the graph dense.
    """
    generator = np.random.default_rng(0)
    n_items = 12_101
    starts = generator.integers(0, n_items, 5000)
    histories = [(start + generator.integers(0, 300, 8)) % n_items for start in starts] + [
        np.arange(n_items)
    ]
    split = split_of(histories, n_items)
    tracemalloc.start()
    identifiers = cooccurrence_identifiers(split)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6 and identifiers.n_colliding == 0


def test_released_beauty(shared_data):
    split = load_dataset("beauty", shared_data / "beauty").split()
    identifiers = cooccurrence_identifiers(split)
    assert (
        identifiers.n_colliding == 0
        and identifiers.n_levels <= 5
        and max(identifiers.level_sizes[:-1]) == 22
    )
    unseen = split.train_counts == 0
    assert unseen.sum() == 33 and set(np.flatnonzero(identifiers.codes[:, 0] == 21)) == set(
        np.flatnonzero(unseen)
    )


def test_too_few_clusters_are_refused():
    with pytest.raises(LetterError, match="1 clusters and leaves of 5"):
        cooccurrence_identifiers(split_of(communities()[0], 120), n_clusters=1, leaf=5)


def test_few_connected_items_stay_together():
    """Four items of one user and two of another among two hundred: too few to cluster, and no
    neighbours by number.
    """
    users = np.zeros((2, 200))
    users[0, [10, 60, 110, 160]] = users[1, [5, 55]] = 1
    parts = parts_of(csr_array(users), 20, 0)
    assert len(set(parts[[10, 60, 110, 160, 5, 55]])) == 1 and len(set(parts.tolist())) > 10


@pytest.mark.parametrize(("large", "expected"), [(8, [4, 8]), (9, [6, 6])])
def test_a_part_of_three_quarters_is_where_equal_parts_begin(large, expected):
    """Two users, who have all of the first and all of the last of twelve items: two parts that any
    clustering finds.
    """
    users = (np.arange(12) < large) == np.array([[True], [False]])
    part = parts_of(csr_array(users.astype(float)), 2, 0)
    assert sorted(np.bincount(part)) == expected and len(set(part[large:])) == 1


@pytest.mark.parametrize(("n_items", "sizes"), [(2000, (21, 100)), (2001, (21, 21, 100))])
def test_twenty_clusters_and_leaves_of_a_hundred_are_the_default(n_items, sizes):
    """Without edges, all are cut into equal parts: 20 of 100, or one of 101, which is cut again."""
    assert cooccurrence_identifiers(split_of([[0]], n_items)).level_sizes == sizes
