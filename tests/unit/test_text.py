"""Text embeddings: pooling, batching, and the value that carries them."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from letterlib.errors import LetterError
from letterlib.generators.language_model import load_language_model
from letterlib.hub import revision_of
from letterlib.store import save_tensors
from letterlib.text import (
    ItemEmbeddings,
    _batches,
    distinct,
    embed_texts,
    find_encoder,
    mean_pool,
    read_item_vectors,
    warnings_of,
)
from letterlib.tokenizer.other_identifiers import title_identifiers

TEXTS = [
    "Toy Story (1995). Adventure, Animation",
    "Heat (1995)",
    "x",
    "A much longer text " * 20,
    "",
]


def test_mean_pool_ignores_padding():
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [99.0, 99.0]]])
    assert mean_pool(states, torch.tensor([[1, 1, 0]])).tolist() == [[2.0, 3.0]]


def test_vectors_equal_the_model_run_on_each_text_alone():
    """Length-sorted batches and padding must not change a vector, nor its row."""
    from transformers import AutoModel, AutoTokenizer

    vectors = embed_texts(TEXTS, dtype="float32", tokens_per_batch=64)
    tokenizer, model = (
        AutoTokenizer.from_pretrained(find_encoder()),
        AutoModel.from_pretrained(find_encoder()).eval(),
    )
    for text, vector in zip(TEXTS, vectors, strict=True):
        with torch.no_grad():
            states = model(
                **tokenizer(text, return_tensors="pt", truncation=True, max_length=128)
            ).last_hidden_state
        assert np.allclose(states[0].mean(dim=0).numpy(), vector, atol=1e-5), text[:20]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_reads_alike_has_one_vector_to_the_bit(dtype):
    """In whichever batch the copies would fall; two texts that differ only after the cut read alike
    as well.
    """
    texts = [f"a tale of {n} {'cities ' * (n % 7)}" for n in range(40)]
    alone = embed_texts(texts, dtype=dtype, tokens_per_batch=48)
    twice = embed_texts([*texts, *reversed(texts)], dtype=dtype, tokens_per_batch=48)
    assert np.array_equal(twice[:40], alone) and np.array_equal(twice[40:][::-1], alone)
    cut = embed_texts(
        ["one two three four", "a tale", "one two three five"], dtype=dtype, max_tokens=5
    )
    assert np.array_equal(cut[0], cut[2]) and not np.array_equal(cut[0], cut[1])


def test_it_is_said_from_which_share_on_texts_are_not_told_apart():
    assert distinct(["a", "b", "b", "c"], np.eye(3)[[0, 1, 1, 0]]) == {
        "different texts": 3,
        "different vectors": 2,
    }
    for n, words in ((95, ""), (94, "100 different texts became 94 different vectors")):
        said = warnings_of({"different texts": 100, "different vectors": n}, "minilm")
        assert len(said) == bool(words) and words in "".join(said)
    assert not warnings_of({"items": 100, "dimensions": 3}, "minilm"), "of an older cache"


def test_a_model_of_the_hub_that_is_another_one_by_now_is_said(tmp_path, monkeypatch):
    """A stage's key has the model's id: of another revision it would be found, and nobody would
    know.
    """
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    kept = tmp_path / "models--made--up"
    for commit in ("a" * 40, "b" * 40):
        (kept / "snapshots" / commit).mkdir(parents=True)
        (kept / "snapshots" / commit / "config.json").write_text("{}")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("a" * 40)
    assert revision_of("made/up") == "a" * 40
    assert (
        revision_of("minilm")
        is revision_of(str(tmp_path))
        is revision_of("~/model")
        is revision_of("")
        is None
    )
    found = {"revision": revision_of("made/up")}
    assert not warnings_of(found, "made/up")
    (kept / "refs" / "main").write_text("b" * 40)
    assert (
        "made with revision aaaaaaaa of made/up, and the hub's cache has bbbbbbbb now"
        in warnings_of(found, "made/up")[0]
    )
    assert not warnings_of(found, "made/another"), "not at hand, so nothing is known"


def test_vectors_are_the_sentence_transformers_ones_before_they_are_normalised():
    from sentence_transformers import SentenceTransformer

    ours = embed_texts(TEXTS[:4], dtype="float32")
    theirs = SentenceTransformer(find_encoder(), device="cpu").encode(
        TEXTS[:4], normalize_embeddings=False
    )
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine == pytest.approx(1.0, abs=1e-4)


def test_batches_hold_every_row_once_and_stay_within_the_budget():
    lengths = np.random.default_rng(0).integers(1, 100, 500)
    order = np.argsort(lengths, kind="stable")
    batches = _batches(order, lengths, 400)
    assert np.array_equal(np.concatenate(batches), order)
    assert all(len(rows) * lengths[rows].max() <= 400 or len(rows) == 1 for rows in batches)
    assert len(batches) < 80


def test_a_decoder_without_a_padding_token_works(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2, "</s>": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(tmp_path)
    torch.manual_seed(0)
    size = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    LlamaModel(LlamaConfig(vocab_size=4, **size)).save_pretrained(tmp_path)
    together = embed_texts(["a", "a b a b"], str(tmp_path), dtype="float32")
    alone = embed_texts(["a"], str(tmp_path), dtype="float32")
    assert together.shape == (2, 16) and np.allclose(together[:1], alone, atol=1e-6)
    assert embed_texts([], str(tmp_path)).shape == (0, 16)


def test_saved_embeddings_come_back_and_wrong_ones_are_refused(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(5, 3))
    ItemEmbeddings(vectors, "minilm", "abc").save(tmp_path / "e.safetensors")
    back = ItemEmbeddings.load(tmp_path / "e.safetensors")
    assert np.array_equal(back.vectors, vectors.astype(np.float32))
    assert (back.source, back.made_from) == ("minilm", "abc")
    vectors[3, 1] = np.nan
    with pytest.raises(LetterError, match="item 3 holds NaN"):
        ItemEmbeddings(torch.tensor(vectors), "minilm", "")


def test_another_program_s_vectors_are_read_if_they_are_floats_by_item(tmp_path):
    path = tmp_path / "theirs.safetensors"
    save_file({"vectors": torch.ones(3, 2, dtype=torch.bfloat16)}, path)
    back = ItemEmbeddings.load(path)
    assert back.vectors.tolist() == [[1, 1]] * 3 and back.source == "theirs.safetensors"
    for wrong in ({"vectors": torch.ones(3)}, {"a": torch.ones(3, 2)}):
        save_file(wrong, path)
        with pytest.raises(LetterError, match="theirs.safetensors: no item embeddings"):
            ItemEmbeddings.load(path)


def test_a_long_text_is_cut_where_it_is_asked_for_and_where_the_encoder_ends():
    begin, end = "soap " * 140, "for dogs"
    short, long = (
        embed_texts([begin, begin + end], max_tokens=n, dtype="float32") for n in (128, 256)
    )
    assert np.array_equal(short[0], short[1]) and not np.allclose(long[0], long[1], atol=1e-4)
    assert np.isfinite(embed_texts(["word " * 3000], max_tokens=2048, dtype="float32")).all(), (
        "MiniLM ends at 512"
    )


def test_a_long_text_is_cut_where_the_encoder_ends_though_its_tokenizer_says_no_end(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        BertConfig,
        BertModel,
        PreTrainedTokenizerFast,
        RobertaConfig,
        RobertaModel,
    )

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    size = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    BertModel(BertConfig(vocab_size=2, max_position_embeddings=8, **size)).save_pretrained(tmp_path)
    eight, many = embed_texts(["a " * 8, "a " * 100], str(tmp_path), dtype="float32")
    assert np.allclose(eight, many, atol=1e-6)
    # RoBERTa counts positions from the one after its padding: with eight there is room for seven
    # tokens.
    roberta = RobertaConfig(vocab_size=2, max_position_embeddings=8, pad_token_id=0, **size)
    RobertaModel(roberta).save_pretrained(tmp_path)
    six, seven, many = embed_texts(["a " * 6, "a " * 7, "a " * 100], str(tmp_path), dtype="float32")
    assert np.allclose(seven, many, atol=1e-6) and not np.allclose(six, seven, atol=1e-4)


def test_an_unknown_encoder_says_what_to_use_instead():
    with pytest.raises(
        LetterError, match='encoder "no/such-model".*(the hub |Cannot reach ).*minilm'
    ):
        embed_texts(["a"], "no/such-model")


@pytest.mark.parametrize("load", [lambda folder: embed_texts(["a"], folder), load_language_model])
def test_weights_that_are_a_pickle_are_refused_with_what_to_use(tmp_path, load):
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(vocab_size=words_of(tmp_path), **LLAMA))
    model.save_pretrained(tmp_path)
    load(str(tmp_path))
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(LetterError, match="cannot be loaded.*; use .*safetensors"):
        load(str(tmp_path))


@pytest.mark.parametrize(
    "load",
    [
        lambda folder: embed_texts(["a"], folder),
        load_language_model,
        lambda folder: title_identifiers(["a"], 1, folder),
    ],
)
def test_a_folder_without_a_tokenizer_is_refused(tmp_path, load):
    """transformers would make up a tokenizer that knows no word, and every text would be the
    same.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=2, n_embd=16, n_layer=1, n_head=2)).save_pretrained(
        tmp_path
    )
    with pytest.raises(
        LetterError,
        match="cannot be loaded .*has no tokenizer in it, such as tokenizer.json.*; use",
    ):
        load(str(tmp_path))


