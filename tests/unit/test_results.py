"""Finished runs: read, chosen, summed up and compared."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from made_runs import made_run

from letterlib.errors import LetterError
from letterlib.evaluation.bootstrap import interval, paired_difference
from letterlib.evaluation.metrics import GROUPS
from letterlib.pipeline.config import REPOSITORY
from letterlib.pipeline.report import render_results
from letterlib.pipeline.results import (
    RESAMPLING_SEED,
    as_json,
    as_text,
    best,
    by_setting,
    compare,
    export,
    last_case_recall,
    load_results,
    mean_interval,
    metrics_in_latex,
    read_runs,
    select,
    summary,
    write_runs,
)

COMMITTED = REPOSITORY / "experiments" / "results"


def runs(luck=0, seeds=3, **values):
    return [made_run(luck=luck, seed=seed, **values) for seed in range(seeds)]


PLAIN, LETTER = runs(tokenizer="plain"), runs(luck=1, tokenizer="letter")


def test_metrics_are_those_of_the_ranks():
    run = made_run()
    run.ranks["in"][:4] = 0, 9, 10, -1
    assert run.values("R@10")[:4].tolist() == [1, 1, 0, 0]
    assert run.values("N@10")[:4] == pytest.approx([1, 1 / np.log2(11), 0, 0])
    assert run.values("MRR@20")[:4] == pytest.approx([1, 1 / 10, 1 / 11, 0])
    for metric in ("R@21", "R@0", "P@5", "R@x"):
        with pytest.raises(LetterError, match="1 to 20"):
            run.values(metric)
    with pytest.raises(LetterError, match='"in".*"out"'):
        run.values(history="left")


def test_a_comparison_is_the_paired_bootstrap_over_users_and_seeds():
    for history in ("in", "out"):
        found = compare(LETTER, PLAIN, "N@10", history)
        left, right = (np.stack([r.values("N@10", history) for r in s]) for s in (LETTER, PLAIN))
        users = PLAIN[0].users
        assert found.difference == paired_difference(left, right, users, RESAMPLING_SEED)
        assert (found.first, found.second) == (left.mean(), right.mean())
        assert (found.seeds, found.n_cases, found.n_users) == ((0, 1, 2), 60, 12)


def test_only_seeds_cases_and_targets_that_are_asked_for_are_compared():
    sample = np.arange(0, 60, 2)
    other = [made_run(seed=seed, cases=sample, luck=2, tokenizer="cf") for seed in (2, 1, 7)]
    found = compare(PLAIN, other, "R@5")
    assert found.seeds == (1, 2) and found.n_cases == 30
    expected = [PLAIN[seed].values("R@5")[sample].mean() for seed in (1, 2)]
    assert found.first == pytest.approx(np.mean(expected))
    middle = PLAIN[0].groups == GROUPS.index("middle")
    found = compare(PLAIN, LETTER, targets="middle")
    assert found.n_cases == middle.sum()
    assert found.first == pytest.approx(np.mean([run.values()[middle].mean() for run in PLAIN]))


@pytest.mark.parametrize(
    ("first", "second", "options", "fact"),
    [
        (PLAIN, LETTER + PLAIN, {}, "second side has 2 settings"),
        (PLAIN, [made_run(seed=9)], {}, "no seed in common"),
        (PLAIN, runs(fingerprint="x"), {}, "fingerprint"),
        (PLAIN, LETTER, {"targets": "top"}, "head, middle, tail, cold"),
        (PLAIN, LETTER, {"targets": "cold"}, "no case with cold"),
    ],
)
def test_what_cannot_be_compared_is_refused(first, second, options, fact):
    with pytest.raises(LetterError, match=fact):
        compare(first, second, **options)


def test_runs_are_chosen_by_settings_however_a_number_is_spelt():
    every = [*PLAIN, *LETTER, *runs(luck=3, tau=0.8, options=["tiger.epochs=3", "held_out=1"])]
    assert select(every, ["tokenizer=plain"]) == PLAIN
    assert select(every, ["tau=0.80"]) == select(every, ["tau=.8"]) == every[6:]
    assert select(every, ["options=held_out=1 tiger.epochs=3"]) == every[6:]
    assert select(every, ["clusters=-"]) == PLAIN
    for condition, fact in (
        ("tau=7", "tau is 0.8 or 1"),
        ("tokeniser=plain", "tokenizer"),
        ("plain", "setting=value"),
    ):
        with pytest.raises(LetterError, match=fact):
            select(every, [condition])


def test_a_setting_is_everything_but_the_seed_and_the_content_of_the_data():
    other = runs(luck=4, fingerprint="x", tokenizer="plain")
    assert by_setting([*PLAIN, *LETTER, *other]) == [PLAIN, LETTER, other]
    table = summary([*PLAIN, *other], brief=True)
    assert table["data"].tolist() == ["data", "x"] and len(table) == 2


def test_the_summary_has_means_over_seeds_and_tells_settings_apart():
    table = summary([*PLAIN, *LETTER, *runs(luck=3, tau=0.8)])
    assert table["system"].tolist() == ["TIGER (RQ-VAE)", "LETTER-TIGER", "LETTER-TIGER"]
    assert table["tau"].tolist() == ["1", "1", "0.8"]
    assert not {"tokenizer", "alpha", "clusters"} & set(table), "the system says them already"
    values = np.stack([run.values("R@10", "out") for run in PLAIN])
    expected = interval(values, PLAIN[0].users, RESAMPLING_SEED)
    assert table["R@10, history out"][0] == f"{expected:.4f}"
    assert mean_interval(PLAIN, "R@10", "out") == expected
    assert table["N@5"][1] == f"{np.mean([run.values('N@5').mean() for run in LETTER]):.4f}"
    assert table["seconds"][0] == "5" and table["cases"][0] == "60"
    with pytest.raises(LetterError, match="no runs"):
        summary([])
    text = as_text([*PLAIN, *LETTER])
    assert "profile=laptop" in text and "tau=1" in text and "made" in text


def test_the_last_case_of_each_user_is_the_leave_one_out_figure():
    last = [run.values()[4::5].mean() for run in PLAIN]
    assert last_case_recall(PLAIN) == pytest.approx(np.mean(last))
    assert last_case_recall([made_run(cases=range(0, 60, 2))]) is None


def test_the_best_is_chosen_by_validation_on_common_seeds_and_never_by_test():
    low = [made_run(seed=seed, validation=0.1, tau=0.8) for seed in range(3)]
    high = [made_run(seed=seed, validation=0.2) for seed in range(2)]
    lucky = [made_run(seed=seed, validation=v, tau=0.7) for seed, v in ((0, 0.15), (5, 0.9))]
    assert best([*low, *high, *lucky]) == high
    for others, fact in (
        ([made_run(seed=7, tau=0.6)], "no seed in common"),
        (runs(fingerprint="x", tau=0.6), "fingerprint"),
        (runs(generator="mf", tokenizer="none"), "two scales"),
    ):
        with pytest.raises(LetterError, match=fact):
            best([*low, *others])
    with pytest.raises(LetterError, match="validated"):
        best([made_run(validation=None)])


def test_runs_come_back_from_their_file_as_they_were(tmp_path):
    sample = made_run(cases=range(0, 60, 3), luck=5)
    path = tmp_path / "below" / "runs.parquet"
    write_runs(path, [*PLAIN, sample])
    for run, back in zip([*PLAIN, sample], read_runs(path), strict=True):
        assert back.record == run.record
        for name in ("cases", "users", "groups"):
            assert np.array_equal(getattr(back, name), getattr(run, name))
        for history in ("in", "out"):
            assert np.array_equal(back.ranks[history], run.ranks[history])
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")
    assert len(load_results(tmp_path)) == len(load_results(tmp_path, path)) == 4


def test_a_file_that_was_changed_or_contradicts_another_is_refused(tmp_path):
    path = tmp_path / "runs.parquet"
    write_runs(path, PLAIN)
    table = pd.read_parquet(path)
    table.at[1, "rank_in"] = np.roll(table.at[1, "rank_in"], 1)
    table.to_parquet(tmp_path / "changed.parquet")
    with pytest.raises(LetterError, match="changed.parquet: run 1"):
        read_runs(tmp_path / "changed.parquet")
    write_runs(tmp_path / "changed.parquet", runs(luck=9, tokenizer="plain"))
    with pytest.raises(LetterError, match="two results of one run"):
        load_results(tmp_path)
    for name in ("rank_in", "record", "hash"):
        (tmp_path / "other").mkdir(exist_ok=True)
        table.assign(**{name: range(len(table))}).to_parquet(tmp_path / "other" / "runs.parquet")
        with pytest.raises(LetterError, match="runs.parquet: not a file of runs"):
            load_results(tmp_path / "other")
    (tmp_path / "other" / "runs.parquet").write_bytes(path.read_bytes()[:-9])
    with pytest.raises(LetterError, match="runs.parquet: damaged"):
        load_results(tmp_path / "other")
    with pytest.raises(LetterError, match="no finished run"):
        load_results(COMMITTED / "movielens-tau-sweep")
    with pytest.raises(LetterError, match="nowhere"):
        load_results(tmp_path / "nowhere")


def test_exports_have_a_row_a_run_or_a_row_a_setting(tmp_path):
    every = [*PLAIN, *LETTER]
    assert len(read_runs(export(every, tmp_path / "all.parquet"))) == 6
    rows = pd.read_csv(export(every, tmp_path / "all.csv"))
    assert len(rows) == 6 and rows["R@10, out"][4] == LETTER[1].values("R@10", "out").mean()
    assert export(every, tmp_path / "t.md").read_text().count("\n| ") == 2
    assert "LETTER-TIGER & " in export(every, tmp_path / "t.tex").read_text()
    with pytest.raises(LetterError, match="there already"):
        export(every, tmp_path / "all.csv")
    with pytest.raises(LetterError, match=".parquet"):
        export(every, tmp_path / "all.xlsx")


def test_a_latex_table_has_the_best_in_bold_and_marks_only_what_differs():
    better = [made_run(n=400, tokenizer="letter", seed=seed) for seed in (0, 1)]
    for run in better:
        run.ranks["in"][:] = 3  # R@5 is 1, MRR@4 is 1/4
    worse = [made_run(n=400, tokenizer="plain", seed=seed) for seed in (0, 1)]
    equal = [made_run(n=400, tokenizer="plain", tau=0.5, seed=seed) for seed in (0, 1)]
    for run, other in zip(equal, worse, strict=True):
        run.ranks["in"][:] = other.ranks["in"]
    runs, mean = [*better, *worse, *equal], np.mean([run.values("MRR@4") for run in worse])
    table = metrics_in_latex(runs, ["R@5", "MRR@4"], against="tokenizer=letter")
    rows = {row.split(" & ")[0]: row for row in table.splitlines() if row.endswith(r"\\")}
    bold = re.findall(r"\\textbf\{([^{}]+)", table)
    assert mean < 0.25 and bold == ["1.0000", ".2500"]
    assert rows["LETTER-TIGER"].count("^*") == 0
    assert all(row.count("^*") == 2 for name, row in rows.items() if name.startswith("TIGER"))
    same = metrics_in_latex([*worse, *equal], ["R@5"])
    assert "^*" not in same
    with pytest.raises(LetterError, match="one setting"):
        metrics_in_latex(runs, ["R@5"], against="tokenizer=plain")


def test_json_has_what_the_table_has():
    runs = [*PLAIN, *LETTER]
    rows = {row["system"]: row for row in json.loads(as_json(runs, ["MRR@20"]))}
    found = rows["letter-tiger"]["metrics"]["history out"]["MRR@20"]
    expected = mean_interval(LETTER, "MRR@20", "out")
    assert (found["mean"], found["low"], found["high"]) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert f"{mean_interval(LETTER, 'MRR@20'):.4f}" in as_text(runs, ["MRR@20"])


def test_committed_runs_give_the_published_comparison():
    """docs/findings.md: LETTER-TIGER against TIGER, five seeds; and in the tail."""
    found = load_results(COMMITTED / "movielens-ablation.parquet")
    letter, plain = select(found, ["tokenizer=letter", "tau=1"]), select(found, ["tokenizer=plain"])
    assert f"{compare(letter, plain).difference:+.4f}" == "+0.0063 [-0.0004, +0.0132]"
    tail = compare(letter, plain, targets="tail")
    assert f"{tail.difference:+.4f}" == "+0.0122 [+0.0070, +0.0183]" and tail.verdict == "better"


def test_a_page_of_finished_runs_has_a_table_and_a_figure_for_each_data_set():
    page = render_results([*PLAIN, *LETTER], "a grid")
    assert page.count("<table") == page.count("data:image/svg+xml") == 1
    assert f"{mean_interval(LETTER):.4f}" in page and "http" not in page
