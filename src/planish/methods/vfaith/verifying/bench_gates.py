"""The gates of a whole bench: nothing but the picture may tell the right answer.

    found = measure_bench(bench.pairs, load, Gates())
    found.checks          letters, text_only, placebo_cue
    found.text_only       0.262 [0.231, 0.294]      chance: found.chance

Three ways in which a bench can give itself away: the letter of the right answer is not drawn
evenly; a classifier that reads question and options, and never a picture, does better than chance
on the edited items; a classifier that sees only what has changed tells the edit from the placebo.
Both classifiers are tested on sources that they were not trained on. Perception items, whose two
options are always the same words, are part of the first and the last.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planish.methods.vfaith.config import Gates
from planish.methods.vfaith.data import Check, EditPair, Picture
from planish.methods.vfaith.usable import Some
from planish.methods.vfaith.verifying.gates import Pixels, cells, changed
from planish.stats import Estimate, mean

__all__ = ["BenchFindings", "check_bench", "letter_shares", "measure_bench"]

FOLDS = 5
FEWEST = 20
"""Items below which no classifier is trained."""

_FIVE_PERCENT, _ONE_PERCENT = 1.96, 2.576  # two-sided, in standard errors

MOST = 2_000
"""Pairs whose pictures are looked at; more would prove no more and take memory."""

LETTERS_P = 0.01
_SIDE = 8  # of the small pictures of what changed
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class BenchFindings:
    """What tells the answer without the picture.

    Args:
        checks: letters, text_only, placebo_cue.
        letters: share of each letter among the edited pictures' golds, by number of options.
        text_only: accuracy from the words alone on edited items; chance: of a guesser.
        placebo_cue: accuracy at telling cue from placebo; chance is 0.5.
    """

    checks: tuple[Check, ...]
    letters: dict[int, dict[str, float]]
    text_only: Estimate
    chance: float
    placebo_cue: Estimate


def check_bench(
    pairs: Sequence[EditPair], load: Callable[[Picture], Pixels], gates: Gates | None = None
) -> tuple[Check, ...]:
    """The checks of `measure_bench` alone."""
    return measure_bench(pairs, load, gates).checks


def measure_bench(
    pairs: Sequence[EditPair], load: Callable[[Picture], Pixels], gates: Gates | None = None
) -> BenchFindings:
    """Looks for what gives the answers away.

    A classifier fails the bench if it is right more often than chance by over `gates.text_points`
    and this cannot be luck, at 1 %; a bench too small to tell passes with the code
    "too_few". Whoever is right less often than chance has learned nothing.

    Args:
        pairs: that passed their own gates.
        load: a picture's pixels; called for up to `MOST` pairs.
    """
    gates = gates or Gates()
    words, chance = _text_only(_those(pairs, lambda pair: pair.kind == "pair"))
    looks = _placebo_cue(_those(pairs, lambda pair: pair.placebo is not None), load)
    points = gates.text_points / 100
    return BenchFindings(
        checks=(
            _letters(pairs),
            _near_chance("text_only", words, chance, points, "words_tell"),
            _near_chance("placebo_cue", looks, 0.5, points, "looks_tell"),
        ),
        letters=letter_shares(pairs),
        text_only=words,
        chance=chance,
        placebo_cue=looks,
    )


def _those(pairs: Sequence[EditPair], are: Callable[[EditPair], bool]) -> Sequence[EditPair]:
    """Some of the pairs; of a bench on the disk each is read when it is looked at."""
    return Some(pairs, (place for place, pair in enumerate(pairs) if are(pair)))


def letter_shares(pairs: Sequence[EditPair]) -> dict[int, dict[str, float]]:
    """Share of each letter among the edited pictures' golds, by number of options."""
    return {
        options: {letter: count / sum(counts.values()) for letter, count in counts.items()}
        for options, counts in _letter_counts(pairs).items()
    }


def _letter_counts(pairs: Sequence[EditPair]) -> dict[int, dict[str, int]]:
    counts: dict[int, dict[str, int]] = {}
    for pair in pairs:
        own = counts.setdefault(
            len(pair.options), {pair.letter(option): 0 for option in pair.options}
        )
        own[pair.letter(pair.edited.gold)] += 1
    return dict(sorted(counts.items()))


def _letters(pairs: Sequence[EditPair]) -> Check:
    """Chi-square against even letters; items with as many options are one group."""
    from scipy.stats import chi2

    statistic, freedom = 0.0, 0
    for counts in _letter_counts(pairs).values():
        expected = sum(counts.values()) / len(counts)
        statistic += sum((count - expected) ** 2 for count in counts.values()) / expected
        freedom += len(counts) - 1
    if not freedom:
        return Check(gate="letters", code="too_few")
    p = float(chi2.sf(statistic, freedom))
    fine = p > LETTERS_P
    return Check(gate="letters", value=p, passed=fine, code="" if fine else "letters_tell")


def _near_chance(gate: str, found: Estimate, chance: float, points: float, code: str) -> Check:
    if found.value is None or found.low is None or found.high is None:
        return Check(gate=gate, code="too_few")
    if found.value - chance <= points + 1e-9:
        return Check(gate=gate, value=found.value)
    # At 1 %, as the letters: a small bench must not be refused by luck.
    proven = found.value - _ONE_PERCENT / _FIVE_PERCENT * (found.value - found.low) > chance
    return Check(
        gate=gate, value=found.value, passed=not proven, code=code if proven else "too_few"
    )


# ---- the words alone


