"""The identifier explorer: who shares how many codes, refusals in words, and a page that is safe to
store.
"""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors.numpy import save_file

from letterlib.course.explorer import Explorer, Sweep, company, identifier, sharing
from letterlib.errors import LetterError
from letterlib.store import digest

TITLES = [
    "Alien (1979)",
    "Aliens (1986)",
    "Heat (1995)",
    "<b>Odd</b> (2001)",
    "Toy Story (1995)",
    "Toy Story 2 (1999)",
]
CODES = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 0], [1, 0, 0], [2, 2, 3], [2, 2, 3]])


@pytest.fixture
def sweep():
    moved = CODES[::-1].copy()
    return Sweep({(0.0, 0.0): CODES, (0.1, 0.0): moved}, TITLES, np.array([5, 9, 3, 1, 8, 2]))


@dataclass
class Catalogue:
    n_items: int = 6
    names: tuple[str, ...] = tuple(TITLES)

    @property
    def sequences(self):
        return type("Sequences", (), {"values": np.array([0, 0, 1])})

    def titles(self):
        return list(self.names)


@pytest.fixture
def folder(tmp_path):
    save_file(
        {"alpha=0 beta=0": CODES.astype(np.uint8), "alpha=0.1 beta=1e-04": CODES.astype(np.uint8)},
        tmp_path / "codes.safetensors",
    )
    (tmp_path / "sweep.json").write_text(
        json.dumps({"dataset": "made", "titles": digest(list(TITLES))})
    )
    return tmp_path


def test_sharing_is_exact_in_its_length_and_leaves_the_item_out():
    assert [group.tolist() for group in sharing(CODES, 0)] == [[3], [2], [1]]
    assert [group.tolist() for group in sharing(CODES, 5)] == [[], [], [4]]


def test_the_page_names_the_identifier_and_the_best_known_first(sweep):
    page = company(sweep, 0, 0.0, 0.0)
    assert "&lt;a_1&gt;&lt;b_2&gt;&lt;c_3&gt;" in page and identifier(CODES, 0) == "<a_1><b_2><c_3>"
    assert page.index("Aliens") < page.index("Heat") < page.index("Odd")
    assert "<b>Odd" not in page and "&lt;b&gt;Odd" in page


@pytest.mark.parametrize(
    "words,item",
    [
        ("toy story", 4),
        ("Toy Story 2 (1999)", 5),
        ("ALIEN", 1),
        (" alien (1979)", 0),
        ("The Heat", 2),
        ("an alien", 1),
    ],
)
def test_a_title_is_found_by_a_part_of_it(sweep, words, item):
    assert sweep.item(words) == item


def test_a_sweep_is_read_back(folder):
    sweep = Sweep.load(folder, Catalogue())
    assert sweep.alphas == [0.0, 0.1] and sweep.betas == [0.0, 1e-4]
    assert sweep.at(0.1, 1e-4).dtype == np.int64 and sweep.known.tolist() == [2, 1, 0, 0, 0, 0]


def test_codes_of_another_catalogue_are_refused(folder):
    with pytest.raises(LetterError, match="another edition of made"):
        Sweep.load(folder, Catalogue(names=("Another", *TITLES[1:])))


def test_the_widget_follows_its_controls_and_survives_a_wrong_title(sweep):
    shown = Explorer(sweep, "Alien (1979)")
    assert shown.page.value == company(sweep, 0, 0.0, 0.0)
    shown.film.value, shown.alpha.value = "toy story", 0.1
    assert shown.page.value == company(sweep, 4, 0.1, 0.0)
    shown.film.value = "Casablanca"
    assert (
        "no film is called" in shown.page.value and company(sweep, 4, 0.1, 0.0) in shown.page.value
    )
