"""Checks of every lesson: right answers in several styles pass, typical mistakes get the message
meant for them.

The answers are in `answers_NN.py`.
"""

import importlib
import random
import re
import statistics
import sys

import nbformat
import numpy as np
import pytest
import torch
from grading import solutions

from letterlib.course.build import REPOSITORY, lessons
from letterlib.course.checks import Incorrect, Result, check, compare, require
from letterlib.errors import LetterError
from letterlib.tokenizer.losses import sample_positives
from letterlib.tokenizer.rqvae import residual_quantize

SEEDS = range(2)
LESSONS = {path.name[:2]: path for path in lessons()}
ANSWERS = {number: importlib.import_module(f"answers_{number}") for number in LESSONS}
EXERCISES = [
    (name, number)
    for number in LESSONS
    for name in importlib.import_module(f"letterlib.course.lesson_{number}").EXERCISES
]
RIGHT = [
    (name, answer)
    for one in ANSWERS.values()
    for name, answers in one.RIGHT.items()
    for answer in answers
]
WRONG = [wrong for one in ANSWERS.values() for wrong in one.WRONG]


def worked_solution(name: str, number: str):
    """The function that the notebook's own check of this exercise is given."""
    notebook = nbformat.read(LESSONS[number], as_version=4)
    checked = re.findall(
        rf'check\("{re.escape(name)}", (\w+)\)', "\n".join(cell.source for cell in notebook.cells)
    )
    assert len(checked) == 1, f"the notebook should check {name} once"
    cell = next(text for text in solutions(notebook).values() if f"def {checked[0]}(" in text)
    names = dict(ANSWERS[number].NAMES)
    exec(cell, names)
    return names[checked[0]]


@pytest.mark.parametrize("exercise,number", EXERCISES)
def test_the_worked_solution_is_accepted(exercise, number):
    answer = worked_solution(exercise, number)
    for seed in SEEDS:
        result = check(exercise, answer, seed)
        assert result.outcome == "correct", result


@pytest.mark.parametrize("exercise,number", EXERCISES)
def test_every_exercise_has_two_more_right_answers_and_three_wrong_ones(exercise, number):
    assert len(ANSWERS[number].RIGHT[exercise]) >= 2
    assert len({words for name, _, words in ANSWERS[number].WRONG if name == exercise}) >= 3


@pytest.mark.parametrize("exercise,answer", RIGHT)
def test_right_answers_in_other_styles_are_accepted(exercise, answer):
    for seed in SEEDS:
        result = check(exercise, answer, seed)
        assert result.outcome == "correct", result
    assert require(exercise, answer) is None


@pytest.mark.parametrize(
    "exercise,answer,words", WRONG, ids=[f"{name} {words}" for name, _, words in WRONG]
)
def test_a_typical_mistake_gets_the_message_meant_for_it(exercise, answer, words):
    for seed in SEEDS:
        result = check(exercise, answer, seed)
        assert result.outcome == "incorrect", result
        # The learner's own line is shown as well; it may hold the words by coincidence.
        assert words in re.sub(
            r"line \d+ of your code, `.*?`\.(?= |$)", "", repr(result), flags=re.M
        ), result
    with pytest.raises(AssertionError, match="incorrect"):
        require(exercise, answer)


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


def test_an_array_read_backwards_is_compared_too():
    compare("it", np.array([2, 1])[::-1], np.array([1, 2]), {})
    with pytest.raises(Incorrect, match="wrong values"):
        compare("it", np.array([1, 2])[::-1], np.array([1, 2]), {})


@pytest.mark.parametrize("actual", [0.5, np.float32(0.5), torch.tensor(0.5), np.array(0.5)])
def test_a_number_may_come_in_several_forms(actual):
    compare("it", actual, 0.5, {})


def test_what_a_function_does_to_an_array_or_list_is_noticed():
    from letterlib.course.checks import call

    def careless(array):
        array += 1
        return array

    with pytest.raises(Incorrect, match="changed `a` in place"):
        call(careless, {"a": np.zeros(2)})
    with pytest.raises(Incorrect, match="changed `a` in place"):
        call(lambda a: a.pop(), {"a": [1, 2]})


