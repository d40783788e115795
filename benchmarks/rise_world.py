"""The tiny world of the `rise` benchmarks: judges that are right by luck as well as by work.

    base = build_base(seed=10, folder=Path("base-10"))
    cases = items("train", num_questions=2300, per_question=2, seed=0)
    rows = sft_rows(Teacher(careful=0.3, seed=0), cases)
    judge = fit("sft", base, rows, steps=75, learning_rate=2e-4, out=Path("judge"))
    measure(judge, report, seed=0).right

The authors, the teacher and the bases' corpus are `planish.embedded.authors`; a base is made as the
embedded apprentice is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planish.embedded.authors import Teacher, corpus
from planish.embedded.build_apprentice import CAREFUL
from planish.embedded.reasoner_model import build_tokenizer
from planish.embedded.reasoner_training import train_reader, train_solver
from planish.judges import Case, PairwiseJudge, agreement
from planish.judges.pairs import ORDERS, JudgePair, JudgeRow, judge_draws
from planish.judges.scalar import ScalarJudge
from planish.judges.templates import named
from planish.methods.rise.method import Item, Rules, Selection, select_dpo, select_sft, solves
from planish.models import load
from planish.models.local_loading import open_tokenizer
from planish.records import Sampling
from planish.stats import Estimate, ratio
from planish.tasks.chain import ChainTask, candidates
from planish.training import trl
from planish.training.callbacks import Recorder
from planish.training.rows import Encoder, Kind, Row, encode_all

__all__ = [
    "TASK",
    "Measured",
    "Teacher",
    "build_base",
    "chosen_row",
    "dpo_rows",
    "fit",
    "general_pairs",
    "general_rows",
    "items",
    "judged",
    "local",
    "measure",
    "measure_scalar",
    "preference_row",
    "save",
    "sft_rows",
    "solve_rate",
]

TASK = ChainTask(num_operands=3)
TEMPLATE = named("chain")
MAX_TOKENS = 16


def build_base(seed: int, folder: Path) -> Path:
    """A solver that has then read the corpus until it can judge like either author."""
    if not (folder / "config.json").is_file():
        save(train_reader(train_solver(seed).model, corpus(CAREFUL, seed), seed), folder)
    return folder


def save(model: Any, folder: Path) -> None:
    """As any loader opens it."""
    model.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)


def items(split: str, *, num_questions: int, per_question: int, seed: int) -> list[Case]:
    """Cases with gold: every question with several couples of a right and a wrong reply."""
    draw = random.Random(f"items/{split}/{seed}")
    cases = []
    for example in TASK.examples(split, num_questions, seed):
        for couple in range(per_question):
            right, wrong = candidates(example, seed=seed * 1000 + couple)
            gold = draw.choice("AB")
            named_example = example.model_copy(
                update={"id": f"{example.id}#{couple}", "meta": {**example.meta, "gold": gold}}
            )
            replies = (right, wrong) if gold == "A" else (wrong, right)
            cases.append(Case(example=named_example, replies=replies))
    return cases


def judged(model: Any, cases: Sequence[Case], *, samples: int, seed: int) -> list[Item]:
    """Every case with its draws, in both orders, at temperature 1."""
    sampling = Sampling(temperature=1.0, max_tokens=MAX_TOKENS, seed=seed)
    drawn = judge_draws(
        model,
        [(case, TEMPLATE) for case in cases],
        samples=samples,
        sampling=sampling,
        verify=solves,
    )
    return [Item(case, draws) for case, draws in zip(cases, drawn, strict=True)]


def local(folder: Path) -> Any:
    return load(f"hf:{folder}?batch_size=256")


def sft_rows(teacher: Any, cases: Sequence[Case], *, seed: int) -> list[JudgeRow]:
    """Stage 1: the teacher's judgments that name the gold reply, one per order, in mixed order."""
    chosen = select_sft(judged(teacher, cases, samples=1, seed=seed), Rules(seed=seed))
    return mixed(chosen.rows, seed)


def dpo_rows(found: Sequence[Item], *, seed: int, **rules: Any) -> Selection[JudgePair]:
    """Stage 2: right against wrong judgments of the items that are failed in either order."""
    chosen = select_dpo(found, Rules(seed=seed, **rules))
    chosen.rows = mixed(chosen.rows, seed)
    return chosen


def mixed(rows: Sequence[Any], seed: int) -> list[Any]:
    """In an order drawn by the seed, so that a prefix is a sample."""
    return random.Random(f"rows/{seed}").sample(list(rows), len(rows))


def encoded_row(row: JudgeRow | JudgePair | Row) -> Row:
    if isinstance(row, Row):
        return row
    replies = (row.completion,) if isinstance(row, JudgeRow) else (row.chosen, row.rejected)
    return Row(row.item_id, row.prompt, replies, row.gold, row.item_id)


