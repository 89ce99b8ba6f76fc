"""The table of systems: several seeds, the last case of each user, paired sentences, the Markov
floor.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_data import made, write_made_data

from letterlib.data.dataset import Dataset, Sequences, sampled_rows
from letterlib.data.released import write_released
from letterlib.errors import LetterError
from letterlib.evaluation.evaluate import Evaluation
from letterlib.pipeline import cache, report
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import SEEDS, make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.runs import _stage_in_brief
from letterlib.pipeline.sentences import comparisons, floor_sentence
from letterlib.pipeline.systems import FLOORS
from letterlib.pipeline.table import ranks_frame, seeds_table, with_seeds
from letterlib.pipeline.tables import (
    SystemResult,
    describe_data,
    describe_tokenizer,
    folder_name,
    gather,
    heading,
    lists_frame,
    provenance,
    results_frame,
    with_floors,
)
from letterlib.store import read_json
from letterlib.tokenizer.collisions import CollisionReport
from letterlib.tokenizer.identifiers import Identifiers

USERS = np.repeat(np.arange(200), 5)
LISTS = {"validity": 1.0, "coverage": 0.5, "exposure Gini": 0.5}


def evaluation(hit_rate, seed, last=None):
    random = np.random.default_rng(seed)
    ranks = np.where(random.random(len(USERS)) < hit_rate, 0, -1)
    if last is not None:
        ranks[4::5] = last
    return Evaluation(ranks, USERS, np.full(len(USERS), "head"), LISTS)


def result(name, hit_rate, seeds=(0,), last=None, out=None):
    """out: the hit rate with the history filtered out; the same lists when not said."""
    runs = [evaluation(hit_rate, seed, last) for seed in seeds]
    outside = runs if out is None else [evaluation(out, 50 + seed) for seed in seeds]
    return SystemResult(name, runs, outside, 1.0)


def test_a_tokenizer_is_described_with_what_its_repair_costs_and_whether_many_still_share():
    def described(after: int, moved: int) -> str:
        collisions = CollisionReport(30, after, 0.3, 0.1, moved, 2, 0.25, 1.5)
        found = SimpleNamespace(
            collisions=collisions, dead_codes=(1, 0), reconstruction_error=(0.5, 0.25)
        )
        names = Identifiers(np.stack(np.divmod(np.arange(40), 8), axis=1), (8, 8))
        return describe_tokenizer(SimpleNamespace(report=found, identifiers=lambda: names))

    said = described(after=3, moved=28)
    assert "30 before the repair, 3 after it (many: lists tell these apart by chance)" in said
    assert "28 items another last code, at a squared distance of 1.50 instead of 0.25" in said
    assert (
        "40 items, 2 levels of 8 codes" in said
        and "0.500, 0.250" in said
        and "item 0 is <a_0> <b_0>" in said
    )
    assert "(many" not in described(after=2, moved=28) and "another last code" not in described(
        after=0, moved=0
    )


def test_an_encoder_that_cannot_be_loaded_is_found_before_anything_is_trained(
    tmp_path, monkeypatch
):
    """Its turn would come after an hour of systems that need no text."""

    def none(*_, **__):
        raise LetterError("no such encoder")

    monkeypatch.setattr("letterlib.pipeline.pipeline.embed_texts", none)
    config = make_config(
        "made", "smoke", overrides=["tokenizer.n_codes=16", "tokenizer.n_groups=4"]
    )
    one = Pipeline(
        config,
        data_dir=write_made_data(tmp_path / "data"),
        cache=Cache(tmp_path / "runs", lambda _: None),
    )
    with pytest.raises(LetterError, match="no such encoder"):
        gather([one], ["popularity", "mf", "tiger"])
    assert not one.cache.finished
    assert set(gather([one], ["popularity", "mf"])[0]) == {"popularity", "mf"}


def few(tmp_path, *overrides):
    """(pipeline, what it says) on 20 users of three items each: training has one of them, so none
    comes next.
    """
    lists = [np.random.default_rng(u).permutation(20)[:3] for u in range(20)]
    items = pd.DataFrame({"title": (titles := [f"thing {i}" for i in range(20)]), "text": titles})
    write_released(
        Dataset("few", Sequences.from_lists(lists), items, "few", [str(u) for u in range(20)]),
        tmp_path,
    )
    config, said = make_config("few", "smoke", overrides=["tokenizer.n_codes=16", *overrides]), []
    return Pipeline(config, data_dir=tmp_path, cache=Cache(tmp_path / "runs", said.append)), said


def test_a_system_that_cannot_be_trained_does_not_take_the_table_of_the_others_with_it(tmp_path):
    one, said = few(tmp_path)
    with pytest.raises(
        LetterError, match=r"^2 of 4 systems failed, why is said above: Caser; TIGER \(RQ-VAE\)$"
    ):
        seeds_table(one, 2, ["caser", "mf", "tiger", "tiger-released"])
    rows, reason = (
        said[-2],
        "Caser: no user has two items in training, so there is no next item to learn.",
    )
    assert (
        all(f"\n{label} " in rows for label in ("Popularity", "Markov floor", "MF (BPR)"))
        and "\nCaser " not in rows
    )
    assert f"Without Caser. {reason}" in rows and "Without TIGER, the authors' codes." in rows
    (written,) = tmp_path.glob("runs/tables/*/table.md")
    text = written.read_text()
    assert (
        reason in text
        and "Item text" not in text
        and re.search("(?m)^Data: .*[.] Computed on cpu", text)
    )
    assert said[-1] == f"Written to {written.parent}"
    for names in (["caser"], ["caser", "tiger-released"]):
        with pytest.raises(LetterError, match=f"^{reason[:-1]}$"):
            seeds_table(one, 1, names)


def test_a_table_that_takes_the_place_of_one_of_other_data_says_so(tmp_path):
    one, said = few(tmp_path / "a")
    seeds_table(one, 1, ["mf"])
    seeds_table(one, 1, ["mf"])
    assert not [line for line in said if "other data" in line]
    dataset = one.dataset
    write_released(
        replace(dataset, sequences=Sequences.from_lists(list(dataset.sequences)[::-1])),
        tmp_path / "b",
    )
    other = Pipeline(one.config, data_dir=tmp_path / "b", cache=one.cache)
    seeds_table(other, 1, ["mf"])
    assert said[-2].endswith("held the table of other data of this name, which is replaced")


def test_a_table_says_where_its_numbers_were_computed_and_not_where_they_were_found(
    tmp_path, monkeypatch
):
    """And names the reader of texts where a system reads them."""
    one, said = few(tmp_path)
    assert "Item text is read by minilm." in provenance(one, ["mf", "tiger"])
    monkeypatch.setattr(cache, "device_in_words", lambda device: "cuda: H100")
    seeds_table(one, 1, ["mf"])
    monkeypatch.undo()
    again = Pipeline(one.config, data_dir=tmp_path, cache=Cache(tmp_path / "runs", said.append))
    seeds_table(again, 1, ["mf"])
    (written,) = tmp_path.glob("runs/tables/*/table.md")
    text, kept = written.read_text(), read_json(written.with_name("table.json"))
    assert (
        "Computed on cuda: H100.\n" in text
        and kept["device"] == "cuda: H100"
        and "Item text" not in text
    )


def test_in_a_cache_that_may_only_be_read_the_table_is_said_and_the_error_names_the_option(
    tmp_path, monkeypatch
):
    def refuse(*_):
        raise LetterError("cannot write here")

    one, said = few(tmp_path)
    for module in ("table", "report"):
        monkeypatch.setattr(f"letterlib.pipeline.{module}.write_text", refuse)
    for name in ("analyse_tokenizers", "render", "results_json"):
        monkeypatch.setattr(report, name, lambda *_: {})
    for make in (
        lambda: seeds_table(one, 1, ["mf"]),
        lambda: report.run_all(one, ["mf", "markov"]),
    ):
        with pytest.raises(LetterError, match=r"^cannot write here \(--cache-dir names another"):
            make()
        assert "\nMF (BPR) " in said[-1]


def test_memory_of_a_gpu_is_told_by_stage_where_there_is_one():
    def stage(name, **more):
        return cache.Artefact(
            name,
            "key",
            None,
            {"seconds": 1.0, "peak_memory_mb": 1200, "device": "d", "threads": 2} | more,
            False,
        )

    on_cpu, on_gpu = stage("a"), stage("b", peak_gpu_memory_mb=30_000)
    pipeline = SimpleNamespace(cache=SimpleNamespace(finished=[on_cpu]))
    columns = ["seconds", "peak memory, MiB", "from cache", "folder"]
    assert list(report.stages_frame(pipeline)) == columns
    pipeline.cache.finished.append(on_gpu)
    frame = report.stages_frame(pipeline)
    assert frame["of a GPU, MiB"].tolist() == ["0", "30,000"] and {*columns} < {*frame}
    assert _stage_in_brief(on_gpu)["peak_gpu_memory_mb"] == 30_000
    assert "peak_gpu_memory_mb" not in _stage_in_brief(on_cpu)


@pytest.mark.parametrize(
    "there", ['{"dataset": {"fingerprint": "other"}}', "{}", "[]", '{"dat', None]
)
def test_a_report_of_other_data_is_replaced_with_a_word_and_a_damaged_one_without(
    tmp_path, monkeypatch, there
):
    one, said = few(tmp_path)
    for name in ("analyse_tokenizers", "render"):
        monkeypatch.setattr(report, name, lambda *_: "")
    for _ in range(2):
        report.run_all(one, ["mf", "markov"])
    assert not any("report of other data" in line for line in said)
    written = Path(said[-1].removeprefix("Report: ")).with_name("results.json")
    assert json.loads(written.read_text())["dataset"]["fingerprint"] == one.dataset.fingerprint
    written.unlink() if there is None else written.write_text(there)
    report.run_all(one, ["mf", "markov"])
    assert any("report of other data" in line for line in said) is (
        there is not None and "other" in there
    )


@pytest.mark.parametrize("override", ["lcrec.language_model=no/such", "tokenizer.n_codes=64"])
def test_what_would_end_a_system_of_the_table_in_its_turn_is_found_first(tmp_path, override):
    one, _ = few(tmp_path, override)
    with pytest.raises(LetterError, match="no/such|64 codes"):
        seeds_table(one, 1, ["mf", "lc-rec"])
    assert not one.cache.finished


def test_a_table_s_seeds_end_where_seeds_do(tmp_path):
    one, _ = few(tmp_path)
    one = one.with_seed(SEEDS - 2)
    assert [each.config.seed for each in with_seeds(one, 2)] == [SEEDS - 2, SEEDS - 1]
    with pytest.raises(
        LetterError, match=f"3 seeds from {SEEDS - 2} on: the last one is {SEEDS - 1}"
    ):
        with_seeds(one, 3)


def test_the_last_case_of_a_user_is_the_leave_one_out_figure():
    assert result("sasrec-tuned", 0.1, last=0).last_case_recall() == 1.0
    assert result("sasrec-tuned", 0.9, last=-1).last_case_recall() == 0.0


def test_the_frame_means_over_seeds_and_holds_the_interval():
    one = result("sasrec-tuned", 0.3, seeds=(0, 1, 2))
    row = results_frame({"sasrec-tuned": one}).loc["SASRec (tuned)"]
    mean = np.mean([run.metrics()["R@10"] for run in one.history_in])
    assert row["R@10 [95%]"].startswith(f"{mean:.4f} [") and row["R@5"] == f"{mean:.4f}"


def test_whom_the_lists_find_is_written_beside_the_table(tmp_path):
    one, _ = few(tmp_path)
    seeds_table(one, 2, ["mf"])
    (written,) = tmp_path.glob("runs/tables/*/table.md")
    systems = read_json(written.with_name("table.json"))["systems"]
    rows = pd.read_csv(written.with_name("table.csv"), index_col=0, dtype=str)
    first, second = systems["mf"]["history in"]
    for column, metric in (("R@10, tail", "R@10 tail"), ("exposure Gini", "exposure Gini")):
        expected = f"{(first[metric] + second[metric]) / 2:.4f}"
        assert rows.loc["MF (BPR)", column] == expected
        assert re.search(rf"(?m)^.*MF \(BPR\).*{expected}", written.read_text())
    assert rows.loc["MF (BPR)", "R@10 of identifiers"] == "-", "it names no items"
    assert written.with_name("table.tex").read_text().count("\\label{tab:few-smoke") == 2


def test_recall_by_group_means_over_seeds_and_is_a_dash_where_a_group_has_no_case():
    seeds = [{"R@10 head": 0.1, "exposure Gini": 0.5}, {"R@10 head": 0.2, "exposure Gini": 0.7}]
    row = lists_frame({"letter-tiger": seeds}).loc["LETTER-TIGER"]
    assert (
        row["R@10, head"] == "0.1500"
        and row["exposure Gini"] == "0.6000"
        and row["R@10, unseen"] == "-"
    )


def test_every_column_of_the_table_is_what_it_says():
    ranks = np.random.default_rng(0).integers(0, 12, len(USERS))
    lists = {"validity": 0.75, "coverage": 0.5, "exposure Gini": 0.1}
    run = Evaluation(ranks, USERS, np.full(len(USERS), "head"), lists)
    row = results_frame({"mf": SystemResult("mf", [run], [run], 12.0, 1_500_000)}).iloc[0]
    for name in ("R@5", "N@5", "N@10"):
        assert row[name] == f"{run.metrics()[name]:.4f}"
    assert (row["valid"], row["coverage"], row["parameters"], row["seconds"]) == (
        "75%",
        "0.50",
        "1.50M",
        "12",
    )


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        ((0,), "one-seed difference (higher)"),
        ((0, 1, 2), "3-seed difference"),
        (range(5), "better"),
    ],
)
def test_what_may_be_said_depends_on_the_number_of_seeds(seeds, words):
    results = {
        "sasrec-tuned": result("sasrec-tuned", 0.5, seeds),
        "popularity": result("popularity", 0.1, seeds),
    }
    (sentence,) = comparisons(results)
    assert sentence.startswith("SASRec (tuned) against Popularity") and words in sentence


def test_no_difference_is_called_no_difference():
    results = {
        "sasrec-tuned": result("sasrec-tuned", 0.3, (0,)),
        "popularity": result("popularity", 0.3, (7,)),
    }
    assert "no difference seen" in comparisons(results)[0]


def test_systems_below_the_markov_floor_are_named_and_those_above_are_not():
    recalls = {"markov": 0.3, "sasrec-tuned": 0.6, "tiger": 0.1}
    results = {name: result(name, recall) for name, recall in recalls.items()}
    sentence = floor_sentence(results)
    assert "TIGER (RQ-VAE)" in sentence and "SASRec" not in sentence
    assert "Every trained system clears" in floor_sentence(
        {n: results[n] for n in ("markov", "sasrec-tuned")}
    )


def test_what_cannot_be_told_from_the_markov_floor_is_named_apart():
    """A mean that is lower by chance is neither above nor below."""
    results = {
        name: result(name, recall) for name, recall in {"markov": 0.3, "sasrec-tuned": 0.6}.items()
    }
    results["hgn"] = result("hgn", 0.3, seeds=(9,))
    said = floor_sentence(results)
    assert said.startswith("No trained system is below the Markov floor") and said.endswith(
        "Not told from it: HGN."
    )
    results["tiger"] = result("tiger", 0.1)
    assert "history out): TIGER (RQ-VAE). These" in floor_sentence(results)


def on_a_sample(name, one, n):
    rows = sampled_rows(len(USERS), n, seed=0)
    return SystemResult(
        name, *([run[rows] for run in kind] for kind in (one.history_in, one.history_out)), 1.0
    )


def test_a_language_model_is_compared_on_the_cases_that_it_answered():
    """On its 100 cases popularity hits nothing but elsewhere everything; what counts are the 100."""
    rows, elsewhere = sampled_rows(len(USERS), 100, seed=0), np.zeros(len(USERS), dtype=np.int64)
    elsewhere[rows] = -1
    runs = [Evaluation(elsewhere, USERS, np.full(len(USERS), "head"), LISTS)]
    results = {
        "popularity": SystemResult("popularity", runs, runs, 1.0),
        "letter-lc-rec": on_a_sample("letter-lc-rec", result("letter-lc-rec", 0.5), 100),
    }
    (sentence,) = comparisons(results)
    assert "LETTER-LC-Rec against Popularity, R@10 on 100 cases. history in: +0." in sentence
    assert "one-seed difference (higher)" in sentence
    assert results_frame(results)["cases"].tolist() == ["1,000", "100"]
    floor = floor_sentence(results | {"markov": results["popularity"]})
    assert "Every trained system clears" in floor, "the floor is read on the same 100 cases"


def test_on_a_sample_of_cases_nothing_is_said_of_each_user_s_last_case():
    """The last sampled case of a user is seldom the user's last case."""
    whole = result("sasrec-tuned", 0.5)
    assert whole.on_sample(100).last_case_recall() is None
    sampled = on_a_sample("lc-rec", whole, 100)
    known = SystemResult("lc-rec", sampled.history_in, sampled.history_out, 1.0, is_sample=True)
    assert results_frame({"lc-rec": known}).loc["LC-Rec (RQ-VAE)", "R@10, last case"] == "-"


