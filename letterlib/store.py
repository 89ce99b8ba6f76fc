"""Reading and writing files so that nothing is ever half-written and no reading executes code."""

import errno
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from letterlib.errors import LetterError


def expanded(path: str | Path) -> Path:
    """`path` with the home folder for a leading ~, as a shell writes it unless it is in quotes or
    after a "=".
    """
    return Path(os.path.expanduser(path))


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in `path`'s folder; rename it to `path` only if the block succeeds.

    Works for a file or a folder, whichever the block creates. A file is replaced by a file; all
    else that is there, but an empty folder where one is written, is a LetterError, and so is a full
    disk.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise LetterError(
            f"{path.parent}: cannot write here ({error.strerror}); {_advice(error)}"
        ) from error
    temporary = scratch / path.name
    try:
        yield temporary
        if path.is_dir() and (not temporary.is_dir() or any(path.iterdir())):
            what = (
                "a folder with something in it"
                if any(path.iterdir())
                else "a folder, and a file was to be written"
            )
            raise LetterError(f"{path}: is {what}; name another, or delete it yourself")
        if path.is_file() and temporary.is_dir():
            raise LetterError(
                f"{path}: is a file, and a folder was to be written; name another, or delete it yourself"
            )
        _share(temporary)
        replace(temporary, path)
    except (OSError, SafetensorError) as error:
        failed = _as_os_error(error)
        if not _from_writing(failed, path.parent):
            raise  # an error of the block's own, such as a model that cannot be downloaded
        raise LetterError(
            f"{path}: could not be written ({failed.strerror}); {_advice(failed)}"
        ) from failed
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def replace(written: str | Path, path: str | Path) -> None:
    """`os.replace`; on Windows it is tried for a second, because a virus scanner holds what is new
    for a moment.
    """
    for _ in range(20 if sys.platform == "win32" else 0):
        with suppress(PermissionError):
            return os.replace(written, path)
        time.sleep(0.05)
    os.replace(written, path)


def _share(written: Path) -> None:
    """Let others read what was written, as far as the umask lets them; safetensors' files are for
    their owner alone.
    """
    probe = written.with_name(
        ".mode"
    )  # to ask for the umask is to set it, for a moment and for all threads
    probe.touch()
    for one in written.rglob("*") if written.is_dir() else [written]:
        if one.is_file():
            one.chmod(probe.stat().st_mode & 0o777)


@contextmanager
def locked(
    path: str | Path, waiting: Callable[[str], None] = print, *, or_read: bool = False
) -> Iterator[LetterError | None]:
    """Hold the lock of `path` during the block, so that of several processes one makes it and the
    others wait.

    The lock is a file `.<name>.lock` beside `path`. The system releases it when its process ends,
    however it ends; the empty file stays. What a killed process was writing when it held the lock
    is removed.
    waiting: told in one line when somebody else holds the lock.
    or_read: where no lock can be taken, as in a shared folder that may only be read, the block runs
    without one and is given the error to raise if it has to write. It may read what was renamed
    into place, which is always whole.
    """
    path = Path(path)
    lock = FileLock(path.with_name(f".{path.name}.lock"), fallback_to_soft=False)
    unwritable = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting(
                f"{path.parent.name}/{path.name}: another process is at work on it; waiting until that is done"
            )
            lock.acquire()
    except OSError as error:
        unwritable = LetterError(
            f"{path.parent}: cannot write here ({error.strerror}); {_advice(error)}"
        )
        if not or_read:
            raise unwritable from error
    try:
        if not unwritable:
            remove_scratch(path.parent, path.name)
        yield unwritable
    finally:
        lock.release()


def remove_scratch(folder: str | Path, name: str | None = None) -> None:
    """Remove what killed processes left of `atomic_write`: of files called `name`, or of all in
    the folder.

    That is any hidden folder whose name ends in a point and eight letters, digits or _. Only for
    who can be sure that nobody is writing them at this moment.
    """
    left = re.compile(
        rf"\.{re.escape(name) if name else '.+'}\.[a-z0-9_]{{8}}"
    )  # as `tempfile` names them
    for one in Path(folder).glob(".*"):
        if left.fullmatch(one.name) and one.is_dir():
            shutil.rmtree(one, ignore_errors=True)


def _as_os_error(error: OSError | SafetensorError) -> OSError:
    """What the system said when safetensors could not write; it has only a text, "... (os error 13)
    at path ...".
    """
    if isinstance(error, OSError):
        return error
    said = re.search(r'os error (\d+)\)(?: at path "(.+)")?', str(error))
    return (
        OSError(int(said[1]), os.strerror(int(said[1])), said[2]) if said else OSError(str(error))
    )


