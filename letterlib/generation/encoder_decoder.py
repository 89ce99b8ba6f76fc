"""A compact T5: the encoder-decoder that reads a history of identifiers and writes the next one.

Raffel et al. 2020. RMS norm before every block, one table of relative position biases per stack (shared
by its layers), attention without scaling, ReLU feed-forward, no bias vectors, one embedding for input and
output. The weights interchange with transformers' `T5ForConditionalGeneration` (see `t5_weights`).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from letterlib.generation.attention import Attention, RelativePositionBias

EPSILON = 1e-6


@dataclass(frozen=True)
class EncoderDecoderConfig:
    """Sizes. n_layers counts the encoder's layers; the decoder has as many."""

    vocab_size: int
    d_model: int
    d_ff: int
    n_heads: int
    d_head: int
    n_layers: int
    dropout: float

    @property
    def attention(self) -> tuple[int, int, int, float]:
        """What `Attention` is built from."""
        return self.d_model, self.n_heads, self.d_head, self.dropout


class FeedForward(nn.Module):
    """Linear, ReLU, linear."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.wi = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.wo(self.dropout(F.relu(self.wi(x))))


class EncoderLayer(nn.Module):
    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.norm_self = nn.RMSNorm(config.d_model, EPSILON)
        self.self_attention = Attention(*config.attention, cross=False)
        self.norm_ff = nn.RMSNorm(config.d_model, EPSILON)
        self.ff = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        attention = self.self_attention
        q, k, v = attention.heads(attention.qkv(self.norm_self(x)))
        x = x + self.dropout(attention(q, k, v, bias))
        return x + self.dropout(self.ff(self.norm_ff(x)))


class DecoderLayer(EncoderLayer):
    def __init__(self, config: EncoderDecoderConfig):
        super().__init__(config)
        self.norm_cross = nn.RMSNorm(config.d_model, EPSILON)
        self.cross_attention = Attention(*config.attention, cross=True)

    def forward(
        self,
        x: Tensor,
        bias: Tensor,
        memory: tuple[Tensor, Tensor],
        memory_bias: Tensor | None,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x [batch, n, length, d_model]: n sequences that read the same memory, which is not copied n times.

        memory: cross-attention keys and values [batch, n_heads, S, d_head]. past: the self-attention keys and
        values of earlier positions, [batch * n, n_heads, t, d_head]. Returns the new x and the new past.
        """
        batch, n, length, d_model = x.shape
        attention = self.self_attention
        q, k, v = attention.heads(attention.qkv(self.norm_self(x)).flatten(0, 1))
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        x = x + self.dropout(attention(q, k, v, bias).view(x.shape))
        cross = self.cross_attention
        (q,) = cross.heads(cross.q(self.norm_cross(x)).flatten(1, 2))
        x = x + self.dropout(cross(q, *memory, memory_bias).view(x.shape))
        return x + self.dropout(self.ff(self.norm_ff(x))), (k, v)


@dataclass
class DecoderState:
    """What incremental decoding remembers: cross-attention keys and values, computed once per history, and
    the self-attention keys and values of every sequence so far, [batch, n, n_heads, t, d_head] per layer."""

    memory: list[tuple[Tensor, Tensor]]
    memory_bias: Tensor | None
    past: list[tuple[Tensor, Tensor]] | None = None
    length: int = 0

    def follow(self, parents: Tensor) -> None:
        """Let sequence i of every history continue what was sequence parents[:, i]; parents [batch, n]."""
        if self.past is None:
            return
        rows = torch.arange(len(parents), device=parents.device)[:, None]
        self.past = [(k[rows, parents], v[rows, parents]) for k, v in self.past]


