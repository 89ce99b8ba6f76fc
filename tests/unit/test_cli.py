"""The command line as a newcomer meets it: help, one-line errors with exit code 2, nothing
half-written.
"""

import errno
import inspect
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from letterlib.cli import app, main
from letterlib.errors import LetterError
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import (
    NOT_SET,
    REPOSITORY,
    RunConfig,
    check_settings,
    describe_settings,
    make_config,
)
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.profiles import PROFILES
from letterlib.pipeline.run_options import at_home
from letterlib.pipeline.systems import unread


def letterlib(*arguments, cwd=None, **environment):
    command = [sys.executable, "-c", "from letterlib.cli import main; main()", *map(str, arguments)]
    settings = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=settings)


def one_line_error(done, *words):
    assert done.returncode == 2, done.stdout + done.stderr
    line = done.stderr.strip()
    assert "\n" not in line and "Traceback" not in line, line
    for word in words:
        assert word in line, line


@pytest.fixture
def beauty(tmp_path):
    """A made data set of 40 users and 30 items in the released format, in a folder of its own."""
    folder = tmp_path / "made"
    folder.mkdir()
    random = np.random.default_rng(0)
    inter = {str(u): random.permutation(30)[: 5 + u % 7].tolist() for u in range(40)}
    inter["0"] = list(range(30))
    (folder / "Made.inter.json").write_text(json.dumps(inter))
    (folder / "Made.item.json").write_text(
        json.dumps({str(i): {"title": f"thing number {i}"} for i in range(30)})
    )
    return folder


