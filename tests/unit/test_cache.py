"""Stages cached by content: found, made again when damaged, resumed when interrupted, never half
there.
"""

import errno
import json
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from letterlib.errors import LetterError
from letterlib.pipeline import cache as cache_module
from letterlib.pipeline.cache import Cache


@pytest.fixture
def said():
    return []


@pytest.fixture
def cache(tmp_path, said):
    return Cache(tmp_path, said.append)


def write_value(value, calls):
    def work(out, partial):
        calls.append(value)
        (out / "value.txt").write_text(value)
        return {"length": len(value)}

    return work


def stage(cache, work, **changes):
    settings = dict(version=1, config={"size": 3}, inputs=["abc"], seed=0, device="cpu") | changes
    return cache.stage("demo", settings.pop("version"), work, **settings)


def test_a_finished_stage_is_found_and_not_run_again(cache, said):
    calls = []
    first = stage(cache, write_value("one", calls))
    again = stage(cache, write_value("two", calls))
    assert (
        calls == ["one"]
        and again.folder == first.folder
        and again.from_cache
        and not first.from_cache
    )
    assert again.metrics == {"length": 3} and again.path("value.txt").read_text() == "one"
    assert "found in the cache" in said[-1]


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"config": {"size": 4}}, {"inputs": ["abd"]}, {"seed": 1}]
)
def test_whatever_decides_the_result_decides_the_folder(cache, change):
    calls = []
    stage(cache, write_value("one", calls))
    stage(cache, write_value("two", calls), **change)
    assert calls == ["one", "two"]


def test_a_disk_that_cannot_be_read_for_a_moment_deletes_nothing(cache, monkeypatch):
    calls = []
    folder = stage(cache, write_value("one", calls)).folder
    with monkeypatch.context() as away:
        stale = OSError(errno.ESTALE, "stale handle")
        away.setattr("letterlib.store.open", lambda *_: (_ for _ in ()).throw(stale), raising=False)
        with pytest.raises(LetterError, match="cannot be read.*nothing was deleted"):
            stage(cache, write_value("two", calls))
    assert (folder / "value.txt").read_text() == "one"
    assert stage(cache, write_value("two", calls)).from_cache and calls == ["one"]


@pytest.mark.parametrize(
    "damage", ["changed", "missing", "truncated record", "record without seconds", "no record"]
)
def test_a_damaged_stage_is_made_again_and_said_so(cache, said, damage):
    calls = []
    folder = stage(cache, write_value("one", calls)).folder
    if damage == "changed":
        (folder / "value.txt").write_text("onE")
    elif damage == "missing":
        (folder / "value.txt").unlink()
    elif damage == "truncated record":
        (folder / "stage.json").write_text((folder / "stage.json").read_text()[:40])
    elif damage == "record without seconds":
        record = json.loads((folder / "stage.json").read_text())
        del record["seconds"]
        (folder / "stage.json").write_text(json.dumps(record))
    else:
        (folder / "stage.json").unlink()
    said.clear()
    assert stage(cache, write_value("one", calls)).path("value.txt").read_text() == "one"
    assert calls == ["one", "one"] and "damaged" in said[0] and str(folder) in said[0]
    assert ("value.txt" if damage in ("changed", "missing") else "stage.json") in said[0]


def test_a_record_that_somebody_has_written_in_is_damaged(cache, said):
    """Also where what is left can be read: what does it say of metrics, or of the files?"""
    calls = []
    folder = stage(cache, write_value("one", calls)).folder
    whole = json.loads((folder / "stage.json").read_text())
    for change in ({"metrics": {}}, {"files": {}}, {"seconds": 0.5}):
        (folder / "stage.json").write_text(json.dumps(whole | change))
        said.clear()
        assert not stage(cache, write_value("one", calls)).from_cache and "damaged" in said[0]
    assert len(calls) == 4