def _text_only(pairs: Sequence[EditPair]) -> tuple[Estimate, float]:
    """Accuracy of the likeliest option, each judged by its words, place and rank."""
    if not pairs:
        return Estimate(value=None), 0.0
    chance = float(np.mean([1 / len(pair.options) for pair in pairs]))
    if len(pairs) < FEWEST:
        return Estimate(value=None), chance
    from sklearn.feature_extraction import FeatureHasher

    right: list[bool] = []
    owners: list[int] = []
    sources: list[str] = []
    kinds: list[str] = []

    def rows() -> Iterator[list[str]]:
        for owner, pair in enumerate(pairs):
            kind = f"{pair.family} {pair.letter(pair.edited.gold)} {pair.typical}"
            for option in pair.options:
                right.append(option == pair.edited.gold)
                owners.append(owner)
                sources.append(pair.source.id)
                kinds.append(kind)
                yield list(_clues(pair, option))

    features = FeatureHasher(1 << 14, input_type="string").transform(rows())
    likely = _held_out(features, np.array(right, int), sources, kinds)
    if likely is None:
        return Estimate(value=None), chance
    hits = []
    belongs = np.array(owners)
    for owner in range(len(pairs)):
        own = np.flatnonzero(belongs == owner)
        best = np.isclose(likely[own], likely[own].max())
        # A tie is a guess.
        hits.append(float(np.array(right)[own][best].mean()))
    return mean(hits), chance


def _clues(pair: EditPair, option: str) -> Iterator[str]:
    """What the words tell of an option, as tokens."""
    place, words = pair.options.index(option), _WORD.findall(option.casefold())
    asked = _WORD.findall(pair.question.casefold())
    yield f"place {place}"
    yield f"option {option.casefold()}"
    yield f"length {sorted(map(len, pair.options)).index(len(option))}"
    numbers = [number for each in pair.options if (number := _number(each)) is not None]
    if len(numbers) == len(pair.options):
        yield f"rank {sorted(numbers).index(numbers[place])}"
    for word in words:
        yield f"word {word}"
        # "banana" beside "yellow": what memory expects.
        yield from (f"both {other} {word}" for other in asked)
    yield f"family {pair.family} {place}"


def _number(text: str) -> float | None:
    found = re.search(r"-?\d+(?:[.:]\d+)?", text.replace(",", ""))
    return float(found[0].replace(":", ".")) if found else None


# ---- the look of the change alone


def _placebo_cue(pairs: Sequence[EditPair], load: Callable[[Picture], Pixels]) -> Estimate:
    """Accuracy at telling which of two changes is the cue's, without the question."""
    if len(pairs) < FEWEST:
        return Estimate(value=None)
    if len(pairs) > MOST:
        pairs = Some(pairs, random.Random(0).sample(range(len(pairs)), MOST))
    rows: list[NDArray[np.float32]] = []
    sources: list[str] = []
    kinds: list[str] = []
    for pair in pairs:
        assert pair.placebo is not None
        raw = load(pair.raw)
        rows += [_look(raw, load(picture)) for picture in (pair.edited, pair.placebo)]
        sources += [pair.source.id] * 2
        kinds += [f"{pair.family} {pair.typical}"] * 2
    features = np.stack(rows)
    rows.clear()
    spread = features.std(0)
    features -= features.mean(0)
    features /= np.where(spread > 0, spread, 1)
    labels = np.tile([1, 0], len(pairs))
    likely = _held_out(features, labels, sources, kinds)
    if likely is None:
        return Estimate(value=None)
    ties = np.isclose(likely, 0.5)
    hits = np.where(ties, 0.5, (likely > 0.5) == labels)
    # Both changes of a pair are one row of the interval.
    return mean(hits.reshape(-1, 2).mean(1).tolist())


def _look(raw: Pixels, after: Pixels) -> NDArray[np.float32]:
    """What changed, small: signed and unsigned, how much of the picture, where, and how."""
    small = cells(after, _SIDE) - cells(raw, _SIDE)
    found = changed(raw, after)
    rows, columns = np.nonzero(found)
    share = np.log10(found.mean() + 1e-6)
    places, shift = [0.0, 0.0], np.zeros(3)
    if len(rows):
        places = [rows.mean() / found.shape[0], columns.mean() / found.shape[1]]
        shift = after[found].mean(0) - raw[found].mean(0)
    parts = [small.ravel(), np.abs(small).ravel(), [share, *places], shift]
    return np.concatenate(parts).astype(np.float32)


def _held_out(
    features: Any, labels: NDArray[np.int_], sources: Sequence[str], kinds: Sequence[str]
) -> NDArray[np.float64] | None:
    """Probability of label 1 of every row, by a classifier that saw no row of its source.

    Args:
        kinds: of each row's source, spread evenly over the folds. Where the design holds shares
            fixed, what one fold has more of the others have less of, and a classifier that learns
            nothing would do worse than chance.
    """
    from sklearn.linear_model import LogisticRegression

    kind_of = dict(zip(sources, kinds, strict=True))
    number = min(FOLDS, len(kind_of))
    if number < 2:
        return None
    names = sorted(kind_of)
    random.Random(0).shuffle(names)
    names.sort(key=lambda name: kind_of[name])
    fold_of = {name: place % number for place, name in enumerate(names)}
    folds = np.array([fold_of[source] for source in sources])
    likely = np.zeros(len(labels))
    for fold in range(number):
        held = folds == fold
        if len(set(labels[~held])) < 2:
            return None
        model = LogisticRegression(C=0.1, max_iter=300, tol=1e-3)
        model.fit(features[~held], labels[~held])
        likely[held] = model.predict_proba(features[held])[:, 1]
    return likely
