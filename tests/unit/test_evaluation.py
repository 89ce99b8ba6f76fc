"""Rankings, `evaluate`, bootstrap intervals, and Holm's correction."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_data import made
from scipy.stats import norm

from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences
from letterlib.errors import LetterError
from letterlib.evaluation import bootstrap
from letterlib.evaluation.bootstrap import (
    Interval,
    holm,
    interval,
    p_value,
    paired_difference,
    verdict,
)
from letterlib.evaluation.evaluate import Evaluation, evaluate, validation_ndcg
from letterlib.evaluation.ranking import Ranking, rank_by_score, top_k

N_ITEMS = 14


@pytest.fixture
def split():
    """Training counts: item 0 three times, 1 twice, 2 once; the others never. Test targets: 0, 2
    and 9.
    """
    users = [[0, 1, 5, 0], [0, 1, 6, 2], [0, 2, 7, 9]]
    items = pd.DataFrame(index=range(N_ITEMS))
    return Dataset(
        "made", Sequences.from_lists(users), items, "made by hand", ["a", "b", "c"]
    ).split()


def lists(*rows):
    """Lists of ten places that start as given and go on with nothing."""
    items = np.full((len(rows), 10), NO_ITEM)
    for i, row in enumerate(rows):
        items[i, : len(row)] = row
    return Ranking.of_items(items, np.zeros(items.shape))


def test_every_figure_by_hand(split):
    cases = split.cases("test")
    assert cases.targets.tolist() == [0, 2, 9]
    ranking = lists([0, 1, 2], [1, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    result = evaluate(ranking, cases, split)
    found = result.metrics()
    assert result.ranks.tolist() == [0, 1, 9]
    assert found["R@5"] == pytest.approx(2 / 3) and found["R@10"] == 1
    assert found["N@5"] == pytest.approx((1 + 1 / np.log2(3)) / 3)
    assert found["N@10"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(11)) / 3)
    assert found["validity"] == pytest.approx(15 / 30)
    assert found["coverage"] == pytest.approx(10 / N_ITEMS)
    shown = [2, 3, 3] + [1] * 7 + [0] * 4
    pairs = sum(abs(a - b) for a in shown for b in shown)
    assert found["exposure Gini"] == pytest.approx(pairs / (2 * N_ITEMS * 15))
    # Six training interactions: item 0 holds three of them, so it is the head and half of the
    # middle third.
    assert [found[f"cases {g}"] for g in ("head", "middle", "tail", "cold")] == [1, 0, 1, 1]
    assert found["R@10 cold"] == 1 and "R@10 middle" not in found
    assert "identifier R@10" not in found


def test_places_that_a_small_catalogue_cannot_fill_are_not_counted_as_invalid(split):
    items = np.array([[*range(N_ITEMS), NO_ITEM, NO_ITEM]] * 3)
    found = evaluate(
        Ranking.of_items(items, np.zeros(items.shape)), split.cases("test"), split
    ).metrics()
    assert found["validity"] == 1


def test_places_beyond_the_tenth_count_for_validity_only(split):
    items = np.array([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, NO_ITEM]] * 3)
    found = evaluate(
        Ranking.of_items(items, np.zeros(items.shape)), split.cases("test"), split
    ).metrics()
    assert found["validity"] == pytest.approx(11 / 12)
    assert found["coverage"] == pytest.approx(10 / N_ITEMS)
    assert found["R@10"] == pytest.approx(2 / 3), "item 0 at place 11 is no hit for the first user"


def test_items_that_share_an_identifier_count_as_one_at_identifier_level(split):
    shared = np.arange(N_ITEMS)
    shared[3] = shared[0]  # the first user's target
    ranking = lists([4, 3], [1], [0, 1, 2, 4, 5, 6, 7, 8, 10, 9])
    result = evaluate(ranking, split.cases("test"), split, shared).metrics()
    assert result["R@10"] == pytest.approx(1 / 3)
    assert result["identifier R@10"] == pytest.approx(2 / 3)
    assert result["identifier N@10"] == pytest.approx((1 / np.log2(3) + 1 / np.log2(11)) / 3)


@pytest.mark.parametrize("identifiers", [None, np.arange(N_ITEMS) // 2])
def test_json_and_back(split, identifiers):
    result = evaluate(lists([0], [1], [9]), split.cases("test"), split, identifiers)
    again = Evaluation.from_json(json.loads(json.dumps(result.to_json())))
    assert again.metrics() == result.metrics() and again.places == 10
    some = result[np.array([0, 2])]
    assert some.ranks.tolist() == result.ranks[[0, 2]].tolist() and some.lists == result.lists
    assert again.users.tolist() == result.users.tolist()


def test_lists_of_twelve_places_stay_so_in_parts_and_files(split):
    """The first user's target shares the identifier of the item at place 11; the second user's
    target is at place 12.
    """
    shared = np.arange(N_ITEMS)
    shared[13] = shared[0]
    items = np.array([[1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 2]] * 3)
    ranking = Ranking.of_items(items, np.zeros(items.shape))
    result = evaluate(ranking, split.cases("test"), split, shared)
    assert result.identifier_ranks.tolist() == [10, 11, -1]
    assert result.values("R@12").tolist() == [0, 1, 0]
    assert result.metrics()["identifier R@10"] == result.metrics()["identifier N@10"] == 0
    part = result[np.array([0, 2])]
    assert part.identifier_ranks.tolist() == [10, -1] and part.places == 12
    saved = json.loads(json.dumps(result.to_json()))
    assert Evaluation.from_json(saved).places == 12
    del saved["places"]  # as in older results, which had lists of ten
    assert Evaluation.from_json(saved).places == 10


@pytest.mark.parametrize(
    ("rows", "fact"),
    [
        ([[0, 1], [2, 5, 2], [1]], "case 1: item 2"),
        ([[0], [1], [3, N_ITEMS]], f"case 2: item {N_ITEMS}"),
        ([[0, -2], [1], [3]], "case 0: item -2"),
        ([[0], [1]], "2 ranked lists for 3 cases"),
    ],
)
def test_impossible_lists_are_refused(split, rows, fact):
    with pytest.raises(ValueError, match=fact):
        evaluate(lists(*rows), split.cases("test"), split)


# Ranking by scores


def test_lists_of_other_shapes_or_of_no_whole_numbers_are_refused():
    items = np.array([[0, 1], [2, NO_ITEM]])
    assert Ranking.of_items(items, np.zeros((2, 2))).scores.dtype == np.float32
    wrong = [(items, np.zeros((2, 3))), (items * 1.0, np.zeros((2, 2))), (items[0], np.zeros(2))]
    for listed, scores in wrong:
        with pytest.raises(ValueError):
            Ranking.of_items(listed, scores)


def test_a_tie_over_the_edge_of_the_list_goes_to_the_lower_index():
    for seed in range(50):
        order = torch.randperm(400, generator=torch.Generator().manual_seed(seed))
        first, tied = order[:2], order[2:7]
        scores = torch.zeros(1, 400)
        scores[0, first], scores[0, tied] = torch.tensor([3.0, 2.0]), 1.0
        assert top_k(scores, 3)[1][0].tolist() == [*first.tolist(), tied.min().item()]


@pytest.mark.parametrize("k", [3, 400, 500])
def test_ties_of_some_rows_change_no_other_row_and_long_lists_are_best_first(k):
    scores = torch.randn(3, 400, generator=torch.Generator().manual_seed(0))
    scores[1, 7:] = 2.0
    values, indices = top_k(scores, k)
    expected = np.argsort(-scores.numpy(), axis=1, kind="stable")[:, :k]
    assert indices.tolist() == expected.tolist() and torch.equal(values, scores.gather(1, indices))


def test_a_score_that_is_no_number_is_refused_and_not_ranked_first(split):
    cases = split.cases("test").without_targets()
    scores = torch.zeros(len(cases), N_ITEMS)
    scores[-1, 2] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        rank_by_score(lambda batch: scores, cases, 5, exclude_history=False)


def test_more_cases_than_are_scored_at_once_have_their_own_lists_each():
    last = np.arange(2_050) % 7
    cases = Cases.from_histories(last[:, None].tolist())

    def score(part: Cases) -> torch.Tensor:
        return torch.nn.functional.one_hot(torch.from_numpy(part.recent(1)[:, 0]), 7).float()

    assert (
        rank_by_score(score, cases, 1, exclude_history=False).items[:, 0].tolist() == last.tolist()
    )
    others = [[item for item in range(7) if item != one] + [NO_ITEM] for one in last]
    assert rank_by_score(score, cases, 7, exclude_history=True).items.tolist() == others


def test_a_list_longer_than_the_catalogue_ends_with_nothing():
    cases, scores = Cases.from_histories([[0], [1]]), torch.tensor([[0.5, 2.0], [-1.0, -3.0]])
    ranking = rank_by_score(lambda batch: scores, cases, 3, exclude_history=False)
    assert ranking.items.tolist() == [[1, 0, NO_ITEM], [0, 1, NO_ITEM]]
    assert ranking.scores.tolist() == [[2.0, 0.5, -np.inf], [-1.0, -3.0, -np.inf]]
    for other in (scores[:1], scores[0]):
        with pytest.raises(ValueError):
            rank_by_score(lambda batch, found=other: found, cases, 3, exclude_history=False)


@pytest.mark.parametrize("n_cases", [0, 3])
def test_a_saved_ranking_comes_back_and_a_damaged_file_does_not(tmp_path, n_cases):
    path, items = tmp_path / "ranking.parquet", np.array([[3, NO_ITEM], [4, 5], [0, 1]])[:n_cases]
    valid = np.array([[True, True], [True, False], [True, True]])[:n_cases]
    ranking = Ranking(items, np.zeros(items.shape, dtype=np.float32), valid)
    ranking.save(path)
    back = Ranking.load(path)
    for name in ("items", "scores", "valid"):
        saved, read = getattr(ranking, name), getattr(back, name)
        assert np.array_equal(read, saved) and read.dtype == saved.dtype, name
    path.write_bytes(b"not a ranking")
    with pytest.raises(LetterError, match="ranking.parquet"):
        Ranking.load(path)


# Validation


def test_validation_is_ndcg_at_10_of_the_validation_targets():
    split, asked = (
        made([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], 12).split(),
        [],
    )  # targets 2, 6 and 10

    def recommend(cases, k):
        asked.append((k, cases.targets))
        return Ranking.of_items(np.array([[2, 0, 1], [0, 1, 6], [0, 1, 2]]), np.zeros((3, 3)))

    assert validation_ndcg(split, recommend)() == pytest.approx((1 + 1 / np.log2(4)) / 3)
    assert asked == [(10, None)]


def test_every_validation_draws_the_same_cases(monkeypatch):
    monkeypatch.setattr("letterlib.evaluation.evaluate.VALIDATION_CASES", 5)
    split, asked = made([[i, i + 1, i + 2, i + 3] for i in range(40)], 43).split(), []

    def recommend(cases, k):
        asked.append(cases.users.tolist())
        return Ranking.of_items(np.zeros((5, 1), dtype=int), np.zeros((5, 1)))

    for _ in range(2):
        validation_ndcg(split, recommend)()
    assert asked[0] == asked[1]


# Intervals


def plain_interval(values, users, seed, resamples=4000):
    """The textbook loop: draw users with replacement, take all of their cases."""
    random, ids = np.random.default_rng(seed), np.unique(users)
    rows = [np.flatnonzero(users == one) for one in ids]
    means = []
    for _ in range(resamples):
        taken = np.concatenate([rows[i] for i in random.integers(0, len(ids), len(ids))])
        run = values[random.integers(0, len(values), len(values))]
        means.append(run[:, taken].mean())
    return np.quantile(means, [0.025, 0.975])


def test_the_interval_is_that_of_a_plain_loop_over_users_and_runs():
    random = np.random.default_rng(0)
    users = np.repeat(np.arange(40), random.integers(1, 6, 40))
    values = (random.random((3, len(users))) < np.array([[0.2], [0.3], [0.5]])).astype(float)
    for part in (values[:1], values):
        ours = interval(part, users, seed=1)
        low, high = plain_interval(part, users, seed=2)
        assert ours.mean == pytest.approx(part.mean())
        assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.012)


def test_95_percent_intervals_cover_the_truth_about_95_percent_of_the_time():
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        chance = random.beta(2, 6, 150)  # users differ; the mean of the population is 0.25
        values = (random.random((150, 3)) < chance[:, None]).astype(float).reshape(-1)
        one = interval(values, np.repeat(np.arange(150), 3), trial)
        covered += one.low <= 0.25 <= one.high
    assert 0.91 <= covered / 300 <= 0.985


def test_many_users_are_drawn_by_kind_with_the_same_interval(monkeypatch):
    random = np.random.default_rng(0)
    users = np.sort(random.integers(0, 5000, 15_000))  # users differ in how many cases they have
    values = (random.random((2, len(users))) < 0.2).astype(float)
    by_kind = interval(values, users, 0)
    monkeypatch.setattr(bootstrap, "FEW_USERS", 5000)
    by_user = interval(values, users, 0)
    width = by_user.high - by_user.low
    assert abs(by_kind.low - by_user.low) < 0.05 * width > abs(by_kind.high - by_user.high)
    columns = [random.integers(0, 3, 200), random.integers(-2, 2, 200) / 3]
    found = bootstrap._distinct_rows(columns)
    for ours, theirs in zip(
        found, np.unique(np.column_stack(columns), axis=0, return_counts=True), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_pairing_removes_what_two_systems_share():
    random = np.random.default_rng(0)
    users = np.arange(500)
    shared = random.random(500)
    a, b = shared + 0.02 + random.normal(0, 0.02, 500), shared + random.normal(0, 0.02, 500)
    paired = paired_difference(a, b, users, 0)
    assert paired.excludes_zero and paired.mean == pytest.approx(0.02, abs=0.005)
    apart = interval(a, users, 0), interval(b, users, 0)
    assert apart[0].low < apart[1].high, "unpaired intervals overlap and show nothing"
    assert paired_difference(b, a, users, 0).mean == pytest.approx(-paired.mean)
    assert paired_difference(a, b, users, 3) == interval(a - b, users, 3)


def test_the_same_seed_gives_the_same_interval_and_labels_do_not_matter():
    values, users = np.random.default_rng(0).random(50), np.repeat(np.arange(10), 5)
    assert interval(values, users, 3) == interval(values, users * 100 + 7, 3)
    assert interval(values, users, 3) != interval(values, users, 4)


@pytest.mark.parametrize(
    ("difference", "n_seeds", "words"),
    [
        (Interval(0.01, 0.002, 0.02), 5, "better"),
        (Interval(-0.01, -0.02, -0.002), 6, "worse"),
        (Interval(0.01, 0.002, 0.02), 1, "one-seed difference (higher)"),
        (Interval(-0.01, -0.02, -0.002), 3, "3-seed difference (lower)"),
        (Interval(0.01, -0.001, 0.02), 5, "no difference seen"),
        (Interval(0.01, 0.0, 0.02), 5, "no difference seen"),
        (Interval(0.4, 0.4, 0.4), 5, "no difference seen"),  # one user, or a few who are all alike
    ],
)
def test_verdict_says_better_only_from_five_seeds_on(difference, n_seeds, words):
    assert verdict(difference, n_seeds) == words


def test_many_users_are_resampled_in_parts_with_the_same_result(monkeypatch):
    values = np.random.default_rng(0).random((1, 400))
    whole = interval(values, np.arange(400), 0)
    monkeypatch.setattr(bootstrap, "CHUNK", 400 * 300)
    assert interval(values, np.arange(400), 0) == whole


def test_rounding_makes_no_difference_of_none():
    one_user = interval(np.ones((10, 1)), np.zeros(1, dtype=int), 0)
    assert (one_user.low, one_user.high) == (1, 1) and verdict(one_user, 10) == "no difference seen"
    alike = interval(np.full((1, 6), 0.1), np.array([0, 0, 1, 1, 1, 2]), 0)
    assert not alike.excludes_zero
    # Values of five seeds whose 2.5% quantile is 0 in whole numbers, and 5e-17 in floats.
    values = [
        [0, 0, 1, 0, 1, 0, 1, -1, 0],
        [0, 0, 1, 1, 2, 0, 2, 2, 0],
        [1, 1, 1, 1, 0, 0, -1, -1, 0],
        [0, 0, 0, 0, 2, 0, 1, 2, 2],
        [0, 0, 0, 0, -1, 0, 0, 1, -1],
    ]
    found = interval(np.array(values), np.arange(9), 0)
    assert found.low == 0 and verdict(found, 5) == "no difference seen"


def test_a_case_of_an_unknown_user_is_no_known_user_s():
    """User 0 has the first case and user 1 the second; the third is another person's, whatever its
    place.
    """
    hits = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    mixed = interval(hits, np.array([-1, -1, 0, 0, 1, 1]), 0)
    apart = interval(hits, np.array([2, 3, 0, 0, 1, 1]), 0)
    assert (mixed.low, mixed.high) == (apart.low, apart.high)
    last = interval(hits, np.array([0, 0, 1, 1, -1, -1]), 0)
    apart = interval(hits, np.array([0, 0, 1, 1, 2, 3]), 0)
    assert (last.low, last.high) == (apart.low, apart.high)


# Many comparisons


families = st.lists(st.floats(0, 1), min_size=1, max_size=25).map(np.array)


@pytest.mark.parametrize("z", [0.0, 0.5, 1.959964, 3.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_p_value_is_the_normal_one_of_the_interval(z, sign):
    one = Interval(
        sign * z * 0.01, sign * z * 0.01 - 1.959964 * 0.01, sign * z * 0.01 + 1.959964 * 0.01
    )
    assert p_value(one) == pytest.approx(2 * norm.sf(z), rel=1e-6)
    assert p_value(Interval(0.1, 0.1, 0.1)) == 1


def test_holms_own_arithmetic():
    """Sorted: .005 x 4, .01 x 3, .03 x 2, .04 x 1 = .02, .03, .06, .04; the last may not fall below
    .06.
    """
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([])).shape == (0,)
    assert holm(np.array([0.9, 0.6])).tolist() == [1, 1]
    for wrong in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError):
            holm(np.array([0.5, wrong]))


@given(families)
def test_what_is_found_is_what_the_step_down_rule_rejects(p):
    """The rule as Holm states it: go up as long as p is at most level / (those left), and stop at
    the first failure.
    """
    adjusted = holm(p)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for k, i in enumerate(np.argsort(p, kind="stable")):
            if p[i] * (len(p) - k) > level:
                break
            rejected.add(int(i))
        assert set(np.flatnonzero(adjusted <= level).tolist()) == rejected
