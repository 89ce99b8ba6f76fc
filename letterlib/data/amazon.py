"""Amazon reviews of 2014, 2018 and 2023 (McAuley lab, UCSD): three releases, three data sets whose
figures are not comparable.

2014: McAuley et al., SIGIR 2015. 2018: Ni et al., EMNLP 2019. 2023: Hou et al., arXiv:2403.03952. A
data set is called amazon-<year>-<category>, the category being the file's, in lower case with
hyphens.
"""

import difflib
import re
from typing import Any

from letterlib.data.raw import (
    ItemText,
    RawSource,
    Review,
    clean,
    labels_of,
    text_field,
    time_field,
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
RULES = {
    2014: BY_DAY,
    2018: f"items that the metadata do not name left out first, as LC-Rec does; {BY_DAY}",
    2023: EVERY_REVIEW,
}


def amazon_source(name: str) -> RawSource:
    """The raw files of "amazon-2014-beauty" and its like; LetterError lists the categories."""
    match = re.fullmatch(r"amazon-(2014|2018|2023)-?(.*)", name)
    if match is None:
        raise LetterError(
            f"unknown data set {name!r}; Amazon's are called amazon-<year>-<category>, the year "
            "2014, 2018 or 2023, such as amazon-2014-beauty or amazon-2018-musical-instruments"
        )
    year, wanted = int(match[1]), match[2]
    names = {slug(category): category for category in CATEGORIES[year]}
    if wanted not in names:
        close = difflib.get_close_matches(wanted, names, n=1)
        hint = f"did you mean amazon-{year}-{close[0]}? " if close else ""
        raise LetterError(
            f"Amazon {year} has no category {wanted!r}; {hint}write amazon-{year}-<category>, one "
            f"of: {', '.join(sorted(names))}"
        )
    category = names[wanted]
    reviews, metadata = {
        2014: ((f"reviews_{category}_5.json", f"reviews_{category}.json"), f"meta_{category}.json"),
        2018: ((f"{category}_5.json", f"{category}.json"), f"meta_{category}.json"),
        2023: ((f"{category}.jsonl",), f"meta_{category}.jsonl"),
    }[year]
    review_folder, metadata_folder = FOLDERS[year]
    return RawSource(
        release=f"Amazon {year}, {category.replace('_', ' ')}",
        reviews=reviews,
        metadata=(metadata,),
        review=review_2023 if year == 2023 else review,
        item_id="parent_asin" if year == 2023 else "asin",
        item=item,
        rules=RULES[year],
        page=PAGES[year],
        addresses=(
            tuple(f"{host}/{review_folder}/{reviews[0]}.gz" for host in HOSTS[year]),
            tuple(f"{host}/{metadata_folder}/{metadata}.gz" for host in HOSTS[year]),
        ),
        only_described=year == 2018,
        paper=PAPER.get(name),
    )


def slug(category: str) -> str:
    """ "Musical_Instruments" as it stands in a data set's name: "musical-instruments"."""
    return category.lower().replace("_", "-")


def review(fields: dict[str, Any]) -> Review:
    """Of 2014 and 2018. Times are seconds, of whole days."""
    return Review(
        text_field(fields, "reviewerID"),
        text_field(fields, "asin"),
        time_field(fields, "unixReviewTime"),
    )


def review_2023(fields: dict[str, Any]) -> Review:
    """Variants of a product share `parent_asin`. Times are milliseconds."""
    return Review(
        text_field(fields, "user_id"),
        text_field(fields, "parent_asin"),
        time_field(fields, "timestamp"),
    )


def item(fields: dict[str, Any]) -> ItemText:
    """Where there is no `description`, `feature` (2018) or `features` (2023) describes the item.

    `categories` is a list of labels, in 2014 of paths from the root, which share their beginnings;
    2018 has `category`. Two known faults of 2018: a title can be a piece of the page's script,
    which contains "getTime" (the data's own page says so), and labels can run on into the features,
    after one with "</span>" in it (LC-Rec cuts there, too).
    """
    title = fields.get("title")
    described = (fields.get(name) for name in ("description", "feature", "features"))
    labels: list[Any] = []
    found = fields.get("category") or fields.get("categories")
    for part in found if isinstance(found, list) else []:
        labels += part if isinstance(part, list) else [part]
    end = next((i for i, label in enumerate(labels) if "</span>" in str(label)), len(labels))
    return ItemText(
        "" if "getTime" in str(title) else clean(title),
        next(filter(None, map(clean, described)), ""),
        labels_of(labels[:end]),
    )
