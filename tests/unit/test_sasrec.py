"""SASRec: what a state may see, packing, the loss over the catalogue, training, and the common
face.
"""

import json
import multiprocessing
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_data import made
from safetensors.torch import save_file
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from letterlib.baselines import catalogue_softmax, packing
from letterlib.baselines.bert4rec import BERT4Rec
from letterlib.baselines.catalogue_softmax import ROWS, catalogue_cross_entropy
from letterlib.baselines.neural import Dropout
from letterlib.baselines.packing import pack, training_windows
from letterlib.baselines.sasrec import Block, SASRec, SASRecConfig, SASRecNetwork
from letterlib.data.dataset import NO_ITEM, Cases, Dataset, Sequences
from letterlib.errors import LetterError
from letterlib.evaluation.validation import validation_ndcg
from letterlib.saved_model import save_model
from letterlib.train import train

N_ITEMS = 40
SMALL = SASRecConfig(
    dimensions=16,
    n_layers=2,
    n_heads=2,
    dropout=0.1,
    history=10,
    epochs=4,
    batch_size=64,
    learning_rate=5e-3,
    dtype="float32",
)


SIZES = dict(dimensions=16, n_layers=1, n_heads=2, history=10, batch_size=150, dtype="float32")


class Shapes(TorchDispatchMode):
    """Inside, the sizes of what matrices are multiplied with are noted, forward and backward."""

    def __init__(self):
        super().__init__()
        self.sizes = set()

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        if call.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
            self.sizes |= {size for one in args[-2:] for size in one.shape}
        return call(*args, **(kwargs or {}))


def random_sequences(n_users: int = 30, seed: int = 0) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [
        generator.permutation(N_ITEMS)[: generator.integers(3, 30)].tolist() for _ in range(n_users)
    ]


@pytest.fixture(scope="module")
def fitted() -> tuple[SASRec, Dataset]:
    dataset = made(random_sequences(), N_ITEMS)
    return SASRec(SMALL, seed=1, device="cpu").fit(dataset.split()), dataset


@pytest.fixture
def network() -> SASRecNetwork:
    """Random weights, larger than at initialisation so that attention has something to say."""
    torch.manual_seed(0)
    network = SASRecNetwork(N_ITEMS, SMALL).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


def states_of(network: SASRecNetwork, *histories: list[int]) -> list[torch.Tensor]:
    """Each history's states, [length, dimensions], all computed in one batch."""
    flat = Sequences.from_lists(histories)
    batch = pack(flat.values, flat.offsets[:-1], flat.offsets[1:])
    with torch.no_grad():
        states = network(batch)
    return [
        states[int(last) - len(one) + 1 : int(last) + 1]
        for one, last in zip(histories, batch.last, strict=True)
    ]


def test_a_later_item_changes_no_earlier_state_and_an_earlier_one_all_later(network):
    a, b = [1, 2, 3, 4, 5], [1, 2, 9, 4, 5]
    (before,), (after,) = states_of(network, a), states_of(network, b)
    torch.testing.assert_close(before[:2], after[:2], rtol=0, atol=1e-6)
    assert ((before[2:] - after[2:]).abs().amax(dim=1) > 1e-2).all()


def test_order_matters(network):
    (a,), (b,) = states_of(network, [1, 2, 3]), states_of(network, [2, 1, 3])
    assert (a[-1] - b[-1]).abs().max() > 1e-2


@pytest.fixture(params=[0, 8, packing.PADDING])
def padding(request, monkeypatch) -> int:
    """Tables of similar lengths alone, tables with some padding, and as it is: here one table for
    all.
    """
    monkeypatch.setattr(packing, "PADDING", request.param)
    return request.param


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.lists(st.integers(0, N_ITEMS - 1), min_size=1, max_size=10), min_size=2, max_size=9)
)
def test_a_history_has_the_same_states_alone_and_among_others(padding, histories):
    torch.manual_seed(0)
    network = SASRecNetwork(N_ITEMS, SMALL).eval()
    together = states_of(network, *histories)
    for history, states in zip(histories, together, strict=True):
        torch.testing.assert_close(states, states_of(network, history)[0], rtol=0, atol=1e-5)


