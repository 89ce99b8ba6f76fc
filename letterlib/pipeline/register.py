"""Systems, identifiers and data sets of your own, without a fork: docs/extend.md.

A plugin is a Python file that calls these functions. `--plugin my.py`, `plugins:` in a grid, and
`load_plugin` run it; in a notebook call them directly. A name of the library is refused; one of
your own is replaced, so that a cell can be run again.
"""

import importlib.util
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import letterlib
from letterlib.data import DATASETS, PACKAGED, is_raw
from letterlib.data.dataset import Dataset
from letterlib.errors import LetterError
from letterlib.pipeline.config import OWN_TOKENIZERS, PROFILES, VARIANTS, RunConfig, add_section
from letterlib.pipeline.systems import (
    CODEBOOK,
    CONVENTIONAL,
    LABELS,
    OTHER_IDENTIFIERS,
    QUICK,
    SYSTEMS,
    IdentifierSource,
    System,
)
from letterlib.store import expanded
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.letter import LetterTokenizer, TokenizerConfig
from letterlib.train import Settings

if TYPE_CHECKING:
    from letterlib.pipeline.pipeline import Pipeline

PLUGINS: list[Path] = []
"""The plugins that were loaded, in order: jobs that are started from here load them, too."""

_own: set[tuple[str, str]] = set()  # (what, name)


def register_system(
    name: str,
    kind: type,
    label: str | None = None,
    *,
    config: type[Settings] | None = None,
    profiles: dict[str, dict[str, Any]] | None = None,
    identifiers: str | None = None,
    titles: bool = False,
) -> None:
    """Make a recommender a system: `letterlib evaluate NAME`, `table --system NAME`, grids.

    kind: the class, with `fit(split)` and `recommend(cases, k, exclude_history)`. With a config it
        is made from (config, seed, device, checkpoint) and has `save`, `load`, `log` and
        `n_parameters` as well; `baselines/neural.py` has most of it.
    label: what tables print; the name if not given.
    config: the class of its settings, which `--set NAME.OPTION=VALUE` changes ("-" becomes "_").
    profiles: profile ("smoke", "laptop", "paper") -> settings that differ from the defaults.
    identifiers: what its items are called; the class then gets Identifiers first.
    titles: whether the class gets the items' titles as well.
    Raises LetterError for a name that the library uses.
    """
    _take("system", name, SYSTEMS)
    section = _section(name, config, f"{label or name}, registered", profiles or {})
    family = CODEBOOK if identifiers else CONVENTIONAL
    SYSTEMS[name] = System(label or name, family, kind, section, identifiers, titles)
    LABELS[name] = SYSTEMS[name].label
    if name not in QUICK:
        QUICK.append(name)


def register_identifiers(
    name: str,
    source: "type[LetterTokenizer] | Callable[[Pipeline], Identifiers]",
    *,
    profiles: dict[str, dict[str, Any]] | None = None,
    embeds: bool = False,
    sized: bool = False,
    **fixed: Any,
) -> None:
    """Make identifiers known: `tiger-NAME`, `lc-rec-NAME`, `tokenize --variant NAME`, grids.

    source: a subclass of LetterTokenizer, or a function of a Pipeline that returns Identifiers.

    For a tokenizer class:
    profiles: profile -> settings. Settings that its Config leaves as LETTER's start with what the
        profile gives LETTER's tokenizer.
    fixed: settings that it always has, such as alpha=0 if it does not use collaborative vectors.

    For a function:
    embeds: whether it reads `pipeline.semantic()`. sized: whether it reads tokenizer.n_levels and
        tokenizer.n_codes. The cache knows them by what they depend on.
    Raises LetterError for a name that the library uses.
    """
    _take("identifiers", name, {**VARIANTS, **OTHER_IDENTIFIERS})
    if not isinstance(source, type):
        OTHER_IDENTIFIERS[name] = IdentifierSource(source, embeds, sized)
        return
    if not issubclass(source, LetterTokenizer):
        raise LetterError(
            f'identifiers "{name}": {source.__name__} is no LetterTokenizer; derive it from that '
            "class, or register a function of a Pipeline"
        )
    given = {}
    for profile, sections in PROFILES.items():
        usual = {
            option: value
            for option, value in sections["tokenizer"].items()
            if _default(source.Config, option) == _default(TokenizerConfig, option)
        }
        given[profile] = usual | (profiles or {}).get(profile, {})
    section = _section(name, source.Config, f"the tokenizer {name}, registered", given)
    VARIANTS[name], OWN_TOKENIZERS[name] = fixed, (source, section)
    letterlib._MODELS[source.__name__] = source


def register_dataset(name: str, load: Callable[[], Dataset], held_out: int = 1) -> None:
    """Make a data set known: `letterlib run --dataset NAME`, `load_dataset(NAME)`, grids.

    load: makes it; called when the data set is asked for.
    held_out: items that a user gives to test, and as many to validation.
    Raises LetterError for a name that the library uses.
    """
    if not re.fullmatch(r"\w[\w.-]*", name) or is_raw(name, None):
        raise LetterError(
            f'data set "{name}": choose another name, of letters, digits, "-", "_" and "."; '
            "amazon-... and yelp are the library's"
        )
    _take("data set", name, DATASETS)
    PACKAGED[name] = lambda kept: replace(load(), name=name)
    DATASETS[name] = held_out


def load_plugins(paths: Iterable[str | Path]) -> None:
    """`load_plugin` for each."""
    for path in paths:
        load_plugin(path)


def load_plugin(path: str | Path) -> None:
    """Run a Python file that registers something. A file that was run already is not run again.

    Raises LetterError for a file that is not there; errors inside it are its own.
    """
    file = expanded(path).resolve()
    if file in PLUGINS:
        return
    if not file.is_file():
        raise LetterError(f"plugin {path}: no such file")
    spec = importlib.util.spec_from_file_location(f"letterlib_plugin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise LetterError(f"plugin {path}: not a Python file; its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    PLUGINS.append(file)


def _take(what: str, name: str, taken: Any) -> None:
    if name in taken and (what, name) not in _own:
        raise LetterError(f'{what} "{name}": the library has one of this name; choose another')
    if not re.fullmatch(r"[a-zA-Z][\w.-]*", name):
        raise LetterError(f'{what} "{name}": begin with a letter; then letters, digits, "-", "_"')
    _own.add((what, name))


def _section(
    name: str, config: type[Settings] | None, about: str, profiles: dict[str, dict[str, Any]]
) -> str | None:
    if config is None:
        return None
    section = re.sub(r"\W", "_", name)
    if section in RunConfig.model_fields and ("section", section) not in _own:
        raise LetterError(f'"{name}": the settings have a section "{section}"; choose another name')
    _own.add(("section", section))
    add_section(section, config, about, profiles)
    return section


def _default(config: type[Settings], option: str) -> Any:
    return config.model_fields[option].get_default(call_default_factory=True)
