"""The tokenizer as a whole, on a small random catalogue."""

import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from letterlib import train
from letterlib.errors import LetterError
from letterlib.hardware import fast_float32
from letterlib.tokenizer import letter
from letterlib.tokenizer.collisions import repair_collisions
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.item_vectors import standardize, to_unit_mean_norm
from letterlib.tokenizer.letter import LetterTokenizer, TokenizerConfig

SMALL = dict(
    hidden=(24,), n_codes=16, n_levels=3, n_groups=4, epochs=6, batch_size=64, dtype="float32"
)


def vectors(n_items: int = 150) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(12, 20))
    semantic = centres[rng.integers(0, 12, n_items)] + 0.3 * rng.normal(size=(n_items, 20))
    return semantic.astype(np.float32), rng.normal(size=(n_items, 32)).astype(np.float32)


def fitted(
    seed: int = 0, collaborative: bool = True, checkpoint=None, **options
) -> LetterTokenizer:
    semantic, cf = vectors()
    config = TokenizerConfig(**{**SMALL, **options})
    return LetterTokenizer(config, seed, "cpu", checkpoint).fit(
        semantic, cf if collaborative else None
    )


def weights(tokenizer: LetterTokenizer) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in tokenizer._module.parameters()])


def test_a_fit_reports_what_happened():
    tokenizer = fitted()
    identifiers, report = tokenizer.identifiers(), tokenizer.report
    assert identifiers.codes.shape == (150, 3) and identifiers.level_sizes == (16, 16, 16)
    assert len(report.log.losses) == 6
    assert set(report.log.losses[0]) == {
        "loss",
        "reconstruction",
        "rq",
        "collaborative",
        "diversity",
    }
    last = report.log.losses[-1]
    total = (
        last["reconstruction"]
        + last["rq"]
        + 0.02 * last["collaborative"]
        + 1e-4 * last["diversity"]
    )
    assert last["loss"] == pytest.approx(total, rel=1e-4)
    assert last["reconstruction"] < report.log.losses[0]["reconstruction"]
    assert report.dead_codes == identifiers.dead_codes
    assert (
        report.collisions.colliding_after
        == identifiers.n_colliding
        <= report.collisions.colliding_before
    )
    assert report.reconstruction_error[2] < report.reconstruction_error[0]
    assert all(epoch >= 3 for epoch, _ in report.log.validations)


