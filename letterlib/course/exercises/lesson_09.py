"""Lesson 09: HGN, a paired comparison, seen and unseen cases, a model mixed with counts."""

from collections.abc import Callable, Sequence
from functools import wraps

import numpy as np
import torch
from torch import Generator, Tensor, nn

from letterlib.course.comparing import Case
from letterlib.course.exercise import Exercise

# 9.1 HGN: net, users [n, d], items [n, W, d], real [n, W] -> [n, d]


class Gates(nn.Module):
    """The layers of HGN's two gates, for vectors of d numbers and windows of W items."""

    def __init__(self, d: int, window: int):
        super().__init__()
        self.feature_of_item = nn.Linear(d, d)
        self.feature_of_user = nn.Linear(d, d, bias=False)
        self.place_of_item = nn.Linear(d, 1, bias=False)
        self.place_of_user = nn.Linear(d, window, bias=False)


def hgn_cases(generator: Generator) -> list[Case]:
    """One user with two films; three with short histories; many. Filling has vectors of zeros."""
    cases = []
    for n, window, d in ((1, 3, 2), (3, 4, 2), (30, 5, 6)):
        net = Gates(d, window)
        for weight in net.parameters():
            weight.data = torch.round(torch.randn(weight.shape, generator=generator), decimals=1)
        users, items = (
            torch.round(torch.randn(shape, generator=generator), decimals=1)
            for shape in ((n, d), (n, window, d))
        )
        sizes = torch.randint(1, window + 1, (n,), generator=generator)
        sizes[0], sizes[-1] = 2, window - 1
        real = torch.arange(window) >= window - sizes[:, None]
        items = items * real[..., None]
        cases.append(
            {"net": net, "users": users.requires_grad_(), "items": items.requires_grad_()}
            | {"real": real}
        )
    return cases


def features_of(net: nn.Module, users: Tensor, items: Tensor) -> Tensor:
    return torch.sigmoid(net.feature_of_item(items) + net.feature_of_user(users)[:, None])


def places_of(net: nn.Module, users: Tensor, gated: Tensor) -> Tensor:
    return torch.sigmoid(net.place_of_item(gated)[..., 0] + net.place_of_user(users))


def mean_by(weights: Tensor, gated: Tensor, real: Tensor) -> Tensor:
    weights = weights * real
    return (weights[..., None] * gated).sum(dim=1) / weights.sum(dim=1, keepdim=True)


def gating(
    features: Callable = features_of,
    read: Callable = lambda gated, items: gated,
    places: Callable = places_of,
    averaged: Callable = lambda gated, items: gated,
    mean: Callable = mean_by,
    total: Callable = lambda users, mean, items, gated: users + mean + items.sum(dim=1),
) -> Callable:
    """HGN, one of whose steps may be replaced."""

    def answer(net, users, items, real):
        gated = items * features(net, users, items)
        weights = places(net, users, read(gated, items))
        found = mean(weights, averaged(gated, items), real)
        return total(users, found, items, gated)

    return answer


def hgn(net, users, items, real):
    return gating()(net, users, items, real)


def hgn_by_loop(net, users, items, real):
    states = []
    for user, films, there in zip(users, items, real):
        pushed, user_at = net.feature_of_user(user), net.place_of_user(user)
        above, below = 0, 0
        for place in range(len(films)):
            gated = films[place] * (net.feature_of_item(films[place]) + pushed).sigmoid()
            weight = (net.place_of_item(gated)[0] + user_at[place]).sigmoid()
            if there[place]:
                above, below = above + weight * gated, below + weight
        states.append(user + above / below + films.sum(0))
    return torch.stack(states)


def hgn_by_einsum(net, users, items, real):
    gated = items * features_of(net, users, items)
    weights = places_of(net, users, gated).masked_fill(~real, 0)
    weights = weights / weights.sum(1, keepdim=True)
    return torch.einsum("nw,nwd->nd", weights, gated) + items.sum(1) + users


