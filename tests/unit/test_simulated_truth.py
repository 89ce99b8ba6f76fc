"""A law whose best possible figures are known: the systems reach them, and intervals hold what is
true. The whole of both is made by experiments/simulated_truth.py and interval_coverage.py.
"""

from pathlib import Path

import numpy as np
import pytest

from letterlib.baselines.markov import MarkovFloor
from letterlib.baselines.popularity import Popularity
from letterlib.baselines.sasrec import SASRec
from letterlib.generators.tiger import Tiger
from letterlib.tokenizer.identifiers import Identifiers

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


@pytest.fixture
def truth(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import simulated_truth

    return simulated_truth


@pytest.fixture
def coverage(monkeypatch):
    monkeypatch.syspath_prepend(EXPERIMENTS)
    import interval_coverage

    return interval_coverage


@pytest.fixture
def law(truth):
    return truth.Law.example(groups=6)


@pytest.fixture
def split(law):
    return law.dataset(n_users=1000, length=12, seed=0).split()


def test_sequences_follow_the_law(law, split):
    values = split.dataset.sequences.values.reshape(-1, 12)
    seen = np.zeros((law.n_items, law.n_items))
    np.add.at(seen, (values[:, :-1].ravel(), values[:, 1:].ravel()), 1)
    counts = seen.sum(axis=1, keepdims=True)
    error = np.abs(seen / counts - law.transitions) * np.sqrt(counts / law.transitions)
    assert error.max() < 5  # standard errors
    assert np.allclose(law.shares @ law.transitions, law.shares)


def test_limits_of_codes_lie_between_chance_and_the_best_possible(law):
    items, best = np.arange(law.n_items), law.limit(law.transitions)[0]
    assert law.code_limit(items) == pytest.approx(best)  # a code an item
    assert law.code_limit(items // law.size) == pytest.approx(best)  # a code a group
    assert law.code_limit(items * 0) == pytest.approx(10 / law.n_items)
    assert law.code_limit(items % law.size) == pytest.approx(10 / law.n_items)  # none of the group


def test_no_list_is_better_than_the_best(law):
    last, random = np.arange(law.n_items), np.random.default_rng(0)
    best = np.argsort(-law.transitions, axis=1, kind="stable")
    for _ in range(20):
        lists = random.permuted(best[:, :14], axis=1)
        assert (law.figures(lists, last) <= law.figures(best, last) + 1e-12).all()


def test_counting_reaches_its_best(truth, law, split):
    best, one_list = law.limit(law.transitions), law.limit(np.tile(law.shares, (law.n_items, 1)))
    for model, limit in ((Popularity(), one_list), (MarkovFloor(), best)):
        model.fit(split)
        found = truth.expected(law, model, split)
        assert (found > 0.93 * limit).all() and (found < 1.05 * limit).all()
        error = np.sqrt(0.25 / split.n_users)
        assert abs(truth.measured(model, split) - found[0]) < 3 * error


@pytest.mark.parametrize("system", ["SASRec", "TIGER"])
def test_learning_reaches_the_best_possible(truth, law, split, system):
    if system == "SASRec":
        model = SASRec(dimensions=32, n_heads=1, epochs=16, learning_rate=5e-3)
    else:
        items = np.arange(law.n_items)
        identifiers = Identifiers(np.stack([items // law.size, items % law.size], 1), (6, law.size))
        model = truth.reader_of_one_item(identifiers, seed=0)
    model.fit(split)
    cases = split.cases("test")
    ranking = model.recommend(cases.without_targets(), 10)
    found = law.figures(ranking.items, truth.last_items(cases)).mean(axis=0)
    assert (found > 0.9 * law.limit(law.transitions)).all()


def test_a_generator_knows_of_a_code_what_its_identifiers_tell(truth, law, split):
    """Codes of the groups reach the best possible, codes across the groups nothing but chance."""
    items, figures = np.arange(law.n_items), []
    for codes in (items // law.size, items % law.size):
        identifiers = Identifiers(codes[:, None], (int(codes.max()) + 1,))
        model: Tiger = truth.reader_of_one_item(identifiers, seed=0)
        figures.append(truth.after_one_item(law, model.fit(split))[0])
    assert figures[0] > 0.95 * law.limit(law.transitions)[0]
    assert abs(figures[1] - 10 / law.n_items) < 0.06  # the two that are listed vary in popularity


def test_intervals_hold_a_known_difference_as_often_as_they_say(coverage):
    users, random = np.repeat(np.arange(400), 5), np.random.default_rng(0)
    for effect in (0.0, 0.3):
        pairs = (coverage.drawn_hits(random, 1, 0.0, effect) for _ in range(60))
        found = coverage.rates(pairs, users, 0.065 * effect)
        assert found["holds the truth"] > 0.86  # .95 less three standard errors of 60
    assert found["zero left out"] > 0.4