def _from_writing(error: OSError, folder: Path) -> bool:
    full_or_forbidden = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
    # Of a relative folder Python 3.12 makes temporary folders with an absolute name, 3.11 does not.
    inside = isinstance(error.filename, str) and Path(error.filename).absolute().is_relative_to(
        folder.absolute()
    )
    # A failing disk shows in the midst of a file, where Python does not know its name.
    return (
        error.errno in full_or_forbidden
        or inside
        or (error.errno == errno.EIO and error.filename is None)
    )


def _advice(error: OSError) -> str:
    return {
        errno.ENOSPC: "free some disk space, or choose another folder, and run the command again",
        errno.EIO: "the disk fails, or a network disk is away; run the command again, or choose another disk",
        errno.ENOSYS: "this file system cannot lock files; choose a folder on another, or have it mounted with flock",
    }.get(error.errno, "choose another folder, or make this one writable")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """`value` as indented JSON. NaN and infinity, which JSON does not have, are a ValueError."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: str | Path, text: str) -> None:
    """Write `text`, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file. A missing, truncated or key-repeating file is a LetterError, and says
    where.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_no_repeats)
    except FileNotFoundError as error:
        raise LetterError(f"{path}: no such file; check the path, or --data-dir") from error
    except IsADirectoryError as error:
        raise LetterError(f"{path}: is a folder, not a JSON file") from error
    except OSError as error:
        raise LetterError(
            f"{path}: cannot be read ({error.strerror}); check its permissions and its disk"
        ) from error
    except UnicodeDecodeError as error:
        raise LetterError(
            f"{path}: not UTF-8 text (byte {error.start}); download the file again"
        ) from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise LetterError(
            f"{path}: not valid JSON at {where} ({error.msg}); the file may be truncated; get it again, or delete it "
            "and make it again"
        ) from error
    except _RepeatedKey as error:
        raise LetterError(
            f'{path}: the key "{error}" appears twice; in one object it may appear once'
        ) from error
    except (
        RecursionError,
        ValueError,
    ) as error:  # brackets in brackets without end, numbers of thousands of digits
        raise LetterError(
            f"{path}: not JSON that can be read ({error}); is it the right file?"
        ) from error


class _RepeatedKey(ValueError):
    pass


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """json keeps the last of two equal keys without a word; in our formats that hides a broken
    file.
    """
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _RepeatedKey(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return result


def files_below(folder: str | Path, ending: str) -> list[Path]:
    """In order; not what is being written at this moment, or was when its process was killed."""
    found, seen = [], set()
    # It goes on where a folder is gone again; rglob of Python 3.11 does not, nor into a folder that
    # is a link.
    for at, below, names in os.walk(folder, followlinks=True):
        if (
            real := os.path.realpath(at)
        ) in seen:  # a second link to it, or one to a folder above itself
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        found += [Path(at, name) for name in names if name.endswith(ending)]
    return sorted(found)


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits. A file that is not there, or a folder, is a
    LetterError.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise LetterError(f"{path}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise LetterError(f"{path}: is a folder, not a file; check the path") from error
    except OSError as error:
        raise LetterError(
            f"{path}: cannot be read ({error.strerror}); check its permissions and its disk"
        ) from error


def disk_failure(error: LetterError) -> OSError | None:
    """What kept a file that is there from being read, such as a network disk that is away; None for
    any other reason.

    Such a file may be whole, so it is no reason to make it again.
    """
    why = error.__cause__
    return (
        why
        if isinstance(why, OSError) and not isinstance(why, (FileNotFoundError, IsADirectoryError))
        else None
    )


def content_of_folder(path: str | Path, *own: str) -> list[str]:
    """A hash of the files in a model's folder, in a list; empty for a name that is no folder, or
    one of our `own`.

    What is made with a model of a folder depends on what lies there, not on what the folder is
    called.
    """
    folder = Path(path)
    if not path or path in own or not folder.is_dir():
        return []
    files = sorted(one for one in folder.rglob("*") if one.is_file())
    return [digest(*((one.relative_to(folder).as_posix(), sha256_of(one)) for one in files))]


def digest(*parts: Any) -> str:
    """A short content hash (16 hex digits) of arrays, strings and JSON-able values, in order."""
    state = hashlib.sha256()
    for part in parts:
        if hasattr(part, "tobytes"):
            state.update(f"{part.dtype}{part.shape}".encode())
            state.update(part.tobytes())
        else:
            state.update(json.dumps(part, sort_keys=True, ensure_ascii=False).encode())
        state.update(b"\0")
    return state.hexdigest()[:16]
