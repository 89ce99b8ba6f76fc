"""`Identifiers`: the code sequence of every item, in the format that LC-Rec and LETTER release."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from letterlib.data.flat_arrays import places_within, read_only
from letterlib.errors import LetterError
from letterlib.store import read_json, write_text

_TOKEN = re.compile(r"<([a-z])_(0|[1-9][0-9]{0,8})>")
RUNNING = 256
"""Codes of a level that holds a running number, as many as a level of the paper's identifiers has.
"""

MOST_CODES = 2**18
"""Codes of a level that a file may name whatever its number of items. Every code up to the largest
gets a token, used or not. No more codes are in use than there are items, and codes that are taken
from elsewhere are few: a codebook has hundreds or thousands, and the largest vocabularies of
language models have a quarter of a million word pieces.
"""


def token(level: int, code: int) -> str:
    """The token of a code: `<a_12>` is code 12 of the first level, `<b_12>` of the second."""
    return f"<{ascii_lowercase[level]}_{code}>"


@dataclass(frozen=True, eq=False)
class Identifiers:
    """One sequence of L codes per item.

    codes: int64 [n_items, L], row = item id, to be read only.
    level_sizes: how many codes each level has, in use or not.
    shared_vocabulary: whether code c is the same token at every level, as a word is the same word
    at every place of
        a title; the levels then have the same size. An `<Name>.index.json` does not say it.
    """

    codes: np.ndarray
    level_sizes: tuple[int, ...]
    shared_vocabulary: bool = False

    def __post_init__(self) -> None:
        codes = np.asarray(self.codes)
        if codes.ndim != 2 or codes.dtype.kind not in "iu" or not codes.size:
            raise LetterError(
                f"identifiers: codes must be integers [n_items, L] of one item or more, not {codes.dtype} {codes.shape}"
            )
        sizes = tuple(int(size) for size in self.level_sizes)
        n_levels = codes.shape[1]
        if len(sizes) != n_levels:
            raise LetterError(
                f"identifiers: {n_levels} levels of codes, but {len(sizes)} sizes; give one per level"
            )
        if n_levels > len(ascii_lowercase):
            raise LetterError(
                f"identifiers: {n_levels} levels, but tokens have letters for 26 only"
            )
        if self.shared_vocabulary and len(set(sizes)) > 1:
            raise LetterError(
                f"identifiers: levels that share a vocabulary have the same size, not {sizes}"
            )
        codes = codes.astype(np.int64)
        wrong = np.argwhere((codes < 0) | (codes >= np.array(sizes)))
        if len(wrong):
            item, level = wrong[0]
            raise LetterError(
                f"identifiers, item {item}, level {level + 1} ({ascii_lowercase[level]}): code {codes[item, level]} "
                f"is out of range, this level has codes 0-{sizes[level] - 1}; "
                "check the file, or the number of codes per level"
            )
        object.__setattr__(self, "codes", read_only(codes))
        object.__setattr__(self, "level_sizes", sizes)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def n_items(self) -> int:
        return len(self.codes)

    @property
    def n_levels(self) -> int:
        return self.codes.shape[1]

    def tokens(self, item: int) -> list[str]:
        """The identifier of an item as it is written: ["<a_12>", "<b_250>", ...]."""
        return [token(level, code) for level, code in enumerate(self.codes[item])]

    @cached_property
    def _unique(self) -> tuple[np.ndarray, np.ndarray]:
        distinct, inverse = np.unique(self.codes, axis=0, return_inverse=True)
        return read_only(distinct), read_only(inverse.reshape(-1))

    @property
    def distinct(self) -> np.ndarray:
        """Every distinct identifier once, in lexicographic order: int64 [n_distinct, L]."""
        return self._unique[0]

    @property
    def identifier_of_item(self) -> np.ndarray:
        """Which row of `distinct` each item has: int64 [n_items]. Equal numbers mean a shared
        identifier.
        """
        return self._unique[1]

    @property
    def n_distinct(self) -> int:
        return len(self.distinct)

    @property
    def n_colliding(self) -> int:
        """Items that share their identifier with at least one other item."""
        sizes = np.bincount(self.identifier_of_item)
        return int(sizes[sizes > 1].sum())

    @property
    def collision_rate(self) -> float:
        """1 - distinct identifiers / items, as the LC-Rec and LETTER code defines it."""
        return 1 - self.n_distinct / self.n_items

    @property
    def dead_codes(self) -> tuple[int, ...]:
        """Codes that no item has, per level."""
        used = (len(np.unique(column)) for column in self.codes.T)
        return tuple(size - n for size, n in zip(self.level_sizes, used, strict=True))

    @classmethod
    def numbered(cls, paths: np.ndarray) -> "Identifiers":
        """Identifiers of items that stand at the ends of paths in a tree: the path, then a running
        number.

        paths: int64 [n_items, D], codes from 1; 0 says "no further step" and fills a path that ends
        early. So all
            identifiers have the same length, and none can be the beginning of another. Without the
            filling, item 2 of path (1) would be 1, 2 and item 3 of path (1, 2) would be 1, 2, 3:
            having written 1, 2, a search could not know whether it is done, and a trie would have
            an item at an inner node.
        The items of a path are numbered in the order of their ids. The number is one level, or as
        many levels of at most 256 codes as the largest path asks for, so that no level is huge. No
        two items share an identifier.
        """
        group = np.unique(paths, axis=0, return_inverse=True)[1].reshape(-1)
        sizes = np.bincount(group)
        number = np.empty(len(paths), dtype=np.int64)
        number[np.argsort(group, kind="stable")] = places_within(sizes)
        n_digits = 1
        while RUNNING**n_digits < sizes.max():
            n_digits += 1
        digits = number[:, None] // RUNNING ** np.arange(n_digits)[::-1] % RUNNING
        codes = np.concatenate([paths, digits], axis=1)
        return cls(codes, tuple(codes.max(axis=0) + 1))

    def save(self, path: str | Path) -> None:
        """Write `<Name>.index.json`, the authors' table without the spaces of their files:
        {"0":["<a_183>",...],...}.

        It has the codes alone: not the sizes of levels, which `load` is told, nor whether they
        share a vocabulary.
        """
        table = {str(item): self.tokens(item) for item in range(self.n_items)}
        write_text(path, json.dumps(table, separators=(",", ":")))

    @classmethod
    def load(
        cls,
        path: str | Path,
        n_items: int | None = None,
        level_sizes: tuple[int, ...] | None = None,
    ) -> "Identifiers":
        """Read an `<Name>.index.json`.

        n_items: how many items the catalogue has; a table of another length is an error.
        level_sizes: the file does not say them; without them each level is as large as its highest
        code asks.
        """
        table = read_json(path)
        if not isinstance(table, dict) or not table:
            raise LetterError(
                f'{path}: expected a table {{"0": ["<a_1>", ...], ...}} with one row per item'
            )
        if n_items is not None and len(table) != n_items:
            raise LetterError(
                f"{path}: {len(table):,} identifiers, but the catalogue has {n_items:,} items; "
                "use the identifiers that were made for this data set"
            )
        missing = next((i for i in range(len(table)) if str(i) not in table), None)
        if missing is not None:
            raise LetterError(
                f'{path}: item "{missing}" is missing; ids must be 0-{len(table) - 1} without gaps'
            )
        codes = [_parse(path, item, table[str(item)]) for item in range(len(table))]
        ragged = next((i for i, row in enumerate(codes) if len(row) != len(codes[0])), None)
        if ragged is not None:
            raise LetterError(
                f'{path}, item "{ragged}": {len(codes[ragged])} codes, but item "0" has {len(codes[0])}; '
                "all identifiers must have the same length"
            )
        array = np.array(codes, dtype=np.int64)
        if level_sizes is None:
            _check_codes(path, array)
        sizes = (
            level_sizes
            if level_sizes is not None
            else tuple(int(top) + 1 for top in array.max(axis=0))
        )
        try:
            return cls(array, sizes)
        except LetterError as error:
            raise LetterError(f"{path}: {error}") from error


def _parse(path: str | Path, item: int, tokens: object) -> list[int]:
    if not isinstance(tokens, list) or not 1 <= len(tokens) <= len(ascii_lowercase):
        raise LetterError(f'{path}, item "{item}": expected a list of 1-26 tokens such as "<a_12>"')
    row = []
    for level, text in enumerate(tokens):
        match = _TOKEN.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise LetterError(
                f'{path}, item "{item}": {json.dumps(text)} is not a token such as "<a_12>"'
            )
        if match[1] != ascii_lowercase[level]:
            raise LetterError(
                f'{path}, item "{item}": token {level + 1} is "{text}", but its letter must be '
                f'"{ascii_lowercase[level]}"; levels must stand in order'
            )
        row.append(int(match[2]))
    return row


def _check_codes(path: str | Path, codes: np.ndarray) -> None:
    """LetterError for codes [n_items, L] so large that the tokens up to them would fill the memory."""
    item, level = np.unravel_index(codes.argmax(), codes.shape)
    if (top := int(codes[item, level])) >= max(MOST_CODES, len(codes)):
        raise LetterError(
            f'{path}, item "{item}": with "{token(level, top)}" this level would have {top + 1:,} tokens, for '
            f"{len(codes):,} items; number the codes of each level from 0 without large gaps"
        )
