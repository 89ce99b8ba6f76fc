"""The files of the page to play with, docs/play/: three trained models and the films.

The models are LETTER-TIGERs of profile laptop and seed 0, in half precision; they differ in what
their identifiers were learned from:

    both.safetensors      text and audience: LETTER's tokenizer; the model of lesson 00
    text.safetensors      text alone: a plain RQ-VAE on text embeddings, as TIGER has it
    audience.safetensors  audience alone: a plain RQ-VAE on the item vectors of a small SASRec

`letterlib.load` reads them, and so does docs/play/model.js. To make them again, in about ten
minutes on two cores:

    python -m letterlib.course.play
"""

import argparse
import json
import re
import shutil
from pathlib import Path

import numpy as np

from letterlib.course import first_model
from letterlib.data.dataset import Dataset
from letterlib.errors import LetterError

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "play"
MODELS = ("both", "text", "audience")

_ARTICLES = "The|A|An|La|Le|Les|L'|Il|Der|Die|Das|El|Los|Las"


def make(cache_dir: str | Path = "runs", folder: str | Path = FOLDER) -> None:
    """Train the models, or find them in the cache, and write all files of the page.

    cache_dir: where a pipeline keeps its stages.
    folder: the page's; its models and films.json are overwritten.
    """
    from letterlib.pipeline.config import make_config
    from letterlib.pipeline.pipeline import Pipeline

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(first_model.FILE, folder / "both.safetensors")

    text = Pipeline(make_config("movielens", "laptop"), cache=cache_dir)
    vectors = Path(cache_dir) / "play_audience_vectors.npy"
    np.save(vectors, text.collaborative().vectors)
    options = [f"item_vectors={vectors}"]
    audience = Pipeline(make_config("movielens", "laptop", overrides=options), cache=cache_dir)
    for name, pipeline in {"text": text, "audience": audience}.items():
        model = pipeline.system("tiger")
        model.network.half()
        model.save(folder / f"{name}.safetensors")
    write_films(text.dataset, text.split.train_counts, folder / "films.json")


def write_films(films: Dataset, counts: np.ndarray, file: Path) -> None:
    """Write what the page shows of each film, in the order of the models' item ids.

    counts: int64 [n_items], how many people watched each film.
    The file is a JSON object of lists: titles, years, genres and counts.
    """
    titles, years = zip(*map(title_and_year, films.titles()), strict=True)
    genres = films.items["genres"].fillna("").str.replace("|", ", ").tolist()
    columns = {"titles": titles, "years": years, "genres": genres, "counts": counts.tolist()}
    file.write_text(
        json.dumps(columns, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
    )


def title_and_year(title: str) -> tuple[str, int]:
    """A title of MovieLens as a person writes it, and the film's year.

    "Matrix, The (1999)" is ("The Matrix", 1999).
    """
    found = re.fullmatch(r"(.*) \((\d{4})\)", title)
    if found is None:
        raise LetterError(f'"{title}" does not end with a year in parentheses')
    name = re.sub(rf"^(.*?), ({_ARTICLES})(?= \(|$)", r"\2 \1", found[1]).replace("L' ", "L'")
    return name, int(found[2])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=make.__doc__.partition("\n")[0])
    parser.add_argument("--cache-dir", default="runs", help="where stages are kept")
    make(parser.parse_args().cache_dir)
