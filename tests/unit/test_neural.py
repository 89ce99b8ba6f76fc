"""What MF, Caser, HGN, BERT4Rec and SASRec with its original loss share: learning, leaks,
repetition, files, edges.
"""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from made_data import made

from letterlib.baselines.bert4rec import BERT4Rec, BERT4RecConfig
from letterlib.baselines.caser import Caser, CaserConfig
from letterlib.baselines.hgn import HGN, HGNConfig
from letterlib.baselines.lightgcn import LightGCN, LightGCNConfig
from letterlib.baselines.mf import MatrixFactorization, MatrixFactorizationConfig
from letterlib.baselines.neural import Dropout, NeuralConfig, NeuralRecommender
from letterlib.baselines.sasrec import SASRec, SASRecConfig
from letterlib.data.dataset import NO_ITEM, Cases
from letterlib.errors import LetterError
from letterlib.evaluation.validation import validation_ndcg
from letterlib.train import train

N_ITEMS, N_USERS = 40, 96
SIZE = dict(dimensions=16, epochs=3, batch_size=32, learning_rate=1e-2, dtype="float32")
SYSTEMS: dict[str, tuple[type[NeuralRecommender], NeuralConfig]] = {
    "mf": (MatrixFactorization, MatrixFactorizationConfig(**SIZE)),
    "caser": (Caser, CaserConfig(**SIZE, window=4, horizontal=4, vertical=2)),
    "hgn": (HGN, HGNConfig(**SIZE, window=4)),
    "bert4rec": (BERT4Rec, BERT4RecConfig(**SIZE, history=10)),
    "sasrec-bce": (SASRec, SASRecConfig(**SIZE, history=10, loss="bce")),
}
LONG = {name: dict(epochs=12) for name in SYSTEMS} | {
    "bert4rec": dict(epochs=30, learning_rate=3e-3)
}
"""With these, each of sixteen seeds gives .998 or more where the tests of learning ask for .95."""
USER_BASED = ("mf", "caser", "hgn")


def two_tastes() -> list[list[int]]:
    """Even users like the first half of the catalogue, odd users the second."""
    generator, half = np.random.default_rng(0), N_ITEMS // 2
    return [(generator.permutation(half)[:9] + half * (u % 2)).tolist() for u in range(N_USERS)]


@pytest.fixture(scope="module", params=SYSTEMS)
def fitted(request) -> NeuralRecommender:
    kind, config = SYSTEMS[request.param]
    return kind(config, seed=1, device="cpu").fit(made(two_tastes(), N_ITEMS).split())


@pytest.fixture(scope="module", params=SYSTEMS)
def taught(request) -> NeuralRecommender:
    """Trained to the end: to choose the best epoch by 96 cases would be left to chance."""
    kind, config = SYSTEMS[request.param]
    split = OnlyTraining(made(two_tastes(), N_ITEMS).split())
    return kind(config.model_copy(update=LONG[request.param]), seed=1, device="cpu").fit(split)


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request) -> tuple[type[NeuralRecommender], NeuralConfig]:
    return SYSTEMS[request.param]


def asked() -> Cases:
    return made(two_tastes(), N_ITEMS).split().cases("test").without_targets()


class OnlyTraining:
    """A split's training part, and no validation cases to choose an epoch by: the last weights
    stay.
    """

    def __init__(self, split):
        self.train, self.train_counts = split.train, split.train_counts
        self.n_users, self.n_items, self.fingerprint = (
            split.n_users,
            split.n_items,
            split.fingerprint,
        )
        self._cases = split.cases

    def cases(self, part: str) -> Cases:
        assert part != "test", "training looked at the test part"
        return self._cases(part) if part == "train" else Cases.from_histories([])


