"""Caser: its network against loops over filters, windows, and what order and user change."""

import numpy as np
import torch
from made_data import made

from letterlib.baselines.caser import Caser, CaserConfig, CaserNetwork
from letterlib.baselines.neural import Dropout
from letterlib.data.dataset import NO_ITEM

CONFIG = CaserConfig(dimensions=6, window=4, horizontal=3, vertical=2, epochs=1)


def network() -> CaserNetwork:
    torch.manual_seed(0)
    return CaserNetwork(5, 9, CONFIG).eval()


def test_the_network_is_that_of_the_paper():
    """Sections 3.2 and 3.3, filter by filter and place by place in numpy."""
    model = network()
    items, users = model.items.weight.detach().numpy(), model.users.table.weight.detach().numpy()
    users_in, windows = torch.tensor([0, 3]), torch.tensor([[1, 2, 3, 4], [9, 9, 8, 0]])
    expected = []
    for user, window in zip(users_in.tolist(), windows.numpy(), strict=True):
        image, seen = items[window], []  # [L, d]
        for height, filters in enumerate(model.across, start=1):
            weight, bias = filters.weight.detach().numpy(), filters.bias.detach().numpy()
            for f in range(CONFIG.horizontal):
                places = range(CONFIG.window - height + 1)
                found = [(image[i : i + height] * weight[f].T).sum() + bias[f] for i in places]
                seen.append(max(max(found), 0.0))
        weight, bias = model.down.weight.detach().numpy(), model.down.bias.detach().numpy()
        for f in range(CONFIG.vertical):
            seen += [weight[f] @ image[:, column] + bias[f] for column in range(CONFIG.dimensions)]
        z = np.maximum(
            model.mix.weight.detach().numpy() @ np.array(seen) + model.mix.bias.detach().numpy(), 0
        )
        expected.append(np.concatenate([z, users[user]]))
    with torch.no_grad():
        ours = model(model.users(users_in), windows)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_the_item_in_front_of_a_short_history_is_nothing_and_stays_so():
    split = made([[0, 1, 2, 3, 4, 5], [5, 6, 7, 8, 0, 1]], 9).split()
    model = Caser(
        CONFIG.model_copy(update=dict(weight_decay=0.1, learning_rate=0.1)), device="cpu"
    ).fit(split)
    assert (
        not model.network.items.weight[9].any() and model.network.items.weight[:9].abs().min() > 0
    )


def test_an_epoch_is_every_next_item_once_after_its_window():
    sequences = [[0, 1, 2, 3, 4, 5, 6, 7], [8, 7, 6, 5]]
    split = made(sequences, 9).split()
    model = Caser(CONFIG.model_copy(update={"batch_size": 2}), device="cpu")
    model.popularity = torch.zeros(9)
    steps, batches = model.batches(split)
    drawn = list(batches(np.random.default_rng(0)))
    assert len(drawn) == steps
    found = sorted(
        (int(u), [int(i) for i in w if i != 9], int(t))
        for b in drawn
        for u, w, t in zip(*b, strict=True)
    )
    wanted = [(0, sequences[0][max(0, i - 4) : i], sequences[0][i]) for i in range(1, 6)] + [
        (1, [8], 7)
    ]
    assert found == sorted(wanted)
    assert all(window[-1] not in (9, NO_ITEM) for batch in drawn for window in batch[1])


def test_order_and_user_matter():
    model = network()
    users, windows = (
        torch.tensor([0, 0, 1]),
        torch.tensor([[1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 3, 4]]),
    )
    with torch.no_grad():
        a, b, c = model(model.users(users), windows)
    assert (a - b).abs().max() > 1e-3 and (a - c).abs().max() > 1e-3


def test_what_the_filters_see_passes_dropout(monkeypatch):
    model = network()
    users, windows = torch.tensor([0, 3]), torch.tensor([[1, 2, 3, 4], [9, 9, 8, 0]])
    monkeypatch.setattr(Dropout, "forward", lambda self, x: torch.zeros_like(x))
    with torch.no_grad():
        found = model(model.users(users), windows)
    torch.testing.assert_close(found[:, :6], torch.relu(model.mix.bias.detach()).expand(2, -1))
    assert model.dropout.p == CONFIG.dropout
