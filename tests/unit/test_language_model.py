"""The language model that is adapted: its new tokens, which architectures fit, and the hub."""

from contextlib import nullcontext
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import constants
from transformers import LlamaConfig, LlamaForCausalLM

from letterlib.errors import LetterError
from letterlib.generators.language_model import (
    TINY,
    Vocabulary,
    begin_of,
    check_language_model,
    initialise_new_tokens,
    load_language_model,
    with_adapters,
)
from letterlib.tokenizer.identifiers import Identifiers

N_ITEMS = 60
TITLES = [f"item {i}" for i in range(N_ITEMS)]
TINY_SIZES = dict(
    vocab_size=50,
    hidden_size=32,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)


def identifiers() -> Identifiers:
    chosen = np.random.default_rng(0).permutation(512)[:N_ITEMS]
    return Identifiers(np.stack(np.unravel_index(chosen, (8, 8, 8)), axis=1), (8, 8, 8))


def extended(tied: bool = True):
    """(language model, vocabulary with identifiers)."""
    tokenizer, model = load_language_model(TINY)
    if not tied:
        config = LlamaConfig(**(model.config.to_dict() | {"tie_word_embeddings": False}))
        model = LlamaForCausalLM(config)
    return model, Vocabulary.extend(tokenizer, model, identifiers())


def test_every_code_is_one_new_token():
    _, vocabulary = extended()
    assert len(set(vocabulary.new_tokens)) == 24
    written = "".join(identifiers().tokens(7))
    assert vocabulary.words(written) == vocabulary.item_tokens[7].tolist()
    assert sorted(vocabulary.order.tolist()) == list(range(len(vocabulary.order)))


def test_spare_rows_of_a_language_model_are_used_before_there_are_more():
    tokenizer, base = load_language_model(TINY)
    rows = len(tokenizer) + 100
    base.resize_token_embeddings(rows, mean_resizing=False)
    vocabulary = Vocabulary.extend(tokenizer, base, identifiers())
    assert base.get_input_embeddings().weight.shape[0] == rows
    assert sorted(vocabulary.order.tolist()) == list(range(rows))
    assert vocabulary.new_tokens.tolist() == list(range(rows - 100, rows - 76))


@pytest.mark.parametrize("tied", [True, False])
def test_new_tokens_start_from_the_words_of_their_items_in_both_tables(tied):
    model, vocabulary = extended(tied)
    initialise_new_tokens(model, vocabulary, TITLES)
    first_codes, n_words = identifiers().codes[:, 0], int(vocabulary.new_tokens[0])
    for table in (model.get_input_embeddings(), model.get_output_embeddings()):
        words, new = table.weight.detach().tensor_split([n_words])
        titles = torch.stack([words[vocabulary.words(title)].mean(0) for title in TITLES])
        for code in np.unique(first_codes):
            wanted = (titles - words.mean(0))[first_codes == code].mean(0)
            assert torch.cosine_similarity(new[code] - words.mean(0), wanted, dim=0) > 0.999


def test_new_tokens_lie_around_the_mean_of_the_words_as_far_out_as_words_do():
    model, vocabulary = extended()
    weight = model.get_input_embeddings().weight.detach()
    new = torch.from_numpy(vocabulary.new_tokens)
    words = weight[: int(new[0])].add_(3)  # as in a trained model, where the words' mean is not 0
    initialise_new_tokens(model, vocabulary, TITLES)
    usual = float((words - words.mean(0)).norm(dim=1).mean())
    assert (weight[new] - words.mean(0)).norm(dim=1).numpy() == pytest.approx(usual, rel=1e-4)
    rows = []
    for seed in (0, 1):
        initialise_new_tokens(model, vocabulary, None, seed)
        rows.append((weight[new] - words.mean(0)) / words.std(0))
        assert abs(rows[-1].mean()) < 0.06 and rows[-1].std() == pytest.approx(1, abs=0.06)
    assert not torch.equal(*rows)


def test_the_token_before_every_text():
    def reads(bos, *tokens):
        tokenizer = MagicMock(bos_token_id=bos)
        tokenizer.return_value = {"input_ids": list(tokens)}
        return tokenizer

    assert begin_of(reads(1, 1)) == [1], "LLaMA"
    assert begin_of(reads(1)) == begin_of(reads(None, 101, 102)) == [], "SmolLM2, and BERT"


@pytest.mark.parametrize(
    ("kind", "more", "refused"),
    [
        ("Mistral", {}, None),
        ("Qwen2Moe", {"num_experts": 2, "moe_intermediate_size": 8}, "experts"),
        ("Phi3", {}, "gate_up_proj"),
        ("Granite", {"logits_scaling": 8.0}, "scales or caps"),
        ("Cohere", {"logit_scale": 0.0625}, "scales or caps"),
    ],
)
def test_architectures_that_would_be_adapted_in_part_or_misread_are_refused(kind, more, refused):
    config = getattr(transformers, f"{kind}Config")(**TINY_SIZES, **more)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with pytest.raises(LetterError, match=refused) if refused else nullcontext():
        with_adapters(model, [], 4, 8.0, 0.0)


def test_a_model_in_the_cache_of_the_hub_is_found(tmp_path, monkeypatch):
    tokenizer, model = load_language_model(TINY)
    cached = tmp_path / "models--a--model"
    tokenizer.save_pretrained(cached / "snapshots" / "0123")
    model.save_pretrained(cached / "snapshots" / "0123")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    check_language_model("a/model")
    assert load_language_model("a/model")[1].config.hidden_size == model.config.hidden_size
    with pytest.raises(LetterError, match='language model "no/such"'):
        check_language_model("no/such")
