"""One run: done once, kept whole, retried when it failed, and shared by processes that want the
same.
"""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_data import write_made_data
from made_runs import small_run

from letterlib.analysis.code_usage import perplexity
from letterlib.analysis.collaborative_signal import item_similarities, nearest_neighbours
from letterlib.data import load_dataset
from letterlib.errors import LetterError
from letterlib.evaluation.metrics import ABSENT
from letterlib.pipeline import runs
from letterlib.pipeline.brief import (
    PARAMETERS,
    fault,
    hits_in_brief,
    ranks_at_length,
    users_at_length,
    users_in_brief,
)
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.grid import Grid, check_data
from letterlib.pipeline.parameters import RunParameters
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.run_results import load_results
from letterlib.pipeline.runs import failures, record_path, run
from letterlib.tokenizer.identifiers import Identifiers


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_made_data(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Shared by this module's tests, so that what they have in common is made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def settings(data, cache, tmp_path):
    return {
        "data_dir": data,
        "out_dir": tmp_path / "out",
        "cache_dir": cache,
        "say": lambda line: None,
    }


def content_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its time and size. Locks and the files themselves are the same as long as
    nothing is touched.
    """
    return {
        str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*") if p.is_file()
    }


def test_a_record_holds_what_was_asked_what_came_out_and_what_it_cost(settings):
    asked = small_run()
    record = run(asked, **settings)
    assert record == json.loads(record_path(asked, settings["out_dir"]).read_text())
    assert (
        record["parameters"] == asked.resolved
        and record["system"] == "letter-tiger"
        and record["failures"] == 0
    )
    assert record["config"]["tiger"]["epochs"] == 6 and "caser" not in record["config"]
    assert {one["name"] for one in record["stages"]} == {
        "semantic",
        "sasrec-32",
        "tokenizer-letter",
        "letter-tiger",
        "evaluation-letter-tiger",
    }
    assert all(one["seconds"] >= 0 and one["peak_memory_mb"] > 10 for one in record["stages"])
    assert {"python", "torch", "letterlib"} <= set(record["versions"]) and record[
        "device"
    ].startswith("cpu")
    assert record["validation N@10"] == max(score for _, score in record["validations"])
    assert {one["code"] for one in (record, *record["stages"])} == {runs.code()}


def test_a_notebook_s_folders_may_begin_with_a_tilde(data, tmp_path, monkeypatch):
    """papermill -r cache_dir '~/x' hands the text on as it is, and so does a cell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data, tmp_path / "made")
    asked = RunParameters.checked(dataset="made", generator="mf", tokenizer="none", profile="smoke")
    folders = {"data_dir": "~/made", "out_dir": "~/out", "cache_dir": "~/cache"}
    record = run(asked, **{name: Path(one) for name, one in folders.items()})
    assert record == json.loads((tmp_path / "out" / f"{asked.key}.json").read_text())
    assert (tmp_path / "cache" / "mf").is_dir() and load_results("~/out")[0].record == record
    assert (
        load_dataset("movielens", None, Path("~/cache/data")).n_items
        and (tmp_path / "cache" / "data").is_dir()
    )
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cache", "made", "out"]


def test_a_record_says_how_the_tokenizer_turned_out(settings, data):
    asked = small_run()
    figures = run(asked, **settings)["identifiers"]
    pipeline = Pipeline(
        asked.config, data_dir=data, cache=Cache(settings["cache_dir"], say=lambda line: None)
    )
    tokenizer = pipeline.tokenizer("letter")
    own = Identifiers(tokenizer.codes_before_repair(), tokenizer.identifiers().level_sizes)
    repaired = tokenizer.identifiers()
    assert figures["sharing an identifier"] == {
        "before": own.n_colliding,
        "after": repaired.n_colliding,
    }
    assert figures["codes in use"] == [
        s - d for s, d in zip(own.level_sizes, own.dead_codes, strict=True)
    ]
    assert figures["perplexity"] == pytest.approx(
        [perplexity(np.bincount(codes)) for codes in own.codes.T]
    )
    signal = item_similarities(
        own.codes, nearest_neighbours(pipeline.collaborative().vectors)
    ).mean()
    assert figures["collaborative signal"] == pytest.approx(signal)
    cases = pipeline.split.cases("test")
    scores = pipeline.sasrec_32().user_states(cases.without_targets()) @ tokenizer.quantised().T
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    assert figures["ranking R@10"] == pytest.approx(
        (best == cases.targets[:, None]).any(axis=1).mean()
    )


