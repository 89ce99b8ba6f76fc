"""What the figures of the lessons compute from their data, read off the titles; not their wording.

`numbers` and `facts` look only at figures and names in a title.
"""

import re

import numpy as np
import pandas as pd
import pytest

from letterlib.course import (
    figures_02,
    figures_05,
    figures_06,
    figures_07,
    figures_09,
    figures_10,
    figures_11,
)
from letterlib.course.experiments import PAPER
from letterlib.evaluation.bootstrap import Interval


def title(axes):
    """The titles of one or several Axes, left or middle, and the figure's own."""
    axes = np.ravel(axes)
    parts = [ax.get_title("left") or ax.get_title() for ax in axes]
    return " | ".join([*parts, axes[0].figure.get_suptitle()])


def numbers(axes, last=None):
    """The numbers in the titles, in their order."""
    found = [
        float(one.replace(",", "").replace("−", "-"))
        for one in re.findall(r"(?<![\w.])[-+−]?\d[\d,]*\.?\d*", title(axes))
    ]
    return found[-last:] if last else found


def near(mean, half=0.01):
    return Interval(mean, mean - half, mean + half)


CLEAR, BELOW, UNSURE = near(0.05), near(-0.05), near(0.005)  # of 0


# Lessons 00 to 02


@pytest.mark.parametrize(
    "levels, per_level, better",
    [
        ([0.5, 0.3, 0.2, 0.1], 64, True),
        ([0.5, 0.4, 0.3, 0.2], 64, False),
        ([0.7, 0.49], 16, True),
        ([0.7, 0.51], 16, False),
    ],
)
def test_residual_levels_are_compared_with_one_codebook_of_equal_size(levels, per_level, better):
    """Between two measured codebooks, half way in bits, the error is half way."""
    single = {4: 0.8, 16: 0.6, 64: 0.4, 256: 0.2}
    said = title(figures_02.error_by_vectors(single, levels, per_level))
    assert ("does not beat" not in said) is better


# Lesson 03


# Lesson 04


# Lesson 05


@pytest.mark.parametrize(
    "criteria, wins",
    [
        (((0.1, 0.2), (0.1, 0.2), (near(0.3), near(0.2)), (0.1, 0.2)), [4, 3, 1]),
        (((0.2, 0.1), (0.2, 0.1), (0.1, 0.2), (0.2, 0.1)), [4, 1, 3]),
        (((0.1, 0.2), (0.1, 0.2), (0.3, 0.2), (32, 32)), [4, 3, 0]),  # a tie is nobody's
    ],
)
def test_measures_that_each_tokenizer_wins_are_counted(criteria, wins):
    """Low is good in the first two, high in the others."""
    measures = [figures_05.Measure(f"measure {i}", both, i > 1) for i, both in enumerate(criteria)]
    axes = figures_05.three_criteria(
        ["plain", "LETTER"], {"meaning": measures[:2], "audience": measures[2:]}
    )
    assert numbers(axes)[-3:] == wins


# Lesson 06


def test_attention_has_the_least_and_the_most_of_the_films_and_the_code_read_most():
    by_film = np.array([[0.1, 0.3, 0.6], [0.5, 0.3, 0.2]])
    axes = figures_06.attention_shares(by_film, by_film)
    assert numbers(axes[0]) == [1, 25, 75] and numbers(axes[1]) == [1, 2, 60, 1, 20, 2]
    axes = figures_06.attention_shares(by_film[::-1], by_film[::-1])
    assert numbers(axes[0]) == [1, 37.5, 62.5] and numbers(axes[1]) == [1, 1, 20, 1, 60, 2]


def test_the_ten_hardest_negatives_have_their_share_at_the_ends_of_tau():
    even, steep = np.full((2, 20), 0.05), np.tile([0.91] + [0.01] * 9 + [0.0] * 10, (2, 1))
    axes = figures_06.weight_by_rank({0.3: steep, 1.0: even, 2.0: even})
    assert numbers(axes[1]) == [100, 0.3, 50, 2]


# Lessons 07 and 08


@pytest.mark.parametrize("d_out, d_in, rank, share", [(100, 100, 5, 10), (192, 576, 8, 5.6)])
def test_an_adapter_has_its_share_of_the_matrix(d_out, d_in, rank, share):
    assert numbers(figures_07.adapter_to_scale(d_out, d_in, rank)) == [share]


# Lesson 09


def test_contests_count_unsure_seeds_and_turned_winners():
    rows = [[CLEAR, UNSURE], [CLEAR, BELOW], [near(0.001), near(-0.001)], [near(-0.001), CLEAR]]
    ax = figures_09.differences_by_seed({f"contest {i}": row for i, row in enumerate(rows)})
    assert numbers(ax) == [3, 4, 0, 3]


# Lesson 10


@pytest.mark.parametrize("ours, above", [(None, 2), (0.07, 2), (0.071, 3)])
def test_rows_above_the_papers_letter_tiger_are_counted(ours, above):
    rows = [
        ("A", "cornac", 0.08),
        ("B", "cornac", 0.09),
        ("TIGER", PAPER, 0.06),
        ("LC-Rec", PAPER, np.nan),
        ("LETTER-TIGER", PAPER, 0.07),
    ]
    mine = None if ours is None else {"LETTER-TIGER (this run)": near(ours)}
    table = pd.DataFrame(rows, columns=["system", "source", "R@10"])
    assert numbers(figures_10.published_forest(table, 1000, mine))[0] == above


def test_seeds_that_show_a_difference_are_counted():
    curves = {
        "671 users": np.array([0.03, 0.02, 0.01]),
        "22,363 users": np.array([0.006, 0.005, 0.004]),
    }
    ax = figures_10.smallest_seen_by_seeds(curves, [1, 3, 20], ("a gain", 0.02))
    assert numbers(ax) == [0.02, 671, 3, 22_363, 1]
    ax = figures_10.smallest_seen_by_seeds(curves, [1, 3, 20], ("a gain", 0.0062))
    assert numbers(ax) == [0.0062, 671, 20, 22_363, 1]  # more than 20


# Lesson 11


@pytest.mark.parametrize(
    "p, adjusted, counts",
    [([0.3, 0.001, 0.04], [0.3, 0.003, 0.08], [2, 3, 1]), ([0.05, 0.6], [0.1, 0.6], [0, 2, 0])],
)
def test_p_values_below_the_bound_are_counted_before_and_after_holm(p, adjusted, counts):
    family = pd.DataFrame({"p": p, "Holm": adjusted}, index=[f"tau {i}" for i in range(len(p))])
    found = numbers(figures_11.staircase(family))
    assert [one for one in found if one != 5 and one != 0.05] == counts


@pytest.mark.parametrize("n", [1, 5])
def test_each_comparison_has_its_bound_a_single_one_too(n):
    p = np.linspace(0.01, 0.3, n)
    ax = figures_11.staircase(pd.DataFrame({"p": p, "Holm": np.minimum(1, p * n)}))
    bound = next(line for line in ax.lines if "Holm" in str(line.get_label()))
    for rank in range(1, n + 1):  # a piece that is level, from before its place to after it
        level = bound.get_ydata()[
            (bound.get_xdata() > rank - 0.6) & (bound.get_xdata() < rank + 0.6)
        ]
        assert np.isclose(level, 0.05 / (n - rank + 1)).sum() >= 2
    assert ax.get_ylim()[1] > p.max()


# Projects
