"""BIGRec: what it learns, what it writes, and how what it wrote is grounded to the catalogue."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences
from letterlib.errors import LetterError, Unavailable
from letterlib.evaluation.metrics import gains_at, ranks_of
from letterlib.generators.bigrec import BIGRec, BIGRecConfig, title_loss
from letterlib.generators.language_model import TINY, load_language_model
from letterlib.generators.prompts import response_groups

N_ITEMS = 60
SMALL = BIGRecConfig(
    language_model=TINY,
    rank=16,
    dropout=0.0,
    history=5,
    targets=5,
    title_tokens=6,
    epochs=1,
    lists=None,
    batch_size=6,
    learning_rate=1e-2,
    beam=1,
    dtype="float32",
)
HISTORIES = Cases.from_histories([[3, 4, 5], [], [59], list(range(40)), [7, 7, 7, 7], [20, 21]])


def circle(change: str | None = None) -> Dataset:
    """Ten users who walk along a circle of 60 items: after item i comes item i + 1.

    change: "held out" walks elsewhere in validation and test, "train" in the training part.
    """
    walks = [(6 * user + np.arange(14)) % N_ITEMS for user in range(10)]
    for walk in walks:
        if change == "held out":
            walk[-2:] = walk[:2]
        if change == "train":
            walk[:6] = walk[:6][::-1].copy()
    items = pd.DataFrame({"title": [f"film {i}" for i in range(N_ITEMS)]})
    return Dataset(
        "circle", Sequences.from_lists(walks), items, "made up", [str(u) for u in range(10)]
    )


def fresh(seed: int = 0, **changes) -> BIGRec:
    return BIGRec(SMALL, seed, "cpu", **changes)


@pytest.fixture(scope="module")
def model() -> BIGRec:
    return fresh(epochs=40).fit(circle().split(1))


@pytest.fixture(scope="module")
def plain():
    """The language model as transformers alone has it: (tokenizer, model)."""
    return load_language_model(TINY)


def plain_state(plain, title: str) -> torch.Tensor:
    """The last hidden state of a title, alone and without any of our code."""
    tokenizer, network = plain
    tokens = tokenizer(title, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return network(tokens, output_hidden_states=True).hidden_states[-1][0, -1]


def write_instead(model: BIGRec, monkeypatch, *titles: str) -> None:
    """Let the model "write" these titles, whatever the histories are."""
    monkeypatch.setattr(
        model, "write", lambda cases: [model.network.tokens(title) for title in titles]
    )


def test_it_memorises_the_training_targets(model):
    cases = circle().split(1).cases("train")
    last = cases[np.append(np.flatnonzero(np.diff(cases.users)), len(cases) - 1)]
    assert len(last) == 10
    items = model.recommend(last.without_targets(), 10).items
    assert (items == last.targets[:, None]).any(axis=1).mean() > 0.9


def test_what_it_writes_is_greedy_token_by_token(model):
    """One history at a time, one token at a time, without a cache."""
    end, written = model.network.end, model.write(HISTORIES)
    for row in (0, 2, 3, 4, 5):
        tokens = list(model.prompt(HISTORIES.history(row)[-5:]))
        start = len(tokens)
        while len(tokens) - start < 6:
            with torch.no_grad():
                logits = model.network.model(torch.tensor([tokens])).logits[0, -1]
            token = int(
                logits.argmax()
                if len(tokens) > start
                else logits.index_fill(0, torch.tensor(end), -9e9).argmax()
            )
            if token == end:
                break
            tokens.append(token)
        assert written[row] == tuple(tokens[start:])
    assert written[1] == ()


def test_titles_stand_in_the_prompt_with_their_end_and_only_the_most_recent(model, plain):
    tokenizer, _ = plain
    words = tokenizer("Titles that one person chose, one after another:", add_special_tokens=False)[
        "input_ids"
    ]
    expected = list(words)
    for item in (36, 37):
        expected += [
            *tokenizer(f"film {item}", add_special_tokens=False)["input_ids"],
            tokenizer.sep_token_id,
        ]
    assert list(model.prompt([36, 37])) == expected
    assert model.write(Cases.from_histories([range(40)])) == model.write(
        Cases.from_histories([range(35, 40)])
    )


def test_the_loss_is_that_of_the_titles_after_the_first_token_by_token(model):
    lists, each = [[3, 4, 5], [10, 11], [20, 21, 22, 23, 24]], []
    for items in lists:
        for place in range(1, len(items)):
            prompt = list(model.prompt(items[:place]))
            response = list(model.titles[items[place]]) + [model.network.end]
            for i, token in enumerate(response):
                with torch.no_grad():
                    logits = model.network.model(torch.tensor([prompt + response[:i]])).logits[
                        0, -1
                    ]
                each.append(float(-torch.log_softmax(logits, 0)[token]))
    examples = [model.example(items, len(items) - 1) for items in lists]
    with torch.no_grad():
        loss = title_loss(model.network, response_groups(examples, model.network.end))["loss"]
    assert float(loss) == pytest.approx(np.mean(each), rel=1e-4)


@pytest.mark.parametrize("targets", [1, 2, 5, 50])
def test_a_list_teaches_as_many_titles_as_asked_after_what_came_before_them(monkeypatch, targets):
    """User u has the items 12 u to 12 u + 11; with one title to learn, a list is the authors'
    prompt.
    """
    seen, example = [], BIGRec.example
    monkeypatch.setattr(BIGRec, "example", lambda *given: seen.append(given[1:]) or example(*given))
    walks = Sequences.from_lists(np.arange(60).reshape(5, 12))
    split = replace(circle(), sequences=walks, user_labels=list("abcde")).split(1)
    fresh(targets=targets).fit(split)
    learnt, most = [], min(targets, SMALL.history)
    for items, n_new in seen:
        before = items[-n_new] % 12  # items that the user had before the first that is learnt
        assert 1 <= n_new <= most and len(items) - n_new == min(before, SMALL.history - most + 1)
        assert (
            items.tolist() == list(range(items[0], items[-1] + 1))
            and items[0] // 12 == items[-1] // 12
        )
        learnt += items[-n_new:].tolist()
    assert len(learnt) == len(set(learnt))
    if targets == 1:
        assert len(learnt) == len(split.train.values) - split.n_users


def test_grounding_is_a_plain_loop_over_the_titles(model, plain, monkeypatch):
    texts = ["film 7", "an item", "film film item"]
    write_instead(model, monkeypatch, *texts)
    cases = Cases.from_histories([[1], [2], [3]])
    items = model.recommend(cases, N_ITEMS, gamma=0).items
    for row, text in enumerate(texts):
        written = plain_state(plain, text)
        distances = [
            float((written - plain_state(plain, title)).norm()) for title in circle().titles()
        ]
        np.testing.assert_allclose(model.distances(cases)[row], distances, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(
            np.array(distances)[items[row]], np.sort(distances), rtol=1e-4, atol=1e-4
        )


def test_a_title_that_is_an_items_is_at_distance_0_and_first_with_any_popularity(
    model, monkeypatch
):
    write_instead(model, monkeypatch, *circle().titles())
    cases = Cases.from_histories([[1]] * N_ITEMS)
    torch.testing.assert_close(model.distances(cases) == 0, torch.eye(N_ITEMS, dtype=torch.bool))
    for gamma in (0, 1, 50):
        assert model.recommend(cases, 5, gamma=gamma).items[:, 0].tolist() == list(range(N_ITEMS))


def test_popularity_weighs_distances_as_the_formula_says(model, monkeypatch):
    write_instead(model, monkeypatch, "an item")
    monkeypatch.setattr(model, "popularity", torch.arange(N_ITEMS) * 2 + 5)
    cases = Cases.from_histories([[1]])
    distance = model.distances(cases)[0].numpy().astype(np.float64)
    near = (distance - distance.min()) / (distance.max() - distance.min())
    orders = []
    for gamma in (0.0, 1.0, 20.0):
        expected = near * (1 + np.arange(N_ITEMS) / (N_ITEMS - 1)) ** -gamma
        ranking = model.recommend(cases, N_ITEMS, gamma=gamma)
        np.testing.assert_allclose(-ranking.scores[0], np.sort(expected), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(
            expected[ranking.items[0]], np.sort(expected), rtol=1e-3, atol=1e-6
        )
        orders.append(ranking.items[0].tolist())
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("target, best", [("nearest", 0.0), ("popular", 50.0)])
def test_gamma_is_chosen_on_validation(target, best, model, monkeypatch):
    """One user whose validation item is either the nearest but least popular one, or the most
    popular one.
    """
    other = fresh(gammas=(0.0, 50.0))
    other.__dict__ |= {
        name: value for name, value in model.__dict__.items() if name not in ("config", "gamma")
    }
    write_instead(other, monkeypatch, "an item")
    by_distance = other.recommend(Cases.from_histories([[1]]), N_ITEMS, gamma=0).items[0]
    counts = torch.zeros(N_ITEMS, dtype=torch.int64)
    counts[by_distance[1:]] = torch.arange(N_ITEMS - 1) + 1
    monkeypatch.setattr(other, "popularity", counts)
    wanted = by_distance[1] if target == "nearest" else by_distance[-2]
    sequences = Sequences.from_lists([[1, 2, int(wanted), 3]])
    split = Dataset("one", sequences, circle().items, "made up", ["0"]).split(1)
    assert other.best_gamma(split) == best
    cases = split.cases("valid")
    gains = [
        gains_at(ranks_of(other.recommend(cases, 10, gamma=g).items, cases.targets), 10)[0]
        for g in (0.0, 50.0)
    ]
    assert gains[0] != gains[1]


def test_equal_titles_are_equally_far_and_the_lower_id_stands_first():
    data = circle()
    data.items.loc[10:14, "title"] = "film 10"
    one = fresh(lists=6).fit(data.split(1))
    distances = one.distances(HISTORIES)
    assert (distances[:, 10:15] == distances[:, 10:11]).all()
    for row in one.recommend(HISTORIES, N_ITEMS).items[[0, 2, 3, 4, 5]]:
        places = np.flatnonzero(np.isin(row, range(10, 15)))
        assert row[places].tolist() == [10, 11, 12, 13, 14]
        assert places.max() - places.min() == 4


def test_lists_hold_every_item_once_and_the_history_can_be_left_out(model):
    ranking = model.recommend(HISTORIES, N_ITEMS + 5)
    for row in ranking.items:
        assert sorted(row[:N_ITEMS]) == list(range(N_ITEMS)) and (row[N_ITEMS:] == NO_ITEM).all()
    assert (ranking.scores[:, 1:] <= ranking.scores[:, :-1]).all()
    popular = np.argsort(-circle().split(1).train_counts, kind="stable")[:10]
    np.testing.assert_array_equal(ranking.items[1][:10], popular, "after an empty history")
    new = model.recommend(HISTORIES, 10, exclude_history=True).items
    assert not any(set(row) & set(HISTORIES.history(i)) for i, row in enumerate(new))


def test_only_adapters_move_and_nothing_of_validation_and_test_is_learnt():
    models = [
        fresh(seed, lists=12).fit(circle(change).split(1))
        for seed, change in ((0, None), (0, "held out"), (0, "train"), (1, None))
    ]
    weights = [
        torch.cat([p.flatten() for p in m.network.parameters() if p.requires_grad]) for m in models
    ]
    assert torch.equal(weights[0], weights[1]), "and the same seed gives the same model"
    assert not torch.equal(weights[0], weights[2]) and not torch.equal(weights[0], weights[3])
    twin = models[0].network.model.get_base_model().state_dict()
    for name, p in load_language_model(TINY)[1].named_parameters():
        key = name if name in twin else name.replace(".weight", ".base_layer.weight")
        assert torch.equal(p, twin[key]), name


def test_saved_small_and_loaded_alike(tmp_path):
    """A new model: what one was asked before decides the last bits of its answers."""
    model = fresh(epochs=5).fit(circle().split(1))
    model.gamma = 3.0
    model.save(tmp_path / "bigrec.safetensors")
    assert (tmp_path / "bigrec.safetensors").stat().st_size < model.n_parameters * 4 / 20
    loaded = BIGRec.load(tmp_path / "bigrec.safetensors", "cpu")
    one, other = model.recommend(HISTORIES, 10), loaded.recommend(HISTORIES, 10)
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert loaded.log == model.log and loaded.gamma == 3.0
    for row in range(len(HISTORIES)):  # and an answer does not depend on the other cases
        alone = BIGRec.load(tmp_path / "bigrec.safetensors", "cpu").recommend(HISTORIES[[row]], 10)
        np.testing.assert_array_equal(alone.items[0], one.items[row])


def test_a_data_set_without_titles_or_without_two_items_a_user_is_refused():
    nameless = replace(circle(), items=pd.DataFrame(index=range(circle().n_items)))
    with pytest.raises(Unavailable, match="no item text"):
        fresh().fit(nameless.split(1))
    lonely = Dataset("lonely", Sequences.from_lists([[0, 1, 2]]), circle().items, "made up", ["u"])
    with pytest.raises(LetterError, match="no user has two items"):
        fresh().fit(lonely.split(1))


def test_a_folder_s_own_penalty_on_repeated_words_is_ignored(tmp_path, plain):
    """It would keep sequels from being written."""
    tokenizer, network = plain
    tokenizer.save_pretrained(tmp_path)
    network.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"repetition_penalty": 1.3}))
    assert load_language_model(str(tmp_path))[1].generation_config.repetition_penalty in (None, 1.0)
