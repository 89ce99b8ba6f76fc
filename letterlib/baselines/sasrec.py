"""SASRec: self-attentive sequential recommendation (Kang and McAuley, ICDM 2018).

A causal transformer reads a user's last items; its state at the last position is compared with
every item's embedding by dot product. What differs from the original:

- The loss is softmax over the whole catalogue, which needs far fewer epochs and is stronger
  (Klenitskiy and Vasilev, RecSys 2023); `loss="bce"` is the original's, with one sampled negative.
- Layers are pre-norm with GELU and a feed-forward width of four times the model's, as usual today.
- Places count from the oldest item read, the learning rate warms up and falls along a cosine, and
  batches are packed without padding (`packing`).
"""

from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from letterlib.baselines.neural import (
    Batches,
    Dropout,
    NeuralConfig,
    NeuralRecommender,
    catalogue_cross_entropy,
    pad_rows,
    sample_negatives,
)
from letterlib.baselines.packing import Group, Packed, pack, training_windows
from letterlib.data.dataset import Cases, Split
from letterlib.distributed import share, weighed
from letterlib.errors import LetterError
from letterlib.evaluation.ranking import check_histories


class TransformerConfig(NeuralConfig):
    """Size and training of SASRec or BERT4Rec."""

    n_layers: int = Field(2, ge=1, description="of attention and feed-forward network")
    n_heads: int = Field(2, ge=1, description="of attention; the width is divided among them")
    dropout: float = Field(0.2, ge=0, lt=1, description="of embeddings and every block")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.dimensions % self.n_heads:
            raise ValueError(
                f"dimensions={self.dimensions} is not a multiple of n_heads={self.n_heads}"
            )
        return self


class SASRecConfig(TransformerConfig):
    """Size and training of SASRec."""

    dimensions: int = Field(128, ge=1, description="width of item embeddings and states")
    history: int = Field(50, ge=1, description="items read, the most recent ones")
    loss: Literal["softmax", "bce"] = Field(
        "softmax", description="bce: the original's, one negative per position"
    )


class Block(nn.Module):
    """A pre-norm transformer layer: self-attention, then a feed-forward network."""

    def __init__(self, width: int, n_heads: int, dropout: float, causal: bool):
        super().__init__()
        self.n_heads, self.causal = n_heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, groups: list[Group]) -> Tensor:
        """x: float [n_rows, width], the positions and perhaps padding; returns the same shape."""
        x = x + self.dropout(self.out(self.attention(self.qkv(self.norm1(x)), groups)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))

    def attention(self, qkv: Tensor, groups: list[Group]) -> Tensor:
        """Attend within each history. qkv: [n_rows, 3 width]; returns [n_rows, width].

        Only here are histories padded, at their end, which causality or a mask hides.
        """
        sizes = [len(group.places) for group in groups]
        *parts, rest = qkv.split([*sizes, len(qkv) - sum(sizes)])
        attended = []
        for group, rows in zip(groups, parts, strict=True):
            table = rows.new_zeros(group.n_rows * group.width, rows.shape[1])
            table = table.index_copy(0, group.places, rows).float()
            heads = table.view(group.n_rows, group.width, 3, self.n_heads, -1)
            q, k, v = heads.permute(2, 0, 3, 1, 4)
            hidden = group.after if self.causal else group.padding
            # Plain and in float32: on a CPU torch's fused attention takes twice as long for such
            # short histories, and bfloat16 several times.
            with torch.autocast(qkv.device.type, enabled=False):
                scores = (q * q.shape[-1] ** -0.5) @ k.mT
                mixed = scores.masked_fill_(hidden, -torch.inf).softmax(-1) @ v
            flat = mixed.transpose(1, 2).reshape(len(table), -1)
            attended.append(flat.index_select(0, group.places))
        padding = rest.new_zeros(len(rest), rest.shape[1] // 3, dtype=torch.float32)
        return torch.cat([*attended, padding])


class SASRecNetwork(nn.Module):
    """Item ids in, a state per position out."""

    def __init__(self, n_items: int, config: SASRecConfig, causal: bool = True):
        super().__init__()
        self.items = nn.Embedding(n_items, config.dimensions)
        self.places = nn.Embedding(config.history, config.dimensions)
        self.dropout = Dropout(config.dropout)
        layer = (config.dimensions, config.n_heads, config.dropout, causal)
        self.blocks = nn.ModuleList(Block(*layer) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.dimensions)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, batch: Packed) -> Tensor:
        """States [n_positions, dimensions]."""
        # The factor is in the authors' code, not in the paper; without it training takes several
        # times as many epochs.
        x = self.items(batch.items) * self.items.embedding_dim**0.5 + self.places(batch.columns)
        x = pad_rows(self.dropout(x))
        for block in self.blocks:
            x = block(x, batch.groups)
        return self.norm(x)[: len(batch.items)]


