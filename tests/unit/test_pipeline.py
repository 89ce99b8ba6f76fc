"""The pipeline: stages in any order, what their keys depend on, tables and the report."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_data import write_made_data

from letterlib.data.dataset import sampled_rows
from letterlib.errors import LetterError, Unavailable
from letterlib.evaluation.metrics import GROUPS
from letterlib.generators.tiger import Tiger
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import VARIANTS, make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.report import run_all
from letterlib.pipeline.results import compare, read_runs
from letterlib.pipeline.runs import finished_run
from letterlib.pipeline.systems import settings_read
from letterlib.pipeline.table import (
    describe_tokenizer,
    floor_sentence,
    folder_name,
    gather,
    heading,
    lists_frame,
    with_floors,
    with_seeds,
    write_table,
)

SMALL = ["tokenizer.n_codes=16", "tokenizer.n_groups=4"]
LANGUAGE_MODEL = ["language_model_cases=7", "lcrec.lists=8", "lcrec.alignment=0.2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_made_data(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def shared(made, tmp_path_factory):
    """A pipeline whose stages all tests may use."""
    return pipeline(made, tmp_path_factory.mktemp("shared"))


def pipeline(made, cache, *overrides, say=lambda line: None):
    config = make_config("made", "smoke", overrides=[*SMALL, *overrides])
    return Pipeline(config, data_dir=made, cache=Cache(cache, say=say))


def test_stages_can_be_asked_for_in_any_order(made, tmp_path):
    one, other = pipeline(made, tmp_path / "one"), pipeline(made, tmp_path / "other")
    last_first = one.evaluation("letter-tiger")
    other.semantic()
    other.collaborative()
    other.tokenizer("letter")
    other.system("letter-tiger")
    assert np.array_equal(last_first.ranks, other.evaluation("letter-tiger").ranks)


def test_a_finished_stage_is_read_without_those_it_was_made_from(made, tmp_path):
    ranks, lines = pipeline(made, tmp_path).evaluation("letter-tiger").ranks, []
    again = pipeline(made, tmp_path, say=lines.append)
    assert np.array_equal(again.evaluation("letter-tiger").ranks, ranks)
    assert len(lines) == 1 and lines[0].startswith("evaluation-letter-tiger: found")


def test_a_variant_is_letters_tokenizer_without_a_regularizer(made, shared):
    for name, changes in VARIANTS.items():
        config = shared.tokenizer(name).config
        assert (config.alpha == 0, config.beta == 0) == ("alpha" in changes, "beta" in changes)
    codes = {name: shared.identifiers(name).codes for name in VARIANTS}
    assert not np.array_equal(codes["plain"], codes["cf"])


def test_what_is_filtered_out_is_not_in_the_lists_that_are_judged(shared):
    cases = shared.split.cases("test")
    for history in ("in", "out"):
        items = shared.ranking("popularity", history=history).items
        had = any(set(row[row >= 0]) & set(cases.history(i)) for i, row in enumerate(items))
        assert had is (history == "in")


def test_beams_wide_enough_find_the_ten_best(made, tmp_path, monkeypatch):
    class Freely:
        valid = np.array([True, False, False, True])

    monkeypatch.setattr(Tiger, "recommend_unconstrained", lambda self, cases, k: Freely)
    shares = pipeline(made, tmp_path, "tiger.beam=30").decoding("tiger")
    assert shares == {"top 10": 1.0, "valid without the trie": 0.5}


def test_a_change_moves_the_keys_of_what_depends_on_it_and_no_others(made, tmp_path):
    """For every system and a change of every kind: the key of its evaluation moves exactly if
    `settings_read`, which grids and `--set` go by, says that the system reads it.
    """
    systems = ("popularity", "mf", "tiger", "tiger-cf", "letter-tiger", "tiger-random", "p5-cid")
    changes = {
        "mf.epochs": 3,
        "tiger.epochs": 3,
        "tokenizer.epochs": 4,
        "tokenizer.alpha": 0.3,
        "tokenizer.beta": 0.3,
        "tokenizer.n_codes": 20,
        "sasrec_32.epochs": 2,
        "text_tokens": 9,
        "held_out": 2,
    }

    def keys(one):
        return {name: one._evaluated(name).key for name in systems}

    usual = keys(pipeline(made, tmp_path))
    for setting, value in changes.items():
        changed = keys(pipeline(made, tmp_path, f"{setting}={value}"))
        for name in systems:
            reads = {setting, setting.partition(".")[0]} & {*settings_read(name)}
            assert (changed[name] != usual[name]) == bool(reads), (setting, name)
    other = pipeline(made, tmp_path).with_seed(1)
    same = {name for name, key in keys(other).items() if key == usual[name]}
    assert same == {"popularity"}, "what only counts is the same for all seeds"
    assert other._semantic().key == pipeline(made, tmp_path)._semantic().key


def test_models_and_files_are_known_by_their_content(made, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    keys = []
    for content in ("one", "other"):
        (model / "config.json").write_text(content)
        one = pipeline(made, tmp_path, f"encoder={model}", f"lcrec.language_model={model}")
        keys.append((one._semantic().key, one._model("lc-rec").key))
    assert keys[0][0] != keys[1][0] and keys[0][1] != keys[1][1]
    file, keys = tmp_path / "made.user.json", []
    for words in ("quiet things", "loud things"):
        preferences = {"user_explicit_preference": {"0": [words]}}
        file.write_text(json.dumps(preferences | {"user_vague_intention": {"train": {}}}))
        one = pipeline(made, tmp_path, f"lcrec.intentions={file}")
        keys.append(one._model("lc-rec").key)
    assert keys[0] != keys[1]


def test_a_language_model_answers_the_same_sample_for_every_seed(made, tmp_path):
    one = pipeline(made, tmp_path, *LANGUAGE_MODEL)
    evaluation = one.evaluation("letter-lc-rec")
    assert len(evaluation.ranks) == 7 and evaluation.identifier_ranks is not None
    assert np.array_equal(evaluation.users, one.with_seed(1).test_cases("lc-rec").users)
    run = finished_run(one, "letter-lc-rec")
    assert np.array_equal(run.cases, sampled_rows(60, 7, seed=0))
    assert np.array_equal(one.split.cases("test").users[run.cases], run.users)


def test_a_language_model_that_is_not_at_hand_stops_before_anything_is_trained(made, tmp_path):
    one = pipeline(made, tmp_path, "lcrec.language_model=no/such", *LANGUAGE_MODEL)
    for ask in (lambda: one.evaluation("lc-rec"), lambda: one.check_systems(["mf", "lc-rec"])):
        with pytest.raises(LetterError, match="no/such"):
            ask()
        assert {stage.name for stage in one.cache.finished} <= {"semantic"}


def test_released_identifiers_are_read_again_when_the_file_changes(made, tmp_path):
    with pytest.raises(Unavailable, match="index.json"):
        pipeline(made, tmp_path).identifiers("released")
    plain = pipeline(made, tmp_path)
    folder = write_made_data(tmp_path / "data")
    for name in ("plain", "random"):
        plain.identifiers(name).save(folder / "made.index.json")
        found = pipeline(folder, tmp_path).identifiers("released")
        assert np.array_equal(found.codes, plain.identifiers(name).codes)


def test_identifiers_that_share_a_vocabulary_have_it_when_they_are_found_again(made, tmp_path):
    for _ in range(2):
        assert pipeline(made, tmp_path).identifiers("titles").shared_vocabulary


def test_names_that_do_not_exist_are_refused_with_those_that_do(shared):
    for ask, fact in (
        (lambda: shared.tokenizer("both"), "plain, cf, div, letter"),
        (lambda: shared.evaluation("tigre"), 'did you mean "tiger"'),
        (lambda: shared.system("tiger-letter"), 'called "letter-tiger"'),
    ):
        with pytest.raises(LetterError, match=fact):
            ask()


def test_too_short_histories_have_no_test_cases(made, tmp_path):
    with pytest.raises(LetterError, match="no user has 101 items"):
        pipeline(made, tmp_path, "held_out=50").evaluation("popularity")


# Tables


def test_the_table_goes_on_without_what_fails_and_says_so(made, tmp_path, monkeypatch, capsys):
    lines, fit = [], Tiger.fit

    def fails(self, split):
        if self.identifiers.shared_vocabulary:
            raise LetterError("too hard")
        return fit(self, split)

    monkeypatch.setattr(Tiger, "fit", fails)
    one = pipeline(made, tmp_path, say=lines.append)
    systems = ["mf", "tiger-released", "p5-tid", "tiger", "letter-tiger"]
    with pytest.raises(LetterError, match="1 of 5 systems failed.*p5-tid"):
        write_table(one, 2, systems)
    text = "\n".join([*lines, capsys.readouterr().out])
    for words in ("too hard", "index.json", "Markov floor", "LETTER-TIGER against", "perplexity"):
        assert words in text
    (folder,) = (tmp_path / "tables").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "table.md",
        "table.csv",
        "table.tex",
        "systems.png",
        "runs.parquet",
    }
    runs = read_runs(folder / "runs.parquet")
    assert [(r.system, r.seed) for r in runs if r.system == "mf"] == [("mf", 0), ("mf", 1)]
    table = pd.read_csv(folder / "table.csv").set_index("system")
    mf = [run for run in runs if run.system == "mf"]
    assert table.loc["MF (BPR)", "N@10"] == round(np.mean([r.values("N@10").mean() for r in mf]), 4)


def test_gathered_runs_have_the_floors_in_front_and_both_sides_apart(shared):
    runs = with_floors([shared], gather([shared], ["mf"])[0])
    assert [run.system for run in runs] == ["popularity", "markov", "mf"]
    assert runs[2].metrics("in") == shared.evaluation("mf").metrics()
    assert runs[2].metrics("out") == shared.evaluation("mf", history="out").metrics()
    groups = shared.evaluation("mf").groups
    assert [GROUPS[group] for group in runs[2].groups] == groups.tolist()
    row = lists_frame(runs).set_index("system").loc["MF (BPR)"]
    metrics = runs[2].metrics("in")
    assert row["tail"] == f"{metrics['R@10 tail']:.4f}"
    assert row["cold"] == "-" and row["exposure Gini"] == f"{metrics['exposure Gini']:.4f}"
    runs[2].kinds[:] = np.arange(len(runs[2].kinds)) < 5  # or all of this small data set are seen
    row = lists_frame(runs[2:]).set_index("system").loc["MF (BPR)"]
    assert row["seen"] == f"{runs[2].values()[:5].mean():.4f}"
    assert row["unseen"] == f"{runs[2].values()[5:].mean():.4f}"


def test_systems_below_the_markov_floor_are_named(shared):
    """By N@10 with the history out, paired over users."""
    runs = with_floors([shared], gather([shared], ["mf", "lightgcn"])[0])
    floor, mf, gcn = runs[1], runs[2], runs[3]

    def with_ranks(run, rank):
        ranks = np.full(len(run.cases), rank)
        ranks[:20] += 1  # or an interval would have no width
        return replace(run, ranks={"in": run.ranks["in"], "out": ranks})

    floor = replace(floor, ranks={"in": floor.ranks["in"], "out": np.full(len(floor.cases), 3)})
    assert floor_sentence([floor, with_ranks(mf, 0), with_ranks(gcn, 1)]).startswith("Every")
    text = floor_sentence([floor, with_ranks(mf, 9), replace(gcn, ranks=floor.ranks)])
    assert text.startswith("Below") and "MF (BPR)" in text.split(".")[1]
    assert "No significant difference: LightGCN" in text
    assert compare([with_ranks(mf, 9)], [floor], "N@10", "out").difference.high < 0
    assert floor_sentence([floor]) == ""


def test_headings_and_folders_say_what_was_run(made, tmp_path, shared):
    one = pipeline(made, tmp_path, "mf.epochs=3")
    runs, _ = gather([one], ["popularity"])
    for fact in ("mf.epochs=3", "seed 0", "last 1", "leave-one-out", "60 cases of 60 users"):
        assert fact in heading(one, runs) or fact == "last 1"
    names = {
        folder_name(pipe, seeds, systems, ["mf"])
        for pipe, seeds, systems in (
            (one, "seed0", ["mf"]),
            (shared, "seed0", ["mf"]),
            (one, "seed1", ["mf"]),
            (one, "seed0", ["tiger"]),
        )
    }
    assert len(names) == 4
    with pytest.raises(LetterError, match="2147483647"):
        with_seeds(one.with_seed(2**31 - 1), 2)


def test_a_tokenizer_is_described_with_what_its_repair_costs(shared):
    tokenizer = shared.tokenizer("letter")
    text, repair = describe_tokenizer(tokenizer), tokenizer.report.collisions
    for fact in (
        "30 items",
        f"{repair.colliding_before:,} before",
        f"{repair.colliding_after:,} after",
    ):
        assert fact in text


def test_the_report_is_one_file_that_needs_no_other(shared, made, tmp_path):
    lines = []
    one = Pipeline(shared.config, data_dir=made, cache=Cache(shared.cache.folder, lines.append))
    systems = ["popularity", "markov", "lightgcn", "sasrec-tuned", "tiger", "letter-tiger"]
    run_all(one, systems)
    (page,) = (shared.cache.folder / "reports").glob("*/report.html")
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/svg+xml;base64") >= 6 and "http" not in text
    links = {*re.findall('href="#([^"]+)"', text)}
    assert links and links == {*re.findall('id="([^"]+)"', text)}
    ranking, cases = one.ranking("letter-tiger"), one.test_cases("letter-tiger")
    found = (ranking.items[:, :10] == cases.targets[:, None]).any(axis=1)
    first = cases.targets[int(found.argmax())]
    assert f"The next item was “{one.dataset.titles()[first]}”" in text
    for fact in ("LETTER-TIGER", "Markov floor", "tokenizer-letter", digest_of(one), "torch"):
        assert fact in text
    assert {run.system for run in read_runs(page.with_name("runs.parquet"))} == set(systems)


def digest_of(one):
    return one._tokenizer("letter").key


def test_a_report_on_data_without_texts_stops_before_anything_is_trained(made, tmp_path):
    one = pipeline(made, tmp_path)
    one.dataset = replace(one.dataset, items=pd.DataFrame(index=range(30)))
    with pytest.raises(LetterError, match="text"):
        run_all(one, ["popularity", "tiger"])
    assert not one.cache.finished
