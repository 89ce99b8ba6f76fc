"""TIGER and SASRec that also count: each is mixed with what followed the last items in training.

    P(item | history) = (1 - w m) P_model(item | history) + w q(item | history)

q is the Markov floor's score as a share: the part of the transitions after the last items that led
to the item. Its sum m is at most 1, and small where little was counted, so that the model decides
there. The one weight w is chosen on validation. Continuous caches (Grave et al., ICLR 2017) and
kNN-LM (Khandelwal et al., ICLR 2020) mix language models so.

A generator is mixed inside the trie. The share of a node is that of the items below it, and after a
prefix the next code is drawn from

    p(code | prefix) = (1 - v) p_model(code | prefix) + v q(prefix + code) / q(prefix)

v = w q(prefix) / ((1 - w m) P_model(prefix) + w q(prefix)) is the probability that the prefix came
from the counts. The product along a path is the formula above, so beam search needs no change, and
a beam as wide as the catalogue gives the exact scores.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from letterlib.baselines.markov import MarkovFloor
from letterlib.baselines.sasrec import SASRec
from letterlib.data.dataset import Cases, Split
from letterlib.decoding.beam_search import DecodingState, IncrementalDecoder, beam_search
from letterlib.decoding.exact import score_catalogue
from letterlib.decoding.trie import EOS, Trie
from letterlib.errors import Learned
from letterlib.evaluation.evaluate import validation_ndcg
from letterlib.generators.tiger import Tiger
from letterlib.store import load_tensors, save_tensors

WEIGHTS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)


class Counted:
    """What both have in common: the counts, and the choice of their weight on validation."""

    counts: MarkovFloor = Learned()
    weight: float = Learned()
    weights: dict[float, float]
    """Every weight that was tried, and its NDCG@10 on validation."""

    @classmethod
    def of(cls, model: Any) -> Self:
        """A trained model, to be given counts by `count`; they share the weights."""
        counted = cls.__new__(cls)
        counted.__dict__.update(model.__dict__)
        return counted

    def fit(self, split: Split) -> Self:
        """Count, train the model alone (at weight 0), and choose the weight."""
        self.counts, self.weight = MarkovFloor().fit(split), 0.0
        super().fit(split)
        return self.count(split)

    def count(self, split: Split) -> Self:
        """Count the transitions of the training part, and choose the weight by NDCG@10 on up to
        2,000 validation cases.
        """
        self.counts = MarkovFloor().fit(split)
        validate = validation_ndcg(split, self.recommend)
        self.weights = {}
        for weight in WEIGHTS if validate else ():
            self.weight = weight
            self.weights[weight] = validate()
        self.weight = max(self.weights, key=self.weights.get, default=0.0)
        return self

    def shares(self, cases: Cases) -> Tensor:
        """w q(item | history): float32 [n, n_items]."""
        q = torch.from_numpy(self.counts.shares(cases).toarray())
        return (self.weight * q).float()

    def save(self, path: str | Path) -> None:
        """The model's file, and one with the counts and the weight next to it."""
        super().save(path)
        tensors = self.counts.tensors()
        save_tensors(_counts_file(path), tensors, {"weight": str(self.weight)})

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        model = super().load(path, device)
        tensors, header = load_tensors(_counts_file(path))
        model.counts = MarkovFloor.from_tensors(tensors)
        model.weight = float(header["weight"])
        return model


def _counts_file(path: str | Path) -> Path:
    return Path(path).with_suffix(".counts.safetensors")


class CountedSASRec(Counted, SASRec):
    """SASRec whose softmax over the catalogue is mixed with counts."""

    name = "SASRec + counts"

    def _scores(self, cases: Cases) -> Tensor:
        shares = self.shares(cases)
        model = torch.log_softmax(super()._scores(cases).float(), dim=1)
        rest = torch.log1p(-shares.sum(dim=1, keepdim=True))
        return torch.logaddexp(model + rest, shares.to(model.device).log())


