"""SASRec and BERT4Rec: what a state may see, packing, masking, and catalogue softmax."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_data import made
from torch.nn import functional as F

from letterlib.baselines import neural, packing
from letterlib.baselines.bert4rec import BERT4Rec, BERT4RecConfig, BERT4RecNetwork, masked_batch
from letterlib.baselines.neural import catalogue_cross_entropy
from letterlib.baselines.packing import pack, training_windows
from letterlib.baselines.sasrec import Block, SASRec, SASRecConfig, SASRecNetwork
from letterlib.data.dataset import Cases, Sequences

N_ITEMS = 40
SIZES = dict(dimensions=16, history=10, dtype="float32")
SASREC = SASRecConfig(**SIZES, dropout=0.1, batch_size=64)
BERT4REC = BERT4RecConfig(**SIZES, dropout=0.0)


def random_sequences(n_users: int = 30, seed: int = 0) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [
        generator.permutation(N_ITEMS)[: generator.integers(3, 30)].tolist() for _ in range(n_users)
    ]


@pytest.fixture
def networks() -> tuple[SASRecNetwork, BERT4RecNetwork]:
    """Random weights, larger than at initialisation so that attention has an effect."""
    torch.manual_seed(0)
    networks = SASRecNetwork(N_ITEMS, SASREC).eval(), BERT4RecNetwork(N_ITEMS, BERT4REC).eval()
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return networks


@pytest.fixture(params=[0, 8, packing.PADDING])
def padding(request, monkeypatch) -> int:
    """Tables of similar lengths alone, tables with some padding, and as it is: here one table for
    all.
    """
    monkeypatch.setattr(packing, "PADDING", request.param)
    return request.param


def states_of(network: torch.nn.Module, *histories: list[int]) -> list[torch.Tensor]:
    """Each history's states, [length, dimensions], all computed in one batch."""
    flat = Sequences.from_lists(histories)
    batch = pack(flat.values, flat.offsets[:-1], flat.offsets[1:])
    more = [torch.arange(len(batch.items))] if isinstance(network, BERT4RecNetwork) else []
    with torch.no_grad():
        states = network(batch, *more)
    return [
        states[last - len(history) + 1 : last + 1]
        for history, last in zip(histories, batch.last.tolist(), strict=True)
    ]


def plain(network: torch.nn.Module, history: list[int]) -> torch.Tensor:
    """Either network for one history: no packing, attention written out, head by head."""
    masked = isinstance(network, BERT4RecNetwork)
    body = network.body if masked else network
    x = body.items.weight[history] * body.items.embedding_dim**0.5
    x = x + body.places.weight[: len(history)]
    later = torch.ones(len(history), len(history)).triu(1).bool() & (not masked)
    for block in body.blocks:
        qkv = F.linear(block.norm1(x), block.qkv.weight, block.qkv.bias).chunk(3, dim=1)
        heads = []
        for q, k, v in zip(*(part.chunk(block.n_heads, dim=1) for part in qkv), strict=True):
            scores = (q @ k.T / q.shape[1] ** 0.5).masked_fill(later, -torch.inf)
            heads.append(torch.softmax(scores, dim=1) @ v)
        x = x + block.out(torch.cat(heads, dim=1))
        x = x + block.down(F.gelu(block.up(block.norm2(x))))
    x = body.norm(x)
    return network.norm(F.gelu(network.project(x))) if masked else x


def test_the_networks_are_plain_transformers_whatever_else_is_in_the_batch(networks, padding):
    histories = [[1, 2, 3, 4, 5, 6, 7], [8], [9, 3, 39, 1], [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]]
    for network in networks:
        with torch.no_grad():
            for history, states in zip(histories, states_of(network, *histories), strict=True):
                torch.testing.assert_close(states, plain(network, history), rtol=0, atol=1e-4)


def test_sasrec_sees_no_later_item_and_bert4rec_sees_all(networks):
    a, b = [1, 2, 3, 4, 5], [1, 2, 9, 4, 5]
    changed = [
        (states_of(network, a)[0] - states_of(network, b)[0]).abs().amax(dim=1) > 1e-3
        for network in networks
    ]
    assert changed[0].tolist() == [False, False, True, True, True] and changed[1].all()


