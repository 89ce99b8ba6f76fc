"""A causal language model with LoRA around it: its loss's logits; for one that writes identifiers,
its beams too.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from letterlib.errors import LetterError
from letterlib.generators.attention import forbid
from letterlib.generators.language_model import Vocabulary, load_language_model
from letterlib.train import autocast

if TYPE_CHECKING:  # importing them takes seconds, which only those who use them should wait for
    from peft import PeftModel
    from transformers import DynamicCache

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The matrices of a LLaMA block that get an adapter (LC-Rec, section IV-A3)."""


def load_to_adapt(
    name: str, device: torch.device, dtype: torch.dtype, gradient_checkpointing: bool
) -> tuple[Any, nn.Module]:
    """(tokenizer, causal model) of `load_language_model`, its weights held as training on `device`
    wants them.
    """
    # On a CPU weights stay float32 and autocast rounds what is multiplied; a GPU has no room for
    # that.
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
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers asks for it, scores and sums in float32 whatever the products
    around it are in.

    On a CPU torch's fused one, with its gradients, takes about twice as long for a hundred tokens,
    in float32 longer.

    query [B, H, Q, D]; key, value [B, G, K, D], each shared by H / G heads; attention_mask, float,
    broadcasts to [B, 1, Q, K] and is added to the scores. Returns [B, Q, H, D], and None for the
    weights, which nobody reads.
    softcap: a limit of the scores, as Gemma 2 has one, is a LetterError. (Newer transformers do not
    load such a model.)
    """
    if softcap is not None:
        raise LetterError(
            "the language model caps the scores of its attention; use one of LLaMA's architecture"
        )
    (batch, heads, length, size), groups = query.shape, key.shape[1]
    with torch.autocast(query.device.type, enabled=False):
        q = (query.float() * scaling).reshape(batch, groups, heads // groups * length, size)
        scores = (q @ key.float().mT).view(batch, groups, heads // groups, length, -1)
        weights = F.dropout(
            scores.add_(attention_mask.unsqueeze(2)).softmax(-1), dropout, module.training
        )
        found = weights.flatten(2, 3) @ value.float()
    return found.view(query.shape).transpose(1, 2).to(query.dtype), None


def with_adapters(
    model: nn.Module, new_tokens: list[int], rank: int, alpha: float, dropout: float
) -> "PeftModel":
    """Freeze `model`, put LoRA beside the matrices of its blocks, and let the embeddings of new
    tokens be trained.

    Where input and output embeddings are two tables, the new rows of both are trained. There may be
    no new tokens. A model of another architecture than LLaMA's, which would be adapted in part or
    not at all, is a LetterError, and so is one that scales or caps its logits (Granite, Cohere,
    Gemma 2): here they are the output embeddings' alone.
    """
    from peft import LoraConfig, get_peft_model

    there = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    if missing := [name for name in LORA_TARGETS if name not in there]:
        raise LetterError(
            f"the language model has no {', '.join(missing)}, which LoRA would adapt; use one of LLaMA's architecture"
        )
    matrices = {
        name.split(".")[-2]
        for name, one in model.named_parameters()
        if ".layers." in name and one.ndim > 1
    }
    if others := sorted(name for name in matrices - set(LORA_TARGETS) if "norm" not in name):
        raise LetterError(
            f"the language model's blocks have {', '.join(others)} as well, which LoRA would not adapt; use one of "
            "LLaMA's architecture"
        )
    tokens = torch.arange(8, device=model.device)[None]  # more than one: a pad's embedding may be 0
    with torch.no_grad():
        plain = model.get_output_embeddings()(model.base_model(tokens).last_hidden_state)
        if not torch.allclose(model(tokens).logits.float(), plain.float()):
            raise LetterError(
                "the language model scales or caps what its output embeddings give, which would be left out here; "
                "use one of LLaMA's architecture"
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
    with warnings.catch_warnings():  # peft asks transformers by a name that it has given up
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, config)


def adapters_of(model: "PeftModel", dtype: torch.dtype) -> dict[str, Tensor]:
    """What was trained, by names for a file; `put_adapters` reads them. dtype: of the numbers in
    the file.
    """
    from peft import get_peft_model_state_dict

    adapters = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {f"adapter.{name}": weight.to(dtype) for name, weight in adapters.items()}


def put_adapters(
    model: "PeftModel", tensors: dict[str, Tensor], path: str | Path, language_model: str
) -> None:
    """Put what `adapters_of` gave back into `model`. LetterError where it is another model's."""
    from peft import set_peft_model_state_dict

    adapters = {name: weight for name, weight in tensors.items() if name.startswith("adapter.")}
    different = _shapes(adapters) ^ _shapes(adapters_of(model, torch.float32))
    if different:
        name, shape = min(different)
        raise LetterError(
            f"{path}: its adapters do not fit {language_model} (only one of them has {name} of shape {shape}); "
            "load it with the language model that it was trained on"
        )
    set_peft_model_state_dict(
        model, {name.removeprefix("adapter."): weight for name, weight in adapters.items()}
    )


