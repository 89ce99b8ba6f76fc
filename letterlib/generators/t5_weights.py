"""Our `EncoderDecoder` and transformers' `T5ForConditionalGeneration`: the same weights, both ways."""

import torch
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from letterlib.errors import LetterError
from letterlib.generators.attention import MAX_DISTANCE, N_BUCKETS
from letterlib.generators.encoder_decoder import EPSILON, EncoderDecoder, EncoderDecoderConfig

_SELF, _CROSS = "SelfAttention", "EncDecAttention"
_FIXED = (
    "num_decoder_layers",
    "feed_forward_proj",
    "layer_norm_epsilon",
    "scale_decoder_outputs",
    "relative_attention_num_buckets",
    "relative_attention_max_distance",
    "decoder_start_token_id",
)
"""What our architecture leaves no choice of."""


def t5_config(config: EncoderDecoderConfig) -> T5Config:
    """The transformers configuration of the same model: pad 0 starts the decoder, 1 ends a
    sequence.
    """
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
    """Our parameter's name, and the names in T5 of the parts it is made of, stacked in this order."""
    pairs = [("embedding.weight", ["shared.weight"])]
    for stack in ("encoder", "decoder"):
        first = f"{stack}.block.0.layer.0.{_SELF}.relative_attention_bias.weight"
        pairs += [(f"{stack}_bias.table.weight", [first])]
        pairs += [(f"{stack}_norm.weight", [f"{stack}.final_layer_norm.weight"])]
        for i in range(n_layers):
            ours, theirs = f"{stack}.{i}", f"{stack}.block.{i}.layer"
            attention, last = f"{theirs}.0.{_SELF}", 1 if stack == "encoder" else 2
            pairs += [
                (f"{ours}.norm_self.weight", [f"{theirs}.0.layer_norm.weight"]),
                (f"{ours}.self_attention.qkv.weight", [f"{attention}.{x}.weight" for x in "qkv"]),
                (f"{ours}.self_attention.o.weight", [f"{attention}.o.weight"]),
                (f"{ours}.norm_ff.weight", [f"{theirs}.{last}.layer_norm.weight"]),
                (f"{ours}.ff.wi.weight", [f"{theirs}.{last}.DenseReluDense.wi.weight"]),
                (f"{ours}.ff.wo.weight", [f"{theirs}.{last}.DenseReluDense.wo.weight"]),
            ]
            if stack == "decoder":
                cross = f"{theirs}.1.{_CROSS}"
                pairs += [
                    (f"{ours}.norm_cross.weight", [f"{theirs}.1.layer_norm.weight"]),
                    (f"{ours}.cross_attention.q.weight", [f"{cross}.q.weight"]),
                    (f"{ours}.cross_attention.kv.weight", [f"{cross}.{x}.weight" for x in "kv"]),
                    (f"{ours}.cross_attention.o.weight", [f"{cross}.o.weight"]),
                ]
    return pairs


def to_transformers(model: EncoderDecoder) -> T5ForConditionalGeneration:
    """A T5 with copies of the model's weights, in evaluation mode."""
    t5 = T5ForConditionalGeneration(t5_config(model.config))
    ours = model.state_dict()
    weights: dict[str, Tensor] = {}
    for name, parts in _names(model.config.n_layers):
        weights |= dict(zip(parts, ours[name].cpu().chunk(len(parts)), strict=True))
    for tied in ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head"):
        weights[f"{tied}.weight"] = weights["shared.weight"]
    t5.load_state_dict({name: weight.clone() for name, weight in weights.items()})
    return t5.eval()


def from_transformers(t5: T5ForConditionalGeneration) -> EncoderDecoder:
    """Our model with copies of a T5's weights, in evaluation mode.

    The original T5 architecture only: T5 v1.1 and flan-T5 have a gated feed-forward and are a
    LetterError.
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
                f"T5 with {option}={got} cannot be imported, only {option}={want}; use an original T5"
            )
    model = EncoderDecoder(config)
    weights = t5.state_dict()
    state = {
        name: torch.cat([weights[part].detach().cpu().float() for part in parts])
        for name, parts in _names(config.n_layers)
    }
    model.load_state_dict(state)
    return model.eval()
