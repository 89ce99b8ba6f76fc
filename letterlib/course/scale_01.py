"""Exercise 1.4: a table whose columns have mean 0, and which as a whole has mean square 1."""

from typing import Any

import numpy as np
import torch
from torch import Generator

from letterlib.course.checks import Case, call, compare
from letterlib.course.values import tenths
from letterlib.tokenizer.letter import standardize


def standardize_cases(generator: Generator) -> list[Case]:
    """Columns of unequal spread around unequal means; in the third, one column is constant."""
    cases = []
    for rows, dim in [(2, 1), (3, 2), (4, 3), (16, 5)]:
        spread = torch.linspace(0.5, 3, dim)
        if (rows, dim) == (4, 3):
            spread[1] = 0
        x = torch.randn(rows, dim, generator=generator) * spread + torch.linspace(2, -1, dim)
        x[0] = x[1] + spread  # so that not all rows are equal
        cases.append({"x": tenths(x).numpy()})
    return cases


def standardized(answer: Any, case: Case) -> None:
    """1.4: x [n, d] -> [n, d], columns with mean 0, the whole table with mean square 1."""
    x, returned = case["x"], call(answer, case)
    with np.errstate(all="ignore"):
        compare("the table", returned, standardize(x), case, _wrong_scales(x.astype(np.float64)))


def _wrong_scales(x: np.ndarray) -> list[tuple[np.ndarray, str]]:
    centred, spread = x - x.mean(axis=0), x.std(axis=0)
    whole = "division by the length of the whole table: then the squares add up to 1. Their mean should be 1."
    lengths, by_row = (
        np.linalg.norm(centred, axis=1, keepdims=True),
        x - x.mean(axis=1, keepdims=True),
    )
    each_column = (
        "a standard deviation for every column; one number for the whole table is asked for."
    )
    return [
        (centred / np.linalg.norm(centred), whole),
        (centred / spread, each_column),
        (centred / centred.std(axis=0, ddof=1), each_column),
        (centred / np.where(spread > 0, spread, 1), each_column),
        (
            centred / lengths,
            "every row divided by its own length; one number for the whole table is asked for.",
        ),
        (
            centred / centred.std(axis=1, keepdims=True),
            "a standard deviation for every row; one number for all.",
        ),
        (centred, "centred and not scaled."),
        (
            (x - x.mean()) / spread,
            "the two axes swapped: one mean per column, one deviation for the whole table.",
        ),
        (
            by_row / x.std(axis=1, keepdims=True),
            "mean and standard deviation of every row; the mean is per column.",
        ),
        (
            centred / spread.mean(),
            "the mean of the columns' deviations; take one deviation of the whole table.",
        ),
        (
            x / np.sqrt(np.square(x).mean()),
            "scaled and not centred: take the mean of every column away first.",
        ),
        (x / x.std(), "scaled and not centred: take the mean of every column away first."),
        (x / centred.std(), "scaled and not centred: take the mean of every column away."),
        (
            (x - x.mean()) / x.std(),
            "one mean for the whole table; every column has its own, `mean(axis=0)`.",
        ),
        (
            by_row / by_row.std(),
            "the mean of every row is taken away (axis=1); take that of every column (axis=0).",
        ),
        (
            centred / np.sqrt(np.square(x).mean()),
            "the mean square of the table before centring; measure it after.",
        ),
        (
            centred / x.std(),
            "the standard deviation of the table before centring; measure it after.",
        ),
        (
            centred / centred.std(ddof=1),
            "`ddof=1`; NumPy's own default, 0, makes the mean square exactly 1.",
        ),
        (
            centred / centred.var(),
            "division by the variance; its square root is the standard deviation.",
        ),
        (centred * centred.std(), "multiplication by the standard deviation; divide."),
    ]
