"""Checks of every lesson: worked solutions pass, and how checks behave whatever the exercise.

The mistakes of an exercise are tested in `test_exercises.py`.
"""

import ast
import random
import re
import sys
from collections import OrderedDict

import nbformat
import numpy as np
import pytest
import torch
from grading import solutions

from letterlib.course import checks
from letterlib.course.build import REPOSITORY, lessons
from letterlib.course.checks import Result, check, find_exercise, module_of, require
from letterlib.course.comparing import Incorrect, compare
from letterlib.course.exercise import Exercise, _same_fault, _with_advice, examine
from letterlib.course.exercises import lesson_07, lesson_08
from letterlib.course.exercises.lesson_02 import residual_quantize
from letterlib.course.exercises.lesson_04 import draw
from letterlib.course.values import alike, close, copied, effect_on, same
from letterlib.errors import LetterError

SEEDS = range(2)
LESSONS = {path.name[:2]: path for path in lessons()}
EXERCISES = [
    (name, number) for number in LESSONS for name in module_of(f"lesson_{number}").EXERCISES
]


def worked_solution(name: str, number: str):
    """The function that the notebook's own check of this exercise is given."""
    notebook = nbformat.read(LESSONS[number], as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells)
    checked = re.findall(rf'(?:check|keep)\("{re.escape(name)}", (\w+)\)', text)
    assert len(checked) == 1, f"the notebook should check {name} once"
    names = imports(notebook)
    for taken, exercises in re.findall(r"^(\w[\w, ]*) = mine\((.+)\)$", text, re.MULTILINE):
        for own, exercise in zip(
            taken.split(", "), ast.literal_eval(f"[{exercises}]"), strict=True
        ):
            names[own] = find_exercise(exercise).stand_in
    kept = dict(re.findall(r'^(\w+) = keep\(".+", (\w+)\)$', text, re.MULTILINE))
    for cell in solutions(notebook).values():
        exec(cell, names)
        names |= {own: names[answer] for own, answer in kept.items() if answer in names}
        if checked[0] in names:
            return names[checked[0]]
    raise AssertionError(f"no cell defines {checked[0]}")


def imports(notebook) -> dict:
    """What the notebook imports, anywhere."""
    names = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and not cell.source.startswith("%"):
            tree = ast.parse(cell.source)
            found = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
            exec(compile(ast.Module(found, []), "imports", "exec"), names)
    return names


@pytest.mark.parametrize("exercise,number", EXERCISES)
def test_the_worked_solution_is_accepted(exercise, number):
    answer = worked_solution(exercise, number)
    for seed in SEEDS:
        result = check(exercise, answer, seed)
        assert result.outcome == "correct", result


@pytest.mark.parametrize(
    "expected,actual,words",
    [
        (np.array([1, 2]), [1, 2], "should be an array and is a list"),
        (np.array([1, 2]), torch.tensor([1, 2]), "should be an array and is a tensor"),
        (np.array([1, 2]), np.array([1, None]), "should be whole numbers and is object"),
        (np.array([1, 2]), np.array([1.0, 2.0]), "should be whole numbers and is fractions"),
        (np.array([1, 2]), np.array([[1, 2]]), "should have shape"),
        (np.array([1.0, 2.0]), np.array([1.0, 2.1]), "wrong values"),
        (0.5, np.array([0.5]), "should be a number"),
        (0.5, 0.6, "the wrong value"),
    ],
)
def test_arrays_and_numbers_are_compared_like_tensors(expected, actual, words):
    with pytest.raises(Incorrect, match=words):
        compare("it", actual, expected, {})


