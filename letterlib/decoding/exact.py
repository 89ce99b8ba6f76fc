"""The score of every identifier of the catalogue, exactly, each shared prefix computed once.

A beam as wide as the catalogue gives the same scores. Here the trie is read as some long sequences
instead of many short ones: a run of neighbouring leaves and all nodes above them are one sequence,
in which a node sees its ancestors and itself. So neighbours share what they have in common, and the
work is done in a few large matrix products.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from letterlib.decoding.trie import EOS, Trie

RUN = 48
"""Leaves in one sequence. A longer one has more attention, a shorter one shares less."""
RUNS = 4
"""Sequences computed together: few, so that a CPU's caches hold what a layer computes."""


class TreeDecoder(Protocol):
    """What exact scoring asks of a model; `letterlib.generators.tiger.TigerNetwork` has it."""

    def decode_tree(self, tokens: Tensor, steps_up: Tensor, memory: Tensor) -> Tensor: ...


def score_catalogue(model: TreeDecoder, memory: Tensor, trie: Trie, *, tau: float = 1.0) -> Tensor:
    """The log-probability of every identifier and its end token, float32 [batch, n_leaves].

    memory: [batch, S, d_model], the encoded histories, without padding.
    tau: divides the logits first.
    """
    scores = torch.empty(len(memory), trie.n_nodes(trie.n_levels), device=memory.device)
    for part in _parts(trie):
        for row in range(len(memory)):
            logits = model.decode_tree(part.tokens, part.steps_up, memory[row : row + 1]).float()
            scores[row, part.leaves] = part.scores(logits / tau)
    return scores


@dataclass
class _Part:
    """Runs of leaves with the nodes above them, as sequences of up to T nodes from the root on.

    tokens: int64 [runs, T], the token that leads to each node.
    parents: int64 [runs, T], the place of each node's parent; the root's is the root.
    steps_up: int64 [runs, T, T], levels from node t up to its ancestor s; -1 if s is none.
    sequence, place: int64 [n], where each of the leaves is.
    """

    leaves: slice
    tokens: Tensor
    parents: Tensor
    steps_up: Tensor
    sequence: Tensor
    place: Tensor

    def scores(self, logits: Tensor) -> Tensor:
        """The scores of the leaves, from the logits [runs, T, V] of what follows each node."""
        total = logits.logsumexp(dim=2)
        rows = torch.arange(len(logits), device=logits.device)[:, None]
        steps = logits[rows, self.parents, self.tokens] - total.gather(1, self.parents)
        steps[:, 0] = 0.0  # nothing leads to the root
        on_the_way = self.steps_up[self.sequence, self.place] >= 0
        ends = logits[self.sequence, self.place, EOS] - total[self.sequence, self.place]
        return (steps[self.sequence] * on_the_way).sum(dim=1) + ends


def _parts(trie: Trie) -> Iterator[_Part]:
    n_leaves, device = trie.n_nodes(trie.n_levels), trie.token[0].device
    path = torch.stack(trie.path(torch.arange(n_leaves, device=device)))
    for start in range(0, n_leaves, RUN * RUNS):
        runs = path[:, start : start + RUN * RUNS].split(RUN, dim=1)
        tokens, parents, steps_up = zip(*(_sequence(trie, run) for run in runs), strict=True)
        longest = max(len(sequence) for sequence in tokens)
        # The leaves of a run are at the end of its sequence.
        places = [
            torch.arange(len(sequence), device=device)[-run.shape[1] :]
            for sequence, run in zip(tokens, runs, strict=True)
        ]
        yield _Part(
            slice(start, start + sum(map(len, places))),
            pad_sequence(list(tokens), batch_first=True),
            pad_sequence(list(parents), batch_first=True),
            torch.stack([F.pad(up, (0, longest - len(up)) * 2, value=-1) for up in steps_up]),
            torch.cat([torch.full_like(place, i) for i, place in enumerate(places)]),
            torch.cat(places),
        )


def _sequence(trie: Trie, path: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The nodes above neighbouring leaves: tokens [T], parents [T], steps up [T, T].

    path: int64 [L + 1, n], from `Trie.path`. The leaves are at the end.
    """
    tokens = [
        trie.token[level][nodes[0] : nodes[-1] + 1].long() for level, nodes in enumerate(path)
    ]
    sizes = [len(level) for level in tokens]
    # Neighbouring leaves have neighbouring nodes above them: each level is a range of nodes.
    places = (
        path - path[:, :1] + torch.tensor([0, *sizes[:-1]], device=path.device).cumsum(0)[:, None]
    )
    parents = torch.zeros(sum(sizes), dtype=torch.int64, device=path.device)
    parents[places[1:]] = places[:-1]
    steps_up = torch.full((len(parents), len(parents)), -1, device=path.device)
    for level, nodes in enumerate(places):
        for above in range(level + 1):
            steps_up[nodes, places[above]] = level - above
    return torch.cat(tokens), parents, steps_up
