"""Runs of a second or two on a made data set, and runs that never were."""

import numpy as np

from letterlib.pipeline.results import METRICS, Run
from letterlib.pipeline.runs import RunParameters

SMALL = ("tiger.epochs=6", "tiger.examples=400", "tokenizer.epochs=6", "sasrec_32.epochs=2")


def small_run(**changes) -> RunParameters:
    """TIGER on the made data set, at its smallest, with these parameters changed."""
    sizes = {"codes": 16}
    if changes.get("tokenizer", "letter") in ("letter", "div"):
        sizes["clusters"] = 4
    given = dict(dataset="made", profile="smoke", device="cpu", options=SMALL) | sizes | changes
    return RunParameters.checked(**given)


def made_run(n=60, luck=0, validation=0.1, fingerprint="data", cases=None, **values) -> Run:
    """A run with random ranks. luck: of another draw. cases: only these were answered."""
    asked = RunParameters.checked(**values)
    random = np.random.default_rng([asked.seed, luck])
    cases = np.arange(n) if cases is None else np.asarray(cases)
    drawn = random.integers(-1, 20, (2, n))[:, cases]
    run = Run(
        {
            "key": asked.key,
            "parameters": asked.settings,
            "system": asked.system,
            "label": asked.label,
            "depth": 20,
            "dataset": {"fingerprint": fingerprint, "held out": 5, "source": "made"},
            "config": {"encoder": "minilm"},
            "validation N@10": validation,
            "weights": 10,
            "cases": {"total": n},
            "stages": [
                {"name": asked.system, "seconds": 3.0},
                {"name": f"evaluation-{asked.system}", "seconds": 2.0},
                {"name": "semantic", "seconds": 100.0},
            ],
            "device": "cpu",
        },
        cases,
        cases // 5,
        cases % 3,
        cases % 8,
        {"in": drawn[0], "out": drawn[1]},
    )
    lists = {"coverage": 0.5, "validity": 1.0}
    metrics = {
        f"history {history}": {m: float(run.values(m, history).mean()) for m in METRICS} | lists
        for history in ("in", "out")
    }
    run.record["metrics"] = metrics
    return run