def test_packing_computes_less_padding_than_places_but_where_there_is_little(monkeypatch):
    lengths = [50, 26, 25, 7, 4, 4, 1, 1]
    flat = Sequences.from_lists([[0] * n for n in lengths])
    tables = {0: [(2, 50), (1, 25), (3, 7), (2, 1)], 100: [(4, 50), (4, 4)], 400: [(8, 50)]}
    for padding, expected in tables.items():
        monkeypatch.setattr(packing, "PADDING", padding)
        batch = pack(flat.values, flat.offsets[:-1], flat.offsets[1:])
        assert [(g.n_rows, g.width) for g in batch.groups] == expected
        assert len(batch.items) == sum(lengths)


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


def test_windows_of_long_histories_are_cut_elsewhere_every_epoch():
    train = Sequences.from_lists([range(100)])
    cuts = {training_windows(train, 20, np.random.default_rng(seed))[0][1] for seed in range(200)}
    assert cuts == set(range(1, 21))


def test_a_history_that_fits_is_one_window():
    for seed in range(20):
        starts, ends = training_windows(
            Sequences.from_lists([range(21)]), 20, np.random.default_rng(seed)
        )
        assert (starts.tolist(), ends.tolist()) == ([0], [20])


@pytest.mark.parametrize("chunk", [1, 11 * 150, 10**6])
@pytest.mark.parametrize("n", [1, 23, 256, 300])
def test_catalogue_cross_entropy_is_cross_entropy(chunk, n, monkeypatch):
    monkeypatch.setattr(catalogue_softmax, "CHUNK", chunk)
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


@pytest.mark.parametrize("kind", [SASRec, BERT4Rec])
def test_products_come_in_few_shapes_so_that_few_kernels_are_compiled(kind):
    model, split = (
        kind(kind.config_class(**SIZES), seed=0, device="cpu"),
        made(random_sequences(200), N_ITEMS).split(),
    )
    network = model.build(split.n_users, split.n_items)
    with Shapes() as seen:
        for batch in model.batches(split)[1](np.random.default_rng(0)):
            model.loss(network, batch)["loss"].backward()
    d = SIZES["dimensions"]
    widths = {d, d + 1, 3 * d, 4 * d, N_ITEMS}
    assert len(seen.sizes) > len(widths) and all(
        size in widths or size % ROWS == 0 for size in seen.sizes
    )


@pytest.mark.parametrize("kind", [SASRec, BERT4Rec])
def test_rows_that_fill_up_change_no_loss_and_no_gradient(kind, monkeypatch):
    model = kind(kind.config_class(**SIZES, dropout=0.0), seed=0, device="cpu")
    split, found = made(random_sequences(9), N_ITEMS).split(), []
    batch = next(iter(model.batches(split)[1](np.random.default_rng(0))))
    for rows in (1, 64, 1000):
        monkeypatch.setattr(catalogue_softmax, "ROWS", rows)
        torch.manual_seed(0)
        network = model.build(split.n_users, split.n_items)
        loss = model.loss(network, batch)["loss"]
        loss.backward()
        found.append([loss, *(one.grad for one in network.parameters())])
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found[2], found[0], rtol=1e-4, atol=1e-6)


def test_catalogue_cross_entropy_of_large_logits_is_finite():
    states, table = torch.tensor([[100.0], [-100.0]]), torch.tensor([[10.0], [9.0], [-10.0]])
    labels = torch.tensor([1, 2])
    torch.testing.assert_close(
        catalogue_cross_entropy(states, table, labels), F.cross_entropy(states @ table.T, labels)
    )


def test_weights_that_are_finite_and_give_no_number_are_one_line(monkeypatch):
    """A rate of a million leaves such weights: the loss of the epoch is finite, and its validation
    is not.
    """

    def too_large(module, *_, **options):
        with torch.no_grad():
            for weight in module.parameters():
                weight.fill_(1e38)
        options["validate"]()

    monkeypatch.setattr("letterlib.baselines.neural.train", too_large)
    config = SASRecConfig(dimensions=8, n_heads=1, dtype="float32")
    for kind in (
        LetterError,
        ValueError,
    ):  # whoever ranks by scores of their own expects the second
        with pytest.raises(
            kind, match="some scores are NaN.*the training diverged; lower its learning rate"
        ):
            SASRec(config, 0, "cpu").fit(made([[0, 1, 2, 3, 4], [4, 3, 2, 1]], 5).split(1))


def test_an_empty_history_cannot_be_packed():
    with pytest.raises(ValueError, match="history 1 of 3 is empty: leave it out"):
        pack(np.arange(6), np.array([0, 3, 3]), np.array([3, 3, 6]))