def test_another_profile_seed_or_choice_of_systems_has_a_folder_of_its_own():
    def named(systems=("mf", "hgn"), **values):
        config = make_config(**values)
        pipeline = SimpleNamespace(config=config, dataset=SimpleNamespace(name=config.dataset))
        return folder_name(pipeline, "3seeds", list(systems), ("mf", "hgn"))

    assert named() == "movielens-laptop-3seeds"
    others = [
        named(overrides=["tiger.epochs=3"]),
        named(overrides=["mf.epochs=3"]),
        named(["mf"]),
        named(encoder="x"),
    ]
    assert named(["mf"], device="cpu") == named(["mf"]), (
        "the same run on another device replaces the result"
    )
    assert len({named(), *others}) == 5 and all(
        one.startswith("movielens-laptop-3seeds-") for one in others
    )


@pytest.mark.parametrize("seed", [0, 127, 2024])
def test_any_seed_has_its_ranks_written(seed):
    one = result("popularity", 0.5, seeds=(0, 1), out=0.9)
    cases = made([list(range(3 + 8))] * 200, 20).split(5).cases("test")
    pipeline = SimpleNamespace(
        split=SimpleNamespace(cases=lambda part: cases), config=SimpleNamespace(seed=seed)
    )
    frame = ranks_frame(pipeline, {"popularity": one})
    assert sorted(set(frame["seed"])) == [seed, seed + 1]
    assert frame["rank"].tolist() == np.concatenate([run.ranks for run in one.history_in]).tolist()
    assert (
        frame["rank, history out"].tolist()
        == np.concatenate([run.ranks for run in one.history_out]).tolist()
    )
    assert (
        frame["group"].tolist() == np.concatenate([run.groups for run in one.history_in]).tolist()
    )