def gated_before_sigmoid(net, users, items, real):
    gated = items * features_of(net, users, items)
    raw = net.place_of_item(gated)[..., 0] + net.place_of_user(users)
    mean = mean_by(torch.sigmoid(raw * real), gated, torch.ones_like(real))
    return users + mean + items.sum(dim=1)


def divided_as_a_whole(net, users, items, real):
    gated = items * features_of(net, users, items)
    weights = places_of(net, users, gated) * real
    total = users + (weights[..., None] * gated).sum(dim=1) + items.sum(dim=1)
    return total / weights.sum(dim=1, keepdim=True)


def filling_apart(answer: Callable) -> Callable:
    """No gradient arrives at the filling, whether or not the answer masks it."""

    @wraps(answer)
    def use(net, users, items, real):
        return answer(net, users, items.masked_fill(~real[..., None], 0.0), real)

    return use


HGN = Exercise(
    reference=hgn,
    cases=hgn_cases,
    returns=["the state"],
    use=filling_apart,
    right=[
        hgn_by_loop,
        hgn_by_einsum,
        lambda net, users, items, real: hgn(net, users, items * real[..., None], real),
    ],
    stops={
        "must match the size of tensor": "The user's gate has no dimension for places yet: "
        "`net.feature_of_user(users)[:, None]` is added to every film of the window. The second "
        "gate's `place_of_item` ends in a dimension of 1: `[..., 0]` drops it. And the sum of the "
        "gates, by which you divide, needs `keepdim=True`.",
    },
    mistakes=[
        (
            gating(mean=lambda w, gated, real: mean_by(w, gated, torch.ones_like(real))),
            "the filling counts in the mean: its gate is not 0, though its vector is. Multiply the "
            "gates by `real` first.",
        ),
        (
            gating(
                mean=lambda w, gated, real: (
                    (w[..., None] * gated).sum(1) / real.sum(1, keepdim=True)
                )
            ),
            "divided by the number of films. Divide by the sum of their gates.",
        ),
        (
            gating(mean=lambda w, gated, real: (w[..., None] * gated).mean(1)),
            "divided by the length of the window. Divide by the sum of the gates of real films.",
        ),
        (
            gating(mean=lambda w, gated, real: (w[..., None] * gated).sum(1)),
            "the gated films are added up. Divide by the sum of their gates: it is a mean.",
        ),
        (
            gating(
                mean=lambda w, gated, real: mean_by(
                    torch.softmax(w.masked_fill(~real, -torch.inf), dim=1), gated, real
                )
            ),
            "a softmax over the window on top of the gates. The gates themselves are the weights.",
        ),
        (
            gating(places=lambda net, u, x: net.place_of_item(x)[..., 0] + net.place_of_user(u)),
            "the second gate without its sigmoid.",
        ),
        (
            gating(
                features=lambda net, u, x: net.feature_of_item(x) + net.feature_of_user(u)[:, None]
            ),
            "the first gate without its sigmoid.",
        ),
        (
            gating(
                features=lambda net, u, x: torch.tanh(
                    net.feature_of_item(x) + net.feature_of_user(u)[:, None]
                )
            ),
            "`tanh` in the first gate. A gate lies between 0 and 1: `torch.sigmoid`.",
        ),
        (
            gating(
                places=lambda net, u, x: torch.tanh(
                    net.place_of_item(x)[..., 0] + net.place_of_user(u)
                )
            ),
            "`tanh` in the second gate. A gate lies between 0 and 1: `torch.sigmoid`.",
        ),
        (
            gating(
                features=lambda net, u, x: (
                    torch.sigmoid(net.feature_of_item(x))
                    * torch.sigmoid(net.feature_of_user(u)[:, None])
                )
            ),
            "two sigmoids multiplied in the first gate. Film and user are added inside one.",
        ),
        (
            gating(
                places=lambda net, u, x: (
                    torch.sigmoid(net.place_of_item(x)[..., 0])
                    * torch.sigmoid(net.place_of_user(u))
                )
            ),
            "two sigmoids multiplied in the second gate. Film and user are added inside one.",
        ),
        (
            gating(
                averaged=lambda gated, items: items,
                total=lambda users, mean, items, gated: users + mean + gated.sum(dim=1),
            ),
            "gated films and plain films exchanged: the mean is of the gated ones, the sum of the "
            "plain ones.",
        ),
        (
            divided_as_a_whole,
            "the whole state divided by the sum of the gates. Only the gated films are: the user "
            "and the plain sum stand outside the fraction.",
        ),
        (
            gated_before_sigmoid,
            "`real` inside the sigmoid: there it makes one half of the filling's gate. Multiply "
            "the gate itself by `real`.",
        ),
        (
            gating(features=lambda net, u, x: torch.sigmoid(net.feature_of_item(x))),
            "the user is left out of the first gate.",
        ),
        (
            gating(places=lambda net, u, x: torch.sigmoid(net.place_of_item(x)[..., 0])),
            "the user is left out of the second gate.",
        ),
        (
            gating(
                features=lambda net, u, x: torch.sigmoid(net.feature_of_user(u)[:, None]) + 0 * x
            ),
            "the film is left out of the first gate.",
        ),
        (
            gating(places=lambda net, u, x: torch.sigmoid(net.place_of_user(u))),
            "the film is left out of the second gate.",
        ),
        (
            gating(read=lambda gated, items: items),
            "the second gate reads the films as they were. It reads them after the first gate.",
        ),
        (
            gating(averaged=lambda gated, items: items),
            "the mean is of the films as they were. Take them after the first gate.",
        ),
        (
            gating(features=lambda net, u, x: torch.ones_like(x)),
            "the first gate is not used.",
        ),
        (
            gating(places=lambda net, u, x: torch.ones(x.shape[:2])),
            "the second gate is not used: all films weigh the same.",
        ),
        (
            gating(total=lambda users, mean, items, gated: mean + items.sum(dim=1)),
            "the user's vector is not added.",
        ),
        (
            gating(total=lambda users, mean, items, gated: users + mean),
            "the plain sum of the films is not added.",
        ),
        (
            gating(total=lambda users, mean, items, gated: users + items.sum(dim=1)),
            "the gated mean is not added.",
        ),
        (
            gating(total=lambda users, mean, items, gated: users + mean + gated.sum(dim=1)),
            "the sum of the gated films. The last term is the sum of the films as they were.",
        ),
        (
            gating(total=lambda users, mean, items, gated: users + mean + items.mean(dim=1)),
            "the films' mean; the last term is their sum.",
        ),
        (
            gating(total=lambda users, mean, items, gated: mean),
            "the gated mean alone. Add the user's vector and the films' plain sum.",
        ),
        (
            lambda net, users, items, real: hgn(net, users.detach(), items, real),
            "a `detach()` on the way, or `torch.no_grad()`.",
        ),
    ],
)

