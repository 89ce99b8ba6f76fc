"""Identifiers that no RQ-VAE makes: what LETTER's tokenizer is compared with.

- Random codes know nothing of an item: what a generator gains with them it owes to the histories.
- Residual k-means knows what the text encoder knows: RQ-VAE's quantisation without its encoder,
  decoder and losses.
- Categories (P5-SemID), co-occurrence (P5-CID) and titles (P5-TID) are those of Hua et al.,
  SIGIR-AP 2023, "How to Index Item IDs for Recommendation Foundation Models".
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, eigsh

from letterlib.baselines.lightgcn import interaction_matrix
from letterlib.data.dataset import Dataset, Split
from letterlib.data.flat_arrays import places_within
from letterlib.errors import LetterError, Unavailable
from letterlib.hub import load_found, load_tokenizer, loading
from letterlib.text import MINILM, find_encoder
from letterlib.tokenizer.collisions import repair_collisions
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.letter import check_rows, standardize
from letterlib.tokenizer.rqvae import kmeans_codebook, nearest_codes

LEVELS, CODES = 4, 256
"""The paper's identifiers."""

RUNNING = 256
"""Codes of a level that holds a running number."""

DEPTH = 3
"""Labels of an item that its category identifier has, the first ones."""

CLUSTERS, LEAF, LARGEST_SHARE = 20, 100, 0.75
"""Of co-occurrence identifiers: clusters a cut, items of a cluster that is not cut any more, and
the share of its group with which a part shows that the clustering found nothing.
"""

LENGTH, NO_PIECE = 8, -1
"""Of title identifiers: pieces that count, the first ones, and the piece of "no further word"."""


def random_identifiers(
    n_items: int, seed: int = 0, n_levels: int = LEVELS, n_codes: int = CODES
) -> Identifiers:
    """Identifiers drawn from all possible ones without replacement: no two items share one."""
    if n_items > n_codes**n_levels:
        raise LetterError(
            f"{n_items:,} items, but {n_levels} levels of {n_codes} codes make "
            f"{n_codes**n_levels:,} identifiers; choose more levels or codes"
        )
    random, sizes = np.random.default_rng(seed), (n_codes,) * n_levels
    if n_codes**n_levels < 2**63:
        numbers = random.choice(n_codes**n_levels, n_items, replace=False)
        return Identifiers(np.stack(np.unravel_index(numbers, sizes), axis=1), sizes)
    # Too many to be numbered, and to expect that one is drawn twice.
    return Identifiers(random.integers(n_codes, size=(n_items, n_levels)), sizes)


def residual_kmeans_identifiers(
    semantic: np.ndarray, seed: int = 0, n_levels: int = LEVELS, n_codes: int = CODES
) -> Identifiers:
    """K-means of the embeddings, then of what each level leaves over.

    semantic: float [n_items, d], one row per item. Collisions are repaired as
    LETTER's; items with equal rows go on sharing an identifier.
    """
    semantic = np.asarray(semantic)
    check_rows("semantic embeddings", semantic)
    left, codes = standardize(semantic), []
    for level in range(n_levels):
        residuals, codebook = left, kmeans_codebook(left, n_codes, seed + level)
        codes.append(nearest_codes(torch.from_numpy(residuals), torch.from_numpy(codebook)).numpy())
        left = residuals - codebook[codes[-1]]
    before = Identifiers(np.stack(codes, axis=1), (n_codes,) * n_levels)
    return repair_collisions(before, residuals, codebook)[0]


