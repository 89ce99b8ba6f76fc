"""P5: a TIGER that starts from a pre-trained T5 and writes P5's identifiers.

Geng et al., RecSys 2022 (P5), with the identifiers of Hua et al., SIGIR-AP 2023. A T5 is the
network that TIGER has, so only the first weights differ: `from_transformers` takes them from a T5,
and `to_transformers` gives them back. The T5 knows the language that it has read, which helps if
identifiers are made of words (P5-TID).

Differences from the original:

- No prompt around a history. One that is the same for every case tells no cases apart; P5 needs
  several because it learns several tasks.
- No token for the user: it would answer for nobody new.
- Only the tokens that are read or written are kept, of the T5's 32,000 words.
- Codes that are no words are new tokens, as in the original.
"""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from letterlib.decoding.trie import EOS, PAD
from letterlib.errors import LetterError, optional
from letterlib.generators.tiger import (
    EPSILON,
    MAX_DISTANCE,
    N_BUCKETS,
    EncoderDecoder,
    EncoderDecoderConfig,
    Tiger,
    TigerConfig,
    TigerNetwork,
)
from letterlib.hub import load_found, load_weights, loading
from letterlib.store import digest
from letterlib.tokenizer.identifiers import Identifiers

if TYPE_CHECKING:  # importing them takes seconds
    from transformers import T5Config, T5ForConditionalGeneration

_SIZES = ("d_model", "d_ff", "n_heads", "d_head", "n_layers")
_FIXED = (
    "num_decoder_layers",
    "feed_forward_proj",
    "layer_norm_epsilon",
    "scale_decoder_outputs",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
    "decoder_start_token_id",
)
"""Options of a T5 that our network leaves no choice of."""


def tiger_from_t5(
    t5: str,
    identifiers: Identifiers,
    config: TigerConfig | None = None,
    seed: int = 0,
    device: str = "auto",
    checkpoint: Path | None = None,
    pieces: np.ndarray | None = None,
    **settings: Any,
) -> Tiger:
    """A TIGER with the weights of a T5; `fit` trains it, and `Tiger.load` reads what it saves.

    t5: "t5-small", or the id or folder of another original T5.
    config: its sizes are replaced by those of the T5; or its fields as keywords.
    pieces: int64 [n_codes], the T5's number of each code's word piece, negative for none, from
        `title_identifiers(titles, tokenizer=t5)`; without them every code is a new token.
    """
    pretrained = _load(t5)
    sizes = {name: getattr(pretrained.config, name) for name in _SIZES}
    config = TigerConfig.resolve(config, settings).model_copy(update=sizes)
    tiger = Tiger(identifiers, config, seed, device, checkpoint)
    n_codes = tiger.n_tokens - EOS - 1
    pieces = np.full(n_codes, -1) if pieces is None else pieces
    words, weights = np.concatenate([[PAD, EOS], pieces]), pretrained.state_dict()
    weights["embedding.weight"] = _rows(weights["embedding.weight"], words, tiger.seed)
    tiger.network.load_state_dict(weights)
    tiger.first_weights_digest = digest(*(part for pair in weights.items() for part in pair))
    return tiger


def _load(t5: str) -> TigerNetwork:
    from transformers import T5ForConditionalGeneration

    load = functools.partial(load_weights, T5ForConditionalGeneration, dtype=torch.float32)
    with loading(f'T5 "{t5}"', 'use "t5-small", or a local folder'):
        return from_transformers(load_found(t5, load))


def _rows(embedding: Tensor, words: np.ndarray, seed: int) -> Tensor:
    """The rows of some words, [n, d_model]; a negative word gets a new one like the others.

    embedding: [n_words, d_model].
    """
    known = torch.from_numpy(words >= 0)
    generator = torch.Generator().manual_seed(seed)
    new = torch.randn(len(words), embedding.shape[1], generator=generator)
    new = new * embedding.std(0) + embedding.mean(0)
    return torch.where(known[:, None], embedding[torch.from_numpy(words).clamp(min=0)], new)


