"""The exercises of lesson 04: perplexity of code loads, positives of a group, diversity loss,
Sinkhorn.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import chi2
from torch import Generator, Tensor

from letterlib.analysis import code_usage
from letterlib.course.checks import Case, Exercise, Incorrect, call, compare, gradients
from letterlib.course.values import close, kind_of
from letterlib.tokenizer import collisions, losses
from letterlib.tokenizer.losses import NO_POSITIVE


def perplexity_cases(generator: Generator) -> list[Case]:
    """Loads of one code, of two equal ones, with a dead code, and of a whole level. It has dead
    codes in front and between, and a code with one item of more than a thousand.
    """
    a, b = torch.randint(2, 9, (2,), generator=generator).tolist()
    level = torch.randint(0, 40, (30,), generator=generator)
    level[:4] = torch.tensor([0, 1500, 0, 1])
    return [{"loads": np.array(one)} for one in ([a], [a, a], [a, 3 * b, 0], level.tolist())]


def perplexity(answer: Any, case: Case) -> None:
    """4.1: loads, int64 [n_codes] -> a number."""
    loads = case["loads"]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        returned = call(answer, case)
    expected = float(code_usage.perplexity(loads))
    if (
        isinstance(returned, (float, np.floating, Tensor))
        and np.ndim(returned) == 0
        and np.isnan(float(returned))
    ):
        cause = (
            "the logarithm of a negative number, or of 0: take that of the shares, divided "
            "with `/`."
        )
        if not loads.all():
            cause = (
                "a dead code: 0 times log 0 is NaN in floating point. Leave out the codes "
                f"with load 0. Or {cause}"
            )
        raise Incorrect(
            "Your function returned NaN.", case, expected=expected, actual=returned, cause=cause
        )
    shares = loads[loads > 0] / loads.sum()
    nats, used = -(shares * np.log(shares)).sum(), loads[loads > 0]
    bits = nats / np.log(2)
    n_codes, even = len(loads), "a mean over codes where the formula has a sum."
    whole, filled = "made a whole number; most perplexities are not.", np.maximum(loads, 1)
    causes = [
        (nats, "the entropy itself; the perplexity is `exp` of it."),
        (bits, "the entropy itself, in bits; the perplexity is 2 to that power."),
        (np.exp(bits), "`log2` undone by `exp`. Use `log` with `exp`, or `log2` with `2 **`."),
        (2**nats, "`log` undone by `2 **`. Use `log` with `exp`, or `log2` with `2 **`."),
        (np.exp(nats / np.log(10)), "`log10` undone by `exp`. Use `log` with `exp`."),
        (np.exp(-nats), "the minus sign is missing: this is 1 divided by the perplexity."),
        (
            1 / (shares**2).sum(),
            "1 / sum of squared shares: another measure of diversity, not the perplexity.",
        ),
        (int(expected), whole),
        (round(expected), whole),
        (len(used), "the number of codes in use; how unevenly they are used has to count."),
        (expected / n_codes, "the perplexity divided by the number of codes."),
        (expected / loads.sum(), "the logarithm of the loads; take that of the shares."),
        (np.exp(nats / n_codes), even),
        (np.exp(nats / len(used)), even),
        (
            np.exp(-shares * np.log(shares)).sum(),
            "`exp` of every part, and then the sum. First the sum, then `exp`.",
        ),
        (np.exp(-np.log(shares).sum()), "each logarithm has to be weighted by its share."),
        (
            np.exp(-np.log(shares).mean()),
            "each logarithm has to be weighted by its share; here all weigh the same.",
        ),
        (
            _exp_entropy(used / n_codes),
            "loads divided by the number of codes. Divide by their sum.",
        ),
        (_exp_entropy(used / used.max()), "loads divided by the largest. Divide by their sum."),
        (
            _exp_entropy((loads + 1) / (loads + 1).sum()),
            "1 added to the loads. Leave dead codes out instead.",
        ),
        (
            _exp_entropy(shares[shares > 1e-3]),
            "small shares left out. Leave out the codes with load 0 alone.",
        ),
        (
            _exp_entropy(filled / filled.sum()),
            "a dead code counted as if it had an item. Leave it out.",
        ),
        (
            -(used * np.log(used)).sum(),
            "counts where the formula has shares. Divide by their sum first.",
        ),
    ]
    with np.errstate(over="ignore"):
        causes.append((np.exp(-(used * np.log(used)).sum()), causes[-1][1]))
    # Different mistakes end so near to 0 that none can be told.
    causes = [(value, text) for value, text in causes if value > 1e-3 or value < 0]
    near_0 = (
        "nearly 0, where a perplexity is at least 1. Counts where shares belong, or loads divided "
        "by the number of "
        "codes? Divide by their sum. Or is a weight missing, or the minus sign?"
    )
    causes.append((0.0, near_0))
    # With equal loads too many mistakes give the same number to tell them apart.
    compare("perplexity", returned, expected, case, causes if len(set(shares)) > 1 else [])


def _exp_entropy(p: np.ndarray) -> float:
    return float(np.exp(-(p * np.log(p)).sum()))


def sinkhorn_cases(generator: Generator) -> list[Case]:
    """(items, codes, epsilon, iterations); the last stops early, so that the order of the two steps
    shows.

    Distances are within 0.9 of zero: mapped to [-1, 1] once more, they are others.
    """
    cases = []
    for rows, n_codes, epsilon, iterations in [
        (2, 1, 1.0, 1),
        (2, 2, 0.5, 1),
        (4, 2, 0.5, 30),
        (12, 5, 0.2, 3),
    ]:
        drawn = torch.rand(rows, n_codes, generator=generator, dtype=torch.float64) * 1.8 - 0.9
        cases.append(
            {"distances": drawn.numpy().round(1), "epsilon": epsilon, "iterations": iterations}
        )
    return cases


def sinkhorn(answer: Any, case: Case) -> None:
    """4.4: distances [items, codes], epsilon, iterations -> shares [items, codes], columns of items
    / codes each.
    """
    distances, epsilon, iterations = case.values()
    returned, expected = call(answer, case), collisions.sinkhorn(distances, epsilon, iterations)
    # Two codes are too few to tell mistakes apart.
    causes = (
        _wrong_shares(distances, epsilon, iterations, expected) if distances.shape[1] > 2 else []
    )
    if distances.shape == (2, 1) and getattr(returned, "shape", None) == (2, 2):
        causes = [(returned, "`keepdims=True` is missing where rows are added up.")]
    compare("shares", returned, expected, case, causes)


def _wrong_shares(
    distances: np.ndarray, epsilon: float, iterations: int, expected: np.ndarray
) -> list[tuple[np.ndarray, str]]:
    n, n_codes = distances.shape
    each, chosen = n / n_codes, expected.argmax(1)

    def alternate(cost: Any, steps: str, rounds: int, column_total: float = each) -> np.ndarray:
        q = np.exp(-cost / epsilon)
        for step in steps * rounds:
            q = (
                q / q.sum(1, keepdims=True)
                if step == "r"
                else q / q.sum(0, keepdims=True) * column_total
            )
        return q

    swapped = at_once = np.exp(-distances / epsilon)
    for _ in range(iterations):
        swapped = swapped / swapped.sum(0)
        swapped = swapped / swapped.sum(1, keepdims=True) * each
        at_once = at_once / at_once.sum(1, keepdims=True) / at_once.sum(0) * each
    middle = (distances.max() + distances.min()) / 2
    mapped = [(distances - middle) / (distances.max() - middle + least) for least in (0, 1e-5)]
    twice = "distances mapped to [-1, 1] once more. They are mapped already: take them as they are."
    whole, choice = (
        "items / codes as a whole number (`//`, `int`, `round`). Keep its fraction.",
        "codes already chosen",
    )
    of_its_own = (
        "a number of rounds of its own, or rounds until nothing changes; `iterations` "
        "says how many."
    )
    return [
        (
            alternate(distances, "cr", iterations),
            "columns first and rows last. The task ends with the columns.",
        ),
        (
            alternate(distances, "r", 1),
            "rows alone, which is one softmax per item: nothing makes the codes even.",
        ),
        (alternate(distances, "c", 1), "columns alone; the rows have to be scaled as well."),
        (
            alternate(-distances, "rc", iterations),
            "the sign: a small distance should give a large share.",
        ),
        (
            alternate(distances, "rc", iterations, 1.0),
            "columns that sum to 1; every code should get items / codes.",
        ),
        (
            alternate(distances, "rc", iterations, 1 / each),
            "columns that sum to codes / items; turn it over.",
        ),
        (alternate(distances, "rc", iterations, each // 1), whole),
        (expected * n_codes, "columns that sum to the items; every code should get items / codes."),
        (
            alternate(distances, "rc", 1),
            "one round only, always the first table, or all rows before all columns.",
        ),
        (alternate(distances, "rc", iterations - 1), "one round too few."),
        (alternate(distances, "rc", iterations + 1), "one round too many."),
        *((alternate(distances, "rc", rounds), of_its_own) for rounds in (10, 20, 30, 50)),
        (
            at_once,
            "rows and columns divided by the sums of one table. Scale the rows, and then sum the "
            "new columns.",
        ),
        (
            expected / expected.sum(axis=1, keepdims=True),
            "the rows scaled once more. The task ends with the columns.",
        ),
        (
            alternate(distances * epsilon, "rc", iterations),
            "epsilon is missing, or outside `exp`, where it cancels.",
        ),
        (swapped, "the two axes swapped: `sum(axis=1)` adds up a row, `sum(axis=0)` a column."),
        (
            alternate(distances * epsilon**2, "rc", iterations),
            "distances multiplied by epsilon; divide.",
        ),
        *((alternate(one, "rc", iterations), twice) for one in mapped),
        (expected / n, "a total of 1; with rows of 1 it is the items."),
        (np.log(expected), "the logarithms; take `exp` at the end."),
        *(
            (value, f"{choice}; return the table of shares.")
            for value in (chosen, np.eye(n_codes)[chosen])
        ),
        (expected.T, "the table turned over; one row per item."),
    ]


# 4.2 A positive for each item: a draw has no one right answer, so its properties are checked

CHANCE = 1e-9
"""How often a fair draw is taken for an uneven one."""


def positives_cases(generator: Generator) -> list[Case]:
    """A pair, a code alone, and a level with groups of 1, 2, 3 and 6 in which one code is no
    item's.
    """
    groups = torch.tensor([0] + [1] * 2 + [2] * 3 + [3] * 6)[
        torch.randperm(12, generator=generator)
    ]
    biggest = torch.argwhere(groups == 3)[:, 0]
    unused = biggest[torch.randint(6, (1,), generator=generator)]
    codes = torch.arange(12)[torch.arange(12) != unused].repeat(600)
    codes = codes[torch.randperm(len(codes), generator=generator)]
    few = torch.randperm(4, generator=generator)
    return [
        {"codes": torch.tensor([1]), "groups": torch.tensor([0, 0])},
        {"codes": torch.tensor([0, 1]), "groups": torch.tensor([1, 0])},
        {
            "codes": few[:2],
            "groups": torch.tensor([0, 0, 1, 1])[torch.randperm(4, generator=generator)],
        },
        {"codes": codes, "groups": groups},
    ]


def positives(answer: Any, case: Case) -> None:
    """4.2: codes int64 [batch], groups int64 [n_codes] -> int64 [batch]; a random draw, so
    properties are checked.
    """
    codes, groups = case.values()
    returned, example = call(answer, case), losses.sample_positives(codes, groups)
    if not (
        isinstance(returned, Tensor)
        and returned.shape == codes.shape
        and returned.dtype == torch.int64
    ):
        column = getattr(returned, "shape", None) == (len(codes), 1)
        causes = [
            (
                returned,
                "a column: `multinomial(..., 1)` gives one number in every row. Take it: `[:, 0]`.",
            )
        ]
        compare("positives", returned, example, case, causes if column else [])
    alone = torch.bincount(groups)[groups[codes]] == 1
    wild = (returned >= len(groups)) | (returned < 0) & (returned != NO_POSITIVE)
    member = groups[returned.clamp(0, len(groups) - 1)] == groups[codes]
    findings = [
        (alone & (returned != NO_POSITIVE), "alone in its group and needs -1, NO_POSITIVE."),
        (~alone & (returned == NO_POSITIVE), "not alone, and got none."),
        (wild, "given a number that is no code."),
        (~alone & (returned == codes), "its own positive."),
        (~alone & ~member, "given a code of another group."),
    ]
    for wrong, what in findings:
        if wrong.any():
            row = int(wrong.nonzero()[0])
            possible = [
                k for k in range(len(groups)) if groups[k] == groups[codes[row]] and k != codes[row]
            ]
            message = (
                f"Row {row}: code {int(codes[row])}, of group {int(groups[codes[row]])}, is {what}"
            )
            cause = _cause_of_draw(codes, groups, returned)
            raise Incorrect(
                message,
                case,
                expected=possible or NO_POSITIVE,
                actual=int(returned[row]),
                cause=cause,
            )
    if len(codes) > len(groups):
        _evenly_drawn(codes, groups, returned, case)
        if torch.equal(returned, call(answer, case)):
            cause = (
                "nothing random, or a seed that is set inside the function. Every batch "
                "needs a new draw."
            )
            raise Incorrect("Two calls drew the same positives.", case, cause=cause)


def _cause_of_draw(codes: Tensor, groups: Tensor, returned: Tensor) -> str:
    """The most telling mistake, whichever row showed it first."""
    sizes = torch.bincount(groups)[groups[codes]]
    drawn = (sizes > 1) & (returned != NO_POSITIVE)
    # `groups` of the drawn code is this number as well, in the rows where one was drawn.
    if (
        torch.equal(returned, groups[codes])
        or drawn.any()
        and (returned == groups[codes])[drawn].all()
    ):
        return "the number of the group, where a code was meant. Return a code that belongs to it."
    if not drawn.any():
        if ((sizes == 1) & (returned != NO_POSITIVE)).any():
            return (
                "the two cases are exchanged: `torch.where(condition, a, b)` takes `a` where "
                "the condition is true."
            )
        return "NO_POSITIVE everywhere. Each row is to be looked at by itself: is this code alone?"
    if (groups[returned.clamp(0, len(groups) - 1)] != groups[codes])[drawn].any():
        if (returned < sizes)[drawn].all():
            return (
                "a place within the list of the group's codes, where the code that stands "
                "there was meant."
            )
        return (
            "the draw runs over all other codes, or over rows of the batch. Only codes of the "
            "same group may come."
        )
    if (returned == codes)[drawn].any():
        if len(codes) > len(groups) and torch.isin(returned[drawn], codes).all():
            return (
                "rows of the batch are drawn. Draw codes: one that no item has may come, and "
                "an item's own may not."
            )
        return "the code itself is among those that can be drawn. Take it out first."
    if len(codes) > len(groups) and not torch.isin(returned[drawn], codes).any():
        return (
            "every code of the batch is barred in every row. Bar one entry a row: the item's "
            "own code."
        )
    if (returned == NO_POSITIVE)[sizes > 1].any():
        return (
            "the code itself was drawn and then thrown away, or groups of two are taken for "
            "groups of one."
        )
    return "no special treatment of a code that is alone: there is nothing to draw."


def _evenly_drawn(codes: Tensor, groups: Tensor, returned: Tensor, case: Case) -> None:
    """Pearson's chi-square over all codes together, which sees a favour that no code alone would
    show.

    Caught for sure is a member that the other codes of the largest group draw twice as often as
    each other member, or never. One that they draw by a fifth more often is not: it passes 999
    checks of 1000. In between chance decides. To see less, it would take more rows, or more fair
    draws taken for uneven ones.
    """
    kept, drawn = returned != NO_POSITIVE, torch.zeros(len(groups), len(groups))
    drawn.index_put_((codes[kept], returned[kept]), torch.ones(int(kept.sum())), accumulate=True)
    table = []
    for code in codes.unique().tolist():
        others = (groups == groups[code]).nonzero()[:, 0]
        others = others[others != code]
        if len(others):
            counts = drawn[code, others]
            mean = float(counts.mean())
            table.append((float(((counts - mean) ** 2).sum()) / mean, code, others, counts, mean))
    freedom = sum(len(others) - 1 for _, _, others, _, _ in table)
    if sum(row[0] for row in table) > chi2.isf(CHANCE, freedom):
        _, code, others, counts, mean = max(table, key=lambda row: row[0])
        if (counts > 0).sum() == 1:
            cause = "one partner for all items of a code: draw anew for every item, at random."
        elif (counts == 0).any() and not torch.isin(others[counts == 0], codes).any():
            cause = (
                "only codes of the batch are drawn. A code that no item has can be a positive too."
            )
        else:
            cause = (
                "a draw that favours some members; every other code of the group has the "
                "same chance."
            )
        what = (
            f"Not every other code of its group is drawn equally often for code {code} (in "
            f"{counts.sum():.0f} rows)."
        )
        raise Incorrect(
            what, case, expected=[round(mean, 1)] * len(others), actual=counts, cause=cause
        )


# 4.3 The diversity loss of one level: its value, and its gradient to the codebook

HIGH_FILL = (
    "a fill that is not low enough, so that the item's own code still counts a little: "
    "take `-torch.inf`"
)
EVERY_POSITIVE = (
    "`[:, positives]`, which takes every item's positive in every row. One entry a row is "
    "`[torch.arange(len(codes)), positives]`."
)


def diversity_cases(generator: Generator) -> list[Case]:
    """(items, codes, dim, rows without a positive), one item first; the fourth has no positive at
    all.

    A code without a positive is neither the first nor the last but in the last case but one. There
    -1, read as a place or turned into 0, picks the entry that is barred, and a product with 0 does
    not undo it. In the case before it the vectors of all other codes point away from the item's: of
    its own code, even exp(-10) would show.
    """
    cases = []
    for rows, n_codes, dim, without in [
        (1, 3, 1, 0),
        (2, 3, 2, 0),
        (3, 4, 2, 1),
        (2, 4, 2, 2),
        (40, 12, 6, 7),
    ]:
        codes = torch.randint(n_codes, (rows,), generator=generator)
        codes[:without] = torch.randint(1, n_codes - 1, (without,), generator=generator)
        positive = (codes + 1 + torch.randint(n_codes - 1, (rows,), generator=generator)) % n_codes
        positive[:without] = NO_POSITIVE
        # Small enough that exponentials of dot products may be added and subtracted in float32, as
        # a formula does it.
        vectors = torch.renorm(0.6 * torch.randn(n_codes, dim, generator=generator), 2, 0, 1.6)
        codebook = torch.round(vectors, decimals=1).requires_grad_()
        cases.append({"codes": codes, "positives": positive, "codebook": codebook})
    ends = {
        "codes": torch.tensor([3, 0, 1]),
        "positives": torch.tensor([NO_POSITIVE, NO_POSITIVE, 2]),
    }
    away = {"codes": torch.tensor([0, 0, 0]), "positives": torch.tensor([1, 2, 1])}
    apart = torch.tensor([[1, 0.5], [-2, -0.5], [-2.5, 0.5]], requires_grad=True)
    four = codebook.detach()[:4, :2].clone().requires_grad_()
    return [*cases[:-1], {**away, "codebook": apart}, {**ends, "codebook": four}, cases[-1]]


def diversity(answer: Any, case: Case) -> None:
    """4.3: codes, positives int64 [batch], codebook [n_codes, dim] -> scalar with its gradient to
    the codebook.
    """
    codes, positive, codebook = case.values()
    returned = call(answer, case)
    reference = losses.diversity_loss(codes[:, None], positive[:, None], [codebook])
    none = bool((positive == NO_POSITIVE).all())
    if (
        none
        and kind_of(returned) in ("a number", "a tensor")
        and np.ndim(returned) == 0
        and not returned
    ):
        return  # whatever kind of zero
    if isinstance(returned, Tensor) and not returned.isfinite().all():
        what, expected = "NaN" if returned.isnan().any() else "infinite", reference.detach()
        cause = _cause_of_infinity(codes, positive, len(codebook), returned)
        cause = EVERY_POSITIVE if _takes_every_positive(answer, codebook) else cause
        raise Incorrect(
            f"The loss is {what}.", case, expected=expected, actual=returned, cause=cause
        )
    causes = list(_wrong_diversity(codes, positive, codebook.detach()))
    near = isinstance(returned, Tensor) and returned.shape == reference.shape
    near = near and torch.allclose(returned.detach().double(), reference.double(), rtol=0.01)
    if near and not close(returned, reference):
        causes.append((returned, f"{HIGH_FILL}, or a rounding on the way."))
    elif not close(returned, reference) and _takes_every_positive(answer, codebook):
        causes.append((returned, EVERY_POSITIVE))
    compare("the loss", returned, reference.detach(), case, causes)
    if none:
        return
    (wanted,) = torch.autograd.grad(reference, codebook)
    (found,) = gradients(returned, [codebook], case)
    if not torch.allclose(found, wanted, rtol=1e-4, atol=1e-6):
        cause = (
            "a `detach()` on one side. Item's code, positive and negatives are all rows that learn."
        )
        if not found.isfinite().all():
            cause = (
                "a logarithm of 0 or a division by 0, set to 0 afterwards: its gradient is 0 "
                "times infinity. "
            )
            cause += "Leave out the items without a positive before."
        elif not found.any():
            cause = "everything is detached, as by `torch.no_grad()`, so the loss teaches nothing."
        elif torch.allclose(found, wanted, rtol=0.01, atol=1e-4):
            cause = f"{HIGH_FILL}, or a rounding on the way."
        what = "The value is right, but the gradient with respect to the codebook is not."
        raise Incorrect(what, case, expected=wanted, actual=found, cause=cause)


def _cause_of_infinity(codes: Tensor, positive: Tensor, n_codes: int, returned: Tensor) -> str:
    kept = positive != NO_POSITIVE
    if not kept.any():
        return "no item has a positive, and the mean over none is 0 / 0. Return zero then."
    times_zero = "minus infinity times zero"
    if torch.isin(codes[~kept], torch.tensor([0, n_codes - 1])).any() and returned.isnan().any():
        return (
            f"{times_zero}, of an item without a positive. Leave these items out by index, "
            "not by a product with 0."
        )
    cause = "an item's positive is barred, or a whole row. Bar one entry a row: its own code."
    if returned.isnan().any():
        cause = f"the logarithm of a negative number: a dot product without its `exp`? Or {cause}"
    return (
        f"{cause} Or {times_zero}: pick the positives' entries by index."
        if returned.isnan().any()
        else cause
    )


def _takes_every_positive(answer: Any, codebook: Tensor) -> bool:
    """Whether the loss is a mean over every item's positive in every row.

    Where an item's own code is another's positive, that loss is infinite, as others are. So the
    answer is asked again, with items of the first codes, whose positives are among the last.
    """
    half = len(codebook) // 2
    case = {
        "codes": torch.arange(half),
        "positives": torch.arange(half) + half,
        "codebook": codebook,
    }
    table = codebook.detach() @ codebook.detach().T
    every = -table.fill_diagonal_(-torch.inf).log_softmax(dim=1)[:half, half : 2 * half]
    try:
        returned = call(answer, case)
    except Incorrect:
        return False
    return not close(returned, every.diagonal().mean()) and any(
        close(returned, wrong) for wrong in (every.mean(), every.sum(dim=1).mean())
    )


def _wrong_diversity(
    codes: Tensor, positive: Tensor, codebook: Tensor
) -> Iterator[tuple[Tensor, str]]:
    """The values that typical mistakes give, each with its cause."""
    kept = positive != NO_POSITIVE
    own, target = codes[kept], positive[kept]
    if len(own) < 3:  # too few to tell mistakes apart
        return
    table, n = codebook @ codebook.T, torch.arange(len(own))

    def loss(logits: Tensor, barred: Tensor, targets: Tensor, fill: float = -torch.inf) -> Tensor:
        logits = logits.clone()
        logits[torch.arange(len(logits)), barred] = fill
        return F.cross_entropy(logits, targets)

    right = loss(table[own], own, target)
    unit = F.normalize(codebook, dim=1)
    per_item = table.masked_fill(torch.eye(len(table), dtype=torch.bool), -torch.inf).log_softmax(
        dim=1
    )
    first_rows = table[own].clone().fill_diagonal_(-torch.inf)
    yield (
        F.cross_entropy(first_rows, target),
        "`fill_diagonal_` bars code i in row i. Bar one entry a row: its own.",
    )
    yield (
        F.cross_entropy(table[own], target),
        "the item's own code is left among the logits; it has to be barred.",
    )
    yield (
        loss(table[own], own, target, 0.0),
        "the code's own logit is set to 0, and exp(0) = 1 still counts. Use -inf.",
    )
    yield loss(table[own], own, target, -1.0), f"{HIGH_FILL}."
    yield (
        loss((unit @ unit.T)[own], own, target),
        "cosines; the formula has dot products, lengths included.",
    )
    yield (
        loss(-torch.cdist(codebook, codebook)[own], own, target),
        "distances; the formula has dot products.",
    )
    yield (
        loss(-torch.cdist(codebook, codebook).square()[own], own, target),
        "distances; use dot products.",
    )
    yield loss(-table[own], own, target), "the sign of the dot products."
    yield (
        F.cross_entropy(per_item.exp()[own], target),
        "a softmax too many: `F.cross_entropy` has one inside.",
    )
    without = table.index_put((own, own), torch.tensor(-torch.inf))[own].scatter(
        1, target[:, None], -torch.inf
    )
    below = without.logsumexp(dim=1) - table[own, target]
    yield below.mean(), "the positive is missing below the line; it is one of the other codes."
    yield (
        loss(table[target], target, own),
        "the positives' rows of logits: start from the item's own code.",
    )
    yield (
        loss(table[own] / codebook.shape[1] ** 0.5, own, target),
        "dot products divided by sqrt(dim).",
    )
    yield right * len(own), "a sum over items; take the mean."
    yield right * len(own) / len(codes), "items without a positive are counted in the mean."
    yield (
        loss(table[codes], codes, positive % len(table)),
        "row -1 is the last code, so -1 was taken for a positive.",
    )
    yield (
        loss(table[codes], codes, positive.clamp(min=0)),
        "-1 was turned into code 0. Leave these items out.",
    )
    yield -right, "the minus sign is missing, or one too many."
    yield -per_item.exp()[own, target].mean(), "the logarithm is missing."
    yield per_item[own, target].exp().mean(), "the logarithm is missing."
    yield -per_item[own, target], "one loss per item; take their mean."
    yield (
        -table[own, target].mean(),
        "only the positive's dot product; the softmax over the other codes is missing.",
    )
    yield (
        F.cross_entropy(table[own][:, target], n),
        "negatives of the batch; here they are all codes of the level.",
    )


EXERCISES = {
    "4.1": Exercise(perplexity_cases, perplexity),
    "4.2": Exercise(positives_cases, positives),
    "4.3": Exercise(diversity_cases, diversity),
    "4.4": Exercise(sinkhorn_cases, sinkhorn),
}
