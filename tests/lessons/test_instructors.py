"""docs/instructors.md, run: its own commands, in its own order, with three hand-ins and exact marks."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import answers_02
import nbformat
import pytest

from letterlib.course.build import REPOSITORY
from letterlib.course.classroom import solutions, submission

LESSON = "02_rq_vae"
COLLECT = "nbgrader zip_collect"


def test_every_command_of_the_walk_works_and_gives_the_marks_it_should(tmp_path):
    text = (REPOSITORY / "docs" / "instructors.md").read_text(encoding="utf-8")
    commands = "\n".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL))
    assert COLLECT in commands and "nbgrader export" in commands
    for name in ("solutions", "experiments"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    hand_in(tmp_path / "handed-in")
    before, after = commands.split(COLLECT)
    arrive = f"mkdir -p downloaded/{LESSON}/archive\ncp ../handed-in/* downloaded/{LESSON}/archive/\n"
    shell(before + arrive + COLLECT + after, tmp_path)

    with open(tmp_path / "letter" / "grades.csv", newline="") as file:
        marks = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert marks == answers_02.POINTS
    page = (tmp_path / "letter" / "feedback" / "half" / LESSON / f"{LESSON}.html").read_text(encoding="utf-8")
    assert "From the second level on, code the residual" in page, "feedback should name the likely cause"


def hand_in(folder: Path) -> None:
    source = nbformat.read(REPOSITORY / "solutions" / f"{LESSON}.ipynb", as_version=4)
    full = solutions(source)
    half = {name: text for name, text in (full | answers_02.HALF_RIGHT).items() if text is not None}
    folder.mkdir()
    for student, answers in {"full": full, "half": half, "untouched": {}}.items():
        nbformat.write(submission(source, answers), folder / f"{student}_{LESSON}.ipynb")


def shell(commands: str, folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=folder, capture_output=True, text=True,
                          env=os.environ | {"PATH": path, "TQDM_DISABLE": "1"})  # fmt: skip
    if done.returncode:
        pytest.fail(f"{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
