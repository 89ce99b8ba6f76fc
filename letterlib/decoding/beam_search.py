"""Beam search for identifiers: the plain one, and the fast one that the library uses.

An item's identifier is L tokens, one per level. In the trie, a node of level l is a prefix of l
tokens and a leaf, a node of level L, is a whole identifier; several items may share one. The nodes
of a level are numbered in lexicographic order, so ascending nodes are ascending prefixes.

The score of an identifier is the sum of the log-probabilities of its tokens and of the end token.
Each is from a softmax over the whole vocabulary, not only over what the trie allows, and the sum is
not divided by the length.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from letterlib.data.flat_arrays import places_within, positions_of
from letterlib.decoding.trie import EOS, PAD, Trie
from letterlib.evaluation.ranking import top_k


class DecodingState(Protocol):
    """A model's cache: for every history, n sequences written so far."""

    def follow(self, parents: Tensor) -> None:
        """From now on, sequence i of a history continues its sequence parents[:, i]; [batch, n]."""


class IncrementalDecoder(Protocol):
    """What beam search needs of a model. TIGER's and LC-Rec's networks have it.

    `beam_search` calls `start`, then `step` L + 1 times. The first step has one sequence per
    history, the start token (PAD). After every step but the last, `follow` of the state tells which
    sequences go on, one per beam; it may change n. The caller sees to `torch.no_grad` and `eval`.
    """

    def start(self, memory: Tensor) -> DecodingState:
        """Get ready to write after these histories, one empty sequence each."""

    def step(self, tokens: Tensor, state: DecodingState) -> Tensor:
        """Append tokens [batch, n] to the sequences; returns logits after them [batch, n, V]."""


def beam_search_reference(
    model: IncrementalDecoder,
    memory: Tensor,
    trie: Trie,
    beam: int,
    *,
    tau: float = 1.0,
    excluded: Collection[int] = (),
) -> list[tuple[int, float]]:
    """Beam search as a textbook has it: one history, one prefix at a time.

    memory: one history, [1, ...], which `model.start` reads.
    beam: prefixes kept per level.
    tau: divides the logits.
    excluded: items to leave out. A prefix whose items are all excluded is dropped; otherwise it
        would use up a beam.
    Returns (item, score) pairs, all items of up to `beam` identifiers, best first. Items that share
    an identifier share its score. `beam_search` and `expand_leaves` find the same if scores are
    finite (a test compares them).
    """

    def log_probs(prefix: tuple[int, ...]) -> np.ndarray:
        """Of every token of the vocabulary, to come after the prefix."""
        state = model.start(memory)
        for token in (PAD, *prefix):
            logits = model.step(torch.tensor([[token]], device=memory.device), state)
        return torch.log_softmax(logits[0, 0].float() / tau, dim=-1).cpu().numpy()

    def items_of(prefix: tuple[int, ...]) -> list[int]:
        """The items that may be recommended and whose identifiers begin with the prefix."""
        return [item for item in trie.items_below(prefix) if item not in excluded]

    def best_first(scored: list[tuple[tuple[int, ...], float]]) -> list:
        return sorted(scored, key=lambda pair: pair[1], reverse=True)  # ties stay in order

    beams = [((), np.float32(0))]
    for _ in range(trie.n_levels):
        longer = []
        for prefix, score in beams:
            following = log_probs(prefix)
            for token in trie.allowed(prefix):
                if items_of((*prefix, token)):
                    longer.append(((*prefix, token), score + following[token]))
        # Cut by score (ties: the lower prefix, as `longer` is in prefix order), sort by prefix.
        beams = sorted(best_first(longer)[:beam])
    ended = [(prefix, score + log_probs(prefix)[EOS]) for prefix, score in beams]
    return [
        (item, float(score)) for prefix, score in best_first(ended) for item in items_of(prefix)
    ]


