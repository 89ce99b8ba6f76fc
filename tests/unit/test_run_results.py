"""Records gathered: read, chosen, compared as the full evaluations would be, and exported."""

import copy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_data import write_made_data

from letterlib.data import load_dataset
from letterlib.data.dataset import sampled_rows
from letterlib.errors import LetterError
from letterlib.evaluation.bootstrap import interval, paired_difference
from letterlib.evaluation.evaluate import Evaluation
from letterlib.evaluation.metrics import ABSENT
from letterlib.pipeline.brief import PARAMETERS, fault, hits_in_brief, users_in_brief
from letterlib.pipeline.parameters import RunParameters
from letterlib.pipeline.run_export import export, frame, in_print, provenance
from letterlib.pipeline.run_results import (
    RunResult,
    best,
    by_setting,
    compare,
    load_results,
    mean_interval,
    select,
    summary,
    target_groups,
)
from letterlib.pipeline.tables import RESAMPLING_SEED
from letterlib.store import write_json

COMMITTED = Path(__file__).resolve().parents[2] / "experiments" / "results"
USERS = np.repeat(np.arange(40), 3)


def evaluation(seed: int, share: float, users=USERS) -> Evaluation:
    random = np.random.default_rng(seed)
    ranks = np.where(random.random(len(users)) < share, random.integers(0, 20, len(users)), ABSENT)
    return Evaluation(ranks, users, np.full(len(users), "head"), {"validity": 1.0})


def result(
    one: Evaluation, other: Evaluation | None = None, total: int = len(USERS), **values
) -> RunResult:
    """A record as `runs.run` writes it, of these evaluations with the history left in and filtered
    out.
    """
    other = one if other is None else other
    asked = RunParameters.checked(**values)
    return RunResult(
        {
            "parameters": asked.resolved,
            "system": asked.system,
            "label": asked.label,
            "dataset": {"fingerprint": asked.dataset, "held out": 5},
            "metrics": {"history in": one.metrics(), "history out": other.metrics()},
            "validation N@10": None if asked.tokenizer == "none" else float(one.hits(10).mean()),
            "stages": [
                {"name": "semantic", "seconds": 99.0},
                {"name": asked.system, "seconds": 1.0},
                {"name": f"evaluation-{asked.system}", "seconds": 0.5},
            ],
            "weights": 3,
            "seconds": 0.0,
            "peak memory MiB": 700,
            "device": "cpu",
            "commit": "abc",
            "failures": 0,
            "cases": {
                "total": total,
                "answered": len(one.users),
                "users": users_in_brief(one.users),
            },
            "hits": {
                "history in": hits_in_brief(one.ranks),
                "history out": hits_in_brief(other.ranks),
            },
        }
    )


def several(seeds, share, offset=0, **values):
    return [
        result(evaluation(offset + s, share), evaluation(50 + offset + s, share), seed=s, **values)
        for s in seeds
    ]


@pytest.mark.parametrize("history", ["in", "out"])
@pytest.mark.parametrize("metric", ["R@5", "R@10", "N@5", "N@10"])
def test_a_comparison_is_the_paired_bootstrap_of_the_full_evaluations(metric, history):
    seeds, shift = (0, 1, 2), 0 if history == "in" else 50
    letter, plain = several(seeds, 0.5), several(seeds, 0.3, 100, tokenizer="plain")
    found = compare(letter, plain, metric, history)
    kind, k = metric.split("@")

    def full(offset, share):
        ones = [evaluation(shift + offset + s, share) for s in seeds]
        return np.stack([one.hits(int(k)) if kind == "R" else one.gains(int(k)) for one in ones])

    first, second = full(0, 0.5), full(100, 0.3)
    assert found.difference == paired_difference(first, second, USERS, RESAMPLING_SEED)
    assert (found.first, found.second) == (first.mean(), second.mean())
    assert found.seeds == seeds and found.n_cases == 120 and found.n_users == 40


