"""The six tasks of LC-Rec: what stands in a prompt, what is learnt, and what never gets in."""

import json
import re
from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest

from letterlib.data.dataset import NO_ITEM, Dataset, Sequences
from letterlib.errors import LetterError
from letterlib.generators.alignment import TASKS, TITLE_TOKENS, WORDINGS, AlignmentTasks, prompt_of
from letterlib.generators.intentions import Intentions
from letterlib.generators.language_model import TINY, Vocabulary, begin_of, load_language_model
from letterlib.tokenizer.identifiers import Identifiers

N_ITEMS, HISTORY = 64, 5
GENRES = ["comedy", "drama", "horror", "western"]


def catalogue() -> Dataset:
    """Eight users; user u has watched items u, u + 8, u + 16, ... A test item is nobody's training
    item.
    """
    walks = [np.arange(user, N_ITEMS, 8) for user in range(8)]
    items = pd.DataFrame(
        {
            "title": [f"film number {i}" for i in range(N_ITEMS)],
            "genres": [
                f"{GENRES[i % 4].title()}|{GENRES[i // 8 % 4].title()}" for i in range(N_ITEMS)
            ],
        }
    )
    return Dataset(
        "catalogue",
        Sequences.from_lists(walks),
        items,
        "made up",
        [f"u{user}" for user in range(8)],
    )


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    codes = np.stack(np.unravel_index(np.arange(N_ITEMS), (4, 4, 4)), axis=1)
    tokenizer, model = load_language_model(TINY)
    return Vocabulary.extend(tokenizer, model, Identifiers(codes, (4, 4, 4)))


@pytest.fixture(scope="module")
def tasks(vocabulary) -> AlignmentTasks:
    return AlignmentTasks(catalogue().split(1), vocabulary, HISTORY)


def parts(vocabulary, example) -> tuple[str, list[str]]:
    """The prompt as text, and the response token by token."""
    names = vocabulary.tokenizer.convert_ids_to_tokens(example.tokens)
    response = [name for name, learnt in zip(names, example.response, strict=True) if learnt]
    return vocabulary.tokenizer.decode(example.tokens[~example.response]), response


def items_in(vocabulary, tokens) -> list[int]:
    """The items whose identifiers stand in a row of tokens."""
    of = {tuple(row): item for item, row in enumerate(vocabulary.item_tokens.tolist())}
    tokens = list(tokens)
    return [
        of[tuple(tokens[i : i + 3])]
        for i in range(len(tokens) - 2)
        if tuple(tokens[i : i + 3]) in of
    ]


def test_a_list_is_read_up_to_its_first_item_and_learnt_from_there_token_by_token(
    tasks, vocabulary
):
    example = tasks.one_list([1, 9, 17])
    names = vocabulary.tokenizer.convert_ids_to_tokens(example.tokens)
    wording = vocabulary.words(WORDINGS["seqrec"][0])
    assert names[len(wording) :] == [
        "<a_0>",
        "<b_0>",
        "<c_1>",
        "[SEP]",
        "<a_0>",
        "<b_2>",
        "<c_1>",
        "[SEP]",
        "<a_1>",
        "<b_0>",
        "<c_1>",
        "[SEP]",
    ]
    assert example.response.tolist() == [False] * (len(wording) + 4) + [True] * 8


def test_what_is_read_before_an_item_of_a_list_is_the_prompt_of_its_history(tasks, vocabulary):
    example = tasks.one_list([1, 9, 17, 25], wording=2)
    for n in (1, 2, 3):
        prompt = prompt_of(vocabulary, [1, 9, 17, 25][:n], wording=2)
        assert example.tokens[: len(prompt)].tolist() == prompt
        assert (
            example.tokens[len(prompt) :][:3].tolist()
            == vocabulary.item_tokens[[9, 17, 25][n - 1]].tolist()
        )


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


