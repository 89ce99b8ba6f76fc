"""How models choose their checkpoint or their settings: NDCG@10 on a fixed sample of validation
cases.
"""

from collections.abc import Callable

from letterlib.data.dataset import Cases, Split
from letterlib.evaluation.metrics import gains_at, ranks_of
from letterlib.evaluation.ranking import Ranking

N_CASES = 2000
"""Validation cases scored after an epoch; the sample is the same for every seed and every system.
"""


def validation_ndcg(
    split: Split, recommend: Callable[[Cases, int], Ranking]
) -> Callable[[], float] | None:
    """A function that scores `recommend` on validation; None if there are no cases.

    Whether the history is left in is up to `recommend`. MF and LightGCN filter it out
    (`leaves_out_history`), because their loss puts a user's own items first; all others leave it
    in.
    """
    cases = split.cases("valid").sample(N_CASES, seed=0)
    if not len(cases):
        return None
    histories = cases.without_targets()

    def score() -> float:
        ranks = ranks_of(recommend(histories, 10).items, cases.targets)
        return float(gains_at(ranks, 10).mean())

    return score
