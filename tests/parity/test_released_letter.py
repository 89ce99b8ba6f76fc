"""Our tokenizer against the one that LETTER's authors released: from the same weights and batch,
the same codes, losses, gradients and first step; and the same repair of collisions.

Their code is imported from a clone of their repository, whose folder is in LETTER_REPOSITORY
(data/README.md). Where the two differ by design, a test asserts the difference.
"""

import importlib
import os
import random
import sys
from argparse import Namespace
from collections import Counter
from copy import deepcopy
from pathlib import Path
from types import ModuleType, SimpleNamespace

import k_means_constrained
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from letterlib.tokenizer import collisions
from letterlib.tokenizer.collisions import centre_distances, repair_collisions, sinkhorn
from letterlib.tokenizer.grouping import group_size_bounds
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.letter import (
    CODE_DIM,
    Batch,
    LetterTokenizer,
    TokenizerConfig,
    to_unit_mean_norm,
)
from letterlib.tokenizer.losses import collaborative_loss, sample_positives
from letterlib.tokenizer.rqvae import RQVAE, constrained_kmeans_codebook, start_size_bounds
from letterlib.train import train

N_ITEMS, INPUT, HIDDEN, LEVELS, CODES, GROUPS = 128, 20, (24, 16), 4, 64, 10
PARTS = ["reconstruction", "rq", "collaborative", "diversity", "loss"]
pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory'")  # which their script asks for
TOLERANCE = {torch.float64: 1e-13, torch.float32: 5e-6}


@pytest.fixture(scope="module")
def released():
    """The modules of the released RQ-VAE. They have common names, so none stays in sys.modules."""
    folder = Path(os.environ.get("LETTER_REPOSITORY", "")) / "RQ-VAE"
    if "LETTER_REPOSITORY" not in os.environ or not (folder / "models" / "rqvae.py").is_file():
        pytest.skip("no clone of LETTER's repository: set LETTER_REPOSITORY (see data/README.md)")
    names = ("main", "models", "trainer", "datasets", "utils", "wandb")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] in names]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "wandb", ModuleType("wandb"))  # imported, not used
        patch.syspath_prepend(folder)
        modules = {
            name: importlib.import_module(path)
            for name, path in {
                "main": "main",
                "trainer": "trainer",
                "rqvae": "models.rqvae",
                "vq": "models.vq",
                "layers": "models.layers",
            }.items()
        }
        yield SimpleNamespace(folder=folder, **modules)
        for name in [name for name in sys.modules if name.split(".")[0] in names]:
            del sys.modules[name]


# The same weights and the same batch


def config(**settings) -> TokenizerConfig:
    return TokenizerConfig(
        **{
            "alpha": 0.3,
            "beta": 0.2,
            "n_levels": LEVELS,
            "n_codes": CODES,
            "hidden": HIDDEN,
            "n_groups": GROUPS,
            "straight_through": "per-level",
            "dtype": "float32",
            **settings,
        }
    )


def our_module(dtype: torch.dtype = torch.float64) -> RQVAE:
    torch.manual_seed(0)
    module = RQVAE(INPUT, HIDDEN, CODE_DIM, LEVELS, CODES, "per-level")
    with torch.no_grad():
        for parameter in module.parameters():  # biases start at 0 and would hide a swapped pair
            parameter.add_(0.02 * torch.randn_like(parameter))
    return module.to(dtype)


def batch(dtype: torch.dtype = torch.float64) -> Batch:
    generator = torch.Generator().manual_seed(1)
    return Batch(
        torch.randn(N_ITEMS, INPUT, generator=generator).to(dtype),
        torch.randn(N_ITEMS, CODE_DIM, generator=generator).to(dtype) / CODE_DIM**0.5,
        torch.arange(N_ITEMS),
        [torch.randperm(CODES, generator=generator) % GROUPS for _ in range(LEVELS)],
        [torch.rand(N_ITEMS, generator=generator) for _ in range(LEVELS)],
    )


