"""What people say they like and look for, where somebody has written it down."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from letterlib.data.dataset import Dataset
from letterlib.errors import LetterError
from letterlib.store import read_json


@dataclass(frozen=True)
class Intentions:
    """What people say they want. preferences: by user label, at least one text. searches: by user
    label, (item id, queries).

    `load` reads `<Name>.user.json`, the file in which LC-Rec's authors keep what a large model
    wrote for them; a user with an empty list of preferences has none.
    """

    preferences: dict[str, list[str]]
    searches: dict[str, tuple[int, list[str]]]

    @classmethod
    def load(cls, path: str | Path, dataset: Dataset) -> "Intentions":
        """Read such a file. One of another form, or of users or items that `dataset` lacks, is a
        LetterError.
        """
        table = read_json(path)
        try:
            said = table["user_explicit_preference"]
            preferences = {user: _texts(text) for user, text in said.items()}
            searches = {
                user: (int(str(one["item"])), _texts(one["querys"]))
                for user, one in table["user_vague_intention"]["train"].items()
            }
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise LetterError(
                f'{path}: expected {{"user_explicit_preference": {{user: [text, ...]}}, "user_vague_intention": '
                f'{{"train": {{user: {{"item": id, "querys": [text, ...]}}}}}}}}; could not read it ({error!r})'
            ) from error
        strangers = (preferences.keys() | searches.keys()) - set(dataset.user_labels)
        if strangers:
            raise LetterError(
                f'{path}: user "{min(strangers)}" is not in {dataset.name}; use the file made for it'
            )
        outside = [item for item, _ in searches.values() if not 0 <= item < dataset.n_items]
        if outside:
            raise LetterError(
                f"{path}: item {outside[0]} is not in {dataset.name} (ids 0-{dataset.n_items - 1})"
            )
        return cls({user: texts for user, texts in preferences.items() if texts}, searches)


def _texts(value: Any) -> list[str]:
    """One text or several, in a list."""
    texts = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{value!r:.40} is not text")
    return texts
