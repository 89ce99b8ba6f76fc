"""A model that has not been trained says what to do, whatever it is asked."""

import numpy as np
import pytest

from letterlib.baselines.lightgcn import LightGCN, LightGCNConfig
from letterlib.baselines.markov import MarkovFloor
from letterlib.baselines.mf import MatrixFactorization, MatrixFactorizationConfig
from letterlib.baselines.popularity import Popularity
from letterlib.baselines.random_order import RandomOrder
from letterlib.baselines.sasrec import SASRec, SASRecConfig
from letterlib.data.dataset import Cases
from letterlib.errors import LetterError
from letterlib.evaluation.learned import Learned
from letterlib.generators.bigrec import BIGRec, BIGRecConfig
from letterlib.tokenizer.letter import LetterTokenizer, TokenizerConfig

MODELS = {
    "random": RandomOrder,
    "popularity": Popularity,
    "markov": MarkovFloor,
    "mf": lambda: MatrixFactorization(MatrixFactorizationConfig(), 0, "cpu"),
    "sasrec": lambda: SASRec(SASRecConfig(), 0, "cpu"),
    "lightgcn": lambda: LightGCN(LightGCNConfig(), 0, "cpu"),
    "bigrec": lambda: BIGRec(BIGRecConfig(language_model="tiny"), 0, "cpu"),
    "tokenizer": lambda: LetterTokenizer(TokenizerConfig(), 0, "cpu"),
}
NUMBERS = np.zeros((2, 32), dtype=np.float32)
QUESTIONS = {
    "recommend": lambda model, path: model.recommend(Cases.from_histories([[1]], [0]), 5),
    "save": lambda model, path: model.save(path),
    "n_parameters": lambda model, path: model.n_parameters,
    "item_vectors": lambda model, path: model.item_vectors(),
    "identifiers": lambda model, path: model.identifiers(),
    "quantised": lambda model, path: model.quantised(),
    "encode": lambda model, path: model.encode(NUMBERS),
    "codebooks": lambda model, path: model.codebooks(),
    "report": lambda model, path: model.report,
}


@pytest.mark.parametrize("name", MODELS)
def test_before_fit_every_answer_is_what_to_do(name, tmp_path):
    model, path = MODELS[name](), tmp_path / "model.safetensors"
    asked = [ask for question, ask in QUESTIONS.items() if hasattr(type(model), question)]
    assert asked
    for ask in asked:
        load = ", or load a saved model" if hasattr(model, "load") else ""
        message = f"^{type(model).__name__}: it has learnt nothing yet; call fit first{load}$"
        with pytest.raises(LetterError, match=message):
            ask(model, path)
    assert not path.exists()


def test_what_is_learnt_is_an_attribute_like_any_other():
    class Model:
        answer = Learned()

    model = Model()
    assert not hasattr(model, "answer") and getattr(model, "answer", None) is None
    model.answer = 42
    assert model.answer == 42 and vars(model) == {"answer": 42}
    assert isinstance(Model.answer, Learned)
