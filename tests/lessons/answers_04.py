"""Answers to lesson 04: right ones in several styles, and typical mistakes with the words meant for
them.
"""

import functools

import numpy as np
import torch
import torch.nn.functional as F

from letterlib.tokenizer.collisions import centre_distances
from letterlib.tokenizer.losses import NO_POSITIVE, diversity_loss, sample_positives

NAMES = {"np": np, "torch": torch, "F": F, "NO_POSITIVE": NO_POSITIVE}
"""What the notebook has imported by the time it reaches its exercises."""

# 4.1 perplexity


def entropy(loads, log=np.log):
    shares = loads[loads > 0] / loads.sum()
    return -(shares * log(shares)).sum()


def perplexity_by_loop(loads):
    product = 1.0
    for load in loads.tolist():
        if load:
            product *= (load / loads.sum()) ** (-load / loads.sum())
    return float(product)


def perplexity_in_torch(loads):
    return torch.distributions.Categorical(torch.from_numpy(loads).double()).perplexity()


def perplexity_with_dead_codes(loads):
    shares = loads / loads.sum()
    return np.exp(-(shares * np.log(shares)).sum())


def perplexity_of_trimmed_loads(loads):
    return perplexity_with_dead_codes(np.trim_zeros(loads))


def perplexity_of_counts(loads):
    used = loads[loads > 0]
    return np.exp(-(used * np.log(used)).sum())


def logarithm_of_counts(loads):
    used = loads[loads > 0]
    return np.exp(-(used / loads.sum() * np.log(used)).sum())


