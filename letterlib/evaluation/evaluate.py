"""Full-ranking evaluation with item-level hits, the same for every system."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from letterlib.data.dataset import NO_ITEM, Cases, Split
from letterlib.evaluation import metrics as m
from letterlib.evaluation.ranking import Ranking

LISTED = 10
"""Coverage and exposure look at the first ten items of a list."""

VALIDATION_CASES = 2000
"""Validation cases scored after an epoch; the sample is the same for every seed and system."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Per-case results of one system, from which every metric and interval is computed.

    ranks: int64 [n_cases], the target's place in the list, 0 first, metrics.ABSENT if missing.
    users: int64 [n_cases].
    groups: str [n_cases], popularity group of the target.
    lists: validity, coverage and exposure Gini, which do not depend on the targets. Places left
        empty, for instance by filtering out the history, count as invalid.
    identifier_ranks: as ranks, items that share an identifier counted as one; None without them.
    places: items in every list, the largest K of a metric.
    """

    ranks: np.ndarray
    users: np.ndarray
    groups: np.ndarray
    lists: dict[str, float]
    identifier_ranks: np.ndarray | None = None
    places: int = LISTED

    def __getitem__(self, rows: np.ndarray) -> "Evaluation":
        """Some of the cases; `lists` stays that of all."""
        identifiers = None if self.identifier_ranks is None else self.identifier_ranks[rows]
        arrays = (self.ranks[rows], self.users[rows], self.groups[rows])
        return Evaluation(*arrays, self.lists, identifiers, self.places)

    def hits(self, k: int) -> np.ndarray:
        """Per-case Recall@k, float64 [n_cases]."""
        return self.values(f"R@{k}")

    def gains(self, k: int) -> np.ndarray:
        """Per-case NDCG@k, float64 [n_cases]."""
        return self.values(f"N@{k}")

    def values(self, metric: str) -> np.ndarray:
        """Per-case values of a metric such as "MRR@10", as `metrics.case_values` has them."""
        return m.case_values(self.ranks, metric, self.places)

    def __str__(self) -> str:
        found = self.metrics()
        shown = ("R@5", "R@10", "N@5", "N@10", "coverage", "validity")
        means = ", ".join(f"{name} {found[name]:.4f}" for name in shown)
        return f"{len(self.ranks):,} cases of {len(np.unique(self.users)):,} users: {means}"

    def metrics(self) -> dict[str, float]:
        """R@5, R@10, N@5, N@10, those of `lists`, and cases and R@10 by popularity group."""
        result = {f"R@{k}": float(self.hits(k).mean()) for k in (5, 10)}
        result |= {f"N@{k}": float(self.gains(k).mean()) for k in (5, 10)}
        if self.identifier_ranks is not None:
            result["identifier R@10"] = float(m.hits_at(self.identifier_ranks, 10).mean())
            result["identifier N@10"] = float(m.gains_at(self.identifier_ranks, 10).mean())
        result |= self.lists
        for group in m.GROUPS:
            mine = self.groups == group
            result[f"cases {group}"] = int(mine.sum())
            if mine.any():
                result[f"R@10 {group}"] = float(self.hits(10)[mine].mean())
        return result

    def to_json(self) -> dict[str, Any]:
        value = {name: getattr(self, name).tolist() for name in ("ranks", "users", "groups")}
        identifiers = None if self.identifier_ranks is None else self.identifier_ranks.tolist()
        return value | {"lists": self.lists, "identifier_ranks": identifiers, "places": self.places}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        identifiers = value["identifier_ranks"]
        arrays = (np.array(value[name]) for name in ("ranks", "users", "groups"))
        shared = None if identifiers is None else np.array(identifiers)
        return cls(*arrays, value["lists"], shared, value.get("places", LISTED))


def evaluate(
    ranking: Ranking, cases: Cases, split: Split, identifier_of_item: np.ndarray | None = None
) -> Evaluation:
    """Compare a ranking with the targets of its cases.

    identifier_of_item: int64 [n_items], for generative systems: adds identifier-level metrics.

    ValueError where the ranking has another length, fewer than 10 places, an item twice or one
    outside the catalogue, and where the cases have no targets or some outside the catalogue.
    """
    if cases.targets is None:
        raise ValueError(
            "these cases have no targets: evaluate with cases, recommend for "
            "cases.without_targets()"
        )
    if not len(cases) or len(ranking) != len(cases):
        raise ValueError(
            f"{len(ranking)} ranked lists for {len(cases)} cases: one list each is needed"
        )
    if len(foreign := np.flatnonzero((cases.targets < 0) | (cases.targets >= split.n_items))):
        raise ValueError(
            f"case {foreign[0]}: target {cases.targets[foreign[0]]} is not in the catalogue "
            f"(ids 0-{split.n_items - 1}); leave this case out"
        )
    items = ranking.items
    _check_lists(items, split.n_items)
    listed = items[:, :LISTED]
    shown = np.bincount(listed[listed >= 0], minlength=split.n_items)
    lists = {
        # A small catalogue cannot fill every place.
        "validity": float(ranking.valid[:, : split.n_items].mean()),
        "coverage": m.coverage(listed, split.n_items),
        "exposure Gini": m.gini(shown),
    }
    shared = None
    if identifier_of_item is not None:
        shared = m.identifier_ranks(items, cases.targets, identifier_of_item)
    groups = m.popularity_groups(split.train_counts)[cases.targets]
    return Evaluation(
        m.ranks_of(items, cases.targets), cases.users, groups, lists, shared, items.shape[1]
    )


def _check_lists(items: np.ndarray, n_items: int) -> None:
    if items.shape[1] < LISTED:
        raise ValueError(
            f"lists have {items.shape[1]} places; recommend(cases, k) needs a k of {LISTED} or more"
        )
    outside = (items >= n_items) | (items < NO_ITEM)
    if outside.any():
        case, place = np.argwhere(outside)[0]
        raise ValueError(
            f"case {case}: item {items[case, place]} is not in the catalogue (ids 0-{n_items - 1})"
        )
    ordered = np.sort(items, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_ITEM)
    if twice.any():
        case, place = np.argwhere(twice)[0]
        raise ValueError(f"case {case}: item {ordered[case, place]} was recommended twice")


def validation_ndcg(
    split: Split, recommend: Callable[[Cases, int], Ranking]
) -> Callable[[], float] | None:
    """A function that scores `recommend` by NDCG@10 on validation; None if there are no cases.

    Models choose their checkpoint or settings with it. Whether the history is left in is up to
    `recommend`: MF and LightGCN filter it out (`leaves_out_history`), the others leave it in.
    """
    cases = split.cases("valid").sample(VALIDATION_CASES, seed=0)
    if not len(cases):
        return None
    histories = cases.without_targets()

    def score() -> float:
        ranks = m.ranks_of(recommend(histories, 10).items, cases.targets)
        return float(m.gains_at(ranks, 10).mean())

    return score
