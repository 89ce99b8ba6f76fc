"""Gradients written by hand against autograd's of the plain formulas, in float64; and what bfloat16
keeps of them.
"""

import pytest
import torch
import torch.nn.functional as F

from letterlib.generators import fused
from letterlib.generators.attention import Attention
from letterlib.generators.encoder_decoder import (
    Dropout,
    EncoderDecoder,
    EncoderDecoderConfig,
    FeedForward,
)
from letterlib.train import autocast

B, D_MODEL, HEADS, D_HEAD = 3, 6, 2, 4
P = 0.4
SCALE = 1 / (1 - P)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


def agree(ours: torch.Tensor, plain: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    """The same values, and the same gradients of a random projection."""
    assert torch.allclose(ours, plain, atol=1e-10)
    along = torch.randn_like(plain)
    mine, autograd = (torch.autograd.grad((out * along).sum(), inputs) for out in (ours, plain))
    for one, other in zip(mine, autograd, strict=True):
        assert torch.allclose(one, other, atol=1e-9)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_rms_norm():
    x, weight = random(B, 5, D_MODEL), random(D_MODEL)
    ours = fused.RMSNorm.apply(x, weight, 1e-6, torch.float64)
    agree(ours, F.rms_norm(x, (D_MODEL,), weight, 1e-6), [x, weight])


@pytest.mark.parametrize("dropout", [False, True])
def test_feed_forward(dropout):
    x, wi, wo = random(B, 5, D_MODEL), random(10, D_MODEL), random(D_MODEL, 10)
    keep = fused.keep_mask((B, 5, 10), P, x) if dropout else None
    scale = SCALE if dropout else 1.0
    hidden = (x @ wi.T).relu()
    plain = (hidden if keep is None else hidden * keep * scale) @ wo.T
    agree(fused.FeedForward.apply(x, wi, wo, keep, scale), plain, [x, wi, wo])


def plain_attention(x, memory, wq, wkv, wo, bias, keep, scale):
    q, (k, v) = x @ wq.T, (memory @ wkv.T).chunk(2, dim=-1)
    q, k, v = (one.unflatten(-1, (HEADS, D_HEAD)).transpose(1, 2) for one in (q, k, v))
    weights = (q @ k.mT + (0 if bias is None else bias)).softmax(-1)
    weights = weights if keep is None else weights * keep * scale
    return (weights @ v).transpose(1, 2).flatten(2) @ wo.T


@pytest.mark.parametrize(
    "length", [5, 20]
)  # shorter and longer than the row from which torch's softmax is used
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("bias_rows", [None, 1, B])
@pytest.mark.parametrize("cross", [False, True])
def test_attention(length, dropout, bias_rows, cross):
    inner = HEADS * D_HEAD
    x = random(B, 7 if cross else length, D_MODEL)
    memory = random(B, length, D_MODEL) if cross else x
    wq, wkv, wo = random(inner, D_MODEL), random(2 * inner, D_MODEL), random(D_MODEL, inner)
    bias = None if bias_rows is None else random(bias_rows, HEADS, x.shape[1], length)
    keep = fused.keep_mask((B, HEADS, 1, length), P, x) if dropout else None
    scale = SCALE if dropout else 1.0
    ours = fused.Attention.apply(x, memory, wq, wkv, wo, bias, keep, scale, HEADS)
    plain = plain_attention(x, memory, wq, wkv, wo, bias, keep, scale)
    agree(
        ours,
        plain,
        [one for one in (x, memory if cross else None, wq, wkv, wo, bias) if one is not None],
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_stays_near_float64(dtype):
    """The bits of a bfloat16 are read as integers for ReLU and dropout: the sign and zero must
    survive that.
    """
    low = [
        torch.randn(*shape).to(dtype).requires_grad_()
        for shape in [(64, 9, D_MODEL), (10, D_MODEL), (D_MODEL, 10)]
    ]
    x, wi, wo = (one.detach().double().requires_grad_() for one in low)
    keep = fused.keep_mask((64, 9, 10), P, x)
    exact = fused.FeedForward.apply(x, wi, wo, keep, SCALE)
    exact.sum().backward()
    out = fused.FeedForward.apply(*low, keep.to(fused.as_integers(low[0].detach()).dtype), SCALE)
    out.sum().backward()
    for ours, wanted in [
        (out, exact),
        *((a.grad, b.grad) for a, b in zip(low, (x, wi, wo), strict=True)),
    ]:
        error = (ours.double() - wanted).norm() / wanted.norm()
        assert error < (1e-6 if dtype == torch.float32 else 2e-2)


def every_function() -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
    """(output, inputs) of each of the three."""
    x, weight, wi, wo = (
        random(B, 5, D_MODEL),
        random(D_MODEL),
        random(10, D_MODEL),
        random(D_MODEL, 10),
    )
    own = [random(8, D_MODEL), random(16, D_MODEL), random(D_MODEL, 8)]
    return [
        (fused.RMSNorm.apply(x, weight, 1e-6, torch.float64), [x, weight]),
        (fused.FeedForward.apply(x, wi, wo, fused.keep_mask((B, 5, 10), P, x), SCALE), [x, wi, wo]),
        (fused.Attention.apply(x, x, *own, None, None, 1.0, HEADS), [x, *own]),
    ]


def test_gradients_may_be_asked_for_twice():
    for out, inputs in every_function():
        first, second = (
            torch.autograd.grad(out.sum(), inputs, retain_graph=True) for _ in range(2)
        )
        assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_gradients_of_gradients_are_refused_and_not_wrong():
    for out, inputs in every_function():
        first = torch.autograd.grad(out.square().sum(), inputs, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            sum(one.square().sum() for one in first).backward()


def test_a_keep_mask_drops_the_share_it_was_told_and_serves_every_position():
    keep = fused.keep_mask((2_000, 7, 50), P, torch.zeros(1))
    assert keep.shape == (2_000, 1, 50) and set(keep.unique().tolist()) == {0, 1}
    assert keep.float().mean() == pytest.approx(1 - P, abs=0.01)


def test_softmax_of_short_and_long_rows():
    for width in (1, 5, 15, 16, 40):
        scores = torch.randn(9, 4, width) * 30
        scores[0, 0, : width // 2] = -1e9
        assert torch.allclose(fused.softmax(scores), scores.softmax(-1), atol=1e-7)


@pytest.mark.parametrize("p", [0.0, 0.4])
def test_modules_in_training_drop_by_one_mask_a_sequence_and_keep_the_mean(p, monkeypatch):
    """Against the plain formulas: what is kept is divided by 1 - p, in the blocks and between them."""
    masks, keep_mask = [], fused.keep_mask

    def recorded(shape, p, like):
        masks.append(keep_mask(shape, p, like))
        return masks[-1]

    monkeypatch.setattr(fused, "keep_mask", recorded)
    torch.manual_seed(0)
    x, memory = torch.randn(B, 5, 12), torch.randn(B, 7, 12)
    attention = Attention(12, HEADS, 4, p, cross=True).train()
    block = FeedForward(
        EncoderDecoderConfig(
            16, d_model=12, d_ff=10, n_heads=HEADS, d_head=4, n_layers=1, dropout=p
        )
    )
    found = attention(x, memory, None), block.train()(x), Dropout(p).train()(x)
    shapes = [(B, HEADS, 1, 7), (B, 1, 10), (B, 1, 12)]
    assert [tuple(one.shape) for one in masks] == (shapes if p else [])
    of_weights, of_hidden, of_x = (
        (one.float() / (1 - p) for one in masks) if p else (torch.ones(()),) * 3
    )
    (q,), (k, v) = attention.heads(attention.q(x)), attention.heads(attention.kv(memory))
    looked = ((q @ k.mT).softmax(-1) * of_weights) @ v
    plain = (
        attention.o(looked.transpose(1, 2).flatten(2)),
        block.wo(block.wi(x).relu() * of_hidden),
        x * of_x,
    )
    for one, expected in zip(found, plain, strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)


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
        gradients.append(torch.cat([one.grad.flatten() for one in network.parameters()]))
    assert dtypes == [torch.float32, torch.bfloat16]
    assert torch.cosine_similarity(*gradients, dim=0) > 0.98 and not torch.equal(*gradients)
