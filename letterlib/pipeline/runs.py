"""One run, done once and kept as one file: what lesson 10, a grid and a cluster's job call.

    run = do_run(RunParameters.checked(tokenizer="letter", tau=0.8), cache_dir=Path("runs"))
    run.metrics("in")["R@10"]

`<out_dir>/<key>.parquet` appears, whole, when the run has ended well. A run that is killed goes on
from its finished stages and checkpoints; one that fails leaves a line in `<key>.failures.jsonl`.
"""

import functools
import json
import os
import shlex
import subprocess
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from letterlib.data import PACKAGED, identifiers_file, load_dataset
from letterlib.data.dataset import sampled_rows
from letterlib.distributed import broadcast, is_main
from letterlib.errors import LetterError, did_you_mean
from letterlib.evaluation.metrics import GROUPS
from letterlib.generators.language_model import SMOLLM2, TINY
from letterlib.hardware import peak_memory_mb
from letterlib.pipeline.cache import Cache, code, versions
from letterlib.pipeline.config import (
    OWN_TOKENIZERS,
    REPOSITORY,
    SHORT_NAMES,
    VARIANTS,
    RunConfig,
    changes,
    check_weights,
    default_data_dir,
    make_config,
    section_of,
    variant_config,
)
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.register import PLUGINS, load_plugins
from letterlib.pipeline.results import Run, read_runs, run_files, write_runs
from letterlib.pipeline.systems import (
    GENERATORS,
    SYSTEMS,
    find_system,
    generator_of,
    identifiers_for,
    settings_read,
    system_name,
    unread,
)
from letterlib.pipeline.tokenizer_analysis import identifier_figures
from letterlib.store import content_of_folder, digest, expanded, locked, sha256_of, write_text
from letterlib.text import MINILM
from letterlib.tokenizer.grouping import check_groups
from letterlib.train import resolve_device

RESULTS_VERSION = 1
"""Part of every run's key: raised when what all runs compute changes."""

FOLDERS = ("data_dir", "out_dir", "cache_dir")
"""Parameters of lesson 10 that do not change a result."""

NOTEBOOK = "notebooks/10_full_experiments.ipynb"


