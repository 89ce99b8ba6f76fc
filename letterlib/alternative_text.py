"""A figure in words, for readers who do not see it: a notebook stores them beside the picture."""

from functools import partial

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def in_words(figure: Figure) -> str:
    """What is written on a figure: its titles, which say what the data show, its axes, and what its
    legends list.
    """
    panels = figure.axes
    legends = [one for one in (*figure.legends, *(ax.get_legend() for ax in panels)) if one]
    said = {
        "": [
            figure.get_suptitle(),
            *(ax.get_title(side) for ax in panels for side in ("left", "center", "right")),
        ],
        "Horizontal: ": [figure.get_supxlabel(), *(ax.get_xlabel() for ax in panels)],
        "Vertical: ": [figure.get_supylabel(), *(ax.get_ylabel() for ax in panels)],
        "Legend: ": [text.get_text() for legend in legends for text in legend.get_texts()],
    }
    each_once = {
        name: dict.fromkeys(" ".join(text.split()) for text in texts if text)
        for name, texts in said.items()
    }
    return " ".join(f"{name}{'; '.join(texts)}." for name, texts in each_once.items() if texts)


def store_words() -> None:
    """From here on IPython keeps `in_words` of every figure of pyplot with its picture, as "alt".

    `course/site.py` reads it there, and nbconvert's classic template.
    """
    if _HOOK not in plt.rcParams["figure.hooks"]:
        plt.rcParams["figure.hooks"] = [*plt.rcParams["figure.hooks"], _HOOK]


_HOOK = f"{__name__}:_describe"


def _describe(figure: Figure) -> None:
    figure._repr_mimebundle_ = partial(_words_alone, figure)


def _words_alone(figure: Figure, **_: object) -> tuple[dict, dict]:
    return {}, {"image/png": {"alt": in_words(figure)}}
