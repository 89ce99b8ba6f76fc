"""Everything that decides a run's result: one tree of settings, three profiles, dotted overrides.

    config = make_config("movielens", "laptop", overrides=["tiger.epochs=20", "alpha=0.05"])

The command line (`--set`), papermill (`-p alpha 0.05`, or `options`) and grids use the same names.
"""

import copy
import json
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo

from letterlib.baselines.bert4rec import BERT4RecConfig
from letterlib.baselines.caser import CaserConfig
from letterlib.baselines.hgn import HGNConfig
from letterlib.baselines.lightgcn import LightGCNConfig
from letterlib.baselines.mf import MatrixFactorizationConfig
from letterlib.baselines.sasrec import SASRecConfig
from letterlib.data import DATASETS, PACKAGED, Repeats
from letterlib.errors import LetterError, did_you_mean
from letterlib.generators.bigrec import BIGRecConfig
from letterlib.generators.lcrec import LCRecConfig
from letterlib.generators.tiger import TigerConfig
from letterlib.store import expanded
from letterlib.text import MINILM
from letterlib.tokenizer.grouping import check_groups
from letterlib.tokenizer.letter import LetterTokenizer, TokenizerConfig
from letterlib.tokenizer.rqvae import check_codes
from letterlib.train import Settings

REPOSITORY = Path(__file__).resolve().parents[2]

DATA_ROOT = Path("data")
"""Each released data set has a folder below this one."""

VARIANTS = {
    "plain": {"alpha": 0.0, "beta": 0.0},
    "cf": {"beta": 0.0},
    "div": {"alpha": 0.0},
    "letter": {},
}
"""The four tokenizers of the ablation: what each changes in the profile's LETTER tokenizer.

`register_identifiers` adds others, with a class and a section of settings in OWN_TOKENIZERS.
"""

OWN_TOKENIZERS: dict[str, tuple[type[LetterTokenizer], str]] = {}
"""Registered tokenizers: the class, and its section of `RunConfig`."""

RANKED = 50
"""Items in a ranked list, so that metrics at any K up to 50 are known."""

LEAST_BEAM = 20
"""The least beam width of the protocol. A beam search returns as many items as it has beams."""

SEEDS = 2**31
"""A seed is below this: NumPy's random states end at 2**32, and some seeds are added to."""

SHORT_NAMES = {
    "alpha": ("tokenizer.alpha",),
    "beta": ("tokenizer.beta",),
    "levels": ("tokenizer.n_levels",),
    "codes": ("tokenizer.n_codes",),
    "clusters": ("tokenizer.n_groups",),
    "tau": ("tiger.tau", "lcrec.tau"),
    "beams": ("tiger.beam", "lcrec.beam"),
}
"""The paper's hyper-parameters have short names, which stand for these settings."""

OWN_OPTION = ("dataset", "profile", "seed", "device")
"""Settings that have an option of their own on the command line, and are not overridden by name."""


