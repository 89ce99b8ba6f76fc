"""Residual quantisation and the gradients that pass it."""

import numpy as np
import pytest
import torch

from letterlib.errors import LetterError
from letterlib.tokenizer.collisions import centre_distances, sinkhorn
from letterlib.tokenizer.grouping import constrained_kmeans
from letterlib.tokenizer.losses import diversity_loss, rq_loss
from letterlib.tokenizer.rqvae import (
    RQVAE,
    balanced_codes,
    constrained_kmeans_codebook,
    kmeans_codebook,
    nearest_codes,
    residual_quantize,
    start_size_bounds,
    straight_through,
)


@pytest.fixture
def module() -> RQVAE:
    torch.manual_seed(0)
    return RQVAE(10, hidden=(8,), code_dim=4, n_levels=3, n_codes=6).double()


def test_residual_quantize_is_the_loop_over_rows_levels_and_codes():
    torch.manual_seed(0)
    z = torch.randn(20, 4)
    codebooks = [torch.randn(7, 4), torch.randn(5, 4) / 2, torch.randn(9, 4) / 4]
    codes, quantised = residual_quantize(z, codebooks)
    for i, row in enumerate(z):
        rest, total = row.clone(), torch.zeros(4)
        for level, book in enumerate(codebooks):
            best = min(range(len(book)), key=lambda j: float(((rest - book[j]) ** 2).sum()))  # noqa: B023
            assert int(codes[i, level]) == best
            rest, total = rest - book[best], total + book[best]
        torch.testing.assert_close(quantised[i], total)


def test_the_straight_through_gradient_at_z_is_the_gradient_at_z_hat(module):
    x = torch.randn(5, 10, dtype=torch.float64)
    out = module(x)
    loss = ((out.reconstruction - x) ** 2).sum() + out.quantised.sin().sum()
    at_z, at_z_hat = torch.autograd.grad(loss, [out.z, out.quantised], retain_graph=True)
    torch.testing.assert_close(at_z, at_z_hat)
    assert at_z.abs().max() > 0
    # In value it is the sum of the code vectors, and the codebooks learn nothing from it.
    torch.testing.assert_close(out.quantised, torch.stack(out.vectors).sum(0))
    assert all(
        g is None for g in torch.autograd.grad(loss, list(module.codebooks), allow_unused=True)
    )
    torch.testing.assert_close(straight_through(out.z, out.quantised), out.quantised)


def test_a_large_catalogue_in_blocks_has_the_same_codes(module, monkeypatch):
    x = torch.randn(100, 10, dtype=torch.float64)
    module.initialise_codebooks(x, seed=0)
    codes, last_residuals = module.encode(x)
    monkeypatch.setattr("letterlib.tokenizer.rqvae.BLOCK", 7)
    codes_in_blocks, residuals_in_blocks = module.encode(x)
    assert torch.equal(codes_in_blocks, codes)
    torch.testing.assert_close(residuals_in_blocks, last_residuals)


@pytest.mark.parametrize("variant, levels_that_train", [("final", [0, 1, 2]), ("per-level", [0])])
def test_which_levels_commitment_trains_the_encoder(variant, levels_that_train):
    torch.manual_seed(0)
    module = RQVAE(10, (8,), 4, n_levels=3, n_codes=6, straight_through=variant).double()
    out = module(torch.randn(5, 10, dtype=torch.float64))
    trained = []
    for level in range(3):
        loss = rq_loss([out.residuals[level]], [out.vectors[level]], mu=0.25)
        (gradient,) = torch.autograd.grad(loss, out.z, retain_graph=True, allow_unused=True)
        if gradient is not None and gradient.abs().max() > 1e-12:
            trained.append(level)
    assert trained == levels_that_train


def test_a_residual_is_z_without_the_code_vectors_of_the_levels_before(module):
    out = module(torch.randn(5, 10, dtype=torch.float64))
    for level, residual in enumerate(out.residuals):
        torch.testing.assert_close(residual, out.z - module.sum_of_vectors(out.codes, level))


