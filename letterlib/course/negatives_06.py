"""Exercise 6.3: how the gradient of the loss is shared out among the negatives."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from letterlib.analysis.negatives import negative_weights
from letterlib.course.checks import Case, Incorrect, call, compare
from letterlib.course.values import tenths


def weight_cases(generator: Generator) -> list[Case]:
    """(rows, vocabulary, tau), one negative first; before the largest, logits that are lower than
    what many take for minus infinity, and whose exponentials float32 still has.
    """
    cases = []
    for n, vocabulary, tau in [(1, 2, 1.0), (1, 3, 0.5), (2, 4, 2.0), (12, 9, 0.6)]:
        logits = tenths(2 * torch.randn(n, vocabulary, generator=generator))
        targets = torch.randint(vocabulary, (n,), generator=generator)
        cases.append({"logits": logits, "targets": targets, "tau": tau})
    low = {
        "logits": torch.tensor([[-120.0, -110.0, -130.0]]),
        "targets": torch.tensor([1]),
        "tau": 2.0,
    }
    return [*cases[:-1], low, cases[-1]]


def weights(answer: Any, case: Case) -> None:
    """6.3: logits [n, V], targets [n], tau -> each negative's share of the gradient [n, V], 0 at
    the target.
    """
    logits, targets, tau = case.values()
    expected = negative_weights(logits, targets, tau)
    here = F.one_hot(targets, logits.shape[1]).bool()
    returned = call(answer, case)
    if isinstance(returned, Tensor) and returned.isnan().any():
        cause = "infinity times 0, as in `torch.inf * mask` (`masked_fill` multiplies nothing), or no logit that is "
        cause += "left, since the targets of all rows are out of every row."
        raise Incorrect(
            "The weights are not all numbers.",
            case,
            expected=expected,
            actual=returned,
            cause=cause,
        )
    causes = _causes_of_weights(expected, here, **case)
    if _divided_by_almost_nothing(returned, here):
        causes.append(
            (
                returned,
                "divided by the sum of the whole row. With the target in it, a row of the gradient "
                "adds up to 0: take the target out first.",
            )
        )
    compare("the table of weights", returned, expected, case, causes)


def _divided_by_almost_nothing(returned: Any, here: Tensor) -> bool:
    """Whether weights are of the size that only a sum of 0 but for rounding gives, and of both
    signs, which is what tells them from exponentials.
    """
    if not isinstance(returned, Tensor) or returned.shape != here.shape:
        return False
    return bool((returned[~here].abs() > 1e3).any() and (returned < -1e3).any())


def _causes_of_weights(
    expected: Tensor, here: Tensor, logits: Tensor, targets: Tensor, tau: float
) -> list[tuple[Tensor, str]]:
    p = (logits / tau).softmax(dim=1)
    pulls = p - here.float()
    plain = logits.softmax(dim=1).masked_fill(here, 0)
    filled = logits.masked_fill(here, -100).div(tau).softmax(1)
    return [
        (
            p,
            "the target has its probability, too. It is no negative: 0 there, and the others add up to 1.",
        ),
        (
            p.masked_fill(here, 0),
            "the target is out, but the rest adds up to less than 1. Divide by its sum.",
        ),
        (p / (1 - p[here])[:, None], "divided rightly, but the target still has weight; 0 there."),
        (p.masked_fill(here, 0) / tau, "the gradient itself. Its *share*: each row adds up to 1."),
        (pulls / (1 - p[here])[:, None], "divided rightly, but the target has -1; 0 there."),
        *(
            (one, "the gradient itself, target included. Negatives alone, as shares.")
            for one in (pulls / tau, pulls)
        ),
        (
            plain / plain.sum(dim=1, keepdim=True),
            "tau is not used, or divides where it cancels again. It divides the logits.",
        ),
        (negative_weights(logits, targets, 1 / tau), "logits *times* tau; the loss divides by it."),
        (
            logits.masked_fill(here, 0).div(tau).softmax(1),
            "a logit of 0 at the target still gets weight; use `-torch.inf`.",
        ),
        (
            logits.masked_fill(here, 0).div(tau).softmax(1).masked_fill(here, 0),
            "a logit of 0 at the target takes part in the sum; use `-torch.inf`.",
        ),
        *(
            (
                found,
                "-100 at the target. Beside low logits it still gets weight, or takes part in the sum; use "
                "`-torch.inf`.",
            )
            for found in (filled, filled.masked_fill(here, 0))
        ),
        (
            negative_weights(-logits, targets, tau),
            "the sign: negatives with a *high* logit get much.",
        ),
        (
            logits.masked_fill(here, -torch.inf).div(tau).softmax(0),
            "a softmax down the columns; each row is a case.",
        ),
        (expected.sort(dim=1, descending=True).values, "sorted. Leave every weight at its token."),
        (expected.log(), "logarithms of the weights."),
        (expected / tau, "divided by tau once more; shares add up to 1."),
        *(
            (one / one.sum(), "shares of the whole batch; each row adds up to 1.")
            for one in (expected, p.masked_fill(here, 0))
        ),
        (
            (logits / tau).exp().masked_fill(here, 0),
            "exponentials, not yet divided by the sum of their row.",
        ),
        (
            (logits / tau).index_fill(1, targets, -torch.inf).softmax(1),
            "the targets of all rows are out of every row; each row has one target, its own.",
        ),
        (
            expected[~here].view(len(logits), -1),
            "the target's column is gone; keep it, with weight 0.",
        ),
        (
            pulls.abs() / pulls.abs().sum(dim=1, keepdim=True),
            "shares of all pulls, the "
            "target's own among them. It is no negative: 0 there, and the others add up to 1.",
        ),
        ((~here).float() / (logits.shape[1] - 1), "the same weight for all; the logits decide."),
    ]
