"""Exported folders: what transformers and peft read from them gives our lists."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from letterlib.data.dataset import Cases, Dataset, Sequences
from letterlib.decoding.beam_search import expand_leaves
from letterlib.errors import LetterError
from letterlib.export import export, exported_processor, exported_trie, push_to_hub
from letterlib.generators.lcrec import LCRec
from letterlib.generators.prompts import prompt_of
from letterlib.generators.tiger import Tiger
from letterlib.tokenizer.identifiers import Identifiers

N_ITEMS, BEAM = 60, 10
HISTORIES = [[3], [5, 9, 40, 2], [7, 7, 8]]


@pytest.fixture(scope="module")
def made():
    """Identifiers, some of them shared by two items, and a split."""
    generator = np.random.default_rng(0)
    codes = np.stack(np.unravel_index(generator.permutation(512)[:N_ITEMS], (8, 8, 8)), axis=1)
    codes[1], codes[11] = codes[0], codes[10]
    items = pd.DataFrame({"title": [f"item {i}" for i in range(N_ITEMS)]})
    walks = Sequences.from_lists([generator.permutation(N_ITEMS)[:12] for _ in range(12)])
    dataset = Dataset("walks", walks, items, "made up", [str(u) for u in range(12)])
    return Identifiers(codes, (8, 8, 8)), dataset.split(1)


@pytest.fixture(scope="module")
def tiger(made):
    sizes = dict(d_model=16, d_ff=32, n_heads=2, d_head=8, n_layers=1, history=4, beam=BEAM)
    return Tiger(made[0], seed=3, device="cpu", epochs=2, batch_size=16, **sizes).fit(made[1])


@pytest.fixture(scope="module")
def lcrec(made):
    sizes = dict(language_model="tiny", history=4, tasks=["seqrec"], epochs=1, batch_size=8)
    titles = made[1].dataset.titles()
    rate = dict(learning_rate=5e-3, dtype="float32", beam=BEAM)
    return LCRec(made[0], titles, seed=3, device="cpu", **sizes, **rate).fit(made[1])


def lists(folder, model, inputs, length: int = 1) -> np.ndarray:
    """The items of `generate` with the folder's own settings, [1, BEAM]."""
    processor, trie = exported_processor(folder, length), exported_trie(folder)
    found = model.generate(
        **inputs,
        logits_processor=[processor],
        return_dict_in_generate=True,
        output_scores=True,
    )
    written = found.sequences[:, length : length + trie.n_levels]
    leaves = trie.walk(processor._in_the_tries_numbers(written, model.config.vocab_size))
    scores = found.sequences_scores.numpy()[None]
    return expand_leaves(trie, leaves.numpy()[None], scores, BEAM)[0]


def test_tiger_as_a_t5_gives_our_lists(tiger, tmp_path):
    folder = export(tiger, tmp_path / "tiger")
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for history in HISTORIES:
        text = "".join("".join(tiger.identifiers.tokens(item)) for item in history)
        ours = tiger.recommend(Cases.from_histories([history]), BEAM).items
        inputs = tokenizer(text, return_tensors="pt")
        np.testing.assert_array_equal(lists(folder, model, inputs), ours)
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text and ids[-1] == 1


def test_lc_rec_merged_gives_our_lists(lcrec, tmp_path):
    folder = export(lcrec, tmp_path / "merged")
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for history in HISTORIES:
        prompt = prompt_of(lcrec.vocabulary, history)
        ours = lcrec.recommend(Cases.from_histories([history]), BEAM).items
        inputs = {"input_ids": torch.tensor([prompt])}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        np.testing.assert_array_equal(lists(folder, model, inputs, len(prompt)), ours)
        code = "".join(lcrec.identifiers.tokens(history[0]))
        words = tokenizer(code, add_special_tokens=False)["input_ids"]
        assert words == lcrec.vocabulary.item_tokens[history[0]].tolist()


def test_the_cards_code_runs(tiger, lcrec, tmp_path, capsys):
    """Of all three folders; of LC-Rec's adapter, it also gives the lists of the merged model."""
    first = {}
    for name, model, adapter in (
        ("tiger", tiger, False),
        ("merged", lcrec, False),
        ("adapter", lcrec, True),
    ):
        folder = export(model, tmp_path / name, adapter)
        card = (folder / "README.md").read_text(encoding="utf-8")
        code = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
        exec(code.replace('folder = "."', f"folder = {str(folder)!r}"), {})
        first[name] = capsys.readouterr().out
        identifiers = {"".join(model.identifiers.tokens(i)) for i in range(N_ITEMS)}
        written = re.findall(r"(?:<[a-c]_\d+>\s*){3}", first[name])
        assert len(written) == BEAM
        assert {re.sub(r"\s", "", one) for one in written} <= identifiers
    assert first["adapter"] == first["merged"]
    assert not (tmp_path / "adapter" / "model.safetensors").exists()


class StandIn:
    """In place of huggingface_hub's HfApi."""

    def __init__(self):
        self.calls = []

    def create_repo(self, repo_id, **options):
        self.calls.append(("create", repo_id, options))

    def upload_folder(self, **options):
        self.calls.append(("upload", options["repo_id"], options["folder_path"]))
        return "https://hub/commit"


def test_an_exported_folder_is_pushed_and_no_other(tiger, tmp_path):
    folder, api = export(tiger, tmp_path / "tiger"), StandIn()
    assert push_to_hub(folder, "me/tiger", api=api) == "https://hub/commit"
    assert api.calls == [
        ("create", "me/tiger", {"private": True, "exist_ok": True}),
        ("upload", "me/tiger", str(folder)),
    ]
    with pytest.raises(LetterError, match="no exported model"):
        push_to_hub(tmp_path, "me/tiger", api=api)
    with pytest.raises(LetterError, match="is there already"):
        export(tiger, folder)
