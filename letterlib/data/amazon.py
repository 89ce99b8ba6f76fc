"""Amazon reviews of 2014, 2018 and 2023 (McAuley lab, UCSD): three releases, three data sets, never
one column.

2014: McAuley et al., SIGIR 2015. 2018: Ni et al., EMNLP 2019. 2023: Hou et al., arXiv:2403.03952. A
data set is called amazon-<year>-<category>, the category being the file's, in lower case with
hyphens.
"""

import difflib
import re
from collections.abc import Callable
from typing import Any

from letterlib.data.raw import (
    ItemText,
    RawSource,
    Review,
    clean,
    json_object,
    labels_of,
    python_dict,
    text_field,
    time_of,
)
from letterlib.errors import LetterError

_IN_ALL = (
    "Automotive Books CDs_and_Vinyl Cell_Phones_and_Accessories Clothing_Shoes_and_Jewelry "
    "Digital_Music Electronics Grocery_and_Gourmet_Food Home_and_Kitchen Kindle_Store "
    "Movies_and_TV Musical_Instruments Office_Products Patio_Lawn_and_Garden Pet_Supplies "
    "Sports_and_Outdoors Tools_and_Home_Improvement Toys_and_Games Video_Games"
).split()
_SINCE_2018 = (
    "All_Beauty Appliances Arts_Crafts_and_Sewing Gift_Cards Industrial_and_Scientific "
    "Magazine_Subscriptions Software"
).split()
CATEGORIES = {
    2014: _IN_ALL
    + "Amazon_Instant_Video Apps_for_Android Baby Beauty Health_and_Personal_Care".split(),
    2018: _IN_ALL + _SINCE_2018 + "AMAZON_FASHION Luxury_Beauty Prime_Pantry".split(),
    2023: _IN_ALL
    + _SINCE_2018
    + "Amazon_Fashion Baby_Products Beauty_and_Personal_Care Handmade_Products".split()
    + "Health_and_Household Health_and_Personal_Care Subscription_Boxes Unknown".split(),
}
"""The categories of each release, as their files are called."""

PAPER = {
    "amazon-2014-beauty": (22_363, 12_101, 198_502),
    "amazon-2018-musical-instruments": (24_772, 9_922, 206_153),
}
PAGES = {
    2014: "https://cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html",
    2018: "https://nijianmo.github.io/amazon/",
    2023: "https://amazon-reviews-2023.github.io/",
}
HOSTS = {
    2014: (
        "https://snap.stanford.edu/data/amazon/productGraph",
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon",
        "https://jmcauley.ucsd.edu/data/amazon",
    ),
    2018: (
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_v2",
        "https://datarepo.eng.ucsd.edu/mcauley_group/data/amazon_v2",
        "https://jmcauley.ucsd.edu/data/amazon_v2",
    ),
    2023: (
        "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023",
        "https://datarepo.eng.ucsd.edu/mcauley_group/data/amazon_2023",
    ),
}
FOLDERS = {
    2014: ("categoryFiles", "categoryFiles"),
    2018: ("categoryFilesSmall", "metaFiles2"),
    2023: ("raw/review_categories", "raw/meta_categories"),
}
"""On each host: where reviews are, and where metadata are."""

EVERY_REVIEW = (
    "every review counts as an interaction, whatever its stars, the first of a user for an item "
    "alone; 5-core; ordered by timestamp, then by item id"
)
BY_DAY = (
    EVERY_REVIEW + ", because these timestamps are whole days, and a user's reviews often share one"
)
WITHOUT_ENTRY = "items that the metadata do not name left out first, as LC-Rec does"


