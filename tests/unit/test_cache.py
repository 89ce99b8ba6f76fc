"""Stages cached by content: found, made again when damaged, resumed when interrupted."""

import json
import threading

import numpy as np
import pytest
import torch

from letterlib.errors import LetterError, one_line
from letterlib.pipeline import cache as cache_module
from letterlib.pipeline.cache import Cache, Stage


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
    """A stage that was found or made."""
    settings = dict(version=1, config={"size": 3}, inputs=["abc"], seed=0, device="cpu") | changes
    found = Stage(cache, "demo", settings.pop("version"), work, **settings)
    assert found.record
    return found


def interrupted(out, partial):
    (out / "half.txt").write_text("half")
    (partial / "checkpoint").write_text("epoch 3")
    raise KeyboardInterrupt


def test_a_finished_stage_is_found_and_not_run_again(cache, said):
    calls = []
    first = stage(cache, write_value("one", calls))
    again = stage(cache, write_value("two", calls))
    assert calls == ["one"] and again.folder == first.folder
    assert again.from_cache and not first.from_cache
    assert again.metrics == {"length": 3} and again.path("value.txt").read_text() == "one"
    assert "found in the cache" in said[-1]


def test_what_a_stage_reads_is_checked_and_made_before_it_and_not_for_one_that_is_found(cache):
    order = []

    def asked():
        def step(name, **settings):
            def work(out, partial):
                order.append(name)
                return {}

            settings = dict(config={}, seed=0, device="cpu") | settings
            return Stage(
                cache, name, 1, work, check=lambda: order.append(f"check {name}"), **settings
            )

        text = step("text", inputs=[])
        codes = step("codes", inputs=[text])
        return step("model", inputs=[text, codes, "data"])

    assert asked().metrics == {} and asked().metrics == {}
    assert order == ["check model", "check text", "text", "check codes", "codes", "model"]
    assert [stage.name for stage in asked().with_needs().values()] == ["text", "codes", "model"]


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"config": {"size": 4}}, {"inputs": ["abd"]}, {"seed": 1}]
)
def test_whatever_decides_the_result_decides_the_folder(cache, change):
    calls = []
    stage(cache, write_value("one", calls))
    stage(cache, write_value("two", calls), **change)
    assert calls == ["one", "two"]


@pytest.mark.parametrize("damage", ["changed", "missing", "truncated record", "no record"])
def test_a_damaged_stage_is_made_again_with_a_warning(cache, said, damage):
    calls = []
    folder = stage(cache, write_value("one", calls)).folder
    record = json.loads((folder / "stage.json").read_text())
    if damage == "changed":
        (folder / "value.txt").write_text("onE")
    elif damage == "missing":
        (folder / "value.txt").unlink()
    elif damage == "truncated record":
        (folder / "stage.json").write_text(json.dumps(record)[:40])
    else:
        (folder / "stage.json").unlink()
    said.clear()
    assert stage(cache, write_value("one", calls)).path("value.txt").read_text() == "one"
    assert calls == ["one", "one"] and "damaged" in said[0] and str(folder) in said[0]


def test_a_stage_that_other_code_has_made_says_so(cache, said, monkeypatch):
    stage(cache, write_value("one", []))
    assert stage(cache, write_value("two", [])).from_cache and "other code" not in said[-1]
    monkeypatch.setattr(cache_module, "code", lambda: "of tomorrow")
    assert stage(cache, write_value("two", [])).from_cache and "by other code" in said[-1]


def test_what_is_found_needs_no_lock_and_writes_nothing(cache, monkeypatch):
    """So a cache that a class may only read works; root, who may write everywhere, tests this."""
    stage(cache, write_value("one", []))
    before = sorted(cache.folder.rglob("*"))
    monkeypatch.setattr(cache_module, "locked", None)
    assert stage(cache, write_value("two", [])).from_cache
    assert sorted(cache.folder.rglob("*")) == before


