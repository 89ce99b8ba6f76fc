"""The table printed at the end of a run, from the JSON of every benchmark."""

from pathlib import Path
from typing import Any

from tabulate import tabulate

from letterlib.store import read_json

HEADERS = ("benchmark", "unit", "ours", "peer", "times", "goal", "met")


def print_table(out: Path, names: list[str]) -> None:
    """Print what `names` left in `out`: one line per row, then each row's check and what exactly
    was run.
    """
    results = [read_json(out / f"{name}.json") for name in names]
    rows = [row for result in results for row in result["rows"]]
    if not rows:
        return
    about = results[0]["machine"]
    print(
        f"\n{about['processor']}, {about['cores']} cores, {about['memory_gb']} GB; torch "
        f"{about['torch']}, ",
        end="",
    )
    print(
        f"threads {results[0]['settings']['threads']}; {sum(r['seconds'] for r in results):.0f} s "
        "in all"
    )
    print("median [lowest, highest]; above 1 times we are ahead\n")
    lines = [(f"{i}. {row['what']}", row["unit"], *_numbers(row)) for i, row in enumerate(rows, 1)]
    print(
        tabulate(
            lines,
            HEADERS,
            disable_numparse=True,
            maxcolwidths=[44, None, None, None, None, None, None],
        )
    )
    print()
    for i, row in enumerate(rows, 1):
        against = f"beside {row['peer_name']}; " if row["peer_name"] else ""
        print(f"{i}. {against}{row['dtype']}. {row['note']}\n   check: {row['check']}")


def _numbers(row: dict[str, Any]) -> tuple[str, ...]:
    if row["goal"] is None:
        goal = "-"
    else:
        goal = f">= {row['goal']:g}x" if row["peer"] else f"<= {row['goal']:g}"
    met = {True: "yes", False: "NO", None: "-"}[row["met"]]
    return _spread(row["ours"]), _spread(row["peer"]), _spread(row["ratio"]), goal, met


def _spread(one: dict[str, Any] | None) -> str:
    if one is None:
        return "-"
    middle, low, high = (_number(one[key]) for key in ("median", "min", "max"))
    return middle if len(one["values"]) == 1 else f"{middle} [{low}, {high}]"


def _number(value: float) -> str:
    """Three significant digits, without exponents where they are not needed."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
