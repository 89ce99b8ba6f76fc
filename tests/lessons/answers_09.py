"""Answers to lesson 09: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import numpy as np
import torch
import torch.nn.functional as F

NAMES = {"np": np, "torch": torch, "F": F}
"""What the notebook has imported by the time it reaches its exercises."""

# 9.1 BPR


def bpr_by_loop(user, liked, other):
    total = 0
    for u, i, j in zip(user, liked, other, strict=True):
        total = total - F.logsigmoid(u @ i - u @ j)
    return total / len(user)


def lead_of(user, liked, other):
    return (user * (liked - other)).sum(1)


def bpr_with(of_lead):
    return lambda user, liked, other: of_lead(lead_of(user, liked, other))


def bpr_with_small(small):
    return bpr_with(lambda lead: -torch.log(torch.sigmoid(lead) + small).mean())


def one_added_in_place(user, liked, other):
    lead = lead_of(user, liked, other)
    small = torch.exp(-lead.abs())
    small += 1
    return (small.log() - lead.clamp(max=0)).mean()


def bias_apart(user, liked, other):
    """The 1 at the end of a user's vector is taken as said."""
    difference = liked - other
    return -F.logsigmoid((user[:, :-1] * difference[:, :-1]).sum(1) + difference[:, -1]).mean()


def bias_left_out(user, liked, other):
    return -F.logsigmoid(lead_of(user[:, :-1], liked[:, :-1], other[:, :-1])).mean()


def bias_twice(user, liked, other):
    return -F.logsigmoid(lead_of(user, liked, other) + (liked - other)[:, -1]).mean()


def as_two_losses(user, liked, other):
    return (F.softplus(-(user * liked).sum(1)) + F.softplus((user * other).sum(1))).mean()


def each_score_by_itself(user, liked, other):
    return (-F.logsigmoid((user * liked).sum(1)) + F.logsigmoid((user * other).sum(1))).mean()


# 9.2 masking


def masking_by_loop(histories, draws, share, mask):
    inputs, labels = histories.clone(), torch.full_like(histories, -100)
    for row in range(len(histories)):
        places = [
            p
            for p in range(histories.shape[1])
            if histories[row, p] != -1 and draws[row, p] < share
        ]
        for place in places or [histories.shape[1] - 1]:
            labels[row, place] = histories[row, place]
            inputs[row, place] = mask
    return inputs, labels


def masking_by_lists(below=lambda draw, share: draw < share):
    def answer(histories, draws, share, mask):
        inputs, labels = [], []
        for films, row in zip(histories.tolist(), draws.tolist(), strict=True):
            hidden = [
                film != -1 and below(draw, share) for film, draw in zip(films, row, strict=True)
            ]
            hidden[-1] = hidden[-1] or not any(hidden)
            inputs.append(
                [mask if hide else film for film, hide in zip(films, hidden, strict=True)]
            )
            labels.append(
                [film if hide else -100 for film, hide in zip(films, hidden, strict=True)]
            )
        return torch.tensor(inputs), torch.tensor(labels)

    return answer


def masking_by_numpy(histories, draws, share, mask):
    films, hidden = histories.numpy(), (draws.numpy() < share) & (histories.numpy() >= 0)
    hidden[~hidden.any(axis=1), -1] = True
    return torch.from_numpy(np.where(hidden, mask, films)), torch.from_numpy(
        np.where(hidden, films, -100)
    )


def masking_with_fill(histories, draws, share, mask):
    hidden = draws.lt(share).logical_and(histories.ge(0))
    hidden[:, -1] |= ~hidden.any(1)
    return histories.masked_fill(hidden, mask), histories.masked_fill(~hidden, -100)


def masking_with(hide=None, inputs=None, labels=None):
    def answer(histories, draws, share, mask):
        hidden = (draws < share) & (histories != -1)
        hidden = hide(hidden, histories, draws, share) if hide else busy(hidden)
        read = inputs(hidden, histories, mask) if inputs else torch.where(hidden, mask, histories)
        asked = labels(hidden, histories, mask) if labels else torch.where(hidden, histories, -100)
        return read, asked

    return answer


