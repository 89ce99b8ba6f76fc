"""What the generators share: training options, first weights, and from histories to items."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import index
from pathlib import Path
from typing import Any

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
from letterlib.train import Settings, TrainingLog, resolve_device, train

SEARCH_BUDGET = 2**25
"""Numbers in the largest array of a search: 128 MB of logits or, with wide beams, attention."""


def train_generator(
    model: Any,
    batches: Callable[[np.random.Generator], Iterable],
    loss: Callable[[nn.Module, Any], dict[str, Tensor]],
    n_examples: int,
    *,
    data: str,
    dtype: torch.dtype,
    **options: Any,
) -> TrainingLog:
    """`train` with what all generators have in common and what their settings say.

    model: has name, network, config, seed and checkpoint.
    batches, loss, data, dtype, options: as `train` takes them.
    n_examples: per epoch.
    """
    config = model.config
    return train(
        model.network,
        batches,
        loss,
        epochs=config.epochs,
        steps_per_epoch=-(-n_examples // config.batch_size),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warmup=config.warmup,
        schedule="cosine",
        clip_norm=1.0,
        seed=model.seed,
        what=model.name,
        config=config,
        data=data,
        dtype=dtype,
        checkpoint=model.checkpoint,
        **options,
    )


def tensors_of(identifiers: Identifiers) -> dict[str, Tensor]:
    """Identifiers as a model's file holds them; `identifiers_in` reads them."""
    tensors = {
        "codes": torch.tensor(identifiers.codes),
        "level_sizes": torch.tensor(identifiers.level_sizes),
    }
    if identifiers.shared_vocabulary:
        tensors["shared_vocabulary"] = torch.tensor(True)
    return tensors


def identifiers_in(tensors: dict[str, Tensor]) -> Identifiers:
    """Take the identifiers out of a file's tensors."""
    codes, sizes = tensors.pop("codes").numpy(), tensors.pop("level_sizes").tolist()
    return Identifiers(codes, tuple(sizes), bool(tensors.pop("shared_vocabulary", False)))


