"""Identifiers from who has items together: P5-CID.

Hua et al., SIGIR-AP 2023, "How to Index Item IDs for Recommendation Foundation Models". Items are
nodes of a graph, and an edge weighs as much as there are users who have both items. Spectral
clustering cuts the graph into 20 clusters, each of these again while it is larger than a leaf may
be, and an identifier is the way through the clusters and a running number in the last one. It knows
who likes an item and nothing of what the item is. Only the training part of the histories is
counted. Where it differs from the original:

- A leaf holds at most 100 items (the authors: 500), so that MovieLens with its 3,496 films is cut
  twice.
- The graph is never written down, because users with long histories make it nearly dense: its
  Laplacian is applied to
  a vector as two sparse products with the table of users and items.
- All degrees are raised by their mean ("regularised" spectral clustering: Qin and Rohe, NeurIPS
  2013). Otherwise the
  best cuts of a sparse graph are its smallest fragments, and clusters of one item follow each other
  down to a great depth.
- Items that share a user with no other item of their group have no place in its graph and are a
  part of their own.
- Where clustering leaves three quarters of a group or more in one part, the group is cut into equal
  parts along the
  second eigenvector (Fiedler 1973), divided by the roots of the items' own degrees, in which
  neighbours stand near each other. So every path ends.
"""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, eigsh

from letterlib.baselines.lightgcn import interaction_matrix
from letterlib.data.dataset import Split
from letterlib.errors import LetterError
from letterlib.tokenizer.clustering import kmeans_codebook
from letterlib.tokenizer.identifiers import Identifiers

CLUSTERS, LEAF = 20, 100
LARGEST_SHARE = 0.75
"""A part that holds this share of its group or more says that the clustering found nothing."""


def cooccurrence_identifiers(
    split: Split, seed: int = 0, n_clusters: int = CLUSTERS, leaf: int = LEAF
) -> Identifiers:
    """One identifier per item, some levels of clusters, then a running number; no two items share.

    n_clusters: at most, per cut; items without edges are one more. leaf: items that may stand in a
    cluster that is not cut any more. Code 0 of a cluster's level is "not cut any more".
    """
    if n_clusters < 2 or leaf < 1:
        raise LetterError(
            f"co-occurrence identifiers: {n_clusters} clusters and leaves of {leaf}; at least 2 and 1"
        )
    users = csr_array(interaction_matrix(split.train, split.n_items), dtype=np.float64)
    levels, pending = [], [np.arange(split.n_items)]
    while pending:
        level, parts = np.zeros(split.n_items, dtype=np.int64), []
        for group in pending:
            part = parts_of(users[:, group], n_clusters, seed)
            level[group] = part + 1
            parts += [group[part == one] for one in np.unique(part)]
        levels.append(level)
        pending = [one for one in parts if len(one) > leaf]
    return Identifiers.numbered(np.stack(levels, axis=1))


def parts_of(users: csr_array, n_clusters: int, seed: int) -> np.ndarray:
    """The part of each of a group's items, int64 [n]: 0 to n_clusters - 1, and n_clusters for items
    without edges, unless the group is cut into equal parts, which take these in as well.

    users: float [n_users, n], who has which of the items.
    """
    n, degrees = users.shape[1], cooccurrence_degrees(users)
    connected = np.flatnonzero(degrees > 0)
    part, place = np.full(n, n_clusters), np.where(degrees > 0, 0.0, np.inf)
    if len(connected) > n_clusters:
        vectors = leading_eigenvectors(users[:, connected], degrees[connected], n_clusters, seed)
        place[connected] = vectors[:, 1] / np.sqrt(degrees[connected])
        directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        centres = kmeans_codebook(directions, n_clusters, seed)
        part[connected] = (np.square(centres).sum(axis=1) - 2 * directions @ centres.T).argmin(
            axis=1
        )
    if np.bincount(part).max() >= LARGEST_SHARE * n:
        part[np.argsort(place, kind="stable")] = np.arange(n) * min(n_clusters, n) // n
    return part


def cooccurrence_degrees(users: csr_array) -> np.ndarray:
    """The weight of every item's edges together, float [n]: over its users, how many other items
    they have.
    """
    return users.T @ (users.sum(axis=1) - 1.0)


def leading_eigenvectors(users: csr_array, degrees: np.ndarray, k: int, seed: int) -> np.ndarray:
    """The k first eigenvectors of D^-1/2 A D^-1/2, the largest eigenvalue first: float [n, k].

    A: how many users have items i and j, 0 for i = j; D: the degrees and their mean (Qin and Rohe
    2013). The eigenvectors are those of the normalised Laplacian I - D^-1/2 A D^-1/2 with its k
    smallest eigenvalues.
    """
    counts, scale = users.sum(axis=0), (degrees + degrees.mean()) ** -0.5
    items = users.T.tocsr()

    def apply(vector: np.ndarray) -> np.ndarray:
        scaled = scale * vector.ravel()
        return scale * (items @ (users @ scaled) - counts * scaled)

    n = users.shape[1]
    if (
        n <= 4 * k
    ):  # so few that the iteration below could run out of new directions, and would draw one by chance
        small = np.stack([apply(row) for row in np.eye(n)])
        return np.linalg.eigh(small)[1][:, : -k - 1 : -1]
    operator = LinearOperator((n, n), matvec=apply, dtype=np.float64)
    # eigsh would draw its start, and a new direction where there are few distinct eigenvalues, anew
    # every time.
    random = np.random.default_rng(seed)
    values, vectors = eigsh(
        operator, k, which="LA", v0=random.standard_normal(n), tol=1e-4, rng=random
    )
    return vectors[:, np.argsort(-values)]
