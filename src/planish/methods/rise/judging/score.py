"""Stage `score`: recorded outputs of any judge, scored as published and as they are.

planish rise score outputs.jsonl --pairs pairs.jsonl --format judgebench
planish rise score outputs.jsonl --pairs pairs.jsonl --parse planish --mode honest
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from planish.judges import PARSERS, Case, Judgment, Template, agreement, load_template
from planish.judges.aggregate import Aggregate, list_judgment, pair_judgment
from planish.judges.agreement import Mode
from planish.judges.base import SCORED, Call, ParsedReply
from planish.judges.formats import Format, RecordedOutput, match, read_outputs, read_pairs
from planish.judges.formats.leaderboard import leaderboard
from planish.judges.formats.rewardbench import credit, output_credit
from planish.judges.pages import covered, headline, show_agreement
from planish.judges.recording import record_scores
from planish.judges.templates import ANY_CHOICE, named
from planish.methods.rise.judging.pages import show_leaderboard, show_parsers, write_report
from planish.records import BadInput, Completion
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.options import RUNS, Count, Json, RunsDir, Seed, Share
from planish.stats import Estimate

__all__ = ["Source", "compare_parsers", "judgment_of", "score"]

Source = Literal["recorded", "planish", "arena_hard", "rm_r1"]

_ANY = Template(name="any", user="{{ question }}{{ reply_a }}{{ reply_b }}", labels=ANY_CHOICE)


def score(
    outputs: Path,
    /,
    *,
    pairs: Path,
    limit: Count | None = None,
    format: Format = "auto",
    parse: Source | None = None,
    mode: Mode = "official",
    template: str | None = None,
    aggregate: Aggregate = "vote",
    one_order: Annotated[bool, Parameter(negative="")] = False,
    min_coverage: Share = 0.9,
    seed: Seed = 0,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> None:
    """Score recorded judge outputs against the pairs they were made from.

    Args:
        outputs: What the judge said: JudgeBench or RewardBench outputs, or a run's records.jsonl.
        pairs: The pairs that were judged.
        limit: Only the first so many pairs.
        format: How the outputs (and a benchmark's pairs) are written; told from the first row.
        parse: Take the recorded decisions (default where there are any), or read the texts anew.
        mode: official counts as the benchmark does, honest leaves what could not be read unscored.
        template: The judge prompt whose labels are the menu; any shipped label if left out.
        aggregate: How the calls on one pair become one outcome.
        one_order: Accept outputs that hold only one order of each pair.
        min_coverage: Below this coverage no headline is printed.
        seed: Seed of the intervals.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    screen = Screen(json=json)
    # Our own judgments may be about pairs of any format.
    cases = read_pairs(pairs, "auto" if format == "planish" else format)[:limit]
    matched = match(cases, read_outputs(outputs, format), source=str(outputs))
    menu = load_template(template) if template else None
    source = parse or ("recorded" if any(output.decisions for _, output in matched) else "planish")
    plan = {
        "outputs": str(outputs.resolve()),
        "pairs": str(pairs.resolve()),
        "limit": limit,
        "format": format,
        "parse": source,
        "mode": mode,
        "template": template,
        "aggregate": aggregate,
        "min_coverage": min_coverage,
    }
    judged = {
        case.id: judgment_of(case, output, source, menu, aggregate)
        for case, output in matched
        if output.perms
    }
    board = leaderboard(matched, lambda *found: _credit(judged, *found), mode, seed=seed)
    # A list, or a row that holds a credit or ratings, has no orders to look at.
    credits_only = len(judged) < len(cases) or any(len(case.replies) != 2 for case in cases)
    if credits_only and not board:
        raise BadInput(
            "holds credits, ratings or lists, and the pairs are not RewardBench's",
            where=str(outputs),
            fix="bring outputs with texts or decisions on pairs",
        )
    if not credits_only and not one_order:
        _need_both_orders(matched, outputs)
    slug = f"score-{outputs.name.partition('.')[0][:24]}"
    with Run.create("rise", slug, plan, seed=seed, root=runs, stage="score") as run:
        for judgment in judged.values():
            run.record("judgment", judgment, id=judgment.case_id)
        if credits_only:
            summary = _credits_only(run, plan, board, cases, screen)
        else:
            judgments = list(judged.values())
            parsers = compare_parsers(matched, menu or _ANY)
            result = agreement(cases, judgments, mode=mode, seed=seed)
            summary = {**board, **headline(result), "parse": source, "parsers": parsers}
            record_scores(run, cases, judgments)
            run.finish(**summary)
            write_report(
                run,
                cases,
                judgments,
                result,
                title=f"{outputs.name}, scored",
                subtitle=f"{pairs.name}, {source} verdicts, {mode} counting",
                min_coverage=min_coverage,
                parsers=parsers,
            )
            show_agreement(result, min_coverage, screen)
            show_parsers(parsers, source, screen)
        show_leaderboard(board, min_coverage, screen)
    screen.close(
        summary,
        run=run.path,
        report=run.report_path if run.report_path.exists() else "",
        then=[command("planish", "runs", "show", run.path)],
    )


def _credit(
    judged: Mapping[str, Judgment], case: Case, output: RecordedOutput, mode: Mode
) -> float | None:
    """What RewardBench gives for one row, whatever the row holds."""
    if case.id not in judged:
        return output_credit(case, output, mode)
    outcome = judged[case.id].outcome
    return credit(outcome, case.gold or "", None, mode, len(case.replies))


def _credits_only(
    run: Run, plan: Mapping[str, Any], board: dict[str, Any], cases: Sequence[Case], screen: Screen
) -> dict[str, Any]:
    none = Estimate(value=None)
    summary = {
        "num_cases": len(cases),
        "mode": plan["mode"],
        "vote_accuracy": board["credit"],
        "both_right": none,
        "consistency": none,
        "first_slot_rate": none,
        "coverage": board["credit_coverage"],
        **board,
    }
    run.finish(**summary)
    shown = {"coverage": board["credit_coverage"]}
    if covered(board["credit_coverage"], float(plan["min_coverage"])):
        shown["mean credit"] = board["credit"]
    screen.numbers(shown, title=f"{len(cases)} cases, {plan['mode']} counting, one credit each")
    return summary


def _need_both_orders(matched: Sequence[tuple[Case, RecordedOutput]], outputs: Path) -> None:
    single = [output for _, output in matched if not output.both_orders]
    if single:
        raise BadInput(
            f"{len(single)} of {len(matched)} pairs were judged in one order only",
            where=f"{outputs}:{single[0].line}",
            fix="judge them swapped as well, or score what there is with --one-order",
        )


def judgment_of(
    case: Case,
    output: RecordedOutput,
    source: Source,
    template: Template | None = None,
    aggregate: Aggregate = "vote",
) -> Judgment:
    """A recorded output as a judgment, by its own decisions or by reading its texts anew.

    Args:
        case: a pair or a list.
        output: with calls.
        source: "recorded", or the parser that reads the texts.
        template: whose labels are the menu; any shipped label if left out.
        aggregate: how the calls on a pair become one outcome.

    Raises:
        BadInput: no decision is recorded, or no text to read.
    """
    is_list = len(case.replies) != 2
    menu = template or (named("pick") if is_list else _ANY)
    calls = output.judgment.calls if output.judgment else _calls(case, output)
    if source == "recorded":
        if not output.decisions:
            raise BadInput(
                "holds no recorded decision",
                where=f"case {case.id}",
                fix="read the texts with --parse planish",
            )
        readings = [
            _recorded(call, decision, menu)
            for call, decision in zip(calls, output.decisions, strict=True)
        ]
    else:
        if not any(call.text or call.finish == "error" for call in calls):
            raise BadInput(
                "holds no text to read",
                where=f"case {case.id}",
                fix="take the recorded decisions with --parse recorded",
            )
        reader = PARSERS[source]
        readings = [reader(call.completion, menu, len(call.perm)) for call in calls]
    if is_list:
        return list_judgment(case.id, calls, readings, len(case.replies))
    return pair_judgment(case.id, calls, readings, aggregate)


def _calls(case: Case, output: RecordedOutput) -> tuple[Call, ...]:
    texts = output.texts or (None,) * len(output.perms)
    return tuple(
        Call(case_id=case.id, perm=perm, text=text or "")
        for perm, text in zip(output.perms, texts, strict=True)
    )


def _recorded(call: Call, decision: str | None, template: Template) -> ParsedReply:
    """The recorded decision; where it is null, the text's own status says why."""
    if decision is not None:
        return ParsedReply(status="tie" if decision == "tie" else "ok", label=decision)
    reading = PARSERS["planish"](call.completion, template, len(call.perm))
    if reading.status in SCORED:
        several = len(reading.distinct_labels) > 1
        return ParsedReply(
            status="conflicting" if several else "no_verdict",
            distinct_labels=reading.distinct_labels,
        )
    return reading


def compare_parsers(
    matched: Sequence[tuple[Case, RecordedOutput]], template: Template
) -> dict[str, dict[str, int]]:
    """How each parser's reading of the texts compares with the recorded decisions.

    A parser that reads none of the texts is for another form of output, and left out.

    Returns:
        Per parser: `calls`; `agree`, verdict or null alike; `resolved`, read where the record is
        null; `resolved_several_labels`, those of them whose text holds several labels; `lost`,
        null where the record decides; `different`. Empty where nothing can be compared.
    """
    rows = [
        (text, decision)
        for _, output in matched
        if output.decisions and output.texts
        for text, decision in zip(output.texts, output.decisions, strict=True)
        if text is not None
    ]
    if not rows:
        return {}
    decisive = sum(decision is not None for _, decision in rows)
    found: dict[str, dict[str, int]] = {}
    for name, reader in PARSERS.items():
        counts = dict.fromkeys(
            ("calls", "agree", "resolved", "resolved_several_labels", "lost", "different"), 0
        )
        for text, decision in rows:
            reading = reader(Completion(text=text), template, 2)
            counts["calls"] += 1
            if reading.label == decision:
                counts["agree"] += 1
            elif decision is None:
                counts["resolved"] += 1
                counts["resolved_several_labels"] += len(reading.distinct_labels) > 1
            else:
                counts["lost" if reading.label is None else "different"] += 1
        if counts["resolved"] or counts["different"] or counts["lost"] < decisive:
            found[name] = counts
    return found