# 9.2 A paired comparison: a, b, users [n_cases], draws [n_resamples, n_users] -> the mean of a - b,
# and the 2.5% and 97.5% quantiles over resamples of users


def paired_cases(generator: Generator) -> list[Case]:
    """Two users with one and three cases; then more, with 1 to 8 cases, in any order."""
    cases = []
    for n_users, resamples, most in ((2, 5, 3), (4, 20, 4), (30, 300, 8)):
        sizes = torch.randint(1, most + 1, (n_users,), generator=generator).numpy()
        sizes[:2] = [1, most]
        users = np.repeat(np.arange(n_users), sizes)
        users = users[torch.randperm(len(users), generator=generator).numpy()]
        easy = torch.rand(n_users, generator=generator).numpy()[users]
        drawn = torch.rand(2, len(users), generator=generator).numpy()
        a, b = ((drawn[i] < base + 0.6 * easy).astype(float) for i, base in ((0, 0.3), (1, 0.1)))
        a[users == 0], b[users == 0] = 1.0, 0.0
        draws = torch.randint(n_users, (resamples, n_users), generator=generator).numpy()
        draws[0] = 0
        cases.append({"a": a, "b": b, "users": users, "draws": draws})
    return cases


def paired(a, b, users, draws):
    sums, counts = np.bincount(users, weights=a - b), np.bincount(users)
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return (a - b).mean(), low, high