def test_a_comparison_for_one_group_of_targets_has_the_figures_of_the_records(tmp_path):
    records = load_results(COMMITTED / "movielens-ablation")
    letter, plain = (
        select(records, [f"tokenizer={name}", "tau=1"]) for name in ("letter", "plain")
    )
    for group in ("head", "middle", "tail"):
        found = compare(letter, plain, targets=group, cache_dir=tmp_path)
        for side, runs in ((found.first, letter), (found.second, plain)):
            kept = [run.record["metrics"]["history in"] for run in runs]
            assert side == pytest.approx(np.mean([one[f"R@10 {group}"] for one in kept]))
            assert found.n_cases == kept[0][f"cases {group}"] and f"{group} targets" in str(found)
    with pytest.raises(LetterError, match='targets "neck": choose head, middle, tail, unseen'):
        compare(letter, plain, targets="neck")
    with pytest.raises(LetterError, match="no case has a target in the group unseen"):
        compare(letter, plain, targets="unseen", cache_dir=tmp_path)
    data = letter[0].record["dataset"] | {"fingerprint": "0"}
    elsewhere = [RunResult(run.record | {"dataset": data}) for run in (*letter, *plain)]
    with pytest.raises(LetterError, match="movielens: the runs are of other data"):
        compare(
            elsewhere[: len(letter)], elsewhere[len(letter) :], targets="tail", cache_dir=tmp_path
        )


def test_the_groups_of_targets_are_read_from_the_data_below_the_root(tmp_path):
    dataset = load_dataset("made", write_made_data(tmp_path / "made"))
    record = {
        "parameters": {"dataset": "made"},
        "dataset": {"fingerprint": dataset.fingerprint, "held out": 2},
    }
    split = dataset.split(2)
    counts, targets = split.train_counts, split.cases("test").targets
    groups = target_groups(RunResult(record), tmp_path, tmp_path / "cache")
    assert len(groups) == len(targets) and set(groups) >= {"head", "middle", "tail"}
    assert counts[targets[groups == "head"]].min() >= counts[targets[groups == "middle"]].max()


def test_the_data_of_targets_are_missed_in_the_words_of_the_command(tmp_path, monkeypatch):
    """`letterlib results compare` has --data-root, and no --data-dir."""
    monkeypatch.chdir(tmp_path)
    record = {"parameters": {"dataset": "made"}, "dataset": {"fingerprint": "0", "held out": 2}}
    for root, where in ((Path("data"), "data/made"), (tmp_path, f"{tmp_path}/made")):
        with pytest.raises(LetterError, match=f"^{where}: no such folder; .*--data-root") as caught:
            target_groups(RunResult(record), root, tmp_path / "cache")
        assert "--data-dir" not in str(caught.value)


def test_only_seeds_and_cases_that_both_have_are_compared():
    rows = sampled_rows(len(USERS), 50, seed=0)
    letter = several((0, 1, 2), 0.5)
    lcrec = [result(evaluation(100 + s, 0.3)[rows], generator="lc-rec", seed=s) for s in (2, 1, 7)]
    found = compare(letter, lcrec)
    first = np.stack([evaluation(s, 0.5).hits(10)[rows] for s in (1, 2)])
    second = np.stack([evaluation(100 + s, 0.3).hits(10)[rows] for s in (1, 2)])
    assert found.seeds == (1, 2) and found.n_cases == 50
    assert found.difference == paired_difference(first, second, USERS[rows], RESAMPLING_SEED)
    back = compare(lcrec, letter)
    assert back.difference.mean == -found.difference.mean
    assert "2 seed(s), 50 cases" in str(found)


