"""The trie inside transformers' `generate`."""

import torch
from torch import Tensor

from letterlib.decoding.trie import EOS, PAD, Trie
from letterlib.errors import optional

with optional("language-models"):
    from transformers import LogitsProcessor


class TrieLogitsProcessor(LogitsProcessor):
    """Sets the scores of tokens that lead out of the catalogue to -inf; for an encoder-decoder.

    After a whole identifier only the end token is allowed; after the end token, and off the trie
    (beams that `generate` has given up), only padding. With `num_beams` and `length_penalty=0` the
    sequences and their scores are those of `beam_search`.
    """

    def __init__(self, trie: Trie):
        self.trie = trie

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """input_ids [n, 1 + t], the start token first; scores [n, V]. Returns scores [n, V]."""
        trie, level = self.trie, input_ids.shape[1] - 1
        if scores.shape[1] < trie.vocabulary_size:  # or one beam would read another's scores
            raise ValueError(
                f"the model has {scores.shape[1]} tokens, the trie {trie.vocabulary_size}"
            )
        nodes = trie.walk(input_ids[:, 1 : 1 + trie.n_levels])
        inside = (nodes >= 0) & (level <= trie.n_levels)
        rows, tokens = inside.nonzero().flatten(), EOS
        if level < trie.n_levels:
            _, parents, children = trie.flat_children(level, nodes[rows])
            rows, tokens = rows[parents], trie.token[level + 1].index_select(0, children)
        n_tokens = scores.shape[1]
        allowed = torch.cat(
            [rows * n_tokens + tokens, (~inside).nonzero().flatten() * n_tokens + PAD]
        )
        # Few of many are allowed, so those few are copied, instead of a mask made for all.
        return torch.full_like(scores, -torch.inf).put_(allowed, scores.take(allowed))