class IdentifierRecommender(ABC):
    """TIGER and LC-Rec: `recommend` by beam search over the trie of the catalogue's identifiers.

    Items that share an identifier share its score; the seed fixes their order.

    name: what it is called in errors.
    network: has `start` and `step` of `IncrementalDecoder`.
    n_tokens: what the network can write.
    n_heads: of its attention.
    first_weights_digest: a hash of what training begins from next to seed and settings (a T5's
        weights, titles); a checkpoint of other first weights is not resumed.
    """

    name: str
    network: nn.Module
    n_tokens: int
    n_heads: int
    first_weights_digest: str = ""

    def __init__(
        self,
        identifiers: Identifiers,
        config: Settings,
        seed: int,
        device: str,
        checkpoint: Path | None,
    ):
        self.identifiers, self.config, self.seed = identifiers, config, index(seed)
        self.checkpoint, self.device = checkpoint, resolve_device(device)
        self.history, self.beam = config.history, config.beam
        self.log = TrainingLog()
        shared = identifiers.shared_vocabulary
        self.trie = Trie.build(
            identifiers.codes, identifiers.level_sizes, self.seed, self.device, shared
        )
        self._at_first: dict[str, Tensor] = {}

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def check_identifiers(self, split: Split) -> None:
        """LetterError unless there is one identifier for every item of a data set."""
        if split.n_items != len(self.identifiers):
            raise LetterError(
                f"{self.name}: {len(self.identifiers):,} identifiers, but {split.dataset.name} has "
                f"{split.n_items:,} items; use the identifiers that were made for this data set"
            )

    @contextmanager
    def from_first_weights(self) -> Iterator[None]:
        """Train inside it, from the weights with which the first `fit` began.

        So a second `fit` gives the same model. If training is interrupted, these weights come back.
        """
        self._reset()
        try:
            yield
        except BaseException:
            self._reset()
            raise

    def _reset(self) -> None:
        self.log = TrainingLog()
        trained = {
            name: weight for name, weight in self.network.named_parameters() if weight.requires_grad
        }
        if not self._at_first:
            self._at_first = {name: w.detach().clone() for name, w in trained.items()}
        with torch.no_grad():
            for name, weight in trained.items():
                weight.copy_(self._at_first[name])

    @abstractmethod
    def _memory(self, cases: Cases) -> Tensor:
        """What the network reads of histories of one length: [n, S] or [n, S, d_model]."""

    def recommend(
        self,
        cases: Cases,
        k: int,
        exclude_history: bool = False,
        *,
        beam: int | None = None,
        tau: float = 1.0,
    ) -> Ranking:
        """The best k items for every case, by beam search; never an item twice.

        exclude_history: leave out the items that a case has in its history.
        beam: prefixes kept per level, default config.beam, and at least k; one as wide as the
            catalogue scores every item exactly.
        tau: divides the logits. 1 decodes with the raw ones, as the released code does; config.tau
            gives the paper's P_theta.
        """
        if not 0 < tau < np.inf:
            raise LetterError(f"tau divides the logits and has to be above 0, not {tau}")
        if exclude_history and len(self.trie.items) != len(self.identifiers):
            raise LetterError(
                f"{self.name}: its trie has {len(self.trie.items):,} of {len(self.identifiers):,} "
                "items, under other numbers than the history's; leave items out afterwards"
            )
        beam = max(self.beam if beam is None else beam, k)

        def search(part: Cases, memory: Tensor) -> tuple[np.ndarray, np.ndarray]:
            excluded, dead = None, None
            if exclude_history:
                excluded = part.flat_histories()
                nodes = self.trie.dead_nodes(*excluded, len(part))
                dead = [torch.from_numpy(level).to(self.device) for level in nodes]
            leaves, scores = self._search(part, memory, beam, tau, dead)
            refuse_nan(scores)
            return expand_leaves(self.trie, leaves.cpu().numpy(), scores.cpu().numpy(), k, excluded)

        return Ranking.of_items(*self._in_batches(cases, k, beam, search))

    def _search(
        self, part: Cases, memory: Tensor, beam: int, tau: float, dead: list[Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Leaves and scores, best first; see `beam_search`."""
        return beam_search(self.network, memory, self.trie, beam, tau=tau, dead=dead)

    def recommend_unconstrained(self, cases: Cases, k: int) -> Ranking:
        """The best k token sequences for every case without the trie.

        It tells how many of them are identifiers at all. A sequence that is none is NO_ITEM and not
        valid; for one that several items share, the first stands.
        """
        beam = max(self.beam, k)

        def search(part: Cases, memory: Tensor) -> tuple[np.ndarray, np.ndarray]:
            found = unconstrained_beam_search(self.network, memory, self.trie, beam)
            refuse_nan(found[1])
            leaves, scores = (array[:, :k].cpu().numpy() for array in found)
            first = self.trie.items[self.trie.first_item[np.maximum(leaves, 0)]]
            missing = ((0, 0), (0, k - leaves.shape[1]))  # fewer sequences than k, if few tokens
            return (
                np.pad(np.where(leaves >= 0, first, NO_ITEM), missing, constant_values=NO_ITEM),
                np.pad(np.where(leaves >= 0, scores, -np.inf), missing, constant_values=-np.inf),
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
        """Hand the histories to `search`, in batches of equal length, so without padding.

        In float32 a case's answer does not depend on the cases around it but for the last bits of
        its scores. In bfloat16, which LC-Rec may use, that rounding can swap items of a list.

        Returns items and scores, [n_cases, k].
        """
        check_histories(cases, len(self.identifiers))
        keep_freed_memory()
        self.network.eval()
        items = np.full((len(cases), k), NO_ITEM)
        scores = np.full((len(cases), k), -np.inf, dtype=np.float32)
        widest = 64 if self.device.type == "cpu" else 512  # on a CPU, what stays in its caches
        lengths = np.minimum(cases.lengths, self.history)
        with progress(what="ranking", total=len(cases), delay=2) as bar:
            for length in np.unique(lengths).tolist():
                rows = np.flatnonzero(lengths == length)
                fitting = SEARCH_BUDGET // self._largest_array(beam, length)
                batch_size = int(np.clip(fitting, 1, widest))
                for start in range(0, len(rows), batch_size):
                    chosen = rows[start : start + batch_size]
                    part = cases[chosen]
                    items[chosen], scores[chosen] = search(part, self._memory(part))
                    bar.update(len(chosen))
        return items, scores

    def _largest_array(self, beam: int, length: int) -> int:
        """Numbers that a search for one history of `length` items holds in its largest array."""
        positions = 1 + self.trie.n_levels * beam  # of all beams; each beam's scores hold all
        return beam * max(self.n_tokens, self.n_heads * positions)
