"""The identifier explorer of lesson 05: a film, the films that share its first codes, and how alpha
and beta move them.

`company` and `movement` are pure and return HTML; `Explorer` puts the same behind a search field
and two sliders.
"""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from letterlib.data.dataset import Dataset
from letterlib.errors import LetterError
from letterlib.store import digest, load_tensors, read_json
from letterlib.tokenizer.identifiers import token

NAMED = 4
"""How many films of a group are named, the best known first."""

_CELL = 'style="text-align:left;vertical-align:top;padding:4px 12px 4px 0;line-height:1.4"'
_ARTICLE = re.compile(r"^(the|an?) ")  # the catalogue has it at the end: "Matrix, The (1999)"


@dataclass(frozen=True)
class Sweep:
    """The codes of one catalogue under several settings.

    codes: (alpha, beta) -> int64 [n_items, L]. known: how often each item was watched, int64
    [n_items].
    """

    codes: Mapping[tuple[float, float], np.ndarray]
    titles: Sequence[str]
    known: np.ndarray

    @classmethod
    def load(cls, folder: Path, dataset: Dataset) -> "Sweep":
        """Read `codes.safetensors` and `sweep.json`. Codes of other items than the data set's are a
        LetterError.
        """
        about = read_json(folder / "sweep.json")
        if about["titles"] != digest(dataset.titles()):
            raise LetterError(
                f"{folder.name}: these codes belong to another edition of {about['dataset']}, so "
                "row i is another item; install the versions that the repository names, or run "
                "experiments/tokenizer_sweep.py again"
            )
        tables, _ = load_tensors(folder / "codes.safetensors")
        codes = {_setting(key): table.long().numpy() for key, table in tables.items()}
        watched = np.bincount(dataset.sequences.values, minlength=dataset.n_items)
        return cls(codes, dataset.titles(), watched)

    @property
    def alphas(self) -> list[float]:
        return sorted({alpha for alpha, _ in self.codes})

    @property
    def betas(self) -> list[float]:
        return sorted({beta for _, beta in self.codes})

    def item(self, title: str) -> int:
        """The item with this title, or the best known one that contains it, in any case, without a
        leading article.
        """
        words = title.strip().lower()
        part = _ARTICLE.sub("", words)
        found = [i for i, one in enumerate(self.titles) if part and part in one.lower()]
        if not found:
            raise LetterError(
                f'no film is called "{title}"; type a part of its title, one word is enough'
            )
        exact = [i for i in found if self.titles[i].lower() == words]
        return max(exact or found, key=lambda i: self.known[i])

    def at(self, alpha: float, beta: float) -> np.ndarray:
        return self.codes[alpha, beta]


def _setting(key: str) -> tuple[float, float]:
    """ "alpha=0.1 beta=0.01" -> (0.1, 0.01)."""
    values = dict(part.split("=") for part in key.split())
    return float(values["alpha"]), float(values["beta"])


def sharing(codes: np.ndarray, item: int) -> list[np.ndarray]:
    """The other items whose first l codes are the item's, and no more, for l = 1, ..., L. codes:
    [n_items, L].
    """
    common = np.logical_and.accumulate(codes == codes[item], axis=1).sum(axis=1)
    common[item] = 0
    return [np.flatnonzero(common == length) for length in range(1, codes.shape[1] + 1)]


def identifier(codes: np.ndarray, item: int) -> str:
    return "".join(token(level, int(code)) for level, code in enumerate(codes[item]))


def company(sweep: Sweep, item: int, alpha: float, beta: float) -> str:
    """HTML: the item's identifier under one setting, and the items that share four, three, two
    codes or one.
    """
    codes = sweep.at(alpha, beta)
    rows = [
        (f"{length} of {codes.shape[1]}", f"{len(others):,}", _named(sweep, others))
        for length, others in reversed(list(enumerate(sharing(codes, item), start=1)))
    ]
    head = f"<b>{html.escape(sweep.titles[item])}</b> at alpha {alpha:g}, beta {beta:g}: "
    head += f"<code>{html.escape(identifier(codes, item))}</code>"
    return f"<p>{head}</p>" + _table(["first codes shared", "films", "the best known"], rows)


def movement(sweep: Sweep, item: int) -> str:
    """HTML: for every setting the identifier and the items nearest in it, one row an alpha, one
    column a beta.
    """
    rows = []
    for alpha in sweep.alphas:
        cells = [_nearest(sweep, item, alpha, beta) for beta in sweep.betas]
        rows.append([f"<b>alpha {alpha:g}</b>", *cells])
    head = ["", *(f"beta {beta:g}" for beta in sweep.betas)]
    return f"<p><b>{html.escape(sweep.titles[item])}</b></p>" + _table(head, rows)


def _nearest(sweep: Sweep, item: int, alpha: float, beta: float) -> str:
    """One cell of `movement`: the longest prefix that anybody shares, and who."""
    codes = sweep.at(alpha, beta)
    groups = sharing(codes, item)
    longest = max(
        (length for length, others in enumerate(groups, start=1) if len(others)), default=0
    )
    written = f"<code>{html.escape(identifier(codes, item))}</code>"
    if not longest:
        return f"{written}<br>no other film has its first code"
    return f"{written}<br>{longest} shared: {_named(sweep, groups[longest - 1])}"


def _named(sweep: Sweep, items: np.ndarray) -> str:
    best = sorted(items.tolist(), key=lambda i: (-sweep.known[i], i))[:NAMED]
    names = "; ".join(html.escape(sweep.titles[i]) for i in best)
    return names + (f"; and {len(items) - NAMED} more" if len(items) > NAMED else "") or "none"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are HTML already."""
    first = "".join(f"<th {_CELL}>{one}</th>" for one in head)
    below = "".join(
        "<tr>" + "".join(f"<td {_CELL}>{cell}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{first}</tr></thead><tbody>{below}</tbody></table>"


class Explorer:
    """A search field, two sliders and the table of `company`. Where widgets cannot live, the table
    alone is shown.
    """

    def __init__(self, sweep: Sweep, title: str):
        import ipywidgets as widgets  # the course has it, the library alone does not need it

        self.sweep, self.shown = sweep, sweep.item(title)
        titles = sorted(sweep.titles)
        style = {"continuous_update": False, "layout": widgets.Layout(width="32em")}
        self.film = widgets.Combobox(
            value=sweep.titles[self.shown], options=titles, description="film", **style
        )
        self.alpha = widgets.SelectionSlider(
            options=_options(sweep.alphas), description="alpha", **style
        )
        self.beta = widgets.SelectionSlider(
            options=_options(sweep.betas), description="beta", **style
        )
        self.page = widgets.HTML()
        for control in (self.film, self.alpha, self.beta):
            control.observe(lambda change: self.refresh(), "value")
        self.box = widgets.VBox([self.film, self.alpha, self.beta, self.page])
        self.refresh()

    def refresh(self) -> None:
        """Show what the controls say; a title that no film has leaves the last film, with a line
        that says so.
        """
        said = ""
        try:
            self.shown = self.sweep.item(self.film.value)
        except LetterError as error:
            said = f"<p>{html.escape(str(error))}</p>"
        self.page.value = said + company(self.sweep, self.shown, self.alpha.value, self.beta.value)

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        live = self.box._repr_mimebundle_(**options)
        title = self.sweep.titles[self.shown]
        return live | {"text/html": self.page.value, "text/plain": f"Explorer: {title}"}


def _options(values: Sequence[float]) -> list[tuple[str, float]]:
    return [(f"{value:g}", value) for value in values]