# Profile smoke takes seconds and proves that everything fits together; its results mean nothing.
# laptop takes minutes on two cores. paper has the paper's hyper-parameters, and wants a GPU.
# What a profile does not name is the default of the section's class, such as TigerConfig.
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
        "bigrec": dict(
            language_model="tiny",
            history=5,
            targets=20,
            lists=20,
            epochs=1,
            batch_size=8,
            learning_rate=5e-3,
            title_tokens=12,
            validation_cases=10,
        ),
        "tokenizer": dict(hidden=(64,), n_codes=32, n_groups=4, epochs=5),
        "tiger": dict(
            d_model=32,
            d_ff=64,
            n_heads=2,
            d_head=16,
            n_layers=1,
            history=5,
            epochs=1,
            examples=2000,
            batch_size=128,
            learning_rate=3e-3,
        ),
        "lcrec": dict(
            language_model="tiny",
            history=5,
            targets=20,
            lists=30,
            alignment=0.5,
            epochs=1,
            batch_size=16,
            learning_rate=5e-3,
        ),
        "language_model_cases": 30,
    },
    "laptop": {
        "sasrec_32": dict(dimensions=32, n_heads=1, epochs=8, dropout=0.3, learning_rate=2e-3),
        "mf": {},
        "caser": dict(epochs=12, learning_rate=3e-3, dropout=0.3),
        "hgn": dict(epochs=12, learning_rate=3e-3, dropout=0.3),
        "bert4rec": dict(epochs=30, batch_size=256, learning_rate=2e-3, patience=10),
        "lightgcn": dict(epochs=60),
        # Its authors' settings: 50 dimensions, one head, one negative a place, this rate, .2 on
        # MovieLens.
        "sasrec": dict(
            dimensions=50, n_heads=1, loss="bce", epochs=40, dropout=0.2, learning_rate=1e-3
        ),
        "sasrec_tuned": dict(dimensions=64, n_heads=2, epochs=12, dropout=0.3, learning_rate=2e-3),
        "bigrec": dict(
            targets=10,
            dropout=0.0,
            epochs=6,
            lists=500,
            batch_size=4,
            learning_rate=2e-3,
            title_tokens=24,
            beam=1,
        ),
        # alpha is the largest of the paper's grid: 0.02 hardly moves an item's neighbours, not in
        # 2,000 epochs either.
        "tokenizer": dict(hidden=(256, 128), batch_size=512, epochs=100, alpha=0.1),
        "tiger": dict(
            d_model=128,
            d_ff=256,
            n_heads=4,
            d_head=32,
            n_layers=1,
            dropout=0.0,
            history=4,
            epochs=8,
            examples=18_000,
            targets=3,
            batch_size=64,
            learning_rate=0.03,
            relative_rate=True,
            warmup=0.05,
            validate_every=4,
        ),
        # A high rate, small batches and lists that teach all they can: what an hour on one core is
        # short of is steps.
        "lcrec": dict(
            targets=20,
            dropout=0.0,
            epochs=6,
            lists=500,
            alignment=0.05,
            batch_size=4,
            learning_rate=2e-3,
            warmup=0.05,
        ),
    },
    "paper": {
        "text_tokens": 2048,  # as in the released code; MiniLM reads 512 of them
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
}

SPARSE = {
    "sasrec": dict(
        dimensions=50, n_heads=1, loss="bce", epochs=40, dropout=0.5, learning_rate=1e-3
    ),
    "sasrec_tuned": dict(dimensions=128, dropout=0.5, epochs=12, learning_rate=1e-3),
    "lightgcn": dict(epochs=10),
}
"""For larger and sparser catalogues, in place of the laptop profile's; tuned on validation on
Beauty.
"""

TUNED = {"beauty": SPARSE, "yelp": SPARSE}
"""Data set -> what replaces the laptop profile's settings."""


class RunConfig(Settings):
    """The settings of a run. Each trained model has a section of its own."""

    dataset: str = "movielens"
    profile: str = "laptop"
    seed: int = Field(0, ge=0, lt=SEEDS, description="decides what is random in training")
    held_out: int = Field(5, ge=1, description="items per user in test, and as many in validation")
    repeats: Repeats = Field(
        "keep", description="or drop, which keeps only a user's first interaction with an item"
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:NUMBER")
    encoder: str = Field(MINILM, description="minilm, or any Hugging Face model id or folder")
    text_tokens: int = Field(
        128, ge=3, description="tokens of an item's text that the encoder reads; the rest is cut"
    )
    item_vectors: str | None = Field(
        None, description="file of item vectors made elsewhere, in place of the encoder's"
    )
    sasrec_32: SASRecConfig = Field(description="the small SASRec whose item vectors L_CF uses")
    mf: MatrixFactorizationConfig = Field(description="matrix factorization with BPR")
    caser: CaserConfig = Field(description="Caser, convolutions over the last items")
    hgn: HGNConfig = Field(description="HGN, gates over the last items")
    bert4rec: BERT4RecConfig = Field(description="BERT4Rec, which fills masked places")
    lightgcn: LightGCNConfig = Field(description="LightGCN, averages over the user-item graph")
    sasrec: SASRecConfig = Field(description="SASRec with its authors' width, loss and rate")
    sasrec_tuned: SASRecConfig = Field(description="SASRec tuned on validation")
    bigrec: BIGRecConfig = Field(description="BIGRec, a language model that writes titles")
    tokenizer: TokenizerConfig = Field(description="LETTER's tokenizer and its variants")
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
    overrides: Iterable[str] | None = None,
) -> RunConfig:
    """The settings of a profile with overrides laid over them.

    dataset: decides the split, and the settings of TUNED.
    overrides: texts such as "tiger.epochs=3", "tokenizer.hidden=[256, 128]" or "alpha=0.05".
    Raises LetterError for an unknown name or an impossible value, with what is possible.
    """
    if profile not in PROFILES:
        raise LetterError(f'unknown profile "{profile}"; choose one of {", ".join(PROFILES)}')
    if not re.fullmatch(r"\w[\w.-]*", dataset):  # folders are called so
        raise LetterError(f'data set "{dataset}": a name has letters, digits, "-", "_" and "."')
    if dataset not in DATASETS and dataset.lower() in DATASETS:
        raise LetterError(f'data set "{dataset}": did you mean "{dataset.lower()}"?')
    values: dict[str, Any] = copy.deepcopy(PROFILES[profile])
    if profile == "laptop":
        values |= copy.deepcopy(TUNED.get(dataset, {}))
    values |= dict(dataset=dataset, profile=profile, seed=seed, device=device, encoder=encoder)
    values["held_out"] = DATASETS.get(dataset, 1)
    for override in overrides or []:
        name, value = parse_override(override)
        if name == "encoder" and encoder != MINILM:
            raise LetterError(f"{override}: --encoder {encoder} is given as well; choose one")
        for full_name in SHORT_NAMES.get(name, (name,)):
            section, _, option = full_name.partition(".")
            if option:
                values.setdefault(section, {})[option] = value
            else:
                values[section] = value
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if not isinstance(first["input"], dict):  # else the error is of several settings together
            where += f"={first['input']!r:.80}"
        raise LetterError(f"{where}: {first['msg'].lower()}") from error
    _check_together(config)
    return config


