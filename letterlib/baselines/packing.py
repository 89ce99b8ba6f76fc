"""Batches of histories without padding: one after another in one long row of positions.

Most histories are short and a few are long (Amazon Beauty: half have at most 4 items in training,
the longest has over 200). A rectangle of 50 places per history would be nine tenths padding, and
all of it computed.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from letterlib.data.dataset import Sequences
from letterlib.data.flat_arrays import places_within, positions_of

PADDING = 1024
"""Places of padding that cost less than another table."""


@dataclass
class Packed:
    """Several histories, longest first, one after another, without padding.

    items: int64 [n_positions]. columns: int64 [n_positions], the place in its history, the oldest
    item being place 0. last: int64 [n_histories], the position of each history's last item, in the
    order they came in.
    groups: runs of histories, each padded to a table of its own, for `Block.attention`.
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
    """Histories in one table. places: int64 [their positions], where each goes in [n_rows, width]."""

    n_rows: int
    width: int
    places: Tensor

    @property
    def padding(self) -> Tensor:
        """The places without an item, at which no position looks: bool [n_rows, 1, 1, width]."""
        padding = torch.ones(self.n_rows * self.width, dtype=torch.bool, device=self.places.device)
        return padding.index_fill_(0, self.places, False).view(self.n_rows, 1, 1, self.width)

    @property
    def after(self) -> Tensor:
        """The places after each, at which it does not look where attention is causal: bool [width,
        width].
        """
        return torch.ones(
            self.width, self.width, dtype=torch.bool, device=self.places.device
        ).triu_(1)


def pack(values: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> Packed:
    """Pack the non-empty histories `values[starts[i]:ends[i]]`."""
    if (ends <= starts).any():
        raise ValueError(
            f"history {int(np.argmax(ends <= starts))} of {len(starts)} is empty: leave it out"
        )
    order = np.argsort(starts - ends, kind="stable")
    lengths = (ends - starts)[order]
    indices = positions_of(starts[order], ends[order])
    groups, row = [], 0
    while row < len(lengths):
        # A group takes histories down to half its width, so that less than half of the table is
        # padding; and more of them while there is little padding, because every group costs some
        # time of its own.
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

    A history longer than that is cut at places that differ from epoch to epoch, so that every item
    is predicted from short contexts and from long ones. The label of an input is the item after it.
    Returns starts and ends, int64 [n_windows], into `train.values`.
    """
    # A user's first window has `shift` inputs, every later one `length`, and the last what is left.
    n_inputs = np.maximum(train.lengths - 1, 0)  # all but a user's last item
    shift = np.where(n_inputs > length, generator.integers(1, length + 1, len(train)), length)
    n_windows = -(-(n_inputs + length - shift) // length)
    first, last, shift = (
        np.repeat(a, n_windows) for a in (train.offsets[:-1], train.offsets[:-1] + n_inputs, shift)
    )
    ends = first + shift + places_within(n_windows) * length
    return np.maximum(ends - length, first), np.minimum(ends, last)
