"""Random codes, residual k-means, categories, titles and co-occurrence as identifiers."""

from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.metrics import adjusted_rand_score
from transformers import AutoTokenizer

from letterlib.data import load_dataset
from letterlib.data.dataset import Dataset, Sequences, Split
from letterlib.decoding.trie import EOS, Trie, tokens_of
from letterlib.errors import LetterError, Unavailable
from letterlib.text import find_encoder
from letterlib.tokenizer import other_identifiers
from letterlib.tokenizer.letter import standardize
from letterlib.tokenizer.other_identifiers import (
    NO_PIECE,
    category_identifiers,
    cooccurrence_degrees,
    cooccurrence_identifiers,
    leading_eigenvectors,
    parts_of,
    random_identifiers,
    residual_kmeans_identifiers,
    title_identifiers,
    with_running_number,
)

# Random codes


def test_random_identifiers_are_distinct_in_range_and_the_seeds():
    first, again, other = (random_identifiers(3000, seed) for seed in (0, 0, 1))
    assert first.codes.shape == (3000, 4) and first.level_sizes == (256,) * 4
    assert first.n_colliding == 0 and first.dead_codes == (0, 0, 0, 0)
    assert np.array_equal(first.codes, again.codes) and not np.array_equal(first.codes, other.codes)
    assert random_identifiers(500, 1, 8, 256).n_distinct == 500, "more than can be numbered"


def test_random_identifiers_use_up_all_that_there_are_and_not_more():
    assert random_identifiers(27, 0, 3, 3).n_distinct == 27
    with pytest.raises(LetterError, match="28 items, but 3 levels of 3 codes make 27 identifiers"):
        random_identifiers(28, 0, 3, 3)


# Residual k-means


def test_levels_before_the_last_are_scikit_learns_clusters():
    vectors = np.random.default_rng(1).standard_normal((300, 6)).astype(np.float32)
    identifiers, left = residual_kmeans_identifiers(vectors, 3, 3, 8), standardize(vectors)
    for level in range(2):
        model = KMeans(8, n_init=1, random_state=3 + level).fit(left)
        # Not 1, because k-means stops a step earlier.
        assert adjusted_rand_score(model.labels_, identifiers.codes[:, level]) > 0.97
        left = left - model.cluster_centers_[model.labels_]


# Paths with a running number, and categories


def test_a_running_number_makes_paths_distinct_and_none_the_beginning_of_another():
    paths = np.array([[1, 0], [2, 1], [1, 0], [1, 2], [0, 0], [1, 0]])
    numbered = with_running_number(paths)
    numbers = [0, 0, 1, 0, 0, 2]
    assert numbered.codes.tolist() == [[*path, n] for path, n in zip(paths, numbers, strict=True)]
    assert numbered.level_sizes == (3, 3, 3) and numbered.n_colliding == 0


def test_a_running_number_has_as_many_digits_of_256_as_the_largest_path_needs():
    assert with_running_number(np.ones((256, 1), dtype=np.int64)).codes[-1].tolist() == [1, 255]
    numbered = with_running_number(np.ones((600, 1), dtype=np.int64))
    assert numbered.codes[[255, 256, 599]].tolist() == [[1, 0, 255], [1, 1, 0], [1, 2, 87]]
    assert numbered.level_sizes == (2, 3, 256)


def catalogue(labels: list[str]) -> Dataset:
    columns = pd.DataFrame({"title": [f"item {i}" for i in range(len(labels))], "genres": labels})
    return Dataset("made", Sequences.from_lists([[0, 1, 2]]), columns, "made up", ["u"])


def by_hand(labels: list[str], depth: int) -> list[tuple]:
    """Category identifiers by a dictionary per level and a counter per path, item after item."""
    paths = [tuple((text.split("|") if text else [])[:depth]) for text in labels]
    known = [sorted({path[level] for path in paths if len(path) > level}) for level in range(depth)]
    met, rows = {}, []
    for path in paths:
        met[path] = met.get(path, -1) + 1
        codes = [known[level].index(label) + 1 for level, label in enumerate(path)]
        rows.append((*codes, *[0] * (depth - len(path)), met[path]))
    return rows


def test_categories_by_hand():
    """An empty label is no step, and code 0 is the end even where no path ends."""
    labels = ["Toys|Ball", "Toys", "|Ball||Toys", "Toys|Ball", ""]
    expected = [[2, 1, 0], [2, 0, 0], [1, 2, 0], [2, 1, 1], [0, 0, 0]]
    assert category_identifiers(catalogue(labels), 2).codes.tolist() == expected
    ones = category_identifiers(catalogue(["a", "b", "b"]), 1)
    assert ones.codes.tolist() == [[1, 0], [2, 0], [2, 1]]


