"""The Snakemake workflow, with stand-ins for what it calls: which runs it does, in which order,
what it asks of Slurm. The last test runs the real programs on a grid with a plugin.
"""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from letterlib.data import PACKAGED
from letterlib.pipeline.results import load_results
from letterlib.pipeline.runs import RunParameters, listed

REPOSITORY = Path(__file__).resolve().parents[2]
WORKFLOW = REPOSITORY / "experiments" / "workflow"
SNAKEMAKE = REPOSITORY / ".venv-workflow" / "bin" / "snakemake"
COURSE = ("letterlib", "papermill", "jupyter")
SLURM = ("sbatch", "srun", "sacct", "squeue", "scancel", "sinfo", "scontrol")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SNAKEMAKE.exists(), reason="Snakemake is not installed: make workflow"),
    pytest.mark.xdist_group("workflow"),
]


class Place:
    """A folder to run the workflow in, with a grid of these runs and stand-ins for all programs."""

    def __init__(self, folder: Path, runs: list[RunParameters], programs=COURSE):
        self.folder, self.runs = folder, runs
        self.home, self.out = folder / "stand-ins", folder / "results"
        (self.home / "fail").mkdir(parents=True)
        (self.home / "bin").mkdir()
        for name in programs:
            script = self.home / "bin" / name
            # As pip writes it: the kernel does not run an interpreter in a folder with a space.
            start = f"#!/bin/sh\n'''exec' \"{sys.executable}\" -SE \"$0\" \"$@\"\n' '''\n"
            script.write_text(start + Path(__file__).with_name("stand_ins.py").read_text())
            script.chmod(0o755)
        (self.home / "grid.json").write_text(json.dumps([listed(one, "to do") for one in runs]))
        (folder / "grid.yaml").write_text("runs: the stand-in of letterlib does not read this\n")

    def snakemake(
        self, *options: str, profile: str = "local", **config: str
    ) -> subprocess.CompletedProcess:
        given = {"grid": "grid.yaml", "out": "results", "bin": self.home / "bin"} | config
        command = [
            SNAKEMAKE,
            "-s",
            WORKFLOW / "Snakefile",
            "--profile",
            WORKFLOW / "profiles" / profile,
            *options,
        ]
        command += ["--config", *(f"{name}={value}" for name, value in given.items())]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SLURM_")
        }
        environment |= {
            "STAND_INS": str(self.home),
            "PATH": f"{self.home / 'bin'}:{os.environ['PATH']}",
        }
        return subprocess.run(
            map(str, command), cwd=self.folder, env=environment, capture_output=True, text=True
        )

    def calls(self, name: str) -> list[dict]:
        path = self.home / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [one for one in map(json.loads, lines) if one["name"] == name]

    def did(self) -> list[str]:
        """What papermill was called for, run by run and attempt by attempt."""
        return [one["key"] for one in self.calls("papermill")]

    def forget_calls(self) -> None:
        (self.home / "calls.jsonl").unlink()

    @property
    def keys(self) -> list[str]:
        return [one.key for one in self.runs]


def four_runs() -> list[RunParameters]:
    """Two that share embeddings and tokenizer, one that shares only embeddings with them, one that
    shares nothing.
    """
    return [
        RunParameters.checked(profile="smoke"),
        RunParameters.checked(profile="smoke", tau=0.8, beta=0.00001, options=["tiger.epochs=2"]),
        RunParameters.checked(profile="smoke", beta=0.00001, options=["tiger.epochs=3"]),
        RunParameters.checked(profile="paper", tokenizer="none", generator="sasrec-tuned"),
    ]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, four_runs())


def ended_well(done) -> None:
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_grid_is_done_once_in_the_right_order_and_ends_with_lesson_11(place):
    ended_well(place.snakemake("--cores", "2"))
    assert sorted(place.did()) == sorted([*place.keys, "11_ablations_and_sweeps"])
    assert place.did()[-1] == "11_ablations_and_sweeps"
    page = (place.out / "11_ablations_and_sweeps.html").read_text()
    assert all(key in page for key in place.keys), "lesson 11 has seen every record"
    for key in place.keys:
        assert (place.out / f"{key}.ipynb").exists() and (
            place.out / "logs" / f"{key}.log"
        ).exists()

    made = [one for one in place.calls("letterlib") if one["words"][0] != "grid"]
    assert [one["words"][0] for one in made] == ["embed", "tokenize"], (
        "only what two runs or more share"
    )
    after = {one["key"]: one["at"] for one in place.calls("papermill")}
    assert made[0]["at"] < made[1]["at"] < min(after[key] for key in place.keys[1:3])
    assert made[0]["at"] < after[place.keys[0]]

    call = next(one for one in place.calls("papermill") if one["key"] == place.keys[1])
    pairs = {(one, other) for one, other in pairwise(call["words"])}
    assert {
        ("tau", "0.8"),
        ("beta", "1e-05"),
        ("out_dir", str(place.out)),
        ("profile", "smoke"),
    } <= pairs
    assert call["words"][-1] != "-p" and call["environment"]["OMP_NUM_THREADS"] == "1"

    place.forget_calls()
    again = place.snakemake("--cores", "2")
    ended_well(again)
    assert "Nothing to be done" in again.stdout + again.stderr and place.did() == []


