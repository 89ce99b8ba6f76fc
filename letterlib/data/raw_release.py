"""Which release a raw file is from, and whether it holds reviews: its first lines show it."""

from itertools import islice
from pathlib import Path

from letterlib.data.raw_lines import BadLine, json_object, read_lines
from letterlib.errors import LetterError

MARKS = {
    "Amazon 2014": {"reviewerID", "helpful"},
    "Amazon 2018": {"reviewerID", "verified"},
    "Amazon 2023": {"user_id", "parent_asin"},
    "Yelp": {"user_id", "business_id", "stars"},
}
"""The fields by which a review shows the release that it is from."""


def check_reviews(file: Path, release: str) -> None:
    """LetterError where the first line that is JSON is a review of another release. release: see
    `RawSource`.
    """
    shown, own = _release_of_reviews(file), release.partition(",")[0]
    if shown and own not in shown:
        raise LetterError(
            f"{file}: holds reviews of {shown[0]}, not of {own}; check --dataset and the file"
        )


def check_metadata(file: Path, release: str) -> None:
    """LetterError where the first line that is JSON is a review, in the place of the metadata."""
    if shown := _release_of_reviews(file):
        raise LetterError(
            f"{file}: holds reviews of {shown[0]}, and should hold the metadata of {release}"
        )


def _release_of_reviews(file: Path) -> list[str]:
    """The releases whose reviews look like the first line that is a JSON object; empty where it is
    no review.
    """
    for line in islice(read_lines(file, disable=True), 100):
        try:
            fields = json_object(line).keys()
        except BadLine:
            continue
        return [release for release, marks in MARKS.items() if marks <= fields]
    return []
