"""Does a verdict follow the solution above it? Replace the solution, and let the model go on.

    planned, left_out = plan_interventions(drawing, items, judgments)
    made = make_interventions(drawing, planned, config.greedy)
    intervention_report(made, left_out=left_out, seed=0).follow_rate

A greedy judgment is cut behind its solution, another solution is put in the place of its own, and
the model writes the rest. Where the solution is a decoration, the verdict stays as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planish.judges.base import SCORED, to_case_frame
from planish.judges.pairs import ORDERS
from planish.judges.parse import parse
from planish.methods.s2j.data import Item
from planish.methods.s2j.measuring.drawing import Drawing
from planish.methods.s2j.measuring.records import (
    KINDS,
    Intervention,
    InterventionReport,
    JudgeSample,
    Kind,
    KindNumbers,
)
from planish.methods.s2j.prompts import with_solution
from planish.records import Chat, Completion, Message, Sampling
from planish.stats import Estimate, ratio

__all__ = [
    "Planned",
    "intervention_report",
    "make_interventions",
    "plan_interventions",
    "refuses_to_go_on",
]

_TRIED = 3  # chats; fewer than an endpoint is sure after that all calls will be refused
_REFUSALS = {"http 400", "http 422"}


@dataclass(frozen=True)
class Planned:
    """A judgment that is to go on from another solution."""

    sample: JudgeSample
    item: Item
    kind: Kind
    inserted: str
    named: str | None
    agrees: bool
    prompt: Chat


def plan_interventions(
    drawing: Drawing, items: Sequence[Item], judgments: Sequence[JudgeSample]
) -> tuple[list[Planned], Counter[str]]:
    """Every replacement that can be made, and why the others cannot.

    Args:
        drawing: the model's side; its template names the marks.
        items: with one right candidate and a gold answer.
        judgments: greedy ones.
    """
    by_id = {item.id: item for item in items}
    planned: list[Planned] = []
    left_out: Counter[str] = Counter()
    for sample in judgments:
        item = by_id.get(sample.item_id)
        if item is None or not sample.greedy:
            continue
        if sample.solution is None or sample.verdict not in ("A", "B"):
            left_out["the judgment has no solution or no verdict"] += 1
            continue
        for kind in KINDS:
            found = _replacement(drawing, item, sample, kind)
            if isinstance(found, str):
                left_out[found] += 1
            else:
                planned.append(found)
    return planned, left_out


def _replacement(drawing: Drawing, item: Item, sample: JudgeSample, kind: Kind) -> Planned | str:
    """The replacement, or why there is none."""
    assert sample.solution is not None
    named: str | None = None
    if kind == "swap":
        named = "B" if sample.verdict == "A" else "A"
    elif kind == "gold":
        named = item.case.gold
    text: str | None = "" if kind == "remove" else sample.solution
    if named is not None:
        text = item.case.replies["AB".index(named)]
    elif kind == "corrupt":
        text = drawing.items.other_wrong(item)
    if text is None:
        return "no wrong solution fits neither candidate"
    try:
        begun = with_solution(sample.text, drawing.template, text)
    except ValueError as error:
        return str(error)
    prompt = drawing.template.render(item.case, ORDERS[sample.order])
    return Planned(
        sample=sample,
        item=item,
        kind=kind,
        inserted=text,
        named=named,
        agrees=drawing.items.agree(item, text, sample.solution),
        prompt=(*prompt, Message(role="assistant", content=begun)),
    )


def refuses_to_go_on(drawing: Drawing, planned: Sequence[Planned], sampling: Sampling) -> str:
    """What a server says that takes no reply that was begun; "" where the model goes on.

    The protocol has no word for it: vLLM's and SGLang's switches are sent, and some servers refuse
    what they do not know. That says nothing about the draws before, so it is no lost call.
    """
    tried = list(dict.fromkeys(each.prompt for each in planned[: _TRIED * len(KINDS)]))[:_TRIED]
    told = [row[0] for row in drawing.model.generate(tried, sampling)] if tried else []
    last = [call.failures[-1] for call in told if call.finish == "error" and call.failures]
    if not last or len(last) < len(told) or any(each.kind not in _REFUSALS for each in last):
        return ""
    return f"{last[0].kind}: {last[0].message}"


def make_interventions(
    drawing: Drawing, planned: Sequence[Planned], sampling: Sampling
) -> list[Intervention]:
    """Lets the model go on from every replacement; equal ones are asked once."""
    different = list(dict.fromkeys(each.prompt for each in planned))
    replies = drawing.model.generate(different, sampling, watcher=drawing.watcher)
    drawing.calls += [completions[0] for completions in replies]
    found = {chat: row[0] for chat, row in zip(different, replies, strict=True)}
    return [_read(drawing, each, found[each.prompt]) for each in planned]


def _read(drawing: Drawing, planned: Planned, completion: Completion) -> Intervention:
    reading = parse(completion, drawing.template)
    opening = (drawing.template.solution or ("", ""))[0]
    verdict = to_case_frame(reading.label, ORDERS[planned.sample.order])
    why = ""
    if reading.status not in SCORED:
        verdict, why = None, str(reading.status)
    elif opening and opening in completion.text:
        verdict, why = None, "it began anew"  # an endpoint that answers, where it should go on
    return Intervention(
        item_id=planned.item.id,
        order=planned.sample.order,
        kind=planned.kind,
        inserted=planned.inserted,
        named=planned.named,
        agrees=planned.agrees,
        verdict_before=planned.sample.verdict or "",
        verdict_after=verdict,
        followed=None if verdict is None or planned.named is None else verdict == planned.named,
        right=None if verdict is None else verdict == planned.item.case.gold,
        text=completion.text,
        why=why,
    )


def intervention_report(
    made: Sequence[Intervention], *, left_out: Counter[str], seed: int
) -> InterventionReport:
    """The rates of every kind, with intervals over items."""
    by_kind = {kind: [each for each in made if each.kind == kind] for kind in KINDS}
    new = [each for each in by_kind["swap"] if not each.agrees]
    return InterventionReport(
        follow_rate=_numbers(by_kind["swap"], seed).followed,
        switch_rate=_numbers(new, seed).followed,
        kinds={kind: _numbers(some, seed) for kind, some in by_kind.items() if some},
        left_out=dict(left_out),
    )


def _numbers(made: Sequence[Intervention], seed: int) -> KindNumbers:
    by_item: dict[str, list[Intervention]] = {}
    for each in made:
        by_item.setdefault(each.item_id, []).append(each)
    rows = list(by_item.values())

    def rate(value: Callable[[Intervention], bool | None]) -> Estimate:
        known = [[told for told in map(value, row) if told is not None] for row in rows]
        return ratio([sum(row) for row in known], [len(row) for row in known], seed=seed)

    return KindNumbers(
        num_items=len(rows),
        num_made=len(made),
        read=rate(lambda each: each.verdict_after is not None),
        changed=rate(lambda each: each.changed),
        right=rate(lambda each: each.right),
        followed=rate(lambda each: each.followed),
    )
