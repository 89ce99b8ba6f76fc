"""Trained models as folders that transformers reads alone, and those folders on the hub.

    export(ll.load("tiger.safetensors"), "my-tiger")

    model = AutoModelForSeq2SeqLM.from_pretrained("my-tiger")
    processor = exported_processor("my-tiger")
    model.generate(history, logits_processor=[processor])  # the lists of `recommend`

A folder has the weights, `generation_config.json` with the search of `search_config`, a tokenizer
that knows the identifiers, the catalogue's identifiers, and a card (README.md).
"""

from pathlib import Path
from typing import Any

import torch

from letterlib.decoding.trie import Trie, vocabulary_size
from letterlib.errors import LetterError, optional
from letterlib.generators.lcrec import LCRec
from letterlib.generators.prompts import WORDINGS
from letterlib.generators.tiger import Tiger
from letterlib.store import atomic_write, read_json, write_json, write_text
from letterlib.tokenizer.identifiers import Identifiers, token

IDENTIFIERS = "identifiers.index.json"
CATALOGUE = "catalogue.json"
"""What the identifiers' file leaves out: sizes of the levels, the seed, the model's tokens."""


def export(model: Tiger | LCRec, folder: str | Path, adapter: bool = False) -> Path:
    """Write a trained TIGER or LC-Rec as a folder for transformers. Returns the folder.

    folder: a new one, or an empty one.
    adapter: of LC-Rec, only LoRA and the new tokens' embeddings, for peft; else the whole language
        model with them merged in.
    Raises LetterError for another model, and for a folder that holds something.
    """
    folder = Path(folder)
    if not isinstance(model, Tiger | LCRec):
        raise LetterError(f"{type(model).__name__}: only TIGER and LC-Rec can be exported")
    if adapter and isinstance(model, Tiger):
        raise LetterError("TIGER has no adapter; leave out --adapter")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise LetterError(f"{folder}: is there already; name a new folder")
    if folder.exists():
        folder.rmdir()
    with atomic_write(folder) as out:
        out.mkdir()
        if isinstance(model, Tiger):
            _write_tiger(model, out)
        else:
            _write_lcrec(model, out, adapter)
        model.identifiers.save(out / IDENTIFIERS)
    return folder


def exported_trie(folder: str | Path) -> Trie:
    """The trie of an exported model's catalogue."""
    table = read_json(Path(folder) / CATALOGUE)
    found = Identifiers.load(Path(folder) / IDENTIFIERS, level_sizes=tuple(table["level_sizes"]))
    return Trie.build(
        found.codes, found.level_sizes, table["seed"], shared_vocabulary=table["shared_vocabulary"]
    )


def exported_processor(folder: str | Path, prompt_length: int = 1) -> Any:
    """The `TrieLogitsProcessor` of an exported model.

    prompt_length: of a decoder-only model (LC-Rec), the length of the prompt.
    """
    from letterlib.decoding.logits_processor import TrieLogitsProcessor

    tokens = torch.tensor(read_json(Path(folder) / CATALOGUE)["tokens"])
    return TrieLogitsProcessor(exported_trie(folder), prompt_length, tokens)


def push_to_hub(folder: str | Path, repository: str, private: bool = True, api: Any = None) -> str:
    """Put an exported folder on the Hugging Face hub. Returns the address of the commit.

    repository: "name/model"; made if it is not there. Log in before: `hf auth login`.
    api: a `huggingface_hub.HfApi`, one with the usual settings if not given.
    Raises LetterError for a folder that `export` did not write.
    """
    folder = Path(folder)
    if not (folder / CATALOGUE).is_file():
        raise LetterError(f"{folder}: no exported model; write one with letterlib export")
    if api is None:
        with optional("language-models"):
            from huggingface_hub import HfApi

        api = HfApi()
    api.create_repo(repository, private=private, exist_ok=True)
    return str(
        api.upload_folder(
            repo_id=repository, folder_path=str(folder), commit_message="Exported by letterlib"
        )
    )


def _write_tiger(model: Tiger, out: Path) -> None:
    from letterlib.decoding.logits_processor import search_config
    from letterlib.generators.p5 import to_transformers

    t5 = to_transformers(model.network)
    t5.generation_config = search_config(model.trie, model.beam)
    t5.save_pretrained(out)
    _tokenizer_of(model.identifiers).save_pretrained(out)
    _write_catalogue(model, out, list(range(model.n_tokens)))
    example = "".join(_names(model.identifiers)[t] for t in model.item_tokens[0])
    code = f"""\
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

model, tokenizer = (C.from_pretrained(folder) for C in (AutoModelForSeq2SeqLM, AutoTokenizer))
history = tokenizer("{example}", return_tensors="pt")  # the items' identifiers, oldest first
written = model.generate(**history, logits_processor=[exported_processor(folder)])
print(tokenizer.batch_decode(written, skip_special_tokens=True))"""
    about = (
        f"It reads the last {model.history} items of a user and writes the next item's identifier."
    )
    write_text(out / "README.md", _card("TIGER", model, about, code))


