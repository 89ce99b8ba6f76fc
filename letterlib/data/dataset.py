"""The values that carry interactions: `Dataset`, `Split` and `Cases`.

All of them are flat integer arrays with offsets: a user's history is a slice, and a million users
are two arrays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import pandas as pd

from letterlib.data.flat_arrays import Sequences, positions_of, read_only
from letterlib.errors import LetterError, Unavailable
from letterlib.store import digest

NO_ITEM = -1
UNKNOWN_USER = -1
SHORTEST = 3
"""Items of a user: at least one each for training, validation and test."""

Part = Literal["train", "valid", "test"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Time-ordered item ids per user, and what is known about each item.

    sequences: one row per user, item ids 0..n_items-1, oldest first.
    items: row i is item i, with columns `title` (for people) and `text` (for the encoder), and
        where known `genres` (labels separated by "|"). Empty of columns when no text was released.
        Not to be changed
        in place: `dataclasses.replace(dataset, items=...)` makes a data set of its own.
    source: the release and the rules it was prepared with, in words, for reports.
    user_labels, item_labels: the ids that users and items had in the source, in row order; items
    may have none.
    """

    name: str
    sequences: Sequences
    items: pd.DataFrame
    source: str
    user_labels: Sequence[str] = field(repr=False)
    item_labels: Sequence[str] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        values = self.sequences.values
        if len(values) and not 0 <= values.min() <= values.max() < self.n_items:
            raise LetterError(
                f"{self.name}: items {values.min()}-{values.max()} are in its sequences, but it has {self.n_items:,} "
                "rows of items; leave out their interactions as well, and number the rest anew (build_dataset)"
            )
        if not self.items.index.equals(pd.RangeIndex(self.n_items)):
            raise LetterError(
                f"{self.name}: row i of items is item i, and their index says otherwise; put the rows in the order of "
                "the ids, then items.reset_index(drop=True)"
            )
        for what, labels, n in (
            ("user", self.user_labels, self.n_users),
            ("item", self.item_labels, self.n_items),
        ):
            if len(labels) != n and (len(labels) or what == "user"):
                raise LetterError(
                    f"{self.name}: {len(labels):,} {what}_labels for {n:,} {what}s; give one for each"
                )

    @property
    def n_users(self) -> int:
        return len(self.sequences)

    @property
    def n_items(self) -> int:
        return len(self.items)

    @property
    def n_interactions(self) -> int:
        return len(self.sequences.values)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that a model could learn from; the cache is keyed by it."""
        table = self.items.to_csv(
            index=False, lineterminator="\n"
        )  # elsewhere the system's own, and another hash
        return digest(self.name, self.sequences.values, self.sequences.offsets, table)

    def texts(self) -> list[str]:
        """What the text encoder reads, one string per item id."""
        if "text" not in self.items:
            raise Unavailable(
                f"{self.name}: this release has no item text, so nothing can be embedded; put "
                "<Name>.item.json beside the interactions, or use the released identifiers"
            )
        return self.items["text"].tolist()

    def titles(self) -> list[str]:
        """What people read: the title where there is one, else "item 17"."""
        titles = self.items["title"] if "title" in self.items else [""] * self.n_items
        return [title or f"item {i}" for i, title in enumerate(titles)]

    def split(self, held_out: int = 1) -> "Split":
        """Hold out each user's last `held_out` items for test and the `held_out` before them for
        validation.

        1 is leave-one-out (research data sets), 5 is leave-five-out (few users with long
        histories).
        """
        return Split(self, held_out)


@dataclass(frozen=True, eq=False)
class Split:
    """A data set cut by time, per user: training part, validation targets, test targets.

    A user with fewer than 2 * held_out + 1 items cannot give both a validation and a test case and
    still have a history. Fewer than three are an error in the data. For leave-five-out all items of
    a user with three to ten are training, and `users_without_cases` counts them.
    """

    dataset: Dataset
    held_out: int = 1

    def __post_init__(self) -> None:
        if self.held_out < 1:
            raise LetterError(f"held_out must be at least 1, not {self.held_out}")
        lengths = self.dataset.sequences.lengths
        if len(short := np.flatnonzero(lengths < SHORTEST)):
            user, n = self.dataset.user_labels[short[0]], lengths[short[0]]
            raise LetterError(
                f'{self.dataset.name}, user "{user}": {n} item(s), but a user needs at least {SHORTEST} '
                f"(training, validation, test); {len(short):,} such user(s), remove them or apply a 3-core"
            )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that a model could learn from, and of what is held out."""
        return digest(self.dataset.fingerprint, self.held_out)

    @cached_property
    def _has_cases(self) -> np.ndarray:
        return self.dataset.sequences.lengths >= 2 * self.held_out + 1

    @property
    def users_without_cases(self) -> int:
        return int((~self._has_cases).sum())

    @property
    def n_items(self) -> int:
        return self.dataset.n_items

    @property
    def n_users(self) -> int:
        return self.dataset.n_users

    @cached_property
    def train(self) -> Sequences:
        """The training part of every user, in time order. The only thing a model may learn from."""
        lengths = self.dataset.sequences.lengths - np.where(self._has_cases, 2 * self.held_out, 0)
        starts = self.dataset.sequences.offsets[:-1]
        kept = positions_of(starts, starts + lengths)
        return Sequences(
            self.dataset.sequences.values[kept], np.concatenate([[0], np.cumsum(lengths)])
        )

    @cached_property
    def train_counts(self) -> np.ndarray:
        """How often each item was interacted with in the training part: int64 [n_items], to be read
        only.
        """
        return read_only(np.bincount(self.train.values, minlength=self.n_items))

    def cases(self, part: Part) -> "Cases":
        """Every case of a part, with targets. For "train": each item of that part but the first,
        and all before it.
        """
        if part not in get_args(Part):
            raise LetterError(f'no part "{part}"; there are {", ".join(get_args(Part))}')
        starts, ends = self.dataset.sequences.offsets[:-1], self.dataset.sequences.offsets[1:]
        if part == "train":
            users, first, last = np.arange(self.n_users), starts + 1, starts + self.train.lengths
        else:
            users = np.flatnonzero(self._has_cases)
            first = ends[users] - (self.held_out if part == "test" else 2 * self.held_out)
            last = first + self.held_out
        positions = positions_of(first, last)
        users = np.repeat(users, last - first)
        values = self.dataset.sequences.values
        return Cases(users, values, starts[users], positions, values[positions])


