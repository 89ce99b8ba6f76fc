"""Softmax cross-entropy over a whole catalogue, without keeping a [positions, catalogue] table of
logits.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from letterlib.train import compute_dtype

CHUNK = 3_000_000
"""Logits computed at a time: few enough to stay in a processor's cache, where most of the time is
won.
"""

ROWS = 64
"""oneDNN compiles a kernel for every shape it has not met. On a matrix unit that takes longer than
the product, and batches of histories seldom have the same number of positions. So they are padded
to a multiple of this.
"""


def pad_rows(x: Tensor) -> Tensor:
    """x [n, ...] with rows of zeros after the last, up to the next multiple of ROWS."""
    return F.pad(x, (0, 0) * (x.ndim - 1) + (0, -len(x) % ROWS))


def catalogue_cross_entropy(states: Tensor, table: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log softmax(states @ table.T)[label]: `F.cross_entropy(states @ table.T, labels)`.

    states: [n, d] float; table: [n_items, d] float; labels: [n] int64. Returns a scalar. The
    gradient is known with the probabilities, (softmax - one hot) times the other factor, so one
    pass computes both, some rows at a time. Products are in the autocast dtype, the softmax in
    float32.
    """
    return _CatalogueCrossEntropy.apply(states, table, labels)


class _CatalogueCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, states: Tensor, table: Tensor, labels: Tensor) -> Tensor:
        dtype = compute_dtype(table)
        fast_states, fast_table, answers = (
            pad_rows(states.to(dtype)),
            table.to(dtype),
            pad_rows(labels)[:, None],
        )
        grad_states, grad_table = states.new_empty(fast_states.shape), torch.zeros_like(table)
        total = torch.zeros((), device=states.device)
        step = max(
            128, CHUNK // len(table)
        )  # each step reads and writes the whole gradient of the table
        for i in range(0, len(states), step):
            rows, answer = fast_states[i : i + step], answers[i : i + step]
            logits = (rows @ fast_table.T).float()
            highest = logits.amax(
                dim=1, keepdim=True
            )  # subtracted before exp, which could overflow
            right = logits.gather(1, answer) - highest
            error = logits.sub_(highest).exp_()
            normalizer = error.sum(dim=1, keepdim=True)
            total += (normalizer.log() - right)[: len(states) - i].sum()
            error.div_(normalizer).scatter_add_(1, answer, torch.full_like(right, -1))
            error = error.to(dtype)
            grad_states[i : i + step] = error @ fast_table
            grad_table += error.T @ rows  # to which rows of zeros add nothing
        ctx.save_for_backward(
            grad_states[: len(states)].div_(len(states)), grad_table.div_(len(states))
        )
        return total / len(states)

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_states, grad_table = ctx.saved_tensors
        return grad_states * upstream, grad_table * upstream, None