def test_a_damaged_stage_that_is_a_link_is_unlinked_and_what_it_leads_to_is_kept(cache, tmp_path):
    calls = []
    folder = stage(cache, write_value("one", calls)).folder
    elsewhere = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(elsewhere)
    assert stage(cache, write_value("one", calls)).from_cache
    (elsewhere / "value.txt").write_text("onE")
    assert not stage(cache, write_value("one", calls)).from_cache
    assert (elsewhere / "value.txt").read_text() == "onE" and not folder.is_symlink()


def test_a_damaged_stage_that_may_not_be_deleted_is_one_clear_error(cache, monkeypatch):
    """In a cache that several share, a folder may be another's though its neighbours can be
    written.
    """
    folder = stage(cache, write_value("one", [])).folder
    (folder / "value.txt").write_text("onE")
    refused = PermissionError(
        errno.EACCES, "Permission denied", "value.txt"
    )  # rmtree knows no more of the path
    monkeypatch.setattr("shutil.rmtree", Mock(side_effect=refused))
    with pytest.raises(
        LetterError, match=f"{folder.name}: is damaged, and cannot be deleted .Permission denied"
    ):
        stage(cache, write_value("one", []))


def test_a_stage_that_other_code_has_made_says_so(cache, said, monkeypatch):
    stage(cache, write_value("one", []))
    assert stage(cache, write_value("two", [])).from_cache and "other code" not in said[-1]
    monkeypatch.setattr("letterlib.pipeline.cache.code", lambda: "of tomorrow")
    assert stage(cache, write_value("two", [])).from_cache and "by other code)" in said[-1]


@pytest.fixture
def read_only(cache, monkeypatch):
    """Called, it makes of the cache one of another user: nothing in it can be made, written or
    deleted any more.
    """

    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    def take_away():
        monkeypatch.setattr("letterlib.store.FileLock.acquire", refuse)
        for deed in ("os.mkdir", "os.replace", "shutil.rmtree"):
            monkeypatch.setattr(deed, refuse)

    return take_away


def test_what_is_in_a_cache_that_may_only_be_read_is_found_and_nothing_is_written(
    cache, said, read_only
):
    calls = []
    folder = stage(cache, write_value("one", calls)).folder
    checkpoints = folder.with_name(f"{folder.name}.partial")
    checkpoints.mkdir()
    before = sorted(cache.folder.rglob("*"))
    read_only()
    found = stage(cache, write_value("two", calls))
    assert (
        found.from_cache
        and found.folder == folder
        and calls == ["one"]
        and "found in the cache" in said[-1]
    )
    assert sorted(cache.folder.rglob("*")) == before, (
        "checkpoints may be those of somebody who is at work"
    )


def test_what_is_not_in_a_cache_that_may_only_be_read_or_is_damaged_is_one_clear_error(
    cache, read_only
):
    calls = []
    folder = stage(cache, write_value("one", calls)).folder
    (folder / "value.txt").write_text("onE")
    read_only()
    for changes, words in (({"seed": 1}, "demo is not in the cache"), ({}, "value.txt is damaged")):
        with pytest.raises(
            LetterError,
            match=f"{words}.*cannot write here .Read-only file system.*--cache-dir names",
        ):
            stage(cache, write_value("two", calls), **changes)
    assert calls == ["one"] and (folder / "value.txt").read_text() == "onE", (
        "nothing was begun, nothing deleted"
    )


def left_in(cache):
    """What is there beside the lock, an empty file that stays."""
    return [path.name for path in (cache.folder / "demo").iterdir() if path.suffix != ".lock"]


def test_what_a_killed_process_left_is_removed_by_the_next(cache):
    key = stage(cache, write_value("one", [])).key
    scratch, checkpoints = (
        cache.folder / "demo" / f".{key}.abcd1234",
        cache.folder / "demo" / f"{key}.partial",
    )
    for folder in (scratch, checkpoints, cache.folder / "demo" / ".other.abcd1234"):
        folder.mkdir()
        (folder / "file").write_text("half")
    assert stage(cache, write_value("two", [])).from_cache
    assert not scratch.exists() and not checkpoints.exists()
    assert (cache.folder / "demo" / ".other.abcd1234").exists(), (
        "somebody may be writing that at this moment"
    )


