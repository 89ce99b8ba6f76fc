"""What `test_gpu.py` runs in a process of its own: systems on the CPU and on a pretended GPU. Not a
test itself.

    python gpu_worker.py FOLDER NAME [NAME ...]

Writes <FOLDER>/<name>-<device>.npy, the items of every ranked list. Numbers are float32.
"""

import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pretended_gpu
from made_data import write_made_data

from letterlib import train
from letterlib.analysis.negatives import target_logits
from letterlib.baselines.sasrec import SASRec, SASRecConfig
from letterlib.data.dataset import Cases, Split
from letterlib.generators.p5 import to_transformers
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.tokenizer_analysis import analyse_tokenizers

SMALL = ["tokenizer.n_codes=16", "tokenizer.n_groups=4", "language_model_cases=8"]
DROPPING = ("sasrec_32", "sasrec", "sasrec_tuned", "bert4rec", "caser")
WITHOUT_DROPOUT = [f"{room}.dropout=0" for room in DROPPING]
"""On a GPU they draw other random numbers."""


def interrupted(folder: Path, split: Split, device: str) -> np.ndarray:
    """The item vectors of a SASRec whose training was stopped after its first checkpoint, and went
    on.
    """
    config = SASRecConfig(dimensions=16, epochs=4, dropout=0, batch_size=50)
    train.train.__kwdefaults__["checkpoint_seconds"] = 0.0
    save = train.Run.save

    def stop(run: train.Run) -> None:
        save(run)
        raise KeyboardInterrupt

    for what in (stop, save):
        train.Run.save = what
        model = SASRec(config, 0, device, folder / f"{device}.safetensors")
        with suppress(KeyboardInterrupt):
            model.fit(split)
    return model.item_vectors()


def main(folder: Path, names: list[str]) -> None:
    data = write_made_data(folder / "made", shortest=3)  # so that batches have padding
    for device in ("cpu", pretended_gpu.KIND):
        config = make_config("made", "smoke", device=device, overrides=SMALL + WITHOUT_DROPOUT)
        pipeline = Pipeline(
            config, data_dir=data, cache=Cache(folder / device, say=lambda line: None)
        )
        np.save(folder / f"embeddings-{device}.npy", pipeline.semantic().vectors)
        if device == "cpu":
            semantic = pipeline.semantic
        pipeline.semantic = semantic  # its last bits decide about identifiers
        for name in names:
            lists = pipeline.ranking(name, history="out").items
            unseen = Cases.from_histories([[3, 1, 4]])
            answer = pipeline.system(name).recommend(unseen, lists.shape[1]).items
            np.save(folder / f"{name}-{device}.npy", np.concatenate([lists, answer]))
        if "letter-tiger" in names:
            pipeline.decoding("letter-tiger")
            analyse_tokenizers(pipeline)
            tiger = pipeline.system("letter-tiger")
            target_logits(tiger, pipeline.split.cases("test"))
            to_transformers(tiger.network)
        np.save(folder / f"interrupted-{device}.npy", interrupted(folder, pipeline.split, device))
        used = {one.type for one in pretended_gpu.Accelerator.used}
        assert used == {device}, f"with device={device}, something was trained on {used}"
        pretended_gpu.Accelerator.used.clear()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
