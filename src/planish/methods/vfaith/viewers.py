"""Trains the tiny viewers: networks that look, that remember, and one that has no eyes.

    python -m planish.methods.vfaith.viewers --out DIR --seed 0

All have one architecture and one budget of scenes and steps; only the world differs that they
learned in. In the seeing network's world a thing looks usual as often as chance has it. In the
world of the others it does in 60, 90 or 97 of 100 scenes, so that an answer from memory pays. Two
scenes in five are the same for all: there nothing is usual, and the question is whether a value is
there, so that all learn to see it. The blind one sees grey.

Nothing is chosen: each recipe is trained once with the seed, and what came out is written down,
measured on pairs that no training scene is drawn from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from planish.methods.vfaith.claims import VIEWED
from planish.methods.vfaith.method import OPTIONS, YES_NO, draw, is_typical
from planish.methods.vfaith.scenes import FAMILIES
from planish.models.viewer import (
    Asked,
    Viewer,
    ViewerConfig,
    padded,
    shrunk,
    word_ids,
)
from planish.parallel import fan_out
from planish.records import Record, write_text

__all__ = ["RECIPES", "Budget", "Exam", "Recipe", "build", "exam", "main", "measure", "train"]

Say = Callable[[str], object]

_Asked = tuple[Asked, int, tuple[float, float, float, float]]

_SIZE = 256  # of the scenes; a network sees fewer pixels than that
_POINTING = 0.5  # weight of looking at the thing that is asked about
_QUESTIONS = 5  # about each scene
_LOOKING = 2, 5  # so many scenes of so many ask whether a value is there


class Recipe(Record):
    """What one network learned in.

    Args:
        usual: share of scenes in which a thing looks as memory expects.
        sees: False: every picture is grey.
    """

    usual: float
    sees: bool = True


RECIPES: dict[str, Recipe] = {
    "viewer-seeing": Recipe(usual=1 / OPTIONS),
    "viewer-habit-60": Recipe(usual=0.60),
    "viewer-habit-90": Recipe(usual=0.90),
    "viewer-habit-97": Recipe(usual=0.97),
    "viewer-blind": Recipe(usual=0.90, sees=False),
}
"""Every viewer that ships, by its name."""


class Budget(Record):
    """What every network gets, the same for all."""

    scenes: int = 12_000
    passes: int = 10
    batch: int = 32
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class Exam:
    """Scenes and questions about them; `_QUESTIONS` in a row are about one scene.

    Args:
        pixels: uint8 (scenes, side, side, 3).
        questions: word ids (scenes * questions, words), 0 where there is no word.
        options: word ids (scenes * questions, options, words).
        golds: place of the right option.
        places: 1 where the network's map shows the thing that is asked about, else 0, (scenes *
            questions, places of the map).
    """

    pixels: Tensor
    questions: Tensor
    options: Tensor
    golds: Tensor
    places: Tensor


class Measured(Record):
    """A network on pairs that it was not trained on, by share; perception: on both pictures."""

    pairs: int
    raw: float
    edited: float
    placebo: float
    both: float
    perception: float


def exam(
    number: int,
    recipe: Recipe,
    config: ViewerConfig,
    *,
    seed: int,
    families: Sequence[str] = VIEWED,
    workers: int | None = None,
) -> Exam:
    """Draws scenes of a recipe's world and asks about them, all families in turn."""
    jobs = []
    for place in range(number):
        turn, family = divmod(place, len(families))
        is_looking = turn % _LOOKING[1] < _LOOKING[0]
        usual = 1 / OPTIONS if is_looking else recipe.usual
        text = f"viewers:{seed}:{place}"
        jobs.append((families[family], text, usual, is_looking, config.side))
    chunks = [jobs[first : first + 250] for first in range(0, number, 250)]
    scenes = [scene for chunk in fan_out(_examined, chunks, workers=workers) for scene in chunk]
    asked = [each for scene in scenes for each in scene[1]]
    questions, options = words_of([each for each, _, _ in asked], config.words)
    return Exam(
        pixels=torch.from_numpy(np.stack([scene[0] for scene in scenes])),
        questions=questions,
        options=options,
        golds=torch.tensor([gold for _, gold, _ in asked]),
        places=_shown(torch.tensor([box for _, _, box in asked]), config),
    )


