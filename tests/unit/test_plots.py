"""Figures: each draws what it is given, and its title says what those data show, not what other
data showed.
"""

import numpy as np

from letterlib import plots
from letterlib.analysis.code_usage import code_usage
from letterlib.analysis.collaborative_signal import SimilarityResult
from letterlib.analysis.geometry import sphere_projection
from letterlib.analysis.purity import genre_purity
from letterlib.evaluation.bootstrap import Interval


def title(ax):
    """Of the left or the middle, on one line with plain spaces."""
    return (
        (ax.get_title("left") or ax.get_title())
        .replace("\n", " ")
        .replace("\N{NO-BREAK SPACE}", " ")
    )


def bar_heights(ax):
    return [bar.get_height() for container in ax.containers for bar in container]


def test_forest_names_the_best_and_counts_who_clears_the_floor():
    systems = {
        "popularity": Interval(0.02, 0.01, 0.03),
        "markov": Interval(0.06, 0.05, 0.07),
        "SASRec": Interval(0.07, 0.06, 0.08),
        "TIGER": Interval(0.05, 0.04, 0.06),
    }
    ax = plots.system_forest(systems, floors=("popularity", "markov"))
    assert (
        title(ax)
        == "SASRec has the highest Recall@10: 0.0700; 1 of 2 trained systems lie above markov"
    )
    assert [one.get_text() for one in ax.get_yticklabels()] == list(systems)
    bars = [list(line.get_xdata()) for line in ax.lines]
    assert [0.04, 0.06] in bars and [0.06, 0.06] in bars, (
        "TIGER's interval, and a line at the higher floor"
    )
    worse = dict(systems, SASRec=Interval(0.04, 0.03, 0.05))
    assert title(plots.system_forest(worse, floors=("markov",))).startswith(
        "markov has the highest"
    )
    alone = {name: systems[name] for name in ("markov", "TIGER")}
    assert title(plots.system_forest(alone, floors=("markov",))).endswith(
        "0.0600; the trained system lies below it"
    )
    level = {"TIGER": alone["markov"], "markov": alone["markov"]}
    assert title(plots.system_forest(level, floors=("markov",))).endswith(
        "0.0600, level with markov"
    )
    assert title(plots.system_forest({"markov": alone["markov"]}, floors=("markov",))).endswith(
        "0.0600"
    )
    alone["TIGER"] = Interval(0.08, 0.07, 0.09)
    assert title(plots.system_forest(alone, floors=("markov",))).endswith("0.0800, above markov")


def test_first_code_frequency_sorts_and_counts_codes_in_use():
    ax = plots.first_code_frequency(
        {"plain": np.array([1, 0, 7, 2]), "LETTER": np.array([3, 3, 2, 2])}
    )
    assert ax.lines[0].get_ydata().tolist() == [0.7, 0.2, 0.1]
    assert "plain (3 codes in use)" in [one.get_text() for one in ax.get_legend().get_texts()]
    assert (
        title(ax) == "Share of items with the most frequent first code: plain 70.0%, LETTER 30.0%"
    )
    ax = plots.first_code_frequency({"plain": np.array([0, 9])})
    assert ax.get_legend().get_texts()[0].get_text() == "plain (1 code in use)"


def test_sphere_sizes_dots_by_load_and_crosses_dead_codes():
    points = sphere_projection(np.random.default_rng(0).normal(size=(10, 5)))
    loads = np.array([0, 4, 1, 1, 1, 1, 1, 1, 0, 0])
    ax = plots.code_sphere(points, loads, "LETTER")
    dots, crosses = ax.collections[-2:]
    assert len(dots.get_sizes()) == 7 and dots.get_sizes().argmax() == 0
    assert title(ax) == "LETTER: 7 of 10 codes in use, the largest has 40.0% of the items"
    assert len(crosses.get_offsets()) == 3


def test_purity_draws_arms_and_the_shuffled_band():
    random = np.random.default_rng(0)
    kinds = random.integers(0, 3, 60)
    genres = [("Drama", "War", "Comedy|Drama")[kind] for kind in kinds]
    frame = genre_purity(np.stack([kinds, random.integers(0, 3, 60)], axis=1), genres, 0)
    ax = plots.genre_purity_by_prefix({"LETTER": frame})
    assert ax.lines[0].get_ydata().tolist() == frame["purity"].tolist()
    assert "LETTER 100%, shuffled identifiers" in title(ax)
    assert ax.collections, "the band of shuffled identifiers"
    frame.loc[1:, ["purity", "shuffled"]] = np.nan
    assert "LETTER no two such items, shuffled" in title(
        plots.genre_purity_by_prefix({"LETTER": frame})
    )