def test_what_cannot_be_compared_says_why():
    letter, plain = several((0, 1), 0.5), several((0, 1), 0.3, tokenizer="plain")
    with pytest.raises(
        LetterError, match=r"second side has 2 settings.*tokenizer \(letter, plain\)"
    ):
        compare(letter, letter + plain)
    with pytest.raises(LetterError, match="no seed in common"):
        compare(letter, several((2,), 0.3, tokenizer="plain"))
    with pytest.raises(LetterError, match="different data"):
        compare(letter, several((0, 1), 0.3, dataset="complete-journey"))
    other_split = copy.deepcopy(plain)
    for one in other_split:
        one.record["dataset"]["held out"] = 1
    with pytest.raises(LetterError, match="held out"):
        compare(letter, other_split)
    one, eight = (
        [result(evaluation(0, 0.5, USERS[:n]), total=120, tau=tau)]
        for n, tau in ((1, 0.8), (8, 0.9))
    )
    assert not np.intersect1d(one[0].cases, eight[0].cases).size
    with pytest.raises(LetterError, match="no case in common"):
        compare(one, eight)
    with pytest.raises(LetterError, match="R@20"):
        compare(letter, plain, "R@20")
    with pytest.raises(LetterError, match="sideways"):
        compare(letter, plain, history="sideways")


def test_records_are_read_from_folders_below_and_each_counts_once(tmp_path):
    for folder, one in (
        ("a", several((1,), 0.5)[0]),
        ("a/b", several((0,), 0.5)[0]),
        ("c", several((0,), 0.5)[0]),
    ):
        write_json(tmp_path / folder / f"seed-{one.seed}.json", one.record)
    (tmp_path / "a" / "seed-0.ipynb").write_text("{}")
    assert [one.seed for one in load_results(tmp_path)] == [0, 1]
    assert [one.seed for one in load_results(tmp_path / "a" / "b", tmp_path / "c")] == [0]


def test_a_record_that_is_being_written_or_whose_writer_was_killed_is_passed_over(tmp_path):
    write_json(tmp_path / "one.json", several((0,), 0.5)[0].record)
    (tmp_path / ".two.json.abcd1234").mkdir()
    (tmp_path / ".two.json.abcd1234" / "two.json").write_text('{"parameters": {')
    assert len(load_results(tmp_path)) == 1


def test_a_folder_that_is_missing_or_holds_something_else(tmp_path):
    with pytest.raises(LetterError, match="no such folder"):
        load_results(tmp_path / "none")
    with pytest.raises(
        LetterError, match="no finished run here; letterlib grid FILE --run makes some"
    ):
        load_results(tmp_path)
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(LetterError, match="x.json: not the record of a run"):
        load_results(tmp_path)


def test_other_json_files_beside_records_are_passed_over_but_no_record_is(tmp_path):
    write_json(tmp_path / "one.json", several((0,), 0.5)[0].record)
    for name in ("summary.json", "a/table.json"):
        write_json(tmp_path / name, {"rows": 3})
    assert len(load_results(tmp_path)) == 1
    write_json(tmp_path / "a" / "0123456789abcdef.json", {"rows": 3})
    with pytest.raises(LetterError, match="0123456789abcdef.json: not the record of a run"):
        load_results(tmp_path)


def test_all_committed_records_can_be_shown_at_once():
    assert len(load_results(COMMITTED)) > 250


def test_rows_stand_in_the_order_of_the_table_of_systems(tmp_path):
    for number, (generator, tokenizer) in enumerate(
        [("tiger", "letter"), ("tiger", "plain"), ("sasrec-tuned", "none"), ("markov", "none")]
    ):
        one = several((0,), 0.5, generator=generator, tokenizer=tokenizer)[0].record
        write_json(tmp_path / f"{number}.json", one)
    systems = list(summary(load_results(tmp_path))["system"])
    assert systems == ["Markov floor", "SASRec (tuned)", "TIGER (RQ-VAE)", "LETTER-TIGER"]
    figures = [name for name in summary(load_results(tmp_path)) if "@" in name]
    assert [name.split(",")[0].split(" ")[0] for name in figures] == [
        "R@5",
        "R@10",
        "N@5",
        "N@10",
        "R@10",
    ]


def test_no_runs_at_all_have_no_summary():
    with pytest.raises(LetterError, match="no runs to sum up"):
        in_print([])


def test_two_records_of_one_run_under_different_names_are_refused(tmp_path):
    """The older is from before a revision of its profile, and a mean of both would be of neither."""
    for folder, name in (("a", "old"), ("b", "new")):
        (tmp_path / folder).mkdir()
        write_json(tmp_path / folder / f"{name}.json", several((0,), 0.5)[0].record)
    with pytest.raises(LetterError, match="new.json and .*old.json: two records of the same run"):
        load_results(tmp_path)


