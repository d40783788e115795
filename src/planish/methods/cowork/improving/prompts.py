"""What a model is told when it is asked for edits, in one fixed order.

    chat = ask(Facts(library, diagnosis, limits=Limits(), tokens_left=9_000))
    chat = ask_again(chat, reply, ["locked: methods/rest is locked by its owner"])

Rules and schema come from the registries and the record classes, so they always say what the
validator checks. Then come the nodes that matter, the way from the anchor, the best library, the
diagnosis with the two ticks around its evidence, the last rounds, the rejected edits and what is
left of the budget.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from planish.methods.cowork.acting.registry import CONTROLLERS, PREDICATES, THINGS
from planish.methods.cowork.data import Diagnosis, TickTrace
from planish.methods.cowork.improving.patches import KINDS, Limits, between
from planish.methods.cowork.improving.proposing import History
from planish.methods.cowork.improving.texts import printable
from planish.methods.cowork.method import drift
from planish.methods.cowork.skills import ROOT, Library, Method, Operator, Parameter, read_call
from planish.records import Chat, Message

__all__ = ["Facts", "Refused", "ask", "ask_again", "relevant", "schema"]

_NOT_SHOWN = {"stats", "provenance"}
_WHOLE_LIBRARY = 8_000  # characters; above that only what matters is shown
_MOST_SIGNALS, _MOST_WINDOWS, _MOST_REFUSED, _MOST_ROUNDS = 8, 3, 10, 5
_LONGEST_ECHO = 6_000


@dataclass(frozen=True)
class Refused:
    """An edit that was tried before: the library it would make, and why it was refused."""

    fingerprint: str
    reason: str
    rationale: str = ""


@dataclass(frozen=True)
class Facts:
    """All that a prompt is made of.

    Args:
        candidates: patches asked for in one reply.
        tokens_left: of the budget, this call included.
    """

    library: Library
    diagnosis: Diagnosis
    limits: Limits = field(default_factory=Limits)
    history: History = field(default_factory=History)
    refused: Sequence[Refused] = ()
    candidates: int = 3
    tokens_left: int = 0


def ask(facts: Facts) -> Chat:
    """The whole prompt: rules and schema for the system turn, the facts for the user's."""
    rules = f"{_rules(facts)}\n\n{schema()}"
    sections = (
        ("Nodes that matter", _nodes(facts.library, facts.diagnosis)),
        ("Changes since the anchor", _since_anchor(facts)),
        ("Best library until now", _best(facts)),
        ("Diagnosis", _diagnosis(facts.diagnosis)),
        (f"Last {_MOST_ROUNDS} rounds", _rounds(facts.history.metrics)),
        ("Edits that were refused", _refused(facts.refused)),
        ("Budget", f"{facts.tokens_left} tokens are left, this reply included."),
    )
    body = "\n\n".join(f"## {title}\n{text or 'none'}" for title, text in sections)
    request = f"Write {facts.candidates} candidates for the library {facts.library.digest}."
    return (
        Message(role="system", content=rules),
        Message(role="user", content=f"{body}\n\n{request}"),
    )


def ask_again(chat: Chat, reply: str, complaints: Sequence[str]) -> Chat:
    """The prompt with a reply that could not be used, and what the validator says of it."""
    said = "\n".join(f"- {printable(complaint, 300)}" for complaint in complaints)
    echo = reply if len(reply) <= _LONGEST_ECHO else f"{reply[:_LONGEST_ECHO]} ..."
    again = f"None of this can be used:\n{said}\nMend it and write all candidates again."
    return (
        *chat,
        Message(role="assistant", content=echo.strip() or "(nothing)"),
        Message(role="user", content=again),
    )


# ---- rules and schema -------------------------------------------------------------------------


