"""The values that carry interactions, `Dataset`, `Split` and `Cases`, and `build_dataset`, which
makes a data set from a table.

All are flat integer arrays with offsets: a user's history is a slice, and a million users are two
arrays.
"""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

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

    sequences: one row per user, item ids 0..n_items-1, oldest first. Within a moment the order is
        drawn at random, so it says nothing (`build_dataset`).
    items: row i is item i, with columns `title` (for people) and `text` (for the encoder), and
        where known `genres` (labels separated by "|"); no columns when no text was released.
        Do not change it in place; use `dataclasses.replace(dataset, items=...)`.
    source: the release and the rules of preparation, for reports.
    user_labels: the users' ids in the source, in row order.
    item_labels: the items' ids in the source, in row order; may be empty.
    held: int64 [n_users, 2], of each user's last items how many are validation, and how many test
        after them; None: `split` holds out the same number of every user's.
    """

    name: str
    sequences: Sequences
    items: pd.DataFrame
    source: str
    user_labels: Sequence[str] = field(repr=False)
    item_labels: Sequence[str] = field(default=(), repr=False)
    held: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        values = self.sequences.values
        if len(values) and not 0 <= values.min() <= values.max() < self.n_items:
            raise LetterError(
                f"{self.name}: the sequences have items {values.min()}-{values.max()}, but there "
                f"are {self.n_items:,} rows of items; leave out interactions of other items, and "
                "number the rest again (build_dataset)"
            )
        if not self.items.index.equals(pd.RangeIndex(self.n_items)):
            raise LetterError(
                f"{self.name}: row i of items must be item i, but their index differs; put the "
                "rows in the order of the ids, then items.reset_index(drop=True)"
            )
        if len(self.user_labels) != self.n_users:
            raise LetterError(
                f"{self.name}: {len(self.user_labels):,} user_labels for {self.n_users:,} users"
            )
        if len(self.item_labels) not in (0, self.n_items):
            raise LetterError(
                f"{self.name}: {len(self.item_labels):,} item_labels for {self.n_items:,} items"
            )
        if self.held is not None:
            self._check_held(self.held)

    def _check_held(self, held: np.ndarray) -> None:
        if held.shape != (self.n_users, 2) or (held < 0).any():
            raise LetterError(
                f"{self.name}: held has shape {list(held.shape)}; give two numbers of items, "
                f"validation and test, for each of {self.n_users:,} users"
            )
        if len(all_held := np.flatnonzero(held.sum(axis=1) >= self.sequences.lengths)):
            raise LetterError(
                f'{self.name}, user "{self.user_labels[all_held[0]]}": no item is left for '
                f"training ({len(all_held):,} such users); leave them out"
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
    def repeats(self) -> np.ndarray:
        """Whether the user had each of the items before: bool [n_interactions]."""
        pairs = self.sequences.owners * self.n_items + self.sequences.values
        first = np.zeros(len(pairs), dtype=bool)
        first[np.unique(pairs, return_index=True)[1]] = True
        return ~first

    def first_visits(self) -> "Dataset":
        """The data set with each item once per user, at its first place (`repeats: drop`).

        The catalogue and its numbers stay the same. Users with fewer than three items left are
        left out; `source` says how many.
        """
        if self.held is not None:
            raise LetterError(
                f"{self.name}: was imported with a split of its own; leave out repeats then, with "
                "letterlib data import --repeats drop"
            )
        kept = ~self.repeats
        lengths = np.bincount(self.sequences.owners[kept], minlength=self.n_users)
        long = lengths >= SHORTEST
        kept &= long[self.sequences.owners]
        offsets = np.concatenate([[0], np.cumsum(lengths[long])])
        tied = None if self.sequences.tied is None else self.sequences.tied[kept]
        return replace(
            self,
            sequences=Sequences(self.sequences.values[kept], offsets, tied),
            source=f"{self.source}; first visits only: {self.repeats.sum():,} repeats left out, "
            f"and {(~long).sum():,} users with fewer than {SHORTEST} items after that",
            user_labels=[self.user_labels[user] for user in np.flatnonzero(long)],
        )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that a model could learn from; the cache is keyed by it."""
        table = self.items.to_csv(index=False, lineterminator="\n")  # the same on every system
        held = [] if self.held is None else [self.held]
        return digest(self.name, self.sequences.values, self.sequences.offsets, table, *held)

    def texts(self) -> list[str]:
        """What the text encoder reads, one string per item id."""
        if "text" not in self.items:
            raise Unavailable(
                f"{self.name}: this release has no item text, so nothing can be embedded; put "
                "<Name>.item.json next to the interactions, or use the released identifiers"
            )
        return self.items["text"].tolist()

    def titles(self) -> list[str]:
        """What people read: the title where there is one, else "item 17"."""
        titles = self.items["title"] if "title" in self.items else [""] * self.n_items
        return [title or f"item {i}" for i, title in enumerate(titles)]

    def find_items(self, titles: Iterable[str]) -> list[int]:
        """The ids of items by title. Capital letters do not matter, and the beginning of a title is
        enough where only one item's title begins so.

        LetterError for a title that fits no item, with those most like it, or several items.
        """
        ids, found = defaultdict(list), []
        for item, title in enumerate(names := self.titles()):
            ids[title.casefold()].append(item)
        for title in [titles] if isinstance(titles, str) else titles:
            wanted = title.strip().casefold()
            fitting = ids.get(wanted) or [
                item for name in ids if wanted and name.startswith(wanted) for item in ids[name]
            ]
            if len(fitting) > 1:
                shown = "; ".join(f"{names[item]} (item {item})" for item in fitting[:5])
                raise LetterError(
                    f'{self.name}: {len(fitting)} items fit "{title}", such as {shown}; '
                    "write the whole title of one"
                )
            if not fitting:
                close = difflib.get_close_matches(wanted, ids, n=5, cutoff=0.5)
                shown = "; ".join(names[ids[name][0]] for name in close)
                hint = f"did you mean {shown}?" if shown else "titles() lists them all"
                raise LetterError(f'{self.name}: no item is called "{title}"; {hint}')
            found += fitting
        return found

    def split(self, held_out: int = 1) -> "Split":
        """Hold out each user's last `held_out` items for test and the `held_out` before them for
        validation.

        1 is leave-one-out (research data sets), 5 is leave-five-out (few users with long
        histories). A data set with a split of its own (`held`) keeps it.
        """
        return Split(self, held_out)