def from_transformers(t5: "T5ForConditionalGeneration") -> TigerNetwork:
    """Our network with copies of a T5's weights, in evaluation mode.

    Of the original architecture: T5 v1.1 and flan-T5 (gated feed-forward) are a LetterError.
    """
    theirs = t5.config
    config = EncoderDecoderConfig(
        vocab_size=theirs.vocab_size,
        d_model=theirs.d_model,
        d_ff=theirs.d_ff,
        n_heads=theirs.num_heads,
        d_head=theirs.d_kv,
        n_layers=theirs.num_layers,
        dropout=theirs.dropout_rate,
    )
    expected = t5_config(config)
    for option in _FIXED:
        got, want = getattr(theirs, option, None), getattr(expected, option, None)
        if got != want:
            raise LetterError(
                f"T5 with {option}={got}: only {option}={want} is supported; use an original T5"
            )
    model, weights = TigerNetwork(config), t5.state_dict()
    state = {
        name: torch.cat([weights[part].detach().cpu().float() for part in parts])
        for name, parts in _names(config.n_layers)
    }
    model.load_state_dict(state)
    return model.eval()


def to_transformers(model: EncoderDecoder) -> "T5ForConditionalGeneration":
    """A T5 with copies of the network's weights, in evaluation mode."""
    with optional("language-models"):
        from transformers import T5ForConditionalGeneration

    t5, ours = T5ForConditionalGeneration(t5_config(model.config)), model.state_dict()
    weights: dict[str, Tensor] = {}
    for name, parts in _names(model.config.n_layers):
        weights |= dict(zip(parts, ours[name].cpu().chunk(len(parts)), strict=True))
    for tied in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"):
        weights[f"{tied}.weight"] = weights["shared.weight"]
    t5.load_state_dict({name: weight.clone() for name, weight in weights.items()})
    return t5.eval()


def t5_config(config: EncoderDecoderConfig) -> "T5Config":
    """transformers' configuration of the same network: pad 0 starts the decoder, 1 ends."""
    from transformers import T5Config

    return T5Config(
        vocab_size=config.vocab_size,
        d_model=config.d_model,
        d_ff=config.d_ff,
        d_kv=config.d_head,
        num_heads=config.n_heads,
        num_layers=config.n_layers,
        dropout_rate=config.dropout,
        feed_forward_proj="relu",
        relative_attention_num_buckets=N_BUCKETS,
        relative_attention_max_distance=MAX_DISTANCE,
        layer_norm_epsilon=EPSILON,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )


def _names(n_layers: int) -> list[tuple[str, list[str]]]:
    """Our parameters' names, each with T5's names of the parts it is stacked from."""
    pairs = [("embedding.weight", ["shared.weight"])]
    for stack in ("encoder", "decoder"):
        first = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        pairs += [(f"{stack}_bias.table.weight", [first])]
        pairs += [(f"{stack}_norm.weight", [f"{stack}.final_layer_norm.weight"])]
        for i in range(n_layers):
            ours, theirs = f"{stack}.{i}", f"{stack}.block.{i}.layer"
            attention, last = f"{theirs}.0.SelfAttention", 1 if stack == "encoder" else 2
            pairs += [
                (f"{ours}.norm_self.weight", [f"{theirs}.0.layer_norm.weight"]),
                (f"{ours}.self_attention.qkv.weight", [f"{attention}.{x}.weight" for x in "qkv"]),
                (f"{ours}.self_attention.o.weight", [f"{attention}.o.weight"]),
                (f"{ours}.norm_ff.weight", [f"{theirs}.{last}.layer_norm.weight"]),
                (f"{ours}.ff.wi.weight", [f"{theirs}.{last}.DenseReluDense.wi.weight"]),
                (f"{ours}.ff.wo.weight", [f"{theirs}.{last}.DenseReluDense.wo.weight"]),
            ]
            if stack == "decoder":
                cross = f"{theirs}.1.EncDecAttention"
                pairs += [
                    (f"{ours}.norm_cross.weight", [f"{theirs}.1.layer_norm.weight"]),
                    (f"{ours}.cross_attention.q.weight", [f"{cross}.q.weight"]),
                    (f"{ours}.cross_attention.kv.weight", [f"{cross}.{x}.weight" for x in "kv"]),
                    (f"{ours}.cross_attention.o.weight", [f"{cross}.o.weight"]),
                ]
    return pairs