def test_a_second_fit_that_is_interrupted_leaves_the_first_one_whole(monkeypatch):
    tokenizer = fitted(epochs=2)
    before, identifiers, quantised = (
        weights(tokenizer),
        tokenizer.identifiers(),
        tokenizer.quantised(),
    )
    semantic, cf = vectors()
    for step in ("repair_collisions", "_reconstruction_error"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(letter, step, Mock(side_effect=KeyboardInterrupt))
            tokenizer.fit(-semantic, cf)
        assert np.array_equal(weights(tokenizer), before) and tokenizer.identifiers() is identifiers
        assert np.array_equal(tokenizer.quantised(), quantised)


def test_z_hat_is_the_sum_of_the_code_vectors_that_the_model_chose():
    tokenizer = fitted(epochs=2)
    books, codes = tokenizer.codebooks(), tokenizer._codes
    expected = sum(book[codes[:, level]] for level, book in enumerate(books))
    np.testing.assert_allclose(tokenizer.quantised(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(codes[:, :-1], tokenizer.identifiers().codes[:, :-1])


def test_what_is_handed_out_may_be_changed_without_changing_the_tokenizer():
    tokenizer, (semantic, _) = fitted(epochs=2), vectors()
    codes, z = tokenizer.encode(semantic)[0], tokenizer.quantised()
    for one in (*tokenizer.codebooks(), tokenizer.codes_before_repair()):
        one[:] = 0
    assert np.array_equal(tokenizer.encode(semantic)[0], codes) and np.array_equal(
        tokenizer.quantised(), z
    )


def test_z_is_what_level_1_codes_and_z_hat_is_what_is_decoded():
    tokenizer, semantic = fitted(epochs=2), vectors()[0]
    z, books = tokenizer.latent(semantic), tokenizer.codebooks()
    assert z.shape == (150, 32) and z.dtype == np.float32
    nearest = ((z[:, None] - books[0]) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, tokenizer.codes_before_repair()[:, 0])
    error = ((tokenizer.decoded(tokenizer.quantised()) - standardize(semantic)) ** 2).mean()
    assert error == pytest.approx(tokenizer.report.reconstruction_error[-1], rel=1e-5)


def test_a_tokenizer_may_have_one_level():
    assert fitted(epochs=1, n_levels=1).identifiers().codes.shape == (150, 1)


@pytest.mark.parametrize(("learning_rate", "worse_than_the_mean"), [(1e-3, True), (1e-2, False)])
def test_the_best_epoch_has_the_most_identifiers_and_then_the_better_reconstruction(
    learning_rate, worse_than_the_mean
):
    tokenizer = fitted(learning_rate=learning_rate)
    distinct, error = (
        len(np.unique(tokenizer._codes, axis=0)),
        tokenizer.report.reconstruction_error[-1],
    )
    assert (error > 1) == worse_than_the_mean
    assert tokenizer.report.log.best_score == pytest.approx((distinct - min(error, 1)) / 150)


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from test_tokenization_letter import fitted, weights
from letterlib.store import digest
one = fitted(seed=5)
print(digest(one.identifiers().codes, weights(one)))
"""


def test_the_same_seed_gives_the_same_identifiers_and_weights_in_separate_processes():
    command = [sys.executable, "-c", SCRIPT.format(folder=str(Path(__file__).parent))]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (one.communicate()[0].strip() for one in processes)
    assert first == second and len(first) == 16
    assert not np.array_equal(
        fitted(seed=5).identifiers().codes, fitted(seed=6).identifiers().codes
    )


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
    """An RQ-VAE without any of LETTER: its own loop, the two losses written out, best epoch by
    hand.
    """
    torch.manual_seed(0)
    module = letter.RQVAE(20, (24,), 32, 3, 16)
    x = torch.from_numpy(standardize(vectors()[0]))
    module.initialise_codebooks(x, 0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=1e-4)
    best, best_weights = -1.0, None
    with (
        fast_float32()
    ):  # as `train` has it: elsewhere another library would multiply, and round otherwise
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
                error = float(
                    ((module.decoder(module.vectors_of(codes, 3)) - x) ** 2).mean().detach()
                )
                score = len(codes.unique(dim=0)) - error
                if score > best:
                    best, best_weights = (
                        score,
                        [p.detach().numpy().ravel().copy() for p in module.parameters()],
                    )
    return np.concatenate(best_weights)


def test_it_needs_no_gpu_s_random_numbers(monkeypatch):
    """To fork the generators of all GPUs would start every one of them, and torch warns of it."""
    forked, fork = [], torch.random.fork_rng
    monkeypatch.setattr(
        torch.random, "fork_rng", lambda **given: forked.append(given) or fork(**given)
    )
    fitted(epochs=1)
    assert len(forked) == 2, "to begin with first weights, and in training"
    for given in forked:
        assert len(given["devices"]) <= torch.cuda.is_initialized(), (
            "none, or the one that is at work already"
        )


class Interrupted(Exception):
    pass


def test_an_interrupted_fit_goes_on_to_the_same_end(tmp_path, monkeypatch, capsys):
    whole = fitted(seed=2)
    checkpoint = tmp_path / "tokenizer.safetensors"
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


def test_save_and_load_keep_everything(tmp_path):
    one = fitted()
    one.save(tmp_path / "tokenizer.safetensors")
    again = LetterTokenizer.load(tmp_path / "tokenizer.safetensors", "cpu")
    np.testing.assert_array_equal(again.identifiers().codes, one.identifiers().codes)
    np.testing.assert_array_equal(again.quantised(), one.quantised())
    assert all(
        np.array_equal(a, b) for a, b in zip(again.codebooks(), one.codebooks(), strict=True)
    )
    assert (again.config, again.seed) == (one.config, one.seed)
    assert again.report == one.report


def test_a_file_that_is_no_tokenizer_is_said(tmp_path):
    for content in (None, b"not safetensors at all"):
        path = tmp_path / "broken.safetensors"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(LetterError, match="broken.safetensors: (no such file|not a readable)"):
            LetterTokenizer.load(path)


def test_wrong_inputs_give_one_clear_line():
    semantic, cf = vectors()
    tokenizer = LetterTokenizer(TokenizerConfig(**SMALL), 0, "cpu")
    broken = semantic.copy()
    broken[17, 3] = np.nan
    for arguments, words in [
        ((broken, cf), "semantic embeddings: row 17 .* NaN"),
        (
            (semantic, np.where(np.arange(150)[:, None] == 3, np.inf, cf)),
            "collaborative embeddings: row 3",
        ),
        ((semantic, cf[:-1]), "149 rows of collaborative embeddings, but 150"),
        ((semantic, cf[:, :16]), "16 dimensions, but the codes have 32"),
        ((semantic, None), "alpha > 0 needs collaborative"),
        ((semantic[:10], cf[:10]), "10 items cannot start a codebook of 16"),
        ((np.ones_like(semantic), cf), "all rows are equal"),
        ((semantic, np.zeros_like(cf)), "all rows are zero"),
        ((semantic[0], cf), "expected numbers"),
    ]:
        with pytest.raises(LetterError, match=words) as error:
            tokenizer.fit(*arguments)
        assert "\n" not in str(error.value)


def test_scaling_of_the_inputs():
    semantic, cf = vectors()
    scaled = standardize(semantic * 0.01 + 5)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    assert scaled.std() == pytest.approx(1, abs=1e-5) and scaled.dtype == np.float32
    np.testing.assert_allclose(standardize(semantic * 1e-6), standardize(semantic), atol=1e-4)
    # One scale for all columns: their proportions stay.
    factor = 1 / (semantic - semantic.mean(axis=0)).std()
    np.testing.assert_allclose(scaled.std(axis=0), semantic.std(axis=0) * factor, rtol=1e-3)
    unit = to_unit_mean_norm(cf * 7)
    assert np.linalg.norm(unit, axis=1).mean() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(unit[0] / unit[1], cf[0] / cf[1], rtol=1e-4)


def test_the_repair_is_of_the_last_level_with_its_own_codebook():
    tokenizer, semantic = fitted(epochs=2, n_codes=4, n_groups=2), vectors()[0]
    before = Identifiers(tokenizer.codes_before_repair(), (4, 4, 4))
    repaired, _ = repair_collisions(
        before, tokenizer.encode(semantic)[1], tokenizer.codebooks()[-1]
    )
    assert tokenizer.report.collisions.moved > 0
    np.testing.assert_array_equal(repaired.codes, tokenizer.identifiers().codes)


@pytest.mark.parametrize("option", [{"mu": 0.0}, {"weight_decay": 0.5}])
def test_every_option_reaches_training(option):
    assert not np.array_equal(weights(fitted()), weights(fitted(**option)))


def test_positives_are_drawn_anew_every_epoch(monkeypatch):
    drawn = []
    sample = letter.losses.sample_positives

    def noting(*given):
        drawn.append(given[2])
        return sample(*given)

    monkeypatch.setattr(letter.losses, "sample_positives", noting)
    fitted(epochs=2)
    a_step = len(drawn) // 2
    assert len(drawn) >= 2 and not torch.equal(drawn[0], drawn[a_step])
    fitted(epochs=1, seed=1)
    assert not torch.equal(drawn[0], drawn[2 * a_step])


def test_codes_are_grouped_by_another_seed_at_every_level_and_epoch_and_in_every_fit(monkeypatch):
    seeds, group = [], letter.constrained_kmeans_groups
    monkeypatch.setattr(
        letter, "constrained_kmeans_groups", lambda *given: seeds.append(given[2]) or group(*given)
    )
    fitted(epochs=2), fitted(epochs=2, seed=1)
    assert len(seeds) == len(set(seeds)) == 12


@pytest.mark.parametrize("option", [{"straight_through": "per-level"}, {"dtype": "bfloat16"}])
def test_how_gradients_pass_and_in_which_dtype_reaches_training(option):
    assert not np.array_equal(weights(fitted(epochs=1)), weights(fitted(epochs=1, **option)))


@pytest.mark.parametrize(("epochs", "expected"), [(6, (1, 3)), (79, (1, 39)), (200, (5, 100))])
def test_it_looks_at_its_collisions_twenty_times_in_the_second_half_however_long_it_trains(
    epochs, expected, monkeypatch
):
    seen = {}
    monkeypatch.setattr(
        letter, "train", lambda *given, **options: seen.update(options) or train.TrainingLog()
    )
    fitted(epochs=epochs)
    assert (seen["validate_every"], seen["validate_from"]) == expected


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


def test_a_loaded_tokenizer_has_codes_that_no_item_has_as_well(tmp_path):
    """A vocabulary is made of them."""
    one = fitted(epochs=1)
    one._identifiers = Identifiers(one.identifiers().codes.clip(max=13), (16,) * 3)
    one.save(tmp_path / "tokenizer.safetensors")
    assert (
        LetterTokenizer.load(tmp_path / "tokenizer.safetensors", "cpu").identifiers().level_sizes
        == (16,) * 3
    )


def test_equal_rows_are_refused_whatever_rounding_makes_of_their_mean():
    rows = np.tile([0.1, 0.5], (3, 1))
    assert (rows - rows.mean(axis=0)).std() > 0
    with pytest.raises(LetterError, match="all rows are equal"):
        standardize(rows)


def test_a_seed_may_be_a_number_of_numpy(tmp_path):
    """As of `for seed in np.arange(3)`; JSON knows no such numbers, and the trained model could not
    be saved.
    """
    fitted(seed=np.int64(3), epochs=1).save(tmp_path / "tokenizer.safetensors")
    assert LetterTokenizer.load(tmp_path / "tokenizer.safetensors", "cpu").seed == 3
