"""One step of holding beams to the catalogue: what it costs beside transformers' prefix constraint."""

from collections.abc import Callable

import numpy as np
import torch
from transformers.generation.logits_process import PrefixConstrainedLogitsProcessor

from benchmarks.beauty import LEVEL_SIZES, Beauty
from benchmarks.common import Row, Settings, compare, named, timed
from benchmarks.decode import BEAM, PrefixTable
from letterlib.decoding import beam_search
from letterlib.decoding.logits_processor import TrieLogitsProcessor
from letterlib.decoding.trie import Trie
from letterlib.processor import keep_freed_memory

USERS = 640
STEPS = (1, 2, 3)
"""Lengths of the prefixes: the steps after the first, at which every beam has a place of its own."""


class Beams:
    """Users with 20 beams each, which stand at different random nodes of a level, as the beams of a search do.

    A level with fewer than 20 nodes has one beam at each.
    """

    def __init__(self, trie: Trie, n_users: int, seed: int):
        self.trie, self.n_users, self.seed = trie, n_users, seed
        torch.manual_seed(seed)
        self.log_probs = torch.randn(n_users, BEAM, trie.vocabulary_size).log_softmax(-1)
        self.scores = torch.randn(n_users, BEAM)

    def nodes(self, level: int) -> torch.Tensor:
        """Where the beams stand, int64 [n_users, beam], ascending as in a search: one in each twentieth of a level."""
        n_nodes = self.trie.n_nodes(level)
        edges = np.linspace(0, n_nodes, min(BEAM, n_nodes) + 1).astype(np.int64)
        drawn = np.random.default_rng([self.seed, level]).random((self.n_users, len(edges) - 1))
        return torch.from_numpy(edges[:-1] + (drawn * np.diff(edges)).astype(np.int64))

    def prefixes(self, level: int) -> torch.Tensor:
        """What `generate` would have decoded to get there, int64 [n_users * beam, 1 + level], the start token first."""
        path = self.trie.path(self.nodes(level).flatten(), level)
        return torch.stack([self.trie.tokens(depth, one) for depth, one in enumerate(path)], dim=1)

    def expansion(self, level: int) -> Callable[[], object]:
        """A function that makes one step as `beam_search` does: the allowed children and their scores."""
        nodes = self.nodes(level)
        scores, log_probs = (one[:, : nodes.shape[1]].contiguous() for one in (self.scores, self.log_probs))
        return lambda: beam_search._expand(self.trie, level, nodes, scores, log_probs)


def measure(settings: Settings) -> list[Row]:
    keep_freed_memory()  # as `recommend` does before it searches; both sides have it
    codes = Beauty.load(settings).identifiers.codes
    beams = Beams(Trie.build(codes, LEVEL_SIZES), USERS, settings.seed)
    ours = TrieLogitsProcessor(beams.trie)
    peer = PrefixConstrainedLogitsProcessor(PrefixTable(codes, LEVEL_SIZES), BEAM)

    log_probs, prefixes = beams.log_probs.flatten(0, 1), {length: beams.prefixes(length) for length in STEPS}

    def processed(processor) -> Callable[[int], torch.Tensor]:
        return lambda length: processor(prefixes[length], log_probs)

    expansions = {length: beams.expansion(length) for length in STEPS}
    rows, repeats, like = [], settings.pick(7, 3), _same(processed(ours), processed(peer))
    for length in STEPS:
        children = _same_children(expansions[length](), processed(peer)(length))
        spreads = compare(
            lambda n=length: _ms(expansions[n], 20), lambda n=length: _ms(lambda: processed(peer)(n), 1), repeats
        )
        rows.append(_row(settings, f"after {length} code(s)", spreads, 200.0, _BEAM_NOTE, children))

    def all_steps(processor) -> Callable[[], object]:
        return lambda: [processed(processor)(length) for length in STEPS]

    spreads = compare(lambda: _ms(all_steps(ours), 5) / 3, lambda: _ms(all_steps(peer), 1) / 3, repeats)
    return [*rows, _row(settings, "mean of the three, as a LogitsProcessor", spreads, None, _PROCESSOR_NOTE, like)]


def _ms(step: Callable[[], object], rounds: int) -> float:
    """Milliseconds of one step, the mean of some rounds after one that is not counted."""
    if rounds > 1:
        step()
    return timed(lambda: [step() for _ in range(rounds)]) * 1e3 / rounds


def _row(settings: Settings, which: str, spreads: tuple, goal: float | None, note: str, check: str) -> Row:
    return Row(
        what=f"One masking step, 12,800 beams, 12,101 items, {which}",
        unit="ms",
        ours=spreads[0],
        peer=spreads[1],
        peer_name=named("transformers") + " PrefixConstrainedLogitsProcessor",
        better="less",
        goal=goal,
        threads=settings.threads,
        dtype="float32 on both sides",
        note=f"640 users x 20 beams at random nodes; peer: a dictionary from prefix to allowed tokens. {note}",
        check=check,
    )


_BEAM_NOTE = "Ours: the step of beam_search, which looks only at children and also adds up their scores."
_PROCESSOR_NOTE = "Ours: the same interface as the peer's, all 12,800 x 1,026 scores written on both sides."


def _same(ours: Callable[[int], torch.Tensor], peer: Callable[[int], torch.Tensor]) -> str:
    equal = all(torch.equal(ours(length), peer(length)) for length in STEPS)
    return "masked scores identical" if equal else "masked scores NOT identical"


def _same_children(expansion: beam_search._Children, masked: torch.Tensor) -> str:
    """Whether the step of beam search finds as many children as the peer allows."""
    mine, theirs = len(expansion.node), int(masked.isfinite().sum())
    return f"allowed children {'equal' if mine == theirs else 'NOT equal'}: {mine:,} and {theirs:,}"
