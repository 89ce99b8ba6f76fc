"""LightGCN: graph convolution reduced to averaging over neighbours (He et al., SIGIR 2020).

Users and items are nodes, training interactions edges. A node's vector is the mean over 0, 1, ...,
K rounds of normalised neighbour averaging of its embedding (equations 3 and 4), trained with BPR
(equation 15). It knows who liked what, not in which order. The network and the loss are the
original's; users unseen in training are ranked from their history, which the original leaves open.
"""

import warnings
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field
from scipy import sparse
from torch import Tensor, nn

from letterlib.baselines.neural import bpr_loss, check_users, sample_negatives
from letterlib.data.dataset import UNKNOWN_USER, Cases, Sequences, Split
from letterlib.distributed import share, weighed
from letterlib.errors import Learned
from letterlib.evaluation.evaluate import validation_ndcg
from letterlib.evaluation.ranking import Ranking, check_histories, rank_by_score
from letterlib.train import (
    Epochs,
    Settings,
    TrainingLog,
    load_model,
    resolve_device,
    save_model,
    seeded,
    train,
)


class LightGCNConfig(Settings):
    """Size and training of LightGCN."""

    dimensions: int = Field(64, ge=1, description="width of user and item vectors")
    n_layers: int = Field(3, ge=1, description="rounds of neighbour averaging")
    epochs: Epochs = 100
    batch_size: int = Field(8192, ge=1, description="interactions per step")
    learning_rate: float = Field(1e-2, gt=0, description="of AdamW, the same throughout")
    regularization: float = Field(1e-3, ge=0, description="weight of a batch's squared embeddings")
    patience: int = Field(10, ge=1, description="validations (one an epoch) without a new best")


def interaction_matrix(sequences: Sequences, n_items: int) -> sparse.csr_matrix:
    """Who interacted with what, 0 or 1: float32 [n_users, n_items]."""
    ones = np.ones(len(sequences.values), np.float32)
    matrix = sparse.csr_matrix(
        (ones, (sequences.owners, sequences.values)), (len(sequences), n_items)
    )
    matrix.data[:] = 1  # a repeat is one edge
    return matrix


def normalized_adjacency(interactions: sparse.csr_matrix) -> sparse.csr_matrix:
    """D^-1/2 A D^-1/2 (equation 7) of the graph, users first: float32 [n_nodes, n_nodes].

    interactions: 0 or 1, [n_users, n_items].
    """
    adjacency = sparse.bmat(
        [[None, interactions], [interactions.T, None]], format="csr", dtype=np.float32
    )
    scale = sparse.diags(_inverse_root(np.asarray(adjacency.sum(axis=1)).ravel()))
    return (scale @ adjacency @ scale).tocsr().astype(np.float32)


def _inverse_root(degrees: np.ndarray) -> np.ndarray:
    """degrees ** -1/2, and 0 for a node without edges."""
    return np.where(degrees > 0, 1 / np.sqrt(np.maximum(degrees, 1)), 0).astype(np.float32)


class LightGCNNetwork(nn.Module):
    """An embedding per node, and the graph, which is training data and not saved."""

    def __init__(self, interactions: sparse.csr_matrix, config: LightGCNConfig):
        super().__init__()
        self.n_users, self.n_items = interactions.shape
        self.n_layers = config.n_layers
        self.embeddings = nn.Parameter(
            torch.randn(self.n_users + self.n_items, config.dimensions) * 0.1
        )
        graph = normalized_adjacency(interactions)
        parts = (graph.indptr.astype(np.int64), graph.indices.astype(np.int64), graph.data)
        with warnings.catch_warnings():  # "in beta state"
            warnings.simplefilter("ignore", UserWarning)
            tensor = torch.sparse_csr_tensor(*map(torch.from_numpy, parts), size=graph.shape)
        self.register_buffer("graph", tensor, persistent=False)

    def layers(self) -> list[Tensor]:
        """The embeddings after 0, 1, ..., n_layers rounds, each [n_users + n_items, dimensions]."""
        layers = [self.embeddings]
        for _ in range(self.n_layers):
            layers.append(_Propagate.apply(self.graph, layers[-1]))
        return layers

    def forward(self) -> Tensor:
        """Node vectors, users first: [n_users + n_items, dimensions]."""
        return torch.stack(self.layers()).mean(dim=0)


class _Propagate(torch.autograd.Function):
    """graph @ x. The graph is symmetric: its own transpose in the backward pass."""

    @staticmethod
    def forward(ctx, graph: Tensor, x: Tensor) -> Tensor:
        ctx.graph = graph
        return graph @ x

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple[None, Tensor]:
        return None, ctx.graph @ upstream


@dataclass(frozen=True)
class _Vectors:
    """What ranking needs. messages: what of an item's layers reaches a neighbour of degree 1."""

    users: Tensor  # [n_users, dimensions]
    items: Tensor  # [n_items, dimensions]
    messages: Tensor  # [n_items, dimensions]
    popularity: Tensor  # [n_items]


