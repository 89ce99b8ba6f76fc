"""SASRec: self-attentive sequential recommendation (Kang and McAuley, ICDM 2018).

A causal transformer reads a user's last items; the state at the last position is compared with every
item's embedding by dot product. Two things differ from the original. The loss is softmax cross-entropy
over the whole catalogue instead of binary cross-entropy with one sampled negative: an epoch costs more,
but far fewer are needed, and the result is stronger (Klenitskiy and Vasilev, RecSys 2023). And batches are
packed: histories lie one after another in one long row of positions, so that padding costs nothing
where most histories are short.
"""

from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from letterlib.collaborative.catalogue_softmax import catalogue_cross_entropy
from letterlib.collaborative.packing import Group, Packed, pack, training_windows
from letterlib.data.dataset import Cases, Split
from letterlib.errors import LetterError
from letterlib.evaluation.ranking import Ranking, rank_by_score
from letterlib.evaluation.validation import check_histories, validation_ndcg
from letterlib.saved_model import load_model, save_model
from letterlib.training import Dtype, TrainingLog, resolve_device, resolve_dtype, train


class SASRecConfig(BaseModel):
    """Size and training of one SASRec."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimensions: int = Field(128, ge=1, description="width of item embeddings and states")
    n_layers: int = Field(2, ge=1)
    n_heads: int = Field(2, ge=1)
    dropout: float = Field(0.2, ge=0, lt=1)
    history: int = Field(50, ge=1, description="items read, the most recent ones")
    epochs: int = Field(50, ge=1)
    batch_size: int = Field(1024, ge=1, description="items predicted per step, about")
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    patience: int = Field(
        5, ge=1, description="validations (one an epoch) without a new best before stopping"
    )
    dtype: Dtype = "auto"


class Block(nn.Module):
    """One pre-norm transformer layer: causal self-attention, then a feed-forward network."""

    def __init__(self, width: int, n_heads: int, dropout: float):
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, groups: list[Group]) -> Tensor:
        """x: [n_positions, width]; returns the same shape."""
        x = x + self.dropout(self.out(self.attention(self.qkv(self.norm1(x)), groups)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))

    def attention(self, qkv: Tensor, groups: list[Group]) -> Tensor:
        """Attend within each history. qkv: [n_positions, 3 width]; returns [n_positions, width].

        Only here are histories padded, at their end: causality keeps real positions from seeing it.
        """
        attended = []
        for group, rows in zip(groups, qkv.split([len(g.places) for g in groups]), strict=True):
            padded = rows.new_zeros(group.n_rows * group.width, rows.shape[1]).index_copy(
                0, group.places, rows
            )
            q, k, v = padded.view(group.n_rows, group.width, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
            # For histories this short the processor's bfloat16 kernel is several times slower than float32's.
            with torch.autocast(qkv.device.type, enabled=False):
                mixed = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True)
            attended.append(mixed.transpose(1, 2).reshape(len(padded), -1).index_select(0, group.places))
        return torch.cat(attended)


class SASRecNetwork(nn.Module):
    """Item ids in, a state per position out."""

    def __init__(self, n_items: int, config: SASRecConfig):
        super().__init__()
        self.items = nn.Embedding(n_items, config.dimensions)
        self.places = nn.Embedding(config.history, config.dimensions)
        self.dropout = nn.Dropout(config.dropout)
        layer = (config.dimensions, config.n_heads, config.dropout)
        self.blocks = nn.ModuleList(Block(*layer) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.dimensions)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, batch: Packed) -> Tensor:
        """States [n_positions, dimensions]."""
        # The factor is in the authors' code, not in the paper. Without it an item's small embedding drowns in
        # what the blocks add to it, and learning takes several times as many epochs.
        x = self.items(batch.items) * self.items.embedding_dim**0.5 + self.places(batch.columns)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, batch.groups)
        return self.norm(x)


def next_item_loss(network: nn.Module, batch: tuple[Packed, Tensor]) -> dict[str, Tensor]:
    """Softmax cross-entropy over the catalogue, mean over positions. batch: inputs, labels [n_positions]."""
    inputs, labels = batch
    table = network.items.weight
    states = network(inputs.to(table.device))
    return {"loss": catalogue_cross_entropy(states, table, labels.to(table.device))}


class SASRec:
    """The recommender: `fit` on the training part, `recommend` from a case's history alone.

    checkpoint: a file to resume an interrupted `fit` from. With an empty history there is nothing to
    read, and items are ranked by popularity in training.
    """

    def __init__(
        self, config: SASRecConfig, seed: int = 0, device: str = "auto", checkpoint: Path | None = None
    ):
        if config.dimensions % config.n_heads:
            raise LetterError(
                f"SASRec: dimensions={config.dimensions} is not a multiple of n_heads={config.n_heads}"
            )
        self.config, self.seed, self.checkpoint = config, seed, checkpoint
        self.device = resolve_device(device)
        self.log = TrainingLog()
        self.network: SASRecNetwork | None = None
        self.popularity: Tensor | None = None

    def fit(self, split: Split) -> Self:
        config, sequences = self.config, split.train
        torch.manual_seed(self.seed)
        self.network = SASRecNetwork(split.n_items, config).to(self.device)
        self.popularity = torch.from_numpy(split.train_counts).float()
        steps = self._steps(split)

        def batches(generator: np.random.Generator):
            starts, ends = training_windows(sequences, config.history, generator)
            for part in np.array_split(generator.permutation(len(starts)), steps):
                inputs = pack(sequences.values, starts[part], ends[part])
                labels = pack(sequences.values, starts[part] + 1, ends[part] + 1).items
                yield inputs, labels

        self.log = train(
            self.network,
            batches,
            next_item_loss,
            epochs=config.epochs,
            steps_per_epoch=steps,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            warmup=0.05,
            schedule="cosine",
            seed=self.seed,
            what=f"SASRec {config.dimensions}-d",
            dtype=resolve_dtype(config.dtype, self.device),
            validate=validation_ndcg(split, self.recommend),
            patience=config.patience,
            checkpoint=self.checkpoint,
        )
        return self

    def _steps(self, split: Split) -> int:
        """Steps an epoch, so that one predicts about `batch_size` items, and no step is without a window."""
        n_labels = np.maximum(split.train.lengths - 1, 0)
        if not n_labels.any():
            raise LetterError("SASRec: no user has two items in training, so there is no next item to learn")
        return max(1, min(round(n_labels.sum() / self.config.batch_size), np.count_nonzero(n_labels)))

    def recommend(self, cases: Cases, k: int, exclude_history: bool = False) -> Ranking:
        """The best k items of the whole catalogue for every case."""
        check_histories(cases, self.network.items.num_embeddings)
        return rank_by_score(self._scores, cases, k, exclude_history)

    @torch.no_grad()
    def _scores(self, cases: Cases) -> Tensor:
        scores = self._states(cases) @ self.network.items.weight.T
        scores[torch.from_numpy(cases.lengths == 0)] = self.popularity.to(scores.device)
        return scores

    @torch.no_grad()
    def _states(self, cases: Cases) -> Tensor:
        """The state after each case's history, zero where that is empty: [n, dimensions], in float32."""
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
        """What item vectors are compared with, float32 [n_cases, dimensions]; zero for an empty history."""
        check_histories(cases, self.network.items.num_embeddings)
        parts = [self._states(cases[i : i + 1024]).cpu().numpy() for i in range(0, len(cases), 1024)]
        return np.concatenate(parts) if parts else np.zeros((0, self.config.dimensions), np.float32)

    def item_vectors(self) -> np.ndarray:
        """Item embeddings, float32 [n_items, dimensions]."""
        return self.network.items.weight.detach().cpu().numpy().copy()

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def save(self, path: str | Path) -> None:
        """One safetensors file that `load` reads."""
        tensors = self.network.state_dict() | {"popularity": self.popularity}
        save_model(path, "SASRec", tensors, self.config, self.seed, self.log)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        saved = load_model(path, "SASRec")
        model = cls(SASRecConfig(**saved.config), saved.seed, device)
        model.popularity = saved.tensors.pop("popularity")
        model.network = SASRecNetwork(len(model.popularity), model.config).to(model.device)
        model.network.load_state_dict(saved.tensors)
        model.log = saved.log
        return model
