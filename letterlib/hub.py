"""Models that others trained, from a folder, the hub's cache or the hub; what cannot be loaded is
one line.
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from letterlib.errors import LetterError

Loaded = TypeVar("Loaded")


def check_model(option: str, name: str, own: Collection[str] = ()) -> None:
    """LetterError for what is written as a folder and is none, or is one and holds no model. Ids
    are not looked up.

    A folder goes before an id: transformers looks there first. own: names of ours, which no folder
    changes.
    """
    folder = Path(name)
    if name.startswith("~"):
        raise LetterError(
            f"{option}={name}: ~ is not resolved here; write the whole path, {os.path.expanduser(name)}"
        )
    if (name.startswith((".", "/")) or name.endswith("/")) and not folder.is_dir():
        raise LetterError(
            f"{option}={name}: no such folder; name one with a model in it, or the id of a model"
        )
    if name and name not in own and os.path.isdir(name) and not (folder / "config.json").is_file():
        raise LetterError(f"{option}={name}: this folder holds no model (no config.json)")


@contextmanager
def loading(what: str, hint: str) -> Iterator[None]:
    """Whatever keeps transformers from loading something becomes one line.

    It may be a wrong name, no network, half a download, files that do not belong together, or a
    package that is missing.
    """
    try:
        yield
    except LetterError:
        raise
    except Exception as error:  # such as a KeyError, whose text is the key alone
        said = (str(error).strip().splitlines() or [""])[0]
        if (
            "ignore_mismatched_sizes" in said
        ):  # transformers speaks of a report that it prints elsewhere
            said = "its weights have other sizes than its config.json says"
        expected = isinstance(error, (OSError, ValueError, ImportError, SafetensorError))
        reason = said if said and expected else f"{type(error).__name__}: {said}".removesuffix(": ")
        raise LetterError(f"{what}: cannot be loaded ({reason}); {hint}") from error


def find_on_hub(name: str) -> Path | None:
    """The folder of a model in the hub's cache; None for one that is on the hub alone.

    OSError for neither, ValueError for what cannot be a name. The hub is asked once and only for
    what is not cached. Loading would ask for every file, each with retries that take half a minute
    where there is no network.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

    for file in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME):
        if isinstance(found := try_to_load_from_cache(name, file), str):
            return Path(found).parent
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"))
    except RepositoryNotFoundError as error:
        raise OSError(
            "the hub has no model of that name, or shows it only to those with access"
        ) from error
    except EntryNotFoundError as error:
        raise OSError(
            "what the hub has of that name is no model, for it has no config.json"
        ) from error
    except (OSError, ValueError):  # offline on purpose, or a name that is none
        raise
    except Exception as error:  # of the HTTP library, which is not the same one in all versions of the hub's client
        raise OSError(f"the hub cannot be reached, {error}") from error
    return None


def revision_of(name: str) -> str | None:
    """The commit of a model that the hub's cache holds today, as its folder is called; None for any
    other model.
    """
    from huggingface_hub import try_to_load_from_cache

    if Path(name).is_dir():
        return None
    try:
        found = try_to_load_from_cache(name, "config.json")
    except ValueError:  # what can be no model's id
        return None
    return Path(found).parent.name if isinstance(found, str) else None


def load_found(name: str, load: Callable[[str], Loaded]) -> Loaded:
    """load(folder) for a folder or a model in the hub's cache, load(name) for a model on the hub.

    By its name transformers would ask the hub even for a cached model, for minutes where there is
    no network.
    """
    cached = None if Path(name).is_dir() else find_on_hub(name)
    if cached is None:
        return load(name)
    try:
        return load(str(cached))
    except Exception:  # half a download, or a damaged one; the hub has the rest
        return load(name)


def load_weights(
    model_class: Any, source: str, unused: tuple[str, ...] = (), **options: Any
) -> Any:
    """model_class.from_pretrained(source); OSError where weights are missing, for which
    transformers draws random ones.

    unused: parts of the model that nobody asks, such as a pooler; they may be missing.
    """
    model, report = model_class.from_pretrained(
        source, use_safetensors=True, output_loading_info=True, **options
    )
    missing = sorted(
        name for name in report["missing_keys"] if not set(unused) & set(name.split("."))
    )
    if missing:
        raise OSError(
            f"its files lack {len(missing)} of the weights that its config.json speaks of: {missing[0]}"
        )
    return model


def load_tokenizer(source: str, **options: str) -> Any:
    """A tokenizer that knows words: without its files transformers makes one of special tokens
    alone, silently.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, **options)
    words = tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens)
    if not any(character.isalnum() for word in words for character in word):
        raise OSError(f"{source} has no tokenizer in it, such as tokenizer.json")
    return tokenizer
