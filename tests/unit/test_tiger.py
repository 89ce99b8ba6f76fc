"""TIGER as a recommender: what it reads, that it learns, and that its lists keep their promises."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences
from letterlib.decoding.exact import score_catalogue
from letterlib.decoding.trie import EOS, PAD
from letterlib.errors import LetterError
from letterlib.generators import recommender, tiger
from letterlib.generators.tiger import Tiger, TigerConfig, history_tokens
from letterlib.store import digest
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.train import TrainingLog, resolve_dtype

N_ITEMS = 60
SMALL = TigerConfig(
    d_model=32,
    d_ff=64,
    n_heads=2,
    d_head=16,
    n_layers=1,
    dropout=0.0,
    history=5,
    epochs=30,
    batch_size=32,
    learning_rate=5e-3,
    validate_every=10,
    dtype="float32",
)
HISTORIES = Cases.from_histories([[3, 4, 5], [], [59], list(range(40)), [7, 7, 7, 7], [20, 21]])


def circle() -> Dataset:
    """Ten users who walk along a circle of 60 items: after item i comes item i + 1."""
    walks = [(6 * user + np.arange(30)) % N_ITEMS for user in range(10)]
    items = pd.DataFrame({"title": [f"item {i}" for i in range(N_ITEMS)]})
    return Dataset("circle", Sequences.from_lists(walks), items, "made up", list("0123456789"))


def distinct(shared: bool = False) -> Identifiers:
    """shared: items 10 to 14 have the same identifier."""
    chosen = np.random.default_rng(0).permutation(512)[:N_ITEMS]
    codes = np.stack(np.unravel_index(chosen, (8, 8, 8)), axis=1)
    if shared:
        codes[10:15] = codes[10]
    return Identifiers(codes, (8, 8, 8))


def fresh(seed: int = 0, shared: bool = False, **settings) -> Tiger:
    return Tiger(distinct(shared), SMALL, seed, "cpu", **settings)


def same_weights(one: Tiger, other: Tiger) -> bool:
    return all(map(torch.equal, one.network.parameters(), other.network.parameters()))


@pytest.fixture(scope="module")
def model() -> Tiger:
    return fresh().fit(circle().split(1))


@pytest.fixture(scope="module")
def untrained_shared() -> Tiger:
    return fresh(shared=True)


# What it reads and learns


def test_what_the_encoder_reads():
    item_tokens = np.arange(2, 2 + 2 * 8).reshape(8, 2)
    cases = Cases.from_histories([[1, 2, 3, 4], [0], []])
    tokens, mask = history_tokens(cases, 3, item_tokens)
    assert tokens[0].tolist() == [6, 7, 8, 9, 10, 11, EOS]
    assert tokens[1].tolist() == [PAD] * 4 + [2, 3, EOS]
    assert tokens[2].tolist() == [PAD] * 6 + [EOS]
    assert mask.tolist() == (tokens != PAD).tolist()
    tokens, mask = history_tokens(cases[[2]], 3, item_tokens)
    assert tokens.tolist() == [[EOS]] and mask is None


def test_targets_are_the_next_items_and_never_reach_past_the_training_part():
    split = circle().split(5)  # of thirty items twenty are for training
    of_three, cases = fresh(targets=3), split.cases("train")
    ends = split.dataset.sequences.offsets[:-1] + split.train.lengths
    rows = cases[[0, 16, 17, 18]]  # user 0, histories of 1, 17, 18, 19 items
    _, _, targets = of_three._batch(rows, ends)
    item_tokens = [[*row, EOS] for row in of_three.item_tokens.tolist()]
    nothing = [tiger.IGNORED] * 4
    assert targets[0].tolist() == item_tokens[1:4]
    assert targets[1].tolist() == item_tokens[17:20]
    assert targets[2].tolist() == [*item_tokens[18:20], nothing]
    assert targets[3].tolist() == [item_tokens[19], nothing, nothing]


@pytest.mark.parametrize("part", ["train", "test"])
def test_it_memorises_what_comes_next(model, part):
    cases = circle().split(1).cases(part)
    items = model.recommend(cases.without_targets(), 10).items
    assert (items == cases.targets[:, None]).any(axis=1).mean() > 0.9
    assert model.log.losses[-1]["loss"] < 0.5 * model.log.losses[0]["loss"]


def test_padding_does_not_change_an_answer(model):
    """Training pads histories of different lengths to one; the search does not pad."""
    tokens, mask = history_tokens(HISTORIES, 5, model.item_tokens)
    with torch.no_grad():
        padded = model.network.encode(tokens, mask)
        for row in range(len(HISTORIES)):
            alone, _ = history_tokens(HISTORIES[[row]], 5, model.item_tokens)
            difference = model.network.encode(alone)[0] - padded[row, -alone.shape[1] :]
            assert difference.abs().max() < 1e-5


def test_fit_minimises_the_ranking_guided_loss_at_its_tau_and_hands_its_settings_on(monkeypatch):
    seen = {}

    def spy(network, batches, loss, **options):
        seen.update(options, loss=loss, batch=next(iter(batches(np.random.default_rng(0)))))
        return TrainingLog()

    monkeypatch.setattr(recommender, "train", spy)
    model = fresh(3, tau=0.5, relative_rate=True, dtype="bfloat16").fit(circle().split(1))
    tokens, mask, targets = seen["batch"]
    with torch.no_grad():
        logits = model.network(tokens, mask, targets) / 0.5
        found = seen["loss"](model.network, seen["batch"])["loss"]
    wanted = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=tiger.IGNORED)
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)
    assert seen["relative_rate"] and seen["clip_norm"] == 1.0 and seen["schedule"] == "cosine"
    assert seen["dtype"] == torch.bfloat16 and seen["seed"] == 3
    for name in ("epochs", "learning_rate", "weight_decay", "warmup", "validate_every", "patience"):
        assert seen[name] == getattr(model.config, name), name
    fresh(dtype="auto").fit(circle().split(1))
    assert seen["dtype"] == resolve_dtype("auto", torch.device("cpu"))


def test_an_epoch_draws_other_examples_of_the_training_part_in_another_order(monkeypatch):
    seen = {}

    def no_training(network, batches, loss, **options):
        seen.update(options, batches=batches)
        return TrainingLog()

    def targets(epoch):
        return torch.cat([batch[2] for batch in seen["batches"](np.random.default_rng(epoch))])

    monkeypatch.setattr(recommender, "train", no_training)
    split = circle().split(5)  # ten users with 30 items: 20 of each are training
    fresh(targets=3).fit(split)
    learnt = int((targets(0)[..., -1] == EOS).sum())
    assert learnt == 10 * (17 * 3 + 2 + 1), "three targets, and none beyond the end of training"
    fresh(examples=40).fit(split)
    assert len(targets(0)) == 40 and seen["steps_per_epoch"] == 2
    assert not torch.equal(targets(0), targets(1))
    learnt_from = torch.cat([targets(epoch) for epoch in range(10)]).flatten(0, 1)
    assert len(learnt_from.unique(dim=0)) > 50, "not of the first users alone, who have 25 items"
    fresh().fit(split)
    epochs = [seen["batches"](np.random.default_rng(epoch)) for epoch in range(5)]
    widths = {tuple(tokens.shape[1] for tokens, *_ in batches) for batches in epochs}
    assert len(widths) > 1, "batches of short histories do not always come first"


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    real, split, checkpoint = recommender.train, circle().split(1), tmp_path / "c.safetensors"
    monkeypatch.setattr(recommender, "train", lambda *a, **o: real(*a, **o, checkpoint_seconds=0.0))
    config = SMALL.model_copy(update={"epochs": 4, "validate_every": 1})
    whole = Tiger(distinct(), config, 0, "cpu").fit(split)
    cut, calls = Tiger(distinct(), config, 0, "cpu", checkpoint), []
    recommend = cut.recommend

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return recommend(*args, **options)

    cut.recommend = interrupted
    with pytest.raises(KeyboardInterrupt):
        cut.fit(split)
    assert same_weights(cut, Tiger(distinct(), config, 0, "cpu")) and not cut.log.losses
    resumed = Tiger(distinct(), config, 0, "cpu", checkpoint).fit(split)
    assert len(resumed.log.losses) == 4 and same_weights(whole, resumed)


def _fingerprint() -> str:
    weights = fresh(5, epochs=2).fit(circle().split(1)).network.state_dict()
    return digest(*(weight.numpy() for weight in weights.values()))


def test_the_same_seed_gives_the_same_weights_in_another_process():
    command = [sys.executable, "-c", "import test_tiger; print(test_tiger._fingerprint())"]
    other = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip().splitlines()[-1] == _fingerprint()


# What it recommends


def test_an_answer_does_not_depend_on_the_batch(model, monkeypatch):
    cases = circle().split(1).cases("train").without_targets()[::5]
    sizes, memory = [], model._memory
    monkeypatch.setattr(model, "_memory", lambda part: sizes.append(len(part)) or memory(part))
    together = model.recommend(cases, 10)
    assert 3 < max(sizes) <= 64
    sizes.clear()
    monkeypatch.setattr(recommender, "SEARCH_BUDGET", 4 * model._largest_array(10, 1) - 1)
    model.recommend(cases, 10, beam=10)
    assert max(sizes) == 3
    monkeypatch.setattr(recommender, "SEARCH_BUDGET", 1)
    alone = model.recommend(cases, 10)
    assert np.array_equal(together.items, alone.items)
    assert np.abs(together.scores - alone.scores).max() < 1e-4


def test_items_that_share_an_identifier_share_its_score(untrained_shared):
    ranking = untrained_shared.recommend(HISTORIES, N_ITEMS)
    for items, scores in zip(ranking.items, ranking.scores, strict=True):
        places = np.flatnonzero(np.isin(items, range(10, 15)))
        assert len(places) == 5 and np.ptp(places) == 4 and np.ptp(scores[places]) == 0
    orders = {tuple(row[np.isin(row, range(10, 15))]) for row in ranking.items}
    assert len(orders) == 1  # the order is the seed's, not the case's
    seen = Cases.from_histories([[10, 11, 12, 14]])
    items = untrained_shared.recommend(seen, N_ITEMS, exclude_history=True).items[0]
    assert 13 in items and not set(items) & {10, 11, 12, 14}


def test_a_list_of_the_whole_catalogue_is_in_the_order_of_exact_scores(untrained_shared):
    model = untrained_shared
    ranking = model.recommend(HISTORIES, N_ITEMS)
    for row in range(len(HISTORIES)):
        with torch.no_grad():
            memory = model._memory(HISTORIES[[row]])
            scores = score_catalogue(model.network, memory, model.trie)[0].numpy()
        scores = scores[model.trie.leaf_of_item]
        np.testing.assert_allclose(ranking.scores[row], np.sort(scores)[::-1], rtol=1e-4)
        np.testing.assert_allclose(ranking.scores[row], scores[ranking.items[row]], rtol=1e-4)


def test_without_the_trie_sequences_that_are_no_identifier_are_marked(model, untrained_shared):
    ranking = untrained_shared.recommend_unconstrained(HISTORIES, 10)
    assert ranking.valid.mean() < 0.5 and (ranking.items[~ranking.valid] == NO_ITEM).all()
    assert np.array_equal(np.isneginf(ranking.scores), ~ranking.valid)
    cases = circle().split(1).cases("test").without_targets()
    free, held = model.recommend_unconstrained(cases, 1), model.recommend(cases, 1)
    assert free.valid.mean() > 0.5
    assert np.array_equal(free.items[free.valid], held.items[free.valid])


def test_scores_without_an_order_are_refused():
    """A recommender that returns empty lists would be reported as one that finds nothing."""
    broken = fresh()
    with torch.no_grad():
        broken.network.embedding.weight[3] = torch.nan
    for ask in (broken.recommend, broken.recommend_unconstrained):
        with pytest.raises(LetterError, match="NaN"):
            ask(HISTORIES, 5)


# Files and mistakes


def test_saved_and_loaded_it_answers_the_same(tmp_path):
    for shared in (False, True):
        model, path = fresh(5, shared), tmp_path / "tiger.safetensors"
        model.save(path)
        loaded = Tiger.load(path, "cpu")
        before, after = model.recommend(HISTORIES, 20), loaded.recommend(HISTORIES, 20)
        assert np.array_equal(before.items, after.items), "the order of alike items is the seed's"
        assert np.array_equal(before.scores, after.scores)
        assert loaded.config == model.config and loaded.seed == 5 and loaded.log == model.log
        assert np.array_equal(loaded.identifiers.codes, model.identifiers.codes)


def test_what_does_not_fit_together_is_refused(model):
    few = Tiger(Identifiers(np.zeros((7, 2), dtype=np.int64), (3, 3)), SMALL)
    with pytest.raises(LetterError, match="7 identifiers, but circle has 60"):
        few.fit(circle().split(1))
    with pytest.raises(LetterError, match="item 60"):
        model.recommend(Cases.from_histories([[3, 60]]), 10)
    lists, items = Sequences.from_lists([[0, 1, 2], [3, 4, 5]]), pd.DataFrame(index=range(N_ITEMS))
    with pytest.raises(LetterError, match="no user has two items in training"):
        fresh().fit(Dataset("short", lists, items, "", "ab").split(1))
