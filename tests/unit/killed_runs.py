"""A program for `test_kill`: does small runs in processes of its own and kills them with SIGKILL.

    python killed_runs.py moments KILLS FOLDER     at random moments python killed_runs.py writing
    KILLS FOLDER     while a file is being written, or just before or after it is renamed

Each killed run is started again, until it ends; then the next begins with nothing. Prints one JSON
object: kills, the record of an undisturbed run, those of the others, what the processes said, and
what they left behind. The processes are forks, because importing torch takes longer than such a
run.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import torch

import letterlib.checkpoint
import letterlib.saved_model
import letterlib.text
import letterlib.train
from letterlib.pipeline.runs import record_path, run

sys.path.insert(0, str(Path(__file__).parent))
from made_data import write_made_data  # noqa: E402
from made_runs import small_run  # noqa: E402

ASKED = small_run()


class Writes:
    """Counts what a run writes, and kills its process at the n-th moment of writing. fatal: n, or
    None.
    """

    def __init__(self, fatal: int | None):
        self.fatal, self.moments = fatal, 0

    def moment(self, before_dying=lambda: None) -> None:
        self.moments += 1
        if self.moments == self.fatal:
            before_dying()
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        for module in (letterlib.checkpoint, letterlib.saved_model, letterlib.text):
            module.save_file = self._torn(module.save_file, 1)
        pq.write_table = self._torn(pq.write_table, 1)
        Path.write_text = self._torn(Path.write_text, 0)
        os.replace = self._around(os.replace)

    def _torn(self, write, place: int):
        def writing(*arguments, **options):
            write(*arguments, **options)
            path = arguments[place]
            self.moment(lambda: os.truncate(path, os.path.getsize(path) // 2))

        return writing

    def _around(self, replace):
        def replacing(*arguments):
            self.moment()
            replace(*arguments)
            self.moment()

        return replacing


def start(folder: Path, data: Path, fatal: int | None) -> int:
    """The number of a new process that does the run, and writes how often it wrote to
    `folder/moments`.
    """
    if (child := os.fork()) != 0:
        return child
    os.dup2(os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
    letterlib.train.train.__kwdefaults__["checkpoint_seconds"] = 0.0
    writes = Writes(fatal)
    writes.watch()
    try:
        where = {"data_dir": data, "out_dir": folder / "out", "cache_dir": folder / "cache"}
        run(ASKED, **where, say=lambda line: print(line, flush=True))
        with open(folder / "moments", "w") as file:
            file.write(str(writes.moments))
        os._exit(0)
    except BaseException as error:
        print(f"error: {error!r}", flush=True)
        os._exit(1)


def ended(child: int, seconds: float = 0.0) -> int | None:
    """Kill the process after so many seconds, 0 for never. Its exit status, or None when it was
    killed.
    """
    deadline = time.perf_counter() + seconds
    gone, status = 0, 0
    while seconds and not gone and time.perf_counter() < deadline:
        time.sleep(0.001)
        gone, status = os.waitpid(child, os.WNOHANG)
    if seconds and not gone:
        os.kill(child, signal.SIGKILL)
    if not gone:
        status = os.waitpid(child, 0)[1]
    return None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def left_behind(folder: Path) -> list[str]:
    """Whatever is neither a finished stage, nor a record, nor a lock."""
    there = [
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.name != "said" and path.name != "moments"
    ]
    return [
        str(p)
        for p in there
        if p.suffix == ".partial" or (p.name.startswith(".") and p.suffix != ".lock")
    ]


def main(kind: str, kills: int, folder: Path) -> None:
    choose = random.Random(7)
    data = write_made_data(folder / "made")
    letterlib.text.load_encoder(
        "minilm", torch.device("cpu")
    )  # imports what every run would import
    report = {"kills": 0, "records": [], "said": [], "left": [], "statuses": []}
    (folder / "0").mkdir()
    started = time.perf_counter()
    report["statuses"].append(ended(start(folder / "0", data, None)))
    length, moments = time.perf_counter() - started, int((folder / "0" / "moments").read_text())
    # A run that begins with nothing writes in the same order each time. Its last moments are those
    # of the record.
    first = [moments, moments - 1, moments - 2, *choose.sample(range(1, moments - 2), moments - 3)]
    number = 0
    while report["kills"] < kills or number == 0:
        number += 1
        place = folder / str(number)
        place.mkdir()
        status, fatal = None, first[(number - 1) % len(first)]
        while status is None:
            enough = report["kills"] >= kills
            if kind == "writing":
                status, fatal = (
                    ended(start(place, data, None if enough else fatal)),
                    choose.randint(1, moments),
                )
            else:
                status = ended(start(place, data, None), 0 if enough else choose.uniform(0, length))
            report["kills"] += status is None
        report["statuses"].append(status)
        report["records"].append(json.loads(record_path(ASKED, place / "out").read_text()))
        report["said"] += (place / "said").read_text().splitlines()
        report["left"] += left_behind(place)
        shutil.rmtree(place)
    report["undisturbed"] = json.loads(record_path(ASKED, folder / "0" / "out").read_text())
    report["left"] += left_behind(folder / "0")
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