def test_ranks_of_a_sample_stand_beside_the_cases_that_were_answered():
    cases = made([list(range(11 + user % 5)) for user in range(200)], 20).split(5).cases("test")
    pipeline = SimpleNamespace(
        split=SimpleNamespace(cases=lambda part: cases), config=SimpleNamespace(seed=0)
    )
    frame = ranks_frame(pipeline, {"lc-rec": on_a_sample("lc-rec", result("lc-rec", 0.5), 100)})
    rows = sampled_rows(1000, 100, seed=0)
    assert (
        frame["case"].tolist() == rows.tolist()
        and frame["user"].tolist() == cases.users[rows].tolist()
    )
    assert frame["history"].tolist() == cases.lengths[rows].tolist()


def test_gathered_results_keep_the_two_sides_and_the_mean_time():
    def pipeline(seconds):
        return SimpleNamespace(
            config=None,
            cache=SimpleNamespace(folder=None),
            split=SimpleNamespace(cases=lambda part: USERS),
            evaluation=lambda name, history="in": evaluation(
                0.2 if history == "in" else 0.8, seed=0
            ),
            seconds=lambda name: seconds,
            parameters=lambda name: 7,
        )

    results, _ = gather([pipeline(2.0), pipeline(4.0)], ["sasrec-tuned"])
    one = results["sasrec-tuned"]
    assert one.recall().mean() < 0.4 < one.recall(history="out").mean() and one.seconds == 3.0


