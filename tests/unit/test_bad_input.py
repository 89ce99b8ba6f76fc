"""Input that files and people really have: refused in one line that says what is wrong, or read as
it was meant.
"""

import json
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from made_data import write_made_data

from letterlib.data import load_dataset
from letterlib.data.preprocessing import build_dataset, k_core
from letterlib.data.raw import text_field
from letterlib.data.raw_lines import BadLine
from letterlib.data.raw_text import clean
from letterlib.errors import LetterError
from letterlib.evaluation.metrics import ABSENT
from letterlib.pipeline.brief import PARAMETERS, fault, hits_in_brief, means, users_in_brief
from letterlib.pipeline.config import default_data_dir, make_config
from letterlib.pipeline.run_results import load_results
from letterlib.store import read_json

ROWS = pd.DataFrame({"user": ["u", "u", "v"], "item": ["a", "b", "a"], "time": [1, 2, 3]})
ITEMS = pd.DataFrame({"title": ["A", "B"], "text": ["A", "B"]}, index=["a", "b"])
HALF = "half a smile \ud83d"


@pytest.mark.parametrize(
    "rows,items,words",
    [
        (ROWS, ITEMS.loc[["a", "b", "a"]], 'item "a" is there twice'),
        (ROWS, ITEMS.loc[["a"]], 'item "b" has interactions and no row'),
        (ROWS.iloc[:0], ITEMS, "no interactions"),
        (
            ROWS.assign(time=["1/15/2023", "2/3/2023", "1/1/2024"]),
            ITEMS,
            "the times are text .*3 of 3 are no numbers",
        ),
        (
            ROWS.assign(time=["1", "n/a", "3"]),
            ITEMS,
            "1 of 3 are no numbers; interaction 2 has 'n/a'",
        ),
        (
            ROWS.assign(time=["1", "2", "3"]),
            ITEMS,
            "the times are text or other objects, and would .*interaction 1 has '1'",
        ),
        (ROWS.assign(time=[1, None, 3]), ITEMS, "1 of 3 interactions have no time"),
        (ROWS.assign(user=["u", None, "v"]), ITEMS, "1 of 3 interactions have no user"),
        (ROWS.assign(user=["u", "", " "]), ITEMS, "2 of 3 interactions have no user"),
        (ROWS.drop(columns="time"), ITEMS, "no column time, but user, item"),
        (
            ROWS,
            ITEMS.assign(text=["A", np.nan]),
            'item "b": its text must be text, found nan; where there is none',
        ),
        (ROWS, ITEMS.assign(genres=["x", None]), 'item "b": its genres must be text'),
    ],
)
def test_tables_that_do_not_fit_each_other_are_refused(rows, items, words):
    assert build_dataset("shop", ROWS, ITEMS, "ours").titles() == ["A", "B"]
    with pytest.raises(LetterError, match=words):
        build_dataset("shop", rows, items, "ours")


def test_dates_are_sorted_as_dates():
    rows = ROWS.assign(
        user="u",
        item=["b", "a", "b"],
        time=pd.to_datetime(["2024-01-01", "2023-02-03", "2023-01-15"]),
    )
    assert build_dataset("shop", rows, ITEMS, "ours").sequences[0].tolist() == [1, 0, 1]


@pytest.mark.parametrize("nobody", [None, ""])
@pytest.mark.parametrize("column", ["user", "item"])
def test_interactions_without_a_name_are_refused(column, nobody):
    """An empty text as well: all who bought without an account would be one user, with the longest
    history of all.
    """
    with pytest.raises(LetterError, match=f"1 of 3 interactions have no {column}"):
        k_core(ROWS.assign(**{column: ["x", nobody, "x"]}), 1)


def test_half_a_letter_costs_a_letter_and_not_the_data_set(tmp_path):
    folder = write_made_data(tmp_path)
    (file,) = folder.glob("*.item.json")
    items = json.loads(file.read_text())
    items["0"] |= {"title": HALF, "description": HALF, "categories": HALF}
    file.write_text(json.dumps(items))
    assert load_dataset("made", folder, tmp_path / "cache").titles()[0] == "half a smile ?"
    assert clean(HALF) == "half a smile ?"
    with pytest.raises(BadLine, match="half of a letter"):
        text_field({"user_id": HALF}, "user_id")


def test_two_files_that_both_fit_a_name_are_named(tmp_path):
    folder = write_made_data(tmp_path)
    (file,) = folder.glob("*.inter.json")
    other = folder / file.name.upper().replace(".INTER.JSON", ".inter.json")
    if other.exists():
        pytest.skip("this file system does not tell capitals from small letters")
    other.write_text(file.read_text())
    with pytest.raises(LetterError, match="both fit made; keep one"):
        load_dataset("made", folder, tmp_path / "cache")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"0": ' + "9" * 5000 + "}"])