class SASRec(NeuralRecommender):
    """Ranks by the last `history` items alone; the user is not read."""

    name = "SASRec"
    config_class = SASRecConfig

    def build(self, n_users: int, n_items: int) -> nn.Module:
        return SASRecNetwork(n_items, self.config)

    def batches(self, split: Split) -> tuple[int, Batches]:
        sequences, config = split.train, self.config
        steps = steps_per_epoch(self.name, split, config.batch_size, config.history)
        users = sequences.owners
        pairs = np.unique(users * split.n_items + sequences.values)
        positions, negatives = np.arange(len(sequences.values)), np.empty_like(sequences.values)

        def batches(generator: np.random.Generator):
            starts, ends = training_windows(sequences, config.history, generator)
            for part in np.array_split(generator.permutation(len(starts)), steps):
                mine = share(part)
                inputs = pack(sequences.values, starts[mine], ends[mine])
                labels = pack(sequences.values, starts[mine] + 1, ends[mine] + 1).items
                others = None
                if config.loss == "bce":
                    # Drawn for the whole batch, so that each process has the same ones.
                    at = pack(positions, starts[part], ends[part]).items.numpy()
                    negatives[at] = sample_negatives(users[at], pairs, split.n_items, generator)
                    others = pack(negatives, starts[mine], ends[mine]).items
                yield inputs, labels, others

        return steps, batches

    def loss(
        self, network: nn.Module, batch: tuple[Packed, Tensor, Tensor | None]
    ) -> dict[str, Tensor]:
        """Mean over positions.

        batch: inputs; labels int64 [n_positions]; one negative each, or None for softmax. With
        negatives: -log sigmoid(score of the label) - log(1 - sigmoid(score of the negative)).
        """
        inputs, labels, others = batch
        table = network.items.weight
        states = network(inputs.to(table.device))
        if others is None:
            loss = catalogue_cross_entropy(states, table, labels.to(table.device))
            return weighed({"loss": loss}, len(labels))
        right, wrong = (
            (states * network.items(ids.to(table.device))).sum(dim=1) for ids in (labels, others)
        )
        return weighed({"loss": (F.softplus(-right) + F.softplus(wrong)).mean()}, len(labels))

    def scores(self, cases: Cases) -> Tensor:
        return self._states(cases) @ self.network.items.weight.T

    @torch.no_grad()
    def _states(self, cases: Cases) -> Tensor:
        """The state after each history, zero where that is empty: float32 [n, dimensions]."""
        self.network.eval()
        table = self.network.items.weight
        states = torch.zeros(len(cases), table.shape[1], device=table.device)
        some = np.flatnonzero(cases.lengths)
        if len(some):
            starts = np.maximum(cases.starts, cases.ends - self.config.history)[some]
            batch = pack(cases.values, starts, cases.ends[some]).to(table.device)
            states[torch.from_numpy(some).to(table.device)] = self.network(batch)[batch.last]
        return states

    def user_states(self, cases: Cases) -> np.ndarray:
        """What item vectors are compared with: float32 [n_cases, dimensions].

        Zero for an empty history.
        """
        check_histories(cases, self.n_items)
        parts = [
            self._states(cases[i : i + 1024]).cpu().numpy() for i in range(0, len(cases), 1024)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self.config.dimensions), np.float32)

    def item_vectors(self) -> np.ndarray:
        """Item embeddings, float32 [n_items, dimensions]."""
        return self.network.items.weight.detach().cpu().numpy().copy()


def steps_per_epoch(name: str, split: Split, batch_size: float, window: int) -> int:
    """Steps, each of about `batch_size` predicted items and at least one window of `window`."""
    n_labels = split.train.lengths - 1
    if not n_labels.any():
        raise LetterError(
            f"{name}: no user has two items in training, so there is no next item to learn"
        )
    return max(1, min(round(n_labels.sum() / batch_size), int((-(-n_labels // window)).sum())))