def their_module(released, ours: RQVAE, given: Batch, **settings) -> nn.Module:
    """Their network with our weights. `sk_epsilons` = 0 gives an item the nearest code."""
    arguments = {
        "alpha": config().alpha,
        "beta": config().beta,
        "sk_epsilons": [0.0] * LEVELS,
        "cf_embedding": given.collaborative.numpy(),
        **settings,
    }
    theirs = released.rqvae.RQVAE(
        INPUT, [CODES] * LEVELS, CODE_DIM, list(HIDDEN), sk_iters=50, **arguments
    ).to(given.semantic.dtype)
    names = our_names_of(theirs, ours)
    theirs.load_state_dict({name: ours.state_dict()[names[name]] for name in theirs.state_dict()})
    return theirs


def our_names_of(theirs: nn.Module, ours: RQVAE) -> dict[str, str]:
    """Our name of each of their parameters: the linear layers in order, the codebooks in order."""
    names = {f"rq.vq_layers.{i}.embedding.weight": f"codebooks.{i}" for i in range(LEVELS)}
    for part in ("encoder", "decoder"):
        sides = (
            [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
            for network in (getattr(theirs, part), getattr(ours, part))
        )
        for their_name, our_name in zip(*sides, strict=True):
            for kind in ("weight", "bias"):
                names[f"{part}.{their_name}.{kind}"] = f"{part}.{our_name}.{kind}"
    return names


def labels_of(given: Batch) -> dict[str, list[int]]:
    return {str(level): groups.tolist() for level, groups in enumerate(given.groups)}


def feed_positives(monkeypatch, released, positives: torch.Tensor) -> None:
    """Let their `random.choice` draw these: int64 [batch, L]. Each must be in the group that they
    draw from.
    """
    fed = iter(positives.T.flatten().tolist())

    def choice(group: list[int]) -> int:
        positive = next(fed)
        assert positive in group
        return positive

    monkeypatch.setattr(released.vq, "random", SimpleNamespace(choice=choice))


def our_positives(codes: torch.Tensor, given: Batch) -> torch.Tensor:
    columns = zip(codes.T, given.groups, given.draws, strict=True)
    return torch.stack([sample_positives(*column) for column in columns], dim=1)


def their_losses(monkeypatch, released, theirs: nn.Module, given: Batch, positives: torch.Tensor):
    """Codes, and each loss by our names: they add beta L_Div to L_RQ-VAE level by level."""
    feed_positives(monkeypatch, released, positives)
    diversity, plain = [], released.vq.VectorQuantizer.diversity_loss

    def recorded(*arguments):
        diversity.append(plain(*arguments))
        return diversity[-1]

    monkeypatch.setattr(released.vq.VectorQuantizer, "diversity_loss", recorded)
    out, quantisation, codes, quantised = theirs(given.semantic, labels_of(given))
    loss, collaborative, reconstruction, quantisation = theirs.compute_loss(
        out, quantisation, given.own, quantised, xs=given.semantic
    )
    diversity = torch.stack(diversity).mean()
    rq = quantisation - theirs.beta * diversity
    return codes, dict(
        zip(PARTS, (reconstruction, rq, collaborative, diversity, loss), strict=True)
    )


def gradients(loss: torch.Tensor, module: nn.Module) -> dict[str, torch.Tensor]:
    """By the parameters' names; zeros where there is none."""
    found = torch.autograd.grad(
        loss, list(module.parameters()), retain_graph=True, materialize_grads=True
    )
    return dict(zip((name for name, _ in module.named_parameters()), found, strict=True))


def assert_equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal but for rounding, relative to the largest number of the tensor."""
    error, size = (ours - theirs).abs().max(), theirs.abs().max()
    assert error <= TOLERANCE[ours.dtype] * size, f"{error} of {size}"


# The first training step


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_codes_losses_and_gradients_are_theirs(monkeypatch, released, dtype, part):
    module, given = our_module(dtype), batch(dtype)
    codes = module(given.semantic).codes
    ours = LetterTokenizer(config()).training_losses(module, given)
    theirs = their_module(released, module, given)
    positives = our_positives(codes, given)
    their_codes, losses = their_losses(monkeypatch, released, theirs, given, positives)
    assert torch.equal(codes, their_codes)
    assert min(len(column.unique()) for column in codes.T) > 10
    assert set(ours) == set(losses)
    assert_equal(ours[part], losses[part])
    our_gradients, their_gradients = gradients(ours[part], module), gradients(losses[part], theirs)
    names = our_names_of(theirs, module)
    assert set(names.values()) == set(our_gradients)
    for name, gradient in their_gradients.items():
        assert_equal(our_gradients[names[name]], gradient)
    assert any(gradient.abs().max() > 1e-4 for gradient in their_gradients.values())


def test_the_first_step_moves_every_weight_as_their_trainer_does(monkeypatch, released, tmp_path):
    """With their defaults of optimiser, rate and decay, and ours."""
    module, given, settings = our_module(), batch(), config()
    theirs = their_module(released, module, given)
    names = our_names_of(theirs, module)
    feed_positives(monkeypatch, released, our_positives(module(given.semantic).codes, given))
    monkeypatch.setattr(sys, "argv", ["main.py", "--device=cpu", f"--ckpt_dir={tmp_path}"])
    trainer = released.trainer.Trainer(released.main.parse_args(), theirs)
    groups = iter(labels_of(given).values())
    monkeypatch.setattr(trainer, "constrained_km", lambda codebook: (None, next(groups)))
    their_log = trainer._train_epoch([(given.semantic, given.own)], 0)

    before = deepcopy(module.state_dict())
    log = train(
        module,
        lambda _: [given],
        LetterTokenizer(settings).training_losses,
        epochs=1,
        steps_per_epoch=1,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        seed=0,
        what="tokenizer",
    ).losses[0]
    quantisation = log["rq"] + settings.beta * log["diversity"]
    assert their_log == pytest.approx(
        (log["loss"], log["reconstruction"], log["collaborative"], quantisation), rel=1e-11
    )
    for name, weight in theirs.state_dict().items():
        ours = module.state_dict()[names[name]]
        assert (ours - before[names[name]]).abs().max() > 9e-4
        # Adam divides a gradient by its size, so rounding counts more if a gradient is near 0.
        assert (ours - weight).abs().max() < 1e-10


def test_our_defaults_are_theirs_and_alpha_and_beta_the_papers(monkeypatch, released):
    monkeypatch.setattr(sys, "argv", ["main.py"])
    theirs, ours = released.main.parse_args(), TokenizerConfig()
    assert theirs.num_emb_list == [ours.n_codes] * ours.n_levels
    assert (theirs.layers, theirs.e_dim) == (list(ours.hidden), CODE_DIM)
    assert (theirs.learner, theirs.lr, theirs.weight_decay) == (
        "AdamW",
        ours.learning_rate,
        ours.weight_decay,
    )
    assert (theirs.epochs, theirs.batch_size) == (ours.epochs, ours.batch_size)
    assert theirs.n_clusters == ours.n_groups
    assert released.vq.VectorQuantizer(4, 2).mu == ours.mu
    assert (theirs.sk_epsilons[-1], theirs.sk_iters) == (collisions.EPSILON, collisions.ITERATIONS)
    assert (theirs.alpha, theirs.beta) == (0.1, 0.1) != (ours.alpha, ours.beta)


# Where the two differ by design


def test_one_straight_through_adds_the_commitment_of_the_later_levels(monkeypatch, released):
    """Our default, "final": values as theirs, and the encoder's gradient has three terms more."""
    module, given = our_module(), batch()
    module.straight_through = "final"
    out, ours = module(given.semantic), LetterTokenizer(config()).training_losses(module, given)
    theirs = their_module(released, module, given)
    positives = our_positives(out.codes, given)
    codes, losses = their_losses(monkeypatch, released, theirs, given, positives)
    assert torch.equal(out.codes, codes)
    later = [
        F.mse_loss(out.z - sum(out.vectors[:level]).detach(), out.vectors[level].detach())
        for level in range(1, LEVELS)
    ]
    extra = gradients(config().mu * sum(later) / LEVELS, module)
    assert min(extra[name].abs().max() for name in extra if name.startswith("encoder")) > 1e-4
    names = our_names_of(theirs, module)
    for part in PARTS:
        assert_equal(ours[part], losses[part])
        our_gradients = gradients(ours[part], module)
        for name, gradient in gradients(losses[part], theirs).items():
            added = extra[names[name]] if part in ("rq", "loss") else 0
            assert_equal(our_gradients[names[name]], gradient + added)


def test_with_sinkhorn_the_last_level_is_dealt_out_in_training_as_theirs(released):
    """Our default has the nearest code. What follows from the codes is tested above."""
    module, given = our_module(), batch()
    nearest = module(given.semantic).codes
    module.sinkhorn = True
    epsilons = [0.0] * (LEVELS - 1) + [collisions.EPSILON]
    theirs = their_module(released, module, given, sk_epsilons=epsilons)
    codes, ours = theirs(given.semantic, labels_of(given))[2], module(given.semantic).codes
    assert torch.equal(ours, codes)
    loads, even = torch.bincount(nearest[:, -1]), torch.bincount(ours[:, -1])
    assert loads.max() > 2 * even.max()  # N_ITEMS / CODES = 2 items for each code
    assert torch.equal(theirs.get_indices(given.semantic, labels_of(given)), nearest)
    assert torch.equal(module.encode(given.semantic)[0], nearest)


@pytest.mark.parametrize("n_items", [200, 999])
def test_a_constrained_start_has_their_bounds_and_centres(monkeypatch, released, n_items):
    """From the same random state, and one start instead of their best of ten."""
    asked, plain = [], k_means_constrained.KMeansConstrained

    def once(**settings):
        asked.append((settings["size_min"], settings["size_max"]))
        return plain(**{**settings, "n_init": 1, "n_jobs": 1, "random_state": 3})

    monkeypatch.setattr(k_means_constrained, "KMeansConstrained", once)
    x = torch.randn(n_items, CODE_DIM, generator=torch.Generator().manual_seed(0)).double()
    centres, _ = released.vq.VectorQuantizer.constrained_km(None, x, 32)
    monkeypatch.setattr(k_means_constrained, "KMeansConstrained", plain)
    assert asked == [start_size_bounds(n_items, 32)]
    ours = constrained_kmeans_codebook(x.numpy(), 32, seed=3)
    assert np.array_equal(ours, centres.numpy().astype(np.float32))


def test_their_start_has_a_cap_at_which_large_catalogues_do_not_fit(monkeypatch, released):
    asked = []
    monkeypatch.setattr(
        k_means_constrained, "KMeansConstrained", lambda **settings: asked.append(settings) or 1 / 0
    )
    for n_items in (20_033, 60_000):
        with pytest.raises(ZeroDivisionError):
            released.vq.VectorQuantizer.constrained_km(None, torch.zeros(n_items, 1), 256)
    sizes = [(settings["size_min"], settings["size_max"]) for settings in asked]
    assert sizes == [(39, 156), (50, 200)] and 256 * 200 < 60_000
    assert [start_size_bounds(n, 256) for n in (20_033, 60_000)] == [(39, 156), (117, 468)]


def test_both_draw_a_positive_uniformly_from_the_others_of_the_group(released):
    """They draw until it is another code, we draw once. Ours is alone without a positive; theirs
    would draw for ever, so both keep groups at two codes or more.
    """
    n, groups = 4000, batch().groups[0]
    code = torch.full((n,), 5)
    quantiser = released.vq.VectorQuantizer(CODES, CODE_DIM)
    random.seed(0)
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            released.vq.F, "cross_entropy", lambda sim, positives: drawn.append(positives)
        )
        quantiser.diversity_loss_main_entry(None, quantiser.embedding(code), code, groups.tolist())
    torch.manual_seed(0)
    others = set(torch.nonzero(groups == groups[5]).flatten().tolist()) - {5}
    for positives in (drawn[0], sample_positives(code, groups)):
        counts = Counter(positives.tolist())
        assert set(counts) == others
        assert all(abs(count / n - 1 / len(others)) < 0.03 for count in counts.values())


