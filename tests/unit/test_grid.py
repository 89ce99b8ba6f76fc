"""Grids: which runs a file stands for, what it says of mistakes, and the commands that do a run
elsewhere.
"""

import json
import shlex
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_runs import small_run

from letterlib.cli import app
from letterlib.errors import LetterError
from letterlib.evaluation.metrics import ABSENT
from letterlib.pipeline.brief import means
from letterlib.pipeline.config import data_dir_under, default_data_dir, make_config
from letterlib.pipeline.grid import (
    load_grid,
    papermill_command,
    papermill_words,
    places,
    shared_stages,
    state,
)
from letterlib.pipeline.parameters import RunParameters
from letterlib.pipeline.runs import record_path
from letterlib.store import write_json

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


def grid(folder, text):
    path = folder / "grid.yaml"
    path.write_text(text)
    return load_grid(path)


def test_an_entry_stands_for_all_combinations_and_each_run_comes_once_in_order(tmp_path):
    made = grid(
        tmp_path,
        "about: why\nevery: {profile: smoke, seed: [0, 1]}\n"
        "runs: [{tokenizer: [plain, cf]}, {tokenizer: cf, tau: [1.0, 0.5]}]\n",
    )
    told = [(one.tokenizer, one.seed, one.tau) for one in made.runs]
    plain_and_cf = [("plain", 0, None), ("plain", 1, None), ("cf", 0, None), ("cf", 1, None)]
    assert made.about == "why" and sorted(told[:4], key=str) == sorted(plain_and_cf, key=str)
    assert told[4:] == [("cf", 0, 0.5), ("cf", 1, 0.5)], "tau=1 is the profile's, and there already"


def test_an_entry_may_replace_what_every_run_shares(tmp_path):
    made = grid(tmp_path, "every: {profile: smoke}\nruns: [{profile: laptop}, {}]")
    assert [one.profile for one in made.runs] == ["laptop", "smoke"]


def test_several_sets_of_options_are_a_list_of_lists(tmp_path):
    made = grid(
        tmp_path,
        "runs: [{options: [tiger.epochs=2, tiger.dropout=0.1]}, "
        "{options: [[tiger.epochs=3], [tiger.epochs=4], []]}]",
    )
    assert [one.options for one in made.runs] == [
        ("tiger.epochs=2", "tiger.dropout=0.1"),
        ("tiger.epochs=3",),
        ("tiger.epochs=4",),
        (),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("runs: [{seed: 0}, {tokenizer: leter}]", ["entry 2", 'did you mean "letter"']),
        ("runs: [{sede: 0}]", ["entry 1", 'did you mean "seed"']),
        ("runs: [{tokenizer: plain, alpha: 0.1}]", ["entry 1", "changes nothing"]),
        ("runs: [{seed: []}]", ["entry 1", "seed", "empty list"]),
        ("runs: [{options: {tiger.epochs: 3}}]", ["entry 1", "options"]),
        ("runs: [letter]", ["entry 1", "parameter: value"]),
        ("runs: {seed: 0}", ["`runs`", "list of entries"]),
        ("every: [seed]\nruns: [{seed: 0}]", ["entry 1", "`every`"]),
        ("about: nothing", ["`runs`"]),
        ("rusn: []\nruns: [{}]", ["`about`"]),
        ("runs: [", ["not YAML"]),
        ("runs: " + "[" * 5000, ["not YAML"]),
        (
            "runs: [{options: [tiger.epochs=3, tiger.epochs=4]}]",
            ["entry 1", "tiger.epochs is there 2 times"],
        ),
        (
            "runs: [{dataset: 2024-02-30}]",
            ["not YAML (day "],
        ),  # the rest is Python's, of each version another
        ("", ["`runs`"]),
    ],
)
def test_a_mistake_is_one_line_with_file_and_entry(tmp_path, text, words):
    with pytest.raises(LetterError) as caught:
        grid(tmp_path, text)
    assert "\n" not in str(caught.value)
    for word in ("grid.yaml", *words):
        assert word in str(caught.value)


def test_a_grid_that_is_not_there_or_not_a_file(tmp_path):
    with pytest.raises(LetterError, match="no such grid"):
        load_grid(tmp_path / "none.yaml")
    with pytest.raises(LetterError, match="cannot be read"):
        load_grid(tmp_path)


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_grids_of_the_repository_can_be_run(path):
    made = load_grid(path)
    assert made.about and len(made.runs) == len({one.key for one in made.runs}) >= 5


def test_the_demonstration_is_two_data_sets_two_tokenizers_two_seeds():
    runs = load_grid(EXPERIMENTS / "demo.yaml").runs
    wanted = set(product(("movielens", "complete-journey"), ("plain", "letter"), (0, 1)))
    assert {(one.dataset, one.tokenizer, one.seed) for one in runs} == wanted
    assert all(one.profile == "smoke" for one in runs)


