"""Opens what prepares the images of a vision-language checkpoint.

processor, blind = open_processor("./checkpoint")       processor.image_processor, .tokenizer

Videos are left out: their half of a processor needs torchvision, which nothing here does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planish.models.local_prompts import TEXT_ONLY
from planish.records import BadInput

__all__ = ["open_processor"]

_FILES = ("processor_config.json", "preprocessor_config.json")
_MISSING = "the checkpoint lacks its image processor (preprocessor_config.json)"


def open_processor(path: str) -> tuple[Any, str]:
    """The processor of a checkpoint that sees, or None and why it takes no images.

    Args:
        path: a folder that `save_pretrained` wrote, or a Hub id.

    Raises:
        BadInput: a model that only loads as one that sees, without its processor.
        Exception: whatever transformers raises over a damaged file.
    """
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    )

    try:
        config: Any = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception:  # whoever loads the model says what is wrong
        return None, TEXT_ONLY
    seeing: Any = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    writing: Any = MODEL_FOR_CAUSAL_LM_MAPPING
    writes = type(config) in writing
    # A few architectures stand in both tables and see only with a vision tower in their config.
    if type(config) not in seeing or (writes and getattr(config, "vision_config", None) is None):
        return None, TEXT_ONLY
    if getattr(config, "is_encoder_decoder", False):
        return None, TEXT_ONLY
    if not any(_file(path, name) for name in _FILES):
        if writes:
            return None, _MISSING
        raise BadInput(
            _MISSING,
            where=path,
            fix="save it beside the weights: processor.save_pretrained(folder)",
        )
    kind = _without_videos(_kind(path, config))
    return _checked(kind.from_pretrained(path, trust_remote_code=False), path), ""


def _file(path: str, name: str) -> str | None:
    from transformers import utils

    theirs: Any = utils  # without types of its own
    found: str | None = theirs.cached_file(
        path,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return found


def _kind(path: str, config: Any) -> Any:
    """The processor's class: the one that the files name, else the architecture's own."""
    from transformers.models.auto import processing_auto

    theirs: Any = processing_auto
    for name in (*_FILES, "tokenizer_config.json"):
        if file := _file(path, name):
            content = json.loads(Path(file).read_text(encoding="utf-8"))
            if named := content.get("processor_class"):
                if kind := theirs.processor_class_from_name(named):
                    return kind
                break
    if type(config) in theirs.PROCESSOR_MAPPING:
        return theirs.PROCESSOR_MAPPING[type(config)]
    raise BadInput(
        "transformers knows no processor for this architecture",
        where=path,
        fix="name a model that AutoProcessor opens",
    )


def _without_videos(kind: Any) -> Any:
    names = [name for name in kind.get_attributes() if name != "video_processor"]
    # Arguments without an attribute of their own are dropped by transformers, and videos come last.
    return type(kind.__name__, (kind,), {"get_attributes": classmethod(lambda _: names)})


def _checked(processor: Any, path: str) -> Any:
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None or not hasattr(processor, "image_processor"):
        raise BadInput(
            "its processor does not prepare images together with text",
            where=path,
            fix="name a model that takes both",
        )
    if getattr(processor, "chat_template", None):
        tokenizer.chat_template = processor.chat_template
    return processor
