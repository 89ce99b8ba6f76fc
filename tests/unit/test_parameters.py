"""What a run is asked for: mistakes refused with what is possible, and one key for one experiment."""

import json
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from letterlib.errors import LetterError
from letterlib.pipeline.parameters import ROOMS, RunParameters


def checked(**values):
    return RunParameters.checked(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"alhpa": 0.1}, ["alhpa", 'did you mean "alpha"', "tokenizer, generator, alpha"]),
        (
            {"tokenizer": "leter"},
            ["tokenizer='leter'", 'did you mean "letter"', "plain, cf, div, letter"],
        ),
        ({"generator": "tigre"}, ["generator='tigre'", 'did you mean "tiger"', "sasrec-tuned"]),
        (
            {"profile": "labtop"},
            ["profile='labtop'", 'did you mean "laptop"', "smoke, laptop, paper"],
        ),
        ({"device": "gpu"}, ["device='gpu'", "auto, cpu, cuda or cuda:NUMBER"]),
        ({"device": "cuda:first"}, ["device='cuda:first'", "cuda:NUMBER"]),
        ({"device": "cpu:1"}, ["device='cpu:1'"]),
        (
            {"options": "tiger.epochs=3"},
            ["options='tiger.epochs=3'", "write a list, [tiger.epochs=3] (with papermill -y "],
        ),
        ({"seed": -1}, ["seed=-1", "greater than or equal to 0"]),
        ({"seed": 1.5}, ["seed=1.5", "integer"]),
        ({"seed": True}, ["seed=True"]),
        ({"levels": 0}, ["levels=0", "greater than or equal to 1"]),
        ({"levels": "four"}, ["levels='four'", "integer"]),
        ({"codes": 3}, ["codes=3"]),
        ({"alpha": -0.1}, ["alpha=-0.1"]),
        ({"alpha": float("nan")}, ["alpha=nan"]),
        ({"tau": 0}, ["tau=0", "greater than 0"]),
        ({"beams": 10}, ["beams=10", "greater than or equal to 20"]),
        ({"options": "tiger.epochs=3"}, ["options='tiger.epochs=3'", "tuple"]),
        ({"options": ["tiger.epoch=3"]}, ['no option "epoch"', 'did you mean "epochs"']),
        ({"options": ["tiger.epochs=many"]}, ["tiger.epochs='many'", "integer"]),
        ({"clusters": 40, "codes": 64}, ["clusters=40", "at most 32"]),
    ],
)
def test_a_misspelt_or_impossible_value_is_one_line_that_says_what_is_possible(values, words):
    with pytest.raises(LetterError) as caught:
        checked(**values)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tokenizer": "plain", "alpha": 0.1}, ["alpha=0.1", "changes nothing", "tokenizer=plain"]),
        ({"tokenizer": "div", "alpha": 0.1}, ["alpha=0.1", "changes nothing"]),
        ({"tokenizer": "cf", "beta": 0.1}, ["beta=0.1", "changes nothing"]),
        ({"tokenizer": "cf", "clusters": 5}, ["clusters=5", "changes nothing"]),
        ({"tokenizer": "released", "levels": 3}, ["levels=3", "changes nothing"]),
        (
            {"tokenizer": "none", "generator": "sasrec-tuned", "tau": 0.8},
            ["tau=0.8", "changes nothing"],
        ),
        ({"generator": "sasrec-tuned"}, ["tokenizer='letter'", "ask for none"]),
        ({"tokenizer": "none"}, ["tokenizer='none'", "for generator=tiger"]),
        (
            {"tokenizer": "titles", "generator": "lc-rec"},
            ["tokenizer='titles'", "for generator=lc-rec"],
        ),
        ({"alpha": 0}, ["alpha=0", "tokenizer=div"]),
        ({"tokenizer": "cf", "alpha": 0.0}, ["alpha=0", "tokenizer=plain"]),
        ({"beta": 0}, ["beta=0", "tokenizer=cf"]),
        ({"options": ["sasrec.epochs=3"]}, ["sasrec.epochs=3", "changes nothing", "tiger"]),
        ({"options": ["tiger.tau=0.8"]}, ["tiger.tau=0.8", "tau=VALUE"]),
        ({"options": ["tokenizer.n_levels=3"]}, ["tokenizer.n_levels=3", "levels=VALUE"]),
        ({"options": ["seed=3"]}, ["seed=3", "seed=VALUE"]),
    ],
)
def test_what_would_change_nothing_or_has_another_name_is_refused(values, words):
    with pytest.raises(LetterError) as caught:
        checked(**values)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "tokenizer", ["plain", "cf", "div", "letter", "random", "residual-k-means", "released"]
)
@pytest.mark.parametrize("generator", ["tiger", "lc-rec"])
def test_every_combination_of_codes_and_generator_is_a_system(generator, tokenizer):
    asked = checked(generator=generator, tokenizer=tokenizer, profile="smoke")
    assert asked.label and asked.config.seed == 0
    assert set(ROOMS) < set(asked.resolved)


def test_the_parameters_reach_the_configuration():
    asked = checked(
        alpha=0.3,
        beta=0.01,
        levels=3,
        codes=64,
        clusters=5,
        tau=0.7,
        beams=50,
        seed=4,
        options=["tiger.epochs=2"],
    )
    tokenizer, tiger = asked.config.tokenizer, asked.config.tiger
    assert (tokenizer.alpha, tokenizer.beta, tokenizer.n_groups) == (0.3, 0.01, 5)
    assert (tokenizer.n_levels, tokenizer.n_codes) == (3, 64)
    assert (tiger.tau, tiger.beam, tiger.epochs, asked.config.seed) == (0.7, 50, 2, 4)
    assert asked.system == "letter-tiger" and checked(tokenizer="cf").system == "tiger-cf"
    assert checked(generator="lc-rec", tau=0.8).config.lcrec.tau == 0.8


