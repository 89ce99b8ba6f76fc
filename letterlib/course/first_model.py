"""The trained model that lesson 00 opens with, so that it recommends within a minute.

It is the LETTER-TIGER of `make run`, in half precision, and lies next to this file. To make it
again, from the cache of `make run` or in about two minutes:

    python -m letterlib.course.first_model
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from letterlib.decoding.trie import EOS, PAD

FILE = Path(__file__).with_name("first_model.safetensors")


def make(cache_dir: str | Path = "runs", file: str | Path = FILE) -> None:
    """Train the model with the laptop profile and seed 0, or find it in the cache; write `file`."""
    from letterlib.pipeline.config import make_config
    from letterlib.pipeline.pipeline import Pipeline

    config = make_config("movielens", "laptop", seed=0)
    model = Pipeline(config, cache=cache_dir).system("letter-tiger")
    model.network.half()
    model.save(file)


def next_code(model: Any, history: Sequence[int]) -> Callable[[Sequence[int]], np.ndarray]:
    """What a model would write next for somebody, as a function of what it has written so far.

    model: a `Tiger`. history: item ids, oldest first; the model reads the last few.
    Returns chances(written): for a list of 0 to L - 1 codes, the probability of each code of the
    next level, float32 [n_codes]. Answers are remembered, so that asking twice costs nothing.
    """
    network, sizes = model.network, model.identifiers.level_sizes
    first = [EOS + 1 + sum(sizes[:level]) for level in range(len(sizes))]
    items = torch.tensor(list(history[-model.config.history :]), dtype=torch.int64)
    read = torch.tensor(model.item_tokens)[items].flatten()
    with torch.no_grad():
        memory = network.encode(torch.cat([read, torch.tensor([EOS])])[None])
    known: dict[tuple[int, ...], np.ndarray] = {}

    @torch.no_grad()
    def chances(written: Sequence[int]) -> np.ndarray:
        codes = tuple(int(code) for code in written)
        if len(codes) >= len(sizes):
            raise ValueError(f"{list(codes)} is a whole name: nothing comes after it")
        if codes not in known:
            tokens = [PAD, *(start + code for start, code in zip(first, codes, strict=False))]
            logits = network.decode(torch.tensor([[tokens]]), memory)[0, 0, -1]
            level = slice(first[len(codes)], first[len(codes)] + sizes[len(codes)])
            known[codes] = logits.softmax(dim=0)[level].numpy()
        return known[codes].copy()

    return chances


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=make.__doc__)
    parser.add_argument("--cache-dir", default="runs", help="where stages are kept")
    make(parser.parse_args().cache_dir)
