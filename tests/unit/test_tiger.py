"""TIGER as a recommender: what it reads, that it learns, and that its lists keep their promises."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences
from letterlib.decoding import exact as exact_scoring
from letterlib.decoding.trie import EOS, PAD, Trie
from letterlib.errors import LetterError
from letterlib.generators import recommender, tiger
from letterlib.generators.tiger import Tiger, TigerConfig, history_tokens
from letterlib.store import digest
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.train import TrainingLog

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


def circle() -> Dataset:
    """Ten users who walk along a circle of 60 items: after item i comes item i + 1."""
    walks = [(6 * user + np.arange(30)) % N_ITEMS for user in range(10)]
    items = pd.DataFrame({"title": [f"item {i}" for i in range(N_ITEMS)]})
    return Dataset(
        "circle", Sequences.from_lists(walks), items, "made up", [str(u) for u in range(10)]
    )


def identifiers(shared: bool = False) -> Identifiers:
    """Random identifiers; `shared`: items 10 to 14 have the same one."""
    codes = np.random.default_rng(0).integers(0, 8, (N_ITEMS, 3))
    assert len(np.unique(codes, axis=0)) == N_ITEMS or shared
    if shared:
        codes[10:15] = codes[10]
    return Identifiers(codes, (8, 8, 8))


def distinct() -> Identifiers:
    codes = np.stack(
        np.unravel_index(np.random.default_rng(0).permutation(512)[:N_ITEMS], (8, 8, 8)), axis=1
    )
    return Identifiers(codes, (8, 8, 8))


def trained(epochs: int = 30, seed: int = 0) -> Tiger:
    config = SMALL.model_copy(update={"epochs": epochs})
    return Tiger(distinct(), config, seed, "cpu").fit(circle().split(1))


@pytest.fixture(scope="module")
def model() -> Tiger:
    return trained()


@pytest.fixture(scope="module")
def untrained_shared() -> Tiger:
    return Tiger(identifiers(shared=True), SMALL, 0, "cpu")


HISTORIES = Cases.from_histories([[3, 4, 5], [], [59], list(range(40)), [7, 7, 7, 7], [20, 21]])


@pytest.mark.parametrize("part", ["train", "test"])
def test_it_memorises_what_comes_next(model, part):
    cases = circle().split(1).cases(part)
    items = model.recommend(cases.without_targets(), 10).items
    assert (items == cases.targets[:, None]).any(axis=1).mean() > 0.9
    assert model.log.losses[-1]["loss"] < 0.5 * model.log.losses[0]["loss"]


def test_without_a_pair_in_training_there_is_nothing_to_learn():
    short = Dataset(
        "short",
        Sequences.from_lists([[0, 1, 2], [3, 4, 5]]),
        pd.DataFrame(index=range(N_ITEMS)),
        "",
        "ab",
    )
    with pytest.raises(LetterError, match="no user has two items in training"):
        Tiger(distinct(), SMALL).fit(short.split(1))


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
    split = circle().split(
        5
    )  # ten of every user's thirty items are held out, twenty are for training
    config = SMALL.model_copy(update={"targets": 3})
    tiger_of_three = Tiger(distinct(), config, 0, "cpu")
    cases = split.cases("train")
    ends = split.dataset.sequences.offsets[:-1] + split.train.lengths
    _, _, targets = tiger_of_three._batch(
        cases[[0, 16, 17, 18]], ends
    )  # user 0, histories of 1, 17, 18, 19 items
    item_tokens = [[*row, EOS] for row in tiger_of_three.item_tokens.tolist()]
    nothing = [tiger.IGNORED] * 4
    assert tiger.IGNORED < 0, "no token"
    assert targets[0].tolist() == item_tokens[1:4]
    assert targets[1].tolist() == item_tokens[17:20]
    assert targets[2].tolist() == [*item_tokens[18:20], nothing]
    assert targets[3].tolist() == [item_tokens[19], nothing, nothing]


def test_padding_does_not_change_an_answer(model):
    """Training pads histories of different lengths to one; the search does not pad."""
    tokens, mask = history_tokens(HISTORIES, 5, model.item_tokens)
    with torch.no_grad():
        padded = model.network.encode(tokens, mask)
        for row in range(len(HISTORIES)):
            alone, nothing = history_tokens(HISTORIES[[row]], 5, model.item_tokens)
            assert nothing is None
            assert (
                model.network.encode(alone)[0] - padded[row, -alone.shape[1] :]
            ).abs().max() < 1e-5


def test_lists_hold_each_item_once_best_first(model):
    ranking = model.recommend(HISTORIES, 20)
    for items, scores in zip(ranking.items, ranking.scores, strict=True):
        assert len(set(items)) == 20 and items.min() >= 0 and items.max() < N_ITEMS
        assert (np.diff(scores) <= 0).all()
    assert ranking.valid.all()


def test_the_same_question_has_the_same_answer(model):
    first, second = model.recommend(HISTORIES, 10), model.recommend(HISTORIES, 10)
    assert np.array_equal(first.items, second.items) and np.array_equal(first.scores, second.scores)


def test_nothing_is_dropped_in_a_ranking_though_training_was_interrupted(model):
    """Which leaves a network in training mode."""
    expected = model.recommend(HISTORIES, 10)
    dropout = SMALL.model_copy(update={"dropout": 0.5})
    other = Tiger(model.identifiers, dropout, 0, "cpu")
    other.network.load_state_dict(model.network.state_dict())
    other.network.train()
    assert np.array_equal(other.recommend(HISTORIES, 10).scores, expected.scores)


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
    sizes.clear()
    monkeypatch.setattr(recommender, "SEARCH_BUDGET", 1)
    alone = model.recommend(cases, 10)
    assert max(sizes) == 1
    assert np.array_equal(together.items, alone.items)
    assert np.abs(together.scores - alone.scores).max() < 1e-4


def test_fewer_long_histories_than_short_ones_are_encoded_at_once(model, monkeypatch):
    """The scores of the encoder's attention grow with the square of the history."""
    cases, sizes, memory = circle().split(1).cases("train").without_targets(), {}, model._memory
    long = model.n_heads * (3 * 5 + 1) ** 2
    assert long > model._largest_array(1, 1)
    monkeypatch.setattr(recommender, "SEARCH_BUDGET", 2 * long)
    monkeypatch.setattr(
        model,
        "_memory",
        lambda part: sizes.setdefault(min(part.lengths[0], 5), len(part)) and memory(part),
    )
    model.recommend(cases, 1, beam=1)
    assert sizes[5] == 2 < sizes[1]


