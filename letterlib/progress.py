"""Progress bars that read well in a terminal, in Jupyter and in a CI log."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

from letterlib.processes import is_main


def progress(iterable: Iterable[Any] | None = None, *, what: str, total: int | None = None, **options: Any) -> tqdm:
    """A tqdm bar labelled `what`; one line every ten seconds where nobody is watching.

    Set TQDM_DISABLE=1 to silence every bar (nbgrader gives zero to a cell that writes to stderr). Of several processes
    only the main one shows bars.
    """
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules
    options.setdefault("mininterval", 0.2 if watched else 10.0)
    options.setdefault("leave", not watched)
    # tqdm reads TQDM_DISABLE itself, except in its notebook bar.
    options.setdefault("disable", os.environ.get("TQDM_DISABLE", "0") not in ("", "0") or not is_main())
    return tqdm(iterable, desc=what, total=total, dynamic_ncols=watched, **options)
