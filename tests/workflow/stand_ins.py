#!/usr/bin/env python3
"""What the workflow calls, and what Slurm's plugin calls, as stand-ins: each is this file under
another name.

$STAND_INS is a folder: what is called is written to `calls.jsonl`, the grid is `grid.json`,
`fail/<key>` says how often a run has yet to fail, `late` names a run that ends while the grid is
listed, `jobs/` holds Slurm's jobs, which are processes of this machine.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["STAND_INS"])
NAME, WORDS = Path(sys.argv[0]).name, sys.argv[1:]


def called(**more) -> None:
    seen = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "SLURM_JOB_ID")}
    with open(HOME / "calls.jsonl", "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(
            json.dumps(
                {"name": NAME, "words": WORDS, "at": time.time(), "environment": seen} | more
            )
            + "\n"
        )


def option(*names: str) -> str | None:
    for number, word in enumerate(WORDS):
        for name in names:
            if word == name:
                return WORDS[number + 1]
            if word.startswith(f"{name}="):
                return word.split("=", 1)[1]
    return None


def parameter(name: str) -> str | None:
    return next(
        (
            WORDS[i + 1]
            for i, word in enumerate(WORDS[:-1])
            if WORDS[i - 1] == "-p" and word == name
        ),
        None,
    )


# The course's programs


def whole(path: Path) -> bool:
    return path.exists() and path.read_text().endswith("}")


def letterlib() -> int:
    called()
    if WORDS[0] == "grid":
        runs, out = json.loads((HOME / "grid.json").read_text()), Path(option("--out-dir"))
        for one in runs:
            one["state"] = "done" if whole(out / f"{one['key']}.parquet") else "to do"
        if (HOME / "late").exists():
            (out / f"{(HOME / 'late').read_text()}.parquet").write_text("{}")
        print(json.dumps(runs))
    return 0


def papermill() -> int:
    target = Path(WORDS[1])
    key = target.stem
    failures = HOME / "fail" / key
    left = int(failures.read_text()) if failures.exists() else 0
    called(key=key, fails=left > 0)
    target.write_text(json.dumps(WORDS))
    if left:
        failures.write_text(str(left - 1))
        print("CellTimeoutError: this run was told to fail", file=sys.stderr)
        return 1
    if parameter("results_dir"):
        target.write_text(
            json.dumps(sorted(p.stem for p in Path(parameter("results_dir")).glob("*.parquet")))
        )
    else:
        Path(parameter("out_dir"), f"{key}.parquet").write_text(
            json.dumps({"key": key, "at": time.time()})
        )
    return 0


def jupyter() -> int:
    called()
    source = Path(WORDS[1])
    Path(option("--output-dir"), source.with_suffix(".html").name).write_text(
        f"<html>{source.read_text()}</html>"
    )
    return 0


# Slurm


def sbatch() -> int:
    """Starts the job at once, in a session of its own, and says its number."""
    folder = HOME / "jobs"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        number = 1000 + len(list(folder.glob("*.json")))
        described = {"name": option("--job-name", "-J"), "words": WORDS}
        (folder / f"{number}.json").write_text(json.dumps(described))
    called(job=number)
    log = open(option("--output", "-o").replace("%j", str(number)), "w")
    part, code = folder / f"{number}.part", folder / f"{number}.code"
    script = f"{option('--wrap')}\necho $? > {part}\nmv {part} {code}"
    job = subprocess.Popen(
        ["bash", "-c", script],
        cwd=option("-D", "--chdir"),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=os.environ | {"SLURM_JOB_ID": str(number), "SLURM_CPUS_PER_TASK": "1"},
    )
    (folder / f"{number}.process").write_text(str(job.pid))
    print(number)
    return 0


def srun() -> int:
    called()
    first = next(i for i, word in enumerate(WORDS) if not word.startswith("-"))
    return subprocess.run(WORDS[first:]).returncode


def states() -> list[tuple[str, str]]:
    found = []
    for path in sorted((HOME / "jobs").glob("*.json")):
        code = path.with_suffix(".code")
        finished = code.read_text().strip() if code.exists() else None
        state = {None: "RUNNING", "0": "COMPLETED", "cancelled": "CANCELLED"}.get(
            finished, "FAILED"
        )
        if json.loads(path.read_text())["name"] == option("--name"):
            found.append((path.stem, state))
    return found


def sacct() -> int:
    called()
    if option("--name"):  # other questions, for an account or a reason, have no answer here
        print("\n".join(f"{number}|{state}" for number, state in states()))
    return 0


squeue = sacct


def scancel() -> int:
    called()
    for number in WORDS:
        process = HOME / "jobs" / f"{number}.process"
        if process.exists():
            os.killpg(int(process.read_text()), signal.SIGKILL)
            process.with_suffix(".code").write_text("cancelled")
    return 0


def sinfo() -> int:
    print("PARTITION\ncompute*")
    return 0


def scontrol() -> int:
    print("MaxArraySize            = 1001\nMinJobAge               = 300 sec")
    return 0


if __name__ == "__main__":
    sys.exit(globals()[NAME]())
