"""The two stages in half a minute: a tiny judge learns from a fallible teacher, then from itself.

    lesson = teach(home=Path("lesson"), seed=0, screen=Screen())
    lesson.gain                            # right calls, after minus before
    lesson.against_sft                     # ... minus SFT on as many rows with as many steps

The pupil is `embedded:apprentice`, the teacher a mixture of careful and careless authors. Rows,
pairs and checkpoints stay in `home`. SFT on as many of the teacher's rows, with as many steps, is
the baseline that could win.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from planish.embedded import path as embedded
from planish.embedded.authors import Teacher
from planish.judges import Agreement, Case, Judgment, agreement
from planish.judges.pairs import JudgePair, JudgeRow, judge_draws, task_cases
from planish.judges.templates import named
from planish.methods.rise.config import Config
from planish.methods.rise.learning.config import TrainConfig
from planish.methods.rise.method import Item, Rules, select_dpo, select_sft, solves
from planish.models import load
from planish.models.base import LanguageModel, Steps
from planish.parallel import one_thread
from planish.records import Sampling, write_jsonl
from planish.runs.console import Screen
from planish.stats import Estimate, paired_bootstrap
from planish.tasks.ability import solve_rate
from planish.tasks.chain import ChainTask, candidates
from planish.training.rows import Encoder, Row, encode_all

__all__ = ["Lesson", "Recipe", "teach"]

Recipe = Literal["before", "SFT", "SFT, equal rows", "two stages", "two stages, supported"]

_CASES, _REPORT, _SAMPLES = 1000, 400, 8
_SFT_ROWS, _PAIRS, _GENERAL = 195, 390, 5
_CAREFUL = 0.3  # of the teacher's judgments; benchmarks/bench_rise.py tells what others do
_TOKENS = 16


@dataclass(frozen=True)
class Lesson:
    """What was taught and what came of it.

    Args:
        judged: the report pairs judged in both orders, before and after each recipe.
        gain: right calls of a case, two stages minus before.
        against_sft: the same, minus SFT at equal rows and steps.
        supported_against_sft: two stages with better supported pairs, minus the same.
        solved: general ability before and after: questions solved alone.
        rows: judgments of each stage, and of SFT alone; every recipe also sees one question to
            solve per five of them.
        hard: items that the judge failed after its first stage.
        checkpoint: the judge after both stages.
    """

    judged: Mapping[Recipe, Agreement]
    gain: Estimate
    against_sft: Estimate
    supported_against_sft: Estimate
    solved: Mapping[str, Estimate]
    rows: Mapping[str, int]
    hard: int
    checkpoint: Path


def teach(*, home: Path, seed: int, screen: Screen) -> Lesson:
    """Teaches the apprentice; under a minute on one core."""
    with one_thread():
        return _teach(home, seed, screen)


def _teach(home: Path, seed: int, screen: Screen) -> Lesson:
    task, start = ChainTask(num_operands=3), embedded("apprentice")
    cases = task_cases(task, split="train", limit=_CASES, seed=seed)
    report = task_cases(task, split="report", limit=_REPORT, seed=seed)
    rules = Rules(seed=seed, pairs_per_item=2)
    teacher = Teacher(careful=_CAREFUL, seed=seed)
    with screen.progress("the teacher judges", 2 * len(cases)) as step:
        rows = select_sft(_judgments(teacher, cases, samples=1, seed=seed, step=step), rules).rows
    rows = random.Random(seed).sample(rows, _SFT_ROWS + _PAIRS)
    first = _fit("sft", start, rows[:_SFT_ROWS], home / "sft", seed, screen)
    with screen.progress("the apprentice judges", 2 * _SAMPLES * len(cases)) as step:
        found = _judgments(_load(first), cases, samples=_SAMPLES, seed=seed, step=step)
    chosen = select_dpo(found, rules)
    pairs = _some(chosen.rows, seed)
    last = _fit("dpo", first, pairs, home / "judge", seed, screen)
    better = _some(select_dpo(found, replace(rules, prefer="supported")).rows, seed)
    best = _fit("dpo", first, better, home / "judge-supported", seed, screen)
    equal = rows[: _SFT_ROWS + len(pairs)]
    alone = _fit("sft", start, equal, home / "sft-alone", seed, screen, both=True)
    write_jsonl(home / "sft.jsonl", [row.row() for row in equal])
    write_jsonl(home / "dpo.jsonl", [pair.row() for pair in pairs])
    models: dict[Recipe, Path] = {
        "before": start,
        "SFT": first,
        "SFT, equal rows": alone,
        "two stages": last,
        "two stages, supported": best,
    }
    judged = {name: _judge(path, report, seed, screen) for name, path in models.items()}
    right = {name: _right(report, judgments) for name, judgments in judged.items()}
    after = right["two stages"]
    asked = Sampling(temperature=0.0, max_tokens=_TOKENS)
    return Lesson(
        judged={name: agreement(report, each, seed=seed) for name, each in judged.items()},
        gain=paired_bootstrap(after, right["before"], seed=seed),
        against_sft=paired_bootstrap(after, right["SFT, equal rows"], seed=seed),
        supported_against_sft=paired_bootstrap(
            right["two stages, supported"], right["SFT, equal rows"], seed=seed
        ),
        solved={
            name: solve_rate(_load(path), task, limit=400, seed=seed, sampling=asked).rate
            for name, path in (("before", start), ("after", last))
        },
        rows={"sft": _SFT_ROWS, "dpo": len(pairs), "alone": len(equal)},
        hard=len(chosen.hard),
        checkpoint=last,
    )


def _some(pairs: Sequence[JudgePair], seed: int) -> list[JudgePair]:
    return random.Random(seed).sample(pairs, min(_PAIRS, len(pairs)))


def _load(path: Path) -> LanguageModel:
    return load(f"hf:{path}?batch_size=256")


def _judgments(
    model: LanguageModel,
    cases: Sequence[Case],
    *,
    samples: int,
    seed: int,
    step: Callable[[], None],
) -> list[Item]:
    template = named("chain")
    drawn = judge_draws(
        model,
        [(case, template) for case in cases],
        samples=samples,
        sampling=Sampling(temperature=1.0, max_tokens=_TOKENS, seed=seed),
        verify=solves,
        watcher=Steps(step),
    )
    return [Item(case, draws) for case, draws in zip(cases, drawn, strict=True)]


def _fit(
    stage: Literal["sft", "dpo"],
    start: Path,
    judgments: Sequence[JudgeRow | JudgePair],
    out: Path,
    seed: int,
    screen: Screen,
    *,
    both: bool = False,
) -> Path:
    """One stage of the preset `tiny`; with `both`, the steps of the two.

    Per five judgments there is a question to solve: a judge must not unlearn its other work.
    """
    from planish.models.local_loading import open_tokenizer
    from planish.training import trl
    from planish.training.callbacks import Recorder

    tokenizer, context = open_tokenizer(str(start))
    encoder = Encoder(tokenizer, str(start))
    rows = [*map(_row, judgments), *_general(stage, len(judgments) // _GENERAL, seed)]
    config = TrainConfig.tiny()
    steps = config.num_steps(stage, len(rows))
    if both:
        steps += config.num_steps("dpo", len(rows))
    with screen.progress(f"{stage.upper()} on {len(rows)} rows", steps) as step:
        trl.train(
            stage,
            str(start),
            encode_all(rows, encoder, max_length=None, context=context),
            trl.Settings(
                learning_rate=getattr(config, f"{stage}_learning_rate"),
                num_steps=steps,
                batch_size=config.batch_size(stage),
                seed=seed,
                schedule=config.schedule,
                warmup=config.warmup,
                beta=config.beta,
                alpha=config.alpha,
                save_every=steps + 1,
            ),
            end_id=encoder.end_id,
            work=out.with_name(f"{out.name}.work"),
            out=out,
            recorder=Recorder(lambda _step, _numbers: None, step),
        )
    return out


def _row(judgment: JudgeRow | JudgePair) -> Row:
    texts = (
        (judgment.completion,)
        if isinstance(judgment, JudgeRow)
        else (judgment.chosen, judgment.rejected)
    )
    return Row(judgment.item_id, judgment.prompt, texts, judgment.gold, judgment.item_id)


def _general(stage: Literal["sft", "dpo"], number: int, seed: int) -> list[Row]:
    """Questions to solve, with the gold reply, or with that and one that has a slip."""
    rows = []
    for example in ChainTask(num_operands=3).examples("train", number, seed + 1):
        gold, slip = candidates(example, seed)
        texts = (gold,) if stage == "sft" else (gold, slip)
        rows.append(Row(example.id, example.prompt, texts, None, example.id))
    return rows


def _judge(path: Path, cases: Sequence[Case], seed: int, screen: Screen) -> list[Judgment]:
    config = Config.tiny().model_copy(update={"seed": seed})
    with screen.progress("it judges the report pairs", 2 * len(cases)) as step:
        return config.judge(_load(path)).judgments(cases, watcher=Steps(step))


def _right(cases: Sequence[Case], judgments: Sequence[Judgment]) -> list[float]:
    """The share of a case's calls that name the gold reply; unread is not right."""
    return [
        sum(vote == case.gold for vote in judgment.votes) / len(judgment.votes)
        for case, judgment in zip(cases, judgments, strict=True)
    ]
