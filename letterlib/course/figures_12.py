"""What lesson 12 shows of the learner's own file, and of what it recommends."""

import ast
import importlib.util
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from letterlib.course.experiments import committed
from letterlib.data.dataset import Cases
from letterlib.pipeline.results import load_results


def contents(path: Path, learners: Collection[str]) -> pd.DataFrame:
    """The pieces of a file, in its order: name, lines of code, and whose it is.

    learners: the names of the pieces that the learner wrote.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    rows = [("imports", lines_of_code(imports), "the libraries'")]
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            whose = "yours" if node.name in learners else "given by the lessons"
            rows.append((node.name, lines_of_code([node]), whose))
    table = pd.DataFrame(rows, columns=["piece", "lines", "whose"])
    print(f"{path.name}: {lines_of_code(tree.body)} lines of code")
    for whose, lines in table.groupby("whose", sort=False)["lines"].sum().items():
        print(f"{lines:4}  {whose}")
    return table.set_index("piece")


def lines_of_code(nodes: Sequence[ast.stmt]) -> int:
    """Lines without blank ones, comments and docstrings, in Python's own layout."""
    text = "\n".join(ast.unparse(_without_docstrings(node)) for node in nodes)
    return sum(bool(line.strip()) for line in text.splitlines())


def _without_docstrings(node: ast.stmt) -> ast.stmt:
    for inner in ast.walk(node):
        body = getattr(inner, "body", None)
        if isinstance(body, list) and len(body) > 1 and isinstance(body[0], ast.Expr):
            if isinstance(getattr(body[0].value, "value", None), str):
                del body[0]
    return node


def imported(path: Path) -> ModuleType:
    """A Python file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def library_seeds() -> pd.Series:
    """R@10 of the library's LETTER-TIGER on MovieLens in the committed runs, by seed."""
    runs = load_results(committed("movielens-random-order"))
    found = {
        run.record["parameters"]["seed"]: run.record["metrics"]["history in"]["R@10"]
        for run in runs
        if run.record["system"] == "letter-tiger" and not run.record["parameters"]["options"]
    }
    return pd.Series(found, name="R@10").rename_axis("seed").sort_index()


def shown(
    cases: Cases, titles: Sequence[str], lists: np.ndarray, known: np.ndarray
) -> pd.DataFrame:
    """The histories and lists of three cases in which the next film was found.

    lists: int64 [n_cases, k]; known: how often each film was watched, so that well-known ones are
    shown.
    """
    found = np.flatnonzero((lists == cases.targets[:, None]).any(axis=1))
    if not len(found):
        found = np.arange(len(cases))  # after a few steps of training nothing is found
    recent = cases.recent(4)
    fame = np.where(recent[found] >= 0, known[recent[found]], 0).min(axis=1)
    chosen = found[np.argsort(-fame, kind="stable")[:3]]
    columns = {}
    for case in chosen:
        watched = "; ".join(titles[item] for item in recent[case] if item >= 0)
        columns[watched] = [
            titles[item] + "  (came next)" * bool(item == cases.targets[case])
            for item in lists[case]
        ]
    return pd.DataFrame(columns, index=range(1, lists.shape[1] + 1)).rename_axis(columns="watched")
