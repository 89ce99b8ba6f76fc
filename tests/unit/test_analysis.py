"""Analysis of identifiers: usage, purity, collaborative signal, geometry, exposure."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlib.analysis import code_usage as usage_module
from letterlib.analysis import collaborative_signal as signal_module
from letterlib.analysis.code_geometry import sphere_projection
from letterlib.analysis.code_usage import code_loads, code_usage, perplexity, perplexity_difference
from letterlib.analysis.collaborative_signal import (
    item_similarities,
    nearest_neighbours,
    similarity_experiment,
    target_ranks,
)
from letterlib.analysis.exposure import first_code_counts, generation_bias, kl_divergence
from letterlib.analysis.purity import _by_counts, _share_a_label, genre_purity
from letterlib.course.published import FIRST_CODES
from letterlib.errors import LetterError
from letterlib.tokenizer.identifiers import Identifiers

RELEASED = {
    "Beauty": ([197, 256, 256, 256], [82.7, 248.6, 247.6, 246.6]),
    "Instruments": ([150, 256, 256, 256], [71.6, 247.3, 246.0, 243.6]),
}


def released_codes(shared_data, name):
    return Identifiers.load(
        shared_data / name.lower() / f"{name}.index.json", level_sizes=(256,) * 4
    )


# Usage


def test_usage_by_hand():
    codes = np.array([[0, 1], [0, 1], [0, 1], [2, 1]])
    frame = code_usage(codes, (4, 2))
    first = frame.loc[1]
    assert (first["codes"], first["in_use"], first["max_share"]) == (4, 2, 0.75)
    assert first["perplexity"] == pytest.approx(
        math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    )
    assert first["gini"] == pytest.approx(
        np.abs(np.subtract.outer([3, 0, 1, 0], [3, 0, 1, 0])).sum() / (2 * 4 * 4)
    )
    assert frame.loc[2, "perplexity"] == pytest.approx(1) and frame.loc[2, "gini"] == pytest.approx(
        0.5
    )


@pytest.mark.parametrize("name", RELEASED)
def test_released_identifiers_have_the_figures_of_their_readme(shared_data, name):
    identifiers = released_codes(shared_data, name)
    frame = code_usage(identifiers.codes, identifiers.level_sizes)
    in_use, perplexities = RELEASED[name]
    assert frame["in_use"].tolist() == in_use
    assert frame["perplexity"].round(1).tolist() == perplexities
    assert (in_use[0], perplexities[0]) == FIRST_CODES[name]


def test_codes_beyond_their_level_are_refused():
    with pytest.raises(LetterError, match="level 2: found 0-4, but the level has codes 0-3"):
        code_loads(np.array([[0, 0], [0, 4]]), 1, 4)


def test_perplexity_of_equal_loads_is_their_number():
    assert perplexity(np.array([[3, 3, 3, 0], [5, 0, 0, 0]])) == pytest.approx([3, 1])


def test_perplexity_difference_sees_a_difference_and_no_other():
    random = np.random.default_rng(0)
    even, uneven = (
        random.integers(0, 64, (3, 800)),
        np.minimum(random.geometric(0.1, (3, 800)), 64) - 1,
    )
    apart = perplexity_difference(even, uneven, 0)
    assert apart.low > 0 and apart.low < apart.mean < apart.high
    wanted = [
        perplexity(np.bincount(a)) - perplexity(np.bincount(b))
        for a, b in zip(even, uneven, strict=True)
    ]
    assert apart.mean == pytest.approx(np.mean(wanted), rel=1e-5)
    assert not perplexity_difference(even[:1], random.integers(0, 64, (1, 800)), 0).excludes_zero
    assert perplexity_difference(even, uneven, 0) == apart
    assert perplexity_difference(even, uneven, 1) != apart


def test_the_interval_of_a_perplexity_difference_is_that_of_a_plain_loop():
    """Items are drawn once for both tokenizers, runs as well; runs that differ widen the interval."""
    random = np.random.default_rng(1)
    first = random.integers(0, 64, (3, 400))
    second = np.stack([np.minimum(random.geometric(p, 400), 64) - 1 for p in (0.05, 0.1, 0.2)])
    drawn = []
    for _ in range(2000):
        rows, runs = random.integers(0, 400, 400), random.integers(0, 3, 3)
        pairs = [(np.bincount(first[run, rows]), np.bincount(second[run, rows])) for run in runs]
        drawn.append(np.mean([perplexity(one) - perplexity(other) for one, other in pairs]))
    low, high = np.quantile(np.array(drawn) - np.mean(drawn), [0.025, 0.975])
    found = perplexity_difference(first, second, 0)
    assert (found.low - found.mean, found.high - found.mean) == pytest.approx((low, high), rel=0.12)


def test_resamples_drawn_in_parts_are_the_same_resamples(monkeypatch):
    random = np.random.default_rng(2)
    first, second = random.integers(0, 64, (3, 400)), random.integers(0, 32, (3, 400))
    whole = perplexity_difference(first, second, 0)
    monkeypatch.setattr(
        usage_module, "CHUNK", 400 * 300
    )  # 300 resamples at a time, and 200 at last
    assert perplexity_difference(first, second, 0) == whole


# Purity


def slow_purity(codes, genres, length):
    pairs = [
        (i, j)
        for i, j in combinations(range(len(codes)), 2)
        if genres[i] and genres[j] and codes[i][:length] == codes[j][:length]
    ]
    shared = [bool(set(genres[i].split("|")) & set(genres[j].split("|"))) for i, j in pairs]
    return len(pairs), (np.mean(shared) if pairs else np.nan)


@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 2), min_size=2, max_size=2),
            st.sets(st.sampled_from(["Drama", "War", "Comedy"])).map(
                lambda one: "|".join(sorted(one))
            ),
        ),
        min_size=2,
        max_size=12,
    ).filter(lambda rows: any(genres for _, genres in rows))
)
@settings(max_examples=25, deadline=None)
def test_purity_equals_counting_pairs(rows):
    codes, genres = [list(c) for c, _ in rows], [g for _, g in rows]
    frame = genre_purity(np.array(codes), genres, seed=0)
    assert frame.index.tolist() == [0, 1, 2]
    for length in range(3):
        pairs, wanted = slow_purity(codes, genres, length)
        assert frame.loc[length, "pairs"] == pairs
        assert frame.loc[length, "purity"] == pytest.approx(wanted, nan_ok=True)


@pytest.mark.parametrize("n_sets", [2, 60], ids=["by counts", "by pairs"])
def test_many_sets_of_genres_or_few_are_counted_alike(n_sets, monkeypatch):
    random = np.random.default_rng(0)
    sets = [
        "|".join(f"g{g}" for g in sorted(random.choice(12, 1 + i % 3, replace=False)))
        for i in range(n_sets)
    ]
    codes, genres = random.integers(0, 20, (80, 2)), random.choice(sets, 80).tolist()
    counted = []
    monkeypatch.setattr(
        "letterlib.analysis.purity._by_counts",
        lambda *a: counted.append(len(a[0])) or _by_counts(*a),
    )
    frame = genre_purity(codes, genres, seed=0)
    assert len(counted) == (
        203 if n_sets == 2 else 1
    )  # the whole catalogue once, groups a hundred times more
    for length in range(3):
        assert frame.loc[length, "purity"] == pytest.approx(
            slow_purity(codes.tolist(), genres, length)[1]
        )
    shuffled = [
        slow_purity(codes[np.random.default_rng(s).permutation(80)].tolist(), genres, 1)[1]
        for s in range(20)
    ]
    assert frame.loc[1, "shuffled"] == pytest.approx(np.mean(shuffled), abs=0.03)


def test_shuffled_identifiers_have_the_purity_of_any_two_items():
    random = np.random.default_rng(0)
    kinds = random.integers(0, 4, 400)
    genres = [("Drama", "Comedy|Drama", "War", "Horror")[kind] for kind in kinds]
    codes = np.stack([kinds, random.integers(0, 4, 400)], axis=1)
    frame = genre_purity(codes, genres, seed=0)
    assert frame.equals(genre_purity(codes, genres, seed=0))
    assert frame.loc[1, "purity"] == 1
    assert frame["shuffled"].to_numpy() == pytest.approx(frame.loc[0, "purity"], abs=0.01)
    assert frame.loc[1, "shuffled_low"] < frame.loc[0, "purity"] < frame.loc[1, "shuffled_high"] < 1


def test_the_order_of_labels_neither_counts_nor_costs(monkeypatch):
    random = np.random.default_rng(0)
    codes, labels = random.integers(0, 5, (60, 2)), ["Drama", "War", "Comedy", "Horror"]
    sets = [list(random.permutation(labels)[: random.integers(1, 5)]) for _ in range(60)]
    asked = []
    monkeypatch.setattr(
        "letterlib.analysis.purity._share_a_label", lambda s: asked.append(s) or _share_a_label(s)
    )
    one = genre_purity(codes, ["|".join(sorted(labels)) for labels in sets], 0)
    assert one.equals(genre_purity(codes, ["|".join(labels) for labels in sets], 0))
    assert len(asked[0]) == len(asked[1]) == len({frozenset(labels) for labels in sets})


def test_an_empty_label_is_no_genre():
    codes = np.array([[0], [0], [1], [1]])
    assert genre_purity(codes, ["Drama|", "Comedy|", "War", "Western"], 0)["purity"].tolist() == [
        0,
        0,
    ]
    assert genre_purity(codes, ["War", "War||", "|", ""], 0)["pairs"].tolist() == [1, 1]


def test_purity_without_genres_says_so():
    with pytest.raises(LetterError, match="no item has a genre"):
        genre_purity(np.zeros((2, 1), dtype=int), ["", ""], 0)
    with pytest.raises(LetterError, match="3 items, but codes for 2"):
        genre_purity(np.zeros((2, 1), dtype=int), ["War"] * 3, 0)


# Collaborative signal


def test_signal_of_the_released_instruments_identifiers(shared_data):
    codes = released_codes(shared_data, "Instruments").codes
    vectors = np.load(shared_data / "instruments" / "Instruments.sasrec-32d.npy")
    result = similarity_experiment(codes, nearest_neighbours(vectors))
    assert round(result.mean, 4) == 0.0824
    assert [round(one, 3) for one in result.by_level] == [0.174, 0.084, 0.050, 0.021]
    # Exact over all pairs of different items; a sample of ten thousand pairs gives between .0065
    # and .0089.
    assert result.random_pair == pytest.approx(0.0078, abs=5e-5)


def test_signal_equals_a_plain_loop():
    random = np.random.default_rng(0)
    vectors, codes = random.normal(size=(30, 4)), random.integers(0, 3, (30, 2))
    vectors[5] = 2 * vectors[4]  # cosine does not see lengths
    shares = item_similarities(codes, nearest_neighbours(vectors))
    for i in range(30):
        cosines = [
            -2
            if i == j
            else vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])
            for j in range(30)
        ]
        assert shares[i].tolist() == (codes[i] == codes[int(np.argmax(cosines))]).tolist()
    pairs = [(codes[i] == codes[j]).mean() for i, j in combinations(range(30), 2)]
    found = similarity_experiment(codes, nearest_neighbours(vectors))
    assert found.random_pair == pytest.approx(np.mean(pairs))
    assert found.mean == pytest.approx(shares.mean()) and found.by_level == pytest.approx(
        shares.mean(axis=0)
    )


def test_neighbours_are_never_the_item_itself_even_without_a_direction():
    nearest = nearest_neighbours(np.zeros((4, 3)))
    assert (nearest != np.arange(4)).all() and nearest[1] == 0
    with pytest.raises(LetterError, match="NaN"):
        nearest_neighbours(np.array([[np.nan], [1.0]]))
    with pytest.raises(LetterError, match="2 identifiers, but neighbours of 3 items"):
        item_similarities(np.zeros((2, 1), dtype=int), np.zeros(3, dtype=int))


def test_targets_are_ranked_among_the_catalogue_by_dot_product():
    random = np.random.default_rng(0)
    states, items, targets = (
        random.normal(size=(20, 3)),
        random.normal(size=(40, 3)),
        random.integers(0, 40, 20),
    )
    items[7] = items[30]  # a tie, which the lower id wins
    targets[:2] = 7, 30
    ranks = target_ranks(states, items, targets)
    order = [sorted(range(40), key=lambda j, u=u: (-(states[u] @ items[j]), j)) for u in range(20)]
    assert ranks.tolist() == [order[u].index(targets[u]) for u in range(20)]
    for broken in (states, items):
        kept, broken[3] = broken[3].copy(), np.nan
        with pytest.raises(LetterError, match="NaN"):
            target_ranks(states, items, targets)
        broken[3] = kept
    with pytest.raises(LetterError, match="targets: 1, but 20 user states"):
        target_ranks(states, items, targets[:1])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_equal_vectors_are_ranked_by_id_wherever_they_stand(kind):
    """A product's last bit depends on the column in which it is computed."""
    random = np.random.default_rng(0)
    items, states = (
        random.normal(size=(500, 64)).astype(kind),
        random.normal(size=(283, 64)).astype(kind),
    )
    items[[250, 499]] = items[0]
    first, second, last = (target_ranks(states, items, np.full(283, one)) for one in (0, 250, 499))
    assert (second == first + 1).all() and (last == first + 2).all()


