"""The exercises of lesson 04: perplexity of code loads, positives of a group, diversity loss,
Sinkhorn.
"""

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from letterlib.analysis import code_usage
from letterlib.course.checks import Case, Exercise, Incorrect, call, compare
from letterlib.course.diversity_04 import diversity, diversity_cases
from letterlib.course.positives_04 import positives, positives_cases
from letterlib.tokenizer import collisions


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
        cause = "the logarithm of a negative number, or of 0: take that of the shares, divided with `/`."
        if not loads.all():
            cause = f"a dead code: 0 times log 0 is NaN in floating point. Leave out the codes with load 0. Or {cause}"
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
        "nearly 0, where a perplexity is at least 1. Counts where shares belong, or loads divided by the number of "
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
    of_its_own = "a number of rounds of its own, or rounds until nothing changes; `iterations` says how many."
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
            "rows and columns divided by the sums of one table. Scale the rows, and then sum the new columns.",
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


EXERCISES = {
    "4.1": Exercise(perplexity_cases, perplexity),
    "4.2": Exercise(positives_cases, positives),
    "4.3": Exercise(diversity_cases, diversity),
    "4.4": Exercise(sinkhorn_cases, sinkhorn),
}
