"""What the figures of the lessons compute from their data, read off the titles; not their wording.

`numbers` and `facts` look only at figures and names in a title.
"""

import re

import numpy as np
import pandas as pd
import pytest

from letterlib.course import (
    figures_00,
    figures_01,
    figures_02,
    figures_03,
    figures_04,
    figures_05,
    figures_06,
    figures_07,
    figures_08,
    figures_09,
    figures_10,
    figures_11,
    figures_projects,
)
from letterlib.course.experiments import PAPER
from letterlib.course.masking_cost import ARRAYS, DICTIONARY, PREFIX_FUNCTION, Cost
from letterlib.decoding.trie import Trie
from letterlib.evaluation.bootstrap import Interval
from letterlib.pipeline.systems import CONVENTIONAL, FLOOR


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


def test_the_long_tail_counts_its_head_and_has_its_median():
    counts = np.array([2] * 6 + [0] * 7)
    assert numbers(figures_00.long_tail(counts, [f"film {i}" for i in range(13)])) == [2, 13, 0]


def test_identifiers_count_films_whose_first_token_another_has():
    films = {
        "Alien": {"ID": ["<1>"], "codebook": ["<a_1>", "<b_2>"]},
        "Aliens": {"ID": ["<2>"], "codebook": ["<a_1>", "<b_3>"]},
        "Titanic": {"ID": ["<3>"], "codebook": ["<a_4>", "<b_2>"]},
    }
    assert numbers(figures_00.three_identifiers(films)) == [3, 0, 2]


def test_a_map_has_the_share_of_neighbours_in_one_colour():
    line = np.arange(12.0)
    points = np.stack([np.concatenate([line, line + 1000]), np.zeros(24)], axis=1)
    two, alone = np.repeat([0, 1], 12), np.full(24, -1)
    alone[[0, 12]] = 0, 1
    assert numbers(figures_01.film_map(points, two, ["War", "Crime"], {0: "A"})) == [100, 50]
    assert numbers(figures_01.film_map(points, alone, ["War", "Crime"], {})) == [0, 4]


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


@pytest.mark.parametrize("last, every", [(0.7, True), (0.8, False)])
def test_every_level_takes_away_error_or_not_every_one(last, every):
    arms = {"random start": [0.9, 0.8, last], "k-means start": [0.6, 0.4, 0.3]}
    assert ("Not every" not in title(figures_02.error_by_level(arms))) is every


# Lesson 03


@pytest.mark.parametrize("audience, r", [([0.1, 0.2, 0.3], 1), ([0.3, 0.2, 0.1], -1)])
def test_likeness_of_pairs_has_its_correlation(audience, r):
    groups = {"alike as texts": np.array([2]), "alike in audience": np.array([0])}
    ax = figures_03.alike_map(np.array([0.2, 0.4, 0.6]), np.array(audience), groups, 3)
    assert numbers(ax) == [3, 3, r]


def test_pull_and_push_has_a_probability_and_two_angles():
    h, start = np.eye(2), np.zeros((2, 2))
    alike = np.stack([start, np.array([[1.0, 1], [2, 2]])])
    said = title(figures_03.pull_and_push(np.array([0, np.log(3)]), h, 1, alike))
    assert "0.75" in said and "90°" in said and " 0°" in said


def test_the_largest_batch_has_its_best_epoch():
    frames = {
        batch: pd.DataFrame({"loss": 1.0, "overlap": values}, index=[1, 2, 3])
        for batch, values in ((4, [0.9] * 3), (512, [0.1, 0.3, 0.2]))
    }
    assert numbers(figures_03.batches_and_epochs(frames), last=5) == [512, 2, 0.3, 3, 0.2]


# Lesson 04


def test_the_emptier_half_of_the_codes_has_its_films():
    loads = {
        "none": np.array([0, 0, 7, 0]),
        "plain": np.array([0, 5, 0, 5]),
        "CF": np.array([1, 3, 1, 3]),
        "even": np.full(3, 2),
    }
    assert numbers(figures_04.lorenz(loads)) == [0, 0, 25, 50]


