"""The catalogue's identifiers as a prefix tree.

`DictTrie` shows what the tree is; tests and course compare with it. Both searches use `Trie`.

Tokens are numbered 0 for padding (it also starts the decoder), 1 for the end of a sequence, then
level by level: code c of level l is token 2 + (sizes of the levels before l) + c. If the levels
share one vocabulary, code c is token 2 + c at every level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

PAD, EOS = 0, 1
_FIRST_CODE = 2


def vocabulary_size(level_sizes: Sequence[int], shared_vocabulary: bool = False) -> int:
    """Pad, end of sequence, and one token per code of every level, or of all levels together."""
    return _FIRST_CODE + (max(level_sizes) if shared_vocabulary else sum(level_sizes))


def tokens_of(
    codes: np.ndarray, level_sizes: Sequence[int], shared_vocabulary: bool = False
) -> np.ndarray:
    """Codes [..., L] as tokens, int64 [..., L]. A code out of its level's range is a ValueError."""
    codes = np.asarray(codes, dtype=np.int64)
    if codes.size and (
        codes.min() < 0 or (codes.reshape(-1, len(level_sizes)).max(axis=0) >= level_sizes).any()
    ):
        raise ValueError(
            f"a code is below 0, or not below its level's size in {tuple(level_sizes)}"
        )
    before = 0 if shared_vocabulary else np.concatenate([[0], np.cumsum(level_sizes)[:-1]])
    return codes + _FIRST_CODE + before


class DictTrie:
    """The trie in its plainest form: each node is a dictionary from token to next node.

    codes: int64 [n_items, L].
    """

    def __init__(
        self, codes: np.ndarray, level_sizes: Sequence[int], shared_vocabulary: bool = False
    ):
        self.root: dict[int, dict] = {}
        for tokens in tokens_of(codes, level_sizes, shared_vocabulary).tolist():
            node = self.root
            for token in [*tokens, EOS]:
                node = node.setdefault(token, {})

    def allowed(self, prefix: Sequence[int]) -> list[int]:
        """The tokens that follow `prefix` in some item's identifier, in ascending order."""
        node = self.root
        for token in prefix:
            node = node.get(token, {})
        return sorted(node)


_ROWS = 2048
"""Beams masked at a time: all of a CPU batch (64 histories x 20 beams = 1,280). Ten times as many
in one go would leave the caches.
"""


class Mask(NamedTuple):
    """What follows the nodes of a level, as tables [n_nodes, n]: token `first` + j after node i.

    bias: float32, 0 if the token follows, else -inf.
    child: int32, the node that it leads to, or -1.
    """

    first: int
    bias: Tensor
    child: Tensor

    def apply(self, nodes: Tensor, scores: Tensor) -> Tensor:
        """Set scores [..., n] of tokens that do not follow their node [...] to -inf, in place."""
        rows = scores.view(-1, scores.shape[-1])
        for part, at in zip(rows.split(_ROWS), nodes.flatten().split(_ROWS), strict=True):
            part += self.bias.index_select(0, at)
        return scores