def test_a_record_says_what_codes_that_were_not_trained_here_are_like(settings, data):
    asked = small_run(tokenizer="random", options=["tiger.epochs=3"])
    figures = run(asked, **settings)["identifiers"]
    pipeline = Pipeline(
        asked.config, data_dir=data, cache=Cache(settings["cache_dir"], say=lambda line: None)
    )
    codes = pipeline.identifiers("random").codes
    assert figures["sharing an identifier"] == {"after": pipeline.identifiers("random").n_colliding}
    assert figures["codes in use"] == [len(np.unique(one)) for one in codes.T]
    assert figures["perplexity"] == pytest.approx([perplexity(np.bincount(one)) for one in codes.T])
    assert set(figures) == {"sharing an identifier", "codes in use", "perplexity"}


@pytest.mark.parametrize("history", ["in", "out"])
def test_the_compact_hits_give_back_every_figure_of_the_evaluation(settings, data, history):
    asked = small_run()
    record = run(asked, **settings)
    pipeline = Pipeline(
        asked.config, data_dir=data, cache=Cache(settings["cache_dir"], say=lambda line: None)
    )
    evaluation = pipeline.evaluation("letter-tiger", history=history)
    n = record["cases"]["answered"]
    assert np.array_equal(
        ranks_at_length(record["hits"][f"history {history}"], n), evaluation.ranks
    )
    assert np.array_equal(users_at_length(record["cases"]["users"]), evaluation.users)
    assert record["metrics"][f"history {history}"] == evaluation.metrics()


@pytest.mark.parametrize(
    ("changes", "system", "has"),
    [
        (
            {"tokenizer": "none", "generator": "popularity"},
            "popularity",
            {"weights": 0, "identifiers": None},
        ),
        ({"tokenizer": "none", "generator": "sasrec-tuned"}, "sasrec-tuned", {"identifiers": None}),
        ({"tokenizer": "co-occurrence"}, "p5-cid", {"identifiers": None}),
    ],
)
def test_systems_of_other_kinds_are_recorded_as_well(settings, changes, system, has):
    options = ["tiger.epochs=3"] if changes["tokenizer"] == "co-occurrence" else []
    record = run(small_run(**changes, codes=None, options=options), **settings)
    assert record["system"] == system
    for name, value in has.items():
        assert record[name] == value
    assert (record["validation N@10"] is None) == (system == "popularity")


def test_a_finished_run_is_found_and_nothing_else_is_touched(settings, cache):
    asked = small_run()
    first = run(asked, **settings)
    before = content_of(cache) | content_of(settings["out_dir"])
    said = []
    assert run(asked, **settings | {"say": said.append, "data_dir": Path("nowhere")}) == first
    assert content_of(cache) | content_of(settings["out_dir"]) == before
    assert len(said) == 1 and "found" in said[0]


def test_a_record_that_other_code_has_made_says_so_when_it_is_found(settings, monkeypatch):
    asked, said = small_run(), []
    run(asked, **settings)
    run(asked, **settings | {"say": said.append})
    monkeypatch.setattr(runs, "code", lambda: "of tomorrow")
    run(asked, **settings | {"say": said.append})
    assert ["(by other code)" in line for line in said] == [False, True]


