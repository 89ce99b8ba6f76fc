"""Every system of the table: what it is called, its class, and what the class is made from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from letterlib.baselines.bert4rec import BERT4Rec
from letterlib.baselines.caser import Caser
from letterlib.baselines.hgn import HGN
from letterlib.baselines.lightgcn import LightGCN
from letterlib.baselines.markov import MarkovFloor
from letterlib.baselines.mf import MatrixFactorization
from letterlib.baselines.popularity import Popularity
from letterlib.baselines.random_order import RandomOrder
from letterlib.baselines.repeat import RepeatFloor
from letterlib.baselines.sasrec import SASRec
from letterlib.data import identifiers_file
from letterlib.errors import LetterError, Unavailable, did_you_mean
from letterlib.generators.bigrec import BIGRec
from letterlib.generators.counting import CountedSASRec, CountedTiger
from letterlib.generators.language_model import check_titles
from letterlib.generators.lcrec import LCRec
from letterlib.generators.tiger import Tiger
from letterlib.pipeline.config import SHORT_NAMES, VARIANTS, section_of, tokenizer_class
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.other_identifiers import (
    RUNNING,
    category_identifiers,
    cooccurrence_identifiers,
    random_identifiers,
    residual_kmeans_identifiers,
    title_identifiers,
)

if TYPE_CHECKING:
    from letterlib.pipeline.pipeline import Pipeline


def _released(pipeline: "Pipeline") -> Identifiers:
    """The authors' `<Name>.index.json`, next to the interactions."""
    file = identifiers_file(pipeline.config.dataset, pipeline.data_dir)
    if file is None:
        what = "no identifiers were released with it (<Name>.index.json in --data-dir)"
        raise Unavailable(f"{pipeline.dataset.name}: {what}")
    found = Identifiers.load(file, pipeline.dataset.n_items)
    # The file names only codes in use; the paper has 256 a level.
    return replace(found, level_sizes=tuple(max(RUNNING, size) for size in found.level_sizes))


def _titles(pipeline: "Pipeline") -> Identifiers:
    check_titles(pipeline.dataset)
    return title_identifiers(pipeline.dataset.titles()).identifiers


def _random(pipeline: "Pipeline") -> Identifiers:
    sizes = pipeline.config.tokenizer
    return random_identifiers(
        pipeline.dataset.n_items, pipeline.config.seed, sizes.n_levels, sizes.n_codes
    )


def _residual_kmeans(pipeline: "Pipeline") -> Identifiers:
    sizes, vectors = pipeline.config.tokenizer, pipeline.semantic().vectors
    return residual_kmeans_identifiers(vectors, pipeline.config.seed, sizes.n_levels, sizes.n_codes)


@dataclass(frozen=True)
class IdentifierSource:
    """Identifiers that no RQ-VAE learns: how a pipeline makes them, and what they depend on.

    The cache knows them by what they depend on, next to the training part and the titles.
    embeds: on the text embeddings. sized: on the tokenizer's numbers of levels and codes.
    words: P5's, whose levels share one vocabulary; only TIGER generates them.
    """

    make: Callable[["Pipeline"], Identifiers]
    embeds: bool = False
    sized: bool = False
    words: bool = False


OTHER_IDENTIFIERS: dict[str, IdentifierSource] = {
    "categories": IdentifierSource(lambda p: category_identifiers(p.dataset), words=True),
    "co-occurrence": IdentifierSource(
        lambda p: cooccurrence_identifiers(p.split, p.config.seed), words=True
    ),
    "titles": IdentifierSource(_titles, words=True),
    "random": IdentifierSource(_random, sized=True),
    "residual-k-means": IdentifierSource(_residual_kmeans, embeds=True, sized=True),
    "released": IdentifierSource(_released),
}
"""The baselines' and the ablation's identifiers, by name."""

FLOOR, CONVENTIONAL, TEXT, ID, CODEBOOK, ABLATION = FAMILIES = (
    "floor",
    "conventional",
    "text identifiers",
    "ID identifiers",
    "codebook identifiers",
    "identifier ablation",
)


