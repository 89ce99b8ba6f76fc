"""BIGRec: a language model writes the title that comes next, and the nearest real titles are
recommended.

Bao et al., "A Bi-Step Grounding Paradigm for Large Language Models in Recommendation Systems", TORS
2025. The first step teaches the model, through LoRA, to write titles; what it writes may be no
item's. The second step grounds it: the catalogue is ranked by the L2 distance between the embedding
of what was written and that of every item's title, both from the language model without LoRA. There
are no new tokens: all that it knows of an item is its title. So grounding cannot tell popular items
from others, for which the paper divides distances by (1 + popularity)^gamma; and of what is chosen
often, or together, it knows what the adapters hold.

Where ours differs. Lists are drawn anew every epoch, and the last weights are kept; the authors
draw 1,024 prompts once and stop by validation loss. Their released command also learns the prompt,
and adapts the q and v projections alone; here it is the response, and all of a block's matrices.
Distances are not weighted by a collaborative model, only by popularity. And a list can teach
several titles (`targets`), as in LC-Rec; they have one.
"""

from collections.abc import Sequence
from operator import index
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from letterlib.baselines.packing import training_windows
from letterlib.data.dataset import Cases, Split
from letterlib.distributed import broadcast, share, weighed
from letterlib.errors import Learned, LetterError
from letterlib.evaluation.metrics import gains_at, ranks_of
from letterlib.evaluation.ranking import Ranking, check_histories, rank_by_score
from letterlib.generators.alignment import Example
from letterlib.generators.causal import adapters_of, load_to_adapt, put_adapters, with_adapters
from letterlib.generators.language_model import check_titles
from letterlib.generators.response_groups import response_groups
from letterlib.generators.title_network import Title, TitleNetwork
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


class BIGRecConfig(Settings):
    """Model and training of one BIGRec; the defaults are the authors', except for the language
    model.
    """

    language_model: str = Field(
        "smollm2", description="smollm2, tiny, or a Hugging Face causal model id or folder"
    )
    rank: int = Field(8, ge=1, description="of LoRA")
    lora_alpha: float = Field(
        16, gt=0, description="what LoRA adds is multiplied by this over the rank"
    )
    dropout: float = Field(0.05, ge=0, lt=1, description="before LoRA")
    history: int = Field(10, ge=1, description="items read, the most recent ones")
    targets: int = Field(
        1,
        ge=1,
        description="titles that a list teaches; with more than one, from shorter histories",
    )
    title_tokens: int = Field(
        64, ge=1, description="of a longer title only the first ones are read, written, compared"
    )
    epochs: Epochs = 50
    lists: int | None = Field(1024, ge=1, description="lists drawn per epoch; None: nearly all")
    batch_size: int = Field(128, ge=1, description="lists")
    learning_rate: LearningRate = 1e-4
    weight_decay: WeightDecay = 0.0
    warmup: float = Field(
        0.05, ge=0, lt=1, description="share of all steps in which the rate rises"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations twice instead of keeping them"
    )
    beam: int = Field(4, ge=1, description="titles kept while one is written; 1 is greedy")
    gammas: tuple[Annotated[float, Field(ge=0, le=100)], ...] = Field(
        (0.0,), min_length=1, description="weights of popularity; validation chooses"
    )
    validation_cases: int = Field(
        200,
        ge=1,
        description="for that choice, where gammas has several; each costs a written title",
    )
    dtype: Dtype = "auto"


