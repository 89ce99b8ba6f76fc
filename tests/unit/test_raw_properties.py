"""Random raw reviews against a slow reference; the order of lines decides nothing; twice is once."""

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from made_raw import FILES, NAMES, block_items, item_line, review_line, write_lines

from letterlib.data import raw, raw_source
from letterlib.errors import LetterError

N_ITEMS = 8
rows = st.tuples(st.integers(0, 8), st.integers(0, N_ITEMS - 1), st.integers(0, 30))
tables = st.lists(rows, min_size=30, max_size=110)


def slow(reviews):
    """{user: items in order}, by the definitions: first review, 5-core, time then item id."""
    first = {}
    for user, item, minutes in reviews:
        first[user, item] = min(minutes, first.get((user, item), minutes))
    while True:
        users, items = Counter(u for u, _ in first), Counter(i for _, i in first)
        kept = {(u, i): t for (u, i), t in first.items() if users[u] >= 5 and items[i] >= 5}
        if kept == first:
            break
        first = kept
    return {
        u: sorted((i for v, i in first if v == u), key=lambda i: (first[u, i], i))
        for u in {u for u, _ in first}
    }


def assembled(name, reviews, items):
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / file for file in FILES[name]]
        write_lines(files[0], [review_line(name, *one) for one in reviews])
        write_lines(files[1], items)
        try:
            return raw.assemble(name, raw_source(name), *files)
        except LetterError as error:
            assert "nobody is left" in str(error)
            return None


def as_dictionary(dataset):
    titles = dataset.titles()
    return {u: [titles[i] for i in dataset.sequences[k]] for k, u in enumerate(dataset.user_labels)}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NAMES), tables, st.randoms(use_true_random=False))
def test_random_reviews_against_the_reference(name, table, random):
    # Ids whose alphabetical order is not their numbers' order, so that a mix-up shows.
    reviews = [(f"U{97 - 7 * u}", f"B{(5 * i + 3) % N_ITEMS}", t) for u, i, t in table]
    items = [item_line(name, f"B{i}", f"B{i}") for i in range(N_ITEMS)]
    dataset, expected = assembled(name, reviews, items), slow(reviews)
    if dataset is None:
        assert expected == {}
        return
    assert as_dictionary(dataset) == expected
    assert dataset.user_labels == sorted(expected) and dataset.titles() == sorted(dataset.titles())

    random.shuffle(reviews)
    random.shuffle(items)
    assert assembled(name, reviews, items).fingerprint == dataset.fingerprint, "the order of lines"

    again = [
        (u, item, place) for u, items_of in expected.items() for place, item in enumerate(items_of)
    ]
    assert as_dictionary(assembled(name, again, items)) == expected, "made from its own result"


def test_the_reference_itself():
    everything = [(f"U{u}", f"B{i}", 10 - i) for u in range(5) for i in range(5)]
    assert slow(everything + [("V", "B1", 0)]) == {
        f"U{u}": ["B4", "B3", "B2", "B1", "B0"] for u in range(5)
    }
    assert slow(everything[:-1]) == {}
    assert assembled(NAMES[0], everything[:-1], block_items(NAMES[0])) is None
