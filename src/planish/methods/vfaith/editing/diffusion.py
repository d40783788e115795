"""Edits by a saved diffusion pipeline: `pip install 'planish[diffusers]'`.

    editor = load_editor("diffusers:./stable-diffusion-2-inpainting")
    editor = load_editor("diffusers:./Qwen-Image-Edit?num_inference_steps=30&true_cfg_scale=4")

A folder whose pipeline has an inpainting form is opened in it, and white is repainted (Stable
Diffusion, Qwen-Image-Edit, Flux Kontext); any other as the class that its `model_index.json` names.
InstructPix2Pix takes no mask and may change whatever it likes. Nothing is fetched, and weights that
would have to be unpickled are not read.

Every pixel goes through an autoencoder, those outside the mask too: the gates measure what that
did. The picture is padded to a size that the pipeline can do and comes back cropped.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import logging
import time
import warnings
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from planish.methods.vfaith.editing.contract import (
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
from planish.records import BadInput

__all__ = ["Diffusion", "DiffusionOptions"]

_INDEX = "model_index.json"
_FINGERPRINTED = {".json", ".safetensors", ".txt", ".model"}
_LATENT_PATCH = 2  # transformers over latents join 2 x 2 of them
_SETUP = frozenset({"device", "dtype", "longest"})
_REASON = 240


class _Params(Options):
    """What a pipeline is called with; in the editor's name or in a request's `params`.

    What is not given is left to the pipeline; what it does not take is refused.
    """

    num_inference_steps: int | None = Field(None, ge=1, le=1000)
    strength: float | None = Field(None, gt=0, le=1)
    guidance_scale: float | None = Field(None, ge=0, le=100)
    true_cfg_scale: float | None = Field(None, ge=0, le=100)
    image_guidance_scale: float | None = Field(None, ge=0, le=100)
    negative_prompt: str | None = None
    padding_mask_crop: int | None = Field(None, ge=0)


class DiffusionOptions(_Params):
    """Options of `diffusers:` editors.

    Args:
        device: by default "cuda" where there is one, else "cpu".
        dtype: of the weights; by default bfloat16 on a GPU, else float32.
        longest: pixels a side beyond which a picture is scaled down before it is edited.
    """

    device: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    longest: int = Field(1024, ge=64, le=4096)


class Diffusion:
    """See `Editor`. The pipeline is opened at the first edit and stays open in this process.

    Args:
        folder: as `save_pretrained` of a pipeline wrote it.

    Raises:
        BadInput: diffusers is not installed, or the folder holds no pipeline.
    """

    name = "diffusers"

    def __init__(self, folder: str, options: DiffusionOptions | None = None) -> None:
        self.folder, self.options = Path(folder).expanduser(), options or DiffusionOptions()
        self.where = f"diffusers:{folder}"
        if importlib.util.find_spec("diffusers") is None:
            raise BadInput(
                "diffusers is not installed",
                where=self.where,
                fix="run: pip install 'planish[diffusers]'",
            )
        try:
            index = json.loads((self.folder / _INDEX).read_text(encoding="utf-8"))
            self._class = str(index["_class_name"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            raise BadInput(
                f"no pipeline is saved there ({why})",
                where=str(self.folder / _INDEX),
                fix="name a folder that a pipeline's save_pretrained wrote",
            ) from None

    @cached_property
    def version(self) -> str:
        """Class, hash of the folder's files, version of diffusers, and options."""
        whole = hashlib.sha256()
        for file in sorted(self.folder.rglob("*")):
            if file.suffix in _FINGERPRINTED and file.is_file():
                with file.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                whole.update(f"{file.relative_to(self.folder)}\0{digest}\n".encode())
        chosen = self.options.model_dump(exclude={"device"}, exclude_none=True)
        query = "&".join(f"{name}={value}" for name, value in chosen.items())
        library = importlib.metadata.version("diffusers")
        return f"{self._class}-{whole.hexdigest()[:16]}+diffusers-{library}?{query}"

    def edit(self, request: EditRequest) -> EditResult:
        """See `Editor.edit`."""
        from PIL import Image

        device, pipeline = _opened(
            str(self.folder), self._class, self.where, self.options.device, self.options.dtype
        )
        raw = decode(request.image, "picture to edit")
        longest = min(1.0, self.options.longest / max(raw.size))
        step = _step(pipeline)
        width, height = (max(step, -int(-side * longest // step) * step) for side in raw.size)
        fitted = fit(raw.pixels, editable_of(request, raw.size), (width, height), enlarge=False)
        begin = time.perf_counter()
        image = self._called(pipeline, request, fitted)
        seconds = time.perf_counter() - begin
        # Some pipelines stretch a picture to a size of their own: it is undone before the cropping.
        back = image.resize(fitted.native_size, Image.Resampling.LANCZOS)
        return EditResult(
            image=encode(back),
            backend=self.name,
            version=self.version,
            request=request_key(self, request),
            usage={"seconds": round(seconds, 3)},
            deterministic=device == "cpu",
            exact_mask=False,
            native_size=image.size,
            window=fitted.window,
        )

    def _called(self, pipeline: Any, request: EditRequest, fitted: Fitted) -> Any:
        import torch
        from PIL import Image

        takes = inspect.signature(pipeline.__call__).parameters
        kind = type(pipeline).__name__
        if "image" not in takes:
            raise BadInput(
                f"{kind} takes no picture, so it cannot edit one",
                where=self.where,
                fix="name an inpainting or an editing pipeline",
            )
        params = self._params(request, kind, set(takes))
        native: dict[str, Any] = dict(zip(("width", "height"), fitted.native_size, strict=True))
        call = {
            "prompt": request.instruction,
            "image": Image.fromarray(fitted.pixels.copy()),
            # On the CPU, so that the noise is the same on every device.
            "generator": torch.Generator("cpu").manual_seed(request.seed),
            **{name: value for name, value in native.items() if name in takes},
            **params,
        }
        if "mask_image" in takes:  # white is repainted
            call["mask_image"] = Image.fromarray(fitted.editable.astype("uint8") * 255)
        with _quiet(), torch.inference_mode():
            made = pipeline(**call)
        if any(getattr(made, "nsfw_content_detected", None) or ()):
            raise EditRefused(
                "the pipeline's safety checker refuses this edit",
                where=self.where,
                fix="reword the instruction or leave the picture out",
            )
        return made.images[0].convert("RGB")

    def _params(self, request: EditRequest, kind: str, takes: set[str]) -> dict[str, Any]:
        mine = self.options.model_dump(exclude=set(_SETUP))
        params = checked(_Params, {**mine, **request.params}, self.where)
        given = params.model_dump(exclude_none=True)
        if unknown := sorted(given.keys() - takes):
            known = ", ".join(name for name in _Params.model_fields if name in takes)
            raise BadInput(
                f"{kind} takes no {unknown[0]}", where=self.where, fix=f"it takes: {known}"
            )
        return given


def _step(pipeline: Any) -> int:
    """What width and height must be multiples of."""
    return int(getattr(pipeline, "vae_scale_factor", 8)) * _LATENT_PATCH


@lru_cache(maxsize=1)
def _opened(
    folder: str, kind_saved: str, where: str, device: str | None, dtype: str | None
) -> tuple[str, Any]:
    """The type of the device, and the pipeline on it."""
    import torch

    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    kind = getattr(torch, dtype or ("float32" if chosen == "cpu" else "bfloat16"))
    given: dict[str, Any] = {
        "torch_dtype": kind, "local_files_only": True, "use_safetensors": True,
    }  # fmt: skip
    try:
        with _quiet():
            diffusers: Any = importlib.import_module("diffusers")
            try:
                pipeline = diffusers.AutoPipelineForInpainting.from_pretrained(folder, **given)
            except ValueError:  # it has no inpainting form that this class knows of
                masked = kind_saved.removesuffix("Pipeline") + "InpaintPipeline"
                opener = getattr(diffusers, masked, diffusers.DiffusionPipeline)
                pipeline = opener.from_pretrained(folder, **given)
            pipeline.set_progress_bar_config(disable=True)
            pipeline.to(chosen)
    except Exception as error:  # whatever a broken folder sets off in a dozen classes
        why = " ".join(f"{type(error).__name__}: {error}".split())[:_REASON]
        raise BadInput(
            f"the pipeline cannot be opened ({why})",
            where=where,
            fix="check the folder, ?device= and ?dtype=; weights must be safetensors",
        ) from None
    return torch.device(chosen).type, pipeline


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No advice and no bars on the terminal; errors still come through."""
    theirs: list[Any] = [
        importlib.import_module(f"{name}.utils.logging") for name in ("transformers", "diffusers")
    ]
    before = [(it.get_verbosity(), it.is_progress_bar_enabled()) for it in theirs]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for library in theirs:
                library.set_verbosity(logging.CRITICAL)
                library.disable_progress_bar()
            yield
    finally:
        for library, (verbosity, bars) in zip(theirs, before, strict=True):
            library.set_verbosity(verbosity)
            if bars:
                library.enable_progress_bar()