def with_running_number(paths: np.ndarray) -> Identifiers:
    """Identifiers of items at the ends of paths in a tree: the path, then a running number.

    paths: int64 [n_items, D], codes from 1; 0 says "no further step" and fills a path that ends
    early. So all identifiers have the same length, and none is the beginning of another. (Without
    the filling, item 2 of path (1) would be 1, 2 and item 3 of path (1, 2) would be 1, 2, 3:
    having written 1, 2, a search could not know whether it is done.)

    The items of a path are numbered in the order of their ids. The number is one level, or as many
    levels of at most 256 codes as the largest path needs. No two items share an identifier.
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
    return Identifiers(codes, tuple(codes.max(axis=0) + 1))


def category_identifiers(dataset: Dataset, depth: int = DEPTH) -> Identifiers:
    """P5-SemID: an item's way through the category tree, then a running number.

    depth: levels of labels. Code 0 of such a level is "no further label"; the labels that occur at
    this place of a path follow in alphabetical order. No two items share an identifier.
    A data set without categories is Unavailable, a LetterError.

    Different from the original: a label has a code for each place ("Drama" first and "Drama"
    second are two codes), and paths are cut and filled to one length. MovieLens has no category
    tree: its genres stand in alphabetical order, so its paths do not go from general to special.
    """
    labels = dataset.items["genres"].tolist() if "genres" in dataset.items else []
    if not any(labels):
        raise Unavailable(
            f"{dataset.name}: no item has a category, and P5-SemID is made of them; "
            "use another kind of identifier, or a release whose items have categories"
        )
    paths = [
        ([label for label in text.split("|") if label] + [""] * depth)[:depth] for text in labels
    ]
    # The empty label is put in front for levels at which no path ends, so that it is always code 0.
    columns = [
        np.unique(["", *column], return_inverse=True)[1][1:] for column in zip(*paths, strict=True)
    ]
    return with_running_number(np.stack(columns, axis=1).astype(np.int64))


def cooccurrence_identifiers(
    split: Split, seed: int = 0, n_clusters: int = CLUSTERS, leaf: int = LEAF
) -> Identifiers:
    """P5-CID: clusters of items that the same users have, then a running number.

    Items are nodes of a graph; an edge weighs as much as there are users who have both items in
    the training part of their histories. Spectral clustering cuts the graph into n_clusters, and
    each of these again while it has more than `leaf` items. Items without edges are one more part.
    Code 0 of a cluster's level is "not cut any more". No two items share an identifier.

    Different from the original:
    - A leaf has at most 100 items (the authors: 500), so that MovieLens's 3,496 are cut twice.
    - The graph is never written out, because users with long histories make it nearly dense: its
      Laplacian is applied to a vector as two sparse products with the table of users and items.
    - All degrees are raised by their mean ("regularised" spectral clustering: Qin and Rohe, NeurIPS
      2013). Otherwise the best cuts of a sparse graph are its smallest fragments.
    - If one part keeps three quarters of a group, the group is cut into equal parts along the
      second eigenvector (Fiedler 1973), in which neighbours are near each other. So the cuts end.
    """
    users = csr_array(interaction_matrix(split.train, split.n_items), dtype=np.float64)
    levels, pending = [], [np.arange(split.n_items)]
    while pending:
        level, parts = np.zeros(split.n_items, dtype=np.int64), []
        for group in pending:
            part = parts_of(users[:, group], n_clusters, seed)
            level[group] = part + 1
            parts += [group[part == number] for number in np.unique(part)]
        levels.append(level)
        pending = [part for part in parts if len(part) > leaf]
    return with_running_number(np.stack(levels, axis=1))


def parts_of(users: csr_array, n_clusters: int, seed: int) -> np.ndarray:
    """Cut a group of items: the part of each, int64 [n].

    users: float [n_users, n], who has which of the items.
    Parts are 0 to n_clusters - 1, and n_clusters for items without edges, unless the group is cut
    into equal parts, which take these in as well.
    """
    n, degrees = users.shape[1], cooccurrence_degrees(users)
    connected = np.flatnonzero(degrees > 0)
    part, place = np.full(n, n_clusters), np.where(degrees > 0, 0.0, np.inf)
    if len(connected) > n_clusters:
        vectors = leading_eigenvectors(users[:, connected], degrees[connected], n_clusters, seed)
        place[connected] = vectors[:, 1] / np.sqrt(degrees[connected])
        directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        centres = kmeans_codebook(directions, n_clusters, seed)
        distances = np.square(centres).sum(axis=1) - 2 * directions @ centres.T
        part[connected] = distances.argmin(axis=1)
    if np.bincount(part).max() >= LARGEST_SHARE * n:
        part[np.argsort(place, kind="stable")] = np.arange(n) * min(n_clusters, n) // n
    return part


def cooccurrence_degrees(users: csr_array) -> np.ndarray:
    """The weight of every item's edges, float [n]: how many other items its users have."""
    return users.T @ (users.sum(axis=1) - 1.0)