@pytest.mark.parametrize(
    "expected,actual,words",
    [
        ([1], (x for x in [1]), "should be a list and is a generator"),
        ([1, 2], [1], "should have 2 entries and has 1"),
        ([1], [1.0], "should hold whole numbers and holds fractions"),
        ([1, 2, 2], [2, 1, 2], "the right entries in another order"),
        ([[1, 2]], [[1, 3]], r"`it\[0\]\[1\]` has the wrong value"),
        ({"a": 1}, {"b": 1}, "should have the keys"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, r"`it\['a'\]\['b'\]` has the wrong value"),
        (OrderedDict(a=1, b=2), {"b": 2, "a": 1}, "the right keys in another order"),
        ([torch.ones(2)], [torch.zeros(2)], r"`it\[0\]` has the right shape"),
        ("a", "b", "has the wrong value"),
        (None, 0, "should be a NoneType and is a number"),
    ],
)
def test_lists_dictionaries_and_texts_are_compared_entry_by_entry(expected, actual, words):
    compare("it", expected, expected, {})
    with pytest.raises(Incorrect, match=words):
        compare("it", actual, expected, {})


def test_the_order_of_keys_counts_only_if_an_ordered_dictionary_is_expected():
    compare("it", {"b": 2, "a": 1}, {"a": 1, "b": 2}, {})
    compare("it", {"a": 1, "b": 2}, OrderedDict(a=1, b=2), {})


def test_unsigned_numbers_are_whole_numbers_too():
    compare("it", np.array([1, 2], dtype=np.uint8), np.array([1, 2]), {})


def test_an_array_read_backwards_is_compared_too():
    compare("it", np.array([2, 1])[::-1], np.array([1, 2]), {})
    with pytest.raises(Incorrect, match="wrong values"):
        compare("it", np.array([1, 2])[::-1], np.array([1, 2]), {})


@pytest.mark.parametrize("actual", [0.5, np.float32(0.5), torch.tensor(0.5), np.array(0.5)])
def test_a_number_may_come_in_several_forms(actual):
    compare("it", actual, 0.5, {})


def test_what_a_function_does_to_an_array_or_list_is_noticed():
    from letterlib.course.comparing import call

    def careless(array):
        array += 1
        return array

    with pytest.raises(Incorrect, match="changed `a` in place"):
        call(careless, {"a": np.zeros(2)})
    with pytest.raises(Incorrect, match="changed `a` in place"):
        call(lambda a: a.pop(), {"a": [1, 2]})


def test_fractions_may_be_wider_than_asked_for_and_not_narrower_and_whole_numbers_are_of_one_kind():
    compare("it", torch.ones(2).double(), torch.ones(2), {})
    for actual, expected in (
        (torch.ones(2).half(), torch.ones(2)),
        (torch.ones(2).int(), torch.ones(2).long()),
        (torch.ones(2).double(), torch.ones(2).long()),
    ):
        with pytest.raises(Incorrect, match="should be"):
            compare("it", actual, expected, {})


def test_an_answer_that_calls_another_stub_is_told_which():
    def my_recall(ranked, targets, k):
        raise NotImplementedError()

    def my_ndcg(ranked, targets, k):
        return my_recall(ranked, targets, k) / k

    result = check("0.4", my_ndcg)
    assert result.outcome == "not attempted" and result.lines[0].startswith(
        "`my_recall`, which is still"
    )
    assert "still to be written" not in check("0.2", my_recall).lines[0]


def test_a_right_answer_that_writes_to_stderr_gets_its_points(capsys):
    """nbgrader gives none to a cell that wrote there, as every warning does."""

    def with_a_line_to_stderr(z, e):
        print("a line of a progress bar", file=sys.stderr)
        return torch.cdist(z, e).argmin(1)

    require("2.1", with_a_line_to_stderr)
    assert check("2.1", with_a_line_to_stderr, 0).outcome == "correct"
    assert capsys.readouterr().err == ""


def test_an_incorrect_answer_is_shown_on_the_smallest_failing_input():
    result = check("2.1", lambda z, e: torch.cdist(z, e).argmax(1), 0)
    shown = next(line for line in result.lines if "z = " in line)
    assert shown.count(",") == 0, "one vector of one number fails already"


def stub(*arguments):
    raise NotImplementedError()


def test_what_is_no_fault_of_the_answer_is_not_attempted(monkeypatch):
    def fault(*arguments):
        raise RuntimeError("ours")

    unknown = check("2.99", stub)
    assert (unknown.exercise, unknown.outcome) == ("2.99", "not attempted")
    assert "2.1" in unknown.lines[0]
    monkeypatch.setattr("letterlib.course.checks._examine", fault)
    ours = check("2.1", stub)
    assert (ours.exercise, ours.outcome) == ("2.1", "not attempted")
    assert "RuntimeError('ours')" in ours.lines[0]


