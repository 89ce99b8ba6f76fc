"""The six tasks of LC-Rec: what a prompt holds, what is learnt, and what never gets in."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from letterlib.data.dataset import Dataset, Sequences
from letterlib.errors import LetterError
from letterlib.generators.language_model import TINY, Vocabulary, load_language_model
from letterlib.generators.prompts import (
    TASKS,
    WORDINGS,
    AlignmentTasks,
    Example,
    Intentions,
    response_groups,
)
from letterlib.tokenizer.identifiers import Identifiers

N_ITEMS, HISTORY = 64, 5
GENRES = ["comedy", "drama", "horror", "western"]


def catalogue() -> Dataset:
    """Eight users; user u has u, u + 8, u + 16, ...: a test item is in nobody's training part."""
    walks = [np.arange(user, N_ITEMS, 8) for user in range(8)]
    titles = [f"film number {i}" for i in range(N_ITEMS)]
    genres = [f"{GENRES[i % 4].title()}|{GENRES[i // 8 % 4].title()}" for i in range(N_ITEMS)]
    items = pd.DataFrame({"title": titles, "genres": genres})
    labels = [f"u{user}" for user in range(8)]
    return Dataset("catalogue", Sequences.from_lists(walks), items, "made up", labels)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    codes = np.stack(np.unravel_index(np.arange(N_ITEMS), (4, 4, 4)), axis=1)
    tokenizer, model = load_language_model(TINY)
    return Vocabulary.extend(tokenizer, model, Identifiers(codes, (4, 4, 4)))


@pytest.fixture(scope="module")
def tasks(vocabulary) -> AlignmentTasks:
    return AlignmentTasks(catalogue().split(1), vocabulary, HISTORY)


def parts(vocabulary, example) -> tuple[str, str]:
    """Prompt and response as text."""
    decode = vocabulary.tokenizer.decode
    return decode(example.tokens[~example.response]), decode(example.tokens[example.response])


def items_in(vocabulary, tokens) -> list[int]:
    """The items whose identifiers stand in a row of tokens."""
    of = {tuple(row): item for item, row in enumerate(vocabulary.item_tokens.tolist())}
    runs = zip(tokens[:-2].tolist(), tokens[1:-1].tolist(), tokens[2:].tolist(), strict=True)
    return [of[run] for run in runs if run in of]


def test_a_list_is_read_up_to_its_first_item_and_learnt_from_there(tasks, vocabulary):
    example, wording = tasks.one_list([1, 9, 17]), vocabulary.words(WORDINGS["seqrec"][0])
    names = vocabulary.tokenizer.convert_ids_to_tokens(example.tokens)[len(wording) :]
    expected = "<a_0> <b_0> <c_1> [SEP] <a_0> <b_2> <c_1> [SEP] <a_1> <b_0> <c_1> [SEP]"
    assert names == expected.split()
    assert example.response.tolist() == [False] * (len(wording) + 4) + [True] * 8


@pytest.mark.parametrize("task", TASKS)
def test_a_response_ends_with_the_end_token_and_a_prompt_is_never_learnt(tasks, vocabulary, task):
    generator = np.random.default_rng(0)
    for _ in range(30):
        example = tasks.draw(task, generator)
        first = int(example.response.argmax())
        assert first > 0 and example.response[first:].all() and not example.response[:first].any()
        assert example.tokens[-1] == vocabulary.end
        assert TASKS[example.task] == task
        assert "{" not in vocabulary.tokenizer.decode(example.tokens), "a field was left empty"


def test_title_and_identifier_belong_to_the_same_item(tasks, vocabulary):
    generator = np.random.default_rng(1)
    for _ in range(20):
        example = tasks.draw("item2index", generator)
        (item,) = items_in(vocabulary, example.tokens[example.response])
        assert f"film number {item}" in parts(vocabulary, example)[0]
        example = tasks.draw("index2item", generator)
        (item,) = items_in(vocabulary, example.tokens[~example.response])
        assert parts(vocabulary, example)[1] == f"film number {item} [SEP]"


