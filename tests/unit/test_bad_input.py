"""Input that files and people really have: refused in one line that says what is wrong, or read as
it was meant.
"""

import numpy as np
import pytest

from letterlib.data import load_dataset
from letterlib.errors import LetterError
from letterlib.evaluation.metrics import ABSENT
from letterlib.pipeline.brief import PARAMETERS, fault, hits_in_brief, means, users_in_brief
from letterlib.pipeline.config import default_data_dir, make_config
from letterlib.pipeline.run_results import load_results
from letterlib.store import read_json


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
