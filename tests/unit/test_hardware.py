"""What torch is told of the processor: float32 stays float32, and everything is as it was
afterwards.
"""

import threading
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn

from letterlib import hardware
from letterlib.data.dataset import Cases
from letterlib.generators.tiger import Tiger, TigerConfig
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.train import train

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


def test_of_several_threads_the_last_one_out_puts_the_setting_back(holds_back):
    before, first_in, second_in, first_out = setting(), *(threading.Event() for _ in range(3))
    inside = []

    def first():
        with hardware.fast_float32():
            first_in.set()
            second_in.wait(60)
        first_out.set()

    def second():
        first_in.wait(60)
        with hardware.fast_float32():
            second_in.set()
            first_out.wait(60)
            inside.append(setting())

    threads = [threading.Thread(target=one) for one in (first, second)]
    [one.start() for one in threads], [one.join() for one in threads]
    assert inside == ["bf16"] and setting() == before


def test_elsewhere_nothing_is_set(monkeypatch):
    monkeypatch.setattr(hardware, "_mkl_holds_back", lambda: False)
    before = setting()
    with hardware.fast_float32():
        assert setting() == before


@pytest.mark.parametrize(
    ("name", "avx512", "amx", "exact", "wanted"),
    [
        ("AMD EPYC", True, False, True, True),
        ("Intel(R) Xeon(R)", True, False, True, False),
        ("AMD Ryzen", False, False, True, False),
        ("AMD of the future", True, True, True, False),
        ("AMD whose oneDNN rounds", True, False, False, False),
    ],
)
def test_which_processors_are_meant(monkeypatch, name, avx512, amx, exact, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name}, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(hardware, "_keeps_float32", lambda: exact)
    before = setting()
    assert hardware._mkl_holds_back.__wrapped__() is wanted
    assert setting() == before


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


def test_training_runs_inside(holds_back):
    seen = []

    def loss(module: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(setting())
        return {"loss": module(batch).square().mean()}

    def batches(_: np.random.Generator):
        yield torch.ones(2, 3)

    before = setting()
    train(
        nn.Linear(3, 1),
        batches,
        loss,
        epochs=1,
        steps_per_epoch=1,
        learning_rate=0.1,
        seed=0,
        what="test",
    )
    assert seen == ["bf16"] and setting() == before


def test_searching_runs_inside(holds_back, monkeypatch):
    tiger = Tiger(
        Identifiers(np.arange(6)[:, None], (6,)), TigerConfig(d_model=8, n_layers=1), 0, "cpu"
    )
    memory, seen = tiger._memory, []
    monkeypatch.setattr(tiger, "_memory", lambda cases: seen.append(setting()) or memory(cases))
    before = setting()
    tiger.recommend(Cases.from_histories([[1, 2]]), 3)
    assert seen == ["bf16"] and setting() == before


@pytest.mark.parametrize(
    ("amx", "avx512", "fast"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_either_of_two_instructions_multiplies_bfloat16(monkeypatch, amx, avx512, fast):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert hardware.multiplies_bfloat16() is fast