def test_help_names_every_command_and_explains_the_profiles():
    top = letterlib("--help")
    assert top.returncode == 0
    for command in (
        "run",
        "table",
        "data",
        "settings",
        "embed",
        "tokenize",
        "train",
        "evaluate",
        "doctor",
    ):
        assert f"  {command} " in top.stdout
    for group in ((), ("results",), ("data",)):
        assert (
            "..." not in letterlib(*group, "--help").stdout.partition("Commands:")[2]
        )  # a summary that is cut off
    text = " ".join(letterlib("run", "--help").stdout.split())
    for words in ("smoke (seconds", "laptop (minutes", "interrupt it anywhere", "--set NAME=VALUE"):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--profile", "huge"], ['unknown profile "huge"', "smoke, laptop, paper"]),
        (["run", "--profle", "smoke"], ["--profle", "--profile"]),
        (["rn"], ["rn", "run"]),
        (
            ["run", "--set", "tiger.epoch=3"],
            ['no option "epoch"', 'did you mean "epochs"', "of tiger are"],
        ),
        (["run", "--set", "tigre.epochs=3"], ['no option "tigre"', 'did you mean "tiger"']),
        (["run", "--set", "tiger.epochs=many"], ["tiger.epochs='many'", "integer"]),
        (["run", "--set", "tiger.epochs"], ["name=value"]),
        (["run", "--set", "profile=paper"], ["choose it with --profile"]),
        (["run", "--set", "dataset=beauty"], ["choose it with --dataset"]),
        (["run", "--set", "seed=3", "--seed", "1"], ["choose it with --seed"]),
        (["run", "--set", "device=cpu"], ["choose it with --device"]),
        (["run", "--set", "tiger=5"], ["tiger.OPTION=VALUE", "epochs"]),
        (["data", "--set", "held_out=0"], ["held_out"]),
        (["embed", "--set", "text_tokens=2"], ["text_tokens='2'", "greater than or equal to 3"]),
        (
            ["data", "--set", "lcrec.tasks=[seqrec]"],
            ["not a list", '["seqrec"]', "in single quotes for the shell"],
        ),
        (["data", "--set", "lcrec.tasks=seqrec"], ["write a list, as [256, 128]", '["seqrec"]']),
        (["data", "--set", "sasrec.n_heads=3"], ["sasrec", "dimensions=50", "n_heads=3"]),
        (["data", "--set", "tiger.beam=10"], ["tiger.beam=10", "choose 20 or more"]),
        (["data", "--set", "sasrec_32.dimensions=64"], ["sasrec_32.dimensions=64", "32"]),
        (["data", "--set", 'lcrec.tasks=["sing"]'], ['no task "sing"', "seqrec"]),
        (["settings", "dataset"], ['no option "dataset"', "the options are held_out"]),
        (["settings", "tigre"], ['no option "tigre"', 'did you mean "tiger"']),
        (["evaluate", "popularity", "--set", "held_out=5000"], ["no user has 10001 items"]),
        (["evaluate", "popularity", "--device", "gpu"], ['device "gpu"', "cuda:NUMBER"]),
        (["evaluate", "popularity", "--device", "cuda:77"], ["cuda:77", "GPU(s)"]),
        (["evaluate", "popularity", "--cache-dir", "/dev/null/x"], ["cannot write here"]),
        (
            ["train", "mf", "--profile", "smoke", "--set", "mf.learning_rate=1e25"],
            ["diverged", "epoch"],
        ),
        (
            ["train", "letter-lc-rec", "--profile", "smoke", "--set", "lcrec.intentions=no.json"],
            ["no.json"],
        ),
        (["run", "--encoder", "./none"], ["encoder=./none: no such folder"]),
        (
            ["run", "--encoder", "~/none"],
            ["encoder=~/none: ~ is not resolved here", str(Path.home() / "none")],
        ),
        (["run", "--encoder", "~nobody-has-this-name/m"], ["~ is not resolved here"]),
        (
            ["run", "--encoder", "x/y", "--set", "encoder=minilm"],
            ["there is --encoder x/y as well"],
        ),
        (
            ["run", "--set", "bigrec.language_model=/none"],
            ["bigrec.language_model=/none: no such folder"],
        ),
        (["grid", "x.yaml", "--run", "--json"], ["--json lists and --run does"]),
        (["run", "--dataset", "beuty"], ["beuty", "movielens"]),
        (["run", "--seed", "-1"], ["seed", "-1"]),
        (
            ["table", "--seed", "2147483646", "--seeds", "3"],
            ["3 seeds from 2147483646", "2147483647", "lower --seed"],
        ),
        (
            ["evaluate", "sasrek", "--profile", "smoke"],
            ['unknown system "sasrek"', 'mean "sasrec"?', "letter-tiger"],
        ),
        (["run", "--encoder", "./"], ["holds no model", "config.json"]),
        (
            ["train", "lc-rec", "--profile", "smoke", "--set", "lcrec.language_model=no/such"],
            ["no/such", "smollm2"],
        ),
    ],
)
def test_misspelt_words_are_one_line_that_lists_what_is_possible(tmp_path, arguments, words):
    done = letterlib(*arguments, cwd=tmp_path)
    one_line_error(done, *words)
    assert list(tmp_path.rglob("*.html")) == []


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("Made.inter.json", '{"0": [1, 2, 3', ["Made.inter.json", "truncated"]),
        ("Made.inter.json", '{"0": [1, 2, 3], "7": [4, 5]}', ['user "7"', "at least 3"]),
        (
            "Made.inter.json",
            '{"0": [1, 2, 3], "7": [4, 5, 30]}',
            ['user "7"', "item 30", "Made.item.json"],
        ),
        (
            "Made.inter.json",
            '{"0": [1, 2, 3], "0": [4, 5, 6]}',
            ["Made.inter.json", '"0"', "twice"],
        ),
        (
            "Made.item.json",
            '{"0": {"title": "a"}, "0": {"title": "b"}}',
            ["Made.item.json", '"0"', "twice"],
        ),
    ],
)
def test_broken_data_is_one_line_and_leaves_nothing_behind(tmp_path, beauty, file, text, words):
    (beauty / file).write_text(text)
    done = letterlib(
        "run", "--dataset", "made", "--data-dir", beauty, "--profile", "smoke", cwd=tmp_path
    )
    one_line_error(done, *words)
    assert not list(tmp_path.rglob("stage.json"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["tokenizer.n_codes=32"], ["30 items", "tokenizer.n_codes=30"]),
        (
            ["tokenizer.n_codes=16", "tokenizer.n_groups=9"],
            ["tokenizer.n_groups=9", "at most half"],
        ),
    ],
)
def test_a_tokenizer_that_cannot_be_trained_is_refused_before_anything_is(
    tmp_path, beauty, options, words
):
    options = [word for one in options for word in ("--set", one)]
    for command in (["run"], ["tokenize"], ["train", "letter-tiger"]):
        where = ("--dataset", "made", "--data-dir", beauty, "--profile", "smoke")
        done = letterlib(*command, *where, *options, cwd=tmp_path)
        one_line_error(done, *words)
    assert not list(tmp_path.rglob("stage.json"))


