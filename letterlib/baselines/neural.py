"""What the neural baselines share: fitting, ranking, saving, losses, and vectors of users.

MF, Caser, HGN, BERT4Rec and SASRec are each a network, its training batches and a score for every
item. Optimiser, schedule, checkpoint selection and the answer to an empty history are the same for
all, so a comparison is about the networks.
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
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from letterlib.data.dataset import NO_ITEM, UNKNOWN_USER, Cases, Sequences, Split
from letterlib.distributed import share, weighed
from letterlib.errors import Learned, LetterError
from letterlib.evaluation.evaluate import validation_ndcg
from letterlib.evaluation.ranking import Ranking, check_histories, rank_by_score
from letterlib.train import (
    Dtype,
    Epochs,
    LearningRate,
    Settings,
    TrainingLog,
    WeightDecay,
    compute_dtype,
    load_model,
    resolve_device,
    resolve_dtype,
    save_model,
    seeded,
    train,
)

Batches = Callable[[np.random.Generator], Iterable[Any]]


class NeuralConfig(Settings):
    """Size and training of a neural baseline."""

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

    config: its settings; keywords set single fields, `SASRec(dimensions=32)`.
    checkpoint: a file from which an interrupted `fit` resumes.
    name: what it is called. leaves_out_history: whether validation ranks without the history.

    A case without a history, of a user without a vector, is answered by popularity in training.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[NeuralConfig]]
    leaves_out_history: ClassVar[bool] = False
    network: nn.Module = Learned()
    popularity: Tensor = Learned()
    n_users: int = Learned()

    def __init__(
        self,
        config: NeuralConfig | None = None,
        seed: int = 0,
        device: str = "auto",
        checkpoint: Path | None = None,
        **settings: Any,
    ):
        self.config = self.config_class.resolve(config, settings)
        self.seed, self.checkpoint = index(seed), checkpoint
        self.device = resolve_device(device)
        self.log = TrainingLog()

    @abstractmethod
    def build(self, n_users: int, n_items: int) -> nn.Module:
        """The untrained network."""

    @abstractmethod
    def batches(self, split: Split) -> tuple[int, Batches]:
        """Steps an epoch, and a function from an epoch's generator to its batches.

        With several processes, batches are this process's shares.
        """

    @abstractmethod
    def loss(self, network: nn.Module, batch: Any) -> dict[str, Tensor]:
        """The parts of one batch's loss; "loss" is minimised."""

    @abstractmethod
    def scores(self, cases: Cases) -> Tensor:
        """A score for every item, float [n_cases, n_items]; the network is in evaluation mode."""

    def knows(self, cases: Cases) -> np.ndarray:
        """Which cases tell this model something, bool [n_cases]: those with a history."""
        return cases.lengths > 0

    def fit(self, split: Split) -> Self:
        """Train new weights on `split.train`; the epoch is chosen on validation NDCG@10."""
        config = self.config
        steps, batches = self.batches(split)
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
        except BaseException:  # an interrupted fit leaves no half-trained model
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
        model.n_users = saved.report["users"]
        with seeded(saved.seed):
            model.network = model.build(model.n_users, model.n_items).to(model.device)
        model.network.load_state_dict(saved.tensors)
        model.log = saved.log
        return model


# Users with a vector: MF, Caser, HGN


class UserVectors(nn.Module):
    """A vector per user, [n_users, d], and a map from a history to such a vector for unknown users.

    The mean of a user's item vectors is not a user vector: users and items live in different
    spaces, of which only products were trained. So after training a ridge regression from that mean
    to the user's vector is fitted on the users that have both.
    """

    def __init__(self, n_users: int, dimensions: int):
        super().__init__()
        self.table = nn.Embedding(n_users, dimensions)
        self.register_buffer("slope", torch.zeros(dimensions, dimensions))
        self.register_buffer("offset", torch.zeros(dimensions))

    def forward(self, users: Tensor) -> Tensor:
        return self.table(users)

    @torch.no_grad()
    def fit_unknown_users(
        self, train: Sequences, items: Tensor, fewest: int = 1, ridge: float = 0.01
    ) -> None:
        """Fit the regression in closed form.

        items: item vectors, float [>= n_items, d].
        fewest: users with fewer training items get the regression's vector instead of their own.
        ridge: penalty in parts of the mean variance.
        """
        trained = torch.from_numpy(train.lengths >= fewest).to(items.device)
        whole = Cases(np.arange(len(train)), train.values, train.offsets[:-1], train.offsets[1:])
        all_means = _means(whole, items)
        means, targets = all_means[trained].double(), self.table.weight[trained].double()
        centred, wanted = means - means.mean(dim=0), targets - targets.mean(dim=0)
        gram = centred.T @ centred
        weight = (ridge * gram.diagonal().mean()).clamp(min=1e-12)
        slope = torch.linalg.solve(
            gram + weight * torch.eye(len(gram)).to(gram), centred.T @ wanted
        )
        self.slope.copy_(slope)
        self.offset.copy_(targets.mean(dim=0) - means.mean(dim=0) @ slope)
        self.table.weight[~trained] = all_means[~trained] @ self.slope + self.offset

    def of(self, cases: Cases, items: Tensor) -> Tensor:
        """Each case's user vector, that of an unknown user from the history: [n_cases, d]."""
        users = torch.from_numpy(cases.users).to(items.device)
        folded = _means(cases, items) @ self.slope + self.offset
        return torch.where((users != UNKNOWN_USER)[:, None], self.table(users.clamp(min=0)), folded)