def test_history_in_and_history_out_are_never_mixed_up():
    one, other = (
        result("sasrec-tuned", 0.3, (0, 1), out=0.8),
        result("popularity", 0.3, (7, 8), out=0.1),
    )
    row = results_frame({"sasrec-tuned": one}).loc["SASRec (tuned)"]
    assert row["R@10, history out"].startswith(
        f"{np.mean([run.hits(10).mean() for run in one.history_out]):.4f} ["
    )
    rows = sampled_rows(len(USERS), 100, seed=0)
    for history in ("in", "out"):
        sampled = one.on_sample(100).recall(history=history)
        assert np.array_equal(sampled, one.recall(history=history)[:, rows])
    (sentence,) = comparisons({"sasrec-tuned": one, "popularity": other})
    inside, outside = sentence.split("; history out: ")
    assert "no difference seen" in inside and outside.startswith("+0.") and "(higher)" not in inside
    floor = {
        "markov": result("markov", 0.9, out=0.1),
        "sasrec-tuned": result("sasrec-tuned", 0.2, out=0.6),
    }
    assert "Every trained system clears" in floor_sentence(floor), (
        "the floor is read with the history out"
    )


def test_without_a_trained_system_nothing_is_said_of_the_markov_floor():
    assert (
        floor_sentence({"markov": result("markov", 0.3), "popularity": result("popularity", 0.1)})
        == ""
    )


