"""Records of finished runs, taken elsewhere: as CSV, Parquet, Markdown or LaTeX."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from letterlib.errors import LetterError
from letterlib.experiments.brief import RunResult
from letterlib.experiments.run_results import summary
from letterlib.files import written_beside


def frame(results: Iterable[RunResult]) -> pd.DataFrame:
    """One row a run: its parameters, its metrics, what it cost and where it was made."""
    rows = []
    for one in results:
        record = one.record
        row = {"label": record["label"]} | record["parameters"] | {"options": " ".join(record["parameters"]["options"])}
        for history, metrics in record["metrics"].items():
            row |= {f"{name}, {history}": value for name, value in metrics.items()}
        kept = ("validation N@10", "weights", "peak memory MiB", "commit", "failures")
        row |= {name: record.get(name) for name in kept} | {"machine": record.get("device")}
        rows.append(row | {"seconds": one.seconds, "cases": record["cases"]["answered"]})
    return pd.DataFrame(rows)


def export(results: Iterable[RunResult], path: str | Path) -> Path:
    """Write `frame` as CSV or Parquet, or `summary` as Markdown or LaTeX, by the ending of `path`."""
    path = Path(path)
    writers = {
        ".csv": lambda beside: frame(results).to_csv(beside, index=False),
        ".parquet": lambda beside: frame(results).to_parquet(beside, index=False),
        ".md": lambda beside: summary(results).to_markdown(beside, index=False, disable_numparse=True),
        ".tex": lambda beside: summary(results).to_latex(beside, index=False, escape=True),
    }
    if path.suffix not in writers:
        raise LetterError(f"{path}: cannot write {path.suffix or 'that'}; choose one of {', '.join(writers)}")
    with written_beside(path) as beside:
        writers[path.suffix](beside)
    return path
