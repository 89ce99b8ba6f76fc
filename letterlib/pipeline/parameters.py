"""What lesson 10 and every grid of `experiments/` ask for: one system on one data set with one
seed, in a dozen words.

    asked = RunParameters.checked(tokenizer="letter", generator="tiger", tau=0.8, seed=3)

Then asked.system is "letter-tiger", and asked.key names its record: a hash of what was asked with
every default filled in.
"""

import re
from collections.abc import Collection, Mapping
from functools import cached_property, reduce
from operator import getitem
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError

from letterlib.data import PACKAGED, load_dataset
from letterlib.errors import LetterError, did_you_mean
from letterlib.pipeline.config import (
    RANKED,
    SEEDS,
    TOKENIZER_ARMS,
    RunConfig,
    as_set,
    default_data_dir,
    make_config,
)
from letterlib.pipeline.profiles import PROFILES
from letterlib.pipeline.systems import (
    GENERATORS,
    SYSTEMS,
    find_system,
    rooms_of,
    unread,
    with_identifiers,
    written_by,
)
from letterlib.store import digest
from letterlib.train import Settings

NO_TOKENIZER = "none"
"""The tokenizer of a system that has none, such as SASRec."""

RESULTS_VERSION = 1
"""Raised by whoever changes what every finished run computes, so that old records are not taken for
new.
"""

REVISIONS = {
    ("laptop", "tiger"): 2,
    ("paper", "tiger"): 2,
    ("paper", "lc-rec"): 3,
    ("paper", "bigrec"): 2,
}
"""The same for one profile and one generator: a record is named by what it changes in the profile,
not by the profile.

Of laptop's TIGER 2: rates are relative to each tensor's size. Of paper's TIGER and LC-Rec 2: more
of an item's text is read. Of paper's BIGRec 2 and LC-Rec 3: a list teaches one item.
"""

FOLDERS = ("data_dir", "out_dir", "cache_dir")
"""Where a run reads and writes; they do not change its result."""

WITHOUT_IDENTIFIERS = tuple(name for name, one in SYSTEMS.items() if one.identifiers is None)
"""Systems that take no identifiers: `generator=sasrec-tuned, tokenizer=none`."""

ROOMS = {
    "alpha": "tokenizer.alpha",
    "beta": "tokenizer.beta",
    "levels": "tokenizer.n_levels",
    "codes": "tokenizer.n_codes",
    "clusters": "tokenizer.n_groups",
    "tau": "{generator}.tau",
    "beams": "{generator}.beam",
}
"""Where in `RunConfig` a parameter belongs. The room of TIGER is "tiger", of LC-Rec "lcrec"."""


