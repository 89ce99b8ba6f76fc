"""Raw files as the four releases have them, made: reviews and metadata."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

FILES = {
    "amazon-2014-beauty": ("reviews_Beauty_5.json.gz", "meta_Beauty.json.gz"),
    "amazon-2018-musical-instruments": (
        "Musical_Instruments_5.json.gz",
        "meta_Musical_Instruments.json.gz",
    ),
    "amazon-2023-musical-instruments": (
        "Musical_Instruments.jsonl.gz",
        "meta_Musical_Instruments.jsonl.gz",
    ),
    "yelp": ("yelp_academic_dataset_review.json", "yelp_academic_dataset_business.json"),
}
NAMES = BEAUTY, INSTRUMENTS, NEW, YELP = list(FILES)
START = 1_546_300_800  # 2019-01-01 00:00:00 UTC, in every release's range
LABELS = ["Beauty", "Hair Care", "Gifts"]


def review_line(name: str, user: str, item: str, minutes: int) -> str:
    """A review that many minutes into 2019, with the fields of its release."""
    seconds = START + 60 * minutes
    if name == YELP:
        fields = {"user_id": user, "business_id": item, "stars": 4.0}
        fields["date"] = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
    elif name == NEW:
        fields = {"title": "Good", "asin": f"{item}-variant", "parent_asin": item, "user_id": user}
        fields["timestamp"] = 1000 * seconds
    else:
        fields = {"reviewerID": user, "asin": item, "unixReviewTime": seconds}
    return json.dumps(fields | {"text": "Twice!"})


def item_line(name: str, item: str, title: str | None = None, about: str | None = None) -> str:
    """An item of the metadata, with the fields of its release; without title or text if None."""
    if name == YELP:
        fields = {"business_id": item, "name": title, "categories": ", ".join(LABELS)}
    elif name == NEW:
        fields = {"title": title, "description": [about] if about else [], "parent_asin": item}
        fields |= {"features": [], "categories": LABELS}
    elif name == INSTRUMENTS:
        fields = {"category": LABELS, "asin": item, "also_buy": ["B9"], "title": title}
        fields |= {"description": [about, ""] if about else [], "feature": []}
    else:
        fields = {"asin": item, "categories": [["Beauty", "Hair Care"], ["Beauty", "Gifts"]]}
        fields |= {"title": title, "description": about}
        return repr({key: value for key, value in fields.items() if value is not None})
    return json.dumps(fields)


def write_lines(path: Path, lines: list[str]) -> Path:
    """Lines as a file, gzipped where its name says so."""
    content = "".join(line + "\n" for line in lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_raw(
    folder: Path, name: str, reviews: list[tuple[str, str, int]], items: list[str]
) -> Path:
    """Both files of a data set: reviews as (user, item, minutes), metadata as lines."""
    file, metadata = FILES[name]
    write_lines(folder / file, [review_line(name, *review) for review in reviews])
    write_lines(folder / metadata, items)
    return folder


def block(users: int = 6, items: int = 6) -> list[tuple[str, str, int]]:
    """Every user has every item, at times of their own: a 5-core from 5 x 5 on."""
    return [(f"U{u}", f"B{i}", 100 * u + i) for u in range(users) for i in range(items)]


def block_items(name: str, items: int = 6) -> list[str]:
    return [item_line(name, f"B{i}", f"Thing {i}", f"It is number {i}") for i in range(items)]