class CountedTiger(Counted, Tiger):
    """TIGER whose next code is mixed with counts. `recommend` as Tiger's, with raw logits alone."""

    name = "TIGER + counts"

    def _search(
        self, part: Cases, memory: Tensor, beam: int, tau: float, dead: list[Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        mass = node_masses(self.trie, self.shares(part).to(self.device))
        if not self._beam_is_catalogue(beam):
            mixed = MixedDecoder(self.network, self.trie, mass)
            return beam_search(mixed, memory, self.trie, beam, dead=dead)
        model = score_catalogue(self.network, memory, self.trie)
        scores = torch.logaddexp(model + torch.log1p(-mass[0]), mass[-1].log())
        scores = scores if dead is None else scores.masked_fill_(dead[-1], -torch.inf)
        scores, leaves = scores.sort(dim=1, descending=True, stable=True)
        return leaves, scores


def node_masses(trie: Trie, shares: Tensor) -> list[Tensor]:
    """What the items below every node have together: float32 [batch, n_nodes(level)] per level.

    shares: float32 [batch, n_items].
    """
    device = shares.device
    leaf = torch.from_numpy(trie.leaf_of_item).to(device)
    n_leaves = trie.n_nodes(trie.n_levels)
    masses = [shares.new_zeros(len(shares), n_leaves).index_add_(1, leaf, shares)]
    for level in reversed(range(trie.n_levels)):
        _, parents, _ = trie.flat_children(level, torch.arange(trie.n_nodes(level), device=device))
        above = shares.new_zeros(len(shares), trie.n_nodes(level))
        masses.append(above.index_add_(1, parents, masses[-1]))
    return masses[::-1]


@dataclass
class MixedState:
    """The model's state, and of every sequence: its node, and log((1 - w m) P_model(prefix)).

    level: of the nodes; -1 before the first step. parents: of the sequences to come.
    log_probs: [batch, n, V] of the last step.
    """

    model: DecodingState
    nodes: Tensor
    scores: Tensor
    level: int = -1
    parents: Tensor | None = None
    log_probs: Tensor | None = None

    def follow(self, parents: Tensor) -> None:
        self.model.follow(parents)
        self.parents = parents


class MixedDecoder:
    """A model and counts as one `IncrementalDecoder`: its logits are log p(code | prefix)."""

    def __init__(self, model: IncrementalDecoder, trie: Trie, masses: list[Tensor]):
        """masses: w q of every node, from `node_masses`."""
        self.model, self.trie, self.masses = model, trie, masses

    def start(self, memory: Tensor) -> MixedState:
        rest = torch.log1p(-self.masses[0])  # [batch, 1]
        return MixedState(self.model.start(memory), torch.zeros_like(rest, dtype=torch.long), rest)

    def step(self, tokens: Tensor, state: MixedState) -> Tensor:
        log_probs = torch.log_softmax(self.model.step(tokens, state.model).float(), dim=-1)
        if state.level >= 0:
            rows = torch.arange(len(tokens), device=tokens.device)[:, None]
            before = state.log_probs[rows, state.parents, tokens]
            state.scores = state.scores.gather(1, state.parents) + before
            above = state.nodes.gather(1, state.parents)
            state.nodes = self.trie.child(state.level, above, tokens)
        state.level, state.log_probs = state.level + 1, log_probs
        return self._mixed(state)

    def _mixed(self, state: MixedState) -> Tensor:
        """log p(code | prefix): [batch, n, V]."""
        trie, level, (batch, width) = self.trie, state.level, state.nodes.shape
        mass = self.masses[level].gather(1, state.nodes)
        v = mass / (state.scores.exp() + mass).clamp(min=torch.finfo(mass.dtype).tiny)
        found = torch.log1p(-v).unsqueeze(2) + state.log_probs
        if level == trie.n_levels:
            token, share = torch.full_like(state.nodes, EOS).flatten(), torch.ones_like(mass)
            sequence, share = torch.arange(batch * width, device=v.device), share.flatten()
        else:
            _, sequence, node = trie.flat_children(level, state.nodes.flatten())
            token = trie.token[level + 1][node].long()
            below = self.masses[level + 1][sequence // width, node]
            share = below / mass.flatten()[sequence].clamp(min=torch.finfo(mass.dtype).tiny)
        place = sequence * found.shape[2] + token
        flat = found.view(-1)
        counted = (v.flatten()[sequence] * share).log()
        flat[place] = torch.logaddexp(flat[place], counted)
        return found
