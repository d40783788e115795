"""The child process that math-verify lives in."""

import json
import subprocess
import sys

_NOISY = """
from planish.tasks import mathematics

def answer(target, reply):
    print("a library says hello")
    return {"parsed": True}

mathematics._answer = answer
mathematics._serve()
"""


def test_what_a_library_prints_is_no_answer():
    done = subprocess.run(
        [sys.executable, "-c", _NOISY],
        input=json.dumps({"target": "1"}) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"parsed": True}]