def _shapes(tensors: dict[str, Tensor]) -> set[tuple[str, tuple[int, ...]]]:
    return {(name, tuple(tensor.shape)) for name, tensor in tensors.items()}


@dataclass
class CausalState:
    """What decoding remembers of a batch of prompts with n sequences each; see
    `encoder_decoder.DecoderState`.

    cache: keys and values of the prompt, and of every position of every sequence so far; never
    moved or copied.
    last: int64 [batch, 1], the prompt's last token, which is read at the first step. ancestors:
    bool [batch, n, positions after the prompt], which of them a sequence consists of.
    """

    cache: "DynamicCache"
    last: Tensor
    ancestors: Tensor
    prompt: int
    """Tokens of the prompt before its last."""
    depth: int = 0

    def follow(self, parents: Tensor) -> None:
        """Let sequence i of every prompt continue what was sequence parents[:, i]; parents [batch,
        n].
        """
        rows = torch.arange(len(parents), device=parents.device)[:, None]
        self.ancestors = self.ancestors[rows, parents]


class AdaptedModel(nn.Module):
    """The adapted language model. dtype: what matrix products are computed in; trained weights stay
    float32.
    """

    def __init__(self, model: "PeftModel", dtype: torch.dtype):
        super().__init__()
        self.model, self.dtype = model, dtype

    def hidden(self, tokens: Tensor, mask: Tensor | None = None, *more: Any) -> Tensor:
        """The last layer's states, [batch, T, d]: logits cost as much as some layers, and few
        positions need them.

        more: positions and cache, in the order in which transformers' decoders take them (their
        names change).
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
            mask = None if bool(real.all()) else real.long()
            states = self.hidden(tokens, mask)
            chosen.append(states[:, :-1][response[:, 1:]])
        return self.head(torch.cat(chosen))


class CausalNetwork(AdaptedModel):
    """One that writes identifiers. Numbers of tokens are its own in `forward`, the trie's in
    `step`.
    """

    def __init__(self, model: "PeftModel", vocabulary: Vocabulary, dtype: torch.dtype):
        super().__init__(model, dtype)
        self.register_buffer("order", vocabulary.order, persistent=False)

    def start(self, memory: Tensor) -> CausalState:
        """Read the prompts, int64 [batch, S] without padding, once for all the sequences that will
        follow them.
        """
        from transformers import DynamicCache

        cache = DynamicCache()
        if memory.shape[1] > 1:
            with autocast(self.dtype, memory.device):
                self.hidden(memory[:, :-1], None, None, cache)
        nothing = torch.zeros(len(memory), 1, 0, dtype=torch.bool, device=memory.device)
        return CausalState(cache, memory[:, -1:], nothing, memory.shape[1] - 1)

    def step(self, tokens: Tensor, state: CausalState) -> Tensor:
        """Read one more token of each of n sequences per prompt; tokens [batch, n], the first ones
        are not read. Returns the logits of the token after it, [batch, n, V], in the order of the
        trie's tokens.
        """
        batch, n = tokens.shape
        tokens = state.last if state.depth == 0 else self.order[tokens]
        own = torch.eye(n, dtype=torch.bool, device=tokens.device).expand(batch, n, n)
        state.ancestors = torch.cat([state.ancestors, own], dim=2)
        seen = torch.cat([state.ancestors.new_ones(batch, n, state.prompt), state.ancestors], dim=2)
        self.check_window(state.prompt + state.depth + 1)
        positions = torch.full((batch, n), state.prompt + state.depth, device=tokens.device)
        with autocast(self.dtype, tokens.device):
            states = self.hidden(tokens, forbid(~seen)[:, None], positions, state.cache)
        state.depth += 1
        # Beams are compared by scores that may differ by little, so the last product is not
        # rounded, even where the weights are held in bfloat16 (on a GPU).
        return F.linear(states.float(), self.head.weight.float())[..., self.order]

    def check_window(self, length: int) -> None:
        """LetterError where some layers would not look back to the first of so many tokens, as all
        do here.
        """
        window = getattr(self.model.config, "sliding_window", None)
        if window and length > window:
            raise LetterError(
                f"a prompt and an identifier of {length:,} tokens or more, but some layers of this language model look "
                f"back {window:,}; read fewer items (lcrec.history), or use another model"
            )
