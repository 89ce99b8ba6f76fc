"""Grids of runs, as small YAML files: which runs an experiment is made of, and which of them are
done.

    # experiments/ablation.yaml
    about: Which part of LETTER does the work? The paper's five variants (table 3), on MovieLens.
    every: {dataset: movielens, profile: laptop, generator: tiger, seed: [0, 1, 2, 3, 4]}
    runs:
      - {tokenizer: [plain, cf, div, letter]}
      - {tokenizer: letter, tau: 0.8}

Every entry, with what is said for every one, stands for all combinations of its lists.
"""

import functools
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from letterlib.errors import LetterError
from letterlib.pipeline.config import TOKENIZER_ARMS, default_data_dir
from letterlib.pipeline.parameters import ROOMS, RunParameters
from letterlib.pipeline.runs import check_data_of, content_now, failures, finished, record_path
from letterlib.store import digest, files_below

NOTEBOOK = "notebooks/10_full_experiments.ipynb"


@dataclass(frozen=True)
class Grid:
    """about: what it asks, in a line. runs: each once, in the order of the file."""

    about: str
    runs: list[RunParameters]


def load_grid(path: str | Path) -> Grid:
    """Read and check a grid. A mistake is a LetterError that names the file and the entry."""
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_NoRepeats)
    except FileNotFoundError as error:
        raise LetterError(
            f"{path}: no such grid; those of the repository are experiments/*.yaml"
        ) from error
    except OSError as error:
        raise LetterError(
            f"{path}: cannot be read ({error.strerror}); name a grid, a .yaml file"
        ) from error
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # a key that is there twice; no UTF-8; 2024-02-30
        raise LetterError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    entries = content.get("runs") if isinstance(content, dict) else None
    if not entries or not isinstance(entries, list) or set(content) - {"about", "every", "runs"}:
        raise LetterError(
            f"{path}: a grid has `about`, `runs` (a list of entries), perhaps `every` (what they share)"
        )
    every = content.get("every") or {}
    runs: dict[str, RunParameters] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            if not isinstance(entry, dict) or not isinstance(every, dict):
                raise LetterError(
                    "an entry is {parameter: value or list of values, ...}, and `every` is one as well"
                )
            for one in expand(every | entry):
                runs.setdefault(one.key, one)
        except LetterError as error:
            raise LetterError(f"{path}, entry {number}: {error}") from error
    return Grid(str(content.get("about", "")), list(runs.values()))