class LightGCN:
    """Ranks by the user's vector, for an unknown user by one made from the history.

    config: its settings; keywords set single fields, `LightGCN(dimensions=32)`.
    checkpoint: a file from which an interrupted `fit` resumes.

    An unknown user's vector is what propagation gives a new node with edges to the history's items,
    an embedding of zero and no influence on the items: 1/(K+1) times the sum over k < K and items i
    of e_i^(k) / sqrt(|history| degree_i). Without an item that training knows, items are ranked by
    popularity.
    """

    leaves_out_history = True  # BPR puts a user's own training items first
    vectors: _Vectors = Learned()

    def __init__(
        self,
        config: LightGCNConfig | None = None,
        seed: int = 0,
        device: str = "auto",
        checkpoint: Path | None = None,
        **settings: Any,
    ):
        self.config = LightGCNConfig.resolve(config, settings)
        self.seed, self.checkpoint = index(seed), checkpoint
        self.device = resolve_device(device)
        self.log = TrainingLog()

    def fit(self, split: Split) -> Self:
        """Train new weights on `split.train`; the epoch is chosen on validation NDCG@10."""
        config, n_items = self.config, split.n_items
        interactions = interaction_matrix(split.train, n_items)
        users, items = (a.astype(np.int64) for a in interactions.nonzero())
        pairs = np.sort(users * n_items + items)
        with seeded(self.seed):
            network = LightGCNNetwork(interactions, config).to(self.device)
        steps = -(-len(users) // config.batch_size)

        def batches(generator: np.random.Generator):
            for part in np.array_split(generator.permutation(len(users)), steps):
                others = sample_negatives(users[part], pairs, n_items, generator)
                nodes = users[part], items[part] + split.n_users, others + split.n_users
                yield torch.from_numpy(np.stack([share(column) for column in nodes]))

        def loss(module: nn.Module, nodes: Tensor) -> dict[str, Tensor]:
            nodes = nodes.to(module.embeddings.device)
            bpr = bpr_loss(*module()[nodes])
            size = module.embeddings[nodes].square().sum() / nodes.shape[1]
            return weighed({"loss": bpr + config.regularization * size, "bpr": bpr}, nodes.shape[1])

        def recommend(cases: Cases, k: int) -> Ranking:
            self.vectors = _propagated(network, split, interactions)
            return self.recommend(cases, k, exclude_history=self.leaves_out_history)

        try:
            self.log = train(
                network,
                batches,
                loss,
                epochs=config.epochs,
                steps_per_epoch=steps,
                learning_rate=config.learning_rate,
                seed=self.seed,
                what=f"LightGCN {config.dimensions}-d",
                config=config,
                data=split.fingerprint,
                validate=validation_ndcg(split, recommend),
                patience=config.patience,
                checkpoint=self.checkpoint,
            )
        except BaseException:  # an interrupted fit leaves no half-trained model
            self.__dict__.pop("vectors", None)
            raise
        self.vectors = _propagated(network, split, interactions)
        return self

    def recommend(self, cases: Cases, k: int, exclude_history: bool = False) -> Ranking:
        """The best k items of the whole catalogue for every case."""
        check_histories(cases, len(self.vectors.items))
        check_users(cases, len(self.vectors.users))
        return rank_by_score(self._scores, cases, k, exclude_history)

    def _scores(self, cases: Cases) -> Tensor:
        users = torch.from_numpy(cases.users).to(self.vectors.users.device)
        scores = self.vectors.users[users] @ self.vectors.items.T
        unknown = np.flatnonzero(cases.users == UNKNOWN_USER)
        if len(unknown):
            scores[torch.from_numpy(unknown).to(scores.device)] = self._folded_in(cases[unknown])
        return scores

    def _folded_in(self, cases: Cases) -> Tensor:
        """The scores of unknown users, from the messages of their items."""
        vectors = self.vectors
        rows, items = cases.flat_histories()
        n_items = len(vectors.items)
        edges = np.divmod(np.unique(rows * n_items + items), n_items)  # a repeat is one edge
        rows, items = (torch.from_numpy(a).to(vectors.items.device) for a in edges)
        degree = torch.bincount(rows, minlength=len(cases))
        known = torch.bincount(rows[vectors.popularity[items] > 0], minlength=len(cases)) > 0
        heard = torch.zeros(len(cases), vectors.items.shape[1], device=vectors.items.device)
        heard = heard.index_add(0, rows, vectors.messages[items])
        folded = heard / degree.clamp(min=1).sqrt()[:, None]
        return torch.where(known[:, None], folded @ vectors.items.T, vectors.popularity)

    def item_vectors(self) -> np.ndarray:
        """Item vectors after propagation, float32 [n_items, dimensions]."""
        return self.vectors.items.cpu().numpy().copy()

    @property
    def n_parameters(self) -> int:
        return self.vectors.users.numel() + self.vectors.items.numel()

    def save(self, path: str | Path) -> None:
        """One safetensors file that `load` reads."""
        save_model(path, "LightGCN", vars(self.vectors), self.config, self.seed, self.log)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        saved = load_model(path, "LightGCN", LightGCNConfig)
        model = cls(saved.config, saved.seed, device)
        model.vectors = _Vectors(
            **{name: tensor.to(model.device) for name, tensor in saved.tensors.items()}
        )
        model.log = saved.log
        return model


@torch.no_grad()
def _propagated(
    network: LightGCNNetwork, split: Split, interactions: sparse.csr_matrix
) -> _Vectors:
    layers = torch.stack(network.layers())
    users, items = layers.mean(dim=0).split([network.n_users, network.n_items])
    degrees = np.asarray(interactions.sum(axis=0)).ravel()
    scale = torch.from_numpy(_inverse_root(degrees)).to(layers.device)[:, None]
    messages = layers[:-1, network.n_users :].sum(dim=0) * scale / len(layers)
    popularity = torch.tensor(split.train_counts).float().to(layers.device)
    return _Vectors(users.contiguous(), items.contiguous(), messages, popularity)
