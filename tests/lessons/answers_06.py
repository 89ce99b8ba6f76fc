"""Answers to lesson 06: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import numpy as np
import torch
import torch.nn.functional as F

NAMES = {"np": np, "torch": torch, "F": F, "PAD": 0, "EOS": 1}
"""What the notebook has imported by the time it reaches its exercises."""

END, START = torch.tensor([1]), torch.tensor([0])

# 6.1 a training pair


def pair_by_loop(history, target, item_tokens, length):
    read = []
    for item in history[-length:]:
        read += item_tokens[item].tolist()
    own = item_tokens[target].tolist()
    return tuple(torch.tensor(one) for one in ([*read, 1], [0, *own], [*own, 1]))


def pair_with_pad(history, target, item_tokens, length):
    targets = F.pad(item_tokens[target], (0, 1), value=1)
    read = F.pad(item_tokens[torch.tensor(history)[-length:]].reshape(-1), (0, 1), value=1)
    return read, F.pad(targets[:-1], (1, 0)), targets


def pair_with(read=None, shift=None, targets=None):
    """The training pair with one of its three parts replaced."""

    def answer(history, target, item_tokens, length):
        parts = pair_by_loop(history, target, item_tokens, length)
        wrong = (
            read and read(history, target, item_tokens, length),
            shift and shift(item_tokens[target], parts[2]),
            targets and targets(item_tokens[target], target),
        )
        return tuple(
            right if other is None else other for right, other in zip(parts, wrong, strict=True)
        )

    return answer


def padded_pair(history, target, item_tokens, length):
    read, *others = pair_by_loop(history, target, item_tokens, length)
    return F.pad(read, (length * item_tokens.shape[1] + 1 - len(read), 0)), *others


def films(chosen, end=True):
    def read(history, target, item_tokens, length):
        tokens = item_tokens[chosen(history, target, length)].flatten()
        return torch.cat([tokens, END]) if end else tokens

    return read


# 6.2 the ranking-guided loss


def loss_by_hand(logits, targets, tau):
    logs = (logits / tau) - (logits / tau).logsumexp(dim=-1, keepdim=True)
    counted = targets >= 0
    return -logs[counted][torch.arange(int(counted.sum())), targets[counted]].mean()


def loss_by_loop(logits, targets, tau):
    found = []
    for row, wanted in zip(logits, targets, strict=True):
        for one, token in zip(row, wanted, strict=True):
            if token != -100:
                found.append(-F.log_softmax(one / tau, dim=0)[token])
    return torch.stack(found).mean()


def loss_with(scaled=lambda x, tau: x / tau, mean=None, after=lambda loss, tau: loss):
    def answer(logits, targets, tau):
        counted = targets != -100
        logs = (
            scaled(logits, tau)
            .log_softmax(dim=2)
            .gather(2, targets.clamp(min=0)[..., None])[..., 0]
        )
        loss = (-logs * counted).sum() / counted.sum() if mean is None else mean(-logs, counted)
        return after(loss, tau)

    return answer


def loss_of(logarithms=lambda x: x.log_softmax(dim=2), counts=lambda targets: targets != -100):
    def answer(logits, targets, tau):
        counted = counts(targets)
        return -logarithms(logits / tau)[counted].gather(1, targets[counted][:, None]).mean()

    return answer


def naive_loss(logits, targets, tau):
    powers = (logits / tau).exp()
    p = powers / powers.sum(dim=2, keepdim=True)
    counted = targets != -100
    return -(p.gather(2, targets.clamp(min=0)[..., None])[..., 0][counted]).log().mean()


def detached_sum(logits, targets, tau):
    scaled, counted = logits / tau, targets != -100
    own = scaled.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return (scaled.detach().logsumexp(dim=2) - own)[counted].mean()


def only_the_target_scaled(logits, targets, tau):
    counted = targets != -100
    own = logits.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return (logits.logsumexp(dim=2) - own / tau)[counted].mean()


def only_the_others_summed(logits, targets, tau):
    counted = targets != -100
    scaled, own = (logits / tau)[counted], targets[counted][:, None]
    return (
        scaled.scatter(1, own, -torch.inf).logsumexp(dim=1) - scaled.gather(1, own)[:, 0]
    ).mean()


def summed_over_places(logits, targets, tau):
    each = F.cross_entropy((logits / tau).transpose(1, 2), targets, reduction="none")
    return each.sum(1).mean()


def softmax_twice(logits, targets, tau):
    return F.cross_entropy((logits / tau).softmax(2).flatten(0, 1), targets.flatten())


def zeros_written_in(logits, targets, tau):
    logs, counted = (logits / tau).log_softmax(dim=-1), targets != -100
    logs[~counted] = 0.0
    each = logs.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return -each.sum() / counted.sum()


def probabilities_divided_in_place(logits, targets, tau):
    scaled, counted = logits / tau, targets != -100
    p = (scaled - scaled.detach().amax(dim=2, keepdim=True)).exp()
    p /= p.sum(dim=2, keepdim=True)
    return (
        -p.gather(2, targets.clamp(min=0)[..., None])[..., 0][counted].clamp(min=1e-38).log().mean()
    )


def places_taken_for_tokens(logits, targets, tau):
    return F.cross_entropy(logits / tau, targets)


def gathered_before_the_mask(logits, targets, tau):
    each = (logits / tau).log_softmax(dim=2).gather(2, targets[..., None])[..., 0]
    return -each[targets != -100].mean()


def picked_before_the_mask(logits, targets, tau):
    logs = (logits / tau).log_softmax(dim=2).flatten(0, 1)
    return -logs[torch.arange(len(logs)), targets.flatten()][targets.flatten() != -100].mean()


def one_hot_before_the_mask(logits, targets, tau):
    each = ((logits / tau).log_softmax(dim=2) * F.one_hot(targets, logits.shape[2])).sum(dim=2)
    return -each[targets != -100].mean()


def steps_back_itself(logits, targets, tau):
    loss = loss_by_hand(logits, targets, tau)
    loss.backward()
    return loss


def flattened_too_far(logits, targets, tau):
    return F.cross_entropy((logits / tau).flatten(0, 2), targets.flatten())


# 6.3 the weights of the negatives


def weights_by_autograd(logits, targets, tau):
    logits = logits.clone().requires_grad_()
    F.cross_entropy(logits / tau, targets, reduction="sum").backward()
    gradient = logits.grad.clone()
    gradient[torch.arange(len(targets)), targets] = 0
    return gradient / gradient.sum(dim=1, keepdim=True)


def weights_by_exp(logits, targets, tau):
    powers = (logits / tau).exp() * (1 - F.one_hot(targets, logits.shape[1]))
    return powers / powers.sum(dim=1, keepdim=True)


def weights_by_softmax(logits, targets, tau):
    p = (logits / tau).softmax(dim=1).scatter(1, targets[:, None], 0)
    return p / p.sum(dim=1, keepdim=True)


def weights_by_logarithms(logits, targets, tau):
    scaled = (logits / tau).scatter(1, targets[:, None], -torch.inf)
    return (scaled - scaled.logsumexp(dim=1, keepdim=True)).exp()


def weights_by_shift(logits, targets, tau):
    scaled = logits.masked_fill(F.one_hot(targets, logits.shape[1]).bool(), -1e9) / tau
    powers = (scaled - scaled.amax(dim=1, keepdim=True)).exp()
    return powers / powers.sum(dim=1, keepdim=True)


def weights_of_what_is_left(logits, targets, tau):
    found = torch.zeros_like(logits)
    for row, target in enumerate(targets.tolist()):
        others = [token for token in range(logits.shape[1]) if token != target]
        found[row, others] = F.softmax(logits[row, others] / tau, dim=0)
    return found


def weights_with(change=None, fill=-torch.inf, dim=1, scaled=lambda x, tau: x / tau):
    def answer(logits, targets, tau):
        here = F.one_hot(targets, logits.shape[1]).bool()
        x = logits if fill is None else logits.masked_fill(here, fill)
        found = scaled(x, tau).softmax(dim=dim)
        return found if change is None else change(found, here, tau)

    return answer


def weights_of_pulls(change):
    """change: (the gradient times tau, where the target is, tau) -> weights."""
    return weights_with(lambda p, here, tau: change(p - here.float(), here, tau), fill=None)


def weights_in_place(logits, targets, tau):
    logits[torch.arange(len(targets)), targets] = -torch.inf
    return (logits / tau).softmax(dim=1)


# 6.4 partial AUC


def auc_by_sort(positive, negatives, k):
    hardest = negatives.sort(dim=1, descending=True).values[:, :k]
    return (torch.sign(positive[:, None] - hardest).mean(dim=1) + 1) / 2


def auc_by_loop(positive, negatives, k):
    found = []
    for own, row in zip(positive.tolist(), negatives.tolist(), strict=True):
        hardest = sorted(row)[-k:]
        found.append(
            sum(1.0 if other < own else 0.5 if other == own else 0.0 for other in hardest) / k
        )
    return torch.tensor(found, dtype=torch.float64)


def auc_by_counts(positive, negatives, k):
    above, equal = ((negatives > positive[:, None]).sum(1), (negatives == positive[:, None]).sum(1))
    return ((k - above - 0.5 * equal) / k).clamp(min=0)


def auc_with(count=None, chosen=lambda negatives, k: negatives.topk(k, dim=1).values):
    def answer(positive, negatives, k):
        others, own = chosen(negatives, k), positive[:, None]
        if count is not None:
            return count(others, own)
        return ((others < own).float() + 0.5 * (others == own).float()).mean(dim=1)

    return answer


RIGHT = {
    "6.1": [pair_by_loop, pair_with_pad, lambda *case: list(pair_by_loop(*case))],
    "6.2": [
        loss_by_hand,
        loss_by_loop,
        lambda x, t, tau: F.cross_entropy((x / tau).transpose(1, 2), t),
        lambda x, t, tau: loss_by_hand(x.double(), t, tau),
        lambda x, t, tau: F.cross_entropy((x / tau).flatten(0, 1), t.flatten(), ignore_index=-100),
    ],
    "6.3": [
        weights_by_autograd,
        weights_by_exp,
        weights_by_softmax,
        weights_by_logarithms,
        weights_by_shift,
        weights_of_what_is_left,
        lambda x, t, tau: weights_by_softmax(x.double(), t, tau),
        lambda x, t, tau: (x.scatter(1, t[:, None], torch.finfo(x.dtype).min) / tau).softmax(1),
        lambda x, t, tau: (x.scatter(1, t[:, None], -10000.0) / tau).softmax(1),
    ],
    "6.4": [auc_by_sort, auc_by_loop],
}

WRONG = [
    (
        "6.1",
        pair_with(films(lambda h, t, n: h[-n:], end=False)),
        "end token is missing after the history",
    ),
    ("6.1", pair_with(films(lambda h, t, n: h)), "whole history"),
    (
        "6.1",
        lambda *case: tuple(part.float() for part in pair_by_loop(*case)),
        "they are given `dtype=torch.int64`",
    ),
    ("6.1", pair_with(films(lambda h, t, n: h[:n])), "*first* films"),
    ("6.1", pair_with(films(lambda h, t, n: h[-n:][::-1])), "most recent film first"),
    ("6.1", pair_with(films(lambda h, t, n: [*h, t][-n:])), "It is the answer"),
    ("6.1", pair_with(films(lambda h, t, n: list(dict.fromkeys(h))[-n:])), "watched twice"),
    (
        "6.1",
        pair_with(films(lambda h, t, n: [one for one in h if one != t][-n:])),
        "taken out of the history",
    ),
    (
        "6.1",
        pair_with(lambda h, t, x, n: torch.cat([x[h[-n:]].T.flatten(), END])),
        "codes together",
    ),
    ("6.1", pair_with(lambda h, t, x, n: torch.cat([x[h].flatten()[-n:], END])), "you cut tokens"),
    ("6.1", pair_with(lambda h, t, x, n: torch.cat([END, x[h[-n:]].flatten()])), "stands in front"),
    (
        "6.1",
        pair_with(lambda h, t, x, n: torch.cat([x[h[-n:]].flatten(), START])),
        "a pad (0) at the end",
    ),
    (
        "6.1",
        pair_with(lambda h, t, x, n: torch.cat([START, x[h[-n:]].flatten(), END])),
        "only the decoder has one",
    ),
    ("6.1", pair_with(lambda h, t, x, n: torch.tensor([*h[-n:], 1])), "film numbers"),
    ("6.1", pair_with(lambda h, t, x, n: x[h[-n:]]), "one row of it"),
    ("6.1", pair_with(films(lambda h, t, n: h[-n - 1 : -1])), "the most recent film is left out"),
    ("6.1", pair_with(films(lambda h, t, n: h[-n:-1])), "the most recent film is left out"),
    ("6.1", pair_with(films(lambda h, t, n: h[-n:][1:])), "one film too few"),
    ("6.1", padded_pair, "needs no padding"),
    ("6.1", lambda *case: tuple(pair_by_loop(*case)[i] for i in (0, 2, 1)), "the wrong way round"),
    ("6.1", pair_with(shift=lambda own, targets: targets), "Shift them"),
    ("6.1", pair_with(shift=lambda own, targets: own), "without the start token"),
    (
        "6.1",
        pair_with(shift=lambda own, targets: torch.cat([END, own])),
        "starts with the end token",
    ),
    (
        "6.1",
        pair_with(shift=lambda own, targets: torch.cat([START, own[:-1]])),
        "last code is missing",
    ),
    (
        "6.1",
        pair_with(shift=lambda own, targets: torch.cat([START, own, END])),
        "nothing is written after it",
    ),
    ("6.1", pair_with(targets=lambda own, target: own), "where to stop"),
    (
        "6.1",
        pair_with(targets=lambda own, target: torch.cat([START, own])),
        "Only the decoder's input",
    ),
    ("6.1", lambda *case: pair_by_loop(*case)[0], "return three tensors"),
    ("6.1", lambda *case: pair_by_loop(*case)[:2], "What came is a tensor and a tensor."),
    ("6.1", lambda *case: (*pair_by_loop(*case)[:2], ...), "still to be written"),
    ("6.1", lambda *case: (pair_by_loop(*case)[0], None, None), "still to be written"),
    ("6.1", lambda *case: tuple(one.tolist() for one in pair_by_loop(*case)), "should be a tensor"),
    ("6.1", lambda *case: tuple(one.float() for one in pair_by_loop(*case)), "should be int64"),
    ("6.2", lambda *given: torch.tensor(loss_by_hand(*given).item()), "or `torch.tensor(...)`"),
    ("6.2", loss_with(mean=lambda each, counted: each.mean()), "counted as token 0"),
    ("6.2", loss_with(mean=lambda each, counted: (each * counted).mean()), "number of all places"),
    ("6.2", loss_with(mean=lambda each, counted: (each * counted).sum()), "a sum"),
    ("6.2", loss_with(mean=lambda each, counted: each * counted), "one number per place"),
    ("6.2", loss_with(mean=lambda each, counted: each.flatten()), "one number per place"),
    ("6.2", places_taken_for_tokens, "flatten the first two dimensions"),
    ("6.2", gathered_before_the_mask, "is no index: mask first"),
    ("6.2", picked_before_the_mask, "is no index: mask first"),
    ("6.2", one_hot_before_the_mask, "is no index: mask first"),
    ("6.2", steps_back_itself, "`backward` was called inside"),
    ("6.2", loss_with(after=lambda loss, tau: -loss), "the sign"),
    ("6.2", loss_with(scaled=lambda x, tau: x), "tau is not used"),
    ("6.2", loss_with(scaled=lambda x, tau: x * tau), "*times* tau"),
    (
        "6.2",
        loss_with(scaled=lambda x, tau: x, after=lambda loss, tau: loss / tau),
        "loss divided by tau",
    ),
    (
        "6.2",
        loss_with(scaled=lambda x, tau: x, after=lambda loss, tau: loss * tau),
        "loss times tau",
    ),
    ("6.2", loss_with(after=lambda loss, tau: tau * loss), "on top of the division"),
    ("6.2", loss_with(after=lambda loss, tau: loss / tau), "divided by tau twice"),
    ("6.2", loss_of(counts=lambda targets: targets > 0), "token 0 is left out"),
    ("6.2", loss_of(lambda x: x.log_softmax(dim=1)), "the vocabulary is the last one"),
    ("6.2", loss_of(lambda x: x), "the target's logit alone"),
    ("6.2", loss_of(lambda x: (x.softmax(dim=2) + 1e-8).log()), "before the logarithm"),
    ("6.2", only_the_others_summed, "left out of the sum"),
    ("6.2", only_the_target_scaled, "only the target's logit"),
    ("6.2", softmax_twice, "softmax is taken twice"),
    ("6.2", summed_over_places, "a sum over each row's places"),
    ("6.2", naive_loss, "no finite number"),
    ("6.2", lambda x, t, tau: loss_by_hand(x, t, tau).item(), "should be a tensor"),
    ("6.2", lambda x, t, tau: loss_by_hand(x.detach(), t, tau), "has no gradient"),
    ("6.2", detached_sum, "its gradient is not"),
    ("6.2", zeros_written_in, "an operation in place"),
    ("6.2", probabilities_divided_in_place, "an operation in place"),
    ("6.2", flattened_too_far, "stopped with ValueError"),
    ("6.3", weights_with(fill=None), "It is no negative"),
    (
        "6.3",
        weights_with(lambda p, here, tau: p.masked_fill(here, 0), fill=None),
        "Divide by its sum",
    ),
    ("6.3", weights_of_pulls(lambda pulls, here, tau: pulls / tau), "target included"),
    ("6.3", weights_of_pulls(lambda pulls, here, tau: pulls), "target included"),
    (
        "6.3",
        weights_of_pulls(lambda pulls, here, tau: pulls / pulls.sum(1, keepdim=True)),
        "sum of the whole row",
    ),
    (
        "6.3",
        weights_of_pulls(lambda pulls, here, tau: pulls / tau / (pulls / tau).sum(1)[:, None]),
        "adds up to 0",
    ),
    (
        "6.3",
        weights_of_pulls(
            lambda pulls, here, tau: (pulls / pulls.sum(1, keepdim=True)).masked_fill(here, 0)
        ),
        "sum of the whole row",
    ),
    (
        "6.3",
        weights_of_pulls(lambda pulls, here, tau: pulls / -pulls[here][:, None]),
        "the target has -1",
    ),
    (
        "6.3",
        weights_with(lambda p, here, tau: p.masked_fill(here, 0) / tau, fill=None),
        "the gradient itself",
    ),
    ("6.3", weights_with(scaled=lambda x, tau: x), "tau is not used"),
    ("6.3", weights_with(scaled=lambda x, tau: x * tau), "*times* tau"),
    ("6.3", weights_with(fill=0.0), "still gets weight"),
    (
        "6.3",
        weights_with(lambda p, here, tau: p / (1 - p[here])[:, None], fill=None),
        "the target still has weight",
    ),
    ("6.3", weights_with(fill=-100), "-100 at the target"),
    (
        "6.3",
        weights_with(lambda p, here, tau: p.masked_fill(here, 0), fill=-100),
        "-100 at the target",
    ),
    (
        "6.3",
        weights_with(lambda p, here, tau: p[:, :-1]),
        "`the table of weights` should have shape",
    ),
    ("6.3", weights_with(dim=0), "each row is a case"),
    ("6.3", weights_with(lambda p, here, tau: p.sort(dim=1, descending=True).values), "sorted"),
    ("6.3", weights_with(lambda p, here, tau: p.log()), "logarithms"),
    ("6.3", weights_with(lambda p, here, tau: p / tau), "divided by tau once more"),
    ("6.3", weights_with(lambda p, here, tau: p / p.sum()), "shares of the whole batch"),
    (
        "6.3",
        weights_with(
            lambda p, here, tau: p.masked_fill(here, 0) / p.masked_fill(here, 0).sum(), fill=None
        ),
        "shares of the whole batch",
    ),
    ("6.3", lambda x, t, tau: (x / tau).exp() * (1 - F.one_hot(t, x.shape[1])), "not yet divided"),
    (
        "6.3",
        lambda x, t, tau: (x / tau).index_fill(1, t, -torch.inf).softmax(1),
        "targets of all rows",
    ),
    ("6.3", weights_with(lambda p, here, tau: p[~here].view(len(p), -1)), "column is gone"),
    ("6.3", weights_with(lambda p, here, tau: p.numpy()), "should be a tensor"),
    ("6.3", weights_in_place, "in place"),
    (
        "6.3",
        lambda x, t, tau: ((x - torch.inf * F.one_hot(t, x.shape[1])) / tau).softmax(1),
        "infinity times 0",
    ),
    (
        "6.3",
        lambda x, t, tau: (x / tau + F.one_hot(t, x.shape[1]) * -torch.inf).softmax(1),
        "infinity times 0",
    ),
    (
        "6.3",
        weights_of_pulls(lambda pulls, here, tau: F.normalize(pulls.abs(), p=1, dim=1)),
        "the target's own among them",
    ),
    ("6.4", auc_with(chosen=lambda negatives, k: negatives), "that is the AUC"),
    ("6.4", auc_by_counts, "ties beyond the k hardest"),
    (
        "6.4",
        auc_with(
            lambda others, own: (
                ((others < own).sum(1) + 0.5 * (others == own).any(1)) / others.shape[1]
            )
        ),
        "*Each* tie counts half",
    ),
    (
        "6.4",
        auc_with(chosen=lambda negatives, k: negatives.topk(k, dim=1, largest=False).values),
        "*easiest*",
    ),
    ("6.4", auc_with(chosen=lambda negatives, k: negatives[:, :k]), "the first k columns"),
    ("6.4", auc_with(lambda others, own: (others < own).float().mean(dim=1)), "ties count as lost"),
    ("6.4", auc_with(lambda others, own: (others <= own).float().mean(dim=1)), "ties count as won"),
    (
        "6.4",
        auc_with(lambda others, own: ((own > others) + 0.5 * (own >= others)).mean(dim=1)),
        "a win counts one and a half",
    ),
    ("6.4", lambda p, n, k: 1 - auc_by_sort(p, n, k), "*above* the positive"),
    ("6.4", lambda p, n, k: auc_by_sort(p, n, k) * k, "a count"),
    ("6.4", lambda p, n, k: auc_by_sort(p, n, k) * k / n.shape[1], "only k take part"),
    ("6.4", lambda p, n, k: auc_by_sort(p, n, k).mean(), "one number per case"),
    (
        "6.4",
        auc_with(lambda others, own: (others < own).any(dim=1).float()),
        "whether any is beaten",
    ),
    ("6.4", auc_with(lambda others, own: (others < own).all(dim=1)), "true or false"),
    ("6.4", lambda p, n, k: auc_by_sort(p, n, max(1, k - 1)), "k - 1 negatives"),
    ("6.4", lambda p, n, k: auc_by_sort(p, n, k + 1), "k + 1 negatives"),
    (
        "6.4",
        lambda p, n, k: auc_by_sort(p, torch.cat([p[:, None], n], dim=1), k),
        "the target among the negatives",
    ),
    (
        "6.4",
        auc_with(chosen=lambda negatives, k: negatives.topk(k, dim=1).indices),
        "the columns of the hardest",
    ),
    (
        "6.4",
        auc_with(chosen=lambda negatives, k: negatives.flatten().topk(k).values[None]),
        "of all cases together",
    ),
    ("6.4", auc_with(lambda others, own: torch.sigmoid(own - others).mean(dim=1)), "a sigmoid"),
    ("6.4", lambda p, n, k: ((n > p[:, None]).sum(dim=1) < k).float(), "whether any is beaten"),
    (
        "6.4",
        auc_with(lambda others, own: (others < own[:, 0]).float().mean(dim=1)),
        "must match the size",
    ),
    (
        "6.4",
        lambda p, n, k: (auc_by_sort(p, n, k) + 1) / 2,
        "`the shares` has the right shape, and wrong values",
    ),
    ("6.4", lambda p, n, k: auc_by_sort(p, n, k).numpy(), "should be a tensor"),
]

HALF_RIGHT = {
    "training-pair": """
def my_training_pair(history, target, item_tokens, length):
    end = torch.tensor([EOS])
    targets = torch.cat([item_tokens[target], end])
    return torch.cat([item_tokens[history[-length:]].flatten(), end]), targets, targets
""",
    "partial-auc": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
