"""P5: TIGER on every scheme of identifiers, and with the weights of a T5."""

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from letterlib.data.dataset import Cases, Dataset, Sequences, Split
from letterlib.decoding.trie import EOS
from letterlib.errors import LetterError
from letterlib.generators.p5 import tiger_from_t5
from letterlib.generators.tiger import Tiger, TigerConfig
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.other_identifiers import (
    NO_PIECE,
    category_identifiers,
    cooccurrence_identifiers,
    random_identifiers,
    residual_kmeans_identifiers,
    title_identifiers,
)

N_ITEMS = 60
COLOURS, THINGS = ["red", "green", "blue", "black"], ["house", "dog", "river", "king", "moon"]
SMALL = TigerConfig(
    d_model=32,
    d_ff=64,
    n_heads=2,
    d_head=16,
    n_layers=1,
    dropout=0.0,
    history=3,
    epochs=30,
    batch_size=8,
    learning_rate=3e-3,
    warmup=0.05,
    validate_every=30,
    dtype="float32",
)


def catalogue() -> Split:
    """Ten users with ten of sixty items each, called such as "red dog 2"; the order follows no
    rule.
    """
    generator = np.random.default_rng(0)
    walks = [generator.permutation(N_ITEMS)[:10] for _ in range(10)]
    names = [
        (COLOURS[i % 4], THINGS[i // 4 % 5], "" if i < 20 else str(1 + i // 20))
        for i in range(N_ITEMS)
    ]
    titles = [" ".join(name).strip() for name in names]
    items = pd.DataFrame(
        {"title": titles, "genres": [f"{thing}|{colour}" for colour, thing, _ in names]}
    )
    return Dataset(
        "made", Sequences.from_lists(walks), items, "made up", [str(u) for u in range(10)]
    ).split(1)


def last_of_training(split: Split) -> Cases:
    """One case a user: the last item of training, given what stands before it."""
    cases = split.cases("train")
    return cases[np.append(np.flatnonzero(np.diff(cases.users)), len(cases) - 1)]


def recall(model: Tiger, split: Split) -> float:
    cases = last_of_training(split)
    found = model.recommend(cases.without_targets(), 10).items == cases.targets[:, None]
    return float(found.any(axis=1).mean())


def vectors() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N_ITEMS, 8)).astype(np.float32)


