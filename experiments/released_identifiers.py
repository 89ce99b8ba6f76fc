"""LETTER-TIGER on a released data set with the identifiers that its authors released, at the paper's size.

Architecture and evaluation are the paper's; epochs, batch and learning rate are what two CPU cores can do in two
hours:

    python experiments/released_identifiers.py --data-dir data/beauty --out experiments/results/beauty-released

Interrupt it and start it again: it goes on from its last checkpoint.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from letterlib.data import load_dataset
from letterlib.errors import LetterError
from letterlib.evaluation.evaluate import evaluate
from letterlib.files import read_json, write_json
from letterlib.generation.tiger import Tiger, TigerConfig
from letterlib.tokenization.identifiers import Identifiers

LEVEL_SIZES = (256,) * 4


def main(
    data_dir: Annotated[Path, typer.Option(help="folder with <Name>.inter.json, .item.json and .index.json")],
    out: Annotated[Path, typer.Option(help="folder for result.json, the model and the checkpoint")],
    epochs: int = 45,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    dropout: float = 0.1,
    tau: float = 1.0,
    validate_every: int = 4,
    seed: int = 0,
    device: str = "auto",
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    dataset = load_dataset(data_dir.name, data_dir, out / "data")
    split = dataset.split(1)
    identifiers = Identifiers.load(next(data_dir.glob("*.index.json")), split.n_items, LEVEL_SIZES)
    config = TigerConfig(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, dropout=dropout, tau=tau,
        validate_every=validate_every,
    )  # fmt: skip
    tiger = Tiger(identifiers, config, seed, device, checkpoint=out / "checkpoint.safetensors")
    began = time.perf_counter()
    tiger.fit(split)
    trained = time.perf_counter()
    tiger.save(out / "model.safetensors")
    cases = split.cases("test")
    tests = {}
    for name, decode_tau in {"raw": 1.0, "tau": tau}.items() if tau != 1 else [("raw", 1.0)]:
        ranking = tiger.recommend(cases.without_targets(), 20, tau=decode_tau)
        evaluation = evaluate(ranking, cases, split, identifiers.identifier_of_item)
        tests[name] = evaluation.metrics()
    write_json(out / "result.json", {
        "config": config.model_dump(), "seed": seed, "device": str(tiger.device), "parameters": tiger.n_parameters,
        "losses": tiger.log.losses, "validations": tiger.log.validations, "best epoch": tiger.log.best_epoch,
        "training seconds": trained - began, "evaluation seconds": time.perf_counter() - trained,
        "test": tests,
    })  # fmt: skip
    print(read_json(out / "result.json")["test"])


if __name__ == "__main__":
    try:
        typer.run(main)
    except LetterError as error:
        raise SystemExit(f"error: {error}") from error