def test_a_descent_ends_at_a_multiple_of_its_start():
    names = ["length", "between groups", "within a group", "nearest code"]
    history = pd.DataFrame([[2.0, 1, 1, 0.1], [5, 3, 0.9, 0.1], [4, 2.5, 0.5, 0.1]], columns=names)
    before = np.array([[1.0, 0], [0, 1], [1, 1]])
    axes = figures_04.descent(before, 2 * before, np.array([0, 1, 1]), history)
    assert numbers(axes[1]) == [2, 2.5, 0.5, 1]


def test_the_fullest_eighth_of_the_codes_has_its_films():
    even, full = np.ones(16), np.concatenate([np.full(2, 14), np.full(14, 1)])
    assert numbers(figures_04.loads_by_group({"plain": full, "Div": even})) == [2, 16, 67, 12]


@pytest.mark.parametrize("perplexity, word", [([180, 220], "adds"), ([220, 180], "takes")])
def test_the_largest_beta_is_compared_with_none(perplexity, word):
    """The other alpha does not move."""
    half = {"perplexity_1 half": 1.0, "error half": 0.01}
    rows = [
        {"alpha": alpha, "beta": beta, "perplexity_1": p, "error": e} | half
        for alpha, both in (
            (0, [(200, 0.5)] * 2),
            (0.1, zip(perplexity, [0.6, 0.612], strict=True)),
        )
        for beta, (p, e) in zip((0, 1), both, strict=True)
    ]
    axes = figures_04.beta_sweep(pd.DataFrame(rows), 0.1)
    assert numbers(axes) == [0.1, 1, 40, 0.1, 1, 0.012]
    assert word in title(axes[0])


def test_spheres_count_codes_in_use_and_have_the_largest_share():
    books = np.random.default_rng(0).normal(size=(2, 6, 5))
    loads = {"CF": np.array([0, 0, 1, 3, 0, 0]), "Div": np.ones(6)}
    axes = figures_04.spheres(dict(zip(loads, books, strict=True)), loads)
    assert numbers(axes) == [2, 6, 75, 6, 6, 16.7]


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


@pytest.mark.parametrize(
    "error, similarity, one, r",
    [([0.1, 0.9], [0.1, 0.9], False, 1), ([0.1, 0.9], [0.9, 0.1], True, -1)],
)
def test_one_setting_is_best_at_both_or_not(error, similarity, one, r):
    rows = [
        (alpha, beta, seed, error[alpha] + 0.01 * beta, similarity[alpha] - 0.01 * beta)
        for alpha in (0, 1)
        for beta in (0, 1)
        for seed in range(2)
    ]
    columns = ["alpha", "beta", "seed", "error", "similarity"]
    ax = figures_05.trade_off(pd.DataFrame(rows, columns=columns))
    assert title(ax).startswith("One setting") is one and numbers(ax) == [4, 2, r]


@pytest.mark.parametrize("found, ratio", [((0.24, 0.02), [12]), ((0.24, 0.0), [0.24, 0])])
def test_recall_by_identifier_is_so_many_times_recall_by_film(found, ratio):
    table = {"identifiers": [9, 40], "by identifier": [found[0], 0.1], "by film": [found[1], 0.1]}
    ax = figures_05.counted_twice(pd.DataFrame(table, index=[1, 2]))
    assert [one for one in numbers(ax) if one != 10] == ratio


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


def test_the_best_tau_is_that_of_each_column():
    table = pd.DataFrame(
        {1: [0.9, 0.5, 0.1], 10: [0.4, 0.6, 0.2], 100: [0.4, 0.6, 0.7]}, index=[0.2, 1, 4]
    )
    assert numbers(figures_06.followed(table)) == [0.2, 1, 4]
    assert numbers(figures_06.followed(1 - table)) == [4, 4, 0.2]


def test_tau_moves_recall_and_the_push_by_so_much():
    recall = {
        "logits / tau": {0.5: near(0.05), 1.0: near(0.0525)},
        "raw logits": {0.5: near(0.04), 1.0: near(0.02)},
    }
    share = {"fixed": {0.5: 0.9, 1.0: 0.2}, "learned": {0.5: 0.4, 1.0: 0.43}}
    assert numbers(figures_06.recall_against_tau(recall, share, 5)) == [5, 0.0025, 0.02, 70, 3]


def test_first_codes_never_written_are_counted_among_those_that_films_have():
    table = pd.DataFrame({"generated": [4, 0, 0], "catalogue": [2, 1, 0], "targets": [3, 1, 0]})
    axes = figures_06.first_codes({"no L_Div": table}, {"no L_Div": 0.254})
    assert numbers(axes) == [0.25, 1, 2]


