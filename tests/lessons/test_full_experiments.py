"""Lesson 10 as an instrument: what papermill may set, what stands beside published figures, what a
difference needs.
"""

import ast

import nbformat
import numpy as np
import papermill
import pytest
from scipy import stats

from letterlib.course import experiments
from letterlib.course.build import REPOSITORY, execute
from letterlib.course.experiments import (
    COLUMNS,
    COUNTS,
    beside_published,
    published,
    smallest_seen,
    variance_parts,
)
from letterlib.evaluation.bootstrap import paired_difference
from letterlib.pipeline.config import SHORT_NAMES
from letterlib.pipeline.runs import FOLDERS, RunParameters
from letterlib.pipeline.systems import SYSTEMS

LESSON = REPOSITORY / "solutions" / "10_full_experiments.ipynb"


def code_cells() -> list[str]:
    return [
        cell.source
        for cell in nbformat.read(LESSON, as_version=4).cells
        if cell.cell_type == "code"
    ]


def test_papermill_knows_every_parameter_with_a_type_and_a_comment():
    """An annotation that papermill cannot read, such as `float | None`, would make it warn of an
    unknown parameter.
    """
    known = papermill.inspect_notebook(str(LESSON))
    assert set(known) == {*RunParameters.checked.__kwdefaults__, *SHORT_NAMES, *FOLDERS}
    assert all(one["inferred_type_name"] != "None" and one["help"] for one in known.values())


def test_without_parameters_it_is_the_smoke_run_of_letter_tiger():
    scope: dict = {}
    exec(next(code for code in code_cells() if "profile: str" in code), scope)
    asked = RunParameters.from_notebook(
        {name: value for name, value in scope.items() if name != "__builtins__"}
    )
    assert (asked.system, asked.profile, asked.seed) == ("letter-tiger", "smoke", 0)


def made_record(
    dataset="beauty", system="letter-tiger", profile="paper", asked=None, **counts
) -> dict:
    generator = "lc-rec" if "lc-rec" in system else "tiger"
    asked = {"generator": generator, "tokenizer": SYSTEMS[system].identifiers} | (asked or {})
    return {
        "parameters": RunParameters.checked(
            **asked, dataset=dataset, profile=profile, seed=4
        ).settings,
        "system": system,
        "label": SYSTEMS[system].label,
        "dataset": {"held out": 1} | COUNTS.get(dataset, COUNTS["beauty"]) | counts,
        "config": {"encoder": "minilm", "tokenizer": {}},
        "metrics": {"history in": dict.fromkeys(COLUMNS, 0.05)},
    }


def test_published_figures_stand_beside_the_same_data_and_identifiers_alone():
    both, worth = beside_published(made_record())
    assert list(both["system"]) == ["LETTER-TIGER", "LETTER-TIGER", "cornac's LETTER, end to end"]
    assert list(both["R@10"]) == [0.05, 0.0672, 0.0560]
    assert "one seed beside one" in worth and "by minilm, by LLaMA-7B in the paper" in worth
    both, _ = beside_published(made_record(system="tiger-released"))
    assert len(both) == 5 and 0.0672 in set(both["R@10"])
    both, worth = beside_published(made_record(dataset="instruments", system="lc-rec"))
    assert both["N@10"].tolist() == [0.05, 0.0772] and both["R@10"].isna().tolist() == [False, True]
    for nothing in (made_record(dataset="movielens"), made_record(system="tiger-random")):
        both, worth = beside_published(nothing)
        assert both.empty and "nothing to hold it against" in worth


def test_other_counts_and_other_sizes_are_said():
    both, worth = beside_published(made_record(items=12_100))
    assert both.empty and "12,100 items, where the paper has 22,363 users and 12,101 items" in worth
    both, worth = beside_published(made_record(profile="laptop"))
    assert len(both) == 3 and "another budget" in worth
    record = made_record(asked={"options": ["encoder=llama", "tiger.dtype=bfloat16"]})
    assert "same data and size" in beside_published(record)[1]
    for asked, words in (
        ({"options": ["tiger.epochs=1"]}, "tiger.epochs=1"),
        ({"tau": 0.8}, "tau=0.8"),
    ):
        both, worth = beside_published(made_record(asked=asked))
        assert len(both) == 3 and f"other settings than the paper's ({words})" in worth
    record["dataset"]["held out"] = 5
    both, worth = beside_published(record)
    assert both.empty and "another split: the last 5 items" in worth


def test_every_published_system_is_one_of_ours():
    for dataset in COUNTS:
        assert set(published(dataset)["ours"]) <= set(SYSTEMS) and len(published(dataset))


def made_differences(random, parts, n_seeds, n_users, mean=0.0):
    seeds, users, rest = (
        np.sqrt(part) * random.normal(size=size)
        for part, size in zip(parts, ((n_seeds, 1), n_users, (n_seeds, n_users)), strict=True)
    )
    return mean + seeds + users + rest


@pytest.mark.parametrize("parts", [(0.5, 2.0, 1.0), (1.0, 0.2, 3.0)])
def test_the_variances_that_differences_were_made_with_are_found(parts):
    random = np.random.default_rng(0)
    found = [variance_parts(made_differences(random, parts, 20, 60)) for _ in range(200)]
    assert np.allclose(np.mean(found, axis=0), parts, rtol=0.1)


def test_the_smallest_difference_is_seen_in_four_of_five_experiments():
    random, parts = np.random.default_rng(1), (0.02, 0.5, 1.0)
    error = smallest_seen(parts, 5, 100) / 2.8
    means = [made_differences(random, parts, 5, 100, mean=2.8 * error).mean() for _ in range(2000)]
    assert 0.77 < np.mean(np.abs(means) > 1.96 * error) < 0.83


@pytest.mark.slow
@pytest.mark.parametrize("n_seeds", [1, 5])
def test_the_paper_s_gain_is_told_as_often_as_lesson_10_says(n_seeds):
    """By the interval of the course, which sees no seeds where there is one, and by the formula of
    10.3.
    """
    random, parts, gain = np.random.default_rng(7), np.array([0.0000073, 0.001135, 0.0146]), 0.0062
    scope = {"parts": parts, "mark": {"": gain}, "experiments": experiments, "stats": stats}
    (cell,) = (ast.parse(source) for source in code_cells() if "def told" in source)
    exec(ast.unparse(next(node for node in cell.body if isinstance(node, ast.FunctionDef))), scope)
    by_interval, by_formula = (
        int(scope["told"](n_seeds, drawn).rstrip("%")) / 100 for drawn in (True, False)
    )

    tables = [made_differences(random, parts, n_seeds, 671, mean=gain) for _ in range(120)]
    found = [
        paired_difference(one, np.zeros_like(one), np.arange(671), 0).excludes_zero
        for one in tables
    ]
    assert abs(np.mean(found) - by_interval) < 0.1
    error = smallest_seen(parts, n_seeds, 671) / 2.8
    assert abs(np.mean([abs(one.mean()) > 1.96 * error for one in tables]) - by_formula) < 0.1
    assert abs(by_interval - by_formula) > 0.06


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["instruments", "complete-journey"])
def test_lesson_11_reads_records_in_which_nothing_was_swept(folder, tmp_path):
    """As those of `make sweep-demo` are: what is missing is said, and the rest is shown."""
    lesson = REPOSITORY / "solutions" / "11_ablations_and_sweeps.ipynb"
    records = REPOSITORY / "experiments" / "results" / f"{folder}.parquet"
    execute(lesson, tmp_path / "executed.ipynb", results_dir=str(records), profile="smoke")
    assert "not run:" in (tmp_path / "executed.ipynb").read_text()
