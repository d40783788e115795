"""Opens a Hugging Face checkpoint, quietly, and says in one line why it cannot.

checkpoint = open_checkpoint("./checkpoint", device="cpu", dtype="float32")
checkpoint.model, checkpoint.tokenizer, checkpoint.eos_ids
open_checkpoint("./checkpoint", images=True).processor      of a model that sees
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from planish.models.local_prompts import TEXT_ONLY
from planish.records import BadInput

__all__ = ["Checkpoint", "fingerprint", "open_checkpoint", "open_tokenizer", "opened"]

_DTYPES = ("auto", "float32", "bfloat16", "float16")
# Without one of these, transformers makes up an empty tokenizer and says nothing.
_VOCABULARIES = (
    "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model",
    "sentencepiece.bpe.model", "tekken.json", "*.tiktoken",
)  # fmt: skip
# What decides the replies: weights, architecture, tokenizer, chat template, end tokens, and how
# images are prepared.
_FINGERPRINTED = (
    "*.safetensors", "pytorch_model*.bin", "config.json", "generation_config.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt",
    "chat_template.*", "*processor_config.json", *_VOCABULARIES,
)  # fmt: skip
# What some processors import besides.
_PROCESSORS_NEED = ("torchvision", "num2words", "timm")
_REASON_CHARACTERS = 240


@dataclass(frozen=True)
class Checkpoint:
    """A model that is ready to be called, and what one must know to call it.

    Args:
        model: in eval mode, on its device.
        tokenizer: as saved with it.
        eos_ids: every token that ends a reply: the checkpoint's and the tokenizer's.
        pad_id: what fills batches up; never part of a reply.
        max_positions: longest prompt and reply together; None where there is no bound.
        dtype: of the weights in memory, such as "float32".
        fresh_head: whether a scalar head was asked for, and the checkpoint has none yet.
        processor: what prepares images for a model that sees; None where no image goes in.
        blind: why none goes in.
    """

    model: Any
    tokenizer: Any
    eos_ids: tuple[int, ...]
    pad_id: int
    max_positions: int | None
    dtype: str
    fresh_head: bool = False
    processor: Any = None
    blind: str = TEXT_ONLY


def open_checkpoint(
    path: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    scalar: bool = False,
    images: bool = False,
) -> Checkpoint:
    """Loads the model and the tokenizer of a folder or a Hub repository.

    Args:
        path: a folder that `save_pretrained` wrote, or a Hub id such as `Qwen/Qwen3-4B`.
        device: by default "cuda" where there is one, else "cpu".
        dtype: "auto" (as saved), "float32", "bfloat16" or "float16"; by default "auto" on a
            GPU and "float32" on the CPU.
        scalar: with one number per text in place of logits, read at the last token that is not
            padding. A language model gets a new head for it, drawn from torch's generator.
        images: a vision-language model is opened with all that it needs to see.

    Raises:
        BadInput: it is not there, not whole, or not a causal language model with a tokenizer.
    """
    chosen = _device(device)
    if dtype is None:
        dtype = "float32" if chosen.type == "cpu" else "auto"
    if dtype not in _DTYPES:
        raise BadInput(
            f"there is no dtype {dtype!r}", where=path, fix=f"use one of {', '.join(_DTYPES)}"
        )
    _check_folder(path)
    with _quiet():
        processor, blind = _load_processor(path) if images else (None, TEXT_ONLY)
        model, fresh_head = _load_model(path, chosen, dtype, scalar, processor is not None)
        tokenizer = processor.tokenizer if processor is not None else _load_tokenizer(path)
    _check_vocabulary(path, model, tokenizer)
    if tokenizer.eos_token_id is None:
        raise _no_end(path)
    found = replace(opened(model, tokenizer), processor=processor, blind=blind)
    if not scalar:
        return found
    text = model.config.get_text_config()
    if fresh_head or text.pad_token_id is None:
        text.pad_token_id = found.pad_id
    # The head knows padding by its id.
    return replace(found, pad_id=text.pad_token_id, fresh_head=fresh_head)


def opened(model: Any, tokenizer: Any) -> Checkpoint:
    """A model that is open already, such as one in training; its tokenizer has an end token."""
    pad_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return Checkpoint(
        model=model,
        tokenizer=tokenizer,
        eos_ids=_eos_ids(model, tokenizer),
        pad_id=pad_id,
        max_positions=_max_positions(model.config),
        dtype=str(model.dtype).removeprefix("torch."),
    )


def open_tokenizer(path: str) -> tuple[Any, int | None]:
    """The tokenizer of a checkpoint and how long its context is, without loading the weights.

    Raises:
        BadInput: as `open_checkpoint`.
    """
    from transformers import AutoConfig

    _check_folder(path)
    with _quiet():
        try:
            config: Any = AutoConfig.from_pretrained(path, trust_remote_code=False)
        except Exception as error:  # see _load_model
            raise _cannot_load("the configuration", path, error) from error
        tokenizer = _load_tokenizer(path)
    if tokenizer.eos_token_id is None:
        raise _no_end(path)
    return tokenizer, _max_positions(config)


def _no_end(path: str) -> BadInput:
    return BadInput(
        "the tokenizer has no end-of-sequence token, so a reply would never end",
        where=path,
        fix="set eos_token in tokenizer_config.json",
    )


def fingerprint(path: str, model: Any) -> str:
    """Short hash of a folder's weights, configuration and tokenizer; a Hub id's commit."""
    folder = Path(path)
    if not folder.is_dir():
        return str(getattr(model.config, "_commit_hash", None) or "unknown")[:16]
    whole = hashlib.sha256()
    for file in sorted({file for name in _FINGERPRINTED for file in folder.glob(name)}):
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{file.name}\0{digest}\n".encode())
    return whole.hexdigest()[:16]


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise BadInput(
            f"there is no device {name!r} on this machine", where="device", fix="use cpu"
        ) from None
    if device.type == "meta":
        raise BadInput("the meta device holds no weights", where="device", fix="use cpu")
    return device


def _check_folder(path: str) -> None:
    folder = Path(path)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BadInput(
                "no config.json in this folder",
                where=path,
                fix="name the folder that save_pretrained wrote",
            )
        if not any(any(folder.glob(name)) for name in _VOCABULARIES):
            raise BadInput(
                "no tokenizer in this folder",
                where=path,
                fix="save it beside the weights: tokenizer.save_pretrained(folder)",
            )
    elif folder.exists() or path.startswith((".", "~", os.sep)) or path.count("/") > 1:
        raise BadInput("no such folder", where=path, fix="check the path")
    else:
        _check_hub(path)


def _check_hub(name: str) -> None:
    """Asks the Hub once for what is not in the cache: transformers would try for a minute.

    Whatever the Hub itself answers is left to the loading, which says what is wrong.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        if isinstance(try_to_load_from_cache(name, "config.json"), str):
            return
        get_hf_file_metadata(hf_hub_url(name, "config.json"))
    except (HFValidationError, HfHubHTTPError):
        return
    except Exception as error:  # of whichever client this version of the library stands on
        raise _unreachable(name) from error


