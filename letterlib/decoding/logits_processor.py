"""The trie inside transformers' `generate`."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from letterlib.decoding.trie import EOS, PAD, Trie
from letterlib.errors import optional

with optional("language-models"):
    from transformers import LogitsProcessor

if TYPE_CHECKING:
    from transformers import GenerationConfig


class TrieLogitsProcessor(LogitsProcessor):
    """Sets the scores of tokens that lead out of the catalogue to -inf.

    After a whole identifier only the end token is allowed; after the end token, and off the trie
    (beams that `generate` has given up), only padding. With the settings of `search_config` the
    sequences and their scores are those of `beam_search`.

    prompt_length: tokens before the identifier. 1 for an encoder-decoder, which writes after its
        start token; for a decoder-only model `inputs["input_ids"].shape[1]`, padding included
        (pad prompts on the left).
    tokens: int64 [V], the model's number of each of the trie's tokens, such as `Vocabulary.order`
        of LC-Rec; None if the model has the trie's numbers.

    A ValueError for a prompt of another length, for a model with too few tokens, and if settings
    of the model, such as suppress_tokens, have removed every token that the trie allows.
    """

    def __init__(self, trie: Trie, prompt_length: int = 1, tokens: Tensor | None = None):
        self.trie, self.prompt_length = trie, prompt_length
        self.tokens = None if tokens is None else tokens[: trie.vocabulary_size]
        self.needed = trie.vocabulary_size if tokens is None else int(self.tokens.max()) + 1
        self._width = -1  # of the last call's input_ids

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """A step of `generate`: input_ids [n, prompt_length + t], scores [n, V]. As `masked`."""
        width = input_ids.shape[1]
        if width not in (self.prompt_length, self._width + 1):
            raise ValueError(
                f"the prompt has {width} tokens, but the identifier is to begin after "
                f"{self.prompt_length}; for a decoder-only model make "
                f"TrieLogitsProcessor(trie, prompt_length={width})"
            )
        self._width = width
        return self.masked(input_ids[:, self.prompt_length :], scores)

    def masked(self, written: Tensor, scores: Tensor) -> Tensor:
        """The scores with -inf for tokens that the trie does not allow, as a new tensor [n, V].

        written: int64 [n, t], the tokens after the prompt, in the model's numbers.
        scores: float [n, V].
        """
        trie, level, n_tokens = self.trie, written.shape[1], scores.shape[1]
        if n_tokens < self.needed:  # or one beam would read another's scores
            raise ValueError(f"the model has {n_tokens} tokens, the trie needs {self.needed}")
        nodes = trie.walk(self._in_the_tries_numbers(written[:, : trie.n_levels], n_tokens))
        inside = (nodes >= 0) & (level <= trie.n_levels)
        rows, tokens = inside.nonzero().flatten(), EOS
        if level < trie.n_levels:
            _, parents, children = trie.flat_children(level, nodes[rows])
            rows, tokens = rows[parents], trie.token[level + 1].index_select(0, children).long()
        pad = PAD
        if self.tokens is not None:
            numbers = self.tokens.to(scores.device)
            tokens, pad = numbers[tokens], numbers[PAD]
        allowed = rows * n_tokens + tokens
        padded = (~inside).nonzero().flatten() * n_tokens + pad
        kept = scores.take(allowed)
        if len(allowed) and not torch.isfinite(kept).any():
            raise ValueError(
                "settings of the model have removed every token that the trie allows; "
                "set model.generation_config = search_config(trie, beam)"
            )
        # Few of many are allowed, so those few are copied, instead of a mask made for all.
        found = torch.full_like(scores, -torch.inf).put_(allowed, kept)
        return found.put_(padded, scores.take(padded))

    def _in_the_tries_numbers(self, written: Tensor, n_tokens: int) -> Tensor:
        if self.tokens is None:
            return written
        place = torch.full((n_tokens,), -1, device=written.device)  # -1: not one of the trie's
        place[self.tokens.to(written.device)] = torch.arange(
            len(self.tokens), device=written.device
        )
        return place[written]


def search_config(
    trie: Trie, beam: int, tokens: Tensor | None = None, pad: int | None = None
) -> "GenerationConfig":
    """What `model.generation_config` has to be for `generate` to search as `beam_search` does.

    Set it on the model: what is only given to `generate` is completed by the model's own, and a
    chat model's penalises words of the prompt, samples, and ends at other tokens.

    beam: prefixes kept per level, and sequences returned.
    tokens: as `TrieLogitsProcessor` takes them.
    pad: the model's number of the padding token; the trie's if not given.
    """
    from transformers import GenerationConfig

    def number(token: int) -> int:
        return token if tokens is None else int(tokens[token])

    return GenerationConfig(
        num_beams=beam,
        num_return_sequences=beam,
        max_new_tokens=trie.n_levels + 1,
        length_penalty=0.0,
        do_sample=False,
        early_stopping=True,
        eos_token_id=number(EOS),
        pad_token_id=number(PAD) if pad is None else pad,
        decoder_start_token_id=number(PAD),
    )
