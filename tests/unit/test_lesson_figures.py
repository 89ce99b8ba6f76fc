"""Figures of the lessons: a title says what the data show, and says something else of other data.

Left out are titles that a lesson hands over and titles that are the same for all data.
"""

from types import SimpleNamespace

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


def on_one_line(text):
    return " ".join(text.split())  # a no-break space is a space, too


def title(ax):
    """Of the left or the middle."""
    return on_one_line(ax.get_title("left") or ax.get_title())


def titles(axes):
    return [title(ax) for ax in np.ravel(axes)]


def suptitle(axes):
    return on_one_line(np.ravel(axes)[0].figure.get_suptitle())


def near(mean, half=0.01):
    return Interval(mean, mean - half, mean + half)


CLEAR, BELOW, UNSURE = near(0.05), near(-0.05), near(0.005)  # of 0


# Lesson 00


def titles_of_visits(*times):
    """times: of each user's ratings, in seconds."""
    rows = [(user, time) for user, some in enumerate(times) for time in some]
    return titles(figures_00.visits(pd.DataFrame(rows, columns=["user", "time"])))


def test_visits_count_users_of_one_day_and_ratings_of_one_second():
    assert titles_of_visits([0, 0, 5], [0, 86_400]) == [
        "50% of the users gave all their ratings within a day",
        "33% came in the same second as the one before",
    ]
    assert titles_of_visits([0, 1], [7], [0, 86_399]) == [
        "100% of the users gave all their ratings within a day",
        "0% came in the same second as the one before",
    ]


def title_of_the_long_tail(*counts):
    return title(figures_00.long_tail(np.array(counts), [f"film {i}" for i in range(len(counts))]))


def test_the_long_tail_counts_its_head_and_has_its_median():
    assert title_of_the_long_tail(3, 3, 3, 3, 3, 3) == (
        "2 of 6 films have a third of the ratings; half of the films have at most 3"
    )
    assert title_of_the_long_tail(*[2] * 6, *[0] * 7) == (
        "2 of 13 films have a third of the ratings; half of the films have at most 0"
    )


def test_one_film_has_a_third_of_the_ratings():
    assert title_of_the_long_tail(9, 4, 4, 1).startswith(
        "1 of 4 films has a third of the ratings; "
    )


def test_identifiers_count_films_whose_first_token_another_has():
    films = {
        "Alien": {"ID": ["<1>"], "codebook": ["<a_1>", "<b_2>"]},
        "Aliens": {"ID": ["<2>"], "codebook": ["<a_1>", "<b_3>"]},
        "Titanic": {"ID": ["<3>"], "codebook": ["<a_4>", "<b_2>"]},
    }
    beginning = "The first token is shared with another of these 3 films: "
    assert title(figures_00.three_identifiers(films)) == beginning + "ID 0 times, codebook 2 times"
    films["Titanic"]["codebook"][0] = "<a_1>"
    assert title(figures_00.three_identifiers(films)) == beginning + "ID 0 times, codebook 3 times"


def test_the_likeness_with_the_largest_share_is_named():
    shares = {"neighbouring item numbers": 0.3, "the same first code": 0.8}
    assert title(figures_00.sharing_a_genre(shares, 0.2)) == (
        "Genres agree most often between films with the same first code"
    )
    shares["the same first code"] = 0.29
    assert title(figures_00.sharing_a_genre(shares, 0.2)).endswith("with neighbouring item numbers")


# Lesson 01


def test_the_cone_opens_where_every_cosine_falls_far_in_the_last_layer():
    falling = {"film texts": [0.2, 0.7, 0.3], "bare titles": [0.1, 0.8, 0.1]}
    assert title(figures_01.cone_by_layer(falling)) == "The last layer opens the cone"
    rising = {"film texts": [0.2, 0.3, 0.7], "bare titles": [0.1, 0.1, 0.8]}
    assert title(figures_01.cone_by_layer(rising)) == "The last layer does not open the cone"
    little = {"film texts": [0.2, 0.7, 0.6], "bare titles": [0.1, 0.8, 0.8]}
    assert title(figures_01.cone_by_layer(little)) == "The last layer does not open the cone"


@pytest.mark.parametrize(
    "centred, mean", [([0.1, 0.3], "0.20"), ([-0.008, 0.0], "0.00"), ([-0.1, -0.1], "-0.10")]
)
def test_centring_moves_the_mean_cosine(centred, mean):
    ax = figures_01.cosine_histograms({"raw": np.array([0.4, 0.6]), "centred": np.array(centred)})
    assert title(ax) == f"Centring moves the mean cosine from 0.50 to {mean}"


def test_the_largest_hub_has_the_number_of_its_lists():
    counts = {"raw": np.array([0, 7, 2]), "centred": np.array([3, 3, 3])}
    ax = figures_01.hubs(counts, 3, ["Alien", "Aliens", "Titanic"])
    assert title(ax) == "In how many lists the largest hub stands: 7 raw, 3 centred"
    said = [text.get_text() for text in ax.get_legend().get_texts()]
    assert said == ["raw: 1 film in no list", "centred: 0 films in no list", "equal for all: 3"]


def test_a_map_has_the_share_of_neighbours_in_one_colour():
    line = np.arange(12.0)
    points = np.stack([np.concatenate([line, line + 1000]), np.zeros(24)], axis=1)
    two = np.repeat([0, 1], 12)
    beginning = "Of a coloured film's ten nearest on the map, "
    assert title(figures_01.film_map(points, two, ["War", "Crime"], {0: "Alien"})) == (
        beginning + "100% have its colour; by chance 50%"
    )
    alone = np.full(24, -1)
    alone[[0, 12]] = 0, 1
    assert title(figures_01.film_map(points, alone, ["War", "Crime"], {})) == (
        beginning + "0% have its colour; by chance 4%"
    )


# Lesson 02


def test_the_quantised_map_counts_films_and_codes():
    points, codebook = np.array([[0.0, 0], [1, 1], [0, 1]]), np.array([[0.0, 0], [1, 1]])
    ax = figures_02.quantised_map(points, np.array([0, 1, 0]), codebook, {0: "Alien", 1: "Aliens"})
    assert title(ax) == "3 films, 2 codes: each film is replaced by its square"