def test_the_floor_is_held_against_by_ndcg_with_the_history_out():
    """Both hit every second target; only with the history out the floor has it higher up."""

    def hitting_at(place):
        ranks = np.where(np.arange(len(USERS)) % 2, place, -1)
        return [Evaluation(ranks, USERS, np.full(len(USERS), "head"), LISTS)]

    floor = SystemResult("markov", hitting_at(9), hitting_at(0), 1.0)
    low = SystemResult("mf", hitting_at(9), hitting_at(9), 1.0)
    with pytest.raises(KeyError):  # another word for "in" is none for "out"
        floor.mean("N@10", history="In")
    said = floor_sentence({"markov": floor, "mf": low})
    assert said.startswith("Below") and "N@10 0.5000, history out" in said


def test_the_reports_figures_by_popularity_have_the_history_left_in(monkeypatch):
    seen = {}
    monkeypatch.setattr(report.plots, "system_forest", lambda *given, **options: None)
    monkeypatch.setattr(report.plots, "recall_by_popularity", seen.update)
    monkeypatch.setattr(report, "picture", lambda axes, caption: None)
    tiger = SimpleNamespace(beam=20)
    decoding = {"top 10": 1.0, "valid without the trie": 0.5}
    split, config = SimpleNamespace(cases=lambda part: range(25)), SimpleNamespace(tiger=tiger)
    pipeline = SimpleNamespace(decoding=lambda name: decoding, config=config, split=split)
    one = result("mf", 0.2, out=0.8)
    section = report.systems_section(pipeline, {"mf": one})
    assert (
        "Beams of 20 against exact scoring of the whole catalogue, on 25 test cases"
        in section.paragraphs[0]
    )
    assert list(seen.values()) == [one.history_in[0].metrics()]


