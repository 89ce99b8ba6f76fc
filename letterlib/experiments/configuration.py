"""What a run is made of, and the three profiles: one dial for size, no other branches.

`smoke` ends in seconds and proves that everything fits together; its results mean nothing. `laptop` takes minutes
on two cores and is good enough to look at. `paper` has the paper's hyper-parameters and wants a GPU.
"""

import copy
import difflib
import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from letterlib.collaborative.bert4rec import BERT4RecConfig
from letterlib.collaborative.caser import CaserConfig
from letterlib.collaborative.hgn import HGNConfig
from letterlib.collaborative.lightgcn import LightGCNConfig
from letterlib.collaborative.matrix_factorization import MatrixFactorizationConfig
from letterlib.collaborative.sasrec import SASRecConfig
from letterlib.data import DATASETS, PACKAGED
from letterlib.errors import LetterError
from letterlib.files import read_json
from letterlib.generation.bigrec import BIGRecConfig
from letterlib.generation.lcrec import LCRecConfig
from letterlib.generation.tiger import TigerConfig
from letterlib.semantics import MINILM
from letterlib.tokenization.letter import TokenizerConfig

REPOSITORY = Path(__file__).resolve().parents[2]

DATA_ROOT = Path("data")
"""Where a folder for each released data set is looked for."""

TOKENIZER_ARMS = {
    "plain": {"alpha": 0.0, "beta": 0.0},
    "cf": {"beta": 0.0},
    "div": {"alpha": 0.0},
    "letter": {},
}
"""The four tokenizers of the ablation: what each changes in the profile's LETTER tokenizer."""

SEEDS = 2**31
"""A seed is below this: NumPy's random states, which scikit-learn uses, end at 2**32, and some seeds are added to."""


