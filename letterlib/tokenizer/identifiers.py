"""`Identifiers`: the code sequence of every item, in the format that LC-Rec and LETTER release."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_lowercase

import numpy as np

from letterlib.data.flat_arrays import read_only
from letterlib.errors import LetterError
from letterlib.store import read_json, write_text

_TOKEN = re.compile(r"<([a-z])_(0|[1-9][0-9]{0,8})>")


def token(level: int, code: int) -> str:
    """The token of a code: `<a_12>` is code 12 of the first level, `<b_12>` of the second."""
    return f"<{ascii_lowercase[level]}_{code}>"


@dataclass(frozen=True, eq=False)
class Identifiers:
    """One sequence of L codes per item.

    codes: int64 [n_items, L], row = item id; read-only, because what is derived is kept.
    level_sizes: how many codes each level has, in use or not.
    shared_vocabulary: whether code c is the same token at every level, as a word is the same word
        at every place of a title. The levels then have the same size. Files do not record it.
    """

    codes: np.ndarray
    level_sizes: tuple[int, ...]
    shared_vocabulary: bool = False

    def __post_init__(self) -> None:
        codes = np.asarray(self.codes)
        if codes.ndim != 2 or codes.dtype.kind not in "iu" or not codes.size:
            raise LetterError(
                "identifiers: codes must be integers [n_items, L] of one item or more, "
                f"not {codes.dtype} {codes.shape}"
            )
        codes, sizes = codes.astype(np.int64), tuple(int(size) for size in self.level_sizes)
        if len(sizes) != codes.shape[1] or len(sizes) > len(ascii_lowercase):
            raise LetterError(
                f"identifiers: {codes.shape[1]} levels of codes, but {len(sizes)} level sizes; "
                "give one per level, for at most 26 levels"
            )
        if self.shared_vocabulary and len(set(sizes)) > 1:
            raise LetterError(
                f"identifiers: levels that share a vocabulary have the same size, not {sizes}"
            )
        wrong = np.argwhere((codes < 0) | (codes >= np.array(sizes)))
        if len(wrong):
            item, level = wrong[0]
            raise LetterError(
                f"identifiers, item {item}, level {level + 1} ({ascii_lowercase[level]}): code "
                f"{codes[item, level]} is out of range, this level has codes 0-{sizes[level] - 1}; "
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
        """Which row of `distinct` each item has: int64 [n_items]."""
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

    def save(self, path: str | Path) -> None:
        """Write `<Name>.index.json`, the authors' table: {"0":["<a_183>",...],...}.

        It has the codes alone: neither the sizes of the levels nor whether they share a vocabulary.
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

        n_items: how many items the catalogue has; a table of another length is a LetterError.
        level_sizes: of the levels; by default each is as large as its highest code needs.
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
        rows = []
        for item in map(str, range(len(table))):
            if item not in table:
                raise LetterError(
                    f'{path}: item "{item}" is missing; ids must be 0-{len(table) - 1} without gaps'
                )
            rows.append(_codes_of(table[item], f'{path}, item "{item}"'))
            if len(rows[-1]) != len(rows[0]):
                raise LetterError(
                    f'{path}, item "{item}": {len(rows[-1])} codes, but item "0" has '
                    f"{len(rows[0])}; all identifiers must have the same length"
                )
        codes = np.array(rows, dtype=np.int64)
        try:
            return cls(codes, tuple(codes.max(axis=0) + 1) if level_sizes is None else level_sizes)
        except LetterError as error:
            raise LetterError(f"{path}: {error}") from error


def _codes_of(tokens: object, where: str) -> list[int]:
    """The codes of ["<a_12>", "<b_250>", ...], whose letters must be a, b, c, ... in order."""
    if not isinstance(tokens, list) or not 1 <= len(tokens) <= len(ascii_lowercase):
        raise LetterError(f'{where}: expected a list of 1-26 tokens such as "<a_12>"')
    matches = [_TOKEN.fullmatch(str(text)) for text in tokens]
    for letter, text, match in zip(ascii_lowercase, tokens, matches, strict=False):
        if match is None or match[1] != letter:
            raise LetterError(
                f'{where}: expected a token such as "<{letter}_12>" in place of {json.dumps(text)}'
            )
    return [int(match[2]) for match in matches]