def paired_with(
    means: Callable = lambda d, sums, counts, draws: sums[draws].sum(1) / counts[draws].sum(1),
    mean: Callable = lambda d, of_users, means: d.mean(),
    limits: Callable = lambda means, mean: np.quantile(means, [0.025, 0.975]),
    values: Callable = np.subtract,
) -> Callable:
    """A paired comparison, one of whose steps may be replaced."""

    def answer(a, b, users, draws):
        d = values(a, b)
        sums, counts = np.bincount(users, weights=d), np.bincount(users)
        found = means(d, sums, counts, draws)
        middle = mean(d, sums / counts, found)
        return middle, *limits(found, d.mean())

    return answer


def paired_by_loop(a, b, users, draws):
    cases = {user: np.flatnonzero(users == user) for user in np.unique(users)}
    means = []
    for row in draws:
        rows = np.concatenate([cases[user] for user in row])
        means.append((a[rows] - b[rows]).mean())
    low, high = np.percentile(means, 2.5), np.percentile(means, 97.5)
    return float(np.mean(a) - np.mean(b)), float(low), float(high)


def paired_by_weights(a, b, users, draws):
    times = np.stack([np.bincount(row, minlength=users.max() + 1) for row in draws])[:, users]
    means = (times * (a - b)).sum(1) / times.sum(1)
    return [np.mean(a - b), *np.quantile(means, (0.025, 0.975))]


def each_user_once(d, sums, counts, draws):
    rows = [np.unique(row) for row in draws]
    return np.array([sums[row].sum() / counts[row].sum() for row in rows])


def two_intervals(far: bool) -> Callable:
    """Those of a and of b, subtracted end by end, or each from the other's far end."""

    def answer(a, b, users, draws):
        _, low_a, high_a = paired(a, 0 * a, users, draws)
        _, low_b, high_b = paired(b, 0 * b, users, draws)
        low, high = (high_b, low_b) if far else (low_b, high_b)
        return (a - b).mean(), low_a - low, high_a - high

    return answer


def over_cases(a, b, users, draws):
    d = a - b
    return d.mean(), *(d.mean() + BELL * d.std(ddof=1) / np.sqrt(len(d)))


BELL = np.array([-1.96, 1.96])

