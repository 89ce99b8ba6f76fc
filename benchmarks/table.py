"""The table printed at the end of a run, from the JSON of every benchmark."""

from pathlib import Path
from typing import Any

from tabulate import tabulate

from letterlib.store import read_json

HEADERS = ("benchmark", "unit", "ours", "peer", "times", "goal", "met")


def print_table(out: Path, names: list[str]) -> None:
    """Print what `names` left in `out`: a line for each row, then its check and what was run."""
    results = [read_json(out / f"{name}.json") for name in names]
    rows = [row for result in results for row in result["rows"]]
    if not rows:
        return
    about, seconds = results[0]["machine"], sum(result["seconds"] for result in results)
    print(
        f"\n{about['processor']}, {about['cores']} cores, {about['memory_gb']} GB; torch "
        f"{about['torch']}, threads {results[0]['settings']['threads']}; {seconds:.0f} s in all"
        "\nmedian [lowest, highest]; above 1 times we are ahead\n"
    )
    lines = [(f"{i}. {row['what']}", row["unit"], *_numbers(row)) for i, row in enumerate(rows, 1)]
    widths = [44] + [None] * (len(HEADERS) - 1)
    print(tabulate(lines, HEADERS, disable_numparse=True, maxcolwidths=widths), "\n")
    for i, row in enumerate(rows, 1):
        against = f"peer: {row['peer_name']}; " if row["peer_name"] else ""
        print(f"{i}. {against}{row['dtype']}. {row['note']}\n   check: {row['check']}")


def _numbers(row: dict[str, Any]) -> tuple[str, ...]:
    goal = "-"
    if row["goal"] is not None:
        goal = f">= {row['goal']:g}x" if row["peer"] else f"<= {row['goal']:g}"
    met = {True: "yes", False: "NO", None: "-"}[row["met"]]
    return _spread(row["ours"]), _spread(row["peer"]), _spread(row["ratio"]), goal, met


def _spread(spread: dict[str, Any] | None) -> str:
    if spread is None:
        return "-"
    middle, low, high = (_number(spread[key]) for key in ("median", "min", "max"))
    return middle if len(spread["values"]) == 1 else f"{middle} [{low}, {high}]"


def _number(value: float) -> str:
    """Three significant digits, without exponents where they are not needed."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