def _unreachable(path: str) -> BadInput:
    return BadInput(
        "no such folder, no copy in the cache, and the Hub cannot be reached",
        where=path,
        fix="give a folder, or fetch the model where there is a network",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no advice on the terminal while loading; errors still come through."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as transformers_logging

    theirs: Any = transformers_logging  # without types of its own
    verbosity, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    hub_verbosity = hub_logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs.set_verbosity(logging.CRITICAL)
            theirs.disable_progress_bar()  # the Hub's, too
            hub_logging.set_verbosity(logging.CRITICAL)
            yield
        finally:
            theirs.set_verbosity(verbosity)
            hub_logging.set_verbosity(hub_verbosity)
            if bars:
                theirs.enable_progress_bar()


def _load_model(
    path: str, device: torch.device, dtype: str, scalar: bool, sees: bool
) -> tuple[Any, bool]:
    """The model, and whether its scalar head is new."""
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoModelForSequenceClassification,
    )

    load: Any = AutoModelForCausalLM.from_pretrained
    head: dict[str, Any] = {}
    if scalar:
        load, head = AutoModelForSequenceClassification.from_pretrained, {"num_labels": 1}
    elif sees:
        load = AutoModelForImageTextToText.from_pretrained
    try:
        model, report = load(
            path,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            # Weights go straight to a GPU: the machine's own memory may be too small for them.
            device_map=None if device.type == "cpu" else {"": device},
            trust_remote_code=False,
            output_loading_info=True,
            **head,
        )
    except Exception as error:  # a broken checkpoint fails in as many ways as there are files
        raise _cannot_load("the model", path, error) from error
    missing = sorted(report["missing_keys"])
    fresh_head = scalar and missing == ["score.weight"]
    if missing and not fresh_head:
        raise BadInput(
            f"the weights lack {len(missing)} tensors of the architecture, {missing[0]} first",
            where=path,
            fix="save the whole model again; its config.json may be another model's",
        )
    return model.eval(), fresh_head