def test_the_loss_of_the_original_is_its_formula(network):
    """Binary cross-entropy of each position's label and of its one negative, position by position."""
    values = np.array([1, 2, 3, 4, 5, 6])
    batch = pack(values, np.array([0, 4]), np.array([4, 6]))
    labels, others = torch.tensor([2, 3, 4, 9, 6, 7]), torch.tensor([11, 12, 13, 14, 15, 16])
    with torch.no_grad():
        states, table = network(batch).double(), network.items.weight.double()
        expected = 0.0
        for state, label, other in zip(states, labels, others, strict=True):
            right, wrong = torch.sigmoid(state @ table[label]), torch.sigmoid(state @ table[other])
            expected -= float(torch.log(right) + torch.log(1 - wrong)) / len(labels)
        ours = SASRec(SMALL, device="cpu").loss(network, (batch, labels, others))["loss"]
    assert float(ours) == pytest.approx(expected, rel=1e-4)


def test_negatives_of_the_original_loss_are_never_the_users_own_items():
    split = made(random_sequences(), N_ITEMS).split()
    model = SASRec(SMALL.model_copy(update={"loss": "bce"}), device="cpu")
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


def test_a_file_from_before_the_choice_of_loss_is_read_as_softmax(fitted, tmp_path):
    model, dataset = fitted
    fields = {name: value for name, value in model.config.model_dump().items() if name != "loss"}

    class Before(SASRecConfig):
        def model_dump(self, **_):
            return fields

    tensors = model.network.state_dict() | {"popularity": model.popularity}
    save_model(
        tmp_path / "old.safetensors", "SASRec", tensors, Before(**fields), model.seed, model.log
    )
    again = SASRec.load(tmp_path / "old.safetensors", device="cpu")
    cases = dataset.split().cases("test").without_targets()
    assert again.config == model.config
    assert np.array_equal(again.recommend(cases, 5).scores, model.recommend(cases, 5).scores)


def test_it_memorises_ten_users_training_targets():
    generator = np.random.default_rng(5)
    dataset = made([generator.permutation(200)[:14].tolist() for _ in range(10)], 200)
    config = SMALL.model_copy(update=dict(dimensions=32, dropout=0.0, epochs=60, batch_size=16))
    split = dataset.split()
    # Without validation cases the last weights stay, here those that have learnt by heart.
    model = SASRec(config, 0, "cpu")
    model.fit(OnlyTraining(split))
    cases = split.cases("train")
    hits = (model.recommend(cases.without_targets(), 10).items == cases.targets[:, None]).any(
        axis=1
    )
    assert hits.mean() > 0.9


class OnlyTraining:
    """A split's training part, and no validation or test cases to look at."""

    def __init__(self, split):
        self.train, self.train_counts = split.train, split.train_counts
        self.n_users, self.n_items, self.fingerprint = (
            split.n_users,
            split.n_items,
            split.fingerprint,
        )

    def cases(self, part: str) -> Cases:
        assert part == "valid", "training looked at the test part"
        return Cases.from_histories([])


def test_it_never_sees_validation_or_test_items():
    """Items planted there leave training as it was; only the choice of the epoch may depend on
    validation.
    """
    sequences = random_sequences()
    planted = [items[:-2] + [38, 39] for items in sequences]
    a, b = (SASRec(SMALL, 0, "cpu").fit(made(s, N_ITEMS).split()) for s in (sequences, planted))
    assert a.log.losses == b.log.losses
    test_only = [items[:-1] + [39] for items in sequences]
    c = SASRec(SMALL, 0, "cpu").fit(made(test_only, N_ITEMS).split())
    assert np.array_equal(a.item_vectors(), c.item_vectors())


def _vectors(seed: int, threads: int) -> np.ndarray:
    torch.set_num_threads(threads)  # they decide in which order sums are added up
    return SASRec(SMALL, seed, "cpu").fit(made(random_sequences(), N_ITEMS).split()).item_vectors()


def test_same_seed_same_weights_in_another_process_and_another_seed_others(fitted):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(_vectors, (1, torch.get_num_threads()))
    vectors = fitted[0].item_vectors()
    assert vectors.dtype == np.float32 and vectors.shape == (N_ITEMS, 16)
    assert np.array_equal(there, vectors)
    assert not np.allclose(_vectors(2, torch.get_num_threads()), vectors)


