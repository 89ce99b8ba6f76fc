"""Our beams against transformers' `generate`, held to the same catalogue: the same sequences and
scores.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList

from letterlib import hardware
from letterlib.decoding.beam_search import beam_search, unconstrained_beam_search
from letterlib.decoding.logits_processor import TrieLogitsProcessor, search_config
from letterlib.decoding.trie import EOS, PAD, DictTrie, Trie, tokens_of, vocabulary_size
from letterlib.generators.p5 import to_transformers
from letterlib.generators.tiger import EncoderDecoderConfig, TigerNetwork

SIZES = (7, 12, 9, 5)
HISTORIES = 6


class Case:
    def __init__(self):
        generator = np.random.default_rng(0)
        codes = np.stack([generator.integers(0, size, 400) for size in SIZES], axis=1)
        self.codes = np.unique(codes, axis=0)
        self.trie, self.dictionary = Trie.build(self.codes, SIZES), DictTrie(self.codes, SIZES)
        self.tokens_of_leaf = torch.from_numpy(
            tokens_of(self.codes, SIZES)
        )  # sorted, so row = leaf
        torch.manual_seed(1)
        self.model = TigerNetwork(
            EncoderDecoderConfig(vocabulary_size(SIZES), 32, 64, 4, 8, 2, 0.0)
        ).eval()
        with (
            torch.no_grad()
        ):  # spread the scores, so that no two beams are within rounding of each other
            self.model.decoder_norm.weight.mul_(3)
        self.t5 = to_transformers(self.model)
        self.history = torch.randint(2, vocabulary_size(SIZES), (HISTORIES, 13))
        self.mask = torch.ones_like(self.history, dtype=torch.bool)
        self.mask[1, :6] = self.mask[4, :3] = False
        self.history[~self.mask] = 0

    @torch.no_grad()
    def searched(self, search: Callable, beam: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Leaves and scores of histories as they are, one by one; `theirs` pads them all to one
        length.
        """
        with hardware.fast_float32():
            memories = [
                self.model.encode(row[real][None])
                for row, real in zip(self.history, self.mask, strict=True)
            ]
            found = [search(self.model, memory, self.trie, beam) for memory in memories]
        leaves, scores = (torch.cat(part) for part in zip(*found, strict=True))
        return leaves, scores

    def ours(self, beam: int) -> tuple[torch.Tensor, torch.Tensor]:
        leaves, scores = self.searched(beam_search, beam)
        return self.tokens_of_leaf[leaves], scores

    def theirs(self, beam: int, **constraint) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.t5.generate(
            input_ids=self.history,
            attention_mask=self.mask.long(),
            num_beams=beam,
            num_return_sequences=beam,
            max_new_tokens=len(SIZES) + 1,
            length_penalty=0.0,
            do_sample=False,
            return_dict_in_generate=True,
            output_scores=True,
            **constraint,
        )
        sequences = out.sequences.view(HISTORIES, beam, -1)
        assert (sequences[:, :, -1] == EOS).all()
        return sequences[:, :, 1:-1], out.sequences_scores.view(HISTORIES, beam)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


@pytest.mark.parametrize("beam", [10, 20, 50])
@pytest.mark.parametrize("holds_back", [False, True])
def test_beams_equal_generate_with_prefix_allowed_tokens(case, beam, holds_back, monkeypatch):
    if holds_back and torch.cpu._is_amx_tile_supported():
        pytest.skip("a processor with a matrix unit never takes the other library for float32")
    monkeypatch.setattr(hardware, "_mkl_holds_back", lambda: holds_back)

    def allowed(_, prefix):
        return case.dictionary.allowed(prefix.tolist()[1:]) or [0]

    sequences, scores = case.theirs(beam, prefix_allowed_tokens_fn=allowed)
    ours, our_scores = case.ours(beam)
    assert torch.equal(ours, sequences)
    assert (our_scores - scores).abs().max() < 1e-4


@pytest.mark.parametrize("beam", [10, 20, 50])
def test_beams_equal_generate_with_our_logits_processor(case, beam):
    processors = LogitsProcessorList([TrieLogitsProcessor(case.trie)])
    sequences, scores = case.theirs(beam, logits_processor=processors)
    ours, our_scores = case.ours(beam)
    assert torch.equal(ours, sequences)
    assert (our_scores - scores).abs().max() < 1e-4


