"""A reply cache around any model: nothing that was paid for is paid for twice.

    >>> model = CachedModel(model, "replies.jsonl")   # doctest: +SKIP
    >>> model.generate(chats, sampling)               # doctest: +SKIP
    >>> model.hits, model.misses                      # doctest: +SKIP
    (0, 270)

Every finished call is one line of a JSON Lines file the moment it ends: a killed process loses
nothing but the calls in flight. Replies are kept as raw text. Attempts that failed have lines of
their own, for the record; a call that never got a reply is made again next time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from planish.models.base import Draw, LanguageModel, ScoringModel, StreamingModel, Watcher
from planish.models.keys import chat_key, draw_of, reply_key, scores_key
from planish.models.reply_file import ReplyFile
from planish.records import Chat, Completion, Failure, Sampling, TokenScores

__all__ = ["CachedModel"]

Place = tuple[int, int]  # (index of the chat, number of the sample)


class CachedModel:
    """Answers from a file what it can, and asks the model for the rest.

    A reply is the same as before when the model's name and revision, the messages, the sampling
    (without `n`) and the sample's seed or number are. Equal calls in one batch are made once.
    Around a `ScoringModel` this is one as well, and its scores are kept too; around a
    `StreamingModel` it streams.

    Args:
        inner: the model.
        path: the file; appears with its folder when it is missing.

    Raises:
        BadInput: the file is no reply cache, is broken, or is used by another process.

    Attributes:
        hits: samples that cost nothing.
        misses: samples that the model was asked for.
        repaired: what was mended on opening, in one line for the user, or None.
    """

    def __new__(cls, inner: LanguageModel, path: str | os.PathLike[str]) -> Self:
        """Around a model that scores, a cache that scores; around one that streams, that."""
        kind: type[CachedModel] = cls
        if cls is CachedModel and isinstance(inner, ScoringModel):
            kind = _CachedScoringModel
        elif cls is CachedModel and isinstance(inner, StreamingModel):
            kind = _CachedStreamingModel
        made: Self = object.__new__(kind)  # type: ignore[assignment]
        return made

    def __init__(self, inner: LanguageModel, path: str | os.PathLike[str]) -> None:
        self.inner = inner
        self.hits = self.misses = 0
        self._file = ReplyFile(path)

    @property
    def name(self) -> str:
        """The inner model's name: a cached reply is that model's reply."""
        return self.inner.name

    @property
    def revision(self) -> str:
        """The inner model's revision."""
        return self.inner.revision

    @property
    def path(self) -> Path:
        """Where the replies are."""
        return self._file.path

    @property
    def repaired(self) -> str | None:
        """What was mended on opening, in one line for the user, or None."""
        return self._file.repaired

    def close(self) -> None:
        """Closes the file and frees it for other processes."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, watcher: Watcher | None = None
    ) -> list[list[Completion]]:
        """See `LanguageModel.generate`. The watcher hears of cached replies first.

        Raises:
            OSError: a reply could not be kept; those before it were.
        """
        batch = _Batch(self, chats, sampling, watcher or Watcher())
        for start, length, members in batch.groups():
            part = sampling.model_copy(
                update={
                    "n": length,
                    "seed": None if sampling.seed is None else sampling.seed + start,
                }
            )
            recorder = _Recorder(batch, members, start)
            replies = self.inner.generate([chats[i] for i in members], part, watcher=recorder)
            # A model that tells its watcher nothing is slower to save, but loses nothing.
            for chat, completions in enumerate(replies):
                for sample, completion in enumerate(completions):
                    recorder.completed(chat, sample, completion)
        return batch.results


class _CachedScoringModel(CachedModel):
    """The same around a `ScoringModel`."""

    inner: ScoringModel

    def logprobs(self, chats: Sequence[Chat], replies: Sequence[str]) -> list[TokenScores]:
        """See `ScoringModel.logprobs`."""
        name, revision = self.name, self.revision
        keys = [
            scores_key(name, revision, chat_key(chat), reply)
            for chat, reply in zip(chats, replies, strict=True)
        ]
        found = {key: self._file.read(key, "scores", TokenScores) for key in keys}
        missing = {key: i for i, key in enumerate(keys) if found[key] is None}
        self.hits += len(keys) - len(missing)
        self.misses += len(missing)
        if missing:
            places = list(missing.values())
            fresh = self.inner.logprobs([chats[i] for i in places], [replies[i] for i in places])
            for key, new in zip(missing, fresh, strict=True):
                self._file.append("scores", key, {"model": name}, new)
                found[key] = new
        return [scores for key in keys if (scores := found[key]) is not None]

    def label_logprobs(
        self, chats: Sequence[Chat], labels: Sequence[str], prefix: str = "[["
    ) -> list[tuple[float, ...]]:
        """See `ScoringModel.label_logprobs`. Not kept: one forward pass tells it again."""
        return self.inner.label_logprobs(chats, labels, prefix)


class _CachedStreamingModel(CachedModel):
    """The same around a `StreamingModel`."""

    inner: StreamingModel

    def stream(self, draws: Iterable[Draw], sampling: Sampling, *, watcher: Watcher) -> None:
        """See `StreamingModel.stream`. An equal draw that is under way is waited for.

        Raises:
            OSError: a reply could not be kept; those before it were.
        """
        stream = _Stream(self, sampling, watcher)
        self.inner.stream(stream.missing(draws), sampling, watcher=stream)


class _Call(NamedTuple):
    """A call under way: who waits for it, and what its lines say."""

    key: str
    row: dict[str, Any]
    askers: list[Place]


class _Stream(Watcher):
    """One `stream`: looks every draw up, and writes down what the inner model tells of the rest."""

    def __init__(self, model: CachedModel, sampling: Sampling, watcher: Watcher) -> None:
        self.model, self.sampling, self.watcher = model, sampling, watcher
        self.under_way: dict[int, _Call] = {}  # by their number in the inner stream
        self.by_key: dict[str, _Call] = {}

    def missing(self, draws: Iterable[Draw]) -> Iterator[Draw]:
        """What the file does not have; the watcher hears of the rest as it is come by."""
        asked = 0
        for number, draw in enumerate(draws):
            chat = chat_key(draw.chat)
            key = reply_key(self.model.name, self.model.revision, chat, self.sampling, draw.sample)
            place = number, draw.sample
            if (call := self.by_key.get(key)) is not None:
                call.askers.append(place)
                self.model.hits += 1
                continue
            completion = self.model._file.read(key, "completion", Completion)
            if completion is not None:
                self.model.hits += 1
                self.watcher.completed(*place, completion)
                continue
            row = _row(self.model, chat, draw.sample, self.sampling)
            self.under_way[asked] = self.by_key[key] = _Call(key, row, [place])
            asked += 1
            yield draw

    def completed(self, chat: int, sample: int, completion: Completion) -> None:
        call = self.under_way.pop(chat)
        if completion.finish != "error":
            self.model._file.append("reply", call.key, call.row, completion)
        self.model.misses += 1
        del self.by_key[call.key]
        for place in call.askers:
            self.watcher.completed(*place, completion)

    def failed(self, chat: int, sample: int, failure: Failure) -> None:
        call = self.under_way[chat]
        self.model._file.append("failure", call.key, call.row, failure)
        self.watcher.failed(*call.askers[0], failure)


class _Batch:
    """One `generate`: what the file had, and who waits for which missing reply."""

    def __init__(
        self, model: CachedModel, chats: Sequence[Chat], sampling: Sampling, watcher: Watcher
    ) -> None:
        self.model, self.sampling, self.watcher = model, sampling, watcher
        self.name, self.revision = model.name, model.revision
        self.chats = [chat_key(chat) for chat in chats]
        empty = Completion(text="", finish="error")
        self.results = [[empty] * sampling.n for _ in chats]
        self.keys: dict[Place, str] = {}  # of the calls that have to be made
        self.askers: dict[str, list[Place]] = {}
        for i, chat in enumerate(self.chats):
            for sample in range(sampling.n):
                key = reply_key(self.name, self.revision, chat, sampling, sample)
                self._look_up(key, (i, sample))

    def _look_up(self, key: str, place: Place) -> None:
        askers = self.askers.get(key)
        if askers is not None:
            askers.append(place)
            self.model.hits += 1
            return
        completion = self.model._file.read(key, "completion", Completion)
        if completion is None:
            self.keys[place], self.askers[key] = key, [place]
            return
        self.model.hits += 1
        self.deliver([place], completion)

    def deliver(self, places: list[Place], completion: Completion) -> None:
        for i, sample in places:
            self.results[i][sample] = completion
            self.watcher.completed(i, sample, completion)

    def groups(self) -> list[tuple[int, int, list[int]]]:
        """(first sample, number of samples, chats): one call of the inner model each.

        Chats that miss the same samples go together; a gap splits a chat's samples, and those
        after it are asked for by a shifted seed. A model whose draws hang on their number is
        asked from the first sample on, whatever is missing.
        """
        missing: dict[int, list[int]] = {}
        for i, sample in self.keys:
            missing.setdefault(i, []).append(sample)
        groups: dict[tuple[int, int], list[int]] = {}
        for i, samples in missing.items():
            if getattr(self.model.inner, "draws_by_number", False):
                groups.setdefault((0, samples[-1] + 1), []).append(i)
                continue
            for start, length in _runs(samples):
                groups.setdefault((start, length), []).append(i)
        return [(start, length, members) for (start, length), members in groups.items()]

    def row(self, place: Place) -> dict[str, Any]:
        """What a line says besides its record, so that `replay:` can use the file."""
        i, sample = place
        return _row(self.model, self.chats[i], sample, self.sampling)


class _Recorder(Watcher):
    """Writes down what the inner model tells, then passes it on in the caller's numbering."""

    def __init__(self, batch: _Batch, members: list[int], start: int) -> None:
        self.batch, self.members, self.start = batch, members, start
        self.heard: dict[Place, int] = {}  # failed attempts of calls that are not finished

    def completed(self, chat: int, sample: int, completion: Completion) -> None:
        place = self.members[chat], self.start + sample
        key = self.batch.keys.pop(place, None)
        if key is None:  # heard of already, or a sample that nobody misses
            return
        model = self.batch.model
        for failure in completion.failures[self.heard.pop(place, 0) :]:  # told only now
            model._file.append("failure", key, self.batch.row(place), failure)
        if completion.finish != "error":
            model._file.append("reply", key, self.batch.row(place), completion)
        model.misses += 1
        self.batch.deliver(self.batch.askers[key], completion)

    def failed(self, chat: int, sample: int, failure: Failure) -> None:
        place = self.members[chat], self.start + sample
        key = self.batch.keys.get(place)
        if key is not None:
            self.batch.model._file.append("failure", key, self.batch.row(place), failure)
            self.heard[place] = self.heard.get(place, 0) + 1
            self.batch.watcher.failed(*place, failure)


def _row(model: CachedModel, chat: str, sample: int, sampling: Sampling) -> dict[str, Any]:
    seed = None if sampling.seed is None else draw_of(sampling, sample)
    return {"model": model.name, "chat": chat, "sample": sample, "seed": seed}


def _runs(samples: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as (first, how many) of each stretch without a gap."""
    runs: list[tuple[int, int]] = []
    for sample in samples:
        if runs and sum(runs[-1]) == sample:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((sample, 1))
    return runs
