"""BERT4Rec: a bidirectional transformer that fills in masked items (Sun et al., CIKM 2019).

It takes BERT's training task, not its pre-trained language: it starts from random vectors and reads
item ids, no text. Some items of a history are replaced by a mask, and the network says which they
were from what stands on both sides of them; to recommend, a mask is put behind the history. It
knows the last items and their order, and nothing of the user beside them.

An epoch teaches it only the masked items, about a fifth, where SASRec learns from every position.
So it needs many
times as many epochs: Petrov and Macdonald (RecSys 2022) could repeat what its authors reported only
with up to thirty times the default training.

What differs from the original: blocks are SASRec's (layer norm first, where BERT has it last: the
same network, easier to train), batches are packed, and masks are drawn anew every epoch instead of
ten times before training.
"""

from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from letterlib.baselines.catalogue_softmax import pad_rows
from letterlib.baselines.neural import Batches, NeuralConfig, NeuralRecommender, softmax_loss
from letterlib.baselines.packing import Packed, pack, training_windows
from letterlib.baselines.sasrec import SASRecConfig, SASRecNetwork, check_heads, steps_per_epoch
from letterlib.data.dataset import NO_ITEM, Cases, Sequences, Split
from letterlib.data.flat_arrays import positions_of
from letterlib.distributed import share
from letterlib.train import Epochs


class BERT4RecConfig(NeuralConfig):
    """Size and training of one BERT4Rec."""

    n_layers: int = Field(2, ge=1, description="of attention and feed-forward network")
    n_heads: int = Field(2, ge=1, description="of attention; the width is divided among them")
    dropout: float = Field(0.2, ge=0, lt=1, description="of embeddings and every block")
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
    """SASRec's network without causality, and the output layer of equation 7. The mask is item
    `n_items`.
    """

    def __init__(self, n_items: int, config: BERT4RecConfig):
        super().__init__()
        sizes = {
            name: getattr(config, name)
            for name in ("dimensions", "n_layers", "n_heads", "dropout", "history")
        }
        self.body = SASRecNetwork(n_items + 1, SASRecConfig(**sizes), causal=False)
        self.project, self.norm = (
            nn.Linear(config.dimensions, config.dimensions),
            nn.LayerNorm(config.dimensions),
        )
        self.bias = nn.Parameter(torch.zeros(n_items))

    @property
    def table(self) -> Tensor:
        """Item vectors, the same for reading and for answering: [n_items, dimensions]."""
        return self.body.items.weight[:-1]

    def forward(self, batch: Packed, wanted: Tensor) -> Tensor:
        """What is compared with item vectors at the positions `wanted` [n]: [n, dimensions]."""
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

    A history is masked at random places, or at the last only: by chance (`last_only`), and where
    chance masked none. Returns the packed histories (this process's share of them), the masked
    positions [n] and what stood there [n].
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
    """The recommender: `fit` on the training part, `recommend` from a case's history alone."""

    name = "BERT4Rec"
    config_class = BERT4RecConfig

    def __init__(
        self,
        config: BERT4RecConfig,
        seed: int = 0,
        device: str = "auto",
        checkpoint: Path | None = None,
    ):
        check_heads(self.name, config.dimensions, config.n_heads)
        super().__init__(config, seed, device, checkpoint)

    def build(self, n_users: int, n_items: int) -> nn.Module:
        return BERT4RecNetwork(n_items, self.config)

    def batches(self, split: Split) -> tuple[int, Batches]:
        train, config = split.train, self.config
        steps = steps_per_epoch(
            self.name, split, config.batch_size / config.masked, config.history - 1
        )

        def batches(generator: np.random.Generator):
            starts, ends = training_windows(train, config.history - 1, generator)
            ends = ends + 1  # a window there is of inputs, whose last label is one item further
            for part in np.array_split(generator.permutation(len(starts)), steps):
                yield masked_batch(
                    train, starts[part], ends[part], config, split.n_items, generator
                )

        return steps, batches

    def loss(self, network: nn.Module, batch: tuple[Packed, Tensor, Tensor]) -> dict[str, Tensor]:
        inputs, wanted, answers = (one.to(self.device) for one in batch)
        return softmax_loss(network(inputs, wanted), network.table, network.bias, answers)

    def scores(self, cases: Cases) -> Tensor:
        recent = cases.recent(self.config.history - 1)
        asked = np.concatenate([recent, np.full((len(cases), 1), self.n_items)], axis=1)
        ends = np.arange(1, len(cases) + 1) * asked.shape[1]
        starts = ends - 1 - np.minimum(cases.lengths, asked.shape[1] - 1)
        batch = pack(asked.ravel(), starts, ends).to(self.device)
        return self.network(batch, batch.last) @ self.network.table.T + self.network.bias