def busy(hidden):
    hidden = hidden.clone()
    hidden[~hidden.any(1), -1] = True
    return hidden


def last_in_every_row(hidden, histories, draws, share):
    hidden[:, -1] = True
    return hidden


def first_where_empty(hidden, histories, draws, share):
    for row in range(len(hidden)):
        if not hidden[row].any():
            hidden[row, (histories[row] != -1).nonzero()[0]] = True
    return hidden


def column_0_where_empty(hidden, histories, draws, share):
    hidden[~hidden.any(1), 0] = True
    return hidden


def row_where_empty(hidden, histories, draws, share):
    hidden[~hidden.any(1)] = True
    return hidden


def all_where_empty(hidden, histories, draws, share):
    hidden[~hidden.any(1)] = True
    return hidden & (histories != -1)


def last_of_a_copy(hidden, histories, draws, share):
    hidden[~hidden.any(dim=1)][:, -1] = True
    return hidden


def last_where_all_are_empty(hidden, histories, draws, share):
    hidden[~hidden.any(), -1] = True
    return hidden


def masks_in_place(histories, draws, share, mask):
    hidden = busy((draws < share) & (histories != -1))
    labels = torch.where(hidden, histories, -100)
    histories[hidden] = mask
    return histories, labels


# 9.3 grounding


def grounding_by_loop(written, catalogue, k):
    rows = []
    for one in written.tolist():
        squared = [
            sum((x - y) ** 2 for x, y in zip(one, item, strict=True)) for item in catalogue.tolist()
        ]
        keys = [(value, item) for item, value in enumerate(squared)]
        rows.append([i for _, i in sorted(keys)[:k]])
    return torch.tensor(rows)


def grounding_with_cdist(written, catalogue, k):
    distance = torch.cdist(written, catalogue, compute_mode="donot_use_mm_for_euclid_dist")
    return torch.argsort(distance, dim=1, stable=True)[:, :k]


def grounding_with(score, keep=None):
    def answer(written, catalogue, k):
        order = score(written, catalogue).sort(dim=1, stable=True).indices
        return keep(order, k) if keep else order[:, :k]

    return answer


def squares(written, catalogue):
    return (written[:, None] - catalogue).square().sum(2)


def each_pair_by_itself(written, catalogue):
    return torch.stack(
        [torch.stack([F.pairwise_distance(one, item) for item in catalogue]) for one in written]
    )


def higher_id_first(written, catalogue, k):
    return (
        len(catalogue)
        - 1
        - squares(written, catalogue).flip(1).sort(dim=1, stable=True).indices[:, :k]
    )


# 9.4 a paired comparison


def paired_by_loop(a, b, users, draws):
    cases = {user: np.flatnonzero(users == user) for user in np.unique(users)}
    means = []
    for row in draws:
        rows = np.concatenate([cases[user] for user in row])
        means.append((a[rows] - b[rows]).mean())
    return (
        float(np.mean(a) - np.mean(b)),
        float(np.percentile(means, 2.5)),
        float(np.percentile(means, 97.5)),
    )


def paired_by_weights(a, b, users, draws):
    n_users = users.max() + 1
    times = np.stack([np.bincount(row, minlength=n_users) for row in draws])[:, users]
    means = (times * (a - b)).sum(1) / times.sum(1)
    return [np.mean(a - b), *np.quantile(means, (0.025, 0.975))]


def paired_with(
    means=None,
    mean=None,
    limits=lambda means: np.quantile(means, [0.025, 0.975]),
    values=np.subtract,
):
    def answer(a, b, users, draws):
        d = values(a, b)
        sums, counts = np.bincount(users, weights=d), np.bincount(users)
        found = (
            means(d, sums, counts, draws) if means else sums[draws].sum(1) / counts[draws].sum(1)
        )
        return (mean(d, sums, counts, found) if mean else d.mean(), *limits(found))

    return answer