@pytest.mark.parametrize(("finished", "made"), [(3, []), (2, ["embed", "tokenize"])])
def test_finished_runs_are_left_alone_whoever_did_them(place, finished, made):
    place.out.mkdir()
    for key in place.keys[:finished]:
        (place.out / f"{key}.parquet").write_text(json.dumps({"by": "letterlib grid --run"}))
    ended_well(place.snakemake("--cores", "1"))
    assert sorted(place.did()) == sorted([*place.keys[finished:], "11_ablations_and_sweeps"])
    assert [one["words"][0] for one in place.calls("letterlib")] == ["grid", *made], (
        "only for runs that are to be done"
    )
    for key in place.keys[:finished]:
        assert json.loads((place.out / f"{key}.parquet").read_text()) == {
            "by": "letterlib grid --run"
        }


def test_a_damaged_record_is_not_taken_for_made(place):
    place.out.mkdir()
    path = place.out / f"{place.keys[1]}.parquet"
    path.write_text('{"by": "letterl')
    done = place.snakemake("--cores", "1")
    assert done.returncode != 0 and place.did() == []
    assert (
        f"{path.name}: no whole record; delete it, and give the command again"
        in done.stdout + done.stderr
    )


def test_a_record_that_comes_while_the_runs_are_listed_is_whole(place):
    """A cluster's jobs go on when Snakemake is killed, and end when they will."""
    place.out.mkdir()
    (place.home / "late").write_text(place.keys[3])
    ended_well(place.snakemake("--cores", "1"))
    assert sorted(place.did()) == sorted([*place.keys[:3], "11_ablations_and_sweeps"])


def test_a_run_that_fails_is_tried_again_and_does_not_stop_the_others(place):
    (place.home / "fail" / place.keys[0]).write_text("1")
    (place.home / "fail" / place.keys[3]).write_text("9")
    done = place.snakemake("--cores", "1")
    assert done.returncode != 0
    assert place.did().count(place.keys[0]) == 2 and place.did().count(place.keys[3]) == 2
    assert sorted(p.stem for p in place.out.glob("*.parquet")) == sorted(place.keys[:3])
    assert "told to fail" in (place.out / "logs" / f"{place.keys[3]}.log").read_text()
    assert not (place.out / "11_ablations_and_sweeps.html").exists()

    (place.home / "fail" / place.keys[3]).unlink()
    place.forget_calls()
    ended_well(place.snakemake("--cores", "1"))
    assert place.did() == [place.keys[3], "11_ablations_and_sweeps"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"gird": "x"}, ["--config gird", "grid (a grid", "cache (where"]),
        ({"bin": "/nowhere"}, ["/nowhere/letterlib"]),
    ],
)
def test_a_mistake_in_the_configuration_says_what_there_is(place, config, words):
    done = place.snakemake("--dry-run", **config)
    assert done.returncode != 0
    for word in words:
        assert word in done.stdout + done.stderr


# Slurm: the plugin really submits, asks for states, and gets its jobs done as processes of this
# machine.

QUICK = (
    "--slurm-init-seconds-before-status-checks=1",
    "--latency-wait=5",
    "--max-status-checks-per-second=10",
)


@pytest.fixture(scope="module")
def on_slurm(tmp_path_factory):
    """A grid of two runs on the stand-in cluster; the first run fails once."""
    place = Place(tmp_path_factory.mktemp("slurm"), four_runs()[2:], COURSE + SLURM)
    (place.home / "fail" / place.keys[0]).write_text("1")
    place.done = place.snakemake(*QUICK, profile="slurm")
    return place


def submissions(place) -> dict[str, list[list[str]]]:
    """Rule and run -> the words of each of its submissions."""
    found = {}
    for one in place.calls("sbatch"):
        comment = one["words"][one["words"].index("--comment") + 1]
        found.setdefault(comment, []).append(one["words"])
    return found


