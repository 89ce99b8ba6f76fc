"""Analysis of identifiers and generators: against loops, published figures and other libraries."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from letterlib.analysis.code_usage import code_loads, code_usage, perplexity, perplexity_difference
from letterlib.analysis.collaborative_signal import (
    item_similarities,
    nearest_neighbours,
    similarity_experiment,
    target_ranks,
)
from letterlib.analysis.generation import (
    first_code_counts,
    generation_bias,
    kl_divergence,
)
from letterlib.analysis.geometry import (
    nearest,
    neighbour_overlap,
    sphere_projection,
)
from letterlib.analysis.negatives import (
    mean_margin,
    negative_weights,
    partial_auc,
    soft_margin,
    split_scores,
    target_logits,
)
from letterlib.analysis.purity import genre_purity
from letterlib.analysis.reassignment import with_first_codes
from letterlib.course.experiments import FIRST_CODES
from letterlib.data.dataset import Cases
from letterlib.errors import LetterError
from letterlib.generators.ranking_loss import ranking_guided_loss
from letterlib.generators.tiger import Tiger, TigerConfig
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.letter import LetterTokenizer, TokenizerConfig
from letterlib.tokenizer.rqvae import nearest_codes

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


def test_the_interval_of_a_perplexity_difference_is_that_of_a_plain_loop():
    """Items are drawn once for both tokenizers, and runs as well."""
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
                lambda labels: "|".join(sorted(labels))
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


def test_purity_without_genres_says_so():
    with pytest.raises(LetterError, match="no item has a genre"):
        genre_purity(np.zeros((2, 1), dtype=int), ["", ""], 0)


# Collaborative signal


def test_signal_of_the_released_instruments_identifiers(shared_data):
    codes = released_codes(shared_data, "Instruments").codes
    vectors = np.load(shared_data / "instruments" / "Instruments.sasrec-32d.npy")
    result = similarity_experiment(codes, nearest_neighbours(vectors))
    assert round(result.mean, 4) == 0.0824
    assert [round(share, 3) for share in result.by_level] == [0.174, 0.084, 0.050, 0.021]
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


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_equal_vectors_are_ranked_by_id_wherever_they_stand(kind):
    """A product's last bit depends on the column in which it is computed."""
    random = np.random.default_rng(0)
    items, states = (
        random.normal(size=(500, 64)).astype(kind),
        random.normal(size=(283, 64)).astype(kind),
    )
    items[[250, 499]] = items[0]
    first, second, last = (
        target_ranks(states, items, np.full(283, item)) for item in (0, 250, 499)
    )
    assert (second == first + 1).all() and (last == first + 2).all()


# Geometry


def test_nearest_agrees_with_scikit_learn():
    vectors = np.random.default_rng(0).normal(size=(1500, 8))
    peer = (
        NearestNeighbors(n_neighbors=6, metric="cosine")
        .fit(vectors)
        .kneighbors(vectors, return_distance=False)
    )
    assert (nearest(vectors, 5) == peer[:, 1:]).all()


def test_ties_go_to_the_lower_id_and_nan_is_refused():
    with pytest.raises(LetterError, match="row 1"):
        nearest(np.array([[1.0, 0], [np.nan, 1]]), 1)
    vectors = np.array([[1.0, 0], [1, 0], [1, 0], [0, 1], [2, 0]])
    assert nearest(vectors, 2)[0].tolist() == [1, 2] and nearest(vectors, 2)[4].tolist() == [0, 1]


def test_overlap_is_one_with_itself_none_with_its_opposite_and_chance_with_noise():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(800, 16))
    assert (neighbour_overlap(vectors, 3 * vectors, 10) == 1).all()
    chance = neighbour_overlap(vectors, random.normal(size=(800, 4)), 10).mean()
    assert abs(chance - 10 / 799) < 0.004
    line = np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    assert neighbour_overlap(line, line[[0, 2, 1, 3]], 1).tolist() == [0, 0, 0, 0]


def test_the_sphere_shows_directions_of_the_first_three_components():
    random = np.random.default_rng(0)
    plane = random.normal(size=(50, 3)) * [3, 2, 1]
    turned = plane @ np.linalg.qr(random.normal(size=(8, 8)))[0][:3] + 5
    points = sphere_projection(turned)
    assert np.linalg.norm(points, axis=1) == pytest.approx(1)
    centred = plane - plane.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    assert points @ points.T == pytest.approx(unit @ unit.T), "angles are kept"
    along_axes = np.kron(np.diag([3.0, 2.0, 1.0]), [[1.0], [-1.0]])
    for order in (slice(None), slice(None, None, -1)):
        mirrored = sphere_projection(along_axes[order])
        assert mirrored == pytest.approx(np.sign(along_axes[order])), "a sign is arbitrary"


# Generation


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


# Negatives and partial AUC