def _rules(facts: Facts) -> str:
    limits = facts.limits
    return f"""You improve a skill library that two cooks act from. Both use the same library and \
cannot talk. A task is done by the first method, by priority (higher first) and then id, whose \
conditions all hold; its subtasks are operators or further tasks. The root task is "{ROOT}". An \
operator lets its controller act every tick while "pre" holds, until "expect" holds (without any: \
one tick) or "timeout_ticks" have passed. "interrupt_when" ends a method at once; "roles" keeps it \
to "seat_0" or "seat_1".

Write JSON and nothing else, one object for each candidate, at most {facts.candidates}:
{{"base_hash": "{facts.library.digest}", "rationale": "one sentence", "evidence_ids": ["..."], \
"ops": [{{"op": "replace", "path": "/methods/ID/priority", "value": 70}}]}}

Operations are add, remove, replace and test of RFC 6902. A path names nodes by id and elements of \
a list by their text, never by position:
/methods/ID/FIELD, /params/ID/value, /operators/ID/args/KEY: one field
/methods/- or /methods/NEW_ID: add a node (the value has its "id"); remove /methods/ID: drop one
/methods/ID/when/-: append a condition; remove /methods/ID/when/gives_way: drop that one

A candidate is refused if it has more than {limits.max_ops} operations or {limits.max_bytes} \
bytes, touches a node with "locked": true, names a predicate, controller or id that does not \
exist, holds code of any kind, leaves a method that cannot be reached or a task within itself, or \
changes nothing. It may move the library by {limits.delta_round:g} (a node added or removed \
counts 1, a node changed 0.5, a parameter its share of the range) and {limits.delta_total:g} in \
all since the anchor. What passes is played against the current library on the same seeds; it is \
kept only if it scores higher and no kitchen or partner loses by it. Small edits for one reason \
do best, and the candidates should try different things."""


def schema() -> str:
    """Nodes, predicates, controllers and things, as the code knows them now."""
    lines = ["# Schema"]
    nodes: tuple[type[BaseModel], ...] = (Parameter, Operator, Method)
    for kind, node in zip(KINDS, nodes, strict=True):
        lines.append(f"{kind}: {_fields(node)}")
    lines.append("\nA condition is NAME, NAME(ARG, ...) or !NAME for its opposite. An argument is")
    lines.append(f"a whole number, the id of a parameter, or one of {', '.join(THINGS)}.")
    lines.append("\n# Predicates")
    for predicate in PREDICATES.values():
        args = f"/{predicate.arity}" if predicate.arity else ""
        lines.append(f"{predicate.name}{args}: {predicate.doc}")
    lines.append("\n# Controllers")
    for controller in CONTROLLERS.values():
        args = ", ".join(f"{key}: {'|'.join(values)}" for key, values in controller.args.items())
        lines.append(f"{controller.name}({args}): {controller.doc}")
    return "\n".join(lines)


def _fields(node: type[BaseModel]) -> str:
    """The fields of a record with their bounds, from its JSON schema."""
    described: Mapping[str, Any] = node.model_json_schema()["properties"]
    parts = []
    for name, field_ in described.items():
        if name in _NOT_SHOWN or name == "locked":
            continue
        low, high = field_.get("minimum"), field_.get("maximum")
        bounds = "" if low is None else f" {low:g} to {high:g}"
        default = f" = {json.dumps(field_['default'])}" if "default" in field_ else ""
        parts.append(f"{name} ({field_.get('type', 'value')}{bounds}{default})")
    return ", ".join(parts)


# ---- the facts --------------------------------------------------------------------------------


def relevant(library: Library, diagnosis: Diagnosis) -> frozenset[str]:
    """The methods that the diagnosis is about, their rivals, and the way to them from the root.

    All methods, where the diagnosis names none.
    """
    subjects = {signal.subject for signal in diagnosis.signals if signal.subject}
    seen = [trace for window in diagnosis.windows.values() for trace in window]
    subjects |= {step.partition(":")[0] for trace in seen for step in trace.task_path}
    subjects |= {trace.operator for trace in seen if trace.operator}
    tasks = {method.task for method in library.methods if subjects & set(_names(method))}
    if not tasks:
        return frozenset(method.id for method in library.methods)
    grown = True
    while grown:
        above = {method.task for method in library.methods if tasks & set(method.subtasks)} - tasks
        grown = bool(above)
        tasks |= above
    return frozenset(method.id for method in library.methods if method.task in tasks)


def _names(method: Method) -> Iterator[str]:
    """Everything a method names, itself included."""
    yield method.id
    yield from method.subtasks
    for condition in method.when + method.interrupt_when:
        call = read_call(condition)
        yield call.name
        yield from call.args