@dataclass(frozen=True)
class System:
    """One row of the table.

    label: the name to print.
    kind: the class, with `fit(split)` and `recommend(cases, k)`. A trained one also has `save`,
        `load`, `log` and `n_parameters`, and is made from (config, seed, device, checkpoint).
    config: the section of `RunConfig` with its settings; None for a class without any.
    identifiers: what its items are called, one of VARIANTS or OTHER_IDENTIFIERS; the class gets
        them first.
    titles: whether the class gets the items' titles as well.
    language_model: whether it has a language model. It then takes an hour to train, and answers a
        sample of the cases.
    counts: whether it is another system, `base_of(name)`, mixed with counts.
    """

    label: str
    family: str
    kind: type
    config: str | None = None
    identifiers: str | None = None
    titles: bool = False
    language_model: bool = False
    counts: bool = False

    @property
    def leaves_out_history(self) -> bool:
        """Whether it is validated with the history filtered out, which gives higher figures."""
        return getattr(self.kind, "leaves_out_history", False)


SYSTEMS: dict[str, System] = {
    "random": System("Random", FLOOR, RandomOrder),
    "popularity": System("Popularity", FLOOR, Popularity),
    "markov": System("Markov floor", FLOOR, MarkovFloor),
    "repeat": System("Repeat floor", FLOOR, RepeatFloor),
    "mf": System("MF (BPR)", CONVENTIONAL, MatrixFactorization, "mf"),
    "caser": System("Caser", CONVENTIONAL, Caser, "caser"),
    "hgn": System("HGN", CONVENTIONAL, HGN, "hgn"),
    "bert4rec": System("BERT4Rec", CONVENTIONAL, BERT4Rec, "bert4rec"),
    "lightgcn": System("LightGCN", CONVENTIONAL, LightGCN, "lightgcn"),
    "sasrec": System("SASRec (default)", CONVENTIONAL, SASRec, "sasrec"),
    "sasrec-tuned": System("SASRec (tuned)", CONVENTIONAL, SASRec, "sasrec_tuned"),
    "sasrec-tuned-counts": System(
        "SASRec (tuned) + counts", CONVENTIONAL, CountedSASRec, "sasrec_tuned", counts=True
    ),
    "bigrec": System("BIGRec", TEXT, BIGRec, "bigrec", language_model=True),
    "p5-tid": System("P5-TID", TEXT, Tiger, "tiger", "titles"),
    "p5-semid": System("P5-SemID", ID, Tiger, "tiger", "categories"),
    "p5-cid": System("P5-CID", ID, Tiger, "tiger", "co-occurrence"),
    "tiger": System("TIGER (RQ-VAE)", CODEBOOK, Tiger, "tiger", "plain"),
    "letter-tiger": System("LETTER-TIGER", CODEBOOK, Tiger, "tiger", "letter"),
    "tiger-counts": System("TIGER + counts", CODEBOOK, CountedTiger, "tiger", "plain", counts=True),
    "letter-tiger-counts": System(
        "LETTER-TIGER + counts", CODEBOOK, CountedTiger, "tiger", "letter", counts=True
    ),
    "lc-rec": System(
        "LC-Rec (RQ-VAE)", CODEBOOK, LCRec, "lcrec", "plain", titles=True, language_model=True
    ),
    "letter-lc-rec": System(
        "LETTER-LC-Rec", CODEBOOK, LCRec, "lcrec", "letter", titles=True, language_model=True
    ),
    "tiger-random": System("TIGER, random codes", ABLATION, Tiger, "tiger", "random"),
    "tiger-kmeans": System("TIGER, residual k-means", ABLATION, Tiger, "tiger", "residual-k-means"),
    "tiger-released": System("TIGER, the authors' codes", ABLATION, Tiger, "tiger", "released"),
}
"""Every system, in the order of the table."""

LABELS: dict[str, str] = {name: system.label for name, system in SYSTEMS.items()}

FLOORS = ("popularity", "markov")
"""The systems that a trained one has to clear; where users come back to items, "repeat" as well."""

FIRST_RUN = (
    "popularity",
    "markov",
    "lightgcn",
    "sasrec-tuned",
    "sasrec-tuned-counts",
    "tiger",
    "letter-tiger",
    "letter-tiger-counts",
)
"""What `letterlib run` compares, in minutes; `letterlib table` has them all."""

QUICK = [name for name, system in SYSTEMS.items() if not system.language_model and name != "repeat"]
"""The systems that take minutes on two cores; those with a language model take an hour each. The
repeat floor is added where it has something to repeat.
"""

GENERATORS: Mapping[str, System] = {
    name: SYSTEMS[name] for name in ("tiger", "tiger-counts", "lc-rec")
}
"""The systems that generate identifiers, each with those of the plain RQ-VAE."""


