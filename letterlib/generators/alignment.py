"""What LC-Rec is taught: six tasks that tie identifiers to words and to each other, as prompts and
responses.

Zheng et al., ICDE 2024, section III-C; the wordings are ours. A response is learnt, a prompt is
only read. In a list the last items are responses, each to what stands before it in the list: a
causal model sees no more than that, so one pass teaches all of them, with the losses that as many
prompts would have. But a list is no longer than a history and its next item, so what stands before
them is shorter. Where all but the first are responses it is half a history on average; with one
response, as in LC-Rec, it is a whole one where the user has one.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from letterlib.data.dataset import Split
from letterlib.errors import LetterError
from letterlib.generators.intentions import Intentions
from letterlib.generators.language_model import Vocabulary

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
"""Prompts of the six tasks; the history of "seqrec" follows its wording. A prompt says what it
wants in words alone.
"""

TASKS = tuple(WORDINGS)

TITLE_TOKENS = 64
"""Of a longer title only the first ones are read and written: twenty fit the 2,048 that a LLaMA of
2023 reads.
"""


@dataclass(frozen=True)
class Example:
    """tokens: int64 [T]. response: bool [T], True where a token is to be learnt.

    task: its number in TASKS; 0, which is "seqrec", for who knows no other.
    """

    tokens: np.ndarray
    response: np.ndarray
    task: int = 0


def identifiers_of(vocabulary: Vocabulary, items: Sequence[int]) -> list[int]:
    """Identifiers one after another, each with its end token, as they are generated."""
    return [t for item in items for t in (*vocabulary.item_tokens[item].tolist(), vocabulary.end)]


def prompt_of(vocabulary: Vocabulary, items: Sequence[int], wording: int = 0) -> list[int]:
    """What stands before the next item: a wording of "seqrec", and the identifiers of the history."""
    return [
        *vocabulary.begin,
        *vocabulary.words(WORDINGS["seqrec"][wording]),
        *identifiers_of(vocabulary, items),
    ]


class AlignmentTasks:
    """Draws examples from the training part.

    history: items read, the most recent ones. targets: items that a list teaches, at most; all but
    its first when not said.

    Without `intentions`, a search asks for an item's genres (or, where it has none, for the last
    words of its title), and a preference names those that are most frequent in the history: poorer
    than what people say.
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
        """Every user's training list, cut at random places into lists of at most history + 1 items,
        shuffled.

        Each teaches at most `targets` items and reads those before them, so nearly every item of
        the training part is a response once; a cut that makes one list more than needed leaves one
        out, at random.
        """
        windows, more = (
            [],
            self.history - self.targets,
        )  # items that are read beside the one before the first response
        for user in self.users:
            items = self.train[user]
            starts = [0]
            if len(items) > self.targets + 1:
                starts += range(
                    int(generator.integers(self.targets)) + 1, len(items) - 1, self.targets
                )
            ends = [*(start + 1 for start in starts[1:]), len(items)]
            windows += [
                (items[max(0, a - more) : b], b - a - 1) for a, b in zip(starts, ends, strict=True)
            ]
        examples = []
        for i in generator.permutation(len(windows))[: self.n_lists]:
            items, targets = windows[i]
            examples.append(
                self.one_list(items, int(generator.integers(len(WORDINGS["seqrec"]))), targets)
            )
        return examples

    def one_list(
        self, items: Sequence[int], wording: int = 0, targets: int | None = None
    ) -> Example:
        """A list of which the last `targets` items are responses; all but the first when not said."""
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
        return self._example(
            "index2item", generator, self._said(self._title(item)), item=self._item(item)
        )

    def _fusionseqrec(self, generator: np.random.Generator) -> Example:
        past, item = self._past(generator)
        choice = int(generator.integers(len(WORDINGS["fusionseqrec"])))
        in_words = "{titles}" in WORDINGS["fusionseqrec"][choice]
        response = (
            identifiers_of(self.vocabulary, [item]) if in_words else self._said(self._title(item))
        )
        fields = {
            "history": self._history(past),
            "titles": self._joined([self._title(one) for one in past]),
        }
        return self._example("fusionseqrec", generator, response, choice, **fields)

    def _itemsearch(self, generator: np.random.Generator) -> Example:
        if self._searches:
            user, item, queries = self._searches[int(generator.integers(len(self._searches)))]
            items, query = self.train[user], queries[int(generator.integers(len(queries)))]
            past = items[: np.flatnonzero(items == item)[0]]
        else:
            past, item = self._past(generator)
            query = ", ".join(self._traits[item])
        fields = {
            "history": self._history(past[-self.history :]),
            "query": self.vocabulary.words(query),
        }
        return self._example(
            "itemsearch", generator, identifiers_of(self.vocabulary, [item]), **fields
        )

    def _preferenceobtain(self, generator: np.random.Generator) -> Example:
        if self.intentions and self.intentions.preferences:
            user = self._speakers[int(generator.integers(len(self._speakers)))]
            past, texts = (
                self.train[self._user_of[user]][-self.history :],
                self.intentions.preferences[user],
            )
            text = texts[int(generator.integers(len(texts)))]
        else:
            past, _ = self._past(generator)
            text = self._taste(past)
        said = self._said(self.vocabulary.words(text))
        return self._example("preferenceobtain", generator, said, history=self._history(past))

    def _example(
        self,
        task: str,
        generator: np.random.Generator,
        response: list[int],
        choice: int | None = None,
        **fields: list[int],
    ) -> Example:
        """Fill the fields of a wording, of one drawn at random where none is chosen, and put the
        response after it.
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

    def _said(self, words: list[int]) -> list[int]:
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
    def _speakers(self) -> list[str]:
        """The users who say what they like."""
        return list(self.intentions.preferences)

    @cached_property
    def _searches(self) -> list[tuple[int, int, list[str]]]:
        """(user, item, queries) of the intentions; those for items outside the training part stay
        out.
        """
        found = self.intentions.searches.items() if self.intentions else ()
        searches = [(self._user_of[label], item, queries) for label, (item, queries) in found]
        return [one for one in searches if one[2] and one[1] in self.train[one[0]]]

    @cached_property
    def _traits(self) -> list[list[str]]:
        """How somebody might describe each item without its title: its genres, or its title's last
        words.
        """
        items = self._dataset.items
        of_items = items["genres"] if "genres" in items else [""] * self.n_items
        return [
            genres.lower().split("|") if genres else title.split()[-3:]
            for genres, title in zip(of_items, self.titles, strict=True)
        ]

    def _taste(self, items: Sequence[int]) -> str:
        """The three most frequent traits of a history; among equals, those met first."""
        counts = Counter(trait for item in items for trait in self._traits[item])
        return ", ".join(trait for trait, _ in counts.most_common(3))
