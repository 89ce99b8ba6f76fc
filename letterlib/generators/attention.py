"""Attention as T5 has it: no scaling, and a learned bias for how far apart query and key are."""

import math

import torch
from torch import Tensor, nn

from letterlib.generators import fused

N_BUCKETS = 32
MAX_DISTANCE = 128
FORBIDDEN = -1e9
"""A bias that forbids. Not -inf, so that a row which may look nowhere gives no NaN."""


def forbid(where: Tensor) -> Tensor:
    """A bias that forbids looking where `where` (bool) is True: float32, of the same shape."""
    return torch.zeros(where.shape, device=where.device).masked_fill_(where, FORBIDDEN)


def relative_position_bucket(distance: Tensor, bidirectional: bool) -> Tensor:
    """Sort relative positions (key position - query position) into the 32 buckets of T5,
    elementwise.

    Small distances have a bucket each, larger ones share buckets that widen logarithmically up to
    128.
    bidirectional: half of the buckets are for keys after the query; otherwise those count as
    distance 0.
    """
    n = N_BUCKETS
    if bidirectional:
        n //= 2
        side = (distance > 0) * n
        distance = distance.abs()
    else:
        side = torch.zeros_like(distance)
        distance = -distance.clamp(max=0)
    exact = n // 2
    log_ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(MAX_DISTANCE / exact)
    large = (exact + (log_ratio * (n - exact)).long()).clamp(max=n - 1)
    return side + torch.where(distance < exact, distance, large)


class RelativePositionBias(nn.Module):
    """A learned number per head and bucket, added to the attention scores."""

    def __init__(self, n_heads: int, bidirectional: bool):
        super().__init__()
        self.table = nn.Embedding(N_BUCKETS, n_heads)
        self.bidirectional = bidirectional

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """queries [Q], keys [K]: positions. Returns [1, n_heads, Q, K]."""
        bucket = relative_position_bucket(keys[None, :] - queries[:, None], self.bidirectional)
        return self.table(bucket).permute(2, 0, 1).unsqueeze(0)


class Attention(nn.Module):
    """Multi-head attention: self-attention (q, k, v in one matrix) or cross-attention (k, v in
    one).
    """

    def __init__(self, d_model: int, n_heads: int, d_head: int, dropout: float, cross: bool):
        super().__init__()
        self.shape = (n_heads, d_head)
        self.dropout = dropout
        self.cross = cross
        inner = n_heads * d_head
        if cross:
            self.q = nn.Linear(d_model, inner, bias=False)
            self.kv = nn.Linear(d_model, 2 * inner, bias=False)
        else:
            self.qkv = nn.Linear(d_model, 3 * inner, bias=False)
        self.o = nn.Linear(inner, d_model, bias=False)

    def forward(self, x: Tensor, memory: Tensor, bias: Tensor | None) -> Tensor:
        """Whole sequences at once: x [batch, Q, d_model] looks at memory [batch, K, d_model], in
        self-attention x itself; bias broadcasts to [batch, n_heads, Q, K]. Returns [batch, Q,
        d_model].
        """
        if self.cross:
            wq, wkv = self.q.weight, self.kv.weight
        else:
            wq, wkv = self.qkv.weight.tensor_split([self.o.in_features])
        p = self.dropout if self.training else 0.0
        keep = fused.keep_mask((len(x), self.shape[0], 1, memory.shape[1]), p, x) if p else None
        weights = (weight.to(x.dtype) for weight in (wq, wkv, self.o.weight))
        return fused.Attention.apply(x, memory, *weights, bias, keep, 1 / (1 - p), self.shape[0])

    def heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """Cut [batch, length, m * inner] into m tensors [batch, n_heads, length, d_head]."""
        x = x.view(*x.shape[:2], -1, *self.shape)
        return tuple(one.transpose(1, 2) for one in x.unbind(2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """The plain form, without dropout, for keys and values that were computed before (`heads`).

        q [batch, n_heads, Q, d_head]; k, v [batch, n_heads, K, d_head]; bias broadcast to [batch,
        n_heads, Q, K]. Returns [batch, Q, d_model].
        """
        scores = q @ k.mT
        if bias is not None:
            scores += bias.to(q.dtype)
        return self.o((fused.softmax(scores) @ v).transpose(1, 2).flatten(2))