def test_every_wording_is_used(tasks, vocabulary):
    generator = np.random.default_rng(0)
    for task, wordings in WORDINGS.items():
        seen = {
            parts(vocabulary, tasks.draw(task, generator))[0].replace(" ", "") for _ in range(80)
        }
        for wording in wordings:
            longest = max(wording.replace("\n", "").replace("{", "}").split("}")[::2], key=len)
            plain = longest.lower().replace(" ", "")
            assert any(plain in one for one in seen), wording


def test_title_and_identifier_belong_to_the_same_item(tasks, vocabulary):
    generator = np.random.default_rng(1)
    for _ in range(20):
        example = tasks.draw("item2index", generator)
        (item,) = items_in(vocabulary, example.tokens[example.response])
        assert f"film number {item}" in vocabulary.tokenizer.decode(
            example.tokens[~example.response]
        )
        example = tasks.draw("index2item", generator)
        (item,) = items_in(vocabulary, example.tokens[~example.response])
        assert (
            vocabulary.tokenizer.decode(example.tokens[example.response])
            == f"film number {item} [SEP]"
        )


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
        said = (
            vocabulary.tokenizer.decode(example.tokens[example.response])
            .replace(" [SEP]", "")
            .split(", ")
        )
        counts = {
            genre: sum((i % 4 == g) + (i // 8 % 4 == g) for i in past)
            for g, genre in enumerate(GENRES)
        }
        there = [count for count in counts.values() if count]
        assert [counts[one] for one in said] == sorted(there, reverse=True)[:3]


def test_lists_cover_the_training_part_once_and_nothing_else():
    """The last two items of every user are validation and test: a leak would show as their tokens."""
    codes = np.stack(np.unravel_index(np.arange(N_ITEMS), (4, 4, 4)), axis=1)
    tokenizer, model = load_language_model(TINY)
    vocabulary = Vocabulary.extend(tokenizer, model, Identifiers(codes, (4, 4, 4)))
    split = catalogue().split(1)
    for history in (2, 3, 4, 5, 20):
        tasks = AlignmentTasks(split, vocabulary, history)
        for seed in range(5):
            drawn = tasks.lists(np.random.default_rng(seed))
            assert len(drawn) == tasks.n_lists
            learnt = [i for one in drawn for i in items_in(vocabulary, one.tokens[one.response])]
            assert len(learnt) == len(set(learnt)), "an item was learnt twice in one epoch"
            assert max(len(items_in(vocabulary, one.tokens)) for one in drawn) <= history + 1
            seen = {i for one in drawn for i in items_in(vocabulary, one.tokens)}
            assert seen <= set(split.train.values.tolist())
            if history >= 4:  # no cut makes a list more than needed: nothing is left out
                assert len(learnt) == len(split.train.values) - split.n_users


@pytest.mark.parametrize(("history", "targets"), [(5, 1), (3, 1), (3, 2), (4, 3), (20, 2)])
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


def test_one_target_is_what_is_asked_at_test(vocabulary):
    """The original's prompt: a case's whole history, the most recent items, and the item that came
    next.
    """
    split = catalogue().split(1)
    tasks, cases = AlignmentTasks(split, vocabulary, 3, targets=1), split.cases("train")
    histories = [tuple(items[items != NO_ITEM].tolist()) for items in cases.recent(3)]
    drawn = tasks.lists(np.random.default_rng(0)) + [
        tasks.draw("seqrec", np.random.default_rng(n)) for n in range(9)
    ]
    read = [tuple(items_in(vocabulary, one.tokens[~one.response])) for one in drawn]
    new = [items_in(vocabulary, one.tokens[one.response]) for one in drawn]
    assert {len(items) for items in new} == {1}
    assert set(zip(read, (items[0] for items in new), strict=True)) == set(
        zip(histories, cases.targets, strict=True)
    )


def test_a_drawn_list_has_at_most_one_item_more_than_the_history(vocabulary):
    tasks, generator = AlignmentTasks(catalogue().split(1), vocabulary, 2), np.random.default_rng(0)
    lengths = {len(items_in(vocabulary, tasks.draw("seqrec", generator).tokens)) for _ in range(40)}
    assert lengths == {2, 3}


def test_long_lists_are_cut_elsewhere_every_epoch_and_come_in_another_order(vocabulary):
    """User u's list begins with item u and has six items in training: with a history of 3 it is cut
    after 2, 3 or 4.
    """
    tasks = AlignmentTasks(catalogue().split(1), vocabulary, 3)
    epochs = [
        [items_in(vocabulary, one.tokens) for one in tasks.lists(np.random.default_rng(n))]
        for n in range(8)
    ]
    assert {len(items) for lists in epochs for items in lists if items[0] < 8} == {2, 3, 4}
    assert len({lists[0][0] % 8 for lists in epochs}) > 1, "not the same user first every time"


def test_lists_are_introduced_with_every_wording(tasks, vocabulary):
    wordings = [vocabulary.words(wording) for wording in WORDINGS["seqrec"]]
    lists = [one.tokens.tolist() for n in range(5) for one in tasks.lists(np.random.default_rng(n))]
    assert {
        i for one in lists for i, words in enumerate(wordings) if one[: len(words)] == words
    } == {0, 1, 2}


def test_who_has_one_item_in_training_teaches_nothing(vocabulary):
    walks = Sequences.from_lists([[0, 1, 2], [8, 16, 24, 32, 40], [3, 4, 5]])
    tasks = AlignmentTasks(
        replace(catalogue(), sequences=walks, user_labels="abc").split(1), vocabulary, HISTORY
    )
    generator, of_users = (
        np.random.default_rng(0),
        [task for task in TASKS if task not in ("item2index", "index2item")],
    )
    drawn = [tasks.draw(task, generator) for task in of_users for _ in range(10)]
    drawn += [one for _ in range(10) for one in tasks.lists(generator)]
    assert len(drawn) == 4 * 10 + 10
    assert {item for one in drawn for item in items_in(vocabulary, one.tokens)} == {8, 16, 24}


@pytest.mark.parametrize("task", ["fusionseqrec", "itemsearch", "preferenceobtain"])
def test_of_a_longer_list_a_prompt_has_the_most_recent_items_alone(vocabulary, task):
    tasks, generator = AlignmentTasks(catalogue().split(1), vocabulary, 2), np.random.default_rng(0)
    lengths = set()
    for _ in range(40):
        example = tasks.draw(task, generator)
        prompt, _ = parts(vocabulary, example)
        past = items_in(vocabulary, example.tokens[~example.response])
        past = past or [int(number) for number in re.findall(r"film number (\d+)", prompt)]
        lengths.add(len(past))
        assert past == [past[0] + 8 * place for place in range(len(past))]
    assert lengths == {1, 2}


@pytest.mark.parametrize("task", TASKS)
def test_two_items_of_a_user_are_enough_to_learn_from(vocabulary, task):
    data = replace(catalogue(), sequences=Sequences.from_lists([[0, 1, 2, 3]]), user_labels=["u"])
    tasks = AlignmentTasks(data.split(1), vocabulary, HISTORY)
    assert tasks.n_lists == 1 and tasks.draw(task, np.random.default_rng(0)).response.any()


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


def intentions_file(tmp_path, **changes):
    table = {
        "user_explicit_preference": {"u1": ["loves quiet westerns"], "u2": "wants to laugh"},
        "user_vague_intention": {
            "train": {
                "u1": {"item": 17, "inters": "", "querys": ["something with horses"]},
                "u2": {"item": 58, "querys": ["the test item"]},
            }
        },
    }
    path = tmp_path / "catalogue.user.json"
    path.write_text(json.dumps(table | changes))
    return path


def test_intentions_come_from_the_file_when_there_is_one(tmp_path, vocabulary):
    split = catalogue().split(1)
    tasks = AlignmentTasks(
        split, vocabulary, HISTORY, Intentions.load(intentions_file(tmp_path), split.dataset)
    )
    generator = np.random.default_rng(0)
    for _ in range(20):
        example = tasks.draw("itemsearch", generator)
        prompt, _ = parts(vocabulary, example)
        assert "something with horses" in prompt
        assert items_in(vocabulary, example.tokens[~example.response]) == [1, 9]
        assert items_in(vocabulary, example.tokens[example.response]) == [17], (
            "58 is u2's test item: a leak"
        )
    said = {
        vocabulary.tokenizer.decode(e.tokens[e.response])
        for e in (tasks.draw("preferenceobtain", generator) for _ in range(20))
    }
    assert said == {"loves quiet westerns [SEP]", "wants to laugh [SEP]"}


def test_what_somebody_says_stands_with_their_own_most_recent_items(tmp_path, vocabulary):
    """User u has u, u + 8, ..., u + 40 in training; whoever has no query to an item asks for none."""
    split, generator = catalogue().split(1), np.random.default_rng(0)
    preferences = {"u1": ["loves quiet westerns", "hates noise"], "u2": "wants to laugh"}
    searches = {
        "u1": {"item": 33, "querys": ["horses", "old towns"]},
        "u2": {"item": 34, "querys": []},
        "u3": {"item": 27, "querys": ["rain"]},
    }
    path = intentions_file(
        tmp_path, user_explicit_preference=preferences, user_vague_intention={"train": searches}
    )
    tasks = AlignmentTasks(split, vocabulary, 2, Intentions.load(path, split.dataset))
    asked, liked = set(), set()
    for _ in range(40):
        example = tasks.draw("itemsearch", generator)
        prompt, _ = parts(vocabulary, example)
        (query,) = (one for one in ("horses", "old towns", "rain") if one in prompt)
        asked.add((query, *items_in(vocabulary, example.tokens)))
        example = tasks.draw("preferenceobtain", generator)
        said = vocabulary.tokenizer.decode(example.tokens[example.response])
        liked.add((said, *items_in(vocabulary, example.tokens)))
    assert asked == {("horses", 17, 25, 33), ("old towns", 17, 25, 33), ("rain", 11, 19, 27)}
    assert liked == {
        ("loves quiet westerns [SEP]", 33, 41),
        ("hates noise [SEP]", 33, 41),
        ("wants to laugh [SEP]", 34, 42),
    }


def test_a_user_with_an_empty_list_of_preferences_says_nothing(tmp_path, vocabulary):
    split = catalogue().split(1)
    path = intentions_file(tmp_path, user_explicit_preference={"u1": [], "u2": "wants to laugh"})
    tasks = AlignmentTasks(split, vocabulary, HISTORY, Intentions.load(path, split.dataset))
    generator = np.random.default_rng(0)
    said = {parts(vocabulary, tasks.draw("preferenceobtain", generator))[1][0] for _ in range(20)}
    assert said == {"wants"}
    path = intentions_file(tmp_path, user_explicit_preference={"u1": []})
    tasks = AlignmentTasks(split, vocabulary, HISTORY, Intentions.load(path, split.dataset))
    assert set(parts(vocabulary, tasks.draw("preferenceobtain", generator))[1]) <= {
        *GENRES,
        ",",
        "[SEP]",
    }, "templates"


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"user_explicit_preference": None}, "expected"),
        ({"user_vague_intention": {"train": {"u1": {"querys": []}}}}, "expected"),
        ({"user_explicit_preference": {"nobody": "text"}}, 'user "nobody" is not in catalogue'),
        (
            {"user_vague_intention": {"train": {"u1": {"item": 64, "querys": ["x"]}}}},
            "item 64 is not in catalogue",
        ),
        (
            {"user_vague_intention": {"train": {"u1": {"item": 1.7, "querys": ["x"]}}}},
            "expected .*1.7",
        ),
        ({"user_explicit_preference": {"u1": [3]}}, "expected .*not text"),
    ],
)
def test_a_wrong_intentions_file_is_one_clear_error(tmp_path, changes, words):
    with pytest.raises(LetterError, match=words):
        Intentions.load(intentions_file(tmp_path, **changes), catalogue())