def test_runs_are_chosen_by_parameters_however_a_number_is_spelt():
    runs = (
        several((0, 1), 0.5) + several((0,), 0.5, tau=0.8) + several((0,), 0.5, tokenizer="plain")
    )
    assert len(select(runs, ["tau=1"])) == 3 and len(select(runs, ["tau=.80", "seed=0"])) == 1
    assert len(select(runs, ["tokenizer=plain"])) == 1 and len(select(runs, [])) == 4
    options = several((0,), 0.5, options=["tiger.epochs=3"])
    assert select(runs + options, ["options=tiger.epochs=3"]) == options
    with pytest.raises(LetterError, match='no finished run has "tau=0.9"; tau is 0.8 or 1 here'):
        select(runs, ["tau=0.9"])
    with pytest.raises(LetterError, match='no finished run has "tau=high"'):
        select(runs, ["tau=high"])
    a_system = "system is no parameter, but generator and tokenizer are, as in generator=tiger and tokenizer=letter"
    for wrong, words in (
        ("tau", "write it as parameter=value"),
        ("tua=1", "tua is no parameter"),
        ("system=tiger", a_system),
    ):
        with pytest.raises(LetterError, match=f'^"{wrong}": {words}; the parameters are dataset, '):
            select(runs, [wrong])


def test_runs_of_one_setting_stand_by_seed_as_numbers(tmp_path):
    for seed in (10, 2, 0):
        one = result(evaluation(seed, 0.5), seed=seed)
        write_json(tmp_path / f"{RunParameters(**one.parameters).key}.json", one.record)
    assert [one.seed for one in load_results(tmp_path)] == [0, 2, 10]


def test_a_setting_is_everything_but_the_seed():
    runs = several((0, 1), 0.5) + several((0, 2), 0.5, tau=0.8)
    assert [[one.seed for one in group] for group in by_setting(runs)] == [[0, 1], [0, 2]]
    found = mean_interval(several((0, 1), 0.5), "N@10")
    values = np.stack([evaluation(s, 0.5).gains(10) for s in (0, 1)])
    assert found == interval(values, USERS, RESAMPLING_SEED)


def test_the_summary_names_only_what_tells_settings_apart():
    table = summary(several((0, 1), 0.5) + several((0,), 0.5, tau=0.8))
    assert table["tau"].tolist() == ["1", "0.8"] and table["seeds"].tolist() == [2, 1]
    assert "alpha" not in table and "seed" not in table
    expected = np.mean([evaluation(s, 0.5).hits(10).mean() for s in (0, 1)])
    assert table["R@10 [95%]"][0].startswith(f"{expected:.4f} [")


def test_the_summarys_columns_are_means_over_seeds_of_the_side_they_name():
    runs = several((0, 1), 0.5)
    runs[1].record["stages"][1]["seconds"] = 4.0
    (row,) = summary(runs).to_dict("records")
    for name in ("R@5", "N@5", "N@10"):
        assert row[name] == f"{np.mean([one.values(name).mean() for one in runs]):.4f}"
    outside = np.mean([one.values("R@10", "out").mean() for one in runs])
    assert row["R@10, history out [95%]"].startswith(f"{outside:.4f} [") and row["seconds"] == "3"


def made_by(code, runs):
    for one in runs:
        one.record.update(
            code=code, stages=[stage | {"code": code} for stage in one.record["stages"]]
        )
    return runs


def test_runs_that_different_code_has_made_are_compared_and_it_is_said():
    letter, plain = several((0, 1), 0.5), several((0, 1), 0.3, tokenizer="plain")
    said = "Not all of these runs and their stages are known to be by the same code"
    assert said not in compare(letter, plain).origins + in_print(letter + plain), (
        "no record says anything"
    )
    made_by("a", letter)
    assert said in compare(letter, plain).origins and said in in_print(letter + plain), (
        "and the older do not say"
    )
    made_by("a", plain)
    assert said not in compare(letter, plain).origins + in_print(letter + plain)
    made_by("b", letter[1:])
    assert said in in_print(letter + plain) and compare(letter, plain).origins.startswith(said)
    assert said not in compare(letter, plain[:1]).origins, "seed 1 is not compared"
    plain[0].record["stages"][0]["code"] = "b"  # which was found in the cache
    assert said in compare(letter, plain[:1]).origins and said not in str(
        compare(letter, plain[:1])
    )
    assert frame([letter[0], plain[0]])["code"].tolist() == ["a", "a b"]


