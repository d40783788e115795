"""What a model is asked: a question, lettered options, and one picture or none.

    chat(pair, "edited", bench)              one user turn; the picture comes first
    options_of(pair, "perception_raw")       ("yes", "no"), or the other way round
    gold_of(pair, "text")                    the answer of the edited picture, which no word tells

The prompt reads

    What colour is the banana?
    A. red
    B. yellow
    C. blue
    D. brown
    Think step by step, then give the letter of your answer as \\boxed{LETTER}.

Zero-shot chain of thought with a boxed answer is the paper's (second-hand); the words are ours.
Every option is one line, whatever its text holds, so that none can pass for two.
"""

from __future__ import annotations

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.data import Arm, EditPair, Perception, Picture
from planish.methods.vfaith.phrasing import INSTRUCTION, lettered, one_line
from planish.records import BadInput, Chat, Message

__all__ = [
    "INSTRUCTION",
    "asked",
    "chat",
    "gold_of",
    "has_arm",
    "one_line",
    "options_of",
    "picture_of",
    "prompt",
    "shown_options",
]


def has_arm(pair: EditPair, arm: Arm) -> bool:
    """Whether the pair can be asked in that way.

    A perception item is such a question itself, and not every pair has a placebo.
    """
    if arm == "placebo":
        return pair.kind == "pair" and pair.placebo is not None
    return bool(pair.perception) or not arm.startswith("perception")


def asked(pair: EditPair, arm: Arm) -> int:
    """How many questions the arm has for the pair; each is a call of its own."""
    if not has_arm(pair, arm):
        return 0
    return len(pair.perception) if arm.startswith("perception") else 1


def picture_of(pair: EditPair, arm: Arm) -> Picture | None:
    """The picture that is shown; None in the arm text.

    Raises:
        BadInput: the pair has no placebo.
    """
    _check(pair, arm)
    if arm == "text":
        return None
    if arm == "placebo":
        return pair.placebo
    return pair.raw if arm in ("raw", "perception_raw") else pair.edited


def options_of(pair: EditPair, arm: Arm, question: int = 0) -> tuple[str, ...]:
    """The options in the order of their letters.

    Yes stands first in every other perception question, as the pair's seed has it.

    Raises:
        BadInput: the pair is not asked that.
    """
    if not arm.startswith("perception"):
        _check(pair, arm)
        return pair.options
    _perception(pair, arm, question)
    return ("no", "yes") if (pair.shuffle_seed + question) % 2 else ("yes", "no")


def gold_of(pair: EditPair, arm: Arm, question: int = 0) -> str:
    """The option that is right; in the arm text that of the edited picture.

    Raises:
        BadInput: the pair is not asked that.
    """
    _check(pair, arm)
    if arm == "perception_raw":
        return _perception(pair, arm, question).gold_raw
    if arm == "perception_edited":
        return _perception(pair, arm, question).gold_edited
    return pair.edited.gold if arm in ("edited", "text") else pair.raw.gold


def shown_options(pair: EditPair, arm: Arm, question: int = 0) -> tuple[str, ...]:
    """The options as they are shown, one line each.

    Raises:
        BadInput: one is empty, or two read alike.
    """
    shown = tuple(one_line(option) for option in options_of(pair, arm, question))
    if not all(shown) or len(set(shown)) < len(shown):
        raise BadInput(
            "an option is empty, or two of them read alike",
            where=f"pair {pair.pair_id}",
            fix="give every option words of its own",
        )
    return shown


def prompt(pair: EditPair, arm: Arm, question: int = 0) -> str:
    """The words of the call.

    Raises:
        BadInput: the pair is not asked that, or its options cannot be told apart.
    """
    options = shown_options(pair, arm, question)
    words = pair.question
    if arm.startswith("perception"):
        words = _perception(pair, arm, question).text
    return lettered(words, options)


def chat(pair: EditPair, arm: Arm, bench: Bench, question: int = 0) -> Chat:
    """One call: its words, and the file of its picture.

    Args:
        question: number of the perception question; 0 elsewhere.

    Raises:
        BadInput: as `prompt`, or the picture is not the one that the pair was made with.
    """
    picture = picture_of(pair, arm)
    images = () if picture is None else (str(bench.path(picture)),)
    return (Message(role="user", content=prompt(pair, arm, question), images=images),)


def _perception(pair: EditPair, arm: Arm, question: int) -> Perception:
    if not 0 <= question < len(pair.perception):
        raise BadInput(
            f"has no perception question {question}", where=f"pair {pair.pair_id}, arm {arm}"
        )
    return pair.perception[question]


def _check(pair: EditPair, arm: Arm) -> None:
    if not has_arm(pair, arm):
        raise BadInput(
            "the pair cannot be asked in this arm",
            where=f"pair {pair.pair_id}, arm {arm}",
            fix="leave the arm out, or build the bench with it",
        )
