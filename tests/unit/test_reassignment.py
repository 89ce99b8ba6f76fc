"""Items with other first codes than their nearest."""

import numpy as np
import pytest
import torch

from letterlib.analysis.reassignment import with_first_codes
from letterlib.errors import LetterError
from letterlib.tokenizer.letter import LetterTokenizer, TokenizerConfig
from letterlib.tokenizer.rqvae import nearest_codes

SEMANTIC = np.random.default_rng(0).normal(size=(120, 20)).astype(np.float32)


def fitted(n_levels: int) -> LetterTokenizer:
    config = TokenizerConfig(
        alpha=0,
        beta=0,
        hidden=(24,),
        n_codes=8,
        n_levels=n_levels,
        n_groups=2,
        epochs=4,
        batch_size=64,
        dtype="float32",
    )
    return LetterTokenizer(config, 0, "cpu").fit(SEMANTIC)


@pytest.mark.parametrize("n_levels", [1, 3])
def test_the_nearest_first_codes_give_back_the_tokenizers_own_codes_and_error(n_levels):
    tokenizer = fitted(n_levels)
    z = torch.from_numpy(tokenizer.latent(SEMANTIC))
    first = nearest_codes(z, torch.from_numpy(tokenizer.codebooks()[0])).numpy()
    same = with_first_codes(tokenizer, SEMANTIC, first)
    assert (same.codes == tokenizer.codes_before_repair()).all()
    assert same.error == pytest.approx(tokenizer.report.reconstruction_error[-1], rel=1e-5)


def test_other_first_codes_are_kept_and_lie_farther():
    tokenizer = fitted(3)
    own = tokenizer.codes_before_repair()[:, 0]
    near, far = (with_first_codes(tokenizer, SEMANTIC, first) for first in (own, (own + 1) % 8))
    assert (far.codes[:, 0] == (own + 1) % 8).all()
    assert far.distance > near.distance and far.error > near.error
    z, book = tokenizer.latent(SEMANTIC), tokenizer.codebooks()[0]
    assert near.distance == pytest.approx(((z - book[own]) ** 2).sum(axis=1).mean(), rel=1e-4)


def test_first_codes_that_do_not_fit_are_refused():
    tokenizer = fitted(1)
    for first in (np.zeros(3, dtype=np.int64), np.arange(120) % 9, np.arange(120) % 9 - 1):
        with pytest.raises(LetterError, match="need one code of 0-7 each"):
            with_first_codes(tokenizer, SEMANTIC, first)
