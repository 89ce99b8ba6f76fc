"""MF, Caser, HGN and LightGCN against loops; negatives, and vectors of unknown users."""

import numpy as np
import pytest
import torch
from made_data import made
from sklearn.linear_model import Ridge

from letterlib.baselines import lightgcn
from letterlib.baselines.caser import Caser, CaserConfig, CaserNetwork
from letterlib.baselines.hgn import HGNConfig, HGNNetwork
from letterlib.baselines.lightgcn import (
    LightGCN,
    LightGCNConfig,
    LightGCNNetwork,
    interaction_matrix,
)
from letterlib.baselines.mf import (
    MatrixFactorization,
    MatrixFactorizationConfig,
    MatrixFactorizationNetwork,
)
from letterlib.baselines.neural import UserVectors, sample_negatives
from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences

CASER = CaserConfig(dimensions=6, window=4, horizontal=3, vertical=2, epochs=1)
HGN_CONFIG = HGNConfig(dimensions=6, window=4, epochs=1)
SMALL = LightGCNConfig(dimensions=16, n_layers=2, epochs=1, batch_size=32)


def test_loss_and_gradients_of_mf_are_those_of_the_paper():
    """BPR-OPT (Rendle et al. 2009, section 4.1.1), triple by triple in numpy."""
    torch.manual_seed(0)
    network = MatrixFactorizationNetwork(3, 5, 4).double()
    with torch.no_grad():
        network.bias.normal_()
    model = MatrixFactorization(
        MatrixFactorizationConfig(dimensions=4, regularization=0.1), device="cpu"
    )
    triples = np.array([[0, 2, 2], [1, 0, 4], [3, 1, 3]])  # users, liked, others
    p, q, b = (
        x.detach().numpy() for x in (network.users.table.weight, network.items.weight, network.bias)
    )
    loss, wanted = 0.0, [np.zeros_like(x) for x in (p, q, b)]
    for u, i, j in triples.T:
        difference = p[u] @ q[i] - p[u] @ q[j] + b[i] - b[j]
        slope = -1 / (1 + np.exp(difference))
        size = sum((x**2).sum() for x in (p[u], q[i], q[j], b[i], b[j]))
        loss += (np.log1p(np.exp(-difference)) + 0.1 * size) / 3
        wanted[0][u] += (slope * (q[i] - q[j]) + 0.2 * p[u]) / 3
        wanted[1][i] += (slope * p[u] + 0.2 * q[i]) / 3
        wanted[1][j] += (-slope * p[u] + 0.2 * q[j]) / 3
        wanted[2][i] += (slope + 0.2 * b[i]) / 3
        wanted[2][j] += (-slope + 0.2 * b[j]) / 3
    ours = model.loss(network, torch.from_numpy(triples))["loss"]
    assert float(ours.detach()) == pytest.approx(loss)
    parameters = (network.users.table.weight, network.items.weight, network.bias)
    for gradient, reference in zip(torch.autograd.grad(ours, parameters), wanted, strict=True):
        np.testing.assert_allclose(gradient, reference, atol=1e-12)


def test_an_epoch_of_mf_is_every_interaction_once_with_an_item_that_is_not_the_users():
    sequences = [[0, 1, 2, 1, 5, 6], [2, 3, 4, 7], [0, 2, 4]]  # user 0 comes back to item 1
    split = made(sequences, 8).split()
    model = MatrixFactorization(MatrixFactorizationConfig(batch_size=2), device="cpu")
    steps, batches = model.batches(split)
    drawn = [batch.numpy() for batch in batches(np.random.default_rng(0))]
    assert len(drawn) == steps == 3
    users, liked, others = np.concatenate(drawn, axis=1)
    assert sorted(zip(users, liked, strict=True)) == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 2),
        (1, 3),
        (2, 0),
    ]
    own = {u: set(split.train[u].tolist()) for u in range(3)}
    assert all(j not in own[u] for u, j in zip(users, others, strict=True))


