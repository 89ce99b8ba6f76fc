"""Progress bars in a notebook: what is left of them in its file; and where nobody could see one."""

import subprocess
import sys

import nbformat

from letterlib.course.kernels import execute_notebook

CELLS = [
    "from letterlib.progress import late_bar, progress\nfor _ in progress(range(3), what='whole'): pass",
    "with progress(what='stopped early', total=3) as bar: bar.update()",
    "with progress(what='late', total=2, delay=0.01, mininterval=0) as bar:\n"
    "    import time; time.sleep(0.1); bar.update(2)",
    "with late_bar('short', 2) as bar: bar.update(2)",
]


def test_nothing_of_a_bar_is_left_in_a_notebook(monkeypatch, tmp_path):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbformat.write(notebook, tmp_path / "before.ipynb")
    paths = str(tmp_path / "before.ipynb"), str(tmp_path / "after.ipynb")
    quiet = ["--IPKernelApp.log_level=40"]
    execute_notebook(*paths, kernel_name="python3", progress_bar=False, extra_arguments=quiet)
    notebook = nbformat.read(paths[1], as_version=4)
    shown = [[output.get("data") for output in cell.outputs] for cell in notebook.cells]
    empty = [{"text/plain": ""}]
    assert shown == [empty, empty, empty, []]  # the last is over before it would have been shown
    nbformat.validate(notebook)


def test_without_a_stream_for_errors_there_is_no_bar_and_no_end():
    """A daemon has none, nor has a command with `2>&-`."""
    code = "import sys; from letterlib.progress import progress; sys.stderr = None; print(*progress([1, 2], what='a'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 2\n", "")
