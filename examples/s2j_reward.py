"""What a judgment that solves first earns: its form, its verdict and its own solution.

python examples/s2j_reward.py
"""

from planish import Completion
from planish.judges.templates import named
from planish.methods.s2j.method import ARMS, Parts, Weights, parts_of, reward

OUTPUTS = {
    "right twice": "<solution> 42 </solution> <eval> B is off. </eval> <answer>[[A]]</answer>",
    "right by luck": "<solution> 52 </solution> <eval> Hm. </eval> <answer>[[A]]</answer>",
    "knew, compared wrongly": "<solution> 42 </solution> <eval> Hm. </eval> <answer>[[B]]</answer>",
    "no form": "It is A, surely.",
}


def taken_apart(text: str, gold: str | None) -> Parts:
    return parts_of(
        Completion(text=text),
        named("solve_first"),
        gold=gold,
        verify=lambda solution: solution == "42",
    )


def shown(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def main() -> None:
    print(f"{'':24}" + "".join(f"{arm:>16}" for arm in ARMS))
    for name, text in OUTPUTS.items():
        parts = taken_apart(text, gold="A")
        earned = (reward(parts, arm, Weights()) for arm in ARMS)
        print(f"{name:24}" + "".join(f"{shown(each):>16}" for each in earned))
    # Where both candidates are wrong no verdict counts: that part is missing, and not 0.
    parts = taken_apart(OUTPUTS["right twice"], gold=None)
    earned = (reward(parts, arm, Weights()) for arm in ARMS)
    print(f"{'both candidates wrong':24}" + "".join(f"{shown(each):>16}" for each in earned))


if __name__ == "__main__":
    main()
