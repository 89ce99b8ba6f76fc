"""What a model has after `fit` or `load` alone, and the error for whoever asks for it before."""

from typing import Any

from letterlib.errors import LetterError


class NotLearned(LetterError, AttributeError):
    """Asked for too early. An AttributeError as well, so that `hasattr` says no."""


class Learned:
    """An attribute that `fit` and `load` set; reading it before is a LetterError that says what to
    do.
    """

    def __get__(self, model: Any, kind: type) -> Any:
        # Python comes here only while the model has no attribute of this name itself.
        if model is None:
            return self
        load = ", or load a saved model" if hasattr(kind, "load") else ""
        raise NotLearned(f"{kind.__name__}: it has learnt nothing yet; call fit first{load}")
