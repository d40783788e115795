"""The same question to be solved alone, in the form that a judgment's own solution has.

    solve_chat(example, named("solve_first"))      # asks for <solution> your own answer </solution>
    answer_of("<solution> 7 2 </solution>", named("solve_first"))     # "7 2"

Were the forms different, the context tax would measure what a model makes of tags.
"""

from __future__ import annotations

from planish.judges.parse import hide_thinking, solution_in
from planish.judges.templates import Template, load_template
from planish.records import BadInput, Chat, Completion, Example

__all__ = [
    "alone_in",
    "answer_of",
    "solution_of",
    "solve_chat",
    "solving_template",
    "with_solution",
]


def solving_template(name: str) -> Template:
    """A pairwise template whose judgments hold a solution of their own.

    Raises:
        BadInput: no such template, or one that is for something else.
    """
    template = load_template(name)
    where, fix = f"--template {name}", "use solve_first or chain, or name its marks in a JSON file"
    if template.kind != "choice":
        raise BadInput(f"is for a {template.kind}, not for pairs", where=where, fix=fix)
    if template.solution is None:
        raise BadInput("asks for no solution of the judge's own", where=where, fix=fix)
    if not template.solution[1].strip():
        raise BadInput("does not say where a solution ends", where=where, fix=fix)
    return template


def solve_chat(example: Example, template: Template) -> Chat:
    """What is asked where the model solves alone.

    Marks around a solution are asked for as the judge's prompt asks for them; a template that has
    only a closing one is a grammar of its own, and the plain question is its solving.
    """
    opening, closing = template.solution or ("", "")
    if not opening:
        return example.prompt
    *before, last = example.prompt
    asks = f"\n\nWrite exactly this form:\n{opening} your own answer {closing}"
    return (*before, last.model_copy(update={"content": last.content + asks}))


def solution_of(text: str, template: Template) -> str | None:
    """What stands between the template's marks; None where they are missing."""
    return solution_in(text, template)


def answer_of(text: str, template: Template) -> str:
    """The answer of a reply to `solve_chat`: inside the marks, or all of it without them."""
    found = solution_in(text, template)
    return hide_thinking(text).strip() if found is None else found


def alone_in(completion: Completion, template: Template) -> str | None:
    """The answer of a reply to `solve_chat` that has its form, and has come to its end."""
    if completion.finish != "stop":
        return None
    opening, _ = template.solution or ("", "")
    return solution_of(completion.text, template) if opening else completion.text.strip() or None


def with_solution(text: str, template: Template, solution: str) -> str:
    """The beginning of a judgment up to the end of its solution, with another one in its place.

    What the judge wrote before its solution stays.

    Raises:
        ValueError: the text has no solution, or the new one holds one of the marks.
    """
    opening, closing = template.solution or ("", "")
    start = hide_thinking(text).find(opening)
    if solution_in(text, template) is None:
        raise ValueError("the text has no solution")
    if any(mark.strip() and mark.strip() in solution for mark in (opening, closing)):
        raise ValueError("the solution holds one of the marks")
    if not opening:
        return f"{solution}{closing}".strip()
    inside = f" {solution} " if solution else " "
    return f"{text[:start]}{opening}{inside}{closing}"
