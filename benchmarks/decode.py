"""Recommending 10 items by beam search over the whole catalogue, beside transformers'
`generate`.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import T5ForConditionalGeneration

from benchmarks.beauty import LEVEL_SIZES, Beauty, padded_batch, short_tiger
from benchmarks.common import Row, Settings, alone, alternate, named, timed
from letterlib.data.dataset import NO_ITEM, Cases
from letterlib.decoding.beam_search import expand_leaves
from letterlib.decoding.trie import EOS, PAD, tokens_of
from letterlib.generators.p5 import to_transformers
from letterlib.generators.tiger import Tiger

BEAM, K = 20, 10
PEER_BATCH = 32


class PrefixTable:
    """What one writes for `prefix_allowed_tokens_fn`: a dictionary from every prefix to its allowed
    tokens.

    One look-up per beam and step, so it is the fastest that a dictionary can be.
    """

    def __init__(self, codes: np.ndarray, level_sizes: tuple[int, ...]):
        self.table: dict[tuple[int, ...], list[int]] = {}
        for row in np.unique(tokens_of(codes, level_sizes), axis=0).tolist():
            whole = [*row, EOS]
            for level, token in enumerate(whole):
                following = self.table.setdefault(tuple(whole[:level]), [])
                if following[-1:] != [token]:  # rows are sorted: a repeat is the last one
                    following.append(token)

    def __call__(self, batch_id: int, prefix: torch.Tensor) -> list[int]:
        # [PAD]: beams that `generate` has given up may stray off the table
        return self.table.get(tuple(prefix.tolist()[1:]), [PAD])


def generate(t5, cases: Cases, item_tokens: np.ndarray, allowed: PrefixTable) -> np.ndarray:
    """The K best token sequences of every case, int64 [n_cases, K, L], by transformers alone."""
    found = []
    for start in range(0, len(cases), PEER_BATCH):
        tokens, mask, _ = padded_batch(cases[start : start + PEER_BATCH], item_tokens)
        out = t5.generate(
            input_ids=tokens,
            attention_mask=mask,
            num_beams=BEAM,
            num_return_sequences=K,
            length_penalty=0.0,
            max_new_tokens=item_tokens.shape[1] + 1,
            do_sample=False,
            prefix_allowed_tokens_fn=allowed,
        )
        found.append(out.view(-1, K, out.shape[1])[:, :, 1 : 1 + item_tokens.shape[1]])
    return torch.cat(found).numpy()


def items_of(tiger: Tiger, sequences: np.ndarray) -> np.ndarray:
    """The items of generated sequences, int64 [n_cases, K]; items that share an identifier in our
    order.
    """
    n, k, length = sequences.shape
    leaves = tiger.trie.walk(torch.from_numpy(sequences.reshape(-1, length))).view(n, k).numpy()
    # Best first; the scores are not needed.
    falling = np.broadcast_to(-np.arange(k, dtype=np.float32), (n, k))
    return expand_leaves(tiger.trie, leaves, falling, K)[0]


def some_cases(beauty: Beauty, settings: Settings) -> tuple[Cases, Cases]:
    """Test cases for our side, and some of these for the peer's."""
    n_ours, n_peer = settings.pick((2_048, 256), (256, 32))
    ours = beauty.dataset.split().cases("test").without_targets().sample(n_ours, settings.seed)
    return ours, ours[np.sort(np.random.default_rng(settings.seed).permutation(n_ours)[:n_peer])]


def generate_speed(settings: Settings, folder: str) -> float:
    """Users per second of the T5 in `folder`, after a first batch that is not counted; what it
    wrote goes there.
    """
    beauty = Beauty.load(settings)
    cases = some_cases(beauty, settings)[1]
    allowed = PrefixTable(beauty.identifiers.codes, LEVEL_SIZES)
    t5 = T5ForConditionalGeneration.from_pretrained(folder)
    if not settings.quick:
        generate(t5, cases[:PEER_BATCH], beauty.item_tokens, allowed)
    started = time.perf_counter()
    written = generate(t5, cases, beauty.item_tokens, allowed)
    seconds = time.perf_counter() - started
    np.save(Path(folder) / "sequences.npy", written)
    return len(cases) / seconds


def measure(settings: Settings) -> list[Row]:
    beauty = Beauty.load(settings)
    tiger, weights = short_tiger(beauty, settings)
    t5 = to_transformers(tiger.network)
    ours_cases, peer_cases = some_cases(beauty, settings)
    n_ours, n_peer = len(ours_cases), len(peer_cases)

    def ours() -> float:
        return n_ours / timed(lambda: tiger.recommend(ours_cases, K, beam=BEAM))

    tiger.recommend(ours_cases[:PEER_BATCH], K, beam=BEAM)  # a first batch is not counted
    with tempfile.TemporaryDirectory() as folder:
        t5.save_pretrained(folder)
        peer = partial(alone, generate_speed, settings, folder)
        spreads = alternate({"ours": ours, "peer": peer}, settings.pick(3, 1))
        written = np.load(Path(folder) / "sequences.npy")
    mine, theirs = tiger.recommend(peer_cases, K, beam=BEAM).items, items_of(tiger, written)
    same = float(((mine == theirs) & (mine != NO_ITEM)).mean())
    return [
        Row(
            what="Decoding, Beauty: 10 items, beam 20, 12,101 items",
            unit="users/s",
            **spreads,
            peer_name=named("transformers") + " generate",
            goal=10.0,
            dtype="float32 on both sides",
            note=f"the paper's TIGER, {weights}. Ours: Tiger.recommend for {n_ours:,} test users. "
            "transformers: generate(num_beams=20, length_penalty=0, prefix_allowed_tokens_fn=a "
            f"dictionary of prefixes) for {n_peer} of them, {PEER_BATCH} at a time, padded to the "
            "longest history, in a process of its own.",
            check=f"identical items at identical ranks: {same:.1%} of {n_peer} x {K}",
        )
    ]
