"""Reading and writing files: atomically, with one hash, and without pickles.

JSON for what people read, safetensors for tensors, Parquet for tables. No other module knows a
file format of ours.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from letterlib.errors import LetterError

if TYPE_CHECKING:  # `letterlib --help` need not wait for these
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from torch import Tensor

HEADER = "letterlib"
"""The entry of a file's metadata that holds our header, as JSON."""


def expanded(path: str | Path) -> Path:
    """`path` with the home folder for a leading ~."""
    return Path(os.path.expanduser(path))


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; rename it to `path` if the block succeeds.

    path: of a file, or of a folder if that is what the block makes; a folder that holds something
    is never replaced. Nothing is left behind where the block fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
        temporary = Path(scratch) / path.name
        yield temporary
        os.replace(temporary, path)


@contextmanager
def locked(path: str | Path, say: Callable[[str], None] = print) -> Iterator[None]:
    """Hold the lock of `path` in the block: of several processes one makes it, the others wait.

    The lock is a file `.<name>.lock` in the same folder, which the system releases when the process
    ends. say: told in one line if another process holds it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{path.parent.name}/{path.name}: another process is at work on it; waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def as_json(value: Any) -> str:
    """`value` as indented JSON. NaN and infinity, which JSON does not have, are a ValueError."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON."""
    write_text(path, as_json(value))


def write_text(path: str | Path, text: str) -> None:
    """Write `text` in UTF-8."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file. One that is missing, truncated or repeats a key is a LetterError."""
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_no_repeats)
    except OSError as error:
        raise _cannot_read(path, error) from error
    except (ValueError, RecursionError) as error:
        raise LetterError(
            f"{path}: not valid JSON ({error}); it may be truncated: get it or make it again"
        ) from error


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """json would keep the last of two equal keys, and so drop a user without a word."""
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f'the key "{next(k for k in keys if keys.count(k) > 1)}" appears twice')
    return result


def _cannot_read(path: str | Path, error: OSError) -> LetterError:
    if isinstance(error, FileNotFoundError):
        return LetterError(f"{path}: no such file; check the path")
    return LetterError(f"{path}: cannot be read ({error.strerror or error}); check the path")


def save_tensors(
    path: str | Path,
    tensors: "Mapping[str, Tensor | np.ndarray]",
    header: Mapping[str, Any] | None = None,
) -> None:
    """Write tensors or arrays, and a header of JSON values, as one safetensors file with a hash.

    The same content gives the same bytes.
    """
    import torch
    from safetensors.torch import save_file

    kept = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach() if torch.is_tensor(tensor) else torch.tensor(tensor)
        kept[name] = tensor.to("cpu", copy=True).contiguous()
    about = json.loads(json.dumps(header or {}))
    about["content"] = _content(kept, about)
    with atomic_write(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # safetensors' own files are for their owner alone
        try:
            save_file(kept, temporary, metadata={HEADER: json.dumps(about)})
        except SafetensorError as error:  # a full disk
            raise OSError(f"{path}: {error}") from error
        temporary.chmod(mode)


def load_tensors(path: str | Path) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Tensors, on the CPU, and header of what `save_tensors` wrote.

    A file of another program has the header {}. One that is missing or damaged is a LetterError.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
        if header != {} and header.pop("content", None) != _content(tensors, header):
            raise ValueError("its content is not what was saved")
    except OSError as error:
        raise _cannot_read(path, error) from error
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise LetterError(f"{path}: damaged, or not a safetensors file ({error})") from error
    return tensors, header


def _content(tensors: Mapping[str, "Tensor"], header: Mapping[str, Any]) -> str:
    return digest(header, *(part for pair in sorted(tensors.items()) for part in pair))


def save_table(
    path: str | Path,
    table: "pa.Table | pd.DataFrame",
    header: Mapping[str, Any] | None = None,
    **options: Any,
) -> None:
    """Write a table and a header of JSON values as Parquet, with a checksum of every page.

    options: of `pyarrow.parquet.write_table`, such as a compression.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not isinstance(table, pa.Table):
        table = pa.Table.from_pandas(table, preserve_index=False)
    about = (table.schema.metadata or {}) | {HEADER.encode(): json.dumps(header or {}).encode()}
    with atomic_write(path) as temporary:
        table = table.replace_schema_metadata(about)
        pq.write_table(table, temporary, write_page_checksum=True, **options)


def load_table(path: str | Path) -> tuple["pa.Table", dict[str, Any]]:
    """Table and header of what `save_table` wrote. A missing or damaged file is a LetterError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, page_checksum_verification=True)
        table.validate(full=True)  # offsets in range, texts in UTF-8
        return table, json.loads((table.schema.metadata or {}).get(HEADER.encode(), b"{}"))
    except FileNotFoundError as error:
        raise _cannot_read(path, error) from error
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LetterError(f"{path}: damaged, or not a Parquet file ({reason})") from error


def files_below(folder: str | Path, ending: str) -> list[Path]:
    """Files whose names end so, in order, without hidden ones and those in hidden folders."""
    found = (path for path in Path(folder).rglob(f"*{ending}") if path.is_file())
    return sorted(p for p in found if "/." not in f"/{p.relative_to(folder).as_posix()}")


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _cannot_read(path, error) from error


def content_of_folder(path: str | Path, *own: str) -> list[str]:
    """A list with a hash of the files in a model's folder; [] for a model's id.

    own: names of models that come with the library, which no folder of the same name replaces.
    """
    folder = Path(path)
    if not path or path in own or not folder.is_dir():
        return []
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return [digest(*((file.relative_to(folder).as_posix(), sha256_of(file)) for file in files))]


def digest(*parts: Any) -> str:
    """A short content hash (16 hex digits) of tensors, arrays and JSON-able values, in order."""
    state = hashlib.sha256()
    for part in parts:
        if hasattr(part, "untyped_storage"):  # a tensor; NumPy has no bfloat16
            import torch

            part = part.cpu().contiguous()
            state.update(f"{part.dtype}{tuple(part.shape)}".encode())
            state.update(part.reshape(-1).view(torch.uint8).numpy())
        elif hasattr(part, "tobytes"):
            state.update(f"{part.dtype}{part.shape}".encode())
            state.update(part.tobytes())
        else:
            state.update(json.dumps(part, sort_keys=True, ensure_ascii=False).encode())
        state.update(b"\0")
    return state.hexdigest()[:16]