def test_json_that_python_cannot_read_is_one_line(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(LetterError, match=r"x.json: not JSON that can be read"):
        read_json(tmp_path / "x.json")


def test_a_byte_order_mark_is_no_fault(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json(tmp_path / "x.json") == {"a": 1}


def test_a_data_set_in_capitals_is_not_taken_for_another():
    """It would be found, and trained without the settings that are beauty's own."""
    with pytest.raises(LetterError, match='did you mean "beauty"'):
        make_config("Beauty")


def test_a_name_too_long_for_any_file_is_an_unknown_data_set(tmp_path):
    name = "a" * 300
    with pytest.raises(LetterError, match=f"unknown data set '{name}'"):
        load_dataset(name, default_data_dir(name), tmp_path)


@pytest.mark.parametrize(
    "option",
    [
        "tokenizer.hidden=[-3]",
        "tokenizer.hidden=[0]",
        "tokenizer.alpha=inf",
        "tiger.learning_rate=inf",
        "sasrec.dropout=nan",
        "lcrec.learning_rate=inf",
        "lightgcn.learning_rate=inf",
        "bigrec.learning_rate=inf",
    ],
)
def test_sizes_below_one_and_endless_numbers_are_refused(option):
    with pytest.raises(LetterError, match=option.split("=")[0]):
        make_config(overrides=[option])


def test_a_folder_without_runs_says_how_to_make_some(tmp_path):
    with pytest.raises(LetterError, match="no finished run here; letterlib grid FILE --run"):
        load_results(tmp_path)


def good_record():
    ranks = np.array([0, ABSENT, 4])
    hits = hits_in_brief(ranks)
    return {
        "parameters": dict.fromkeys(PARAMETERS) | {"seed": 0},
        "system": "tiger",
        "label": "TIGER",
        "dataset": {"fingerprint": "a", "held out": 1},
        "metrics": {"history in": means(ranks), "history out": means(ranks)},
        "validation N@10": 0.1,
        "seconds": 1.0,
        "stages": [{"name": "tiger", "seconds": 1.0}],
        "cases": {"total": 3, "answered": 3, "users": users_in_brief(np.array([0, 0, 1]))},
        "hits": {"history in": hits, "history out": hits},
    }


@pytest.mark.parametrize(
    "damage,words",
    [
        (lambda r: r.pop("hits"), "not the record of a run"),
        (lambda r: r.pop("seconds"), "without seconds"),
        (lambda r: r.pop("stages"), "without stages"),
        (lambda r: r["stages"][0].pop("seconds"), "damaged record"),
        (lambda r: r.update(code=["a"]), "a code that is no text"),
        (lambda r: r["stages"][0].update(code=1), "a code that is no text"),
        (lambda r: r["parameters"].pop("tau"), "without tau"),
        (lambda r: r["hits"].update({"history in": "a:b"}), "damaged"),
        (lambda r: r["hits"].update({"history out": "2:-4"}), "damaged"),
        (lambda r: r["hits"].update({"history out": "999999:1"}), "damaged"),
        (lambda r: r.update(hits={}), "damaged"),
        (lambda r: r["cases"].update(users=""), "damaged"),
        (lambda r: r["cases"].update(users="0-1x1"), "3 cases and users for 2"),
        (lambda r: r["cases"].update(total=2), "fewer cases than answers"),
        (lambda r: r.update(dataset={}), "damaged"),
        (lambda r: r.update(metrics={}), "damaged"),
        (lambda r: r["parameters"].update(seed="0"), "damaged record (seed '0')"),
        (
            lambda r: r["metrics"]["history out"].update({"N@10": 0.9}),
            "its N@10, history out, is not that of its hits",
        ),
        (lambda r: r["hits"].update({"history in": "0:0"}), "is not that of its hits"),
    ],
)
def test_a_record_that_is_damaged_or_of_another_version_is_told(damage, words):
    record = good_record()
    assert fault(record, PARAMETERS) == ""
    damage(record)
    assert words in fault(record, PARAMETERS)


@pytest.mark.parametrize("column", ["user", "item"])
@pytest.mark.parametrize(
    "prepare", [lambda rows: k_core(rows, 1), lambda rows: build_dataset("shop", rows, ITEMS, "")]
)
def test_ids_that_have_no_order_are_refused(column, prepare):
    rows = ROWS.astype({column: object})
    rows.loc[rows.index[0], column] = 7
    with pytest.raises(LetterError, match=f"the {column}s mix numbers and text, .* dtype=str"):
        prepare(rows)


def test_ids_of_other_kinds_that_can_be_sorted_are_taken():
    for ids in ([UUID(int=2), UUID(int=1), UUID(int=2)], [1, 0.5, 1]):
        rows = ROWS.assign(user=pd.Series(ids, dtype=object, index=ROWS.index))
        assert build_dataset("shop", rows, ITEMS, "").user_labels == [
            str(one) for one in sorted(set(ids))
        ]


def test_a_category_without_a_name_is_nobody_either():
    with pytest.raises(LetterError, match="interactions have no user"):
        k_core(ROWS.assign(user=pd.Categorical(["x", " ", "x"])), 1)
    with pytest.raises(LetterError, match="1 of 3 interactions have no user"):
        k_core(ROWS.assign(user=pd.Categorical([1, 2, None])), 1)


def test_times_that_are_neither_numbers_nor_dates_nor_text_are_named_as_what_they_are():
    with pytest.raises(LetterError, match="the times are timedelta64"):
        build_dataset("shop", ROWS.assign(time=pd.to_timedelta([1, 2, 3], unit="s")), ITEMS, "")
