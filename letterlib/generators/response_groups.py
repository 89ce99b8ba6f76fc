"""Examples of prompts and responses as a causal model takes them: padded together with those of
like length.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from letterlib.generators.alignment import Example


def response_groups(
    examples: Sequence[Example], end: int
) -> tuple[list[tuple[Tensor, Tensor, Tensor]], Tensor, Tensor]:
    """Groups for `AdaptedModel.forward`, the response tokens [n] in the order of its logits, and
    the task of each [n].

    A group is (tokens, real, response), each [batch, T]; it is filled up with `end`, after the
    response, by less than half. Longer examples come first.
    """
    groups, targets, tasks = [], [], []
    waiting = sorted(examples, key=lambda one: -len(one.tokens))
    while waiting:
        width = len(waiting[0].tokens)
        group = [one for one in waiting if 2 * len(one.tokens) > width]
        waiting = waiting[len(group) :]
        tokens = np.full((len(group), width), end)
        real, response = np.zeros((2, len(group), width), dtype=bool)
        for row, one in enumerate(group):
            length = len(one.tokens)
            tokens[row, :length], real[row, :length], response[row, :length] = (
                one.tokens,
                True,
                one.response,
            )
        groups.append(tuple(torch.from_numpy(part) for part in (tokens, real, response)))
        targets.append(tokens[response])
        tasks.append(np.repeat([one.task for one in group], response.sum(axis=1)))
    return (
        groups,
        torch.from_numpy(np.concatenate(targets)),
        torch.from_numpy(np.concatenate(tasks)),
    )
