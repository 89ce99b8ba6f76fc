"""What the table and the report say of tokenizers and of training: sentences, rows and curves."""

from types import SimpleNamespace

import numpy as np

from letterlib.pipeline.tokenizer_analysis import bias_frame, effects


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
