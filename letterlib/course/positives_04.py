"""Exercise 4.2: draw a positive for each item. A draw has no one right answer, so its properties
are checked.
"""

from typing import Any

import torch
from scipy.stats import chi2
from torch import Generator, Tensor

from letterlib.course.checks import Case, Incorrect, call, compare
from letterlib.tokenizer import losses
from letterlib.tokenizer.losses import NO_POSITIVE

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
            cause = "nothing random, or a seed that is set inside the function. Every batch needs a new draw."
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
            return "the two cases are exchanged: `torch.where(condition, a, b)` takes `a` where the condition is true."
        return "NO_POSITIVE everywhere. Each row is to be looked at by itself: is this code alone?"
    if (groups[returned.clamp(0, len(groups) - 1)] != groups[codes])[drawn].any():
        if (returned < sizes)[drawn].all():
            return "a place within the list of the group's codes, where the code that stands there was meant."
        return "the draw runs over all other codes, or over rows of the batch. Only codes of the same group may come."
    if (returned == codes)[drawn].any():
        if len(codes) > len(groups) and torch.isin(returned[drawn], codes).all():
            return "rows of the batch are drawn. Draw codes: one that no item has may come, and an item's own may not."
        return "the code itself is among those that can be drawn. Take it out first."
    if len(codes) > len(groups) and not torch.isin(returned[drawn], codes).any():
        return "every code of the batch is barred in every row. Bar one entry a row: the item's own code."
    if (returned == NO_POSITIVE)[sizes > 1].any():
        return "the code itself was drawn and then thrown away, or groups of two are taken for groups of one."
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
            cause = "a draw that favours some members; every other code of the group has the same chance."
        what = f"Not every other code of its group is drawn equally often for code {code} (in {counts.sum():.0f} rows)."
        raise Incorrect(
            what, case, expected=[round(mean, 1)] * len(others), actual=counts, cause=cause
        )