def test_the_network_of_caser_is_that_of_the_paper():
    """Sections 3.2 and 3.3, filter by filter and place by place in numpy."""
    torch.manual_seed(0)
    model = CaserNetwork(5, 9, CASER).eval()
    items, users = model.items.weight.detach().numpy(), model.users.table.weight.detach().numpy()
    users_in, windows = torch.tensor([0, 3]), torch.tensor([[1, 2, 3, 4], [9, 9, 8, 0]])
    expected = []
    for user, window in zip(users_in.tolist(), windows.numpy(), strict=True):
        image, seen = items[window], []  # [L, d]
        for height, filters in enumerate(model.across, start=1):
            weight, bias = filters.weight.detach().numpy(), filters.bias.detach().numpy()
            for f in range(CASER.horizontal):
                places = range(CASER.window - height + 1)
                found = [(image[i : i + height] * weight[f].T).sum() + bias[f] for i in places]
                seen.append(max(max(found), 0.0))
        weight, bias = model.down.weight.detach().numpy(), model.down.bias.detach().numpy()
        for f in range(CASER.vertical):
            seen += [weight[f] @ image[:, column] + bias[f] for column in range(CASER.dimensions)]
        z = np.maximum(
            model.mix.weight.detach().numpy() @ np.array(seen) + model.mix.bias.detach().numpy(), 0
        )
        expected.append(np.concatenate([z, users[user]]))
    with torch.no_grad():
        ours = model(model.users(users_in), windows)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_an_epoch_is_every_next_item_once_after_its_window():
    sequences = [[0, 1, 2, 3, 4, 5, 6, 7], [8, 7, 6, 5]]
    split = made(sequences, 9).split()
    model = Caser(CASER.model_copy(update={"batch_size": 2}), device="cpu")
    model.popularity = torch.zeros(9)
    steps, batches = model.batches(split)
    drawn = list(batches(np.random.default_rng(0)))
    assert len(drawn) == steps
    found = sorted(
        (int(u), [int(i) for i in w if i != 9], int(t))
        for b in drawn
        for u, w, t in zip(*b, strict=True)
    )
    wanted = [(0, sequences[0][max(0, i - 4) : i], sequences[0][i]) for i in range(1, 6)] + [
        (1, [8], 7)
    ]
    assert found == sorted(wanted)
    assert all(window[-1] not in (9, NO_ITEM) for batch in drawn for window in batch[1])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(model: HGNNetwork, user: int, window: list[int]) -> np.ndarray:
    """Both gates and the sums, item by item; the window's last item stands at the last place."""
    w = {name: weights.detach().double().numpy() for name, weights in model.state_dict().items()}
    u, total, gated_sum, plain = w["users.table.weight"][user], 0.0, np.zeros(6), np.zeros(6)
    for place, item in enumerate(window, start=HGN_CONFIG.window - len(window)):
        e = w["items.weight"][item]
        inner = (
            w["feature_of_item.weight"] @ e
            + w["feature_of_item.bias"]
            + w["feature_of_user.weight"] @ u
        )
        gated = e * sigmoid(inner)
        instance = sigmoid(
            w["instance_of_item.weight"][0] @ gated + w["instance_of_user.weight"][place] @ u
        )
        total, gated_sum, plain = total + instance, gated_sum + instance * gated, plain + e
    return u + gated_sum / max(total, 1e-6) + plain


def test_the_network_of_hgn_is_that_of_the_paper():
    torch.manual_seed(0)
    model = HGNNetwork(5, 9, HGN_CONFIG).eval()
    users, windows = (
        torch.tensor([0, 3, 2]),
        torch.tensor([[1, 2, 3, 4], [9, 9, 8, 0], [9, 9, 9, 9]]),
    )
    with torch.no_grad():
        ours = model(model.users(users), windows)
    expected = [by_hand(model, 0, [1, 2, 3, 4]), by_hand(model, 3, [8, 0]), by_hand(model, 2, [])]
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def some_users(
    n_users: int = 60, n_items: int = 30, seed: int = 0
) -> tuple[Sequences, torch.Tensor]:
    generator = np.random.default_rng(seed)
    train = Sequences.from_lists(
        generator.integers(0, n_items, generator.integers(1, 9)) for _ in range(n_users)
    )
    return train, torch.from_numpy(generator.normal(size=(n_items, 6)).astype(np.float32))


