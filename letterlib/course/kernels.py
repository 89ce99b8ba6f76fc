"""papermill, and once more where a kernel could not start because another one had taken its port.

Jupyter chooses free ports first and lets the kernel take them later. Between the two another kernel may be quicker;
with several notebooks at once, as in the tests, that happens. Nothing has run by then, so nothing is done twice.
"""

from typing import Any

import papermill

NEVER_STARTED = "Kernel didn't respond"
"""What nbclient's RuntimeError says of a kernel that did not come up; one that died later has another message."""


def execute_notebook(*paths: str, **options: Any) -> None:
    """`papermill.execute_notebook`, tried twice where the kernel never started."""
    try:
        papermill.execute_notebook(*paths, **options)
    except RuntimeError as error:
        if NEVER_STARTED not in str(error):
            raise
        papermill.execute_notebook(*paths, **options)