def test_unseen_items_are_counted_and_no_others():
    data = made([[0, 1, 2, 3], [0, 4, 3, 2]], 5)
    assert "\n  items never seen in training: 2;" in describe_data(data, data.split())


def test_a_heading_says_what_was_changed_in_the_profile_and_which_seeds(tmp_path):
    given = dict(
        data_dir=write_made_data(tmp_path / "data"), cache=Cache(tmp_path / "runs", lambda _: None)
    )
    plain = Pipeline(make_config("made", "smoke"), **given)
    changed = Pipeline(
        make_config("made", "smoke", seed=3, overrides=["mf.epochs=1", "held_out=2"]), **given
    )
    results = {"mf": result("mf", 0.3)}
    assert heading(plain, results, 1).startswith("made, profile smoke, seed 0: ")
    assert heading(plain, results, 3).startswith("made, profile smoke, 3 seeds: ")
    assert heading(changed, results, 2).startswith(
        "made, profile smoke with held_out=2, mf.epochs=1, seeds 3-4: "
    )
    seeds_table(changed, 1, ["mf"])
    (written,) = (tmp_path / "runs").rglob("table.tex")
    assert "held\\_out=2" in written.read_text(encoding="utf-8")


def test_what_is_gathered_of_some_of_the_cases_is_a_sample():
    rows = sampled_rows(len(USERS), 100, seed=0)
    pipeline = SimpleNamespace(
        config=None,
        cache=SimpleNamespace(folder=None),
        split=SimpleNamespace(cases=lambda part: USERS),
        evaluation=lambda name, history="in": evaluation(0.2, seed=0)[
            rows if name == "hgn" else slice(None)
        ],
        seconds=lambda name: 1.0,
        parameters=lambda name: 7,
    )
    results, _ = gather([pipeline], ["mf", "hgn"])
    assert [results[name].is_sample for name in ("mf", "hgn")] == [False, True]
    assert list(with_floors([pipeline], results)) == [*FLOORS, "mf", "hgn"]


