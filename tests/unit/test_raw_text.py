"""Item text of raw files: HTML, lists, missing fields, stand-ins, of each release."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_raw import FILES, NAMES, block, block_items, item_line, write_raw

from letterlib.data import load_dataset, raw_source
from letterlib.data.amazon import item_2014, item_2018, item_2023
from letterlib.data.raw_text import ItemText, clean, item_row, labels_of
from letterlib.data.yelp import business


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("Salt &amp; Pepper", "Salt & Pepper"),
        ("Salt &amp;amp; Pepper", "Salt & Pepper"),
        ("L&#39;Or&eacute;al&nbsp;&nbsp;Paris", "L'Oréal Paris"),
        ("<b>Soft</b>brush<br />for\n\thair", "Soft brush for hair"),
        ("&lt;b&gt;Soft&lt;/b&gt;", "Soft"),
        ('<a href="x" class="y">Link</a>', "Link"),
        (
            "a<!-- not this -->b<script type='x'>var a = 1 < 2;</script>c<style>p {}</style>",
            "a b c",
        ),
        ("a<SCRIPT>\nvar a = 1;\n</SCRIPT>b<!-- over\nlines -->c", "a b c"),
        ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
        ("I <3 you", "I <3 you"),
        (["First <i>part</i>", "", None, ["second ", "third"]], "First part second third"),
        ([], ""),
        (None, ""),
        (17, ""),
        ({"a": "b"}, ""),
        (" \n ", ""),
        ("滋味 ’n’ more", "滋味 ’n’ more"),
    ],
)
def test_clean(raw, cleaned):
    assert clean(raw) == cleaned


pieces = st.sampled_from(
    [
        "&",
        "amp;",
        "lt;",
        "gt;",
        "<",
        ">",
        "b",
        "/",
        "<br>",
        "&nbsp;",
        "&#39;",
        " ",
        "\n",
        "!--",
        "-->",
    ]
)


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(pieces).map("".join)))
def test_cleaning_twice_is_cleaning_once(text):
    once = clean(text)
    assert clean(once) == once and clean(once) == " ".join(once.split())
    assert "<b>" not in once and "<br>" not in once and "&amp;" not in once and "&lt;" not in once


def test_labels_are_clean_single_and_without_the_separator():
    assert labels_of(["A &amp; B", "C|D", "", None, "A & B", " <b> "]) == ("A & B", "C/D")


def test_rows_and_their_stand_ins():
    labels = ("Beauty", "Hair")
    full = item_row("B7", ItemText("Comb", "Of wood", labels))
    assert full == {"title": "Comb", "text": "Comb. Of wood", "genres": "Beauty|Hair"}
    assert item_row("B7", ItemText("Comb", "", ())) == {
        "title": "Comb",
        "text": "Comb",
        "genres": "",
    }
    assert item_row("B7", ItemText("", "Of wood", ()))["title"] == "item B7"
    assert item_row("B7", ItemText("", "Of wood", ()))["text"] == "Of wood"
    assert item_row("B7", ItemText("", "", labels))["text"] == "Beauty, Hair"
    assert item_row("B7", ItemText("", "", ())) == item_row("B7", None)
    assert item_row("B7", None) == {"title": "item B7", "text": "item B7", "genres": ""}


def test_of_several_entries_one_with_a_title_is_preferred_then_the_longest():
    titled, long, longer = (
        ItemText("Comb", "", ()),
        ItemText("", "Of wood", ()),
        ItemText("", "Of old wood", ()),
    )
    assert max(longer, long, titled, key=lambda one: one.preference) == titled
    assert max(long, longer, key=lambda one: one.preference) == longer


def test_of_entries_with_equal_descriptions_the_order_decides_nothing():
    short, long = ItemText("Comb", "Of wood", ()), ItemText("Fine comb", "Of wood", ())
    for entries in ((short, long), (long, short)):
        assert max(entries, key=lambda one: one.preference) == long


def test_2014_has_paths_of_categories():
    fields = {
        "title": "A &amp; B",
        "description": "<p>C</p>",
        "categories": [["Beauty", "Hair"], ["Beauty", "Gifts"]],
    }
    assert item_2014(fields) == ItemText("A & B", "C", ("Beauty", "Hair", "Gifts"))
    assert (
        item_2014({}) == item_2014({"title": None, "categories": "Beauty"}) == ItemText("", "", ())
    )
    assert item_2014({"categories": ["Beauty", None, ["Hair"]]}) == ItemText("", "", ("Hair",))


def test_2018_has_lists_and_two_faults():
    fields = {
        "title": "<span>Comb</span>",
        "description": ["Of", "wood"],
        "feature": ["Soft"],
        "category": ["Beauty"],
    }
    assert item_2018(fields) == ItemText("Comb", "Of wood", ("Beauty",))
    assert item_2018(fields | {"description": []}).description == "Soft"
    assert item_2018(fields | {"title": "var aPageStart = (new Date()).getTime();"}).title == ""
    spilled = fields | {
        "category": ["Beauty", "Hair", "</span></span></span>\nSoft", "Not a category"]
    }
    assert item_2018(spilled).labels == ("Beauty", "Hair")
    assert item_2018({}) == ItemText("", "", ())


def test_2023_has_nulls_and_features():
    fields = {"title": None, "description": [], "features": ["Soft", "Wood"], "categories": None}
    assert item_2023(fields) == ItemText("", "Soft Wood", ())
    assert item_2023(fields | {"description": ["A", "B"], "categories": ["X"]}) == ItemText(
        "", "A B", ("X",)
    )


def test_yelp_has_categories_in_one_text_or_none():
    fields = {
        "name": "Joe&#39;s",
        "categories": "Food, Pizza, Food",
        "city": "Tampa",
        "attributes": None,
    }
    assert business(fields) == ItemText("Joe's", "Food, Pizza, Food", ("Food", "Pizza"))
    assert business({"name": "Joe", "categories": None}) == ItemText("Joe", "", ())


@pytest.mark.parametrize("name", NAMES)
def test_from_file_to_row_with_missing_and_repeated_entries(tmp_path, name):
    """B0 has no title, B1 nothing but labels, B2 comes four times, B3 has HTML, B4's title is
    empty.
    """
    rest = block_items(name)[5:]
    fullest = [
        item_line(name, "B2"),
        item_line(name, "B2", "Comb", "Of wood"),
        item_line(name, "B2", "Comb", ""),
    ]
    fullest += [item_line(name, "B2", "Oil", "")]  # a shorter one, of a later letter
    items = [item_line(name, "B0", None, "Of &lt;i&gt;horn"), item_line(name, "B1"), *fullest]
    items += [
        item_line(name, "B3", "Oil &amp; <b>Wax</b>", "a<br>b"),
        item_line(name, "B4", "", ""),
    ] + rest
    texts = {}
    for k, lines in enumerate((items, items[::-1])):
        dataset = load_dataset(
            name, write_raw(tmp_path / str(k), name, block(), lines), tmp_path / "cache"
        )
        texts[k] = dataset.items
    assert texts[0].equals(texts[1]), "which entry comes first must not matter"
    titles, words = texts[0]["title"].tolist(), texts[0]["text"].tolist()
    assert titles == ["item B0", "item B1", "Comb", "Oil & Wax", "item B4", "Thing 5"]
    labels = "Beauty, Hair Care, Gifts"
    if name == "yelp":
        assert words[:4] == [labels, labels, f"Comb. {labels}", f"Oil & Wax. {labels}"]
    else:
        assert words[:5] == ["Of horn", labels, "Comb. Of wood", "Oil & Wax. a b", labels]
        assert dataset.source.endswith(
            "items without title and description, which go by their labels or id: 2 of 6"
        )


def test_items_that_only_mention_another_are_not_mistaken_for_it(tmp_path):
    """The id is looked for in the line before the line is parsed; what the parsed line says
    decides.
    """
    name = NAMES[1]
    other = json.loads(
        item_line(name, "X1", "Wrong", 'He said "asin": "B3" to me and that is a much longer text')
    )
    other |= {"also_buy": ["B3"], "details": {"asin": "B3"}}
    folder = write_raw(tmp_path / "raw", name, block(), block_items(name) + [json.dumps(other)])
    assert load_dataset(name, folder, tmp_path / "cache").titles() == [
        f"Thing {i}" for i in range(6)
    ]
    assert raw_source(name).metadata[0] + ".gz" == FILES[name][1]