class RunConfig(BaseModel):
    """Everything that decides a run's result, beside the data."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = "movielens"
    profile: str = "laptop"
    seed: int = Field(0, ge=0, lt=SEEDS)
    held_out: int = Field(5, ge=1, description="items per user in test, and as many in validation")
    device: str = "auto"
    encoder: str = MINILM
    sasrec_32: SASRecConfig
    mf: MatrixFactorizationConfig
    caser: CaserConfig
    hgn: HGNConfig
    bert4rec: BERT4RecConfig
    lightgcn: LightGCNConfig
    sasrec: SASRecConfig
    sasrec_tuned: SASRecConfig
    bigrec: BIGRecConfig
    tokenizer: TokenizerConfig
    tiger: TigerConfig
    lcrec: LCRecConfig
    language_model_cases: int = Field(1000, ge=1, description="test cases for language models, a fixed sample")


PROFILES: dict[str, dict[str, Any]] = {
    "smoke": {
        "sasrec_32": dict(dimensions=32, n_heads=1, history=10, epochs=1),
        "mf": dict(dimensions=16, epochs=2),
        "caser": dict(dimensions=16, horizontal=4, epochs=1),
        "hgn": dict(dimensions=16, epochs=1),
        "bert4rec": dict(dimensions=32, n_heads=1, history=10, epochs=1),
        "lightgcn": dict(dimensions=16, epochs=2),
        "sasrec": dict(dimensions=32, n_heads=1, history=10, loss="bce", epochs=1),
        "sasrec_tuned": dict(dimensions=32, n_heads=1, history=10, epochs=1),
        "bigrec": dict(language_model="tiny", history=5, lists=20, epochs=1, batch_size=8, learning_rate=5e-3,
                       title_tokens=12, validation_cases=10),
        "tokenizer": dict(hidden=(64,), n_codes=32, n_groups=4, epochs=5),
        "tiger": dict(d_model=32, d_ff=64, n_heads=2, d_head=16, n_layers=1, history=5, epochs=1, examples=2000,
                      batch_size=128, learning_rate=3e-3),
        "lcrec": dict(language_model="tiny", history=5, lists=30, alignment=0.5, epochs=1, batch_size=16,
                      learning_rate=5e-3),
        "language_model_cases": 30,
    },
    "laptop": {
        "sasrec_32": dict(dimensions=32, n_heads=1, epochs=8, dropout=0.3, learning_rate=2e-3),
        "mf": {},
        "caser": dict(epochs=12, learning_rate=3e-3, dropout=0.3),
        "hgn": dict(epochs=12, learning_rate=3e-3, dropout=0.3),
        "bert4rec": dict(epochs=30, batch_size=256, learning_rate=2e-3, patience=10),
        "lightgcn": dict(epochs=60),
        # As its authors have it: 50 dimensions, one head, one negative a place, this rate, .2 on MovieLens.
        "sasrec": dict(dimensions=50, n_heads=1, loss="bce", epochs=40, dropout=0.2, learning_rate=1e-3),
        "sasrec_tuned": dict(dimensions=64, n_heads=2, epochs=12, dropout=0.3, learning_rate=2e-3),
        "bigrec": dict(dropout=0.0, epochs=6, lists=500, batch_size=4, learning_rate=2e-3, title_tokens=24, beam=1),
        # alpha is the largest of the paper's grid: in minutes instead of hours 0.02 hardly moves an item's neighbours.
        "tokenizer": dict(hidden=(256, 128), batch_size=512, epochs=100, alpha=0.1),
        "tiger": dict(d_model=128, d_ff=256, n_heads=4, d_head=32, n_layers=1, dropout=0.0, history=4, epochs=8,
                      examples=18_000, targets=3, batch_size=64, learning_rate=0.03, relative_rate=True, warmup=0.05,
                      validate_every=4),
        # A high rate and small batches: what an hour on one core is short of is steps.
        "lcrec": dict(dropout=0.0, epochs=6, lists=500, alignment=0.05, batch_size=4, learning_rate=2e-3, warmup=0.05),
    },
    "paper": {
        "sasrec_32": dict(dimensions=32, n_heads=1, epochs=200, patience=10),
        "mf": dict(epochs=200),
        "caser": dict(epochs=200, patience=10),
        "hgn": dict(epochs=200, patience=10),
        "bert4rec": {},
        "lightgcn": dict(epochs=500, patience=20),
        "sasrec": dict(dimensions=50, n_heads=1, loss="bce", epochs=200, dropout=0.5, patience=20),
        "sasrec_tuned": dict(dimensions=128, epochs=200, patience=10),
        "bigrec": dict(language_model="huggyllama/llama-7b", gradient_checkpointing=True),
        "tokenizer": {},
        "tiger": {},
        "lcrec": dict(language_model="huggyllama/llama-7b", gradient_checkpointing=True),
        "language_model_cases": 1_000_000,
    },
}  # fmt: skip

TUNED = {
    "beauty": {
        "sasrec": dict(dimensions=50, n_heads=1, loss="bce", epochs=40, dropout=0.5, learning_rate=1e-3),
        "sasrec_tuned": dict(dimensions=128, dropout=0.5, epochs=12, learning_rate=1e-3),
        "lightgcn": dict(epochs=10),
    }
}
"""Where a data set's own tuning (on validation) replaces the laptop profile's: the catalogue is larger and sparser."""


def make_config(
    dataset: str = "movielens",
    profile: str = "laptop",
    seed: int = 0,
    device: str = "auto",
    encoder: str = MINILM,
    overrides: list[str] | None = None,
) -> RunConfig:
    """The profile's configuration with `overrides` such as "tiger.epochs=3" laid over it; a list is written as in JSON.

    An unknown profile, option or value is a LetterError that lists what is possible.
    """
    if profile not in PROFILES:
        raise LetterError(f'unknown profile "{profile}"; choose one of {", ".join(PROFILES)}')
    if not re.fullmatch(r"\w[\w.-]*", dataset):  # it names folders
        raise LetterError(f'data set "{dataset}": a name has letters, digits, "-", "_" and "." alone')
    if dataset not in DATASETS and dataset.lower() in DATASETS:  # it would lack what is set for that one
        raise LetterError(f'data set "{dataset}": did you mean "{dataset.lower()}"?')
    held_out = DATASETS[dataset].held_out if dataset in DATASETS else 1
    values: dict[str, Any] = copy.deepcopy(PROFILES[profile])
    if profile == "laptop":
        values |= {room: dict(options) for room, options in TUNED.get(dataset, {}).items()}
    values |= dict(dataset=dataset, profile=profile, seed=seed, held_out=held_out, device=device, encoder=encoder)
    for override in overrides or []:
        _lay_over(values, override)
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise LetterError(_in_words(error)) from error


def tokenizer_of_arm(config: TokenizerConfig, arm: str) -> TokenizerConfig:
    """The profile's tokenizer with what one of TOKENIZER_ARMS changes. LetterError for another name."""
    if arm not in TOKENIZER_ARMS:
        raise LetterError(f'unknown tokenizer "{arm}"; choose one of {", ".join(TOKENIZER_ARMS)}')
    return config.model_copy(update=TOKENIZER_ARMS[arm])