@pytest.mark.parametrize(
    "levels, per_level, verdict",
    [
        (
            [0.5, 0.3, 0.2, 0.1],
            64,
            "With 256 vectors, coding what is left over leaves less error than one codebook",
        ),
        (
            [0.5, 0.4, 0.3, 0.2],
            64,
            "With 256 vectors, coding what is left over does not beat one codebook",
        ),
        (
            [0.5, 0.4, 0.3, 0.3],
            64,
            "With 256 vectors, coding what is left over does not beat one codebook",
        ),
        (
            [0.7, 0.49],
            16,
            "With 32 vectors, coding what is left over leaves less error than one codebook",
        ),
        ([0.7, 0.51], 16, "With 32 vectors, coding what is left over does not beat one codebook"),
    ],
)
def test_residual_levels_are_held_against_one_codebook_of_equal_size(levels, per_level, verdict):
    """Between two measured codebooks, half way in bits, the error is half way."""
    single = {4: 0.8, 16: 0.6, 64: 0.4, 256: 0.2}
    assert title(figures_02.error_by_vectors(single, levels, per_level)) == verdict


def test_every_codebook_map_counts_its_codes_in_use():
    films, codebook = np.array([[0.0, 0, 1], [1, 0, 0], [0, 2, 0]]), np.eye(3)
    moments = {
        "random start": (films, codebook, np.array([1])),
        "k-means": (films, codebook, np.arange(3)),
    }
    assert titles(figures_02.codebook_maps(moments)) == [
        "random start: 1 of 3 first codes in use",
        "k-means: 3 of 3 first codes in use",
    ]


def test_training_arms_have_their_codes_in_use_after_the_last_epoch():
    epoch = {"reconstruction": 1.0, "rq": 1.0, "spread": 1.0}
    histories = {
        "random start": [epoch | {"in use": 9}, epoch | {"in use": 1}],
        "k-means start": [epoch | {"in use": 8}, epoch | {"in use": 64}],
    }
    assert suptitle(figures_02.training_arms(histories, 64)) == (
        "First codes in use at the end, of 64: 1 with random start, 64 with k-means start"
    )


@pytest.mark.parametrize("second", [[0.9, 0.8, 0.8], [0.9, 0.7, 0.8]])
def test_every_level_takes_away_error_or_not_every_one(second):
    arms = {"random start": [0.9, 0.8, 0.7], "k-means start": [0.6, 0.4, 0.3]}
    assert title(figures_02.error_by_level(arms)) == "Every level takes away some error"
    arms["k-means start"] = second
    assert title(figures_02.error_by_level(arms)) == "Not every level takes away error"


def test_a_first_level_that_adds_error_is_seen():
    assert (
        title(figures_02.error_by_level({"random start": [1.2, 1.1, 0.9]}))
        == "Not every level takes away error"
    )


# Lesson 03


@pytest.mark.parametrize("audience, r", [([0.1, 0.2, 0.3], "1.00"), ([0.3, 0.2, 0.1], "-1.00")])
def test_likeness_of_pairs_has_its_correlation(audience, r):
    groups = {"alike as texts": np.array([2]), "alike in audience": np.array([0])}
    ax = figures_03.alike_map(np.array([0.2, 0.4, 0.6]), np.array(audience), groups, 3)
    assert title(ax) == f"3 pairs of 3 films: the two kinds of likeness correlate at {r}"


def test_a_history_is_as_many_questions_as_films_but_one():
    assert title(figures_03.causal(["Alien", "Aliens", "Titanic"])) == (
        "3 films make 2 questions, each answered from the films before"
    )


def test_overlaps_of_rare_and_popular_films_are_those_of_the_last_pair_of_spaces():
    table = pd.DataFrame(
        {"text and SASRec": [0.9, 0.9], "SASRec and LightGCN": [0.05, 0.4]},
        index=["rare", "popular"],
    )
    ending = "of neighbours in common for rare films, {} for popular ones"
    assert title(figures_03.overlaps(table, 0.01)) == "SASRec and LightGCN: 5% " + ending.format(
        "40%"
    )
    ax = figures_03.overlaps(table[::-1], 0.01)
    assert title(ax) == "SASRec and LightGCN: 40% " + ending.format("5%")


def test_pull_and_push_has_a_probability_and_two_angles():
    h, start = np.eye(2), np.zeros((2, 2))
    opposite = np.stack([start, np.array([[1.0, 0], [-1, 0]])])
    assert titles(figures_03.pull_and_push(np.zeros(2), h, 0, opposite)) == [
        "One step: its own h has p = 0.50",
        "h0 and h1 are 90° apart; their z end 180° apart",
    ]
    alike = np.stack([start, np.array([[1.0, 1], [2, 2]])])
    assert titles(figures_03.pull_and_push(np.array([0, np.log(3)]), h, 1, alike)) == [
        "One step: its own h has p = 0.75",
        "h0 and h1 are 90° apart; their z end 0° apart",
    ]


def title_of_batches(*overlaps):
    frames = {
        batch: pd.DataFrame({"loss": 1.0, "overlap": values}, index=range(1, len(values) + 1))
        for batch, values in ((4, [0.9] * len(overlaps)), (512, overlaps))
    }
    return suptitle(figures_03.batches_and_epochs(frames))


def test_the_largest_batch_has_its_best_epoch():
    assert title_of_batches(0.1, 0.3, 0.2) == (
        "Batch of 512: most neighbours in common after epoch 2 (0.30), fewer after 3 (0.20)"
    )
    assert (
        title_of_batches(0.1, 0.2, 0.3)
        == "Batch of 512: most neighbours in common after epoch 3 (0.30)"
    )
    assert title_of_batches(0.1) == "Batch of 512: most neighbours in common after epoch 1 (0.10)"


def test_fewer_neighbours_have_another_number():
    assert (
        title_of_batches(0.1, 0.312, 0.308)
        == "Batch of 512: most neighbours in common after epoch 2 (0.31)"
    )


def test_as_many_neighbours_are_not_fewer():
    assert (
        title_of_batches(0.1, 0.3, 0.3)
        == "Batch of 512: most neighbours in common after epoch 2 (0.30)"
    )


def title_of_losses(plain, with_cf):
    first, second = (
        [{"reconstruction": 1.0, "rq": 1.0}],
        [{"reconstruction": 1.0, "rq": 1.0, "collaborative": 6.0}],
    )
    first.append(first[0] | {"reconstruction": plain})
    second.append(second[0] | {"reconstruction": with_cf, "collaborative": 4.5})
    return suptitle(figures_03.losses({"plain": first, "with L_CF": second}, 6.24))


def test_losses_are_those_of_the_last_epoch():
    assert (
        title_of_losses(0.35, 0.42)
        == "With L_CF at 4.50 (chance 6.24), L_Recon ends at 0.420 instead of 0.350"
    )
    assert (
        title_of_losses(0.42, 0.35)
        == "With L_CF at 4.50 (chance 6.24), L_Recon ends at 0.350 instead of 0.420"
    )


def test_a_loss_does_not_end_at_one_number_instead_of_the_same():
    assert title_of_losses(0.9981, 0.9984).endswith(", L_Recon ends at 0.998 with and without it")