def test_only_the_recent_history_is_read(model):
    long = model.recommend(HISTORIES[[3]], 10)
    short = model.recommend(Cases.from_histories([range(35, 40)]), 10)
    assert np.array_equal(long.items, short.items)


def test_more_items_asked_for_than_there_are(model):
    ranking = model.recommend(HISTORIES, N_ITEMS + 5)
    assert (np.sort(ranking.items[:, :N_ITEMS], axis=1) == np.arange(N_ITEMS)).all()
    assert (ranking.items[:, N_ITEMS:] == NO_ITEM).all() and not ranking.valid[:, N_ITEMS:].any()
    assert np.isneginf(ranking.scores[:, N_ITEMS:]).all()


def test_filtered_lists_are_full_and_without_the_history(model):
    ranking = model.recommend(HISTORIES, 20, exclude_history=True)
    for index, items in enumerate(ranking.items):
        assert len(set(items)) == 20 and items.min() >= 0
        assert not set(items) & set(HISTORIES.history(index))
    everything_but_two = Cases.from_histories([[*range(30), *range(32, 60)]])
    assert set(model.recommend(everything_but_two, 3, exclude_history=True).items[0]) == {
        30,
        31,
        NO_ITEM,
    }


def test_a_trie_of_some_items_knows_no_history(model):
    """Its items have numbers of their own, so other items would be left out than those of the
    history.
    """
    part = Tiger(model.identifiers, SMALL, 0, "cpu")
    part.trie = Trie.build(model.identifiers.codes[20:], model.identifiers.level_sizes)
    assert part.recommend(HISTORIES, 3).items.max() < 40
    with pytest.raises(LetterError, match="its trie holds 40 of 60 items"):
        part.recommend(HISTORIES, 3, exclude_history=True)


