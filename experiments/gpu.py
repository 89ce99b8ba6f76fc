"""What needs a GPU, in forty minutes, with records.

    python experiments/gpu.py --data-dir data/beauty --out runs/gpu

`gpu.json` has one entry a step: done, skipped or failed and why, or out of time. Finished runs are
in `results/`. The same command goes on from checkpoints. `--profile smoke` tries it on a CPU.
"""

import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from sweeps import CacheDir

from letterlib.cli import run_script
from letterlib.errors import LetterError
from letterlib.pipeline.cache import Cache, device_in_words, versions
from letterlib.pipeline.config import REPOSITORY, make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.runs import RunParameters, do_run
from letterlib.pipeline.systems import find_system
from letterlib.store import write_json
from letterlib.train import resolve_device

EPOCHS = 500
"""Of each tokenizer: enough to time an epoch and to see two number formats part."""


class OutOfTime(BaseException):
    """Not an Exception: a run that is out of time has not failed."""


def same_lists(data: dict[str, Any], cache: Cache) -> dict[str, Any]:
    """A small TIGER of MovieLens recommends on the CPU and on the device."""
    config = make_config("movielens", "smoke", device="cpu", overrides=["tiger.dtype=float32"])
    pipeline = Pipeline(config, cache=cache)
    file = pipeline._model("letter-tiger").path("model.safetensors")
    cases, kind = pipeline.split.cases("test"), find_system("letter-tiger").kind
    cpu, device = (
        kind.load(file, device=d).recommend(cases, 10).items for d in ("cpu", data["device"])
    )
    return {"users": len(cpu), "share of places with the same item": float((cpu == device).mean())}


def tokenizers(data: dict[str, Any], cache: Cache, profile: str) -> list[dict[str, Any]]:
    """LETTER's tokenizer by number format and by k-means of its codes."""
    rows = []
    for dtype, grouping in product(("float32", "bfloat16"), ("quick", "exact")):
        options = [f"tokenizer.dtype={dtype}", f"tokenizer.grouping={grouping}"]
        if profile == "paper":
            options.append(f"tokenizer.epochs={EPOCHS}")
        config = make_config(data["dataset"], profile, device=data["device"], overrides=options)
        pipeline = Pipeline(config, data_dir=data["folder"], cache=cache)
        report, record = pipeline.tokenizer("letter").report, pipeline._tokenizer("letter").record
        rows.append(
            {
                "dtype": dtype,
                "grouping": grouping,
                "epochs": config.tokenizer.epochs,
                "seconds": record["seconds"],
                "device": record["device"],
                "reconstruction error": report.reconstruction_error[-1],
                "collisions": asdict(report.collisions),
            }
        )
    return rows


def parity_tests(profile: str) -> str:
    """Our networks, searches and processes against transformers' and each other."""
    if profile == "smoke":
        raise LetterError("tests/parity takes minutes; profile paper runs it")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "", "tests/parity"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    last = done.stdout.strip().splitlines()[-1]
    if done.returncode:
        raise RuntimeError(last)
    return last


def tiger(data: dict[str, Any], cache: Cache, profile: str, out: Path) -> dict[str, Any]:
    """TIGER at the profile's size."""
    parameters = RunParameters.checked(
        dataset=data["dataset"],
        tokenizer="released" if data["dataset"] != "movielens" else "letter",
        profile=profile,
        device=data["device"],
    )
    where = dict(data_dir=data["folder"], out_dir=out / "results", cache_dir=cache.folder)
    run = do_run(parameters, say=cache.say, **where)
    return {name: run.record[name] for name in ("key", "metrics", "device", "seconds", "stages")}


def main(
    out: Annotated[Path, typer.Option(help="folder of gpu.json and of finished runs")],
    dataset: Annotated[str, typer.Option(help="a released data set, or movielens")] = "beauty",
    data_dir: Annotated[Path | None, typer.Option(help="folder of its files")] = None,
    profile: Annotated[str, typer.Option(help="paper, or smoke: does everything run?")] = "paper",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:NUMBER")] = "auto",
    minutes: Annotated[float, typer.Option(help="when to stop; the last step may be cut")] = 40,
    cache_dir: CacheDir = Path("runs"),
) -> None:
    device = str(resolve_device(device))
    if profile == "paper" and not device.startswith("cuda"):
        raise LetterError("no GPU here: profile paper needs one; --profile smoke tries the script")
    data = {"dataset": dataset, "folder": data_dir, "device": device}
    cache, started = Cache(cache_dir), time.monotonic()
    steps: dict[str, Callable[[], Any]] = {
        "the same lists on CPU and device": lambda: same_lists(data, cache),
        "tokenizers": lambda: tokenizers(data, cache, profile),
        "parity tests": lambda: parity_tests(profile),
        "TIGER": lambda: tiger(data, cache, profile, out),
    }

    def stop(*_: Any) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 60 * minutes)
    record = {"profile": profile, **data, "steps": {}}
    record |= {"folder": str(data_dir), "device": device_in_words(device), "versions": versions()}
    record["threads"] = torch.get_num_threads()
    for name, step in steps.items():
        begun = time.monotonic()
        try:
            entry = {"state": "done", "result": step()}
        except LetterError as error:
            entry = {"state": "skipped", "reason": str(error)}
        except Exception as error:  # the others still run
            traceback.print_exc()
            entry = {"state": "failed", "reason": f"{type(error).__name__}: {error}"}
        except OutOfTime:
            entry = {"state": "out of time"}
        entry["seconds"] = round(time.monotonic() - begun, 1)
        record["steps"][name] = entry
        write_json(out / "gpu.json", record)
        print(f"{name}: {entry['state']}{': ' * ('reason' in entry)}{entry.get('reason', '')}")
        if entry["state"] == "out of time":
            break
    signal.setitimer(signal.ITIMER_REAL, 0)
    left = [name for name in steps if record["steps"].get(name, {}).get("state") != "done"]
    print(f"{(time.monotonic() - started) / 60:.0f} minutes; not done: {', '.join(left) or 'none'}")
    if failed := [name for name, entry in record["steps"].items() if entry["state"] == "failed"]:
        raise LetterError(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    run_script(main)