@pytest.mark.parametrize(
    "name, epochs", [("mf", 60), ("caser", 60), ("hgn", 30), ("bert4rec", 300), ("sasrec-bce", 150)]
)
def test_it_memorises_ten_users_training_targets(name, epochs):
    kind, config = SYSTEMS[name]
    generator = np.random.default_rng(5)
    split = made([generator.permutation(200)[:14].tolist() for _ in range(10)], 200).split()
    more = dict(
        dimensions=32,
        epochs=epochs,
        batch_size=32,
        dropout=0.0,
        regularization=0.0,
        weight_decay=0.0,
    )
    more |= dict(last_only=1.0)  # BERT4Rec answers for the last place alone
    known = {name: value for name, value in more.items() if name in kind.config_class.model_fields}
    model = kind(config.model_copy(update=known), 0, "cpu").fit(OnlyTraining(split))
    last = split.train.offsets[1:] - 1
    cases = Cases(
        np.arange(10), split.train.values, split.train.offsets[:-1], last, split.train.values[last]
    )
    # MF does not know which of a user's items came last: what stands before it is left out of the
    # list.
    items = model.recommend(
        cases.without_targets(), 10, exclude_history=kind.leaves_out_history
    ).items
    assert (items == cases.targets[:, None]).any(axis=1).mean() > 0.9


