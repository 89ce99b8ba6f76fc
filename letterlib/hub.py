"""Models that others trained: from a folder, from the hub's cache, or from the hub."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from letterlib.errors import LetterError, optional

Loaded = TypeVar("Loaded")


@contextmanager
def loading(what: str, hint: str) -> Iterator[None]:
    """Whatever keeps transformers from loading something in the block becomes one line."""
    try:
        yield
    except LetterError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        raise LetterError(f"{what}: cannot be loaded ({reason}); {hint}") from error


def find_on_hub(name: str) -> Path | None:
    """The folder of a model whose weights are in the hub's cache; None for one on the hub.

    An OSError for neither. The hub is asked once: transformers would ask for every file, with
    retries that take half a minute each without a network.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    with optional("language-models"):
        from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

    for file in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME):
        if isinstance(found := try_to_load_from_cache(name, file), str):
            return Path(found).parent
    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json"))
    except (OSError, ValueError):
        raise
    except Exception as error:  # of the HTTP library
        raise OSError(f"the hub cannot be reached, {error}") from error
    return None


def revision_of(name: str) -> str | None:
    """The commit of a model that the hub's cache holds now; None for a folder or any other name."""
    from huggingface_hub import try_to_load_from_cache

    if Path(name).is_dir():
        return None
    try:
        found = try_to_load_from_cache(name, "config.json")
    except ValueError:  # no model has such an id
        return None
    return Path(found).parent.name if isinstance(found, str) else None


def load_found(name: str, load: Callable[[str], Loaded]) -> Loaded:
    """load(folder) for a folder or a model in the hub's cache, load(name) for one on the hub.

    By its name, transformers would ask the hub for a cached model, too.
    """
    cached = None if Path(name).is_dir() else find_on_hub(name)
    if cached is None:
        return load(name)
    try:
        return load(str(cached))
    except Exception:  # an interrupted download
        return load(name)


def load_weights(
    model_class: Any, source: str, unused: tuple[str, ...] = (), **options: Any
) -> Any:
    """model_class.from_pretrained(source). Missing weights, which transformers would draw at
    random, are an OSError.

    unused: parts of the model that are not called, such as a pooler; they may be missing.
    """
    model, report = model_class.from_pretrained(
        source, use_safetensors=True, output_loading_info=True, **options
    )
    missing = sorted(
        name for name in report["missing_keys"] if not set(unused) & set(name.split("."))
    )
    if missing:
        raise OSError(f"its files lack {len(missing)} of its weights: {missing[0]}")
    return model


def load_tokenizer(source: str, **options: str) -> Any:
    """AutoTokenizer.from_pretrained(source). One that knows no word is an OSError: without its
    files transformers makes one of special tokens alone, silently.
    """
    with optional("language-models"):
        from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, **options)  # the user names it  # nosec B615
    words = tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens)
    if not any(character.isalnum() for word in words for character in word):
        raise OSError(f"{source} has no tokenizer in it, such as tokenizer.json")
    return tokenizer
