"""The trie inside transformers' `generate`."""

import torch
from torch import Tensor
from transformers import LogitsProcessor

from letterlib.decoding.trie import EOS, PAD, Trie


class TrieLogitsProcessor(LogitsProcessor):
    """Sets the score of every token that leads out of the catalogue to -inf; for an encoder-decoder.

    After a whole identifier only the end token is allowed, after the end token (or off the trie, where beams
    that `generate` has given up may stray) only padding. With `num_beams` and `length_penalty=0` the sequences
    and their scores are those of `beam_search`.
    """

    def __init__(self, trie: Trie):
        self.trie = trie

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """input_ids [n, 1 + t], the decoder's start token first; scores [n, V]. Returns scores [n, V]."""
        trie, level = self.trie, input_ids.shape[1] - 1
        allowed = torch.zeros_like(scores, dtype=torch.bool)
        nodes = trie.walk(input_ids[:, 1 : 1 + trie.n_levels])
        inside = nodes >= 0
        if level < trie.n_levels:
            begin, end = trie.children(level, nodes.clamp(min=0))
            counts = torch.where(inside, end - begin, 0)
            rows = torch.repeat_interleave(torch.arange(len(nodes), device=nodes.device), counts)
            within = torch.arange(len(rows), device=nodes.device) - (counts.cumsum(0) - counts)[rows]
            allowed[rows, trie.tokens(level + 1, begin[rows] + within)] = True
        elif level == trie.n_levels:
            allowed[inside, EOS] = True
        else:
            inside = torch.zeros_like(inside)
        allowed[~inside, PAD] = True
        return scores.masked_fill(~allowed, -torch.inf)