@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
def test_weights_are_the_gradients_share(tau):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 9, generator=generator, dtype=torch.float64).mul(3).requires_grad_()
    targets = torch.randint(9, (6,), generator=generator)
    # In float64 by hand: the library's loss is taken in float32.
    losses = torch.nn.functional.cross_entropy(logits / tau, targets, reduction="sum")
    (gradient,) = torch.autograd.grad(losses, logits)
    pushed = gradient.scatter(1, targets[:, None], 0.0)
    weights = negative_weights(logits.detach(), targets, tau)
    assert torch.allclose(weights, pushed / pushed.sum(dim=1, keepdim=True))
    assert torch.allclose(losses / 6, ranking_guided_loss(logits, targets, tau).double(), atol=1e-6)


def test_scores_are_split_with_the_hardest_negative_first():
    positive, negatives = split_scores(torch.tensor([[1.0, 4, 2, 3]]), torch.tensor([2]))
    assert positive.tolist() == [2] and negatives.tolist() == [[4, 3, 1]]


@pytest.fixture
def tiger():
    codes = np.array([[a, b] for a in range(4) for b in range(4)])
    config = TigerConfig(d_model=8, d_ff=8, n_heads=2, d_head=4, n_layers=1, dropout=0.0, history=3)
    return Tiger(Identifiers(codes, (4, 4)), config, device="cpu")


def test_the_sum_of_target_log_probabilities_is_the_items_score(tiger):
    one = Cases.from_histories([[0, 5], [3, 2]])
    cases = Cases(one.users, one.values, one.starts, one.ends, np.array([4, 9]))
    logits, targets = target_logits(tiger, cases)
    logs = logits.log_softmax(dim=2).gather(2, targets[..., None])[..., 0]
    ranking = tiger.recommend(cases.without_targets(), 16, beam=16)
    for i, item in enumerate(cases.targets):
        score = ranking.scores[i][ranking.items[i] == item]
        assert score == pytest.approx(logs[i].sum().item(), abs=1e-4)


@pytest.fixture
def scores():
    generator = torch.Generator().manual_seed(0)
    positive = torch.randn(20, generator=generator, dtype=torch.float64)
    return positive, torch.randn(20, 50, generator=generator, dtype=torch.float64)


def test_with_all_negatives_it_is_the_auc(scores):
    positive, negatives = (
        values.round(decimals=1) for values in scores
    )  # rounded, so that some are tied
    for own, others, found in zip(
        positive, negatives, partial_auc(positive, negatives), strict=True
    ):
        truth, values = np.array([1] + [0] * 50), np.concatenate([[own], others])
        assert found == pytest.approx(roc_auc_score(truth, values))


@pytest.mark.parametrize("k", [1, 5, 10, 50])
def test_with_k_negatives_it_falls_linearly_with_the_rank(scores, k):
    positive, negatives = scores
    rank = (negatives > positive[:, None]).sum(dim=1)
    assert torch.allclose(
        partial_auc(positive, negatives, k / 50), (1 - rank / k).clamp(min=0).double()
    )


def test_the_soft_margin_goes_from_the_mean_to_the_greatest(scores):
    positive, negatives = scores
    assert torch.allclose(
        soft_margin(positive, negatives, 1e-4), mean_margin(positive, negatives, 1 / 50), atol=1e-3
    )
    for tau in (1e4, 1e7):
        assert torch.allclose(
            soft_margin(positive, negatives, tau), mean_margin(positive, negatives), atol=1e-3
        )
    values = torch.stack([soft_margin(positive, negatives, tau) for tau in (0.1, 0.5, 1.0, 2.0)])
    assert (values.diff(dim=0) < 0).all(), "a higher tau never weighs the hard ones more"


def test_the_soft_margin_is_the_worst_case_under_a_kl_penalty(scores):
    positive, negatives = scores
    margins, tau = negatives - positive[:, None], 0.7
    value = soft_margin(positive, negatives, tau)

    def penalised(q):
        return (q * margins).sum(dim=1) - tau * (q * (q * 50).log()).sum(dim=1)

    assert torch.allclose(penalised((negatives / tau).softmax(dim=1)), value)
    generator = torch.Generator().manual_seed(1)
    for spread in (0.1, 1.0, 3.0):
        q = (spread * torch.randn(20, 50, generator=generator, dtype=torch.float64)).softmax(dim=1)
        assert (penalised(q) < value).all()


# Other first codes


SEMANTIC = np.random.default_rng(0).normal(size=(120, 20)).astype(np.float32)


def fitted_tokenizer(n_levels: int) -> LetterTokenizer:
    config = TokenizerConfig(
        alpha=0,
        beta=0,
        hidden=(24,),
        n_codes=8,
        n_levels=n_levels,
        n_groups=2,
        epochs=4,
        batch_size=64,
        dtype="float32",
    )
    return LetterTokenizer(config, 0, "cpu").fit(SEMANTIC)


@pytest.mark.parametrize("n_levels", [1, 3])
def test_the_nearest_first_codes_give_back_the_tokenizers_own_codes_and_error(n_levels):
    tokenizer = fitted_tokenizer(n_levels)
    z = torch.from_numpy(tokenizer.latent(SEMANTIC))
    first = nearest_codes(z, torch.from_numpy(tokenizer.codebooks()[0])).numpy()
    same = with_first_codes(tokenizer, SEMANTIC, first)
    assert (same.codes == tokenizer.codes_before_repair()).all()
    assert same.error == pytest.approx(tokenizer.report.reconstruction_error[-1], rel=1e-5)
