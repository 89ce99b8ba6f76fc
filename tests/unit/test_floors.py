"""Popularity, repeats, random order and the Markov floor against loops and released files."""

import numpy as np
import pandas as pd
import pytest

from letterlib.baselines import markov
from letterlib.baselines.markov import MarkovFloor, count_transitions
from letterlib.baselines.popularity import Popularity
from letterlib.baselines.random_order import RandomOrder
from letterlib.baselines.repeat import RepeatFloor
from letterlib.data import load_dataset
from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences
from letterlib.errors import LetterError
from letterlib.evaluation.evaluate import evaluate

N_ITEMS = 15
# R@5, R@10, N@5, N@10 of the ten most frequent training items, counted by a plain loop over the
# released files. R@10 on Beauty is 256 hits of 22,363 cases: .011447, to four decimals .0114 (.0115
# only if rounded to five first).
COUNTED = {
    "beauty": (0.007199, 0.011447, 0.003984, 0.005347),
    "instruments": (0.027693, 0.046787, 0.016157, 0.022260),
}


@pytest.fixture(scope="module")
def split():
    """40 users who mostly step from an item to the next one."""
    random = np.random.default_rng(0)
    users = []
    for length in random.integers(5, 14, 40):
        steps = np.where(random.random(length) < 0.7, 1, random.integers(2, N_ITEMS, length))
        users.append(
            (random.integers(N_ITEMS) + np.cumsum(steps)) % (N_ITEMS - 1)
        )  # the last item is never seen
    items = pd.DataFrame(index=range(N_ITEMS))
    return Dataset(
        "made", Sequences.from_lists(users), items, "made", [str(i) for i in range(40)]
    ).split()


def plain_scores(split, history, window, decay, smoothing):
    """The protocol's formula, item by item."""
    scores = [0.0] * N_ITEMS
    for j in range(N_ITEMS):
        for r, i in enumerate(reversed(history[-window:].tolist()), start=1):
            t1 = sum(
                a == i and b == j for s in train(split) for a, b in zip(s, s[1:], strict=False)
            )
            t2 = sum(
                a == i and b == j for s in train(split) for a, b in zip(s, s[2:], strict=False)
            )
            n = sum(item == i for s in train(split) for item in s)
            scores[j] += decay ** (r - 1) * (t1 + 0.5 * t2) / (n + smoothing)
    return scores


def train(split):
    return [split.train[u].tolist() for u in range(split.n_users)]


@pytest.mark.parametrize("settings", [(1, 0.5, 1), (3, 0.8, 5), (6, 0.5, 20)])
@pytest.mark.parametrize("exclude_history", [False, True])
def test_markov_equals_a_plain_loop(split, settings, exclude_history):
    floor = MarkovFloor().fit(split)
    floor._set(*settings)
    cases = split.cases("test")[np.arange(6)]
    ranking = floor.recommend(cases.without_targets(), 10, exclude_history)
    for row in range(6):
        scores, counts = plain_scores(split, cases.history(row), *settings), split.train_counts
        allowed = set(range(N_ITEMS)) - (
            set(cases.history(row).tolist()) if exclude_history else set()
        )
        # Rounded, so that sums of the same terms in another order are ties here too.
        order = sorted(allowed, key=lambda j: (-round(scores[j], 10), -counts[j], j))[:10]
        assert [j for j in ranking.items[row].tolist() if j != NO_ITEM] == order
        assert ranking.scores[row, 0] == pytest.approx(scores[order[0]], rel=1e-4)


def test_markov_chooses_its_settings_on_validation(split, monkeypatch):
    tried = {}

    def validation(_, recommend):
        def score():
            key = (floor._window, floor._decay, floor._scaled.sum())
            tried[key] = 1.0 if len(tried) == 7 else 0.5
            return tried[key]

        return score

    floor = MarkovFloor()
    monkeypatch.setattr(markov, "validation_ndcg", validation)
    floor.fit(split)
    assert len(tried) == 18
    assert (markov.WINDOWS, markov.DECAYS, markov.SMOOTHINGS) == ((1, 3, 6), (0.5, 0.8), (1, 5, 20))
    assert floor.settings == (3, 0.5, 5) and floor._window == 3


