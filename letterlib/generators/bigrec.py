"""BIGRec: a language model writes the next title, and the nearest real titles are recommended.

Bao et al., "A Bi-Step Grounding Paradigm for Large Language Models in Recommendation Systems", TORS
2025. First the model learns, through LoRA, to write titles; what it writes may be no item's. Then
the catalogue is ranked by the L2 distance between the embedding of what was written and that of
every item's title, both from the language model without LoRA. There are no new tokens: all that it
knows of an item is its title. Grounding cannot tell popular items from others, so distances may be
divided by (1 + popularity)^gamma.

Differences from the authors' code: lists are drawn again every epoch and the last weights are kept
(they draw 1,024 prompts once and stop by validation loss); the response is learnt and all matrices
of a block are adapted (their released command also learns the prompt, and adapts q and v alone);
distances are weighted by popularity only, not by a collaborative model; a list can teach several
titles (`targets`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from letterlib.baselines.packing import training_windows
from letterlib.data.dataset import Cases, Split
from letterlib.distributed import broadcast, share, weighed
from letterlib.errors import Learned, LetterError
from letterlib.evaluation.metrics import gains_at, ranks_of
from letterlib.evaluation.ranking import Ranking, check_histories, rank_by_score
from letterlib.generators.language_model import (
    AdaptedModel,
    adapters_of,
    begin_of,
    check_titles,
    load_to_adapt,
    put_adapters,
    with_adapters,
)
from letterlib.generators.prompts import Example, response_groups
from letterlib.generators.recommender import train_generator
from letterlib.progress import progress
from letterlib.train import (
    Dtype,
    Epochs,
    LearningRate,
    Settings,
    TrainingLog,
    WeightDecay,
    autocast,
    load_model,
    resolve_device,
    resolve_dtype,
    save_model,
    seeded,
)

if TYPE_CHECKING:  # importing it takes seconds
    from peft import PeftModel

PROMPT = "Titles that one person chose, one after another:\n"
Title = tuple[int, ...]
"""A title as the language model's tokens, without the end token that follows it in a list."""

WRITING_BUDGET = 2**16
"""Tokens read and written together on a GPU, all beams counted: each keeps its keys and values,
half a megabyte in a model of seven billion weights.
"""


class BIGRecConfig(Settings):
    """Model and training of one BIGRec; the authors' defaults but for the language model."""

    language_model: str = Field(
        "smollm2", description="smollm2, tiny, or a Hugging Face causal model id or folder"
    )
    rank: int = Field(8, ge=1, description="of LoRA")
    lora_alpha: float = Field(
        16, gt=0, description="what LoRA adds is multiplied by this over the rank"
    )
    dropout: float = Field(0.05, ge=0, lt=1, description="before LoRA")
    history: int = Field(10, ge=1, description="items read, the most recent ones")
    targets: int = Field(
        1,
        ge=1,
        description="titles that a list teaches; with more than one, from shorter histories",
    )
    title_tokens: int = Field(
        64, ge=1, description="of a longer title only the first ones are read, written, compared"
    )
    epochs: Epochs = 50
    lists: int | None = Field(1024, ge=1, description="lists drawn per epoch; None: nearly all")
    batch_size: int = Field(128, ge=1, description="lists")
    learning_rate: LearningRate = 1e-4
    weight_decay: WeightDecay = 0.0
    warmup: float = Field(
        0.05, ge=0, lt=1, description="share of all steps in which the rate rises"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations twice instead of keeping them"
    )
    beam: int = Field(4, ge=1, description="titles kept while one is written; 1 is greedy")
    gammas: tuple[Annotated[float, Field(ge=0, le=100)], ...] = Field(
        (0.0,), min_length=1, description="weights of popularity; validation chooses"
    )
    validation_cases: int = Field(
        200,
        ge=1,
        description="for that choice, where gammas has several; each costs a written title",
    )
    dtype: Dtype = "auto"


