"""Every system of the table, one line each: what it is called, which class it is, and what that
class is made from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from letterlib.baselines.bert4rec import BERT4Rec
from letterlib.baselines.caser import Caser
from letterlib.baselines.hgn import HGN
from letterlib.baselines.lightgcn import LightGCN
from letterlib.baselines.markov import MarkovFloor
from letterlib.baselines.mf import MatrixFactorization
from letterlib.baselines.popularity import Popularity
from letterlib.baselines.random_order import RandomOrder
from letterlib.baselines.sasrec import SASRec
from letterlib.errors import LetterError, did_you_mean
from letterlib.generators.bigrec import BIGRec
from letterlib.generators.lcrec import LCRec
from letterlib.generators.tiger import Tiger
from letterlib.pipeline.config import TOKENIZER_ARMS
from letterlib.pipeline.identifier_schemes import SCHEMES

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

    label: the name to print. kind: the class; it has `fit` and `recommend`. One that is trained
    also has `save`, `load`, `log` and `n_parameters`, and is made from (config, seed, device,
    checkpoint).
    config: the room of `RunConfig` that sizes it. Without one the class is called without
    arguments.
    identifiers: what its items are called, a tokenizer ("letter") or a scheme of
    `identifier_schemes`; the class gets them first. titles: the class gets the items' titles, too.
    language_model: a language model is in it. Then it takes an hour to train, and answers a sample
    of the cases.
    """

    label: str
    family: str
    kind: type
    config: str | None = None
    identifiers: str | None = None
    titles: bool = False
    language_model: bool = False

    @property
    def leaves_out_history(self) -> bool:
        """Whether it is validated with the history filtered out; otherwise it is left in, which
        gives lower figures.
        """
        return getattr(self.kind, "leaves_out_history", False)


