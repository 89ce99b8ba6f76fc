"""Exercise 5.4: the table of the release format, every item's tokens under its number."""

from typing import Any

import numpy as np
import torch
from torch import Generator

from letterlib.course.checks import Case, Incorrect, call
from letterlib.course.values import kind_of
from letterlib.tokenizer.identifiers import token


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
        return "fewer tokens than levels: one token a level, and there may be 26. Did the letters run out?"
    unknown = "a token that is not `<letter_code>`, or not one token a level."
    return next((text for wrong, text in causes if everywhere(wrong)), unknown)