def parse_override(override: str) -> tuple[str, Any]:
    """Split "name=value" into a name that exists and a value: a list, None or a text.

    pydantic makes numbers of texts. Raises LetterError for another name.
    """
    name, equals, text = override.partition("=")
    if not equals:
        raise LetterError(f'"{override}": write name=value, for instance tiger.epochs=3')
    section, dot, option = name.partition(".")
    field = RunConfig.model_fields.get(section)
    options = getattr(field.annotation, "model_fields", {}) if field else {}
    if section in OWN_OPTION:
        raise LetterError(f"{override}: choose it with --{section}")
    if name not in SHORT_NAMES and not field:
        raise LetterError(
            f"{override}: {_no_such(section, [*RunConfig.model_fields, *SHORT_NAMES])}"
        )
    if dot and option not in options:
        raise LetterError(f"{override}: {_no_such(option, options or ['none'], section)}")
    if options and not dot:
        raise LetterError(f"{override}: write {section}.OPTION=VALUE; it has {', '.join(options)}")
    if text.lower() in ("none", "null"):
        return name, None
    if not text.startswith("["):
        return name, text
    try:
        return name, json.loads(text)
    except (ValueError, RecursionError) as error:
        example = '[256, 128], or ["seqrec"] for words'
        raise LetterError(f"{override:.80}: not a list ({error}); write {example}") from error


def as_text(value: Any) -> str:
    """A value as an override has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _no_such(name: str, possible: Iterable[str], section: str = "") -> str:
    of = f" of {section}" if section else ""
    guess = did_you_mean(name, possible)
    return f'no setting "{name}"; {guess}the settings{of} are {", ".join(possible)}'


def _check_together(config: RunConfig) -> None:
    """Raise LetterError for values that pydantic cannot judge alone."""
    if (file := config.lcrec.intentions) and not Path(file).is_file():
        raise LetterError(f"lcrec.intentions={file}: no such file")
    if (file := config.item_vectors) and not expanded(file).is_file():
        raise LetterError(f"item_vectors={file}: no such file")
    width, codes = config.sasrec_32.dimensions, config.tokenizer.code_dim
    if width != codes:
        raise LetterError(
            f"sasrec_32.dimensions={width}: L_CF compares its vectors with codes of {codes}; "
            "set tokenizer.code_dim to the same"
        )
    for section in ("tiger", "lcrec"):
        if (beam := getattr(config, section).beam) < LEAST_BEAM:
            raise LetterError(f"{section}.beam={beam}: choose {LEAST_BEAM} or more")


def check_weights(config: RunConfig) -> None:
    """Raise LetterError for a weight of 0: a table would show a tokenizer under another's name."""
    for weight in ("alpha", "beta"):
        if getattr(config.tokenizer, weight) == 0:
            others = [name for name, changes in VARIANTS.items() if weight in changes]
            raise LetterError(
                f"tokenizer.{weight}=0: choose the tokenizer {' or '.join(others)} by its name"
            )


def changes(config: RunConfig) -> list[str]:
    """What differs from the profile, each as an override, in order of the names."""
    given = dict(dataset=config.dataset, profile=config.profile, seed=config.seed)
    usual = _flat(make_config(**given, device=config.device))
    own = _flat(config)
    return [f"{name}={as_text(own[name])}" for name in sorted(own) if own[name] != usual.get(name)]