def test_one_query_is_a_query_and_not_its_letters(tmp_path):
    path = intentions_file(
        tmp_path, user_vague_intention={"train": {"u1": {"item": "1", "querys": "something old"}}}
    )
    assert Intentions.load(path, catalogue()).searches == {"u1": (1, ["something old"])}


def test_without_genres_the_title_serves():
    data = replace(catalogue(), items=catalogue().items.drop(columns="genres"))
    tokenizer, model = load_language_model(TINY)
    codes = np.stack(np.unravel_index(np.arange(N_ITEMS), (4, 4, 4)), axis=1)
    vocabulary = Vocabulary.extend(tokenizer, model, Identifiers(codes, (4, 4, 4)))
    tasks = AlignmentTasks(data.split(1), vocabulary, HISTORY)
    prompt, _ = parts(vocabulary, tasks.draw("itemsearch", np.random.default_rng(0)))
    assert "film, number" in prompt


def test_an_item_without_genres_is_described_by_its_title_and_the_others_are_not(tasks, vocabulary):
    data = catalogue()
    data.items["genres"] = data.items["genres"].where(data.items.index != 9, "")
    some = AlignmentTasks(data.split(1), vocabulary, HISTORY)
    assert some._traits[9] == ["film", "number", "9"]
    assert some._traits[:9] == tasks._traits[:9] and some._traits[10:] == tasks._traits[10:]