def test_logits_processor_in_greedy_search_and_sampling(case):
    identifiers = {tuple(row) for row in case.tokens_of_leaf.tolist()}
    processors = LogitsProcessorList([TrieLogitsProcessor(case.trie)])
    for sampled in (False, True):
        torch.manual_seed(0)
        # Longer than an identifier: after the end token nothing but padding may come.
        sequences = case.t5.generate(
            case.history,
            do_sample=sampled,
            max_new_tokens=len(SIZES) + 3,
            logits_processor=processors,
        )
        for row in sequences[:, 1:].tolist():
            assert tuple(row[: len(SIZES)]) in identifiers
            assert row[len(SIZES)] == EOS and not any(row[len(SIZES) + 1 :])


def test_logits_processor_keeps_scores_it_allows(case):
    scores = torch.randn(3, vocabulary_size(SIZES))
    prefixes = torch.tensor([[0, *case.tokens_of_leaf[i, :2].tolist()] for i in (0, 100, 200)])
    masked = TrieLogitsProcessor(case.trie).masked(prefixes[:, 1:], scores)
    for row, prefix in enumerate(prefixes.tolist()):
        allowed = case.dictionary.allowed(prefix[1:])
        assert torch.equal(masked[row, allowed], scores[row, allowed])
        assert torch.isneginf(masked[row]).sum() == scores.shape[1] - len(allowed)


def test_unconstrained_beams_equal_generate(case):
    """On this random model no beam ends early, so transformers' free beam search is the same
    search.
    """
    out = case.t5.generate(
        input_ids=case.history,
        attention_mask=case.mask.long(),
        num_beams=8,
        num_return_sequences=8,
        max_new_tokens=len(SIZES) + 1,
        length_penalty=0.0,
        eos_token_id=None,
        return_dict_in_generate=True,
        output_scores=True,
    )
    leaves, scores = case.searched(unconstrained_beam_search, 8)
    assert (scores - out.sequences_scores.view(HISTORIES, 8)).abs().max() < 1e-4
    identifiers = {tuple(row): leaf for leaf, row in enumerate(case.tokens_of_leaf.tolist())}
    sequences = out.sequences.view(HISTORIES, 8, -1)[:, :, 1:].tolist()
    for row, beams in enumerate(sequences):
        expected = [identifiers.get(tuple(s[:-1]), -1) if s[-1] == EOS else -1 for s in beams]
        assert leaves[row].tolist() == expected


def test_the_search_config_fixes_what_a_models_own_settings_would_change():
    trie = Trie.build(np.array([[0, 1], [1, 0]]), (2, 2))
    wanted = dict(num_beams=7, num_return_sequences=7, max_new_tokens=3, length_penalty=0.0)
    wanted |= dict(do_sample=False, early_stopping=True)
    numbers = dict(eos_token_id=EOS, pad_token_id=PAD, decoder_start_token_id=PAD)
    found = search_config(trie, 7).to_dict()
    assert {name: found[name] for name in (wanted | numbers)} == wanted | numbers
    numbers = dict(eos_token_id=EOS + 10, pad_token_id=PAD + 10, decoder_start_token_id=PAD + 10)
    found = search_config(trie, 7, torch.arange(10, 16)).to_dict()
    assert {name: found[name] for name in (wanted | numbers)} == wanted | numbers
    assert search_config(trie, 7, torch.arange(10, 16), pad=3).pad_token_id == 3


def test_the_processor_writes_in_the_models_numbers_and_needs_all_of_them():
    trie = Trie.build(np.array([[0, 1], [1, 0]]), (2, 2))
    processor = TrieLogitsProcessor(trie, 1, torch.arange(10, 16))
    written = torch.tensor([[12], [13], [9]])  # <a_0>, <a_1>, and none of the trie's
    found = processor.masked(written, torch.zeros(3, 16))
    assert found.isfinite().nonzero().tolist() == [[0, 15], [1, 14], [2, 10]]
    with pytest.raises(ValueError):
        processor.masked(written, torch.zeros(3, 15))
