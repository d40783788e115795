"""Judge prompts of many kinds (role, language, criteria, output form), and rows on disk.

    >>> template = drawn_template("item-7", seed=0)
    >>> template == drawn_template("item-7", seed=0)
    True

A judge that saw one prompt only learns that prompt. Each item gets one of 360, by a hash of the
seed and its id: the same in both orders, in both stages, and whatever other items there are.
Templates are ordinary ones, so the ordinary parser reads their labels. As in the method's public
code there is no system turn.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from planish.judges.templates import Template, load_template
from planish.methods.rise.method import Drops
from planish.models.wire import clean
from planish.records import BadInput, write_jsonl

__all__ = [
    "DIVERSE",
    "FORMS",
    "Style",
    "check_free",
    "drawn_template",
    "fixed_template",
    "make_folder",
    "style_template",
    "styles",
    "write_rows",
]

DIVERSE = "diverse"
"""What `--template` says to draw one per item."""

Language = Literal["en", "zh"]
_LANGUAGES: tuple[Language, ...] = ("en", "zh")

_ROLES: dict[str, dict[Language, str]] = {
    "nobody": {"en": "", "zh": ""},
    "referee": {
        "en": "You are a referee between two AI assistants, with no stake in who wins.\n",
        "zh": "你是两个人工智能助手之间的裁判，与胜负没有任何利害关系。\n",
    },
    "teacher": {
        "en": "You are a teacher who marks two students' work on the same task.\n",
        "zh": "你是一位老师，正在批改两名学生对同一道题的作答。\n",
    },
    "expert": {
        "en": "You are an expert in the field of the question and check two answers for a "
        "colleague.\n",
        "zh": "你是这个领域的专家，正在替同事核对两份回答。\n",
    },
    "editor": {
        "en": "You are an editor and can publish only one of two drafts.\n",
        "zh": "你是一名编辑，两份稿件中只能发表一份。\n",
    },
    "asker": {
        "en": "You asked the question below and received two replies.\n",
        "zh": "下面的问题是你提出的，你收到了两个回复。\n",
    },
}

# Gold mostly knows what is right: every list starts there, so that no prompt contradicts it.
_CRITERIA: dict[str, dict[Language, str]] = {
    "correct": {
        "en": "above all whether what is said is correct",
        "zh": "内容是否正确，这一点最重要",
    },
    "instructions": {
        "en": "correctness first, then whether every part of the instruction was followed",
        "zh": "首先是正确性，其次是是否完整地遵循了指令",
    },
    "steps": {
        "en": "correctness first, then whether each step follows from the one before",
        "zh": "首先是正确性，其次是每一步推理是否成立",
    },
    "helpful": {
        "en": "correctness first, then how much the reply helps whoever asked",
        "zh": "首先是正确性，其次是对提问者有多大帮助",
    },
    "safe": {
        "en": "correctness first, and that a harmful request is declined and a harmless one is not",
        "zh": "首先是正确性，同时有害的请求应当拒绝，无害的请求不应拒绝",
    },
    "relevant": {
        "en": "correctness first, then whether the reply keeps to the question; length is no merit",
        "zh": "首先是正确性，其次是是否切题；篇幅长短不是优点",
    },
}

_TASK: dict[Language, str] = {
    "en": "Decide which of two replies to the question is better. Weigh {{ criteria }}. Their "
    "order says nothing.\n",
    "zh": "请判断对同一问题的两个回复哪一个更好。评判依据：{{ criteria }}。"
    "先后顺序不说明任何问题。\n",
}

_FIELDS: dict[Language, tuple[str, str]] = {
    "en": ("A reference answer, known to be right:", "The question:"),
    "zh": ("已知正确的参考答案：", "问题："),
}


class _Form(NamedTuple):
    """How the judgment is to be written, and which labels it then holds."""

    labels: dict[str, str]
    ask: dict[Language, str]
    solution: tuple[str, str] | None = None


_AB = {"[[A]]": "A", "[[B]]": "B"}

FORMS: dict[str, _Form] = {
    "line": _Form(
        _AB,
        {
            "en": "Give your reasons. End with a line that holds only [[A]] or [[B]].",
            "zh": "请说明理由，最后单独一行只写 [[A]] 或 [[B]]。",
        },
    ),
    "points": _Form(
        _AB,
        {
            "en": "List in numbered points what each reply gets right and what it gets wrong. "
            "Then, on a line of its own: [[A]] if reply A is better, [[B]] if reply B is.",
            "zh": "请分条列出每个回复的对处和错处，然后单独一行给出结论："
            "回复 A 更好写 [[A]]，回复 B 更好写 [[B]]。",
        },
    ),
    "tags": _Form(
        _AB,
        {
            "en": "Write exactly this form:\n<critique> your comparison </critique>\n"
            "<verdict>[[A]]</verdict> or <verdict>[[B]]</verdict>",
            "zh": "请严格按以下格式书写：\n<critique> 你的比较 </critique>\n"
            "<verdict>[[A]]</verdict> 或 <verdict>[[B]]</verdict>",
        },
    ),
    "degrees": _Form(
        {
            "[[A>>B]]": "A",
            "[[A>B]]": "A",
            "[[A=B]]": "tie",
            "[[B>A]]": "B",
            "[[B>>A]]": "B",
        },
        {
            "en": "Compare them, then end with one label: [[A>>B]] (A far better), [[A>B]] (A "
            "better), [[A=B]] (no difference), [[B>A]] (B better) or [[B>>A]] (B far better).",
            "zh": "请先比较，最后写出一个标签：[[A>>B]]（A 好得多）、[[A>B]]（A 较好）、"
            "[[A=B]]（不相上下）、[[B>A]]（B 较好）或 [[B>>A]]（B 好得多）。",
        },
    ),
    "solve": _Form(
        _AB,
        {
            "en": "Before you compare, answer the question yourself. Write exactly this form:\n"
            "<solution> your own answer </solution>\n<critique> your comparison </critique>\n"
            "<verdict>[[A]]</verdict> or <verdict>[[B]]</verdict>",
            "zh": "比较之前请先自己作答，并严格按以下格式书写：\n"
            "<solution> 你自己的答案 </solution>\n<critique> 你的比较 </critique>\n"
            "<verdict>[[A]]</verdict> 或 <verdict>[[B]]</verdict>",
        },
        ("<solution>", "</solution>"),
    ),
}
"""Output forms by name."""


class Style(NamedTuple):
    """One way to ask; its parts name the entries of the tables above."""

    role: str
    language: Language
    criteria: str
    form: str


def styles(*, with_solution: bool = False) -> list[Style]:
    """Every way to ask; only those that ask for an own solution first, if that is needed."""
    forms = [name for name, form in FORMS.items() if form.solution or not with_solution]
    return [Style(*parts) for parts in itertools.product(_ROLES, _LANGUAGES, _CRITERIA, forms)]


@lru_cache(maxsize=1024)
def style_template(style: Style) -> Template:
    """The template of one style. Replies stand between lines <reply_a> and </reply_a>, ..."""
    role, language, criteria, form = style
    reference, question = _FIELDS[language]
    shown = "\n\n".join(
        f"<reply_{slot}>\n{{{{ reply_{slot} }}}}\n</reply_{slot}>" for slot in ("a", "b")
    )
    return Template(
        name=f"{DIVERSE}-{role}-{language}-{criteria}-{form}",
        criteria=_CRITERIA[criteria][language],
        labels=FORMS[form].labels,
        solution=FORMS[form].solution,
        user=(
            f"{_ROLES[role][language]}{_TASK[language]}\n"
            f"{{% if reference %}}\n{reference}\n<reference>\n{{{{ reference }}}}\n</reference>\n\n"
            f"{{% endif %}}\n{question}\n<question>\n{{{{ question }}}}\n</question>\n\n"
            f"{shown}\n\n{FORMS[form].ask[language]}"
        ),
    )


def drawn_template(item_id: str, *, seed: int, with_solution: bool = False) -> Template:
    """The template of one item: every part drawn evenly, by a hash of seed and id."""
    found = styles(with_solution=with_solution)
    digest = hashlib.sha256(f"style\0{seed}\0{item_id}".encode("utf-8", "surrogatepass")).digest()
    return style_template(found[int.from_bytes(digest[:8], "big") % len(found)])


def fixed_template(name: str, *, with_solution: bool = False) -> Template:
    """A shipped template or a file, for every item.

    Raises:
        BadInput: it is not for pairs, or asks for no solution where one is needed.
    """
    template = load_template(name)
    if template.kind != "choice":
        raise BadInput(
            f"is for a {template.kind}, not for pairs",
            where=f"template {name}",
            fix=f"use {DIVERSE}, or a pairwise template",
        )
    if with_solution and template.solution is None:
        raise BadInput(
            "asks for no solution of the judge's own",
            where=f"template {name}",
            fix=f"use {DIVERSE}, solve_first or chain, or leave out --require-solution and "
            "--prefer supported",
        )
    return template


def make_folder(path: Path) -> None:
    """Makes the folder that rows go to.

    Raises:
        BadInput: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"cannot be made a folder ({error.strerror})", where=f"--out {path}"
        ) from None