@dataclass(frozen=True)
class RunParameters:
    """Which run: a system and its configuration.

    `checked` makes it of a dozen words, the parameters of lesson 10 and of a grid:
    dataset, tokenizer, generator, seed, profile, device, one of SHORT_NAMES, and options, a list of
    other overrides ("tiger.epochs=20").
    """

    system: str
    config: RunConfig

    @classmethod
    def checked(
        cls,
        *,
        dataset: str = "movielens",
        tokenizer: str = "letter",
        generator: str = "tiger",
        seed: int = 0,
        profile: str = "laptop",
        device: str = "auto",
        options: Sequence[str] = (),
        **short_names: Any,
    ) -> Self:
        """Parameters that can be run. Raises LetterError for what is misspelt, impossible, or
        changes nothing: its row of a table would name what was never done.
        """
        for name in short_names:
            if name not in SHORT_NAMES:
                possible = (*cls.checked.__kwdefaults__, *SHORT_NAMES)
                what = f"{did_you_mean(name, possible)}the parameters are {', '.join(possible)}"
                raise LetterError(f"{name}: no such parameter; {what}")
        without = tuple(name for name, system in SYSTEMS.items() if not system.identifiers)
        _one_of("generator", generator, (*GENERATORS, *without))
        possible = identifiers_for(generator) if generator in GENERATORS else ("none",)
        _one_of("tokenizer", tokenizer, possible, f" with generator={generator}")
        if isinstance(options, str) or not all(isinstance(one, str) for one in options):
            raise LetterError(
                f"options={options!r}: write a list of texts (papermill: -y 'options: "
                "[tiger.epochs=3]')"
            )
        names = [option.partition("=")[0] for option in options]
        for name in {*names}:
            if names.count(name) > 1:
                raise LetterError(f"options: {name} is there twice; a list of lists makes two runs")
            for short, full_names in SHORT_NAMES.items():
                if name in full_names:
                    raise LetterError(f"options: write {name} as the parameter {short}")
        given = [f"{name}={value}" for name, value in short_names.items() if value is not None]
        system = system_name(generator, tokenizer) if generator in GENERATORS else generator
        config = make_config(dataset, profile, seed, device, overrides=[*given, *options])
        check_weights(config)
        if nothing := unread([*given, *options], system):
            what = f"tokenizer={tokenizer}, generator={generator}"
            raise LetterError(f"{nothing[0]}: changes nothing with {what}; leave it out")
        if tokenizer in VARIANTS and (own := variant_config(config, tokenizer)).beta:
            check_groups(own.n_codes, own.n_groups)
        return cls(system, config)

    @classmethod
    def of(cls, run: Run) -> Self:
        """Parameters that do a finished run again."""
        given = {name: value for name, value in run.parameters.items() if value is not None}
        without = [name for name in ("alpha", "beta") if given.get(name) == 0]  # loss of a variant
        return cls.checked(**{n: v for n, v in given.items() if n not in without})

    @classmethod
    def from_notebook(cls, variables: Mapping[str, Any]) -> Self:
        """Parameters from the variables of a notebook, `globals()`, before it defines others.

        papermill sets whatever name it is given, so a number, text or list of another name is a
        misspelt parameter.
        """
        if plugin := variables.get("plugin"):
            load_plugins(str(plugin).split(os.pathsep))
        plain = (str, int, float, list, tuple)
        given = {
            name: value
            for name, value in variables.items()
            if isinstance(value, plain)
            and not name.startswith("_")
            and name not in (*FOLDERS, "plugin", "In")
        }
        for name in FOLDERS:
            if not isinstance(folder := variables.get(name), str | Path | None):
                raise LetterError(
                    f"{name}={folder!r}: write -r {name} {folder}, which stays a text"
                )
        asked = cls.checked(**given)
        asked.check_data(variables.get("data_dir"))
        return asked

    def check_data(self, data_dir: str | Path | None = None) -> None:
        """Raise LetterError for a data set that is nowhere. Reads none."""
        if self.dataset not in PACKAGED and not data_dir and default_data_dir(self.dataset) is None:
            load_dataset(self.dataset)  # raises, and lists what there is

    @property
    def dataset(self) -> str:
        return self.config.dataset

    @property
    def profile(self) -> str:
        return self.config.profile

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def label(self) -> str:
        """What a table calls the system."""
        return find_system(self.system).label

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by its name in `results.SETTINGS`; None for one that plays no part."""
        generator, tokenizer = generator_of(self.system)
        own = self.config.model_dump(mode="json")
        read = settings_read(self.system)
        values = {"dataset": self.dataset, "tokenizer": tokenizer, "generator": generator}
        for short, full_names in SHORT_NAMES.items():
            name = next((n for n in full_names if {n, n.partition(".")[0]} & {*read}), None)
            section, _, option = (name or "").partition(".")
            plays = name and (section != "tokenizer" or tokenizer in VARIANTS)
            values[short] = own[section][option] if plays else None
        if tokenizer in VARIANTS and tokenizer not in OWN_TOKENIZERS:
            values |= {weight: values[weight] or 0.0 for weight in ("alpha", "beta")}
        shorts = {full for full_names in SHORT_NAMES.values() for full in full_names}
        others = [one for one in changes(self.config) if one.partition("=")[0] not in shorts]
        options = [one for one in others if one not in unread(others, self.system)]
        given = {"seed": self.seed, "profile": self.profile, "device": self.config.device}
        return values | given | {"options": options}

    @cached_property
    def key(self) -> str:
        """16 hex digits that name the run, the same wherever they are computed."""
        return digest({"version": RESULTS_VERSION} | self.settings)

    def asked(self) -> dict[str, Any]:
        """What differs from the defaults of `checked`, for a command line."""
        usual = RunParameters(self.system, make_config(self.dataset, self.profile)).settings
        defaults = {"dataset": "movielens", "tokenizer": "letter", "generator": "tiger", "seed": 0}
        defaults |= {"profile": "laptop", "device": "auto", "options": []}
        return {n: v for n, v in self.settings.items() if v != defaults.get(n, usual[n])}

    def __str__(self) -> str:
        return f"{self.label}, {self.dataset}, {self.profile}, seed {self.seed}"


def _one_of(name: str, value: Any, possible: Sequence[str], where: str = "") -> None:
    if value not in possible:
        guess = did_you_mean(str(value), possible)
        raise LetterError(f"{name}={value!r}: {guess}choose one of {', '.join(possible)}{where}")


# One run


def do_run(
    parameters: RunParameters,
    *,
    data_dir: Path | None = None,
    out_dir: Path = Path("runs/results"),
    cache_dir: Path = Path("runs"),
    say: Callable[[str], None] = print,
) -> Run:
    """Find a finished run, or do it and keep it.

    data_dir: folder of a released data set; data/<dataset> if not given.
    out_dir: where finished runs are kept. cache_dir: where stages are kept; runs that share it
        compute once what they have in common.
    Of two processes at one run the second waits, and finds the result of the first.
    """
    data_dir = expanded(data_dir) if data_dir else default_data_dir(parameters.dataset)
    path = run_path(parameters, out_dir)
    resolve_device(parameters.config.device)  # processes that train together meet here
    say = say if is_main() else lambda line: None
    found = broadcast(lambda: finished(parameters, out_dir))
    with nullcontext() if found or not is_main() else locked(path, say):
        # Another process may have done it while this one waited.
        found = found or broadcast(lambda: finished(parameters, out_dir))
        if found is not None:
            check_content(found, parameters, data_dir, cache_dir)
            say(f"{parameters}: found {path}")
            return found
        parameters.check_data(data_dir)
        try:
            pipeline = Pipeline(parameters.config, data_dir=data_dir, cache=Cache(cache_dir, say))
            run = finished_run(pipeline, parameters.system, full=True)
            run.record["failures"] = len(failures(parameters, out_dir))
            broadcast(lambda: write_runs(path, [run]))
        except Exception as error:
            if is_main():
                _keep_failure(parameters, out_dir, error)
            raise
        say(f"{parameters}: written to {path}")
        return run


def finished_run(pipeline: Pipeline, system: str, *, full: bool = False) -> Run:
    """Train and evaluate a system, or find it in the cache, and sum it up.

    full: measure the identifiers as well, which may need the collaborative embeddings.
    """
    started, parameters = time.perf_counter(), RunParameters(system, pipeline.config)
    inside, outside = (pipeline.evaluation(system, history=history) for history in ("in", "out"))
    dataset = pipeline.dataset
    validations = pipeline.log(system).validations if pipeline.parameters(system) else []
    sections = {name.partition(".")[0] for name in settings_read(system)}
    tokenizer, stages = find_system(system).identifiers, pipeline.stages(system)
    record = {
        "key": parameters.key,
        "parameters": parameters.settings,
        "system": system,
        "label": parameters.label,
        "depth": inside.places,
        "dataset": {
            "fingerprint": dataset.fingerprint,
            "source": dataset.source,
            "users": dataset.n_users,
            "items": dataset.n_items,
            "interactions": dataset.n_interactions,
            "held out": pipeline.config.held_out,
        },
        "config": pipeline.config.model_dump(mode="json", include=sections),
        "metrics": {"history in": inside.metrics(), "history out": outside.metrics()},
        "validation N@10": max((score for _, score in validations), default=None),
        "validations": [list(pair) for pair in validations],
        "weights": pipeline.parameters(system),
        "identifiers": identifier_figures(pipeline, tokenizer) if full and tokenizer else None,
        "cases": {"total": len(pipeline.case_kinds)},
        "files": _files_read(parameters, pipeline.data_dir),
        "stages": [_stage(stage) for stage in stages],
        "seconds": round(time.perf_counter() - started, 1),
        "peak memory MiB": peak_memory_mb(),
        "device": "; ".join(sorted({stage.record["device"] for stage in stages})),
        **_origin(),
    }
    groups = np.searchsorted(np.array(GROUPS)[order := np.argsort(GROUPS)], inside.groups)
    cases = sampled_rows(len(pipeline.case_kinds), len(inside.ranks), seed=0)
    return Run(
        json.loads(json.dumps(record)),
        cases,
        inside.users,
        order[groups],
        pipeline.case_kinds[cases],
        {"in": inside.ranks, "out": outside.ranks},
    )


def _stage(stage: Any) -> dict[str, Any]:
    kept = ("seconds", "peak_memory_mb", "peak_gpu_memory_mb", "device", "threads", "code")
    about = {"name": stage.name, "key": stage.key, "from cache": stage.from_cache}
    return about | {name: stage.record[name] for name in kept if name in stage.record}


@functools.cache
def _origin() -> dict[str, Any]:
    """Versions, commit and code, as they are when the first run of this process begins."""
    return {"versions": versions(), "commit": commit(), "code": code()}


def commit() -> str | None:
    """The commit of this checkout, with "+" where files differ; None outside of a checkout."""
    git = ["git", "-C", str(REPOSITORY)]
    options = dict(capture_output=True, text=True, check=True)
    try:
        if subprocess.run([*git, "rev-parse", "--show-prefix"], **options).stdout.strip():
            return None  # installed inside another project's checkout
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], **options).stdout.strip()
        status = [*git, "status", "--porcelain", "--untracked-files=no"]
        return head + ("+" if subprocess.run(status, **options).stdout.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def run_path(parameters: RunParameters, out_dir: Path) -> Path:
    """Where a run is kept, or will be."""
    return expanded(out_dir) / f"{parameters.key}.parquet"


def finished(parameters: RunParameters, out_dir: Path) -> Run | None:
    """The finished run, if it is there. Raises LetterError where the file is another run's."""
    path = run_path(parameters, out_dir)
    if not path.exists():
        return None
    (run,) = read_runs(path)
    if run.parameters != parameters.settings:
        raise LetterError(f"{path}: holds another run ({run.label}, seed {run.seed}); delete it")
    return run


