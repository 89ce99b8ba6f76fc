"""Our beams for a causal language model against transformers' own `generate`, which reads the
prompt once per beam.

And our attention against theirs.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel, LogitsProcessorList
from transformers.models.llama.modeling_llama import eager_attention_forward

from letterlib.data.dataset import Cases, Dataset, Sequences
from letterlib.decoding.logits_processor import TrieLogitsProcessor, search_config
from letterlib.decoding.trie import DictTrie, tokens_of, vocabulary_size
from letterlib.generators.language_model import plain_attention
from letterlib.generators.lcrec import LCRec, LCRecConfig
from letterlib.generators.prompts import prompt_of
from letterlib.generators.tiger import forbid
from letterlib.tokenizer.identifiers import Identifiers

N_ITEMS, BEAM = 80, 10


@pytest.fixture(scope="module")
def model() -> LCRec:
    generator = np.random.default_rng(0)
    codes = np.stack(np.unravel_index(generator.permutation(512)[:N_ITEMS], (8, 8, 8)), axis=1)
    config = LCRecConfig(
        language_model="tiny",
        history=4,
        targets=4,
        epochs=3,
        batch_size=8,
        alignment=0.0,
        dropout=0.0,
        learning_rate=5e-3,
        beam=BEAM,
        dtype="float32",
    )
    items = pd.DataFrame({"title": [f"item {i}" for i in range(N_ITEMS)]})
    walks = Sequences.from_lists([generator.permutation(N_ITEMS)[:20] for _ in range(10)])
    split = Dataset("walks", walks, items, "made up", [str(u) for u in range(10)]).split(1)
    return LCRec(Identifiers(codes, (8, 8, 8)), items["title"], config, 0, "cpu").fit(split)


@pytest.mark.parametrize("history", [[3], [5, 9, 70, 2], []])
def test_the_same_items_with_the_same_scores(model, history):
    identifiers, vocabulary = model.identifiers, model.vocabulary
    prompt = prompt_of(vocabulary, history)
    trie, order = DictTrie(identifiers.codes, identifiers.level_sizes), vocabulary.order
    place = {
        int(word): token
        for token, word in enumerate(order[: vocabulary_size(identifiers.level_sizes)])
    }

    def allowed(_batch: int, tokens: torch.Tensor) -> list[int]:
        written = [place.get(int(one), -1) for one in tokens[len(prompt) :]]
        return [int(order[t]) for t in trie.allowed(written)] or [vocabulary.end]

    assert model.network.model.config._attn_implementation == "plain"
    plain = model.merged()
    assert plain.config._attn_implementation == "sdpa"
    result = plain.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        prefix_allowed_tokens_fn=allowed,
        num_beams=BEAM,
        num_return_sequences=BEAM,
        max_new_tokens=identifiers.n_levels + 1,
        length_penalty=0.0,
        early_stopping=True,
        do_sample=False,
        eos_token_id=vocabulary.end,
        pad_token_id=vocabulary.end,
        return_dict_in_generate=True,
        output_scores=True,
    )
    tokens = tokens_of(identifiers.codes, identifiers.level_sizes).tolist()
    item_of = {tuple(row): item for item, row in enumerate(tokens)}
    theirs = [
        item_of[tuple(place[int(t)] for t in row[len(prompt) : len(prompt) + 3])]
        for row in result.sequences
    ]
    ours = model.recommend(Cases.from_histories([history]), BEAM)
    np.testing.assert_allclose(
        ours.scores[0], result.sequences_scores.numpy(), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(ours.items[0], theirs)


CHAT = dict(
    do_sample=True,
    temperature=0.6,
    top_k=5,
    top_p=0.9,
    repetition_penalty=1.5,
    no_repeat_ngram_size=2,
    num_beams=1,
)
"""As a chat model's generation_config.json has it."""


@pytest.mark.parametrize("history", [[3], [5, 9, 70, 2]])
def test_the_processor_with_a_chat_models_settings_gives_our_lists(model, history):
    prompt, order = prompt_of(model.vocabulary, history), model.vocabulary.order
    plain = model.merged()
    # An end token of the chat among the codes would end an identifier in the middle.
    code = int(model.vocabulary.new_tokens[0])
    plain.generation_config = GenerationConfig(**CHAT, eos_token_id=[model.vocabulary.end, code])
    plain.generation_config = search_config(model.trie, BEAM, order)
    result = plain.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        logits_processor=LogitsProcessorList([TrieLogitsProcessor(model.trie, len(prompt), order)]),
        return_dict_in_generate=True,
        output_scores=True,
    )
    ours = model.recommend(Cases.from_histories([history]), BEAM)
    written = result.sequences[:, len(prompt) : -1]
    np.testing.assert_array_equal(written, model.vocabulary.item_tokens[ours.items[0]])
    np.testing.assert_allclose(
        ours.scores[0], result.sequences_scores.numpy(), rtol=1e-4, atol=1e-4
    )