def test_any_figure_of_a_record_that_has_changed_is_noticed(settings):
    """A bit in a validation would change what `results best` chooses, one in tau or a label what is
    shown.
    """
    record = run(small_run(), **settings)
    assert fault(record, PARAMETERS) == ""
    for part, value in {
        "validation N@10": 0.9,
        "label": "LETTER-TIGES",
        "seconds": 1.0,
        "digest": "0" * 16,
    }.items():
        assert "something in it has changed" in fault(record | {part: value}, PARAMETERS), part
    del record["digest"]  # as of the first records
    assert fault(record, PARAMETERS) == ""


def test_a_damaged_record_is_said_and_made_again(settings):
    asked, said = small_run(), []
    first = run(asked, **settings)
    path = record_path(asked, settings["out_dir"])
    path.write_text(path.read_text()[:500])
    again = run(asked, **settings | {"say": said.append})
    assert again["metrics"] == first["metrics"] and json.loads(path.read_text()) == again
    assert any("damaged, so this run is done again" in line for line in said)


def test_a_record_under_the_name_of_another_run_is_not_taken_for_it(settings):
    one, other = small_run(), small_run(seed=1)
    run(one, **settings)
    path = record_path(one, settings["out_dir"])
    wrong = path.rename(record_path(other, settings["out_dir"]))
    with pytest.raises(
        LetterError, match="the record of another run .*seed 0.; give it its own name back"
    ):
        run(other, **settings)
    assert wrong.exists(), "it may be the only copy"


def test_a_record_of_other_data_under_the_same_name_is_not_taken_for_this_data(
    settings, data, tmp_path, monkeypatch
):
    asked = small_run()
    run(asked, **settings)
    other = tmp_path / "other"
    shutil.copytree(data, other)
    (file,) = other.glob("*.inter.json")
    lists = json.loads(file.read_text())
    file.write_text(json.dumps({user: items[::-1] for user, items in lists.items()}))
    with pytest.raises(LetterError, match="other content than .*other has now.*--out-dir"):
        run(asked, **settings | {"data_dir": other})
    grid, where = (
        Grid("a list", [asked, small_run(seed=1)]),
        ([settings["out_dir"]] * 2, settings["cache_dir"]),
    )
    check_data(grid, [data, data], *where)
    with pytest.raises(LetterError, match=f"{asked.key}.json: the record of .* with other content"):
        check_data(grid, [other, other], *where)
    monkeypatch.setattr(runs, "default_data_dir", lambda dataset: other)
    with pytest.raises(LetterError, match="other content"):  # nor where the usual folder is meant
        run(asked, **settings | {"data_dir": None})


def test_a_record_made_with_other_identifiers_is_not_taken_for_this_run(settings, data, tmp_path):
    folder = tmp_path / "released"
    shutil.copytree(data, folder)
    (lists,) = folder.glob("*.inter.json")
    file = lists.with_name(lists.name.replace(".inter.", ".index."))
    codes = np.stack(
        np.unravel_index(np.random.default_rng(0).permutation(256)[:30], (4, 4, 4, 4)), axis=1
    )
    Identifiers(codes, (256,) * 4).save(file)
    sizes = ("tiger.epochs=1", "tiger.examples=40")
    asked, there = (
        small_run(tokenizer="released", options=sizes, codes=None),
        settings | {"data_dir": folder},
    )
    assert list(run(asked, **there)["files"]) == ["file of identifiers"]
    run(asked, **there)  # found
    Identifiers(codes[::-1], (256,) * 4).save(file)
    with pytest.raises(LetterError, match="another file of identifiers.*--out-dir"):
        run(asked, **there)


def test_a_failed_run_keeps_its_error_and_is_tried_again(settings, monkeypatch):
    asked, calls = small_run(), []

    def broken(self, name, history):
        calls.append(name)
        raise RuntimeError(f"attempt {len(calls)}")

    with monkeypatch.context() as patched:
        patched.setattr(Pipeline, "evaluation", broken)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                run(asked, **settings)
    kept = failures(asked, settings["out_dir"])
    assert [one["error"] for one in kept] == ["RuntimeError: attempt 1", "RuntimeError: attempt 2"]
    assert "def broken" not in kept[0]["error"] and "in broken" in kept[0]["traceback"]
    assert kept[0]["parameters"] == asked.resolved and kept[0]["when"]
    assert not record_path(asked, settings["out_dir"]).exists()
    assert run(asked, **settings)["failures"] == 2