def words_of(tmp_path) -> int:
    """Write a tokenizer of a few words there; returns how many."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "a": 2, "b": 3}, unk_token="</s>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(tmp_path)
    return 4


LLAMA = dict(num_hidden_layers=1, hidden_size=16, intermediate_size=16, num_attention_heads=2)
T5 = dict(num_layers=1, d_model=16, d_ff=16, d_kv=8, num_heads=2)


@pytest.mark.parametrize(
    ("kind", "size", "load"),
    [
        ("BertModel", LLAMA, lambda folder: embed_texts(["a"], folder)),
        ("T5EncoderModel", T5, lambda folder: embed_texts(["a"], folder)),
        ("LlamaForCausalLM", LLAMA, load_language_model),
    ],
)
def test_weights_that_are_missing_are_not_made_up(tmp_path, kind, size, load):
    """transformers would draw them at random and go on: another model each time."""
    import transformers

    model_class, layers = getattr(transformers, kind), next(iter(size))
    model_class(model_class.config_class(vocab_size=words_of(tmp_path), **size)).save_pretrained(
        tmp_path
    )
    load(str(tmp_path))
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | {layers: 2}), encoding="utf-8"
    )
    with pytest.raises(
        LetterError,
        match=r"cannot be loaded .*its files lack \d+ of its weights.*[.]1[.].*; use",
    ):
        load(str(tmp_path))


def test_a_causal_model_without_its_output_is_refused_and_embeds_texts(tmp_path):
    from transformers import LlamaConfig, LlamaModel

    LlamaModel(LlamaConfig(vocab_size=words_of(tmp_path), **LLAMA)).save_pretrained(tmp_path)
    assert embed_texts(["a"], str(tmp_path)).shape == (1, 16)
    with pytest.raises(LetterError, match="lack 1 of its weights.*lm_head.weight"):
        load_language_model(str(tmp_path))


def test_a_t5_embeds_with_its_encoder_whether_it_was_saved_with_a_decoder_or_without(tmp_path):
    """Sentence-T5 is saved without one, and transformers loads it with one."""
    from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

    torch.manual_seed(0)
    whole = T5ForConditionalGeneration(T5Config(vocab_size=words_of(tmp_path), **T5)).eval()
    with torch.no_grad():
        states = whole.get_encoder()(input_ids=torch.tensor([[2, 3, 3]])).last_hidden_state
    whole.save_pretrained(tmp_path)
    assert np.allclose(
        embed_texts(["a b b"], str(tmp_path), dtype="float32"), states.mean(dim=1), atol=1e-6
    )
    alone = T5EncoderModel(T5Config(vocab_size=4, **T5))
    alone.load_state_dict(
        {n: w for n, w in whole.state_dict().items() if n.startswith(("shared", "encoder"))}
    )
    alone.save_pretrained(tmp_path)
    assert np.allclose(
        embed_texts(["a b b"], str(tmp_path), dtype="float32"), states.mean(dim=1), atol=1e-6
    )


def test_one_text_is_no_list_of_texts():
    with pytest.raises(
        LetterError, match=r"embed_texts: one text; write \[text\], a list of texts"
    ):
        embed_texts("Alien (1979)")


@pytest.mark.parametrize("max_tokens", [0, 2])
def test_no_room_for_a_token_of_the_text_is_refused(max_tokens):
    """transformers cuts nothing where the limit lies below its own tokens, and at it all texts are
    alike.
    """
    with pytest.raises(LetterError, match="adds 2 tokens of its own; give 3 or more"):
        embed_texts(["Toy Story"], max_tokens=max_tokens, device="cpu")
    assert embed_texts(iter(["Toy Story", "Alien"]), max_tokens=3, device="cpu").shape == (2, 384)


def test_a_text_of_no_token_is_a_vector_of_zeros(tmp_path):
    """As an empty one is for a decoder, whose tokenizer adds nothing."""
    from transformers import LlamaConfig, LlamaModel

    LlamaModel(LlamaConfig(vocab_size=words_of(tmp_path), **LLAMA)).save_pretrained(tmp_path)
    together, alone = (
        embed_texts(texts, str(tmp_path), dtype="float32") for texts in (["", "a b"], [""])
    )
    assert not together[0].any() and together[1].any() and np.array_equal(alone, together[:1])


def test_item_vectors_from_elsewhere_are_checked(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(7, 5))
    np.save(tmp_path / "llama.npy", vectors)
    found = read_item_vectors(tmp_path / "llama.npy", 7)
    assert found.vectors.dtype == np.float32 and np.allclose(found.vectors, vectors)
    save_tensors(tmp_path / "one.safetensors", {"embeddings": torch.tensor(vectors)}, {})
    assert np.allclose(read_item_vectors(tmp_path / "one.safetensors", 7).vectors, vectors)
    with pytest.raises(LetterError, match=r"llama.npy: expected floats \[8, d\].*\[7, 5\]"):
        read_item_vectors(tmp_path / "llama.npy", 8)
    np.save(tmp_path / "codes.npy", np.zeros((7, 5), dtype=np.int64))
    with pytest.raises(LetterError, match="found int64"):
        read_item_vectors(tmp_path / "codes.npy", 7)
    vectors[3, 1] = np.nan
    np.save(tmp_path / "llama.npy", vectors)
    with pytest.raises(LetterError, match="item 3 holds NaN"):
        read_item_vectors(tmp_path / "llama.npy", 7)
    np.savez(tmp_path / "several.npz", vectors)
    whole, empty = (tmp_path / "codes.npy").read_bytes(), np.zeros((7, 0))
    for content in (
        b"",
        (tmp_path / "several.npz").read_bytes(),
        whole.replace(b"(7,", b"([,"),
        whole.replace(b"(7, 5)", b"(7, 5" + b"0" * 12 + b")").replace(b" " * 12 + b"\n", b"\n"),
    ):
        (tmp_path / "broken.npy").write_bytes(content)
        with pytest.raises(LetterError, match="broken.npy: cannot be read"):
            read_item_vectors(tmp_path / "broken.npy", 7)
    for name, tensor in (("none", torch.tensor(empty)), ("whole", torch.ones(7, 5).int())):
        save_tensors(tmp_path / name, {"vectors": tensor})
        with pytest.raises(LetterError, match=f"{name}: expected floats"):
            read_item_vectors(tmp_path / name, 7)