class EncoderDecoder(nn.Module):
    """See the module's docstring. Decoder input starts with token 0 (pad), as in T5."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder_bias = RelativePositionBias(config.n_heads, bidirectional=True)
        self.decoder_bias = RelativePositionBias(config.n_heads, bidirectional=False)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_layers))
        self.encoder_norm = nn.RMSNorm(config.d_model, EPSILON)
        self.decoder_norm = nn.RMSNorm(config.d_model, EPSILON)
        self.dropout = nn.Dropout(config.dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """T5's initialisation: attention is not scaled, so the queries' weights are smaller instead."""
        config, inner = self.config, self.config.n_heads * self.config.d_head
        for name, weight in self.named_parameters():
            kind = name.rsplit(".", 2)[-2]
            if kind == "embedding":
                nn.init.normal_(weight, std=1.0)
            elif kind in ("o", "wo"):
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
            elif kind in ("table", "q", "qkv", "kv", "wi"):
                nn.init.normal_(weight, std=config.d_model**-0.5)
            if kind in ("q", "qkv"):
                with torch.no_grad():
                    weight[:inner] *= config.d_head**-0.5

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """tokens [batch, S] int64; mask [batch, S] bool, False at padding (None: no padding).
        Returns the memory [batch, S, d_model]."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        bias = self.encoder_bias(positions, positions)
        if mask is not None:
            bias = bias + _forbid(~mask)[:, None, None, :]
        x = self.dropout(self.embedding(tokens))
        for layer in self.encoder:
            x = layer(x, bias)
        return self.dropout(self.encoder_norm(x))

    def start(self, memory: Tensor, mask: Tensor | None = None) -> DecoderState:
        """Get ready to decode what `encode` returned, with its mask: keys and values that serve every step."""
        pairs = []
        for layer in self.decoder:
            cross = layer.cross_attention
            pairs.append(cross.heads(cross.kv(memory)))
        return DecoderState(pairs, None if mask is None else _forbid(~mask)[:, None, None, :])

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """Read one more token of each of n sequences per history; tokens [batch, n].
        Returns the logits of the token after it, [batch, n, V], and brings `state` up to date."""
        batch, n = tokens.shape
        past = [None] * len(self.decoder)
        if state.past is not None:
            past = [(k.flatten(0, 1), v.flatten(0, 1)) for k, v in state.past]
        logits, past = self._decode(tokens.unsqueeze(2), state, past)
        state.past = [(k.unflatten(0, (batch, n)), v.unflatten(0, (batch, n))) for k, v in past]
        state.length += 1
        return logits.squeeze(2)

    def decode(self, tokens: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Teacher forcing: tokens [batch, n, T], n sequences per history. Returns logits [batch, n, T, V]."""
        return self._decode(tokens, self.start(memory, mask), [None] * len(self.decoder))[0]

    def _decode(self, tokens: Tensor, state: DecoderState, past: list) -> tuple[Tensor, list]:
        keys = torch.arange(state.length + tokens.shape[2], device=tokens.device)
        queries = keys[state.length :]
        bias = self.decoder_bias(queries, keys) + _forbid(keys[None, :] > queries[:, None])
        x = self.dropout(self.embedding(tokens))
        present = []
        for layer, memory, before in zip(self.decoder, state.memory, past, strict=True):
            x, now = layer(x, bias, memory, state.memory_bias, before)
            present.append(now)
        x = self.dropout(self.decoder_norm(x)) * self.config.d_model**-0.5
        return F.linear(x, self.embedding.weight), present

    def forward(self, tokens: Tensor, mask: Tensor | None, targets: Tensor) -> Tensor:
        """Logits [batch, n, T, V] of the targets [batch, n, T], each seen from the ones before it."""
        inputs = F.pad(targets[..., :-1], (1, 0)).clamp(min=0)  # ignored targets (-100) are read as pad
        return self.decode(inputs, self.encode(tokens, mask), mask)


def _forbid(where: Tensor) -> Tensor:
    """A bias that forbids looking where `where` is True, of the same shape.

    A very low number and not -inf, so that a row which may look nowhere gives no NaN.
    """
    return torch.zeros(where.shape, device=where.device).masked_fill_(where, -1e9)