def test_what_moves_before_and_after_is_what_the_title_is_told():
    columns = [
        ("overlap", "text"),
        ("overlap", "SASRec"),
        ("code", "look-alikes"),
        ("code", "any pair"),
    ]
    table = pd.DataFrame([[0.5, 0.1, 0.6, 0.01], [0.4, 0.3, 0.6, 0.02]], ["plain", "with L_CF"])
    table.columns = pd.MultiIndex.from_tuples(columns)
    axes = figures_03.before_and_after(
        table, ["overlap", "share"], [("text", "SASRec"), ("look-alikes",)]
    )
    assert titles(axes) == [
        "text: from 0.500 to 0.400; SASRec: from 0.100 to 0.300",
        "look-alikes: from 0.600 to 0.600",
    ]
    swapped = figures_03.before_and_after(
        table[::-1], ["overlap", "share"], [("SASRec",), ("any pair",)]
    )
    assert titles(swapped) == ["SASRec: from 0.300 to 0.100", "any pair: from 0.020 to 0.010"]


@pytest.mark.parametrize("last, text, audience", [(1.0, "0.25", "0.100"), (0.02, "0.30", "0.020")])
def test_the_sweep_of_alpha_goes_from_its_first_value_to_its_last(last, text, audience):
    """Of one seed there is no interval, so half of it is NaN."""
    panels = dict.fromkeys(
        ["semantic_overlap", "collaborative_overlap", "a", "b", "c", "d"], "words"
    )
    mean = pd.DataFrame({name: [0.4, 0.3, 0.25] for name in panels}, index=[0, 0.02, 1.0])
    mean = mean.assign(collaborative_overlap=[0.01, 0.02, 0.1]).loc[:last]
    assert suptitle(figures_03.against_alpha(mean, mean * np.nan, panels)) == (
        f"From alpha 0 to {last:g}, neighbours in common with the texts go from 0.40 to {text}, "
        f"with the audiences from 0.010 to {audience}"
    )


# Lesson 04


def test_an_emptier_half_without_films_has_none():
    ax = figures_04.lorenz({"plain": np.array([0, 0, 7, 0]), "CF": np.array([0, 1, 0, 0, 2, 0])})
    assert title(ax) == "Films held by the emptier half of the codes: plain 0%, CF 0%"


def test_the_emptier_half_of_the_codes_has_its_films():
    ax = figures_04.lorenz(
        {"plain": np.array([0, 5, 0, 5]), "CF": np.array([1, 3, 1, 3]), "even": np.full(3, 2)}
    )
    assert title(ax) == "Films held by the emptier half of the codes: plain 0%, CF 25%, even 50%"


@pytest.mark.parametrize(
    "groups, said",
    [([0, 0, 1, 1], "no groups"), ([0, 0, 0, 1], "1 group"), ([0, 1, 2, 2], "2 groups")],
)
def test_groups_of_one_code_are_counted(groups, said):
    axes = figures_04.grouped_codes(
        np.eye(4)[:, :2], {"k-means": np.array(groups), "held": np.array([1, 1, 1, 1])}
    )
    assert titles(axes) == [f"k-means: {said} of one code", "held: no groups of one code"]


def test_a_descent_ends_at_a_multiple_of_its_start():
    names = ["length", "between groups", "within a group", "nearest code"]
    history = pd.DataFrame([[2.0, 1, 1, 0.1], [5, 3, 0.9, 0.1], [4, 2.5, 0.5, 0.1]], columns=names)
    before = np.array([[1.0, 0], [0, 1], [1, 1]])
    axes = figures_04.descent(before, 2 * before, np.array([0, 1, 1]), history)
    assert title(axes[1]) == (
        "At the end, as a multiple of the start: length 2.0, between groups 2.5, within a group "
        "0.5, nearest code 1.0"
    )
    axes = figures_04.descent(before, before, np.array([0, 1, 1]), history[:1])
    assert title(axes[1]).endswith(
        "length 1.0, between groups 1.0, within a group 1.0, nearest code 1.0"
    )


def test_the_fullest_eighth_of_the_codes_has_its_films():
    even, full = np.ones(16), np.concatenate([np.zeros(14), [3, 1]])
    ax = figures_04.loads_by_group({"plain": full, "Div": even})
    assert title(ax) == "Films in the fullest 2 of 16 first codes: plain 100%, Div 12%"
    ax = figures_04.loads_by_group({"plain": np.concatenate([np.full(2, 14), np.full(14, 1)])})
    assert title(ax) == "Films in the fullest 2 of 16 first codes: plain 67%"


def test_loads_of_arms_whose_names_hold_commas_are_told_apart():
    ax = figures_04.loads_by_group({"Div": np.ones(16), "Div, beta 1": np.ones(16)})
    assert title(ax) == "Films in the fullest 2 of 16 first codes: Div 12%; Div, beta 1 12%"


def titles_of_betas(perplexity, error, shown=0.1):
    """perplexity, error: at beta 0 and 1, for the alpha shown; the other alpha does not move."""
    half = {"perplexity_1 half": 1.0, "error half": 0.01}
    rows = [
        {"alpha": alpha, "beta": beta, "perplexity_1": p, "error": e} | half
        for alpha, both in ((0, [(200, 0.5)] * 2), (0.1, zip(perplexity, error, strict=True)))
        for beta, (p, e) in zip((0, 1), both, strict=True)
    ]
    return titles(figures_04.beta_sweep(pd.DataFrame(rows), shown))


def test_the_largest_beta_is_held_against_none():
    assert titles_of_betas([180, 220], [0.6, 0.612]) == [
        "At alpha 0.1, beta 1 adds 40 to the perplexity",
        "At alpha 0.1, beta 1 adds 0.012 to the error",
    ]
    assert (
        titles_of_betas([220, 180], [0.62, 0.6])[0]
        == "At alpha 0.1, beta 1 takes 40 from the perplexity"
    )
    assert (
        titles_of_betas([220, 180], [0.62, 0.6], shown=0)[0]
        == "At alpha 0, beta 1 adds 0 to the perplexity"
    )


def test_spheres_count_codes_in_use_and_have_the_largest_share():
    books = np.random.default_rng(0).normal(size=(2, 6, 5))
    loads = {"CF": np.array([0, 0, 1, 3, 0, 0]), "CF and Div": np.ones(6)}
    assert titles(figures_04.spheres(dict(zip(loads, books, strict=True)), loads)) == [
        "CF 2 of 6 codes in use, largest 75.0%",
        "CF and Div 6 of 6 codes in use, largest 16.7%",
    ]


# Lesson 05