@pytest.mark.parametrize("variant", ["final", "per-level"])
def test_what_a_level_is_to_code_moves_no_codebook_before_it(module, variant):
    module.straight_through = variant
    out = module(torch.randn(5, 10, dtype=torch.float64))
    loss = rq_loss([out.residuals[2]], [out.vectors[2]], mu=0.25)
    first, second, third = torch.autograd.grad(loss, list(module.codebooks), allow_unused=True)
    assert first is None and second is None and third.abs().max() > 0


def test_the_diversity_loss_reaches_the_codebooks_only(module):
    out = module(torch.randn(5, 10, dtype=torch.float64))
    diversity_loss(out.codes, (out.codes + 1) % 6, list(module.codebooks)).backward()
    moved = {name for name, value in module.named_parameters() if value.grad is not None}
    assert moved == {"codebooks.0", "codebooks.1", "codebooks.2"}


def test_codebooks_start_from_the_residuals_of_the_catalogue(module):
    x = torch.randn(40, 10, dtype=torch.float64)
    random_start = residual_error(module, x)
    module.initialise_codebooks(x, seed=3)
    assert residual_error(module, x) < random_start / 2
    first = [book.detach().clone() for book in module.codebooks]
    module.initialise_codebooks(x, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(first, module.codebooks, strict=True))
    # k-means: each centre of the first level is the mean of the rows that are nearest to it.
    codes, residual = module.encode(x)
    z = module.encoder(x).detach()
    for code in codes[:, 0].unique():
        torch.testing.assert_close(
            module.codebooks[0][code].detach(), z[codes[:, 0] == code].mean(0), atol=1e-5, rtol=1e-4
        )
    torch.testing.assert_close(residual, z - module.sum_of_vectors(codes, 2))


def residual_error(module: RQVAE, x: torch.Tensor) -> float:
    out = module(x)
    return ((out.z - out.quantised) ** 2).mean().item()


def test_as_many_items_as_codes_start_a_codebook_and_fewer_do_not(module):
    x = np.eye(8, dtype=np.float32)
    assert sorted(map(tuple, kmeans_codebook(x, 8, seed=0))) == sorted(map(tuple, x))
    with pytest.raises(LetterError, match="5 items .* 6 codes"):
        module.initialise_codebooks(torch.from_numpy(np.ones((5, 10))), seed=0)


def test_kmeans_codebook_is_seeded_and_silent_about_equal_rows(recwarn):
    x = np.repeat(np.random.default_rng(0).normal(size=(5, 3)), 4, axis=0).astype(np.float32)
    codebook = kmeans_codebook(x, 8, seed=0)
    assert codebook.shape == (8, 3) and codebook.dtype == np.float32
    np.testing.assert_array_equal(codebook, kmeans_codebook(x, 8, seed=0))
    assert not recwarn.list
    rows = np.random.default_rng(0).normal(size=(200, 8))
    assert not np.array_equal(*(kmeans_codebook(rows, 16, seed) for seed in (0, 1)))


def heap_and_outliers(n: int) -> np.ndarray:
    """Nine rows in ten lie in one heap: plain k-means would give it one cluster of the 16."""
    spread = np.where(np.arange(n)[:, None] % 10 > 0, 0.01, 3.0)
    return (spread * np.random.default_rng(0).normal(size=(n, 8))).astype(np.float32)


@pytest.mark.parametrize("n", [16, 20, 40, 300])
def test_a_constrained_start_has_centres_of_clusters_of_similar_sizes(n):
    x, bounds = heap_and_outliers(n), start_size_bounds(n, 16)
    centres, clusters = constrained_kmeans(x, 16, *bounds, seed=2)
    sizes = np.bincount(clusters, minlength=16)
    assert bounds[0] <= sizes.min() and sizes.max() <= bounds[1]
    codebook = constrained_kmeans_codebook(x, 16, seed=2)
    assert codebook.dtype == np.float32 and np.array_equal(codebook, centres.astype(np.float32))


def test_bounds_of_the_start_leave_room_for_every_catalogue():
    for n_codes in (4, 16, 256):
        for n_items in range(n_codes, 5 * n_codes):
            smallest, largest = start_size_bounds(n_items, n_codes)
            assert 1 <= smallest and smallest * n_codes <= n_items <= largest * n_codes
    assert start_size_bounds(20_033, 256) == (39, 156)


