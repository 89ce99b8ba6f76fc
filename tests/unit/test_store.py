"""Atomic writing and strict reading."""

import errno
import json
import os
import shutil
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import save_file

from letterlib.errors import LetterError
from letterlib.store import (
    atomic_write,
    content_of_folder,
    digest,
    disk_failure,
    files_below,
    locked,
    read_json,
    remove_scratch,
    sha256_of,
    write_json,
    write_text,
)


def test_an_interrupted_write_leaves_the_old_file_and_no_scratch(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert json.loads(target.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    "system, held, kept", [("win32", 3, "new"), ("win32", 99, "old"), ("linux", 1, "old")]
)
def test_windows_is_asked_again_while_a_virus_scanner_holds_a_file(
    tmp_path, monkeypatch, system, held, kept
):
    def refusing(source, target, replace=os.replace):
        asked.append(source)
        if len(asked) <= held:
            raise PermissionError(errno.EACCES, "Access is denied", str(source))
        replace(source, target)

    asked = []
    write_json(tmp_path / "a.json", "old")
    monkeypatch.setattr(os, "replace", refusing)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("letterlib.store.time.sleep", lambda seconds: None)
    with (
        nullcontext()
        if kept == "new"
        else pytest.raises(LetterError, match="a.json: could not be written")
    ):
        write_json(tmp_path / "a.json", "new")
    assert read_json(tmp_path / "a.json") == kept and [one.name for one in tmp_path.iterdir()] == [
        "a.json"
    ]


def test_a_folder_that_holds_something_is_never_replaced(tmp_path):
    target = tmp_path / "stage"
    target.mkdir()
    with atomic_write(target) as temporary:  # an empty one may be
        temporary.mkdir()
        (temporary / "first").write_text("first")
    for make in (Path.mkdir, Path.touch):
        with (
            pytest.raises(LetterError, match="is a folder with something in it"),
            atomic_write(target) as temporary,
        ):
            make(temporary)
    assert [p.name for p in tmp_path.rglob("*")] == ["stage", "first"]
    with pytest.raises(LetterError, match="is a file, and a folder was to be written"):
        with atomic_write(target / "first") as temporary:
            temporary.mkdir()
    assert (target / "first").read_text() == "first"


def test_a_hash_is_of_values_that_json_knows():
    """Anything else would be hashed as Python shows it, often by its address."""
    assert digest({"a": [1, 2.5, None]}) != digest({"a": [1, 2.5, "None"]})
    with pytest.raises(TypeError, match="not JSON serializable"):
        digest({"seed": np.int64(1)})


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_the_umask_is_asked_for_without_being_set(tmp_path, monkeypatch):
    """For a moment every thread of the process would write files that anybody may change."""
    monkeypatch.setattr(os, "umask", Mock(side_effect=AssertionError))
    with atomic_write(tmp_path / "alone.txt") as temporary:
        temporary.write_text("a")


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_others_may_read_what_was_written_as_far_as_the_umask_lets_them(tmp_path):
    """safetensors makes files for their owner alone; of a cache that a class shares, nobody else
    could read a model.
    """
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "stage") as temporary:
            temporary.mkdir()
            save_file({"a": torch.zeros(1)}, temporary / "model.safetensors")
        with atomic_write(tmp_path / "alone.safetensors") as temporary:
            save_file({"a": torch.zeros(1)}, temporary)
    finally:
        os.umask(before)
    for path in (tmp_path / "stage" / "model.safetensors", tmp_path / "alone.safetensors"):
        assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "stage").stat().st_mode & 0o777 == 0o750


