"""The pipeline on a data set of one's own: whose identifiers, whose text vectors, what is kept, and
cold items.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_data import made

from letterlib.data.dataset import Dataset, Sequences
from letterlib.data.released import write_released
from letterlib.errors import LetterError
from letterlib.evaluation.metrics import COLD
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import make_config
from letterlib.pipeline.own_data import ColdStart, OwnPipeline, draw_cold_items, hide_until_test
from letterlib.pipeline.pipeline import Pipeline
from letterlib.tokenizer.identifiers import Identifiers


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The pipeline on 60 users and 40 items, leave-two-out; its cache counts what was run."""
    random = np.random.default_rng(0)
    lists = [random.permutation(40)[: 9 + u % 9] for u in range(59)] + [np.arange(40)]
    titles = [f"thing number {i}" for i in range(40)]
    dataset = Dataset(
        "made",
        Sequences.from_lists(lists),
        pd.DataFrame({"title": titles, "text": titles}),
        "made",
        [str(u) for u in range(60)],
    )
    folder = tmp_path_factory.mktemp("made")
    write_released(dataset, folder)
    config = make_config(
        "made", "smoke", overrides=["tokenizer.n_codes=16", "tokenizer.n_groups=4"]
    )
    lines = []
    one = Pipeline(
        config.model_copy(update={"held_out": 2}),
        data_dir=folder,
        cache=Cache(folder / "runs", say=lines.append),
    )
    one.lines = lines
    return one


def ran(base, stage: str) -> int:
    return sum(line == f"{stage}: running" for line in base.lines)


def test_own_identifiers_take_the_place_of_the_tokenizer_s(base):
    codes = np.stack(np.unravel_index(np.arange(40), (8, 8)), axis=1)
    own = OwnPipeline(base, base.dataset, {"letter": Identifiers(codes, (8, 8))})
    assert np.array_equal(own.system("letter-tiger").identifiers.codes, codes)
    assert own.evaluation("letter-tiger").ranks.shape == (120,)
    assert own.with_seed(1).identifiers("letter") is own.identifiers("letter")
    with pytest.raises(LetterError, match='"letter": 40 rows for 41 items'):
        items = pd.concat([base.dataset.items, base.dataset.items[:1]], ignore_index=True)
        OwnPipeline(base, replace(base.dataset, items=items), {"letter": own.identifiers("letter")})
    with pytest.raises(LetterError, match='"letter-tiger": .* choose one of .*letter'):
        OwnPipeline(base, base.dataset, {"letter-tiger": own.identifiers("letter")})


def test_other_identifiers_are_another_model(base):
    keys = set()
    for shift in (0, 1):
        codes = (np.stack(np.unravel_index(np.arange(40), (8, 8)), axis=1) + shift) % 8
        keys.add(
            OwnPipeline(base, base.dataset, {"letter": Identifiers(codes, (8, 8))})
            ._model("letter-tiger")
            .key
        )
    assert len(keys) == 2


def test_a_vocabulary_that_levels_share_is_part_of_what_identifiers_are(base):
    codes = np.stack(np.unravel_index(np.arange(40), (8, 8)), axis=1)
    own = [
        OwnPipeline(base, base.dataset, {"letter": Identifiers(codes, (8, 8), one)})
        for one in (False, True)
    ]
    assert len({pipeline._identifiers("letter").key for pipeline in own}) == 2


def test_texts_are_embedded_once_and_other_texts_again(base):
    base.semantic()
    before = ran(base, "semantic")
    shorter = replace(
        base.dataset,
        sequences=Sequences.from_lists([base.dataset.sequences[0]] * 3),
        user_labels="abc",
    )
    assert np.array_equal(OwnPipeline(base, shorter).semantic().vectors, base.semantic().vectors)
    assert ran(base, "semantic") == before
    other = replace(
        base.dataset, items=base.dataset.items.assign(text=[f"other {i}" for i in range(40)])
    )
    assert not np.array_equal(OwnPipeline(base, other).semantic().vectors, base.semantic().vectors)


def test_answers_are_kept_by_model_cases_and_way(base):
    asked = []

    def ask(system, cases):
        asked.append(len(cases))
        assert cases.targets is None
        return system.recommend(cases, 20)

    own, cases = OwnPipeline(base, base.dataset), base.split.cases("test")
    for some, way in ((cases, "plain"), (cases, "plain"), (cases[:10], "plain"), (cases, "other")):
        ranking = own.answers("popularity", some, ask, way)
        assert len(ranking) == len(some)
    assert asked == [120, 10, 120]


@pytest.fixture(scope="module")
def cold(base):
    return ColdStart(base, 0.2)


