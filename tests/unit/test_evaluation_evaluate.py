"""`evaluate`: hits, figures of the lists, popularity groups, the lists that it refuses; and ranking
by scores.
"""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences
from letterlib.errors import LetterError
from letterlib.evaluation.evaluate import Evaluation, evaluate
from letterlib.evaluation.metrics import gini
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
    assert [found[f"cases {g}"] for g in ("head", "middle", "tail", "unseen")] == [1, 0, 1, 1]
    assert found["R@10 unseen"] == 1 and "R@10 middle" not in found
    assert "identifier R@10" not in found


def test_figures_of_groups_are_shares_of_their_own_cases_and_ten_places_are_ten():
    """A target in the eleventh place (10, counted from 0) is no hit, whatever the group or the
    level.
    """
    ranks = np.array([0, 9, 10, 30, 4, 10, 10, 2])
    groups = np.array(["head"] * 4 + ["tail"] * 3 + ["unseen"])
    found = Evaluation(ranks, np.arange(8), groups, {}, ranks).metrics()
    assert [found[f"R@10 {group}"] for group in ("head", "tail", "unseen")] == pytest.approx(
        [2 / 4, 1 / 3, 1]
    )
    assert found["R@10"] == found["identifier R@10"] == 4 / 8 and found["R@5"] == 3 / 8
    gains = [1, 1 / np.log2(11), 1 / np.log2(6), 1 / np.log2(4)]
    assert found["N@10"] == found["identifier N@10"] == pytest.approx(sum(gains) / 8)


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


def test_exposure_looks_at_the_first_ten_places(split):
    items = np.stack([np.r_[:10, 10 + i] for i in range(3)])
    found = evaluate(
        Ranking.of_items(items, np.zeros(items.shape)), split.cases("test"), split
    ).metrics()
    assert found["exposure Gini"] == pytest.approx(
        gini(np.bincount(items[:, :10].ravel(), minlength=N_ITEMS))
    )


def test_the_identifier_level_figure_stands_beside_the_item_level_one(split):
    shared = np.arange(N_ITEMS)
    shared[3] = shared[0]  # the first user's target
    ranking = lists([4, 3], [1], [0, 1, 2, 4, 5, 6, 7, 8, 10, 9])
    result = evaluate(ranking, split.cases("test"), split, shared).metrics()
    assert result["R@10"] == pytest.approx(1 / 3)
    assert result["identifier R@10"] == pytest.approx(2 / 3)
    assert result["identifier N@10"] == pytest.approx((1 / np.log2(3) + 1 / np.log2(11)) / 3)


@pytest.mark.parametrize("identifiers", [None, np.arange(N_ITEMS) // 2])
def test_some_of_the_cases_keep_their_figures(split, identifiers):
    result = evaluate(lists([4, 1], [1], [9]), split.cases("test"), split, identifiers)
    one = result[np.array([0])]
    assert (one.ranks.tolist(), one.users.tolist(), one.groups.tolist()) == ([-1], [0], ["head"])
    assert one.lists == result.lists
    assert (
        one.identifier_ranks is None
        if identifiers is None
        else one.identifier_ranks.tolist() == [1]
    )


@pytest.mark.parametrize("identifiers", [None, np.arange(N_ITEMS) // 2])
def test_json_and_back(split, identifiers):
    result = evaluate(lists([0], [1], [9]), split.cases("test"), split, identifiers)
    again = Evaluation.from_json(json.loads(json.dumps(result.to_json())))
    assert again.metrics() == result.metrics()
    assert again.users.tolist() == result.users.tolist()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1], [2, 5, 2], [1]], "case 1: item 2 was recommended twice"),
        ([[0], [1], [3, N_ITEMS]], rf"case 2: item {N_ITEMS} is not in the catalogue \(ids 0-13\)"),
        ([[0, -2], [1], [3]], "case 0: item -2 is not in the catalogue"),
        ([[0], [1]], "2 ranked lists cannot be held against 3 cases"),
    ],
)
def test_impossible_lists_are_refused(split, rows, message):
    with pytest.raises(ValueError, match=message):
        evaluate(lists(*rows), split.cases("test"), split)


def test_lists_of_different_lengths_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match="fill shorter lists up with -1"):
        Ranking.of_items([[0, 1], [2]], np.zeros((2, 2)))
    with pytest.raises(ValueError, match="could not convert string to float: 'a'$"):
        Ranking.of_items([[0]], [["a"]])


def test_lists_too_short_for_the_metrics_are_refused(split):
    short = Ranking.of_items(np.array([[0], [1], [2]]), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="1 places"):
        evaluate(short, split.cases("test"), split)


# Ranking by scores


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


def test_places_beyond_the_catalogue_have_no_item_and_no_score(split):
    cases = split.cases("test").without_targets()
    found = rank_by_score(
        lambda batch: torch.zeros(len(batch), N_ITEMS), cases, N_ITEMS + 2, exclude_history=False
    )
    assert found.items.shape[1] == N_ITEMS + 2 and (found.items[:, -2:] == NO_ITEM).all()
    assert np.isneginf(found.scores[:, -2:]).all() and not found.valid[:, -2:].any()