def test_an_interrupted_run_resumed_equals_an_uninterrupted_one(fitted, tmp_path, monkeypatch):
    whole, dataset = fitted
    checkpoint = tmp_path / "checkpoint.safetensors"
    monkeypatch.setitem(train.__kwdefaults__, "checkpoint_seconds", 0.0)

    def interrupted_in_the_third_epoch(split, recommend):
        score, calls = validation_ndcg(split, recommend), iter(range(2))
        return lambda: score() if next(calls, None) is not None else interrupt()

    def interrupt():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("letterlib.baselines.neural.validation_ndcg", interrupted_in_the_third_epoch)
        SASRec(SMALL, 1, "cpu", checkpoint).fit(dataset.split())
    resumed = SASRec(SMALL, 1, "cpu", checkpoint).fit(dataset.split())
    assert np.array_equal(resumed.item_vectors(), whole.item_vectors())
    assert resumed.log.losses == whole.log.losses


def test_history_is_excluded_on_request_and_no_item_comes_twice(fitted):
    model, dataset = fitted
    cases = dataset.split().cases("test").without_targets()
    ranking = model.recommend(cases, N_ITEMS + 5, exclude_history=True)
    for i in range(len(cases)):
        items = ranking.items[i][ranking.items[i] != NO_ITEM]
        assert sorted(items) == sorted(set(range(N_ITEMS)) - set(cases.history(i)))
    whole = model.recommend(cases, N_ITEMS + 5)
    assert (np.sort(whole.items[:, :N_ITEMS]) == np.arange(N_ITEMS)).all()
    assert (whole.items[:, N_ITEMS:] == NO_ITEM).all()


def test_an_empty_history_is_answered_by_popularity(fitted):
    model, dataset = fitted
    expected = np.lexsort((np.arange(N_ITEMS), -dataset.split().train_counts))[:5]
    ranking = model.recommend(Cases.from_histories([[3], [], [4, 5]]), 5)
    assert ranking.items[1].tolist() == expected.tolist()
    alone = model.recommend(Cases.from_histories([[4, 5]]), 5)
    assert ranking.items[2].tolist() == alone.items[0].tolist()
    assert model.recommend(Cases.from_histories([[]]), 5).items[0].tolist() == expected.tolist()


def test_it_reads_the_most_recent_items_only(fitted):
    long, recent = list(range(20)), list(range(10, 20))
    states = fitted[0].user_states(Cases.from_histories([long, recent, long[:-1]]))
    np.testing.assert_allclose(states[0], states[1], atol=1e-5)
    assert np.abs(states[0] - states[2]).max() > 1e-3


def test_no_cases_no_states(fitted):
    assert fitted[0].user_states(Cases.from_histories([])).shape == (0, 16)


def test_scores_are_user_states_times_item_vectors(fitted):
    model, dataset = fitted
    cases = dataset.split().cases("test").without_targets()
    ranking = model.recommend(cases, N_ITEMS)
    scores = model.user_states(cases) @ model.item_vectors().T
    np.testing.assert_allclose(
        ranking.scores, np.take_along_axis(scores, ranking.items, axis=1), atol=1e-5
    )


def test_saved_and_loaded_it_answers_the_same(fitted, tmp_path):
    model, dataset = fitted
    model.save(tmp_path / "model.safetensors")
    again = SASRec.load(tmp_path / "model.safetensors", device="cpu")
    cases = dataset.split().cases("test").without_targets()
    assert np.array_equal(again.recommend(cases, 5).scores, model.recommend(cases, 5).scores)
    assert (again.config, again.log, again.n_parameters) == (
        model.config,
        model.log,
        model.n_parameters,
    )


def test_a_saved_model_in_which_a_bit_has_changed_is_not_loaded(fitted, tmp_path):
    """safetensors would read it as numbers like any others, and every ranking would be another one."""
    path = tmp_path / "model.safetensors"
    fitted[0].save(path)
    whole = path.read_bytes()
    for place in (
        -1,
        len(whole) // 2,
        whole.index(b"loss"),
        whole.index(b"seed") + 8,
        whole.index(b"norm.weight"),
    ):
        raw = bytearray(whole)
        raw[place] ^= 1
        path.write_bytes(raw)
        with pytest.raises(
            LetterError,
            match="model.safetensors: damaged, .*; get it again, or train the model again",
        ):
            SASRec.load(path)
    path.write_bytes(
        whole.replace(b"content", b"nothing")
    )  # as of a file that was saved before this was kept
    assert SASRec.load(path, device="cpu").log == fitted[0].log