def test_training_curves_mark_the_best_epoch():
    curves = {"TIGER": [(1, 0.01), (2, 0.03), (3, 0.02)]}
    assert title(plots.training_curves(curves, "validation NDCG@10", True)) == (
        "Highest validation NDCG@10: TIGER 0.03 (epoch 2)"
    )
    ax = plots.training_curves(curves, "loss", False)
    assert title(ax) == "Lowest loss: TIGER 0.01 (epoch 1)"
    assert ax.lines[1].get_xdata() == [1]
    many = plots.training_curves({f"system {i}": [(1, 0.1 + i)] for i in range(21)}, "loss", False)
    assert len(many.lines) == 42, "the table has 21 systems, more than the palette has colours"


def test_usage_bars_stand_by_level_and_arm():
    even, uneven = np.stack([np.arange(8) % 4] * 2, axis=1), np.array([[0, 1]] * 6 + [[1, 2]] * 2)
    usage = {"plain": code_usage(uneven, (4, 4)), "LETTER": code_usage(even, (4, 4))}
    ax = plots.code_usage_by_level(usage)
    assert (
        bar_heights(ax)
        == usage["plain"]["perplexity"].tolist() + usage["LETTER"]["perplexity"].tolist()
    )
    assert title(ax) == "Perplexity at level 1: plain 2, LETTER 4"
    assert ax.get_ylabel() == "perplexity (of 4 codes)"


def test_signal_bars_have_the_random_pair_beside_them():
    arms = {
        "plain": SimilarityResult(0.05, (0.08, 0.02), 0.007),
        "LETTER": SimilarityResult(0.09, (0.15, 0.03), 0.009),
    }
    ax = plots.collaborative_signal_by_level(arms)
    assert bar_heights(ax) == [0.08, 0.02, 0.15, 0.03]
    assert title(ax).endswith("plain 0.050, LETTER 0.090")
    assert "two random items (0.008)" in [one.get_text() for one in ax.get_legend().get_texts()]


def test_recall_by_group_leaves_out_a_group_without_cases():
    cases = {"cases head": 5, "cases middle": 4, "cases tail": 1200, "cases unseen": 0}
    metrics = {
        "SASRec": cases | {"R@10 head": 0.2, "R@10 middle": 0.1, "R@10 tail": 0.0},
        "TIGER": cases | {"R@10 head": 0.1, "R@10 middle": 0.15, "R@10 tail": 0.0},
    }
    ax = plots.recall_by_popularity(metrics)
    labels = [one.get_text() for one in ax.get_xticklabels()]
    assert labels == ["head\n5 cases", "middle\n4 cases", "tail\n1,200 cases"]
    assert title(ax) == "Highest Recall@10 by group: head SASRec 0.200, middle TIGER 0.150"
    metrics["TIGER"]["R@10 head"] = 0.2001  # written alike
    assert "head several 0.200, middle TIGER 0.150" in title(plots.recall_by_popularity(metrics))


def test_a_sample_without_a_case_of_some_group_has_no_bar_there():
    """A language model answers a sample, and of a group that the sample lacks there is no recall."""
    cases = {"cases head": 5, "cases middle": 4, "cases tail": 3, "cases unseen": 2}
    groups = ("head", "middle", "tail", "unseen")
    sample = {"cases head": 2, "cases middle": 1, "cases tail": 1, "cases unseen": 0}
    metrics = {
        "LC-Rec": sample | {f"R@10 {group}": 0.3 for group in groups[:3]},
        "TIGER": cases | {f"R@10 {group}": 0.1 for group in groups},
    }
    ax = plots.recall_by_popularity(metrics)
    assert [one.get_text() for one in ax.get_xticklabels()][-1] == "unseen\n2 cases"
    assert title(ax).endswith("tail LC-Rec 0.300, unseen TIGER 0.100")
    assert np.isnan(bar_heights(ax)[3])