def leading_eigenvectors(users: csr_array, degrees: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The k first eigenvectors of D^-1/2 A D^-1/2, the largest eigenvalue first: float [n, k].

    A: how many users have items i and j, 0 for i = j; D: the degrees plus their mean (Qin and Rohe
    2013). They are those of the normalised Laplacian I - D^-1/2 A D^-1/2 with its k smallest
    eigenvalues.
    """
    counts, scale = users.sum(axis=0), (degrees + degrees.mean()) ** -0.5
    items = users.T.tocsr()

    def apply(vector: np.ndarray) -> np.ndarray:
        scaled = scale * vector.ravel()
        return scale * (items @ (users @ scaled) - counts * scaled)

    n = users.shape[1]
    if n <= 4 * k:  # so small that eigsh could run out of new directions
        small = np.stack([apply(row) for row in np.eye(n)])
        return np.linalg.eigh(small)[1][:, : -k - 1 : -1]
    operator = LinearOperator((n, n), matvec=apply, dtype=np.float64)
    # Seeded: eigsh draws its start, and a new direction where few eigenvalues are distinct.
    random = np.random.default_rng(seed)
    values, vectors = eigsh(
        operator, k, which="LA", v0=random.standard_normal(n), tol=1e-4, rng=random
    )
    return vectors[:, np.argsort(-values)]


@dataclass(frozen=True)
class TitleIdentifiers:
    """Identifiers from titles, and what their codes stand for.

    pieces: int64 [n_codes], the tokenizer's number of each code's word piece; NO_PIECE for code 0,
        "no further word".
    cut: share of the titles that are longer than an identifier.
    """

    identifiers: Identifiers
    pieces: np.ndarray
    cut: float


def title_identifiers(
    titles: list[str], length: int = LENGTH, tokenizer: str = MINILM
) -> TitleIdentifiers:
    """P5-TID: the first `length` word pieces of every title; fewer levels if none has so many.

    tokenizer: "minilm", or a model's id or folder; for a generator that starts from a T5, that
        T5's.

    Different from the original: a generator that starts from nothing has no words yet, so only the
    pieces that occur are given codes. A code is the same token at every place, as a word is
    (`Identifiers.shared_vocabulary`). Titles are cut, and filled up with "no further word", so that
    no title is the beginning of another ("Toy Story" of "Toy Story 2"). Titles that are equal up to
    the cut share an identifier. At 8 pieces 24% of MovieLens's titles are cut and 6 of 3,496 films
    share, 36% of Beauty's and 429 of 12,101 products. (Whole titles: none, and 76.)
    """
    with loading(f'tokenizer "{tokenizer}"', 'use "minilm", or a folder'):
        model = load_found(find_encoder(tokenizer), load_tokenizer)
    ids = model(titles, add_special_tokens=False)["input_ids"]
    lengths = np.array([len(pieces) for pieces in ids])
    used = np.arange(min(length, int(lengths.max()))) < lengths[:, None]
    pieces, code = np.unique(
        np.concatenate([np.array(row[:length], dtype=np.int64) for row in ids]), return_inverse=True
    )
    codes = np.zeros(used.shape, dtype=np.int64)
    codes[used] = code + 1
    sizes = (len(pieces) + 1,) * codes.shape[1]
    return TitleIdentifiers(
        Identifiers(codes, sizes, shared_vocabulary=True),
        np.concatenate([[NO_PIECE], pieces]),
        float((lengths > length).mean()),
    )
