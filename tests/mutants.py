"""Runs mutmut on the modules of pyproject.toml and compares the survivors with tests/mutants.md.

python tests/mutants.py             all modules
python tests/mutants.py letterlib.evaluation.metrics letterlib.decoding.trie
python tests/mutants.py --report    the table of what has been run, without running anything

A mutant is a function with one small change; it is killed if a test fails. Of a module with more
than SAMPLE mutants, SAMPLE are drawn with a fixed seed.
"""

import difflib
import json
import os
import random
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = 100
LEFT_OUT = {
    "": r".*(__str__|__repr__|_repr_html_|__format__)",
    "letterlib.course.values": r"x_cause_of_\w+|x_in_words|x__table_in_words",
    "letterlib.data.dataset": (r".*find_items|x_(k_core|_checked|text_of|genres_of|whole_letters)"),
    "letterlib.generators.tiger": r"(?!xǁTigerǁ|x_history_tokens|x_next_identifiers_loss).*",
}
"""What only words a message; of dataset.py what is not the split; of tiger.py the network, which
tests/parity compares with transformers' T5.
"""
SMALLEST = "letterlib.generators.ranking_loss"
"""Run first: this writes the mutants of all modules."""
# Exit codes of pytest under mutmut: passed, and no test reaches the function.
SURVIVED, UNREACHED = 0, 33


def mutmut(*arguments: str) -> None:
    program = Path(sys.executable).parent / "mutmut"
    command = [program, "run", "--max-children", "1", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}  # for the plugin below
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def exit_codes(module: str) -> dict[str, int | None]:
    """The exit code of every mutant; None before it was run."""
    path = ROOT / "mutants" / (module.replace(".", "/") + ".py.meta")
    return json.loads(path.read_text())["exit_code_by_key"] if path.exists() else {}


def mutants_of(module: str) -> list[str]:
    """All mutants but those of functions that are left out."""
    left_out = re.compile("|".join(LEFT_OUT[key] for key in ("", module) if key in LEFT_OUT))
    names = sorted(exit_codes(module))
    functions = [name.rpartition(".")[2].rpartition("__mutmut_")[0] for name in names]
    return [n for n, f in zip(names, functions, strict=True) if not left_out.fullmatch(f)]


def drawn(module: str) -> list[str]:
    names = mutants_of(module)
    random.Random(0).shuffle(names)
    return names[:SAMPLE]


def change(mutant: str) -> tuple[str, str]:
    """The function's name, and its first changed line."""
    module, _, name = mutant.rpartition(".")
    source = (ROOT / "mutants" / (module.replace(".", "/") + ".py")).read_text()
    original = name.rpartition("_mutmut_")[0] + "_mutmut_orig"
    versions = []
    for version in (original, name):
        found = re.search(
            rf"^( *)(?:async )?def {version}\(.*?(?=^\1\S(?<!\)))", source, re.M | re.S
        )
        versions.append(found[0].replace(version, "").splitlines())
    lines = [x for x in difflib.ndiff(*versions) if x[0] in "+-"]
    added = [x[2:].strip() for x in lines if x[0] == "+"] or ["without " + lines[0][2:].strip()]
    return name.rpartition("__mutmut_")[0].removeprefix("x").strip("_ǁ").replace("ǁ", "."), added[0]


def pytest_collection_modifyitems(items: list) -> None:
    """As mutmut's plugin of pytest: test files that take little time come first."""
    seconds, stats = defaultdict(float), Path("mutmut-stats.json")
    known = json.loads(stats.read_text())["duration_by_test"] if stats.exists() else {}
    for item in items:
        seconds[item.path] += known.get(item.nodeid, 0.0)
    items.sort(key=lambda item: (seconds[item.path], item.path))


def main(arguments: list[str]) -> int:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    known = [p.removesuffix(".py").replace("/", ".") for p in config["only_mutate"]]
    modules = [x for x in arguments if x != "--report"] or known
    if "--report" not in arguments:
        mutmut(f"{SMALLEST}.*")
        mutmut(*(name for module in modules for name in drawn(module)))
    explained = (ROOT / "tests" / "mutants.md").read_text()
    unexplained = []
    print("| module | mutants | drawn | run | killed | survived | killed, share |")
    print("|---|---|---|---|---|---|---|")
    for module in modules:
        codes = exit_codes(module)
        run = [name for name in drawn(module) if codes[name] is not None]
        survivors = [name for name in run if codes[name] in (SURVIVED, UNREACHED)]
        if run:
            killed = len(run) - len(survivors)
            row = (len(mutants_of(module)), len(drawn(module)), len(run), killed, len(survivors))
            share = f"{killed / len(run):.0%}"
            print("|", " | ".join(map(str, (module.removeprefix("letterlib."), *row, share))), "|")
        for name in survivors:
            function, line = change(name)
            if f"{function}: `{line}`" not in explained:
                unexplained.append(f"{name}\n    {function}: `{line}`")
    print("\nNot in tests/mutants.md:", *(unexplained or ["none"]), sep="\n")
    return bool(unexplained)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
