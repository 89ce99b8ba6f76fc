"""What kind of case it is: could counting have found the target, has the user had it, is its order
known?

A system that is better than another on all cases may be so on one kind alone: repeating what was
counted is another task than finding what was not.
"""

import numpy as np
from scipy import sparse

from letterlib.data.dataset import NO_ITEM, Cases, Sequences, Split
from letterlib.errors import LetterError

WITHIN = 6
"""Places between two items of a history within which one counts as having come before the other."""

SEEN, REPEAT, TIED = 1, 2, 4

KINDS = {
    "seen": (SEEN, True),
    "unseen": (SEEN, False),
    "repeat": (REPEAT, True),
    "new": (REPEAT, False),
    "tied": (TIED, True),
    "untied": (TIED, False),
}
"""Name -> the bit of `case_kinds`, and whether it is set.

seen: one of the last six items of the history came before the target, within six places, in some
    user's training part. unseen: none did.
repeat: the target is in the history. new: it is not.
tied: the target has the same time as the item before it, so their order is random.
"""


def case_kinds(split: Split, cases: Cases) -> np.ndarray:
    """The kinds of cases with targets: int8 [n], a sum of SEEN, REPEAT and TIED.

    cases: of `split.cases`, or some of them. Without times no case is TIED.
    """
    kinds = SEEN * seen(split, cases) + REPEAT * cases.repeated
    if (tied := split.dataset.sequences.tied) is not None:
        kinds = kinds + TIED * tied[cases.ends]
    return kinds.astype(np.int8)


def is_kind(kinds: np.ndarray, name: str) -> np.ndarray:
    """Which cases are "seen", "unseen", ...: bool [n]. kinds: int [n], from `case_kinds`."""
    if name not in KINDS:
        raise LetterError(f'cases "{name}": choose {", ".join(KINDS)}')
    bit, wanted = KINDS[name]
    return ((kinds & bit) > 0) == wanted


def seen(split: Split, cases: Cases) -> np.ndarray:
    """Whether one of a case's last six items came before its target in training: bool [n]."""
    followed = _followed(split.train, split.n_items)
    found = np.zeros(len(cases), dtype=bool)
    for before in cases.recent(WITHIN).T:
        known = before != NO_ITEM
        pairs = followed[before[known], cases.targets[known]]
        found[known] |= np.asarray(pairs).ravel() > 0
    return found


def _followed(train: Sequences, n_items: int) -> sparse.csr_matrix:
    """Entry [i, j] is positive where j came one to six places after i: [n_items, n_items]."""
    owners, pairs = train.owners, []
    for distance in range(1, WITHIN + 1):
        same = owners[distance:] == owners[:-distance]
        pairs.append((train.values[:-distance][same], train.values[distance:][same]))
    before, after = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return sparse.csr_matrix((np.ones(len(before)), (before, after)), (n_items, n_items))