def check_content(
    run: Run, parameters: RunParameters, data_dir: Path | None, cache_dir: Path
) -> None:
    """Raise LetterError if a run was made of other data, or other files, than are there now."""
    known, where = run.record["dataset"]["fingerprint"], data_dir or "its package"
    there = _fingerprint_now(parameters.dataset, data_dir, cache_dir, parameters.config.repeats)
    if there not in (None, known):
        raise LetterError(
            f"{parameters}: finished with other data ({known}) than {where} holds now ({there}); "
            "name another --out-dir"
        )
    files = _files_read(parameters, data_dir)
    for name, content in files.items():
        if run.record["files"].get(name, content) != content:
            raise LetterError(f"{parameters}: finished with another {name}; name another --out-dir")


@functools.cache
def _fingerprint_now(
    dataset: str, data_dir: Path | None, cache_dir: Path, repeats: str
) -> str | None:
    """None where the data are not at hand, and a finished run of them stands."""
    if data_dir is None and dataset not in PACKAGED or data_dir and not Path(data_dir).is_dir():
        return None
    try:
        return load_dataset(dataset, data_dir, Path(cache_dir) / "data", repeats).fingerprint
    except LetterError:
        if data_dir is None:
            return None
        raise


def _files_read(parameters: RunParameters, data_dir: Path | None) -> dict[str, str]:
    """Hashes of the files that a run reads next to its data set."""
    system = find_system(parameters.system)
    own = getattr(parameters.config, system.config or "", None)
    found = {}
    if system.identifiers == "released":
        if file := identifiers_file(parameters.dataset, data_dir):
            found["file of identifiers"] = sha256_of(file)
    if getattr(own, "intentions", None):
        found["file of intentions"] = sha256_of(own.intentions)
    reads_text = "encoder" in settings_read(parameters.system)
    if reads_text and (vectors := parameters.config.item_vectors):
        found["file of item vectors"] = sha256_of(expanded(vectors))
    models = {"encoder": parameters.config.encoder if reads_text else ""}
    models["language model"] = getattr(own, "language_model", "")
    for name, model in models.items():
        for content in content_of_folder(model, MINILM, SMOLLM2, TINY):
            found[name] = content
    return found


