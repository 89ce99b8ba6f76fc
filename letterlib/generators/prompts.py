"""What LC-Rec learns: six tasks that tie identifiers to words and to each other, as text to go on.

Zheng et al., ICDE 2024, section III-C; the wordings are ours. An example is a prompt, which is only
read, and a response, which is learnt. In a list of `seqrec` the last items are responses, each to
what stands before it: a causal model sees no more than that, so one pass teaches all of them. The
more responses a list has, the shorter the histories before them, because a list is no longer than a
history and its next item.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from letterlib.data.dataset import Dataset, Split
from letterlib.errors import LetterError
from letterlib.generators.language_model import Vocabulary
from letterlib.store import read_json

WORDINGS = {
    "seqrec": (
        "Someone chose these items, one after another. Go on with the list.\n",
        "A list of what one person picked, oldest first, and what comes next:\n",
        "Predict the next item of this person.\n",
    ),
    "item2index": (
        "Which item is called {title}?\n",
        "Write the identifier of {title}.\n",
        "{title}\nThe index of this item:\n",
    ),
    "index2item": (
        "What is the title of {item}?\n",
        "{item}\nSay in words which item this is.\n",
        "Write the name behind the index {item}.\n",
    ),
    "fusionseqrec": (
        "Someone chose {history}. Name the item that comes next.\n",
        "After {history}, what will this person pick? Give its title.\n",
        "Someone chose {titles}. Give the index of the item that comes next.\n",
    ),
    "itemsearch": (
        "Someone who chose {history} now looks for this: {query}. Which item fits?\n",
        "Looking for {query}. History: {history}. Recommend one item.\n",
    ),
    "preferenceobtain": (
        "Someone chose {history}. What does this person like?\n",
        "Describe the taste behind this list: {history}.\n",
    ),
}
"""Prompts of the six tasks; the history of "seqrec" follows its wording."""

Task = Literal[
    "seqrec", "item2index", "index2item", "fusionseqrec", "itemsearch", "preferenceobtain"
]
TASKS: tuple[Task, ...] = get_args(Task)

TITLE_TOKENS = 64
"""Of a longer title only the first tokens are read and written."""


@dataclass(frozen=True)
class Example:
    """A prompt with its response.

    tokens: int64 [T].
    response: bool [T], True where a token is learnt.
    task: its number in TASKS.
    """

    tokens: np.ndarray
    response: np.ndarray
    task: int = 0


def identifiers_of(vocabulary: Vocabulary, items: Sequence[int]) -> list[int]:
    """Identifiers one after another, each with its end token, as they are generated."""
    return [t for item in items for t in (*vocabulary.item_tokens[item].tolist(), vocabulary.end)]


def prompt_of(vocabulary: Vocabulary, items: Sequence[int], wording: int = 0) -> list[int]:
    """What stands before the next item: a wording of "seqrec" and the history's identifiers."""
    return [
        *vocabulary.begin,
        *vocabulary.words(WORDINGS["seqrec"][wording]),
        *identifiers_of(vocabulary, items),
    ]


@dataclass(frozen=True)
class Intentions:
    """What people say they want, in texts that somebody has written or generated.

    preferences: by user label, at least one text.
    searches: by user label, (item id, queries).
    """

    preferences: dict[str, list[str]]
    searches: dict[str, tuple[int, list[str]]]

    @classmethod
    def load(cls, path: str | Path, dataset: Dataset) -> "Intentions":
        """Read `<Name>.user.json`, the format of LC-Rec's authors.

        A file of another form, or with users or items that `dataset` lacks, is a LetterError.
        """
        table = read_json(path)
        try:
            written = table["user_explicit_preference"]
            preferences = {user: _texts(text) for user, text in written.items()}
            searches = {
                user: (int(str(search["item"])), _texts(search["querys"]))
                for user, search in table["user_vague_intention"]["train"].items()
            }
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise LetterError(
                f'{path}: cannot be read ({error!r}); expected {{"user_explicit_preference": '
                '{user: [text, ...]}, "user_vague_intention": {"train": {user: {"item": id, '
                '"querys": [text, ...]}}}}'
            ) from error
        unknown = (preferences.keys() | searches.keys()) - set(dataset.user_labels)
        if unknown:
            raise LetterError(
                f'{path}: user "{min(unknown)}" is not in {dataset.name}; use the file made for it'
            )
        outside = [item for item, _ in searches.values() if not 0 <= item < dataset.n_items]
        if outside:
            raise LetterError(
                f"{path}: item {outside[0]} is not in {dataset.name} (ids 0-{dataset.n_items - 1})"
            )
        return cls({user: texts for user, texts in preferences.items() if texts}, searches)


def _texts(value: Any) -> list[str]:
    """One text or several, as a list."""
    texts = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{value!r:.40} is not text")
    return texts