def test_a_reason_that_breaks_its_line_and_a_damaged_line_do_not_keep_a_run_from_being_recorded(
    settings, monkeypatch
):
    """JSON writes U+2028 as it is, and str.splitlines cuts there: of what failed once nothing could
    be recorded.
    """
    asked = small_run()
    with monkeypatch.context() as patched:
        patched.setattr(
            Pipeline,
            "evaluation",
            lambda *_, **__: (_ for _ in ()).throw(LetterError("user \u2028 7")),
        )
        with pytest.raises(LetterError, match="user"):
            run(asked, **settings)
    assert failures(asked, settings["out_dir"])[0]["error"] == "LetterError: user \u2028 7"
    (log,) = settings["out_dir"].glob("*.failures.jsonl")
    log.write_bytes(
        log.read_bytes()[:-40] + b"\n\xff\n"
    )  # cut short by hand, and a byte that is no text
    assert [one["error"] for one in failures(asked, settings["out_dir"])] == [
        "a line that cannot be read"
    ] * 2
    assert run(asked, **settings)["failures"] == 2


def test_a_record_that_cannot_be_written_is_a_failure_as_well(settings, monkeypatch):
    asked = small_run()
    with monkeypatch.context() as patched:
        patched.setattr(runs, "peak_memory_mb", lambda: float("nan"))  # which JSON does not know
        with pytest.raises(ValueError):
            run(asked, **settings)
    assert len(failures(asked, settings["out_dir"])) == 1
    assert not record_path(asked, settings["out_dir"]).exists()


def test_a_mistake_in_the_data_set_is_no_failure_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = small_run(dataset="mdae")
    with pytest.raises(LetterError, match="mdae"):
        run(asked, out_dir=tmp_path, cache_dir=tmp_path / "runs")
    assert failures(asked, tmp_path) == [] and not (tmp_path / "runs").exists()


def in_another_process(changes, data, out, cache):
    code = (
        "import sys, json\nfrom pathlib import Path\nsys.path.insert(0, sys.argv[1])\n"
        "from made_runs import small_run\nfrom letterlib.pipeline.runs import run\n"
        "run(small_run(**json.loads(sys.argv[2])), data_dir=Path(sys.argv[3]), out_dir=Path(sys.argv[4]), "
        "cache_dir=Path(sys.argv[5]))\n"
    )
    arguments = [str(Path(__file__).parent), json.dumps(changes), str(data), str(out), str(cache)]
    environment = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment
    )


def test_processes_at_the_same_time_make_everything_once(data, tmp_path):
    """Two on one run, and one on a run that shares all but the last stages with it."""
    wanted = [{}, {}, {"tau": 0.5}]
    with ThreadPoolExecutor(3) as pool:
        done = list(
            pool.map(
                lambda one: in_another_process(one, data, tmp_path / "out", tmp_path / "cache"),
                wanted,
            )
        )
    assert [one.returncode for one in done] == [0, 0, 0], "".join(one.stderr for one in done)
    said = [line for one in done for line in one.stdout.splitlines()]
    for stage, times in (
        ("semantic", 1),
        ("sasrec-32", 1),
        ("tokenizer-letter", 1),
        ("letter-tiger", 2),
    ):
        assert sum(line == f"{stage}: running" for line in said) == times, "\n".join(said)
    assert not any("damaged" in line or "cannot be" in line for line in said)
    records = sorted((tmp_path / "out").glob("*.json"))
    assert [p.stem for p in records] == sorted({small_run(**one).key for one in wanted})
    assert (
        sum("written to" in line for line in said) == 2
        and sum(", seed 0: found " in line for line in said) == 1
    )