def amazon_source(name: str) -> RawSource:
    """The raw files of "amazon-2014-beauty" and its like; LetterError lists the categories."""
    match = re.fullmatch(r"amazon-(\d{4})(?:-(.+))?", name)
    if match is None or int(match[1]) not in CATEGORIES:
        raise LetterError(
            f"unknown data set {name!r}; Amazon's are called amazon-<year>-<category>, the year "
            "2014, 2018 or 2023, such as amazon-2014-beauty or amazon-2018-musical-instruments"
        )
    year, wanted = int(match[1]), match[2] or ""
    names = {slug(category): category for category in CATEGORIES[year]}
    if wanted not in names:
        close = difflib.get_close_matches(wanted, names, n=1) or [
            category for category in names if wanted and wanted in category
        ]
        hint = f"did you mean amazon-{year}-{close[0]}? " if close else ""
        trouble = (
            f"Amazon {year} has no category {wanted!r}" if wanted else f"{name} needs a category"
        )
        raise LetterError(
            f"{trouble}; {hint}write amazon-{year}-<category>, one of: {', '.join(sorted(names))}"
        )
    return _source(name, year, names[wanted])


def slug(category: str) -> str:
    """ "Musical_Instruments" as it stands in a data set's name: "musical-instruments"."""
    return category.lower().replace("_", "-")


def _source(name: str, year: int, category: str) -> RawSource:
    small_first = {
        2014: (f"reviews_{category}_5.json", f"reviews_{category}.json"),
        2018: (f"{category}_5.json", f"{category}.json"),
        2023: (f"{category}.jsonl",),
    }
    reviews = small_first[year]
    metadata = (f"meta_{category}.jsonl" if year == 2023 else f"meta_{category}.json",)
    wanted = zip(FOLDERS[year], (reviews[0], metadata[0]), strict=True)
    addresses = [
        tuple(f"{host}/{folder}/{file}.gz" for host in HOSTS[year]) for folder, file in wanted
    ]
    return RawSource(
        release=f"Amazon {year}, {category.replace('_', ' ')}",
        reviews=reviews,
        metadata=metadata,
        review=_review(year),
        item_id="parent_asin" if year == 2023 else "asin",
        parse_item=python_dict if year == 2014 else json_object,
        item={2014: item_2014, 2018: item_2018, 2023: item_2023}[year],
        rules={2014: BY_DAY, 2018: f"{WITHOUT_ENTRY}; {BY_DAY}", 2023: EVERY_REVIEW}[year],
        page=PAGES[year],
        addresses=(addresses[0], addresses[1]),
        only_described=year == 2018,
        paper=PAPER.get(name),
    )


def _review(year: int) -> Callable[[dict[str, Any]], Review]:
    if year == 2023:
        return lambda f: Review(
            text_field(f, "user_id"), text_field(f, "parent_asin"), time_of(f, "timestamp", 1000)
        )
    return lambda f: Review(
        text_field(f, "reviewerID"), text_field(f, "asin"), time_of(f, "unixReviewTime", 1)
    )


def item_2014(fields: dict[str, Any]) -> ItemText:
    """`description` is one text; `categories` is a list of paths from the root, which share their
    beginnings.
    """
    paths = fields.get("categories")
    flat = (
        [label for path in paths if isinstance(path, list) for label in path]
        if isinstance(paths, list)
        else []
    )
    return ItemText(clean(fields.get("title")), clean(fields.get("description")), labels_of(flat))


def item_2018(fields: dict[str, Any]) -> ItemText:
    """Where there is no `description`, the list `feature` describes the item.

    Two known faults of this release: a title can be a piece of the page's script, which contains
    "getTime" (the data's own page says so), and `category` can run on into the features, after a
    label with "</span>" in it (LC-Rec cuts there, too).
    """
    title = fields.get("title")
    labels = fields.get("category")
    labels = labels if isinstance(labels, list) else []
    end = next((i for i, label in enumerate(labels) if "</span>" in str(label)), len(labels))
    described = clean(fields.get("description")) or clean(fields.get("feature"))
    return ItemText(
        "" if "getTime" in str(title) else clean(title), described, labels_of(labels[:end])
    )


def item_2023(fields: dict[str, Any]) -> ItemText:
    """Where there is no `description`, the list `features` describes the item."""
    labels = fields.get("categories")
    described = clean(fields.get("description")) or clean(fields.get("features"))
    return ItemText(
        clean(fields.get("title")), described, labels_of(labels if isinstance(labels, list) else [])
    )
