"""MF and BERT4Rec beside cornac's, on one split of MovieLens: the same size, the same epochs, the
same cases.

    .venv-peers/bin/python experiments/conventional_parity.py \\
        --out experiments/results/movielens-conventional-parity.json

`.venv-peers` is the environment of `make bench`, with cornac. Neither side chooses its epoch on
validation: both keep their last weights. What still differs is in the result, in words.
"""

import importlib.util
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from letterlib.baselines.bert4rec import BERT4Rec, BERT4RecConfig
from letterlib.baselines.mf import MatrixFactorization, MatrixFactorizationConfig
from letterlib.cli import run_script
from letterlib.data import load_dataset
from letterlib.data.dataset import Cases, Split
from letterlib.data.flat_arrays import places_within
from letterlib.errors import LetterError
from letterlib.evaluation.evaluate import evaluate
from letterlib.evaluation.ranking import Ranking, rank_by_score
from letterlib.store import write_json

DIMENSIONS, HISTORY, LAYERS, HEADS, DROPOUT, MASKED = 64, 50, 2, 2, 0.2, 0.2

DIFFERENCES = {
    "MF": "cornac: one triple at a time by stochastic gradient descent, interactions drawn with "
    "replacement, rate .05, "
    "regularization .01 of every triple's step. Ours: AdamW, batches of 1,024, each interaction "
    "once an epoch.",
    "BERT4Rec": "both: two layers, two heads, dropout .2, a fifth masked, 50 places, rate .001, "
    "32 histories a step. "
    "cornac: BERT's blocks (layer norm last), softmax over the batch's items and 2,048 sampled "
    "ones, training cut into "
    "fixed pieces of 50 items, the last item never masked alone. Ours: layer norm first, softmax "
    "over the "
    "catalogue, pieces cut elsewhere every epoch, only the last item masked in a tenth of the "
    "histories.",
}


class WithoutValidation(Split):
    """The split, whose validation part is empty: training keeps its last weights."""

    def cases(self, part: str) -> Cases:
        return super().cases(part)[:0] if part == "valid" else super().cases(part)


def cornac_bpr(split: Split, epochs: int, seed: int) -> Callable[[Cases], torch.Tensor]:
    """Trained; scores of cases."""
    users = split.train.owners
    triples = list(
        zip(users.tolist(), split.train.values.tolist(), [1.0] * len(users), strict=True)
    )
    from cornac.data import Dataset as CornacDataset
    from cornac.models import BPR

    data = CornacDataset.build(triples)
    model = BPR(k=DIMENSIONS, max_iter=epochs, learning_rate=0.05, lambda_reg=0.01, seed=seed).fit(
        data
    )
    rows = np.array([data.uid_map[user] for user in range(split.n_users)])
    known = np.array(list(data.iid_map))  # cornac numbers items in the order in which it sees them
    columns = np.array(list(data.iid_map.values()))

    def scores(cases: Cases) -> torch.Tensor:
        out = np.full((len(cases), split.n_items), -np.inf, np.float32)
        out[:, known] = (model.u_factors[rows[cases.users]] @ model.i_factors.T + model.i_biases)[
            :, columns
        ]
        return torch.from_numpy(out)

    return scores


def cornac_bert4rec(split: Split, epochs: int, seed: int) -> Callable[[Cases], torch.Tensor]:
    """Trained on pieces of HISTORY items; scores of cases."""
    users, within = split.train.owners, places_within(split.train.lengths)
    pieces = users * 10_000 + within // HISTORY
    rows = zip(
        users.tolist(), pieces.tolist(), split.train.values.tolist(), within.tolist(), strict=True
    )
    from cornac.data import SequentialDataset
    from cornac.models import TransformerRec

    data = SequentialDataset.build(
        list(rows), fmt="USIT", global_iid_map={item: item for item in range(split.n_items)}
    )
    model = TransformerRec(
        backbone="bert",
        objective="mlm",
        embedding_dim=DIMENSIONS,
        batch_size=32,
        n_epochs=epochs,
        max_len=HISTORY,
        num_blocks=LAYERS,
        num_heads=HEADS,
        dropout=DROPOUT,
        mask_prob=MASKED,
        seed=seed,
    ).fit(data)
    return lambda cases: torch.from_numpy(
        np.stack(
            [model.score(0, cases.history(i).tolist())[: split.n_items] for i in range(len(cases))]
        )
    ).float()


def measured(
    recommend: Callable[[Cases, int, bool], Ranking], cases: Cases, split: Split
) -> dict[str, float]:
    """R@10 and N@10 with the history left in and filtered out."""
    found = {}
    for history, exclude in (("in", False), ("out", True)):
        metrics = evaluate(recommend(cases.without_targets(), 20, exclude), cases, split).metrics()
        found |= {
            f"{name}, history {history}": round(metrics[name], 4) for name in ("R@10", "N@10")
        }
    return found


def compared(
    name: str, ours: Any, peer: Callable, epochs: int, split: Split, cases: Cases, seed: int
) -> dict:
    """One system's row: both sides' figures and seconds."""
    began = time.perf_counter()
    ours.fit(split)
    trained = time.perf_counter()
    scores = peer(split, epochs, seed)
    seconds = {
        "letterlib": round(trained - began, 1),
        "cornac": round(time.perf_counter() - trained, 1),
    }
    return {
        "epochs": epochs,
        "letterlib": measured(ours.recommend, cases, split),
        "cornac": measured(
            lambda c, k, exclude: rank_by_score(scores, c, k, exclude), cases, split
        ),
        "training seconds": seconds,
        "differences": DIFFERENCES[name],
    }


def main(
    out: Annotated[Path, typer.Option(help="the JSON file to write")],
    mf_epochs: int = 60,
    bert_epochs: int = 30,
    n_cases: int = 500,
    seed: int = 0,
) -> None:
    if importlib.util.find_spec("cornac") is None:
        raise LetterError(
            "cornac is not installed here; make bench-quick makes .venv-peers, which has it"
        )
    dataset = load_dataset("movielens", None, Path("runs") / "data")
    split = WithoutValidation(dataset, 5)
    cases = split.cases("test").sample(n_cases, seed=0)
    mf = MatrixFactorization(
        MatrixFactorizationConfig(dimensions=DIMENSIONS, epochs=mf_epochs), seed, "cpu"
    )
    sizes = dict(
        dimensions=DIMENSIONS,
        n_layers=LAYERS,
        n_heads=HEADS,
        dropout=DROPOUT,
        history=HISTORY,
        masked=MASKED,
    )
    # As many histories a step as cornac takes: 32 of 50 items, a fifth of them masked.
    bert = BERT4Rec(BERT4RecConfig(**sizes, epochs=bert_epochs, batch_size=320), seed, "cpu")
    rows = {
        "MF": compared("MF", mf, cornac_bpr, mf_epochs, split, cases, seed),
        "BERT4Rec": compared("BERT4Rec", bert, cornac_bert4rec, bert_epochs, split, cases, seed),
    }
    about = {"data": dataset.source, "cases": len(cases), "seed": seed, "dimensions": DIMENSIONS}
    write_json(
        out,
        {**about, "cornac": version("cornac"), "threads": torch.get_num_threads(), "systems": rows},
    )
    for name, row in rows.items():
        print(name, row["letterlib"], row["cornac"], row["training seconds"])


if __name__ == "__main__":
    run_script(main)
