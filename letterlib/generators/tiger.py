"""TIGER: an encoder-decoder that reads the identifiers of a history and generates the next item's.

Rajput et al., NeurIPS 2023. With LETTER's identifiers and the ranking-guided loss it is
LETTER-TIGER.
"""

from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from letterlib.data.dataset import NO_ITEM, Cases, Split
from letterlib.decoding.exact import score_catalogue
from letterlib.decoding.trie import EOS, PAD, tokens_of
from letterlib.distributed import share, weighed
from letterlib.errors import LetterError
from letterlib.evaluation.evaluate import validation_ndcg
from letterlib.generators.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from letterlib.generators.ranking_loss import ranking_guided_loss
from letterlib.generators.recommender import SEARCH_BUDGET, IdentifierRecommender
from letterlib.store import digest
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.train import (
    Dtype,
    Epochs,
    LearningRate,
    Settings,
    TrainingLog,
    WeightDecay,
    load_model,
    resolve_device,
    resolve_dtype,
    save_model,
    seeded,
    strip_prefix,
    train,
)

IGNORED = -100
"""The target where nothing is to be predicted."""


class TigerConfig(Settings):
    """Size and training of one TIGER; the defaults are the paper's."""

    d_model: int = Field(128, ge=1, description="width of the states")
    d_ff: int = Field(1024, ge=1, description="width of the feed-forward blocks")
    n_heads: int = Field(6, ge=1, description="of attention")
    d_head: int = Field(64, ge=1, description="width of a head")
    n_layers: int = Field(4, ge=1, description="in the encoder, and as many in the decoder")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="of embeddings, attention weights and every block"
    )
    history: int = Field(20, ge=1, description="items read, the most recent ones")
    tau: float = Field(
        1.0, gt=0, description="temperature of the ranking-guided loss; 1 is plain cross-entropy"
    )
    epochs: Epochs = 200
    examples: int | None = Field(
        None, ge=1, description="training examples drawn per epoch; all when not said"
    )
    targets: int = Field(
        1, ge=1, description="items learnt after each history: the next one, and those after it"
    )
    batch_size: int = Field(1024, ge=1, description="training examples per step")
    learning_rate: LearningRate = 5e-4
    relative_rate: bool = Field(
        False, description="multiply each tensor's rate by the size of its first weights"
    )
    weight_decay: WeightDecay = 0.01
    warmup: float = Field(
        0.01, ge=0, lt=1, description="share of all steps in which the rate rises"
    )
    beam: int = Field(
        20, ge=1, description="prefixes kept per level, at least as many as items are asked for"
    )
    validate_every: int = Field(1, ge=1, description="epochs between validations")
    patience: int = Field(20, ge=1, description="validations without a new best before stopping")
    dtype: Dtype = "auto"


def history_tokens(
    cases: Cases, length: int, item_tokens: np.ndarray
) -> tuple[Tensor, Tensor | None]:
    """What the encoder reads: the identifiers of the last `length` items, oldest first, then the
    end token.

    An empty history is the end token alone. Shorter ones are padded in front. item_tokens: int64
    [n_items, L]. Returns tokens [n, longest * L + 1] and a mask of the same shape, None where
    nothing is padded.
    """
    lengths = np.minimum(cases.lengths, length)
    items = cases.recent(int(lengths.max(initial=0)))
    real = items != NO_ITEM
    tokens = np.where(real[:, :, None], item_tokens[np.where(real, items, 0)], PAD).reshape(
        len(cases), -1
    )
    tokens = np.concatenate([tokens, np.full((len(cases), 1), EOS)], axis=1)
    mask = None if real.all() else torch.from_numpy(tokens != PAD)
    return torch.from_numpy(tokens), mask


def next_identifiers_loss(tau: float):
    """The loss that `train` minimises. A batch: history tokens, their mask, target tokens [batch,
    n, L + 1].
    """

    def loss(network: nn.Module, batch: tuple[Tensor, Tensor | None, Tensor]) -> dict[str, Tensor]:
        tokens, mask, targets = batch
        mean = ranking_guided_loss(network(tokens, mask, targets), targets, tau)
        return weighed({"loss": mean}, (targets != IGNORED).sum())

    return loss


