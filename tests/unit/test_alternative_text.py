"""A figure's words are stored beside its picture, where what shows the notebook finds them."""

import pickle

import matplotlib.pyplot as plt
from IPython.core.interactiveshell import InteractiveShell

from letterlib import plots
from letterlib.alternative_text import in_words, store_words
from letterlib.course import figures_04
from letterlib.evaluation.bootstrap import Interval


def two_panels():
    figure, axes = plt.subplots(1, 2)
    figure.suptitle("LETTER\nlearns")
    for ax, side, measure in zip(axes, ("left", "center"), ("Recall@10", "NDCG@10"), strict=True):
        ax.plot([1, 2], label="plain 72")
        ax.set(xlabel="epoch", ylabel=measure)
        ax.set_title(f"{measure} rises", loc=side)
        ax.legend()
    return figure


def test_words_are_titles_axes_and_legends_each_said_once():
    assert in_words(two_panels()) == (
        "LETTER learns; Recall@10 rises; NDCG@10 rises. Horizontal: epoch. Vertical: Recall@10; NDCG@10. "
        "Legend: plain 72."
    )


def test_what_a_figure_does_not_have_is_not_said():
    figure, ax = plt.subplots()
    assert in_words(figure) == ""
    ax.set_xlabel("level")
    assert in_words(figure) == "Horizontal: level."


def test_what_belongs_to_the_whole_figure_is_read_too():
    figure, ax = plt.subplots()
    ax.plot([1, 2], label="one")
    figure.legend()
    figure.supxlabel("first component")
    figure.supylabel("second component")
    assert (
        in_words(figure) == "Horizontal: first component. Vertical: second component. Legend: one."
    )


def test_a_notebook_stores_the_words_of_every_figure_as_they_are_when_it_is_shown():
    figure = plots.system_forest({"SASRec": Interval(0.07, 0.06, 0.08)}).figure
    figure.axes[0].set_xlabel("changed afterwards")
    shown, about = InteractiveShell.instance().display_formatter.format(figure)
    assert (
        about["image/png"]["alt"]
        == "SASRec has the highest Recall@10: 0.0700. Horizontal: changed afterwards."
    )
    assert "image/png" not in shown or shown["image/png"]  # the picture is left to IPython


def test_a_figure_made_small_keeps_its_words():
    figure, ax = plt.subplots()
    ax.set_title("One code is left")
    _, about = figures_04.compact(ax)._repr_png_()
    assert about == {"alt": "One code is left."}


def test_asking_twice_changes_nothing_and_other_hooks_stay():
    before = list(plt.rcParams["figure.hooks"])
    store_words()
    assert plt.rcParams["figure.hooks"] == before
    assert before.count("letterlib.alternative_text:_describe") == 1


def test_a_figure_can_still_be_pickled():
    figure = two_panels()
    assert in_words(pickle.loads(pickle.dumps(figure))) == in_words(figure)
