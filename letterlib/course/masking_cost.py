"""What one step of masked beam search costs in lesson 08: a dictionary, transformers' prefix
function, arrays.

The same beams in all three: histories whose beams stand at different nodes of one level, as in a
search. Each implementation finds the allowed children of every beam and their scores.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import torch
from torch import Tensor
from transformers.generation.logits_process import PrefixConstrainedLogitsProcessor

from letterlib.decoding import beam_search
from letterlib.decoding.trie import DictTrie, Trie

LEVEL_SIZES = (256,) * 4
HISTORIES, BEAM = 64, 20
"""A batch of the library on a CPU, each history with the beams of the protocol."""
DICTIONARY, PREFIX_FUNCTION, ARRAYS = "dictionary", "transformers, prefix function", "arrays"


@dataclass(frozen=True)
class Cost:
    """seconds: of one step, by implementation. children: allowed in a step. build: seconds, by kind
    of trie.
    """

    n_items: int
    seconds: dict[str, float]
    children: int
    build: dict[str, float]


def measure(n_items: int, seed: int, repeats: int = 5) -> Cost:
    """One catalogue of random identifiers; means over the steps after one, two and three codes,
    medians of repeats.
    """
    generator = np.random.default_rng([seed, n_items])
    codes = generator.integers(0, 256, (n_items, len(LEVEL_SIZES)))
    tries, build = {}, {}
    for kind in (DictTrie, Trie.build):
        kind(codes[:1000], LEVEL_SIZES)  # not counted: the first time, much is loaded
    for name, kind in ((DICTIONARY, DictTrie), (ARRAYS, Trie.build)):
        gc.disable()  # or it looks through millions of young dictionaries again and again
        try:
            started = time.perf_counter()
            tries[name] = kind(codes, LEVEL_SIZES)
            build[name] = time.perf_counter() - started
        finally:
            gc.enable()
    steps = [Step(tries[DICTIONARY], tries[ARRAYS], level, generator) for level in (1, 2, 3)]
    seconds = {}
    for name, work in WAYS.items():
        _timed(work, steps)  # not counted: the first time, memory is looked up for the first time
        seconds[name] = statistics.median(_timed(work, steps) for _ in range(repeats)) / len(steps)
    return Cost(n_items, seconds, sum(step.n_children for step in steps) // len(steps), build)


def _timed(work: Callable[["Step"], Tensor], steps: list["Step"]) -> float:
    started = time.perf_counter()
    for step in steps:
        work(step)
    return time.perf_counter() - started


class Step:
    """Beams that stand at nodes of `level`, and the log-probabilities that a model would give for
    what follows.
    """

    def __init__(
        self, dictionary: DictTrie, trie: Trie, level: int, generator: np.random.Generator
    ):
        self.dictionary, self.trie, self.level = dictionary, trie, level
        n_nodes = trie.n_nodes(level)
        width = min(BEAM, n_nodes)
        # One beam in each twentieth of the level.
        edges = np.linspace(0, n_nodes, width + 1).astype(np.int64)
        drawn = generator.random((HISTORIES, width)) * np.diff(edges)
        self.nodes = torch.from_numpy(edges[:-1] + drawn.astype(np.int64))
        values = generator.standard_normal(
            (HISTORIES, width, trie.vocabulary_size), dtype=np.float32
        )
        self.log_probs = torch.from_numpy(values).log_softmax(-1)
        self.scores = torch.from_numpy(
            generator.standard_normal((HISTORIES, width), dtype=np.float32)
        )
        # The tokens that lead to each node, [histories * width, 1 + level], the start token first.
        path = trie.path(self.nodes.flatten(), level)
        tokens = [trie.tokens(depth, nodes) for depth, nodes in enumerate(path)]
        self.prefixes, self.width = torch.stack(tokens, dim=1), width

    @property
    def n_children(self) -> int:
        begin, end = self.trie.children(self.level, self.nodes)
        return int((end - begin).sum())

    def by_dictionary(self) -> Tensor:
        """Every beam has its node at hand; the scores of its children are read out one beam at a
        time.
        """
        found = []
        for node, row, score in zip(
            self._standing, self.log_probs.flatten(0, 1), self.scores.flatten(), strict=True
        ):
            found.append(row[list(node)] + score)
        return torch.cat(found)

    @cached_property
    def _standing(self) -> list[dict]:
        return [
            reduce(dict.__getitem__, prefix[1:], self.dictionary.root)
            for prefix in self.prefixes.tolist()
        ]

    def by_function(self) -> Tensor:
        """transformers asks for the tokens allowed after every prefix, and writes -inf everywhere
        else.
        """

        def allowed(history: int, prefix: Tensor) -> list[int]:
            return self.dictionary.allowed(prefix.tolist()[1:])

        processor = PrefixConstrainedLogitsProcessor(allowed, self.width)
        masked = processor(self.prefixes, self.log_probs.flatten(0, 1))
        return masked + self.scores.view(-1, 1)

    def by_arrays(self) -> Tensor:
        """The step of `beam_search` where few tokens are allowed: the children of all beams as one
        flat list.
        """
        return beam_search._expand(
            self.trie, self.level, self.nodes, self.scores, self.log_probs
        ).score


WAYS: dict[str, Callable[[Step], Tensor]] = {
    DICTIONARY: Step.by_dictionary,
    PREFIX_FUNCTION: Step.by_function,
    ARRAYS: Step.by_arrays,
}
"""Each makes a step and returns its children's scores."""
