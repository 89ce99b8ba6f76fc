"""The instructions in docs/architecture.md for a new system and a new loss, followed in a copy of
the library.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def section(title: str) -> tuple[str, list[str]]:
    """A section of the document, and the code in it."""
    text = (
        (ROOT / "docs" / "architecture.md")
        .read_text(encoding="utf-8")
        .split(f"## {title}\n")[1]
        .split("\n## ")[0]
    )
    return text, re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def instructions() -> tuple[str, str, str]:
    """The file's path, its text, and the line for SYSTEMS, as the document has them."""
    text, (module, line) = section("Adding a fifteenth system")
    return re.search(r"Save it as `(\S+\.py)`", text)[1], module, line


def test_a_fifteenth_system_is_one_file_and_one_line(tmp_path):
    path, module, line = instructions()
    shutil.copytree(
        ROOT / "letterlib", tmp_path / "letterlib", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / path).write_text(module, encoding="utf-8")
    systems = tmp_path / "letterlib" / "pipeline" / "systems.py"
    text = systems.read_text(encoding="utf-8")
    end = text.index('\n}\n"""Every system, in the order of the table."""')
    new = re.search(r"^class (\w+)", module, re.MULTILINE)[1]
    imported = f"from {path.removesuffix('.py').replace('/', '.')} import {new}\n"
    systems.write_text(
        text[:end].replace("from dataclasses", imported + "from dataclasses", 1)
        + "\n"
        + line.rstrip()
        + text[end:],
        encoding="utf-8",
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "TQDM_DISABLE": "1"}
    command = ["table", "--profile", "smoke", "--seeds", "1"]
    command += [
        "--system",
        "item-neighbours",
        "--system",
        "popularity",
        "--cache-dir",
        str(tmp_path / "runs"),
    ]
    code = (
        f"import sys; from letterlib.cli import main; sys.argv = {['letterlib', *command]!r}; "
        "main()"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr
    row = next(one for one in said.stdout.splitlines() if one.startswith("Item neighbours"))
    floor = next(one for one in said.stdout.splitlines() if one.startswith("Popularity"))
    without_history = [float(re.findall(r"(\d\.\d+) \[", one)[1]) for one in (row, floor)]
    assert without_history[0] > without_history[1], "neighbours beat popularity on MovieLens"


FIT = """
import numpy as np
from letterlib.tokenizer.letter import LetterTokenizer
vectors = np.random.default_rng(0).normal(size=(60, 8)) + 3
sizes = dict(alpha=0, beta=0, n_codes=8, n_levels=2, hidden=(16,))
sizes |= dict(epochs=40, batch_size=32, learning_rate=0.01)
for more in {more}:
    tokenizer = LetterTokenizer(seed=0, device="cpu", **sizes, **more).fit(vectors)
    lengths = [np.square(book.mean(0)).sum() for book in tokenizer.codebooks()]
    print(*tokenizer.identifiers().codes.flatten(), *lengths, sep=",")
"""


def fitted(package: Path, more: list[dict]) -> list[list[float]]:
    """The codes of a small tokenizer with each of these settings, and the squared lengths of its
    mean code vectors.
    """
    environment = os.environ | {"PYTHONPATH": str(package), "TQDM_DISABLE": "1"}
    said = subprocess.run(
        [sys.executable, "-c", FIT.format(more=more)],
        env=environment,
        cwd=package,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    return [[float(one) for one in line.split(",")] for line in said.stdout.splitlines()]


def test_a_loss_is_a_function_a_field_and_three_lines(tmp_path):
    text, (function, field, computed, returned) = section("Adding a loss to the tokenizer")
    before = f"        {re.search(r'before the comment `(.*?)`', text)[1]}\n"
    shutil.copytree(
        ROOT / "letterlib", tmp_path / "letterlib", ignore=shutil.ignore_patterns("__pycache__")
    )
    losses, letter = (
        tmp_path / "letterlib" / "tokenizer" / name for name in ("losses.py", "letter.py")
    )
    losses.write_text(f"{losses.read_text(encoding='utf-8')}\n\n{function}", encoding="utf-8")
    code = letter.read_text(encoding="utf-8")
    beta, last = re.search(r"    beta: .*\n", code)[0], '        return {"loss": total, **parts}\n'
    for line, replacement in ((beta, beta + field), (before, computed + before), (last, returned)):
        assert code.count(line) == 1, line
        code = code.replace(line, replacement)
    letter.write_text(code, encoding="utf-8")
    (plain,) = fitted(ROOT, [{}])
    without, with_it = fitted(tmp_path, [{}, {"gamma": 10.0}])
    assert without == plain, "a weight of 0 changes nothing"
    assert max(with_it[-2:]) < 0.3 * max(plain[-2:]), "below a tenth with each of five seeds"
