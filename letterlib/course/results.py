"""Results of long experiments that lessons read instead of training: `experiments/results/` of this
repository.
"""

from pathlib import Path

from letterlib.errors import LetterError

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"


def committed(name: str) -> Path:
    """An experiment's committed runs (a Parquet file), or the folder of its other results."""
    for path in (RESULTS / f"{name}.parquet", RESULTS / name):
        if path.exists():
            return path
    known = ", ".join(sorted({path.stem for path in RESULTS.glob("*")})) or "none"
    raise LetterError(
        f'no committed results "{name}"; there are: {known}. They come with a clone of the '
        "repository: install letterlib from it with pip install -e"
    )
