"""HGN: hierarchical gating networks (Ma et al., KDD 2019).

One gate lets through what matters to the user in each item's vector, a second weighs the last L
items; the user's vector and the plain sum of the items are added. Despite its initials it is no
graph network. The loss here is softmax over the catalogue, as in our SASRec, instead of BPR over
the next three items; dropout, where it is on, replaces the penalty on squared weights; and places
that a short history leaves empty do not count in the gated mean.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from letterlib.baselines.neural import Dropout, UserVectors, WindowConfig, WindowRecommender


class HGNConfig(WindowConfig):
    """Size and training of HGN."""

    window: int = Field(5, ge=1, description="items read, the most recent ones (L)")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="of users' and items' vectors; the original has none"
    )


class HGNNetwork(nn.Module):
    """Feature gating, instance gating, item-item product: user and window in, a state out."""

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
        """users: float [n, d]; windows: int64 [n, L] items. Returns [n, d]."""
        users, items = self.dropout(users), self.dropout(self.items(windows))
        gate = torch.sigmoid(self.feature_of_item(items) + self.feature_of_user(users)[:, None])
        gated = items * gate
        weights = torch.sigmoid(self.instance_of_item(gated)[..., 0] + self.instance_of_user(users))
        weights = weights * (windows != self.items.padding_idx)
        total = weights.sum(dim=1, keepdim=True).clamp(min=1e-6)  # an empty window's mean is zero
        return users + (weights[..., None] * gated).sum(dim=1) / total + items.sum(dim=1)


class HGN(WindowRecommender):
    """Ranks by the user's vector and the last `window` items."""

    name = "HGN"
    config_class = HGNConfig

    def build(self, n_users: int, n_items: int) -> nn.Module:
        return HGNNetwork(n_users, n_items, self.config)
