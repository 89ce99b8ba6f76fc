"""Records of finished runs, taken elsewhere: to a terminal, or as CSV, Parquet, Markdown or LaTeX."""

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from letterlib.errors import LetterError
from letterlib.pipeline.brief import PARAMETERS, RunResult, code_in_words, in_a_word
from letterlib.pipeline.parameters import ROOMS
from letterlib.pipeline.run_results import summary
from letterlib.pipeline.tables import IN_LATEX, made_of
from letterlib.store import atomic_write, write_text

WIDTH = 120
"""Columns of a terminal."""

OF_A_SYSTEM = ("tokenizer", "generator", *ROOMS)
"""Parameters that often only say again which system it is."""


def in_print(results: Iterable[RunResult]) -> str:
    """`summary` for a terminal: what is the same in every row is said above the table.

    Of a table that is still too wide, parameters that only say again which system it is are left
    out and named below, and if that is not enough, options are spelt out there.
    """
    results = list(results)
    table, below = (
        summary(results).rename(columns={"R@10, history out [95%]": "R@10, out [95%]"}),
        [],
    )
    same, above = _in_every_row(results, table)
    table = table.drop(columns=[name for name in same if name in table])
    figures = [name for name in table if "@" in name]
    table[figures] = table[figures].replace(r"\b0\.", ".", regex=True)
    values = table.groupby("system").nunique().max()
    again = [name for name in values.index[values == 1] if name in OF_A_SYSTEM]
    if again and _width(table) > WIDTH:
        table = table.drop(columns=again)
        below = [
            f"Each system has one value of {', '.join(again)} here (letterlib results export writes them)."
        ]
    if "options" in table and _width(table) > WIDTH:
        texts = [text for text in table["options"].unique() if text]
        table["options"] = [
            f"({texts.index(text) + 1})" if text else "" for text in table["options"]
        ]
        below += [f"({number}) {text}" for number, text in enumerate(texts, start=1)]
    above = _wrapped(f"{above} Out: items of the history filtered out.")
    below = "\n".join(map(_wrapped, [*below, *provenance(results), code_in_words(results)]))
    return f"{above}\n\n{table.to_string(index=False)}\n\n{below}".rstrip()


def _in_every_row(results: list[RunResult], table: pd.DataFrame) -> tuple[dict[str, Any], str]:
    """What is the same in every row of `summary`: parameters, numbers of seeds and cases; and in a
    sentence.
    """
    same = {
        name: in_a_word(results[0].parameters[name])
        for name in PARAMETERS
        if name not in {*table, "seed"}
    }
    same |= {name: table[name][0] for name in ("seeds", "cases") if table[name].nunique() == 1}
    words = " ".join(f"{name}={value}" for name, value in same.items() if value not in ("", "-"))
    return same, f"In every row: {words}."


def provenance(results: Iterable[RunResult]) -> list[str]:
    """What `tables.provenance` says of one table, of all that the records tell."""
    results = list(results)
    records = [one.record for one in results]
    sources = {one["dataset"].get("source") for one in records}
    encoders = {one.get("config", {}).get("encoder") for one in records}
    return made_of(
        sources - {None}, encoders - {None}, set().union(*(one.devices for one in results))
    )


def _wrapped(line: str) -> str:
    return textwrap.fill(
        line, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _width(table: pd.DataFrame) -> int:
    return len(table.to_string(index=False).partition("\n")[0])


def frame(results: Iterable[RunResult]) -> pd.DataFrame:
    """One row a run: its parameters, its metrics, what it cost and where it was made."""
    rows = []
    for one in results:
        record = one.record
        row = (
            {"label": record["label"]}
            | record["parameters"]
            | {"options": " ".join(record["parameters"]["options"])}
        )
        for history, metrics in record["metrics"].items():
            row |= {f"{name}, {history}": value for name, value in metrics.items()}
        kept = ("validation N@10", "weights", "peak memory MiB", "commit", "failures")
        row |= {name: record.get(name) for name in kept} | {"machine": record.get("device")}
        row["code"] = " ".join(sorted(filter(None, one.code)))
        row["data"] = record["dataset"]["fingerprint"]  # runs of other data may stand in other rows
        rows.append(row | {"seconds": one.seconds, "cases": record["cases"]["answered"]})
    return pd.DataFrame(rows)


def export(results: Iterable[RunResult], path: str | Path) -> Path:
    """Write `frame` as CSV or Parquet, or `summary` as Markdown or LaTeX, by the ending of `path`.

    Under or over a summary stands what is the same in every row, and where its figures come from.
    A file that is there already is a LetterError, and is never overwritten.
    """
    path, results = Path(path), list(results)
    writers = {".csv": _to_csv, ".parquet": _to_parquet, ".md": _to_markdown, ".tex": _to_latex}
    if path.suffix not in writers:
        raise LetterError(
            f"{path}: cannot write {path.suffix or 'that'}; choose one of {', '.join(writers)}"
        )
    if path.exists():
        raise LetterError(
            f"{path}: another file is there already; move it away, or choose another name"
        )
    with atomic_write(path) as temporary:
        writers[path.suffix](results, temporary)
    return path


def _to_csv(results: list[RunResult], path: Path) -> None:
    frame(results).to_csv(path, index=False)


def _to_parquet(results: list[RunResult], path: Path) -> None:
    frame(results).to_parquet(path, index=False)


def _to_markdown(results: list[RunResult], path: Path) -> None:
    table = summary(results)
    rows = table.to_markdown(index=False, disable_numparse=True)
    write_text(path, f"{rows}\n\n{_caption(results, table)}\n")


def _to_latex(results: list[RunResult], path: Path) -> None:
    table = summary(results)
    table.to_latex(
        path, index=False, escape=True, caption=_caption(results, table).translate(IN_LATEX)
    )


def _caption(results: list[RunResult], table: pd.DataFrame) -> str:
    sentences = (_in_every_row(results, table)[1], *provenance(results), code_in_words(results))
    return " ".join(filter(None, sentences))
