"""A diagnosis by name, on the screen, and as a page.

headline(found)             # what --json and run.json hold
show(found, screen)
write_report(run, found)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planish.judges.templates import question_text
from planish.methods.reheat.data import PromptSet
from planish.methods.reheat.measuring.estimating import COMPARED, Seen
from planish.methods.reheat.measuring.plan import Plan
from planish.methods.reheat.measuring.records import Diagnosis, PolicyNumbers
from planish.records import Cost
from planish.runs import Run
from planish.runs.console import Screen, flat
from planish.runs.report import Report
from planish.stats import Estimate, Paired

__all__ = ["Found", "headline", "show", "write_report"]

_SHOWN = 5  # prompts whose replies are printed
_EXCERPT = 400


@dataclass(frozen=True)
class Found:
    """A diagnosis as it is shown."""

    plan: Plan
    told: Diagnosis
    model: Seen
    reference: Seen | None
    replies: Mapping[str, Sequence[str]]
    report: PromptSet
    cost: Cost


_RATES: dict[str, str] = {
    "zero_variance": "groups without variance",
    "all_right": "groups all right",
    "unsolved": "groups all wrong (unsolved)",
    "greedy": "greedy accuracy",
    "distinct": "different replies in a group",
    "reach": "reach of unsolved prompts",
    "reached": "unsolved prompts reached at all",
    "readable": "replies with an answer",
    "cut": "replies that the budget ended",
    "coverage": "coverage (replies that came)",
}


def headline(found: Found) -> dict[str, Any]:
    """The numbers by the names that `--json` and run.json use."""
    plan, told = found.plan, found.told
    return {
        "sentence": told.sentence,
        "collapsed": told.collapsed,
        "entropy_reference": told.entropy_reference,
        "entropy_ratio": told.entropy_ratio,
        "level": told.level,
        "level_inside_interval": told.near,
        **_numbers(told.model),
        "num_unsolved": told.num_unsolved,
        "num_prompts": told.num_prompts,
        "model": plan.model,
        "reference_model": plan.reference,
        "samples": plan.samples,
        "reach_samples": plan.reach_samples,
        "reference": None if told.reference is None else flat(_numbers(told.reference)),
        "differences": {name: _difference(each) for name, each in told.differences.items()},
        "cost": found.cost.model_dump(),
    }


def _numbers(numbers: PolicyNumbers) -> dict[str, Any]:
    tokens = numbers.tokens
    return {
        "entropy": numbers.entropy,
        **{
            f"entropy_{name}": None if tokens is None else getattr(tokens, name)
            for name in ("p10", "p50", "p90")
        },
        "entropy_num_tokens": None if tokens is None else tokens.num_tokens,
        **{f"pass_at_{k}": value for k, value in numbers.pass_at.items()},
        **{name: getattr(numbers, name) for name in _RATES},
    }


def _difference(compared: Paired) -> dict[str, Any]:
    return {
        **flat({"difference": compared.difference}),
        "reference": compared.mean_a,
        "model": compared.mean_b,
        "n": compared.n,
        "left_out": compared.left_out,
    }


def _named(numbers: PolicyNumbers) -> dict[str, Estimate]:
    """Every rate in the order in which it is read."""
    found = {"entropy in nats": numbers.entropy}
    found |= {f"pass@{k}": value for k, value in numbers.pass_at.items()}
    return found | {name: getattr(numbers, key) for key, name in _RATES.items()}


def _sentences(found: Found) -> list[str]:
    """What the table cannot say."""
    plan, told = found.plan, found.told
    lines = []
    if told.level is not None:
        lines.append(
            f"below {told.level:.3g} nats ({plan.collapse_ratio:g} of the reference's "
            f"{told.entropy_reference}) it counts as collapsed; its entropy is {told.model.entropy}"
        )
    if told.near:
        lines.append(
            "that level lies inside the entropy's interval: raise --probe-prompts to tell for sure"
        )
    if plan.is_local and told.entropy_reference.value is None:
        lines.append(
            "whether that is low, only a healthy model can tell: give --reference with the model "
            "of before"
        )
    if told.entropy_reference.value == 0:
        lines.append("the reference has no entropy left: it is no healthy model")
    if plan.samples < 2 * plan.pass_k:
        lines.append(
            f"pass@{plan.pass_k} from {plan.samples} draws hangs on few of them: "
            f"--samples {2 * plan.pass_k} makes it steady"
        )
    return [*lines, *_reach(found)]


def _reach(found: Found) -> list[str]:
    plan, told = found.plan, found.told
    if not told.num_unsolved:
        return [f"every prompt was solved in {plan.samples} draws: nothing is out of reach"]
    lines = [
        f"{told.num_unsolved} of {told.num_prompts} prompts were not solved in {plan.samples} "
        f"draws: a fresh draw solves such a prompt with probability {told.model.reach}, and "
        f"{told.model.reached} of them are solved at least once in {plan.reach_samples}"
    ]
    if told.reference is not None and told.reference.reach.value is not None:
        gone = ": what of that is gone, the collapse destroyed" if told.collapsed else ""
        lines.append(
            f"the reference solves the same prompts with probability {told.reference.reach}, and "
            f"{told.reference.reached} of them at least once{gone}"
        )
    return lines


def _difference_rows(found: Found) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for key, each in found.told.differences.items():
        twice = key == "pass_at_k" and found.plan.pass_k == 1
        if each.n and not twice:
            name = COMPARED[key].replace("@k", f"@{found.plan.pass_k}")
            cells = (_short(each.mean_a), _short(each.mean_b), _signed(each.difference))
            rows.append((name, *cells, str(each.n)))
    return rows


_DIFFERENCE_COLUMNS = ("paired by prompt", "reference", "model", "difference", "prompts")


def _short(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _signed(estimate: Estimate) -> str:
    if estimate.value is None:
        return "n/a"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.3f}"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def show(found: Found, screen: Screen) -> None:
    """The diagnosis on the screen: the sentence first."""
    told = found.told
    screen.say(told.sentence)
    if told.reference is None:
        screen.numbers(_named(told.model))
    else:
        theirs = _named(told.reference)
        rows = [(name, str(each), str(theirs[name])) for name, each in _named(told.model).items()]
        screen.table(("", "model", "reference"), rows)
        screen.table(_DIFFERENCE_COLUMNS, _difference_rows(found))
    for line in _sentences(found):
        screen.say(line)


def write_report(run: Run, found: Found) -> None:
    """The page of a run."""
    plan, told = found.plan, found.told
    page = Report(
        f"{plan.model}: {told.sentence}",
        subtitle=f"{plan.source}, {told.num_prompts} prompts with {plan.samples} draws each at "
        "temperature 1",
        run=run,
        tiny=plan.is_tiny,
    )
    page.numbers(
        {
            "entropy (nats)": told.model.entropy,
            **({} if told.collapsed is None else {"of the reference's": told.entropy_ratio}),
            "groups without variance": told.model.zero_variance,
            "pass@1": told.model.pass_at[1],
            f"pass@{plan.pass_k}": told.model.pass_at[plan.pass_k],
            "reach of the unsolved": told.model.reach,
        }
    )
    page.section("What was found", "\n".join(f"- {line}" for line in _sentences(found)))
    _add_entropy(page, found)
    _add_passes(page, found)
    theirs = None if told.reference is None else _named(told.reference)
    rows = [
        (name, each, *(() if theirs is None else (theirs[name],)))
        for name, each in _named(told.model).items()
    ]
    page.section("Every rate", "With 95 % intervals over prompts.")
    page.table(("", "model", *(() if theirs is None else ("reference",))), rows)
    if told.differences:
        page.section("Model against reference", f"The reference is {plan.reference}.")
        page.table(_DIFFERENCE_COLUMNS, _difference_rows(found))
    _add_unsolved(page, found)
    page.save(run.report_path)


def _add_entropy(page: Report, found: Found) -> None:
    from planish.runs.plots import interval_plot

    told = found.told
    both = {"model": told.model, "reference": told.reference}
    known = {name: each for name, each in both.items() if each is not None and each.tokens}
    if not known:
        return
    page.section(
        "Entropy",
        "Exact, over the whole vocabulary, at temperature 1: the mean over the tokens of one fresh "
        "reply to every prompt of the probe, with its interval over prompts.",
    )
    rows: list[tuple[str, Any, float | None]] = [
        (name, each.entropy, None) for name, each in known.items()
    ]
    if found.plan.reference_entropy is not None:
        rows.append(("reference, as given", told.entropy_reference, None))
    level = "" if told.level is None else f" Below {told.level:.3g} it counts as collapsed."
    page.figure(
        interval_plot(rows, xlabel="nats"),
        f"Entropy of the policies.{level}",
        "Dots with intervals for the entropy of model and reference",
    )
    page.table(
        ("over tokens", "mean", "10 % below", "median", "90 % below", "tokens"),
        [
            (
                name,
                each.tokens.mean,
                each.tokens.p10,
                each.tokens.p50,
                each.tokens.p90,
                each.tokens.num_tokens,
            )
            for name, each in known.items()
            if each.tokens
        ],
    )


def _add_passes(page: Report, found: Found) -> None:
    from planish.runs.plots import Series, line_plot

    both = {"model": found.told.model, "reference": found.told.reference}
    lines = []
    for name, numbers in both.items():
        told = (
            {}
            if numbers is None
            else {k: each for k, each in numbers.pass_at.items() if each.value is not None}
        )
        if told:
            each = list(told.values())
            lines.append(
                Series(
                    name,
                    list(told),
                    [estimate.value or 0.0 for estimate in each],
                    [estimate.low or 0.0 for estimate in each],
                    [estimate.high or 0.0 for estimate in each],
                )
            )
    page.section(
        "What more draws are worth",
        "pass@k is the chance that one of k draws is right. Where samples are all alike the curve "
        "is flat.",
    )
    page.figure(
        line_plot(lines, xlabel="k", ylabel="pass@k", ylim=(0.0, 1.0), doubling=True),
        "pass@k with 95 % intervals over prompts.",
        "A line of pass at k over k for each policy",
    )


def _add_unsolved(page: Report, found: Found) -> None:
    hard = [row for row in found.model.rows if row.reach_n is not None]
    if not hard:
        return
    theirs = {row.item_id: row for row in (found.reference.rows if found.reference else ())}

    def reached(row: Any) -> str:
        return "" if row is None or row.reach_n is None else f"{row.reach_c} of {row.reach_n}"

    page.section(
        "Unsolved prompts",
        "Fresh draws that solved a prompt which none of the model's own draws had solved. What "
        "nothing reaches, no reward can reinforce.",
    )
    columns = ("prompt", "model", *(("reference",) if found.reference else ()))
    page.details(
        f"all {len(hard)} of them",
        columns=columns,
        rows=[
            (
                row.item_id,
                reached(row),
                *((reached(theirs.get(row.item_id)),) if found.reference else ()),
            )
            for row in hard
        ],
    )
    questions = {example.id: question_text(example.prompt) for example in found.report.examples}
    for row in hard[:_SHOWN]:
        texts = found.replies.get(row.item_id, ())
        counts = {text: list(texts).count(text) for text in texts}
        common = sorted(counts.items(), key=lambda each: -each[1])[:_SHOWN]
        told = "\n\n".join(f"{count} x {text[:_EXCERPT]}" for text, count in common)
        page.details(
            f"{row.item_id}: {row.distinct} different replies in {row.n}",
            f"question: {questions[row.item_id][:_EXCERPT]}\n\n{told}",
        )
