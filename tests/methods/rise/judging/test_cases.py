"""What is told of cases before anybody is asked about them."""

import pytest

from planish.judges import Case
from planish.methods.rise.judging import cases as module
from planish.records import Example, user
from planish.runs.console import Screen


@pytest.mark.parametrize(
    ("count", "told"), [(1, "1 pair has identical"), (2, "2 pairs have identical")]
)
def test_identical_replies_are_told_and_kept(capsys, monkeypatch, count, told):
    pairs = [
        Case(
            example=Example(
                id=f"p{n}", prompt=user("2 + 2?"), meta={"identical": n < count, "gold": "A"}
            ),
            replies=("4", "4" if n < count else "5"),
        )
        for n in range(3)
    ]
    monkeypatch.setattr(module, "read_pairs", lambda path, format: pairs)
    assert module.read_cases("pairs.jsonl", "auto", None, Screen(json=True)) == pairs
    assert f"{told} replies, first p0: counted" in " ".join(capsys.readouterr().err.split())
