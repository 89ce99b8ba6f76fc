"""Items that share an identifier get new last codes by Sinkhorn-Knopp, as LC-Rec and LETTER do it.

Their code keeps the last round; this one keeps the round in which the fewest items share.
`identifiers_with_unseen` gives each item that the tokenizer has not seen a last code that is free.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from letterlib.errors import LetterError
from letterlib.tokenizer.identifiers import Identifiers

if TYPE_CHECKING:  # which imports this module
    from letterlib.tokenizer.letter import LetterTokenizer

EPSILON, ITERATIONS, ROUNDS = 0.003, 50, 20
AT_ONCE = 256
"""Groups that are repaired together; more would not fit in the caches."""


@dataclass(frozen=True)
class CollisionReport:
    """Before and after the repair.

    colliding: items that share their identifier.
    rate: 1 - distinct identifiers / items.
    moved: items whose last code changed.
    rounds: how many were run.
    distance: squared Euclidean distance between a moved item's last residual and its code, mean
        over the moved items, in the units of the codebook. It is what uniqueness costs.
    """

    colliding_before: int
    colliding_after: int
    rate_before: float
    rate_after: float
    moved: int
    rounds: int
    distance_before: float
    distance_after: float


def centre_distances(distances: np.ndarray) -> np.ndarray:
    """Map the distances of a group linearly to [-1, 1], so that epsilon means the same everywhere.

    distances: float [..., rows, codes], centred over the last two axes. LC-Rec and LETTER code.
    """
    highest = distances.max(axis=(-2, -1), keepdims=True)
    lowest = distances.min(axis=(-2, -1), keepdims=True)
    middle = (highest + lowest) / 2
    return (distances - middle) / (highest - middle + 1e-5)


def sinkhorn(
    distances: np.ndarray, epsilon: float = EPSILON, iterations: int = ITERATIONS
) -> np.ndarray:
    """Share rows out over codes so that every code receives the same total.

    distances: float [..., rows, codes], the cost of giving a row to a code.
    Returns Q of the same shape: exp(-distances / epsilon) with rows and columns scaled in turn.
    Each column sums to rows / codes exactly, each row to 1 in the limit of many iterations.
    Sinkhorn and Knopp 1967; Cuturi 2013.
    """
    log_q = -np.asarray(distances, dtype=np.float64) / epsilon
    n_rows, n_codes = log_q.shape[-2:]
    for _ in range(iterations):
        # In logarithms, because exp(-1 / epsilon) leaves the range of a double for small epsilon.
        log_q = log_q - _log_sum_exp(log_q, axis=-1)
        log_q = log_q - _log_sum_exp(log_q, axis=-2) + np.log(n_rows / n_codes)
    return np.exp(log_q)


def _log_sum_exp(x: np.ndarray, axis: int) -> np.ndarray:
    """scipy's, without its checks, which cost several times the arithmetic on small arrays."""
    highest = x.max(axis=axis, keepdims=True)
    return highest + np.log(np.exp(x - highest).sum(axis=axis, keepdims=True))


def repair_collisions(
    identifiers: Identifiers,
    last_residuals: np.ndarray,
    codebook: np.ndarray,
    rounds: int = ROUNDS,
) -> tuple[Identifiers, CollisionReport]:
    """Give the items of shared identifiers new last codes, in rounds, until none is shared.

    last_residuals: float [n_items, dim], r_(L-1), what the last level codes.
    codebook: float [n_codes, dim], the last level's.
    Returns the identifiers of the round that leaves the fewest items sharing (a new code may meet
    another item's), and a report.

    Items with equal residuals, but for rounding, cannot be told apart and go on sharing; a group of
    these alone keeps its code. Two or three rows get a half or a third of the codes each, dozens of
    them whole; of these equal shares argmax takes the first, however far it lies. The report has
    the distances.
    """
    last_residuals, codebook = last_residuals.astype(np.float64), codebook.astype(np.float64)
    # A product in float32 may give equal rows of a table sums that differ in their last bits.
    rounding = 1e-5 * np.abs(last_residuals).max(initial=0)
    best = current = identifiers
    done = 0
    while done < rounds and current.n_colliding:
        codes = current.codes.copy()
        for items in _groups_by_size(current):
            rows = last_residuals[items]
            differ = (np.abs(rows - rows[:, :1]) > rounding).any(axis=(1, 2))
            items, rows = items[differ], rows[differ]
            if len(items):
                distances = _squared_distances(rows, codebook)
                codes[items, -1] = sinkhorn(centre_distances(distances)).argmax(axis=-1)
        done += 1
        if np.array_equal(codes, current.codes):
            break
        current = replace(identifiers, codes=codes)
        if current.n_colliding < best.n_colliding:
            best = current
    return best, _report(identifiers, best, last_residuals, codebook, done)


