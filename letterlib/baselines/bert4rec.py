"""BERT4Rec: a bidirectional transformer that fills in masked items (Sun et al., CIKM 2019).

Some items of a history are replaced by a mask, and the network predicts them from both sides; to
recommend, a mask follows the history. It learns from a fifth of the positions an epoch, so it needs
many more epochs than SASRec (Petrov and Macdonald, RecSys 2022). What differs from the original:
blocks are SASRec's pre-norm ones, batches are packed, and every epoch draws new masks.
"""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from letterlib.baselines.neural import (
    Batches,
    NeuralRecommender,
    pad_rows,
    softmax_loss,
)
from letterlib.baselines.packing import Packed, pack, training_windows
from letterlib.baselines.sasrec import (
    SASRecConfig,
    SASRecNetwork,
    TransformerConfig,
    steps_per_epoch,
)
from letterlib.data.dataset import NO_ITEM, Cases, Sequences, Split
from letterlib.data.flat_arrays import positions_of
from letterlib.distributed import share
from letterlib.train import Epochs


class BERT4RecConfig(TransformerConfig):
    """Size and training of BERT4Rec."""

    history: int = Field(50, ge=2, description="places read, the last of them the mask's")
    epochs: Epochs = 200
    masked: float = Field(0.2, gt=0, lt=1, description="share of a history's items that are masked")
    last_only: float = Field(
        0.1, ge=0, le=1, description="share of histories of which only the last item is masked"
    )
    patience: int = Field(
        20, ge=1, description="validations (one an epoch) without a new best before stopping"
    )


class BERT4RecNetwork(nn.Module):
    """SASRec's network without causality, then equation 7. The mask is item `n_items`."""

    def __init__(self, n_items: int, config: BERT4RecConfig):
        super().__init__()
        sizes = {
            name: getattr(config, name)
            for name in ("dimensions", "n_layers", "n_heads", "dropout", "history")
        }
        self.body = SASRecNetwork(n_items + 1, SASRecConfig(**sizes), causal=False)
        self.project = nn.Linear(config.dimensions, config.dimensions)
        self.norm = nn.LayerNorm(config.dimensions)
        self.bias = nn.Parameter(torch.zeros(n_items))

    @property
    def table(self) -> Tensor:
        """Item vectors, of inputs and of outputs: [n_items, dimensions]."""
        return self.body.items.weight[:-1]

    def forward(self, batch: Packed, wanted: Tensor) -> Tensor:
        """What is compared with item vectors, at positions `wanted` [n]: float [n, dimensions]."""
        # The layer norm is in the authors' code, not in the paper.
        return self.norm(F.gelu(self.project(pad_rows(self.body(batch)[wanted]))))[: len(wanted)]


def masked_batch(
    train: Sequences,
    starts: np.ndarray,
    ends: np.ndarray,
    config: BERT4RecConfig,
    mask: int,
    generator: np.random.Generator,
) -> tuple[Packed, Tensor, Tensor]:
    """The histories `values[starts[i]:ends[i]]` with some items replaced by `mask`.

    A history is masked at random places, or at its last only: in a share `last_only` of them, and
    where chance masked no place. Returns the packed histories (this process's share), the masked
    positions int64 [n] and the items that stood there int64 [n].
    """
    indices = positions_of(starts, ends)
    lengths = ends - starts
    offsets = np.cumsum(lengths) - lengths
    hidden = generator.random(len(indices)) < config.masked
    last_only = generator.random(len(starts)) < config.last_only
    hidden &= ~np.repeat(last_only, lengths)
    hidden[(offsets + lengths - 1)[~np.logical_or.reduceat(hidden, offsets)]] = True
    items = train.values[indices]
    offsets, lengths = share(offsets), share(lengths)
    inputs = pack(np.where(hidden, mask, items), offsets, offsets + lengths)
    answers = pack(np.where(hidden, items, NO_ITEM), offsets, offsets + lengths).items
    wanted = torch.nonzero(answers != NO_ITEM)[:, 0]
    return inputs, wanted, answers[wanted]


class BERT4Rec(NeuralRecommender):
    """Ranks by the last `history` - 1 items alone; the user is not read."""

    name = "BERT4Rec"
    config_class = BERT4RecConfig

    def build(self, n_users: int, n_items: int) -> nn.Module:
        return BERT4RecNetwork(n_items, self.config)

    def batches(self, split: Split) -> tuple[int, Batches]:
        train, config = split.train, self.config
        steps = steps_per_epoch(
            self.name, split, config.batch_size / config.masked, config.history - 1
        )

        def batches(generator: np.random.Generator):
            starts, ends = training_windows(train, config.history - 1, generator)
            ends = ends + 1  # the label of a window's last input is an item, too
            for part in np.array_split(generator.permutation(len(starts)), steps):
                yield masked_batch(
                    train, starts[part], ends[part], config, split.n_items, generator
                )

        return steps, batches

    def loss(self, network: nn.Module, batch: tuple[Packed, Tensor, Tensor]) -> dict[str, Tensor]:
        inputs, wanted, answers = (part.to(self.device) for part in batch)
        return softmax_loss(network(inputs, wanted), network.table, network.bias, answers)

    def scores(self, cases: Cases) -> Tensor:
        recent = cases.recent(self.config.history - 1)
        asked = np.concatenate([recent, np.full((len(cases), 1), self.n_items)], axis=1)
        ends = np.arange(1, len(cases) + 1) * asked.shape[1]
        starts = ends - 1 - np.minimum(cases.lengths, asked.shape[1] - 1)
        batch = pack(asked.ravel(), starts, ends).to(self.device)
        return self.network(batch, batch.last) @ self.network.table.T + self.network.bias