@pytest.mark.parametrize(
    "before,change,words",
    [
        (torch.zeros(2, 2), lambda x: x[0].add_(1), "`x.clone()` at the start"),
        (
            np.zeros((2, 2)),
            lambda x: x[0].sort() if x[0].put(0, 1) else None,
            "`x.copy()` at the start",
        ),
        ([1, 2], lambda x: x.pop(), "`list(x)` at the start"),
        ({"b": 1}, lambda x: x.update(b=2), "`dict(x)` at the start"),
    ],
)
def test_what_to_do_instead_of_a_change_in_place_depends_on_what_was_changed(before, change, words):
    from letterlib.course.checks import call

    with pytest.raises(Incorrect) as found:
        call(lambda given: [change(given)], {"given": before})
    assert "changed `given`" in found.value.message and words in found.value.cause


@pytest.mark.parametrize(
    "actual,words",
    [
        (torch.ones(1), "began as `torch.zeros(1)`"),
        (torch.ones(1, 1), "`keepdim`, or an index such as `[0]`"),
        (torch.zeros(1, 1), "a reduction over the wrong dimension"),
        (np.ones(1), "a NumPy function on the way"),
        ((torch.ones(()),), "one of its parts is asked for, or tensor made of them"),
    ],
)
def test_right_values_in_another_shape_or_kind_get_their_own_words(actual, words):
    with pytest.raises(Incorrect) as found:
        compare("it", actual, torch.ones(()), {})
    assert words in found.value.cause


@pytest.mark.parametrize(
    "others,words",
    [
        ([(1 + 9e-5, "a neighbour"), (1 + 1e-8, "the nearest")], "the nearest"),
        (
            [(1 + 9e-5, "a neighbour"), (1, "the first"), (1 - 1e-8, "parted by rounding")],
            "the first",
        ),
        ([(2, "far away")], ""),
        ([(np.nan, "no number"), (1, "the nearest")], "the nearest"),
    ],
)
def test_of_several_causes_that_come_close_the_nearest_is_named(others, words):
    with pytest.raises(Incorrect) as found:
        compare(
            "it",
            torch.ones(2),
            torch.zeros(2),
            {},
            [(torch.tensor([1.0, value]), text) for value, text in others],
        )
    assert found.value.cause == words


def test_causes_that_are_infinite_or_empty_are_compared_too():
    for value in (torch.tensor([torch.inf, torch.nan]), torch.zeros(0)):
        with pytest.raises(Incorrect) as found:
            compare("it", value, torch.zeros(3), {}, [(value.clone(), "this one")])
        assert found.value.cause == "this one"


def test_fractions_may_be_wider_than_asked_for_and_not_narrower_and_whole_numbers_are_of_one_kind():
    compare("it", torch.ones(2).double(), torch.ones(2), {})
    for actual, expected in (
        (torch.ones(2).half(), torch.ones(2)),
        (torch.ones(2).int(), torch.ones(2).long()),
        (torch.ones(2).double(), torch.ones(2).long()),
    ):
        with pytest.raises(Incorrect, match="should be"):
            compare("it", actual, expected, {})


def test_what_cannot_be_shown_is_a_finding_all_the_same():
    """`check` never raises."""
    for odd in (torch.empty(3, device="meta"), torch.ones(3).to(torch.float8_e5m2)):
        for exercise in ("2.1", "6.3", "4.1"):
            assert check(exercise, lambda *_, odd=odd: odd, 0).outcome != "correct"


def test_an_answer_that_calls_another_stub_is_told_which():
    def my_hold_out(items, n):
        raise NotImplementedError()

    def my_popularity(sequences, n, n_items):
        return [my_hold_out(one, n) for one in sequences]

    result = check("0.4", my_popularity)
    assert result.outcome == "not attempted" and result.lines[0].startswith(
        "`my_hold_out`, which is still"
    )
    assert "still to be written" not in check("0.1", my_hold_out).lines[0]