@pytest.mark.parametrize(
    "folder", ["beauty", "complete-journey", "movielens-ablation", "movielens-sweeps"]
)
def test_in_a_terminal_the_summary_is_narrow_and_nothing_is_lost(folder):
    runs = load_results(COMMITTED / folder)
    table, text = summary(runs), in_print(runs)
    assert (
        max(map(len, text.splitlines()))
        <= 120
        < max(map(len, table.to_string(index=False).splitlines()))
    )
    above, rows, below = (text + "\n\n").split("\n\n")[:3]
    assert len(rows.splitlines()) == 1 + len(table)
    words = " ".join(above.split())
    for name in ("seeds", "cases"):
        assert (
            (f" {name}={table[name][0]}" in words)
            == (table[name].nunique() == 1)
            == (name not in rows.split())
        )
    for name in set(table) & set(RunParameters.model_fields):
        assert (
            name in rows.split("\n")[0].split()
            or name in below.split("(letterlib results export")[0]
        )
    for options in filter(None, table["options"] if "options" in table else []):
        assert options in " ".join(below.split())
    for interval_ in (*table["R@10 [95%]"], *table["R@10, history out [95%]"]):
        assert interval_.replace("0.", ".") in rows


def test_what_tells_rows_of_one_system_apart_is_never_left_out():
    long = [
        f"tiger.{name}"
        for name in ("d_ff=64", "d_head=16", "dropout=0.2", "examples=400", "history=5")
    ]
    runs = several((0,), 0.5, tau=0.8) + several((0,), 0.5, tau=0.9, options=long)
    runs += several((0,), 0.5, tokenizer="plain", dataset="complete-journey")
    above, rows, below = in_print(runs).split("\n\n")
    header = rows.splitlines()[0].split()
    assert {"dataset", "tau", "options"} <= set(header) and not {
        "tokenizer",
        "alpha",
        "seeds",
    } & set(header)
    assert (
        " seeds=1 cases=120" in above
        and "(1) " + " ".join(sorted(long)) in below
        and " (1) " in rows
    )


def test_the_best_is_chosen_by_validation_over_all_seeds_and_never_by_test():
    low, high = several((0, 1), 0.2), several((0, 1), 0.9, tau=0.8)
    for one, score in zip(low + high, (0.5, 0.5, 0.9, 0.0), strict=True):
        one.record["validation N@10"] = score
    assert best(low + high) == low
    floor = several((0,), 0.9, generator="popularity", tokenizer="none")
    assert best(low + floor) == low
    with pytest.raises(LetterError, match="validated"):
        best(floor)
    with pytest.raises(LetterError, match="dataset=complete-journey or movielens"):
        best(low + several((0,), 0.9, dataset="complete-journey"))


def test_a_setting_with_one_lucky_seed_does_not_beat_the_mean_of_three():
    usual, lucky = several((0, 1, 2), 0.5), several((0,), 0.5, tau=0.8)
    for one, score in zip(usual + lucky, (0.9, 0.1, 0.1, 0.8), strict=True):
        one.record["validation N@10"] = score
    assert best(usual + lucky) == usual, "on the seed that both have"
    with pytest.raises(LetterError, match="no seed in common"):
        best(several((1,), 0.5) + several((0,), 0.5, tau=0.8))
    lucky[0].record["dataset"]["fingerprint"] = "another"
    with pytest.raises(LetterError, match="different data"):
        best(usual + lucky)


