"""LC-Rec: a language model that learns identifiers as new words, and then generates them.

Zheng et al., ICDE 2024. With LETTER's identifiers and the ranking-guided loss it is LETTER-LC-Rec.
What it learns is in `prompts`, the language model in `language_model`.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from letterlib.data.dataset import Cases, Split
from letterlib.distributed import share, weighed
from letterlib.generators.language_model import (
    AdaptedModel,
    Vocabulary,
    adapters_of,
    check_titles,
    initialise_new_tokens,
    load_to_adapt,
    put_adapters,
    with_adapters,
)
from letterlib.generators.prompts import (
    TASKS,
    AlignmentTasks,
    Intentions,
    Task,
    prompt_of,
    response_groups,
)
from letterlib.generators.ranking_loss import ranking_guided_loss
from letterlib.generators.recommender import (
    IdentifierRecommender,
    identifiers_in,
    tensors_of,
    train_generator,
)
from letterlib.generators.tiger import forbid
from letterlib.store import digest
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.train import (
    Dtype,
    Epochs,
    LearningRate,
    Settings,
    WeightDecay,
    autocast,
    load_model,
    resolve_dtype,
    save_model,
    seeded,
)

if TYPE_CHECKING:  # importing them takes seconds
    from peft import PeftModel
    from transformers import DynamicCache


class LCRecConfig(Settings):
    """Model and training of one LC-Rec.

    The defaults are the paper's, except language_model, words_first and alignment.
    """

    language_model: str = Field(
        "smollm2", description="smollm2, tiny, or a Hugging Face causal model id or folder"
    )
    rank: int = Field(8, ge=1, description="of LoRA")
    lora_alpha: float = Field(
        32, gt=0, description="what LoRA adds is multiplied by this over the rank"
    )
    dropout: float = Field(0.05, ge=0, lt=1, description="before LoRA")
    words_first: bool = Field(
        True, description="new tokens start as the mean of their items' words, else at random"
    )
    history: int = Field(20, ge=1, description="items read, the most recent ones")
    targets: int = Field(
        1, ge=1, description="items that a list teaches; with more than one, from shorter histories"
    )
    tasks: tuple[Task, ...] = Field(
        TASKS, min_length=1, description="alignment tasks; seqrec is the recommender's own"
    )
    alignment: float = Field(
        0.15, ge=0, description="examples of each other task per list of seqrec"
    )
    intentions: Path | None = Field(
        None, description="<Name>.user.json with what people say; templates without it"
    )
    tau: float = Field(
        1.0, gt=0, description="temperature of the ranking-guided loss; 1 is plain cross-entropy"
    )
    epochs: Epochs = 4
    lists: int | None = Field(
        None, ge=1, description="lists of seqrec drawn per epoch; nearly all when not said"
    )
    batch_size: int = Field(128, ge=1, description="examples of any task; a list of seqrec is one")
    learning_rate: LearningRate = 1e-4
    weight_decay: WeightDecay = 0.01
    warmup: float = Field(
        0.01, ge=0, lt=1, description="share of all steps in which the rate rises"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations twice instead of keeping them"
    )
    beam: int = Field(
        20, ge=1, description="prefixes kept per level, at least as many as items are asked for"
    )
    dtype: Dtype = "auto"


def response_loss(
    tau: float,
) -> Callable[[nn.Module, tuple[list, Tensor, Tensor]], dict[str, Tensor]]:
    """The loss to minimise: the ranking-guided loss of the response tokens.

    A batch is what `response_groups` returns. For the log there are also the sum of every task's
    plain losses, and the number of its tokens.
    """

    def loss(network: nn.Module, batch: tuple[list, Tensor, Tensor]) -> dict[str, Tensor]:
        groups, targets, tasks = batch
        logits = network(groups)
        targets, tasks = targets.to(logits.device), tasks.to(logits.device)
        parts = weighed({"loss": ranking_guided_loss(logits, targets, tau)}, len(targets))
        with torch.no_grad():
            losses = F.cross_entropy(logits.float(), targets, reduction="none")
            for number, task in enumerate(TASKS):
                parts[f"{task}: sum"] = losses[tasks == number].sum()
                parts[f"{task}: tokens"] = (tasks == number).float().sum()
        return parts

    return loss


@dataclass
class CausalState:
    """What decoding remembers of a batch of prompts, n sequences each; as `tiger.DecoderState`.

    cache: keys and values of the prompt and of every position so far of any sequence.
    last: int64 [batch, 1], the prompt's last token, which is read at the first step.
    ancestors: bool [batch, n, positions after the prompt], which of them a sequence consists of.
    prompt: tokens of the prompt before its last.
    depth: steps so far.
    """

    cache: "DynamicCache"
    last: Tensor
    ancestors: Tensor
    prompt: int
    depth: int = 0

    def follow(self, parents: Tensor) -> None:
        """Let sequence i of each prompt continue what was its sequence parents[:, i]."""
        rows = torch.arange(len(parents), device=parents.device)[:, None]
        self.ancestors = self.ancestors[rows, parents]


class CausalNetwork(AdaptedModel):
    """An adapted language model that writes identifiers.

    `forward` takes the language model's numbers of tokens, `step` the trie's.
    """

    def __init__(self, model: "PeftModel", vocabulary: Vocabulary, dtype: torch.dtype):
        super().__init__(model, dtype)
        self.register_buffer("order", vocabulary.order, persistent=False)

    def start(self, memory: Tensor) -> CausalState:
        """Read prompts, int64 [batch, S] without padding, once for all sequences after them."""
        from transformers import DynamicCache

        cache = DynamicCache()
        if memory.shape[1] > 1:
            with autocast(self.dtype, memory.device):
                self.hidden(memory[:, :-1], None, None, cache)
        nothing = torch.zeros(len(memory), 1, 0, dtype=torch.bool, device=memory.device)
        return CausalState(cache, memory[:, -1:], nothing, memory.shape[1] - 1)

    def step(self, tokens: Tensor, state: CausalState) -> Tensor:
        """Append tokens [batch, n] to the n sequences of every prompt; the first ones are not read.

        Returns the logits of what comes next, [batch, n, V], in the order of the trie's tokens.
        """
        batch, n = tokens.shape
        tokens = state.last if state.depth == 0 else self.order[tokens]
        own = torch.eye(n, dtype=torch.bool, device=tokens.device).expand(batch, n, n)
        state.ancestors = torch.cat([state.ancestors, own], dim=2)
        seen = torch.cat([state.ancestors.new_ones(batch, n, state.prompt), state.ancestors], dim=2)
        positions = torch.full((batch, n), state.prompt + state.depth, device=tokens.device)
        with autocast(self.dtype, tokens.device):
            states = self.hidden(tokens, forbid(~seen)[:, None], positions, state.cache)
        state.depth += 1
        # Beams are compared by scores that differ by little: the last product is in float32.
        return F.linear(states.float(), self.head.weight.float())[..., self.order]


class LCRec(IdentifierRecommender):
    """LC-Rec as a recommender: `fit` on the training part, then `recommend` for histories.

    identifiers: one per item.
    titles: one per item; with config.words_first a new token starts from them.
    config: its settings; or give them as keywords, `LCRec(identifiers, titles, epochs=3)`.
    seed: of new tokens, adapters, examples and dropout, and of the order of items that share an
        identifier.
    device: "auto", "cpu", "cuda" or "cuda:NUMBER".
    checkpoint: a file from which an interrupted `fit` resumes.
    """

    name = "LC-Rec"

    def __init__(
        self,
        identifiers: Identifiers,
        titles: Sequence[str] | None = None,
        config: LCRecConfig | None = None,
        seed: int = 0,
        device: str = "auto",
        checkpoint: Path | None = None,
        **settings: Any,
    ):
        config = LCRecConfig.resolve(config, settings)
        super().__init__(identifiers, config, seed, device, checkpoint)
        dtype = resolve_dtype(config.dtype, self.device)
        tokenizer, model = load_to_adapt(
            config.language_model, self.device, dtype, config.gradient_checkpointing
        )
        self.vocabulary = Vocabulary.extend(tokenizer, model, identifiers)
        texts = list(titles) if titles is not None and config.words_first else None
        self.first_weights_digest = digest(texts)
        initialise_new_tokens(model, self.vocabulary, texts, self.seed)
        new = self.vocabulary.new_tokens.tolist()
        with seeded(seed):
            adapted = with_adapters(model, new, config.rank, config.lora_alpha, config.dropout)
        self.network = CausalNetwork(adapted, self.vocabulary, dtype).to(self.device).eval()
        self.n_tokens = len(self.vocabulary.order)
        self.n_heads = model.config.num_attention_heads

    def _memory(self, cases: Cases) -> Tensor:
        """The prompts, int64 [n, S]: a wording of "seqrec" and the identifiers of the history."""
        length = min(int(cases.lengths[0]), self.history)
        prompts = [prompt_of(self.vocabulary, items) for items in cases.recent(length)]
        return torch.tensor(prompts, device=self.device)

    def fit(self, split: Split) -> Self:
        """Train on lists of the training part, and on examples of the other tasks."""
        self.check_identifiers(split)
        config = self.config
        if set(config.tasks) != {"seqrec"}:
            check_titles(split.dataset)
        tasks = self.alignment_tasks(split)
        others = [task for task in config.tasks if task != "seqrec"]
        n_lists = min(config.lists or tasks.n_lists, tasks.n_lists)
        per_epoch = {task: round(config.alignment * n_lists) for task in others}
        per_epoch |= {"seqrec": n_lists} if "seqrec" in config.tasks else {}
        n_examples = sum(per_epoch.values())

        def batches(generator: np.random.Generator):
            examples = [
                tasks.draw(task, generator) for task in others for _ in range(per_epoch[task])
            ]
            if "seqrec" in per_epoch:
                examples += tasks.lists(generator)[:n_lists]
            order = generator.permutation(len(examples))
            for start in range(0, n_examples, config.batch_size):
                part = share(order[start : start + config.batch_size])
                yield response_groups([examples[i] for i in part], self.vocabulary.end)

        with self.from_first_weights():
            self.log = train_generator(
                self,
                batches,
                response_loss(config.tau),
                n_examples,
                data=digest(split.fingerprint, self.identifiers.codes, self.first_weights_digest),
                dtype=self.network.dtype,
            )
        return self

    def alignment_tasks(self, split: Split) -> AlignmentTasks:
        """The examples that `fit` draws from."""
        path = self.config.intentions
        intentions = None if path is None else Intentions.load(path, split.dataset)
        return AlignmentTasks(split, self.vocabulary, self.history, intentions, self.config.targets)

    def losses_by_task(self) -> dict[str, list[float]]:
        """Mean loss of a response token by task, epoch by epoch, from the log of `fit`."""

        def mean(epoch: dict[str, float], task: str) -> float:
            n = epoch[f"{task}: tokens"]
            return epoch[f"{task}: sum"] / n if n else float("nan")

        return {
            task: [mean(epoch, task) for epoch in self.log.losses] for task in self.config.tasks
        }

    def merged(self) -> nn.Module:
        """A plain transformers model with the adapters written into its weights."""
        merged = copy.deepcopy(self.network.model).merge_and_unload()
        merged.set_attn_implementation("sdpa")  # transformers' usual one
        return merged

    @property
    def n_trained(self) -> int:
        """Parameters that training changes: LoRA's, and the embeddings of the new tokens."""
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def save(self, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """Write one small safetensors file: adapters, new embeddings, identifiers and settings.

        dtype: of adapters and embeddings in the file; float16 halves it.
        """
        tensors = adapters_of(self.network.model, dtype) | tensors_of(self.identifiers)
        save_model(path, "LC-Rec", tensors, self.config, self.seed, self.log)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote; the language model is loaded as config.language_model says."""
        saved = load_model(path, "LC-Rec", LCRecConfig)
        model = cls(identifiers_in(saved.tensors), None, saved.config, saved.seed, device)
        put_adapters(model.network.model, saved.tensors)
        model.log = saved.log
        return model