def test_reconstruction_is_that_of_the_last_epoch():
    plain = [{"reconstruction": 1.0, "rq": 1.0}, {"reconstruction": 0.5, "rq": 1.0}]
    letter = [epoch | {"diversity": 3.0} for epoch in plain[::-1]]
    assert suptitle(figures_05.loss_curves({"plain": plain, "LETTER": letter})) == (
        "L_Recon at the end: 0.50 with plain, 1.00 with LETTER"
    )


def title_of_criteria(*values):
    """values: of plain and LETTER in two measures where low is good, then in two where high is
    good.
    """
    measures = [figures_05.Measure(f"measure {i}", both, i > 1) for i, both in enumerate(values)]
    return suptitle(
        figures_05.three_criteria(
            ["plain", "LETTER"], {"meaning": measures[:2], "audience": measures[2:]}
        )
    )


def test_a_tokenizer_wins_in_some_measures_or_everywhere():
    assert title_of_criteria((0.1, 0.2), (0.1, 0.2), (near(0.3), near(0.2)), (0.1, 0.2)) == (
        "No tokenizer is best in all 4 measures; best alone: plain in 3, LETTER in 1"
    )
    assert title_of_criteria((0.2, 0.1), (0.2, 0.1), (0.1, 0.2), (0.2, 0.1)) == (
        "No tokenizer is best in all 4 measures; best alone: plain in 1, LETTER in 3"
    )
    assert title_of_criteria((0.2, 0.1), (0.2, 0.1), (near(0.1), near(0.2)), (0.1, 0.2)) == (
        "LETTER is best in all 4 measures; best alone: plain in 0, LETTER in 4"
    )


def test_a_tokenizer_does_not_win_where_another_is_as_good():
    said = title_of_criteria((0.1, 0.2), (0.1, 0.2), (0.3, 0.2), (32, 32))
    assert said == "No tokenizer is best in all 4 measures; best alone: plain in 3, LETTER in 0"


def title_of_a_trade_off(error, similarity, n_seeds=2):
    """error, similarity: of two values of alpha."""
    rows = [
        (alpha, beta, seed, error[alpha] + 0.01 * beta, similarity[alpha] - 0.01 * beta)
        for alpha in (0, 1)
        for beta in (0, 1)
        for seed in range(n_seeds)
    ]
    return title(
        figures_05.trade_off(
            pd.DataFrame(rows, columns=["alpha", "beta", "seed", "error", "similarity"])
        )
    )


def test_one_setting_is_best_at_both_or_not():
    assert title_of_a_trade_off([0.1, 0.9], [0.1, 0.9]) == (
        "The best for meaning is not the best for the audience (4 settings, 2 seeds each; "
        "correlation +1.00)"
    )
    assert title_of_a_trade_off([0.1, 0.9], [0.9, 0.1], n_seeds=3) == (
        "One setting is best at both (4 settings, 3 seeds each; correlation -1.00)"
    )


def test_a_setting_that_shares_the_least_error_may_be_best_at_both():
    assert title_of_a_trade_off([0.1, 0.1], [0.1, 0.9]).startswith("One setting is best at both")


def test_one_seed_of_a_trade_off_is_no_seeds():
    assert "(4 settings, 1 seed each; " in title_of_a_trade_off([0.1, 0.9], [0.9, 0.1], n_seeds=1)


def title_of_one_code(by_identifier, by_film):
    table = {
        "identifiers": [9, 40],
        "by identifier": [by_identifier, 0.1],
        "by film": [by_film, 0.1],
    }
    return title(figures_05.counted_twice(pd.DataFrame(table, index=[1, 2])))


def test_recall_by_identifier_is_so_many_times_recall_by_film():
    assert (
        title_of_one_code(0.24, 0.02)
        == "With one code kept, R@10 by identifier is 12 times R@10 by film"
    )
    assert (
        title_of_one_code(0.3, 0.25)
        == "With one code kept, R@10 by identifier is 1.2 times R@10 by film"
    )


@pytest.mark.parametrize("by_identifier", [0.24, 0.0])
def test_nothing_found_by_film_gives_no_ratio(by_identifier):
    said = title_of_one_code(by_identifier, 0.0)
    assert said == f"With one code kept, R@10 by identifier is {by_identifier:.3f}, and 0 by film"


def test_released_identifiers_have_their_perplexity_of_first_codes():
    row = {
        "perplexity": [82.7, 9, 9, 9],
        "semantic": [0.1] * 4,
        "collaborative": [0.1] * 4,
        "random_pair": 0.01,
    }
    rows = {"ours": row, "released": row | {"perplexity": [120.2, 9, 9, 9]}}
    assert (
        suptitle(figures_05.beside_released(rows))
        == "Perplexity of first codes: ours 83, released 120"
    )


# Lesson 06


def test_a_leak_shows_in_the_loss_of_the_last_ten_steps():
    losses = {"with the shift": [9.0] * 10 + [3.0] * 10, "without": [9.0] * 10 + [0.5, 1.5] * 5}
    assert (
        title(figures_06.leak(losses))
        == "Loss of the last ten steps: 3.00 with the shift, 1.00 without"
    )


def test_a_network_counts_what_it_reads_and_writes():
    read, written = ["<a_1>", "<b_2>", "<end>"], ["<a_3>", "<end>"]
    assert title(figures_06.network(read, ["<start>", "<a_3>"], written)) == (
        "The encoder reads 3 tokens; the decoder writes 2, one after the other"
    )


def test_learning_curves_have_the_last_loss_and_the_last_validation():
    logs = {
        "TIGER": SimpleNamespace(
            losses=[{"loss": 5.0}, {"loss": 3.25}], validations=[(1, 0.09), (2, 0.04)]
        ),
        "LETTER-TIGER": SimpleNamespace(losses=[{"loss": 4.0}], validations=[(1, 0.0)]),
    }
    assert titles(figures_06.learning_curves(logs)) == [
        "Loss: TIGER 3.25, LETTER-TIGER 4.00",
        "NDCG@10: TIGER 0.040, LETTER-TIGER 0.000",
    ]


@pytest.mark.parametrize("on_end, share", [([1.0, 0.0], "50%"), ([0.0, 0.0], "0%")])
def test_the_end_token_has_its_share_of_the_attention_in_a_case(on_end, share):
    weights = np.zeros((1, 2, 5))
    weights[0, :, 4] = on_end
    axes = figures_06.attention_of_one(
        weights, list("abcde"), list("ab"), ["Alien (1979)", "Aliens (1986)"]
    )
    assert suptitle(axes) == f"{share} of the attention in this case lies on the end token"


