"""Beam search against scoring every item by teacher forcing; incremental against full decoding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data import made

from letterlib.decoding import exact as exact_scoring
from letterlib.decoding.beam_search import (
    beam_search,
    beam_search_reference,
    expand_leaves,
    unconstrained_beam_search,
)
from letterlib.decoding.exact import score_catalogue
from letterlib.decoding.trie import EOS, DictTrie, Trie, tokens_of, vocabulary_size
from letterlib.generators.tiger import EncoderDecoderConfig, Tiger, TigerNetwork
from letterlib.tokenizer.identifiers import Identifiers

SIZES = (6, 4, 8)


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.unique(np.stack([generator.integers(0, size, 70) for size in SIZES], axis=1), axis=0)


@pytest.fixture(scope="module")
def trie(codes) -> Trie:
    return Trie.build(codes, SIZES)


@pytest.fixture(scope="module")
def model() -> TigerNetwork:
    torch.manual_seed(0)
    model = TigerNetwork(EncoderDecoderConfig(vocabulary_size(SIZES), 24, 32, 3, 8, 2, 0.0)).eval()
    with torch.no_grad():
        model.decoder_norm.weight.mul_(3)
    return model


@pytest.fixture(scope="module")
def memory(model) -> torch.Tensor:
    tokens = torch.randint(
        2, vocabulary_size(SIZES), (5, 10), generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        return model.encode(tokens)


def teacher_forced(model, memory, codes, tau=1.0) -> torch.Tensor:
    """Log-probability of every identifier and its end token by teacher forcing, [batch,
    n_items].
    """
    sequences = np.pad(tokens_of(codes, SIZES), ((0, 0), (0, 1)), constant_values=EOS)
    targets = torch.from_numpy(sequences).expand(len(memory), -1, -1)
    inputs = torch.cat([torch.zeros_like(targets[..., :1]), targets[..., :-1]], dim=-1)
    with torch.no_grad():
        log_probs = torch.log_softmax(model.decode(inputs, memory) / tau, dim=-1)
    return log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1).sum(-1)


class GivenLogits:
    """A decoder that has no weights: the logits of a step depend on the row and the place alone."""

    def __init__(self, logits: torch.Tensor):
        self.logits = logits  # [levels + 1, rows, V]

    def start(self, memory: torch.Tensor) -> "GivenLogits":
        """memory: which of the rows, int64 [batch]."""
        self.rows, self.place = memory, -1
        return self

    def follow(self, parents: torch.Tensor) -> None:
        pass

    def step(self, tokens: torch.Tensor, state: "GivenLogits") -> torch.Tensor:
        self.place += 1
        return self.logits[self.place, self.rows].unsqueeze(1).expand(-1, tokens.shape[1], -1)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    beam=st.integers(1, 20),
    shared=st.booleans(),
    n_items=st.integers(1, 60),
    left_out=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_the_fast_search_finds_what_the_plain_one_finds(seed, beam, shared, n_items, left_out):
    """The same items and the very same scores: among equal ones (logits of four values tie all the
    time), where items share identifiers, and without the items of two different histories.
    """
    generator, sizes = np.random.default_rng(seed), (5, 6, 7)
    codes = np.stack([generator.integers(0, size, n_items) for size in sizes], axis=1)
    trie = Trie.build(codes, (7, 7, 7) if shared else sizes, seed, shared_vocabulary=shared)
    logits = torch.from_numpy(generator.integers(0, 4, (4, 2, trie.vocabulary_size))).float()
    memory = torch.arange(2)
    rows, gone = np.nonzero(generator.random((2, n_items)) < left_out)
    dead = [torch.from_numpy(level) for level in trie.dead_nodes(rows, gone, 2)]
    leaves, scores = beam_search(
        GivenLogits(logits), memory, trie, beam, tau=0.7, dead=dead if len(rows) else None
    )
    items, scores = expand_leaves(trie, leaves.numpy(), scores.numpy(), n_items, (rows, gone))
    for row in range(2):
        history = gone[rows == row]
        plain = beam_search_reference(
            GivenLogits(logits), memory[row : row + 1], trie, beam, tau=0.7, excluded=history
        )
        found = items[row] >= 0
        assert [item for item, _ in plain] == items[row][found].tolist()
        assert [score for _, score in plain] == scores[row][found].tolist()


@pytest.mark.parametrize("exclude_history", [False, True])
def test_a_small_tiger_recommends_what_the_plain_search_finds(exclude_history):
    generator = np.random.default_rng(0)
    split = made([list((6 * user + np.arange(14)) % 40) for user in range(12)], 40).split(1)
    codes = np.stack(np.unravel_index(generator.permutation(125)[:40], (5, 5, 5)), axis=1)
    codes[7:9] = codes[7]  # two items of one identifier
    sizes = dict(d_model=16, d_ff=32, n_heads=2, d_head=8, n_layers=1, dtype="float32")
    tiger = Tiger(Identifiers(codes, (5, 5, 5)), device="cpu", epochs=4, **sizes).fit(split)
    cases = split.cases("test")[np.arange(6)]
    ranking = tiger.recommend(cases, 10, exclude_history=exclude_history, beam=10)
    for row in range(6):
        case = cases[np.array([row])]
        excluded = case.flat_histories()[1] if exclude_history else ()
        with torch.no_grad():
            memory = tiger._memory(case)
            plain = beam_search_reference(tiger.network, memory, tiger.trie, 10, excluded=excluded)
        items, scores = zip(*plain[:10], strict=True)
        assert list(items) == ranking.items[row].tolist()
        np.testing.assert_allclose(scores, ranking.scores[row], rtol=1e-4)


@pytest.mark.parametrize("tau", [1.0, 0.6])
def test_a_wide_beam_scores_the_whole_catalogue_exactly(model, memory, trie, codes, tau):
    exact = teacher_forced(model, memory, codes, tau)
    with torch.no_grad():
        leaves, scores = beam_search(model, memory, trie, len(codes), tau=tau)
    assert (scores[:, :-1] >= scores[:, 1:]).all()
    assert (scores - exact.gather(1, leaves)).abs().max() < 1e-4
    assert torch.equal(leaves, exact.argsort(dim=1, descending=True))


@pytest.mark.parametrize(("run", "runs"), [(1, 1), (7, 2), (48, 16)])
@pytest.mark.parametrize("tau", [1.0, 0.6])
def test_shared_prefixes_change_no_score(model, memory, trie, codes, tau, run, runs, monkeypatch):
    """Also where the leaves are cut into many short sequences, the last of them shorter."""
    monkeypatch.setattr(exact_scoring, "RUN", run)
    monkeypatch.setattr(exact_scoring, "RUNS", runs)
    with torch.no_grad():
        scores = score_catalogue(model, memory, trie, tau=tau)
    assert (scores - teacher_forced(model, memory, codes, tau)).abs().max() < 1e-4


def test_incremental_decoding_equals_full_decoding(model, memory):
    """Also when sequences change their parent on the way."""
    generator = torch.Generator().manual_seed(2)
    state = model.start(memory)
    sequences = torch.zeros(len(memory), 1, 0, dtype=torch.int64)
    for width in (1, 4, 7, 3):
        parents = torch.randint(0, sequences.shape[1], (len(memory), width), generator=generator)
        new = torch.randint(0, vocabulary_size(SIZES), (len(memory), width, 1), generator=generator)
        rows = torch.arange(len(memory))[:, None]
        sequences = torch.cat([sequences[rows, parents], new], dim=2)
        with torch.no_grad():
            state.follow(parents)
            step = model.step(new.squeeze(2), state)
            full = model.decode(sequences, memory)[:, :, -1]
        assert (step - full).abs().max() < 1e-5


class _Reciting:
    """A model that says the same whatever was written: logits [L + 1, V], one row a place."""

    def __init__(self, logits):
        self.logits = logits

    def start(self, memory):
        self.place = -1
        return self

    def follow(self, parents):
        pass

    def step(self, tokens, state):
        self.place += 1
        return self.logits[self.place].expand(*tokens.shape, -1)


def test_a_sequence_that_does_not_end_is_no_item():
    trie = Trie.build(np.array([[0], [1]]), (2,))
    logits = torch.full((2, 4), -9.0)
    logits[0, 2] = logits[1, 3] = 0
    logits[1, EOS] = -1
    leaves, _ = unconstrained_beam_search(_Reciting(logits), torch.zeros(1, 1, 1), trie, 2)
    assert leaves.tolist() == [[-1, 0]]


def searched(logits: torch.Tensor, trie: Trie, beam: int) -> tuple[torch.Tensor, torch.Tensor]:
    return beam_search(GivenLogits(logits), torch.arange(logits.shape[1]), trie, beam)


@pytest.mark.parametrize("place", [1, 2])
def test_logits_of_other_beams_are_refused_at_every_step(place):
    class Narrow(_Reciting):
        def step(self, tokens, state):
            logits = super().step(tokens, state)
            return logits[:, :1] if self.place == place else logits

    trie = Trie.build(np.array([[0, 0], [1, 1]]), (2, 2))
    with pytest.raises(ValueError, match=r"\[1, 1, 6\].*\[1, 2, 6 or more\]"):
        beam_search(Narrow(torch.zeros(3, 6)), torch.zeros(1, 1, 1), trie, 2)


def without_masks(codes: np.ndarray, sizes: tuple[int, ...], shared: bool) -> Trie:
    trie = Trie.build(codes, sizes, shared_vocabulary=shared)
    trie.__dict__["masks"] = [None] * len(sizes)
    return trie


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    beam=st.integers(1, 30),
    shared=st.booleans(),
    n_items=st.integers(1, 150),
)
def test_a_mask_finds_what_lists_of_children_find(seed, beam, shared, n_items):
    """Bit for bit and in the same order, also among equal scores: logits of four values tie all the
    time.
    """
    generator, sizes = np.random.default_rng(seed), (5, 6, 7)
    codes = np.stack([generator.integers(0, size, n_items) for size in sizes], axis=1)
    trie = Trie.build(codes, sizes, shared_vocabulary=shared)
    assert trie.masks[0] is not None
    logits = torch.from_numpy(generator.integers(0, 4, (4, 3, trie.vocabulary_size))).float()
    for mine, listed in zip(
        searched(logits, trie, beam),
        searched(logits, without_masks(codes, sizes, shared), beam),
        strict=True,
    ):
        assert torch.equal(mine, listed)


@pytest.mark.parametrize("at_a_time", [2048, 3])
def test_masks_allow_what_the_dictionary_allows(at_a_time, monkeypatch):
    monkeypatch.setattr("letterlib.decoding.trie._ROWS", at_a_time)
    sizes = (4, 30, 40)
    codes = np.random.default_rng(0).integers(0, sizes, (60, 3))
    trie, dictionary = Trie.build(codes, sizes), DictTrie(codes, sizes)
    assert [mask is None for mask in trie.masks] == [
        False,
        False,
        True,
    ]  # the last would be mostly -inf
    for level, mask in enumerate(trie.masks[:2]):
        nodes = torch.arange(trie.n_nodes(level))
        prefixes = torch.stack(
            [trie.tokens(i, one) for i, one in enumerate(trie.path(nodes, level))], dim=1
        )[:, 1:]
        scores = torch.rand(len(nodes), mask.bias.shape[1])
        masked = mask.apply(nodes, scores.clone())
        assert torch.equal(masked[masked.isfinite()], scores[masked.isfinite()])
        assert (masked[~masked.isfinite()] == -torch.inf).all()
        for prefix, row in zip(prefixes.tolist(), masked, strict=True):
            assert (row.isfinite().nonzero().flatten() + mask.first).tolist() == dictionary.allowed(
                prefix
            )
