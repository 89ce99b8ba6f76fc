"""What a trie costs as the catalogue grows from a thousand to ten million identifiers: building,
memory, a step.
"""

from dataclasses import fields
from functools import partial

import numpy as np
import psutil
import torch

from benchmarks.common import Row, Settings, Spread, alternate, row_of_curve, timed
from benchmarks.mask import Beams
from letterlib.decoding.trie import Trie

SHAPES = {"4 x 256": (256,) * 4, "8 x 2048": (2048,) * 8}
USERS = 64
FLAT_FROM = 10_000
"""Below this many identifiers a step is so short that calling it costs more than doing it."""


def random_codes(n: int, level_sizes: tuple[int, ...], seed: int) -> np.ndarray:
    """n random identifiers, int64 [n, L]."""
    generator = np.random.default_rng([seed, n])
    return np.stack([generator.integers(0, size, n) for size in level_sizes], axis=1)


def bytes_of(trie: Trie) -> int:
    """The bytes of all its arrays."""
    values = [getattr(trie, field.name) for field in fields(trie)]
    arrays = [
        a for value in values for a in (value if isinstance(value, list | tuple) else [value])
    ]
    return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray | torch.Tensor))


def measure(settings: Settings) -> list[Row]:
    sizes = [10**power for power in range(3, settings.pick(8, 6))]
    return [
        row
        for shape, level_sizes in SHAPES.items()
        for row in _rows(shape, level_sizes, sizes, settings)
    ]


def _rows(
    shape: str, level_sizes: tuple[int, ...], sizes: list[int], settings: Settings
) -> list[Row]:
    points, skipped = [], ""
    for n in sizes:
        # Codes, tokens, their sorted copy, and several arrays of up to n numbers for every level.
        needed = n * len(level_sizes) * 8 * 10
        if needed > psutil.virtual_memory().available:
            skipped = f" {n:,} left out: they need about {needed / 1e9:.0f} GB."
            break
        points.append(_point(n, level_sizes, settings))
    costs = {p["items"]: p["ns_per_child"] for p in points if p["items"] >= FLAT_FROM}
    shared = {"better": "less", "dtype": "int16, int32"}
    build = f"Trie {shape}, build from random identifiers"
    memory = (
        "all arrays, those that name the items of a leaf included. Not the masks that the first "
        f"search adds: {max(p['mask_mb'] for p in points):.1f} MB at most."
    )
    goal = 24.0 if shape == "4 x 256" else None
    row = partial(row_of_curve, points, "items", **shared)
    return [
        row("build_s", build, "s", goal=60.0, note=f"no peer.{skipped}"),
        row("bytes_per_item", f"Trie {shape}, memory", "bytes/item", goal=goal, note=memory),
        Row(
            f"Trie {shape}, a step per allowed child, dearest size over {FLAT_FROM:,}",
            "times",
            Spread((max(costs.values()) / costs[FLAT_FROM],)),
            goal=3.0,
            note=(
                "the step of beam_search for 64 users x 20 beams at random nodes, mean over all "
                "levels but the root's."
            ),
            check="; ".join(
                f"{p['items']:,}: {p['step_us']:.0f} us, {p['ns_per_child']:.1f} ns a child"
                for p in points
            ),
            **shared,
        ),
    ]


def _point(n: int, level_sizes: tuple[int, ...], settings: Settings) -> dict[str, float]:
    """Everything about one size. step_us: microseconds of a step of 64 users x 20 beams, mean over
    the levels.
    """
    codes = random_codes(n, level_sizes, settings.seed)
    tries: list[Trie] = []

    def build() -> float:
        tries[:] = []
        return timed(lambda: tries.append(Trie.build(codes, level_sizes)))

    seconds = alternate({"build": build}, 3 if n < 1_000_000 else 1)["build"].median
    beams = Beams(tries[0], USERS, settings.seed)
    steps = [beams.masking(level) for level in range(1, len(level_sizes))]
    children = sum(int(step().isfinite().sum()) for step in steps)
    step = alternate({"step": lambda: timed(lambda: [one() for one in steps])}, 7)["step"].median
    masks = [mask for mask in tries[0].masks if mask]
    return {
        "items": n,
        "build_s": seconds,
        "bytes_per_item": bytes_of(tries[0]) / n,
        "mask_mb": sum(mask.bias.nbytes + mask.child.nbytes for mask in masks) / 1e6,
        "step_us": step * 1e6 / len(steps),
        "ns_per_child": step * 1e9 / children,
    }