class Tiger(IdentifierRecommender):
    """The recommender: `fit` on the training part, `recommend` from a case's history alone.

    checkpoint: a file to resume an interrupted `fit` from.
    """

    name = "TIGER"

    def __init__(
        self,
        identifiers: Identifiers,
        config: TigerConfig,
        seed: int = 0,
        device: str = "auto",
        checkpoint: Path | None = None,
    ):
        super().__init__(identifiers, seed, resolve_device(device))
        self.config, self.checkpoint = config, checkpoint
        self.history, self.beam, self.n_tokens = (
            config.history,
            config.beam,
            self.trie.vocabulary_size,
        )
        self.n_heads = config.n_heads
        self.log = TrainingLog()
        self.item_tokens = tokens_of(
            identifiers.codes, identifiers.level_sizes, identifiers.shared_vocabulary
        )
        sizes = config.model_dump(
            include={"d_model", "d_ff", "n_heads", "d_head", "n_layers", "dropout"}
        )
        with seeded(seed):
            network = EncoderDecoder(EncoderDecoderConfig(self.trie.vocabulary_size, **sizes))
        self.network = network.to(self.device).eval()

    def fit(self, split: Split) -> Self:
        """Train from the first weights; after `load`, which has none of them, from the loaded ones."""
        self.check_identifiers(split)
        config = self.config
        cases = split.cases("train")
        if not len(cases):
            raise LetterError(
                "TIGER: no user has two items in training, so there is no next item to learn"
            )
        n_examples = min(config.examples or len(cases), len(cases))
        train_ends = split.dataset.sequences.offsets[:-1] + split.train.lengths

        def batches(generator: np.random.Generator):
            chosen = generator.permutation(len(cases))[:n_examples]
            # Sorted by length, so that a batch has next to no padding; then the batches are
            # shuffled.
            chosen = chosen[
                np.argsort(np.minimum(cases.lengths[chosen], config.history), kind="stable")
            ]
            starts = np.arange(0, n_examples, config.batch_size)
            for start in generator.permutation(starts):
                yield self._batch(
                    cases[share(chosen[start : start + config.batch_size])], train_ends
                )

        with self.from_first_weights():
            self.log = train(
                self.network,
                batches,
                next_identifiers_loss(config.tau),
                epochs=config.epochs,
                steps_per_epoch=-(-n_examples // config.batch_size),
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                warmup=config.warmup,
                schedule="cosine",
                relative_rate=config.relative_rate,
                clip_norm=1.0,
                seed=self.seed,
                what="TIGER",
                config=config,
                data=digest(split.fingerprint, self.identifiers.codes, self.first_weights),
                dtype=resolve_dtype(config.dtype, self.device),
                validate=validation_ndcg(split, self.recommend),
                validate_every=config.validate_every,
                patience=config.patience,
                checkpoint=self.checkpoint,
            )
        return self

    def _batch(self, cases: Cases, train_ends: np.ndarray) -> tuple[Tensor, Tensor | None, Tensor]:
        """History tokens, their mask, and target tokens [batch, targets, L + 1], which end where
        training ends.

        train_ends: int64 [n_users], where each user's training part ends in `cases.values`.
        """
        tokens, mask = history_tokens(cases, self.config.history, self.item_tokens)
        positions = cases.ends[:, None] + np.arange(self.config.targets)
        real = positions < train_ends[cases.users][:, None]
        items = cases.values[np.where(real, positions, 0)]
        targets = np.full((*items.shape, self.trie.n_levels + 1), EOS)
        targets[..., :-1] = self.item_tokens[items]
        targets[~real] = IGNORED
        mask = None if mask is None else mask.to(self.device)
        return tokens.to(self.device), mask, torch.from_numpy(targets).to(self.device)

    def _memory(self, cases: Cases) -> Tensor:
        """The encoded histories, [n, S, d_model]; in float32, because beams are compared by small
        differences.
        """
        tokens, _ = history_tokens(cases, self.config.history, self.item_tokens)
        return self.network.encode(tokens.to(self.device))

    def _scores_all(self, beam: int) -> bool:
        """A beam as wide as the catalogue need not be searched: every identifier is scored."""
        return beam >= self.trie.n_nodes(self.trie.n_levels)

    def _largest_array(self, beam: int, length: int) -> int:
        encoding = (
            self.n_heads * (self.trie.n_levels * length + 1) ** 2
        )  # every token looks at every token
        if not self._scores_all(beam):
            return max(super()._largest_array(beam, length), encoding)
        # Eight histories at a time: a large catalogue takes seconds for each, and the bar should
        # move meanwhile.
        return max(self.trie.n_nodes(self.trie.n_levels), SEARCH_BUDGET // 8, encoding)

    def _search(
        self, memory: Tensor, beam: int, tau: float, dead: list[Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        if not self._scores_all(beam):
            return super()._search(memory, beam, tau, dead)
        scores = score_catalogue(self.network, memory, self.trie, tau=tau)
        scores = scores if dead is None else scores.masked_fill_(dead[-1], -torch.inf)
        scores, leaves = scores.sort(dim=1, descending=True, stable=True)
        return leaves, scores

    def save(self, path: str | Path) -> None:
        """One safetensors file that `load` reads: weights, identifiers and configuration."""
        tensors = {f"network.{name}": weight for name, weight in self.network.state_dict().items()}
        tensors["codes"] = torch.tensor(self.identifiers.codes)
        tensors["level_sizes"] = torch.tensor(self.identifiers.level_sizes)
        if (
            self.identifiers.shared_vocabulary
        ):  # other files say nothing of it, as they did before there was any
            tensors["shared_vocabulary"] = torch.tensor(True)
        save_model(path, "TIGER", tensors, self.config, self.seed, self.log)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        saved = load_model(path, "TIGER", TigerConfig)
        codes, sizes = saved.tensors.pop("codes").numpy(), saved.tensors.pop("level_sizes").tolist()
        identifiers = Identifiers(
            codes, tuple(sizes), bool(saved.tensors.pop("shared_vocabulary", False))
        )
        model = cls(identifiers, saved.config, saved.seed, device)
        model.network.load_state_dict(strip_prefix("network.", saved.tensors))
        model.log = saved.log
        return model
