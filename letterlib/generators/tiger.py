"""TIGER: an encoder-decoder reads the identifiers of a history and writes the next item's.

Rajput et al., NeurIPS 2023. With LETTER's identifiers and the ranking-guided loss (Wang et al.,
CIKM 2024) it is LETTER-TIGER.

An identifier is L codes (four, say), made beforehand by a tokenizer. Code c of level l is a token
of its own: 0 pads and starts the decoder, 1 ends, then come the codes level by level. A history of
two items, L = 2:

    encoder reads   <a_12> <b_7> <a_3> <b_40> <end>
    decoder reads   <pad> <a_5> <b_9>
    and learns      <a_5> <b_9> <end>

`Tiger.recommend` is a beam search that writes only identifiers of the catalogue. An item's score is
the summed log-probability of its tokens and the end token (`decoding/beam_search.py`).

In this order: the settings, what the network reads and learns, the network, decoding step by step,
and the recommender. The network is a T5 (Raffel et al., JMLR 2020), whose weights interchange with
transformers' (`p5.py`). By default `fused.py` computes the same, faster; the formulas here are what
it is tested against.

Differences from Rajput et al.:

- No token for the user: it would tell nothing about a new user.
- Items with the same codes get other last codes from the tokenizer, not one more token. Items that
  still share an identifier share its score.
- A history can teach several items (`targets`).
- Sizes and training are those of LETTER's released code.

Differences from LETTER's released code: the vocabulary is the codes without a T5's words, dropout
draws one mask per sequence (there per position), and weight decay is applied to every tensor.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from letterlib.data.dataset import NO_ITEM, Cases, Split
from letterlib.decoding.exact import score_catalogue
from letterlib.decoding.trie import EOS, PAD, tokens_of
from letterlib.distributed import share, weighed
from letterlib.errors import LetterError
from letterlib.evaluation.evaluate import validation_ndcg
from letterlib.generators.ranking_loss import ranking_guided_loss
from letterlib.generators.recommender import (
    SEARCH_BUDGET,
    IdentifierRecommender,
    identifiers_in,
    tensors_of,
    train_generator,
)
from letterlib.store import digest
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.train import (
    Dtype,
    Epochs,
    LearningRate,
    Settings,
    WeightDecay,
    load_model,
    resolve_dtype,
    save_model,
    seeded,
    strip_prefix,
)

IGNORED = -100
"""The target where nothing is to be predicted; torch's own number for it."""


class TigerConfig(Settings):
    """Size and training of a TIGER. The defaults are LETTER-TIGER's, tau the released code's."""

    d_model: int = Field(128, ge=1, description="width of the states")
    d_ff: int = Field(1024, ge=1, description="width of the feed-forward blocks")
    n_heads: int = Field(6, ge=1, description="of attention")
    d_head: int = Field(64, ge=1, description="width of a head")
    n_layers: int = Field(4, ge=1, description="in the encoder, and as many in the decoder")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="of embeddings, attention weights and every block"
    )
    history: int = Field(20, ge=1, description="items read, the most recent ones")
    tau: float = Field(
        1.0,
        gt=0,
        description=(
            "divides the logits in the training loss, 1 is plain cross-entropy; validation uses 1, "
            "and so does `recommend` unless told otherwise"
        ),
    )
    epochs: Epochs = 200
    examples: int | None = Field(
        None, ge=1, description="training examples drawn per epoch; all when not said"
    )
    targets: int = Field(
        1, ge=1, description="items learnt after each history: the next one, and those after it"
    )
    batch_size: int = Field(1024, ge=1, description="training examples per step")
    learning_rate: LearningRate = 5e-4
    relative_rate: bool = Field(
        False,
        description=(
            "multiply each tensor's rate by the root mean square of its first weights "
            "(see `train.first_size`)"
        ),
    )
    weight_decay: WeightDecay = 0.01
    warmup: float = Field(
        0.01, ge=0, lt=1, description="share of all steps in which the rate rises"
    )
    beam: int = Field(
        20, ge=1, description="prefixes kept per level, at least as many as items are asked for"
    )
    validate_every: int = Field(1, ge=1, description="epochs between validations")
    patience: int = Field(20, ge=1, description="validations without a new best before stopping")
    dtype: Dtype = "auto"


# What the network reads, and what it learns.