def test_group_sizes_have_their_lower_bound_and_nearly_their_upper_one(monkeypatch, released):
    asked = []

    class Groups:
        def __init__(self, n_clusters, size_min, size_max, **_):
            asked.append((size_min, size_max))

        def fit(self, x):
            self.cluster_centers_, self.labels_ = x[:1], np.zeros(len(x))

    monkeypatch.setattr(k_means_constrained, "KMeansConstrained", Groups)
    released.trainer.Trainer.constrained_km(None, np.zeros((256, CODE_DIM), dtype=np.float32))
    assert asked == [(10, 60)]
    assert group_size_bounds(256, 10) == (10, 62)


def test_our_collaborative_logits_are_theirs_divided_by_the_mean_norm(released):
    """They use SASRec's vectors as they are."""
    saved = torch.load(released.folder / "ckpt" / "Instruments-32d-sasrec.pt", map_location="cpu")
    vectors = saved.detach().squeeze()
    norm = vectors.norm(dim=1).mean()
    assert float(norm) == pytest.approx(0.78, abs=0.005)
    vectors, quantised = vectors[:N_ITEMS], torch.randn(N_ITEMS, CODE_DIM)
    scaled = torch.from_numpy(to_unit_mean_norm(saved.detach().squeeze().numpy()))[:N_ITEMS]
    theirs = released.rqvae.RQVAE.CF_loss
    assert_equal(collaborative_loss(quantised, scaled), theirs(None, quantised / norm, vectors))