def failures(parameters: RunParameters, out_dir: Path) -> list[dict[str, Any]]:
    """What went wrong in earlier attempts, oldest first: when, error, traceback."""
    path = run_path(parameters, out_dir).with_suffix(".failures.jsonl")
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _keep_failure(parameters: RunParameters, out_dir: Path, error: Exception) -> None:
    failure = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "error": f"{type(error).__name__}: {error}",
        "traceback": traceback.format_exc(),
        "parameters": parameters.settings,
    }
    lines = [
        json.dumps(one, ensure_ascii=False) for one in (*failures(parameters, out_dir), failure)
    ]
    path = run_path(parameters, out_dir).with_suffix(".failures.jsonl")
    try:
        write_text(path, "\n".join(lines) + "\n")
    except LetterError:
        pass  # the disk is full: the error of the run is the one to raise


# Grids: many runs, as a small YAML file
#
# Numbers are read as `--set` reads them, so 010 is ten and 12:30 is none (YAML 1.1 has 8 and 750).
#
#     about: Which part of LETTER does the work?
#     every: {dataset: movielens, profile: laptop, generator: tiger, seed: [0, 1, 2]}
#     runs:
#       - {tokenizer: [plain, cf, div, letter]}
#       - {tokenizer: letter, tau: 0.8}
#
# Each entry, together with `every`, stands for all combinations of its lists.


