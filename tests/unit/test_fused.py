"""Gradients written by hand against autograd's of the plain formulas, in float64 and bfloat16."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from letterlib.generators import fused
from letterlib.generators.ranking_loss import ranking_guided_loss
from letterlib.generators.tiger import Dropout, EncoderDecoder, EncoderDecoderConfig, TigerNetwork
from letterlib.train import autocast

B, D_MODEL, HEADS, D_HEAD = 3, 6, 2, 4
P = 0.4
SCALE = 1 / (1 - P)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("dropout", [0.0, P])
@pytest.mark.parametrize("length", [9, 20])  # shorter and longer than where torch's softmax is used
def test_the_fused_network_is_the_plain_one_in_value_and_gradient(length, dropout):
    """The same weights and the same dropout masks; two targets, padding, and a target to ignore."""
    config = EncoderDecoderConfig(30, 24, 40, 3, 8, 2, dropout, fused=True)
    fast, plain = EncoderDecoder(config), EncoderDecoder(replace(config, fused=False))
    assert not any(type(block) in fused.FUSED for block in fast.modules()), "all are exchanged"
    plain.load_state_dict(fast.state_dict())
    tokens, targets = torch.randint(2, 30, (4, length)), torch.randint(2, 30, (4, 2, 5))
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[1, :4] = False
    targets[2, 1] = -100
    for mode in (True, False):
        gradients, values = [], []
        for network in (fast, plain):
            network.double().train(mode).zero_grad()
            torch.manual_seed(1)
            logits = network(tokens, mask, targets)
            ranking_guided_loss(logits, targets, 0.7).backward()
            values.append(logits.detach())
            gradients.append({name: p.grad for name, p in network.named_parameters()})
        torch.testing.assert_close(*values, rtol=1e-8, atol=1e-8)
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-7, atol=1e-9, msg=name)


@torch.no_grad()
def test_the_plain_network_decodes_as_the_fused_one():
    config = EncoderDecoderConfig(30, 24, 40, 3, 8, 2, 0.1)
    fast, plain = TigerNetwork(config).eval(), TigerNetwork(replace(config, fused=False)).eval()
    plain.load_state_dict(fast.state_dict())
    history, written = torch.randint(2, 30, (2, 7)), torch.randint(2, 30, (2, 3, 4))
    steps = []
    for network in (fast, plain):
        state = network.start(network.encode(history))
        state.follow(torch.zeros(2, 3, dtype=torch.int64))
        steps.append(torch.stack([network.step(written[:, :, i], state) for i in range(4)], 2))
    torch.testing.assert_close(*steps, rtol=1e-4, atol=1e-4)
    whole = plain.decode(written, plain.encode(history))
    torch.testing.assert_close(steps[1], whole, rtol=1e-4, atol=1e-4)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


def agree(ours: torch.Tensor, plain: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    """The same values, and the same gradients of a random projection."""
    assert torch.allclose(ours, plain, atol=1e-10)
    along = torch.randn_like(plain)
    mine, autograd = (torch.autograd.grad((out * along).sum(), inputs) for out in (ours, plain))
    for one, other in zip(mine, autograd, strict=True):
        assert torch.allclose(one, other, atol=1e-9)


def test_rms_norm():
    x, weight = random(B, 5, D_MODEL), random(D_MODEL)
    agree(fused.rms_norm(x, weight, 1e-6), F.rms_norm(x, (D_MODEL,), weight, 1e-6), [x, weight])


@pytest.mark.parametrize("dropout", [False, True])
def test_feed_forward(dropout):
    x, wi, wo = random(B, 5, D_MODEL), random(10, D_MODEL), random(D_MODEL, 10)
    kept = torch.rand(B, 1, 10) >= P if dropout else None
    hidden = (x @ wi.T).relu()
    plain = (hidden * kept * SCALE if dropout else hidden) @ wo.T
    agree(fused.feed_forward(x, wi, wo, kept, P), plain, [x, wi, wo])


def plain_attention(x, memory, wq, wkv, wo, bias, kept):
    q, (k, v) = x @ wq.T, (memory @ wkv.T).chunk(2, dim=-1)
    q, k, v = (part.unflatten(-1, (HEADS, D_HEAD)).transpose(1, 2) for part in (q, k, v))
    weights = (q @ k.mT + (0 if bias is None else bias)).softmax(-1)
    weights = weights if kept is None else weights * kept * SCALE
    return (weights @ v).transpose(1, 2).flatten(2) @ wo.T


@pytest.mark.parametrize("length", [5, 20])
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("bias_rows", [None, 1, B])
@pytest.mark.parametrize("cross", [False, True])
def test_attention(length, dropout, bias_rows, cross):
    inner = HEADS * D_HEAD
    x = random(B, 7 if cross else length, D_MODEL)
    memory = random(B, length, D_MODEL) if cross else x
    weights = random(inner, D_MODEL), random(2 * inner, D_MODEL), random(D_MODEL, inner)
    bias = None if bias_rows is None else random(bias_rows, HEADS, x.shape[1], length)
    kept = torch.rand(B, HEADS, 1, length) >= P if dropout else None
    ours = fused.attention(x, memory, *weights, bias, kept, P, HEADS)
    inputs = [x, *weights, *([memory] if cross else []), *([] if bias is None else [bias])]
    agree(ours, plain_attention(x, memory, *weights, bias, kept), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_stays_near_float64(dtype):
    """ReLU and dropout read the bits of a bfloat16 as integers: sign and zero must survive that."""
    shapes = [(64, 9, D_MODEL), (10, D_MODEL), (D_MODEL, 10)]
    low = [torch.randn(*shape).to(dtype).requires_grad_() for shape in shapes]
    exact = [one.detach().double().requires_grad_() for one in low]
    kept = torch.rand(64, 1, 10) >= P
    outs = [fused.feed_forward(*inputs, kept, P) for inputs in (low, exact)]
    for out in outs:
        out.sum().backward()
    grads = [(one.grad, other.grad) for one, other in zip(low, exact, strict=True)]
    for ours, wanted in [outs, *grads]:
        error = (ours.double() - wanted).norm() / wanted.norm()
        assert error < (1e-6 if dtype == torch.float32 else 2e-2)


def test_a_network_in_bfloat16_has_nearly_the_same_gradient():
    network = EncoderDecoder(EncoderDecoderConfig(40, 32, 48, 2, 16, 2, 0.0))
    tokens, targets = torch.randint(2, 40, (8, 7)), torch.randint(2, 40, (8, 1, 4))
    gradients, dtypes = [], []
    for dtype in (torch.float32, torch.bfloat16):
        network.zero_grad()
        with autocast(dtype, tokens.device):
            dtypes.append(network.encode(tokens).dtype)
            logits = network(tokens, None, targets)
        F.cross_entropy(logits.float().flatten(0, -2), targets.flatten()).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert dtypes == [torch.float32, torch.bfloat16]
    assert torch.cosine_similarity(*gradients, dim=0) > 0.98 and not torch.equal(*gradients)


def test_gradients_of_gradients_are_refused_and_not_wrong():
    x, weight, wi, wo = random(B, 5, D_MODEL), random(D_MODEL), random(10, D_MODEL), random(6, 10)
    own = random(8, D_MODEL), random(16, D_MODEL), random(D_MODEL, 8)
    for out in (
        fused.rms_norm(x, weight, 1e-6),
        fused.feed_forward(x, wi, wo, None, P),
        fused.attention(x, x, *own, None, None, P, HEADS),
    ):
        (first,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            first.square().sum().backward()


def test_softmax_of_short_and_long_rows():
    for width in (1, 5, 15, 16, 40):
        scores = torch.randn(9, 4, width) * 30
        scores[0, 0, : width // 2] = -1e9
        assert torch.allclose(fused.softmax(scores), scores.softmax(-1), atol=1e-7)


def test_dropout_has_one_mask_for_all_positions_and_keeps_the_mean():
    dropout = Dropout(P)
    x = torch.ones(2_000, 7, 50)
    out = dropout.train()(x)
    torch.testing.assert_close(out.unique(), torch.tensor([0.0, SCALE]))
    assert (out == out[:, :1]).all() and out.mean() == pytest.approx(1, abs=0.01)
    assert dropout.eval()(x) is x and Dropout(0.0).train()(x) is x
