"""Where in a learner's own code an answer stopped."""

import sysconfig
import traceback
from pathlib import Path
from typing import Any

_NOT_LEARNERS = (str(Path(__file__).parent.parent), sysconfig.get_path("stdlib"), "<frozen")


def other_stub(answer: Any, error: BaseException) -> str:
    """In words, which function was reached that is still to be written; empty where it is the
    answer itself.
    """
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    called = frame.f_code
    if called is getattr(answer, "__code__", called):
        return ""
    return f"`{called.co_name}`, which is still to be written, was reached: run its cell with your answer first."


def where(error: BaseException) -> str:
    """The last line of the learner's own code that the error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        f
        for f in frames
        if "site-packages" not in f.filename and not f.filename.startswith(_NOT_LEARNERS)
    ]
    return f"line {own[-1].lineno} of your code, `{own[-1].line}`." if own and own[-1].line else ""
