"""The exercises of lesson 05: similarity experiment, rank of a target, shared identifiers, the
release format.

Vectors are of very different lengths, so that cosine and dot product disagree, and scores are whole
numbers, or these divided by a power of 2, where a tie matters, so that equal scores are equal in
every order of adding up.
"""

from collections import Counter
from math import comb
from typing import Any

import numpy as np
import torch
from torch import Generator

from letterlib.analysis.collaborative_signal import (
    nearest_neighbours,
    similarity_experiment,
    target_ranks,
)
from letterlib.course.checks import Case, Exercise, Incorrect, call, compare, several
from letterlib.course.lesson_01 import with_diagonal
from letterlib.course.values import kind_of
from letterlib.tokenizer.identifiers import Identifiers, token


def similarity_cases(generator: Generator) -> list[Case]:
    """Two items that look in opposite directions, neighbours all the same; twins, of whom either
    may be the first of its own list; then more, at random.
    """
    opposite = np.array([[3.0, 4.0], [-6.0, -8.0]])  # a cosine of -1: only -infinity is lower
    twins = np.array(
        [[2.0, 0.0], [-1.0, 3.0], [2.0, 0.0], [-2.0, 5.0]]
    )  # on an axis, where no rounding parts them
    cases = [
        {"codes": np.array([[0, 1], [1, 1]]), "cf_vectors": opposite},
        {"codes": np.array([[0, 1], [2, 0], [1, 1], [2, 1]]), "cf_vectors": twins},
    ]
    for n, dim, levels, size in [(4, 2, 2, 2), (60, 3, 3, 3)]:
        lengths = 10 ** _uniform(generator, n, 1)
        directions = torch.randn(n, dim, generator=generator, dtype=torch.float64).numpy()
        vectors = np.round(directions * lengths, 3)
        cases.append({"codes": _whole(generator, (n, levels), size), "cf_vectors": vectors})
    return cases


def similarity(answer: Any, case: Case) -> None:
    """5.1: codes int64 [n, L], cf_vectors [n, d] -> share of equal codes by level, float [L]."""
    codes, vectors = case.values()
    neighbours = nearest_neighbours(vectors)
    expected = np.array(similarity_experiment(codes, neighbours).by_level)
    equal = codes == codes[neighbours]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    by_value = np.where(cosines > 1 - 1e-5, -np.inf, cosines)
    second = np.argsort(-unit @ unit.T, axis=1, kind="stable")[:, 1]
    causes = [
        (
            (codes == codes[second]).mean(axis=0),
            "the first of the list is dropped. With two equal films it may be the "
            "other one: exclude the film itself.",
        ),
        *(
            (
                (codes == codes[one.argmax(axis=1)]).mean(axis=0),
                "a diagonal that is not low enough: a cosine may be as low as -1. Use `-np.inf`.",
            )
            for one in (with_diagonal(cosines, 0), with_diagonal(cosines, -1))
        ),
        (
            (codes == codes[by_value.argmax(axis=1)]).mean(axis=0),
            "all with cosine 1 are left out. Leave out the item by its place: two may be equal.",
        ),
        (
            np.ones(codes.shape[1]),
            "every item is its own nearest neighbour. Leave it out before looking for the best; "
            "the best is `argmax`.",
        ),
        (
            equal.mean(axis=1),
            "a mean over levels, one number per item. Average over items: one number per level.",
        ),
        (equal.sum(axis=0), "a sum; the share is the mean over items."),
        (
            np.logical_and.accumulate(equal, axis=1).mean(axis=0),
            "prefixes: this level *and all before it* agree. "
            "Here each level is compared by itself.",
        ),
        *_other_neighbours(codes, vectors),
        (1 - expected, "the share of *different* codes."),
        (
            np.abs(codes - codes[neighbours]).mean(axis=0),
            "a difference of codes. They are names: equal or not.",
        ),
    ]
    returned = call(answer, case)
    if isinstance(returned, np.ndarray) and returned.dtype.kind == "b":
        causes = []  # true and false have an error of their own, whatever they resemble as numbers
    if np.isscalar(returned):
        cause = (
            "a mean over items *and* levels (keep the levels apart: `mean(axis=0)`), or a "
            "`return` inside the loop."
        )
        raise Incorrect("One number, and one per level is asked for.", case, cause=cause)
    compare("the shares", returned, expected, case, causes)