def test_a_score_that_is_no_number_is_refused_and_not_ranked_first(split):
    cases = split.cases("test").without_targets()
    scores = torch.zeros(len(cases), N_ITEMS)
    scores[-1, 2] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        rank_by_score(lambda batch: scores, cases, 5, exclude_history=False)


def test_an_item_left_out_has_no_score(split):
    cases = split.cases("test").without_targets()
    found = rank_by_score(
        lambda batch: torch.zeros(len(batch), N_ITEMS), cases, N_ITEMS, exclude_history=True
    )
    assert (found.items == NO_ITEM).any()
    assert np.array_equal(np.isneginf(found.scores), found.items == NO_ITEM)


def test_a_saved_ranking_comes_back_and_no_other_file_passes_for_one(tmp_path):
    ranking, path = lists([0, 1, 2], [1, 2]), tmp_path / "ranking.parquet"
    ranking.save(path)
    back = Ranking.load(path)
    assert all(
        np.array_equal(getattr(back, name), getattr(ranking, name))
        for name in ("items", "scores", "valid")
    )
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):  # a bit that flips is seen, or lies where nothing is read
        flipped = bytearray(whole)
        flipped[place] ^= 16
        path.write_bytes(flipped)
        try:
            back = Ranking.load(path)
        except LetterError as error:
            assert "not readable as a ranking" in str(error)
        else:
            assert np.array_equal(back.items, ranking.items) and np.array_equal(
                back.scores, ranking.scores
            )
    for other in (b"", b"not a ranking"):
        path.write_bytes(other)
        with pytest.raises(
            LetterError,
            match=r"ranking.parquet: not readable as a ranking \(.*make the ranking again",
        ):
            Ranking.load(path)
    flat = {"items": [1, 2], "scores": [0.1, 0.2], "valid": [True, False]}
    for columns in (
        {"items": [1]},
        flat,
        {name: [[str(x)] for x in column] for name, column in flat.items()},
    ):
        pd.DataFrame(columns).to_parquet(path)
        with pytest.raises(LetterError, match="not readable as a ranking"):
            Ranking.load(path)
    with pytest.raises(LetterError, match="no such file; check the path"):
        Ranking.load(tmp_path / "gone.parquet")


def test_a_ranking_of_no_cases_comes_back_with_its_places(tmp_path):
    Ranking.of_items(np.zeros((0, 20), dtype=np.int64), np.zeros((0, 20))).save(
        tmp_path / "none.parquet"
    )
    back = Ranking.load(tmp_path / "none.parquet")
    assert back.items.shape == back.scores.shape == back.valid.shape == (0, 20)
    assert (back.items.dtype, back.scores.dtype, back.valid.dtype) == (np.int64, np.float32, bool)


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


def test_nothing_is_said_of_places_that_no_list_had(split):
    cases = split.cases("test")
    result = evaluate(lists([0], [1], [9]), cases, split)
    assert result.hits(10).tolist() == [1, 0, 1]
    for ask in (
        result.hits,
        result.gains,
        result[np.array([0, 2])].hits,
        Evaluation.from_json(result.to_json()).hits,
    ):
        with pytest.raises(LetterError, match="@11.*10 places"):
            ask(11)
    longer = np.full((3, 12), NO_ITEM)
    longer[0, 11] = 0
    wide = Evaluation.from_json(
        evaluate(Ranking.of_items(longer, np.zeros(longer.shape)), cases, split).to_json()
    )
    assert wide.hits(12).tolist() == [1, 0, 0] and not wide.hits(11).any()
    assert wide.places == 12


def test_cases_without_targets_and_no_cases_at_all_are_refused(split):
    cases = split.cases("test")
    with pytest.raises(ValueError, match="have no targets"):
        evaluate(lists([0], [1], [9]), cases.without_targets(), split)
    none = Ranking.of_items(np.zeros((0, 10), dtype=np.int64), np.zeros((0, 10)))
    with pytest.raises(ValueError, match="0 cases"):
        evaluate(none, cases[:0], split)


def test_a_saved_ranking_keeps_what_was_valid_and_one_from_before_hashes_is_read(tmp_path):
    path, items = tmp_path / "ranking.parquet", np.array([[3, NO_ITEM], [4, 5]])
    valid = np.array([[True, True], [True, False]])
    Ranking(items, np.zeros((2, 2), dtype=np.float32), valid).save(path)
    assert Ranking.load(path).valid.tolist() == valid.tolist()
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    old = Ranking.load(path)
    assert old.items.tolist() == items.tolist() and old.valid.tolist() == valid.tolist()


@pytest.mark.parametrize("target", [NO_ITEM, N_ITEMS])
def test_a_target_that_is_no_item_is_refused_and_no_hit_in_the_padding(split, target):
    cases = split.cases("test")
    foreign = replace(cases, targets=np.array([0, target, 9]))
    with pytest.raises(
        ValueError, match=f"case 1: its target {target} is not in the catalogue .ids 0-13."
    ):
        evaluate(lists([0], [1], [9]), foreign, split)


def test_scores_of_another_number_of_cases_are_refused_and_not_given_to_all(split):
    cases = split.cases("test")
    for shape in ((1, N_ITEMS), (N_ITEMS,)):
        with pytest.raises(ValueError, match="of 3 cases; a row for each case is needed"):
            rank_by_score(lambda _, shape=shape: torch.zeros(shape), cases, 5, False)
