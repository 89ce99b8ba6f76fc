"""What tests of figures need: no window is opened, and no figure outlives its test."""

import matplotlib
import pytest

matplotlib.use("Agg")  # not in the environment, which kernels that tests start would inherit

import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")
