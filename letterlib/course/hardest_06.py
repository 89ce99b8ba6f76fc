"""Exercise 6.4: the share of the hardest negatives that a positive beats. Ties and columns mislead
in many ways.
"""

from typing import Any

import torch
from torch import Generator, Tensor

from letterlib.analysis.negatives import partial_auc
from letterlib.course.checks import Case, Incorrect, call, compare
from letterlib.course.values import in_words


def auc_cases(generator: Generator) -> list[Case]:
    """One negative, above; ties on which every mistake known below differs; two ties of one
    positive; ties beyond the k hardest; then at random (cases, negatives, k).
    """
    first = {"positive": torch.tensor([0.0]), "negatives": torch.tensor([[1.0]]), "k": 1}
    few = torch.tensor([[2.0, 1, 0, 1, 1], [3, 0, 2, 0, 4]])
    tied = {"positive": torch.tensor([2.0, 2]), "negatives": few, "k": 3}
    twice = {"positive": torch.tensor([2.0]), "negatives": torch.tensor([[2.0, 1, 2, 3]]), "k": 4}
    cut = {
        "positive": torch.tensor([2.0]),
        "negatives": torch.tensor([[3.0, 2, 2, 2, 2, 0]]),
        "k": 4,
    }
    cases = [first, tied, twice, cut]
    for n, m, k in [(2, 4, 2), (3, 5, 5), (25, 12, 4)]:
        scores = torch.randint(-6, 7, (n, m + 1), generator=generator).float()
        cases.append(
            {"positive": scores[:, 0] + 2, "negatives": scores[:, 1:].contiguous(), "k": k}
        )
    return cases


def auc(answer: Any, case: Case) -> None:
    """6.4: positive [n], negatives [n, m], k -> share of the k hardest negatives below the
    positive, ties half, [n].
    """
    positive, negatives, k = case.values()
    m, own = negatives.shape[1], positive[:, None]

    def share(chosen: Tensor, tie: float = 0.5) -> Tensor:
        return ((chosen < own).float() + tie * (chosen == own).float()).mean(dim=1)

    expected, hardest = (
        partial_auc(positive, negatives, k / m).float(),
        negatives.topk(k, dim=1).values,
    )
    causes = [
        (1 - expected, "the share of negatives *above* the positive."),
        (share(hardest, 0), "ties count as lost. A tie counts half."),
        (share(hardest, 1), "ties count as won (`<=`). A tie counts half."),
        (
            share(hardest, 0) + 0.5 * share(hardest, 1),
            "a win counts one and a half: `>=` holds for it, too. A tie is `==`.",
        ),
        (
            (hardest < own).float().mean(dim=1) + 0.5 * (hardest == own).any(dim=1) / k,
            "half a point for a row with ties. *Each* tie counts half.",
        ),
        (
            ((k - (negatives > own).sum(dim=1) - 0.5 * (negatives == own).sum(dim=1)) / k).clamp(
                min=0
            ),
            "ties beyond the k hardest were counted, too. Only those among them count.",
        ),
        (
            share(negatives),
            "all negatives: that is the AUC. Take the k hardest, those with the highest scores.",
        ),
        (share(negatives, 0), "all negatives, and ties count as lost."),
        (
            share(negatives.topk(k, dim=1, largest=False).values),
            "the k *easiest* negatives. Hard is a high score.",
        ),
        (
            share(negatives[:, :k]),
            "the first k columns; negatives are not sorted. `topk` finds the hardest.",
        ),
        (expected * k, "a count; divide by k."),
        (expected * k / m, "divided by the number of all negatives; only k take part."),
        (
            share(negatives.flatten().topk(k).values[None]),
            "the k hardest of all cases together; each row has its own.",
        ),
        (
            (share(hardest, 0) > 0).float(),
            "whether any is beaten; the measure is the share that is.",
        ),
        (
            (hardest < own).all(dim=1).float(),
            "whether all are beaten; the measure is the share that is.",
        ),
        (expected.mean(), "a mean over cases; one number per case is asked for."),
        ((hardest - own).mean(dim=1), "by how much, not how many. Count the negatives below."),
        ((own - hardest).mean(dim=1), "by how much, not how many. Count the negatives below."),
        (
            torch.sigmoid(own - hardest).mean(dim=1),
            "a sigmoid of the margin; a win counts 1, however narrow.",
        ),
        (
            share(negatives.topk(max(1, k - 1), dim=1).values),
            "k - 1 negatives took part; k should.",
        ),
        (
            share(negatives.topk(min(m, k + 1), dim=1).values),
            "k + 1 negatives took part; k should.",
        ),
        (
            share(torch.cat([own, negatives], dim=1).topk(k, dim=1).values),
            "the target among the negatives, where it ties with itself.",
        ),
        (
            share(negatives.topk(k, dim=1).indices),
            "the columns of the hardest; their scores are `topk(...).values`.",
        ),
        (
            (share(hardest, 1) > 0).float(),
            "whether any is beaten; the measure is the share that is.",
        ),
    ]
    returned = call(answer, case)
    if isinstance(returned, Tensor) and returned.dtype == torch.bool:
        raise Incorrect(
            f"A share is a number, and {in_words(returned)} is true or false.",
            case,
            expected=expected,
            actual=returned,
            cause="a comparison whose mean was not taken.",
        )
    compare("the shares", returned, expected, case, causes)