SCHEMES = {
    "categories": lambda split: category_identifiers(split.dataset),
    "co-occurrence": lambda split: cooccurrence_identifiers(split, n_clusters=4, leaf=8),
    "titles": lambda split: title_identifiers(split.dataset.titles()).identifiers,
    "random": lambda split: random_identifiers(N_ITEMS, 0, 3, 8),
    "residual k-means": lambda split: residual_kmeans_identifiers(vectors(), 0, 3, 16),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_ten_users_are_memorised_with_every_scheme(scheme):
    split = catalogue()
    identifiers = SCHEMES[scheme](split)
    assert len(identifiers) == N_ITEMS and identifiers.n_colliding == 0
    assert np.array_equal(SCHEMES[scheme](split).codes, identifiers.codes)
    model = Tiger(identifiers, SMALL, 0, "cpu")
    assert recall(model, split) < 0.6
    assert recall(model.fit(split), split) > 0.9


def test_a_wide_beam_scores_titles_as_teacher_forcing_does():
    """Pad and end, then the words: what `recommend` adds up is the log-probability of the written
    title.
    """
    split = catalogue()
    model = Tiger(SCHEMES["titles"](split), SMALL, 0, "cpu")
    ranking = model.recommend(Cases.from_histories([[3, 4]]), N_ITEMS, beam=N_ITEMS)
    targets = np.concatenate(
        [model.item_tokens[ranking.items[0]], np.full((N_ITEMS, 1), EOS)], axis=1
    )
    history = torch.tensor([[*model.item_tokens[[3, 4]].ravel(), EOS]])
    with torch.no_grad():
        logits = model.network(history, None, torch.from_numpy(targets)[None])[0]
    steps = logits.log_softmax(dim=-1).gather(2, torch.from_numpy(targets)[..., None])
    assert np.abs(steps.sum(dim=(1, 2)).numpy() - ranking.scores[0]).max() < 1e-4


# From a T5


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """The folder of a small T5 with random weights and a tokenizer of whole words."""
    folder = tmp_path_factory.mktemp("t5")
    words = ["<pad>", "</s>", "<unk>", "spare", *COLOURS, *THINGS, "2", "3"]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    special = dict(pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(config_of_t5())
    model.shared.weight.data.mul_(
        0.5
    )  # words of another size than those of a network that starts from nothing
    model.save_pretrained(folder)
    return str(folder)


def config_of_t5(**options) -> T5Config:
    sizes = dict(
        vocab_size=24, d_model=24, d_ff=40, d_kv=8, num_heads=3, num_layers=2, dropout_rate=0.3
    )
    return T5Config(**sizes, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, **options)


def from_titles(t5: str, split: Split, config: TigerConfig = SMALL) -> tuple[Tiger, np.ndarray]:
    titles = title_identifiers(split.dataset.titles(), tokenizer=t5)
    return tiger_from_t5(
        t5, titles.identifiers, config, 0, "cpu", pieces=titles.pieces
    ), titles.pieces


def test_before_training_it_says_of_words_what_the_t5_says(t5):
    model, pieces = from_titles(t5, catalogue())
    theirs = T5ForConditionalGeneration.from_pretrained(t5).eval()
    known = np.concatenate(
        [[0, 1], np.flatnonzero(pieces != NO_PIECE) + 2]
    )  # ours, of every word that the T5 has
    numbers = np.concatenate([[0, 1], pieces[pieces != NO_PIECE]])  # theirs
    generator = np.random.default_rng(1)
    read, written = (
        generator.integers(1, len(known), (3, 7)),
        generator.integers(1, len(known), (3, 4)),
    )
    with torch.no_grad():
        ours = model.network(
            torch.from_numpy(known[read]), None, torch.from_numpy(known[written])[:, None]
        )[:, 0]
        logits = theirs(
            input_ids=torch.from_numpy(numbers[read]), labels=torch.from_numpy(numbers[written])
        ).logits
    assert (ours[..., known] - logits[..., numbers]).abs().max() < 1e-4
    assert model.config.d_model == 24 and model.config.n_layers == 2 and model.config.dropout == 0.0


def test_codes_that_are_no_words_are_new_tokens_of_the_words_size(t5):
    split = catalogue()
    model = tiger_from_t5(t5, SCHEMES["categories"](split), SMALL, 0, "cpu")
    other = tiger_from_t5(t5, SCHEMES["categories"](split), SMALL, 1, "cpu")
    theirs = T5ForConditionalGeneration.from_pretrained(t5).shared.weight.detach()
    rows, seeded = model.network.embedding.weight.detach(), other.network.embedding.weight.detach()
    assert torch.equal(rows[:2], theirs[:2]) and torch.equal(seeded[:2], theirs[:2])
    assert (
        torch.cdist(rows[2:], theirs).min() > 1e-3
        and torch.cdist(rows[2:], seeded[2:]).min() > 1e-3
    )
    assert 0.8 < rows[2:].std() / theirs.std() < 1.25


def test_it_learns_and_what_it_saves_needs_no_t5(t5, tmp_path):
    split = catalogue()
    model, _ = from_titles(t5, split)
    model.fit(split)
    assert recall(model, split) > 0.9
    model.save(tmp_path / "p5.safetensors")
    loaded = Tiger.load(tmp_path / "p5.safetensors", "cpu")
    cases = split.cases("test").without_targets()
    assert np.array_equal(loaded.recommend(cases, 10).scores, model.recommend(cases, 10).scores)


def test_what_is_no_t5_of_ours_is_refused(tmp_path):
    identifiers = Identifiers(np.arange(N_ITEMS)[:, None], (N_ITEMS,))
    with pytest.raises(LetterError, match="cannot be loaded"):
        tiger_from_t5(str(tmp_path / "nothing"), identifiers, SMALL)
    T5ForConditionalGeneration(config_of_t5(feed_forward_proj="gated-gelu")).save_pretrained(
        tmp_path / "gated"
    )
    with pytest.raises(LetterError, match="feed_forward_proj"):
        tiger_from_t5(str(tmp_path / "gated"), identifiers, SMALL)