def test_attention_has_the_least_and_the_most_of_the_films_and_the_code_read_most():
    by_film = np.array([[0.1, 0.3, 0.6], [0.5, 0.3, 0.2]])
    by_level = np.array([[0.1, 0.3, 0.6], [0.5, 0.3, 0.2]])
    assert titles(figures_06.attention_shares(by_film, by_level)) == [
        "Writing code 1: of what films get, each gets 25.0% to 75.0%",
        "Writing code 1, it looks most at films' code 2. End token: 60% for code 1, 20% for code 2",
    ]
    assert titles(figures_06.attention_shares(by_film[::-1], by_level[::-1])) == [
        "Writing code 1: of what films get, each gets 37.5% to 62.5%",
        "Writing code 1, it looks most at films' code 1. End token: 20% for code 1, 60% for code 2",
    ]


def test_films_that_get_equal_attention_have_one_share():
    equal = np.array([[0.2001, 0.1999, 0.6]])
    assert title(figures_06.attention_shares(equal, equal)[0]).endswith("each gets 50.0%")


def test_the_ten_hardest_negatives_have_their_share_at_the_ends_of_tau():
    even, steep = np.full((2, 20), 0.05), np.tile([0.91] + [0.01] * 9 + [0.0] * 10, (2, 1))
    assert titles(figures_06.weight_by_rank({0.3: steep, 1.0: even, 2.0: even}))[1] == (
        "Ten hardest: 100% at tau 0.3, 50% at tau 2"
    )
    assert (
        titles(figures_06.weight_by_rank({0.5: even}))[1]
        == "Ten hardest: 50% at tau 0.5, 50% at tau 0.5"
    )


def test_the_measure_that_pays_most_at_the_last_rank_is_named():
    auc, recall = np.array([1.0, 0.9, 0.8]), np.array([1.0, 1.0, 0.0])
    assert (
        title(figures_06.rewards({"Recall@2": recall, "AUC": auc}))
        == "At rank 2, AUC still pays 0.800"
    )
    assert (
        title(figures_06.rewards({"Recall@2": recall[:2], "AUC": auc[:2]}))
        == "At rank 1, Recall@2 still pays 1.000"
    )


def test_the_best_tau_is_that_of_each_column():
    table = pd.DataFrame(
        {1: [0.9, 0.5, 0.1], 10: [0.4, 0.6, 0.2], 100: [0.4, 0.6, 0.7]}, index=[0.2, 1, 4]
    )
    assert title(figures_06.followed(table)) == "From left to right, the best tau is 0.2, 1, 4"
    assert title(figures_06.followed(1 - table)) == "From left to right, the best tau is 4, 4, 0.2"


def titles_of_tau(n_seeds, fixed, learned=(0.5, 0.5)):
    recall = {
        "logits / tau": {0.5: near(0.05), 1.0: near(0.0525)},
        "raw logits": {0.5: near(0.04), 1.0: near(0.02)},
    }
    share = {
        "fixed": dict(zip((0.5, 1.0), fixed, strict=True)),
        "learned": dict(zip((0.5, 1.0), learned, strict=True)),
    }
    return titles(figures_06.recall_against_tau(recall, share, n_seeds))


def test_tau_moves_recall_and_the_push_by_so_much():
    assert titles_of_tau(5, (0.9, 0.2), (0.4, 0.43)) == [
        "Highest minus lowest mean, 5 seeds: 0.0025 logits / tau, 0.0200 raw logits",
        "Tau moves the share by 70 points on fixed logits, by 3 on learned ones",
    ]
    said = titles_of_tau(1, (0.2, 0.8))
    assert said[0].startswith("Highest minus lowest mean, 1 seed: ")
    assert said[1] == "Tau moves the share by 60 points on fixed logits, by 0 on learned ones"


def test_a_move_of_one_point_is_no_points():
    said = titles_of_tau(5, (0.2, 0.21))[1]
    assert said == "Tau moves the share by 1 point on fixed logits, by 0 on learned ones"


def test_first_codes_never_written_are_counted_among_those_that_films_have():
    table = pd.DataFrame({"generated": [4, 0, 0], "catalogue": [2, 1, 0], "targets": [3, 1, 0]})
    counts = {"no L_Div": table, "weight 1": table.assign(generated=[3, 1, 0])}
    assert titles(figures_06.first_codes(counts, {"no L_Div": 0.254, "weight 1": 0.0})) == [
        "no L_Div KL 0.25; 1 of 2 never written",
        "weight 1 KL 0.00; 0 of 2 never written",
    ]


# Lesson 07


@pytest.mark.parametrize(
    "d_out, d_in, rank, share", [(100, 100, 5, "10.0%"), (192, 576, 8, "5.6%")]
)
def test_an_adapter_has_its_share_of_the_matrix(d_out, d_in, rank, share):
    said = title(figures_07.adapter_to_scale(d_out, d_in, rank))
    assert said == f"The adapter has {share} of the matrix's numbers"


def test_the_lowest_loss_stands_before_the_highest():
    curves = {"new rows trained": [9.0, 2.5], "new rows frozen": [9.0, 5.25]}
    assert title(figures_07.loss_curves(curves, ("an even guess", 9.0))) == (
        "After equal steps: new rows trained 2.50, new rows frozen 5.25"
    )
    curves["new rows frozen"] = [9.0, 1.0]
    assert title(figures_07.loss_curves(curves, ("an even guess", 9.0))) == (
        "After equal steps: new rows frozen 1.00, new rows trained 2.50"
    )


def title_of_tasks(*after):
    tasks = "seqrec", "itemsearch", "inters2title"
    before, after = dict.fromkeys(tasks, 5.0), dict(zip(tasks, after, strict=True))
    return title(figures_07.before_and_after(before, after, 20))


def test_tasks_whose_loss_has_fallen_are_counted():
    assert title_of_tasks(4.0, 3.0, 5.0) == "20 steps: the loss of 2 tasks of 3 has fallen"
    assert title_of_tasks(5.0, 6.0, 5.0) == "20 steps: the loss of 0 tasks of 3 has fallen"


def test_one_task_whose_loss_has_fallen_is_no_tasks():
    assert title_of_tasks(4.0, 5.0, 6.0) == "20 steps: the loss of 1 task of 3 has fallen"


def test_valid_tokens_have_the_range_of_their_codes_after_the_last_step():
    last = [
        [0.9, 0.5, 0.7, 0.1],
        [0.25, 0.3, 0.4, 1.0],
        [0.0, 0.05, 1.0, 0.3],
    ]  # three codes, then the end token
    mass = np.stack([np.zeros((3, 4)), np.array(last)])
    assert titles(figures_07.valid_mass([0, 20], mass)) == [
        "a code of any level: codes 0.50 to 0.90 at the end",
        "a code of the level due: codes 0.25 to 0.40 at the end",
        "a code that continues some film: codes 0.00 to 1.00 at the end",
    ]


