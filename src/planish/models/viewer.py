"""A tiny network that looks at a picture and picks one of the lettered options it is asked about.

    model = ViewerModel(folder, name="embedded:viewer-seeing")
    model.generate([(Message(role="user", content="...", images=("a.png",)),)], Sampling())

The question is what stands before the options; an option is a line such as `B. yellow`. The reply
is `\\boxed{B}`. Without a picture it looks at a grey one; without options it says that it cannot.
Words are known by their hash, so no vocabulary has to travel with the weights.

It is small enough to be trained in minutes on one core, and shows a mechanism: what a network does
that was taught to look, to remember, or that has no eyes. Its numbers say nothing of a real model.

Shape suffixes: B rows, K options, W words, D width, C channels, H and X height and width, P places.
"""

from __future__ import annotations

import itertools
import re
import time
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from planish.models.base import Watcher
from planish.models.keys import chat_key, draw_of
from planish.models.pictures import open_picture
from planish.records import BadInput, Chat, Completion, Record, Sampling, Usage

__all__ = [
    "GREY",
    "MODEL_TYPE",
    "Asked",
    "Viewer",
    "ViewerConfig",
    "ViewerModel",
    "padded",
    "read_question",
    "shrunk",
    "word_ids",
]

MODEL_TYPE = "planish-viewer"
GREY = 127
_OPTION = re.compile(r"^([A-H])\. (.+)$", re.MULTILINE)
_WORD = re.compile(r"[a-z]+|\d+|[^\sa-z\d]")
_BATCH = 256


class ViewerConfig(Record):
    """Its architecture.

    Args:
        side: pixels a side that the network sees; any picture is scaled to that.
        words: rows of the table of words; a word's row is a hash of it.
        width: of everything that is neither a pixel nor a word.
        channels: of the convolutions, each of which halves the side.
        glimpses: places that are attended to at once.
        sees: False: every picture is grey to it.
    """

    model_type: str = MODEL_TYPE
    side: int = Field(64, ge=32)
    words: int = Field(1024, ge=64)
    width: int = Field(64, ge=8)
    channels: tuple[int, ...] = (16, 32, 64)
    glimpses: int = Field(4, ge=1)
    sees: bool = True


class Asked(Record):
    """A prompt as the network reads it."""

    question: str
    letters: tuple[str, ...]
    options: tuple[str, ...]


def read_question(prompt: str) -> Asked | None:
    """The question and its lettered options; None where there are no options."""
    found = list(_OPTION.finditer(prompt))
    if len(found) < 2:
        return None
    return Asked(
        question=prompt[: found[0].start()].strip(),
        letters=tuple(match[1] for match in found),
        options=tuple(match[2].strip() for match in found),
    )


def word_ids(text: str, words: int) -> list[int]:
    """Rows of the table of words; 0 is kept for nothing."""
    return [1 + zlib.crc32(word.encode()) % (words - 1) for word in _WORD.findall(text.lower())]