def _means(cases: Cases, items: Tensor) -> Tensor:
    """The mean item vector of each history, zero where that is empty: [n_cases, d]."""
    values, starts = cases.flat_histories()[1], np.cumsum(cases.lengths) - cases.lengths
    values, starts = (torch.from_numpy(a).to(items.device) for a in (values, starts))
    return F.embedding_bag(values, items, starts, mode="mean")


class UserRecommender(NeuralRecommender):
    """A recommender with a vector per user; an unknown user's is derived from the history.

    Its network has `users` (`UserVectors`) and `items` (an embedding).
    fewest: training items below which nothing is learned of a user.
    """

    fewest: ClassVar[int] = 1

    def knows(self, cases: Cases) -> np.ndarray:
        return (cases.lengths > 0) | (cases.users != UNKNOWN_USER)

    def fit(self, split: Split) -> Self:
        super().fit(split)
        self.network.users.fit_unknown_users(split.train, self.network.items.weight, self.fewest)
        return self

    def recommend(self, cases: Cases, k: int, exclude_history: bool = False) -> Ranking:
        check_users(cases, self.n_users)
        return super().recommend(cases, k, exclude_history)


def check_users(cases: Cases, n_users: int) -> None:
    """LetterError unless every user was trained on or is UNKNOWN_USER."""
    foreign = cases.users[(cases.users < UNKNOWN_USER) | (cases.users >= n_users)]
    if len(foreign):
        raise LetterError(
            f"user {foreign[0]} is not among the {n_users:,} trained on (ids 0-{n_users - 1}); "
            f"use user {UNKNOWN_USER} to rank by the history alone"
        )


class WindowConfig(NeuralConfig):
    """Size and training of a baseline that reads windows; each predicts the item after it."""

    batch_size: int = Field(
        1024, ge=1, description="windows per step, at most; each predicts the item after it"
    )