def test_codes_with_equal_mass_have_one_number():
    said = titles(figures_07.valid_mass([0], np.full((1, 3, 4), 0.998)))
    assert [one.split(": ")[1] for one in said] == ["codes 1.00 at the end"] * 3


def test_the_task_with_the_lowest_loss_and_that_with_the_highest_are_means_of_seeds():
    losses = {
        "seqrec": np.array([[5.0, 1.0], [5.0, 3.0]]),
        "itemsearch": np.array([[1.0, 2.5], [1.0, 2.5]]),
    }
    assert (
        title(figures_07.losses_by_epoch(losses))
        == "Lowest in the end: seqrec (2.0); highest: itemsearch (2.5)"
    )
    only = {task: values[:, :1] for task, values in losses.items()}
    assert (
        title(figures_07.losses_by_epoch(only))
        == "Lowest in the end: itemsearch (1.0); highest: seqrec (5.0)"
    )


# Lesson 08


def test_films_among_what_is_written_are_those_of_the_last_training():
    table = pd.DataFrame(
        {"the 10 likeliest": [0.0, 1.0], "drawn at random": [0.9, 0.254]}, index=[2, 1600]
    )
    assert title(figures_08.validity(table)) == (
        "Films among what the trained model writes freely: the 10 likeliest 100%, drawn at random "
        "25%"
    )
    assert title(figures_08.validity(table[:1])).endswith(
        "the 10 likeliest 0%, drawn at random 90%"
    )


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
    assert titles(drawn_beams((0, 0), (1, 0))) == [
        "1 code: 2 of 3 kept",
        "2 codes: 4 of 6 kept",
        "3 codes: 4 of 12 kept",
        "4 codes and the end token: 2 of 12 kept",
    ]


@pytest.mark.parametrize(
    "last, said",
    [
        ([(0, 0), (1, 0)], "2 of the 2 first codes that were kept"),
        ([(0, 0), (0, 1)], "1 of the 2 first codes that were kept"),
        ([(1, 0), (1, 1)], "1 of the 2 first codes that were kept, and not from the likeliest"),
    ],
)
def test_an_unfolded_search_says_which_first_codes_its_films_have(last, said):
    assert suptitle(drawn_beams(*last)) == f"The 2 films come from {said}"


def test_a_trie_counts_its_films_and_the_nodes_of_its_levels():
    codes = np.array([[0, 0, 1], [0, 0, 1], [0, 2, 0], [1, 1, 0], [1, 1, 2], [2, 0, 2]])
    assert title(figures_08.numbered_trie(Trie.build(codes, (3, 3, 3), 0), list("abcdef"))) == (
        "6 films, 1 + 3 + 4 + 5 nodes"
    )
    assert title(figures_08.numbered_trie(Trie.build(codes[:2], (3, 3, 3), 0), list("ab"))) == (
        "2 films, 1 + 1 + 1 + 1 nodes"
    )


def title_of_costs(dictionary, prefix_function):
    """Of the larger catalogue, as a multiple of what the arrays take."""
    build = {DICTIONARY: 1.0, ARRAYS: 0.5}
    small = Cost(1000, {DICTIONARY: 1e-3, PREFIX_FUNCTION: 1e-3, ARRAYS: 1e-3}, 20, build)
    times = {DICTIONARY: dictionary * 1e-3, PREFIX_FUNCTION: prefix_function * 1e-3, ARRAYS: 1e-3}
    return title(figures_08.masking_cost([small, Cost(10_000, times, 20, build)])[0])


def test_masking_is_so_many_times_as_slow_as_with_arrays():
    """A name holds a comma, so none stands between the names."""
    beginning = "At 10,000 items, times as slow as the arrays: "
    assert title_of_costs(12, 30) == beginning + "dictionary 12; transformers, prefix function 30"
    assert title_of_costs(30, 12) == beginning + "dictionary 30; transformers, prefix function 12"


def test_recall_is_that_of_the_first_beam_and_the_last():
    recall = {1: near(0.03), 20: near(0.05), 100: near(0.05)}
    agreement = {1: (0.5, 0.1), 20: (1.0, 0.97), 100: (1.0, 1.0)}
    assert titles(figures_08.beam_width(recall, agreement, 30)) == [
        "R@10 0.030 at width 1, 0.050 at 100",
        "At width 20, 97% of the exact ten are found",
    ]
    few = {width: recall[width] for width in (1, 100)}
    assert titles(figures_08.beam_width(few, {1: (0.5, 0.1), 100: (0.0, 0.0)}, 4)) == [
        "R@10 0.030 at width 1, 0.050 at 100",
        "At width 100, 0% of the exact ten are found",
    ]


# Lesson 09


def test_the_rarest_source_is_what_fewest_systems_reach():
    table = pd.DataFrame(
        {"order of\nthe history": [1, 0.5, 1], "the user": [0, 0.5, 0]}, index=["a", "b", "c"]
    )
    families = [FLOOR, CONVENTIONAL, CONVENTIONAL]
    assert title(figures_09.what_it_knows(table, families)) == (
        "The rarest source is the user: 1 of 3 systems, at least in part"
    )
    table["the user"], table.iloc[:, 0] = [1, 1, 1], [0, 0, 0]
    assert title(figures_09.what_it_knows(table, families)) == (
        "The rarest source is order of the history: 0 of 3 systems, at least in part"
    )


def title_of_a_forest(**both):
    """both: system -> its means with the history in and out; Markov is the floor."""
    intervals = {
        figures_09.MARKOV if name == "markov" else name: tuple(map(near, means))
        for name, means in both.items()
    }
    families = [FLOOR if name == "markov" else CONVENTIONAL for name in both]
    return title(figures_09.forest(intervals, families))


def test_a_forest_names_who_is_first_and_counts_who_clears_the_floor():
    markov = figures_09.MARKOV
    assert title_of_a_forest(markov=(0.06, 0.04), SASRec=(0.05, 0.07), HGN=(0.06, 0.06)) == (
        f"First with the history in: {markov}; out: SASRec 0 (in) and 2 (out) of 2 trained rows "
        "have a higher mean "
        "than the Markov floor"
    )
    assert title_of_a_forest(markov=(0.06, 0.04), SASRec=(0.07, 0.03), HGN=(0.08, 0.02)) == (
        f"First with the history in: HGN; out: {markov} 2 (in) and 0 (out) of 2 trained rows have "
        "a higher mean than "
        "the Markov floor"
    )
    assert (
        title_of_a_forest(SASRec=(0.07, 0.03), HGN=(0.06, 0.04))
        == "First with the history in: SASRec; out: HGN"
    )


def title_of_tails(*tail):
    parts = dict.fromkeys(("head", "middle", "tail", "short", "medium", "long"), 0.1) | {
        "tail": tail
    }
    return title(
        figures_09.by_part(pd.DataFrame(parts, index=[f"system {i}" for i in range(len(tail))]))
    )


