"""Every model that is trained tells a checkpoint of its own data from one of others', of the same
size.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from made_data import made
from transformers import T5Config, T5ForConditionalGeneration

import letterlib.train as training
from letterlib.baselines.caser import Caser, CaserConfig
from letterlib.baselines.lightgcn import LightGCN, LightGCNConfig
from letterlib.baselines.mf import MatrixFactorization, MatrixFactorizationConfig
from letterlib.baselines.sasrec import SASRec, SASRecConfig
from letterlib.data.dataset import Dataset
from letterlib.generators.bigrec import BIGRec, BIGRecConfig
from letterlib.generators.language_model import TINY
from letterlib.generators.lcrec import LCRec, LCRecConfig
from letterlib.generators.p5 import tiger_from_t5
from letterlib.generators.tiger import Tiger, TigerConfig
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.letter import LetterTokenizer, TokenizerConfig

N_ITEMS = 30


class Started(Exception):
    """Training would begin here."""


@pytest.fixture
def settings_of(monkeypatch):
    """A function that begins a training and returns what its checkpoint would be known by."""
    seen = []

    class Noting(training.Run):
        def resume(self):
            seen.append(self.settings)
            raise Started

    monkeypatch.setattr(training, "Run", Noting)

    def begin(fit) -> str:
        with pytest.raises(Started):
            fit()
        return seen.pop()

    return begin


def dataset(seed: int, words: str = "thing") -> Dataset:
    random = np.random.default_rng(seed)
    titles = [f"{words} number {i}" for i in range(N_ITEMS)]
    plain = made([random.permutation(N_ITEMS)[:8].tolist() for _ in range(40)], N_ITEMS)
    return replace(plain, items=pd.DataFrame({"title": titles, "text": titles}))


def identifiers(seed: int) -> Identifiers:
    return Identifiers(np.random.default_rng(seed).integers(0, 8, (N_ITEMS, 3)), (8, 8, 8))


MODELS = {
    "MF": lambda: MatrixFactorization(MatrixFactorizationConfig(epochs=1), device="cpu"),
    "Caser": lambda: Caser(CaserConfig(epochs=1), device="cpu"),
    "SASRec": lambda: SASRec(SASRecConfig(epochs=1), device="cpu"),
    "LightGCN": lambda: LightGCN(LightGCNConfig(epochs=1), device="cpu"),
    "TIGER": lambda: Tiger(identifiers(0), TigerConfig(epochs=1), device="cpu"),
    "LC-Rec": lambda: LCRec(
        identifiers(0), None, LCRecConfig(language_model=TINY, epochs=1), device="cpu"
    ),
    "BIGRec": lambda: BIGRec(BIGRecConfig(language_model=TINY, epochs=1), device="cpu"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_recommender_knows_the_data_of_its_checkpoint(name, settings_of):
    first, again, other = (
        settings_of(lambda d=d: MODELS[name]().fit(dataset(d).split())) for d in (0, 0, 1)
    )
    assert first == again != other
    held_out = settings_of(lambda: MODELS[name]().fit(dataset(0).split(held_out=2)))
    assert first != held_out


def test_a_generator_knows_the_identifiers_of_its_checkpoint(settings_of):
    split, tiger = dataset(0).split(), TigerConfig(epochs=1)
    lcrec = LCRecConfig(language_model=TINY, epochs=1)
    for make in (
        lambda s: Tiger(identifiers(s), tiger),
        lambda s: LCRec(identifiers(s), None, lcrec),
    ):
        first, other = (settings_of(lambda s=s, make=make: make(s).fit(split)) for s in (0, 1))
        assert first != other


def test_a_generator_knows_what_it_began_from(settings_of, tmp_path):
    split = dataset(0).split()
    sizes = {
        "vocab_size": 30,
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 1,
        "num_heads": 2,
        "decoder_start_token_id": 0,
    }
    for seed in range(2):
        torch.manual_seed(seed)
        T5ForConditionalGeneration(T5Config(**sizes)).save_pretrained(tmp_path / str(seed))

    def p5(t5: int) -> Tiger:
        return tiger_from_t5(
            str(tmp_path / str(t5)), identifiers(0), TigerConfig(epochs=1), np.int64(0), "cpu"
        )

    def lcrec(titles: list[str] | None) -> LCRec:
        return LCRec(
            identifiers(0),
            titles,
            LCRecConfig(language_model=TINY, epochs=1),
            np.int64(0),
            device="cpu",
        )

    titles = dataset(0).titles()
    for make, given in ((p5, (0, 0, 1)), (lcrec, (titles, titles, None))):
        first, again, other = (
            settings_of(lambda one=one, make=make: make(one).fit(split)) for one in given
        )
        assert first == again != other


def test_a_tokenizer_knows_the_vectors_of_its_checkpoint(settings_of):
    random = np.random.default_rng(0)
    semantic, other = (random.normal(size=(N_ITEMS, 20)).astype(np.float32) for _ in range(2))
    cf, other_cf = (random.normal(size=(N_ITEMS, 32)).astype(np.float32) for _ in range(2))
    config = TokenizerConfig(hidden=(24,), n_codes=8, n_levels=2, n_groups=2, epochs=1)

    def of(*vectors: np.ndarray) -> str:
        return settings_of(lambda: LetterTokenizer(config, 0, "cpu").fit(*vectors))

    assert of(semantic, cf) == of(semantic, cf)
    assert len({of(semantic, cf), of(other, cf), of(semantic, other_cf)}) == 3