def test_the_response_follows_the_history_in_the_users_list(tasks, vocabulary):
    """User u's list is u, u + 8, u + 16, ...: what comes next is the last item plus eight."""
    generator = np.random.default_rng(2)
    for _ in range(40):
        example = tasks.draw("itemsearch", generator)
        past = items_in(vocabulary, example.tokens[~example.response])
        (item,) = items_in(vocabulary, example.tokens[example.response])
        assert item == past[-1] + 8 and 1 <= len(past) <= HISTORY
        prompt, _ = parts(vocabulary, example)
        assert GENRES[item % 4] in prompt and GENRES[item // 8 % 4] in prompt
        example = tasks.draw("fusionseqrec", generator)
        if items_in(vocabulary, example.tokens[~example.response]):
            past = items_in(vocabulary, example.tokens[~example.response])
            said = vocabulary.tokenizer.decode(example.tokens[example.response])
            assert said == f"film number {past[-1] + 8} [SEP]"
        else:  # the wording that reads titles and answers with an identifier
            prompt, _ = parts(vocabulary, example)
            (item,) = items_in(vocabulary, example.tokens[example.response])
            past = [int(number) for number in re.findall(r"film number (\d+)", prompt)]
            assert ", ".join(f"film number {one}" for one in past) in prompt
            assert item == past[-1] + 8


def test_a_taste_is_made_of_the_three_most_frequent_genres(tasks, vocabulary):
    generator = np.random.default_rng(3)
    for _ in range(20):
        example = tasks.draw("preferenceobtain", generator)
        past = items_in(vocabulary, example.tokens[~example.response])
        said = parts(vocabulary, example)[1].replace(" [SEP]", "").split(", ")
        counts = {
            genre: sum((i % 4 == g) + (i // 8 % 4 == g) for i in past)
            for g, genre in enumerate(GENRES)
        }
        there = [count for count in counts.values() if count]
        assert [counts[one] for one in said] == sorted(there, reverse=True)[:3]


@pytest.mark.parametrize(
    ("history", "targets"), [(5, 1), (3, 1), (3, 2), (4, 3), (20, 2), (3, 3), (5, 5)]
)
def test_with_fewer_targets_every_item_is_learnt_after_more_of_its_history(
    vocabulary, history, targets
):
    """User u has the items u, u + 8, u + 16, ...: what stands before each is known."""
    split = catalogue().split(1)
    tasks = AlignmentTasks(split, vocabulary, history, targets=targets)
    for seed in range(4):
        drawn = tasks.lists(np.random.default_rng(seed))
        assert len(drawn) == tasks.n_lists
        learnt = []
        for one in drawn:
            read, new = (
                items_in(vocabulary, one.tokens[where]) for where in (~one.response, one.response)
            )
            assert read + new == items_in(vocabulary, one.tokens) and 1 <= len(new) <= targets
            before = new[0] // 8  # how many items the user had before the first response
            assert len(read) == min(before, history - targets + 1)
            assert read + new == [
                new[0] % 8 + 8 * place for place in range(before - len(read), before + len(new))
            ]
            learnt += new
        assert len(learnt) == len(set(learnt))
        if targets == 1:
            assert len(learnt) == len(split.train.values) - split.n_users


@pytest.mark.parametrize("task", TASKS)
def test_no_task_sees_a_test_item_as_history_or_answer(tasks, vocabulary, task):
    """item2index and index2item tell the catalogue's names, which are no secret; the others know
    training alone.
    """
    held_out = {
        item for part in ("valid", "test") for item in catalogue().split(1).cases(part).targets
    }
    generator = np.random.default_rng(4)
    seen = {i for _ in range(150) for i in items_in(vocabulary, tasks.draw(task, generator).tokens)}
    assert seen & held_out if task in ("item2index", "index2item") else not seen & held_out


def test_a_user_with_one_item_in_training_teaches_nothing(vocabulary):
    walks = Sequences.from_lists([[0, 1, 2], [8, 16, 24, 32, 40], [3, 4, 5]])
    data, generator = (
        replace(catalogue(), sequences=walks, user_labels="abc"),
        np.random.default_rng,
    )
    tasks, draw = AlignmentTasks(data.split(1), vocabulary, HISTORY), generator(0)
    of_users = [task for task in TASKS if task not in ("item2index", "index2item")]
    drawn = [tasks.draw(task, draw) for task in of_users for _ in range(10)]
    drawn += [one for _ in range(10) for one in tasks.lists(draw)]
    assert {item for one in drawn for item in items_in(vocabulary, one.tokens)} == {8, 16, 24}
    lonely = replace(catalogue(), sequences=Sequences.from_lists([[0, 1, 2]]), user_labels=["u"])
    with pytest.raises(LetterError, match="no user has two items"):
        AlignmentTasks(lonely.split(1), vocabulary, HISTORY)


def test_without_genres_the_last_three_words_of_the_title_serve(vocabulary):
    data = catalogue()
    data.items.loc[9, ["title", "genres"]] = "The Long Way Home", ""
    traits = AlignmentTasks(data.split(1), vocabulary, HISTORY)._traits
    assert traits[9] == ["Long", "Way", "Home"] and traits[8] == ["comedy", "drama"]
    none = replace(data, items=data.items.drop(columns="genres")).split(1)
    assert AlignmentTasks(none, vocabulary, HISTORY)._traits[8] == ["film", "number", "8"]


def test_a_language_model_s_first_token_stands_before_every_prompt(vocabulary):
    own = replace(vocabulary, tokenizer=vocabulary.tokenizer)
    own.__dict__["begin"] = [7]
    tasks, generator = AlignmentTasks(catalogue().split(1), own, HISTORY), np.random.default_rng(0)
    for task in TASKS:
        example = tasks.draw(task, generator)
        assert example.tokens[0] == 7 and not example.response[0] and 7 not in example.tokens[1:]


# Intentions from a file


def intentions_file(tmp_path, **changes):
    table = {
        "user_explicit_preference": {"u1": ["loves quiet westerns", "hates noise"], "u2": "laughs"},
        "user_vague_intention": {
            "train": {
                "u1": {"item": 33, "inters": "", "querys": ["horses", "old towns"]},
                "u2": {"item": 34, "querys": []},
                "u3": {"item": "27", "querys": "rain"},
                "u4": {"item": 60, "querys": ["the test item"]},
            }
        },
    }
    path = tmp_path / "catalogue.user.json"
    path.write_text(json.dumps(table | changes))
    return path


def test_intentions_stand_with_the_user_s_own_most_recent_items(tmp_path, vocabulary):
    """User u has u, u + 8, ..., u + 40 in training; item 60 is u4's test item."""
    split, generator = catalogue().split(1), np.random.default_rng(0)
    intentions = Intentions.load(intentions_file(tmp_path), split.dataset)
    tasks = AlignmentTasks(split, vocabulary, 2, intentions)
    asked, liked = set(), set()
    for _ in range(60):
        example = tasks.draw("itemsearch", generator)
        prompt, _ = parts(vocabulary, example)
        (query,) = (one for one in ("horses", "old towns", "rain") if one in prompt)
        asked.add((query, *items_in(vocabulary, example.tokens)))
        example = tasks.draw("preferenceobtain", generator)
        liked.add((parts(vocabulary, example)[1], *items_in(vocabulary, example.tokens)))
    assert asked == {("horses", 17, 25, 33), ("old towns", 17, 25, 33), ("rain", 11, 19, 27)}
    assert liked == {
        ("loves quiet westerns [SEP]", 33, 41),
        ("hates noise [SEP]", 33, 41),
        ("laughs [SEP]", 34, 42),
    }


@pytest.mark.parametrize(
    "changes, fact",
    [
        ({"user_explicit_preference": None}, "expected"),
        ({"user_explicit_preference": {"u9": "text"}}, 'user "u9" is not in catalogue'),
        ({"user_vague_intention": {"train": {"u1": {"item": 64, "querys": ["x"]}}}}, "item 64"),
    ],
)
def test_a_wrong_intentions_file_is_one_clear_error(tmp_path, changes, fact):
    with pytest.raises(LetterError, match=fact):
        Intentions.load(intentions_file(tmp_path, **changes), catalogue())


# Groups of padded examples

END = 2


def test_every_token_is_there_once_and_less_than_half_is_padding():
    generator, examples = np.random.default_rng(0), []
    for _ in range(20):
        length, task = int(generator.integers(3, 60)), int(generator.integers(len(TASKS)))
        read = int(generator.integers(1, length))
        examples.append(Example(generator.integers(2, 9, length), np.arange(length) >= read, task))
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
    assert targets.tolist() == [18, 19, 25, 5, END] and tasks.tolist() == [1, 1, 4, 3, 3]
