"""Figures draw what they are given, and name it in their title and alternative text."""

import matplotlib.pyplot as plt
import numpy as np
from IPython.core.interactiveshell import InteractiveShell

from letterlib import plots
from letterlib.analysis.code_usage import code_usage
from letterlib.analysis.collaborative_signal import SimilarityResult
from letterlib.analysis.geometry import sphere_projection
from letterlib.analysis.purity import genre_purity
from letterlib.evaluation.bootstrap import Interval


def title(ax):
    """On one line with plain spaces."""
    text = ax.get_title("left") or ax.get_title()
    return text.replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ")


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
    for fact in ("SASRec", "0.0700", "1 of 2", "markov"):
        assert fact in title(ax)
    bars = [list(line.get_xdata()) for line in ax.lines]
    assert [0.04, 0.06] in bars and [0.06, 0.06] in bars, "TIGER's interval, the higher floor"


def test_first_code_frequency_sorts_and_counts_codes_in_use():
    loads = {"plain": np.array([1, 0, 7, 2]), "LETTER": np.array([3, 3, 2, 2])}
    ax = plots.first_code_frequency(loads)
    assert ax.lines[0].get_ydata().tolist() == [0.7, 0.2, 0.1]
    assert "plain 70.0%, LETTER 30.0%" in title(ax)


def test_sphere_sizes_dots_by_load_and_crosses_dead_codes():
    points = sphere_projection(np.random.default_rng(0).normal(size=(10, 5)))
    ax = plots.code_sphere(points, np.array([0, 4, 1, 1, 1, 1, 1, 1, 0, 0]), "LETTER")
    dots, crosses = ax.collections[-2:]
    assert len(dots.get_sizes()) == 7 and dots.get_sizes().argmax() == 0
    assert len(crosses.get_offsets()) == 3 and "7 of 10" in title(ax)


def test_purity_draws_variants_and_the_shuffled_band():
    random = np.random.default_rng(0)
    kinds = random.integers(0, 3, 60)
    genres = [("Drama", "War", "Comedy|Drama")[kind] for kind in kinds]
    frame = genre_purity(np.stack([kinds, random.integers(0, 3, 60)], axis=1), genres, 0)
    ax = plots.genre_purity_by_prefix({"LETTER": frame})
    assert ax.lines[0].get_ydata().tolist() == frame["purity"].tolist()
    assert "LETTER 100%" in title(ax) and ax.collections


def test_training_curves_mark_the_best_epoch():
    curves = {f"system {i}": [(1, 0.01), (2, 0.03), (3, 0.02)] for i in range(21)}
    highest = plots.training_curves(curves, "validation NDCG@10", True)
    assert highest.lines[1].get_xdata() == [2] and "0.03 (epoch 2)" in title(highest)
    assert plots.training_curves(curves, "loss", False).lines[1].get_xdata() == [1]
    assert len(highest.lines) == 42, "more systems than the palette has colours"


def test_bars_stand_by_level_and_variant():
    codes = np.array([[0, 1]] * 6 + [[1, 2]] * 2)
    usage = {"plain": code_usage(codes, (4, 4)), "LETTER": code_usage(codes[:, ::-1], (4, 4))}
    heights = [x for frame in usage.values() for x in frame["perplexity"]]
    assert bar_heights(plots.code_usage_by_level(usage)) == heights
    results = {"plain": SimilarityResult(0.05, (0.08, 0.02), 0.007)}
    ax = plots.collaborative_signal_by_level(results)
    assert bar_heights(ax) == [0.08, 0.02] and "plain 0.050" in title(ax)


def test_recall_by_group_leaves_out_groups_without_cases():
    cases = {"cases head": 5, "cases middle": 4, "cases tail": 1200, "cases unseen": 0}
    metrics = {
        "SASRec": cases | {"R@10 head": 0.2, "R@10 middle": 0.1, "R@10 tail": 0.0},
        "LC-Rec": cases | {"cases tail": 0, "R@10 head": 0.1, "R@10 middle": 0.15},
    }
    ax = plots.recall_by_popularity(metrics)
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == ["head\n5 cases", "middle\n4 cases", "tail\n1,200 cases"]
    assert "head SASRec 0.200, middle LC-Rec 0.150" in title(ax) and np.isnan(bar_heights(ax)[5])


def test_a_notebook_stores_each_figure_s_alternative_text():
    figure, axes = plt.subplots(1, 2)
    for ax, measure in zip(axes, ("Recall@10", "NDCG@10"), strict=True):
        ax.plot([1, 2], label="plain 72")
        ax.set(xlabel="epoch", ylabel=measure, title=f"{measure} rises")
        ax.legend()
    _, about = InteractiveShell.instance().display_formatter.format(figure)
    assert about["image/png"]["alt"] == (
        "Recall@10 rises; NDCG@10 rises. Horizontal: epoch. Vertical: Recall@10; NDCG@10. "
        "Legend: plain 72."
    )