def each_user_once(d, sums, counts, draws):
    return np.array(
        [sums[list({*row})].sum() / counts[list({*row})].sum() for row in draws.tolist()]
    )


def unpaired(a, b, users, draws):
    (_, low_a, high_a), (_, low_b, high_b) = (
        paired_by_loop(one, 0 * one, users, draws) for one in (a, b)
    )
    return (a - b).mean(), low_a - high_b, high_a - low_b


def end_by_end(a, b, users, draws):
    (_, low_a, high_a), (_, low_b, high_b) = (
        paired_by_loop(one, 0 * one, users, draws) for one in (a, b)
    )
    return (a - b).mean(), low_a - low_b, high_a - high_b


def by_standard_deviation(a, b, users, draws):
    """With the divisor n - 1, as pandas and many textbooks have it."""
    sums, counts = np.bincount(users, weights=a - b), np.bincount(users)
    half = 1.96 * (sums[draws].sum(1) / counts[draws].sum(1)).std(ddof=1)
    return (a - b).mean(), (a - b).mean() - half, (a - b).mean() + half


RIGHT = {
    "9.1": [
        bpr_by_loop,
        bias_apart,
        bpr_with(lambda lead: F.softplus(-lead).mean()),
        bpr_with(lambda lead: -lead.double().sigmoid().log().mean()),
        bpr_with(lambda lead: (F.relu(-lead) + torch.log1p(torch.exp(-lead.abs()))).mean()),
    ],
    "9.2": [masking_by_loop, masking_with_fill, masking_by_lists(), masking_by_numpy],
    "9.3": [grounding_by_loop, grounding_with_cdist, grounding_with(squares)],
    "9.4": [paired_by_loop, paired_by_weights, lambda *case: np.array(paired_by_loop(*case))],
}

