"""Training TIGER beside transformers' T5 of the same size: examples per second, and the same
losses.
"""

import numpy as np
import torch
from transformers import T5ForConditionalGeneration

from benchmarks.beauty import BATCH, LEVEL_SIZES, Beauty, padded_batch
from benchmarks.common import Row, Settings, alone, alternate, named, timed
from letterlib.data.dataset import Cases
from letterlib.decoding.trie import vocabulary_size
from letterlib.generators.p5 import t5_config, to_transformers
from letterlib.generators.tiger import (
    EncoderDecoder,
    EncoderDecoderConfig,
    Tiger,
    TigerConfig,
    next_identifiers_loss,
)
from letterlib.train import autocast, train

RATE, DECAY, CLIP = 5e-4, 0.01, 1.0


def sizes(dropout: float) -> EncoderDecoderConfig:
    """The paper's TIGER over the small vocabulary: pad, end, 4 x 256 codes."""
    return EncoderDecoderConfig(vocabulary_size(LEVEL_SIZES), 128, 1024, 6, 64, 4, dropout)


def t5_loop(
    t5: T5ForConditionalGeneration, batches: list[tuple], dtype: torch.dtype
) -> list[float]:
    """The plain loop that one writes for transformers; the loss of every step."""
    optimizer = torch.optim.AdamW(t5.parameters(), lr=RATE, weight_decay=DECAY)
    t5.train()
    losses = []
    for tokens, mask, targets in batches:
        with autocast(dtype, torch.device("cpu")):
            loss = t5(input_ids=tokens, attention_mask=mask, labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(t5.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def shuffled(cases: Cases, item_tokens: np.ndarray, n: int, batch: int, seed: int) -> list[tuple]:
    """n batches of cases drawn at random, each padded to its longest history."""
    rows = np.random.default_rng(seed).permutation(len(cases))[: n * batch]
    return [padded_batch(cases[part], item_tokens) for part in np.array_split(rows, n)]


def measure(settings: Settings) -> list[Row]:
    beauty = Beauty.load(settings)
    check = _loss_curve(beauty, settings)
    return [_speed(beauty, settings, dtype, check) for dtype in ("float32", "bfloat16")]


def t5_speed(settings: Settings, dtype: str, n: int) -> float:
    """T5's examples per second on n batches; without --quick a first one, not counted, comes
    before.
    """
    beauty = Beauty.load(settings)
    cases, number = beauty.training_part().cases("train"), getattr(torch, dtype)
    t5 = T5ForConditionalGeneration(t5_config(sizes(0.1)))

    def seconds(n_batches: int) -> float:
        return timed(
            lambda: t5_loop(
                t5, shuffled(cases, beauty.item_tokens, n_batches, BATCH, settings.seed), number
            )
        )

    if not settings.quick:
        seconds(1)
    return n * BATCH / seconds(n)


def _speed(beauty: Beauty, settings: Settings, dtype: str, check: str) -> Row:
    split = beauty.training_part()
    n_ours, n_peer = settings.pick(32 if dtype == "bfloat16" else 16, 2), settings.pick(6, 1)

    def ours(n: int = n_ours) -> float:
        config = TigerConfig(epochs=1, examples=n * BATCH, batch_size=BATCH, dtype=dtype)
        tiger = Tiger(beauty.identifiers, config, settings.seed, device="cpu")
        return n * BATCH / timed(lambda: tiger.fit(split))

    ours(1)  # the first pass of either is not counted
    sides = {"ours": ours, "peer": lambda: alone(t5_speed, settings, dtype, n_peer)}
    return Row(
        what=f"TIGER training, Beauty, {dtype}",
        unit="examples/s",
        **alternate(sides, settings.pick(3, 1)),
        peer_name=named("transformers") + " T5ForConditionalGeneration",
        goal=6.0,
        dtype=f"{dtype}{' autocast' if dtype == 'bfloat16' else ''} on both sides",
        note="both: vocabulary 1,026, 4+4 layers, d 128, ff 1024, 6 heads of 64, dropout .1, "
        f"batch {BATCH}, AdamW, clipping. Ours: Tiger.fit on {n_ours} batches, set-up included "
        "(cases of like length share a batch; dropout masks are shared by a sequence's positions). "
        f"T5: a plain shuffled loop, {n_peer} batches padded to their longest history, a dropout "
        "mask per position, in a process of its own.",
        check=check,
    )


def _loss_curve(beauty: Beauty, settings: Settings) -> str:
    """The same weights, batches and optimiser on both sides, without dropout: how far do the losses
    part?
    """
    n, batch = settings.pick((20, BATCH // 2), (5, 16))
    torch.manual_seed(settings.seed)
    network = EncoderDecoder(sizes(0.0))
    t5 = to_transformers(network)
    batches = shuffled(
        beauty.training_part().cases("train"), beauty.item_tokens, n, batch, settings.seed + 1
    )
    ours, minimised = [], next_identifiers_loss(1.0)

    def loss(wrapped, one: tuple) -> dict[str, torch.Tensor]:
        tokens, mask, targets = one
        parts = minimised(wrapped, (tokens, mask, targets[:, None]))
        ours.append(float(parts["loss"].detach()))
        return parts

    train(
        network,
        lambda _: iter(batches),
        loss,
        epochs=1,
        steps_per_epoch=n,
        learning_rate=RATE,
        weight_decay=DECAY,
        clip_norm=CLIP,
        seed=settings.seed,
        what="loss curve",
    )
    theirs = t5_loop(t5, batches, torch.float32)
    gap = float(np.abs(np.array(ours) - np.array(theirs)).max())
    verdict = "equal within 1e-3" if gap < 1e-3 else "NOT equal within 1e-3"
    steps = f"losses of {n} steps of {batch} cases from the same weights (float32, no dropout)"
    return f"{steps}: {verdict}, largest difference {gap:.1e}"