def test_a_seed_that_is_given_is_used_and_not_kept(monkeypatch):
    used = []
    monkeypatch.setattr("letterlib.course.checks._seeds", {})
    monkeypatch.setattr("letterlib.course.checks._examine", lambda *given: used.append(given[2]))
    result = check("2.1", stub, 5)
    assert (used, checks._seeds) == ([5], {})
    assert (result.exercise, result.outcome) == ("2.1", "correct")


@pytest.mark.parametrize("answer", [stub, None, ..., lambda *arguments: ...])
def test_a_stub_is_not_attempted(answer):
    assert check("2.1", answer).outcome == "not attempted"
    with pytest.raises(AssertionError, match="not attempted"):
        require("2.1", answer)


def test_an_answer_that_leaves_python_is_incorrect_and_the_check_stays():
    def leaves(z, codebook):
        sys.exit(0)

    assert "incorrect\n    Your function stopped with SystemExit: 0" in repr(
        check("2.1", leaves, 0)
    )
    with pytest.raises(AssertionError, match="2.1: incorrect"):
        require("2.1", leaves)


@pytest.mark.parametrize(
    "folder, outcome", [("notebooks", "not attempted"), ("solutions", "correct")]
)
def test_the_lessons_hold_what_their_checks_show_today(folder, outcome):
    """Who opens a lesson sees stored outputs until the first run; those of an earlier wording would
    stay for ever.
    """
    shown = {
        name: check(name, stub) if folder == "notebooks" else Result(name, "correct")
        for name, _ in EXERCISES
    }
    assert all(result.outcome == outcome for result in shown.values())
    stored = {}
    for path in LESSONS.values():
        for cell in nbformat.read(REPOSITORY / folder / path.name, as_version=4).cells:
            if checked := re.search(
                r'^(?:display\(check|\w+ = keep)\("(.+?)", ', cell.source, re.MULTILINE
            ):
                shown_first = [output for output in cell.outputs if "data" in output][:1]
                stored[checked[1]] = [dict(output.data) for output in shown_first]
    assert stored == {
        name: [{"text/html": result._repr_html_(), "text/plain": repr(result)}]
        for name, result in shown.items()
    }


def test_nbgraders_button_that_validates_does_not_call_an_unsolved_lesson_solved(monkeypatch):
    monkeypatch.setenv("NBGRADER_VALIDATING", "1")
    with pytest.raises(AssertionError, match="2.1: not attempted"):
        check("2.1", None)
    with pytest.raises(AssertionError, match="2.1: incorrect"):
        check("2.1", lambda *_: 0)
    assert check("2.1", lambda z, e: torch.cdist(z, e).argmin(1)).outcome == "correct"


def test_an_unknown_exercise_is_said_and_nothing_is_raised():
    for name in ("2.9", "zwei", "99.1", ""):
        assert "there is no exercise" in repr(check(name, stub))
        with pytest.raises(LetterError, match="there is no exercise"):
            require(name, stub)


def test_a_result_displays_in_jupyter_and_escapes_what_it_shows():
    def broken(z, codebook):
        raise ValueError("<b>not bold</b>")

    result = check("2.1", broken)
    assert "&lt;b&gt;not bold" in result._repr_html_() and "<b>not bold" not in result._repr_html_()
    assert "line" in repr(result) and 'raise ValueError("<b>not bold</b>")' in repr(result)


def test_inputs_stay_the_same_until_an_answer_passes():
    seen = []

    def spy(wrong):
        def answer(z, codebook):
            seen.append(tuple(z.flatten().tolist()))
            return torch.cdist(z, codebook).argmin(1) + wrong

        return answer

    for wrong in (1, 1, 0, 0):
        check("2.1", spy(wrong))
    runs = [seen[i : i + 5] for i in range(0, len(seen), 5)]
    assert runs[0] == runs[1] == runs[2] != runs[3]


