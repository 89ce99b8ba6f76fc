"""Exercise 11.3: what a sweep reports when its best setting is chosen on test, and when it is
chosen on validation.
"""

from typing import Any

import numpy as np
import torch
from torch import Generator

from letterlib.course.checks import Case, call, compare
from letterlib.course.returned import several
from letterlib.course.values import kind_of


def choices(
    truth: np.ndarray, in_validation: np.ndarray, in_test: np.ndarray
) -> tuple[float, float, float]:
    """Mean figure reported when choosing on validation, when choosing on test, and the truth of the
    honest choice.

    truth: float [n_settings]; in_validation, in_test: noise of each repeat, float [n_repeats,
    n_settings].
    """
    validation, test = truth + in_validation, truth + in_test
    rows, chosen = np.arange(len(test)), validation.argmax(axis=1)
    return (
        float(test[rows, chosen].mean()),
        float(test.max(axis=1).mean()),
        float(truth[chosen].mean()),
    )


def choice_cases(generator: Generator) -> list[Case]:
    """Two settings, two repeats, every choice different; then more, with a truth that matters
    beside the noise.
    """
    small = {
        "truth": np.array([0.5, 0.4]),
        "in_validation": np.array([[0.0, 0.3], [0.1, 0.0]]),
        "in_test": np.array([[0.2, -0.1], [-0.3, 0.1]]),
    }
    cases = [small]
    for n_repeats, n_settings in ((3, 3), (40, 8)):
        drawn = torch.randn(2 * n_repeats + 1, n_settings, generator=generator).double().numpy()
        drawn = np.round(drawn, 2) + 0.001 * np.arange(n_settings)
        cases.append(
            {
                "truth": 2 + drawn[0],
                "in_validation": drawn[1 : n_repeats + 1],
                "in_test": drawn[n_repeats + 1 :],
            }
        )
    return cases


def choice(answer: Any, case: Case) -> None:
    """11.3: truth [n_settings], in_validation and in_test [n_repeats, n_settings] -> three means."""
    truth, in_validation, in_test = case.values()
    validation, test = truth + in_validation, truth + in_test
    rows, chosen, best = np.arange(len(test)), validation.argmax(axis=1), test.argmax(axis=1)
    names = ["by_validation", "by_test", "true"]
    returned = several(call(answer, case), names, case, "numbers")
    expected = dict(zip(names, choices(*case.values()), strict=True))
    noise_alone = in_validation.argmax(axis=1)
    once = int(validation.mean(axis=0).argmax())
    causes = {
        "by_validation": [
            (
                validation.max(axis=1).mean(),
                "the *validation* figure of the chosen setting. Choose on validation, "
                "report test: the same figure cannot do both.",
            ),
            (
                expected["by_test"],
                "chosen on test as well. The first number chooses with `truth + in_validation`.",
            ),
            (
                test[rows, noise_alone].mean(),
                "chosen by the noise alone. What is seen is `truth + in_validation`.",
            ),
            (in_test[rows, chosen].mean(), "the noise of the chosen setting, without its truth."),
            (
                test[:, once].mean(),
                "one choice for all repeats. Each row is a sweep of its own: `argmax(axis=1)`.",
            ),
            (
                test[rows, validation.argmin(axis=1)].mean(),
                "the worst on validation; take the highest.",
            ),
            (
                test[chosen].mean(),
                "`test[chosen]` takes whole rows, by the numbers of settings. Pair them: "
                "`test[np.arange(len(test)), chosen]`.",
            ),
            (in_test[rows, noise_alone].mean(), "noise alone. What is seen is `truth` plus noise."),
            (test[rows, chosen], "one figure a repeat. Return their mean."),
            (
                test[:, chosen].mean(),
                "`test[:, chosen]` takes every chosen column from every row. Pair them: "
                "`test[np.arange(len(test)), chosen]`.",
            ),
        ],
        "by_test": [
            (
                test.max(),
                "the highest figure of all repeats. Take each row's maximum, then the mean.",
            ),
            (
                test.max(axis=0).mean(),
                of_columns := "the best repeat of each setting; a sweep is a row: `axis=1`.",
            ),
            (test.max(axis=0), of_columns),
            (
                test.mean(axis=0).max(),
                "the mean over repeats first, then the maximum. In every repeat one looks at one "
                "sweep and takes *its* best.",
            ),
            (
                expected["by_validation"],
                "chosen on validation as well. The second number looks at test alone.",
            ),
            (in_test.max(axis=1).mean(), "the largest noise, without the truth."),
            (
                truth[best].mean(),
                "the truth of what test chose. Asked for is the figure that is reported.",
            ),
            (
                validation[rows, best].mean(),
                "the validation figure of what test chose; report its test figure.",
            ),
            (expected["true"], "the truth of what validation chose. It comes third."),
        ],
        "true": [
            (truth.max(), "the truth of the best setting. Noise does not always choose it."),
            (
                truth[best].mean(),
                "the truth of what *test* chose. The third number goes with the first.",
            ),
            (truth.mean(), "the mean of all settings; take those that were chosen."),
            (
                truth[noise_alone].mean(),
                "chosen by the noise alone. What is seen is `truth + in_validation`.",
            ),
            (
                expected["by_validation"],
                "the reported figure once more. `truth` itself has no noise.",
            ),
        ],
    }
    if [kind_of(one) for one in returned[:2]] == ["a number"] * 2 and np.allclose(
        returned[:2], [expected["by_test"], expected["by_validation"]]
    ):
        causes["by_validation"].insert(
            0, (expected["by_test"], "the first two in the other order.")
        )
    for name, value in zip(names, returned, strict=True):
        compare(name, value, expected[name], case, causes[name])
