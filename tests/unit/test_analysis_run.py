"""What the table and the report say of tokenizers and of training: sentences, rows and curves."""

from types import SimpleNamespace

import numpy as np

from letterlib.analysis.code_usage import code_usage
from letterlib.pipeline import report
from letterlib.pipeline.tokenizer_analysis import bias_frame, effects, tokenizer_frame


def test_effects_are_with_the_loss_minus_without_it():
    n = 800
    even = (np.arange(n) % 64)[:, None]
    uneven = np.minimum(np.random.default_rng(0).geometric(0.1, n), 64)[:, None] - 1
    none, half = np.zeros(n), np.full(n, 0.5)
    one = SimpleNamespace(
        codes={"plain": uneven, "div": even, "cf": even, "letter": uneven},
        similarities={"plain": none, "cf": half, "div": half, "letter": none},
    )
    diversity, diversity_beside, collaborative, collaborative_beside = effects([one])
    assert "perplexity by +" in diversity and "perplexity by -" in diversity_beside
    assert (
        "neighbour by +0.5000" in collaborative and "neighbour by -0.5000" in collaborative_beside
    )


def test_effects_are_of_the_first_level_and_over_items():
    n = 800
    even, uneven = np.arange(n) % 64, np.minimum(np.random.default_rng(0).geometric(0.1, n), 64) - 1
    even_first, uneven_first = np.stack([even, uneven], axis=1), np.stack([uneven, even], axis=1)
    none, half = np.zeros(n), (np.arange(n) % 2).astype(float)
    one = SimpleNamespace(
        codes={"plain": uneven_first, "div": even_first, "cf": uneven_first, "letter": even_first},
        similarities={"plain": none, "cf": half, "div": half, "letter": half},
    )
    diversity, diversity_beside, collaborative, _ = effects([one])
    assert "perplexity by +" in diversity and "perplexity by +" in diversity_beside
    assert "+0.5000 [+0.46" in collaborative


def test_generation_bias_is_of_the_first_ten_places():
    """Ten of code 0, as the targets have; then ten of another code."""
    codes = np.arange(20)[:, None] % 4
    lists = np.array([[0, 4, 8, 12, 16] * 2 + [1] * 10])
    cases = SimpleNamespace(targets=np.zeros(10, dtype=int))
    one = SimpleNamespace(
        split=SimpleNamespace(cases=lambda part: cases),
        identifiers=lambda scheme: SimpleNamespace(codes=codes, level_sizes=(4,)),
        ranking=lambda system: SimpleNamespace(items=lists),
    )
    assert (bias_frame(one)["KL from the targets"] == "0.000").all()


def test_a_tokenizers_row_is_its_first_level_and_its_last_error():
    codes = np.stack([np.arange(8) % 2, np.arange(8)], axis=1)
    collisions = SimpleNamespace(colliding_before=3, colliding_after=1)
    tokenizer = SimpleNamespace(
        config=SimpleNamespace(alpha=0.1, beta=0.2),
        report=SimpleNamespace(reconstruction_error=[0.5, 0.25], collisions=collisions),
    )
    one = SimpleNamespace(
        tokenizers={"letter": tokenizer},
        usage={"letter": code_usage(codes, (8, 8))},
        signal={"letter": SimpleNamespace(mean=0.3)},
        ranking={"letter": 0.04},
    )
    row = tokenizer_frame(one).iloc[0]
    assert (row["level-1 codes in use"], row["perplexity"], row["largest share"]) == (
        "2",
        "2.0",
        "50.0%",
    )
    assert row["collaborative signal"] == "0.3000" and row["R@10 in SASRec's place"] == "0.0400"
    assert row["unexplained variance"] == "0.250" and row["sharing an identifier"] == "3 -> 1"


def test_the_curves_of_the_report_are_those_of_the_logs(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        report.plots, "training_curves", lambda curves, *given, **options: seen.update(curves)
    )
    monkeypatch.setattr(report, "picture", lambda axes, caption: None)
    log = SimpleNamespace(validations=[(1, 0.1), (2, 0.3)])
    report.training_section(SimpleNamespace(log=lambda name: log))
    assert list(seen.values()) == [log.validations] * 4
