"""Item text of raw files made readable: HTML, white space, lists; and what stands in where there is
none.
"""

import html
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")


class ItemText(NamedTuple):
    """What a raw file says of an item, cleaned; empty where it says nothing."""

    title: str
    description: str
    labels: tuple[str, ...]

    @property
    def preference(self) -> tuple:
        """Of several entries for one item the largest is kept: one with a title, then the longest,
        then by alphabet.
        """
        return bool(self.title), len(self.title) + len(self.description), self


def clean(value: Any) -> str:
    """Text without HTML tags and entities, white space single; a list's parts are joined; anything
    else is empty.

    Entities can hide tags and further entities ("&amp;lt;b&amp;gt;"), so it goes on until nothing
    changes: cleaning twice gives what cleaning once gives.
    """
    if isinstance(value, list):
        value = " ".join(filter(None, map(clean, value)))
    if not isinstance(value, str):
        return ""
    value = whole_letters(value)
    while True:
        cleaner = TAG.sub(" ", HIDDEN.sub(" ", html.unescape(value)))
        cleaner = " ".join(cleaner.split())
        if cleaner == value:
            return value
        value = cleaner


def whole_letters(text: str) -> str:
    """The text with "?" for half of a letter, as an emoji cut in two leaves it; no file could hold
    that.
    """
    return text.encode(errors="replace").decode()


def labels_of(values: Iterable[Any]) -> tuple[str, ...]:
    """Clean labels, each once, in order. "|" separates them in `Dataset.items`, so inside one it
    becomes "/".
    """
    return tuple(filter(None, dict.fromkeys(clean(value).replace("|", "/") for value in values)))


def item_row(item: str, text: ItemText | None) -> dict[str, str]:
    """The item's row of `Dataset.items`.

    An item without a title is called "item B00..."; one without title and description is described
    to the encoder by its labels, and where it has none, by that same stand-in.
    """
    title, description, labels = text or ("", "", ())
    name = title or f"item {item}"
    words = text_of(title, description) or ", ".join(labels) or name
    return {"title": name, "text": words, "genres": genres_of(labels)}


def genres_of(labels: Iterable[str]) -> str:
    """Labels as `Dataset.items` has them: without white space around them, without empty ones,
    separated by "|".
    """
    return "|".join(one.strip() for one in labels if one.strip())


def text_of(title: str, description: str) -> str:
    """What the encoder reads of an item. Either may be empty."""
    return ". ".join(filter(None, [title, description]))