def history_tokens(
    cases: Cases, length: int, item_tokens: np.ndarray
) -> tuple[Tensor, Tensor | None]:
    """What the encoder reads: identifiers of the last `length` items, oldest first, and an end.

    An empty history is the end token alone. Shorter histories are padded in front, so that the
    newest item is always at the same distance from the end.

    item_tokens: int64 [n_items, L].
    Returns tokens [n, longest * L + 1], and a mask of that shape, False at padding; None without.
    """
    lengths = np.minimum(cases.lengths, length)
    items = cases.recent(int(lengths.max(initial=0)))
    real = items != NO_ITEM
    tokens = np.where(real[:, :, None], item_tokens[np.where(real, items, 0)], PAD)
    tokens = tokens.reshape(len(cases), -1)
    tokens = np.concatenate([tokens, np.full((len(cases), 1), EOS)], axis=1)
    mask = None if real.all() else torch.from_numpy(tokens != PAD)
    return torch.from_numpy(tokens), mask


def next_identifiers_loss(
    tau: float,
) -> Callable[[nn.Module, tuple[Tensor, Tensor | None, Tensor]], dict[str, Tensor]]:
    """The ranking-guided loss of the next identifiers, each token given those before it.

        loss = -mean_t log softmax(logits_t / tau)[target_t]

    Returns a function of the network and a batch: history tokens [batch, S], their mask or None,
    and target tokens [batch, n, L + 1], as `Tiger._batch` makes them.
    """

    def loss(network: nn.Module, batch: tuple[Tensor, Tensor | None, Tensor]) -> dict[str, Tensor]:
        tokens, mask, targets = batch
        mean = ranking_guided_loss(network(tokens, mask, targets), targets, tau)
        # `weighed` does nothing in a single process, nor does `share` in `Tiger.fit`.
        return weighed({"loss": mean}, (targets != IGNORED).sum())

    return loss


# The network, from its smallest part to the whole. In shapes S tokens of a history are read, n
# sequences of T tokens are written after each, and V is the vocabulary.


@dataclass(frozen=True)
class EncoderDecoderConfig:
    """Sizes of the network.

    n_layers: of the encoder, and as many of the decoder.
    fused: compute the blocks as `fused.py` does, which is faster; else by the formulas here.
    """

    vocab_size: int
    d_model: int
    d_ff: int
    n_heads: int
    d_head: int
    n_layers: int
    dropout: float
    fused: bool = True


EPSILON = 1e-6
"""Keeps the norm from dividing by zero."""
N_BUCKETS = 32
MAX_DISTANCE = 128
"""Distances from here on share the last bucket of the position bias."""
FORBIDDEN = -1e9
"""A bias that forbids looking. With -inf a row that may look nowhere, such as padding in
`decode_tree`, would be NaN."""


def forbid(where: Tensor) -> Tensor:
    """A bias for attention that forbids looking where `where` (bool) is True; float32."""
    return torch.zeros(where.shape, device=where.device).masked_fill_(where, FORBIDDEN)


class RMSNorm(nn.Module):
    """Division by the root of the mean square, and a weight per feature."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.d_model))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)


class Dropout(nn.Dropout):
    """Dropout with one mask per sequence, shared by its positions: x [..., length, features].

    In attention weights [..., Q, K] all queries of a head lose the same keys. T5's own code (Mesh
    TensorFlow, T5X) does the same. Drawing a mask per position would take longer than the matrix
    products.
    """

    def mask(self, *shape: int, device: torch.device) -> Tensor | None:
        """bool [..., 1, features] for x of this shape, True where x is kept; None to keep all."""
        if not self.training or self.p == 0:
            return None
        return torch.rand(*shape[:-2], 1, shape[-1], device=device) >= self.p

    def forward(self, x: Tensor) -> Tensor:
        kept = self.mask(*x.shape, device=x.device)
        return x if kept is None else x * (kept.to(x.dtype) / (1 - self.p))


class FeedForward(nn.Module):
    """Linear, ReLU, linear; no biases."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.wi = nn.Linear(config.d_model, config.d_ff, bias=False)
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.wo(self.dropout(F.relu(self.wi(x))))