def test_runs_of_two_data_sets_under_one_name_are_not_averaged():
    runs = several((0, 1), 0.5)
    assert mean_interval(runs).mean > 0
    runs[1].record["dataset"]["fingerprint"] = "another"
    with pytest.raises(
        LetterError, match="the fingerprint is movielens .*seed 0.* and another .*seed 1"
    ):
        mean_interval(runs)
    with pytest.raises(LetterError, match="different data"):
        compare(runs, several((0, 1), 0.3, tokenizer="plain"))


def test_systems_that_were_validated_on_two_scales_are_not_chosen_between():
    """MF and LightGCN are validated with the history filtered out, which gives higher figures."""
    inside = several((0,), 0.5)
    outside = [several((0,), 0.5, generator=name, tokenizer="none") for name in ("mf", "lightgcn")]
    for runs, score in zip(outside, (0.8, 0.9), strict=True):
        runs[0].record["validation N@10"] = score
        with pytest.raises(LetterError, match="filtered out and LETTER-TIGER with it left in"):
            best(inside + runs)
    assert best(outside[0] + outside[1]) == outside[1]


def test_exports_have_a_row_a_run_or_a_row_a_setting(tmp_path):
    runs = several((0, 1), 0.5) + several((0,), 0.5, tau=0.8)
    for name in ("a.csv", "a.parquet"):
        path = export(runs, tmp_path / name)
        table = pd.read_csv(path) if name.endswith("csv") else pd.read_parquet(path)
        assert table["seed"].tolist() == [0, 1, 0] and table["tau"].tolist() == [1.0, 1.0, 0.8]
        assert table["R@10, history in"][0] == runs[0].record["metrics"]["history in"]["R@10"]
    rows, caption = export(runs, tmp_path / "a.md").read_text().split("\n\n")
    assert len(rows.splitlines()) == 4 and "tabular" in export(runs, tmp_path / "a.tex").read_text()
    assert caption.startswith("In every row: dataset=movielens tokenizer=letter ")
    with pytest.raises(LetterError, match="a.xlsx: cannot write .xlsx"):
        export(runs, tmp_path / "a.xlsx")
    assert not (tmp_path / "a.xlsx").exists()


def test_a_comparison_of_sides_from_different_devices_says_so():
    letter, plain = several((0, 1), 0.5), several((0, 1), 0.3, tokenizer="plain")
    assert "computed" not in compare(letter, plain).origins
    for one in letter:
        one.record["device"] = "cuda: H100"
    assert (
        "The first was computed on cuda: H100, the second on cpu:" in compare(letter, plain).origins
    )
    letter[0].record["device"] = plain[0].record["device"] = "cpu; cuda: H100"  # from a cache
    assert (
        "first was computed on cpu; cuda: H100, the second on cpu; cuda: H100"
        not in compare(letter, plain).origins
    )
    assert provenance(letter + plain) == ["Computed on cpu; cuda: H100."]
    del plain[0].record["device"], plain[1].record["device"]
    assert "computed" not in compare(letter, plain).origins, "nothing is known of it"


@pytest.mark.parametrize(
    "change",
    [lambda one: one["dataset"].pop("held out"), lambda one: one.update(config=None)],
    ids=["split", "config"],
)
def test_an_unsigned_record_that_lacks_what_is_read_later_is_refused(change):
    record = several((0,), 0.5)[0].record
    assert fault(record, PARAMETERS) == ""  # the first records have no digest
    change(record)
    assert "damaged record" in fault(record, PARAMETERS)


def test_a_table_of_runs_says_where_its_figures_come_from(tmp_path):
    runs = several((0, 1), 0.5)
    assert provenance(runs) == ["Computed on cpu."]  # what a record does not tell is not said
    for one, device in zip(runs, ("cuda: H100", "cpu: 2 threads"), strict=True):
        one.record["dataset"]["source"] = "100% of 5_core"
        one.record["config"], one.record["device"] = {"encoder": "minilm"}, device
    where = (
        "Data: 100% of 5_core. Item text is read by minilm. Computed on cpu: 2 threads; cuda: H100."
    )
    assert (
        where == " ".join(provenance(runs)) and where in export(runs, tmp_path / "a.md").read_text()
    )
    assert where in " ".join(in_print(runs).split())
    assert r"100\% of 5\_core. Item text" in export(runs, tmp_path / "a.tex").read_text()


