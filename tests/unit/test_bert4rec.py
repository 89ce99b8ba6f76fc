"""BERT4Rec: what a state may see, masking, and the answer to a history."""

import numpy as np
import pytest
import torch
from made_data import made
from torch.nn import functional as F

from letterlib.baselines.bert4rec import BERT4Rec, BERT4RecConfig, BERT4RecNetwork, masked_batch
from letterlib.baselines.neural import Dropout
from letterlib.baselines.packing import pack
from letterlib.data.dataset import Cases, Sequences
from letterlib.errors import LetterError

N_ITEMS = 40
CONFIG = BERT4RecConfig(dimensions=16, dropout=0.0, history=10, dtype="float32")


@pytest.fixture
def network() -> BERT4RecNetwork:
    """Random weights, larger than at initialisation so that attention has something to say."""
    torch.manual_seed(0)
    network = BERT4RecNetwork(N_ITEMS, CONFIG).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def states_of(network: BERT4RecNetwork, *histories: list[int]) -> list[torch.Tensor]:
    """Each history's outputs, [length, dimensions], all computed in one batch."""
    flat = Sequences.from_lists(histories)
    batch = pack(flat.values, flat.offsets[:-1], flat.offsets[1:])
    with torch.no_grad():
        states = network(batch, torch.arange(len(batch.items)))
    lasts = batch.last.tolist()
    return [
        states[last - len(one) + 1 : last + 1] for one, last in zip(histories, lasts, strict=True)
    ]


def plain(network: BERT4RecNetwork, history: list[int]) -> torch.Tensor:
    """The same network for one history: no packing, attention written out, every head in its turn."""
    body = network.body
    x = (
        body.items.weight[history] * body.items.embedding_dim**0.5
        + body.places.weight[: len(history)]
    )
    for block in body.blocks:
        q, k, v = F.linear(block.norm1(x), block.qkv.weight, block.qkv.bias).chunk(3, dim=1)
        heads = []
        for one in zip(*(part.chunk(block.n_heads, dim=1) for part in (q, k, v)), strict=True):
            weights = torch.softmax(one[0] @ one[1].T / one[0].shape[1] ** 0.5, dim=1)
            heads.append(weights @ one[2])
        x = x + block.out(torch.cat(heads, dim=1))
        x = x + block.down(F.gelu(block.up(block.norm2(x))))
    return network.norm(F.gelu(network.project(body.norm(x))))


def test_the_network_is_a_plain_bidirectional_transformer_whatever_stands_beside_a_history(network):
    histories = [[1, 2, 3, 4, 5, 6, 7], [8], [9, 3, 40, 1], [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]]
    with torch.no_grad():
        for history, states in zip(histories, states_of(network, *histories), strict=True):
            torch.testing.assert_close(states, plain(network, history), rtol=0, atol=1e-4)


def test_a_later_item_changes_earlier_states_too(network):
    (before,), (after,) = states_of(network, [1, 2, 3, 4, 5]), states_of(network, [1, 2, 9, 4, 5])
    assert ((before - after).abs().amax(dim=1) > 1e-3).all()


def test_items_are_answered_with_the_vectors_they_are_read_with(network):
    assert torch.equal(network.table, network.body.items(torch.arange(N_ITEMS)))


def masked(last_only: float, share: float = 0.2, seed: int = 0):
    train = Sequences.from_lists([np.arange(1, 1 + n) for n in (9, 1, 5, 7) * 50])
    config = CONFIG.model_copy(update=dict(last_only=last_only, masked=share))
    ends = train.offsets[1:]
    return train, masked_batch(
        train, train.offsets[:-1], ends, config, N_ITEMS, np.random.default_rng(seed)
    )


def test_masked_items_are_hidden_and_asked_for_and_no_others():
    train, (inputs, wanted, answers) = masked(0.0)
    whole = pack(train.values, train.offsets[:-1], train.offsets[1:]).items
    assert torch.equal(torch.nonzero(inputs.items == N_ITEMS)[:, 0], wanted)
    assert torch.equal(whole[wanted], answers)
    others = inputs.items != N_ITEMS
    assert torch.equal(inputs.items[others], whole[others])