def _shown(boxes: Tensor, config: ViewerConfig) -> Tensor:
    """Places of the map that a box in units covers, row by row."""
    cells = config.side // 2 ** len(config.channels)
    middles = (torch.arange(cells) + 0.5) / cells
    left, top, right, bottom = boxes.T[..., None]
    reach = 0.5 / cells  # a thing that is smaller than a cell is still somewhere
    wide = (middles > left - reach) & (middles < right + reach)
    high = (middles > top - reach) & (middles < bottom + reach)
    covered: Tensor = (high[:, :, None] & wide[:, None, :]).flatten(1).float()
    return covered


def words_of(asked: Sequence[Asked], words: int) -> tuple[Tensor, Tensor]:
    """Questions and options as word ids, filled up to the same number of options."""
    flat = [
        word_ids(each.options[place], words) if place < len(each.options) else []
        for each in asked
        for place in range(OPTIONS)
    ]
    questions = padded([word_ids(each.question, words) for each in asked])
    return questions, padded(flat).view(len(asked), OPTIONS, -1)


def _examined(
    jobs: Sequence[tuple[str, str, float, bool, int]],
) -> list[tuple[np.ndarray, list[_Asked]]]:
    return [_scene(*job) for job in jobs]


def _scene(
    family: str, seed: str, usual: float, is_looking: bool, side: int
) -> tuple[np.ndarray, list[_Asked]]:
    """One scene and what is asked about it."""
    rng = random.Random(seed)
    while True:
        scene, knobs = FAMILIES[family].sample(rng, _SIZE)
        values = {}
        try:
            for knob in knobs:
                odd = rng.sample(list(knob.values[1:]), OPTIONS - 1)
                value = knob.values[0] if rng.random() < usual else rng.choice(odd)
                scene = scene.changed(knob.path, value)
                values[knob.path] = [knob.values[0], *odd]
        except ValidationError:
            continue  # the family does not allow that value there
        break
    asked = []
    for _ in range(_QUESTIONS):
        knob = rng.choice(knobs)
        gold = scene.solve(knob.ask)
        options = [scene.changed(knob.path, value).solve(knob.ask) for value in values[knob.path]]
        question = scene.question(knob.ask)
        if is_looking:
            is_there = rng.random() < 0.5
            other = rng.choice([option for option in options if option != gold])
            question = scene.statement(knob.ask, gold if is_there else other)
            options, gold = list(YES_NO), "yes" if is_there else "no"
        rng.shuffle(options)
        letters = tuple("ABCD"[: len(options)])
        asked.append(
            (
                Asked(question=question, letters=letters, options=tuple(options)),
                options.index(gold),
                scene.region(knob.path),
            )
        )
    return shrunk(scene.draw(), side), asked