@dataclass(frozen=True, eq=False)
class Trie:
    """The same trie as arrays: nodes are numbered breadth-first, from 0 in each level.

    Level 0 is the root alone; the nodes of level L are the leaves, one per distinct identifier, in
    lexicographic order.
    token[l]: int16 or int32 [n_nodes(l)], the token that leads to each node of level l (PAD to the
        root).
    first_child[l]: int32 [n_nodes(l) + 1]. The children of node i are the nodes first_child[l][i]
        to first_child[l][i + 1] - 1 of level l + 1, in ascending order of their tokens.
    items: int32 [n_items], sorted by identifier; items that share one are in an order fixed by the
        seed.
    first_item: int32 [n_leaves + 1]; leaf i's items are items[first_item[i]:first_item[i + 1]].
    """

    token: list[Tensor]
    first_child: list[Tensor]
    items: np.ndarray
    first_item: np.ndarray
    vocabulary_size: int

    @classmethod
    def build(
        cls,
        codes: np.ndarray,
        level_sizes: Sequence[int],
        seed: int = 0,
        device: torch.device | str = "cpu",
        shared_vocabulary: bool = False,
    ) -> "Trie":
        """codes: int64 [n_items, L]. seed: fixes the order of items that share an identifier."""
        n_tokens = vocabulary_size(level_sizes, shared_vocabulary)
        tokens = tokens_of(codes, level_sizes, shared_vocabulary)
        tokens = tokens.astype(np.int16 if n_tokens < 2**15 else np.int32)
        shuffled = np.random.default_rng(seed).permutation(len(tokens))
        order = shuffled[np.lexsort(tokens[shuffled].T[::-1])].astype(np.int32)
        # new[row]: this row, in sorted order, is the first of a prefix of the loop's length.
        new = np.arange(len(tokens)) == 0
        starts = np.zeros(1, dtype=np.int32)  # where each node's rows begin, level by level
        token, first_child = [np.full(1, PAD, dtype=tokens.dtype)], []
        # Per level: the rows at which a new prefix begins are its nodes; where the start of a
        # parent falls among them is its first child.
        for column in tokens.T:
            column = column[order]
            new[1:] |= column[1:] != column[:-1]
            next_starts = np.flatnonzero(new).astype(np.int32)
            firsts = np.searchsorted(next_starts, starts).astype(np.int32)
            first_child.append(np.append(firsts, np.int32(len(next_starts))))
            token.append(column[next_starts])
            starts = next_starts
        return cls(
            [torch.from_numpy(level).to(device) for level in token],
            [torch.from_numpy(level).to(device) for level in first_child],
            order,
            np.append(starts, np.int32(len(tokens))),
            n_tokens,
        )

    @property
    def n_levels(self) -> int:
        return len(self.first_child)

    def n_nodes(self, level: int) -> int:
        return len(self.token[level])

    def tokens(self, level: int, nodes: Tensor) -> Tensor:
        """The tokens that lead to `nodes` of `level`, int64 of the same shape."""
        return self.token[level][nodes].long()

    def children(self, level: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Each node's children: the first of them, and the one after the last; int64."""
        firsts = self.first_child[level]
        return firsts[nodes].long(), firsts[nodes + 1].long()

    def flat_children(self, level: int, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The children of all nodes [n] of `level` in one list of m, node after node.

        Returns, int64: how many each node has [n], whose child each is (a place in `nodes`) [m],
        and which node of the next level it is [m].
        """
        first, end = self.children(level, nodes)
        counts = end - first
        parents = torch.repeat_interleave(counts)
        children = torch.arange(len(parents), device=nodes.device)
        # index_select takes a third of the time that indexing takes.
        children += (first - counts.cumsum(0) + counts).index_select(0, parents)
        return counts, parents, children

    @cached_property
    def masks(self) -> list[Mask | None]:
        """A mask for each level whose nodes have many children: on average an eighth or more of the
        span from the next level's lowest to its highest token.

        There adding a mask to the scores of all tokens is faster than listing children: at the
        root, and in a large catalogue after one code as well. None for other levels, and if the
        tables would take more than 2 MiB.
        """
        return [self._mask(level) for level in range(self.n_levels)]

    def _mask(self, level: int) -> Mask | None:
        n_nodes, token = self.n_nodes(level), self.token[level + 1]
        if not len(token):  # a catalogue without items
            return None
        first, last = int(token.min()), int(token.max())
        shape = n_nodes, last + 1 - first
        if shape[0] * shape[1] > min(8 * len(token), 2**18):
            return None
        _, parents, children = self.flat_children(level, torch.arange(n_nodes, device=token.device))
        child = torch.full(shape, -1, dtype=torch.int32, device=token.device)
        child[parents, token.long() - first] = children.int()
        bias = torch.zeros(shape, device=token.device).masked_fill_(child < 0, -torch.inf)
        return Mask(first, bias, child)

    def child(self, level: int, nodes: Tensor, tokens: Tensor) -> Tensor:
        """The child of each node of `level` by its token, -1 if there is none or the node is -1.

        nodes, tokens: int64, same shape. A binary search among each node's children.
        """
        low, end = self.children(level, nodes.clamp(min=0))
        high, token = end, self.token[level + 1]
        for _ in range(int((high - low).max()).bit_length() if nodes.numel() else 0):
            middle = (low + high) // 2
            before = (token[middle.clamp(max=len(token) - 1)] < tokens) & (low < high)
            low, high = torch.where(before, middle + 1, low), torch.where(before, high, middle)
        found = (nodes >= 0) & (low < end) & (token[low.clamp(max=len(token) - 1)] == tokens)
        return torch.where(found, low, -1)

    def walk(self, prefixes: Tensor) -> Tensor:
        """The node that each prefix leads to, or -1. prefixes: int64 [n, at most L]."""
        nodes = torch.zeros(len(prefixes), dtype=torch.int64, device=prefixes.device)
        for level in range(prefixes.shape[1]):
            nodes = self.child(level, nodes, prefixes[:, level])
        return nodes

    def path(self, nodes: Tensor, level: int | None = None) -> list[Tensor]:
        """The nodes above each node of `level` (by default a leaf) and itself, from level 0 on."""
        way = [nodes]
        for firsts in reversed(self.first_child[:level]):
            way.append(torch.searchsorted(firsts, way[-1].to(firsts.dtype), right=True) - 1)
        return way[::-1]

    @cached_property
    def leaf_of_item(self) -> np.ndarray:
        """int64 [n_items], the leaf of each item."""
        leaves = np.empty(len(self.items), dtype=np.int64)
        leaves[self.items] = np.repeat(
            np.arange(len(self.first_item) - 1), np.diff(self.first_item)
        )
        return leaves

    def _node(self, prefix: Sequence[int]) -> int:
        tokens = torch.tensor([list(prefix)], dtype=torch.int64, device=self.token[0].device)
        return int(self.walk(tokens))

    def allowed(self, prefix: Sequence[int]) -> list[int]:
        """As `DictTrie.allowed`."""
        level = len(prefix)
        node = self._node(prefix) if level <= self.n_levels else -1
        if node < 0:
            return []
        if level == self.n_levels:
            return [EOS]
        first, end = self.first_child[level][node : node + 2].tolist()
        return self.token[level + 1][first:end].tolist()

    def items_below(self, prefix: Sequence[int]) -> list[int]:
        """The items whose identifiers begin with `prefix`, at most L tokens; in `items`' order."""
        node = self._node(prefix)
        if node < 0:
            return []
        first, end = node, node + 1
        for firsts in self.first_child[len(prefix) :]:
            first, end = int(firsts[first]), int(firsts[end])
        return self.items[self.first_item[first] : self.first_item[end]].tolist()

    def dead_nodes(self, rows: np.ndarray, items: np.ndarray, n_rows: int) -> list[np.ndarray]:
        """The nodes all of whose items are left out, for each of n_rows histories.

        rows, items: int64 [n], pairs (row, item) to leave out.
        Returns bool [n_rows, n_nodes(level)] for each level 0..L. Every leaf that a search reaches
        with a finite score then has an item left; dead ones may fill up the beam, with -inf.
        """
        rows, items = np.divmod(np.unique(rows * len(self.items) + items), len(self.items))
        path = self.path(torch.from_numpy(self.leaf_of_item[items]).to(self.token[0].device))
        dead, first_item = [], self.first_item
        for level in reversed(range(self.n_levels + 1)):
            if level < self.n_levels:  # a node's items begin where those of its first child do
                first_item = first_item[self.first_child[level].cpu().numpy()]
            n_nodes, nodes = self.n_nodes(level), path[level].cpu().numpy()
            # Only the few nodes above an item that is left out can be dead.
            places, left_out = np.unique(rows * n_nodes + nodes, return_counts=True)
            of_level = np.zeros(n_rows * n_nodes, dtype=bool)
            of_level[places] = left_out == np.diff(first_item)[places % n_nodes]
            dead.append(of_level.reshape(n_rows, n_nodes))
        return dead[::-1]