def test_a_wide_beam_is_at_least_as_good_and_tau_rescales(model):
    narrow = model.recommend(HISTORIES, 5, beam=5)
    exact = model.recommend(HISTORIES, 5, beam=N_ITEMS)
    assert (exact.scores >= narrow.scores - 1e-5).all()
    seen = HISTORIES[[0, 3]]  # what the model is sure of, a lower temperature makes surer
    sharper = model.recommend(seen, 5, beam=N_ITEMS, tau=0.5)
    assert (sharper.scores[:, 0] > exact.scores[[0, 3], 0]).all()
    for tau in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(LetterError, match="above 0"):
            model.recommend(seen, 5, tau=tau)


def test_scores_without_an_order_are_refused():
    """A recommender that returns empty lists would be reported as one that finds nothing."""
    broken = Tiger(distinct(), SMALL, 0, "cpu")
    with torch.no_grad():
        broken.network.embedding.weight[3] = torch.nan
    for ask in (broken.recommend, broken.recommend_unconstrained):
        with pytest.raises(LetterError, match="some scores are NaN.*learning rate"):
            ask(HISTORIES, 5)


def test_exact_scoring_reads_eight_histories_at_once(model, monkeypatch):
    """The sequences of the catalogue are made once for all of them."""
    made = []
    parts = exact_scoring._parts
    monkeypatch.setattr(exact_scoring, "_parts", lambda trie: made.append(1) or parts(trie))
    model.recommend(Cases.from_histories([[i, i + 1] for i in range(8)]), 3, beam=N_ITEMS)
    assert made == [1]


def test_items_that_share_an_identifier_share_its_score(untrained_shared):
    ranking = untrained_shared.recommend(HISTORIES, N_ITEMS)
    for items, scores in zip(ranking.items, ranking.scores, strict=True):
        places = np.flatnonzero(np.isin(items, range(10, 15)))
        assert len(places) == 5 and np.ptp(places) == 4 and np.ptp(scores[places]) == 0
    orders = {tuple(row[np.isin(row, range(10, 15))]) for row in ranking.items}
    assert len(orders) == 1  # the order is the seed's, not the case's


def test_a_shared_identifier_stays_while_one_of_its_items_is_left(untrained_shared):
    seen = Cases.from_histories([[10, 11, 12, 14]])
    items = untrained_shared.recommend(seen, N_ITEMS, exclude_history=True).items[0]
    assert 13 in items and not set(items) & {10, 11, 12, 14}


def test_without_the_trie_sequences_that_are_no_identifier_are_marked(model, untrained_shared):
    ranking = untrained_shared.recommend_unconstrained(HISTORIES, 10)
    assert ranking.valid.mean() < 0.5 and (ranking.items[~ranking.valid] == NO_ITEM).all()
    assert np.array_equal(np.isneginf(ranking.scores), ~ranking.valid)
    cases = circle().split(1).cases("test").without_targets()
    free, held = model.recommend_unconstrained(cases, 1), model.recommend(cases, 1)
    assert free.valid.mean() > 0.5
    assert np.array_equal(free.items[free.valid], held.items[free.valid])


def test_more_sequences_than_there_are_leave_places_without_an_item():
    three = Tiger(Identifiers(np.array([[0], [1], [2]]), (3,)), SMALL, 0, "cpu")
    ranking = three.recommend_unconstrained(Cases.from_histories([[0, 1], []]), 400)
    assert ranking.items.shape == (2, 400) and sorted(ranking.items[0][ranking.valid[0]]) == [
        0,
        1,
        2,
    ]
    assert (
        np.isneginf(ranking.scores[:, -1]).all()
        and np.isfinite(ranking.scores[ranking.valid]).all()
    )


