"""The shape of the house: which room may import which, how long a file may be, which packages are
named where.
"""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "letterlib"
ROOMS = (
    "errors store distributed hardware progress data evaluation tracking checkpoint train "
    "saved_model hub text baselines tokenizer decoding generators export hugging_face "
    "analysis plots pipeline course doctor cli __main__"
).split()
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(
    one for folder in ("benchmarks", "experiments") for one in (ROOT / folder).rglob("*.py")
)


def room_of(module: Path) -> str:
    first = module.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_rooms(module: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        if names == ["letterlib"]:
            names = [f"letterlib.{alias.name}" for alias in node.names]
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name and name.startswith("letterlib.")}
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_above_it(module):
    own = room_of(module)
    if own == "__init__":
        return
    above = ROOMS[: ROOMS.index(own) + 1]
    assert imported_rooms(module) <= set(above), f"{own} may import {above}"


def test_no_module_reads_a_pickle_except_the_one_that_checks_its_hash_first():
    """pandas' read_pickle, pickle, torch.load and np.load(allow_pickle=True) execute what they
    read.
    """
    unsafe = (
        "import pickle",
        "from pickle",
        "read_pickle",
        "torch.load(",
        "allow_pickle=True",
        "joblib",
    )
    users = {m.name for m in MODULES if any(word in _code_of(m) for word in unsafe)}
    assert users <= {"movielens.py"}
    text = _code_of(PACKAGE / "data" / "movielens.py")
    assert text.index("packaged_bytes(") < text.index("read_pickle"), (
        "bytes come from where the hash is checked"
    )


def _code_of(module: Path) -> str:
    """The module's code without comments and docstrings."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def test_environment_yml_and_pyproject_name_the_same_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    ours = [*extras["all"][0].partition("[")[2].rstrip("]").split(","), "course", "dev"]
    packages = [*project["dependencies"], *(one for name in ours for one in extras[name])]
    wanted = {one for one in packages if not one.startswith("letterlib[")}
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    named = next(one["pip"] for one in environment["dependencies"] if isinstance(one, dict))
    assert sorted(named) == sorted(wanted)
    assert f"python{project['requires-python']}" in environment["dependencies"]


def test_the_readme_names_only_make_targets_that_exist():
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = set(re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert named and named <= targets


def test_no_data_set_is_committed():
    """What loaders keep lies in runs/, wherever that is made; a table of ranks is all that a result
    has of the kind.
    """
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert tracked
    assert not [
        path
        for path in tracked
        if path.endswith((".inter.json", ".item.json")) or "runs" in Path(path).parts
    ]
    assert {Path(path).name for path in tracked if path.endswith(".parquet")} == {
        "ranks.parquet",
        *(f"{path.stem}.parquet" for path in (ROOT / "experiments" / "results").glob("*.parquet")),
    }


def test_no_user_s_history_is_among_the_committed_results():
    """The data sets may not be handed on; a result names a case by its number."""
    for path in (ROOT / "experiments" / "results").rglob("*.json"):
        assert not re.search(r'"(histor(y|ies)|targets?)": \[', path.read_text(encoding="utf-8")), (
            path
        )
