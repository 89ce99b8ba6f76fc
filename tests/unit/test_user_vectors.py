"""Folding in a user who is not known, against scikit-learn and against a world where the answer is
known.
"""

from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import Ridge

from letterlib.baselines.user_vectors import UserVectors
from letterlib.data.dataset import Cases, Sequences


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
    users.learn_strangers(train, items, ridge=0.1)
    means = np.stack([items.numpy()[train[u]].mean(axis=0) for u in range(60)])
    centred = means - means.mean(axis=0)
    alpha = 0.1 * (centred**2).sum(axis=0).mean()
    theirs = Ridge(alpha=alpha).fit(means, users.table.weight.detach().numpy())
    np.testing.assert_allclose(users.slope.T, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(users.offset, theirs.intercept_, atol=1e-5)


def test_strangers_get_the_vector_of_users_with_their_history_and_known_users_their_own():
    """Where users' vectors are a rotation of the mean of their items, the rotation is found."""
    train, items = some_users()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0].astype(np.float32)
    means = np.stack([items.numpy()[train[u]].mean(axis=0) for u in range(60)])
    users = UserVectors(60, 6)
    with torch.no_grad():
        users.table.weight.copy_(torch.from_numpy(means @ rotation + 1))
    users.learn_strangers(train, items, ridge=1e-6)
    fresh, _ = some_users(seed=9)
    cases = Cases.from_histories(fresh)
    wanted = np.stack([items.numpy()[fresh[u]].mean(axis=0) for u in range(60)]) @ rotation + 1
    with torch.no_grad():
        np.testing.assert_allclose(users.of(cases, items), wanted, atol=1e-4)
        known = users.of(replace(cases, users=np.arange(60)), items)
    np.testing.assert_array_equal(known, users.table.weight.detach())
    assert not np.allclose(means, wanted, atol=0.1)  # the mean of the items alone is another vector


def test_it_is_learnt_from_users_with_a_training_part_alone():
    train, items = some_users()
    users, more = UserVectors(60, 6), UserVectors(61, 6)
    with torch.no_grad():
        more.table.weight[:60] = users.table.weight
        more.table.weight[60] = 100.0
    users.learn_strangers(train, items)
    more.learn_strangers(
        Sequences(train.values, np.append(train.offsets, train.offsets[-1])), items
    )
    np.testing.assert_allclose(more.slope, users.slope)


def test_where_there_is_one_user_every_stranger_gets_that_users_vector():
    items, users = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)), UserVectors(1, 6)
    users.learn_strangers(Sequences.from_lists([[0, 1, 2]]), items)
    found = users.of(Cases.from_histories([[], [3], [0, 4]]), items)
    torch.testing.assert_close(found, users.table.weight.expand(3, -1))


def test_a_user_of_whom_nothing_was_learnt_gets_the_vector_of_a_stranger():
    """With one item in training a user is in no training case of Caser and HGN, and the table holds
    noise.
    """
    train, items = some_users()
    short = train.lengths < 2
    assert 0 < short.sum() < 60
    users, all_known = UserVectors(60, 6), UserVectors(60, 6)
    before = users.table.weight.detach().clone()
    users.learn_strangers(train, items, fewest=2)
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
    all_known.learn_strangers(train, items, fewest=2)
    assert torch.equal(all_known.slope, users.slope)