@pytest.mark.parametrize("causal", [True, False])
def test_attention_and_its_gradients_are_torch_s_own(causal, padding):
    torch.manual_seed(0)
    block, lengths = Block(16, 2, 0.0, causal), [9, 5, 4, 1]
    flat = Sequences.from_lists([[0] * n for n in lengths])
    groups = pack(flat.values, flat.offsets[:-1], flat.offsets[1:]).groups
    ours, theirs = (
        torch.randn(sum(lengths), 48, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    found, expected = block.attention(ours.requires_grad_(), groups), []
    for one in theirs.requires_grad_().split(lengths):
        q, k, v = one.view(1, len(one), 3, 2, 8).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        expected.append(mixed.transpose(1, 2).reshape(len(one), 16))
    expected = torch.cat(expected)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(found)
    found.backward(upstream), expected.backward(upstream)
    torch.testing.assert_close(ours.grad, theirs.grad)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 37), min_size=1, max_size=8), st.integers(1, 12), st.integers(0, 1000)
)
def test_windows_cover_every_transition_once(lengths, window, seed):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    train = Sequences(np.arange(offsets[-1]), offsets)
    starts, ends = training_windows(train, window, np.random.default_rng(seed))
    inputs = np.concatenate(
        [np.arange(a, b) for a, b in zip(starts, ends, strict=True)] + [np.zeros(0, int)]
    )
    expected = np.concatenate([train[i][:-1] for i in range(len(train))])
    assert np.array_equal(np.sort(inputs), expected)
    assert ((ends - starts >= 1) & (ends - starts <= window)).all()


@pytest.mark.parametrize("chunk", [1, 11 * 150, 10**6])
@pytest.mark.parametrize("n", [1, 23, 256, 300])
def test_catalogue_cross_entropy_is_cross_entropy(chunk, n, monkeypatch):
    monkeypatch.setattr(neural, "CHUNK", chunk)
    torch.manual_seed(0)
    states, table = torch.randn(n, 6, requires_grad=True), torch.randn(11, 6, requires_grad=True)
    labels = torch.randint(0, 11, (n,))
    ours = catalogue_cross_entropy(states, table, labels)
    theirs = F.cross_entropy(states @ table.T, labels)
    torch.testing.assert_close(ours, theirs)
    for mine, reference in zip(
        torch.autograd.grad(3 * ours, (states, table)),
        torch.autograd.grad(3 * theirs, (states, table)),
        strict=True,
    ):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-6)


def test_catalogue_cross_entropy_of_large_logits_is_finite():
    states, table = torch.tensor([[100.0], [-100.0]]), torch.tensor([[10.0], [9.0], [-10.0]])
    labels = torch.tensor([1, 2])
    torch.testing.assert_close(
        catalogue_cross_entropy(states, table, labels), F.cross_entropy(states @ table.T, labels)
    )


@pytest.mark.parametrize("kind", [SASRec, BERT4Rec])
def test_rows_that_fill_up_change_no_loss_and_no_gradient(kind, monkeypatch):
    model = kind(kind.config_class(**SIZES, dropout=0.0, batch_size=150), seed=0, device="cpu")
    split, found = made(random_sequences(9), N_ITEMS).split(), []
    batch = next(iter(model.batches(split)[1](np.random.default_rng(0))))
    for rows in (1, 64, 1000):
        monkeypatch.setattr(neural, "ROWS", rows)
        torch.manual_seed(0)
        network = model.build(split.n_users, split.n_items)
        loss = model.loss(network, batch)["loss"]
        loss.backward()
        found.append([loss, *(p.grad for p in network.parameters())])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found[2], found[0], rtol=1e-4, atol=1e-6)


