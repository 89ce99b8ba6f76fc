"""The catalogue's identifiers as a prefix tree: a dictionary to read, arrays to run.

Tokens are numbered 0 for padding (it also starts the decoder), 1 for the end of a sequence, then level by
level: code c of level l is token 2 + (sizes of the levels before l) + c.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PAD, EOS = 0, 1
_FIRST_CODE = 2


def vocabulary_size(level_sizes: Sequence[int]) -> int:
    """Pad, end of sequence, and one token per code of every level."""
    return _FIRST_CODE + sum(level_sizes)


def tokens_of(codes: np.ndarray, level_sizes: Sequence[int]) -> np.ndarray:
    """Codes [..., L] as tokens, int64 [..., L]."""
    before = np.concatenate([[0], np.cumsum(level_sizes)[:-1]])
    return np.asarray(codes, dtype=np.int64) + _FIRST_CODE + before


class DictTrie:
    """The trie as one would explain it: a dictionary per node, from the next token to the next node."""

    def __init__(self, codes: np.ndarray, level_sizes: Sequence[int]):
        self.root: dict[int, dict] = {}
        for tokens in tokens_of(codes, level_sizes).tolist():
            node = self.root
            for token in [*tokens, EOS]:
                node = node.setdefault(token, {})

    def allowed(self, prefix: Sequence[int]) -> list[int]:
        """The tokens that follow `prefix` in some item's identifier, ascending; none for a foreign prefix."""
        node = self.root
        for token in prefix:
            node = node.get(token, {})
        return sorted(node)


@dataclass(frozen=True)
class Trie:
    """The same trie as arrays: nodes numbered breadth-first, from 0 in each level; the root alone is level 0.

    token[l]: int64 [n_nodes(l)], the token that leads to each node of level l (the root's is PAD).
    first_child[l]: int64 [n_nodes(l) + 1]; the children of node i are the nodes first_child[l][i] up to, without,
        first_child[l][i + 1] of level l + 1, in ascending order of their tokens.
    The nodes of level L are the leaves, one per distinct identifier, in lexicographic order.
    items: int64 [n_items], sorted by identifier; items that share one stand in an order fixed by the seed.
    first_item: int64 [n_leaves + 1]; leaf i's items are items[first_item[i]:first_item[i + 1]].
    node_of_item[l]: int64 [n_items], the node of level l under which each item stands.
    """

    token: list[Tensor]
    first_child: list[Tensor]
    items: np.ndarray
    first_item: np.ndarray
    node_of_item: list[np.ndarray]
    vocabulary_size: int

    @classmethod
    def build(
        cls, codes: np.ndarray, level_sizes: Sequence[int], seed: int = 0, device: torch.device | str = "cpu"
    ) -> "Trie":
        """codes: int64 [n_items, L]. seed: fixes the order of items that share an identifier."""
        tokens = tokens_of(codes, level_sizes)
        n_items, n_levels = tokens.shape
        shuffle = np.random.default_rng(seed).permutation(n_items)
        order = np.lexsort([shuffle, *tokens.T[::-1]])
        ordered = tokens[order]
        # new[i, l]: sorted row i starts a new prefix of length l + 1
        new = np.ones((n_items, n_levels), dtype=bool)
        new[1:] = np.logical_or.accumulate(ordered[1:] != ordered[:-1], axis=1)
        starts = [np.zeros(1, dtype=np.int64), *(np.flatnonzero(column) for column in new.T)]
        node_of_row = [np.zeros(n_items, dtype=np.int64), *(np.cumsum(column) - 1 for column in new.T)]
        token = [np.full(1, PAD), *(ordered[starts[level + 1], level] for level in range(n_levels))]
        first_child = []
        for level in range(n_levels):
            firsts = node_of_row[level + 1][starts[level]]
            first_child.append(np.append(firsts, len(starts[level + 1])))
        node_of_item = []
        for nodes in node_of_row:
            back = np.empty(n_items, dtype=np.int64)
            back[order] = nodes
            node_of_item.append(back)
        return cls(
            [torch.from_numpy(one).to(device) for one in token],
            [torch.from_numpy(one).to(device) for one in first_child],
            order,
            np.append(starts[-1], n_items),
            node_of_item,
            vocabulary_size(level_sizes),
        )

    @property
    def n_levels(self) -> int:
        return len(self.first_child)

    def n_nodes(self, level: int) -> int:
        return len(self.token[level])

    def child(self, level: int, nodes: Tensor, tokens: Tensor) -> Tensor:
        """The child of each node of `level` by its token, or -1 where there is none (or the node is -1).

        nodes, tokens: int64, same shape. Edges sorted by (node, token) are found by binary search.
        """
        counts = self.first_child[level].diff()
        parent = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        edges = parent * self.vocabulary_size + self.token[level + 1]
        wanted = nodes * self.vocabulary_size + tokens
        found = torch.searchsorted(edges, wanted).clamp(max=len(edges) - 1)
        return torch.where((nodes >= 0) & (edges[found] == wanted), found, -1)

    def walk(self, prefixes: Tensor) -> Tensor:
        """The node that each prefix leads to, -1 for a foreign one. prefixes: int64 [n, length <= L]."""
        nodes = torch.zeros(len(prefixes), dtype=torch.int64, device=prefixes.device)
        for level in range(prefixes.shape[1]):
            nodes = self.child(level, nodes, prefixes[:, level])
        return nodes

    def allowed(self, prefix: Sequence[int]) -> list[int]:
        """As `DictTrie.allowed`."""
        level = len(prefix)
        if level > self.n_levels:
            return []
        node = int(self.walk(torch.tensor([list(prefix)], dtype=torch.int64, device=self.token[0].device)))
        if node < 0:
            return []
        if level == self.n_levels:
            return [EOS]
        first, last = self.first_child[level][node : node + 2].tolist()
        return self.token[level + 1][first:last].tolist()

    def dead_nodes(self, rows: np.ndarray, items: np.ndarray, n_rows: int) -> list[np.ndarray]:
        """Where nothing is left when each row's `items` are left out.

        rows, items: int64 [n], pairs (row, item). Returns, per level 0..L, bool [n_rows, n_nodes(level)]:
        True for a node all of whose items are left out. A search that avoids these never ends up empty-handed.
        """
        n_items = len(self.items)
        rows, items = np.divmod(np.unique(rows * n_items + items), n_items)
        dead = []
        for nodes in self.node_of_item:
            n_nodes = int(nodes.max()) + 1
            left_out = np.bincount(rows * n_nodes + nodes[items], minlength=n_rows * n_nodes)
            dead.append(left_out.reshape(n_rows, n_nodes) == np.bincount(nodes, minlength=n_nodes))
        return dead
