"""The instructions in docs/architecture.md for a fifteenth system, followed word for word in a copy of the library."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def instructions() -> tuple[str, str, str]:
    """The file's path, its text, and the line for SYSTEMS, as the document has them."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text[text.index("## Adding a fifteenth system") :]
    module, line = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[:2]
    return re.search(r"Save it as `(\S+\.py)`", section)[1], module, line


def test_a_fifteenth_system_is_one_file_and_one_line(tmp_path):
    path, module, line = instructions()
    shutil.copytree(ROOT / "letterlib", tmp_path / "letterlib", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / path).write_text(module, encoding="utf-8")
    systems = tmp_path / "letterlib" / "experiments" / "systems.py"
    text = systems.read_text(encoding="utf-8")
    end = text.index('\n}\n"""Every system, in the order of the table."""')
    new = re.search(r"^class (\w+)", module, re.MULTILINE)[1]
    imported = f"from {path.removesuffix('.py').replace('/', '.')} import {new}\n"
    systems.write_text(text[:end].replace("from dataclasses", imported + "from dataclasses", 1) + "\n" + line.rstrip()
                       + text[end:], encoding="utf-8")  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "TQDM_DISABLE": "1"}
    command = ["table", "--profile", "smoke", "--seeds", "1"]
    command += ["--system", "item-neighbours", "--system", "popularity", "--cache-dir", str(tmp_path / "runs")]
    code = f"import sys; from letterlib.cli import main; sys.argv = {['letterlib', *command]!r}; main()"
    said = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    row = next(one for one in said.stdout.splitlines() if one.startswith("Item neighbours"))
    floor = next(one for one in said.stdout.splitlines() if one.startswith("Popularity"))
    without_history = [float(re.findall(r"(\d\.\d+) \[", one)[1]) for one in (row, floor)]
    assert without_history[0] > without_history[1], "neighbours beat popularity on MovieLens"