@dataclass(frozen=True, eq=False)
class Split:
    """A data set cut by time, per user: training part, validation targets, test targets.

    A user with fewer than 2 * held_out + 1 items cannot give both validation and test cases and
    still have a history: all of that user's items are training, and `users_without_cases` counts
    such users. Fewer than three items are an error in the data.
    """

    dataset: Dataset
    held_out: int = 1

    def __post_init__(self) -> None:
        if self.held_out < 1:
            raise LetterError(f"held_out must be at least 1, not {self.held_out}")
        lengths = self.dataset.sequences.lengths
        if self.dataset.held is not None:
            return
        if len(short := np.flatnonzero(lengths < SHORTEST)):
            user, n = self.dataset.user_labels[short[0]], lengths[short[0]]
            raise LetterError(
                f'{self.dataset.name}, user "{user}": {n} item(s), but a user needs at least '
                f"{SHORTEST} (training, validation, test); {len(short):,} such user(s), remove "
                "them or apply a 3-core"
            )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of everything that a model could learn from, and of what is held out."""
        return digest(self.dataset.fingerprint, self.held_out)

    @cached_property
    def _held(self) -> np.ndarray:
        """Items of each user in validation and in test: int64 [n_users, 2]."""
        if self.dataset.held is not None:
            return self.dataset.held
        has_cases = self.dataset.sequences.lengths >= 2 * self.held_out + 1
        return np.where(has_cases[:, None], [self.held_out, self.held_out], [0, 0])

    @property
    def users_without_cases(self) -> int:
        """Users without a test case."""
        return int((self._held[:, 1] == 0).sum())

    @property
    def n_items(self) -> int:
        return self.dataset.n_items

    @property
    def n_users(self) -> int:
        return self.dataset.n_users

    def titles(self) -> list[str]:
        """The items' titles; see `Dataset.titles`."""
        return self.dataset.titles()

    @cached_property
    def train(self) -> Sequences:
        """The training part of every user, in time order. The only thing a model may learn from."""
        lengths = self.dataset.sequences.lengths - self._held.sum(axis=1)
        starts = self.dataset.sequences.offsets[:-1]
        kept = positions_of(starts, starts + lengths)
        return Sequences(
            self.dataset.sequences.values[kept], np.concatenate([[0], np.cumsum(lengths)])
        )

    @cached_property
    def train_counts(self) -> np.ndarray:
        """Each item's interactions in the training part: int64 [n_items], read-only."""
        return read_only(np.bincount(self.train.values, minlength=self.n_items))

    def cases(self, part: Part) -> "Cases":
        """Every case of a part, with targets. For "train": each item but a user's first."""
        if part not in get_args(Part):
            raise LetterError(f'no part "{part}"; there are {", ".join(get_args(Part))}')
        starts, ends = self.dataset.sequences.offsets[:-1], self.dataset.sequences.offsets[1:]
        if part == "train":
            users, first, last = np.arange(self.n_users), starts + 1, starts + self.train.lengths
        else:
            column = ("valid", "test").index(part)
            users = np.flatnonzero(self._held[:, column])
            first = ends[users] - self._held[users, column:].sum(axis=1)
            last = first + self._held[users, column]
        positions = positions_of(first, last)
        users = np.repeat(users, last - first)
        values = self.dataset.sequences.values
        return Cases(users, values, starts[users], positions, values[positions])


