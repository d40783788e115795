"""The records of the room: pairs of pictures, what a model said to them, and what came of it.

    pair = EditPair(...)
    pair.passed                    every gate let it through
    pair.letter(pair.edited.gold)  "C"

A bench is a folder: `pairs.jsonl` (one `EditPair` a line, in the order of their ids), the same rows
as `pairs.parquet`, `rejected.jsonl` (pairs that a gate kept out), `images/<sha256>.png` and
`masks/<sha256>.png`. Pictures are named by their bytes, so an edit that was made again can never be
answered from an old cache.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, model_validator

from planish.records import Record

__all__ = [
    "ARMS",
    "LETTERS",
    "PAPER_PAIRS",
    "PAPER_PERCEPTION",
    "SUBSETS",
    "Arm",
    "Check",
    "Cue",
    "Edit",
    "EditPair",
    "Kind",
    "Outcome",
    "Perception",
    "Picture",
    "Response",
    "Source",
    "Subset",
]

Subset = Literal["RWS", "REA", "PFK", "CRE", "TIF"]
SUBSETS: dict[Subset, str] = {
    "RWS": "real-world common sense",
    "REA": "reasoning",
    "PFK": "professional knowledge",
    "CRE": "creativity",
    "TIF": "text information",
}
PAPER_PAIRS: dict[Subset, int] = {"RWS": 235, "REA": 132, "PFK": 169, "CRE": 57, "TIF": 71}
"""Pairs of the paper's subsets (second-hand): 664 in all."""

PAPER_PERCEPTION = 91
"""Perception items of the paper beside its pairs (second-hand)."""

Kind = Literal["pair", "perception"]
Arm = Literal["raw", "edited", "placebo", "text", "perception_raw", "perception_edited"]
ARMS: tuple[Arm, ...] = (
    "raw", "edited", "placebo", "text", "perception_raw", "perception_edited",
)  # fmt: skip
"""What a model is asked: the question with one of three pictures or with none, and whether the new
value of the cue is there, with either picture."""

Outcome = Literal["correct", "wrong", "unparsed", "error"]
LETTERS = "ABCDEFGH"

Text = Annotated[str, StringConstraints(pattern=r"")]
"""Words that can be told and hashed: with any constraint, half a character is refused."""

Asked = Annotated[str, StringConstraints(pattern=r"\S")]  # without a word nothing is asked


class Picture(Record):
    """A picture of a bench and what is true of it.

    Args:
        file: relative to the bench's folder.
        sha256: of the file's bytes.
        gold: the option that is right with this picture, as text.
        scene: what was drawn, with its `family`; None for a photograph.
    """

    file: Text
    sha256: Text
    gold: Text
    scene: dict[str, JsonValue] | None = None


class Source(Record):
    """Where the raw picture comes from, and under what licence; pairs of one source are one row
    of every interval."""

    id: Text
    licence: Text


class Cue(Record):
    """What the answer hangs on.

    Args:
        name: such as "the colour of the banana".
        old, new: its value in the raw and in the edited picture, in words.
        mask, mask_sha256: PNG, relative to the bench; nonzero where the edit may change pixels.
        box: left, top, right, bottom of the mask in pixels; right and bottom are excluded.
    """

    name: Text
    old: Text
    new: Text
    mask: Text
    mask_sha256: Text
    box: tuple[int, int, int, int]

    @model_validator(mode="after")
    def _boxed(self) -> Cue:
        left, top, right, bottom = self.box
        if not (0 <= left < right and 0 <= top < bottom):
            raise ValueError("box is not left, top, right, bottom: it holds no pixel")
        return self


class Perception(Record):
    """One yes-or-no question about the cue: does the model see it at all?"""

    text: Asked
    gold_raw: Literal["yes", "no"]
    gold_edited: Literal["yes", "no"]


