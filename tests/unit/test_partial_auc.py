import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from letterlib.analysis.partial_auc import mean_margin, n_hardest, partial_auc, soft_margin
from letterlib.errors import LetterError


@pytest.fixture
def scores():
    generator = torch.Generator().manual_seed(0)
    positive = torch.randn(20, generator=generator, dtype=torch.float64)
    return positive, torch.randn(20, 50, generator=generator, dtype=torch.float64)


def test_with_all_negatives_it_is_the_auc(scores):
    positive, negatives = (
        one.round(decimals=1) for one in scores
    )  # rounded, so that some are tied
    for own, others, found in zip(
        positive, negatives, partial_auc(positive, negatives), strict=True
    ):
        truth, values = np.array([1] + [0] * 50), np.concatenate([[own], others])
        assert found == pytest.approx(roc_auc_score(truth, values))


@pytest.mark.parametrize("k", [1, 5, 10, 50])
def test_with_k_negatives_it_falls_linearly_with_the_rank(scores, k):
    positive, negatives = scores
    rank = (negatives > positive[:, None]).sum(dim=1)
    assert torch.allclose(
        partial_auc(positive, negatives, k / 50), (1 - rank / k).clamp(min=0).double()
    )


def test_it_equals_a_loop_with_ties():
    positive, negatives = torch.tensor([1.0]), torch.tensor([[3.0, 1, 1, 0]])
    assert partial_auc(positive, negatives, 0.25).item() == 0
    assert partial_auc(positive, negatives, 0.5).item() == 0.25
    assert partial_auc(positive, negatives, 0.75).item() == pytest.approx(1 / 3)
    assert partial_auc(positive, negatives, 1.0).item() == 0.5


def test_a_share_is_rounded_up_and_never_none():
    assert [n_hardest(beta, 10) for beta in (1e-6, 0.1, 0.11, 0.3, 1.0)] == [1, 1, 2, 3, 10]
    for beta in (0.0, -0.1, 1.1):
        with pytest.raises(LetterError, match="beta"):
            n_hardest(beta, 10)


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3,), (2, 5)), ((3, 1), (3, 5)), ((3,), (3, 0))])
def test_other_shapes_are_refused(shapes):
    scores = [torch.zeros(shape) for shape in shapes]
    for measure in (partial_auc, mean_margin, lambda *both: soft_margin(*both, tau=1.0)):
        with pytest.raises(LetterError, match="a row of negatives"):
            measure(*scores)


def test_scores_that_are_no_numbers_and_temperatures_without_a_meaning_are_refused():
    nan = torch.tensor([0.0, torch.nan])
    for measure in (partial_auc, mean_margin, lambda *both: soft_margin(*both, tau=1.0)):
        for scores in ((nan, torch.zeros(2, 3)), (torch.zeros(2), nan.repeat(2, 1))):
            with pytest.raises(LetterError, match="some scores are NaN"):
                measure(*scores)
    for tau in (0.0, -1.0, torch.nan, torch.inf):
        with pytest.raises(LetterError, match="above 0"):
            soft_margin(torch.zeros(2), torch.zeros(2, 3), tau)


def test_the_soft_margin_goes_from_the_mean_to_the_greatest(scores):
    positive, negatives = scores
    assert torch.allclose(
        soft_margin(positive, negatives, 1e-4), mean_margin(positive, negatives, 1 / 50), atol=1e-3
    )
    for tau in (1e4, 1e7):
        assert torch.allclose(
            soft_margin(positive, negatives, tau), mean_margin(positive, negatives), atol=1e-3
        )
    assert soft_margin(positive.float(), negatives.float(), 1e7).dtype == torch.float32
    values = torch.stack([soft_margin(positive, negatives, tau) for tau in (0.1, 0.5, 1.0, 2.0)])
    assert (values.diff(dim=0) < 0).all(), "a higher tau never weighs the hard ones more"


def test_the_soft_margin_is_the_worst_case_under_a_kl_penalty(scores):
    positive, negatives = scores
    margins, tau = negatives - positive[:, None], 0.7
    value = soft_margin(positive, negatives, tau)

    def penalised(q):
        return (q * margins).sum(dim=1) - tau * (q * (q * 50).log()).sum(dim=1)

    assert torch.allclose(penalised((negatives / tau).softmax(dim=1)), value)
    generator = torch.Generator().manual_seed(1)
    for spread in (0.1, 1.0, 3.0):
        q = (spread * torch.randn(20, 50, generator=generator, dtype=torch.float64)).softmax(dim=1)
        assert (penalised(q) < value).all()


def test_the_mean_margin_is_the_worst_case_under_a_cap(scores):
    positive, negatives = scores
    margins, generator = negatives - positive[:, None], torch.Generator().manual_seed(2)
    value = mean_margin(positive, negatives, 10 / 50)
    for _ in range(20):
        chosen = torch.rand(20, 50, generator=generator).topk(10, dim=1).indices
        assert (margins.gather(1, chosen).mean(dim=1) <= value + 1e-12).all()