def test_an_endless_loop_gets_a_verdict(monkeypatch):
    monkeypatch.setattr("letterlib.course.comparing.LIMIT", 1)

    calls = []

    def endless(z, codebook):
        calls.append(1)
        while True:
            try:
                torch.cdist(z, codebook)
            except Exception:
                pass

    assert "did not return within 1 seconds" in repr(check("2.1", endless, 0))
    assert len(calls) == 1, "a learner waits once"


def fails_elsewhere_on_many(z, codebooks):
    """On few items only the second result is wrong, on many the first one is found first; neither
    mistake is known.
    """
    codes, quantised = residual_quantize(z, codebooks)
    return codes + (1000 if len(codes) > 10 else 0), quantised + 0.17


@pytest.mark.parametrize(
    "exercise,answer,words",
    [
        ("2.2", fails_elsewhere_on_many, "Likely cause: none that we know"),
        (
            "7.5",
            lesson_07.in_both(lambda w, a, b, alpha: w + alpha * b @ a),
            "not divided by the rank",
        ),
        ("8.3", lesson_08.ranges_with(*[lesson_08.all_differ] * 2), "`.all`"),
    ],
)
def test_a_small_input_is_shown_unless_only_a_large_one_has_something_to_say(
    exercise, answer, words
):
    for seed in SEEDS:
        result = check(exercise, answer, seed)
        assert words in repr(result) and "of shape" not in repr(result), result


def test_a_cause_that_fits_the_smallest_input_by_coincidence_is_not_shown():
    """With one dimension and two codes a level many mistakes look alike; on the largest input this
    one is nobody's.
    """

    def from_the_last_level_on(z, codebooks):
        codes, quantised = residual_quantize(z, codebooks[::-1])
        return codes.flip(1), quantised

    for seed in SEEDS:
        result = check("2.2", from_the_last_level_on, seed)
        assert result.outcome == "incorrect" and "Likely cause: none that we know" in repr(
            result
        ), result


def test_results_are_alike_in_kind_keys_and_values():
    alike_pairs = [
        (torch.tensor(0.5), 0.5),
        (np.array(0.5), 0.5),
        (1, 1.0),
        (0.1 + 0.2, 0.3),
        ({"a": 1}, {"a": 1}),
    ]
    assert all(alike(found, right) for found, right in alike_pairs)
    other_pairs = [(torch.tensor([0.5]), 0.5), (torch.tensor(0.4), 0.5), ([0.5], 0.5), ([1], [1.0])]
    other_pairs += [({"a": 1}, {"a": 2}), ({"a": 1}, {"b": 1}), ({"a": 1, "b": 2}, {"a": 1})]
    other_pairs += [(np.array([1j]), np.array([1j]))]  # no exercise has complex numbers
    assert not any(alike(found, right) for found, right in other_pairs)


def test_values_of_a_case_are_the_same_through_lists_and_dictionaries():
    a = {"x": [torch.ones(2), np.ones(2)], "y": 1}
    assert same(a, {"x": [torch.ones(2), np.ones(2)], "y": 1})
    assert not same(a, {"x": [torch.ones(2), np.zeros(2)], "y": 1})
    assert not same(a, {"x": [torch.ones(2)], "y": 1}) and not same(a, {"z": 1})
    assert close([np.nan, 1], [np.nan, 1]) and not close([np.nan, 1], [1, 1])


def test_only_a_tensor_that_asks_for_a_gradient_is_handed_out_itself():
    asks, does_not = torch.ones(2, requires_grad=True), torch.ones(2)
    handed = copied([asks, does_not])
    assert handed[0] is asks and handed[1] is not does_not and torch.equal(handed[1], does_not)
    before = [torch.ones(2, requires_grad=True)]
    assert effect_on("x", before, before) is None
    before[0].grad = torch.ones(2)
    assert effect_on("x", before, before)
    assert effect_on("x", [asks], [asks.detach()]) and not effect_on("x", does_not, does_not)
    how = {type(a): effect_on("x", a, b)[1] for a, b in [([1], [2]), (np.ones(1), np.zeros(1))]}
    assert ".append" in how[list] and "x.copy()" in how[np.ndarray]