# Lessons 07 and 08


@pytest.mark.parametrize("d_out, d_in, rank, share", [(100, 100, 5, 10), (192, 576, 8, 5.6)])
def test_an_adapter_has_its_share_of_the_matrix(d_out, d_in, rank, share):
    assert numbers(figures_07.adapter_to_scale(d_out, d_in, rank)) == [share]


def test_valid_tokens_have_the_range_of_their_codes_after_the_last_step():
    last = [
        [0.9, 0.5, 0.7, 0.1],
        [0.25, 0.3, 0.4, 1.0],
        [0.0, 0.05, 1.0, 0.3],
    ]  # three codes, then the end token
    axes = figures_07.valid_mass([0, 20], np.stack([np.zeros((3, 4)), np.array(last)]))
    assert numbers(axes) == [0.5, 0.9, 0.25, 0.4, 0, 1]


def test_the_task_with_the_lowest_loss_and_that_with_the_highest_are_means_of_seeds():
    losses = {
        "seqrec": np.array([[5.0, 1.0], [5.0, 3.0]]),
        "itemsearch": np.array([[1.0, 2.5], [1.0, 2.5]]),
    }
    assert numbers(figures_07.losses_by_epoch(losses)) == [2, 2.5]


def drawn_beams(*last):
    """Two first codes with two beams each below; at the last level one is left of each in `last`,
    the best first.
    """
    first = [(-0.1, (0,)), (-0.2, (1,))]
    second = [(-0.3, (0, 0)), (-0.4, (0, 1)), (-0.5, (1, 0)), (-0.6, (1, 1))]
    third = [(score, (*tokens, 0)) for score, tokens in second]
    fourth = [(-1.0 - i, (*tokens, 0, 0)) for i, tokens in enumerate(last)]
    return figures_08.unfolding([first, second, third, fourth], lambda tokens: 3, str, str)


def test_an_unfolded_search_counts_what_is_kept():
    kept = [1, 2, 3, 2, 4, 6, 3, 4, 12, 4, 2, 12]
    assert numbers(drawn_beams((0, 0), (1, 0))) == [*kept, 2, 2, 2]
    assert numbers(drawn_beams((0, 0), (0, 1))) == [*kept, 2, 1, 2]


def test_a_trie_counts_its_films_and_the_nodes_of_its_levels():
    codes = np.array([[0, 0, 1], [0, 0, 1], [0, 2, 0], [1, 1, 0], [1, 1, 2], [2, 0, 2]])
    ax = figures_08.numbered_trie(Trie.build(codes, (3, 3, 3), 0), list("abcdef"))
    assert numbers(ax)[-4:] == [1, 3, 4, 5]


def test_masking_is_so_many_times_as_slow_as_with_arrays():
    build = {DICTIONARY: 1.0, ARRAYS: 0.5}
    small = Cost(1000, {DICTIONARY: 1e-3, PREFIX_FUNCTION: 1e-3, ARRAYS: 1e-3}, 20, build)
    times = {DICTIONARY: 12e-3, PREFIX_FUNCTION: 30e-3, ARRAYS: 1e-3}
    axes = figures_08.masking_cost([small, Cost(10_000, times, 20, build)])
    assert numbers(axes[0]) == [10_000, 12, 30]


def test_recall_is_that_of_the_first_beam_and_the_last():
    recall = {1: near(0.03), 20: near(0.05), 100: near(0.05)}
    agreement = {1: (0.5, 0.1), 20: (1.0, 0.97), 100: (1.0, 1.0)}
    axes = figures_08.beam_width(recall, agreement, 30)
    assert numbers(axes[0])[-4:] == [0.03, 1, 0.05, 100] and numbers(axes[1]) == [20, 97]


# Lesson 09


def test_a_forest_names_the_first_row_and_counts_rows_above_the_markov_floor():
    means = {figures_09.MARKOV: (0.06, 0.04), "SASRec": (0.05, 0.07), "HGN": (0.06, 0.06)}
    intervals = {name: tuple(map(near, both)) for name, both in means.items()}
    said = title(figures_09.forest(intervals, [FLOOR, CONVENTIONAL, CONVENTIONAL]))
    assert re.findall(r"\d+", said) == ["0", "2", "2"]
    assert figures_09.MARKOV in said and "SASRec" in said and "HGN" not in said


