"""One run, done once and kept as one JSON file: what lesson 10, a grid and a cluster's job all
call.

    record = run(RunParameters.checked(tokenizer="letter"), cache_dir=Path("runs"))
    record["metrics"]["history in"]["R@10"]

The file `<out_dir>/<key>.json` appears when the run has ended well, whole. A run that is killed
leaves its finished stages and checkpoints in the cache, and goes on from them. One that fails
leaves a line in `<key>.failures.jsonl`.
"""

import functools
import json
import os
import subprocess
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from letterlib.data import PACKAGED, identifiers_file, load_dataset
from letterlib.distributed import broadcast, is_main
from letterlib.errors import LetterError
from letterlib.generators.language_model import SMOLLM2, TINY
from letterlib.hardware import peak_memory_mb
from letterlib.pipeline.analysis_run import identifier_figures
from letterlib.pipeline.brief import RunResult, fault, hits_in_brief, signed, users_in_brief
from letterlib.pipeline.cache import Cache, code, versions
from letterlib.pipeline.config import REPOSITORY, default_data_dir
from letterlib.pipeline.parameters import RunParameters
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.systems import find_system
from letterlib.store import (
    content_of_folder,
    expanded,
    locked,
    read_json,
    remove_scratch,
    sha256_of,
    write_json,
    write_text,
)
from letterlib.text import MINILM
from letterlib.train import resolve_device