class BIGRec:
    """The recommender: `fit` on the training part, `recommend` from a case's history alone.

    With an empty history nothing can be written, and items are ranked by popularity in training.
    Items with equal titles are at equal distances; without gamma the lower id stands first.
    checkpoint: a file to resume an interrupted `fit` from.
    """

    network: TitleNetwork = Learned()
    titles: list[Title] = Learned()
    popularity: Tensor = Learned()

    def __init__(
        self,
        config: BIGRecConfig,
        seed: int = 0,
        device: str = "auto",
        checkpoint: Path | None = None,
    ):
        self.config, self.seed, self.checkpoint = config, index(seed), checkpoint
        self.device = resolve_device(device)
        self.log = TrainingLog()
        self.gamma = config.gammas[0]

    def _prepare(self, titles: Sequence[str], popularity: Tensor) -> None:
        """Load the language model and put untrained adapters beside it.

        titles: one per item. popularity: how often each is in training, int64 [n_items].
        """
        config, dtype = self.config, resolve_dtype(self.config.dtype, self.device)
        tokenizer, model = load_to_adapt(
            config.language_model, self.device, dtype, config.gradient_checkpointing
        )
        with seeded(self.seed):
            adapted = with_adapters(model, [], config.rank, config.lora_alpha, config.dropout)
        self.network = (
            TitleNetwork(tokenizer, adapted, dtype, config.title_tokens).to(self.device).eval()
        )
        self.names, self.titles = list(titles), [self.network.tokens(title) for title in titles]
        self.popularity = popularity.to(self.device)

    def prompt(self, items: Sequence[int]) -> Title:
        """What stands before the title of the item after a history."""
        return self.network.prompt(self.titles[item] for item in items)

    def example(self, items: Sequence[int], targets: int) -> Example:
        """A list of which the last titles are responses, as many as `targets` says."""
        tokens, read = np.array(self.prompt(items)), len(self.prompt(items[: len(items) - targets]))
        return Example(tokens, np.arange(len(tokens)) >= read)

    def fit(self, split: Split) -> Self:
        config, values, targets = (
            self.config,
            split.train.values,
            min(self.config.targets, self.config.history),
        )
        all_lists = int((-(-np.maximum(split.train.lengths - 1, 0) // targets)).sum())
        if not all_lists:
            raise LetterError(f"{split.dataset.name}: no user has two items to learn from")
        check_titles(split.dataset)
        self._prepare(split.dataset.titles(), torch.tensor(split.train_counts))
        n_lists = min(config.lists or all_lists, all_lists)

        def batches(generator: np.random.Generator):
            starts, ends = training_windows(split.train, targets, generator)
            chosen = generator.permutation(len(starts))[:n_lists]
            owners = split.train.owners[starts]
            begins = np.maximum(starts - (config.history - targets), split.train.offsets[owners])
            for first in range(0, n_lists, config.batch_size):
                rows = share(chosen[first : first + config.batch_size])
                lists = [(values[begins[i] : ends[i] + 1], int(ends[i] - starts[i])) for i in rows]
                yield self.batch([self.example(*one) for one in lists])

        try:
            self.log = train(
                self.network,
                batches,
                title_loss,
                epochs=config.epochs,
                steps_per_epoch=-(-n_lists // config.batch_size),
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                warmup=config.warmup,
                schedule="cosine",
                clip_norm=1.0,
                seed=self.seed,
                what="BIGRec",
                config=config,
                data=split.fingerprint,
                dtype=self.network.dtype,
                checkpoint=self.checkpoint,
            )
            self.gamma = broadcast(lambda: self.best_gamma(split))
        except BaseException:  # half trained is not learnt, even for whoever pressed Ctrl-C
            del self.network
            raise
        return self

    def batch(self, examples: list[Example]) -> tuple[list[tuple[Tensor, ...]], Tensor]:
        """Examples as `AdaptedModel.forward` takes them, and the response tokens [n]; see
        `response_groups`.
        """
        groups, targets, _ = response_groups(examples, self.network.end)
        return [tuple(part.to(self.device) for part in group) for group in groups], targets.to(
            self.device
        )

    def best_gamma(self, split: Split) -> float:
        """The one of config.gammas with the best NDCG@10 on validation cases; the first among
        equals.
        """
        cases = split.cases("valid").sample(self.config.validation_cases, seed=0)
        if len(self.config.gammas) == 1 or not len(cases):
            return self.config.gammas[0]
        histories = cases.without_targets()
        lists = [self.recommend(histories, 10, gamma=gamma).items for gamma in self.config.gammas]
        scores = [float(gains_at(ranks_of(items, cases.targets), 10).mean()) for items in lists]
        return self.config.gammas[int(np.argmax(scores))]

    def write(self, cases: Cases) -> list[Title]:
        """The title written after every history; () after an empty one."""
        check_histories(cases, len(self.titles))
        histories = [cases.history(i)[-self.config.history :] for i in range(len(cases))]
        written = iter(
            self.network.write(
                [self.prompt(one) for one in histories if len(one)], self.config.beam
            )
        )
        return [next(written) if len(one) else () for one in histories]

    def distances(self, cases: Cases) -> Tensor:
        """L2 distances from what was written to every item's title: float32 [n_cases, n_items]; 0
        without history.
        """
        written = self.write(cases)
        some = [row for row, title in enumerate(written) if title]
        result = torch.zeros(len(cases), len(self.titles), device=self.device)
        if some:
            # Through a matrix product it would be faster, but equal embeddings would not be at
            # distance 0.
            exact = "donot_use_mm_for_euclid_dist"
            catalogue = self.network.embed(
                self.titles
            )  # first: so a batch of other titles is as in a loaded model
            titles = self.network.embed([written[row] for row in some])
            result[some] = torch.cdist(titles, catalogue, compute_mode=exact)
        return result

    def recommend(
        self, cases: Cases, k: int, exclude_history: bool = False, *, gamma: float | None = None
    ) -> Ranking:
        """The best k items of the whole catalogue for every case.

        A score is -(1 + popularity)^-gamma x distance, both brought to [0, 1] between the
        catalogue's least and greatest. The item nearest to what was written has distance 0, and
        stays first with any gamma up to 100.
        gamma: default what validation chose; 0 ranks by distance alone.
        """
        gamma = self.gamma if gamma is None else gamma
        weight = (1 + _to_unit(self.popularity.float())) ** -gamma

        def scores(part: Cases) -> Tensor:
            empty = torch.from_numpy(part.lengths == 0)[:, None].to(self.device)
            return torch.where(
                empty, self.popularity.float(), -weight * _to_unit(self.distances(part))
            )

        self.write(
            cases
        )  # and remember it: of all cases more prompts have one length, and are read together
        return rank_by_score(scores, cases, k, exclude_history)

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def save(self, path: str | Path) -> None:
        """One small safetensors file that `load` reads: adapters, configuration, and the titles
        with their embeddings, which take minutes to compute.
        """
        tensors = adapters_of(self.network.model, torch.float32) | {"popularity": self.popularity}
        tensors["embeddings"] = self.network.embed(self.titles)
        report = {"titles": self.names, "gamma": self.gamma}
        save_model(path, "BIGRec", tensors, self.config, self.seed, self.log, report)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote; the language model itself is loaded as config.language_model
        says.
        """
        saved = load_model(path, "BIGRec", BIGRecConfig)
        model = cls(saved.config, saved.seed, device)
        model._prepare(saved.report["titles"], saved.tensors["popularity"])
        put_adapters(model.network.model, saved.tensors, path, model.config.language_model)
        model.network.remember(model.titles, saved.tensors["embeddings"].to(model.device))
        model.log, model.gamma = saved.log, saved.report["gamma"]
        return model


def title_loss(network: nn.Module, batch: tuple[list, Tensor]) -> dict[str, Tensor]:
    """Mean cross-entropy of the response tokens, over all words. A batch: see `BIGRec.batch`."""
    groups, targets = batch
    return weighed({"loss": F.cross_entropy(network(groups).float(), targets)}, len(targets))


def _to_unit(x: Tensor) -> Tensor:
    """Every row to [0, 1], from its least to its greatest; zeros where these are one."""
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    return (x - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)
