"""Finished runs as lesson 11 reads them. They are made here: the ranks are drawn."""

from pathlib import Path

import numpy as np
import pytest
from made_runs import made_run

from letterlib.course import experiments
from letterlib.errors import LetterError
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


def test_other_data_with_the_same_options_have_a_letter_of_their_own(tmp_path):
    for seed, content in ((0, "one"), (1, "one"), (2, "another")):
        write(
            tmp_path, tokenizer="plain", options=("tiger.epochs=2",), seed=seed, fingerprint=content
        )
    assert list(experiments.leagues(load_results(tmp_path))) == [
        "movielens, smoke, tiger.epochs=2",
        "movielens, smoke, tiger.epochs=2, data A",
    ]


def test_the_options_of_the_repositorys_grids_are_said_in_few_words():
    hour, size = (sorted(one) for one in experiments.RECIPES.values())
    assert (
        experiments.in_words([*hour, "tiger.examples=131413", "tiger.validate_every=3"])
        == "an hour"
    )
    assert (
        experiments.in_words(["tokenizer.epochs=2000", *hour]) == "an hour, tokenizer.epochs=2000"
    )
    rates = ["tiger.learning_rate=0.003", "tiger.relative_rate=false"]
    assert experiments.in_words(rates) == "one rate of 0.003"
    assert (
        experiments.in_words([*size, "tiger.epochs=6", *rates])
        == "the paper's size, one rate of 0.003, tiger.epochs=6"
    )
    assert experiments.in_words(hour[1:]) == ", ".join(hour[1:]), "a recipe in part is no recipe"
    assert (
        experiments.in_words(["tiger.examples=9", "tiger.epochs=2"])
        == "tiger.examples=9, tiger.epochs=2"
    )


def test_the_recipes_are_those_of_the_committed_records():
    names = set(experiments.leagues(load_results(*experiments.folders())))
    assert {"beauty, laptop, an hour", "instruments, laptop, an hour"} <= names
    assert "beauty, laptop, the paper's size, tiger.epochs=33" in names


def test_two_sets_of_options_with_the_same_words_are_two_leagues(tmp_path):
    """What a recipe leaves unsaid may differ all the same."""
    hour = sorted(experiments.RECIPES["an hour"])
    for every in (1, 3):
        write(
            tmp_path,
            tokenizer="plain",
            profile="laptop",
            options=(*hour, f"tiger.validate_every={every}"),
        )
    names = list(experiments.leagues(load_results(tmp_path)))
    assert names == ["movielens, laptop, an hour", "movielens, laptop, options A"]


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


def test_without_the_middle_there_is_no_sweep(tmp_path):
    write(tmp_path, tokenizer="letter", alpha=0.1)
    [league] = experiments.leagues(load_results(tmp_path)).values()
    assert experiments.sweeps(league) == {} and experiments.variants(league) == {}


def test_runs_whose_options_mean_nothing_to_tiger_have_no_variants_and_no_sweep(tmp_path):
    write(tmp_path, generator="lc-rec", tokenizer="letter", options=("lcrec.lists=10",))
    (league,) = experiments.leagues(load_results(tmp_path)).values()
    assert experiments.variants(league) == {} and experiments.sweeps(league) == {}
    assert list(experiments.at_own_settings(league)) == ["LETTER-LC-Rec"]
    with pytest.raises(LetterError, match="n_groups"):
        experiments.runs_of(
            league, generator="lc-rec", tokenizer="letter", clusters=10_000
        )  # a mistake is still one


def test_records_whose_options_name_a_folder_of_another_machine_are_read(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").touch()
    options = (f"encoder={tmp_path / 'model'}",)
    for values in (
        {"tokenizer": "plain"},
        {"tokenizer": "letter"},
        {"tokenizer": "letter", "alpha": 0.1},
    ):
        write(tmp_path / "records", options=options, **values)
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    (league,) = experiments.leagues(load_results(tmp_path / "records")).values()
    assert set(experiments.variants(league)) == {"plain RQ-VAE", "+ CF + Div"} and set(
        experiments.sweeps(league)
    ) == {"alpha"}
    assert list(experiments.at_own_settings(league)) == ["TIGER (RQ-VAE)", "LETTER-TIGER"]


def test_the_table_has_every_system_at_its_own_settings(league):
    assert list(experiments.at_own_settings(league)) == [
        "Markov floor",
        "TIGER (RQ-VAE)",
        "LETTER-TIGER",
        "TIGER, cf",
    ]


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


def test_differences_seed_by_seed_are_of_the_side_asked_for(league):
    found = experiments.variants(league)
    letter, plain = found[experiments.LETTER], found[experiments.PLAIN]
    pairs = list(zip(letter, plain, strict=True))
    for side in ("in", "out"):
        wanted = [
            one.values("R@10", side).mean() - other.values("R@10", side).mean()
            for one, other in pairs
        ]
        assert experiments.by_seed(letter, plain, "R@10", side).tolist() == pytest.approx(wanted)


def test_what_was_not_run_is_counted_from_the_grids(tmp_path):
    write(tmp_path, tokenizer="plain")
    before = experiments.grids([tmp_path]).loc["ablation"]
    assert before["done"] == 0 and len(before["missing"]) == before["runs"] == 25
    asked = before["missing"][3]
    write(tmp_path, **asked.asked(), profile="laptop")
    after = experiments.grids([tmp_path]).loc["ablation"]
    assert after["done"] == 1 and before["missing"][3] not in after["missing"]


def test_seeds_that_answered_a_question_asked_before_are_not_among_those_that_raised_it():
    read = experiments.folders()
    assert experiments.REPLICATION.is_file() and read and experiments.REPLICATION not in read
    assert (
        "replication"
        in experiments.grids([*read, experiments.REPLICATION]).query("runs == done").index
    )
