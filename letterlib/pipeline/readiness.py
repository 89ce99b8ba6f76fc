"""What would end a long run in its turn, hours from now, is found before it begins."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from letterlib.errors import Unavailable
from letterlib.generators.language_model import check_language_model
from letterlib.pipeline.cache import RECORD
from letterlib.pipeline.config import TOKENIZER_ARMS, RunConfig, check_tokenizer, tokenizer_of_arm
from letterlib.pipeline.systems import find_system, rooms_of

if TYPE_CHECKING:  # it imports this module
    from letterlib.pipeline.pipeline import Pipeline


def check_first(pipeline: "Pipeline", names: Iterable[str]) -> None:
    """LetterError for what would end these systems when their turn comes, after hours of others.

    Text embeddings, which show whether the encoder is at hand, are made if they are needed.
    """
    names = list(names)
    schemes = {find_system(name).identifiers for name in names}
    for arm in schemes & set(TOKENIZER_ARMS):
        check_tokenizer(tokenizer_of_arm(pipeline.config.tokenizer, arm), pipeline.split.n_items)
    check_language_models(names, pipeline.config, pipeline.cache.folder)
    if any("encoder" in rooms_of(None, one) for one in schemes):
        with suppress(Unavailable):  # which is said of each system
            pipeline.semantic()


def check_language_models(names: Iterable[str], config: RunConfig, cache: Path) -> None:
    """LetterError for a language model of these systems that is not at hand
    (`check_language_model`).

    cache: the folder of stages. Where a system was trained from this model already, it may be there
    with all that it needs, and is then read without the model. So nothing is checked.
    """
    for name in names:
        if not (system := find_system(name)).language_model:
            continue
        model = getattr(config, system.config).language_model
        words = f'"language_model": {json.dumps(model, ensure_ascii=False)}'
        if not any(words in _text(one) for one in (cache / name).glob(f"*/{RECORD}")):
            check_language_model(model)


def _text(record: Path) -> str:
    """What is in a record; "" where it may not be read, or has just been deleted."""
    try:
        return record.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
