"""The losses of LETTER against plain loops over rows, written from the formulas."""

import math

import pytest
import torch

from letterlib.tokenizer.losses import (
    NO_POSITIVE,
    collaborative_loss,
    diversity_loss,
    letter_loss,
    rq_loss,
    sample_positives,
)


def test_collaborative_loss_is_the_formula_in_value_and_gradient():
    torch.manual_seed(0)
    z = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    h = torch.randn(7, 5, dtype=torch.float64)
    total = 0.0
    for i in range(7):
        numerator = torch.exp(sum(z[i, d] * h[i, d] for d in range(5)))
        denominator = sum(torch.exp(sum(z[i, d] * h[j, d] for d in range(5))) for j in range(7))
        total = total - torch.log(numerator / denominator)
    expected = total / 7
    (expected_gradient,) = torch.autograd.grad(expected, z)
    loss = collaborative_loss(z, h)
    (gradient,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient)
    # Not symmetric in its arguments: the softmax runs over the CF vectors.
    assert not torch.allclose(collaborative_loss(h, z.detach()), loss)


def test_collaborative_loss_ignores_a_shift_of_all_cf_vectors():
    torch.manual_seed(1)
    z, h = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    torch.testing.assert_close(collaborative_loss(z, h + 3.0), collaborative_loss(z, h))


def test_the_collaborative_loss_of_a_part_of_a_batch_is_told_which_items_it_has():
    torch.manual_seed(1)
    z, h = torch.randn(7, 4, dtype=torch.float64), torch.randn(7, 4, dtype=torch.float64)
    parts = [
        collaborative_loss(z[rows], h, rows) * len(rows) / 7
        for rows in (torch.arange(4), torch.arange(4, 7))
    ]
    torch.testing.assert_close(sum(parts), collaborative_loss(z, h))


def diversity_by_loops(codes, positives, codebooks):
    per_level = []
    for level, e in enumerate(codebooks):
        terms = []
        for i in range(len(codes)):
            own, positive = int(codes[i, level]), int(positives[i, level])
            if positive == NO_POSITIVE:
                continue
            denominator = sum(torch.exp(e[own] @ e[j]) for j in range(len(e)) if j != own)
            terms.append(-torch.log(torch.exp(e[own] @ e[positive]) / denominator))
        per_level.append(sum(terms) / len(terms) if terms else torch.zeros((), dtype=torch.float64))
    return sum(per_level) / len(per_level)


def test_diversity_loss_is_the_formula_in_value_and_gradient():
    torch.manual_seed(2)
    codebooks = [torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (6, 6, 5)]
    codes = torch.stack([torch.randint(0, n, (9,)) for n in (6, 6, 5)], dim=1)
    positives = (codes + 1) % torch.tensor([6, 6, 5])
    positives[0, 0] = positives[3, 1] = NO_POSITIVE
    positives[:, 2] = NO_POSITIVE
    expected = diversity_by_loops(codes, positives, codebooks)
    loss = diversity_loss(codes, positives, codebooks)
    torch.testing.assert_close(loss, expected)
    expected_gradients = torch.autograd.grad(expected, codebooks[:2])
    gradients = torch.autograd.grad(loss, codebooks)
    for gradient, wanted in zip(gradients[:2], expected_gradients, strict=True):
        torch.testing.assert_close(gradient, wanted)
        assert gradient.abs().max() > 0
    torch.testing.assert_close(gradients[2], torch.zeros_like(gradients[2]))


def test_positives_are_uniform_over_the_other_codes_of_the_group():
    groups = torch.tensor([2, 0, 1, 0, 2, 0, 2])  # groups {1, 3, 5}, {2}, {0, 4, 6}
    torch.manual_seed(0)
    drawn = sample_positives(torch.full((4000,), 3), groups)
    assert sorted(drawn.unique().tolist()) == [1, 5]
    assert abs((drawn == 1).float().mean() - 0.5) < 0.05
    drawn = sample_positives(torch.tensor([0, 4, 6, 2] * 500), groups).reshape(500, 4)
    assert [sorted(column.unique().tolist()) for column in drawn.T] == [
        [4, 6],
        [0, 6],
        [0, 4],
        [NO_POSITIVE],
    ]


def test_of_a_group_of_two_each_code_is_the_others_positive():
    assert sample_positives(torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1])).tolist() == [
        1,
        0,
        NO_POSITIVE,
    ]


def test_given_numbers_decide_which_positive_is_drawn():
    groups = torch.tensor([2, 0, 1, 0, 2, 0, 2])
    drawn = sample_positives(torch.tensor([3, 3, 1, 1]), groups, torch.tensor([0.2, 0.7, 0.2, 0.7]))
    assert drawn.tolist() == [5, 1, 3, 5]


def test_the_diversity_loss_of_a_batch_is_the_mean_of_its_items():
    """Also where a positive is code 1, and where the batch is one item."""
    codes, positives = torch.arange(5)[:, None], torch.tensor([[1], [0], [1], [2], [3]])
    codebook = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    alone = [diversity_loss(codes[i : i + 1], positives[i : i + 1], [codebook]) for i in range(5)]
    torch.testing.assert_close(
        diversity_loss(codes, positives, [codebook]), torch.stack(alone).mean()
    )


def test_rq_loss_is_the_formula_and_each_half_trains_its_own_side():
    torch.manual_seed(3)
    residuals = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    vectors = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    loss = rq_loss(residuals, vectors, mu=0.25)
    squared = [((r - v) ** 2).mean().item() for r, v in zip(residuals, vectors, strict=True)]
    assert loss.item() == pytest.approx(1.25 * sum(squared) / 2)
    for r, v in zip(residuals, vectors, strict=True):
        to_r, to_v = torch.autograd.grad(loss, [r, v], retain_graph=True)
        torch.testing.assert_close(to_v, 2 * (v - r).detach() / 12 / 2)
        torch.testing.assert_close(to_r, 0.25 * 2 * (r - v).detach() / 12 / 2)


def test_the_overall_loss_weighs_its_terms():
    one, two, three, four = (torch.tensor(float(n)) for n in (1, 2, 3, 4))
    assert float(letter_loss(one, two, three, four, alpha=0.5, beta=0.25)) == 1 + 2 + 1.5 + 1
    assert float(letter_loss(one, two, 0.0, 0.0, alpha=0.0, beta=0.0)) == 3


def test_equal_logits_give_the_logarithm_of_the_number_of_choices():
    zeros = torch.zeros(8, 3)
    assert float(collaborative_loss(zeros, zeros)) == pytest.approx(math.log(8))
    codes = torch.tensor([[0], [1]])
    assert float(diversity_loss(codes, 1 - codes, [zeros])) == pytest.approx(math.log(7))
