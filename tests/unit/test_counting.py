"""TIGER and SASRec mixed with counts: against the formula, written out item by item."""

import numpy as np
import pandas as pd
import pytest
import torch

from letterlib.baselines.markov import MarkovFloor
from letterlib.baselines.sasrec import SASRec
from letterlib.data.dataset import Dataset, Sequences
from letterlib.decoding.beam_search import beam_search
from letterlib.generators.counting import CountedSASRec, CountedTiger, MixedDecoder, node_masses
from letterlib.generators.tiger import Tiger
from letterlib.tokenizer.identifiers import Identifiers

N_ITEMS = 40


@pytest.fixture(scope="module")
def split():
    """60 users who walk through the catalogue, mostly by ones; the last items are rare."""
    random = np.random.default_rng(0)
    walks = [
        (random.integers(N_ITEMS) + random.choice([1, 1, 1, 2, 7], random.integers(5, 12)).cumsum())
        % (N_ITEMS - 2)
        for _ in range(60)
    ]
    items = pd.DataFrame(index=range(N_ITEMS))
    labels = [str(u) for u in range(60)]
    return Dataset("made", Sequences.from_lists(walks), items, "made", labels).split()


@pytest.fixture(scope="module")
def tiger(split):
    """Trained for a moment; items 3 and 4, and three others, share an identifier."""
    codes = np.random.default_rng(1).integers(0, 6, (N_ITEMS, 3))
    codes[4] = codes[3]
    codes[[20, 21]] = codes[19]
    sizes = dict(d_model=16, d_ff=32, n_heads=2, d_head=8, n_layers=1, epochs=2, batch_size=32)
    return Tiger(Identifiers(codes, (6,) * 3), **sizes).fit(split)


@pytest.fixture(scope="module")
def counted(tiger, split):
    model = CountedTiger.of(tiger).count(split)
    model.weight = 0.7
    return model


def test_shares_are_those_of_a_loop_and_sum_to_less_than_one(split):
    floor = MarkovFloor().fit(split)
    window, decay, smoothing = floor.settings
    cases = split.cases("test")
    found = floor.shares(cases).toarray()
    train = [split.train[user].tolist() for user in range(split.n_users)]
    counts = np.bincount(np.concatenate(train), minlength=N_ITEMS)
    for case in (0, 17, 44):
        expected = np.zeros(N_ITEMS)
        for r, item in enumerate(cases.history(case)[::-1][:window].tolist()):
            for row in train:
                for place, before in enumerate(row):
                    if before == item:
                        for distance, weight in ((1, 1.0), (2, 0.5)):
                            if place + distance < len(row):
                                share = decay**r * weight / (counts[item] + smoothing)
                                expected[row[place + distance]] += share
        whole = 1.5 * sum(decay**r for r in range(window))
        assert found[case] == pytest.approx(expected / whole, abs=1e-12)
    assert (found.sum(axis=1) < 1).all() and found.sum(axis=1).max() > 0.1


def test_every_score_is_the_formulas(counted, tiger, split):
    cases = split.cases("test").without_targets()[:9]
    found = counted.recommend(cases, N_ITEMS, beam=N_ITEMS)
    model = tiger.recommend(cases, N_ITEMS, beam=N_ITEMS)
    shares = 0.7 * counted.counts.shares(cases).toarray()
    leaf = tiger.trie.leaf_of_item
    for case in range(len(cases)):
        own = dict(zip(model.items[case].tolist(), model.scores[case].tolist(), strict=True))
        rest = 1 - shares[case].sum()
        expected = {i: rest * np.exp(own[i]) + shares[case][leaf == leaf[i]].sum() for i in own}
        got = dict(zip(found.items[case].tolist(), np.exp(found.scores[case]), strict=True))
        assert got == pytest.approx(expected, rel=1e-4)


@torch.no_grad()
def test_a_beam_as_wide_as_the_catalogue_is_exact_and_every_step_a_distribution(counted, split):
    cases = split.cases("test").without_targets()
    part = cases[cases.lengths == 6][:5]
    memory, trie = counted._memory(part), counted.trie
    mass = node_masses(trie, counted.shares(part))
    decoder = MixedDecoder(counted.network.eval(), trie, mass)
    sums, step = [], decoder.step
    decoder.step = lambda *given: sums.append((found := step(*given)).exp().sum(-1)) or found
    leaves, scores = beam_search(decoder, memory, trie, N_ITEMS)
    exact_leaves, exact = counted._search(part, memory, N_ITEMS, 1.0, None)
    assert torch.allclose(scores, exact, atol=1e-4)
    assert torch.equal(leaves[:, 0], exact_leaves[:, 0])
    assert len(sums) == 4
    for total in sums:
        assert torch.allclose(total, torch.ones_like(total), atol=1e-5)


def test_weight_nought_is_the_model_alone_and_the_history_is_left_out(counted, tiger, split):
    cases = split.cases("test").without_targets()[:20]
    alone = CountedTiger.of(counted)
    alone.weight = 0.0
    assert np.array_equal(alone.recommend(cases, 10).items, tiger.recommend(cases, 10).items)
    found = counted.recommend(cases, 10, exclude_history=True)
    for case, row in enumerate(found.items):
        assert not set(row) & set(cases.history(case))


def test_the_weight_is_the_best_on_validation_and_is_kept(counted, split, tmp_path):
    model = CountedTiger.of(counted).count(split)
    assert model.weights[model.weight] == max(model.weights.values())
    assert model.weights[model.weight] > model.weights[0.0], "these walks can be counted"
    model.save(tmp_path / "model.safetensors")
    again = CountedTiger.load(tmp_path / "model.safetensors")
    cases = split.cases("test").without_targets()[:20]
    assert again.weight == model.weight
    assert np.array_equal(again.recommend(cases, 10).items, model.recommend(cases, 10).items)


def test_sasrec_is_mixed_by_the_same_formula(split):
    base = SASRec(dimensions=16, n_heads=1, history=6, epochs=2).fit(split)
    model = CountedSASRec.of(base).count(split)
    model.weight = 0.4
    cases = split.cases("test").without_targets()[:9]
    shares = 0.4 * model.counts.shares(cases).toarray()
    softmax = torch.softmax(base._scores(cases).float(), dim=1).numpy()
    expected = (1 - shares.sum(axis=1, keepdims=True)) * softmax + shares
    found = model.recommend(cases, N_ITEMS)
    for case in range(len(cases)):
        scores = np.exp(found.scores[case])
        assert scores == pytest.approx(expected[case][found.items[case]], rel=1e-4)