def _lay_over(values: dict[str, Any], override: str) -> None:
    name, sign, value = override.partition("=")
    room, dot, option = name.partition(".")
    if not sign:
        raise LetterError(f'--set {override}: write it as name=value, for instance --set "tiger.epochs=3"')
    if room not in RunConfig.model_fields:
        raise LetterError(f"--set {override}: {_no_such(room, RunConfig.model_fields)}")
    if room in ("dataset", "profile"):  # they decide what the defaults are, before anything is laid over these
        raise LetterError(f"--set {override}: choose it with --{room}")
    options = RunConfig.model_fields[room].annotation
    has_options = isinstance(options, type) and issubclass(options, BaseModel)
    if has_options and not dot:
        raise LetterError(f"--set {override}: write {room}.OPTION=VALUE; it has {', '.join(options.model_fields)}")
    if dot:
        if not has_options:
            raise LetterError(f'--set {override}: "{room}" has no options of its own; write --set {room}=VALUE')
        if option not in options.model_fields:
            raise LetterError(f"--set {override}: {_no_such(option, options.model_fields, room)}")
        values[room][option] = _read(override, value)
    else:
        values[room] = value


def _read(override: str, value: str) -> Any:
    """A list, such as tokenizer.hidden=[256, 128], nothing, or the text, which pydantic reads as a number."""
    if value.lower() in ("none", "null"):
        return None
    if not value.startswith("["):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise LetterError(f"--set {override}: not a list ({error.msg}); write it as [256, 128]") from error


def _no_such(name: str, possible: Any, room: str = "") -> str:
    close = difflib.get_close_matches(name, possible, n=1)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    of = f" of {room}" if room else ""
    return f'no option "{name}"; {hint}the options{of} are {", ".join(possible)}'


def _in_words(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "configuration"
    hint = "; write a list, as [256, 128]" if first["type"] == "tuple_type" else ""
    return f"{where}={first['input']!r}: {first['msg'].lower()}{hint}"


def check_settings(file: Path, config: BaseModel) -> None:
    """LetterError if `file`, which a script of experiments/ wrote, is there and holds a run of other settings."""
    if not file.exists():
        return
    asked = config.model_dump(mode="json")
    # A file from before an option existed was made with what is the option's default now.
    had = type(config)().model_dump(mode="json") | read_json(file)["config"]
    others = [f"{name}={had.get(name)}" for name in had | asked if had.get(name) != asked.get(name)]
    if others:
        raise LetterError(f"{file}: done with {', '.join(others)}, which is not asked for now; choose another --out")


def data_dir_under(root: Path, dataset: str) -> Path | None:
    """Where a data set's files are below `--data-root`; None to look where `default_data_dir` does.

    A root of one's own that has no folder for it is a LetterError: the files of another place are not what was asked.
    """
    folder = root / dataset
    if folder.is_dir():
        return folder
    if dataset not in PACKAGED and root != DATA_ROOT:
        raise LetterError(f"{folder}: no such folder; --data-root holds one for each released data set of the grid")
    return None


def default_data_dir(dataset: str) -> Path | None:
    """Where a data set's files are looked for when --data-dir does not say: data/<name>, here or in the repository."""
    folders = (DATA_ROOT / dataset, REPOSITORY / DATA_ROOT / dataset)
    return next((folder for folder in folders if folder.is_dir()), None)