def _write_lcrec(model: LCRec, out: Path, adapter: bool) -> None:
    from letterlib.decoding.logits_processor import search_config

    vocabulary = model.vocabulary
    tokens = vocabulary.order[: model.trie.vocabulary_size]
    base = model.config.language_model
    if adapter:
        model.network.model.save_pretrained(out, save_embedding_layers=False)
        load = f"""\
base_tokenizer, base = load_language_model({base!r})
base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
model = PeftModel.from_pretrained(base, folder)
model.generation_config = GenerationConfig.from_pretrained(folder)"""
        imports = """\
from peft import PeftModel
from transformers import AutoTokenizer, GenerationConfig
from letterlib.generators.language_model import load_language_model"""
    else:
        merged = model.merged()
        merged.config.quantization_config = None  # it was dequantised
        del merged.config.quantization_config
        merged.save_pretrained(out)
        load = "model = AutoModelForCausalLM.from_pretrained(folder)"
        imports = "from transformers import AutoModelForCausalLM, AutoTokenizer"
    search_config(model.trie, model.beam, tokens).save_pretrained(out)
    vocabulary.tokenizer.save_pretrained(out)
    _write_catalogue(model, out, tokens.tolist())
    wording = WORDINGS["seqrec"][0]
    begin = "".join(vocabulary.tokenizer.convert_ids_to_tokens(vocabulary.begin))
    end = vocabulary.tokenizer.eos_token
    item = "".join(model.identifiers.tokens(0))
    code = f"""\
{imports}

tokenizer = AutoTokenizer.from_pretrained(folder)
{load}
prompt = {begin + wording + item + end!r}
options = dict(add_special_tokens=False, return_token_type_ids=False)
words = tokenizer(prompt, return_tensors="pt", **options)
length = words["input_ids"].shape[1]
written = model.generate(**words, logits_processor=[exported_processor(folder, length)])
print(tokenizer.batch_decode(written[:, length:], skip_special_tokens=True))"""
    about = f"{base} with the identifiers as new words" + (", as an adapter." if adapter else ".")
    write_text(out / "README.md", _card("LC-Rec", model, about, code))


def _write_catalogue(model: Tiger | LCRec, out: Path, tokens: list[int]) -> None:
    found = model.identifiers
    table = {
        "level_sizes": list(found.level_sizes),
        "shared_vocabulary": found.shared_vocabulary,
        "seed": model.seed,
        "tokens": tokens,
    }
    write_json(out / CATALOGUE, table)


def _names(identifiers: Identifiers) -> list[str]:
    """What the trie's tokens are called, in order."""
    sizes = identifiers.level_sizes
    levels = sizes[:1] if identifiers.shared_vocabulary else sizes
    codes = [token(level, code) for level, size in enumerate(levels) for code in range(size)]
    names = ["<pad>", "</s>", *codes]
    assert len(names) == vocabulary_size(sizes, identifiers.shared_vocabulary)
    return names


def _tokenizer_of(identifiers: Identifiers) -> Any:
    """A tokenizer of transformers: "<a_5><b_9>" to their numbers and an end, and back."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {name: number for number, name in enumerate(_names(identifiers))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"<[^>]*>"), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", words["</s>"])]
    )
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _card(name: str, model: Tiger | LCRec, about: str, code: str) -> str:
    found, best = model.identifiers, max((s for _, s in model.log.validations), default=None)
    score = "" if best is None else f" Best validation NDCG@10: {best:.4f}."
    return f"""\
---
library_name: transformers
tags: [recommendation, generative-retrieval, letterlib]
---
# {name}: a generative recommender

{about} The catalogue has {found.n_items:,} items with identifiers of {found.n_levels} codes.{score}

```python
from letterlib.export import exported_processor

folder = "."  # this one
{chr(10).join(code.splitlines())}
```

`{IDENTIFIERS}` names the items: row i is item i. The processor keeps `generate` inside the
catalogue; without it sequences may name no item.

Method: LETTER (Wang et al., CIKM 2024), TIGER (Rajput et al., NeurIPS 2023), LC-Rec (Zheng et al.,
ICDE 2024).
"""
