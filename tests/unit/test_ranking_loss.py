"""The ranking-guided loss from its formula."""

import math

import pytest
import torch
import torch.nn.functional as F

from letterlib.generators.ranking_loss import ranking_guided_loss


def _example():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(4, 5, 11, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 11, (4, 5), generator=generator)
    targets[1, 3:] = -100
    return logits.float().requires_grad_(), targets


def test_tau_one_is_cross_entropy():
    logits, targets = _example()
    expected = F.cross_entropy(logits.reshape(-1, 11), targets.reshape(-1))
    assert torch.equal(ranking_guided_loss(logits, targets), expected)


def test_value_from_the_formula():
    logits, targets = _example()
    for tau in (0.6, 1.0, 1.2):
        total, n = 0.0, 0
        for row, target in zip(
            logits.reshape(-1, 11).tolist(), targets.reshape(-1).tolist(), strict=True
        ):
            if target != -100:
                total -= row[target] / tau - math.log(sum(math.exp(one / tau) for one in row))
                n += 1
        assert abs(ranking_guided_loss(logits, targets, tau).item() - total / n) < 1e-5


def test_a_lower_tau_gives_the_hardest_negative_a_larger_share_of_the_gradient():
    shares = []
    for tau in (0.6, 1.0, 1.2):
        logits = torch.tensor([[2.0, 1.5, 0.0, -1.0]], requires_grad=True)
        ranking_guided_loss(logits, torch.tensor([0]), tau).backward()
        negatives = logits.grad[0, 1:]
        shares.append(float(negatives[0] / negatives.sum()))
    assert shares[0] > shares[1] > shares[2]


def test_ignored_targets_have_no_gradient():
    logits, targets = _example()
    ranking_guided_loss(logits, targets, 0.8).backward()
    assert not logits.grad[1, 3:].any()
    assert logits.grad[0].any(dim=-1).all()


def test_float64_logits_stay_float64():
    logits, targets = _example()
    exact = logits.detach().double().requires_grad_()
    assert ranking_guided_loss(exact, targets).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x: ranking_guided_loss(x, targets, 0.7), exact)


def test_bfloat16_logits_have_the_loss_of_their_float32_values():
    logits, targets = _example()
    coarse = logits.detach().bfloat16()
    loss = ranking_guided_loss(coarse, targets, 0.7)
    assert torch.equal(loss, ranking_guided_loss(coarse.float(), targets, 0.7))


@pytest.mark.parametrize("tau", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_above_0_is_refused(tau):
    with pytest.raises(ValueError):
        ranking_guided_loss(*_example(), tau)
