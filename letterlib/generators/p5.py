"""P5: a generator that starts from a pre-trained T5 and writes P5's identifiers.

Geng et al., RecSys 2022 (P5), with the identifiers of Hua et al., SIGIR-AP 2023. A T5 is the
network that TIGER has, so this is TIGER with other first weights, trained, searched and saved as
such. It knows the language that the T5 has read, and can use it where identifiers are made of words
(P5-TID). Where it differs from the original:

- No prompt. P5 wraps a history in one of some wordings ("What would user 12 buy next?"). A wording
  that is the same
  for every case tells cases apart in nothing; P5 needs it because it learns several tasks at once,
  and here there is one.
- No token for the user. It is a memory of one person: it answers for nobody new, and where the
  number of a user is
  made of word pieces, neighbours in the file share them.
- Only the tokens that are read or written are kept. Without a prompt the other 32,000 words would
  never stand in a
  history, and the softmax would only learn that none of them is ever next.
- Wherever identifiers are not made of words, their codes are new tokens, as in the original.
"""

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from letterlib.decoding.trie import EOS, PAD
from letterlib.errors import LetterError
from letterlib.generators.encoder_decoder import EncoderDecoder
from letterlib.generators.t5_weights import from_transformers
from letterlib.generators.tiger import Tiger, TigerConfig
from letterlib.hub import load_found, load_weights, loading
from letterlib.store import digest
from letterlib.tokenizer.identifiers import Identifiers

_SIZES = ("d_model", "d_ff", "n_heads", "d_head", "n_layers")


def tiger_from_t5(
    t5: str,
    identifiers: Identifiers,
    config: TigerConfig,
    seed: int = 0,
    device: str = "auto",
    checkpoint: Path | None = None,
    pieces: np.ndarray | None = None,
) -> Tiger:
    """A TIGER whose weights are those of a T5 before `fit`; what it saves, `Tiger.load` reads.

    t5: "t5-small" or the folder of another original T5. config: its sizes are replaced by those of
    the T5.
    pieces: int64 [n_codes], the T5's number of each code's word piece, or a negative number for
    none, as
        `title_identifiers(titles, tokenizer=t5)` gives them; without them every code is a new
        token.
    """
    pretrained = _load(t5)
    sizes = {name: getattr(pretrained.config, name) for name in _SIZES}
    tiger = Tiger(identifiers, config.model_copy(update=sizes), seed, device, checkpoint)
    n_codes = tiger.n_tokens - EOS - 1
    pieces = np.full(n_codes, -1) if pieces is None else pieces
    if len(pieces) != n_codes:
        raise LetterError(
            f"{len(pieces):,} word pieces for {n_codes:,} codes; use those of the same identifiers"
        )
    weights = pretrained.state_dict()
    if len(pieces) and (n_words := len(weights["embedding.weight"])) <= (
        last := int(np.max(pieces))
    ):
        raise LetterError(
            f'word piece {last}, but "{t5}" has {n_words:,}; use pieces of its own tokenizer'
        )
    weights["embedding.weight"] = _rows(
        weights["embedding.weight"], np.concatenate([[PAD, EOS], pieces]), tiger.seed
    )
    tiger.network.load_state_dict(weights)
    tiger.first_weights = digest(*(part for pair in weights.items() for part in pair))
    return tiger


def _load(t5: str) -> EncoderDecoder:
    from transformers import T5ForConditionalGeneration

    load = functools.partial(load_weights, T5ForConditionalGeneration, dtype=torch.float32)
    with loading(f'T5 "{t5}"', 'use "t5-small", or a local folder'):
        return from_transformers(load_found(t5, load))


def _rows(embedding: Tensor, words: np.ndarray, seed: int) -> Tensor:
    """The rows of some words, [n, d_model]; a word with a negative number gets a new one, with the
    spread of the rest.

    embedding: [n_words, d_model].
    """
    known = torch.from_numpy(words >= 0)
    generator = torch.Generator().manual_seed(seed)
    new = torch.randn(len(words), embedding.shape[1], generator=generator) * embedding.std(
        0
    ) + embedding.mean(0)
    return torch.where(known[:, None], embedding[torch.from_numpy(words).clamp(min=0)], new)
