"""Two processes that train together (gloo, CPU) against one that trains alone: the same batches,
the same result.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("processes"),  # else every worker would run them
]

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("process_worker.py")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")

TOLERANCE = 1e-4
"""How far apart the two results may lie, in parts of the way that training went. Measured: 1e-7 to
1e-5.
"""

KINDS = (
    "tokenizer",
    "tokenizer, one batch",
    "sasrec",
    "sasrec, bce",
    "bert4rec",
    "caser",
    "hgn",
    "mf",
    "lightgcn",
    "tiger",
    "lc-rec",
    "bigrec",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, tuple[dict, dict]]:
    """Weights and facts of "1-0" (alone), "2-0" (the main one of two) and "2-1"."""
    folder = tmp_path_factory.mktemp("processes")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    for launcher in ((), TORCHRUN):
        command = [sys.executable, *launcher, str(WORKER), str(folder)]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
    names = ("1-0", "2-0", "2-1")
    return {
        name: (
            load_file(folder / f"{name}.safetensors"),
            json.loads((folder / f"{name}.json").read_text()),
        )
        for name in names
    }


def weights(results: dict, which: str, kind: str, when: str) -> np.ndarray:
    prefix = f"{kind}/{when}."
    found = [
        tensor.numpy().ravel()
        for name, tensor in results[which][0].items()
        if name.startswith(prefix)
    ]
    return np.concatenate(found).astype(np.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_end_where_one_does(results, kind):
    alone, main, other = (weights(results, which, kind, "end") for which in ("1-0", "2-0", "2-1"))
    np.testing.assert_array_equal(main, other)
    way = np.linalg.norm(alone - weights(results, "1-0", kind, "start"))
    assert way > 0
    assert np.linalg.norm(main - alone) < TOLERANCE * way


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_logged_is_of_the_whole_batch(results, kind):
    """Losses are those of one process; a validation is made once, and every process knows its
    score.
    """
    alone, main, other = (results[which][1]["logs"][kind] for which in ("1-0", "2-0", "2-1"))
    assert main["losses"] == other["losses"] and main["validations"] == other["validations"]
    assert len(main["losses"]) == len(alone["losses"]) > 0
    for ours, theirs in zip(main["losses"], alone["losses"], strict=True):
        assert ours.keys() == theirs.keys()
        for part in ours:
            # Sums (LC-Rec's losses by task) are averaged over processes: only their ratios are
            # read.
            factor = 2 if part.endswith((": sum", ": tokens")) else 1
            assert factor * ours[part] == pytest.approx(theirs[part], rel=1e-4, abs=1e-6), part
    assert [epoch for epoch, _ in main["validations"]] == [
        epoch for epoch, _ in alone["validations"]
    ]
    np.testing.assert_allclose(
        [s for _, s in main["validations"]], [s for _, s in alone["validations"]], atol=0.02
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_takes_a_part_and_not_all(results, kind):
    """Where a batch has an odd number of rows the parts differ in size; two copies of a batch never
    do.
    """
    main, other = (results[which][1]["logs"][kind]["terms"] for which in ("2-0", "2-1"))
    assert len(main) == len(other) > 0 and main != other


def test_texts_are_shared_and_every_process_gets_all_vectors(results):
    alone, main, other = (results[which][0]["texts"].numpy() for which in ("1-0", "2-0", "2-1"))
    np.testing.assert_array_equal(main, alone)
    np.testing.assert_array_equal(other, alone)
    assert (np.abs(alone).sum(axis=1) > 0).all()


def test_dropout_is_drawn_by_each_process_for_itself(results):
    alone, main, other = (results[which][1]["random numbers"] for which in ("1-0", "2-0", "2-1"))
    assert main == alone, "the main process draws what one alone draws"
    assert not set(main) & set(other)


def test_a_stage_is_written_by_the_main_process_and_read_by_both(results):
    main, other = (results[which][1]["stages"] for which in ("2-0", "2-1"))
    assert [main["made"], other["made"]] == [1, 1], "both work, since both are needed to train"
    assert main["who"] == other["who"] == [0, 0]
    assert main["file"] == other["file"] == "0"
    assert main["from cache"] == other["from cache"] == [False, True]
    assert main["processes"] == 2
    assert len(main["said"]) == 3 and other["said"] == []