def test_groups_are_asked_of_no_tokenizer_without_diversity_loss(tmp_path, beauty):
    options = (
        "--profile",
        "smoke",
        "--set",
        "tokenizer.n_codes=6",
    )  # too few for the profile's 4 groups
    done = letterlib(
        "evaluate", "tiger", "--dataset", "made", "--data-dir", beauty, *options, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    heading = "(?m)^made, profile smoke with tokenizer.n_codes=6, seed 0: test = .*\nData: "
    assert re.search(heading, done.stdout), done.stdout
    rows = [line.split("  ")[0] for line in done.stdout.splitlines()]
    assert (
        rows.index("Popularity") + 1
        == rows.index("Markov floor")
        == rows.index("TIGER (RQ-VAE)") - 1
    )
    assert re.search("(Below|clears|Not told from) ", done.stdout)


def test_a_folder_that_one_may_not_look_into_is_one_line(monkeypatch, capsys):
    def closed(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "closed/out")

    monkeypatch.setattr("letterlib.pipeline.run_results.load_results", closed)
    monkeypatch.setattr(sys, "argv", ["letterlib", "results", "show", "closed/out"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err.strip()
    assert (
        ended.value.code == 2
        and "Permission denied: 'closed/out' (choose another" in said
        and "\n" not in said
    )


def test_a_closed_output_is_no_error():
    """`letterlib ... >&-`: Python has no sys.stdout then."""
    command = (
        f"{shlex.quote(sys.executable)} -c 'from letterlib.cli import main; main()' --help >&-"
    )
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="only Linux has a device that is always full"
)
def test_a_full_disk_for_what_is_said_is_one_line():
    command = [sys.executable, "-m", "letterlib", "settings"]
    with open("/dev/full", "w") as full:
        said = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (
        said.returncode == 2
        and said.stderr.count("\n") == 1
        and "No space left on device" in said.stderr
    )


def test_an_option_that_changes_nothing_is_said(tmp_path, beauty):
    options = [f"--set={one}" for one in ("tokenizer.alpha=0.5", "tiger.epochs=1", "held_out=1")]
    options += [
        "--set=tokenizer.n_codes=16",
        "--set=tokenizer.n_groups=4",
        "--profile=smoke",
        "--dataset=made",
    ]
    done = letterlib("tokenize", "--arm", "plain", *options, "--data-dir", beauty, cwd=tmp_path)
    assert [line for line in done.stdout.splitlines() if line.startswith("note")] == [
        "note: --set tokenizer.alpha=0.5 changes nothing for plain",
        "note: --set tiger.epochs=1 changes nothing for plain",
        "note: --set tokenizer.n_groups=4 changes nothing for plain",
    ]


def test_an_encoder_that_nobody_reads_is_said_however_it_was_given(tmp_path):
    for given, note in (
        (("--encoder", "x/y"), "note: --encoder x/y changes nothing for mf"),
        (("--set", "encoder=x/y"), "note: --set encoder=x/y changes nothing for mf"),
        (("--encoder", "minilm"), None),
    ):
        done = letterlib(
            "evaluate", "mf", *given, "--profile=smoke", "--set=held_out=5000", cwd=tmp_path
        )
        assert (
            "no user has 10001 items" in done.stderr
        )  # it stops there: what is said before is what counts here
        assert [line for line in done.stdout.splitlines() if line.startswith("note")] == (
            [note] if note else []
        )
    done = letterlib(
        "evaluate", "tiger", "--encoder=x/y", "--profile=smoke", "--set=held_out=5000", cwd=tmp_path
    )
    assert "note" not in done.stdout


def test_an_option_that_none_of_several_systems_reads_is_said_once(tmp_path):
    options = [f"--set={one}" for one in ("mf.epochs=1", "tiger.epochs=1", "sasrec_tuned.epochs=1")]
    done = letterlib(
        "table",
        "--seeds=1",
        "--system=mf",
        "--system=sasrec-tuned",
        "--set=held_out=5000",
        *options,
        "--profile=smoke",
        cwd=tmp_path,
    )
    assert (
        "no user has 10001 items" in done.stderr
    )  # it stops there: what is said before is what counts here
    notes = [line for line in done.stdout.splitlines() if line.startswith("note")]
    assert notes == ["note: --set tiger.epochs=1 changes nothing for mf, sasrec-tuned"]


def test_an_unknown_tokenizer_is_answered_with_the_tokenizers_there_are(tmp_path):
    done = letterlib("tokenize", "--arm", "both", "--profile", "smoke", cwd=tmp_path)
    one_line_error(done, 'unknown tokenizer "both"', "plain, cf, div, letter")


def test_what_changes_nothing_is_known_of_every_system():
    given = [
        "tokenizer.beta=0.1",
        "tokenizer.alpha=0.1",
        "tiger.beam=30",
        "mf.epochs=1",
        "held_out=1",
    ]
    assert unread(given, "tiger-cf") == ["tokenizer.beta=0.1", "mf.epochs=1"]
    assert unread(given, "letter-tiger") == ["mf.epochs=1"] and unread(given, "mf") == given[:3]
    assert (
        unread(given, "letter") == ["tiger.beam=30", "mf.epochs=1"]
        and unread(given, "popularity") == given[:4]
    )
    given = [
        "tokenizer.epochs=9",
        "tokenizer.n_groups=4",
        "sasrec_32.epochs=9",
        "tokenizer.n_codes=16",
    ]
    assert unread(given, "tiger-random") == given[:3] and unread(given, "tiger-released") == given
    assert unread(given, "tiger") == given[1:3] and unread(given, "cf") == given[1:2]
    assert unread(given, "tiger-div") == given[2:3] and not unread(given, "letter-tiger")
    given = ["held_out=2", "encoder=minilm", "text_tokens=3", "language_model_cases=5"]
    assert unread(given, "popularity") == given[1:] and unread(given, "letter-tiger") == given[3:]
    assert unread(given, "letter-lc-rec") == []


def test_a_terminal_that_knows_ascii_alone_does_not_end_a_run(tmp_path, beauty):
    for file in beauty.iterdir():
        file.rename(beauty / file.name.replace("Made", "영화"))
    done = letterlib(
        "data", "--dataset", "영화", "--data-dir", beauty, cwd=tmp_path, PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 0, done.stderr
    assert r"\uc601\ud654" in done.stdout


def test_a_missing_file_and_a_missing_folder(tmp_path, beauty):
    (beauty / "Made.inter.json").unlink()
    one_line_error(
        letterlib("data", "--dataset", "made", "--data-dir", beauty, cwd=tmp_path), "inter.json"
    )
    one_line_error(
        letterlib("data", "--dataset", "made", "--data-dir", tmp_path / "none", cwd=tmp_path),
        "none",
    )


def test_the_whole_pipeline_runs_on_made_data_and_a_second_run_is_all_cache(tmp_path, beauty):
    run = (
        "run",
        "--dataset",
        "made",
        "--data-dir",
        beauty,
        "--profile",
        "smoke",
        "--set",
        "tokenizer.n_codes=16",
    )
    run += ("--set", "tokenizer.n_groups=4")
    first = letterlib(*run, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    report = Path(tmp_path, first.stdout.strip().splitlines()[-1].removeprefix("Report: "))
    page = report.read_text()
    for words in (
        "LETTER-TIGER",
        "Markov floor",
        "data:image/png;base64",
        "torch",
        "tokenizer-letter",
    ):
        assert words in page
    assert "http://" not in page and "https://" not in page, "the report must stand alone"
    second = letterlib(*run, cwd=tmp_path)
    assert second.returncode == 0 and "running" not in second.stdout
    table = [line for line in first.stdout.splitlines() if "TIGER" in line or "SASRec" in line]
    assert table and all(line in second.stdout.splitlines() for line in table if "[" in line)


def test_the_same_seed_gives_the_same_files_in_two_processes(tmp_path, beauty):
    """Identifiers, model weights, rankings and tokenizers are equal byte for byte, whatever made
    them first.
    """
    train = (
        "evaluate",
        "letter-tiger",
        "--dataset",
        "made",
        "--data-dir",
        beauty,
        "--profile",
        "smoke",
    )
    train += ("--set", "tokenizer.n_codes=16", "--set", "tokenizer.n_groups=4")
    hashes, tables = [], []
    for place in ("one", "two", "other"):
        seed = ("--seed", "1" if place == "other" else "0")
        done = letterlib(*train, *seed, "--cache-dir", tmp_path / place, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        records = [json.loads(p.read_text()) for p in (tmp_path / place).rglob("stage.json")]
        hashes.append({r["stage"]: r["files"] for r in records})
        tables.append(
            [
                line.rsplit(maxsplit=2)[0]
                for line in done.stdout.splitlines()
                if "LETTER-TIGER" in line
            ]
        )
    assert {"tokenizer-letter", "letter-tiger", "sasrec-32", "evaluation-letter-tiger"} <= hashes[
        0
    ].keys()
    assert hashes[0] == hashes[1] and tables[0] == tables[1]
    assert hashes[0]["letter-tiger"] != hashes[2]["letter-tiger"]


def test_every_profile_is_valid_and_overrides_change_only_what_they_name():
    for profile in PROFILES:
        plain = make_config(profile=profile)
        changed = make_config(profile=profile, overrides=["tiger.epochs=3", "tokenizer.alpha=0"])
        assert changed.tiger.epochs == 3 and changed.tokenizer.alpha == 0
        assert (
            changed.model_copy(update={"tiger": plain.tiger, "tokenizer": plain.tokenizer}) == plain
        )
    with pytest.raises(LetterError, match="unknown profile"):
        make_config(profile="Laptop")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_list_of_settings_gives_the_profile_back_when_each_line_is_set(profile):
    config = make_config(profile=profile)
    lines = describe_settings(config).splitlines()
    settings = [line.split("  ")[0] for line in lines if "=" in line.split(" ")[0]]
    assert {re.split("[.=]", one)[0] for one in settings} == {*RunConfig.model_fields} - {*NOT_SET}
    assert make_config(profile=profile, overrides=settings) == config
    changed = describe_settings(
        make_config(profile=profile, overrides=["tiger.epochs=77"]), ["tiger"]
    ).splitlines()
    assert any(re.fullmatch("tiger.epochs=77  +.+", line) for line in changed)
    assert len(changed) == 3 + len(type(config.tiger).model_fields)


def test_every_setting_says_what_it_is():
    assert all(
        field.description for name, field in RunConfig.model_fields.items() if name not in NOT_SET
    )
    named = [
        line for line in describe_settings(make_config()).splitlines() if "=" in line.split(" ")[0]
    ]
    assert len(named) > 100 and all(re.fullmatch(r"\S+=.*  +\S.*", line) for line in named)


def functions_of(group):
    """Of every command, and of every command that has others below it."""
    yield from (one.callback for one in group.registered_commands)
    for one in group.registered_groups:
        below = one.typer_instance
        yield from [below.registered_callback.callback] if below.registered_callback else []
        yield from functions_of(below)


def test_every_path_may_begin_with_a_tilde_that_the_shell_has_left(tmp_path, monkeypatch):
    """As in --cache-dir=~/x. What reads Parquet would know it, what makes folders would not."""
    monkeypatch.setenv("HOME", str(tmp_path))
    parameters = [
        one
        for function in functions_of(app)
        for one in inspect.signature(function).parameters.values()
    ]
    paths = [one.annotation for one in parameters if "pathlib.Path" in str(one.annotation)]
    assert len(paths) > 25 and all(one.__metadata__[0].callback is at_home for one in paths)
    assert at_home(Path("~/x")) == tmp_path / "x" and at_home(None) is None
    assert at_home([Path("~/x"), Path("y/~")]) == [tmp_path / "x", Path("y/~")]


def test_a_tilde_is_no_folder_for_any_command(tmp_path, beauty):
    """Nor for what asks data_dir of the command above it, nor for a script."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    beauty.rename(home / "made")
    asked = ("--dataset=made", "--data-dir=~/made", "--profile=smoke", "--cache-dir=~/runs")
    done = letterlib("evaluate", "popularity", *asked, cwd=here, HOME=str(home))
    assert done.returncode == 0 and (home / "runs" / "evaluation-popularity").is_dir(), done.stderr
    (here / "sales.csv").write_text(
        "user,item,time\n" + "".join(f"{u},{i},{i}\n" for u in range(6) for i in range(6))
    )
    (here / "things.csv").write_text("item,title\n" + "".join(f"{i},thing {i}\n" for i in range(6)))
    tables = ("mine", "sales.csv", "things.csv")
    done = letterlib("data", "--data-dir=~/mine", "import", *tables, cwd=here, HOME=str(home))
    assert done.returncode == 0 and (home / "mine" / "mine.inter.json").is_file(), done.stderr
    script = [
        sys.executable,
        str(REPOSITORY / "experiments" / "interval_coverage.py"),
        "--drawings=1",
    ]
    subprocess.run(
        [*script, "--out=~/e.json"], cwd=here, env=os.environ | {"HOME": str(home)}, check=True
    )
    assert (home / "e.json").is_file()
    assert not list(here.glob("~*"))


def test_a_step_is_described_as_it_is_taken():
    """SASRec and BERT4Rec count the items that they predict, Caser and HGN windows."""
    said = {line.split("=")[0]: line for line in describe_settings(make_config()).splitlines()}
    for room in ("caser", "hgn"):
        assert "windows per step, at most" in said[f"{room}.batch_size"]
    for room in ("sasrec", "bert4rec"):
        assert "items predicted per step, about" in said[f"{room}.batch_size"]


def test_an_override_may_be_a_list():
    changed = make_config(overrides=["tokenizer.hidden=[64, 32]", 'lcrec.tasks=["seqrec"]'])
    assert changed.tokenizer.hidden == (64, 32) and changed.lcrec.tasks == ("seqrec",)
    with pytest.raises(
        LetterError, match=r"tokenizer\.hidden='256'.*write a list, as \[256, 128\]"
    ):
        make_config(overrides=["tokenizer.hidden=256"])
    with pytest.raises(
        LetterError, match=r"tokenizer\.hidden=\[64.*not a list.*write it as \[256, 128\]"
    ):
        make_config(overrides=["tokenizer.hidden=[64"])


def test_an_override_may_take_back_what_a_profile_limits():
    assert make_config().tiger.examples is not None
    assert make_config(overrides=["tiger.examples=none"]).tiger.examples is None
    with pytest.raises(LetterError, match="tiger.epochs=None: input should be a valid integer"):
        make_config(overrides=["tiger.epochs=none"])


def test_results_in_several_folders_are_read_together():
    folders = [
        REPOSITORY / "experiments" / "results" / name
        for name in ("instruments", "complete-journey")
    ]
    show = CliRunner().invoke(app, ["results", "show", *map(str, folders)])
    assert (
        show.exit_code == 0 and "instruments" in show.output and "complete-journey" in show.output
    )
    assert "In every row: profile=laptop" in show.output


@pytest.mark.parametrize(
    ("script", "options", "words"),
    [
        ("tau_sweep", ["--profile", "smoke"], "3 of smoke"),
        ("tokenizer_sweep", ["--seeds", "4"], "4 of laptop"),
        ("generation_bias", ["--profile", "smoke"], "3 of smoke"),
    ],
)
def test_a_sweep_does_not_replace_another_profile_s_results_or_those_of_more_seeds(
    script, options, words, tmp_path
):
    experiments, out = REPOSITORY / "experiments", tmp_path / "out"
    shutil.copytree(experiments / "results" / f"movielens-{script.replace('_', '-')}", out)
    before = [file.read_bytes() for file in sorted(out.iterdir())]
    command = [
        sys.executable,
        experiments / f"{script}.py",
        "--out",
        out,
        "--cache-dir",
        tmp_path,
        *options,
    ]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "of profile laptop, which" in done.stderr and words in done.stderr
    assert [file.read_bytes() for file in sorted(out.iterdir())] == before


def test_who_gains_is_a_command():
    folder = REPOSITORY / "experiments" / "results" / "movielens-ablation"
    sides = ["--where", "tau=1", "--first", "tokenizer=letter", "--second", "tokenizer=plain"]
    done = CliRunner().invoke(app, ["results", "compare", str(folder), *sides, "--targets", "tail"])
    assert (
        done.exit_code == 0
        and "tail targets: 0.0154 against 0.0032, difference +0.0122" in done.output
    )


def test_released_identifiers_are_found_by_whatever_name_and_read_again_when_they_change(
    tmp_path, beauty
):
    """The folder's one data set may be called anything; its identifiers are part of what a cached
    result is of.
    """

    def write(code_of):
        index = {
            str(i): [f"<{letter}_{code_of(i, n)}>" for n, letter in enumerate("abcd")]
            for i in range(30)
        }
        (beauty / "Made.index.json").write_text(json.dumps(index))

    def first_identifier():
        pipeline = Pipeline(
            make_config("mine", "smoke"), data_dir=beauty, cache=Cache(tmp_path / "cache")
        )
        return pipeline.identifiers("released").codes[1].tolist()

    write(lambda i, n: i if n == 0 else 0)
    assert first_identifier() == [1, 0, 0, 0]
    write(lambda i, n: i + 7 if n == 1 else 0)
    assert first_identifier() == [0, 8, 0, 0]


def test_a_model_of_a_folder_is_another_model_when_its_files_are_others(tmp_path):
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")

    def key():
        pipeline = Pipeline(
            make_config("movielens", "smoke", encoder=str(folder)), cache=Cache(tmp_path / "cache")
        )
        pipeline._stage = lambda name, version, options, inputs, work, seed: SimpleNamespace(
            inputs=inputs, metrics={}
        )
        return pipeline._semantic().inputs

    (folder / "weights").write_text("1")
    first = key()
    (folder / "weights").write_text("2")
    assert key() != first


def test_a_table_goes_on_without_what_the_data_lacks_and_says_so_when_nothing_is_left(
    tmp_path, beauty
):
    (beauty / "Made.item.json").unlink()
    asked = ("--dataset", "made", "--data-dir", beauty, "--profile", "smoke", "--seeds", 1)
    done = letterlib("table", "--system", "popularity", "--system", "p5-tid", *asked, cwd=tmp_path)
    assert (
        done.returncode == 0 and "Without P5-TID" in done.stdout and "Popularity" in done.stdout
    ), done.stderr
    assert "Markov floor" in done.stdout, "the floors stand in every table"
    one_line_error(
        letterlib("table", "--system", "tiger-released", *asked, cwd=tmp_path), "no identifiers"
    )


def test_what_cannot_be_meant_together_and_what_does_nothing_are_said(tmp_path):
    asked = ("--profile", "smoke")
    one_line_error(
        letterlib("table", "--system", "mf", "--language-models", *asked, cwd=tmp_path),
        "--language-models",
    )
    done = letterlib("train", "popularity", *asked, cwd=tmp_path)
    assert done.returncode == 0 and "nothing to train" in done.stdout


@pytest.mark.parametrize(("weight", "arms"), [("alpha", "plain or div"), ("beta", "plain or cf")])
def test_an_ablation_does_not_run_under_letter_s_name(weight, arms, tmp_path):
    done = letterlib("run", f"--set=tokenizer.{weight}=0", "--profile", "smoke", cwd=tmp_path)
    one_line_error(done, f"tokenizer.{weight}=0: that is another tokenizer; choose {arms} by name")


def test_a_job_array_s_number_is_no_process_of_ours(tmp_path):
    done = letterlib("train", "mf", "--profile", "smoke", cwd=tmp_path, RANK="1")
    assert done.returncode == 0 and (tmp_path / "runs" / "mf").is_dir() and "mf: " in done.stdout, (
        done.stderr
    )


@pytest.mark.parametrize(
    "sent", ["SIGINT", "SIGTERM", "SIGHUP"]
)  # Ctrl-C, a batch system, a closed terminal
def test_an_interrupted_command_says_how_to_go_on(sent, tmp_path):
    """And it ends, though a library may have left a thread that waits for ever."""
    waiting = "import threading; threading.Thread(target=threading.Event().wait).start()"
    command = [
        sys.executable,
        "-c",
        f"{waiting}; from letterlib.cli import main; main()",
        "train",
        "bert4rec",
    ]
    quiet = os.environ | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    # Whoever runs the tests in the background has these switched off, and a child inherits that.
    usual = signal.default_int_handler if sent == "SIGINT" else signal.SIG_DFL
    heeding = lambda: signal.signal(getattr(signal, sent), usual)  # noqa: E731
    process = subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=quiet, preexec_fn=heeding
    )
    partial = tmp_path / "runs" / "bert4rec"
    deadline = time.monotonic() + 120
    while not list(partial.glob("*.partial")):
        assert process.poll() is None and time.monotonic() < deadline, "no training was begun"
        time.sleep(0.1)
    process.send_signal(getattr(signal, sent))
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130 and "goes on from what is finished" in said, said


def test_results_of_other_settings_are_refused_and_an_option_that_is_newer_than_the_file_is_not(
    tmp_path,
):
    """What the scripts of experiments/ ask of a file before they call its run done."""
    file, asked = tmp_path / "seed0.json", make_config().lcrec
    check_settings(file, asked)  # not there
    older = {
        name: value
        for name, value in asked.model_dump(mode="json").items()
        if name != "weight_decay"
    }
    file.write_text(json.dumps({"config": older}))
    check_settings(file, asked)
    with pytest.raises(
        LetterError, match=rf"seed0.json: done with epochs={asked.epochs}, .*choose another --out"
    ):
        check_settings(file, asked.model_copy(update={"epochs": asked.epochs + 1}))