def fit(
    kind: Kind,
    model: Path,
    rows: Sequence[Any],
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    out: Path,
    **settings: Any,
) -> Path:
    """Trains with the package's own trainer: a checkpoint from a checkpoint."""
    tokenizer, context = open_tokenizer(str(model))
    encoder = Encoder(tokenizer, str(model), whole=kind == "scalar")
    encoded = encode_all(
        [encoded_row(row) for row in rows], encoder, max_length=None, context=context
    )
    trl.train(
        kind,
        str(model),
        encoded,
        trl.Settings(
            learning_rate=learning_rate,
            num_steps=steps,
            batch_size=32,
            seed=seed,
            warmup=0.05,
            save_every=1_000_000,
            **settings,
        ),
        end_id=encoder.end_id,
        work=out.with_name(f"{out.name}.work"),
        out=out,
        recorder=Recorder(lambda step, numbers: None),
    )
    return out


@dataclass(frozen=True)
class Measured:
    """A judge on held-out cases, both orders. Rates are over all calls: unread is not right.

    Args:
        right: calls that name the gold reply.
        both_right: cases right in both orders.
        coverage: calls that were read.
        first_slot: read calls that name the first slot.
        own: calls whose own solution is right.
        tokens: written per case.
    """

    right: float
    both_right: float
    coverage: float
    first_slot: float
    own: float
    tokens: float


def measure(
    folder: Path, cases: Sequence[Case], *, seed: int, samples: int = 1, greedy: bool = False
) -> Measured:
    """Judges the cases in both orders, by votes of `samples` draws an order."""
    judge = PairwiseJudge(
        local(folder),
        TEMPLATE,
        samples=samples,
        sampling=Sampling(
            temperature=0.0 if greedy else 1.0, max_tokens=MAX_TOKENS, seed=1000 + seed
        ),
        seed=1000 + seed,
    )
    judgments = judge.judgments(cases)
    found = agreement(cases, judgments, mode="official", seed=seed)
    right = own = slots = 0
    for case, judged_case in zip(cases, judgments, strict=True):
        for perm in ORDERS.values():
            votes = [
                {case.gold: 1, None: 0}.get(vote, -1)
                for call, vote in zip(judged_case.calls, judged_case.votes, strict=True)
                if call.perm == perm
            ]
            right += sum(votes) > 0
            slots += 1
        for call in judged_case.calls:
            own += bool(solves(case, call.text.partition("V")[0]))
    return Measured(
        right=right / slots,
        both_right=found.both_right.value or 0.0,
        coverage=found.coverage.value or 0.0,
        first_slot=found.first_slot_rate.value or 0.0,
        own=own / (slots * samples),
        tokens=found.cost.completion_tokens / len(cases),
    )


def solve_rate(folder: Path, *, limit: int = 400, seed: int = 0) -> Estimate:
    """General ability: report questions solved alone, greedily."""
    examples = list(TASK.examples("report", limit, seed))
    sampling = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)
    replies = local(folder).generate([example.prompt for example in examples], sampling)
    right = [
        int(TASK.verify(example, reply.text).score == 1)
        for example, (reply,) in zip(examples, replies, strict=True)
    ]
    return ratio(right, [1] * len(right), seed=seed)


def general_rows(limit: int, *, seed: int) -> list[Row]:
    """Questions to solve with their gold replies: what a base must not forget, as SFT rows."""
    return [
        Row(example.id, example.prompt, (TASK.gold(example),), None, example.id)
        for example in TASK.examples("train", limit, 500 + seed)
    ]


def general_pairs(limit: int, *, seed: int) -> list[Row]:
    """The same as pairs: the gold reply against one with a slip."""
    return [
        Row(example.id, example.prompt, candidates(example, seed=seed), None, example.id)
        for example in TASK.examples("train", limit, 500 + seed)
    ]


def chosen_row(pair: JudgePair) -> Row:
    """The chosen judgment of a pair, to be imitated."""
    return Row(pair.item_id, pair.prompt, (pair.chosen,), pair.gold, pair.item_id)


def preference_row(case: Case) -> Row:
    """The item itself, for a reward head: the question, the gold reply and the other one."""
    gold = "AB".index(case.gold or "")
    replies = (case.replies[gold], case.replies[1 - gold])
    return Row(case.id, case.example.prompt, replies, None, case.id)


def measure_scalar(folder: Path, cases: Sequence[Case]) -> dict[str, float]:
    """A reward head on the cases; it sees no order."""
    judgments = ScalarJudge(str(folder), batch_size=256).judgments(cases)
    right = sum(
        judgment.outcome == case.gold for case, judgment in zip(cases, judgments, strict=True)
    )
    return {"right": right / len(cases), "both_right": right / len(cases), "coverage": 1.0}