@dataclass(frozen=True, eq=False)
class Cases:
    """Questions to a recommender: a user (or UNKNOWN_USER) with a history; the answer is the
    target.

    History i is `values[starts[i]:ends[i]]`, oldest first, whole; each system takes as much of its
    end as it reads. Recommenders are given `without_targets()`, which holds histories alone.
    """

    users: np.ndarray  # int64 [n]
    values: np.ndarray  # int64, shared by all cases
    starts: np.ndarray  # int64 [n]
    ends: np.ndarray  # int64 [n]
    targets: np.ndarray | None = None  # int64 [n]

    @classmethod
    def from_histories(
        cls, histories: Iterable[Sequence[int]], users: Sequence[int] | None = None
    ) -> "Cases":
        """Cases from plain lists, for instance one learner's favourite films; users default to
        unknown.
        """
        flat = Sequences.from_lists(histories)
        who = (
            np.full(len(flat), UNKNOWN_USER)
            if users is None
            else Sequences.from_lists([users]).values.copy()
        )
        if len(who) != len(flat):
            raise LetterError(
                f"histories: {len(flat)}, users: {len(who)}; give one user per history, or none at all"
            )
        return cls(who, flat.values, flat.offsets[:-1], flat.offsets[1:])

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, index: slice | np.ndarray) -> "Cases":
        targets = None if self.targets is None else self.targets[index]
        return Cases(self.users[index], self.values, self.starts[index], self.ends[index], targets)

    @property
    def lengths(self) -> np.ndarray:
        return self.ends - self.starts

    def history(self, index: int) -> np.ndarray:
        """The whole history of one case, oldest first."""
        return self.values[self.starts[index] : self.ends[index]]

    def recent(self, length: int) -> np.ndarray:
        """The last `length` items of every history, right-aligned: int64 [n, length], NO_ITEM in
        front.
        """
        positions = self.ends[:, None] - np.arange(length, 0, -1)
        inside = positions >= self.starts[:, None]
        if not len(self.values):
            return np.full(positions.shape, NO_ITEM)
        return np.where(inside, self.values[np.where(inside, positions, 0)], NO_ITEM)

    def flat_histories(self) -> tuple[np.ndarray, np.ndarray]:
        """All histories as pairs (case index, item id), for masking whole histories at once."""
        return np.repeat(np.arange(len(self)), self.lengths), self.values[
            positions_of(self.starts, self.ends)
        ]

    def without_targets(self) -> "Cases":
        """A copy that holds the histories and nothing later, so that no recommender can look ahead."""
        _, values = self.flat_histories()
        ends = np.cumsum(self.lengths)
        return Cases(self.users, values, ends - self.lengths, ends)

    def sample(self, n: int, seed: int) -> "Cases":
        """A fixed random sample of `n` cases, in their order; all of them when there are fewer."""
        return self if n >= len(self) else self[sampled_rows(len(self), n, seed)]


def sampled_rows(total: int, n: int, seed: int) -> np.ndarray:
    """The rows that `Cases.sample` takes of `total` cases, ascending."""
    return (
        np.sort(np.random.default_rng(seed).choice(total, n, replace=False))
        if n < total
        else np.arange(total)
    )
