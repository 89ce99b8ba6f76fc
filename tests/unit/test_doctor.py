"""The doctor finds what is wrong, says what to do, and does not faint."""

import sys
from collections import namedtuple

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
