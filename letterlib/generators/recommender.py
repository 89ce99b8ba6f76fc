"""What every recommender that writes identifiers shares: from histories to beams, from beams to
items.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import index

import numpy as np
import torch
from torch import Tensor, nn

from letterlib.data.dataset import NO_ITEM, Cases, Split
from letterlib.decoding.beam_search import beam_search, expand_leaves, unconstrained_beam_search
from letterlib.decoding.trie import Trie
from letterlib.errors import LetterError
from letterlib.evaluation.ranking import Ranking, check_histories, refuse_nan
from letterlib.hardware import fast_float32, keep_freed_memory
from letterlib.progress import progress
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.train import TrainingLog

SEARCH_BUDGET = 2**25
"""Numbers in the largest array of a search: 128 MB of logits, or with wide beams of attention
weights.
"""


class IdentifierRecommender(ABC):
    """TIGER and LC-Rec: `recommend` by beam search over the trie of the catalogue's identifiers.

    Items that share an identifier share its score; their order is a permutation fixed by the seed.
    name: what it is called in errors. history: items read, the most recent ones. beam: prefixes
    kept per level.
    n_tokens: what the network can write. n_heads: of its attention. first_weights: a hash of what
    its training begins from beside seed and settings (a T5's weights, titles), by which a
    checkpoint is told from others.
    """

    name: str
    network: nn.Module  # which has `start` and `step` of `IncrementalDecoder`
    history: int
    beam: int
    n_tokens: int
    n_heads: int
    log: TrainingLog
    first_weights: str = ""

    def __init__(self, identifiers: Identifiers, seed: int, device: torch.device):
        self.identifiers, self.seed, self.device = identifiers, index(seed), device
        shared = identifiers.shared_vocabulary
        self.trie = Trie.build(identifiers.codes, identifiers.level_sizes, seed, device, shared)
        self._at_first: dict[str, Tensor] = {}

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def check_identifiers(self, split: Split) -> None:
        """LetterError unless there is one identifier for every item of a data set."""
        if split.n_items != len(self.identifiers):
            raise LetterError(
                f"{self.name}: identifiers for {len(self.identifiers):,} items, but {split.dataset.name} has "
                f"{split.n_items:,}; use the identifiers that were made for this data set"
            )

    @contextmanager
    def from_first_weights(self) -> Iterator[None]:
        """Train inside it, from the weights with which the first `fit` began: to fit twice is not
        to train for longer.

        After `load` these are the loaded ones, and `fit` goes on from there: the first ones are not
        in the file. Half trained is not learnt, even for whoever pressed Ctrl-C: then the first
        weights come back, and an empty log.
        """
        self._begin_anew()
        try:
            yield
        except BaseException:
            self._begin_anew()
            raise

    def _begin_anew(self) -> None:
        self.log = TrainingLog()
        trained = {
            name: weight for name, weight in self.network.named_parameters() if weight.requires_grad
        }
        self._at_first = self._at_first or {
            name: weight.detach().clone() for name, weight in trained.items()
        }
        with torch.no_grad():
            for name, weight in trained.items():
                weight.copy_(self._at_first[name])

    @abstractmethod
    def _memory(self, cases: Cases) -> Tensor:
        """What the network needs of some histories before it writes, [n, S] or [n, S, d_model].

        They have one length, as `_in_batches` hands them over: nothing is padded.
        """

    def recommend(
        self,
        cases: Cases,
        k: int,
        exclude_history: bool = False,
        *,
        beam: int | None = None,
        tau: float = 1.0,
    ) -> Ranking:
        """The best k items for every case, by beam search over the catalogue's trie; never an item
        twice.

        beam: default config.beam, and never below k; one as wide as the catalogue scores every item
        exactly.
        tau: 1 decodes with the raw logits, as the released code does; config.tau gives the paper's
        P_theta.
        """
        if not 0 < tau < np.inf:
            raise LetterError(
                f"tau divides the logits and has to be a finite number above 0, not {tau}"
            )
        if exclude_history and len(self.trie.items) != len(self.identifiers):
            raise LetterError(
                f"{self.name}: its trie holds {len(self.trie.items):,} of {len(self.identifiers):,} items, under "
                "numbers of their own, so the history is not known; ask for more items, and leave it out afterwards"
            )
        beam = max(self.beam if beam is None else beam, k)

        def search(part: Cases, memory: Tensor) -> tuple[np.ndarray, np.ndarray]:
            excluded, dead = None, None
            if exclude_history:
                excluded = part.flat_histories()
                left_out = self.trie.dead_nodes(*excluded, len(part))
                dead = [torch.from_numpy(one).to(self.device) for one in left_out]
            leaves, scores = self._search(memory, beam, tau, dead)
            refuse_nan(scores)
            return expand_leaves(self.trie, leaves.cpu().numpy(), scores.cpu().numpy(), k, excluded)

        return Ranking.of_items(*self._in_batches(cases, k, beam, search))

    def _largest_array(self, beam: int, length: int) -> int:
        """How many numbers of one history, of `length` items, a search holds at once."""
        positions = (
            1 + self.trie.n_levels * beam
        )  # of all beams of a history, and each beam's scores hold all of them
        return beam * max(self.n_tokens, self.n_heads * positions)

    def _search(
        self, memory: Tensor, beam: int, tau: float, dead: list[Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Leaves and scores, best first; see `beam_search`."""
        return beam_search(self.network, memory, self.trie, beam, tau=tau, dead=dead)

    def recommend_unconstrained(self, cases: Cases, k: int) -> Ranking:
        """The best k token sequences for every case without the trie: how many of them are
        identifiers at all?

        A sequence that is no item's identifier is NO_ITEM and not valid; of one that items share,
        the first stands.
        """
        beam = max(self.beam, k)

        def search(part: Cases, memory: Tensor) -> tuple[np.ndarray, np.ndarray]:
            found = unconstrained_beam_search(self.network, memory, self.trie, beam)
            refuse_nan(found[1])
            leaves, scores = (one[:, :k].cpu().numpy() for one in found)
            first = self.trie.items[self.trie.first_item[np.maximum(leaves, 0)]]
            items, scores = (
                np.where(leaves >= 0, first, NO_ITEM),
                np.where(leaves >= 0, scores, -np.inf),
            )
            missing = (
                (0, 0),
                (0, k - leaves.shape[1]),
            )  # a small vocabulary has fewer than k sequences
            return np.pad(items, missing, constant_values=NO_ITEM), np.pad(
                scores, missing, constant_values=-np.inf
            )

        return Ranking.of_items(*self._in_batches(cases, k, beam, search))

    @torch.no_grad()
    @fast_float32()
    def _in_batches(
        self,
        cases: Cases,
        k: int,
        beam: int,
        search: Callable[[Cases, Tensor], tuple[np.ndarray, np.ndarray]],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Hand the histories to `search`, in batches of equal length.

        So there is no padding, and in float32 a case's answer does not depend on the cases beside
        it, but for last bits
        of its scores: products of other numbers of rows may add up in another order. In bfloat16,
        in which LC-Rec computes where `dtype` says so, the same rounding is coarse enough to swap
        items of a list. Returns items and scores, [n_cases, k].
        """
        check_histories(cases, len(self.identifiers))
        keep_freed_memory()
        self.network.eval()
        items, scores = (
            np.full((len(cases), k), NO_ITEM),
            np.full((len(cases), k), -np.inf, dtype=np.float32),
        )
        widest = 64 if self.device.type == "cpu" else 512  # on a CPU, what stays in its caches
        lengths = np.minimum(cases.lengths, self.history)
        with progress(what="ranking", total=len(cases), delay=2) as bar:
            for length in np.unique(lengths).tolist():
                rows = np.flatnonzero(lengths == length)
                batch_size = int(
                    np.clip(SEARCH_BUDGET // self._largest_array(beam, length), 1, widest)
                )
                for start in range(0, len(rows), batch_size):
                    chosen = rows[start : start + batch_size]
                    part = cases[chosen]
                    items[chosen], scores[chosen] = search(part, self._memory(part))
                    bar.update(len(chosen))
        return items, scores