def test_without_the_trie_the_first_of_the_items_that_share_an_identifier_stands():
    one = Tiger(Identifiers(np.array([[0]] * 9 + [[1]]), (2,)), SMALL, 0, "cpu")
    cases = Cases.from_histories([[0, 1]])
    first = [item for item in one.recommend(cases, 10).items[0] if item != 9][0]
    free = one.recommend_unconstrained(cases, 16)
    assert set(free.items[free.valid]) == {first, 9}


def test_saved_and_loaded_it_answers_the_same(model, tmp_path):
    model.save(tmp_path / "tiger.safetensors")
    loaded = Tiger.load(tmp_path / "tiger.safetensors", "cpu")
    before, after = model.recommend(HISTORIES, 10), loaded.recommend(HISTORIES, 10)
    assert np.array_equal(before.items, after.items) and np.array_equal(before.scores, after.scores)
    assert loaded.config == model.config and loaded.n_parameters == model.n_parameters
    assert loaded.log.losses == model.log.losses
    assert np.array_equal(loaded.identifiers.codes, model.identifiers.codes)


def _fingerprint() -> str:
    weights = trained(epochs=2, seed=5).network.state_dict()
    return digest(*(weight.numpy() for weight in weights.values()))


def test_a_model_that_is_made_or_loaded_leaves_the_caller_s_random_numbers_alone(model, tmp_path):
    model.save(tmp_path / "tiger.safetensors")
    torch.manual_seed(11)
    expected = torch.rand(2)
    for make in (
        lambda: Tiger(distinct(), SMALL, 0, "cpu"),
        lambda: Tiger.load(tmp_path / "tiger.safetensors", "cpu"),
    ):
        torch.manual_seed(11)
        make()
        assert torch.equal(torch.rand(2), expected)


def test_to_fit_twice_is_not_to_train_for_longer():
    one, split = (
        Tiger(distinct(), SMALL.model_copy(update={"epochs": 2}), 0, "cpu"),
        circle().split(1),
    )
    first, second = (one.fit(split).recommend(HISTORIES, 10).scores for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_same_seed_gives_the_same_weights_in_another_process():
    command = [sys.executable, "-c", "import test_tiger; print(test_tiger._fingerprint())"]
    other = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip().splitlines()[-1] == _fingerprint()


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path, capsys):
    split, config = circle().split(1), SMALL.model_copy(update={"epochs": 4, "validate_every": 1})
    whole = Tiger(distinct(), config, 0, "cpu").fit(split)
    checkpoint = tmp_path / "checkpoint.safetensors"
    cut = Tiger(distinct(), config, 0, "cpu", checkpoint)
    stop_after(cut, 2)
    with pytest.raises(KeyboardInterrupt):
        cut.fit(split)
    for name, weight in Tiger(distinct(), config, 0, "cpu").network.state_dict().items():
        assert torch.equal(weight, cut.network.state_dict()[name]), (
            f"half trained is not learnt: {name}"
        )
    assert not cut.log.losses
    resumed = Tiger(distinct(), config, 0, "cpu", checkpoint).fit(split)
    assert len(resumed.log.losses) == 4
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(weight, resumed.network.state_dict()[name]), name
    other = Tiger(distinct(), config.model_copy(update={"tau": 0.5}), 0, "cpu", checkpoint).fit(
        split
    )
    assert (
        "another training" in capsys.readouterr().out and other.log.losses[0] != whole.log.losses[0]
    )


def stop_after(model: Tiger, epochs: int) -> None:
    """Interrupt `model.fit` in its next validation after `epochs` of them, checkpoints written
    every time.
    """
    recommend, calls = model.recommend, []

    def interrupted(*args, **options):
        calls.append(1)
        if len(calls) > epochs:
            raise KeyboardInterrupt
        return recommend(*args, **options)

    model.recommend = interrupted


