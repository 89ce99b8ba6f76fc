"""LC-Rec: a language model that learns identifiers as new words, and then generates them.

Zheng et al., ICDE 2024. With LETTER's identifiers and the ranking-guided loss it is LETTER-LC-Rec.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from letterlib.data.dataset import Cases, Split
from letterlib.distributed import share, weighed
from letterlib.errors import LetterError
from letterlib.generators.alignment import TASKS, AlignmentTasks, Example, prompt_of
from letterlib.generators.causal import (
    CausalNetwork,
    adapters_of,
    load_to_adapt,
    put_adapters,
    with_adapters,
)
from letterlib.generators.intentions import Intentions
from letterlib.generators.language_model import Vocabulary, check_titles, initialise_new_tokens
from letterlib.generators.ranking_loss import ranking_guided_loss
from letterlib.generators.recommender import IdentifierRecommender
from letterlib.generators.response_groups import response_groups
from letterlib.store import digest
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.train import (
    Dtype,
    Epochs,
    LearningRate,
    Settings,
    TrainingLog,
    WeightDecay,
    load_model,
    resolve_device,
    resolve_dtype,
    save_model,
    seeded,
    train,
)


class LCRecConfig(Settings):
    """Model and training of one LC-Rec; the paper's, but for the language model, `words_first` and
    `alignment`.
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
    tasks: tuple[str, ...] = Field(
        TASKS, min_length=1, description="alignment tasks; seqrec is the recommender's own"
    )
    alignment: float = Field(
        0.15, ge=0, description="examples of each other task, if any, per list of seqrec"
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


def check_tasks(tasks: Sequence[str]) -> None:
    """LetterError for a task that is none, or is named twice."""
    unknown = [task for task in tasks if task not in TASKS]
    if unknown:
        raise LetterError(f'LC-Rec: no task "{unknown[0]}"; the tasks are {", ".join(TASKS)}')
    if len(set(tasks)) < len(tasks):
        raise LetterError(f"LC-Rec: tasks = {', '.join(tasks)} names one twice; say each once")


class LCRec(IdentifierRecommender):
    """The recommender: `fit` on the training part, `recommend` from a case's history alone.

    titles: what the items are called, one per item; a new token starts from them where
    config.words_first says so.
    checkpoint: a file to resume an interrupted `fit` from.
    """

    name = "LC-Rec"

    def __init__(
        self,
        identifiers: Identifiers,
        titles: Sequence[str] | None,
        config: LCRecConfig,
        seed: int = 0,
        device: str = "auto",
        checkpoint: Path | None = None,
    ):
        super().__init__(identifiers, seed, resolve_device(device))
        check_tasks(config.tasks)
        if titles is not None and len(titles) != len(identifiers):
            raise LetterError(
                f"LC-Rec: {len(titles):,} titles for {len(identifiers):,} items; give one per item"
            )
        self.config, self.checkpoint = config, checkpoint
        self.log = TrainingLog()
        dtype = resolve_dtype(config.dtype, self.device)
        tokenizer, model = load_to_adapt(
            config.language_model, self.device, dtype, config.gradient_checkpointing
        )
        self.vocabulary = Vocabulary.extend(tokenizer, model, identifiers)
        texts = list(titles) if titles is not None and config.words_first else None
        self.first_weights = digest(texts)
        initialise_new_tokens(model, self.vocabulary, texts, self.seed)
        with seeded(seed):
            adapted = with_adapters(
                model,
                self.vocabulary.new_tokens.tolist(),
                config.rank,
                config.lora_alpha,
                config.dropout,
            )
        self.network = CausalNetwork(adapted, self.vocabulary, dtype).to(self.device).eval()
        self.history, self.beam, self.n_tokens = (
            config.history,
            config.beam,
            len(self.vocabulary.order),
        )
        self.n_heads = model.config.num_attention_heads

    def _memory(self, cases: Cases) -> Tensor:
        """The prompts, int64 [n, S]: a wording of "seqrec" and the identifiers of the history."""
        lengths = np.minimum(cases.lengths, self.history)
        prompts = [prompt_of(self.vocabulary, items) for items in cases.recent(int(lengths[0]))]
        return torch.tensor(prompts, device=self.device)

    def fit(self, split: Split) -> Self:
        """Train from the first weights; after `load`, which has none of them, from the loaded ones."""
        self.check_identifiers(split)
        if set(self.config.tasks) != {"seqrec"}:
            check_titles(split.dataset)
        longest = prompt_of(
            self.vocabulary, [0] * min(self.history, int(split.dataset.sequences.lengths.max()))
        )
        self.network.check_window(
            len(longest) + self.identifiers.n_levels
        )  # it would stop the first ranking
        config, tasks = self.config, self.alignment_tasks(split)
        others = [task for task in config.tasks if task != "seqrec"]
        n_lists = min(config.lists or tasks.n_lists, tasks.n_lists)
        per_epoch = {task: round(config.alignment * n_lists) for task in others}
        per_epoch |= {"seqrec": n_lists} if "seqrec" in config.tasks else {}
        n_examples = sum(per_epoch.values())
        if not n_examples:
            raise LetterError(
                f"LC-Rec: no example to learn from with tasks = {', '.join(config.tasks)}, alignment = "
                f"{config.alignment:g} and {n_lists:,} lists; add seqrec to the tasks, or raise alignment or lists"
            )

        def batches(generator: np.random.Generator):
            examples = [
                tasks.draw(task, generator) for task in others for _ in range(per_epoch[task])
            ]
            if "seqrec" in per_epoch:
                examples += tasks.lists(generator)[:n_lists]
            order = generator.permutation(len(examples))
            for start in range(0, n_examples, config.batch_size):
                yield self.batch(
                    [examples[i] for i in share(order[start : start + config.batch_size])]
                )

        with self.from_first_weights():
            self.log = train(
                self.network,
                batches,
                response_loss(config.tau),
                epochs=config.epochs,
                steps_per_epoch=-(-n_examples // config.batch_size),
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                warmup=config.warmup,
                schedule="cosine",
                clip_norm=1.0,
                seed=self.seed,
                what="LC-Rec",
                config=config,
                data=digest(split.fingerprint, self.identifiers.codes, self.first_weights),
                dtype=self.network.dtype,
                checkpoint=self.checkpoint,
            )
        return self

    def alignment_tasks(self, split: Split) -> AlignmentTasks:
        """The examples that `fit` draws from."""
        path = self.config.intentions
        intentions = None if path is None else Intentions.load(path, split.dataset)
        return AlignmentTasks(split, self.vocabulary, self.history, intentions, self.config.targets)

    def batch(
        self, examples: list[Example]
    ) -> tuple[list[tuple[Tensor, Tensor, Tensor]], Tensor, Tensor]:
        """Examples as `AdaptedModel.forward` and `response_loss` take them: see `response_groups`."""
        groups, targets, tasks = response_groups(examples, self.vocabulary.end)
        on_device = [tuple(part.to(self.device) for part in group) for group in groups]
        return on_device, targets.to(self.device), tasks.to(self.device)

    def losses_by_task(self) -> dict[str, list[float]]:
        """Mean loss of a response token, epoch by epoch and task by task, from the log of `fit`."""

        def mean(epoch: dict[str, float], task: str) -> float:
            n = epoch[f"{task}: tokens"]
            return epoch[f"{task}: sum"] / n if n else float("nan")

        return {
            task: [mean(epoch, task) for epoch in self.log.losses] for task in self.config.tasks
        }

    def merged(self) -> nn.Module:
        """The language model with what was learnt written into its weights, as a plain transformers
        model.
        """
        merged = copy.deepcopy(self.network.model).merge_and_unload()
        merged.set_attn_implementation("sdpa")  # transformers' usual one
        return merged

    @property
    def n_trained(self) -> int:
        """Parameters that training changes: LoRA's, and the embeddings of the new tokens."""
        return sum(p.numel() for p in self.network.parameters() if p.requires_grad)

    def save(self, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
        """One small safetensors file that `load` reads: adapters, new embeddings, identifiers and
        configuration.

        dtype: of adapters and embeddings in the file; in float16 it takes half the room.
        """
        tensors = adapters_of(self.network.model, dtype)
        tensors["codes"] = torch.tensor(self.identifiers.codes)
        tensors["level_sizes"] = torch.tensor(self.identifiers.level_sizes)
        save_model(path, "LC-Rec", tensors, self.config, self.seed, self.log)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote; the language model itself is loaded as config.language_model
        says.
        """
        saved = load_model(path, "LC-Rec", LCRecConfig)
        identifiers = Identifiers(
            saved.tensors.pop("codes").numpy(), tuple(saved.tensors.pop("level_sizes").tolist())
        )
        model = cls(identifiers, None, saved.config, saved.seed, device)
        put_adapters(model.network.model, saved.tensors, path, model.config.language_model)
        model.log = saved.log
        return model


def response_loss(tau: float):
    """The loss that `train` minimises: the ranking-guided loss of the response tokens. A batch: see
    `LCRec.batch`.

    Beside it, for the log: the sum of every task's plain losses, and the number of its tokens.
    """

    def loss(network: nn.Module, batch: tuple[list, Tensor, Tensor]) -> dict[str, Tensor]:
        groups, targets, tasks = batch
        logits = network(groups)
        parts = weighed({"loss": ranking_guided_loss(logits, targets, tau)}, len(targets))
        with torch.no_grad():
            each = F.cross_entropy(logits.float(), targets, reduction="none")
            for number, task in enumerate(TASKS):
                parts[f"{task}: sum"] = each[tasks == number].sum()
                parts[f"{task}: tokens"] = (tasks == number).float().sum()
        return parts

    return loss