def _flat(config: RunConfig) -> dict[str, Any]:
    """Dotted name -> value."""
    flat = {}
    for name, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat |= {f"{name}.{option}": own for option, own in value.items()}
        else:
            flat[name] = value
    return flat


def describe_settings(config: RunConfig, sections: Collection[str] = ()) -> str:
    """A line for each setting that may be overridden: "tiger.history=4", and what it means.

    sections: list only these. Raises LetterError for a name that is none of them.
    """
    names = [name for name in RunConfig.model_fields if name not in OWN_OPTION]
    for section in sections:
        if section not in names:
            raise LetterError(_no_such(section, names))
    lines, width = [f"profile {config.profile}; --set NAME=VALUE changes one of these"], 36
    for name in names:
        if sections and name not in sections:
            continue
        value, field = getattr(config, name), RunConfig.model_fields[name]
        if not isinstance(value, BaseModel):
            lines.append(f"{f'{name}={as_text(value)}':{width}}  {field.description}")
            continue
        lines += ["", f"{name}: {field.description}"]
        written = value.model_dump(mode="json")
        for option in type(value).model_fields:
            setting = f"{name}.{option}={as_text(written.get(option, getattr(value, option)))}"
            meaning = type(value).model_fields[option].description or ""
            lines.append(f"{setting:{width}}  {meaning}".rstrip())
    short = (f"{name} ({', '.join(full)})" for name, full in SHORT_NAMES.items())
    return "\n".join([*lines, "", f"short names: {', '.join(short)}"])


def section_of(variant: str) -> str:
    """The section of `RunConfig` with a tokenizer's settings."""
    return OWN_TOKENIZERS[variant][1] if variant in OWN_TOKENIZERS else "tokenizer"


def tokenizer_class(variant: str) -> type[LetterTokenizer]:
    """The class of one of VARIANTS."""
    return OWN_TOKENIZERS[variant][0] if variant in OWN_TOKENIZERS else LetterTokenizer


def add_section(
    name: str, config: type[Settings], about: str, profiles: dict[str, dict[str, Any]]
) -> None:
    """Give `RunConfig` a section for registered code, so that `--set NAME.OPTION=VALUE` knows it.

    config: its class. profiles: profile -> settings that differ from the class's defaults.
    """
    field = Field(default_factory=config, description=about)
    RunConfig.model_fields[name] = FieldInfo.from_annotated_attribute(config, field)
    RunConfig.__annotations__[name] = config
    RunConfig.model_rebuild(force=True)
    for profile, values in PROFILES.items():
        values[name] = dict(profiles.get(profile, {}))


def variant_config(config: RunConfig, variant: str) -> TokenizerConfig:
    """The settings of one of VARIANTS. Raises LetterError for another name."""
    if variant not in VARIANTS:
        raise LetterError(f'unknown tokenizer "{variant}"; choose one of {", ".join(VARIANTS)}')
    return getattr(config, section_of(variant)).model_copy(update=VARIANTS[variant])


def check_tokenizer(config: TokenizerConfig, n_items: int) -> None:
    """Raise LetterError for settings with which no tokenizer of so many items can be trained."""
    check_codes(n_items, config.n_codes)
    if config.beta:
        check_groups(config.n_codes, config.n_groups)


def data_dir_under(root: Path, dataset: str) -> Path | None:
    """The folder of a data set below `--data-root`; None to look where `default_data_dir` does.

    Raises LetterError for a root other than data/ that has no folder for a released data set.
    """
    if dataset in PACKAGED and root == DATA_ROOT:
        return None
    folders = sorted(root.iterdir()) if root.is_dir() else []
    for folder in folders:  # the authors' repository has data/Beauty
        if folder.is_dir() and folder.name.lower() == dataset:
            return folder
    folder = root / dataset
    if dataset not in PACKAGED and root != DATA_ROOT:
        raise LetterError(
            f"{folder}: no such folder; --data-root has one for each released data set"
        )
    return None


def default_data_dir(dataset: str) -> Path | None:
    """data/<dataset>, here or in the repository, if there is one. Packaged data need none."""
    if dataset in PACKAGED:
        return None
    folders = (DATA_ROOT / dataset, REPOSITORY / DATA_ROOT / dataset)
    return next((folder for folder in folders if os.path.isdir(folder)), None)