# The repair of collisions


def test_sinkhorn_and_its_centring_are_theirs(released):
    distances = torch.rand(40, CODES, dtype=torch.float64, generator=torch.manual_seed(0))
    centred = released.vq.VectorQuantizer.center_distance_for_constraint(distances)
    np.testing.assert_array_equal(centre_distances(distances.numpy()), centred.numpy())
    for epsilon in (0.5, collisions.EPSILON):
        theirs = released.layers.sinkhorn_algorithm(centred, epsilon, 50).numpy()
        ours = sinkhorn(centred.numpy(), epsilon, 50)
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-200)
        assert np.array_equal(ours.argmax(axis=1), theirs.argmax(axis=1))


class Dealt:
    """In place of KMeansConstrained, which starts ten processes: groups of 6 or 7 codes. Without
    training they change nothing.
    """

    def __init__(self, n_clusters, **_):
        self.n_clusters = n_clusters

    def fit(self, x):
        self.cluster_centers_, self.labels_ = x[:1], np.arange(len(x)) % self.n_clusters


def catalogue(seed: int, n_items: int = 200, noise: float = 0.02) -> np.ndarray:
    """Text vectors in clusters of about four, so that most items share their four codes."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_items // 4, INPUT))
    x = centres[rng.integers(0, len(centres), n_items)]
    return (x + noise * rng.normal(size=x.shape)).astype(np.float32)


def coded(module: RQVAE, x: np.ndarray) -> tuple[Identifiers, np.ndarray, np.ndarray]:
    """What `repair_collisions` reads."""
    codes, residuals = module.encode(torch.from_numpy(x))
    codebook = module.codebooks[-1].detach().numpy()
    return Identifiers(codes.numpy(), (CODES,) * LEVELS), residuals.numpy(), codebook


def their_identifiers(monkeypatch, released, folder: Path, module: RQVAE, x: np.ndarray):
    """What generate_indices.py writes for our weights; on the CPU, where it asks for a GPU."""
    given = Batch(torch.from_numpy(x), torch.zeros(1), torch.zeros(1), [], [])
    monkeypatch.setattr(sys, "argv", ["main.py"])
    args = released.main.parse_args()
    args.num_emb_list, args.layers = [CODES] * LEVELS, list(HIDDEN)
    args.data_path, args.num_workers = str(folder / "text.npy"), 0
    np.save(args.data_path, x)
    saved = folder / "alpha1-beta1" / "model.pth"
    saved.parent.mkdir()
    state = their_module(released, module, given).state_dict()
    torch.save({"args": args, "state_dict": state}, saved)
    (folder / "data" / "Instruments").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(k_means_constrained, "KMeansConstrained", Dealt)
    options = {"root_path": f"{folder}/", "alpha": "1", "beta": "1", "checkpoint": saved.name}
    options = [f"--{name}={value}" for name, value in options.items()]
    monkeypatch.setattr(sys, "argv", ["generate_indices.py", *options])
    script = released.folder / "generate_indices.py"
    code = script.read_text().replace('"cuda:0"', '"cpu"')
    with torch.serialization.safe_globals([Namespace]):
        exec(compile(code, script, "exec"), {"__name__": "__main__"})
    (written,) = (folder / "data" / "Instruments").iterdir()
    return Identifiers.load(written, len(x), (CODES,) * LEVELS)


def shared(identifiers: Identifiers) -> list[np.ndarray]:
    """The items of every shared identifier."""
    group = identifiers.identifier_of_item
    sets = [np.flatnonzero(group == number) for number in range(identifiers.n_distinct)]
    return [items for items in sets if len(items) > 1]


@pytest.mark.parametrize("seed", [2, 6, 11])  # four to six rounds
def test_a_catalogue_is_repaired_as_by_their_script(monkeypatch, released, tmp_path, seed):
    module, x = our_module(torch.float32), catalogue(seed)
    before, residuals, codebook = coded(module, x)
    ours, report = repair_collisions(before, residuals, codebook)
    theirs = their_identifiers(monkeypatch, released, tmp_path, module, x)
    assert np.array_equal(ours.codes, theirs.codes)
    assert report.moved > 150 and report.rounds > 3 and report.colliding_after == 0


def test_only_codes_with_equal_shares_are_chosen_differently(released):
    """Two to a few rows own several codes whole; which of these comes first is a matter of the
    last bit, because we scale in logarithms and they do not.
    """
    items_seen = ties = 0
    for seed in range(4):
        before, residuals, codebook = coded(our_module(torch.float32), catalogue(seed, noise=0.1))
        for items in shared(before):
            distances = np.square(residuals[items][:, None] - codebook).sum(axis=-1)
            centred = centre_distances(distances.astype(np.float64))
            theirs = released.layers.sinkhorn_algorithm(torch.from_numpy(centred), 0.003, 50)
            theirs, ours = theirs.numpy(), sinkhorn(centred)
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-200)
            rows, codes = np.arange(len(items)), ours.argmax(axis=1)
            np.testing.assert_allclose(theirs[rows, codes], theirs.max(axis=1), rtol=1e-14)
            items_seen += len(items)
            ties += (codes != theirs.argmax(axis=1)).sum()
    assert items_seen > 400 and ties / items_seen < 0.04


def test_we_keep_the_best_round_and_they_the_last(monkeypatch, released, tmp_path):
    module, x = our_module(torch.float32), catalogue(112, n_items=100)
    before, residuals, codebook = coded(module, x)
    last, n_colliding = before, []
    for _ in range(collisions.ROUNDS):
        codes = last.codes.copy()
        for items in shared(last):
            distances = np.square(residuals[items][:, None] - codebook).sum(axis=-1)
            codes[items, -1] = sinkhorn(centre_distances(distances)).argmax(axis=1)
        last = Identifiers(codes, before.level_sizes)
        n_colliding.append(last.n_colliding)
    theirs = their_identifiers(monkeypatch, released, tmp_path, module, x)
    assert np.array_equal(theirs.codes, last.codes)
    ours, _ = repair_collisions(before, residuals, codebook)
    assert ours.n_colliding == min(n_colliding) == 2 and theirs.n_colliding == 4


def test_items_with_equal_text_keep_their_code_and_get_code_0_from_them(
    monkeypatch, released, tmp_path
):
    """All codes are shared out alike among equal rows, and the first of equals is code 0."""
    module, x = our_module(torch.float32), catalogue(0, n_items=40, noise=2.0)
    x[1], x[3], x[4] = x[0], x[2], x[2]
    before, residuals, codebook = coded(module, x)
    ours, _ = repair_collisions(before, residuals, codebook)
    theirs = their_identifiers(monkeypatch, released, tmp_path, module, x)
    for identifiers in (ours, theirs):
        assert np.array_equal(identifiers.codes[:, :-1], before.codes[:, :-1])
        assert identifiers.n_colliding == 5
    assert np.array_equal(ours.codes[:5], before.codes[:5])
    assert before.codes[:5, -1].all() and not theirs.codes[:5, -1].any()