def test_of_a_long_title_the_last_three_words_serve_and_genres_are_written_small(vocabulary):
    data = catalogue()
    data.items.loc[9, ["title", "genres"]] = "The Long Way Home", ""
    traits = AlignmentTasks(data.split(1), vocabulary, HISTORY)._traits
    assert traits[9] == ["Long", "Way", "Home"] and traits[8] == ["comedy", "drama"]


def test_of_a_title_of_a_thousand_words_the_first_tokens_are_read_and_written(vocabulary):
    data = catalogue()
    data.items["title"] = [f"{title} " + "and on " * 500 for title in data.items["title"]]
    tasks, draw = AlignmentTasks(data.split(1), vocabulary, HISTORY), np.random.default_rng(0)
    examples = {task: [tasks.draw(task, draw) for _ in range(50)] for task in TASKS}
    longest = {task: max(len(one.tokens) for one in drawn) for task, drawn in examples.items()}
    prompt = 40  # the words of a wording, its history and, for a search, the last words of a title
    assert TITLE_TOKENS < longest["item2index"] < TITLE_TOKENS + prompt
    assert 2 * TITLE_TOKENS < longest["fusionseqrec"] < HISTORY * TITLE_TOKENS + prompt
    assert max(longest["seqrec"], longest["itemsearch"], longest["preferenceobtain"]) < 2 * prompt
    for one in examples["index2item"]:
        said = one.tokens[one.response]
        assert len(said) == TITLE_TOKENS + 1 and said[-1] == vocabulary.end
        assert vocabulary.tokenizer.decode(said).startswith("film number ")