def test_films_by_category_and_title(tmp_path):
    films = load_dataset("movielens", cache_dir=tmp_path)
    identifiers = category_identifiers(films)
    rows = by_hand(films.items["genres"].tolist(), 3)
    assert identifiers.codes.tolist() == [[*row[:3], *divmod(row[3], 256)] for row in rows]
    assert identifiers.level_sizes == (19, 19, 18, 2, 256)
    titles = title_identifiers(films.titles())
    assert titles.identifiers.n_colliding == 6 and round(titles.cut, 2) == 0.24


def test_beauty_by_category_title_and_cooccurrence(shared_data):
    beauty = load_dataset("beauty", shared_data / "beauty")
    with pytest.raises(Unavailable, match="beauty"):
        category_identifiers(beauty)
    titles = title_identifiers(beauty.titles())
    assert titles.identifiers.n_colliding == 429 and round(titles.cut, 2) == 0.36
    split = beauty.split()
    identifiers = cooccurrence_identifiers(split)
    assert identifiers.n_colliding == 0 and identifiers.n_levels <= 5
    unseen = np.flatnonzero(split.train_counts == 0)
    assert len(unseen) == 33 and np.array_equal(
        np.flatnonzero(identifiers.codes[:, 0] == 21), unseen
    )


# Titles

TITLES = ["Toy Story", "Toy Story 2", "The Story", "Toy Story", "Heat of the Toy, a story 2", ""]


@cache
def pieces_of(text: str) -> list[int]:
    tokenizer = AutoTokenizer.from_pretrained(find_encoder())
    return tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("length", [1, 2, 5, 26])
def test_an_identifier_read_back_is_its_title(length):
    titles = title_identifiers(TITLES, length)
    for title, row in zip(TITLES, titles.identifiers.codes, strict=True):
        read = titles.pieces[row].tolist()
        expected = pieces_of(title)[:length]
        assert read == expected + [NO_PIECE] * (len(read) - len(expected))
    occurring = {piece for title in TITLES for piece in pieces_of(title)[:length]}
    assert sorted(titles.pieces.tolist()) == [NO_PIECE, *sorted(occurring)]
    assert titles.cut == np.mean([len(pieces_of(title)) > length for title in TITLES])


def test_a_word_is_the_same_token_at_every_place_and_no_title_is_the_beginning_of_another():
    identifiers = title_identifiers(TITLES, 3).identifiers
    assert identifiers.shared_vocabulary
    tokens = tokens_of(identifiers.codes, identifiers.level_sizes, True)
    assert tokens[0, 1] == tokens[2, 1]  # "story"
    trie = Trie.build(identifiers.codes, identifiers.level_sizes, shared_vocabulary=True)
    assert trie.vocabulary_size == identifiers.level_sizes[0] + 2 > tokens.max()
    assert np.array_equal(trie.walk(torch.from_numpy(tokens)).numpy(), trie.leaf_of_item)
    (toy, story, end), two = tokens[0].tolist(), int(tokens[1, 2])
    assert trie.allowed([toy, story]) == sorted([end, two]) and end == 2
    assert trie.allowed([toy, story, end]) == trie.allowed([toy, story, two]) == [EOS]


# Co-occurrence


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
) -> tuple[list, np.ndarray]:
    """Users who take items of one community, with a few strays. Returns histories and each item's
    community.
    """
    generator = np.random.default_rng(seed)
    community = generator.permutation(np.arange(n_items) % parts)
    histories = []
    for _ in range(n_users):
        weight = np.where(community == generator.integers(parts), 1.0, stray / parts)
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


def test_equal_parts_are_cut_along_the_second_eigenvector(monkeypatch):
    """Of a chain that is its length: neighbours stay together."""
    monkeypatch.setattr(other_identifiers, "LARGEST_SHARE", 0.0)
    chain = np.random.default_rng(0).permutation(12)
    pairs = np.repeat(np.arange(11), 2), np.stack([chain[:-1], chain[1:]], axis=1).ravel()
    parts = parts_of(csr_array((np.ones(22), pairs), shape=(11, 12)), 3, seed=0)[chain].tolist()
    assert sorted([parts, parts[::-1]])[0] == [0] * 4 + [1] * 4 + [2] * 4


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


def test_a_graph_of_few_distinct_eigenvalues_gives_the_same_identifiers_again():
    """All have two items, and each of 300 has users of its own: eigsh runs out of directions, and
    draws one.
    """
    split = split_of([[0, 1, item] for item in range(2, 302) for _ in range(5)], 302)
    first, *others = (cooccurrence_identifiers(split).codes for _ in range(3))
    assert all(np.array_equal(first, one) for one in others)


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
@pytest.mark.parametrize(("n_clusters", "leaf"), [(2, 1), (20, 100), (60, 3)])
def test_every_graph_ends_in_leaves(histories, n_clusters, leaf):
    split = split_of(histories, 52)
    identifiers = cooccurrence_identifiers(split, n_clusters=n_clusters, leaf=leaf)
    assert identifiers.n_colliding == 0 and identifiers.n_levels < 12
    assert max(np.unique(identifiers.codes[:, :-1], axis=0, return_counts=True)[1]) <= leaf