@pytest.mark.parametrize("ending", ["csv", "parquet", "md", "tex"])
def test_an_export_never_replaces_a_file(tmp_path, ending):
    mine = tmp_path / f"mine.{ending}"
    mine.write_text("notes of mine")
    with pytest.raises(
        LetterError, match=f"mine.{ending}: another file is there already; move it away"
    ):
        export(several((0,), 0.5), mine)
    assert mine.read_text() == "notes of mine"


def test_an_exported_row_has_both_sides_the_options_and_the_cases_answered():
    rows = sampled_rows(len(USERS), 50, seed=0)
    inside, outside = (evaluation(seed, 0.5)[rows] for seed in (1, 2))
    row = frame([result(inside, outside, options=["tiger.epochs=3"])]).iloc[0]
    assert row["options"] == "tiger.epochs=3" and row["cases"] == 50
    assert row["R@10, history in"] == inside.metrics()["R@10"]
    assert row["R@10, history out"] == outside.metrics()["R@10"] != inside.metrics()["R@10"]


def test_one_run_with_two_results_is_refused_and_a_copy_counts_once(tmp_path):
    """Two machines may round differently; whose figures a table showed would depend on the names of
    folders.
    """
    for folder, rate in (("a", 0.5), ("b", 0.2)):
        write_json(tmp_path / folder / "run.json", several((0,), rate)[0].record)
    write_json(tmp_path / "c" / "run.json", several((0,), 0.5)[0].record)
    assert len(load_results(tmp_path / "a", tmp_path / "c")) == 1
    with pytest.raises(
        LetterError, match="b/run.json and .*a/run.json: the same run with two results"
    ):
        load_results(tmp_path / "a", tmp_path / "b")


def test_two_records_of_one_name_with_other_data_are_refused(tmp_path):
    for folder, fingerprint in (("a", "movielens"), ("b", "another")):
        (one,) = several((0,), 0.5)
        one.record["dataset"]["fingerprint"] = fingerprint
        write_json(tmp_path / folder / "run.json", one.record)
    with pytest.raises(LetterError, match="two results"):
        load_results(tmp_path)


def test_a_condition_may_be_written_as_the_error_lists_it():
    runs = several((0,), 0.5, tau=1.0) + several((0,), 0.5, tau=0.8, options=["tiger.epochs=3"])
    with pytest.raises(LetterError, match='options is "" or tiger.epochs=3 here'):
        select(runs, ["options=tiger.epochs=4"])
    assert select(runs, ["options="]) == select(runs, ["options=[]"]) == runs[:1]


def test_rows_of_other_data_under_one_name_are_told_apart():
    one = several((0, 1), 0.3)
    other = several((0, 1), 0.4, tokenizer="cf")
    assert "data" not in summary([*one, *other])
    for run in other:
        run.record["dataset"]["fingerprint"] = "another one"
    assert summary([*one, *other])["data"].nunique() == 2


def test_a_folder_may_be_named_from_inside_or_be_hidden(tmp_path, monkeypatch):
    written = result(evaluation(0, 0.3))
    for folder in (tmp_path / ".hidden", tmp_path / ".hidden" / "below"):
        folder.mkdir()
    write_json(tmp_path / ".hidden" / "a.json", written.record)
    monkeypatch.chdir(tmp_path / ".hidden" / "below")
    assert len(load_results("..")) == len(load_results(tmp_path / ".hidden")) == 1


def test_an_exported_row_says_what_a_run_cost_and_where_it_was_made():
    one = several((4,), 0.5)[0]
    row = frame([one]).iloc[0]
    kept = (
        "label",
        "seed",
        "weights",
        "peak memory MiB",
        "commit",
        "failures",
        "machine",
        "data",
        "seconds",
    )
    assert [row[name] for name in kept] == [
        "LETTER-TIGER",
        4,
        3,
        700,
        "abc",
        0,
        "cpu",
        "movielens",
        1.5,
    ]
    assert row["validation N@10"] == one.record["validation N@10"]
