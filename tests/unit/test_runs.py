"""Runs: what they are asked for, done once, found again; and grids of them."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_data import write_made_data
from made_runs import small_run
from papermill.cli import _resolve_type

from letterlib.errors import LetterError
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import REPOSITORY
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.results import METRICS, load_results, write_runs
from letterlib.pipeline.runs import (
    RunParameters,
    do_run,
    expand,
    failures,
    finished,
    finished_run,
    load_grid,
    papermill_command,
    papermill_words,
    run_path,
    runs_below,
    shared_stages,
    state,
)
from letterlib.pipeline.systems import (
    GENERATORS,
    find_system,
    generator_of,
    identifiers_for,
    system_name,
    unread,
)

checked = RunParameters.checked
EXPERIMENTS = REPOSITORY / "experiments"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_made_data(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def done(made, tmp_path_factory):
    """A finished run, and where it was done."""
    folder = tmp_path_factory.mktemp("runs")
    where = {"data_dir": made, "cache_dir": folder, "out_dir": folder / "results"}
    return do_run(small_run(), **where, say=lambda line: None), where


# Parameters


def test_every_committed_run_is_what_its_settings_ask_for():
    """Runs were recorded when settings were read by other code, and are read the same way now."""
    runs = load_results(EXPERIMENTS / "results")
    assert len(runs) == 469
    for run in runs:
        asked = RunParameters.of(run)
        assert asked.settings == run.parameters and asked.key == run.key


@pytest.mark.parametrize(
    ("values", "fact"),
    [
        ({"tokeniser": "plain"}, 'did you mean "tokenizer"'),
        ({"tokenizer": "leter"}, 'did you mean "letter"'),
        ({"generator": "sasrec-tuned"}, "none"),
        ({"generator": "lc-rec", "tokenizer": "titles"}, "titles"),
        ({"clusters": 200}, "200"),
        ({"beams": 5}, "20 or more"),
        ({"tokenizer": "plain", "alpha": 0.02}, "changes nothing"),
        ({"tokenizer": "cf", "clusters": 5}, "changes nothing"),
        ({"generator": "mf", "tokenizer": "none", "tau": 0.8}, "changes nothing"),
        ({"options": ["mf.epochs=3"]}, "mf.epochs=3"),
        ({"options": ["tokenizer.alpha=0.3"]}, "the parameter alpha"),
        ({"options": ["tiger.epochs=3", "tiger.epochs=4"]}, "twice"),
        ({"options": "tiger.epochs=3"}, "a list"),
        ({"alpha": 0}, "div"),
        ({"tau": "hot"}, "tau"),
        ({"profile": "labtop"}, "laptop"),
    ],
)
def test_what_is_misspelt_impossible_or_without_effect_is_refused(values, fact):
    with pytest.raises(LetterError, match=fact):
        checked(**values)


def test_every_generator_with_every_identifiers_is_a_system():
    for generator in GENERATORS:
        for identifiers in identifiers_for(generator):
            name = system_name(generator, identifiers)
            assert find_system(name).identifiers == identifiers
            assert generator_of(name) == (generator, identifiers)
            assert checked(generator=generator, tokenizer=identifiers).system == name
    assert generator_of("sasrec-tuned") == ("sasrec-tuned", "none")


def test_whatever_changes_the_result_changes_the_key():
    changes = [
        {},
        {"dataset": "complete-journey"},
        {"tokenizer": "cf"},
        {"generator": "lc-rec"},
        {"alpha": 0.3},
        {"beta": 0.3},
        {"levels": 3},
        {"codes": 64},
        {"clusters": 5},
        {"tau": 0.5},
        {"beams": 30},
        {"seed": 1},
        {"profile": "smoke"},
        {"device": "cuda"},
        {"options": ["tiger.epochs=3"]},
        {"options": ["held_out=1"]},
    ]
    assert len({checked(**values).key for values in changes}) == len(changes)


def test_one_run_has_one_key_however_it_is_spelt():
    same = [
        {},
        {"tau": 1},
        {"tau": "1.0", "alpha": 0.1, "levels": 4},
        {"options": ["tiger.epochs=8"]},  # the profile's own
    ]
    assert len({checked(**values).key for values in same}) == 1
    code = "from letterlib.pipeline.runs import RunParameters; print(RunParameters.checked().key)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == checked().key


def test_what_changes_nothing_is_known_of_every_system():
    given = ["tokenizer.beta=0.1", "alpha=0.1", "tiger.beam=30", "mf.epochs=1", "held_out=1"]
    assert unread(given, "tiger-cf") == ["tokenizer.beta=0.1", "mf.epochs=1"]
    assert unread(given, "letter-tiger") == ["mf.epochs=1"] and unread(given, "mf") == given[:3]
    assert unread(given, "letter") == ["tiger.beam=30", "mf.epochs=1"]
    assert unread(given, "popularity") == given[:4]
    assert unread(given, "mf", "tiger") == given[:2]
    given = ["tokenizer.epochs=9", "clusters=4", "sasrec_32.epochs=9", "codes=16"]
    assert unread(given, "tiger-random") == given[:3] and unread(given, "tiger-released") == given
    assert unread(given, "tiger") == given[1:3] and unread(given, "cf") == given[1:2]
    assert unread(given, "tiger-div") == given[2:3] and not unread(given, "letter-tiger")
    given = ["held_out=2", "encoder=minilm", "text_tokens=3", "language_model_cases=5"]
    assert unread(given, "popularity") == given[1:] and unread(given, "letter-tiger") == given[3:]
    assert unread(given, "letter-lc-rec") == []


def test_a_notebook_is_read_name_by_name():
    given = {"__name__": "__main__", "_i1": "x", "In": ["x"], "Out": {}, "json": json}
    given |= {"tokenizer": "cf", "seed": 2, "alpha": None, "options": [], "data_dir": ""}
    given |= {"out_dir": "x", "cache_dir": "y"}
    assert RunParameters.from_notebook(given).key == checked(tokenizer="cf", seed=2).key
    with pytest.raises(LetterError, match='did you mean "seed"'):
        RunParameters.from_notebook(given | {"sede": 3})
    with pytest.raises(LetterError, match="-r cache_dir 2024"):
        RunParameters.from_notebook(given | {"cache_dir": 2024})
    with pytest.raises(LetterError, match="nowhere"):
        RunParameters.from_notebook(given | {"dataset": "nowhere"})


# One run


def test_a_run_holds_what_was_asked_what_came_out_and_what_it_cost(made, done):
    run, where = done
    pipeline = Pipeline(small_run().config, data_dir=made, cache=Cache(where["cache_dir"], print))
    for history in ("in", "out"):
        evaluation = pipeline.evaluation("letter-tiger", history=history)
        assert np.array_equal(run.ranks[history], evaluation.ranks)
        assert run.metrics(history) == evaluation.metrics()
        for metric in METRICS:
            assert run.values(metric, history).mean() == run.metrics(history)[metric]
    assert run.parameters == small_run().settings and run.depth == 20
    assert run.record["dataset"]["fingerprint"] == pipeline.dataset.fingerprint
    assert run.record["validation N@10"] == pipeline.log("letter-tiger").best_score
    assert run.record["identifiers"]["sharing an identifier"]["after"] >= 0
    assert {stage["name"] for stage in run.record["stages"]} == {
        "semantic",
        "sasrec-32",
        "tokenizer-letter",
        "letter-tiger",
        "evaluation-letter-tiger",
    }
    assert run.seconds == pytest.approx(
        sum(s["seconds"] for s in run.record["stages"] if "letter-tiger" in s["name"])
    )


def test_systems_without_a_beam_are_ranked_to_fifty(made, tmp_path):
    asked = small_run(generator="popularity", tokenizer="none", codes=None, options=())
    pipeline = Pipeline(asked.config, data_dir=made, cache=Cache(tmp_path, lambda line: None))
    run = finished_run(pipeline, "popularity")
    assert run.depth == 50 and run.values("MRR@50").mean() > run.values("MRR@5").mean()
    assert run.values("R@50").mean() == 1, "the catalogue has 30 items"


def test_a_finished_run_is_found_and_nothing_is_done_again(done):
    run, where = done
    path, lines = run_path(small_run(), where["out_dir"]), []
    before = path.read_bytes()
    again = do_run(small_run(), **where, say=lines.append)
    assert again.record == run.record and path.read_bytes() == before
    assert len(lines) == 1 and path.name in lines[0]


def test_a_run_of_other_data_or_files_is_not_taken_for_this_one(made, done, tmp_path):
    _, where = done
    other = write_made_data(tmp_path, shortest=7)
    with pytest.raises(LetterError, match="other data"):
        do_run(small_run(), **where | {"data_dir": other}, say=lambda line: None)


def test_a_file_that_was_changed_or_renamed_is_refused(done, tmp_path):
    run, where = done
    out = tmp_path / "results"
    asked = small_run(tau=0.8)
    write_runs(run_path(asked, out), [run])
    with pytest.raises(LetterError, match="another run"):
        finished(asked, out)
    path = run_path(small_run(), out)
    path.write_bytes(b"PAR1 broken")
    with pytest.raises(LetterError, match=path.name):
        finished(small_run(), out)


def test_a_failed_run_keeps_its_error_and_is_tried_again(made, tmp_path, monkeypatch):
    where = {"data_dir": made, "cache_dir": tmp_path, "out_dir": tmp_path / "results"}
    asked = small_run(generator="mf", tokenizer="none", codes=None, options=())

    def broken(*given, **options):
        raise RuntimeError("no luck")

    with monkeypatch.context() as patched:
        patched.setattr("letterlib.pipeline.runs.finished_run", broken)
        with pytest.raises(RuntimeError):
            do_run(asked, **where)
    assert state(asked, where["out_dir"]) == "failed"
    (failure,) = failures(asked, where["out_dir"])
    assert failure["error"] == "RuntimeError: no luck" and "broken" in failure["traceback"]
    assert do_run(asked, **where, say=lambda line: None).record["failures"] == 1
    assert state(asked, where["out_dir"]) == "done"


# Grids


def test_an_entry_stands_for_all_combinations_of_its_lists():
    runs = expand({"tokenizer": ["plain", "letter"], "seed": [0, 1], "profile": "smoke"})
    assert [(run.settings["tokenizer"], run.seed) for run in runs] == [
        ("plain", 0),
        ("plain", 1),
        ("letter", 0),
        ("letter", 1),
    ]
    options = [["tiger.epochs=3"], ["tiger.epochs=4", "held_out=1"]]
    runs = expand({"options": options})
    assert [run.settings["options"] for run in runs] == [["tiger.epochs=3"], sorted(options[1])]
    assert len(expand({"options": options[1]})) == 1


NOT_YET = (
    "counts",
    "demo",
    "depth",
    "dtype",
    "end_to_end",
    "paper",
    "paper_ablation",
    "yelp",
)


def test_the_grids_of_the_repository_can_be_run_and_most_are_done():
    done = {run.key: run for run in load_results(EXPERIMENTS / "results")}
    for path in EXPERIMENTS.glob("*.yaml"):
        states = {state(run, Path("nowhere"), done) for run in load_grid(path).runs}
        assert ("to do" in states) == (path.stem in NOT_YET), path


def test_runs_of_older_data_do_not_count_as_done(tmp_path):
    """Films of one second were in the order of film id; a grid does such runs again."""
    file = EXPERIMENTS / "results" / "movielens-ablation.parquet"
    folder = tmp_path / "older"
    folder.mkdir()
    shutil.copy(file, folder)
    assert runs_below([folder], tmp_path / "cache") == {}
    beauty = tmp_path / "beauty"
    beauty.mkdir()
    shutil.copy(EXPERIMENTS / "results" / "beauty.parquet", beauty)
    assert runs_below([beauty], tmp_path / "cache")


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("runs: [{seed: [0, 1]}, {tokenizer: leter}]", 'entry 2: .*"letter"'),
        ("runs: [{tokenizer: plain, tokenizer: letter}]", "twice"),
        ("runs: []", "`runs`"),
        ("run: [{}]", "`runs`"),
        ("runs: [{seed: []}]", "entry 1: seed"),
        ("runs: [3]", "runs 1"),
        ("runs: [", "cannot be read"),
        ("runs: " + "[" * 3000 + "]" * 3000, "cannot be read"),
        ("runs: 3", "runs"),
        ('runs: [{device: "\\ud800"}]', "entry 1"),
        ("{runs: [{}], plugins: 3}", "plugins"),
    ],
)
def test_a_mistake_in_a_grid_names_the_file_and_the_entry(tmp_path, text, fact):
    path = tmp_path / "grid.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LetterError, match=f"grid.yaml.*{fact}"):
        load_grid(path)


@pytest.mark.parametrize(
    ("written", "seed"),
    [("010", 10), ("08", 8), ("1_000", 1000), ("3", 3), ("'3'", 3)]
    + [(other, None) for other in ("0x10", "12:30", "on", "true", "2001-01-01", "!!bool no")],
)
def test_numbers_in_a_grid_are_read_as_set_reads_them(tmp_path, written, seed):
    """YAML 1.1 has 010 for eight, 12:30 for 750 and on for true, which would be seed 1."""
    path = tmp_path / "grid.yaml"
    path.write_text(f"runs: [{{seed: {written}}}]", encoding="utf-8")
    if seed is None:
        with pytest.raises(LetterError, match="grid.yaml, entry 1: seed"):
            load_grid(path)
    else:
        assert [run.seed for run in load_grid(path).runs] == [seed]


def parsed_by_papermill(words: list[str]) -> dict:
    """The variables that papermill makes of its options."""
    found = {}
    options = iter(words)
    for option in options:
        if option == "-y":
            found |= yaml.safe_load(next(options))
        else:
            name, value = next(options), next(options)
            found[name] = value if option == "-r" else _resolve_type(value)
    return found


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"profile": "smoke"},
        {"beta": 1e-5, "alpha": 0.001, "seed": 3},
        {"tau": 0.8, "levels": 3, "codes": 64},
        {"generator": "sasrec-tuned", "tokenizer": "none"},
        {"device": "cuda:1"},
        {"dataset": "2018"},
        {"options": ["tiger.epochs=2", "tiger.dropout=0.25"]},
    ],
)
def test_papermill_gives_the_notebook_what_was_asked_for(values, monkeypatch):
    asked = checked(**values)
    monkeypatch.setattr(RunParameters, "check_data", lambda self, folder: None)
    defaults = {"profile": "smoke", "options": [], "alpha": None, "tokenizer": "letter"}
    variables = defaults | parsed_by_papermill(papermill_words(asked))
    assert RunParameters.from_notebook(variables).key == asked.key
    command = shlex.split(papermill_command(asked, Path("a b"), Path("c"), Path("files/made")))
    assert command[2] == f"a b/{asked.key}.ipynb"
    assert command[-9:] == [
        "-r",
        "out_dir",
        "a b",
        "-r",
        "cache_dir",
        "c",
        "-r",
        "data_dir",
        "files/made",
    ]


def test_runs_share_the_stages_that_do_not_differ_between_them():
    def keys(**values):
        return [stage["key"] for stage in shared_stages(checked(**values))]

    embedding, tokenizer = keys()
    assert keys(tau=0.8) == keys(generator="lc-rec") == [embedding, tokenizer]
    assert keys(alpha=0.3)[0] == keys(tokenizer="cf")[0] == embedding
    assert tokenizer not in (keys(alpha=0.3)[1], keys(tokenizer="cf")[1], keys(seed=1)[1])
    assert not {embedding, tokenizer} & {*keys(options=["held_out=1"])}
    assert keys(generator="mf", tokenizer="none") == keys(tokenizer="random") == []
