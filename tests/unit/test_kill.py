"""A run that is killed at any moment, many times, and started again ends as if nothing had
happened.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from letterlib.pipeline.brief import PARAMETERS, fault

PROGRAM = Path(__file__).with_name("killed_runs.py")
OF_ITS_OWN = ("stages", "seconds", "peak memory MiB", "digest")
"""What differs between any two attempts: how long it took, how much memory, what was found in the
cache, and so the hash of the whole record.
"""

FORKS = hasattr(os, "fork") and sys.platform != "darwin"
pytestmark = pytest.mark.skipif(
    not FORKS, reason="processes are forked here after torch was imported: Linux alone"
)


def killed(kind: str, kills: int, folder: Path) -> dict:
    environment = os.environ | {
        "TQDM_DISABLE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, str(PROGRAM), kind, str(kills), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def what_it_found(record: dict) -> dict:
    return {name: value for name, value in record.items() if name not in OF_ITS_OWN}


@pytest.mark.parametrize(("kind", "kills"), [("moments", 25), ("writing", 25)])
def test_killed_runs_end_with_the_record_of_an_undisturbed_one(tmp_path, kind, kills):
    report = killed(kind, kills, tmp_path)
    said = "\n".join(report["said"])
    assert report["kills"] >= kills and set(report["statuses"]) == {0}, said
    for record in report["records"]:
        assert what_it_found(record) == what_it_found(report["undisturbed"])
        assert fault(record, PARAMETERS) == ""
    # A damaged file would be noticed and made again, with the right result; but there must not be
    # one.
    for word in ("damaged", "cannot be read", "error", "failed"):
        assert word not in said
    assert "going on from its checkpoint" in said
    assert report["left"] == []