def test_a_right_answer_that_writes_to_stderr_gets_its_points(capsys):
    """nbgrader gives none to a cell that wrote there, as every warning does."""

    def with_a_line_to_stderr(z, e):
        print("a line of a progress bar", file=sys.stderr)
        return torch.cdist(z, e).argmin(1)

    require("2.1", with_a_line_to_stderr)
    assert check("2.1", with_a_line_to_stderr, 0).outcome == "correct"
    assert capsys.readouterr().err == ""


def test_what_torch_has_not_implemented_is_no_stub():
    def softmax_of_whole_numbers(z, e):
        return torch.cdist(z, e).long().softmax(1)

    result = check("2.1", softmax_of_whole_numbers, 0)
    assert result.outcome == "incorrect" and "stopped with" in repr(result)


def test_a_line_of_the_standard_library_is_not_called_the_learners():
    def looks_up_in_vain(z, e):
        return statistics.mean([])

    assert "`return statistics.mean([])`" in repr(check("2.1", looks_up_in_vain, 0))


def test_what_stops_as_a_known_mistake_does_and_is_another_gets_its_line_alone():
    def tables_of_other_lengths(ranked, targets, k):
        return (
            ANSWERS["00"].recall_by_loop(ranked, targets, k)
            if len(targets) == 1
            else np.ones((4, 2)) + np.ones(3)
        )

    def paired_by_position(a, b, seeds_a, seeds_b):
        return np.array([a[row].mean() - b[row].mean() for row in range(len(a))])

    def rows_from_1(a, b, seeds_a, seeds_b):
        return np.array([a[row].mean() - b[row].mean() for row in range(1, len(b) + 1)])

    others = [ANSWERS["11"].seeds_with(one) for one in (paired_by_position, rows_from_1)]
    for exercise, answer in [("0.2", tables_of_other_lengths), *(("11.1", one) for one in others)]:
        result = check(exercise, answer, 0)
        assert "stopped with" in result.lines[0] and result.lines[-1].endswith("`."), result


def test_an_error_on_a_large_input_is_no_cause_of_wrong_values_on_a_small_one():
    def wrong_then_broken(z, e):
        return z + e if len(z) > 3 else torch.zeros(len(z), dtype=torch.int64) - 1

    result = check("2.1", wrong_then_broken, 0)
    assert "wrong values" in repr(result) and "line" not in repr(result)


@pytest.mark.parametrize(
    "on_many", [lambda z, e: e[len(e)], lambda z, e: torch.cdist(z, e).argmax(1)]
)
def test_an_error_on_a_small_input_is_shown_with_its_own_line(on_many):
    def broken_on_few(z, e):
        if len(z) > 3:
            return on_many(z, e)
        return z.reshape(-1, 7)

    result = check("2.1", broken_on_few, 0)
    assert (
        "stopped with RuntimeError" in result.lines[0]
        and "`return z.reshape(-1, 7)`" in result.lines[-1]
    )


@pytest.mark.parametrize(
    "make", [lambda x: x.to_sparse(), lambda x: x.numpy().astype(np.longdouble)]
)
@pytest.mark.parametrize("exercise,number", EXERCISES)
def test_whatever_an_answer_returns_a_check_ends(exercise, number, make):
    solution = worked_solution(exercise, number)

    def odd(value):
        if isinstance(value, tuple):
            return tuple(map(odd, value))
        value = torch.as_tensor(value.copy()) if isinstance(value, np.ndarray) else value
        return make(value.detach()) if isinstance(value, torch.Tensor) else value

    result = check(exercise, lambda *given: odd(solution(*given)), 0)
    assert "itself failed" not in repr(result)


def test_an_incorrect_answer_is_shown_on_the_smallest_failing_input():
    result = check("2.1", lambda z, e: torch.cdist(z, e).argmax(1), 0)
    shown = next(line for line in result.lines if "z = " in line)
    assert shown.count(",") == 0, "one vector of one number fails already"


