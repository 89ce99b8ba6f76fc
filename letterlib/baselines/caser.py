"""Caser: convolutional sequence embedding (Tang and Wang, WSDM 2018).

The last L items are an image of L rows. Horizontal filters of 1 to L rows find items that come
together, vertical filters are weighted sums of items; the result and the user's vector are compared
with every item. The network is the original's. The loss here is softmax over the catalogue, as in
our SASRec, instead of binary cross-entropy with three sampled negatives; and a window predicts the
next item alone, not the next three.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from letterlib.baselines.neural import Dropout, UserVectors, WindowConfig, WindowRecommender


class CaserConfig(WindowConfig):
    """Size and training of Caser."""

    window: int = Field(5, ge=1, description="items read, the most recent ones (L)")
    horizontal: int = Field(16, ge=1, description="horizontal filters of each height")
    vertical: int = Field(4, ge=1, description="vertical filters")
    dropout: float = Field(0.5, ge=0, lt=1, description="of what the filters see")


class CaserNetwork(nn.Module):
    """A user's vector and a window in, a state of twice the width out (sections 3.2 and 3.3)."""

    def __init__(self, n_users: int, n_items: int, config: CaserConfig):
        super().__init__()
        d, window = config.dimensions, config.window
        self.users = UserVectors(n_users, d)
        self.items = nn.Embedding(n_items + 1, d, padding_idx=n_items)
        heights = range(1, window + 1)
        self.across = nn.ModuleList(nn.Conv1d(d, config.horizontal, height) for height in heights)
        self.down = nn.Linear(window, config.vertical)
        self.mix = nn.Linear(window * config.horizontal + config.vertical * d, d)
        self.dropout = Dropout(config.dropout)
        self.outputs = nn.Embedding(n_items, 2 * d)
        self.bias = nn.Parameter(torch.zeros(n_items))
        for table in (self.users.table, self.items, self.outputs):
            nn.init.normal_(table.weight, std=d**-0.5)
        nn.init.zeros_(self.items.weight[n_items].detach())

    def forward(self, users: Tensor, windows: Tensor) -> Tensor:
        """users: float [n, d]; windows: int64 [n, L] items. Returns [n, 2 d]: window, then user."""
        image = self.items(windows).transpose(1, 2)  # [n, d, L]; Conv1d's channels are the width
        seen = [torch.relu(filters(image)).amax(dim=2) for filters in self.across]
        seen.append(self.down(image).transpose(1, 2).flatten(1))
        z = torch.relu(self.mix(self.dropout(torch.cat(seen, dim=1))))
        return torch.cat([z, users], dim=1)


class Caser(WindowRecommender):
    """Ranks by the user's vector and the last `window` items."""

    name = "Caser"
    config_class = CaserConfig

    def build(self, n_users: int, n_items: int) -> nn.Module:
        return CaserNetwork(n_users, n_items, self.config)