@pytest.fixture(autouse=True)
def checkpoint_every_epoch(monkeypatch):
    def train(*args, **options):
        return tiger_train(*args, **options, checkpoint_seconds=0.0)

    tiger_train = tiger.train
    monkeypatch.setattr(tiger, "train", train)


def test_identifiers_of_another_catalogue_are_refused():
    with pytest.raises(LetterError, match="identifiers for 7 items, but circle has 60"):
        Tiger(Identifiers(np.zeros((7, 2), dtype=np.int64), (3, 3)), SMALL).fit(circle().split(1))


def test_an_item_outside_the_catalogue_is_refused(model):
    with pytest.raises(LetterError, match="item 60 is not in the catalogue"):
        model.recommend(Cases.from_histories([[3, 60]]), 10)


def test_a_misspelt_option_is_refused():
    with pytest.raises(ValidationError, match="learning_rat"):
        TigerConfig(learning_rat=1e-3)


def test_no_cases_no_rows(model):
    assert model.recommend(Cases.from_histories([]), 10).items.shape == (0, 10)


def test_fit_minimises_the_ranking_guided_loss_at_its_own_tau_and_hands_its_options_on(monkeypatch):
    seen = {}

    def spy(network, batches, loss, **options):
        seen.update(options, loss=loss, batch=next(iter(batches(np.random.default_rng(0)))))
        return TrainingLog()

    monkeypatch.setattr(tiger, "train", spy)
    config = SMALL.model_copy(update={"tau": 0.5, "relative_rate": True})
    model = Tiger(distinct(), config, 0, "cpu").fit(circle().split(1))
    tokens, mask, targets = seen["batch"]
    with torch.no_grad():
        logits = model.network(tokens, mask, targets)
        found = seen["loss"](model.network, seen["batch"])["loss"]
    wanted = F.cross_entropy(
        logits.flatten(0, -2) / 0.5, targets.flatten(), ignore_index=tiger.IGNORED
    )
    assert float(found) == pytest.approx(float(wanted), rel=1e-5)
    assert seen["relative_rate"] and seen["clip_norm"] == 1.0 and seen["schedule"] == "cosine"
    for name in ("epochs", "learning_rate", "weight_decay", "warmup", "validate_every", "patience"):
        assert seen[name] == getattr(config, name), name


def test_fit_learns_from_training_alone_and_draws_its_examples_anew_every_epoch(monkeypatch):
    seen = {}

    def no_training(network, batches, loss, **options):
        seen.update(options, batches=batches)
        return TrainingLog()

    def targets(epoch):
        return torch.cat([batch[2] for batch in seen["batches"](np.random.default_rng(epoch))])

    monkeypatch.setattr(tiger, "train", no_training)
    split = circle().split(5)  # ten users with 30 items: 20 of each are training
    Tiger(distinct(), SMALL.model_copy(update={"targets": 3}), 0, "cpu").fit(split)
    learnt = int((targets(0)[..., -1] == EOS).sum())
    assert learnt == 10 * (17 * 3 + 2 + 1), (
        "three targets after each history, and none beyond the end of training"
    )
    Tiger(distinct(), SMALL.model_copy(update={"examples": 40}), 0, "cpu").fit(split)
    assert len(targets(0)) == 40 and seen["steps_per_epoch"] == 2
    assert not torch.equal(targets(0), targets(1))
    learnt_from = torch.cat([targets(epoch) for epoch in range(10)]).flatten(0, 1)
    assert len(learnt_from.unique(dim=0)) > 50, (
        "not of the first users alone, who have 25 of the items"
    )


def test_a_second_fit_is_no_longer_training():
    split, config = circle().split(5), SMALL.model_copy(update={"epochs": 2})
    model = Tiger(distinct(), config, 0, "cpu").fit(split)
    losses, weights = (
        model.log.losses,
        {name: one.clone() for name, one in model.network.state_dict().items()},
    )
    model.fit(split)
    assert model.log.losses == losses
    assert all(torch.equal(one, weights[name]) for name, one in model.network.state_dict().items())


