"""The tokenizer as a whole, on a small random catalogue."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from letterlib import train
from letterlib.errors import LetterError
from letterlib.hardware import fast_float32
from letterlib.tokenizer import letter
from letterlib.tokenizer.collisions import identifiers_with_unseen, repair_collisions
from letterlib.tokenizer.grouping import quick_groups
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.letter import (
    LetterTokenizer,
    Standardization,
    TokenizerConfig,
    standardize,
    to_unit_mean_norm,
)
from letterlib.tokenizer.rqvae import RQVAE

SMALL = dict(
    hidden=(24,), n_codes=16, n_levels=3, n_groups=4, epochs=6, batch_size=64, dtype="float32"
)


def vectors(n_items: int = 150) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 20))
    semantic = centres[rng.integers(0, 12, n_items)] + 0.3 * rng.normal(size=(n_items, 20))
    return semantic.astype(np.float32), rng.normal(size=(n_items, 32)).astype(np.float32)


def fitted(
    seed: int = 0, collaborative: bool = True, checkpoint=None, **settings
) -> LetterTokenizer:
    semantic, cf = vectors()
    tokenizer = LetterTokenizer(None, seed, "cpu", checkpoint, **{**SMALL, **settings})
    return tokenizer.fit(semantic, cf if collaborative else None)


def weights(tokenizer: LetterTokenizer) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in tokenizer._module.parameters()])


# Training


def test_settings_may_be_keywords_and_change_those_of_a_config():
    config = TokenizerConfig(alpha=0.5, n_codes=64)
    tokenizer = LetterTokenizer(config, device="cpu", n_codes=32)
    assert tokenizer.config == TokenizerConfig(alpha=0.5, n_codes=32)
    assert LetterTokenizer(device="cpu").config == TokenizerConfig()
    assert LetterTokenizer().seed == 0
    with pytest.raises(ValidationError, match="n_code"):
        LetterTokenizer(n_code=32)


def test_a_fit_reports_what_happened():
    tokenizer = fitted()
    identifiers, report = tokenizer.identifiers(), tokenizer.report
    assert identifiers.codes.shape == (150, 3) and identifiers.level_sizes == (16, 16, 16)
    first, last = report.log.losses[0], report.log.losses[-1]
    assert len(report.log.losses) == 6
    assert set(first) == {"loss", "reconstruction", "rq", "collaborative", "diversity"}
    total = last["reconstruction"] + last["rq"]
    total += 0.02 * last["collaborative"] + 1e-4 * last["diversity"]
    assert last["loss"] == pytest.approx(total, rel=1e-4)
    assert last["reconstruction"] < first["reconstruction"]
    assert report.dead_codes == identifiers.dead_codes
    left = report.collisions.colliding_after
    assert left == identifiers.n_colliding <= report.collisions.colliding_before
    assert report.reconstruction_error[2] < report.reconstruction_error[0]
    assert all(epoch >= 3 for epoch, _ in report.log.validations)


def test_the_start_and_sinkhorn_of_the_authors_code_reach_the_network(monkeypatch):
    starts, plain = [], RQVAE.initialise_codebooks
    monkeypatch.setattr(
        RQVAE, "initialise_codebooks", lambda *given: starts.append(given[-1]) or plain(*given)
    )
    tokenizer, ours = fitted(start="constrained", sinkhorn=True), fitted()
    assert starts == ["constrained", "kmeans"]
    assert tokenizer._module.sinkhorn and not ours._module.sinkhorn
    assert np.array_equal(tokenizer.codes_before_repair(), tokenizer.encode(vectors()[0])[0])


@pytest.mark.parametrize(("learning_rate", "worse_than_the_mean"), [(1e-3, True), (1e-2, False)])
def test_the_best_epoch_has_the_most_identifiers_and_then_the_better_reconstruction(
    learning_rate, worse_than_the_mean
):
    tokenizer = fitted(learning_rate=learning_rate)
    distinct = len(np.unique(tokenizer.codes_before_repair(), axis=0))
    error = tokenizer.report.reconstruction_error[-1]
    assert (error > 1) == worse_than_the_mean
    assert tokenizer.report.log.best_score == pytest.approx((distinct - min(error, 1)) / 150)


def test_the_regularizers_of_a_batch_are_the_formulas_of_its_own_items():
    """At a rate that moves nothing. In a group of two a code has one possible positive, so nothing
    is drawn.
    """
    tokenizer, (_, cf) = fitted(epochs=1, learning_rate=1e-30, n_groups=8), vectors()
    z, codes, h = (
        tokenizer.quantised(),
        tokenizer.codes_before_repair(),
        cf / np.linalg.norm(cf, axis=1).mean(),
    )
    groups = tokenizer._groups(tokenizer._module, 0)
    collaborative, diversity = [], []
    for rows in np.split(np.random.default_rng([0, 0]).permutation(150), [64, 128]):
        collaborative.append(
            np.mean([np.log(np.exp(z[i] @ h[rows].T).sum()) - z[i] @ h[i] for i in rows])
        )
        terms = []
        for level, book in enumerate(tokenizer.codebooks()):
            for own in codes[rows, level]:
                (positive,) = (
                    c for c in range(16) if c != own and groups[level][c] == groups[level][own]
                )
                others = np.delete(book @ book[own], own)
                terms.append(np.log(np.exp(others).sum()) - book[own] @ book[positive])
        diversity.append(np.mean(terms))
    logged = tokenizer.report.log.losses[0]
    assert logged["collaborative"] == pytest.approx(np.mean(collaborative), rel=1e-4)
    assert logged["diversity"] == pytest.approx(np.mean(diversity), rel=1e-4)


def test_without_regularizers_it_is_plain_rq_vae_training():
    alone = fitted(alpha=0, beta=0, collaborative=False)
    logged = fitted(alpha=0, beta=0, collaborative=True)
    assert "collaborative" not in alone.report.log.losses[0]
    assert logged.report.log.losses[0]["collaborative"] > 0
    np.testing.assert_array_equal(weights(alone), weights(logged))
    np.testing.assert_allclose(weights(alone), weights_of_plain_training(), atol=1e-5)
    for other in (fitted(alpha=0), fitted(beta=0)):
        assert not np.array_equal(weights(alone), weights(other))


def weights_of_plain_training() -> np.ndarray:
    """An RQ-VAE without any of LETTER: its own loop, the two losses written out."""
    torch.manual_seed(0)
    module = letter.RQVAE(20, (24,), 32, 3, 16)
    x = torch.from_numpy(standardize(vectors()[0]))
    module.initialise_codebooks(x, 0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=1e-4)
    best, best_weights = -1.0, None
    with fast_float32():  # as `train` has it: other libraries round products differently
        for epoch in range(6):
            order = torch.from_numpy(np.random.default_rng([0, epoch]).permutation(150))
            for rows in order.split(64):
                out = module(x[rows])
                steps = [
                    ((v - r.detach()) ** 2).mean() + 0.25 * ((r - v.detach()) ** 2).mean()
                    for r, v in zip(out.residuals, out.vectors, strict=True)
                ]
                loss = ((out.reconstruction - x[rows]) ** 2).mean() + torch.stack(steps).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            if epoch + 1 >= 3:
                codes, _ = module.encode(x)
                decoded = module.decoder(module.sum_of_vectors(codes, 3)).detach()
                score = len(codes.unique(dim=0)) - float(((decoded - x) ** 2).mean())
                if score > best:
                    best = score
                    best_weights = [p.detach().numpy().ravel().copy() for p in module.parameters()]
    return np.concatenate(best_weights)


def test_positives_are_drawn_again_every_epoch_and_by_another_seed(monkeypatch):
    drawn, sample = [], letter.losses.sample_positives
    monkeypatch.setattr(
        letter.losses, "sample_positives", lambda *given: drawn.append(given[2]) or sample(*given)
    )
    fitted(epochs=2)
    a_step = len(drawn) // 2
    assert not torch.equal(drawn[0], drawn[a_step])
    fitted(epochs=1, seed=1)
    assert not torch.equal(drawn[0], drawn[2 * a_step])


def test_a_placebo_is_a_fit_with_the_collaborative_vectors_of_other_items():
    semantic, cf = vectors()
    dealt = cf[np.random.default_rng(4).permutation(len(cf))]
    placebo = fitted(4, epochs=1, placebo=True)
    same = LetterTokenizer(None, 4, "cpu", **{**SMALL, "epochs": 1}).fit(semantic, dealt)
    assert np.array_equal(weights(placebo), weights(same))
    assert not np.array_equal(weights(placebo), weights(fitted(4, epochs=1)))


def test_quick_groups_are_asked_for_by_name():
    tokenizer = fitted(epochs=1, grouping="quick")
    seeds = np.random.SeedSequence([0, 7]).generate_state(3)
    found = tokenizer._groups(tokenizer._module, 7)
    for groups, book, seed in zip(found, tokenizer.codebooks(), seeds, strict=True):
        assert np.array_equal(groups, quick_groups(book, 4, int(seed)))


# Repetition


def test_the_same_seed_gives_the_same_identifiers_and_weights():
    one, same, other = (fitted(seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(one.identifiers().codes, same.identifiers().codes)
    assert np.array_equal(weights(one), weights(same))
    assert not np.array_equal(one.identifiers().codes, other.identifiers().codes)


class Interrupted(Exception):
    pass


def test_an_interrupted_fit_resumes_to_the_same_end(tmp_path, monkeypatch, capsys):
    whole, checkpoint = fitted(seed=2), tmp_path / "tokenizer.safetensors"
    real_train, real_groups = train.train, LetterTokenizer._groups

    def stop_at_four(self, module, epoch):
        if epoch == 4:
            raise Interrupted
        return real_groups(self, module, epoch)

    monkeypatch.setattr(letter, "train", lambda *a, **k: real_train(*a, **k, checkpoint_seconds=0))
    monkeypatch.setattr(LetterTokenizer, "_groups", stop_at_four)
    with pytest.raises(Interrupted):
        fitted(seed=2, checkpoint=checkpoint)
    monkeypatch.setattr(LetterTokenizer, "_groups", real_groups)
    resumed = fitted(seed=2, checkpoint=checkpoint)
    np.testing.assert_array_equal(weights(resumed), weights(whole))
    np.testing.assert_array_equal(resumed.identifiers().codes, whole.identifiers().codes)
    assert resumed.report.log.losses == whole.report.log.losses and capsys.readouterr().out == ""
    fitted(seed=2, checkpoint=checkpoint, beta=0.5)
    assert "another training" in capsys.readouterr().out
    turned = LetterTokenizer(None, 2, "cpu", checkpoint, **SMALL, beta=0.5)
    turned.fit(*(rows[::-1] for rows in vectors()))
    assert "another training" in capsys.readouterr().out


# A fitted tokenizer


def test_z_is_what_level_1_codes_and_z_hat_is_what_is_decoded():
    tokenizer, semantic = fitted(epochs=2), vectors()[0]
    z, books, codes = (
        tokenizer.latent(semantic),
        tokenizer.codebooks(),
        tokenizer.codes_before_repair(),
    )
    nearest = ((z[:, None] - books[0]) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, codes[:, 0])
    z_hat = sum(book[codes[:, level]] for level, book in enumerate(books))
    np.testing.assert_allclose(tokenizer.quantised(), z_hat, rtol=1e-5, atol=1e-6)
    error = ((tokenizer.decoded(tokenizer.quantised()) - standardize(semantic)) ** 2).mean()
    assert error == pytest.approx(tokenizer.report.reconstruction_error[-1], rel=1e-5)


def test_encoding_the_fitted_rows_gives_the_codes_of_the_fit():
    tokenizer, semantic = fitted(epochs=2), vectors()[0]
    codes, residuals = tokenizer.encode(semantic)
    assert np.array_equal(codes, tokenizer.codes_before_repair())
    z, books = tokenizer.latent(semantic), tokenizer.codebooks()
    left = z - books[0][codes[:, 0]] - books[1][codes[:, 1]]
    np.testing.assert_allclose(residuals, left, atol=1e-5)
    assert np.array_equal(tokenizer.encode(semantic[:1])[0], codes[:1]), "not scaled by itself"


def test_the_repair_is_of_the_last_level_with_its_own_codebook():
    tokenizer, semantic = fitted(epochs=2, n_codes=4, n_groups=2), vectors()[0]
    before = Identifiers(tokenizer.codes_before_repair(), (4, 4, 4))
    residuals, codebook = tokenizer.encode(semantic)[1], tokenizer.codebooks()[-1]
    repaired, _ = repair_collisions(before, residuals, codebook)
    assert tokenizer.report.collisions.moved > 0
    np.testing.assert_array_equal(repaired.codes, tokenizer.identifiers().codes)


def test_save_and_load_keep_everything(tmp_path):
    tokenizer, path = fitted(seed=np.int64(3), epochs=2), tmp_path / "tokenizer.safetensors"
    unused = Identifiers(tokenizer.identifiers().codes.clip(max=13), (16,) * 3)
    tokenizer._identifiers = unused  # codes that no item has are part of a vocabulary, too
    tokenizer.save(path)
    loaded = LetterTokenizer.load(path, "cpu")
    assert np.array_equal(loaded.identifiers().codes, unused.codes)
    assert loaded.identifiers().level_sizes == (16,) * 3
    assert np.array_equal(loaded.quantised(), tokenizer.quantised())
    assert np.array_equal(weights(loaded), weights(tokenizer))
    assert np.array_equal(loaded.latent(vectors()[0]), tokenizer.latent(vectors()[0]))
    assert (loaded.config, loaded.seed) == (tokenizer.config, 3)
    assert loaded.report == tokenizer.report


# Inputs


def huge(rows):
    rows = rows.copy()
    rows[17, 3] = 1e38
    return rows


def test_wrong_inputs_are_named():
    semantic, cf = vectors()
    tokenizer, broken = LetterTokenizer(device="cpu", **SMALL), semantic.copy()
    broken[17, 3] = np.nan
    for arguments, words in [
        ((broken, cf), "semantic embeddings: row 17 .* NaN"),
        ((huge(semantic), cf), "semantic embeddings: item 17 "),
        ((semantic, huge(cf)), "collaborative embeddings: item 17 "),
        ((semantic, cf[:-1]), "149 rows .* 150 items"),
        ((semantic, cf[:, :16]), "rows of 16 numbers.* row of 32"),
        ((semantic, None), "alpha > 0 needs collaborative"),
        ((np.full_like(semantic, 0.1), cf), "all rows are equal"),
        ((semantic, 0 * cf), "all numbers are 0"),
        ((semantic[:10], cf[:10]), "10 items cannot start a codebook of 16"),
    ]:
        with pytest.raises(LetterError, match=words):
            tokenizer.fit(*arguments)
    with pytest.raises(LetterError, match="rows of 5 .* rows of 20"):
        fitted(epochs=1).encode(semantic[:, :5])


def test_scaling_of_the_inputs():
    semantic, cf = vectors()
    scaled = standardize(semantic * 0.01 + 5)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    assert scaled.std() == pytest.approx(1, abs=1e-5) and scaled.dtype == np.float32
    # One scale for all columns: their proportions stay.
    factor = 1 / (semantic - semantic.mean(axis=0)).std()
    np.testing.assert_allclose(scaled.std(axis=0), semantic.std(axis=0) * factor, rtol=1e-3)
    fitted_scale = Standardization.of(semantic)
    np.testing.assert_allclose(
        fitted_scale(semantic + 4), standardize(semantic) + 4 * factor, rtol=1e-4, atol=1e-5
    )
    unit = to_unit_mean_norm(cf * 7)
    assert np.linalg.norm(unit, axis=1).mean() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(unit[0] / unit[1], cf[0] / cf[1], rtol=1e-4)


# Items that the tokenizer has not seen


@pytest.fixture(scope="module")
def seen_in_part():
    """(tokenizer fitted on 50 of 60 items, their vectors, the unseen ids)."""
    semantic = np.random.default_rng(0).normal(loc=3.0, size=(60, 8)).astype(np.float32)
    unseen, sizes = np.arange(0, 60, 6), dict(n_levels=3, n_codes=8, hidden=(16,))
    tokenizer = LetterTokenizer(device="cpu", alpha=0, beta=0, epochs=3, batch_size=16, **sizes)
    return tokenizer.fit(np.delete(semantic, unseen, axis=0)), semantic, unseen


def test_seen_items_keep_their_identifiers_and_unseen_ones_get_their_nearest_free(seen_in_part):
    tokenizer, semantic, unseen = seen_in_part
    identifiers = identifiers_with_unseen(tokenizer, semantic, unseen)
    known = tokenizer.identifiers().codes
    assert np.array_equal(np.delete(identifiers.codes, unseen, axis=0), known)
    own, residuals = tokenizer.encode(semantic[unseen])
    assert np.array_equal(identifiers.codes[unseen, :-1], own[:, :-1])
    taken = set(map(tuple, known.tolist()))
    for item, row, residual in zip(unseen, own.tolist(), residuals, strict=True):
        distances = np.square(residual - tokenizer.codebooks()[-1]).sum(axis=1)
        free = [code for code in range(8) if (*row[:-1], code) not in taken]
        assert identifiers.codes[item, -1] == min(free, key=lambda code: distances[code])
        taken.add(tuple(identifiers.codes[item].tolist()))
