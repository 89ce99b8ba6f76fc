"""Every exercise that is data: its reference and other right answers pass, and each of its mistakes
gets its own hint.
"""

import importlib
import pkgutil

import pytest
import torch

from letterlib.course import exercises
from letterlib.course.checks import check, require
from letterlib.course.exercises import lesson_05

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


def test_programs_without_a_detach_differ_where_lesson_05_says():
    """Their losses are equal; only lengths of gradients tell them apart."""
    case = lesson_05.joint_cases(torch.Generator().manual_seed(0))[-1]
    s, h, groups = case["s"], case["h"], case["groups"]
    encoder, decoder = torch.nn.Linear(6, 4), torch.nn.Linear(4, 6)
    model = torch.nn.Module()
    model.encoder, model.decoder = encoder, decoder
    model.codebooks = torch.nn.ParameterList(case["codebooks"])
    places = [[encoder.weight], [model.codebooks[0]]]
    values, tables = {}, {}
    for name, losses_of in lesson_05.SUSPECTS.items():
        found = losses_of(model, s, h, groups, 0.25)
        values[name] = torch.stack(list(found.values())).detach()
        tables[name] = dict(zip(found, lesson_05.pulls(list(found.values()), places), strict=True))
    for name in ("Ann", "Bob", "Cem"):
        torch.testing.assert_close(values[name], values["right"])
    right = tables["right"]
    ratio = tables["Ann"]["L_RQ-VAE"][0] / right["L_RQ-VAE"][0]
    assert ratio == pytest.approx(5, rel=1e-4)
    last = "L_RQ-VAE, last level"
    assert right[last][1] == 0 and tables["Bob"][last][1] > 0
    assert tables["Cem"]["L_Recon"][0] < 1e-5 < right["L_Recon"][0]
    assert right["L_Recon"][1] == 0 and tables["Cem"]["L_Recon"][1] > 0