def test_systems_that_hardly_find_a_tail_film_are_counted():
    assert title_of_tails(0.0, 0.009, 0.01) == "2 of 3 systems find less than one tail film in 100"
    assert title_of_tails(0.02, 0.01) == "0 of 2 systems find less than one tail film in 100"


def test_one_system_that_hardly_finds_a_tail_film():
    assert title_of_tails(0.0, 0.02) == "1 of 2 systems finds less than one tail film in 100"


def title_of_contests(*rows):
    return title(
        figures_09.differences_by_seed({f"contest {i}": row for i, row in enumerate(rows)})
    )


def test_contests_count_unsure_seeds_and_turned_winners():
    assert title_of_contests(
        [CLEAR, UNSURE], [CLEAR, BELOW], [near(0.001), near(-0.001)], [near(-0.001), CLEAR]
    ) == (
        "3 of 4 contests have a seed whose interval includes 0, 3 change their winner between seeds"
    )
    assert title_of_contests([CLEAR, CLEAR], [near(0.0), UNSURE], [near(0.0), near(0.0)]) == (
        "2 of 3 contests have a seed whose interval includes 0, 0 change their winner between seeds"
    )
    assert title_of_contests([UNSURE], [UNSURE]) == (
        "2 of 2 contests have a seed whose interval includes 0, and there is one seed only"
    )


def test_one_contest_that_is_unsure_and_changes_its_winner():
    assert title_of_contests([near(0.001), near(-0.001)], [CLEAR, CLEAR]) == (
        "1 of 2 contests has a seed whose interval includes 0, 1 changes its winner between seeds"
    )


# Lesson 10


def title_of_published(n_above, ours=None, letter=True):
    """The paper's LETTER-TIGER, if it is there, so many above it, one row below it and one without
    a figure.
    """
    above = [(f"system {i}", "cornac", 0.08 + i / 100) for i in range(n_above)]
    rows = [*above, ("TIGER", PAPER, 0.06), ("LC-Rec", PAPER, np.nan)] + [
        ("LETTER-TIGER", PAPER, 0.07)
    ] * letter
    return title(
        figures_10.published_forest(
            pd.DataFrame(rows, columns=["system", "source", "R@10"]), 1000, ours
        )
    )


def test_rows_above_the_papers_letter_tiger_are_counted():
    assert title_of_published(2) == "2 of the 3 other rows lie above the paper's LETTER-TIGER"
    assert title_of_published(1) == "1 of the 2 other rows lies above the paper's LETTER-TIGER"
    assert title_of_published(0, {"LETTER-TIGER (this run)": near(0.07)}) == (
        "0 of the 2 other rows lie above the paper's LETTER-TIGER"
    )
    assert title_of_published(0, {"LETTER-TIGER (this run)": near(0.071)}) == (
        "1 of the 2 other rows lies above the paper's LETTER-TIGER"
    )


def test_without_the_papers_letter_tiger_the_highest_row_is_named():
    ours = {"TIGER (this run)": near(0.05)}
    assert title_of_published(0, ours, letter=False) == f"Highest of 2: TIGER ({PAPER}), 0.0600"
    ours = {"TIGER (this run)": near(0.065)}
    assert title_of_published(0, ours, letter=False) == "Highest of 2: TIGER (this run), 0.0650"


def test_seeds_that_show_a_difference_are_counted():
    curves = {
        "671 users": np.array([0.03, 0.02, 0.01]),
        "22,363 users": np.array([0.006, 0.005, 0.004]),
    }
    mark = "the paper's gain on Beauty", 0.0062
    assert title(figures_10.smallest_seen_by_seeds(curves, [1, 3, 20], mark)) == (
        "To show a difference of 0.0062 (the paper's gain on Beauty), 671 users need more than 20 "
        "seeds, "
        "22,363 users need 1 seed"
    )
    assert title(figures_10.smallest_seen_by_seeds(curves, [1, 3, 20], ("a gain", 0.02))) == (
        "To show a difference of 0.0200 (a gain), 671 users need 3 seeds, 22,363 users need 1 seed"
    )


# Lesson 11


def titles_of_forests(**leagues):
    """leagues: name -> the intervals of its rows by name."""
    drawn = {
        where: ({name: (one, [one.mean]) for name, one in rows.items()}, 1)
        for where, rows in leagues.items()
    }
    return titles(figures_11.forests(drawn, "NDCG@10"))


def test_differences_clear_of_0_are_named():
    assert titles_of_forests(
        movielens={"+ CF": CLEAR, "+ Div": UNSURE, "both": BELOW}, beauty={"+ CF": UNSURE}
    ) == [
        "movielens: clear of 0: + CF, both",
        "beauty: no difference is clear of 0",
    ]


def test_differences_clear_of_0_are_counted_where_their_names_are_too_many():
    rows = {f"a variant with a long name, {i}": CLEAR for i in range(3)} | {"+ CF": near(0.0)}
    assert titles_of_forests(movielens=rows) == ["movielens: 3 of 4 differences clear of 0"]


def test_differences_whose_names_hold_commas_are_told_apart():
    rows = {"CF, beside Div": CLEAR, "Div, beside CF": CLEAR}
    assert titles_of_forests(movielens=rows) == [
        "movielens: clear of 0: CF, beside Div; Div, beside CF"
    ]


def title_of_variants(plain, cf):
    """plain, cf: signal, perplexity, unexplained variance and metric of the runs of each."""
    columns = ["signal", "perplexity", "unexplained variance", "N@10"]
    table = pd.DataFrame(
        [*plain, *cf], index=["plain RQ-VAE"] * len(plain) + ["+ CF"] * len(cf), columns=columns
    )
    return suptitle(figures_11.criteria(table, "movielens, laptop"))


def test_the_variant_with_the_highest_mean_is_named_for_each_criterion():
    plain, cf = [(0.02, 200, 0.5, 0.03), (0.02, 190, 0.5, 0.05)], [(0.09, 150, 0.6, 0.045)]
    assert title_of_variants(plain, cf) == (
        "movielens, laptop: highest N@10: + CF; signal: + CF; perplexity: plain RQ-VAE"
    )
    assert title_of_variants(cf, plain) == (
        "movielens, laptop: highest N@10: plain RQ-VAE; signal: plain RQ-VAE; perplexity: + CF"
    )


def test_no_variant_has_the_highest_metric_where_nobody_found_anything():
    said = title_of_variants([(0.02, 200, 0.5, 0.0)], [(0.09, 150, 0.6, 0.0)])
    assert (
        said == "movielens, laptop: highest N@10: several; signal: + CF; perplexity: plain RQ-VAE"
    )