WRONG = [
    ("9.1", bpr_with(lambda lead: -torch.sigmoid(lead).log().mean()), "rounded to 0"),
    ("9.1", bpr_with(lambda lead: torch.log(1 + torch.exp(-lead)).mean()), "an `exp` too large"),
    ("9.1", bpr_with(lambda lead: (lead > 0).all()), "should be float32 and is bool"),
    ("9.1", bpr_with_small(1e-12), "a small number inside"),
    (
        "9.1",
        lambda u, i, j: -F.logsigmoid((u * i).sum(1) - (u * j).sum(1).detach()).mean(),
        "the gradient of `user`",
    ),
    (
        "9.1",
        lambda u, i, j: -F.logsigmoid(lead_of(u.detach(), i, j)).mean(),
        "the gradient of `user`",
    ),
    (
        "9.1",
        lambda u, i, j: -F.logsigmoid(lead_of(u, i, j.detach())).mean(),
        "the gradient of `other`",
    ),
    ("9.1", bpr_with_small(1e-10), "a small number inside"),
    ("9.1", bpr_with_small(1e-7), "a small number inside"),
    ("9.1", bpr_with_small(1e-6), "a small number inside"),
    ("9.1", bpr_with_small(1e-20), "a small number inside"),
    ("9.1", bpr_with_small(1e-9), "a small number inside"),
    ("9.1", bpr_with_small(torch.finfo(torch.float32).eps), "a small number inside"),
    ("9.1", bpr_with_small(1e-5), "a small number inside"),
    (
        "9.1",
        bpr_with(lambda lead: -torch.sigmoid(lead).clamp(min=1e-15).log().mean()),
        "a small number inside",
    ),
    (
        "9.1",
        bpr_with(lambda lead: -torch.sigmoid(lead).clamp(min=1e-8).log().mean()),
        "a small number inside",
    ),
    ("9.1", lambda u, i, j: F.softplus(-(u * (i - j)).mean(1)).mean(), "the mean of the products"),
    ("9.1", bpr_with(lambda lead: F.softplus(-lead).sum()), "a sum"),
    ("9.1", bpr_with(lambda lead: F.softplus(lead).mean()), "other way round"),
    ("9.1", bpr_with(lambda lead: F.logsigmoid(lead).mean()), "the sign"),
    ("9.1", bpr_with(lambda lead: F.softplus(-lead)), "one loss per row"),
    ("9.1", bpr_with(lambda lead: -torch.sigmoid(lead).mean()), "minus its *logarithm*"),
    ("9.1", bpr_with(lambda lead: (1 - torch.sigmoid(lead)).mean()), "one minus the probability"),
    ("9.1", bpr_with(lambda lead: F.softplus(-lead.mean())), "the mean of the leads"),
    ("9.1", bpr_with(lambda lead: F.relu(-lead).mean()), "a hinge"),
    ("9.1", as_two_losses, "binary cross-entropy"),
    ("9.1", lambda u, i, j: F.softplus(-(u * i - u * j)).mean(), "every coordinate"),
    ("9.1", lambda u, i, j: F.softplus(-(u @ i.T - u @ j.T)).mean(), "every user with every film"),
    ("9.1", bpr_with(lambda lead: F.softplus(-lead).mean().detach()), "no gradient"),
    ("9.1", bpr_with(lambda lead: F.softplus(-lead).mean().item()), "should be a tensor"),
    ("9.1", bpr_with(lambda lead: F.softplus(-lead.double()).sum()), "a sum"),
    ("9.1", bias_left_out, "b is left out"),
    ("9.1", bias_twice, "b is added twice"),
    (
        "9.1",
        bpr_with(lambda lead: -torch.where(lead < -50, lead, torch.sigmoid(lead).log()).mean()),
        "both branches",
    ),
    (
        "9.1",
        bpr_with(lambda lead: F.binary_cross_entropy(torch.sigmoid(lead), torch.ones(len(lead)))),
        "`binary_cross_entropy`",
    ),
    ("9.1", one_added_in_place, "an operation in place"),
    *(
        (
            "9.1",
            bpr_with(lambda lead, most=most: -F.logsigmoid(lead.clamp(-most, most)).mean()),
            "cut off by `clamp`",
        )
        for most in (5, 10, 20, 50)
    ),
    (
        "9.1",
        bpr_with(lambda lead: F.softplus(-lead.clamp(min=-100)).mean()),
        "or a lead is by `clamp`",
    ),
    (
        "9.1",
        bpr_with(lambda lead: -lead.clamp(min=-80).sigmoid().log().mean()),
        "large leads cut off by `clamp`.",
    ),
    (
        "9.1",
        each_score_by_itself,
        "the sigmoid of each score by itself; it belongs around the difference.",
    ),
    ("9.2", masking_with(hide=lambda hidden, *_: hidden), "teaches nothing"),
    (
        "9.2",
        masking_with(hide=lambda hidden, h, draws, share: busy(draws < share)),
        "filling is masked too",
    ),
    (
        "9.2",
        masking_with(hide=lambda hidden, h, draws, share: busy(draws < share) & (h != -1)),
        "came before",
    ),
    (
        "9.2",
        masking_with(hide=lambda hidden, h, draws, share: busy((draws < share) & (h > 0))),
        "film 0 taken for",
    ),
    ("9.2", masking_with(hide=last_of_a_copy), "`hidden[rows][:, -1] = True` changes a copy"),
    (
        "9.2",
        masking_with(hide=last_where_all_are_empty),
        "write `hidden[rows, -1] = True`, with `any(dim=1)`.",
    ),
    ("9.2", masking_with(hide=last_in_every_row), "in every row"),
    ("9.2", masking_with(hide=first_where_empty), "the *first* film"),
    ("9.2", masking_with(hide=all_where_empty), "whole history"),
    ("9.2", masking_with(hide=column_0_where_empty), "the *first* place"),
    ("9.2", masking_with(hide=row_where_empty), "filling and all"),
    (
        "9.2",
        masking_with(hide=lambda hidden, h, draws, share: busy((draws <= share) & (h != -1))),
        "does not mask",
    ),
    ("9.2", masking_by_lists(lambda draw, share: draw <= share), "does not mask"),
    (
        "9.2",
        masking_with(hide=lambda hidden, h, draws, share: busy((draws > share) & (h != -1))),
        "other way round",
    ),
    ("9.2", masking_with(labels=lambda hidden, h, mask: h), "labels everywhere"),
    (
        "9.2",
        masking_with(labels=lambda hidden, h, mask: torch.where(h != -1, h, -100)),
        "labels for every film",
    ),
    (
        "9.2",
        masking_with(labels=lambda hidden, h, mask: torch.where(hidden, -100, h)),
        "none where something is",
    ),
    (
        "9.2",
        masking_with(labels=lambda hidden, h, mask: torch.where(hidden, h, -1)),
        "-1 where nothing is masked",
    ),
    (
        "9.2",
        masking_with(labels=lambda hidden, h, mask: torch.where(hidden, h, 0)),
        "that is film 0",
    ),
    (
        "9.2",
        masking_with(inputs=lambda hidden, h, mask: torch.where(hidden, -1, h)),
        "in the place of the mask item",
    ),
    (
        "9.2",
        masking_with(inputs=lambda hidden, h, mask: torch.where(hidden | (h == -1), mask, h)),
        "became the mask",
    ),
    ("9.2", masking_with(labels=lambda hidden, h, mask: h[hidden]), "the masked films alone"),
    (
        "9.2",
        masking_with(labels=lambda hidden, h, mask: torch.where(hidden | (h == -1), h, -100)),
        "-1 at the filling",
    ),
    ("9.2", masks_in_place, "in place"),
    ("9.2", lambda *case: masking_by_loop(*case)[::-1], "other order"),
    ("9.2", lambda *case: masking_by_loop(*case)[0], "return two things"),
    ("9.3", higher_id_first, "lower id comes first"),
    ("9.3", grounding_with(lambda w, c: -squares(w, c)), "the farthest"),
    ("9.3", grounding_with(lambda w, c: F.pairwise_distance(w[:, None], c)), "adds 1e-6"),
    ("9.3", grounding_with(lambda w, c: torch.nn.PairwiseDistance()(c, w[:, None])), "adds 1e-6"),
    ("9.3", grounding_with(each_pair_by_itself), "adds 1e-6"),
    ("9.3", lambda w, c, k: torch.cdist(w, c).topk(k).indices, "`topk` with `largest=False`"),
    ("9.3", grounding_with(lambda w, c: -(w @ c.T)), "dot products"),
    (
        "9.3",
        grounding_with(lambda w, c: -(F.normalize(w, dim=1) @ F.normalize(c, dim=1).T)),
        "cosines",
    ),
    ("9.3", lambda w, c, k: (w @ c.T).topk(k).indices, "long vectors win"),
    ("9.3", grounding_with(lambda w, c: w @ c.T), "dot products, the least first"),
    ("9.3", grounding_with(lambda w, c: (w[:, None] - c).sum(2)), "without their squares"),
    ("9.3", grounding_with(lambda w, c: (w[:, None] - c).sum(2).square()), "the square of the sum"),
    ("9.3", grounding_with(lambda w, c: (w[:, None] - c).abs().sum(2)), "(L1)"),
    ("9.3", grounding_with(squares, lambda order, k: order[:, 1 : k + 1]), "is left out"),
    ("9.3", grounding_with(squares, lambda order, k: order), "keep the first `k`"),
    (
        "9.3",
        grounding_with(squares, lambda order, k: order[:, :k].sort(dim=1).values),
        "sorted by id",
    ),
    (
        "9.3",
        lambda w, c, k: squares(w, c).sqrt().sort(dim=1).values[:, :k],
        "the distances themselves",
    ),
    (
        "9.3",
        lambda w, c, k: squares(w, c).sort(dim=1)[0][:, :k],
        "`.indices` of the sort are the films.",
    ),
    ("9.3", lambda w, c, k: torch.cdist(w, c).sort(dim=1)[0], "the distances themselves"),
    (
        "9.3",
        lambda w, c, k: squares(w, c).topk(k, largest=False).values,
        "the distances themselves",
    ),
    ("9.3", lambda w, c, k: (-torch.cdist(w, c)).topk(k)[0], "the distances themselves"),
    (
        "9.3",
        lambda w, c, k: c[grounding_by_loop(w, c, k)],
        "the films' vectors; return their numbers",
    ),
    ("9.3", lambda w, c, k: squares(w, c), "the distances themselves"),
    (
        "9.3",
        grounding_with(lambda w, c: (w[:, None] - c).square()),
        "the squares are not added up: `.sum(dim=-1)`.",
    ),
    ("9.3", lambda w, c, k: (w[:, None] - c).square().argsort(), "the squares are not added up"),
    (
        "9.3",
        grounding_with(lambda w, c: squares(w, c)[..., None]),
        "the right values in a table of another shape",
    ),
    ("9.3", lambda w, c, k: grounding_by_loop(w, c, k).numpy(), "should be a tensor"),
    ("9.4", paired_with(values=lambda a, b: b - a), "b - a"),
    ("9.4", paired_with(lambda d, s, n, draws: d[draws].mean(1)), "taken for cases"),
    ("9.4", paired_with(lambda d, s, n, draws: s[draws].sum(1) / len(d)), "number of real cases"),
    (
        "9.4",
        paired_with(lambda d, s, n, draws: (s / n)[draws].mean(1)),
        "resamples average users' means",
    ),
    (
        "9.4",
        paired_with(
            lambda d, s, n, draws: (s / n)[draws].mean(1), lambda d, s, n, found: (s / n).mean()
        ),
        "the mean of users' means",
    ),
    ("9.4", paired_with(each_user_once), "counts once, and should count twice"),
    ("9.4", paired_with(values=lambda a, b: a), "system a alone"),
    ("9.4", paired_with(values=lambda a, b: abs(a - b)), "absolute differences"),
    ("9.4", paired_with(mean=lambda d, s, n, found: found.mean()), "mean of the resamples"),
    ("9.4", paired_with(limits=lambda means: np.quantile(means, [0.05, 0.95])), "interval of 90%"),
    ("9.4", paired_with(limits=lambda means: np.quantile(means, [0.975, 0.025])), "exchanged"),
    ("9.4", paired_with(limits=lambda means: (means.min(), means.max())), "Take quantiles"),
    ("9.4", by_standard_deviation, "1.96 standard deviations"),
    (
        "9.4",
        paired_with(
            limits=lambda means: (
                means.mean() - 1.96 * means.std(),
                means.mean() + 1.96 * means.std(),
            )
        ),
        "1.96 standard deviations",
    ),
    ("9.4", lambda *case: [paired_by_loop(*case)[i] for i in (1, 0, 2)], "The mean comes first"),
    ("9.4", end_by_end, "two separate intervals"),
    (
        "9.4",
        paired_with(limits=lambda means: np.percentile(means, [0.025, 0.975])),
        "counts to 100",
    ),
    ("9.4", unpaired, "two separate intervals"),
    ("9.4", lambda a, b, users, draws: (a - b).mean(), "return three numbers"),
    (
        "9.4",
        paired_with(limits=lambda means: [np.quantile(means, [0.025, 0.975])]),
        "a number and an array",
    ),
    ("9.4", lambda *case: np.array(paired_by_loop(*case))[:2], "return three numbers"),
]

HALF_RIGHT = {
    "bpr": """
def my_bpr(user, liked, other):
    return -torch.sigmoid((user * (liked - other)).sum(dim=1)).mean()
""",
    "paired": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
