"""What the conventional neural recommenders share: fit, recommend, save, load.

MF, Caser, HGN, BERT4Rec and SASRec are each a network, what it is trained on, and a score for every
item. The rest is here, so that a comparison compares networks and not the care taken with them: the
same optimiser and schedule, the same choice of an epoch, the same answer to an empty history.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from operator import index
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from letterlib.baselines.catalogue_softmax import catalogue_cross_entropy
from letterlib.data.dataset import Cases, Split
from letterlib.distributed import weighed
from letterlib.evaluation.learned import Learned
from letterlib.evaluation.ranking import Ranking, check_histories, rank_by_score
from letterlib.evaluation.validation import validation_ndcg
from letterlib.saved_model import load_model, save_model
from letterlib.train import (
    Dtype,
    Epochs,
    LearningRate,
    Settings,
    TrainingLog,
    WeightDecay,
    resolve_device,
    resolve_dtype,
    seeded,
    train,
)

Batches = Callable[[np.random.Generator], Iterable[Any]]


class NeuralConfig(Settings):
    """What every such model is asked: its width and its training."""

    dimensions: int = Field(64, ge=1, description="width of user and item vectors")
    epochs: Epochs = 50
    batch_size: int = Field(
        1024, ge=1, description="items predicted per step, about; at least those of one history"
    )
    learning_rate: LearningRate = 1e-3
    weight_decay: WeightDecay = 0.0
    patience: int = Field(
        5, ge=1, description="validations (one an epoch) without a new best before stopping"
    )
    dtype: Dtype = "auto"


class NeuralRecommender(ABC):
    """A network with a score for every item: `fit` on the training part, `recommend` for cases.

    checkpoint: a file to resume an interrupted `fit` from. Where a case tells a model nothing (no
    history, and no user whose vector it has), items are ranked by popularity in training.
    name: what it is called. leaves_out_history: whether validation ranks without the history's
    items.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[NeuralConfig]]
    leaves_out_history: ClassVar[bool] = False
    network: nn.Module = Learned()
    popularity: Tensor = Learned()
    n_users: int = Learned()

    def __init__(
        self,
        config: NeuralConfig,
        seed: int = 0,
        device: str = "auto",
        checkpoint: Path | None = None,
    ):
        self.config, self.seed, self.checkpoint = config, index(seed), checkpoint
        self.device = resolve_device(device)
        self.log = TrainingLog()

    @abstractmethod
    def build(self, n_users: int, n_items: int) -> nn.Module:
        """The untrained network."""

    @abstractmethod
    def batches(self, split: Split) -> tuple[int, Batches]:
        """Steps an epoch, and what yields that many batches (this process's shares) from an epoch's
        generator.
        """

    @abstractmethod
    def loss(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
        """The parts of one batch's loss; "loss" is minimised."""

    @abstractmethod
    def scores(self, cases: Cases) -> Tensor:
        """A score for every item, float [n_cases, n_items], by the network in evaluation mode."""

    def knows(self, cases: Cases) -> np.ndarray:
        """Which cases tell this model something, bool [n_cases]: those with a history."""
        return cases.lengths > 0

    def fit(self, split: Split) -> Self:
        """Train from new weights; what an earlier `fit` or `load` gave is gone."""
        config = self.config
        steps, batches = self.batches(
            split
        )  # first: where it refuses, this model has still learnt nothing
        with seeded(self.seed):
            self.network = self.build(split.n_users, split.n_items).to(self.device)
        self.popularity = torch.tensor(split.train_counts).float()
        self.n_users = split.n_users

        def validated(cases: Cases, k: int) -> Ranking:
            return self.recommend(cases, k, exclude_history=self.leaves_out_history)

        try:
            self.log = train(
                self.network,
                batches,
                self.loss,
                epochs=config.epochs,
                steps_per_epoch=steps,
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                warmup=0.05,
                schedule="cosine",
                seed=self.seed,
                what=f"{self.name} {config.dimensions}-d",
                config=config,
                data=split.fingerprint,
                dtype=resolve_dtype(config.dtype, self.device),
                validate=validation_ndcg(split, validated),
                patience=config.patience,
                checkpoint=self.checkpoint,
            )
        except BaseException:  # half trained is not learnt, even for whoever pressed Ctrl-C
            del self.network
            raise
        return self

    def recommend(self, cases: Cases, k: int, exclude_history: bool = False) -> Ranking:
        """The best k items of the whole catalogue for every case."""
        check_histories(cases, self.n_items)
        return rank_by_score(self._scores, cases, k, exclude_history)

    @torch.no_grad()
    def _scores(self, cases: Cases) -> Tensor:
        self.network.eval()
        scores = self.scores(cases)
        scores[torch.from_numpy(~self.knows(cases))] = self.popularity.to(scores.device)
        return scores

    @property
    def n_items(self) -> int:
        return len(self.popularity)

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def save(self, path: str | Path) -> None:
        """One safetensors file that `load` reads."""
        tensors = self.network.state_dict() | {"popularity": self.popularity}
        save_model(
            path, self.name, tensors, self.config, self.seed, self.log, {"users": self.n_users}
        )

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        saved = load_model(path, cls.name, cls.config_class)
        model = cls(saved.config, saved.seed, device)
        model.popularity = saved.tensors.pop("popularity")
        model.n_users = saved.report.get(
            "users", 0
        )  # SASRec's older files do not say, and it has no use for it
        with seeded(saved.seed):
            model.network = model.build(model.n_users, model.n_items).to(model.device)
        model.network.load_state_dict(saved.tensors)
        model.log = saved.log
        return model


class Dropout(nn.Dropout):
    """torch's own, but that a CPU draws uniform numbers, which takes a third of the time of
    Bernoulli's.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not self.training or self.p == 0:
            return super().forward(x)
        share = 1 - self.p
        # A number from [0, 1) plus `share` is 1 or more, so 1 once rounded down, in `share` of all
        # cases.
        kept = torch.rand(x.shape).add_(share).floor_().div_(share)
        return x * kept.to(x.dtype)


def softmax_loss(states: Tensor, table: Tensor, bias: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Softmax cross-entropy over the catalogue of `states @ table.T + bias`; shapes as
    `catalogue_cross_entropy`.
    """
    states = torch.cat(
        [states, states.new_ones(len(states), 1)], dim=1
    )  # the bias is one more dimension
    table = torch.cat([table, bias[:, None].to(table)], dim=1)
    return weighed({"loss": catalogue_cross_entropy(states, table, labels)}, len(labels))