def test_every_codebook_has_the_start_that_was_asked_for(module):
    x = torch.randn(60, 10, dtype=torch.float64)
    module.initialise_codebooks(x, 3, "constrained")
    residual = module.encoder(x).detach()
    for level, codebook in enumerate(module.codebooks):
        centres = constrained_kmeans_codebook(residual.numpy(), 6, 3 + level)
        assert np.array_equal(codebook.detach().numpy(), centres)
        residual = residual - codebook.detach()[nearest_codes(residual, codebook)]
    with pytest.raises(LetterError, match="5 items .* 6 codes"):
        module.initialise_codebooks(x[:5], 3, "constrained")


@pytest.mark.parametrize("n, scale", [(256, 1.0), (256, 1e-3), (256, 1e3), (20, 1.0)])
def test_balanced_codes_are_those_of_sinkhorn_on_centred_distances(n, scale):
    generator = torch.Generator().manual_seed(0)
    x = scale * torch.from_numpy(heap_and_outliers(n))
    codebook = scale * torch.randn(32, 8, generator=generator)
    distances = torch.cdist(x.double(), codebook.double()).square().numpy()
    codes = balanced_codes(x, codebook)
    assert np.array_equal(codes, sinkhorn(centre_distances(distances)).argmax(axis=1))
    if n == 256:
        dealt, nearest = (codes.bincount(minlength=32), nearest_codes(x, codebook).bincount())
        assert dealt.max() < nearest.max() / 6


def test_sinkhorn_deals_out_the_last_level_in_training_and_only_there():
    torch.manual_seed(0)
    module = RQVAE(10, (8,), 4, n_levels=3, n_codes=6, sinkhorn=True).double()
    x = 0.1 * torch.randn(60, 10, dtype=torch.float64)
    nearest, last_residuals = module.encode(x)
    out = module(x)
    assert torch.equal(out.codes[:, :2], nearest[:, :2])
    assert torch.equal(out.codes[:, 2], balanced_codes(last_residuals, module.codebooks[2]))
    assert out.codes[:, 2].bincount().max() < nearest[:, 2].bincount().max() / 2
    # The losses read the vectors of the codes dealt out.
    torch.testing.assert_close(out.vectors[2], module.codebooks[2][out.codes[:, 2]])
    torch.testing.assert_close(out.quantised, module.sum_of_vectors(out.codes, 3))
    assert torch.equal(module.eval()(x).codes, nearest)


def test_bfloat16_is_for_the_products_of_encoder_and_decoder_alone():
    """Nearly the same gradient; codes, distances and losses stay in float32."""
    torch.manual_seed(0)
    exact = RQVAE(24, (64, 32), 8, 3, 16)
    fast = RQVAE(24, (64, 32), 8, 3, 16, dtype=torch.bfloat16)
    fast.load_state_dict(exact.state_dict())
    x, gradients = torch.randn(200, 24), []
    products = []
    for part in (fast.encoder, fast.decoder):
        part.register_forward_hook(lambda *given: products.append(given[-1].dtype))
    for module in (exact, fast):
        out = module(x)
        assert {t.dtype for t in (out.reconstruction, out.z, out.quantised, *out.vectors)} == {
            torch.float32
        }
        (
            (out.reconstruction - x).square().mean() + rq_loss(out.residuals, out.vectors, mu=0.25)
        ).backward()
        gradients.append(torch.cat([value.grad.flatten() for value in module.parameters()]))
    assert products == [torch.bfloat16] * 2
    assert torch.cosine_similarity(*gradients, dim=0) > 0.98
    assert not torch.equal(*gradients)
    assert torch.equal(exact.encode(x)[0], fast.encode(x)[0])


def test_code_vectors_begin_with_a_length_of_about_1():
    torch.manual_seed(0)
    for book in RQVAE(10, (8,), code_dim=64, n_levels=2, n_codes=200).codebooks:
        assert book.norm(dim=1).mean().item() == pytest.approx(1, abs=0.05)
