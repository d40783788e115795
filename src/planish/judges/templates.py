"""Judge prompts: what is asked, which labels are offered, and how a verdict looks.

A template is data. The replies are inserted as values, never rendered as templates, so that
nothing inside a candidate can change the prompt's structure or the parser's menu.

    >>> template = named("plain")
    >>> template.labels["[[A]]"]
    'A'
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from planish.judges.base import Case, letter
from planish.records import BadInput, Chat, Message, Record

__all__ = [
    "ANY_CHOICE",
    "LABEL",
    "TEMPLATES",
    "Template",
    "load_template",
    "named",
    "normal_label",
    "question_text",
    "template_name",
]

Kind = Literal["choice", "score", "pick", "ranking"]

_SLOTS: dict[Kind, tuple[str, ...]] = {
    "choice": ("question", "reply_a", "reply_b"),
    "score": ("question", "reply"),
    "pick": ("question", "replies"),
    "ranking": ("question", "replies"),
}


class Template(Record):
    """One judge prompt.

    Args:
        name: how it is called on the command line.
        kind: "choice" between two replies, "score" for one, "pick" the best of n, or a
            "ranking" of n.
        user: Jinja text of the user turn; fields `question`, `reference`, `criteria`, and the
            reply slots of the kind (`reply_a`, `reply_b` / `reply` / `replies`).
        system: the system turn, or "" for none.
        labels: well-formed label -> slot letter or "tie". Empty for scores, picks and rankings.
        criteria: what to weigh; inserted as `criteria`.
        scale: lowest and highest rating of a "score" template.
        prefix: what is forced before a label is read from the model's distribution.
        solution: two marks around the reply's own solution; ("", mark) starts at the beginning.
    """

    name: str
    kind: Kind = "choice"
    user: str
    system: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    criteria: str = ""
    scale: tuple[float, float] = (1, 10)
    prefix: str = "[["
    solution: tuple[str, str] | None = None

    @field_validator("labels")
    @classmethod
    def _readable(cls, labels: dict[str, str]) -> dict[str, str]:
        spelled = {}
        for label, slot in labels.items():
            found = LABEL.fullmatch(label)
            if not found:
                raise ValueError(f"no reply can be read as the label {label!r}; write [[A]]")
            if slot not in ("A", "B", "tie"):
                raise ValueError(f'{label!r} stands for {slot!r}; use "A", "B" or "tie"')
            spelled[f"[[{normal_label(found[1])}]]"] = slot
        return spelled

    @property
    def hash(self) -> str:
        """Short fingerprint of everything that shapes the prompt; stored with every call."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @property
    def choices(self) -> tuple[str, str]:
        """The two labels that mean slot A and slot B, as the model writes them."""
        by_slot = {slot: label for label, slot in reversed(self.labels.items())}
        return by_slot["A"], by_slot["B"]

    def render(self, case: Case, perm: Sequence[int]) -> Chat:
        """The chat for one call: slot `i` shows the case's reply `perm[i]`.

        Raises:
            BadInput: the template fails on this case.
        """
        replies = [case.replies[index] for index in perm]
        values: dict[str, Any] = {
            "question": question_text(case.example.prompt),
            "reference": case.reference,
            "criteria": self.criteria,
            "replies": [(letter(i), reply) for i, reply in enumerate(replies)],
        }
        if self.kind == "choice":
            values["reply_a"], values["reply_b"] = replies
        elif self.kind == "score":
            values["reply"] = replies[0]
        turns = [("system", self.system)] if self.system else []
        turns.append(("user", self.user))
        return tuple(
            Message.model_validate({"role": role, "content": _render(text, values, self.name)})
            for role, text in turns
        )


# What counts as a well-formed label, before asking whether it was offered. Prose in double
# brackets ("[[see above]]") is not a label; a letter, a comparison, a rating or "tie" is.
LABEL = re.compile(
    r"\[\[[ \t]*("
    r"[A-Za-z](?:[ \t]*[<>=]{1,2}[ \t]*[A-Za-z])*"
    r"|tie"
    r"|-?\d{1,4}(?:\.\d{1,4})?"
    r")[ \t]*\]\]",
    re.IGNORECASE,
)


def normal_label(label: str) -> str:
    """One spelling per label: no blanks, capitals, except the word "tie"."""
    squeezed = re.sub(r"[ \t]", "", label)
    return "tie" if squeezed.lower() == "tie" else squeezed.upper()