@pytest.mark.parametrize(("held_out", "words"), [(1, "leave-one-out"), (5, "last 5 items")])
def test_a_heading_says_what_was_tested_on_how_many_cases_of_how_many_users(held_out, words):
    """Of all cases, though a language model answered some of them alone."""
    config = make_config("movielens", "smoke").model_copy(update={"held_out": held_out})
    pipeline = SimpleNamespace(
        config=config, dataset=SimpleNamespace(name="movielens", n_items=3_496)
    )
    results = {name: result(name, 0.3) for name in ("lc-rec", "mf")}
    results["lc-rec"] = on_a_sample("lc-rec", results["lc-rec"], 100)
    for some in (results, dict(reversed(results.items()))):
        said = f"seed 0: test = {words}, 1,000 cases of 200 users, full ranking of 3,496 items"
        assert heading(pipeline, some, 1).endswith(said)


def test_counts_of_a_data_set_are_those_of_its_split():
    """With last-two-out the users of four items have no case, and all but their first item is asked
    for in training.
    """
    data = made([[0, 1, 2, 3], [0, 4, 3, 2], [7, 6, 5, 4, 3, 2, 1]], 9)
    assert describe_data(data, data.split(2)).splitlines()[1:] == [
        "  3 users, 9 items, 15 interactions",
        "  items per user: mean 5.0, median 4, longest 7",
        "  last 2 item(s) test, 2 before them validation, the rest training",
        "  train: 8 cases",
        "  valid: 2 cases",
        "  test: 2 cases",
        "  items never seen in training: 1; users without a case: 2",
    ]


def test_tables_of_other_seeds_stand_beside_each_other(tmp_path, monkeypatch):
    one, folders = few(tmp_path)[0], []
    monkeypatch.setattr(
        "letterlib.pipeline.table._write", lambda folder, *_: folders.append(folder.name)
    )
    for seed, n_seeds in ((0, 1), (3, 1), (3, 2)):
        seeds_table(one.with_seed(seed), n_seeds, ["popularity"])
    assert [name.split("-")[2] for name in folders] == ["1seeds", "seeds3to3", "seeds3to4"]
