"""Answers to lesson 01: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import numpy as np
import torch
import torch.nn.functional as F

from letterlib.analysis.geometry import unit_rows

NAMES = {"np": np, "torch": torch}
"""What the notebook has imported by the time it reaches its exercises."""

# 1.1 masked mean pooling


def pool_by_loop(states, mask):
    return torch.stack([one[kept.bool()].mean(0) for one, kept in zip(states, mask, strict=True)])


def pool_by_einsum(states, mask):
    weights = mask / mask.sum(1, keepdim=True)
    return torch.einsum("btd,bt->bd", states, weights.to(states.dtype))


def pool_by_nanmean(states, mask):
    return states.masked_fill(~mask.bool()[..., None], torch.nan).nanmean(1)


def pool_by_product(states, mask):
    return (mask.to(states)[:, None] @ states)[:, 0] / mask.sum(1, keepdim=True)


def total(states, mask):
    return (states * mask[..., None]).sum(1)


# 1.2 nearest by cosine


def cosines_of(vectors):
    return unit_rows(vectors) @ unit_rows(vectors).T


def without_self(scores):
    return np.where(np.eye(len(scores), dtype=bool), -np.inf, scores)


def nearest_by_torch(vectors, k):
    unit = F.normalize(torch.from_numpy(vectors).double(), dim=1)
    return (unit @ unit.T).fill_diagonal_(-torch.inf).topk(k).indices.numpy()


def nearest_by_loop(vectors, k):
    rows = []
    for i, own in enumerate(vectors):
        others = [j for j in range(len(vectors)) if j != i]
        cosines = [
            own @ vectors[j] / np.linalg.norm(own) / np.linalg.norm(vectors[j]) for j in others
        ]
        rows.append([others[place] for place in np.argsort(cosines)[::-1][:k]])
    return np.array(rows)


def nearest_by_one_length(vectors, k):
    """A row's own length does not change the order of its list."""
    return np.argsort(-without_self(vectors @ unit_rows(vectors).T), axis=1)[:, :k].astype(np.int32)


def nearest_backwards(vectors, k):
    return np.argsort(without_self(cosines_of(vectors)), axis=1)[:, ::-1][:, :k]


def top(scores, k):
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def top_backwards(scores, k):
    """Of equal scores the last comes first; in `top` it is the first."""
    return np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :k]


def nearest_by_partition(vectors, k):
    """The k highest in any order, and then in theirs."""
    cosines = without_self(cosines_of(vectors))
    highest = np.argpartition(cosines, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(cosines, highest, axis=1), axis=1)
    return np.take_along_axis(highest, order, axis=1)


def nearest_by_partition_at_every_place(vectors, k):
    """Where `kth` names every place, a partition is a sort."""
    return np.argpartition(-without_self(cosines_of(vectors)).T, tuple(range(k)), axis=0)[:k].T


def without_twins(vectors, k):
    cosines = cosines_of(vectors)
    cosines[cosines > 0.99999] = -np.inf
    return np.argsort(-cosines, axis=1)[:, :k]


def those_below_one(vectors, k):
    """Leaves a film out by its cosine, and so every film that has the same vector."""
    cosines = np.where(cosines_of(vectors) < 1 - 1e-6, cosines_of(vectors), -np.inf)
    return top(cosines, min(k, int((cosines > -np.inf).sum(axis=1).min())))


def with_diagonal(scores, value):
    scores = scores.copy()
    np.fill_diagonal(scores, value)
    return scores


def columns_of(vectors):
    with np.errstate(invalid="ignore"):
        return vectors / np.linalg.norm(vectors, axis=0)


# 1.3 mean cosine of different pairs


def mean_by_sum_of_units(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    n = len(unit)
    return ((unit.sum(0) ** 2).sum() - n) / (n * (n - 1))


def mean_by_pairs(vectors):
    return float(
        np.mean([cosines_of(vectors)[i, j] for i in range(len(vectors)) for j in range(i)])
    )


def mean_by_torch(vectors):
    x = torch.from_numpy(vectors).double()
    cosines = F.cosine_similarity(x[:, None], x[None], dim=2)
    return cosines[~torch.eye(len(x), dtype=torch.bool)].mean()


def mean_without_nan(vectors):
    return np.array(np.nanmean(with_diagonal(cosines_of(vectors), np.nan)))


def different(scores):
    return scores[~np.eye(len(scores), dtype=bool)]


# 1.4 centre, and scale by one number


def standardize_by_mean_square(x):
    centred = x - x.mean(axis=0, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2))


