"""A kernel that cannot start because another program took one of its ports, as papermill and
nbgrader meet it.
"""

import socket

import grading
import nbformat
import papermill
import pytest
from jupyter_client.connect import LocalPortCache

from letterlib.course.kernels import execute_notebook
from letterlib.errors import LetterError


@pytest.fixture
def run(tmp_path):
    """Executes a notebook of one cell; returns where the result is to lie."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")])
    nbformat.write(notebook, tmp_path / "source.ipynb")

    def execute():
        target = tmp_path / "out.ipynb"
        execute_notebook(
            str(tmp_path / "source.ipynb"), str(target), progress_bar=False, kernel_name="python3"
        )
        return target

    return execute


@pytest.fixture
def unlucky(monkeypatch):
    """unlucky(n, port) takes one of the five ports of the next n kernels; the list grows by each
    port chosen.
    """
    choose, held = LocalPortCache.find_available_port, socket.create_server(("127.0.0.1", 0))

    def begin(kernels: int, port: int = 0) -> list[int]:
        chosen = []

        def find_available_port(cache, ip):
            taken = len(chosen) in range(port, 5 * kernels, 5)
            chosen.append(held.getsockname()[1] if taken else choose(cache, ip))
            return chosen[-1]

        monkeypatch.setattr(LocalPortCache, "find_available_port", find_available_port)
        return chosen

    with held:
        yield begin


@pytest.mark.parametrize(
    "port", [0, 2, 4]
)  # shell, stdin, control; a heartbeat nobody hears stops no kernel
def test_a_kernel_whose_port_another_one_took_is_started_once_more(run, unlucky, port):
    chosen = unlucky(1, port)
    assert run().exists() and len(chosen) == 10


def test_a_kernel_that_never_starts_is_tried_twice_and_no_more(run, unlucky):
    chosen = unlucky(3)
    with pytest.raises(RuntimeError, match="Kernel died before"):
        run()
    assert len(chosen) == 10


@pytest.mark.parametrize(
    ("says", "times"), [("Kernel didn't respond in 60 seconds", 2), ("Kernel died", 1)]
)
def test_only_a_kernel_that_did_nothing_is_started_once_more(run, monkeypatch, says, times):
    """Of the output's port one hears after a minute; so the words stand here, not the port."""
    tried = []

    def execute_notebook(*paths, **options):
        tried.append(paths)
        raise RuntimeError(says)

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    with pytest.raises(RuntimeError, match=says):
        run()
    assert len(tried) == times


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own
def test_grading_starts_a_kernel_once_more_and_says_why_it_failed(tmp_path, unlucky):
    solution, test = (
        nbformat.v4.new_code_cell(text) for text in ("answer = 1", "assert answer == 1")
    )
    about = {"schema_version": 3, "task": False}
    solution.metadata["nbgrader"] = about | {
        "grade_id": "a",
        "grade": False,
        "solution": True,
        "locked": False,
    }
    test.metadata["nbgrader"] = about | {
        "grade_id": "b",
        "grade": True,
        "solution": False,
        "locked": True,
        "points": 1,
    }
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    answers = nbformat.v4.new_notebook(cells=[solution, test], metadata={"kernelspec": kernel})
    nbformat.write(answers, source := tmp_path / "01_made.ipynb")
    chosen = unlucky(1)
    assert grading.autograde(source, {"ann": answers}, tmp_path / "course") == {"ann": {"b": 1.0}}
    assert len(chosen) == 10
    unlucky(2)
    with pytest.raises(
        LetterError, match="(?s)nbgrader autograde .* ann failed: .*Kernel died before replying"
    ):
        grading.autograde(source, {"ann": answers}, tmp_path / "again")
