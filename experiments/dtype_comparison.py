"""Does training in bfloat16 end where float32 ends? TIGER on the authors' identifiers, several
seeds in each.

    python experiments/dtype_comparison.py --data-dir data/beauty --out
    experiments/results/beauty-dtype --epochs 24

Data, identifiers, settings (profile laptop) and evaluation are the same; dtype and seed are all
that changes. A run that is done is not done again; one that was done on other data or with other
settings, such as other --epochs, is an error.
"""

import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from letterlib.cli import run_script
from letterlib.data import identifiers_file, load_dataset
from letterlib.errors import LetterError
from letterlib.evaluation.evaluate import evaluate
from letterlib.generators.tiger import Tiger
from letterlib.pipeline.cache import device_in_words, versions
from letterlib.pipeline.config import make_config
from letterlib.store import digest, read_json, sha256_of, write_json
from letterlib.tokenizer.identifiers import Identifiers

LEVEL_SIZES = (256,) * 4
DTYPES = ("float32", "bfloat16")
ONE_RATE = {"relative_rate": False, "learning_rate": 3e-3}
"""For all tensors, as the committed runs had it."""


def main(
    data_dir: Annotated[
        Path, typer.Option(help="folder with <Name>.inter.json, .item.json and .index.json")
    ],
    out: Annotated[Path, typer.Option(help="folder for one JSON a run and summary.json")],
    seeds: Annotated[int, typer.Option(min=2, help="seeds 0, 1, ...")] = 3,
    epochs: Annotated[int | None, typer.Option(help="instead of the profile's")] = None,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    data_dir = Path(os.path.abspath(data_dir))  # "." has no name
    dataset = load_dataset(data_dir.name, data_dir, out / "data")
    split = dataset.split(1)
    released = identifiers_file(data_dir.name, data_dir)
    if released is None:
        raise LetterError(
            f"{data_dir}: no <Name>.index.json here, the identifiers that both dtypes learn"
        )
    identifiers, names = Identifiers.load(released, split.n_items, LEVEL_SIZES), sha256_of(released)
    cases, results = split.cases("test"), {dtype: [] for dtype in DTYPES}
    changes = ONE_RATE | ({"epochs": epochs} if epochs else {})
    same = make_config("beauty", "laptop").tiger.model_copy(update=changes)
    configs = {dtype: same.model_copy(update={"dtype": dtype}) for dtype in DTYPES}
    for seed in range(seeds):  # all of them before anything is trained
        for dtype, config in configs.items():
            file = out / f"{dtype}-seed{seed}.json"
            done = read_json(file) if file.exists() else {}
            asked = config.model_dump(mode="json")
            same_data = done.get("data", dataset.fingerprint) == dataset.fingerprint
            if not same_data or any(asked[n] != v for n, v in done.get("config", {}).items()):
                raise LetterError(f"{file}: done with other data or settings; choose another --out")
    for seed in range(seeds):
        for dtype, config in configs.items():
            file, settings = out / f"{dtype}-seed{seed}.json", config.model_dump(mode="json")
            if not file.exists():
                # A checkpoint of other settings or data has another name, so that training does not
                # go on from it.
                made_of = digest(settings, dataset.fingerprint, names)
                checkpoint = out / f"{dtype}-seed{seed}-{made_of}.safetensors"
                tiger, began = (
                    Tiger(identifiers, config, seed, "auto", checkpoint=checkpoint),
                    time.perf_counter(),
                )
                tiger.fit(split)
                seconds = time.perf_counter() - began
                ranking = tiger.recommend(cases.without_targets(), 20)
                write_json(
                    file,
                    {
                        "data": dataset.fingerprint,
                        "identifiers": names,
                        "dtype": dtype,
                        "seed": seed,
                        "config": settings,
                        "losses": tiger.log.losses,
                        "validations": tiger.log.validations,
                        "training seconds": seconds,
                        "device": device_in_words(str(tiger.device)),
                        "versions": versions(),
                        "test": evaluate(
                            ranking, cases, split, identifiers.identifier_of_item
                        ).metrics(),
                    },
                )
                checkpoint.unlink(missing_ok=True)
            results[dtype].append(read_json(file))
    summary = {}
    for metric in ("R@10", "N@10"):
        values = {dtype: [one["test"][metric] for one in results[dtype]] for dtype in DTYPES}
        differences = np.subtract(values["bfloat16"], values["float32"])
        summary[metric] = values | {
            "spread of float32, standard deviation over seeds": float(
                np.std(values["float32"], ddof=1)
            ),
            "mean difference, bfloat16 - float32": float(differences.mean()),
        }
    write_json(out / "summary.json", summary)
    print(summary)


if __name__ == "__main__":
    run_script(main)
