"""Batches of histories without padding: one after another in one long row of positions.

Most histories are short (Amazon Beauty: half have at most 4 training items, the longest over 200).
Of a rectangle of 50 places per history nine tenths would be padding, and all of it computed.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from letterlib.data.dataset import Sequences
from letterlib.data.flat_arrays import places_within, positions_of

PADDING = 1024
"""Padded places that cost less time than another group."""


@dataclass
class Packed:
    """Several histories without padding, longest first.

    items: int64 [n_positions].
    columns: int64 [n_positions], the place of an item in its history, 0 for the oldest.
    last: int64 [n_histories], the position of each history's last item, in the order given.
    groups: runs of histories of similar length, each padded to one table for attention.
    """

    items: Tensor
    columns: Tensor
    last: Tensor
    groups: list["Group"]

    def to(self, device: torch.device) -> "Packed":
        groups = [replace(group, places=group.places.to(device)) for group in self.groups]
        return Packed(self.items.to(device), self.columns.to(device), self.last.to(device), groups)


@dataclass
class Group:
    """Histories padded to [n_rows, width]. places: int64 [n], where each position goes."""

    n_rows: int
    width: int
    places: Tensor

    @property
    def padding(self) -> Tensor:
        """True at places without an item: bool [n_rows, 1, 1, width]."""
        padding = torch.ones(self.n_rows * self.width, dtype=torch.bool, device=self.places.device)
        return padding.index_fill_(0, self.places, False).view(self.n_rows, 1, 1, self.width)

    @property
    def after(self) -> Tensor:
        """True at the places after each place, for causal attention: bool [width, width]."""
        square = torch.ones(self.width, self.width, dtype=torch.bool, device=self.places.device)
        return square.triu_(1)


def pack(values: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Packed:
    """Pack the non-empty histories `values[starts[i]:ends[i]]`."""
    order = np.argsort(starts - ends, kind="stable")
    lengths = (ends - starts)[order]
    indices = positions_of(starts[order], ends[order])
    groups, row = [], 0
    while row < len(lengths):
        # A group takes histories down to half its width, so less than half of it is padding, and
        # more while there is little padding, because each group costs time.
        width, rest = int(lengths[row]), lengths[row:]
        n_rows = int(max((rest > width // 2).sum(), (np.cumsum(width - rest) <= PADDING).sum()))
        group = rest[:n_rows]
        places = np.repeat(np.arange(n_rows) * width, group) + places_within(group)
        groups.append(Group(n_rows, width, torch.from_numpy(places)))
        row += n_rows
    last = np.empty_like(lengths)
    last[order] = np.cumsum(lengths) - 1
    return Packed(
        *(torch.from_numpy(a) for a in (values[indices], places_within(lengths), last)), groups
    )


def training_windows(
    train: Sequences, length: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Slices of at most `length` inputs that together cover every transition of every user once.

    Longer histories are cut at places that differ from epoch to epoch, so that items are predicted
    from short and from long contexts. The label of an input is the item after it.
    Returns starts and ends, int64 [n_windows], into `train.values`.
    """
    # A user's first window has `shift` inputs, later ones `length`, the last one the rest.
    n_inputs = np.maximum(train.lengths - 1, 0)  # all but a user's last item
    shift = np.where(n_inputs > length, generator.integers(1, length + 1, len(train)), length)
    n_windows = -(-(n_inputs + length - shift) // length)
    first, last, shift = (
        np.repeat(a, n_windows) for a in (train.offsets[:-1], train.offsets[:-1] + n_inputs, shift)
    )
    ends = first + shift + places_within(n_windows) * length
    return np.maximum(ends - length, first), np.minimum(ends, last)