@dataclass(frozen=True, eq=False)
class Cases:
    """Questions to a recommender: a user with a history; the answer is the target.

    History i is `values[starts[i]:ends[i]]`, oldest first, whole; each system reads as much of its
    end as it takes. Recommenders are given `without_targets()`, which holds histories alone.

    users: int64 [n], UNKNOWN_USER where there is none.
    values: int64 [total length], shared by all cases.
    starts, ends: int64 [n].
    targets: int64 [n], or None.
    """

    users: np.ndarray
    values: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    targets: np.ndarray | None = None

    @classmethod
    def from_histories(
        cls, histories: Iterable[Sequence[int]], users: Sequence[int] | None = None
    ) -> "Cases":
        """Cases from lists of item ids.

        histories: one list per case, oldest first.
        users: one user per history; unknown users where not given.
        """
        flat = Sequences.from_lists(histories)
        if users is None:
            users = np.full(len(flat), UNKNOWN_USER)
        else:
            users = Sequences.from_lists([users]).values.copy()
        if len(users) != len(flat):
            raise LetterError(
                f"histories: {len(flat)}, users: {len(users)}; give one user per history, or none"
            )
        return cls(users, flat.values, flat.offsets[:-1], flat.offsets[1:])

    def __len__(self) -> int:
        return len(self.users)

    def __getitem__(self, index: slice | np.ndarray) -> "Cases":
        targets = None if self.targets is None else self.targets[index]
        return Cases(self.users[index], self.values, self.starts[index], self.ends[index], targets)

    @property
    def lengths(self) -> np.ndarray:
        return self.ends - self.starts

    @property
    def repeated(self) -> np.ndarray:
        """Whether each target is in its own history: bool [n]."""
        rows, items = self.flat_histories()
        found = np.zeros(len(self), dtype=bool)
        found[rows[items == self.targets[rows]]] = True
        return found

    def history(self, index: int) -> np.ndarray:
        """The whole history of one case, oldest first."""
        return self.values[self.starts[index] : self.ends[index]]

    def recent(self, length: int) -> np.ndarray:
        """The last `length` items of each history, right-aligned: int64 [n, length], NO_ITEM in
        front.
        """
        positions = self.ends[:, None] - np.arange(length, 0, -1)
        inside = positions >= self.starts[:, None]
        if not len(self.values):
            return np.full(positions.shape, NO_ITEM)
        return np.where(inside, self.values[np.where(inside, positions, 0)], NO_ITEM)

    def flat_histories(self) -> tuple[np.ndarray, np.ndarray]:
        """All histories as pairs (case index, item id), for masking whole histories at once."""
        owners = np.repeat(np.arange(len(self)), self.lengths)
        return owners, self.values[positions_of(self.starts, self.ends)]

    def without_targets(self) -> "Cases":
        """A copy with the histories and nothing later, so that no recommender can look ahead."""
        _, values = self.flat_histories()
        ends = np.cumsum(self.lengths)
        return Cases(self.users, values, ends - self.lengths, ends)

    def sample(self, n: int, seed: int) -> "Cases":
        """A fixed random sample of `n` cases, in their order; all of them when there are fewer."""
        return self if n >= len(self) else self[sampled_rows(len(self), n, seed)]


def sampled_rows(total: int, n: int, seed: int) -> np.ndarray:
    """The rows that `Cases.sample` takes of `total` cases, ascending."""
    if n >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, n, replace=False))


def k_core(interactions: pd.DataFrame, k: int) -> pd.DataFrame:
    """The largest part of a table in which every user and every item has `k` rows; may be empty.

    Users and items with fewer rows are dropped until there are none left to drop.

    interactions: columns `user` and `item` (others are kept), one row per interaction.
    """
    interactions = _checked(interactions, ("user", "item"))
    users, items = (pd.factorize(interactions[column])[0] for column in ("user", "item"))
    kept = np.arange(len(interactions))
    while len(kept):
        by_user, by_item = np.bincount(users[kept]), np.bincount(items[kept])
        enough = (by_user[users[kept]] >= k) & (by_item[items[kept]] >= k)
        if enough.all():
            break
        kept = kept[enough]
    return interactions.iloc[kept]


