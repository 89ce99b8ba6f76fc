"""MF: matrix factorization with the BPR loss (Rendle et al., UAI 2009).

score(u, i) = p_u . q_i + b_i, trained so that a user's own items score above others. It knows who
liked what, not in which order. The original takes one sampled triple a step by SGD; here an epoch
visits every interaction in batches with AdamW: the same loss, in far fewer epochs.
"""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from letterlib.baselines.neural import (
    Batches,
    NeuralConfig,
    UserRecommender,
    UserVectors,
    bpr_loss,
    sample_negatives,
)
from letterlib.data.dataset import Cases, Split
from letterlib.distributed import share, weighed
from letterlib.train import Epochs, LearningRate


class MatrixFactorizationConfig(NeuralConfig):
    """Size and training of MF."""

    epochs: Epochs = 60
    batch_size: int = Field(1024, ge=1, description="interactions per step")
    learning_rate: LearningRate = 5e-3
    regularization: float = Field(
        1e-2, ge=0, description="weight of a batch's squared vectors and biases"
    )
    patience: int = Field(
        10, ge=1, description="validations (one an epoch) without a new best before stopping"
    )


class MatrixFactorizationNetwork(nn.Module):
    """A vector per user and per item, and a bias per item."""

    def __init__(self, n_users: int, n_items: int, dimensions: int):
        super().__init__()
        self.users = UserVectors(n_users, dimensions)
        self.items = nn.Embedding(n_items, dimensions)
        self.bias = nn.Parameter(torch.zeros(n_items))
        for table in (self.users.table, self.items):
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """User and item vectors whose dot product is the score: two of [n, dimensions + 1].

        users, items: int64 [n]. The bias is the last dimension.
        """
        vectors = self.users(users)
        biased = torch.cat([self.items(items), self.bias[items, None]], dim=1)
        return torch.cat([vectors, torch.ones_like(vectors[:, :1])], dim=1), biased


class MatrixFactorization(UserRecommender):
    """Ranks by the user's vector; an unknown user's is derived from the history."""

    name = "MF"
    config_class = MatrixFactorizationConfig
    leaves_out_history = True  # BPR puts a user's own training items first

    def build(self, n_users: int, n_items: int) -> nn.Module:
        return MatrixFactorizationNetwork(n_users, n_items, self.config.dimensions)

    def batches(self, split: Split) -> tuple[int, Batches]:
        pairs = np.unique(split.train.owners * split.n_items + split.train.values)
        users, items = np.divmod(pairs, split.n_items)
        steps = -(-len(users) // self.config.batch_size)

        def batches(generator: np.random.Generator):
            for part in np.array_split(generator.permutation(len(users)), steps):
                others = sample_negatives(users[part], pairs, split.n_items, generator)
                triples = (users[part], items[part], others)
                yield torch.from_numpy(np.stack([share(column) for column in triples]))

        return steps, batches

    def loss(self, network: nn.Module, triples: Tensor) -> dict[str, Tensor]:
        """triples: int64 [3, n], a user, an item of the user's own and one that is not."""
        users, liked, others = triples.to(self.device)
        (user, liked), (_, other) = network(users, liked), network(users, others)
        bpr = bpr_loss(user, liked, other)
        size = sum(x.square().sum() for x in (user[:, :-1], liked, other)) / len(users)
        return weighed({"loss": bpr + self.config.regularization * size, "bpr": bpr}, len(users))

    def scores(self, cases: Cases) -> Tensor:
        network = self.network
        return network.users.of(cases, network.items.weight) @ network.items.weight.T + network.bias