@pytest.fixture(scope="module")
def gpt2() -> GPT2LMHeadModel:
    """Knows the trie's tokens alone."""
    torch.manual_seed(0)
    sizes = dict(n_embd=16, n_layer=1, n_head=2, n_positions=64)
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary_size((8, 8, 8)), **sizes)).eval()


@pytest.mark.parametrize("length", [2, 4, 9])
def test_a_decoder_only_model_writes_identifiers_after_prompts_of_any_length(model, gpt2, length):
    trie, items = model.trie, {tuple(row) for row in tokens_of(model.identifiers.codes, (8, 8, 8))}
    gpt2.generation_config = search_config(trie, BEAM)
    prompts = torch.randint(2, 26, (3, length), generator=torch.Generator().manual_seed(length))
    processor = TrieLogitsProcessor(trie, prompt_length=length)
    for _ in range(2):  # an object serves several calls
        rows = gpt2.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            logits_processor=LogitsProcessorList([processor]),
        )[:, length:]
        assert {tuple(row) for row in rows[:, :3].tolist()} <= items
        assert len({tuple(row) for row in rows[:BEAM].tolist()}) == BEAM
        assert (rows[:, 3:] == 1).all()


def test_a_prompt_is_not_taken_for_an_identifier(model, gpt2):
    trie = model.trie
    gpt2.generation_config = search_config(trie, 2)
    begun = torch.tensor([[0, *tokens_of(model.identifiers.codes, (8, 8, 8))[7]]])
    for prompt in (begun, begun[:, 1:], begun[:, :2], torch.tensor([[5, 4, 3, 2, 9, 9]])):
        with pytest.raises(ValueError, match=f"prompt_length={prompt.shape[1]}"):
            gpt2.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                logits_processor=LogitsProcessorList([TrieLogitsProcessor(trie)]),
            )


def test_settings_that_remove_every_identifier_are_refused(model, gpt2):
    gpt2.generation_config = search_config(model.trie, 2)
    gpt2.generation_config.suppress_tokens = list(range(1, 26))
    prompt = torch.tensor([[2, 3]])
    processor = TrieLogitsProcessor(model.trie, prompt_length=2)
    with pytest.raises(ValueError, match="settings of the model"):
        gpt2.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            logits_processor=LogitsProcessorList([processor]),
        )


class Layer(torch.nn.Module):
    """What transformers' attention asks of a layer: how many heads share keys."""

    def __init__(self, groups: int):
        super().__init__()
        self.num_key_value_groups = groups


def attended(attention, groups: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """What an attention gives for 6 heads over causal, padded lists, and the gradients of query,
    key and value.
    """
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(2, heads, 9, 8, generator=generator).to(dtype).requires_grad_()
        for heads in (6, 6 // groups, 6 // groups)
    )
    later = torch.arange(9)[None] > torch.arange(9)[:, None]
    hidden = later | (torch.arange(9) >= torch.tensor([9, 5])[:, None])[:, None]
    found, _ = attention(
        Layer(groups),
        query,
        key,
        value,
        forbid(hidden)[:, None].to(dtype),
        scaling=0.3,
        dropout=0.0,
    )
    weights = torch.randn(found.shape, generator=generator)
    gradients = torch.autograd.grad((found.float() * weights).sum(), (query, key, value))
    return [found.detach(), *gradients]


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_plain_attention_and_its_gradients_are_transformers_own(groups):
    theirs = attended(eager_attention_forward, groups, torch.float32)
    torch.testing.assert_close(
        attended(plain_attention, groups, torch.float32), theirs, rtol=1e-4, atol=1e-5
    )
    assert all(float(one.abs().max()) > 0.1 for one in theirs)


def test_in_bfloat16_plain_attention_rounds_less_than_transformers_own():
    exact = attended(eager_attention_forward, 2, torch.float32)

    def error(attention) -> np.ndarray:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = attended(attention, 2, torch.bfloat16)
        assert all(one.dtype == torch.bfloat16 for one in found)
        return np.array(
            [
                float((one - right).norm() / right.norm())
                for one, right in zip(found, exact, strict=True)
            ]
        )

    ours = error(plain_attention)
    assert (ours < 0.01).all() and (ours < error(eager_attention_forward)).all()


def test_plain_attention_drops_weights_in_training_alone():
    layer, (query, key, value) = Layer(1), torch.randn(3, 1, 2, 4, 8)
    nothing_hidden = torch.zeros(1, 1, 4, 4)
    kept = [
        plain_attention(layer.eval(), query, key, value, nothing_hidden, 1.0, p)[0]
        for p in (0.0, 1.0)
    ]
    torch.testing.assert_close(*kept)
    assert not plain_attention(layer.train(), query, key, value, nothing_hidden, 1.0, 1.0)[0].any()