def build_dataset(
    name: str, interactions: pd.DataFrame, items: pd.DataFrame, source: str
) -> Dataset:
    """Sort, number and pack a table of interactions.

    Users and items are numbered in the order of their ids; a user's interactions are sorted by
    time. Those of one moment are shuffled, with the same seed for every data set: sorted by item,
    they would have an order that a model learns and that no user ever had.

    interactions: columns `user`, `item` and `time` (numbers or dates); rows in any order.
    items: indexed by item id, with the columns of `Dataset.items`; rows of other items are left
        out.
    """
    if not len(interactions):
        raise LetterError(f"{name}: no interactions are left; a smaller k-core leaves more")
    interactions = _checked(interactions, ("user", "item", "time"))
    time = interactions["time"]
    if not (is_numeric_dtype(time) or is_datetime64_any_dtype(time)):
        raise LetterError(
            f"{name}: column time is {time.dtype}, such as {time.iloc[0]!r:.40}, and would not be "
            "sorted in the order of time; make numbers of it, or dates (pandas.to_datetime)"
        )
    if len(twice := items.index[items.index.duplicated()]):
        raise LetterError(f'{name}: item "{twice[0]}" has two rows of items; keep one')
    ordered = in_order(interactions)
    ids = np.unique(ordered["item"])
    known = pd.Index(ids).isin(items.index)
    if not known.all():
        raise LetterError(
            f'{name}: item "{ids[~known][0]}" has interactions and no row of items '
            f"({(~known).sum():,} such items); add their rows, or leave out their interactions"
        )
    users, counts = np.unique(ordered["user"], return_counts=True)
    values = np.searchsorted(ids, ordered["item"]).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    table = items.loc[ids].reset_index(drop=True)
    for column in table.columns.intersection(["title", "text", "genres"]):
        for item, value in zip(ids, table[column], strict=True):
            if not isinstance(value, str):
                raise LetterError(
                    f'{name}, item "{item}": column {column} must be text, found {value!r:.40}; '
                    'write "" where there is none'
                )
    labels = list(map(str, users)), list(map(str, ids))
    tied = ordered.duplicated(["user", "time"]).to_numpy()
    return Dataset(name, Sequences(values, offsets, tied), table, source, *labels)


PARTS = ("train", "valid", "test")


def with_parts(interactions: pd.DataFrame, parts: pd.Series) -> tuple[pd.DataFrame, np.ndarray]:
    """The interactions with times that keep the parts apart, and `Dataset.held` of them.

    interactions: columns `user`, `item` and `time`. parts: one of PARTS for each row. Within a user
    train comes before valid and valid before test; LetterError for a row out of this order. Users
    without a training row are left out: nobody can know their history.
    """
    rank = parts.map(PARTS.index)
    trained = interactions["user"].isin(interactions.loc[rank == 0, "user"])
    rows, rank = interactions[trained], rank[trained]
    order = rows.assign(_part=rank).sort_values(["user", "time", "_part"], kind="stable")
    back = (order["_part"].diff() < 0) & (order["user"] == order["user"].shift())
    if back.any():
        user = order.loc[back, "user"].iloc[0]
        raise LetterError(
            f'user "{user}": a row of {PARTS[order.loc[back, "_part"].iloc[0]]} is later than one '
            "of a part after it; train, valid and test must follow each other in time"
        )
    steps = rows.assign(_part=rank).groupby(["time", "_part"]).ngroup()
    counts = pd.crosstab(rows["user"], rank).reindex(columns=range(3), fill_value=0).sort_index()
    return rows.assign(time=steps), counts.to_numpy(dtype=np.int64)[:, 1:]


def in_order(interactions: pd.DataFrame) -> pd.DataFrame:
    """The rows by user and time; those of a user at one time in an order drawn with a fixed seed.

    interactions: columns `user`, `item` and `time`; the order of the rows does not matter.
    """
    rows = interactions.sort_values(["user", "time", "item"], kind="stable")
    rows = rows.assign(_drawn=np.random.default_rng(0).random(len(rows)))
    return rows.sort_values(["user", "time", "_drawn"], kind="stable").drop(columns="_drawn")


def _checked(interactions: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    """The interactions, none without an id. Categories become plain ids: they would be sorted in
    an order of their own.
    """
    for column in columns:
        if column not in interactions:
            raise LetterError(
                f"the interactions have no column {column}, but {', '.join(map(str, interactions))}"
            )
        values = interactions[column]
        if missing := int((values.isna() | (values == "")).sum()):
            raise LetterError(
                f"{missing} of {len(values)} interactions have no {column}; leave them out"
            )
        if isinstance(values.dtype, pd.CategoricalDtype):
            interactions = interactions.astype({column: values.dtype.categories.dtype})
    return interactions


def text_of(title: str, description: str) -> str:
    """What the encoder reads of an item, for the column `text`. Either may be empty."""
    return ". ".join(filter(None, [title, description]))


def genres_of(labels: Iterable[str]) -> str:
    """Labels as the column `genres` has them: separated by "|", without empty ones."""
    return "|".join(filter(None, (label.strip() for label in labels)))


def whole_letters(text: str) -> str:
    """The text with "?" for half of an emoji, which JSON can hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()