def drawn_sweeps(**panels):
    """panels: parameter -> the interval of each value, None for the profile's own."""
    rows = {
        name: {value: one and (one, [one.mean]) for value, one in by_value.items()}
        for name, by_value in panels.items()
    }
    return figures_11.sweeps(
        rows, dict.fromkeys(panels, "words"), {"alpha": 0.02}, "N@10", "movielens"
    )


def test_values_clear_of_the_profiles_own_are_named_and_counted():
    axes = drawn_sweeps(
        alpha={0.0: BELOW, 0.02: None, 0.5: CLEAR, 1.0: CLEAR},
        tau={1.0: None, 2.0: UNSURE},
        levels={2: BELOW, 4: None},
    )
    assert titles(axes) == [
        "below the profile's at 0; above the profile's at 0.5, 1",
        "no value clear of the profile's",
        "below the profile's at 2",
    ]
    assert suptitle(axes) == "movielens: 4 of 5 values clear of the profile's own"
    assert suptitle(drawn_sweeps(tau={1.0: None, 2.0: near(0.0)})) == (
        "movielens: 0 of 1 values clear of the profile's own"
    )


@pytest.mark.parametrize(
    "p, adjusted, said",
    [
        ([0.3, 0.001, 0.04], [0.3, 0.003, 0.08], "2 of 3 below .05 by themselves, 1 after Holm"),
        ([0.05, 0.6], [0.1, 0.6], "0 of 2 below .05 by themselves, 0 after Holm"),
        ([0.0], [0.0], "1 of 1 below .05 by themselves, 1 after Holm"),
    ],
)
def test_p_values_below_the_bound_are_counted_before_and_after_holm(p, adjusted, said):
    family = pd.DataFrame({"p": p, "Holm": adjusted}, index=[f"tau {i}" for i in range(len(p))])
    assert title(figures_11.staircase(family)) == said


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
    assert title(figures_11.optimism(curves, 20)) == (
        "The best of 20 equal settings, chosen on test, looks 0.0025 better than it is"
    )
    assert "looks 0.0000 better" in title(figures_11.optimism(curves, 1))


def test_gains_count_the_published_and_ours_apart():
    published = [("paper: tiger, beauty", 0.1, 0), ("paper: tiger, yelp", -0.1, 0)]
    ours = [
        ("ours: three seeds", CLEAR, 3),
        ("ours: one seed", CLEAR, 1),
        ("ours: unsure", UNSURE, 1),
    ]
    assert title(figures_11.gains([*published, *ours], "N@10")) == (
        "Above 0: 1 of 2 published (diamonds); interval above 0: 2 of 3 of ours (circles), 1 of "
        "them with one seed"
    )
    assert title(figures_11.gains(published, "N@10")) == "Above 0: 1 of 2 published (diamonds)"
    assert title(figures_11.gains([ours[0], ("ours: worse", BELOW, 3)], "N@10")) == (
        "Interval above 0: 1 of 2 of ours (circles)"
    )


# Projects


def test_targets_left_are_those_after_the_last_code():
    curves = {"target cold": [near(0.5), near(0.02)], "target seen": [near(0.6), near(0.125)]}
    assert title(figures_projects.survival(curves, 20)) == (
        "Targets left after the last code: target cold 2.0%, target seen 12.5%"
    )
    curves["target cold"].append(near(0.0))
    assert "target cold 0.0%," in title(figures_projects.survival(curves, 20))


def title_of_questions(popularity, asked):
    """popularity, asked: recall of targets liked and disliked."""
    targets, table = ("liked", "disliked"), {"popularity": popularity, "asked for liked": asked}
    questions = {
        name: dict(zip(targets, map(near, means), strict=True)) for name, means in table.items()
    }
    return title(figures_projects.by_question(questions))


def test_the_question_with_the_highest_recall_is_named_for_each_target():
    assert title_of_questions((0.1, 0.2), (0.3, 0.1)) == (
        "Highest recall by target: liked: asked for liked; disliked: popularity"
    )
    assert title_of_questions((0.3, 0.1), (0.1, 0.2)) == (
        "Highest recall by target: liked: popularity; disliked: asked for liked"
    )


@pytest.mark.parametrize("recall", [0.0, 0.1])
def test_no_question_has_the_highest_recall_where_all_are_equal(recall):
    said = title_of_questions((0.1, recall), (0.3, recall))
    assert said == "Highest recall by target: liked: asked for liked; disliked: 2 of 2 alike"


def title_of_domains(films, goods):
    return title(
        figures_projects.codes_by_domain({"films": np.array(films), "goods": np.array(goods)})
    )


def test_codes_of_both_domains_are_counted_among_those_in_use():
    assert (
        title_of_domains([3, 1, 0, 0], [1, 1, 2, 0])
        == "2 of 3 first codes are used by both domains"
    )
    assert (
        title_of_domains([3, 0, 0, 0], [0, 1, 2, 0])
        == "0 of 3 first codes are used by both domains"
    )


def test_one_code_of_both_domains_is_used():
    assert title_of_domains([3, 1, 0], [0, 1, 2]) == "1 of 3 first codes is used by both domains"


def titles_of_wishes(fit, recall):
    """fit, recall: without a wish, and with one."""
    ways, found = ("no wish", "the target's wish"), {"fit": fit, "Recall@10": recall}
    measures = {name: dict(zip(ways, map(near, both), strict=True)) for name, both in found.items()}
    return titles(figures_projects.wishes(measures))


def test_the_way_to_ask_with_the_highest_mean_is_named_for_each_measure():
    assert titles_of_wishes((0.3, 0.9), (0.05, 0.04)) == [
        "highest: the target's wish",
        "highest: no wish",
    ]
    assert titles_of_wishes((0.9, 0.3), (0.04, 0.05)) == [
        "highest: no wish",
        "highest: the target's wish",
    ]


@pytest.mark.parametrize("equal", [0.0, 1.0])
def test_no_way_to_ask_is_the_highest_where_all_are_equal(equal):
    assert titles_of_wishes((equal, equal), (0.1, 0.2))[0] == "highest: 2 of 2 alike"


def test_two_ways_to_ask_that_are_written_alike_share_the_first_place():
    """The mean of the same numbers in another order may differ in its last bit."""
    ways = {
        "no wish": near(0.3),
        "popular, one's wish": near(0.991),
        "popular, another's": near(0.991 + 1e-9),
    }
    axes = figures_projects.wishes({"fit": ways, "Recall@10": ways})
    assert titles(axes)[0] == "highest: 2 of 3 alike"


def test_one_measure_of_wishes_is_one_panel():
    axes = figures_projects.wishes({"fit": {"no wish": near(0.3), "the target's wish": near(0.9)}})
    assert titles(axes) == ["highest: the target's wish"]
