"""What pip installs: a light core, and extras that errors name."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import letterlib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

WITHOUT_EXTRAS = """
import importlib, pkgutil, sys, warnings

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in {missing!r} else found(name, *a)
import letterlib
from letterlib.errors import NotInstalled

for module in pkgutil.walk_packages(letterlib.__path__, "letterlib.", onerror=lambda name: None):
    if module.name != "letterlib.__main__":
        try:
            importlib.import_module(module.name)
        except NotInstalled as error:
            print(module.name, str(error))
"""


def _name(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def _brought(extra: str) -> set[str]:
    """The packages of an extra, and of those that it names itself."""
    found = set()
    for requirement in PROJECT["optional-dependencies"][extra]:
        named = re.match(r"letterlib\[(.+)\]", requirement)
        found |= set.union(*map(_brought, named[1].split(","))) if named else {_name(requirement)}
    return found


def test_without_extras_every_module_imports_or_names_an_extra_that_brings_what_it_needs():
    optional = _brought("course") - {_name(requirement) for requirement in PROJECT["dependencies"]}
    missing = sorted(
        module
        for module, packages in packages_distributions().items()
        if {_name(package) for package in packages} <= optional
    )
    assert {"matplotlib", "transformers", "peft", "pooch"} <= {*missing}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS.format(missing=missing)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    refused = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert {"letterlib.plots", "letterlib.data.fetch", "letterlib.course"} <= {*refused}
    for module, error in refused.items():
        package, extra = re.match(r"(\S+) is not .*letterlib\[(.+)\]", error).groups()
        assert package in _brought(extra), module


def test_the_page_of_the_package_index_has_no_link_that_only_works_in_the_repository():
    page = (ROOT / PROJECT["readme"]).read_text(encoding="utf-8")
    assert not [link for link in re.findall(r"\]\(([^)]+)\)", page) if "://" not in link]


def test_version_is_the_same_wherever_it_stands():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    versions = {PROJECT["version"], letterlib.__version__}
    assert versions == {re.search(r"^version: (.+)$", citation, re.MULTILINE)[1]}
