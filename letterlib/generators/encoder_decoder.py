"""A compact T5: the encoder-decoder that reads a history of identifiers and writes the next one.

Raffel et al. 2020. RMS norm before every block, one table of relative position biases per stack
(shared by its layers), attention without scaling, ReLU feed-forward, no bias vectors, one embedding
for input and output. The weights interchange with transformers' `T5ForConditionalGeneration` (see
`t5_weights`).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from letterlib.generators import fused
from letterlib.generators.attention import FORBIDDEN, Attention, RelativePositionBias, forbid
from letterlib.train import compute_dtype

EPSILON = 1e-6
KeysValues = tuple[Tensor, Tensor]


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


class RMSNorm(nn.Module):
    """Division by the root of the mean square, and a weight per feature."""

    def __init__(self, d_model: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        return fused.RMSNorm.apply(x, self.weight, EPSILON, compute_dtype(x))


class Dropout(nn.Dropout):
    """Dropout with one mask per sequence: x [..., length, features]."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * fused.keep_mask(x.shape, self.p, x).to(x.dtype).div_(1 - self.p)


class FeedForward(nn.Module):
    """Linear, ReLU, linear."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.wi = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = config.dropout

    def forward(self, x: Tensor) -> Tensor:
        p = self.dropout if self.training else 0.0
        keep = fused.keep_mask((*x.shape[:-1], self.wi.out_features), p, x) if p else None
        return fused.FeedForward.apply(
            x, self.wi.weight.to(x.dtype), self.wo.weight.to(x.dtype), keep, 1 / (1 - p)
        )


class EncoderLayer(nn.Module):
    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.norm_self = RMSNorm(config.d_model)
        self.self_attention = Attention(*config.attention, cross=False)
        self.norm_ff = RMSNorm(config.d_model)
        self.ff = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x [batch, length, d_model], bias broadcast to [batch, n_heads, length, length]."""
        h = self.norm_self(x)
        x = x + self.dropout(self.self_attention(h, h, bias))
        return x + self.dropout(self.ff(self.norm_ff(x)))


class DecoderLayer(EncoderLayer):
    def __init__(self, config: EncoderDecoderConfig):
        super().__init__(config)
        self.norm_cross = RMSNorm(config.d_model)
        self.cross_attention = Attention(*config.attention, cross=True)

    def forward(
        self, x: Tensor, bias: Tensor, memory: Tensor, memory_bias: Tensor | None
    ) -> Tensor:
        """Teacher forcing: x [batch, n, length, d_model], n sequences that read the same memory
        [batch, S, d_model].
        """
        h = self.norm_self(x).flatten(0, 1)
        x = x + self.dropout(self.self_attention(h, h, bias).view(x.shape))
        h = self.norm_cross(x).flatten(1, 2)
        x = x + self.dropout(self.cross_attention(h, memory, memory_bias).view(x.shape))
        return x + self.dropout(self.ff(self.norm_ff(x)))

    def step(
        self, x: Tensor, bias: Tensor, memory: KeysValues, past: KeysValues
    ) -> tuple[Tensor, KeysValues]:
        """Decoding, one more position: x [batch, n, d_model], n sequences that read the same
        memory.

        memory: cross-attention keys and values [batch, n_heads, S, d_head], not copied n times.
        past: the self-attention keys and values of every earlier position of any sequence, [batch,
        n_heads, positions, d_head]. bias [batch, n_heads, n, positions + n] says who may see whom.
        Returns x, and past with this position.
        """
        attention = self.self_attention
        q, k, v = attention.heads(attention.qkv(self.norm_self(x)))
        past = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        x = x + attention.attend(q, *past, bias)
        cross = self.cross_attention
        (q,) = cross.heads(cross.q(self.norm_cross(x)))
        x = x + cross.attend(q, *memory)
        return x + self.ff(self.norm_ff(x)), past