PAIRED = Exercise(
    reference=paired,
    cases=paired_cases,
    returns=["mean", "low", "high"],
    right=[paired_by_loop, paired_by_weights, lambda *case: np.array(paired(*case))],
    mistakes=[
        (
            lambda a, b, *rest: paired(b, a, *rest),
            "b - a. A positive number should say that a is better.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: (sums / counts)[draws].mean(1)),
            "the resamples average users' means. Divide the sum of all differences of a resample "
            "by the number of its cases.",
        ),
        (
            paired_with(
                lambda d, sums, counts, draws: (sums / counts)[draws].mean(1),
                lambda d, of_users, means: of_users.mean(),
            ),
            "the mean of users' means. A user with five cases counts five times: divide the sum of "
            "all differences by the number of all cases.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: d[draws].mean(1)),
            "`draws` taken for cases. They are users: `sums[draws]`, and not `(a - b)[draws]`.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: sums[draws].sum(1) / len(d)),
            "every resample divided by the number of real cases. A resample has as many cases as "
            "its users bring: `counts[draws].sum(axis=1)`.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: sums[draws].mean(1)),
            "the sum of a user's differences, averaged over users. Divide by cases.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: sums[draws].sum(0) / counts[draws].sum(0)),
            "added up over resamples. A *row* is one: `sum(axis=1)`.",
        ),
        (
            paired_with(each_user_once),
            "a user drawn twice counts once, and should count twice.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: (sums / counts)[draws].sum(1)),
            "users' means added up. Divide the sum of all differences of a resample by the number "
            "of its cases.",
        ),
        (
            paired_with(lambda d, sums, counts, draws: sums[draws].sum() / counts[draws].sum()),
            "one number for all resamples. Each row is one: `sum(axis=1)`.",
        ),
        (
            lambda a, b, *rest: paired(a, 0 * b, *rest),
            "system a alone. Take the difference of the two first.",
        ),
        (
            paired_with(values=lambda a, b: abs(a - b)),
            "absolute differences. Where b is better, a difference is negative.",
        ),
        (
            paired_with(mean=lambda d, of_users, means: means.mean()),
            "the mean of the resamples. Return that of the real cases.",
        ),
        (
            paired_with(mean=lambda d, of_users, means: d.sum() / len(of_users)),
            "divided by the number of users. Divide by the number of cases.",
        ),
        (paired_with(mean=lambda d, of_users, means: np.median(d)), "the median."),
        (
            lambda *case: [paired(*case)[i] for i in (1, 0, 2)],
            "the lower end. The mean comes first, then low and high.",
        ),
        (
            paired_with(limits=lambda means, mean: np.quantile(means, [0.05, 0.95])),
            "5% and 95% quantiles, an interval of 90%. Use 2.5% and 97.5%.",
        ),
        *(
            (
                paired_with(limits=limits),
                "one standard deviation on either side, an interval of 68%. Take quantiles.",
            )
            for limits in (
                lambda means, mean: (means.mean() - means.std(), means.mean() + means.std()),
                lambda means, mean: (mean - means.std(), mean + means.std()),
            )
        ),
        (
            paired_with(limits=lambda means, mean: (means.min(), means.max())),
            "the least and the greatest resample. Take quantiles.",
        ),
        *(
            (
                paired_with(limits=limits),
                "mean plus and minus 1.96 standard deviations. Take the quantiles themselves; they "
                "need no bell shape.",
            )
            for limits in (
                lambda means, mean: mean + BELL * means.std(),
                lambda means, mean: mean + BELL * means.std(ddof=1),
                lambda means, mean: means.mean() + BELL * means.std(),
                lambda means, mean: means.mean() + BELL * means.std(ddof=1),
            )
        ),
        (
            paired_with(limits=lambda means, mean: mean + BELL * means.std() / np.sqrt(len(means))),
            "divided by the root of the number of resamples. Resamples are no data: take the "
            "quantiles themselves.",
        ),
        (
            over_cases,
            "a standard error over cases, as if they were independent. Take quantiles over the "
            "resamples of users.",
        ),
        (
            paired_with(limits=lambda means, mean: np.quantile(means, [0.975, 0.025])),
            "low and high exchanged.",
        ),
        (
            paired_with(limits=lambda means, mean: np.quantile(means, [0.025, 0.975]) - mean),
            "distances from the mean. Return the quantiles themselves.",
        ),
        (
            paired_with(limits=lambda means, mean: np.percentile(means, [0.025, 0.975])),
            "`np.percentile` counts to 100: 2.5 and 97.5.",
        ),
        *(
            (
                two_intervals(far),
                "two separate intervals subtracted. Resample the difference: both systems face the "
                "same users.",
            )
            for far in (False, True)
        ),
    ],
)

# 9.3 Seen or unseen: train, histories (lists of arrays), targets [n], within -> bool [n]


def seen_cases(generator: Generator) -> list[Case]:
    """Two users and three cases; six and eight; forty and two hundred."""
    cases = []
    for n_users, n, n_items, longest, within in (
        (2, 3, 5, 5, 2),
        (6, 8, 9, 8, 2),
        (40, 200, 400, 25, 4),
    ):
        while True:
            case = {
                name: [
                    torch.randperm(n_items, generator=generator)[:length].numpy()
                    for length in torch.randint(1, longest + 1, (rows,), generator=generator)
                ]
                for name, rows in (("train", n_users), ("histories", n))
            }
            targets = torch.randint(n_items, (n,), generator=generator).numpy()
            case |= {"targets": targets, "within": within}
            found = seen(**case)
            if found.any() and not found.all():
                cases.append(case)
                break
    return cases