def test_of_two_that_need_a_stage_one_makes_it_and_the_other_waits_and_finds_it(cache, said):
    calls, inside, found = [], threading.Event(), []

    def slow(out, partial):
        inside.set()
        assert thread.is_alive()
        while not any("waiting" in line for line in said):
            inside.wait(0.01)
        return write_value("one", calls)(out, partial)

    def second():
        inside.wait(30)
        found.append(stage(cache, write_value("two", calls)))

    thread = threading.Thread(target=second, daemon=True)
    thread.start()
    stage(cache, slow)
    thread.join(30)
    assert calls == ["one"] and found[0].from_cache


def left_in(cache):
    """What is in a stage's folder, apart from the lock, an empty file that stays."""
    return [path.name for path in (cache.folder / "demo").iterdir() if path.suffix != ".lock"]


def test_an_interrupted_stage_leaves_no_folder_and_goes_on_from_its_checkpoint(cache, said):
    with pytest.raises(KeyboardInterrupt):
        stage(cache, interrupted)
    assert [name.endswith(".partial") for name in left_in(cache)] == [True]
    seen = []

    def resumed(out, partial):
        seen.extend(sorted(path.name for path in partial.iterdir()))
        return write_value("whole", [])(out, partial)

    whole = stage(cache, resumed)
    assert seen == ["checkpoint", "seconds.json"] and "going on from its checkpoint" in said[-2]
    assert left_in(cache) == [whole.key]


@pytest.mark.parametrize("checkpoint", [True, False])
def test_an_error_leaves_a_folder_only_for_what_can_be_resumed(cache, checkpoint):
    def work(out, partial):
        if checkpoint:
            (partial / "checkpoint").write_text("epoch 3")
        raise LetterError("training diverged")

    with pytest.raises(LetterError, match="training diverged"):
        stage(cache, work)
    assert [name.endswith(".partial") for name in left_in(cache)] == [True] * checkpoint


@pytest.mark.parametrize(("checkpoint", "counted"), [(True, 111), (False, 1)])
def test_seconds_are_those_of_all_attempts_that_are_resumed(
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
        clock[0] += 1000  # until it is started again
    assert stage(cache, takes(1)).seconds == counted


def test_code_is_all_of_the_library_but_the_course(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "LIBRARY", tmp_path)
    code = cache_module.code.__wrapped__
    counts = {"letter.py": True, "data/made.py": True, "course/a.py": False, "data/a.txt": False}
    for name in counts:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1")
    first = code()
    for name, counted in counts.items():
        (tmp_path / name).write_text("x = 2")
        assert (code() != first) == counted, name
        (tmp_path / name).write_text("x = 1")


def test_the_record_says_how_the_stage_was_made(cache, monkeypatch):
    record = json.loads(stage(cache, write_value("one", [])).path("stage.json").read_text())
    assert record["config"] == {"size": 3} and record["seed"] == 0 and record["seconds"] >= 0
    assert {"python", "torch", "transformers"} <= record["versions"].keys()
    assert record["device"].startswith("cpu") and record["peak_memory_mb"] > 10
    assert list(record["files"]) == ["value.txt"] and "peak_gpu_memory_mb" not in record
    monkeypatch.setattr("torch.cuda.max_memory_reserved", lambda device: 3 * 2**30)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "H100")
    on_gpu = stage(cache, write_value("one", []), device="cuda:0", seed=1).record
    assert (on_gpu["device"], on_gpu["peak_gpu_memory_mb"]) == ("cuda:0: H100", 3072)


@pytest.mark.parametrize("take", [lambda: torch.empty(2**45), lambda: np.empty(2**50)])
def test_a_stage_without_enough_memory_is_one_clear_error_and_keeps_its_checkpoint(cache, take):
    def work(out, partial):
        (partial / "checkpoint").write_text("epoch 3")
        take()

    with pytest.raises(LetterError, match="demo: there is not enough memory.*batch_size") as caught:
        stage(cache, work)
    assert one_line(caught.value) == str(caught.value)
    assert [path.name for path in cache.folder.rglob("checkpoint")] == ["checkpoint"]