def beam_search(
    model: IncrementalDecoder,
    memory: Tensor,
    trie: Trie,
    beam: int,
    *,
    tau: float = 1.0,
    dead: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """The best identifiers of the catalogue for each history, all histories and beams together.

    memory: what `model.start` reads, without padding: encoded histories [batch, S, d_model], or
        prompts [batch, S] of a causal model.
    beam: prefixes kept per level; all of them if a level has fewer. So a beam at least as wide as
        the catalogue scores the whole catalogue exactly, each shared prefix computed once. (TIGER
        then uses `score_catalogue`.)
    tau: divides the logits first, as in LETTER's P_theta (config.tau); 1 decodes with raw logits,
        as the released code does.
    dead: per level, bool [batch, n_nodes(level)], nodes to avoid. Items to leave out are given
        twice: as `dead` (by `Trie.dead_nodes`), so that they take no beams, and to `expand_leaves`,
        for leaves that have other items too.
    Returns leaves int64 and scores float32, both [batch, min(beam, n_leaves)], best first; equal
    scores in the order of the leaves. -inf: nothing (more) was allowed, or the model rules it out.
    """
    state = model.start(memory)
    nodes = torch.zeros(len(memory), 1, dtype=torch.int64, device=memory.device)
    scores = torch.zeros(len(memory), 1, device=memory.device)
    # Each row of `nodes` ascends, so the lowest index is the lowest prefix.
    for level in range(trie.n_levels):
        log_probs = _log_probs(model.step(trie.tokens(level, nodes), state), tau)
        _check_shape(trie, nodes, log_probs)
        k = min(beam, trie.n_nodes(level + 1))
        # A mask does not know what a history has to avoid.
        found = _best_by_mask(trie, level, nodes, scores, log_probs, k) if dead is None else None
        if found is None:
            children = _expand(trie, level, nodes, scores, log_probs)
            if dead is not None:
                children.avoid(dead[level + 1])
            found = children.best(k)
        nodes, parents, scores = found
        state.follow(parents)
    log_probs = _log_probs(model.step(trie.tokens(trie.n_levels, nodes), state), tau)
    _check_shape(trie, nodes, log_probs)
    scores, order = top_k(scores + log_probs[:, :, EOS], scores.shape[1])
    return nodes.gather(1, order), scores


def expand_leaves(
    trie: Trie,
    leaves: np.ndarray,
    scores: np.ndarray,
    k: int,
    excluded: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """From identifiers to items: every item of a leaf gets the leaf's score, in the trie's order.

    leaves, scores: [batch, width], best first; entries with score -inf or leaf -1 are skipped.
    excluded: pairs (row, item) to leave out.
    Returns items int64 [batch, k], -1 if there are fewer than k, and their scores float32.
    """
    batch, width = leaves.shape
    usable = (leaves >= 0) & np.isfinite(scores)
    leaf = np.where(usable, leaves, 0)
    counts = np.where(usable, trie.first_item[leaf + 1] - trie.first_item[leaf], 0).ravel()
    entry = np.repeat(np.arange(batch * width), counts)
    starts = trie.first_item[leaf].ravel()
    items = trie.items[positions_of(starts, starts + counts)]  # the slices, end to end
    rows = entry // width
    if excluded is not None:
        n_items = len(trie.items)
        keep = ~np.isin(rows * n_items + items, excluded[0] * n_items + excluded[1])
        entry, items, rows = entry[keep], items[keep], rows[keep]
    per_row = np.bincount(rows, minlength=batch)
    rank = places_within(per_row)  # 0, 1, ... in each row
    keep = rank < k
    all_items, all_scores = np.full((batch, k), -1), np.full((batch, k), -np.inf, dtype=np.float32)
    all_items[rows[keep], rank[keep]] = items[keep]
    all_scores[rows[keep], rank[keep]] = scores.ravel()[entry[keep]]
    return all_items, all_scores


def _log_probs(logits: Tensor, tau: float) -> Tensor:
    return torch.log_softmax(logits.float() / tau, dim=-1)


def _check_shape(trie: Trie, nodes: Tensor, log_probs: Tensor) -> None:
    """ValueError for log_probs of other beams or too few tokens: the search would read another
    beam's scores.
    """
    if log_probs.shape[:2] != nodes.shape or log_probs.shape[2] < trie.vocabulary_size:
        needed = f"[{', '.join(map(str, nodes.shape))}, {trie.vocabulary_size} or more]"
        raise ValueError(
            f"the model's logits are {list(log_probs.shape)}; this search needs {needed}"
        )


@dataclass
class _Children:
    """The children of all beams, history after history, in ascending order of nodes.

    node, score: [n]. parent_row: [n], row of the parent among the batch x width beams.
    counts: int64 [batch], how many children a history has: at least the k that are kept. Every
        inner node has a child. So either `beam` nodes were kept, with at least `beam` children, or
        the whole level was, and these are the whole next level.
    """

    node: Tensor
    parent_row: Tensor
    score: Tensor
    counts: Tensor
    width: int

    def avoid(self, dead: Tensor) -> None:
        """Give the score -inf to the nodes that are True in `dead`, bool [batch, n_nodes]."""
        history = torch.repeat_interleave(self.counts)  # of each child
        self.score.masked_fill_(dead[history, self.node], -torch.inf)

    def best(self, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """The k best of every history: nodes (ascending), parents among its beams, scores; [batch,
        k].
        """
        # A row for each history: the scores of its children, and -inf up to the longest row (where
        # at first the next history's scores are read).
        first = (self.counts.cumsum(0) - self.counts)[:, None]
        columns = torch.arange(int(self.counts.max()), device=first.device)
        table = self.score.take((first + columns).clamp_(max=len(self.score) - 1))
        table.masked_fill_(columns >= self.counts[:, None], -torch.inf)
        # `top_k` breaks ties by the lower index, so padding, which comes last, is never chosen.
        # Sorted by node, so that in the end the lower leaf is first among equals.
        chosen = first + top_k(table, k)[1].sort(dim=1)[0]
        parents = self.parent_row[chosen].remainder_(self.width)
        return self.node[chosen], parents, self.score[chosen]


def _expand(trie: Trie, level: int, nodes: Tensor, scores: Tensor, log_probs: Tensor) -> _Children:
    """The children of every beam, with their scores; tokens that no child has cost nothing.

    nodes, scores [batch, width], nodes ascending; log_probs [batch, width, V].
    """
    (batch, width), n_tokens = nodes.shape, log_probs.shape[2]
    # For every child, parent after parent: its parent's row in the flattened beams, and its node.
    per_beam, parent_row, node = trie.flat_children(level, nodes.flatten())
    token = trie.token[level + 1].index_select(0, node)
    score = log_probs.flatten().take((parent_row * n_tokens).add_(token))
    score += scores.flatten().index_select(0, parent_row)
    return _Children(node, parent_row, score, per_beam.view(batch, width).sum(1), width)


def _best_by_mask(
    trie: Trie, level: int, nodes: Tensor, scores: Tensor, log_probs: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor] | None:
    """What `_expand(...).best(k)` finds, by a mask over all tokens of the next level.

    This is faster if many tokens are allowed.
    None if the level has no mask, or if not all k scores are finite: then -inf would not tell a
    token that does not follow from one that the model rules out.
    """
    # Column j of a `Mask` is token first + j: bias is 0 or -inf, child the node of the next level.
    mask = trie.masks[level]
    if mask is None:
        return None
    n = mask.bias.shape[1]
    table = mask.apply(
        nodes, log_probs[:, :, mask.first : mask.first + n] + scores.unsqueeze(2)
    ).flatten(1)
    best, places = top_k(table, k)
    if not best.isfinite().all():
        return None
    # Parents ascend, and so do tokens under each: this is the order of the nodes, as in `best`.
    places = places.sort(dim=1)[0]
    parents = places // n
    return mask.child[nodes.gather(1, parents), places % n].long(), parents, table.gather(1, places)


def unconstrained_beam_search(
    model: IncrementalDecoder, memory: Tensor, trie: Trie, beam: int
) -> tuple[Tensor, Tensor]:
    """The best sequences of L + 1 tokens for each history, any token anywhere.

    It measures what the trie is for: how many of the sequences that the model prefers are
    identifiers at all.
    Returns leaves int64, -1 for a sequence that is no item's identifier followed by the end token,
    and scores float32, both [batch, min(beam, number of sequences)], best first.
    """
    state = model.start(memory)
    sequences = torch.full((len(memory), 1, 1), PAD, dtype=torch.int64, device=memory.device)
    scores = torch.zeros(len(memory), 1, device=memory.device)
    for _ in range(trie.n_levels + 1):
        log_probs = _log_probs(model.step(sequences[:, :, -1], state), tau=1.0)
        scores, index = top_k((scores.unsqueeze(2) + log_probs).flatten(1), beam)
        parents, tokens = index // log_probs.shape[2], index % log_probs.shape[2]
        rows = torch.arange(len(memory), device=memory.device)[:, None]
        sequences = torch.cat([sequences[rows, parents], tokens.unsqueeze(2)], dim=2)
        state.follow(parents)
    identifiers = sequences[:, :, 1:-1].flatten(0, 1)
    leaves = trie.walk(identifiers).view(sequences.shape[:2])
    return torch.where(sequences[:, :, -1] == EOS, leaves, -1), scores
