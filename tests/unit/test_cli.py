"""The command line as a newcomer meets it: help, one-line errors, and commands that work."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_data import write_made_data
from typer.testing import CliRunner

from letterlib.cli import app
from letterlib.data.released import load_released
from letterlib.pipeline.config import REPOSITORY
from letterlib.pipeline.results import load_results

SMALL = ("--profile", "smoke", "--set", "codes=16", "--set", "clusters=4")


def letterlib(*arguments, cwd=None, **environment):
    """In a process of its own, as a user runs it."""
    command = [sys.executable, "-m", "letterlib", *map(str, arguments)]
    settings = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"} | environment
    settings["PYTHONPATH"] = str(REPOSITORY)
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=settings)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Options for a made data set, and a cache that this module's tests share."""
    folder = tmp_path_factory.mktemp("cli")
    data = write_made_data(folder / "data")
    return ("--dataset", "made", "--data-dir", data, "--cache-dir", folder / "runs", *SMALL)


def test_help_names_every_command():
    top = letterlib("--help").stdout
    for name in "run table data settings embed tokenize train evaluate grid results doctor".split():
        assert name in top
    help_of_run = " ".join(letterlib("run", "--help").stdout.split())
    assert "smoke" in help_of_run and "laptop" in help_of_run and "--set" in help_of_run


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (["evaluate", "tigre"], ['"tigre"', 'did you mean "tiger"']),
        (["tokenize", "--variant", "both"], ["plain, cf, div, letter"]),
        (["run", "--profile", "labtop"], ["labtop", "laptop"]),
        (["run", "--set", "tiger.epoch=3"], ["tiger.epoch", "epochs"]),
        (["run", "--set", "alpha=0"], ["alpha", "div"]),
        (["data", "--dataset", "nowhere"], ["nowhere", "--data-dir"]),
        (["data", "--dataset", "movielense"], ['did you mean "movielens"']),
        (["recommend", "popularity", "--user", "0"], ['no user "0"']),
        (["evaluate", "popularity", "--metric", "R@0"], ["R@0"]),
        (["run", "--dataset", "beauty", "--data-dir", "nowhere"], ["nowhere"]),
        (["grid", "nowhere.yaml"], ["nowhere.yaml"]),
        (["results", "show", "nowhere"], ["nowhere"]),
        (["run", "--no-such-option"], ["--no-such-option"]),
        (["table", "--language-models", "--system", "mf"], ["--language-models"]),
    ],
)
def test_a_mistake_is_one_line_with_exit_code_2(tmp_path, arguments, facts):
    done = letterlib(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    line = done.stderr.strip().splitlines()[-1]  # above it, typer prints the usage
    assert "Traceback" not in done.stderr
    for fact in facts:
        assert fact in line


@pytest.mark.parametrize(
    "code",
    [
        "import torch; torch.empty(2**50)",
        "import torch; torch.empty(2**40, 2**40)",
        "import numpy; numpy.empty(2**50)",
        "bytearray(2**60)",
        "import torch; raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB')",
    ],
)
def test_out_of_memory_is_one_line(tmp_path, code):
    (tmp_path / "plugin.py").write_text(code)
    done = letterlib("settings", "--plugin", tmp_path / "plugin.py", cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith("letterlib: out of memory") and done.stderr.count("\n") == 1


def test_broken_data_is_an_error_and_leaves_nothing_behind(tmp_path):
    folder = write_made_data(tmp_path / "data")
    (folder / "made.inter.json").write_text('{"0": [1, 2')
    done = letterlib("run", "--dataset", "made", "--data-dir", folder, cwd=tmp_path)
    assert done.returncode == 2 and "made.inter.json" in done.stderr
    assert not list((tmp_path / "runs").rglob("*.json"))


def test_the_whole_run_and_a_second_one_from_the_cache(made):
    first = letterlib("run", *made)
    assert first.returncode == 0, first.stderr
    assert "LETTER-TIGER" in first.stdout and "the Markov floor" in first.stdout
    report = Path(first.stderr.strip().splitlines()[-1].removeprefix("Report: "))
    assert report.is_file()
    second = letterlib("run", *made)
    table = [line for line in first.stdout.splitlines() if "[" in line]
    assert [line for line in second.stdout.splitlines() if "[" in line] == table
    assert ": running" not in second.stderr and "found in the cache" in second.stderr


def test_every_stage_has_a_command(made):
    for command, fact in (
        (["data"], "60 users, 30 items"),
        (["embed"], "30 x 384"),
        (["tokenize", "--variant", "cf"], "share an identifier"),
        (["train", "mf"], "mf: "),
        (["train", "popularity"], "nothing to train"),
        (["evaluate", "mf"], "Markov floor"),
        (["settings", "tiger"], "tiger.epochs=1"),
        (["table", "--seeds", "2", "--system", "mf"], "2 seeds"),
    ):
        done = letterlib(*command, *made)
        assert done.returncode == 0 and fact in done.stdout, (command, done.stdout, done.stderr)


def test_what_changes_nothing_is_said(made):
    done = letterlib("evaluate", "mf", *made, "--set", "tiger.epochs=2")
    assert "note: tiger.epochs=2 changes nothing" in done.stderr
    assert "mf.epochs" not in done.stderr


def test_results_are_the_only_words_on_stdout(made):
    done = letterlib("evaluate", "mf", *made, "--json", "--metric", "MRR@20")
    rows = {row["system"]: row for row in json.loads(done.stdout)}
    assert 0 < rows["mf"]["metrics"]["history in"]["MRR@20"]["mean"] < 1
    assert "mf: " in done.stderr
    quiet = letterlib("evaluate", "mf", *made, "--quiet")
    assert "MF (BPR)" in quiet.stdout and quiet.stderr == ""


def test_lists_have_the_ids_of_the_data_and_leave_out_what_the_user_has(made, tmp_path):
    one = letterlib("recommend", "mf", *made, "--user", "3", "-k", "5", "--json")
    rows = json.loads(one.stdout)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5] and {r["user"] for r in rows} == {"3"}
    out = tmp_path / "lists.parquet"
    assert letterlib("recommend", "mf", *made, "-k", "5", "--out", out).returncode == 0
    lists = pd.read_parquet(out)
    dataset = load_released(made[3])
    assert lists.query("user == '3'")["item"].tolist() == [row["item"] for row in rows]
    labels = np.array(dataset.item_labels or range(dataset.n_items), dtype=str)
    listed = lists.groupby("user")["item"].agg(set)
    for user, items in zip(dataset.user_labels, dataset.sequences, strict=True):
        left = {*labels} - {*labels[items]}  # one user has everything
        assert listed.get(user, set()) <= left and len(listed.get(user, ())) == min(5, len(left))
    assert letterlib("recommend", "mf", *made, "--out", out).returncode == 2  # it is there already


def test_an_interrupted_folder_of_lists_is_completed(made, tmp_path):
    users = [str(user) for user in range(20, 0, -1)]
    table = tmp_path / "users.csv"
    pd.DataFrame({"user": [*users, "20"]}).to_csv(table, index=False)
    command = ("recommend", "mf", *made, "-k", "5", "--users", table, "--shard", "8", "--out")
    whole, out = tmp_path / "whole.parquet", tmp_path / "lists"
    assert letterlib(*command, whole).returncode == 0
    assert letterlib(*command, out).returncode == 0
    first, second, third = files = sorted(out.glob("*.parquet"))
    made_in_one_go = [file.read_bytes() for file in files]
    second.unlink()
    kept = [file.stat().st_mtime_ns for file in (first, third)]
    assert letterlib(*command, out).returncode == 0
    assert [file.read_bytes() for file in files] == made_in_one_go
    assert [file.stat().st_mtime_ns for file in (first, third)] == kept
    lists, one = pd.concat(map(pd.read_parquet, files)), pd.read_parquet(whole)
    assert list(dict.fromkeys(lists["user"])) == [u for u in users if u in set(one["user"])]
    assert lists["item"].tolist() == one["item"].tolist()
    other = letterlib(*command, out, "--seed", "1")
    assert other.returncode == 2 and "another key" in other.stderr


def test_the_same_seed_gives_the_same_stages_in_two_processes(tmp_path):
    data = write_made_data(tmp_path / "data")
    hashes = []
    for name in ("one", "other"):
        options = ("--dataset", "made", "--data-dir", data, "--cache-dir", tmp_path / name)
        done = letterlib("train", "letter-tiger", *options, *SMALL)
        assert done.returncode == 0, done.stderr
        records = sorted((tmp_path / name).rglob("stage.json"))
        hashes.append([json.loads(path.read_text())["files"] for path in records])
    assert hashes[0] == hashes[1] and len(hashes[0]) == 4


def test_a_grid_is_listed_done_compared_and_exported(tmp_path):
    data = write_made_data(tmp_path / "files" / "made")
    (tmp_path / "grid.yaml").write_text(
        "about: a question\n"
        "every: {dataset: made, profile: smoke, codes: 16, options: [tiger.examples=200]}\n"
        "runs: [{tokenizer: [plain, cf], seed: [0, 1]}]\n"
    )
    grid = ("grid", tmp_path / "grid.yaml", "--data-root", data.parent, "--cache-dir", tmp_path)
    listed = json.loads(letterlib(*grid, "--json").stdout)
    assert [run["state"] for run in listed] == ["to do"] * 4 and len(listed[0]["shared"]) == 2
    assert "papermill notebooks/10" in letterlib(*grid).stdout
    done = letterlib(*grid, "--run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs: 4, done: 4" in letterlib(*grid).stdout
    assert {run.key for run in load_results(tmp_path / "results")} == {r["key"] for r in listed}
    elsewhere = letterlib(*grid[:4], "--cache-dir", tmp_path / "other", "--also", tmp_path)
    assert "done: 4" in elsewhere.stdout
    results = CliRunner()
    folder = str(tmp_path / "results")
    for words, fact in (
        (["show", folder], "TIGER, cf"),
        (
            ["compare", folder, "--first", "tokenizer=cf", "--second", "tokenizer=plain"],
            "2 seed(s)",
        ),
        (["best", folder], "validation N@10 seed 0"),
        (["export", folder, str(tmp_path / "all.parquet")], ""),
        (["show", str(tmp_path / "all.parquet"), "--where", "tokenizer=cf"], "TIGER, cf"),
    ):
        found = results.invoke(app, ["results", *words])
        assert found.exit_code == 0 and fact in found.stdout, (words, found.stdout, found.exception)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_made_data(tmp_path / "data")
    done = letterlib("data", "--dataset", "made", "--data-dir=~/data", "--cache-dir=~/runs")
    assert done.returncode == 0, done.stderr


def test_titles_do_not_end_a_run_on_an_ascii_terminal(tmp_path):
    folder = write_made_data(tmp_path / "data")
    for file in folder.iterdir():
        file.rename(folder / file.name.replace("made", "영화"))
    options = ("--dataset", "영화", "--data-dir", folder, "--cache-dir", tmp_path)
    done = letterlib("data", *options, PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and r"\uc601\ud654" in done.stdout


@pytest.mark.slow
def test_an_interrupted_command_goes_on_where_it_was(tmp_path):
    options = ["--set", "mf.epochs=100000", "--set", "mf.patience=100000"]
    options += ["--profile", "smoke", "--cache-dir", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "letterlib", "train", "mf", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        # Tests that run in the background of a shell are started with the signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while "mf: running" not in process.stderr.readline():
        pass
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "goes on" in errors
