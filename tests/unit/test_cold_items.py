"""Items hidden until the test part, and identifiers for items that a tokenizer was not fitted on."""

from dataclasses import replace

import numpy as np
import pytest
from made_data import made

from letterlib.errors import LetterError
from letterlib.pipeline.own_data import draw_cold_items, hide_until_test
from letterlib.tokenizer.item_vectors import Standardization, standardize
from letterlib.tokenizer.letter import LetterTokenizer, TokenizerConfig
from letterlib.tokenizer.unseen_items import identifiers_with_unseen

# Drawing and hiding


def test_blocks_follow_popularity_and_not_numbers():
    counts = np.random.default_rng(0).permutation(100)
    drawn = draw_cold_items(counts, 0.1, seed=0)
    assert sorted((counts[drawn] // 10).tolist()) == list(range(10))


def test_the_same_seed_draws_the_same_items_and_another_seed_others():
    one, same, other = (draw_cold_items(np.arange(100), 0.1, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert [len(draw_cold_items(np.arange(n), 0.1, 0)) for n in (3, 14, 16, 21)] == [1, 1, 2, 2]


@pytest.mark.parametrize("share", [0, 1, -0.1, 2])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(LetterError, match="between 0 and 1"):
        draw_cold_items(np.ones(10, dtype=int), share, seed=0)
    with pytest.raises(LetterError, match="held_out must be at least 1"):
        hide_until_test(made([[0, 1, 2, 3]], 4), np.array([1]), held_out=0)


def test_hidden_items_are_gone_before_the_test_part_and_stay_in_it():
    labels = [f"B{i}" for i in range(8)]
    whole = replace(
        made([[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0]], 8), item_labels=labels
    )
    hidden = hide_until_test(whole, np.array([2, 6]), held_out=2)
    assert hidden.sequences[0].tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert hidden.sequences[1].tolist() == [7, 5, 4, 3, 1, 0]
    split = hidden.split(2)
    assert not set(split.train.values) & {2, 6}
    assert not set(split.cases("valid").targets) & {2, 6}
    assert split.cases("test").targets.tolist() == [6, 7, 1, 0]
    assert hidden.item_labels == labels and hidden.user_labels == whole.user_labels
    assert hidden.n_items == 8 and hidden.fingerprint != whole.fingerprint


def test_a_user_who_gets_too_short_for_a_case_does_not_bring_hidden_items_into_training():
    hidden = hide_until_test(made([[0, 1, 2, 3, 4, 5]], 6), np.array([1, 2, 5]), held_out=2)
    assert hidden.sequences[0].tolist() == [0, 3, 4]
    assert not set(hidden.split(2).train.values) & {1, 2, 5}


def test_a_user_who_has_just_enough_for_a_case_keeps_the_test_part():
    hidden = hide_until_test(made([[0, 1, 2, 3, 4, 5]], 6), np.array([1, 5]), held_out=2)
    assert hidden.sequences[0].tolist() == [0, 2, 3, 4, 5]


def test_a_user_who_has_hardly_anything_else_is_left_out_and_counted():
    """Leave-one-out data of five items a user: who loses three of them has nothing to be trained
    and tested on.
    """
    whole = made([[0, 1, 2, 3, 4], [1, 2, 5, 0, 3], [5, 4, 3, 0, 1]], 6)
    hidden = hide_until_test(whole, np.array([1, 2, 5]), held_out=1)
    assert (
        list(hidden.user_labels) == ["user 0", "user 2"]
        and "hardly anything else: 1" in hidden.source
    )
    assert [one.tolist() for one in (hidden.sequences[0], hidden.sequences[1])] == [
        [0, 3, 4],
        [4, 3, 0, 1],
    ]
    assert len(hidden.split(1).cases("test")) == 2


# Encoding


@pytest.fixture(scope="module")
def fitted():
    """(tokenizer fitted on 50 of 60 items, their vectors, the unseen ids)."""
    random = np.random.default_rng(0)
    semantic = random.normal(loc=3.0, size=(60, 8)).astype(np.float32)
    unseen = np.arange(0, 60, 6)
    config = TokenizerConfig(
        alpha=0, beta=0, n_levels=3, n_codes=8, hidden=(16,), epochs=3, batch_size=16
    )
    tokenizer = LetterTokenizer(config, seed=0, device="cpu").fit(
        semantic[np.setdiff1d(np.arange(60), unseen)]
    )
    return tokenizer, semantic, unseen


def test_rows_are_standardised_with_the_figures_of_other_rows():
    x = np.array([[0.0, 2.0], [4.0, 2.0]], dtype=np.float32)
    own = Standardization.of(x)
    assert np.array_equal(own(x), standardize(x))
    assert own(x + 4).tolist() == (standardize(x) + 4 / np.sqrt(2)).astype(np.float32).tolist()
    with pytest.raises(LetterError, match="rows of 2 numbers.*the same encoder"):
        own(x[:, :1])
    with pytest.raises(
        LetterError, match="row 1 has NaN"
    ):  # code 0 would be nearest to it, at every level
        own(np.array([[0.0, 2.0], [np.nan, 2.0]]))
    assert own(x[:0]).shape == (0, 2)


def test_encoding_the_fitted_rows_gives_the_codes_of_the_fit(fitted):
    tokenizer, semantic, unseen = fitted
    seen = np.delete(semantic, unseen, axis=0)
    codes, residuals = tokenizer.encode(seen)
    assert np.array_equal(codes, tokenizer.codes_before_repair())
    z, books = tokenizer.latent(seen), tokenizer.codebooks()
    assert np.allclose(residuals, z - books[0][codes[:, 0]] - books[1][codes[:, 1]], atol=1e-5)


def test_an_item_is_encoded_the_same_alone_and_among_all_and_by_a_loaded_tokenizer(
    fitted, tmp_path
):
    """The scale of the fitted rows is the tokenizer's own; that of the rows it is given says
    nothing.
    """
    tokenizer, semantic, unseen = fitted
    tokenizer.save(tmp_path / "tokenizer.safetensors")
    loaded = LetterTokenizer.load(tmp_path / "tokenizer.safetensors", device="cpu")
    for one in (tokenizer, loaded):
        assert np.array_equal(
            one.encode(semantic)[0][unseen[:1]], one.encode(semantic[unseen[:1]])[0]
        )
        np.testing.assert_allclose(
            one.latent(semantic)[unseen[0]], one.latent(semantic[unseen[:1]])[0], atol=1e-5
        )
    assert np.array_equal(loaded.latent(semantic), tokenizer.latent(semantic))


def test_seen_items_keep_their_identifiers_and_unseen_ones_get_their_nearest_free(fitted):
    tokenizer, semantic, unseen = fitted
    identifiers = identifiers_with_unseen(tokenizer, semantic, unseen)
    seen = np.setdiff1d(np.arange(60), unseen)
    assert np.array_equal(identifiers.codes[seen], tokenizer.identifiers().codes)
    own, residuals = tokenizer.encode(semantic[unseen])
    assert np.array_equal(identifiers.codes[unseen, :-1], own[:, :-1])
    taken = {tuple(row) for row in tokenizer.identifiers().codes.tolist()}
    for item, row, residual in zip(unseen, own, residuals, strict=True):
        distances = np.square(residual - tokenizer.codebooks()[-1]).sum(axis=1)
        free = [c for c in range(8) if (*row[:-1].tolist(), c) not in taken]
        assert identifiers.codes[item, -1] == min(free, key=lambda c: distances[c])
        taken.add(tuple(identifiers.codes[item].tolist()))


def test_an_unseen_item_with_a_seen_one_s_text_shares_its_beginning_and_not_its_identifier(fitted):
    tokenizer, semantic, unseen = fitted
    doubled = semantic.copy()
    doubled[0] = semantic[1]
    identifiers = identifiers_with_unseen(tokenizer, doubled, unseen)
    assert np.array_equal(identifiers.codes[0, :-1], identifiers.codes[1, :-1])
    assert identifiers.codes[0, -1] != identifiers.codes[1, -1]


def test_unseen_items_with_one_text_do_not_share_an_identifier_either(fitted):
    tokenizer, semantic, unseen = fitted
    doubled = semantic.copy()
    doubled[unseen[:3]] = semantic[unseen[0]]
    codes = identifiers_with_unseen(tokenizer, doubled, unseen).codes[unseen[:3]]
    assert (codes[:, :-1] == codes[0, :-1]).all() and len(set(codes[:, -1])) == 3


@pytest.mark.parametrize("unseen", [[-1], [3, 60]])
def test_an_unseen_item_that_has_no_row_is_refused(fitted, unseen):
    tokenizer, semantic, _ = fitted
    with pytest.raises(LetterError, match=f"unseen item {unseen[-1]}: .* items 0-59"):
        identifiers_with_unseen(tokenizer, semantic, unseen)


def test_where_no_last_code_is_free_an_unseen_item_has_its_own_one(fitted):
    tokenizer, semantic, unseen = fitted
    doubled = semantic.copy()
    doubled[unseen] = semantic[unseen[0]]  # ten items, eight last codes
    codes = identifiers_with_unseen(tokenizer, doubled, unseen).codes[unseen]
    assert len(set(codes[:, -1])) < 10
    assert codes[-1].tolist() == tokenizer.encode(semantic[unseen[:1]])[0][0].tolist()


def test_identifiers_of_an_item_do_not_depend_on_the_other_unseen_texts(fitted):
    tokenizer, semantic, unseen = fitted
    changed = semantic.copy()
    changed[unseen[1:]] += 100
    before, after = (identifiers_with_unseen(tokenizer, one, unseen) for one in (semantic, changed))
    assert np.array_equal(before.codes[unseen[0]], after.codes[unseen[0]])


def test_no_unseen_item_is_the_tokenizer_as_it_is(fitted):
    tokenizer, semantic, unseen = fitted
    seen = np.delete(semantic, unseen, axis=0)
    identifiers = identifiers_with_unseen(tokenizer, seen, np.array([], dtype=int))
    assert np.array_equal(identifiers.codes, tokenizer.identifiers().codes)
    with pytest.raises(LetterError, match="fitted on 50 items, but 60 of 60 are seen"):
        identifiers_with_unseen(tokenizer, semantic, np.array([], dtype=int))


def test_the_order_in_which_unseen_items_are_named_says_nothing(fitted):
    tokenizer, semantic, unseen = fitted
    doubled = semantic.copy()
    doubled[unseen] = semantic[unseen[0]]  # so that an item's code depends on who was before it
    expected = identifiers_with_unseen(tokenizer, doubled, unseen).codes
    for named in (unseen[::-1], [*unseen[3:], *unseen[:5]]):
        assert np.array_equal(identifiers_with_unseen(tokenizer, doubled, named).codes, expected)
