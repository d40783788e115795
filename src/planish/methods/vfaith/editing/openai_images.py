"""Edits by an endpoint that speaks OpenAI's `POST /images/edits`, through the `openai` client.

    editor = load_editor("openai:gpt-image-2-2026-04-21")           key from OPENAI_API_KEY
    editor = load_editor("openai:m@http://localhost:8000/v1?quality=low&timeout=60")

The model is always named: the library has a default of its own, which changes with its version.
Such an endpoint works in few sizes. The picture is scaled and padded to the nearest of them, with
the padding protected, and what comes back is cropped again; `native_size` tells. It promises
nothing about what lies outside the mask, and takes no seed.

Facts about sizes, limits and options: the openai library's own description of `images.edit`.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue

from planish.methods.vfaith.editing.contract import (
    EditFailed,
    EditRefused,
    EditRequest,
    EditResult,
    Options,
    checked,
    editable_of,
    request_key,
)
from planish.methods.vfaith.editing.fitting import Fitted, fit
from planish.methods.vfaith.images import decode, encode
from planish.models.address import OPENAI_URL
from planish.records import BadInput

if TYPE_CHECKING:
    import openai

__all__ = ["ImagesOptions", "OpenAIImages", "nearest_size"]

_FIXED = ((1024, 1024), (1536, 1024), (1024, 1536))
# From gpt-image-2 on: any multiple of 16, no side three times the other.
_FREE = re.compile(r"gpt-image-(?!1(?:\b|[.-]))\d")
_STEP, _MOST_ASPECT, _AREA = 16, 3.0, 1024 * 1024
_MOST_WORDS = 32_000
_MOST_IMAGE, _MOST_MASK = 50_000_000, 4_000_000  # bytes
_MODERATION = ("moderation_blocked", "content_policy_violation")
_SAME_ASPECT = 0.01
_CONNECT_SECONDS = 10.0
_SHOWN = 300


class _Params(Options):
    """What decides the picture; in the editor's name or in a request's `params`.

    Args:
        quality: "auto" would let the server choose, and the price with it.
        input_fidelity: how closely the rest is kept; "high" on gpt-image-1.5 alone, not on -mini,
            and gpt-image-2 takes none.
        size: WIDTHxHEIGHT to work in; by default the nearest that the model can do.
    """

    quality: Literal["low", "medium", "high", "xhigh", "max", "auto"] = "high"
    input_fidelity: Literal["low", "high"] | None = None
    size: str | None = Field(None, pattern=r"^[1-9]\d{1,4}x[1-9]\d{1,4}$")


class ImagesOptions(_Params):
    """Options of `openai:` editors.

    Args:
        timeout: seconds for one attempt. A server may charge for a picture that came too late.
        retries: attempts after the first, on 408, 409, 429, 5xx and lost connections.
    """

    timeout: float = Field(300.0, gt=0, le=3600)
    retries: int = Field(4, ge=0, le=20)


class OpenAIImages:
    """See `Editor`; the key is read from OPENAI_API_KEY and kept in no file.

    Args:
        model: pinned; a name that says "latest" is refused.
        url: up to and including `/v1`; by default OPENAI_BASE_URL or OpenAI's own.

    Raises:
        BadInput: the model is not pinned, the address is none, or OpenAI's API has no key.
    """

    name = "openai"

    def __init__(
        self, model: str, url: str | None = None, options: ImagesOptions | None = None
    ) -> None:
        self.model, self.options = model, options or ImagesOptions()
        self.url = (url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")
        self.where = f"openai:{model}@{self.url}"
        if not model.strip() or model.endswith("latest"):
            raise BadInput(
                f"the model {model!r} is not pinned: what stands behind it changes",
                where=self.where,
                fix="name a model with its version, such as openai:gpt-image-2-2026-04-21",
            )
        self._check_fidelity(self.options)
        try:
            host = urlsplit(self.url).hostname
        except ValueError:
            host = None
        if not host or not self.url.startswith(("http://", "https://")):
            raise BadInput(
                f"{self.url!r} is not the address of a server",
                where=self.where,
                fix="write it as http://host:port/v1",
            )
        if host == "api.openai.com" and not _key():
            raise BadInput(
                "no key for the OpenAI API",
                where=self.where,
                fix="set OPENAI_API_KEY, or name your own server: openai:MODEL@http://HOST:PORT/v1",
            )

    @property
    def version(self) -> str:
        """Model, address, and the options that decide the picture."""
        chosen = self.options.model_dump(exclude={"timeout", "retries"}, exclude_none=True)
        query = "&".join(f"{name}={value}" for name, value in chosen.items())
        return f"{self.model}@{self.url}?{query}"

    def edit(self, request: EditRequest) -> EditResult:
        """See `Editor.edit`."""
        params = self._params(request.params)
        fitted, image, mask = self._prepared(request, params)
        begin = time.perf_counter()
        reply = self._ask(request.instruction, image, mask, fitted.native_size, params)
        seconds = time.perf_counter() - begin
        data, usage = _picture(reply, self.where)
        came, stretched = _came(data, fitted.native_size)
        return EditResult(
            image=data,
            backend=self.name,
            version=self.version,
            request=request_key(self, request),
            usage={**usage, "seconds": round(seconds, 3)},
            deterministic=False,
            exact_mask=False,
            native_size=came,
            # In a picture of another shape nothing is where it was: the gates say so.
            window=None if stretched else fitted.window,
        )

    def _params(self, given: Mapping[str, JsonValue]) -> _Params:
        mine = self.options.model_dump(exclude={"timeout", "retries"})
        params = checked(_Params, {**mine, **given}, self.where)
        self._check_fidelity(params)
        return params

    def _check_fidelity(self, params: _Params) -> None:
        if params.input_fidelity == "high" and "-mini" in self.model:
            raise BadInput(
                "input_fidelity=high is not for -mini models", where=self.where, fix="leave it out"
            )
        if params.input_fidelity and _FREE.match(self.model):
            raise BadInput(
                "this model takes no input_fidelity", where=self.where, fix="leave it out"
            )

    def _prepared(
        self, request: EditRequest, params: _Params
    ) -> tuple[Fitted, bytes, bytes | None]:
        """Picture and mask as the endpoint wants them, in one size."""
        if len(request.instruction) > _MOST_WORDS:
            raise BadInput(
                f"the instruction has {len(request.instruction):,} characters",
                where=self.where,
                fix=f"at most {_MOST_WORDS:,}",
            )
        raw = decode(request.image, "picture to edit")
        if params.size:
            width, _, height = params.size.partition("x")
            native = int(width), int(height)
        else:
            native = nearest_size(raw.size, self.model)
        fitted = fit(raw.pixels, editable_of(request, raw.size), native)
        image, mask = encode(fitted.pixels), None
        if request.mask is not None:
            # Alpha 0 is what this endpoint may repaint.
            clear = np.where(fitted.editable, 0, 255).astype(np.uint8)
            mask = _rgba(clear)
        for data, limit, what in ((image, _MOST_IMAGE, "picture"), (mask, _MOST_MASK, "mask")):
            if data is not None and len(data) >= limit:
                raise BadInput(
                    f"the {what} has {len(data):,} bytes as PNG, the endpoint takes {limit:,}",
                    where=self.where,
                    fix="name a smaller size, such as ?size=1024x1024",
                )
        return fitted, image, mask

    def _client(self) -> openai.OpenAI:
        import openai

        timeout = self.options.timeout
        return openai.OpenAI(
            api_key=_key() or "none",
            base_url=self.url,
            max_retries=self.options.retries,  # with growing waits, or as Retry-After says
            timeout=openai.Timeout(timeout, connect=min(_CONNECT_SECONDS, timeout)),
        )

    def _ask(
        self,
        words: str,
        image: bytes,
        mask: bytes | None,
        size: tuple[int, int],
        params: _Params,
    ) -> bytes:
        """The body of the reply, untouched: it is read where nothing can be lost by it."""
        import openai

        given: dict[str, Any] = {"quality": params.quality, "size": f"{size[0]}x{size[1]}"}
        if mask is not None:
            given["mask"] = ("mask.png", mask, "image/png")
        if params.input_fidelity:
            given["input_fidelity"] = params.input_fidelity
        try:
            with self._client() as client:
                reply = client.images.with_raw_response.edit(
                    model=self.model,
                    image=("image.png", image, "image/png"),
                    prompt=words,
                    n=1,
                    **given,
                )
                return bytes(reply.content)
        except openai.APIStatusError as error:
            raise self._status(error) from None
        except openai.APITimeoutError:
            raise EditFailed(
                f"{self.where}: no picture within {self.options.timeout:g} s, "
                f"{self.options.retries + 1} times; give it longer with ?timeout="
            ) from None
        except openai.APIConnectionError as error:
            raise EditFailed(
                f"{self.where}: no connection ({error.__cause__ or error}); is the server there?"
            ) from None

    def _status(self, error: openai.APIStatusError) -> BadInput | EditFailed:
        said = " ".join(str(error.message).split())[:_SHOWN]
        status = error.status_code
        if error.code in _MODERATION:
            return EditRefused(
                f"the endpoint's moderation refuses this edit ({said})",
                where=self.where,
                fix="reword the instruction or leave the picture out",
            )
        if error.code == "insufficient_quota" or status == 402:
            fix = "the account has no credit left: top it up or use another key"
        elif status == 401:
            fix = "check the key in OPENAI_API_KEY"
        elif status in (403, 404):
            fix = f"check the model {self.model!r}, the address (often /v1) and the key's rights"
        elif status in (408, 409, 429) or status >= 500:
            times = self.options.retries + 1
            return EditFailed(f"{self.where}: http {status} {times} times ({said}); try it later")
        else:
            fix = "change the options or the picture as it says"
        return BadInput(f"the endpoint refuses (http {status}: {said})", where=self.where, fix=fix)


def nearest_size(size: tuple[int, int], model: str) -> tuple[int, int]:
    """Width and height, of those that the model can do, that need the least padding.

    About a megapixel: from gpt-image-2 on any multiple of 16 up to 1:3, before that one of three.
    """
    aspect = size[0] / size[1]

    def padding(candidate: tuple[int, int]) -> float:
        return round(abs(float(np.log(candidate[0] / candidate[1] / aspect))), 6)

    if not _FREE.match(model):
        return min(_FIXED, key=padding)
    bounded = min(max(aspect, 1 / _MOST_ASPECT), _MOST_ASPECT)
    found = []
    for width in range(_STEP * 36, _STEP * 112, _STEP):
        for height in {int(width / bounded / _STEP + more) * _STEP for more in (0, 1)}:
            fits = 1 / _MOST_ASPECT <= width / height <= _MOST_ASPECT
            if fits and 0.8 * _AREA <= width * height <= 1.3 * _AREA:
                found.append((width, height))
    return min(found, key=lambda it: (padding(it), abs(it[0] * it[1] - _AREA), it))


def _key() -> str:
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key.isascii() or not key.isprintable():
        raise BadInput("the key holds characters that no key has", where="OPENAI_API_KEY")
    return key


def _came(data: bytes, asked: tuple[int, int]) -> tuple[tuple[int, int], bool]:
    """Width and height of what came, and whether its shape is not the one asked for."""
    try:
        width, height = decode(data, "edit").size
    except BadInput:
        return asked, False
    return (width, height), abs(width * asked[1] / (height * asked[0]) - 1) > _SAME_ASPECT


def _rgba(alpha: npt.NDArray[np.uint8]) -> bytes:
    return encode(np.stack([np.zeros_like(alpha)] * 3 + [alpha], axis=-1))


def _picture(reply: bytes, where: str) -> tuple[bytes, dict[str, JsonValue]]:
    """Bytes of the picture, and what it cost.

    Base64 that ends too soon is kept as far as it goes: it was paid for, and a gate tells that it
    is no picture.

    Raises:
        EditFailed: there is no picture in it.
        BadInput: only the address of one.
    """
    try:
        value = json.loads(reply)
        first, usage = value["data"][0], value.get("usage") or {}
        text, address = first.get("b64_json"), first.get("url")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        text = address = None
        usage = {}
    if not text and address:
        raise BadInput(
            "the server answers with an address in place of the picture",
            where=where,
            fix="set it up to answer with b64_json",
        )
    if not isinstance(text, str) or not text:
        start = reply[:80].decode("utf-8", "replace")
        raise EditFailed(f"{where}: the reply holds no picture in base64 ({start!r})")
    plain = "".join(text.rpartition("base64,")[2].split())
    try:
        data = base64.b64decode(plain[: len(plain) // 4 * 4], validate=True)
    except (binascii.Error, ValueError):
        data = text.encode()
    return data, usage if isinstance(usage, dict) else {"usage": usage}
