"""LightGCN: propagation and folding-in against dense references, the loss, negatives, and the
common face.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_data import made

from letterlib.baselines import lightgcn
from letterlib.baselines.lightgcn import (
    LightGCN,
    LightGCNConfig,
    LightGCNNetwork,
    interaction_matrix,
)
from letterlib.baselines.pairwise import bpr_loss, sample_negatives
from letterlib.checkpoint import TrainingLog
from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences
from letterlib.errors import LetterError

SMALL = LightGCNConfig(dimensions=16, n_layers=2, epochs=30, batch_size=32, learning_rate=0.05)


def two_tastes(n_users: int = 24, n_items: int = 20, length: int = 8) -> Dataset:
    """Even users like the first half of the catalogue, odd users the second."""
    generator = np.random.default_rng(0)
    half = n_items // 2
    return made(
        [(generator.permutation(half)[:length] + half * (u % 2)).tolist() for u in range(n_users)],
        n_items,
    )


@pytest.fixture(scope="module")
def fitted() -> tuple[LightGCN, Dataset]:
    dataset = two_tastes()
    return LightGCN(SMALL, seed=1, device="cpu").fit(dataset.split()), dataset


def dense_layers(network: LightGCNNetwork, sequences: list[list[int]], n_items: int) -> np.ndarray:
    """e^(k+1) of a node = sum over neighbours of e^(k) / sqrt(own degree x theirs), node by node."""
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


def test_bpr_loss_is_its_formula():
    user, liked, other = torch.randn(3, 5, 4)
    expected = [
        -np.log(1 / (1 + np.exp(-float(u @ a - u @ b))))
        for u, a, b in zip(user, liked, other, strict=True)
    ]
    assert float(bpr_loss(user, liked, other)) == pytest.approx(np.mean(expected), rel=1e-5)


def test_negatives_are_never_a_users_own_items_and_reach_all_others():
    own = {0: [0, 1, 2, 3], 1: [9]}
    pairs = np.sort([u * 10 + i for u, items in own.items() for i in items])
    users = np.repeat([0, 1], 2000)
    drawn = sample_negatives(users, pairs, 10, np.random.default_rng(0))
    for user, items in own.items():
        assert set(drawn[users == user]) == set(range(10)) - set(items)


def test_a_second_draw_is_as_even_as_the_first():
    """User 0 has half of the items, so that half of the draws are second ones."""
    drawn = sample_negatives(
        np.zeros(10_000, dtype=np.int64), np.arange(5), 10, np.random.default_rng(0)
    )
    counts = np.bincount(drawn, minlength=10)[5:]
    assert abs(counts - 2000).max() < 5 * np.sqrt(1600)


def test_a_user_who_has_every_item_does_not_hang():
    assert len(sample_negatives(np.zeros(5, int), np.arange(3), 3, np.random.default_rng(0))) == 5


def test_an_epoch_is_every_interaction_once_with_an_item_that_is_not_the_users_and_bpr_is_regularised(
    monkeypatch,
):
    seen = {}

    def no_training(network, batches, loss, **options):
        drawn = list(batches(np.random.default_rng(0)))
        seen.update(options, drawn=drawn, network=network, parts=loss(network, drawn[0]))
        return TrainingLog()

    monkeypatch.setattr(lightgcn, "train", no_training)
    split = made([[0, 1, 2, 1, 5, 6], [2, 3, 4, 7], [0, 2, 4]], 8).split()
    LightGCN(SMALL.model_copy(update={"batch_size": 2, "regularization": 0.5}), device="cpu").fit(
        split
    )
    assert len(seen["drawn"]) == seen["steps_per_epoch"] == 3
    users, liked, others = torch.cat(seen["drawn"], dim=1).numpy() - [
        [0],
        [3],
        [3],
    ]  # nodes: three users, then items
    assert sorted(zip(users, liked, strict=True)) == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 2),
        (1, 3),
        (2, 0),
    ]
    assert all(j in set(range(8)) - set(split.train[u]) for u, j in zip(users, others, strict=True))
    network, nodes, parts = seen["network"], seen["drawn"][0], seen["parts"]
    size = network.embeddings[nodes].square().sum() / nodes.shape[1]
    torch.testing.assert_close(parts["bpr"], bpr_loss(*network()[nodes]))
    torch.testing.assert_close(parts["loss"], parts["bpr"] + 0.5 * size)


def test_answers_are_of_the_weights_that_training_kept(monkeypatch):
    """`train` puts back those of the best epoch; here it puts back zeros."""
    train = lightgcn.train

    def zeros_kept(network, *given, **options):
        log = train(network, *given, **options)
        with torch.no_grad():
            network.embeddings.zero_()
        return log

    monkeypatch.setattr(lightgcn, "train", zeros_kept)
    model = LightGCN(SMALL.model_copy(update={"epochs": 1}), device="cpu").fit(two_tastes().split())
    assert not model.item_vectors().any()


def test_it_learns_who_likes_what(fitted):
    model, dataset = fitted
    ranking = model.recommend(dataset.split().cases("test").without_targets(), 10)
    own_half = (ranking.items // 10) == (np.arange(dataset.n_users) % 2)[:, None]
    assert own_half.mean() > 0.95


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


def test_a_stranger_hears_nothing_of_an_item_that_nobody_had():
    split = made([[0, 1, 2, 3], [1, 2, 3, 4]], 6).split()
    model = LightGCN(SMALL.model_copy(update={"epochs": 1}), device="cpu").fit(split)
    assert not model.vectors.messages[5].any() and model.vectors.messages[0].any()
    alone, beside, without, empty = model.recommend(
        Cases.from_histories([[5], [5, 0], [0], []]), 6
    ).scores
    np.testing.assert_allclose(beside * np.sqrt(2), without, rtol=1e-5)
    assert alone.tolist() == empty.tolist() == [2, 1, 1, 0, 0, 0], "popularity in training"


def test_a_stranger_with_a_users_history_gets_that_users_taste(fitted):
    model, dataset = fitted
    cases = dataset.split().cases("test").without_targets()
    strangers = model.recommend(replace(cases, users=np.full(len(cases), -1)), 5).items
    assert ((strangers // 10) == (np.arange(dataset.n_users) % 2)[:, None]).mean() > 0.9


def test_an_empty_history_of_an_unknown_user_is_answered_by_popularity(fitted):
    model, dataset = fitted
    counts = dataset.split().train_counts
    expected = np.lexsort((np.arange(20), -counts))[:5]
    assert (
        model.recommend(Cases.from_histories([[], [1]]), 5).items[0].tolist() == expected.tolist()
    )


def test_history_is_excluded_on_request_and_no_item_comes_twice(fitted):
    model, dataset = fitted
    cases = dataset.split().cases("test").without_targets()
    ranking = model.recommend(cases, 25, exclude_history=True)  # more than the catalogue of 20
    for i in range(len(cases)):
        items = ranking.items[i][ranking.items[i] != NO_ITEM]
        assert sorted(items) == sorted(set(range(20)) - set(cases.history(i)))


def test_it_never_sees_validation_or_test_items():
    """Data that differ only there give the same vectors; a planted test item cannot be known to its
    user.
    """
    sequences = [list(two_tastes().sequences[u]) for u in range(24)]
    planted = [items[:-2] + [18, 19] if u % 2 == 0 else items for u, items in enumerate(sequences)]
    config = SMALL.model_copy(update={"epochs": 3})
    a, b = (LightGCN(config, 0, "cpu").fit(made(s, 20).split()) for s in (sequences, planted))
    assert a.log.losses == b.log.losses


def test_same_seed_same_vectors_and_another_seed_others():
    split = two_tastes().split()
    config = SMALL.model_copy(update={"epochs": 3})
    a, b, c = (LightGCN(config, seed, "cpu").fit(split).item_vectors() for seed in (3, 3, 4))
    assert a.dtype == np.float32 and a.shape == (20, 16)
    assert np.array_equal(a, b) and not np.allclose(a, c)


def test_a_checkpoint_of_another_regularization_is_not_gone_on_from(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(lightgcn.train.__kwdefaults__, "checkpoint_seconds", 0.0)
    split, config = two_tastes().split(), SMALL.model_copy(update={"epochs": 2})
    for changed, said in (({}, False), ({}, False), ({"regularization": 0.5}, True)):
        LightGCN(
            config.model_copy(update=changed), 0, "cpu", tmp_path / "checkpoint.safetensors"
        ).fit(split)
        assert ("another training" in capsys.readouterr().out) == said


def test_saved_and_loaded_it_answers_the_same(fitted, tmp_path):
    model, dataset = fitted
    model.save(tmp_path / "model.safetensors")
    again = LightGCN.load(tmp_path / "model.safetensors", device="cpu")
    cases = dataset.split().cases("test").without_targets()
    assert np.array_equal(again.recommend(cases, 5).scores, model.recommend(cases, 5).scores)
    assert (again.config, again.log, again.n_parameters) == (model.config, model.log, 44 * 16)


@pytest.mark.parametrize(
    "user, item, message", [(24, 0, "user 24"), (-2, 0, "user -2"), (0, 20, "item 20")]
)
def test_users_and_items_outside_the_data_are_named(fitted, user, item, message):
    with pytest.raises(LetterError, match=message):
        fitted[0].recommend(Cases.from_histories([[item]], [user]), 5)


def test_validation_treats_the_history_as_the_class_says(monkeypatch):
    asked, recommend = [], LightGCN.recommend

    def spy(self, cases, k, exclude_history=False):
        asked.append(exclude_history)
        return recommend(self, cases, k, exclude_history)

    monkeypatch.setattr(LightGCN, "recommend", spy)
    LightGCN(SMALL.model_copy(update={"epochs": 2}), 0, "cpu").fit(two_tastes().split())
    assert asked and set(asked) == {LightGCN.leaves_out_history}


def test_training_is_as_long_and_as_fast_as_the_configuration_says(monkeypatch):
    seen, config = {}, SMALL.model_copy(update={"patience": 7})
    monkeypatch.setattr(
        lightgcn, "train", lambda *given, **options: seen.update(options) or TrainingLog()
    )
    LightGCN(config, device="cpu").fit(two_tastes().split())
    for name in ("epochs", "learning_rate", "patience"):
        assert seen[name] == getattr(config, name), name


def test_every_epoch_has_an_order_of_its_own(monkeypatch):
    seen = []
    monkeypatch.setattr(
        lightgcn,
        "train",
        lambda network, batches, *given, **o: seen.append(batches) or TrainingLog(),
    )
    LightGCN(SMALL, device="cpu").fit(two_tastes().split())
    first, second = (next(iter(seen[0](np.random.default_rng(epoch)))) for epoch in (0, 1))
    assert not torch.equal(first[1], second[1])


def test_item_vectors_are_the_caller_s_to_change():
    model = LightGCN(SMALL.model_copy(update={"epochs": 1}), device="cpu").fit(two_tastes().split())
    model.item_vectors()[:] = 0
    assert model.item_vectors().any()


def test_embeddings_start_at_their_size():
    network = LightGCNNetwork(
        interaction_matrix(two_tastes().sequences, 20), LightGCNConfig(dimensions=64)
    )
    assert network.embeddings.square().mean().sqrt().item() == pytest.approx(0.1, rel=0.1)


def test_the_seed_decides_how_training_goes_on_as_well(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        lightgcn, "train", lambda *given, **options: seen.update(options) or TrainingLog()
    )
    LightGCN(SMALL, seed=5, device="cpu").fit(two_tastes().split())
    assert seen["seed"] == 5
