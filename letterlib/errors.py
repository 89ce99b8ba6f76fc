"""Exceptions for bad input that one line explains, and a guess at what was meant."""

import difflib
import importlib.util
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class LetterError(Exception):
    """Bad input: one line that says what is wrong, where, and what to do.

    The command line prints the line alone and exits with code 2. Programming errors stay ordinary
    exceptions, because their traceback is the useful part.
    """

    def __str__(self) -> str:
        # A name in a file, or another library's message, may have several lines.
        return " ".join(super().__str__().splitlines())

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows instead of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class Unavailable(LetterError):
    """A system or figure needs what this data set does not have; others can go on without it."""


class NotInstalled(LetterError, ImportError):
    """A package of an extra is not installed; the line says which extra brings it."""


NO_MEMORY = re.compile(
    "out of memory|(can't|cannot|unable to) allocate|ALLOC_FAILED|bad_alloc|array is too big|"
    "storage size calculation overflowed|not enough memory",
    re.IGNORECASE,
)
"""How NumPy, torch, CUDA and the system say it; the last words are torch's with Windows."""


def one_line(error: Exception) -> str | None:
    """The line that the command line prints for an error; None if the traceback is of more use."""
    if isinstance(error, LetterError):
        return str(error)
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return (
            f"out of memory ({reason}); lower a batch size, a width or the beams "
            "(letterlib settings lists them), or choose a smaller --profile. Finished stages are "
            "kept"
        )
    return str(error) if isinstance(error, OSError) else None


@contextmanager
def optional(extra: str) -> Iterator[None]:
    """Around imports of packages that only an extra of pyproject.toml installs.

        with optional("plots"):
            import seaborn

    Raises NotInstalled, naming the package and the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise not_installed(error.name or "a package", extra) from error


def require(package: str, extra: str) -> None:
    """Raise NotInstalled where a package of an extra is missing; nothing is imported."""
    if importlib.util.find_spec(package) is None:
        raise not_installed(package, extra)


def not_installed(package: str, extra: str) -> NotInstalled:
    """The error to raise for a package of an extra."""
    return NotInstalled(
        f"{package} is not installed; it comes with an extra: pip install 'letterlib[{extra}]'"
    )


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