def seen(train, histories, targets, within):
    return looked_up()(train, histories, targets, within)


def pairs_of(train: Sequence[np.ndarray], distances: Sequence[int]) -> set[tuple[int, int]]:
    """What came before what, at these distances, in one list."""
    return {
        pair
        for films in train
        for d in distances
        for pair in zip(films[:-d].tolist(), films[d:].tolist())
    }


def looked_up(
    pairs: Callable = lambda train, histories, within: pairs_of(train, range(1, within + 1)),
    last: Callable = lambda history, within: history[-within:],
    found: Callable = lambda pairs, films, target: any((i, target) in pairs for i in films),
) -> Callable:
    """Seen or unseen, one of whose steps may be replaced."""

    def answer(train, histories, targets, within):
        known = pairs(train, histories, within)
        rows = zip(histories, targets.tolist())
        return np.array(
            [bool(found(known, last(history, within).tolist(), target)) for history, target in rows]
        )

    return answer


def seen_by_table(train, histories, targets, within):
    n = 1 + max(max(map(max, train)), max(map(max, histories)), targets.max())
    followed = np.zeros((n, n), dtype=bool)
    for films in train:
        for d in range(1, within + 1):
            followed[films[:-d], films[d:]] = True
    return np.array([followed[h[-within:], t].any() for h, t in zip(histories, targets)])


def seen_by_places(train, histories, targets, within):
    rows = []
    for history, target in zip(histories, targets):
        hit = False
        for films in train:
            for place in range(len(films)):
                if films[place] == target:
                    before = films[max(0, place - within) : place]
                    hit = hit or bool(set(before) & set(history[-within:]))
        rows.append(hit)
    return np.array(rows)


def together_in_a_list(train, histories, targets, within):
    return np.array(
        [
            any(target in films and np.isin(history[-within:], films).any() for films in train)
            for history, target in zip(histories, targets)
        ]
    )


