"""Exceptions for bad input that one line explains, and a guess at what was meant."""

import difflib
from collections.abc import Iterable
from typing import Any


class LetterError(Exception):
    """Bad input: one line that says what is wrong, where, and what to do.

    The command line prints the line alone and exits with code 2. Programming errors stay ordinary
    exceptions, because their traceback is the useful part.
    """

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class Unavailable(LetterError):
    """A system or figure needs what this data set does not have; others can go on without it."""


class NotRanked(LetterError, ValueError):
    """Scores that have no order, from weights or from a user's function."""


class NotLearned(LetterError, AttributeError):
    """Asked before training. An AttributeError as well, so that `hasattr` says no."""


class Learned:
    """An attribute that `fit` and `load` set. Reading it before raises `NotLearned`."""

    def __get__(self, model: Any, kind: type) -> Any:
        # Python calls this only while the model itself has no attribute of this name.
        if model is None:
            return self
        load = ", or load a saved model" if hasattr(kind, "load") else ""
        raise NotLearned(f"{kind.__name__} is not trained yet; call fit first{load}")


def did_you_mean(name: str, possible: Iterable[str]) -> str:
    """The most similar of the possible names as a question and a space; "" if none is similar."""
    close = difflib.get_close_matches(name, possible, n=1)
    return f'did you mean "{close[0]}"? ' if close else ""
