"""experiments/reproduce.py on two runs of profile smoke, published as a data set has them today."""

import importlib
import json
from dataclasses import replace

import pytest
import typer

from letterlib.data import load_dataset
from letterlib.pipeline.config import REPOSITORY
from letterlib.pipeline.results import write_runs
from letterlib.pipeline.runs import RunParameters, do_run

CLAIMS = [
    {"file": "page", "text": ".1", "from": "of seed | small: popularity profile=smoke | N@10"},
    {"file": "page", "text": ".1", "from": "mean | small: mf profile=smoke"},
    {"file": "page", "text": ".1", "from": "mean | small: markov profile=smoke"},
    {"file": "page", "text": ".1", "reason": "quoted"},
]


@pytest.fixture
def reproduce(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY / "experiments")
    module = importlib.import_module("reproduce")
    yield module
    module.figures.read_from(module.RESULTS)


def test_older_order_is_that_of_the_first_runs(reproduce, tmp_path):
    with reproduce.older_order():
        older = load_dataset("movielens", cache_dir=tmp_path / "older").fingerprint
    today = load_dataset("movielens", cache_dir=tmp_path / "today").fingerprint
    assert older in reproduce.FINGERPRINTS and today not in reproduce.FINGERPRINTS


def test_runs_done_again_are_compared_with_the_published(reproduce, tmp_path, capsys):
    results, out = tmp_path / "results", tmp_path / "out"
    results.mkdir()
    runs = [
        do_run(
            RunParameters.checked(generator=name, tokenizer="none", profile="smoke"),
            out_dir=tmp_path / "first",
            cache_dir=tmp_path,
        )
        for name in ("popularity", "mf")
    ]
    write_runs(results / "small.parquet", runs)
    (tmp_path / "claims.json").write_text(json.dumps(CLAIMS))
    where = {"out": out, "results": results, "claims": tmp_path / "claims.json"}
    reproduce.main(["small"], **where)
    assert "2 with every rank as published" in capsys.readouterr().out
    table = (out / "comparison.md").read_text()
    assert table.count("| identical") == 2 and "markov" not in table

    # The published runs were better: both figures are outside. Nothing is done a second time.
    files = sorted((out / "runs").rglob("*.parquet"))
    times = [file.stat().st_mtime_ns for file in files]
    better = [
        replace(run, ranks={"in": run.ranks["in"] * 0, "out": run.ranks["out"]}) for run in runs
    ]
    write_runs(results / "small.parquet", better)
    with pytest.raises(typer.Exit) as end:
        reproduce.main(["small"], **where)
    assert end.value.exit_code == 1 and len(files) == 2
    assert [file.stat().st_mtime_ns for file in files] == times
    assert (out / "comparison.md").read_text().count("| outside") == 2
