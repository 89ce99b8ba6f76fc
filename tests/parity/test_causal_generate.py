"""Our beams for a causal language model against transformers' own `generate`, which reads the prompt once per beam."""

import numpy as np
import pandas as pd
import pytest
import torch

from letterlib.data.dataset import Cases, Dataset, Sequences
from letterlib.decoding.trie import DictTrie, tokens_of, vocabulary_size
from letterlib.generation.alignment import prompt_of
from letterlib.generation.lcrec import LCRec, LCRecConfig
from letterlib.tokenization.identifiers import Identifiers

N_ITEMS, BEAM = 80, 10


@pytest.fixture(scope="module")
def model() -> LCRec:
    generator = np.random.default_rng(0)
    codes = np.stack(np.unravel_index(generator.permutation(512)[:N_ITEMS], (8, 8, 8)), axis=1)
    config = LCRecConfig(language_model="tiny", history=4, epochs=3, batch_size=8, alignment=0.0, dropout=0.0,
                         learning_rate=5e-3, beam=BEAM, dtype="float32")  # fmt: skip
    items = pd.DataFrame({"title": [f"item {i}" for i in range(N_ITEMS)]})
    walks = Sequences.from_lists([generator.permutation(N_ITEMS)[:20] for _ in range(10)])
    split = Dataset("walks", walks, items, "made up", [str(u) for u in range(10)]).split(1)
    return LCRec(Identifiers(codes, (8, 8, 8)), items["title"], config, 0, "cpu").fit(split)


@pytest.mark.parametrize("history", [[3], [5, 9, 70, 2], []])
def test_the_same_items_with_the_same_scores(model, history):
    identifiers, vocabulary = model.identifiers, model.vocabulary
    prompt = prompt_of(vocabulary, history)
    trie, order = DictTrie(identifiers.codes, identifiers.level_sizes), vocabulary.order
    place = {int(word): token for token, word in enumerate(order[: vocabulary_size(identifiers.level_sizes)])}

    def allowed(_batch: int, tokens: torch.Tensor) -> list[int]:
        written = [place.get(int(one), -1) for one in tokens[len(prompt) :]]
        return [int(order[t]) for t in trie.allowed(written)] or [vocabulary.end]

    result = model.merged().generate(
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
    theirs = [item_of[tuple(place[int(t)] for t in row[len(prompt) : len(prompt) + 3])] for row in result.sequences]
    ours = model.recommend(Cases.from_histories([history]), BEAM)
    np.testing.assert_allclose(ours.scores[0], result.sequences_scores.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours.items[0], theirs)