def test_without_the_trie_the_beam_is_the_configuration_s_and_never_below_k(monkeypatch):
    search, asked = recommender.unconstrained_beam_search, []
    untrained = Tiger(distinct(), SMALL, 0, "cpu")
    monkeypatch.setattr(
        recommender, "unconstrained_beam_search", lambda *a: asked.append(a[-1]) or search(*a)
    )
    for k in (1, 30):
        untrained.recommend_unconstrained(HISTORIES[[0]], k)
    assert asked == [SMALL.beam, 30]


def test_training_is_in_the_dtype_of_the_configuration(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        tiger, "train", lambda *given, **options: seen.update(options) or TrainingLog()
    )
    Tiger(distinct(), SMALL.model_copy(update={"dtype": "bfloat16"}), 0, "cpu").fit(
        circle().split(1)
    )
    assert seen["dtype"] == torch.bfloat16


def test_batches_of_short_histories_do_not_always_come_first(monkeypatch):
    seen = []
    monkeypatch.setattr(
        tiger, "train", lambda network, batches, *given, **o: seen.append(batches) or TrainingLog()
    )
    Tiger(distinct(), SMALL, 0, "cpu").fit(circle().split(1))
    epochs = [seen[0](np.random.default_rng(epoch)) for epoch in range(5)]
    assert len({tuple(tokens.shape[1] for tokens, *_ in batches) for batches in epochs}) > 1


def test_another_seed_begins_with_other_weights_and_draws_other_batches(monkeypatch):
    seen, split = [], circle().split(1)
    monkeypatch.setattr(
        tiger, "train", lambda *_, **options: seen.append(options["seed"]) or TrainingLog()
    )
    first, same, other = (
        Tiger(distinct(), SMALL, seed, "cpu").fit(split).network.state_dict() for seed in (3, 3, 4)
    )
    assert all(torch.equal(weight, same[name]) for name, weight in first.items())
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"]) and seen == [
        3,
        3,
        4,
    ]


def test_the_seed_orders_items_that_share_an_identifier_and_is_in_the_file(tmp_path):
    alike, cases, orders = (
        Identifiers(np.zeros((30, 1), dtype=np.int64), (1,)),
        Cases.from_histories([[0]]),
        [],
    )
    for seed in (0, 5):
        made = Tiger(alike, SMALL, seed, "cpu")
        made.save(tmp_path / "tiger.safetensors")
        loaded = Tiger.load(tmp_path / "tiger.safetensors", "cpu")
        orders.append(made.recommend(cases, 30).items[0].tolist())
        assert loaded.recommend(cases, 30).items[0].tolist() == orders[-1]
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1])


def test_to_fit_what_was_loaded_is_to_go_on_from_there(model, tmp_path, monkeypatch):
    model.save(tmp_path / "tiger.safetensors")
    loaded = Tiger.load(tmp_path / "tiger.safetensors", "cpu")
    monkeypatch.setattr(tiger, "train", lambda *_, **__: TrainingLog())
    begun = loaded.fit(circle().split(1)).network.state_dict()
    assert all(
        torch.equal(weight, begun[name]) for name, weight in model.network.state_dict().items()
    )


def test_the_beam_is_the_configuration_s_where_none_is_given_and_never_below_k(monkeypatch):
    untrained, asked = Tiger(distinct(), SMALL, 0, "cpu"), []
    search = untrained._search
    monkeypatch.setattr(
        untrained,
        "_search",
        lambda read, beam, *more: asked.append(beam) or search(read, beam, *more),
    )
    for k, beam in ((1, None), (30, None), (3, 7), (3, 2)):
        untrained.recommend(HISTORIES[[0]], k, beam=beam)
    assert asked == [SMALL.beam, 30, 7, 3]
