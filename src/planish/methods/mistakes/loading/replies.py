"""What a model is asked for a task, and which code its reply holds.

    chat = chat_of(task)
    code_of("Here it is:\\n```python\\ndef f(x):\\n    return x\\n```", task)

A reply may hold no fence, several, or one that is never closed; it may give the whole function,
its body alone, or the class around it. What the prompt has defined and the reply takes for granted,
such as an import, is put before the code. Where nothing can be read the reply itself is the code:
that it does not run is then what is found.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.loading.sources import bindings, defined, free_names, parse
from planish.records import Chat, Message

__all__ = ["SYSTEM", "chat_of", "code_of", "function_name"]

SYSTEM = (
    "You write Python. Answer with one code block that holds the whole function and whatever it "
    "needs, such as imports. No examples of use, no tests."
)

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\r\n]*)\r?$")
_PYTHON = frozenset({"", "python", "python3", "py", "py3", "pycon", "ipython"})
_BEGIN = re.compile(r"^(from |import |def |async def |class |@)")
_MOST_TRIES = 400  # lines that may be dropped at either end of a reply without fences


def chat_of(task: CodeTask, prompt: str | None = None) -> Chat:
    """What a chat model is asked.

    Args:
        prompt: in place of the task's own, such as an edited one.
    """
    name = function_name(task)
    shown = task.prompt if prompt is None else prompt
    words = f"Write the function `{name}`.\n\n"
    if parse(shown) is not None or parse(f"{shown.rstrip()}\n    pass\n") is not None:
        words = f"Complete the function `{name}`.\n\n"
        shown = f"```python\n{shown.strip()}\n```"
    return (
        Message(role="system", content=SYSTEM),
        Message(role="user", content=f"{words}{shown.strip()}\n"),
    )


def function_name(task: CodeTask) -> str:
    """The function that is to be written: of a project, the one that its reference defines."""
    if not task.template:
        return task.entry_point.rpartition(":")[2]
    tree = parse(_level(task.reference))
    functions = [
        each.name
        for each in (tree.body if tree else [])
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    wanted = task.entry_point.rpartition(":")[2]
    return wanted if wanted in functions or not functions else functions[-1]


def code_of(reply: str, task: CodeTask) -> str:
    """The code of a reply: the block that defines the function, the last one of several.

    Args:
        reply: a model's, as it came.
        task: whose function is asked for; its prompt is what the reply may take for granted.
    """
    name = function_name(task)
    reply = reply.replace("\r\n", "\n")
    blocks = list(_blocks(reply))
    texts = [block.text for block in blocks if block.python] or [block.text for block in blocks]
    for text in reversed(texts):
        if found := _function_in(text, name, task):
            earlier = texts[: texts.index(text)]
            return _completed(found, [task.prompt, *earlier], name, task)
    for text in reversed(texts):
        if found := _continued(text, task, name):
            return found
    if blocks:
        # Broken code is still code: whoever reads the failure wants to see it.
        named = [text for text in texts if re.search(rf"\bdef\s+{re.escape(name)}\b", text)]
        return (named or [max(texts, key=len)])[-1]
    return _unfenced(reply, task, name)


# ---- blocks ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Block:
    text: str
    python: bool


def _blocks(reply: str) -> Iterator[_Block]:
    """Fenced blocks in their order; one that is never closed goes to the end."""
    opened: re.Match[str] | None = None
    lines: list[str] = []
    for line in reply.split("\n"):
        fence = _FENCE.match(line)
        if opened is None:
            if fence:
                opened, lines = fence, []
        elif fence and _closes(fence, opened):
            yield _block(opened, lines)
            opened = None
        else:
            lines.append(line)
    if opened is not None:
        yield _block(opened, lines)


def _closes(fence: re.Match[str], opened: re.Match[str]) -> bool:
    mark = fence["fence"]
    return (
        not fence["info"].strip()
        and mark[0] == opened["fence"][0]
        and len(mark) >= len(opened["fence"])
        # Deeper than it was opened, it is a line of a text inside the code.
        and len(fence["indent"]) <= len(opened["indent"])
    )


def _block(opened: re.Match[str], lines: Sequence[str]) -> _Block:
    indent = opened["indent"]
    kept = [line.removeprefix(indent) for line in lines]
    language = opened["info"].strip().split(" ")[0].strip("{}.").lower()
    return _Block("\n".join(kept).rstrip() + "\n", language in _PYTHON)


# ---- the function in a text ------------------------------------------------------------------


def _level(text: str) -> str:
    """The text at the left edge; one that is there already is not touched, blank lines included."""
    return text if parse(text) is not None else textwrap.dedent(text)


def _function_in(text: str, name: str, task: CodeTask) -> str:
    """The text if it defines the function at its top; the method if it is in a class; or ""."""
    text = _level(text).strip("\n") + "\n"
    tree = parse(text)
    if tree is None:
        return ""
    if any(name in bindings(statement) for statement in tree.body):
        return text
    if not task.template:
        return ""
    for statement in tree.body:
        for inner in statement.body if isinstance(statement, ast.ClassDef) else ():
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner.name == name:
                first = min([inner.lineno, *(each.lineno for each in inner.decorator_list)])
                lines = text.split("\n")[first - 1 : inner.end_lineno]
                return textwrap.dedent("\n".join(lines)) + "\n"
    return ""


def _completed(code: str, others: Sequence[str], name: str, task: CodeTask) -> str:
    """The code, after those statements of the other texts whose names it takes for granted."""
    if task.template:
        return code  # the module around it has them
    offered = [
        (statement, text)
        for text in map(_level, others)
        if (tree := parse(text)) is not None
        for statement in tree.body
        if bindings(statement) and name not in bindings(statement)
    ]
    wanted = set(free_names(code))
    taken: list[str] = []
    for statement, text in reversed(offered):
        if wanted & bindings(statement):
            source = _source(statement, text)
            taken.insert(0, source)
            wanted = (wanted - bindings(statement)) | free_names(source)
    return code if not taken else _joined(taken, code)


def _source(statement: ast.stmt, text: str) -> str:
    """The statement as it stands in the text, its decorators included."""
    marks = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(mark.lineno for mark in marks)])
    if first == statement.lineno:  # others may share its line
        return ast.get_source_segment(text, statement) or ""
    return "\n".join(text.split("\n")[first - 1 : statement.end_lineno])


def _joined(taken: Sequence[str], code: str) -> str:
    future = [line for line in code.split("\n") if line.startswith("from __future__ import")]
    for line in future:  # must stay the first statement
        code = code.replace(f"{line}\n", "", 1)
    return "\n".join([*future, *taken]) + "\n\n\n" + code.lstrip("\n")


def _continued(text: str, task: CodeTask, name: str) -> str:
    """The prompt with a body put after it, if that gives the function a body; or ""."""
    if task.template or name not in defined(task.prompt) | _stub(task.prompt):
        return ""
    bodies = [text.strip("\n")]
    # A statement at the left edge may be anything; one that returns belongs into a function.
    flat = parse(_level(bodies[0]))
    if flat and _leaves(flat):
        bodies.append(textwrap.indent(_level(bodies[0]), "    "))
    for each in bodies:
        whole = f"{task.prompt.rstrip()}\n{each}\n"
        tree = parse(whole)
        functions = [one for one in tree.body if name in bindings(one)] if tree else []
        if tree and functions and tree.body[-1] is functions[-1] and _has_body(functions[-1]):
            return whole
    return ""


def _leaves(tree: ast.Module) -> bool:
    """Whether there is a return, yield or raise that is in no function."""
    inside = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Return | ast.Yield | ast.Raise):
            return True
        todo.extend(each for each in ast.iter_child_nodes(node) if not isinstance(each, inside))
    return False


def _stub(prompt: str) -> frozenset[str]:
    """What a prompt defines that ends after a signature."""
    return defined(f"{prompt.rstrip()}\n    pass\n")


def _has_body(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    first = statement.body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return len(statement.body) > is_text


def _unfenced(reply: str, task: CodeTask, name: str) -> str:
    """Code with words before or after it, or nothing but code."""
    if found := _function_in(reply, name, task):
        return _completed(found, [task.prompt], name, task)
    if found := _continued(reply, task, name):
        return found
    lines = reply.split("\n")
    begins = [number for number, line in enumerate(lines) if _BEGIN.match(line)]
    for begin in begins[:_MOST_TRIES]:
        end = len(lines)
        for _ in range(_MOST_TRIES):
            text = "\n".join(lines[begin:end]) + "\n"
            if not re.search(rf"\bdef\s+{re.escape(name)}\b", text):
                break
            if found := _function_in(text, name, task):
                return _completed(found, [task.prompt], name, task)
            end -= 1
    return reply