def standardize_by_norm(x):
    centred = x - np.average(x, axis=0)
    return centred * (centred.size**0.5 / np.linalg.norm(centred))


def standardize_in_float64(x):
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    return centred / (centred.std() + 1e-8)


def centre(x):
    return x - x.mean(axis=0)


def careless_columns(x):
    with np.errstate(all="ignore"):
        return centre(x) / x.std(axis=0)


def mean_of_the_table(x):
    with np.errstate(all="ignore"):
        return (x - x.mean()) / x.std(axis=0)


def in_place(x):
    x -= x.mean(axis=0)
    return x / x.std()


RIGHT = {
    "1.1": [pool_by_loop, pool_by_einsum, pool_by_nanmean, pool_by_product],
    "1.2": [
        nearest_by_torch,
        nearest_by_loop,
        nearest_backwards,
        nearest_by_one_length,
        nearest_by_partition,
        nearest_by_partition_at_every_place,
    ],
    "1.3": [mean_by_sum_of_units, mean_by_pairs, mean_by_torch, mean_without_nan],
    "1.4": [
        standardize_by_mean_square,
        standardize_by_norm,
        standardize_in_float64,
        lambda x: standardize_by_norm(x.astype(np.longdouble)),
    ],
}

WRONG = [
    ("1.1", lambda s, m: s.mean(1), "a plain mean"),
    ("1.1", lambda s, m: total(s, m) / s.shape[1], "padded length"),
    ("1.1", lambda s, m: total(s, m).div(s.shape[1]), "padded length"),
    ("1.1", lambda s, m: (s * m[..., None]).mean(1), "padded length"),
    ("1.1", lambda s, m: total(s, m) / m.sum(), "whole batch"),
    ("1.1", lambda s, m: total(s, m) / m.sum(1), "each column, not each text"),
    ("1.1", lambda s, m: s.sum(1) / m.sum(1, keepdim=True), "padding is in the sum"),
    ("1.1", lambda s, m: total(s, m), "a sum"),
    (
        "1.1",
        lambda s, m: torch.stack([one[kept].mean(0) for one, kept in zip(s, m, strict=True)]),
        "`mask.bool()`",
    ),
    (
        "1.1",
        lambda s, m: torch.stack(
            [one[kept.long()].mean(0) for one, kept in zip(s, m, strict=True)]
        ),
        "it picks positions 0 and 1",
    ),
    ("1.1", lambda s, m: s[:, 0], "[CLS]"),
    ("1.1", lambda s, m: s.max(1).values, "over padding too"),
    (
        "1.1",
        lambda s, m: s.masked_fill(m[..., None] == 0, -torch.inf).amax(1),
        "instead of the mean.",
    ),
    (
        "1.1",
        lambda s, m: torch.stack([a[: int(n)].mean(0) for a, n in zip(s, m.sum(1), strict=True)]),
        "in front",
    ),
    ("1.1", lambda s, m: s[m.bool()].mean(0), "one mean for the whole batch"),
    ("1.1", lambda s, m: pool_by_loop(s, m)[:, None], "keepdim"),
    ("1.1", lambda s, m: pool_by_loop(s, m).squeeze(), "drops a batch or a dimension of one"),
    ("1.1", lambda s, m: pool_by_loop(s, m).double(), "the type of the states"),
    ("1.1", lambda s, m: total(s, 1 - m.int()) / (1 - m.int()).sum(1, keepdim=True), "upside down"),
    (
        "1.1",
        lambda s, m: total(s.mul_(m[..., None]), m) / m.sum(1, keepdim=True),
        "changed `states` in place",
    ),
    (
        "1.1",
        lambda s, m: total(s, m) / (total(s, m) * 0 + (1 - m).sum(1, keepdim=True)),
        "wrong values",
    ),
    ("1.1", lambda s, m: (s * m).sum(1) / m.sum(1), "`mask.unsqueeze(-1)`"),
    ("1.1", lambda s, m: (s * m[..., None]).sum(2), "every token becomes a number"),
    (
        "1.1",
        lambda s, m: (s * m[..., None]).sum(2) / m.sum(1, keepdim=True),
        "Add up over the tokens, dim=1",
    ),
    (
        "1.1",
        lambda s, m: (s * m[..., None]).sum(2) / m[..., None].sum(2),
        "a sum over the dimensions",
    ),
    ("1.1", lambda s, m: s.sum(-1), "a sum over the dimensions"),
    ("1.1", lambda s, m: (s * m[..., None]).mean(-1), "a mean over the dimensions"),
    ("1.1", lambda s, m: pool_by_loop(s, m).numpy(), "a NumPy function on the way"),
    ("1.2", lambda v, k: top(cosines_of(v), k), "heads its own list"),
    ("1.2", lambda v, k: top(cosines_of(v), k + 1), "one more than k"),
    ("1.2", lambda v, k: top(cosines_of(v), k + 1)[:, 1:], "may be the other one"),
    ("1.2", lambda v, k: top(without_self(v @ v.T), k), "long vectors win"),
    ("1.2", lambda v, k: top(v @ v.T, k + 1)[:, 1:], "long vectors win"),
    (
        "1.2",
        lambda v, k: top_backwards(without_self(np.round(v @ v.T, 4)), k),
        "each row by its own length",
    ),
    ("1.2", lambda v, k: top_backwards(with_diagonal(v @ v.T, 0), k), "each row by its own length"),
    (
        "1.2",
        lambda v, k: top_backwards(without_self((v / np.linalg.norm(v)) @ v.T), k),
        "each row by its own length",
    ),
    ("1.2", lambda v, k: np.argsort(cosines_of(v), axis=1)[:, :k], "upside down"),
    (
        "1.2",
        lambda v, k: np.argsort(without_self(cosines_of(v)), axis=1)[:, :k],
        "-inf comes first",
    ),
    ("1.2", lambda v, k: np.argsort(without_self(cosines_of(v)), axis=1)[:, -k:], "best first"),
    (
        "1.2",
        lambda v, k: np.argsort(without_self(cosines_of(v)), axis=1)[::-1][:, :k],
        "turns round the rows",
    ),
    ("1.2", lambda v, k: top(without_self(columns_of(v) @ columns_of(v).T), k), "columns divided"),
    (
        "1.2",
        lambda v, k: top(without_self(-((v[:, None] - v) ** 2).sum(2)), k),
        "the angle, the cosine",
    ),
    (
        "1.2",
        lambda v, k: top_backwards(without_self(-((v[:, None] - v) ** 2).sum(2).round(4)), k),
        "the angle, the cosine",
    ),
    (
        "1.2",
        lambda v, k: np.sort(without_self(cosines_of(v)), axis=1)[:, ::-1][:, :k],
        "the cosines themselves",
    ),
    ("1.2", lambda v, k: nearest_by_torch(v, k).T, "transposed"),
    ("1.2", lambda v, k: top(with_diagonal(cosines_of(v), 0), k), "not low enough"),
    ("1.2", lambda v, k: top(with_diagonal(cosines_of(v), -1), k), "not low enough"),
    ("1.2", lambda v, k: top_backwards(with_diagonal(cosines_of(v), 0), k), "not low enough"),
    ("1.2", lambda v, k: np.sort(nearest_by_torch(v, k), axis=1), "in the wrong order"),
    (
        "1.2",
        lambda v, k: np.argsort(-without_self(cosines_of(v)), axis=0)[:, :k],
        "each row, axis=1",
    ),
    ("1.2", lambda v, k: top(without_self(np.abs(cosines_of(v))), k), "absolute values"),
    ("1.2", lambda v, k: nearest_by_torch(v, k) + 1, "counted from 1"),
    ("1.2", lambda v, k: nearest_by_torch(v, k).astype(float), "conversion to fractions"),
    ("1.2", lambda v, k: torch.from_numpy(nearest_by_torch(v, k)), "a torch function on the way"),
    (
        "1.2",
        lambda v, k: np.argpartition(-without_self(cosines_of(v)), k, axis=1)[:, :k],
        "in the wrong order",
    ),
    (
        "1.2",
        lambda v, k: np.argpartition(-without_self(cosines_of(v)), k - 1)[:, :k],
        "in the wrong order",
    ),
    (
        "1.2",
        lambda v, k: np.argpartition(without_self(cosines_of(v)), -k)[:, -k:][:, ::-1],
        "in the wrong order",
    ),
    (
        "1.2",
        lambda v, k: np.argpartition(without_self(cosines_of(v)).T, len(v) - k, axis=0)[-k:].T[
            :, ::-1
        ],
        "in the wrong order",
    ),
    (
        "1.2",
        lambda v, k: (-without_self(cosines_of(v))).argpartition(k, axis=1)[:, :k],
        "in the wrong order",
    ),
    (
        "1.2",
        lambda v, k: without_self(cosines_of(v)).argpartition(-k)[:, -k:][:, ::-1],
        "in the wrong order",
    ),
    ("1.2", lambda v, k: top(without_self(cosines_of(v).round(2)), k), "rounded cosines"),
    ("1.2", lambda v, k: top(without_self(cosines_of(v).round(3)), k), "rounded cosines"),
    (
        "1.2",
        lambda v, k: top(without_self(cosines_of(v).astype(np.float16)), k),
        "too small a type",
    ),
    ("1.2", without_twins, "films with cosine 1 left out"),
    ("1.2", those_below_one, "films with cosine 1 left out"),
    ("1.2", lambda v, k: top(without_self(cosines_of(v)), len(v)), "too many: only the first k"),
    (
        "1.2",
        lambda v, k: top(without_self(cosines_of(v)), len(v) - 1),
        "too many: only the first k",
    ),
    ("1.3", lambda v: cosines_of(v).mean(), "diagonal is counted"),
    ("1.3", lambda v: cosines_of(v).sum() / (len(v) * (len(v) - 1)), "not in the number"),
    ("1.3", lambda v: different(v @ v.T).mean(), "dot products, not cosines"),
    ("1.3", lambda v: (v @ v.T).mean(), "and the diagonal is counted"),
    ("1.3", lambda v: different(cosines_of(v)).sum() / len(v) ** 2, "division by n * n"),
    ("1.3", lambda v: np.triu(cosines_of(v), 1).sum() / len(v) / (len(v) - 1), "half too small"),
    ("1.3", lambda v: np.triu(cosines_of(v), 1).mean(), "divided by n * n"),
    ("1.3", lambda v: cosines_of(v)[np.triu_indices(len(v))].mean(), "needs k=1"),
    ("1.3", lambda v: different(columns_of(v) @ columns_of(v).T).mean(), "columns divided"),
    ("1.3", lambda v: different(cosines_of(v)).sum(), "a sum"),
    ("1.3", lambda v: different(cosines_of(v)), "should be one number"),
    ("1.3", lambda v: (cosines_of(v).sum(1) - 1) / (len(v) - 1), "a mean over one axis"),
    (
        "1.3",
        lambda v: cosines_of(v)[cosines_of(v) < 0.9999].mean(),
        "two equal rows are a pair too",
    ),
    (
        "1.3",
        lambda v: (lambda upper: upper[upper != 0].mean())(np.triu(cosines_of(v), 1)),
        "cosine 0 left out",
    ),
    (
        "1.3",
        lambda v: different(cosines_of(v)).sum() / (len(v) * (len(v) - 1) / 2),
        "twice too large",
    ),
    ("1.3", lambda v: different(cosines_of(v)).sum() / (len(v) - 1), "division by n - 1"),
    ("1.3", lambda v: np.median(different(cosines_of(v))), "the median"),
    ("1.4", careless_columns, "for every column"),
    (
        "1.4",
        lambda x: centre(x) / np.linalg.norm(centre(x), axis=1, keepdims=True),
        "its own length",
    ),
    ("1.4", lambda x: centre(x), "not scaled"),
    ("1.4", lambda x: x / x.std(), "not centred"),
    ("1.4", lambda x: x / centre(x).std(), "not centred"),
    ("1.4", lambda x: (x - x.mean()) / x.std(), "one mean for the whole table"),
    (
        "1.4",
        lambda x: (lambda r: r / (r.std() + 1e-12))(x - x.mean(axis=1, keepdims=True)),
        "mean of every row",
    ),
    ("1.4", mean_of_the_table, "the two axes swapped"),
    ("1.4", lambda x: centre(x) / x.std(), "before centring"),
    (
        "1.4",
        lambda x: centre(x) / np.sqrt(np.mean(x**2)),
        "mean square of the table before centring",
    ),
    ("1.4", lambda x: centre(x) / centre(x).var(), "variance"),
    ("1.4", lambda x: centre(x) / np.linalg.norm(centre(x)), "length of the whole table"),
    ("1.4", lambda x: centre(x) / x.std(axis=0).mean(), "mean of the columns' deviations"),
    ("1.4", lambda x: x / np.sqrt(np.mean(x**2)), "not centred"),
    ("1.4", in_place, "changed `x` in place"),
]

HALF_RIGHT = {
    "masked-mean": """
def my_masked_mean(states, mask):
    return states.mean(dim=1)
""",
    "mean-cosine": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
