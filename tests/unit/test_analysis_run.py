"""What each regularizer is said to do: the sentences under the table and in the report."""

from types import SimpleNamespace

import numpy as np

from letterlib.experiments.analysis_run import effects


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
    assert "neighbour by +0.5000" in collaborative and "neighbour by -0.5000" in collaborative_beside