def test_half_a_checkpoint_is_removed_before_a_stage_goes_on(cache):
    def interrupted(out, partial):
        (partial / "checkpoint").write_text("epoch 3")
        (partial / ".checkpoint.abcd1234").mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(cache, interrupted)
    seen = []
    stage(cache, lambda out, partial: seen.extend(path.name for path in partial.iterdir()) or {})
    assert sorted(seen) == ["checkpoint", "code", "seconds"]


@pytest.mark.parametrize(
    ("error", "checkpoint", "kept"),
    [
        (LetterError("max_tokens=1: give 3 or more"), False, False),
        (LetterError("training diverged"), True, True),
        (OSError(errno.EIO, "Input/output error"), True, True),
        (KeyboardInterrupt(), False, True),
        (KeyboardInterrupt(), True, True),
    ],
)
def test_an_error_leaves_a_folder_only_for_what_can_be_gone_on_from(cache, error, checkpoint, kept):
    def work(out, partial):
        if checkpoint:
            (partial / "checkpoint").write_text("epoch 3")
        raise error

    for _ in range(2):
        with pytest.raises((type(error), LetterError)):
            stage(cache, work)
        assert [name.endswith(".partial") for name in left_in(cache)] == ([True] if kept else [])


@pytest.mark.parametrize(("checkpoint", "counted"), [(True, 111), (False, 1)])
def test_seconds_are_those_of_all_attempts_that_are_gone_on_from(
    cache, monkeypatch, checkpoint, counted
):
    clock = [0.0]
    monkeypatch.setattr(cache_module.time, "perf_counter", lambda: clock[0])

    def takes(seconds):
        def work(out, partial):
            clock[0] += seconds
            if seconds > 1:
                if checkpoint:
                    (partial / "checkpoint").write_text("epoch 3")
                raise KeyboardInterrupt
            return {}

        return work

    for seconds in (100, 10):
        with pytest.raises(KeyboardInterrupt):
            stage(cache, takes(seconds))
        clock[0] += 1000  # until somebody comes back
    assert stage(cache, takes(1)).seconds == counted


def test_code_is_all_of_the_library_but_the_course(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "LIBRARY", tmp_path)
    code = cache_module.code.__wrapped__
    for name in ("letter.py", "data/prepare.py", "course/figures.py", "data/note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1")
    first = code()
    for name, counts in (
        ("letter.py", True),
        ("data/prepare.py", True),
        ("course/figures.py", False),
        ("data/note.txt", False),
    ):
        (tmp_path / name).write_text("x = 2")
        assert (code() != first) == counts, name
        (tmp_path / name).write_text("x = 1")
    (tmp_path / "data/prepare.py").rename(tmp_path / "data/prepared.py")
    assert code() != first


def test_a_stage_is_by_the_code_that_began_it(cache, said, monkeypatch):
    """Edited while it works: not by the edit. Begun by other code, and gone on with from its
    checkpoint: by neither.
    """

    def edited(out, partial):
        monkeypatch.setattr(cache_module, "code", lambda: "of tomorrow")
        return {}

    def interrupted(out, partial):
        (partial / "checkpoint").write_text("epoch 3")
        raise KeyboardInterrupt

    today = cache_module.code()
    assert stage(cache, edited).record["code"] == today
    with pytest.raises(KeyboardInterrupt):
        stage(cache, interrupted, seed=1)
    assert stage(cache, lambda out, partial: {}, seed=1).record["code"] == "of tomorrow"
    with pytest.raises(KeyboardInterrupt):
        stage(cache, interrupted, seed=2)
    monkeypatch.setattr(cache_module, "code", lambda: today)
    with pytest.raises(KeyboardInterrupt):
        stage(cache, interrupted, seed=2)
    monkeypatch.setattr(cache_module, "code", lambda: "of tomorrow")  # the first again
    assert stage(cache, lambda out, partial: {}, seed=2).record["code"] is None
    assert "going on from its checkpoint" in said[-2]