@dataclass(frozen=True)
class Grid:
    """about: the question, in a line. runs: each once, in the order of the file."""

    about: str
    runs: list[RunParameters]


class GridFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    about: str = ""
    every: dict[str, Any] = {}
    plugins: list[str] = []
    runs: list[dict[str, Any]] = Field(min_length=1)


class _Texts(yaml.BaseLoader):
    """Every value as the text in the file, and no key twice: YAML would keep the last of the two,
    and so drop runs without a word.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [key.value for key, _ in node.value]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise yaml.constructor.ConstructorError(
                None, None, f'"{twice}" is there twice', node.start_mark
            )
        return super().construct_mapping(node, deep)


def load_grid(path: str | Path) -> Grid:
    """Read and check a grid. Raises LetterError that names the file and the entry."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_Texts)  # builds text only  # nosec B506
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise LetterError(
            f"{path}: cannot be read as a grid ({' '.join(str(error).split())})"
        ) from error
    try:
        grid = GridFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(str(part + 1 if isinstance(part, int) else part) for part in first["loc"])
        raise LetterError(
            f"{path}: {where or 'the file'}: {first['msg']}; a grid has `about`, `runs` (a list of "
            "entries) and perhaps `every`, `plugins`"
        ) from error
    load_plugins(path.parent / file for file in grid.plugins)
    runs: dict[str, RunParameters] = {}
    for number, entry in enumerate(grid.runs, start=1):
        try:
            for parameters in expand(grid.every | entry):
                runs.setdefault(parameters.key, parameters)
        except (LetterError, TypeError, UnicodeEncodeError) as error:  # half of a letter
            raise LetterError(f"{path}, entry {number}: {error}") from error
    return Grid(grid.about, list(runs.values()))


def expand(entry: Mapping[str, Any]) -> list[RunParameters]:
    """All combinations of an entry's lists; several `options` are a list of lists."""
    choices = {}
    for name, value in entry.items():
        several = isinstance(value, list) and (
            name != "options" or value and isinstance(value[0], list)
        )
        choices[name] = value if several else [value]
        if not choices[name]:
            raise LetterError(f"{name}: [] stands for no run; leave {name} out for its default")
    return [
        RunParameters.checked(**dict(zip(choices, chosen, strict=True)))
        for chosen in product(*choices.values())
    ]


def state(parameters: RunParameters, out_dir: Path, elsewhere: Mapping[str, Run] = {}) -> str:
    """ "done", "failed" (and not done since), or "to do". elsewhere: other finished runs by key."""
    if parameters.key in elsewhere or run_path(parameters, out_dir).exists():
        return "done"
    return "failed" if failures(parameters, out_dir) else "to do"