# Geometry


def test_the_sphere_shows_directions_of_the_first_three_components():
    random = np.random.default_rng(0)
    plane = random.normal(size=(50, 3)) * [3, 2, 1]
    turned = plane @ np.linalg.qr(random.normal(size=(8, 8)))[0][:3] + 5
    points = sphere_projection(turned)
    assert np.linalg.norm(points, axis=1) == pytest.approx(1)
    centred = plane - plane.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert points @ points.T == pytest.approx(unit @ unit.T), (
        "angles between codes are those of the codebook"
    )
    assert sphere_projection(np.eye(3)).shape == (3, 3), (
        "three codes of three dimensions are enough"
    )
    centre = np.vstack([3 * np.eye(4), -3 * np.eye(4), np.zeros((1, 4))]) + 0.1
    for kind in (np.float64, np.float32):
        assert (sphere_projection(centre.astype(kind))[-1] == 0).all(), (
            "not where rounding points to"
        )
    for shape in ((2, 8), (8, 2), (3, 4, 5)):
        with pytest.raises(LetterError, match="at least 3 codes"):
            sphere_projection(np.ones(shape))
    turned[7, 2] = np.nan
    with pytest.raises(LetterError, match="code 7 holds NaN"):
        sphere_projection(turned)


# Exposure


