"""Results of long experiments that lessons read instead of training: `experiments/results/` of this
repository.
"""

from pathlib import Path

from letterlib.errors import LetterError

RESULTS = Path(__file__).resolve().parents[2] / "experiments" / "results"


def committed(name: str) -> Path:
    """The folder of an experiment's committed results, from wherever a notebook is run."""
    folder = RESULTS / name
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in RESULTS.glob("*/"))) or "none"
        raise LetterError(
            f'no committed results "{name}"; there are: {known}. They come with the repository: install letterlib '
            "from a clone of it with pip install -e"
        )
    return folder
