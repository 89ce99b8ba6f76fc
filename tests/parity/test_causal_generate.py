"""Our beams for a causal language model against transformers' own `generate`, which reads the
prompt once per beam.

And our attention against theirs.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from transformers.models.llama.modeling_llama import eager_attention_forward

from letterlib.data.dataset import Cases, Dataset, Sequences
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