def test_the_commit_is_never_that_of_a_project_around_the_library(tmp_path, monkeypatch):
    """As where the library is installed in the virtual environment of somebody's own checkout."""
    (tmp_path / "inside").mkdir()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "-m", "theirs"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(runs, "REPOSITORY", tmp_path)
    assert len(runs.commit()) == 12
    monkeypatch.setattr(runs, "REPOSITORY", tmp_path / "inside")
    assert runs.commit() is None


ranks = st.lists(st.just(ABSENT) | st.integers(0, 10_000), max_size=60)


@given(ranks)
def test_hits_survive_being_written_in_brief(values):
    brief = hits_in_brief(np.array(values, dtype=np.int64))
    assert ranks_at_length(brief, len(values)).tolist() == values
    assert len(brief.split()) == sum(value != ABSENT for value in values)


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 6)), min_size=1, unique_by=lambda pair: pair[0]
    )
)
def test_users_survive_being_written_in_brief(pairs):
    users = np.concatenate([np.repeat(user, n) for user, n in sorted(pairs)])
    assert users_at_length(users_in_brief(users)).tolist() == users.tolist()


def test_a_stretch_of_users_takes_one_word_and_disorder_is_a_mistake():
    assert users_in_brief(np.repeat(np.arange(671), 5)) == "0-670x5"
    assert hits_in_brief(np.array([ABSENT, 0, ABSENT, 4])) == "1:0 3:4"
    with pytest.raises(ValueError, match="order"):
        users_in_brief(np.array([1, 0]))


MOVIELENS = sorted(
    (Path(__file__).resolve().parents[2] / "experiments/results/movielens-overall").glob("*.json")
)[0]


def test_a_record_of_packaged_data_is_held_against_the_package(tmp_path):
    """Made with a --data-root in which a folder is called movielens, it is of other data, and would
    stay for good.
    """
    record = json.loads(MOVIELENS.read_text(encoding="utf-8"))
    asked = RunParameters.checked(**record["parameters"])
    where = {"out_dir": tmp_path, "say": lambda line: None}
    (tmp_path / MOVIELENS.name).write_text(json.dumps(record), encoding="utf-8")
    assert run(asked, cache_dir=tmp_path / "cache", **where) == record
    record["dataset"]["fingerprint"] = "of other data"
    (tmp_path / MOVIELENS.name).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(
        LetterError,
        match="other content than its package has now.*--out-dir .papermill: -p out_dir.$",
    ):
        run(asked, cache_dir=tmp_path / "cache", **where)
    # Where nothing can be kept, nothing can be looked up, and what there is may be read all the
    # same.
    assert run(asked, cache_dir=Path(os.devnull) / "cache", **where) == record


def test_the_commit_of_a_checkout_with_changed_files_ends_in_a_plus(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "code.py").write_text("1")
    for words in (["init", "--quiet"], ["add", "code.py"], ["commit", "--quiet", "-m", "ours"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr(runs, "REPOSITORY", tmp_path)
    clean = runs.commit()
    (tmp_path / "notes.txt").write_text("of no commit")
    assert runs.commit() == clean and not clean.endswith("+")
    (tmp_path / "code.py").write_text("2")
    assert runs.commit() == clean + "+"


def test_files_that_a_run_reads_beside_its_data_are_known_by_their_content(tmp_path):
    folder, file = tmp_path / "encoder", tmp_path / "made.user.json"
    folder.mkdir()
    options = [f"encoder={folder}", f"lcrec.intentions={file}"]
    found = []
    for content in ("{}", "{ }"):
        (folder / "config.json").write_text(content)
        file.write_text(content)
        asked = RunParameters.checked(
            dataset="made", generator="lc-rec", profile="smoke", options=options
        )
        found.append(runs._files_read(asked, None))
    assert set(found[0]) == set(found[1]) == {"encoder", "file of intentions"}
    assert all(found[0][name] != found[1][name] for name in found[0])
    assert runs._files_read(RunParameters.checked(generator="mf", tokenizer="none"), None) == {}
