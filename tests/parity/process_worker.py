"""What `test_distributed.py` runs in one process, and in two: every kind of training, made small.
Not a test itself.

    python process_worker.py FOLDER                            alone
    torchrun --nproc_per_node 2 process_worker.py FOLDER       two processes that train together

Every process writes <FOLDER>/<processes>-<which>.safetensors (weights before and after) and .json
(what was logged). Dropout is 0 and numbers are float32, so nothing but rounding tells the two ways
apart.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from letterlib import distributed
from letterlib.baselines.bert4rec import BERT4Rec, BERT4RecConfig
from letterlib.baselines.caser import Caser, CaserConfig
from letterlib.baselines.hgn import HGN, HGNConfig
from letterlib.baselines.lightgcn import LightGCN, LightGCNConfig
from letterlib.baselines.mf import MatrixFactorization, MatrixFactorizationConfig
from letterlib.baselines.sasrec import SASRec, SASRecConfig
from letterlib.data.dataset import Dataset, Sequences
from letterlib.distributed import n_processes, process_index
from letterlib.generators.bigrec import BIGRec, BIGRecConfig
from letterlib.generators.lcrec import LCRec, LCRecConfig
from letterlib.generators.tiger import Tiger, TigerConfig
from letterlib.pipeline.cache import Cache, Stage
from letterlib.text import embed_texts
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.letter import LetterTokenizer, TokenizerConfig
from letterlib.train import Run, train

N_ITEMS = 43
FLOAT = {"dtype": "float32"}
SMALL = FLOAT | {"dimensions": 16, "epochs": 2, "batch_size": 50, "learning_rate": 3e-3}
TEXTS = [" ".join(["word"] * (1 + 3 * i % 23)) for i in range(31)]


def walks() -> Dataset:
    """31 users with histories of 3 to 25 items: neither users nor items nor batches are divisible
    by two.
    """
    generator = np.random.default_rng(0)
    lists = [generator.permutation(N_ITEMS)[:n] for n in generator.integers(3, 26, 31)]
    items = pd.DataFrame({"title": [f"item {i}" for i in range(N_ITEMS)], "genres": "Comedy|Drama"})
    return Dataset(
        "walks", Sequences.from_lists(lists), items, "made", [str(u) for u in range(len(lists))]
    )


def identifiers() -> Identifiers:
    codes = np.stack(
        np.unravel_index(np.random.default_rng(0).permutation(216)[:N_ITEMS], (6, 6, 6)), axis=1
    )
    return Identifiers(codes, (6, 6, 6))


def letter(batch_size: int) -> None:
    """With 21, batches of 21, 21 and 1: the last has fewer rows than there are processes."""
    config = TokenizerConfig(
        alpha=0.5,
        beta=0.1,
        n_levels=3,
        n_codes=8,
        n_groups=3,
        hidden=(16,),
        epochs=4,
        batch_size=batch_size,
        learning_rate=3e-3,
        **FLOAT,
    )
    generator = np.random.default_rng(1)
    LetterTokenizer(config, 0, "cpu").fit(
        generator.normal(size=(N_ITEMS, 20)), generator.normal(size=(N_ITEMS, 32))
    )


def trainings() -> dict:
    """Every kind of training by name, as a function that does it."""
    split, titles = walks().split(1), walks().titles()
    sasrec = SMALL | {"n_layers": 1, "dropout": 0.0, "history": 10}
    tiger = TigerConfig(
        d_model=16,
        d_ff=32,
        n_heads=2,
        d_head=8,
        n_layers=1,
        dropout=0.0,
        history=6,
        targets=3,
        epochs=2,
        batch_size=15,
        beam=10,
        learning_rate=3e-3,
        **FLOAT,
    )
    language = {
        "language_model": "tiny",
        "history": 5,
        "targets": 5,
        "dropout": 0.0,
        "learning_rate": 3e-3,
        **FLOAT,
    }
    lcrec = LCRecConfig(epochs=1, batch_size=15, alignment=0.3, beam=10, **language)
    bigrec = BIGRecConfig(epochs=1, batch_size=15, beam=1, validation_cases=3, **language)
    return {
        "tokenizer": lambda: letter(batch_size=21),
        "tokenizer, one batch": lambda: letter(batch_size=64),
        "sasrec": lambda: SASRec(SASRecConfig(**sasrec), 0, "cpu").fit(split),
        "sasrec, bce": lambda: SASRec(SASRecConfig(**sasrec, loss="bce"), 0, "cpu").fit(split),
        "bert4rec": lambda: BERT4Rec(BERT4RecConfig(**sasrec), 0, "cpu").fit(split),
        "caser": lambda: Caser(CaserConfig(**SMALL, dropout=0.0), 0, "cpu").fit(split),
        "hgn": lambda: HGN(HGNConfig(**SMALL), 0, "cpu").fit(split),
        "mf": lambda: MatrixFactorization(MatrixFactorizationConfig(**SMALL), 0, "cpu").fit(split),
        "lightgcn": lambda: LightGCN(
            LightGCNConfig(dimensions=16, epochs=2, batch_size=51), 0, "cpu"
        ).fit(split),
        "tiger": lambda: Tiger(identifiers(), tiger, 0, "cpu").fit(split),
        "lc-rec": lambda: LCRec(identifiers(), titles, lcrec, 0, "cpu").fit(split),
        "bigrec": lambda: BIGRec(bigrec, 0, "cpu").fit(split),
    }


def record(training) -> tuple[dict, dict]:
    """Do it; weights before the first step and after the last, what was logged, and the terms of
    this one's shares.
    """
    weights, logs, terms = {}, [], []
    resume, finish, averaged = Run.resume, Run.finish, distributed.averaged

    def at_start(run: Run) -> None:
        resume(run)
        weights.update({f"start.{name}": weight.clone() for name, weight in run.weights().items()})

    def at_end(run: Run) -> None:
        finish(run)
        weights.update({f"end.{name}": weight.clone() for name, weight in run.weights().items()})
        logs.append({"losses": run.log.losses, "validations": run.log.validations})

    def counted(n_terms: torch.Tensor) -> torch.Tensor:
        terms.append(int(n_terms))
        return averaged(n_terms)

    Run.resume, Run.finish, distributed.averaged = at_start, at_end, counted
    try:
        training()
    finally:
        Run.resume, Run.finish, distributed.averaged = resume, finish, averaged
    return weights, logs[-1] | {"terms": terms}


def random_numbers() -> list[float]:
    """What dropout would draw in this process, in two epochs."""
    drawn, module = [], torch.nn.Linear(1, 1)

    def loss(module: torch.nn.Module, _batch: int) -> dict:
        drawn.append(float(torch.rand(())))
        return {"loss": module(torch.ones(1, 1)).sum()}

    train(
        module,
        lambda _: range(2),
        loss,
        epochs=2,
        steps_per_epoch=2,
        learning_rate=1e-3,
        seed=5,
        what="draws",
    )
    return drawn


def stages(folder: Path) -> dict:
    """A stage that is made, and then found. Its file and its metrics say which process they come
    from.
    """
    said, made = [], []

    def work(out: Path, partial: Path) -> dict:
        made.append(out)
        (out / "who.txt").write_text(str(process_index()))
        return {"who": process_index()}

    cache = Cache(folder / f"cache-{n_processes()}", said.append)
    identity = {"config": {}, "inputs": [], "seed": 0, "device": "cpu"}
    found = [Stage(cache, "demo", 1, work, **identity) for _ in range(2)]
    metrics = [one.metrics for one in found]
    return {
        "said": said,
        "made": len(made),
        "who": [one["who"] for one in metrics],
        "file": found[1].path("who.txt").read_text(),
        "from cache": [one.from_cache for one in found],
        "processes": found[1].record["processes"],
    }


def main(folder: Path) -> None:
    tensors, logs = {}, {}
    for name, training in trainings().items():
        weights, logs[name] = record(training)
        tensors |= {f"{name}/{key}": weight.contiguous() for key, weight in weights.items()}
    tensors["texts"] = torch.from_numpy(
        embed_texts(TEXTS, tokens_per_batch=64, device="cpu", dtype="float32")
    )
    facts = {"logs": logs, "random numbers": random_numbers(), "stages": stages(folder)}
    stem = folder / f"{n_processes()}-{process_index()}"
    save_file(tensors, f"{stem}.safetensors")
    Path(f"{stem}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