class Edit(Record):
    """How the edited picture came to be.

    Args:
        backend, version: of the editor.
        instruction: in words.
        params: of the backend, seed included.
        request: SHA-256 of everything that the editor was given; results are kept under it.
        deterministic: the same request gives the same bytes.
        exact_mask: the editor promises to leave everything outside the mask alone.
        native_size: width and height that the editor worked in.
    """

    backend: Text
    version: Text
    instruction: Text
    params: dict[str, JsonValue] = Field(default_factory=dict)
    request: Text
    deterministic: bool
    exact_mask: bool
    native_size: tuple[int, int]


class Check(Record):
    """What one gate measured.

    Args:
        gate: see `verifying.gates.GATES`.
        value: its number; None where it could not be measured.
        passed: whether the pair goes on.
        code: why not, or a flag such as "resampled"; "" where there is nothing to say.
    """

    gate: Asked
    value: Annotated[float, Field(allow_inf_nan=False)] | None = None
    passed: bool = True
    code: Text = ""


class EditPair(Record):
    """A question with two pictures between which the right answer moves.

    A perception item (`kind="perception"`) is the same with the options yes and no.

    Args:
        pair_id: unique in its bench.
        family: of scenes, or "photograph".
        options: in the order in which every model sees them; shuffle_seed: that made it.
        ask: what the scene's solver is asked; None for a photograph.
        typical: whether the raw picture shows what memory expects; None where nobody knows.
        placebo: the raw picture with something changed that does not matter.
        checks: of every gate, in order; a pair that failed one is in no score.
    """

    pair_id: Text
    kind: Kind = "pair"
    family: Text
    subset: Subset
    source: Source
    question: Asked
    options: tuple[Asked, ...] = Field(min_length=2, max_length=len(LETTERS))
    shuffle_seed: int
    ask: dict[str, JsonValue] | None = None
    typical: bool | None = None
    raw: Picture
    edited: Picture
    placebo: Picture | None = None
    placebo_name: Text = ""
    cue: Cue
    perception: tuple[Perception, ...] = Field((), max_length=64)
    edit: Edit
    checks: tuple[Check, ...] = ()

    @model_validator(mode="after")
    def _golds(self) -> EditPair:
        if len({tuple(option.split()) for option in self.options}) < len(self.options):
            raise ValueError("an option is there twice, or two of them read alike")
        for name in ("raw", "edited"):
            if getattr(self, name).gold not in self.options:
                raise ValueError(f"the gold of the {name} picture is not among the options")
        if self.raw.gold == self.edited.gold:
            raise ValueError("the right answer is the same before and after the edit")
        if self.placebo is not None and self.placebo.gold != self.raw.gold:
            raise ValueError("the placebo changes the right answer")
        if self.passed and self.edited.sha256 in self._unchanged:
            raise ValueError("one picture has two right answers: the edit changed nothing")
        return self

    @property
    def _unchanged(self) -> tuple[str, ...]:
        """Hashes of the pictures with the raw gold."""
        return tuple(each.sha256 for each in (self.raw, self.placebo) if each is not None)

    @property
    def passed(self) -> bool:
        """Whether every gate let it through."""
        return all(check.passed for check in self.checks)

    @property
    def codes(self) -> tuple[str, ...]:
        """Why it was kept out, by gate."""
        return tuple(check.code for check in self.checks if not check.passed)

    def letter(self, option: str) -> str:
        """The letter before an option."""
        return LETTERS[self.options.index(option)]


class Response(Record):
    """One reply.

    Args:
        key: hash of model and revision, prompt, image bytes, sampling, repeat.
        question: number of the perception question; 0 elsewhere.
        parsed: the option that was read out of the text, as text; None where none could be.
        gold: the option that would have been right; in the text arm that of the edited picture,
            which the words alone must not tell.
    """

    key: str
    pair_id: str
    arm: Arm
    repeat: int = 0
    question: int = 0
    model: str
    revision: str
    text: str
    parsed: str | None = None
    gold: str
    outcome: Outcome
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