def test_a_full_disk_is_one_clear_line_and_nothing_is_half_written(tmp_path):
    target = tmp_path / "a.json"
    with (
        pytest.raises(LetterError, match="No space left on device.*free some disk space"),
        atomic_write(target),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_clear_line_when_safetensors_meets_it(tmp_path):
    """Checkpoints and models are where disks fill, and safetensors has an error of its own, which
    is no OSError.
    """
    resource = pytest.importorskip("resource", reason="Windows has no limit for the size of a file")
    target, usual = tmp_path / "model.safetensors", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, usual[1]))
    try:
        with pytest.raises(LetterError, match="could not be written .File too large") as full:
            with atomic_write(target) as temporary:
                save_file({"a": torch.zeros(10_000)}, temporary)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert list(tmp_path.iterdir()) == [] and disk_failure(full.value).errno == errno.EFBIG
    for words in (
        "a file that is read is broken",
        'Permission denied (os error 13) at path "elsewhere/model"',
    ):
        with pytest.raises(SafetensorError), atomic_write(target) as temporary:
            raise SafetensorError(words)
    with (
        pytest.raises(LetterError, match="could not be written .Permission denied"),
        atomic_write(target) as temporary,
    ):
        raise SafetensorError(
            f'I/O error: Permission denied (os error 13) at path "{temporary.parent}/.tmpAB"'
        )


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        SafetensorError("I/O error: Input/output error (os error 5)"),
    ],
)
def test_a_disk_that_fails_in_the_midst_of_a_file_is_one_clear_line(tmp_path, error):
    with (
        pytest.raises(LetterError, match="written .*error.; the disk fails"),
        atomic_write(tmp_path / "a"),
    ):
        raise error
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="elsewhere"), atomic_write(tmp_path / "a"):
        raise OSError(
            errno.EIO, "Input/output error", "elsewhere"
        )  # something else that the block reads


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"0": [1, 2', "not valid JSON at line 1, column 12.*truncated"),
        ('{"7": [1], "8": [2], "7": [3]}', 'the key "7" appears twice'),
        ("", "not valid JSON"),
    ],
)
def test_a_broken_json_file_says_where_it_is_broken(tmp_path, text, words):
    path = tmp_path / "Beauty.inter.json"
    path.write_text(text)
    with pytest.raises(LetterError, match=words) as caught:
        read_json(path)
    assert "Beauty.inter.json" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_binary_file(tmp_path):
    with pytest.raises(LetterError, match="no such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LetterError, match="not UTF-8"):
        read_json(tmp_path / "binary.json")


def test_not_a_number_is_never_written_as_json(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert not (tmp_path / "a.json").exists()


def test_the_digest_tells_apart_values_shapes_types_and_order():
    a = np.arange(6)
    others = [
        (a.reshape(2, 3),),
        (a.astype(np.int32),),
        (a[::-1],),
        (a, "x"),
        ("x", a),
        ({"a": 1},),
        ({"a": 2},),
    ]
    assert len({digest(*parts) for parts in [(a,), *others]}) == len(others) + 1
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_a_lock_lets_one_in_at_a_time_and_tells_the_other_to_wait(tmp_path):
    inside, said, order = threading.Event(), [], []

    def second():
        inside.wait()
        with locked(tmp_path / "stage", said.append):
            order.append("second")

    thread = threading.Thread(target=second, daemon=True)
    thread.start()
    with locked(tmp_path / "stage", said.append):
        inside.set()
        deadline = time.monotonic() + 30
        while not said:
            assert time.monotonic() < deadline and not order, "the other was let in"
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert said == [
        f"{tmp_path.name}/stage: another process is at work on it; waiting until that is done"
    ]


def test_only_scratch_of_the_name_is_removed(tmp_path):
    for name in (".a.json.abcd1234", ".a.json.abcd12345", ".b.json.abcd1234", "a.json.abcd1234"):
        (tmp_path / name).mkdir()
    (tmp_path / ".a.json.lock").write_text("")
    (tmp_path / ".a.json.abcd123_").write_text("a file, not ours")
    remove_scratch(tmp_path, "a.json")
    assert not (tmp_path / ".a.json.abcd1234").exists() and len(list(tmp_path.iterdir())) == 5
    remove_scratch(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == [
        ".a.json.abcd12345",
        "a.json.abcd1234",
    ]


def test_an_error_of_the_block_that_is_not_about_writing_keeps_its_own_words(tmp_path):
    with pytest.raises(OSError, match="cannot reach the hub"), atomic_write(tmp_path / "a"):
        raise OSError("cannot reach the hub")
    with (
        pytest.raises(LetterError, match="could not be written"),
        atomic_write(tmp_path / "a") as temporary,
    ):
        (temporary / "in a folder that nobody made").write_text("")


def test_a_lock_where_nothing_can_be_written_is_one_clear_line():
    with pytest.raises(LetterError, match="cannot write here"), locked("/dev/null/x/y"):
        pass
    with locked("/dev/null/x/y", or_read=True) as unwritable:
        assert "cannot write here" in str(unwritable)


def test_a_lock_that_is_forbidden_while_one_waits_for_it_is_one_clear_line(tmp_path, monkeypatch):
    answers = iter([Timeout("held"), PermissionError(errno.EACCES, "Permission denied")])

    def acquire(lock, **_):
        raise next(answers)

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with (
        pytest.raises(LetterError, match="cannot write here .Permission denied"),
        locked(tmp_path / "a", list),
    ):
        pass


def test_the_content_of_a_folder_is_its_files_and_not_its_name(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "weights").write_text("1")
    before = content_of_folder(tmp_path / "a")
    assert before == content_of_folder(tmp_path / "b") and len(before) == 1
    (tmp_path / "a" / "deep" / "weights").write_text("2")
    assert content_of_folder(tmp_path / "a") != before
    assert (
        content_of_folder(tmp_path / "none")
        == content_of_folder("minilm")
        == content_of_folder("")
        == []
    )
    assert content_of_folder(tmp_path / "a", "minilm")
    assert content_of_folder(str(tmp_path / "a"), str(tmp_path / "a")) == [], (
        "a name of ours, which no folder changes"
    )


def test_the_hash_of_a_missing_file_is_one_clear_line(tmp_path):
    with pytest.raises(LetterError, match="none.json: no such file"):
        sha256_of(tmp_path / "none.json")


def test_the_hash_of_a_folder_is_one_clear_error(tmp_path):
    with pytest.raises(LetterError, match="is a folder, not a file"):
        sha256_of(tmp_path)


def test_what_the_system_does_not_let_us_read_is_one_clear_error(tmp_path):
    (tmp_path / "itself.json").symlink_to(tmp_path / "itself.json")  # root may read all but this
    for read in (read_json, sha256_of):
        with pytest.raises(
            LetterError, match="itself.json: cannot be read .*; check its permissions"
        ):
            read(tmp_path / "itself.json")


def test_a_folder_that_is_deleted_while_it_is_written_is_one_clear_error(tmp_path, monkeypatch):
    """Of a relative folder, too, whose scratch folder has an absolute name since Python 3.12."""
    monkeypatch.chdir(tmp_path)
    for target in (Path("runs") / "a.json", tmp_path / "runs" / "a.json"):
        with (
            pytest.raises(LetterError, match="could not be written"),
            atomic_write(target) as temporary,
        ):
            shutil.rmtree(tmp_path / "runs")
            temporary.write_text("too late")


def test_an_empty_folder_in_the_place_of_a_file_is_named_as_such(tmp_path):
    (tmp_path / "out.json").mkdir()
    with pytest.raises(LetterError, match="is a folder, and a file was to be written"):
        write_text(tmp_path / "out.json", "a")


def test_a_folder_that_is_a_link_is_looked_into_once_and_a_link_to_itself_has_no_end(tmp_path):
    (tmp_path / "results" / "own").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("results/own/1.json", "elsewhere/2.json"):
        (tmp_path / name).touch()
    for name, target in (("a", "elsewhere"), ("b", "elsewhere"), ("own/up", "results")):
        (tmp_path / "results" / name).symlink_to(tmp_path / target, target_is_directory=True)
    found = files_below(tmp_path / "results", ".json")
    assert [path.name for path in found] == ["2.json", "1.json"] and len(
        {path.resolve() for path in found}
    ) == 2


def test_what_is_being_written_is_not_among_the_files_below(tmp_path, monkeypatch):
    for name in ("b/2.json", "a/1.json", "a/.3.json.abcd/3.json", "a/4.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_below(tmp_path, ".json") == [tmp_path / "a" / "1.json", tmp_path / "b" / "2.json"]
    listed = os.scandir

    def gone(path):  # between the listing of its folder and its own
        if Path(path).name == "a":
            raise FileNotFoundError(path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", gone)
    assert files_below(tmp_path, ".json") == [tmp_path / "b" / "2.json"]


def test_the_content_of_a_folder_is_another_where_its_files_change_names(tmp_path):
    for name in ("query", "key"):
        (tmp_path / name).write_text(name)
    before = content_of_folder(tmp_path)
    (tmp_path / "query").rename(tmp_path / "value")
    assert content_of_folder(tmp_path) != before