@dataclass
class DecoderState:
    """What incremental decoding remembers of a batch of histories with n sequences each.

    memory: cross-attention keys and values per layer, computed once. past: per layer, the
    self-attention keys and values of every position of every sequence so far, also of sequences
    that nothing continues; their order never changes. ancestors: bool [batch, n, positions so far],
    which of them a sequence consists of. So what is a copy of the cache elsewhere, when beams are
    reordered, is here a copy of a few bits. depths: int64 [positions so far], the place of each in
    its sequence. depth: steps so far.
    """

    memory: list[KeysValues]
    past: list[KeysValues]
    ancestors: Tensor
    depths: Tensor
    depth: int = 0

    def follow(self, parents: Tensor) -> None:
        """Let sequence i of every history continue what was sequence parents[:, i]; parents [batch,
        n].
        """
        rows = torch.arange(len(parents), device=parents.device)[:, None]
        self.ancestors = self.ancestors[rows, parents]

    def extend(self) -> None:
        """Give every sequence one more position, which it alone sees."""
        batch, n, _ = self.ancestors.shape
        own = torch.eye(n, dtype=torch.bool, device=self.ancestors.device).expand(batch, n, n)
        self.ancestors = torch.cat([self.ancestors, own], dim=2)
        self.depths = torch.cat([self.depths, self.depths.new_full((n,), self.depth)])
        self.depth += 1


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
        self.encoder_norm = RMSNorm(config.d_model)
        self.decoder_norm = RMSNorm(config.d_model)
        self.dropout = Dropout(config.dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """T5's initialisation: attention is not scaled, so the queries' weights are smaller
        instead.
        """
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
        Returns the memory [batch, S, d_model].
        """
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        bias = self.encoder_bias(positions, positions)
        if mask is not None:
            bias = bias + forbid(~mask)[:, None, None, :]
        x = self.dropout(self.embedding(tokens))
        for layer in self.encoder:
            x = layer(x, bias)
        return self.dropout(self.encoder_norm(x))

    def start(self, memory: Tensor) -> DecoderState:
        """Get ready to decode what `encode` returned of histories without padding: keys and values
        for every step.
        """
        pairs = []
        for layer in self.decoder:
            heads = layer.cross_attention.heads(layer.cross_attention.kv(memory))
            pairs.append(tuple(one.contiguous() for one in heads))
        past = [(k[:, :, :0], v[:, :, :0]) for k, v in pairs]
        nothing = torch.zeros(len(memory), 1, 0, dtype=torch.bool, device=memory.device)
        return DecoderState(pairs, past, nothing, nothing.new_zeros(0, dtype=torch.int64))

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """Read one more token of each of n sequences per history; tokens [batch, n].
        Returns the logits of the token after it, [batch, n, V], and brings `state` up to date.
        """
        state.extend()
        bias = (
            self.decoder_bias(state.depths[-1:], state.depths) + forbid(~state.ancestors)[:, None]
        )
        x = self.embedding(tokens)
        for i, layer in enumerate(self.decoder):
            x, state.past[i] = layer.step(x, bias, state.memory[i], state.past[i])
        return self._logits(x)

    def decode(self, tokens: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Teacher forcing: tokens [batch, n, T], n sequences per history. Returns logits [batch, n,
        T, V].

        memory [batch, S, d_model] is what `encode` returned, mask [batch, S] what it was given.
        """
        positions = torch.arange(tokens.shape[2], device=tokens.device)
        bias = self.decoder_bias(positions, positions) + forbid(
            positions[None, :] > positions[:, None]
        )
        return self._decode(tokens, bias, memory, mask)

    def decode_tree(self, tokens: Tensor, steps_up: Tensor, memory: Tensor) -> Tensor:
        """Many prefixes of one history as n trees: tokens [n, T], one per node; memory [1, S,
        d_model].

        steps_up: int64 [n, T, T], how many steps node s is above node t; -1 where t does not see
        it. Returns the logits of the token after each node, [n, T, V].
        """
        up = torch.arange(int(steps_up.max()) + 1, device=tokens.device)
        of_ancestors = self.decoder_bias(up[-1:], up[-1] - up)[
            0, :, 0
        ]  # [n_heads, steps]: of a node so far above
        table = F.pad(
            of_ancestors, (1, 0), value=FORBIDDEN
        )  # in front that of a node that is not seen, at -1
        bias = table.T[steps_up + 1].permute(0, 3, 1, 2)
        return self._decode(tokens[None], bias, memory, None)[0]

    def _decode(self, tokens: Tensor, bias: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        memory_bias = None if mask is None else forbid(~mask)[:, None, None, :]
        x, memory = self.dropout(self.embedding(tokens)), memory.to(compute_dtype(memory))
        for layer in self.decoder:
            x = layer(x, bias, memory, memory_bias)
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        x = self.dropout(self.decoder_norm(x)) * self.config.d_model**-0.5
        return F.linear(x, self.embedding.weight)

    def forward(self, tokens: Tensor, mask: Tensor | None, targets: Tensor) -> Tensor:
        """Logits [batch, n, T, V] of the targets [batch, n, T], each seen from the ones before it."""
        inputs = F.pad(targets[..., :-1], (1, 0)).clamp(
            min=0
        )  # ignored targets (-100) are read as pad
        return self.decode(inputs, self.encode(tokens, mask), mask)