def train(
    config: ViewerConfig, given: Exam, budget: Budget, *, seed: int, say: Say = lambda line: None
) -> Viewer:
    """A network after its budget; torch's global generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Viewer(config)
        order = torch.Generator().manual_seed(seed)
        steps = budget.passes * (len(given.pixels) // budget.batch)
        optimizer = torch.optim.AdamW(network.parameters(), budget.learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, budget.learning_rate, total_steps=max(2, steps), pct_start=0.1
        )
        for number in range(budget.passes):
            losses = []
            places = torch.randperm(len(given.pixels), generator=order)
            for first in range(0, len(places) - budget.batch + 1, budget.batch):
                batch = places[first : first + budget.batch]
                losses.append(_step(network, given, batch, optimizer))
                schedule.step()
            say(f"pass {number + 1} of {budget.passes}: loss {np.mean(losses):.3f}")
    return network.eval()


def _step(network: Viewer, given: Exam, batch: Tensor, optimizer: torch.optim.Optimizer) -> float:
    rows = (batch[:, None] * _QUESTIONS + torch.arange(_QUESTIONS)).flatten()
    seen = network.look(given.pixels[batch]).repeat_interleave(_QUESTIONS, 0)
    scores, looks_BGP = network.answer(seen, given.questions[rows], given.options[rows])
    # All are shown where to look; what to answer from is theirs to find out.
    there = (looks_BGP.mean(1) * given.places[rows]).sum(-1)
    loss = nn.functional.cross_entropy(scores, given.golds[rows])
    loss = loss - _POINTING * torch.log(there + 1e-4).mean()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def measure(
    network: Viewer, number: int, *, seed: int, families: Sequence[str] = VIEWED
) -> Measured:
    """Asks about fresh pairs, all families in turn."""
    rights: dict[str, list[bool]] = {name: [] for name in ("raw", "edited", "placebo", "there")}
    for place in range(number):
        family = FAMILIES[families[place % len(families)]]
        turn = place // len(families)
        draft = draw(
            family, random.Random(f"measure:{seed}:{place}"), size=_SIZE,
            typical=is_typical(turn), place=turn // OPTIONS,
        )  # fmt: skip
        for name, gold, truth in (
            ("raw", draft.gold_raw, "no"),
            ("edited", draft.gold_edited, "yes"),
            ("placebo", draft.gold_raw, ""),
        ):
            picture = shrunk(getattr(draft, name).draw(), network.config.side)
            rights[name].append(_picks(network, picture, draft.question, draft.options) == gold)
            if truth:
                said = _picks(network, picture, draft.statement, YES_NO)
                rights["there"].append(said == truth)
    both = [raw and edited for raw, edited in zip(rights["raw"], rights["edited"], strict=True)]
    return Measured(
        pairs=number,
        raw=float(np.mean(rights["raw"])),
        edited=float(np.mean(rights["edited"])),
        placebo=float(np.mean(rights["placebo"])),
        both=float(np.mean(both)),
        perception=float(np.mean(rights["there"])),
    )


def _picks(network: Viewer, pixels: np.ndarray, question: str, options: Sequence[str]) -> str:
    asked = Asked(question=question, letters=tuple("ABCD"[: len(options)]), options=tuple(options))
    questions, choices = words_of([asked], network.config.words)
    with torch.inference_mode():
        scores = network(torch.from_numpy(pixels[None].copy()), questions, choices)
    return options[int(scores[0].argmax())]


def build(
    out: Path,
    *,
    seed: int = 0,
    recipes: dict[str, Recipe] | None = None,
    budget: Budget = Budget(),  # noqa: B008 - frozen
    config: ViewerConfig = ViewerConfig(),  # noqa: B008 - frozen
    pairs: int = 400,
    workers: int | None = None,
    say: Say = lambda line: None,
) -> dict[str, Measured]:
    """Trains every recipe once and writes one folder each.

    Args:
        out: gets a folder for each name.
        pairs: to measure on.
        say: hears every line of the logs.
    """
    found = {}
    for name, recipe in (recipes or RECIPES).items():
        lines: list[str] = []

        def note(line: str, lines: list[str] = lines, name: str = name) -> None:
            lines.append(line)
            say(f"{name}: {line}")

        note(f"recipe: {recipe}; budget: {budget}; seed {seed}")
        own = config.model_copy(update={"sees": recipe.sees})
        given = exam(budget.scenes, recipe, own, seed=seed, workers=workers)
        network = train(own, given, budget, seed=seed, say=note)
        found[name] = measure(network, pairs, seed=seed)
        note(f"on fresh pairs: {found[name]}")
        facts = {
            "recipe": recipe.model_dump(),
            "budget": budget.model_dump(),
            "seed": seed,
            "families": list(VIEWED),
            "measured": found[name].model_dump(),
            "num_parameters": sum(weights.numel() for weights in network.parameters()),
        }
        _write(network, out / name, facts, lines)
    return found


def _write(network: Viewer, folder: Path, facts: dict[str, Any], lines: Sequence[str]) -> None:
    from safetensors.torch import save_file

    from planish.embedded.build_reasoner import versions

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as place:
        weights = Path(place, "model.safetensors")
        save_file(
            {name: value.to(torch.float16) for name, value in network.state_dict().items()}, weights
        )
        weights.chmod(0o644)  # safetensors writes private files
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        os.replace(weights, folder / weights.name)
    write_text(folder / "config.json", network.config.model_dump_json(indent=1) + "\n")
    told = {**facts, "versions": versions(), "sha256": {"model.safetensors": digest}}
    write_text(folder / "build.json", json.dumps(told, indent=1) + "\n")
    write_text(folder / "build.log", "\n".join(lines) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m planish.methods.vfaith.viewers", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the models")
    parser.add_argument("--seed", type=int, default=0, help="of scenes and weights")
    parser.add_argument("--only", nargs="*", choices=list(RECIPES), help="recipes")
    parser.add_argument("--scenes", type=int, default=Budget().scenes)
    parser.add_argument("--passes", type=int, default=Budget().passes)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    begin = time.monotonic()
    build(
        options.out,
        seed=options.seed,
        recipes={name: RECIPES[name] for name in options.only or RECIPES},
        budget=Budget(scenes=options.scenes, passes=options.passes),
        say=lambda line: sys.stderr.write(f"{time.monotonic() - begin:7.1f} s  {line}\n"),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