def test_a_codebook_of_one_code_is_not_forgotten():
    def two_at_least(z, codebook):
        return torch.cdist(z, codebook).topk(2, largest=False).indices[:, 0]

    result = check("2.1", two_at_least, 0)
    assert result.outcome == "incorrect" and "RuntimeError" in repr(result)


def stub(*arguments):
    raise NotImplementedError()


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
            if checked := re.search(r'^display\(check\("(.+?)", ', cell.source, re.MULTILINE):
                stored[checked[1]] = [dict(output.data) for output in cell.outputs]
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
    assert check("2.1", ANSWERS["02"].RIGHT["2.1"][0]).outcome == "correct"


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


def test_inputs_are_fresh_unless_a_seed_is_given():
    seen = []

    def spy(z, codebook):
        seen.append(tuple(z.flatten().tolist()))
        return ANSWERS["02"].by_expansion(z, codebook)

    for seed in (None, None, 7, 7):
        check("2.1", spy, seed)
    runs = [seen[i : i + 5] for i in range(0, len(seen), 5)]
    assert runs[0] != runs[1] and runs[2] == runs[3]


def test_a_cause_speaks_of_the_value_that_the_message_names():
    """On the smallest input that fails here only `users` is wrong, on the largest `seeds` is found
    first.
    """
    shares_of_the_rest_exchanged = ANSWERS["10"].parts_with(
        seeds=lambda d, rest, n, m: max(0, d.mean(1).var(ddof=1) - rest / n),
        users=lambda d, rest, n, m: max(0, d.mean(0).var(ddof=1) - rest / m),
    )
    for seed in SEEDS:
        result = check("10.3", shares_of_the_rest_exchanged, seed)
        assert result.lines[0].startswith("`seeds` has the wrong value"), result
        assert "Likely cause: `rest / n_seeds` taken away" in repr(result), result


def fails_elsewhere_on_many(codes):
    """On few items only the rate is wrong, on many the other number is found first; neither mistake
    is known.
    """
    sharing, rate = ANSWERS["05"].sharing_by_counter(codes)
    return sharing + (1000 if len(codes) > 10 else 0), rate + 0.01


@pytest.mark.parametrize(
    "exercise,answer,words",
    [
        ("5.3", fails_elsewhere_on_many, "Likely cause: none that we know"),
        (
            "7.4",
            ANSWERS["07"].lora_with(lambda w, a, b, alpha, rank: w + alpha * b @ a),
            "not divided by the rank",
        ),
        ("8.3", ANSWERS["08"].ranges_of(*[ANSWERS["08"].starts_where_all_differ] * 2), "`.all`"),
    ],
)
def test_a_small_input_is_shown_unless_only_a_large_one_has_something_to_say(
    exercise, answer, words
):
    for seed in SEEDS:
        result = check(exercise, answer, seed)
        assert words in repr(result) and "of shape" not in repr(result), result


def test_no_window_at_all_is_not_said_to_teach_an_item_twice():
    """It is what starts beyond `len(items) - history` give on a short list; on long ones windows
    follow too closely.
    """
    result = check("7.3", ANSWERS["07"].windows_with(lambda n, history: range(n - history)), 0)
    assert "Actual:   []" in repr(result) and "more than once" not in repr(result)


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


def test_grading_twice_gives_the_same_marks_and_leaves_the_generators_alone():
    """A draw that is a little uneven must not be right today and wrong tomorrow."""

    def drawn():
        return random.random(), np.random.rand(), torch.rand(()).item()

    def start():
        random.seed(3), np.random.seed(3), torch.manual_seed(3)

    def mine(codes, groups):
        seen.append(drawn())
        return sample_positives(codes, groups)

    start()
    expected, graded = drawn(), []
    start()
    for _ in range(2):
        seen = []
        require("4.2", mine)
        graded.append(seen)
    assert graded[0] == graded[1] and len(graded[0]) > 3
    assert drawn() == expected


def test_a_number_without_quotes_names_its_exercise():
    assert check(2.1, ANSWERS["02"].RIGHT["2.1"][0]).outcome == "correct"