def exp_entropy(shares):
    return np.exp(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def perplexity_parts(loads):
    shares = loads[loads > 0] / loads.sum()
    return np.exp(-shares * np.log(shares))


# 4.2 positives


def positives_by_loop(codes, groups, start=None, alone=NO_POSITIVE):
    drawn = []
    for code in codes.tolist():
        others = [k for k in range(len(groups)) if groups[k] == groups[code] and k != code]
        drawn.append(others[np.random.randint(len(others))] if others else alone)
    return torch.tensor(drawn)


def positives_by_largest_noise(codes, groups):
    open_to = groups[codes][:, None] == groups
    open_to[torch.arange(len(codes)), codes] = False
    noise = torch.rand(open_to.shape).masked_fill(~open_to, -1)
    return torch.where(open_to.any(1), noise.argmax(1), NO_POSITIVE)


def positives_with(allowed, alone=NO_POSITIVE):
    """Drawn by multinomial from where `allowed(codes, groups)` is true; a row without any gets
    `alone`.
    """

    def answer(codes, groups):
        weights = allowed(codes, groups).float()
        none = weights.sum(1) == 0
        weights[none] = 1
        drawn = torch.multinomial(weights, 1)[:, 0]
        return torch.where(none, codes if alone == "itself" else alone, drawn)

    return answer


def others_of_group(codes, groups):
    return (groups[codes][:, None] == groups) & (codes[:, None] != torch.arange(len(groups)))


def cases_exchanged(codes, groups):
    drawn = positives_with(others_of_group)(codes, groups)
    return torch.where(drawn == NO_POSITIVE, drawn.clamp(min=0), NO_POSITIVE)


def none_as_soon_as_one_is_alone(codes, groups):
    drawn = positives_with(others_of_group)(codes, groups)
    return torch.full_like(drawn, NO_POSITIVE) if (drawn == NO_POSITIVE).any() else drawn


def always_the_next(codes, groups):
    partner = torch.full_like(groups, NO_POSITIVE)
    for group in groups.unique():
        members = (groups == group).nonzero()[:, 0]
        if len(members) > 1:
            partner[members] = members.roll(-1)
    return partner[codes]


def positives_by_neighbours_on_self(codes, groups):
    """Draws a member of the group, and takes the next one where it is the code itself."""
    drawn = []
    for code in codes.tolist():
        members = [k for k in range(len(groups)) if groups[k] == groups[code]]
        place = np.random.randint(len(members))
        drawn.append(
            members[(place + (members[place] == code)) % len(members)]
            if len(members) > 1
            else NO_POSITIVE
        )
    return torch.tensor(drawn)


def positives_by_steps(codes, groups):
    """A random number of steps round the circle of the group."""
    order, sizes = groups.argsort(stable=True), groups.bincount()
    starts, place = sizes.cumsum(0) - sizes, torch.empty_like(groups)
    place[order] = torch.arange(len(groups))
    group, steps = groups[codes], torch.rand(len(codes))
    size = sizes[group]
    moved = place[codes] - starts[group] + 1 + (steps * (size - 1)).long()
    return torch.where(size > 1, order[starts[group] + moved % size], NO_POSITIVE)


def always_seeded(codes, groups):
    torch.manual_seed(0)
    return sample_positives(codes, groups)


def whole_columns_barred(codes, groups):
    weights = (groups[codes][:, None] == groups).float()
    weights[:, codes] = 0
    none = weights.sum(1) == 0
    weights[none] = 1
    return torch.multinomial(weights, 1)[:, 0].masked_fill(none, NO_POSITIVE)


def the_ends_half_as_often(codes, groups):
    """A rounded number between the first place and the last: the two ends get half of what the
    others get.
    """
    drawn = torch.full_like(codes, NO_POSITIVE)
    for row, code in enumerate(codes.tolist()):
        others = [k for k in range(len(groups)) if groups[k] == groups[code] and k != code]
        if others:
            drawn[row] = others[round(torch.rand(()).item() * (len(others) - 1))]
    return drawn


def never_the_last(codes, groups):
    drawn = []
    for code in codes.tolist():
        others = [k for k in range(len(groups)) if groups[k] == groups[code] and k != code]
        drawn.append(others[np.random.randint(max(1, len(others) - 1))] if others else NO_POSITIVE)
    return torch.tensor(drawn)


def once_per_code(codes, groups):
    return positives_by_loop(torch.arange(len(groups)), groups)[codes]


def of_the_batch(codes, groups):
    in_batch = torch.isin(torch.arange(len(groups)), codes)
    drawn = positives_with(lambda c, g: others_of_group(c, g) & in_batch)(codes, groups)
    return torch.where(drawn == NO_POSITIVE, sample_positives(codes, groups), drawn)


def another_item_of_the_group(codes, groups):
    """Draws a row of the batch, which may be of the same code."""
    weights = (groups[codes][:, None] == groups[codes]).float().fill_diagonal_(0)
    alone = weights.sum(1) == 0
    weights[alone] = 1
    return codes[torch.multinomial(weights, 1)[:, 0]].masked_fill(alone, NO_POSITIVE)


def drawn_then_thrown_away(codes, groups):
    drawn = positives_with(lambda c, g: g[c][:, None] == g)(codes, groups)
    return torch.where(drawn == codes, NO_POSITIVE, drawn)


def place_in_the_group(codes, groups):
    place = torch.empty_like(groups)
    for group in groups.unique():
        members = (groups == group).nonzero()[:, 0]
        place[members] = torch.arange(len(members))
    drawn = sample_positives(codes, groups)
    return torch.where(drawn == NO_POSITIVE, drawn, place[drawn.clamp(min=0)])


def group_of_the_draw(codes, groups):
    drawn = sample_positives(codes, groups)
    return torch.where(drawn == NO_POSITIVE, drawn, groups[drawn])


# 4.3 diversity loss


def diversity_by_loop(codes, positives, codebook):
    terms = []
    for code, positive in zip(codes.tolist(), positives.tolist(), strict=True):
        if positive != NO_POSITIVE:
            logits = codebook @ codebook[code]
            others = torch.cat([logits[:code], logits[code + 1 :]])
            terms.append(others.logsumexp(0) - logits[positive])
    return torch.stack(terms).mean() if terms else codebook.sum() * 0


def of_those_kept(loss):
    """The loss of the items that have a positive; zero where none has."""

    @functools.wraps(loss)
    def answer(codes, positives, codebook):
        kept = positives != NO_POSITIVE
        if not kept.any():
            return codebook.sum() * 0
        return loss(codes[kept], positives[kept], codebook, torch.arange(int(kept.sum())))

    return answer


@of_those_kept
def diversity_as_written(codes, positives, codebook, rows):
    powers = (codebook[codes] @ codebook.T).exp()
    return -(powers[rows, positives] / (powers.sum(1) - powers[rows, codes])).log().mean()


@of_those_kept
def diversity_by_probabilities(codes, positives, codebook, rows):
    shares = (codebook[codes] @ codebook.T).softmax(1)
    return -(shares[rows, positives] / (1 - shares[rows, codes])).log().mean()


def diversity_by_ignore_index(codes, positives, codebook):
    logits = codebook[codes] @ codebook.T
    logits = logits.masked_fill(F.one_hot(codes, len(codebook)).bool(), -torch.inf)
    total = F.cross_entropy(logits, positives, ignore_index=NO_POSITIVE, reduction="sum")
    return total / (positives != NO_POSITIVE).sum().clamp(min=1)


def logits_of_others(codes, codebook):
    return (codebook[codes] @ codebook.T).masked_fill(
        F.one_hot(codes, len(codebook)).bool(), -torch.inf
    )


def diversity_masked(left_out, target=lambda positives: positives, per_item=None):
    """A loss for every item, those without a positive included, and these left out afterwards."""

    def answer(codes, positives, codebook):
        has, logits = positives != NO_POSITIVE, logits_of_others(codes, codebook)
        log_p = per_item(logits) if per_item else logits.log_softmax(1)
        return left_out(
            -log_p[torch.arange(len(codes)), target(positives)], has
        ).sum() / has.sum().clamp(min=1)

    return answer


def chosen_by_where(per_item, has):
    return torch.where(has, per_item, 0.0)


def times_the_mask(per_item, has):
    return per_item * has


def cross_entropy_times_the_mask(codes, positives, codebook):
    has, logits = positives != NO_POSITIVE, logits_of_others(codes, codebook)
    per_item = F.cross_entropy(logits, positives.clamp(min=0), reduction="none")
    return (per_item * has).sum() / has.sum().clamp(min=1)


def diversity_that_steps_back(codes, positives, codebook):
    loss = diversity_by_loop(codes, positives, codebook)
    loss.backward(retain_graph=True)
    return loss


def every_positive_in_every_row(fill=-torch.inf, over=torch.mean):
    """`[:, positives]` where one entry a row is meant."""

    @of_those_kept
    def answer(codes, positives, codebook, rows):
        logits = (codebook[codes] @ codebook.T).masked_fill(
            F.one_hot(codes, len(codebook)).bool(), fill
        )
        return -over(logits.log_softmax(1)[:, positives])

    return answer


@of_those_kept
def barred_in_place(codes, positives, codebook, rows):
    powers = (codebook[codes] @ codebook.T).exp()
    powers[rows, codes] = 0
    return -(powers[rows, positives] / powers.sum(1)).log().mean()


def diversity_with(
    rows=lambda e, c, p: e[c] @ e.T, fill=-torch.inf, barred=lambda c, p: c, reduce=None
):
    """A diversity loss with one of its steps replaced."""

    def answer(codes, positives, codebook):
        kept = positives != NO_POSITIVE
        if not kept.any():
            return codebook.sum() * 0
        c, p = codes[kept], positives[kept]
        logits = rows(codebook, c, p)
        if fill is not None:
            logits = logits.masked_fill(F.one_hot(barred(c, p), len(codebook)).bool(), fill)
        per_item = F.cross_entropy(logits, p, reduction="none")
        return reduce(per_item, codes) if reduce else per_item.mean()

    return answer


def diversity_or(zero):
    """A plain zero where no item has a positive."""
    return lambda c, p, e: diversity_by_loop(c, p, e) if (p != NO_POSITIVE).any() else zero


def without_the_positive(codes, positives, codebook):
    kept = positives != NO_POSITIVE
    if not kept.any():
        return codebook.sum() * 0
    c, p = codes[kept][:, None], positives[kept][:, None]
    logits = codebook[codes[kept]] @ codebook.T
    others = logits.scatter(1, c, -torch.inf).scatter(1, p, -torch.inf)
    return (others.logsumexp(1) - logits.gather(1, p)[:, 0]).mean()


def softmax_twice(codes, positives, codebook):
    kept = positives != NO_POSITIVE
    if not kept.any():
        return codebook.sum() * 0
    logits = (codebook[codes] @ codebook.T).masked_fill(
        F.one_hot(codes, len(codebook)).bool(), -torch.inf
    )
    return F.cross_entropy(logits[kept].softmax(1), positives[kept])


def diagonal_filled(codes, positives, codebook):
    kept = positives != NO_POSITIVE
    if not kept.any():
        return codebook.sum() * 0
    return F.cross_entropy(
        (codebook[codes[kept]] @ codebook.T).fill_diagonal_(-torch.inf), positives[kept]
    )


def columns_barred(codes, positives, codebook):
    kept = positives != NO_POSITIVE
    if not kept.any():
        return codebook.sum() * 0
    logits = codebook[codes[kept]] @ codebook.T
    logits[:, codes[kept]] = -torch.inf
    return F.cross_entropy(logits, positives[kept])


def from_the_positives(codes, positives, codebook):
    own = torch.where(positives == NO_POSITIVE, NO_POSITIVE, codes)
    return diversity_by_ignore_index(positives.clamp(min=0), own, codebook)


def minus_one_as_a_code(codes, positives, codebook):
    return diversity_by_ignore_index(codes, positives % len(codebook), codebook)


def mean_of_none(codes, positives, codebook):
    kept = positives != NO_POSITIVE
    logits = (codebook[codes] @ codebook.T).masked_fill(
        F.one_hot(codes, len(codebook)).bool(), -torch.inf
    )
    return F.cross_entropy(logits[kept], positives[kept])


def times_one_hot(codes, positives, codebook):
    logits = (codebook[codes] @ codebook.T).masked_fill(
        F.one_hot(codes, len(codebook)).bool(), -torch.inf
    )
    return -(logits.log_softmax(1) * F.one_hot(positives.clamp(min=0), len(codebook))).sum(1).mean()


def cosines(e, c, p):
    return F.normalize(e, dim=1)[c] @ F.normalize(e, dim=1).T


# 4.4 Sinkhorn


def sinkhorn_with(
    steps="rc", sign=-1, mass=None, rounds=lambda n: n, scale=lambda d, epsilon: d / epsilon
):
    """Alternate scaling, one step a letter: rows or columns."""

    def answer(distances, epsilon, iterations):
        q = np.exp(sign * scale(distances, epsilon))
        for step in steps * rounds(iterations):
            if step == "r":
                q = q / q.sum(axis=1, keepdims=True)
            else:
                q = q / q.sum(axis=0, keepdims=True) * (mass or q.shape[0] / q.shape[1])
        return q

    return answer


def sinkhorn_by_two_vectors(distances, epsilon, iterations):
    kernel = np.exp(-distances / epsilon)
    columns = np.ones(kernel.shape[1])
    for _ in range(iterations):
        rows = 1 / (kernel @ columns)
        columns = kernel.shape[0] / kernel.shape[1] / (kernel.T @ rows)
    return rows[:, None] * kernel * columns


def sinkhorn_in_logarithms(distances, epsilon, iterations):
    log_q = torch.from_numpy(-distances / epsilon)
    for _ in range(iterations):
        log_q = log_q.log_softmax(1)
        log_q = log_q.log_softmax(0) + np.log(len(log_q) / log_q.shape[1])
    return log_q.exp().numpy()


def sinkhorn_by(
    rows=lambda q: q / q.sum(axis=1, keepdims=True),
    columns=lambda q: q / q.sum(axis=0),
    start=lambda distances, epsilon: np.exp(-distances / epsilon),
):
    """Rows and columns in turn, with one of the steps replaced."""

    def answer(distances, epsilon, iterations):
        q = start(distances, epsilon)
        for _ in range(iterations):
            q = columns(rows(q)) * distances.shape[0] / distances.shape[1]
        return q

    return answer


def mapped_once_more(distances, least=0):
    middle = (distances.max() + distances.min()) / 2
    return (distances - middle) / (distances.max() - middle + least)


def always_the_first_table(distances, epsilon, iterations):
    for _ in range(iterations):
        q = np.exp(-distances / epsilon)
        q = q / q.sum(axis=1, keepdims=True)
        q = q / q.sum(axis=0) * len(q) / q.shape[1]
    return q


def sinkhorn_of_one_table(distances, epsilon, iterations):
    q = np.exp(-distances / epsilon)
    for _ in range(iterations):
        q = q / q.sum(axis=1, keepdims=True) / q.sum(axis=0) * len(q) / q.shape[1]
    return q


def sinkhorn_until_nothing_changes(distances, epsilon, iterations):
    q, before = sinkhorn_with(rounds=lambda n: 1)(distances, epsilon, 1), None
    while before is None or abs(q - before).max() > 1e-9:
        before = q
        q = q / q.sum(axis=1, keepdims=True)
        q = q / q.sum(axis=0) * len(q) / q.shape[1]
    return q


def columns_of_one_scaled_at_the_end(distances, epsilon, iterations):
    return (
        sinkhorn_with(mass=1)(distances, epsilon, iterations) * len(distances) / distances.shape[1]
    )


def diversity_without_exp(codes, positives, codebook):
    kept = positives != -1
    table = (codebook @ codebook.T)[codes[kept]]
    own, chosen = (table.gather(1, one[kept][:, None])[:, 0] for one in (codes, positives))
    return -(chosen / (table.sum(1) - own)).log().mean() if kept.any() else codebook.sum() * 0


RIGHT = {
    "4.1": [
        perplexity_by_loop,
        perplexity_in_torch,
        lambda loads: 2 ** entropy(loads, np.log2),
        lambda loads: np.prod((loads / loads.sum()) ** (-loads / loads.sum())),
    ],
    "4.2": [positives_by_loop, positives_by_largest_noise, positives_by_steps, sample_positives],
    "4.3": [
        diversity_by_loop,
        diversity_by_ignore_index,
        lambda c, p, e: diversity_loss(c[:, None], p[:, None], [e]),
        diversity_or(0),
        diversity_or(0.0),
        diversity_or(torch.tensor(0)),
        diversity_as_written,
        diversity_by_probabilities,
        diversity_masked(chosen_by_where),
        diversity_masked(lambda per_item, has: per_item[has]),
        lambda c, p, e: diversity_by_loop(c, p, e.double()),
    ],
    "4.4": [sinkhorn_by_two_vectors, sinkhorn_in_logarithms, columns_of_one_scaled_at_the_end],
}

WRONG = [
    ("4.1", entropy, "the entropy itself; the perplexity"),
    ("4.1", lambda loads: entropy(loads, np.log2), "in bits"),
    ("4.1", lambda loads: np.exp(entropy(loads, np.log2)), "`log2` undone by `exp`"),
    ("4.1", lambda loads: 2 ** entropy(loads), "`log` undone by `2 **`"),
    ("4.1", lambda loads: np.exp(-entropy(loads)), "minus sign"),
    ("4.1", perplexity_with_dead_codes, "dead code"),
    ("4.1", perplexity_of_trimmed_loads, "dead code"),
    (
        "4.1",
        lambda loads: exp_entropy((p := loads / loads.sum())[p > 1e-3]),
        "small shares left out",
    ),
    (
        "4.1",
        lambda loads: np.exp((loads / loads.sum() * np.log(-loads / loads.sum())).sum()),
        "a negative number",
    ),
    ("4.1", perplexity_of_counts, "Divide by their sum"),
    ("4.1", lambda loads: 1 / ((loads / loads.sum()) ** 2).sum(), "another measure"),
    ("4.1", lambda loads: int((loads > 0).sum()), "number of codes in use"),
    ("4.1", lambda loads: np.exp(entropy(loads) / len(loads)), "mean over codes"),
    ("4.1", lambda loads: loads / loads.sum(), "should be a number"),
    ("4.1", lambda loads: perplexity_parts(loads).sum(), "First the sum, then `exp`"),
    ("4.1", perplexity_parts, "a reduction such as `.sum()` or `.mean()` is missing"),
    (
        "4.1",
        lambda loads: torch.from_numpy(perplexity_parts(loads)),
        "a reduction such as `.sum()` or `.mean()` is",
    ),
    ("4.1", lambda loads: np.exp(entropy(loads, np.log10)), "`log10` undone by `exp`"),
    ("4.1", lambda loads: int(np.exp(entropy(loads))), "made a whole number"),
    ("4.1", lambda loads: round(np.exp(entropy(loads))), "made a whole number"),
    ("4.1", lambda loads: np.exp(entropy(loads)) / len(loads), "divided by the number of codes"),
    ("4.1", lambda loads: exp_entropy(loads / len(loads)), "loads divided by the number of codes"),
    ("4.1", lambda loads: exp_entropy(loads / loads.max()), "loads divided by the largest"),
    (
        "4.1",
        lambda loads: np.exp(-np.log(loads[loads > 0] / loads.sum()).mean()),
        "weighted by its share",
    ),
    ("4.1", lambda loads: exp_entropy((loads + 1) / (loads + 1).sum()), "1 added to the loads"),
    ("4.1", lambda loads: np.exp(entropy(np.maximum(loads, 1))), "counted as if it had an item"),
    ("4.1", logarithm_of_counts, "the logarithm of the loads"),
    (
        "4.1",
        lambda loads: np.prod(loads[loads > 0] / loads.sum()),
        "is a weight missing, or the minus sign?",
    ),
    (
        "4.1",
        lambda loads: np.exp(-entropy(loads) * loads.max()),
        "nearly 0, where a perplexity is at least 1",
    ),
    ("4.2", positives_with(lambda c, g: g[c][:, None] == g), "among those that can be drawn"),
    ("4.2", positives_with(others_of_group, alone="itself"), "nothing to draw"),
    ("4.2", positives_with(others_of_group, alone=0), "nothing to draw"),
    (
        "4.2",
        positives_with(lambda c, g: c[:, None] != torch.arange(len(g))),
        "over all other codes",
    ),
    ("4.2", drawn_then_thrown_away, "thrown away"),
    ("4.2", always_the_next, "draw anew for every item"),
    ("4.2", once_per_code, "draw anew for every item"),
    ("4.2", positives_by_neighbours_on_self, "favours some members"),
    ("4.2", always_seeded, "a seed that is set inside"),
    ("4.2", whole_columns_barred, "barred in every row"),
    ("4.2", never_the_last, "equally often"),
    ("4.2", the_ends_half_as_often, "favours some members"),
    ("4.2", of_the_batch, "only codes of the batch"),
    ("4.2", another_item_of_the_group, "rows of the batch are drawn"),
    ("4.2", place_in_the_group, "a place within the list"),
    ("4.2", lambda c, g: g[c], "number of the group"),
    ("4.2", group_of_the_draw, "the number of the group, where a code was meant"),
    (
        "4.2",
        lambda c, g: g[sample_positives(c, g)],
        "the number of the group, where a code was meant",
    ),
    ("4.2", cases_exchanged, "the two cases are exchanged"),
    ("4.2", none_as_soon_as_one_is_alone, "Each row is to be looked at by itself"),
    ("4.2", lambda c, g: sample_positives(c, g).float(), "should be int64"),
    ("4.2", lambda c, g: sample_positives(c, g)[:, None], "a column: `multinomial"),
    ("4.2", lambda c, g: sample_positives(c, g).tolist(), "should be a tensor"),
    (
        "4.2",
        lambda c, g: torch.multinomial(others_of_group(c, g).float(), 1)[:, 0],
        "stopped with RuntimeError",
    ),
    ("4.3", lambda c, p, e: diversity_by_loop(c, p, e)[None], "`keepdim`"),
    ("4.3", diversity_with(fill=None), "left among the logits"),
    ("4.3", diversity_with(fill=0.0), "exp(0) = 1 still counts"),
    ("4.3", diversity_with(fill=-1.0), "`-torch.inf`"),
    ("4.3", diversity_with(fill=-5.0), "`-torch.inf`"),
    ("4.3", diversity_with(fill=-10.0), "`-torch.inf`"),
    ("4.3", diversity_that_steps_back, "`backward` was called inside"),
    ("4.3", diversity_without_exp, "without its `exp`"),
    ("4.3", diversity_with(rows=cosines), "cosines"),
    ("4.3", diversity_with(rows=lambda e, c, p: -torch.cdist(e[c], e)), "distances"),
    ("4.3", diversity_with(rows=lambda e, c, p: e[c] @ e.T / e.shape[1] ** 0.5), "sqrt(dim)"),
    ("4.3", diversity_with(rows=lambda e, c, p: e[c].detach() @ e.T), "`detach()` on one side"),
    ("4.3", diversity_with(rows=lambda e, c, p: e[c] @ e.detach().T), "`detach()` on one side"),
    ("4.3", diversity_with(rows=lambda e, c, p: (e[c] @ e.T).detach()), "teaches nothing"),
    ("4.3", diversity_with(reduce=lambda per_item, codes: per_item.sum()), "a sum over items"),
    (
        "4.3",
        diversity_with(reduce=lambda per_item, codes: per_item.sum() / len(codes)),
        "positive are counted",
    ),
    ("4.3", diversity_with(reduce=lambda per_item, codes: per_item), "one loss per item"),
    ("4.3", diversity_with(reduce=lambda per_item, codes: -per_item.mean()), "minus sign"),
    (
        "4.3",
        diversity_with(reduce=lambda per_item, codes: (-per_item).exp().mean()),
        "logarithm is missing",
    ),
    ("4.3", from_the_positives, "the positives' rows"),
    ("4.3", minus_one_as_a_code, "taken for a positive"),
    ("4.3", mean_of_none, "0 / 0"),
    ("4.3", without_the_positive, "missing below the line"),
    ("4.3", softmax_twice, "a softmax too many"),
    ("4.3", diagonal_filled, "Bar one entry a row"),
    ("4.3", lambda c, p, e: diversity_by_ignore_index(c, p.clamp(min=0), e), "turned into code 0"),
    ("4.3", columns_barred, "Bar one entry a row"),
    ("4.3", every_positive_in_every_row(), "`[torch.arange(len(codes)), positives]`"),
    ("4.3", every_positive_in_every_row(fill=-1e9), "every item's positive in every row"),
    (
        "4.3",
        every_positive_in_every_row(over=lambda log_p: log_p.sum() / len(log_p)),
        "every item's positive in every",
    ),
    ("4.3", diversity_with(rows=lambda e, c, p: -e[c] @ e.T), "the sign of the dot products"),
    ("4.3", times_one_hot, "minus infinity times zero"),
    ("4.3", diversity_masked(times_the_mask), "not by a product with 0"),
    ("4.3", cross_entropy_times_the_mask, "not by a product with 0"),
    (
        "4.3",
        diversity_masked(chosen_by_where, per_item=lambda logits: logits.softmax(1).log()),
        "0 times infinity",
    ),
    ("4.3", barred_in_place, "its gradient cannot be computed"),
    ("4.3", barred_in_place, "an operation in place"),
    ("4.3", lambda c, p, e: diversity_by_ignore_index(c, p, e).item(), "should be a tensor"),
    ("4.4", sinkhorn_with("cr"), "ends with the columns"),
    ("4.4", sinkhorn_of_one_table, "the sums of one table"),
    ("4.4", sinkhorn_with(rounds=lambda n: 100), "a number of rounds of its own"),
    ("4.4", sinkhorn_until_nothing_changes, "a number of rounds of its own"),
    ("4.4", lambda d, e, n: [[1, [2]]], "should be an array and is a list"),
    ("4.4", sinkhorn_with("r"), "one softmax per item"),
    ("4.4", sinkhorn_with("c"), "columns alone"),
    ("4.4", sinkhorn_with(sign=1), "small distance should give a large share"),
    ("4.4", sinkhorn_with(mass=1.0), "columns that sum to 1"),
    ("4.4", sinkhorn_with(rounds=lambda n: 1), "one round only"),
    ("4.4", always_the_first_table, "always the first table"),
    (
        "4.4",
        lambda d, e, n: sinkhorn_with("r" * n + "c" * n, rounds=lambda n: 1)(d, e, n),
        "before all columns",
    ),
    ("4.4", sinkhorn_with(rounds=lambda n: n + 1), "one round too many"),
    ("4.4", sinkhorn_with(rounds=lambda n: n - 1), "one round too few"),
    (
        "4.4",
        lambda d, e, n: (q := sinkhorn_with()(d, e, n)) / q.sum(1, keepdims=True),
        "rows scaled once more",
    ),
    ("4.4", lambda d, e, n: sinkhorn_with(mass=d.shape[1] / len(d))(d, e, n), "turn it over"),
    ("4.4", lambda d, e, n: sinkhorn_with(mass=len(d) // d.shape[1])(d, e, n), "Keep its fraction"),
    (
        "4.4",
        lambda d, e, n: sinkhorn_with(mass=round(len(d) / d.shape[1]))(d, e, n),
        "Keep its fraction",
    ),
    ("4.4", lambda d, e, n: sinkhorn_with(mass=len(d))(d, e, n), "sum to the items"),
    (
        "4.4",
        lambda d, e, n: np.eye(d.shape[1])[sinkhorn_with()(d, e, n).argmax(1)],
        "table of shares",
    ),
    ("4.4", sinkhorn_with(scale=lambda d, epsilon: d), "epsilon is missing"),
    ("4.4", sinkhorn_with(scale=lambda d, epsilon: d * epsilon), "divide"),
    (
        "4.4",
        sinkhorn_with(scale=lambda d, epsilon: centre_distances(d) / epsilon),
        "mapped already",
    ),
    (
        "4.4",
        sinkhorn_with(scale=lambda d, epsilon: mapped_once_more(d) / epsilon),
        "mapped already",
    ),
    ("4.4", sinkhorn_by(start=lambda d, epsilon: np.exp(-d) / epsilon), "outside `exp`"),
    (
        "4.4",
        sinkhorn_by(lambda q: q / q.sum(axis=0), lambda q: q / q.sum(axis=1, keepdims=True)),
        "two axes swapped",
    ),
    ("4.4", sinkhorn_by(rows=lambda q: q / q.sum(axis=1)), "`keepdims=True` is missing"),
    ("4.4", lambda d, e, n: sinkhorn_with()(d, e, n) / len(d), "a total of 1"),
    ("4.4", lambda d, e, n: np.log(sinkhorn_with()(d, e, n)), "`exp` at the end"),
    ("4.4", lambda d, e, n: sinkhorn_with()(d, e, n).argmax(1), "table of shares"),
    ("4.4", lambda d, e, n: torch.from_numpy(sinkhorn_with()(d, e, n)), "should be an array"),
]

HALF_RIGHT = {
    "draw-positives": """
def my_sample_positives(codes, groups):
    same_group = (groups[codes][:, None] == groups).float()
    return torch.multinomial(same_group, 1)[:, 0]
""",
    "sinkhorn": None,
}
"""The answers of the second submission that differ from the solution; None leaves the stub."""

POINTS = {"full": 10, "half": 5, "untouched": 0}
