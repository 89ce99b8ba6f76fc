"""Bootstrap intervals: over users, over seeds and users, paired; and the words that may be said."""

import numpy as np
import pytest

from letterlib.evaluation import bootstrap
from letterlib.evaluation.bootstrap import Interval, interval, paired_difference, verdict


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


def test_users_are_resampled_and_not_their_cases():
    """Five equal cases a user are one observation: the interval is sqrt(5) times that of
    independent cases.
    """
    hits = (np.random.default_rng(0).random(400) < 0.3).astype(float)
    values, users = np.repeat(hits, 5), np.repeat(np.arange(400), 5)
    by_user, by_case = interval(values, users, 0), interval(values, np.arange(2000), 0)
    assert (by_user.high - by_user.low) / (by_case.high - by_case.low) == pytest.approx(
        np.sqrt(5), rel=0.1
    )
    one_each = interval(hits, np.arange(400), 0)
    assert by_user.high - by_user.low == pytest.approx(one_each.high - one_each.low, rel=0.05)


def test_a_user_with_more_cases_weighs_more():
    values, users = np.array([1.0] * 9 + [0.0]), np.array([7] * 9 + [3])
    assert interval(values, users, 0).mean == pytest.approx(0.9)


def test_95_percent_intervals_cover_the_truth_about_95_percent_of_the_time():
    random = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        chance = random.beta(2, 6, 150)  # users differ; the mean of the population is 0.25
        values = (random.random((150, 3)) < chance[:, None]).astype(float).reshape(-1)
        one = interval(values, np.repeat(np.arange(150), 3), trial)
        covered += one.low <= 0.25 <= one.high
    assert 0.91 <= covered / 300 <= 0.985


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


def test_disagreeing_seeds_widen_the_interval():
    random = np.random.default_rng(0)
    base = (random.random(1000) < 0.3).astype(float)
    agree = np.stack([base] * 3)
    disagree = np.stack([base, np.minimum(base + (random.random(1000) < 0.2), 1), base])
    users = np.arange(1000)
    widths = [
        one.high - one.low for one in (interval(agree, users, 0), interval(disagree, users, 0))
    ]
    assert widths[1] > 1.5 * widths[0]


def test_the_same_seed_gives_the_same_interval_and_labels_do_not_matter():
    values, users = np.random.default_rng(0).random(50), np.repeat(np.arange(10), 5)
    assert interval(values, users, 3) == interval(values, users * 100 + 7, 3)
    assert interval(values, users, 3) != interval(values, users, 4)


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        paired_difference(np.zeros(3), np.zeros((2, 3)), np.arange(3), 0)
    with pytest.raises(ValueError, match="no cases"):
        interval(np.zeros(0), np.zeros(0, dtype=int), 0)
    with pytest.raises(ValueError, match="no runs"):
        interval(np.zeros((0, 3)), np.arange(3), 0)
    with pytest.raises(ValueError, match="2 cases of 1 users"):
        interval(np.ones(2), np.zeros(1, dtype=int), 0)
    for odd in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinite"):
            interval(np.array([1.0, odd]), np.arange(2), 0)


def test_an_interval_is_written_with_the_format_of_each_of_its_numbers():
    assert f"{Interval(0.05214, 0.0463, 0.0581):.4f}" == "0.0521 [0.0463, 0.0581]"
    assert f"{Interval(-0.05, -0.1, 0.0):+.2f}" == "-0.05 [-0.10, +0.00]"
    assert f"{Interval(1, 0, 2)}" == "Interval(mean=1, low=0, high=2)"


@pytest.mark.parametrize(
    ("difference", "n_seeds", "words"),
    [
        (Interval(0.01, 0.002, 0.02), 5, "better"),
        (Interval(-0.01, -0.02, -0.002), 6, "worse"),
        (Interval(0.01, 0.002, 0.02), 1, "one-seed difference (higher)"),
        (Interval(0.01, 0.002, 0.02), 4, "4-seed difference (higher)"),
        (Interval(-0.01, -0.02, -0.002), 3, "3-seed difference (lower)"),
        (Interval(0.01, -0.001, 0.02), 5, "no difference seen"),
        (Interval(0.01, 0.0, 0.02), 5, "no difference seen"),
        (Interval(-0.01, -0.02, 0.0), 5, "no difference seen"),
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
    # Differences of hits of five seeds whose 2.5% quantile is 0 in whole numbers.
    values = [
        [1, 1, -1, 1, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 0, 0, 0, 1],
        [0, 1, 0, 0, 0, 0, -1, 0, 1],
        [1, 0, 1, 0, 0, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 0, -1, 1, 1],
    ]
    found = interval(np.array(values), np.arange(9), 0)
    assert found.low == 0 and verdict(found, 5) == "no difference seen"


def test_cases_of_unknown_users_are_not_one_person():
    hits = np.random.default_rng(0).random(60) < 0.3
    unknown = interval(hits, np.full(60, -1), 0)
    known = interval(hits, np.arange(60), 0)
    assert (
        unknown.low < unknown.high
        and abs((unknown.high - unknown.low) / (known.high - known.low) - 1) < 0.2
    )
    named = np.repeat(np.arange(20), 3)
    for users in (
        named.astype(str),
        list(map(str, named)),
        named.astype(np.uint64) + 2**60,
        -100 - named,
    ):
        assert interval(hits, users, 0).high - interval(hits, users, 0).low > 0.1


def test_a_case_of_an_unknown_user_is_no_known_user_s():
    """User 0 has the first case and user 1 the second; the third is another person's, whatever its
    place.
    """
    hits = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    mixed = interval(hits, np.array([-1, -1, 0, 0, 1, 1]), 0)
    apart = interval(hits, np.array([2, 3, 0, 0, 1, 1]), 0)
    assert (mixed.low, mixed.high) == (apart.low, apart.high)
