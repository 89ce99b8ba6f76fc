"""Amazon Beauty as the LETTER authors released it, and what several benchmarks make of it."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import Settings
from letterlib.data import load_dataset
from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Split
from letterlib.decoding.trie import EOS, PAD, tokens_of
from letterlib.errors import LetterError
from letterlib.generators.tiger import Tiger, TigerConfig
from letterlib.tokenizer.identifiers import Identifiers

FILES = ("Beauty.inter.json", "Beauty.index.json")
TEXT = "Beauty.item.json"
LEVEL_SIZES = (256, 256, 256, 256)
HISTORY = 20
BATCH = 256


@dataclass(frozen=True)
class Beauty:
    """The data set and the authors' identifiers; item_tokens: int64 [n_items, 4]."""

    dataset: Dataset
    identifiers: Identifiers

    @classmethod
    def load(cls, settings: Settings) -> "Beauty":
        require_files(settings.data_dir, text=False)
        dataset = load_dataset("beauty", Path(settings.data_dir))
        path = Path(settings.data_dir) / FILES[1]
        return cls(dataset, Identifiers.load(path, dataset.n_items, LEVEL_SIZES))

    @property
    def item_tokens(self) -> np.ndarray:
        return tokens_of(self.identifiers.codes, LEVEL_SIZES)

    def training_part(self) -> Split:
        """The training part alone, with nothing held out.

        Its training cases are those of `dataset.split()`, and a `fit` finds nothing to validate on:
        what is timed is training.
        """
        return nothing_held_out(replace(self.dataset, sequences=self.dataset.split().train))


def nothing_held_out(dataset: Dataset) -> Split:
    """A split in which every item is training, because no user has items enough to give any
    away.
    """
    return dataset.split(held_out=dataset.n_interactions)


def require_files(folder: str, text: bool) -> None:
    """LetterError, in one line, unless the Beauty files are there. text: whether the items' text is
    needed, too.
    """
    needed = (*FILES, TEXT) if text else FILES
    missing = [name for name in needed if not (Path(folder) / name).is_file()]
    if missing:
        raise LetterError(
            f"{folder}: {', '.join(missing)} missing; give the folder of the released Beauty "
            "files with --data-dir "
            "(data/README.md says where they are)"
        )


def short_tiger(beauty: Beauty, settings: Settings) -> tuple[Tiger, str]:
    """A TIGER of the paper's size after a few steps, and a sentence that says how few.

    Speed does not depend on how good the weights are; a little training spreads the scores, so that
    answers can be compared.
    """
    examples = settings.pick(8_192, 1_024)
    config = TigerConfig(epochs=1, examples=examples, batch_size=BATCH)
    tiger = Tiger(beauty.identifiers, config, settings.seed, device="cpu").fit(
        beauty.training_part()
    )
    return tiger, f"weights after {examples // BATCH} training steps"


def padded_batch(cases: Cases, item_tokens: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Cases as one writes them for transformers, padded to the longest history of the batch.

    Returns history tokens int64 [n, S], mask bool [n, S], and target tokens int64 [n, L + 1] that
    end with EOS (all pad where the cases have no targets).
    """
    items = cases.recent(int(np.minimum(cases.lengths, HISTORY).max()))
    real = items != NO_ITEM
    tokens = np.where(real[:, :, None], item_tokens[np.where(real, items, 0)], PAD).reshape(
        len(cases), -1
    )
    tokens = np.concatenate([tokens, np.full((len(cases), 1), EOS)], axis=1)
    targets = np.full(
        (len(cases), item_tokens.shape[1] + 1), EOS if cases.targets is not None else PAD
    )
    if cases.targets is not None:
        targets[:, :-1] = item_tokens[cases.targets]
    tokens = torch.from_numpy(tokens)
    return tokens, tokens != PAD, torch.from_numpy(targets)
