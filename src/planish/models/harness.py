"""Any model of ours inside lm-evaluation-harness (`pip install 'planish[lm-eval]'`).

    found = run_harness(load("hf:./checkpoint"), ["hellaswag", "gsm8k"], limit=200)
    print([(result.task, result.metric, result.value) for result in found.results])

A chat model gets the task's whole context, examples included, as one user turn. A base model
continues it. Nothing is ever cut: a context that does not fit is a lost call, and what lost calls
touch is left out of the means and counted. Needs no network for local YAML tasks on local files.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from planish.models.base import LanguageModel, ScoringModel, Watcher
from planish.records import BadInput, Chat, Completion, Cost, Message, Record, Sampling, user
from planish.stats import Estimate, ratio

__all__ = ["HarnessResult", "HarnessResults", "check_tasks", "harness_model", "run_harness"]

_MAX_TOKENS = 256  # the harness's own default where a task names no budget
_KNOWN = frozenset({"until", "max_gen_toks", "max_tokens", "do_sample", "temperature", "top_p"})


class HarnessResult(Record):
    """One metric of one task.

    Args:
        metric: with its filter, as the harness prints it: "acc,none".
        value: the mean over documents with our bootstrap; without interval where the harness
            does more than to take a mean (perplexity, F1 over all documents).
        higher_is_better: None where the task does not say.
        scores: document -> its score, None where a call was lost; empty where there is no mean.
        lost: documents that a lost call touched.
        reason: why the first of them was lost.
    """

    task: str
    metric: str
    value: Estimate
    higher_is_better: bool | None
    num_documents: int
    scores: dict[str, float | None]
    lost: int
    reason: str

    @property
    def coverage(self) -> float:
        """Share of documents that no lost call touched."""
        return (self.num_documents - self.lost) / self.num_documents


class HarnessResults(Record):
    """Every metric of every task, and what the calls cost.

    `ignored` names settings of tasks that our models do not have.
    """

    results: tuple[HarnessResult, ...]
    cost: Cost
    ignored: tuple[str, ...] = ()


def _harness() -> Any:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        return importlib.import_module("lm_eval")
    except ImportError as error:
        raise BadInput(
            f"lm-evaluation-harness is not installed ({error})",
            where="--lm-eval",
            fix="run: pip install 'planish[lm-eval]'",
        ) from None


def _manager(tasks: Sequence[str], include: Path | None) -> Any:
    """The harness's index of tasks, with only your own where that is enough: it takes seconds."""
    _harness()
    make = importlib.import_module("lm_eval.tasks").TaskManager
    if include is None:
        return make()
    if not include.is_dir():
        raise BadInput("no such folder", where=f"--lm-eval-include {include}", fix="check the path")
    own = make(include_path=str(include), include_defaults=False)
    return own if set(tasks) <= set(own.all_tasks) else make(include_path=str(include))


def check_tasks(tasks: Sequence[str], include: Path | None = None) -> str:
    """Looks every task up, and returns the harness's version.

    Raises:
        BadInput: the harness is not installed, or a task that it does not know.
    """
    known = set(_manager(tasks, include).all_tasks)
    unknown = [task for task in tasks if task not in known]
    if unknown:
        raise BadInput(
            f"lm-evaluation-harness has no task {unknown[0]!r}",
            where="--lm-eval",
            fix="`lm-eval ls tasks` lists them; --lm-eval-include PATH adds your own",
        )
    version: str = importlib.import_module("importlib.metadata").version("lm-eval")
    return version


