"""HGN: hierarchical gating networks (Ma et al., KDD 2019).

Two gates, one behind the other: the first lets through what matters to this user of every item's
vector, the second what matters of the last L items. To their gated mean come the user's vector and
the plain sum of the items. It is not a graph network, though its initials suggest one: no neighbour
is visited. It knows a user's taste and the last L items; their order only through the second gate,
which has a learnt vector for each place.

Three things differ from the original. The loss is softmax cross-entropy over the catalogue, as in
our SASRec, instead of BPR with one sampled negative and the next three items as targets, so that
networks are compared and not losses. Dropout, where a profile asks for it, stands in for the
penalty on the squares of the parameters. And the place of an item that a short history lacks does
not count in the gated mean.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from letterlib.baselines.neural import Dropout
from letterlib.baselines.user_vectors import UserVectors, WindowConfig, WindowRecommender


class HGNConfig(WindowConfig):
    """Size and training of one HGN."""

    window: int = Field(5, ge=1, description="items read, the most recent ones (L)")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="of users' and items' vectors; the original has none"
    )


class HGNNetwork(nn.Module):
    """A user's vector and a window in, a state as wide out (feature gating, instance gating,
    item-item product).
    """

    def __init__(self, n_users: int, n_items: int, config: HGNConfig):
        super().__init__()
        d = config.dimensions
        self.users = UserVectors(n_users, d)
        self.items = nn.Embedding(n_items + 1, d, padding_idx=n_items)
        self.feature_of_item, self.feature_of_user = nn.Linear(d, d), nn.Linear(d, d, bias=False)
        self.instance_of_item = nn.Linear(d, 1, bias=False)
        self.instance_of_user = nn.Linear(d, config.window, bias=False)
        self.dropout = Dropout(config.dropout)
        self.outputs = nn.Embedding(n_items, d)
        self.bias = nn.Parameter(torch.zeros(n_items))
        for table in (self.users.table, self.items, self.outputs):
            nn.init.normal_(table.weight, std=d**-0.5)
        nn.init.zeros_(self.items.weight[n_items].detach())

    def forward(self, users: Tensor, windows: Tensor) -> Tensor:
        """users: [n, d]; windows: [n, L] item ids. Returns [n, d]."""
        users, items = self.dropout(users), self.dropout(self.items(windows))
        gate = torch.sigmoid(self.feature_of_item(items) + self.feature_of_user(users)[:, None])
        gated = items * gate
        weights = torch.sigmoid(self.instance_of_item(gated)[..., 0] + self.instance_of_user(users))
        weights = weights * (windows != self.items.padding_idx)
        total = weights.sum(dim=1, keepdim=True).clamp(
            min=1e-6
        )  # an empty window has a mean of zero
        return users + (weights[..., None] * gated).sum(dim=1) / total + items.sum(dim=1)


class HGN(WindowRecommender):
    """The recommender. An unknown user's vector is folded in from the whole history."""

    name = "HGN"
    config_class = HGNConfig

    def build(self, n_users: int, n_items: int) -> nn.Module:
        return HGNNetwork(n_users, n_items, self.config)