def test_systems_that_hardly_find_a_tail_film_are_counted():
    parts = dict.fromkeys(("head", "middle", "tail", "short", "medium", "long"), 0.1)
    table = pd.DataFrame(parts | {"tail": [0.0, 0.009, 0.01]}, index=list("abc"))
    assert numbers(figures_09.by_part(table)) == [2, 3, 100]


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


def test_differences_clear_of_0_are_named():
    drawn = {"movielens": ({"+ CF": (CLEAR, [1]), "+ Div": (UNSURE, [1]), "both": (BELOW, [1])}, 1)}
    said = title(figures_11.forests(drawn, "NDCG@10"))
    assert "+ CF" in said and "both" in said and "+ Div" not in said


def test_the_variant_with_the_highest_mean_is_named_for_each_criterion():
    columns = ["signal", "perplexity", "unexplained variance", "N@10"]
    rows = [(0.02, 200, 0.5, 0.03), (0.02, 190, 0.5, 0.05), (0.09, 150, 0.6, 0.045)]
    table = pd.DataFrame(rows, index=["plain RQ-VAE"] * 2 + ["+ CF"], columns=columns)
    said = title(figures_11.criteria(table, "movielens"))
    assert re.findall(r"plain RQ-VAE|\+ CF", said)[-3:] == ["+ CF", "+ CF", "plain RQ-VAE"]


def test_values_clear_of_the_profiles_own_are_named_and_counted():
    rows = {
        "alpha": {0.0: (BELOW, [1]), 0.02: None, 0.5: (CLEAR, [1]), 1.0: (CLEAR, [1])},
        "tau": {1.0: None, 2.0: (UNSURE, [1])},
    }
    axes = figures_11.sweeps(
        rows, dict.fromkeys(rows, "words"), {"alpha": 0.02}, "N@10", "movielens"
    )
    below, above = title(np.ravel(axes)[0]).split("above")
    assert "at 0;" in below and "0.5, 1" in above
    assert numbers(axes)[-2:] == [3, 4]


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


def test_optimism_is_that_of_the_settings_marked():
    columns = ["chosen on validation", "chosen on test", "truth"]
    curves = pd.DataFrame([[0.0, 0.0, 0.0], [0.001, 0.0025, 0.0]], index=[1, 20], columns=columns)
    assert numbers(figures_11.optimism(curves, 20)) == [20, 0.0025]


def test_gains_count_the_published_and_ours_apart():
    published = [("paper: tiger, beauty", 0.1, 0), ("paper: tiger, yelp", -0.1, 0)]
    ours = [("ours: three", CLEAR, 3), ("ours: one", CLEAR, 1), ("ours: unsure", UNSURE, 1)]
    found = numbers(figures_11.gains([*published, *ours], "N@10"))
    assert [one for one in found if one != 0] == [1, 2, 2, 3, 1]


# Projects


def test_targets_left_are_those_after_the_last_code():
    curves = {"target cold": [near(0.5), near(0.02)], "target seen": [near(0.6), near(0.125)]}
    assert numbers(figures_projects.survival(curves, 20)) == [2, 12.5]


@pytest.mark.parametrize(
    "disliked, highest", [((0.2, 0.1), "popularity"), ((0.1, 0.1), "2 of 2 alike")]
)
def test_the_question_with_the_highest_recall_is_named_for_each_target(disliked, highest):
    questions = {
        "popularity": {"liked": near(0.1), "disliked": near(disliked[0])},
        "asked for liked": {"liked": near(0.3), "disliked": near(disliked[1])},
    }
    said = title(figures_projects.by_question(questions))
    assert "liked: asked for liked" in said and f"disliked: {highest}" in said


def test_codes_of_both_domains_are_counted_among_those_in_use():
    loads = {"films": np.array([3, 1, 0, 0]), "goods": np.array([1, 1, 2, 0])}
    assert numbers(figures_projects.codes_by_domain(loads)) == [2, 3]


def test_two_ways_to_ask_that_are_equal_but_for_rounding_share_the_first_place():
    ways = {"no wish": near(0.3), "one": near(0.991), "another": near(0.991 + 1e-9)}
    axes = figures_projects.wishes({"fit": ways, "Recall@10": ways})
    assert "2 of 3" in title(np.ravel(axes)[0])
