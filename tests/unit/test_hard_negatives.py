import numpy as np
import pytest
import torch

from letterlib.analysis import hard_negatives
from letterlib.analysis.hard_negatives import negative_weights, split_scores, target_logits
from letterlib.data.dataset import Cases
from letterlib.errors import LetterError
from letterlib.generators.ranking_loss import ranking_guided_loss
from letterlib.generators.tiger import Tiger, TigerConfig
from letterlib.tokenizer.identifiers import Identifiers


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


def test_weights_take_any_leading_shape_and_leave_the_logits_alone():
    logits, targets = torch.zeros(2, 3, 5), torch.zeros(2, 3, dtype=torch.int64)
    weights = negative_weights(logits, targets, 0.5)
    assert torch.allclose(weights, torch.tensor([0, 0.25, 0.25, 0.25, 0.25]).expand(2, 3, 5))
    assert not logits.any()


def test_scores_are_split_with_the_hardest_negative_first():
    positive, negatives = split_scores(torch.tensor([[1.0, 4, 2, 3]]), torch.tensor([2]))
    assert positive.tolist() == [2] and negatives.tolist() == [[4, 3, 1]]


@pytest.fixture
def tiger():
    codes = np.array([[a, b] for a in range(4) for b in range(4)])
    config = TigerConfig(d_model=8, d_ff=8, n_heads=2, d_head=4, n_layers=1, dropout=0.0, history=3)
    return Tiger(Identifiers(codes, (4, 4)), config, device="cpu")


def test_target_logits_are_those_of_each_case_alone(tiger):
    histories = [[0, 5], [3, 2, 9, 11, 4], [7]]
    one = Cases.from_histories([*histories, [1] * 2])
    cases = Cases(one.users, one.values, one.starts, one.ends, np.array([4, 0, 15, 3]))
    logits, targets = target_logits(tiger, cases)
    assert logits.shape == (4, 3, tiger.trie.vocabulary_size)
    assert targets.tolist() == [[*tiger.item_tokens[item], 1] for item in (4, 0, 15, 3)]
    for i in range(4):
        alone, _ = target_logits(tiger, cases[i : i + 1])
        assert torch.allclose(alone[0], logits[i], atol=1e-5)


def test_the_sum_of_target_log_probabilities_is_the_items_score(tiger):
    one = Cases.from_histories([[0, 5], [3, 2]])
    cases = Cases(one.users, one.values, one.starts, one.ends, np.array([4, 9]))
    logits, targets = target_logits(tiger, cases)
    logs = logits.log_softmax(dim=2).gather(2, targets[..., None])[..., 0]
    ranking = tiger.recommend(cases.without_targets(), 16, beam=16)
    for i, item in enumerate(cases.targets):
        score = ranking.scores[i][ranking.items[i] == item]
        assert score == pytest.approx(logs[i].sum().item(), abs=1e-4)


def test_histories_alone_are_refused(tiger):
    with pytest.raises(LetterError, match="with targets"):
        target_logits(tiger, Cases.from_histories([[1, 2]]))


def test_logits_are_without_dropout_though_training_was_interrupted(tiger):
    noisy = Tiger(tiger.identifiers, tiger.config.model_copy(update={"dropout": 0.5}), device="cpu")
    cases = Cases(np.array([0]), np.array([1, 2]), np.array([0]), np.array([2]), np.array([3]))
    calm = target_logits(noisy, cases)[0]
    noisy.network.train()
    assert torch.equal(target_logits(noisy, cases)[0], calm)


def test_more_cases_than_are_scored_at_once_have_their_own_logits_each(tiger, monkeypatch):
    one, targets = Cases.from_histories([[i, i + 1] for i in range(7)]), np.arange(9, 16)
    cases = Cases(one.users, one.values, one.starts, one.ends, targets)
    whole, tokens = target_logits(tiger, cases)
    monkeypatch.setattr(hard_negatives, "_ROWS", 3)
    parts, again = target_logits(tiger, cases)
    assert torch.allclose(parts, whole, atol=1e-5) and torch.equal(again, tokens)