def test_markov_needs_no_validation_cases(split):
    without = split.dataset.split(held_out=20)  # no user has 41 items: all are training
    assert MarkovFloor().fit(without).settings == (1, 0.5, 1)


def test_a_random_order_is_a_cases_own_by_its_user_and_its_history(split):
    floor, cases = (
        RandomOrder().fit(split),
        Cases.from_histories([[1, 2], [1, 3], [1, 2]], [0, 0, 1]),
    )
    items = floor.recommend(cases, N_ITEMS).items
    assert (np.sort(items, axis=1) == np.arange(N_ITEMS)).all() and len(
        np.unique(items, axis=0)
    ) == 3
    assert np.array_equal(floor.recommend(cases[1:2], N_ITEMS).items, items[1:2])
    turned = Cases.from_histories([[2, 1], [3, 1]], [0, 0])
    assert np.array_equal(floor.recommend(turned, N_ITEMS).items, items[:2]), "in any order"


@pytest.mark.parametrize("floor", [RandomOrder, Popularity, MarkovFloor])
def test_an_item_outside_the_catalogue_is_refused(split, floor):
    with pytest.raises(LetterError, match="item 15 is not in the catalogue"):
        floor().fit(split).recommend(Cases.from_histories([[3, 15]]), 10)


def test_markov_never_counts_across_users_or_beyond_training(split):
    transitions = count_transitions(split.train, N_ITEMS).toarray()
    lengths = split.train.lengths
    assert transitions.sum() == (lengths - 1).clip(0).sum() + 0.5 * (lengths - 2).clip(0).sum()


def test_markov_falls_back_to_popularity_without_history(split):
    empty = Cases.from_histories([[], [N_ITEMS - 1]])
    floor, popular = MarkovFloor().fit(split), Popularity().fit(split)
    np.testing.assert_array_equal(
        floor.recommend(empty, 10).items, popular.recommend(empty, 10).items
    )


def test_popularity_breaks_ties_by_item_id_and_leaves_out_the_history(split):
    cases = split.cases("test")
    counts = split.train_counts
    order = sorted(range(N_ITEMS), key=lambda i: (-counts[i], i))
    popular = Popularity().fit(split)
    assert popular.recommend(cases, 10).items[0].tolist() == order[:10]
    history = set(cases.history(0).tolist())
    shown = popular.recommend(cases, 10, exclude_history=True).items[0].tolist()
    allowed = [i for i in order if i not in history][:10]
    assert shown == allowed + [NO_ITEM] * (10 - len(allowed))


@pytest.mark.parametrize("name", COUNTED)
def test_popularity_has_the_known_figures_of_released_data(shared_data, name):
    released = load_dataset(name, shared_data / name).split()
    cases = released.cases("test")
    result = evaluate(Popularity().fit(released).recommend(cases, 10), cases, released).metrics()
    assert [result[m] for m in ("R@5", "R@10", "N@5", "N@10")] == pytest.approx(
        COUNTED[name], abs=5e-7
    )


def test_repeat_is_the_history_most_recent_first_each_item_once(split):
    floor = RepeatFloor().fit(split)
    cases = Cases.from_histories([[1, 2, 3, 2], [], [5, 5], list(range(12))])
    found = floor.recommend(cases, 10)
    assert found.items[0].tolist() == [2, 3, 1] + [NO_ITEM] * 7
    assert (found.items[1] == NO_ITEM).all() and not found.valid[1].any()
    assert found.items[2].tolist() == [5] + [NO_ITEM] * 9
    assert found.items[3].tolist() == list(range(11, 1, -1))
    assert (floor.recommend(cases, 10, exclude_history=True).items == NO_ITEM).all()


def test_repeat_has_the_known_figures_of_yelp(shared_data):
    """R@5, R@10, N@5, N@10 over 30,431 users, counted without this library."""
    yelp = load_dataset("yelp", shared_data / "yelp").split()
    cases = yelp.cases("test")
    result = evaluate(RepeatFloor().fit(yelp).recommend(cases, 10), cases, yelp).metrics()
    known = (0.0547, 0.0620, 0.0389, 0.0414)
    assert [result[m] for m in ("R@5", "R@10", "N@5", "N@10")] == pytest.approx(known, abs=5e-5)