def question_text(prompt: Chat) -> str:
    """The question as one text: a single user turn as it is, a longer chat with its roles."""
    if len(prompt) == 1:
        return prompt[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in prompt)


@lru_cache(maxsize=64)
def _compile(text: str) -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    # Prompts are plain text for a model, not HTML: escaping would change what it reads.
    environment = SandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)


def _render(text: str, values: dict[str, Any], name: str) -> str:
    try:
        rendered: str = _compile(text).render(values)
    except Exception as error:  # whatever somebody's template does, it is their text to mend
        raise BadInput(f"the template does not render: {error}", where=f"template {name}") from None
    return rendered


_QUESTION = """\
{% if reference %}

A reference answer, known to be right:
<reference>
{{ reference }}
</reference>
{% endif %}

The question:
<question>
{{ question }}
</question>

"""

_PAIR = f"""\
{_QUESTION}<reply_a>
{{{{ reply_a }}}}
</reply_a>

<reply_b>
{{{{ reply_b }}}}
</reply_b>
"""

_LIST = f"""\
{_QUESTION}{{% for slot, reply in replies %}}
<reply_{{{{ slot | lower }}}}>
{{{{ reply }}}}
</reply_{{{{ slot | lower }}}}>

{{% endfor %}}"""

_AB = {"[[A]]": "A", "[[B]]": "B"}
_AB_TIE = {**_AB, "[[tie]]": "tie"}
_FIVE = {
    "[[A>>B]]": "A",
    "[[A>B]]": "A",
    "[[A=B]]": "tie",
    "[[B>A]]": "B",
    "[[B>>A]]": "B",
}
ANY_CHOICE: dict[str, str] = {**_AB_TIE, **_FIVE}
"""Every label of the shipped pairwise templates: the menu for outputs of an unknown prompt."""

_CORRECT = "correctness first, then how well the reply does what was asked"

TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        Template(
            name="plain",
            labels=_AB_TIE,
            criteria=_CORRECT,
            user="Two replies to the same question follow. Decide which is better; weigh "
            "{{ criteria }}. Neither the order of the replies nor their length is a reason.\n"
            + _PAIR
            + "\nExplain briefly, then end with one line that holds only your verdict: [[A]] if "
            "reply A is better, [[B]] if reply B is better, [[tie]] if they are equally good.",
        ),
        # After RISE-Judge's prompt as reward-bench runs it: no system turn, Chinese, stepwise.
        Template(
            name="rise",
            labels=_AB,
            criteria="是否遵循指令、内容是否准确；对有害请求应当拒绝；切题比篇幅和先后顺序更重要",
            user="请比较下面两个回复，判断哪一个更好。请逐步分析，重点考察：{{ criteria }}。\n"
            + _PAIR
            + "\n先写出分析过程，最后单独用一行给出结论："
            "回复 A 更好写 [[A]]，回复 B 更好写 [[B]]。",
        ),
        Template(
            name="arena_hard",
            labels=_FIVE,
            criteria=_CORRECT,
            system="You compare two assistants' replies to one prompt without favour. Before you "
            "compare, write your own answer to the prompt; then look for what each reply gets "
            "wrong, and weigh {{ criteria }}.",
            user=_PAIR.lstrip()
            + "\nEnd with exactly one of these labels: [[A>>B]] (A much better), [[A>B]] (A "
            "slightly better), [[A=B]] (about the same), [[B>A]] (B slightly better), [[B>>A]] "
            "(B much better).",
        ),
        # Solve-to-Judge: the model's own solution first, then the comparison (arXiv 2509.22099).
        Template(
            name="solve_first",
            labels=_AB,
            criteria=_CORRECT,
            solution=("<solution>", "</solution>"),
            user="First answer the question yourself, then judge two replies to it; weigh "
            "{{ criteria }}.\n"
            + _PAIR
            + "\nWrite exactly this form:\n<solution> your own answer </solution> <eval> your "
            "comparison </eval> <answer>[[A]]</answer> or <answer>[[B]]</answer>",
        ),
        # The toy world's grammar (tasks/chain): solution from J to V, then the verdict token.
        Template(
            name="chain",
            labels=_AB,
            user="Q {{ question }} A {{ reply_a }} B {{ reply_b }} J",
            prefix="",
            solution=("", " V"),
        ),
        Template(
            name="rating",
            kind="score",
            criteria=_CORRECT,
            user="Rate one reply to a question from 1 (useless) to 10 (could not be better); weigh "
            "{{ criteria }}.\n"
            + _QUESTION
            + "<reply>\n{{ reply }}\n</reply>\n\nExplain briefly, then end with one line that "
            "holds only the rating in double brackets, for instance [[7]].",
        ),
        Template(
            name="pick",
            kind="pick",
            criteria=_CORRECT,
            user="Several replies to the same question follow. Decide which is best; weigh "
            "{{ criteria }}.\n" + _LIST + "\nExplain briefly, then end with one line that holds "
            "only the best reply's letter in double brackets, for instance [[B]].",
        ),
        Template(
            name="ranking",
            kind="ranking",
            criteria=_CORRECT,
            user="Several replies to the same question follow. Rank them all; weigh "
            "{{ criteria }}.\n" + _LIST + "\nExplain briefly, then end with one line that holds "
            "only the letters in double brackets, best first, for instance [[B>A>C]].",
        ),
    )
}


