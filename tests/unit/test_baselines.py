"""What all trained baselines share: learning, leaks, repetition, files, edges."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_data import made
from pydantic import ValidationError

from letterlib.baselines import lightgcn, neural
from letterlib.baselines.bert4rec import BERT4Rec
from letterlib.baselines.caser import Caser
from letterlib.baselines.hgn import HGN
from letterlib.baselines.lightgcn import LightGCN
from letterlib.baselines.markov import MarkovFloor
from letterlib.baselines.mf import MatrixFactorization, MatrixFactorizationConfig
from letterlib.baselines.neural import Dropout
from letterlib.baselines.sasrec import SASRec
from letterlib.data.dataset import NO_ITEM, Cases
from letterlib.errors import LetterError
from letterlib.evaluation.evaluate import validation_ndcg
from letterlib.train import train

N_ITEMS, N_USERS = 40, 96
SIZE = dict(dimensions=16, epochs=3, batch_size=32, learning_rate=1e-2)
WINDOW = SIZE | dict(dtype="float32", window=4)
SEQUENCE = SIZE | dict(dtype="float32", history=10)
SYSTEMS = {
    "mf": (MatrixFactorization, SIZE | dict(dtype="float32")),
    "caser": (Caser, WINDOW | dict(horizontal=4, vertical=2)),
    "hgn": (HGN, WINDOW),
    "bert4rec": (BERT4Rec, SEQUENCE),
    "sasrec": (SASRec, SEQUENCE),
    "sasrec-bce": (SASRec, SEQUENCE | dict(loss="bce")),
    "lightgcn": (LightGCN, SIZE | dict(n_layers=2, learning_rate=0.05)),
}
LONG = {name: dict(epochs=12) for name in SYSTEMS} | {
    "bert4rec": dict(epochs=30, learning_rate=3e-3)
}
USER_BASED = ("mf", "caser", "hgn", "lightgcn")


def fresh(name: str, seed: int = 1, checkpoint=None, **settings):
    kind, sizes = SYSTEMS[name]
    return kind(None, seed, "cpu", checkpoint, **(sizes | settings))


def weights(model) -> dict[str, torch.Tensor]:
    return vars(model.vectors) if isinstance(model, LightGCN) else model.network.state_dict()


def two_tastes() -> list[list[int]]:
    """Even users like the first half of the catalogue, odd users the second."""
    generator, half = np.random.default_rng(0), N_ITEMS // 2
    return [(generator.permutation(half)[:9] + half * (u % 2)).tolist() for u in range(N_USERS)]


def split_of(sequences: list[list[int]]):
    return made(sequences, N_ITEMS).split()


def asked() -> Cases:
    return split_of(two_tastes()).cases("test").without_targets()


@pytest.fixture(params=SYSTEMS)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=SYSTEMS)
def fitted(request):
    return fresh(request.param).fit(split_of(two_tastes()))


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


def test_it_learns_who_likes_what_of_known_and_unknown_users(name):
    """Trained to the end: to choose the best epoch by 96 cases would be left to chance."""
    model = fresh(name, **LONG[name]).fit(OnlyTraining(split_of(two_tastes())))
    for cases in (asked(), replace(asked(), users=np.full(N_USERS, -1))):
        items = model.recommend(cases, 5).items
        assert (items // 20 == (np.arange(N_USERS) % 2)[:, None]).mean() > 0.9


def test_it_never_sees_validation_or_test_items(name):
    """Items planted there leave training as it was; only the epoch may depend on validation."""
    sequences = two_tastes()
    planted = [items[:-2] + [items[0], items[1]] for items in sequences]
    test_only = [items[:-1] + [items[0]] for items in sequences]
    other = [items[:-3] + [items[-2], items[-3], items[-1]] for items in sequences]
    a, b, c, d = (fresh(name, 0).fit(split_of(s)) for s in (sequences, planted, test_only, other))
    assert a.log.losses == b.log.losses != d.log.losses
    assert a.log.validations == c.log.validations
    assert all(torch.equal(tensor, weights(c)[key]) for key, tensor in weights(a).items())


def test_same_seed_same_scores_and_another_seed_others(name):
    split = split_of(two_tastes())
    a, b, c = (fresh(name, seed).fit(split).recommend(asked(), 5).scores for seed in (3, 3, 4))
    assert np.array_equal(a, b) and not np.allclose(a, c)


def test_an_interrupted_run_resumed_equals_an_uninterrupted_one(name, tmp_path, monkeypatch):
    split, checkpoint = split_of(two_tastes()), tmp_path / "checkpoint.safetensors"
    monkeypatch.setitem(train.__kwdefaults__, "checkpoint_seconds", 0.0)

    def interrupted(split, recommend):
        score, calls = validation_ndcg(split, recommend), iter(range(2))

        def scored() -> float:
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return score()

        return scored

    stopped = fresh(name, 1, checkpoint)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        for module in (neural, lightgcn):
            patch.setattr(module, "validation_ndcg", interrupted)
        stopped.fit(split)
    with pytest.raises(LetterError, match="not trained"):
        stopped.recommend(asked(), 5)
    resumed, whole = fresh(name, 1, checkpoint).fit(split), fresh(name, 1).fit(split)
    assert resumed.log.losses == whole.log.losses and len(whole.log.losses) > 2
    assert all(torch.equal(tensor, weights(resumed)[key]) for key, tensor in weights(whole).items())


def test_saved_and_loaded_it_answers_the_same(fitted, tmp_path):
    path = tmp_path / "model.safetensors"
    fitted.save(path)
    again = type(fitted).load(path, device="cpu")
    for cases in (asked(), replace(asked(), users=np.full(N_USERS, -1))):
        assert np.array_equal(again.recommend(cases, 5).scores, fitted.recommend(cases, 5).scores)
    assert (again.config, again.log) == (fitted.config, fitted.log)
    assert again.n_parameters == fitted.n_parameters
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(LetterError, match="model.safetensors"):
        type(fitted).load(path)


def test_history_is_excluded_on_request_and_no_item_comes_twice(fitted):
    cases = asked()
    ranking = fitted.recommend(cases, N_ITEMS + 5, exclude_history=True)
    for i in range(len(cases)):
        items = ranking.items[i][ranking.items[i] != NO_ITEM]
        assert sorted(items) == sorted(set(range(N_ITEMS)) - set(cases.history(i)))
    whole = fitted.recommend(cases, N_ITEMS + 5).items
    assert (np.sort(whole[:, :N_ITEMS]) == np.arange(N_ITEMS)).all()
    assert (whole[:, N_ITEMS:] == NO_ITEM).all()


def test_an_empty_history_of_an_unknown_user_is_answered_by_popularity(fitted):
    counts = split_of(two_tastes()).train_counts
    expected = np.lexsort((np.arange(N_ITEMS), -counts))[:5].tolist()
    ranking = fitted.recommend(Cases.from_histories([[3], [], [4, 5]]), 5)
    assert ranking.items[1].tolist() == expected
    assert not np.array_equal(ranking.scores[0], ranking.scores[1]), "one item is a history"


def test_a_case_is_answered_alike_alone_and_among_others(fitted):
    cases = Cases.from_histories([[1], [2, 3, 4], list(range(20)), [5, 39]])
    together = fitted.recommend(cases, N_ITEMS)
    for i in range(len(cases)):
        alone = fitted.recommend(cases[i : i + 1], N_ITEMS)
        by_item = [
            np.take(r.scores[j], np.argsort(r.items[j])) for r, j in ((together, i), (alone, 0))
        ]
        np.testing.assert_allclose(*by_item, atol=1e-5)


def test_items_and_users_outside_the_data_are_named(fitted):
    with pytest.raises(LetterError, match="item 40 is not in the catalogue"):
        fitted.recommend(Cases.from_histories([[1, 40]]), 5)
    if isinstance(fitted, (MatrixFactorization, Caser, HGN, LightGCN)):
        for user in (N_USERS, -2):
            with pytest.raises(LetterError, match=f"user {user} "):
                fitted.recommend(Cases.from_histories([[1]], [user]), 5)


@pytest.mark.parametrize("name", ["caser", "hgn", "bert4rec", "sasrec"])
def test_data_without_a_next_item_are_named(name):
    with pytest.raises(LetterError, match="no user has two items in training"):
        fresh(name).fit(split_of([[0, 1, 2], [3, 4, 5]]))


def test_settings_are_keywords_or_a_config_or_both(tmp_path):
    config = MatrixFactorizationConfig(dimensions=8, epochs=2)
    assert MatrixFactorization(config, 0, "cpu").config == config
    assert MatrixFactorization(dimensions=8, epochs=2).config == config
    assert MatrixFactorization(config, epochs=3).config.epochs == 3
    with pytest.raises(ValidationError, match="dim\n"):
        MatrixFactorization(dim=8)


@pytest.mark.parametrize("model", [MarkovFloor, MatrixFactorization, LightGCN])
def test_before_fit_the_error_says_to_fit(model, tmp_path):
    for ask in ("recommend", "save", "n_parameters"):
        if hasattr(model, ask):
            with pytest.raises(LetterError, match=f"{model.__name__} is not trained.*call fit"):
                if ask == "recommend":
                    model().recommend(asked(), 5)
                else:
                    getattr(model(), ask) if ask == "n_parameters" else model().save(tmp_path / "x")


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