def _groups_by_size(identifiers: Identifiers) -> list[np.ndarray]:
    """The items of every shared identifier, those of equal size stacked: [up to AT_ONCE, size]."""
    group = identifiers.identifier_of_item
    sizes = np.bincount(group)
    order = np.argsort(group, kind="stable")
    starts = np.cumsum(sizes) - sizes
    stacks = [
        order[starts[sizes == size][:, None] + np.arange(size)]
        for size in np.unique(sizes)
        if size > 1
    ]
    return [stack[i : i + AT_ONCE] for stack in stacks for i in range(0, len(stack), AT_ONCE)]


def _squared_distances(x: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """[..., dim] and [n_codes, dim] to [..., n_codes]."""
    return np.square(x).sum(-1, keepdims=True) - 2 * x @ codebook.T + np.square(codebook).sum(-1)


def _report(
    before: Identifiers,
    after: Identifiers,
    last_residuals: np.ndarray,
    codebook: np.ndarray,
    rounds: int,
) -> CollisionReport:
    moved = np.flatnonzero(before.codes[:, -1] != after.codes[:, -1])
    cost = [
        float(np.square(last_residuals[moved] - codebook[state.codes[moved, -1]]).sum(-1).mean())
        if len(moved)
        else 0.0
        for state in (before, after)
    ]
    return CollisionReport(
        before.n_colliding,
        after.n_colliding,
        before.collision_rate,
        after.collision_rate,
        len(moved),
        rounds,
        *cost,
    )


def identifiers_with_unseen(
    tokenizer: "LetterTokenizer", semantic: np.ndarray, unseen: np.ndarray
) -> Identifiers:
    """The identifiers of a whole catalogue, of which the tokenizer has seen all items but some.

    tokenizer: fitted on the rows of the seen items, in the order of their ids.
    semantic: float [n_items, d], text vectors of all items.
    unseen: int64 [n], ids of the others.

    Seen items keep their identifiers. The text vector of an unseen item goes through encoder and
    codebooks; no collaborative loss has seen it. Not Sinkhorn as in `repair_collisions`, which may
    move any of the items that share: if an unseen item's identifier is taken, it alone moves, to
    the nearest last code that is free, in the order of ids. If none is free, it shares.
    """
    semantic, unseen = np.asarray(semantic), np.unique(unseen)
    seen, known = np.setdiff1d(np.arange(len(semantic)), unseen), tokenizer.identifiers()
    if len(known) != len(seen):
        raise LetterError(
            f"the tokenizer was fitted on {len(known):,} items, but {len(seen):,} of "
            f"{len(semantic):,} are seen; fit it on the rows of the seen items, in order of ids"
        )
    codes = np.empty((len(semantic), known.n_levels), dtype=np.int64)
    codes[seen] = known.codes
    if not len(unseen):
        return Identifiers(codes, known.level_sizes)
    new, last_residuals = tokenizer.encode(semantic[unseen])
    taken, last_codebook = set(map(tuple, known.codes.tolist())), tokenizer.codebooks()[-1]
    for item, own, residual in zip(unseen, new.tolist(), last_residuals, strict=True):
        distances = np.square(residual - last_codebook).sum(axis=1)
        last = (int(code) for code in np.argsort(distances, kind="stable"))
        free = next((code for code in last if (*own[:-1], code) not in taken), own[-1])
        codes[item] = [*own[:-1], free]
        taken.add((*own[:-1], free))
    return Identifiers(codes, known.level_sizes)
