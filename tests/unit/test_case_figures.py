"""The figures of docs/findings.md, drawn from runs that never were and from the committed ones."""

import re
from pathlib import Path

import pytest
from made_runs import made_run

from letterlib.pipeline.results import compare, write_runs

ROOT = Path(__file__).resolve().parents[2]

SETTINGS = """
seen_and_unseen:
  metric: R@10
  kinds: {seen: counted, unseen: not}
  reference: {name: SASRec, generator: sasrec-tuned}
  data: [{name: Made, records: made, systems: &systems [
    {name: a floor, generator: markov}, {name: ours, generator: tiger, tokenizer: letter}]}]
repetition:
  metric: N@10
  kinds: {repeat: had, new: not}
  data: [{name: Made, records: made, systems: *systems}]
"""


@pytest.fixture
def figures(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    import case_figures

    return case_figures


def texts(path: Path) -> list[str]:
    return re.findall(r"<text[^>]*>(.*?)</text>", path.read_text(encoding="utf-8"))


def test_numbers_are_those_of_the_runs(figures, tmp_path):
    sasrec = [made_run(generator="sasrec-tuned", tokenizer="none", seed=seed) for seed in (0, 1)]
    letter = [made_run(luck=1, generator="tiger", tokenizer="letter", seed=s) for s in (0, 1)]
    markov = made_run(luck=2, generator="markov", tokenizer="none")
    write_runs(tmp_path / "made.parquet", [*sasrec, *letter, markov])
    (tmp_path / "made.yaml").write_text(SETTINGS)
    figures.main(tmp_path, tmp_path / "made.yaml", tmp_path)

    written = texts(tmp_path / "seen_and_unseen.svg")
    for kind in ("seen", "unseen"):
        expected = compare(letter, sasrec, cases=kind).difference.mean
        assert f"{expected:+.4f}".replace("0.", ".") in written
    floor, reference = (figures.Row("", runs=tuple(runs)) for runs in ([markov], sasrec))
    assert figures.difference(floor, reference, "R@10", "seen").seeds == (0, 1)

    parts = figures.parts(floor, "N@10", ["repeat", "new"])
    assert sum(parts) == pytest.approx(markov.metrics()["N@10"])
    assert f"{sum(parts):.4f}".removeprefix("0") in texts(tmp_path / "repetition.svg")


def test_committed_figures_show_the_committed_records(figures, tmp_path):
    """If not, run `python experiments/case_figures.py`."""
    figures.main(tmp_path)
    for path in tmp_path.glob("*.svg"):
        committed = texts(ROOT / "docs" / "figures" / path.name)
        assert [text for text in texts(path) if "." in text] == [t for t in committed if "." in t]