def _other_neighbours(codes: np.ndarray, vectors: np.ndarray) -> list[tuple[np.ndarray, str]]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    columns = vectors / np.linalg.norm(vectors, axis=0)
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    centred = vectors - vectors.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    scores = [
        (
            vectors @ vectors.T,
            "dot products of vectors as they are, or all divided by one number: long vectors win. "
            "Divide each row by its own length first (`np.linalg.norm` without `axis=1` is one "
            "number for the whole "
            "table).",
        ),
        (-distances, "Euclidean distances; the experiment compares directions, by cosine."),
        (
            columns @ columns.T,
            "columns divided by their lengths. Every *row* is a vector: `axis=1`.",
        ),
        (-unit @ unit.T, "the neighbour with the *lowest* cosine."),
        (
            centred @ centred.T,
            "vectors with their mean taken away, as in lesson 03. Here they stay as they are.",
        ),
    ]
    found = []
    for score, cause in scores:
        np.fill_diagonal(score, -np.inf)
        found.append(((codes == codes[score.argmax(axis=1)]).mean(axis=0), cause))
    return found


def rank_cases(generator: Generator) -> list[Case]:
    """First three states and two items with equal scores; then two states and scores that are no
    whole numbers; then (cases, items, dimensions), the last with scores of which many differ by a
    thousandth.
    """
    tied = {
        "states": np.array([[1.0], [-1], [3]]),
        "vectors": np.array([[2.0], [2]]),
        "targets": np.array([1, 0, 1]),
    }
    fractions = {
        "states": np.array([[0.5], [0.25]]),
        "vectors": np.array([[1.0], [1.5]]),
        "targets": np.array([0, 0]),
    }
    drawn = []
    for n, items, dim in [(1, 3, 1), (2, 4, 2), (40, 30, 2)]:
        states, vectors = (
            _whole(generator, (rows, dim), 7).astype(np.float64) - 3 for rows in (n, items)
        )
        drawn.append(
            {"states": states, "vectors": vectors, "targets": _whole(generator, (n,), items)}
        )
    drawn[-1]["states"] /= 1024
    return [tied, fractions, *drawn]


