"""Recommenders that have a vector for every user (MF, Caser, HGN), and what they do with a user
they do not know.
"""

from typing import Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from letterlib.baselines.neural import Batches, NeuralConfig, NeuralRecommender, softmax_loss
from letterlib.data.dataset import NO_ITEM, UNKNOWN_USER, Cases, Sequences, Split
from letterlib.distributed import share
from letterlib.errors import LetterError
from letterlib.evaluation.ranking import Ranking


class UserVectors(nn.Module):
    """A vector per user, [n_users, d], and for strangers the way from the items of a history to
    such a vector.

    A stranger has no vector of his own, and the mean of his items' vectors is none: users and items
    live in different spaces, of which only products were trained. So the way from one to the other
    is learnt from the users that have both, after training: a ridge regression from the mean of a
    user's item vectors to the user's vector. A user from whom nothing could be learnt gets that
    vector, too, in the place of noise.
    """

    def __init__(self, n_users: int, dimensions: int):
        super().__init__()
        self.table = nn.Embedding(n_users, dimensions)
        self.register_buffer("slope", torch.zeros(dimensions, dimensions))
        self.register_buffer("offset", torch.zeros(dimensions))

    def forward(self, users: Tensor) -> Tensor:
        return self.table(users)

    @torch.no_grad()
    def learn_strangers(
        self, train: Sequences, items: Tensor, fewest: int = 1, ridge: float = 0.01
    ) -> None:
        """Fit slope and offset in closed form, and give users with fewer than `fewest` items the
        vectors of strangers.

        items: [>= n_items, d]. ridge: in parts of the mean variance.
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
        """Each case's user vector, a stranger's from the history: [n_cases, d]."""
        users = torch.from_numpy(cases.users).to(items.device)
        folded = _means(cases, items) @ self.slope + self.offset
        return torch.where((users != UNKNOWN_USER)[:, None], self.table(users.clamp(min=0)), folded)


def _means(cases: Cases, items: Tensor) -> Tensor:
    """The mean vector of each history, zero where that is empty: [n_cases, d]."""
    values, starts = cases.flat_histories()[1], np.cumsum(cases.lengths) - cases.lengths
    values, starts = (torch.from_numpy(a).to(items.device) for a in (values, starts))
    return F.embedding_bag(values, items, starts, mode="mean")


class UserRecommender(NeuralRecommender):
    """One that has a vector for every user. Its network has `users` (`UserVectors`) and `items` (an
    embedding).

    fewest: items in training without which nothing is learnt of a user.
    """

    fewest = 1

    def knows(self, cases: Cases) -> np.ndarray:
        return (cases.lengths > 0) | (cases.users != UNKNOWN_USER)

    def fit(self, split: Split) -> Self:
        super().fit(split)
        self.network.users.learn_strangers(split.train, self.network.items.weight, self.fewest)
        return self

    def recommend(self, cases: Cases, k: int, exclude_history: bool = False) -> Ranking:
        check_users(cases, self.n_users)
        return super().recommend(cases, k, exclude_history)


class WindowConfig(NeuralConfig):
    """What Caser and HGN are asked: a step has whole windows, each with the one item after it."""

    batch_size: int = Field(
        1024, ge=1, description="windows per step, at most; each predicts the item after it"
    )


class WindowRecommender(UserRecommender):
    """One that reads a user's vector and the last `config.window` items: Caser and HGN.

    Its network maps (user vectors, windows) to states that are compared with `outputs` (an
    embedding) and `bias`. A short history is filled up in front with the item `n_items`, whose
    vector is zero and stays so.
    """

    fewest = 2  # a case is an item and a history before it

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
        users, windows, labels = (one.to(self.device) for one in batch)
        states = network(network.users(users), windows)
        return softmax_loss(states, network.outputs.weight, network.bias, labels)

    def scores(self, cases: Cases) -> Tensor:
        network = self.network
        users = network.users.of(cases, network.items.weight)
        states = network(users, self._windows(cases, self.n_items).to(self.device))
        return states @ network.outputs.weight.T + network.bias


def check_users(cases: Cases, n_users: int) -> None:
    """LetterError unless every user was trained on or is UNKNOWN_USER."""
    strangers = cases.users[(cases.users < UNKNOWN_USER) | (cases.users >= n_users)]
    if len(strangers):
        raise LetterError(
            f"user {strangers[0]} is not among the {n_users:,} users trained on (ids 0-{n_users - 1}); "
            f"use user {UNKNOWN_USER} to be ranked for by the history alone"
        )