SYSTEMS: dict[str, System] = {
    "random": System("Random", FLOOR, RandomOrder),
    "popularity": System("Popularity", FLOOR, Popularity),
    "markov": System("Markov floor", FLOOR, MarkovFloor),
    "mf": System("MF (BPR)", CONVENTIONAL, MatrixFactorization, "mf"),
    "caser": System("Caser", CONVENTIONAL, Caser, "caser"),
    "hgn": System("HGN", CONVENTIONAL, HGN, "hgn"),
    "bert4rec": System("BERT4Rec", CONVENTIONAL, BERT4Rec, "bert4rec"),
    "lightgcn": System("LightGCN", CONVENTIONAL, LightGCN, "lightgcn"),
    "sasrec": System("SASRec (default)", CONVENTIONAL, SASRec, "sasrec"),
    "sasrec-tuned": System("SASRec (tuned)", CONVENTIONAL, SASRec, "sasrec_tuned"),
    "bigrec": System("BIGRec", TEXT, BIGRec, "bigrec", language_model=True),
    "p5-tid": System("P5-TID", TEXT, Tiger, "tiger", "titles"),
    "p5-semid": System("P5-SemID", ID, Tiger, "tiger", "categories"),
    "p5-cid": System("P5-CID", ID, Tiger, "tiger", "co-occurrence"),
    "tiger": System("TIGER (RQ-VAE)", CODEBOOK, Tiger, "tiger", "plain"),
    "letter-tiger": System("LETTER-TIGER", CODEBOOK, Tiger, "tiger", "letter"),
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

LABELS: Mapping[str, str] = {name: one.label for name, one in SYSTEMS.items()}

FLOORS = ("popularity", "markov")
"""The systems that a trained one has to clear."""

FIRST_RUN = ("popularity", "markov", "lightgcn", "sasrec-tuned", "tiger", "letter-tiger")
"""What `letterlib run` compares, in minutes; `letterlib table` has them all."""

QUICK = [name for name, one in SYSTEMS.items() if not one.language_model]
"""The systems without a language model: minutes on two cores, where those with one take an hour
each.
"""


GENERATORS: Mapping[str, System] = {name: SYSTEMS[name] for name in ("tiger", "lc-rec")}
"""The systems that write identifiers, with those of the plain RQ-VAE; `with_identifiers` gives them
others.
"""

CODES = (*TOKENIZER_ARMS, *(name for name, one in SCHEMES.items() if not one.words))
"""Identifiers made of codes: by a tokenizer, or by a scheme of `identifier_schemes`."""

NAMES = tuple(name for name, one in SCHEMES.items() if one.words)
"""P5's identifiers. TIGER writes them, too."""


def written_by(generator: str) -> tuple[str, ...]:
    """The identifiers that one of GENERATORS can write."""
    return (*CODES, *NAMES) if generator == "tiger" else CODES


def with_identifiers(generator: str, identifiers: str) -> str:
    """What the system is called that writes these identifiers: "letter-tiger", "tiger-cf", ..."""
    kind = GENERATORS[generator].kind
    named = [
        name for name, one in SYSTEMS.items() if (one.kind, one.identifiers) == (kind, identifiers)
    ]
    return named[0] if named else f"{generator}-{identifiers}"


def find_system(name: str) -> System:
    """A system of the table, or "<generator>-<identifiers>" such as "tiger-cf".

    Another name is a LetterError that lists what there is.
    """
    if name in SYSTEMS:
        return SYSTEMS[name]
    for generator, one in GENERATORS.items():
        identifiers = name.removeprefix(f"{generator}-")
        if identifiers != name and identifiers in written_by(generator):
            if (usual := with_identifiers(generator, identifiers)) in SYSTEMS:
                raise LetterError(
                    f'"{name}" is called "{usual}"'
                )  # under two names it would be trained twice
            label = f"{one.label.split(' (')[0]}, {identifiers}"
            return replace(one, label=label, family=ABLATION, identifiers=identifiers)
    others = [with_identifiers(one, codes) for one in GENERATORS for codes in written_by(one)]
    possible = dict.fromkeys([*SYSTEMS, *others])
    raise LetterError(
        f'unknown system "{name}"; {did_you_mean(name, possible)}choose one of {", ".join(possible)}'
    )


def place(name: str) -> tuple[int, str]:
    """To sort by: the table's systems in its order, then the others by name."""
    return (list(SYSTEMS).index(name), "") if name in SYSTEMS else (len(SYSTEMS), name)


def rooms_of(system: System | None, identifiers: str | None) -> tuple[str, ...]:
    """The rooms of `RunConfig` that a system with these identifiers reads, or without one their
    tokenizer alone.
    """
    rooms = ["held_out"] + ([system.config] if system and system.config else [])
    if identifiers in TOKENIZER_ARMS:
        rooms += ["tokenizer", "sasrec_32", "encoder", "text_tokens"]
    elif scheme := SCHEMES.get(identifiers or ""):
        rooms += ["tokenizer"] * scheme.sized + ["encoder", "text_tokens"] * scheme.embeds
    return (*rooms, "language_model_cases") if system and system.language_model else tuple(rooms)


def unread(overrides: Iterable[str], *names: str) -> list[str]:
    """Those overrides, such as "tiger.epochs=3", that change nothing of any of these systems or
    tokenizers.
    """
    return [one for one in overrides if not any(_reads(name, one) for name in names)]


def _reads(name: str, override: str) -> bool:
    system = None if name in TOKENIZER_ARMS else find_system(name)
    identifiers = system.identifiers if system else name
    room, _, option = override.partition("=")[0].partition(".")
    fixed = TOKENIZER_ARMS.get(identifiers, {})
    if (room == "sasrec_32" and "alpha" in fixed) or (option == "n_groups" and "beta" in fixed):
        return False  # only the loss that is left out reads them
    if (
        room == "tokenizer" and identifiers in SCHEMES
    ):  # it has the tokenizer's sizes, and trains nothing
        return SCHEMES[identifiers].sized and option in ("n_levels", "n_codes")
    return room in rooms_of(system, identifiers) and not (room == "tokenizer" and option in fixed)
