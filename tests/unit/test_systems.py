"""What holds for every system of the table, whatever is inside: one test each, run on all of
them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences
from letterlib.data.released import write_released
from letterlib.errors import LetterError, Unavailable
from letterlib.evaluation.metrics import hits_at, ranks_of
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.systems import FLOOR, QUICK, SYSTEMS, find_system
from letterlib.pipeline.table import gather
from letterlib.tokenizer.other_identifiers import random_identifiers

ROOT = Path(__file__).resolve().parents[2]
N_USERS, N_ITEMS = 60, 120
SMALL = [
    "tokenizer.n_codes=16",
    "tokenizer.n_groups=4",
    "language_model_cases=20",
    "lcrec.lists=8",
    "lcrec.alignment=0.1",
    "bigrec.lists=8",
]
TRAINED = [name for name, one in SYSTEMS.items() if one.config and not one.counts]


@dataclass(frozen=True)
class Made:
    """A data set in a folder, and where its stages are kept."""

    folder: object
    cache: object

    def pipeline(self, *overrides: str) -> Pipeline:
        config = make_config("made", "smoke", overrides=[*SMALL, *overrides])
        return Pipeline(
            config, data_dir=self.folder, cache=Cache(self.cache, say=lambda line: None)
        )


def write(folder, sequences) -> None:
    """Titles of words that mean nothing, three genres, and identifiers as their authors would
    release them.
    """
    words = np.array(
        "amber birch cedar delta ember fjord grove heath inlet jetty knoll ledge marsh".split()
    )
    random = np.random.default_rng(1)
    titles = [" ".join(random.choice(words, 3)) + f" {i}" for i in range(N_ITEMS)]
    genres = [["wood", "water", "wood|water"][i % 3] for i in range(N_ITEMS)]
    items = pd.DataFrame({"title": titles, "text": titles, "genres": genres})
    labels = [f"user {u}" for u in range(len(sequences))]
    write_released(Dataset("made", Sequences.from_lists(sequences), items, "made", labels), folder)
    random_identifiers(N_ITEMS, seed=5).save(folder / "made.index.json")


def histories(n_users: int = N_USERS, length: int = 9) -> list[list[int]]:
    """Users who walk through the catalogue in steps of one, two or three, and skip back now and
    then.
    """
    random = np.random.default_rng(0)
    lists = []
    for user in range(n_users):
        walk = (random.integers(N_ITEMS) + np.arange(length) * (1 + user % 3)) % N_ITEMS
        lists.append(walk[random.permutation(length)].tolist() if user % 10 == 0 else walk.tolist())
    return lists


EVERY_SYSTEM = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xdist_group(f"system {name}"))
        for name in SYSTEMS
        if name != "repeat"  # its lists end with the history
    ],
)
"""All tests of a system in one process, in which it is trained once."""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    write(folder, histories())
    return Made(folder, tmp_path_factory.mktemp("runs"))


@EVERY_SYSTEM
def test_lists_are_the_same_every_time_and_hold_every_item_at_most_once(made, name):
    pipeline = made.pipeline()
    system, cases = pipeline.system(name), pipeline.split.cases("test").without_targets()[:12]
    first, again = (system.recommend(cases, 20) for _ in range(2))
    assert np.array_equal(first.items, again.items) and np.array_equal(first.scores, again.scores)
    reloaded = made.pipeline().system(name).recommend(cases, 20)
    assert np.array_equal(first.items, reloaded.items)
    for row in first.items:
        assert len(set(row)) == 20 and row.min() >= 0 and row.max() < N_ITEMS
    assert (np.diff(first.scores, axis=1) <= 1e-6).all(), "best first"
    alone = system.recommend(cases[5:6], 20)
    assert np.array_equal(alone.items[0], first.items[5]), (
        "an answer does not depend on the cases beside it"
    )


@EVERY_SYSTEM
def test_the_history_is_left_out_on_request(made, name):
    pipeline = made.pipeline()
    cases = pipeline.split.cases("test").without_targets()[:8]
    ranking = pipeline.system(name).recommend(cases, 20, exclude_history=True)
    for i in range(len(cases)):
        assert not set(ranking.items[i]) & set(cases.history(i))


@EVERY_SYSTEM
def test_odd_questions_have_answers(made, name):
    """An empty history, one item that nobody has in training, nobody known, more places than there
    are items.
    """
    pipeline = made.pipeline()
    system, counts = pipeline.system(name), pipeline.split.train_counts
    unseen = int(np.argmin(counts))
    cases = Cases.from_histories([[], [unseen], [unseen] * 30, [3, 4, 5]], [-1, -1, -1, 0])
    ranking = system.recommend(cases, N_ITEMS + 5)
    for row, scores in zip(ranking.items, ranking.scores, strict=True):
        listed = row[row != NO_ITEM]
        assert len(listed) == len(set(listed)) and len(listed) >= 20
        assert (row[len(listed) :] == NO_ITEM).all() and np.isneginf(scores[len(listed) :]).all()
    assert len(system.recommend(cases[:0], 10)) == 0
    with pytest.raises(LetterError, match=f"item {N_ITEMS} is not in the catalogue"):
        system.recommend(Cases.from_histories([[N_ITEMS]]), 10)


MEMORISE = {
    "mf": ["mf.epochs=300", "mf.learning_rate=0.05", "mf.regularization=0"],
    "lightgcn": ["lightgcn.epochs=150", "lightgcn.regularization=0", "lightgcn.n_layers=1"],
    "caser": ["caser.epochs=100", "caser.learning_rate=0.01", "caser.dropout=0"],
    "hgn": ["hgn.epochs=100", "hgn.learning_rate=0.01"],
    "bert4rec": ["bert4rec.epochs=300", "bert4rec.learning_rate=0.005", "bert4rec.dropout=0"],
    "sasrec": ["sasrec.epochs=150", "sasrec.learning_rate=0.01", "sasrec.dropout=0"],
    "sasrec-tuned": [
        "sasrec_tuned.epochs=80",
        "sasrec_tuned.learning_rate=0.01",
        "sasrec_tuned.dropout=0",
    ],
    "tiger": ["tiger.epochs=100", "tiger.dropout=0", "tiger.batch_size=16", "tiger.history=20"],
    "lcrec": [
        "lcrec.epochs=80",
        "lcrec.lists=10",
        "lcrec.alignment=0",
        "lcrec.dropout=0",
        "lcrec.batch_size=4",
        "lcrec.learning_rate=0.01",
        "lcrec.history=20",
    ],
    "bigrec": [
        "bigrec.epochs=120",
        "bigrec.lists=10",
        "bigrec.dropout=0",
        "bigrec.batch_size=4",
        "bigrec.learning_rate=0.01",
        "bigrec.history=20",
    ],
}
"""More epochs than `smoke` has, no regularization: ten short histories must then be known by heart.
"""


@pytest.fixture(scope="module")
def ten_users(tmp_path_factory) -> Made:
    """Nine items each, all of them training: last-five-out needs eleven. So no validation stops the
    training early.
    """
    folder = tmp_path_factory.mktemp("ten")
    random = np.random.default_rng(3)
    write(folder, [random.permutation(N_ITEMS)[:9].tolist() for _ in range(10)])
    return Made(folder, tmp_path_factory.mktemp("ten_runs"))


@pytest.mark.parametrize("name", TRAINED)
def test_a_trained_system_can_learn_ten_users_by_heart(ten_users, name):
    """R@10 above .9 over the full catalogue for each user's last training item; by chance it is
    .08.
    """
    room = SYSTEMS[name].config
    options = MEMORISE.get(name, MEMORISE.get(room, []))
    pipeline = ten_users.pipeline("held_out=5", *options)
    sequences = pipeline.split.train
    assert len(pipeline.split.cases("valid")) == 0 and (sequences.lengths == 9).all()
    cases = Cases.from_histories([sequences[u][:-1] for u in range(10)], range(10))
    ranks = ranks_of(
        pipeline.system(name).recommend(cases, 10).items,
        np.array([sequences[u][-1] for u in range(10)]),
    )
    assert hits_at(ranks, 10).mean() > 0.9


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Made:
    """As `made`, but everybody's test item is one that nobody has in training: to be seen, if
    anyone looks.
    """
    lists = histories()
    seen = {item for one in lists for item in one[:-2]}
    secret = next((item for item in range(N_ITEMS) if item not in seen), None)
    rare = secret if secret is not None else N_ITEMS - 1
    folder = tmp_path_factory.mktemp("planted")
    write(folder, [[*one[:-1], rare if rare not in one[:-1] else one[-1]] for one in lists])
    return Made(folder, tmp_path_factory.mktemp("planted_runs"))


@EVERY_SYSTEM
def test_no_system_sees_a_test_item(made, planted, name):
    """What stands in the test part changes no list: not by counts, co-occurrence, negatives,
    validation or user ids.
    """
    lists = []
    for one in (made, planted):
        pipeline = one.pipeline()
        cases = pipeline.split.cases("test").without_targets()
        lists.append(pipeline.system(name).recommend(cases, 20))
    assert not np.array_equal(
        made.pipeline().split.cases("test").targets, pipeline.split.cases("test").targets
    )
    assert np.array_equal(lists[0].items, lists[1].items)
    assert np.array_equal(lists[0].scores, lists[1].scores)


def test_the_planted_item_would_be_found_by_a_system_that_looks(planted):
    """The test above could fail: counting over whole sequences puts the planted item on top."""
    pipeline = planted.pipeline()
    counts = np.bincount(pipeline.dataset.sequences.values, minlength=N_ITEMS)
    targets = pipeline.split.cases("test").targets
    assert (
        np.argmax(counts) == np.bincount(targets).argmax()
        and pipeline.split.train_counts[np.argmax(counts)] == 0
    )


def test_a_system_that_a_data_set_cannot_have_is_left_out_and_named(tmp_path):
    write(tmp_path, histories())
    (tmp_path / "made.index.json").unlink()
    table = json.loads((tmp_path / "made.item.json").read_text())
    for entry in table.values():
        entry.pop("categories")
    (tmp_path / "made.item.json").write_text(json.dumps(table))
    pipeline = Made(tmp_path, tmp_path / "runs").pipeline()
    results, left_out = gather([pipeline], ["popularity", "p5-semid", "tiger-released"])
    assert [run.system for run in results] == ["popularity"]
    assert list(left_out) == ["p5-semid", "tiger-released"]
    assert "categor" in str(left_out["p5-semid"]) and "index.json" in str(
        left_out["tiger-released"]
    )
    with pytest.raises(Unavailable):
        pipeline.system("p5-semid")


def test_names_lead_to_systems_and_nothing_else_does():
    assert find_system("p5-cid") is SYSTEMS["p5-cid"]
    with pytest.raises(LetterError, match='unknown system "p6".*p5-cid'):
        find_system("p6")
    with pytest.raises(LetterError, match='"tiger-letter" is called "letter-tiger"'):
        find_system("tiger-letter")  # under two names it would be trained twice
    assert find_system("tiger-cf").identifiers == "cf"
    assert set(QUICK) == set(SYSTEMS) - {"repeat", "bigrec", "lc-rec", "letter-lc-rec"}
    assert all(one.family == FLOOR for one in SYSTEMS.values() if one.config is None)