def test_it_learns_who_likes_what(taught):
    items = taught.recommend(asked(), 5).items
    assert (items // 20 == (np.arange(N_USERS) % 2)[:, None]).mean() > 0.95


def test_a_stranger_with_a_users_history_gets_that_users_taste(taught):
    cases = asked()
    items = taught.recommend(replace(cases, users=np.full(N_USERS, -1)), 5).items
    assert (items // 20 == (np.arange(N_USERS) % 2)[:, None]).mean() > 0.95


def test_it_never_sees_validation_or_test_items(system):
    """Items planted there leave training as it was; only the choice of the epoch may depend on
    validation.
    """
    kind, config = system
    sequences = two_tastes()
    planted = [items[:-2] + [items[0], items[1]] for items in sequences]
    test_only = [items[:-1] + [items[0]] for items in sequences]
    other = [items[:-3] + [items[-2], items[-3], items[-1]] for items in sequences]
    a, b, c, d = (
        kind(config, 0, "cpu").fit(made(s, N_ITEMS).split())
        for s in (sequences, planted, test_only, other)
    )
    assert a.log.losses == b.log.losses != d.log.losses
    assert a.log.validations == c.log.validations
    for name, weights in a.network.state_dict().items():
        assert torch.equal(weights, c.network.state_dict()[name])


def test_same_seed_same_scores_and_another_seed_others(system):
    kind, config = system
    split = made(two_tastes(), N_ITEMS).split()
    a, b, c = (
        kind(config, seed, "cpu").fit(split).recommend(asked(), 5).scores for seed in (3, 3, 4)
    )
    assert np.array_equal(a, b) and not np.allclose(a, c)


def test_the_seed_decides_where_training_begins(system, monkeypatch):
    kind, config = system
    monkeypatch.setattr("letterlib.baselines.neural.train", lambda *given, **options: None)
    split = made(two_tastes(), N_ITEMS).split()
    one, same, other = (
        kind(config, seed, "cpu").fit(split).network.state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_training_is_the_same_for_all_but_for_what_the_configuration_says(system, monkeypatch):
    (kind, config), seen = system, {}
    monkeypatch.setattr(
        "letterlib.baselines.neural.train", lambda *given, **options: seen.update(options)
    )
    kind(config, 0, "cpu").fit(made(two_tastes(), N_ITEMS).split())
    assert (seen["schedule"], seen["warmup"]) == ("cosine", 0.05)
    for option in ("epochs", "learning_rate", "weight_decay", "patience"):
        assert seen[option] == getattr(config, option), option


@pytest.mark.parametrize(
    "name, size", [("mf", 0.1), ("caser", 0.25), ("hgn", 0.25), ("sasrec-bce", 0.02)]
)
def test_item_vectors_start_at_their_size(name, size, monkeypatch):
    kind, config = SYSTEMS[name]
    monkeypatch.setattr("letterlib.baselines.neural.train", lambda *given, **options: None)
    vectors = (
        kind(config, 0, "cpu")
        .fit(made(two_tastes(), N_ITEMS).split())
        .network.items.weight[:N_ITEMS]
    )
    assert vectors.square().mean().sqrt().item() == pytest.approx(size, rel=0.1)


def test_an_interrupted_run_resumed_equals_an_uninterrupted_one(
    system, tmp_path, monkeypatch, capsys
):
    kind, config = system
    split, checkpoint = made(two_tastes(), N_ITEMS).split(), tmp_path / "checkpoint.safetensors"
    monkeypatch.setitem(train.__kwdefaults__, "checkpoint_seconds", 0.0)

    def interrupted(split, recommend):
        score, calls = validation_ndcg(split, recommend), iter(range(2))

        def scored() -> float:
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return score()

        return scored

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("letterlib.baselines.neural.validation_ndcg", interrupted)
        kind(config, 1, "cpu", checkpoint).fit(split)
    resumed, whole = (
        kind(config, 1, "cpu", checkpoint).fit(split),
        kind(config, 1, "cpu").fit(split),
    )
    assert resumed.log.losses == whole.log.losses and len(whole.log.losses) > 2
    for name, weights in whole.network.state_dict().items():
        assert torch.equal(weights, resumed.network.state_dict()[name])
    kind(config.model_copy(update={"patience": config.patience + 1}), 1, "cpu", checkpoint).fit(
        split
    )
    assert "another training" in capsys.readouterr().out


def test_saved_and_loaded_it_answers_the_same(fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    again = type(fitted).load(path, device="cpu")
    for cases in (asked(), replace(asked(), users=np.full(N_USERS, -1))):
        assert np.array_equal(again.recommend(cases, 5).scores, fitted.recommend(cases, 5).scores)
    assert (again.config, again.log, again.n_parameters) == (
        fitted.config,
        fitted.log,
        fitted.n_parameters,
    )


def test_to_load_a_model_leaves_the_caller_s_random_numbers_alone(fitted, tmp_path):
    fitted.save(tmp_path / "model.safetensors")
    torch.manual_seed(11)
    expected = torch.rand(2)
    torch.manual_seed(11)
    type(fitted).load(tmp_path / "model.safetensors", device="cpu")
    assert torch.equal(torch.rand(2), expected)


def test_history_is_excluded_on_request_and_no_item_comes_twice(fitted):
    cases = asked()
    ranking = fitted.recommend(cases, N_ITEMS + 5, exclude_history=True)
    for i in range(len(cases)):
        items = ranking.items[i][ranking.items[i] != NO_ITEM]
        assert sorted(items) == sorted(set(range(N_ITEMS)) - set(cases.history(i)))
    whole = fitted.recommend(cases, N_ITEMS + 5).items
    assert (np.sort(whole[:, :N_ITEMS]) == np.arange(N_ITEMS)).all() and (
        whole[:, N_ITEMS:] == NO_ITEM
    ).all()


def test_an_empty_history_of_an_unknown_user_is_answered_by_popularity(fitted):
    counts = made(two_tastes(), N_ITEMS).split().train_counts
    expected = np.lexsort((np.arange(N_ITEMS), -counts))[:5].tolist()
    ranking = fitted.recommend(Cases.from_histories([[3], [], [4, 5]]), 5)
    assert ranking.items[1].tolist() == expected
    assert not np.array_equal(ranking.scores[0], ranking.scores[1]), "one item is a history"
    assert fitted.recommend(Cases.from_histories([[]]), 5).items[0].tolist() == expected
    alone = fitted.recommend(Cases.from_histories([[4, 5]]), 5)
    np.testing.assert_allclose(ranking.scores[2], alone.scores[0], atol=1e-5)


@pytest.mark.parametrize("name", USER_BASED)
def test_an_empty_history_of_a_known_user_is_answered_by_the_users_vector(name):
    kind, config = SYSTEMS[name]
    split, shares = made(two_tastes(), N_ITEMS).split(), []
    nothing = Cases.from_histories([[]] * N_USERS, np.arange(N_USERS))
    for seed in range(5):
        items = (
            kind(config.model_copy(update=LONG[name]), seed, "cpu")
            .fit(split)
            .recommend(nothing, 5)
            .items
        )
        shares.append((items // 20 == (np.arange(N_USERS) % 2)[:, None]).mean())
    # An even chance for popularity. A network that reads windows never saw an empty one, and is
    # less sure than MF: of ten seeds it had .58 to .91, .80 on average.
    assert np.mean(shares) > 0.65


@pytest.mark.parametrize("name", ["mf", "caser", "hgn", "bert4rec"])
def test_an_items_bias_is_added_to_its_score(name):
    kind, config = SYSTEMS[name]
    model = kind(config.model_copy(update={"epochs": 1}), 1, "cpu").fit(
        made(two_tastes(), N_ITEMS).split()
    )
    with torch.no_grad():
        model.network.bias[7] += 100
    assert (model.recommend(asked(), 5).items[:, 0] == 7).all()


def test_a_case_is_answered_alike_alone_and_among_others(fitted):
    cases = Cases.from_histories([[1], [2, 3, 4], list(range(20)), [5, 39]])
    together = fitted.recommend(cases, N_ITEMS)
    for i in range(len(cases)):
        alone = fitted.recommend(cases[i : i + 1], N_ITEMS)
        by_item = [
            np.take(r.scores[j], np.argsort(r.items[j])) for r, j in ((together, i), (alone, 0))
        ]
        np.testing.assert_allclose(*by_item, atol=1e-5)


def test_items_outside_the_catalogue_are_named(fitted):
    with pytest.raises(LetterError, match="item 40 is not in the catalogue"):
        fitted.recommend(Cases.from_histories([[1, 40]]), 5)


@pytest.mark.parametrize("name", USER_BASED)
@pytest.mark.parametrize("user", [N_USERS, -2])
def test_users_outside_the_data_are_named(name, user):
    kind, config = SYSTEMS[name]
    model = kind(config.model_copy(update={"epochs": 1}), 1, "cpu").fit(
        made(two_tastes(), N_ITEMS).split()
    )
    with pytest.raises(LetterError, match=f"user {user} is not among the {N_USERS}"):
        model.recommend(Cases.from_histories([[1]], [user]), 5)


@pytest.mark.parametrize("name", ["caser", "hgn", "bert4rec", "sasrec-bce"])
def test_data_without_a_next_item_are_named(name):
    kind, config = SYSTEMS[name]
    model = kind(config, device="cpu")
    with pytest.raises(LetterError, match="no user has two items in training"):
        model.fit(made([[0, 1, 2], [3, 4, 5]], N_ITEMS).split())
    with pytest.raises(LetterError, match="it has learnt nothing yet"):
        model.recommend(asked(), 5)


def test_validation_treats_the_history_as_the_class_says(system, monkeypatch):
    (kind, config), asked = system, []
    recommend = kind.recommend

    def spy(self, cases, k, exclude_history=False):
        asked.append(exclude_history)
        return recommend(self, cases, k, exclude_history)

    monkeypatch.setattr(kind, "recommend", spy)
    kind(config, 0, "cpu").fit(made(two_tastes(), N_ITEMS).split())
    assert asked and set(asked) == {kind.leaves_out_history}


@pytest.mark.parametrize("name", ("caser", "hgn"))
def test_users_who_were_in_no_training_case_are_ranked_for_alike_when_they_are_alike(name):
    lists = [*two_tastes(), *[[7, 8, 9]] * 4]  # one item in training, and nothing before it
    split = made(lists, N_ITEMS).split()
    kind, config = SYSTEMS[name]
    model = kind(config, 0, "cpu").fit(split)
    cases = Cases.from_histories([[7, 8]] * 4, users=range(N_USERS, N_USERS + 4))
    assert len(np.unique(model.recommend(cases, 10).items, axis=0)) == 1


def test_a_seed_may_be_a_number_of_numpy(tmp_path):
    split = made(two_tastes(), N_ITEMS).split()
    kind, config = SYSTEMS["mf"]
    kind(config, np.arange(5)[3], "cpu").fit(split).save(tmp_path / "m.safetensors")
    assert kind.load(tmp_path / "m.safetensors", "cpu").seed == 3
    with pytest.raises(TypeError):
        kind(config, 3.0, "cpu")


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (MatrixFactorization, MatrixFactorizationConfig),
        (Caser, CaserConfig),
        (HGN, HGNConfig),
        (LightGCN, LightGCNConfig),
    ],
    ids=["mf", "caser", "hgn", "lightgcn"],
)
def test_an_interrupted_fit_has_learnt_nothing(kind, config, monkeypatch, tmp_path):
    """Of the first three, users have vectors and strangers none yet: everybody would get one list,
    from a file, too.
    """
    split = made([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]] * 5, 5).split(1)
    model = kind(config(epochs=1, dimensions=4), 0, "cpu")
    monkeypatch.setattr(kind, "recommend", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        model.fit(split)
    monkeypatch.undo()
    for ask in (
        lambda: model.recommend(Cases.from_histories([[0, 1]]), 2),
        lambda: model.save(tmp_path / "a"),
    ):
        with pytest.raises(LetterError, match="has learnt nothing yet; call fit first"):
            ask()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_its_share_of_the_numbers_each_for_itself_and_none_in_evaluation(dtype):
    torch.manual_seed(0)
    dropout, x = Dropout(0.3), torch.ones(400, 500, dtype=dtype, requires_grad=True)
    kept = dropout(x)
    assert kept.dtype == dtype and set(kept.unique().tolist()) == {
        0.0,
        float(torch.tensor(1 / 0.7, dtype=dtype)),
    }
    kept.sum().backward()
    assert torch.equal(x.grad, kept)
    share = (kept > 0).float()
    assert share.mean() == pytest.approx(0.7, abs=0.005)  # five standard deviations
    # Neighbours are dropped together as often as chance has it: half a row or a whole one is not.
    for other in (share.roll(1, 0), share.roll(1, 1)):
        assert (share * other).mean() == pytest.approx(0.49, abs=0.01)
    assert torch.equal(dropout.eval()(x), x) and torch.equal(Dropout(0.0).train()(x), x)


@pytest.mark.parametrize(
    ("name", "own"), [("mf", [7, 8, 9]), ("caser", [7, 8, 9, 10]), ("hgn", [7, 8, 9, 10])]
)
def test_a_user_with_the_fewest_items_has_a_vector_of_his_own(name, own):
    kind, config = SYSTEMS[name]
    split = made([*two_tastes(), own, own], N_ITEMS).split()
    model = kind(config.model_copy(update={"epochs": 1}), 0, "cpu").fit(split)
    one, other = model.recommend(
        Cases.from_histories([own[:-1]] * 2, users=[N_USERS, N_USERS + 1]), 10
    ).scores
    assert not np.allclose(one, other, atol=1e-4), "both are ranked as strangers"


def test_training_is_in_the_dtype_of_the_configuration(monkeypatch):
    (kind, config), seen = SYSTEMS["mf"], {}
    monkeypatch.setattr(
        "letterlib.baselines.neural.train", lambda *given, **options: seen.update(options)
    )
    kind(config.model_copy(update={"dtype": "bfloat16"}), 0, "cpu").fit(
        made(two_tastes(), N_ITEMS).split()
    )
    assert seen["dtype"] == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "right"), [("mf", 1), ("caser", 2), ("hgn", 2), ("sasrec-bce", 1)]
)
def test_every_epoch_has_an_order_of_its_own(name, right):
    kind, config = SYSTEMS[name]
    model = kind(config, 0, "cpu")
    model.popularity = torch.zeros(N_ITEMS)
    _, batches = model.batches(made(two_tastes(), N_ITEMS).split())
    first, second = (next(iter(batches(np.random.default_rng(epoch)))) for epoch in (0, 1))
    assert not torch.equal(first[right], second[right])


def test_the_seed_decides_how_training_goes_on_as_well(system, monkeypatch):
    """Order, negatives, masks and dropout are drawn from it; else runs of several seeds would share
    all of them.
    """
    (kind, config), seen = system, {}
    monkeypatch.setattr(
        "letterlib.baselines.neural.train", lambda *given, **options: seen.update(options)
    )
    kind(config, 5, "cpu").fit(made(two_tastes(), N_ITEMS).split())
    assert seen["seed"] == 5
