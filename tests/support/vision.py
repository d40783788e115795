"""Tiny vision-language checkpoints with random weights, saved with their processors.

    save_vision(folder, "qwen2_5_vl")
    LocalModel(str(folder), name="hf:tiny").generate([look("what is it?", picture(folder, 1))], ...)

As in `checkpoints`, weights are spread wide, so that replies vary and hang on what is seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from planish.records import Chat, Message
from support.checkpoints import BOS, END, PAD, make_tokenizer

KINDS = ("qwen2_5_vl", "gemma3", "llava", "idefics3")
"""Those that chat. There is "paligemma", too, which has no template."""

# The image tokens of each architecture, as its tokenizer names them.
TOKENS: dict[str, dict[str, str]] = {
    "qwen2_5_vl": {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_start_token": "<|vision_start|>",
        "vision_end_token": "<|vision_end|>",
    },
    "gemma3": {
        "image_token": "<image_soft_token>",
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
    },
    "llava": {"image_token": "<image>"},
    "paligemma": {"image_token": "<image>"},
    "idefics3": {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    },
}

# What a template writes where an image stands.
PLACES = {
    "qwen2_5_vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "gemma3": "<start_of_image>",
    "llava": "<image>",
    "paligemma": "<image>",
    "idefics3": "<image>",
}

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|turn|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}IMAGE{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)

VOCABULARY = 320
_TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "pad_token_id": PAD,
    "eos_token_id": END,
    "bos_token_id": BOS,
    "initializer_range": 0.3,
}
_TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}


def look(text: str, *images: str | Path) -> Chat:
    """One user turn that shows images."""
    return (Message(role="user", content=text, images=tuple(map(str, images))),)


def picture(folder: Path, seed: int, size: tuple[int, int] = (48, 40)) -> Path:
    """A PNG of coarse coloured noise, `size` is (width, height)."""
    file = folder / f"{seed}-{size[0]}x{size[1]}.png"
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(noise).resize(size, Image.Resampling.NEAREST).save(file)
    return file


def vision_tokenizer(kind: str, template: str | None = TEMPLATE) -> Any:
    """The tokenizer of one architecture."""
    tokenizer = make_tokenizer(template and template.replace("IMAGE", PLACES[kind]), **TOKENS[kind])
    if kind == "idefics3":
        rows = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
        tokenizer.add_tokens(rows, special_tokens=True)
    return tokenizer


def save_processor(folder: Path, kind: str, tokenizer: Any) -> None:
    """The image processor and the tokenizer, in the layout that the architecture's makers use."""
    import transformers
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
    from transformers.models.idefics3.image_processing_pil_idefics3 import (
        Idefics3ImageProcessorPil,
    )
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    square = {"height": 32, "width": 32}
    if kind == "qwen2_5_vl":
        # Its processor class needs torchvision to be made, its parts do not.
        Qwen2VLImageProcessorPil(
            patch_size=4, merge_size=2, min_pixels=16 * 16, max_pixels=40 * 40
        ).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return
    if kind == "gemma3":
        images: Any = Gemma3ImageProcessorPil(size=square)
        processor: Any = transformers.Gemma3Processor(images, tokenizer, image_seq_length=4)
    elif kind == "llava":
        images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=square)
        processor = transformers.LlavaProcessor(
            images,
            tokenizer,
            patch_size=8,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        )
    elif kind == "paligemma":
        images = SiglipImageProcessorPil(size=square)
        images.image_seq_length = 16
        processor = transformers.PaliGemmaProcessor(images, tokenizer)
    else:
        images = Idefics3ImageProcessorPil(
            size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
        )
        processor = transformers.Idefics3Processor(images, tokenizer, image_seq_len=4)
    processor.chat_template = tokenizer.chat_template
    processor.save_pretrained(folder)


def make_vision(kind: str, tokenizer: Any, seed: int = 0) -> Any:
    """A vision-language model of about 100,000 weights."""
    import torch
    import transformers

    torch.manual_seed(seed)
    image_id = tokenizer.convert_tokens_to_ids(TOKENS[kind]["image_token"])
    model: Any
    if kind == "qwen2_5_vl":
        text = _TEXT | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
        tower = {
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4,
            "out_hidden_size": 32, "patch_size": 4, "spatial_merge_size": 2,
            "temporal_patch_size": 2, "window_size": 16, "fullatt_block_indexes": [1],
            "initializer_range": 0.3,
        }  # fmt: skip
        ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in TOKENS[kind].items()}
        config: Any = transformers.Qwen2_5_VLConfig(
            text_config=text,
            vision_config=tower,
            **{f"{name}_id": value for name, value in ids.items()},
            tie_word_embeddings=False,
        )
        model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    elif kind == "gemma3":
        text = _TEXT | {
            "initializer_range": 0.1,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention"],
            "query_pre_attn_scalar": 8,
        }
        config = transformers.Gemma3Config(
            text_config=text,
            vision_config=_TOWER | {"vision_use_head": False},
            mm_tokens_per_image=4,
            image_token_index=image_id,
            boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
            eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
            initializer_range=0.3,
            tie_word_embeddings=False,
        )
        model = transformers.Gemma3ForConditionalGeneration(config)
        # New ones are zero, and then every image is the same.
        torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)
    elif kind == "llava":
        config = transformers.LlavaConfig(
            text_config=_TEXT | {"model_type": "llama"},
            vision_config=_TOWER | {"model_type": "clip_vision_model", "projection_dim": 32},
            image_token_index=image_id,
            tie_word_embeddings=False,
        )
        model = transformers.LlavaForConditionalGeneration(config)
    elif kind == "paligemma":
        config = transformers.PaliGemmaConfig(
            # Its processor adds 1,152 tokens for places in an image.
            text_config=_TEXT | {"model_type": "gemma", "vocab_size": 1500},
            vision_config=_TOWER | {"model_type": "siglip_vision_model", "projection_dim": 32},
            image_token_index=image_id,
            projection_dim=32,
        )
        model = transformers.PaliGemmaForConditionalGeneration(config)
    else:
        config = transformers.Idefics3Config(
            text_config=_TEXT | {"model_type": "llama"},
            vision_config=_TOWER,
            image_token_id=image_id,
            scale_factor=2,
            pad_token_id=PAD,
            tie_word_embeddings=False,
        )
        model = transformers.Idefics3ForConditionalGeneration(config)
    return model


def save_vision(
    folder: Path, kind: str, *, template: str | None = TEMPLATE, tokenizer: Any = None
) -> Path:
    """Saves a model of `kind`, its image processor and its tokenizer."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = tokenizer or vision_tokenizer(kind, template)
        make_vision(kind, tokenizer).save_pretrained(folder)
        save_processor(folder, kind, tokenizer)
    finally:
        if was_on:
            logging.enable_progress_bar()
    return folder
