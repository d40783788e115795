"""What is found tame at a glance is found so by a reader, too, or is no Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_sandbox_tame import PLACES, TAME, WILD

from planish.tasks.sandbox.glance import glance
from planish.tasks.sandbox.tame import Tame, parsed, read

HIDING = [
    "# a\rimport os\n",
    "x = 1  # '\nimport os\n# '\n",
    "x = '' '\\''; import os; x = ''\n",
    "x = r'\\'; import os #'\n'\n",
    "x = 'a\\\n'; import os\n",
    "x = '''a'''; import os; '''b'''\n",
    "x = ''''a'''; import os\n",
    'x = """\'""" ; import os; "\'"\n',
    'x = """a\\""" ; import os #"""\nimport os\n',
    "x = f'{__import__}'\n",
    "x = rf'{eval}'\n",
    "x = f'{x!r:{eval}}'\n",
    "x = 1.0.__class__\n",
    "x = (1).__class__\n",
    "x = y.\\\n__class__\n",
    "x = (y.  # a\n__class__)\n",
    "x = y . __class__\n",
    "x = ｅｖａｌ('1')\n",
    "x = 0or eval\n",
    "x = [1,eval]\n",
    "import math, os\n",
    "import math as m, os\n",
    "from math import (pi,\n    __dict__)\n",
    "from math import pi; import os\n",
    "x = 1; import os\n",
    "if x: import os\n",
    "import math\nmath.pi = 3\n",
    "import math\n(math.pi) = 3\n",
    "import math\nfor math.pi in [3]: pass\n",
    "import math\n(x, math.pi) = 1, 2\n",
    "import math\ndel math . pi\n",
    "match x:\n    case 1: pass\n",
    "class A: pass\n",
    "type X = int\n",
    "def f[T](x): return x\n",
    "def f [T: eval](x): return x\n",
    "try: pass\nexcept* ValueError: pass\n",
    "try:\n    pass\nexcept(*x,): (yield)\n",
    "x = '{.real}'.format(1)\n",
    "x = (yield) if 1 else [0 for x in y]\ntry: pass\nexcept E: pass\n",
]  # fmt: skip


@pytest.mark.parametrize("code", [*WILD, *HIDING])
def test_what_is_not_tame_is_not_at_a_glance(code: str) -> None:
    assert _agree(code)
    assert _agree("def f(x):\n    return x\n\n\n" + code)
    assert glance(code) is None or not _is_python(code) or glance(code) == Tame(prints=True)


@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_tame_is_found_wherever_it_stands(place: str) -> None:
    assert glance(place.format("sorted")) is not None or "f'" in place
    for wild in ("eval", "x.__class__", "f(type)", "__name", "(lambda __x: 1)", "x.format(1)"):
        assert glance(place.format(wild)) is None


@pytest.mark.parametrize("code", TAME)
def test_what_is_tame_is_read_at_most(code: str) -> None:
    assert _agree(code)


def test_a_word_in_a_text_or_a_comment_is_no_word() -> None:
    code = (
        '"""import os"""\n\n\ndef f(x):\n    # eval(x)\n    return x.join(["type", r"\\d", b"a"])\n'
    )
    found = glance(code)
    assert found is not None
    assert not found.prints
    assert glance(code + "\n\nprint(f(1))\n") is not None
    assert glance(code + "\n\nprint(f(1))\n").prints  # type: ignore[union-attr]


PIECES = [
    "'", '"', "'''", '"""', "\\", "\n", "\r", "#", "r'", "f'", "b'", "{", "}", "(", ")", "[", "]",
    ".", " ", "\n    ", ",", ":", "=", "*", ";", "1", "1.", "0x", "x", "__class__", "pi", "append",
    "import os", "import math", "from math import pi", "eval", "print", "yield", "try:", "type",
    "except", "class A: pass", "format", "with x: pass", "ｅｖａｌ", "lambda: x", "def f[T](): 0",
]  # fmt: skip


@settings(max_examples=1500)
@given(
    st.sampled_from([*TAME, "print('a')\nx = \"b\"\n", "x = '''a'''  # b\ny = r'\\'\n"]),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(PIECES)), min_size=1, max_size=4),
)
@example("x = 'a'\n", [(5, "'")])
def test_whatever_is_put_into_a_program_both_agree(code: str, put: list[tuple[int, str]]) -> None:
    for place, piece in put:
        place %= len(code) + 1
        code = code[:place] + piece + code[place:]
    assert _agree(code)


@settings(max_examples=1500)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12))
def test_on_words_put_together_anyhow_both_agree(pieces: list[str]) -> None:
    assert _agree("".join(pieces))
    assert _agree(" ".join(pieces))


def test_most_recorded_programs_need_no_more_than_a_glance() -> None:
    from planish.methods.mistakes.loading import load_runs, load_tasks

    folders = [folder / "shared/data/mistakes" for folder in Path(__file__).parents]
    data = next((one for one in folders if one.is_dir()), None)
    if data is None:
        pytest.skip("the recorded runs are not here")
    tasks = tuple(load_tasks(str(data / "humaneval_tasks.jsonl.gz")))
    codes = {run.code for run in load_runs(data / "recorded_runs_a.jsonl.gz", tasks)}
    assert all(map(_agree, codes))
    plain = [code for code in codes if read(code)]
    assert sum(glance(code) is not None for code in plain) > 0.9 * len(plain)


def _agree(code: str) -> bool:
    """Whether a reader finds tame what is found so at a glance, and that it prints."""
    found = glance(code)
    if found is None or not _is_python(code):
        return True
    whole = read(code)
    return whole is not None and found.prints >= whole.prints


def _is_python(code: str) -> bool:
    try:
        parsed(code)
    except (SyntaxError, ValueError):
        return False
    return True
