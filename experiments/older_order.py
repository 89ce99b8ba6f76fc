"""Run a script on MovieLens and groceries as most published runs had them.

    python experiments/older_order.py experiments/tau_sweep.py --out DIR --cache-dir runs/older

Until 2 December 2026 films of one second, and products of one basket, were sorted by item id. Today
their order is random (docs/findings.md, "The order within a moment"). --cache-dir must be a folder
without data prepared in today's order.
"""

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pandas as pd

FINGERPRINTS = ("71f016e033aa89bb", "ed2e3795c2d99cad")
"""Of MovieLens and Complete Journey in the older order."""


@contextmanager
def older_order() -> Iterator[None]:
    """Inside, packaged data sets are prepared in the older order."""
    with patch("letterlib.data.dataset.in_order", _by_item):
        yield


def _by_item(interactions: pd.DataFrame) -> pd.DataFrame:
    return interactions.sort_values(["user", "time", "item"], kind="stable")


if __name__ == "__main__":
    del sys.argv[0]
    with older_order():
        runpy.run_path(sys.argv[0], run_name="__main__")
