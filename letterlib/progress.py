"""Progress bars: tqdm's, as `tqdm.auto` chooses them for a terminal or a notebook."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

from letterlib.distributed import is_main


def progress(
    iterable: Iterable[Any] | None = None, *, what: str, total: int | None = None, **options: Any
) -> tqdm:
    """A tqdm bar labelled `what`; in a log file it moves every ten seconds.

    options: tqdm's; delay=2 shows the bar after two seconds. Set TQDM_DISABLE=1 to silence every
    bar. Of several processes only the main one shows bars.
    """
    watched = "ipykernel" in sys.modules or sys.stderr.isatty()
    # tqdm's notebook bar does not read TQDM_DISABLE.
    silent = os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    ours = {"mininterval": 0.2 if watched else 10.0, "leave": not watched}
    ours["disable"] = silent or not is_main()
    return tqdm(iterable, desc=what, total=total, **ours | options)