def codes() -> tuple[str, ...]:
    """Identifiers made of codes."""
    return (*VARIANTS, *(name for name, source in OTHER_IDENTIFIERS.items() if not source.words))


def identifiers_for(generator: str) -> tuple[str, ...]:
    """The identifiers that one of GENERATORS can generate."""
    words = tuple(name for name, source in OTHER_IDENTIFIERS.items() if source.words)
    return codes() if generator == "lc-rec" else (*codes(), *words)


def system_name(generator: str, identifiers: str) -> str:
    """What a generator with these identifiers is called: "letter-tiger", "tiger-cf", ..."""
    kind = GENERATORS[generator].kind
    for name, system in SYSTEMS.items():
        if (system.kind, system.identifiers) == (kind, identifiers):
            return name
    return f"{generator}-{identifiers}"


def generator_of(name: str) -> tuple[str, str]:
    """The inverse of `system_name`: ("tiger", "letter"); a system without identifiers is
    (its name, "none").
    """
    system = find_system(name)
    for generator, usual in GENERATORS.items():
        if system.kind is usual.kind and system.identifiers:
            return generator, system.identifiers
    return name, "none"


def base_of(name: str) -> str:
    """The system whose trained model a system with counts mixes; the system itself for others."""
    if not find_system(name).counts:
        return name
    generator, identifiers = generator_of(name)
    if identifiers == "none":
        return name.removesuffix("-counts")
    return system_name(generator.removesuffix("-counts"), identifiers)


def find_system(name: str) -> System:
    """A system of the table, or "<generator>-<identifiers>" such as "tiger-cf".

    Raises LetterError for another name, with those that there are.
    """
    if name in SYSTEMS:
        return SYSTEMS[name]
    for generator, usual in GENERATORS.items():
        identifiers = name.removeprefix(f"{generator}-")
        if identifiers != name and identifiers in identifiers_for(generator):
            if (known := system_name(generator, identifiers)) in SYSTEMS:
                raise LetterError(f'"{name}" is called "{known}"')  # or it would be trained twice
            label = f"{usual.label.split(' (')[0]}, {identifiers}"
            return replace(usual, label=label, family=ABLATION, identifiers=identifiers)
    others = [system_name(g, identifiers) for g in GENERATORS for identifiers in identifiers_for(g)]
    possible = dict.fromkeys([*SYSTEMS, *others])
    raise LetterError(
        f'unknown system "{name}"; {did_you_mean(name, possible)}choose one of '
        f"{', '.join(possible)}"
    )


def position(name: str) -> tuple[int, str]:
    """To sort by: the table's systems in its order, then the others by name."""
    return (list(SYSTEMS).index(name), "") if name in SYSTEMS else (len(SYSTEMS), name)


READ_OF_TEXT = ("encoder", "text_tokens", "item_vectors")


def settings_read(name: str) -> list[str]:
    """The settings that a system, or a tokenizer variant, depends on: sections, or dotted names."""
    system = None if name in VARIANTS else find_system(name)
    identifiers = system.identifiers if system else name
    read = ["held_out", "repeats"] + ([system.config] if system and system.config else [])
    if identifiers in VARIANTS:
        fixed = VARIANTS[identifiers]
        unused = {"alpha", "beta"} & set(fixed) | ({"n_groups"} if "beta" in fixed else set())
        section, options = section_of(identifiers), tokenizer_class(identifiers).Config.model_fields
        read += [f"{section}.{option}" for option in options if option not in unused]
        read += [*READ_OF_TEXT] + ["sasrec_32"] * ("alpha" not in fixed)
    elif source := OTHER_IDENTIFIERS.get(identifiers or ""):
        read += ["tokenizer.n_levels", "tokenizer.n_codes"] * source.sized
        read += [*READ_OF_TEXT] * source.embeds
    return read + ["language_model_cases"] * bool(system and system.language_model)


def unread(overrides: Iterable[str], *names: str) -> list[str]:
    """Those overrides that change nothing of any of these systems or tokenizer variants."""
    read = {setting for name in names for setting in settings_read(name)}

    def matters(override: str) -> bool:
        name = override.partition("=")[0]
        full_names = SHORT_NAMES.get(name, (name,))
        return any({full, full.partition(".")[0]} & read for full in full_names)

    return [override for override in overrides if not matters(override)]