def asked(words: list[str], name: str) -> str:
    joined = next((word.split("=", 1)[1] for word in words if word.startswith(f"{name}=")), None)
    return joined or words[words.index(name) + 1]


def test_slurm_does_every_run_and_renders_lesson_11(on_slurm):
    ended_well(on_slurm.done)
    assert sorted(p.stem for p in on_slurm.out.glob("*.parquet")) == sorted(on_slurm.keys)
    page = (on_slurm.out / "11_ablations_and_sweeps.html").read_text()
    assert all(key in page for key in on_slurm.keys)
    assert all(one["environment"]["SLURM_JOB_ID"] for one in on_slurm.calls("papermill")), (
        "each in a job of its own"
    )
    assert on_slurm.calls("sacct"), "states come from Slurm"
    assert len([one for one in on_slurm.calls("letterlib") if one["words"][0] == "grid"]) == 1, (
        "jobs read the list"
    )


def test_slurm_is_asked_for_what_the_profile_of_a_run_needs(on_slurm):
    smoke, paper = (submissions(on_slurm)[f"rule_run_wildcards_{key}"][0] for key in on_slurm.keys)
    assert (asked(smoke, "--mem"), asked(smoke, "-t"), asked(smoke, "--cpus-per-task")) == (
        "2000",
        "30",
        "1",
    )
    assert (asked(paper, "--mem"), asked(paper, "-t")) == ("24000", "2880")
    assert any(word.startswith("--gpus") for word in paper) and not any(
        word.startswith("--gpu") for word in smoke
    )


def test_slurm_tries_a_failed_run_again_with_twice_the_memory(on_slurm):
    attempts = submissions(on_slurm)[f"rule_run_wildcards_{on_slurm.keys[0]}"]
    assert [asked(words, "--mem") for words in attempts] == ["2000", "4000"]
    failed = [one["fails"] for one in on_slurm.calls("papermill") if one["key"] == on_slurm.keys[0]]
    assert failed == [True, False]
    assert len(submissions(on_slurm)[f"rule_run_wildcards_{on_slurm.keys[1]}"]) == 1


def test_the_pins_are_what_is_installed_and_in_one_place():
    environment = (WORKFLOW / "environment.yml").read_text()
    assert "-r requirements.txt" in environment and "snakemake=" not in environment
    listed = subprocess.run(
        [SNAKEMAKE.with_name("pip"), "freeze"], capture_output=True, text=True, check=True
    ).stdout
    pins = [
        line for line in (WORKFLOW / "requirements.txt").read_text().splitlines() if "==" in line
    ]
    assert pins and set(pins) <= set(listed.splitlines())


def test_data_that_come_with_the_installation_are_not_read_from_a_folder_of_their_name(place):
    """As `letterlib grid` has it: another folder than the usual one is asked for."""
    for name in (*PACKAGED, "beauty"):
        assert listed(RunParameters.checked(dataset=name), "to do")["packaged"] == (
            name in PACKAGED
        )
    for folder in ("data", "elsewhere"):
        (place.folder / folder / "movielens").mkdir(parents=True)
    for usual in ({}, {"data": "data"}):
        dry = place.snakemake("-n", "-p", **usual)
        ended_well(dry)
        assert (
            "data_dir" not in dry.stdout + dry.stderr
            and "--data-dir" not in dry.stdout + dry.stderr
        )
    asked = place.snakemake("-n", "-p", data="elsewhere")
    ended_well(asked)
    assert f"-p data_dir {place.folder / 'elsewhere' / 'movielens'}" in asked.stdout + asked.stderr


def test_a_grid_with_a_plugin_runs_with_the_real_programs(tmp_path):
    """The tokenizer of docs/extend.md, through papermill and lesson 10 to lesson 11."""
    page = (REPOSITORY / "docs" / "extend.md").read_text()
    (tmp_path / "fsq.py").write_text(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1])
    (tmp_path / "grid.yaml").write_text(
        "plugins: [fsq.py]\n"
        "every: {profile: smoke}\n"
        "runs:\n  - {tokenizer: fsq, generator: tiger}\n"
    )
    command = [
        SNAKEMAKE,
        "-s",
        WORKFLOW / "Snakefile",
        "--profile",
        WORKFLOW / "profiles" / "local",
    ]
    command += ["--cores", "1", "--config", "grid=grid.yaml", "out=results", "cache=cache"]
    ended_well(
        subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True)
    )
    runs = load_results(tmp_path / "results")
    assert [run.label for run in runs if run.parameters["tokenizer"] == "fsq"] == ["TIGER, fsq"]
    assert (tmp_path / "results" / "11_ablations_and_sweeps.html").exists()
