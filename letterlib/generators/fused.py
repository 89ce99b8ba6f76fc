"""The blocks of `tiger`'s network with gradients written by hand: training is a little faster.

`fuse` exchanges the plain blocks of a network for these. A training step takes 5% longer with the
plain ones in float32 and 10% in bfloat16 (one thread of a Xeon with AMX). Autograd gives the same
gradients (tests/unit/test_fused.py compares them in float64), but it masks gradients twice, and
keeps and copies what is not needed.
Gradients of gradients are not available; torch says so if they are asked for.

Matrix products run in the dtype that `rms_norm` gives its output; sums that must not lose digits
(norms, softmax) in float32 or better.
"""

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from letterlib.generators import tiger
from letterlib.train import compute_dtype


def fuse(network: nn.Module) -> None:
    """Give the blocks of a network the `forward` of this module, in place."""
    for module in network.modules():
        if type(module) in FUSED:  # a subclass with other methods; weights and hooks stay
            module.__class__ = FUSED[type(module)]


class FusedRMSNorm(tiger.RMSNorm):
    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, tiger.EPSILON)


class FusedFeedForward(tiger.FeedForward):
    def forward(self, x: Tensor) -> Tensor:
        kept = self.dropout.mask(*x.shape[:-1], self.wi.out_features, device=x.device)
        return feed_forward(x, self.wi.weight, self.wo.weight, kept, self.dropout.p)


class FusedAttention(tiger.Attention):
    def forward(self, x: Tensor, bias: Tensor | None, memory: Tensor | None = None) -> Tensor:
        if memory is None:
            wq, wkv = self.qkv.weight.tensor_split([self.o.in_features])
            memory = x
        else:
            wq, wkv = self.q.weight, self.kv.weight
        shape = len(x), self.n_heads, x.shape[1], memory.shape[1]
        kept = self.dropout.mask(*shape, device=x.device)
        wo, p = self.o.weight, self.dropout.p
        return attention(x, memory, wq, wkv, wo, bias, kept, p, self.n_heads)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """As the plain one with this module's softmax; for decoding, so without gradients."""
        scores = q @ k.mT
        if bias is not None:
            scores += bias
        return self.o((softmax(scores) @ v).transpose(1, 2).flatten(2))


FUSED = {
    tiger.RMSNorm: FusedRMSNorm,
    tiger.FeedForward: FusedFeedForward,
    tiger.Attention: FusedAttention,
}


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """weight * x / sqrt(mean(x^2) + eps), in bfloat16 inside `autocast`; x [..., d], weight [d]."""
    return RMSNorm.apply(x, weight, eps, compute_dtype(x))


def feed_forward(x: Tensor, wi: Tensor, wo: Tensor, kept: Tensor | None, p: float) -> Tensor:
    """wo(dropout(relu(wi(x)))): x [..., length, d], wi [d_ff, d], wo [d, d_ff].

    kept: bool [..., 1, d_ff], False at what dropout takes; None where nothing is dropped.
    p: of dropout; what is kept is divided by 1 - p.
    """
    keep, scale = _as_factors(kept, p, x)
    return FeedForward.apply(x, wi.to(x.dtype), wo.to(x.dtype), keep, scale)


def attention(
    x: Tensor,
    memory: Tensor,
    wq: Tensor,
    wkv: Tensor,
    wo: Tensor,
    bias: Tensor | None,
    kept: Tensor | None,
    p: float,
    n_heads: int,
) -> Tensor:
    """Attention of x over memory with its projections, as `tiger.Attention` has it.

    x: [B, Q, d]. memory: [B, K, d]; x itself in self-attention.
    wq: [H * D, d]. wkv: [2 * H * D, d]. wo: [d, H * D].
    bias: broadcasts to [B, H, Q, K].
    kept: bool [B, H, 1, K], and p, as in `feed_forward`; of the attention weights.
    """
    keep, scale = _as_factors(kept, p, x)
    weights = (weight.to(x.dtype) for weight in (wq, wkv, wo))
    return Attention.apply(x, memory.to(x.dtype), *weights, bias, keep, scale, n_heads)


def _as_factors(kept: Tensor | None, p: float, like: Tensor) -> tuple[Tensor | None, float]:
    """Dropout's mask as integers 0 and 1 as wide as a float of `like`, and 1 / (1 - p)."""
    return (None, 1.0) if kept is None else (kept.to(_INTEGER[like.dtype]), 1 / (1 - p))


_INTEGER = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}
"""The integers that are as wide as a float."""


def as_integers(x: Tensor) -> Tensor:
    """The bits of x as integers of the same width, in the same memory.

    A negative float is a negative integer, too, and zero is zero. So ReLU is clamp(min=0), and
    dropout a product with 0 or 1; on bfloat16, which a CPU has to widen before it can compute, that
    is three to six times as fast. A NaN with its sign bit set becomes 0 so; `train` looks for
    weights that are not finite.
    """
    return x.view(_INTEGER[x.dtype])