def test_a_stage_that_was_killed_before_its_first_checkpoint_is_begun_anew(
    cache, said, monkeypatch
):
    def killed(out, partial):
        (partial / ".checkpoint.abcd1234").mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(cache, killed)
    monkeypatch.setattr(cache_module, "code", lambda: "of tomorrow")
    assert stage(cache, lambda out, partial: {}).record["code"] == "of tomorrow"
    assert not any("going on" in line for line in said)


def test_an_interrupted_stage_leaves_no_folder_and_keeps_its_checkpoint(cache, said):
    def interrupted(out, partial):
        (out / "half.txt").write_text("half")
        (partial / "checkpoint").write_text("epoch 3")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(cache, interrupted)
    assert [name.endswith(".partial") for name in left_in(cache)] == [True]
    seen = []

    def resumed(out, partial):
        seen.append((partial / "checkpoint").read_text())
        (out / "whole.txt").write_text("whole")
        return {}

    artefact = stage(cache, resumed)
    assert seen == ["epoch 3"] and "going on from its checkpoint" in "".join(said)
    assert left_in(cache) == [artefact.key]


def test_the_record_says_how_the_stage_was_made(cache):
    record = json.loads(stage(cache, write_value("one", [])).path("stage.json").read_text())
    assert record["config"] == {"size": 3} and record["seed"] == 0 and record["seconds"] >= 0
    assert {"python", "torch", "transformers"} <= record["versions"].keys()
    assert record["device"].startswith("cpu") and record["peak_memory_mb"] > 10
    assert list(record["files"]) == ["value.txt"]


def test_a_stage_that_a_gpu_computed_says_how_much_of_its_memory_was_taken(cache, monkeypatch):
    monkeypatch.setattr(
        "torch.cuda.max_memory_reserved", lambda device: {"cuda:0": 3 * 2**30}[device]
    )
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "H100")
    on_gpu = stage(cache, write_value("one", []), device="cuda:0")
    assert on_gpu.record["device"] == "cuda:0: H100" and on_gpu.record["peak_gpu_memory_mb"] == 3072
    assert "peak_gpu_memory_mb" not in stage(cache, write_value("one", []), seed=1).record


GPU_IS_FULL = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB of which ..."


def of_a_gpu():
    raise torch.OutOfMemoryError(GPU_IS_FULL)


@pytest.mark.parametrize(
    "take, reason",
    [
        (of_a_gpu, r"\(CUDA out of memory. Tried to allocate 20.00 MiB\)"),
        (lambda: torch.empty(2**45), "you tried to allocate 140737488355328 bytes"),
        (lambda: np.empty(2**50), "Unable to allocate 8.00 PiB"),
    ],
    ids=["of a GPU", "torch", "numpy"],
)
def test_a_stage_without_enough_memory_is_one_clear_error_and_keeps_its_checkpoint(
    cache, take, reason
):
    def work(out, partial):
        (partial / "checkpoint").write_text("epoch 3")
        take()

    with pytest.raises(
        LetterError, match=f"demo: there is not enough memory .*{reason}.*batch_size"
    ) as caught:
        stage(cache, work)
    assert "\n" not in str(caught.value) and "79.11" not in str(caught.value)
    assert [one.name for one in cache.folder.rglob("checkpoint")] == ["checkpoint"]


def test_other_errors_of_torch_stay_what_they_are(cache):
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        stage(cache, lambda out, partial: torch.ones(2, 3) @ torch.ones(2, 3))


def test_a_stage_from_before_records_were_signed_is_found(cache):
    calls = []
    folder = stage(cache, write_value("one", calls)).folder
    record = json.loads((folder / "stage.json").read_text())
    del record["digest"]
    (folder / "stage.json").write_text(json.dumps(record))
    assert stage(cache, write_value("two", calls)).from_cache and calls == ["one"]