def test_files_that_hold_no_model_are_named(fitted, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    with pytest.raises(LetterError, match="no such file"):
        SASRec.load(path)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(LetterError, match="not a readable safetensors file"):
        SASRec.load(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(LetterError, match="holds no SASRec model"):
        SASRec.load(path)
    for text in ("[1]", "{"):
        save_file({"x": torch.zeros(1)}, path, metadata={"letterlib": text})
        with pytest.raises(
            LetterError, match="holds no SASRec model|not a readable safetensors file"
        ):
            SASRec.load(path)
    later = {
        "kind": "SASRec",
        "config": {"dimensions": 16, "gate": True},
        "seed": 0,
        "log": {},
        "report": None,
    }
    save_file({"x": torch.zeros(1)}, path, metadata={"letterlib": json.dumps(later)})
    with pytest.raises(LetterError, match="another version of letterlib .*gate.*; train it again"):
        SASRec.load(path)
    for lacking in ("seed", "report"):
        header = {"kind": "SASRec", "config": {}, "log": {}, "seed": 0, "report": None}
        del header[lacking]
        save_file({"x": torch.zeros(1)}, path, metadata={"letterlib": json.dumps(header)})
        with pytest.raises(
            LetterError, match=f"another version of letterlib .*{lacking}.*; train it again"
        ):
            SASRec.load(path)
    header = {
        "kind": "SASRec",
        "config": {},
        "log": {"validations": [0.1]},
        "seed": 0,
        "report": None,
    }
    save_file({"x": torch.zeros(1)}, path, metadata={"letterlib": json.dumps(header)})
    with pytest.raises(LetterError, match="another version of letterlib .*float.*; train it again"):
        SASRec.load(path)
    monkeypatch.setattr(
        "letterlib.saved_model.safe_open",
        Mock(side_effect=FileNotFoundError("as of a forbidden one")),
    )
    with pytest.raises(
        LetterError, match="model.safetensors: cannot be read; check its permissions"
    ):
        SASRec.load(path)


def test_bad_input_is_named(fitted):
    with pytest.raises(LetterError, match="item 40 is not in the catalogue"):
        fitted[0].recommend(Cases.from_histories([[1, 40]]), 5)
    with pytest.raises(LetterError, match="dimensions=15 is not a multiple of n_heads=2"):
        SASRec(SMALL.model_copy(update={"dimensions": 15}))
    with pytest.raises(LetterError, match="no user has two items in training"):
        SASRec(SMALL, device="cpu").fit(made([[0, 1, 2], [3, 4, 5]], N_ITEMS).split())


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


def test_second_derivatives_of_the_catalogue_cross_entropy_are_an_error_and_not_wrong():
    states, table = torch.randn(6, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True)
    loss = catalogue_cross_entropy(states, table, torch.arange(6)) ** 2
    (grad,) = torch.autograd.grad(loss, states, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.square().sum().backward()


def test_the_states_of_a_loaded_model_are_without_dropout(tmp_path):
    dataset = made(random_sequences(), N_ITEMS)
    model = SASRec(SMALL.model_copy(update={"epochs": 1}), seed=1, device="cpu").fit(
        dataset.split()
    )
    model.save(tmp_path / "model.safetensors")
    cases = dataset.split().cases("test").without_targets()
    again = SASRec.load(tmp_path / "model.safetensors", device="cpu")
    np.testing.assert_array_equal(again.user_states(cases), model.user_states(cases))


def test_more_cases_than_are_computed_at_once_have_their_own_states_each():
    dataset = made(random_sequences(), N_ITEMS)
    model = SASRec(SMALL.model_copy(update={"epochs": 1}), seed=1, device="cpu").fit(
        dataset.split()
    )
    last = np.arange(2_050) % N_ITEMS
    states = model.user_states(Cases.from_histories(last[:, None].tolist()))
    few = model.user_states(Cases.from_histories([[item] for item in range(N_ITEMS)]))
    np.testing.assert_allclose(states, few[last], atol=1e-5)


def test_item_vectors_are_the_caller_s_to_change():
    split = made(random_sequences(), N_ITEMS).split()
    model = SASRec(SMALL.model_copy(update={"epochs": 1}), seed=1, device="cpu").fit(split)
    model.item_vectors()[:] = 0
    assert model.item_vectors().any()


def test_whatever_the_network_adds_up_passes_its_dropout(monkeypatch):
    torch.manual_seed(0)
    network = SASRecNetwork(N_ITEMS, SMALL).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    monkeypatch.setattr(Dropout, "forward", lambda self, x: torch.zeros_like(x))
    (states,) = states_of(network, [1, 2, 3])
    torch.testing.assert_close(states, network.norm.bias.detach().expand(3, -1))
    assert {one.p for one in network.modules() if isinstance(one, Dropout)} == {SMALL.dropout}
