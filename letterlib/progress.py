"""Progress bars that read well in a terminal, in Jupyter and in a CI log."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm.auto import tqdm

from letterlib.distributed import is_main


class Bar(tqdm):
    """A bar that leaves nothing behind in a notebook.

    tqdm hides its widget when it is done, and the cell's output goes on naming it: in the saved
    file it is an error, or a bar that stands still. Here the output is emptied. So is that of
    training that stops early, which tqdm leaves red.
    """

    _output = None  # of the notebook's cell; stays None in a terminal

    def display(self, *args: Any, **options: Any) -> Any:
        if not _IN_NOTEBOOK:
            return super().display(*args, **options)
        at_once = options.pop("check_delay", True)  # False at the beginning and at the end
        if not self.displayed and (at_once or self.delay <= 0):
            from IPython.display import display

            self._output, self.displayed = display(self.container, display_id=True), True
        return super().display(*args, **options, check_delay=False)

    def close(self) -> None:
        super().close()
        if self._output is not None and not self.leave:
            self._output.update({"text/plain": ""}, raw=True)


_IN_NOTEBOOK = any(kind.__module__ == "tqdm.notebook" for kind in Bar.__mro__)


def progress(
    iterable: Iterable[Any] | None = None, *, what: str, total: int | None = None, **options: Any
) -> Bar:
    """A tqdm bar labelled `what`; it moves every ten seconds where nobody is watching.

    Set TQDM_DISABLE=1 to silence every bar (nbgrader gives zero to a cell that writes to stderr).
    Of several processes only the main one shows bars.
    """
    nowhere = sys.stderr is None  # a daemon's, or after `2>&-`
    watched = "ipykernel" in sys.modules or not nowhere and sys.stderr.isatty()
    options.setdefault("mininterval", 0.2 if watched else 10.0)
    options.setdefault("leave", not watched)
    # tqdm reads TQDM_DISABLE itself, except in its notebook bar.
    silent = os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    options.setdefault("disable", silent or nowhere or not is_main())
    if _IN_NOTEBOOK:
        options["display"] = False  # `Bar.display` does it, and keeps a hold of the output
    return Bar(iterable, desc=what, total=total, dynamic_ncols=watched, **options)


def late_bar(what: str, total: int) -> Bar:
    """A bar that shows itself after two seconds: for rankings, which a validation does in less, and
    a test may not.
    """
    return progress(what=what, total=total, delay=2)
