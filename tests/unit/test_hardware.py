"""What torch is told of the processor: float32 stays float32, and everything is as it was
afterwards.
"""

from contextlib import nullcontext

import pytest
import torch

from letterlib import hardware

ONEDNN = hasattr(torch.backends.mkldnn, "matmul") and torch.backends.mkldnn.is_available()
pytestmark = pytest.mark.skipif(not ONEDNN, reason="torch older than 2.9, or without oneDNN")


def setting() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision


@pytest.fixture
def holds_back(monkeypatch):
    monkeypatch.setattr(hardware, "_mkl_holds_back", lambda: True)


def test_the_setting_holds_inside_and_only_there(holds_back):
    before = setting()
    with pytest.raises(ValueError), hardware.fast_float32():
        with hardware.fast_float32():
            assert setting() == "bf16"
        assert setting() == "bf16"
        raise ValueError
    assert setting() == before != "bf16"


@pytest.mark.parametrize("rounded", [False, True])
def test_a_product_that_is_rounded_is_noticed(rounded):
    with torch.autocast("cpu", torch.bfloat16) if rounded else nullcontext():
        assert hardware._keeps_float32() is not rounded


@pytest.mark.skipif(
    torch.cpu._is_amx_tile_supported(), reason="a matrix unit rounds; it never gets the permission"
)
@pytest.mark.parametrize("shape", [(1, 64, 3), (20, 64, 29), (300, 1024, 128), (128, 5000, 70)])
def test_products_stay_float32(holds_back, shape):
    """As near to float64 as those of the usual library: single, in batches, with a matrix turned
    over.
    """
    rows, inner, columns = shape
    x, y = torch.randn(3, rows, inner), torch.randn(3, inner, columns)
    with hardware.fast_float32():
        one_by_one = torch.stack([a @ b for a, b in zip(x, y, strict=True)])
        products = torch.stack([x @ y, x @ y.mT.contiguous().mT, one_by_one])
    assert (products - x.double() @ y.double()).abs().max() < 1e-5 * inner**0.5
