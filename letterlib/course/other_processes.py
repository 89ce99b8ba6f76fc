"""What a learner's function returns in other processes, where texts have other hashes and sets
another order.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle

SECONDS = 20
_OTHER_END = """
import pickle, sys
answer, values = pickle.load(sys.stdin.buffer)
output, sys.stdout = sys.stdout, sys.stderr
output.write(str(answer(*values)))
"""


def elsewhere(answer: Callable[..., str], values: list[Any]) -> list[str]:
    """What `answer(*values)`, a text, is in two processes with other hashes.

    No process can import what was written in a notebook, so the function itself is sent. Nothing is
    returned of a process to which it cannot be sent, or in which it stops.
    """
    try:
        sent = cloudpickle.dumps((answer, values))
    except Exception:  # whatever an object of the learner's raises when it is pickled
        return []
    known, found = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}, []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-S", "-c", _OTHER_END],
            input=sent,
            capture_output=True,
            env=os.environ | known | {"PYTHONHASHSEED": seed},
            timeout=SECONDS,
        )
        if done.returncode == 0:
            found.append(done.stdout.decode())
    return found