def check_free(folder: Path, name: str) -> None:
    """Refuses to write over rows that another run made.

    Raises:
        BadInput: the folder holds rows of this name.
    """
    if any((folder / f"{name}.{ending}").exists() for ending in ("jsonl", "parquet")):
        raise BadInput(
            f"holds {name} rows already", where=f"--out {folder}", fix="choose another folder"
        )


def write_rows(
    folder: Path, name: str, rows: Sequence[Mapping[str, Any]], drops: Drops
) -> list[Path]:
    """Writes `name.jsonl`, `name.parquet` and `name.dropped.jsonl`, each all or nothing.

    Half a surrogate pair, which JSON may hold, is no text: U+FFFD stands in its place.
    """
    rows = [_cleaned(row) for row in rows]
    lines, table = folder / f"{name}.jsonl", folder / f"{name}.parquet"
    dropped = folder / f"{name}.dropped.jsonl"
    write_jsonl(lines, rows)
    _write_parquet(table, rows)
    write_jsonl(
        dropped,
        [_cleaned({"item_id": item, "why": why}) for why, ids in drops.ids.items() for item in ids],
    )
    return [lines, table, dropped]


def _cleaned(row: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(clean(json.dumps(dict(row), ensure_ascii=False)))
    return found


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow
    from pyarrow import parquet

    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