class WindowRecommender(UserRecommender):
    """Reads a user's vector and the last `config.window` items: Caser and HGN.

    Its network maps (user vectors, windows) to states, which are compared with `outputs` (an
    embedding) and `bias`. A short history is filled up in front with the item `n_items`, whose
    vector stays zero.
    """

    fewest = 2  # a training case is an item and a history before it

    def batches(self, split: Split) -> tuple[int, Batches]:
        cases = split.cases("train")
        if not len(cases):
            raise LetterError(
                f"{self.name}: no user has two items in training, so there is no next item to learn"
            )
        windows = self._windows(cases, split.n_items)
        users, labels = torch.from_numpy(cases.users), torch.from_numpy(cases.targets)
        steps = -(-len(cases) // self.config.batch_size)

        def batches(generator: np.random.Generator):
            for part in np.array_split(generator.permutation(len(cases)), steps):
                mine = share(part)
                yield users[mine], windows[mine], labels[mine]

        return steps, batches

    def _windows(self, cases: Cases, n_items: int) -> Tensor:
        recent = cases.recent(self.config.window)
        return torch.from_numpy(np.where(recent == NO_ITEM, n_items, recent))

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        users, windows, labels = (tensor.to(self.device) for tensor in batch)
        states = network(network.users(users), windows)
        return softmax_loss(states, network.outputs.weight, network.bias, labels)

    def scores(self, cases: Cases) -> Tensor:
        network = self.network
        users = network.users.of(cases, network.items.weight)
        states = network(users, self._windows(cases, self.n_items).to(self.device))
        return states @ network.outputs.weight.T + network.bias


class Dropout(nn.Dropout):
    """Dropout that on a CPU draws uniform numbers: a third of the time of torch's Bernoulli."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or not self.training or self.p == 0:
            return super().forward(x)
        kept = 1 - self.p
        # A number from [0, 1) plus `kept` rounds down to 1 in a share of `kept`, else to 0.
        mask = torch.rand(x.shape).add_(kept).floor_().div_(kept)
        return x * mask.to(x.dtype)


# Losses over pairs: MF, LightGCN, and SASRec's original loss


def bpr_loss(user: Tensor, liked: Tensor, other: Tensor) -> Tensor:
    """Mean of -log sigmoid(user . liked - user . other). Each: [n, dimensions]."""
    return F.softplus((user * (other - liked)).sum(dim=1)).mean()


def sample_negatives(
    users: np.ndarray, pairs: np.ndarray, n_items: int, generator: np.random.Generator
) -> np.ndarray:
    """For each user an item drawn evenly, again (up to 20 times) while it is one of the user's own.

    users: int64 [n]; pairs: user * n_items + item of every training interaction, sorted.
    Returns int64 [n].
    """
    items = generator.integers(0, n_items, len(users))
    redo = np.arange(len(users))
    for _ in range(20):
        keys = users[redo] * n_items + items[redo]
        redo = redo[pairs[np.minimum(np.searchsorted(pairs, keys), len(pairs) - 1)] == keys]
        if not len(redo):
            break
        items[redo] = generator.integers(0, n_items, len(redo))
    return items


# Softmax over the catalogue: Caser, HGN, BERT4Rec and SASRec

CHUNK = 3_000_000
"""Logits computed at a time: few enough to stay in a processor's cache."""

ROWS = 64
"""Rows are padded to a multiple of this: oneDNN compiles a kernel for each new shape, which on a
matrix unit takes longer than the product itself.
"""


def softmax_loss(states: Tensor, table: Tensor, bias: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Softmax cross-entropy over the catalogue of `states @ table.T + bias`.

    Shapes as in `catalogue_cross_entropy`; bias: [n_items].
    """
    states = torch.cat([states, states.new_ones(len(states), 1)], dim=1)
    table = torch.cat([table, bias[:, None].to(table)], dim=1)  # the bias is one more dimension
    return weighed({"loss": catalogue_cross_entropy(states, table, labels)}, len(labels))


def pad_rows(x: Tensor) -> Tensor:
    """x [n, ...] with rows of zeros after the last, up to the next multiple of ROWS."""
    return F.pad(x, (0, 0) * (x.ndim - 1) + (0, -len(x) % ROWS))


def catalogue_cross_entropy(states: Tensor, table: Tensor, labels: Tensor) -> Tensor:
    """`F.cross_entropy(states @ table.T, labels)` without keeping all logits.

    states: float [n, d]; table: float [n_items, d]; labels: int64 [n]. Returns a scalar.

    The gradient of the logits is (softmax - one hot), so one pass, some rows at a time, computes
    the loss and both gradients. Products are in the autocast dtype, the softmax in float32.
    """
    return _CatalogueCrossEntropy.apply(states, table, labels)


class _CatalogueCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, states: Tensor, table: Tensor, labels: Tensor) -> Tensor:
        dtype = compute_dtype(table)
        fast_states, fast_table = pad_rows(states.to(dtype)), table.to(dtype)
        answers = pad_rows(labels)[:, None]
        grad_states, grad_table = states.new_empty(fast_states.shape), torch.zeros_like(table)
        total = torch.zeros((), device=states.device)
        step = max(128, CHUNK // len(table))  # each step reads and writes all of grad_table
        for i in range(0, len(states), step):
            rows, answer = fast_states[i : i + step], answers[i : i + step]
            logits = (rows @ fast_table.T).float()
            highest = logits.amax(dim=1, keepdim=True)  # subtracted, as exp could overflow
            right = logits.gather(1, answer) - highest
            error = logits.sub_(highest).exp_()
            normalizer = error.sum(dim=1, keepdim=True)
            total += (normalizer.log() - right)[: len(states) - i].sum()
            error.div_(normalizer).scatter_add_(1, answer, torch.full_like(right, -1))
            error = error.to(dtype)
            grad_states[i : i + step] = error @ fast_table
            grad_table += error.T @ rows  # padded rows are zero and add nothing
        ctx.save_for_backward(
            grad_states[: len(states)].div_(len(states)), grad_table.div_(len(states))
        )
        return total / len(states)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_states, grad_table = ctx.saved_tensors
        return grad_states * upstream, grad_table * upstream, None
