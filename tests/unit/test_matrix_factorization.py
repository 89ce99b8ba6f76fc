"""MF: one step against gradients written out by hand, and what its triples are."""

import numpy as np
import pytest
import torch
from made_data import made

from letterlib.baselines.mf import (
    MatrixFactorization,
    MatrixFactorizationConfig,
    MatrixFactorizationNetwork,
)


def test_loss_and_gradients_are_those_of_the_paper():
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
        one.detach().numpy()
        for one in (network.users.table.weight, network.items.weight, network.bias)
    )
    loss, wanted = 0.0, [np.zeros_like(one) for one in (p, q, b)]
    for u, i, j in triples.T:
        difference = p[u] @ q[i] - p[u] @ q[j] + b[i] - b[j]
        slope = -1 / (1 + np.exp(difference))
        size = sum((one**2).sum() for one in (p[u], q[i], q[j], b[i], b[j]))
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


def test_an_epoch_is_every_interaction_once_with_an_item_that_is_not_the_users():
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