class RMSNorm(Function):
    """See `rms_norm`; computed in x's dtype, returned in `dtype`."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        scale = squares.div_(x.shape[-1]).add_(eps).rsqrt_()
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return (normed * weight).to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        normed, scale, weight = ctx.saved_tensors
        grad = grad.to(normed.dtype)
        through = grad * normed
        d_weight = through.flatten(0, -2).sum(0)
        mean = (through @ weight).div_(normed.shape[-1]).unsqueeze(-1)
        return (grad * weight).addcmul_(normed, mean, value=-1).mul_(scale), d_weight, None, None


class FeedForward(Function):
    """See `feed_forward`; with weights in x's dtype, and dropout as `_as_factors` gives it."""

    @staticmethod
    def forward(
        ctx, x: Tensor, wi: Tensor, wo: Tensor, keep: Tensor | None, scale: float
    ) -> Tensor:
        hidden = x @ wi.T
        bits = as_integers(hidden).clamp_(min=0)
        if keep is not None:
            bits *= keep
        ctx.save_for_backward(x, wi, wo, hidden)
        ctx.scale = scale
        return (hidden @ wo.T).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        x, wi, wo, hidden = ctx.saved_tensors
        grad = grad * ctx.scale
        d_hidden = grad @ wo
        d_wo = grad.flatten(0, -2).T @ hidden.flatten(0, -2)
        # What is positive had its ReLU open and was kept: 1 there, 0 elsewhere.
        as_integers(d_hidden).mul_(as_integers(hidden).clamp(max=1))
        d_wi = d_hidden.flatten(0, -2).T @ x.flatten(0, -2)
        return d_hidden @ wi, d_wi, d_wo, None, None


def softmax(scores: Tensor) -> Tensor:
    """Softmax over the last dimension. On short rows torch's own takes ten times as long."""
    if scores.shape[-1] >= 16:
        return scores.softmax(-1)
    powers = (scores - scores.amax(-1, keepdim=True)).exp_()
    return powers.div_(powers.sum(-1, keepdim=True))


def softmax_backward(grad: Tensor, weights: Tensor) -> Tensor:
    """The gradient of the scores from that of weights = softmax(scores), in the weights' dtype."""
    if weights.shape[-1] >= 16:
        return torch._softmax_backward_data(grad, weights, -1, weights.dtype)
    through = grad * weights
    return through.addcmul_(weights, through.sum(-1, keepdim=True), value=-1)


class Attention(Function):
    """See `attention`; with weights in x's dtype, and dropout as `_as_factors` gives it."""

    @staticmethod
    def forward(ctx, x, memory, wq, wkv, wo, bias, keep, scale: float, n_heads: int) -> Tensor:
        q = _apart(x @ wq.T, 1, n_heads)[0]
        k, v = _apart(memory @ wkv.T, 2, n_heads)
        scores = (q @ k.mT).to(torch.promote_types(x.dtype, torch.float32))
        if bias is not None:
            scores.view(len(x), n_heads, *scores.shape[1:]).add_(bias)
        weights = softmax(scores)
        kept = weights.to(x.dtype, copy=keep is not None)
        if keep is not None:
            as_integers(kept).mul_(keep.flatten(0, 1))
        joined = _together((kept @ v).unsqueeze(0), n_heads)
        ctx.save_for_backward(x, memory, wq, wkv, wo, keep, q, k, v, weights, kept, joined)
        ctx.scale, ctx.n_heads = scale, n_heads
        ctx.bias_shape = None if bias is None else bias.shape
        return (joined @ wo.T).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        x, memory, wq, wkv, wo, keep, q, k, v, weights, kept, joined = ctx.saved_tensors
        grad = grad * ctx.scale
        d_wo = grad.flatten(0, -2).T @ joined.flatten(0, -2)
        d_out = _apart(grad @ wo, 1, ctx.n_heads)[0]
        d_kv = torch.empty(2, *k.shape, dtype=k.dtype, device=k.device)
        torch.bmm(kept.mT, d_out, out=d_kv[1])
        d_weights = d_out @ v.mT
        if keep is not None:
            as_integers(d_weights).mul_(keep.flatten(0, 1))
        d_scores = softmax_backward(d_weights.to(weights.dtype), weights)
        d_bias = None
        if ctx.needs_input_grad[5]:
            by_head = d_scores.view(len(x), ctx.n_heads, *d_scores.shape[1:])
            d_bias = by_head.sum_to_size(ctx.bias_shape)
        d_scores = d_scores.to(q.dtype)
        torch.bmm(d_scores.mT, q, out=d_kv[0])
        d_q = _together((d_scores @ k).unsqueeze(0), ctx.n_heads)
        d_kv = _together(d_kv, ctx.n_heads)
        d_wq = d_q.flatten(0, -2).T @ x.flatten(0, -2)
        d_wkv = d_kv.flatten(0, -2).T @ memory.flatten(0, -2)
        return d_q @ wq, d_kv @ wkv, d_wq, d_wkv, d_wo, d_bias, None, None, None


def _apart(x: Tensor, parts: int, n_heads: int) -> Tensor:
    """[B, length, parts * H * D] -> [parts, B * H, length, D], in one copy."""
    batch, length, _ = x.shape
    x = x.view(batch, length, parts, n_heads, -1).permute(2, 0, 3, 1, 4)
    return x.contiguous().flatten(1, 2)


def _together(x: Tensor, n_heads: int) -> Tensor:
    """The way back: [parts, B * H, length, D] -> [B, length, parts * H * D], in one copy."""
    parts, rows, length, d_head = x.shape
    return x.view(parts, rows // n_heads, n_heads, length, d_head).permute(1, 3, 0, 2, 4).flatten(2)
