"""Embedding item titles: texts per second beside sentence-transformers."""

from functools import cache
from unittest.mock import patch

import numpy as np
from sentence_transformers import SentenceTransformer

from benchmarks.beauty import Beauty
from benchmarks.common import Row, Settings, alternate, named, timed
from letterlib import text
from letterlib.train import resolve_device, resolve_dtype


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
    return [_row(settings, n, dtype, spreads, one) for dtype, one in similar.items()]


def _row(settings: Settings, n: int, dtype: str, spreads: dict, similar: np.ndarray) -> Row:
    used = str(resolve_dtype(dtype, resolve_device("cpu"))).removeprefix("torch.")
    return Row(
        what="Text embedding, Beauty titles, MiniLM-L6"
        + ("" if dtype == "auto" else ", ours in float32"),
        unit="texts/s",
        ours=spreads[dtype],
        peer=spreads["peer"],
        peer_name=named("sentence-transformers") + " encode",
        goal=2.0 if dtype == "auto" else None,
        threads=settings.threads,
        dtype=f"ours {used} ({dtype}), sentence-transformers float32",
        note=(
            f"{n:,} titles, models loaded before; sentence-transformers with its defaults "
            "(batches of 32)."
        ),
        check=(
            f"cosine similarity of the two vectors of a text: mean {similar.mean():.5f}, "
            f"lowest {similar.min():.5f}"
        ),
    )
