"""Embedding item titles: texts per second, and sentence-transformers'."""

from functools import cache
from unittest.mock import patch

import numpy as np
from sentence_transformers import SentenceTransformer

from benchmarks.beauty import Beauty
from benchmarks.common import Row, Settings, alternate, rows_by_dtype, timed
from letterlib import text


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity of row i of a and row i of b, [n]."""
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def measure(settings: Settings) -> list[Row]:
    titles = Beauty.load(settings).dataset.titles()
    n = settings.pick(2_000, 256)
    chosen = np.sort(np.random.default_rng(settings.seed).permutation(len(titles))[:n])
    texts = [titles[i] for i in chosen]
    model = SentenceTransformer(text.find_encoder(), device="cpu")
    vectors: dict[str, np.ndarray] = {}

    def ours(dtype: str) -> float:
        def run() -> None:
            vectors[dtype] = text.embed_texts(texts, dtype=dtype, device="cpu")

        return n / timed(run)

    def peer() -> float:
        def run() -> None:
            vectors["peer"] = model.encode(texts, show_progress_bar=False)

        return n / timed(run)

    runs = {"auto": lambda: ours("auto"), "float32": lambda: ours("float32"), "peer": peer}
    # Both sides with their model in memory; `embed_texts` would load it at every call.
    with patch.object(text, "load_encoder", cache(text.load_encoder)):
        text.embed_texts(texts[:64], device="cpu")
        model.encode(texts[:64], show_progress_bar=False)
        spreads = alternate(runs, settings.pick(5, 2))
    similar = {dtype: cosines(vectors[dtype], vectors["peer"]) for dtype in ("auto", "float32")}
    return rows_by_dtype(
        spreads,
        what="Text embedding, Beauty titles, MiniLM-L6",
        unit="texts/s",
        goal=2.0,
        peer="sentence-transformers encode",
        note=lambda dtype: f"{n:,} titles, models loaded before; the peer in batches of 32.",
        check=lambda dtype: (
            f"cosine similarity of the two vectors of a text: mean {similar[dtype].mean():.5f}, "
            f"lowest {similar[dtype].min():.5f}"
        ),
    )
