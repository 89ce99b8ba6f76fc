"""Every benchmark runs at its smallest size, on made files with the names of Beauty's."""

import importlib
import json

import numpy as np
import pytest
import torch

from benchmarks.__main__ import BENCHMARKS, PEERS
from benchmarks.common import Settings

N_USERS, N_ITEMS = 300, 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Users who walk through the catalogue, items with titles and identifiers."""
    folder, random = tmp_path_factory.mktemp("beauty"), np.random.default_rng(0)
    walks = (random.integers(N_ITEMS, size=(N_USERS, 1)) + np.arange(12)) % N_ITEMS
    inter = {str(user): walk.tolist() for user, walk in enumerate(walks)}
    inter["0"] = list(range(N_ITEMS))
    codes = np.unique(random.integers(0, 256, (2 * N_ITEMS, 4)), axis=0)[:N_ITEMS]
    index = {
        str(item): [f"<{level}_{code}>" for level, code in zip("abcd", row, strict=True)]
        for item, row in enumerate(codes)
    }
    items = {str(item): {"title": f"thing number {item}"} for item in range(N_ITEMS)}
    for name, value in (("inter", inter), ("index", index), ("item", items)):
        (folder / f"Beauty.{name}.json").write_text(json.dumps(value))
    return folder


SLOW = {"train_t5"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in BENCHMARKS],
)
def test_a_benchmark_runs_and_both_sides_agree(folder, name):
    if name in PEERS:
        pytest.importorskip(PEERS[name])
    threads = torch.get_num_threads()
    try:
        rows = importlib.import_module(f"benchmarks.{name}").measure(
            Settings(str(folder), quick=True, threads=1)
        )
    finally:
        torch.set_num_threads(threads)
    assert rows and all(row.ours.median > 0 for row in rows)
    for row in rows:
        assert row.ratio is None or row.ratio.median > 0
        assert "NOT" not in row.check, row.check