def parsed_by_papermill(words):
    """What papermill's own command line makes of the words: the notebook's variables."""
    from papermill.cli import _resolve_type

    given, words = {}, list(words)
    while words:
        flag = words.pop(0)
        if flag in ("-p", "-r"):
            name, value = words.pop(0), words.pop(0)
            given[name] = _resolve_type(value) if flag == "-p" else value
        else:
            assert flag == "-y"
            given |= yaml.safe_load(words.pop(0))
    return given


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"profile": "smoke"},
        {"beta": 1e-5, "alpha": 0.001, "seed": 3},
        {"tau": 0.8, "levels": 3, "codes": 64},
        {"generator": "sasrec-tuned", "tokenizer": "none"},
        {"device": "cuda:1"},
        {"options": ["tiger.epochs=2", "tiger.dropout=0.25"]},
    ],
)
def test_papermill_gives_the_notebook_what_was_asked_for(values):
    asked = RunParameters.checked(**values)
    notebook_defaults = {"profile": "smoke", "options": [], "alpha": None, "tokenizer": "letter"}
    variables = notebook_defaults | parsed_by_papermill(papermill_words(asked))
    assert RunParameters.from_notebook(variables).key == asked.key
    command = shlex.split(papermill_command(asked))
    assert command[0] == "papermill" and command[1].endswith("10_full_experiments.ipynb")
    assert command[2] == f"runs/results/{asked.key}.ipynb" and command[3:] == papermill_words(asked)
    elsewhere = shlex.split(papermill_command(asked, Path("a b"), Path("runs"), Path("files/made")))
    assert elsewhere[2] == f"a b/{asked.key}.ipynb"
    assert elsewhere[3:] == [
        *papermill_words(asked),
        "-r",
        "out_dir",
        "a b",
        "-r",
        "data_dir",
        "files/made",
    ]
    # The notebook would write its record below the other cache, where this grid does not look for
    # it.
    scratch = shlex.split(papermill_command(asked, cache_dir=Path("2024")))
    assert scratch[3:] == [
        *papermill_words(asked),
        "-r",
        "out_dir",
        "runs/results",
        "-r",
        "cache_dir",
        "2024",
    ]


def test_papermill_gives_a_rare_letter_whole(tmp_path):
    """YAML does not join the two halves in which JSON may write it."""
    (tmp_path / "\U00020bb7").mkdir()
    (tmp_path / "\U00020bb7" / "config.json").write_text("{}")
    asked = RunParameters.checked(options=[f"encoder={tmp_path}/\U00020bb7"])
    assert RunParameters.from_notebook(parsed_by_papermill(papermill_words(asked))).key == asked.key


@pytest.mark.parametrize("name", ["2018", "007", "1e5", "None"])
def test_a_data_set_that_is_called_like_a_number_keeps_its_name(name, tmp_path):
    asked = RunParameters.checked(dataset=name)
    assert parsed_by_papermill(papermill_words(asked))["dataset"] == name
    (tmp_path / "grid.yaml").write_text("runs: [{dataset: 007}]", encoding="utf-8")
    with pytest.raises(
        LetterError, match="dataset=7: input should be a valid string; in YAML, write it in quotes"
    ):
        load_grid(tmp_path / "grid.yaml")


def stage_keys(asked):
    return [one["key"] for one in shared_stages(asked)]


def test_runs_share_what_does_not_differ_between_them():
    base = stage_keys(RunParameters.checked())
    for values, embeddings, tokenizer in (
        ({"tau": 0.8}, True, True),
        ({"beams": 50}, True, True),
        ({"generator": "lc-rec"}, True, True),
        ({"alpha": RunParameters.checked().config.tokenizer.alpha}, True, True),
        ({"options": ["tiger.epochs=3"]}, True, True),
        ({"options": ["tokenizer.epochs=3"]}, True, False),
        ({"options": ["sasrec_32.epochs=3"]}, False, False),
        ({"options": ["text_tokens=64"]}, False, False),
        ({"options": ["encoder=another/one"]}, False, False),
        ({"tokenizer": "cf"}, True, False),
        ({"alpha": 0.3}, True, False),
        ({"clusters": 5}, True, False),
        ({"seed": 1}, False, False),
        ({"dataset": "complete-journey"}, False, False),
        ({"profile": "smoke"}, False, False),
    ):
        other = stage_keys(RunParameters.checked(**values))
        assert [a == b for a, b in zip(base, other, strict=True)] == [embeddings, tokenizer], values
    assert stage_keys(RunParameters.checked(generator="sasrec-tuned", tokenizer="none")) == []


def test_the_words_of_a_shared_stage_are_the_configuration_of_the_run():
    """Otherwise it would be made for nobody."""
    asked = RunParameters.checked(
        alpha=0.3, codes=64, clusters=5, seed=2, options=["tokenizer.epochs=3", "held_out=2"]
    )
    embed, tokenize = (one["words"] for one in shared_stages(asked))
    for words, command in ((embed, "embed"), (tokenize, "tokenize")):
        overrides = [word.removeprefix("--set=") for word in words if word.startswith("--set=")]
        given = dict(
            word.removeprefix("--").split("=") for word in words[1:] if word.count("=") == 1
        )
        config = make_config(
            given["dataset"], given["profile"], int(given["seed"]), overrides=overrides
        )
        assert (
            words[0] == command
            and config.held_out == 2
            and config.sasrec_32 == asked.config.sasrec_32
        )
    assert given["arm"] == "letter" and config.tokenizer == asked.config.tokenizer


