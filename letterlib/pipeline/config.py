"""What a run is made of: a profile's sizes, what `--set` lays over them, and where the data is."""

import copy
import json
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from letterlib.baselines.bert4rec import BERT4RecConfig
from letterlib.baselines.caser import CaserConfig
from letterlib.baselines.hgn import HGNConfig
from letterlib.baselines.lightgcn import LightGCNConfig
from letterlib.baselines.mf import MatrixFactorizationConfig
from letterlib.baselines.sasrec import SASRecConfig, check_heads
from letterlib.data import DATASETS, PACKAGED
from letterlib.errors import LetterError, did_you_mean
from letterlib.generators.bigrec import BIGRecConfig
from letterlib.generators.lcrec import LCRecConfig, check_tasks
from letterlib.generators.tiger import TigerConfig
from letterlib.pipeline.profiles import PROFILES, TUNED
from letterlib.store import read_json
from letterlib.text import MINILM
from letterlib.tokenizer.grouping import check_groups
from letterlib.tokenizer.letter import CODE_DIM, TokenizerConfig
from letterlib.tokenizer.rqvae import check_codes
from letterlib.train import Settings

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

RANKED = 20
"""How many items every system returns: twice what the metrics read, the least beam width of the
protocol.
"""

NOT_SET = ("dataset", "profile", "seed", "device")
"""What `--set` does not change: each has an option of its own, and of two values one would count in
silence.
"""

A_LIST = '[256, 128], or of words as ["seqrec"], in single quotes for the shell'
"""How `--set` takes one."""

SEEDS = 2**31
"""A seed is below this: NumPy's random states, which scikit-learn uses, end at 2**32, and some
seeds are added to.
"""


class RunConfig(Settings):
    """Everything that decides a run's result, beside the data."""

    dataset: str = "movielens"
    profile: str = "laptop"
    seed: int = Field(0, ge=0, lt=SEEDS, description="decides what is random in training")
    held_out: int = Field(5, ge=1, description="items per user in test, and as many in validation")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:NUMBER")
    encoder: str = Field(MINILM, description="minilm, or any Hugging Face model id or folder")
    text_tokens: int = Field(
        128, ge=3, description="tokens of an item's text that the encoder reads; the rest is cut"
    )
    sasrec_32: SASRecConfig = Field(
        description="the small SASRec whose item vectors L_CF aligns with"
    )
    mf: MatrixFactorizationConfig = Field(description="matrix factorization with BPR")
    caser: CaserConfig = Field(description="Caser, convolutions over the last items")
    hgn: HGNConfig = Field(description="HGN, gates over the last items")
    bert4rec: BERT4RecConfig = Field(description="BERT4Rec, which fills masked places")
    lightgcn: LightGCNConfig = Field(
        description="LightGCN, averages over the graph of users and items"
    )
    sasrec: SASRecConfig = Field(description="SASRec with its authors' width, loss and rate")
    sasrec_tuned: SASRecConfig = Field(description="SASRec tuned on validation")
    bigrec: BIGRecConfig = Field(description="BIGRec, a language model that writes titles")
    tokenizer: TokenizerConfig = Field(description="LETTER's tokenizer and those of the ablation")
    tiger: TigerConfig = Field(description="TIGER and P5, with whatever identifiers")
    lcrec: LCRecConfig = Field(description="LC-Rec, a language model that writes identifiers")
    language_model_cases: int = Field(
        1000, ge=1, description="test cases for language models, a fixed sample"
    )


def make_config(
    dataset: str = "movielens",
    profile: str = "laptop",
    seed: int = 0,
    device: str = "auto",
    encoder: str = MINILM,
    overrides: list[str] | None = None,
) -> RunConfig:
    """The profile's configuration with `overrides` such as "tiger.epochs=3" laid over it; a list is
    written as in JSON.

    An unknown profile, option or value is a LetterError that lists what is possible.
    """
    if profile not in PROFILES:
        raise LetterError(f'unknown profile "{profile}"; choose one of {", ".join(PROFILES)}')
    if not re.fullmatch(r"\w[\w.-]*", dataset):  # it names folders
        raise LetterError(
            f'data set "{dataset}": a name has letters, digits, "-", "_" and "." alone'
        )
    if (
        dataset not in DATASETS and dataset.lower() in DATASETS
    ):  # it would lack what is set for that one
        raise LetterError(f'data set "{dataset}": did you mean "{dataset.lower()}"?')
    values: dict[str, Any] = copy.deepcopy(PROFILES[profile])
    if profile == "laptop":
        values |= {room: dict(options) for room, options in TUNED.get(dataset, {}).items()}
    values |= dict(dataset=dataset, profile=profile, seed=seed, device=device, encoder=encoder)
    values["held_out"] = DATASETS.get(dataset, 1)
    for override in overrides or []:
        if encoder != MINILM and override.startswith("encoder="):
            raise LetterError(
                f"--set {override}: there is --encoder {encoder} as well; give one of them"
            )
        _lay_over(values, override)
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        raise LetterError(_in_words(error)) from error
    _check_values(config)
    return config


def _check_values(config: RunConfig) -> None:
    """LetterError for what would be found only when its turn comes, or would change nothing."""
    check_tasks(config.lcrec.tasks)
    if (file := config.lcrec.intentions) and not Path(file).is_file():
        raise LetterError(f"lcrec.intentions={file}: no such file")
    if (d := config.sasrec_32.dimensions) != CODE_DIM:
        raise LetterError(
            f"sasrec_32.dimensions={d}: L_CF holds its vectors against codes, which have {CODE_DIM}"
        )
    for room in ("sasrec_32", "bert4rec", "sasrec", "sasrec_tuned"):
        check_heads(room, getattr(config, room).dimensions, getattr(config, room).n_heads)
    for room in ("tiger", "lcrec"):
        if (beam := getattr(config, room).beam) < RANKED:
            raise LetterError(
                f"{room}.beam={beam}: the {RANKED} items that are ranked need as many beams; choose {RANKED} or more"
            )