class RunParameters(Settings):
    """One run. What is None is what the profile says.

    alpha, beta: weights of the collaborative and the diversity loss. levels, codes: of an
    identifier, and of a level.
    clusters: groups of codes for the diversity loss. tau: temperature of the ranking-guided loss.
    beams: prefixes kept.
    options: changes of what has no parameter here, each as `--set` takes them ("tiger.epochs=20").
    """

    dataset: str = "movielens"
    tokenizer: str = "letter"
    generator: str = "tiger"
    alpha: float | None = Field(None, ge=0, le=100)
    beta: float | None = Field(None, ge=0, le=100)
    levels: int | None = Field(None, ge=1, le=26)
    codes: int | None = Field(None, ge=4, le=65_536)
    clusters: int | None = Field(None, ge=2)
    tau: float | None = Field(None, gt=0, le=100)
    beams: int | None = Field(None, ge=RANKED, le=10_000)
    seed: int = Field(0, ge=0, lt=SEEDS)
    profile: str = "laptop"
    device: str = "auto"
    options: tuple[str, ...] = ()

    @classmethod
    def checked(cls, **values: Any) -> Self:
        """Parameters that can be run. What is misspelt or impossible is a LetterError that lists
        what is possible.
        """
        for name in values:
            if name not in cls.model_fields:
                raise LetterError(f"{name}: {_not_among(name, cls.model_fields, 'parameter')}")
            if isinstance(values[name], bool):  # which pydantic would take for 0 or 1
                raise LetterError(f"{name}={values[name]}: neither yes nor no is a value of it")
        try:
            asked = cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            a_list = (
                "; write a list, [tiger.epochs=3] (with papermill -y 'options: [tiger.epochs=3]')"
            )
            hint = {"string_type": "; in YAML, write it in quotes", "tuple_type": a_list}.get(
                first["type"], ""
            )
            raise LetterError(
                f"{first['loc'][0]}={first['input']!r}: {first['msg'].lower()}{hint}"
            ) from None
        asked._check_names()
        asked._check_that_it_matters()
        _ = asked.config  # the configuration's own checks
        asked._check_options()
        _ = asked.resolved
        return asked

    @classmethod
    def from_notebook(cls, variables: Mapping[str, Any]) -> Self:
        """Parameters from a notebook's variables, `globals()`, before anything else is defined
        there.

        papermill sets whatever name it is given. A number, text or list under a name that is no
        parameter, and none of FOLDERS, is therefore a misspelt parameter. A data set that is
        nowhere is refused as well.
        """
        plain = (str, int, float, list, tuple, type(None))
        given = {
            k: v for k, v in variables.items() if isinstance(v, plain) or k in cls.model_fields
        }
        aside = (*FOLDERS, "In")  # IPython keeps the cells it ran there
        asked = cls.checked(
            **{k: v for k, v in given.items() if k not in aside and not k.startswith("_")}
        )
        for name in FOLDERS:  # papermill makes a number of 2024
            if not isinstance(folder := variables.get(name), str | Path | None):
                raise LetterError(
                    f"{name}={folder!r}: a folder is a text; with papermill write -r {name} {folder}"
                )
        asked.check_data(variables.get("data_dir"))
        return asked

    def check_data(self, data_dir: str | Path | None = None) -> None:
        """LetterError for a data set that is neither known nor in a folder. Reads nothing when it
        is.
        """
        if self.dataset not in PACKAGED and not data_dir and default_data_dir(self.dataset) is None:
            load_dataset(self.dataset)  # which says what there is

    def _check_names(self) -> None:
        generators = (*GENERATORS, *WITHOUT_IDENTIFIERS)
        if self.generator not in generators:
            raise LetterError(
                f"generator={self.generator!r}: {_not_among(self.generator, generators, 'generator')}"
            )
        if self.profile not in PROFILES:
            raise LetterError(
                f"profile={self.profile!r}: {_not_among(self.profile, PROFILES, 'profile')}"
            )
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise LetterError(f"device={self.device!r}: choose auto, cpu, cuda or cuda:NUMBER")
        possible = written_by(self.generator) if self.generator in GENERATORS else (NO_TOKENIZER,)
        if self.tokenizer not in possible:
            wrong = _not_among(
                self.tokenizer, possible, f"tokenizer for generator={self.generator}"
            )
            raise LetterError(f"tokenizer={self.tokenizer!r}: {wrong}")

    def _check_that_it_matters(self) -> None:
        """A value that would change nothing is a mistake: its row of a table would say what was
        never done.
        """
        takes = self._takes()
        for name in ROOMS:
            if getattr(self, name) is not None and name not in takes:
                what = f"tokenizer={self.tokenizer}, generator={self.generator}"
                raise LetterError(
                    f"{name}={getattr(self, name)}: changes nothing with {what}; leave it out"
                )
        for name, without in (
            ("alpha", {"letter": "div", "cf": "plain"}),
            ("beta", {"letter": "cf", "div": "plain"}),
        ):
            if getattr(self, name) == 0:
                raise LetterError(
                    f"{name}=0: that is tokenizer={without[self.tokenizer]}; choose it by its name"
                )
        # An option that is a parameter would give one run two keys.
        own = {self._room(name): name for name in ROOMS} | {
            name: name for name in type(self).model_fields
        }
        names = [one.partition("=")[0].strip() for one in self.options]
        for one, name in zip(self.options, names, strict=True):
            if (times := names.count(name)) > 1:
                raise LetterError(
                    f"options: {name} is there {times} times; a list of lists has a run for each"
                )
            if name in own:
                raise LetterError(
                    f"options={one!r}: has a parameter of its own; write it as {own[name]}=VALUE"
                )

    def _check_options(self) -> None:
        """One that is not read would change nothing."""
        for one in unread(self.options, self.system):
            read = ", ".join(room for room in self.rooms if not one.startswith(f"{room}."))
            what = f"tokenizer={self.tokenizer}, generator={self.generator}"
            raise LetterError(f"options={one!r}: changes nothing with {what}; they read {read}")

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms of `RunConfig` that this run reads."""
        return rooms_of(find_system(self.system), self.tokenizer)

    def _takes(self) -> set[str]:
        """The parameters that this tokenizer and this generator read."""
        takes = {"tau", "beams"} if self.generator in GENERATORS else set()
        if "tokenizer" in self.rooms:
            takes |= {"levels", "codes"}
        if self.tokenizer in ("letter", "cf"):
            takes.add("alpha")
        if self.tokenizer in ("letter", "div"):
            takes |= {"beta", "clusters"}
        return takes

    @property
    def system(self) -> str:
        """Its name in `systems`: "letter-tiger", "tiger-cf", "sasrec-tuned", ..."""
        return (
            with_identifiers(self.generator, self.tokenizer)
            if self.generator in GENERATORS
            else self.generator
        )

    @property
    def label(self) -> str:
        """What a table calls it."""
        return find_system(self.system).label

    @cached_property
    def config(self) -> RunConfig:
        """The profile's configuration with these parameters laid over it."""
        return self._configured([*self._chosen, *self.options])

    @property
    def _chosen(self) -> list[str]:
        return [
            f"{self._room(name)}={getattr(self, name)}"
            for name in ROOMS
            if getattr(self, name) is not None
        ]

    def _configured(self, overrides: list[str]) -> RunConfig:
        given = dict(dataset=self.dataset, profile=self.profile, seed=self.seed, device=self.device)
        return make_config(**given, overrides=overrides)

    def _room(self, parameter: str) -> str:
        return ROOMS[parameter].format(generator=find_system(self.system).config)

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """Every parameter with its default filled in; None where it plays no part."""
        values = self.model_dump(mode="json") | {"options": self._options_in_full()}
        for name in ROOMS:
            if name in self._takes():
                room, option = self._room(name).split(".")
                values[name] = getattr(getattr(self.config, room), option)
            else:
                values[name] = (
                    0.0 if name in ("alpha", "beta") and self.tokenizer in TOKENIZER_ARMS else None
                )
        if values["clusters"] is not None and 2 * values["clusters"] > values["codes"]:
            raise LetterError(
                f"clusters={values['clusters']}: {values['codes']} codes cannot make so many groups of two or more; "
                f"choose at most {values['codes'] // 2}"
            )
        return values

    def _options_in_full(self) -> list[str]:
        """What the options change in the profile: each once, in order, spelt in one way."""
        names = sorted({one.partition("=")[0] for one in self.options})
        ours, profile = (
            {name: _value_of(config, name) for name in names}
            for config in (self.config, self._configured(self._chosen))
        )
        return [f"{name}={ours[name]}" for name in names if ours[name] != profile[name]]

    @cached_property
    def key(self) -> str:
        """16 hex digits that name the run's record. The same wherever it is computed: no data is
        read for it.
        """
        revision = REVISIONS.get((self.profile, self.generator))
        return digest(
            {"version": RESULTS_VERSION}
            | ({"revision": revision} if revision else {})
            | self.resolved
        )


def _value_of(config: RunConfig, name: str) -> str:
    """The value of "tiger.epochs" or "encoder"."""
    return as_set(reduce(getitem, name.split("."), config.model_dump(mode="json")))


def _not_among(name: str, possible: Collection[str], what: str) -> str:
    choice = (
        f"choose one of {', '.join(possible)}"
        if len(possible) > 1
        else f"ask for {', '.join(possible)}"
    )
    return f"no such {what}; {did_you_mean(name, possible)}{choice}"
