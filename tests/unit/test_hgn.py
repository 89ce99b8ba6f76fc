"""HGN: its network against loops over items, and what padding, order and user change."""

import numpy as np
import torch

from letterlib.baselines.hgn import HGNConfig, HGNNetwork
from letterlib.baselines.neural import Dropout

CONFIG = HGNConfig(dimensions=6, window=4)


def network() -> HGNNetwork:
    torch.manual_seed(0)
    return HGNNetwork(5, 9, CONFIG).eval()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(model: HGNNetwork, user: int, window: list[int]) -> np.ndarray:
    """Both gates and the sums, item by item; the window's last item stands at the last place."""
    w = {name: weights.detach().double().numpy() for name, weights in model.state_dict().items()}
    u, total, gated_sum, plain = w["users.table.weight"][user], 0.0, np.zeros(6), np.zeros(6)
    for place, item in enumerate(window, start=CONFIG.window - len(window)):
        e = w["items.weight"][item]
        inner = (
            w["feature_of_item.weight"] @ e
            + w["feature_of_item.bias"]
            + w["feature_of_user.weight"] @ u
        )
        gated = e * sigmoid(inner)
        instance = sigmoid(
            w["instance_of_item.weight"][0] @ gated + w["instance_of_user.weight"][place] @ u
        )
        total, gated_sum, plain = total + instance, gated_sum + instance * gated, plain + e
    return u + gated_sum / max(total, 1e-6) + plain


def test_the_network_is_that_of_the_paper():
    model = network()
    users, windows = (
        torch.tensor([0, 3, 2]),
        torch.tensor([[1, 2, 3, 4], [9, 9, 8, 0], [9, 9, 9, 9]]),
    )
    with torch.no_grad():
        ours = model(model.users(users), windows)
    expected = [by_hand(model, 0, [1, 2, 3, 4]), by_hand(model, 3, [8, 0]), by_hand(model, 2, [])]
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_order_and_user_matter():
    model = network()
    users, windows = (
        torch.tensor([0, 0, 1]),
        torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 3, 4]]),
    )
    with torch.no_grad():
        a, b, c = model(model.users(users), windows)
    assert (a - b).abs().max() > 1e-4 and (a - c).abs().max() > 1e-3


def test_users_and_items_pass_dropout(monkeypatch):
    model = network()
    users, windows = torch.tensor([0, 3]), torch.tensor([[1, 2, 3, 4], [9, 9, 8, 0]])
    monkeypatch.setattr(Dropout, "forward", lambda self, x: torch.zeros_like(x))
    with torch.no_grad():
        assert not model(model.users(users), windows).any()


def test_dropout_is_that_of_the_configuration():
    assert HGNNetwork(5, 9, CONFIG.model_copy(update={"dropout": 0.3})).dropout.p == 0.3