def describe_settings(config: RunConfig, rooms: Collection[str] = ()) -> str:
    """What `--set` may change, a line each: `tiger.history=4`, and what it means.

    rooms: of which alone; of all when empty. A name that is none of them is a LetterError that
    lists them.
    """
    lines, width = [f"profile {config.profile}; --set NAME=VALUE changes one of these"], 36
    there = [room for room in RunConfig.model_fields if room not in NOT_SET]
    for room in rooms:
        if room not in there:
            raise LetterError(_no_such(room, there))
    for room in [one for one in there if one in rooms or not rooms]:
        value, field = getattr(config, room), RunConfig.model_fields[room]
        if not isinstance(value, BaseModel):
            lines.append(f"{f'{room}={as_set(value)}':{width}}  {field.description}")
            continue
        lines += ["", f"{room}: {field.description}"]
        for option, now in value.model_dump(mode="json").items():
            written = f"{room}.{option}={as_set(now)}"
            lines.append(
                f"{written:{width}}  {type(value).model_fields[option].description or ''}".rstrip()
            )
    return "\n".join(lines)


def tokenizer_of_arm(config: TokenizerConfig, arm: str) -> TokenizerConfig:
    """The profile's tokenizer with what one of TOKENIZER_ARMS changes. LetterError for another
    name.
    """
    if arm not in TOKENIZER_ARMS:
        raise LetterError(f'unknown tokenizer "{arm}"; choose one of {", ".join(TOKENIZER_ARMS)}')
    return config.model_copy(update=TOKENIZER_ARMS[arm])


def as_set(value: Any) -> str:
    """A value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def check_tokenizer(config: TokenizerConfig, n_items: int) -> None:
    """LetterError for settings with which no tokenizer can be trained: before hours of training,
    not after them.
    """
    check_codes(n_items, config.n_codes)
    if config.beta:
        check_groups(config.n_codes, config.n_groups)


def _lay_over(values: dict[str, Any], override: str) -> None:
    name, sign, value = override.partition("=")
    room, dot, option = name.partition(".")
    if not sign:
        raise LetterError(
            f'--set {override}: write it as name=value, for instance --set "tiger.epochs=3"'
        )
    if room not in RunConfig.model_fields:
        raise LetterError(f"--set {override}: {_no_such(room, RunConfig.model_fields)}")
    if room in NOT_SET:
        raise LetterError(f"--set {override}: choose it with --{room}")
    options = getattr(
        RunConfig.model_fields[room].annotation, "model_fields", None
    )  # None: a value of its own
    if options is None and dot:
        raise LetterError(
            f'--set {override}: "{room}" has no options of its own; write --set {room}=VALUE'
        )
    if options is None:
        values[room] = value
    elif not dot:
        raise LetterError(
            f"--set {override}: write {room}.OPTION=VALUE; it has {', '.join(options)}"
        )
    elif option not in options:
        raise LetterError(f"--set {override}: {_no_such(option, options, room)}")
    else:
        values[room][option] = _read(override, value)


def _read(override: str, value: str) -> Any:
    """A list, such as tokenizer.hidden=[256, 128], nothing, or the text, which pydantic reads as a
    number.
    """
    if value.lower() in ("none", "null"):
        return None
    if not value.startswith("["):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise LetterError(
            f"--set {override}: not a list ({error.msg}); write it as {A_LIST}"
        ) from error


def _no_such(name: str, possible: Iterable[str], room: str = "") -> str:
    of = f" of {room}" if room else ""
    return f'no option "{name}"; {did_you_mean(name, possible)}the options{of} are {", ".join(possible)}'


def _in_words(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "configuration"
    hint = f"; write a list, as {A_LIST}" if first["type"] == "tuple_type" else ""
    return f"{where}={first['input']!r}: {first['msg'].lower()}{hint}"


def check_settings(file: Path, config: BaseModel) -> None:
    """LetterError if `file`, which a script of experiments/ wrote, is there and holds a run of
    other settings.
    """
    if not file.exists():
        return
    asked = config.model_dump(mode="json")
    # A file from before an option existed was made with what is the option's default now.
    had = type(config)().model_dump(mode="json") | read_json(file)["config"]
    others = [f"{name}={had.get(name)}" for name in had | asked if had.get(name) != asked.get(name)]
    if others:
        raise LetterError(
            f"{file}: done with {', '.join(others)}, which is not asked for now; choose another --out"
        )


def data_dir_under(root: Path, dataset: str) -> Path | None:
    """Where a data set's files are below `--data-root`; None to look where `default_data_dir` does.

    A root of one's own that has no folder for it is a LetterError: the files of another place are
    not what was asked.
    """
    if dataset in PACKAGED and root == DATA_ROOT:
        return None
    folder = root / dataset
    if folder.is_dir():
        return folder
    if dataset not in PACKAGED and root != DATA_ROOT:
        raise LetterError(
            f"{folder}: no such folder; --data-root holds one for each released data set"
        )
    return None


def default_data_dir(dataset: str) -> Path | None:
    """Where a data set's files are looked for when --data-dir does not say: data/<name>, here or in
    the repository.

    A packaged one needs none, and a folder that happens to have its name is no reason to read
    another's files.
    """
    if dataset in PACKAGED:
        return None
    folders = (DATA_ROOT / dataset, REPOSITORY / DATA_ROOT / dataset)
    return next(
        (folder for folder in folders if os.path.isdir(folder)), None
    )  # no error for a name too long