def runs_below(folders: Sequence[Path], cache_dir: Path = Path("runs")) -> dict[str, Run]:
    """Key -> run, of all files of runs in these folders and below.

    Runs of packaged data as an older version prepared them are left out.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise LetterError(f"--also {folder}: no such folder of results")
    files = [file for folder in folders for file in run_files(Path(folder))]
    runs = [run for file in files for run in read_runs(file)]
    return {run.key: run for run in runs if _is_current(run, cache_dir)}


def _is_current(run: Run, cache_dir: Path) -> bool:
    if run.dataset not in PACKAGED:
        return True
    now = _fingerprint_now(run.dataset, None, cache_dir, "keep")
    return now in (None, run.record["dataset"]["fingerprint"])


def listed(parameters: RunParameters, state: str) -> dict[str, Any]:
    """A run for another program, such as a scheduler: `letterlib grid --json`."""
    return {
        "key": parameters.key,
        "state": state,
        "parameters": parameters.asked(),
        "profile": parameters.profile,
        "dataset": parameters.dataset,
        "packaged": parameters.dataset in PACKAGED,
        "papermill": papermill_words(parameters),
        "shared": shared_stages(parameters),
    }


def papermill_words(parameters: RunParameters) -> list[str]:
    """What papermill is told of a run: `-p name value` for all that differs from the defaults."""
    asked = {"profile": parameters.profile} | parameters.asked()  # the notebook's own is smaller
    options = asked.pop("options", [])
    words = []
    for name, value in asked.items():
        words += ["-r" if name == "dataset" else "-p", name, str(value)]  # -r: "2018" stays a text
    if PLUGINS:
        words += ["-r", "plugin", os.pathsep.join(map(str, PLUGINS))]
    return words + (["-y", json.dumps({"options": options}, ensure_ascii=False)] if options else [])


def papermill_command(
    parameters: RunParameters,
    out_dir: Path = Path("runs/results"),
    cache_dir: Path = Path("runs"),
    data_dir: Path | None = None,
) -> str:
    """The command that does one run alone, in the folder of the repository; `out_dir` exists."""
    words = [
        "papermill",
        NOTEBOOK,
        f"{out_dir}/{parameters.key}.ipynb",
        *papermill_words(parameters),
    ]
    if out_dir != Path("runs/results") or cache_dir != Path("runs"):
        words += ["-r", "out_dir", str(out_dir)]
    if cache_dir != Path("runs"):
        words += ["-r", "cache_dir", str(cache_dir)]
    if data_dir not in (None, Path("data", parameters.dataset)):
        words += ["-r", "data_dir", str(data_dir)]
    return shlex.join(words)


def shared_stages(parameters: RunParameters) -> list[dict[str, Any]]:
    """The `letterlib` commands for what a run may share with others: embeddings, then tokenizer.

    Each has a key, the same for all runs that share it. A scheduler that runs them first leaves no
    run waiting for another.
    """
    if parameters.settings["tokenizer"] not in VARIANTS:
        return []
    values, section = parameters.settings, section_of(parameters.settings["tokenizer"])
    where = [f"--{name}={values[name]}" for name in ("dataset", "profile", "seed", "device")]
    where += [f"--plugin={file}" for file in PLUGINS]
    sizes = {full[0]: values[short] for short, full in SHORT_NAMES.items() if len(full) == 1}
    chosen = [*values["options"], *(f"{name}={value}" for name, value in sizes.items() if value)]
    first = ("encoder=", "text_tokens=", "item_vectors=", "held_out=", "repeats=", "sasrec_32.")
    embedding = [one for one in chosen if one.startswith(first)]
    tokenizer = embedding + [one for one in chosen if one.startswith(f"{section}.")]
    commands = (
        ["embed", *where, *(f"--set={one}" for one in embedding)],
        [
            "tokenize",
            f"--variant={values['tokenizer']}",
            *where,
            *(f"--set={one}" for one in tokenizer),
        ],
    )
    about = {name: values[name] for name in ("dataset", "profile")}
    return [{"key": digest(words), "words": words} | about for words in commands]
