"""Answers to lesson 03: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import numpy as np
import torch
import torch.nn.functional as F

NAMES = {"np": np, "torch": torch, "F": F}
"""What the notebook has imported by the time it reaches its exercises."""

# 3.1 one round of LightGCN


def propagate_as_one_graph(interactions, users, items):
    n_users, n_items = interactions.shape
    adjacency = torch.zeros(n_users + n_items, n_users + n_items)
    adjacency[:n_users, n_users:] = interactions
    adjacency[n_users:, :n_users] = interactions.T
    scale = adjacency.sum(1).clamp(min=1) ** -0.5
    return (scale[:, None] * adjacency * scale @ torch.cat([users, items])).split(
        [n_users, n_items]
    )


def propagate_by_loop(interactions, users, items):
    n_u, n_i = interactions.sum(1), interactions.sum(0)
    new_users, new_items = torch.zeros_like(users), torch.zeros_like(items)
    for u, i in interactions.nonzero().tolist():
        new_users[u] += items[i] / (n_u[u] * n_i[i]).sqrt()
        new_items[i] += users[u] / (n_u[u] * n_i[i]).sqrt()
    return new_users, new_items


def propagate_with_nan_to_num(interactions, users, items):
    degrees = interactions.sum(1, keepdim=True) * interactions.sum(0, keepdim=True)
    weights = torch.nan_to_num(interactions / degrees.sqrt())
    return weights @ items, weights.T @ users


def propagate_with(weight, floor=1):
    """One round with another weight of an edge. weight: (edges, degrees of the receivers, of the
    senders).
    """

    def answer(interactions, users, items):
        sides = [(interactions, items), (interactions.T, users)]
        out = []
        for edges, others in sides:
            mine, theirs = (
                edges.sum(1, keepdim=True).clamp(min=floor),
                edges.sum(0, keepdim=True).clamp(min=floor),
            )
            out.append(weight(edges, mine, theirs) @ others)
        return tuple(out)

    return answer


def propagate_one_after_the_other(interactions, users, items):
    n_u, n_i = (
        interactions.sum(1, keepdim=True).clamp(min=1),
        interactions.sum(0, keepdim=True).clamp(min=1),
    )
    weights = interactions / (n_u * n_i).sqrt()
    users = weights @ items
    return users, weights.T @ users


def symmetric(edges, mine, theirs):
    return edges / (mine * theirs).sqrt()


def propagate_through_pairs_without_an_edge(interactions, users, items):
    weights = 1 / (interactions * interactions.sum(1, keepdim=True) * interactions.sum(0)).sqrt()
    return weights @ items, weights.T @ users


def propagate_and_keep_the_lonely(interactions, users, items):
    new_users, new_items = propagate_by_loop(interactions, users, items)
    some_users, some_items = (interactions.any(dim=dim)[:, None] for dim in (1, 0))
    return new_users.where(some_users, users), new_items.where(some_items, items)


# 3.2 next-item pairs


def pairs_by_loop(history, held_out, window):
    train = history.tolist()[: len(history) - 2 * held_out]
    pairs = list(zip(train, train[1:], strict=False))[-window:]
    inputs, labels = [a for a, _ in pairs], [b for _, b in pairs]
    return torch.tensor(inputs, dtype=torch.int64), torch.tensor(labels, dtype=torch.int64)


def pairs_by_index(history, held_out, window):
    last = len(history) - 2 * held_out - 1
    places = torch.arange(max(0, last - window), last)
    return history[places], history[places + 1]


def pairs_with_zeros_before(history, held_out, window):
    return tuple(
        F.pad(items, (window - len(items), 0)) for items in pairs_by_loop(history, held_out, window)
    )


def pairs_in_a_loop_over_the_window(history, held_out, window):
    last = len(history) - 2 * held_out - 1
    places = range(last - window, last)
    return torch.stack([history[i] for i in places]), torch.stack([history[i + 1] for i in places])


def pairs_with(inputs, labels=lambda train, history, window: train[1:][-window:], cut=2):
    """Pairs with one of their parts replaced. cut: how many times held_out is taken away."""

    def answer(history, held_out, window):
        train = history[: len(history) - cut * held_out]
        return inputs(train, history, window), labels(train, history, window)

    return answer


def pairs_of_the_window_first(length):
    """The window is cut out of the whole history, and then the held-out items are taken away."""

    def answer(history, held_out, window):
        train = history[-length(window) :][: -2 * held_out]
        return train[:-1], train[1:]

    return answer


def pairs_without_one_more(history, held_out, window):
    train = history[: len(history) - 2 * held_out - 1]
    return train[:-1][-window:], train[1:][-window:]


def pairs_for_histories_longer_than_the_window(history, held_out, window):
    train = history[: -2 * held_out]
    if len(train) < window:
        return train[:-1], train[1:]
    return train[-window - 1 : -1], train[-window:]


def pairs_by_id(history, held_out, window):
    train = history[~torch.isin(history, history[-2 * held_out :])]
    return train[:-1][-window:], train[1:][-window:]


def labels_by_id(train, history, window):
    items = history.tolist()
    inputs = right_inputs(train, history, window).tolist()
    return torch.tensor([items[items.index(item) + 1] for item in inputs], dtype=torch.int64)


def right_inputs(train, history, window):
    return train[:-1][-window:]


# 3.3 overlap


def overlap_by_sets(first, second):
    return np.array(
        [
            len(set(a) & set(b)) / len(a)
            for a, b in zip(first.tolist(), second.tolist(), strict=True)
        ]
    )


def overlap_by_isin(first, second):
    return np.array([np.isin(a, b).mean() for a, b in zip(first, second, strict=True)])


def overlap_by_counting(first, second):
    return (
        2 - np.array([len(np.unique(row)) for row in np.hstack([first, second])]) / first.shape[1]
    )


def in_both(first, second):
    return first[:, :, None] == second[:, None, :]


def overlap_of_sorted_rows(first, second):
    first.sort(axis=1)
    second.sort(axis=1)
    return in_both(first, second).any(axis=2).mean(axis=1)


def overlap_by_one_hot(which):
    """Every row as a row of 0 and 1 with a column per id; which: the lists that say how many ids
    there are.
    """

    def answer(first, second):
        size = which(first, second).max() + 1
        one, other = (np.eye(size)[ids].sum(axis=1) for ids in (first, second))
        return (one * other).sum(axis=1) / first.shape[1]

    return answer


# 3.4 the loss L_CF


def cf_by_log_softmax(quantised, collaborative):
    return -(quantised @ collaborative.T).log_softmax(1).diagonal().mean()


def cf_by_hand(quantised, collaborative):
    logits = quantised @ collaborative.T
    return (logits.logsumexp(dim=1) - (quantised * collaborative).sum(dim=1)).mean()


def cf_by_formula(quantised, collaborative):
    powers = (quantised @ collaborative.T).exp()
    return -(powers.diagonal() / powers.sum(dim=1)).log().mean()


def cf_divided_in_place(quantised, collaborative):
    shares = (quantised @ collaborative.T).exp()
    shares /= shares.sum(dim=1, keepdim=True)
    return -shares.diagonal().log().mean()


def cf_that_steps_back(quantised, collaborative):
    loss = cf_by_hand(quantised, collaborative)
    loss.backward(retain_graph=True)
    return loss


def cf_with(logits, target=lambda n: torch.arange(n), **options):
    return lambda z, h: F.cross_entropy(logits(z, h), target(len(z)), **options)


def dots(z, h):
    return z @ h.T


def others_alone(z, h):
    own = torch.eye(len(z), dtype=torch.bool)
    return (dots(z, h).masked_fill(own, -torch.inf).logsumexp(1) - dots(z, h).diag()).mean()


RIGHT = {
    "3.1": [
        propagate_as_one_graph,
        propagate_by_loop,
        propagate_with_nan_to_num,
        propagate_with(symmetric),
        lambda a, p, q: [one.double() for one in propagate_by_loop(a, p, q)],
    ],
    "3.2": [
        pairs_by_loop,
        pairs_by_index,
        lambda h, n, w: (h[:-n][:-n][-w - 1 : -1], h[:-n][:-n][1:][-w:]),
    ],
    "3.3": [
        overlap_by_sets,
        overlap_by_isin,
        overlap_by_counting,
        overlap_by_one_hot(lambda a, b: np.concatenate([a, b])),
        lambda a, b: in_both(a, b).any(1).mean(1),
    ],
    "3.4": [
        cf_by_log_softmax,
        cf_by_hand,
        cf_by_formula,
        cf_with(lambda z, h: torch.einsum("id,jd->ij", z, h)),
        cf_with(dots, target=torch.eye),
    ],
}

WRONG = [
    ("3.1", propagate_with(lambda edges, mine, theirs: edges), "plain sum"),
    ("3.1", propagate_with(lambda edges, mine, theirs: edges / mine), "mean over neighbours"),
    ("3.1", propagate_with(lambda edges, mine, theirs: edges / theirs), "without a square root"),
    (
        "3.1",
        propagate_with(lambda edges, mine, theirs: edges / (mine * theirs)),
        "square roots are missing",
    ),
    (
        "3.1",
        propagate_with(lambda edges, mine, theirs: edges / mine.sqrt()),
        "only the receiver's degree",
    ),
    (
        "3.1",
        propagate_with(lambda edges, mine, theirs: edges / theirs.sqrt()),
        "only the neighbours' degrees",
    ),
    ("3.1", propagate_with(symmetric, floor=0), "division by zero"),
    (
        "3.1",
        lambda a, p, q: [one.half() for one in propagate_by_loop(a, p, q)],
        "a conversion such as",
    ),
    ("3.1", propagate_through_pairs_without_an_edge, "a pair without an edge"),
    ("3.1", lambda a, p, q: (p, propagate_by_loop(a, p, q)[1]), "handed back as it came"),
    ("3.1", lambda a, p, q: (propagate_by_loop(a, p, q)[0], q), "handed back as it came"),
    (
        "3.1",
        lambda a, p, q: tuple(
            x + y for x, y in zip(propagate_by_loop(a, p, q), (p, q), strict=True)
        ),
        "is added",
    ),
    ("3.1", propagate_one_after_the_other, "new vectors are heard"),
    ("3.1", lambda a, p, q: torch.cat(propagate_by_loop(a, p, q)), "return two things"),
    ("3.1", lambda a, p, q: propagate_by_loop(a, p, q)[::-1], "other order"),
    (
        "3.1",
        propagate_with(lambda edges, mine, theirs: edges / (mine + theirs).sqrt()),
        "Multiply them",
    ),
    ("3.1", propagate_and_keep_the_lonely, "keeps the old vector"),
    (
        "3.1",
        lambda a, p, q: tuple(
            (x + y) / 2 for x, y in zip(propagate_by_loop(a, p, q), (p, q), strict=True)
        ),
        "mean with the old vector",
    ),
    ("3.2", pairs_with(right_inputs, cut=0), "held-out items"),
    ("3.2", pairs_with(right_inputs, cut=1), "Take away 2 * held_out"),
    ("3.2", pairs_with(lambda t, h, w: t[-w:]), "has no label"),
    ("3.2", pairs_with(lambda t, h, w: t[:-1][:w]), "oldest items"),
    ("3.2", pairs_with(lambda t, h, w: t[1:][-w:], right_inputs), "other order"),
    ("3.2", pairs_with(lambda t, h, w: t[:-1]), "no window"),
    ("3.2", pairs_with(lambda t, h, w: t[:-1][-w:].flip(0)), "newest first"),
    ("3.2", lambda h, n, w: (h[2 * n : -1][-w:], h[2 * n + 1 :][-w:]), "held-out items"),
    ("3.2", pairs_with(right_inputs, right_inputs), "no shift"),
    ("3.2", pairs_with(right_inputs, lambda t, h, w: t[-w:]), "nothing before it"),
    ("3.2", pairs_with(right_inputs, lambda t, h, w: t[-1:]), "last label alone"),
    ("3.2", pairs_with(right_inputs, lambda t, h, w: t[-1]), "last label alone"),
    ("3.2", pairs_with(right_inputs, lambda t, h, w: t[1:]), "no window"),
    (
        "3.2",
        lambda h, n, w: (pairs_by_loop(h, n, w)[0], h[:-n][1:][-w:]),
        "validation items among the labels",
    ),
    (
        "3.2",
        lambda h, n, w: (pairs_by_loop(h, n, w)[0], h[1:][-w:]),
        "held-out items among the labels",
    ),
    (
        "3.2",
        pairs_of_the_window_first(lambda window: window),
        "the window cut before the held-out items were",
    ),
    (
        "3.2",
        pairs_of_the_window_first(lambda window: window + 1),
        "the window cut before the held-out items were",
    ),
    ("3.2", pairs_without_one_more, "2 * held_out + 1 items taken away"),
    ("3.2", pairs_for_histories_longer_than_the_window, "has nothing before it"),
    ("3.2", pairs_by_id, "taken out by their id"),
    ("3.2", pairs_with(right_inputs, labels_by_id), "labels looked up by id"),
    (
        "3.2",
        pairs_with(lambda t, h, w: t[1:-1][-w:], lambda t, h, w: t[2:][-w:]),
        "the first training item left out",
    ),
    ("3.2", pairs_with_zeros_before, "padding"),
    (
        "3.2",
        lambda h, n, w: tuple(torch.tensor(x.tolist()) for x in pairs_by_loop(h, n, w)),
        "an empty list",
    ),
    ("3.2", pairs_in_a_loop_over_the_window, "counts from the end"),
    ("3.2", lambda h, n, w: pairs_by_loop(h, n, w)[0], "return two things"),
    (
        "3.2",
        lambda h, n, w: tuple(x.tolist() for x in pairs_by_loop(h, n, w)),
        "should be a tensor",
    ),
    ("3.3", lambda a, b: (a == b).mean(axis=1), "order counts"),
    (
        "3.3",
        lambda a, b: np.array(
            [len(set(x) & set(y)) / len(set(x) | set(y)) for x, y in zip(a, b, strict=True)]
        ),
        "union",
    ),
    ("3.3", lambda a, b: overlap_by_sets(a, b) * a.shape[1], "a count"),
    ("3.3", lambda a, b: overlap_by_sets(a, b) * a.shape[1] / len(a), "number of items"),
    ("3.3", lambda a, b: overlap_by_sets(a, b).mean(), "one share for every row"),
    ("3.3", lambda a, b: np.isin(a, b).mean(axis=1), "whole tables"),
    ("3.3", lambda a, b: 1 - overlap_by_sets(a, b), "that differ"),
    ("3.3", lambda a, b: overlap_by_sets(a, b)[0], "inside the loop"),
    ("3.3", lambda a, b: in_both(a, b).any(axis=(1, 2)), "any common neighbour"),
    ("3.3", lambda a, b: in_both(a, b).any(axis=2), "now take their mean"),
    ("3.3", lambda a, b: in_both(a, b).mean(axis=(1, 2)), "all pairs of neighbours"),
    ("3.3", lambda a, b: in_both(a, b).sum(axis=(1, 2)) // a.shape[1], "cuts fractions off"),
    (
        "3.3",
        lambda a, b: np.array(
            [float(set(x) == set(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
        ),
        "whole sets compared",
    ),
    ("3.3", overlap_by_one_hot(lambda a, b: a), "stopped with IndexError"),
    ("3.3", overlap_by_one_hot(lambda a, b: b), "stopped with IndexError"),
    ("3.3", lambda a, b: overlap_by_sets(a, b) / 2, "both lists in the denominator"),
    ("3.3", lambda a, b: 100 * overlap_by_sets(a, b), "percentage"),
    ("3.3", lambda a, b: overlap_by_sets(a, b) * a.shape[1] / 10, "a division by 10"),
    ("3.3", lambda a, b: (np.sort(a) == np.sort(b)).mean(axis=1), "place by place"),
    ("3.3", lambda a, b: overlap_by_sets(a, b).tolist(), "should be an array"),
    ("3.3", overlap_of_sorted_rows, "Your function changed `first` in place"),
    ("3.3", overlap_of_sorted_rows, "`x[...] = ...`, `-=` or `.sort()` on `first`"),
    ("3.4", cf_that_steps_back, "`backward` was called inside"),
    ("3.4", cf_divided_in_place, "its gradient cannot be computed"),
    ("3.4", cf_divided_in_place, "an operation in place"),
    ("3.4", cf_with(lambda z, h: dots(z, h).T), "transposed"),
    ("3.4", lambda z, h: (cf_by_hand(z, h) + cf_by_hand(h, z)) / 2, "both directions"),
    ("3.4", cf_with(dots, reduction="sum"), "sum over the batch"),
    (
        "3.4",
        lambda z, h: -(dots(z, h).softmax(1).diag() + 1e-8).log().mean(),
        "a small number inside",
    ),
    ("3.4", cf_with(lambda z, h: F.normalize(z, dim=1) @ F.normalize(h, dim=1).T), "cosines"),
    ("3.4", cf_with(lambda z, h: dots(z, h) / 0.07), "temperature"),
    ("3.4", cf_with(lambda z, h: dots(z, h) / z.shape[1] ** 0.5), "temperature"),
    ("3.4", cf_with(dots, target=lambda n: torch.zeros(n, dtype=torch.int64)), "target 0"),
    ("3.4", lambda z, h: -(z * h).sum(1).mean(), "nothing pushes"),
    ("3.4", others_alone, "own h is left out"),
    ("3.4", lambda z, h: -dots(z, h).log_softmax(1).mean(), "target is missing"),
    ("3.4", lambda z, h: dots(z, h).logsumexp(1).mean(), "target is missing"),
    ("3.4", lambda z, h: dots(z, h).softmax(1).diag().mean(), "minus its logarithm"),
    ("3.4", lambda z, h: -cf_by_hand(z, h), "minus sign"),
    ("3.4", F.mse_loss, "without the others"),
    ("3.4", lambda z, h: cf_by_hand(z, h) + cf_by_hand(h, z), "both directions"),
    ("3.4", cf_with(lambda z, h: F.normalize(z, dim=1) @ h.T), "length 1"),
    ("3.4", cf_with(lambda z, h: z @ F.normalize(h, dim=1).T), "length 1"),
    ("3.4", cf_with(lambda z, h: dots(z, h) / 0.2), "temperature"),
    ("3.4", cf_with(lambda z, h: dots(z, h).softmax(1)), "softmax too many"),
    (
        "3.4",
        lambda z, h: F.nll_loss(dots(z, h).softmax(1), torch.arange(len(z))),
        "logarithm is missing",
    ),
    ("3.4", lambda z, h: -dots(z, h).softmax(1).diag().mean().log(), "logarithm of a mean"),
    (
        "3.4",
        lambda z, h: F.binary_cross_entropy_with_logits(dots(z, h), torch.eye(len(z))),
        "yes or no",
    ),
    ("3.4", cf_with(lambda z, h: -dots(z, h)), "wrong sign"),
    ("3.4", cf_with(lambda z, h: dots(z, z)), "`quantised` on both sides"),
    ("3.4", cf_with(lambda z, h: dots(h, h)), "`collaborative` on both sides"),
    ("3.4", cf_with(lambda z, h: -(torch.cdist(z, h) ** 2)), "distances as logits"),
    ("3.4", lambda z, h: cf_by_hand(z.detach(), h), "teaches nothing"),
    (
        "3.4",
        lambda z, h: (dots(z, h).logsumexp(1).detach() - (z * h).sum(1)).mean(),
        "others do not push",
    ),
    ("3.4", lambda z, h: cf_by_hand(z, h).item(), "should be a tensor"),
]

HALF_RIGHT = {
    "cf-loss": """
def my_cf_loss(quantised, collaborative):
    logits = collaborative @ quantised.T
    return F.cross_entropy(logits, torch.arange(len(logits)))
""",
    "next-items": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
