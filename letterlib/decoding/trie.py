"""The catalogue's identifiers as a prefix tree: a dictionary to read, arrays to run.

Tokens are numbered 0 for padding (it also starts the decoder), 1 for the end of a sequence, then
level by
level: code c of level l is token 2 + (sizes of the levels before l) + c. Where the levels share one
vocabulary, code c is token 2 + c at every level.
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
    """Codes [..., L] as tokens, int64 [..., L]. A code that its level does not have is a
    ValueError.
    """
    codes = np.asarray(codes, dtype=np.int64)
    if codes.size and (
        codes.min() < 0 or (codes.reshape(-1, len(level_sizes)).max(axis=0) >= level_sizes).any()
    ):
        raise ValueError(
            f"a code is below 0, or not below its level's size in {tuple(level_sizes)}"
        )
    before = 0 if shared_vocabulary else np.concatenate([[0], np.cumsum(level_sizes)[:-1]])
    return codes + _FIRST_CODE + before


_ROWS = 2048
"""Beams masked at a time: a search on a CPU has 1,280. Ten times as many in one piece, for no
cache, take longer.
"""


class Mask(NamedTuple):
    """What follows the nodes of a level, as tables: token `first` + j after node i, [n_nodes, n].

    bias: float32, 0 where the token follows, -inf where it does not. child: int32, the node that it
    leads to, or -1.
    """

    first: int
    bias: Tensor
    child: Tensor

    def apply(self, nodes: Tensor, scores: Tensor) -> Tensor:
        """Scores [..., n] of the tokens from `first` on become -inf where a token does not follow
        its node [...].
        """
        rows = scores.view(-1, scores.shape[-1])
        for part, at in zip(rows.split(_ROWS), nodes.flatten().split(_ROWS), strict=True):
            part += self.bias.index_select(0, at)
        return scores


class DictTrie:
    """The trie as one would explain it: a dictionary per node, from the next token to the next
    node.

    Each level has tokens of its own; `Trie` knows levels that share one vocabulary, too.
    """

    def __init__(self, codes: np.ndarray, level_sizes: Sequence[int]):
        self.root: dict[int, dict] = {}
        for tokens in tokens_of(codes, level_sizes).tolist():
            node = self.root
            for token in [*tokens, EOS]:
                node = node.setdefault(token, {})

    def allowed(self, prefix: Sequence[int]) -> list[int]:
        """The tokens that follow `prefix` in some item's identifier, ascending; none for a foreign
        prefix.
        """
        node = self.root
        for token in prefix:
            node = node.get(token, {})
        return sorted(node)


@dataclass(frozen=True, eq=False)
class Trie:
    """The same trie as arrays: nodes numbered breadth-first, from 0 in each level; the root alone
    is level 0.

    token[l]: int16 or int32 [n_nodes(l)], the token that leads to each node of level l (the root's
    is PAD). first_child[l]: int32 [n_nodes(l) + 1]; the children of node i are the nodes
    first_child[l][i] up to, without,
        first_child[l][i + 1] of level l + 1, in ascending order of their tokens.
    The nodes of level L are the leaves, one per distinct identifier, in lexicographic order.
    items: int32 [n_items], sorted by identifier; items that share one stand in an order fixed by
    the seed.
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
        # new[row]: this row, in sorted order, starts a new prefix of the length that the loop has
        # come to
        new = np.arange(len(tokens)) == 0
        starts, token, first_child = (
            np.zeros(1, dtype=np.int32),
            [np.full(1, PAD, dtype=tokens.dtype)],
            [],
        )
        for column in tokens.T:
            column = column[order]
            new[1:] |= column[1:] != column[:-1]
            next_starts = np.flatnonzero(new).astype(np.int32)
            firsts = np.searchsorted(next_starts, starts).astype(np.int32)
            first_child.append(np.append(firsts, np.int32(len(next_starts))))
            token.append(column[next_starts])
            starts = next_starts
        return cls(
            [torch.from_numpy(one).to(device) for one in token],
            [torch.from_numpy(one).to(device) for one in first_child],
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
        """The range of each node's children: the first, and the one after the last; int64."""
        firsts = self.first_child[level]
        return firsts[nodes].long(), firsts[nodes + 1].long()

    def flat_children(self, level: int, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The children of all nodes [n] of `level` in one list of m, node after node.

        Returns, int64, how many each node has [n], whose child each is [m], a place in `nodes`, and
        which node of the next level [m].
        """
        first, end = self.children(level, nodes)
        counts = end - first
        parents = torch.repeat_interleave(counts)
        children = torch.arange(len(parents), device=nodes.device)
        # There may be many: index_select takes a third of the time that [...] takes.
        children += (first - counts.cumsum(0) + counts).index_select(0, parents)
        return counts, parents, children

    @cached_property
    def masks(self) -> list[Mask | None]:
        """A mask for each level where, on average, at least an eighth of the tokens follow a node;
        else None.

        There adding a mask to the scores of all tokens is faster than listing children. That is the
        case at the root, and in a large catalogue after one code, too. No mask is made where its
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
        """The child of each node of `level` by its token, or -1 where there is none (or the node is
        -1).

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
        """The node that each prefix leads to, -1 for a foreign one. prefixes: int64 [n, length <=
        L].
        """
        nodes = torch.zeros(len(prefixes), dtype=torch.int64, device=prefixes.device)
        for level in range(prefixes.shape[1]):
            nodes = self.child(level, nodes, prefixes[:, level])
        return nodes

    def path(self, nodes: Tensor, level: int | None = None) -> list[Tensor]:
        """The way to each node of `level`, by default a leaf: from level 0 on, the node above it,
        int64.
        """
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

    def allowed(self, prefix: Sequence[int]) -> list[int]:
        """As `DictTrie.allowed`."""
        level = len(prefix)
        if level > self.n_levels:
            return []
        node = self.walk(
            torch.tensor([list(prefix)], dtype=torch.int64, device=self.token[0].device)
        )
        if int(node) < 0:
            return []
        if level == self.n_levels:
            return [EOS]
        first, last = self.children(level, node)
        return self.token[level + 1][int(first) : int(last)].tolist()

    def dead_nodes(self, rows: np.ndarray, items: np.ndarray, n_rows: int) -> list[np.ndarray]:
        """Where nothing is left when each row's `items` are left out.

        rows, items: int64 [n], pairs (row, item). Returns, per level 0..L, bool [n_rows,
        n_nodes(level)]: True for a node all of whose items are left out. A search that avoids these
        never ends up empty-handed.
        """
        rows, items = np.divmod(np.unique(rows * len(self.items) + items), len(self.items))
        path = self.path(torch.from_numpy(self.leaf_of_item[items]).to(self.token[0].device))
        dead, first_item = [], self.first_item
        for level in reversed(range(self.n_levels + 1)):
            if level < self.n_levels:  # a node's items begin where those of its first child do
                first_item = first_item[self.first_child[level].cpu().numpy()]
            n_nodes, nodes = self.n_nodes(level), path[level].cpu().numpy()
            # Only nodes above an item that is left out can be dead: few, where a table of counts
            # would be large.
            places, left_out = np.unique(rows * n_nodes + nodes, return_counts=True)
            one = np.zeros(n_rows * n_nodes, dtype=bool)
            one[places] = left_out == np.diff(first_item)[places % n_nodes]
            dead.append(one.reshape(n_rows, n_nodes))
        return dead[::-1]
