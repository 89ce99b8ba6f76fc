"""Run one benchmark in this process: python -m benchmarks.one NAME OUT SETTINGS (as JSON). For
`__main__`.
"""

import importlib
import json
import sys
import time
from pathlib import Path

import torch

from benchmarks.common import Settings, machine, write_result
from letterlib.errors import LetterError


def main() -> None:
    name, out, text = sys.argv[1:]
    settings = Settings(**json.loads(text))
    torch.set_num_threads(settings.threads)
    about, started = machine(), time.perf_counter()
    try:
        rows = importlib.import_module(f"benchmarks.{name}").measure(settings)
    except LetterError as error:
        raise SystemExit(f"{name}: {error}") from error
    write_result(
        Path(out) / f"{name}.json", name, settings, about, time.perf_counter() - started, rows
    )


if __name__ == "__main__":
    main()
