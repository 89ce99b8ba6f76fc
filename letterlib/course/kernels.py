"""papermill, and once more where a kernel could not start because another one had taken its port.

Jupyter chooses free ports first and lets the kernel take them later. Between the two another kernel
may be quicker; with several notebooks at once, as in the tests, that happens. Nothing has run by
then, so nothing is done twice.
"""

from typing import Any

import papermill

_NEVER_STARTED = ("Kernel died before replying to kernel_info", "Kernel didn't respond in")
"""What jupyter_client says: the first where the kernel's own channels were taken, the second where
its output's was.
"""


def never_started(said: str) -> bool:
    """Whether what a program said means that its kernel did not come up; one that dies later is
    reported otherwise.
    """
    return any(words in said for words in _NEVER_STARTED)


def execute_notebook(*paths: str, **options: Any) -> None:
    """`papermill.execute_notebook`, tried twice where the kernel never started."""
    try:
        papermill.execute_notebook(*paths, **options)
    except RuntimeError as error:
        if not never_started(str(error)):
            raise
        papermill.execute_notebook(*paths, **options)