class Viewer(nn.Module):
    """Convolutions, then two looks at their map that the question steers, then the options.

    The map does not depend on the question: several questions about one picture share it.
    """

    def __init__(self, config: ViewerConfig) -> None:
        super().__init__()
        self.config = config
        width, last = config.width, config.channels[-1]
        self.embed = nn.EmbeddingBag(config.words, width, mode="sum", padding_idx=0)
        self.ask, self.name = _thinking(width, width), _thinking(width, width)
        self.halving = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1)
            for before, after in itertools.pairwise([3, *config.channels])
        )
        self.norms = nn.ModuleList(nn.GroupNorm(4, after) for after in config.channels)
        self.spread = nn.Conv2d(last, last, 3, padding=1)
        self.spread_again = nn.Conv2d(last, last, 3, padding=1)
        self.key, self.value = nn.Linear(last + 2, width), nn.Linear(last + 2, width)
        self.queries = nn.ModuleList(
            nn.Linear((1 + hop * config.glimpses) * width, config.glimpses * width)
            for hop in range(2)
        )
        self.think = _thinking((1 + 2 * config.glimpses) * width, width)
        self.claim = nn.Linear(width, width)
        self.match = nn.Sequential(nn.Linear(4 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, pixels_BHXC: Tensor, question_BW: Tensor, options_BKW: Tensor) -> Tensor:
        """Scores (B, K) of the options; -inf where there is none.

        Args:
            pixels_BHXC: uint8, `side` x `side`, RGB.
            question_BW, options_BKW: word ids, 0 where there is no word.
        """
        return self.answer(self.look(pixels_BHXC), question_BW, options_BKW)[0]

    def look(self, pixels_BHXC: Tensor) -> Tensor:
        """What is where: (B, P, C + 2), the last two telling the place itself."""
        if not self.config.sees:
            pixels_BHXC = torch.full_like(pixels_BHXC, GREY)
        seen = pixels_BHXC.permute(0, 3, 1, 2).float().div(127.5).sub(1)
        for conv, norm in zip(self.halving, self.norms, strict=True):
            seen = functional.relu(norm(conv(seen)))
        seen = seen + self.spread_again(functional.relu(self.spread(seen)))
        rows, _, high, wide = seen.shape
        down = torch.linspace(-1, 1, high, device=seen.device)[:, None].expand(high, wide)
        right = torch.linspace(-1, 1, wide, device=seen.device).expand(high, wide)
        where = torch.stack([down, right]).expand(rows, 2, high, wide)
        return torch.cat([seen, where], 1).flatten(2).transpose(1, 2)

    def answer(
        self, map_BPC: Tensor, question_BW: Tensor, options_BKW: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scores as of `forward`, from what `look` saw, and where it looked first: (B, G, P)."""
        rows, most, _ = options_BKW.shape
        words_BD = self.embed(question_BW)
        ask_BD = self.ask(words_BD)
        name_BKD = self.name(self.embed(options_BKW.flatten(0, 1))).view(rows, most, -1)
        key_BPD, value_BPD = self.key(map_BPC), self.value(map_BPC)
        known_BD = ask_BD
        looks = []
        for to_query in self.queries:
            query_BGD = to_query(known_BD).view(rows, self.config.glimpses, -1)
            weights_BGP = (query_BGD @ key_BPD.transpose(1, 2) / key_BPD.shape[-1] ** 0.5).softmax(
                -1
            )
            looks.append(weights_BGP)
            known_BD = torch.cat([known_BD, (weights_BGP @ value_BPD).flatten(1)], -1)
        thought_BD = self.think(known_BD)
        # Does what is seen fit what the question says? One number; yes and no hang on it.
        fits_B = (thought_BD * self.claim(words_BD)).sum(-1) / thought_BD.shape[-1] ** 0.5
        thought_BKD = thought_BD[:, None].expand_as(name_BKD)
        pairs = torch.cat(
            [thought_BKD, name_BKD, thought_BKD * name_BKD, fits_B[:, None, None] * name_BKD], -1
        )
        scores_BK: Tensor = self.match(pairs)[..., 0]
        return scores_BK.masked_fill((options_BKW == 0).all(-1), -torch.inf), looks[0]


def _thinking(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(before), nn.Linear(before, 2 * after), nn.ReLU(), nn.Linear(2 * after, after)
    )


class ViewerModel:
    """A `Viewer` from a folder, as a language model that answers with a letter.

    Args:
        path: a folder with `config.json` and `model.safetensors`.
        name: what the user typed.

    Raises:
        BadInput: no such folder, or not this kind of model.
    """

    def __init__(self, path: str | Path, *, name: str) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self.path, self.name = Path(path), name
        try:
            config = ViewerConfig.model_validate_json((self.path / "config.json").read_bytes())
            self.network = Viewer(config)
            self.network.load_state_dict(load_file(self.path / "model.safetensors"))
            # Half precision on disk, and nowhere else.
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise BadInput(
                f"not a viewer: {str(error).splitlines()[0]}", where=str(path),
                fix="python -m planish.methods.vfaith.viewers --out DIR",
            ) from None  # fmt: skip
        self.network.eval()

    @cached_property
    def revision(self) -> str:
        """Hash of the weights."""
        from planish.models.local_loading import fingerprint

        return fingerprint(str(self.path), self.network)

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, watcher: Watcher | None = None
    ) -> list[list[Completion]]:
        """See `LanguageModel.generate`. A sample depends on the prompt, the seed and its index.

        Raises:
            BadInput: a picture that cannot be read.
        """
        watcher = watcher or Watcher()
        results: list[list[Completion]] = []
        for first in range(0, len(chats), _BATCH):
            results += self._batch(chats[first : first + _BATCH], sampling, watcher, first)
        return results

    def _batch(
        self, chats: Sequence[Chat], sampling: Sampling, watcher: Watcher, first: int
    ) -> list[list[Completion]]:
        begin = time.perf_counter()
        asked = [read_question("\n".join(m.content for m in chat)) for chat in chats]
        readable = [place for place, each in enumerate(asked) if each is not None]
        scores: dict[int, list[float]] = {}
        if readable:
            scores_BK = self.scores(
                [self._pixels(chats[place]) for place in readable],
                [each for each in asked if each is not None],
            )
            scores = dict(zip(readable, scores_BK.tolist(), strict=True))
        share = (time.perf_counter() - begin) / len(chats)
        results = []
        for place, (chat, each) in enumerate(zip(chats, asked, strict=True)):
            drawn = []
            for sample in range(sampling.n):
                text = "I can only pick one of several lettered options."
                if each is not None:
                    text = (
                        f"\\boxed{{{each.letters[_pick(scores[place], chat, sampling, sample)]}}}"
                    )
                usage = Usage(
                    prompt_tokens=sum(len(m.content.split()) for m in chat),
                    completion_tokens=1,
                    seconds=share,
                )
                drawn.append(Completion(text=text, usage=usage))
                watcher.completed(first + place, sample, drawn[-1])
            results.append(drawn)
        return results

    def scores(self, pixels: Sequence[np.ndarray], asked: Sequence[Asked]) -> Tensor:
        """Scores (B, K) of the options of each question; -inf where a question has fewer."""
        words = self.network.config.words
        questions = padded([word_ids(each.question, words) for each in asked])
        most = max(len(each.options) for each in asked)
        flat = [
            word_ids(each.options[place], words) or [1] if place < len(each.options) else []
            for each in asked
            for place in range(most)
        ]
        options = padded(flat)
        with torch.inference_mode():
            result: Tensor = self.network(
                torch.from_numpy(np.stack(pixels)),
                questions,
                options.view(len(asked), most, options.shape[-1]),
            )
        return result

    def _pixels(self, chat: Chat) -> np.ndarray:
        side = self.network.config.side
        images = [image for message in chat for image in message.images]
        if not images:
            return np.full((side, side, 3), GREY, np.uint8)
        return shrunk(open_picture(images[-1]), side)


def shrunk(image: Any, side: int) -> np.ndarray:
    """A PIL image as the network sees it: uint8 (side, side, 3)."""
    from PIL import Image

    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Word ids (rows, most words), 0 where a row has no more."""
    width = max(1, max(map(len, rows)))
    return torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], dtype=torch.long)


def _pick(scores: Sequence[float], chat: Chat, sampling: Sampling, sample: int) -> int:
    values = np.array(scores)
    if sampling.temperature == 0:
        return int(values.argmax())
    seed = draw_of(sampling, sample)
    source = np.random.default_rng([int(chat_key(chat)[:8], 16), seed])
    values = np.exp((values - values.max()) / sampling.temperature)
    return int(source.choice(len(values), p=values / values.sum()))