class AlignmentTasks:
    """Draws examples from the training part.

    history: items read, the most recent ones.
    intentions: without them a search asks for an item's genres (the last words of its title, if it
        has none), and a preference names the most frequent genres of the history.
    targets: items that a list teaches, at most; None: all but its first.
    """

    def __init__(
        self,
        split: Split,
        vocabulary: Vocabulary,
        history: int,
        intentions: Intentions | None = None,
        targets: int | None = None,
    ):
        self.vocabulary, self.history, self.intentions = vocabulary, history, intentions
        self.targets = min(targets or history, history)
        self.titles, self.train, self._dataset = split.dataset.titles(), split.train, split.dataset
        self.users = np.flatnonzero(split.train.lengths >= 2)
        if not len(self.users):
            raise LetterError(f"{split.dataset.name}: no user has two items to learn from")
        self.n_items = split.n_items

    def draw(self, task: str, generator: np.random.Generator) -> Example:
        """One example of a task, at random; for "seqrec", a window of some user's list."""
        return getattr(self, f"_{task}")(generator)

    @property
    def n_lists(self) -> int:
        """How many lists `lists` returns."""
        return int((-(-(self.train.lengths[self.users] - 1) // self.targets)).sum())

    def lists(self, generator: np.random.Generator) -> list[Example]:
        """Every user's training list, cut at random places into lists, shuffled.

        A list has at most history + 1 items and teaches at most `targets` of them, so nearly every
        item of the training part is a response once. If a cut makes more lists than `n_lists`, some
        are left out at random.
        """
        windows = []
        more = self.history - self.targets  # items read before the last one before a response
        for user in self.users:
            items = self.train[user]
            starts = [0]
            if len(items) > self.targets + 1:
                first = int(generator.integers(self.targets)) + 1
                starts += range(first, len(items) - 1, self.targets)
            ends = [*(start + 1 for start in starts[1:]), len(items)]
            windows += [
                (items[max(0, a - more) : b], b - a - 1) for a, b in zip(starts, ends, strict=True)
            ]
        examples = []
        for i in generator.permutation(len(windows))[: self.n_lists]:
            items, targets = windows[i]
            wording = int(generator.integers(len(WORDINGS["seqrec"])))
            examples.append(self.one_list(items, wording, targets))
        return examples

    def one_list(
        self, items: Sequence[int], wording: int = 0, targets: int | None = None
    ) -> Example:
        """A list whose last `targets` items are responses; None: all but the first."""
        tokens = np.array(prompt_of(self.vocabulary, items, wording))
        read = len(prompt_of(self.vocabulary, items[: -targets if targets else 1], wording))
        return Example(tokens, np.arange(len(tokens)) >= read, TASKS.index("seqrec"))

    def _seqrec(self, generator: np.random.Generator) -> Example:
        items = self._someone(generator)
        end = int(generator.integers(2, len(items) + 1))
        wording = int(generator.integers(len(WORDINGS["seqrec"])))
        window = items[max(0, end - self.history - 1) : end]
        return self.one_list(window, wording, min(self.targets, len(window) - 1))

    def _item2index(self, generator: np.random.Generator) -> Example:
        item = int(generator.integers(self.n_items))
        response = identifiers_of(self.vocabulary, [item])
        return self._example("item2index", generator, response, title=self._title(item))

    def _index2item(self, generator: np.random.Generator) -> Example:
        item = int(generator.integers(self.n_items))
        response = self._ended(self._title(item))
        return self._example("index2item", generator, response, item=self._item(item))

    def _fusionseqrec(self, generator: np.random.Generator) -> Example:
        past, item = self._past(generator)
        choice = int(generator.integers(len(WORDINGS["fusionseqrec"])))
        in_words = "{titles}" in WORDINGS["fusionseqrec"][choice]
        if in_words:
            response = identifiers_of(self.vocabulary, [item])
        else:
            response = self._ended(self._title(item))
        titles = self._joined([self._title(item) for item in past])
        fields = {"history": self._history(past), "titles": titles}
        return self._example("fusionseqrec", generator, response, choice, **fields)

    def _itemsearch(self, generator: np.random.Generator) -> Example:
        if self._searches:
            user, item, queries = self._searches[int(generator.integers(len(self._searches)))]
            items, query = self.train[user], queries[int(generator.integers(len(queries)))]
            past = items[: np.flatnonzero(items == item)[0]]
        else:
            past, item = self._past(generator)
            query = ", ".join(self._traits[item])
        history, words = self._history(past[-self.history :]), self.vocabulary.words(query)
        response = identifiers_of(self.vocabulary, [item])
        return self._example("itemsearch", generator, response, history=history, query=words)

    def _preferenceobtain(self, generator: np.random.Generator) -> Example:
        if self.intentions and self.intentions.preferences:
            user, texts = self._preferences[int(generator.integers(len(self._preferences)))]
            past = self.train[self._user_of[user]][-self.history :]
            text = texts[int(generator.integers(len(texts)))]
        else:
            past, _ = self._past(generator)
            text = self._taste(past)
        response = self._ended(self.vocabulary.words(text))
        return self._example("preferenceobtain", generator, response, history=self._history(past))

    def _example(
        self,
        task: str,
        generator: np.random.Generator,
        response: list[int],
        choice: int | None = None,
        **fields: list[int],
    ) -> Example:
        """A wording with its fields filled, and the response after it.

        choice: number of the wording; None draws one.
        """
        choice = int(generator.integers(len(WORDINGS[task]))) if choice is None else choice
        prompt = [*self.vocabulary.begin]
        for piece in re.split(r"(\{\w+\})", WORDINGS[task][choice]):
            prompt += fields[piece[1:-1]] if piece.startswith("{") else self.vocabulary.words(piece)
        tokens = np.array(prompt + response)
        return Example(tokens, np.arange(len(tokens)) >= len(prompt), TASKS.index(task))

    def _someone(self, generator: np.random.Generator) -> np.ndarray:
        return self.train[self.users[int(generator.integers(len(self.users)))]]

    def _past(self, generator: np.random.Generator) -> tuple[np.ndarray, int]:
        """A history and the item that came after it."""
        items = self._someone(generator)
        end = int(generator.integers(1, len(items)))
        return items[max(0, end - self.history) : end], int(items[end])

    def _ended(self, words: list[int]) -> list[int]:
        return [*words, self.vocabulary.end]

    def _title(self, item: int) -> list[int]:
        return self.vocabulary.words(self.titles[item])[:TITLE_TOKENS]

    def _item(self, item: int) -> list[int]:
        return self.vocabulary.item_tokens[item].tolist()

    def _history(self, items: Sequence[int]) -> list[int]:
        return self._joined([self._item(item) for item in items])

    def _joined(self, parts: list[list[int]]) -> list[int]:
        comma = self.vocabulary.words(", ")
        return [t for i, part in enumerate(parts) for t in (*(comma if i else ()), *part)]

    @cached_property
    def _user_of(self) -> dict[str, int]:
        return {label: user for user, label in enumerate(self._dataset.user_labels)}

    @cached_property
    def _preferences(self) -> list[tuple[str, list[str]]]:
        """(user, texts) of the intentions."""
        return list(self.intentions.preferences.items())

    @cached_property
    def _searches(self) -> list[tuple[int, int, list[str]]]:
        """(user, item, queries) of the intentions, for items of the training part."""
        found = self.intentions.searches.items() if self.intentions else ()
        searches = [(self._user_of[label], item, queries) for label, (item, queries) in found]
        return [search for search in searches if search[2] and search[1] in self.train[search[0]]]

    @cached_property
    def _traits(self) -> list[list[str]]:
        """What a search for each item might say: its genres, else its title's last words."""
        items = self._dataset.items
        of_items = items["genres"] if "genres" in items else [""] * self.n_items
        return [
            genres.lower().split("|") if genres else title.split()[-3:]
            for genres, title in zip(of_items, self.titles, strict=True)
        ]

    def _taste(self, items: Sequence[int]) -> str:
        """The three most frequent traits of a history; among equals, the earliest."""
        counts = Counter(trait for item in items for trait in self._traits[item])
        return ", ".join(trait for trait, _ in counts.most_common(3))


def response_groups(
    examples: Sequence[Example], end: int
) -> tuple[list[tuple[Tensor, Tensor, Tensor]], Tensor, Tensor]:
    """Examples as a causal model takes them, padded together with others of like length.

    end: the token that fills up the shorter ones of a group, by less than half.
    Returns groups (tokens, real, response), each [batch, T], the longest first; the response tokens
    [n] in the order of `AdaptedModel.forward`; and the task of each [n].
    """
    groups, targets, tasks = [], [], []
    waiting = sorted(examples, key=lambda example: -len(example.tokens))
    while waiting:
        width = len(waiting[0].tokens)
        group = [example for example in waiting if 2 * len(example.tokens) > width]
        waiting = waiting[len(group) :]
        tokens = np.full((len(group), width), end)
        real, response = np.zeros((2, len(group), width), dtype=bool)
        for row, example in enumerate(group):
            length = len(example.tokens)
            tokens[row, :length], real[row, :length] = example.tokens, True
            response[row, :length] = example.response
        groups.append(tuple(torch.from_numpy(part) for part in (tokens, real, response)))
        targets.append(tokens[response])
        tasks.append(np.repeat([example.task for example in group], response.sum(axis=1)))
    targets, tasks = (torch.from_numpy(np.concatenate(parts)) for parts in (targets, tasks))
    return groups, targets, tasks