def test_the_loss_of_the_original_is_its_formula(networks):
    """Binary cross-entropy of each position's label and its negative, position by position."""
    network = networks[0]
    values = np.array([1, 2, 3, 4, 5, 6])
    batch = pack(values, np.array([0, 4]), np.array([4, 6]))
    labels, others = torch.tensor([2, 3, 4, 9, 6, 7]), torch.tensor([11, 12, 13, 14, 15, 16])
    with torch.no_grad():
        states, table = network(batch).double(), network.items.weight.double()
        expected = 0.0
        for state, label, other in zip(states, labels, others, strict=True):
            right, wrong = torch.sigmoid(state @ table[label]), torch.sigmoid(state @ table[other])
            expected -= float(torch.log(right) + torch.log(1 - wrong)) / len(labels)
        ours = SASRec(SASREC, device="cpu").loss(network, (batch, labels, others))["loss"]
    assert float(ours) == pytest.approx(expected, rel=1e-4)


def test_negatives_of_the_original_loss_are_never_the_users_own_items():
    split = made(random_sequences(), N_ITEMS).split()
    model = SASRec(SASREC.model_copy(update={"loss": "bce"}), device="cpu")
    _, batches = model.batches(split)
    everyone = [set(split.train[u].tolist()) for u in range(split.n_users)]
    n_positions = 0
    for inputs, labels, others in batches(np.random.default_rng(0)):
        n_positions += len(labels)
        first = torch.nonzero(inputs.columns == 0)[:, 0].tolist() + [len(labels)]
        for start, end in zip(first, first[1:], strict=False):
            read = set(inputs.items[start:end].tolist()) | set(labels[start:end].tolist())
            owners = [u for u, own in enumerate(everyone) if read <= own]
            assert any(not everyone[u] & set(others[start:end].tolist()) for u in owners)
    assert n_positions == sum(len(own) - 1 for own in everyone)


@pytest.mark.parametrize(
    ("n_users", "length"), [(4, 3_000), (200, 12)], ids=["few and long", "many and short"]
)
def test_a_step_predicts_about_as_many_items_as_are_asked_for(n_users, length):
    """However few the users are; and no step is without a window."""
    split = made([np.arange(length).tolist()] * n_users, length).split(1)
    config = SASRecConfig(batch_size=256, history=10, dimensions=8)
    steps, batches = SASRec(config, 0, "cpu").batches(split)
    sizes = [len(labels) for _, labels, *_ in batches(np.random.default_rng(0))]
    assert len(sizes) == steps and sum(sizes) == n_users * (length - 3)
    assert 200 < np.mean(sizes) < 320 and min(sizes) > 0


def masked(last_only: float, share: float = 0.2, seed: int = 0):
    train = Sequences.from_lists([np.arange(1, 1 + n) for n in (9, 1, 5, 7) * 50])
    config = BERT4REC.model_copy(update=dict(last_only=last_only, masked=share))
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


def test_it_answers_what_the_mask_behind_the_history_says(networks):
    network = networks[1]
    model = BERT4Rec(BERT4REC, device="cpu")
    model.network, model.popularity = network, torch.zeros(N_ITEMS)
    history = list(range(20))
    with torch.no_grad():
        expected = plain(network, history[-9:] + [N_ITEMS])[-1] @ network.table.T + network.bias
    ranking = model.recommend(Cases.from_histories([[7], history]), N_ITEMS)
    np.testing.assert_allclose(ranking.scores[1], expected[ranking.items[1]].detach(), atol=1e-3)


def test_scores_are_user_states_times_item_vectors_and_read_recent_items_only():
    split = made(random_sequences(), N_ITEMS).split()
    model = SASRec(SASREC, 1, "cpu", epochs=1).fit(split)
    cases = Cases.from_histories([list(range(20)), list(range(10, 20)), [], [7]])
    states, ranking = model.user_states(cases), model.recommend(cases, N_ITEMS)
    np.testing.assert_allclose(states[0], states[1], atol=1e-5)
    scores = np.take_along_axis(states @ model.item_vectors().T, ranking.items, axis=1)
    np.testing.assert_allclose(ranking.scores[[0, 1, 3]], scores[[0, 1, 3]], atol=1e-5)
    assert not states[2].any()


def test_a_width_that_heads_do_not_divide_is_refused():
    for kind in (SASRec, BERT4Rec):
        with pytest.raises(ValueError, match="dimensions=15 is not a multiple of n_heads=2"):
            kind(dimensions=15)