def rank(answer: Any, case: Case) -> None:
    """5.2: states [n, d], vectors [n_items, d], targets int64 [n] -> ranks int64 [n], 0 first, ties
    by lower id.
    """
    states, vectors, targets = case.values()
    expected = target_ranks(states, vectors, targets)
    scores, rows = states @ vectors.T, np.arange(len(states))
    own = scores[rows, targets][:, None]
    order = np.argsort(-scores, axis=1, kind="stable")
    ids = np.arange(len(vectors))
    later = ((scores == own) & (ids > targets[:, None])).sum(axis=1)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    with np.errstate(invalid="ignore"):  # a vector of zeros has no direction
        cosines = scores / (
            np.linalg.norm(states, axis=1)[:, None] * np.linalg.norm(vectors, axis=1)
        )
    its = cosines[rows, targets][:, None]
    returned = call(answer, case)
    causes = [
        (
            targets,
            "the order of the ids alone: scores that are rounded or made whole numbers, a large "
            "number per id "
            "taken away, or the targets themselves.",
        ),
        (expected + 1, "counting from 1, or the target itself counted. The best item has rank 0."),
        (
            (scores > own).sum(axis=1),
            "ties all go to the target: count the items with an equal score and a lower id.",
        ),
        (
            (scores >= own).sum(axis=1) - 1,
            "ties all go against the target. Only those with a lower id come before it.",
        ),
        ((scores >= own).sum(axis=1), "the target comes after itself, and ties all go against it."),
        ((scores > own).sum(axis=1) + later, "ties broken by the *higher* id."),
        (
            ((scores > own) | (ids < targets[:, None])).sum(axis=1),
            "every lower id counted; only those with an *equal* score come before the target.",
        ),
        (
            (scores < own).sum(axis=1),
            "items with a *lower* score counted; those with a higher one come before it.",
        ),
        (
            order[rows, targets],
            "`argsort` says which item is at a place; you need the place of an item.",
        ),
        (
            np.argsort(scores, axis=1, kind="stable").argsort(axis=1)[rows, targets],
            "sorted upwards: best comes last.",
        ),
        (
            (np.argsort(-scores, axis=1) == targets[:, None]).argmax(axis=1),
            '`np.argsort` leaves the order of ties open. Use `kind="stable"`.',
        ),
        (order, "the whole ranking. Return the target's place in it."),
        (
            ((cosines > its) | ((cosines == its) & (ids < targets[:, None]))).sum(axis=1),
            "cosines. SASRec scores with the dot product, so lengths count.",
        ),
        (
            target_ranks(states, unit, targets),
            "cosines. SASRec scores with the dot product, so lengths count.",
        ),
        (own[:, 0], "the target's score; its rank is how many items come before it."),
        *(
            (
                _rank_by(scores.round(digits), targets),
                "scores that are rounded or made whole numbers, so that unequal ones tie.",
            )
            for digits in (0, 2)
        ),
        *(
            (
                _rank_by(scores - small * ids, targets),
                "a number per id taken from the scores: it outweighs small "
                "differences. Compare ids only where scores are equal.",
            )
            for small in (1, 0.1, 0.01, 1e-3, 1e-4)
        ),
    ]
    whole = (
        isinstance(returned, np.ndarray)
        and returned.shape == expected.shape
        and returned.dtype.kind in "iu"
    )
    ahead, at_most = (scores > own).sum(axis=1), (scores >= own).sum(axis=1) - 1
    if whole and ((ahead <= returned) & (returned <= at_most)).all():
        causes.append(
            (
                returned,
                "ties in another order. Of films with equal scores the lower id comes first.",
            )
        )
    compare("the ranks", returned, expected, case, causes)


