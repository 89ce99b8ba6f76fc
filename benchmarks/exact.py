"""Scoring every item of the catalogue exactly: our packed trie, or a forward pass per item."""

from functools import partial

import numpy as np
import torch

from benchmarks.beauty import Beauty, padded_batch, short_tiger
from benchmarks.common import Row, Settings, alternate, named, timed
from letterlib.data.dataset import Cases
from letterlib.generators.p5 import to_transformers

PAIRS = (1, 256)
"""(user, item) pairs in one forward pass of the peer: one, and as many as are fast."""


@torch.no_grad()
def pair_scores(
    t5, case: Cases, items: np.ndarray, item_tokens: np.ndarray, pairs_at_once: int
) -> np.ndarray:
    """log P(item | history of the one case) for every item, float32 [n], encoder and decoder for
    each pair.
    """
    scores = []
    for start in range(0, len(items), pairs_at_once):
        part = items[start : start + pairs_at_once]
        pairs = Cases(
            np.repeat(case.users, len(part)),
            case.values,
            np.repeat(case.starts, len(part)),
            np.repeat(case.ends, len(part)),
            part,
        )
        tokens, mask, targets = padded_batch(pairs, item_tokens)
        logits = t5(input_ids=tokens, attention_mask=mask, labels=targets).logits
        scores.append(logits.log_softmax(-1).gather(2, targets[:, :, None]).sum((1, 2)))
    return torch.cat(scores).numpy()


def measure(settings: Settings) -> list[Row]:
    beauty = Beauty.load(settings)
    tiger, weights = short_tiger(beauty, settings)
    t5, n_items = to_transformers(tiger.network), beauty.dataset.n_items
    n_users, sample = settings.pick((4, 2_048), (1, 256))
    cases = beauty.dataset.split().cases("test").without_targets().sample(n_users, settings.seed)
    items = np.random.default_rng(settings.seed).permutation(n_items)[:sample]
    # The first user whose history has the median length pays for the pairs.
    middle = np.argsort(cases.lengths, kind="stable")[len(cases) // 2]
    one = cases[middle : middle + 1]
    mine, theirs = np.empty(n_items, np.float32), {}

    def ours() -> float:
        def run() -> None:
            ranking = tiger.recommend(cases, n_items, beam=n_items)
            mine[ranking.items[middle]] = ranking.scores[middle]

        return n_items * n_users / timed(run)

    def peer(pairs: int) -> float:
        scored = items[: sample if pairs > 1 else sample // 8]

        def run() -> None:
            theirs[pairs] = pair_scores(t5, one, scored, beauty.item_tokens, pairs)

        return len(scored) / timed(run)

    if not settings.quick:
        ours()  # the first pass of either is not counted
        pair_scores(t5, one, items[: max(PAIRS)], beauty.item_tokens, max(PAIRS))
    runs = {"ours": ours} | {f"peer {pairs}": partial(peer, pairs) for pairs in PAIRS}
    spreads = alternate(runs, settings.pick(3, 1))
    gaps = {
        pairs: float(np.abs(mine[items[: len(scores)]] - scores).max())
        for pairs, scores in theirs.items()
    }
    return [
        Row(
            what=(
                f"Exact scoring of the whole catalogue, 12,101 items; peer with {pairs} pair(s) "
                "at a time"
            ),
            unit="items/s",
            ours=spreads["ours"],
            peer=spreads[f"peer {pairs}"],
            peer_name=named("transformers") + " T5, a forward pass per item",
            goal=20.0,
            dtype="float32 on both sides",
            note=f"the paper's TIGER, {weights}. Ours: Tiger.recommend with a beam as wide as the "
            f"catalogue, {n_users} test users. T5: encoder and decoder for every (user, item) "
            f"pair, items of one user with {int(one.lengths[0])} items of history.",
            check=f"scores of {len(theirs[pairs]):,} items "
            f"{'' if gaps[pairs] < 1e-3 else 'NOT '}equal within 1e-3, "
            f"largest difference {gaps[pairs]:.1e}",
        )
        for pairs in PAIRS
    ]