def named(name: str) -> Template:
    """A shipped template.

    Raises:
        BadInput: no such template; the message lists those that exist.
    """
    if name not in TEMPLATES:
        raise BadInput(
            f"no template is called {name!r}",
            where="--template",
            fix=f"use one of {', '.join(TEMPLATES)}, or a file",
        )
    return TEMPLATES[name]


def load_template(name: str) -> Template:
    """A shipped template by name, or your own from a file.

    A file is Jinja text, or JSON with the fields of `Template`. Text that uses `reply_a` and
    `reply_b` becomes a pairwise template with the labels [[A]], [[B]] and, where the text
    offers it, [[tie]]; `reply` a rating from 1 to 10; `replies` a pick.

    Raises:
        BadInput: no such name or file, or a slot is missing.
    """
    path = Path(name)
    if name in TEMPLATES or not path.is_file():
        return named(name)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot be read ({error})", where=name, fix="save it as UTF-8") from None
    if path.suffix == ".json":
        from pydantic import ValidationError

        from planish.records import explain

        try:
            template = Template.model_validate_json(text)
        except ValidationError as error:
            raise BadInput(f"not a template: {explain(error)}", where=name) from None
    else:
        template = _from_text(path.stem, text)
    _check_slots(template, name)
    return template


def template_name(name: str) -> str:
    """A template as a plan keeps it: a file by its whole path, to be found from anywhere."""
    is_file = name not in TEMPLATES and Path(name).is_file()
    return str(Path(name).resolve()) if is_file else name


def _fields(text: str, where: str) -> set[str]:
    from jinja2 import Environment, TemplateSyntaxError, meta

    try:
        return set(meta.find_undeclared_variables(Environment().parse(text)))
    except TemplateSyntaxError as error:
        raise BadInput(
            f"not a Jinja template ({error.message})", where=f"{where}:{error.lineno}"
        ) from None


def _from_text(name: str, text: str) -> Template:
    fields = _fields(text, name)
    if "replies" in fields:
        return Template(name=name, kind="pick", user=text)
    if "reply" in fields:
        return Template(name=name, kind="score", user=text)
    labels = {label: slot for label, slot in ANY_CHOICE.items() if label in text}
    return Template(name=name, user=text, labels=labels)


def _check_slots(template: Template, where: str) -> None:
    fields = _fields(template.user, where)
    missing = [slot for slot in _SLOTS[template.kind] if slot not in fields]
    if missing:
        raise BadInput(
            f"the template lacks the slot {{{{ {missing[0]} }}}}",
            where=where,
            fix="a pairwise template needs question, reply_a and reply_b",
        )
    known = {*_SLOTS[template.kind], "reference", "criteria", "replies"}
    unknown = sorted((fields | _fields(template.system, where)) - known)
    if unknown:
        raise BadInput(
            f"the template uses an unknown field {{{{ {unknown[0]} }}}}",
            where=where,
            fix=f"known fields: {', '.join(sorted(known))}",
        )
    if template.kind == "choice" and not {"A", "B"} <= set(template.labels.values()):
        raise BadInput(
            "the template offers no label for both slots",
            where=where,
            fix="say in the text that the verdict is written [[A]] or [[B]]",
        )
    if template.kind == "score" and not template.scale[0] < template.scale[1]:
        raise BadInput("the rating scale is empty", where=where, fix="give it as [low, high]")