def _rank_by(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    order = np.argsort(-scores, axis=1, kind="stable")
    return (order == targets[:, None]).argmax(axis=1)


def sharing_cases(generator: Generator) -> list[Case]:
    """No item shares, though some identifiers look alike; two do; then groups of two, three and
    five among many.

    Each has another number of levels.
    """
    digits = np.array([[0, 1], [1, 0], [0, 10], [10, 0], [0, 100], [100, 0]])
    groups = [[1, 1], [2, 1], [5, 3, 3, 2, *[1] * 20]]
    cases = [{"codes": digits}]
    for n_levels, sizes in zip((3, 4, 5), groups, strict=True):
        picked = torch.randperm(3**n_levels, generator=generator)[: len(sizes)].numpy()
        distinct = picked[:, None] // 3 ** np.arange(n_levels) % 3
        # Codes of one, two and three digits: joined without a sign between them, two identifiers
        # may look alike.
        names = np.array([1, 11, 111])[distinct]
        names[-1] = 2  # and one, which is alone, may not,
        names[-2, 0] = 3  # nor one that has codes in common with others
        if len(names) > 2:
            names[-3] = [*names[-4][:-1], 4]  # two that differ in the last code alone
        codes = np.repeat(names, sizes, axis=0)
        cases.append({"codes": codes[torch.randperm(len(codes), generator=generator).numpy()]})
    return cases


def sharing(answer: Any, case: Case) -> None:
    """5.3: codes int64 [n_items, L] -> (number of items that share, collision rate)."""
    identifiers = Identifiers(case["codes"], (256,) * case["codes"].shape[1])
    returned = several(call(answer, case), ["sharing", "rate"], case, "numbers")
    n, sharing, rate = identifiers.n_items, identifiers.n_colliding, identifiers.collision_rate
    sizes = list(Counter(map(tuple, case["codes"].tolist())).values())
    numbers = np.unique(case["codes"], return_counts=True)[1]
    in_part = ((case["codes"][:, None] == case["codes"]).any(axis=2).sum(axis=1) > 1).sum()
    shared = sum(size > 1 for size in sizes)
    single = "single codes counted. With `axis=0`, `np.unique` compares whole rows."
    joined = Counter("".join(map(str, row)) for row in case["codes"].tolist())
    causes = [
        (rate, "the two results in the other order."),
        (
            sum(comb(size, 2) for size in sizes),
            "pairs. Five items with one identifier are ten pairs and five items.",
        ),
        (2 * sum(comb(size, 2) for size in sizes), "pairs, each counted twice. Count items."),
        (
            n - len(sizes),
            "items beyond the first of each identifier. The first one shares its identifier too.",
        ),
        (shared, "identifiers that are shared. Count the items that have them."),
        (sum(size == 1 for size in sizes), "the items that are *alone*; count the others."),
        *((counts.sum(), single) for counts in (numbers, numbers[numbers > 1])),
        (
            in_part,
            "items that have *one* code in common with another. All of them have to be equal: "
            "`all`, not `any`.",
        ),
        (n, "all items. Compare whole rows, and count only those that more than one item has."),
        (sharing / n, "a share; a number of items is asked for."),
        (
            sum(size for size in joined.values() if size > 1),
            "codes joined without a sign between them: 1, 11 and 11, 1 become one name.",
        ),
        (len(sizes), "the number of distinct identifiers."),
    ]
    compare("sharing", returned[0], sharing, case, causes)
    causes = [
        (sharing, "the two results are the same number."),
        (
            sharing / n,
            "sharing items / items. The rate of the papers is 1 - distinct identifiers / items.",
        ),
        *(
            (
                shared / total,
                "how many identifiers are shared, divided. The rate of the papers is 1 - distinct "
                "identifiers / items.",
            )
            for total in (len(sizes), n)
        ),
        (len(sizes) / n, "distinct identifiers / items. Take it from 1."),
        *((1 - len(numbers) / total, single) for total in (n, case["codes"].size)),
        (n - len(sizes), "a count; divide by the number of items."),
        (
            1 - len(joined) / n,
            "codes joined without a sign between them: 1, 11 and 11, 1 become one name.",
        ),
        (100 * rate, "a percentage; a share from 0 to 1 is asked for."),
    ]
    compare("rate", returned[1], rate, case, causes)


def _whole(generator: Generator, shape: tuple[int, ...], size: int) -> np.ndarray:
    return torch.randint(size, shape, generator=generator).numpy()


def _uniform(generator: Generator, *shape: int) -> np.ndarray:
    return torch.rand(*shape, generator=generator, dtype=torch.float64).numpy()


# 5.4 The table of the release format: every item's tokens under its number


def table_cases(generator: Generator) -> list[Case]:
    """One code; one item; then more than ten items with codes of one, two and three digits."""
    shapes = [(1, 1, 10), (1, 3, 100), (3, 2, 256), (1, 9, 256), (2, 26, 256), (12, 4, 256)]
    cases = [
        {"codes": torch.randint(size, (n, levels), generator=generator).numpy()}
        for n, levels, size in shapes
    ]
    for case in cases[2:]:
        case["codes"][0, :2] = [0, 255]
    return cases


def table(answer: Any, case: Case) -> None:
    """5.4: codes int64 [n_items, L] -> {"0": ["<a_12>", ...], ...}."""
    codes, returned = case["codes"], call(answer, case)
    wanted = {
        str(item): [token(level, int(code)) for level, code in enumerate(row)]
        for item, row in enumerate(codes)
    }
    if not isinstance(returned, dict):
        cause = "the rows alone. In the file every item's row stands under its number."
        cause = (
            "JSON text. Return the table itself, a dict." if isinstance(returned, str) else cause
        )
        raise Incorrect(
            f"The table should be a dict and is {kind_of(returned)}.", case, cause=cause
        )
    wrong = {"expected": wanted, "actual": returned}
    if returned.keys() != wanted.keys():
        as_numbers = bool(returned) and all(not isinstance(key, str) for key in returned)
        numbers = 'numbers as keys. JSON has only strings as keys: "0", not 0.'
        cause = numbers if as_numbers else 'keys that are not "0", "1", ... up to the last item.'
        raise Incorrect("The keys are not those of the file.", case, cause=cause, **wrong)
    odd = next((row for row in returned.values() if not isinstance(row, list)), None)
    if odd is not None:
        name = type(odd).__name__
        cause = _NO_LIST.get(name, f"a row of another kind: {name}.")
        if isinstance(odd, np.ndarray) and odd.dtype.kind in "iuf":
            cause = _CODES
        raise Incorrect("Every row should be a list of tokens.", case, cause=cause, **wrong)
    # Numbers are compared below, where there is more to say of them. A NumPy string is a str, which
    # JSON can write.
    odd = next(
        (
            one
            for row in returned.values()
            for one in row
            if not isinstance(one, (str, int, np.number))
        ),
        None,
    )
    if odd is not None:
        cause = f"a token of another kind: {type(odd).__name__}."
        raise Incorrect("Every token should be a string.", case, cause=cause, **wrong)
    if returned != wanted:
        raise Incorrect(
            "A row is not as in the file.",
            case,
            cause=_cause_of_row(codes, returned, wanted),
            **wrong,
        )


_CODES = 'the codes themselves. A token is a string such as "<a_12>".'
_NO_LIST = {
    "str": "one long string in place of the row's tokens.",
    "tuple": "a tuple of tokens; JSON would write it as a list, so return a list.",
    "ndarray": "an array of tokens; JSON cannot write it. `.tolist()` makes a list of it.",
    "generator": "round brackets around the loop; square ones make a list.",
}


def _cause_of_row(codes: np.ndarray, returned: dict, wanted: dict) -> str:
    def everywhere(wrong: Any) -> bool:
        return all(
            returned[str(item)] == wrong(row.tolist(), wanted[str(item)])
            for item, row in enumerate(codes)
        )

    letters = "abcdefghijklmnopqrstuvwxyz{"  # and what follows z in ASCII
    causes = [
        (lambda row, right: row, _CODES),
        (
            lambda row, right: [str(code) for code in row],
            "codes as strings. A token has its level's letter too.",
        ),
        (
            lambda row, right: [f"<{code}>" for code in row],
            "the level's letter is missing: code 7 of level 1 and of level 2 would be one token.",
        ),
        (lambda row, right: [f"<a_{code}>" for code in row], "the letter a at every level."),
        (
            lambda row, right: right[::-1],
            "levels in the wrong order: the coarse one, <a_...>, comes first.",
        ),
        (
            lambda row, right: [token(level, code) for level, code in enumerate(row[::-1])],
            "codes in reverse order.",
        ),
        (
            lambda row, right: [f"<{letters[level + 1]}_{code}>" for level, code in enumerate(row)],
            "letters begin with b. Level 1 is a.",
        ),
        (
            lambda row, right: [f"<{level}_{code}>" for level, code in enumerate(row)],
            "a number for the level; the format has letters.",
        ),
        (
            lambda row, right: [f"<{level}_{code}>" for level, code in enumerate(row, start=1)],
            "a number for the level; the format has letters.",
        ),
        (
            lambda row, right: [token(level, code + 1) for level, code in enumerate(row)],
            "codes counted from 1.",
        ),
        (lambda row, right: [one.strip("<>") for one in right], "the angle brackets are missing."),
        (lambda row, right: [one.replace("_", "") for one in right], "the underscore is missing."),
        (
            lambda row, right: [f"<{letters[level]}_{code:03}>" for level, code in enumerate(row)],
            "zeros in front of the code: <a_007> is another string than <a_7>.",
        ),
    ]
    by_item = {
        str(item): [f"<{letters[item % 27]}_{code}>" for code in row]
        for item, row in enumerate(codes)
    }
    if returned == by_item:
        return "the letter of the item's row; it says the level."
    if all(right[: len(returned[item])] == returned[item] for item, right in wanted.items()):
        return (
            "fewer tokens than levels: one token a level, and there may be 26. Did the "
            "letters run out?"
        )
    unknown = "a token that is not `<letter_code>`, or not one token a level."
    return next((text for wrong, text in causes if everywhere(wrong)), unknown)


EXERCISES = {
    "5.1": Exercise(similarity_cases, similarity),
    "5.2": Exercise(rank_cases, rank),
    "5.3": Exercise(sharing_cases, sharing),
    "5.4": Exercise(table_cases, table),
}