def _load_tokenizer(path: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # see _load_model
        raise _cannot_load("the tokenizer", path, error) from error


def _load_processor(path: str) -> tuple[Any, str]:
    from planish.models.vision_loading import open_processor

    try:
        return open_processor(path)
    except BadInput:
        raise
    except ImportError as error:
        needed = [name for name in _PROCESSORS_NEED if name in str(error).lower()]
        raise BadInput(
            f"its image processor needs {needed[0] if needed else 'a package'} to be installed",
            where=path,
            fix=f"pip install {needed[0]}" if needed else " ".join(str(error).split()),
        ) from error
    except Exception as error:  # see _load_model
        raise _cannot_load("the image processor", path, error) from error


def _cannot_load(what: str, path: str, error: Exception) -> BadInput:
    reason = " ".join(str(error).split()).rstrip(".")
    if not isinstance(error, OSError | ValueError | RuntimeError | ImportError):
        reason = f"it is damaged ({type(error).__name__}: {reason})"
    fix = "check the folder" if Path(path).is_dir() else "check the name, or give a folder"
    if isinstance(error, torch.OutOfMemoryError):
        reason, fix = "it does not fit into this device's memory", "use a smaller dtype or cpu"
    elif "connect to" in reason or "ffline mode" in reason:
        return _unreachable(path)
    elif "not a valid model identifier" in reason or "epository Not Found" in reason:
        reason = "no such folder, and no such repository on the Hub"
    elif "ignore_mismatched_sizes" in reason:
        reason = "the weights have other shapes than config.json says"
        fix = "save the whole model again; its config.json may be another model's"
    elif isinstance(error, json.JSONDecodeError):
        reason = f"one of its files is broken JSON ({reason})"
    elif "nrecognized configuration class" in reason:
        reason = "its architecture is not a causal language model"
        fix = "name a decoder-only text model"
    if len(reason) > _REASON_CHARACTERS:
        reason = reason[:_REASON_CHARACTERS] + "..."
    return BadInput(f"cannot load {what}: {reason}", where=path, fix=fix)


def _check_vocabulary(path: str, model: Any, tokenizer: Any) -> None:
    vocabulary = tokenizer.get_vocab()
    if len(vocabulary) <= len(tokenizer.all_special_tokens):
        raise BadInput(
            "the tokenizer knows no words",
            where=path,
            fix="save it beside the weights: tokenizer.save_pretrained(folder)",
        )
    embeddings = model.get_input_embeddings()
    # Where a launcher spreads the weights over processes, none holds rows to be counted.
    rows = getattr(embeddings, "num_embeddings", 0) or embeddings.weight.shape[0]
    if max(vocabulary.values()) >= rows:
        raise BadInput(
            f"the tokenizer has ids up to {max(vocabulary.values())}, the model only {rows} rows",
            where=path,
            fix="save the tokenizer that the model was trained with",
        )


def _eos_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    # A scalar head generates nothing, but its replies end alike.
    saved = (getattr(model, "generation_config", None) or model.config).eos_token_id
    ids = [] if saved is None else [saved] if isinstance(saved, int) else list(saved)
    if tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    return tuple(dict.fromkeys(int(token_id) for token_id in ids))


def _max_positions(config: Any) -> int | None:
    bound = getattr(config.get_text_config(), "max_position_embeddings", None)
    return bound if isinstance(bound, int) and bound > 0 else None