def test_one_experiment_has_one_key_however_it_is_spelt():
    key = checked().key
    profile = checked().config
    spelt_out = dict(
        dataset="movielens",
        generator="tiger",
        tokenizer="letter",
        profile="laptop",
        seed=0,
        tau=1,
        beams=20,
        alpha=profile.tokenizer.alpha,
        beta="1e-4",
        levels=profile.tokenizer.n_levels,
        codes=256.0,
        clusters="10",
        options=[f"tiger.epochs={profile.tiger.epochs}"],
    )
    assert checked(**spelt_out).key == key
    twice = checked(options=["tiger.learning_rate=1e-3", "sasrec_32.epochs=2"])
    assert twice.key == checked(options=["sasrec_32.epochs=2", "tiger.learning_rate=0.0010"]).key
    with pytest.raises(
        LetterError, match="tiger.learning_rate is there 2 times"
    ):  # the last alone would be run
        checked(
            options=["tiger.learning_rate=0.5", "sasrec_32.epochs=2", "tiger.learning_rate=0.001"]
        )
    assert twice.resolved["options"] == ["sasrec_32.epochs=2", "tiger.learning_rate=0.001"]


def test_whatever_changes_the_result_changes_the_key():
    changes = [
        {},
        {"dataset": "complete-journey"},
        {"tokenizer": "cf"},
        {"generator": "lc-rec"},
        {"alpha": 0.3},
        {"beta": 0.3},
        {"levels": 3},
        {"codes": 64},
        {"clusters": 5},
        {"tau": 0.5},
        {"beams": 30},
        {"seed": 1},
        {"profile": "smoke"},
        {"device": "cuda"},
        {"options": ["tiger.epochs=3"]},
        {"options": ["held_out=1"]},
    ]
    assert len({checked(**one).key for one in changes}) == len(changes)


def test_the_key_is_the_same_in_another_process_and_from_one_version_to_the_next():
    """Records that are already there must be found: raise version or revision, and this key, only
    on purpose.
    """
    asked = checked(tokenizer="letter", tau=0.8, seed=3)
    code = (
        "from letterlib.pipeline.parameters import RunParameters\n"
        "print(RunParameters.checked(seed=3, tau=0.8, tokenizer='letter').key)"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == asked.key == "581371df0315d5a9"


def test_a_notebook_is_read_name_by_name_and_a_misspelt_one_is_refused():
    given = {
        "__name__": "__main__",
        "_ih": [""],
        "_i1": "x",
        "_": "",
        "In": ["", "x"],
        "Out": {},
        "json": json,
        "tokenizer": "cf",
        "seed": 2,
        "alpha": None,
        "options": [],
        "data_dir": "",
        "out_dir": "x",
        "cache_dir": "y",
    }
    asked = RunParameters.from_notebook(given)
    assert asked == checked(tokenizer="cf", seed=2)
    with pytest.raises(LetterError, match='sede.*did you mean "seed"'):
        RunParameters.from_notebook(given | {"sede": 3})
    with pytest.raises(LetterError, match="alhpa"):
        RunParameters.from_notebook(given | {"alhpa": 0.1})
    with pytest.raises(LetterError, match="cache_dir=2024: .*-r cache_dir 2024"):
        RunParameters.from_notebook(given | {"cache_dir": 2024})


def test_a_mistake_is_one_line_in_a_notebook_and_an_ordinary_traceback_in_python():
    ask = "from letterlib.pipeline.parameters import RunParameters\n"
    ask += "def asked(): return RunParameters.checked(seed='x')\nasked()"
    plain = "def broken(): raise ValueError('a bug')\nbroken()"
    cells = [nbformat.v4.new_code_cell(source) for source in (ask, plain)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", allow_errors=True, timeout=300).execute()
    said, bug = (cell.outputs[-1] for cell in notebook.cells)
    assert said.ename == "LetterError" and said.traceback == [f"LetterError: {said.evalue}"]
    assert (
        said.evalue.startswith("seed='x': input should be a valid integer")
        and "\n" not in said.evalue
    )
    assert len("\n".join(bug.traceback).splitlines()) > 5, (
        "of a bug the traceback is the useful part"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
    assert "in asked" in done.stderr and "ValidationError" not in done.stderr
    assert done.stderr.splitlines()[-1] == f"letterlib.errors.LetterError: {said.evalue}"


def test_a_data_set_that_is_nowhere_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LetterError, match="movilens.*movielens"):
        RunParameters.from_notebook({"dataset": "movilens"})
    assert (
        RunParameters.from_notebook({"dataset": "mine", "data_dir": str(tmp_path)}).dataset
        == "mine"
    )
    (tmp_path / "data" / "mine").mkdir(parents=True)
    assert RunParameters.from_notebook({"dataset": "mine"}).dataset == "mine"


@pytest.mark.parametrize(
    "values",
    [
        {"tokenizer": "random", "options": ["tokenizer.epochs=9"]},
        {"tokenizer": "plain", "options": ["sasrec_32.epochs=9"]},
    ],
    ids=["what is not trained", "a loss that is left out"],
)
def test_a_grid_and_the_command_line_agree_on_what_changes_nothing(values):
    with pytest.raises(LetterError, match="changes nothing with"):
        RunParameters.checked(**values)


def test_a_value_of_another_kind_under_a_parameter_s_name_is_not_passed_over():
    with pytest.raises(LetterError, match="options="):
        RunParameters.from_notebook({"profile": "smoke", "options": {"tiger.epochs": 3}})