class _NoRepeats(yaml.SafeLoader):
    """YAML that keeps the last of two equal keys would leave out runs without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [key.value for key, _ in node.value]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise yaml.constructor.ConstructorError(
                None, None, f'"{twice}" is there twice', node.start_mark
            )
        return super().construct_mapping(node, deep)


def expand(entry: dict[str, Any]) -> list[RunParameters]:
    """All combinations of an entry's lists. `options` is a list by nature: several of it are a list
    of lists.
    """
    choices = {str(name): _choices(name, value) for name, value in entry.items()}
    for name, values in choices.items():
        if not values:
            raise LetterError(
                f"{name}: []: an empty list stands for no run; leave {name} out for its default"
            )
    return [
        RunParameters.checked(**dict(zip(choices, chosen, strict=True)))
        for chosen in product(*choices.values())
    ]


def _choices(name: str, value: Any) -> list[Any]:
    if name == "options":
        several = isinstance(value, list) and value and isinstance(value[0], list)
        return value if several else [value]
    return value if isinstance(value, list) else [value]


def state(parameters: RunParameters, out_dir: Path) -> str:
    """ "done", "failed" (and not yet done), or "to do"."""
    if finished(parameters, out_dir) is not None:
        return "done"
    return "failed" if failures(parameters, out_dir) else "to do"


def places(grid: Grid, out_dir: Path, also: Sequence[Path] = ()) -> list[Path]:
    """In which folder each run's record is, or will be: `out_dir`, but where only `also`, or what
    is below it, has it.

    A folder of `also` that does not exist is a LetterError.
    """
    if lacking := next((one for one in also if not one.is_dir()), None):
        raise LetterError(f"--also {lacking}: no such folder of results")
    there = {path.name: path.parent for folder in also for path in files_below(folder, ".json")}

    def place(one: RunParameters) -> Path:
        elsewhere = there.get(record_path(one, out_dir).name)
        return (
            elsewhere
            if elsewhere and not finished(one, out_dir) and finished(one, elsewhere)
            else out_dir
        )

    return [place(one) for one in grid.runs]


def check_data(
    grid: Grid, folders: Sequence[Path | None], kept: Sequence[Path], cache_dir: Path
) -> None:
    """LetterError for a record of other data than are there now: it is done, and not what the grid
    asks for.

    folders: of each run's data; None for where they usually are. Packaged data are the same
    everywhere, and not read.
    kept: of each run's record.
    """

    @functools.cache
    def content(dataset: str, folder: Path) -> str | None:
        try:
            return content_now(dataset, folder, cache_dir)
        except (
            LetterError
        ):  # such as a folder without the files: nothing is known, and a run would say it
            return None

    for one, given, place in zip(grid.runs, folders, kept, strict=True):
        folder = given or default_data_dir(one.dataset)
        if folder and (record := finished(one, place)):
            check_data_of(record, record_path(one, place), folder, content(one.dataset, folder))


def asked_for(parameters: RunParameters) -> dict[str, Any]:
    """The parameters that differ from the defaults, for a command line."""
    return parameters.model_dump(mode="json", exclude_defaults=True)


def papermill_words(parameters: RunParameters) -> list[str]:
    """What papermill is told of a run: `-p name value` of all that differs from the notebook's
    defaults.
    """
    asked = {"profile": parameters.profile} | asked_for(
        parameters
    )  # the notebook's own default is smaller
    options = asked.pop("options", [])
    # -r: papermill makes numbers of a data set that is called 2018, and None of one that is called
    # so.
    flags = {"dataset": "-r"}
    words = [
        word for name, value in asked.items() for word in (flags.get(name, "-p"), name, str(value))
    ]
    return words + (["-y", json.dumps({"options": options}, ensure_ascii=False)] if options else [])


def papermill_command(
    parameters: RunParameters,
    out_dir: Path = Path("runs/results"),
    cache_dir: Path = Path("runs"),
    data_dir: Path | None = None,
) -> str:
    """The command that does one run alone, to be given in the folder of the repository, where
    `out_dir` exists.
    """
    words = [
        "papermill",
        NOTEBOOK,
        f"{out_dir}/{parameters.key}.ipynb",
        *papermill_words(parameters),
    ]
    usual = {
        "out_dir": Path("runs/results"),
        "cache_dir": Path("runs"),
        "data_dir": Path("data", parameters.dataset),
    }
    for name, folder in {"out_dir": out_dir, "cache_dir": cache_dir, "data_dir": data_dir}.items():
        other = (
            folder not in (None, usual[name])
            or name == "out_dir"
            and cache_dir != usual["cache_dir"]
        )
        words += (
            ["-r", name, str(folder)] if other else []
        )  # raw: papermill would read 2024 as a number
    return shlex.join(words)


def shared_stages(parameters: RunParameters) -> list[dict[str, Any]]:
    """What a run may have in common with others, first things first: its embeddings, and its
    tokenizer.

    Each has a key, the same for all runs that share it, and the words for `letterlib` that make it.
    A scheduler that makes them before the runs that need them leaves no run waiting for another
    with a processor in its hands.
    """
    if parameters.tokenizer not in TOKENIZER_ARMS:
        return []
    values = parameters.resolved
    where = [f"--{name}={values[name]}" for name in ("dataset", "profile", "seed", "device")]
    sizes = {room: values[name] for name, room in ROOMS.items() if room.startswith("tokenizer.")}
    chosen = [*values["options"], *(f"{room}={value}" for room, value in sizes.items() if value)]
    embedding = [
        one
        for one in chosen
        if one.startswith(("encoder=", "text_tokens=", "held_out=", "sasrec_32."))
    ]
    tokenizer = embedding + [one for one in chosen if one.startswith("tokenizer.")]
    commands = (
        ["embed", *where, *(f"--set={one}" for one in embedding)],
        [
            "tokenize",
            f"--arm={parameters.tokenizer}",
            *where,
            *(f"--set={one}" for one in tokenizer),
        ],
    )
    about = {name: values[name] for name in ("dataset", "profile")}
    return [{"key": digest(words), "words": words} | about for words in commands]
