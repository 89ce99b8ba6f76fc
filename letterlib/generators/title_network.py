"""A causal language model that writes titles, and one without LoRA that says how near two titles
are: for BIGRec.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from letterlib.generators.causal import AdaptedModel
from letterlib.generators.language_model import begin_of
from letterlib.progress import progress
from letterlib.train import autocast

if TYPE_CHECKING:
    from peft import PeftModel

WRITING_BUDGET = 2**16
"""Tokens that are read and written side by side on a GPU, all beams counted: each keeps its keys
and values, half a megabyte of them in a model of seven billion weights.
"""

PROMPT = "Titles that one person chose, one after another:\n"
Title = tuple[int, ...]
"""A title as the language model's tokens, without the end token that follows it in a list."""


class TitleNetwork(AdaptedModel):
    """The adapted language model and its tokenizer. title_tokens: of a longer title the rest is
    never seen.
    """

    def __init__(self, tokenizer: Any, model: "PeftModel", dtype: torch.dtype, title_tokens: int):
        super().__init__(model, dtype)
        self.tokenizer, self.title_tokens, self.end = (
            tokenizer,
            title_tokens,
            tokenizer.eos_token_id,
        )
        self.begin = begin_of(tokenizer)
        self.opening = [*self.begin, *tokenizer(PROMPT, add_special_tokens=False)["input_ids"]]
        self._written: dict[tuple[Title, int], Title] = {}
        self._embedded: dict[Title, Tensor] = {}

    def train(self, mode: bool = True) -> Self:
        """Before it learns, what it wrote is forgotten. Embeddings stay: they are of weights that
        never change.
        """
        if mode:
            self._written.clear()
        return super().train(mode)

    def tokens(self, title: str) -> Title:
        """A title as it is read, written and compared; the end token where it has no words."""
        words = self.tokenizer(title.strip(), add_special_tokens=False)["input_ids"]
        return tuple(words[: self.title_tokens]) or (self.end,)

    def prompt(self, history: Iterable[Title]) -> Title:
        """What stands before the next title: `PROMPT`, and the titles of a history, each with its
        end token.
        """
        return (*self.opening, *(token for title in history for token in (*title, self.end)))

    @torch.no_grad()
    def write(self, prompts: Sequence[Title], beam: int) -> list[Title]:
        """The title that follows each prompt. A prompt is read once, however often it is asked for.

        Not for several threads at once: `embed` switches LoRA off for all of them.

        Only prompts of one length are read together: there is no padding, and in float32 what is
        written does not depend on the other prompts, beyond the last bits that numbers of rows may
        change (bfloat16's are coarser).
        """
        self.eval()
        new = {prompt for prompt in prompts if (prompt, beam) not in self._written}
        with progress(what="titles", total=len(new), delay=2) as bar:
            for part in _of_equal_length(
                new, lambda length: self._at_once(beam * (length + self.title_tokens))
            ):
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
                    self._written[prompt, beam] = tuple(
                        row[: row.index(self.end)] if self.end in row else row
                    )
                bar.update(len(part))
        return [self._written[prompt, beam] for prompt in prompts]

    def _at_once(self, tokens: int) -> int:
        """Prompts to be answered together, each of which takes that many tokens."""
        return 16 if self.model.device.type == "cpu" else min(64, max(1, WRITING_BUDGET // tokens))

    @torch.no_grad()
    def embed(self, titles: Sequence[Title]) -> Tensor:
        """The last layer's state at a title's last token, in the language model without LoRA:
        float32 [n, d].

        A title is computed once, so equal ones have equal embeddings whatever stood beside them.
        """
        self.eval()
        with self.model.disable_adapter(), autocast(self.dtype, self.model.device):
            for part in _of_equal_length({*titles} - self._embedded.keys(), lambda length: 256):
                tokens = torch.tensor(
                    [[*self.begin, *title] for title in part], device=self.model.device
                )
                self.remember(part, self.hidden(tokens)[:, -1].to(torch.float32, copy=True))
        return torch.stack([self._embedded[title] for title in titles])

    def remember(self, titles: Sequence[Title], embeddings: Tensor) -> None:
        """Take the embeddings [n, d] of some titles as computed."""
        self._embedded.update(zip(titles, embeddings, strict=True))


def _of_equal_length(rows: Iterable[Title], at_most: Callable[[int], int]) -> Iterator[list[Title]]:
    """Batches of rows of one length, `at_most(length)` in each, in an order that does not depend on
    that of `rows`.
    """
    for length, group in groupby(sorted(rows, key=lambda row: (len(row), row)), key=len):
        equal, size = list(group), at_most(length)
        yield from (equal[start : start + size] for start in range(0, len(equal), size))