def test_first_codes_are_counted_in_lists_catalogue_and_targets():
    codes = np.array([[0, 0], [0, 1], [2, 0]])
    counts = first_code_counts(codes, np.array([[0, 1, -1], [2, -1, -1]]), np.array([2, 2]), 4)
    assert counts["generated"].tolist() == [2, 0, 1, 0]
    assert counts["catalogue"].tolist() == [2, 0, 1, 0]
    assert counts["targets"].tolist() == [0, 0, 2, 0]
    bias = generation_bias(counts)
    assert bias["catalogue"] == 0
    assert bias["targets"] == pytest.approx(kl_divergence(np.array([2, 1]), np.array([0, 2])))


def test_kl_divergence_by_hand():
    p, q = np.array([3.5, 0.5]) / 4, np.array([1.5, 2.5]) / 4
    wanted = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert kl_divergence(np.array([3, 0]), np.array([1, 2])) == pytest.approx(wanted)
    assert kl_divergence(np.array([5, 7]), np.array([5, 7])) == 0


def test_the_spread_of_shuffled_purity_is_that_of_a_plain_loop():
    random, dealing = np.random.default_rng(0), np.random.default_rng(3)
    codes, genres = (
        random.integers(0, 4, (30, 1)),
        random.choice(["War", "Drama", "Drama|War", "Comedy"], 30),
    )
    dealt = [
        slow_purity(codes.tolist(), genres[dealing.permutation(30)].tolist(), 1)[1]
        for _ in range(100)
    ]
    row = genre_purity(codes, genres.tolist(), seed=3).loc[1]
    assert row["shuffled"] == pytest.approx(np.mean(dealt))
    assert [row["shuffled_low"], row["shuffled_high"]] == pytest.approx(
        np.quantile(dealt, [0.025, 0.975])
    )


def test_the_picture_of_a_codebook_is_not_mirrored():
    """Its components are the axes; a singular vector alone may point either way."""
    along_axes = np.kron(np.diag([3.0, 2.0, 1.0]), [[1.0], [-1.0]])
    for order in (slice(None), slice(None, None, -1)):
        points = sphere_projection(along_axes[order])
        assert points == pytest.approx(np.sign(along_axes[order]))


def test_more_cases_than_are_ranked_at_once_have_their_own_targets_each(monkeypatch):
    monkeypatch.setattr(signal_module, "_ROWS", 4)
    states, items = np.eye(10), np.eye(10)  # case i likes item i alone, and all others alike
    targets = np.array([0, 1, 2, 3, 4, 5, 6, 0, 9, 2])
    assert target_ranks(states, items, targets).tolist() == [0] * 7 + [1, 9, 3]