def test_cold_items_never_reach_training_nor_the_tokenizer_s_fit(base, cold):
    assert len(cold.cold) == 8 and set(cold.cold) <= set(cold.unseen)
    assert cold.split.train_counts[cold.cold].sum() == 0
    assert len(cold.tokenizer("letter").identifiers()) == 40 - len(cold.unseen)
    assert len(cold.identifiers("letter")) == 40
    seen = np.flatnonzero(cold.split.train_counts)
    assert np.array_equal(
        cold.identifiers("letter").codes[seen], cold.tokenizer("letter").identifiers().codes
    )


def test_the_text_of_a_cold_item_reaches_no_other_item_s_identifier(base, cold):
    """Change a newcomer's text vector: only its own identifier may change, and those after it that
    collide.
    """
    vectors = cold.semantic().vectors.copy()
    vectors[cold.unseen[-1]] += 5
    other = ColdStart(base, 0.2)
    other.cache = Cache(base.cache.folder.parent / "changed", say=lambda line: None)
    other.semantic = lambda: SimpleNamespace(vectors=vectors)
    a, b = cold.identifiers("letter").codes, other.identifiers("letter").codes
    assert np.array_equal(np.delete(a, cold.unseen[-1], 0), np.delete(b, cold.unseen[-1], 0))


def test_recall_of_unseen_items_is_reported_with_its_cases(cold):
    evaluation = cold.evaluation("letter-tiger")
    tests = cold.split.cases("test")
    assert np.array_equal(evaluation.groups == COLD, np.isin(tests.targets, cold.unseen))
    metrics = evaluation.metrics()
    assert metrics["cases cold"] == (evaluation.groups == COLD).sum() > 0
    assert metrics["R@10 cold"] == evaluation.hits(10)[evaluation.groups == COLD].mean()
    assert cold.evaluation("popularity").metrics()["R@10 cold"] == 0


def test_a_system_that_learns_all_titles_cannot_be_asked_about_hidden_items(cold):
    with pytest.raises(LetterError, match="letter-lc-rec: learns from the titles of all items"):
        cold.system("letter-lc-rec")
    for system in ("tiger-kmeans", "p5-cid"):  # whose identifiers are made of all items
        with pytest.raises(LetterError, match="only trained tokenizers .* have cold items"):
            cold.system(system)


# Items hidden until the test part


def test_blocks_follow_popularity_and_not_numbers():
    counts = np.random.default_rng(0).permutation(100)
    drawn = draw_cold_items(counts, 0.1, seed=0)
    assert sorted((counts[drawn] // 10).tolist()) == list(range(10))


def test_the_same_seed_draws_the_same_items_and_another_seed_others():
    one, same, other = (draw_cold_items(np.arange(100), 0.1, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_hidden_items_are_gone_before_the_test_part_and_stay_in_it():
    labels = [f"B{i}" for i in range(8)]
    whole = replace(
        made([[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0]], 8), item_labels=labels
    )
    hidden = hide_until_test(whole, np.array([2, 6]), held_out=2)
    assert hidden.sequences[0].tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert hidden.sequences[1].tolist() == [7, 5, 4, 3, 1, 0]
    split = hidden.split(2)
    assert not set(split.train.values) & {2, 6}
    assert not set(split.cases("valid").targets) & {2, 6}
    assert split.cases("test").targets.tolist() == [6, 7, 1, 0]
    assert hidden.item_labels == labels and hidden.user_labels == whole.user_labels
    assert hidden.n_items == 8 and hidden.fingerprint != whole.fingerprint


def test_a_user_who_gets_too_short_for_a_case_does_not_bring_hidden_items_into_training():
    hidden = hide_until_test(made([[0, 1, 2, 3, 4, 5]], 6), np.array([1, 2, 5]), held_out=2)
    assert hidden.sequences[0].tolist() == [0, 3, 4]
    assert not set(hidden.split(2).train.values) & {1, 2, 5}


def test_a_user_who_has_hardly_anything_else_is_left_out_and_counted():
    """Leave-one-out data of five items a user: who loses three of them has nothing to be trained
    and tested on.
    """
    whole = made([[0, 1, 2, 3, 4], [1, 2, 5, 0, 3], [5, 4, 3, 0, 1]], 6)
    hidden = hide_until_test(whole, np.array([1, 2, 5]), held_out=1)
    assert (
        list(hidden.user_labels) == ["user 0", "user 2"]
        and "hardly anything else: 1" in hidden.source
    )
    assert [one.tolist() for one in (hidden.sequences[0], hidden.sequences[1])] == [
        [0, 3, 4],
        [4, 3, 0, 1],
    ]
    assert len(hidden.split(1).cases("test")) == 2