def _nodes(library: Library, diagnosis: Diagnosis) -> str:
    whole = _lines(library, frozenset(method.id for method in library.methods))
    if sum(map(len, whole)) <= _WHOLE_LIBRARY:
        return "\n".join(whole)
    shown = relevant(library, diagnosis)
    others = [f"{m.id} (for {m.task})" for m in library.methods if m.id not in shown]
    lines = _lines(library, shown)
    if others:
        lines.append(f"not shown, but there: {', '.join(others)}")
    return "\n".join(lines)


def _lines(library: Library, shown: frozenset[str]) -> list[str]:
    """One line of JSON for every parameter, method shown and operator that these use."""
    methods = [method for method in library.methods if method.id in shown]
    used = {subtask for method in methods for subtask in method.subtasks}
    operators = [operator for operator in library.operators if operator.id in used]
    every: tuple[Sequence[BaseModel], ...] = (library.params, operators, methods)
    lines = []
    for kind, nodes in zip(KINDS, every, strict=True):
        lines.append(f"{kind}:")
        for node in nodes:
            value = node.model_dump(mode="json", exclude=_NOT_SHOWN, exclude_defaults=True)
            lines.append(json.dumps(value, separators=(",", ":")))
    return lines


def _since_anchor(facts: Facts) -> str:
    anchor = facts.history.anchor
    if anchor is None or anchor.digest == facts.library.digest:
        return ""
    lines = [json.dumps(op, separators=(",", ":")) for op in between(anchor, facts.library)[:20]]
    return "\n".join([f"drift {drift(facts.library, anchor):.2f}", *lines])


def _best(facts: Facts) -> str:
    best, score = facts.history.best, facts.history.best_score
    if best is None or score is None:
        return ""
    if best.digest == facts.library.digest:
        return f"the current one, mean score {score:.1f}"
    away = drift(facts.library, best)
    return f"{best.digest}, mean score {score:.1f}; the current one is {away:.2f} away"


def _diagnosis(diagnosis: Diagnosis) -> str:
    lines = [f"score {score:.1f}: {cell}" for cell, score in diagnosis.scores.items()]
    lines += [
        f"{signal.kind} {signal.subject}: {signal.count} times, {signal.lost_ticks:.0f} ticks "
        f"lost; {signal.cell}; evidence {', '.join(signal.evidence_ids) or 'none'}"
        for signal in diagnosis.signals[:_MOST_SIGNALS]
    ]
    if diagnosis.histogram:
        shares = (f"{action} {share:.0%}" for action, share in diagnosis.histogram.items())
        lines.append(f"actions: {', '.join(shares)}")
    lines += [f"standstill from {episode}@{tick}" for episode, tick in diagnosis.stagnation[:3]]
    fared = [f"{name} {won}/{tried}" for name, (tried, won) in diagnosis.methods.items()]
    if fared:
        lines.append(f"methods, ended well/taken: {', '.join(fared)}")
    for evidence, window in list(diagnosis.windows.items())[:_MOST_WINDOWS]:
        lines += [f"around {evidence}:", *map(_tick, window)]
    return "\n".join(printable(line, 1000) for line in lines)


def _tick(trace: TickTrace) -> str:
    path = " > ".join(trace.task_path) or "no task"
    extras = [trace.event, trace.fallback and f"fallback {trace.fallback}"]
    extras += [f"not {guard}" for guard in trace.rejected[:4]]
    said = "; ".join(extra for extra in extras if extra)
    return f"t={trace.t} seat {trace.seat} {trace.action}: {path}{f' ({said})' if said else ''}"


def _rounds(metrics: Sequence[Mapping[str, float]]) -> str:
    return "\n".join(
        ", ".join(f"{name} {value:.4g}" for name, value in row.items())
        for row in metrics[-_MOST_ROUNDS:]
    )


def _refused(refused: Sequence[Refused]) -> str:
    return "\n".join(
        f"{each.fingerprint}: {printable(each.reason, 120)}; {printable(each.rationale, 120)}"
        for each in list(refused)[-_MOST_REFUSED:]
    )
