"""Groups of padded examples: nothing lost, little padding, and targets in the order of the logits."""

import numpy as np

from letterlib.generators.alignment import TASKS, Example
from letterlib.generators.response_groups import response_groups

END = 2


def drawn(n: int) -> list[Example]:
    generator = np.random.default_rng(0)
    examples = []
    for _ in range(n):
        length, task = int(generator.integers(3, 60)), int(generator.integers(len(TASKS)))
        read = int(generator.integers(1, length))
        examples.append(Example(generator.integers(2, 9, length), np.arange(length) >= read, task))
    return examples


def test_every_token_is_there_once_and_less_than_half_is_padding():
    examples = drawn(20)
    groups, targets, tasks = response_groups(examples, END)
    rows = [
        row[mask].tolist()
        for tokens, real, _ in groups
        for row, mask in zip(tokens, real, strict=True)
    ]
    assert sorted(rows) == sorted(one.tokens.tolist() for one in examples)
    assert all(real.float().mean(1).min() > 0.5 for _, real, _ in groups)
    assert len(targets) == len(tasks) == sum(int(one.response.sum()) for one in examples)
    assert not any((response & ~real).any() for _, real, response in groups)


def test_targets_and_tasks_stand_group_after_group_and_row_after_row():
    short = Example(np.array([7, 5, END]), np.array([False, True, True]), 3)
    longest = Example(np.arange(10, 20), np.arange(10) >= 8, 1)
    middle = Example(np.arange(20, 26), np.arange(6) >= 5, 4)
    groups, targets, tasks = response_groups([short, middle, longest], END)
    assert [tuple(tokens.shape) for tokens, _, _ in groups] == [(2, 10), (1, 3)]
    assert targets.tolist() == [18, 19, 25, 5, END]
    assert tasks.tolist() == [1, 1, 4, 3, 3]


def test_an_end_token_inside_a_response_is_real():
    one = Example(np.array([5, END, 7, END]), np.array([False, False, True, True]), 0)
    other = Example(np.array([5, 6, END]), np.arange(3) > 1, 1)
    (tokens, real, response), *more = response_groups([one, other], END)[0]
    assert not more
    assert tokens.tolist() == [[5, END, 7, END], [5, 6, END, END]]
    assert real.tolist() == [[True] * 4, [True, True, True, False]]
    assert response.tolist() == [[False, False, True, True], [False, False, True, False]]


def test_a_row_that_would_be_half_padding_stands_in_a_group_of_its_own():
    examples = [Example(np.full(length, 5), np.arange(length) > 0) for length in (8, 4, 5)]
    groups, _, _ = response_groups(examples, END)
    assert [tuple(tokens.shape) for tokens, _, _ in groups] == [(2, 8), (1, 4)]
