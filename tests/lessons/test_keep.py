"""Kept answers, in a notebook as a learner uses it: what is written, what later lessons read."""

import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

RIGHT = """
import torch
import torch.nn.functional as F
from letterlib.tokenizer.rqvae import nearest_codes
from letterlib.course.keep import keep, mine

FACTOR = 2.0
films = torch.ones(3)

def distances(z, codebook):
    return codebook.square().sum(1) - FACTOR * z @ codebook.T

def my_nearest_code(z, codebook):
    return distances(z, codebook).argmin(1)

nearest_code = keep("2.1", my_nearest_code)
print(nearest_code.__module__, nearest_code.__name__)
"""
SECOND = """
def my_residual_quantize(z, codebooks):
    residual, codes = z, []
    for codebook in codebooks:
        codes.append(nearest_code(residual, codebook))
        residual = residual - F.embedding(codes[-1], codebook)
    return torch.stack(codes, dim=1), z - residual

residual_quantize = keep("2.2", my_residual_quantize)
"""
WRONG = """
def my_residual_quantize(z, codebooks):
    return z, z

residual_quantize = keep("2.2", my_residual_quantize)
print(residual_quantize.__module__)
"""
LATER = """
from letterlib.course.keep import mine
nearest_code, residual_quantize = mine("2.1", "2.2")
print(nearest_code.__module__, residual_quantize.__module__)
"""


@pytest.fixture
def lesson(tmp_path, monkeypatch):
    """Run cells in a new kernel, as in <tmp>/notebooks; returns what each printed or showed."""
    monkeypatch.delenv("LETTERLIB_MINE", raising=False)  # building a lesson sets it
    (tmp_path / "notebooks").mkdir()

    def run(*cells):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        resources = {"metadata": {"path": str(tmp_path / "notebooks")}}
        NotebookClient(notebook, resources=resources).execute()
        return [
            "\n".join(
                o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in c.outputs
            )
            for c in notebook.cells
        ]

    return run


def test_passed_answers_are_kept_and_used_by_later_lessons(lesson, tmp_path):
    first, second = lesson(RIGHT, SECOND)
    assert "2.1: correct" in first and "mine/lesson_02.py" in first
    assert "__main__ my_nearest_code" in first and "2.2: correct" in second
    text = (tmp_path / "mine" / "lesson_02.py").read_text()
    head, *_ = text.split("# Exercise 2.1")
    assert "import torch\n" in head and "import torch.nn.functional as F" in head
    assert "nearest_codes" not in text and "films" not in text, "only what the answers use"
    exec(compile(text, "mine", "exec"), {})
    (later,) = lesson(LATER)
    assert later.count("yours, from mine/lesson_02.py") == 2
    assert later.splitlines()[-1] == "mine.lesson_02 mine.lesson_02"


def test_a_wrong_answer_is_replaced_by_the_library_and_an_earlier_right_one_stays(lesson, tmp_path):
    *_, wrong = lesson(RIGHT, SECOND, WRONG)
    assert "2.2: incorrect" in wrong and "letterlib.tokenizer.rqvae" in wrong
    assert "codes.append" in (tmp_path / "mine" / "lesson_02.py").read_text()


def test_a_file_that_is_broken_by_hand_stops_nothing(lesson):
    change = """
from pathlib import Path
kept = Path("../mine/lesson_02.py")
text = kept.read_text()
kept.write_text(text.replace({!r}, {!r}))
mine("2.1")
kept.write_text(text)
"""
    shown = lesson(
        RIGHT,
        change.format("argmin", "argmax"),
        change.format("def distances(", "def distances(("),
        change.format("Exercise 2.1", "Exercise 2.9"),
        'mine("2.3")',
    )
    reasons = ["does not pass its check", "cannot be run", "not in mine/lesson_02.py", "not in"]
    for line, reason in zip(shown[1:], reasons, strict=True):
        assert re.search(rf"2\.\d \w+: the library's \(.*{reason}.*\)", line), line


def test_functions_that_call_each_other_are_kept(lesson, tmp_path):
    pair = """
def other(z, codebook):
    return distances(z, codebook) if codebook is None else z

def distances(z, codebook):
    other(z, codebook)
    return codebook.square().sum(1) - FACTOR * z @ codebook.T
"""
    (shown,) = lesson(RIGHT.replace("def my_nearest_code", pair + "\ndef my_nearest_code"))
    assert "It is kept in mine/lesson_02.py" in shown
    exec(compile((tmp_path / "mine" / "lesson_02.py").read_text(), "mine", "exec"), {})


CLASSES = """
from dataclasses import dataclass
from typing import NamedTuple

@dataclass
class Step:
    z: torch.Tensor
    quantised: torch.Tensor

    def taken(self):
        return Through.apply(Pair(self.z, self.quantised).z, self.quantised)

class Pair(NamedTuple):
    z: torch.Tensor
    quantised: torch.Tensor

class Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, quantised):
        return quantised.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None

def my_straight_through(z, quantised):
    return Step(z, quantised).taken()

straight_through = keep("2.3", my_straight_through)
"""


def test_classes_are_kept_with_their_decorators(lesson):
    _, shown, later = lesson(RIGHT, CLASSES, 'mine("2.3")')
    assert "It is kept in mine/lesson_02.py" in shown
    assert "2.3 my_straight_through: yours" in later


def test_what_cannot_be_written_is_used_and_said(lesson, tmp_path):
    (shown,) = lesson(RIGHT.replace("FACTOR = 2.0", "FACTOR = torch.tensor(2.0)"))
    assert "not be kept for later lessons: it uses `FACTOR`" in shown and "__main__" in shown
    assert not (tmp_path / "mine").exists()


def test_nothing_is_written_where_the_folder_is_switched_off(lesson, tmp_path, monkeypatch):
    monkeypatch.setenv("LETTERLIB_MINE", "")
    first, later = lesson(RIGHT, LATER)
    assert "2.1: correct" in first and not (tmp_path / "mine").exists()
    assert "2.1 nearest_codes: the library's" in later


JOINED = """
from letterlib.course.keep import join, mine
nearest_code, straight_through = mine("2.1", "2.3")
SCALE = 3

class Coder:
    def __init__(self, codebook):
        self.codebook = codebook

    def code(self, z):
        return nearest_code(straight_through(z, z), self.codebook)

def main(scale=SCALE):
    print("codes", Coder(torch.eye(4)).code(scale * torch.eye(4)).tolist())
    return scale

path, kept = join(main, "letter.py")
print(path.name, kept)
"""


def test_everything_stands_in_one_file_that_needs_no_notebook(lesson, tmp_path):
    _, shown = lesson(RIGHT, JOINED)
    assert "letter.py ['my_nearest_code', 'distances']" in shown
    file = tmp_path / "mine" / "letter.py"
    text = file.read_text()
    assert "import straight_through" in text and "mine.lesson" not in text
    ran = subprocess.run([sys.executable, file], capture_output=True, text=True, cwd=tmp_path)
    assert ran.stdout == "codes [0, 1, 2, 3]\n", ran.stderr


def test_two_things_of_one_name_are_not_joined(lesson):
    other = "\ndef distances(z):\n    return z\n"
    cells = [
        RIGHT,
        JOINED.replace("def main", other + "\ndef main").replace(
            "scale * torch.eye(4)", "distances(torch.eye(4))"
        ),
    ]
    with pytest.raises(
        CellExecutionError, match="two different things that are called `distances`"
    ):
        lesson(*cells)