SEEN = Exercise(
    reference=seen,
    cases=seen_cases,
    returns=["seen"],
    right=[seen_by_table, seen_by_places],
    mistakes=[
        (
            looked_up(lambda train, histories, within: pairs_of(train, [1])),
            "direct neighbours alone. Count every distance from 1 to `within`.",
        ),
        (
            looked_up(lambda train, histories, within: pairs_of(train, range(1, within))),
            "one distance too few: `range(1, within + 1)`.",
        ),
        (
            looked_up(
                lambda train, histories, within: {
                    *pairs_of(train, range(1, within)),
                    *((film, film) for films in train for film in films.tolist()),
                }
            ),
            "distances from 0 to `within` - 1: each film counts as having come before itself, and "
            "the largest distance is missing. `range(1, within + 1)`.",
        ),
        (
            looked_up(last=lambda history, within: history[-within:][:1]),
            "one film, `within` places from the end. Look at all of the last `within` films.",
        ),
        (
            looked_up(lambda train, histories, within: pairs_of(train, [within])),
            "one distance alone, the largest. Count every distance from 1 to `within`.",
        ),
        (
            looked_up(
                lambda train, histories, within: pairs_of(train, range(1, max(map(len, train)) + 1))
            ),
            "any distance within a user's list. Only up to `within` places.",
        ),
        (
            looked_up(
                lambda train, histories, within: pairs_of(
                    [np.concatenate(train)], range(1, within + 1)
                )
            ),
            "pairs across two users: one list's end and the next one's beginning. Go through the "
            "users one by one.",
        ),
        (
            looked_up(
                lambda train, histories, within: {
                    (j, i) for i, j in pairs_of(train, range(1, within + 1))
                }
            ),
            "the other way round: the target came *before* the film. The film has to come first.",
        ),
        (
            looked_up(
                lambda train, histories, within: {
                    pair
                    for i, j in pairs_of(train, range(1, within + 1))
                    for pair in ((i, j), (j, i))
                }
            ),
            "either order counts. The film of the history has to come before the target.",
        ),
        (
            looked_up(
                lambda train, histories, within: pairs_of(
                    [*train, *histories], range(1, within + 1)
                )
            ),
            "pairs of the cases' histories too. Count in the training part alone.",
        ),
        (
            looked_up(lambda train, histories, within: pairs_of(histories, range(1, within + 1))),
            "pairs of the cases' histories. Count in the training part.",
        ),
        (
            looked_up(last=lambda history, within: history),
            "the whole history. Only its last `within` films: `history[-within:]`.",
        ),
        (
            looked_up(last=lambda history, within: history[-1:]),
            "the last film alone. Look at the last `within` films.",
        ),
        (
            looked_up(last=lambda history, within: history[:within]),
            "the first films of the history. The last ones are `history[-within:]`.",
        ),
        (
            looked_up(found=lambda pairs, films, target: all((i, target) in pairs for i in films)),
            "all of the last films have to have come before the target. One is enough: `any`.",
        ),
        (
            looked_up(
                found=lambda pairs, films, target: not any((i, target) in pairs for i in films)
            ),
            "true where the case is unseen.",
        ),
        (
            looked_up(found=lambda pairs, films, target: target in {j for _, j in pairs}),
            "whether the target came after anything at all. It has to come after a film of this "
            "history.",
        ),
        (
            looked_up(found=lambda pairs, films, target: target in films),
            "whether the target is in the history: that is a repeat.",
        ),
        (
            together_in_a_list,
            "whether film and target stand in one list, in any order and however far apart. The "
            "film has to come first, by at most `within` places.",
        ),
        (
            lambda train, histories, targets, within: np.array(
                [any(target in films for films in train) for target in targets]
            ),
            "whether the target is in training at all. It has to follow a film of this history.",
        ),
        (
            looked_up(last=lambda history, within: history[-within:-1]),
            "the very last film is left out: `history[-within:]`, without an end.",
        ),
    ],
)

# 9.4 A model mixed with counts: model, shares [n, n_items], weight -> [n, n_items]


def mixing_cases(generator: Generator) -> list[Case]:
    """Two items; three cases, one without counts; many, of which some have no counts."""
    cases = []
    for n, n_items, weight in ((1, 2, 0.5), (3, 4, 0.75), (20, 20, 0.3)):
        model = torch.rand(n, n_items, generator=generator).numpy().astype(float) + 0.01
        shares = torch.rand(n, n_items, generator=generator).numpy().astype(float)
        shares = shares * (shares > 0.4)
        shares[0, 0] = 0.5
        model *= 0.8 / model.sum(axis=1, keepdims=True)
        mass = torch.linspace(0.9, 0.2, n).numpy()[:, None]
        shares *= mass / np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
        if n > 1:
            shares[1] = 0
        digits = 2 if n < 4 else 8
        cases.append(
            {"model": model.round(digits), "shares": shares.round(digits)} | {"weight": weight}
        )
    return cases


def mix(model, shares, weight):
    return mixed()(model, shares, weight)


def mass_of(shares: np.ndarray) -> np.ndarray:
    return shares.sum(axis=1, keepdims=True)


def mixed(
    kept: Callable = lambda m, w: 1 - w * m,
    added: Callable = lambda q, m, w: w * q,
    join: Callable = lambda model, counted: model + counted,
    mass: Callable = mass_of,
) -> Callable:
    """A mixture, one of whose steps may be replaced."""

    def answer(model, shares, weight):
        m = mass(shares)
        return join(kept(m, weight) * model, added(shares, m, weight))

    return answer


def mix_by_loop(model, shares, weight):
    rows = []
    for p, q in zip(model, shares):
        rows.append([(1 - weight * sum(q)) * a + weight * b for a, b in zip(p, q)])
    return np.array(rows)


