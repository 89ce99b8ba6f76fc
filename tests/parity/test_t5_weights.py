"""Our encoder-decoder against transformers' T5 with the same weights: logits, loss, files, both
ways.
"""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from transformers import T5Config, T5ForConditionalGeneration

from letterlib.errors import LetterError
from letterlib.generators.fused import fuse
from letterlib.generators.p5 import from_transformers, t5_config, to_transformers
from letterlib.generators.ranking_loss import ranking_guided_loss
from letterlib.generators.tiger import (
    Attention,
    Dropout,
    EncoderDecoder,
    EncoderDecoderConfig,
    FeedForward,
    relative_position_bucket,
)

V = 60
SMALL = EncoderDecoderConfig(
    vocab_size=V, d_model=32, d_ff=48, n_heads=3, d_head=8, n_layers=2, dropout=0.1
)


@pytest.fixture(scope="module", params=["fused", "plain"])
def model(request) -> EncoderDecoder:
    torch.manual_seed(0)
    config = replace(SMALL, fused=request.param == "fused")
    return _perturbed(EncoderDecoder(config)).eval()


def _perturbed(network: torch.nn.Module) -> torch.nn.Module:
    """Norm weights start at 1 and would hide a swapped pair: give every weight its own values."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def _batch(length: int, padded: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(2, V, (4, length), generator=generator)
    mask = torch.ones(4, length, dtype=torch.bool)
    if padded == "front":
        mask[1, :5] = mask[2, :1] = False
    if padded == "back":
        mask[0, -4:] = mask[3, -1:] = False
    targets = torch.randint(2, V, (4, 5), generator=generator)
    targets[2, -2:] = -100
    return tokens.masked_fill(~mask, 0), mask, targets


@pytest.mark.parametrize("padded", ["no", "front", "back"])
@pytest.mark.parametrize("length", [9, 150])  # 150 reaches past the last bucket's distance of 128
def test_logits_and_loss_equal_those_of_t5(model, padded, length):
    tokens, mask, targets = _batch(length, padded)
    t5 = to_transformers(model)
    with torch.no_grad():
        theirs = t5(input_ids=tokens, attention_mask=mask.long(), labels=targets)
        ours = model(tokens, mask, targets.unsqueeze(1)).squeeze(1)
    assert (ours - theirs.logits).abs().max() < 1e-4
    assert abs(ranking_guided_loss(ours, targets) - theirs.loss) < 1e-4


def test_gradients_equal_those_of_t5(model):
    tokens, mask, targets = _batch(9, "front")
    t5 = to_transformers(model)
    t5(input_ids=tokens, attention_mask=mask.long(), labels=targets).loss.backward()
    model.zero_grad()
    ranking_guided_loss(model(tokens, mask, targets.unsqueeze(1)).squeeze(1), targets).backward()
    assert (model.embedding.weight.grad - t5.shared.weight.grad).abs().max() < 1e-4
    theirs = t5.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.grad
    assert (model.encoder_bias.table.weight.grad - theirs).abs().max() < 1e-4


def _kept(dropout, *shape, device):
    """A mask that drops nothing."""
    return torch.ones(*shape[:-2], 1, shape[-1], dtype=torch.bool) if dropout.training else None


@pytest.mark.parametrize("fused", [True, False])
def test_every_dropout_of_t5_is_there_and_no_other(monkeypatch, fused):
    """Where nothing is dropped, and what is kept is divided all the same, one too few or too many
    shows.

    On which side of a product of matrices it stands does not.
    """
    monkeypatch.setattr(Dropout, "mask", _kept)
    monkeypatch.setattr(
        F, "dropout", lambda x, p=0.5, training=True, inplace=False: x / (1 - p) if training else x
    )
    torch.manual_seed(3)
    ours = EncoderDecoder(EncoderDecoderConfig(V, 32, 48, 3, 8, 2, 0.3, fused)).train()
    t5 = to_transformers(ours).train()
    for part in (t5, t5.encoder, t5.decoder):  # transformers 5.17 does not hand it on
        part.set_attn_implementation(
            "eager"
        )  # the other kind of attention drops weights out of this test's sight
    tokens, mask, targets = _batch(9, "no")
    with torch.no_grad():
        mine = ours(tokens, mask, targets.unsqueeze(1)).squeeze(1)
        theirs = t5(input_ids=tokens, attention_mask=mask.long(), labels=targets).logits
        unscaled = t5.eval()(input_ids=tokens, attention_mask=mask.long(), labels=targets).logits
    assert (mine - theirs).abs().max() < 1e-4 < 1e-2 < (mine - unscaled).abs().max()


@pytest.mark.parametrize("fused", [True, False])
def test_what_dropout_keeps_is_divided_by_the_share_that_is_kept(monkeypatch, fused):
    monkeypatch.setattr(Dropout, "mask", _kept)
    config = EncoderDecoderConfig(V, 32, 48, 3, 8, 2, 0.3)
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    for block, given in (
        (Dropout(0.3), (x,)),
        (FeedForward(config), (x,)),
        (Attention(config, cross=False), (x, None)),
        (Attention(config, cross=True), (x, None, x)),
    ):
        if fused:
            fuse(block)
        torch.testing.assert_close(block.train()(*given), block.eval()(*given) / 0.7)


def test_weights_start_as_large_as_those_of_t5():
    torch.manual_seed(0)
    config = EncoderDecoderConfig(
        vocab_size=200, d_model=64, d_ff=256, n_heads=8, d_head=4, n_layers=1, dropout=0.0
    )
    theirs = T5ForConditionalGeneration(t5_config(config)).state_dict()
    for name, ours in to_transformers(EncoderDecoder(config)).state_dict().items():
        assert ours.norm() / theirs[name].norm() == pytest.approx(1, abs=0.2), name


def test_from_pretrained_reads_what_was_saved(model, tmp_path):
    to_transformers(model).save_pretrained(tmp_path / "t5")
    t5, report = T5ForConditionalGeneration.from_pretrained(
        tmp_path / "t5", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert (t5.config.pad_token_id, t5.config.eos_token_id, t5.config.decoder_start_token_id) == (
        0,
        1,
        0,
    )
    assert not list((tmp_path / "t5").glob("*.bin"))
    tokens, mask, targets = _batch(9, "front")
    with torch.no_grad():
        theirs = t5(input_ids=tokens, attention_mask=mask.long(), labels=targets).logits
        assert (model(tokens, mask, targets.unsqueeze(1)).squeeze(1) - theirs).abs().max() < 1e-4


def test_import_of_a_t5_made_by_transformers():
    torch.manual_seed(5)
    config = T5Config(
        vocab_size=V,
        d_model=24,
        d_ff=40,
        d_kv=8,
        num_heads=2,
        num_layers=3,
        decoder_start_token_id=0,
    )
    t5 = _perturbed(T5ForConditionalGeneration(config)).eval()
    ours = from_transformers(t5)
    tokens, mask, targets = _batch(9, "front")
    with torch.no_grad():
        theirs = t5(input_ids=tokens, attention_mask=mask.long(), labels=targets).logits
        assert (ours(tokens, mask, targets.unsqueeze(1)).squeeze(1) - theirs).abs().max() < 1e-4


def test_weights_survive_there_and_back(model):
    back = from_transformers(to_transformers(model)).state_dict()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, back[name]), name


def test_sizes_and_dropout_survive_there_and_back():
    config = EncoderDecoderConfig(
        vocab_size=V, d_model=24, d_ff=40, n_heads=3, d_head=5, n_layers=1, dropout=0.3
    )
    assert from_transformers(to_transformers(EncoderDecoder(config))).config == config


def test_a_copy_does_not_share_memory(model):
    before = model.embedding.weight.clone()
    with torch.no_grad():
        to_transformers(model).shared.weight.zero_()
    assert torch.equal(model.embedding.weight, before)


@pytest.mark.parametrize(
    "option",
    [
        {"feed_forward_proj": "gated-gelu"},
        {"tie_word_embeddings": False},
        {"num_decoder_layers": 1},
        {"layer_norm_epsilon": 1e-5},
        {"relative_attention_max_distance": 64},
        {"decoder_start_token_id": 1},
    ],
)
def test_other_architectures_are_refused(option):
    sizes = dict(
        vocab_size=V,
        d_model=24,
        d_ff=40,
        d_kv=8,
        num_heads=2,
        num_layers=2,
        decoder_start_token_id=0,
    )
    config = T5Config(**sizes | option)
    with pytest.raises(LetterError, match="is supported; use an original T5"):
        from_transformers(T5ForConditionalGeneration(config))


@pytest.mark.parametrize("bidirectional", [True, False])
def test_buckets(bidirectional):
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = torch.arange(-400, 401)
    theirs = T5Attention._relative_position_bucket(distance, bidirectional, 32, 128)
    assert torch.equal(relative_position_bucket(distance, bidirectional), theirs)