class TitleNetwork(AdaptedModel):
    """An adapted language model that writes titles, and without LoRA embeds them.

    title_tokens: the rest of a longer title is never seen.
    """

    def __init__(self, tokenizer: Any, model: "PeftModel", dtype: torch.dtype, title_tokens: int):
        super().__init__(model, dtype)
        self.tokenizer, self.title_tokens = tokenizer, title_tokens
        self.begin, self.end = begin_of(tokenizer), tokenizer.eos_token_id
        self.opening = [*self.begin, *tokenizer(PROMPT, add_special_tokens=False)["input_ids"]]
        self._written: dict[tuple[Title, int], Title] = {}
        self._embedded: dict[Title, Tensor] = {}

    def train(self, mode: bool = True) -> Self:
        """Forget what was written; embeddings stay, as the weights behind them never change."""
        if mode:
            self._written.clear()
        return super().train(mode)

    def tokens(self, title: str) -> Title:
        """A title as it is read, written and compared; the end token if it has no words."""
        words = self.tokenizer(title.strip(), add_special_tokens=False)["input_ids"]
        return tuple(words[: self.title_tokens]) or (self.end,)

    def prompt(self, history: Iterable[Title]) -> Title:
        """`PROMPT`, and the titles of a history, each with its end token."""
        return (*self.opening, *(token for title in history for token in (*title, self.end)))

    @torch.no_grad()
    def write(self, prompts: Sequence[Title], beam: int) -> list[Title]:
        """The title that follows each prompt; remembered until the next training.

        Prompts of one length are read together, so nothing is padded and in float32 a title does
        not depend on the other prompts.

        beam: titles kept while one is written; 1 is greedy.
        """
        self.eval()
        new = {prompt for prompt in prompts if (prompt, beam) not in self._written}
        with progress(what="titles", total=len(new), delay=2) as bar:
            for part in _of_equal_length(new, lambda length: self._at_once(beam, length)):
                tokens = torch.tensor(part, device=self.model.device)
                with autocast(self.dtype, tokens.device):
                    found = self.model.generate(
                        input_ids=tokens,
                        attention_mask=torch.ones_like(tokens),
                        num_beams=beam,
                        do_sample=False,
                        min_new_tokens=1,
                        max_new_tokens=self.title_tokens,
                        eos_token_id=self.end,
                        pad_token_id=self.end,
                    )
                for prompt, row in zip(part, found[:, tokens.shape[1] :].tolist(), strict=True):
                    title = row[: row.index(self.end)] if self.end in row else row
                    self._written[prompt, beam] = tuple(title)
                bar.update(len(part))
        return [self._written[prompt, beam] for prompt in prompts]

    def _at_once(self, beam: int, length: int) -> int:
        """How many prompts of so many tokens are answered together."""
        if self.model.device.type == "cpu":
            return 16
        return min(64, max(1, WRITING_BUDGET // (beam * (length + self.title_tokens))))

    @torch.no_grad()
    def embed(self, titles: Sequence[Title]) -> Tensor:
        """The last state of each title's last token in the model without LoRA: float32 [n, d].

        A title is computed once, so equal ones have equal embeddings.
        """
        self.eval()
        with self.model.disable_adapter(), autocast(self.dtype, self.model.device):
            for part in _of_equal_length({*titles} - self._embedded.keys(), lambda length: 256):
                rows = [[*self.begin, *title] for title in part]
                states = self.hidden(torch.tensor(rows, device=self.model.device))
                self.remember(part, states[:, -1].to(torch.float32, copy=True))
        return torch.stack([self._embedded[title] for title in titles])

    def remember(self, titles: Sequence[Title], embeddings: Tensor) -> None:
        """Take the embeddings [n, d] of some titles as computed."""
        self._embedded.update(zip(titles, embeddings, strict=True))


def _of_equal_length(rows: Iterable[Title], at_most: Callable[[int], int]) -> Iterator[list[Title]]:
    """Batches of rows of one length, `at_most(length)` in each; the order of `rows` is ignored."""
    for length, group in groupby(sorted(rows, key=lambda row: (len(row), row)), key=len):
        equal, size = list(group), at_most(length)
        yield from (equal[start : start + size] for start in range(0, len(equal), size))


def title_loss(network: nn.Module, batch: tuple[list, Tensor, Tensor]) -> dict[str, Tensor]:
    """Mean cross-entropy of the response tokens, over all words. A batch: see `response_groups`."""
    groups, targets, _ = batch
    logits = network(groups).float()
    return weighed({"loss": F.cross_entropy(logits, targets.to(logits.device))}, len(targets))


class BIGRec:
    """BIGRec as a recommender: `fit` on the training part, then `recommend` for histories.

    After an empty history nothing is written, and items are ranked by popularity in training. Items
    with equal titles are at equal distances; without gamma the lower id stands first.

    config: its settings; or give them as keywords, `BIGRec(epochs=3)`.
    seed: of adapters, lists and dropout.
    device: "auto", "cpu", "cuda" or "cuda:NUMBER".
    checkpoint: a file from which an interrupted `fit` resumes.
    """

    name = "BIGRec"
    network: TitleNetwork = Learned()
    titles: list[Title] = Learned()
    popularity: Tensor = Learned()

    def __init__(
        self,
        config: BIGRecConfig | None = None,
        seed: int = 0,
        device: str = "auto",
        checkpoint: Path | None = None,
        **settings: Any,
    ):
        self.config = BIGRecConfig.resolve(config, settings)
        self.seed, self.checkpoint = index(seed), checkpoint
        self.device = resolve_device(device)
        self.log = TrainingLog()
        self.gamma = self.config.gammas[0]

    def _prepare(self, titles: Sequence[str], popularity: Tensor) -> None:
        """Load the language model and add untrained adapters.

        titles: one per item.
        popularity: int64 [n_items], how often each item is in training.
        """
        config, dtype = self.config, resolve_dtype(self.config.dtype, self.device)
        tokenizer, model = load_to_adapt(
            config.language_model, self.device, dtype, config.gradient_checkpointing
        )
        with seeded(self.seed):
            adapted = with_adapters(model, [], config.rank, config.lora_alpha, config.dropout)
        network = TitleNetwork(tokenizer, adapted, dtype, config.title_tokens)
        self.network = network.to(self.device).eval()
        self.names, self.titles = list(titles), [network.tokens(title) for title in titles]
        self.popularity = popularity.to(self.device)

    def prompt(self, items: Sequence[int]) -> Title:
        """What stands before the title of the item after a history."""
        return self.network.prompt(self.titles[item] for item in items)

    def example(self, items: Sequence[int], targets: int) -> Example:
        """A list whose last `targets` titles are responses."""
        tokens, read = np.array(self.prompt(items)), len(self.prompt(items[: len(items) - targets]))
        return Example(tokens, np.arange(len(tokens)) >= read)

    def fit(self, split: Split) -> Self:
        """Train on lists of the training part, then choose gamma on validation."""
        config, values = self.config, split.train.values
        targets = min(config.targets, config.history)
        all_lists = int((-(-np.maximum(split.train.lengths - 1, 0) // targets)).sum())
        if not all_lists:
            raise LetterError(f"{split.dataset.name}: no user has two items to learn from")
        check_titles(split.dataset)
        self._prepare(split.dataset.titles(), torch.tensor(split.train_counts))
        n_lists = min(config.lists or all_lists, all_lists)

        def batches(generator: np.random.Generator):
            starts, ends = training_windows(split.train, targets, generator)
            chosen = generator.permutation(len(starts))[:n_lists]
            owners = split.train.owners[starts]
            begins = np.maximum(starts - (config.history - targets), split.train.offsets[owners])
            for first in range(0, n_lists, config.batch_size):
                rows = share(chosen[first : first + config.batch_size])
                lists = [(values[begins[i] : ends[i] + 1], int(ends[i] - starts[i])) for i in rows]
                yield response_groups([self.example(*items) for items in lists], self.network.end)

        try:
            self.log = train_generator(
                self,
                batches,
                title_loss,
                n_lists,
                data=split.fingerprint,
                dtype=self.network.dtype,
            )
            self.gamma = broadcast(lambda: self.best_gamma(split))
        except BaseException:
            del self.network  # an interrupted `fit` leaves nothing half trained
            raise
        return self

    def best_gamma(self, split: Split) -> float:
        """The config.gammas with the best NDCG@10 on validation; the first among equals."""
        cases = split.cases("valid").sample(self.config.validation_cases, seed=0)
        if len(self.config.gammas) == 1 or not len(cases):
            return self.config.gammas[0]
        histories = cases.without_targets()
        lists = [self.recommend(histories, 10, gamma=gamma).items for gamma in self.config.gammas]
        scores = [float(gains_at(ranks_of(items, cases.targets), 10).mean()) for items in lists]
        return self.config.gammas[int(np.argmax(scores))]

    def write(self, cases: Cases) -> list[Title]:
        """The title written after every history; () after an empty one."""
        check_histories(cases, len(self.titles))
        histories = [cases.history(i)[-self.config.history :] for i in range(len(cases))]
        prompts = [self.prompt(items) for items in histories if len(items)]
        written = iter(self.network.write(prompts, self.config.beam))
        return [next(written) if len(items) else () for items in histories]

    def distances(self, cases: Cases) -> Tensor:
        """L2 distances from what was written to every title: float32 [n_cases, n_items].

        0 after an empty history.
        """
        written = self.write(cases)
        some = [row for row, title in enumerate(written) if title]
        result = torch.zeros(len(cases), len(self.titles), device=self.device)
        if some:
            # A matrix product would be faster, but equal embeddings would not be at distance 0.
            exact = "donot_use_mm_for_euclid_dist"
            # The catalogue first: so other titles are batched as in a loaded model.
            catalogue = self.network.embed(self.titles)
            titles = self.network.embed([written[row] for row in some])
            result[some] = torch.cdist(titles, catalogue, compute_mode=exact)
        return result

    def recommend(
        self, cases: Cases, k: int, exclude_history: bool = False, *, gamma: float | None = None
    ) -> Ranking:
        """The best k items of the whole catalogue for every case.

        A score is -(1 + popularity)^-gamma x distance, both brought to [0, 1] between the
        catalogue's least and greatest. The nearest item has distance 0 and stays first.

        exclude_history: leave out the items that a case has in its history.
        gamma: default what validation chose; 0 ranks by distance alone.
        """
        gamma = self.gamma if gamma is None else gamma
        weight = (1 + _to_unit(self.popularity.float())) ** -gamma

        def scores(part: Cases) -> Tensor:
            empty = torch.from_numpy(part.lengths == 0)[:, None].to(self.device)
            by_distance = -weight * _to_unit(self.distances(part))
            return torch.where(empty, self.popularity.float(), by_distance)

        self.write(cases)  # all at once: more prompts have one length, and are read together
        return rank_by_score(scores, cases, k, exclude_history)

    @property
    def n_parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    def save(self, path: str | Path) -> None:
        """Write one small safetensors file: adapters, settings, titles and their embeddings."""
        tensors = adapters_of(self.network.model, torch.float32) | {"popularity": self.popularity}
        tensors["embeddings"] = self.network.embed(self.titles)
        report = {"titles": self.names, "gamma": self.gamma}
        save_model(path, "BIGRec", tensors, self.config, self.seed, self.log, report)

    @classmethod
    def load(cls, path: str | Path, device: str = "auto") -> Self:
        """Read what `save` wrote; the language model is loaded as config.language_model says."""
        saved = load_model(path, "BIGRec", BIGRecConfig)
        model = cls(saved.config, saved.seed, device)
        model._prepare(saved.report["titles"], saved.tensors["popularity"])
        put_adapters(model.network.model, saved.tensors)
        model.network.remember(model.titles, saved.tensors["embeddings"].to(model.device))
        model.log, model.gamma = saved.log, saved.report["gamma"]
        return model


def _to_unit(x: Tensor) -> Tensor:
    """Every row to [0, 1], from its least to its greatest; zeros if these are equal."""
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    return (x - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)
