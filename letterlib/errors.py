"""The one exception for mistakes that a user can mend, and a guess at what was meant."""

import difflib
from collections.abc import Iterable


class LetterError(Exception):
    """Bad input: one line that says what is wrong, where, and what to do about it.

    The command line prints the line alone and exits with code 2; a traceback would bury it.
    Programming errors stay ordinary exceptions, because their traceback is the useful part.
    """


class Unavailable(LetterError):
    """A system or figure needs what this data set does not have. Of many, the others can go on without it."""


def did_you_mean(name: str, possible: Iterable[str]) -> str:
    """The most similar of the possible names, as a question and a space; empty where none is similar."""
    close = difflib.get_close_matches(name, possible, n=1)
    return f'did you mean "{close[0]}"? ' if close else ""