def test_a_data_set_without_two_items_a_user_is_refused(vocabulary):
    lonely = Dataset(
        "lonely", Sequences.from_lists([[0, 1, 2]]), catalogue().items, "made up", ["u"]
    )
    with pytest.raises(LetterError, match="no user has two items"):
        AlignmentTasks(lonely.split(1), vocabulary, HISTORY)


def test_what_a_language_model_has_met_before_every_text_stands_before_every_prompt(vocabulary):
    def reads(bos, *tokens):
        tokenizer = MagicMock(bos_token_id=bos)
        tokenizer.return_value = {"input_ids": list(tokens)}
        return tokenizer

    assert begin_of(reads(1, 1)) == [1], "LLaMA"
    assert begin_of(reads(1)) == begin_of(reads(None, 101, 102)) == [], (
        "SmolLM2, and BERT's word pieces"
    )
    own = replace(vocabulary, tokenizer=vocabulary.tokenizer)
    own.__dict__["begin"] = [7]
    tasks, generator = AlignmentTasks(catalogue().split(1), own, HISTORY), np.random.default_rng(0)
    for task in TASKS:
        example = tasks.draw(task, generator)
        assert example.tokens[0] == 7 and not example.response[0] and 7 not in example.tokens[1:], (
            task
        )
    assert prompt_of(own, [1])[0] == 7 and vocabulary.begin == []
