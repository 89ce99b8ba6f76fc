"""LETTER, step by step: learnable item tokenization for generative recommendation.

    import letterlib as ll

    sizes = ll.make_config(profile="laptop")  # "smoke" takes seconds, "paper" wants a GPU
    films = ll.load_dataset("movielens")
    split = films.split(held_out=5)
    text = ll.embed(films)  # [n_items, 384]
    audience = ll.SASRec(sizes.sasrec_32).fit(split).item_vectors()  # [n_items, 32]
    identifiers = ll.LetterTokenizer(sizes.tokenizer).fit(text, audience).identifiers()
    tiger = ll.Tiger(identifiers, sizes.tiger).fit(split)
    print(ll.evaluate(tiger, split))
    print(ll.recommend(tiger, films, ["Toy Story (1995)", "Alien (1979)"], k=10))
    tiger.save("tiger.safetensors")

`ll.Pipeline(sizes)` does the same in cached stages. Names are imported when they are first used.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    from letterlib.baselines.markov import MarkovFloor as MarkovFloor
    from letterlib.baselines.popularity import Popularity as Popularity
    from letterlib.baselines.sasrec import SASRec as SASRec
    from letterlib.data.dataset import Dataset as Dataset
    from letterlib.data.dataset import Split
    from letterlib.evaluation.evaluate import Evaluation
    from letterlib.evaluation.ranking import Recommender
    from letterlib.generators.lcrec import LCRec as LCRec
    from letterlib.generators.tiger import Tiger as Tiger
    from letterlib.pipeline.config import make_config as make_config
    from letterlib.pipeline.pipeline import Pipeline as Pipeline
    from letterlib.pipeline.register import load_plugin as load_plugin
    from letterlib.pipeline.register import register_dataset as register_dataset
    from letterlib.pipeline.register import register_identifiers as register_identifiers
    from letterlib.pipeline.register import register_system as register_system
    from letterlib.tokenizer.identifiers import Identifiers as Identifiers
    from letterlib.tokenizer.letter import LetterTokenizer as LetterTokenizer

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "data.dataset",
    "Identifiers": "tokenizer.identifiers",
    "LCRec": "generators.lcrec",
    "LetterTokenizer": "tokenizer.letter",
    "MarkovFloor": "baselines.markov",
    "Pipeline": "pipeline.pipeline",
    "Popularity": "baselines.popularity",
    "SASRec": "baselines.sasrec",
    "Tiger": "generators.tiger",
    "load_plugin": "pipeline.register",
    "make_config": "pipeline.config",
    "register_dataset": "pipeline.register",
    "register_identifiers": "pipeline.register",
    "register_system": "pipeline.register",
}
__all__ = [*sorted(_HOMES), "embed", "evaluate", "load", "load_dataset", "recommend"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"letterlib.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'letterlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def load_dataset(
    name: str = "movielens",
    folder: str | Path | None = None,
    repeats: Literal["keep", "drop"] = "keep",
) -> "Dataset":
    """Load a data set: interactions in order of time, and item text.

    name: "movielens" and "complete-journey" come with the installation; others are read from files.
    folder: the files of a released data set, or of one that `letterlib data import` made.
    repeats: "drop" leaves only the first of a user's interactions with an item.
    Raises LetterError for data that are not there or broken, with the file and the place.
    """
    from letterlib import data

    return data.load_dataset(name, None if folder is None else Path(folder), repeats=repeats)


def embed(dataset: "Dataset", encoder: str = "minilm", device: str = "auto") -> "np.ndarray":
    """The text of every item as a vector, float32 [n_items, d] (LETTER section 3.1).

    encoder: "minilm" (installed, d = 384), or a Hugging Face model id or folder.
    """
    from letterlib.text import embed_texts

    return embed_texts(dataset.texts(), encoder, device=device)


def evaluate(
    model: "Recommender", split: "Split", k: int = 20, exclude_history: bool = False
) -> "Evaluation":
    """Rank the whole catalogue for every test case, and measure the lists.

    model: anything with `recommend(cases, k, exclude_history)` that returns a Ranking.
    k: places of each list; metrics at any smaller k are known.
    exclude_history: leave the items of the case's own history out; the paper leaves them in.
    Returns per-case results; `print` shows their means, `.metrics()` gives them as numbers.
    """
    from letterlib.evaluation.evaluate import evaluate as measure

    cases = split.cases("test")
    ranking = model.recommend(cases.without_targets(), k, exclude_history=exclude_history)
    identifiers = getattr(model, "identifiers", None)
    return measure(ranking, cases, split, getattr(identifiers, "identifier_of_item", None))


def recommend(
    model: "Recommender", dataset: "Dataset", titles: list[str], k: int = 10
) -> list[str]:
    """The titles of the k items that a fitted model recommends to somebody new.

    titles: what the person liked, oldest first; their own items are not recommended again.
    Raises LetterError for a title that fits no item, or several.
    """
    from letterlib.data.dataset import Cases

    case = Cases.from_histories([dataset.find_items(titles)])
    ranking = model.recommend(case, k, exclude_history=True)
    names = dataset.titles()
    return [names[item] for item in ranking.items[0] if item >= 0]


def load(path: str | Path, device: str = "auto") -> Any:
    """A trained model or tokenizer from the file that its `save` wrote.

    Raises LetterError for a file that is missing, damaged, or no model of this library.
    """
    from letterlib.errors import LetterError
    from letterlib.store import load_tensors

    kind = load_tensors(path)[1].get("kind", "")
    if kind not in _MODELS:
        raise LetterError(f"{path}: no model of letterlib; choose a file that `save` wrote")
    if isinstance(_MODELS[kind], type):  # registered
        return _MODELS[kind].load(path, device=device)
    home, name = _MODELS[kind]
    return getattr(import_module(f"letterlib.{home}"), name).load(path, device=device)


_MODELS: dict[str, Any] = {
    "LetterTokenizer": ("tokenizer.letter", "LetterTokenizer"),
    "TIGER": ("generators.tiger", "Tiger"),
    "LC-Rec": ("generators.lcrec", "LCRec"),
    "BIGRec": ("generators.bigrec", "BIGRec"),
    "SASRec": ("baselines.sasrec", "SASRec"),
    "TIGER + counts": ("generators.counting", "CountedTiger"),
    "SASRec + counts": ("generators.counting", "CountedSASRec"),
    "BERT4Rec": ("baselines.bert4rec", "BERT4Rec"),
    "Caser": ("baselines.caser", "Caser"),
    "HGN": ("baselines.hgn", "HGN"),
    "MF": ("baselines.mf", "MatrixFactorization"),
    "LightGCN": ("baselines.lightgcn", "LightGCN"),
}
"""What a saved file says it holds, and the class that reads it."""
