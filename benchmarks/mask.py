"""One step of holding beams to the catalogue, and transformers' prefix constraint."""

import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from transformers.generation.logits_process import PrefixConstrainedLogitsProcessor

from benchmarks.beauty import LEVEL_SIZES, Beauty
from benchmarks.common import Row, Settings, Spread, alone, named, timed
from benchmarks.decode import BEAM, PrefixTable
from letterlib.decoding import beam_search
from letterlib.decoding.logits_processor import TrieLogitsProcessor
from letterlib.decoding.trie import Trie
from letterlib.hardware import keep_freed_memory

USERS = 640
STEPS = (1, 2, 3)
"""Lengths of the prefixes: the steps after the first, at which every beam has a place of its own.
"""


class Beams:
    """Users with 20 beams each, which stand at different random nodes of a level, as the beams of a
    search do.

    A level with fewer than 20 nodes has one beam at each.
    """

    def __init__(self, trie: Trie, n_users: int, seed: int):
        self.trie, self.n_users, self.seed = trie, n_users, seed
        torch.manual_seed(seed)
        self.log_probs = torch.randn(n_users, BEAM, trie.vocabulary_size).log_softmax(-1)
        self.scores = torch.randn(n_users, BEAM)

    def nodes(self, level: int) -> torch.Tensor:
        """Where the beams stand, int64 [n_users, beam], ascending as in a search: one in each
        twentieth of a level.
        """
        n_nodes = self.trie.n_nodes(level)
        edges = np.linspace(0, n_nodes, min(BEAM, n_nodes) + 1).astype(np.int64)
        drawn = np.random.default_rng([self.seed, level]).random((self.n_users, len(edges) - 1))
        return torch.from_numpy(edges[:-1] + (drawn * np.diff(edges)).astype(np.int64))

    def prefixes(self, level: int) -> torch.Tensor:
        """What `generate` would have decoded to get there, int64 [n_users * beam, 1 + level], the
        start token first.
        """
        path = self.trie.path(self.nodes(level).flatten(), level)
        return torch.stack([self.trie.tokens(depth, one) for depth, one in enumerate(path)], dim=1)

    def masking(self, level: int) -> Callable[[], torch.Tensor]:
        """A function that masks as `beam_search` does at this level; it returns the scores of the
        allowed children.

        With a mask: scores of all tokens of the level, which a search has added up by then, the
        others -inf. Without
        one: a list, children alone, added up in the same step.
        """
        nodes, mask = self.nodes(level), self.trie.masks[level]
        scores, log_probs = (
            one[:, : nodes.shape[1]].contiguous() for one in (self.scores, self.log_probs)
        )
        if mask is None:
            return lambda: beam_search._expand(self.trie, level, nodes, scores, log_probs).score
        added = log_probs[:, :, mask.first : mask.first + mask.bias.shape[1]] + scores.unsqueeze(2)
        return lambda: mask.apply(nodes, added)  # in place: once more changes nothing


class Peer:
    """transformers' processor, with the prefixes and scores that `generate` would give it."""

    def __init__(self, settings: Settings):
        codes = Beauty.load(settings).identifiers.codes
        self.beams = Beams(Trie.build(codes, LEVEL_SIZES), USERS, settings.seed)
        self.processor = PrefixConstrainedLogitsProcessor(PrefixTable(codes, LEVEL_SIZES), BEAM)
        self.scores = self.beams.log_probs.flatten(0, 1)
        self.prefixes = [self.beams.prefixes(length) for length in STEPS]


def peer_ms(settings: Settings) -> list[float]:
    """Milliseconds of the peer's steps, one for each of STEPS."""
    peer = Peer(settings)
    steps = [partial(peer.processor, prefixes, peer.scores) for prefixes in peer.prefixes]
    return [_ms(step, settings.pick(3, 1)) for step in steps]


def measure(settings: Settings) -> list[Row]:
    keep_freed_memory()  # as `recommend` does before it searches
    peer = Peer(settings)
    beams, trie, processor = peer.beams, peer.beams.trie, TrieLogitsProcessor(peer.beams.trie)
    steps = [beams.masking(length) for length in STEPS]
    masked = [peer.processor(prefixes, peer.scores) for prefixes in peer.prefixes]
    found = [processor.masked(prefixes[:, 1:], peer.scores) for prefixes in peer.prefixes]
    checks = [
        _same_scores(beams, *step)
        for step in zip(STEPS, [step() for step in steps], masked, strict=True)
    ]
    same = all(map(torch.equal, found, masked))
    checks.append(f"masked scores {'' if same else 'NOT '}identical")

    ours, theirs = [], []
    for _ in range(settings.pick(5, 1)):
        mean = _ms(lambda: [processor.masked(p[:, 1:], peer.scores) for p in peer.prefixes], 5) / 3
        ours.append([*(_ms(step, 20) for step in steps), mean])
        times = alone(peer_ms, settings)
        theirs.append([*times, statistics.mean(times)])
    sides = [[Spread(column) for column in zip(*side, strict=True)] for side in (ours, theirs)]
    ways = ["a list" if trie.masks[length] is None else "a mask" for length in STEPS]
    names = [f"after {n} code(s), by {way}" for n, way in zip(STEPS, ways, strict=True)]
    names.append("mean of the three, as a LogitsProcessor")
    return [
        Row(
            what=f"One masking step, 12,800 beams, 12,101 items, {name}",
            unit="ms",
            ours=our,
            peer=their,
            peer_name=named("transformers") + " PrefixConstrainedLogitsProcessor",
            better="less",
            goal=200.0 if name.startswith("after") else None,
            note=(
                "640 users x 20 beams at random nodes; peer: a dictionary from prefix to allowed "
                "tokens, in a process of its own. Ours: after a code, what a step of beam_search "
                "does, sums of scores included if by a list; as a LogitsProcessor, the same "
                "interface as the peer's, all 12,800 x 1,026 scores written on both sides."
            ),
            check=check,
        )
        for name, our, their, check in zip(names, *sides, checks, strict=True)
    ]


def _ms(step: Callable[[], object], rounds: int) -> float:
    """Milliseconds of one step, the mean of some rounds after one that is not counted."""
    step()
    return timed(lambda: [step() for _ in range(rounds)]) * 1e3 / rounds


def _same_scores(beams: Beams, length: int, found: torch.Tensor, masked: torch.Tensor) -> str:
    """Whether our step leaves the same scores as the peer, which masks before scores are added
    up.
    """
    nodes = beams.nodes(length)
    sums = masked + beams.scores[:, : nodes.shape[1]].reshape(-1, 1)
    mine, theirs = found[found.isfinite()], sums[sums.isfinite()]
    return (
        f"scores of allowed children {'' if torch.equal(mine, theirs) else 'NOT '}identical: "
        f"{len(theirs):,}"
    )