def share_of_whole(shares: np.ndarray) -> np.ndarray:
    return shares / np.maximum(mass_of(shares), 1e-300)


MIX = Exercise(
    reference=mix,
    cases=mixing_cases,
    returns=["the mixture"],
    right=[mix_by_loop],
    mistakes=[
        (
            mixed(kept=lambda m, w: 1 - w),
            "the model is scaled by 1 - w. Where little was counted, that throws probability away: "
            "scale by 1 - w m.",
        ),
        (mixed(kept=lambda m, w: 1), "the model is not scaled, and the sum passes 1."),
        (
            mixed(kept=lambda m, w: 1 - m),
            "the model is scaled by 1 - m. The counts take w m of the probability, and "
            "leave 1 - w m.",
        ),
        (mixed(added=lambda q, m, w: q), "the counts are not multiplied by w."),
        (
            mixed(kept=lambda m, w: 1 - m, added=lambda q, m, w: q),
            "w is not used.",
        ),
        (
            mixed(kept=lambda m, w: w, added=lambda q, m, w: (1 - w) * q),
            "the weight on the model. It is that of the counts.",
        ),
        (
            mixed(kept=lambda m, w: 1 - w, added=lambda q, m, w: w * share_of_whole(q)),
            "the shares are made to sum to 1. They sum to m, which is small where little was "
            "counted, so that the model decides there.",
        ),
        (
            mixed(kept=lambda m, w: 1 - w * m, added=lambda q, m, w: w * share_of_whole(q)),
            "the shares are made to sum to 1. They are used as they are.",
        ),
        (
            mixed(
                kept=lambda m, w: 1 - w, added=lambda q, m, w: w * q / np.where(m > 0, m, np.nan)
            ),
            "the shares are divided by their sum, which is 0 where nothing was counted. They are "
            "used as they are.",
        ),
        (
            mixed(added=lambda q, m, w: (1 - w) * q),
            "1 - w on the counts. Their weight is w.",
        ),
        (
            mixed(mass=lambda q: q.mean(axis=1, keepdims=True)),
            "the mean of the row's shares in place of their sum.",
        ),
        (
            mixed(added=lambda q, m, w: w * m * q),
            "the counts are multiplied by m as well. Their sum is m already.",
        ),
        (
            mixed(join=lambda p, q: np.where(q > 0, q, p)),
            "the counts in place of the model where there are any. Add the two.",
        ),
        (mixed(join=np.maximum), "the larger of the two. Add them."),
        (mixed(join=lambda p, q: p * q), "a product. Add the two."),
        (mixed(join=lambda p, q: p), "the counts are not added."),
        (mixed(join=lambda p, q: q), "the counts alone. Add the model's part."),
        (
            mixed(mass=lambda q: q.sum()),
            "the sum over all cases. Each row has its own m: `sum(axis=1, keepdims=True)`.",
        ),
        (
            mixed(mass=lambda q: q.sum(axis=0)),
            "sums over cases (`axis=0`). Sum each row: `sum(axis=1, keepdims=True)`.",
        ),
        (
            mixed(mass=lambda q: q.sum(axis=1)),
            "the sums of rows are laid along the columns. Keep them as a column: "
            "`sum(axis=1, keepdims=True)`.",
        ),
        (
            mixed(mass=lambda q: q),
            "each film's own share in place of m, the sum of the row.",
        ),
        (
            mixed(mass=lambda q: q.max(axis=1, keepdims=True)),
            "the largest share of the row in place of their sum.",
        ),
        (
            lambda model, shares, weight: (
                mix(model, shares, weight) / mix(model, shares, weight).sum(axis=1, keepdims=True)
            ),
            "divided by the sum. Where the model's row sums to less than 1, the mixture does, too.",
        ),
    ],
)

EXERCISES = {"9.1": HGN, "9.2": PAIRED, "9.3": SEEN, "9.4": MIX}