def record_of(one):
    return {
        "parameters": one.resolved,
        "system": "tiger",
        "label": "TIGER",
        "seconds": 1.0,
        "validation N@10": 0.1,
        "stages": [],
        "metrics": {
            "history in": means(np.array([3, ABSENT])),
            "history out": means(np.full(2, ABSENT)),
        },
        "hits": {"history in": "0:3", "history out": ""},
        "dataset": {"fingerprint": "a", "held out": 1},
        "cases": {"total": 2, "answered": 2, "users": "0-1x1"},
    }


def test_records_of_other_folders_count_as_done_where_asked(tmp_path, capsys):
    """Those of the repository's grids lie in several folders; `--run` would do them all again."""
    grid_file = tmp_path / "grid.yaml"
    grid_file.write_text("runs: [{profile: smoke, seed: [0, 1, 2, 3]}]")
    made, own, kept = load_grid(grid_file), tmp_path / "own", tmp_path / "kept"
    first, second, third, fourth = made.runs
    write_json(record_path(first, own), record_of(first))
    for one in (first, second):
        write_json(record_path(one, kept / "below"), record_of(one))
    record_path(third, kept).write_text(
        ""
    )  # damaged: it is done again, and not written among the kept ones
    assert places(made, own, [kept]) == [own, kept / "below", own, own]
    assert places(made, own) == [own] * 4
    with pytest.raises(LetterError, match="none: no such folder"):
        places(made, own, [tmp_path / "none"])
    app(["grid", str(grid_file), "--out-dir", str(own), "--also", str(kept)], standalone_mode=False)
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "runs: 4, done: 2"
    assert [line.split()[0] for line in said[2:]] == ["done", "done", "to", "to"]
    assert not any("--also" in line or str(kept) in line for line in said[2:])


def test_runs_that_fail_for_one_reason_say_it_once(tmp_path, capsys, monkeypatch):
    """A misspelt data set would fill the screen with the same long line."""
    file = tmp_path / "grid.yaml"
    file.write_text(
        "every: {profile: smoke, tokenizer: none, generator: [popularity, markov], seed: 0}\n"
        "runs: [{dataset: shopp}, {dataset: shoppp}]\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LetterError, match="4 of 4 runs failed"):
        app(["grid", str(file), "--run"], standalone_mode=False)
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("failed: ")]
    assert ["shopp" in line for line in failed] == [True, False, True, False]
    assert failed[1::2] == ["failed: as [1/4]", "failed: as [3/4]"]


def test_a_run_is_to_do_then_failed_then_done(tmp_path):
    one = small_run()
    assert state(one, tmp_path) == "to do"
    (tmp_path / f"{one.key}.failures.jsonl").write_text(json.dumps({"error": "x"}) + "\n")
    assert state(one, tmp_path) == "failed"
    record_path(one, tmp_path).write_text("")
    assert state(one, tmp_path) == "failed", "a file that was cut off is no record"
    record = record_of(one)
    write_json(record_path(one, tmp_path), record)
    assert state(one, tmp_path) == "done"
    for damage in ({"hits": {}}, {"dataset": {}}, {"cases": record["cases"] | {"total": 1}}):
        write_json(record_path(one, tmp_path), record | damage)
        assert state(one, tmp_path) == "failed", damage


@pytest.mark.parametrize(
    "text", ["runs: [{seed: 0}]\nruns: [{seed: 1}]", "runs: [{alpha: 0.1, seed: 0, alpha: 0.2}]"]
)
def test_a_key_that_is_there_twice_is_refused(tmp_path, text):
    """YAML would keep the last, and the runs of the first would be missing without a word."""
    with pytest.raises(LetterError, match="is there twice"):
        grid(tmp_path, text)


def test_a_folder_of_data_that_is_not_there_is_never_replaced_by_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("data/made", "mine"):
        Path(folder).mkdir(parents=True)
    assert data_dir_under(Path("data"), "made") == Path("data/made")
    assert data_dir_under(Path("data"), "other") is None, "looked for where every command looks"
    assert data_dir_under(Path("mine"), "movielens") is None, "it comes with the installation"
    Path("data/movielens").mkdir()
    assert data_dir_under(Path("data"), "movielens") is default_data_dir("movielens") is None, (
        "whatever lies there"
    )
    for root in ("mine", "misspelt"):
        with pytest.raises(LetterError, match=f"{root}/made: no such folder; --data-root"):
            data_dir_under(Path(root), "made")


@pytest.mark.parametrize("name", ["a/b", "", "../x", ".hidden"])
def test_the_name_of_a_data_set_is_no_path(name):
    with pytest.raises(LetterError, match="a name has letters, digits"):
        make_config(name)


@pytest.mark.parametrize("seed", [-1, 2**31, 2**32])
def test_a_seed_that_a_library_would_refuse_after_hours_is_refused_at_once(seed):
    for ask in (make_config, RunParameters.checked):
        with pytest.raises(LetterError, match=f"seed={seed}"):
            ask(seed=seed)
