"""Finished runs as lesson 11 reads them. They are made here: the ranks are drawn."""

from pathlib import Path

import numpy as np
import pytest
from made_runs import made_run

from letterlib.course import experiments
from letterlib.pipeline.results import load_results, write_runs
from letterlib.pipeline.runs import RunParameters, run_path


def write(folder: Path, fingerprint: str = "data", **asked) -> None:
    """A finished run. The same parameters give the same ranks."""
    one = RunParameters.checked(**{"profile": "smoke"} | asked)
    luck = int(one.key, 16)
    validation = float(np.random.default_rng(luck).random())
    made = {"n": 40, "luck": luck, "validation": validation, "fingerprint": fingerprint}
    write_runs(run_path(one, folder), [made_run(**made, **{"profile": "smoke"} | asked)])


@pytest.fixture
def league(tmp_path):
    for seed in (0, 1):
        for tokenizer in ("plain", "cf", "letter"):
            write(tmp_path, tokenizer=tokenizer, seed=seed)
        write(tmp_path, tokenizer="letter", tau=0.8, seed=seed)
        write(tmp_path, tokenizer="letter", alpha=0.1, seed=seed)
    write(tmp_path, tokenizer="letter", alpha=0.1, tau=0.8)  # two changes at once
    write(tmp_path, tokenizer="letter", beams=30)
    write(tmp_path, generator="markov", tokenizer="none")
    return experiments.leagues(load_results(tmp_path))["movielens, smoke"]


def test_runs_that_may_be_compared_are_together(tmp_path):
    write(tmp_path / "a", tokenizer="plain")
    write(tmp_path / "a", tokenizer="letter")
    write(tmp_path / "a", tokenizer="plain", options=("tiger.epochs=2",))
    write(tmp_path / "a", tokenizer="plain", device="cpu")
    write(tmp_path / "b", tokenizer="plain", dataset="complete-journey")
    write(tmp_path / "b", tokenizer="letter", seed=1, fingerprint="other data")
    found = experiments.leagues(load_results(*experiments.folders(str(tmp_path))))
    assert {name: len(runs) for name, runs in found.items()} == {
        "movielens, smoke": 2,
        "movielens, smoke, tiger.epochs=2": 1,
        "movielens, smoke, cpu": 1,
        "complete-journey, smoke": 1,
        "movielens, smoke, data A": 1,
    }


def test_the_recipes_are_those_of_the_committed_records():
    names = set(experiments.leagues(load_results(*experiments.folders())))
    assert {"beauty, laptop, an hour", "instruments, laptop, an hour"} <= names
    assert "beauty, laptop, the paper's size, tiger.epochs=33" in names


def test_variants_are_the_profiles_own_settings_and_nothing_near_them(league):
    found = experiments.variants(league)
    assert list(found) == [
        experiments.PLAIN,
        experiments.CF,
        experiments.LETTER,
        experiments.RANKING,
    ]
    assert [one.seed for one in found[experiments.LETTER]] == [0, 1]
    assert {one.parameters["alpha"] for one in found[experiments.RANKING]} == {0.02}


def test_what_two_settings_differ_in(league):
    found = experiments.variants(league)
    assert experiments.changes(found[experiments.RANKING], found[experiments.LETTER]) == {
        "tau": "1.0 → 0.8"
    }
    assert set(experiments.changes(found[experiments.CF], found[experiments.PLAIN])) == {
        "tokenizer",
        "alpha",
    }


def test_a_sweep_has_settings_with_one_change_only(league):
    found = experiments.sweeps(league)
    assert {name: list(values) for name, values in found.items()} == {
        "alpha": [0.02, 0.1],
        "tau": [0.8, 1.0],
    }
    assert [one.seed for one in found["alpha"][0.1]] == [0, 1], (
        "the run with two changes, of seed 0, is in no arm"
    )
    assert (
        found["alpha"][0.02] == found["tau"][1.0] == experiments.runs_of(league, tokenizer="letter")
    )


def test_differences_seed_by_seed_are_paired_by_seed(tmp_path):
    for seed in (0, 1, 2):
        write(tmp_path, tokenizer="letter", seed=seed)
    for seed in (2, 1, 5):
        write(tmp_path, tokenizer="plain", seed=seed)
    [league] = experiments.leagues(load_results(tmp_path)).values()
    letter, plain = (experiments.runs_of(league, tokenizer=name) for name in ("letter", "plain"))
    found = experiments.by_seed(letter, plain, "R@10", "in")
    values = [{one.seed: one.values("R@10").mean() for one in runs} for runs in (letter, plain)]
    assert found.to_dict() == pytest.approx(
        {seed: values[0][seed] - values[1][seed] for seed in (1, 2)}
    )


def test_what_was_not_run_is_counted_from_the_grids(tmp_path):
    write(tmp_path, tokenizer="plain")
    before = experiments.grids([tmp_path]).loc["ablation"]
    assert before["done"] == 0 and len(before["missing"]) == before["runs"] == 25
    asked = before["missing"][3]
    write(tmp_path, **asked.asked(), profile="laptop")
    after = experiments.grids([tmp_path]).loc["ablation"]
    assert after["done"] == 1 and before["missing"][3] not in after["missing"]