def test_the_share_is_kept_and_every_history_has_a_mask():
    _, (inputs, wanted, _) = masked(0.0)
    starts = torch.nonzero(inputs.columns == 0)[:, 0]
    per_history = torch.bincount(
        torch.searchsorted(starts, wanted, right=True) - 1, minlength=len(starts)
    )
    assert per_history.min() == 1
    assert len(set(inputs.columns[wanted].tolist())) == 9
    shares = [
        len(wanted) / len(inputs.items)
        for _, (inputs, wanted, _) in (masked(0.0, seed=s) for s in range(20))
    ]
    lengths = np.array(
        [9, 1, 5, 7]
    )  # a fifth, and one more in the histories in which chance masked none
    assert np.mean(shares) == pytest.approx(
        (0.2 * lengths + 0.8**lengths).sum() / lengths.sum(), abs=0.01
    )


def test_histories_of_which_only_the_last_item_is_masked():
    _, (inputs, wanted, _) = masked(1.0, share=0.9)
    assert torch.equal(wanted, inputs.last.sort().values)


def test_of_half_of_the_histories_the_last_item_alone_is_masked():
    _, (inputs, wanted, _) = masked(0.5, share=0.9)
    starts = torch.nonzero(inputs.columns == 0)[:, 0]
    counts = torch.bincount(
        torch.searchsorted(starts, wanted, right=True) - 1, minlength=len(starts)
    )
    long = torch.diff(starts, append=torch.tensor([len(inputs.items)])) == 9
    assert float((counts[long] == 1).float().mean()) == pytest.approx(0.5, abs=0.2)


def test_masks_are_drawn_anew_every_time():
    assert not torch.equal(masked(0.1, seed=1)[1][1], masked(0.1, seed=2)[1][1])


def test_an_epoch_asks_after_every_item_of_a_short_history_at_times():
    split = made([[0, 1, 2, 3, 4, 5, 6, 7]] * 8, 9).split()
    model = BERT4Rec(CONFIG.model_copy(update={"last_only": 0.0}), device="cpu")
    steps, batches = model.batches(split)
    asked = set()
    for seed in range(20):
        drawn = list(batches(np.random.default_rng(seed)))
        assert len(drawn) == steps
        asked |= {int(i) for _, _, answers in drawn for i in answers}
    assert asked == {0, 1, 2, 3, 4, 5}  # 6 and 7 are validation and test


def test_a_step_asks_for_about_as_many_items_as_the_configuration_says():
    split = made([list(range(22))] * 60, 22).split()
    config = CONFIG.model_copy(update={"batch_size": 40, "history": 50, "last_only": 0.0})
    steps, batches = BERT4Rec(config, device="cpu").batches(split)
    asked = [len(answers) for _, _, answers in batches(np.random.default_rng(0))]
    assert len(asked) == steps and np.mean(asked) == pytest.approx(40, rel=0.1)


def test_it_answers_what_the_mask_behind_the_history_says(network):
    model = BERT4Rec(CONFIG, device="cpu")
    model.network, model.popularity = network, torch.zeros(N_ITEMS)
    history = list(range(20))
    with torch.no_grad():
        expected = plain(network, history[-9:] + [N_ITEMS])[-1] @ network.table.T + network.bias
    ranking = model.recommend(Cases.from_histories([[7], history]), N_ITEMS)
    np.testing.assert_allclose(ranking.scores[1], expected[ranking.items[1]].detach(), atol=1e-3)


def test_a_width_that_heads_do_not_divide_is_named():
    with pytest.raises(LetterError, match="BERT4Rec: dimensions=15 is not a multiple of n_heads=2"):
        BERT4Rec(CONFIG.model_copy(update={"dimensions": 15}))


def test_training_reaches_the_place_at_which_the_mask_will_stand():
    split = made([list(range(40))] * 8, 40).split()
    _, batches = BERT4Rec(CONFIG, device="cpu").batches(split)
    drawn = [inputs for seed in range(3) for inputs, *_ in batches(np.random.default_rng(seed))]
    assert {int(place) for inputs in drawn for place in inputs.columns} == set(
        range(CONFIG.history)
    )


def test_the_network_has_the_layers_heads_and_dropout_of_its_configuration():
    config = BERT4RecConfig(dimensions=12, n_layers=3, n_heads=4, dropout=0.45, history=7)
    body = BERT4RecNetwork(N_ITEMS, config).body
    assert [block.n_heads for block in body.blocks] == [4, 4, 4] and len(body.places.weight) == 7
    assert {one.p for one in body.modules() if isinstance(one, Dropout)} == {0.45}
