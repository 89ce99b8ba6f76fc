"""The three implementations that lesson 08 times do the same work."""

import numpy as np
import pytest
import torch

from letterlib.course.masking_cost import (
    LEVEL_SIZES,
    PREFIX_FUNCTION,
    Step,
    measure,
)
from letterlib.decoding.trie import DictTrie, Trie


@pytest.mark.parametrize("n_items", [30, 2000])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_the_three_steps_find_the_same_children_with_the_same_scores(n_items, level):
    generator = np.random.default_rng(0)
    codes = generator.integers(0, 256, (n_items, 4))
    codes[: n_items // 2, :2] = codes[0, :2]  # some nodes with many children
    step = Step(DictTrie(codes, LEVEL_SIZES), Trie.build(codes, LEVEL_SIZES), level, generator)
    masked = step.by_function().flatten()
    found = [step.by_dictionary(), step.by_arrays(), masked[masked.isfinite()]]
    assert len(found[0]) == step.n_children
    for one in found[1:]:
        assert torch.allclose(one.sort()[0], found[0].sort()[0])


def test_a_measurement_has_every_implementation_and_a_time_for_each():
    cost = measure(500, seed=1, repeats=1)
    assert cost.n_items == 500 and cost.children > 0
    assert (
        len(cost.seconds) == 3
        and min(cost.seconds.values()) > 0
        and PREFIX_FUNCTION in cost.seconds
    )
    assert len(cost.build) == 2