class Attention(nn.Module):
    """Multi-head attention as T5 has it: scores are not divided by the root of the width.

    cross: queries come from x, keys and values from a memory; else all three from x.
    """

    def __init__(self, config: EncoderDecoderConfig, cross: bool):
        super().__init__()
        self.n_heads, self.d_head = config.n_heads, config.d_head
        inner = self.n_heads * self.d_head
        if cross:
            self.q = nn.Linear(config.d_model, inner, bias=False)
            self.kv = nn.Linear(config.d_model, 2 * inner, bias=False)
        else:
            self.qkv = nn.Linear(config.d_model, 3 * inner, bias=False)
        self.o = nn.Linear(inner, config.d_model, bias=False)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor | None, memory: Tensor | None = None) -> Tensor:
        """Every position of x looks at every position of memory that the bias does not forbid.

        x: [batch, Q, d_model].
        bias: added to the scores, broadcast to [batch, n_heads, Q, K].
        memory: [batch, K, d_model]; None in self-attention, where x looks at itself.
        Returns [batch, Q, d_model].
        """
        if memory is None:
            q, k, v = self.split_heads(self.qkv(x))
        else:
            (q,), (k, v) = self.split_heads(self.q(x)), self.split_heads(self.kv(memory))
        return self.attend(q, k, v, bias)

    def split_heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """Cut [batch, length, m * inner] into m tensors [batch, n_heads, length, d_head]."""
        x = x.view(*x.shape[:2], -1, self.n_heads, self.d_head)
        return tuple(part.transpose(1, 2) for part in x.unbind(2))

    def attend(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
        """softmax(q k' + bias) v, all heads joined and projected.

        q: [batch, n_heads, Q, d_head]. k, v: [batch, n_heads, K, d_head].
        Returns [batch, Q, d_model].
        """
        scores = q @ k.mT
        if bias is not None:
            scores += bias.to(q.dtype)  # in bfloat16 this rounds it; `fused` adds it in float32
        weights = self.dropout(scores.softmax(-1))
        return self.o((weights @ v).transpose(1, 2).flatten(2))


class RelativePositionBias(nn.Module):
    """A learned number per head and distance, added to the attention scores; one table a stack."""

    def __init__(self, n_heads: int, bidirectional: bool):
        super().__init__()
        self.table = nn.Embedding(N_BUCKETS, n_heads)
        self.bidirectional = bidirectional

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """queries [Q], keys [K]: positions. Returns [1, n_heads, Q, K]."""
        bucket = relative_position_bucket(keys[None, :] - queries[:, None], self.bidirectional)
        return self.table(bucket).permute(2, 0, 1).unsqueeze(0)


def relative_position_bucket(distance: Tensor, bidirectional: bool) -> Tensor:
    """T5's bucket (0 to 31) of every distance, key position - query position.

    Small distances have a bucket each; larger ones share buckets that widen logarithmically to 128.

    bidirectional: half of the buckets are for keys after the query; else those count as distance 0.
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


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each on normed states and added to what came in."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.norm_self = RMSNorm(config)
        self.self_attention = Attention(config, cross=False)
        self.norm_ff = RMSNorm(config)
        self.ff = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x [batch, length, d_model], bias broadcast to [batch, n_heads, length, length]."""
        x = x + self.dropout(self.self_attention(self.norm_self(x), bias))
        return x + self.dropout(self.ff(self.norm_ff(x)))


class DecoderLayer(EncoderLayer):
    """As the encoder's, and between the two it looks at the encoded history."""

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__(config)
        self.norm_cross = RMSNorm(config)
        self.cross_attention = Attention(config, cross=True)

    def forward(
        self, x: Tensor, bias: Tensor, memory: Tensor, memory_bias: Tensor | None
    ) -> Tensor:
        """x [batch, n, T, d_model]: n sequences that read one memory [batch, S, d_model].

        bias: broadcast to [batch * n, n_heads, T, T].
        memory_bias: broadcast to [batch, n_heads, n * T, S]; None if there is no padding.
        """
        # Self-attention: every sequence by itself.
        h = self.norm_self(x).flatten(0, 1)
        x = x + self.dropout(self.self_attention(h, bias).view(x.shape))
        # Cross-attention: the n sequences are one row of queries, so the memory is not copied.
        h = self.norm_cross(x).flatten(1, 2)
        x = x + self.dropout(self.cross_attention(h, memory_bias, memory).view(x.shape))
        return x + self.dropout(self.ff(self.norm_ff(x)))


class EncoderDecoder(nn.Module):
    """A small T5: one embedding for what is read and written, an encoder, a decoder.

    Every history may have n sequences to write: in training the `targets` next items (1 by
    default), each written without seeing the others; in decoding the beams.
    """

    def __init__(self, config: EncoderDecoderConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder_bias = RelativePositionBias(config.n_heads, bidirectional=True)
        self.decoder_bias = RelativePositionBias(config.n_heads, bidirectional=False)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.n_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.n_layers))
        self.encoder_norm = RMSNorm(config)
        self.decoder_norm = RMSNorm(config)
        self.dropout = Dropout(config.dropout)
        self.reset_parameters()
        if config.fused:
            from letterlib.generators.fused import fuse  # which imports this module

            fuse(self)

    def reset_parameters(self) -> None:
        """T5's first weights; the queries' are smaller, since scores are not scaled."""
        config, inner = self.config, self.config.n_heads * self.config.d_head
        for name, weight in self.named_parameters():
            kind = name.split(".")[-2]
            if kind == "embedding":
                nn.init.normal_(weight, std=1.0)
            elif kind in ("o", "wo"):
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
            elif kind in ("table", "q", "qkv", "kv", "wi"):
                nn.init.normal_(weight, std=config.d_model**-0.5)
            if kind in ("q", "qkv"):
                with torch.no_grad():
                    weight[:inner] *= config.d_head**-0.5

    def forward(self, tokens: Tensor, mask: Tensor | None, targets: Tensor) -> Tensor:
        """Logits [batch, n, T, V] of the targets [batch, n, T], each given those before it.

        The decoder reads the targets one place later, behind token 0 (pad), as in T5.
        """
        inputs = F.pad(targets[..., :-1], (1, 0)).clamp(min=0)  # ignored targets are read as pad
        return self.decode(inputs, self.encode(tokens, mask), mask)

    def encode(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Read histories: tokens [batch, S], mask [batch, S] False at padding (None: no padding).

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

    def decode(self, tokens: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits [batch, n, T, V] after each of tokens [batch, n, T], n sequences per history.

        memory: [batch, S, d_model] from `encode`, which was given this mask.
        """
        positions = torch.arange(tokens.shape[2], device=tokens.device)
        later = positions[None, :] > positions[:, None]
        bias = self.decoder_bias(positions, positions) + forbid(later)
        return self._decode(tokens, bias, memory, mask)

    def _decode(self, tokens: Tensor, bias: Tensor, memory: Tensor, mask: Tensor | None) -> Tensor:
        memory_bias = None if mask is None else forbid(~mask)[:, None, None, :]
        x = self.dropout(self.embedding(tokens))
        for layer in self.decoder:
            x = layer(x, bias, memory, memory_bias)
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        # Scaled as in T5, because the embedding, which is also the output, starts at size 1.
        x = self.dropout(self.decoder_norm(x)) * self.config.d_model**-0.5
        return F.linear(x, self.embedding.weight)


# Decoding step by step. A search calls `start`, `step` with PAD, then `follow` and `step` in turn
# (`IncrementalDecoder` in decoding/beam_search.py), without gradients and in eval mode.

KeysValues = tuple[Tensor, Tensor]


@dataclass
class DecoderState:
    """What decoding remembers of a batch of histories, n sequences each.

    Keys and values are never reordered or copied per beam: `follow` changes `ancestors` alone.

    memory: per layer, cross-attention's keys and values, computed once.
    past: per layer, self-attention's, of every position so far of any sequence, also of those
        that nothing continues.
    ancestors: bool [batch, n, positions so far], which of them a sequence consists of.
    depths: int64 [positions so far], the place of each in its sequence.
    depth: steps so far.
    """

    memory: list[KeysValues]
    past: list[KeysValues]
    ancestors: Tensor
    depths: Tensor
    depth: int = 0

    def follow(self, parents: Tensor) -> None:
        """Let sequence i of each history continue what was its sequence parents[:, i]."""
        rows = torch.arange(len(parents), device=parents.device)[:, None]
        self.ancestors = self.ancestors[rows, parents]

    def extend(self) -> None:
        """Give every sequence one more position, which it alone sees."""
        batch, n, _ = self.ancestors.shape
        own = torch.eye(n, dtype=torch.bool, device=self.ancestors.device).expand(batch, n, n)
        self.ancestors = torch.cat([self.ancestors, own], dim=2)
        self.depths = torch.cat([self.depths, self.depths.new_full((n,), self.depth)])
        self.depth += 1


def layer_step(
    layer: DecoderLayer, x: Tensor, bias: Tensor, memory: KeysValues, past: KeysValues
) -> tuple[Tensor, KeysValues]:
    """A layer of the decoder for one more position of each of n sequences, x [batch, n, d_model].

    bias: [batch, n_heads, n, positions + n], who may see whom.
    memory: cross-attention's keys and values [batch, n_heads, S, d_head], not copied n times.
    past: self-attention's, of all positions so far [batch, n_heads, positions, d_head]; returned
        with the new ones.
    """
    attention, cross = layer.self_attention, layer.cross_attention
    q, k, v = attention.split_heads(attention.qkv(layer.norm_self(x)))
    past = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
    x = x + attention.attend(q, *past, bias)
    (q,) = cross.split_heads(cross.q(layer.norm_cross(x)))
    x = x + cross.attend(q, *memory)
    return x + layer.ff(layer.norm_ff(x)), past


class TigerNetwork(EncoderDecoder):
    """The encoder-decoder with what searches need: `start`, `step` and `decode_tree`."""

    def start(self, memory: Tensor) -> DecoderState:
        """One empty sequence for each history, memory [batch, S, d_model] without padding."""
        memories = []
        for layer in self.decoder:
            cross = layer.cross_attention
            keys_values = cross.split_heads(cross.kv(memory))
            memories.append(tuple(part.contiguous() for part in keys_values))
        past = [(k[:, :, :0], v[:, :, :0]) for k, v in memories]
        nothing = torch.zeros(len(memory), 1, 0, dtype=torch.bool, device=memory.device)
        return DecoderState(memories, past, nothing, nothing.new_zeros(0, dtype=torch.int64))

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """Append tokens [batch, n] to the n sequences of every history, and update `state`.

        Returns the logits of what comes next, [batch, n, V].
        """
        state.extend()
        bias = self.decoder_bias(state.depths[-1:], state.depths)
        bias = bias + forbid(~state.ancestors)[:, None]
        x = self.embedding(tokens)
        for i, layer in enumerate(self.decoder):
            x, state.past[i] = layer_step(layer, x, bias, state.memory[i], state.past[i])
        return self._logits(x)

    def decode_tree(self, tokens: Tensor, steps_up: Tensor, memory: Tensor) -> Tensor:
        """Many prefixes of one history as n trees: tokens [n, T], one per node.

        A node sees itself and its ancestors. The position bias depends only on how many steps up an
        ancestor is, so it is computed once per number of steps and looked up.

        steps_up: int64 [n, T, T], steps from node t up to node s; -1 where t does not see s.
        memory: [1, S, d_model].
        Returns the logits of the token after each node, [n, T, V].
        """
        up = torch.arange(int(steps_up.max()) + 1, device=tokens.device)
        by_steps = self.decoder_bias(up[-1:], up[-1] - up)[0, :, 0]  # [n_heads, steps]
        table = F.pad(by_steps, (1, 0), value=FORBIDDEN)  # in front, for -1: not seen
        bias = table.T[steps_up + 1].permute(0, 3, 1, 2)
        return self._decode(tokens[None], bias, memory, None)[0]


# The recommender.


class Tiger(IdentifierRecommender):
    """TIGER as a recommender: `fit` on the training part, then `recommend` for histories.

    identifiers: one per item.
    config: its settings; or give them as keywords, `Tiger(identifiers, epochs=3)`.
    seed: of the first weights, batches and dropout, and of the order of items that share an
        identifier.
    device: "auto", "cpu", "cuda" or "cuda:NUMBER".
    checkpoint: a file from which an interrupted `fit` resumes.
    """

    name = "TIGER"

    def __init__(
        self,
        identifiers: Identifiers,
        config: TigerConfig | None = None,
        seed: int = 0,
        device: str = "auto",
        checkpoint: Path | None = None,
        **settings: Any,
    ):
        config = TigerConfig.resolve(config, settings)
        super().__init__(identifiers, config, seed, device, checkpoint)
        self.n_tokens, self.n_heads = self.trie.vocabulary_size, config.n_heads
        self.item_tokens = tokens_of(
            identifiers.codes, identifiers.level_sizes, identifiers.shared_vocabulary
        )
        sizes = {"d_model", "d_ff", "n_heads", "d_head", "n_layers", "dropout"}
        with seeded(seed):
            network = TigerNetwork(
                EncoderDecoderConfig(self.n_tokens, **config.model_dump(include=sizes))
            )
        self.network = network.to(self.device).eval()

    def fit(self, split: Split) -> Self:
        """Train with AdamW: warm-up, then a cosine; gradients clipped to norm 1.

        An example is a history of the training part and the item after it; every item but a user's
        first is one, and an epoch takes config.examples of them. Every `validate_every` epochs
        `recommend`, with raw logits, is scored by NDCG@10 on up to 2,000 validation cases. Training
        stops after `patience` of them without a new best, and keeps the best weights.
        """
        self.check_identifiers(split)
        config, cases = self.config, split.cases("train")
        if not len(cases):
            raise LetterError(
                "TIGER: no user has two items in training, so there is no next item to learn"
            )
        n_examples = min(config.examples or len(cases), len(cases))
        # Users' whole sequences lie one after another in cases.values; where training parts end:
        train_ends = split.dataset.sequences.offsets[:-1] + split.train.lengths

        def batches(generator: np.random.Generator):
            chosen = generator.permutation(len(cases))[:n_examples]
            # Batches of like length need little padding; then the batches are shuffled.
            lengths = np.minimum(cases.lengths[chosen], config.history)
            chosen = chosen[np.argsort(lengths, kind="stable")]
            for start in generator.permutation(np.arange(0, n_examples, config.batch_size)):
                part = share(chosen[start : start + config.batch_size])
                yield self._batch(cases[part], train_ends)

        with self.from_first_weights():
            self.log = train_generator(
                self,
                batches,
                next_identifiers_loss(config.tau),
                n_examples,
                data=digest(split.fingerprint, self.identifiers.codes, self.first_weights_digest),
                dtype=resolve_dtype(config.dtype, self.device),
                relative_rate=config.relative_rate,
                validate=validation_ndcg(split, self.recommend),
                validate_every=config.validate_every,
                patience=config.patience,
            )
        return self

    def _batch(self, cases: Cases, train_ends: np.ndarray) -> tuple[Tensor, Tensor | None, Tensor]:
        """History tokens, their mask, and target tokens [batch, targets, L + 1].

        train_ends: int64 [n_users], where each user's training part ends in `cases.values`; targets
            beyond it are ignored.
        """
        tokens, mask = history_tokens(cases, self.config.history, self.item_tokens)
        # A history is values[start:end], so the next item is values[end].
        positions = cases.ends[:, None] + np.arange(self.config.targets)
        real = positions < train_ends[cases.users][:, None]
        items = cases.values[np.where(real, positions, 0)]
        targets = np.full((*items.shape, self.trie.n_levels + 1), EOS)
        targets[..., :-1] = self.item_tokens[items]
        targets[~real] = IGNORED
        mask = None if mask is None else mask.to(self.device)
        return tokens.to(self.device), mask, torch.from_numpy(targets).to(self.device)

    def _memory(self, cases: Cases) -> Tensor:
        """The encoded histories, of one length and so without padding: float32 [n, S, d_model]."""
        tokens, _ = history_tokens(cases, self.config.history, self.item_tokens)
        return self.network.encode(tokens.to(self.device))

    def _search(
        self, part: Cases, memory: Tensor, beam: int, tau: float, dead: list[Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """As the plain beam search; if the beam is the catalogue, every identifier is scored."""
        if not self._beam_is_catalogue(beam):
            return super()._search(part, memory, beam, tau, dead)
        scores = score_catalogue(self.network, memory, self.trie, tau=tau)
        if dead is not None:
            scores.masked_fill_(dead[-1], -torch.inf)  # dead[-1]: leaves whose items are left out
        scores, leaves = scores.sort(dim=1, descending=True, stable=True)
        return leaves, scores

    def _beam_is_catalogue(self, beam: int) -> bool:
        return beam >= self.trie.n_nodes(self.trie.n_levels)

    def _largest_array(self, beam: int, length: int) -> int:
        """Sets the batch size: a search takes SEARCH_BUDGET // this many histories at a time."""
        encoding = self.n_heads * (self.trie.n_levels * length + 1) ** 2  # all tokens see all
        if not self._beam_is_catalogue(beam):
            return max(super()._largest_array(beam, length), encoding)
        # At most eight histories at a time: scoring a large catalogue takes seconds for each, and
        # the progress bar should move.
        return max(self.trie.n_nodes(self.trie.n_levels), SEARCH_BUDGET // 8, encoding)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: weights, identifiers and settings."""
        tensors = {f"network.{name}": weight for name, weight in self.network.state_dict().items()}
        tensors |= tensors_of(self.identifiers)
        save_model(path, self.name, tensors, self.config, self.seed, self.log)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote. `fit` then trains on from the loaded weights."""
        saved = load_model(path, cls.name, TigerConfig)
        model = cls(identifiers_in(saved.tensors), saved.config, saved.seed, device)
        model.network.load_state_dict(strip_prefix("network.", saved.tensors))
        model.log = saved.log
        return model