def run(
    parameters: RunParameters,
    *,
    data_dir: Path | None = None,
    out_dir: Path = Path("runs/results"),
    cache_dir: Path = Path("runs"),
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Find the record of a finished run, or do the run and write its record.

    data_dir: folder of a released data set; data/<dataset> if not given. cache_dir: where stages
    are kept; runs that share it compute what they have in common once. Two processes on one run:
    the second waits, and finds the record of the first. Processes that train together (`processes`)
    all do the run, and the main one keeps it.
    """
    data_dir = expanded(data_dir) if data_dir else default_data_dir(parameters.dataset)
    path, what = record_path(parameters, out_dir), f"{parameters.label}, seed {parameters.seed}"
    resolve_device(parameters.device)  # where processes that train together meet
    say = say if is_main() else lambda line: None
    found = broadcast(lambda: finished(parameters, out_dir))
    with nullcontext() if found or not is_main() else locked(path, say):
        # Another process may have done it while this one waited.
        found = found or broadcast(lambda: finished(parameters, out_dir, say))
        if found is not None:
            check_data_of(
                found, path, data_dir, content_now(parameters.dataset, data_dir, cache_dir)
            )
            _check_files_of(found, path, parameters, data_dir)
            say(
                f"{what}: found {path}"
                + (" (by other code)" if RunResult(found).code - {None, code()} else "")
            )
            return found
        parameters.check_data(data_dir)
        try:
            record = _do(parameters, data_dir, Cache(cache_dir, say))
            record = broadcast(lambda: _keep(record, parameters, out_dir))
        except Exception as error:
            if is_main():
                _keep_failure(parameters, out_dir, error, say)
            raise
        say(f"{what}: written to {path}")
        return record


def finished(
    parameters: RunParameters, out_dir: Path, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any] | None:
    """The record of a finished run. None where there is none, or a damaged one, of which `say` is
    told.

    Another run's record is a LetterError.
    """
    path = record_path(parameters, out_dir)
    if not os.path.exists(path):  # Path.exists raises where one may not even look
        return None
    try:
        record = read_json(path)
    except LetterError as error:
        wrong = str(error)
    else:
        wrong = fault(record, RunParameters.model_fields)
        if not wrong and record["parameters"] != parameters.resolved:
            what = f"{record['label']}, {record['parameters']['dataset']}, seed {record['parameters']['seed']}"
            raise LetterError(
                f"{path}: the record of another run ({what}); give it its own name back, or delete it"
            )
    if wrong:
        say(f"{path}: damaged, so this run is done again ({wrong})")
    return None if wrong else record


def content_now(dataset: str, data_dir: Path | None, cache_dir: Path) -> str | None:
    """The fingerprint of the data that are there now; None where there are none, and a record of
    them stands.
    """
    if not Path(data_dir).is_dir() if data_dir else dataset not in PACKAGED:
        return None
    try:
        return load_dataset(dataset, data_dir, Path(cache_dir) / "data").fingerprint
    except LetterError:
        if data_dir is None:  # a package that is not there, or a cache that is to be read only
            return None
        raise


def check_data_of(
    record: dict[str, Any], path: Path, data_dir: Path | None, there: str | None
) -> None:
    """LetterError if a record is of other data than are `there` now: its name says what they are
    called.
    """
    if there not in (None, record["dataset"]["fingerprint"]):
        or_else = ", or call this data set something else" if data_dir else ""
        raise LetterError(
            f"{path}: the record of {record['parameters']['dataset']} with other content than "
            f"{data_dir or 'its package'} has now; name another folder with --out-dir (papermill: -p out_dir){or_else}"
        )


def _check_files_of(
    record: dict[str, Any], path: Path, parameters: RunParameters, data_dir: Path | None
) -> None:
    """LetterError if a file that the run read has another content now. Records made before this was
    kept pass.
    """
    known = record.get("files", {})
    for name, content in _files_read(parameters, data_dir).items():
        if known.get(name, content) != content:
            raise LetterError(
                f"{path}: the record of a run with another {name}; name another folder with --out-dir"
            )


def _files_read(parameters: RunParameters, data_dir: Path | None) -> dict[str, str]:
    """Hashes of what a run reads beside its data set. The key has the names of these, not their
    content.
    """
    own = getattr(parameters.config, find_system(parameters.system).config or "", None)
    found = {}
    if parameters.tokenizer == "released" and (
        file := identifiers_file(parameters.dataset, data_dir)
    ):
        found["file of identifiers"] = sha256_of(file)
    if getattr(own, "intentions", None):
        found["file of intentions"] = sha256_of(own.intentions)
    models = {"encoder": parameters.config.encoder} if "encoder" in parameters.rooms else {}
    models["language model"] = getattr(own, "language_model", "")
    return found | {
        k: one
        for k, model in models.items()
        for one in content_of_folder(model, MINILM, SMOLLM2, TINY)
    }


def _keep(record: dict[str, Any], parameters: RunParameters, out_dir: Path) -> dict[str, Any]:
    path = record_path(parameters, out_dir)
    write_json(path, signed(record | {"failures": len(failures(parameters, out_dir))}))
    return read_json(path)


def record_path(parameters: RunParameters, out_dir: Path) -> Path:
    """Where a run's record is, or will be."""
    return expanded(out_dir) / f"{parameters.key}.json"


def failures(parameters: RunParameters, out_dir: Path) -> list[dict[str, Any]]:
    """What went wrong in earlier attempts, oldest first: when, error, traceback. Of a damaged line
    only that it is.
    """
    path = _failures_path(parameters, out_dir)
    lines = (
        path.read_bytes().split(b"\n") if path.exists() else []
    )  # as text, splitlines would cut at U+2028, too
    found = []
    for line in filter(None, lines):
        try:
            found.append(json.loads(line))
        except ValueError:
            found.append({"error": "a line that cannot be read"})
    return found


def _failures_path(parameters: RunParameters, out_dir: Path) -> Path:
    return record_path(parameters, out_dir).with_suffix(".failures.jsonl")


def _keep_failure(
    parameters: RunParameters, out_dir: Path, error: Exception, say: Callable[[str], None]
) -> None:
    """Add a line, atomically. Where even that cannot be written, what went wrong first is what is
    raised.
    """
    lines = failures(parameters, out_dir)
    lines.append(
        {
            "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "error": f"{type(error).__name__}: {error}",
            "traceback": traceback.format_exc(),
            "parameters": parameters.resolved,
        }
    )
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    path = _failures_path(parameters, out_dir)
    remove_scratch(path.parent, path.name)
    try:
        write_text(path, text)
    except LetterError as full:
        say(f"the failure could not be kept: {full}")


def _do(parameters: RunParameters, data_dir: Path | None, cache: Cache) -> dict[str, Any]:
    started, origin = time.perf_counter(), _origin()
    pipeline = Pipeline(parameters.config, data_dir=data_dir, cache=cache)
    name, dataset = parameters.system, pipeline.dataset
    results = {history: pipeline.evaluation(name, history=history) for history in ("in", "out")}
    validations = pipeline.log(name).validations if pipeline.parameters(name) else []
    record = {
        "parameters": parameters.resolved,
        "system": name,
        "label": parameters.label,
        "dataset": {
            "fingerprint": dataset.fingerprint,
            "source": dataset.source,
            "users": dataset.n_users,
            "items": dataset.n_items,
            "interactions": dataset.n_interactions,
            "held out": parameters.config.held_out,
        },
        "config": pipeline.config.model_dump(mode="json", include=set(parameters.rooms)),
        "metrics": {f"history {history}": one.metrics() for history, one in results.items()},
        "validation N@10": max((score for _, score in validations), default=None),
        "validations": validations,
        "weights": pipeline.parameters(name),
        "identifiers": identifier_figures(pipeline, parameters.tokenizer),
        "cases": {
            "total": len(pipeline.split.cases("test")),
            "answered": len(results["in"].ranks),
            "users": users_in_brief(results["in"].users),
        },
        "hits": {
            f"history {history}": hits_in_brief(one.ranks) for history, one in results.items()
        },
        "files": _files_read(parameters, pipeline.data_dir),
    }
    return record | {
        "stages": [_stage_in_brief(one) for one in cache.finished],
        "seconds": round(time.perf_counter() - started, 1),
        "peak memory MiB": peak_memory_mb(),
        "device": cache.devices(),
        **origin,
    }


def _stage_in_brief(artefact) -> dict[str, Any]:
    kept = ("seconds", "peak_memory_mb", "peak_gpu_memory_mb", "device", "threads")
    what = {"name": artefact.name, "key": artefact.key, "from cache": artefact.from_cache}
    what["code"] = artefact.record.get("code")
    return what | {name: artefact.record[name] for name in kept if name in artefact.record}


@functools.cache
def _origin() -> dict[str, Any]:
    """What makes the runs of this process, asked before the first: an edit while one trains is no
    part of it.
    """
    return {"versions": versions(), "commit": commit(), "code": code()}


def commit() -> str | None:
    """The commit of letterlib's own checkout, with "+" where files differ from it; None outside of
    a checkout.
    """
    try:
        if _git(
            "rev-parse", "--show-prefix"
        ):  # installed below another project's checkout, whose commit says nothing
            return None
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*words: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
