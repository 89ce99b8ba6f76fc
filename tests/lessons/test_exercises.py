"""Every exercise that is data: its reference and other right answers pass, and each of its mistakes
gets its own hint.
"""

import importlib
import pkgutil

import pytest

from letterlib.course import exercises
from letterlib.course.checks import check, require

SEEDS = range(3)
EXERCISES = {
    name: exercise
    for module in pkgutil.iter_modules(exercises.__path__)
    for name, exercise in importlib.import_module(
        f"{exercises.__name__}.{module.name}"
    ).EXERCISES.items()
}
MISTAKES = [
    pytest.param(name, mistake, hint, id=f"{name} {hint[:50]}")
    for name, exercise in EXERCISES.items()
    for mistake, hint in [*exercise.mistakes, *((example, h) for _, h, example in exercise.clues)]
]


@pytest.mark.parametrize("name", EXERCISES)
def test_right_answers_pass(name):
    exercise = EXERCISES[name]
    for answer in (exercise.reference, *exercise.right):
        for seed in SEEDS:
            result = check(name, answer, seed)
            assert result.outcome == "correct", result
        require(name, answer)


@pytest.mark.parametrize("name, mistake, hint", MISTAKES)
def test_a_mistake_gets_its_own_hint(name, mistake, hint):
    for seed in SEEDS:
        result = check(name, mistake, seed)
        assert result.outcome == "incorrect" and hint in repr(result), result
    with pytest.raises(AssertionError, match="incorrect"):
        require(name, mistake)


@pytest.mark.parametrize("name", [name for name in EXERCISES if EXERCISES[name].library])
def test_the_library_is_no_answer(name):
    library = EXERCISES[name].library
    namespace = {library.__name__: library}
    calling = eval(f"lambda *arguments: {library.__name__}(*arguments)", namespace)
    module = {"module": importlib.import_module(library.__module__)}
    of_module = eval(f"lambda *arguments: module.{library.__name__}(*arguments)", module)
    for answer in (library, calling, of_module):
        assert "is the library's" in repr(check(name, answer, 0))
        with pytest.raises(AssertionError, match="not attempted"):
            require(name, answer)
