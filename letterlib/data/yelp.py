"""Yelp's Open Dataset: reviews of businesses in 2019, as the paper's line of work uses it."""

from datetime import UTC, datetime
from typing import Any

from letterlib.data.raw import (
    BadLine,
    ItemText,
    RawSource,
    Review,
    clean,
    labels_of,
    text_field,
)

FIRST, LAST = "2019-01-01 00:00:00", "2019-12-31 00:00:00"
"""Reviews outside are left out, most of the year's last day too, as in S3-Rec (Zhou et al., CIKM
2020), whose counts LETTER's paper has.
"""


def review_of_2019(fields: dict[str, Any]) -> Review | None:
    """`date` is "YYYY-MM-DD HH:MM:SS", without a time zone; it is taken as UTC."""
    user, item, date = (text_field(fields, name) for name in ("user_id", "business_id", "date"))
    try:
        time = datetime.strptime(date, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise BadLine(f'"date" is {date!r:.40}, not YYYY-MM-DD HH:MM:SS') from error
    return Review(user, item, int(time.timestamp())) if FIRST <= date <= LAST else None


def business(fields: dict[str, Any]) -> ItemText:
    """The name, and the categories as its description, as LETTER's release of Yelp has it; no city,
    no attributes.
    """
    categories = clean(fields.get("categories"))
    return ItemText(clean(fields.get("name")), categories, labels_of(categories.split(",")))


YELP = RawSource(
    release="Yelp",
    reviews=("yelp_academic_dataset_review.json",),
    metadata=("yelp_academic_dataset_business.json",),
    review=review_of_2019,
    item_id="business_id",
    item=business,
    rules=(
        f"reviews from {FIRST} to {LAST}; every review counts as an interaction, whatever its "
        "stars; 5-core; ordered by time"
    ),
    repeats=True,
    page="https://www.yelp.com/dataset",
    paper=(30_431, 20_033, 316_354),
    caution=(
        "Yelp changes its download: towns are taken out and added, reviews withdrawn. The paper's "
        "edition is no longer offered"
    ),
)