def test_the_way_to_a_user_is_a_ridge_regression():
    train, items = some_users()
    users = UserVectors(60, 6)
    users.fit_unknown_users(train, items, ridge=0.1)
    means = np.stack([items.numpy()[train[u]].mean(axis=0) for u in range(60)])
    centred = means - means.mean(axis=0)
    alpha = 0.1 * (centred**2).sum(axis=0).mean()
    theirs = Ridge(alpha=alpha).fit(means, users.table.weight.detach().numpy())
    np.testing.assert_allclose(users.slope.T, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(users.offset, theirs.intercept_, atol=1e-5)


def test_a_user_of_whom_nothing_was_learnt_gets_the_vector_of_an_unknown_user():
    """With one item in training a user is in no training case of Caser and HGN, and the table holds
    noise.
    """
    train, items = some_users()
    short = train.lengths < 2
    assert 0 < short.sum() < 60
    users, all_known = UserVectors(60, 6), UserVectors(60, 6)
    before = users.table.weight.detach().clone()
    users.fit_unknown_users(train, items, fewest=2)
    with torch.no_grad():
        folded = users.of(Cases.from_histories([train[u] for u in range(60)]), items)
        table = users.table.weight
    assert torch.equal(table[~short], before[~short]) and torch.allclose(
        table[short], folded[short], atol=1e-6
    )
    assert not torch.allclose(table[short], before[short], atol=0.1)
    with torch.no_grad():
        all_known.table.weight.copy_(before)
        all_known.table.weight[torch.from_numpy(short)] = (
            99  # what was not learnt is not learnt from
        )
    all_known.fit_unknown_users(train, items, fewest=2)
    assert torch.equal(all_known.slope, users.slope)


def two_tastes(n_users: int = 24, n_items: int = 20, length: int = 8) -> Dataset:
    """Even users like the first half of the catalogue, odd users the second."""
    generator = np.random.default_rng(0)
    half = n_items // 2
    return made(
        [(generator.permutation(half)[:length] + half * (u % 2)).tolist() for u in range(n_users)],
        n_items,
    )


def dense_layers(network: LightGCNNetwork, sequences: list[list[int]], n_items: int) -> np.ndarray:
    """e^(k+1) of a node = sum over neighbours of e^(k) / sqrt(own degree x theirs), by node."""
    n_users = len(sequences)
    neighbours = [set(n_users + i for i in items) for items in sequences]
    neighbours += [{u for u, items in enumerate(sequences) if i in items} for i in range(n_items)]
    layers = [network.embeddings.detach().double().numpy()]
    for _ in range(network.n_layers):
        after = np.zeros_like(layers[-1])
        for node, others in enumerate(neighbours):
            for other in others:
                after[node] += layers[-1][other] / np.sqrt(len(others) * len(neighbours[other]))
        layers.append(after)
    return np.stack(layers)


def test_propagation_equals_a_dense_reference():
    sequences = [[0, 1, 2, 1], [2, 3], [0, 2, 4]]  # item 1 twice is one edge; item 5 has no edge
    network = LightGCNNetwork(
        interaction_matrix(Sequences.from_lists(sequences), 6), LightGCNConfig(dimensions=4)
    )
    expected = dense_layers(network, sequences, 6)
    for layer, reference in zip(network.layers(), expected, strict=True):
        np.testing.assert_allclose(layer.detach(), reference, atol=1e-6)
    np.testing.assert_allclose(network().detach(), expected.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        network()[-1].detach(), network.embeddings[-1].detach() / 4, atol=1e-7
    )


def test_the_gradient_passes_through_propagation():
    """Against finite differences, in float64."""
    network = LightGCNNetwork(
        interaction_matrix(Sequences.from_lists([[0, 1], [1, 2]]), 3), LightGCNConfig(dimensions=2)
    )
    network = network.double()
    weights = torch.randn(5, 2, dtype=torch.float64)

    def total(embeddings: torch.Tensor) -> torch.Tensor:
        x, out = embeddings, embeddings
        for _ in range(3):
            x = lightgcn._Propagate.apply(network.graph, x)
            out = out + x
        return (out * weights).sum()

    assert torch.autograd.gradcheck(total, network.embeddings.detach().requires_grad_())


def test_negatives_are_never_a_users_own_items_and_reach_all_others():
    own = {0: [0, 1, 2, 3], 1: [9]}
    pairs = np.sort([u * 10 + i for u, items in own.items() for i in items])
    users = np.repeat([0, 1], 2000)
    drawn = sample_negatives(users, pairs, 10, np.random.default_rng(0))
    for user, items in own.items():
        assert set(drawn[users == user]) == set(range(10)) - set(items)


def test_an_unknown_user_is_folded_in_as_a_new_node_would_hear_its_items():
    """Once each: what somebody came back to is one edge, as in training."""
    dataset = two_tastes()
    split = dataset.split()
    network = LightGCNNetwork(interaction_matrix(split.train, 20), SMALL)
    model = LightGCN(SMALL, device="cpu")
    model.vectors = lightgcn._propagated(network, split, interaction_matrix(split.train, 20))
    layers = dense_layers(network, [split.train[u].tolist() for u in range(24)], 20)
    degrees, histories = split.train_counts, ([2, 5, 7], [4], [7, 2, 2, 5, 2])
    ranking = model.recommend(Cases.from_histories(histories), 20)
    for history, items, scores in zip(
        map(set, histories), ranking.items, ranking.scores, strict=True
    ):
        heard = sum(
            layers[k, 24 + i] / np.sqrt(len(history) * degrees[i])
            for k in range(2)
            for i in history
        )
        np.testing.assert_allclose(scores, (layers.mean(axis=0)[24:] @ heard / 3)[items], atol=1e-5)
