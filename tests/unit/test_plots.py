"""Figures draw what they are given, and name it in their title and alternative text."""

import matplotlib.pyplot as plt
import numpy as np
from IPython.core.interactiveshell import InteractiveShell

from letterlib import plots
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
