"""Raw files as the four releases have them, made: reviews, metadata, and the defects that real ones
have.
"""

import gzip
import json
from pathlib import Path

NAMES = [
    "amazon-2014-beauty",
    "amazon-2018-musical-instruments",
    "amazon-2023-musical-instruments",
    "yelp",
]
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
START = 1_546_300_800  # 2019-01-01 00:00:00 UTC, in every release's range


def review_line(name: str, user: str, item: str, minutes: int) -> str:
    """A review that many minutes into 2019, with the fields of its release."""
    seconds = START + 60 * minutes
    words = {"summary": "Good &amp; cheap", "reviewText": "I bought it twice.\nTwice!"}
    if name.startswith("amazon-2014"):
        fields = {
            "reviewerID": user,
            "asin": item,
            "reviewerName": "A. B.",
            "helpful": [0, 1],
            "overall": 5.0,
        }
        fields |= {"unixReviewTime": seconds, "reviewTime": "01 1, 2019"} | words
    elif name.startswith("amazon-2018"):
        fields = {
            "overall": 4.0,
            "vote": "2",
            "verified": True,
            "reviewTime": "01 1, 2019",
            "reviewerID": user,
        }
        fields |= {
            "asin": item,
            "style": {"Color:": " Red"},
            "unixReviewTime": seconds,
            "image": ["x.jpg"],
        } | words
    elif name.startswith("amazon-2023"):
        fields = {
            "rating": 5.0,
            "title": "Good",
            "text": "Twice!",
            "images": [],
            "asin": item + "-variant",
        }
        fields |= {
            "parent_asin": item,
            "user_id": user,
            "timestamp": seconds * 1000,
            "verified_purchase": True,
        }
    else:
        days, rest = divmod(minutes, 24 * 60)
        month, day = divmod(days, 28)
        date = f"2019-{month + 1:02}-{day + 1:02} {rest // 60:02}:{rest % 60:02}:00"
        fields = {
            "review_id": f"r{user}{item}",
            "user_id": user,
            "business_id": item,
            "stars": 4.0,
            "date": date,
        }
        fields |= {"useful": 0, "text": "Twice!"}
    return json.dumps(fields)


def item_line(
    name: str, item: str, title: str | None = None, description: str | None = None
) -> str:
    """An item of the metadata, with the fields of its release; `title` and `description` absent
    where None.
    """
    if name.startswith("amazon-2014"):
        fields = {
            "asin": item,
            "categories": [["Beauty", "Hair Care"], ["Beauty", "Gifts"]],
            "salesRank": {"Beauty": 7},
        }
        fields |= {"title": title} if title is not None else {}
        fields |= {"description": description} if description is not None else {}
        return repr(fields)
    if name.startswith("amazon-2018"):
        fields = {
            "category": ["Beauty", "Hair Care", "Gifts"],
            "asin": item,
            "tech1": "",
            "also_buy": ["B9"],
        }
        fields |= {"title": title} if title is not None else {}
        fields |= {
            "description": [description, ""] if description is not None else [],
            "feature": [],
        }
    elif name.startswith("amazon-2023"):
        fields = {
            "main_category": "All Beauty",
            "title": title,
            "features": [],
            "price": None,
            "store": "S",
        }
        fields |= {
            "description": [description] if description is not None else [],
            "parent_asin": item,
        }
        fields |= {"categories": ["Beauty", "Hair Care", "Gifts"]}
    else:
        fields = {
            "business_id": item,
            "name": title,
            "city": "Tampa",
            "attributes": {"WiFi": "u'free'"},
        }
        fields |= {"categories": "Beauty, Hair Care, Gifts"}
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
    write_lines(folder / file, [review_line(name, *one) for one in reviews])
    write_lines(folder / metadata, items)
    return folder


def block(users: int = 6, items: int = 6) -> list[tuple[str, str, int]]:
    """Everybody has everything, at times of their own: a 5-core from 5 x 5 on."""
    return [(f"U{u}", f"B{i}", 100 * u + i) for u in range(users) for i in range(items)]


def block_items(name: str, items: int = 6) -> list[str]:
    return [item_line(name, f"B{i}", f"Thing {i}", f"It is number {i}") for i in range(items)]