def run_harness(
    model: LanguageModel,
    tasks: Sequence[str],
    *,
    include: Path | None = None,
    limit: int | None = None,
    max_tokens: int | None = None,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> HarnessResults:
    """Runs tasks of lm-evaluation-harness; groups come as their tasks.

    Args:
        model: any model for tasks that generate; one that scores for the others.
        tasks: names as `lm-eval ls tasks` lists them, or of YAML files in `include`.
        include: a folder of YAML tasks of your own.
        limit: at most so many documents a task.
        max_tokens: budget of a reply where the task names none; 256 as in the harness.
        seed: of few-shot examples and of the intervals.
        watcher: hears of every generated reply.

    Raises:
        BadInput: the harness is not installed, an unknown task, or one that this model cannot do.
    """
    harness, manager = _harness(), _manager(tasks, include)
    adapter = harness_model(model, max_tokens=max_tokens, seed=seed, watcher=watcher)
    with _quiet():
        found = harness.simple_evaluate(
            model=adapter,
            tasks=list(tasks),
            task_manager=manager,
            limit=limit,
            bootstrap_iters=0,
            log_samples=True,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
    return HarnessResults(
        results=tuple(
            result
            for task in found["samples"]
            for result in _results(task, found, adapter.lost, seed)
        ),
        cost=adapter.cost,
        ignored=tuple(sorted(adapter.ignored)),
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The harness's bars on a terminal, else silence, that of commands it calls included."""
    if sys.stderr.isatty():
        yield
        return
    kept = os.dup(2)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            with contextlib.redirect_stderr(nowhere):
                yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _results(
    task: str, found: Mapping[str, Any], failures: Mapping[str, str], seed: int
) -> list[HarnessResult]:
    samples = found["samples"][task]
    lost = {
        str(sample["doc_id"]): failures[key]
        for sample in samples
        for arguments in sample["arguments"]
        if (key := _key(arguments)) in failures
    }
    documents = {str(sample["doc_id"]) for sample in samples}
    better = found.get("higher_is_better", {}).get(task, {})
    results = []
    for metric, value in found["results"][task].items():
        name, comma, chosen = metric.partition(",")
        if not comma or name.endswith("_stderr") or not isinstance(value, int | float):
            continue
        rows = {str(s["doc_id"]): s.get(name) for s in samples if s["filter"] == chosen}
        scores = _means(rows, value, lost)
        told = [score for score in scores.values() if score is not None]
        results.append(
            HarnessResult(
                task=task,
                metric=metric,
                value=ratio(told, [1] * len(told), seed=seed) if scores else Estimate(value=value),
                higher_is_better=better.get(name),
                num_documents=len(documents),
                scores=scores,
                lost=len(lost),
                reason=next(iter(lost.values()), ""),
            )
        )
    return results


def _means(
    rows: Mapping[str, Any], value: float, lost: Mapping[str, str]
) -> dict[str, float | None]:
    """Scores by document, if the harness's value is their mean; else nothing."""
    numbers = {
        key: float(score)
        for key, score in rows.items()
        if isinstance(score, bool | int | float) or hasattr(score, "item")
    }
    if not numbers or len(numbers) < len(rows):
        return {}
    if abs(sum(numbers.values()) / len(numbers) - value) > 1e-6 * max(1.0, abs(value)):
        return {}
    return {key: None if key in lost else score for key, score in numbers.items()}


def _key(arguments: Sequence[Any]) -> str:
    return json.dumps(list(arguments), ensure_ascii=True, sort_keys=True, default=str)


def harness_model(
    model: LanguageModel,
    *,
    max_tokens: int | None = None,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> Any:
    """The model as an `lm_eval.api.model.LM`.

    Its `lost` says which requests brought no reply and why: their results mean nothing, and the
    harness has no way to say so. `ignored` names settings of tasks that our models do not have.

    Raises:
        BadInput: the harness is not installed.
    """
    _harness()
    base: Any = importlib.import_module("lm_eval.api.model").LM

    class PlanishLM(_Adapter, base):  # type: ignore[misc]
        """The adapter, as the harness wants to see it."""

        def __init__(self) -> None:
            base.__init__(self)
            _Adapter.__init__(self, model, max_tokens or _MAX_TOKENS, seed, watcher)

    return PlanishLM()


class _Adapter:
    """What the harness asks of a model, answered by one of ours."""

    def __init__(
        self, model: LanguageModel, max_tokens: int, seed: int, watcher: Watcher | None
    ) -> None:
        self.model, self.seed, self.watcher = model, seed, watcher
        self.max_tokens = max_tokens
        inner = getattr(model, "inner", model)  # the cache is no model of its own
        self.is_chat: bool = getattr(inner, "is_chat", True)
        self.lost: dict[str, str] = {}
        self.ignored: set[str] = set()
        self.cost = Cost()

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """See `lm_eval.api.model.LM.generate_until`."""
        groups: dict[Sampling, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(self._sampling(request.args[1]), []).append(index)
        replies = [""] * len(requests)
        for sampling, places in groups.items():
            chats = [self._chat(requests[place].args[0]) for place in places]
            found = self.model.generate(chats, sampling, watcher=self.watcher)
            self.cost += Cost.of(completions[0] for completions in found)
            for place, completions in zip(places, found, strict=True):
                replies[place] = self._text(requests[place], completions[0])
        return replies

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """See `lm_eval.api.model.LM.loglikelihood`."""
        pairs = [self._pair(*request.args) for request in requests]
        return self._scores([chat for chat, _ in pairs], [text for _, text in pairs])

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """See `lm_eval.api.model.LM.loglikelihood_rolling`; a text must fit into the context."""
        if self.is_chat:
            raise BadInput(
                f"{self.model.name} is a chat model: the likelihood of a bare text means nothing",
                where="--lm-eval",
                fix="use a base model, or leave out tasks of perplexity",
            )
        texts = [request.args[0] for request in requests]
        try:
            found = self._scores([self._chat("")] * len(texts), texts)
        except BadInput as error:
            raise BadInput(
                f"a bare text cannot be scored ({error.what})",
                where=f"--lm-eval, {self.model.name}",
                fix="use texts that fit, and a tokenizer that begins each with a token of its own",
            ) from None
        return [total for total, _ in found]

    def _scores(self, chats: Sequence[Chat], replies: Sequence[str]) -> list[tuple[float, bool]]:
        if not isinstance(self.model, ScoringModel):
            raise BadInput(
                f"{self.model.name} cannot tell how likely a text is",
                where="--lm-eval",
                fix="use an hf: or embedded: model, or tasks that generate",
            )
        results = []
        for scores in self.model.logprobs(chats, replies):
            if scores.greedy is None:
                raise BadInput(
                    f"{self.model.name} does not tell whether a reply is the likeliest one",
                    where="--lm-eval",
                    fix="start a new run: its replies were kept by an earlier version",
                )
            results.append((scores.total, scores.greedy))
        self.cost += Cost(calls=len(results))
        return results

    def _chat(self, context: str) -> Chat:
        if self.is_chat:
            return user(context)
        return (Message(role="assistant", content=context),)  # continued as it is

    def _pair(self, context: str, continuation: str) -> tuple[Chat, str]:
        """Blanks at the joint go to the continuation; a chat model's reply starts without them."""
        if self.is_chat:
            return user(context), continuation.lstrip(" ") or continuation
        bare = context.rstrip(" ")
        return self._chat(bare), context[len(bare) :] + continuation

    def _sampling(self, given: Mapping[str, Any]) -> Sampling:
        self.ignored |= given.keys() - _KNOWN
        until = given.get("until") or ()
        until = (until,) if isinstance(until, str) else tuple(until)
        samples = given.get("do_sample", bool(given.get("temperature", 0)))
        return Sampling(
            temperature=float(given.get("temperature", 1.0)) if samples else 0.0,
            top_p=float(given.get("top_p", 1.0)),
            max_tokens=int(given.get("max_gen_toks") or given.get("max_tokens") or self.max_tokens),
            stop=tuple(text for text in until if text),
            seed=self.seed,
        )

    def _text(self, request: Any, completion: Completion) -> str:
        if completion.finish == "error":
            last = completion.failures[-1] if completion.failures else None
            self.lost[_key(request.args)] = f"{last.kind}: {last.message}" if last else "no reply"
        return completion.text