def test_a_clue_is_given_the_right_result_too():
    def too_long(found, right, case):
        return len(found) > len(right) == case["n"]

    exercise = Exercise(
        reference=lambda n: [1] * n,
        cases=lambda generator: [{"n": 1}, {"n": 2}],
        returns=["it"],
        clues=[(lambda *_: False, "another", None), (too_long, "too long", None)],
    )
    with pytest.raises(Incorrect) as problem:
        examine(exercise, lambda n: [1] * (n + 1), 0)
    assert problem.value.cause == "too long"


def test_an_answer_that_imports_the_library_s_function_is_no_answer():
    library = find_exercise("2.1").library
    lines = f"from {library.__module__} import {library.__name__} as own; return own(z, e)"
    space = {}
    exec(f"def answer(z, e): {lines}", space)
    assert check("2.1", space["answer"], 0).outcome == "not attempted"


def faults(reference, answer, returns=("it",), **options):
    """What is found wrong with an answer on one tensor [3] that asks for a gradient."""
    exercise = Exercise(
        reference=reference,
        cases=lambda generator: [{"x": torch.arange(1.0, 4.0, requires_grad=True)}],
        returns=list(returns),
        **options,
    )
    try:
        examine(exercise, answer, 0)
    except Incorrect as problem:
        return problem


def test_gradients_are_graded_through_lists_and_of_all_results_if_asked():
    def second_stopped(x):
        return [x * 2, (x * 3).detach()]

    def both(x):
        return [x * 2, x * 3]

    assert faults(both, both) is None and faults(both, second_stopped)
    lost = faults(lambda x: x * 2, lambda x: x.detach() * 2 + x * 0)
    assert "no gradient arrives" in lost.cause
    halved = faults(lambda x: x * 2, lambda x: x.detach() + x)
    assert "no gradient arrives" not in halved.cause

    def apart(x):
        return x * 2, (x * 3).detach() + x * 0

    def whole(x):
        return x * 2, x * 3

    assert faults(whole, apart, returns=("a", "b")) is None
    assert faults(whole, apart, returns=("a", "b"), all_gradients=True)


def test_a_wider_dtype_is_wrong_only_if_the_exercise_says_so():
    def wider(x):
        return (x * 2).double()

    assert faults(lambda x: x * 2, wider) is None
    assert faults(lambda x: x * 2, wider, exact_dtype=True)


def test_a_mistake_explains_an_answer_up_to_the_part_that_is_wrong():
    found, made = [("a", 1), ("b", 2)], [("a", 1), ("b", 3)]
    assert _same_fault(found, made, "a")
    assert not _same_fault(found, made, "b") and not _same_fault(found, made, None)


def test_advice_on_an_error_is_given_once():
    stops = {"boom": "do this", "bo": "do this"}
    exercise = Exercise(reference=len, cases=lambda generator: [], returns=["it"], stops=stops)
    problem = Incorrect("Your function stopped with ValueError: boom", {})
    for _ in range(2):
        assert _with_advice(exercise, problem).cause == "do this"


def test_errors_that_differ_in_numbers_alone_are_one_fault():
    stopped = Incorrect("Your function stopped with ValueError: 3 rows, not -4", {})
    assert _same_fault(stopped, ValueError("5 rows, not 6"), None)
    assert not _same_fault(stopped, ValueError("3 columns, not -4"), None)


def test_grading_twice_gives_the_same_marks_and_leaves_the_generators_alone():
    """A draw that is a little uneven must not be right today and wrong tomorrow."""

    def drawn():
        return random.random(), np.random.rand(), torch.rand(()).item()

    def start():
        random.seed(3), np.random.seed(3), torch.manual_seed(3)

    def mine(codes, groups):
        seen.append(drawn())
        return draw(codes, groups)

    start()
    expected, graded = drawn(), []
    start()
    for _ in range(2):
        seen = []
        require("4.2", mine)
        graded.append(seen)
    assert graded[0] == graded[1] and len(graded[0]) > 3
    assert drawn() == expected
